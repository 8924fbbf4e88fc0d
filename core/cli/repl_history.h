/* repl_history.h: what was typed before, in a file of the user: one input a line, with its line breaks
 * escaped.
 *
 *     struct repl_history history;
 *     repl_history_open(&history);
 *     repl_history_each(&history, put, user);
 *     repl_history_add(&history, input);
 *     repl_history_close(&history);
 *
 * Each input is appended at once, so that terminals side by side do not lose each other's. A file that cannot
 * be read or written is said once on stderr, and the history is that of this run. Threads: one. Owns: paths.
 */
#ifndef LORE_CLI_REPL_HISTORY_H
#define LORE_CLI_REPL_HISTORY_H

#include <stdbool.h>

#include "base/buf.h"

enum { REPL_HISTORY_MAX = 2000 }; /* inputs; the file is cut to them when it holds twice as many */

struct repl_history {
    struct buf path; /* with a 0 at its end; empty: nowhere */
    struct buf text; /* of the file */
    bool is_broken;  /* was said */
};

/* $XDG_STATE_HOME/lore/history, else ~/.local/state/lore/history. */
void repl_history_open(struct repl_history *history);
/* From the oldest; text ends with a 0 and is borrowed for the call. */
void repl_history_each(const struct repl_history *history, void (*put)(void *user, const char *text),
                       void *user);
/* An input that begins with a blank is not kept. */
void repl_history_add(struct repl_history *history, struct slice input);
void repl_history_close(struct repl_history *history);

#endif

/* repl_command.h: what begins with a colon: ":help", ":save FILE".
 *
 *     if (repl_command_is(line)) end = repl_command_run(&repl, line);
 *
 * Threads: one. Owns: nothing. */
#ifndef LORE_CLI_REPL_COMMAND_H
#define LORE_CLI_REPL_COMMAND_H

#include "cli/repl_line.h"
#include "cli/repl_session.h"

/* ":…", and the words help, quit and exit alone, which who does not know the colon tries. */
bool repl_command_is(struct slice line);
enum repl_end repl_command_run(struct repl *repl, struct slice line);
/* Candidates for the text up to the cursor, if it is a command's: false, it is none. */
bool repl_command_complete(struct slice text, struct repl_completion *completion);
/* The list of commands. */
void repl_command_list(struct buf *out);
/* The name that is meant by one that is unknown; NULL: none is near. */
const char *repl_command_nearest(struct slice name);

#endif

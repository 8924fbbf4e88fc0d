/* repl_line.h: one line from a terminal, edited: libedit with history, ^R, completion by TAB, pasted text.
 *
 *     struct repl_line *line = repl_line_open(&(struct repl_line_options){.complete = …});
 *     while (repl_line_read(line, "lore> ", NULL, &text) == REPL_LINE_TEXT) …
 *     repl_line_close(line);                                      the terminal is as it was
 *
 * Signals come by repl_wake.h, which must have been started. Threads: one. Owns: the terminal between read
 * and its return; the history of this run. */
#ifndef LORE_CLI_REPL_LINE_H
#define LORE_CLI_REPL_LINE_H

#include <stdbool.h>

#include "base/buf.h"

struct repl_line;

enum repl_line_end {
    REPL_LINE_TEXT,
    REPL_LINE_CANCELLED, /* Ctrl-C */
    REPL_LINE_END,       /* Ctrl-D on an empty line, or a terminal that is gone */
    REPL_LINE_STRANGE,   /* it held bytes that are no characters; the text is what remained */
    REPL_LINE_KILLED     /* repl_line_signal */
};

struct repl_completion {
    size_t from;      /* byte of the text where the word begins */
    struct buf words; /* the candidates, a 0 behind each */
    size_t count;
    bool more; /* than these */
};

struct repl_line_options {
    /* What could stand before the cursor. The completion is empty before; text: the line up to there. */
    void (*complete)(void *user, struct slice text, struct repl_completion *completion);
    void *user;
    bool coloured;
};

struct repl_line *repl_line_open(const struct repl_line_options *options);
void repl_line_close(struct repl_line *line);
/* text: without its end of line; it may hold several lines if it was pasted or comes from the history.
 * is_loud: the prompt is to be seen as a warning. */
enum repl_line_end repl_line_read(struct repl_line *line, const char *prompt, bool is_loud, struct buf *text);
int repl_line_signal(const struct repl_line *line);
/* An input for the arrow keys and ^R of this run. */
void repl_line_remember(struct repl_line *line, const char *text);

/* The longest beginning that all candidates share. */
struct slice repl_completion_common(const struct repl_completion *completion);
/* The candidates in columns of a terminal so wide, a line end behind each row. */
void repl_completion_put(const struct repl_completion *completion, size_t width, struct buf *out);
void repl_completion_add(struct repl_completion *completion, struct slice word);

#endif

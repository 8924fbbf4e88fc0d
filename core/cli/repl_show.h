/* repl_show.h: what an evaluation gives, as a person sees it on standard output.
 *
 *     struct repl_show show = repl_show_start(1000);
 *     repl_show_row(&show, bytes);          as they come
 *     repl_show_flush(&show, false);        now and then: rows that waited long enough are put
 *     repl_show_value(&show, bytes);
 *     repl_show_end(&show);
 *
 * Rows wait a moment for each other, so that columns fit what is in them. At most lines_max lines are put,
 * and of a value that is a list as much as the terminal shows at once, then a note. Threads: one. Owns: rows
 * that wait. */
#ifndef LORE_CLI_REPL_SHOW_H
#define LORE_CLI_REPL_SHOW_H

#include <stdint.h>

#include "cli/page.h"
#include "cli/repl_table.h"

struct repl_show {
    struct buf out;
    struct page page;
    size_t lines_left;
    size_t rows_max;          /* of a value that is a list */
    size_t rows_more;         /* that are not shown of one */
    struct repl_table *table; /* NULL: no row that is a map has come */
    size_t waiting;           /* rows */
    int64_t waits_since_ns;
    bool is_cut;    /* there was more than lines_max */
    bool is_silent; /* of what is printed; was said */
};

/* The page of standard output, narrower than others can be; ascii where the locale is not UTF-8. */
struct page repl_show_page(struct buf *out);

struct repl_show repl_show_start(size_t lines_max);
void repl_show_row(struct repl_show *show, struct slice bytes);
/* all: also those that came just now. */
void repl_show_flush(struct repl_show *show, bool all);
/* Milliseconds until a flush has something to do; -1: nothing waits. */
int repl_show_wait_ms(const struct repl_show *show);
void repl_show_value(struct repl_show *show, struct slice bytes);
void repl_show_plot(struct repl_show *show, struct slice bytes);
/* Lines of text, as a script prints them. */
void repl_show_text(struct repl_show *show, struct slice text);
void repl_show_note(struct repl_show *show, const char *format, ...) __attribute__((format(printf, 2, 3)));
void repl_show_end(struct repl_show *show);

#endif

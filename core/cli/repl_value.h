/* repl_value.h: values as Lua would write them: on one line where that fits, else indented over several.
 *
 *     size_t lines = 1000;
 *     repl_value_put(&page, bytes, &lines);        bytes: MessagePack
 *     page_end(&page);
 *     if (!lines) ...                              not all of it was put
 *
 * Whatever a value holds, nothing but printable characters comes out: the others are escaped as in Lua.
 * Threads: any. Owns: nothing. */
#ifndef LORE_CLI_REPL_VALUE_H
#define LORE_CLI_REPL_VALUE_H

#include "base/buf.h"
#include "cli/page.h"

/* Puts the value from the page's column on, without ending its last line. *lines_left counts down with each
 * line that ends; at 0 the rest is left out. */
void repl_value_put(struct page *page, struct slice bytes, size_t *lines_left);
/* The value on one line, however long; texts without quotes where it is a text itself: for cells. */
void repl_value_cell(struct buf *out, struct slice bytes, bool ascii);
/* Columns of the value on one line; more than columns_max: at least that. */
size_t repl_value_columns(struct slice bytes, bool ascii, size_t columns_max);

/* A text as Lua writes it between quotes; ascii: with escapes for all else. */
void repl_value_quote(struct buf *out, struct slice text, bool ascii);
/* The same without quotes, for text among text: only what a terminal must not see is escaped. */
void repl_value_escape(struct buf *out, struct slice text, bool ascii);

#endif

/* page.h: lines of text for people: colours on a terminal, a width that is respected, long values cut with
 * "…".
 *
 *     struct buf out = {0};
 *     struct page page = page_of_stdout(&out);
 *     page_title(&page, "views");
 *     page_indent(&page, 2);
 *     page_format(&page, PAGE_RED, "%zu errors", count);
 *     page_end(&page);
 *
 * What is put is cleaned: control characters and those that turn the direction of writing, which a document
 * or an error may hold, become "?". Columns are those of wcwidth(3), one for a character that the locale does
 * not know.
 *
 * Threads: one. Owns: nothing. */
#ifndef LORE_CLI_PAGE_H
#define LORE_CLI_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum page_colour { PAGE_PLAIN, PAGE_BOLD, PAGE_DIM, PAGE_RED, PAGE_GREEN, PAGE_YELLOW, PAGE_CYAN };

enum { PAGE_WIDTH_MIN = 40, PAGE_WIDTH_ELSEWHERE = 120 /* where there is no terminal */ };

struct page {
    struct buf *out;
    bool coloured;
    bool ascii;    /* what is beyond ASCII becomes "?", dots become "~" */
    size_t width;  /* columns */
    size_t column; /* where the next character goes */
};

/* As standard output is: coloured on a terminal, unless NO_COLOR is set. */
struct page page_of_stdout(struct buf *out);

void page_put(struct page *page, enum page_colour colour, struct slice text);
void page_format(struct page *page, enum page_colour colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Blanks up to this column. */
void page_indent(struct page *page, size_t column);
/* Ends a line; nothing if it is empty. */
void page_end(struct page *page);
/* An empty line, then a line of its own. */
void page_title(struct page *page, const char *title);
/* The text from here on, over several lines that begin at the column indent where it is too long for one.
 * Ends the last. */
void page_wrap(struct page *page, enum page_colour colour, size_t indent, struct slice text);
/* At most so many columns of the text, from byte `from` on: what is left out on either side is "…". */
void page_cut(struct page *page, enum page_colour colour, struct slice text, size_t from, size_t columns_max);

size_t page_columns(struct slice text);
/* Takes the next character off the text, which must not be empty; what is no UTF-8 is one that is not clean.
 */
uint32_t page_next(struct slice *text);
/* Whether a terminal may see it. */
bool page_is_clean(uint32_t point);
/* "12,345", to a text of 32 bytes; returns it. */
const char *page_count(uint64_t count, char text[32]);

#endif

#include "cli/page.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "codec/text.h"

struct page page_of_stdout(struct buf *out)
{
    struct page page = {.out = out, .width = PAGE_WIDTH_ELSEWHERE};
    struct winsize window;
    if (isatty(STDOUT_FILENO) != 1) return page;
    const char *plain = getenv("NO_COLOR");
    page.coloured = !plain || !*plain;
    page.width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col ? window.ws_col : 80;
    if (page.width < PAGE_WIDTH_MIN) page.width = PAGE_WIDTH_MIN;
    return page;
}

/* The size of the character at `at`: one byte where it is no UTF-8. */
static size_t page_step(struct slice text, size_t at)
{
    const uint8_t *byte = (const uint8_t *)text.data + at;
    size_t size = text_utf8_step(byte, (const uint8_t *)text.data + text.size);
    return size ? size : 1;
}

/* Of one character that page_step found; a byte that is no UTF-8 gives a C1 control, which is not clean. */
static uint32_t page_code_point(const char *at, size_t size)
{
    static const uint8_t masks[] = {0, 0xff, 0x1f, 0x0f, 0x07};
    const uint8_t *byte = (const uint8_t *)at;
    if (size == 1 && byte[0] >= 0x80) return 0x80;
    uint32_t point = byte[0] & masks[size];
    for (size_t next = 1; next < size; next++) point = point << 6 | (byte[next] & 0x3f);
    return point;
}

bool page_is_clean(uint32_t point)
{
    if (point < 0x20 || (point >= 0x7f && point < 0xa0)) return false;
    if (point == 0x061c || point == 0x200e || point == 0x200f) return false;
    return !(point >= 0x2028 && point <= 0x202e) && !(point >= 0x2066 && point <= 0x2069);
}

uint32_t page_next(struct slice *text)
{
    size_t size = page_step(*text, 0);
    uint32_t point = page_code_point(text->data, size);
    *text = slice_make(text->data + size, text->size - size);
    return point;
}

/* How many columns a clean character takes; those that the locale does not know take one. */
static size_t page_point_columns(uint32_t point)
{
    if (point < 0x80) return 1;
    int columns = wcwidth((wchar_t)point);
    return columns < 0 ? 1 : (size_t)columns;
}

static size_t page_character_columns(struct slice text, size_t at, size_t size)
{
    uint32_t point = page_code_point(text.data + at, size);
    return page_is_clean(point) ? page_point_columns(point) : 1;
}

static void page_put_clean(struct page *page, struct slice text)
{
    for (size_t at = 0, size; at < text.size; at += size) {
        size = page_step(text, at);
        uint32_t point = page_code_point(text.data + at, size);
        bool shown = page_is_clean(point) && (point < 0x80 || !page->ascii);
        if (shown)
            buf_put(page->out, text.data + at, size);
        else
            buf_put_byte(page->out, '?');
        page->column += shown ? page_point_columns(point) : 1;
    }
}

static void page_put_dots(struct page *page)
{
    buf_put_text(page->out, page->ascii ? "~" : "…");
    page->column++;
}

static void page_begin_colour(struct page *page, enum page_colour colour)
{
    static const char *const codes[] = {"",         "\033[1m",  "\033[2m", "\033[31m",
                                        "\033[32m", "\033[33m", "\033[36m"};
    if (page->coloured) buf_put_text(page->out, codes[colour]);
}

static void page_end_colour(struct page *page, enum page_colour colour)
{
    if (page->coloured && colour != PAGE_PLAIN) buf_put_text(page->out, "\033[m");
}

void page_put(struct page *page, enum page_colour colour, struct slice text)
{
    page_begin_colour(page, colour);
    page_put_clean(page, text);
    page_end_colour(page, colour);
}

void page_format(struct page *page, enum page_colour colour, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (size >= (int)sizeof text) size = (int)sizeof text - 1;
    page_put(page, colour, slice_make(text, (size_t)size));
}

void page_indent(struct page *page, size_t column)
{
    for (; page->column < column; page->column++) buf_put_byte(page->out, ' ');
}

void page_end(struct page *page)
{
    if (page->column) buf_put_byte(page->out, '\n');
    page->column = 0;
}

void page_title(struct page *page, const char *title)
{
    page_end(page);
    buf_put_byte(page->out, '\n');
    page_put(page, PAGE_BOLD, slice_of(title));
    page_end(page);
}

size_t page_columns(struct slice text)
{
    size_t columns = 0;
    for (size_t at = 0, size; at < text.size; at += size) {
        size = page_step(text, at);
        columns += page_character_columns(text, at, size);
    }
    return columns;
}

/* The next word, with the blanks before it; a line break counts as a blank. */
static struct slice page_word(struct slice *text)
{
    size_t size = 0;
    while (size < text->size && (text->data[size] == ' ' || text->data[size] == '\n')) size++;
    size_t blanks = size;
    while (size < text->size && text->data[size] != ' ' && text->data[size] != '\n') size++;
    struct slice word = slice_make(text->data + blanks, size - blanks);
    *text = slice_make(text->data + size, text->size - size);
    return word;
}

void page_wrap(struct page *page, enum page_colour colour, size_t indent, struct slice text)
{
    page_begin_colour(page, colour);
    for (bool first = true; text.size; first = false) {
        struct slice word = page_word(&text);
        if (!word.size) break;
        if (!first && page->column + 1 + page_columns(word) > page->width) {
            page_end(page);
            page_indent(page, indent);
        } else if (!first) {
            page_indent(page, page->column + 1);
        }
        page_put_clean(page, word);
    }
    page_end_colour(page, colour);
    page_end(page);
}

void page_cut(struct page *page, enum page_colour colour, struct slice text, size_t from, size_t columns_max)
{
    page_begin_colour(page, colour);
    if (from && columns_max) {
        page_put_dots(page);
        columns_max--;
    }
    text = slice_make(text.data + from, text.size - from);
    bool whole = page_columns(text) <= columns_max;
    size_t left = whole ? columns_max : columns_max ? columns_max - 1 : 0, at = 0;
    while (at < text.size) {
        size_t size = page_step(text, at), columns = page_character_columns(text, at, size);
        if (columns > left) break;
        left -= columns;
        at += size;
    }
    page_put_clean(page, slice_make(text.data, at));
    if (!whole && columns_max) page_put_dots(page);
    page_end_colour(page, colour);
}

const char *page_count(uint64_t count, char text[32])
{
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%llu", (unsigned long long)count), at = 0;
    for (int digit = 0; digit < size; digit++) {
        if (digit && (size - digit) % 3 == 0) text[at++] = ',';
        text[at++] = digits[digit];
    }
    text[at] = 0;
    return text;
}

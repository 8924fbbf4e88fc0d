#include "cli/repl_value.h"

#include <stdio.h>
#include <string.h>

#include "codec/mp.h"
#include "codec/text.h"

enum { VALUE_INDENT = 2 };

/* --- texts --- */

static void value_put_escape(struct buf *out, uint32_t point, uint8_t byte)
{
    static const char from[] = "\n\r\t", into[] = "nrt";
    const char *found = byte ? strchr(from, byte) : NULL;
    if (found)
        buf_format(out, "\\%c", into[found - from]);
    else if (point < 0x80 || byte >= 0x80)
        buf_format(out, "\\x%02x", byte);
    else
        buf_format(out, "\\u{%x}", point);
}

static void value_put_escaped(struct buf *out, struct slice text, bool ascii, bool quoted)
{
    while (text.size) {
        struct slice rest = text;
        uint32_t point = page_next(&rest);
        size_t size = text.size - rest.size;
        bool whole = size > 1 || (uint8_t)*text.data < 0x80;
        if (!page_is_clean(point) || (ascii && point >= 0x80))
            value_put_escape(out, point, size > 1 ? 0 : (uint8_t)*text.data);
        else if (quoted && (point == '"' || point == '\\'))
            buf_format(out, "\\%c", (char)point);
        else if (whole)
            buf_put(out, text.data, size);
        text = rest;
    }
}

void repl_value_quote(struct buf *out, struct slice text, bool ascii)
{
    buf_put_byte(out, '"');
    value_put_escaped(out, text, ascii, true);
    buf_put_byte(out, '"');
}

void repl_value_escape(struct buf *out, struct slice text, bool ascii)
{
    value_put_escaped(out, text, ascii, false);
}

/* --- a value on one line --- */

struct value_line {
    struct page *page;
    size_t column_max; /* beyond it nothing more is put */
};

static bool value_is_full(const struct value_line *line)
{
    return line->page->column > line->column_max;
}

static void value_put(const struct value_line *line, enum page_colour colour, const char *text)
{
    page_put(line->page, colour, slice_of(text));
}

/* Names that Lua takes as keys without brackets. */
static bool value_is_identifier(struct slice text)
{
    static const char *const reserved[] = {
        "and", "break", "do",  "else", "elseif", "end",    "false",  "for",  "function", "goto",  "if",
        "in",  "local", "nil", "not",  "or",     "repeat", "return", "then", "true",     "until", "while"};
    for (size_t at = 0; at < sizeof reserved / sizeof *reserved; at++)
        if (slice_is(text, reserved[at])) return false;
    for (size_t at = 0; at < text.size; at++) {
        char c = text.data[at];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(at && c >= '0' && c <= '9')) return false;
    }
    return text.size > 0;
}

static void value_put_text(const struct value_line *line, struct slice text)
{
    struct buf quoted = {0};
    bool too_long = line->column_max != SIZE_MAX && text.size / 4 > line->column_max;
    repl_value_quote(&quoted, too_long ? slice_make(text.data, line->column_max + 1) : text,
                     line->page->ascii);
    page_put(line->page, PAGE_GREEN, buf_slice(&quoted));
    buf_release(&quoted);
    if (too_long) line->page->column = line->column_max + 1;
}

static void value_put_key(const struct value_line *line, struct slice key)
{
    if (value_is_identifier(key)) {
        page_put(line->page, PAGE_PLAIN, key);
    } else {
        value_put(line, PAGE_PLAIN, "[");
        value_put_text(line, key);
        value_put(line, PAGE_PLAIN, "]");
    }
    value_put(line, PAGE_PLAIN, " = ");
}

static void value_put_scalar(const struct value_line *line, const struct mp_value *value)
{
    char text[32];
    switch (value->kind) {
    case MP_NIL: value_put(line, PAGE_DIM, "nil"); return;
    case MP_BOOL: value_put(line, PAGE_CYAN, value->boolean ? "true" : "false"); return;
    case MP_INT: snprintf(text, sizeof text, "%lld", (long long)value->integer); break;
    case MP_FLOAT: text[text_put_float(value->number, text)] = 0; break;
    case MP_DECIMAL: page_put(line->page, PAGE_YELLOW, value->text); return;
    default: value_put_text(line, value->text); return;
    }
    value_put(line, PAGE_YELLOW, text);
}

/* Depth is bounded, since the bytes were read from JSON. */
static void value_put_line(const struct value_line *line, struct mp_reader *reader)
{
    struct mp_value value;
    if (mp_read(reader, &value) < 0) return;
    if (value.kind != MP_LIST && value.kind != MP_MAP) {
        value_put_scalar(line, &value);
        return;
    }
    value_put(line, PAGE_PLAIN, value.count ? "{ " : "{}");
    for (uint32_t at = 0; at < value.count && !value_is_full(line); at++) {
        struct mp_value key;
        if (at) value_put(line, PAGE_PLAIN, ", ");
        if (value.kind == MP_MAP && mp_read(reader, &key) == 0) value_put_key(line, key.text);
        value_put_line(line, reader);
    }
    if (value.count) value_put(line, PAGE_PLAIN, " }");
}

size_t repl_value_columns(struct slice bytes, bool ascii, size_t columns_max)
{
    struct buf scratch = {0};
    struct page page = {.out = &scratch, .ascii = ascii};
    struct mp_reader reader = mp_reader_of(bytes);
    value_put_line(&(struct value_line){&page, columns_max}, &reader);
    buf_release(&scratch);
    return page.column;
}

void repl_value_cell(struct buf *out, struct slice bytes, bool ascii)
{
    struct mp_reader reader = mp_reader_of(bytes), again = reader;
    struct mp_value value;
    if (mp_read(&reader, &value) < 0 || value.kind == MP_NIL) return;
    if (value.kind == MP_TEXT) {
        repl_value_escape(out, value.text, ascii);
        return;
    }
    struct page page = {.out = out, .ascii = ascii};
    value_put_line(&(struct value_line){&page, SIZE_MAX}, &again);
}

/* --- a value over several lines --- */

struct value_block {
    struct value_line line;
    size_t *lines_left;
};

/* False where no line is left. */
static bool value_end_line(const struct value_block *block, size_t indent)
{
    if (*block->lines_left == 0 || --*block->lines_left == 0) return false;
    page_end(block->line.page);
    page_indent(block->line.page, indent);
    return true;
}

static bool value_is_nested(struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    return mp_read(&reader, &value) == 0 && (value.kind == MP_LIST || value.kind == MP_MAP);
}

/* Items of a list that are no tables themselves stand side by side. */
static bool value_begin_item(const struct value_block *block, const struct mp_value *table, uint32_t at,
                             struct slice item, size_t indent)
{
    struct page *page = block->line.page;
    if (at) page_put(page, PAGE_PLAIN, slice_of(","));
    bool beside = at && table->kind == MP_LIST && !value_is_nested(item) &&
                  page->column + 2 + repl_value_columns(item, page->ascii, page->width) < page->width;
    if (!beside) return value_end_line(block, indent);
    page_put(page, PAGE_PLAIN, slice_of(" "));
    return true;
}

static void value_put_block(const struct value_block *block, struct slice bytes, size_t indent)
{
    struct page *page = block->line.page;
    struct mp_reader reader = mp_reader_of(bytes), whole = reader;
    struct mp_value value, key;
    size_t room = page->width > page->column + 1 ? page->width - page->column - 1 : 0;
    if (*block->lines_left == 0 || mp_read(&reader, &value) < 0) return;
    if (!value_is_nested(bytes) || value.count == 0 || repl_value_columns(bytes, page->ascii, room) <= room) {
        value_put_line(&block->line, &whole);
        return;
    }
    page_put(page, PAGE_PLAIN, slice_of("{"));
    for (uint32_t at = 0; at < value.count; at++) {
        struct slice item;
        if (value.kind == MP_MAP && mp_read(&reader, &key) < 0) return;
        if (mp_take(&reader, &item) < 0) return;
        if (!value_begin_item(block, &value, at, item, indent + VALUE_INDENT)) return;
        if (value.kind == MP_MAP) value_put_key(&block->line, key.text);
        value_put_block(block, item, indent + VALUE_INDENT);
        if (*block->lines_left == 0) return;
    }
    if (value_end_line(block, indent)) page_put(page, PAGE_PLAIN, slice_of("}"));
}

void repl_value_put(struct page *page, struct slice bytes, size_t *lines_left)
{
    struct value_block block = {.line = {page, SIZE_MAX}, .lines_left = lines_left};
    value_put_block(&block, bytes, page->column);
}

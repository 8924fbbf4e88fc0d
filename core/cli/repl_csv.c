#include "cli/repl_csv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"

enum { CSV_COLUMNS_MAX = 16384 /* what spreadsheets take */ };

struct csv {
    struct slice *names; /* of the columns, each its own memory */
    size_t count;
    struct slice *cells; /* of the row at hand, by column: MessagePack; empty: none */
    struct buf path;     /* of the field at hand */
    size_t next;         /* the column that comes next if this row is like the one before */
    bool is_full;
    FILE *file;
    uint64_t formulas;
};

static size_t csv_find(struct csv *csv, bool adds)
{
    struct slice name = buf_slice(&csv->path);
    for (size_t step = 0; step < csv->count; step++) {
        size_t at = (csv->next + step) % csv->count;
        if (!slice_equal(csv->names[at], name)) continue;
        csv->next = at + 1;
        return at;
    }
    if (!adds) return csv->count;
    if (csv->count == CSV_COLUMNS_MAX) {
        csv->is_full = true;
        return 0;
    }
    if ((csv->count & (csv->count - 1)) == 0)
        csv->names = mem_resize(csv->names, (csv->count ? csv->count * 2 : 1) * sizeof *csv->names);
    csv->names[csv->count] = slice_make(mem_text(name.data ? name.data : "", name.size), name.size);
    csv->next = ++csv->count;
    return csv->count - 1;
}

/* Fields of fields, as deep as they go. An empty map is a cell like a list. */
static void csv_take(struct csv *csv, struct slice bytes, bool adds)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value, key;
    size_t size = csv->path.size;
    if (mp_read(&reader, &value) < 0) return;
    if (value.kind != MP_MAP || value.count == 0) {
        if (size == 0) buf_put_text(&csv->path, "value");
        size_t column = csv_find(csv, adds);
        if (!adds && column < csv->count) csv->cells[column] = bytes;
        csv->path.size = size;
        return;
    }
    for (uint32_t at = 0; at < value.count; at++) {
        struct slice field;
        if (mp_read(&reader, &key) < 0 || mp_take(&reader, &field) < 0) return;
        if (size) buf_put_byte(&csv->path, '.');
        buf_put_slice(&csv->path, key.text);
        csv_take(csv, field, adds);
        csv->path.size = size;
    }
}

/* What a row is about comes first, though it is not the first in the order of names. */
static void csv_take_key(struct csv *csv, struct slice bytes)
{
    struct slice key;
    if (csv->count || !mp_find(bytes, slice_of("key"), &key)) return;
    buf_put_text(&csv->path, "key");
    csv_take(csv, key, true);
    buf_clear(&csv->path);
}

static void csv_put_text(struct csv *csv, struct slice text)
{
    bool quoted = text.size == 0;
    for (size_t at = 0; at < text.size; at++) quoted = quoted || strchr(",\"\r\n", text.data[at]);
    if (text.size && (text.data[0] == ' ' || text.data[text.size - 1] == ' ')) quoted = true;
    if (!quoted) {
        fwrite(text.data, 1, text.size, csv->file);
        return;
    }
    putc('"', csv->file);
    for (size_t at = 0; at < text.size; at++) {
        if (text.data[at] == '"') putc('"', csv->file);
        putc(text.data[at], csv->file);
    }
    putc('"', csv->file);
}

static void csv_put_cell(struct csv *csv, struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    if (bytes.size == 0 || mp_read(&reader, &value) < 0 || value.kind == MP_NIL) return;
    if (value.kind == MP_TEXT) {
        if (value.text.size && strchr("=+-@\t\r", value.text.data[0]) && !text_is_decimal(value.text))
            csv->formulas++;
        csv_put_text(csv, value.text);
        return;
    }
    struct buf json = {0};
    json_from_mp(bytes, &json, NULL);
    csv_put_text(csv, buf_slice(&json));
    buf_release(&json);
}

static void csv_put_row(struct csv *csv, struct slice bytes)
{
    memset(csv->cells, 0, csv->count * sizeof *csv->cells);
    csv->next = 0;
    csv_take(csv, bytes, false);
    for (size_t at = 0; at < csv->count; at++) {
        if (at) putc(',', csv->file);
        csv_put_cell(csv, csv->cells[at]);
    }
    fputs("\r\n", csv->file);
}

static void csv_put_head(struct csv *csv)
{
    for (size_t at = 0; at < csv->count; at++) {
        if (at) putc(',', csv->file);
        csv_put_text(csv, csv->names[at]);
    }
    fputs("\r\n", csv->file);
    csv->cells = mem_alloc((csv->count + 1) * sizeof *csv->cells);
}

/* All rows once: to find the columns, or to write. */
static int csv_walk(struct csv *csv, FILE *rows, bool adds)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t got;
    int error = 0;
    struct buf bytes = {0};
    rewind(rows);
    while (!error && (got = getline(&line, &size, rows)) >= 0) {
        if (got && line[got - 1] == '\n') got--;
        buf_clear(&bytes);
        if (json_to_mp(slice_make(line, (size_t)got), &bytes, NULL) < 0) {
            error = EILSEQ;
        } else if (adds) {
            csv->next = 0;
            csv_take_key(csv, buf_slice(&bytes));
            csv_take(csv, buf_slice(&bytes), true);
        } else {
            csv_put_row(csv, buf_slice(&bytes));
        }
        if (csv->is_full) error = E2BIG;
        if (!adds && ferror(csv->file)) error = errno ? errno : EIO;
    }
    if (ferror(rows) && !error) error = EIO;
    free(line);
    buf_release(&bytes);
    return error;
}

int repl_csv_write(FILE *rows, FILE *file, uint64_t *formulas)
{
    struct csv csv = {.file = file};
    int error = csv_walk(&csv, rows, true);
    if (!error && csv.count) {
        csv_put_head(&csv);
        error = csv_walk(&csv, rows, false);
    }
    for (size_t at = 0; at < csv.count; at++) mem_free((void *)(uintptr_t)csv.names[at].data);
    mem_free(csv.names);
    mem_free(csv.cells);
    buf_release(&csv.path);
    *formulas = csv.formulas;
    return error;
}

#include "cli/repl_table.h"

#include <string.h>

#include "base/mem.h"
#include "cli/repl_value.h"
#include "codec/mp.h"
#include "codec/text.h"

enum { TABLE_GAP = 2, TABLE_COLUMN_MIN = 8, TABLE_NESTED_MIN = 16, TABLE_COLUMNS_MAX = 200 };

struct table_cell {
    size_t at, size; /* of its text; size 0: nothing there */
};

struct table_column {
    struct slice name;
    size_t columns; /* of the terminal */
    bool is_text;   /* something in it is no number */
    bool is_hidden; /* no room */
    bool is_nested; /* something in it is a table */
};

struct repl_table {
    struct table_column columns[TABLE_COLUMNS_MAX];
    size_t column_count;
    size_t dropped;           /* fields that came too late or were too many */
    struct table_cell *cells; /* of the rows not yet put, each as wide as there were columns when it came */
    size_t cell_count, cell_max;
    size_t *widths; /* how many cells each of these rows has */
    size_t row_count, row_max;
    struct buf text;
    bool is_headed;
};

struct repl_table *repl_table_new(void)
{
    return MEM_NEW(struct repl_table);
}

void repl_table_free(struct repl_table *table)
{
    for (size_t at = 0; at < table->column_count; at++)
        mem_free((void *)(uintptr_t)table->columns[at].name.data);
    mem_free(table->cells);
    mem_free(table->widths);
    buf_release(&table->text);
    mem_free(table);
}

/* --- what suits --- */

static bool table_is_event(struct slice row)
{
    struct slice found;
    return mp_find(row, slice_of("type"), &found) && mp_find(row, slice_of("position"), &found) &&
           mp_find(row, slice_of("data"), &found);
}

bool repl_table_suits(struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value table, key;
    if (mp_read(&reader, &table) < 0 || (table.kind != MP_LIST && table.kind != MP_MAP) || !table.count)
        return false;
    struct repl_table *fields = repl_table_new();
    uint64_t filled = 0;
    bool suits = true;
    for (uint32_t at = 0; suits && at < table.count; at++) {
        struct slice row;
        struct mp_value value;
        if (table.kind == MP_MAP) mp_read(&reader, &key);
        if (mp_take(&reader, &row) < 0) break;
        struct mp_reader inside = mp_reader_of(row);
        suits = mp_read(&inside, &value) == 0 && value.kind == MP_MAP && value.count > 0;
        if (!suits || table_is_event(row)) continue;
        filled += value.count;
        fields->row_count = fields->cell_count = 0;
        buf_clear(&fields->text);
        repl_table_add(fields, SLICE_NONE, row);
    }
    suits = suits && !fields->dropped && filled * 2 >= (uint64_t)fields->column_count * table.count;
    repl_table_free(fields);
    return suits;
}

/* --- adding --- */

static size_t table_find(struct repl_table *table, struct slice name)
{
    size_t at = 0;
    while (at < table->column_count && !slice_equal(table->columns[at].name, name)) at++;
    if (at < table->column_count) return at;
    if (table->is_headed || at == TABLE_COLUMNS_MAX) {
        table->dropped++;
        return TABLE_COLUMNS_MAX;
    }
    table->columns[at] = (struct table_column){.name = slice_make(mem_text(name.data, name.size), name.size),
                                               .columns = page_columns(name)};
    table->column_count++;
    return at;
}

static struct table_cell *table_cells(struct repl_table *table, size_t count)
{
    if (table->cell_count + count > table->cell_max) {
        table->cell_max = (table->cell_count + count) * 2;
        table->cells = mem_resize(table->cells, table->cell_max * sizeof *table->cells);
    }
    struct table_cell *cells = table->cells + table->cell_count;
    memset(cells, 0, count * sizeof *cells);
    table->cell_count += count;
    return cells;
}

static size_t table_row(struct repl_table *table)
{
    if (table->row_count == table->row_max) {
        table->row_max = table->row_max ? table->row_max * 2 : 64;
        table->widths = mem_resize(table->widths, table->row_max * sizeof *table->widths);
    }
    table->widths[table->row_count++] = 0;
    return table->cell_count;
}

/* Times mostly have no milliseconds: "2026-01-05T10:00:00.000Z" without them. */
static void table_shorten_time(struct repl_table *table, size_t at)
{
    static const char form[] = "2026-01-05T10:00:00.000Z", zeros[] = ".000Z";
    size_t size = sizeof form - 1, tail = sizeof zeros - 1;
    const char *text = table->text.data + at;
    if (table->text.size - at != size || text[10] != 'T' || memcmp(text + size - tail, zeros, tail) != 0)
        return;
    table->text.size -= tail;
    buf_put_byte(&table->text, 'Z');
}

/* Puts the cell into the row that begins at `row`; the row grows to the column. */
static void table_put_cell(struct repl_table *table, size_t row, struct slice name, struct slice bytes)
{
    size_t column = table_find(table, name);
    if (column == TABLE_COLUMNS_MAX) return;
    size_t *width = &table->widths[table->row_count - 1];
    if (column >= *width) {
        table_cells(table, column + 1 - *width);
        *width = column + 1;
    }
    struct table_cell *cell = &table->cells[row + column];
    cell->at = table->text.size;
    repl_value_cell(&table->text, bytes, false);
    table_shorten_time(table, cell->at);
    cell->size = table->text.size - cell->at;
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    if (mp_read(&reader, &value) < 0) return;
    struct table_column *of = &table->columns[column];
    bool number = value.kind == MP_INT || value.kind == MP_FLOAT || value.kind == MP_NIL ||
                  (value.kind == MP_TEXT && text_is_decimal(value.text));
    if (!number) of->is_text = true;
    if (value.kind == MP_LIST || value.kind == MP_MAP) of->is_nested = true;
    size_t columns = page_columns(slice_make(table->text.data + cell->at, cell->size));
    if (!table->is_headed && columns > of->columns) of->columns = columns;
}

static void table_put_fields(struct repl_table *table, size_t row, struct slice bytes,
                             const char *const *names)
{
    for (; *names; names++) {
        struct slice value;
        if (mp_find(bytes, slice_of(*names), &value)) table_put_cell(table, row, slice_of(*names), value);
    }
}

static bool table_is_one_of(struct slice name, const char *const *names)
{
    for (; *names; names++)
        if (slice_is(name, *names)) return true;
    return false;
}

/* What people look for first, before the other fields in their order. */
static const char *const table_first[] = {"key", "stream", "type", "id", "name", NULL};
static const char *const table_event[] = {"position", "at", "stream", "type", "data", NULL};

static void table_put_rest(struct repl_table *table, size_t row, struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value map, name;
    if (mp_read(&reader, &map) < 0) return;
    for (uint32_t at = 0; at < map.count; at++) {
        struct slice field;
        if (mp_read(&reader, &name) < 0 || mp_take(&reader, &field) < 0) return;
        if (!table_is_one_of(name.text, table_first)) table_put_cell(table, row, name.text, field);
    }
}

/* Of a row {key, document} the document, if its fields can stand in columns of their own: flat, and none of
 * them with a name that comes first. */
static struct slice table_document(struct slice row, uint32_t count)
{
    struct slice document, field;
    struct mp_value map, value;
    if (count != 2 || !mp_find(row, slice_of("key"), &field) ||
        !mp_find(row, slice_of("document"), &document))
        return SLICE_NONE;
    struct mp_reader reader = mp_reader_of(document);
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP) return SLICE_NONE;
    for (uint32_t at = 0; at < map.count; at++) {
        if (mp_read(&reader, &value) < 0 || table_is_one_of(value.text, table_first)) return SLICE_NONE;
        if (mp_take(&reader, &field) < 0) return SLICE_NONE;
        struct mp_reader inside = mp_reader_of(field);
        if (mp_read(&inside, &value) < 0 || value.kind == MP_MAP || value.kind == MP_LIST) return SLICE_NONE;
    }
    return document;
}

void repl_table_add(struct repl_table *table, struct slice key, struct slice bytes)
{
    size_t row = table_row(table);
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    if (key.data) {
        struct buf text = {0};
        mp_put_text(&text, key);
        table_put_cell(table, row, slice_of(""), buf_slice(&text));
        buf_release(&text);
    }
    if (mp_read(&reader, &value) < 0) return;
    if (value.kind != MP_MAP) {
        table_put_cell(table, row, slice_of("value"), bytes);
        return;
    }
    struct slice document = table_document(bytes, value.count);
    if (table_is_event(bytes)) {
        table_put_fields(table, row, bytes, table_event);
        return;
    }
    table_put_fields(table, row, bytes, table_first);
    table_put_rest(table, row, document.size ? document : bytes);
}

/* --- putting --- */

static size_t table_width(const struct repl_table *table)
{
    size_t width = 0;
    for (size_t at = 0; at < table->column_count; at++)
        if (!table->columns[at].is_hidden) width += table->columns[at].columns + (width ? TABLE_GAP : 0);
    return width;
}

/* How narrow a column may become to make room: numbers are never cut. */
static size_t table_column_min(const struct table_column *column, bool nested)
{
    if (!column->is_text || column->is_hidden) return SIZE_MAX;
    return nested ? TABLE_NESTED_MIN : TABLE_COLUMN_MIN;
}

/* The widest column that can give way; NULL: none can. nested: of those that hold tables. */
static struct table_column *table_widest(struct repl_table *table, bool nested)
{
    struct table_column *widest = NULL;
    for (size_t at = 0; at < table->column_count; at++) {
        struct table_column *column = &table->columns[at];
        if ((nested && !column->is_nested) || column->columns <= table_column_min(column, nested)) continue;
        if (!widest || column->columns > widest->columns) widest = column;
    }
    return widest;
}

static void table_give_way(struct repl_table *table, size_t width_max, bool nested)
{
    struct table_column *widest;
    for (size_t width; (width = table_width(table)) > width_max && (widest = table_widest(table, nested));) {
        size_t excess = width - width_max, room = widest->columns - table_column_min(widest, nested);
        size_t step = (room + 3) / 4;
        widest->columns -= excess < step ? excess : step;
    }
}

/* Columns give way one by one from the widest, tables before texts; where that is not enough the last ones
 * are left out. */
static void table_fit(struct repl_table *table, size_t width_max)
{
    table_give_way(table, width_max, true);
    table_give_way(table, width_max, false);
    for (size_t at = table->column_count; at-- > 1 && table_width(table) > width_max;)
        table->columns[at].is_hidden = true;
}

static bool table_end_line(struct page *page, size_t *lines_left)
{
    page_end(page);
    return --*lines_left > 0;
}

static void table_put_text(const struct repl_table *table, size_t column, struct page *page,
                           enum page_colour colour, struct slice text, bool is_last)
{
    const struct table_column *of = &table->columns[column];
    size_t columns = page_columns(text), begin = page->column;
    if (!of->is_text && columns < of->columns) page_indent(page, begin + of->columns - columns);
    page_cut(page, colour, text, 0, of->columns - (page->column - begin));
    if (!is_last) page_indent(page, begin + of->columns + TABLE_GAP);
}

/* The last column that shows something; cells: NULL for the head. */
static size_t table_last(const struct repl_table *table, const struct table_cell *cells, size_t count)
{
    size_t last = 0;
    for (size_t at = 0; at < count; at++)
        if (!table->columns[at].is_hidden && (!cells || cells[at].size)) last = at;
    return last;
}

static bool table_put_head(struct repl_table *table, struct page *page, size_t *lines_left)
{
    table_fit(table, page->width);
    table->is_headed = true;
    size_t last = table_last(table, NULL, table->column_count);
    for (size_t at = 0; at < table->column_count; at++)
        if (!table->columns[at].is_hidden)
            table_put_text(table, at, page, PAGE_BOLD, table->columns[at].name, at == last);
    return page->column == 0 || table_end_line(page, lines_left);
}

void repl_table_put(struct repl_table *table, struct page *page, size_t *lines_left)
{
    if (!table->row_count || !*lines_left) return;
    bool goes_on = table->is_headed || table_put_head(table, page, lines_left);
    const struct table_cell *cell = table->cells;
    for (size_t row = 0; goes_on && row < table->row_count; row++) {
        size_t last = table_last(table, cell, table->widths[row]);
        for (size_t at = 0; at < table->widths[row]; at++)
            if (!table->columns[at].is_hidden && at <= last)
                table_put_text(table, at, page, PAGE_PLAIN,
                               slice_make(table->text.data + cell[at].at, cell[at].size), at == last);
        cell += table->widths[row];
        if (page->column == 0) buf_put_byte(page->out, '\n');
        goes_on = table_end_line(page, lines_left);
    }
    table->row_count = table->cell_count = 0;
    buf_clear(&table->text);
}

void repl_table_end(struct repl_table *table, struct page *page)
{
    struct buf names = {0};
    for (size_t at = 0; at < table->column_count; at++) {
        if (!table->columns[at].is_hidden) continue;
        buf_put_text(&names, names.size ? ", " : "no room for the columns ");
        buf_put_slice(&names, table->columns[at].name);
    }
    if (table->dropped)
        buf_put_text(&names,
                     names.size ? "; some later rows have more fields" : "some later rows have more fields");
    if (names.size) page_wrap(page, PAGE_DIM, 0, buf_slice(&names));
    buf_release(&names);
}

/* Two values as two lines in columns. What differs stands first, so that a narrow page cuts off what is the
 * same. */
#include "base/arena.h"
#include "cli/report_inside.h"
#include "codec/json.h"
#include "codec/mp.h"

enum { VALUES_DEPTH = 3, VALUES_CELLS_MAX = 200, VALUES_CELL_COLUMNS = 48, VALUES_CONTEXT = 10 };

struct cell {                         /* one field of both */
    struct slice name, before, after; /* JSON; "" where there is none */
    bool differs;
};

struct cells {
    struct arena arena;
    struct cell list[VALUES_CELLS_MAX];
    size_t count;
};

static struct slice json_of(struct cells *cells, struct slice value)
{
    struct buf text = {0};
    if (value.size) json_from_mp(value, &text, NULL);
    struct slice json = arena_copy(&cells->arena, buf_slice(&text));
    buf_release(&text);
    return json;
}

static void add_cell(struct cells *cells, struct slice prefix, struct slice name, struct slice before,
                     struct slice after)
{
    if (cells->count == VALUES_CELLS_MAX) return;
    struct buf text = {0};
    struct cell *cell = &cells->list[cells->count++];
    buf_put_byte(&text, '"');
    json_put_inside(&text, prefix);
    json_put_inside(&text, name);
    buf_put_text(&text, "\":");
    cell->name = arena_copy(&cells->arena, buf_slice(&text));
    cell->before = json_of(cells, before);
    cell->after = json_of(cells, after);
    cell->differs = !slice_equal(before, after);
    buf_release(&text);
}

static bool read_map(struct slice value, struct mp_reader *reader, uint32_t *count)
{
    struct mp_value token;
    *reader = mp_reader_of(value);
    *count = 0;
    if (value.size == 0 || mp_read(reader, &token) < 0 || token.kind != MP_MAP) return false;
    *count = token.count;
    return true;
}

struct side { /* a map on its way through its fields, which are in order */
    struct mp_reader reader;
    uint32_t left;
    struct slice name, value;
    bool has;
};

static void next_field(struct side *side)
{
    struct mp_value name;
    side->has = side->left > 0 && mp_read(&side->reader, &name) == 0 && name.kind == MP_TEXT &&
                mp_take(&side->reader, &side->value) == 0;
    if (!side->has) return;
    side->left--;
    side->name = name.text;
}

static void collect(struct cells *cells, struct slice prefix, struct slice before, struct slice after,
                    int depth);

/* Maps that differ are looked into; in them what is the same is not of interest. */
static void collect_field(struct cells *cells, struct slice prefix, struct slice name, struct slice before,
                          struct slice after, int depth)
{
    struct mp_reader reader;
    uint32_t some, others;
    bool differs = !slice_equal(before, after);
    if (differs && depth < VALUES_DEPTH && read_map(before, &reader, &some) && some &&
        read_map(after, &reader, &others) && others) {
        struct slice path = arena_format(&cells->arena, "%.*s%.*s.", SLICE_ARGS(prefix), SLICE_ARGS(name));
        collect(cells, path, before, after, depth + 1);
    } else if (differs || depth == 1) {
        add_cell(cells, prefix, name, before, after);
    }
}

static void collect(struct cells *cells, struct slice prefix, struct slice before, struct slice after,
                    int depth)
{
    struct side left = {0}, right = {0};
    read_map(before, &left.reader, &left.left);
    read_map(after, &right.reader, &right.left);
    next_field(&left);
    next_field(&right);
    while (left.has || right.has) {
        int order = !left.has ? 1 : !right.has ? -1 : slice_compare(left.name, right.name);
        collect_field(cells, prefix, order <= 0 ? left.name : right.name,
                      order <= 0 ? left.value : SLICE_NONE, order >= 0 ? right.value : SLICE_NONE, depth);
        if (order <= 0) next_field(&left);
        if (order >= 0) next_field(&right);
    }
}

/* --- two lines --- */

/* Where a long value is to begin so that its first difference is seen. */
static size_t begin_of(const struct cell *cell)
{
    size_t same = 0, size = cell->before.size < cell->after.size ? cell->before.size : cell->after.size;
    while (same < size && cell->before.data[same] == cell->after.data[same]) same++;
    if (!cell->differs || same < VALUES_CELL_COLUMNS - VALUES_CONTEXT) return 0;
    size_t from = same - VALUES_CONTEXT;
    while (from && ((uint8_t)cell->before.data[from] & 0xc0) == 0x80) from--;
    return from;
}

static struct cell *cell_at(struct cells *cells, bool differs, size_t *at)
{
    while (*at < cells->count && cells->list[*at].differs != differs) ++*at;
    return *at < cells->count ? &cells->list[(*at)++] : NULL;
}

/* What differs, then what is the same. */
static void sort_cells(struct cells *cells)
{
    struct cell sorted[VALUES_CELLS_MAX];
    size_t count = 0, at = 0;
    for (struct cell *cell; (cell = cell_at(cells, true, &at));) sorted[count++] = *cell;
    at = 0;
    for (struct cell *cell; (cell = cell_at(cells, false, &at));) sorted[count++] = *cell;
    if (count) memcpy(cells->list, sorted, count * sizeof *sorted);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* With the dots for what is in front of it. */
static size_t columns_from(struct slice value, size_t from)
{
    if (value.size == 0) return 0;
    return page_columns(slice_make(value.data + from, value.size - from)) + (from ? 1 : 0);
}

/* The columns of a cell's value in the wider of the lines. */
static size_t cell_columns(const struct cell *cell)
{
    size_t from = begin_of(cell);
    size_t before = columns_from(cell->before, from), after = columns_from(cell->after, from);
    return least(before > after ? before : after, VALUES_CELL_COLUMNS);
}

static void put_line(struct page *page, const struct cells *cells, bool is_after, bool both)
{
    size_t end = page->column + 1;
    buf_put_byte(page->out, '{');
    page->column++;
    const char *between = "";
    for (size_t at = 0; at < cells->count; at++) {
        const struct cell *cell = &cells->list[at];
        struct slice value = is_after ? cell->after : cell->before;
        size_t columns = cell_columns(cell), width = page_columns(cell->name) + columns;
        bool is_last = at + 1 == cells->count;
        if (at && end + width + (is_last ? 1 : 4) > page->width) {
            page_put(page, PAGE_PLAIN, slice_of(between));
            page_indent(page, end);
            buf_put_text(page->out, "…");
            page->column++;
            break;
        }
        if (value.size) {
            enum page_colour colour = !both || !cell->differs ? PAGE_DIM : is_after ? PAGE_GREEN : PAGE_RED;
            page_put(page, PAGE_PLAIN, slice_of(between));
            page_indent(page, end);
            page_put(page, colour, cell->name);
            page_cut(page, !both ? PAGE_PLAIN : colour, value, begin_of(cell), columns);
            between = ", ";
        }
        end += width + 2;
    }
    buf_put_byte(page->out, '}');
    page->column++;
    page_end(page);
}

/* What is no map, as far as the line goes. */
static void put_plain_line(struct page *page, struct slice value, enum page_colour colour)
{
    struct buf text = {0};
    json_from_mp(value, &text, NULL);
    page_cut(page, colour, buf_slice(&text), 0, page->width > page->column ? page->width - page->column : 1);
    page_end(page);
    buf_release(&text);
}

static void put_side(struct page *page, const struct cells *cells, struct slice value, bool is_after,
                     bool both)
{
    struct mp_reader reader;
    uint32_t count;
    if (read_map(value, &reader, &count) && count)
        put_line(page, cells, is_after, both);
    else
        put_plain_line(page, value, !both ? PAGE_PLAIN : is_after ? PAGE_GREEN : PAGE_RED);
}

void report_values_put(struct page *page, size_t indent, struct slice before, struct slice after)
{
    struct cells cells;
    cells.arena = (struct arena){0};
    cells.count = 0;
    bool both = before.size && after.size;
    collect(&cells, SLICE_NONE, before, after, 1);
    sort_cells(&cells);
    page_end(page);
    if (before.size) {
        page_indent(page, indent);
        page_put(page, both ? PAGE_PLAIN : PAGE_RED, slice_of(both ? "  " : "- "));
        put_side(page, &cells, before, false, both);
    }
    if (after.size) {
        page_indent(page, indent);
        page_put(page, both ? PAGE_PLAIN : PAGE_GREEN, slice_of(both ? "→ " : "+ "));
        put_side(page, &cells, after, true, both);
    }
    arena_release(&cells.arena);
}

/* --- outcomes --- */

static struct fields view_of(struct slice value)
{
    return (struct fields){.bytes = {.data = (char *)(uintptr_t)value.data, .size = value.size}};
}

/* "BillPaid {…}, BillClosed {…}", "nothing", "refused: closed (…)", "error: …" */
static void describe(struct slice outcome, struct buf *text)
{
    struct fields fields = view_of(outcome), event;
    struct slice refused = fields_text(&fields, "refused"), message = fields_text(&fields, "message");
    if (refused.size) {
        buf_format(text, "refused: %.*s", SLICE_ARGS(refused));
        if (message.size) buf_format(text, " (%.*s)", SLICE_ARGS(message));
        return;
    }
    if (fields_has(&fields, "error")) {
        buf_format(text, "error: %.*s", SLICE_ARGS(fields_text(&fields, "error")));
        return;
    }
    size_t begin = text->size;
    const uint8_t *at = NULL;
    while (fields_next(&fields, "events", &at, &event)) {
        if (text->size > begin) buf_put_text(text, ", ");
        buf_format(text, "%.*s ", SLICE_ARGS(fields_text(&event, "type")));
        fields_json(&event, "data", text);
    }
    if (text->size == begin) buf_put_text(text, "no events");
}

/* Whether both gave events of the same types; then their data are compared one by one. */
static bool same_types(const struct fields *before, const struct fields *after)
{
    const uint8_t *left = NULL, *right = NULL;
    struct fields one, other;
    size_t count = 0;
    for (;; count++) {
        bool has = fields_next(before, "events", &left, &one);
        if (fields_next(after, "events", &right, &other) != has) return false;
        if (!has) return count > 0;
        if (!slice_equal(fields_text(&one, "type"), fields_text(&other, "type"))) return false;
    }
}

static void put_outcome(struct page *page, size_t indent, const char *mark, enum page_colour colour,
                        struct slice outcome)
{
    struct buf text = {0};
    describe(outcome, &text);
    page_indent(page, indent);
    page_put(page, PAGE_PLAIN, slice_of(mark));
    page_cut(page, colour, buf_slice(&text), 0, page->width - page->column);
    page_end(page);
    buf_release(&text);
}

void report_outcomes_put(struct page *page, size_t indent, struct slice before, struct slice after)
{
    struct fields left = view_of(before), right = view_of(after), one, other;
    const uint8_t *at = NULL, *other_at = NULL;
    if (!before.size || !after.size || !same_types(&left, &right)) {
        if (before.size) put_outcome(page, indent, "  ", PAGE_RED, before);
        if (after.size) put_outcome(page, indent, "→ ", PAGE_GREEN, after);
        return;
    }
    while (fields_next(&left, "events", &at, &one) && fields_next(&right, "events", &other_at, &other)) {
        struct slice data = report_member(&one, "data"), new_data = report_member(&other, "data");
        if (slice_equal(data, new_data)) continue;
        page_indent(page, indent);
        page_put(page, PAGE_PLAIN, fields_text(&one, "type"));
        report_values_put(page, indent, data, new_data);
    }
}

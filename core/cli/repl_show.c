#include "cli/repl_show.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/repl_locale.h"
#include "cli/repl_plot.h"
#include "cli/repl_tree.h"
#include "cli/repl_value.h"
#include "codec/mp.h"
#include "codec/text.h"

enum {
    SHOW_WAIT_MS = 40,
    SHOW_WAITING_MAX = 100,
    SHOW_WIDTH_MIN = 16,
    SHOW_TAB = 8,
    SHOW_ROWS = 40, /* where the height is not known */
    SHOW_ROWS_MIN = 5,
    SHOW_LINES_BESIDE = 3, /* what was typed or the head, the note, the prompt */
    SHOW_GROUPS_INLINE_MAX = 3
};

struct page repl_show_page(struct buf *out)
{
    struct page page = page_of_stdout(out);
    struct winsize window;
    page.ascii = repl_locale_is_ascii();
    if (isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col)
        page.width = window.ws_col < SHOW_WIDTH_MIN ? SHOW_WIDTH_MIN : window.ws_col;
    return page;
}

/* Rows that can be seen at once. */
static size_t show_height(void)
{
    struct winsize window;
    if (isatty(STDOUT_FILENO) != 1 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) < 0 || !window.ws_row)
        return SHOW_ROWS;
    return window.ws_row < SHOW_ROWS_MIN + SHOW_LINES_BESIDE ? SHOW_ROWS_MIN
                                                             : window.ws_row - SHOW_LINES_BESIDE;
}

struct repl_show repl_show_start(size_t lines_max)
{
    struct repl_show show = {.lines_left = lines_max,
                             .rows_max = lines_max == SIZE_MAX ? SIZE_MAX : show_height()};
    show.page = repl_show_page(NULL);
    return show;
}

/* The structure may have moved since the start. */
static struct page *show_page(struct repl_show *show)
{
    show->page.out = &show->out;
    return &show->page;
}

static void show_write(struct repl_show *show)
{
    if (show->out.size) fwrite(show->out.data, 1, show->out.size, stdout);
    fflush(stdout);
    buf_clear(&show->out);
}

/* --- rows --- */

static enum mp_kind show_kind(struct slice bytes, uint32_t *count)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    if (mp_read(&reader, &value) < 0) return MP_NIL;
    *count = value.kind == MP_LIST || value.kind == MP_MAP ? value.count : 0;
    return value.kind;
}

static void show_line(struct repl_show *show, struct slice bytes)
{
    struct page *page = show_page(show);
    if (!show->lines_left) {
        show->is_cut = true;
        return;
    }
    repl_value_put(page, bytes, &show->lines_left);
    page_end(page);
    if (show->lines_left)
        show->lines_left--;
    else
        show->is_cut = true;
}

void repl_show_row(struct repl_show *show, struct slice bytes)
{
    uint32_t count;
    if (show_kind(bytes, &count) != MP_MAP) {
        repl_show_flush(show, true);
        show_line(show, bytes);
        show_write(show);
        return;
    }
    if (!show->lines_left) {
        show->is_cut = true;
        return;
    }
    if (!show->table) show->table = repl_table_new();
    if (!show->waiting++) show->waits_since_ns = clock_monotonic_ns();
    repl_table_add(show->table, SLICE_NONE, bytes);
    repl_show_flush(show, show->waiting >= SHOW_WAITING_MAX);
}

int repl_show_wait_ms(const struct repl_show *show)
{
    if (!show->waiting) return -1;
    int64_t waited_ms = (clock_monotonic_ns() - show->waits_since_ns) / 1000000;
    return waited_ms >= SHOW_WAIT_MS ? 0 : (int)(SHOW_WAIT_MS - waited_ms);
}

void repl_show_flush(struct repl_show *show, bool all)
{
    if (!show->waiting || (!all && repl_show_wait_ms(show) > 0)) return;
    size_t left = show->lines_left;
    repl_table_put(show->table, show_page(show), &show->lines_left);
    if (show->waiting >= left) show->is_cut = true;
    show->waiting = 0;
    show_write(show);
}

/* --- values --- */

static bool show_is_number(struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    if (mp_read(&reader, &value) < 0) return false;
    return value.kind == MP_INT || value.kind == MP_FLOAT || value.kind == MP_NIL ||
           (value.kind == MP_TEXT && text_is_decimal(value.text));
}

/* Groups and their numbers: many, or some whose names are none of fields. */
static bool show_is_grouped(struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value map, key;
    struct slice value;
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP) return false;
    bool many = map.count > SHOW_GROUPS_INLINE_MAX;
    for (uint32_t at = 0; at < map.count; at++) {
        if (mp_read(&reader, &key) < 0 || mp_take(&reader, &value) < 0 || !show_is_number(value))
            return false;
        if (!text_is_name(key.text)) many = true;
    }
    return many && map.count > 0;
}

static void show_table(struct repl_show *show, struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value whole, key;
    struct repl_table *table = repl_table_new();
    if (mp_read(&reader, &whole) < 0) return;
    size_t rows = show->rows_max < show->lines_left ? show->rows_max : show->lines_left;
    uint32_t count = whole.count < rows ? whole.count : (uint32_t)rows;
    for (uint32_t at = 0; at < count; at++) {
        struct slice row;
        key.text = SLICE_NONE;
        if (whole.kind == MP_MAP && mp_read(&reader, &key) < 0) break;
        if (mp_take(&reader, &row) < 0) break;
        repl_table_add(table, key.text, row);
    }
    repl_table_put(table, show_page(show), &show->lines_left);
    if (count < whole.count || !show->lines_left) show->is_cut = true;
    if (show->lines_left) show->rows_more = whole.count - count;
    repl_table_end(table, show_page(show));
    repl_table_free(table);
}

static bool show_stream(struct repl_show *show, struct slice bytes)
{
    struct slice stream, version, position, state;
    struct mp_value name;
    uint32_t count;
    if (show_kind(bytes, &count) != MP_MAP || count != 4 || !mp_find(bytes, slice_of("stream"), &stream) ||
        !mp_find(bytes, slice_of("version"), &version) || !mp_find(bytes, slice_of("position"), &position) ||
        !mp_find(bytes, slice_of("state"), &state))
        return false;
    struct mp_reader reader = mp_reader_of(stream);
    if (mp_read(&reader, &name) < 0 || name.kind != MP_TEXT) return false;
    struct buf figures = {0};
    buf_put_text(&figures, "  version ");
    repl_value_cell(&figures, version, false);
    buf_put_text(&figures, "  position ");
    repl_value_cell(&figures, position, false);
    page_put(show_page(show), PAGE_BOLD, name.text);
    page_put(&show->page, PAGE_DIM, buf_slice(&figures));
    page_end(&show->page);
    buf_release(&figures);
    if (show->lines_left) show->lines_left--;
    show_line(show, state);
    return true;
}

static bool show_tree(struct repl_show *show, struct slice bytes)
{
    if (!repl_tree_put(show_page(show), bytes, &show->lines_left)) return false;
    if (!show->lines_left) show->is_cut = true;
    return true;
}

static void show_list(struct repl_show *show, struct slice bytes)
{
    size_t spare = show->lines_left > show->rows_max ? show->lines_left - show->rows_max : 0;
    show->lines_left -= spare;
    show_line(show, bytes);
    show->lines_left += spare;
}

void repl_show_value(struct repl_show *show, struct slice bytes)
{
    uint32_t count = 0;
    repl_show_flush(show, true);
    if (!show->lines_left) {
        show->is_cut = true;
        return;
    }
    enum mp_kind kind = show_kind(bytes, &count);
    bool table = (kind == MP_MAP && show_is_grouped(bytes)) ||
                 ((kind == MP_LIST || (kind == MP_MAP && count > 1)) && repl_table_suits(bytes));
    if (table)
        show_table(show, bytes);
    else if (!show_stream(show, bytes) && !show_tree(show, bytes))
        kind == MP_LIST ? show_list(show, bytes) : show_line(show, bytes);
    show_write(show);
}

void repl_show_plot(struct repl_show *show, struct slice bytes)
{
    repl_show_flush(show, true);
    repl_plot_put(show_page(show), bytes, &show->lines_left);
    if (!show->lines_left) show->is_cut = true;
    show_write(show);
}

/* --- texts --- */

static void show_text_line(struct repl_show *show, struct slice line)
{
    struct page *page = show_page(show);
    struct buf part = {0};
    while (line.size) {
        size_t size = 0;
        while (size < line.size && line.data[size] != '\t') size++;
        buf_clear(&part);
        repl_value_escape(&part, slice_make(line.data, size), false);
        page_put(page, PAGE_PLAIN, buf_slice(&part));
        if (size < line.size) page_indent(page, (page->column / SHOW_TAB + 1) * SHOW_TAB), size++;
        line = slice_make(line.data + size, line.size - size);
    }
    buf_release(&part);
    if (page->column)
        page_end(page);
    else
        buf_put_byte(&show->out, '\n');
}

void repl_show_text(struct repl_show *show, struct slice text)
{
    repl_show_flush(show, true);
    for (bool more = true; more && !show->is_silent;) {
        if (!show->lines_left) {
            show->is_silent = true;
            repl_show_note(show, "what is printed from here on is not shown");
            break;
        }
        const char *newline = text.size ? memchr(text.data, '\n', text.size) : NULL;
        size_t size = newline ? (size_t)(newline - text.data) : text.size;
        show_text_line(show, slice_make(text.data, size));
        show->lines_left--;
        more = newline && size + 1 < text.size;
        if (more) text = slice_make(newline + 1, text.size - size - 1);
    }
    show_write(show);
}

void repl_show_note(struct repl_show *show, const char *format, ...)
{
    char text[1024];
    va_list args;
    repl_show_flush(show, true);
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    page_wrap(show_page(show), PAGE_DIM, 0, slice_of(text));
    show_write(show);
}

void repl_show_end(struct repl_show *show)
{
    repl_show_flush(show, true);
    if (show->table) {
        repl_table_end(show->table, show_page(show));
        show_write(show);
        repl_table_free(show->table);
    }
    char more[32];
    if (show->rows_more)
        repl_show_note(show, "%s %s more: :all shows them, :save FILE keeps them",
                       show->page.ascii ? "..." : "…", page_count(show->rows_more, more));
    else if (show->is_cut)
        repl_show_note(show, "there is more: :all shows everything, :save FILE writes it to a file");
    buf_release(&show->out);
}

/* What a hub says, as the terminal shows it: the first byte is the width, the rest JSON. Whatever it is,
 * nothing but printable characters and ends of lines comes out, and no more lines than allowed. */
#include <locale.h>
#include <string.h>

#include "base/check.h"
#include "cli/repl_plot.h"
#include "cli/repl_table.h"
#include "cli/repl_value.h"
#include "codec/json.h"
#include "codec/mp.h"

enum { LINES_MAX = 50, LINES_BESIDE_MAX = 20 /* titles, axes and notes are not counted */ };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shown(struct buf *out)
{
    size_t lines = 0;
    for (struct slice rest = buf_slice(out); rest.size;) {
        uint32_t point = page_next(&rest);
        CHECK(point == '\n' || page_is_clean(point));
        lines += point == '\n';
    }
    CHECK(lines <= LINES_MAX + LINES_BESIDE_MAX);
    buf_clear(out);
}

static void show_table(struct slice bytes, struct page *page, size_t *lines)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value whole, key;
    struct repl_table *table = repl_table_new();
    CHECK(mp_read(&reader, &whole) == 0);
    for (uint32_t at = 0; at < whole.count; at++) {
        struct slice row;
        key.text = SLICE_NONE;
        if (whole.kind == MP_MAP) CHECK(mp_read(&reader, &key) == 0);
        CHECK(mp_take(&reader, &row) == 0);
        repl_table_add(table, key.text, row);
        if (at % 3 == 1) repl_table_put(table, page, lines);
    }
    repl_table_put(table, page, lines);
    repl_table_end(table, page);
    repl_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf bytes = {0}, out = {0};
    if (size == 0) return 0;
    setlocale(LC_CTYPE, "C.UTF-8");
    struct page page = {.out = &out, .width = 1 + data[0] % 120, .ascii = data[0] >= 240};
    if (json_to_mp(slice_make(data + 1, size - 1), &bytes, NULL) == 0) {
        struct slice value = buf_slice(&bytes);
        size_t lines = LINES_MAX;
        repl_value_put(&page, value, &lines);
        page_end(&page);
        check_shown(&out);
        lines = LINES_MAX;
        repl_plot_put(&page, value, &lines);
        page_end(&page);
        check_shown(&out);
        lines = LINES_MAX;
        if (repl_table_suits(value)) show_table(value, &page, &lines);
        page_end(&page);
        check_shown(&out);
        repl_value_cell(&out, value, page.ascii);
        check_shown(&out);
    }
    buf_release(&bytes);
    buf_release(&out);
    return 0;
}

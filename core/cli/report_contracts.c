/* What the new contracts make of stored events, and the running version of new ones. */
#include "cli/report_inside.h"

static void put_example(struct page *page, const struct fields *row)
{
    char digits[32];
    struct slice stream = fields_text(row, "stream"), field = fields_text(row, "field");
    struct buf example = {0};
    if (!field.size && !stream.size) return;
    page_indent(page, REPORT_DETAIL);
    if (field.size) page_format(page, PAGE_BOLD, "%.*s", SLICE_ARGS(field));
    if (stream.size)
        page_format(page, PAGE_PLAIN, "%sposition %s in %.*s", field.size ? "  at " : "at ",
                    page_count((uint64_t)fields_int(row, "position"), digits), SLICE_ARGS(stream));
    page_end(page);
    fields_json(row, "example", &example);
    if (example.size) {
        page_indent(page, REPORT_VALUE);
        page_cut(page, PAGE_DIM, buf_slice(&example), 0, page->width - page->column);
        page_end(page);
    }
    buf_release(&example);
}

static void put_row(struct page *page, const struct fields *row, struct slice verdict)
{
    char digits[32];
    struct slice error = fields_text(row, "error");
    struct buf text = {0};
    page_indent(page, REPORT_INDENT);
    page_format(page, slice_is(verdict, "breaks") ? PAGE_RED : PAGE_YELLOW, "%-8.*s", SLICE_ARGS(verdict));
    buf_format(&text, "%.*s version %lld, %s %s", SLICE_ARGS(fields_text(row, "event")),
               (long long)fields_int(row, "version"), page_count((uint64_t)fields_int(row, "events"), digits),
               fields_int(row, "events") == 1 ? "event" : "events");
    if (error.size) buf_format(&text, ": %.*s", SLICE_ARGS(error));
    page_wrap(page, PAGE_PLAIN, REPORT_INDENT + 8, buf_slice(&text));
    put_example(page, row);
    buf_release(&text);
}

void report_contracts_put(struct page *page, const struct fields *report)
{
    static const char *const verdicts[] = {"breaks", "loses"};
    bool some = false;
    for (size_t kind = 0; kind < sizeof verdicts / sizeof *verdicts; kind++) {
        const uint8_t *at = NULL;
        struct fields row;
        while (fields_next(report, "contracts", &at, &row)) {
            struct slice verdict = fields_text(&row, "verdict");
            if (!slice_is(verdict, verdicts[kind])) continue;
            if (!some) page_title(page, "stored events");
            some = true;
            put_row(page, &row, verdict);
        }
    }
}

void report_back_put(struct page *page, const struct fields *report)
{
    const uint8_t *at = NULL;
    struct fields row;
    for (bool first = true; fields_next(report, "back", &at, &row); first = false) {
        struct buf text = {0};
        if (first) {
            page_title(page, "going back");
            page_indent(page, REPORT_INDENT);
            page_format(page, PAGE_PLAIN, "deploy %lld would not read what this one may write",
                        (long long)fields_int(report, "before"));
            page_end(page);
        }
        buf_format(&text, "%.*s", SLICE_ARGS(fields_text(&row, "event")));
        if (fields_int(&row, "version"))
            buf_format(&text, " version %lld", (long long)fields_int(&row, "version"));
        buf_format(&text, ": %.*s", SLICE_ARGS(fields_text(&row, "reason")));
        page_indent(page, REPORT_DETAIL);
        page_wrap(page, PAGE_YELLOW, REPORT_DETAIL + 2, buf_slice(&text));
        buf_release(&text);
    }
}

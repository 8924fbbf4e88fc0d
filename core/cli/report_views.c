/* What becomes of documents. */
#include <stdio.h>

#include "cli/report_inside.h"

/* "40 changed", and what is not there is not spoken of. */
static void put_part(struct page *page, const struct fields *counts, const char *name,
                     enum page_colour colour, const char **between)
{
    char digits[32];
    int64_t count = fields_int(counts, name);
    if (!count) return;
    page_put(page, PAGE_PLAIN, slice_of(*between));
    page_format(page, colour, "%s %s", page_count((uint64_t)count, digits), name);
    *between = ", ";
}

static void put_documents(struct page *page, const struct fields *view)
{
    struct fields documents;
    const char *between = "";
    if (!fields_object(view, "documents", &documents)) return;
    page_indent(page, REPORT_DETAIL);
    page_format(page, PAGE_PLAIN, "%-10s ", "documents");
    put_part(page, &documents, "added", PAGE_GREEN, &between);
    put_part(page, &documents, "removed", PAGE_RED, &between);
    put_part(page, &documents, "changed", PAGE_YELLOW, &between);
    put_part(page, &documents, "same", PAGE_PLAIN, &between);
    if (!*between) page_put(page, PAGE_PLAIN, slice_of("none"));
    page_end(page);
    report_counts_put(page, "fields", view, "fields");
}

static void put_samples(struct page *page, const struct fields *view)
{
    const uint8_t *at = NULL;
    struct fields sample;
    while (fields_next(view, "samples", &at, &sample)) {
        struct slice change = fields_text(&sample, "change");
        page_indent(page, REPORT_DETAIL);
        page_format(page, PAGE_PLAIN, "%-10.*s ", SLICE_ARGS(change));
        page_put(page, PAGE_BOLD, fields_text(&sample, "key"));
        report_tenant_put(page, &sample);
        page_end(page);
        report_values_put(page, REPORT_VALUE, report_member(&sample, "before"),
                          report_member(&sample, "after"));
    }
}

static void put_failures(struct page *page, const struct fields *view, const char *name, const char *unit)
{
    struct fields failures, sample;
    const uint8_t *at = NULL;
    char digits[32], digits_before[32];
    if (!fields_object(view, name, &failures)) return;
    int64_t before = fields_int(&failures, "before"), after = fields_int(&failures, "after");
    if (!before && !after) return;
    page_indent(page, REPORT_DETAIL);
    page_format(page, PAGE_PLAIN, "%-10s ", name);
    page_format(page, after > before ? PAGE_RED : PAGE_PLAIN, "%s %s%s, %s before",
                page_count((uint64_t)after, digits), unit, after == 1 ? "" : "s",
                page_count((uint64_t)before, digits_before));
    page_end(page);
    while (fields_next(&failures, "samples", &at, &sample)) {
        struct buf text = {0};
        struct slice key = fields_text(&sample, "key");
        buf_format(&text, "%.*s%sat position %s: %.*s%s", SLICE_ARGS(key), key.size ? " " : "",
                   page_count((uint64_t)fields_int(&sample, "position"), digits),
                   SLICE_ARGS(fields_text(&sample, "error")),
                   fields_flag(&sample, "before") ? " (as before)" : "");
        page_indent(page, REPORT_VALUE);
        page_wrap(page, fields_flag(&sample, "before") ? PAGE_PLAIN : PAGE_RED, REPORT_VALUE + 2,
                  buf_slice(&text));
        buf_release(&text);
    }
}

static void format_seconds(double seconds, char text[48])
{
    if (seconds < 10)
        snprintf(text, 48, "%.1f s", seconds);
    else if (seconds < 120)
        snprintf(text, 48, "%.0f s", seconds);
    else
        snprintf(text, 48, "%.0f min", seconds / 60);
}

static void put_view(struct page *page, const struct fields *view)
{
    char seconds[48];
    struct slice reason = fields_text(view, "reason");
    struct buf text = {0};
    buf_format(&text, "%.*s", SLICE_ARGS(fields_text(view, "name")));
    page_indent(page, REPORT_INDENT);
    page_put(page, PAGE_BOLD, buf_slice(&text));
    buf_clear(&text);
    if (reason.size) buf_format(&text, ": %.*s", SLICE_ARGS(reason));
    if (fields_flag(view, "kept")) {
        buf_format(&text, "%s its documents are there already", reason.size ? ";" : ":");
    } else if (fields_has(view, "rebuild_seconds")) {
        format_seconds(fields_number(view, "rebuild_seconds"), seconds);
        buf_format(&text, "%s takes about %s to build", reason.size ? ";" : ":", seconds);
    }
    page_wrap(page, PAGE_PLAIN, REPORT_DETAIL, buf_slice(&text));
    buf_release(&text);
    page_end(page);
    put_documents(page, view);
    put_samples(page, view);
    put_failures(page, view, "parked", "key");
    put_failures(page, view, "stopped", "tenant");
}

void report_views_put(struct page *page, const struct fields *report)
{
    const uint8_t *at = NULL;
    struct fields view;
    for (bool first = true; fields_next(report, "projections", &at, &view); first = false) {
        if (first) page_title(page, "views");
        put_view(page, &view);
    }
}

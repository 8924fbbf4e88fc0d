/* What becomes of states, and of commands that were decided once. */
#include "cli/report_inside.h"

static const struct {
    const char *name; /* of the count and of the samples' kind */
    const char *words;
    enum page_colour colour;
} report_kinds[] = {{"refused", "now refused", PAGE_RED},
                    {"accepted", "now accepted", PAGE_YELLOW},
                    {"other_reason", "refused for another reason", PAGE_YELLOW},
                    {"other_events", "with other events", PAGE_YELLOW},
                    {"errors", "where the script fails", PAGE_RED}};

static void put_label(struct page *page, const char *label)
{
    page_indent(page, REPORT_DETAIL);
    page_format(page, PAGE_PLAIN, "%-10s ", label);
}

/* Releases the text. */
static void put_line(struct page *page, const char *label, enum page_colour colour, struct buf *text)
{
    put_label(page, label);
    page_wrap(page, colour, REPORT_DETAIL + 11, buf_slice(text));
    buf_release(text);
}

/* "billing/bill/b1 at version 3" */
static void put_stream(struct page *page, const struct fields *aggregate, const struct fields *sample)
{
    page_format(page, PAGE_BOLD, "%.*s/%.*s", SLICE_ARGS(fields_text(aggregate, "name")),
                SLICE_ARGS(fields_text(sample, "stream")));
    report_tenant_put(page, sample);
    page_format(page, PAGE_PLAIN, " at version %lld", (long long)fields_int(sample, "version"));
}

static void put_states(struct page *page, const struct fields *aggregate)
{
    const uint8_t *at = NULL;
    struct fields sample;
    struct buf text = {0};
    char digits[32];
    int64_t changed = fields_int(aggregate, "states_changed"),
            failed = fields_int(aggregate, "states_failed"), streams = fields_int(aggregate, "streams");
    if (!streams) return;
    buf_format(&text, "%s looked at: ", page_count((uint64_t)streams, digits));
    buf_format(&text, "%s changed", page_count((uint64_t)changed, digits));
    if (failed) buf_format(&text, ", %s cannot be folded any more", page_count((uint64_t)failed, digits));
    put_line(page, "states", failed ? PAGE_RED : changed ? PAGE_YELLOW : PAGE_PLAIN, &text);
    report_counts_put(page, "fields", aggregate, "fields");
    while (fields_next(aggregate, "samples", &at, &sample)) {
        put_label(page, "state");
        put_stream(page, aggregate, &sample);
        page_end(page);
        report_values_put(page, REPORT_VALUE, report_member(&sample, "before"),
                          report_member(&sample, "after"));
    }
}

static void put_command_samples(struct page *page, const struct fields *aggregate, size_t kind)
{
    const uint8_t *at = NULL;
    struct fields sample;
    while (fields_next(aggregate, "command_samples", &at, &sample)) {
        if (!slice_is(fields_text(&sample, "kind"), report_kinds[kind].name)) continue;
        put_label(page, "");
        page_format(page, PAGE_BOLD, "%.*s", SLICE_ARGS(fields_text(&sample, "type")));
        page_put(page, PAGE_PLAIN, slice_of(" to "));
        put_stream(page, aggregate, &sample);
        page_end(page);
        report_outcomes_put(page, REPORT_DETAIL + 11, report_member(&sample, "before"),
                            report_member(&sample, "after"));
    }
}

static void put_commands(struct page *page, const struct fields *aggregate)
{
    struct fields commands;
    struct buf text = {0};
    char digits[32];
    if (!fields_object(aggregate, "commands", &commands) || !fields_int(&commands, "decided")) return;
    int64_t already = fields_int(&commands, "already"), undecided = fields_int(&commands, "undecided");
    buf_format(&text, "%s decided again: ", page_count((uint64_t)fields_int(&commands, "decided"), digits));
    buf_format(&text, "%s as they were", page_count((uint64_t)fields_int(&commands, "same"), digits));
    if (already)
        buf_format(&text, ", %s otherwise, but so the running version does",
                   page_count((uint64_t)already, digits));
    if (undecided) buf_format(&text, ", %s could not be", page_count((uint64_t)undecided, digits));
    put_line(page, "commands", undecided ? PAGE_RED : PAGE_PLAIN, &text);
    for (size_t kind = 0; kind < sizeof report_kinds / sizeof *report_kinds; kind++) {
        int64_t count = fields_int(&commands, report_kinds[kind].name);
        if (!count) continue;
        put_label(page, "");
        page_format(page, report_kinds[kind].colour, "%s %s", page_count((uint64_t)count, digits),
                    report_kinds[kind].words);
        page_end(page);
        put_command_samples(page, aggregate, kind);
    }
}

static void put_errors(struct page *page, const struct fields *aggregate)
{
    const uint8_t *at = NULL;
    struct fields error, example;
    char digits[32];
    while (fields_next(aggregate, "errors", &at, &error)) {
        struct buf text = {0};
        buf_format(&text, "%.*s", SLICE_ARGS(fields_text(&error, "error")));
        if (fields_int(&error, "count") > 1)
            buf_format(&text, " (%s times)", page_count((uint64_t)fields_int(&error, "count"), digits));
        put_line(page, "error", PAGE_RED, &text);
        if (!fields_object(&error, "example", &example)) continue;
        put_label(page, "");
        page_format(page, PAGE_PLAIN, "%.*s of ", SLICE_ARGS(fields_text(&example, "type")));
        put_stream(page, aggregate, &example);
        page_end(page);
    }
}

static void put_left_out(struct page *page, const struct fields *aggregate)
{
    struct buf text = {0};
    char digits[32];
    int64_t older = fields_int(aggregate, "older"), left_out = fields_int(aggregate, "left_out");
    if (!older && !left_out) return;
    if (older)
        buf_format(&text, "%s older stream%s", page_count((uint64_t)older, digits), older == 1 ? "" : "s");
    if (left_out)
        buf_format(&text, "%s%s stream%s for which there was no time", older ? ", " : "",
                   page_count((uint64_t)left_out, digits), left_out == 1 ? "" : "s");
    put_line(page, "not seen", left_out ? PAGE_YELLOW : PAGE_PLAIN, &text);
}

/* "billing/bill: billing/bill.lua changed, contract billing.BillClosed is new" */
static void put_name(struct page *page, const struct fields *aggregate)
{
    struct buf text = {0};
    struct slice change = fields_text(aggregate, "change");
    page_indent(page, REPORT_INDENT);
    page_put(page, PAGE_BOLD, fields_text(aggregate, "name"));
    const char *between = ": ";
    if (slice_is(change, "added") || slice_is(change, "removed")) {
        buf_format(&text, ": %.*s", SLICE_ARGS(change));
        between = ", ";
    }
    struct slice reason;
    for (size_t at = 0; (reason = report_text_at(aggregate, "reason", at)).size; at++) {
        buf_format(&text, "%s%.*s", between, SLICE_ARGS(reason));
        between = ", ";
    }
    page_wrap(page, PAGE_PLAIN, REPORT_DETAIL, buf_slice(&text));
    page_end(page);
    buf_release(&text);
}

void report_aggregates_put(struct page *page, const struct fields *report)
{
    const uint8_t *at = NULL;
    struct fields aggregate;
    for (bool first = true; fields_next(report, "aggregates", &at, &aggregate); first = false) {
        if (first) page_title(page, "aggregates");
        put_name(page, &aggregate);
        put_states(page, &aggregate);
        put_commands(page, &aggregate);
        put_errors(page, &aggregate);
        put_left_out(page, &aggregate);
    }
}

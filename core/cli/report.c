#include "base/arena.h"
#include "cli/report_inside.h"
#include "codec/mp.h"

enum { REPORT_FIELDS_SHOWN = 12 };

/* --- what the sections share --- */

struct slice report_member(const struct fields *fields, const char *name)
{
    struct slice value;
    return fields_has(fields, name) && mp_find(buf_slice(&fields->bytes), slice_of(name), &value)
               ? value
               : SLICE_NONE;
}

struct slice report_text_at(const struct fields *fields, const char *name, size_t at)
{
    struct mp_reader reader = mp_reader_of(report_member(fields, name));
    struct mp_value list, value = {0};
    if (reader.at == reader.end || mp_read(&reader, &list) < 0 || list.kind != MP_LIST || at >= list.count)
        return SLICE_NONE;
    for (size_t skipped = 0; skipped < at; skipped++)
        if (mp_skip(&reader) < 0) return SLICE_NONE;
    return mp_read(&reader, &value) == 0 && value.kind == MP_TEXT ? value.text : SLICE_NONE;
}

void report_tenant_put(struct page *page, const struct fields *of)
{
    struct slice tenant = fields_text(of, "tenant");
    if (tenant.size && !slice_is(tenant, "main"))
        page_format(page, PAGE_PLAIN, " (tenant %.*s)", SLICE_ARGS(tenant));
}

struct named_count {
    struct slice name;
    int64_t count;
};

/* The greatest of those from `at` on comes to `at`; of equal ones the first. */
static void greatest_first(struct named_count *counts, size_t count, size_t at)
{
    size_t greatest = at;
    for (size_t other = at; other < count; other++)
        if (counts[other].count > counts[greatest].count) greatest = other;
    struct named_count found = counts[greatest];
    memmove(&counts[at + 1], &counts[at], (greatest - at) * sizeof *counts);
    counts[at] = found;
}

void report_counts_put(struct page *page, const char *label, const struct fields *fields, const char *name)
{
    struct mp_reader reader = mp_reader_of(report_member(fields, name));
    struct mp_value map, key, value;
    struct arena arena = {0};
    struct buf text = {0};
    char digits[32];
    if (reader.at == reader.end || mp_read(&reader, &map) < 0 || map.kind != MP_MAP || !map.count) return;
    struct named_count *counts = arena_zero(&arena, map.count * sizeof *counts);
    for (uint32_t at = 0; at < map.count; at++)
        if (mp_read(&reader, &key) == 0 && key.kind == MP_TEXT && mp_read(&reader, &value) == 0 &&
            value.kind == MP_INT)
            counts[at] = (struct named_count){key.text, value.integer};
    for (size_t at = 0; at < map.count && at < REPORT_FIELDS_SHOWN; at++) {
        greatest_first(counts, map.count, at);
        buf_format(&text, "%s%.*s %s", at ? ", " : "", SLICE_ARGS(counts[at].name),
                   page_count((uint64_t)counts[at].count, digits));
    }
    if (map.count > REPORT_FIELDS_SHOWN)
        buf_format(&text, " and %u more", (unsigned)(map.count - REPORT_FIELDS_SHOWN));
    page_indent(page, REPORT_DETAIL);
    page_format(page, PAGE_PLAIN, "%-10s ", label);
    page_wrap(page, PAGE_PLAIN, REPORT_DETAIL + 11, buf_slice(&text));
    buf_release(&text);
    arena_release(&arena);
}

/* --- the head --- */

static size_t count_scripts(const struct fields *report, const char *change)
{
    size_t count = 0;
    const uint8_t *at = NULL;
    struct fields script;
    while (fields_next(report, "scripts", &at, &script))
        count += slice_is(fields_text(&script, "change"), change);
    return count;
}

static void put_head(struct page *page, const struct fields *report)
{
    static const char *const changes[] = {"changed", "added", "removed"};
    bool plan = fields_flag(report, "plan");
    int64_t before = fields_int(report, "before");
    struct buf text = {0};
    buf_format(&text, "%sdeploy %lld", plan ? "plan of " : "", (long long)fields_int(report, "deploy"));
    if (before) buf_format(&text, " against %sdeploy %lld", plan ? "running " : "", (long long)before);
    const char *between = ": ";
    for (size_t at = 0; at < sizeof changes / sizeof *changes; at++) {
        size_t count = count_scripts(report, changes[at]);
        if (!count) continue;
        const char *unit = between[0] != ':' ? "" : count == 1 ? "script " : "scripts ";
        buf_format(&text, "%s%zu %s%s", between, count, unit, changes[at]);
        between = ", ";
    }
    if (between[0] == ':' && fields_has(report, "scripts")) buf_put_text(&text, ": no script changed");
    page_wrap(page, PAGE_BOLD, REPORT_INDENT, buf_slice(&text));
    buf_release(&text);
}

static void put_scripts(struct page *page, const struct fields *report)
{
    const uint8_t *at = NULL;
    struct fields script;
    bool some = false;
    while (fields_next(report, "scripts", &at, &script)) {
        if (!some) page_title(page, "scripts");
        some = true;
        struct slice change = fields_text(&script, "change");
        page_indent(page, REPORT_INDENT);
        page_format(page,
                    slice_is(change, "added")     ? PAGE_GREEN
                    : slice_is(change, "removed") ? PAGE_RED
                                                  : PAGE_YELLOW,
                    "%-9.*s", SLICE_ARGS(change));
        page_put(page, PAGE_PLAIN, fields_text(&script, "path"));
        page_end(page);
    }
}

static bool does_load(const struct fields *report)
{
    struct fields loads;
    return !fields_object(report, "loads", &loads) || fields_flag(&loads, "ok");
}

/* --- loading, specs, replay --- */

/* "billing/bill.lua:12: unknown global …" and below it the line. */
static void put_errors(struct page *page, const struct fields *loads)
{
    const uint8_t *at = NULL;
    struct fields error;
    for (bool first = true; fields_next(loads, "errors", &at, &error); first = false) {
        if (first) page_title(page, "does not load");
        struct slice file = fields_text(&error, "file"), text = fields_text(&error, "text");
        struct buf line = {0};
        if (file.size)
            buf_format(&line, "%.*s:%lld: ", SLICE_ARGS(file), (long long)fields_int(&error, "line"));
        buf_put_slice(&line, fields_text(&error, "message"));
        page_indent(page, REPORT_INDENT);
        page_wrap(page, PAGE_RED, REPORT_DETAIL, buf_slice(&line));
        if (text.size) {
            page_indent(page, REPORT_DETAIL + REPORT_INDENT);
            page_cut(page, PAGE_PLAIN, text, 0, page->width - page->column);
            page_end(page);
        }
        buf_release(&line);
    }
}

static void put_warnings(struct page *page, const struct fields *loads)
{
    struct slice warning;
    for (size_t at = 0; (warning = report_text_at(loads, "warnings", at)).size; at++) {
        if (at == 0) page_title(page, "warnings");
        page_indent(page, REPORT_INDENT);
        page_wrap(page, PAGE_YELLOW, REPORT_DETAIL, warning);
    }
}

static void put_specs(struct page *page, const struct fields *report)
{
    struct fields specs;
    if (!fields_object(report, "specs", &specs)) return;
    long long passed = fields_int(&specs, "passed"), failed = fields_int(&specs, "failed");
    page_title(page, "specs");
    page_indent(page, REPORT_INDENT);
    page_format(page, PAGE_PLAIN, "%lld passed, ", passed);
    page_format(page, failed ? PAGE_RED : PAGE_PLAIN, "%lld failed", failed);
    page_end(page);
}

static void put_replay(struct page *page, const struct fields *report)
{
    struct fields replay;
    char digits[32];
    if (fields_flag(report, "same") || !does_load(report)) return;
    if (!fields_object(report, "replay", &replay)) {
        page_title(page, "replay");
        page_indent(page, REPORT_INDENT);
        page_wrap(
            page, PAGE_PLAIN, REPORT_INDENT,
            slice_of("left out: what becomes of documents, states and recorded commands was not looked at"));
        return;
    }
    struct buf text = {0};
    bool done = fields_flag(&replay, "done");
    page_title(page, "replay");
    page_indent(page, REPORT_INDENT);
    buf_format(&text, "up to position %s in %.1f s",
               page_count((uint64_t)fields_int(&replay, "position"), digits),
               fields_number(&replay, "seconds"));
    if (!done) buf_put_text(&text, ": the budget ended it, not all was looked at");
    page_wrap(page, done ? PAGE_PLAIN : PAGE_YELLOW, REPORT_INDENT, buf_slice(&text));
    buf_release(&text);
}

/* --- the verdict --- */

bool report_is_refused(const struct fields *report)
{
    return !does_load(report) ||
           (report_text_at(report, "refused", 0).size && !fields_flag(report, "forced"));
}

/* One reason stands in the verdict; of several each has a line before it. */
static void put_reasons(struct page *page, const struct fields *report, size_t *count)
{
    *count = 0;
    while (report_text_at(report, "refused", *count).size) ++*count;
    if (*count < 2) return;
    page_title(page, fields_flag(report, "forced") ? "forced against" : "refused");
    for (size_t at = 0; at < *count; at++) {
        page_indent(page, REPORT_INDENT);
        page_wrap(page, PAGE_RED, REPORT_DETAIL, report_text_at(report, "refused", at));
    }
}

static void put_verdict(struct page *page, const struct fields *report)
{
    size_t count;
    struct buf text = {0};
    bool plan = fields_flag(report, "plan"), forced = fields_flag(report, "forced");
    long long deploy = fields_int(report, "deploy");
    put_reasons(page, report, &count);
    page_title(page, "");
    if (!does_load(report)) {
        buf_put_text(&text,
                     plan ? "would not be deployed: it does not load" : "not deployed: it does not load");
    } else if (fields_flag(report, "same")) {
        buf_format(&text, "deploy %lld runs and is the same: there is nothing to deploy", deploy);
    } else if (report_is_refused(report)) {
        buf_put_text(&text, plan ? "would be refused: " : "refused: ");
        if (count == 1)
            buf_put_slice(&text, report_text_at(report, "refused", 0));
        else
            buf_format(&text, "%zu reasons, see above", count);
    } else if (plan) {
        buf_put_text(&text, forced ? "would be deployed by force" : "would be deployed");
    } else {
        buf_format(&text, "deploy %lld runs", deploy);
        if (forced) buf_put_text(&text, ", forced against its gate");
        if (forced && count == 1)
            buf_format(&text, ": %.*s", SLICE_ARGS(report_text_at(report, "refused", 0)));
    }
    page_wrap(page, report_is_refused(report) ? PAGE_RED : PAGE_GREEN, REPORT_INDENT, buf_slice(&text));
    buf_release(&text);
}

void report_put(struct page *page, const struct fields *report)
{
    struct fields loads;
    if (!fields_flag(report, "same")) {
        put_head(page, report);
        put_scripts(page, report);
    }
    if (fields_object(report, "loads", &loads)) {
        put_errors(page, &loads);
        put_warnings(page, &loads);
    }
    put_specs(page, report);
    report_contracts_put(page, report);
    report_views_put(page, report);
    report_aggregates_put(page, report);
    report_back_put(page, report);
    put_replay(page, report);
    put_verdict(page, report);
}

#include "run/compare.h"

#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/mp.h"

enum { COMPARE_SAMPLES = 5, COMPARE_PAGE = 4096 }; /* documents until a generation is let go */

struct compare_side { /* one generation, read in order of tenant and key */
    struct docs *docs;
    struct docs_read *given; /* a snapshot of all tenants, the caller's; NULL: page by page */
    struct docs_read *read;
    struct buf tenant, last; /* last: the key where the page begins */
    unsigned left;           /* of the page */
    bool ended, has;
    struct slice key, value;
};

struct compare_run {
    const struct compare_options *options;
    struct compare *report;
    struct compare_fields fields;
    struct compare_side before, after;
    struct buf text;
    size_t samples;
    struct fault *fault;
};

/* --- one side --- */

static void compare_close_page(struct compare_side *side)
{
    if (side->read) docs_read_close(side->read);
    side->read = NULL;
}

static int compare_open_page(struct compare_side *side, struct fault *fault)
{
    struct docs_range range = {.tenant = buf_slice(&side->tenant), .after = buf_slice(&side->last)};
    side->left = COMPARE_PAGE;
    return docs_read_open(side->docs, &range, &side->read, fault);
}

static int compare_next_given(struct compare_side *side, struct fault *fault)
{
    int found = docs_read_next(side->given, &side->key, &side->value, fault);
    side->has = found == 1;
    side->ended = found == 0;
    if (found != 1) return found;
    const char *end = memchr(side->key.data, 0, side->key.size);
    if (!end) return fault_set(fault, FAULT_CORRUPT, "a document without a tenant");
    size_t tenant_size = (size_t)(end - side->key.data);
    buf_clear(&side->tenant);
    buf_put(&side->tenant, side->key.data, tenant_size);
    side->key = slice_make(end + 1, side->key.size - tenant_size - 1);
    return 0;
}

/* The next document; side->has tells whether there is one. What it had before is gone. */
static int compare_next(struct compare_side *side, struct fault *fault)
{
    side->has = false;
    if (side->given) return side->ended ? 0 : compare_next_given(side, fault);
    while (side->docs && !side->ended) {
        if (side->read && side->left == 0) {
            buf_clear(&side->last);
            buf_put_slice(&side->last, side->key);
            compare_close_page(side);
        }
        if (!side->read && side->tenant.size && compare_open_page(side, fault) < 0) return -1;
        int found = side->read ? docs_read_next(side->read, &side->key, &side->value, fault) : 0;
        if (found < 0) return -1;
        if (found) {
            side->left--;
            side->has = true;
            return 0;
        }
        compare_close_page(side);
        buf_clear(&side->last);
        found = docs_next_tenant(side->docs, &side->tenant, fault);
        if (found < 0) return -1;
        side->ended = !found;
    }
    return 0;
}

static void compare_side_release(struct compare_side *side)
{
    compare_close_page(side);
    buf_release(&side->tenant);
    buf_release(&side->last);
}

/* --- documents --- */

static void compare_keep_sample(struct compare_run *run, int kind, const struct compare_side *of,
                                struct slice before, struct slice after)
{
    struct compare *report = run->report;
    size_t at = report->sample_count[kind];
    if (at == run->samples) return;
    if (!report->samples[kind])
        report->samples[kind] = arena_zero(&report->arena, run->samples * sizeof *report->samples[kind]);
    struct compare_sample *sample = &report->samples[kind][report->sample_count[kind]++];
    sample->tenant = arena_copy(&report->arena, buf_slice(&of->tenant));
    sample->key = arena_copy(&report->arena, of->key);
    buf_clear(&run->text);
    if (before.size) compare_sample_json(before, after, &run->text);
    sample->before = arena_copy(&report->arena, buf_slice(&run->text));
    buf_clear(&run->text);
    if (after.size) compare_sample_json(after, before, &run->text);
    sample->after = arena_copy(&report->arena, buf_slice(&run->text));
}

/* Which comes first: below 0 the old one's, above 0 the new one's, 0: both have this document. */
static int compare_order(const struct compare_run *run)
{
    if (!run->before.has) return 1;
    if (!run->after.has) return -1;
    int order = slice_compare(buf_slice(&run->before.tenant), buf_slice(&run->after.tenant));
    return order ? order : slice_compare(run->before.key, run->after.key);
}

static void compare_both_have(struct compare_run *run)
{
    struct slice before = run->before.value, after = run->after.value;
    if (slice_equal(before, after)) {
        run->report->counts.same++;
        return;
    }
    run->report->counts.changed++;
    compare_values(&run->fields, before, after, COMPARE_DEPTH);
    compare_keep_sample(run, COMPARE_CHANGED, &run->after, before, after);
}

static int compare_documents(struct compare_run *run)
{
    struct compare_counts *counts = &run->report->counts;
    const struct compare_options *options = run->options;
    if (compare_next(&run->before, run->fault) < 0 || compare_next(&run->after, run->fault) < 0) return -1;
    while (run->before.has || run->after.has) {
        if (options->stop && atomic_load(options->stop))
            return fault_set(run->fault, FAULT_UNAVAILABLE, "stopped");
        int order = compare_order(run);
        counts->before += order <= 0;
        counts->after += order >= 0;
        if (order < 0) {
            counts->removed++;
            compare_keep_sample(run, COMPARE_REMOVED, &run->before, run->before.value, SLICE_NONE);
        } else if (order > 0) {
            counts->added++;
            compare_keep_sample(run, COMPARE_ADDED, &run->after, SLICE_NONE, run->after.value);
        } else {
            compare_both_have(run);
        }
        if (options->documents) atomic_fetch_add(options->documents, 1);
        if (order <= 0 && compare_next(&run->before, run->fault) < 0) return -1;
        if (order >= 0 && compare_next(&run->after, run->fault) < 0) return -1;
    }
    return 0;
}

/* --- what failed --- */

static uint64_t compare_member_number(struct slice map, const char *name)
{
    struct slice bytes;
    struct mp_value value;
    if (!mp_find(map, slice_of(name), &bytes)) return 0;
    struct mp_reader reader = mp_reader_of(bytes);
    return mp_read(&reader, &value) == 0 && value.kind == MP_INT ? (uint64_t)value.integer : 0;
}

static struct slice compare_member_text(struct slice map, const char *name)
{
    struct slice bytes;
    struct mp_value value;
    if (!mp_find(map, slice_of(name), &bytes)) return SLICE_NONE;
    struct mp_reader reader = mp_reader_of(bytes);
    return mp_read(&reader, &value) == 0 && value.kind == MP_TEXT ? value.text : SLICE_NONE;
}

static bool compare_count_failure(void *user, struct slice key, struct slice value)
{
    ++*(uint64_t *)user;
    return true;
}

/* "parked/<tenant> 00 <key>" or "stopped/<tenant>". */
static bool compare_keep_failure(void *user, struct slice key, struct slice value)
{
    struct compare_run *run = user;
    struct compare *report = run->report;
    bool is_parked = key.data[0] == 'p';
    size_t head = is_parked ? strlen("parked/") : strlen("stopped/");
    struct compare_failure *list = is_parked ? report->parked : report->stopped;
    size_t *count = is_parked ? &report->parked_count : &report->stopped_count;
    struct slice rest = slice_make(key.data + head, key.size - head);
    const char *end = is_parked ? memchr(rest.data, 0, rest.size) : NULL;
    size_t tenant_size = end ? (size_t)(end - rest.data) : rest.size;
    struct compare_failure *failure = &list[(*count)++];
    failure->tenant = arena_copy(&report->arena, slice_make(rest.data, tenant_size));
    if (end) failure->key = arena_copy(&report->arena, slice_make(end + 1, rest.size - tenant_size - 1));
    failure->error = arena_copy(&report->arena, compare_member_text(value, "error"));
    failure->position = compare_member_number(value, "position");
    failure->skipped = compare_member_number(value, "skipped");
    return *count < run->samples;
}

/* Whether the old generation has a failure as well. */
static int compare_was(struct compare_run *run, const char *head, struct compare_failure *failure)
{
    struct buf key = {0}, value = {0};
    if (!run->options->before) return 0;
    buf_format(&key, "%s%.*s", head, SLICE_ARGS(failure->tenant));
    if (failure->key.size) {
        buf_put_byte(&key, 0);
        buf_put_slice(&key, failure->key);
    }
    int found = docs_meta_get(run->options->before, buf_slice(&key), &value, run->fault);
    failure->is_old = found == 1;
    buf_release(&key);
    buf_release(&value);
    return found < 0 ? -1 : 0;
}

static int compare_failures(struct compare_run *run, const char *head, uint64_t *before, uint64_t *after,
                            struct compare_failure **list, const size_t *count)
{
    struct slice prefix = slice_of(head);
    const struct compare_options *options = run->options;
    if (options->before &&
        docs_meta_each(options->before, prefix, compare_count_failure, before, run->fault) < 0)
        return -1;
    if (!options->after) return 0;
    if (docs_meta_each(options->after, prefix, compare_count_failure, after, run->fault) < 0) return -1;
    *list = arena_zero(&run->report->arena, run->samples * sizeof **list);
    if (docs_meta_each(options->after, prefix, compare_keep_failure, run, run->fault) < 0) return -1;
    for (size_t at = 0; at < *count; at++)
        if (compare_was(run, head, &(*list)[at]) < 0) return -1;
    return 0;
}

static int compare_position(struct docs *docs, uint64_t *position, struct fault *fault)
{
    struct buf value = {0};
    if (!docs) return 0;
    int found = docs_meta_get(docs, slice_of("position"), &value, fault);
    struct mp_reader reader = mp_reader_of(buf_slice(&value));
    struct mp_value number;
    if (found == 1 && mp_read(&reader, &number) == 0 && number.kind == MP_INT)
        *position = (uint64_t)number.integer;
    buf_release(&value);
    return found < 0 ? -1 : 0;
}

/* --- both --- */

static int compare_all(struct compare_run *run)
{
    struct compare *report = run->report;
    struct compare_counts *counts = &report->counts;
    if (compare_position(run->options->before, &report->position_before, run->fault) < 0 ||
        compare_position(run->options->after, &report->position_after, run->fault) < 0 ||
        compare_documents(run) < 0 ||
        compare_failures(run, "parked/", &counts->parked_before, &counts->parked_after, &report->parked,
                         &report->parked_count) < 0 ||
        compare_failures(run, "stopped/", &counts->stopped_before, &counts->stopped_after, &report->stopped,
                         &report->stopped_count) < 0)
        return -1;
    report->fields =
        compare_fields_list(&run->fields, COMPARE_FIELDS_MAX, &report->arena, &report->field_count);
    return 0;
}

int compare_run(const struct compare_options *options, struct compare **compare, struct fault *fault)
{
    int64_t began_ns = clock_monotonic_ns();
    struct compare_run run = {.options = options,
                              .report = MEM_NEW(struct compare),
                              .before = {.docs = options->before, .given = options->before_read},
                              .after = {.docs = options->after, .given = options->after_read},
                              .samples = options->samples ? options->samples : COMPARE_SAMPLES,
                              .fault = fault};
    int done = compare_all(&run);
    compare_side_release(&run.before);
    compare_side_release(&run.after);
    compare_fields_release(&run.fields);
    buf_release(&run.text);
    run.report->seconds = (double)(clock_monotonic_ns() - began_ns) / 1e9;
    if (done < 0)
        compare_free(run.report);
    else
        *compare = run.report;
    return done;
}

void compare_free(struct compare *compare)
{
    arena_release(&compare->arena);
    mem_free(compare);
}

/* --- JSON --- */

static void compare_put_count(struct buf *json, const char *name, uint64_t count)
{
    json_put_int_member(json, name, (int64_t)count);
}

static void compare_put_samples(const struct compare *compare, struct buf *json)
{
    static const char *const changes[COMPARE_KINDS] = {"added", "removed", "changed"};
    json_put_name(json, "samples");
    buf_put_byte(json, '[');
    bool first = true;
    for (int kind = 0; kind < COMPARE_KINDS; kind++)
        for (size_t at = 0; at < compare->sample_count[kind]; at++, first = false) {
            const struct compare_sample *sample = &compare->samples[kind][at];
            buf_put_text(json, first ? "{" : ",{");
            json_put_text_member(json, "change", slice_of(changes[kind]));
            json_put_text_member(json, "tenant", sample->tenant);
            json_put_text_member(json, "key", sample->key);
            if (sample->before.size) {
                json_put_name(json, "before");
                buf_put_slice(json, sample->before);
            }
            if (sample->after.size) {
                json_put_name(json, "after");
                buf_put_slice(json, sample->after);
            }
            buf_put_byte(json, '}');
        }
    buf_put_byte(json, ']');
}

static void compare_put_failures(struct buf *json, const char *name, uint64_t before, uint64_t after,
                                 const struct compare_failure *list, size_t count)
{
    json_put_name(json, name);
    buf_put_byte(json, '{');
    compare_put_count(json, "before", before);
    compare_put_count(json, "after", after);
    json_put_name(json, "samples");
    buf_put_byte(json, '[');
    for (size_t at = 0; at < count; at++) {
        buf_put_text(json, at ? ",{" : "{");
        json_put_text_member(json, "tenant", list[at].tenant);
        if (list[at].key.size) json_put_text_member(json, "key", list[at].key);
        json_put_text_member(json, "error", list[at].error);
        compare_put_count(json, "position", list[at].position);
        if (list[at].key.size) compare_put_count(json, "skipped", list[at].skipped);
        json_put_name(json, "before");
        buf_put_text(json, list[at].is_old ? "true}" : "false}");
    }
    buf_put_text(json, "]}");
}

void compare_put_json(const struct compare *compare, struct slice name, struct buf *json)
{
    const struct compare_counts *counts = &compare->counts;
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", name);
    json_put_name(json, "positions");
    buf_put_byte(json, '{');
    compare_put_count(json, "before", compare->position_before);
    compare_put_count(json, "after", compare->position_after);
    buf_put_byte(json, '}');
    json_put_name(json, "documents");
    buf_put_byte(json, '{');
    compare_put_count(json, "before", counts->before);
    compare_put_count(json, "after", counts->after);
    compare_put_count(json, "added", counts->added);
    compare_put_count(json, "removed", counts->removed);
    compare_put_count(json, "changed", counts->changed);
    compare_put_count(json, "same", counts->same);
    buf_put_byte(json, '}');
    json_put_name(json, "fields");
    compare_fields_json(compare->fields, compare->field_count, json);
    compare_put_samples(compare, json);
    compare_put_failures(json, "parked", counts->parked_before, counts->parked_after, compare->parked,
                         compare->parked_count);
    compare_put_failures(json, "stopped", counts->stopped_before, counts->stopped_after, compare->stopped,
                         compare->stopped_count);
    buf_put_byte(json, '}');
}

#include "run/scan_filter.h"

#include "base/mem.h"
#include "codec/time.h"

static bool starts_with_part(struct slice text, struct slice part)
{
    return text.size > part.size && text.data[part.size] == '/' &&
           slice_equal(slice_make(text.data, part.size), part);
}

static bool ends_with_part(struct slice text, struct slice part)
{
    return text.size > part.size && text.data[text.size - part.size - 1] == '/' &&
           slice_equal(slice_make(text.data + text.size - part.size, part.size), part);
}

/* --- names to numbers --- */

static uint32_t number_of(struct scan_filter *filter, struct names *names, struct slice name)
{
    if (name.size == 0) return 0;
    uint32_t number = names_find(names, name);
    if (!number || number >= filter->name_count) filter->nothing = true;
    return number;
}

static void open_types(struct scan_filter *filter, struct names *names, const struct seek_filter *asked)
{
    if (asked->type_count == 0) return;
    filter->types = mem_zero(filter->name_count * sizeof *filter->types);
    filter->contexts = mem_zero(asked->type_count * sizeof *filter->contexts);
    for (size_t at = 0; at < asked->type_count; at++) {
        struct slice type = asked->types[at], context = SLICE_NONE;
        const char *dot = type.size ? memchr(type.data, '.', type.size) : NULL;
        if (dot) {
            context = slice_make(type.data, (size_t)(dot - type.data));
            type = slice_make(dot + 1, type.size - context.size - 1);
        }
        uint32_t number = names_find(names, type);
        if (!number || number >= filter->name_count) continue;
        filter->types[number] = true;
        filter->contexts[filter->context_count++] = (struct scan_type){number, context};
    }
    if (filter->context_count == 0) filter->nothing = true;
    for (size_t at = 0; at < filter->context_count; at++)
        if (filter->contexts[at].context.size) return;
    filter->context_count = 0; /* the table says it all */
}

static bool aggregate_fits(const struct seek_filter *asked, struct slice name)
{
    if (asked->context.size && !starts_with_part(name, asked->context)) return false;
    if (asked->aggregate.size == 0) return true;
    return slice_equal(name, asked->aggregate) || ends_with_part(name, asked->aggregate);
}

static void open_aggregates(struct scan_filter *filter, const struct seek_filter *asked)
{
    if (asked->context.size == 0 && asked->aggregate.size == 0) return;
    bool some = false;
    filter->aggregates = mem_zero(filter->name_count * sizeof *filter->aggregates);
    for (uint32_t number = 1; number < filter->name_count; number++) {
        filter->aggregates[number] = aggregate_fits(asked, names_get(filter->names, number));
        some = some || filter->aggregates[number];
    }
    if (!some) filter->nothing = true;
}

static int open_time(struct slice text, const char *field, int64_t *ms, struct fault *fault)
{
    if (text.size == 0 || time_parse(text, ms)) return 0;
    return fault_set(fault, FAULT_MALFORMED,
                     "%s: %.*s is no time: expected one like 2026-02-01 or 2026-02-01T08:26:00Z", field,
                     text.size < 80 ? (int)text.size : 80, text.data);
}

int scan_filter_open(struct scan_filter *filter, struct names *names, const struct seek_filter *asked,
                     struct slice tenant, struct fault *fault)
{
    *filter = (struct scan_filter){.names = names,
                                   .name_count = names_count(names) + 1,
                                   .deploy = asked->deploy,
                                   .has_deploy = asked->has_deploy,
                                   .since_ms = INT64_MIN,
                                   .until_ms = INT64_MAX,
                                   .correlation = asked->correlation};
    if (open_time(asked->since, "since", &filter->since_ms, fault) < 0 ||
        open_time(asked->until, "until", &filter->until_ms, fault) < 0)
        return -1;
    if (asked->tenant.size) tenant = asked->tenant;
    if (!slice_is(tenant, "*")) filter->tenant = number_of(filter, names, tenant);
    filter->actor = number_of(filter, names, asked->actor);
    open_types(filter, names, asked);
    open_aggregates(filter, asked);
    if (asked->correlation.size > 254) filter->nothing = true;
    if (asked->correlation.size && !filter->nothing)
        record_put_id(&filter->correlation_bytes, asked->correlation);
    return 0;
}

void scan_filter_close(struct scan_filter *filter)
{
    mem_free(filter->types);
    mem_free(filter->aggregates);
    mem_free(filter->contexts);
    buf_release(&filter->correlation_bytes);
}

/* --- records and events --- */

/* Few records have the id's bytes, and only those are read for it. */
static bool correlation_fits(const struct scan_filter *filter, const struct record *record)
{
    struct slice bytes = buf_slice(&filter->correlation_bytes);
    if (!memmem(record->envelope.data, record->envelope.size, bytes.data, bytes.size)) return false;
    struct arena arena = {0};
    struct record_ids ids;
    record_read_ids(record, &arena, &ids);
    bool fits = slice_equal(ids.correlation_id, filter->correlation);
    arena_release(&arena);
    return fits;
}

bool scan_filter_fits(const struct scan_filter *filter, const struct record *record)
{
    if (record->kind == RECORD_ERASED || filter->nothing) return false;
    if (filter->tenant && record->tenant != filter->tenant) return false;
    if (filter->has_deploy && record->deploy != filter->deploy) return false;
    if (filter->actor && record->actor != filter->actor) return false;
    if (filter->aggregates &&
        (record->aggregate >= filter->name_count || !filter->aggregates[record->aggregate]))
        return false;
    return filter->correlation_bytes.size == 0 || correlation_fits(filter, record);
}

static bool context_fits(const struct scan_filter *filter, const struct record *record, uint32_t type)
{
    struct slice aggregate = names_get(filter->names, record->aggregate);
    for (size_t at = 0; at < filter->context_count; at++) {
        const struct scan_type *wanted = &filter->contexts[at];
        if (wanted->number == type &&
            (wanted->context.size == 0 || starts_with_part(aggregate, wanted->context)))
            return true;
    }
    return false;
}

bool scan_filter_fits_event(const struct scan_filter *filter, const struct record *record,
                            const struct record_event *event)
{
    if (filter->types && (event->type >= filter->name_count || !filter->types[event->type])) return false;
    if (event->at_ms < filter->since_ms || event->at_ms > filter->until_ms) return false;
    return filter->context_count == 0 || context_fits(filter, record, event->type);
}

#include "run/past_read.h"

#include "base/map.h"
#include "base/mem.h"
#include "run/fold.h"

enum {
    PAST_LOOK_EVERY = 256,       /* records between two looks at the clock */
    PAST_CURSOR_MS = 50,         /* then a scan lets its pages of the log go */
    PAST_CUT_MAX = 1 << 20,      /* streams that a scan remembers as cut */
    PAST_NAME_SIZE_MAX = 4 + 256 /* an aggregate's number and an id */
};

/* What the projection does with events of one aggregate and type. */
struct past_route {
    uint32_t numbers[2];
    struct slice context, aggregate, type;
    bool taken;
    int handler;
};

struct past_source {         /* one stream, or the log */
    struct stream_id stream; /* of a scan: empty */
    struct engine_cursor *cursor;
    struct record record;
    struct record_event event;
    bool has_record, ended;
};

struct past_read {
    struct past_read_from from;
    uint32_t tenant;
    struct past_source *sources;
    size_t source_count;
    bool has_sources;
    struct past_source *last; /* gave the last event, which is still borrowed */
    uint64_t position;
    unsigned records;
    int64_t opened_ns;
    struct map routes; /* by two numbers */
    struct map cut;    /* of a scan: by aggregate's number and id */
    struct arena arena;
};

static bool past_is_scan(const struct past_read *read)
{
    return read->from.id.size == 0;
}

/* --- which streams --- */

static int past_add_stream(struct past_read *read, struct slice aggregate, struct fault *fault)
{
    struct stream_id stream = {read->from.tenant, aggregate, read->from.id};
    uint64_t version, position;
    if (engine_stream_head(read->from.engine, &stream, &version, &position, fault) < 0) return -1;
    if (version == 0) return 0;
    read->sources = mem_resize(read->sources, (read->source_count + 1) * sizeof *read->sources);
    read->sources[read->source_count++] = (struct past_source){.stream = stream};
    return 0;
}

static bool past_has_context(const struct past_read *read, struct slice aggregate)
{
    const struct domain_projection *projection = read->from.projection;
    for (size_t at = 0; at < projection->event_count; at++) {
        struct slice event = projection->events[at]; /* "billing.BillClosed" */
        const char *dot = memchr(event.data, '.', event.size);
        size_t size = dot ? (size_t)(dot - event.data) : event.size;
        if (aggregate.size > size && aggregate.data[size] == '/' &&
            memcmp(aggregate.data, event.data, size) == 0)
            return true;
    }
    return false;
}

/* Any name of the log that can be an aggregate of these contexts, declared today or not. */
static int past_find_streams(struct past_read *read, struct fault *fault)
{
    read->has_sources = true;
    if (past_is_scan(read)) {
        read->sources = mem_zero(sizeof *read->sources);
        read->source_count = 1;
        return 0;
    }
    const struct names *names = engine_names(read->from.engine);
    uint32_t count = names_count(names);
    for (uint32_t number = 1; number <= count; number++) {
        struct slice name = names_get(names, number);
        if (past_has_context(read, name) && past_add_stream(read, name, fault) < 0) return -1;
    }
    return 0;
}

struct past_read *past_read_new(const struct past_read_from *from)
{
    struct past_read *read = MEM_NEW(struct past_read);
    read->from = *from;
    uint64_t head = engine_head(from->engine).position;
    if (read->from.bound.position > head) read->from.bound.position = head;
    read->tenant = names_find(engine_names(from->engine), from->tenant);
    return read;
}

static void past_close_cursors(struct past_read *read)
{
    for (size_t at = 0; at < read->source_count; at++) {
        engine_cursor_close(read->sources[at].cursor);
        read->sources[at].cursor = NULL;
        read->sources[at].has_record = false;
    }
}

void past_read_free(struct past_read *read)
{
    if (!read) return;
    size_t at = 0;
    struct past_route *route;
    past_close_cursors(read);
    while ((route = map_next(&read->routes, &at))) mem_free(route);
    map_release(&read->routes);
    map_release(&read->cut);
    arena_release(&read->arena);
    mem_free(read->sources);
    mem_free(read);
}

uint64_t past_read_position(const struct past_read *read)
{
    return read->position;
}

/* --- routes and cuts --- */

static struct past_route *past_route(struct past_read *read, const struct record *record, uint32_t type)
{
    uint32_t numbers[2] = {record->aggregate, type};
    struct slice key = slice_make((const char *)numbers, sizeof numbers);
    struct past_route *route = map_find(&read->routes, key);
    if (route) return route;
    route = MEM_NEW(struct past_route);
    memcpy(route->numbers, numbers, sizeof numbers);
    struct slice aggregate = names_get(record->names, record->aggregate);
    route->handler = -1;
    route->type = names_get(record->names, type);
    route->aggregate = fold_aggregate_name(aggregate);
    if (route->aggregate.data > aggregate.data)
        route->context = slice_make(aggregate.data, aggregate.size - route->aggregate.size - 1);
    const struct domain_projection *projection = read->from.projection;
    for (size_t at = 0; at < projection->event_count && !route->taken; at++) {
        struct slice event = projection->events[at];
        route->taken =
            event.size == route->context.size + 1 + route->type.size &&
            slice_starts(slice_make(event.data + route->context.size, 1), ".") &&
            slice_equal(slice_make(event.data, route->context.size), route->context) &&
            slice_equal(slice_make(event.data + route->context.size + 1, route->type.size), route->type);
    }
    map_put(&read->routes, slice_make((const char *)route->numbers, sizeof route->numbers), route);
    return route;
}

static struct slice past_stream_name(const struct record *record, char text[PAST_NAME_SIZE_MAX])
{
    memcpy(text, &record->aggregate, sizeof record->aggregate);
    size_t size = record->id.size < 256 ? record->id.size : 255;
    memcpy(text + sizeof record->aggregate, record->id.data, size);
    return slice_make(text, sizeof record->aggregate + size);
}

/* --- one source --- */

static int past_open(struct past_read *read, struct past_source *source, struct fault *fault)
{
    read->opened_ns = clock_monotonic_ns();
    if (past_is_scan(read)) return engine_read(read->from.engine, read->position + 1, &source->cursor, fault);
    return engine_read_stream(read->from.engine, &source->stream, 1, &source->cursor, fault);
}

int past_read_seek(struct past_read *read, uint64_t position, struct fault *fault)
{
    past_close_cursors(read);
    if (!read->has_sources && past_find_streams(read, fault) < 0) return -1;
    read->position = position;
    read->last = NULL;
    for (size_t at = 0; at < read->source_count; at++) {
        read->sources[at].ended = false;
        if (past_open(read, &read->sources[at], fault) < 0) return -1;
    }
    return 0;
}

/* The next record of the tenant: 1, 0: the end, 2: time to look at the clock, -1. */
static int past_next_record(struct past_read *read, struct past_source *source, struct fault *fault)
{
    for (;;) {
        if (past_is_scan(read) && ++read->records % PAST_LOOK_EVERY == 0) {
            if (clock_monotonic_ns() - read->opened_ns > PAST_CURSOR_MS * 1000000LL) {
                engine_cursor_close(source->cursor);
                source->cursor = NULL;
                if (past_open(read, source, fault) < 0) return -1;
            }
            return 2;
        }
        int found = engine_cursor_next(source->cursor, &source->record, fault);
        if (found != 1) return found;
        const struct record *record = &source->record;
        if (record->first_position > read->from.bound.position) return 0;
        bool wanted = record->kind == RECORD_COMMIT || record->kind == RECORD_FACT;
        if (wanted && (!past_is_scan(read) || record->tenant == read->tenant)) return 1;
        if (past_is_scan(read)) read->position = record->first_position + record->event_count - 1;
    }
}

/* Whether time cuts the stream before this event. 1, 0; -1: too many streams are cut. */
static int past_is_cut(struct past_read *read, const struct past_source *source, struct fault *fault)
{
    char text[PAST_NAME_SIZE_MAX];
    if (read->from.bound.at_ms == INT64_MAX) return 0;
    bool later = source->event.at_ms > read->from.bound.at_ms;
    if (!past_is_scan(read)) return later;
    struct slice name = past_stream_name(&source->record, text);
    if (read->cut.size && map_find(&read->cut, name)) {
        /* One read for the second time: its earlier events are not cut. */
        const uint64_t *version = map_find(&read->cut, name);
        return source->event.version >= *version;
    }
    if (!later) return 0;
    if (read->cut.size == PAST_CUT_MAX)
        return fault_set(fault, FAULT_TOO_LARGE,
                         "more than %d streams went on after the moment: ask for a position", PAST_CUT_MAX);
    uint64_t *version = arena_take(&read->arena, sizeof *version);
    *version = source->event.version;
    map_put(&read->cut, arena_copy(&read->arena, name), version);
    return 1;
}

/* To its next event that counts. 1, 0: the end, 2, -1. */
static int past_advance(struct past_read *read, struct past_source *source, struct fault *fault)
{
    while (!source->ended) {
        if (!source->has_record) {
            int found = past_next_record(read, source, fault);
            if (found < 0 || found == 2) return found;
            source->has_record = found == 1;
            source->ended = found == 0;
            source->event = (struct record_event){0};
            continue;
        }
        if (!record_next_event(&source->record, &source->event)) {
            source->has_record = false;
            if (past_is_scan(read))
                read->position = source->record.first_position + source->record.event_count - 1;
            continue;
        }
        if (source->event.position > read->from.bound.position) break;
        int cut = past_is_cut(read, source, fault);
        if (cut < 0) return -1;
        if (cut && !past_is_scan(read)) break;
        if (cut || source->event.position <= read->position) continue;
        if (past_route(read, &source->record, source->event.type)->taken) return 1;
    }
    source->ended = true;
    source->has_record = false;
    return 0;
}

/* --- all of them --- */

static void past_give(struct past_read *read, struct past_source *source, struct past_event *event)
{
    const struct record *record = &source->record;
    struct past_route *route = past_route(read, record, source->event.type);
    event->envelope = (struct envelope){
        .tenant = read->from.tenant,
        .context = route->context,
        .aggregate = route->aggregate,
        .id = record->id,
        .type = route->type,
        .type_version = source->event.type_version,
        .version = source->event.version,
        .position = source->event.position,
        .deploy = record->deploy,
        .at_ms = source->event.at_ms,
        .recorded_ms = record->recorded_ms,
        .record = record,
    };
    event->data = source->event.data;
    event->handler = &route->handler;
    read->last = source;
}

int past_read_next(struct past_read *read, struct past_event *event, struct fault *fault)
{
    struct past_source *first = NULL;
    for (size_t at = 0; at < read->source_count; at++) {
        struct past_source *source = &read->sources[at];
        /* A source that has not given its event yet stands on it. */
        if (source == read->last || (!source->has_record && !source->ended)) {
            int found = past_advance(read, source, fault);
            if (found < 0 || found == 2) {
                if (source == read->last) read->last = NULL;
                return found;
            }
        }
        if (source->has_record && (!first || source->event.position < first->event.position)) first = source;
    }
    read->last = NULL;
    if (!first) return 0;
    past_give(read, first, event);
    if (!past_is_scan(read)) read->position = first->event.position;
    return 1;
}

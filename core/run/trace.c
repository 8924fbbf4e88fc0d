/* DESIGN. There is no index of correlations: traces are asked for seldom and a log is scanned at millions of
 * events a second. What makes it cheap:
 *
 *  1. An id that was drawn by a hub or by a careful client (UUID of version 7) holds the time when its first
 *     command was made. The scan begins a day before that, found by halving: recorded never goes back. If
 *     nothing is there, the id's clock was not ours, and all of the log is looked at.
 *  2. A record that belongs to the trace has the id's bytes in its envelope, as correlation or as the first
 *     command's id that stands for it. So one search in a hundred bytes tells most of them apart; ids are
 *     read out of the few that are left, and payloads of none.
 *
 * A command's or an event's id is turned into its correlation first. The tree is made from causation ids; a
 * cause counts only if it lies before its effect, so what clients claim makes no circles. */
#include "run/trace.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/time.h"
#include "run/fold.h"

enum {
    TRACE_NODES_MAX = 10000,
    TRACE_ID_MAX = 254,                    /* bytes: what a record can hold */
    TRACE_MARGIN_MS = 24 * 60 * 60 * 1000, /* between the clocks of those who draw ids and the hub's */
    TRACE_LOOK_EVERY = 1024                /* records, at whether the hub stops */
};

struct node {
    struct node *parent, *first, *last, *next; /* children in order */
    bool is_event;
    struct slice id, cause, type, stream, actor, reason, message;
    const char *outcome;
    uint64_t version, position, deploy;
    int64_t recorded_ms, at_ms;
    int depth;
};

/* What one record brings: its commands, then its events. */
struct found {
    int64_t recorded_ms;
    uint64_t number; /* position, or number of the outcome */
    bool is_outcome;
    size_t node, command_count, event_count; /* from node on */
    struct slice cause;
};

struct trace {
    struct engine *engine;
    const atomic_bool *stopping;
    struct slice tenant, id;
    struct buf needle; /* the id as it stands in an envelope */
    char log_id[40];
    struct arena arena, scratch;
    struct node **nodes;
    size_t node_count;
    struct found *founds;
    size_t found_count, found_max;
    struct slice correlation; /* of a command whose own id was asked for */
    bool truncated;
};

/* --- collecting --- */

static struct node *add_node(struct trace *trace, const struct record *record)
{
    struct node *node = arena_zero(&trace->arena, sizeof *node);
    struct slice aggregate = names_get(record->names, record->aggregate);
    node->stream = arena_format(&trace->arena, "%.*s/%.*s", SLICE_ARGS(aggregate), SLICE_ARGS(record->id));
    node->actor = record->actor ? names_get(record->names, record->actor) : SLICE_NONE;
    node->recorded_ms = record->recorded_ms;
    node->deploy = record->deploy;
    trace->nodes[trace->node_count++] = node;
    return node;
}

static void add_commands(struct trace *trace, const struct record *record)
{
    struct record_command command = {0};
    while (record_next_command(record, &command)) {
        if (!command.type) continue; /* a fact's: it carries the row's id */
        struct node *node = add_node(trace, record);
        struct slice reason, message;
        record_read_outcome(record, &reason, &message);
        node->id = arena_copy(&trace->arena, slice_make(command.id, command.id_size));
        node->type = names_get(record->names, command.type);
        node->outcome = record->kind == RECORD_REJECTED   ? "rejected"
                        : record->kind == RECORD_ACCEPTED ? "accepted"
                                                          : "done";
        node->reason = arena_copy(&trace->arena, reason);
        node->message = arena_copy(&trace->arena, message);
    }
}

static void add_events(struct trace *trace, const struct record *record)
{
    struct record_event event = {0};
    while (record_next_event(record, &event)) {
        struct node *node = add_node(trace, record);
        node->is_event = true;
        node->id = arena_format(&trace->arena, "%s:%llu:%llu", trace->log_id,
                                (unsigned long long)record->epoch, (unsigned long long)event.position);
        node->type = names_get(record->names, event.type);
        node->version = event.version;
        node->position = event.position;
        node->at_ms = event.at_ms;
    }
}

static void add_record(struct trace *trace, const struct record *record, uint64_t number, struct slice cause)
{
    if (trace->node_count + record->command_count + record->event_count > TRACE_NODES_MAX) {
        trace->truncated = true;
        return;
    }
    if (trace->found_count == trace->found_max) {
        trace->found_max = trace->found_max ? 2 * trace->found_max : 64;
        trace->founds = mem_resize(trace->founds, trace->found_max * sizeof *trace->founds);
    }
    struct found *found = &trace->founds[trace->found_count++];
    *found = (struct found){.recorded_ms = record->recorded_ms,
                            .number = number,
                            .is_outcome = record->event_count == 0,
                            .node = trace->node_count,
                            .cause = arena_copy(&trace->arena, cause)};
    add_commands(trace, record);
    found->command_count = trace->node_count - found->node;
    add_events(trace, record);
    found->event_count = trace->node_count - found->node - found->command_count;
}

/* The id that everything of this record's trace carries. */
static struct slice correlation_of(struct trace *trace, const struct record *record,
                                   const struct record_ids *ids)
{
    if (ids->correlation_id.size) return arena_copy(&trace->arena, ids->correlation_id);
    return arena_format(&trace->arena, "%s:%llu:%llu", trace->log_id, (unsigned long long)record->epoch,
                        (unsigned long long)record->first_position);
}

static bool has_command(const struct record *record, struct slice id)
{
    struct record_command command = {0};
    while (record_next_command(record, &command))
        if (slice_equal(slice_make(command.id, command.id_size), id)) return true;
    return false;
}

static void look_at(struct trace *trace, const struct record *record, uint64_t number)
{
    if (!memmem(record->envelope.data, record->envelope.size, trace->needle.data, trace->needle.size)) return;
    if (record->kind == RECORD_ERASED ||
        !slice_equal(names_get(record->names, record->tenant), trace->tenant))
        return;
    struct record_ids ids;
    arena_reset(&trace->scratch);
    record_read_ids(record, &trace->scratch, &ids);
    if (slice_equal(ids.correlation_id, trace->id))
        add_record(trace, record, number, ids.causation_id);
    else if (!trace->correlation.size &&
             (slice_equal(ids.batch_id, trace->id) || has_command(record, trace->id)))
        trace->correlation = correlation_of(trace, record, &ids);
}

typedef int open_cursor(struct engine *engine, uint64_t number, struct engine_cursor **cursor,
                        struct fault *fault);

/* The first number whose record was recorded at ms or later; last + 1 if there is none. */
static int find_time(struct trace *trace, open_cursor *open, uint64_t last, int64_t ms, uint64_t *number,
                     struct fault *fault)
{
    uint64_t low = 1, high = last + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct engine_cursor *cursor;
        struct record record;
        if (open(trace->engine, middle, &cursor, fault) < 0) return -1;
        int more = engine_cursor_next(cursor, &record, fault);
        bool late = more == 1 && record.recorded_ms >= ms;
        engine_cursor_close(cursor);
        if (more < 0) return -1;
        if (late || more == 0)
            high = middle;
        else
            low = middle + 1;
    }
    *number = low;
    return 0;
}

static int scan(struct trace *trace, open_cursor *open, uint64_t from, uint64_t last, bool outcomes,
                struct fault *fault)
{
    if (from > last) return 0;
    struct engine_cursor *cursor;
    struct record record;
    if (open(trace->engine, from, &cursor, fault) < 0) return -1;
    int more = 0;
    for (uint64_t number = from, seen = 0; number <= last && !trace->truncated; seen++) {
        if ((more = engine_cursor_next(cursor, &record, fault)) != 1) break;
        if (!outcomes) number = record.first_position;
        look_at(trace, &record, number);
        number += outcomes ? 1 : record.event_count;
        if (seen % TRACE_LOOK_EVERY || !atomic_load(trace->stopping)) continue;
        more = fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
        break;
    }
    engine_cursor_close(cursor);
    return more < 0 ? -1 : 0;
}

/* Milliseconds since 1970 in a UUID of version 7; -1: it is none. */
static int64_t time_of_id(struct slice id)
{
    char digits[13];
    if (id.size != 36 || id.data[8] != '-' || id.data[13] != '-' || id.data[14] != '7') return -1;
    memcpy(digits, id.data, 8);
    memcpy(digits + 8, id.data + 9, 4);
    digits[12] = 0;
    char *end;
    long long ms = strtoll(digits, &end, 16);
    return *end ? -1 : (int64_t)ms;
}

static int scan_from(struct trace *trace, int64_t ms, struct fault *fault)
{
    struct engine_head head = engine_head(trace->engine);
    uint64_t position = 1, outcome = 1;
    if (ms >= 0 && (find_time(trace, engine_read, head.position, ms, &position, fault) < 0 ||
                    find_time(trace, engine_read_outcomes, head.outcomes, ms, &outcome, fault) < 0))
        return -1;
    if (scan(trace, engine_read, position, head.position, false, fault) < 0) return -1;
    return scan(trace, engine_read_outcomes, outcome, head.outcomes, true, fault);
}

static int collect(struct trace *trace, struct fault *fault)
{
    if (trace->id.size == 0 || trace->id.size > TRACE_ID_MAX) return 0; /* no record has it */
    int64_t ms = time_of_id(trace->id);
    size_t before = trace->found_count;
    trace->correlation = SLICE_NONE;
    buf_clear(&trace->needle);
    record_put_id(&trace->needle, trace->id);
    if (ms > TRACE_MARGIN_MS && scan_from(trace, ms - TRACE_MARGIN_MS, fault) < 0) return -1;
    if (trace->found_count > before || trace->correlation.size) return 0;
    return scan_from(trace, -1, fault);
}

/* An event's id: of which correlation is it? */
static int read_event_id(struct trace *trace, struct fault *fault)
{
    size_t log_size = strlen(trace->log_id);
    unsigned long long epoch, position;
    int used = 0;
    char text[64];
    if (trace->id.size <= log_size || trace->id.size - log_size >= sizeof text ||
        memcmp(trace->id.data, trace->log_id, log_size) != 0)
        return 0;
    memcpy(text, trace->id.data + log_size, trace->id.size - log_size);
    text[trace->id.size - log_size] = 0;
    if (sscanf(text, ":%20llu:%20llu%n", &epoch, &position, &used) != 2 || text[used]) return 0;
    if (position == 0 || position > engine_head(trace->engine).position) return 0;
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read(trace->engine, position, &cursor, fault) < 0) return -1;
    int more = engine_cursor_next(cursor, &record, fault);
    if (more == 1 && record.kind != RECORD_ERASED && record.epoch == epoch &&
        slice_equal(names_get(record.names, record.tenant), trace->tenant)) {
        struct record_ids ids;
        record_read_ids(&record, &trace->scratch, &ids);
        trace->id = correlation_of(trace, &record, &ids);
        /* One without any ids is found by nobody's: it is where the trace begins. */
        if (!ids.correlation_id.size) add_record(trace, &record, record.first_position, SLICE_NONE);
    }
    engine_cursor_close(cursor);
    return more < 0 ? -1 : 0;
}

/* --- the tree --- */

static int by_time(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->recorded_ms != y->recorded_ms) return x->recorded_ms < y->recorded_ms ? -1 : 1;
    if (x->is_outcome != y->is_outcome) return x->is_outcome ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void hang(struct node *root, struct node *parent, struct node *node)
{
    node->parent = parent ? parent : root;
    node->depth = node->parent->depth + 1;
    if (node->parent->last)
        node->parent->last->next = node;
    else
        node->parent->first = node;
    node->parent->last = node;
}

static void make_tree(struct trace *trace, struct node *root)
{
    struct map ids = {0};
    qsort(trace->founds, trace->found_count, sizeof *trace->founds, by_time);
    for (size_t at = 0; at < trace->found_count; at++) {
        const struct found *found = &trace->founds[at];
        struct node **nodes = trace->nodes + found->node;
        struct node *cause = found->cause.size ? map_find(&ids, found->cause) : NULL;
        bool is_own = found->command_count && slice_equal(found->cause, nodes[0]->id);
        for (size_t n = 0; n < found->command_count + found->event_count; n++) {
            bool below = n >= found->command_count && found->command_count;
            hang(root, below ? nodes[0] : cause, nodes[n]);
            if (!below && !cause && !is_own) nodes[n]->cause = found->cause;
        }
        for (size_t n = 0; n < found->command_count + found->event_count; n++)
            if (!map_find(&ids, nodes[n]->id)) map_put(&ids, nodes[n]->id, nodes[n]);
    }
    map_release(&ids);
}

static void put_time(struct buf *json, const char *name, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    if (!time_valid(ms)) return;
    time_format(ms, text);
    json_put_text_member(json, name, slice_make(text, TIME_TEXT_SIZE));
}

static void put_node(const struct node *node, struct buf *json)
{
    buf_put_byte(json, '{');
    json_put_text_member(json, "kind", slice_of(node->is_event ? "event" : "command"));
    json_put_int_member(json, "depth", node->depth);
    json_put_text_member(json, "id", node->id);
    if (node->parent->id.size) json_put_text_member(json, "parent", node->parent->id);
    if (node->cause.size) json_put_text_member(json, "cause", node->cause);
    json_put_text_member(json, "type", node->type);
    json_put_text_member(json, "stream", node->stream);
    if (node->is_event) {
        json_put_int_member(json, "version", (int64_t)node->version);
        json_put_int_member(json, "position", (int64_t)node->position);
    } else {
        json_put_text_member(json, "outcome", slice_of(node->outcome));
        if (node->reason.size) json_put_text_member(json, "reason", node->reason);
        if (node->message.size) json_put_text_member(json, "message", node->message);
    }
    put_time(json, "time", node->recorded_ms);
    if (node->is_event) put_time(json, "at", node->at_ms);
    if (node->actor.size) json_put_text_member(json, "actor", node->actor);
    json_put_int_member(json, "deploy", (int64_t)node->deploy);
    buf_put_byte(json, '}');
}

static void put_tree(const struct trace *trace, const struct node *root, struct buf *json)
{
    buf_put_byte(json, '{');
    json_put_text_member(json, "correlation", trace->id);
    json_put_name(json, "trace");
    buf_put_byte(json, '[');
    /* Without recursion: a chain of causes may be as long as the trace. */
    for (const struct node *node = root->first; node && node != root;) {
        if (node != root->first) buf_put_byte(json, ',');
        put_node(node, json);
        if (node->first) {
            node = node->first;
            continue;
        }
        while (node != root && !node->next) node = node->parent;
        if (node != root) node = node->next;
    }
    buf_put_byte(json, ']');
    if (trace->truncated) buf_put_text(json, ",\"truncated\":true");
    buf_put_text(json, "}\n");
}

static void put_causes(const struct trace *trace, struct slice id, struct buf *json)
{
    const struct node *node = NULL;
    for (size_t at = 0; at < trace->node_count && !node; at++)
        if (trace->nodes[at]->is_event && slice_equal(trace->nodes[at]->id, id)) node = trace->nodes[at];
    buf_put_byte(json, '[');
    bool some = false;
    for (node = node ? node->parent : NULL; node && node->parent; node = node->parent) {
        if (some) buf_put_byte(json, ',');
        some = true;
        put_node(node, json);
    }
    buf_put_byte(json, ']');
}

/* event: whose causes are told; empty: all of the tree is. */
static int trace_run(struct trace *trace, struct slice event, struct buf *json, struct fault *fault)
{
    struct slice asked = trace->id;
    if (read_event_id(trace, fault) < 0 || collect(trace, fault) < 0) return -1;
    if (trace->correlation.size && !trace->found_count) {
        trace->id = trace->correlation;
        if (collect(trace, fault) < 0) return -1;
    }
    if (trace->found_count == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "no command, event or correlation %.*s",
                         (int)(asked.size < 300 ? asked.size : 300), asked.data ? asked.data : "");
    struct node root = {.depth = -1};
    make_tree(trace, &root);
    if (event.size)
        put_causes(trace, event, json);
    else
        put_tree(trace, &root, json);
    return 0;
}

static int trace_ask(struct engine *engine, const atomic_bool *stopping, struct slice tenant, struct slice id,
                     struct slice event, struct buf *json, struct fault *fault)
{
    struct trace trace = {.engine = engine, .stopping = stopping, .tenant = tenant, .id = id};
    struct engine_head head = engine_head(engine);
    memcpy(trace.log_id, head.log_id, sizeof head.log_id);
    trace.nodes = mem_alloc(TRACE_NODES_MAX * sizeof *trace.nodes);
    int done = trace_run(&trace, event, json, fault);
    mem_free(trace.nodes);
    mem_free(trace.founds);
    buf_release(&trace.needle);
    arena_release(&trace.scratch);
    arena_release(&trace.arena);
    return done;
}

int trace_collect(struct engine *engine, const atomic_bool *stopping, struct slice tenant, struct slice id,
                  struct buf *json, struct fault *fault)
{
    return trace_ask(engine, stopping, tenant, id, SLICE_NONE, json, fault);
}

int trace_causes(struct engine *engine, const atomic_bool *stopping, struct slice tenant, struct slice id,
                 struct buf *json, struct fault *fault)
{
    return trace_ask(engine, stopping, tenant, id, id, json, fault);
}

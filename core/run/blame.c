#include "run/blame.h"

#include <inttypes.h>
#include <stdio.h>

#include "codec/json.h"
#include "codec/text.h"
#include "codec/time.h"
#include "run/blame_find.h"
#include "run/deploys.h"
#include "run/trace.h"
#include "vm/domain.h"

enum { EVENTS_MAX = 100 /* told of one commit; the one that was asked for in any case */ };

struct blame {
    struct engine *engine;
    const atomic_bool *stopping;
    const struct blame_query *query;
    struct buf *json;
    char log_id[40];
    bool detailed; /* one commit, with data and causes */
    bool some;     /* was put */
    /* The scripts of the deploy that was asked for last. */
    uint64_t deploy;
    struct sources *sources;
    struct domain *domain; /* NULL: could not be loaded */
    struct fault load_fault;
};

/* --- scripts as they were --- */

static void forget_scripts(struct blame *blame)
{
    if (blame->domain) domain_close(blame->domain);
    if (blame->sources) sources_free(blame->sources);
    blame->domain = NULL;
    blame->sources = NULL;
}

static struct domain *scripts_of(struct blame *blame, uint64_t deploy)
{
    if (deploy && deploy == blame->deploy) return blame->domain;
    forget_scripts(blame);
    blame->deploy = deploy;
    if (deploys_sources(blame->engine, deploy, &blame->sources, &blame->load_fault) < 0) return NULL;
    struct domain_options options = {.sources = blame->sources, .on_demand_later = true};
    if (domain_open(&options, &blame->domain, NULL, &blame->load_fault) < 0) blame->domain = NULL;
    return blame->domain;
}

/* --- one commit --- */

static void put_time(struct buf *json, const char *name, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    if (!time_valid(ms)) return;
    time_format(ms, text);
    json_put_text_member(json, name, slice_make(text, TIME_TEXT_SIZE));
}

static int put_deploy(struct blame *blame, uint64_t number, struct fault *fault)
{
    struct deploy_record record;
    enum deploy_state state;
    struct arena arena = {0};
    struct fault met;
    json_put_name(blame->json, "deploy");
    buf_put_byte(blame->json, '{');
    int done = deploys_load(blame->engine, number, &arena, &record, &met);
    if (done == 0) done = deploys_state(blame->engine, number, &state, &met);
    if (done == 0)
        deploys_put_members(&record, state, blame->json);
    else
        json_put_int_member(blame->json, "number", (int64_t)number);
    buf_put_byte(blame->json, '}');
    arena_release(&arena);
    if (done == 0 || met.code == FAULT_NOT_FOUND) return 0;
    *fault = met;
    return -1;
}

static void put_commands(struct blame *blame, const struct record *record)
{
    struct buf *json = blame->json;
    struct record_command command = {0};
    struct slice name = names_get(record->names, record->aggregate);
    bool some = false;
    json_put_name(json, "commands");
    buf_put_byte(json, '[');
    while (record_next_command(record, &command)) {
        struct domain_place place;
        struct slice type = names_get(record->names, command.type);
        if (!command.type) continue; /* a fact's: it only has the row's id */
        if (some) buf_put_byte(json, ',');
        some = true;
        buf_put_byte(json, '{');
        json_put_text_member(json, "type", type);
        json_put_text_member(json, "id", slice_make(command.id, command.id_size));
        if (blame->detailed) json_put_mp_member(json, "data", command.data);
        struct domain *domain = scripts_of(blame, record->deploy);
        if (domain && domain_handler_place(domain, name, type, &place)) {
            json_put_name(json, "handler");
            buf_put_byte(json, '{');
            json_put_text_member(json, "path", place.path);
            json_put_int_member(json, "line", place.line);
            buf_put_byte(json, '}');
        }
        buf_put_byte(json, '}');
    }
    buf_put_byte(json, ']');
    if (some && !blame->domain) json_put_text_member(json, "error", slice_of(blame->load_fault.text));
}

static void put_events(struct blame *blame, const struct record *record, uint64_t asked)
{
    struct buf *json = blame->json;
    struct record_event event = {0};
    bool some = false;
    json_put_name(json, "events");
    buf_put_byte(json, '[');
    while (record_next_event(record, &event)) {
        if (event.ordinal >= EVENTS_MAX && event.position != asked) continue;
        if (some) buf_put_byte(json, ',');
        some = true;
        buf_format(json, "{\"id\":\"%s:%" PRIu64 ":%" PRIu64 "\"", blame->log_id, record->epoch,
                   event.position);
        json_put_text_member(json, "type", names_get(record->names, event.type));
        json_put_int_member(json, "version", (int64_t)event.version);
        json_put_int_member(json, "position", (int64_t)event.position);
        put_time(json, "at", event.at_ms);
        if (event.position == asked) {
            json_put_mp_member(json, "data", event.data);
            buf_put_text(json, ",\"asked\":true");
        }
        buf_put_byte(json, '}');
    }
    buf_put_byte(json, ']');
}

/* asked: position of one of its events, 0: none. */
static int put_commit(struct blame *blame, const struct record *record, uint64_t asked, struct fault *fault)
{
    struct buf *json = blame->json;
    struct slice aggregate = names_get(record->names, record->aggregate);
    struct record_ids ids;
    struct arena arena = {0};
    record_read_ids(record, &arena, &ids);
    if (blame->some) buf_put_byte(json, ',');
    blame->some = true;
    buf_put_byte(json, '{');
    json_put_name(json, "stream");
    buf_put_byte(json, '"');
    json_put_inside(json, aggregate);
    buf_put_byte(json, '/');
    json_put_inside(json, record->id);
    buf_put_byte(json, '"');
    json_put_text_member(json, "kind", slice_of(record->kind == RECORD_FACT ? "import" : "command"));
    put_time(json, "time", record->recorded_ms);
    if (record->actor) json_put_text_member(json, "actor", names_get(record->names, record->actor));
    if (ids.correlation_id.size) json_put_text_member(json, "correlation", ids.correlation_id);
    arena_release(&arena);
    if (put_deploy(blame, record->deploy, fault) < 0) return -1;
    put_commands(blame, record);
    put_events(blame, record, asked);
    if (blame->detailed) {
        char id[96];
        snprintf(id, sizeof id, "%s:%" PRIu64 ":%" PRIu64, blame->log_id, record->epoch, asked);
        json_put_name(json, "causes");
        if (trace_causes(blame->engine, blame->stopping, blame->query->tenant, slice_of(id), json, fault) < 0)
            return -1;
    }
    buf_put_byte(json, '}');
    return 0;
}

/* --- the questions --- */

static int blame_position(struct blame *blame, uint64_t position, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    blame->detailed = true;
    if (position == 0 || position > engine_head(blame->engine).position)
        return fault_set(fault, FAULT_NOT_FOUND, "no event at position %" PRIu64 ": the last is at %" PRIu64,
                         position, engine_head(blame->engine).position);
    if (engine_read(blame->engine, position, &cursor, fault) < 0) return -1;
    int done = engine_cursor_next(cursor, &record, fault);
    if (done == 1)
        done = record.kind == RECORD_ERASED ||
                       !slice_equal(names_get(record.names, record.tenant), blame->query->tenant)
                   ? fault_set(fault, FAULT_NOT_FOUND, "tenant %.*s has no event at position %" PRIu64,
                               SLICE_ARGS(blame->query->tenant), position)
                   : put_commit(blame, &record, position, fault);
    engine_cursor_close(cursor);
    return done < 0 ? -1 : 0;
}

/* "<log>:<epoch>:<position>" */
static int blame_event(struct blame *blame, struct slice id, struct fault *fault)
{
    char text[96];
    unsigned long long epoch, position;
    int used = 0;
    size_t log_size = strlen(blame->log_id);
    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(id));
    if (id.size <= log_size || id.size >= sizeof text || memcmp(text, blame->log_id, log_size) != 0 ||
        sscanf(text + log_size, ":%20llu:%20llu%n", &epoch, &position, &used) != 2 ||
        text[log_size + (size_t)used])
        return fault_set(fault, FAULT_NOT_FOUND, "%.*s is not the id of an event of this log",
                         SLICE_ARGS(id));
    return blame_position(blame, position, fault);
}

/* Versions from which the last commits of the stream are read: each has an event at least, so a guess is
 * doubled until it holds enough. */
static int blame_stream(struct blame *blame, struct fault *fault)
{
    const struct blame_query *query = blame->query;
    struct stream_id stream = {query->tenant, query->aggregate, query->id};
    uint64_t version, position;
    struct arena arena = {0};
    if (engine_stream_head(blame->engine, &stream, &version, &position, fault) < 0) return -1;
    if (version == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "%.*s/%.*s was never written", SLICE_ARGS(query->aggregate),
                         SLICE_ARGS(query->id));
    uint64_t *starts = arena_take(&arena, query->commits * sizeof *starts);
    uint64_t window = query->commits, count = 0, from;
    int done = 0;
    do {
        from = version > window ? version - window + 1 : 1;
        window *= 2;
        count = 0;
        struct engine_cursor *cursor;
        struct record record;
        if ((done = engine_read_stream(blame->engine, &stream, from, &cursor, fault)) < 0) break;
        while ((done = engine_cursor_next(cursor, &record, fault)) == 1)
            starts[count++ % query->commits] = record.first_version;
        engine_cursor_close(cursor);
    } while (done == 0 && count < query->commits && from > 1);
    uint64_t told = count < query->commits ? count : query->commits;
    for (uint64_t at = 0; at < told && done == 0; at++) {
        struct engine_cursor *cursor;
        struct record record;
        uint64_t start = starts[(count - 1 - at) % query->commits];
        if ((done = engine_read_stream(blame->engine, &stream, start, &cursor, fault)) < 0) break;
        done = engine_cursor_next(cursor, &record, fault);
        if (done == 1) done = record.kind == RECORD_ERASED ? 0 : put_commit(blame, &record, 0, fault);
        engine_cursor_close(cursor);
    }
    arena_release(&arena);
    return done < 0 ? -1 : 0;
}

/* "context/name", or the name alone where it is unique. */
static int find_projection(struct domain *domain, struct slice name, struct fault *fault)
{
    int found = -1;
    for (size_t at = 0; at < domain_projection_count(domain); at++) {
        struct slice full = domain_projection(domain, (int)at)->name;
        const char *slash = memchr(full.data, '/', full.size);
        struct slice last = slice_make(slash + 1, full.size - (size_t)(slash + 1 - full.data));
        if (slice_equal(full, name)) return (int)at;
        if (!slice_equal(last, name)) continue;
        if (found >= 0)
            return fault_set(fault, FAULT_NOT_FOUND,
                             "%.*s is declared in several contexts: write CONTEXT/%.*s", SLICE_ARGS(name),
                             SLICE_ARGS(name));
        found = (int)at;
    }
    if (found < 0) fault_set(fault, FAULT_NOT_FOUND, "no view %.*s", SLICE_ARGS(name));
    return found;
}

static int blame_document(struct blame *blame, struct fault *fault)
{
    const struct blame_query *query = blame->query;
    struct deploys_now now;
    uint64_t position;
    if (deploys_now(blame->engine, &now, fault) < 0) return -1;
    if (!scripts_of(blame, now.running)) {
        *fault = blame->load_fault;
        return -1;
    }
    struct blame_document document = {.engine = blame->engine,
                                      .stopping = blame->stopping,
                                      .domain = blame->domain,
                                      .tenant = query->tenant,
                                      .key = query->key};
    document.projection = find_projection(blame->domain, query->view, fault);
    if (document.projection < 0) return -1;
    const struct domain_projection *projection = domain_projection(blame->domain, document.projection);
    int found = blame_find_document(&document, &position, fault);
    if (found == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "no event touched document %.*s of %.*s",
                         SLICE_ARGS(query->key), SLICE_ARGS(projection->name));
    if (found < 0) return -1;
    json_put_text_member(blame->json, "view", projection->name);
    json_put_text_member(blame->json, "key", query->key);
    if (!projection->keyed)
        json_put_text_member(blame->json, "known",
                             slice_of("the projection writes its documents as it likes: this is the last "
                                      "event it handled, whatever that wrote"));
    json_put_name(blame->json, "blame");
    buf_put_byte(blame->json, '[');
    return blame_position(blame, position, fault);
}

int blame_collect(struct engine *engine, const atomic_bool *stopping, const struct blame_query *query,
                  struct buf *json, struct fault *fault)
{
    struct blame blame = {.engine = engine, .stopping = stopping, .query = query, .json = json};
    struct engine_head head = engine_head(engine);
    memcpy(blame.log_id, head.log_id, sizeof head.log_id);
    size_t before = json->size;
    buf_put_byte(json, '{');
    if (!query->view.size) buf_put_text(json, "\"blame\":[");
    int done = query->view.size        ? blame_document(&blame, fault)
               : query->event.size     ? blame_event(&blame, query->event, fault)
               : query->aggregate.size ? blame_stream(&blame, fault)
                                       : blame_position(&blame, query->position, fault);
    buf_put_text(json, "]}\n");
    if (done < 0) json->size = before;
    forget_scripts(&blame);
    return done;
}

#include "net/api.h"

#include "codec/json.h"
#include "codec/time.h"
#include "net/target.h"

/* {"stream","version","position","state"} */
static void answer(struct call *call)
{
    struct state_query *query = call->state;
    if (query->fault.code != FAULT_NONE) {
        api_fault(call, &query->fault);
        return;
    }
    struct fault fault;
    unsigned long long found = query->found_version;
    if (found == 0 || (query->version >= 0 && found < (unsigned long long)query->version)) {
        if (found)
            fault_set(&fault, FAULT_NOT_FOUND, "the stream is at version %llu only", found);
        else
            fault_set(&fault, FAULT_NOT_FOUND, "the stream has no events, or had none then");
        api_fault(call, &fault);
        return;
    }
    struct buf *out = api_out(call);
    buf_put_byte(out, '{');
    json_put_text_member(out, "stream",
                         arena_format(api_arena(call), "%.*s/%.*s/%.*s", SLICE_ARGS(query->context),
                                      SLICE_ARGS(query->aggregate), SLICE_ARGS(query->id)));
    json_put_int_member(out, "version", (int64_t)query->found_version);
    json_put_int_member(out, "position", (int64_t)query->position);
    json_put_mp_member(out, "state", buf_slice(&query->state));
    buf_put_text(out, "}\n");
    exchange_put_header(call->exchange, "ETag",
                        arena_format(api_arena(call), "\"%llu\"", (unsigned long long)query->found_version));
    api_reply(call, 200);
}

/* On the query thread. */
static void on_done(struct state_query *query)
{
    api_finish(query->user);
}

/* Whether the event that holds version was recorded at or before the bound. Both grow with the version. */
static int is_within(struct engine *engine, const struct stream_id *stream, uint64_t version, bool by_deploy,
                     uint64_t bound, bool *within, struct fault *fault)
{
    struct engine_cursor *cursor;
    if (engine_read_stream(engine, stream, version, &cursor, fault) < 0) return -1;
    struct record record;
    int found = engine_cursor_next(cursor, &record, fault);
    if (found > 0) {
        uint64_t position = record.first_position + (version - record.first_version);
        *within = (by_deploy ? record.deploy : position) <= bound;
    } else if (found == 0) {
        *within = false;
    }
    engine_cursor_close(cursor);
    return found < 0 ? -1 : 0;
}

/* The last version within the bound; 0: none. */
static int find_version(struct call *call, bool by_deploy, uint64_t bound, int64_t *version,
                        struct fault *fault)
{
    struct engine *engine = hub_engine(call->net->hub);
    struct stream_id stream = {call->match.tenant,
                               arena_format(api_arena(call), "%.*s/%.*s", SLICE_ARGS(call->match.context),
                                            SLICE_ARGS(call->match.aggregate)),
                               call->match.id};
    uint64_t head, position;
    if (engine_stream_head(engine, &stream, &head, &position, fault) < 0) return -1;
    uint64_t below = 0; /* the greatest known to be within, 0 as a start */
    while (below < head) {
        uint64_t middle = below + (head - below + 1) / 2;
        bool within;
        if (is_within(engine, &stream, middle, by_deploy, bound, &within, fault) < 0) return -1;
        if (within)
            below = middle;
        else
            head = middle - 1;
    }
    *version = (int64_t)below;
    if (below == 0) return fault_set(fault, FAULT_NOT_FOUND, "the stream had no events then");
    return 0;
}

/* ?version=, or ?at= with a time, a position or deploy:N. */
static int read_when(struct call *call, struct fault *fault)
{
    struct state_query *query = call->state;
    struct slice at;
    uint64_t number;
    query->version = -1;
    query->at_ms = INT64_MAX;
    if (query_only(&call->query, (const char *const[]){"version", "at", NULL}, fault) < 0) return -1;
    uint64_t version = 0;
    if (query_number(&call->query, "version", 1, &version, fault) < 0) return -1;
    if (version) query->version = (int64_t)version;
    if (!query_find(&call->query, "at", &at)) return 0;
    if (version) return fault_set(fault, FAULT_MALFORMED, "version and at exclude each other");
    if (target_number(at, &number)) return find_version(call, false, number, &query->version, fault);
    if (slice_starts(at, "deploy:") && target_number(slice_make(at.data + 7, at.size - 7), &number))
        return find_version(call, true, number, &query->version, fault);
    if (!time_parse(at, &query->at_ms))
        return fault_set(
            fault, FAULT_MALFORMED,
            "at=%.*s: expected a time like 2026-02-01T08:26:00Z, a position or deploy:N (a '+' is %%2B)",
            SLICE_ARGS(at));
    return 0;
}

void api_state_take(struct call *call)
{
    struct state_query *query = arena_zero(api_arena(call), sizeof *query);
    call->state = query;
    query->tenant = call->match.tenant;
    query->context = call->match.context;
    query->aggregate = call->match.aggregate;
    query->id = call->match.id;
    query->done = on_done;
    query->user = call;
    call->resume = answer;
    struct fault fault;
    if (read_when(call, &fault) < 0 || hub_query_state(call->net->hub, query, &fault) < 0)
        api_fault(call, &fault);
}

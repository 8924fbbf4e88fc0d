#include "net/api.h"

#include "codec/json.h"

/* {"stream","version","position","state"} */
static void answer(struct call *call)
{
    struct state_query *query = call->state;
    if (query->fault.code != FAULT_NONE) {
        api_fault(call, &query->fault);
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

/* ?version=, or ?at= with a moment. */
static int read_when(struct call *call, struct fault *fault)
{
    struct state_query *query = call->state;
    query->version = -1;
    if (query_only(&call->query, (const char *const[]){"version", "at", NULL}, fault) < 0) return -1;
    uint64_t version = 0;
    if (query_number(&call->query, "version", 1, &version, fault) < 0) return -1;
    if (version) query->version = (int64_t)version;
    int given = api_moment(call, "at", &query->moment, fault);
    query->has_moment = given > 0;
    if (given > 0 && version) return fault_set(fault, FAULT_MALFORMED, "version and at exclude each other");
    return given < 0 ? -1 : 0;
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

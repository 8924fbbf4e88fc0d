#include "net/api.h"

/* On the query thread. */
static void on_done(struct trace_query *query)
{
    api_finish(query->user);
}

static void answer(struct call *call)
{
    struct trace_query *query = call->trace;
    if (query->fault.code != FAULT_NONE) {
        api_fault(call, &query->fault);
        return;
    }
    buf_put_slice(api_out(call), buf_slice(&query->json));
    api_reply(call, 200);
}

void api_trace_take(struct call *call)
{
    struct trace_query *query = arena_zero(api_arena(call), sizeof *query);
    call->trace = query;
    query->tenant = call->match.tenant;
    query->id = call->match.id;
    query->done = on_done;
    query->user = call;
    call->resume = answer;
    struct fault fault;
    if (query_only(&call->query, (const char *const[]){NULL}, &fault) < 0 ||
        hub_query_trace(call->net->hub, query, &fault) < 0)
        api_fault(call, &fault);
}

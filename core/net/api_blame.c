/* Which deploy, file and command made an event, a stream or a document: ?position=, ?event=, ?stream= with
 * ?last=, or ?view= with ?key=. */
#include "codec/text.h"
#include "net/api.h"

enum { COMMITS_DEFAULT = 10, COMMITS_MAX = 1000 };

/* On the query thread. */
static void on_done(struct blame_query *query)
{
    api_finish(query->user);
}

static void answer(struct call *call)
{
    struct blame_query *query = call->blame;
    if (query->fault.code != FAULT_NONE) {
        api_fault(call, &query->fault);
        return;
    }
    buf_put_slice(api_out(call), buf_slice(&query->json));
    api_reply(call, 200);
}

static int read_stream(struct call *call, struct slice stream, struct blame_query *query, struct fault *fault)
{
    struct slice context, aggregate;
    query->commits = COMMITS_DEFAULT;
    if (query_number(&call->query, "last", 1, &query->commits, fault) < 0 ||
        text_split_stream(stream, &context, &aggregate, &query->id, fault) < 0)
        return -1;
    if (query->commits > COMMITS_MAX) query->commits = COMMITS_MAX;
    query->aggregate = slice_make(context.data, context.size + 1 + aggregate.size);
    return 0;
}

static int read_question(struct call *call, struct blame_query *query, struct fault *fault)
{
    static const char *const names[] = {"position", "event", "stream", "last", "view", "key", NULL};
    struct slice stream, position;
    if (query_only(&call->query, names, fault) < 0) return -1;
    bool by_position = query_find(&call->query, "position", &position),
         by_event = query_find(&call->query, "event", &query->event),
         by_stream = query_find(&call->query, "stream", &stream),
         by_view = query_find(&call->query, "view", &query->view);
    if (by_position + by_event + by_stream + by_view != 1 ||
        by_view != query_find(&call->query, "key", &query->key) || (by_event && query->event.size == 0) ||
        (by_view && query->view.size == 0))
        return fault_set(fault, FAULT_MALFORMED,
                         "one of position=, event=, stream=, or view= and key= must say what is asked for");
    if (by_stream) return read_stream(call, stream, query, fault);
    return query_number(&call->query, "position", 1, &query->position, fault);
}

void api_blame_take(struct call *call)
{
    struct blame_query *query = arena_zero(api_arena(call), sizeof *query);
    struct fault fault;
    call->blame = query;
    query->tenant = call->match.tenant;
    query->done = on_done;
    query->user = call;
    call->resume = answer;
    if (read_question(call, query, &fault) < 0 || hub_query_blame(call->net->hub, query, &fault) < 0)
        api_fault(call, &fault);
}

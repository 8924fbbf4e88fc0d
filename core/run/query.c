#include "run/query.h"

#include "base/mem.h"
#include "base/thread.h"
#include "run/blame.h"
#include "run/fold.h"
#include "run/inside.h"
#include "run/trace.h"

enum { QUERY_QUEUE_MAX = 1024 };

struct query {
    struct hub *hub;
    struct release *release;
    bool started;
    pthread_t thread;
    struct domain *domain; /* NULL: a hub without scripts, of which no states are asked */
    struct inbox inbox;    /* struct query_link */
    atomic_size_t memory;
};

/* What of the stream is asked for. Fault: NOT_FOUND, there was nothing of it then. */
static int query_bound(const struct query *query, const struct state_query *asked,
                       struct fold_request *request, struct fault *fault)
{
    request->version_max = asked->version < 0 ? UINT64_MAX : (uint64_t)asked->version;
    request->at_ms_max = INT64_MAX;
    if (asked->version >= 0 || !asked->has_moment) return 0;
    return fold_until(request, &asked->moment, fault);
}

static int query_check(const struct state_query *asked, const struct fold_request *request,
                       const struct fold_result *result, struct fault *fault)
{
    struct slice aggregate = request->aggregate->name;
    if (result->head_version == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "%.*s/%.*s was never written", SLICE_ARGS(aggregate),
                         SLICE_ARGS(asked->id));
    if (result->version == 0)
        return fault_set(fault, FAULT_NOT_FOUND, "%.*s/%.*s had no events then", SLICE_ARGS(aggregate),
                         SLICE_ARGS(asked->id));
    if (asked->version >= 0 && result->version < (uint64_t)asked->version)
        return fault_set(fault, FAULT_NOT_FOUND, "%.*s/%.*s has no version %lld, it is at %llu",
                         SLICE_ARGS(aggregate), SLICE_ARGS(asked->id), (long long)asked->version,
                         (unsigned long long)result->version);
    return 0;
}

static int query_answer(struct query *query, struct state_query *asked, struct fault *fault)
{
    struct fold_request request = {
        .engine = query->hub->engine, .snaps = query->hub->snaps, .domain = query->domain};
    request.aggregate = catalog_find(&query->release->catalog, asked->context, asked->aggregate, fault);
    if (!request.aggregate) return -1;
    request.stream = (struct stream_id){asked->tenant, request.aggregate->name, asked->id};
    struct fold_result result;
    if (query_bound(query, asked, &request, fault) < 0 || fold_stream(&request, &result, fault) < 0)
        return -1;
    int done = query_check(asked, &request, &result, fault);
    if (done == 0) done = domain_state_encode(query->domain, result.state, &asked->state, fault);
    asked->found_version = result.version;
    asked->position = result.position;
    domain_state_free(query->domain, result.state);
    return done;
}

static void query_take_state(struct query *query, struct state_query *asked)
{
    asked->fault.code = FAULT_NONE;
    query_answer(query, asked, &asked->fault);
    asked->done(asked);
}

static void query_take_trace(struct query *query, struct trace_query *asked)
{
    asked->fault.code = FAULT_NONE;
    trace_collect(query->hub->engine, &query->hub->stopping, asked->tenant, asked->id, &asked->json,
                  &asked->fault);
    asked->done(asked);
}

static void query_take_blame(struct query *query, struct blame_query *asked)
{
    asked->fault.code = FAULT_NONE;
    blame_collect(query->hub->engine, &query->hub->stopping, asked, &asked->json, &asked->fault);
    asked->done(asked);
}

static void query_take(struct query *query, struct inbox_link *list)
{
    while (list) {
        struct query_link *link = (struct query_link *)list;
        list = list->next; /* what is asked is the asker's again with done */
        inbox_done(&query->inbox, 1);
        switch (link->kind) {
        case QUERY_STATE:
            query_take_state(query,
                             (struct state_query *)((char *)link - offsetof(struct state_query, link)));
            break;
        case QUERY_TRACE:
            query_take_trace(query,
                             (struct trace_query *)((char *)link - offsetof(struct trace_query, link)));
            break;
        case QUERY_BLAME:
            query_take_blame(query,
                             (struct blame_query *)((char *)link - offsetof(struct blame_query, link)));
            break;
        }
    }
    if (query->domain)
        atomic_store_explicit(&query->memory, domain_memory(query->domain), memory_order_relaxed);
}

static void *query_run(void *user)
{
    struct query *query = user;
    domain_thread_start();
    for (;;) {
        struct inbox_link *list = inbox_take(&query->inbox, -1);
        if (list)
            query_take(query, list);
        else if (inbox_closed(&query->inbox))
            break;
    }
    domain_thread_stop();
    return NULL;
}

int query_open(struct hub *hub, struct release *release, struct query **query, struct fault *fault)
{
    struct query *made = MEM_NEW(struct query);
    made->hub = hub;
    made->release = release;
    if (release && release_domain(release, &made->domain, fault) < 0) {
        mem_free(made);
        return -1;
    }
    inbox_init(&made->inbox, QUERY_QUEUE_MAX);
    *query = made;
    return 0;
}

void query_start(struct query *query)
{
    if (query->started) return;
    query->started = true;
    query->thread = thread_start(query_run, query, "query");
}

void query_stop(struct query *query)
{
    if (!query->started) return;
    inbox_close(&query->inbox);
    pthread_join(query->thread, NULL);
    query->started = false;
}

void query_free(struct query *query)
{
    if (!query) return;
    if (query->domain) domain_close(query->domain);
    inbox_release(&query->inbox);
    mem_free(query);
}

int query_put(struct query *query, struct query_link *asked, struct fault *fault)
{
    if (inbox_put(&query->inbox, &asked->link)) return 0;
    return fault_set(fault, FAULT_BUSY, "%d queries are waiting", QUERY_QUEUE_MAX);
}

size_t query_memory(const struct query *query)
{
    return atomic_load_explicit(&((struct query *)query)->memory, memory_order_relaxed);
}

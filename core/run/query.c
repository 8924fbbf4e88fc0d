#include "run/query.h"

#include "base/mem.h"
#include "base/ring.h"
#include "base/thread.h"
#include "run/fold.h"
#include "run/inside.h"

enum { QUERY_QUEUE_MAX = 1024, QUERY_TAKE = 32 };

struct query {
    struct hub *hub;
    pthread_t thread;
    struct domain *domain;
    struct ring *ring;
    atomic_size_t memory;
};

static int query_answer(struct query *query, struct state_query *asked, struct fault *fault)
{
    struct fold_request request = {.engine = query->hub->engine,
                                   .snaps = query->hub->snaps,
                                   .domain = query->domain,
                                   .version_max = asked->version < 0 ? UINT64_MAX : (uint64_t)asked->version,
                                   .at_ms_max = asked->at_ms};
    request.aggregate = catalog_find(&query->hub->catalog, asked->context, asked->aggregate, fault);
    if (!request.aggregate) return -1;
    request.stream = (struct stream_id){asked->tenant, request.aggregate->name, asked->id};
    struct fold_result result;
    if (fold_stream(&request, &result, fault) < 0) return -1;
    int done = 0;
    if (result.head_version == 0)
        done = fault_set(fault, FAULT_NOT_FOUND, "%.*s/%.*s was never written",
                         SLICE_ARGS(request.aggregate->name), SLICE_ARGS(asked->id));
    else if (asked->version >= 0 && result.version < (uint64_t)asked->version)
        done = fault_set(fault, FAULT_NOT_FOUND, "%.*s/%.*s has no version %lld, it is at %llu",
                         SLICE_ARGS(request.aggregate->name), SLICE_ARGS(asked->id),
                         (long long)asked->version, (unsigned long long)result.version);
    else
        done = domain_state_encode(query->domain, result.state, &asked->state, fault);
    asked->found_version = result.version;
    asked->position = result.position;
    domain_state_free(query->domain, result.state);
    return done;
}

static void *query_run(void *user)
{
    struct query *query = user;
    void *taken[QUERY_TAKE];
    domain_thread_start();
    for (;;) {
        size_t count = ring_take(query->ring, taken, QUERY_TAKE, -1);
        if (count == 0 && ring_closed(query->ring)) break;
        for (size_t at = 0; at < count; at++) {
            struct state_query *asked = taken[at];
            asked->fault.code = FAULT_NONE;
            query_answer(query, asked, &asked->fault);
            asked->done(asked);
        }
        atomic_store_explicit(&query->memory, domain_memory(query->domain), memory_order_relaxed);
    }
    domain_thread_stop();
    return NULL;
}

int query_start(struct hub *hub, struct query **query, struct fault *fault)
{
    struct query *made = MEM_NEW(struct query);
    made->hub = hub;
    if (hub_domain_open(hub, &made->domain, NULL, fault) < 0) {
        mem_free(made);
        return -1;
    }
    made->ring = ring_new(QUERY_QUEUE_MAX);
    made->thread = thread_start(query_run, made, "query");
    *query = made;
    return 0;
}

void query_stop(struct query *query)
{
    ring_close(query->ring);
    pthread_join(query->thread, NULL);
}

void query_free(struct query *query)
{
    if (!query) return;
    domain_close(query->domain);
    ring_free(query->ring);
    mem_free(query);
}

int query_put(struct query *query, struct state_query *asked, struct fault *fault)
{
    if (ring_put(query->ring, asked)) return 0;
    if (ring_closed(query->ring)) return fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    return fault_set(fault, FAULT_BUSY, "%d queries are waiting", QUERY_QUEUE_MAX);
}

size_t query_memory(const struct query *query)
{
    return atomic_load_explicit(&((struct query *)query)->memory, memory_order_relaxed);
}

#include "run/past.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "base/thread.h"
#include "codec/json.h"
#include "run/inside.h"
#include "run/past_fold.h"
#include "vm/nearest.h"

enum {
    PAST_QUICK_MAX = 256, /* questions that wait */
    PAST_SLOW_MAX = 8,
    PAST_VIEWS_MAX = 20, /* folders at a time: being built, read, or kept by a session that is in the past */
    PAST_SECONDS = 60,   /* (hub.lua) for one answer */
    PAST_NICE = 10       /* a tenth of the processor that a shard gets when both want it */
};

struct past_view {
    struct docs *docs;
    struct past_view *next; /* released, to be removed */
};

struct past_worker {
    struct past *past;
    bool is_slow;
    pthread_t thread;
    struct inbox inbox; /* struct past_query */
    struct domain *domain;
    struct release *release; /* of the domain, held */
};

struct past {
    struct hub *hub;
    struct past_worker quick, slow;
    atomic_bool stopping;
    bool stopped;
    atomic_size_t views; /* that exist */
    _Atomic(struct past_view *) released;
    /* what the slow one does */
    pthread_mutex_t lock;
    char name[2 * 64 + 2];
    uint64_t position, target;
};

/* --- the folder of a view --- */

static int past_view_new(struct past *past, const struct domain_projection *declared, struct past_view **view,
                         struct fault *fault)
{
    char path[512];
    const char *temporary = getenv("TMPDIR");
    if (atomic_fetch_add(&past->views, 1) >= PAST_VIEWS_MAX) {
        atomic_fetch_sub(&past->views, 1);
        return fault_set(fault, FAULT_BUSY, "%d views of the past are being read: try again", PAST_VIEWS_MAX);
    }
    struct past_view *made = MEM_NEW(struct past_view);
    snprintf(path, sizeof path, "%s/lore-past-XXXXXX", temporary ? temporary : "/tmp");
    struct docs_options options = {
        .path = path, .indexes = declared->indexes, .index_count = declared->index_count};
    bool dirty;
    int done = mkdtemp(path) ? docs_open(&options, &made->docs, &dirty, fault)
                             : fault_errno(fault, errno, "cannot make a folder %s", path);
    if (done < 0) {
        atomic_fetch_sub(&past->views, 1);
        mem_free(made);
        return -1;
    }
    *view = made;
    return 0;
}

static void past_view_free(struct past *past, struct past_view *view)
{
    struct fault fault;
    if (!view) return;
    if (docs_discard(view->docs, &fault) < 0) say_warn("views of the past: %s", fault.text);
    mem_free(view);
    atomic_fetch_sub(&past->views, 1);
}

static void past_remove_released(struct past *past)
{
    struct past_view *view = atomic_exchange(&past->released, NULL);
    while (view) {
        struct past_view *next = view->next;
        past_view_free(past, view);
        view = next;
    }
}

struct docs *hub_past_docs(const struct past_view *documents)
{
    return documents->docs;
}

void hub_past_release(struct hub *hub, struct past_query *query)
{
    struct past *past = hub->past;
    struct past_view *view = query->documents;
    buf_release(&query->document);
    buf_release(&query->parked);
    query->documents = NULL;
    if (!view) return;
    view->next = atomic_load(&past->released);
    while (!atomic_compare_exchange_weak(&past->released, &view->next, view)) continue;
    /* Closing it takes as long as the disk needs. */
    if (past->stopped)
        past_remove_released(past);
    else
        inbox_wake(&past->slow.inbox);
}

/* --- one question --- */

struct past_work {
    struct past_worker *worker;
    struct past_query *query;
    int64_t until_ns;
};

static int past_goes_on(void *user, uint64_t position, uint64_t folded, struct fault *fault)
{
    struct past_work *work = user;
    struct past *past = work->worker->past;
    if (work->worker->is_slow) {
        pthread_mutex_lock(&past->lock);
        past->position = position;
        pthread_mutex_unlock(&past->lock);
    }
    if (atomic_load(&past->stopping)) return fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    if (atomic_load(&work->query->stop)) return fault_set(fault, FAULT_UNAVAILABLE, "nobody waits for it");
    if (clock_monotonic_ns() < work->until_ns) return 0;
    return fault_set(fault, FAULT_UNAVAILABLE,
                     "it takes too long: %llu events were folded up to position %llu (limit past_seconds)",
                     (unsigned long long)folded, (unsigned long long)position);
}

/* "context/name", or a name that one of them has alone. -1: NOT_FOUND. */
static int past_find(const struct domain *domain, struct slice name, struct fault *fault)
{
    struct nearest nearest = nearest_to(name);
    int found = domain_find_projection(domain, name);
    if (found >= 0) return found;
    size_t count = domain_projection_count(domain), matches = 0;
    for (size_t at = 0; at < count; at++) {
        const struct domain_projection *declared = domain_projection(domain, (int)at);
        struct slice alone = slice_make(declared->name.data + declared->context.size + 1,
                                        declared->name.size - declared->context.size - 1);
        nearest_offer(&nearest, declared->name);
        if (!slice_equal(alone, name)) continue;
        found = (int)at;
        matches++;
    }
    if (matches == 1) return found;
    int size = name.size < 130 ? (int)name.size : 130;
    struct slice near = nearest_found(&nearest);
    if (matches)
        fault_set(fault, FAULT_NOT_FOUND, "there are several views %.*s: write CONTEXT/%.*s", size, name.data,
                  size, name.data);
    else if (near.size)
        fault_set(fault, FAULT_NOT_FOUND, "no view %.*s: did you mean %.*s?", size, name.data,
                  SLICE_ARGS(near));
    else
        fault_set(fault, FAULT_NOT_FOUND, "no view %.*s", size, name.data);
    return -1;
}

/* Where the view of today stopped for the tenant; 0: it did not, or there is none of this code. The events of
 * one key do not tell. */
static uint64_t past_stopped(struct hub *hub, const struct domain_projection *declared, struct slice tenant)
{
    struct view_lease lease;
    struct fault ignored;
    char key[LIMIT_TENANT_SIZE_MAX + 16];
    uint64_t stopped = 0;
    if (!hub->views || hub_view_lease(hub, declared->name, &lease, &ignored) < 0) return stopped;
    const struct generation *generation = lease.held;
    struct buf value = {0};
    char code[2 * HASH_SIZE + 1];
    hash_hex(&declared->code, code);
    snprintf(key, sizeof key, "stopped/%.*s", SLICE_ARGS(tenant));
    if (strcmp(generation->code, code) == 0 &&
        docs_meta_get(lease.docs, slice_of(key), &value, &ignored) == 1)
        stopped = generation_member(buf_slice(&value), "position");
    buf_release(&value);
    hub_view_release(hub, &lease);
    return stopped;
}

static void past_answer_one(struct past_query *query, const struct past_fold *fold)
{
    const struct past_parked *parked = past_fold_parked(fold, query->key);
    query->found = fold->found;
    buf_put_slice(&query->document, buf_slice(&fold->document));
    if (!parked) return;
    buf_put_byte(&query->parked, '{');
    json_put_int_member(&query->parked, "position", (int64_t)parked->position);
    json_put_text_member(&query->parked, "error", slice_of(parked->error));
    buf_put_byte(&query->parked, '}');
}

static int past_fold_query(struct past_work *work, struct past_fold *fold, struct fault *fault)
{
    struct past_query *query = work->query;
    struct past *past = work->worker->past;
    const struct domain_projection *declared = domain_projection(fold->domain, fold->projection);
    bool one = query->key.size && declared->keyed;
    struct past_view *view = NULL;
    if (!one && past_view_new(past, declared, &view, fault) < 0) return -1;
    if (one)
        fold->key = query->key;
    else
        fold->docs = view->docs;
    int done = past_fold_run(fold, fault);
    query->position = fold->position;
    query->folded = fold->folded;
    if (done == 0 && query->key.size && !one) {
        int found = docs_get(view->docs, query->tenant, query->key, &query->document, fault);
        query->found = found == 1;
        done = found < 0 ? -1 : 0;
    } else if (done == 0 && one) {
        past_answer_one(query, fold);
    } else if (done == 0) {
        query->documents = view;
        view = NULL;
    }
    past_view_free(past, view);
    return done;
}

static bool past_is_quick(const struct domain_projection *declared, const struct past_query *query)
{
    return query->key.size && declared->default_key;
}

static void past_tell(struct past_worker *worker, struct slice name, uint64_t target)
{
    struct past *past = worker->past;
    if (!worker->is_slow) return;
    pthread_mutex_lock(&past->lock);
    snprintf(past->name, sizeof past->name, "%.*s", SLICE_ARGS(name));
    past->position = 0;
    past->target = target;
    pthread_mutex_unlock(&past->lock);
}

static void past_forget(struct past_worker *worker)
{
    if (worker->domain) domain_close(worker->domain);
    release_let_go(worker->release);
    worker->domain = NULL;
    worker->release = NULL;
}

/* The past is seen with the code that runs now. */
static int past_renew(struct past_worker *worker, struct fault *fault)
{
    struct hub *hub = worker->past->hub;
    if (worker->release && worker->release == atomic_load(&hub->release))
        return 0; /* held: no other has its place */
    past_forget(worker);
    return hub_domain_open(hub, &worker->domain, &worker->release, fault);
}

/* 1: it is for the slow thread. */
static int past_answer(struct past_worker *worker, struct past_query *query, struct fault *fault)
{
    struct hub *hub = worker->past->hub;
    struct past_work work = {.worker = worker, .query = query};
    struct past_fold fold = {.engine = hub->engine, .tenant = query->tenant, .user = &work};
    if (past_renew(worker, fault) < 0) return -1;
    fold.domain = worker->domain;
    fold.goes_on = past_goes_on;
    if ((fold.projection = past_find(fold.domain, query->view, fault)) < 0) return -1;
    const struct domain_projection *declared = domain_projection(fold.domain, fold.projection);
    bool quick = past_is_quick(declared, query);
    if (!worker->is_slow && !quick) return 1;
    if (moment_bound(hub->engine, &query->moment, &fold.bound, fault) < 0) return -1;
    work.until_ns = clock_monotonic_ns() + hub_limit(hub, "past_seconds", PAST_SECONDS) * 1000000000LL;
    uint64_t head = engine_head(hub->engine).position;
    uint64_t stopped = quick ? past_stopped(hub, declared, query->tenant) : 0;
    uint64_t asked = fold.bound.position;
    if (stopped > 0 && stopped <= asked) fold.bound.position = stopped - 1;
    past_tell(worker, declared->name, asked < head ? asked : head);
    int done = past_fold_query(&work, &fold, fault);
    past_fold_release(&fold);
    past_tell(worker, SLICE_NONE, 0);
    return done;
}

/* --- the threads --- */

static void past_take(struct past_worker *worker, struct past_query *query)
{
    struct past *past = worker->past;
    query->fault.code = FAULT_NONE;
    if (past_answer(worker, query, &query->fault) == 1) {
        if (inbox_put(&past->slow.inbox, &query->link)) return;
        fault_set(&query->fault, FAULT_BUSY, "%d questions about the past are waiting", PAST_SLOW_MAX);
    }
    query->done(query);
}

static void *past_run(void *user)
{
    struct past_worker *worker = user;
    domain_thread_start();
    if (worker->is_slow) {
        setpriority(PRIO_PROCESS, 0, PAST_NICE); /* on Linux: of this thread */
    }
    for (;;) {
        struct inbox_link *list = inbox_take(&worker->inbox, -1);
        if (!list && inbox_closed(&worker->inbox)) break;
        while (list) {
            struct past_query *query =
                (struct past_query *)((char *)list - offsetof(struct past_query, link));
            list = list->next; /* what is asked is the asker's again with done */
            inbox_done(&worker->inbox, 1);
            past_take(worker, query);
        }
        if (worker->is_slow) past_remove_released(worker->past);
    }
    domain_thread_stop();
    return NULL;
}

static void past_start_worker(struct past *past, struct past_worker *worker, bool is_slow)
{
    worker->past = past;
    worker->is_slow = is_slow;
    inbox_init(&worker->inbox, is_slow ? PAST_SLOW_MAX : PAST_QUICK_MAX);
    worker->thread = thread_start(past_run, worker, is_slow ? "past slow" : "past");
}

struct past *past_start(struct hub *hub)
{
    struct past *past = MEM_NEW(struct past);
    past->hub = hub;
    pthread_mutex_init(&past->lock, NULL);
    past_start_worker(past, &past->slow, true);
    past_start_worker(past, &past->quick, false);
    return past;
}

void past_stop(struct past *past)
{
    atomic_store(&past->stopping, true);
    inbox_close(&past->quick.inbox);
    pthread_join(past->quick.thread, NULL);
    inbox_close(&past->slow.inbox);
    pthread_join(past->slow.thread, NULL);
    past->stopped = true;
    past_remove_released(past);
}

void past_free(struct past *past)
{
    if (!past) return;
    past_forget(&past->quick);
    past_forget(&past->slow);
    inbox_release(&past->quick.inbox);
    inbox_release(&past->slow.inbox);
    pthread_mutex_destroy(&past->lock);
    mem_free(past);
}

int hub_query_past(struct hub *hub, struct past_query *query, struct fault *fault)
{
    if (!hub->past) return fault_set(fault, FAULT_UNAVAILABLE, "this hub runs without scripts");
    struct visit visit;
    struct release *release =
        release_enter(hub, &visit); /* as in hub_submit: nothing is put behind the end */
    int done = 0;
    if (!catalog_has_tenant(&release->catalog, query->tenant))
        done = fault_set(fault, FAULT_NOT_FOUND, "no tenant %.*s", SLICE_ARGS(query->tenant));
    else if (atomic_load(&hub->stopping))
        done = fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    else if (!inbox_put(&hub->past->quick.inbox, &query->link))
        done = fault_set(fault, FAULT_BUSY, "%d questions about the past are waiting", PAST_QUICK_MAX);
    release_leave(&visit);
    return done;
}

void past_status(struct past *past, struct buf *ndjson)
{
    pthread_mutex_lock(&past->lock);
    if (past->name[0]) {
        buf_put_byte(ndjson, '{');
        json_put_text_member(ndjson, "kind", slice_of("past"));
        json_put_text_member(ndjson, "name", slice_of(past->name));
        json_put_int_member(ndjson, "position", (int64_t)past->position);
        json_put_int_member(ndjson, "target", (int64_t)past->target);
        buf_put_text(ndjson, "}\n");
    }
    pthread_mutex_unlock(&past->lock);
}

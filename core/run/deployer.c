#include "run/deployer.h"

#include <pthread.h>
#include <semaphore.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "base/thread.h"
#include "codec/json.h"
#include "run/deploys.h"
#include "run/gate.h"
#include "run/inside.h"
#include "run/warm.h"

enum { DEPLOYER_ORDERS_MAX = 16 };

struct deployer {
    struct hub *hub;
    pthread_t thread;
    bool started;
    struct inbox orders;    /* struct deploy_order */
    atomic_bool stopping;   /* a gate that runs gives up */
    pthread_mutex_t lock;   /* the list of those that are ending */
    struct release *ending; /* by `older` */
    struct gate_progress progress;
};

/* A release on its way to become the current one: all that it needs is made. */
struct ready {
    struct release *release;
    struct shard_order *shards;
    struct crew *crew; /* NULL: a hub without views */
};

/* --- making ready --- */

static void ready_release(struct deployer *deployer, struct ready *ready)
{
    for (size_t at = 0; ready->shards && at < deployer->hub->shard_count; at++)
        shard_order_release(&ready->shards[at]);
    mem_free(ready->shards);
    release_let_go(ready->release);
}

static int ready_make(struct deployer *deployer, struct ready *ready, struct fault *fault)
{
    struct hub *hub = deployer->hub;
    struct release *release = ready->release;
    ready->shards = mem_zero((hub->shard_count + 1) * sizeof *ready->shards);
    for (size_t at = 0; at < hub->shard_count; at++) {
        ready->shards[at].release = release;
        if (release_domain(release, &ready->shards[at].domain, fault) < 0) return -1;
    }
    if (release_make_parts(release, &hub->parts, fault) < 0) return -1;
    struct release *before = atomic_load(&hub->release);
    catalog_keep_senders(&release->catalog, &before->catalog);
    if (hub->views && views_prepare(hub->views, release, fault) < 0) return -1;
    warm_states(hub, release, &deployer->stopping);
    /* The last, since what is started here can only be ended by a switch. */
    return hub->views ? crew_start(hub->views, release, false, &ready->crew, fault) : 0;
}

/* --- the switch --- */

static void deployer_obeyed(struct shard_order *order)
{
    sem_post(order->user);
}

static void deployer_switch_shards(struct hub *hub, struct shard_order *orders)
{
    sem_t obeyed;
    sem_init(&obeyed, 0, 0);
    for (size_t at = 0; at < hub->shard_count; at++) {
        orders[at].done = deployer_obeyed;
        orders[at].user = &obeyed;
        shard_give_order(hub->shards[at], &orders[at]);
    }
    for (size_t at = 0; at < hub->shard_count; at++)
        while (sem_wait(&obeyed) < 0) continue; /* a signal */
    sem_destroy(&obeyed);
}

/* The log cannot be read: as at a start. */
static void deployer_must(int done, const struct release *release, const struct fault *fault)
{
    if (done < 0) say_stop("deploy %llu cannot go on: %s", (unsigned long long)release->deploy, fault->text);
}

/* It begins no task any more; runs of the new code wait for those that it has begun. */
static void deployer_make_old(struct deployer *deployer, struct release *before)
{
    if (before->reactor) reactor_hold_tasks(before->reactor);
    pthread_mutex_lock(&deployer->lock);
    before->older = deployer->ending;
    deployer->ending = before;
    pthread_mutex_unlock(&deployer->lock);
}

/* Whoever comes through the door finds somebody who takes it: the new release is there before the old one
 * takes nothing more. Receptors come last, since the old ones may have to wait for a service. */
static void deployer_switch(struct deployer *deployer, struct ready *ready)
{
    struct hub *hub = deployer->hub;
    struct fault fault;
    struct release *release = ready->release, *before = atomic_load(&hub->release);
    deployer_switch_shards(hub, ready->shards);
    if (hub->views) views_switch(hub->views, ready->crew);
    deployer_make_old(deployer, before);
    release_hold(release); /* the hub's */
    deployer_must(release_start_parts(release, &fault), release, &fault);
    atomic_store(&hub->release, release);
    release_wait_for_visitors(hub);
    if (before->query) query_stop(before->query);
    if (before->reactor) reactor_drain(before->reactor);
    if (before->receptors) receptors_stop(before->receptors);
    deployer_must(release_start_receptors(release, &fault), release, &fault);
    hub_look(hub);
    if (hub->courier) courier_retry(hub->courier); /* other code is another chance */
}

/* --- what is old --- */

static void deployer_end_old(struct deployer *deployer, bool at_once)
{
    struct release *ended = NULL;
    pthread_mutex_lock(&deployer->lock);
    for (struct release **at = &deployer->ending; *at;) {
        struct release *release = *at;
        if (release->reactor && !at_once && !reactor_is_drained(release->reactor)) {
            at = &release->older;
            continue;
        }
        *at = release->older;
        release->older = ended;
        ended = release;
    }
    pthread_mutex_unlock(&deployer->lock);
    while (ended) {
        struct release *release = ended;
        ended = release->older;
        if (release->reactor) reactor_stop(release->reactor);
        release_let_go(release);
    }
    if (deployer->hub->views) views_reap(deployer->hub->views);
}

bool deployer_task_runs(struct deployer *deployer, struct slice task, struct slice tenant)
{
    bool runs = false;
    pthread_mutex_lock(&deployer->lock);
    for (struct release *release = deployer->ending; release && !runs; release = release->older)
        runs = release->reactor && reactor_task_runs(release->reactor, task, tenant);
    pthread_mutex_unlock(&deployer->lock);
    return runs;
}

/* --- one order --- */

static struct deploys_writer deployer_writer(struct deployer *deployer)
{
    return (struct deploys_writer){writer_keep, deployer->hub->writer};
}

static int deployer_record(struct deployer *deployer, const struct deploy_order *order,
                           struct release *release, bool forced, struct fault *fault)
{
    struct deploy_new what = {.sources = release->sources,
                              .actor = order->actor,
                              .note = order->note,
                              .folder = order->folder,
                              .gate = buf_slice(&order->report),
                              .forced = forced,
                              .at_ms = clock_now_ms(deployer->hub->clock),
                              .why =
                                  order->kind == DEPLOY_ORDER_START ? DEPLOY_WHY_START : DEPLOY_WHY_DEPLOY};
    struct deploys_writer writer = deployer_writer(deployer);
    return deploys_add(deployer->hub->engine, &writer, &what, &release->deploy, fault);
}

static void deployer_say_undone(struct deploy_order *order, uint64_t undone, int64_t began_ns)
{
    struct buf *out = &order->report;
    say_info("deploy %llu is undone", (unsigned long long)undone);
    buf_format(out, "{\"deploy\":%llu,\"undone\":%llu,\"seconds\":%.3f}", (unsigned long long)order->deploy,
               (unsigned long long)undone, (double)(clock_monotonic_ns() - began_ns) / 1e9);
}

static int deployer_go_live(struct deployer *deployer, struct deploy_order *order, struct release *release,
                            uint64_t undone_to, bool forced, struct fault *fault)
{
    struct hub *hub = deployer->hub;
    struct ready ready = {.release = release};
    int64_t began_ns = clock_monotonic_ns();
    uint64_t before = hub_deploy_number(hub);
    atomic_store(&deployer->progress.state, GATE_SWITCHING);
    if (undone_to) release->deploy = undone_to;
    int done = ready_make(deployer, &ready, fault);
    if (done == 0 && undone_to) {
        struct deploys_writer writer = deployer_writer(deployer);
        struct deploy_switch change = {.at_ms = clock_now_ms(hub->clock),
                                       .actor = order->actor,
                                       .note = order->note,
                                       .to = undone_to,
                                       .why = DEPLOY_WHY_UNDEPLOY};
        done = deploys_switch(hub->engine, &writer, &change, fault);
    } else if (done == 0) {
        done = deployer_record(deployer, order, release, forced, fault);
    }
    if (done == 0) {
        deployer_switch(deployer, &ready);
        if (!order->is_told)
            say_info("deploy %llu runs%s (%lld ms)", (unsigned long long)release->deploy,
                     undone_to ? " again" : "", (long long)((clock_monotonic_ns() - began_ns) / 1000000));
        order->deploy = release->deploy;
        if (undone_to) deployer_say_undone(order, before, began_ns);
    } else if (ready.crew) {
        crew_abandon(ready.crew);
    }
    ready_release(deployer, &ready);
    deployer_end_old(deployer, false);
    return done;
}

static int deployer_undeploy(struct deployer *deployer, struct deploy_order *order)
{
    struct hub *hub = deployer->hub;
    struct fault *fault = &order->fault;
    struct arena arena = {0};
    struct deploy_record running = {0};
    struct sources *sources;
    struct release *release;
    uint64_t number = hub_deploy_number(hub);
    int done = deploys_load(hub->engine, number, &arena, &running, fault);
    if (done == 0 && !running.before)
        done = fault_set(fault, FAULT_NOT_FOUND, "deploy %llu is the first: there is none to go back to",
                         (unsigned long long)number);
    if (done == 0) done = deploys_sources(hub->engine, running.before, &sources, fault);
    if (done == 0 && (done = release_load(hub, sources, &release, NULL, fault)) < 0) sources_free(sources);
    if (done == 0) done = deployer_go_live(deployer, order, release, running.before, false, fault);
    arena_release(&arena);
    return done;
}

static bool deployer_is_same(const struct gate *gate)
{
    struct hash here = sources_digest(gate->running->sources), there = sources_digest(gate->next->sources);
    return hash_equal(&here, &there);
}

/* gate->next is loaded, and this function's. */
static int deployer_deploy(struct deployer *deployer, struct gate *gate)
{
    struct deploy_order *order = gate->order;
    struct fault *fault = &order->fault;
    bool is_plan = order->kind == DEPLOY_ORDER_PLAN, is_same = deployer_is_same(gate);
    order->deploy = gate->running->deploy;
    if (is_same) gate_say_same(gate);
    int done = is_same ? 0 : gate_run(gate, fault);
    bool refused = done == 0 && gate->refusals > 0;
    if (refused && !is_plan && !order->force)
        done = fault_set(fault, FAULT_REFUSED, "the gate refuses this deploy: %s", gate->first_refusal);
    if (done == 0 && !is_plan && !is_same)
        return deployer_go_live(deployer, order, gate->next, 0, refused, fault);
    release_let_go(gate->next);
    return done;
}

static struct gate deployer_gate(struct deployer *deployer, struct deploy_order *order)
{
    atomic_store(&deployer->progress.began_ns, clock_monotonic_ns());
    return (struct gate){.hub = deployer->hub,
                         .running = atomic_load(&deployer->hub->release),
                         .order = order,
                         .stop = &deployer->stopping,
                         .progress = &deployer->progress,
                         .began_ns = clock_monotonic_ns()};
}

static void deployer_do(struct deployer *deployer, struct deploy_order *order)
{
    struct gate gate = deployer_gate(deployer, order);
    struct sources *sources = order->sources;
    order->sources = NULL;
    order->fault.code = FAULT_NONE;
    if (order->kind == DEPLOY_ORDER_UNDEPLOY)
        deployer_undeploy(deployer, order);
    else if (gate_load(&gate, sources, &order->fault) == 0)
        deployer_deploy(deployer, &gate);
    atomic_store(&deployer->progress.state, GATE_IDLE);
}

int deployer_start_with(struct deployer *deployer, struct release *release, struct deploy_order *order,
                        struct fault *fault)
{
    struct gate gate = deployer_gate(deployer, order);
    gate.next = release;
    domain_thread_start();
    int done = deployer_deploy(deployer, &gate);
    domain_thread_stop();
    atomic_store(&deployer->progress.state, GATE_IDLE);
    if (done < 0 && order->fault.code == FAULT_REFUSED) {
        say_error("%s", order->fault.text);
        say_error("deploy %llu runs; lore deploy --plan shows the report, --force deploys all the same",
                  (unsigned long long)order->deploy);
        done = 0;
    }
    if (done < 0) *fault = order->fault;
    buf_release(&order->report);
    return done;
}

/* --- the thread --- */

static void deployer_refuse(struct deploy_order *order)
{
    if (order->sources) sources_free(order->sources);
    order->sources = NULL;
    fault_set(&order->fault, FAULT_UNAVAILABLE, "the hub is stopping");
}

static void *deployer_run(void *user)
{
    struct deployer *deployer = user;
    domain_thread_start();
    while (!atomic_load(&deployer->stopping)) {
        struct inbox_link *list = inbox_take(&deployer->orders, -1);
        while (list) {
            struct deploy_order *order =
                (struct deploy_order *)((char *)list - offsetof(struct deploy_order, link));
            list = list->next;
            inbox_done(&deployer->orders, 1);
            if (atomic_load(&deployer->stopping))
                deployer_refuse(order);
            else
                deployer_do(deployer, order);
            order->done(order);
        }
        deployer_end_old(deployer, false);
    }
    domain_thread_stop();
    return NULL;
}

struct deployer *deployer_new(struct hub *hub)
{
    struct deployer *made = MEM_NEW(struct deployer);
    made->hub = hub;
    pthread_mutex_init(&made->lock, NULL);
    inbox_init(&made->orders, DEPLOYER_ORDERS_MAX);
    return made;
}

void deployer_start(struct deployer *deployer)
{
    deployer->started = true;
    deployer->thread = thread_start(deployer_run, deployer, "deployer");
}

/* Who put an order is a visitor until it is put, and looks whether this stops as such: so none comes behind
 * those that are answered here. */
void deployer_stop(struct deployer *deployer)
{
    atomic_store(&deployer->stopping, true);
    inbox_wake(&deployer->orders);
    if (deployer->started) pthread_join(deployer->thread, NULL);
    deployer->started = false;
    release_wait_for_visitors(deployer->hub);
    for (struct inbox_link *list = inbox_take(&deployer->orders, 0); list;) {
        struct deploy_order *order =
            (struct deploy_order *)((char *)list - offsetof(struct deploy_order, link));
        list = list->next;
        deployer_refuse(order);
        order->done(order);
    }
    deployer_end_old(deployer, true);
}

void deployer_free(struct deployer *deployer)
{
    if (!deployer) return;
    inbox_release(&deployer->orders);
    pthread_mutex_destroy(&deployer->lock);
    mem_free(deployer);
}

void deployer_status(struct deployer *deployer, struct buf *ndjson)
{
    const struct gate_progress *progress = &deployer->progress;
    enum gate_state state = atomic_load(&progress->state);
    if (state == GATE_IDLE) return;
    bool replays = state == GATE_REPLAYING;
    buf_put_byte(ndjson, '{');
    json_put_text_member(ndjson, "kind", slice_of("deploy"));
    json_put_text_member(ndjson, "state", slice_of(gate_state_name(state)));
    json_put_int_member(ndjson, "done",
                        (int64_t)atomic_load(replays ? &progress->shadow.streams : &progress->done));
    json_put_int_member(ndjson, "of",
                        (int64_t)atomic_load(replays ? &progress->shadow.streams_total : &progress->of));
    json_put_name(ndjson, "seconds");
    buf_format(ndjson, "%.1f}\n", (double)(clock_monotonic_ns() - atomic_load(&progress->began_ns)) / 1e9);
}

void deployer_look(struct deployer *deployer)
{
    inbox_wake(&deployer->orders);
}

static int deployer_read(struct deploy_order *order, struct fault *fault)
{
    struct source_text *texts = mem_zero((order->text_count + 1) * sizeof *texts);
    for (size_t at = 0; at < order->text_count; at++)
        texts[at] = (struct source_text){order->texts[at].path, order->texts[at].text};
    int done = sources_make("scripts", texts, order->text_count, &order->sources, fault);
    mem_free(texts);
    return done;
}

static int deployer_put(struct deployer *deployer, struct deploy_order *order, struct fault *fault)
{
    struct visit visit;
    int done = 0;
    release_enter(deployer->hub, &visit);
    if (atomic_load(&deployer->stopping))
        done = fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    else if (!inbox_put(&deployer->orders, &order->link))
        done = fault_set(fault, FAULT_BUSY, "%d deploys are waiting", DEPLOYER_ORDERS_MAX);
    release_leave(&visit);
    return done;
}

int hub_deploy(struct hub *hub, struct deploy_order *order, struct fault *fault)
{
    if (!hub->deployer) return fault_set(fault, FAULT_UNAVAILABLE, "this hub takes no deploys");
    bool has_scripts = order->kind == DEPLOY_ORDER_DEPLOY || order->kind == DEPLOY_ORDER_PLAN;
    if (has_scripts && deployer_read(order, fault) < 0) return -1;
    if (deployer_put(hub->deployer, order, fault) == 0) return 0;
    if (order->sources) sources_free(order->sources);
    order->sources = NULL;
    return -1;
}

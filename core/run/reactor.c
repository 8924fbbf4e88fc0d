#include <semaphore.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/thread.h"
#include "run/reactor_inside.h"

enum {
    REACTOR_FETCH_MS = 10000,     /* a request that asks for no time of its own */
    REACTOR_FETCH_MS_MAX = 60000, /* limits.http_timeout_ms */
    REACTOR_RUNS = 64             /* limits.service_runs */
};

/* --- arrivals --- */

void reactor_arrive(struct reactor *reactor, struct reactor_arrival *arrival)
{
    inbox_put_quietly(&reactor->arrivals, &arrival->link);
    fetch_wake(reactor->fetch);
}

bool reactor_admit(struct reactor *reactor, struct reactor_arrival *arrival)
{
    pthread_mutex_lock(&reactor->mutex);
    bool admitted = !reactor->closed && !reactor->draining && reactor->started;
    if (admitted) inbox_put_quietly(&reactor->arrivals, &arrival->link);
    pthread_mutex_unlock(&reactor->mutex);
    if (admitted) fetch_wake(reactor->fetch);
    return admitted;
}

static void reactor_take(struct reactor *reactor)
{
    struct inbox_link *list;
    while ((list = inbox_take(&reactor->arrivals, 0))) {
        size_t count = 0;
        while (list) {
            struct reactor_arrival *arrival = (struct reactor_arrival *)list;
            list = list->next;
            arrival->take(reactor, arrival);
            count++;
        }
        inbox_done(&reactor->arrivals, count);
    }
}

/* --- runs --- */

void reactor_run_begin(struct reactor *reactor, struct reactor_run *run, struct slice tenant,
                       void (*ended)(struct reactor_run *run, enum domain_run_state state,
                                     struct fault *fault))
{
    *run = (struct reactor_run){.reactor = reactor, .tenant = tenant, .ended = ended};
    reactor_host_init(run);
    run->older = reactor->runs;
    if (run->older) run->older->newer = run;
    reactor->runs = run;
    reactor->run_count++;
}

static void reactor_step(struct reactor_run *run, const struct domain_response *response)
{
    struct fault fault = {0};
    struct reactor *reactor = run->reactor;
    enum domain_run_state state = domain_run_step(run->run, response, &fault);
    if (state == DOMAIN_RUN_PAUSES) { /* between two pages of one snapshot */
        run->paused_next = NULL;
        *reactor->paused_last = run;
        reactor->paused_last = &run->paused_next;
        return;
    }
    reactor_page_close(run); /* nobody waits for the outside with a snapshot open */
    if (state == DOMAIN_RUN_FETCHES)
        run->fetch = fetch_start(reactor->fetch, domain_run_request(run->run), run);
    else
        run->ended(run, state, &fault);
}

void reactor_go(struct reactor_run *run)
{
    reactor_step(run, NULL);
}

void reactor_run_end(struct reactor_run *run)
{
    struct reactor *reactor = run->reactor;
    if (reactor_is_full(reactor)) reactor->tasks_moved = true; /* there is room again */
    if (run->fetch) fetch_free(run->fetch);
    run->fetch = NULL;
    if (run->run) domain_run_free(run->run);
    run->run = NULL;
    reactor_page_close(run);
    if (run->newer)
        run->newer->older = run->older;
    else
        reactor->runs = run->older;
    if (run->older) run->older->newer = run->newer;
    reactor->run_count--;
}

/* Each of them one step. */
static void reactor_resume(struct reactor *reactor)
{
    struct reactor_run *list = reactor->paused;
    reactor->paused = NULL;
    reactor->paused_last = &reactor->paused;
    while (list) {
        struct reactor_run *run = list;
        list = list->paused_next;
        reactor_step(run, NULL);
    }
}

static void reactor_take_answers(struct reactor *reactor)
{
    struct fetch_call *call;
    while ((call = fetch_next(reactor->fetch))) {
        struct reactor_run *run = fetch_user(call);
        run->fetch = NULL;
        reactor_step(run, fetch_response(call));
        fetch_free(call);
    }
}

void reactor_add_output(struct arena *arena, const struct domain_output *output, struct commit_event **events,
                        size_t *count, struct domain_send **sends, size_t *send_count)
{
    struct commit_event *all = arena_take(arena, (*count + output->event_count + 1) * sizeof *all);
    if (*count) memcpy(all, *events, *count * sizeof *all);
    for (size_t at = 0; at < output->event_count; at++) {
        struct commit_event *event = &all[(*count)++];
        *event = output->events[at];
        event->type = arena_copy(arena, event->type);
        event->data = arena_copy(arena, event->data);
    }
    *events = all;
    struct domain_send *sent = arena_take(arena, (*send_count + output->send_count + 1) * sizeof *sent);
    if (*send_count) memcpy(sent, *sends, *send_count * sizeof *sent);
    for (size_t at = 0; at < output->send_count; at++) {
        struct domain_send *send = &sent[(*send_count)++];
        *send = output->sends[at];
        struct slice *texts[] = {&send->context, &send->target, &send->id,
                                 &send->type,    &send->data,   &send->key};
        for (size_t text = 0; text < sizeof texts / sizeof *texts; text++)
            *texts[text] = arena_copy(arena, *texts[text]);
    }
    *sends = sent;
}

/* --- the thread --- */

static bool reactor_is_closed(struct reactor *reactor)
{
    pthread_mutex_lock(&reactor->mutex);
    bool closed = reactor->closed;
    pthread_mutex_unlock(&reactor->mutex);
    return closed;
}

/* Whether it was to end when it has nothing left to do, and has. */
static bool reactor_is_done(struct reactor *reactor)
{
    if (!atomic_load(&reactor->draining)) return false;
    /* Who was admitted before it drained is among the arrivals by now. */
    pthread_mutex_lock(&reactor->mutex);
    bool done = !reactor->run_count && !reactor->commits && inbox_size(&reactor->arrivals) == 0;
    pthread_mutex_unlock(&reactor->mutex);
    return done && services_are_idle(reactor->services) && tasks_are_idle(reactor->tasks);
}

static void *reactor_main(void *user)
{
    struct reactor *reactor = user;
    domain_thread_start();
    while (!reactor_is_closed(reactor) && !reactor_is_done(reactor)) {
        int timeout_ms = tasks_turn(reactor->tasks); /* first: services may have a queue for ever */
        services_turn(reactor->services);
        atomic_store_explicit(&reactor->running, reactor->run_count, memory_order_relaxed);
        atomic_store_explicit(&reactor->memory, domain_memory(reactor->domain), memory_order_relaxed);
        fetch_wait(reactor->fetch, reactor->paused ? 0 : timeout_ms);
        reactor_resume(reactor);
        reactor_take_answers(reactor);
        reactor_take(reactor);
    }
    reactor->ending = true;
    reactor_take(reactor); /* what was admitted before it closed */
    while (reactor->runs) {
        struct fault fault;
        fault_set(&fault, FAULT_UNAVAILABLE, "the hub is stopping");
        reactor->runs->ended(reactor->runs, DOMAIN_RUN_FAILED, &fault);
    }
    services_give_up(reactor->services);
    while (reactor->commits) { /* shards and writer still work */
        fetch_wait(reactor->fetch, -1);
        reactor_take(reactor);
    }
    domain_thread_stop();
    atomic_store(&reactor->drained, true);
    if (reactor->draining) deployer_look(reactor->hub->deployer);
    return NULL;
}

/* --- its life --- */

static int reactor_make(struct reactor *reactor, const struct reactor_options *options, struct fault *fault)
{
    const struct catalog *catalog = &reactor->release->catalog;
    if (secrets_open(options->secrets, &reactor->secrets, fault) < 0 ||
        reach_init(&reactor->reach, catalog->hub_options, fault) < 0)
        return -1;
    int64_t timeout_max = catalog_limit(catalog, "http_timeout_ms", REACTOR_FETCH_MS_MAX);
    struct fetch_options fetch = {
        .reach = &reactor->reach,
        .timeout_ms = timeout_max < REACTOR_FETCH_MS ? timeout_max : REACTOR_FETCH_MS,
        .timeout_max_ms = timeout_max,
        .response_size_max = (size_t)catalog_limit(catalog, "http_response_size", LIMIT_RESPONSE_SIZE_MAX),
        .headers_size_max = LIMIT_RESPONSE_HEADERS_SIZE_MAX};
    if (fetch_open(&fetch, &reactor->fetch, fault) < 0) return -1;
    reactor->run_count_max = (size_t)catalog_limit(catalog, "service_runs", REACTOR_RUNS);
    reactor->services = services_open(reactor);
    return tasks_open(reactor, options->schedule, &reactor->tasks, fault);
}

int reactor_open(struct release *release, const struct reactor_options *options, struct reactor **reactor,
                 struct fault *fault)
{
    struct domain *domain;
    struct domain_options options_of_runs = release_domain_options(release);
    options_of_runs.counts_runs = true;
    if (domain_open(&options_of_runs, &domain, NULL, fault) < 0) return -1;
    struct reactor *made = MEM_NEW(struct reactor);
    made->hub = release->hub;
    made->release = release;
    made->domain = domain;
    made->paused_last = &made->paused;
    pthread_mutex_init(&made->mutex, NULL);
    inbox_init(&made->arrivals, 0);
    if (reactor_make(made, options, fault) < 0) {
        reactor_free(made);
        return -1;
    }
    *reactor = made;
    return 0;
}

int reactor_start(struct reactor *reactor, struct fault *fault)
{
    if (tasks_start(reactor->tasks, fault) < 0) return -1;
    if (reactor->hub->read_only) return 0; /* only to be looked at */
    reactor->started = true;
    reactor->thread = thread_start(reactor_main, reactor, "reactor");
    return 0;
}

void reactor_stop(struct reactor *reactor)
{
    if (!reactor->started || reactor_is_closed(reactor)) return;
    pthread_mutex_lock(&reactor->mutex);
    reactor->closed = true;
    pthread_mutex_unlock(&reactor->mutex);
    fetch_wake(reactor->fetch);
    pthread_join(reactor->thread, NULL);
}

struct reactor_turn {
    struct reactor_arrival arrival;
    sem_t taken;
};

static void reactor_turned(struct reactor *reactor, struct reactor_arrival *arrival)
{
    sem_post(&((struct reactor_turn *)arrival)->taken);
}

/* Tasks begin at the beginning of a turn, arrivals are taken at its end. */
void reactor_hold_tasks(struct reactor *reactor)
{
    struct reactor_turn turn = {.arrival.take = reactor_turned};
    atomic_store(&reactor->holds_tasks, true);
    sem_init(&turn.taken, 0, 0);
    if (reactor_admit(reactor, &turn.arrival))
        while (sem_wait(&turn.taken) < 0) continue; /* a signal */
    sem_destroy(&turn.taken);
}

void reactor_drain(struct reactor *reactor)
{
    if (!reactor->started) atomic_store(&reactor->drained, true);
    pthread_mutex_lock(&reactor->mutex);
    atomic_store(&reactor->draining, true);
    pthread_mutex_unlock(&reactor->mutex);
    fetch_wake(reactor->fetch);
}

bool reactor_is_drained(const struct reactor *reactor)
{
    return atomic_load(&((struct reactor *)reactor)->drained);
}

bool reactor_task_runs(struct reactor *reactor, struct slice task, struct slice tenant)
{
    return tasks_run_one(reactor->tasks, task, tenant);
}

void reactor_free(struct reactor *reactor)
{
    if (!reactor) return;
    services_free(reactor->services);
    tasks_free(reactor->tasks);
    fetch_close(reactor->fetch);
    reach_release(&reactor->reach);
    secrets_free(reactor->secrets);
    domain_close(reactor->domain);
    inbox_release(&reactor->arrivals);
    pthread_mutex_destroy(&reactor->mutex);
    mem_free(reactor);
}

void reactor_look(struct reactor *reactor)
{
    fetch_wake(reactor->fetch);
}

bool reactor_has_service(const struct reactor *reactor, struct slice context, struct slice name)
{
    return services_has(reactor->services, context, name);
}

int reactor_put(struct reactor *reactor, struct command *command, struct fault *fault)
{
    return services_put(reactor->services, command, fault);
}

int reactor_run_task(struct reactor *reactor, struct slice name, struct command *command, struct fault *fault)
{
    return tasks_run(reactor->tasks, name, command, fault);
}

size_t reactor_memory(const struct reactor *reactor)
{
    return atomic_load_explicit(&((struct reactor *)reactor)->memory, memory_order_relaxed);
}

void reactor_status(struct reactor *reactor, struct buf *ndjson)
{
    services_status(reactor->services, ndjson);
    tasks_status(reactor->tasks, ndjson);
}

/* DESIGN. The way of a command to a service:
 *
 *   admitted ──► id known? ──yes──► shard answers from the log
 *                  │ no
 *                  ├─ the same id is being done ──► waits for it, then begins here again
 *                  ▼
 *               QUEUE ──► a run for each of its commands ──► one decided command ──► shard, writer ──► answer
 *                            └─ retry, fault ──► answer
 *
 *  1. The id is looked up before anything runs, so a command that is sent again does nothing out there. A
 * kill between HTTP and the commit makes it run again, with the same Idempotency-Key: at least once, as
 * promised.
 *  2. The submitter's done is taken over until the answer, so that who waits for the same id learns of it.
 *  3. When it is answered the command is as it came, but for the answer: it may be submitted again. */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/json.h"
#include "run/metrics.h"
#include "run/reactor_inside.h"
#include "run/sent.h"

struct service {
    struct slice name; /* "mailing/mail", the domain's */
    int index;
    atomic_ullong done, rejected, failed, retried;
    atomic_size_t running, waiting;
};

struct services {
    struct reactor *reactor;
    struct service *list;
    size_t count;
    atomic_size_t admitted; /* and not yet answered */
    size_t admitted_max;
    struct map busy;                    /* struct service_work by tenant, service and id */
    struct service_work *first, **last; /* the queue */
};

struct service_work {
    struct reactor_arrival arrival;
    struct services *services;
    struct service *service;
    struct command *command;
    void (*done)(struct command *command); /* the submitter's */
    void *user;
    struct slice key;           /* among the busy ones; empty: not there */
    struct service_work *waits; /* others with the same id */
    struct service_work *next;  /* in the queue, or among those that wait */
    struct reactor_run run;
    struct envelope envelope;
    size_t item; /* that runs */
    struct commit_event *events;
    struct domain_send *sends;
    size_t event_count, send_count;
};

static void services_take(struct reactor *reactor, struct reactor_arrival *arrival);

/* --- answers --- */

/* Not among the busy ones any more: who waited for it begins again and finds its id in the log, or runs. */
static void service_free(struct service_work *work)
{
    struct services *services = work->services;
    if (work->key.size) map_remove(&services->busy, work->key);
    mem_free((char *)work->key.data);
    struct service_work *waiter = work->waits;
    mem_free(work);
    while (waiter) {
        struct service_work *next = waiter->next;
        services_take(services->reactor, &waiter->arrival);
        waiter = next;
    }
}

static void service_over(struct reactor *reactor, struct reactor_arrival *arrival)
{
    reactor->commits--;
    service_free((struct service_work *)arrival);
}

static void service_count(struct service *service, const struct command *command)
{
    switch (command->fault.code) {
    case FAULT_NONE: atomic_fetch_add(&service->done, 1); break;
    case FAULT_REJECTED: atomic_fetch_add(&service->rejected, 1); break;
    case FAULT_UNAVAILABLE: atomic_fetch_add(&service->retried, 1); break;
    default: atomic_fetch_add(&service->failed, 1);
    }
}

/* The command is the submitter's again. */
static void service_give_back(struct service_work *work)
{
    struct command *command = work->command;
    command->is_decided = false;
    command->deploy = 0;
    command->id = SLICE_NONE;
    command->events = NULL;
    command->event_count = 0;
    command->reason = command->message = SLICE_NONE;
    command->done = work->done;
    command->user = work->user;
    service_count(work->service, command);
    atomic_fetch_sub(&work->services->admitted, 1);
}

/* In the reactor's thread. fault NULL: done well. */
static void service_answer(struct service_work *work, const struct fault *fault)
{
    struct command *command = work->command;
    if (fault) command->fault = *fault;
    service_give_back(work);
    command->done(command);
    service_free(work);
}

/* In the writer's or a shard's thread: answered by the log. */
static void service_committed(struct command *command)
{
    struct service_work *work = command->user;
    service_give_back(work);
    work->arrival.take = service_over;
    struct reactor *reactor = work->services->reactor;
    reactor_arrive(reactor, &work->arrival);
    command->done(command);
}

/* To the shard of the service's stream, with what was decided. */
static void service_submit(struct service_work *work)
{
    struct command *command = work->command;
    struct fault fault;
    command->is_decided = true;
    command->deploy = work->services->reactor->release->deploy;
    command->id = command->aggregate;
    command->done = service_committed;
    command->user = work;
    struct reactor *reactor = work->services->reactor;
    reactor->commits++;
    if (hub_submit_wait(reactor->hub, command, &fault) == 0) return;
    reactor->commits--;
    service_answer(work, &fault);
}

/* --- runs --- */

static void service_commit(struct service_work *work)
{
    struct command *command = work->command;
    struct fault fault;
    int error = fault_point(POINT_SERVICE_COMMIT);
    if (error) {
        fault_errno(&fault, error, "%.*s cannot write what it did", SLICE_ARGS(work->service->name));
        service_answer(work, &fault);
        return;
    }
    if (work->send_count)
        work->events[work->event_count++] = /* room was left for it */
            sent_event(work->sends, work->send_count, work->envelope.at_ms, &command->arena);
    command->events = work->events;
    command->event_count = work->event_count;
    service_submit(work);
}

static void service_reject(struct service_work *work, const struct fault *fault)
{
    struct command *command = work->command;
    command->reason = arena_copy(&command->arena, slice_of(fault->reason));
    command->message = arena_copy(&command->arena, slice_of(fault->text));
    service_submit(work);
}

static void service_put_off(struct service_work *work, int64_t retry_ms)
{
    struct fault fault;
    work->command->retry_ms = retry_ms > 0 ? retry_ms : 1;
    fault_set(&fault, FAULT_UNAVAILABLE, "%.*s asks to be tried again in %lld ms",
              SLICE_ARGS(work->service->name), (long long)work->command->retry_ms);
    service_answer(work, &fault);
}

/* Before all others: not at once, or a batch would go as deep as it is long. */
static void service_queue_next(struct service_work *work)
{
    struct services *services = work->services;
    work->next = services->first;
    services->first = work;
    if (!work->next) services->last = &work->next;
    atomic_fetch_add(&work->service->waiting, 1);
}

static void service_ended(struct reactor_run *run, enum domain_run_state state, struct fault *fault)
{
    struct service_work *work = (struct service_work *)((char *)run - offsetof(struct service_work, run));
    int64_t retry_ms = state == DOMAIN_RUN_RETRIES ? domain_run_retry_ms(run->run) : 0;
    if (state == DOMAIN_RUN_DONE)
        reactor_add_output(&work->command->arena, domain_run_output(run->run), &work->events,
                           &work->event_count, &work->sends, &work->send_count);
    reactor_run_end(run);
    atomic_fetch_sub(&work->service->running, 1);
    if (state == DOMAIN_RUN_RETRIES)
        service_put_off(work, retry_ms);
    else if (state == DOMAIN_RUN_FAILED && fault->code == FAULT_REJECTED)
        service_reject(work, fault);
    else if (state == DOMAIN_RUN_FAILED)
        service_answer(work, fault);
    else if (++work->item < work->command->item_count)
        service_queue_next(work);
    else
        service_commit(work);
}

/* Of a batch each command has an id of its own for the outside, or their requests would look the same. */
static struct slice service_item_id(struct service_work *work)
{
    struct command *command = work->command;
    const struct command_item *item = &command->items[work->item];
    if (item->id.size) return item->id;
    if (work->item == 0) return command->batch_id;
    struct slice first = command->batch_id.size ? command->batch_id : command->items[0].id;
    return arena_format(&command->arena, "%.*s.%zu", SLICE_ARGS(first), work->item + 1);
}

static void service_begin_item(struct service_work *work)
{
    struct reactor *reactor = work->services->reactor;
    const struct command *command = work->command;
    const struct command_item *item = &command->items[work->item];
    struct fault fault;
    work->envelope.type = item->type;
    work->envelope.command_id = service_item_id(work);
    reactor_run_begin(reactor, &work->run, command->tenant, service_ended);
    atomic_fetch_add(&work->service->running, 1);
    int error = fault_point(POINT_SERVICE_RUN);
    if (error) fault_errno(&fault, error, "%.*s cannot run", SLICE_ARGS(work->service->name));
    if (error || domain_service_start(reactor->domain, work->service->index, &work->envelope, item->data,
                                      &work->run.host, &work->run.run, &fault) < 0)
        service_ended(&work->run, DOMAIN_RUN_FAILED, &fault);
    else
        reactor_go(&work->run);
}

static void service_begin(struct service_work *work)
{
    struct command *command = work->command;
    struct hub *hub = work->services->reactor->hub;
    struct slice first = service_item_id(work);
    work->envelope = (struct envelope){
        .tenant = command->tenant,
        .context = command->context,
        .aggregate = command->aggregate,
        .id = command->aggregate,
        .at_ms = command->at_ms == INT64_MIN ? clock_now_ms(hub->clock) : command->at_ms,
        .actor = command->actor,
        .correlation_id = command->correlation_id.size ? command->correlation_id : first,
        .causation_id = command->causation_id.size ? command->causation_id : first,
    };
}

void services_turn(struct services *services)
{
    while (services->first && !reactor_is_full(services->reactor)) {
        struct service_work *work = services->first;
        services->first = work->next;
        if (!services->first) services->last = &services->first;
        atomic_fetch_sub(&work->service->waiting, 1);
        if (work->item == 0) service_begin(work);
        service_begin_item(work);
    }
}

/* --- before it runs --- */

/* Data as the contracts make it, and that every command is one of the service's. */
static int service_check(struct service_work *work, struct fault *fault)
{
    struct command *command = work->command;
    struct domain *domain = work->services->reactor->domain;
    for (size_t at = 0; at < command->item_count; at++) {
        struct command_item *item = &command->items[at];
        struct slice nearest = SLICE_NONE;
        if (!domain_service_handles(domain, work->service->index, item->type, &nearest))
            return fault_set(fault, FAULT_UNKNOWN_COMMAND, "%.*s has no handler for %.*s%s%.*s%s",
                             SLICE_ARGS(work->service->name), SLICE_ARGS(item->type),
                             nearest.size ? " (did you mean " : "", SLICE_ARGS(nearest),
                             nearest.size ? "?)" : "");
        if (item->is_checked) continue; /* it was put off: its arena would grow with each time */
        if (domain_service_check(domain, work->service->index, item->type, item->data, &command->arena,
                                 &item->data, fault) < 0)
            return -1;
        item->is_checked = true;
    }
    return 0;
}

/* Whether an id of the command is in the service's stream. 1, 0, -1. */
static int service_is_known(struct service_work *work, struct fault *fault)
{
    struct command *command = work->command;
    struct engine *engine = work->services->reactor->hub->engine;
    struct stream_id stream = {command->tenant, work->service->name, command->aggregate};
    struct buf bytes = {0};
    struct record record;
    int found = 0;
    if (command->batch_id.size)
        found = engine_find_command(engine, &stream, command->batch_id, &bytes, &record, fault);
    for (size_t at = 0; found == 0 && at < command->item_count; at++)
        if (command->items[at].id.size)
            found = engine_find_command(engine, &stream, command->items[at].id, &bytes, &record, fault);
    buf_release(&bytes);
    return found;
}

/* Nobody gave an id: one is drawn, since the outside is to know the command by it. */
static void service_draw_id(struct service_work *work)
{
    struct command *command = work->command;
    char text[RAND_UUID_SIZE + 1];
    if (service_item_id(work).size) return;
    rand_uuid(clock_now_ms(work->services->reactor->hub->clock), text);
    if (command->item_count == 1)
        command->items[0].id = arena_copy(&command->arena, slice_of(text));
    else
        command->batch_id = arena_copy(&command->arena, slice_of(text));
}

/* True: another one with this id is on its way, and it waits for that. */
static bool service_waits(struct service_work *work)
{
    struct services *services = work->services;
    struct buf key = {0};
    struct slice id = service_item_id(work);
    buf_format(&key, "%.*s%c%.*s%c%.*s", SLICE_ARGS(work->command->tenant), 0,
               SLICE_ARGS(work->service->name), 0, SLICE_ARGS(id));
    struct service_work *busy = map_find(&services->busy, buf_slice(&key));
    if (busy) {
        work->next = busy->waits;
        busy->waits = work;
        buf_release(&key);
        return true;
    }
    work->key = buf_slice(&key); /* work's now */
    map_put(&services->busy, work->key, work);
    return false;
}

static void service_give_up(struct service_work *work)
{
    struct fault fault;
    fault_set(&fault, FAULT_UNAVAILABLE, "the hub is stopping");
    service_answer(work, &fault);
}

static void services_take(struct reactor *reactor, struct reactor_arrival *arrival)
{
    struct service_work *work = (struct service_work *)arrival;
    struct services *services = work->services;
    struct fault fault;
    service_draw_id(work);
    if (service_waits(work)) return;
    if (reactor->ending) {
        service_give_up(work);
        return;
    }
    int known = service_check(work, &fault);
    if (known == 0) known = service_is_known(work, &fault);
    if (known < 0) {
        service_answer(work, &fault);
    } else if (known) {
        service_submit(work); /* decides nothing: the shard finds the id and answers */
    } else {
        work->next = NULL;
        *services->last = work;
        services->last = &work->next;
        atomic_fetch_add(&work->service->waiting, 1);
    }
}

/* --- the door --- */

static struct service *services_find(const struct services *services, struct slice context, struct slice name)
{
    for (size_t at = 0; at < services->count; at++) {
        struct slice full = services->list[at].name;
        if (full.size == context.size + 1 + name.size && full.data[context.size] == '/' &&
            memcmp(full.data, context.data, context.size) == 0 &&
            memcmp(full.data + context.size + 1, name.data, name.size) == 0)
            return &services->list[at];
    }
    return NULL;
}

bool services_has(const struct services *services, struct slice context, struct slice name)
{
    return services_find(services, context, name) != NULL;
}

int services_put(struct services *services, struct command *command, struct fault *fault)
{
    struct service *service = services_find(services, command->context, command->aggregate);
    CHECK(service);
    if (command->expected_version != COMMAND_ANY_VERSION)
        return fault_set(fault, FAULT_MALFORMED, "a service has no version that could be expected");
    if (atomic_fetch_add(&services->admitted, 1) >= services->admitted_max) {
        atomic_fetch_sub(&services->admitted, 1);
        return fault_set(fault, FAULT_BUSY, "too many commands to services are waiting: try again");
    }
    struct service_work *work = MEM_NEW(struct service_work);
    work->arrival.take = services_take;
    work->services = services;
    work->service = service;
    work->command = command;
    work->done = command->done;
    work->user = command->user;
    if (reactor_admit(services->reactor, &work->arrival)) return 0;
    mem_free(work);
    atomic_fetch_sub(&services->admitted, 1);
    return fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
}

void services_give_up(struct services *services)
{
    struct service_work *work;
    while ((work = services->first)) {
        services->first = work->next;
        atomic_fetch_sub(&work->service->waiting, 1);
        service_give_up(work);
    }
    services->last = &services->first;
    /* Who waits for one that is on its way to the log would be answered too late. */
    for (size_t at = 0; (work = map_next(&services->busy, &at));)
        for (struct service_work *waiter; (waiter = work->waits);) {
            work->waits = waiter->next;
            service_give_up(waiter);
        }
}

struct services *services_open(struct reactor *reactor)
{
    struct services *services = MEM_NEW(struct services);
    services->reactor = reactor;
    services->last = &services->first;
    services->admitted_max =
        (size_t)catalog_limit(&reactor->release->catalog, "queue_services", LIMIT_QUEUE_SERVICES);
    services->count = domain_service_count(reactor->domain);
    services->list = mem_zero((services->count + 1) * sizeof *services->list);
    for (size_t at = 0; at < services->count; at++) {
        services->list[at].name = domain_service(reactor->domain, (int)at)->name;
        services->list[at].index = (int)at;
    }
    return services;
}

void services_free(struct services *services)
{
    if (!services) return;
    CHECK(services->busy.size == 0);
    map_release(&services->busy);
    mem_free(services->list);
    mem_free(services);
}

bool services_are_idle(const struct services *services)
{
    return atomic_load(&((struct services *)services)->admitted) == 0;
}

void services_status(struct services *services, struct buf *ndjson)
{
    for (size_t at = 0; at < services->count; at++) {
        struct service *service = &services->list[at];
        buf_put_byte(ndjson, '{');
        json_put_text_member(ndjson, "kind", slice_of("service"));
        json_put_text_member(ndjson, "name", service->name);
        json_put_int_member(ndjson, "running", (int64_t)atomic_load(&service->running));
        json_put_int_member(ndjson, "waiting", (int64_t)atomic_load(&service->waiting));
        json_put_int_member(ndjson, "done", (int64_t)atomic_load(&service->done));
        json_put_int_member(ndjson, "rejected", (int64_t)atomic_load(&service->rejected));
        json_put_int_member(ndjson, "failed", (int64_t)atomic_load(&service->failed));
        json_put_int_member(ndjson, "retried", (int64_t)atomic_load(&service->retried));
        buf_put_text(ndjson, "}\n");
    }
}

void services_metrics(struct services *services, struct buf *out)
{
    static const char runs[] = "lore_service_runs_total";
    if (services->count == 0) return;
    metrics_head(out, runs, "counter", "Commands to a service, by outcome.");
    for (size_t at = 0; at < services->count; at++) {
        struct service *service = &services->list[at];
        metrics_outcome(out, runs, "service", service->name, "done", atomic_load(&service->done));
        metrics_outcome(out, runs, "service", service->name, "rejected", atomic_load(&service->rejected));
        metrics_outcome(out, runs, "service", service->name, "failed", atomic_load(&service->failed));
        metrics_outcome(out, runs, "service", service->name, "put_off", atomic_load(&service->retried));
    }
    metrics_head(out, "lore_service_running", "gauge", "Runs of a service at once.");
    for (size_t at = 0; at < services->count; at++)
        metrics_named(out, "lore_service_running", "service", services->list[at].name,
                      atomic_load(&services->list[at].running));
    metrics_head(out, "lore_service_waiting", "gauge", "Commands that wait for a run.");
    for (size_t at = 0; at < services->count; at++)
        metrics_named(out, "lore_service_waiting", "service", services->list[at].name,
                      atomic_load(&services->list[at].waiting));
}

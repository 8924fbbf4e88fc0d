/* Which tasks there are, for whom, and when they run; what a run is is chore.c's. */
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/time.h"
#include "run/chore.h"
#include "run/metrics.h"
#include "run/tenants.h"

enum {
    TASKS_LOOK_MS = 10000,   /* the machine's clock may be set: who waits looks at it so often */
    TASKS_ELSEWHERE_MS = 100 /* and so often at a run that older code began */
};

struct tasks {
    struct reactor *reactor;
    bool schedule;
    struct task *list;
    size_t count;
    struct tenants tenants;
    size_t tenants_seen; /* have their chores */
    int64_t next_ms;     /* something wants to be looked at */
    int64_t looked_ms;   /* for new tenants: moments up to here are not theirs */
};

/* --- chores --- */

static struct chore *task_find_chore(const struct task *task, struct slice tenant)
{
    for (struct chore *chore = task->chores; chore; chore = chore->next)
        if (slice_equal(chore->tenant, tenant)) return chore;
    return NULL;
}

static struct chore *task_chore(struct task *task, struct slice tenant, struct fault *fault)
{
    struct chore *chore = task_find_chore(task, tenant);
    if (chore) return chore;
    struct deployer *deployer = task->reactor->hub->deployer; /* NULL: no deploy has been yet */
    bool elsewhere = deployer && deployer_task_runs(deployer, task->declared->name, tenant);
    chore = chore_new(task, tenant, fault);
    if (!chore) return NULL;
    chore->is_elsewhere = elsewhere;
    pthread_mutex_lock(&task->reactor->mutex);
    chore->next = task->chores;
    task->chores = chore;
    pthread_mutex_unlock(&task->reactor->mutex);
    return chore;
}

/* Tenants that came since are served from the first moment on that they saw. */
static int tasks_add_tenants(struct tasks *tasks, int64_t now_ms, struct fault *fault)
{
    if (tenants_look(&tasks->tenants, fault) < 0) return -1;
    for (; tasks->tenants_seen < tasks->tenants.count; tasks->tenants_seen++) {
        struct slice tenant = tasks->tenants.list[tasks->tenants_seen];
        for (size_t at = 0; at < tasks->count; at++) {
            struct task *task = &tasks->list[at];
            struct chore *chore = task_chore(task, tenant, fault);
            if (!chore) return -1;
            int64_t after_ms = tasks->looked_ms ? tasks->looked_ms : task->seen_ms;
            if (chore->last_moment_ms > after_ms) after_ms = chore->last_moment_ms;
            pthread_mutex_lock(&tasks->reactor->mutex);
            chore->after_ms = after_ms;
            if (tasks->schedule && !chore->is_elsewhere) chore_plan(chore, after_ms, now_ms);
            pthread_mutex_unlock(&tasks->reactor->mutex);
        }
    }
    tasks->looked_ms = now_ms;
    return 0;
}

/* --- the clock --- */

/* Runs never overlap, whatever code they are of: a deploy's tasks begin where those of the code before have
 * ended. False: it still runs there. */
static bool tasks_take_back(struct chore *chore, int64_t now_ms)
{
    struct reactor *reactor = chore->task->reactor;
    struct fault fault;
    if (deployer_task_runs(reactor->hub->deployer, chore->task->declared->name, chore->tenant)) return false;
    if (chore_look(chore, &fault) < 0) {
        say_error("tasks: %s", fault.text);
        return false;
    }
    pthread_mutex_lock(&reactor->mutex);
    chore->is_elsewhere = false;
    int64_t after_ms = chore->last_moment_ms > chore->after_ms ? chore->last_moment_ms : chore->after_ms;
    if (chore->task->tasks->schedule) chore_plan(chore, after_ms, now_ms);
    pthread_mutex_unlock(&reactor->mutex);
    return true;
}

/* Begins it if it is time; the moment at which it wants to be looked at again. */
static int64_t tasks_turn_chore(struct chore *chore, int64_t now_ms)
{
    if (reactor_is_full(chore->task->reactor)) return INT64_MAX; /* the end of a run is a turn */
    if (atomic_load(&chore->task->reactor->holds_tasks)) {
        chore_drain(chore);
        if (chore->state == CHORE_IDLE) return INT64_MAX;
    }
    if (chore->is_elsewhere && !tasks_take_back(chore, now_ms)) return now_ms + TASKS_ELSEWHERE_MS;
    if (chore->state == CHORE_WAITS && chore->again_ms <= now_ms)
        chore_go_on(chore);
    else if (chore->state == CHORE_IDLE && chore->due_ms <= now_ms)
        chore_begin(chore, now_ms);
    if (chore->state == CHORE_WAITS) return chore->again_ms;
    return chore->state == CHORE_IDLE ? chore->due_ms : INT64_MAX;
}

/* All chores are looked at, when it is time for one of them or one of them is free again. */
static void tasks_turn_all(struct tasks *tasks, int64_t now_ms)
{
    struct fault fault;
    /* All tenants have the same moments, so it does to know of new ones when it is time for one. */
    if (now_ms >= tasks->next_ms && tasks_add_tenants(tasks, now_ms, &fault) < 0)
        say_error("tasks: %s", fault.text);
    tasks->reactor->tasks_moved = false;
    tasks->next_ms = INT64_MAX;
    for (size_t at = 0; at < tasks->count; at++)
        for (struct chore *chore = tasks->list[at].chores; chore; chore = chore->next) {
            int64_t chore_ms = tasks_turn_chore(chore, now_ms);
            if (chore_ms < tasks->next_ms) tasks->next_ms = chore_ms;
        }
}

int tasks_turn(struct tasks *tasks)
{
    if (tasks->count == 0) return -1;
    int64_t now_ms = clock_now_ms(tasks->reactor->hub->clock);
    if (tasks->reactor->tasks_moved || now_ms >= tasks->next_ms) tasks_turn_all(tasks, now_ms);
    if (tasks->reactor->tasks_moved) return 0; /* one was over at once */
    if (tasks->next_ms == INT64_MAX) return -1;
    int64_t left_ms = tasks->next_ms - clock_now_ms(tasks->reactor->hub->clock);
    return left_ms < 0 ? 0 : left_ms < TASKS_LOOK_MS ? (int)left_ms : TASKS_LOOK_MS;
}

/* --- by hand --- */

struct task_ask {
    struct reactor_arrival arrival;
    struct task *task;
    struct command *command;
};

/* 1: an earlier run has this id, the shard will answer with it; 0; -1. */
static int task_is_known(const struct task *task, const struct command *command, struct fault *fault)
{
    struct stream_id stream = {command->tenant, task->declared->name, task->name};
    struct buf bytes = {0};
    struct record record;
    if (!command->batch_id.size) return 0;
    int found =
        engine_find_command(task->reactor->hub->engine, &stream, command->batch_id, &bytes, &record, fault);
    buf_release(&bytes);
    return found;
}

static int task_ask_take(struct task *task, struct command *command, struct fault *fault)
{
    struct reactor *reactor = task->reactor;
    struct chore *chore = task_chore(task, command->tenant, fault);
    if (!chore) return -1;
    struct buf nothing = {0};
    mp_put_map(&nothing, 0);
    chore_prepare(chore, command, buf_slice(&nothing));
    buf_release(&nothing);
    int known = task_is_known(task, command, fault);
    if (known < 0) return -1;
    if (known) return hub_submit_wait(reactor->hub, command, fault);
    if (chore->is_elsewhere) tasks_take_back(chore, clock_now_ms(reactor->hub->clock));
    if (chore->state != CHORE_IDLE || chore->is_elsewhere)
        return fault_set(fault, FAULT_CONFLICT, "%.*s runs already", SLICE_ARGS(task->declared->name));
    if (atomic_load(&reactor->holds_tasks))
        return fault_set(fault, FAULT_UNAVAILABLE, "other code is about to run: try again");
    if (reactor_is_full(reactor))
        return fault_set(fault, FAULT_BUSY, "%zu services and tasks run: try again", reactor->run_count);
    chore_begin_asked(chore, command, clock_now_ms(reactor->hub->clock));
    return 0;
}

static void tasks_take_ask(struct reactor *reactor, struct reactor_arrival *arrival)
{
    struct task_ask *ask = (struct task_ask *)arrival;
    struct command *command = ask->command;
    struct fault fault;
    int done = reactor->ending ? fault_set(&fault, FAULT_UNAVAILABLE, "the hub is stopping")
                               : task_ask_take(ask->task, command, &fault);
    mem_free(ask);
    if (done == 0) return;
    command->fault = fault;
    command->done(command);
}

/* "context/name", or the name alone where there is one. */
static struct task *tasks_find(struct tasks *tasks, struct slice name, struct fault *fault)
{
    struct task *found = NULL;
    for (size_t at = 0; at < tasks->count; at++) {
        struct task *task = &tasks->list[at];
        if (slice_equal(task->declared->name, name)) return task;
        if (!slice_equal(task->name, name)) continue;
        if (found) {
            fault_set(fault, FAULT_NOT_FOUND, "%.*s: say which, %.*s or %.*s", SLICE_ARGS(name),
                      SLICE_ARGS(found->declared->name), SLICE_ARGS(task->declared->name));
            return NULL;
        }
        found = task;
    }
    if (!found) fault_set(fault, FAULT_NOT_FOUND, "no task %.*s", SLICE_ARGS(name));
    return found;
}

int tasks_run(struct tasks *tasks, struct slice name, struct command *command, struct fault *fault)
{
    struct task *task = tasks_find(tasks, name, fault);
    if (!task) return -1;
    struct task_ask *ask = MEM_NEW(struct task_ask);
    ask->arrival.take = tasks_take_ask;
    ask->task = task;
    ask->command = command;
    if (reactor_admit(tasks->reactor, &ask->arrival)) return 0;
    mem_free(ask);
    return fault_set(fault, FAULT_UNAVAILABLE, "the hub runs no tasks now");
}

/* --- opening --- */

static void tasks_seen_written(struct writer_meta *meta)
{
    buf_release(&meta->value);
    mem_free((char *)meta->key.data);
    mem_free(meta);
}

/* When the task was first seen, remembered now if it is new. */
static int task_see(struct task *task, struct fault *fault)
{
    struct hub *hub = task->reactor->hub;
    struct buf key = {0}, value = {0};
    buf_format(&key, "task/%.*s", SLICE_ARGS(task->declared->name));
    int found = engine_meta_get(hub->engine, buf_slice(&key), &value, fault);
    struct mp_reader reader = mp_reader_of(buf_slice(&value));
    struct mp_value seen;
    if (found == 1 && mp_read(&reader, &seen) == 0 && seen.kind == MP_INT) {
        task->seen_ms = seen.integer;
    } else if (found >= 0) {
        task->seen_ms = clock_now_ms(hub->clock);
        struct writer_meta *meta = MEM_NEW(struct writer_meta);
        meta->key = buf_slice(&key); /* the meta's now */
        key = (struct buf){0};
        mp_put_int(&meta->value, task->seen_ms);
        meta->done = tasks_seen_written;
        writer_put_meta(hub->writer, meta);
    }
    buf_release(&key);
    buf_release(&value);
    return found < 0 ? -1 : 0;
}

static int task_open(struct tasks *tasks, struct task *task, int index, struct fault *fault)
{
    task->tasks = tasks;
    task->reactor = tasks->reactor;
    task->index = index;
    task->declared = domain_task(tasks->reactor->domain, index);
    struct slice name = task->declared->name;
    size_t context = task->declared->context.size + 1;
    task->name = slice_make(name.data + context, name.size - context);
    if (!task->declared->cron.size) return 0;
    return cron_parse(task->declared->cron, &task->cron, fault) < 0 ||
                   (task->declared->zone.size && zone_open(task->declared->zone, &task->zone, fault) < 0)
               ? -1
               : 0;
}

int tasks_open(struct reactor *reactor, bool schedule, struct tasks **tasks, struct fault *fault)
{
    struct tasks *made = MEM_NEW(struct tasks);
    *tasks = made;
    made->reactor = reactor;
    made->schedule = schedule;
    made->count = domain_task_count(reactor->domain);
    made->list = mem_zero((made->count + 1) * sizeof *made->list);
    tenants_init(&made->tenants, reactor->release);
    for (size_t at = 0; at < made->count; at++)
        if (task_open(made, &made->list[at], (int)at, fault) < 0) return -1;
    return 0;
}

int tasks_start(struct tasks *tasks, struct fault *fault)
{
    for (size_t at = 0; tasks->schedule && at < tasks->count; at++)
        if (task_see(&tasks->list[at], fault) < 0) return -1;
    return tasks_add_tenants(tasks, clock_now_ms(tasks->reactor->hub->clock), fault);
}

void tasks_free(struct tasks *tasks)
{
    if (!tasks) return;
    for (size_t at = 0; at < tasks->count; at++) {
        struct chore *chore;
        while ((chore = tasks->list[at].chores)) {
            tasks->list[at].chores = chore->next;
            chore_free(chore);
        }
        zone_free(tasks->list[at].zone);
    }
    tenants_release(&tasks->tenants);
    mem_free(tasks->list);
    mem_free(tasks);
}

/* --- status --- */

bool tasks_are_idle(const struct tasks *tasks)
{
    for (size_t at = 0; at < tasks->count; at++)
        for (const struct chore *chore = tasks->list[at].chores; chore; chore = chore->next)
            if (chore->state != CHORE_IDLE) return false;
    return true;
}

bool tasks_run_one(struct tasks *tasks, struct slice task, struct slice tenant)
{
    bool runs = false;
    pthread_mutex_lock(&tasks->reactor->mutex);
    for (size_t at = 0; at < tasks->count && !runs; at++) {
        const struct chore *chore = task_find_chore(&tasks->list[at], tenant);
        runs = chore && chore->state != CHORE_IDLE && slice_equal(tasks->list[at].declared->name, task);
    }
    pthread_mutex_unlock(&tasks->reactor->mutex);
    return runs;
}

static void put_moment(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    if (!time_valid(ms)) return;
    time_format(ms, text);
    json_put_text_member(out, name, slice_of(text));
}

static void chore_status(const struct chore *chore, struct buf *out)
{
    static const char *const states[] = {"idle", "running", "running", "waiting"};
    buf_put_byte(out, '{');
    json_put_text_member(out, "kind", slice_of("task"));
    json_put_text_member(out, "name", chore->task->declared->name);
    json_put_text_member(out, "tenant", chore->tenant);
    json_put_text_member(out, "state", slice_of(states[chore->state]));
    put_moment(out, "next", chore->state == CHORE_WAITS ? chore->again_ms : chore->due_ms);
    if (chore->state == CHORE_WAITS) json_put_text_member(out, "waits_for", buf_slice(&chore->waits_for));
    if (chore->last_due_ms != INT64_MIN) {
        json_put_name(out, "last");
        buf_put_byte(out, '{');
        put_moment(out, "due", chore->last_due_ms);
        json_put_text_member(out, "outcome", slice_of(chore->last_error.size ? "failed" : "done"));
        json_put_int_member(out, "duration_ms", chore->last_duration_ms);
        if (chore->last_error.size) json_put_text_member(out, "error", buf_slice(&chore->last_error));
        buf_put_byte(out, '}');
    }
    buf_put_text(out, "}\n");
}

void tasks_status(struct tasks *tasks, struct buf *ndjson)
{
    pthread_mutex_lock(&tasks->reactor->mutex);
    for (size_t at = 0; at < tasks->count; at++)
        for (const struct chore *chore = tasks->list[at].chores; chore; chore = chore->next)
            chore_status(chore, ndjson);
    pthread_mutex_unlock(&tasks->reactor->mutex);
}

void tasks_metrics(struct tasks *tasks, struct buf *out)
{
    static const char runs[] = "lore_task_runs_total";
    if (tasks->count == 0) return;
    metrics_head(out, runs, "counter", "Runs of a task, by outcome, of all tenants.");
    for (size_t at = 0; at < tasks->count; at++) {
        struct task *task = &tasks->list[at];
        metrics_outcome(out, runs, "task", task->declared->name, "done", atomic_load(&task->done));
        metrics_outcome(out, runs, "task", task->declared->name, "failed", atomic_load(&task->failed));
        metrics_outcome(out, runs, "task", task->declared->name, "put_off", atomic_load(&task->put_off));
    }
    metrics_head(out, "lore_task_running", "gauge", "Tenants for whom a task runs.");
    pthread_mutex_lock(&tasks->reactor->mutex);
    for (size_t at = 0; at < tasks->count; at++) {
        uint64_t running = 0;
        for (const struct chore *chore = tasks->list[at].chores; chore; chore = chore->next)
            running += chore->state == CHORE_RUNS || chore->state == CHORE_COMMITS;
        metrics_named(out, "lore_task_running", "task", tasks->list[at].declared->name, running);
    }
    pthread_mutex_unlock(&tasks->reactor->mutex);
}

#include "run/chore.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/say.h"
#include "codec/mp.h"
#include "codec/time.h"
#include "run/sent.h"

static const int64_t CHORE_AGAIN_MS = 1000; /* what is not the task's fault is tried again */

/* --- moments --- */

int64_t task_next(const struct task *task, int64_t after_ms)
{
    const struct domain_task *declared = task->declared;
    if (declared->every_ms > 0) return (after_ms / declared->every_ms + 1) * declared->every_ms;
    if (declared->cron.size) return cron_next(&task->cron, task->zone, after_ms);
    return declared->at_ms > after_ms ? declared->at_ms : INT64_MAX;
}

int64_t task_last(const struct task *task, int64_t due_ms, int64_t now_ms)
{
    static const int64_t windows[] = {3600000LL, 86400000LL, 32 * 86400000LL, 366 * 86400000LL};
    if (task->declared->every_ms > 0) return now_ms / task->declared->every_ms * task->declared->every_ms;
    if (!task->declared->cron.size) return due_ms;
    int64_t last_ms = due_ms;
    for (size_t at = 0; at < sizeof windows / sizeof *windows; at++) {
        int64_t from_ms = now_ms - windows[at] > due_ms ? now_ms - windows[at] : due_ms;
        int64_t next_ms = cron_next(&task->cron, task->zone, from_ms);
        if (next_ms > now_ms && from_ms > due_ms) continue; /* none in this window */
        for (; next_ms <= now_ms; next_ms = cron_next(&task->cron, task->zone, next_ms)) last_ms = next_ms;
        break;
    }
    return last_ms;
}

void chore_plan(struct chore *chore, int64_t after_ms, int64_t now_ms)
{
    const struct task *task = chore->task;
    chore->due_ms = task_next(task, after_ms);
    if (chore->due_ms > now_ms) return;
    chore->due_ms =
        task->declared->skip_missed ? task_next(task, now_ms) : task_last(task, chore->due_ms, now_ms);
}

/* --- the log --- */

static struct slice chore_id(const struct chore *chore, int64_t due_ms, struct arena *arena)
{
    struct buf all = {0};
    char text[RAND_UUID_SIZE + 1];
    buf_format(&all, "%s\n%.*s\n%.*s\n%lld", chore->task->reactor->hub->log_id, SLICE_ARGS(chore->tenant),
               SLICE_ARGS(chore->task->declared->name), (long long)due_ms);
    struct hash hash = hash_of(buf_slice(&all));
    buf_release(&all);
    rand_uuid_of(hash.bytes, text);
    return arena_copy(arena, slice_of(text));
}

static void put_moment(struct buf *out, const char *name, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    time_format(ms, text);
    mp_put_text(out, slice_of(name));
    mp_put_text(out, slice_of(text));
}

static void put_text(struct buf *out, const char *name, struct slice text)
{
    mp_put_text(out, slice_of(name));
    mp_put_text(out, text);
}

/* { began, by, due, duration_ms, error?, outcome } */
static struct commit_event chore_ran(const struct chore *chore, struct arena *arena)
{
    struct buf out = {0};
    bool failed = chore->run_error.size > 0;
    mp_put_map(&out, 5 + failed);
    put_moment(&out, "began", chore->began_ms);
    put_text(&out, "by", slice_of(chore->asked ? "hand" : "schedule"));
    put_moment(&out, "due", chore->run_due_ms);
    mp_put_text(&out, slice_of("duration_ms"));
    mp_put_int(&out, chore->duration_ms);
    if (failed) put_text(&out, "error", buf_slice(&chore->run_error));
    put_text(&out, "outcome", slice_of(failed ? "failed" : "done"));
    struct commit_event event = {.type = slice_of(TASK_RAN_TYPE),
                                 .type_version = 1,
                                 .at_ms = chore->began_ms,
                                 .data = arena_copy(arena, buf_slice(&out))};
    buf_release(&out);
    return event;
}

static int64_t moment_of(struct slice data, const char *name)
{
    struct slice bytes;
    struct mp_value value;
    int64_t ms = INT64_MIN;
    if (!mp_find(data, slice_of(name), &bytes)) return ms;
    struct mp_reader reader = mp_reader_of(bytes);
    if (mp_read(&reader, &value) == 0 && value.kind == MP_TEXT) time_parse(value.text, &ms);
    return ms;
}

static bool text_of(struct slice data, const char *name, struct slice *text)
{
    struct slice bytes;
    struct mp_value value;
    if (!mp_find(data, slice_of(name), &bytes)) return false;
    struct mp_reader reader = mp_reader_of(bytes);
    if (mp_read(&reader, &value) < 0 || value.kind != MP_TEXT) return false;
    *text = value.text;
    return true;
}

/* What its last run came to. */
static void chore_remember_last(struct chore *chore, struct slice data)
{
    struct slice bytes, error;
    struct mp_value value;
    chore->last_due_ms = moment_of(data, "due");
    if (mp_find(data, slice_of("duration_ms"), &bytes)) {
        struct mp_reader reader = mp_reader_of(bytes);
        if (mp_read(&reader, &value) == 0 && value.kind == MP_INT) chore->last_duration_ms = value.integer;
    }
    if (text_of(data, "error", &error)) buf_put_slice(&chore->last_error, error);
}

static void chore_remember(struct chore *chore, const struct record *record)
{
    struct record_event event = {0};
    struct slice by;
    while (record_next_event(record, &event)) {
        if (!slice_is(names_get(record->names, event.type), TASK_RAN_TYPE)) continue;
        if (chore->last_due_ms == INT64_MIN) chore_remember_last(chore, event.data);
        if (!text_of(event.data, "by", &by) || !slice_is(by, "hand"))
            chore->last_moment_ms = moment_of(event.data, "due");
    }
}

/* From the last commit back to the last one that was for a moment: those by hand do not count. */
static int chore_read(struct chore *chore, struct fault *fault)
{
    struct engine *engine = chore->task->reactor->hub->engine;
    struct stream_id stream = {chore->tenant, chore->task->declared->name, chore->task->name};
    uint64_t version, position;
    if (engine_stream_head(engine, &stream, &version, &position, fault) < 0) return -1;
    while (version > 0 && chore->last_moment_ms == INT64_MIN) {
        struct engine_cursor *cursor;
        struct record record;
        if (engine_read_stream(engine, &stream, version, &cursor, fault) < 0) return -1;
        int more = engine_cursor_next(cursor, &record, fault);
        version = 0;
        if (more == 1) {
            chore_remember(chore, &record);
            version = record.first_version - 1;
        }
        engine_cursor_close(cursor);
        if (more < 0) return -1;
    }
    return 0;
}

int chore_look(struct chore *chore, struct fault *fault)
{
    struct reactor *reactor = chore->task->reactor;
    pthread_mutex_lock(&reactor->mutex);
    chore->last_due_ms = chore->last_moment_ms = INT64_MIN;
    buf_clear(&chore->last_error);
    int done = chore_read(chore, fault);
    pthread_mutex_unlock(&reactor->mutex);
    return done;
}

/* --- runs --- */

static void chore_set(struct chore *chore, enum chore_state state)
{
    struct reactor *reactor = chore->task->reactor;
    pthread_mutex_lock(&reactor->mutex);
    chore->state = state;
    pthread_mutex_unlock(&reactor->mutex);
}

static void chore_wait(struct chore *chore, int64_t delay_ms, const struct fault *why)
{
    chore->task->reactor->tasks_moved = true;
    pthread_mutex_lock(&chore->task->reactor->mutex);
    buf_clear(&chore->waits_for);
    buf_put_text(&chore->waits_for, why->text);
    pthread_mutex_unlock(&chore->task->reactor->mutex);
    chore->again_ms = clock_now_ms(chore->task->reactor->hub->clock) + delay_ms;
    chore_set(chore, CHORE_WAITS);
    watch_wake(&chore->task->reactor->hub->watch);
}

void chore_drain(struct chore *chore)
{
    if (chore->state != CHORE_WAITS || chore->commits) return;
    command_free(chore->command);
    chore->command = NULL;
    chore_set(chore, CHORE_IDLE);
}

/* The run is over, recorded or not. */
static void chore_rest(struct chore *chore, bool recorded)
{
    struct reactor *reactor = chore->task->reactor;
    reactor->tasks_moved = true;
    pthread_mutex_lock(&reactor->mutex);
    if (recorded) {
        atomic_fetch_add(chore->run_error.size ? &chore->task->failed : &chore->task->done, 1);
        chore->last_due_ms = chore->run_due_ms;
        chore->last_duration_ms = chore->duration_ms;
        buf_clear(&chore->last_error);
        buf_put_slice(&chore->last_error, buf_slice(&chore->run_error));
    }
    chore->state = CHORE_IDLE;
    chore->command = NULL;
    bool scheduled = !chore->asked;
    chore->asked = false;
    if (recorded && scheduled) chore->last_moment_ms = chore->run_due_ms;
    if (scheduled) chore_plan(chore, chore->run_due_ms, clock_now_ms(reactor->hub->clock));
    pthread_mutex_unlock(&reactor->mutex);
    watch_wake(&reactor->hub->watch);
}

/* The command is who asked's again, and the chore is free for the next one. */
static void chore_answer(struct chore *chore, bool recorded)
{
    struct command *command = chore->command;
    void (*done)(struct command * command) = command->done = chore->done;
    command->user = chore->user;
    chore_rest(chore, recorded);
    done(command);
}

static void chore_over(struct reactor *reactor, struct reactor_arrival *arrival)
{
    struct chore *chore = (struct chore *)arrival;
    const struct fault *fault = &chore->command->fault;
    bool later = fault->code == FAULT_DISK || fault->code == FAULT_UNAVAILABLE || fault->code == FAULT_BUSY ||
                 fault->code == FAULT_CONFLICT;
    reactor->commits--;
    if (chore->asked) {
        chore_answer(chore, fault->code == FAULT_NONE);
    } else if (later && !reactor->ending) {
        chore->commits = true;
        chore_wait(chore, CHORE_AGAIN_MS, fault);
        command_again(chore->command);
    } else {
        bool kept = fault->code == FAULT_NONE;
        if (!kept)
            say_error("task %.*s: what it did cannot be kept: %s", SLICE_ARGS(chore->task->declared->name),
                      fault->text);
        command_free(chore->command);
        chore_rest(chore, kept);
    }
}

/* In the writer's or a shard's thread. */
static void chore_committed(struct command *command)
{
    struct chore *chore = command->user;
    chore->arrival.take = chore_over;
    reactor_arrive(chore->task->reactor, &chore->arrival);
}

static void chore_submit(struct chore *chore)
{
    struct command *command = chore->command;
    struct reactor *reactor = chore->task->reactor;
    struct fault fault;
    chore->commits = false;
    reactor->commits++;
    chore_set(chore, CHORE_COMMITS);
    command->done = chore_committed;
    command->user = chore;
    int error = fault_point(POINT_TASK_COMMIT);
    if (error)
        fault_errno(&fault, error, "%.*s cannot write what it did", SLICE_ARGS(chore->task->declared->name));
    if (!error && hub_submit_wait(reactor->hub, command, &fault) == 0) return;
    command->fault = fault;
    chore_committed(command);
}

static void chore_record(struct chore *chore, const struct domain_output *output)
{
    struct command *command = chore->command;
    struct arena *arena = &command->arena;
    struct commit_event *events = NULL;
    struct domain_send *sends = NULL;
    size_t count = 0, send_count = 0;
    /* Room for $Sent and $TaskRan. */
    struct domain_output nothing = {0};
    reactor_add_output(arena, output ? output : &nothing, &events, &count, &sends, &send_count);
    struct commit_event *all = arena_take(arena, (count + 2) * sizeof *all);
    memcpy(all, events, count * sizeof *all);
    if (send_count) all[count++] = sent_event(sends, send_count, chore->began_ms, arena);
    all[count++] = chore_ran(chore, arena);
    command->events = all;
    command->event_count = count;
    chore_submit(chore);
}

static void chore_ended(struct reactor_run *run, enum domain_run_state state, struct fault *fault)
{
    struct chore *chore = (struct chore *)((char *)run - offsetof(struct chore, run));
    bool late = state == DOMAIN_RUN_FAILED && (fault->code == FAULT_UNAVAILABLE ||
                                               fault->code == FAULT_LAGGING || fault->code == FAULT_DISK);
    int64_t delay_ms = state == DOMAIN_RUN_RETRIES ? domain_run_retry_ms(run->run) : CHORE_AGAIN_MS;
    chore->duration_ms = (clock_monotonic_ns() - chore->began_ns) / 1000000;
    if (state == DOMAIN_RUN_RETRIES)
        fault_set(fault, FAULT_UNAVAILABLE, "%.*s asks to be tried again in %lld ms",
                  SLICE_ARGS(chore->task->declared->name), (long long)delay_ms);
    if (state == DOMAIN_RUN_DONE) {
        chore_record(chore, domain_run_output(run->run));
        reactor_run_end(run);
        return;
    }
    reactor_run_end(run);
    if (state == DOMAIN_RUN_RETRIES || late) {
        atomic_fetch_add(&chore->task->put_off, 1);
        if (!chore->asked) {
            chore_wait(chore, delay_ms, fault);
            return;
        }
        chore->command->fault = *fault;
        chore->command->retry_ms = delay_ms;
        chore_answer(chore, false);
        return;
    }
    buf_put_text(&chore->run_error, fault->text);
    say_error("task %.*s failed: %s", SLICE_ARGS(chore->task->declared->name), fault->text);
    chore_record(chore, NULL);
}

static void chore_run(struct chore *chore)
{
    struct reactor *reactor = chore->task->reactor;
    struct fault fault;
    buf_clear(&chore->run_error);
    chore->began_ms = clock_now_ms(reactor->hub->clock);
    chore->began_ns = clock_monotonic_ns();
    chore_set(chore, CHORE_RUNS);
    reactor_run_begin(reactor, &chore->run, chore->tenant, chore_ended);
    int error = fault_point(POINT_TASK_RUN);
    if (error) fault_errno(&fault, error, "%.*s cannot run", SLICE_ARGS(chore->task->declared->name));
    if (error || domain_task_start(reactor->domain, chore->task->index, chore->tenant, chore->run_due_ms,
                                   &chore->run.host, &chore->run.run, &fault) < 0)
        chore_ended(&chore->run, DOMAIN_RUN_FAILED, &fault);
    else
        reactor_go(&chore->run);
}

void chore_prepare(const struct chore *chore, struct command *command, struct slice data)
{
    command->context = chore->task->declared->context;
    command->aggregate = command->id = chore->task->name;
    command->item_count = 1;
    command->items = arena_zero(&command->arena, sizeof *command->items);
    command->items->type = slice_of("$RunTask");
    command->items->data = arena_copy(&command->arena, data);
    command->at_ms = INT64_MIN;
    command->expected_version = COMMAND_ANY_VERSION;
    if (!command->actor.size) command->actor = chore->task->declared->name;
    command->is_decided = true;
    command->deploy = chore->task->reactor->release->deploy;
}

void chore_begin(struct chore *chore, int64_t now_ms)
{
    struct command *command = command_new();
    struct buf data = {0};
    chore->run_due_ms =
        chore->task->declared->skip_missed ? chore->due_ms : task_last(chore->task, chore->due_ms, now_ms);
    mp_put_map(&data, 1);
    put_moment(&data, "due", chore->run_due_ms);
    chore_prepare(chore, command, buf_slice(&data));
    buf_release(&data);
    command->tenant = chore->tenant;
    command->items->id = chore_id(chore, chore->run_due_ms, &command->arena);
    chore->command = command;
    chore->asked = false;
    chore_run(chore);
}

void chore_begin_asked(struct chore *chore, struct command *command, int64_t now_ms)
{
    chore->run_due_ms = now_ms;
    chore->command = command;
    chore->asked = true;
    chore->done = command->done;
    chore->user = command->user;
    chore_run(chore);
}

void chore_go_on(struct chore *chore)
{
    if (chore->commits)
        chore_submit(chore);
    else
        chore_run(chore);
}

struct chore *chore_new(struct task *task, struct slice tenant, struct fault *fault)
{
    struct chore *chore = MEM_NEW(struct chore);
    chore->task = task;
    chore->tenant = slice_make(mem_text(tenant.data, tenant.size), tenant.size);
    chore->due_ms = INT64_MAX;
    chore->last_due_ms = chore->last_moment_ms = INT64_MIN;
    if (chore_read(chore, fault) == 0) return chore;
    chore_free(chore);
    return NULL;
}

void chore_free(struct chore *chore)
{
    if (chore->command) command_free(chore->command);
    buf_release(&chore->run_error);
    buf_release(&chore->last_error);
    buf_release(&chore->waits_for);
    mem_free((char *)chore->tenant.data);
    mem_free(chore);
}

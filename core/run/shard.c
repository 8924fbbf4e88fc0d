#include "run/shard.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/thread.h"
#include "run/inside.h"

enum {
    SHARD_MEMORY_SERVING = 64 << 20, /* of all shards together: a hub that serves stays small */
    SHARD_MEMORY_IMPORT =
        768 << 20, /* without projectors it is an import: the cache is what makes it quick */
    SHARD_DONE_EVERY = 32
};

struct pending *shard_pending(struct shard *shard)
{
    struct pending *pending = shard->free_pendings;
    if (pending) {
        shard->free_pendings = pending->next;
        *pending = (struct pending){.arena = pending->arena};
    } else {
        pending = MEM_NEW(struct pending);
    }
    pending->shard = shard;
    return pending;
}

void shard_pending_free(struct shard *shard, struct pending *pending)
{
    arena_reset(&pending->arena);
    pending->next = shard->free_pendings;
    shard->free_pendings = pending;
}

void shard_hand_over(struct shard *shard, struct pending *pending)
{
    shard->in_flight++;
    writer_put(shard->hub->writer, pending);
}

void shard_wait(struct shard *shard, struct work *work, struct pending *pending)
{
    work->link.next = NULL;
    *(pending->waiters ? pending->last_waiter : &pending->waiters) = &work->link;
    pending->last_waiter = &work->link.next;
    shard->waiting++;
}

void shard_give_up_turn(struct shard *shard, struct work *work)
{
    struct command *command = work->command;
    if (!command->ordered) return;
    struct pending *number = shard_pending(shard);
    number->ordered = command->ordered;
    number->sequence = work->sequence;
    command->ordered = 0;
    shard_hand_over(shard, number);
}

void shard_answer(struct shard *shard, struct work *work, const struct fault *fault)
{
    struct command *command = work->command;
    if (fault && fault != &command->fault) command->fault = *fault;
    enum fault_code code = fault ? fault->code : FAULT_NONE;
    atomic_fetch_add_explicit(&shard->outcomes[code], 1, memory_order_relaxed);
    if (command->repeated) atomic_fetch_add_explicit(&shard->repeated, 1, memory_order_relaxed);
    shard_give_up_turn(shard, work);
    command->done(command); /* the command, and with it the work, is the submitter's now */
}

static void shard_unlink(struct stream *stream, struct pending *pending)
{
    struct pending *before = NULL;
    for (struct pending *at = stream->oldest; at != pending; at = at->newer) {
        CHECK(at);
        before = at;
    }
    if (before)
        before->newer = pending->newer;
    else
        stream->oldest = pending->newer;
    if (stream->newest == pending) stream->newest = before;
}

/* What was decided on undurable versions is void: begins the next chain. */
static void shard_break(struct shard *shard, struct stream *stream, const struct pending *pending)
{
    if (pending->chain != stream->chain) return;
    cache_drop_state(shard, stream);
    buf_clear(&stream->snapshot);
    stream->snapshot_version = 0;
    stream->chain++;
}

static void shard_complete(struct shard *shard, struct pending *pending)
{
    struct stream *stream = pending->stream;
    CHECK(pending->result != PENDING_OPEN);
    shard->in_flight--;
    if (!stream) {
        shard_pending_free(shard, pending);
        return;
    }
    shard_unlink(stream, pending);
    const struct commit *commit = &pending->commit;
    stream->commits_in_flight -= commit->event_count > 0;
    if (pending->result != PENDING_APPENDED) {
        shard_break(shard, stream, pending);
    } else if (commit->event_count) {
        stream->position = commit->first_position + commit->event_count - 1;
        cache_snapshot_durable(shard, stream, commit->first_version + commit->event_count - 1);
    }
    struct work *again = pending->command ? pending->command->stage : NULL;
    struct inbox_link *waiters = pending->waiters;
    bool appended = pending->result == PENDING_APPENDED;
    shard_pending_free(shard, pending);
    if (again) {
        again->retries++;
        atomic_fetch_add_explicit(&shard->retried, 1, memory_order_relaxed);
        shard_decide(shard, again);
    }
    while (waiters) {
        struct work *waiter = (struct work *)waiters;
        waiters = waiters->next;
        shard->waiting--;
        if (waiter->refused &&
            appended) { /* it was decided when it began to wait: what uses its id came later */
            shard_answer(shard, waiter, &waiter->command->fault);
            continue;
        }
        if (waiter->refused) waiter->command->fault.code = FAULT_NONE; /* the conflict never came true */
        waiter->refused = false;
        shard_decide(shard, waiter);
    }
}

static void shard_complete_all(struct shard *shard, int timeout_ms)
{
    struct inbox_link *list = inbox_take(&shard->completions, timeout_ms);
    size_t count = 0;
    while (list) {
        struct pending *pending = (struct pending *)list;
        list = list->next;
        shard_complete(shard, pending);
        count++;
    }
    if (count == 0) return;
    inbox_done(&shard->completions, count);
    writer_rouse(shard->hub->writer); /* some may have been decided again */
}

static void shard_obey(struct shard *shard)
{
    struct shard_order *order = atomic_exchange(&shard->order, NULL);
    if (!order) return;
    if (order->release) {
        while (shard->in_flight) {
            writer_rouse(shard->hub->writer);
            shard_complete_all(shard, -1);
        }
        CHECK(shard->waiting == 0);
        cache_leave(shard, order);
        struct domain *before = shard->domain;
        shard->domain = order->domain;
        order->domain = before;
        shard->release = order->release;
        atomic_store_explicit(&shard->memory, domain_memory(shard->domain), memory_order_relaxed);
    } else {
        cache_list_long(shard, order);
    }
    order->done(order);
}

static size_t shard_count_some(const struct inbox_link *list)
{
    size_t count = 0;
    for (; list && count < SHARD_DONE_EVERY; list = list->next) count++;
    return count;
}

/* All that has arrived is decided, then the writer is woken once: what it finds is one batch. Room is made
 * before a command is decided: who has all answers never finds the queue full of what was answered. */
static void shard_take(struct shard *shard, struct inbox_link *list)
{
    struct writer *writer = shard->hub->writer;
    for (size_t left = 0; list; left--) {
        if (left == 0) {
            left = shard_count_some(list);
            inbox_done(&shard->commands, left);
        }
        struct work *work = (struct work *)list;
        list = list->next;
        /* The writer is behind: waiting here fills the queue, and a full queue is refused at the door. */
        while (shard->in_flight >= shard->in_flight_max) {
            writer_rouse(writer);
            shard_complete_all(shard, -1);
        }
        if (atomic_load_explicit(&shard->order, memory_order_relaxed)) shard_obey(shard);
        shard_decide(shard, work);
        if (left == 1) {
            writer_rouse(writer);
            shard_complete_all(shard, 0);
        }
    }
}

static void *shard_run(void *user)
{
    struct shard *shard = user;
    domain_thread_start();
    thread_is_prompt();
    for (;;) {
        /* Completions wake nobody, since nothing has to happen until the next command; unless somebody waits
         * for one. The flag is set before the last look at them, and the writer puts before it looks at the
         * flag. */
        atomic_store(&shard->wants_completions, shard->waiting > 0);
        shard_complete_all(shard, 0);
        struct inbox_link *list = inbox_take(&shard->commands, -1);
        shard_complete_all(shard, 0);
        shard_obey(shard);
        if (list)
            shard_take(shard, list);
        else if (inbox_closed(&shard->commands)) {
            if (shard->in_flight == 0) break;
            shard_complete_all(shard, -1);
        }
    }
    CHECK(shard->waiting == 0);
    domain_thread_stop();
    return NULL;
}

int shard_start(struct hub *hub, int index, struct shard **shard, struct fault *fault)
{
    struct shard *made = MEM_NEW(struct shard);
    made->hub = hub;
    made->index = index;
    made->release = atomic_load(&hub->release);
    if (release_domain(made->release, &made->domain, fault) < 0) {
        mem_free(made);
        return -1;
    }
    inbox_init(&made->commands, (size_t)hub_limit(hub, "queue_commands", LIMIT_QUEUE_COMMANDS));
    inbox_init(&made->completions, 0);
    made->in_flight_max = LIMIT_QUEUE_WRITER / hub->shard_count;
    int64_t memory = hub_limit(hub, "cache_memory", hub->views ? SHARD_MEMORY_SERVING : SHARD_MEMORY_IMPORT);
    made->memory_max = (size_t)memory / hub->shard_count;
    atomic_store(&made->memory, domain_memory(made->domain));
    made->thread = thread_start(shard_run, made, "shard %d", made->index);
    *shard = made;
    return 0;
}

void shard_give_order(struct shard *shard, struct shard_order *order)
{
    CHECK(!atomic_exchange(&shard->order, order));
    inbox_wake(&shard->commands);
}

void shard_stop(struct shard *shard)
{
    inbox_close(&shard->commands);
    pthread_join(shard->thread, NULL);
}

void shard_free(struct shard *shard)
{
    if (!shard) return;
    cache_free(shard);
    while (shard->free_pendings) {
        struct pending *next = shard->free_pendings->next;
        arena_release(&shard->free_pendings->arena);
        mem_free(shard->free_pendings);
        shard->free_pendings = next;
    }
    domain_close(shard->domain);
    inbox_release(&shard->commands);
    inbox_release(&shard->completions);
    mem_free(shard);
}

#include "run/writer.h"

#include <semaphore.h>
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "base/thread.h"
#include "run/inside.h"

enum { WRITER_BATCH_MAX = 8192 };

struct writer_lane { /* what one shard handed over, in its order */
    struct pending *first, *last;
};

struct writer {
    struct hub *hub;
    pthread_t thread;
    struct inbox inbox;
    struct inbox metas;                           /* struct writer_meta */
    struct writer_lane lanes[HUB_SHARDS_MAX + 1]; /* the last: numbers used up at the door */
    size_t queued;                                /* in lanes */
    size_t returned;                              /* left since inbox_done */
    uint64_t sequence, ordered;                   /* whose turn it is */
    uint64_t broken_sequence; /* one of it could not be written: no later one may be, or the
                                 log would not be in its order */
    uint64_t serial;          /* of the batch being built */
    struct append appends[WRITER_BATCH_MAX];
    struct pending *batch[WRITER_BATCH_MAX];
    size_t count;
    /* What goes back to each shard after this batch, in order. */
    struct writer_lane back[HUB_SHARDS_MAX];
    bool wake[HUB_SHARDS_MAX];
    /* Commands whose answer is ready. They are told after the shards know: who sends the next command at once
     * finds the state as it is. */
    struct command *answers, **last_answer;
    struct outage_part outage;
    bool wanted;            /* by a receptor, among what was appended */
    bool decided_elsewhere; /* among what was appended: it may hold something for the courier */
    struct writer_stats stats;
};

static void writer_lane_put(struct writer_lane *lane, struct pending *pending)
{
    pending->next = NULL;
    if (lane->last)
        lane->last->next = pending;
    else
        lane->first = pending;
    lane->last = pending;
}

static void writer_sort(struct writer *writer, struct inbox_link *list)
{
    while (list) {
        struct pending *pending = (struct pending *)list;
        list = list->next;
        writer_lane_put(&writer->lanes[pending->shard ? pending->shard->index : HUB_SHARDS_MAX], pending);
        writer->queued++;
    }
}

/* Whether a pending's turn has come; a number 1 of the next sequence begins it. What was answered at once, a
 * refusal or a known id, may come here behind that: all that its order was for is written. */
static bool writer_turn(struct writer *writer, const struct pending *pending)
{
    if (pending->ordered == 0 || pending->sequence < writer->sequence) return true;
    if (pending->sequence == writer->sequence + 1 && pending->ordered == 1) {
        writer->sequence = pending->sequence;
        writer->ordered = 1;
    }
    if (pending->sequence != writer->sequence || pending->ordered != writer->ordered) return false;
    writer->ordered++;
    return true;
}

static void writer_back(struct writer *writer, struct pending *pending, enum pending_result result)
{
    pending->result = result;
    writer->returned++;
    if (!pending->shard) { /* made at the door: nobody waits for it */
        mem_free(pending);
        return;
    }
    if (result == PENDING_CONFLICT) writer->wake[pending->shard->index] = true;
    writer_lane_put(&writer->back[pending->shard->index], pending);
}

static void writer_answer_later(struct writer *writer, struct pending *pending, enum fault_code code)
{
    struct command *command = pending->command;
    pending->command = NULL;
    atomic_fetch_add_explicit(&pending->shard->outcomes[code], 1, memory_order_relaxed);
    command->next = NULL;
    *writer->last_answer = command;
    writer->last_answer = &command->next;
}

static void writer_tell_answers(struct writer *writer)
{
    struct command *command = writer->answers;
    writer->answers = NULL;
    writer->last_answer = &writer->answers;
    while (command) {
        struct command *next = command->next;
        command->done(command);
        command = next;
    }
}

static void writer_refuse(struct writer *writer, struct pending *pending, const struct fault *fault)
{
    if (!pending->command) return;
    pending->command->fault = *fault;
    writer_answer_later(writer, pending, fault->code);
}

static void writer_break(struct pending *pending, enum pending_result result)
{
    /* What failed without events takes nothing with it. In a conflict it shows that the shard's state is old.
     */
    if (pending->commit.event_count == 0 && !pending->tied && result == PENDING_FAILED) return;
    if (pending->chain <= pending->stream->broken_chain) return;
    pending->stream->broken_chain = pending->chain;
    pending->stream->broken_result = result;
}

/* See shard.h, the chain. True if the pending was dealt with. */
static bool writer_is_broken(struct writer *writer, struct pending *pending)
{
    struct stream *stream = pending->stream;
    if (pending->ordered && pending->sequence == writer->broken_sequence)
        writer_break(pending, PENDING_FAILED);
    if (pending->chain > stream->broken_chain || (pending->commit.event_count == 0 && !pending->tied))
        return false;
    if (stream->broken_result == PENDING_FAILED) {
        struct fault fault;
        fault_set(&fault, FAULT_UNAVAILABLE,
                  "a command to this stream before it could not be written: send it again");
        writer_refuse(writer, pending, &fault);
    }
    writer_back(writer, pending, stream->broken_result);
    return true;
}

/* Moves what may go from one lane into the batch. */
static void writer_fill_from(struct writer *writer, struct writer_lane *lane, size_t *bytes)
{
    while (lane->first && writer->count < WRITER_BATCH_MAX && *bytes < LIMIT_BATCH_WRITE_BYTES) {
        struct pending *pending = lane->first;
        if (!writer_turn(writer, pending)) return;
        lane->first = pending->next;
        if (!lane->first) lane->last = NULL;
        writer->queued--;
        if (!pending->stream) {
            writer_back(writer, pending, PENDING_APPENDED);
            continue;
        }
        if (writer_is_broken(writer, pending)) continue;
        /* Not only the version decides: another one's commit may have brought the stream to that version too.
         */
        bool follows = pending->stream->batch_serial == writer->serial;
        pending->stream->batch_serial = writer->serial;
        writer->appends[writer->count] = (struct append){.commit = &pending->commit, .follows = follows};
        writer->batch[writer->count++] = pending;
        *bytes += pending->size;
    }
}

static void writer_fill(struct writer *writer)
{
    writer->serial++;
    writer->count = 0;
    size_t bytes = 0, before;
    do { /* a number taken from one lane may have let another go on */
        before = writer->queued;
        for (size_t at = 0; at <= writer->hub->shard_count; at++)
            writer_fill_from(writer, &writer->lanes[at == writer->hub->shard_count ? HUB_SHARDS_MAX : at],
                             &bytes);
    } while (writer->queued && writer->queued < before);
}

/* Copies the stored records into the answers that want them: one walk over what the batch just wrote. */
static void writer_read_back(struct writer *writer)
{
    struct engine_cursor *cursor = NULL;
    struct record record;
    struct fault fault;
    for (size_t at = 0; at < writer->count; at++) {
        struct pending *pending = writer->batch[at];
        struct command *command = pending->command;
        if (!command || command->brief || pending->commit.event_count == 0 ||
            writer->appends[at].outcome != APPEND_APPENDED)
            continue;
        if (!cursor && engine_read(writer->hub->engine, pending->commit.first_position, &cursor, &fault) < 0)
            break;
        int more;
        do more = engine_cursor_next(cursor, &record, &fault);
        while (more == 1 && record.first_position < pending->commit.first_position);
        if (more != 1 || record.first_position != pending->commit.first_position) break;
        buf_put_slice(&command->record_bytes, record.bytes);
        CHECK(record_open(buf_slice(&command->record_bytes), engine_names(writer->hub->engine),
                          &command->record, &fault) == 0);
    }
    if (cursor) engine_cursor_close(cursor);
}

static void writer_answer(struct writer *writer, struct pending *pending)
{
    struct command *command = pending->command;
    const struct commit *commit = &pending->commit;
    if (!command) return;
    writer->decided_elsewhere = writer->decided_elsewhere || command->is_decided;
    enum fault_code code = FAULT_NONE;
    command->version = commit->first_version;
    command->position = commit->first_position;
    if (commit->event_count) {
        command->version += commit->event_count - 1;
        command->position += commit->event_count - 1;
    } else if (commit->kind == RECORD_REJECTED) {
        code = FAULT_REJECTED;
        fault_set(&command->fault, code, "%.*s", SLICE_ARGS(commit->message));
        snprintf(command->fault.reason, sizeof command->fault.reason, "%.*s", SLICE_ARGS(commit->reason));
    }
    writer_answer_later(writer, pending, code);
}

/* Nothing of the batch is on disk: every command of it is refused, and what builds on them will be. */
static void writer_failed(struct writer *writer, const struct fault *fault)
{
    outage_met(&writer->hub->outage, &writer->outage, "the log cannot be written", fault);
    atomic_fetch_add_explicit(&writer->stats.failed, 1, memory_order_relaxed);
    for (size_t at = 0; at < writer->count; at++) {
        struct pending *pending = writer->batch[at];
        if (pending->ordered) writer->broken_sequence = pending->sequence;
        writer_break(pending, PENDING_FAILED);
        writer_refuse(writer, pending, fault);
        writer_back(writer, pending, PENDING_FAILED);
    }
}

static void writer_count(struct writer *writer, const struct commit *commit)
{
    if (commit->event_count) {
        atomic_fetch_add_explicit(&writer->stats.commits, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&writer->stats.events, commit->event_count, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&writer->stats.outcomes, 1, memory_order_relaxed);
    }
}

static void writer_appended(struct writer *writer)
{
    struct visit visit;
    struct release *release = release_enter(writer->hub, &visit);
    const struct receptors *receptors = release ? release->receptors : NULL;
    writer_read_back(writer);
    for (size_t at = 0; at < writer->count; at++) {
        struct pending *pending = writer->batch[at];
        if (writer->appends[at].outcome == APPEND_CONFLICT) {
            atomic_fetch_add_explicit(&writer->stats.conflicts, 1, memory_order_relaxed);
            writer_break(pending, PENDING_CONFLICT);
            writer_back(writer, pending, PENDING_CONFLICT);
        } else {
            /* What follows a refused commit is refused by the engine; else a decision on a state that never
             * was would be on disk. */
            CHECK(pending->commit.event_count == 0 || pending->chain > pending->stream->broken_chain);
            writer_count(writer, &pending->commit);
            if (receptors && !writer->wanted) writer->wanted = receptors_want(receptors, &pending->commit);
            writer_answer(writer, pending);
            writer_back(writer, pending, PENDING_APPENDED);
        }
    }
    release_leave(&visit);
}

static void writer_time(struct writer *writer, int64_t took_ns)
{
    atomic_fetch_add_explicit(&writer->stats.batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&writer->stats.append_ns, (unsigned long long)took_ns, memory_order_relaxed);
    size_t bucket = 0;
    while (bucket < WRITER_BUCKETS && took_ns > (64000LL << bucket)) bucket++;
    atomic_fetch_add_explicit(&writer->stats.buckets[bucket], 1, memory_order_relaxed);
}

static void writer_give_back(struct writer *writer)
{
    for (size_t at = 0; at < writer->hub->shard_count; at++) {
        struct shard *shard = writer->hub->shards[at];
        struct pending *pending = writer->back[at].first;
        writer->back[at] = (struct writer_lane){0};
        bool wake = writer->wake[at];
        writer->wake[at] = false;
        if (!pending) continue;
        while (pending) {
            struct pending *next = pending->next;
            inbox_put_quietly(&shard->completions, &pending->link);
            pending = next;
        }
        inbox_rouse(&shard->completions);
        if (wake || atomic_load(&shard->wants_completions)) inbox_wake(&shard->commands);
    }
}

static bool writer_append(struct writer *writer)
{
    struct fault fault;
    int64_t began_ns = clock_monotonic_ns();
    if (engine_append(writer->hub->engine, writer->appends, writer->count, &fault) < 0) {
        writer_failed(writer, &fault);
        return false;
    }
    outage_over(&writer->hub->outage, &writer->outage, "the log");
    writer_time(writer, clock_monotonic_ns() - began_ns);
    writer_appended(writer);
    return true;
}

/* Those who pull from the log. */
static void writer_wake_others(struct writer *writer)
{
    if (writer->hub->views) views_look(writer->hub->views);
    struct visit visit;
    struct release *release = release_enter(writer->hub, &visit);
    if (release && release->receptors) (writer->wanted ? receptors_look : receptors_pass)(release->receptors);
    release_leave(&visit);
    if (writer->hub->courier && writer->decided_elsewhere) courier_look(writer->hub->courier);
    writer->decided_elsewhere = writer->wanted = false;
    indexer_look(writer->hub->indexer);
    watch_wake(&writer->hub->watch);
}

static void writer_put_metas(struct writer *writer)
{
    struct inbox_link *list = inbox_take(&writer->metas, 0);
    while (list) {
        struct writer_meta *meta = (struct writer_meta *)list;
        list = list->next;
        struct fault ignored = {0}; /* a disk that fails is told by the next batch; who asked tries again */
        struct fault *fault = meta->fault ? meta->fault : &ignored;
        meta->written = engine_meta_put(writer->hub->engine, meta->key, buf_slice(&meta->value), fault) == 0;
        meta->done(meta);
    }
}

static void *writer_run(void *user)
{
    struct writer *writer = user;
    thread_is_prompt();
    for (;;) {
        /* What is left over from a full batch goes on at once; what waits for its turn does not. */
        struct inbox_link *list = inbox_take(&writer->inbox, writer->count ? 0 : -1);
        writer_sort(writer, list);
        writer_fill(writer);
        bool appended = writer->count && writer_append(writer);
        writer_give_back(writer);
        writer_tell_answers(writer);
        if (appended) writer_wake_others(writer);
        writer_put_metas(writer);
        inbox_done(&writer->inbox, writer->returned);
        writer->returned = 0;
        if (!list && writer->count == 0 && inbox_closed(&writer->inbox)) break;
    }
    return NULL;
}

struct writer *writer_start(struct hub *hub)
{
    struct writer *writer = MEM_NEW(struct writer);
    writer->hub = hub;
    writer->last_answer = &writer->answers;
    inbox_init(&writer->inbox, 0);
    inbox_init(&writer->metas, 0);
    writer->thread = thread_start(writer_run, writer, "writer");
    return writer;
}

void writer_stop(struct writer *writer)
{
    inbox_close(&writer->inbox);
    pthread_join(writer->thread, NULL);
}

void writer_free(struct writer *writer)
{
    if (!writer) return;
    inbox_release(&writer->inbox);
    inbox_release(&writer->metas);
    mem_free(writer);
}

void writer_put(struct writer *writer, struct pending *pending)
{
    inbox_put_quietly(&writer->inbox, &pending->link);
}

void writer_rouse(struct writer *writer)
{
    inbox_rouse(&writer->inbox);
}

void writer_skip(struct writer *writer, uint64_t ordered, uint64_t sequence)
{
    struct pending *number = MEM_NEW(struct pending);
    number->ordered = ordered;
    number->sequence = sequence;
    writer_put(writer, number);
    writer_rouse(writer);
}

void writer_put_meta(struct writer *writer, struct writer_meta *meta)
{
    inbox_put_quietly(&writer->metas, &meta->link);
    inbox_wake(&writer->inbox);
}

static void keep_done(struct writer_meta *meta)
{
    sem_post(meta->user);
}

int writer_keep(void *user, struct slice key, struct slice value, struct fault *fault)
{
    struct fault met = {0};
    sem_t done;
    struct writer_meta meta = {.key = key, .done = keep_done, .user = &done, .fault = &met};
    sem_init(&done, 0, 0);
    buf_put_slice(&meta.value, value);
    writer_put_meta(user, &meta);
    while (sem_wait(&done) < 0) continue; /* a signal came */
    sem_destroy(&done);
    buf_release(&meta.value);
    if (!meta.written && fault) *fault = met;
    return meta.written ? 0 : -1;
}

size_t writer_queue(struct writer *writer)
{
    return inbox_size(&writer->inbox);
}

const struct writer_stats *writer_stats(const struct writer *writer)
{
    return &writer->stats;
}

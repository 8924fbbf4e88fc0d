/* DESIGN. Merging: a caller decided on version 5 while the stream is at 7.
 *
 *  1. The command is decided on version 7 like any other: only that state is true, so no invariant of the
 *     aggregate can be broken by merging, and a state is always theirs, then mine.
 *  2. Every new event is put beside every one that the caller has not seen, and the aggregate says whether
 *     they exclude each other (conflicts). One pair does: 409, and nothing happened.
 *  3. A refusal of the domain is a conflict as well: it may be because of what the caller has not seen, so it
 *     is shown that instead of a final no.
 *  4. The unseen events come from the log and, as far as they are not there yet, from what is in flight. Who
 *     builds on those shares their fate (shard.h, the chain).
 *
 * For an aggregate without a conflicts function, and for who is too far behind, nothing is decided at all:
 * comparing must not keep others waiting. */
#include <stdarg.h>
#include <stdio.h>

#include "run/fold.h"
#include "run/inside.h"

enum { MERGE_UNSEEN_MAX = 1000, MERGE_PAIRS_MAX = 10000 };

struct merge {
    struct shard *shard;
    struct stream *stream;
    const struct work *work;
    struct pending *pending;
    uint64_t seen; /* theirs up to this version need no look */
};

bool merge_is_possible(struct shard *shard, const struct stream *stream, const struct command *command)
{
    return stream->version - (uint64_t)command->expected_version <= MERGE_UNSEEN_MAX &&
           domain_has_conflicts(shard->domain, stream->aggregate->index);
}

int merge_refuse(const struct stream *stream, const struct command *command, struct fault *fault,
                 const char *why, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, why);
    vsnprintf(text, sizeof text, why, arguments);
    va_end(arguments);
    fault_set(fault, FAULT_CONFLICT, "%.*s/%.*s is at version %llu, not %lld%s",
              SLICE_ARGS(stream->id.aggregate), SLICE_ARGS(stream->id.id),
              (unsigned long long)stream->version, (long long)command->expected_version, text);
    return -1;
}

/* One pair. Asking changes nothing, so what took too long is simply asked again under an exact count. */
static int merge_ask(struct merge *merge, const struct domain_event *mine, const struct domain_event *theirs,
                     bool *conflicts, struct fault *fault)
{
    struct domain *domain = merge->shard->domain;
    int aggregate = merge->stream->aggregate->index;
    if (domain_conflicts(domain, aggregate, mine, theirs, conflicts, fault) == 0) return 0;
    if (!domain_must_repeat(domain)) return -1;
    domain_set_exact(domain, true);
    int done = domain_conflicts(domain, aggregate, mine, theirs, conflicts, fault);
    domain_set_exact(domain, false);
    return done;
}

/* One of theirs beside all of mine. */
static int merge_theirs(struct merge *merge, const struct envelope *envelope, struct slice data,
                        struct fault *fault)
{
    const struct commit *commit = &merge->pending->commit;
    struct domain_event theirs = {envelope, data};
    struct envelope mine_envelope;
    fold_commit_envelope(&merge->stream->id, merge->stream->aggregate->context, commit, &mine_envelope);
    for (size_t at = 0; at < commit->event_count; at++) {
        const struct commit_event *event = &commit->events[at];
        mine_envelope.type = event->type;
        mine_envelope.type_version = event->type_version;
        mine_envelope.at_ms = event->at_ms;
        struct domain_event mine = {&mine_envelope, event->data};
        bool conflicts = true;
        if (merge_ask(merge, &mine, &theirs, &conflicts, fault) < 0) return -1;
        if (conflicts)
            return merge_refuse(merge->stream, merge->work->command, fault, ", and %.*s there excludes %.*s",
                                SLICE_ARGS(envelope->type), SLICE_ARGS(event->type));
    }
    merge->seen = envelope->version;
    return 0;
}

static int merge_record(struct merge *merge, const struct record *record, struct fault *fault)
{
    if (record->kind != RECORD_COMMIT && record->kind != RECORD_FACT)
        return merge_refuse(merge->stream, merge->work->command, fault, ", and what came since was erased");
    struct envelope envelope;
    struct record_event event = {0};
    fold_envelope(&merge->stream->id, merge->stream->aggregate->context, &envelope);
    envelope.record = record;
    envelope.deploy = record->deploy;
    envelope.recorded_ms = record->recorded_ms;
    while (record_next_event(record, &event)) {
        if (event.version <= merge->seen || event.version > merge->stream->version) continue;
        envelope.type = names_get(record->names, event.type);
        envelope.type_version = event.type_version;
        envelope.version = event.version;
        envelope.position = event.position;
        envelope.at_ms = event.at_ms;
        if (merge_theirs(merge, &envelope, event.data, fault) < 0) return -1;
    }
    return 0;
}

static int merge_log(struct merge *merge, struct fault *fault)
{
    struct engine_cursor *cursor;
    if (engine_read_stream(merge->shard->hub->engine, &merge->stream->id, merge->seen + 1, &cursor, fault) <
        0)
        return -1;
    struct record record;
    int more;
    while (merge->seen < merge->stream->version && (more = engine_cursor_next(cursor, &record, fault)) != 0) {
        if (more > 0 && merge_record(merge, &record, fault) == 0) continue;
        engine_cursor_close(cursor);
        return -1;
    }
    engine_cursor_close(cursor);
    return 0;
}

static int merge_in_flight(struct merge *merge, struct fault *fault)
{
    const struct stream *stream = merge->stream;
    for (const struct pending *pending = stream->oldest; pending; pending = pending->newer) {
        const struct commit *commit = &pending->commit;
        struct envelope envelope;
        if (pending->chain != stream->chain) continue;
        fold_commit_envelope(&stream->id, stream->aggregate->context, commit, &envelope);
        for (size_t at = 0; at < commit->event_count; at++) {
            envelope.type = commit->events[at].type;
            envelope.type_version = commit->events[at].type_version;
            envelope.version = commit->first_version + at;
            envelope.at_ms = commit->events[at].at_ms;
            if (envelope.version > merge->seen &&
                merge_theirs(merge, &envelope, commit->events[at].data, fault) < 0)
                return -1;
        }
    }
    return 0;
}

int merge_check(struct shard *shard, struct stream *stream, const struct work *work, struct pending *pending,
                int done, struct fault *fault)
{
    if (done < 0 && fault->code == FAULT_REJECTED) {
        struct fault rejected = *fault;
        return merge_refuse(stream, work->command, fault, ", and there it is refused: %s (%s)", rejected.text,
                            rejected.reason);
    }
    if (done < 0 || pending->commit.event_count == 0) return done;
    struct merge merge = {shard, stream, work, pending, (uint64_t)work->command->expected_version};
    uint64_t unseen = stream->version - merge.seen;
    if (unseen * pending->commit.event_count > MERGE_PAIRS_MAX)
        done = merge_refuse(stream, work->command, fault, ": too far to compare every event");
    else if (merge_log(&merge, fault) < 0 || merge_in_flight(&merge, fault) < 0)
        done = -1;
    if (done < 0) cache_drop_state(shard, stream); /* it has mine applied */
    return done;
}

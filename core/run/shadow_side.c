/* DESIGN
 *
 * A decision leaves its events in the state. Mostly they are those recorded, and nothing has to be done.
 * Where they are not, the state from before is made again: from the checkpoint and the events behind it, read
 * once more. Only then a new checkpoint is kept, and only CHECKPOINT_EVENTS behind the last one. So a stream
 * without differences costs nothing but its decisions, and one where every command differs reads each event
 * again CHECKPOINT_EVENTS times at most. */
#include <stdio.h>

#include "run/shadow_inside.h"

enum { CHECKPOINT_EVENTS = 16 };

bool shadow_side_is_broken(const struct fault *fault)
{
    return fault->code == FAULT_DISK || fault->code == FAULT_CORRUPT || fault->code == FAULT_UNAVAILABLE;
}

void shadow_side_begin(struct shadow_side *side)
{
    side->failed = false;
    side->checkpoint_version = 0;
    if (side->aggregate >= 0) side->state = domain_state_new(side->domain, side->aggregate);
}

void shadow_side_end(struct shadow_side *side)
{
    if (side->state) domain_state_free(side->domain, side->state);
    side->state = NULL;
}

void shadow_side_envelope(const struct shadow_worker *worker, const struct record *record,
                          struct envelope *envelope)
{
    fold_envelope(&worker->stream, worker->target->context, envelope);
    envelope->record = record;
}

/* Where it failed, in case the other code does not. */
static void shadow_side_fail(struct shadow_side *side, struct slice type, uint64_t version, uint64_t position,
                             const struct fault *fault)
{
    side->failed = true;
    side->failure_code = fault->code;
    side->failure = (struct shadow_sample){.type = type, .version = version, .position = position};
    snprintf(side->failure_text, sizeof side->failure_text, "%s", fault->text);
}

/* The record's events up to version_max. *event is the one that failed. */
static int shadow_side_fold(struct shadow_worker *worker, struct shadow_side *side,
                            const struct record *record, uint64_t version_max, struct record_event *event,
                            struct fault *fault)
{
    struct envelope envelope;
    if (record->kind != RECORD_COMMIT && record->kind != RECORD_FACT) return 0;
    shadow_side_envelope(worker, record, &envelope);
    while (record_next_event(record, event)) {
        if (event->version > version_max) break;
        envelope.type = names_get(record->names, event->type);
        envelope.type_version = event->type_version;
        envelope.at_ms = event->at_ms;
        if (domain_apply(side->domain, side->state, &envelope, event->data, fault) < 0) return -1;
    }
    return 0;
}

/* The state of a version from the checkpoint on. Checkpoints lie between commits. */
static int shadow_side_replay(struct shadow_worker *worker, struct shadow_side *side, uint64_t version,
                              struct fault *fault)
{
    domain_state_free(side->domain, side->state);
    side->state = NULL;
    if (!side->checkpoint_version)
        side->state = domain_state_new(side->domain, side->aggregate);
    else if (domain_state_decode(side->domain, side->aggregate, buf_slice(&side->checkpoint), &side->state,
                                 fault) < 0)
        return -1;
    if (side->checkpoint_version >= version) return 0;
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read_stream(worker->run->options.engine, &worker->stream, side->checkpoint_version + 1,
                           &cursor, fault) < 0)
        return -1;
    int more;
    while ((more = engine_cursor_next(cursor, &record, fault)) == 1 && record.first_version <= version) {
        struct record_event event = {0};
        if (shadow_side_fold(worker, side, &record, version, &event, fault) < 0) {
            struct slice type = names_get(record.names, event.type);
            shadow_side_fail(side, type, event.version, event.position, fault);
            more = -1;
            break;
        }
    }
    engine_cursor_close(cursor);
    return more < 0 ? -1 : 0;
}

/* The same, with the exact count that a call which took too long asks for. */
static int shadow_side_replay_exact(struct shadow_worker *worker, struct shadow_side *side, uint64_t version,
                                    struct fault *fault)
{
    domain_set_exact(side->domain, true);
    int done = shadow_side_replay(worker, side, version, fault);
    domain_set_exact(side->domain, false);
    return done;
}

/* What a replay that did not end well means: the machine's, or the script's. */
static int shadow_side_judge(struct shadow_worker *worker, struct shadow_side *side,
                             const struct fault *fault)
{
    if (shadow_side_is_broken(fault)) {
        worker->fault = *fault;
        return -1;
    }
    if (!side->failed) shadow_side_fail(side, SLICE_NONE, worker->version, worker->position, fault);
    return 0;
}

int shadow_side_apply(struct shadow_worker *worker, struct shadow_side *side, const struct record *record)
{
    if (side->aggregate < 0 || side->failed) return 0;
    struct record_event event = {0};
    struct fault fault;
    if (shadow_side_fold(worker, side, record, UINT64_MAX, &event, &fault) == 0) return 0;
    if (domain_must_repeat(side->domain)) {
        uint64_t last = record->first_version + record->event_count - 1;
        if (shadow_side_replay_exact(worker, side, last, &fault) == 0) return 0;
    } else {
        shadow_side_fail(side, names_get(record->names, event.type), event.version, event.position, &fault);
    }
    return shadow_side_judge(worker, side, &fault);
}

int shadow_side_restore(struct shadow_worker *worker, struct shadow_side *side)
{
    struct fault fault;
    int done = shadow_side_replay(worker, side, worker->version, &fault);
    if (done < 0 && domain_must_repeat(side->domain)) {
        side->failed = false;
        done = shadow_side_replay_exact(worker, side, worker->version, &fault);
    }
    if (done < 0) return shadow_side_judge(worker, side, &fault);
    if (worker->version < side->checkpoint_version + CHECKPOINT_EVENTS) return 0;
    /* A state that cannot be encoded is told at the end of the stream. */
    buf_clear(&worker->text);
    if (domain_state_encode(side->domain, side->state, &worker->text, &fault) < 0) return 0;
    buf_clear(&side->checkpoint);
    buf_put_slice(&side->checkpoint, buf_slice(&worker->text));
    side->checkpoint_version = worker->version;
    return 0;
}

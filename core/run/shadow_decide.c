#include <stdio.h>

#include "base/limit.h"
#include "codec/json.h"
#include "run/shadow_inside.h"

/* --- deciding again --- */

struct shadow_deciding {
    struct shadow_worker *worker;
    struct shadow_side *side;
    struct shadow_outcome *outcome;
    struct envelope envelope;
    size_t event_max, size;
};

/* What one command of a transaction gives, behind what those before it gave. */
static int shadow_take(struct shadow_deciding *deciding, const struct decision *decision, struct fault *fault)
{
    struct shadow_outcome *outcome = deciding->outcome;
    size_t count = outcome->event_count + decision->event_count;
    for (size_t at = 0; at < decision->event_count; at++)
        deciding->size += decision->events[at].data.size + sizeof *decision->events;
    if (deciding->size > LIMIT_TRANSACTION_SIZE_MAX)
        return fault_set(fault, FAULT_TOO_LARGE,
                         "the commands of one transaction give more than %d bytes of events",
                         LIMIT_TRANSACTION_SIZE_MAX);
    if (count > deciding->event_max) {
        deciding->event_max = count * 2;
        struct commit_event *events =
            arena_take(&deciding->worker->arena, deciding->event_max * sizeof *events);
        if (outcome->event_count)
            memcpy(events, outcome->events, outcome->event_count * sizeof *outcome->events);
        outcome->events = events;
    }
    if (decision->event_count)
        memcpy(outcome->events + outcome->event_count, decision->events,
               decision->event_count * sizeof *outcome->events);
    outcome->event_count = count;
    return 0;
}

/* One command on the state as those before it left it. */
static int shadow_execute(struct shadow_deciding *deciding, struct slice type, struct slice data,
                          bool checked, struct fault *fault)
{
    struct decision decision;
    bool touched = false;
    deciding->envelope.type = type;
    int done = domain_execute(deciding->side->domain, deciding->side->state, &deciding->envelope, data,
                              checked, &deciding->worker->arena, &decision, &touched, fault);
    deciding->outcome->touched |= touched;
    if (done < 0) return -1;
    if (deciding->outcome->event_count == 0) {
        deciding->outcome->events = decision.events;
        deciding->outcome->event_count = deciding->event_max = decision.event_count;
        return 0;
    }
    return shadow_take(deciding, &decision, fault);
}

/* As a shard does it with several commands at once: first all are held against their contracts. */
static int shadow_execute_batch(struct shadow_deciding *deciding, const struct record *record,
                                struct fault *fault)
{
    struct arena *arena = &deciding->worker->arena;
    struct slice *checked = arena_zero(arena, record->command_count * sizeof *checked);
    struct record_command command = {0};
    while (record_next_command(record, &command))
        if (domain_check_command(deciding->side->domain, deciding->side->aggregate,
                                 names_get(record->names, command.type), command.data, arena,
                                 &checked[command.ordinal], fault) < 0)
            return -1;
    command = (struct record_command){0};
    while (record_next_command(record, &command))
        if (shadow_execute(deciding, names_get(record->names, command.type), checked[command.ordinal], true,
                           fault) < 0)
            return -1;
    return 0;
}

/* When it was: events tell, else when it was recorded. */
static int64_t shadow_at_ms(const struct record *record)
{
    struct record_event event = {0};
    return record_next_event(record, &event) ? event.at_ms : record->recorded_ms;
}

static int shadow_decide_once(struct shadow_worker *worker, struct shadow_side *side,
                              const struct record *record, struct shadow_outcome *outcome)
{
    struct fault *fault = &outcome->fault;
    struct shadow_deciding deciding = {.worker = worker, .side = side, .outcome = outcome};
    outcome->events = NULL;
    outcome->event_count = 0;
    shadow_side_envelope(worker, record, &deciding.envelope);
    deciding.envelope.at_ms = shadow_at_ms(record);
    if (record->command_count > 1) {
        if (shadow_execute_batch(&deciding, record, fault) < 0) return -1;
    } else {
        struct record_command command = {0};
        if (!record_next_command(record, &command)) return 0;
        struct slice type = names_get(record->names, command.type);
        if (shadow_execute(&deciding, type, command.data, false, fault) < 0) return -1;
    }
    size_t bytes = 0;
    for (size_t at = 0; at < outcome->event_count; at++) bytes += outcome->events[at].data.size;
    if (!outcome->touched) return 0;
    return domain_state_weigh(side->domain, side->state, outcome->event_count, bytes, fault);
}

static bool shadow_is_refusal(enum fault_code code)
{
    return code == FAULT_REJECTED || code == FAULT_CONTRACT || code == FAULT_UNKNOWN_COMMAND;
}

int shadow_decide(struct shadow_worker *worker, struct shadow_side *side, const struct record *record,
                  struct shadow_outcome *outcome)
{
    outcome->touched = false;
    int done = shadow_decide_once(worker, side, record, outcome);
    if (done < 0 && domain_must_repeat(side->domain)) {
        if (outcome->touched && shadow_side_restore(worker, side) < 0) return -1;
        if (!side->failed) {
            domain_set_exact(side->domain, true);
            done = shadow_decide_once(worker, side, record, outcome);
            domain_set_exact(side->domain, false);
        }
    }
    if (done == 0) {
        outcome->result = outcome->event_count ? SHADOW_GIVES_EVENTS : SHADOW_GIVES_NOTHING;
        return 0;
    }
    outcome->event_count = 0;
    if (shadow_side_is_broken(&outcome->fault)) {
        worker->fault = outcome->fault;
        return -1;
    }
    outcome->result = shadow_is_refusal(outcome->fault.code) ? SHADOW_REFUSES : SHADOW_FAILS;
    return 0;
}

/* --- comparing --- */

/* An event as it was, or as the other code gives it, against one that this code gives. */
static bool shadow_same_event(struct shadow_worker *worker, struct shadow_side *side,
                              struct envelope *envelope, struct slice data, const struct commit_event *given,
                              bool *upcast)
{
    if (!slice_equal(envelope->type, given->type)) return false;
    if (envelope->type_version == given->type_version) return slice_equal(data, given->data);
    if (envelope->type_version > given->type_version) return false;
    struct slice now;
    struct fault ignored;
    int done = domain_upcast_event(side->domain, envelope, data, &worker->arena, &now, &ignored);
    if (done < 0 && domain_must_repeat(side->domain)) {
        domain_set_exact(side->domain, true);
        done = domain_upcast_event(side->domain, envelope, data, &worker->arena, &now, &ignored);
        domain_set_exact(side->domain, false);
    }
    *upcast = true;
    return done == 0 && slice_equal(now, given->data);
}

static struct slice shadow_reason(const struct fault *fault)
{
    return slice_of(fault->code == FAULT_REJECTED ? fault->reason : fault_name(fault->code));
}

static bool shadow_fits_events(struct shadow_worker *worker, struct shadow_side *side,
                               const struct record *record, const struct shadow_outcome *outcome,
                               bool *upcast)
{
    if (outcome->event_count != record->event_count) return false;
    struct envelope envelope;
    struct record_event event = {0};
    shadow_side_envelope(worker, record, &envelope);
    while (record_next_event(record, &event)) {
        envelope.type = names_get(record->names, event.type);
        envelope.type_version = event.type_version;
        envelope.at_ms = event.at_ms;
        if (!shadow_same_event(worker, side, &envelope, event.data, &outcome->events[event.ordinal], upcast))
            return false;
    }
    return true;
}

bool shadow_decide_fits(struct shadow_worker *worker, struct shadow_side *side, const struct record *record,
                        const struct shadow_outcome *outcome, bool *upcast)
{
    struct slice reason, message;
    *upcast = false;
    switch (record->kind) {
    case RECORD_COMMIT:
        return outcome->result == SHADOW_GIVES_EVENTS &&
               shadow_fits_events(worker, side, record, outcome, upcast);
    case RECORD_ACCEPTED: return outcome->result == SHADOW_GIVES_NOTHING;
    case RECORD_REJECTED:
        if (outcome->result != SHADOW_REFUSES) return false;
        record_read_outcome(record, &reason, &message);
        return slice_equal(reason, shadow_reason(&outcome->fault));
    default: return false;
    }
}

bool shadow_decide_agrees(struct shadow_worker *worker, const struct record *record,
                          const struct shadow_outcome *next, const struct shadow_outcome *running)
{
    if (next->result != running->result) return false;
    if (next->result == SHADOW_FAILS) return next->fault.code == running->fault.code;
    if (next->result == SHADOW_REFUSES)
        return slice_equal(shadow_reason(&next->fault), shadow_reason(&running->fault));
    if (next->event_count != running->event_count) return false;
    struct envelope envelope;
    bool upcast;
    shadow_side_envelope(worker, record, &envelope);
    for (size_t at = 0; at < next->event_count; at++) {
        const struct commit_event *event = &running->events[at];
        envelope.type = event->type;
        envelope.type_version = event->type_version;
        envelope.at_ms = event->at_ms;
        if (!shadow_same_event(worker, &worker->next, &envelope, event->data, &next->events[at], &upcast))
            return false;
    }
    return true;
}

/* --- telling --- */

static void shadow_put_event(struct slice type, struct slice data, bool first, struct buf *json)
{
    buf_put_text(json, first ? "{" : ",{");
    json_put_text_member(json, "type", type);
    json_put_name(json, "data");
    compare_sample_json(data, SLICE_NONE, json);
    buf_put_byte(json, '}');
}

static void shadow_put_refusal(struct slice reason, struct slice message, struct buf *json)
{
    buf_put_byte(json, '{');
    json_put_text_member(json, "refused", reason);
    json_put_text_member(json, "message", message);
    buf_put_byte(json, '}');
}

enum { SHADOW_EVENTS_SHOWN = 20 };

void shadow_decide_json(const struct shadow_outcome *outcome, struct buf *json)
{
    if (outcome->result == SHADOW_REFUSES) {
        shadow_put_refusal(shadow_reason(&outcome->fault), slice_of(outcome->fault.text), json);
        return;
    }
    buf_put_byte(json, '{');
    if (outcome->result == SHADOW_FAILS) {
        json_put_text_member(json, "error", slice_of(outcome->fault.text));
    } else {
        json_put_name(json, "events");
        buf_put_byte(json, '[');
        for (size_t at = 0; at < outcome->event_count && at < SHADOW_EVENTS_SHOWN; at++)
            shadow_put_event(outcome->events[at].type, outcome->events[at].data, at == 0, json);
        buf_put_byte(json, ']');
    }
    buf_put_byte(json, '}');
}

void shadow_decide_record_json(const struct record *record, struct buf *json)
{
    struct slice reason, message;
    struct record_event event = {0};
    if (record->kind == RECORD_REJECTED) {
        record_read_outcome(record, &reason, &message);
        shadow_put_refusal(reason, message, json);
        return;
    }
    buf_put_text(json, "{\"events\":[");
    while (record_next_event(record, &event) && event.ordinal < SHADOW_EVENTS_SHOWN)
        shadow_put_event(names_get(record->names, event.type), event.data, event.ordinal == 0, json);
    buf_put_text(json, "]}");
}

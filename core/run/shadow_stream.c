#include <stdio.h>
#include "run/shadow_inside.h"

/* --- one command --- */

static enum shadow_kind shadow_kind_of(const struct record *record, const struct shadow_outcome *now)
{
    if (now->result == SHADOW_FAILS) return SHADOW_ERROR;
    if (record->kind == RECORD_REJECTED)
        return now->result == SHADOW_REFUSES ? SHADOW_OTHER_REASON : SHADOW_ACCEPTED;
    return now->result == SHADOW_REFUSES ? SHADOW_REFUSED : SHADOW_OTHER_EVENTS;
}

/* What a receptor, service or task of this name decided once, before it became an aggregate. */
static bool shadow_was_decided(const struct record *record)
{
    struct record_event event = {0};
    while (record_next_event(record, &event)) {
        struct slice type = names_get(record->names, event.type);
        if (type.size && type.data[0] == '$') return true;
    }
    return false;
}

static void shadow_note_difference(struct shadow_worker *worker, const struct record *record)
{
    struct record_command command = {0};
    struct shadow_notes *note = worker->note;
    enum shadow_kind kind = shadow_kind_of(record, &worker->now);
    note->counts.commands.differs[kind]++;
    struct shadow_sample sample = {.tenant = worker->stream.tenant,
                                   .id = worker->stream.id,
                                   .version = worker->version,
                                   .position = record->first_position};
    if (record_next_command(record, &command)) sample.type = names_get(record->names, command.type);
    if (kind == SHADOW_ERROR) shadow_notes_error(note, slice_of(worker->now.fault.text), &sample);
    if (!shadow_list_wants(&note->commands[kind], &sample)) return;
    struct buf *before = &worker->before, *after = &worker->after;
    buf_clear(before);
    buf_clear(after);
    shadow_decide_record_json(record, before);
    shadow_decide_json(&worker->now, after);
    sample.before = buf_slice(before);
    sample.after = buf_slice(after);
    shadow_list_put(&note->commands[kind], &sample);
}

/* The new code gives something else than what was recorded: is that the deploy's doing? *running_done: the
 * running code gave what was recorded, so its state has it. */
static int shadow_differs(struct shadow_worker *worker, const struct record *record, bool *running_done)
{
    struct shadow_side *running = &worker->running;
    struct shadow_commands *commands = &worker->note->counts.commands;
    bool agrees = false, upcast;
    if (running->aggregate >= 0 && !running->failed) {
        if (shadow_decide(worker, running, record, &worker->was) < 0) return -1;
        agrees = shadow_decide_agrees(worker, record, &worker->now, &worker->was);
        bool fits = shadow_decide_fits(worker, running, record, &worker->was, &upcast);
        *running_done = fits && record->kind == RECORD_COMMIT;
        if (worker->was.touched && !*running_done && shadow_side_restore(worker, running) < 0) return -1;
    }
    if (agrees)
        commands->already++;
    else
        shadow_note_difference(worker, record);
    return 0;
}

/* Decides the record's commands again. *next_done, *running_done: that state has the record's events. */
static int shadow_commands(struct shadow_worker *worker, const struct record *record, bool *next_done,
                           bool *running_done)
{
    struct shadow_side *next = &worker->next;
    struct shadow_commands *commands = &worker->note->counts.commands;
    bool upcast;
    if (next->failed) {
        commands->undecided++;
        return 0;
    }
    if (worker->run->options.progress) atomic_fetch_add(&worker->run->options.progress->commands, 1);
    arena_reset(&worker->arena);
    if (shadow_decide(worker, next, record, &worker->now) < 0) return -1;
    if (shadow_decide_fits(worker, next, record, &worker->now, &upcast)) {
        commands->decided++;
        commands->same++;
        commands->upcast += upcast;
        *next_done = record->kind == RECORD_COMMIT;
    } else if (!shadow_was_decided(record)) {
        commands->decided++;
        if (shadow_differs(worker, record, running_done) < 0) return -1;
    }
    if (worker->now.touched && !*next_done) return shadow_side_restore(worker, next);
    return 0;
}

static int shadow_record(struct shadow_worker *worker, const struct record *record)
{
    bool next_done = false, running_done = false;
    bool has_commands = record->kind != RECORD_FACT && record->kind != RECORD_ERASED && record->command_count;
    if (has_commands && shadow_commands(worker, record, &next_done, &running_done) < 0) return -1;
    if (!next_done && shadow_side_apply(worker, &worker->next, record) < 0) return -1;
    if (!running_done && shadow_side_apply(worker, &worker->running, record) < 0) return -1;
    if (!record->event_count) return 0;
    worker->version = record->first_version + record->event_count - 1;
    worker->position = record->first_position + record->event_count - 1;
    return 0;
}

/* --- commands without events --- */

struct shadow_places {
    const struct shadow_place *items;
    size_t count;
};

static int shadow_place(struct shadow_worker *worker, uint64_t number)
{
    struct engine_cursor *cursor;
    struct record record;
    struct names *names = engine_names(worker->run->options.engine);
    if (engine_read_outcomes(worker->run->options.engine, number, &cursor, &worker->fault) < 0) return -1;
    int found = engine_cursor_next(cursor, &record, &worker->fault);
    /* Another stream may have the same hash. */
    if (found == 1 && slice_equal(record.id, worker->stream.id) &&
        slice_equal(names_get(names, record.tenant), worker->stream.tenant) &&
        slice_equal(names_get(names, record.aggregate), worker->stream.aggregate))
        found = shadow_record(worker, &record);
    engine_cursor_close(cursor);
    return found < 0 ? -1 : 0;
}

/* Those decided at the version where the stream is now, or before. */
static int shadow_places(struct shadow_worker *worker, struct shadow_places *places)
{
    while (places->count && places->items->version <= worker->version) {
        if (shadow_place(worker, places->items->number) < 0) return -1;
        places->items++;
        places->count--;
    }
    return 0;
}

/* --- the stream --- */

static void shadow_note_state(struct shadow_worker *worker, bool was_failed)
{
    struct shadow_notes *note = worker->note;
    struct slice before = buf_slice(&worker->before), after = buf_slice(&worker->after);
    note->counts.states_changed++;
    if (!was_failed) compare_values(&note->fields, before, after, 1);
    struct shadow_sample sample = {.tenant = worker->stream.tenant,
                                   .id = worker->stream.id,
                                   .version = worker->version,
                                   .position = worker->position};
    if (!shadow_list_wants(&note->states, &sample)) return;
    buf_clear(&worker->text);
    if (!was_failed) compare_sample_json(before, after, &worker->text);
    size_t size = worker->text.size;
    compare_sample_json(after, was_failed ? SLICE_NONE : before, &worker->text);
    sample.before = slice_make(worker->text.data, size);
    sample.after = slice_make(worker->text.data + size, worker->text.size - size);
    shadow_list_put(&note->states, &sample);
}

/* Encodes the state of a side that has one. -1: broken. */
static int shadow_encode(struct shadow_worker *worker, struct shadow_side *side, struct buf *out)
{
    struct fault fault;
    buf_clear(out);
    if (side->failed || side->aggregate < 0) return 0;
    if (domain_state_encode(side->domain, side->state, out, &fault) == 0) return 0;
    if (shadow_side_is_broken(&fault)) {
        worker->fault = fault;
        return -1;
    }
    side->failed = true;
    side->failure = (struct shadow_sample){.version = worker->version, .position = worker->position};
    snprintf(side->failure_text, sizeof side->failure_text, "%s", fault.text);
    return 0;
}

static int shadow_compare_states(struct shadow_worker *worker)
{
    struct shadow_side *next = &worker->next, *running = &worker->running;
    if (!worker->version) return 0;
    if (shadow_encode(worker, next, &worker->after) < 0) return -1;
    if (shadow_encode(worker, running, &worker->before) < 0) return -1;
    if (next->failed) {
        if (running->aggregate >= 0 && running->failed) return 0;
        worker->note->counts.states_failed++;
        next->failure.tenant = worker->stream.tenant;
        next->failure.id = worker->stream.id;
        shadow_notes_error(worker->note, slice_of(next->failure_text), &next->failure);
        return 0;
    }
    if (running->aggregate < 0) return 0;
    if (running->failed || !slice_equal(buf_slice(&worker->before), buf_slice(&worker->after)))
        shadow_note_state(worker, running->failed);
    return 0;
}

/* All records and what was decided between them. 1: to the end, 0: cut off, -1: broken. */
static int shadow_walk(struct shadow_worker *worker, struct shadow_places *places, uint64_t *events)
{
    struct shadow_run *run = worker->run;
    struct engine_cursor *cursor;
    struct record record;
    unsigned records = 0;
    if (engine_read_stream(run->options.engine, &worker->stream, 1, &cursor, &worker->fault) < 0) return -1;
    int more = 1;
    while (more == 1 && (more = shadow_places(worker, places)) == 0) {
        more = engine_cursor_next(cursor, &record, &worker->fault);
        if (more != 1) break;
        if (record.first_position > run->head.position) {
            more = 0;
            break;
        }
        if (++records % 256 == 0 && shadow_is_over(run)) break;
        *events += record.event_count;
        if (shadow_record(worker, &record) < 0) more = -1;
    }
    engine_cursor_close(cursor);
    if (more < 0) return -1;
    return more == 0;
}

/* Whether nothing was recorded in it since. */
static int shadow_is_older(struct shadow_worker *worker, const struct shadow_item *item, bool *older)
{
    uint64_t version, position;
    *older = false;
    if (!worker->run->options.since_ms || item->recent) return 0;
    if (engine_stream_head(worker->run->options.engine, &worker->stream, &version, &position,
                           &worker->fault) < 0)
        return -1;
    *older = position < worker->run->position_since;
    return 0;
}

int shadow_stream_look(struct shadow_worker *worker, const struct shadow_item *item)
{
    struct shadow_run *run = worker->run;
    const struct shadow_target *target = &run->targets[item->target];
    worker->target = target;
    worker->note = &worker->notes[item->target];
    worker->stream =
        (struct stream_id){names_get(engine_names(run->options.engine), item->tenant), target->name,
                           slice_make(run->part.ids.data + item->id, item->id_size)};
    worker->version = worker->position = 0;
    bool older;
    if (shadow_is_older(worker, item, &older) < 0) return -1;
    if (older) {
        worker->note->counts.older++;
        return 0;
    }
    struct shadow_places places;
    uint64_t events = 0;
    places.items = shadow_part_places(&run->part, item->hash, &places.count);
    worker->next.aggregate = target->next;
    worker->running.aggregate = target->running;
    shadow_side_begin(&worker->next);
    shadow_side_begin(&worker->running);
    int whole = shadow_walk(worker, &places, &events);
    int done = whole == 1 ? shadow_compare_states(worker) : whole;
    shadow_side_end(&worker->next);
    shadow_side_end(&worker->running);
    worker->note->counts.events += events;
    worker->note->counts.streams += whole == 1;
    worker->note->counts.left_out += whole == 0;
    if (run->options.progress) atomic_fetch_add(&run->options.progress->events, events);
    return done < 0 ? -1 : 0;
}

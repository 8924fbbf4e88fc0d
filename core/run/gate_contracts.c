/* What is stored, under new contracts. The same is asked of the running version, so that what a deploy does
 * not change is not held against it. gate_back.c is the way back. */
#include "run/gate_contracts.h"

#include <stdlib.h>

#include "base/mem.h"
#include "codec/json.h"
#include "run/fold.h"

enum verdict { BREAKS, LOSES, FINE };
static const char *const verdict_names[] = {"breaks", "loses", "fine"};

struct row {
    const struct shape_type *type;
    enum verdict verdict;
    struct slice error, field; /* may be empty */
    uint64_t position;         /* of an example */
    uint64_t whole;            /* events of whole shapes that have it */
    /* Events counted by field: those of its own; without a field the most of any, since those of others are
     * the same events. */
    uint64_t by_field;
    size_t shape; /* index of the last one counted */
    bool before;  /* the running version has it too */
};

struct findings { /* of one domain */
    const struct gate_contracts *gate;
    struct domain *domain;
    struct arena arena;
    struct row *rows;
    size_t count, size_max;
    struct fault *fault;
};

/* --- the rows --- */

static struct row *find_row(const struct findings *findings, const struct shape_type *type,
                            enum verdict verdict, struct slice field, struct slice error)
{
    for (size_t at = findings->count; at-- > 0;) {
        struct row *row = &findings->rows[at];
        if (row->type == type && row->verdict == verdict && slice_equal(row->field, field) &&
            slice_equal(row->error, error))
            return row;
    }
    return NULL;
}

/* Without "shop/contracts.lua:12: ": the same error may move to another line. */
static struct slice words_of(struct slice error)
{
    const char *at = error.data, *end = at + error.size;
    while (at < end && *at != ':' && *at != ' ') at++;
    const char *digits = at < end && *at == ':' ? at + 1 : end;
    for (at = digits; at < end && *at >= '0' && *at <= '9';) at++;
    if (at == digits || end - at < 2 || at[0] != ':' || at[1] != ' ') return error;
    return slice_make(at + 2, (size_t)(end - at) - 2);
}

static bool has_row(const struct findings *findings, const struct row *row)
{
    for (size_t at = 0; at < findings->count; at++) {
        const struct row *other = &findings->rows[at];
        if (row->type == other->type && row->verdict == other->verdict &&
            slice_equal(row->field, other->field) &&
            slice_equal(words_of(row->error), words_of(other->error)))
            return true;
    }
    return false;
}

/* The texts are copied. */
static struct row *make_row(struct findings *findings, const struct shape_type *type, enum verdict verdict,
                            struct slice field, struct slice error, uint64_t position)
{
    if (findings->count == findings->size_max) {
        findings->size_max = findings->size_max ? 2 * findings->size_max : 32;
        findings->rows = mem_resize(findings->rows, findings->size_max * sizeof *findings->rows);
    }
    struct row *row = &findings->rows[findings->count++];
    *row = (struct row){.type = type,
                        .verdict = verdict,
                        .field = arena_copy(&findings->arena, field),
                        .error = arena_copy(&findings->arena, error),
                        .position = position,
                        .shape = SIZE_MAX};
    return row;
}

static uint64_t row_events(const struct row *row)
{
    return row->whole + row->by_field;
}

struct sight { /* one example of one shape */
    struct findings *findings;
    const struct shape_type *type;
    size_t shape; /* its index */
    uint64_t position;
    bool handled, upcast;
};

/* Whether "lines[].n" is in what "lines:list" counts. */
static bool is_of_field(struct slice path, const struct shape *shape)
{
    size_t size = 0;
    while (size < path.size && !strchr(".[{", path.data[size])) size++;
    return shape->text.size > size && memcmp(shape->text.data, path.data, size) == 0 &&
           shape->text.data[size] == ':';
}

static void note(const struct sight *sight, enum verdict verdict, struct slice field, struct slice error)
{
    const struct shape *shape = &sight->type->shapes[sight->shape];
    if (shape->is_field && field.size && !is_of_field(field, shape)) return; /* its own shape tells */
    struct row *row = find_row(sight->findings, sight->type, verdict, field, error);
    if (!row) row = make_row(sight->findings, sight->type, verdict, field, error, sight->position);
    if (row->shape == sight->shape) return;
    row->shape = sight->shape;
    if (!shape->is_field)
        row->whole += shape->events;
    else if (field.size)
        row->by_field += shape->events;
    else if (shape->events > row->by_field)
        row->by_field = shape->events;
}

/* --- an event of the log --- */

struct example {
    struct engine_cursor *cursor;
    struct record record;
    struct record_event event;
};

/* 1: found; 0: it is erased; -1: fault. example_close in any case. */
static int example_open(struct engine *engine, uint64_t position, struct example *example,
                        struct fault *fault)
{
    *example = (struct example){0};
    if (engine_read(engine, position, &example->cursor, fault) < 0) {
        example->cursor = NULL;
        return -1;
    }
    int more = engine_cursor_next(example->cursor, &example->record, fault);
    if (more <= 0) return more;
    if (example->record.kind == RECORD_ERASED) return 0;
    while (record_next_event(&example->record, &example->event))
        if (example->event.position == position) return 1;
    return 0;
}

static void example_close(struct example *example)
{
    if (example->cursor) engine_cursor_close(example->cursor);
}

static void example_envelope(const struct example *example, struct slice context, struct envelope *envelope)
{
    const struct record *record = &example->record;
    struct stream_id stream = {names_get(record->names, record->tenant),
                               names_get(record->names, record->aggregate), record->id};
    fold_envelope(&stream, context, envelope);
    envelope->record = record;
    envelope->type = names_get(record->names, example->event.type);
    envelope->type_version = example->event.type_version;
    envelope->at_ms = example->event.at_ms;
}

/* --- what a contract made of it --- */

struct place {
    struct slice path, kind;
    unsigned int kinds;
};

struct places {
    struct arena *arena;
    struct place *items;
    size_t count, size_max;
};

static void add_place(void *user, struct slice path, unsigned int kinds, struct slice kind, bool optional)
{
    struct places *places = user;
    if (places->count == places->size_max) {
        places->size_max = places->size_max ? 2 * places->size_max : 16;
        places->items = mem_resize(places->items, places->size_max * sizeof *places->items);
    }
    places->items[places->count++] =
        (struct place){arena_copy(places->arena, path), arena_copy(places->arena, kind), kinds};
}

/* False: it has too many places to name them. */
static bool places_of(struct places *places, struct slice data)
{
    struct buf text = {0};
    bool fine = shape_put(&text, data) && shape_each(buf_slice(&text), add_place, places);
    buf_release(&text);
    return fine;
}

static const struct place *find_place(const struct places *places, struct slice path)
{
    for (size_t at = 0; at < places->count; at++)
        if (slice_equal(places->items[at].path, path)) return &places->items[at];
    return NULL;
}

static void compare_place(const struct sight *sight, const struct place *stored, const struct place *made)
{
    struct arena *arena = &sight->findings->arena;
    if (sight->upcast) {
        note(sight, FINE, stored->path,
             made ? arena_format(arena, "stored as %.*s, an upcaster makes it %.*s", SLICE_ARGS(stored->kind),
                                 SLICE_ARGS(made->kind))
                  : slice_of("an upcaster makes something else of it"));
    } else if (!made) {
        note(sight, LOSES, stored->path, slice_of("the contract does not have it"));
    } else {
        note(sight, sight->handled ? BREAKS : LOSES, stored->path,
             arena_format(arena, "stored as %.*s, the contract says %.*s, and handlers get what is stored",
                          SLICE_ARGS(stored->kind), SLICE_ARGS(made->kind)));
    }
}

/* What differs, the outermost places of it. */
static void compare(const struct sight *sight, struct slice stored, struct slice canonical)
{
    struct arena arena = {0};
    struct places before = {.arena = &arena}, after = {.arena = &arena};
    struct slice told = SLICE_NONE;
    bool fine = places_of(&before, stored) && places_of(&after, canonical);
    for (size_t at = 0; fine && at < before.count; at++) {
        const struct place *place = &before.items[at];
        const struct place *made = find_place(&after, place->path);
        if (place->kinds == SHAPE_NIL || shape_is_below(place->path, told) ||
            (made && made->kinds == place->kinds))
            continue;
        told = place->path;
        compare_place(sight, place, made);
    }
    if (!fine && !sight->upcast && !slice_equal(stored, canonical))
        note(sight, LOSES, SLICE_NONE, slice_of("it has more than the contract"));
    mem_free(before.items);
    mem_free(after.items);
    arena_release(&arena);
}

/* --- one shape --- */

/* 1: it was read; 0: it cannot be read, *error says why; -1: fault of the log. */
static int read_example(struct sight *sight, uint64_t position, struct slice *error)
{
    struct findings *findings = sight->findings;
    struct example example;
    sight->position = position;
    int found = example_open(findings->gate->engine, position, &example, findings->fault);
    if (found == 1) {
        struct arena arena = {0};
        struct envelope envelope;
        struct slice canonical;
        struct fault fault;
        example_envelope(&example, sight->type->context, &envelope);
        if (domain_read_event(findings->domain, &envelope, example.event.data, &arena, &canonical, &fault) ==
            0)
            compare(sight, example.event.data, canonical);
        else
            found = 0, *error = arena_copy(&findings->arena, slice_of(fault.text));
        arena_release(&arena);
    } else if (found == 0) {
        found = 1; /* erased: there is nothing to read */
    }
    example_close(&example);
    return found;
}

static int look_at_shape(struct sight *sight)
{
    const struct shape *shape = &sight->type->shapes[sight->shape];
    enum verdict verdict = sight->handled ? BREAKS : LOSES;
    struct slice first, last;
    int read_first = read_example(sight, shape->first, &first);
    if (read_first < 0) return -1;
    if (!read_first) note(sight, verdict, SLICE_NONE, first);
    if (shape->last == shape->first) return 0;
    int read_last = read_example(sight, shape->last, &last);
    if (read_last < 0) return -1;
    if (read_first && !read_last && !shape->is_field)
        last = arena_format(&sight->findings->arena, "%.*s (not all of this form: it is the value)",
                            SLICE_ARGS(last));
    /* Both for the same reason but for the values they name: one row. */
    if (!read_last && read_first) note(sight, verdict, SLICE_NONE, last);
    return 0;
}

static void note_type(struct findings *findings, const struct shape_type *type, enum verdict verdict,
                      struct slice error)
{
    struct row *row = make_row(findings, type, verdict, SLICE_NONE, error, type->first);
    row->whole = type->events;
}

static int look_at_type(struct findings *findings, const struct shape_type *type)
{
    struct domain_event_type event, running;
    struct domain *before = findings->gate->running;
    if (!domain_find_event_type(findings->domain, type->context, type->type, &event)) {
        note_type(findings, type, LOSES,
                  arena_format(&findings->arena, "context %.*s has no event %.*s", SLICE_ARGS(type->context),
                               SLICE_ARGS(type->type)));
        return 0;
    }
    size_t count = findings->count;
    struct sight sight = {.findings = findings,
                          .type = type,
                          .handled = event.handled,
                          .upcast = type->version != event.version};
    for (; sight.shape < type->shape_count; sight.shape++) {
        if (findings->gate->stop && atomic_load(findings->gate->stop))
            return fault_set(findings->fault, FAULT_UNAVAILABLE, "the gate was stopped");
        if (look_at_shape(&sight) < 0) return -1;
    }
    if (!event.handled && before && before != findings->domain &&
        domain_find_event_type(before, type->context, type->type, &running) && running.handled)
        note_type(findings, type, LOSES, slice_of("nothing handles it any more"));
    if (findings->count == count) note_type(findings, type, FINE, SLICE_NONE);
    return 0;
}

static int look_at_all(struct findings *findings)
{
    struct shapes *shapes = findings->gate->shapes;
    int done = 0;
    domain_set_exact(findings->domain, true);
    for (size_t at = 0; at < shapes_count(shapes) && done == 0; at++)
        done = look_at_type(findings, shapes_at(shapes, at));
    domain_set_exact(findings->domain, false);
    return done;
}

static void findings_release(struct findings *findings)
{
    mem_free(findings->rows);
    arena_release(&findings->arena);
}

/* --- telling --- */

static int put_example(struct findings *findings, const struct row *row, struct buf *json)
{
    struct example example;
    int found = example_open(findings->gate->engine, row->position, &example, findings->fault);
    if (found == 1) {
        const struct record *record = &example.record;
        struct buf stream = {0};
        buf_format(&stream, "%.*s/%.*s/%.*s", SLICE_ARGS(names_get(record->names, record->tenant)),
                   SLICE_ARGS(names_get(record->names, record->aggregate)), SLICE_ARGS(record->id));
        json_put_int_member(json, "position", (int64_t)row->position);
        json_put_text_member(json, "stream", buf_slice(&stream));
        json_put_mp_member(json, "example", example.event.data);
        buf_release(&stream);
    }
    example_close(&example);
    return found < 0 ? -1 : 0;
}

static int put_row(struct findings *findings, const struct row *row, struct buf *json)
{
    const struct shape_type *type = row->type;
    struct buf event = {0};
    buf_format(&event, "%.*s.%.*s", SLICE_ARGS(type->context), SLICE_ARGS(type->type));
    buf_put_byte(json, '{');
    json_put_text_member(json, "event", buf_slice(&event));
    buf_release(&event);
    json_put_int_member(json, "version", type->version);
    json_put_int_member(json, "events", (int64_t)row_events(row));
    json_put_text_member(json, "verdict", slice_of(verdict_names[row->verdict]));
    if (row->error.size) json_put_text_member(json, "error", row->error);
    if (row->field.size) json_put_text_member(json, "field", row->field);
    if (row->before) {
        json_put_name(json, "before");
        buf_put_text(json, "true");
    }
    int done = row->verdict == FINE ? 0 : put_example(findings, row, json);
    buf_put_byte(json, '}');
    return done;
}

/* Rows lie by type; within one by verdict, then by field and error. */
static int compare_rows(const void *a, const void *b)
{
    const struct row *one = a, *other = b;
    int order = slice_compare(one->type->context, other->type->context);
    if (order == 0) order = slice_compare(one->type->type, other->type->type);
    if (order == 0)
        order = (one->type->version > other->type->version) - (one->type->version < other->type->version);
    if (order == 0) order = (int)one->verdict - (int)other->verdict;
    if (order == 0) order = slice_compare(one->field, other->field);
    return order ? order : slice_compare(one->error, other->error);
}

static void count_row(const struct row *row, struct gate_contracts_counts *counts)
{
    if (row->verdict == FINE) {
        counts->fine++;
    } else if (!row->before && row->verdict == BREAKS) {
        counts->breaks++;
        counts->breaks_events += row_events(row);
    } else if (!row->before) {
        counts->loses++;
        counts->loses_events += row_events(row);
    }
}

static int put_rows(struct findings *findings, const struct findings *running, struct buf *json,
                    struct gate_contracts_counts *counts)
{
    if (findings->count > 1) qsort(findings->rows, findings->count, sizeof *findings->rows, compare_rows);
    json_put_name(json, "contracts");
    buf_put_byte(json, '[');
    int done = 0;
    for (size_t at = 0; at < findings->count && done == 0; at++) {
        struct row *row = &findings->rows[at];
        row->before = row->verdict != FINE && running && has_row(running, row);
        count_row(row, counts);
        if (at) buf_put_byte(json, ',');
        done = put_row(findings, row, json);
    }
    buf_put_byte(json, ']');
    return done;
}

int gate_contracts(const struct gate_contracts *gate, struct buf *json, struct gate_contracts_counts *counts,
                   struct fault *fault)
{
    struct findings fresh = {.gate = gate, .domain = gate->fresh, .fault = fault};
    struct findings running = {.gate = gate, .domain = gate->running, .fault = fault};
    *counts = (struct gate_contracts_counts){0};
    int done = look_at_all(&fresh);
    if (done == 0 && gate->running) done = look_at_all(&running);
    if (done == 0) done = put_rows(&fresh, gate->running ? &running : NULL, json, counts);
    if (done == 0) gate_contracts_back(gate, json, counts);
    findings_release(&fresh);
    findings_release(&running);
    return done;
}

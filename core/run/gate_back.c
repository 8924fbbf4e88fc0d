/* What new scripts may write, under the running version. */
#include "codec/json.h"
#include "run/gate_contracts.h"

struct back {
    struct buf *json;
    const struct domain_event_type *type; /* of the new scripts */
    struct gate_contracts_counts *counts;
};

static void back_put(struct back *back, struct slice reason)
{
    struct buf event = {0};
    buf_format(&event, "%.*s.%.*s", SLICE_ARGS(back->type->context), SLICE_ARGS(back->type->name));
    if (back->counts->back++) buf_put_byte(back->json, ',');
    buf_put_byte(back->json, '{');
    json_put_text_member(back->json, "event", buf_slice(&event));
    json_put_int_member(back->json, "version", back->type->version);
    json_put_text_member(back->json, "reason", reason);
    buf_put_byte(back->json, '}');
    buf_release(&event);
}

struct fields {
    const struct domain_field *items;
    size_t count;
};

static const struct domain_field *find_field(const struct fields *fields, struct slice path)
{
    for (size_t at = 0; at < fields->count; at++)
        if (slice_equal(fields->items[at].path, path)) return &fields->items[at];
    return NULL;
}

/* What is of one type can be read where the other is expected. */
static bool fits(struct slice written, struct slice expected)
{
    return slice_equal(written, expected) || slice_is(expected, "any") ||
           (slice_is(written, "integer") && slice_is(expected, "number")) ||
           (slice_is(written, "time") && slice_is(expected, "string"));
}

/* What the new version has and the running one has not, or differently; the outermost places of it. Nothing
 * is below a field of type any. */
static void put_written(struct back *back, const struct fields *written, const struct fields *known,
                        struct arena *arena)
{
    struct slice told = SLICE_NONE;
    for (size_t at = 0; at < written->count; at++) {
        const struct domain_field *field = &written->items[at];
        if (shape_is_below(field->path, told)) continue;
        const struct domain_field *other = find_field(known, field->path);
        if (other && fits(field->type, other->type)) {
            if (slice_is(other->type, "any")) told = field->path;
            continue;
        }
        told = field->path;
        back_put(
            back,
            other ? arena_format(arena, "%.*s is %.*s, for the running version it is %.*s",
                                 SLICE_ARGS(field->path), SLICE_ARGS(field->type), SLICE_ARGS(other->type))
                  : arena_format(arena, "the running version does not know %.*s", SLICE_ARGS(field->path)));
    }
}

/* What the running version counts on and may not get. */
static void put_missing(struct back *back, const struct fields *written, const struct fields *known,
                        struct arena *arena)
{
    struct slice told = SLICE_NONE;
    for (size_t at = 0; at < known->count; at++) {
        const struct domain_field *field = &known->items[at];
        if (shape_is_below(field->path, told)) continue;
        const struct domain_field *other = find_field(written, field->path);
        /* Below what differs, or is any in one of them, nothing can be compared. */
        if (!other || !slice_equal(other->type, field->type)) told = field->path;
        if (field->optional || (other && !other->optional)) continue;
        told = field->path;
        back_put(back, arena_format(arena, "the running version needs %.*s, which may be missing",
                                    SLICE_ARGS(field->path)));
    }
}

static void put_type(struct back *back, const struct gate_contracts *gate)
{
    const struct domain_event_type *type = back->type;
    struct domain_event_type known;
    struct arena arena = {0};
    if (!domain_find_event_type(gate->running, type->context, type->name, &known)) {
        back_put(back, slice_of("the running version has no such event and passes over it"));
    } else if (known.version < type->version) {
        back_put(back, arena_format(&arena, "the running version reads it up to version %u",
                                    (unsigned)known.version));
    } else if (known.version == type->version) {
        struct fields written, has;
        written.count = domain_event_fields(gate->fresh, type->context, type->name, &arena, &written.items);
        has.count = domain_event_fields(gate->running, type->context, type->name, &arena, &has.items);
        put_written(back, &written, &has, &arena);
        put_missing(back, &written, &has, &arena);
    }
    arena_release(&arena);
}

void gate_contracts_back(const struct gate_contracts *gate, struct buf *json,
                         struct gate_contracts_counts *counts)
{
    struct domain_event_type type;
    struct back back = {.json = json, .type = &type, .counts = counts};
    json_put_name(json, "back");
    buf_put_byte(json, '[');
    counts->back = 0;
    for (size_t at = 0; gate->running && domain_next_event_type(gate->fresh, &at, &type);)
        put_type(&back, gate);
    buf_put_byte(json, ']');
}

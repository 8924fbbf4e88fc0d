#include "codec/json.h"
#include "run/shadow_inside.h"

static const char *const shadow_names[SHADOW_KINDS] = {"refused", "accepted", "other_reason", "other_events",
                                                       "errors"};

const char *shadow_kind_name(enum shadow_kind kind)
{
    return shadow_names[kind];
}

static void shadow_put_count(struct buf *json, const char *name, uint64_t count)
{
    json_put_int_member(json, name, (int64_t)count);
}

static void shadow_put_comma(struct buf *json)
{
    if (json->data[json->size - 1] != '[') buf_put_byte(json, ',');
}

static void shadow_put_place(struct buf *json, const struct shadow_sample *sample)
{
    json_put_text_member(json, "tenant", sample->tenant);
    json_put_text_member(json, "stream", sample->id);
    shadow_put_count(json, "version", sample->version);
}

/* Both are JSON already. */
static void shadow_put_both(struct buf *json, const struct shadow_sample *sample)
{
    json_put_name(json, "before");
    buf_put_slice(json, sample->before.size ? sample->before : slice_of("null"));
    json_put_name(json, "after");
    buf_put_slice(json, sample->after.size ? sample->after : slice_of("null"));
}

static void shadow_put_states(struct buf *json, const struct shadow_samples *samples)
{
    json_put_name(json, "samples");
    buf_put_byte(json, '[');
    for (size_t at = 0; at < samples->count; at++) {
        shadow_put_comma(json);
        buf_put_byte(json, '{');
        shadow_put_place(json, &samples->items[at]);
        shadow_put_both(json, &samples->items[at]);
        buf_put_byte(json, '}');
    }
    buf_put_byte(json, ']');
}

static void shadow_put_command_samples(struct buf *json, const struct shadow_aggregate *aggregate)
{
    json_put_name(json, "command_samples");
    buf_put_byte(json, '[');
    for (int kind = 0; kind < SHADOW_KINDS; kind++)
        for (size_t at = 0; at < aggregate->commands[kind].count; at++) {
            const struct shadow_sample *sample = &aggregate->commands[kind].items[at];
            shadow_put_comma(json);
            buf_put_byte(json, '{');
            json_put_text_member(json, "kind", slice_of(shadow_names[kind]));
            shadow_put_place(json, sample);
            shadow_put_count(json, "position", sample->position);
            json_put_text_member(json, "type", sample->type);
            shadow_put_both(json, sample);
            buf_put_byte(json, '}');
        }
    buf_put_byte(json, ']');
}

static void shadow_put_commands(struct buf *json, const struct shadow_commands *commands)
{
    json_put_name(json, "commands");
    buf_put_byte(json, '{');
    shadow_put_count(json, "decided", commands->decided);
    shadow_put_count(json, "same", commands->same);
    shadow_put_count(json, "upcast", commands->upcast);
    shadow_put_count(json, "already", commands->already);
    for (int kind = 0; kind < SHADOW_KINDS; kind++)
        shadow_put_count(json, shadow_names[kind], commands->differs[kind]);
    shadow_put_count(json, "undecided", commands->undecided);
    buf_put_byte(json, '}');
}

static void shadow_put_errors(struct buf *json, const struct shadow_aggregate *aggregate)
{
    json_put_name(json, "errors");
    buf_put_byte(json, '[');
    for (size_t at = 0; at < aggregate->error_count; at++) {
        const struct shadow_error *error = &aggregate->errors[at];
        shadow_put_comma(json);
        buf_put_byte(json, '{');
        json_put_text_member(json, "error", error->text);
        shadow_put_count(json, "count", error->count);
        json_put_name(json, "example");
        buf_put_byte(json, '{');
        shadow_put_place(json, &error->example);
        shadow_put_count(json, "position", error->example.position);
        json_put_text_member(json, "type", error->example.type);
        buf_put_text(json, "}}");
    }
    buf_put_byte(json, ']');
}

static void shadow_put_aggregate(struct buf *json, const struct shadow_aggregate *aggregate)
{
    static const char *const changes[] = {"same", "changed", "added", "removed"};
    const struct shadow_counts *counts = &aggregate->counts;
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", aggregate->name);
    json_put_text_member(json, "change", slice_of(changes[aggregate->change]));
    json_put_name(json, "reason");
    buf_put_byte(json, '[');
    for (size_t at = 0; at < aggregate->reason_count; at++) {
        shadow_put_comma(json);
        json_put_text(json, aggregate->reasons[at]);
    }
    buf_put_byte(json, ']');
    shadow_put_count(json, "streams", counts->streams);
    shadow_put_count(json, "events", counts->events);
    shadow_put_count(json, "states_changed", counts->states_changed);
    shadow_put_count(json, "states_failed", counts->states_failed);
    json_put_name(json, "fields");
    compare_fields_json(aggregate->fields, aggregate->field_count, json);
    shadow_put_states(json, &aggregate->states);
    shadow_put_commands(json, &counts->commands);
    shadow_put_command_samples(json, aggregate);
    shadow_put_errors(json, aggregate);
    shadow_put_count(json, "older", counts->older);
    shadow_put_count(json, "left_out", counts->left_out);
    buf_put_byte(json, '}');
}

void shadow_put_json(const struct shadow *shadow, struct buf *json)
{
    buf_put_byte(json, '[');
    for (size_t at = 0; at < shadow->count; at++) {
        shadow_put_comma(json);
        shadow_put_aggregate(json, &shadow->aggregates[at]);
    }
    buf_put_byte(json, ']');
}

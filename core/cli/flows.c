#include "cli/flows.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"
#include "cli/fields.h"
#include "codec/json.h"

struct flow {
    struct slice key;
    struct slice cause, actor, target, event;
    bool is_derived;
    uint64_t events, commands;
    char command[256]; /* the id of the last one */
    size_t command_size;
};

struct flows_type {
    uint64_t position;
    struct slice *type;
};

struct flows {
    struct arena arena; /* flows, their texts, and the names of types */
    struct map flows, types;
    struct flows_type *typed; /* each event's, in order of position: as the log gives them */
    size_t typed_count, typed_max;
    struct buf text, key;
};

/* "context.Type" of an event, kept once. */
static struct slice *flows_type(struct flows *flows, struct slice context, struct slice type)
{
    buf_clear(&flows->text);
    buf_format(&flows->text, "%.*s.%.*s", SLICE_ARGS(context), SLICE_ARGS(type));
    struct slice *found = map_find(&flows->types, buf_slice(&flows->text));
    if (found) return found;
    found = arena_take(&flows->arena, sizeof *found);
    *found = arena_copy(&flows->arena, buf_slice(&flows->text));
    map_put(&flows->types, *found, found);
    return found;
}

static void flows_keep_type(struct flows *flows, uint64_t position, struct slice *type)
{
    if (flows->typed_count && position <= flows->typed[flows->typed_count - 1].position) return;
    if (flows->typed_count == flows->typed_max) {
        flows->typed_max = flows->typed_max * 2 + 1024;
        flows->typed = mem_resize(flows->typed, flows->typed_max * sizeof *flows->typed);
    }
    flows->typed[flows->typed_count++] = (struct flows_type){position, type};
}

static int flows_compare_position(const void *position, const void *typed)
{
    uint64_t a = *(const uint64_t *)position, b = ((const struct flows_type *)typed)->position;
    return (a > b) - (a < b);
}

/* The type of the event that a causation id "log:epoch:position" names; empty if it names none of this log.
 */
static struct slice flows_cause(const struct flows *flows, struct slice log, struct slice cause)
{
    const char *first = cause.size ? memchr(cause.data, ':', cause.size) : NULL;
    const char *last = cause.size ? memrchr(cause.data, ':', cause.size) : NULL;
    if (!first || first == last || (size_t)(first - cause.data) != log.size ||
        memcmp(cause.data, log.data, log.size) != 0)
        return SLICE_NONE;
    uint64_t position = 0;
    for (const char *at = last + 1; at < cause.data + cause.size; at++) {
        if (*at < '0' || *at > '9' || position > UINT64_MAX / 16) return SLICE_NONE;
        position = position * 10 + (uint64_t)(*at - '0');
    }
    const struct flows_type *found = flows->typed_count
                                         ? bsearch(&position, flows->typed, flows->typed_count,
                                                   sizeof *flows->typed, flows_compare_position)
                                         : NULL;
    return found ? *found->type : SLICE_NONE;
}

static struct flow *flows_take(struct flows *flows, const struct flow *like)
{
    buf_clear(&flows->key);
    const struct slice parts[] = {like->cause, like->actor, like->target, like->event};
    for (size_t at = 0; at < 4; at++) {
        buf_put_slice(&flows->key, parts[at]);
        buf_put_byte(&flows->key, 0);
    }
    buf_put_byte(&flows->key, like->is_derived);
    struct flow *flow = map_find(&flows->flows, buf_slice(&flows->key));
    if (flow) return flow;
    flow = arena_zero(&flows->arena, sizeof *flow);
    flow->key = arena_copy(&flows->arena, buf_slice(&flows->key));
    flow->cause = like->cause;
    flow->event = like->event;
    flow->is_derived = like->is_derived;
    flow->actor = arena_copy(&flows->arena, like->actor);
    flow->target = arena_copy(&flows->arena, like->target);
    map_put(&flows->flows, flow->key, flow);
    return flow;
}

/* The events of one command lie beside each other. */
static void flows_note_command(struct flow *flow, struct slice command)
{
    if (command.size && slice_equal(command, slice_make(flow->command, flow->command_size))) return;
    flow->commands++;
    flow->command_size = command.size < sizeof flow->command ? command.size : 0;
    if (flow->command_size) memcpy(flow->command, command.data, flow->command_size);
}

/* What stands before the last mark; empty if there is none. */
static struct slice flows_before(struct slice text, char mark)
{
    const char *found = text.size ? memrchr(text.data, mark, text.size) : NULL;
    return found ? slice_make(text.data, (size_t)(found - text.data)) : SLICE_NONE;
}

/* Ids that are made of something are UUIDs of version 8: of an import's row, of what a hub sends by itself.
 */
static bool flows_is_derived(struct slice command)
{
    return command.size == RAND_UUID_SIZE && command.data[14] == '8';
}

static bool flows_line(void *user, struct slice line)
{
    struct flows *flows = user;
    struct fields event = {0};
    struct buf target = {0};
    if (fields_read(&event, line, NULL) == 0) {
        struct slice source = fields_text(&event, "source"), id = fields_text(&event, "id");
        struct slice tenant = flows_before(source, '/');
        struct slice context =
            slice_make(source.data + tenant.size + 1, source.size ? source.size - tenant.size - 1 : 0);
        struct slice *type = flows_type(flows, context, fields_text(&event, "type"));
        buf_format(&target, "%.*s/%.*s", SLICE_ARGS(context),
                   SLICE_ARGS(flows_before(fields_text(&event, "subject"), '/')));
        struct flow like = {.cause = flows_cause(flows, flows_before(flows_before(id, ':'), ':'),
                                                 fields_text(&event, "causationid")),
                            .actor = fields_text(&event, "actor"),
                            .target = buf_slice(&target),
                            .event = *type,
                            .is_derived = flows_is_derived(fields_text(&event, "commandid"))};
        int64_t position = fields_int(&event, "position");
        if (position > 0) flows_keep_type(flows, (uint64_t)position, type);
        struct flow *flow = flows_take(flows, &like);
        flow->events++;
        flows_note_command(flow, fields_text(&event, "commandid"));
    }
    buf_release(&target);
    fields_release(&event);
    return true;
}

static int flows_compare(const void *a, const void *b)
{
    return slice_compare((*(struct flow *const *)a)->key, (*(struct flow *const *)b)->key);
}

static void flows_put(const struct flows *flows, struct buf *json)
{
    struct flow **list = mem_alloc((flows->flows.size + 1) * sizeof *list), *flow;
    size_t count = 0, at = 0;
    while ((flow = map_next(&flows->flows, &at))) list[count++] = flow;
    qsort(list, count, sizeof *list, flows_compare);
    buf_put_byte(json, '[');
    for (size_t index = 0; index < count; index++) {
        flow = list[index];
        buf_put_text(json, index ? ",{" : "{");
        json_put_text_member(json, "event", flow->event);
        json_put_text_member(json, "target", flow->target);
        json_put_text_member(json, "actor", flow->actor);
        if (flow->cause.size) json_put_text_member(json, "cause", flow->cause);
        if (flow->is_derived) buf_put_text(json, ",\"derived\":true");
        json_put_int_member(json, "events", (int64_t)flow->events);
        json_put_int_member(json, "commands", (int64_t)flow->commands);
        buf_put_byte(json, '}');
    }
    buf_put_byte(json, ']');
    mem_free(list);
}

int flows_count(struct client *client, const char *tenant, struct buf *json, struct fault *fault)
{
    struct flows flows = {0};
    struct buf path = {0};
    buf_format(&path, "/v1/%s/events?from=1%c", tenant, 0);
    int done = client_lines(client, path.data, "application/x-ndjson", flows_line, &flows, fault);
    if (done == 0) flows_put(&flows, json);
    map_release(&flows.flows);
    map_release(&flows.types);
    mem_free(flows.typed);
    arena_release(&flows.arena);
    buf_release(&flows.text);
    buf_release(&flows.key);
    buf_release(&path);
    return done;
}

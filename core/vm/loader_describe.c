/* What was declared as one JSON object, for --json, docs and specs. */
#include "codec/json.h"
#include "codec/time.h"
#include "vm/loader_core.h"

static void open_array(struct buf *json, const char *name)
{
    json_put_name(json, name);
    buf_put_byte(json, '[');
}

static void comma(struct buf *json, size_t index)
{
    if (index > 0) buf_put_byte(json, ',');
}

static void put_bool(struct buf *json, const char *name, bool value)
{
    json_put_name(json, name);
    buf_put_text(json, value ? "true" : "false");
}

static void put_contract(struct buf *json, const struct contract_message *message)
{
    buf_put_byte(json, '{');
    json_put_text_member(json, "context", message->context);
    json_put_text_member(json, "name", message->name);
    json_put_text_member(json, "kind", slice_of(message->is_event ? "event" : "command"));
    json_put_int_member(json, "version", message->version);
    open_array(json, "fields");
    for (size_t i = 0; i < message->type.field_count; i++) {
        const struct contract_field *field = &message->type.fields[i];
        struct buf type = {0};
        contract_put_type(&type, &field->type);
        comma(json, i);
        buf_put_byte(json, '{');
        json_put_text_member(json, "name", field->name);
        json_put_text_member(json, "type", buf_slice(&type));
        put_bool(json, "optional", field->optional);
        put_bool(json, "pii", field->pii);
        buf_put_byte(json, '}');
        buf_release(&type);
    }
    buf_put_text(json, "]}");
}

static void put_handlers(struct buf *json, const char *name, const struct loader_handler *handlers,
                         size_t count)
{
    open_array(json, name);
    for (size_t i = 0; i < count; i++) {
        comma(json, i);
        json_put_text(json, handlers[i].message->name);
    }
    buf_put_byte(json, ']');
}

static void put_code(struct buf *json, const struct hash *code)
{
    char hex[2 * HASH_SIZE + 1];
    hash_hex(code, hex);
    json_put_text_member(json, "code", slice_of(hex));
}

static void put_events(struct buf *json, const struct slice *events, size_t count)
{
    open_array(json, "events");
    for (size_t i = 0; i < count; i++) {
        comma(json, i);
        json_put_text(json, events[i]);
    }
    buf_put_byte(json, ']');
}

static void put_aggregate(struct buf *json, const struct loader_aggregate *aggregate)
{
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", aggregate->declared.name);
    put_handlers(json, "commands", aggregate->execute, aggregate->execute_count);
    put_handlers(json, "events", aggregate->apply, aggregate->apply_count);
    put_code(json, &aggregate->declared.code);
    buf_put_byte(json, '}');
}

static void put_projection(struct buf *json, const struct loader_projection *projection)
{
    const struct domain_projection *declared = &projection->declared;
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", declared->name);
    json_put_text_member(json, "key",
                         slice_of(declared->default_key ? "id"
                                  : declared->keyed     ? "function"
                                                        : "free"));
    open_array(json, "indexes");
    for (size_t i = 0; i < declared->index_count; i++) {
        comma(json, i);
        json_put_text(json, slice_of(declared->indexes[i]));
    }
    buf_put_byte(json, ']');
    put_events(json, declared->events, declared->event_count);
    put_code(json, &declared->code);
    buf_put_byte(json, '}');
}

static void put_receptor(struct buf *json, const struct loader_receptor *receptor)
{
    const struct domain_receptor *declared = &receptor->declared;
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", declared->name);
    put_events(json, declared->events, declared->event_count);
    json_put_text_member(json, "since", slice_of(declared->since_start ? "start" : "end"));
    put_code(json, &declared->code);
    buf_put_byte(json, '}');
}

static void put_service(struct buf *json, const struct loader_service *service)
{
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", service->declared.name);
    put_handlers(json, "commands", service->when, service->when_count);
    put_code(json, &service->declared.code);
    buf_put_byte(json, '}');
}

static void put_task(struct buf *json, const struct loader_task *task)
{
    const struct domain_task *declared = &task->declared;
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", declared->name);
    if (declared->every_ms > 0) json_put_int_member(json, "every_ms", declared->every_ms);
    if (declared->cron.size > 0) {
        json_put_text_member(json, "cron", declared->cron);
        json_put_text_member(json, "zone", declared->zone);
    }
    if (declared->at_ms != INT64_MIN) {
        char text[TIME_TEXT_SIZE + 1];
        time_format(declared->at_ms, text);
        json_put_text_member(json, "at", slice_of(text));
    }
    json_put_text_member(json, "missed", slice_of(declared->skip_missed ? "skip" : "run once"));
    put_code(json, &declared->code);
    buf_put_byte(json, '}');
}

/* "name":[…] of count things. */
#define PUT_ALL(json, name, count, put, items)                                                               \
    do {                                                                                                     \
        open_array(json, name);                                                                              \
        for (size_t i = 0; i < (count); i++) {                                                               \
            comma(json, i);                                                                                  \
            put(json, items);                                                                                \
        }                                                                                                    \
        buf_put_byte(json, ']');                                                                             \
    } while (0)

void loader_describe(const struct loader *loader, struct buf *json)
{
    buf_put_byte(json, '{');
    PUT_ALL(json, "contexts", loader->context_count, json_put_text, loader->contexts[i]);
    PUT_ALL(json, "contracts", contracts_count(loader->contracts), put_contract,
            contracts_at(loader->contracts, i));
    PUT_ALL(json, "aggregates", loader->aggregate_count, put_aggregate, &loader->aggregates[i]);
    PUT_ALL(json, "projections", loader->projection_count, put_projection, &loader->projections[i]);
    PUT_ALL(json, "receptors", loader->receptor_count, put_receptor, &loader->receptors[i]);
    PUT_ALL(json, "services", loader->service_count, put_service, &loader->services[i]);
    PUT_ALL(json, "tasks", loader->task_count, put_task, &loader->tasks[i]);
    buf_put_byte(json, '}');
}

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

static void put_place(struct buf *json, struct slice path, int line)
{
    json_put_text_member(json, "path", path);
    json_put_int_member(json, "line", line);
}

/* Where a Lua function is defined. */
static void put_function_place(struct buf *json, lua_State *lua, int function)
{
    lua_Debug info;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, function);
    lua_getinfo(lua, ">S", &info); /* source: '@' and the path inside the folder */
    put_place(json, slice_of(info.source + 1), info.linedefined);
}

static void put_fields(struct buf *json, const struct contract_type *record);

/* The form of a type as a tree: {"kind":"list","item":{"kind":"record","fields":[…]}} */
static void put_form(struct buf *json, const struct contract_type *type)
{
    static const char *const kinds[] = {"string",  "integer", "number", "boolean", "time",
                                        "decimal", "any",     "list",   "map",     "record"};
    buf_put_byte(json, '{');
    json_put_text_member(json, "kind", slice_of(kinds[type->kind]));
    if (type->item) {
        json_put_name(json, "item");
        put_form(json, type->item);
    }
    if (type->kind == CONTRACT_RECORD) put_fields(json, type);
    buf_put_byte(json, '}');
}

static void put_fields(struct buf *json, const struct contract_type *record)
{
    open_array(json, "fields");
    for (size_t i = 0; i < record->field_count; i++) {
        const struct contract_field *field = &record->fields[i];
        struct buf type = {0};
        contract_put_type(&type, &field->type);
        comma(json, i);
        buf_put_byte(json, '{');
        json_put_text_member(json, "name", field->name);
        json_put_text_member(json, "type", buf_slice(&type));
        put_bool(json, "optional", field->optional);
        put_bool(json, "pii", field->pii);
        json_put_name(json, "form");
        put_form(json, &field->type);
        buf_put_byte(json, '}');
        buf_release(&type);
    }
    buf_put_byte(json, ']');
}

static void put_contract(struct buf *json, const struct contract_message *message, lua_State *lua)
{
    buf_put_byte(json, '{');
    json_put_text_member(json, "context", message->context);
    json_put_text_member(json, "name", message->name);
    json_put_text_member(json, "kind", slice_of(message->is_event ? "event" : "command"));
    json_put_int_member(json, "version", message->version);
    put_fields(json, &message->type);
    put_place(json, message->path, message->line);
    if (message->upcasters) {
        open_array(json, "upcasters");
        for (uint32_t version = 1; version < message->version; version++) {
            comma(json, version - 1);
            buf_put_byte(json, '{');
            json_put_int_member(json, "version", version);
            put_function_place(json, lua, message->upcasters[version - 1]);
            buf_put_byte(json, '}');
        }
        buf_put_byte(json, ']');
    }
    buf_put_byte(json, '}');
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

/* What handles which message, and where its function is: [{"context","message","path","line"}] */
static void put_places(struct buf *json, const struct loader_handler *handlers, size_t count, lua_State *lua)
{
    open_array(json, "handlers");
    for (size_t i = 0; i < count; i++) {
        comma(json, i);
        buf_put_byte(json, '{');
        json_put_text_member(json, "context", handlers[i].message->context);
        json_put_text_member(json, "message", handlers[i].message->name);
        put_function_place(json, lua, handlers[i].function);
        buf_put_byte(json, '}');
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

static void put_aggregate(struct buf *json, const struct loader_aggregate *aggregate, lua_State *lua)
{
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", aggregate->declared.name);
    put_handlers(json, "commands", aggregate->execute, aggregate->execute_count);
    put_handlers(json, "events", aggregate->apply, aggregate->apply_count);
    put_code(json, &aggregate->declared.code);
    put_place(json, aggregate->path, aggregate->line);
    put_places(json, aggregate->execute, aggregate->execute_count, lua);
    json_put_mp_member(json, "initial", aggregate->initial);
    buf_put_byte(json, '}');
}

static void put_projection(struct buf *json, const struct loader_projection *projection, lua_State *lua)
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
    put_place(json, projection->path, projection->line);
    put_places(json, projection->when, projection->when_count, lua);
    json_put_mp_member(json, "initial", projection->initial);
    buf_put_byte(json, '}');
}

static void put_receptor(struct buf *json, const struct loader_receptor *receptor, lua_State *lua)
{
    const struct domain_receptor *declared = &receptor->declared;
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", declared->name);
    put_events(json, declared->events, declared->event_count);
    json_put_text_member(json, "since", slice_of(declared->since_start ? "start" : "end"));
    put_code(json, &declared->code);
    put_place(json, receptor->path, receptor->line);
    put_places(json, receptor->when, receptor->when_count, lua);
    buf_put_byte(json, '}');
}

static void put_service(struct buf *json, const struct loader_service *service, lua_State *lua)
{
    buf_put_byte(json, '{');
    json_put_text_member(json, "name", service->declared.name);
    put_handlers(json, "commands", service->when, service->when_count);
    put_code(json, &service->declared.code);
    put_place(json, service->path, service->line);
    put_places(json, service->when, service->when_count, lua);
    buf_put_byte(json, '}');
}

static void put_task(struct buf *json, const struct loader_task *task, lua_State *lua)
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
    put_place(json, task->path, task->line);
    json_put_name(json, "run");
    buf_put_byte(json, '{');
    put_function_place(json, lua, task->run);
    buf_put_byte(json, '}');
    buf_put_byte(json, '}');
}

/* "name":[…] of count things. */
#define PUT_ALL(json, name, count, put, ...)                                                                 \
    do {                                                                                                     \
        open_array(json, name);                                                                              \
        for (size_t i = 0; i < (count); i++) {                                                               \
            comma(json, i);                                                                                  \
            put(json, __VA_ARGS__);                                                                          \
        }                                                                                                    \
        buf_put_byte(json, ']');                                                                             \
    } while (0)

void loader_describe(const struct loader *loader, struct buf *json)
{
    lua_State *lua = loader->vm->lua;
    buf_put_byte(json, '{');
    PUT_ALL(json, "contexts", loader->context_count, json_put_text, loader->contexts[i]);
    PUT_ALL(json, "contracts", contracts_count(loader->contracts), put_contract,
            contracts_at(loader->contracts, i), lua);
    PUT_ALL(json, "aggregates", loader->aggregate_count, put_aggregate, &loader->aggregates[i], lua);
    PUT_ALL(json, "projections", loader->projection_count, put_projection, &loader->projections[i], lua);
    PUT_ALL(json, "receptors", loader->receptor_count, put_receptor, &loader->receptors[i], lua);
    PUT_ALL(json, "services", loader->service_count, put_service, &loader->services[i], lua);
    PUT_ALL(json, "tasks", loader->task_count, put_task, &loader->tasks[i], lua);
    buf_put_byte(json, '}');
}

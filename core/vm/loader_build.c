/* From what lua/loader.lua gathered to structs, and the code hashes. Runs inside vm_protected: it may raise,
 * so all memory is the loader's arena. */
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "vm/loader_core.h"

/* --- fields of the table on top of the stack --- */

static struct slice take_text(struct loader *loader, const char *field)
{
    lua_State *lua = loader->vm->lua;
    lua_getfield(lua, -1, field);
    size_t size;
    const char *text = luaL_checklstring(lua, -1, &size);
    struct slice copy = arena_copy(&loader->arena, slice_make(text, size));
    lua_pop(lua, 1);
    return copy;
}

static int take_integer(struct loader *loader, const char *field)
{
    lua_getfield(loader->vm->lua, -1, field);
    int integer = (int)luaL_checkinteger(loader->vm->lua, -1);
    lua_pop(loader->vm->lua, 1);
    return integer;
}

static int take_function(struct loader *loader, const char *field)
{
    lua_State *lua = loader->vm->lua;
    if (lua_getfield(lua, -1, field) == LUA_TFUNCTION) return luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_pop(lua, 1);
    return LUA_NOREF;
}

/* Pushes the list field and returns its length. */
static size_t open_list(struct loader *loader, const char *field)
{
    lua_getfield(loader->vm->lua, -1, field);
    luaL_checktype(loader->vm->lua, -1, LUA_TTABLE);
    return (size_t)lua_rawlen(loader->vm->lua, -1);
}

static void open_item(struct loader *loader, size_t index)
{
    lua_rawgeti(loader->vm->lua, -1, (lua_Integer)index + 1);
}

static void leave(struct loader *loader)
{
    lua_pop(loader->vm->lua, 1);
}

static bool take_flag(struct loader *loader, const char *field)
{
    lua_getfield(loader->vm->lua, -1, field);
    bool flag = lua_toboolean(loader->vm->lua, -1);
    lua_pop(loader->vm->lua, 1);
    return flag;
}

static int64_t take_optional_integer(struct loader *loader, const char *field, int64_t otherwise)
{
    lua_getfield(loader->vm->lua, -1, field);
    int64_t integer = luaL_optinteger(loader->vm->lua, -1, otherwise);
    lua_pop(loader->vm->lua, 1);
    return integer;
}

static struct slice take_optional_text(struct loader *loader, const char *field, const char *otherwise)
{
    bool given = lua_getfield(loader->vm->lua, -1, field) == LUA_TSTRING;
    lua_pop(loader->vm->lua, 1);
    return given ? take_text(loader, field) : slice_of(otherwise);
}

static struct slice take_initial(struct loader *loader)
{
    lua_State *lua = loader->vm->lua;
    bool given = lua_getfield(lua, -1, "initial") == LUA_TSTRING;
    lua_pop(lua, 1);
    return given ? take_text(loader, "initial") : slice_of("\x80");
}

static struct loader_handler *take_handlers(struct loader *loader, const char *field, size_t *count)
{
    *count = open_list(loader, field);
    struct loader_handler *handlers = arena_zero(&loader->arena, (*count + 1) * sizeof *handlers);
    for (size_t i = 0; i < *count; i++) {
        open_item(loader, i);
        struct slice context = take_text(loader, "context");
        handlers[i] = (struct loader_handler){
            .message = contracts_find(loader->contracts, context, take_text(loader, "type")),
            .function = take_function(loader, "handler"),
            .parameters = take_integer(loader, "parameters"),
            .path = take_text(loader, "path"),
            .line = take_integer(loader, "line")};
        CHECK(handlers[i].message != NULL && handlers[i].function != LUA_NOREF);
        leave(loader);
    }
    leave(loader);
    return handlers;
}

/* --- hashes --- */

struct inputs {
    struct domain_input *items;
    size_t count, size_max;
};

static void add_input(struct loader *loader, struct inputs *inputs, struct slice label, struct hash hash)
{
    if (inputs->count == inputs->size_max) {
        size_t size_max = inputs->size_max ? inputs->size_max * 2 : 16;
        struct domain_input *items = arena_take(&loader->arena, size_max * sizeof *items);
        if (inputs->count > 0) memcpy(items, inputs->items, inputs->count * sizeof *items);
        inputs->items = items;
        inputs->size_max = size_max;
    }
    inputs->items[inputs->count++] = (struct domain_input){.label = label, .hash = hash};
}

static int compare_inputs(const void *a, const void *b)
{
    return slice_compare(((const struct domain_input *)a)->label, ((const struct domain_input *)b)->label);
}

/* Sorts them. */
static struct hash code_hash(struct loader *loader, struct inputs *inputs)
{
    qsort(inputs->items, inputs->count, sizeof *inputs->items, compare_inputs);
    struct buf *all = &loader->scratch;
    buf_clear(all);
    for (size_t i = 0; i < inputs->count; i++) {
        buf_put_varint(all, inputs->items[i].label.size);
        buf_put_slice(all, inputs->items[i].label);
        buf_put(all, inputs->items[i].hash.bytes, HASH_SIZE);
    }
    return hash_of(buf_slice(all));
}

static const struct loader_file *file_at(const struct loader *loader, struct slice path,
                                         const struct source **source)
{
    *source = sources_find(loader->sources, path);
    CHECK(*source != NULL);
    return &loader->files[*source - sources_at(loader->sources, 0)];
}

/* The files listed in the field closure. */
static void add_closure(struct loader *loader, struct inputs *inputs)
{
    size_t count = open_list(loader, "closure");
    for (size_t i = 0; i < count; i++) {
        open_item(loader, i);
        size_t size;
        const char *path = luaL_checklstring(loader->vm->lua, -1, &size);
        const struct source *source;
        file_at(loader, slice_make(path, size), &source);
        add_input(loader, inputs, source->path, source->tokens);
        leave(loader);
    }
    leave(loader);
}

static void add_contract(struct loader *loader, struct inputs *inputs, const struct contract_message *message)
{
    struct slice label =
        arena_format(&loader->arena, "contract %s.%s", message->context.data, message->name.data);
    add_input(loader, inputs, label, message->hash);
    for (uint32_t version = 1; version < message->version; version++) {
        label = arena_format(&loader->arena, "upcast %s.%s.v%u", message->context.data, message->name.data,
                             version);
        add_input(loader, inputs, label, message->upcaster_hashes[version - 1]);
    }
}

static void add_contracts(struct loader *loader, struct inputs *inputs, const struct loader_handler *handlers,
                          size_t count)
{
    for (size_t i = 0; i < count; i++) add_contract(loader, inputs, handlers[i].message);
}

static struct hash declaration_hash(struct loader *loader, struct inputs *inputs,
                                    const struct loader_handler *handlers, size_t count)
{
    add_closure(loader, inputs);
    add_contracts(loader, inputs, handlers, count);
    add_input(loader, inputs, slice_of("options"), hash_of(take_text(loader, "options")));
    struct slice format = arena_format(&loader->arena, "fold format %d", LOADER_FOLD_FORMAT);
    add_input(loader, inputs, slice_of("lore"), hash_of(format));
    return code_hash(loader, inputs);
}

/* An upcaster is its own tokens if it stands alone. One that uses locals of its file, or requires, may change
 * with any of that: it is its file and all modules of it. */
static struct hash upcaster_hash(struct loader *loader)
{
    lua_State *lua = loader->vm->lua;
    const struct source *source;
    const struct tokens *tokens = &file_at(loader, take_text(loader, "path"), &source)->tokens;
    int first_line = take_integer(loader, "first"), last_line = take_integer(loader, "last");
    size_t first = 0, last;
    while (first < tokens->count && tokens->items[first].line < first_line) first++;
    bool alone = true;
    for (last = first; last < tokens->count && tokens->items[last].line <= last_line; last++)
        if (token_is(&tokens->items[last], "require")) alone = false;
    lua_getfield(lua, -1, "alone");
    alone = alone && lua_toboolean(lua, -1);
    lua_pop(lua, 1);
    if (alone) return tokens_hash(tokens, first, last);
    struct inputs inputs = {0};
    add_closure(loader, &inputs);
    return code_hash(loader, &inputs);
}

static void build_upcasters(struct loader *loader)
{
    size_t count = open_list(loader, "upcasters");
    for (size_t i = 0; i < count; i++) {
        open_item(loader, i);
        struct slice context = take_text(loader, "context");
        const struct contract_message *message =
            contracts_find(loader->contracts, context, take_text(loader, "name"));
        CHECK(message != NULL && (size_t)lua_rawlen(loader->vm->lua, -1) == message->version - 1);
        size_t versions = message->version - 1;
        int *functions = arena_take(&loader->arena, versions * sizeof *functions);
        int *parameters = arena_take(&loader->arena, versions * sizeof *parameters);
        struct hash *hashes = arena_take(&loader->arena, versions * sizeof *hashes);
        for (size_t version = 0; version < versions; version++) {
            open_item(loader, version);
            functions[version] = take_function(loader, "handler");
            parameters[version] = take_integer(loader, "parameters");
            hashes[version] = upcaster_hash(loader);
            leave(loader);
        }
        contracts_set_upcasters(loader->contracts, message, functions, parameters, hashes);
        leave(loader);
    }
    leave(loader);
}

/* --- declarations --- */

/* Of the declaration on top of the stack: "billing/bill", and its two parts. */
static struct slice take_name(struct loader *loader, struct slice *context, struct slice *short_name)
{
    *short_name = take_text(loader, "name");
    *context = take_text(loader, "context");
    return arena_format(&loader->arena, "%s/%s", context->data, short_name->data);
}

/* "security.PasswordAdded" of each handler. */
static const struct slice *name_events(struct loader *loader, const struct loader_handler *when, size_t count)
{
    struct slice *events = arena_take(&loader->arena, (count + 1) * sizeof *events);
    for (size_t i = 0; i < count; i++) {
        const struct contract_message *message = when[i].message;
        events[i] = arena_format(&loader->arena, "%s.%s", message->context.data, message->name.data);
    }
    return events;
}

static bool has_message(const struct loader_handler *handlers, size_t count,
                        const struct contract_message *message)
{
    for (size_t i = 0; i < count; i++)
        if (handlers[i].message == message) return true;
    return false;
}

/* What decisions depend on beyond the code: which commands there are, and every event that a handler may
 * give, applied or not. */
static void add_rules(struct loader *loader, struct loader_aggregate *aggregate, struct inputs *inputs)
{
    add_contracts(loader, inputs, aggregate->execute, aggregate->execute_count);
    for (size_t i = 0; i < contracts_count(loader->contracts); i++) {
        const struct contract_message *message = contracts_at(loader->contracts, i);
        if (message->is_event && slice_equal(message->context, aggregate->declared.context) &&
            !has_message(aggregate->apply, aggregate->apply_count, message))
            add_contract(loader, inputs, message);
    }
}

static void build_aggregates(struct loader *loader)
{
    size_t count = open_list(loader, "aggregates");
    loader->aggregates = arena_zero(&loader->arena, (count + 1) * sizeof *loader->aggregates);
    for (size_t i = 0; i < count; i++) {
        struct loader_aggregate *aggregate = &loader->aggregates[i];
        open_item(loader, i);
        aggregate->declared.name = take_name(loader, &aggregate->declared.context, &aggregate->short_name);
        aggregate->initial = take_initial(loader);
        aggregate->apply = take_handlers(loader, "apply", &aggregate->apply_count);
        aggregate->execute = take_handlers(loader, "execute", &aggregate->execute_count);
        aggregate->conflicts = take_function(loader, "conflicts");
        aggregate->path = take_text(loader, "path");
        aggregate->line = take_integer(loader, "line");
        struct inputs inputs = {0};
        aggregate->declared.code =
            declaration_hash(loader, &inputs, aggregate->apply, aggregate->apply_count);
        add_rules(loader, aggregate, &inputs);
        aggregate->declared.rules = code_hash(loader, &inputs);
        aggregate->declared.inputs = inputs.items;
        aggregate->declared.input_count = inputs.count;
        leave(loader);
    }
    leave(loader);
    loader->aggregate_count = count;
}

static void build_projection(struct loader *loader, struct loader_projection *projection)
{
    struct domain_projection *declared = &projection->declared;
    declared->name = take_name(loader, &declared->context, &projection->short_name);
    struct slice style = take_text(loader, "key_style");
    declared->keyed = !slice_is(style, "free");
    declared->default_key = slice_is(style, "id");
    projection->key = take_function(loader, "key");
    projection->key_parameters = take_integer(loader, "key_parameters");
    projection->initial = take_initial(loader);
    projection->when = take_handlers(loader, "when", &projection->when_count);
    projection->path = take_text(loader, "path");
    projection->line = take_integer(loader, "line");
    declared->events = name_events(loader, projection->when, projection->when_count);
    declared->event_count = projection->when_count;
    declared->index_count = open_list(loader, "index");
    const char **indexes = arena_take(&loader->arena, (declared->index_count + 1) * sizeof *indexes);
    for (size_t i = 0; i < declared->index_count; i++) {
        open_item(loader, i);
        indexes[i] = arena_copy(&loader->arena, slice_of(luaL_checkstring(loader->vm->lua, -1))).data;
        leave(loader);
    }
    leave(loader);
    declared->indexes = indexes;
    struct inputs inputs = {0};
    declared->code = declaration_hash(loader, &inputs, projection->when, projection->when_count);
    declared->inputs = inputs.items;
    declared->input_count = inputs.count;
}

static void build_projections(struct loader *loader)
{
    size_t count = open_list(loader, "projections");
    loader->projections = arena_zero(&loader->arena, (count + 1) * sizeof *loader->projections);
    for (size_t i = 0; i < count; i++) {
        open_item(loader, i);
        build_projection(loader, &loader->projections[i]);
        leave(loader);
    }
    leave(loader);
    loader->projection_count = count;
}

static void build_receptors(struct loader *loader)
{
    size_t count = open_list(loader, "receptors");
    loader->receptors = arena_zero(&loader->arena, (count + 1) * sizeof *loader->receptors);
    for (size_t i = 0; i < count; i++) {
        struct loader_receptor *receptor = &loader->receptors[i];
        struct domain_receptor *declared = &receptor->declared;
        open_item(loader, i);
        declared->name = take_name(loader, &declared->context, &receptor->short_name);
        receptor->when = take_handlers(loader, "when", &receptor->when_count);
        receptor->path = take_text(loader, "path");
        receptor->line = take_integer(loader, "line");
        declared->events = name_events(loader, receptor->when, receptor->when_count);
        declared->event_count = receptor->when_count;
        declared->since_start = take_flag(loader, "since_start");
        struct inputs inputs = {0};
        declared->code = declaration_hash(loader, &inputs, receptor->when, receptor->when_count);
        leave(loader);
    }
    leave(loader);
    loader->receptor_count = count;
}

static void build_services(struct loader *loader)
{
    size_t count = open_list(loader, "services");
    loader->services = arena_zero(&loader->arena, (count + 1) * sizeof *loader->services);
    for (size_t i = 0; i < count; i++) {
        struct loader_service *service = &loader->services[i];
        struct domain_service *declared = &service->declared;
        open_item(loader, i);
        declared->name = take_name(loader, &declared->context, &service->short_name);
        service->when = take_handlers(loader, "when", &service->when_count);
        service->path = take_text(loader, "path");
        service->line = take_integer(loader, "line");
        struct inputs inputs = {0};
        declared->code = declaration_hash(loader, &inputs, service->when, service->when_count);
        leave(loader);
    }
    leave(loader);
    loader->service_count = count;
}

static void build_task(struct loader *loader, struct loader_task *task)
{
    struct domain_task *declared = &task->declared;
    declared->name = take_name(loader, &declared->context, &task->short_name);
    task->path = take_text(loader, "path");
    task->line = take_integer(loader, "line");
    lua_getfield(loader->vm->lua, -1, "run");
    task->run = take_function(loader, "handler");
    leave(loader);
    declared->every_ms = take_optional_integer(loader, "every", 0);
    declared->cron = take_optional_text(loader, "cron", "");
    declared->zone = take_optional_text(loader, "zone", "UTC");
    declared->at_ms = take_optional_integer(loader, "at", INT64_MIN);
    declared->skip_missed = take_flag(loader, "skip_missed");
    struct inputs inputs = {0};
    declared->code = declaration_hash(loader, &inputs, NULL, 0);
}

static void build_tasks(struct loader *loader)
{
    size_t count = open_list(loader, "tasks");
    loader->tasks = arena_zero(&loader->arena, (count + 1) * sizeof *loader->tasks);
    for (size_t i = 0; i < count; i++) {
        open_item(loader, i);
        build_task(loader, &loader->tasks[i]);
        leave(loader);
    }
    leave(loader);
    loader->task_count = count;
}

int loader_build(lua_State *lua)
{
    struct loader *loader = lua_touserdata(lua, 1);
    lua_settop(lua, 2);
    luaL_checkstack(lua, 20, "loading");
    build_upcasters(loader);
    build_aggregates(loader);
    build_projections(loader);
    build_receptors(loader);
    build_services(loader);
    build_tasks(loader);
    return 0;
}

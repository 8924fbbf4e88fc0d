/* What lua/spec.lua sees of C: the domain's contracts, values as MessagePack, and one function for each kind
 * of scenario. */
#include "vm/spec.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "codec/json.h"
#include "codec/time.h"
#include "vm/moments.h"
#include "vm/nearest.h"
#include "vm/prelude.h"
#include "vm/spec_core.h"
#include "vm/value.h"

struct spec *spec_of(lua_State *lua)
{
    return lua_touserdata(lua, lua_upvalueindex(1));
}

struct slice spec_field_text(struct spec *spec, lua_State *lua, int index, const char *name)
{
    lua_getfield(lua, index, name);
    struct slice text = lua_isnil(lua, -1) ? SLICE_NONE : arena_copy(&spec->arena, vm_text_at(lua, -1));
    lua_pop(lua, 1);
    return text;
}

int64_t spec_field_int(lua_State *lua, int index, const char *name)
{
    lua_getfield(lua, index, name);
    int64_t value = lua_tointeger(lua, -1);
    lua_pop(lua, 1);
    return value;
}

/* --- scenarios --- */

struct spec_message *spec_read_messages(struct spec *spec, lua_State *lua, int index, size_t *count)
{
    *count = (size_t)luaL_len(lua, index);
    struct spec_message *messages = arena_zero(&spec->arena, (*count + 1) * sizeof *messages);
    for (size_t at = 0; at < *count; at++) {
        struct spec_message *message = &messages[at];
        lua_rawgeti(lua, index, (lua_Integer)at + 1);
        int table = lua_gettop(lua);
        message->context = spec_field_text(spec, lua, table, "context");
        message->aggregate = spec_field_text(spec, lua, table, "aggregate");
        message->id = spec_field_text(spec, lua, table, "id");
        message->type = spec_field_text(spec, lua, table, "name");
        message->data = spec_field_text(spec, lua, table, "data");
        message->version = (uint32_t)spec_field_int(lua, table, "version");
        message->at_ms = spec_field_int(lua, table, "at_ms");
        lua_pop(lua, 1);
    }
    return messages;
}

struct spec_item *spec_add_item(struct spec *spec, struct spec_result *result, struct slice name,
                                uint32_t version, struct slice data)
{
    if (result->count == result->size_max) {
        size_t size_max = result->size_max ? result->size_max * 2 : 8;
        struct spec_item *grown = arena_take(&spec->arena, size_max * sizeof *grown);
        if (result->count) memcpy(grown, result->items, result->count * sizeof *grown);
        result->items = grown;
        result->size_max = size_max;
    }
    struct spec_item *item = &result->items[result->count++];
    *item = (struct spec_item){
        .name = arena_copy(&spec->arena, name), .version = version, .data = arena_copy(&spec->arena, data)};
    return item;
}

static void set_text(lua_State *lua, const char *field, struct slice text)
{
    lua_pushlstring(lua, text.data ? text.data : "", text.size);
    lua_setfield(lua, -2, field);
}

/* What makes an item a send or cancel: to, service, id, key, cancel, and if it is due later due_ms and, from
 * when it was sent, after_ms. */
static void set_send(lua_State *lua, const struct spec_item *item)
{
    const struct domain_send *send = item->send;
    set_text(lua, "to", send->target);
    set_text(lua, "id", send->id);
    set_text(lua, "key", send->key);
    lua_pushboolean(lua, send->to_service);
    lua_setfield(lua, -2, "service");
    lua_pushboolean(lua, send->is_cancel);
    lua_setfield(lua, -2, "cancel");
    if (send->due_ms == INT64_MIN) return;
    lua_pushinteger(lua, send->due_ms);
    lua_setfield(lua, -2, "due_ms");
    lua_pushinteger(lua, send->due_ms - item->sent_ms);
    lua_setfield(lua, -2, "after_ms");
}

int spec_push_result(lua_State *lua, const struct spec_result *result)
{
    lua_newtable(lua);
    lua_createtable(lua, (int)result->count, 0);
    for (size_t at = 0; at < result->count; at++) {
        const struct spec_item *item = &result->items[at];
        lua_newtable(lua);
        set_text(lua, "name", item->name);
        set_text(lua, "data", item->data);
        if (item->send) set_send(lua, item);
        lua_rawseti(lua, -2, (lua_Integer)at + 1);
    }
    lua_setfield(lua, -2, "items");
    if (result->failed) {
        lua_pushstring(lua, fault_name(result->fault.code));
        lua_setfield(lua, -2, "code");
        lua_pushstring(lua, result->fault.reason);
        lua_setfield(lua, -2, "reason");
        lua_pushstring(lua, result->fault.text);
        lua_setfield(lua, -2, "text");
    }
    if (result->retry_ms > 0) {
        lua_pushinteger(lua, result->retry_ms);
        lua_setfield(lua, -2, "retry_ms");
    }
    return 1;
}

struct envelope spec_envelope_of(const struct spec_message *message)
{
    return (struct envelope){.tenant = slice_of("main"),
                             .context = message->context,
                             .aggregate = message->aggregate,
                             .id = message->id,
                             .type = message->type,
                             .type_version = message->version,
                             .at_ms = message->at_ms,
                             .recorded_ms = message->at_ms,
                             .actor = slice_of("spec"),
                             .command_id = slice_of("spec"),
                             .correlation_id = slice_of("spec"),
                             .causation_id = slice_of("spec")};
}

static int check_state(struct domain *domain, struct domain_state *state, struct fault *fault)
{
    struct buf bytes = {0};
    int result = domain_state_encode(domain, state, &bytes, fault);
    buf_release(&bytes);
    return result;
}

static int decide(struct spec *spec, struct domain *domain, struct domain_state *state,
                  const struct spec_message *command, struct spec_result *result)
{
    struct envelope envelope = spec_envelope_of(command);
    envelope.type_version = 0;
    struct decision decision;
    bool touched;
    if (domain_execute(domain, state, &envelope, command->data, false, &spec->arena, &decision, &touched,
                       &result->fault) < 0)
        return -1;
    for (size_t at = 0; at < decision.event_count; at++)
        spec_add_item(spec, result, decision.events[at].type, decision.events[at].type_version,
                      decision.events[at].data);
    return check_state(domain, state, &result->fault);
}

struct aggregate_scenario {
    int aggregate;
    struct spec_message *given, *when;
    size_t given_count, when_count;
};

static void run_aggregate(struct spec *spec, struct domain *domain, const struct aggregate_scenario *scenario,
                          struct spec_result *result)
{
    struct domain_state *state = domain_state_new(domain, scenario->aggregate);
    domain_set_exact(domain, true);
    for (size_t at = 0; at < scenario->given_count && !result->failed; at++) {
        struct envelope envelope = spec_envelope_of(&scenario->given[at]);
        envelope.version = envelope.position = at + 1;
        result->failed =
            domain_apply(domain, state, &envelope, scenario->given[at].data, &result->fault) < 0 ||
            check_state(domain, state, &result->fault) < 0;
    }
    for (size_t at = 0; at < scenario->when_count && !result->failed; at++)
        result->failed = decide(spec, domain, state, &scenario->when[at], result) < 0;
    domain_state_free(domain, state);
}

struct document_sink {
    struct spec *spec;
    struct spec_result *result;
};

static int sink_document(void *user, struct slice key, struct slice value, struct fault *fault)
{
    struct document_sink *sink = user;
    if (value.size) spec_add_item(sink->spec, sink->result, key, 0, value);
    return 0;
}

struct projection_scenario {
    int projection;
    struct spec_message *given;
    size_t given_count;
};

static void run_projection(struct spec *spec, struct domain *domain,
                           const struct projection_scenario *scenario, struct spec_result *result)
{
    struct drafts_options options = {.projection = scenario->projection, .tenant = slice_of("main")};
    struct drafts *drafts = drafts_new(domain, &options);
    enum drafts_failure failure;
    domain_set_exact(domain, true);
    for (size_t at = 0; at < scenario->given_count && !result->failed; at++) {
        struct envelope envelope = spec_envelope_of(&scenario->given[at]);
        envelope.version = envelope.position = at + 1;
        int handler = drafts_handler(drafts, envelope.context, envelope.type);
        if (handler >= 0)
            result->failed = drafts_fold(drafts, handler, &envelope, scenario->given[at].data, &failure, NULL,
                                         &result->fault) < 0;
    }
    struct document_sink sink = {spec, result};
    if (!result->failed)
        result->failed = drafts_flush(drafts, sink_document, &sink, &failure, NULL, &result->fault) < 0;
    drafts_free(drafts);
}

/* The domain to run in: a fresh one, or the used one. NULL: it does not load, which it did before. */
struct domain *spec_take_domain(struct spec *spec, bool fresh, struct spec_result *result)
{
    if (!fresh) return spec->used;
    struct domain_options options = {.sources = spec->sources};
    struct domain *domain = NULL;
    result->failed = domain_open(&options, &domain, NULL, &result->fault) < 0;
    return domain;
}

/* run_aggregate(fresh, name, given, when) */
static int core_run_aggregate(lua_State *lua)
{
    struct spec *spec = spec_of(lua);
    struct spec_result result = {0};
    arena_release(&spec->arena);
    struct aggregate_scenario scenario = {.aggregate = domain_find_aggregate(spec->used, vm_text_at(lua, 2))};
    scenario.given = spec_read_messages(spec, lua, 3, &scenario.given_count);
    scenario.when = spec_read_messages(spec, lua, 4, &scenario.when_count);
    bool fresh = lua_toboolean(lua, 1);
    struct domain *domain = spec_take_domain(spec, fresh, &result);
    if (domain) run_aggregate(spec, domain, &scenario, &result);
    if (fresh) domain_close(domain);
    return spec_push_result(lua, &result);
}

/* run_projection(fresh, name, given) */
static int core_run_projection(lua_State *lua)
{
    struct spec *spec = spec_of(lua);
    struct spec_result result = {0};
    arena_release(&spec->arena);
    struct projection_scenario scenario = {.projection =
                                               domain_find_projection(spec->used, vm_text_at(lua, 2))};
    scenario.given = spec_read_messages(spec, lua, 3, &scenario.given_count);
    bool fresh = lua_toboolean(lua, 1);
    struct domain *domain = spec_take_domain(spec, fresh, &result);
    if (domain) run_projection(spec, domain, &scenario, &result);
    if (fresh) domain_close(domain);
    return spec_push_result(lua, &result);
}

/* --- what is declared --- */

static int core_contexts(lua_State *lua)
{
    const struct loader *loader = spec_of(lua)->used->loader;
    lua_newtable(lua);
    for (size_t at = 0; at < loader_context_count(loader); at++) {
        struct slice name = loader_context(loader, at);
        lua_pushlstring(lua, name.data, name.size);
        lua_rawseti(lua, -2, (lua_Integer)at + 1);
    }
    return 1;
}

/* messages(context): name -> whether it is an event */
static int core_messages(lua_State *lua)
{
    const struct contracts *contracts = loader_contracts(spec_of(lua)->used->loader);
    struct slice context = vm_text_at(lua, 1);
    lua_newtable(lua);
    for (size_t at = 0; at < contracts_count(contracts); at++) {
        const struct contract_message *message = contracts_at(contracts, at);
        if (!slice_equal(message->context, context)) continue;
        lua_pushboolean(lua, message->is_event);
        lua_setfield(lua, -2, message->name.data);
    }
    return 1;
}

/* The full name of the declaration of that kind at index, or empty behind the last. */
static struct slice name_at(const struct domain *domain, const char *kind, size_t at)
{
    int index = (int)at;
    switch (kind[0]) {
    case 'a': return at < domain_aggregate_count(domain) ? domain_aggregate(domain, index)->name : SLICE_NONE;
    case 'p':
        return at < domain_projection_count(domain) ? domain_projection(domain, index)->name : SLICE_NONE;
    case 'r': return at < domain_receptor_count(domain) ? domain_receptor(domain, index)->name : SLICE_NONE;
    case 's': return at < domain_service_count(domain) ? domain_service(domain, index)->name : SLICE_NONE;
    default: return at < domain_task_count(domain) ? domain_task(domain, index)->name : SLICE_NONE;
    }
}

/* find(kind, name): true, or false and the nearest name */
static int core_find(lua_State *lua)
{
    const char *kind = luaL_checkstring(lua, 1);
    struct slice name = vm_text_at(lua, 2), other;
    struct nearest near = nearest_to(name);
    for (size_t at = 0; (other = name_at(spec_of(lua)->used, kind, at)).size > 0; at++) {
        if (slice_equal(other, name)) {
            lua_pushboolean(lua, true);
            return 1;
        }
        nearest_offer(&near, other);
    }
    lua_pushboolean(lua, false);
    struct slice found = nearest_found(&near);
    lua_pushlstring(lua, found.data ? found.data : "", found.size);
    return 2;
}

/* names(kind, context): a list of the short names */
static int core_names(lua_State *lua)
{
    const char *kind = luaL_checkstring(lua, 1), *context = luaL_checkstring(lua, 2);
    struct slice name;
    lua_newtable(lua);
    for (size_t at = 0; (name = name_at(spec_of(lua)->used, kind, at)).size > 0; at++) {
        size_t size = strlen(context);
        if (!slice_starts(name, context) || name.data[size] != '/') continue;
        lua_pushlstring(lua, name.data + size + 1, name.size - size - 1);
        lua_rawseti(lua, -2, (lua_Integer)lua_rawlen(lua, -2) + 1);
    }
    return 1;
}

/* home(context, event): the aggregate that applies it, or "" */
static int core_home(lua_State *lua)
{
    const struct loader *loader = spec_of(lua)->used->loader;
    struct slice context = vm_text_at(lua, 1), type = vm_text_at(lua, 2);
    for (size_t at = 0; at < loader_aggregate_count(loader); at++) {
        const struct loader_aggregate *aggregate = loader_aggregate(loader, at);
        if (!slice_equal(aggregate->declared.context, context)) continue;
        if (!domain_handler_of(aggregate->apply, aggregate->apply_count, type)) continue;
        lua_pushlstring(lua, aggregate->short_name.data, aggregate->short_name.size);
        return 1;
    }
    lua_pushliteral(lua, "");
    return 1;
}

/* --- values --- */

static int raise_text(lua_State *lua, const struct fault *fault)
{
    lua_pushstring(lua, fault->text);
    return lua_error(lua);
}

/* encode(value, what): MessagePack */
static int core_encode(lua_State *lua)
{
    luaL_checkany(lua, 1);
    struct domain *used = spec_of(lua)->used;
    buf_clear(&used->scratch);
    value_encode(lua, 1, &used->scratch, luaL_checkstring(lua, 2), LIMIT_DOCUMENT_SIZE_MAX);
    lua_pushlstring(lua, used->scratch.data, used->scratch.size);
    return 1;
}

static int core_decode(lua_State *lua)
{
    value_push(lua, vm_text_at(lua, 1));
    return 1;
}

/* to_json(bytes), from_json(text): between MessagePack and JSON */
static int core_to_json(lua_State *lua)
{
    struct domain *used = spec_of(lua)->used;
    struct fault fault;
    buf_clear(&used->scratch);
    if (json_from_mp(vm_text_at(lua, 1), &used->scratch, &fault) < 0) return raise_text(lua, &fault);
    lua_pushlstring(lua, used->scratch.data, used->scratch.size);
    return 1;
}

static int core_from_json(lua_State *lua)
{
    struct domain *used = spec_of(lua)->used;
    struct fault fault;
    buf_clear(&used->scratch);
    if (json_to_mp(vm_text_at(lua, 1), &used->scratch, &fault) < 0) return raise_text(lua, &fault);
    lua_pushlstring(lua, used->scratch.data, used->scratch.size);
    return 1;
}

/* check(context, name, data): canonical data and the current version of the type */
static int core_check(lua_State *lua)
{
    struct spec *spec = spec_of(lua);
    const struct contract_message *message =
        contracts_find(loader_contracts(spec->used->loader), vm_text_at(lua, 1), vm_text_at(lua, 2));
    luaL_argcheck(lua, message != NULL, 2, "no such message");
    struct slice canonical;
    struct fault fault;
    arena_release(&spec->arena);
    if (domain_check_message(spec->used, message, vm_text_at(lua, 3), &spec->arena, &canonical, &fault) < 0)
        return raise_text(lua, &fault);
    lua_pushlstring(lua, canonical.data, canonical.size);
    lua_pushinteger(lua, message->version);
    return 2;
}

static int core_time(lua_State *lua)
{
    int64_t ms;
    if (!time_parse(vm_text_at(lua, 1), &ms)) return luaL_error(lua, "no time: %s", lua_tostring(lua, 1));
    lua_pushinteger(lua, ms);
    return 1;
}

/* duration(value): milliseconds, or nil */
static int core_duration(lua_State *lua)
{
    int64_t ms;
    lua_settop(lua, 1);
    if (!moments_take_duration(lua, 1, &ms)) return 0;
    lua_pushinteger(lua, ms);
    return 1;
}

static int core_time_text(lua_State *lua)
{
    char text[TIME_TEXT_SIZE + 1];
    int64_t ms = luaL_checkinteger(lua, 1);
    luaL_argcheck(lua, time_valid(ms), 1, "outside of the years 0001 to 9999");
    time_format(ms, text);
    lua_pushlstring(lua, text, TIME_TEXT_SIZE);
    return 1;
}

/* --- the run --- */

/* count(passed, failed, files), reported at the end */
static int core_count(lua_State *lua)
{
    struct spec *spec = spec_of(lua);
    spec->passed = (size_t)lua_tointeger(lua, 1);
    spec->failed = (size_t)lua_tointeger(lua, 2);
    return 0;
}

/* stop(code, text): it cannot be run at all */
static int core_stop(lua_State *lua)
{
    struct spec *spec = spec_of(lua);
    fault_set(&spec->fault, fault_code_of(luaL_checkstring(lua, 1)), "%s", luaL_checkstring(lua, 2));
    return raise_text(lua, &spec->fault);
}

static const luaL_Reg core_functions[] = {{"contexts", core_contexts},
                                          {"messages", core_messages},
                                          {"find", core_find},
                                          {"names", core_names},
                                          {"duration", core_duration},
                                          {"time_text", core_time_text},
                                          {"home", core_home},
                                          {"encode", core_encode},
                                          {"decode", core_decode},
                                          {"to_json", core_to_json},
                                          {"from_json", core_from_json},
                                          {"check", core_check},
                                          {"time", core_time},
                                          {"count", core_count},
                                          {"stop", core_stop},
                                          {"run_aggregate", core_run_aggregate},
                                          {"run_projection", core_run_projection},
                                          {"run_receptor", spec_run_receptor},
                                          {"run_service", spec_run_service},
                                          {"run_task", spec_run_task},
                                          {NULL, NULL}};

static int open_core(lua_State *lua)
{
    luaL_newlibtable(lua, core_functions);
    lua_pushvalue(lua, lua_upvalueindex(1));
    luaL_setfuncs(lua, core_functions, 1);
    return 1;
}

/* busted is ordinary Lua: it gets the standard library as it is, no sandbox. */
static int run_specs(lua_State *lua)
{
    struct spec *spec = lua_touserdata(lua, 1);
    luaL_requiref(lua, LUA_GNAME, luaopen_base, 1);
    prelude_add_modules(lua);
    luaL_getsubtable(lua, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushlightuserdata(lua, spec);
    lua_pushcclosure(lua, open_core, 1);
    lua_setfield(lua, -2, "lore.core");
    prelude_push(lua, prelude_find("spec"));
    lua_newtable(lua);
    for (size_t at = 0; at < spec->path_count; at++) {
        lua_pushstring(lua, spec->paths[at]);
        lua_rawseti(lua, -2, (lua_Integer)at + 1);
    }
    lua_pushstring(lua, spec->scripts);
    lua_pushstring(lua, spec->options->output ? spec->options->output : "plainTerminal");
    lua_pushstring(lua, spec->options->filter);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    lua_pushstring(lua, spec->options->record);
    lua_call(lua, 6, 0);
    return 0;
}

static int open_domains(struct spec *spec, struct fault *fault)
{
    if (sources_read(spec->scripts, &spec->sources, fault) < 0) return -1;
    struct domain_options options = {.sources = spec->sources};
    return domain_open(&options, &spec->used, spec->options->errors, fault);
}

int spec_run(const char *scripts, const char *const *paths, size_t path_count,
             const struct spec_options *options, struct fault *fault)
{
    struct spec spec = {.options = options, .paths = paths, .path_count = path_count, .scripts = scripts};
    domain_thread_start();
    int result = open_domains(&spec, fault);
    if (result == 0) {
        struct vm *vm = vm_new(&(struct vm_options){0});
        struct fault wrong = {0};
        result = vm_protected(vm, run_specs, &spec, &wrong);
        vm_free(vm);
        if (result < 0 && fault) *fault = spec.fault.code ? spec.fault : wrong;
    }
    if (options->passed) *options->passed = spec.passed;
    if (options->failed) *options->failed = spec.failed;
    domain_close(spec.used);
    if (spec.sources) sources_free(spec.sources);
    arena_release(&spec.arena);
    return result;
}

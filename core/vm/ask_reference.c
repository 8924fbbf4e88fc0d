/* Help and completion: what lua/ask.lua sees of C. Nothing here runs code of the session: metatables are read
 * raw. */
#include "codec/json.h"
#include "vm/ask_core.h"
#include "vm/nearest.h"
#include "vm/prelude.h"
#include "vm/readonly.h"
#include "vm/value.h"

enum { NAMES_MAX = 1000, HELP_SECONDS = 5 };

/* --- what there is --- */

/* global(name): of the session, a word, or of the sandbox. */
static int host_global(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    const int tables[] = {ask->env_ref, ask->words_ref, ask->domain->vm->script_env};
    lua_settop(lua, 1);
    for (size_t at = 0; at < sizeof tables / sizeof *tables; at++) {
        lua_rawgeti(lua, LUA_REGISTRYINDEX, tables[at]);
        lua_pushvalue(lua, 1);
        if (lua_rawget(lua, -2) != LUA_TNIL) return 1;
        lua_settop(lua, 1);
    }
    return 0;
}

/* field(value, name): of a table. */
static int host_field(lua_State *lua)
{
    lua_settop(lua, 2);
    if (lua_type(lua, 1) != LUA_TTABLE) return 0;
    if (readonly_push_target(lua, 1)) lua_replace(lua, 1);
    lua_rawget(lua, 1);
    return 1;
}

/* Appends the texts among the keys of the table at index to the list on top of the stack: those that can be
 * written behind a dot. */
static void append_names(lua_State *lua, int index)
{
    lua_Integer count = (lua_Integer)lua_rawlen(lua, -1);
    int list = lua_gettop(lua);
    for (lua_pushnil(lua); lua_next(lua, index); lua_pop(lua, 1)) {
        if (lua_type(lua, -2) != LUA_TSTRING) continue;
        if (count == NAMES_MAX) {
            lua_pop(lua, 2);
            return;
        }
        lua_pushvalue(lua, -2);
        lua_rawseti(lua, list, ++count);
    }
}

static int host_names(lua_State *lua)
{
    lua_settop(lua, 1);
    lua_newtable(lua);
    if (lua_type(lua, 1) != LUA_TTABLE) return 1;
    if (readonly_push_target(lua, 1)) lua_replace(lua, 1);
    append_names(lua, 1);
    return 1;
}

static int host_globals(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    const int tables[] = {ask->env_ref, ask->words_ref, ask->domain->vm->script_env};
    lua_settop(lua, 0);
    lua_newtable(lua);
    for (size_t at = 0; at < sizeof tables / sizeof *tables; at++) {
        lua_rawgeti(lua, LUA_REGISTRYINDEX, tables[at]);
        lua_insert(lua, 1);
        append_names(lua, 1);
        lua_remove(lua, 1);
    }
    return 1;
}

/* kind(value): the name of its metatable, if C made it; else its type. */
static int host_kind(lua_State *lua)
{
    luaL_checkany(lua, 1);
    lua_settop(lua, 1);
    bool has_meta = lua_type(lua, 1) != LUA_TSTRING && lua_getmetatable(lua, 1) != 0;
    if (has_meta) {
        lua_pushliteral(lua, "__name");
        if (lua_rawget(lua, -2) == LUA_TSTRING) return 1;
    }
    lua_pushstring(lua, luaL_typename(lua, 1));
    return 1;
}

/* --- what the scripts declare --- */

static void push_fields(lua_State *lua, struct ask *ask, const struct contract_message *message)
{
    lua_createtable(lua, (int)message->type.field_count, 0);
    for (size_t at = 0; at < message->type.field_count; at++) {
        const struct contract_field *field = &message->type.fields[at];
        buf_clear(&ask->bytes);
        contract_put_type(&ask->bytes, &field->type);
        if (field->optional) buf_put_byte(&ask->bytes, '?');
        lua_createtable(lua, 0, 2);
        vm_push_slice(lua, field->name);
        lua_setfield(lua, -2, "name");
        vm_push_slice(lua, buf_slice(&ask->bytes));
        lua_setfield(lua, -2, "type");
        lua_rawseti(lua, -2, (lua_Integer)at + 1);
    }
}

/* message(value): what the constructor makes, or nil. */
static int host_message(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    const struct contracts *contracts = loader_contracts(ask->domain->loader);
    lua_settop(lua, 1);
    if (lua_type(lua, 1) != LUA_TFUNCTION) return 0;
    for (size_t at = 0; at < contracts_count(contracts); at++) {
        const struct contract_message *message = contracts_at(contracts, at);
        lua_rawgeti(lua, LUA_REGISTRYINDEX, message->constructor);
        bool is_it = lua_rawequal(lua, 1, -1);
        lua_pop(lua, 1);
        if (!is_it) continue;
        lua_createtable(lua, 0, 4);
        vm_push_slice(lua, message->name);
        lua_setfield(lua, -2, "name");
        vm_push_slice(lua, message->context);
        lua_setfield(lua, -2, "context");
        lua_pushboolean(lua, message->is_event);
        lua_setfield(lua, -2, "event");
        push_fields(lua, ask, message);
        lua_setfield(lua, -2, "fields");
        return 1;
    }
    return 0;
}

/* types(): of all events. */
static int host_types(lua_State *lua)
{
    const struct contracts *contracts = loader_contracts(ask_of(lua)->domain->loader);
    lua_Integer count = 0;
    lua_newtable(lua);
    for (size_t at = 0; at < contracts_count(contracts); at++) {
        if (!contracts_at(contracts, at)->is_event) continue;
        vm_push_slice(lua, contracts_at(contracts, at)->name);
        lua_rawseti(lua, -2, ++count);
    }
    return 1;
}

static const struct loader_projection *view_at(lua_State *lua)
{
    return *(const struct loader_projection **)luaL_checkudata(lua, 1, "view");
}

static int host_indexes(lua_State *lua)
{
    const struct loader_projection *view = view_at(lua);
    lua_newtable(lua);
    for (size_t at = 0; at < view->declared.index_count; at++) {
        lua_pushstring(lua, view->declared.indexes[at]);
        lua_rawseti(lua, -2, (lua_Integer)at + 1);
    }
    return 1;
}

/* The texts of MessagePack in ask->bytes as a list. */
static int push_texts(lua_State *lua, struct ask *ask)
{
    struct mp_reader reader = mp_reader_of(buf_slice(&ask->bytes));
    lua_newtable(lua);
    for (lua_Integer at = 1; reader.at < reader.end; at++) {
        value_push_next(lua, &reader);
        lua_rawseti(lua, -2, at);
    }
    return 1;
}

static int host_ids(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    const int *aggregate = luaL_checkudata(lua, 1, "aggregate");
    struct fault fault;
    buf_clear(&ask->bytes);
    if (ask->host->ids(ask->host->user, *aggregate, vm_text_at(lua, 2), (size_t)luaL_checkinteger(lua, 3),
                       &ask->bytes, &fault) < 0)
        return ask_raise(lua, &fault);
    return push_texts(lua, ask);
}

static int host_keys(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    const struct loader_projection *view = view_at(lua);
    struct fault fault;
    buf_clear(&ask->bytes);
    if (ask->host->keys(ask->host->user, view->declared.name, vm_text_at(lua, 2),
                        (size_t)luaL_checkinteger(lua, 3), &ask->bytes, &fault) < 0)
        return ask_raise(lua, &fault);
    return push_texts(lua, ask);
}

static int host_text(lua_State *lua)
{
    luaL_tolstring(lua, 1, NULL); /* of keys, which are texts */
    return 1;
}

/* --- the prelude --- */

void ask_run_prelude(struct ask *ask, const char *name, int host, int modules)
{
    lua_State *lua = ask->domain->vm->lua;
    const struct prelude_file *file = prelude_find(name);
    char chunk[64];
    struct fault fault;
    snprintf(chunk, sizeof chunk, "=lua/%s.lua", name);
    lua_pushglobaltable(lua);
    if (vm_load(ask->domain->vm, slice_make(file->text, file->size), chunk, -1, &fault) < 0)
        vm_raise(lua, fault.code, 0, "%s", fault.text);
    lua_remove(lua, -2);
    lua_pushvalue(lua, host);
    lua_pushvalue(lua, modules);
    lua_call(lua, 2, 1);
}

void ask_open_reference(struct ask *ask)
{
    static const luaL_Reg functions[] = {{"global", host_global},
                                         {"globals", host_globals},
                                         {"field", host_field},
                                         {"names", host_names},
                                         {"kind", host_kind},
                                         {"message", host_message},
                                         {"types", host_types},
                                         {"indexes", host_indexes},
                                         {"ids", host_ids},
                                         {"keys", host_keys},
                                         {"text", host_text},
                                         {"nearest", nearest_of_list},
                                         {NULL, NULL}};
    static const char *const modules[] = {"sorted_keys", "reference", NULL};
    lua_State *lua = ask->domain->vm->lua;
    lua_newtable(lua);
    ask_set_functions(ask, functions);
    int host = lua_gettop(lua);
    lua_newtable(lua);
    for (const char *const *name = modules; *name; name++) {
        ask_run_prelude(ask, *name, host, host + 1);
        lua_setfield(lua, host + 1, *name);
    }
    ask_run_prelude(ask, "ask", host, host + 1);
    ask->module_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_settop(lua, host - 1);
}

/* --- asked --- */

struct lookup {
    struct ask *ask;
    const char *function;
    struct slice text;
    struct buf *out;
};

static int look_up(lua_State *lua)
{
    struct lookup *lookup = lua_touserdata(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, lookup->ask->module_ref);
    lua_getfield(lua, -1, lookup->function);
    vm_push_slice(lua, lookup->text);
    lua_call(lua, 1, 3);
    return 3;
}

static int put_completion(lua_State *lua)
{
    struct lookup *lookup = lua_touserdata(lua, 1);
    struct buf *out = lookup->out;
    look_up(lua);
    buf_format(out, "\"from\":%lld,\"candidates\":", (long long)lua_tointeger(lua, -3));
    value_mark_list(lua, -2);
    ask_put_json(lua, -2, out, lookup->ask->value_size_max);
    buf_format(out, ",\"more\":%s", lua_toboolean(lua, -1) ? "true" : "false");
    return 0;
}

static int put_help(lua_State *lua)
{
    struct lookup *lookup = lua_touserdata(lua, 1);
    look_up(lua);
    if (!lua_isnil(lua, -3)) {
        buf_put_slice(lookup->out, vm_text_at(lua, -3));
        return 0;
    }
    struct slice near = vm_text_at(lua, -2), name = lookup->text;
    if (name.size > 100) name.size = 100;
    return vm_raise(lua, FAULT_MALFORMED, 0, "no help on %.*s%s%.*s%s", SLICE_ARGS(name),
                    near.size ? ": did you mean " : "", SLICE_ARGS(near), near.size ? "?" : "");
}

static int call_lookup(struct lookup *lookup, lua_CFunction function, struct fault *fault)
{
    struct ask *ask = lookup->ask;
    size_t begin = lookup->out->size;
    lua_State *lua = ask->domain->vm->lua;
    ask_begin(ask, HELP_SECONDS);
    lua_pushcfunction(lua, function);
    lua_pushlightuserdata(lua, lookup);
    int done = vm_call(ask->domain->vm, 1, 0, fault);
    ask_end_call(ask);
    if (done < 0) lookup->out->size = begin;
    return done;
}

int ask_complete(struct ask *ask, struct slice text, struct buf *members, struct fault *fault)
{
    struct lookup lookup = {.ask = ask, .function = "complete", .text = text, .out = members};
    return call_lookup(&lookup, put_completion, fault);
}

int ask_help(struct ask *ask, struct slice name, struct buf *text, struct fault *fault)
{
    struct lookup lookup = {.ask = ask, .function = "help", .text = name, .out = text};
    return call_lookup(&lookup, put_help, fault);
}

/* The compiled contracts, the constructors, and the messages they make. contract_check.c holds the check. */
#include "vm/contract.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/limit.h"
#include "base/map.h"
#include "base/mem.h"
#include "vm/value.h"
#include "vm/vm.h"

static const char message_metatable[] = "lore.message";

struct contracts {
    struct arena arena;
    struct map by_name; /* "billing.BillCreated" */
    struct contract_message **items;
    size_t count, size_max;
};

struct contracts *contracts_new(void)
{
    return MEM_NEW(struct contracts);
}

void contracts_free(struct contracts *contracts)
{
    if (contracts == NULL) return;
    map_release(&contracts->by_name);
    mem_free(contracts->items);
    arena_release(&contracts->arena);
    mem_free(contracts);
}

size_t contracts_count(const struct contracts *contracts)
{
    return contracts->count;
}

const struct contract_message *contracts_at(const struct contracts *contracts, size_t index)
{
    return contracts->items[index];
}

const struct contract_message *contracts_find(const struct contracts *contracts, struct slice context,
                                              struct slice name)
{
    char key[2 * LIMIT_NAME_SIZE_MAX + 2];
    if (context.size > LIMIT_NAME_SIZE_MAX || name.size > LIMIT_NAME_SIZE_MAX) return NULL;
    int size = snprintf(key, sizeof key, "%.*s.%.*s", SLICE_ARGS(context), SLICE_ARGS(name));
    return map_find(&contracts->by_name, slice_make(key, (size_t)size));
}

/* --- from the tables of lua/contracts.lua --- */

/* Copies the text field of the table on top of the stack. */
static struct slice take_text(struct contracts *contracts, lua_State *lua, const char *field)
{
    lua_getfield(lua, -1, field);
    size_t size;
    const char *text = luaL_checklstring(lua, -1, &size);
    struct slice copy = arena_copy(&contracts->arena, slice_make(text, size));
    lua_pop(lua, 1);
    return copy;
}

static bool take_flag(lua_State *lua, const char *field)
{
    lua_getfield(lua, -1, field);
    bool flag = lua_toboolean(lua, -1);
    lua_pop(lua, 1);
    return flag;
}

static lua_Integer take_integer(lua_State *lua, const char *field)
{
    lua_getfield(lua, -1, field);
    lua_Integer integer = luaL_checkinteger(lua, -1);
    lua_pop(lua, 1);
    return integer;
}

static struct contract_type take_type(struct contracts *contracts, lua_State *lua);

static struct contract_field take_field(struct contracts *contracts, lua_State *lua, int keys,
                                        lua_Integer index)
{
    struct contract_field field = {.name = take_text(contracts, lua, "name"),
                                   .optional = take_flag(lua, "optional"),
                                   .pii = take_flag(lua, "pii")};
    field.key = lua_pushlstring(lua, field.name.data, field.name.size);
    lua_rawseti(lua, keys, index); /* anchors it */
    lua_getfield(lua, -1, "type");
    field.type = take_type(contracts, lua);
    lua_pop(lua, 1);
    return field;
}

/* Of the description on top of the stack, which stays there. */
static struct contract_type take_type(struct contracts *contracts, lua_State *lua)
{
    static const char *const kinds[] = {"string", "integer", "number", "boolean", "time", "decimal",
                                        "any",    "list",    "map",    "record",  NULL};
    luaL_checkstack(lua, 10, "a contract nests too deeply");
    struct contract_type type = {.keys = LUA_NOREF};
    lua_getfield(lua, -1, "kind");
    type.kind = (enum contract_kind)luaL_checkoption(lua, -1, NULL, kinds);
    lua_pop(lua, 1);
    if (type.kind == CONTRACT_LIST || type.kind == CONTRACT_MAP) {
        lua_getfield(lua, -1, "item");
        struct contract_type *item = arena_zero(&contracts->arena, sizeof *item);
        *item = take_type(contracts, lua);
        type.item = item;
        lua_pop(lua, 1);
    }
    if (type.kind != CONTRACT_RECORD) return type;
    lua_getfield(lua, -1, "fields");
    type.field_count = (size_t)lua_rawlen(lua, -1);
    lua_createtable(lua, (int)type.field_count, 0); /* an array: the check reads it for every message */
    lua_insert(lua, -2);
    int keys = lua_gettop(lua) - 1;
    struct contract_field *fields = arena_zero(&contracts->arena, (type.field_count + 1) * sizeof *fields);
    for (size_t i = 0; i < type.field_count; i++) {
        lua_rawgeti(lua, -1, (lua_Integer)i + 1);
        fields[i] = take_field(contracts, lua, keys, (lua_Integer)i + 1);
        lua_pop(lua, 1);
    }
    type.fields = fields;
    lua_pop(lua, 1);
    type.keys = luaL_ref(lua, LUA_REGISTRYINDEX);
    return type;
}

/* --- messages --- */

static const struct contract_message *message_at(lua_State *lua, int index)
{
    const struct contract_message *const *held = luaL_testudata(lua, index, message_metatable);
    return held != NULL ? *held : NULL;
}

const struct contract_message *contract_message_of(lua_State *lua, int index)
{
    if (lua_type(lua, index) != LUA_TUSERDATA) return NULL;
    const struct contract_message *message = message_at(lua, index);
    if (message != NULL) lua_getiuservalue(lua, index, 1);
    return message;
}

static int message_index(lua_State *lua)
{
    if (contract_message_of(lua, 1) == NULL) return 0;
    lua_pushvalue(lua, 2);
    lua_rawget(lua, -2);
    if (lua_type(lua, -1) == LUA_TTABLE) value_push_readonly(lua, -1);
    return 1;
}

static int message_newindex(lua_State *lua)
{
    const struct contract_message *message = message_at(lua, 1);
    return vm_raise(lua, FAULT_SCRIPT, 1, "%s: a message cannot be changed",
                    message ? message->name.data : "message");
}

static int message_tostring(lua_State *lua)
{
    const struct contract_message *message = message_at(lua, 1);
    lua_pushstring(lua, message != NULL ? message->name.data : "message");
    return 1;
}

/* Pushes the metatable that all messages share. */
static void push_metatable(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"__index", message_index},
                                         {"__newindex", message_newindex},
                                         {"__tostring", message_tostring},
                                         {NULL, NULL}};
    if (!luaL_newmetatable(lua, message_metatable)) return;
    luaL_setfuncs(lua, functions, 0);
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pushliteral(lua, "message");
    lua_setfield(lua, -2, "__name");
}

/* Makes the userdata of the checked table on top, which it replaces. metatable: stack index. */
static void wrap(lua_State *lua, const struct contract_message *message, int metatable)
{
    const struct contract_message **held = lua_newuserdatauv(lua, sizeof *held, 1);
    *held = message;
    lua_insert(lua, -2);
    lua_setiuservalue(lua, -2, 1);
    lua_pushvalue(lua, metatable);
    lua_setmetatable(lua, -2);
}

void contract_push_message(lua_State *lua, int index, const struct contract_message *message)
{
    index = lua_absindex(lua, index);
    push_metatable(lua);
    int metatable = lua_gettop(lua);
    lua_pushvalue(lua, index);
    wrap(lua, message, metatable);
    lua_remove(lua, metatable);
}

static int construct(lua_State *lua)
{
    const struct contract_message *message = lua_touserdata(lua, lua_upvalueindex(1));
    int kind = lua_type(lua, 1);
    if (kind != LUA_TTABLE && kind != LUA_TUSERDATA)
        return vm_raise(lua, FAULT_CONTRACT, 1, "%s: expected a table of its fields: %s { … }",
                        message->name.data, message->name.data);
    contract_copy(lua, 1, message, 1);
    wrap(lua, message, lua_upvalueindex(2));
    return 1;
}

struct contract_message *contracts_add(struct contracts *contracts, lua_State *lua, int index)
{
    lua_pushvalue(lua, index);
    struct contract_message *message = arena_zero(&contracts->arena, sizeof *message);
    message->context = take_text(contracts, lua, "context");
    message->name = take_text(contracts, lua, "name");
    message->path = take_text(contracts, lua, "path");
    message->line = (int)take_integer(lua, "line");
    message->version = (uint32_t)take_integer(lua, "version");
    message->is_event = take_flag(lua, "event");
    message->hash = hash_of(take_text(contracts, lua, "canonical"));
    lua_getfield(lua, -1, "type");
    message->type = take_type(contracts, lua);
    lua_pop(lua, 2);
    lua_pushlightuserdata(lua, message);
    push_metatable(lua);
    lua_pushcclosure(lua, construct, 2);
    message->constructor = luaL_ref(lua, LUA_REGISTRYINDEX);
    if (contracts->count == contracts->size_max) {
        contracts->size_max = contracts->size_max ? contracts->size_max * 2 : 32;
        contracts->items = mem_resize(contracts->items, contracts->size_max * sizeof *contracts->items);
    }
    contracts->items[contracts->count++] = message;
    struct slice key =
        arena_format(&contracts->arena, "%.*s.%.*s", SLICE_ARGS(message->context), SLICE_ARGS(message->name));
    map_put(&contracts->by_name, key, message);
    return message;
}

void contracts_set_upcasters(struct contracts *contracts, const struct contract_message *message,
                             const int *functions, const int *parameters, const struct hash *hashes)
{
    size_t count = message->version - 1;
    int *kept = arena_take(&contracts->arena, (count + 1) * sizeof *kept);
    int *kept_parameters = arena_take(&contracts->arena, (count + 1) * sizeof *kept_parameters);
    struct hash *kept_hashes = arena_take(&contracts->arena, (count + 1) * sizeof *kept_hashes);
    memcpy(kept, functions, count * sizeof *kept);
    memcpy(kept_parameters, parameters, count * sizeof *kept_parameters);
    memcpy(kept_hashes, hashes, count * sizeof *kept_hashes);
    char key[2 * LIMIT_NAME_SIZE_MAX + 2];
    snprintf(key, sizeof key, "%s.%s", message->context.data, message->name.data);
    struct contract_message *ours = map_find(&contracts->by_name, slice_of(key)); /* the same, not const */
    ours->upcasters = kept;
    ours->upcaster_parameters = kept_parameters;
    ours->upcaster_hashes = kept_hashes;
}

void contract_put_type(struct buf *out, const struct contract_type *type)
{
    static const char *const names[] = {"string", "integer", "number", "boolean", "time", "decimal", "any"};
    if (type->kind == CONTRACT_LIST) {
        contract_put_type(out, type->item);
        buf_put_text(out, "[]");
    } else if (type->kind == CONTRACT_MAP) {
        buf_put_text(out, "{string: ");
        contract_put_type(out, type->item);
        buf_put_text(out, "}");
    } else if (type->kind == CONTRACT_RECORD) {
        buf_put_text(out, "(");
        for (size_t i = 0; i < type->field_count; i++) {
            const struct contract_field *field = &type->fields[i];
            buf_format(out, "%s%s: %s", i ? ", " : "", field->name.data, field->pii ? "pii " : "");
            contract_put_type(out, &field->type);
            if (field->optional) buf_put_text(out, "?");
        }
        buf_put_text(out, ")");
    } else {
        buf_put_text(out, names[type->kind]);
    }
}

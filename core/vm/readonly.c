#include "vm/readonly.h"

#include "vm/sandbox.h"
#include "vm/value.h"

/* Keys that no script can have: addresses. In a view: where its target is. In the registry: target -> view,
 * all weak, so that the same table always gives the same view (state.items == state.items); target -> frozen
 * table. In a metatable: the library or target it protects; of a frozen table, the metatable it had. */
static const char target_key = 't', views_key = 'v', library_key = 'l', frozen_key = 'f', had_key = 'h';

bool readonly_push_target(lua_State *lua, int index)
{
    if (lua_type(lua, index) != LUA_TTABLE) return false;
    index = lua_absindex(lua, index);
    if (!lua_getmetatable(lua, index)) return false;
    if (lua_topointer(lua, -1) == vm_of(lua)->meta_at[VM_META_READONLY]) {
        lua_pop(lua, 1);
        lua_rawgetp(lua, index, &target_key);
        return true;
    }
    if (lua_rawgetp(lua, -1, &library_key) == LUA_TTABLE) {
        lua_remove(lua, -2);
        return true;
    }
    lua_pop(lua, 2);
    return false;
}

enum { VIEWS_MAX = 1024 };

static void new_views(lua_State *lua)
{
    lua_newtable(lua);
    lua_newtable(lua);
    lua_pushliteral(lua, "kv");
    lua_setfield(lua, -2, "__mode");
    lua_setmetatable(lua, -2);
    lua_rawsetp(lua, LUA_REGISTRYINDEX, &views_key);
    vm_of(lua)->views_made = 0;
}

/* Within a call the same table gives the same view, so the views of earlier calls, which a look-up may still
 * find, go before the first one of a call, or not at all. They stay while a run that waits may hold one, and
 * for questions of a session, which may have kept one. A table of all views ever made would be cleared by the
 * collector in one go. */
static void begin_views(lua_State *lua)
{
    struct vm *vm = vm_of(lua);
    if (vm->views_serial == vm->call_serial) return;
    if (vm->views_made > VIEWS_MAX && vm->runs == 0 && !vm->leash) new_views(lua);
    vm->views_serial = vm->call_serial;
}

void value_push_readonly(lua_State *lua, int index)
{
    index = lua_absindex(lua, index);
    luaL_checkstack(lua, 8, NULL);
    if (lua_type(lua, index) != LUA_TTABLE || vm_has_meta(lua, index, VM_META_READONLY) ||
        readonly_is_frozen(lua, index)) {
        lua_pushvalue(lua, index);
        return;
    }
    begin_views(lua);
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &views_key);
    lua_pushvalue(lua, index);
    if (lua_rawget(lua, -2) == LUA_TNIL) {
        vm_of(lua)->views_made++;
        lua_pop(lua, 1);
        lua_createtable(lua, 0, 1);
        lua_pushvalue(lua, index);
        lua_rawsetp(lua, -2, &target_key);
        vm_push_meta(lua, VM_META_READONLY);
        lua_setmetatable(lua, -2);
        lua_pushvalue(lua, index);
        lua_pushvalue(lua, -2);
        lua_rawset(lua, -4);
    }
    lua_remove(lua, -2);
}

void readonly_wrap(lua_State *lua, int index)
{
    if (lua_type(lua, index) == LUA_TTABLE)
        value_push_readonly(lua, index);
    else
        lua_pushvalue(lua, index);
}

static int view_index(lua_State *lua)
{
    lua_rawgetp(lua, 1, &target_key);
    lua_pushvalue(lua, 2);
    if (lua_rawget(lua, -2) == LUA_TTABLE) value_push_readonly(lua, -1);
    return 1;
}

static int view_length(lua_State *lua)
{
    lua_rawgetp(lua, 1, &target_key);
    lua_pushinteger(lua, (lua_Integer)lua_rawlen(lua, -1));
    return 1;
}

static int view_refuse(lua_State *lua)
{
    vm_of(lua)->refused_write = true;
    return vm_raise(lua, FAULT_SCRIPT, 1, "state is read-only in execute: emit an event instead");
}

static int library_refuse(lua_State *lua)
{
    return vm_raise(lua, FAULT_SCRIPT, 1, "%s is read-only", lua_tostring(lua, lua_upvalueindex(1)));
}

void readonly_refuse(lua_State *lua, int index)
{
    if (!readonly_push_target(lua, index)) return;
    lua_pop(lua, 1);
    luaL_getmetafield(lua, index, "__newindex");
    lua_call(lua, 0, 0);
}

static int library_length(lua_State *lua)
{
    if (!readonly_push_target(lua, 1)) return 0;
    lua_pushinteger(lua, (lua_Integer)lua_rawlen(lua, -1));
    return 1;
}

void readonly_library(lua_State *lua, const char *name, lua_CFunction call)
{
    lua_newtable(lua);
    lua_newtable(lua); /* its metatable */
    if (call) {
        lua_pushcfunction(lua, call);
        lua_setfield(lua, -2, "__call");
    }
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushvalue(lua, -3);
    lua_rawsetp(lua, -2, &library_key);
    lua_pushcfunction(lua, library_length);
    lua_setfield(lua, -2, "__len");
    lua_pushstring(lua, name);
    lua_pushcclosure(lua, library_refuse, 1);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

/* --- frozen tables --- */

bool readonly_is_frozen(lua_State *lua, int index)
{
    if (lua_type(lua, index) != LUA_TTABLE || !lua_getmetatable(lua, index)) return false;
    bool frozen = lua_rawgetp(lua, -1, &frozen_key) != LUA_TNIL;
    lua_pop(lua, 2);
    return frozen;
}

void readonly_to_target(lua_State *lua)
{
    if (readonly_is_frozen(lua, -1) && readonly_push_target(lua, -1)) lua_remove(lua, -2);
}

void readonly_to_frozen(lua_State *lua)
{
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &frozen_key);
    lua_pushvalue(lua, -2);
    if (lua_rawget(lua, -2) == LUA_TNIL) {
        lua_pop(lua, 2);
        return;
    }
    lua_replace(lua, -3);
    lua_pop(lua, 1);
}

static int frozen_refuse(lua_State *lua)
{
    return vm_raise(lua, FAULT_SCRIPT, 1,
                    "a table made at file level is read-only in handlers: nothing may outlive a call");
}

/* Upvalues: target, the function that was __index. The function gets the frozen table, never the target. */
static int frozen_index(lua_State *lua)
{
    lua_settop(lua, 2);
    lua_pushvalue(lua, 2);
    if (lua_rawget(lua, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    lua_settop(lua, 2);
    lua_pushvalue(lua, lua_upvalueindex(2));
    lua_insert(lua, 1);
    lua_call(lua, 2, 1);
    return 1;
}

/* Moves the content of the table on top into a new one and pushes that. */
static void move_content(lua_State *lua)
{
    int table = lua_gettop(lua), target = table + 1;
    lua_newtable(lua);
    for (lua_pushnil(lua); lua_next(lua, table);) {
        lua_pushvalue(lua, -2);
        lua_insert(lua, -2);
        lua_rawset(lua, target);
        lua_pushvalue(lua, -1);
        lua_pushnil(lua);
        lua_rawset(lua, table); /* fields that are there may be cleared on the way */
    }
}

/* Stack: table, its target. Pops the target. */
static void protect_content(lua_State *lua)
{
    int table = lua_gettop(lua) - 1, target = table + 1, meta = table + 2;
    bool had_meta = lua_getmetatable(lua, table) != 0;
    if (!had_meta) lua_pushnil(lua);
    lua_newtable(lua);
    lua_insert(lua, meta);
    if (had_meta) {
        lua_pushvalue(lua, -1);
        lua_rawsetp(lua, meta, &had_key);
    }
    lua_pop(lua, 1);
    lua_pushvalue(lua, target);
    lua_rawsetp(lua, meta, &library_key);
    lua_pushboolean(lua, 1);
    lua_rawsetp(lua, meta, &frozen_key);
    lua_setmetatable(lua, table);
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &frozen_key);
    lua_pushvalue(lua, target);
    lua_pushvalue(lua, table);
    lua_rawset(lua, -3);
    lua_settop(lua, table);
}

static void clear_field(lua_State *lua, int table, const char *name)
{
    lua_pushstring(lua, name);
    lua_pushnil(lua);
    lua_rawset(lua, table);
}

/* The metatable of the frozen table on top gets its fields: those it had, and ours. All content has moved. */
static void fill_meta(lua_State *lua)
{
    int table = lua_gettop(lua), meta = table + 1, target = table + 2, had = table + 3;
    lua_getmetatable(lua, table);
    lua_rawgetp(lua, meta, &library_key);
    lua_rawgetp(lua, meta, &had_key);
    readonly_to_target(lua);
    if (lua_istable(lua, had)) {
        clear_field(lua, had, "__gc"); /* may have come after setmetatable, which would have refused it */
        clear_field(lua, had, "__mode");
        lua_pushvalue(lua, had);
        lua_setmetatable(lua, target);
        for (lua_pushnil(lua); lua_next(lua, had);) {
            lua_pushvalue(lua, -2);
            lua_insert(lua, -2);
            if (lua_type(lua, -2) == LUA_TSTRING)
                lua_rawset(lua, meta);
            else
                lua_pop(lua, 2);
        }
    }
    lua_pushliteral(lua, "__index");
    bool is_function = lua_rawget(lua, meta) == LUA_TFUNCTION;
    lua_pushvalue(lua, target);
    if (is_function) {
        lua_insert(lua, -2);
        lua_pushcclosure(lua, frozen_index, 2);
    }
    lua_setfield(lua, meta, "__index");
    lua_settop(lua, had);
    lua_pushcfunction(lua, frozen_refuse);
    lua_setfield(lua, meta, "__newindex");
    if (lua_getfield(lua, meta, "__len") == LUA_TNIL) {
        lua_pushcfunction(lua, library_length);
        lua_setfield(lua, meta, "__len");
    }
    lua_settop(lua, table);
}

void readonly_freeze(lua_State *lua, int index)
{
    index = lua_absindex(lua, index);
    luaL_checkstack(lua, 12, NULL);
    lua_Integer count = (lua_Integer)lua_rawlen(lua, index);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(lua, index, i);
        if (!readonly_push_target(lua, -1)) {
            move_content(lua);
            protect_content(lua);
        } else {
            lua_pop(lua, 1);
        }
        lua_pop(lua, 1);
    }
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(lua, index, i);
        if (readonly_is_frozen(lua, -1)) fill_meta(lua);
        lua_pop(lua, 1);
    }
}

void readonly_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"__index", view_index}, {"__len", view_length}, {"__newindex", view_refuse}, {NULL, NULL}};
    vm_new_meta(lua, VM_META_READONLY, "state", functions);
    lua_pop(lua, 1);
    new_views(lua);
    lua_newtable(lua);
    lua_rawsetp(lua, LUA_REGISTRYINDEX, &frozen_key);
}

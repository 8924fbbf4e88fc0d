#include "vm/readonly.h"

#include "vm/sandbox.h"
#include "vm/value.h"

/* Keys that no script can have: addresses. In a view: where its target is. In the registry: target -> view,
 * all weak, so that the same table always gives the same view (state.items == state.items). In a metatable:
 * the library it protects. */
static const char target_key = 't', views_key = 'v', library_key = 'l';

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

void value_push_readonly(lua_State *lua, int index)
{
    index = lua_absindex(lua, index);
    luaL_checkstack(lua, 8, NULL);
    if (lua_type(lua, index) != LUA_TTABLE || vm_has_meta(lua, index, VM_META_READONLY)) {
        lua_pushvalue(lua, index);
        return;
    }
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &views_key);
    lua_pushvalue(lua, index);
    if (lua_rawget(lua, -2) == LUA_TNIL) {
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
    lua_pushstring(lua, name);
    lua_pushcclosure(lua, library_refuse, 1);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

void readonly_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"__index", view_index}, {"__len", view_length}, {"__newindex", view_refuse}, {NULL, NULL}};
    vm_new_meta(lua, VM_META_READONLY, "state", functions);
    lua_pop(lua, 1);
    lua_newtable(lua);
    lua_newtable(lua);
    lua_pushliteral(lua, "kv");
    lua_setfield(lua, -2, "__mode");
    lua_setmetatable(lua, -2);
    lua_rawsetp(lua, LUA_REGISTRYINDEX, &views_key);
}

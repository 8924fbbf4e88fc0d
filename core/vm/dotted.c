#include "vm/dotted.h"

static int refuse_change(lua_State *lua)
{
    return vm_raise(lua, FAULT_SCRIPT, 1, "%s cannot be changed", lua_tostring(lua, lua_upvalueindex(1)));
}

void dotted_push(lua_State *lua, const char *word)
{
    lua_newuserdatauv(lua, 0, 0);
    lua_createtable(lua, 0, 4);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushstring(lua, word);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -3, "__name");
    lua_pushcclosure(lua, refuse_change, 1);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

struct slice dotted_name(lua_State *lua, const char *word)
{
    struct slice name;
    if (lua_type(lua, 2) != LUA_TSTRING) vm_raise(lua, FAULT_SCRIPT, 1, "write %s.NAME", word);
    name.data = lua_tolstring(lua, 2, &name.size);
    return name;
}

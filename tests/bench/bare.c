/* bare FILE ARGS: runs a Lua file in Lua 5.4 as it is, the same library as lore's: what lore's host costs on
 * top is the difference. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

int main(int count, char **args)
{
    if (count < 2) return fprintf(stderr, "usage: bare FILE ARGS\n"), 2;
    lua_State *lua = luaL_newstate();
    luaL_openlibs(lua);
    lua_newtable(lua);
    for (int at = 1; at < count; at++) {
        lua_pushstring(lua, args[at]);
        lua_rawseti(lua, -2, at - 1);
    }
    lua_setglobal(lua, "arg");
    int failed = luaL_dofile(lua, args[1]);
    if (failed) fprintf(stderr, "bare: %s\n", lua_tostring(lua, -1));
    lua_close(lua);
    return failed ? 1 : 0;
}

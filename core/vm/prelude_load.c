/* The files of lua/ as chunks and modules. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

#include "vm/prelude.h"

const struct prelude_file *prelude_find(const char *name)
{
    const struct prelude_file *file = prelude_files;
    while (file->name && strcmp(file->name, name) != 0) file++;
    return file->name ? file : NULL;
}

void prelude_push(lua_State *lua, const struct prelude_file *file)
{
    char chunk[64];
    snprintf(chunk, sizeof chunk, "@lua/%s.lua", file->name);
    if (luaL_loadbufferx(lua, file->text, file->size, chunk, "t") != LUA_OK) lua_error(lua);
}

static int run_module(lua_State *lua)
{
    prelude_push(lua, lua_touserdata(lua, lua_upvalueindex(1)));
    lua_call(lua, 0, 1);
    return 1;
}

void prelude_add_modules(lua_State *lua)
{
    luaL_getsubtable(lua, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (const struct prelude_file *file = prelude_files; file->name; file++) {
        lua_pushfstring(lua, "lore.%s", file->name);
        lua_pushlightuserdata(lua, (void *)file);
        lua_pushcclosure(lua, run_module, 1);
        lua_rawset(lua, -3);
    }
    lua_pop(lua, 1);
}

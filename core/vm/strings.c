#include "vm/strings.h"

#include "vm/format.h"
#include "vm/readonly.h"
#include "vm/search.h"

enum { REP_SIZE_MAX = 1 << 30 };

static int string_rep(lua_State *lua)
{
    size_t size, separator_size;
    const char *text = luaL_checklstring(lua, 1, &size);
    lua_Integer count = luaL_checkinteger(lua, 2);
    const char *separator = luaL_optlstring(lua, 3, "", &separator_size);
    if (count <= 0 || size + separator_size == 0) {
        lua_pushliteral(lua, "");
        return 1;
    }
    if ((lua_Unsigned)count > REP_SIZE_MAX / (size + separator_size))
        return luaL_error(lua, "resulting string too large");
    size_t total = (size_t)count * size + (size_t)(count - 1) * separator_size;
    vm_spend(lua, total / 64 + (uint64_t)count / 8);
    luaL_Buffer buffer;
    char *to = luaL_buffinitsize(lua, &buffer, total);
    for (; count > 0; count--) {
        memcpy(to, text, size);
        to += size;
        if (count > 1 && separator_size) {
            memcpy(to, separator, separator_size);
            to += separator_size;
        }
    }
    luaL_pushresultsize(&buffer, total);
    return 1;
}

static int change_case(lua_State *lua, char first, char last)
{
    size_t size;
    const char *text = luaL_checklstring(lua, 1, &size);
    vm_spend(lua, size / 16);
    luaL_Buffer buffer;
    char *to = luaL_buffinitsize(lua, &buffer, size);
    for (size_t i = 0; i < size; i++)
        to[i] = text[i] >= first && text[i] <= last ? (char)(text[i] ^ 0x20) : text[i];
    luaL_pushresultsize(&buffer, size);
    return 1;
}

static int string_lower(lua_State *lua)
{
    return change_case(lua, 'A', 'Z');
}
static int string_upper(lua_State *lua)
{
    return change_case(lua, 'a', 'z');
}

/* Functions of Lua whose work is in proportion to their text. */
static int call_library(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TSTRING) vm_spend(lua, lua_rawlen(lua, 1) / 16);
    lua_CFunction function = lua_tocfunction(lua, lua_upvalueindex(1));
    return function(lua);
}

void strings_push_library(lua_State *lua)
{
    static const luaL_Reg functions[] = {
        {"rep", string_rep},   {"lower", string_lower},   {"upper", string_upper},
        {"find", search_find}, {"match", search_match},   {"gmatch", search_gmatch},
        {"gsub", search_gsub}, {"format", format_format}, {NULL, NULL}};
    static const char *const taken[] = {"byte", "char",   "len",      "sub", "reverse",
                                        "pack", "unpack", "packsize", NULL};
    luaL_newlib(lua, functions);
    lua_getglobal(lua, "string");
    for (const char *const *name = taken; *name; name++) {
        lua_getfield(lua, -1, *name);
        /* The first four take the same time whatever the size. */
        if (name - taken >= 4) lua_pushcclosure(lua, call_library, 1);
        lua_setfield(lua, -3, *name);
    }
    lua_pop(lua, 1);
    /* The metatable of strings keeps Lua's arithmetic on numeric text, which also finds __add of durations.
     */
    lua_pushliteral(lua, "");
    lua_getmetatable(lua, -1);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pop(lua, 2);
    readonly_library(lua, "string", NULL);
}

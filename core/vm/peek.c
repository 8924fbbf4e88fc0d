#include "vm/peek.h"

#include <lauxlib.h>
#include <string.h>

enum { CHECK_ENTRIES_MAX = 22 };

/* Whether the value is the one at index. */
static bool is_value_at(lua_State *lua, int index, union peek_content content, uint8_t tag)
{
    struct slice text;
    switch (lua_type(lua, index)) {
    case LUA_TBOOLEAN: return tag == (lua_toboolean(lua, index) ? PEEK_TRUE : PEEK_FALSE);
    case LUA_TNUMBER:
        if (lua_isinteger(lua, index))
            return tag == PEEK_INTEGER && content.integer == lua_tointeger(lua, index);
        return tag == PEEK_FLOAT && content.number == lua_tonumber(lua, index);
    case LUA_TSTRING:
        text.data = lua_tolstring(lua, index, &text.size);
        return peek_is_text(tag) && peek_text(content, tag).data == text.data &&
               peek_text(content, tag).size == text.size;
    case LUA_TTABLE: return tag == PEEK_TABLE && content.object == lua_topointer(lua, index);
    case LUA_TUSERDATA:
        if (tag != PEEK_USERDATA || peek_userdata(content) != lua_touserdata(lua, index) ||
            !lua_getmetatable(lua, index))
            return false;
        bool same = peek_userdata_metatable(content) == lua_topointer(lua, -1);
        lua_pop(lua, 1);
        return same;
    default: return false;
    }
}

/* Each entry that is found is one of the table's, and there are as many. */
static bool is_table_at(lua_State *lua, int index)
{
    const struct peek_table *table = lua_topointer(lua, index);
    const void *metatable = NULL;
    if (lua_getmetatable(lua, index)) {
        metatable = lua_topointer(lua, -1);
        lua_pop(lua, 1);
    }
    if (table->type != PEEK_TABLE - 64 || table->metatable != metatable) return false;
    size_t count = 0, found = 0;
    for (lua_pushnil(lua); lua_next(lua, index); lua_pop(lua, 1)) count++;
    struct peek_walk walk = peek_walk(table);
    while (peek_next(&walk)) {
        lua_pushnil(lua);
        bool same = false;
        while (!same && lua_next(lua, index)) {
            same = is_value_at(lua, -2, walk.key, walk.key_tag) &&
                   is_value_at(lua, -1, walk.value.content, walk.value.tag);
            lua_pop(lua, same ? 2 : 1);
        }
        if (!same) return false;
        found++;
    }
    return found == count;
}

/* A list that grew and shrank, names of both lengths, every kind of value, what was removed. */
static void push_example(lua_State *lua, int entries)
{
    static const char name[] = "a name that is longer than forty bytes, which Lua keeps in another way";
    lua_createtable(lua, 0, entries);
    for (int at = 1; at <= entries; at++) {
        lua_pushinteger(lua, at * 1000);
        lua_rawseti(lua, -2, at);
        lua_pushlstring(lua, name, (size_t)at);
        switch (at % 6) {
        case 0: lua_pushboolean(lua, at % 4 == 0); break;
        case 1: lua_pushnumber(lua, at + 0.5); break;
        case 2: lua_newtable(lua); break;
        case 3:
            lua_newuserdatauv(lua, (size_t)at, 0);
            lua_pushvalue(lua, -3);
            lua_setmetatable(lua, -2);
            break;
        case 4: lua_pushlstring(lua, name, sizeof name - 1); break;
        default: lua_pushinteger(lua, -at);
        }
        lua_rawset(lua, -3);
    }
    for (int at = entries / 2; at <= entries; at += 3) {
        lua_pushnil(lua);
        lua_rawseti(lua, -2, at);
    }
    lua_rawlen(lua, -1); /* looks for the length, and may leave its hint */
}

bool peek_check(lua_State *lua)
{
    int top = lua_gettop(lua);
    bool same = true;
    luaL_checkstack(lua, 8, NULL);
    for (int entries = 0; same && entries <= CHECK_ENTRIES_MAX; entries += entries < 4 ? 1 : 9) {
        push_example(lua, entries);
        same = is_table_at(lua, lua_gettop(lua));
        lua_newtable(lua);
        lua_setmetatable(lua, -2);
        same = same && is_table_at(lua, lua_gettop(lua));
        lua_settop(lua, top);
    }
    return same;
}

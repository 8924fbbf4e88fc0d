#include "vm/tables.h"

#include <limits.h>

#include "vm/peek.h"
#include "vm/readonly.h"
#include "vm/sandbox.h"
#include "vm/value.h"

/* Loops spend what they will take beforehand, and then look now and then whether the time is over. */
enum { SPEND_EVERY = 1024 };

/* The table at index for reading: a read-only one is replaced by its target. True: what comes out must be
 * wrapped. */
static bool readable(lua_State *lua, int index)
{
    luaL_checktype(lua, index, LUA_TTABLE);
    bool view = vm_has_meta(lua, index, VM_META_READONLY);
    if (readonly_push_target(lua, index)) lua_replace(lua, index);
    return view;
}

static void writable(lua_State *lua, int index)
{
    luaL_checktype(lua, index, LUA_TTABLE);
    readonly_refuse(lua, index);
    if (luaL_getmetafield(lua, index, "__metatable") == LUA_TNIL) return;
    if (!value_is_list_mark(lua, index)) luaL_argerror(lua, index, "the table is protected");
    lua_pop(lua, 1);
}

static void push_item(lua_State *lua, int table, lua_Integer at, bool view)
{
    lua_rawgeti(lua, table, at);
    if (view && lua_istable(lua, -1)) {
        readonly_wrap(lua, -1);
        lua_remove(lua, -2);
    }
}

static int table_insert(lua_State *lua)
{
    writable(lua, 1);
    lua_Integer end = (lua_Integer)lua_rawlen(lua, 1) + 1, at = end;
    switch (lua_gettop(lua)) {
    case 2: break;
    case 3: {
        at = luaL_checkinteger(lua, 2);
        luaL_argcheck(lua, (lua_Unsigned)at - 1u < (lua_Unsigned)end, 2, "position out of bounds");
        vm_spend(lua, (uint64_t)(end - at) / 4);
        lua_Unsigned steps = 0;
        for (lua_Integer i = end; i > at; i--) {
            lua_rawgeti(lua, 1, i - 1);
            lua_rawseti(lua, 1, i);
            if (++steps % SPEND_EVERY == 0) vm_spend(lua, 0);
        }
        break;
    }
    default: return luaL_error(lua, "wrong number of arguments to 'insert'");
    }
    if (!lua_isnil(lua, -1)) value_drop_mark(lua, 1);
    lua_rawseti(lua, 1, at);
    return 0;
}

/* Looks at every slot of a table that is empty, and one that was large still has them. */
static bool is_empty(lua_State *lua, int index)
{
    struct peek_walk walk = peek_walk(lua_topointer(lua, index));
    vm_spend(lua, (walk.item_count + (size_t)(walk.node_end - walk.node)) / 4);
    return !peek_next(&walk);
}

/* A table emptied by remove was a list. */
static void mark_if_empty(lua_State *lua)
{
    if (lua_getmetatable(lua, 1))
        lua_pop(lua, 1);
    else if (is_empty(lua, 1))
        value_mark_list(lua, 1);
}

static int table_remove(lua_State *lua)
{
    writable(lua, 1);
    lua_Integer size = (lua_Integer)lua_rawlen(lua, 1), at = size;
    if (!lua_isnoneornil(lua, 2)) {
        at = luaL_checkinteger(lua, 2);
        luaL_argcheck(lua, (lua_Unsigned)at - 1u <= (lua_Unsigned)size || (size == 0 && at == 0), 2,
                      "position out of bounds");
    }
    lua_settop(lua, 1);
    lua_rawgeti(lua, 1, at);
    if (at < size) vm_spend(lua, (uint64_t)(size - at) / 4);
    lua_Unsigned steps = 0;
    for (; at < size; at++) {
        lua_rawgeti(lua, 1, at + 1);
        lua_rawseti(lua, 1, at);
        if (++steps % SPEND_EVERY == 0) vm_spend(lua, 0);
    }
    if (!lua_isnil(lua, 2)) {
        lua_pushnil(lua);
        lua_rawseti(lua, 1, at);
        if (size == 1) mark_if_empty(lua);
    }
    return 1;
}

static int table_concat(lua_State *lua)
{
    readable(lua, 1);
    size_t separator_size;
    const char *separator = luaL_optlstring(lua, 2, "", &separator_size);
    lua_Integer at = luaL_optinteger(lua, 3, 1);
    lua_Integer last = luaL_optinteger(lua, 4, (lua_Integer)lua_rawlen(lua, 1));
    if (at <= last) vm_spend(lua, (lua_Unsigned)last - (lua_Unsigned)at + 1);
    luaL_Buffer buffer;
    luaL_buffinit(lua, &buffer);
    for (; at <= last; at++) {
        lua_rawgeti(lua, 1, at);
        if (value_is_decimal(lua, -1)) {
            sandbox_push_text(lua, -1);
            lua_remove(lua, -2);
        }
        if (!lua_isstring(lua, -1))
            return luaL_error(lua, "invalid value (at index %I) in table for 'concat'", (LUAI_UACINT)at);
        luaL_addvalue(&buffer);
        if (at == last) break; /* last may be the largest integer */
        luaL_addlstring(&buffer, separator, separator_size);
    }
    luaL_pushresult(&buffer);
    return 1;
}

static int table_unpack(lua_State *lua)
{
    bool view = readable(lua, 1);
    lua_Integer at = luaL_optinteger(lua, 2, 1);
    lua_Integer last = luaL_opt(lua, luaL_checkinteger, 3, (lua_Integer)lua_rawlen(lua, 1));
    if (at > last) return 0;
    lua_Unsigned count = (lua_Unsigned)last - (lua_Unsigned)at;
    if (count >= INT_MAX - 8 || !lua_checkstack(lua, (int)(count + 8)))
        return luaL_error(lua, "too many results to unpack");
    vm_spend(lua, count / 4);
    for (; at < last; at++) push_item(lua, 1, at, view);
    push_item(lua, 1, last, view);
    return (int)count + 1;
}

static int table_move(lua_State *lua)
{
    int target = lua_isnoneornil(lua, 5) ? 1 : 5;
    lua_Integer from = luaL_checkinteger(lua, 2), end = luaL_checkinteger(lua, 3),
                to = luaL_checkinteger(lua, 4);
    writable(lua, target);
    bool view = readable(lua, 1);
    if (end >= from) {
        luaL_argcheck(lua, from > 0 || end < LUA_MAXINTEGER + from, 3, "too many elements to move");
        lua_Integer count = end - from + 1;
        luaL_argcheck(lua, to <= LUA_MAXINTEGER - count + 1, 4, "destination wrap around");
        /* Dropping the mark from what stays empty would be no harm: it is set back below. */
        bool marked = value_is_list_mark(lua, target);
        value_drop_mark(lua, target);
        vm_spend(lua, (uint64_t)count);
        bool forward = to > end || to <= from || (target != 1 && !lua_rawequal(lua, 1, target));
        for (lua_Integer i = 0; i < count; i++) {
            lua_Integer offset = forward ? i : count - 1 - i;
            push_item(lua, 1, from + offset, view);
            lua_rawseti(lua, target, to + offset);
            if (i % SPEND_EVERY == 0) vm_spend(lua, 0);
        }
        if (marked && is_empty(lua, target)) value_mark_list(lua, target);
    }
    lua_pushvalue(lua, target);
    return 1;
}

/* --- sort: bottom-up merge over two tables at indices 3 and 4 --- */

static bool less(lua_State *lua, int table, lua_Integer a, lua_Integer b)
{
    bool result;
    if (lua_isnil(lua, 2)) {
        lua_rawgeti(lua, table, a);
        lua_rawgeti(lua, table, b);
        result = lua_compare(lua, -2, -1, LUA_OPLT);
        lua_pop(lua, 2);
    } else {
        lua_pushvalue(lua, 2);
        lua_rawgeti(lua, table, a);
        lua_rawgeti(lua, table, b);
        lua_call(lua, 2, 1);
        result = lua_toboolean(lua, -1);
        lua_pop(lua, 1);
    }
    return result;
}

/* Merges [from, middle) and [middle, end) of one table into the other. Equal items keep their order: the
 * right one goes first only if it is less. */
static void merge(lua_State *lua, int source, int target, lua_Integer from, lua_Integer middle,
                  lua_Integer end)
{
    lua_Integer left = from, right = middle;
    for (lua_Integer to = from; to < end; to++) {
        bool take_right = right < end && (left >= middle || less(lua, source, right, left));
        lua_rawgeti(lua, source, take_right ? right++ : left++);
        lua_rawseti(lua, target, to);
    }
    vm_spend(lua, (uint64_t)(end - from));
}

static int table_sort(lua_State *lua)
{
    writable(lua, 1);
    lua_Integer count = (lua_Integer)lua_rawlen(lua, 1);
    if (!lua_isnoneornil(lua, 2)) luaL_checktype(lua, 2, LUA_TFUNCTION);
    lua_settop(lua, 2);
    if (count < 2) return 0;
    luaL_argcheck(lua, count < INT_MAX / 2, 1, "table too large");
    luaL_checkstack(lua, 10, NULL);
    lua_createtable(lua, (int)count, 0);
    lua_createtable(lua, (int)count, 0);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(lua, 1, i);
        lua_rawseti(lua, 3, i);
        lua_pushboolean(lua, 0); /* fills the array part in order */
        lua_rawseti(lua, 4, i);
    }
    int source = 3;
    for (lua_Integer width = 1; width < count; width *= 2) {
        for (lua_Integer from = 1; from <= count; from += 2 * width) {
            lua_Integer middle = from + width <= count + 1 ? from + width : count + 1;
            lua_Integer end = from + 2 * width <= count + 1 ? from + 2 * width : count + 1;
            merge(lua, source, 7 - source, from, middle, end);
        }
        source = 7 - source;
    }
    readonly_refuse(lua, 1); /* the order function may have done anything to it */
    value_drop_mark(lua, 1);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(lua, source, i);
        lua_rawseti(lua, 1, i);
    }
    return 0;
}

void tables_push_library(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"insert", table_insert},
                                         {"remove", table_remove},
                                         {"concat", table_concat},
                                         {"unpack", table_unpack},
                                         {"move", table_move},
                                         {"sort", table_sort},
                                         {NULL, NULL}};
    luaL_newlib(lua, functions);
    lua_getglobal(lua, "table");
    lua_getfield(lua, -1, "pack");
    lua_setfield(lua, -3, "pack");
    lua_pop(lua, 1);
    readonly_library(lua, "table", NULL);
}

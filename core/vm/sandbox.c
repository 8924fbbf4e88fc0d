#include "vm/sandbox.h"

#include <math.h>
#include <stdio.h>

#include "base/say.h"
#include "vm/decimal.h"
#include "vm/keys.h"
#include "vm/maths.h"
#include "vm/moments.h"
#include "vm/readonly.h"
#include "vm/strings.h"
#include "vm/tables.h"
#include "vm/value.h"

/* An error that is made, thrown and caught takes as long as this many instructions. */
enum { CAUGHT_STEPS = 50 };

/* --- text of values --- */

void sandbox_push_text(lua_State *lua, int index)
{
    index = lua_absindex(lua, index);
    luaL_checkstack(lua, 6, NULL);
    if (luaL_callmeta(lua, index, "__tostring")) {
        if (!lua_isstring(lua, -1)) luaL_error(lua, "'__tostring' must return a string");
        if (lua_type(lua, -1) == LUA_TNUMBER) lua_tolstring(lua, -1, NULL);
        return;
    }
    switch (lua_type(lua, index)) {
    case LUA_TNUMBER:
    case LUA_TSTRING:
    case LUA_TBOOLEAN:
    case LUA_TNIL: luaL_tolstring(lua, index, NULL); break;
    default: lua_pushstring(lua, luaL_typename(lua, index)); /* never an address */
    }
}

static int base_tostring(lua_State *lua)
{
    luaL_checkany(lua, 1);
    sandbox_push_text(lua, 1);
    return 1;
}

static int base_print(lua_State *lua)
{
    int count = lua_gettop(lua);
    luaL_Buffer line;
    luaL_buffinit(lua, &line);
    for (int i = 1; i <= count; i++) {
        if (i > 1) luaL_addchar(&line, ' ');
        sandbox_push_text(lua, i);
        luaL_addvalue(&line);
    }
    luaL_pushresult(&line);
    size_t size;
    const char *text = lua_tolstring(lua, -1, &size);
    vm_spend(lua, 1000); /* a line costs a system call */
    struct buf shown = {0};
    vm_put_line(vm_of(lua), slice_make(text, size), &shown);
    say_info("script: %.*s", SLICE_ARGS(buf_slice(&shown)));
    buf_release(&shown);
    return 0;
}

/* --- pcall --- */

/* On top of the stack: the error value of a failed protected call. Raises it again if scripts may not catch
 * it; else makes a fault a text, since scripts cannot look into it. */
static void catch_error(lua_State *lua, int status)
{
    vm_spend(lua, CAUGHT_STEPS);
    if (vm_is_stopped(lua, status)) vm_stop_again(lua);
    vm_reject_again(lua);
    const struct fault *fault = vm_find_fault(lua, -1);
    if (!fault) return;
    if (fault->code == FAULT_REJECTED || fault->code == FAULT_BUDGET || fault->code == FAULT_BUSY ||
        fault->code == FAULT_CANCELLED)
        lua_error(lua);
    lua_pushstring(lua, fault->text);
    lua_replace(lua, -2);
}

static int finish_pcall(lua_State *lua, int status, lua_KContext skip)
{
    if (status != LUA_OK && status != LUA_YIELD) {
        catch_error(lua, status);
        lua_pushboolean(lua, 0);
        lua_insert(lua, -2);
        return 2;
    }
    return lua_gettop(lua) - (int)skip;
}

static int base_pcall(lua_State *lua)
{
    luaL_checkany(lua, 1);
    lua_pushboolean(lua, 1);
    lua_insert(lua, 1);
    int status = lua_pcallk(lua, lua_gettop(lua) - 2, LUA_MULTRET, 0, 0, finish_pcall);
    return finish_pcall(lua, status, 0);
}

/* The handler of xpcall runs after unwinding: inside Lua's own message handler hooks may be off, and a loop
 * there would never end. */
static int finish_xpcall(lua_State *lua, int status, lua_KContext skip)
{
    if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(lua) - (int)skip;
    catch_error(lua, status);
    lua_pushvalue(lua, 2); /* the handler */
    lua_insert(lua, -2);
    int base = lua_gettop(lua) - 2;
    status = lua_pcall(lua, 1, LUA_MULTRET, 0);
    if (status != LUA_OK) catch_error(lua, status);
    lua_pushboolean(lua, 0);
    lua_insert(lua, base + 1);
    return lua_gettop(lua) - base;
}

static int base_xpcall(lua_State *lua)
{
    int count = lua_gettop(lua);
    luaL_checktype(lua, 2, LUA_TFUNCTION);
    lua_pushboolean(lua, 1);
    lua_pushvalue(lua, 1);
    lua_rotate(lua, 3, 2); /* function, handler, true, function, arguments… */
    int status = lua_pcallk(lua, count - 2, LUA_MULTRET, 0, 2, finish_xpcall);
    return finish_xpcall(lua, status, 2);
}

/* --- metatables and raw access --- */

static int base_getmetatable(lua_State *lua)
{
    luaL_checkany(lua, 1);
    if (readonly_is_frozen(lua, 1) && readonly_push_target(lua, 1)) lua_replace(lua, 1);
    if (!lua_getmetatable(lua, 1) || value_is_list_mark(lua, 1)) {
        lua_pushnil(lua);
        return 1;
    }
    if (luaL_getmetafield(lua, 1, "__metatable") == LUA_TNIL) readonly_to_frozen(lua);
    return 1; /* that field, or the metatable below it */
}

static void refuse_field(lua_State *lua, const char *name)
{
    lua_pushstring(lua, name);
    if (lua_rawget(lua, 2) != LUA_TNIL) luaL_error(lua, "setmetatable: %s is not available to scripts", name);
    lua_pop(lua, 1);
}

static int base_setmetatable(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_argexpected(lua, lua_isnil(lua, 2) || lua_istable(lua, 2), 2, "nil or table");
    if (readonly_is_frozen(lua, 1)) readonly_refuse(lua, 1);
    value_drop_mark(lua, 1);
    if (luaL_getmetafield(lua, 1, "__metatable") != LUA_TNIL)
        return luaL_error(lua, "cannot change a protected metatable");
    lua_settop(lua, 2);
    readonly_to_target(lua);
    if (lua_istable(lua, 2)) {
        refuse_field(lua, "__gc");   /* finalizers run whenever, with hooks off */
        refuse_field(lua, "__mode"); /* what is collected when differs from run to run */
    }
    lua_setmetatable(lua, 1);
    return 1;
}

static int base_rawget(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    lua_settop(lua, 2);
    bool view = vm_has_meta(lua, 1, VM_META_READONLY);
    if (readonly_push_target(lua, 1)) lua_replace(lua, 1);
    lua_rawget(lua, 1);
    if (view) readonly_wrap(lua, -1);
    return 1;
}

static int base_rawset(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    luaL_checkany(lua, 3);
    lua_settop(lua, 3);
    readonly_refuse(lua, 1);
    if (!lua_isnil(lua, 3)) value_drop_mark(lua, 1);
    if (luaL_getmetafield(lua, 1, "__metatable") != LUA_TNIL && !value_is_list_mark(lua, 1))
        return luaL_error(lua, "rawset: the table is protected");
    lua_settop(lua, 3);
    lua_rawset(lua, 1);
    return 1;
}

static int base_rawlen(lua_State *lua)
{
    int type = lua_type(lua, 1);
    luaL_argexpected(lua, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
    if (type == LUA_TTABLE && readonly_push_target(lua, 1)) lua_replace(lua, 1);
    lua_pushinteger(lua, (lua_Integer)lua_rawlen(lua, 1));
    return 1;
}

/* list {}: marks an empty table as a list; other lists pass as they are. */
static int base_list(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 1);
    readonly_refuse(lua, 1);
    lua_Unsigned count = lua_rawlen(lua, 1), found = 0;
    for (lua_pushnil(lua); lua_next(lua, 1); found++) {
        lua_pop(lua, 1);
        if (!lua_isinteger(lua, -1) || lua_tointeger(lua, -1) < 1 ||
            (lua_Unsigned)lua_tointeger(lua, -1) > count)
            return vm_raise(lua, FAULT_SCRIPT, 1, "list: keys must be 1..n");
        if (found % 1024 == 1023) vm_spend(lua, 256);
    }
    if (found != count) return vm_raise(lua, FAULT_SCRIPT, 1, "list: keys must be 1..n");
    if (count == 0) {
        if (lua_getmetatable(lua, 1)) {
            lua_pop(lua, 1);
            if (!value_is_list_mark(lua, 1))
                return vm_raise(lua, FAULT_SCRIPT, 1, "list: the table has a metatable");
        }
        value_mark_list(lua, 1);
    }
    return 1;
}

static int base_tonumber(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TSTRING) vm_spend(lua, lua_rawlen(lua, 1) / 4);
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/* --- utf8: Lua's functions; their work is in proportion to the text --- */

static int call_utf8(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TSTRING) vm_spend(lua, lua_rawlen(lua, 1) / 2);
    lua_CFunction function = lua_tocfunction(lua, lua_upvalueindex(1));
    return function(lua);
}

/* The iterator of utf8.codes, which scripts can also call by themselves: it skips continuation bytes. */
static int step_codes(lua_State *lua)
{
    size_t size;
    const char *text = luaL_checklstring(lua, 1, &size);
    lua_Unsigned at = (lua_Unsigned)lua_tointeger(lua, 2), first = at;
    while (at < size && ((unsigned char)text[at] & 0xc0) == 0x80) at++;
    vm_spend(lua, 4 + (at - first) / 8);
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

static int utf8_codes(lua_State *lua)
{
    int count = call_utf8(lua), iterator = lua_gettop(lua) - count + 1;
    lua_pushvalue(lua, iterator);
    lua_pushcclosure(lua, step_codes, 1);
    lua_replace(lua, iterator);
    return count;
}

static void push_utf8(lua_State *lua)
{
    lua_getglobal(lua, "utf8");
    lua_newtable(lua);
    for (lua_pushnil(lua); lua_next(lua, -3);) {
        if (lua_iscfunction(lua, -1)) lua_pushcclosure(lua, call_utf8, 1);
        lua_pushvalue(lua, -2);
        lua_insert(lua, -2);
        lua_rawset(lua, -4);
    }
    lua_getfield(lua, -2, "codes");
    lua_pushcclosure(lua, utf8_codes, 1);
    lua_setfield(lua, -2, "codes");
    lua_remove(lua, -2);
    readonly_library(lua, "utf8", NULL);
}

/* --- all together --- */

static const char *const taken_as_they_are[] = {"assert", "error",    "ipairs",   "select",
                                                "type",   "rawequal", "_VERSION", NULL};

static const luaL_Reg base_functions[] = {{"tostring", base_tostring},
                                          {"print", base_print},
                                          {"pcall", base_pcall},
                                          {"xpcall", base_xpcall},
                                          {"pairs", keys_pairs},
                                          {"next", keys_next},
                                          {"getmetatable", base_getmetatable},
                                          {"setmetatable", base_setmetatable},
                                          {"rawget", base_rawget},
                                          {"rawset", base_rawset},
                                          {"rawlen", base_rawlen},
                                          {"list", base_list},
                                          {"decimal", decimal_make},
                                          {NULL, NULL}};

static int env_refuse(lua_State *lua)
{
    return vm_raise(lua, FAULT_SCRIPT, 1, "globals cannot be changed");
}

void sandbox_open(lua_State *lua)
{
    lua_newtable(lua); /* the environment */
    for (const char *const *name = taken_as_they_are; *name; name++) {
        lua_getglobal(lua, *name);
        lua_setfield(lua, -2, *name);
    }
    luaL_setfuncs(lua, base_functions, 0);
    lua_getglobal(lua, "tonumber");
    lua_pushcclosure(lua, base_tonumber, 1);
    lua_setfield(lua, -2, "tonumber");
    moments_push_library(lua); /* days … into the environment, time on top */
    lua_setfield(lua, -2, "time");
    strings_push_library(lua);
    lua_setfield(lua, -2, "string");
    tables_push_library(lua);
    lua_setfield(lua, -2, "table");
    maths_push_library(lua);
    lua_setfield(lua, -2, "math");
    push_utf8(lua);
    lua_setfield(lua, -2, "utf8");
    /* Contexts reach it through the __index of their own environment; scripts never hold it. */
    lua_newtable(lua);
    lua_pushcfunction(lua, env_refuse);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    vm_of(lua)->script_env = luaL_ref(lua, LUA_REGISTRYINDEX);
    /* The prelude walks tables in the same order. */
    lua_pushcfunction(lua, keys_pairs);
    lua_setglobal(lua, "pairs");
    lua_pushcfunction(lua, keys_next);
    lua_setglobal(lua, "next");
}

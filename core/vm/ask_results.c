/* What lua/ask_events.lua sees of C, and where its functions go: plots, files, projections of queries. */
#include <lauxlib.h>

#include "codec/time.h"
#include "vm/ask_events.h"
#include "vm/value.h"

static int host_parts(lua_State *lua)
{
    return ask_query_push(lua, 1);
}

static int host_rows(lua_State *lua)
{
    ask_query_push_rows(lua, ask_of(lua), 1);
    return 1;
}

static int host_tell(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    buf_clear(&ask->line);
    ask_put_json(lua, 1, &ask->line, ask->value_size_max);
    ask_tell(lua, ask, buf_slice(&ask->line));
    return 0;
}

static int host_tell_row(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    buf_clear(&ask->line);
    buf_put_text(&ask->line, "{\"row\":");
    ask_put_json(lua, 1, &ask->line, ask->value_size_max);
    buf_put_byte(&ask->line, '}');
    ask_tell(lua, ask, buf_slice(&ask->line));
    return 0;
}

static int host_tell_rows(lua_State *lua)
{
    bool more;
    lua_pushinteger(lua, (lua_Integer)ask_query_tell_rows(lua, ask_of(lua), 1, UINT64_MAX, &more));
    return 1;
}

/* shown(name, show, becomes): a metatable. */
static int host_shown(lua_State *lua)
{
    lua_settop(lua, 3);
    lua_createtable(lua, 0, 4);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "__name");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pushvalue(lua, 2);
    lua_rawsetp(lua, -2, &ask_show_key);
    lua_pushvalue(lua, 3);
    lua_rawsetp(lua, -2, &ask_it_key);
    return 1;
}

/* --- which query a result is of --- */

static const char origins_key = 'o'; /* result -> { query, end, f }, as long as the result lives */

static void add_origins(lua_State *lua)
{
    lua_newtable(lua);
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "k");
    lua_setfield(lua, -2, "__mode");
    lua_setmetatable(lua, -2);
    lua_rawsetp(lua, LUA_REGISTRYINDEX, &origins_key);
}

void ask_result_remember(lua_State *lua, const char *end, int function)
{
    int result = lua_gettop(lua);
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &origins_key);
    lua_pushvalue(lua, result);
    lua_createtable(lua, 3, 0);
    lua_pushvalue(lua, 1);
    lua_rawseti(lua, -2, 1);
    lua_pushstring(lua, end);
    lua_rawseti(lua, -2, 2);
    if (function) {
        lua_pushvalue(lua, function);
        lua_rawseti(lua, -2, 3);
    }
    lua_rawset(lua, -3);
    lua_settop(lua, result);
}

/* origin(result): its query, the name of its end, the function of that. */
static int host_origin(lua_State *lua)
{
    lua_settop(lua, 1);
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &origins_key);
    lua_pushvalue(lua, 1);
    if (lua_isnil(lua, 1) || lua_rawget(lua, 2) != LUA_TTABLE) return 0;
    for (lua_Integer at = 1; at <= 3; at++) lua_rawgeti(lua, 3, at);
    return 3;
}

/* compile("function(e) … end"): in the session's globals. */
static int host_compile(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    struct slice text = ask_text(lua, 1, "a text");
    struct fault ignored;
    buf_clear(&ask->bytes);
    buf_put_text(&ask->bytes, "return ");
    buf_put_slice(&ask->bytes, text);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask->env_ref);
    if (vm_load(ask->domain->vm, buf_slice(&ask->bytes), "repl", -1, &ignored) < 0) return 0;
    lua_call(lua, 0, 1); /* makes the function and runs nothing of it */
    return 1;
}

static int host_time(lua_State *lua)
{
    int64_t ms;
    char text[TIME_TEXT_SIZE + 1];
    if (!time_parse(ask_text(lua, 1, "a time"), &ms)) return 0;
    time_format(ms, text);
    lua_pushlstring(lua, text, TIME_TEXT_SIZE);
    return 1;
}

static int host_is_list(lua_State *lua)
{
    lua_pushboolean(lua, lua_rawlen(lua, 1) > 0 || value_is_list_mark(lua, 1));
    return 1;
}

static int host_list(lua_State *lua)
{
    lua_settop(lua, 1);
    if (lua_rawlen(lua, 1) == 0) value_mark_list(lua, 1);
    return 1;
}

void ask_result_mark(struct ask *ask)
{
    lua_State *lua = ask->domain->vm->lua;
    if (ask->events_ref == LUA_NOREF) return;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask->events_ref);
    lua_getfield(lua, -1, "result_meta");
    lua_setmetatable(lua, -3);
    lua_pop(lua, 1);
}

int ask_result_call(lua_State *lua, struct ask *ask, const char *name)
{
    if (ask->events_ref == LUA_NOREF) return vm_raise(lua, FAULT_SCRIPT, 1, "there is no :%s here", name);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask->events_ref);
    lua_getfield(lua, -1, name);
    lua_remove(lua, -2);
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 1);
    return 1;
}

void ask_events_remember(struct ask *ask, struct slice source)
{
    lua_State *lua = ask->domain->vm->lua;
    if (ask->events_ref == LUA_NOREF) return;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask->events_ref);
    lua_getfield(lua, -1, "remember");
    lua_pushlstring(lua, source.data, source.size);
    lua_call(lua, 1, 0);
    lua_pop(lua, 1);
}

/* From the file's functions into the table at index. */
static void copy_functions(lua_State *lua, int module, int to, const char *const *names)
{
    for (; *names; names++) {
        lua_getfield(lua, module, *names);
        lua_setfield(lua, to, *names);
    }
}

void ask_add_results(struct ask *ask, int words, int methods)
{
    static const luaL_Reg functions[] = {{"parts", host_parts},
                                         {"rows", host_rows},
                                         {"counts", ask_query_counts},
                                         {"tell", host_tell},
                                         {"tell_row", host_tell_row},
                                         {"tell_rows", host_tell_rows},
                                         {"shown", host_shown},
                                         {"compile", host_compile},
                                         {"time", host_time},
                                         {"is_list", host_is_list},
                                         {"list", host_list},
                                         {"origin", host_origin},
                                         {"documents", ask_documents_push_list},
                                         {NULL, NULL}};
    static const char *const of_words[] = {"projection_from", "plot", "save", NULL}, *const of_queries[] = {
                                                                                         "plot", "save",
                                                                                         NULL};
    lua_State *lua = ask->domain->vm->lua;
    add_origins(lua);
    lua_newtable(lua);
    ask_set_functions(ask, functions);
    lua_pushnil(lua);
    ask_run_prelude(ask, "ask_events", lua_gettop(lua) - 1, lua_gettop(lua));
    int module = lua_gettop(lua);
    copy_functions(lua, module, words, of_words);
    copy_functions(lua, module, methods, of_queries);
    ask->events_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_pop(lua, 2);
}

/* The life of a session's questions: its globals, evaluation, what is told. */
#include "vm/ask.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "codec/json.h"
#include "vm/ask_core.h"
#include "vm/ask_events.h"
#include "vm/nearest.h"
#include "vm/readonly.h"
#include "vm/sandbox.h"

enum {
    VALUE_SIZE_MAX = 16 << 20,
    TIDY_STEP_KB = 1024,
    ROOM_LEAST = 1 << 20 /* what a session that kept too much must have left, or it loses its variables */
};

const char ask_show_key = 's', ask_it_key = 'i';

/* --- for the files of words --- */

void ask_set_functions(struct ask *ask, const luaL_Reg *functions)
{
    lua_State *lua = ask->domain->vm->lua;
    lua_pushlightuserdata(lua, ask);
    luaL_setfuncs(lua, functions, 1);
}

/* Upvalues: what the table is. */
static int missing_field(lua_State *lua)
{
    struct slice name = SLICE_NONE;
    const char *what = lua_tostring(lua, lua_upvalueindex(1));
    if (lua_type(lua, 2) != LUA_TSTRING)
        return vm_raise(lua, FAULT_SCRIPT, 1, "%s has only named fields", what);
    name.data = lua_tolstring(lua, 2, &name.size);
    struct nearest near = nearest_to(name);
    for (lua_pushnil(lua); lua_next(lua, 1); lua_pop(lua, 1)) {
        struct slice other = SLICE_NONE;
        other.data = lua_tolstring(lua, -2, &other.size);
        nearest_offer(&near, other);
    }
    struct slice found = nearest_found(&near);
    return vm_raise(lua, FAULT_SCRIPT, 1, "%s has no %.*s%s%.*s%s", what, SLICE_ARGS(name),
                    found.size ? ": did you mean " : "", SLICE_ARGS(found), found.size ? "?" : "");
}

/* Reading what is not in the table on top of the stack is an error that names the nearest. */
static void name_missing(lua_State *lua, const char *what)
{
    lua_createtable(lua, 0, 1);
    lua_pushstring(lua, what);
    lua_pushcclosure(lua, missing_field, 1);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
}

void ask_push_meta(struct ask *ask, const char *name, const luaL_Reg *metamethods, const luaL_Reg *methods)
{
    lua_State *lua = ask->domain->vm->lua;
    if (luaL_getmetatable(lua, name) != LUA_TNIL) return;
    lua_pop(lua, 1);
    lua_newtable(lua);
    lua_pushstring(lua, name);
    lua_setfield(lua, -2, "__name");
    if (metamethods) ask_set_functions(ask, metamethods);
    if (methods) {
        lua_newtable(lua);
        ask_set_functions(ask, methods);
        if (metamethods) name_missing(lua, name);
        lua_setfield(lua, -2, "__index");
    }
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_pushvalue(lua, -1); /* found from now on: whatever failed on the way, a half of it is not */
    lua_setfield(lua, LUA_REGISTRYINDEX, name);
}

void ask_seal(struct ask *ask, const char *what)
{
    lua_State *lua = ask->domain->vm->lua;
    name_missing(lua, what);
    readonly_library(lua, what, NULL);
}

int ask_raise(lua_State *lua, const struct fault *fault)
{
    return vm_raise(lua, fault->code, fault->code != FAULT_CANCELLED, "%s", fault->text);
}

void ask_tell(lua_State *lua, struct ask *ask, struct slice line)
{
    struct fault fault;
    vm_spend(lua, 1000);
    if (ask->host->tell(ask->host->user, line, &fault) < 0) vm_raise(lua, fault.code, 0, "%s", fault.text);
}

struct slice ask_text(lua_State *lua, int index, const char *what)
{
    struct slice text = SLICE_NONE;
    char given[128];
    if (lua_isinteger(lua, index)) lua_tolstring(lua, index, NULL); /* in place */
    if (lua_type(lua, index) != LUA_TSTRING)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s is a text or an integer, got %s", what,
                 domain_describe_value(lua, index, given));
    text.data = lua_tolstring(lua, index, &text.size);
    return text;
}

/* --- globals --- */

/* What is assigned goes into an empty table; what is read and not there is looked up in the words, and then
 * in the sandbox. */
static int make_env(lua_State *lua)
{
    struct ask *ask = lua_touserdata(lua, 1);
    luaL_unref(lua, LUA_REGISTRYINDEX, ask->env_ref);
    ask->env_ref = LUA_NOREF;
    lua_newtable(lua);
    lua_createtable(lua, 0, 2);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask->words_ref);
    lua_setfield(lua, -2, "__index");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, -2);
    ask->env_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

static int make_words(lua_State *lua)
{
    struct ask *ask = lua_touserdata(lua, 1);
    lua_newtable(lua);
    ask_add_words(ask);
    ask_add_views(ask);
    ask_add_insight(ask);
    lua_createtable(lua, 0, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask->domain->vm->script_env);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
    ask->words_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    ask_open_reference(ask);
    return 0;
}

int ask_open(const struct ask_options *options, struct ask **opened, struct fault *fault)
{
    struct ask *ask = MEM_NEW(struct ask);
    struct vm *vm = options->domain->vm;
    ask->domain = options->domain;
    ask->host = options->host;
    ask->leash = (struct vm_leash){.cancelled = options->cancelled};
    ask->seconds = options->seconds;
    ask->value_size_max = options->value_size_max ? options->value_size_max : VALUE_SIZE_MAX;
    ask->env_ref = ask->words_ref = ask->module_ref = ask->events_ref = LUA_NOREF;
    int top = lua_gettop(vm->lua);
    if (vm_protected(vm, make_words, ask, fault) < 0 || vm_protected(vm, make_env, ask, fault) < 0) {
        ask_close(ask);
        return -1;
    }
    lua_settop(vm->lua, top);
    *opened = ask;
    return 0;
}

void ask_close(struct ask *ask)
{
    if (!ask) return;
    buf_release(&ask->bytes);
    buf_release(&ask->cursor);
    buf_release(&ask->source);
    buf_release(&ask->line);
    mem_free(ask);
}

/* --- evaluation --- */

struct evaluation {
    struct ask *ask;
    struct slice source;
    struct buf *value;
    enum ask_end end;
};

static bool ends_early(const struct fault *fault)
{
    size_t size = strlen(fault->text);
    return size >= 5 && strcmp(fault->text + size - 5, "<eof>") == 0 &&
           !strstr(fault->text, "unfinished string"); /* which no further line can end */
}

/* The line that a fault of a chunk names ("repl:2: …"). */
static long fault_line(const struct fault *fault)
{
    const char *colon = strchr(fault->text, ':');
    return colon ? strtol(colon + 1, NULL, 10) : 0;
}

/* Whether what is wrong is the very first thing of the source: "… near '{'". */
static bool is_at_begin(const struct fault *fault, struct slice source)
{
    static const char spaces[] = " \t\r\n";
    const char *near = strstr(fault->text, " near '");
    while (source.size && strchr(spaces, source.data[0]))
        source = slice_make(source.data + 1, source.size - 1);
    if (!near || source.size == 0) return false;
    near += strlen(" near '");
    size_t size = strlen(near);
    return size > 1 && size - 1 <= source.size && memcmp(near, source.data, size - 1) == 0;
}

/* Of the two readings that failed the one that got further is likely what was meant. */
static const struct fault *better_fault(const struct fault *expression, const struct fault *statements,
                                        struct slice source)
{
    long one = fault_line(expression), other = fault_line(statements);
    if (one != other) return one > other ? expression : statements;
    return is_at_begin(statements, source) ? expression : statements;
}

/* Pushes the function; false if more must follow. As an expression first, then as statements. */
static bool load_source(lua_State *lua, struct evaluation *evaluation)
{
    struct ask *ask = evaluation->ask;
    struct fault expression, statements;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask->env_ref);
    int env = lua_gettop(lua);
    buf_clear(&ask->source);
    buf_put_text(&ask->source, "return ");
    buf_put_slice(&ask->source, evaluation->source);
    if (vm_load(ask->domain->vm, buf_slice(&ask->source), "repl", env, &expression) == 0) return true;
    if (vm_load(ask->domain->vm, evaluation->source, "repl", env, &statements) == 0) return true;
    if (ends_early(&expression) || ends_early(&statements)) return false;
    const struct fault *fault = better_fault(&expression, &statements, evaluation->source);
    vm_raise(lua, fault->code, 0, "%s", fault->text);
    return false;
}

/* Pushes what is in the metatable of the value at index under the key; false: no such function. */
static bool push_own_function(lua_State *lua, int index, const char *key)
{
    if (!lua_getmetatable(lua, index)) return false;
    bool has = lua_rawgetp(lua, -1, key) == LUA_TFUNCTION;
    lua_remove(lua, -2);
    if (!has) lua_pop(lua, 1);
    return has;
}

/* The value at index becomes `it`, or what it was made of: a plot is not worth keeping, what is drawn is. */
static void set_it(lua_State *lua, const struct ask *ask, int index)
{
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask->env_ref);
    bool in_place = push_own_function(lua, index, &ask_it_key);
    lua_pushvalue(lua, index);
    if (in_place) lua_call(lua, 1, 1);
    if (in_place && lua_isnil(lua, -1))
        lua_pop(lua, 1);
    else
        lua_setfield(lua, -2, "it");
    lua_pop(lua, 1);
}

/* Replaces the value on top of the stack by what is shown of it; false: it has told that itself. */
static bool push_shown(lua_State *lua)
{
    if (!push_own_function(lua, -1, &ask_show_key)) return true;
    int top = lua_gettop(lua);
    lua_insert(lua, -2);
    lua_call(lua, 1, LUA_MULTRET);
    return lua_gettop(lua) >= top - 1;
}

/* Its results are on the stack from first on. The first one becomes `it`; several are shown as a list. */
static void take_results(lua_State *lua, struct evaluation *evaluation, int first)
{
    struct ask *ask = evaluation->ask;
    int count = lua_gettop(lua) - first + 1;
    evaluation->end = ASK_NONE;
    if (count <= 0) return;
    set_it(lua, ask, first);
    if (count == 1 && !push_shown(lua)) return;
    if (count == 1) {
        ask_put_json(lua, first, evaluation->value, ask->value_size_max);
    } else {
        buf_put_byte(evaluation->value, '[');
        for (int at = 0; at < count; at++) {
            if (at) buf_put_byte(evaluation->value, ',');
            ask_put_json(lua, first + at, evaluation->value, ask->value_size_max);
        }
        buf_put_byte(evaluation->value, ']');
    }
    evaluation->end = ASK_VALUE;
}

static int evaluate(lua_State *lua)
{
    struct evaluation *evaluation = lua_touserdata(lua, 1);
    if (!load_source(lua, evaluation)) {
        evaluation->end = ASK_INCOMPLETE;
        return 0;
    }
    int function = lua_gettop(lua);
    ask_events_remember(evaluation->ask, evaluation->source);
    lua_call(lua, 0, LUA_MULTRET);
    luaL_checkstack(lua, 8, NULL);
    take_results(lua, evaluation, function);
    return 0;
}

/* Variables that leave no room for another question are let go. */
static void make_room(struct ask *ask)
{
    static const char told[] =
        "{\"print\":\"the variables of this session are gone: they took all of its memory\"}";
    struct vm *vm = ask->domain->vm;
    struct fault ignored;
    lua_gc(vm->lua, LUA_GCCOLLECT);
    if (vm->memory_used + ROOM_LEAST < vm->memory_max) return;
    luaL_unref(vm->lua, LUA_REGISTRYINDEX, ask->env_ref);
    ask->env_ref = LUA_NOREF;
    lua_gc(vm->lua, LUA_GCCOLLECT);
    if (vm_protected(vm, make_env, ask, &ignored) == 0)
        ask->host->tell(ask->host->user, slice_of(told), &ignored);
}

bool ask_tidy(struct ask *ask)
{
    struct vm *vm = ask->domain->vm;
    if (ask->is_tidy) return false;
    ask->is_tidy = lua_gc(vm->lua, LUA_GCSTEP, TIDY_STEP_KB) != 0;
    if (!ask->is_tidy) return true;
    blocks_trim(&vm->blocks);
    malloc_trim(0);
    return false;
}

void ask_begin(struct ask *ask, int64_t seconds)
{
    ask->is_tidy = false;
    ask->leash.seconds = seconds;
    ask->leash.until_ns = clock_monotonic_ns() + seconds * 1000000000LL;
    ask->domain->vm->leash = &ask->leash;
}

void ask_end_call(struct ask *ask)
{
    ask->domain->vm->leash = NULL;
    buf_release(&ask->bytes);
    buf_release(&ask->line);
    buf_release(&ask->cursor);
    buf_release(&ask->source);
}

enum ask_end ask_evaluate(struct ask *ask, struct slice source, size_t rows, struct buf *value,
                          struct fault *fault)
{
    struct evaluation evaluation = {.ask = ask, .source = source, .value = value};
    struct vm *vm = ask->domain->vm;
    size_t begin = value->size;
    ask->rows = rows;
    ask_begin(ask, ask->seconds);
    lua_pushcfunction(vm->lua, evaluate);
    lua_pushlightuserdata(vm->lua, &evaluation);
    int done = vm_call(vm, 1, 0, fault);
    ask_end_call(ask);
    if (done == 0) return evaluation.end;
    value->size = begin;
    if (fault->code == FAULT_SCRIPT) ask_add_meant(ask, fault);
    if (vm->memory_used + ROOM_LEAST > vm->memory_max && fault->code == FAULT_BUDGET) make_room(ask);
    return ASK_FAILED;
}

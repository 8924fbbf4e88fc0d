/* What lua/loader.lua sees of C, and the list of what is wrong. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "codec/cron.h"
#include "codec/text.h"
#include "codec/time.h"
#include "vm/loader_core.h"
#include "vm/moments.h"
#include "vm/nearest.h"
#include "vm/prelude.h"
#include "vm/readonly.h"
#include "vm/sandbox.h"
#include "vm/value.h"

/* --- problems --- */

void loader_note(struct loader *loader, struct loader_problems *problems, struct slice path, int line,
                 struct slice text, bool from_run)
{
    if (problems == &loader->errors && loader->on_demand_later && !loader->foreign) {
        const struct source *source = sources_find(loader->sources, path);
        if (source && source->kind == SOURCE_ON_DEMAND) problems = &loader->later;
    }
    if (problems->count == problems->size_max) {
        problems->size_max = problems->size_max ? problems->size_max * 2 : 16;
        problems->items = mem_resize(problems->items, problems->size_max * sizeof *problems->items);
    }
    problems->items[problems->count++] = (struct loader_problem){.path = arena_copy(&loader->arena, path),
                                                                 .text = arena_copy(&loader->arena, text),
                                                                 .line = line,
                                                                 .foreign = loader->foreign,
                                                                 .from_run = from_run};
}

void loader_note_fault(struct loader *loader, struct slice path, const struct fault *fault)
{
    const char *text = fault->text;
    for (const char *at = strchr(text, ':'); at != NULL; at = strchr(at + 1, ':')) {
        char *end;
        long line = strtol(at + 1, &end, 10);
        bool placed = at[1] >= '0' && at[1] <= '9' && end[0] == ':' && end[1] == ' ';
        if (!placed) continue;
        struct slice found = slice_make(text, (size_t)(at - text));
        if (!loader->foreign && sources_find(loader->sources, found) == NULL) break;
        loader_note(loader, &loader->errors, found, (int)line, slice_of(end + 2), true);
        return;
    }
    loader_note(loader, &loader->errors, path, 1, slice_of(fault->text), true);
}

static int compare_problems(const void *a, const void *b)
{
    const struct loader_problem *one = a, *other = b;
    int order = slice_compare(one->path, other->path);
    if (order != 0) return order;
    if (one->line != other->line) return one->line < other->line ? -1 : 1;
    if (one->from_run != other->from_run) return one->from_run ? 1 : -1;
    return slice_compare(one->text, other->text);
}

size_t loader_put_problems(const struct loader *loader, struct loader_problems *problems, struct buf *out)
{
    size_t count = 0;
    if (problems->count > 1)
        qsort(problems->items, problems->count, sizeof *problems->items, compare_problems);
    for (size_t i = 0; i < problems->count; i++) {
        const struct loader_problem *problem = &problems->items[i], *before = problem - 1;
        if (i > 0 && slice_equal(problem->path, before->path) && problem->line == before->line &&
            (problem->from_run || slice_equal(problem->text, before->text)))
            continue;
        if (!problem->foreign) buf_format(out, "%s/", sources_dir(loader->sources));
        buf_format(out, "%.*s:%d: ", SLICE_ARGS(problem->path), problem->line);
        for (size_t j = 0; j < problem->text.size; j++) /* one line each */
            buf_put_byte(out, problem->text.data[j] == '\n' ? ' ' : (uint8_t)problem->text.data[j]);
        buf_put_byte(out, '\n');
        count++;
    }
    return count;
}

/* --- the functions of host --- */

static struct loader *loader_of(lua_State *lua)
{
    return lua_touserdata(lua, lua_upvalueindex(1));
}

static int host_report(lua_State *lua)
{
    struct loader *loader = loader_of(lua);
    loader_note(loader, &loader->errors, vm_text_at(lua, 1), (int)luaL_checkinteger(lua, 2),
                vm_text_at(lua, 3), false);
    return 0;
}

static int host_warn(lua_State *lua)
{
    struct loader *loader = loader_of(lua);
    loader_note(loader, &loader->warnings, vm_text_at(lua, 1), (int)luaL_checkinteger(lua, 2),
                vm_text_at(lua, 3), false);
    return 0;
}

static int host_encode(lua_State *lua)
{
    struct loader *loader = loader_of(lua);
    buf_clear(&loader->scratch);
    value_encode(lua, 1, &loader->scratch, luaL_checkstring(lua, 2), loader->document_size_max);
    lua_pushlstring(lua, loader->scratch.data, loader->scratch.size);
    return 1;
}

static int host_is_decimal(lua_State *lua)
{
    lua_pushboolean(lua, value_is_decimal(lua, 1));
    return 1;
}

static int host_is_name(lua_State *lua)
{
    lua_pushboolean(lua, text_is_name(vm_text_at(lua, 1)));
    return 1;
}

static int host_read_only(lua_State *lua)
{
    return readonly_push_target(lua, 1) ? 1 : 0;
}

/* Lua's own: what the walk of freeze does must not depend on keys having an order. */
static int host_next(lua_State *lua)
{
    lua_settop(lua, 2);
    if (lua_next(lua, 1)) return 2;
    lua_pushnil(lua);
    return 1;
}

static int host_text(lua_State *lua)
{
    luaL_checkany(lua, 1);
    sandbox_push_text(lua, 1);
    return 1;
}

static int host_freeze(lua_State *lua)
{
    readonly_freeze(lua, 1);
    return 0;
}

static int host_add_message(lua_State *lua)
{
    const struct contract_message *message = contracts_add(loader_of(lua)->contracts, lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, message->constructor);
    return 1;
}

static int host_fail_silently(lua_State *lua)
{
    return vm_raise(lua, FAULT_INTERNAL, 0, "a module that it requires did not load");
}

/* compile(path, env): the chunk of the first pass, or a new one if that is used already. */
static int host_compile(lua_State *lua)
{
    struct loader *loader = loader_of(lua);
    const struct source *source = sources_find(loader->sources, vm_text_at(lua, 1));
    CHECK(source != NULL);
    struct loader_file *file = &loader->files[source - sources_at(loader->sources, 0)];
    if (file->chunk != LUA_NOREF) {
        lua_rawgeti(lua, LUA_REGISTRYINDEX, file->chunk);
        luaL_unref(lua, LUA_REGISTRYINDEX, file->chunk);
        file->chunk = LUA_NOREF;
        lua_pushvalue(lua, 2);
        lua_setupvalue(lua, -2, 1);
        return 1;
    }
    struct fault fault;
    if (vm_load(loader->vm, source->text, source->path.data, 2, &fault) < 0)
        return vm_raise(lua, fault.code, 0, "%s", fault.text);
    return 1;
}

/* Of a task's options: a duration or its text, and a time, in milliseconds; nil if it is none. */
static int host_duration(lua_State *lua)
{
    int64_t ms;
    lua_settop(lua, 1);
    if (!moments_take_duration(lua, 1, &ms)) return 0;
    lua_pushinteger(lua, ms);
    return 1;
}

static int host_time(lua_State *lua)
{
    int64_t ms;
    if (lua_type(lua, 1) != LUA_TSTRING || !time_parse(vm_text_at(lua, 1), &ms)) return 0;
    lua_pushinteger(lua, ms);
    return 1;
}

/* What is wrong with it, or nil. */
static int host_cron_problem(lua_State *lua)
{
    struct cron cron;
    struct fault fault;
    if (cron_parse(vm_text_at(lua, 1), &cron, &fault) == 0) return 0;
    lua_pushstring(lua, fault.text);
    return 1;
}

static int host_zone_problem(lua_State *lua)
{
    struct zone *zone;
    struct fault fault;
    if (zone_open(vm_text_at(lua, 1), &zone, &fault) == 0) {
        zone_free(zone);
        return 0;
    }
    lua_pushstring(lua, fault.text);
    return 1;
}

static const luaL_Reg host_functions[] = {{"report", host_report},
                                          {"warn", host_warn},
                                          {"nearest", nearest_of_list},
                                          {"encode", host_encode},
                                          {"is_decimal", host_is_decimal},
                                          {"is_name", host_is_name},
                                          {"read_only", host_read_only},
                                          {"next", host_next},
                                          {"text", host_text},
                                          {"freeze", host_freeze},
                                          {"add_message", host_add_message},
                                          {"fail_silently", host_fail_silently},
                                          {"compile", host_compile},
                                          {"duration", host_duration},
                                          {"time", host_time},
                                          {"cron_problem", host_cron_problem},
                                          {"zone_problem", host_zone_problem},
                                          {NULL, NULL}};

/* Pushes what the prelude file returns. host and modules: stack indexes of its two arguments. */
static void run_prelude(struct loader *loader, const char *name, int host, int module_table)
{
    lua_State *lua = loader->vm->lua;
    const struct prelude_file *file = prelude_find(name);
    CHECK(file != NULL);
    char chunk[64];
    snprintf(chunk, sizeof chunk, "=lua/%s.lua", name); /* "=": never blamed as a script */
    struct fault fault;
    lua_pushglobaltable(lua);
    if (vm_load(loader->vm, slice_make(file->text, file->size), chunk, -1, &fault) < 0)
        vm_raise(lua, fault.code == FAULT_BUDGET ? FAULT_BUDGET : FAULT_INTERNAL, 0, "%s", fault.text);
    lua_pushvalue(lua, host);
    lua_pushvalue(lua, module_table);
    lua_call(lua, 2, 1);
    lua_remove(lua, -2);
}

int loader_open_prelude(lua_State *lua)
{
    struct loader *loader = lua_touserdata(lua, 1);
    luaL_newlibtable(lua, host_functions);
    lua_pushlightuserdata(lua, loader);
    luaL_setfuncs(lua, host_functions, 1);
    lua_newtable(lua);
    run_prelude(loader, "sorted_keys", 2, 3);
    lua_setfield(lua, 3, "sorted_keys");
    run_prelude(loader, "contracts", 2, 3);
    lua_setfield(lua, 3, "contracts");
    run_prelude(loader, "outlive", 2, 3);
    lua_setfield(lua, 3, "outlive");
    run_prelude(loader, "words", 2, 3);
    lua_setfield(lua, 3, "words");
    run_prelude(loader, "loader", 2, 3);
    loader->module = luaL_ref(lua, LUA_REGISTRYINDEX);
    loader_push(loader, "begin");
    lua_rawgeti(lua, LUA_REGISTRYINDEX, loader->vm->script_env);
    if (loader->globals == LUA_NOREF)
        lua_newtable(lua);
    else
        lua_rawgeti(lua, LUA_REGISTRYINDEX, loader->globals);
    lua_pushstring(lua, sources_dir(loader->sources));
    lua_call(lua, 3, 0);
    return 0;
}

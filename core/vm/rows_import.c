/* The words send and record of an import script, and the call of its function for one row.
 *
 * What a row sends is gathered first and handed to the sink when the function has ended well: a row counts as
 * a whole or not at all. */
#include <lauxlib.h>

#include "base/mem.h"
#include "codec/text.h"
#include "codec/time.h"
#include "vm/dotted.h"
#include "vm/sends.h"
#include "vm/value.h"

struct rows_import {
    struct domain *domain;
    int function, globals_ref;
    struct slice context;
    bool running;
    struct slice row;
    struct arena arena; /* of the calls of one row */
    struct import_call *calls;
    size_t count, size_max;
};

void rows_import_free(struct rows_import *import)
{
    if (!import) return;
    arena_release(&import->arena);
    mem_free(import->calls);
    mem_free(import);
}

/* { at = …, id = … } */
static void read_options(lua_State *lua, int index, const char *word, struct import_call *call,
                         struct arena *arena)
{
    if (lua_isnoneornil(lua, index)) return;
    if (lua_type(lua, index) != LUA_TTABLE)
        vm_raise(lua, FAULT_SCRIPT, 1, "the options of %s must be a table such as { at = row.time }", word);
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        bool is_text = lua_type(lua, -1) == LUA_TSTRING;
        struct slice name = lua_type(lua, -2) == LUA_TSTRING ? vm_text_at(lua, -2) : slice_of("?");
        if (slice_is(name, "at")) {
            if (!is_text || !time_parse(vm_text_at(lua, -1), &call->at_ms)) {
                char given[128];
                vm_raise(lua, FAULT_SCRIPT, 1, "%s: at must be a time, got %s", word,
                         domain_describe_value(lua, -1, given));
            }
            call->has_at = true;
        } else if (slice_is(name, "id")) {
            if (!is_text || !text_is_id(vm_text_at(lua, -1)))
                vm_raise(lua, FAULT_SCRIPT, 1, "%s: id must be a text of 1 to %d bytes without '/'", word,
                         LIMIT_ID_SIZE_MAX);
            call->command_id = arena_copy(arena, vm_text_at(lua, -1));
        } else {
            vm_raise(lua, FAULT_SCRIPT, 1, "%s has no option %.*s, only at and id", word, SLICE_ARGS(name));
        }
        lua_pop(lua, 1);
    }
}

/* record.fine: the event of its context at index; its data is pushed. */
static const struct contract_message *read_event(lua_State *lua, int index, const struct sends_target *target,
                                                 const char *word)
{
    const struct contract_message *message = contract_message_of(lua, index);
    if (!message) {
        char given[128];
        vm_raise(lua, FAULT_SCRIPT, 1, "%s takes an event such as Name { … }, got %s", word,
                 domain_describe_value(lua, index, given));
    }
    if (!slice_equal(message->context, target->context))
        vm_raise(lua, FAULT_SCRIPT, 1, "%s takes messages of its context, not %s.%s", word,
                 message->context.data, message->name.data);
    if (!message->is_event)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s takes an event, got the command %s", word, message->name.data);
    return message;
}

/* send.fine(id, Message {…}, options). Upvalues: the import, the aggregate, whether it is record,
 * "send.fine". */
static int word_call(lua_State *lua)
{
    struct rows_import *import = lua_touserdata(lua, lua_upvalueindex(1));
    struct sends_target target = sends_target_of(lua_touserdata(lua, lua_upvalueindex(2)), false);
    bool is_fact = lua_toboolean(lua, lua_upvalueindex(3));
    const char *word = lua_tostring(lua, lua_upvalueindex(4));
    if (!import->running) vm_raise(lua, FAULT_SCRIPT, 1, "%s is only possible while a row is imported", word);
    lua_settop(lua, 3);
    struct import_call call = {.is_fact = is_fact, .context = target.context, .aggregate = target.name};
    const char *what = lua_pushfstring(lua, "the id of %s", word);
    call.id = arena_copy(&import->arena, sends_read_id(lua, 1, what));
    read_options(lua, 3, word, &call, &import->arena);
    const struct contract_message *message =
        is_fact ? read_event(lua, 2, &target, word) : sends_read_command(lua, 2, &target, word);
    call.type = message->name;
    call.type_version = message->version;
    call.data = sends_keep_data(import->domain, lua, message, &import->arena);
    if (import->count == import->size_max) {
        import->size_max = import->size_max ? import->size_max * 2 : 8;
        import->calls = mem_resize(import->calls, import->size_max * sizeof *import->calls);
    }
    import->calls[import->count++] = call;
    return 0;
}

/* send.NAME: made when it is first asked for. Upvalues: the import, whether it is record, "send", the table
 * of those made. */
static int word_index(lua_State *lua)
{
    struct rows_import *import = lua_touserdata(lua, lua_upvalueindex(1));
    const char *word = lua_tostring(lua, lua_upvalueindex(3));
    lua_settop(lua, 2);
    lua_pushvalue(lua, 2);
    if (lua_rawget(lua, lua_upvalueindex(4)) != LUA_TNIL) return 1;
    bool is_service;
    const void *aggregate =
        sends_find_target(lua, import->domain->loader, import->context, false, word, &is_service);
    lua_pushlightuserdata(lua, import);
    lua_pushlightuserdata(lua, (void *)(uintptr_t)aggregate);
    lua_pushvalue(lua, lua_upvalueindex(2));
    lua_pushfstring(lua, "%s.%s", word, lua_tostring(lua, 2));
    lua_pushcclosure(lua, word_call, 4);
    lua_pushvalue(lua, 2);
    lua_pushvalue(lua, -2);
    lua_rawset(lua, lua_upvalueindex(4));
    return 1;
}

/* Into the table on top of the stack. */
static void add_word(lua_State *lua, struct rows_import *import, const char *word, bool is_fact)
{
    lua_pushlightuserdata(lua, import);
    lua_pushboolean(lua, is_fact);
    lua_pushstring(lua, word);
    lua_newtable(lua);
    lua_pushcclosure(lua, word_index, 4);
    dotted_push(lua, word);
    lua_setfield(lua, -2, word);
}

static int make_globals(lua_State *lua)
{
    struct rows_import *import = lua_touserdata(lua, 1);
    lua_newtable(lua);
    add_word(lua, import, "send", false);
    add_word(lua, import, "record", true);
    import->globals_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

int domain_import_open(struct domain *domain, struct slice path, struct fault *fault)
{
    struct rows_import *import = MEM_NEW(struct rows_import);
    import->domain = domain;
    if (vm_protected(domain->vm, make_globals, import, fault) < 0 ||
        loader_load_on_demand(domain->loader, path, import->globals_ref, &import->function, &import->context,
                              fault) < 0) {
        rows_import_free(import);
        return -1;
    }
    rows_import_free(domain->import);
    domain->import = import;
    return 0;
}

static int run_row(lua_State *lua)
{
    struct rows_import *import = lua_touserdata(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, import->function);
    value_push(lua, import->row);
    lua_call(lua, 1, 0);
    return 0;
}

static int call_row(struct rows_import *import, struct fault *fault)
{
    struct vm *vm = import->domain->vm;
    import->count = 0;
    arena_reset(&import->arena);
    import->running = true;
    lua_pushcfunction(vm->lua, run_row);
    lua_pushlightuserdata(vm->lua, import);
    int result = vm_call(vm, 1, 0, fault);
    import->running = false;
    return result;
}

int domain_import_row(struct domain *domain, struct slice row,
                      int (*sink)(void *user, const struct import_call *call, struct fault *fault),
                      void *user, struct fault *fault)
{
    struct rows_import *import = domain->import;
    if (!import) return fault_set(fault, FAULT_USAGE, "no import script is open");
    struct vm *vm = domain->vm;
    import->row = row;
    struct fault wrong;
    int result = call_row(import, &wrong);
    if (result < 0 && vm->must_repeat && !vm->exact) {
        /* Nothing has left this call yet: it can be repeated here, under the exact count. */
        vm->exact = true;
        result = call_row(import, &wrong);
        vm->exact = false;
        vm->must_repeat = false;
    }
    if (result < 0) {
        if (fault) *fault = wrong;
        return -1;
    }
    for (size_t at = 0; at < import->count; at++)
        if (sink(user, &import->calls[at], fault) < 0) return -1;
    return 0;
}

/* test_vm_run.h: runs a text as a script in a sandboxed state. For the tests of vm/. */
#ifndef LORE_TESTS_VM_RUN_H
#define LORE_TESTS_VM_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vm/vm.h"

static inline struct vm *run_new(size_t memory_max)
{
    struct vm_options options = {.memory_max = memory_max};
    return vm_new(&options);
}

/* Pushes an environment as a context would have: its own table, reading the sandbox. */
static inline void run_push_env(struct vm *vm)
{
    lua_newtable(vm->lua);
    lua_newtable(vm->lua);
    lua_rawgeti(vm->lua, LUA_REGISTRYINDEX, vm->script_env);
    lua_setfield(vm->lua, -2, "__index");
    lua_setmetatable(vm->lua, -2);
}

/* Runs the text under the budget and leaves results values. */
static inline int run_text(struct vm *vm, const char *text, int results, struct fault *fault)
{
    run_push_env(vm);
    int env = lua_gettop(vm->lua);
    int result = vm_load(vm, slice_of(text), "test/script.lua", env, fault);
    lua_remove(vm->lua, env);
    if (result < 0) return -1;
    return vm_call(vm, 0, results, fault);
}

/* The script must end well. */
static inline void run_good(struct vm *vm, const char *text)
{
    struct fault fault = {0};
    if (run_text(vm, text, 0, &fault) < 0) fail_msg("%s\nin: %s", fault.text, text);
    assert_int_equal(lua_gettop(vm->lua), 0);
}

/* The script must fail with that code, and the text must contain what. */
static inline void run_bad(struct vm *vm, const char *text, enum fault_code code, const char *what)
{
    struct fault fault = {0};
    if (run_text(vm, text, 0, &fault) == 0) fail_msg("no error in: %s", text);
    if (fault.code != code || !strstr(fault.text, what))
        fail_msg("got %s \"%s\", wanted %s \"%s\" in: %s", fault_name(fault.code), fault.text,
                 fault_name(code), what, text);
    assert_int_equal(lua_gettop(vm->lua), 0);
}

#endif

/* failing_memory.h: the n-th allocation of a Lua state fails.
 *
 *     fail_after(vm, n);  ...  fail_no_more(vm);      failing.failed: there were as many */
#ifndef LORE_TESTS_FAILING_MEMORY_H
#define LORE_TESTS_FAILING_MEMORY_H

#include "vm/vm.h"

static struct {
    lua_Alloc real;
    void *user;
    long countdown; /* allocations until one fails, and its repetition after the collection with it */
    bool failed;
} failing;

static inline void *failing_allocate(void *user, void *block, size_t old_size, size_t size)
{
    bool grows = size > 0 && (block == NULL || size > old_size);
    if (grows && failing.countdown >= 0 && failing.countdown-- < 2) {
        failing.failed = true;
        return NULL;
    }
    return failing.real(failing.user, block, old_size, size);
}

static inline void fail_after(struct vm *vm, long count)
{
    failing.real = lua_getallocf(vm->lua, &failing.user);
    failing.countdown = count + 1;
    failing.failed = false;
    lua_setallocf(vm->lua, failing_allocate, failing.user);
}

static inline void fail_no_more(struct vm *vm)
{
    lua_setallocf(vm->lua, failing.real, failing.user);
}

#endif

/* Values kept from C: each is what was given for its handle, whatever was given back meanwhile, and running
 * out of memory takes none. */
#include "failing_memory.h"
#include "test_vm_run.h"

#include "base/rand.h"
#include "vm/handles.h"

enum { MANY = 3000, ROUNDS = 60000 };

struct job {
    struct handles handles;
    int handle;
    lua_Integer value;
};

static uint32_t draw(uint32_t below)
{
    uint32_t value;
    rand_bytes(&value, sizeof value);
    return value % below;
}

/* A table of its own with the number in it. */
static int take(lua_State *lua)
{
    struct job *job = lua_touserdata(lua, 1);
    lua_createtable(lua, 1, 0);
    lua_pushinteger(lua, job->value);
    lua_rawseti(lua, -2, 1);
    job->handle = handles_take(&job->handles, lua);
    assert_int_equal(lua_gettop(lua), 1);
    return 0;
}

static lua_Integer number_of(struct vm *vm, const struct job *job, int handle)
{
    handles_push(&job->handles, vm->lua, handle);
    lua_rawgeti(vm->lua, -1, 1);
    lua_Integer number = lua_tointeger(vm->lua, -1);
    lua_pop(vm->lua, 2);
    assert_int_equal(lua_gettop(vm->lua), 0);
    return number;
}

static void random_operations(void **state)
{
    struct vm *vm = run_new(0);
    struct job job = {.handle = HANDLE_NONE};
    static int handles[MANY];
    static lua_Integer values[MANY]; /* 0: not taken */
    for (lua_Integer n = 1; n <= ROUNDS; n++) {
        uint32_t at = draw(n % 20000 < 10000 ? MANY : MANY / 50);
        if (values[at]) {
            assert_int_equal(number_of(vm, &job, handles[at]), values[at]);
            handles_give(&job.handles, vm->lua, handles[at]);
            values[at] = 0;
        } else {
            job.value = n;
            assert_int_equal(vm_protected(vm, take, &job, NULL), 0);
            handles[at] = job.handle;
            values[at] = n;
        }
        if (n % 5000) continue;
        lua_gc(vm->lua, LUA_GCCOLLECT);
        for (at = 0; at < MANY; at++)
            if (values[at]) assert_int_equal(number_of(vm, &job, handles[at]), values[at]);
    }
    handles_give(&job.handles, vm->lua, HANDLE_NONE);
    handles_release(&job.handles);
    vm_free(vm);
}

static void given_back_is_collected(void **state)
{
    struct vm *vm = run_new(0);
    struct job job = {0};
    static int handles[MANY];
    for (int round = 0; round < 2; round++) {
        for (int at = 0; at < MANY; at++) {
            assert_int_equal(vm_protected(vm, take, &job, NULL), 0);
            handles[at] = job.handle;
            assert_in_range(job.handle, 0, MANY - 1);
        }
        lua_gc(vm->lua, LUA_GCCOLLECT);
        size_t kept = vm->memory_used;
        for (int at = 0; at < MANY; at++) handles_give(&job.handles, vm->lua, handles[at]);
        lua_gc(vm->lua, LUA_GCCOLLECT);
        assert_true(kept - vm->memory_used >= MANY * 16);
    }
    handles_release(&job.handles);
    vm_free(vm);
}

static void memory_runs_out(void **state)
{
    struct vm *vm = run_new(0);
    struct job job = {0};
    static int handles[MANY];
    int taken = 0, failures = 0;
    while (taken < MANY) {
        struct fault fault = {0};
        job.value = taken + 1;
        fail_after(vm, draw(8));
        int result = vm_protected(vm, take, &job, &fault);
        fail_no_more(vm);
        if (result == 0) {
            handles[taken++] = job.handle;
        } else {
            assert_int_equal(fault.code, FAULT_BUDGET);
            failures++;
        }
    }
    for (int at = 0; at < MANY; at++) assert_int_equal(number_of(vm, &job, handles[at]), at + 1);
    assert_true(failures > 100);
    handles_release(&job.handles);
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_operations),
                                       cmocka_unit_test(given_back_is_collected),
                                       cmocka_unit_test(memory_runs_out)};
    return cmocka_run_group_tests_name("vm/handles", tests, NULL, NULL);
}

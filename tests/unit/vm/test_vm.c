/* The state itself: calls, errors, faults, budgets, watchdog, memory. */
#include "test_vm_run.h"

#include "vm/value.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static int make(void **state)
{
    *state = run_new(0);
    vm_watchdog_start();
    return 0;
}

static int drop(void **state)
{
    vm_free(*state);
    vm_watchdog_stop();
    return 0;
}

static void results_come_back(void **state)
{
    struct vm *vm = *state;
    assert_int_equal(run_text(vm, "local a = 20 return a + 1, 'x'", 2, NULL), 0);
    assert_int_equal(lua_tointeger(vm->lua, -2), 21);
    assert_string_equal(lua_tostring(vm->lua, -1), "x");
    lua_settop(vm->lua, 0);
}

static void errors_name_the_line(void **state)
{
    struct vm *vm = *state;
    run_bad(vm, "\n\nerror('broken')", FAULT_SCRIPT, "test/script.lua:3: broken");
    run_bad(vm, "\nlocal a = nil + 1", FAULT_SCRIPT, "test/script.lua:2: attempt to perform arithmetic");
    run_bad(vm, "error({})", FAULT_SCRIPT, "test/script.lua:1: table");
    run_bad(vm, "\nerror('bare', 0)", FAULT_SCRIPT, "test/script.lua:2: bare");
    run_bad(vm, "error()", FAULT_SCRIPT, "test/script.lua:1: nil");
    run_bad(vm, "error(42)", FAULT_SCRIPT, "test/script.lua:1: 42");
    run_bad(vm, "error(setmetatable({}, {__tostring = function() return 'mine' end}))", FAULT_SCRIPT,
            "test/script.lua:1: mine");
    run_bad(vm, "assert(false)", FAULT_SCRIPT, "test/script.lua:1: assertion failed!");
    run_bad(vm, "error('a\\0b\\xff\\27c')", FAULT_SCRIPT, "script.lua:1: a?b??c");
    run_bad(vm, "x = = 1", FAULT_SCRIPT, "test/script.lua:1: unexpected symbol near '='");
    run_bad(vm, "string.rep()", FAULT_SCRIPT, "test/script.lua:1: bad argument #1 to 'rep'");
}

static void long_file_names_are_whole(void **state)
{
    struct vm *vm = *state;
    const char *name =
        "a/quite/long/directory/name/that/lua/would/shorten/in/its/own/errors/billing/bill.lua";
    struct fault fault;
    run_push_env(vm);
    assert_int_equal(vm_load(vm, slice_of("\nlocal a = nil .. 1"), name, 1, NULL), 0);
    assert_int_equal(vm_call(vm, 0, 0, &fault), -1);
    assert_ptr_equal(strstr(fault.text, name), fault.text);
    assert_non_null(strstr(fault.text, "bill.lua:2: attempt"));
    assert_int_equal(vm_load(vm, slice_of("\n\nif"), name, 1, &fault), -1);
    assert_ptr_equal(strstr(fault.text, name), fault.text);
    assert_non_null(strstr(fault.text, "bill.lua:3: "));
    lua_settop(vm->lua, 0);
}

static void binary_chunks_are_refused(void **state)
{
    struct vm *vm = *state;
    struct fault fault;
    run_push_env(vm);
    assert_int_equal(vm_load(vm, slice_make("\x1bLua", 4), "test/script.lua", 1, &fault), -1);
    assert_int_equal(fault.code, FAULT_SCRIPT);
    assert_non_null(strstr(fault.text, "binary chunk"));
    lua_settop(vm->lua, 0);
}

static int raise_contract(lua_State *lua)
{
    return vm_raise(lua, FAULT_CONTRACT, 1, "A.b: expected time");
}
static int raise_rejected(lua_State *lua)
{
    return vm_raise_reject(lua, slice_of("exists"), slice_of("it exists"));
}

static void run_with(struct vm *vm, lua_CFunction function, const char *text, int wanted, struct fault *fault)
{
    run_push_env(vm);
    lua_pushcfunction(vm->lua, function);
    lua_setfield(vm->lua, 1, "raise");
    assert_int_equal(vm_load(vm, slice_of(text), "test/script.lua", 1, NULL), 0);
    assert_int_equal(vm_call(vm, 0, 0, fault), wanted);
    lua_settop(vm->lua, 0);
}

static void faults_keep_their_code(void **state)
{
    struct vm *vm = *state;
    struct fault fault = {0};
    run_with(vm, raise_contract, "\nraise()", -1, &fault);
    assert_int_equal(fault.code, FAULT_CONTRACT);
    assert_string_equal(fault.text, "test/script.lua:2: A.b: expected time");
    /* caught, it is text */
    run_with(vm, raise_contract,
             "local ok, e = pcall(raise) assert(not ok and type(e) == 'string' and e:find('expected time'))",
             0, &fault);
    run_with(vm, raise_contract, "local ok, e = pcall(raise) error(e, 0)", -1, &fault);
    assert_int_equal(fault.code, FAULT_SCRIPT);
}

static void rejections_cannot_be_caught(void **state)
{
    struct vm *vm = *state;
    static const char *const texts[] = {"raise()",
                                        "pcall(raise)",
                                        "pcall(pcall, raise)",
                                        "xpcall(raise, function() end)",
                                        "pcall(function() local x <close> = setmetatable({}, {__close = "
                                        "function() pcall(error) end}) raise() end)",
                                        "table.sort({3, 2, 1}, function() pcall(raise) return false end)"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct fault fault = {0};
        run_with(vm, raise_rejected, texts[i], -1, &fault);
        assert_int_equal(fault.code, FAULT_REJECTED);
        assert_string_equal(fault.reason, "exists");
        assert_string_equal(fault.text, "it exists");
    }
}

/* --- budgets --- */

static const char *const endless[] = {
    "while true do end",
    "goto a ::a:: goto a",
    "while true do pcall(function() while true do end end) end",
    "local function f() while true do pcall(f) end end f()",
    "xpcall(function() error 'x' end, function() while true do end end)",
    "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "local x <close> = setmetatable({}, {__close = function() while true do end end}) error 'e'",
    "local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end",
    "local t = setmetatable({}, {__index = function(t, k) while true do end end}) local a = t.b",
    "(('a'):rep(3000)):find(('.-'):rep(12)..'b')",
    "local s = ('a'):rep(28) s:find(('a?'):rep(28)..('a'):rep(28)..'b')",
    "local s = ('a'):rep(100000) for _ in s:gmatch('a*b') do end",
    "while true do pcall(string.find, ('a'):rep(3000), ('.-'):rep(12)..'b') end",
    "table.move({}, 1, 1e15//1|0, 2)",
    "local t = {} for i = 1, 1000 do t[i] = '' end while true do local s = table.concat(t) end",
    "local t = {} for i = 1, 20000 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) "
    "end",
    "local t = {} for i = 1, 20000 do t['k' .. i] = i end while true do local k = next(t) end",
    "local t = {} for i = 1, 1000 do t['k' .. i] = i end while true do for k in next, t do end end",
    "for i = 1, 1e15 do local ok = pcall(table.insert, setmetatable({}, {__len = function() return 1e15//1|0 "
    "end}), 1, 0) end",
    "table.sort({1, 2, 3, 4}, function() while true do end end)",
    "('x'):gsub('x', function() while true do end end)",
    "for _ in pairs(setmetatable({}, {__pairs = function() return function() return 1 end end})) do end",
    "local t = {} for i = 1, 3000 do t[i] = i end while true do table.sort(t, function(a, b) return true "
    "end) end",
    "local a = ('x'):rep(5000000) local b = a .. '' while true do local c = a:find('y', 1, true) end",
    "while true do local ok, e = pcall(error, setmetatable({}, {__tostring = function() while true do end "
    "end})) print(e) end",
};

static void must_stop(struct vm *vm, const char *text)
{
    struct fault fault = {0};
    if (run_text(vm, text, 0, &fault) == 0) fail_msg("no error in: %s", text);
    if (fault.code != FAULT_BUDGET || !strstr(fault.text, "test/script.lua:1: "))
        fail_msg("%s in: %s", fault.text, text);
    assert_int_equal(vm->must_repeat, !vm->exact);
    assert_int_equal(lua_gettop(vm->lua), 0);
    /* the state is usable afterwards */
    run_good(vm, "local n = 0 for i = 1, 10 do n = n + i end assert(n == 55)");
    assert_false(vm->must_repeat);
}

static void endless_scripts_end_in_fast_mode(void **state)
{
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) must_stop(*state, endless[i]);
}

static void endless_scripts_end_in_exact_mode(void **state)
{
    struct vm *vm = *state;
    vm->exact = true;
    vm->instructions_max = 1000000;
    for (size_t i = 0; i < sizeof endless / sizeof endless[0]; i++) must_stop(vm, endless[i]);
}

static void verdict_is_exact(void **state)
{
    struct vm *vm = *state;
    char text[128];
    vm->exact = true;
    /* the smallest loop that fails is the same in another state and after other work */
    int limits[2];
    for (int round = 0; round < 2; round++) {
        struct vm *other = round ? run_new(0) : vm;
        other->exact = true;
        other->instructions_max = 100000;
        int low = 0, high = 1000000;
        while (low < high) {
            int middle = (low + high) / 2;
            snprintf(text, sizeof text, "for i = 1, %d do local x = i * 2 end", middle);
            if (run_text(other, text, 0, NULL) == 0)
                low = middle + 1;
            else
                high = middle;
        }
        limits[round] = low;
        if (round) vm_free(other);
    }
    assert_int_equal(limits[0], limits[1]);
    assert_in_range(limits[0], 30000, 60000);
    run_bad(vm, "while true do end", FAULT_BUDGET,
            "test/script.lua:1: used more than 100000 instructions in one call");
}

static const char *const greedy[] = {
    "local s = 'x' while true do s = s .. s end",
    "('a'):rep(1e9)",
    "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "while true do pcall(string.rep, 'x', 1e8) end",
    "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
    "local function f(...) return f(1, 1, 1, 1, ...) end f()",
    "local t = {} while true do t = {t, function() return t end} end",
    "string.pack('c1000000000', 'x')",
    "while true do pcall(string.pack, '!16 c100000000', 'x') end",
    "(('x'):rep(1e6)):gsub('.', ('y'):rep(1000))",
    "table.concat({('x'):rep(1e6)}, ('y'):rep(1e6), 1, 1)  local t = {} for i = 1, 100 do t[i] = 'x' end "
    "table.concat(t, ('y'):rep(1e6))",
    "while true do local t = {('x'):rep(1000) .. 'y'} local s = table.concat(t, ',') .. 'z' end",
};

static void greedy_scripts_end(void **state)
{
    struct vm *vm = *state;
    for (int exact = 0; exact < 2; exact++) {
        vm->exact = exact;
        for (size_t i = 0; i < sizeof greedy / sizeof greedy[0]; i++) {
            lua_gc(vm->lua, LUA_GCCOLLECT);
            size_t before = vm->memory_used;
            struct fault fault = {0};
            if (run_text(vm, greedy[i], 0, &fault) == 0) fail_msg("no error in: %s", greedy[i]);
            if (fault.code == FAULT_BUDGET ? !strstr(fault.text, "script.lua:1: ")
                                           : !strstr(fault.text, "script.lua:1: stack overflow"))
                fail_msg("%s in: %s", fault.text, greedy[i]);
            lua_gc(vm->lua, LUA_GCCOLLECT);
            if (vm->memory_used > before + 100000)
                fail_msg("%zu bytes more after: %s", vm->memory_used - before, greedy[i]);
            run_good(vm, "assert(('x'):rep(3) == 'xxx')");
        }
    }
    run_bad(vm, "local s = ('x'):rep(1e6) local t = {} for i = 1, 1000 do t[i] = s .. i end", FAULT_BUDGET,
            "test/script.lua:1: more than 64 MiB allocated in one call");
}

/* Not by the clock: each look at such a table costs what its slots are. */
static void tables_once_large_cost_their_slots(void **state)
{
    struct vm *vm = *state;
    vm->exact = true;
    run_bad(vm,
            "local t = {} for i = 1, 300000 do t[i] = i end for i = 1, 300000 do t[i] = nil end "
            "for i = 1, 200 do table.insert(t, 1) table.remove(t) end",
            FAULT_BUDGET, "test/script.lua:1: used more than 10000000 instructions in one call");
    run_bad(vm,
            "local t = list {} for i = 1, 300000 do t[i] = i end for i = 1, 300000 do table.remove(t) end "
            "for i = 1, 200 do table.move({}, 1, 1, 1, t) end",
            FAULT_BUDGET, "test/script.lua:1: used more than 10000000 instructions in one call");
    run_good(vm, "local t = {} for i = 1, 1000 do table.insert(t, 1) table.remove(t) end");
    vm->exact = false;
}

static void state_memory_is_capped(void **state)
{
    struct vm_options options = {.memory_max = 4 << 20};
    struct vm *vm = vm_new(&options);
    for (int exact = 0; exact < 2; exact++) {
        vm->exact = exact;
        /* A fast call may be stopped by its time before; only the exact verdict is the same on every machine.
         */
        run_bad(vm, "local t = {} for i = 1, 1e6 do t[i] = {} end", FAULT_BUDGET,
                exact ? "test/script.lua:1: the Lua state needs more than its 4 MiB of memory"
                      : "test/script.lua:1: ");
        assert_int_equal(vm->must_repeat, !exact);
        assert_true(vm->memory_used <= vm->memory_max);
        run_bad(vm, "pcall(function() local t = {} for i = 1, 1e6 do t[i] = {} end end)", FAULT_BUDGET,
                exact ? "its 4 MiB" : "test/script.lua:1: ");
        run_good(vm, "local t = {} for i = 1, 1000 do t[i] = {} end");
    }
    vm_free(vm);
}

static void recursion_is_a_clean_error(void **state)
{
    struct vm *vm = *state;
    static const char *const texts[] = {
        "local function f() return 1 + f() end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end local a = "
        "t.b",
        "local function f() ('x'):gsub('x', f) end f()",
        "local function f() table.sort({2, 1}, function() f() end) end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = t local a = t.x",
        "local function f() local ok, e = pcall(f) if not ok then error(e, 0) end end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__tostring = function() return tostring(t) end "
        "tostring(t)",
        "local t = {} t[1] = t local function walk(x) for _, y in pairs(x) do walk(y) end end walk(t)",
    };
    for (int exact = 0; exact < 2; exact++) {
        vm->exact = exact;
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            struct fault fault = {0};
            if (run_text(vm, texts[i], 0, &fault) == 0) fail_msg("no error in: %s", texts[i]);
            /* the stack of a runaway recursion is large: it may be the memory that ends it */
            if ((fault.code != FAULT_SCRIPT && fault.code != FAULT_BUDGET) ||
                !strstr(fault.text, "test/script.lua:1: "))
                fail_msg("%s %s in: %s", fault_name(fault.code), fault.text, texts[i]);
            run_good(vm, "assert(1 + 1 == 2)");
        }
    }
    /* an error while an error is handled */
    run_bad(vm, "error(setmetatable({}, {__tostring = function(t) error(t) end}))", FAULT_SCRIPT,
            "test/script.lua:1: an error value that cannot be turned into text");
}

static void deep_nesting_of_source_is_a_clean_error(void **state)
{
    struct vm *vm = *state;
    static char text[200000];
    memset(text, '(', sizeof text - 1);
    run_bad(vm, text, FAULT_SCRIPT, "test/script.lua:1: ");
    memset(text, '{', sizeof text - 1);
    memcpy(text, "x={", 3);
    run_bad(vm, text, FAULT_SCRIPT, "test/script.lua:1: ");
}

static int call_inner(lua_State *lua)
{
    struct fault fault;
    lua_pushvalue(lua, 1);
    lua_pushboolean(lua, vm_call(vm_of(lua), 0, 0, &fault) == 0); /* swallows whatever happens */
    return 1;
}

static void swallowing_c_code_does_not_help(void **state)
{
    struct vm *vm = *state;
    for (int exact = 0; exact < 2; exact++) {
        struct fault fault = {0};
        vm->exact = exact;
        run_with(vm, call_inner, "while true do raise(function() while true do end end) end", -1, &fault);
        assert_int_equal(fault.code, FAULT_BUDGET);
        run_with(vm, call_inner, "assert(not raise(function() error 'x' end)) assert(raise(function() end))",
                 0, &fault);
    }
}

static void fast_calls_of_one_vm_follow_each_other(void **state)
{
    struct vm *vm = *state;
    /* many calls that together take longer than the watchdog allows for one */
    for (int i = 0; i < 40; i++) run_good(vm, "local x = 0 for i = 1, 200000 do x = x + i end");
}

static void stops_in_time(void **state)
{
    struct vm *vm = *state;
    struct timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    run_bad(vm, "while true do end", FAULT_BUDGET, "test/script.lua:1: stopped after 4 ms");
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    double ms = (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
    assert_true(ms > 3 && ms < 150);
}

static void *thread_main(void *user)
{
    (void)user;
    vm_watchdog_start();
    struct vm *vm = run_new(0);
    struct fault fault = {0};
    for (int i = 0; i < 3; i++)
        if (run_text(vm, "while true do pcall(function() while true do end end) end", 0, &fault) == 0)
            return "went through";
    vm_free(vm);
    vm_watchdog_stop();
    return fault.code == FAULT_BUDGET ? NULL : "another fault";
}

static void each_thread_has_its_watchdog(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, thread_main, NULL);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        if (result) fail_msg("%s", (char *)result);
    }
}

static int push_two(lua_State *lua)
{
    lua_pushinteger(lua, *(int *)lua_touserdata(lua, 1));
    lua_pushliteral(lua, "two");
    return 2;
}

static int fail_plainly(lua_State *lua)
{
    return luaL_error(lua, "no");
}

static void protected_functions(void **state)
{
    struct vm *vm = *state;
    int number = 7;
    struct fault fault;
    assert_int_equal(vm_protected(vm, push_two, &number, &fault), 0);
    assert_int_equal(lua_gettop(vm->lua), 2);
    assert_int_equal(lua_tointeger(vm->lua, 1), 7);
    lua_settop(vm->lua, 0);
    assert_int_equal(vm_protected(vm, fail_plainly, NULL, &fault), -1);
    assert_int_equal(fault.code, FAULT_SCRIPT);
    assert_string_equal(fault.text, "no");
    assert_int_equal(lua_gettop(vm->lua), 0);
}

/* Every allocation of a script fails once: never a crash, always a clean end. */
static void any_allocation_may_fail(void **state)
{
    (void)state;
    const char *text = "local t = {} for i = 1, 20 do t['k' .. i] = decimal(i) + decimal '0.5' end "
                       "local n = 0 for k, v in pairs(t) do n = n + 1 end "
                       "local s = ('abc'):gsub('%w', '%0%0') .. string.format('%5d|%s', 3, decimal '1.2') "
                       "table.sort({3, 1, 2}) local ok, e = pcall(error, {}) "
                       "return #s + n";
    struct vm_options options = {0};
    struct vm *vm = vm_new(&options);
    size_t base = vm->memory_used;
    bool done = false;
    for (size_t room = 64; !done; room += 64) {
        struct fault fault = {0};
        lua_gc(vm->lua, LUA_GCCOLLECT);
        run_push_env(vm);
        assert_int_equal(vm_load(vm, slice_of(text), "test/script.lua", 1, &fault), 0);
        lua_remove(vm->lua, 1);
        vm->exact = true;
        vm->memory_max = vm->memory_used + room;
        int result = vm_call(vm, 0, 1, &fault);
        vm->memory_max = LIMIT_STATE_MEMORY_MAX;
        if (result == 0) {
            assert_int_equal(lua_tointeger(vm->lua, -1), 35);
            done = true;
        } else {
            assert_int_equal(fault.code, FAULT_BUDGET);
        }
        lua_settop(vm->lua, 0);
    }
    lua_gc(vm->lua, LUA_GCCOLLECT);
    assert_true(vm->memory_used < base + 20000);
    vm_free(vm);
}

/* Both are the first call of their state: the second must not inherit the ticks of the first. */
static void ticks_belong_to_one_call(void **state)
{
    vm_watchdog_start();
    for (int round = 0; round < 5; round++) {
        struct vm *slow = run_new(0);
        run_bad(slow, "while true do end", FAULT_BUDGET, "stopped after");
        vm_free(slow);
        struct vm *quick = run_new(0);
        run_good(quick, "local n = 0 for i = 1, 100000 do n = n + i % 3 end");
        vm_free(quick);
    }
}

static int encode_it(lua_State *lua)
{
    struct buf *out = lua_touserdata(lua, lua_upvalueindex(1));
    buf_clear(out);
    value_encode(lua, 1, out, "state", 4 << 20);
    return 0;
}

static int copy_it(lua_State *lua)
{
    value_copy(lua, 1);
    return 0;
}

/* An emptied table takes its old size to walk; a hundred thousand references to it would take a minute. */
static void walking_in_c_is_stopped(void **state)
{
    vm_watchdog_start();
    for (int copy = 0; copy < 2; copy++) {
        struct vm *vm = run_new(0);
        struct buf out = {0};
        struct fault fault = {0};
        lua_pushlightuserdata(vm->lua, &out);
        lua_pushcclosure(vm->lua, copy ? copy_it : encode_it, 1);
        vm->exact = true; /* making it takes longer than a fast call may */
        if (run_text(vm,
                     "local big, t = {}, {} for i = 1, 40000 do big[-i] = i end for i = 1, 40000 do big[-i] "
                     "= nil end "
                     "for i = 1, 200000 do t[i] = big end return t",
                     1, &fault) < 0)
            fail_msg("%s", fault.text);
        vm->exact = false;
        assert_int_equal(vm_call(vm, 1, 0, &fault), -1);
        assert_int_equal(fault.code, FAULT_BUDGET);
        buf_release(&out);
        vm_free(vm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(results_come_back, make, drop),
        cmocka_unit_test_setup_teardown(errors_name_the_line, make, drop),
        cmocka_unit_test_setup_teardown(long_file_names_are_whole, make, drop),
        cmocka_unit_test_setup_teardown(binary_chunks_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(faults_keep_their_code, make, drop),
        cmocka_unit_test_setup_teardown(rejections_cannot_be_caught, make, drop),
        cmocka_unit_test_setup_teardown(endless_scripts_end_in_fast_mode, make, drop),
        cmocka_unit_test_setup_teardown(endless_scripts_end_in_exact_mode, make, drop),
        cmocka_unit_test_setup_teardown(verdict_is_exact, make, drop),
        cmocka_unit_test_setup_teardown(greedy_scripts_end, make, drop),
        cmocka_unit_test_setup_teardown(tables_once_large_cost_their_slots, make, drop),
        cmocka_unit_test_setup_teardown(state_memory_is_capped, make, drop),
        cmocka_unit_test_setup_teardown(recursion_is_a_clean_error, make, drop),
        cmocka_unit_test_setup_teardown(deep_nesting_of_source_is_a_clean_error, make, drop),
        cmocka_unit_test_setup_teardown(swallowing_c_code_does_not_help, make, drop),
        cmocka_unit_test_setup_teardown(fast_calls_of_one_vm_follow_each_other, make, drop),
        cmocka_unit_test_setup_teardown(stops_in_time, make, drop),
        cmocka_unit_test(each_thread_has_its_watchdog),
        cmocka_unit_test_setup_teardown(protected_functions, make, drop),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(ticks_belong_to_one_call),
        cmocka_unit_test(walking_in_c_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Plain data between Lua and MessagePack. */
#include "test_vm_run.h"

#include <stdlib.h>
#include <time.h>

#include "codec/mp.h"
#include "vm/value.h"

static int make(void **state)
{
    *state = run_new(0);
    return 0;
}

static int drop(void **state)
{
    vm_free(*state);
    return 0;
}

struct job {
    struct buf out;
    size_t size_max;
};

static int encode(lua_State *lua)
{
    struct job *job = lua_touserdata(lua, 1);
    lua_getfield(lua, LUA_REGISTRYINDEX, "test.value");
    value_encode(lua, -1, &job->out, "state", job->size_max);
    return 0;
}

/* Encodes what the script returns. */
static int encode_text(struct vm *vm, const char *text, struct job *job, struct fault *fault)
{
    if (run_text(vm, text, 1, fault) < 0) fail_msg("%s in: %s", fault->text, text);
    lua_setfield(vm->lua, LUA_REGISTRYINDEX, "test.value");
    int result = vm_protected(vm, encode, job, fault);
    assert_int_equal(lua_gettop(vm->lua), 0);
    return result;
}

static void round_trips(void **state)
{
    struct vm *vm = *state;
    static const struct {
        const char *text;
        const char *bytes;
        size_t size;
    } cases[] = {
        {"return {}", "\x80", 1},
        {"return list {}", "\x90", 1},
        {"return {1, 2.5, 'x'}", "\x93\x01\xcb\x40\x04\0\0\0\0\0\0\xa1x", 13},
        {"return {b = 1, a = {}, ab = list {}}",
         "\x83\xa1"
         "a\x80\xa2"
         "ab\x90\xa1"
         "b\x01",
         11},
        {"return 1.0", "\xcb\x3f\xf0\0\0\0\0\0\0", 9},
        {"return -1", "\xff", 1},
        {"return true", "\xc3", 1},
        {"return decimal '1.20'",
         "\xd6\x01"
         "1.20",
         6},
        {"local t = {1} table.remove(t) return t", "\x90", 1},
        {"local t = {1} t[1] = nil return t", "\x80", 1},
        {"local t = {a = 1} t.a = nil return t", "\x80", 1},
        {"local t = list {} t.x = 1 t.x = nil return t", "\x80", 1},
        {"local t = {1} table.remove(t) table.insert(t, 2) return t", "\x91\x02", 2},
        {"local t = list {} t[#t + 1] = 2 return t", "\x91\x02", 2},
        {"return table.move({}, 1, 0, 1, list {})", "\x90", 1},
        {"return table.move({5}, 1, 1, 1, list {})", "\x91\x05", 2},
        {"local t = {} for i = 3, 1, -1 do t[i] = i end return t", "\x93\x01\x02\x03", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job job = {.size_max = 1 << 20};
        struct fault fault;
        if (encode_text(vm, cases[i].text, &job, &fault) < 0)
            fail_msg("%s in: %s", fault.text, cases[i].text);
        if (job.out.size != cases[i].size || memcmp(job.out.data, cases[i].bytes, job.out.size) != 0)
            fail_msg("other bytes for: %s", cases[i].text);
        /* back and forth again gives the same bytes */
        struct job again = {.size_max = 1 << 20};
        value_push(vm->lua, buf_slice(&job.out));
        lua_setfield(vm->lua, LUA_REGISTRYINDEX, "test.value");
        assert_int_equal(vm_protected(vm, encode, &again, &fault), 0);
        assert_true(slice_equal(buf_slice(&job.out), buf_slice(&again.out)));
        assert_int_equal(mp_check(buf_slice(&job.out), &fault), 0);
        buf_release(&job.out);
        buf_release(&again.out);
    }
}

static void what_is_not_plain(void **state)
{
    struct vm *vm = *state;
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"return {items = {{price = 1}, {price = 2}, {price = print}}}",
         "state.items[3].price: a function is no plain data"},
        {"return {['a b'] = {c = print}}", "state[\"a b\"].c: a function is no plain data"},
        {"return {1, 2, nil, 4}", "state: a list with holes is no plain data"},
        {"return {a = {[5] = 1}}", "state.a: a list with holes is no plain data"},
        {"return {1, a = 2}", "state: a table with both list items and named fields is no plain data"},
        {"return {[true] = 1}", "state: only texts, or 1..n for a list, can be keys of plain data"},
        {"return {[1.5] = 1}", "state: only texts, or 1..n for a list, can be keys of plain data"},
        {"return {x = 0/0}", "state.x: a number that is not finite is no plain data"},
        {"return {x = math.huge}", "state.x: a number that is not finite is no plain data"},
        {"return {x = '\\xff'}", "state.x: a text that is not UTF-8"},
        {"return {['\\xff'] = 1}", "state: a key that is not UTF-8"},
        {"return {x = days(1)}", "state.x: a duration is no plain data: keep its seconds"},
        {"return {x = setmetatable({}, {})}", "state.x: a table with a metatable is no plain data"},
        {"local t = {} t.t = t return t", "state: nested too deep (100 levels), or a table inside itself"},
        {"return nil", "state: nothing (nil) is no plain data"},
        {"return string", "state."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct job job = {.size_max = 1 << 20};
        struct fault fault = {0};
        if (encode_text(vm, cases[i].text, &job, &fault) == 0) fail_msg("no error in: %s", cases[i].text);
        if (fault.code != FAULT_SCRIPT || strstr(fault.text, cases[i].error) != fault.text)
            fail_msg("got \"%s\" in: %s", fault.text, cases[i].text);
        buf_release(&job.out);
    }
}

static void size_is_limited(void **state)
{
    struct vm *vm = *state;
    static const char *const texts[] = {"return ('x'):rep(2000)",
                                        "local t = {} for i = 1, 2000 do t[i] = 1 end return t",
                                        "local t = {} for i = 1, 300 do t['k' .. i] = 1 end return t",
                                        /* each level twice the one below: 2^50 tables */
                                        "local t = {} for i = 1, 50 do t = {t, t} end return t"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct job job = {.size_max = 1000};
        struct fault fault = {0};
        if (encode_text(vm, texts[i], &job, &fault) == 0) fail_msg("no error in: %s", texts[i]);
        assert_int_equal(fault.code, FAULT_TOO_LARGE);
        assert_string_equal(fault.text, "state: larger than 1000 bytes");
        buf_release(&job.out);
    }
}

static int push_bytes(lua_State *lua)
{
    value_push(lua, *(struct slice *)lua_touserdata(lua, 1));
    return 0;
}

static void damage_is_found(void **state)
{
    struct vm *vm = *state;
    static const struct slice cases[] = {{"", 0},
                                         {"\xa5"
                                          "ab",
                                          3},
                                         {"\x81\x01\x02", 3},
                                         {"\x92\x01", 2},
                                         {"\xdd\xff\xff\xff\xff", 5},
                                         {"\x01\x02", 2},
                                         {"\xc1", 1},
                                         {"\xd6\x01"
                                          "x.20",
                                          6},
                                         {"\xa1", 1},
                                         {"\x81\xa1"
                                          "a",
                                          3}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fault fault = {0};
        if (vm_protected(vm, push_bytes, (void *)&cases[i], &fault) == 0)
            fail_msg("case %zu went through", i);
        assert_int_equal(fault.code, FAULT_CORRUPT);
        assert_int_equal(lua_gettop(vm->lua), 0);
    }
    char deep[300];
    memset(deep, 0x91, sizeof deep);
    struct slice bytes = slice_make(deep, sizeof deep);
    assert_int_equal(vm_protected(vm, push_bytes, &bytes, NULL), -1);
}

static int copy(lua_State *lua)
{
    value_copy(lua, 1);
    return 1;
}

static int freeze(lua_State *lua)
{
    value_push_readonly(lua, 1);
    return 1;
}

/* A table that outlives calls, as a state does: {{}, {}}. */
static int kept(lua_State *lua)
{
    if (lua_getfield(lua, LUA_REGISTRYINDEX, "test.kept") != LUA_TTABLE) {
        lua_newtable(lua);
        for (int at = 1; at <= 2; at++) {
            lua_newtable(lua);
            lua_rawseti(lua, -2, at);
        }
        lua_pushvalue(lua, -1);
        lua_setfield(lua, LUA_REGISTRYINDEX, "test.kept");
    }
    return 1;
}

static void with_functions(struct vm *vm, const char *text, enum fault_code code, const char *what)
{
    struct fault fault = {0};
    run_push_env(vm);
    lua_pushcfunction(vm->lua, copy);
    lua_setfield(vm->lua, 1, "copy");
    lua_pushcfunction(vm->lua, freeze);
    lua_setfield(vm->lua, 1, "freeze");
    lua_pushcfunction(vm->lua, kept);
    lua_setfield(vm->lua, 1, "kept");
    assert_int_equal(vm_load(vm, slice_of(text), "test/script.lua", 1, &fault), 0);
    int result = vm_call(vm, 0, 0, &fault);
    if (result < 0 && code == FAULT_NONE) fail_msg("%s in: %s", fault.text, text);
    if (result == 0 && code != FAULT_NONE) fail_msg("no error in: %s", text);
    if (result < 0 && (fault.code != code || !strstr(fault.text, what)))
        fail_msg("%s in: %s", fault.text, text);
    lua_settop(vm->lua, 0);
}

static void copies_are_deep(void **state)
{
    struct vm *vm = *state;
    with_functions(vm,
                   "local a = {x = {1, 2}, d = decimal '1', e = list {}} local b = copy(a) b.x[1] = 9 "
                   "assert(a.x[1] == 1 and b.x[2] == 2 and b.d == a.d) b.e[1] = 1 assert(#a.e == 0)",
                   FAULT_NONE, "");
    with_functions(vm, "local t = {} t.t = t copy(t)", FAULT_SCRIPT, "test/script.lua:1: nested too deep");
    vm->exact = true; /* 2^50 tables: ended by the memory */
    with_functions(vm, "local t = {} for i = 1, 50 do t = {t, t} end copy(t)", FAULT_BUDGET,
                   "more than 64 MiB");
}

static void views_are_read_only(void **state)
{
    struct vm *vm = *state;
    static const char *const good[] = {
        "local s = freeze {a = {b = 1}, l = {1, 2, {x = 1}}} assert(s.a.b == 1 and #s.l == 3 and s.a == s.a "
        "and s.nothing == nil)",
        "local s = freeze {a = 1, b = {}} local out = '' for k, v in pairs(s) do out = out .. k end "
        "assert(out == 'ab')",
        "local s = freeze {10, 20} local n = 0 for i, v in ipairs(s) do n = n + v end assert(n == 30)",
        "local s = freeze {a = 1} assert(next(s) == 'a' and next(freeze {}) == nil and type(s) == 'table')",
        "for k, v in next, freeze {a = {}} do assert(not pcall(function() v.x = 1 end)) end",
        "assert(table.concat(freeze {1, 2}, ',') == '1,2' and select('#', table.unpack(freeze {1, 2})) == 2)",
        "assert(rawlen(freeze {1, 2}) == 2 and rawget(freeze {a = 1}, 'a') == 1)",
        "local t = {a = 1} local s = freeze(t) t.a = 2 t.b = {} assert(s.a == 2 and #s.b == 0) t.b = {1} "
        "assert(#s.b == 1)",
        "local c = copy(freeze {a = {1}}) c.a[1] = 2 assert(c.a[1] == 2)",
        "assert(getmetatable(freeze {}) == false)",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) with_functions(vm, good[i], FAULT_NONE, "");
    static const char *const bad[] = {
        "freeze({}).x = 1",
        "freeze({x = 1}).x = 2",
        "freeze({a = {}}).a.b = 1",
        "local s = freeze {a = {1}} s.a[#s.a + 1] = 2",
        "table.insert(freeze {1}, 2)",
        "table.remove(freeze {1})",
        "table.sort(freeze {2, 1})",
        "rawset(freeze {}, 'x', 1)",
        "table.move({1}, 1, 1, 1, freeze {})",
        "for k, v in pairs(freeze {a = {}}) do v.x = 1 end",
        "for k, v in ipairs(freeze {{}}) do v.x = 1 end",
        "local a = table.unpack(freeze {{}}) a.x = 1",
        "local k, v = next(freeze {{}}) v.x = 1",
        "rawget(freeze {a = {}}, 'a').x = 1",
        "table.move(freeze {{}}, 1, 1, 1, {})[1].x = 1",
        "list(freeze {})",
        "local s = pairs(freeze {}) local _, t = pairs(freeze {}) t.x = 1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        with_functions(vm, bad[i], FAULT_SCRIPT,
                       "test/script.lua:1: state is read-only in execute: emit an event instead");
    with_functions(vm, "setmetatable(freeze {}, nil)", FAULT_SCRIPT, "protected metatable");
    struct job job = {.size_max = 1000};
    struct fault fault;
    run_good(vm, "");
    lua_newtable(vm->lua);
    lua_pushinteger(vm->lua, 7);
    lua_setfield(vm->lua, -2, "n");
    value_push_readonly(vm->lua, -1);
    lua_setfield(vm->lua, LUA_REGISTRYINDEX, "test.value");
    lua_settop(vm->lua, 0);
    assert_int_equal(vm_protected(vm, encode, &job, &fault), 0);
    assert_int_equal(job.out.size, 4);
    buf_release(&job.out);
}

/* Within a call the same table always gives the same view, however many there are; from call to call they are
 * not kept. */
static void views_last_a_call(void **state)
{
    struct vm *vm = *state;
    with_functions(vm,
                   "local s = {} for i = 1, 5000 do s[i] = {} end local v, seen = freeze(s), {} "
                   "for i = 1, 5000 do seen[i] = v[i] end for i = 1, 5000 do assert(v[i] == seen[i]) end",
                   FAULT_NONE, "");
    assert_true(vm->views_made > 5000);
    with_functions(vm, "local s = freeze {{}} assert(s[1] == s[1])", FAULT_NONE, "");
    assert_int_equal(vm->views_made, 2);
    /* A table whose view is from an earlier call, and then one that has none: both have one view in this
     * call. */
    lua_gc(vm->lua, LUA_GCSTOP);
    with_functions(vm, "assert(freeze(kept())[1])", FAULT_NONE, "");
    with_functions(vm, "local s = {} for i = 1, 5000 do s[i] = freeze {} end", FAULT_NONE, "");
    with_functions(vm,
                   "local v = freeze(kept()) local first = v[1] assert(v[2]) "
                   "assert(v[1] == first and freeze(kept()) == v)",
                   FAULT_NONE, "");
    lua_gc(vm->lua, LUA_GCRESTART);
}

/* Six fields in about a microsecond: a wide margin, so that only a gross loss of speed fails. */
static void decoding_is_fast(void **state)
{
    struct vm *vm = *state;
    struct job job = {.size_max = 1000};
    struct fault fault;
    assert_int_equal(encode_text(vm,
                                 "return {amount = decimal '35.00', article = 157, points = 0, notification "
                                 "= 'a note of some words', "
                                 "vehicle = 'A', case_id = 'A12345678'}",
                                 &job, &fault),
                     0);
    struct timespec begin, end;
    enum { ROUNDS = 200000 };
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int i = 0; i < ROUNDS; i++) {
        value_push(vm->lua, buf_slice(&job.out));
        lua_pop(vm->lua, 1);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    double ns = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / ROUNDS;
    print_message("%.0f ns to decode six fields\n", ns);
    assert_true(ns < 20000);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    value_push(vm->lua, buf_slice(&job.out));
    for (int i = 0; i < ROUNDS; i++) {
        buf_clear(&job.out);
        value_encode(vm->lua, 1, &job.out, "state", 1000);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    lua_settop(vm->lua, 0);
    ns = ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / ROUNDS;
    print_message("%.0f ns to encode them\n", ns);
    buf_release(&job.out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(round_trips, make, drop),
        cmocka_unit_test_setup_teardown(what_is_not_plain, make, drop),
        cmocka_unit_test_setup_teardown(size_is_limited, make, drop),
        cmocka_unit_test_setup_teardown(damage_is_found, make, drop),
        cmocka_unit_test_setup_teardown(copies_are_deep, make, drop),
        cmocka_unit_test_setup_teardown(views_are_read_only, make, drop),
        cmocka_unit_test_setup_teardown(views_last_a_call, make, drop),
        cmocka_unit_test_setup_teardown(decoding_is_fast, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

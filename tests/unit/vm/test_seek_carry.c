/* Functions carried into another Lua state: which can be, that they give the same there, and that they say
 * when they would not. */
#include "test_vm_run.h"

#include "vm/seek_carry.h"

static struct carried {
    struct vm *from, *to;
    struct seek_parcel parcel;
    size_t number;
    int env; /* of from: stack index */
    bool can;
    lua_Integer result;
    bool failed, pure;
} test;

static int pack(lua_State *lua)
{
    test.can = seek_carry_pack(lua, test.env, test.env + 1, &test.parcel, &test.number);
    if (test.can) seek_carry_pack_globals(lua, test.env, &test.parcel);
    return 0;
}

static int open_there(lua_State *lua)
{
    seek_carry_open(lua, &test.parcel);
    return 0;
}

static int call_there(lua_State *lua)
{
    seek_carry_push(lua, test.number);
    lua_pushinteger(lua, 20);
    lua_call(lua, 1, 1);
    test.result = lua_tointeger(lua, -1);
    return 0;
}

static int ask_purity(lua_State *lua)
{
    test.pure = seek_carry_is_pure(lua);
    return 0;
}

/* The text returns a function, in whose globals it ran; it is called with 20. */
static void carry(const char *text)
{
    struct fault fault;
    test = (struct carried){.from = run_new(0), .to = run_new(0), .env = 1};
    run_push_env(test.from);
    if (vm_load(test.from, slice_of(text), "repl", 1, &fault) < 0 || vm_call(test.from, 0, 1, &fault) < 0)
        fail_msg("%s\nin: %s", fault.text, text);
    /* Globals and function become the arguments of pack. */
    lua_pushcfunction(test.from->lua, pack);
    lua_insert(test.from->lua, 1);
    if (vm_call(test.from, 2, 0, &fault) < 0) fail_msg("%s", fault.text);
    if (!test.can) return;
    if (vm_protected(test.to, open_there, NULL, &fault) < 0) fail_msg("%s", fault.text);
    lua_pushcfunction(test.to->lua, call_there);
    test.failed = vm_call(test.to, 0, 0, &fault) < 0;
    if (vm_protected(test.to, ask_purity, NULL, &fault) < 0) fail_msg("%s", fault.text);
}

static void done(void)
{
    seek_parcel_release(&test.parcel);
    vm_free(test.from);
    vm_free(test.to);
}

static void expect(const char *text, lua_Integer result)
{
    carry(text);
    if (!test.can) fail_msg("cannot be carried: %s", text);
    if (test.failed || !test.pure || test.result != result)
        fail_msg("%lld, %s, %s: %s", (long long)test.result, test.failed ? "failed" : "ended",
                 test.pure ? "pure" : "impure", text);
    done();
}

static void expect_impure(const char *text)
{
    carry(text);
    if (test.can && test.pure) fail_msg("pure: %s", text);
    done();
}

static void test_carried(void **state)
{
    expect("return function(x) return x + 1 end", 21);
    expect("local k = { 3, { a = 4 } } return function(x) return x + k[1] + k[2].a + #k end", 29);
    expect(
        "local n, b, t, none = 2, true, 'abc' return function(x) return b and none == nil and x * n + #t end",
        43);
    expect("local sub, m, d = string.sub, math, decimal return function(x) return m.floor(x / 3) + "
           "#sub('abcd', 2) end",
           9);
    expect(
        "rate = { a = 5 } function twice(x) return 2 * x * rate.a end return function(x) return twice(x) end",
        200);
    expect("local function f(n) return n == 0 and 0 or n + f(n - 1) end return f", 210);
    expect("return function(x) local t = {} for i = 1, x do t[#t + 1] = i end table.sort(t) return #t end",
           20);
    expect("return function(x) local n = 0 local function add() n = n + x end add() add() return n end", 40);
    expect("return function(x) return (pcall(error, 'no') and 0 or 1) + x end", 21);
    expect("return function(x) return tostring(decimal '1.50' * x) == '30.00' and 7 or 0 end", 7);
    expect("split = nil return function(x) return ('a,b'):find(',') + x end", 22);
}

static void test_impure(void **state)
{
    expect_impure("local n = 0 return function(x) n = n + 1 return n end");
    expect_impure("local seen = {} return function(x) seen[x] = true return 1 end");
    expect_impure("local seen = { a = { 1 } } return function(x) table.insert(seen.a, x) return 1 end");
    expect_impure("local seen = {} return function(x) pcall(function() seen[x] = true end) return 1 end");
    expect_impure("return function(x) count = (count or 0) + 1 return 1 end");
    expect_impure("return function(x) return missing == nil and 1 or 2 end");
    expect_impure("return function(x) pcall(print, 'x') return 1 end");
    expect_impure("type = setmetatable({}, { __call = function() return 1 end }) return function(x) return "
                  "type(x) end");
    expect_impure("local t = setmetatable({}, { __index = function() return 1 end }) return function(x) "
                  "return t.y end");
    expect_impure("local d = days(1) return function(x) return d:seconds() end");
    expect_impure("local n = 0 local function add() n = n + 1 end return function(x) add() return n end");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_carried), cmocka_unit_test(test_impure)};
    vm_watchdog_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

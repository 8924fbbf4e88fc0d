/* Every allocation of a script, a load and a check fails once: each time there is a fault, the state is good
 * for the next call, and nothing is lost or freed twice (the sanitizers look). */
#include "loader_support.h"

#include "failing_memory.h"
#include "test_vm_run.h"

static const char script[] =
    "local t = {c = 3, a = 1, b = {x = decimal '1.20', y = list {}}, 1, 2, 3}\n"
    "local keys = {} for k in pairs(t) do keys[#keys + 1] = tostring(k) end\n"
    "for k, v in next, t do keys[#keys + 1] = tostring(k) end\n"
    "table.sort(keys, function(a, b) return a < b end) table.insert(keys, 1, 'x') table.remove(keys, 1)\n"
    "local s = table.concat(keys, ', ') .. (('ab'):rep(300)):upper() .. string.format('%s %5.2f %q', s, 1.5, "
    "'x')\n"
    "s = s:gsub('%w+', function(w) return '<' .. w .. '>' end):gsub('<', {['<'] = '['})\n"
    "for a, b in s:gmatch('(%w)(%w)') do t[#t + 1] = a .. b end\n"
    "local d = decimal '1.1' + 2 * decimal(3.5) / 7 local r = d:round(2) s = s .. d .. tostring(r)\n"
    "local at = '2026-01-01T00:00:00.000Z' + days(2) s = s .. at .. tostring(hours(1))\n"
    "local ok, e = pcall(error, {1}) ok, e = pcall(function() error('x' .. 1) end)\n"
    "xpcall(function() local x = nil + 1 end, function(m) return m .. '!' end)\n"
    "local o = setmetatable({}, {__index = function(_, k) return k .. k end, __tostring = function() return "
    "'o' end})\n"
    "s = s .. o.x .. tostring(o) .. utf8.char(0x20ac) .. string.pack('i4z', 1, 'x')\n"
    "for _, c in utf8.codes('a€') do t[#t + 1] = c end table.move(t, 1, 3, 10) table.unpack(t, 1, 20)\n"
    "return {s = s, d = d, list = {t[1], t[2]}, deep = {{{}}}}";

struct round {
    struct buf out;
};

static int use_bridge(lua_State *lua)
{
    struct round *round = lua_touserdata(lua, lua_upvalueindex(1));
    buf_clear(&round->out);
    value_encode(lua, 1, &round->out, "value", 1 << 20);
    value_push(lua, buf_slice(&round->out));
    value_copy(lua, -1);
    value_push_readonly(lua, -1);
    value_copy(lua, -1);
    return 0;
}

static void scripts(void **state)
{
    struct vm *vm = run_new(0);
    struct round round = {0};
    long count = 0;
    bool done = false;
    for (; !done; count++) {
        struct fault fault = {0};
        lua_settop(vm->lua, 0);
        lua_pushlightuserdata(vm->lua, &round);
        lua_pushcclosure(vm->lua, use_bridge, 1);
        run_push_env(vm);
        assert_int_equal(vm_load(vm, slice_of(script), "test/s.lua", -1, &fault), 0);
        lua_remove(vm->lua, -2);
        fail_after(vm, count);
        int result = vm_call(vm, 0, 1, &fault);
        if (result == 0) result = vm_call(vm, 1, 0, &fault);
        fail_no_more(vm);
        done = !failing.failed;
        if (result < 0 && fault.code != FAULT_BUDGET) fail_msg("%ld: %s", count, fault.text);
        if (done) assert_int_equal(result, 0);
        lua_settop(vm->lua, 0);
        run_good(vm,
                 "local t = {} for i = 1, 10 do t[i] = i .. '' end assert(table.concat(t) == '12345678910')");
    }
    if (count < 100) fail_msg("%ld allocations", count);
    buf_release(&round.out);
    vm_free(vm);
}

static const char contracts[] =
    "contracts [[\n let who = (id: string)\n Made!2 (who, n: integer, at: time, sum: decimal, rows: {string: "
    "any}[], x: any?)\n Make? (n: integer)\n]]\nfunction upcast.Made.v1(e) return e end\n";
static const char bill[] = "local prices = require 'prices'\n"
                           "local bill = aggregate 'bill' { initial = { n = 0, rows = list {} } }\n"
                           "function bill.apply.Made(s, e) s.n = e.n end\n"
                           "function bill.execute.Make(s, c)\n"
                           "  return Made { id = 'x', n = prices.of(c.n), at = '2026-01-01', sum = '1.2', "
                           "rows = { { a = 1 } }, x = {{}} } end\n"
                           "projection 'all' { index = {'n'} }.when.Made = function(v, e) v.n = e.n end\n";
static const char *const files[] = {
    "shop/contracts.lua",
    contracts,
    "shop/bill.lua",
    bill,
    "shop/prices.lua",
    "local M = {all = {1, 2}} M.__index = M function M.of(n) return n end return setmetatable({}, M)",
    "hub.lua",
    "return { limits = {} }",
    NULL};

/* After that many allocations one fails; true if there were fewer. */
static bool load_once(const struct sources *sources, long count)
{
    struct vm_options options = {0};
    struct vm *vm = vm_new(&options);
    struct loader_options loader_options = {.vm = vm, .sources = sources, .globals = LUA_NOREF};
    struct loader *loader = NULL;
    struct buf errors = {0};
    struct fault fault = {0};
    fail_after(vm, count);
    int result = loader_load(&loader_options, &loader, &errors, &fault);
    fail_no_more(vm);
    bool done = !failing.failed;
    if (done) assert_int_equal(result, 0);
    if (result < 0 && fault.code != FAULT_BUDGET && fault.code != FAULT_SCRIPTS)
        fail_msg("%ld: %s: %s", count, fault_name(fault.code), fault.text);
    assert_true((result == 0) == (loader != NULL));
    buf_release(&errors);
    vm_free(vm);
    loader_free(loader);
    return done;
}

static void loads(void **state)
{
    struct sources *sources = sources_of(files);
    long count = 0;
    while (!load_once(sources, count)) count += count < 60 ? 1 : 7; /* a load has thousands */
    assert_true(count > 1000);
    sources_free(sources);
}

static void messages(void **state)
{
    struct sources *sources = sources_of(files);
    struct vm *vm = run_new(0);
    struct loader_options options = {.vm = vm, .sources = sources, .globals = LUA_NOREF};
    struct loader *loader = NULL;
    struct fault fault = {0};
    if (loader_load(&options, &loader, NULL, &fault) < 0) fail_msg("%s", fault.text);
    bool done = false;
    long count = 0;
    for (; !done; count++) {
        lua_settop(vm->lua, 0);
        lua_rawgeti(vm->lua, LUA_REGISTRYINDEX, loader_aggregate(loader, 0)->execute[0].function);
        lua_newtable(vm->lua);
        lua_newtable(vm->lua);
        lua_pushinteger(vm->lua, 1);
        lua_setfield(vm->lua, -2, "n");
        fail_after(vm, count);
        int result = vm_call(vm, 2, 1, &fault);
        fail_no_more(vm);
        done = !failing.failed;
        if (result < 0 && (done || fault.code != FAULT_BUDGET)) fail_msg("%ld: %s", count, fault.text);
    }
    assert_true(count > 10);
    vm_free(vm);
    loader_free(loader);
    sources_free(sources);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(scripts), cmocka_unit_test(loads),
                                       cmocka_unit_test(messages)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

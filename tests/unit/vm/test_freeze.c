/* Nothing that scripts made while loading can be changed by what runs later; reading it is as before. */
#include "loader_support.h"

static const char contracts[] = "contracts [[\n  Made! (n: integer)\n  Make? (n: integer)\n]]\n";

/* Loads bill.lua, then runs the handler of Made with an empty table as state. */
static void run_handler(const char *text, const char *module, struct fault *fault, int *result)
{
    const char *const scripts[] = {
        "shop/contracts.lua", contracts, "shop/bill.lua", text, "shop/prices.lua", module, NULL};
    struct loaded loaded;
    load_good(&loaded, scripts);
    lua_State *lua = loaded.vm->lua;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, loader_aggregate(loaded.loader, 0)->apply[0].function);
    lua_newtable(lua);
    *result = vm_call(loaded.vm, 1, 0, fault);
    unload_scripts(&loaded);
}

static void handler_good(const char *text, const char *module)
{
    struct fault fault = {0};
    int result;
    run_handler(text, module, &fault, &result);
    if (result < 0) fail_msg("%s\nin: %s", fault.text, text);
}

static void handler_bad(const char *text, const char *module, const char *words)
{
    struct fault fault = {0};
    int result;
    run_handler(text, module, &fault, &result);
    if (result == 0) fail_msg("no error in: %s", text);
    if (strstr(fault.text, words) == NULL) fail_msg("\"%s\", wanted \"%s\" in: %s", fault.text, words, text);
}

#define HANDLER(before, body)                                                                                \
    before "\nlocal bill = aggregate 'bill'\nfunction bill.apply.Made(state) " body " end"

static const char read_only[] = "a table made at file level is read-only";
static const char nothing[] = "return {}";

static void tables_behind_other_names_cannot_be_changed(void **state)
{
    handler_bad(HANDLER("local cache = {n = 1}", "local c = cache c.n = 2"), nothing, read_only);
    handler_bad(HANDLER("local cache = {n = 1}", "local c = cache c.m = 2"), nothing, read_only);
    handler_bad(HANDLER("local cache = {n = 1}", "local c = cache c.n = nil"), nothing, read_only);
    handler_bad(HANDLER("local cache = {a = {b = {}}}", "local c = cache.a.b c[1] = 2"), nothing, read_only);
    handler_bad(HANDLER("local cache = {}", "local c = cache table.insert(c, 1)"), nothing, read_only);
    handler_bad(HANDLER("local cache = {2, 1}", "local c = cache table.sort(c)"), nothing, read_only);
    handler_bad(HANDLER("local cache = {2, 1}", "local c = cache table.remove(c)"), nothing, read_only);
    handler_bad(HANDLER("local cache = {2, 1}", "local c = cache table.move(c, 1, 1, 3)"), nothing,
                read_only);
    handler_bad(HANDLER("local cache = {}", "local c = cache rawset(c, 1, 1)"), nothing, read_only);
    handler_bad(HANDLER("local cache = {}", "local c = cache setmetatable(c, {})"), nothing, read_only);
    handler_bad(HANDLER("local cache = {}", "local c = cache list(c)"), nothing, read_only);
    handler_bad(HANDLER("local cache = {1}", "local _, c = pairs(cache) c[1] = 2"), nothing, read_only);
    handler_bad(HANDLER("local cache = list {}", "local c = cache c[1] = 2"), nothing, read_only);
    handler_bad(HANDLER("local function get() return {} end local c = get() local function set() local d = c "
                        "d.x = 1 end",
                        "set()"),
                nothing, read_only);
    handler_bad(HANDLER("local c = {} local t = {[c] = true}", "for k in pairs(t) do k.x = 1 end"), nothing,
                read_only);
    handler_bad(HANDLER("", "local prices = require 'prices' prices.n = 1"), nothing, read_only);
    handler_bad(HANDLER("local prices = require 'prices'", "prices.add(1)"),
                "local m, all = {}, {} function m.add(n) local a = all a[1] = n end return m", read_only);
}

static void metatables_cannot_be_changed(void **state)
{
    handler_bad(HANDLER("local t = setmetatable({}, {__index = {}})", "local m = getmetatable(t) m.x = 1"),
                nothing, read_only);
    handler_bad(
        HANDLER("local t = setmetatable({}, {__index = {}})", "local m = getmetatable(t).__index m.x = 1"),
        nothing, read_only);
    handler_bad(HANDLER("local m = {} m.__index = m",
                        "local o = setmetatable({}, m) local x = getmetatable(o) "
                        "x.y = 1"),
                nothing, read_only);
    handler_bad(HANDLER("local t = setmetatable({}, {__newindex = function(t, k, v) rawset(t, k, v) end})",
                        "local c = t c.x = 1"),
                nothing, read_only);
    handler_bad(
        HANDLER("local t = setmetatable({}, {__index = function(t, k) local u = t u[k] = 1 return 1 end})",
                "local x = t.x"),
        nothing, read_only);
}

static void reading_is_as_before(void **state)
{
    handler_good(
        HANDLER("local t = {1, 2, 3, x = {y = 4}}",
                "local n = 0 for k, v in pairs(t) do n = n + 1 assert(t[k] == v) end assert(n == 4) "
                "for i, v in ipairs(t) do assert(i == v) end assert(#t == 3 and t.x.y == 4 and t.z == nil) "
                "assert(select('#', table.unpack(t)) == 3 and table.concat(t, ',') == '1,2,3') "
                "assert(rawget(t, 'x') == t.x and rawlen(t) == 3 and next(t) == 1 and next({}) == nil) "
                "assert(getmetatable(t) == nil and type(t) == 'table' and t == t and rawequal(t, t)) "
                "local u = table.move(t, 1, 3, 1, {}) u[4] = 4 assert(#u == 4) "
                "assert(('x'):gsub('x', {x = 'y'}) == 'y')"),
        nothing);
    handler_good(
        HANDLER("local Money = {} Money.__index = Money "
                "function Money.new(n) return setmetatable({n = n}, Money) end "
                "function Money.__add(a, b) return Money.new(a.n + b.n) end "
                "function Money.__eq(a, b) return a.n == b.n end "
                "function Money.__tostring(a) return 'M' .. a.n end "
                "function Money.__call(a, b) return a.n * b end "
                "function Money:double() return self + self end local ONE = Money.new(1)",
                "local two = Money.new(2) assert(ONE + ONE == two and two:double().n == 4) "
                "assert(ONE:double() == two and tostring(ONE) == 'M1' and ONE(5) == 5 and two(5) == 10) "
                "assert(getmetatable(two) == Money and getmetatable(ONE) == Money) two.n = 7 "
                "assert(ONE.n == 1 and ONE.double == Money.double)"),
        nothing);
    handler_good(HANDLER("local Animal = {} Animal.__index = Animal function Animal:legs() return self.n end "
                         "local Dog = setmetatable({n = 4}, Animal) Dog.__index = Dog",
                         "local d = setmetatable({}, Dog) assert(d:legs() == 4 and Dog:legs() == 4) "
                         "local Cat = setmetatable({n = 5}, {__index = Animal}) assert(Cat:legs() == 5)"),
                 nothing);
    handler_good(HANDLER("local d = setmetatable({}, {__index = function(t, k) return k .. '!' end, "
                         "__len = function() return 9 end, __pairs = function(t) return function(_, k) "
                         "if not k then return 1, 2 end end, t end})",
                         "assert(d.x == 'x!' and #d == 9) for k, v in pairs(d) do assert(v == 2) end"),
                 nothing);
    handler_good(HANDLER("local M = {} M.__index = M setmetatable(M, M) M.x = 1", "assert(M.x == 1)"),
                 nothing);
    handler_good(HANDLER("local a, b = {}, {} a.b, b.a = b, a", "assert(a.b.a == a and b.a.b == b)"),
                 nothing);
    handler_good(HANDLER("local prices = require 'prices'",
                         "assert(prices.of('x') == 3 and require 'prices' == prices)"),
                 "local m, all = {}, {x = 3} function m.of(k) return all[k] end return m");
}

static int encode(lua_State *lua)
{
    value_encode(lua, 1, lua_touserdata(lua, lua_upvalueindex(1)), "state", 1000);
    return 0;
}

static void constants_go_into_states_as_copies(void **state)
{
    static const char *const scripts[] = {
        "shop/contracts.lua", contracts, "shop/bill.lua",
        HANDLER("local none, empty = list {}, {tags = {'a'}}", "state.none = none state.empty = empty"),
        NULL};
    struct loaded loaded;
    load_good(&loaded, scripts);
    lua_State *lua = loaded.vm->lua;
    lua_newtable(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, loader_aggregate(loaded.loader, 0)->apply[0].function);
    lua_pushvalue(lua, -2);
    assert_int_equal(vm_call(loaded.vm, 1, 0, &loaded.fault), 0);
    struct buf out = {0};
    lua_pushlightuserdata(lua, &out);
    lua_pushcclosure(lua, encode, 1);
    lua_pushvalue(lua, -2);
    assert_int_equal(vm_call(loaded.vm, 1, 0, &loaded.fault), 0);
    static const char expected[] = "\x82\xa5"
                                   "empty\x81\xa4tags\x91\xa1"
                                   "a\xa4none\x90";
    assert_int_equal(out.size, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.size);
    buf_release(&out);
    unload_scripts(&loaded);
}

static void refused(const char *text, const char *words)
{
    const char *const scripts[] = {"shop/contracts.lua", contracts, "shop/bill.lua", text, NULL};
    struct loaded loaded;
    load_scripts(&loaded, scripts);
    if (loaded.loader != NULL) fail_msg("it loaded: %s", text);
    if (strstr(loaded.errors.data, words) == NULL) fail_msg("%s\nin: %s", loaded.errors.data, text);
    unload_scripts(&loaded);
}

static void closures_keep_nothing(void **state)
{
    refused(HANDLER("local function counter()\nlocal n = 0\nreturn function()\nn = n + 1\nreturn n end end\n"
                    "local c = counter()",
                    "state.n = c()"),
            "scripts/shop/bill.lua:4: a function that stays loaded assigns the local 'n'");
    refused(
        HANDLER("local function box()\nlocal v\nreturn { get = function() return v end, set = function(x)\n"
                "local function deep() v = x end deep() end } end\nlocal b = box()",
                "b.set(state)"),
        "scripts/shop/bill.lua:4: a function that stays loaded assigns the local 'v'");
    refused(HANDLER("local each = ('abc'):gmatch('.')", "state.n = each()"),
            "an iterator that began at file level");
    refused(HANDLER("local each, t = pairs {a = 1}", "state.n = each(t)"),
            "an iterator that began at file level");
    refused(HANDLER("local n = 0\nlocal function count() n = n + 1 return n end", "state.n = count()"),
            "scripts/shop/bill.lua:2: a handler assigns the file-level local 'n'");
    refused(
        HANDLER("local n = 0\nlocal function make() return function() n = n + 1 end end\nlocal f = make()",
                "f()"),
        "scripts/shop/bill.lua:2: a handler assigns the file-level local 'n'");
    /* what only runs while loading is free to */
    handler_good(
        HANDLER("local rates, n = {}, 0 local function rate(name, value) n = n + 1 rates[name] = value end "
                "rate('a', 1) rate('b', 2)",
                "assert(rates.b == 2 and n == 2)"),
        nothing);
    /* what begins and ends within a call is free to assign */
    handler_good(HANDLER("local function sum(t) local n = 0 local function add(x) n = n + x end "
                         "for _, x in ipairs(t) do add(x) end return n end",
                         "assert(sum {1, 2} == 3) local n = 0 (function() n = n + 1 end)() assert(n == 1) "
                         "for w in ('a b'):gmatch('%a') do n = n + 1 end assert(n == 3)"),
                 nothing);
}

/* A metatable may get __gc and __mode after setmetatable has looked at it. */
static void no_finalizer_comes_in_by_freezing(void **state)
{
    handler_good(
        HANDLER("local m = {} local t = setmetatable({}, m) m.__gc = function() while true do end end "
                "m.__mode = 'k'",
                "assert(getmetatable(t) == m and m.__gc == nil and m.__mode == nil)"),
        nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_behind_other_names_cannot_be_changed),
        cmocka_unit_test(metatables_cannot_be_changed),
        cmocka_unit_test(reading_is_as_before),
        cmocka_unit_test(constants_go_into_states_as_copies),
        cmocka_unit_test(closures_keep_nothing),
        cmocka_unit_test(no_finalizer_comes_in_by_freezing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

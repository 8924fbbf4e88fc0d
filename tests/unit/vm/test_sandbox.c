/* What scripts see: the allow-list, and each library. */
#include "test_vm_run.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
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

static void only_what_is_allowed(void **state)
{
    struct vm *vm = *state;
    static const char *const absent[] = {
        "load", "loadstring",  "dofile",      "loadfile",       "require",        "package",
        "os",   "io",          "debug",       "coroutine",      "collectgarbage", "warn",
        "_G",   "string.dump", "math.random", "math.randomseed"};
    char text[128];
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        snprintf(text, sizeof text, "assert(%s == nil)", absent[i]);
        run_good(vm, text);
    }
    /* nothing else slipped in */
    static const char *const present =
        " assert error ipairs next pairs pcall select tonumber tostring type rawequal rawlen "
        "rawget rawset getmetatable setmetatable xpcall print _VERSION string table math utf8 "
        "decimal list days hours minutes seconds time ";
    lua_rawgeti(vm->lua, LUA_REGISTRYINDEX, vm->script_env);
    int count = 0;
    for (lua_pushnil(vm->lua); lua_next(vm->lua, -2); lua_pop(vm->lua, 1), count++) {
        snprintf(text, sizeof text, " %s ", lua_tostring(vm->lua, -2));
        if (!strstr(present, text)) fail_msg("%s is visible", text);
    }
    assert_int_equal(count, 30);
    lua_settop(vm->lua, 0);
}

static void libraries_cannot_be_poisoned(void **state)
{
    struct vm *vm = *state;
    run_bad(vm, "string.format = nil", FAULT_SCRIPT, "test/script.lua:1: string is read-only");
    run_bad(vm, "table.insert = print", FAULT_SCRIPT, "table is read-only");
    run_bad(vm, "math.pi = 3", FAULT_SCRIPT, "math is read-only");
    run_bad(vm, "time.x = 3", FAULT_SCRIPT, "time is read-only");
    run_bad(vm, "utf8.x = 3", FAULT_SCRIPT, "utf8 is read-only");
    run_bad(vm, "rawset(string, 'format', 1)", FAULT_SCRIPT, "read-only");
    run_bad(vm, "setmetatable(string, {})", FAULT_SCRIPT, "protected metatable");
    run_bad(vm, "table.insert(string, 1)", FAULT_SCRIPT, "read-only");
    run_bad(vm, "getmetatable('').__index = function() end", FAULT_SCRIPT, "test/script.lua:1: ");
    run_good(vm, "assert(getmetatable('') == false) assert(getmetatable(string) == false)");
    run_good(
        vm, "local n = 0 for p, c in utf8.codes('a\xc3\xa9') do n = n + p * c end assert(n == 97 + 2 * 233)");
    run_good(vm,
             "local t = {2, 1} table.sort(t, function(a, b) t[1] = nil t[2] = nil list(t) return a < b end) "
             "t.x = 1 t[1] = nil t[2] = nil assert(next(t) == 'x')");
    run_bad(vm, "local _, raw = pairs(string) raw.format = nil", FAULT_SCRIPT, "string is read-only");
    run_good(vm, "local _, raw = pairs(math) assert(rawequal(raw, math) and #math == 0)");
    run_good(vm, "assert(getmetatable(decimal '1') == false) assert(getmetatable(days(1)) == false)");
    run_bad(vm, "setmetatable({}, {__gc = function() end})", FAULT_SCRIPT,
            "test/script.lua:1: setmetatable: __gc is not");
    run_bad(vm, "setmetatable({}, {__mode = 'k'})", FAULT_SCRIPT, "__mode is not");
    run_good(
        vm,
        "local n = 0 for k, v in pairs(string) do assert(string[k] == v) n = n + 1 end assert(n == 16, n)");
}

static void nothing_shows_an_address(void **state)
{
    struct vm *vm = *state;
    run_good(vm, "assert(tostring({}) == 'table' and tostring(print) == 'function' and tostring(function() "
                 "end) == 'function')");
    run_good(vm, "assert(string.format('%s %s', {}, print) == 'table function')");
    run_bad(vm, "string.format('%p', {})", FAULT_SCRIPT, "test/script.lua:1: format: %p");
    run_bad(vm, "('x' .. {})()", FAULT_SCRIPT, "attempt to concatenate a table value");
    run_good(vm, "assert(tostring(nil) == 'nil' and tostring(1.0) == '1.0' and tostring(true) == 'true')");
    run_good(vm, "assert(tostring(setmetatable({}, {__name = 'X'})) == 'table')");
    run_bad(vm, "tostring(setmetatable({}, {__tostring = function() return 1 == 1 end}))", FAULT_SCRIPT,
            "must return a string");
}

static void protected_calls(void **state)
{
    struct vm *vm = *state;
    run_good(vm,
             "local ok, a, b = pcall(function(...) return ... end, 1, 2) assert(ok and a == 1 and b == 2)");
    run_good(vm, "local ok, e = pcall(error, 'x', 0) assert(not ok and e == 'x')");
    run_good(vm, "local t = {} local ok, e = pcall(error, t) assert(not ok and e == t)");
    run_good(vm, "local n = select('#', pcall(error)) assert(n == 2)");
    run_good(vm, "local ok, a, b = xpcall(function(...) return ... end, print, 1, 2) assert(ok and a == 1 "
                 "and b == 2)");
    run_good(vm,
             "local ok, a, b = xpcall(function(x) error(x, 0) end, function(e) return e .. '!', 7 end, 'x') "
             "assert(not ok and a == 'x!' and b == 7)");
    run_good(vm,
             "local ok, e = xpcall(error, function() error('again', 0) end) assert(not ok and e == 'again')");
    run_good(vm, "assert(select('#', xpcall(function() end, print)) == 1)");
    run_bad(vm, "xpcall(print)", FAULT_SCRIPT, "bad argument #2");
    run_bad(vm, "pcall()", FAULT_SCRIPT, "bad argument #1");
}

static void pairs_goes_in_order(void **state)
{
    struct vm *vm = *state;
    run_good(vm, "local t = {[3.5] = 1, b = 1, a = 1, [true] = 1, [-1] = 1, [10] = 1, ab = 1, [false] = 1, "
                 "'x', 'y', [1e300] = 1, "
                 "[math.mininteger] = 1, [math.maxinteger] = 1, [-1e300] = 1, [''] = 1} "
                 "local function keys(walk) local s = {} for k in walk(t) do s[#s + 1] = tostring(k) end "
                 "return table.concat(s, ' ') end "
                 "local wanted = '1 2 -1e+300 ' .. math.mininteger .. ' -1 3.5 10 ' .. math.maxinteger .. ' "
                 "1e+300  a ab b false true' "
                 "assert(keys(pairs) == wanted, keys(pairs)) "
                 "assert(keys(function(t) return next, t end) == wanted)");
    run_good(vm, "local t = {a = 1, b = 2, c = 3} local s = '' for k, v in pairs(t) do s = s .. k t[k] = nil "
                 "t.c = nil end "
                 "assert(s == 'ab' and next(t) == nil)");
    run_good(vm,
             "local t = {-1, 2, [-5] = 1, x = 1} for k in next, t do t[k] = nil end assert(next(t) == nil)");
    run_good(vm, "local t = {1, 2, 3} for i, v in pairs(t) do t[i] = v * 2 end assert(t[3] == 6)");
    run_good(vm, "local n = 0 for k, v in pairs({nil, 2, nil, 4}) do n = n + v end assert(n == 6)");
    run_good(vm, "local t = setmetatable({}, {__pairs = function(t) return function(_, k) if not k then "
                 "return 1, 2 end end, t end}) "
                 "for k, v in pairs(t) do assert(k == 1 and v == 2) end");
    run_good(vm, "local t = {} for i = 1, 5000 do t['k' .. i] = i end local last = '' local n = 0 "
                 "for k, v in pairs(t) do assert(k > last) last = k n = n + v end assert(n == 12502500) "
                 "last = '' for k in next, t do assert(k > last) last = k end");
    run_good(vm, "local k = {} local n = 0 for a in pairs({[k] = 1, x = 1}) do n = n + 1 end assert(n == 2)");
    run_bad(vm, "for k in pairs({[{}] = 1, [{}] = 2}) do end", FAULT_SCRIPT,
            "test/script.lua:1: pairs: several keys of type table");
    run_bad(vm, "next({[print] = 1, [pairs] = 2})", FAULT_SCRIPT, "several keys of type function");
    run_bad(vm, "for k in pairs(nil) do end", FAULT_SCRIPT, "table expected, got nil");
    run_good(
        vm,
        "local t = {a = 1, b = 2} assert(next(t, 'a') == 'b' and next(t, 'b') == nil and next({}) == nil)");
    run_good(vm, "for i, v in ipairs({1, 2, nil, 4}) do assert(i == v and i < 3) end");
}

static void tables_work(void **state)
{
    struct vm *vm = *state;
    run_good(
        vm,
        "local t = {} table.insert(t, 1) table.insert(t, 1, 2) assert(t[1] == 2 and t[2] == 1) "
        "assert(table.remove(t, 1) == 2 and table.remove(t) == 1 and table.remove(t) == nil and #t == 0)");
    run_bad(vm, "table.insert({}, 3, 1)", FAULT_SCRIPT, "position out of bounds");
    run_bad(vm, "table.insert({}, 1, 2, 3)", FAULT_SCRIPT, "wrong number of arguments");
    run_bad(vm, "table.remove({1}, 5)", FAULT_SCRIPT, "position out of bounds");
    run_good(vm, "assert(table.remove({1}, 2) == nil)");
    run_good(vm, "assert(table.concat({1, 'a', 2.5, decimal '1.20'}, ',') == '1,a,2.5,1.20' and "
                 "table.concat({}) == '')");
    run_good(vm, "assert(table.concat({1, 2, 3}, ' ', 2, 3) == '2 3')");
    run_bad(vm, "table.concat({{}})", FAULT_SCRIPT, "invalid value (at index 1)");
    run_good(vm, "local a, b, c = table.unpack({1, 2, 3}, 2) assert(a == 2 and b == 3 and c == nil)");
    run_good(vm, "assert(select('#', table.unpack({}, 1, 3)) == 3)");
    run_bad(vm, "table.unpack({}, 1, 1e8)", FAULT_SCRIPT, "too many results");
    run_bad(vm, "table.unpack({}, math.mininteger, math.maxinteger)", FAULT_SCRIPT, "too many results");
    run_good(vm, "local t = table.pack(1, nil, 3) assert(t.n == 3 and t[3] == 3)");
    run_good(vm, "local t = table.move({1, 2, 3}, 1, 3, 2) assert(table.concat(t, ',') == '1,1,2,3')");
    run_good(vm, "local t = table.move({1, 2, 3}, 2, 3, 1) assert(table.concat(t, ',') == '2,3,3')");
    run_good(vm, "local t = table.move({1, 2, 3}, 1, 3, 1, {}) assert(#t == 3)");
    run_good(
        vm,
        "local t = {} for i = 1, 500 do t[i] = {k = i % 7, i = i} end table.sort(t, function(a, b) return "
        "a.k < b.k end) "
        "for i = 2, 500 do local a, b = t[i - 1], t[i] assert(a.k < b.k or a.k == b.k and a.i < b.i) end");
    run_good(vm, "local t = {3, 1, 2.5, -1} table.sort(t) assert(table.concat(t, ' ') == '-1 1 2.5 3')");
    run_good(vm, "local t = {'b', 'a', 'B', 'ä'} table.sort(t) assert(table.concat(t, ' ') == 'B a b ä')");
    run_good(vm, "local t = {decimal '1.5', decimal '1', 1} table.sort(t) assert(tostring(t[3]) == '1.5')");
    run_bad(vm, "table.sort({1, 'x'})", FAULT_SCRIPT, "attempt to compare");
    run_good(
        vm,
        "local t = {3, 2, 1} pcall(table.sort, t, function() error() end) assert(table.concat(t) == '321')");
    run_good(vm, "local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function() return true end) "
                 "assert(#t == 100)");
}

static void strings_work(void **state)
{
    struct vm *vm = *state;
    run_good(vm,
             "assert(('Ab9'):lower() == 'ab9' and ('Ab9'):upper() == 'AB9' and ('abc'):reverse() == 'cba')");
    run_good(vm, "assert(('ab'):rep(3, ',') == 'ab,ab,ab' and ('x'):rep(0) == '' and ('x'):rep(-1) == '' and "
                 "(''):rep(1e15) == '')");
    run_bad(vm, "('x'):rep(1e15)", FAULT_SCRIPT, "test/script.lua:1: resulting string too large");
    run_good(vm, "assert(('abc'):byte(2) == 98 and string.char(97, 98) == 'ab' and #'abc' == 3 and "
                 "('abc'):sub(-2) == 'bc')");
    run_good(vm, "assert(string.unpack('<i4', string.pack('<i4', 7)) == 7 and string.packsize('i4') == 4)");
    run_good(vm, "assert('10' + 5 == 15 and '3' * '4' == 12 and -'2' == -2 and 10 .. 20 == '1020')");
    run_good(vm, "assert(utf8.char(228) == 'ä' and utf8.len('äx') == 2 and utf8.codepoint('ä') == 228)");
    run_good(vm, "local n = 0 for p, c in utf8.codes('äöü') do n = n + c end assert(n == 228 + 246 + 252)");
    run_good(vm, "assert(('%5.2f|%-5d|%05d|%x|%q|%s'):format(1.5, 3, 7, 255, 'a\\n', decimal '1.20') == "
                 "' 1.50|3    |00007|ff|\"a\\\\\\n\"|1.20')");
    run_bad(vm, "('%d'):format('x')", FAULT_SCRIPT, "number expected, got string");
    run_bad(vm, "('%d'):format(decimal '1')", FAULT_SCRIPT, "number expected, got decimal");
    run_bad(vm, "('%d'):format(1.5)", FAULT_SCRIPT, "no integer representation");
    run_bad(vm, "('%y'):format(1)", FAULT_SCRIPT, "invalid conversion '%y'");
    run_bad(vm, "('%'):format(1)", FAULT_SCRIPT, "invalid conversion '%'");
    run_bad(vm, "('%123d'):format(1)", FAULT_SCRIPT, "invalid conversion");
    run_bad(vm, "('%s'):format()", FAULT_SCRIPT, "no value");
    run_good(vm, "assert(math.floor(2.5) == 2 and math.maxinteger > 0 and math.type(1) == 'integer')");
}

static void list_marks(void **state)
{
    struct vm *vm = *state;
    run_good(vm, "local t = list {} assert(getmetatable(t) == nil and #t == 0 and next(t) == nil) t[1] = 1 "
                 "assert(t[1] == 1)");
    run_good(vm, "local t = list {} t.name = 'x' assert(t.name == 'x')");
    run_good(vm, "local t = list {} table.insert(t, 5) assert(#t == 1) rawset(list {}, 1, 2)");
    run_good(vm, "local t = setmetatable(list {}, {__index = {a = 1}}) assert(t.a == 1)");
    run_good(vm, "local t = {1, 2} assert(list(t) == t)");
    run_bad(vm, "list {a = 1}", FAULT_SCRIPT, "test/script.lua:1: list: keys must be 1..n");
    run_bad(vm, "list {1, nil, 3, x = 2}", FAULT_SCRIPT, "list: keys must be 1..n");
    run_bad(vm, "local t = list {} t[nil] = 1", FAULT_SCRIPT, "test/script.lua:1: ");
}

/* The same script in many processes: the same bytes, though Lua's own order differs in each. */
static void same_bytes_in_every_process(void **state)
{
    (void)state;
    const char *text =
        "local t = {} for i = 1, 300 do t['key' .. (i * 7919 % 1000)] = {n = i, [tostring(i * 31 % 97)] = i} "
        "end "
        "local out = {} for k, v in pairs(t) do for a, b in pairs(v) do out[#out + 1] = a .. b end end "
        "for k in next, t do out[#out + 1] = k end "
        "table.sort(out, function(a, b) return #a < #b end) "
        "return {order = out, map = t, name = tostring({}) .. tostring(print)}";
    struct hash first = {0};
    for (int i = 0; i < 6; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            struct vm *vm = run_new(0);
            struct buf out = {0};
            /* a used state as well as a fresh one */
            for (int n = 0; n < i; n++)
                run_text(vm, "local t = {} for i = 1, 1000 do t['x' .. i] = {} end", 0, NULL);
            if (run_text(vm, text, 1, NULL) == 0) value_encode(vm->lua, -1, &out, "x", 1 << 20);
            struct hash hash = hash_of(buf_slice(&out));
            ssize_t written = out.size > 5000 ? write(ends[1], &hash, sizeof hash) : 0;
            _exit(written == sizeof hash ? 0 : 1);
        }
        struct hash hash = {0};
        assert_int_equal(read(ends[0], &hash, sizeof hash), sizeof hash);
        close(ends[0]);
        close(ends[1]);
        int status;
        waitpid(child, &status, 0);
        assert_int_equal(status, 0);
        if (i == 0) first = hash;
        assert_true(hash_equal(&first, &hash));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_what_is_allowed, make, drop),
        cmocka_unit_test_setup_teardown(libraries_cannot_be_poisoned, make, drop),
        cmocka_unit_test_setup_teardown(nothing_shows_an_address, make, drop),
        cmocka_unit_test_setup_teardown(protected_calls, make, drop),
        cmocka_unit_test_setup_teardown(pairs_goes_in_order, make, drop),
        cmocka_unit_test_setup_teardown(tables_work, make, drop),
        cmocka_unit_test_setup_teardown(strings_work, make, drop),
        cmocka_unit_test_setup_teardown(list_marks, make, drop),
        cmocka_unit_test(same_bytes_in_every_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

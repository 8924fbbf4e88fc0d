/* Patterns and format, compared with Lua's own string library on generated input. */
#include "test_vm_run.h"

#include <lualib.h>
#include <stdlib.h>

/* Two states: ours, and a plain one with the library that Lua brings. */
struct pair {
    struct vm *vm;
    lua_State *plain;
};

static uint64_t seed = 88172645463325252u;

static unsigned draw(unsigned below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed >> 11) % below;
}

static int make(void **state)
{
    static struct pair pair;
    pair.vm = run_new(0);
    pair.plain = luaL_newstate();
    luaL_openlibs(pair.plain);
    *state = &pair;
    return 0;
}

static int drop(void **state)
{
    struct pair *pair = *state;
    vm_free(pair->vm);
    lua_close(pair->plain);
    return 0;
}

/* One text out of everything a call gives, or "error". */
static const char driver[] =
    "local s, p, r, n = ... "
    "local out = {} "
    "local function note(...) local c = select('#', ...) for i = 1, c do local v = select(i, ...) out[#out + "
    "1] = math.type(v) or type(v) "
    "  out[#out + 1] = tostring(v) end out[#out + 1] = ';' end "
    "local function try(f, ...) local t = table.pack(pcall(f, ...)) if t[1] then note(table.unpack(t, 2, "
    "t.n)) else note('error') end end "
    "try(string.find, s, p, n) try(string.match, s, p, n) try(string.find, s, p, n, true) "
    "try(string.gsub, s, p, r) try(string.gsub, s, p, r, 2) try(string.gsub, s, p, function(a, b) return b "
    "end) "
    "try(string.gsub, s, p, {a = 'X', ab = 1, [1] = 'pos'}) "
    "try(function() for a, b, c in string.gmatch(s, p) do note(a, b, c) end end) "
    "try(function() for a, b in string.gmatch(s, p, n) do note(a, b) end end) "
    "return table.concat(out, ' ')";

static void push_driver(struct pair *pair, const char *text)
{
    assert_int_equal(luaL_loadstring(pair->plain, text), LUA_OK);
    run_push_env(pair->vm);
    assert_int_equal(vm_load(pair->vm, slice_of(text), "test/script.lua", 1, NULL), 0);
    lua_remove(pair->vm->lua, 1);
}

/* Calls the driver (at index 1 of both) with the same arguments; both must give the same text. */
static void compare(struct pair *pair, const char *shown, int arguments)
{
    struct fault fault = {0};
    assert_int_equal(lua_pcall(pair->plain, arguments, 1, 0), LUA_OK);
    if (vm_call(pair->vm, arguments, 1, &fault) < 0) fail_msg("%s", fault.text);
    size_t a, b;
    const char *wanted = lua_tolstring(pair->plain, -1, &a), *got = lua_tolstring(pair->vm->lua, -1, &b);
    if (a != b || memcmp(wanted, got, a) != 0) fail_msg("%s\nLua:  %s\nours: %s", shown, wanted, got);
    lua_settop(pair->plain, 1);
    lua_settop(pair->vm->lua, 1);
}

static void push_both(struct pair *pair, const char *text, size_t size)
{
    lua_pushlstring(pair->plain, text, size);
    lua_pushlstring(pair->vm->lua, text, size);
}

static void same_as_lua_on_generated_patterns(void **state)
{
    struct pair *pair = *state;
    static const char *const pieces[] = {
        "a",      "b",     "c",    ".",   "%a",   "%d",   "%s",     "%w",    "%A", "%u",   "%.",   "[ab]",
        "[^a]",   "[a-c]", "[%a]", "[]]", "[^]]", "[a-]", "*",      "+",     "-",  "?",    "*",    "-",
        "(",      ")",     "()",   "(",   ")",    "^",    "$",      "%1",    "%2", "%b()", "%bab", "%f[a]",
        "%f[%w]", "[",     "]",    "%",   "%f",   "%b",   "%bx",    "[a",    "[%", "-",    "%z",   "\xe4",
        "%x",     "%p",    "%c",   "%g",  "%l",   "[%]]", "[a%-c]", "[^%s]", "1",  "%5",   "%0",   "."};
    static const char alphabet[] = "aabbcc()1 .A\n\xe4";
    static const char *const replacements[] = {"x", "<%0>", "%1", "%%", "%2%1", "", "%", "%x", "%1%1", "a%"};
    push_driver(pair, driver);
    int rounds = getenv("LORE_TEST_SMALL") ? 10000 : 200000; /* sanitizers keep every longjmp's frames */
    for (int round = 0; round < rounds; round++) {
        char subject[24], pattern[80] = "", shown[200];
        size_t subject_size = draw(sizeof subject);
        for (size_t i = 0; i < subject_size; i++)
            subject[i] = draw(40) ? alphabet[draw(sizeof alphabet - 1)] : 0;
        for (unsigned i = draw(8); i < 8; i++)
            strcat(pattern, pieces[draw(sizeof pieces / sizeof pieces[0])]);
        const char *replacement = replacements[draw(10)];
        int position = (int)draw(30) - 14;
        push_both(pair, subject, subject_size);
        push_both(pair, pattern, strlen(pattern));
        push_both(pair, replacement, strlen(replacement));
        lua_pushinteger(pair->plain, position);
        lua_pushinteger(pair->vm->lua, position);
        snprintf(shown, sizeof shown, "subject \"%.*s\" pattern \"%s\" replacement \"%s\" at %d",
                 (int)subject_size, subject, pattern, replacement, position);
        lua_pushvalue(pair->plain, 1);
        lua_insert(pair->plain, 2);
        lua_pushvalue(pair->vm->lua, 1);
        lua_insert(pair->vm->lua, 2);
        compare(pair, shown, 4);
        if (round % 1000 == 0) lua_gc(pair->vm->lua, LUA_GCCOLLECT);
    }
}

static void same_as_lua_on_generated_formats(void **state)
{
    struct pair *pair = *state;
    static const char flags[] = "-+ #0", letters[] = "diuoxXaAeEfgGcsqyz";
    push_driver(pair, "local f, a = ... local ok, s = pcall(string.format, f, a) return ok and s or 'error'");
    int rounds = getenv("LORE_TEST_SMALL") ? 5000 : 60000; /* sanitizers keep every longjmp's frames */
    for (int round = 0; round < rounds; round++) {
        char format[40] = "<%", shown[100];
        size_t size = 2;
        for (unsigned i = draw(3); i > 0; i--) format[size++] = flags[draw(5)];
        for (unsigned i = draw(4); i > 0; i--) format[size++] = (char)('0' + draw(10));
        if (draw(2)) {
            format[size++] = '.';
            for (unsigned i = draw(4); i > 0; i--) format[size++] = (char)('0' + draw(10));
        }
        format[size++] = letters[draw(sizeof letters - 1)];
        format[size++] = '>';
        push_both(pair, format, size);
        lua_State *both[] = {pair->plain, pair->vm->lua};
        unsigned kind = draw(6);
        lua_Integer integer = draw(3) ? (lua_Integer)draw(1000) - 500 : (lua_Integer)seed;
        for (int i = 0; i < 2; i++) {
            if (kind == 0)
                lua_pushnumber(both[i], (double)integer / 7);
            else if (kind == 1)
                lua_pushliteral(both[i], "text\n\"\\\0 1\r2\r");
            else if (kind == 2)
                lua_pushliteral(both[i], "12.0");
            else if (kind == 3)
                lua_pushnumber(both[i], (double)integer * 1e300);
            else if (kind == 4)
                lua_pushboolean(both[i], 1);
            else
                lua_pushinteger(both[i], integer);
            lua_pushvalue(both[i], 1);
            lua_insert(both[i], 2);
        }
        snprintf(shown, sizeof shown, "format \"%.*s\" kind %u", (int)size, format, kind);
        compare(pair, shown, 2);
    }
}

static void known_cases(void **state)
{
    struct vm *vm = ((struct pair *)*state)->vm;
    run_good(vm, "assert(('THE (quick) fox'):find('%((%a+)%)') == 5)");
    run_good(vm, "assert(('  trim  '):match('^%s*(.-)%s*$') == 'trim')");
    run_good(vm, "local s = (' '):rep(5000) .. 'x' assert(s:match('^%s*(.-)%s*$') == 'x')");
    run_good(vm,
             "local k, v = ('key = value'):match('^(%w+)%s*=%s*(%w+)$') assert(k == 'key' and v == 'value')");
    run_good(vm, "local t = {} for w in ('one two'):gmatch('%a+') do t[#t + 1] = w end assert(#t == 2 and "
                 "t[2] == 'two')");
    run_good(vm, "assert(('hello world'):gsub('o', '0') == 'hell0 w0rld') assert(select(2, ('abc'):gsub('', "
                 "'-')) == 4)");
    run_good(vm, "assert(('THE (quick) fox'):gsub('%f[%a]%a+', string.lower) == 'the (quick) fox')");
    run_bad(vm, "('x'):rep(300):find(('x?'):rep(250))", FAULT_SCRIPT,
            "test/script.lua:1: pattern too complex");
    run_bad(vm, "('x'):rep(40):find(('(x)'):rep(40))", FAULT_SCRIPT, "test/script.lua:1: too many captures");
    /* a view of a state can be the table of gsub; a decimal is no replacement */
    run_bad(vm, "('x'):gsub('x', function() return decimal '1' end)", FAULT_SCRIPT,
            "invalid replacement value (a userdata)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(known_cases, make, drop),
        cmocka_unit_test_setup_teardown(same_as_lua_on_generated_patterns, make, drop),
        cmocka_unit_test_setup_teardown(same_as_lua_on_generated_formats, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

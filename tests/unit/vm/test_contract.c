/* The check and the constructors: what passes, what it becomes, and the words for what does not. */
#include "loader_support.h"

#include <time.h>

static const char *const scripts[] = {"x/c.lua",
                                      "contracts [[\n"
                                      "  let line = (article: string, price: decimal)\n"
                                      "  Made! (s: string?, i: integer?, n: number?, b: boolean?, t: time?, "
                                      "d: decimal?, a: any?, l: integer[]?,\n"
                                      "         m: {string: time}?, r: line?, rs: line[]?, ll: string[][]?)\n"
                                      "  Needs! (customer: string, start_date: time, lines: line[])\n"
                                      "  Thing! (x: any)\n"
                                      "  Empty?\n"
                                      "]]",
                                      NULL};

static struct loaded loaded;

static int open_scripts(void **state)
{
    load_good(&loaded, scripts);
    return 0;
}

static int close_scripts(void **state)
{
    unload_scripts(&loaded);
    return 0;
}

/* Runs a text in the context; its result as text, or the error. */
static const char *run(const char *text)
{
    static char result[4096];
    lua_State *lua = loaded.vm->lua;
    struct fault fault;
    if (loader_compile(loaded.loader, slice_of("x"), slice_of(text), "t.lua", LUA_NOREF, &fault) < 0 ||
        vm_call(loaded.vm, 0, 1, &fault) < 0) {
        snprintf(result, sizeof result, "%s: %s", fault_name(fault.code), fault.text);
        return result;
    }
    snprintf(result, sizeof result, "%s",
             lua_isstring(lua, -1) ? lua_tostring(lua, -1) : luaL_typename(lua, -1));
    lua_pop(lua, 1);
    return result;
}

struct row {
    const char *field; /* of Made */
    const char *expected;
};

static const struct row refused[] = {
    {"s = 7", "s: expected string, got integer"},
    {"s = '\\xff'", "s: expected string, got bytes that are no UTF-8"},
    {"s = false", "s: expected string, got boolean"},
    {"s = {}", "s: expected string, got map"},
    {"s = { 'a' }", "s: expected string, got list"},
    {"s = print", "s: expected string, got function"},
    {"s = decimal '1'", "s: expected string, got decimal"},
    {"i = '7'", "i: expected integer, got string"},
    {"i = 1.5", "i: expected integer, got float"},
    {"i = 1e300", "i: expected integer, got float"},
    {"i = 2^63", "i: expected integer, got float"},
    {"i = 0/0", "i: expected integer, got nan"},
    {"n = '1'", "n: expected number, got string"},
    {"n = 1/0", "n: expected number, got inf"},
    {"b = 0", "b: expected boolean, got integer"},
    {"t = 7", "t: expected time, got integer"},
    {"t = 'soon'", "t: expected time, got \"soon\""},
    {"t = '2026-02-30'", "t: expected time, got \"2026-02-30\""},
    {"t = '2026-02-01T08:26:00.000'", "t: expected time, got \"2026-02-01T08:26:00.000\""},
    {"t = ('x'):rep(100)", "t: expected time, got string"},
    {"d = 1.5", "d: expected decimal, got float: write it as text"},
    {"d = 'much'", "d: expected decimal, got \"much\""},
    {"d = '1e5'", "d: expected decimal, got \"1e5\""},
    {"d = true", "d: expected decimal, got boolean"},
    {"a = print", "a: expected a value, got function"},
    {"a = 0/0", "a: expected a value, got nan"},
    {"l = 7", "l: expected list, got integer"},
    {"l = { 1, 'x', 3 }", "l[2]: expected integer, got string"},
    {"l = { 1, nil, 3 }", "l: expected list, got a table with holes or named fields"},
    {"l = { 1, 2, x = 3 }", "l: expected list, got a table with holes or named fields"},
    {"l = { x = 3 }", "l: expected list, got map"},
    {"m = { 1 }", "m: expected map, got list"},
    {"m = list {}", "m: expected map, got list"},
    {"m = { a = '2026-01-01', b = 7 }", "m.b: expected time, got integer"},
    {"m = { [1.5] = '2026-01-01' }", "m: expected text as the name of a field, got float"},
    {"r = 'x'", "r: expected record, got string"},
    {"r = list {}", "r: expected record, got list"},
    {"r = { article = 'a' }", "r.price: expected decimal, got nothing"},
    {"r = { article = 'a', price = 1, prize = 2 }", "r.prize: unknown field: did you mean price?"},
    {"r = { article = 'a', price = 1, [1] = 2 }", "r: expected text as the name of a field, got integer"},
    {"rs = { { article = 'a', price = 1 }, { article = 'b', price = 0.5 } }",
     "rs[2].price: expected decimal, got float: write it as text"},
    {"ll = { { 'a' }, { 'b', 7 } }", "ll[2][2]: expected string, got integer"},
    {"z = 1", "z: unknown field"},
    {"ss = 1, q = 2", "q: unknown field"},
    {"r = Empty {}", "r: expected record, got userdata"},
};

static void what_does_not_fit_is_named_by_its_path(void **state)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char text[400], expected[400];
        snprintf(text, sizeof text, "\nreturn Made { %s }", refused[i].field);
        snprintf(expected, sizeof expected, "contract: t.lua:2: Made.%s", refused[i].expected);
        assert_string_equal(run(text), expected);
    }
    assert_string_equal(run("return Needs { start_date = 7 }"),
                        "contract: t.lua:1: Needs.customer: expected string, got nothing");
    assert_string_equal(run("return Needs { customer = '', start_date = 7 }"),
                        "contract: t.lua:1: Needs.start_date: expected time, got integer");
    assert_string_equal(run("return Thing {}"), "contract: t.lua:1: Thing.x: expected a value, got nothing");
    assert_string_equal(run("return Empty { x = 1 }"), "contract: t.lua:1: Empty.x: unknown field");
    assert_string_equal(run("return Empty()"),
                        "contract: t.lua:1: Empty: expected a table of its fields: Empty { … }");
    assert_string_equal(run("return Empty(7)"),
                        "contract: t.lua:1: Empty: expected a table of its fields: Empty { … }");
}

static const struct row normal[] = {
    {"s = 'a\\u{e9}'", "return e.s"},
    {"i = 7.0", "return math.type(e.i) .. e.i == 'integer7'"},
    {"i = -2.0^63", "return e.i == math.mininteger"},
    {"n = 7", "return math.type(e.n) == 'integer'"},
    {"n = 1.0", "return math.type(e.n) == 'float'"},
    {"t = '2026-02-01'", "return e.t == '2026-02-01T00:00:00.000Z'"},
    {"t = '2026-02-01T08:26:00+02:00'", "return e.t == '2026-02-01T06:26:00.000Z'"},
    {"t = '2026-02-01T08:26:00.000Z'", "return e.t == '2026-02-01T08:26:00.000Z'"},
    {"d = '1.20'", "return tostring(e.d) == '1.20' and e.d == decimal '1.2'"},
    {"d = 3", "return e.d == decimal(3)"},
    {"d = decimal '0.5'", "return e.d == decimal '0.5'"},
    {"l = {}", "return #e.l == 0"},
    {"l = { 1, 2.0 }", "return math.type(e.l[2]) == 'integer'"},
    {"m = { a = '2026-01-01' }", "return e.m.a == '2026-01-01T00:00:00.000Z'"},
    {"r = { article = 'x', price = '1.5' }", "return e.r.price == decimal '1.5'"},
    {"a = { x = { 1, { y = decimal '1' } } }", "return e.a.x[2].y == decimal '1'"},
    {"s = nil", "return e.s == nil"},
};

static void what_fits_becomes_normal(void **state)
{
    for (size_t i = 0; i < sizeof normal / sizeof *normal; i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "local e = Made { %s }\nlocal ok = (function() %s end)()\nreturn ok and 'yes' or 'no'",
                 normal[i].field, normal[i].expected);
        const char *got = run(text);
        if (strcmp(got, "yes") != 0) print_error("%s\n", text);
        assert_string_equal(got, "yes");
    }
}

static void a_message_is_out_of_reach(void **state)
{
    assert_string_equal(run("local t = { s = 'a', l = { 1 }, a = { x = { 1 } } } local e = Made(t)\n"
                            "t.s = 'b' t.l[1] = 2 t.a.x[1] = 'changed'\n"
                            "return e.s .. e.l[1] .. e.a.x[1]"),
                        "a11");
    assert_string_equal(run("local e = Made { s = 'a' } e.s = 'b'"),
                        "script: t.lua:1: Made: a message cannot be changed");
    assert_non_null(strstr(run("local e = Made { l = { 1 } } e.l[1] = 2"), "read-only"));
    assert_string_equal(run("return tostring(getmetatable(Made {}))"), "false");
    assert_string_equal(run("return tostring(Made {})"), "Made");
    /* A shared table is copied for each place. */
    assert_string_equal(run("local one = { article = 'a', price = 1 } local e = Made { rs = { one, one } } "
                            "return e.rs[2].article"),
                        "a");
    /* A field of one message goes into another. */
    assert_string_equal(run("local e = Made { l = { 1, 2 } } return Made { l = e.l }.l[2]"), "2");
    /* Metatables of scripts are not asked. */
    assert_string_equal(
        run("local t = setmetatable({}, { __index = function() return 'x' end }) return tostring(Made(t).s)"),
        "nil");
}

static int take_apart(lua_State *lua)
{
    assert_null(contract_message_of(lua, 1));
    lua_pushinteger(lua, 1);
    assert_null(contract_message_of(lua, -1));
    lua_newuserdatauv(lua, 8, 1);
    assert_null(contract_message_of(lua, -1));
    lua_rawgeti(
        lua, LUA_REGISTRYINDEX,
        contracts_find(loader_contracts(loaded.loader), slice_of("x"), slice_of("Made"))->constructor);
    lua_newtable(lua);
    lua_pushliteral(lua, "2026-01-01");
    lua_setfield(lua, -2, "t");
    lua_call(lua, 1, 1);
    int top = lua_gettop(lua);
    const struct contract_message *message = contract_message_of(lua, -1);
    assert_string_equal(message->name.data, "Made");
    assert_int_equal(lua_gettop(lua), top + 1);
    lua_getfield(lua, -1, "t");
    assert_string_equal(lua_tostring(lua, -1), "2026-01-01T00:00:00.000Z");
    lua_pop(lua, 1);
    contract_push_message(lua, -1, message);
    assert_ptr_equal(contract_message_of(lua, -1), message);
    assert_true(lua_rawequal(lua, -1, -3));
    return 0;
}

static void c_takes_a_message_apart(void **state)
{
    assert_int_equal(vm_protected(loaded.vm, take_apart, NULL, &loaded.fault), 0);
}

static int check_in_place(lua_State *lua)
{
    const struct contract_message *message =
        contracts_find(loader_contracts(loaded.loader), slice_of("x"), slice_of("Needs"));
    /* { customer = "é", lines = [{ article = "a", price = "1.50" }], start_date = "2026-01-01T00:00:00+01:00"
     * } */
    static const char sent[] = "\x83\xa8"
                               "customer\xa2\xc3\xa9\xa5"
                               "lines\x91\x82\xa7"
                               "article\xa1"
                               "a\xa5"
                               "price\xa4"
                               "1.50\xaa"
                               "start_date\xb9"
                               "2026-01-01T00:00:00+01:00";
    value_push(lua, slice_make(sent, sizeof sent - 1));
    struct buf *out = lua_touserdata(lua, 1);
    int top = lua_gettop(lua);
    contract_check(lua, -1, message, 0);
    contract_check(lua, -1, message, 0); /* once more: nothing changes */
    assert_int_equal(lua_gettop(lua), top);
    value_encode(lua, -1, out, "Needs", 1000);
    lua_getfield(lua, -1, "lines");
    lua_pushinteger(lua, 7);
    lua_setfield(lua, -2, "extra");
    lua_pop(lua, 1);
    contract_check(lua, -1, message, 0);
    return 0;
}

static void a_decoded_table_is_checked_in_place(void **state)
{
    struct buf out = {0};
    assert_int_equal(vm_protected(loaded.vm, check_in_place, &out, &loaded.fault), -1);
    assert_int_equal(loaded.fault.code, FAULT_CONTRACT);
    assert_string_equal(loaded.fault.text,
                        "Needs.lines: expected list, got a table with holes or named fields");
    static const char expected[] = "\x83\xa8"
                                   "customer\xa2\xc3\xa9\xa5"
                                   "lines\x91\x82\xa7"
                                   "article\xa1"
                                   "a\xa5"
                                   "price\xd6\x01"
                                   "1.50\xaa"
                                   "start_date\xb8"
                                   "2025-12-31T23:00:00.000Z";
    assert_int_equal(out.size, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.size);
    buf_release(&out);
}

static int many_times(lua_State *lua)
{
    const struct contract_message *message =
        contracts_find(loader_contracts(loaded.loader), slice_of("x"), slice_of("Made"));
    lua_newtable(lua);
    lua_pushliteral(lua, "acme");
    lua_setfield(lua, -2, "s");
    lua_pushinteger(lua, 7);
    lua_setfield(lua, -2, "i");
    lua_pushboolean(lua, 1);
    lua_setfield(lua, -2, "b");
    lua_pushliteral(lua, "2026-01-01T00:00:00.000Z");
    lua_setfield(lua, -2, "t");
    lua_pushnumber(lua, 1.5);
    lua_setfield(lua, -2, "n");
    value_push_decimal(lua, slice_of("1.20"));
    lua_setfield(lua, -2, "d");
    enum { COUNT = 50000, ROUNDS = 6 };
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        struct timespec begin, end;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
        for (int i = 0; i < COUNT; i++) contract_check(lua, -1, message, 0);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
        if (seconds < best) best = seconds;
    }
    print_message("# a check of six fields takes %.0f ns\n", best * 1e9 / COUNT);
    return 0;
}

/* Shown, not judged: machines and sanitizers differ. */
static void the_check_is_fast(void **state)
{
    assert_int_equal(vm_protected(loaded.vm, many_times, NULL, &loaded.fault), 0);
}

static void many_checks_end_with_the_budget(void **state)
{
    loaded.vm->exact = true;
    const char *got = run("local l = {} for i = 1, 100000 do l[i] = i end\nwhile true do Made { l = l } end");
    loaded.vm->exact = false;
    assert_string_equal(got, "script: t.lua:2: more than 64 MiB allocated in one call");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_is_named_by_its_path),
        cmocka_unit_test(what_fits_becomes_normal),
        cmocka_unit_test(a_message_is_out_of_reach),
        cmocka_unit_test(c_takes_a_message_apart),
        cmocka_unit_test(a_decoded_table_is_checked_in_place),
        cmocka_unit_test(the_check_is_fast),
        cmocka_unit_test(many_checks_end_with_the_budget),
    };
    return cmocka_run_group_tests(tests, open_scripts, close_scripts);
}

/* Decimals: known cases, and sums and products compared with an independent model on 128-bit integers. */
#include "test_vm_run.h"

#include <stdlib.h>

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

static void made_of(void **state)
{
    struct vm *vm = *state;
    run_good(vm, "assert(tostring(decimal '1.20') == '1.20' and tostring(decimal(2.55)) == '2.55' and "
                 "tostring(decimal(3)) == '3')");
    run_good(
        vm,
        "assert(tostring(decimal(0.1)) == '0.1' and tostring(decimal(1e22)) == '10000000000000000000000')");
    run_good(vm, "assert(tostring(decimal(3.0)) == '3' and tostring(decimal(1e-7)) == '0.0000001' and "
                 "tostring(decimal(-0.0)) == '0')");
    run_good(vm, "assert(tostring(decimal(math.mininteger)) == '-9223372036854775808')");
    run_good(vm, "assert(tostring(decimal '-0.00') == '0.00' and tostring(decimal '007') == '7')");
    run_good(vm, "assert(tostring(decimal '9999999999999999999999999999999999') == "
                 "'9999999999999999999999999999999999')");
    run_good(vm, "local d = decimal '1' assert(rawequal(decimal(d), d))");
    run_bad(vm, "decimal '1.2.3'", FAULT_SCRIPT, "test/script.lua:1: \"1.2.3\" is no decimal");
    static const char *const bad[] = {"",    "-",   ".5",  "5.",
                                      "+1",  " 1",  "1 ",  "1e5",
                                      "nan", "inf", "0x1", "10000000000000000000000000000000000",
                                      "1,5", "--1", "1\\0"};
    char text[128];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, "decimal '%s'", bad[i]);
        run_bad(vm, text, FAULT_SCRIPT, "is no decimal");
    }
    run_bad(vm, "decimal(0/0)", FAULT_SCRIPT, "not finite");
    run_bad(vm, "decimal(1e300)", FAULT_SCRIPT, "more than 34 digits");
    run_bad(vm, "decimal {}", FAULT_SCRIPT, "expected text or a number, got table");
    run_bad(vm, "decimal()", FAULT_SCRIPT, "expected text or a number, got no value");
}

static void arithmetic(void **state)
{
    struct vm *vm = *state;
    run_good(vm, "local d = decimal assert(tostring(d '1.20' + d '1.3') == '2.50' and tostring(d '1.20' - 1) "
                 "== '0.20')");
    run_good(vm, "local d = decimal assert(tostring(2 * d '1.25') == '2.50' and tostring(-d '1.5') == '-1.5' "
                 "and tostring(-d '0') == '0')");
    run_good(vm, "local d = decimal assert(tostring(d '1' / 3) == '0.3333333333333333333333333333')");
    run_good(vm, "local d = decimal assert(tostring(d '2' / 3) == '0.6666666666666666666666666667')");
    run_good(vm, "local d = decimal assert(tostring(d '6' / 2) == '3' and tostring(d '1.20' / 2) == '0.60' "
                 "and tostring(10 / d '0.5') == '20')");
    run_good(vm, "local d = decimal assert(tostring(d '1' / 4) == '0.25' and tostring(-d '1' / 8) == "
                 "'-0.125' and tostring(0 / d '3') == '0')");
    run_good(vm, "assert(tostring(decimal '9999999999999999999999999999' / decimal '1') == "
                 "'9999999999999999999999999999')");
    run_good(
        vm,
        "assert(tostring(decimal '99999999999999999999999999995' / 1) == '100000000000000000000000000000')");
    run_bad(vm, "local a = decimal '1' / 0", FAULT_SCRIPT, "test/script.lua:1: decimal division by zero");
    run_bad(vm, "local a = decimal '1' + 0.5", FAULT_SCRIPT, "write decimal(x)");
    run_bad(vm, "local a = 2.0 * decimal '1'", FAULT_SCRIPT, "write decimal(x)");
    run_bad(vm, "local a = decimal '1' + '1'", FAULT_SCRIPT, "cannot add a decimal and a string");
    run_bad(vm, "local a = decimal '1' + nil", FAULT_SCRIPT, "cannot add a decimal and a nil");
    run_bad(vm, "local a = decimal '1' % 2", FAULT_SCRIPT,
            "test/script.lua:1: attempt to perform arithmetic on a decimal value");
    run_bad(vm, "local a = decimal '9999999999999999999999999999999999' + 1 + decimal '0.1'", FAULT_SCRIPT,
            "decimal result needs more than 34 digits");
    run_bad(vm, "local a = decimal '9999999999999999999999999999999999' + decimal '0.1'", FAULT_SCRIPT,
            "more than 34 digits");
    run_bad(vm, "local a = decimal '12345678901234567890' * decimal '12345678901234567890'", FAULT_SCRIPT,
            "more than 34 digits");
    run_bad(vm, "local d = decimal '0.1' for i = 1, 100 do d = d * d end", FAULT_SCRIPT,
            "more than 34 digits");
    run_bad(vm, "local d = decimal '10' for i = 1, 10 do d = d * d end", FAULT_SCRIPT, "more than 34 digits");
    run_bad(vm, "local a = 1 .. decimal '1' .. {}", FAULT_SCRIPT, "cannot concatenate a decimal and a table");
    run_good(vm, "assert('x' .. decimal '1.50' == 'x1.50' and decimal '1' .. 2 == '12' and decimal '1' .. "
                 "decimal '2' == '12')");
}

static void comparison(void **state)
{
    struct vm *vm = *state;
    run_good(vm, "local d = decimal assert(d '1.20' == d '1.2' and d '1' ~= d '2' and d '0' == d '-0.00')");
    run_good(vm, "local d = decimal assert(d '1' < d '1.1' and d '-1' < 0 and 0 <= d '0.0' and d '2' > 1 and "
                 "not (d '1' < d '1.0'))");
    run_good(vm, "local d = decimal assert(d '-2' < d '-1.5' and d '-1' < d '1' and d '0.00001' > d '0' and "
                 "d '100' > d '99.99999')");
    run_good(vm, "assert((decimal '1' == 1) == false)");
    run_bad(vm, "local a = decimal '1' < 1.5", FAULT_SCRIPT,
            "cannot compare a decimal and a float: write decimal(x)");
    run_bad(vm, "local a = decimal '1' < 'x'", FAULT_SCRIPT, "cannot compare a decimal and a string");
}

static void methods(void **state)
{
    struct vm *vm = *state;
    static const char *const rounded[][3] = {
        {"2.345", "2", "2.35"}, {"2.344", "2", "2.34"}, {"-2.345", "2", "-2.35"}, {"2.5", "0", "3"},
        {"-2.5", "0", "-3"},    {"1.2", "2", "1.20"},   {"1234", "-2", "1200"},   {"1250", "-2", "1300"},
        {"0.4", "0", "0"},      {"-0.4", "0", "0"},     {"9.999", "2", "10.00"},  {"50", "-2", "100"},
        {"49", "-2", "0"},      {"1", "0", "1"}};
    char text[160];
    for (size_t i = 0; i < sizeof rounded / sizeof rounded[0]; i++) {
        snprintf(text, sizeof text, "local r = tostring(decimal('%s'):round(%s)) assert(r == '%s', r)",
                 rounded[i][0], rounded[i][1], rounded[i][2]);
        run_good(vm, text);
    }
    run_good(vm, "assert(tostring(decimal '2.5':round()) == '3' and decimal '0.00':is_zero() and not decimal "
                 "'0.01':is_zero())");
    run_good(vm, "assert(tostring(decimal '-2':abs()) == '2' and decimal '-2':sign() == -1 and decimal "
                 "'0':sign() == 0)");
    run_good(vm, "assert(decimal '2.5':float() == 2.5 and decimal '42.00':integer() == 42 and "
                 "math.type(decimal '42':integer()) == 'integer')");
    run_good(vm, "assert(decimal '-9223372036854775808':integer() == math.mininteger)");
    run_bad(vm, "decimal '2.5':integer()", FAULT_SCRIPT, "2.5 is no integer");
    run_bad(vm, "decimal '9223372036854775808':integer()", FAULT_SCRIPT, "is no integer");
    run_bad(vm, "decimal '1':round(99)", FAULT_SCRIPT, "round: between");
    run_bad(vm, "decimal '1.5':round(40)", FAULT_SCRIPT, "more than 34 digits");
    run_bad(vm, "decimal('1').round('x')", FAULT_SCRIPT, "decimal expected");
    run_bad(vm, "local d = decimal '1' d.x = 1", FAULT_SCRIPT, "test/script.lua:1: ");
}

/* --- the model: value * 10^-scale on 128 bits, texts written another way --- */

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void model_text(__int128 value, int scale, char *text)
{
    char digits[64];
    bool negative = value < 0;
    unsigned __int128 rest = negative ? -(unsigned __int128)value : (unsigned __int128)value;
    int size = 0;
    while (rest || size <= scale) {
        digits[size++] = (char)('0' + (int)(rest % 10));
        rest /= 10;
    }
    if (negative) *text++ = '-';
    while (size) {
        if (size == scale) *text++ = '.';
        *text++ = digits[--size];
    }
    *text = 0;
}

static __int128 scaled(__int128 value, int by)
{
    while (by-- > 0) value *= 10;
    return value;
}

static void push_decimal(struct vm *vm, __int128 value, int scale)
{
    char text[80];
    model_text(value, scale, text);
    value_push_decimal(vm->lua, slice_of(text));
}

static void call_and_compare(struct vm *vm, const char *operator, __int128 a, int a_scale, __int128 b,
                             int b_scale, __int128 wanted, int scale)
{
    char text[80], wanted_text[80], got[80];
    struct fault fault;
    run_push_env(vm);
    snprintf(text, sizeof text, "local a, b = ... return a %s b", operator);
    assert_int_equal(vm_load(vm, slice_of(text), "test/script.lua", 1, NULL), 0);
    push_decimal(vm, a, a_scale);
    push_decimal(vm, b, b_scale);
    if (vm_call(vm, 2, 1, &fault) < 0) fail_msg("%s", fault.text);
    got[value_decimal_text(vm->lua, -1, got)] = 0;
    model_text(wanted, scale, wanted_text);
    if (strcmp(got, wanted_text) != 0) fail_msg("%s: got %s, wanted %s", operator, got, wanted_text);
    lua_settop(vm->lua, 0);
}

static void same_as_the_model(void **state)
{
    struct vm *vm = *state;
    for (int round = 0; round < 20000; round++) {
        int a_scale = (int)(draw() % 7), b_scale = (int)(draw() % 7);
        /* sums across the border of 64 bits, products across that of 56 */
        __int128 a = (__int128)(int64_t)draw() >> (draw() % 60),
                 b = (__int128)(int64_t)draw() >> (draw() % 60);
        int scale = a_scale > b_scale ? a_scale : b_scale;
        __int128 wide_a = scaled(a, scale - a_scale), wide_b = scaled(b, scale - b_scale);
        call_and_compare(vm, "+", a, a_scale, b, b_scale, wide_a + wide_b, scale);
        call_and_compare(vm, "-", a, a_scale, b, b_scale, wide_a - wide_b, scale);
        __int128 c = a % 100000000000000ll;
        call_and_compare(vm, "*", b, b_scale, c, a_scale, b * c, a_scale + b_scale);
        if (round % 500 == 0) lua_gc(vm->lua, LUA_GCCOLLECT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_of, make, drop),
        cmocka_unit_test_setup_teardown(arithmetic, make, drop),
        cmocka_unit_test_setup_teardown(comparison, make, drop),
        cmocka_unit_test_setup_teardown(methods, make, drop),
        cmocka_unit_test_setup_teardown(same_as_the_model, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

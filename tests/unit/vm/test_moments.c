/* Times and durations. */
#include "test_vm_run.h"

#include "vm/moments.h"

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

static void times_and_durations(void **state)
{
    struct vm *vm = *state;
    run_good(vm, "local t = '2026-02-01T08:26:00.000Z' assert(t + days(15) == '2026-02-16T08:26:00.000Z')");
    run_good(vm, "assert(days(1) + '2024-02-28T00:00:00.000Z' == '2024-02-29T00:00:00.000Z')");
    run_good(vm, "assert('2026-01-01T00:00:00.000Z' - hours(1) == '2025-12-31T23:00:00.000Z')");
    run_good(vm, "assert('2026-01-01' + minutes(5) + seconds(1.5) == '2026-01-01T00:05:01.500Z')");
    run_good(vm, "assert(time '2026-02-01T10:26+02:00' == '2026-02-01T08:26:00.000Z' and time('2026-02-01') "
                 "== '2026-02-01T00:00:00.000Z')");
    run_good(vm, "local n = time.between('2026-01-01T00:00:00Z', '2026-01-02T00:00:01Z') assert(n == 86401 "
                 "and math.type(n) == 'integer')");
    run_good(vm,
             "local n = time.between('2026-01-01T00:00:01.500Z', '2026-01-01T00:00:00Z') assert(n == -1.5)");
    run_good(
        vm,
        "assert(days(1) == hours(24) and hours(1) < days(1) and days(1) <= days(1) and -days(1) < days(0))");
    run_good(vm, "assert(2 * days(1) == days(2) and days(3) / 3 == days(1) and days(1) * 0.5 == hours(12) "
                 "and days(1) - hours(1) == hours(23))");
    run_good(vm, "assert(tostring(days(1) + hours(2) + seconds(4.005)) == '1d2h4.005s' and "
                 "tostring(-minutes(1)) == '-1m' and tostring(days(0)) == '0s')");
    run_good(vm, "assert(days(1):seconds() == 86400 and 'in ' .. days(2) == 'in 2d')");
    run_good(vm, "assert((days(1) == 86400) == false)");
    run_bad(vm, "local a = 'soon' + days(1)", FAULT_SCRIPT, "test/script.lua:1: \"soon\" is no time");
    run_bad(vm, "local a = '15' + days(1)", FAULT_SCRIPT, "\"15\" is no time");
    run_bad(vm, "local a = 5 + days(1)", FAULT_SCRIPT, "expected a time, got number");
    run_bad(vm, "local a = days(1) - '2026-01-01'", FAULT_SCRIPT,
            "only a duration can be subtracted from a duration");
    run_bad(vm, "local a = '2026-01-01T00:00:00Z' - '2026-01-01T00:00:00Z'", FAULT_SCRIPT,
            "attempt to sub a 'string'");
    run_bad(vm, "local a = '9999-12-31T00:00:00Z' + days(1)", FAULT_SCRIPT, "outside of the years");
    run_bad(vm, "local a = '0001-01-01T00:00:00Z' - days(1)", FAULT_SCRIPT, "outside of the years");
    run_bad(vm, "days(math.maxinteger)", FAULT_SCRIPT, "more than 20000 years");
    run_bad(vm, "days(1e300)", FAULT_SCRIPT, "more than 20000 years");
    run_bad(vm, "days(0/0)", FAULT_SCRIPT, "more than 20000 years");
    run_bad(vm, "days('1')", FAULT_SCRIPT, "number expected, got string");
    run_bad(vm, "local d = days(7000000) + days(7000000)", FAULT_SCRIPT, "more than 20000 years");
    run_bad(vm, "local a = days(1) < 5", FAULT_SCRIPT, "compared with a duration only");
    run_bad(vm, "local a = days(1) / 0", FAULT_SCRIPT, "not zero");
    run_bad(vm, "local a = days(1) * days(1)", FAULT_SCRIPT, "cannot multiply a duration and a userdata");
    run_bad(vm, "time 'x'", FAULT_SCRIPT, "\"x\" is no time");
    run_bad(vm, "time.between(1, 2)", FAULT_SCRIPT, "expected a time, got number");
}

static void duration_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"15m", 900000}, {"30d", 2592000000}, {"10s", 10000},
                {"2h", 7200000}, {"500ms", 500},      {"0s", 0}};
    static const char *const bad[] = {
        "", "15", "m", "1.5h", "-1s", "1 s", "1hour", "99999999999999s", "999999999999d", "1h30m", "1M"};
    int64_t ms = 0;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(moments_parse_duration(slice_of(good[i].text), &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(moments_parse_duration(slice_of(bad[i]), &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(times_and_durations, make, drop),
        cmocka_unit_test(duration_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

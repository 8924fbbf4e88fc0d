/* Times, compared with the C library's calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <time.h>

#include "base/rand.h"
#include "codec/time.h"

static void formats_as(const char *text, const char *expected)
{
    int64_t ms;
    char formatted[TIME_TEXT_SIZE + 1];
    if (!time_parse(slice_of(text), &ms)) fail_msg("not read: %s", text);
    time_format(ms, formatted);
    assert_string_equal(formatted, expected);
}

static void reads_the_forms(void **state)
{
    static const char *const cases[][2] = {
        {"2026-02-01", "2026-02-01T00:00:00.000Z"},
        {"2026-02-01T08:26Z", "2026-02-01T08:26:00.000Z"},
        {"2026-02-01T08:26:59Z", "2026-02-01T08:26:59.000Z"},
        {"2026-02-01T08:26:59.5Z", "2026-02-01T08:26:59.500Z"},
        {"2026-02-01T08:26:59.1239999999Z", "2026-02-01T08:26:59.123Z"},
        {"2026-02-01T00:30:00+02:00", "2026-01-31T22:30:00.000Z"},
        {"2026-12-31T23:30:00-00:45", "2027-01-01T00:15:00.000Z"},
        {"2024-02-29T12:00+00:00", "2024-02-29T12:00:00.000Z"},
        {"2000-02-29", "2000-02-29T00:00:00.000Z"},
        {"0001-01-01", "0001-01-01T00:00:00.000Z"},
        {"9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"},
        {"1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) formats_as(cases[n][0], cases[n][1]);
    int64_t ms = 7;
    assert_true(time_parse(slice_of("1970-01-01"), &ms));
    assert_true(ms == 0);
    assert_true(time_parse(slice_of("1969-12-31T23:59:59.999Z"), &ms));
    assert_true(ms == -1);
}

static void refuses_the_rest(void **state)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-02",
        "2026-2-1",
        "2026-02-30",
        "2025-02-29",
        "1900-02-29",
        "2026-00-01",
        "2026-13-01",
        "2026-01-00",
        "2026-01-32",
        "2026-04-31",
        "0000-01-01",
        "10000-01-01",
        "2026-02-01T",
        "2026-02-01T08Z",
        "2026-02-01T08:26",
        "2026-02-01T08:26:00",
        "2026-02-01T24:00Z",
        "2026-02-01T08:60Z",
        "2026-02-01T08:26:60Z",
        "2026-02-01T08:26:00.Z",
        "2026-02-01T08:26:00+0200",
        "2026-02-01T08:26:00+24:00",
        "2026-02-01T08:26:00+02:60",
        "2026-02-01T08:26:00Zx",
        "2026-02-01 08:26Z",
        "2026-02-01Z",
        "2026-02-01T08:26z",
        "-026-02-01",
        "2026/02/01",
        " 2026-02-01",
        "2026-02-01 ",
        "0001-01-01T00:00+00:01",
        "9999-12-31T23:59-00:01",
        "2026-02-01T8:26Z",
    };
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        int64_t ms = 42;
        if (time_parse(slice_of(bad[n]), &ms)) fail_msg("read: %s", bad[n]);
        assert_true(ms == 42);
    }
}

static void agrees_with_the_c_library(void **state)
{
    static const int64_t least = -62135596800000LL, most = 253402300799999LL;
    assert_true(time_valid(least) && time_valid(most) && !time_valid(least - 1) && !time_valid(most + 1));
    for (int n = 0; n < 200000; n++) {
        uint64_t bits;
        rand_bytes(&bits, sizeof bits);
        int64_t ms = n < 2 ? (n ? least : most) : least + (int64_t)(bits % (uint64_t)(most - least + 1)),
                again;
        char text[TIME_TEXT_SIZE + 1], expected[80];
        time_format(ms, text);
        int64_t rest = ((ms % 1000) + 1000) % 1000;
        time_t seconds = (time_t)((ms - rest) / 1000);
        struct tm tm;
        gmtime_r(&seconds, &tm);
        snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)rest);
        assert_string_equal(text, expected);
        assert_true(time_parse(slice_of(text), &again));
        assert_true(again == ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_forms),
        cmocka_unit_test(refuses_the_rest),
        cmocka_unit_test(agrees_with_the_c_library),
    };
    return cmocka_run_group_tests_name("codec/time", tests, NULL, NULL);
}

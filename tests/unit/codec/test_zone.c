/* Time zones, compared with the C library, which knows one at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "codec/zone.h"

static uint64_t random_below(uint64_t end)
{
    return ((uint64_t)lrand48() << 31 | (uint64_t)lrand48()) % end;
}

static const char *const names[] = {"Europe/Berlin",
                                    "Europe/Dublin",
                                    "America/New_York",
                                    "America/Sao_Paulo",
                                    "Australia/Lord_Howe",
                                    "Asia/Kathmandu",
                                    "Asia/Tehran",
                                    "Pacific/Apia",
                                    "Pacific/Auckland",
                                    "Africa/Casablanca",
                                    "Antarctica/Troll",
                                    "Asia/Gaza",
                                    "Africa/Monrovia",
                                    "America/Nuuk",
                                    "Etc/GMT+12",
                                    "EST5EDT",
                                    "UTC"};

static void agrees_with_the_c_library(void **state)
{
    srand48(4);
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        struct zone *zone;
        struct fault fault;
        if (zone_open(slice_of(names[n]), &zone, &fault) < 0) fail_msg("%s: %s", names[n], fault.text);
        setenv("TZ", names[n], 1);
        tzset();
        for (int times = 0; times < 20000; times++) {
            /* 1900 to 2150: in the table and behind it */
            time_t at = (time_t)(random_below(UINT64_C(250) * 365 * 86400)) - (time_t)70 * 365 * 86400;
            struct tm local;
            struct zone_span span;
            localtime_r(&at, &local);
            zone_at(zone, at, &span);
            if (span.offset != local.tm_gmtoff)
                fail_msg("%s at %lld: %d, the C library says %ld", names[n], (long long)at, span.offset,
                         local.tm_gmtoff);
            assert_true(span.from <= at && at < span.to);
            if (span.from == INT64_MIN) continue;
            /* The second before lies in the span before. */
            struct zone_span before;
            zone_at(zone, span.from - 1, &before);
            assert_true(before.to == span.from && before.offset == span.before);
        }
        zone_free(zone);
    }
}

static void knows_when_clocks_change(void **state)
{
    struct zone *zone;
    struct zone_span span;
    struct fault fault;
    assert_int_equal(zone_open(slice_of("Europe/Berlin"), &zone, &fault), 0);
    zone_at(zone, 1774746000, &span); /* 2026-03-29T01:00Z */
    assert_int_equal(span.from, 1774746000);
    assert_int_equal(span.offset, 7200);
    assert_int_equal(span.before, 3600);
    assert_int_equal(span.to, 1792890000);
    zone_at(zone, 4105000000, &span); /* January 2100: by the rule */
    assert_int_equal(span.offset, 3600);
    zone_free(zone);
    zone_at(NULL, 5, &span);
    assert_true(span.from == INT64_MIN && span.to == INT64_MAX && span.offset == 0);
}

static void refuses_what_is_no_zone(void **state)
{
    static const char *const wrong[] = {
        "",       "Mars/Olympus", "../../etc/passwd",        "/etc/passwd", "Europe/",
        "Europe", "tzdata.zi",    "Europe/../Europe/Berlin", "zone.tab",    "europe berlin"};
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        struct zone *zone;
        struct fault fault;
        if (zone_open(slice_of(wrong[n]), &zone, &fault) == 0) fail_msg("taken: %s", wrong[n]);
        assert_true(fault.code == FAULT_NOT_FOUND || fault.code == FAULT_CORRUPT);
    }
}

/* Any bytes are read or refused; every answer holds its moment. */
static void survives_damaged_files(void **state)
{
    static char good[8192], bad[8192];
    FILE *file = fopen("/usr/share/zoneinfo/Europe/Berlin", "rb");
    assert_non_null(file);
    size_t size = fread(good, 1, sizeof good, file);
    fclose(file);
    srand48(7);
    int taken = 0, refused = 0;
    for (int times = 0; times < 20000; times++) {
        memcpy(bad, good, size);
        size_t cut = random_below(3) ? size : (size_t)random_below(size);
        for (int flips = (int)random_below(4); flips >= 0; flips--)
            bad[random_below(size)] = (char)random_below(256);
        struct zone *zone;
        struct fault fault;
        char *exact = malloc(cut + 1); /* so that a sanitizer sees the end */
        memcpy(exact, bad, cut);
        if (zone_parse(slice_make(exact, cut), &zone, &fault) == 0) {
            struct zone_span span;
            for (int64_t at = -4000000000; at < 6000000000; at += 123456789) {
                zone_at(zone, at, &span);
                assert_true(span.from <= at && at < span.to);
            }
            zone_free(zone);
            taken++;
        } else {
            refused++;
        }
        free(exact);
    }
    assert_true(taken > 1000 && refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_c_library),
        cmocka_unit_test(knows_when_clocks_change),
        cmocka_unit_test(refuses_what_is_no_zone),
        cmocka_unit_test(survives_damaged_files),
    };
    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}

/* cron: reading, and the next moment, compared with looking at every minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/cron.h"
#include "codec/time.h"

static uint64_t random_below(uint64_t end)
{
    return ((uint64_t)lrand48() << 31 | (uint64_t)lrand48()) % end;
}

static struct cron parsed(const char *text)
{
    struct cron cron;
    struct fault fault;
    if (cron_parse(slice_of(text), &cron, &fault) < 0) fail_msg("%s: %s", text, fault.text);
    return cron;
}

static struct zone *zone_of(const char *name)
{
    struct zone *zone;
    struct fault fault;
    if (zone_open(slice_of(name), &zone, &fault) < 0) fail_msg("%s", fault.text);
    return zone;
}

static int64_t moment(const char *text)
{
    int64_t ms;
    assert_true(time_parse(slice_of(text), &ms));
    return ms;
}

/* The moments after `after`, as text, must be those given, up to NULL. */
static void come(const char *cron_text, const char *zone_name, const char *after, const char *const *expected)
{
    struct cron cron = parsed(cron_text);
    struct zone *zone = zone_name ? zone_of(zone_name) : NULL;
    int64_t at = moment(after);
    for (; *expected; expected++) {
        char text[TIME_TEXT_SIZE + 1];
        at = cron_next(&cron, zone, at);
        time_format(at, text);
        text[16] = 'Z';
        text[17] = 0;
        if (strcmp(text, *expected) != 0)
            fail_msg("%s in %s: %s, expected %s", cron_text, zone_name ? zone_name : "UTC", text, *expected);
    }
    zone_free(zone);
}
#define COME(cron, zone, after, ...) come(cron, zone, after, (const char *const[]){__VA_ARGS__, NULL})

static void finds_the_next_moment(void **state)
{
    COME("0 3 * * *", NULL, "2026-02-01T02:59:59.999Z", "2026-02-01T03:00Z", "2026-02-02T03:00Z");
    COME("0 3 * * *", NULL, "2026-02-01T03:00Z", "2026-02-02T03:00Z");
    COME("*/15 9-10 * * mon-fri", NULL, "2026-02-06T10:40Z", "2026-02-06T10:45Z", "2026-02-09T09:00Z");
    COME("0 0 29 2 *", NULL, "2026-01-01", "2028-02-29T00:00Z", "2032-02-29T00:00Z");
    COME("0 0 29 2 *", NULL, "2096-03-01", "2104-02-29T00:00Z"); /* 2100 has none */
    COME("0 0 31 * *", NULL, "2026-01-31T00:00Z", "2026-03-31T00:00Z", "2026-05-31T00:00Z");
    COME("59 23 31 12 *", NULL, "2026-12-31T23:59Z", "2027-12-31T23:59Z");
    COME("5,10-12,40-50/5 0 1 jan *", NULL, "2026-01-01T00:00Z", "2026-01-01T00:05Z", "2026-01-01T00:10Z",
         "2026-01-01T00:11Z", "2026-01-01T00:12Z", "2026-01-01T00:40Z", "2026-01-01T00:45Z",
         "2026-01-01T00:50Z", "2027-01-01T00:05Z");
    /* 2026-02-01 is a Sunday, whatever it is called. */
    COME("0 0 * * 7", NULL, "2026-01-26", "2026-02-01T00:00Z", "2026-02-08T00:00Z");
    COME("0 0 * * SUN", NULL, "2026-01-26", "2026-02-01T00:00Z");
    COME("0 0 * * 0", NULL, "2026-01-26", "2026-02-01T00:00Z");
    COME("0 0 * * sat-sun", NULL, "2026-01-26", "2026-01-31T00:00Z", "2026-02-01T00:00Z",
         "2026-02-07T00:00Z");
    COME("0 0 * * 0-0", NULL, "2026-01-26", "2026-02-01T00:00Z", "2026-02-08T00:00Z");
}

static void either_day_field_does_when_both_are_restricted(void **state)
{
    COME("0 0 13 * fri", NULL, "2026-02-01", "2026-02-06T00:00Z", "2026-02-13T00:00Z", "2026-02-20T00:00Z",
         "2026-02-27T00:00Z", "2026-03-06T00:00Z", "2026-03-13T00:00Z");
    COME("0 0 13 * *", NULL, "2026-02-01", "2026-02-13T00:00Z", "2026-03-13T00:00Z");
    /* A star with a step restricts nothing by POSIX: both must fit. */
    COME("0 0 */2 * fri", NULL, "2026-02-01", "2026-02-13T00:00Z", "2026-02-27T00:00Z");
    COME("0 0 30 2 mon", NULL, "2026-02-01", "2026-02-02T00:00Z", "2026-02-09T00:00Z");
}

static void goes_by_the_clocks_of_its_zone(void **state)
{
    COME("0 3 * * *", "Europe/Berlin", "2026-01-10", "2026-01-10T02:00Z");
    COME("0 3 * * *", "Europe/Berlin", "2026-07-10", "2026-07-10T01:00Z");
    COME("0 3 * * *", "Asia/Kathmandu", "2026-07-10", "2026-07-10T21:15Z");
    /* A whole day was left out: Apia went over the date line. */
    COME("0 12 30 12 *", "Pacific/Apia", "2011-12-01", "2011-12-30T10:00Z", "2012-12-29T22:00Z");
}

static void a_moment_that_is_left_out_happens_when_the_clocks_change(void **state)
{
    COME("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00Z", "2026-03-28T01:30Z", "2026-03-29T01:00Z",
         "2026-03-30T00:30Z");
    /* Many are left out: once; and not again beside what is meant at 03:00. */
    COME("*/10 2 * * *", "Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29T01:00Z", "2026-03-30T00:00Z");
    COME("0 2,3 * * *", "Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29T01:00Z", "2026-03-30T00:00Z");
    /* Every hour: real time. */
    COME("30 * * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T00:30Z", "2026-03-29T01:30Z");
    /* Half an hour at Lord Howe. */
    COME("15 2 4 10 *", "Australia/Lord_Howe", "2026-10-01", "2026-10-03T15:30Z");
    COME("45 2 4 10 *", "Australia/Lord_Howe", "2026-10-01", "2026-10-03T15:45Z");
}

static void of_a_moment_that_comes_twice_the_first_is_meant(void **state)
{
    COME("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z");
    COME("*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T00:00Z", "2026-10-25T00:30Z",
         "2026-10-26T01:00Z");
    COME("0 3 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T02:00Z");
    COME("30 * * * *", "Europe/Berlin", "2026-10-25T00:00Z", "2026-10-25T00:30Z", "2026-10-25T01:30Z",
         "2026-10-25T02:30Z");
    /* Asked in the middle of the hour that comes again. */
    COME("50 2 * * *", "Europe/Berlin", "2026-10-25T01:10Z", "2026-10-26T01:50Z");
}

static void names_the_field_that_is_wrong(void **state)
{
    static const char *const cases[][2] = {
        {"", "expected five fields (minute, hour, day of month, month, day of week), got 0"},
        {"* * * *", "expected five fields (minute, hour, day of month, month, day of week), got 4"},
        {"* * * * * *", "expected five fields (minute, hour, day of month, month, day of week), got 6"},
        {"60 * * * *", "minute: '60' is not in 0-59"},
        {"-1 * * * *", "minute: '-1' is not in 0-59"},
        {"* 24 * * *", "hour: '24' is not in 0-23"},
        {"* * 0 * *", "day of month: '0' is not in 1-31"},
        {"* * * 13 *", "month: '13' is not in 1-12 or a name of three letters"},
        {"* * * janu *", "month: 'janu' is not in 1-12 or a name of three letters"},
        {"* * * * 8", "day of week: '8' is not in 0-7 or a name of three letters"},
        {"5-1 * * * *", "minute: '5-1' begins behind its end; the order is 0-59"},
        {"*/0 * * * *", "minute: '*/0' has a step that is not in 1-59"},
        {"*/x * * * *", "minute: '*/x' has a step that is not in 1-59"},
        {"5/10 * * * *", "minute: '5/10' has a step without a range like 1-59"},
        {"1,,2 * * * *", "minute: '' is not in 0-59"},
        {"1, * * * *", "minute: '' is not in 0-59"},
        {"1-2-3 * * * *", "minute: '1-2-3' is not in 0-59"},
        {"*5 * * * *", "minute: '*5' is not in 0-59"},
        {"999999999999 * * * *", "minute: '999999999999' is not in 0-59"},
        {"0 0 30 2 *", "day of month: '30' never comes in month '2'"},
        {"0 0 31 feb,apr *", "day of month: '31' never comes in month 'feb,apr'"},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct cron cron;
        struct fault fault;
        if (cron_parse(slice_of(cases[n][0]), &cron, &fault) == 0) fail_msg("taken: %s", cases[n][0]);
        assert_int_equal(fault.code, FAULT_MALFORMED);
        assert_string_equal(fault.text, cases[n][1]);
    }
}

/* --- the model: every minute of real time is looked at --- */

static bool means(const struct cron *cron, int64_t local)
{
    int64_t days = local / 86400, year, month, day;
    time_date(days, &year, &month, &day);
    bool by_date = cron->days >> day & 1, by_weekday = cron->weekdays >> ((days + 4) % 7) & 1;
    return (cron->minutes >> (local / 60 % 60) & 1) && (cron->hours >> (local / 3600 % 24) & 1) &&
           (cron->months >> month & 1) && (cron->either ? by_date || by_weekday : by_date && by_weekday);
}

static int64_t next_by_looking(const struct cron *cron, const struct zone *zone, int64_t after)
{
    bool every_hour = cron->hours == 0xffffff;
    for (int64_t at = after / 60 * 60 + 60; at < after + 40 * 86400; at += 60) {
        struct zone_span span;
        zone_at(zone, at, &span);
        int64_t local = at + span.offset;
        bool again = local < span.from + span.before;
        if (means(cron, local) && (every_hour || !again)) return at;
        if (every_hour || at != span.from) continue;
        for (int64_t gone = span.from + span.before; gone < local; gone += 60)
            if (means(cron, gone)) return at;
    }
    return INT64_MAX;
}

static void random_field(char *to, int min, int max)
{
    int low = min + (int)random_below((uint64_t)(max - min + 1));
    int high = low + (int)random_below((uint64_t)(max - low + 1));
    switch (random_below(5)) {
    case 0: sprintf(to, "%d", low); break;
    case 1: sprintf(to, "%d-%d", low, high); break;
    case 2: sprintf(to, "%d-%d/%d,%d", low, high, 1 + (int)random_below(5), high); break;
    case 3: sprintf(to, "*/%d", 1 + (int)random_below(6)); break;
    default: strcpy(to, "*");
    }
}

static void agrees_with_looking_at_every_minute(void **state)
{
    static const char *const names[] = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC",
                                        "America/Sao_Paulo"};
    srand48(9);
    int found = 0;
    for (int times = 0; times < 400; times++) {
        struct zone *zone = zone_of(names[times % 5]);
        char fields[5][40], text[200];
        for (int at = 0; at < 5; at++)
            random_field(fields[at], (int[]){0, 0, 1, 1, 0}[at], (int[]){59, 23, 31, 12, 7}[at]);
        snprintf(text, sizeof text, "%s %s %s %s %s", fields[0], fields[1], fields[2], "*", fields[4]);
        struct cron cron = parsed(text);
        struct zone_span span;
        /* Near a change of clocks, between 2000 and 2060. */
        zone_at(zone, 946684800 + (int64_t)random_below(UINT64_C(60) * 365 * 86400), &span);
        int64_t near = span.to == INT64_MAX ? 1700000000 : span.to;
        int64_t after = near - 86400 + (int64_t)random_below(2 * 86400);
        for (int steps = 0; steps < 5; steps++) {
            int64_t expected = next_by_looking(&cron, zone, after);
            if (expected == INT64_MAX) break;
            int64_t got = cron_next(&cron, zone, after * 1000) / 1000;
            if (got != expected)
                fail_msg("%s in %s after %lld: %lld, expected %lld", text, names[times % 5], (long long)after,
                         (long long)got, (long long)expected);
            after = expected;
            found++;
        }
        zone_free(zone);
    }
    assert_true(found > 1000);
}

static void ends_with_the_calendar(void **state)
{
    struct cron cron = parsed("0 0 * * *");
    assert_true(cron_next(&cron, NULL, moment("9999-01-01")) == INT64_MAX);
    assert_true(cron_next(&cron, NULL, INT64_MIN / 2) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_next_moment),
        cmocka_unit_test(either_day_field_does_when_both_are_restricted),
        cmocka_unit_test(goes_by_the_clocks_of_its_zone),
        cmocka_unit_test(a_moment_that_is_left_out_happens_when_the_clocks_change),
        cmocka_unit_test(of_a_moment_that_comes_twice_the_first_is_meant),
        cmocka_unit_test(names_the_field_that_is_wrong),
        cmocka_unit_test(agrees_with_looking_at_every_minute),
        cmocka_unit_test(ends_with_the_calendar),
    };
    return cmocka_run_group_tests_name("cron", tests, NULL, NULL);
}

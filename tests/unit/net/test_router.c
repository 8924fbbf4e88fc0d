/* Paths to routes, and targets taken apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "net/query.h"
#include "net/router.h"
#include "net/target.h"

enum { NOT_FOUND = -1, MALFORMED = -2 };

struct row {
    const char *path;
    int route; /* or one of the above */
    const char *tenant, *context, *aggregate, *id, *name, *key;
};

static const struct row rows[] = {
    {"/healthz", ROUTE_HEALTH, 0, 0, 0, 0, 0, 0},
    {"/readyz", ROUTE_READY, 0, 0, 0, 0, 0, 0},
    {"/metrics", ROUTE_METRICS, 0, 0, 0, 0, 0, 0},
    {"/v1/status", ROUTE_STATUS, 0, 0, 0, 0, 0, 0},
    {"/v1/status/rebuild/billing/open", ROUTE_REBUILD, 0, "billing", 0, 0, "billing/open", 0},
    {"/v1/status/rebuild/open", ROUTE_REBUILD, 0, 0, 0, 0, "open", 0},
    {"/v1/status/retry/billing/replication", ROUTE_RETRY, 0, "billing", 0, 0, "billing/replication", 0},
    {"/v1/status/retry/courier", ROUTE_RETRY, 0, 0, 0, 0, "courier", 0},
    {"/v1/status/retry", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/rollback", ROUTE_ROLLBACK, 0, 0, 0, 0, 0, 0},
    {"/v1/rollback/x", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/rollback/events", ROUTE_EVENTS, "rollback", 0, 0, 0, 0, 0},
    {"/v1/main/events", ROUTE_EVENTS, "main", 0, 0, 0, 0, 0},
    {"/v1/main/views/billing/open", ROUTE_VIEW, "main", "billing", 0, 0, "billing/open", 0},
    {"/v1/main/views/open", ROUTE_VIEW, "main", 0, 0, 0, "open", 0},
    {"/v1/main/views/open/7", ROUTE_DOCUMENT, "main", 0, 0, 0, "open", "7"},
    {"/v1/main/views/billing/open/7", ROUTE_DOCUMENT, "main", "billing", 0, 0, "billing/open", "7"},
    {"/v1/main/views/billing/open/a%2Fb%20c", ROUTE_DOCUMENT, "main", "billing", 0, 0, "billing/open",
     "a/b c"},
    {"/v1/main/views/billing/open/events", ROUTE_DOCUMENT, "main", "billing", 0, 0, "billing/open", "events"},
    {"/v1/main/trace/a%3a1%3A7", ROUTE_TRACE, "main", 0, 0, "a:1:7", 0, 0},
    {"/v1/main/commands", ROUTE_BULK, "main", 0, 0, 0, 0, 0},
    {"/v1/main/repl", ROUTE_REPL, "main", 0, 0, 0, 0, 0},
    {"/v1/main/repl/mail", ROUTE_SERVICE, "main", "repl", "mail", 0, 0, 0},
    {"/v1/main/billing/mail", ROUTE_SERVICE, "main", "billing", "mail", 0, 0, 0},
    {"/v1/main/billing/bill/7", ROUTE_STREAM, "main", "billing", "bill", "7", 0, 0},
    {"/v1/main/billing/bill/events", ROUTE_STREAM, "main", "billing", "bill", "events", 0, 0},
    {"/v1/main/billing/bill/%C3%A9%3f", ROUTE_STREAM, "main", "billing", "bill", "\xc3\xa9?", 0, 0},
    {"/v1/main/billing/bill/a+b", ROUTE_STREAM, "main", "billing", "bill", "a+b", 0, 0},
    {"/v1/main/billing/bill/7/events", ROUTE_STREAM_EVENTS, "main", "billing", "bill", "7", 0, 0},
    /* there is no such thing */
    {"", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"//", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/healthz/", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v2/main/events", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/Main/events", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/deploys/events", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/status/rebuild", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/status/other/x", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/events/x", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/views", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/views/a/b/c/d", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/commands/x", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/status/commands", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/streams/a/b", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/trace", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/trace/x/y", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/Billing/bill/7", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/7/other", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/7/events/8", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    {"/v1/a/b/c/d/e/f/g/h/i", NOT_FOUND, 0, 0, 0, 0, 0, 0},
    /* what cannot be read */
    {"/v1/main/billing/bill/", MALFORMED, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/a%2Fb", MALFORMED, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/%", MALFORMED, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/%4", MALFORMED, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/%zz", MALFORMED, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/%00", MALFORMED, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/%0a", MALFORMED, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/%ff", MALFORMED, 0, 0, 0, 0, 0, 0},
    {"/v1/main/billing/bill/%c0%af", MALFORMED, 0, 0, 0, 0, 0, 0},
    {"/v1/main/views/billing/open/", MALFORMED, 0, 0, 0, 0, 0, 0},
};

static void check_part(const struct row *row, const char *part, struct slice got, const char *wanted)
{
    if (!slice_is(got, wanted ? wanted : ""))
        fail_msg("%s: %s is %.*s, expected %s", row->path, part, SLICE_ARGS(got),
                 wanted ? wanted : "nothing");
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct arena arena = {0};
        struct route_match match;
        struct fault fault;
        int matched = router_match(slice_of(row->path), &arena, &match, &fault);
        int got = matched == 0 ? (int)match.route : fault.code == FAULT_NOT_FOUND ? NOT_FOUND : MALFORMED;
        if (got != row->route) fail_msg("%s: got %d (%s)", row->path, got, matched < 0 ? fault.text : "");
        if (matched == 0) {
            check_part(row, "tenant", match.tenant, row->tenant);
            check_part(row, "context", match.context, row->context);
            check_part(row, "aggregate", match.aggregate, row->aggregate);
            check_part(row, "id", match.id, row->id);
            check_part(row, "name", match.name, row->name);
            check_part(row, "key", match.key, row->key);
        }
        arena_release(&arena);
    }
}

static void test_second_reading(void **state)
{
    struct arena arena = {0};
    struct route_match match;
    assert_int_equal(router_match(slice_of("/v1/main/views/open/acme"), &arena, &match, NULL), 0);
    assert_int_equal(match.route, ROUTE_VIEW);
    assert_true(slice_is(match.name, "open/acme"));
    assert_true(slice_is(match.short_name, "open") && slice_is(match.short_key, "acme"));
    assert_int_equal(router_match(slice_of("/v1/main/views/a/b/c"), &arena, &match, NULL), 0);
    assert_int_equal(match.short_name.size, 0);
    arena_release(&arena);
}

static void test_methods(void **state)
{
    assert_string_equal(router_allow(ROUTE_STREAM), "GET, HEAD, POST, OPTIONS");
    assert_string_equal(router_allow(ROUTE_SERVICE), "POST, OPTIONS");
    assert_string_equal(router_allow(ROUTE_EVENTS), "GET, HEAD, OPTIONS");
    for (int route = 0; route < ROUTE_COUNT; route++) {
        assert_non_null(router_label((enum route)route));
        assert_true(router_methods((enum route)route) & METHOD_OPTIONS);
    }
    assert_int_equal(router_method(slice_of("DELETE")), 0);
    assert_int_equal(router_method(slice_of("get")), 0);
}

static int parse(const char *text, struct query *query, struct arena *arena)
{
    struct fault fault;
    int parsed = query_parse(slice_of(text), arena, query, &fault);
    if (parsed < 0) assert_int_equal(fault.code, FAULT_MALFORMED);
    return parsed;
}

static void test_query(void **state)
{
    struct arena arena = {0};
    struct query query;
    struct slice value = slice_of("unchanged");
    assert_int_equal(parse("a=1&b=x%26y+z&c&&d=", &query, &arena), 0);
    assert_int_equal(query.count, 4);
    assert_true(query_find(&query, "a", &value) && slice_is(value, "1"));
    assert_true(query_find(&query, "b", &value) && slice_is(value, "x&y z"));
    assert_true(query_find(&query, "c", &value) && value.size == 0);
    value = slice_of("unchanged");
    assert_false(query_find(&query, "e", &value));
    assert_true(slice_is(value, "unchanged"));
    assert_int_equal(query_only(&query, (const char *const[]){"a", "b", "c", "d", NULL}, NULL), 0);
    struct fault fault;
    assert_int_equal(query_only(&query, (const char *const[]){"a", "b", "c", NULL}, &fault), -1);
    assert_non_null(strstr(fault.text, "d"));
    assert_int_equal(parse("", &query, &arena), 0);
    assert_int_equal(query.count, 0);
    static const char *const bad[] = {"a=%",   "a=%1",    "%g1=a",     "a=%00",
                                      "a=%ff", "a=1&a=2", "a=1&%61=2", "a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i], &query, &arena) == 0) fail_msg("%s was taken", bad[i]);
    arena_release(&arena);
}

static void test_numbers(void **state)
{
    struct arena arena = {0};
    struct query query;
    uint64_t value = 7;
    assert_int_equal(parse("a=12&b=0&c=-1&d=1x&e=1234567890123456789&f=", &query, &arena), 0);
    assert_int_equal(query_number(&query, "none", 0, &value, NULL), 0);
    assert_int_equal(value, 7);
    assert_int_equal(query_number(&query, "a", 1, &value, NULL), 0);
    assert_int_equal(value, 12);
    assert_int_equal(query_number(&query, "a", 13, &value, NULL), -1);
    assert_int_equal(query_number(&query, "b", 0, &value, NULL), 0);
    assert_int_equal(value, 0);
    static const char *const bad[] = {"c", "d", "e", "f"};
    for (size_t i = 0; i < 4; i++) assert_int_equal(query_number(&query, bad[i], 0, &value, NULL), -1);
    arena_release(&arena);
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"5", 5000}, {"5s", 5000}, {"0", 0}, {"500ms", 500}, {"2m", 120000}, {"1h", 3600000}};
    int64_t ms;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(target_duration(slice_of(good[i].text), &ms));
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const bad[] = {"", "s", "-1", "1.5s", "1d", "1 s", "12345678901"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(target_duration(slice_of(bad[i]), &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),  cmocka_unit_test(test_second_reading), cmocka_unit_test(test_methods),
        cmocka_unit_test(test_query), cmocka_unit_test(test_numbers),        cmocka_unit_test(test_durations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

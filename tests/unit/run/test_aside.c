/* What was put aside for a partition comes back key after key, each in the order of the log; or in that order
 * alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/faultpoint.h"
#include "base/mem.h"
#include "run/aside.h"

enum { RECORDS = 600, KEYS = 120 };

struct written {
    char tenant[8], id[24];
};

static struct names *names;
static struct spill *spill;
static struct written records[RECORDS];
static struct fault fault;

/* Ids that are the beginning of others, longer than what is compared at once, and alike but for the tenant.
 */
static void draw_record(struct written *record)
{
    static const char *const forms[] = {"case-%d", "case-%d-and-more", "case-%d-and-more-2", "case-%04d"};
    snprintf(record->tenant, sizeof record->tenant, "%s", rand() % 3 ? "acme" : "beta");
    snprintf(record->id, sizeof record->id, forms[rand() % 4], rand() % KEYS);
}

/* Every third record goes to the other partition. */
static int make(void **state)
{
    static const char data[] = "\x80";
    struct hash chain = {0};
    struct buf bytes = {0};
    names = names_new();
    srand(7);
    assert_int_equal(spill_open("/tmp", 2, &spill, &fault), 0);
    for (int at = 0; at < RECORDS; at++) {
        draw_record(&records[at]);
        struct commit_event events[2] = {
            {.type = slice_of("Done"), .type_version = 1, .data = slice_make(data, 1)}};
        events[1] = events[0];
        struct commit_command command = {
            .type = slice_of("Do"), .id = slice_of("x"), .data = slice_make(data, 1)};
        struct commit commit = {.kind = RECORD_COMMIT,
                                .tenant = slice_of(records[at].tenant),
                                .aggregate = slice_of("a/b"),
                                .id = slice_of(records[at].id),
                                .first_version = 1,
                                .first_position = (uint64_t)at * 2 + 1,
                                .commands = &command,
                                .command_count = 1,
                                .events = events,
                                .event_count = 2};
        buf_clear(&bytes);
        record_write(&commit, names, names_count(names), &chain, &bytes);
        assert_int_equal(spill_put(spill, at % 3 == 2, buf_slice(&bytes), &fault), 0);
    }
    assert_int_equal(spill_seal(spill, &fault), 0);
    buf_release(&bytes);
    return 0;
}

static int drop(void **state)
{
    spill_close(spill);
    names_free(names);
    return 0;
}

static void assert_is(const struct record *record, size_t at)
{
    assert_int_equal(record->first_position, at * 2 + 1);
    assert_true(slice_is(record->id, records[at].id));
    assert_true(slice_is(names_get(names, record->tenant), records[at].tenant));
}

static void in_the_order_of_the_log(void **state)
{
    uint64_t const too_few[] = {0, RECORDS / 3 * 4 - 1};
    for (size_t way = 0; way < 2; way++) {
        struct aside *aside;
        struct record record;
        assert_int_equal(aside_open(spill, 0, names, too_few[way], &aside, &fault), 0);
        assert_false(aside_is_by_key(aside));
        for (size_t at = 0; at < RECORDS; at++) {
            if (at % 3 == 2) continue;
            assert_int_equal(aside_next(aside, &record, &fault), 1);
            assert_is(&record, at);
        }
        assert_int_equal(aside_next(aside, &record, &fault), 0);
        aside_close(aside);
    }
}

/* Tenants come in the order of their numbers. */
static int compare(const void *a, const void *b)
{
    const struct written *left = &records[*(const size_t *)a], *right = &records[*(const size_t *)b];
    int order =
        (int)names_find(names, slice_of(left->tenant)) - (int)names_find(names, slice_of(right->tenant));
    if (order == 0) order = strcmp(left->id, right->id);
    if (order == 0) order = left > right ? 1 : -1;
    return order;
}

static void key_after_key(void **state)
{
    size_t expected[RECORDS], count = 0, begins = 0;
    struct aside *aside;
    struct record record;
    for (size_t at = 0; at < RECORDS; at++)
        if (at % 3 != 2) expected[count++] = at;
    qsort(expected, count, sizeof *expected, compare);
    assert_int_equal(aside_open(spill, 0, names, RECORDS / 3 * 4, &aside, &fault), 0);
    assert_true(aside_is_by_key(aside));
    for (size_t at = 0; at < count; at++) {
        assert_int_equal(aside_next(aside, &record, &fault), 1);
        assert_is(&record, expected[at]);
        bool first = at == 0 || strcmp(records[expected[at]].id, records[expected[at - 1]].id) != 0 ||
                     strcmp(records[expected[at]].tenant, records[expected[at - 1]].tenant) != 0;
        assert_int_equal(aside_begins_key(aside), first);
        begins += first;
    }
    assert_int_equal(aside_next(aside, &record, &fault), 0);
    assert_true(begins > KEYS && begins < count);
    aside_close(aside);
}

static void what_cannot_be_read_is_told(void **state)
{
    struct aside *aside;
    assert_int_equal(fault_points_arm("views.spill_read@1=EIO", &fault), 0);
    assert_int_equal(aside_open(spill, 1, names, RECORDS * 2, &aside, &fault), -1);
    fault_points_disarm();
    assert_int_equal(fault.code, FAULT_DISK);
}

static void an_empty_partition_has_an_end(void **state)
{
    struct spill *empty;
    struct aside *aside;
    struct record record;
    assert_int_equal(spill_open("/tmp", 1, &empty, &fault), 0);
    assert_int_equal(spill_seal(empty, &fault), 0);
    assert_int_equal(aside_open(empty, 0, names, 10, &aside, &fault), 0);
    assert_true(aside_is_by_key(aside));
    assert_int_equal(aside_next(aside, &record, &fault), 0);
    aside_close(aside);
    spill_close(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_the_order_of_the_log, make, drop),
        cmocka_unit_test_setup_teardown(key_after_key, make, drop),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_told, make, drop),
        cmocka_unit_test_setup_teardown(an_empty_partition_has_an_end, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

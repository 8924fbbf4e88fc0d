/* The records of a tail: found by place and by number, and where they are while the tail grows. */
#include "store/log_tail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { RECORDS = 10000 };

/* Record n, from 0: every third one holds two positions. */
static struct log_tail_record next_record(size_t n, uint64_t *position)
{
    struct log_tail_record record = {.number = *position + 1, .last = *position + 1 + (n % 3 == 0)};
    *position = record.last;
    return record;
}

static struct log_tail *filled(size_t count)
{
    struct log_tail *tail = log_tail_new();
    uint64_t position = 0;
    for (size_t n = 0; n < count; n++) {
        struct log_tail_record record = next_record(n, &position);
        log_tail_add(tail, 0, &record);
    }
    return tail;
}

static void test_records_by_place(void **state)
{
    struct log_tail *tail = filled(RECORDS);
    uint64_t position = 0;
    assert_int_equal(tail->lists[0].count, RECORDS);
    assert_int_equal(tail->lists[1].count, 0);
    for (size_t n = 0; n < RECORDS; n++) {
        struct log_tail_record record = next_record(n, &position);
        assert_int_equal(log_tail_record(&tail->lists[0], n)->number, record.number);
        assert_int_equal(log_tail_record(&tail->lists[0], n)->last, record.last);
    }
    log_tail_drop(tail);
}

static void test_records_by_number(void **state)
{
    struct log_tail *tail = filled(RECORDS);
    uint64_t position = 0;
    for (size_t n = 0; n < RECORDS; n++) {
        struct log_tail_record record = next_record(n, &position);
        for (uint64_t number = record.number; number <= record.last; number++)
            assert_int_equal(log_tail_seek(&tail->lists[0], RECORDS, number), n);
    }
    assert_int_equal(log_tail_seek(&tail->lists[0], RECORDS, position + 1), RECORDS);
    /* As of an earlier moment. */
    assert_int_equal(log_tail_seek(&tail->lists[0], 100, position), 100);
    log_tail_drop(tail);
}

/* Who has seen a count reads without a lock while more is added. Two lists grow in turn, so neither could
 * grow in place. */
static void test_records_stay_where_they_are(void **state)
{
    static const struct log_tail_record *seen[LOG_TAIL_LISTS][RECORDS];
    struct log_tail *tail = log_tail_new();
    uint64_t position = 0;
    for (size_t n = 0; n < RECORDS; n++) {
        struct log_tail_record record = next_record(n, &position);
        for (size_t list = 0; list < LOG_TAIL_LISTS; list++) {
            log_tail_add(tail, list, &record);
            seen[list][n] = log_tail_record(&tail->lists[list], n);
        }
    }
    for (size_t list = 0; list < LOG_TAIL_LISTS; list++)
        for (size_t n = 0; n < RECORDS; n++)
            assert_ptr_equal(log_tail_record(&tail->lists[list], n), seen[list][n]);
    log_tail_drop(tail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records_by_place),
        cmocka_unit_test(test_records_by_number),
        cmocka_unit_test(test_records_stay_where_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Ends of queries: sums that know no order, and folds that several share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>

#include "codec/mp.h"
#include "vm/seek_fold.h"

static struct fault fault;

static struct seek_value integer(int64_t number)
{
    return (struct seek_value){.kind = SEEK_INTEGER, .integer = number};
}

static struct seek_value real(double number)
{
    return (struct seek_value){.kind = SEEK_FLOAT, .number = number};
}

static struct seek_value decimal(const char *text)
{
    return (struct seek_value){.kind = SEEK_DECIMAL, .text = slice_of(text)};
}

static struct seek_value text(const char *text)
{
    return (struct seek_value){.kind = SEEK_TEXT, .text = slice_of(text)};
}

static int add_all(struct seek_sum *sum, const struct seek_value *values, size_t count)
{
    for (size_t at = 0; at < count; at++)
        if (seek_sum_add(sum, &values[at], &fault) < 0) return -1;
    return 0;
}

/* Forward, backward, and in two halves that are merged either way: the same. */
static struct seek_value sum_of(const struct seek_value *values, size_t count,
                                char digits[SEEK_SUM_TEXT_SIZE])
{
    struct seek_sum sums[4] = {0};
    struct seek_value results[3];
    char texts[3][SEEK_SUM_TEXT_SIZE];
    add_all(&sums[0], values, count);
    for (size_t at = count; at > 0; at--) add_all(&sums[1], &values[at - 1], 1);
    add_all(&sums[2], values, count / 2);
    add_all(&sums[3], values + count / 2, count - count / 2);
    assert_int_equal(seek_sum_merge(&sums[3], &sums[2], &fault), 0);
    for (int at = 0; at < 3; at++) {
        struct seek_sum *sum = &sums[at == 2 ? 3 : at];
        assert_int_equal(seek_sum_read(sum, texts[at], &results[at], &fault), 0);
        assert_int_equal(results[at].kind, results[0].kind);
        if (results[at].kind == SEEK_DECIMAL)
            assert_true(slice_equal(results[at].text, results[0].text));
        else if (results[at].kind == SEEK_FLOAT)
            assert_memory_equal(&results[at].number, &results[0].number, sizeof(double));
        else
            assert_true(results[at].integer == results[0].integer);
    }
    if (results[0].kind == SEEK_DECIMAL) {
        memcpy(digits, results[0].text.data, results[0].text.size);
        results[0].text.data = digits;
    }
    for (int at = 0; at < 4; at++) seek_sum_release(&sums[at]);
    return results[0];
}

#define SUM_OF(digits, ...)                                                                                  \
    sum_of((const struct seek_value[]){__VA_ARGS__},                                                         \
           sizeof((const struct seek_value[]){__VA_ARGS__}) / sizeof(struct seek_value), digits)

static void test_sums(void **state)
{
    char digits[SEEK_SUM_TEXT_SIZE];
    struct seek_value sum = SUM_OF(digits, integer(3), integer(-5), integer(INT64_MAX), integer(-1));
    assert_int_equal(sum.kind, SEEK_INTEGER);
    assert_true(sum.integer == INT64_MAX - 3);
    sum = SUM_OF(digits, real(1e100), real(1), real(-1e100), integer(2));
    assert_int_equal(sum.kind, SEEK_FLOAT);
    assert_true(sum.number == 3.0);
    sum = SUM_OF(digits, real(0.1), real(0.1), real(0.1), real(0.1), real(0.1), real(0.1), real(0.1),
                 real(0.1), real(0.1), real(0.1));
    assert_true(sum.number == 1.0);
    /* Halfway between two floats: to even, unless something is left below. */
    sum = SUM_OF(digits, real(1), real(0x1p-53));
    assert_true(sum.number == 1.0);
    sum = SUM_OF(digits, real(1), real(0x1p-53), real(0x1p-200));
    assert_true(sum.number == 1.0 + 0x1p-52);
    sum = SUM_OF(digits, real(0.5), integer(INT64_MAX), integer(INT64_MAX));
    assert_true(sum.number == 0x1p64);
    sum = SUM_OF(digits, decimal("1.20"), decimal("-0.005"), integer(3), decimal("1000000000000000000000.1"));
    assert_int_equal(sum.kind, SEEK_DECIMAL);
    assert_true(slice_is(sum.text, "1000000000000000000004.295"));
    sum = SUM_OF(digits, decimal("-0.05"), decimal("0.02"));
    assert_true(slice_is(sum.text, "-0.03"));
    sum = SUM_OF(digits, decimal("0.05"), decimal("-0.05"));
    assert_true(slice_is(sum.text, "0.00"));
    sum = SUM_OF(digits, decimal("9999999999999999999999999999999998"), integer(1));
    assert_true(slice_is(sum.text, "9999999999999999999999999999999999"));
}

static void expect_refused(const struct seek_value *values, size_t count, const char *what)
{
    struct seek_sum sum = {0};
    char digits[SEEK_SUM_TEXT_SIZE];
    struct seek_value value;
    if (add_all(&sum, values, count) == 0 && seek_sum_read(&sum, digits, &value, &fault) == 0)
        fail_msg("no error: %s", what);
    assert_int_equal(fault.code, FAULT_SCRIPT);
    if (!strstr(fault.text, what)) fail_msg("\"%s\" instead of \"%s\"", fault.text, what);
    seek_sum_release(&sum);
}

static void test_no_sums(void **state)
{
    expect_refused((const struct seek_value[]){integer(INT64_MAX), integer(1)}, 2, "more than 64 bits");
    expect_refused((const struct seek_value[]){decimal("1.5"), real(1)}, 2, "cannot be added");
    expect_refused((const struct seek_value[]){real(1), decimal("1.5")}, 2, "cannot be added");
    expect_refused((const struct seek_value[]){real(NAN)}, 1, "got nan");
    expect_refused((const struct seek_value[]){real(-INFINITY)}, 1, "got inf");
    expect_refused((const struct seek_value[]){real(1e308), real(1e308)}, 2, "too large");
    expect_refused((const struct seek_value[]){text("1")}, 1, "got a text");
    expect_refused((const struct seek_value[]){decimal("9999999999999999999999999999999999"), integer(1)}, 2,
                   "more than 34 digits");
}

/* --- folds --- */

enum { ROWS = 500, PARTS = 3 };

static struct seek_value drawn(unsigned order)
{
    unsigned number = order * 7919 % 97;
    return order % 3 == 0 ? real(number / 4.0) : integer(number / 4);
}

static void take(struct seek_fold *fold, unsigned order)
{
    struct seek_value value = drawn(order);
    struct buf key = {0}, row = {0};
    char label[16];
    snprintf(label, sizeof label, "%u", order % 4);
    struct seek_group *group = order % 2 ? seek_fold_group(fold, slice_of(label)) : &fold->all;
    seek_value_put(&row, &value);
    switch (fold->plan.end) {
    case SEEK_COUNT: group->count++; break;
    case SEEK_SUM:
    case SEEK_AVERAGE: assert_int_equal(seek_fold_add(fold, group, &value, &fault), 0); break;
    default:
        if (fold->plan.end != SEEK_FIRST && fold->plan.end != SEEK_LAST && fold->plan.end != SEEK_ROWS &&
            fold->plan.end != SEEK_SAMPLE)
            assert_true(seek_value_key(&key, &value));
        if (seek_fold_wants(fold, group, buf_slice(&key), order))
            seek_fold_keep(fold, group, buf_slice(&key), order, buf_slice(&row));
    }
    buf_release(&key);
    buf_release(&row);
}

static void expect_same(const struct seek_fold *one, const struct seek_group *a, const struct seek_group *b)
{
    char texts[2][SEEK_SUM_TEXT_SIZE];
    struct seek_value sums[2];
    switch (one->plan.end) {
    case SEEK_COUNT: assert_int_equal(a->count, b->count); return;
    case SEEK_SUM:
    case SEEK_AVERAGE:
        assert_int_equal(a->count, b->count);
        assert_int_equal(seek_sum_read(&a->state->sum, texts[0], &sums[0], &fault), 0);
        assert_int_equal(seek_sum_read(&b->state->sum, texts[1], &sums[1], &fault), 0);
        assert_int_equal(sums[0].kind, sums[1].kind);
        assert_memory_equal(&sums[0].number, &sums[1].number, sizeof(double));
        return;
    default: break;
    }
    const struct seek_items *x = &a->state->items, *y = &b->state->items;
    assert_int_equal(x->count, y->count);
    for (size_t at = 0; at < (one->plan.end == SEEK_QUANTILE ? 1 : x->count); at++) {
        assert_int_equal(x->items[at]->order, y->items[at]->order);
        assert_true(slice_equal(x->items[at]->row, y->items[at]->row));
    }
}

/* All in one, or each row by one of three whose folds are merged: the same. */
static void test_shared_folds(void **state)
{
    for (enum seek_end end = SEEK_COUNT; end <= SEEK_SORTED_DOWN; end++) {
        struct seek_plan plan = {.end = end, .limit = 7, .quantile = 0.4};
        struct seek_fold one, parts[PARTS];
        seek_fold_begin(&one, &plan);
        for (int at = 0; at < PARTS; at++) seek_fold_begin(&parts[at], &plan);
        for (unsigned order = 1; order <= ROWS; order++) {
            take(&one, order);
            take(&parts[order / 10 % PARTS], order);
        }
        for (int at = 1; at >= 0; at--) assert_int_equal(seek_fold_merge(&parts[2], &parts[at], &fault), 0);
        assert_int_equal(seek_fold_finish(&one, &fault), 0);
        assert_int_equal(seek_fold_finish(&parts[2], &fault), 0);
        expect_same(&one, &one.all, &parts[2].all);
        assert_int_equal(one.groups.size, 2);
        assert_int_equal(parts[2].groups.size, 2);
        for (const struct seek_group *group = one.first; group; group = group->next)
            expect_same(&one, group, seek_fold_group(&parts[2], group->label));
        assert_true(one.bytes > 0 || end == SEEK_COUNT);
        for (int at = 0; at < PARTS; at++) seek_fold_release(&parts[at]);
        seek_fold_release(&one);
        seek_fold_release(&one); /* once more does nothing */
    }
}

/* A thread that found nothing left to do never began. */
static void test_a_part_that_never_began(void **state)
{
    static const enum seek_end ends[] = {SEEK_COUNT, SEEK_SUM, SEEK_DISTINCT, SEEK_SAMPLE};
    for (size_t at = 0; at < sizeof ends / sizeof *ends; at++) {
        struct seek_plan plan = {.end = ends[at], .limit = 3};
        struct seek_fold fold, never = {0};
        seek_fold_begin(&fold, &plan);
        assert_int_equal(seek_fold_merge(&fold, &never, &fault), 0);
        assert_int_equal(fold.all.count, 0);
        seek_fold_release(&never);
        seek_fold_release(&fold);
    }
}

static void test_limits_of_nothing(void **state)
{
    struct seek_plan plan = {.end = SEEK_TOP, .limit = 0};
    struct seek_fold fold;
    seek_fold_begin(&fold, &plan);
    assert_false(seek_fold_wants(&fold, &fold.all, slice_of("x"), 1));
    assert_int_equal(seek_fold_finish(&fold, &fault), 0);
    seek_fold_release(&fold);
}

static bool stops(void *user)
{
    return ++*(int *)user == 3;
}

/* Many rows are sorted in steps, and all of them are still there to be freed when it ends early. */
static void test_stopping(void **state)
{
    struct seek_plan plan = {.end = SEEK_ROWS};
    struct seek_fold fold;
    int asked = 0;
    seek_fold_begin(&fold, &plan);
    fold.stops = stops;
    fold.user = &asked;
    for (uint64_t order = 200000; order > 0; order--)
        seek_fold_keep(&fold, &fold.all, SLICE_NONE, order, SLICE_NONE);
    assert_int_equal(seek_fold_finish(&fold, &fault), -1);
    assert_int_equal(fault.code, FAULT_CANCELLED);
    assert_int_equal(asked, 3);
    assert_int_equal(seek_fold_finish(&fold, &fault), 0);
    for (size_t at = 0; at < 200000; at++) assert_int_equal(fold.all.state->items.items[at]->order, at + 1);
    seek_fold_release(&fold);
}

static void test_labels_and_keys(void **state)
{
    struct buf out = {0};
    struct seek_value values[] = {integer(-7), real(1.5), decimal("1.50"), text("x")};
    static const char *const labels[] = {"-7", "1.5", "1.50", "x"};
    for (size_t at = 0; at < 4; at++) {
        buf_clear(&out);
        assert_true(seek_value_label(&out, &values[at]));
        assert_true(slice_is(buf_slice(&out), labels[at]));
    }
    struct buf keys[2] = {0};
    assert_true(seek_value_key(&keys[0], &values[1]) && seek_value_key(&keys[1], &values[2]));
    assert_true(slice_equal(buf_slice(&keys[0]), buf_slice(&keys[1])));
    struct seek_value nothing = {.kind = SEEK_NIL}, not_a_number = real(NAN);
    assert_false(seek_value_key(&out, &nothing) || seek_value_key(&out, &not_a_number));
    assert_false(seek_value_label(&out, &nothing) || seek_value_label(&out, &not_a_number));
    buf_release(&keys[0]);
    buf_release(&keys[1]);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums),
                                       cmocka_unit_test(test_no_sums),
                                       cmocka_unit_test(test_shared_folds),
                                       cmocka_unit_test(test_limits_of_nothing),
                                       cmocka_unit_test(test_a_part_that_never_began),
                                       cmocka_unit_test(test_stopping),
                                       cmocka_unit_test(test_labels_and_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

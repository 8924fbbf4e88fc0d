/* The queue: bounded, in order for each producer, nothing lost or doubled between threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/ring.h"

static void *item(uintptr_t number)
{
    return (void *)number;
}

static void is_bounded_and_in_order(void **state)
{
    struct ring *ring = ring_new(3);
    void *items[8];
    for (uintptr_t round = 0; round < 5; round++) {
        for (uintptr_t n = 1; n <= 3; n++) assert_true(ring_put(ring, item(10 * round + n)));
        assert_false(ring_put(ring, item(99)));
        assert_int_equal(ring_size(ring), 3);
        assert_int_equal(ring_take(ring, items, 2, -1), 2);
        assert_true(items[0] == item(10 * round + 1) && items[1] == item(10 * round + 2));
        assert_int_equal(ring_take(ring, items, 8, -1), 1);
        assert_true(items[0] == item(10 * round + 3));
    }
    assert_int_equal(ring_take(ring, items, 8, 0), 0);
    int64_t before = clock_monotonic_ns();
    assert_int_equal(ring_take(ring, items, 8, 20), 0);
    assert_true(clock_monotonic_ns() - before >= 20 * 1000000LL);
    ring_free(ring);
}

static void closed_and_woken(void **state)
{
    struct ring *ring = ring_new(4);
    void *items[4];
    ring_wake(ring);
    assert_int_equal(ring_take(ring, items, 4, -1), 0); /* returns though nothing is there */
    ring_put(ring, item(1));
    ring_close(ring);
    assert_true(ring_closed(ring));
    assert_false(ring_put(ring, item(2)) || ring_put_wait(ring, item(2)));
    assert_int_equal(ring_take(ring, items, 4, -1), 1);
    assert_int_equal(ring_take(ring, items, 4, -1), 0);
    ring_free(ring);
}

enum { PRODUCERS = 3, EACH = 20000 };

struct producer {
    struct ring *ring;
    uintptr_t index;
};

static void *produce(void *user)
{
    struct producer *producer = user;
    for (uintptr_t n = 1; n <= EACH; n++)
        if (!ring_put_wait(producer->ring, item(producer->index << 32 | n))) return user;
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    struct ring *ring = ring_new(7);
    pthread_t threads[PRODUCERS];
    struct producer producers[PRODUCERS];
    uintptr_t last[PRODUCERS] = {0};
    for (uintptr_t n = 0; n < PRODUCERS; n++) {
        producers[n] = (struct producer){ring, n};
        assert_int_equal(pthread_create(&threads[n], NULL, produce, &producers[n]), 0);
    }
    for (size_t taken = 0; taken < (size_t)PRODUCERS * EACH;) {
        void *items[5];
        size_t count = ring_take(ring, items, 5, -1);
        for (size_t n = 0; n < count; n++) {
            uintptr_t which = (uintptr_t)items[n] >> 32, number = (uintptr_t)items[n] & 0xffffffff;
            assert_true(which < PRODUCERS);
            assert_int_equal(number, last[which] + 1);
            last[which] = number;
        }
        taken += count;
    }
    for (int n = 0; n < PRODUCERS; n++) {
        void *result;
        pthread_join(threads[n], &result);
        assert_null(result);
    }
    assert_int_equal(ring_size(ring), 0);
    ring_free(ring);
}

/* A producer that waits for room learns of the close. */
static void close_frees_waiting_producers(void **state)
{
    struct ring *ring = ring_new(1);
    struct producer producer = {ring, 1};
    pthread_t thread;
    void *result, *items[1];
    assert_int_equal(pthread_create(&thread, NULL, produce, &producer), 0);
    assert_int_equal(ring_take(ring, items, 1, -1), 1);
    ring_close(ring);
    pthread_join(thread, &result);
    assert_ptr_equal(result, &producer);
    ring_free(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_bounded_and_in_order),
        cmocka_unit_test(closed_and_woken),
        cmocka_unit_test(threads_lose_nothing),
        cmocka_unit_test(close_frees_waiting_producers),
    };
    return cmocka_run_group_tests_name("base/ring", tests, NULL, NULL);
}

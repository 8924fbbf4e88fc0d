/* The queue between threads: nothing is lost, each producer's order is kept, the bound holds, sleepers wake.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "run/inbox.h"

enum { PRODUCERS = 4, EACH = 20000, BOUND = 64 };

struct item {
    struct inbox_link link;
    int producer, number;
};

static struct inbox inbox;
static struct item items[PRODUCERS][EACH];

static void *produce(void *user)
{
    int producer = (int)(intptr_t)user;
    for (int number = 0; number < EACH; number++) {
        struct item *item = &items[producer][number];
        item->producer = producer;
        item->number = number;
        if (number % 3 == 0 && inbox_put(&inbox, &item->link)) continue;
        if (number % 3 == 1)
            inbox_put_wait_quietly(&inbox, &item->link);
        else
            inbox_put_wait(&inbox, &item->link);
    }
    inbox_rouse(&inbox); /* the last may have been a quiet one */
    return NULL;
}

static void keeps_everything_in_order(void **state)
{
    pthread_t threads[PRODUCERS];
    int seen[PRODUCERS] = {0}, total = 0;
    inbox_init(&inbox, BOUND);
    for (intptr_t at = 0; at < PRODUCERS; at++) pthread_create(&threads[at], NULL, produce, (void *)at);
    while (total < PRODUCERS * EACH) {
        size_t count = 0;
        for (struct inbox_link *list = inbox_take(&inbox, -1); list;) {
            struct item *item = (struct item *)list;
            list = list->next;
            assert_int_equal(item->number, seen[item->producer]++);
            count++;
        }
        /* Waiting producers go on when half is free; each of them may be the one above the bound. */
        assert_true(count <= BOUND + PRODUCERS);
        inbox_done(&inbox, count);
        total += (int)count;
    }
    for (int at = 0; at < PRODUCERS; at++) pthread_join(threads[at], NULL);
    assert_int_equal(inbox_size(&inbox), 0);
    inbox_release(&inbox);
}

static void refuses_when_full(void **state)
{
    struct item some[3];
    inbox_init(&inbox, 2);
    assert_true(inbox_put(&inbox, &some[0].link) && inbox_put(&inbox, &some[1].link));
    assert_false(inbox_put(&inbox, &some[2].link));
    assert_ptr_equal(inbox_take(&inbox, 0), &some[0].link);
    assert_false(inbox_put(&inbox, &some[2].link)); /* taken, but not done with */
    inbox_done(&inbox, 1);
    assert_true(inbox_put(&inbox, &some[2].link));
    inbox_release(&inbox);
}

static void wake_and_close_end_a_wait(void **state)
{
    inbox_init(&inbox, 0);
    inbox_wake(&inbox); /* also one that comes first */
    assert_null(inbox_take(&inbox, -1));
    assert_null(inbox_take(&inbox, 1));
    struct item item;
    assert_true(inbox_put(&inbox, &item.link));
    inbox_close(&inbox);
    assert_ptr_equal(inbox_take(&inbox, -1), &item.link);
    assert_null(inbox_take(&inbox, -1));
    assert_true(inbox_closed(&inbox));
    inbox_release(&inbox);
}

/* Takes as many links as user says; each wait is for ever. */
static void *consume(void *user)
{
    for (size_t left = (size_t)(intptr_t)user; left > 0;) {
        size_t count = 0;
        for (struct inbox_link *list = inbox_take(&inbox, -1); list; list = list->next) count++;
        inbox_done(&inbox, count);
        left -= count;
    }
    return NULL;
}

static void await_sleep(void)
{
    while (!atomic_load(&inbox.sleeping)) sched_yield();
}

/* A consumer that sleeps does not see what is put quietly: to rouse it, once for all, is enough; and a
 * producer that finds the queue full of such does so itself. The alarm is the end of a consumer that sleeps
 * on. */
static void rousing_ends_a_sleep(void **state)
{
    struct item some[4];
    pthread_t thread;
    alarm(60);
    inbox_init(&inbox, 2);
    pthread_create(&thread, NULL, consume, (void *)2);
    await_sleep();
    inbox_rouse(&inbox); /* there is nothing: it sleeps on */
    assert_true(atomic_load(&inbox.sleeping));
    for (int at = 0; at < 2; at++) assert_true(inbox_put_quietly(&inbox, &some[at].link));
    inbox_rouse(&inbox);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, consume, (void *)4);
    await_sleep();
    for (int at = 0; at < 4; at++) inbox_put_wait_quietly(&inbox, &some[at].link);
    inbox_rouse(&inbox);
    pthread_join(thread, NULL);
    assert_int_equal(inbox_size(&inbox), 0);
    inbox_release(&inbox);
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_everything_in_order), cmocka_unit_test(refuses_when_full),
        cmocka_unit_test(rousing_ends_a_sleep), cmocka_unit_test(wake_and_close_end_a_wait)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

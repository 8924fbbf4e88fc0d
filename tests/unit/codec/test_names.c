/* The table of names, alone and from many threads at once (the TSan build judges the latter). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "codec/names.h"

static void numbers_begin_at_one(void **state)
{
    struct names *names = names_new();
    assert_int_equal(names_count(names), 0);
    assert_int_equal(names_intern(names, SLICE_NONE), 0);
    assert_int_equal(names_find(names, slice_of("a")), 0);
    assert_int_equal(names_intern(names, slice_of("a")), 1);
    assert_int_equal(names_intern(names, slice_of("b")), 2);
    assert_int_equal(names_intern(names, slice_of("a")), 1);
    assert_int_equal(names_find(names, slice_of("b")), 2);
    assert_true(slice_is(names_get(names, 2), "b"));
    assert_int_equal(names_get(names, 0).size, 0);
    assert_null(names_get(names, 3).data);
    assert_null(names_get(names, UINT32_MAX).data);
    assert_int_equal(names_count(names), 2);
    names_free(names);
    names_free(NULL);
}

static void many_names_stay_where_they_are(void **state)
{
    struct names *names = names_new();
    const char *first = NULL;
    for (uint32_t n = 1; n <= 100000; n++) {
        char text[16];
        snprintf(text, sizeof text, "name%u", n);
        assert_int_equal(names_intern(names, slice_of(text)), n);
        if (n == 1) first = names_get(names, 1).data;
    }
    assert_ptr_equal(first, names_get(names, 1).data);
    for (uint32_t n = 1; n <= 100000; n++) {
        char text[16];
        snprintf(text, sizeof text, "name%u", n);
        assert_true(slice_is(names_get(names, n), text));
    }
    names_free(names);
}

enum { THREADS = 4, NAMES = 3000 };

struct shared {
    struct names *names;
    uint32_t numbers[THREADS][NAMES];
    atomic_bool done;
    atomic_int wrong;
};

struct worker {
    struct shared *shared;
    int index;
};

static void *intern_all(void *user)
{
    struct worker *worker = user;
    for (uint32_t n = 0; n < NAMES; n++) {
        char text[16];
        uint32_t which = worker->index % 2 ? NAMES - 1 - n : n;
        snprintf(text, sizeof text, "%u", which);
        uint32_t number = names_intern(worker->shared->names, slice_of(text));
        worker->shared->numbers[worker->index][which] = number;
        if (!slice_is(names_get(worker->shared->names, number), text))
            atomic_fetch_add(&worker->shared->wrong, 1);
    }
    return NULL;
}

/* Whatever number is out has a text, at any moment. */
static void *read_all(void *user)
{
    struct shared *shared = user;
    bool done;
    do {
        done = atomic_load(&shared->done);
        uint32_t count = names_count(shared->names);
        for (uint32_t number = count > 200 ? count - 200 : 1; number <= count; number++) {
            struct slice text = names_get(shared->names, number);
            if (text.size == 0 || names_find(shared->names, text) != number)
                atomic_fetch_add(&shared->wrong, 1);
        }
    } while (!done);
    return NULL;
}

static void threads_agree(void **state)
{
    struct shared *shared = test_calloc(1, sizeof *shared);
    shared->names = names_new();
    pthread_t threads[THREADS], reader;
    struct worker workers[THREADS];
    assert_int_equal(pthread_create(&reader, NULL, read_all, shared), 0);
    for (int n = 0; n < THREADS; n++) {
        workers[n] = (struct worker){shared, n};
        assert_int_equal(pthread_create(&threads[n], NULL, intern_all, &workers[n]), 0);
    }
    for (int n = 0; n < THREADS; n++) pthread_join(threads[n], NULL);
    atomic_store(&shared->done, true);
    pthread_join(reader, NULL);
    assert_int_equal(atomic_load(&shared->wrong), 0);
    assert_int_equal(names_count(shared->names), NAMES);
    for (int n = 1; n < THREADS; n++)
        assert_memory_equal(shared->numbers[0], shared->numbers[n], sizeof shared->numbers[0]);
    names_free(shared->names);
    test_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_begin_at_one),
        cmocka_unit_test(many_names_stay_where_they_are),
        cmocka_unit_test(threads_agree),
    };
    return cmocka_run_group_tests_name("codec/names", tests, NULL, NULL);
}

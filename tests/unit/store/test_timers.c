/* timers/: against a plain list in memory, over reopenings, other logs, damage and a disk that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/faultpoint.h"
#include "base/say.h"
#include "store/environment.h"
#include "store/timers.h"

enum { MODEL_MAX = 4096 };

static char path[64];
static struct fault fault;
static struct timer model[MODEL_MAX];
static size_t model_count;
static unsigned seed;

static unsigned draw(unsigned below)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 8) % below;
}

static int make(void **state)
{
    snprintf(path, sizeof path, "/tmp/lore-timers-XXXXXX");
    assert_non_null(mkdtemp(path));
    model_count = 0;
    seed = 7;
    say_set_level(SAY_ERROR);
    return 0;
}

static int unmake(void **state)
{
    fault_points_disarm();
    assert_int_equal(environment_destroy(path, &fault), 0);
    return 0;
}

static struct timers *open_for(const char *log)
{
    struct timers *timers;
    if (timers_open(path, log, &timers, &fault) < 0) fail_msg("%s", fault.text);
    return timers;
}

static void put(struct timers *timers, const struct timer_change *changes, size_t count, uint64_t position)
{
    if (timers_write(timers, changes, count, position, 3, &fault) < 0) fail_msg("%s", fault.text);
}

/* --- the model --- */

static bool same_key(const struct timer_key *a, const struct timer_key *b)
{
    return a->due_ms == b->due_ms && a->position == b->position && a->ordinal == b->ordinal;
}

static void model_remove(size_t at)
{
    model[at] = model[--model_count];
}

static size_t model_find(const struct timer_key *key)
{
    size_t at = 0;
    while (at < model_count && !same_key(&model[at].key, key)) at++;
    return at;
}

static void model_cancel(const struct timer *timer)
{
    for (size_t at = 0; at < model_count; at++)
        if (model[at].has_name && memcmp(model[at].name, timer->name, TIMER_NAME_SIZE) == 0) {
            model_remove(at);
            return;
        }
}

static void model_change(const struct timer_change *change)
{
    const struct timer *timer = &change->timer;
    size_t found = model_find(change->kind == TIMER_MOVE ? &change->from : &timer->key);
    if (change->kind == TIMER_CANCEL) {
        model_cancel(timer);
        return;
    }
    if (change->kind != TIMER_SET && found == model_count) return;
    if (found < model_count) model_remove(found);
    if (change->kind == TIMER_REMOVE) return;
    if (timer->has_name) model_cancel(timer);
    found = model_find(&timer->key);
    if (found < model_count) model_remove(found);
    model[model_count++] = *timer;
}

static int by_key(const void *a, const void *b)
{
    const struct timer_key *x = &((const struct timer *)a)->key, *y = &((const struct timer *)b)->key;
    if (x->due_ms != y->due_ms) return x->due_ms < y->due_ms ? -1 : 1;
    if (x->position != y->position) return x->position < y->position ? -1 : 1;
    return (x->ordinal > y->ordinal) - (x->ordinal < y->ordinal);
}

static bool count_parked(void *user, const struct timer *timer)
{
    assert_true(timer->key.due_ms == INT64_MAX);
    assert_true(timer->error.size == 3 && memcmp(timer->error.data, "why", 3) == 0);
    ++*(uint64_t *)user;
    return true;
}

/* All that is due up to a moment, a few at a time, and all that is parked. */
static void expect_model(struct timers *timers, int64_t now_ms)
{
    struct timer found[7];
    struct timer_key after = {.due_ms = INT64_MIN};
    uint64_t parked = 0, expected_parked = 0, told;
    size_t at = 0;
    int count;
    qsort(model, model_count, sizeof *model, by_key);
    while ((count = timers_due(timers, &after, now_ms, found, 7, &fault)) > 0) {
        for (int n = 0; n < count; n++, at++) {
            assert_true(at < model_count && same_key(&found[n].key, &model[at].key));
            assert_int_equal(found[n].attempts, model[at].attempts);
            assert_int_equal(found[n].has_name, model[at].has_name);
        }
        after = found[count - 1].key;
    }
    assert_int_equal(count, 0);
    assert_true(at == model_count || model[at].key.due_ms > now_ms || model[at].key.due_ms == INT64_MAX);
    for (size_t n = 0; n < model_count; n++) expected_parked += model[n].key.due_ms == INT64_MAX;
    assert_int_equal(timers_each_parked(timers, count_parked, &parked, &fault), 0);
    assert_int_equal(parked, expected_parked);
    assert_int_equal(timers_count(timers, &told), model_count);
    assert_int_equal(told, expected_parked);
}

/* --- tests --- */

static struct timer random_timer(void)
{
    struct timer timer = {.key = {.due_ms = draw(8) ? (int64_t)draw(50) - 10 : INT64_MAX,
                                  .position = draw(40),
                                  .ordinal = draw(3)},
                          .has_name = draw(2),
                          .attempts = draw(5),
                          .error = slice_of("why")};
    if (timer.has_name) timer.name[3] = (uint8_t)draw(20);
    return timer;
}

static void changes_agree_with_a_list(void **state)
{
    struct timers *timers = open_for("log");
    assert_int_equal(timers_position(timers), 0);
    for (uint64_t round = 1; round <= 300; round++) {
        struct timer_change changes[8];
        size_t count = draw(8);
        for (size_t at = 0; at < count; at++) {
            changes[at] =
                (struct timer_change){.kind = (enum timer_change_kind)draw(4), .timer = random_timer()};
            if (draw(2) && model_count) {
                changes[at].from = model[draw((unsigned)model_count)].key;
                if (changes[at].kind == TIMER_REMOVE) changes[at].timer.key = changes[at].from;
            }
            if (changes[at].kind == TIMER_CANCEL && !changes[at].timer.has_name) changes[at].kind = TIMER_SET;
        }
        put(timers, changes, count, round);
        for (size_t at = 0; at < count; at++) model_change(&changes[at]);
        if (round % 10 == 0) {
            timers_close(timers);
            timers = open_for("log");
        }
        assert_int_equal(timers_position(timers), round);
        assert_int_equal(timers_mark(timers), 3);
        expect_model(timers, (int64_t)draw(60) - 15);
    }
    timers_close(timers);
    if (timers_check(path, &fault) < 0) fail_msg("%s", fault.text);
    timers = open_for("log");
    assert_true(model_count > 10);
    timers_close(timers);
}

static void of_another_log_it_is_empty(void **state)
{
    struct timers *timers = open_for("one");
    put(timers, &(struct timer_change){TIMER_SET, {.key = {5, 6, 7}}, {0, 0, 0}}, 1, 9);
    timers_close(timers);
    timers = open_for("two");
    assert_int_equal(timers_position(timers), 0);
    assert_int_equal(timers_count(timers, NULL), 0);
    timers_close(timers);
}

static void what_fails_leaves_nothing(void **state)
{
    struct timers *timers = open_for("log");
    put(timers, &(struct timer_change){TIMER_SET, {.key = {5, 6, 7}}, {0, 0, 0}}, 1, 9);
    assert_int_equal(fault_points_arm("timers.write=ENOSPC", &fault), 0);
    struct timer_change change = {TIMER_SET, {.key = {INT64_MAX, 6, 8}}, {0, 0, 0}};
    assert_int_equal(timers_write(timers, &change, 1, 10, 0, &fault), -1);
    assert_int_equal(fault.code, FAULT_DISK);
    uint64_t parked;
    assert_int_equal(timers_position(timers), 9);
    assert_int_equal(timers_count(timers, &parked), 1);
    assert_int_equal(parked, 0);
    put(timers, &change, 1, 10);
    assert_int_equal(timers_count(timers, &parked), 2);
    assert_int_equal(parked, 1);
    timers_close(timers);
}

/* Flips one bit of the value that was written last. */
static void damage_is_found(void **state)
{
    struct timers *timers = open_for("log");
    struct timer_change change = {TIMER_SET, {.key = {5, 6, 7}, .error = slice_of("FIND ME")}, {0, 0, 0}};
    put(timers, &change, 1, 9);
    timers_close(timers);
    char file[96];
    static char bytes[1 << 20];
    snprintf(file, sizeof file, "%s/data.mdb", path);
    FILE *data = fopen(file, "r+");
    size_t size = fread(bytes, 1, sizeof bytes, data), flipped = 0;
    for (size_t at = 0; at + 7 < size; at++)
        if (memcmp(bytes + at, "FIND ME", 7) == 0) {
            fseek(data, (long)at, SEEK_SET);
            fputc('G', data);
            flipped++;
        }
    fclose(data);
    assert_true(flipped > 0);
    assert_int_equal(timers_check(path, &fault), -1);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    timers = open_for("log");
    struct timer due[2];
    struct timer_key first = {.due_ms = INT64_MIN};
    assert_int_equal(timers_due(timers, &first, 5, due, 2, &fault), -1);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    timers_drop(timers);
    timers = open_for("log");
    assert_int_equal(timers_position(timers), 0);
    timers_close(timers);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changes_agree_with_a_list, make, unmake),
        cmocka_unit_test_setup_teardown(of_another_log_it_is_empty, make, unmake),
        cmocka_unit_test_setup_teardown(what_fails_leaves_nothing, make, unmake),
        cmocka_unit_test_setup_teardown(damage_is_found, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

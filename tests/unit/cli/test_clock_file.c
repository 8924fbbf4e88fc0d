/* The clock that stands where a file says: written again, replaced, gone and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/clock_file.h"
#include "codec/time.h"

static uv_loop_t loop;
static uv_timer_t guard;
static char folder[64], path[96], beside[96];
static bool expired;

static void on_guard(uv_timer_t *timer)
{
    expired = true;
}

static void on_told(void *user) {}

static void put(const char *to, const char *moment)
{
    FILE *file = fopen(to, "w");
    assert_non_null(file);
    fputs(moment, file);
    fclose(file);
}

static int begin(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/lore-clock-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/clock", folder);
    snprintf(beside, sizeof beside, "%s/clock.new", folder);
    put(path, "2026-03-01T00:00:00Z\n");
    assert_int_equal(uv_loop_init(&loop), 0);
    uv_timer_init(&loop, &guard);
    expired = false;
    return 0;
}

static int end(void **state)
{
    unlink(path);
    unlink(beside);
    rmdir(folder);
    return 0;
}

/* Runs the loop until the clock stands there; the guard only ends a test that hangs. */
static void stands_at(struct clock_file *file, const char *moment)
{
    int64_t ms;
    assert_true(time_parse(slice_of(moment), &ms));
    uv_timer_start(&guard, on_guard, 10000, 0);
    while (clock_now_ms(clock_file_clock(file)) != ms && !expired) uv_run(&loop, UV_RUN_ONCE);
    uv_timer_stop(&guard);
    if (expired) fail_msg("it never stood at %s", moment);
}

static void close_all(struct clock_file *file)
{
    clock_file_close(file);
    uv_close((uv_handle_t *)&guard, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void hears_the_file_whatever_happens_to_it(void **state)
{
    (void)state;
    struct clock_file *file;
    struct fault fault;
    if (clock_file_open(path, &loop, on_told, NULL, &file, &fault) < 0) fail_msg("%s", fault.text);
    stands_at(file, "2026-03-01T00:00:00Z");
    put(path, "2026-03-02T00:00:00Z\n");
    stands_at(file, "2026-03-02T00:00:00Z");
    for (int day = 3; day < 8; day++) { /* replaced, again and again */
        char moment[32];
        snprintf(moment, sizeof moment, "2026-03-%02dT00:00:00Z", day);
        put(beside, moment);
        assert_int_equal(rename(beside, path), 0);
        stands_at(file, moment);
    }
    unlink(path);
    put(path, "2026-03-09T00:00:00Z");
    stands_at(file, "2026-03-09T00:00:00Z");
    close_all(file);
}

static void a_file_without_a_moment_is_told(void **state)
{
    (void)state;
    struct clock_file *file = NULL;
    struct fault fault;
    put(path, "soon");
    assert_int_equal(clock_file_open(path, &loop, on_told, NULL, &file, &fault), -1);
    assert_int_equal(fault.code, FAULT_MALFORMED);
    unlink(path);
    assert_int_equal(clock_file_open(path, &loop, on_told, NULL, &file, &fault), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
    close_all(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hears_the_file_whatever_happens_to_it, begin, end),
        cmocka_unit_test_setup_teardown(a_file_without_a_moment_is_told, begin, end),
    };
    return cmocka_run_group_tests_name("clock_file", tests, NULL, NULL);
}

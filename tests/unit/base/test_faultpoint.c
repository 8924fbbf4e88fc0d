/* Fault points: armed ones fail at the passing named, others never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/faultpoint.h"

static int release(void **state)
{
    fault_points_disarm();
    return 0;
}

static void an_unarmed_point_lets_pass(void **state)
{
    for (int at = 0; at < 3; at++) assert_int_equal(fault_point(POINT_LOG_WRITE), 0);
    assert_int_equal(fault_point_passed(POINT_LOG_WRITE), 0);
}

static void the_nth_passing_fails_and_no_other(void **state)
{
    struct fault fault;
    assert_int_equal(fault_points_arm("log.write@2=ENOSPC,log.fsync@2+", &fault), 0);
    int write[4], fsync[4];
    for (int at = 0; at < 4; at++)
        write[at] = fault_point(POINT_LOG_WRITE), fsync[at] = fault_point(POINT_LOG_FSYNC);
    int expected_write[4] = {0, ENOSPC, 0, 0}, expected_fsync[4] = {0, EIO, EIO, EIO};
    assert_memory_equal(write, expected_write, sizeof write);
    assert_memory_equal(fsync, expected_fsync, sizeof fsync);
    assert_int_equal(fault_point(POINT_LOG_GROW), 0);
    assert_int_equal(fault_point_passed(POINT_LOG_WRITE), 4);
}

static void none_only_counts(void **state)
{
    struct fault fault;
    assert_int_equal(fault_points_arm("none", &fault), 0);
    assert_int_equal(fault_point(POINT_LOG_GROW), 0);
    assert_int_equal(fault_point_passed(POINT_LOG_GROW), 1);
}

static void a_short_one_is_told(void **state)
{
    struct fault fault;
    assert_int_equal(fault_points_arm("log.write=short", &fault), 0);
    assert_int_equal(fault_point(POINT_LOG_WRITE), FAULT_POINT_SHORT);
}

static void kill_ends_the_process_there(void **state)
{
    pid_t child = fork();
    if (child == 0) {
        fault_points_arm("log.write=kill", NULL);
        fault_point(POINT_LOG_WRITE);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void a_wrong_clause_is_named(void **state)
{
    static const char *const wrong[] = {"log.writ",        "log.write@", "log.write@0", "log.write@x",
                                        "log.write=EWHAT", "@1",         "=EIO"};
    for (size_t at = 0; at < sizeof wrong / sizeof *wrong; at++) {
        struct fault fault = {0};
        assert_int_equal(fault_points_arm(wrong[at], &fault), -1);
        assert_int_equal(fault.code, FAULT_USAGE);
        assert_non_null(strstr(fault.text, wrong[at]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_unarmed_point_lets_pass, release),
        cmocka_unit_test_teardown(the_nth_passing_fails_and_no_other, release),
        cmocka_unit_test_teardown(none_only_counts, release),
        cmocka_unit_test_teardown(a_short_one_is_told, release),
        cmocka_unit_test_teardown(kill_ends_the_process_there, release),
        cmocka_unit_test_teardown(a_wrong_clause_is_named, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

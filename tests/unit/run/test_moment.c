/* moment.h: what the texts say, and where in a log that is. */
#include "contract/engine_cases.h"

#include "run/deploys.h"
#include "run/moment.h"

static struct fault fault;

static void expect_parsed(const char *text, enum moment_kind kind, int64_t value)
{
    struct moment moment;
    if (moment_parse(slice_of(text), &moment, &fault) < 0) fail_msg("%s: %s", text, fault.text);
    assert_int_equal(moment.kind, kind);
    assert_int_equal(kind == MOMENT_TIME ? moment.ms : (int64_t)moment.number, value);
}

static void test_texts(void **state)
{
    expect_parsed("0", MOMENT_POSITION, 0);
    expect_parsed("812", MOMENT_POSITION, 812);
    expect_parsed("999999999999999999", MOMENT_POSITION, 999999999999999999);
    expect_parsed("deploy:41", MOMENT_DEPLOY, 41);
    expect_parsed("1970-01-02", MOMENT_TIME, 86400000);
    expect_parsed("1970-01-01T00:00:01.5Z", MOMENT_TIME, 1500);
    static const char *const bad[] = {"",         "-1",       "1.5",        "x",
                                      "deploy:",  "deploy:x", "deploy",     "deploy:1x",
                                      " 1",       "tomorrow", "1970-13-01", "9999999999999999999",
                                      "deploy:-1"};
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        struct moment moment;
        fault.code = FAULT_NONE;
        if (moment_parse(slice_of(bad[at]), &moment, &fault) == 0) fail_msg("'%s' is taken", bad[at]);
        assert_int_equal(fault.code, FAULT_MALFORMED);
    }
}

/* -1: the fault is NOT_FOUND. */
static int64_t position_of(struct engine *engine, const char *text)
{
    struct moment moment;
    uint64_t position;
    assert_int_equal(moment_parse(slice_of(text), &moment, &fault), 0);
    if (moment_position(engine, &moment, &position, &fault) == 0) return (int64_t)position;
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
    return -1;
}

/* One that is recorded here, at the head of the log. */
static void put_deploy(struct engine *engine, uint64_t expected)
{
    static const char *const texts[] = {"return 1", "return 2", "return 3", "return 4", "return 5"};
    const char *const scripts[] = {"shop/box.lua", texts[expected - 1], NULL};
    struct sources *sources = sources_of(scripts);
    struct deploys_writer writer = {.put = deploys_put_directly, .user = engine};
    struct deploy_new what = {.sources = sources, .actor = slice_of("tester")};
    uint64_t number;
    assert_int_equal(deploys_add(engine, &writer, &what, &number, &fault), 0);
    assert_int_equal(number, expected);
    sources_free(sources);
}

/* Commits of three events, one a second from 1970 on, under these deploys: after 3 what runs is 1 again. */
static void test_positions(void **state)
{
    static const uint64_t deploys[] = {1, 1, 3, 1, 1, 4};
    static const uint64_t made_before[] = {1, 1, 3, 3, 3, 4};
    uint64_t made = 0;
    struct case_clock clock = case_clock_of(0);
    struct engine_options options = {.clock = &clock.clock};
    struct engine *engine;
    struct arena arena = {0};
    assert_int_equal(engine_open_memory(&options, &engine, &fault), 0);
    assert_int_equal(position_of(engine, "1970-01-02"), 0);
    assert_int_equal(position_of(engine, "0"), 0);
    assert_int_equal(position_of(engine, "1"), -1);
    assert_int_equal(position_of(engine, "deploy:1"), -1);
    for (size_t at = 0; at < sizeof deploys / sizeof *deploys; at++) {
        while (made_before[at] > made) put_deploy(engine, ++made);
        clock.now_ms = 1000 * ((int64_t)at + 1);
        struct commit *commit = case_commit(&arena, case_stream("acme", "1"), 3 * at, 3, NULL);
        commit->deploy = deploys[at];
        case_append(engine, commit);
    }
    put_deploy(engine, 5);
    assert_int_equal(position_of(engine, "18"), 18);
    assert_int_equal(position_of(engine, "19"), -1);
    assert_int_equal(position_of(engine, "1970-01-01T00:00:00.999Z"), 0);
    assert_int_equal(position_of(engine, "1970-01-01T00:00:01Z"), 3);
    assert_int_equal(position_of(engine, "1970-01-01T00:00:04.5Z"), 12);
    assert_int_equal(position_of(engine, "1970-01-01T00:00:06Z"), 18);
    assert_int_equal(position_of(engine, "9999-01-01"), 18);
    assert_int_equal(position_of(engine, "0001-01-01"), 0);
    assert_int_equal(position_of(engine, "deploy:0"), -1);
    assert_int_equal(position_of(engine, "deploy:1"), 0);
    assert_int_equal(position_of(engine, "deploy:2"), 6);
    assert_int_equal(position_of(engine, "deploy:3"), 6);
    assert_int_equal(position_of(engine, "deploy:4"), 15);
    assert_int_equal(position_of(engine, "deploy:5"), 18);
    assert_int_equal(position_of(engine, "deploy:6"), -1);
    struct moment moment;
    struct moment_bound bound;
    moment_parse(slice_of("1970-01-01T00:00:02Z"), &moment, &fault);
    assert_int_equal(moment_bound(engine, &moment, &bound, &fault), 0);
    assert_true(bound.position == UINT64_MAX && bound.at_ms == 2000);
    moment_parse(slice_of("7"), &moment, &fault);
    assert_int_equal(moment_bound(engine, &moment, &bound, &fault), 0);
    assert_true(bound.position == 7 && bound.at_ms == INT64_MAX);
    engine_close(engine);
    arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_positions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

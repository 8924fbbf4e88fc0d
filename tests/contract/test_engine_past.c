/* A log as it was: whatever an engine showed while its head was at a position, engine_open_past over it shows
 * later, to the last byte; and a position within a commit shows the events before it. */
#include "base/rand.h"
#include "contract/engine_cases.h"

enum { STREAMS = 5, STEPS = 150, MOMENTS_MAX = STEPS + 1 };

struct moment {
    struct engine_head head;
    struct case_dump dump;
};

struct fixture {
    struct engine *engine;
    struct arena arena;
    struct case_clock clock;
    char path[64];
    uint64_t seed, versions[STREAMS];
    struct moment moments[MOMENTS_MAX];
    size_t count;
};

static uint64_t any(struct fixture *fixture, uint64_t below)
{
    fixture->seed = fixture->seed * 6364136223846793005u + 1442695040888963407u;
    return (fixture->seed >> 33) % below;
}

static void dump(struct engine *engine, struct case_dump *dump)
{
    struct fault fault = {0};
    if (case_dump(engine, dump, &fault) < 0) fail_msg("%s", fault.text);
}

static void note(struct fixture *fixture)
{
    struct moment *moment = &fixture->moments[fixture->count++];
    moment->head = engine_head(fixture->engine);
    dump(fixture->engine, &moment->dump);
}

static struct stream_id stream_at(uint64_t number)
{
    static const char *const ids[STREAMS] = {"1", "2", "3", "4", "5"};
    return case_stream(number % 2 ? "acme" : "bolt", ids[number]);
}

/* A moment is kept after each step, so outcomes get times of their own. */
static void step(struct fixture *fixture)
{
    uint64_t at = any(fixture, STREAMS), kind = any(fixture, 5);
    size_t events = kind == 0 ? 0 : 1 + any(fixture, 4);
    char id[32];
    snprintf(id, sizeof id, "id-%zu", fixture->count);
    fixture->clock.now_ms += 1 + (int64_t)any(fixture, 3);
    struct commit *commit =
        case_commit(&fixture->arena, stream_at(at), fixture->versions[at], events,
                    any(fixture, 2) ? arena_copy(&fixture->arena, slice_of(id)).data : NULL);
    case_append(fixture->engine, commit);
    fixture->versions[at] += events;
    uint64_t flushed;
    struct fault fault = {0};
    if (any(fixture, 10) == 0) assert_int_equal(engine_flush_index(fixture->engine, &flushed, &fault), 0);
    note(fixture);
}

static struct engine *past(struct fixture *fixture, uint64_t position, int64_t recorded_ms)
{
    struct engine *engine;
    struct fault fault = {0};
    if (engine_open_past(fixture->engine, false, position, recorded_ms, &engine, &fault) < 0)
        fail_msg("past: %s", fault.text);
    return engine;
}

static void compare(struct fixture *fixture, const struct moment *moment)
{
    struct engine *engine = past(fixture, moment->head.position, moment->head.recorded_ms);
    struct engine_head head = engine_head(engine);
    assert_int_equal(head.position, moment->head.position);
    assert_int_equal(head.commits, moment->head.commits);
    assert_int_equal(head.outcomes, moment->head.outcomes);
    assert_int_equal(head.recorded_ms, moment->head.recorded_ms);
    assert_int_equal(head.epoch, moment->head.epoch);
    assert_string_equal(head.log_id, moment->head.log_id);
    assert_true(hash_equal(&head.chain, &moment->head.chain));
    assert_true(hash_equal(&head.outcome_chain, &moment->head.outcome_chain));
    struct case_dump shown;
    dump(engine, &shown);
    assert_memory_equal(&shown, &moment->dump, sizeof shown);
    engine_close(engine);
}

static bool add_version(void *user, struct slice id, uint64_t version)
{
    *(uint64_t *)user += version;
    return true;
}

/* All that a position tells: no event behind it anywhere, and the streams' versions add up to it. */
static void look(struct fixture *fixture, uint64_t position)
{
    struct engine *engine = past(fixture, position, INT64_MIN);
    struct engine_cursor *cursor;
    struct record record;
    struct fault fault = {0};
    uint64_t seen = 0, versions = 0;
    assert_int_equal(engine_head(engine).position, position);
    assert_int_equal(engine_read(engine, 1, &cursor, &fault), 0);
    while (engine_cursor_next(cursor, &record, &fault) == 1) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) assert_int_equal(event.position, ++seen);
    }
    assert_int_equal(seen, position);
    engine_cursor_close(cursor);
    for (uint64_t at = 0; at < STREAMS; at++) {
        struct stream_id stream = stream_at(at);
        uint64_t last, version = case_version(engine, stream, &last), counted = 0;
        assert_true(last <= position && (version == 0) == (last == 0));
        assert_int_equal(engine_read_stream(engine, &stream, 1, &cursor, &fault), 0);
        while (engine_cursor_next(cursor, &record, &fault) == 1) counted += record.event_count;
        engine_cursor_close(cursor);
        assert_int_equal(counted, version);
    }
    for (int at = 0; at < 2; at++)
        assert_int_equal(engine_each_stream(engine, slice_of(at ? "acme" : "bolt"), slice_of("billing/bill"),
                                            add_version, &versions, &fault),
                         0);
    assert_int_equal(versions, position);
    engine_close(engine);
}

static void run(struct fixture *fixture)
{
    printf("SEED=%llu\n", (unsigned long long)fixture->seed);
    note(fixture);
    for (int at = 0; at < STEPS; at++) step(fixture);
    for (size_t at = 0; at < fixture->count; at++) compare(fixture, &fixture->moments[at]);
    uint64_t head = engine_head(fixture->engine).position;
    for (uint64_t position = 0; position <= head; position++) look(fixture, position);
    struct engine *engine;
    struct fault fault = {0};
    assert_int_equal(engine_open_past(fixture->engine, false, head + 1, INT64_MIN, &engine, &fault), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
}

static uint64_t seed_given(void)
{
    const char *given = getenv("SEED");
    return given ? strtoull(given, NULL, 10) : (uint64_t)clock_monotonic_ns();
}

static void test_memory(void **state)
{
    struct fixture fixture = {.clock = case_clock_of(1000), .seed = seed_given()};
    struct engine_options options = {.clock = &fixture.clock.clock};
    struct fault fault = {0};
    assert_int_equal(engine_open_memory(&options, &fixture.engine, &fault), 0);
    run(&fixture);
    engine_close(fixture.engine);
    arena_release(&fixture.arena);
}

static void test_lmdb(void **state)
{
    struct fixture fixture = {.clock = case_clock_of(1000), .seed = seed_given()};
    snprintf(fixture.path, sizeof fixture.path, "%s", case_directory());
    struct engine_options options = {.path = fixture.path, .clock = &fixture.clock.clock};
    struct fault fault = {0};
    assert_int_equal(engine_open_lmdb(&options, &fixture.engine, &fault), 0);
    run(&fixture);
    engine_close(fixture.engine);
    arena_release(&fixture.arena);
    case_remove(fixture.path);
}

/* Nothing is written into the past, and it does not move with the log. */
static void test_stands(void **state)
{
    struct fixture fixture = {.clock = case_clock_of(1000), .seed = 1};
    struct engine_options options = {.clock = &fixture.clock.clock};
    struct fault fault = {0};
    assert_int_equal(engine_open_memory(&options, &fixture.engine, &fault), 0);
    struct stream_id one = case_stream("acme", "1"), two = case_stream("acme", "2");
    case_append(fixture.engine, case_commit(&fixture.arena, one, 0, 3, "first"));
    struct engine *engine = past(&fixture, 3, INT64_MIN);
    struct append append = {.commit = case_commit(&fixture.arena, one, 3, 1, NULL)};
    assert_int_equal(engine_append(engine, &append, 1, &fault), -1);
    assert_int_equal(fault.code, FAULT_UNAVAILABLE);
    assert_int_equal(engine_meta_put(engine, slice_of("deploy"), slice_of("x"), &fault), -1);
    case_append(fixture.engine, case_commit(&fixture.arena, one, 3, 2, "second"));
    case_append(fixture.engine, case_commit(&fixture.arena, two, 0, 1, "third"));
    struct record record;
    struct buf bytes = {0};
    uint64_t position;
    assert_int_equal(case_version(engine, one, &position), 3);
    assert_int_equal(position, 3);
    assert_int_equal(case_version(engine, two, &position), 0);
    assert_int_equal(case_find(engine, one, "first", &record, &bytes), 1);
    assert_int_equal(case_find(engine, one, "second", &record, &bytes), 0);
    assert_int_equal(case_find(engine, two, "third", &record, &bytes), 0);
    buf_release(&bytes);
    engine_close(engine);
    engine_close(fixture.engine);
    arena_release(&fixture.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_lmdb),
        cmocka_unit_test(test_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The filter in front of the runs: it never denies what is there, seldom supposes what is not, and a look-up
 * of what is new does not read the disk. */
#include "base/faultpoint.h"
#include "base/hash.h"
#include "contract/engine_cases.h"
#include "store/index_filter.h"

static uint64_t hash_of_number(uint64_t number)
{
    return index_filter_of_id(number);
}

static void what_was_added_is_never_denied(void **state)
{
    enum { KEYS = 300000 };
    struct index_filter *filter = index_filter_new(KEYS);
    assert_true(index_filter_has_room(filter, KEYS));
    for (uint64_t number = 0; number < KEYS; number++) index_filter_add(filter, hash_of_number(number));
    unsigned supposed = 0;
    for (uint64_t number = 0; number < KEYS; number++) {
        assert_true(index_filter_may_have(filter, hash_of_number(number)));
        supposed += index_filter_may_have(filter, hash_of_number(KEYS + number));
    }
    assert_true(supposed < KEYS / 100);
    assert_false(index_filter_has_room(filter, KEYS));
    index_filter_free(filter);
    assert_null(index_filter_new(1ULL << 40));
}

static struct engine *open_at(const char *path)
{
    struct engine *engine;
    struct fault fault;
    struct engine_options options = {.path = path};
    if (engine_open_lmdb(&options, &engine, &fault) < 0) fail_msg("open: %s", fault.text);
    return engine;
}

enum { STREAMS = 50, EVENTS = 600 }; /* so many events are worth a filter */

static struct stream_id stream_of(struct arena *arena, unsigned number)
{
    return case_stream("acme", arena_format(arena, "stream-%u", number).data);
}

static void append_streams(struct engine *engine, unsigned first)
{
    for (unsigned number = first; number < first + STREAMS; number++) {
        struct arena arena = {0};
        struct slice command = arena_format(&arena, "command-%u", number);
        struct commit *commit = case_commit(&arena, stream_of(&arena, number), 0, EVENTS, command.data);
        assert_int_equal(case_append(engine, commit).outcome, APPEND_APPENDED);
        arena_release(&arena);
    }
    uint64_t events;
    assert_int_equal(engine_flush_index(engine, &events, NULL), 0);
    assert_int_equal(events, STREAMS * EVENTS);
}

/* Whether looking for the stream read the disk; found: it and its command are there. */
static bool look_up(struct engine *engine, unsigned number, bool found)
{
    struct arena arena = {0};
    struct buf bytes = {0};
    struct record record;
    uint64_t version, position;
    struct stream_id stream = stream_of(&arena, number);
    unsigned long before = fault_point_passed(POINT_INDEX_READ);
    assert_int_equal(engine_stream_head(engine, &stream, &version, &position, NULL), 0);
    assert_int_equal(version, found ? EVENTS : 0);
    bool read = fault_point_passed(POINT_INDEX_READ) > before;
    struct slice command = arena_format(&arena, "command-%u", number);
    assert_int_equal(engine_find_command(engine, &stream, command, &bytes, &record, NULL), found);
    buf_release(&bytes);
    arena_release(&arena);
    return read;
}

static unsigned new_ones_read(struct engine *engine)
{
    unsigned read = 0;
    for (unsigned number = 1000; number < 1100; number++) read += look_up(engine, number, false);
    return read;
}

static void assert_all_found(struct engine *engine, unsigned count)
{
    for (unsigned number = 0; number < count; number++) assert_true(look_up(engine, number, true));
}

static void new_keys_do_not_read_the_disk(void **state)
{
    const char *path = case_directory();
    struct fault fault;
    assert_int_equal(fault_points_arm("none", &fault), 0);
    /* Of a new index from the first flush on. */
    struct engine *engine = open_at(path);
    append_streams(engine, 0);
    assert_true(new_ones_read(engine) < 10);
    assert_all_found(engine, STREAMS);
    engine_close(engine);
    /* Of one that was there: when a large flush made it worth reading the runs. */
    engine = open_at(path);
    assert_int_equal(new_ones_read(engine), 100);
    append_streams(engine, STREAMS);
    assert_true(new_ones_read(engine) < 10);
    assert_all_found(engine, 2 * STREAMS);
    engine_close(engine);
    fault_points_disarm();
    case_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_never_denied),
        cmocka_unit_test(new_keys_do_not_read_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

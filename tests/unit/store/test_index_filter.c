/* The filter in front of the runs: it never denies what is there, seldom supposes what is not, and a look-up
 * of what is new does not read the disk. */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/faultpoint.h"
#include "base/hash.h"
#include "contract/engine_cases.h"
#include "store/engine_lmdb.h"
#include "store/index_filter.h"
#include "store/index_inside.h"

static uint64_t hash_of_number(uint64_t number)
{
    return index_filter_of_id(number);
}

/* The largest filter takes more keys than it has bits for at their best, and is worth less. */
static void a_full_one_is_worth_less(void **state)
{
    enum { KEYS = 20000000, ASKED = 100000 };
    if (getenv("LORE_TEST_SMALL")) skip(); /* a matter of numbers, and of a minute under a sanitizer */
    struct index_filter *filter = index_filter_new(KEYS);
    for (uint64_t number = 0; number < KEYS; number++) index_filter_add(filter, hash_of_number(number));
    unsigned supposed = 0;
    for (uint64_t number = 0; number < ASKED; number++) {
        assert_true(index_filter_may_have(filter, hash_of_number(number * (KEYS / ASKED))));
        supposed += index_filter_may_have(filter, hash_of_number(KEYS + number));
    }
    assert_in_range(supposed, 1, ASKED / 10);
    assert_true(index_filter_has_room(filter, KEYS / 2));
    assert_false(index_filter_has_room(filter, KEYS));
    index_filter_free(filter);
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

enum { STREAMS = 50, EVENTS = 600, NEW = 1u << 30 }; /* so many events are worth a filter */

static struct stream_id stream_of(struct arena *arena, unsigned number)
{
    return case_stream("acme", arena_format(arena, "stream-%u", number).data);
}

static struct index *index_of(struct engine *engine)
{
    return ((struct engine_lmdb *)engine)->index;
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
    for (unsigned number = NEW; number < NEW + 100; number++) read += look_up(engine, number, false);
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
    index_fill_end(index_of(engine), false);
    assert_true(new_ones_read(engine) < 10);
    assert_all_found(engine, 2 * STREAMS);
    engine_close(engine);
    fault_points_disarm();
    case_remove(path);
}

static void append_small(struct engine *engine, unsigned first, unsigned count)
{
    struct arena arena = {0};
    uint64_t events;
    struct append *batch = arena_zero(&arena, count * sizeof *batch);
    for (unsigned at = 0; at < count; at++)
        batch[at].commit = case_commit(&arena, stream_of(&arena, first + at), 0, 1,
                                       arena_format(&arena, "command-%u", first + at).data);
    assert_int_equal(engine_append(engine, batch, count, NULL), 0);
    arena_release(&arena);
    assert_int_equal(engine_flush_index(engine, &events, NULL), 0);
    assert_int_equal(events, count);
}

static unsigned small_missed(struct engine *engine, unsigned from, unsigned to)
{
    unsigned missed = 0;
    for (unsigned number = from; number < to; number++) {
        struct arena arena = {0};
        uint64_t version, position;
        struct stream_id stream = stream_of(&arena, number);
        assert_int_equal(engine_stream_head(engine, &stream, &version, &position, NULL), 0);
        struct slice command = arena_format(&arena, "command-%u", number);
        struct buf bytes = {0};
        struct record record;
        missed += version != 1 || engine_find_command(engine, &stream, command, &bytes, &record, NULL) != 1;
        buf_release(&bytes);
        arena_release(&arena);
    }
    return missed;
}

static char *kept_path(char *to, size_t size, const char *path, const char *name)
{
    snprintf(to, size, "%s/%s", path, name);
    return to;
}

/* A filter has what was flushed before, while and after it was filled. */
static void what_is_flushed_meanwhile_is_in_it(void **state)
{
    enum { MANY = 200000, FEW = 100, ROUNDS = 20 };
    const char *path = case_directory();
    struct fault fault;
    assert_int_equal(fault_points_arm("none", &fault), 0);
    struct engine *engine = open_at(path);
    unsigned count = 0, meanwhile = 0;
    for (; count < MANY; count += MANY / 4) append_small(engine, count, MANY / 4);
    char kept[512];
    kept_path(kept, sizeof kept, path, "index/filter");
    for (int round = 0; round < ROUNDS && meanwhile < 3; round++) {
        engine_close(engine);
        unlink(kept);           /* from a million keys on */
        engine = open_at(path); /* has no filter */
        append_small(engine, count, MANY / 4);
        append_small(engine, count += MANY / 4, FEW);
        meanwhile += index_fill_is_under_way(index_of(engine));
        append_small(engine, count += FEW, FEW);
        count += FEW;
        index_fill_end(index_of(engine), false);
        assert_true(new_ones_read(engine) < 10);
        assert_int_equal(small_missed(engine, count - MANY / 4 - 2 * FEW, count), 0);
    }
    assert_int_equal(meanwhile, 3);
    assert_int_equal(small_missed(engine, 0, count), 0);
    engine_close(engine);
    fault_points_disarm();
    case_remove(path);
}

enum { KEPT_STREAMS = 520000, KEPT_STEP = 40000 }; /* with their ids more than a million keys */

static unsigned append_kept(struct engine *engine)
{
    unsigned count = 0;
    for (; count < KEPT_STREAMS; count += KEPT_STEP) append_small(engine, count, KEPT_STEP);
    return count;
}

static bool has_filter(struct engine *engine)
{
    return !index_fill_is_under_way(index_of(engine)) && index_of(engine)->filter;
}

/* damaged: where a bit is turned, from the end if below 0; 0: nowhere. */
static void copy_file(const char *from, const char *to, long damaged)
{
    static char bytes[32 << 20];
    FILE *file = fopen(from, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_in_range(size, 1000000, sizeof bytes - 1);
    if (damaged) bytes[damaged < 0 ? (long)size + damaged : damaged] ^= 4;
    file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* A large one is there again at once, of the very state that was closed, or is filled anew. */
static void a_large_one_outlives_the_engine(void **state)
{
    if (getenv("LORE_TEST_SMALL")) skip(); /* a million keys */
    char kept[512], older[512];
    const char *path = case_directory();
    kept_path(kept, sizeof kept, path, "index/filter");
    kept_path(older, sizeof older, path, "older");
    struct fault fault;
    assert_int_equal(fault_points_arm("none", &fault), 0);
    struct engine *engine = open_at(path);
    unsigned count = append_kept(engine);
    engine_close(engine);
    copy_file(kept, older, 0);

    engine = open_at(path);
    assert_true(has_filter(engine));
    assert_true(new_ones_read(engine) < 10);
    assert_int_equal(small_missed(engine, 0, count), 0);
    append_small(engine, count, 100);
    count += 100;
    assert_int_equal(small_missed(engine, 0, count), 0);
    engine_close(engine);

    /* One of an earlier state does not know of what came later. */
    copy_file(older, kept, 0);
    engine = open_at(path);
    assert_false(has_filter(engine));
    index_fill_end(index_of(engine), false);
    assert_int_equal(small_missed(engine, 0, count), 0);
    append_small(engine, count, 100);
    count += 100;
    engine_close(engine);

    /* A byte anywhere: head, bits, sum. */
    copy_file(kept, older, 0);
    for (int round = 0; round < 3; round++) {
        copy_file(older, kept, (long[]){50, 600001, -10}[round]);
        engine = open_at(path);
        assert_false(has_filter(engine));
        engine_close(engine);
    }

    /* What is no file is not waited for, and goes with the next clean close. */
    unlink(kept);
    assert_int_equal(mkfifo(kept, 0600), 0);
    engine = open_at(path);
    assert_false(has_filter(engine));
    index_fill_end(index_of(engine), false);
    append_small(engine, count, 100);
    count += 100;
    engine_close(engine);

    /* Nothing written since: it stays as it is. A disk that refuses it: the next start fills one. */
    engine = open_at(path);
    assert_true(has_filter(engine));
    engine_close(engine);
    engine = open_at(path);
    assert_true(has_filter(engine));
    append_small(engine, count, 100);
    count += 100;
    assert_int_equal(fault_points_arm("index.write@1+=ENOSPC", &fault), 0);
    engine_close(engine);
    engine = open_at(path);
    assert_false(has_filter(engine));
    index_fill_end(index_of(engine), false);
    assert_int_equal(small_missed(engine, 0, count), 0);
    engine_close(engine);
    fault_points_disarm();
    case_remove(path);
}

/* A filter can be done without. */
static void without_a_thread_there_is_none(void **state)
{
    const char *path = case_directory();
    struct fault fault;
    struct engine *engine = open_at(path);
    append_streams(engine, 0);
    engine_close(engine);
    engine = open_at(path);
    assert_int_equal(fault_points_arm("thread.start=EAGAIN", &fault), 0);
    append_streams(engine, STREAMS);
    assert_int_equal(fault_point_passed(POINT_THREAD_START), 1);
    assert_false(index_fill_is_under_way(index_of(engine)));
    assert_int_equal(new_ones_read(engine), 100);
    assert_all_found(engine, 2 * STREAMS);
    append_streams(engine, 2 * STREAMS); /* the next flush has one */
    index_fill_end(index_of(engine), false);
    assert_true(new_ones_read(engine) < 10);
    assert_all_found(engine, 3 * STREAMS);
    engine_close(engine);
    fault_points_disarm();
    case_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_never_denied),
        cmocka_unit_test(a_full_one_is_worth_less),
        cmocka_unit_test(new_keys_do_not_read_the_disk),
        cmocka_unit_test(what_is_flushed_meanwhile_is_in_it),
        cmocka_unit_test(a_large_one_outlives_the_engine),
        cmocka_unit_test(without_a_thread_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

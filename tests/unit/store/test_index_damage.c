/* A damaged index must never answer wrongly: a stream's head that is too low would let the log take a version
 * twice, an id that is not found would let a command take effect twice. It says so, and the next start builds
 * it anew. The same for records of the log that an index is built from. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store/engine_lmdb.h"
#include "unit/store/disk_support.h"

enum { STREAMS = 300, COMMANDS = 600, PAGE = 4096, CRASHED = 2 };

static uint64_t versions[STREAMS];

static size_t stream_of(size_t command)
{
    return command * 7919 % STREAMS;
}

static struct stream_id stream_named(size_t number, char id[32])
{
    snprintf(id, 32, "stream-%zu", number);
    return case_stream("acme", id);
}

static void append_one(struct engine *engine, size_t command)
{
    struct arena arena = {0};
    char id[32], name[32];
    size_t number = stream_of(command);
    snprintf(name, sizeof name, "command-%zu", command);
    struct commit *commit = case_commit(&arena, stream_named(number, id), versions[number], 1, name);
    assert_int_equal(case_append(engine, commit).outcome, APPEND_APPENDED);
    versions[number]++;
    arena_release(&arena);
}

static void fill(const char *path)
{
    struct engine *engine = disk_open(path);
    memset(versions, 0, sizeof versions);
    for (size_t at = 0; at < COMMANDS; at++) {
        uint64_t events;
        append_one(engine, at);
        /* A long run and shorter ones behind it. */
        if (at == 540 || at == 590) assert_int_equal(engine_flush_index(engine, &events, NULL), 0);
    }
    engine_close(engine);
}

/* 0: every answer was right or a fault; 1: one was wrong. *faults: how many said so. */
static int ask_all(struct engine *engine, size_t *faults)
{
    struct buf bytes = {0};
    int wrong = 0;
    for (size_t number = 0; number < STREAMS; number++) {
        char id[32];
        uint64_t version, position;
        struct stream_id stream = stream_named(number, id);
        struct fault fault = {0};
        if (engine_stream_head(engine, &stream, &version, &position, &fault) < 0)
            *faults += fault.code == FAULT_CORRUPT;
        else if (version != versions[number])
            wrong = 1;
    }
    for (size_t command = 0; command < COMMANDS; command += 7) {
        char id[32], name[32];
        struct record record;
        struct fault fault = {0};
        struct stream_id stream = stream_named(stream_of(command), id);
        snprintf(name, sizeof name, "command-%zu", command);
        int found = engine_find_command(engine, &stream, slice_of(name), &bytes, &record, &fault);
        if (found < 0)
            *faults += fault.code == FAULT_CORRUPT;
        else if (found == 0)
            wrong = 1;
    }
    buf_release(&bytes);
    return wrong;
}

/* Where on the leaf pages the keys and values of nodes are; what lies before them is LMDB's own. */
static bool is_of_a_node(const char *bytes, size_t at)
{
    const uint8_t *page = (const uint8_t *)bytes + at / PAGE * PAGE;
    size_t flags = page[10] | (size_t)page[11] << 8, lower = page[12] | (size_t)page[13] << 8;
    if (at < 2 * PAGE || flags != 2 || lower > PAGE) return false;
    for (size_t node = 16; node + 2 <= lower; node += 2) {
        size_t offset = page[node] | (size_t)page[node + 1] << 8;
        if (offset + 8 > PAGE) return false;
        size_t key = page[offset + 6] | (size_t)page[offset + 7] << 8;
        size_t value = page[offset] | (size_t)page[offset + 1] << 8;
        if (at % PAGE >= offset + 8 && at % PAGE < offset + 8 + key + value) return true;
    }
    return false;
}

/* By a process of its own, since LMDB may stop at a damaged page. 1: a wrong answer, CRASHED, or 0. */
static int ask_in_child(const char *path)
{
    pid_t child = fork();
    if (child == 0) {
        struct engine *engine;
        struct engine_options options = {.path = path, .read_only = true};
        size_t faults = 0;
        signal(SIGBUS, SIG_DFL); /* cmocka's own would go on with its tests in here */
        signal(SIGSEGV, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        alarm(20);
        if (engine_open_lmdb(&options, &engine, NULL) < 0) _exit(0);
        _exit(ask_all(engine, &faults));
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : CRASHED;
}

static void test_no_wrong_answer(void **state)
{
    const char *given = getenv("FLIPS");
    size_t size, count = given ? strtoul(given, NULL, 10) : 400, wrong = 0;
    uint64_t seed = 11;
    const char *path = case_directory();
    fill(path);
    char *bytes = disk_read(path, "index/data.mdb", &size);
    for (size_t round = 0; round < count;) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        size_t at = (size_t)(seed >> 20) % size;
        if (!is_of_a_node(bytes, at)) continue;
        round++;
        uint8_t bits = (uint8_t)(1 << (seed >> 60) % 8);
        disk_flip(path, "index/data.mdb", (off_t)at, bits);
        if (ask_in_child(path) == 1) {
            printf("a wrong answer: byte %zu (%zu of its page) xor %d\n", at, at % PAGE, bits);
            wrong++;
        }
        disk_flip(path, "index/data.mdb", (off_t)at, bits);
    }
    free(bytes);
    assert_int_equal(wrong, 0);
    case_remove(path);
}

/* A node that says it is larger than it is must not lead behind the end of the file. */
static void test_sizes_that_lie(void **state)
{
    size_t size, met = 0, crashed = 0;
    const char *path = case_directory();
    fill(path);
    char *bytes = disk_read(path, "index/data.mdb", &size);
    for (size_t start = 2 * PAGE; start + PAGE <= size; start += PAGE) {
        const uint8_t *page = (const uint8_t *)bytes + start;
        size_t flags = page[10] | (size_t)page[11] << 8, lower = page[12] | (size_t)page[13] << 8;
        if (flags != 2 || lower > PAGE) continue;
        for (size_t node = 16; node + 2 <= lower; node += 2) {
            size_t at = start + (page[node] | (size_t)page[node + 1] << 8) + 2; /* the size's high half */
            disk_flip(path, "index/data.mdb", (off_t)at, 1 << 4);
            int status = ask_in_child(path);
            crashed += status == CRASHED;
            assert_int_not_equal(status, 1);
            disk_flip(path, "index/data.mdb", (off_t)at, 1 << 4);
            met++;
        }
    }
    free(bytes);
    assert_true(met > 4);
    assert_int_equal(crashed, 0);
    case_remove(path);
}

/* Flips a byte wherever an entry has this text; LMDB's own structure stays whole. */
static void damage(const char *path, const char *text, size_t text_size)
{
    size_t size;
    char *bytes = disk_read(path, "index/data.mdb", &size);
    for (size_t at = 2 * PAGE; at < size; at++)
        if (size - at > text_size && memcmp(bytes + at, text, text_size) == 0 && is_of_a_node(bytes, at))
            disk_flip(path, "index/data.mdb", (off_t)(at + text_size - 1), 1);
    free(bytes);
}

static void assert_whole(const char *path)
{
    struct engine *engine = disk_open(path);
    size_t faults = 0;
    assert_int_equal(ask_all(engine, &faults), 0);
    assert_int_equal(faults, 0);
    engine_close(engine);
    disk_assert_verified(path);
}

/* Met by a look-up; a flush behind it does not make it forgotten. */
static void test_found_by_look_up(void **state)
{
    const char *path = case_directory();
    uint64_t events;
    size_t faults = 0;
    fill(path);
    damage(path, "stream-", 7);
    struct engine *engine = disk_open(path);
    assert_int_equal(ask_all(engine, &faults), 0);
    assert_true(faults > 0);
    struct arena arena = {0};
    case_append(engine, case_commit(&arena, case_stream("other", "new"), 0, 1, NULL));
    arena_release(&arena);
    engine_flush_index(engine, &events, NULL);
    engine_close(engine);
    assert_whole(path);
    case_remove(path);
}

/* Met by a merge: nobody asked before. */
static void test_found_by_flush(void **state)
{
    const char *path = case_directory();
    uint64_t events;
    struct fault fault = {0};
    fill(path);
    /* The first chunk of the long run; the others stay whole. */
    damage(path, "stream-0", 9);
    struct engine *engine = disk_open(path);
    struct arena arena = {0};
    for (int at = 0; at < COMMANDS; at++) {
        char id[32];
        snprintf(id, sizeof id, "new-%d", at);
        case_append(engine, case_commit(&arena, case_stream("other", id), 0, 1, NULL));
    }
    arena_release(&arena);
    assert_int_equal(engine_flush_index(engine, &events, &fault), -1);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    engine_close(engine);
    assert_whole(path);
    case_remove(path);
}

/* The index is fed from the log: a record that is not what was written must not enter it. */
static void test_fed_with_damage(void **state)
{
    const char *path = case_directory();
    char command[128];
    size_t size, found = 0;
    struct engine *engine;
    struct fault fault = {0};
    struct engine_options options = {.path = path};
    fill(path);
    char *bytes = disk_read(path, "log/data.mdb", &size);
    for (size_t at = 0; at + 9 < size && !found; at++)
        if (memcmp(bytes + at, "stream-14", 9) == 0 && is_of_a_node(bytes, at)) found = at;
    free(bytes);
    assert_true(found > 0);
    disk_flip(path, "log/data.mdb", (off_t)found + 8, 1); /* stream-15: a version that it has */
    snprintf(command, sizeof command, "rm -r %s/index", path);
    assert_int_equal(system(command), 0);
    assert_int_equal(engine_open_lmdb(&options, &engine, &fault), -1);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    assert_non_null(strstr(fault.text, "position "));
    case_remove(path);
}

/* Read by its stream, to decide on it. */
static void test_decided_on_damage(void **state)
{
    const char *path = case_directory();
    size_t size;
    int damaged = 0;
    fill(path);
    /* The last one is looked at when the log is opened: it stays whole. */
    struct arena arena = {0};
    struct engine *engine = disk_open(path);
    struct commit *commit = case_commit(&arena, case_stream("acme", "last"), 0, 1, NULL);
    struct commit_event event = {slice_of("LineAdded"), 1, 5, case_data(&arena, 1, 3)};
    commit->events = &event;
    case_append(engine, commit);
    engine_close(engine);
    arena_release(&arena);
    char *bytes = disk_read(path, "log/data.mdb", &size);
    for (size_t at = 0; at + 20 < size; at++)
        if (memcmp(bytes + at, "xxxxxxxxxxxxxxxxxxxx", 20) == 0)
            disk_flip(path, "log/data.mdb", (off_t)at, 1);
    free(bytes);
    engine = disk_open(path);
    for (size_t number = 0; number < STREAMS; number++) {
        struct engine_cursor *cursor;
        struct record record;
        struct fault fault = {0};
        char id[32];
        struct stream_id stream = stream_named(number, id);
        assert_int_equal(engine_read_stream(engine, &stream, 1, &cursor, &fault), 0);
        damaged += engine_cursor_next(cursor, &record, &fault) < 0 && fault.code == FAULT_CORRUPT;
        engine_cursor_close(cursor);
    }
    assert_true(damaged > STREAMS / 2);
    engine_close(engine);
    case_remove(path);
}

/* Beside a process that writes, the index may already cover more than the head that was read a moment ago. */
static void test_index_ahead_of_the_head_read(void **state)
{
    const char *path = case_directory();
    uint64_t events;
    struct engine *reader;
    struct engine_options options = {.path = path, .read_only = true};
    struct index_checkpoint checkpoint;
    fill(path);
    assert_int_equal(engine_open_lmdb(&options, &reader, NULL), 0);
    int status = 0;
    pid_t writer = fork();
    if (writer == 0) {
        struct engine *engine = disk_open(path);
        append_one(engine, COMMANDS);
        _exit(engine_flush_index(engine, &events, NULL) == 0 ? 0 : 1);
    }
    waitpid(writer, &status, 0);
    assert_int_equal(status, 0);
    struct engine_lmdb *inside = (struct engine_lmdb *)reader;
    assert_int_equal(index_checkpoint_now(inside->index, &checkpoint, NULL), 0);
    assert_int_equal(checkpoint.position, inside->head.position + 1);
    assert_true(engine_lmdb_agrees(inside, &checkpoint));
    checkpoint.chain.bytes[0] ^= 1;
    assert_false(engine_lmdb_agrees(inside, &checkpoint));
    engine_close(reader);
    case_remove(path);
}

/* A file that is shorter than what is in use counts as cut off: no flush may leave one. */
static void test_file_is_never_short(void **state)
{
    const char *path = case_directory();
    char file[128];
    uint64_t events;
    fill(path);
    struct engine *engine = disk_open(path);
    struct engine_lmdb *inside = (struct engine_lmdb *)engine;
    snprintf(file, sizeof file, "%s/index/data.mdb", path);
    for (size_t at = COMMANDS; at < COMMANDS + 1500; at++) {
        struct stat status;
        append_one(engine, at);
        if (at % (1 + at / 97 % 40)) continue;
        assert_int_equal(engine_flush_index(engine, &events, NULL), 0);
        assert_int_equal(stat(file, &status), 0);
        assert_true((uint64_t)status.st_size >= index_size(inside->index));
    }
    engine_close(engine);
    case_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_wrong_answer),
        cmocka_unit_test(test_sizes_that_lie),
        cmocka_unit_test(test_found_by_look_up),
        cmocka_unit_test(test_found_by_flush),
        cmocka_unit_test(test_fed_with_damage),
        cmocka_unit_test(test_decided_on_damage),
        cmocka_unit_test(test_index_ahead_of_the_head_read),
        cmocka_unit_test(test_file_is_never_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

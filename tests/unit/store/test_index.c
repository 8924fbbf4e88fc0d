/* The index is derived: dropped, torn, of another log, ahead of the log, rebuilt, it answers the same; and
 * its runs merge without losing anything, also when every command id has the same hash. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "store/index_mark.h"
#include "store/index_run.h"
#include "unit/store/disk_support.h"

static struct case_dump dump_of(struct engine *engine)
{
    struct case_dump dump;
    struct fault fault = {0};
    if (case_dump(engine, &dump, &fault) < 0) fail_msg("dump: %s", fault.text);
    return dump;
}

/* count commits from number first on, over many streams; every 5th command is refused. */
static void append_some(struct engine *engine, size_t first, size_t count, size_t flush_each)
{
    static uint64_t versions[200];
    if (first == 0) memset(versions, 0, sizeof versions);
    for (size_t at = first; at < first + count; at++) {
        struct arena arena = {0};
        char id[32], command[32];
        size_t number = at * 7919 % 200;
        uint64_t events;
        snprintf(id, sizeof id, "stream-%zu", number);
        snprintf(command, sizeof command, "command-%zu", at);
        struct stream_id stream = case_stream(number % 2 ? "acme" : "other", id);
        struct commit *commit = at % 5 == 4
                                    ? case_rejection(&arena, stream, versions[number], command)
                                    : case_commit(&arena, stream, versions[number], 1 + at % 2, command);
        if (at % 11 == 0) commit->batch_id = slice_of("batch");
        assert_int_equal(case_append(engine, commit).outcome, APPEND_APPENDED);
        if (at % 5 != 4) versions[number] += 1 + at % 2;
        if (flush_each && at % flush_each == 0)
            assert_int_equal(engine_flush_index(engine, &events, NULL), 0);
        arena_release(&arena);
    }
}

static void write_file(const char *path, const char *name, const char *text)
{
    char file[256];
    snprintf(file, sizeof file, "%s/%s", path, name);
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

static void run(const char *format, const char *path)
{
    char command[512];
    snprintf(command, sizeof command, format, path, path, path);
    assert_int_equal(system(command), 0);
}

static void test_rebuilt_is_equal(void **state)
{
    static const char *const harm[] = {
        "rm -rf %s/index",                                                               /* dropped */
        "rm %s/index/mark",                                                              /* never finished */
        "echo nonsense > %s/index/mark",                                                 /* mark damaged */
        "dd if=/dev/zero of=%s/index/data.mdb bs=4096 count=2 conv=notrunc 2>/dev/null", /* no LMDB file */
        "truncate -s 20000 %s/index/data.mdb",                                           /* cut off */
        "rm %s/index/data.mdb",                                                          /* half deleted */
    };
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    append_some(engine, 0, 1000, 70);
    struct case_dump expected = dump_of(engine);
    engine_close(engine);
    for (size_t at = 0; at < sizeof harm / sizeof *harm; at++) {
        run(harm[at], path);
        engine = disk_open(path);
        struct case_dump dump = dump_of(engine);
        assert_memory_equal(&dump, &expected, sizeof dump);
        engine_close(engine);
        disk_assert_verified(path);
    }
    case_remove(path);
}

/* Marks of another boot and of another log. */
static void test_torn(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    char file[256], log_id[40], text[160];
    append_some(engine, 0, 300, 70);
    struct case_dump expected = dump_of(engine);
    strcpy(log_id, engine_head(engine).log_id);
    engine_close(engine);
    snprintf(file, sizeof file, "%s/index/mark", path);
    assert_int_equal(index_mark_read(file, log_id), MARK_CLEAN);
    assert_int_equal(index_mark_read(file, "another"), MARK_OTHER_LOG);
    assert_int_equal(index_mark_write(file, log_id, false, NULL), 0);
    assert_int_equal(index_mark_read(file, log_id), MARK_DIRTY);
    int size = snprintf(text, sizeof text, "%s 00000000-0000-0000-0000-000000000000 dirty", log_id);
    snprintf(text + size, sizeof text - (size_t)size, " %08x\n", hash_crc32(slice_make(text, (size_t)size)));
    write_file(path, "index/mark", text);
    assert_int_equal(index_mark_read(file, log_id), MARK_TORN);
    /* Torn files are not even looked at: these would crash who did. */
    run("dd if=/dev/urandom of=%s/index/data.mdb bs=4096 seek=2 count=10 conv=notrunc 2>/dev/null", path);
    engine = disk_open(path);
    struct case_dump dump = dump_of(engine);
    assert_memory_equal(&dump, &expected, sizeof dump);
    engine_close(engine);
    assert_int_equal(index_mark_read(file, log_id), MARK_CLEAN);
    disk_assert_verified(path);
    case_remove(path);
}

/* An index that knows more than the log, or another history of the same log (a restored backup). */
static void test_ahead_of_the_log(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    append_some(engine, 0, 100, 0);
    engine_close(engine);
    run("cp -r %s/log %s/backup", path);
    engine = disk_open(path);
    append_some(engine, 100, 50, 0);
    engine_close(engine);
    run("cp -r %s/index %s/kept", path);
    run("rm -r %s/log && mv %s/backup %s/log", path);
    engine = disk_open(path);
    uint64_t position = engine_head(engine).position;
    assert_int_equal(dump_of(engine).events, position);
    engine_close(engine);
    disk_assert_verified(path);
    /* The log grows past it again, with other commits. */
    engine = disk_open(path);
    struct arena arena = {0};
    for (uint64_t at = 0; at < 80; at++)
        case_append(engine, case_commit(&arena, case_stream("acme", "elsewhere"), at, 1, "x"));
    arena_release(&arena);
    struct case_dump expected = dump_of(engine);
    engine_close(engine);
    run("rm -r %s/index && mv %s/kept %s/index", path);
    struct verify_report report;
    assert_int_equal(verify_directory(path, NULL, NULL, &report, NULL), 0);
    assert_false(report.ok);
    assert_non_null(strstr(report.damage, "covers what the log does not have"));
    engine = disk_open(path);
    struct case_dump dump = dump_of(engine);
    assert_memory_equal(&dump, &expected, sizeof dump);
    engine_close(engine);
    disk_assert_verified(path);
    case_remove(path);
}

static void test_collisions(void **state)
{
    static const uint64_t masks[] = {0, 1, 7};
    uint64_t before = index_id_hash_mask;
    for (size_t at = 0; at < 3; at++) {
        const char *path = case_directory();
        index_id_hash_mask = masks[at];
        struct engine *engine = disk_open(path);
        struct buf bytes = {0};
        struct record record;
        append_some(engine, 0, 1200, 90);
        for (int round = 0; round < 2; round++) {
            for (size_t number = 0; number < 1200; number += 17) {
                char id[32], command[32];
                size_t stream = number * 7919 % 200;
                snprintf(id, sizeof id, "stream-%zu", stream);
                snprintf(command, sizeof command, "command-%zu", number);
                struct stream_id of = case_stream(stream % 2 ? "acme" : "other", id);
                assert_int_equal(case_find(engine, of, command, &record, &bytes), 1);
                assert_int_equal(record.kind == RECORD_REJECTED, number % 5 == 4);
                assert_int_equal(case_find(engine, case_stream(stream % 2 ? "other" : "acme", id), command,
                                           &record, &bytes),
                                 0);
            }
            engine_close(engine);
            engine = disk_open(path);
        }
        engine_close(engine);
        disk_assert_verified(path);
        buf_release(&bytes);
        case_remove(path);
    }
    index_id_hash_mask = before;
}

/* The runs stay few and the file small, however often it is flushed. */
static void test_many_flushes(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    append_some(engine, 0, 3000, 3);
    struct case_dump expected = dump_of(engine);
    engine_close(engine);
    engine = disk_open(path);
    struct case_dump dump = dump_of(engine);
    assert_memory_equal(&dump, &expected, sizeof dump);
    assert_int_equal(engine_index_behind(engine), 0);
    engine_close(engine);
    disk_assert_verified(path);
    struct stat status;
    char file[256];
    snprintf(file, sizeof file, "%s/index/data.mdb", path);
    assert_int_equal(stat(file, &status), 0);
    assert_true(status.st_size < 1 << 20);
    case_remove(path);
}

static void test_behind(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    uint64_t events = 0;
    assert_int_equal(engine_index_behind(engine), 0);
    append_some(engine, 0, 10, 0);
    uint64_t behind = engine_head(engine).position + engine_head(engine).outcomes;
    assert_int_equal(engine_index_behind(engine), behind);
    assert_int_equal(engine_flush_index(engine, &events, NULL), 0);
    assert_int_equal(events, behind);
    assert_int_equal(engine_index_behind(engine), 0);
    assert_int_equal(engine_flush_index(engine, &events, NULL), 0);
    assert_int_equal(events, 0);
    engine_close(engine);
    case_remove(path);
}

/* --- numbers as keys --- */

static void test_numbers_sort(void **state)
{
    static const uint64_t numbers[] = {
        0, 1, 127, 128, 255, 256, 65535, 65536, 1ULL << 40, UINT64_MAX - 1, UINT64_MAX};
    char before[9], now[9];
    size_t before_size = 0;
    for (size_t at = 0; at < sizeof numbers / sizeof *numbers; at++) {
        uint64_t back;
        size_t size = index_run_put_number(now, numbers[at]);
        assert_true(index_run_read_number(slice_make(now, size), &back));
        assert_int_equal(back, numbers[at]);
        if (at) assert_true(slice_compare(slice_make(before, before_size), slice_make(now, size)) < 0);
        memcpy(before, now, size);
        before_size = size;
    }
    uint64_t value;
    assert_false(index_run_read_number(SLICE_NONE, &value));
    assert_false(index_run_read_number(slice_make("\x02\x01", 2), &value));
    assert_false(index_run_read_number(slice_make("\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01", 10), &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rebuilt_is_equal), cmocka_unit_test(test_torn),
        cmocka_unit_test(test_ahead_of_the_log), cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_many_flushes),     cmocka_unit_test(test_behind),
        cmocka_unit_test(test_numbers_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The journal as the engine uses it: what a kill leaves, what a disk refuses, what is damaged or does not
 * belong. */
#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/faultpoint.h"
#include "base/limit.h"
#include "store/journal.h"
#include "unit/store/disk_support.h"

/* The fault of an open that must fail. */
static struct fault refused(const char *path)
{
    struct engine *engine;
    struct fault fault;
    struct engine_options options = {.path = path};
    assert_int_equal(disk_open_with(&options, &engine, &fault), -1);
    return fault;
}

static int append(struct engine *engine, size_t padding, struct fault *fault)
{
    struct arena arena = {0};
    uint64_t version = case_version(engine, case_stream("acme", "1"), NULL);
    struct commit *commit = case_commit(&arena, case_stream("acme", "1"), version, 1, NULL);
    struct commit_event event = {slice_of("LineAdded"), 1, 5, case_data(&arena, 1, padding)};
    commit->events = &event;
    struct append append = {.commit = commit};
    int result = engine_append(engine, &append, 1, fault);
    if (result == 0) assert_int_equal(append.outcome, APPEND_APPENDED);
    arena_release(&arena);
    return result;
}

static void append_many(struct engine *engine, int count, size_t padding)
{
    struct fault fault = {0};
    for (int at = 0; at < count; at++)
        if (append(engine, padding, &fault) < 0) fail_msg("append: %s", fault.text);
}

/* A process appends, puts a value, and is gone without a close. */
static void append_and_die(const char *path, int count, size_t padding)
{
    pid_t child = fork();
    if (child == 0) {
        struct engine *engine = disk_open(path);
        append_many(engine, count, padding);
        engine_meta_put(engine, slice_of("deploy"), slice_of("one"), NULL);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void expect_events(const char *path, bool read_only, uint64_t count)
{
    struct engine *engine;
    struct case_dump dump;
    struct fault fault;
    struct engine_options options = {.path = path, .read_only = read_only};
    if (disk_open_with(&options, &engine, &fault) < 0) fail_msg("open: %s", fault.text);
    if (case_dump(engine, &dump, &fault) < 0) fail_msg("%s", fault.text);
    assert_int_equal(dump.events, count);
    engine_close(engine);
}

static void run(const char *format, const char *path, const char *other)
{
    char command[400];
    snprintf(command, sizeof command, format, path, other);
    assert_int_equal(system(command), 0);
}

/* --- what a kill leaves --- */

static void test_killed(void **state)
{
    const char *path = case_directory();
    struct buf value = {0};
    append_and_die(path, 10, 50);
    assert_true(disk_verify(path).ok);
    assert_int_equal(disk_verify(path).events, 10);
    expect_events(path, true, 10);
    append_and_die(path, 5, 50); /* goes on in the same half */
    expect_events(path, true, 15);
    /* Both halves hold what LMDB does not have, or one of them is in it by now. */
    append_and_die(path, 25, 60000);
    assert_true(disk_verify(path).ok);
    expect_events(path, true, 40);
    struct engine *engine = disk_open(path);
    assert_int_equal(engine_meta_get(engine, slice_of("deploy"), &value, NULL), 1);
    assert_true(slice_is(buf_slice(&value), "one"));
    engine_close(engine);
    expect_events(path, false, 40);
    assert_true(disk_verify(path).ok);
    buf_release(&value);
    case_remove(path);
}

/* A log of the format before the journal: no files of it, no mark in LMDB. */
static void test_log_without_journal(void **state)
{
    const char *path = case_directory();
    char log[128];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi meta;
    MDB_val key = {7, "journal"};
    struct engine *engine = disk_open(path);
    append_many(engine, 5, 50);
    engine_close(engine);
    run("rm %s/log/journal-*", path, "");
    snprintf(log, sizeof log, "%s/log", path);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
    assert_int_equal(mdb_env_open(env, log, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "meta", 0, &meta), 0);
    assert_int_equal(mdb_del(txn, meta, &key, NULL), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    assert_true(disk_verify(path).ok);
    expect_events(path, true, 5);
    append_and_die(path, 5, 50);
    expect_events(path, false, 10);
    assert_true(disk_verify(path).ok);
    case_remove(path);
}

/* Killed before its first transaction, or before it had an id: who reads it finds nothing, and no damage. */
static void test_read_while_made(void **state)
{
    static const char *const databases[] = {"commits", "outcomes", "names", "meta"};
    for (int stage = 0; stage < 3; stage++) { /* an empty file; nothing committed; no id yet */
        const char *path = case_directory();
        char log[128];
        MDB_env *env;
        MDB_txn *txn;
        MDB_dbi database;
        struct engine *engine;
        struct fault fault;
        struct engine_options options = {.path = path, .read_only = true};
        snprintf(log, sizeof log, "%s/log", path);
        assert_int_equal(mkdir(log, 0700), 0);
        run("touch %s/log/data.mdb", path, "");
        assert_int_equal(mdb_env_create(&env), 0);
        assert_int_equal(mdb_env_set_maxdbs(env, 4), 0);
        if (stage > 0) assert_int_equal(mdb_env_open(env, log, 0, 0600), 0);
        if (stage > 1) {
            assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
            for (int at = 0; at < 4; at++)
                assert_int_equal(
                    mdb_dbi_open(txn, databases[at], MDB_CREATE | (at < 3 ? MDB_INTEGERKEY : 0), &database),
                    0);
            assert_int_equal(mdb_txn_commit(txn), 0);
        }
        mdb_env_close(env);
        if (stage < 2) {
            assert_int_equal(disk_open_with(&options, &engine, &fault), -1);
            assert_int_equal(fault.code, FAULT_NOT_FOUND);
        } else {
            expect_events(path, true, 0);
        }
        append_and_die(path, 3, 50);
        expect_events(path, true, 3);
        case_remove(path);
    }
}

/* Killed before there was anything to lose: no damage, and the next start begins. */
static void test_killed_while_made(void **state)
{
    for (int stage = 0; stage < 2; stage++) {
        const char *path = case_directory();
        char log[128];
        MDB_env *env;
        snprintf(log, sizeof log, "%s/log", path);
        assert_int_equal(mkdir(log, 0700), 0);
        if (stage == 0) {
            run("touch %s/log/data.mdb", path, "");
        } else {
            assert_int_equal(mdb_env_create(&env), 0);
            assert_int_equal(mdb_env_open(env, log, 0, 0600), 0);
            mdb_env_close(env);
        }
        struct verify_report report = disk_verify(path);
        if (!report.ok) fail_msg("%s", report.damage);
        append_and_die(path, 3, 50);
        /* With a head it is damage. */
        run("cp %s/log/data.mdb %s/kept", path, path);
        run("truncate -s 0 %s/log/data.mdb", path, "");
        assert_false(disk_verify(path).ok);
        run("mv %s/kept %s/log/data.mdb", path, path);
        expect_events(path, false, 3);
        case_remove(path);
    }
}

/* --- damage --- */

/* Any byte of what the journal alone holds: verify finds it, or nothing that is read is different. */
static void test_flips(void **state)
{
    const char *given = getenv("SEED");
    uint64_t random = given ? strtoull(given, NULL, 10) : (uint64_t)clock_monotonic_ns();
    int found = 0, count = getenv("LORE_TEST_SMALL") ? 30 : 60;
    printf("SEED=%llu\n", (unsigned long long)random);
    const char *path = case_directory();
    append_and_die(path, 12, 50);
    for (int round = 0; round < count; round++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        off_t at = (off_t)((random >> 33) % (12 * 512)); /* an entry for each append */
        uint8_t bits = (uint8_t)(1 << random % 8);
        disk_flip(path, "log/journal-0", at, bits);
        struct verify_report report = disk_verify(path);
        found += !report.ok;
        if (!report.ok)
            assert_non_null(strstr(report.damage, "log"));
        else
            expect_events(path, true, 12);
        disk_flip(path, "log/journal-0", at, bits);
    }
    /* Two fifths of each sector are used: far fewer would mean that verify does not look. */
    assert_in_range(found, count / 10, count);
    disk_flip(path, "log/journal-0", 3 * 512 + 100, 1);
    struct fault fault = refused(path);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    assert_non_null(strstr(fault.text, "log/journal-0, byte 1536"));
    disk_flip(path, "log/journal-0", 3 * 512 + 100, 1);
    expect_events(path, false, 12);
    case_remove(path);
}

/* The last entry: whether it was answered, only log/head can tell. */
static void test_lost_last(void **state)
{
    const char *path = case_directory();
    append_and_die(path, 12, 50);
    disk_flip(path, "log/journal-0", 11 * 512 + 100, 1);
    disk_flip(path, "log/journal-0", 12 * 512 + 40, 1); /* the value behind it */
    struct fault fault = refused(path);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    assert_non_null(strstr(fault.text, "lost its end"));
    assert_false(disk_verify(path).ok);
    case_remove(path);
}

static void test_does_not_belong(void **state)
{
    char path[64], other[80];
    snprintf(path, sizeof path, "%s", case_directory());
    snprintf(other, sizeof other, "%s-other", path);
    assert_int_equal(mkdir(other, 0700), 0);
    append_and_die(path, 5, 50);
    append_and_die(other, 5, 50);
    run("mv %s/log/journal-0 %s/kept", path, path);
    run("cp %s/log/journal-0 %s/log", other, path);
    struct fault fault = refused(path);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    assert_non_null(strstr(fault.text, "another log"));
    assert_false(disk_verify(path).ok);
    run("mv %s/kept %s/log/journal-0", path, path);
    engine_close(disk_open(path));
    /* LMDB from an older backup, under a journal that went on. */
    run("cp %s/log/data.mdb %s/kept", path, path);
    append_and_die(path, 120, 60000);
    run("cp %s/kept %s/log/data.mdb", path, path);
    fault = refused(path);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    assert_non_null(strstr(fault.text, "does not follow the log"));
    assert_false(disk_verify(path).ok);
    case_remove(other);
    case_remove(path);
}

/* --- what the disk refuses --- */

static void arm(const char *text)
{
    struct fault fault;
    fault_points_disarm();
    assert_int_equal(fault_points_arm(text, &fault), 0);
}

/* A batch that was refused changed nothing, then and after a kill, however much of it was written. */
static void test_write_refused(void **state)
{
    static const struct {
        const char *points;
        bool refused;
    } cases[] = {{"log.write=ENOSPC", true},
                 {"log.write=EIO", true},
                 {"log.write@1=short,log.write@2=ENOSPC", true},
                 {"log.write@1=short", false}};
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        const char *path = case_directory();
        append_and_die(path, 3, 50);
        pid_t child = fork();
        if (child == 0) {
            struct engine *engine = disk_open(path);
            struct fault fault = {0};
            arm(cases[at].points);
            bool was_refused = append(engine, 2000, &fault) < 0;
            fault_points_disarm();
            if (was_refused != cases[at].refused || (was_refused && fault.code != FAULT_DISK)) _exit(1);
            if (engine_head(engine).position != 4u - was_refused) _exit(2);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        expect_events(path, false, 4u - cases[at].refused);
        append_and_die(path, 1, 50);
        expect_events(path, false, 5u - cases[at].refused);
        assert_true(disk_verify(path).ok);
        case_remove(path);
    }
}

static void test_stops(void **state)
{
    static const char *const points[] = {"log.fsync", "log.commit=EIO"};
    for (size_t at = 0; at < 2; at++) {
        const char *path = case_directory();
        pid_t child = fork();
        if (child == 0) {
            struct engine *engine = disk_open(path);
            arm(points[at]);
            append_many(engine, 60, 60000);
            _exit(1);
        }
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 3);
        struct engine *engine = disk_open(path);
        uint64_t events = engine_head(engine).position;
        engine_close(engine);
        assert_in_range(events, 1, 60);
        assert_true(disk_verify(path).ok);
        expect_events(path, false, events);
        case_remove(path);
    }
}

/* LMDB has no room: appends go on while the journal has, then are refused; when there is room they go on. */
static void test_no_room_behind(void **state)
{
    static const char *const points[] = {"log.commit@1+=ENOSPC", "log.grow@1+=ENOSPC"};
    for (size_t at = 0; at < 2; at++) {
        const char *path = case_directory();
        struct fault fault = {0};
        struct engine *engine = disk_open(path);
        uint64_t events = 0;
        arm(points[at]);
        while (events < 1000 && append(engine, 60000, &fault) == 0) events++;
        assert_in_range(events, 30, 80); /* both halves of 1 MiB; LMDB has taken some room at its opening */
        assert_int_equal(fault.code, FAULT_DISK);
        assert_int_equal(append(engine, 10, &fault), -1);
        struct case_dump dump;
        assert_int_equal(case_dump(engine, &dump, &fault), 0);
        assert_int_equal(dump.events, events);
        fault_points_disarm();
        append_many(engine, 20, 60000);
        engine_close(engine);
        expect_events(path, false, events + 20);
        assert_true(disk_verify(path).ok);
        case_remove(path);
    }
}

/* An orderly end on a full disk leaves all in the journal; a start on a full disk goes on from it. */
static void test_close_without_room(void **state)
{
    const char *path = case_directory();
    struct engine *engine = disk_open(path);
    append_many(engine, 10, 50);
    arm("log.commit@1+=ENOSPC");
    engine_close(engine);
    expect_events(path, true, 10);
    engine = disk_open(path);
    append_many(engine, 10, 50);
    engine_close(engine);
    fault_points_disarm();
    expect_events(path, false, 20);
    assert_true(disk_verify(path).ok);
    case_remove(path);
}

static void test_read_fails(void **state)
{
    const char *path = case_directory();
    append_and_die(path, 10, 50);
    arm("log.read");
    assert_int_equal(refused(path).code, FAULT_DISK);
    arm("log.read@1=short,log.read@2=short,log.read@5=short");
    expect_events(path, false, 10);
    fault_points_disarm();
    case_remove(path);
}

/* --- the journal by itself --- */

static int count_entry(void *user, const struct journal_entry *entry, struct fault *fault)
{
    ++*(int *)user;
    return 0;
}

static void put_entry(struct journal *journal, size_t size)
{
    struct buf entry = {0};
    struct fault fault = {0};
    journal_begin(&entry);
    memset(buf_room(&entry, size), 'x', size);
    entry.size += size;
    if (journal_put(journal, JOURNAL_BATCH, &entry, &fault) < 0) fail_msg("%s", fault.text);
    buf_release(&entry);
}

/* A file that ends within the padding of its last entry: what is answered next is found all the same. */
static void test_cut_in_padding(void **state)
{
    const char *path = case_directory();
    const struct journal_mark mark = {77, 0};
    struct journal_end end = {0};
    struct journal *journal;
    struct fault fault = {0};
    char file[128];
    int count = 0;
    mkdir(path, 0755);
    assert_int_equal(journal_open(path, mark.key, &end, &journal, &fault), 0);
    put_entry(journal, LIMIT_JOURNAL_SIZE_MIN);
    journal_close(journal);
    snprintf(file, sizeof file, "%s/journal-0", path);
    assert_int_equal(truncate(file, LIMIT_JOURNAL_SIZE_MIN + 100), 0);
    assert_int_equal(journal_read(path, &mark, count_entry, &count, &end, &fault), 0);
    assert_int_equal(journal_open(path, mark.key, &end, &journal, &fault), 0);
    put_entry(journal, 1);
    journal_close(journal);
    count = 0;
    assert_int_equal(journal_read(path, &mark, count_entry, &count, &end, &fault), 0);
    assert_int_equal(count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_log_without_journal),
        cmocka_unit_test(test_read_while_made),
        cmocka_unit_test(test_killed_while_made),
        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_lost_last),
        cmocka_unit_test(test_does_not_belong),
        cmocka_unit_test(test_write_refused),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_no_room_behind),
        cmocka_unit_test(test_close_without_room),
        cmocka_unit_test(test_read_fails),
        cmocka_unit_test(test_cut_in_padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

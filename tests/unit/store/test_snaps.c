#include "test_docs_support.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <lmdb.h>

#include "base/faultpoint.h"
#include "store/snaps.h"

static struct stream_id stream_of(const char *tenant, const char *id)
{
    return (struct stream_id){slice_of(tenant), slice_of("billing/bill"), slice_of(id)};
}
static struct hash code_of(int number)
{
    return hash_of(slice_make(&number, sizeof number));
}

static struct snaps *snaps_start(const char *path, bool read_only)
{
    struct fault fault;
    struct snaps *snaps;
    assert_done(snaps_open(path, read_only, &snaps, &fault));
    return snaps;
}

static void put(struct snaps *snaps, const char *tenant, const char *id, int code, uint64_t version,
                const char *state)
{
    struct fault fault;
    struct snapshot snapshot = {stream_of(tenant, id), code_of(code), version, slice_of(state), 1};
    assert_done(snaps_put(snaps, &snapshot, 1, &fault));
}

static void expect(struct snaps *snaps, const char *tenant, const char *id, int code, uint64_t version,
                   const char *state)
{
    struct fault fault;
    struct stream_id stream = stream_of(tenant, id);
    struct hash hash = code_of(code);
    struct buf found = {0};
    uint64_t found_version = 0;
    int result = snaps_get(snaps, &stream, &hash, &found_version, &found, &fault);
    if (result < 0) fail_msg("%s", fault.text);
    assert_int_equal(result, state != NULL);
    if (state) {
        assert_int_equal(found_version, version);
        assert_true(slice_is(buf_slice(&found), state));
    }
    buf_release(&found);
}

static void keeps_the_newest_of_each_stream_and_code(void **state)
{
    struct snaps *snaps = snaps_start(test_path("newest"), false);
    put(snaps, "acme", "7", 1, 10, "ten");
    put(snaps, "acme", "7", 1, 9, "nine");
    expect(snaps, "acme", "7", 1, 10, "ten");
    put(snaps, "acme", "7", 1, 300, "three hundred");
    expect(snaps, "acme", "7", 1, 300, "three hundred");
    expect(snaps, "acme", "7", 2, 0, NULL);
    expect(snaps, "acme", "77", 1, 0, NULL);
    expect(snaps, "acm", "7", 1, 0, NULL);
    put(snaps, "acme", "7", 2, 5, "");
    expect(snaps, "acme", "7", 2, 5, "");
    snaps_close(snaps);
    snaps = snaps_start(test_path("newest"), true);
    expect(snaps, "acme", "7", 1, 300, "three hundred");
    expect(snaps, "acme", "7", 2, 5, "");
    snaps_close(snaps);
}

static void forgets_code_that_is_gone(void **state)
{
    struct snaps *snaps = snaps_start(test_path("codes"), false);
    put(snaps, "acme", "70", 1, 1, "neighbour");
    for (int code = 1; code <= 6; code++) put(snaps, "acme", "7", code, (uint64_t)code, "state");
    for (int code = 1; code <= 6; code++)
        expect(snaps, "acme", "7", code, (uint64_t)code, code > 6 - SNAPS_CODES_MAX ? "state" : NULL);
    expect(snaps, "acme", "70", 1, 1, "neighbour");
    /* What was just written stays, even with the lowest version. */
    put(snaps, "acme", "7", 9, 1, "new");
    expect(snaps, "acme", "7", 9, 1, "new");
    snaps_close(snaps);
}

/* version 0: none. */
static void expect_before(struct snaps *snaps, const char *id, int code, uint64_t version_max,
                          uint64_t version, const char *state)
{
    struct fault fault;
    struct stream_id stream = stream_of("acme", id);
    struct hash hash = code_of(code);
    struct buf found = {0};
    uint64_t found_version = 0;
    int result = snaps_get_before(snaps, &stream, &hash, version_max, &found_version, &found, &fault);
    if (result < 0) fail_msg("%s", fault.text);
    assert_int_equal(result, version != 0);
    if (version) {
        assert_int_equal(found_version, version);
        assert_true(slice_is(buf_slice(&found), state));
    }
    buf_release(&found);
}

static void milestones_of_a_long_stream_stay(void **state)
{
    enum { M = SNAPS_MILESTONE };
    struct snaps *snaps = snaps_start(test_path("milestones"), false);
    struct fault fault;
    uint64_t count;
    put(snaps, "acme", "6", 1, M - 1, "neighbour");
    put(snaps, "acme", "6", 1, M, "neighbour on");
    put(snaps, "acme", "7", 1, 64, "first");
    put(snaps, "acme", "7", 1, M - 2, "before one");
    expect_before(snaps, "7", 1, M, 0, NULL);
    put(snaps, "acme", "7", 1, M + 1, "behind one");
    put(snaps, "acme", "7", 1, M + 9, "further");
    put(snaps, "acme", "7", 1, 5 * M, "far");
    put(snaps, "acme", "7", 1, 5 * M + 1, "farther");
    expect(snaps, "acme", "7", 1, 5 * M + 1, "farther");
    expect_before(snaps, "7", 1, M - 3, 0, NULL);
    expect_before(snaps, "7", 1, M - 2, M - 2, "before one");
    expect_before(snaps, "7", 1, M + 8, M - 2, "before one");
    expect_before(snaps, "7", 1, M + 9, M + 9, "further");
    expect_before(snaps, "7", 1, 5 * M, M + 9, "further");
    expect_before(snaps, "7", 1, UINT64_MAX - 1, M + 9, "further");
    expect_before(snaps, "7", 2, M + 9, 0, NULL);
    expect_before(snaps, "77", 1, M + 9, 0, NULL);
    expect_before(snaps, "6", 1, M, M - 1, "neighbour");
    assert_done(snaps_check(snaps, &count, &fault));
    assert_int_equal(count, 5);
    /* They go with the code. */
    for (int code = 2; code <= 2 + SNAPS_CODES_MAX; code++)
        put(snaps, "acme", "7", code, 6 * M + (uint64_t)code, "state");
    expect(snaps, "acme", "7", 1, 0, NULL);
    expect_before(snaps, "7", 1, 5 * M, 0, NULL);
    expect_before(snaps, "6", 1, M, M - 1, "neighbour");
    snaps_close(snaps);
    snaps = snaps_start(test_path("milestones"), true);
    expect_before(snaps, "6", 1, M, M - 1, "neighbour");
    snaps_close(snaps);
}

static void impossible_streams_have_none(void **state)
{
    char long_id[300] = {0};
    memset(long_id, 'i', 201);
    struct snaps *snaps = snaps_start(test_path("impossible"), false);
    put(snaps, "acme", long_id, 1, 1, "x");
    expect(snaps, "acme", long_id, 1, 0, NULL);
    snaps_close(snaps);
    snaps = snaps_start(test_path("not-there"), true);
    expect(snaps, "acme", "7", 1, 0, NULL);
    snaps_close(snaps);
    assert_int_equal(access(test_path("not-there"), F_OK), -1);
}

static void a_damaged_one_is_ignored_and_removed(void **state)
{
    struct fault fault;
    uint64_t count;
    struct snaps *snaps = snaps_start(test_path("damaged"), false);
    put(snaps, "acme", "7", 1, 10, "needle");
    put(snaps, "acme", "8", 1, 11, "whole");
    assert_done(snaps_check(snaps, &count, &fault));
    assert_int_equal(count, 2);
    snaps_close(snaps);
    struct buf bytes = test_file_read(test_path("damaged/data.mdb"));
    char *at = bytes.data;
    while ((at = memmem(at, (size_t)(bytes.data + bytes.size - at), "needle", 6))) *at++ ^= 1;
    test_file_write(test_path("damaged/data.mdb"), bytes.data, bytes.size);
    snaps = snaps_start(test_path("damaged"), true);
    expect(snaps, "acme", "7", 1, 0, NULL);
    snaps_close(snaps);
    snaps = snaps_start(test_path("damaged"), false);
    assert_int_equal(snaps_check(snaps, &count, &fault), -1);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    expect(snaps, "acme", "7", 1, 0, NULL);
    assert_done(snaps_check(snaps, &count, &fault));
    assert_int_equal(count, 1);
    expect(snaps, "acme", "8", 1, 11, "whole");
    snaps_close(snaps);
    buf_release(&bytes);
}

static void one_that_cannot_be_opened_is_made_anew(void **state)
{
    struct fault fault;
    char file[300];
    struct snaps *snaps = snaps_start(test_path("unreadable"), false);
    put(snaps, "acme", "7", 1, 10, "ten");
    snaps_close(snaps);
    snprintf(file, sizeof file, "%s/data.mdb", test_path("unreadable"));
    int fd = open(file, O_WRONLY);
    assert_true(fd >= 0);
    /* Both head pages without their magic number. */
    for (int page = 0; page < 2; page++) assert_int_equal(pwrite(fd, "xxxx", 4, page * 4096 + 16), 4);
    close(fd);
    assert_int_equal(snaps_open(test_path("unreadable"), true, &snaps, &fault), -1);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    snaps = snaps_start(test_path("unreadable"), false);
    expect(snaps, "acme", "7", 1, 0, NULL);
    put(snaps, "acme", "7", 1, 11, "eleven");
    expect(snaps, "acme", "7", 1, 11, "eleven");
    snaps_close(snaps);
}

static void expect_deploy(struct snaps *snaps, const char *id, int found, uint64_t expected)
{
    struct fault fault;
    struct stream_id stream = stream_of("acme", id);
    struct hash hash = code_of(1);
    uint64_t deploy = 77;
    assert_int_equal(snaps_deploy(snaps, &stream, &hash, &deploy, &fault), found);
    if (found) assert_int_equal(deploy, expected);
}

static void one_tells_under_which_deploy_it_was_made(void **state)
{
    struct fault fault;
    struct snaps *snaps = snaps_start(test_path("deploy"), false);
    struct snapshot snapshot = {stream_of("acme", "7"), code_of(1), 10, slice_of("ten"), 41};
    assert_done(snaps_put(snaps, &snapshot, 1, &fault));
    expect_deploy(snaps, "7", 1, 41);
    snapshot.version = 11;
    snapshot.deploy = 300;
    assert_done(snaps_put(snaps, &snapshot, 1, &fault));
    expect_deploy(snaps, "7", 1, 300);
    expect(snaps, "acme", "7", 1, 11, "ten");
    expect_deploy(snaps, "8", 0, 0);
    snaps_close(snaps);
}

/* As a lore wrote it that kept no deploys: version, state, CRC. */
static void put_old(const char *path, const char *id, uint64_t version, const char *state)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi database;
    struct buf key = {0}, value = {0};
    struct hash code = code_of(1);
    buf_put(&key, "acme", 5);
    buf_put(&key, "billing/bill", 13);
    buf_put(&key, id, strlen(id) + 1);
    buf_put(&key, code.bytes, HASH_SIZE);
    buf_put(&value, &version, sizeof version);
    buf_put_text(&value, state);
    uint32_t crc = hash_crc32(buf_slice(&value)) ^ (hash_crc32(buf_slice(&key)) * 0x9e3779b1u);
    buf_put(&value, &crc, sizeof crc);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 1), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0666), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "snapshots", 0, &database), 0);
    MDB_val at = {key.size, key.data}, stored = {value.size, value.data};
    assert_int_equal(mdb_put(txn, database, &at, &stored, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    buf_release(&key);
    buf_release(&value);
}

static void one_of_before_is_still_read(void **state)
{
    struct snaps *snaps = snaps_start(test_path("before"), false);
    put(snaps, "acme", "8", 1, 3, "three");
    snaps_close(snaps);
    put_old(test_path("before"), "7", 10, "ten");
    snaps = snaps_start(test_path("before"), false);
    expect(snaps, "acme", "7", 1, 10, "ten");
    expect_deploy(snaps, "7", 1, 0);
    put(snaps, "acme", "7", 1, 9, "nine");
    expect(snaps, "acme", "7", 1, 10, "ten");
    put(snaps, "acme", "7", 1, 11, "eleven");
    expect(snaps, "acme", "7", 1, 11, "eleven");
    snaps_close(snaps);
}

static void another_boot_drops_all(void **state)
{
    struct snaps *snaps = snaps_start(test_path("boot"), false);
    put(snaps, "acme", "7", 1, 10, "ten");
    snaps_close(snaps);
    test_file_write(test_path("boot/boot"), "another", 7);
    snaps = snaps_start(test_path("boot"), true);
    expect(snaps, "acme", "7", 1, 0, NULL);
    snaps_close(snaps);
    snaps = snaps_start(test_path("boot"), false);
    expect(snaps, "acme", "7", 1, 0, NULL);
    put(snaps, "acme", "7", 1, 4, "four");
    expect(snaps, "acme", "7", 1, 4, "four");
    snaps_close(snaps);
}

static void a_kill_leaves_what_was_put(void **state)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct snaps *snaps = snaps_start(test_path("killed"), false);
        for (int n = 1;; n++) {
            put(snaps, "acme", "7", 1, (uint64_t)n, "state");
            if (write(ends[1], &n, sizeof n) != sizeof n) _exit(1);
        }
    }
    close(ends[1]);
    int last = 0, n;
    while (last < 100) assert_int_equal(read(ends[0], &last, sizeof last), sizeof last);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    while (read(ends[0], &n, sizeof n) == sizeof n) last = n;
    close(ends[0]);
    struct snaps *snaps = snaps_start(test_path("killed"), false);
    struct stream_id stream = stream_of("acme", "7");
    struct hash hash = code_of(1);
    struct buf found = {0};
    uint64_t version = 0;
    struct fault fault;
    assert_int_equal(snaps_get(snaps, &stream, &hash, &version, &found, &fault), 1);
    assert_true(version == (uint64_t)last || version == (uint64_t)last + 1);
    snaps_close(snaps);
    buf_release(&found);
}

/* --- several threads at once --- */

static struct snaps *shared;

static void *put_many(void *user)
{
    const char *tenant = user;
    char id[16];
    for (int n = 0; n < 200; n++) {
        snprintf(id, sizeof id, "%d", n % 20);
        put(shared, tenant, id, 1, (uint64_t)n + 1, id);
        expect(shared, tenant, id, 1, (uint64_t)n + 1, id);
    }
    return NULL;
}

static void threads_write_at_once(void **state)
{
    shared = snaps_start(test_path("threads"), false);
    pthread_t threads[3];
    static char tenants[3][2] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, put_many, tenants[i]), 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    struct fault fault;
    uint64_t count;
    assert_done(snaps_check(shared, &count, &fault));
    assert_int_equal(count, 60);
    snaps_close(shared);
}

/* Nothing of the batch is there, what was before is, and the next one works. */
static void a_failed_write_changes_nothing(void **state)
{
    struct fault fault;
    struct snaps *snaps = snaps_start(test_path("refused"), false);
    put(snaps, "acme", "1", 1, 5, "five");
    struct snapshot batch[] = {{stream_of("acme", "1"), code_of(1), 6, slice_of("six"), 0},
                               {stream_of("acme", "2"), code_of(1), 1, slice_of("one"), 0}};
    assert_done(fault_points_arm("snapshots.write=ENOSPC", &fault));
    assert_int_equal(snaps_put(snaps, batch, 2, &fault), -1);
    assert_int_equal(fault.code, FAULT_DISK);
    expect(snaps, "acme", "1", 1, 5, "five");
    expect(snaps, "acme", "2", 1, 0, NULL);
    assert_done(snaps_put(snaps, batch, 2, &fault));
    fault_points_disarm();
    expect(snaps, "acme", "1", 1, 6, "six");
    expect(snaps, "acme", "2", 1, 1, "one");
    snaps_close(snaps);
}

static int group_begin(void **state)
{
    test_directory_make();
    return 0;
}
static int group_end(void **state)
{
    test_directory_drop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_newest_of_each_stream_and_code),
        cmocka_unit_test(forgets_code_that_is_gone),
        cmocka_unit_test(milestones_of_a_long_stream_stay),
        cmocka_unit_test(impossible_streams_have_none),
        cmocka_unit_test(a_damaged_one_is_ignored_and_removed),
        cmocka_unit_test(one_that_cannot_be_opened_is_made_anew),
        cmocka_unit_test(one_tells_under_which_deploy_it_was_made),
        cmocka_unit_test(one_of_before_is_still_read),
        cmocka_unit_test(another_boot_drops_all),
        cmocka_unit_test(a_kill_leaves_what_was_put),
        cmocka_unit_test(a_failed_write_changes_nothing),
        cmocka_unit_test(threads_write_at_once),
    };
    return cmocka_run_group_tests_name("snaps", tests, group_begin, group_end);
}

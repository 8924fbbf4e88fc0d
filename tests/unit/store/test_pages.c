#include "test_docs_support.h"

#include <lmdb.h>

#include "base/hash.h"
#include "store/pages.h"

/* Every record carries a checksum over database, key and value, so that the test can tell what pages_check
 * cannot see. */
static uint32_t record_crc(const char *database, MDB_val key, const uint8_t *value, size_t size)
{
    struct buf all = {0};
    buf_put_text(&all, database);
    buf_put_byte(&all, 0);
    buf_put(&all, key.mv_data, key.mv_size);
    buf_put_byte(&all, 0);
    buf_put(&all, value, size);
    uint32_t crc = hash_crc32(buf_slice(&all));
    buf_release(&all);
    return crc;
}

static MDB_env *env_open(const char *path, unsigned int flags)
{
    MDB_env *env;
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_mapsize(env, 256u << 20);
    mdb_env_set_maxdbs(env, 4);
    int code = mdb_env_open(env, path, flags, 0644);
    if (code == 0) return env;
    mdb_env_close(env);
    return NULL;
}

static void put(MDB_txn *txn, MDB_dbi dbi, const char *database, MDB_val key, size_t size)
{
    uint8_t *bytes = malloc(size + 4);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)test_random();
    uint32_t crc = record_crc(database, key, bytes, size);
    memcpy(bytes + size, &crc, 4);
    MDB_val value = {size + 4, bytes};
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    free(bytes);
}

static size_t value_size(void)
{
    switch (test_below(8)) {
    case 0: return test_below(40000);
    case 1: return test_below(4000);
    default: return test_below(100);
    }
}

/* Random changes of three databases, one with numbers for keys. */
static void change(MDB_env *env, size_t operations, size_t keys, bool abort)
{
    static const char *const names[] = {"alpha", "numbers", "omega"};
    MDB_txn *txn;
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    MDB_dbi dbis[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(mdb_dbi_open(txn, names[i], MDB_CREATE | (i == 1 ? MDB_INTEGERKEY : 0), &dbis[i]),
                         0);
    for (size_t n = 0; n < operations; n++) {
        int which = (int)test_below(3);
        uint64_t number = test_below(keys) + 1;
        char text[300];
        int size = snprintf(text, sizeof text, "%06d", (int)number);
        for (size_t more = number % 97; more > 0; more--) text[size++] = 'x';
        MDB_val key = which == 1 ? (MDB_val){8, &number} : (MDB_val){(size_t)size, text};
        if (test_below(3) == 0)
            mdb_del(txn, dbis[which], &key, NULL);
        else
            put(txn, dbis[which], names[which], key, value_size());
    }
    if (abort)
        mdb_txn_abort(txn);
    else
        assert_int_equal(mdb_txn_commit(txn), 0);
}

static uint64_t pages_of(MDB_stat status)
{
    return status.ms_branch_pages + status.ms_leaf_pages + status.ms_overflow_pages;
}

/* What liblmdb counts, against what the walker counts. */
static void compare_counts(MDB_env *env, const char *path)
{
    struct fault fault;
    struct pages_report report;
    assert_done(pages_check(path, &report, &fault));
    if (!report.ok) fail_msg("%s", report.damage);
    MDB_txn *txn;
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    MDB_stat status;
    mdb_stat(txn, 0, &status);
    uint64_t reachable = pages_of(status), freed = 0;
    mdb_stat(txn, 1, &status);
    reachable += pages_of(status);
    const char *const names[] = {"alpha", "numbers", "omega"};
    for (int i = 0; i < 3; i++) {
        MDB_dbi dbi;
        assert_int_equal(mdb_dbi_open(txn, names[i], 0, &dbi), 0);
        mdb_stat(txn, dbi, &status);
        reachable += pages_of(status);
    }
    MDB_cursor *cursor;
    mdb_cursor_open(txn, 0, &cursor);
    MDB_val key, value;
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        uint64_t count;
        memcpy(&count, value.mv_data, 8);
        freed += count;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    assert_int_equal(report.reachable, reachable);
    assert_int_equal(report.free, freed);
    MDB_envinfo info;
    mdb_env_info(env, &info);
    assert_int_equal(report.pages, info.me_last_pgno + 1);
}

/* No file that LMDB made is called damaged, whatever happened to it: aborts, old readers, reopening, large
 * and small. */
static void finds_nothing_in_whole_files(void **state)
{
    mkdir(test_path("whole"), 0755);
    MDB_env *env = env_open(test_path("whole"), MDB_NOSYNC | MDB_NOTLS);
    MDB_txn *reader = NULL;
    for (int round = 0; round < 200; round++) {
        change(env, test_below(10) == 0 ? 600 : 1 + test_below(40), 1 + test_below(2000),
               round > 0 && test_below(8) == 0);
        compare_counts(env, test_path("whole/data.mdb"));
        if (reader && test_below(4) == 0) {
            mdb_txn_abort(reader);
            reader = NULL;
        } else if (!reader && test_below(4) == 0) {
            assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &reader), 0);
        }
        if (!reader && test_below(16) == 0) {
            mdb_env_close(env);
            env = env_open(test_path("whole"), MDB_NOSYNC | MDB_NOTLS);
        }
    }
    if (reader) mdb_txn_abort(reader);
    mdb_env_close(env);
}

static void an_empty_environment_is_whole(void **state)
{
    mkdir(test_path("empty"), 0755);
    mdb_env_close(env_open(test_path("empty"), 0));
    struct fault fault;
    struct pages_report report;
    assert_done(pages_check(test_path("empty/data.mdb"), &report, &fault));
    assert_true(report.ok);
    assert_int_equal(report.pages, 2);
    assert_int_equal(pages_check(test_path("none.mdb"), &report, &fault), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
}

/* --- damage --- */

/* All databases, keys and values as one text; *sound: every record's checksum fits. False if liblmdb refuses.
 */
static bool dump(const char *directory, struct buf *out, bool *sound)
{
    buf_clear(out);
    *sound = true;
    MDB_env *env = env_open(directory, MDB_RDONLY | MDB_NOLOCK);
    if (!env) return false;
    MDB_txn *txn;
    MDB_dbi main_dbi;
    bool done = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0;
    if (done) {
        mdb_dbi_open(txn, NULL, 0, &main_dbi);
        MDB_cursor *names, *cursor;
        mdb_cursor_open(txn, main_dbi, &names);
        MDB_val name, ignored, key, value;
        while (mdb_cursor_get(names, &name, &ignored, MDB_NEXT) == 0) {
            char text[64];
            snprintf(text, sizeof text, "%.*s", name.mv_size < 60 ? (int)name.mv_size : 60,
                     (char *)name.mv_data);
            buf_format(out, "[%s]", text);
            MDB_dbi dbi;
            if (mdb_dbi_open(txn, text, 0, &dbi) != 0) continue;
            mdb_cursor_open(txn, dbi, &cursor);
            while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
                buf_put(out, key.mv_data, key.mv_size);
                buf_put(out, value.mv_data, value.mv_size);
                uint32_t crc = 0;
                if (value.mv_size >= 4) memcpy(&crc, (char *)value.mv_data + value.mv_size - 4, 4);
                if (value.mv_size < 4 || crc != record_crc(text, key, value.mv_data, value.mv_size - 4))
                    *sound = false;
            }
            mdb_cursor_close(cursor);
        }
        mdb_cursor_close(names);
        mdb_txn_abort(txn);
    }
    mdb_env_close(env);
    return done;
}

static struct buf sample_make(void)
{
    mkdir(test_path("sample"), 0755);
    MDB_env *env = env_open(test_path("sample"), MDB_NOSYNC | MDB_NOTLS);
    for (int round = 0; round < 25; round++) change(env, 60, 300, false);
    mdb_env_close(env);
    return test_file_read(test_path("sample/data.mdb"));
}

/* A flipped bit is found, or nobody who reads the file through LMDB and checks its records' checksums is
 * deceived. */
static void a_flipped_bit_is_found_or_harmless(void **state)
{
    struct buf sample = sample_make(), whole = {0}, other = {0};
    bool sound;
    assert_true(dump(test_path("sample"), &whole, &sound));
    assert_true(sound);
    mkdir(test_path("flipped"), 0755);
    int found = 0, flips = getenv("FLIPS") ? atoi(getenv("FLIPS")) : 2500;
    for (int n = 0; n < flips; n++) {
        /* Most of them where structure lies: in the first bytes of a page, in the meta pages. */
        size_t at = test_below(sample.size);
        if (n % 4 == 1) at = at / 4096 * 4096 + test_below(16);
        if (n % 4 == 2) at = at / 4096 * 4096 + test_below(160);
        if (n % 4 == 3) at = test_below(2) * 4096 + test_below(160);
        if (at >= sample.size) continue;
        char bit = (char)(1 << test_below(8));
        sample.data[at] ^= bit;
        test_file_write(test_path("flipped/data.mdb"), sample.data, sample.size);
        sample.data[at] ^= bit;
        struct fault fault;
        struct pages_report report;
        assert_done(pages_check(test_path("flipped/data.mdb"), &report, &fault));
        assert_int_equal(report.ok, report.damage[0] == 0);
        if (!report.ok) {
            found++;
            continue;
        }
        assert_true(dump(test_path("flipped"), &other, &sound));
        if (sound && !slice_equal(buf_slice(&whole), buf_slice(&other)))
            fail_msg("bit %d of byte %zu (page %zu, byte %zu) is not found", bit, at, at / 4096, at % 4096);
    }
    print_message("%d of %d flips found by structure alone\n", found, flips);
    assert_true(found > flips / 10);
    buf_release(&sample);
    buf_release(&whole);
    buf_release(&other);
}

/* Arbitrary bytes, ends cut off, pages exchanged: an answer, never a crash. */
static void garbage_is_survived(void **state)
{
    struct buf sample = sample_make();
    struct fault fault;
    struct pages_report report;
    const char *path = test_path("garbage.mdb");
    for (int n = 0; n < 1500; n++) {
        struct buf bytes = {0};
        buf_put_slice(&bytes, buf_slice(&sample));
        size_t pages = bytes.size / 4096;
        switch (n % 4) {
        case 0:
            for (size_t i = 1 + test_below(30); i > 0; i--)
                bytes.data[test_below(bytes.size)] = (char)test_random();
            break;
        case 1: bytes.size = test_below(bytes.size); break;
        case 2:
            for (size_t i = 0; i < 4096; i++) bytes.data[(size_t)n % pages * 4096 + i] = (char)test_random();
            break;
        default: memmove(bytes.data + test_below(pages) * 4096, sample.data + test_below(pages) * 4096, 4096);
        }
        test_file_write(path, bytes.data, bytes.size);
        assert_done(pages_check(path, &report, &fault));
        /* Cut off within the pages in use, it cannot be whole. */
        if (n % 4 == 1 && bytes.size < 8192) assert_false(report.ok);
        buf_release(&bytes);
    }
    buf_release(&sample);
}

/* Without its flag a database is a plain value, and its pages belong to nobody. */
static void a_lost_database_flag_is_found(void **state)
{
    struct buf sample = sample_make();
    struct fault fault;
    struct pages_report report;
    /* The leaf of the main tree holds the name "alpha"; the node's flags lie 4 bytes before it. */
    bool tried = false;
    for (size_t at = 8; at + 5 < sample.size; at++)
        if (memcmp(sample.data + at, "alpha", 5) == 0 && sample.data[at - 4] == 2) {
            sample.data[at - 4] = 0;
            tried = true;
        }
    assert_true(tried);
    test_file_write(test_path("flag.mdb"), sample.data, sample.size);
    assert_done(pages_check(test_path("flag.mdb"), &report, &fault));
    assert_false(report.ok);
    assert_non_null(strstr(report.damage, "neither free nor reachable"));
    buf_release(&sample);
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
        cmocka_unit_test(an_empty_environment_is_whole),      cmocka_unit_test(finds_nothing_in_whole_files),
        cmocka_unit_test(a_flipped_bit_is_found_or_harmless), cmocka_unit_test(garbage_is_survived),
        cmocka_unit_test(a_lost_database_flag_is_found),
    };
    return cmocka_run_group_tests_name("pages", tests, group_begin, group_end);
}

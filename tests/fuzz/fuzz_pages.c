/* A damaged LMDB file: the input is a list of changes (place 3 bytes, how many 1, the bytes) to a good file
 * with all kinds of pages. pages_check never crashes, and a file it finds whole can be walked by LMDB itself,
 * which trusts every page: that is what the check is for. */
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/pages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64], path[80];
static uint8_t *good, *changed;
static size_t file_size;

static MDB_env *open_env(unsigned flags)
{
    MDB_env *env;
    CHECK(mdb_env_create(&env) == 0 && mdb_env_set_maxdbs(env, 4) == 0);
    mdb_env_set_mapsize(env, 1 << 20);
    if (mdb_env_open(env, folder, flags, 0600) == 0) return env;
    mdb_env_close(env);
    return NULL;
}

static void fill(MDB_env *env, int round)
{
    static const char *const names[] = {"alpha", "numbers", "omega"};
    MDB_txn *txn;
    MDB_dbi dbi;
    static char text[9000];
    CHECK(mdb_txn_begin(env, NULL, 0, &txn) == 0);
    for (int which = 0; which < 3; which++) {
        CHECK(mdb_dbi_open(txn, names[which], MDB_CREATE | (which == 1 ? MDB_INTEGERKEY : 0), &dbi) == 0);
        for (uint64_t n = 0; n < 60; n++) {
            char name[260];
            snprintf(name, sizeof name, "%0*d", (int)(6 + n * 4), (int)n);
            MDB_val key = {which == 1 ? 8 : strlen(name), which == 1 ? (void *)&n : name};
            MDB_val value = {n % 20 == 7 ? sizeof text : n, text};
            if (round && n % 3 == 0)
                mdb_del(txn, dbi, &key, NULL);
            else
                CHECK(mdb_put(txn, dbi, &key, &value, 0) == 0);
        }
    }
    CHECK(mdb_txn_commit(txn) == 0);
}

static void clean_up(void)
{
    char lock[96];
    snprintf(lock, sizeof lock, "%s/lock.mdb", folder);
    unlink(lock);
    unlink(path);
    rmdir(folder);
}

static void start(void)
{
    snprintf(folder, sizeof folder, "/dev/shm/lore-fuzz-XXXXXX");
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/data.mdb", folder);
    atexit(clean_up);
    MDB_env *env = open_env(MDB_NOSYNC);
    for (int round = 0; round < 3; round++) fill(env, round % 2);
    mdb_env_close(env);
    FILE *file = fopen(path, "rb");
    fseek(file, 0, SEEK_END);
    file_size = (size_t)ftell(file);
    rewind(file);
    good = mem_alloc(file_size);
    changed = mem_alloc(file_size);
    CHECK(fread(good, 1, file_size, file) == file_size);
    fclose(file);
}

static void change(const uint8_t *at, const uint8_t *end)
{
    memcpy(changed, good, file_size);
    while (end - at > 4) {
        size_t place = (at[0] | at[1] << 8 | (size_t)at[2] << 16) % file_size, count = at[3] % 32;
        at += 4;
        if (count > (size_t)(end - at)) count = (size_t)(end - at);
        if (count > file_size - place) count = file_size - place;
        memcpy(changed + place, at, count);
        at += count;
    }
}

/* Keeps the reads from being optimised away. */
volatile uint32_t fuzz_sum;

static void walk(MDB_txn *txn, MDB_dbi dbi, bool is_main)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    if (mdb_cursor_open(txn, dbi, &cursor) != 0) return;
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        fuzz_sum += hash_crc32(slice_make(key.mv_data, key.mv_size));
        fuzz_sum += hash_crc32(slice_make(value.mv_data, value.mv_size));
        char name[64];
        MDB_dbi named;
        if (!is_main || key.mv_size >= sizeof name) continue;
        memcpy(name, key.mv_data, key.mv_size);
        name[key.mv_size] = 0;
        if (mdb_dbi_open(txn, name, 0, &named) == 0) walk(txn, named, false);
    }
    mdb_cursor_close(cursor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!good) start();
    change(data, data + size);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, changed, file_size, 0) == (ssize_t)file_size &&
          ftruncate(fd, (off_t)file_size) == 0);
    close(fd);
    struct pages_report report;
    struct fault fault;
    CHECK(pages_check(path, &report, &fault) == 0);
    CHECK(report.ok == (report.damage[0] == 0));
    if (!report.ok) return 0;
    MDB_env *env = open_env(MDB_RDONLY | MDB_NOLOCK);
    MDB_txn *txn;
    if (!env) return 0;
    if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) == 0) {
        walk(txn, 0, false);
        MDB_dbi dbi;
        if (mdb_dbi_open(txn, NULL, 0, &dbi) == 0) walk(txn, dbi, true);
        mdb_txn_abort(txn);
    }
    mdb_env_close(env);
    return 0;
}

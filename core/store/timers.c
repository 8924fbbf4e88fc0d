/* Three databases:
 *
 *   due    due_ms + 2^63 (8 bytes, big endian), position (8), ordinal (4)
 *          -> attempts (4, little endian), has a name (1), name (16), error, CRC-32 over key and the rest
 *   names  name -> the key of its entry in due
 *   meta   "log" -> log id; "position" -> position, mark (8 bytes each, little endian) */
#include "store/timers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/environment.h"

enum {
    KEY_SIZE = 20,
    VALUE_HEAD_SIZE = 4 + 1 + TIMER_NAME_SIZE,
    CRC_SIZE = 4,
    ERROR_SIZE_MAX = 300,
    VALUE_SIZE_MAX = VALUE_HEAD_SIZE + ERROR_SIZE_MAX + CRC_SIZE
};

struct timers {
    struct environment *environment;
    MDB_dbi due, names, meta;
    uint64_t position, mark;
    uint64_t parked_inside; /* as of the write transaction */
    atomic_ullong count, parked;
};

/* --- bytes --- */

static void big_put(uint8_t *to, uint64_t value, int size)
{
    for (int at = 0; at < size; at++) to[at] = (uint8_t)(value >> (8 * (size - 1 - at)));
}

static uint64_t big_get(const uint8_t *from, int size)
{
    uint64_t value = 0;
    for (int at = 0; at < size; at++) value = value << 8 | from[at];
    return value;
}

static void key_write(const struct timer_key *key, uint8_t bytes[KEY_SIZE])
{
    big_put(bytes, (uint64_t)key->due_ms ^ (1ULL << 63), 8);
    big_put(bytes + 8, key->position, 8);
    big_put(bytes + 16, key->ordinal, 4);
}

static void key_read(const uint8_t bytes[KEY_SIZE], struct timer_key *key)
{
    key->due_ms = (int64_t)(big_get(bytes, 8) ^ (1ULL << 63));
    key->position = big_get(bytes + 8, 8);
    key->ordinal = (uint32_t)big_get(bytes + 16, 4);
}

static uint32_t value_crc(const uint8_t key[KEY_SIZE], const uint8_t *value, size_t size)
{
    return hash_crc32(slice_make(value, size)) ^ hash_crc32(slice_make(key, KEY_SIZE)) * 0x9e3779b1u;
}

static size_t value_write(const struct timer *timer, const uint8_t key[KEY_SIZE], uint8_t *to)
{
    size_t error = timer->error.size < ERROR_SIZE_MAX ? timer->error.size : ERROR_SIZE_MAX;
    big_put(to, timer->attempts, 4);
    to[4] = timer->has_name;
    memcpy(to + 5, timer->name, TIMER_NAME_SIZE);
    if (error) memcpy(to + VALUE_HEAD_SIZE, timer->error.data, error);
    big_put(to + VALUE_HEAD_SIZE + error, value_crc(key, to, VALUE_HEAD_SIZE + error), CRC_SIZE);
    return VALUE_HEAD_SIZE + error + CRC_SIZE;
}

/* False: it is not what was written. */
static bool timer_read(MDB_val key, MDB_val value, struct timer *timer)
{
    const uint8_t *from = value.mv_data;
    if (key.mv_size != KEY_SIZE || value.mv_size < VALUE_HEAD_SIZE + CRC_SIZE) return false;
    size_t inside = value.mv_size - CRC_SIZE;
    if (big_get(from + inside, CRC_SIZE) != value_crc(key.mv_data, from, inside)) return false;
    key_read(key.mv_data, &timer->key);
    timer->attempts = (uint32_t)big_get(from, 4);
    timer->has_name = from[4];
    memcpy(timer->name, from + 5, TIMER_NAME_SIZE);
    timer->error = slice_make((const char *)from + VALUE_HEAD_SIZE, inside - VALUE_HEAD_SIZE);
    return true;
}

static int timers_fault(struct timers *timers, int code, const char *doing, struct fault *fault)
{
    return environment_fault(timers->environment, code, doing, fault);
}

/* --- opening --- */

/* What is in meta; MDB_NOTFOUND: new, or of another log. */
static int meta_read(struct timers *timers, MDB_txn *txn, const char *log_id)
{
    MDB_val key = {3, (void *)(uintptr_t) "log"}, value;
    int code = mdb_get(txn, timers->meta, &key, &value);
    if (code) return code;
    if (!slice_is(slice_make(value.mv_data, value.mv_size), log_id)) return MDB_NOTFOUND;
    key = (MDB_val){8, (void *)(uintptr_t) "position"};
    code = mdb_get(txn, timers->meta, &key, &value);
    if (code) return code;
    if (value.mv_size != 16) return MDB_CORRUPTED;
    timers->position = big_get(value.mv_data, 8);
    timers->mark = big_get((uint8_t *)value.mv_data + 8, 8);
    return 0;
}

static int meta_write(struct timers *timers, MDB_txn *txn, uint64_t position, uint64_t mark)
{
    uint8_t bytes[16];
    big_put(bytes, position, 8);
    big_put(bytes + 8, mark, 8);
    MDB_val key = {8, (void *)(uintptr_t) "position"}, value = {sizeof bytes, bytes};
    return mdb_put(txn, timers->meta, &key, &value, 0);
}

/* Whatever it holds is of no use. */
static int meta_begin(struct timers *timers, MDB_txn *txn, const char *log_id)
{
    int code = mdb_drop(txn, timers->due, 0);
    if (!code) code = mdb_drop(txn, timers->names, 0);
    if (!code) code = mdb_drop(txn, timers->meta, 0);
    MDB_val key = {3, (void *)(uintptr_t) "log"}, value = {strlen(log_id), (void *)(uintptr_t)log_id};
    if (!code) code = mdb_put(txn, timers->meta, &key, &value, 0);
    timers->position = timers->mark = 0;
    return code ? code : meta_write(timers, txn, 0, 0);
}

static int count_all(struct timers *timers, MDB_txn *txn)
{
    MDB_stat stat;
    int code = mdb_stat(txn, timers->due, &stat);
    if (code) return code;
    atomic_store(&timers->count, stat.ms_entries);
    atomic_store(&timers->parked, timers->parked_inside);
    return 0;
}

static int count_parked(struct timers *timers, MDB_txn *txn)
{
    MDB_cursor *cursor;
    uint8_t bytes[KEY_SIZE];
    int code = mdb_cursor_open(txn, timers->due, &cursor);
    if (code) return code;
    key_write(&(struct timer_key){.due_ms = INT64_MAX}, bytes);
    MDB_val key = {KEY_SIZE, bytes}, value;
    code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) timers->parked_inside++;
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? count_all(timers, txn) : code;
}

static int open_databases(struct timers *timers, const char *log_id, struct fault *fault)
{
    MDB_txn *txn;
    if (environment_write(timers->environment, &txn, fault) < 0) return -1;
    int code = mdb_dbi_open(txn, "due", MDB_CREATE, &timers->due);
    if (!code) code = mdb_dbi_open(txn, "names", MDB_CREATE, &timers->names);
    if (!code) code = mdb_dbi_open(txn, "meta", MDB_CREATE, &timers->meta);
    if (!code) code = meta_read(timers, txn, log_id);
    if (code == MDB_NOTFOUND) code = meta_begin(timers, txn, log_id);
    if (!code) code = count_parked(timers, txn);
    if (!code)
        code = environment_commit(timers->environment, txn);
    else
        environment_abort(timers->environment, txn);
    return code ? timers_fault(timers, code, "cannot open", fault) : 0;
}

static int open_inside(struct timers *timers, const char *path, const char *log_id, struct fault *fault)
{
    struct environment_options options = {.path = path, .databases_max = 3};
    bool dirty = false;
    if (environment_open(&options, &timers->environment, &dirty, fault) < 0) {
        timers->environment = NULL;
        return -1;
    }
    if (dirty) return fault_set(fault, FAULT_CORRUPT, "the machine stopped while it was written");
    return open_databases(timers, log_id, fault);
}

int timers_open(const char *path, const char *log_id, struct timers **timers, struct fault *fault)
{
    struct timers *made = MEM_NEW(struct timers);
    struct fault inside;
    int done = open_inside(made, path, log_id, &inside);
    if (done < 0 && inside.code == FAULT_CORRUPT) {
        say_info("%s: made anew from the log: %s", path, inside.text);
        if (made->environment) environment_close(made->environment);
        made->environment = NULL;
        done = environment_destroy(path, &inside);
        if (done == 0) done = open_inside(made, path, log_id, &inside);
    }
    if (done < 0) {
        if (made->environment) environment_close(made->environment);
        mem_free(made);
        if (fault) *fault = inside;
        return -1;
    }
    *timers = made;
    return 0;
}

void timers_close(struct timers *timers)
{
    if (!timers) return;
    environment_close(timers->environment);
    mem_free(timers);
}

void timers_drop(struct timers *timers)
{
    struct fault ignored;
    struct slice path = slice_of(environment_path(timers->environment));
    char *kept = mem_text(path.data, path.size);
    timers_close(timers);
    environment_destroy(kept, &ignored);
    mem_free(kept);
}

uint64_t timers_position(struct timers *timers)
{
    return timers->position;
}

uint64_t timers_mark(struct timers *timers)
{
    return timers->mark;
}

uint64_t timers_count(struct timers *timers, uint64_t *parked)
{
    if (parked) *parked = atomic_load(&timers->parked);
    return atomic_load(&timers->count);
}

/* --- writing; these return an MDB code --- */

static int remove_entry(struct timers *timers, MDB_txn *txn, const uint8_t bytes[KEY_SIZE])
{
    MDB_val key = {KEY_SIZE, (void *)(uintptr_t)bytes}, value, named;
    struct timer timer;
    int code = mdb_get(txn, timers->due, &key, &value);
    if (code) return code == MDB_NOTFOUND ? 0 : code;
    if (!timer_read(key, value, &timer)) return MDB_CORRUPTED;
    if (timer.has_name) {
        MDB_val name = {TIMER_NAME_SIZE, timer.name};
        code = mdb_get(txn, timers->names, &name, &named);
        if (code == 0 && named.mv_size == KEY_SIZE && memcmp(named.mv_data, bytes, KEY_SIZE) == 0)
            code = mdb_del(txn, timers->names, &name, NULL);
        if (code && code != MDB_NOTFOUND) return code;
    }
    timers->parked_inside -= timer.key.due_ms == INT64_MAX;
    return mdb_del(txn, timers->due, &key, NULL);
}

static int cancel_name(struct timers *timers, MDB_txn *txn, const struct timer *timer)
{
    MDB_val name = {TIMER_NAME_SIZE, (void *)(uintptr_t)timer->name}, named;
    uint8_t bytes[KEY_SIZE];
    int code = mdb_get(txn, timers->names, &name, &named);
    if (code) return code == MDB_NOTFOUND ? 0 : code;
    if (named.mv_size != KEY_SIZE) return MDB_CORRUPTED;
    memcpy(bytes, named.mv_data, KEY_SIZE);
    return remove_entry(timers, txn, bytes);
}

static int set_entry(struct timers *timers, MDB_txn *txn, const struct timer *timer)
{
    uint8_t bytes[KEY_SIZE], value_bytes[VALUE_SIZE_MAX];
    int code = timer->has_name ? cancel_name(timers, txn, timer) : 0;
    key_write(&timer->key, bytes);
    MDB_val key = {KEY_SIZE, bytes}, value = {value_write(timer, bytes, value_bytes), value_bytes};
    if (!code) code = remove_entry(timers, txn, bytes);
    if (!code) code = mdb_put(txn, timers->due, &key, &value, 0);
    if (code) return code;
    timers->parked_inside += timer->key.due_ms == INT64_MAX;
    if (!timer->has_name) return 0;
    MDB_val name = {TIMER_NAME_SIZE, (void *)(uintptr_t)timer->name};
    return mdb_put(txn, timers->names, &name, &key, 0);
}

static int write_change(struct timers *timers, MDB_txn *txn, const struct timer_change *change)
{
    const struct timer *timer = &change->timer;
    uint8_t bytes[KEY_SIZE];
    if (change->kind == TIMER_SET) return set_entry(timers, txn, timer);
    if (change->kind == TIMER_CANCEL) return cancel_name(timers, txn, timer);
    key_write(change->kind == TIMER_MOVE ? &change->from : &timer->key, bytes);
    MDB_val key = {KEY_SIZE, bytes}, value;
    int code = mdb_get(txn, timers->due, &key, &value);
    if (code) return code == MDB_NOTFOUND ? 0 : code;
    code = remove_entry(timers, txn, bytes);
    return code || change->kind == TIMER_REMOVE ? code : set_entry(timers, txn, timer);
}

static int write_inside(struct timers *timers, const struct timer_change *changes, size_t count,
                        uint64_t position, uint64_t mark, struct fault *fault)
{
    MDB_txn *txn;
    if (environment_write(timers->environment, &txn, fault) < 0) return -1;
    int code = fault_point(POINT_TIMERS_WRITE);
    timers->parked_inside = atomic_load(&timers->parked);
    for (size_t at = 0; at < count && code == 0; at++) code = write_change(timers, txn, &changes[at]);
    if (!code) code = meta_write(timers, txn, position, mark);
    if (!code) code = count_all(timers, txn);
    if (!code) return environment_commit(timers->environment, txn);
    environment_abort(timers->environment, txn);
    return code;
}

int timers_write(struct timers *timers, const struct timer_change *changes, size_t count, uint64_t position,
                 uint64_t mark, struct fault *fault)
{
    int code;
    while ((code = write_inside(timers, changes, count, position, mark, fault)) == MDB_MAP_FULL)
        if ((code = environment_grow(timers->environment, fault)) < 0) break;
    if (code == -1) return -1; /* the fault is filled; no MDB code and no errno is -1 */
    if (code) return timers_fault(timers, code, "cannot write", fault);
    timers->position = position;
    timers->mark = mark;
    return 0;
}

/* --- reading --- */

struct timers_walk {
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
};

/* An MDB code; walk.key and .value are the first entry from these bytes on. */
static int walk_begin(struct timers *timers, struct timers_walk *walk, uint8_t bytes[KEY_SIZE],
                      struct fault *fault)
{
    if (environment_read(timers->environment, &walk->txn, fault) < 0) return -1;
    int code = mdb_cursor_open(walk->txn, timers->due, &walk->cursor);
    if (code) {
        environment_read_end(timers->environment, walk->txn);
        return timers_fault(timers, code, "cannot read", fault);
    }
    walk->key = (MDB_val){KEY_SIZE, bytes};
    return mdb_cursor_get(walk->cursor, &walk->key, &walk->value, MDB_SET_RANGE);
}

static int walk_end(struct timers *timers, struct timers_walk *walk, int code, struct fault *fault)
{
    mdb_cursor_close(walk->cursor);
    environment_read_end(timers->environment, walk->txn);
    return code && code != MDB_NOTFOUND ? timers_fault(timers, code, "cannot read", fault) : 0;
}

int timers_due(struct timers *timers, const struct timer_key *after, int64_t now_ms, struct timer *due,
               int max, struct fault *fault)
{
    struct timers_walk walk;
    uint8_t bytes[KEY_SIZE];
    int count = 0;
    key_write(after, bytes);
    int code = walk_begin(timers, &walk, bytes, fault);
    if (code == -1) return -1;
    uint8_t first[KEY_SIZE];
    key_write(after, first);
    while (code == 0 && count < max) {
        bool is_after = memcmp(walk.key.mv_data, first, KEY_SIZE) != 0;
        if (!timer_read(walk.key, walk.value, &due[count])) {
            code = MDB_CORRUPTED;
            break;
        }
        if (due[count].key.due_ms > now_ms || due[count].key.due_ms == INT64_MAX) break;
        due[count].error = SLICE_NONE;
        if (is_after) count++;
        code = mdb_cursor_get(walk.cursor, &walk.key, &walk.value, MDB_NEXT);
    }
    return walk_end(timers, &walk, code, fault) < 0 ? -1 : count;
}

int timers_each_parked(struct timers *timers, bool (*each)(void *user, const struct timer *timer), void *user,
                       struct fault *fault)
{
    struct timers_walk walk;
    uint8_t bytes[KEY_SIZE];
    key_write(&(struct timer_key){.due_ms = INT64_MAX}, bytes);
    int code = walk_begin(timers, &walk, bytes, fault);
    if (code == -1) return -1;
    for (; code == 0; code = mdb_cursor_get(walk.cursor, &walk.key, &walk.value, MDB_NEXT)) {
        struct timer timer;
        if (!timer_read(walk.key, walk.value, &timer)) code = MDB_CORRUPTED;
        if (code || !each(user, &timer)) break;
    }
    return walk_end(timers, &walk, code, fault);
}

/* --- checking --- */

/* Whether the name leads back to the entry. */
static bool check_name(struct timers *timers, MDB_txn *txn, const struct timer *timer, const uint8_t *bytes)
{
    MDB_val name = {TIMER_NAME_SIZE, (void *)(uintptr_t)timer->name}, named;
    return mdb_get(txn, timers->names, &name, &named) == 0 && named.mv_size == KEY_SIZE &&
           memcmp(named.mv_data, bytes, KEY_SIZE) == 0;
}

static int check_entries(struct timers *timers, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    MDB_stat stat;
    size_t names = 0;
    int code = mdb_dbi_open(txn, "due", 0, &timers->due);
    if (!code) code = mdb_dbi_open(txn, "names", 0, &timers->names);
    if (!code) code = mdb_stat(txn, timers->names, &stat);
    if (!code) code = mdb_cursor_open(txn, timers->due, &cursor);
    if (code) return code;
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        struct timer timer;
        if (!timer_read(key, value, &timer) ||
            (timer.has_name && !check_name(timers, txn, &timer, key.mv_data))) {
            code = MDB_CORRUPTED;
            break;
        }
        names += timer.has_name;
    }
    mdb_cursor_close(cursor);
    return code != MDB_NOTFOUND ? code : names == stat.ms_entries ? 0 : MDB_CORRUPTED;
}

int timers_check(const char *path, struct fault *fault)
{
    struct timers timers = {0};
    struct environment_options options = {.path = path, .read_only = true, .databases_max = 3};
    bool dirty = false;
    MDB_txn *txn;
    if (environment_open(&options, &timers.environment, &dirty, fault) < 0) return -1;
    int done = 0;
    if (!dirty && (done = environment_read(timers.environment, &txn, fault)) == 0) {
        int code = check_entries(&timers, txn);
        environment_read_end(timers.environment, txn);
        if (code) done = timers_fault(&timers, code, "cannot be read", fault);
    }
    environment_close(timers.environment);
    return done;
}

/* Look-ups of command ids, and walks over everything. */
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/index_inside.h"

/* --- ids --- */

static void put_hash(char *to, uint64_t hash)
{
    for (int at = 0; at < INDEX_HASH_SIZE; at++) to[at] = (char)(hash >> (8 * (INDEX_HASH_SIZE - 1 - at)));
}

uint64_t index_read_hash(struct slice key)
{
    uint64_t hash = 0;
    for (int at = 0; at < INDEX_HASH_SIZE; at++) hash = hash << 8 | (uint8_t)key.data[at];
    return hash;
}

static int run_places(MDB_cursor *cursor, uint32_t run, uint64_t hash, struct buf *places)
{
    char text[INDEX_HASH_SIZE];
    put_hash(text, hash);
    struct index_reader reader;
    int code = index_reader_seek(&reader, cursor, run, slice_make(text, sizeof text));
    while (code == 0) {
        struct slice key = index_reader_key(&reader);
        uint64_t place;
        if (key.size <= INDEX_HASH_SIZE) return MDB_CORRUPTED;
        if (memcmp(key.data, text, sizeof text) != 0) return 0;
        if (!index_run_read_number(slice_make(key.data + INDEX_HASH_SIZE, key.size - INDEX_HASH_SIZE),
                                   &place))
            return MDB_CORRUPTED;
        buf_put(places, &place, sizeof place);
        code = index_reader_next(&reader);
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

static int disk_places(struct index *index, uint64_t hash, struct buf *places, struct fault *fault)
{
    struct lmdb_env_read *read;
    struct index_state state;
    if (!index->env) return 0;
    if (lmdb_env_begin(index->env, &read, fault) < 0) return -1;
    int code = index_state_get(read->txn, lmdb_env_db(index->env, INDEX_DB_META), &state);
    if (code == MDB_NOTFOUND) {
        code = 0;
        state.ids.count = 0;
    }
    for (size_t run = code ? 0 : state.ids.count; run-- > 0 && !code;)
        code = run_places(lmdb_env_cursor(read, INDEX_DB_IDS), state.ids.runs[run].number, hash, places);
    lmdb_env_end(read);
    return code ? index_fault(index, code, fault) : 0;
}

int index_places(struct index *index, uint64_t hash, struct buf *places, struct fault *fault)
{
    pthread_rwlock_rdlock(&index->lock);
    index_tail_places(index->active, hash, places);
    if (index->frozen) index_tail_places(index->frozen, hash, places);
    bool on_disk = index_runs_may_have(index, index_filter_of_id(hash));
    pthread_rwlock_unlock(&index->lock);
    return on_disk ? disk_places(index, hash, places, fault) : 0;
}

int index_disk_has(struct index *index, uint64_t hash, uint64_t place, struct fault *fault)
{
    struct buf places = {0};
    int found = disk_places(index, hash, &places, fault);
    for (size_t at = 0; found == 0 && at < places.size; at += sizeof place)
        if (memcmp(places.data + at, &place, sizeof place) == 0) found = 1;
    buf_release(&places);
    return found;
}

/* --- all streams: the runs and the memory merged by key --- */

struct tail_entry {
    char key[INDEX_KEY_SIZE_MAX];
    size_t key_size;
    uint64_t version;
};

static int compare_entries(const void *a, const void *b)
{
    const struct tail_entry *left = a, *right = b;
    int order = slice_compare(slice_make(left->key, left->key_size), slice_make(right->key, right->key_size));
    if (order) return order;
    return (left->version > right->version) - (left->version < right->version);
}

static void copy_entries(const struct index_tail *tail, struct slice prefix, struct buf *out)
{
    size_t at = 0;
    for (struct index_stream *stream; tail && (stream = map_next(&tail->streams, &at));) {
        if (stream->key.size < prefix.size || memcmp(stream->key.data, prefix.data, prefix.size) != 0)
            continue;
        struct tail_entry entry = {.key_size = stream->key.size};
        memcpy(entry.key, stream->key.data, stream->key.size);
        entry.version = index_commit_end(&stream->commits[stream->commit_count - 1]) - 1;
        buf_put(out, &entry, sizeof entry);
    }
}

struct scan {
    struct lmdb_env_read *read;
    MDB_cursor *cursors[INDEX_RUNS_MAX];
    struct index_reader readers[INDEX_RUNS_MAX];
    bool ended[INDEX_RUNS_MAX];
    size_t run_count;
    struct slice prefix;
    struct buf tail;
    size_t tail_at;
    struct index_entry entry; /* of the reader that is least */
    struct index_reader *least;
};

static bool begins_with(struct slice key, struct slice prefix)
{
    return key.size >= prefix.size && (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

/* A run ends for the scan where the prefix does. */
static int scan_moved(struct scan *scan, size_t at, int code)
{
    scan->ended[at] = code == MDB_NOTFOUND ||
                      (code == 0 && !begins_with(index_reader_key(&scan->readers[at]), scan->prefix));
    return code == MDB_NOTFOUND ? 0 : code;
}

static int scan_open(struct scan *scan, struct index *index, size_t db, struct fault *fault)
{
    struct index_state state;
    if (!index->env) return 0;
    if (lmdb_env_begin(index->env, &scan->read, fault) < 0) return -1;
    int code = index_state_get(scan->read->txn, lmdb_env_db(index->env, INDEX_DB_META), &state);
    if (code == MDB_NOTFOUND) return 0;
    const struct index_runs *runs = db == INDEX_DB_IDS ? &state.ids : &state.streams;
    for (; code == 0 && scan->run_count < runs->count; scan->run_count++) {
        size_t at = scan->run_count;
        code = mdb_cursor_open(scan->read->txn, lmdb_env_db(index->env, db), &scan->cursors[at]);
        if (code) break;
        code = scan_moved(
            scan, at,
            index_reader_seek(&scan->readers[at], scan->cursors[at], runs->runs[at].number, scan->prefix));
    }
    return code ? index_fault(index, code, fault) : 0;
}

static void scan_close(struct scan *scan)
{
    for (size_t at = 0; at < INDEX_RUNS_MAX; at++)
        if (scan->cursors[at]) mdb_cursor_close(scan->cursors[at]);
    lmdb_env_end(scan->read);
    buf_release(&scan->tail);
}

static void scan_pick(struct scan *scan)
{
    scan->least = NULL;
    for (size_t at = 0; at < scan->run_count; at++) {
        struct index_reader *reader = &scan->readers[at];
        if (scan->ended[at]) continue;
        if (!scan->least || slice_compare(index_reader_key(reader), index_reader_key(scan->least)) < 0)
            scan->least = reader;
    }
}

static int scan_next(struct scan *scan)
{
    return scan_moved(scan, (size_t)(scan->least - scan->readers), index_reader_next(scan->least));
}

/* The stream that a later entry may continue. */
struct current {
    struct tail_entry stream;
    bool set;
};

/* Tells each of the stream before, once another begins. */
static bool current_meets(struct current *current, struct slice key, uint64_t version,
                          bool (*each)(void *, struct slice, uint64_t), void *user)
{
    struct slice now = slice_make(current->stream.key, current->stream.key_size);
    bool same = current->set && slice_equal(now, key);
    if (current->set && !same && !each(user, now, current->stream.version)) return false;
    if (!same) {
        memcpy(current->stream.key, key.data, key.size);
        current->stream.key_size = key.size;
        current->stream.version = 0;
        current->set = true;
    }
    if (version > current->stream.version) current->stream.version = version;
    return true;
}

static int scan_streams(struct scan *scan, struct index *index, bool (*each)(void *, struct slice, uint64_t),
                        void *user, struct fault *fault)
{
    struct current current = {0};
    const struct tail_entry *tail = (const struct tail_entry *)(void *)scan->tail.data;
    size_t tail_count = scan->tail.size / sizeof *tail;
    for (scan_pick(scan); scan->least || scan->tail_at < tail_count; scan_pick(scan)) {
        if (scan->least && !index_entry_read(index_reader_key(scan->least), scan->least->value, &scan->entry))
            return index_fault(index, MDB_CORRUPTED, fault);
        const struct tail_entry *next = scan->tail_at < tail_count ? &tail[scan->tail_at] : NULL;
        if (next &&
            (!scan->least || slice_compare(slice_make(next->key, next->key_size), scan->entry.key) <= 0)) {
            scan->tail_at++;
            if (!current_meets(&current, slice_make(next->key, next->key_size), next->version, each, user))
                return 0;
            continue;
        }
        uint64_t version = index_commit_end(&scan->entry.commits[scan->entry.count - 1]) - 1;
        if (!current_meets(&current, scan->entry.key, version, each, user)) return 0;
        int code = scan_next(scan);
        if (code) return index_fault(index, code, fault);
    }
    if (current.set)
        each(user, slice_make(current.stream.key, current.stream.key_size), current.stream.version);
    return 0;
}

int index_each_stream(struct index *index, struct slice prefix,
                      bool (*each)(void *user, struct slice key, uint64_t version), void *user,
                      struct fault *fault)
{
    struct scan *scan = MEM_NEW(struct scan);
    scan->prefix = prefix;
    pthread_rwlock_rdlock(&index->lock);
    copy_entries(index->frozen, prefix, &scan->tail);
    copy_entries(index->active, prefix, &scan->tail);
    pthread_rwlock_unlock(&index->lock);
    if (scan->tail.size)
        qsort(scan->tail.data, scan->tail.size / sizeof(struct tail_entry), sizeof(struct tail_entry),
              compare_entries);
    int result = scan_open(scan, index, INDEX_DB_STREAMS, fault);
    if (result == 0) result = scan_streams(scan, index, each, user, fault);
    scan_close(scan);
    mem_free(scan);
    return result;
}

/* --- for verify --- */

int index_disk_streams(struct index *index,
                       bool (*each)(void *user, struct slice key, const struct index_commit *commit),
                       void *user, struct fault *fault)
{
    struct scan *scan = MEM_NEW(struct scan);
    int result = scan_open(scan, index, INDEX_DB_STREAMS, fault);
    bool on = true;
    for (scan_pick(scan); result == 0 && scan->least && on; scan_pick(scan)) {
        if (!index_entry_read(index_reader_key(scan->least), scan->least->value, &scan->entry))
            result = index_fault(index, MDB_CORRUPTED, fault);
        for (size_t at = 0; result == 0 && at < scan->entry.count && on; at++)
            on = each(user, scan->entry.key, &scan->entry.commits[at]);
        int code = result == 0 ? scan_next(scan) : 0;
        if (code) result = index_fault(index, code, fault);
    }
    scan_close(scan);
    mem_free(scan);
    return result;
}

int index_disk_ids(struct index *index, bool (*each)(void *user, uint64_t hash, uint64_t place), void *user,
                   struct fault *fault)
{
    struct scan *scan = MEM_NEW(struct scan);
    int result = scan_open(scan, index, INDEX_DB_IDS, fault);
    for (scan_pick(scan); result == 0 && scan->least; scan_pick(scan)) {
        struct slice key = index_reader_key(scan->least);
        uint64_t place;
        if (key.size <= INDEX_HASH_SIZE ||
            !index_run_read_number(slice_make(key.data + INDEX_HASH_SIZE, key.size - INDEX_HASH_SIZE),
                                   &place)) {
            result = index_fault(index, MDB_CORRUPTED, fault);
            break;
        }
        if (!each(user, index_read_hash(key), place)) break;
        int code = scan_next(scan);
        if (code) result = index_fault(index, code, fault);
    }
    scan_close(scan);
    mem_free(scan);
    return result;
}

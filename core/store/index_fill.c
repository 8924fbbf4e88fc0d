/* Filling the filter with what the runs have.
 *
 * A thread reads them through one snapshot, which has all that was flushed before; what is flushed meanwhile
 * is kept as hashes and added at the end. So neither flushes nor look-ups wait for it: until then they have
 * the filter there was, or none. */
#include <stdatomic.h>

#include "base/check.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/thread.h"
#include "store/index_inside.h"

enum {
    EVENTS_LEAST = LIMIT_INDEX_BEHIND / 2, /* a hub under load; what only flushes a little before it goes does
                                              not read all runs for that */
    KEYS_AT_START = 1000000, /* more are read when the index is opened, before somebody is in a hurry */
    GROWTH = 4,
    LOOK_EVERY = 4096, /* keys between two looks whether it goes on */
    AHEAD = 16         /* keys between one that is expected and the one that is added */
};

struct index_fill {
    struct index *index;
    pthread_t thread;
    atomic_bool stop;
    bool gave_up; /* the thread's */
    bool ended;   /* the thread does nothing more; flush_lock */
    struct index_filter *filter;
    struct buf later; /* hashes of what was flushed meanwhile; flush_lock */
    uint64_t expected[AHEAD];
    size_t count; /* of all hashes given so far */
};

static void give(struct index_fill *fill, uint64_t hash)
{
    uint64_t *place = &fill->expected[fill->count % AHEAD];
    if (fill->count >= AHEAD) index_filter_add(fill->filter, *place);
    *place = hash;
    index_filter_expect(fill->filter, hash);
    fill->count++;
}

static void give_rest(struct index_fill *fill)
{
    size_t count = fill->count < AHEAD ? fill->count : AHEAD;
    for (size_t at = 0; at < count; at++) index_filter_add(fill->filter, fill->expected[at]);
}

/* The map grows when nobody reads, and look-ups wait for that. */
static bool is_unwanted(struct index_fill *fill)
{
    return atomic_load_explicit(&fill->stop, memory_order_relaxed) ||
           lmdb_env_is_waited_for(fill->index->env);
}

/* 0 and fill->gave_up, if it is unwanted; else an LMDB code. */
static int fill_run(struct index_fill *fill, MDB_cursor *cursor, size_t db, uint32_t run)
{
    struct index_reader reader;
    uint64_t last = 0, count = 0;
    int code = index_reader_first(&reader, cursor, run);
    for (; code == 0; code = index_reader_next(&reader)) {
        struct slice key = index_reader_key(&reader);
        uint64_t hash;
        if (count++ % LOOK_EVERY == 0 && is_unwanted(fill)) {
            fill->gave_up = true;
            return 0;
        }
        if (db == INDEX_DB_IDS) {
            if (key.size <= INDEX_HASH_SIZE) return MDB_CORRUPTED;
            hash = index_filter_of_id(index_read_hash(key));
        } else {
            struct slice stream = index_entry_stream(key);
            if (stream.size == 0) return MDB_CORRUPTED;
            hash = index_filter_of_stream(stream);
        }
        if (hash != last) give(fill, hash); /* the entries of a stream follow each other */
        last = hash;
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

/* False if a run is damaged or it gave up. */
static bool fill_from_runs(struct index_fill *fill)
{
    struct index *index = fill->index;
    struct lmdb_env_read *read;
    struct index_state state;
    if (lmdb_env_begin(index->env, &read, NULL) < 0) return false;
    int code = index_state_get(read->txn, lmdb_env_db(index->env, INDEX_DB_META), &state);
    for (size_t db = INDEX_DB_STREAMS; db <= INDEX_DB_IDS; db++) {
        const struct index_runs *runs = db == INDEX_DB_IDS ? &state.ids : &state.streams;
        for (size_t at = 0; code == 0 && !fill->gave_up && at < runs->count; at++)
            code = fill_run(fill, lmdb_env_cursor(read, db), db, runs->runs[at].number);
    }
    lmdb_env_end(read);
    if (code) index_fault(index, code, NULL);
    give_rest(fill);
    return code == 0 && !fill->gave_up;
}

/* Under flush_lock. */
static void publish(struct index_fill *fill)
{
    struct index *index = fill->index;
    for (size_t at = 0; at < fill->later.size; at += sizeof(uint64_t)) {
        uint64_t hash;
        memcpy(&hash, fill->later.data + at, sizeof hash);
        index_filter_add(fill->filter, hash);
    }
    pthread_rwlock_wrlock(&index->lock);
    struct index_filter *old = index->filter;
    index->filter = fill->filter;
    pthread_rwlock_unlock(&index->lock);
    fill->filter = old;
}

static void *fill_run_all(void *user)
{
    struct index_fill *fill = user;
    bool filled = fill_from_runs(fill);
    pthread_mutex_lock(&fill->index->flush_lock);
    if (filled) publish(fill);
    index_filter_free(fill->filter);
    buf_release(&fill->later);
    fill->ended = true;
    pthread_mutex_unlock(&fill->index->flush_lock);
    return NULL;
}

static uint64_t entries_of(const struct index_runs *runs)
{
    uint64_t entries = 0;
    for (size_t at = 0; at < runs->count; at++) entries += runs->runs[at].entries;
    return entries;
}

static uint64_t keys_of(const struct index_state *state)
{
    return entries_of(&state->streams) + entries_of(&state->ids);
}

/* 0 if there are none, or they are damaged. */
static uint64_t keys_of_runs(struct index *index)
{
    struct index_state state;
    return index_read_state(index, &state, NULL) < 0 ? 0 : keys_of(&state);
}

static void fill_begin(struct index *index, uint64_t keys)
{
    struct index_filter *filter = index_filter_new(keys * GROWTH);
    if (!filter) filter = index_filter_new(keys + keys / 8);
    if (!filter) return; /* too many */
    struct index_fill *fill = MEM_NEW(struct index_fill);
    fill->index = index;
    fill->filter = filter;
    index->fill = fill;
    if (thread_try(&fill->thread, fill_run_all, fill, "filter") == 0) return;
    index->fill = NULL; /* look-ups ask the runs as before */
    index_filter_free(filter);
    mem_free(fill);
}

static void add(void *filter, uint64_t hash)
{
    index_filter_add(filter, hash);
}

static void keep(void *later, uint64_t hash)
{
    buf_put(later, &hash, sizeof hash);
}

static void fill_free(struct index *index)
{
    pthread_join(index->fill->thread, NULL);
    mem_free(index->fill);
    index->fill = NULL;
}

void index_fill_cover(struct index *index)
{
    const struct index_tail *frozen = index->frozen;
    if (index->fill && index->fill->ended) fill_free(index);
    bool is_full =
        index->filter && !index_filter_has_room(index->filter, frozen->streams.size + frozen->id_count);
    if (index->filter) index_filter_each_of_tail(frozen, add, index->filter);
    if (index->fill)
        index_filter_each_of_tail(frozen, keep, &index->fill->later);
    else if (is_full || (!index->filter && frozen->events >= EVENTS_LEAST))
        fill_begin(index, keys_of_runs(index));
}

void index_fill_start(struct index *index)
{
    struct index_state state;
    if (index_read_state(index, &state, NULL) < 0 || keys_of(&state) < KEYS_AT_START) return;
    index->filter = index_kept_get(index, &state);
    if (!index->filter) fill_begin(index, keys_of(&state));
}

void index_fill_keep(struct index *index)
{
    struct index_state state;
    /* A full one is not worth it: the next start fills a larger one, or has none. */
    if (!index->filter || !index_filter_has_room(index->filter, 0)) return;
    if (index_read_state(index, &state, NULL) < 0 || keys_of(&state) < KEYS_AT_START) return;
    index_kept_put(index, &state);
}

void index_fill_end(struct index *index, bool stop)
{
    if (!index->fill) return;
    if (stop) atomic_store(&index->fill->stop, true);
    fill_free(index);
}

bool index_fill_is_under_way(struct index *index)
{
    pthread_mutex_lock(&index->flush_lock);
    bool is_under_way = index->fill && !index->fill->ended;
    pthread_mutex_unlock(&index->flush_lock);
    return is_under_way;
}

/* Writing the memory tail as sorted runs and merging runs.
 *
 * Invariants: the entries of one stream lie in runs by age, so the newest run that has the stream has its
 * last version; within a run they are in version order. A commit is in exactly one entry. */
#include <errno.h>
#include <stdio.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/limit.h"
#include "base/mem.h"
#include "store/index_mark.h"
#include "store/index_inside.h"

/* --- the runs that take part in a merge, read through a snapshot of their own, so that writing does not move
 * them --- */

struct merge {
    struct lmdb_env_read *read;
    struct index_reader readers[INDEX_RUNS_MAX];
    bool ended[INDEX_RUNS_MAX];
    size_t count;
    struct index_reader *least; /* of those at an entry */
};

static int merge_close(struct merge *merge, int code)
{
    for (size_t at = 0; at < merge->count; at++)
        if (merge->readers[at].cursor) mdb_cursor_close(merge->readers[at].cursor);
    lmdb_env_end(merge->read);
    return code;
}

/* MDB_NOTFOUND is the end of a run, not a failure. */
static int merge_moved(struct merge *merge, size_t at, int code)
{
    merge->ended[at] = code == MDB_NOTFOUND;
    return code == MDB_NOTFOUND ? 0 : code;
}

static void merge_pick(struct merge *merge)
{
    merge->least = NULL;
    for (size_t at = 0; at < merge->count; at++) {
        struct index_reader *reader = &merge->readers[at];
        if (merge->ended[at]) continue;
        if (!merge->least || slice_compare(index_reader_key(reader), index_reader_key(merge->least)) < 0)
            merge->least = reader;
    }
}

static int merge_next(struct merge *merge)
{
    size_t at = (size_t)(merge->least - merge->readers);
    int code = merge_moved(merge, at, index_reader_next(merge->least));
    merge_pick(merge);
    return code;
}

/* Opens the newest runs that the tail's entries, added to them, have outgrown; takes them off the list. */
static int merge_open(struct merge *merge, struct index *index, size_t db, struct index_runs *runs,
                      uint64_t entries)
{
    *merge = (struct merge){0};
    int code = 0;
    while (runs->count &&
           (runs->runs[runs->count - 1].entries <= 4 * entries || runs->count == INDEX_RUNS_MAX)) {
        entries += runs->runs[--runs->count].entries;
        merge->count++;
    }
    if (!merge->count) return 0;
    if (lmdb_env_begin(index->env, &merge->read, NULL) < 0) {
        merge->count = 0;
        return MDB_READERS_FULL;
    }
    for (size_t at = 0; at < merge->count && !code; at++) {
        MDB_cursor *cursor = NULL;
        code = mdb_cursor_open(merge->read->txn, lmdb_env_db(index->env, db), &cursor);
        if (!code)
            code = merge_moved(
                merge, at,
                index_reader_first(&merge->readers[at], cursor, runs->runs[runs->count + at].number));
    }
    if (code) return code;
    merge_pick(merge);
    return 0;
}

/* Removes what was merged and enters the new run. */
static int merge_finish(struct merge *merge, MDB_txn *txn, struct index_writer *writer,
                        struct index_runs *runs)
{
    int code = index_writer_end(writer);
    for (size_t at = 0; at < merge->count && !code; at++)
        code = index_run_remove(txn, writer->db, merge->readers[at].run);
    if (!code && writer->entries) {
        CHECK(runs->count < INDEX_RUNS_MAX);
        runs->runs[runs->count++] = (struct index_run){writer->run, writer->entries};
    }
    return code;
}

/* --- streams --- */

/* Gathers a stream's commits into entries of up to INDEX_ENTRY_COMMITS_MAX. */
struct gather {
    struct index_writer *writer;
    char key[INDEX_ENTRY_KEY_MAX];
    size_t key_size;
    struct index_commit commits[INDEX_ENTRY_COMMITS_MAX];
    size_t count;
    struct buf value;
};

static int gather_end(struct gather *gather)
{
    if (!gather->count) return 0;
    size_t size =
        gather->key_size + index_run_put_number(gather->key + gather->key_size, gather->commits[0].version);
    buf_clear(&gather->value);
    index_entry_value(gather->commits, gather->count, &gather->value);
    gather->count = 0;
    return index_writer_add(gather->writer, slice_make(gather->key, size), buf_slice(&gather->value));
}

static int gather_add(struct gather *gather, struct slice key, const struct index_commit *commits,
                      size_t count)
{
    for (size_t at = 0; at < count; at++) {
        bool follows = gather->count && gather->count < INDEX_ENTRY_COMMITS_MAX &&
                       slice_equal(key, slice_make(gather->key, gather->key_size)) &&
                       index_commit_end(&gather->commits[gather->count - 1]) == commits[at].version;
        if (!follows) {
            int code = gather_end(gather);
            if (code) return code;
            memcpy(gather->key, key.data, key.size);
            gather->key_size = key.size;
        }
        gather->commits[gather->count++] = commits[at];
    }
    return 0;
}

/* Everything of the runs up to and including the stream `until` (NULL: to the end). */
static int gather_runs(struct gather *gather, struct merge *merge, const struct slice *until)
{
    while (merge->least) {
        struct index_entry entry;
        if (!index_entry_read(index_reader_key(merge->least), merge->least->value, &entry))
            return MDB_CORRUPTED;
        if (until && slice_compare(entry.key, *until) > 0) return 0;
        int code = gather_add(gather, entry.key, entry.commits, entry.count);
        if (code || (code = merge_next(merge))) return code;
    }
    return 0;
}

static int flush_streams(struct index *index, MDB_txn *txn, const struct index_tail *tail,
                         struct index_state *state)
{
    struct merge merge;
    if (tail->streams.size == 0) return 0;
    struct index_writer writer = {
        .txn = txn, .db = lmdb_env_db(index->env, INDEX_DB_STREAMS), .run = ++state->run_last};
    struct gather gather = {.writer = &writer};
    const struct index_stream **sorted = index_tail_sorted_streams(tail);
    int code = merge_open(&merge, index, INDEX_DB_STREAMS, &state->streams, tail->streams.size);
    for (size_t at = 0; at < tail->streams.size && !code; at++) {
        code = gather_runs(&gather, &merge, &sorted[at]->key);
        if (!code) code = gather_add(&gather, sorted[at]->key, sorted[at]->commits, sorted[at]->commit_count);
    }
    if (!code) code = gather_runs(&gather, &merge, NULL);
    if (!code) code = gather_end(&gather);
    if (!code) code = merge_finish(&merge, txn, &writer, &state->streams);
    buf_release(&gather.value);
    index_writer_release(&writer);
    mem_free(sorted);
    return merge_close(&merge, code);
}

/* --- ids: key = hash (5 bytes, big endian) and index_run_put_number(place), no value --- */

static int put_id(struct index_writer *writer, struct index_id id, struct merge *merge)
{
    char key[INDEX_HASH_SIZE + 9];
    for (int at = 0; at < INDEX_HASH_SIZE; at++)
        key[at] = (char)(id.hash >> (8 * (INDEX_HASH_SIZE - 1 - at)));
    struct slice entry =
        slice_make(key, INDEX_HASH_SIZE + index_run_put_number(key + INDEX_HASH_SIZE, id.place));
    while (merge->least && slice_compare(index_reader_key(merge->least), entry) < 0) {
        int code = index_writer_add(writer, index_reader_key(merge->least), SLICE_NONE);
        if (code || (code = merge_next(merge))) return code;
    }
    return index_writer_add(writer, entry, SLICE_NONE);
}

static int flush_ids(struct index *index, MDB_txn *txn, const struct index_tail *tail,
                     struct index_state *state)
{
    struct merge merge;
    if (tail->id_count == 0) return 0;
    struct index_writer writer = {
        .txn = txn, .db = lmdb_env_db(index->env, INDEX_DB_IDS), .run = ++state->run_last};
    struct index_id *sorted = index_tail_sorted_ids(tail);
    int code = merge_open(&merge, index, INDEX_DB_IDS, &state->ids, tail->id_count);
    for (size_t at = 0; at < tail->id_count && !code; at++) code = put_id(&writer, sorted[at], &merge);
    while (merge.least && !code) {
        code = index_writer_add(&writer, index_reader_key(merge.least), SLICE_NONE);
        if (!code) code = merge_next(&merge);
    }
    if (!code) code = merge_finish(&merge, txn, &writer, &state->ids);
    index_writer_release(&writer);
    mem_free(sorted);
    return merge_close(&merge, code);
}

/* --- both --- */

struct flush {
    struct index *index;
    int code; /* what the last attempt ended with */
};

static int write_runs(struct index *index, MDB_txn *txn)
{
    const struct index_tail *tail = index->frozen;
    struct index_state state = {0};
    MDB_dbi meta = lmdb_env_db(index->env, INDEX_DB_META);
    int code = index_state_get(txn, meta, &state);
    if (code && code != MDB_NOTFOUND) return code;
    code = flush_streams(index, txn, tail, &state);
    if (!code) code = flush_ids(index, txn, tail, &state);
    if (!code && fault_point(POINT_INDEX_WRITE)) code = errno;
    struct index_checkpoint *checkpoint = &state.checkpoint;
    if (tail->commits) {
        checkpoint->position = tail->position;
        checkpoint->commits += tail->commits;
        checkpoint->chain = tail->chain;
    }
    if (tail->outcomes) checkpoint->outcomes = tail->outcomes;
    return code ? code : index_state_put(txn, meta, &state);
}

static int write_tail(MDB_txn *txn, void *user)
{
    struct flush *flush = user;
    return flush->code = write_runs(flush->index, txn);
}

/* Invariant: only flush, under flush_lock, sets and clears frozen; it stays set after a failure and is tried
 * again. */
static void freeze(struct index *index)
{
    pthread_rwlock_wrlock(&index->lock);
    if (!index->frozen && index->active->events) {
        index->frozen = index->active;
        index->active = MEM_NEW(struct index_tail);
    }
    pthread_rwlock_unlock(&index->lock);
}

static int flush_frozen(struct index *index, uint64_t *events, struct fault *fault)
{
    struct index_tail *frozen = index->frozen;
    struct flush flush = {.index = index};
    lmdb_env_check_readers(index->env);
    if (lmdb_env_update(index->env, frozen->events * 64, write_tail, &flush, fault) < 0)
        return flush.code == MDB_CORRUPTED ? index_fault(index, flush.code, fault) : -1;
    index_fill_cover(index);
    pthread_rwlock_wrlock(&index->lock);
    index->frozen = NULL;
    pthread_rwlock_unlock(&index->lock);
    *events += frozen->events;
    index_tail_release(frozen);
    mem_free(frozen);
    return 0;
}

/* Before the first write of this boot: from now on a crash of the machine may tear the files. What was found
 * damaged stays without a mark. */
static int mark_dirty(struct index *index, struct fault *fault)
{
    char mark[4096];
    if (index->marked_dirty || index->damaged) return 0;
    snprintf(mark, sizeof mark, "%s/mark", index->path);
    if (index_mark_write(mark, index->log_id, false, fault) < 0) return -1;
    index->marked_dirty = true;
    return 0;
}

int index_flush(struct index *index, uint64_t *events, struct fault *fault)
{
    int result = 0;
    *events = 0;
    CHECK(!index->read_only);
    pthread_mutex_lock(&index->flush_lock);
    /* What an earlier flush could not write goes first; then what is there now. */
    bool earlier = index->frozen != NULL;
    freeze(index);
    if (index->frozen) {
        result = mark_dirty(index, fault);
        if (result == 0) result = flush_frozen(index, events, fault);
        if (result == 0 && earlier) {
            freeze(index);
            if (index->frozen) result = flush_frozen(index, events, fault);
        }
    }
    pthread_mutex_unlock(&index->flush_lock);
    return result;
}

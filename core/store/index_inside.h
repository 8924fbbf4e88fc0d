/* index_inside.h: what the files of the index share. For index*.c only. */
#ifndef LORE_STORE_INDEX_INSIDE_H
#define LORE_STORE_INDEX_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/index.h"
#include "store/index_filter.h"
#include "store/index_run.h"

enum { INDEX_DB_META, INDEX_DB_STREAMS, INDEX_DB_IDS };
/* Each run is at least four times as long as the next, so there are never many. */
enum { INDEX_RUNS_MAX = 32, INDEX_ENTRY_COMMITS_MAX = 64, INDEX_HASH_SIZE = 5 };

struct index_run {
    uint32_t number;
    uint64_t entries;
};

struct index_runs { /* of one database, oldest first */
    struct index_run runs[INDEX_RUNS_MAX];
    size_t count;
};

/* The one value of the meta database: what the runs are and what they cover. */
struct index_state {
    struct index_checkpoint checkpoint;
    uint32_t run_last; /* the highest number given to a run */
    struct index_runs streams, ids;
};

struct index {
    struct lmdb_env *env; /* NULL: nothing usable on disk (read_only) */
    char *path;
    char log_id[37];
    bool read_only;
    bool marked_dirty;   /* in this boot */
    atomic_bool damaged; /* found while reading; it has no mark any more and gets none */
    /* Guards the tails and the filter. The frozen one is being flushed and does not change; it may be gone
     * when its commit is on disk and its keys are in the filter. */
    pthread_rwlock_t lock;
    struct index_tail *active, *frozen;
    struct index_filter *filter; /* of all keys on disk; NULL: none */
    pthread_mutex_t flush_lock;
    struct index_fill *fill; /* a filter that is being filled, or was; NULL: none. flush_lock */
};

/* The path of a file in the directory of the index, put into file. */
const char *index_file(const struct index *index, const char *name, char file[4096]);

/* 0; MDB_NOTFOUND: none yet; MDB_CORRUPTED. */
int index_state_get(MDB_txn *txn, MDB_dbi db, struct index_state *state);
/* As it is on disk now; zeros: none yet. */
int index_read_state(struct index *index, struct index_state *state, struct fault *fault);
int index_state_put(MDB_txn *txn, MDB_dbi db, const struct index_state *state);

/* A run's entry of a stream: key = stream key and index_run_put_number(first version). */
struct index_entry {
    struct slice key; /* of the stream */
    struct index_commit commits[INDEX_ENTRY_COMMITS_MAX];
    size_t count;
};
/* The stream's key within an entry's; empty: the key is damaged. */
struct slice index_entry_stream(struct slice key);
bool index_entry_read(struct slice key, struct slice value, struct index_entry *entry);
void index_entry_value(const struct index_commit *commits, size_t count, struct buf *value);
static inline uint64_t index_commit_end(const struct index_commit *commit)
{
    return commit->version + commit->count;
}

/* Whether the runs may have the key that hash stands for (index_filter.h). Under lock. */
static inline bool index_runs_may_have(const struct index *index, uint64_t hash)
{
    return !index->filter || index_filter_may_have(index->filter, hash);
}

/* The hash that the key of an entry of ids begins with. */
uint64_t index_read_hash(struct slice key);

/* index_fill.c: what is in the runs by now, the frozen tail last, is in the filter, if there is one. Where it
 * has become too small, or is worth having, another one is filled by a thread of its own. Under flush_lock.
 */
void index_fill_cover(struct index *index);
/* When the index is opened to be written to: takes the one that was kept, or begins to fill one, where that
 * takes its time. */
void index_fill_start(struct index *index);
/* When it is closed with all it has on disk: keeps one that would take its time. */
void index_fill_keep(struct index *index);
/* Waits until nothing is being filled, which stop hastens. Not under flush_lock, nobody flushes. */
void index_fill_end(struct index *index, bool stop);
bool index_fill_is_under_way(struct index *index);

/* index_kept.c: the filter of a closed index, if it is a large one. put: of one that is whole, under its
 * mark; what cannot be written is not there. get: NULL if there is none of this very state. */
#define INDEX_KEPT_NAME "filter"
void index_kept_put(const struct index *index, const struct index_state *state);
struct index_filter *index_kept_get(const struct index *index, const struct index_state *state);

/* The fault of an LMDB code met while reading the index. */
int index_fault(struct index *index, int code, struct fault *fault);

#endif

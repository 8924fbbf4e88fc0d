/* lmdb_env.h: one LMDB environment with its traps handled, for the log and its index.
 *
 *   - The map grows by itself: between transactions, when nobody reads; a reader that comes meanwhile waits.
 * A thread that already reads may begin another read at any time, so nested reads never wait for a growth
 * that waits for them.
 *   - Room on disk is taken before the transaction, so that a full disk is met before anything is written.
 *   - Read transactions are kept and renewed, since opening one costs a slot in a shared table.
 *   - One file is never opened twice by one process: LMDB's locks belong to the process.
 *
 *     struct lmdb_env_read *read;
 *     if (lmdb_env_begin(env, &read, &fault) < 0) ...
 *     MDB_cursor *cursor = lmdb_env_cursor(read, 0);
 *     lmdb_env_end(read);
 *
 * Threads: updates by one at a time, reads by any; a read is ended by the thread that began it. Owns: the
 * environment. */
#ifndef LORE_STORE_LMDB_ENV_H
#define LORE_STORE_LMDB_ENV_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/slice.h"

struct lmdb_env;

enum { LMDB_ENV_DBS_MAX = 4 };

struct lmdb_env_options {
    const char *path; /* a directory, made if it is not there and not read_only */
    bool read_only;
    bool derived;      /* written without fsync; a failed write is a fault, never the end of the process */
    uint64_t map_size; /* 0: default */
    size_t db_count;
    const char *db_names[LMDB_ENV_DBS_MAX];
    unsigned db_flags[LMDB_ENV_DBS_MAX];
};

struct lmdb_env_read {
    struct lmdb_env *env;
    MDB_txn *txn;
    MDB_cursor *cursors[LMDB_ENV_DBS_MAX]; /* opened when first asked for; kept with the transaction */
    bool cursors_stale[LMDB_ENV_DBS_MAX];
    struct lmdb_env_read *next;
};

int lmdb_env_open(const struct lmdb_env_options *options, struct lmdb_env **env, struct fault *fault);
/* Gives unused preallocated room back to the disk. derived: syncs first. */
void lmdb_env_close(struct lmdb_env *env);

/* Fault: UNAVAILABLE: too many readers, or another process made the map grow while this thread reads. */
int lmdb_env_begin(struct lmdb_env *env, struct lmdb_env_read **read, struct fault *fault);
void lmdb_env_end(struct lmdb_env_read *read);
/* Whether somebody waits for all reads to end: who reads for long gives up. */
bool lmdb_env_is_waited_for(struct lmdb_env *env);
/* The read's cursor of a database (by its place in options), shared by all who ask for it in this read.
 * NULL if the database is damaged: LMDB answers EINVAL to that, and lmdb_env_fault tells it as damage. */
MDB_cursor *lmdb_env_cursor(struct lmdb_env_read *read, size_t db);
MDB_dbi lmdb_env_db(struct lmdb_env *env, size_t db);

/* One write transaction: makes room for about bytes, calls write (which returns an LMDB code and may be
 * called again after the map grew) and commits. When it returns -1 nothing of it is there. A failed fsync of
 * a file that is not derived stops the process. Faults: DISK, CORRUPT. */
int lmdb_env_update(struct lmdb_env *env, uint64_t bytes, int (*write)(MDB_txn *txn, void *user), void *user,
                    struct fault *fault);
/* A copy of what is committed now into another directory, which is made; beside a process that writes, too.
 * Durable. */
int lmdb_env_copy(struct lmdb_env *env, const char *path, struct fault *fault);
/* derived: fsync. */
int lmdb_env_sync(struct lmdb_env *env, struct fault *fault);
/* Makes the names of the files in the environment's directory durable. */
int lmdb_env_sync_directory(struct lmdb_env *env, struct fault *fault);
/* Frees the slots of readers that died. */
void lmdb_env_check_readers(struct lmdb_env *env);
/* The fault of an LMDB code; returns -1. */
int lmdb_env_fault(struct lmdb_env *env, int code, struct fault *fault);
/* Bytes in use (pages up to the last one used) and size of the map. */
uint64_t lmdb_env_size(struct lmdb_env *env, uint64_t *map_size);

static inline MDB_val lmdb_val(struct slice slice)
{
    return (MDB_val){slice.size, (void *)(uintptr_t)slice.data};
}
static inline struct slice lmdb_slice(MDB_val val)
{
    return slice_make(val.mv_data, val.mv_size);
}

#endif

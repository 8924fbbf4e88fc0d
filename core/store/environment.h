/* environment.h: one LMDB environment of derived data (documents, snapshots), for store/ only.
 *
 *     struct environment_options options = {.path = "views/x", .databases_max = 3};
 *     bool dirty;
 *     environment_open(&options, &environment, &dirty, &fault);
 *     environment_read(environment, &txn, &fault);  ... mdb_get ...  environment_read_end(environment, txn);
 *
 * It is written without fsync: LMDB's order of writes keeps it whole when the process is killed, not when the
 * machine stops. So a file "boot" beside the data holds the boot id while somebody writes and "clean" after
 * an orderly close (which fsyncs first); an environment of another boot that is not clean is dirty: nobody
 * may look into it.
 *
 * The map is large address space from the beginning. When it is full nevertheless, environment_grow waits
 * until no transaction of this process is open, since LMDB cannot move the map under one.
 *
 * Threads: any; write transactions one at a time, begun and ended by the same thread.
 * Owns: the environment, transactions that wait for reuse. */
#ifndef LORE_STORE_ENVIRONMENT_H
#define LORE_STORE_ENVIRONMENT_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

struct environment;

struct environment_options {
    const char *path; /* directory; made if it is not there, unless read_only */
    bool read_only;   /* beside a process that writes; only takes a reader slot in lock.mdb */
    unsigned int databases_max;
    uint64_t map_size; /* bytes to begin with; 0: default */
};

/* *dirty: the environment holds nothing to look at; it may only be closed and destroyed. Faults: NOT_FOUND
 * (read_only), PERMISSION, DISK, CORRUPT. */
int environment_open(const struct environment_options *options, struct environment **environment, bool *dirty,
                     struct fault *fault);
/* fsyncs, marks clean (unless read_only or dirty), frees. No transaction may be open. */
void environment_close(struct environment *environment);
/* Removes a closed environment's directory; one that is not there is no fault. */
int environment_destroy(const char *path, struct fault *fault);

/* Closes one that nobody needs any more, without a flush, and removes its directory. */
int environment_discard(struct environment *environment, struct fault *fault);

const char *environment_path(const struct environment *environment);
MDB_env *environment_mdb(const struct environment *environment);
/* Bytes that the data file takes on disk. */
uint64_t environment_size(const struct environment *environment);

/* A snapshot; reused transactions cost no lock. Faults: BUSY (too many readers), CORRUPT, DISK. */
int environment_read(struct environment *environment, MDB_txn **txn, struct fault *fault);
void environment_read_end(struct environment *environment, MDB_txn *txn);

/* Waits for the writer before. End it with environment_commit or environment_abort. */
int environment_write(struct environment *environment, MDB_txn **txn, struct fault *fault);
/* An MDB error code as it is, so that the caller can grow and repeat after MDB_MAP_FULL. */
int environment_commit(struct environment *environment, MDB_txn *txn);
void environment_abort(struct environment *environment, MDB_txn *txn);

/* Doubles the map once no transaction is open. Called without one. */
int environment_grow(struct environment *environment, struct fault *fault);
/* How often it grew (tests). */
unsigned int environment_grown(const struct environment *environment);

/* A clean copy of what is committed now, in a new directory. */
int environment_copy(struct environment *environment, const char *path, struct fault *fault);

/* An MDB or errno code as a fault: "<path>: <doing>: <why>". */
int environment_fault(const struct environment *environment, int code, const char *doing,
                      struct fault *fault);

#endif

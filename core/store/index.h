/* index.h: which stream is where, and which command id was answered where. Derived from the log, in
 * data/index/.
 *
 * The newest part is in memory (index_tail.h); index_flush writes it behind the log as sorted runs
 * (index_run.h) together with the checkpoint up to which the runs cover the log, in one transaction and
 * without fsync. The file `mark` beside them says of which log and boot they are and whether they were closed
 * cleanly: what may have been torn by a crash of the machine is dropped unread, and the caller feeds the log
 * again from the checkpoint.
 *
 * Every look-up asks the memory first and the disk second, so a flush that ends in between is seen in both or
 * in one, never in neither.
 *
 * Threads: add by one; flush by one, concurrently with add; look-ups by any. Owns: the environment and the
 * memory. */
#ifndef LORE_STORE_INDEX_H
#define LORE_STORE_INDEX_H

#include "base/fault.h"
#include "base/hash.h"
#include "store/index_run.h"
#include "store/index_tail.h"
#include "store/lmdb_env.h"

struct index;

struct index_checkpoint {
    uint64_t position, outcomes; /* the runs cover the log up to here */
    uint64_t commits;
    struct hash chain; /* of the last commit covered */
};

struct index_options {
    const char *path;
    bool read_only;
    uint64_t map_size;
    const char *log_id;
    /* Whether the log has this checkpoint. */
    bool (*agrees)(void *log, const struct index_checkpoint *checkpoint);
    void *log;
};

/* Opens, or drops what cannot be used and begins anew (read_only: then nothing on disk is used). */
int index_open(const struct index_options *options, struct index **index, struct index_checkpoint *checkpoint,
               struct fault *fault);
/* Marks it clean if all is flushed; does not flush. */
void index_close(struct index *index);

/* Records in log order, from the checkpoint on without a gap; numbers[n] is that of an outcome, 0 for a
 * commit. */
void index_add(struct index *index, const struct record *records, const uint64_t *numbers, size_t count);
int index_flush(struct index *index, uint64_t *events, struct fault *fault);
/* Events and outcomes in memory only. */
uint64_t index_behind(struct index *index);
/* Bytes of the file on disk that are in use. */
uint64_t index_size(struct index *index);
/* read_only, for logs that another process goes on writing: what is on disk covers now, and a memory that
 * begins there in place of the one so far (taken). */
int index_checkpoint_now(struct index *index, struct index_checkpoint *checkpoint, struct fault *fault);
void index_replace_take(struct index *index, struct index_tail *tail);

/* Version and position of the stream's last event; 0 and 0 if it has no commit. */
int index_stream_head(struct index *index, struct slice key, uint64_t *version, uint64_t *position,
                      struct fault *fault);

/* The commits of a stream in version order, from the one that holds version. */
struct index_walk;
int index_walk_open(struct index *index, struct slice key, uint64_t version, struct index_walk **walk,
                    struct fault *fault);
/* 1: *commit; 0: the end; -1 fault. */
int index_walk_next(struct index_walk *walk, struct index_commit *commit, struct fault *fault);
void index_walk_close(struct index_walk *walk);

/* Appends the places (see struct index_id) that have this hash, 8 bytes each: the caller looks there. */
int index_places(struct index *index, uint64_t hash, struct buf *places, struct fault *fault);

/* Every stream whose key begins with prefix, in key order. */
int index_each_stream(struct index *index, struct slice prefix,
                      bool (*each)(void *user, struct slice key, uint64_t version), void *user,
                      struct fault *fault);

/* What is on disk into a new directory, as that of a log with this id. Nothing if there is nothing of use. */
int index_copy(struct index *index, const char *path, const char *log_id, struct fault *fault);

/* --- for verify: what is on disk, entry by entry --- */

/* 1 and the state; 0: there is none that could be used (*why says so, "" if the index was never made); -1
 * fault. */
int index_disk_open(const char *path, const char *log_id, struct index **index,
                    struct index_checkpoint *checkpoint, char why[256], struct fault *fault);
/* Calls each for every commit that the runs hold. */
int index_disk_streams(struct index *index,
                       bool (*each)(void *user, struct slice key, const struct index_commit *commit),
                       void *user, struct fault *fault);
int index_disk_ids(struct index *index, bool (*each)(void *user, uint64_t hash, uint64_t place), void *user,
                   struct fault *fault);
/* The filter (index_filter.h) that is kept for what the runs are now, for the caller to free; NULL: none. */
struct index_filter *index_disk_filter(struct index *index);
/* Whether the runs alone have the place under the hash. */
int index_disk_has(struct index *index, uint64_t hash, uint64_t place, struct fault *fault);

#endif

/* engine.h: the log, behind an interface. Two engines: LMDB (engine_lmdb.c) and a plain in-memory model for
 * tests (engine_memory.c); both pass tests/contract. A third shows another engine as it was (engine_past.c).
 *
 * Rules, for every engine:
 *  1. append is conditional per commit and atomic as a batch on disk: when it returns 0 every commit whose
 * outcome is APPENDED is durable and the others changed nothing. When it returns -1 nothing of the batch is
 * there.
 *  2. Positions are gapless from 1 in log order, versions of a stream gapless from 1. Commits of one batch to
 * one stream build on each other.
 *  3. Nobody may assume to be the only one that appends: a commit names the version it was decided on, and a
 * stream that is elsewhere answers CONFLICT with the version it has.
 *  4. What a cursor or a find returns is borrowed until the cursor's next call or close. Cursors are short:
 * they pin old pages of the file.
 *  5. After append returned, every reader that starts later sees it, indexes included: what is not yet in the
 * index on disk is answered from memory.
 *
 * Threads: append, meta_put and flush by one thread at a time; all reading calls by any, concurrently with
 * it. Owns: names, head. */
#ifndef LORE_STORE_ENGINE_H
#define LORE_STORE_ENGINE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/hash.h"
#include "codec/names.h"
#include "codec/record.h"

struct engine;

struct stream_id {
    struct slice tenant;
    struct slice aggregate; /* "billing/bill" */
    struct slice id;
};

struct engine_head {
    uint64_t position;   /* of the last event; 0: empty */
    uint64_t commits;    /* commits with positions */
    uint64_t outcomes;   /* rejections and acceptances without events */
    uint64_t epoch;      /* 1 until a promotion */
    int64_t recorded_ms; /* of the last record */
    struct hash chain;   /* of the last commit */
    struct hash outcome_chain;
    char log_id[37]; /* a UUID drawn when the log was made: first part of event ids */
};

enum append_outcome { APPEND_APPENDED, APPEND_CONFLICT };

struct append {
    struct commit *commit; /* borrowed; first_position, recorded_ms and epoch are filled in when it is
                              appended. COMMIT, FACT: first_version - 1 is the version it was decided on. */
    bool follows; /* it was decided on the commit to its stream before it in this batch: if that one is a
                     CONFLICT so is this, even if its version would fit by chance */
    enum append_outcome outcome;
    uint64_t stream_version; /* after the append; on CONFLICT: where the stream is */
};

struct engine_cursor; /* reads records in log order */

struct engine_options {
    const char *path;    /* the data directory; NULL for memory */
    bool read_only;      /* for look-ups and verify beside a running hub: no lock taken, nothing written */
    uint64_t map_size;   /* bytes to begin with; 0: default; grows by itself */
    struct clock *clock; /* NULL: the machine's */
};

/* Opens or creates the log under path. Takes the directory's lock unless read_only (fault IN_USE with the
 * holder's pid). Catches the index up with the log before it returns. Faults: IN_USE, PERMISSION, DISK,
 * CORRUPT, NOT_FOUND (read_only: no log, or one that was never written to). */
int engine_open_lmdb(const struct engine_options *options, struct engine **engine, struct fault *fault);
/* The process that has the directory, 0: none, or the system does not tell. */
long engine_lmdb_holder(const char *path);
int engine_open_memory(const struct engine_options *options, struct engine **engine, struct fault *fault);
/* The log of another engine as it was when its head was at position, for reading only: of what came later
 * nothing is there, and what is appended to it meanwhile does not appear. A commit that goes on behind the
 * position is cut to the events before it. Outcomes have no position: those recorded up to recorded_ms are
 * there; INT64_MIN: up to the last commit's. Counts its commits, so it costs a scan of them. Named values are
 * those of now. append and meta_put are refused (UNAVAILABLE). The names are the base's and may know more.
 * owns: closes the base with it, else the base must outlive it. Fault: NOT_FOUND, the head is not that far.
 */
int engine_open_past(struct engine *base, bool owns, uint64_t position, int64_t recorded_ms,
                     struct engine **engine, struct fault *fault);
/* Flushes the index, closes, releases the lock. No cursor may be open. */
void engine_close(struct engine *engine);

struct names *engine_names(struct engine *engine);
/* A snapshot of the head of what is durable. */
struct engine_head engine_head(struct engine *engine);

/* See the rules. Faults: DISK (full or failed; the log is as before and further appends may succeed later). A
 * failed fsync stops the process (say_stop). */
int engine_append(struct engine *engine, struct append *batch, size_t count, struct fault *fault);

/* Log order, from the commit that holds position (or the first behind it). Sees the log as of the open. */
int engine_read(struct engine *engine, uint64_t position, struct engine_cursor **cursor, struct fault *fault);
/* The records of one stream in version order, from the commit that holds version. */
int engine_read_stream(struct engine *engine, const struct stream_id *stream, uint64_t version,
                       struct engine_cursor **cursor, struct fault *fault);
/* Rejections and acceptances without events, in order, from number n (1..). */
int engine_read_outcomes(struct engine *engine, uint64_t number, struct engine_cursor **cursor,
                         struct fault *fault);
/* 1: *record is filled; 0: the end; -1: fault (CORRUPT). */
int engine_cursor_next(struct engine_cursor *cursor, struct record *record, struct fault *fault);
void engine_cursor_close(struct engine_cursor *cursor);

/* The stream's version and the position of its last event; 0 and 0 if it was never written. */
int engine_stream_head(struct engine *engine, const struct stream_id *stream, uint64_t *version,
                       uint64_t *position, struct fault *fault);
/* The same as of when the log's head was at bound: the last version with a position up to it, found by halves
 * if the stream went on since. */
int engine_stream_at(struct engine *engine, const struct stream_id *stream, uint64_t bound, uint64_t *version,
                     uint64_t *position, struct fault *fault);
/* The record (commit or outcome) that answered a command (or batch) of this id given by its caller. 1: found,
 * copied to bytes (record is opened over bytes); 0: none; -1: fault. */
int engine_find_command(struct engine *engine, const struct stream_id *stream, struct slice command_id,
                        struct buf *bytes, struct record *record, struct fault *fault);
/* Streams in order of (tenant, aggregate, id): calls each with every stream of tenant and aggregate; stops
 * when it returns false. */
int engine_each_stream(struct engine *engine, struct slice tenant, struct slice aggregate,
                       bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                       struct fault *fault);

/* The same of those whose id begins so: the first is found without walking those before. */
int engine_each_stream_beginning(struct engine *engine, struct slice tenant, struct slice aggregate,
                                 struct slice beginning,
                                 bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                                 struct fault *fault);

/* Small named values kept durably beside the log (deploys, checkpoints). get: 1 found, 0 none, -1 fault. */
int engine_meta_put(struct engine *engine, struct slice key, struct slice value, struct fault *fault);
int engine_meta_get(struct engine *engine, struct slice key, struct buf *value, struct fault *fault);

/* Writes what the index lags behind, so that a later open has nothing to do. Called by a thread of its own:
 * reads the log, writes sorted runs; append goes on meanwhile. Returns the events flushed through *events. */
int engine_flush_index(struct engine *engine, uint64_t *events, struct fault *fault);
/* Events not yet in the index on disk. */
uint64_t engine_index_behind(struct engine *engine);

#endif

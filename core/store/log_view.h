/* log_view.h: the log as of one moment: what LMDB has, then what is still in memory. For engine_lmdb*.c and
 * verify*.c.
 *
 *     struct log_view view;
 *     if (engine_lmdb_view(lmdb, &view, &fault) < 0) ...
 *     struct log_scan scan;
 *     if (log_scan_open(&scan, &view, LOG_DB_COMMITS, position, &fault) == 0)
 *         while (log_scan_next(&scan, &number, &bytes, &fault) > 0) ...
 *     log_scan_close(&scan);
 *     log_view_close(&view);
 *
 * Invariant: the tails are held before LMDB is read, and a tail goes only after LMDB has what it holds. So a
 * record is in one of them or in both, never in neither.
 *
 * Threads: one at a time for each view. Owns: a read of LMDB, references to tails. */
#ifndef LORE_STORE_LOG_VIEW_H
#define LORE_STORE_LOG_VIEW_H

#include "store/lmdb_env.h"
#include "store/log_tail.h"

struct engine_lmdb;

enum { LOG_VIEW_TAILS = 2 };

struct log_view {
    struct engine_lmdb *lmdb;
    struct lmdb_env_read *read;                    /* NULL: not needed so far */
    struct log_tail *tails[LOG_VIEW_TAILS];        /* older first; NULL: none */
    size_t counts[LOG_VIEW_TAILS][LOG_TAIL_LISTS]; /* of their records, as of the moment */
};

/* Of what is appended by now; read: taken over, or NULL and begun when needed. */
void log_view_open(struct log_view *view, struct engine_lmdb *lmdb, struct lmdb_env_read *read);
void log_view_close(struct log_view *view);
/* The record whose first position (or outcome number) is number. 1; 0: none; -1 fault. */
int log_view_get(struct log_view *view, size_t db, uint64_t number, struct slice *bytes, struct fault *fault);

struct log_scan {
    struct log_view *view;
    size_t db;
    MDB_cursor *cursor; /* NULL: LMDB has nothing (more) to give */
    MDB_cursor_op next; /* how it gets to the record to give next */
    uint64_t from;      /* where to begin in the tails */
    uint64_t last;      /* number of the record given last; 0: none */
    size_t tail, at;    /* in the tails: what was given last; at 0: none of this tail */
    bool in_tail;       /* the record given last is not in LMDB */
};

/* From the record that holds the position (or the first behind it); outcomes: from that number. */
int log_scan_open(struct log_scan *scan, struct log_view *view, size_t db, uint64_t from,
                  struct fault *fault);
/* 1: *bytes is borrowed until the next call; 0: the end; -1 fault. */
int log_scan_next(struct log_scan *scan, uint64_t *number, struct slice *bytes, struct fault *fault);
void log_scan_close(struct log_scan *scan);

#endif

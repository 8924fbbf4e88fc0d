/* seek_source.h: where the events of a query come from: the seam between vm/, which runs functions over them,
 * and run/, which knows the log (run/scan.h is the one in use; tests have others). Inside vm/, and for
 * whoever gives a source to ask_events.h.
 *
 *     struct seek_scan *scan;
 *     if (source->prepare(source->user, &filter, &scan, &fault) < 0) ...
 *     if (source->open(scan, scan->first, scan->last, &cursor, &fault) < 0) ...
 *     while ((found = source->next(cursor, &hit, &fault)) > 0) ...
 *     source->close(cursor);
 *     source->release(scan);
 *
 * Threads: prepare, release and get by the session's thread; open, next and close by any, a cursor by one at
 * a time. Owns: what prepare and open give, until release and close. */
#ifndef LORE_VM_SEEK_SOURCE_H
#define LORE_VM_SEEK_SOURCE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "codec/record.h"

/* Which events; empty and zero: any. All of it is answered by the stream index and the envelopes of records.
 */
struct seek_filter {
    const struct slice *types; /* "BillClosed" or "billing.BillClosed" */
    size_t type_count;
    struct slice context;   /* "billing" */
    struct slice aggregate; /* "billing/bill" or "bill" */
    struct slice stream;    /* "billing/bill/7": over the stream index */
    struct slice tenant;    /* empty: the session's; "*": all */
    struct slice actor, correlation;
    struct slice since, until; /* times: when it happened, both included */
    struct slice from, upto;   /* moments (a position, time of recording or deploy:N), both included */
    uint64_t position;         /* the one event there */
    uint64_t deploy;
    bool has_deploy;
    uint64_t last; /* only the last so many of them; 0: all */
};

struct seek_scan {        /* the host's own struct begins with it */
    uint64_t first, last; /* positions to look at; first > last: none */
    bool is_single;       /* cannot be read in parts: one stream, by its index */
};

struct seek_hit {
    const struct record *record; /* borrowed until the next call */
    struct record_event event;
    bool is_new_record;
};

struct seek_cursor;

struct seek_source {
    void *user;
    /* Borrows the filter until release. The head of the log is fixed here: what comes later is not in it.
     * Faults: MALFORMED, NOT_FOUND and those of reading. */
    int (*prepare)(void *user, const struct seek_filter *filter, struct seek_scan **scan,
                   struct fault *fault);
    void (*release)(struct seek_scan *scan);
    /* Of the events at these positions. */
    int (*open)(struct seek_scan *scan, uint64_t from, uint64_t to, struct seek_cursor **cursor,
                struct fault *fault);
    /* 1: *hit is the next one; 0: the end, or a while has passed without one (*position tells how far it is;
     * at the end it is behind `to`); -1 fault. */
    int (*next)(struct seek_cursor *cursor, struct seek_hit *hit, uint64_t *position, struct fault *fault);
    void (*close)(struct seek_cursor *cursor);
    /* The record that holds a position, copied into bytes. 1; 0: it is not there (any more); -1 fault. */
    int (*get)(void *user, uint64_t position, struct buf *bytes, struct record *record, struct fault *fault);
};

#endif

/* feed.h: one generation, or one partition of it, on its way along the log.
 *
 * Three kinds: `whole` (or the only partition of a build) reads the log itself; one that splits copies it
 * aside; one of several partitions reads what was put aside for it (split.h).
 *
 * Documents are drafts in Lua (domain.h) until a flush writes them together with the checkpoint. Whatever
 * goes wrong between two flushes, the feed drops its drafts and stands again where the last flush was (it is
 * then `behind` the scan that served it); the stretch is repeated in exact mode, which parks the one key or
 * stops the one tenant that really failed. So a failure costs at most one more pass over what lies between
 * two failures, and what is parked does not depend on when flushes happened.
 *
 * What was put aside comes key after key if it can (aside.h): a document is made, folded and taken out of Lua
 * while it is in the processor's cache. There is no checkpoint on that way, and nothing can be repeated in
 * exact mode: if anything goes wrong the partition begins again in the order of the log.
 *
 * Threads: the projector's. Owns: drafts; holds its generation. */
#ifndef LORE_RUN_FEED_H
#define LORE_RUN_FEED_H

#include "base/map.h"
#include "codec/record.h"
#include "run/views.h"

struct feed_tenant;
struct feed_split;
struct feed_batch;

struct feed {
    struct feed *next;
    struct generation *generation;
    struct domain *domain;
    int projection; /* in the domain */
    uint32_t partition, partition_count;
    bool whole;                  /* a complete generation is fed, not a partition of one being built */
    struct feed_split *split;    /* it splits; else NULL */
    struct aside *aside;         /* of several partitions: where it is in what was put aside, or NULL */
    bool in_order;               /* what was put aside is folded in the order of the log, whatever its size */
    struct feed_batch *batch;    /* documents taken out of Lua, not written; NULL: none */
    bool behind;                 /* it went back during this scan: the scan goes on without it */
    bool broken;                 /* what it reads or writes fails: tried again after retry_ns */
    bool scanning;               /* in the scan that runs */
    uint64_t limit;              /* of this scan */
    bool dropped;                /* to be let go */
    uint64_t position;           /* folded */
    uint64_t flushed;            /* on disk */
    uint64_t exact_until;        /* in exact mode up to here */
    uint64_t events, events_max; /* folded since the flush; so many at most */
    int64_t retry_ns, flushed_ns;
    struct map tenants; /* by name */
    struct feed_tenant *last;
    struct buf key; /* of a failure */
};

enum { FEED_SPLITS = UINT32_MAX }; /* as a partition: the feed that splits */

/* Takes over the caller's hold of the generation. */
struct feed *feed_new(struct domain *domain, struct generation *generation, uint32_t partition,
                      uint32_t partition_count);
void feed_free(struct feed *feed); /* lets the generation go */
/* Whether its projection has a handler for the type. */
bool feed_takes(const struct feed *feed, struct slice context, struct slice type);
/* How far it may go now. */
uint64_t feed_limit(const struct feed *feed, uint64_t head);
/* Folds one event that it takes. Afterwards position is the event's, or it is behind. *handler: -1 at first,
 * kept by the caller for each type. */
void feed_event(struct feed *feed, int *handler, const struct envelope *envelope, struct slice data);
/* Whether it reads what was put aside, not the log. */
bool feed_is_aside(const struct feed *feed);
/* Whether that comes key after key: then the position is where it was until all of it is folded. */
bool feed_is_by_key(const struct feed *feed);
/* A feed that splits: whether it may go along the log. If not it wants to be shown every step-th event first,
 * and then feed_split_begin. */
bool feed_split_is_ready(const struct feed *feed);
uint64_t feed_split_step(const struct feed *feed);
void feed_split_begin(struct feed *feed);
/* Nothing up to position concerns it. */
void feed_pass(struct feed *feed, uint64_t position);
/* The next of what was put aside for it, to be folded. 1; 0: the end; -1: it failed or went back. */
int feed_next_aside(struct feed *feed, struct record *record);
/* Writes documents and checkpoint, and tells who waits for them; or it stands where it stood before (behind,
 * or broken). */
void feed_flush(struct feed *feed);
/* What it reads or writes failed: the script is not at fault. A full disk is tried again later; damaged
 * documents are built anew. */
void feed_fail(struct feed *feed, const struct fault *fault);
/* Whether so much was folded that it should flush. */
bool feed_is_full(const struct feed *feed);

#endif

/* feed.h: one generation, or one partition of it, on its way along the log.
 *
 * Documents are drafts in Lua (domain.h) until a flush writes them together with the checkpoint. Whatever
 * goes wrong between two flushes, the feed drops its drafts and stands again where the last flush was (it is
 * then `behind` the scan that served it); the stretch is repeated in exact mode, which parks the one key or
 * stops the one tenant that really failed. So a failure costs at most one more pass over what lies between
 * two failures, and what is parked does not depend on when flushes happened.
 *
 * Threads: the projector's. Owns: drafts; holds its generation. */
#ifndef LORE_RUN_FEED_H
#define LORE_RUN_FEED_H

#include "base/map.h"
#include "codec/record.h"
#include "run/views.h"

struct feed_tenant;

struct feed {
    struct feed *next;
    struct generation *generation;
    struct domain *domain;
    uint32_t partition, partition_count;
    bool whole;                  /* a complete generation is fed, not a partition of one being built */
    bool behind;                 /* it went back during this scan: the scan goes on without it */
    bool broken;                 /* what it reads or writes fails: tried again after retry_ns */
    bool scanning;               /* in the scan that runs */
    uint64_t limit;              /* of this scan */
    uint64_t reported;           /* the target that the partition said it reached */
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
/* Nothing up to position concerns it. */
void feed_pass(struct feed *feed, uint64_t position);
/* Writes documents and checkpoint, and tells who waits for them; or it stands where it stood before (behind,
 * or broken). */
void feed_flush(struct feed *feed);
/* Whether so much was folded that it should flush. */
bool feed_is_full(const struct feed *feed);

#endif

/* past_fold.h: documents of one projection and tenant as they were at a moment, folded from their events.
 *
 * Two ways: one document of a keyed projection, kept in memory; or all of them, written into a store of their
 * own (docs.h) with the meta values of a generation (views.h), so that it is read like one.
 *
 * What fails goes the way of feed.h: the stretch since the last flush is repeated in exact mode, which parks
 * the one key or stops the projection for the tenant. So the documents equal those of a view that was built
 * up to the same event.
 *
 * Threads: the domain's. Owns: what is folded. */
#ifndef LORE_RUN_PAST_FOLD_H
#define LORE_RUN_PAST_FOLD_H

#include "base/map.h"
#include "run/past_read.h"
#include "store/docs.h"

struct past_fold {
    /* the question, filled in by who asks */
    struct engine *engine;
    struct domain *domain;
    int projection;
    struct slice tenant;
    struct slice key;  /* of a keyed projection: only this document; empty: all, into docs */
    struct docs *docs; /* empty; NULL: only one document */
    struct moment_bound bound;
    /* Asked now and then; -1 with a fault ends it. */
    int (*goes_on)(void *user, uint64_t position, uint64_t folded, struct fault *fault);
    void *user;

    /* the answer */
    uint64_t position; /* every event up to it is in the documents that the moment wants there */
    uint64_t folded;   /* events, in all its passes */
    bool found;        /* the one document */
    struct buf document;

    /* its own */
    struct past_read *read;
    struct drafts *drafts;
    uint64_t last, flushed, exact_until, events;
    struct map parked; /* by key: struct past_parked */
    uint64_t stopped_position;
    char *stopped_error;
    struct buf failing, key_end, batch;
};

struct past_parked {
    struct slice key;
    uint64_t position;
    char *error;
    bool stored; /* flushed: survives going back */
};

/* Faults: those of goes_on, DISK, CORRUPT, TOO_LARGE. */
int past_fold_run(struct past_fold *fold, struct fault *fault);
/* Of the one document, NULL: it is not parked. */
const struct past_parked *past_fold_parked(const struct past_fold *fold, struct slice key);
void past_fold_release(struct past_fold *fold);

#endif

/* fold.h: states folded from stored events, for shards and queries.
 *
 * Threads: the domain's. Owns: nothing. */
#ifndef LORE_RUN_FOLD_H
#define LORE_RUN_FOLD_H

#include "run/catalog.h"
#include "run/moment.h"
#include "store/engine.h"
#include "store/snaps.h"
#include "vm/domain.h"

enum { SNAPSHOT_EVERY = 64 }; /* events: folding fewer is quicker than a look-up in snapshots/ */

struct fold_request {
    struct engine *engine;
    struct snaps *snaps; /* may be NULL */
    struct domain *domain;
    const struct catalog_aggregate *aggregate;
    struct stream_id stream;
    uint64_t version_max; /* UINT64_MAX: all */
    int64_t at_ms_max;    /* INT64_MAX: all; else up to the first event that happened later */
};

struct fold_result {
    struct domain_state *state; /* the caller's to free */
    uint64_t version, position; /* of the last event folded; 0 if there is none */
    uint64_t snapshot_version;  /* the snapshot it began with, 0: none */
    uint64_t head_version;      /* the stream's */
};

/* Bounds what is asked for to what was there at the moment. Faults: of moment_bound. */
int fold_until(struct fold_request *request, const struct moment *moment, struct fault *fault);
/* Faults: SCRIPT, BUDGET (an apply failed), CORRUPT, DISK. */
int fold_stream(const struct fold_request *request, struct fold_result *result, struct fault *fault);
/* What apply may see of an event: neither position nor version, so that a state never depends on them. */
void fold_envelope(const struct stream_id *stream, struct slice context, struct envelope *envelope);
/* The same for the events of a commit that is not stored yet; type, version and time are the event's. */
void fold_commit_envelope(const struct stream_id *stream, struct slice context, const struct commit *commit,
                          struct envelope *envelope);
/* "bill" of "billing/bill". */
struct slice fold_aggregate_name(struct slice name);

#endif

/* dry.h: what commands would do if they were sent now: the events, the documents that these would change,
 * what receptors would send for them. Nothing is written, and nothing outside is asked: a message to a
 * service is named, not carried out.
 *
 * The answer is one JSON object:
 *   {"stream","version","position",              as they are, before the commands
 *    "events":[{"type","typeversion","version","at","data"}],
 *    "rejected":{"code","message"}?,             then there are no events and nothing follows
 *    "documents":[{"view","key","before"?,"after"?}],         absent: there is none
 *    "sends":[{"by","event","to","type"?,"data"?,"due"?,"key"?,"cancel"?}],   event: its place in "events",
 * from 1 "failures":[{"in","key"?,"error"}]}         a projection or receptor that would not manage, or is
 * not to be asked
 *
 * It is told as of the head of the log: a view that is behind is brought up to it first, in memory. What
 * others send meanwhile, the id and the causes of the commands cannot be foreseen.
 *
 * Threads: the domain's. Owns: nothing. */
#ifndef LORE_RUN_DRY_H
#define LORE_RUN_DRY_H

#include "run/hub.h"
#include "vm/domain.h"

struct release;

struct dry_item {
    struct slice type, data; /* data: MessagePack, checked against its contract here */
};

struct dry_question {
    struct hub *hub;
    struct release *release; /* held by the caller */
    struct domain *domain;   /* of that release */
    struct slice tenant, context, aggregate, id;
    const struct dry_item *items; /* one transaction */
    size_t count;
    struct slice actor;
    const atomic_bool *cancelled; /* ends it; NULL: nobody does */
    int64_t until_ns;             /* of the monotonic clock: no longer than that; 0: as long as it takes */
};

/* Appends the answer to json. Faults: NOT_FOUND (aggregate; a service, which cannot be foreseen), MALFORMED
 * (no commands), CONTRACT, UNKNOWN_COMMAND, SCRIPT and BUDGET of the aggregate, TOO_LARGE, CANCELLED, DISK,
 * CORRUPT. */
int dry_run(const struct dry_question *question, struct buf *json, struct fault *fault);

#endif

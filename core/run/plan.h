/* plan.h: the views of a release that does not run, built beside those that do, and compared with them.
 *
 *     struct plan plan = {.hub = hub, .release = release, .stop = &stop, .each = take, .user = report};
 *     if (plan_run(&plan, &fault) < 0) ...
 *
 *  1. What the release declares anew or otherwise gets a planned generation (views_prepare), and a crew of
 * low priority builds it from the log up to where the log ends now.
 *  2. A snapshot is taken of the generation that answers; the planned one goes on to exactly its position,
 * and both are compared there, document by document. Live views are not held up.
 *  3. The planned generations stay, closed to everybody, until a deploy takes them over or another plan does
 * not need them.
 *
 * Threads: the deployer's. Owns: the crew, while it runs. */
#ifndef LORE_RUN_PLAN_H
#define LORE_RUN_PLAN_H

#include "run/compare.h"
#include "run/release.h"

struct plan_view {
    struct slice name;
    const char *reason;            /* why it is built: "open_bills.lua changed" */
    const struct compare *compare; /* NULL: it was not built in time */
    uint64_t events;               /* it was built from */
    double seconds;                /* that building takes, at the rate seen here */
    bool is_kept;                  /* by an earlier plan or deploy: nothing had to be built */
};

struct plan {
    struct hub *hub;
    struct release *release;
    const atomic_bool *stop;
    int64_t budget_ms; /* 0: until it is done */
    size_t samples;
    atomic_ullong *progress; /* events, summed over the views that are built */
    void (*each)(void *user, const struct plan_view *view);
    void *user;
};

/* Faults: DISK, CORRUPT, UNAVAILABLE (stopped). A budget that is over is none. */
int plan_run(struct plan *plan, struct fault *fault);

#endif

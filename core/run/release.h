/* release.h: one loaded set of scripts, and what runs on it and on nothing else: the door's catalog, queries,
 * receptors, services and tasks. Shards and views outlive it: they go from one release to the next.
 *
 *     struct visit visit;
 *     struct release *release = release_enter(hub, &visit);       whoever is no part of the release
 *     ... catalog_find(&release->catalog, ...) ...
 *     release_leave(&visit);                                      soon: a deploy waits for it
 *
 * The hub has one current release. release_enter never waits: it counts the visitor on one of two sides and
 * then takes the current release. Who has put another one in its place lets both sides run empty, one after
 * the other (release_wait_for_visitors): new visitors go to the other side meanwhile, so it does not take
 * longer than the slowest visit, and behind it nobody has the old one but those who hold it.
 *
 * Threads: enter, leave, hold and let_go from any; the rest the deployer's, or whoever opens and closes the
 * hub. Owns: sources, catalog, and its parts. */
#ifndef LORE_RUN_RELEASE_H
#define LORE_RUN_RELEASE_H

#include <stdatomic.h>

#include "run/catalog.h"
#include "run/reactor.h"
#include "vm/sources.h"

struct hub;
struct query;
struct receptors;
struct reactor;

struct release {
    struct hub *hub;
    struct sources *sources;
    struct catalog catalog;
    struct domain *checked; /* loaded to see whether it can be; the first who needs a domain gets it */
    uint64_t serial;        /* of the hub's releases: what was made for one knows it again */
    uint64_t deploy;        /* its number; 0: none yet */
    size_t message_size_max, batch_commands_max;
    uint32_t causation_depth_max;
    struct query *query;
    struct receptors *receptors; /* NULL: the hub is without, as without views */
    struct reactor *reactor;     /* NULL: no services, no tasks */
    atomic_size_t holds;
    struct release *older; /* among those that are ending */
};

struct visit {
    struct hub *hub;
    unsigned side;
};

/* Takes the sources; if it fails they are still the caller's. errors gets every error of the scripts, may be
 * NULL. Faults: SCRIPTS, BUDGET. The caller holds it. */
int release_load(struct hub *hub, struct sources *sources, struct release **release, struct buf *errors,
                 struct fault *fault);
/* What its domains are opened with. */
struct domain_options release_domain_options(const struct release *release);
/* A domain of its own. */
int release_domain(struct release *release, struct domain **domain, struct fault *fault);
void release_hold(struct release *release);
void release_let_go(struct release *release); /* NULL: nothing. The last one frees it: its parts have ended */

/* What runs on it: made (faults: SCRIPTS and those of secrets), then started, which reads the log (faults:
 * DISK, CORRUPT). Ended one by one by who knows the order. */
struct release_parts {
    bool query, receptors, reactor;
    struct reactor_options reactor_options;
};
int release_make_parts(struct release *release, const struct release_parts *parts, struct fault *fault);
int release_start_parts(struct release *release, struct fault *fault);
/* Behind them, when no other receptors run. */
int release_start_receptors(struct release *release, struct fault *fault);

/* --- visitors --- */

struct release *release_enter(struct hub *hub, struct visit *visit);
void release_leave(const struct visit *visit);
/* After another release became the current one. */
void release_wait_for_visitors(struct hub *hub);

#endif

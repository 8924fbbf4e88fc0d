/* deployer.h: the thread that takes a running hub from one release to the next.
 *
 *   load ─► gate ─► make ready ─► record ─► switch ─► end what is old
 *
 *  1. LOAD and GATE run beside everything; what they find changes nothing.
 *  2. MAKE READY: the Lua states of all threads, the generations of views whose code is new, the states of
 * long streams in use (as snapshots of the new code). Whatever can fail fails here.
 *  3. RECORD: the deploy is in the log, durably, before its first commit.
 *  4. SWITCH: each shard between two commands, when what it has in flight is back; then the views; then the
 *     door, by putting the release in its place. Receptors end where they are and the new ones go on from
 * there.
 *  5. The OLD release ends when its visitors have left and its services and tasks are done; until then it is
 * kept among those that are ending.
 *
 * Threads: any, but start and stop, the hub's. Owns: orders it has not answered, releases that are ending. */
#ifndef LORE_RUN_DEPLOYER_H
#define LORE_RUN_DEPLOYER_H

#include "run/hub.h"

struct deployer;
struct release;

/* Before other threads of the hub, which may have something for it to end. */
struct deployer *deployer_new(struct hub *hub);
/* Its thread: behind deployer_start_with, since both would end what is old. */
void deployer_start(struct deployer *deployer);
/* Answers what waits with UNAVAILABLE; what is ending is given up. While shards and writer still work. */
void deployer_stop(struct deployer *deployer);
void deployer_free(struct deployer *deployer);
/* Something has ended that it may have to end for good: a crew, the runs of an old reactor. */
void deployer_look(struct deployer *deployer);
/* At a start: the order is carried out in the caller's thread with a release that is loaded already, and is
 * the deployer's. What the gate refuses is said, and no fault. */
int deployer_start_with(struct deployer *deployer, struct release *release, struct deploy_order *order,
                        struct fault *fault);
/* A line of lore status while something is under way. */
void deployer_status(struct deployer *deployer, struct buf *ndjson);
/* Whether a run of this task for this tenant is under way in a release that is ending. */
bool deployer_task_runs(struct deployer *deployer, struct slice task, struct slice tenant);

#endif

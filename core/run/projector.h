/* projector.h: a thread with a Lua state of its own that feeds projections from the log.
 *
 * One scan serves all feeds that stand at about the same position. Live feeds go first; those far behind
 * (rebuilds) get slices of PROJECTOR_SLICE_MS in between, so views stay live while others are rebuilt. Under
 * load live feeds rest between two scans as long as nobody waits for them (views_hurry).
 *
 * Threads: projector_adopt and projector_wake from any. Owns: its domain and feeds. */
#ifndef LORE_RUN_PROJECTOR_H
#define LORE_RUN_PROJECTOR_H

#include "run/feed.h"
#include "run/inbox.h"
#include "run/views.h"

struct projector;

/* With a Lua state of the crew's release; it has to be started. */
int projector_new(struct crew *crew, int index, struct projector **projector, struct fault *fault);
void projector_start(struct projector *projector);
/* Live feeds reach the head, everything is flushed, the thread ends. */
void projector_stop(struct projector *projector);
void projector_free(struct projector *projector);
/* Feeds this partition of the generation from now on; the caller held the generation for it. */
void projector_adopt(struct projector *projector, struct generation *generation, uint32_t partition,
                     uint32_t partition_count);
/* After an append: soon, perhaps together with what follows. */
void projector_look(struct projector *projector);
/* Somebody waits for this position. */
void projector_hurry(struct projector *projector, uint64_t position);
/* For whatever else may have changed. */
void projector_wake(struct projector *projector);
size_t projector_memory(const struct projector *projector);

#endif

/* warm.h: before a deploy: long streams that are in use are folded with the new code, and their states kept
 * as snapshots of it. The first command to each of them after the switch finds one, instead of a history to
 * fold.
 *
 * Threads: the deployer's, beside shards that work. Owns: nothing. */
#ifndef LORE_RUN_WARM_H
#define LORE_RUN_WARM_H

#include <stdatomic.h>

struct hub;
struct release;

/* What cannot be folded, or not before stop, is left to the command that needs it. The release is not the
 * current one yet. */
void warm_states(struct hub *hub, struct release *release, const atomic_bool *stop);

#endif

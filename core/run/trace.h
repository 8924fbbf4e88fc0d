/* trace.h: what followed from what: the commands and events of one correlation as a tree.
 *
 *     trace_collect(engine, &hub->stopping, tenant, id, &json, &fault);
 *
 * Threads: any; takes as long as a scan of the log from the correlation's first record. Owns: nothing. */
#ifndef LORE_RUN_TRACE_H
#define LORE_RUN_TRACE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "store/engine.h"

/* id: a correlation id, a command's or an event's ("<log>:<epoch>:<position>"). Appends
 *
 *   {"correlation":…,"trace":[…],"truncated":true?}
 *
 * The tree lies flat, each node behind its parent and "depth" below the root:
 *   {"kind":"command","depth","id","parent"?,"type","stream","outcome":"done|accepted|rejected","reason"?,
 * "message"?, "time","actor"?,"deploy"}
 *   {"kind":"event","depth","id","parent"?,"type","stream","version","position","time","at","actor"?,"deploy"}
 *
 * The events of a batch hang below its first command, as their envelopes say. A cause that is not in the
 * trace is told as "cause". Faults: NOT_FOUND, UNAVAILABLE (stopping becomes true), CORRUPT. */
int trace_collect(struct engine *engine, const atomic_bool *stopping, struct slice tenant, struct slice id,
                  struct buf *json, struct fault *fault);

/* id: of an event. Appends a JSON array with the nodes above it, the nearest first: its command, what caused
 * that, and so on. Empty if the event is in a trace too long to be told. Faults: as above. */
int trace_causes(struct engine *engine, const atomic_bool *stopping, struct slice tenant, struct slice id,
                 struct buf *json, struct fault *fault);

#endif

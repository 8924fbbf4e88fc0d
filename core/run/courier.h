/* courier.h: delivers what services, tasks and receptors have left in the log as $Sent (sent.h): at once, or
 * when it is due.
 *
 *   log ──$Sent──► at once ─────────────────────────► hub_submit ──answer──► done
 *            └───► for later ──► timers/ ──when due──────▲          ├─ nobody takes it ─► timers/, for later
 *                                   ▲                               └─ "retry in 10m" ──► timers/, until then
 *                                   └── the service has no room: in its lane (parcels.h)
 *
 * Invariants:
 *  1. Nothing that waits is sent before the log was read to where it ended when the clock was looked at: so a
 * cancel that is in the log is never too late because the courier is.
 *  2. The position of timers/ is behind everything that is still on its way from the log. What is read again
 * after a crash is set, cancelled and sent again, and its id makes one of it.
 *  3. An entry leaves timers/ when its message has come to its outcome.
 *  4. What waits for longer than a queue takes to move waits in timers/, not in the window: neither a service
 * that is away nor one that hangs holds up others, and a cancel finds its message there. One that is under
 * way at that moment is not tried again.
 * timers/ is made when something is sent for the first time.
 *
 * What nobody can take is tried again after 1, 2, 4 … 60 seconds, `retries` times, then parked until somebody
 * asks for it or the scripts change.
 *
 * A message that waited for a second or longer begins a new chain of causes (command.h, depth): a process
 * that wakes itself every day is no loop.
 *
 * Threads: start, stop, free by the hub; the rest from any. Owns: thread, timers/. */
#ifndef LORE_RUN_COURIER_H
#define LORE_RUN_COURIER_H

#include "base/buf.h"
#include "base/fault.h"

#define COURIER_NAME "courier"

struct hub;
struct courier;

struct courier *courier_new(struct hub *hub);
void courier_start(struct courier *courier);
void courier_stop(struct courier *courier);
void courier_free(struct courier *courier);
void courier_look(struct courier *courier);
/* Tries what is parked now. */
void courier_retry(struct courier *courier);
/* All of the log up to position is delivered, in timers/ or parked, and nothing there is due. */
bool courier_settled(struct courier *courier, uint64_t position);
struct courier_info {
    uint64_t position, lag, in_flight, waiting, parked;
    uint64_t delivered, failed, put_off; /* since the start: outcomes, attempts, answers "later" */
};
void courier_info(struct courier *courier, struct courier_info *info);
void courier_status(struct courier *courier, struct buf *ndjson);

#endif

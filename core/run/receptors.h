/* receptors.h: events become commands: one thread follows the log for all receptors.
 *
 * Each receptor has a place of its own in the log. An event of its types goes to its handler as it is read;
 * what the handler sends is submitted like any other command, many events at a time, but those of one KEY,
 * the event's stream, strictly one after another. Sends for later and cancels are a commit ($Sent, sent.h) in
 * the receptor's own stream, which the courier follows.
 *
 *   log ──read──► handler ──sends──► queue of the key ──head──► hub_submit ──answer──► done
 *                    │ fails                              │ nobody takes it
 *                    └──────────────► the key is STUCK ◄──┘
 *
 * A stuck key is tried again after 1, 2, 4 … 60 seconds, `retries` times, then parked until somebody asks for
 * it (receptors_retry) or other code comes. Nothing of it is kept but where its stream goes on: later events
 * of the key are passed over, and read from their stream when their turn comes. With RECEPTORS_STUCK_MAX such
 * keys a receptor stays where it is: what is wrong is then not the key.
 *
 * The CHECKPOINT of a receptor is the last position below which every event is done or belongs to a stuck
 * key. All of them and the stuck keys are one named value of the log ("receptors"), written at most once a
 * second and at the end. What was done behind it is done again after a crash, and every command is then known
 * by its id (sending.h): so an effect happens once, however often its event is handled.
 *
 * Threads: start, stop and free by the hub; the rest from any. Owns: thread, Lua state, receptors. */
#ifndef LORE_RUN_RECEPTORS_H
#define LORE_RUN_RECEPTORS_H

#include "base/buf.h"
#include "base/fault.h"
#include "vm/domain.h"

enum { RECEPTORS_STUCK_MAX = 1000 };

struct receptors;
struct release;

/* Fault: SCRIPTS. */
int receptors_open(struct release *release, const struct domain *domain, struct receptors **receptors,
                   struct fault *fault);
/* Reads the checkpoints; a receptor that was never seen gets its place, at once and durably. In a hub that is
 * read only nothing runs. The writer runs, and no other receptors do. Faults: CORRUPT, DISK. */
int receptors_start(struct receptors *receptors, struct fault *fault);
/* Before the hub takes no more commands: waits for what is on its way, writes the checkpoints. */
void receptors_stop(struct receptors *receptors);
void receptors_free(struct receptors *receptors);
/* There is more in the log, or the clock was moved. */
void receptors_look(struct receptors *receptors);
/* There is more in the log, but nothing that receptors_want: they pass over it before long. */
void receptors_pass(struct receptors *receptors);
/* Whether one of them has a handler for an event of the commit. */
bool receptors_want(const struct receptors *receptors, const struct commit *commit);
/* Tries the stuck keys of "context/name" now. Fault: NOT_FOUND, with the nearest name. */
int receptors_retry(struct receptors *receptors, struct slice name, struct fault *fault);
/* Every receptor has done all events up to this position, or its key is parked. */
bool receptors_settled(struct receptors *receptors, uint64_t position);
/* Lines of lore status: each receptor, each stuck key. */
void receptors_status(struct receptors *receptors, struct buf *ndjson);

#endif

/* rollback.h: a log back to a moment: what that means for what run/ keeps in it, and the words for it. The
 * cut itself is store/cut.h.
 *
 *     rollback_find(engine, slice_of("deploy:41"), &cut, &fault);
 *     rollback_report(engine, &cut, &json, &fault);                 what would go
 *     rollback_run(engine, &cut, &fault);                          offline; engine_close is all that may
 * follow
 *
 * What must not be forgotten: a receptor whose checkpoint lies behind the cut begins there again; and one
 * whose message was cut, while the event that it answered stays, begins before that event: its ids are
 * derived from the events, so what is still there is not done twice. Timers are read from the log again. A
 * task whose last run was cut has missed its moments since. Deploys are facts and stay.
 *
 * Threads: one, nobody else writes. Owns: nothing. */
#ifndef LORE_RUN_ROLLBACK_H
#define LORE_RUN_ROLLBACK_H

#include "store/cut.h"

/* to: as in moment.h. cut.before equals cut.after if nothing would go. Faults: MALFORMED, NOT_FOUND. */
int rollback_find(struct engine *engine, struct slice to, struct cut *cut, struct fault *fault);
bool rollback_is_nothing(const struct cut *cut);
/* Appends a JSON object: from where to where, how many events, commands and refusals by type, first and last
 * moment, deploys they were written under, and where the archive will be. */
int rollback_report(struct engine *engine, const struct cut *cut, struct buf *json, struct fault *fault);
/* Faults: DISK. */
int rollback_run(struct engine *engine, const struct cut *cut, struct fault *fault);
/* The value "receptors" as it must be when the log ends where it would be cut; nothing if there is none. */
int rollback_receptors(struct engine *engine, const struct cut *cut, struct buf *value, struct fault *fault);

/* Whether a record came from outside and not from a receptor, the courier or a task: those send again by
 * themselves. arena: of the call. */
bool rollback_from_outside(const struct record *record, const char *log_id, struct arena *arena);

#endif

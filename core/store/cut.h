/* cut.h: a log goes back to an earlier position. What is behind it is kept in a file (archive.h) and goes
 * from the log in one transaction of LMDB: that is the moment at which it is cut.
 *
 *     struct cut cut;
 *     cut_find(engine, position, INT64_MAX, &cut, &fault);         what would go
 *     cut_run(engine, &cut, &options, &fault);                     keeps it, and cuts
 *     engine_close(engine);                                        the only thing to do with it then
 *
 * Where it is cut: behind the commit that ends at the position, or before the one that holds it (a commit is
 * never divided). Rejections and acceptances without events have no position; of them those go that were
 * recorded in or after the millisecond of the first commit that goes, but for those of that very millisecond
 * which were certainly there before a commit that stays (they define a name that it uses). Cut at 0, all go.
 * A time given beside the position takes those recorded after it, too.
 *
 * What follows from it, all in the same transaction: the epoch is one higher, which makes every id of an
 * event that comes a new one; "epochs" (epochs.h) tells where it began; names go that only what was cut
 * defined; the caller's values are put (checkpoints that knew of what was cut).
 *
 * A kill at any moment leaves the log as before or as after. data/rollback, the plan, is written first and
 * removed last: an open (cut_complete) that finds it with the old epoch removes the unfinished file and the
 * plan; with the new one it removes what was derived from the cut part (log/head, index, snapshots, timers,
 * shapes) and then the plan. Views are left: they know the chain of the log they were made from (views.h).
 *
 * Threads: one. Owns: nothing. */
#ifndef LORE_STORE_CUT_H
#define LORE_STORE_CUT_H

#include "store/archive.h"

struct engine_lmdb;

struct cut {
    char log_id[37];
    uint64_t epoch;              /* of the log as it is */
    struct archive_point before; /* the log ends here afterwards */
    struct archive_point after;  /* and ends here now */
    uint32_t names;              /* that stay */
};

struct cut_value {
    struct slice key, value;
};

struct cut_options {
    const struct cut_value *values; /* to be put in the same transaction */
    size_t value_count;
};

/* Where the log would end. before equals after if nothing would go. Faults: NOT_FOUND (position behind the
 * head), CORRUPT. */
int cut_find(struct engine *engine, uint64_t position, int64_t recorded_ms, struct cut *cut,
             struct fault *fault);
/* The first position whose commit was recorded at or after the moment; that behind the head if none was. */
int cut_position_at(struct engine *engine, int64_t ms, uint64_t *position, struct fault *fault);
/* engine: of engine_open_lmdb, not read_only, nobody else uses it. Faults: DISK; then the log is as before
 * and the engine can only be closed. */
int cut_run(struct engine *engine, const struct cut *cut, const struct cut_options *options,
            struct fault *fault);
/* The file that cut_run makes, below the data directory: "archive/<log>-<epoch>-<from>-<to>.lore". */
void cut_archive_name(const struct cut *cut, char name[128]);

/* While the log opens: completes a cut, or takes back what was begun of it. 1: cut_end must follow when the
 * log is open; 0: there is none; -1 fault. */
int cut_complete(struct engine_lmdb *lmdb, struct fault *fault);
int cut_end(struct engine_lmdb *lmdb, struct fault *fault);
/* Whether an open would find a plan. */
bool cut_is_pending(const char *data);

#endif

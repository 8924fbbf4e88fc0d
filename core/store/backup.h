/* backup.h: the log into a file (archive.h), whole or what came since another one; and a directory out of
 * such files.
 *
 *     backup_write(engine, "monday.lore", NULL, &head, &fault);          engine: read_only, beside a hub
 *     backup_write(engine, "tuesday.lore", &monday.after, &head, &fault);
 *
 *     restore_open("data", &restore, &fault);
 *     restore_add(restore, "monday.lore", &fault);
 *     restore_add(restore, "tuesday.lore", &fault);
 *     restore_close(restore, &fault);
 *
 * A backup is the log as of one moment: records up to a position and the named values of that moment
 * (deploys, checkpoints); what is derived is not in it. A restored log goes on with an epoch of its own,
 * since another one may have gone on from the same position.
 *
 * A restore that was cut off leaves data/restoring: such a directory is not opened, and the same restore
 * again goes on where it was.
 *
 * Threads: one. Owns: restore the directory's lock. */
#ifndef LORE_STORE_BACKUP_H
#define LORE_STORE_BACKUP_H

#include "store/cut.h"

/* since: NULL, or the end of an earlier backup. head tells what is in it. Faults: DISK; CONFLICT: the log no
 * longer has that end, or was rolled back meanwhile. The file is not there then. */
int backup_write(struct engine *engine, const char *file, const struct archive_point *since,
                 struct archive_head *head, struct fault *fault);

struct restore;

/* A directory that is not there, is empty, or holds the beginning of the log. Faults: IN_USE, DISK, CORRUPT.
 */
int restore_open(const char *data, struct restore **restore, struct fault *fault);
/* Faults: CORRUPT (the file), CONFLICT (it does not follow what is there), DISK. What was written of it
 * stays: it is checked, and a part of what the whole would be. */
int restore_add(struct restore *restore, const char *file, struct fault *fault);
/* The beginning of a log by another way than a file: what LMDB has of it as a whole, its index, then what is
 * missing up to the head, or up to a point. All named values of that moment go with it, but for those that
 * are given, and its new id. copy only into a directory where nothing was added. Faults: DISK. */
struct restore_engine {
    struct engine *engine; /* read_only */
    const char *log_id;
    const struct archive_point *until; /* NULL: all */
    uint32_t names;                    /* defined up to it */
    const struct cut_value *values;
    size_t value_count;
};
int restore_copy(struct engine *engine, const char *data, const char *log_id, struct fault *fault);
int restore_add_engine(struct restore *restore, const struct restore_engine *from, struct fault *fault);
/* One more named value, behind what was added. */
int restore_put(struct restore *restore, struct slice key, struct slice value, struct fault *fault);
/* The end of the last file. */
struct archive_point restore_point(const struct restore *restore);
/* Opens the log once, so that head and index are there. Frees in any case; after a fault of restore_add
 * (fault NULL) the directory stays marked as unfinished. */
int restore_close(struct restore *restore, struct fault *fault);
/* Whether a restore into the directory was cut off. */
bool restore_is_pending(const char *data);

#endif

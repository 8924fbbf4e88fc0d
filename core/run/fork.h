/* fork.h: a data directory out of another one, to try something on: the log as it is or as of a moment, with
 * an id of its own, so that it is never taken for the original, and the views that fit.
 *
 *     fork_make("data", "scratch", slice_of("deploy:41"), &made, &fault);
 *
 * A file `fork` in it says where it comes from; lore serve then sends nothing by itself (fork_is).
 *
 * Threads: one. Reads beside a hub that writes. */
#ifndef LORE_RUN_FORK_H
#define LORE_RUN_FORK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/slice.h"

struct fork_made {
    char log_id[37], from_log_id[37];
    uint64_t position, epoch;
    uint64_t views; /* copied */
};

/* at: as in moment.h, empty: now. to must not be there, or be empty. Faults: IN_USE (it is not), NOT_FOUND,
 * DISK. What was begun of it is removed then. */
int fork_make(const char *data, const char *to, struct slice at, struct fork_made *made, struct fault *fault);
/* Whether the directory was made by fork_make. */
bool fork_is(const char *data);

#endif

/* tenants.h: the tenants there are: main, those of hub.lua, and if tenants are open whoever wrote something.
 *
 *     tenants_init(&tenants, release);
 *     tenants_look(&tenants, &fault);           again when new ones matter
 *     for (size_t at = 0; at < tenants.count; at++) ... tenants.list[at]
 *
 * Threads: one at a time. Owns: the list; the names are the engine's and the catalog's. */
#ifndef LORE_RUN_TENANTS_H
#define LORE_RUN_TENANTS_H

#include "base/fault.h"
#include "base/map.h"

struct release;

struct tenants {
    struct release *release;
    struct slice *list; /* those that are there stay in their place */
    size_t count, count_max;
    struct map known;
    bool begun;
    uint64_t position; /* the log was looked at up to here */
};

void tenants_init(struct tenants *tenants, struct release *release);
void tenants_release(struct tenants *tenants);
/* Finds those that came since. Faults: DISK, CORRUPT. */
int tenants_look(struct tenants *tenants, struct fault *fault);

#endif

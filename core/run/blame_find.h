/* blame_find.h: the last event that touched a document.
 *
 * Threads: as blame.h. Owns: nothing. */
#ifndef LORE_RUN_BLAME_FIND_H
#define LORE_RUN_BLAME_FIND_H

#include <stdatomic.h>

#include "store/engine.h"
#include "vm/domain.h"

struct blame_document {
    struct engine *engine;
    const atomic_bool *stopping;
    struct domain *domain; /* of the scripts that run */
    int projection;        /* in it */
    struct slice tenant, key;
};

/* 1: *position is the last event that touched it, or (free style) that the projection handled; 0: there is
 * none. Faults: UNAVAILABLE, CORRUPT. */
int blame_find_document(const struct blame_document *document, uint64_t *position, struct fault *fault);

#endif

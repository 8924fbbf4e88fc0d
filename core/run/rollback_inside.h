/* rollback_inside.h: what a rollback and the checkpoints of receptors share. For rollback*.c and
 * receptor_meta.c. */
#ifndef LORE_RUN_ROLLBACK_INSIDE_H
#define LORE_RUN_ROLLBACK_INSIDE_H

#include "base/arena.h"
#include "base/map.h"
#include "run/rollback.h"

struct cause {
    uint64_t position; /* the first event that stays and whose message goes */
};

struct causes {
    struct engine *engine;
    const struct cut *cut;
    struct map senders; /* name of a receptor -> struct cause */
    struct arena arena;
};

/* The value "receptors" (receptor_meta.c) as it must be after the cut. Fault: CORRUPT. */
int receptor_meta_cut(const struct causes *causes, struct slice value, struct buf *out, struct fault *fault);

#endif

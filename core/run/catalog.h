/* catalog.h: what the scripts declare, as the door needs it: which aggregates and tenants there are,
 * hub.lua's limits.
 *
 * Threads: immutable after catalog_init. Owns: its texts. */
#ifndef LORE_RUN_CATALOG_H
#define LORE_RUN_CATALOG_H

#include <stdint.h>

#include "base/arena.h"
#include "base/fault.h"
#include "base/map.h"
#include "vm/domain.h"

struct catalog_aggregate {
    struct slice name; /* "billing/bill" */
    struct slice context;
    struct hash code;
    int index; /* the same in every domain of these sources; below 0: no aggregate, it has no state */
};

struct catalog {
    struct arena arena;
    struct map aggregates; /* by name */
    struct map senders;    /* receptors, services and tasks by name: who writes a stream of its own */
    struct map contexts;
    struct map tenants;       /* declared ones; main is always there */
    bool tenants_open;        /* hub.lua: tenants = "open" */
    struct slice hub_options; /* MessagePack */
};

/* Fault: SCRIPTS when hub.lua has an option, limit or tenant that cannot be understood. */
int catalog_init(struct catalog *catalog, const struct domain *domain, struct fault *fault);
void catalog_release(struct catalog *catalog);
bool catalog_has_tenant(const struct catalog *catalog, struct slice tenant);
/* The aggregate "context/aggregate", or NULL and a NOT_FOUND that names what is missing. */
const struct catalog_aggregate *catalog_find(const struct catalog *catalog, struct slice context,
                                             struct slice aggregate, struct fault *fault);
/* The stream context/name/name that a receptor, service or task writes what it decided in. Fault: NOT_FOUND.
 */
const struct catalog_aggregate *catalog_find_sender(const struct catalog *catalog, struct slice context,
                                                    struct slice name, struct fault *fault);
/* Who may write a stream of its own in the catalog of the code before may go on to do so in this one: what is
 * still at work when a deploy takes its service away ends on the code it began with. */
void catalog_keep_senders(struct catalog *catalog, const struct catalog *before);
/* repl of hub.lua; true without it. */
bool catalog_has_repl(const struct catalog *catalog);
/* limits.NAME of hub.lua, or otherwise. */
int64_t catalog_limit(const struct catalog *catalog, const char *name, int64_t otherwise);

#endif

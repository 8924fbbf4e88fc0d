/* digest.h: one number for all that a hub's scripts made of its log. The same log and scripts give the same
 * in every run, process, number of threads and size of caches; who doubts it compares two of them.
 *
 *     digest_hub(hub, false, print, NULL, &fault);     once for each view, then once for each aggregate
 *
 * Of a view: its position, and per tenant each document in order of the key, each parked key and whether it
 * is stopped, with positions. Of an aggregate: per tenant each stream in order of the id, with version and
 * state; a state that cannot be folded counts with its fault's code. Texts of errors are left out: they name
 * files. A view or aggregate without any has a digest too.
 *
 * Threads: one, of a hub that nobody sends commands to meanwhile. Owns: nothing. */
#ifndef LORE_RUN_DIGEST_H
#define LORE_RUN_DIGEST_H

#include "run/hub.h"

struct digest {
    bool is_view;      /* else an aggregate */
    struct slice name; /* "billing/open_bills" */
    uint64_t position; /* of the view; of the log */
    uint64_t count;    /* documents, or streams */
    uint64_t parked;   /* of a view: keys */
    uint64_t
        failed; /* of a view: tenants for which it stopped; of an aggregate: states that cannot be folded */
    struct hash hash;
};

/* from_events: states are folded from their first event, snapshots are not looked at. Faults: CORRUPT, DISK,
 * UNAVAILABLE (a view that is not built yet). */
int digest_hub(struct hub *hub, bool from_events, void (*each)(void *user, const struct digest *digest),
               void *user, struct fault *fault);

#endif

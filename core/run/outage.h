/* outage.h: what keeps failing is told once when it begins and once when it is over. A full disk is one
 * event for the operator, however many parts of the hub meet it. What comes and goes, as on a disk where
 * small writes still find room, is told every few seconds at most.
 *
 *     struct outage_part part;                           one for each thing that is tried again
 *     if (write(&fault) < 0) outage_met(&hub->outage, &part, "cannot write", &fault);
 *     else                   outage_over(&hub->outage, &part, "cannot write");
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_RUN_OUTAGE_H
#define LORE_RUN_OUTAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

struct outage_told {
    bool told;          /* that it began, and not yet that it is over */
    int64_t told_at_ns; /* 0: never */
};

struct outage {
    pthread_mutex_t lock;
    bool quiet;
    unsigned without_room; /* parts that met a full disk and are not over it */
    struct outage_told room;
};

struct outage_part { /* zeroed at first */
    atomic_int state;
    struct outage_told other; /* than a full disk */
};

void outage_init(struct outage *outage, bool quiet); /* quiet: keeps count and says nothing */
void outage_release(struct outage *outage);
/* what: of the part, for people. */
void outage_met(struct outage *outage, struct outage_part *part, const char *what, const struct fault *fault);
/* Cheap when there was none, so that each success may call it. */
void outage_over(struct outage *outage, struct outage_part *part, const char *what);
/* The part is let go, whatever its state. */
void outage_forget(struct outage *outage, struct outage_part *part);

#endif

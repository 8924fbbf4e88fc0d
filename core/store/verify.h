/* verify.h: walks a data directory and says whether it is what was written.
 *
 * In a child process (a damaged LMDB page can crash the reader: that is a finding too, with the last good
 * position): pages of each LMDB file (magic, tree structure, free and reachable apart, each page once), each
 * record's CRC, MessagePack and chain, gapless positions and versions, recorded never back, names, outcomes
 * and their chain, both head slots, index against log in both directions, documents' checksums and their
 * indexes, the counts of shapes against the log. Stops at the first damage of each part. */
#ifndef LORE_STORE_VERIFY_H
#define LORE_STORE_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

struct verify_report {
    bool ok;
    uint64_t commits, events, outcomes, streams, views, documents;
    uint64_t more; /* things of verify_also */
    uint64_t head_position;
    uint64_t bad_position; /* the first position that is wrong, 0 if none */
    char damage[1024]; /* which file, where, what; empty if ok. Several findings are separated by newlines. */
};

/* progress (may be NULL) is called about every 100,000 events. Returns -1 only if the walk could not be done
 * at all. */
int verify_directory(const char *path, void (*progress)(void *user, uint64_t events, uint64_t events_max),
                     void *user, struct verify_report *report, struct fault *fault);

/* What the layers above keep in the log. Calls find for each damage; returns how many things it looked at. */
struct verify_more {
    const char *name; /* "deploys": for the finding of a crash */
    uint64_t (*run)(const char *path, void (*find)(void *user, const char *sentence), void *user);
};
/* Looks at them in a child process too, into a report of verify_directory. */
int verify_also(const char *path, const struct verify_more *more, struct verify_report *report,
                struct fault *fault);

#endif

/* scan.h: the events of a query, out of the log: what a filter of vm/seek_source.h means, positions to look
 * at, cursors that any thread may have over a part of them.
 *
 *     struct scan_host host = {.engine = engine, .tenant = slice_of("main"), .head = UINT64_MAX};
 *     struct seek_source source = scan_source(&host);
 *
 * Names are looked up once and compared as numbers; payloads are not touched. A cursor gives its read of the
 * log back now and then, however slow whoever pulls from it is: no read pins the file's old pages for long.
 *
 * Threads: as seek_source.h. Owns: nothing beyond what prepare and open give. */
#ifndef LORE_RUN_SCAN_H
#define LORE_RUN_SCAN_H

#include <stdatomic.h>

#include "store/engine.h"
#include "vm/seek_source.h"

struct scan_host {
    struct engine *engine;
    struct slice tenant;          /* of the session */
    const atomic_bool *cancelled; /* ends a long look; NULL: nobody does */
    uint64_t head;                /* events up to here; UINT64_MAX: all that there are when a query begins */
};

/* host is borrowed as long as the source is used; its fields may change between two queries. */
struct seek_source scan_source(struct scan_host *host);

#endif

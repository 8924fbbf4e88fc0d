/* zone.h: a time zone of the system's database: how far its clocks are from UTC, and when that changes.
 *
 *     struct zone *zone;
 *     if (zone_open(slice_of("Europe/Berlin"), &zone, &fault) < 0) ...
 *     struct zone_span span;
 *     zone_at(zone, seconds, &span);
 *     local = seconds + span.offset;
 *
 * The C library knows one zone per process (TZ, tzset), so the files under /usr/share/zoneinfo (RFC 8536) are
 * read here. Threads: immutable after zone_open. Owns: its table. */
#ifndef LORE_CODEC_ZONE_H
#define LORE_CODEC_ZONE_H

#include <stdint.h>

#include "base/fault.h"
#include "base/slice.h"

struct zone;

struct zone_span {          /* while clocks are not changed; seconds since 1970 UTC */
    int64_t from;           /* the first second; INT64_MIN: since ever */
    int64_t to;             /* the first second behind it; INT64_MAX: for ever */
    int32_t offset, before; /* local time minus UTC in seconds: in it, and before it (the same since ever) */
};

/* "Europe/Berlin"; "UTC" is there without any file. Faults: NOT_FOUND (no such zone), CORRUPT (not a file of
 * that database). */
int zone_open(struct slice name, struct zone **zone, struct fault *fault);
void zone_free(struct zone *zone); /* NULL: nothing */
/* The span that a moment lies in. zone may be NULL: UTC. */
void zone_at(const struct zone *zone, int64_t seconds, struct zone_span *span);

/* The bytes of such a file: what zone_open does once it has read them. Fault: CORRUPT. */
int zone_parse(struct slice bytes, struct zone **zone, struct fault *fault);

#endif

/* compare.h: what differs between two MessagePack values, and between the documents of two generations.
 *
 *     struct compare_options options = {.before = answering, .after = scratch};
 *     struct compare *compare;
 *     if (compare_run(&options, &compare, &fault) < 0) ...
 *     compare_put_json(compare, slice_of("billing/open_bills"), &report);       {"name":…}
 *     if (compare->counts.removed > policy) ...
 *     compare_free(compare);
 *
 * Documents are read in order of tenant and key, a page at a time, so no generation is held for long; or from
 * snapshots that the caller opened. Two generations compare well only at the same position: the caller sees
 * to that, or reads both positions from the report.
 *
 * Threads: any; one at a time. Owns: the report. */
#ifndef LORE_RUN_COMPARE_H
#define LORE_RUN_COMPARE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/map.h"
#include "store/docs.h"

/* --- fields --- */

struct compare_field {
    struct slice path; /* "total", "address.city" */
    uint64_t count;
};

struct compare_fields { /* zeroed to begin with */
    struct map by_path;
    struct arena arena;
};

/* Counts each field in which the two maps differ: added, removed or changed; within maps that both have, the
 * field inside, down to depth. A value that is no map counts as one without fields. */
void compare_values(struct compare_fields *fields, struct slice before, struct slice after, unsigned depth);
void compare_fields_add(struct compare_fields *fields, struct slice path, uint64_t count);
/* Adds what another one counted. */
void compare_fields_merge(struct compare_fields *fields, const struct compare_fields *other);
/* The most frequent first, at most `most` of them; out of arena. */
struct compare_field *compare_fields_list(const struct compare_fields *fields, size_t most,
                                          struct arena *arena, size_t *count);
void compare_fields_release(struct compare_fields *fields);
/* {"total":2,…} */
void compare_fields_json(const struct compare_field *fields, size_t count, struct buf *json);
/* A value as JSON for a sample; of a large one, only the fields in which it differs from other, without those
 * that are large themselves. Empty value: null. */
void compare_sample_json(struct slice value, struct slice other, struct buf *json);

/* --- documents --- */

enum { COMPARE_DEPTH = 3, COMPARE_FIELDS_MAX = 100 };

struct compare_options {
    struct docs *before; /* NULL: there is no generation yet */
    struct docs *after;  /* NULL: the projection is gone */
    struct docs_read *before_read,
        *after_read;          /* NULL, or what to read: opened with range.all, so that both are one
                                 snapshot, at the same position if the caller saw to it */
    size_t samples;           /* of each: added, removed, changed; the first in order; 0: 5 */
    const atomic_bool *stop;  /* may be NULL; set: compare_run fails with UNAVAILABLE */
    atomic_ullong *documents; /* may be NULL: documents read so far */
};

struct compare_counts {
    uint64_t before, after; /* documents */
    uint64_t added, removed, changed, same;
    uint64_t parked_before, parked_after;   /* keys */
    uint64_t stopped_before, stopped_after; /* tenants for which the projection stopped */
};

struct compare_sample {
    struct slice tenant, key;
    struct slice before, after; /* JSON; empty: there is none */
};

struct compare_failure { /* a parked key or a stopped tenant of the new generation, the first in order */
    struct slice tenant, key, error;
    uint64_t position, skipped;
    bool is_old; /* the old one has it as well, whatever its error */
};

enum { COMPARE_ADDED, COMPARE_REMOVED, COMPARE_CHANGED, COMPARE_KINDS };

struct compare {
    struct compare_counts counts;
    uint64_t position_before, position_after; /* checkpoints; 0: none */
    struct compare_field *fields;             /* of changed documents, most often changed first */
    size_t field_count;
    struct compare_sample *samples[COMPARE_KINDS];
    size_t sample_count[COMPARE_KINDS];
    struct compare_failure *parked, *stopped;
    size_t parked_count, stopped_count; /* listed; counts has how many there are */
    double seconds;
    struct arena arena;
};

/* Faults: CORRUPT, DISK, UNAVAILABLE (stopped). */
int compare_run(const struct compare_options *options, struct compare **compare, struct fault *fault);
void compare_free(struct compare *compare);

/* Appends one object:
 *
 *   {"name":"billing/open_bills","positions":{"before":70,"after":70},
 *    "documents":{"before":10,"after":11,"added":2,"removed":1,"changed":3,"same":6},
 *    "fields":{"total":3,"address.city":1},
 *    "samples":[{"change":"changed","tenant":"main","key":"b1","before":{…},"after":{…}}],
 *    "parked":{"before":0,"after":1,"samples":[{"tenant":"main","key":"b7","error":"…","position":9,
 *                                               "skipped":2,"before":false}]},
 *    "stopped":{"before":0,"after":0,"samples":[{"tenant":"main","error":"…","position":9,"before":false}]}}
 *
 * change: "added", "removed", "changed"; of what is added there is no "before", of what is removed no
 * "after". A failure's "before" tells whether the old generation had it as well. */
void compare_put_json(const struct compare *compare, struct slice name, struct buf *json);

#endif

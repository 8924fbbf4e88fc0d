/* shadow.h: what other aggregates would have made of the history that is there: the gate of a deploy.
 *
 *     struct shadow_options options = {
 *         .engine = engine,
 *         .running = {.sources = old, .message_size_max = …},      as hub_domain_open makes them
 *         .next = {.sources = changed, .message_size_max = …},
 *         .stop = &stop, .progress = &progress};
 *     struct shadow *shadow;
 *     if (shadow_run(&options, &shadow, &fault) < 0) ...
 *     json_put_name(&report, "aggregates");
 *     shadow_put_json(shadow, &report);                            [{"name":…},…]
 *     if (shadow->total.commands.refused > policy) ...
 *     shadow_free(shadow);
 *
 * Each stream of an aggregate that changed is folded from its first event with both codes, and each command
 * that the log holds is decided again by the new code, on the state that the real history gives under the new
 * code, with the envelope it had. Where that is not what was recorded, the old code decides it as well, on
 * its own state: what both of them do now is no difference of this deploy. Whatever is decided, what was
 * recorded is what is applied. At the end of a stream both states are compared.
 *
 * An aggregate counts as changed if its code, the contract of a command it handles or of an event of its
 * context did. Streams are looked at one after another, so memory does not grow with the log: a pass over the
 * index takes those whose hash falls into its part, and the threads share them. The result is the same for
 * any number of threads and passes. Of what arrives meanwhile nothing is seen.
 *
 * What a command that was refused or gave nothing cannot tell is the time it was given for (at): it is
 * decided again at the time when it was recorded.
 *
 * Threads: shadow_run from any, makes its own; it may run beside a hub. Owns: the report. */
#ifndef LORE_RUN_SHADOW_H
#define LORE_RUN_SHADOW_H

#include <stdatomic.h>

#include "base/arena.h"
#include "run/compare.h"
#include "store/engine.h"
#include "vm/domain.h"

struct shadow_progress { /* zeroed by the caller, read by anybody meanwhile */
    atomic_ullong streams_total, streams, events, commands;
};

struct shadow_options {
    struct engine *engine;
    struct domain_options running; /* sources NULL: nothing ran; all aggregates are new then */
    struct domain_options next;
    size_t threads;      /* 0: 2 */
    bool idle;           /* they run only while nobody else wants the processors */
    bool everything;     /* all aggregates; else those that changed */
    int64_t since_ms;    /* only streams with anything recorded at or after it; 0: all */
    uint64_t budget_ms;  /* no stream is begun later; 0: no end. A sample of the streams is looked at then */
    size_t samples;      /* of each kind and aggregate, the first in order of tenant and id; 0: 5 */
    size_t part_streams; /* streams of one pass over the index; 0: a million (some 100 MB) */
    const atomic_bool *stop;          /* may be NULL; set: shadow_run fails with UNAVAILABLE */
    struct shadow_progress *progress; /* may be NULL */
};

enum shadow_change { SHADOW_SAME, SHADOW_CHANGED, SHADOW_ADDED, SHADOW_REMOVED };

/* How a command differs. */
enum shadow_kind {
    SHADOW_REFUSED,      /* was accepted: now reject() or no contract for it */
    SHADOW_ACCEPTED,     /* was refused: now events, or none but accepted */
    SHADOW_OTHER_REASON, /* refused with another code */
    SHADOW_OTHER_EVENTS, /* types, order or data; or none, or some where there were none */
    SHADOW_ERROR,        /* the script fails */
    SHADOW_KINDS
};

struct shadow_commands { /* the commands of one transaction count as one */
    uint64_t decided;    /* = same + already + the sum of differs */
    uint64_t same;       /* as recorded */
    uint64_t upcast;     /* of these: in a newer version of the event that says the same */
    uint64_t already;    /* not as recorded, but the running code does the same */
    uint64_t differs[SHADOW_KINDS];
    uint64_t undecided; /* behind an event at which the new code cannot fold the stream */
};

struct shadow_counts {
    uint64_t streams;        /* looked at, to their end */
    uint64_t events;         /* of them */
    uint64_t states_changed; /* other states than under the running code */
    uint64_t states_failed;  /* that the new code cannot fold, and the running code can */
    uint64_t older;          /* streams without anything recorded since */
    uint64_t left_out;       /* streams that the budget left out, at least in part */
    struct shadow_commands commands;
};

struct shadow_sample {
    struct slice tenant, id;    /* of the stream */
    uint64_t version;           /* the stream's when it was decided; of the event that fails; of the state */
    uint64_t position;          /* of the commit's first event; without events: of the stream's last one */
    struct slice type;          /* of the (first) command; of the event that fails */
    struct slice before, after; /* JSON: states, or outcomes as shadow_put_json has them; may be empty */
};

struct shadow_samples {
    struct shadow_sample *items; /* in order of tenant, id, version */
    size_t count;
};

struct shadow_error {  /* of the new code, where the running code has none */
    struct slice text; /* "billing/bill.lua:12: message", of its first example */
    uint64_t count;    /* commands and streams */
    struct shadow_sample example;
};

struct shadow_aggregate {
    struct slice name; /* "billing/bill" */
    enum shadow_change change;
    const struct slice *reasons; /* "billing/bill.lua changed", "contract billing.BillClosed is new" */
    size_t reason_count;
    struct shadow_counts counts;
    struct compare_field *fields; /* of changed states, most often changed first */
    size_t field_count;
    struct shadow_samples states;
    struct shadow_samples commands[SHADOW_KINDS];
    struct shadow_error *errors; /* most frequent first */
    size_t error_count;
};

struct shadow {
    struct shadow_aggregate *aggregates; /* in order of name; those that were looked at or removed */
    size_t count;
    struct shadow_counts total;
    uint64_t position; /* the log up to here */
    bool is_cut;       /* the budget ended it */
    double seconds;
    struct arena arena;
};

/* Faults: SCRIPTS (a set of scripts does not load), DISK, CORRUPT, UNAVAILABLE (stopped, or no memory for
 * scripts). */
int shadow_run(const struct shadow_options *options, struct shadow **shadow, struct fault *fault);
void shadow_free(struct shadow *shadow);

/* Appends the list of aggregates:
 *
 *   [{"name":"billing/bill","change":"changed","reason":["billing/bill.lua changed"],
 *     "streams":10,"events":50,"states_changed":2,"states_failed":0,
 *     "fields":{"total":2},
 *     "samples":[{"tenant":"main","stream":"b1","version":3,"before":{…},"after":{…}}],
 *     "commands":{"decided":40,"same":37,"upcast":0,"already":1,"refused":1,"accepted":0,"other_reason":0,
 *                 "other_events":1,"errors":0,"undecided":0},
 *     "command_samples":[{"kind":"refused","tenant":"main","stream":"b1","version":3,"position":7,
 *                         "type":"PayBill","before":OUTCOME,"after":OUTCOME}],
 *     "errors":[{"error":"billing/bill.lua:12: …","count":1,
 *                "example":{"tenant":"main","stream":"b1","version":3,"position":7,"type":"BillPaid"}}],
 *     "older":0,"left_out":0}]
 *
 * change: "changed", "added", "removed", "same". Kinds: as the counters of "commands"; "version" of a command
 * is the stream's before it. A state that is larger than 16 KiB shows only the fields that differ. OUTCOME:
 * {"events":[{"type":"BillPaid","data":{…}}]}, {"refused":"closed","message":"…"} or {"error":"…"}. */
void shadow_put_json(const struct shadow *shadow, struct buf *json);
/* "refused", … */
const char *shadow_kind_name(enum shadow_kind kind);

#endif

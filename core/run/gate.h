/* gate.h: what a deploy would change in what is stored, and whether that refuses it.
 *
 * The report is one JSON object:
 *
 *   {"deploy":42,"before":41,"plan":false,"forced":false,"same":false,
 *    "scripts":[{"path":"billing/bill.lua","change":"changed"}],             added, removed, changed
 *    "loads":{"ok":true,"errors":[…],"warnings":["…"]},                      vm/excerpt.h
 *    "specs":{"passed":12,"failed":0} or null,                               as whoever ran them says
 *    "contracts":[…],"back":[…],                                             gate_contracts.h
 *    "projections":[{…,"reason":"…","rebuild_seconds":0.4,"kept":false}],    compare.h
 *    "aggregates":[…],                                                       shadow.h
 *    "replay":{"done":true,"position":561470,"seconds":4.1} or null,
 *    "refused":["3 recorded commands would now be refused (deploy.refuse: commands_refused)"],"seconds":5.0}
 *
 * deploy is the number it has or would have. Where the scripts do not load there is nothing behind "loads".
 * Projections and aggregates are there only after a replay. Of a projection that goes, or was not built in
 * time, there are only name, reason and "kept".
 *
 * Threads: the deployer's; progress from any. Owns: nothing. */
#ifndef LORE_RUN_GATE_H
#define LORE_RUN_GATE_H

#include "run/policy.h"
#include "run/release.h"
#include "run/shadow.h"

enum gate_state { GATE_IDLE, GATE_LOADING, GATE_CONTRACTS, GATE_BUILDING, GATE_REPLAYING, GATE_SWITCHING };

struct gate_progress { /* of the deploy under way, for status */
    _Atomic(enum gate_state) state;
    atomic_ullong done, of;
    atomic_llong began_ns;
    struct shadow_progress shadow;
};

struct gate {
    struct hub *hub;
    struct release *running, *next;
    struct deploy_order *order; /* its report is filled */
    const atomic_bool *stop;
    struct gate_progress *progress;
    struct gate_counts counts;
    int64_t began_ns;
    size_t refusals;
    char first_refusal[256];
};

/* Loads the sources, which it takes. What is wrong with them is in the report. Faults: SCRIPTS, BUDGET. */
int gate_load(struct gate *gate, struct sources *sources, struct fault *fault);
/* With next loaded. What refuses the deploy is no fault: it is counted. Faults: DISK, CORRUPT, UNAVAILABLE
 * (stopped). */
int gate_run(struct gate *gate, struct fault *fault);
/* The report for scripts that run already. */
void gate_say_same(struct gate *gate);
const char *gate_state_name(enum gate_state state);

#endif

/* gate.h: what a deploy would change, and whether that refuses it.
 *
 * Threads: the deployer's. Owns: nothing. */
#ifndef LORE_RUN_GATE_H
#define LORE_RUN_GATE_H

#include "run/release.h"

struct gate {
    struct hub *hub;
    struct release *release;
    struct deploy_order *order; /* its report is filled */
    const atomic_bool *stop;
    size_t refusals;
    char first_refusal[256];
};

/* Takes the sources. Errors are in the report, too. Fault: SCRIPTS, BUDGET. */
int gate_load(struct gate *gate, struct sources *sources, struct release **release, struct buf *errors,
              struct fault *fault);
int gate_run(struct gate *gate, struct fault *fault);
void gate_say_same(struct gate *gate);

#endif

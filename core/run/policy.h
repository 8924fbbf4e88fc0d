/* policy.h: what refuses a deploy: hub.lua's deploy = { refuse = … }, held against what the gate counted.
 *
 *     deploy = { refuse = { "specs", "contracts_break", "errors" } }         these and nothing else
 *     deploy = { refuse = { documents_removed = 100, errors = false } }      the default, but for these
 *
 * A name, or true, refuses as soon as one is counted; a number refuses above it; false never. "loads" always
 * refuses; with an empty table nothing else does.
 *
 *     struct policy policy;
 *     if (policy_read(&policy, domain_hub_options(domain), &fault) < 0) ...
 *     refused = policy_judge(&policy, &counts, json, text);
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_RUN_POLICY_H
#define LORE_RUN_POLICY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"

enum gate_count {
    GATE_LOADS,             /* errors that keep the scripts from loading */
    GATE_SPECS,             /* specs that fail */
    GATE_CONTRACTS_BREAK,   /* rows of "contracts" with verdict breaks */
    GATE_CONTRACTS_LOSE,    /* with verdict loses */
    GATE_BACK,              /* rows of "back" */
    GATE_DOCUMENTS_REMOVED, /* of all projections */
    GATE_DOCUMENTS_CHANGED,
    GATE_DOCUMENTS_ADDED,
    GATE_STATES_CHANGED,    /* aggregates that fold to another state */
    GATE_COMMANDS_REFUSED,  /* recorded commands that were taken and would be refused */
    GATE_COMMANDS_ACCEPTED, /* that were refused and would be taken */
    GATE_COMMANDS_OTHER,    /* that would give other events */
    GATE_ERRORS,            /* of scripts, where there were none before */
    GATE_PARKED,            /* keys of projections that stop, where they did not before */
    GATE_COUNTS
};

struct gate_counts {
    uint64_t of[GATE_COUNTS];
};

struct policy {
    uint64_t above[GATE_COUNTS]; /* refuses when more are counted; UINT64_MAX: never */
};

/* The default: loads, specs, contracts_break, errors. */
void policy_init(struct policy *policy);
/* Out of hub.lua's options (MessagePack; may be empty). Fault: SCRIPTS, with the nearest name. */
int policy_read(struct policy *policy, struct slice hub_options, struct fault *fault);
/* How many reasons there are to refuse. Each is appended to the array json (may be NULL; "[…]" as a whole) as
 * text, "3 recorded commands would now be refused (deploy.refuse: commands_refused)", and to text (may be
 * NULL) as a line. */
size_t policy_judge(const struct policy *policy, const struct gate_counts *counts, struct buf *json,
                    struct buf *text);
const char *policy_name(enum gate_count count); /* "commands_refused" */

#endif

/* redeploy_tell.h: says to the operator what a deploy of the served folder came to: "billing/bill.lua
 * changed: deploy 43 runs (112 ms), 1 view rebuilds", or each error with its line, or why it was refused.
 * Threads: any. */
#ifndef LORE_CLI_REDEPLOY_TELL_H
#define LORE_CLI_REDEPLOY_TELL_H

#include "cli/specs.h"
#include "run/hub.h"

struct redeploy_told {
    struct hub *hub;
    const struct deploy_order *order; /* answered */
    const struct specs *specs;
    bool even_same; /* say it even if the folder holds what runs */
    int64_t ms;     /* that it took */
};

void redeploy_tell(const struct redeploy_told *told);

#endif

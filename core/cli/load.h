/* load.h: sends commands over HTTP as fast as they are answered: so many connections, on each the next
 * request when the answer is there. Each command is a new one, to a stream of its own.
 *
 *     struct load load = {.port = 7070, .connections = 64, .seconds = 3, .path = "/v1/main/shop/order/",
 * .prefix = "r1-", .body = "{...}"}; if (load_run(&load, &result, &fault) < 0) ...
 *
 * Threads: one. */
#ifndef LORE_CLI_LOAD_H
#define LORE_CLI_LOAD_H

#include <stdint.h>

#include "base/fault.h"

struct load {
    int port; /* on 127.0.0.1 */
    int connections;
    double seconds;
    const char *path;   /* the stream's path without its id */
    const char *prefix; /* of the ids; no run may have had it before */
    const char *body;   /* JSON */
};

struct load_result {
    uint64_t answered; /* with 200 */
    double seconds;    /* from the first request to the last answer */
    double p50_ms, p99_ms;
};

/* Faults: UNAVAILABLE: the hub cannot be reached or cut a connection; REJECTED: an answer that is not 200
 * (its status line). */
int load_run(const struct load *load, struct load_result *result, struct fault *fault);

#endif

/* fetch.h: HTTP requests of services and tasks, many at once, in one thread that never blocks.
 *
 *     struct fetch_call *call = fetch_start(fetch, domain_run_request(run), run);
 *     for (;;) {
 *         fetch_wait(fetch, timeout_ms);                      sleeps until something happens, or fetch_wake
 *         while ((call = fetch_next(fetch))) {
 *             domain_run_step(fetch_user(call), fetch_response(call), &fault);
 *             fetch_free(call);
 *         }
 *     }
 *
 * What the other end may do to us is bounded: time, size of answer and headers, redirects (of a GET without
 * headers of its own only, five, never away from https; any other method is answered with the redirect
 * itself). TLS is verified, addresses are asked of reach.h, and nothing is taken from the environment (no
 * proxies, no .netrc, no cookies).
 *
 * Threads: one at a time, but fetch_wake: any. Owns: connections; a call owns its answer. */
#ifndef LORE_RUN_FETCH_H
#define LORE_RUN_FETCH_H

#include "base/fault.h"
#include "run/reach.h"
#include "vm/domain.h"

struct fetch;
struct fetch_call;

struct fetch_options {
    const struct reach *reach; /* must outlive the fetch */
    int64_t timeout_ms;        /* where a request asks for none; */
    int64_t timeout_max_ms;    /* where it asks for more */
    size_t response_size_max, headers_size_max;
};

int fetch_open(const struct fetch_options *options, struct fetch **fetch, struct fault *fault);
/* Every call must have been freed. */
void fetch_close(struct fetch *fetch);

/* Begins a request, which is borrowed until fetch_free. Never fails: what cannot be done is an answer with an
 * error. */
struct fetch_call *fetch_start(struct fetch *fetch, const struct domain_request *request, void *user);
/* Up to timeout_ms (-1: for ever). */
void fetch_wait(struct fetch *fetch, int timeout_ms);
void fetch_wake(struct fetch *fetch);
/* The next call that has its answer, or NULL; each is told once. */
struct fetch_call *fetch_next(struct fetch *fetch);
const struct domain_response *fetch_response(const struct fetch_call *call);
void *fetch_user(const struct fetch_call *call);
/* One without an answer is cancelled. */
void fetch_free(struct fetch_call *call);

#endif

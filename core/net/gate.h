/* gate.h: judges the head of a request before anything else looks at it.
 *
 * It refuses what can be read in two ways (two Content-Lengths, Content-Length beside Transfer-Encoding,
 * unknown codings); and who must not speak here, since a browser on this machine may be steered by strangers:
 * a page of another site must not send commands, and a name that was rebound to 127.0.0.1 must not read
 * answers.
 *
 *     struct gate_verdict verdict;
 *     if (!gate_check(&request, &limits, &verdict)) answer verdict.status, verdict.code, verdict.text and
 * close;
 *
 * A pure function. Threads: any. Owns: nothing. */
#ifndef LORE_NET_GATE_H
#define LORE_NET_GATE_H

#include <stdint.h>

#include "base/slice.h"

struct gate_header {
    struct slice name, value;
};

struct gate_request {
    struct slice method, target, version; /* "POST", "/v1/main/...?a=b" as sent, "HTTP/1.1" */
    const struct gate_header *headers;
    size_t header_count;
    size_t head_size; /* bytes of the whole head, 0: unknown (then summed up) */
};

struct gate_limits {
    size_t head_size_max;
    size_t target_size_max;
};

struct gate_verdict {
    int status;             /* 0: passed; else of the answer, after which the connection is closed */
    const char *code;       /* "malformed", "forbidden", ... ; NULL when passed */
    char text[200];         /* what is wrong, in words; empty when passed */
    int64_t content_length; /* -1: none given */
    bool chunked;
    bool expects_continue; /* the client waits for a word before it sends the body */
};

bool gate_check(const struct gate_request *request, const struct gate_limits *limits,
                struct gate_verdict *verdict);

/* Names compare without case. */
bool gate_same_name(struct slice a, const char *lower);
/* Whether "host" or "host:port" names this machine: localhost, *.localhost, 127.0.0.0/8, [::1]. */
bool gate_is_loopback(struct slice host);

#endif

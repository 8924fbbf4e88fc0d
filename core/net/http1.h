/* http1.h: the bytes of HTTP/1.1 requests: where a head ends, what it consists of, which bytes of a chunked
 * body are data. Strict: lines end with CR LF and nothing else; what the parts may hold is the gate's to
 * judge (gate.h).
 *
 *     size_t line = 0;
 *     long size = http1_head_size(bytes, &line);        0: not whole yet, -1: never will be
 *     struct http1_head head;
 *     http1_head_read(slice_make(bytes.data, size), &head);
 *
 *     struct http1_chunks chunks = {0};
 *     while ((step = http1_chunks_next(&chunks, &rest, &data)) == HTTP1_DATA) ... data
 *
 * Pure functions. Threads: any. Owns: nothing; slices point into what was given. */
#ifndef LORE_NET_HTTP1_H
#define LORE_NET_HTTP1_H

#include <stdint.h>

#include "net/gate.h"

enum { HTTP1_HEADERS_MAX = 128 };

struct http1_head {
    struct slice method, target, version; /* empty if the line has fewer parts: the gate refuses that */
    struct gate_header headers[HTTP1_HEADERS_MAX];
    size_t header_count;
};

/* Bytes of the head that bytes begin with, its empty line included (2: nothing but an empty line). 0: its end
 * is not there yet. -1: a line ends without CR. *line is where the search goes on, 0 at first. */
long http1_head_size(struct slice bytes, size_t *line);
/* Cuts a whole head. 0; -1: a header without a colon; -2: more than HTTP1_HEADERS_MAX headers. */
int http1_head_read(struct slice head, struct http1_head *read);

enum http1_step {
    HTTP1_MORE, /* rest is used up */
    HTTP1_DATA, /* data is the next of the body */
    HTTP1_END,  /* the body is whole; rest is what follows it */
    HTTP1_BAD
};

struct http1_chunks { /* zero at first */
    int state;
    int digits;
    uint64_t left;   /* of the chunk */
    size_t overhead; /* bytes of extensions and trailers so far */
};

enum http1_step http1_chunks_next(struct http1_chunks *chunks, struct slice *rest, struct slice *data);

#endif

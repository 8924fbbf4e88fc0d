/* server.h: HTTP/1.1 for the rest of net/.
 *
 * An exchange is one request and its answer. The handler gets it when the whole request is there and passed
 * the gate; it answers at once or later, once, on the loop's thread:
 *
 *     static void handle(void *user, struct exchange *exchange)
 *     {
 *         buf_put_text(exchange_out(exchange), "hello\n");
 *         exchange_reply(exchange, 200, "text/plain");
 *     }
 *     struct server_options options = {.loop = loop, .handle = handle};
 *     if (server_open(&options, &server, &fault) < 0) ...
 *     server_listen(server, fd, false);
 *
 * Long answers are pulled piece by piece, never faster than the client reads:
 *
 *     exchange_stream(exchange, 200, "text/event-stream", pull, state);
 *     exchange_wake(exchange);                       after pull said WAIT: there may be more
 *
 * What the server sees to by itself: the gate, sizes (413 after reading on for a while, so that the client
 * sees it), deadlines for slow senders and readers, the number of connections, 503 when bodies in flight take
 * too much memory.
 *
 * Threads: the loop's only. Owns: connections, exchanges; an exchange lives until `ended` was called for it.
 */
#ifndef LORE_NET_SERVER_H
#define LORE_NET_SERVER_H

#include <stdint.h>

#include "base/fault.h"
#include "net/exchange.h"

struct server;
struct uv_loop_s;

/* 0 stands for the default. */
struct server_limits {
    size_t connections_max;
    size_t head_size_max, target_size_max;
    size_t body_size_max;
    size_t bodies_size_max;  /* all request bodies in memory together */
    size_t dropped_size_max; /* of a body too large, read only so that the client sees the answer */
    int64_t dropped_ms;
    int64_t head_ms;       /* from the first byte of a head to its last */
    int64_t idle_ms;       /* a kept connection without a request; a client that does not read */
    int64_t body_grace_ms; /* then a body must have come at body_rate_min bytes a second */
    int64_t body_rate_min;
    int64_t sweep_ms; /* how often deadlines are looked at */
    int64_t drain_ms; /* how long server_close lets answers finish */
};

struct server_options {
    struct uv_loop_s *loop;
    struct server_limits limits;
    void (*handle)(void *user, struct exchange *exchange);
    /* The exchange is over, answered in full or not; status 0: never answered. Its arena and bufs go after
     * this. */
    void (*ended)(void *user, struct exchange *exchange, int status);
    /* At the end of each turn of the loop: everything that was ready has been handled. May be NULL. */
    void (*turned)(void *user);
    void *user;
};

struct server_counts {
    size_t connections, exchanges; /* open now; exchanges: taken and not yet ended */
    uint64_t accepted, refused;    /* ever; refused: above connections_max */
    uint64_t cut;                  /* too slow */
};

/* Puts the defaults where there is 0. */
void server_fill_limits(struct server_limits *limits);
int server_open(const struct server_options *options, struct server **server, struct fault *fault);
/* Takes a listening socket. is_local: AF_UNIX, where only this process's user and root are let in. */
void server_listen(struct server *server, int fd, bool is_local);
/* No new connections, idle ones are closed, the others when their answer is out. Streams must be ended by who
 * pulls them. */
void server_stop(struct server *server);
/* Runs the loop until answers are out (at most drain_ms), then frees everything. Not from within a callback
 * of the loop. */
void server_close(struct server *server);
void server_count(const struct server *server, struct server_counts *counts);

#endif

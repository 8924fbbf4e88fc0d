/* net.h: the hub over HTTP: the routes of /v1, live tails, health and metrics.
 *
 *     struct net_options options = {.hub = hub, .loop = loop, .host = "127.0.0.1", .port = 7070,
 *                                   .socket_path = "data/hub.sock"};
 *     if (net_open(&options, &net, &fault) < 0) ...
 *     uv_run(loop, UV_RUN_DEFAULT);          until somebody calls uv_stop
 *     net_stop(net);                         no new connections; waiting readers are answered, tails end
 *     hub_stop(hub);                         commands in flight are answered by the hub
 *     net_close(net);                        those answers go out
 *     hub_close(hub);
 *
 * Threads: the loop's. Owns: its sockets; the hub and the loop are the caller's and outlive it. */
#ifndef LORE_NET_NET_H
#define LORE_NET_NET_H

#include "base/fault.h"
#include "net/server.h"
#include "run/hub.h"

struct net;
struct uv_loop_s;

struct net_options {
    struct hub *hub;
    struct uv_loop_s *loop;
    const char *host;            /* NULL: no TCP */
    int port;                    /* 0: any free one, see net_port */
    const char *socket_path;     /* NULL: none; made with mode 0600, removed by net_close */
    bool access_log;             /* one line a request, as diagnostics */
    struct server_limits limits; /* 0: those of hub.lua, then the defaults */
    int64_t heartbeat_ms;        /* between comments in a silent tail; 0: 15 s */
    /* Somebody wants the log rolled back to a moment; called on the loop's thread, out of a handler, so what
     * it begins begins later. It ends with net_rolled_back. NULL: this hub cannot. */
    void (*rollback)(void *user, struct slice to);
    void *rollback_user;
};

/* Faults: USAGE (not loopback), IN_USE (port or socket), PERMISSION, DISK. */
int net_open(const struct net_options *options, struct net **net, struct fault *fault);
/* The TCP port it listens on; 0: none. */
int net_port(const struct net *net);
void net_stop(struct net *net);

/* To open the hub again under the same sockets and connections:
 *
 *     net_pause(net);             new requests are answered 503 rebuilding, tails end, readers who wait go
 *     hub_stop(hub);              in another thread: commands in flight are answered
 *     net_detach(net);            nothing here knows the hub any more
 *     hub_close(hub); ... hub_open(...)
 *     net_attach(net, hub);
 *     net_rolled_back(net, &fault or NULL, json);
 */
void net_pause(struct net *net);
void net_detach(struct net *net);
void net_attach(struct net *net, struct hub *hub);
/* Answers who asked for it, if he is still there: with the fault, or with the JSON. */
void net_rolled_back(struct net *net, const struct fault *fault, struct slice json);

/* The hub must be stopped (not closed), so that nothing is in flight there. Runs the loop; not from within
 * its callbacks. */
void net_close(struct net *net);

#endif

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
};

/* Faults: USAGE (not loopback), IN_USE (port or socket), PERMISSION, DISK. */
int net_open(const struct net_options *options, struct net **net, struct fault *fault);
/* The TCP port it listens on; 0: none. */
int net_port(const struct net *net);
void net_stop(struct net *net);
/* The hub must be stopped (not closed), so that nothing is in flight there. Runs the loop; not from within
 * its callbacks. */
void net_close(struct net *net);

#endif

/* host.h: a hub with its doors in this process: hub, HTTP and the loop that serves them.
 *
 *     if (host_open(&options, &host, &fault) < 0) ...
 *     host_run(host);        until host_stop
 *     host_close(host);      answers what was taken, flushes; the process ends after it
 *
 * Threads: open, run and close by one; host_stop by any, and from signal handlers of the loop. Owns: hub,
 * net, loop. */
#ifndef LORE_CLI_HOST_H
#define LORE_CLI_HOST_H

#include "net/net.h"
#include "run/hub.h"

struct host;

struct host_options {
    struct hub_options hub;
    const char *host; /* NULL: only the Unix socket */
    int port;
    bool access_log;
    bool signals; /* SIGINT and SIGTERM stop it, SIGHUP deploys the scripts folder */
    bool watch;   /* with signals: the folder is deployed when it was saved */
};

int host_open(const struct host_options *options, struct host **host, struct fault *fault);
struct hub *host_hub(struct host *host);
int host_port(const struct host *host);
/* data/hub.sock of a data directory, as text to be freed with mem_free. */
char *host_socket_path(const char *data);
void host_run(struct host *host);
void host_stop(struct host *host);
void host_close(struct host *host);

#endif

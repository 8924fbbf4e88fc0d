/* socket.h: what must be said to the operating system about sockets. Only loopback and AF_UNIX: there is no
 * access control.
 *
 * Threads: any. Owns: nothing; whoever gets a descriptor closes it. */
#ifndef LORE_NET_SOCKET_H
#define LORE_NET_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"

/* A listening socket on host ("127.0.0.1", "localhost", "::1") and *port, which becomes the chosen one if it
 * was 0. Faults: USAGE (an address that is not loopback, or none at all), IN_USE, PERMISSION. */
int socket_listen(const char *host, int *port, int *fd, struct fault *fault);
/* A listening AF_UNIX socket that only this user can reach. One that a dead hub left is replaced.
 * Faults: IN_USE (somebody answers there), USAGE (the path is too long), PERMISSION, DISK. */
int socket_listen_local(const char *path, int *fd, struct fault *fault);
/* The next connection, non-blocking; -1 with errno. */
int socket_accept(int fd);
/* Whether the other end of an AF_UNIX connection is this process's user or root. */
bool socket_is_own(int fd);
/* A whole answer that says no, written at once or not at all: for connections that end here. */
void socket_send_problem(int fd, int status, const char *code, const char *detail);
/* Lets the process have count descriptors if its hard limit allows. */
void socket_raise_limit(uint64_t count);

#endif

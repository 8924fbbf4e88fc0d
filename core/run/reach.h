/* reach.h: which addresses the scripts' HTTP requests may go to. Whoever can make a service ask a URL of his
 * choice must not get behind the firewall, nor to the hub itself: what is private, local, link-local,
 * reserved or an address of this very machine is refused, unless hub.lua says otherwise:
 *
 *     http = { allow = { "127.0.0.1:8025", "10.0.0.0/8", "[::1]:8025", "fd00::/8" } }
 *
 * It is asked for the address that is about to be connected to, so a name that resolves to something else the
 * second time gains nothing.
 *
 * Threads: immutable after reach_init. Owns: its rules. */
#ifndef LORE_RUN_REACH_H
#define LORE_RUN_REACH_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/fault.h"
#include "base/slice.h"

struct reach_rule {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    unsigned bits;       /* of it that count */
    uint16_t port;       /* 0: any */
};

struct reach {
    struct reach_rule *allowed;
    size_t count;
};

/* hub_options is hub.lua as MessagePack, or empty. Fault: SCRIPTS. */
int reach_init(struct reach *reach, struct slice hub_options, struct fault *fault);
void reach_release(struct reach *reach);
bool reach_allows(const struct reach *reach, const struct sockaddr *address);
/* Whether it is one of this machine's, public or not: behind it are the hub and its neighbours. */
bool reach_is_own(const struct sockaddr *address);
/* "127.0.0.1:80", "[::1]:80": for error texts; text needs 64 bytes. */
void reach_text(const struct sockaddr *address, char text[64]);

#endif

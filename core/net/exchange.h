/* exchange.h: one request and its answer, as a handler of the server sees it (see server.h).
 *
 * The handler reads the request and answers once, at once or later, on the loop's thread. What it reads is
 * borrowed until the exchange ends.
 *
 * Threads: the loop's. Owns: its arena and bufs. */
#ifndef LORE_NET_EXCHANGE_H
#define LORE_NET_EXCHANGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

struct exchange;

enum server_pull {
    SERVER_MORE, /* something was appended, or will be: ask again */
    SERVER_WAIT, /* nothing for now: ask after exchange_wake */
    SERVER_END,  /* the answer is whole */
    SERVER_CUT   /* it cannot be finished: the client must notice */
};

/* The request. */
struct slice exchange_method(struct exchange *exchange);
struct slice exchange_target(struct exchange *exchange);
struct slice exchange_header(struct exchange *exchange, const char *name); /* data NULL: not there */
struct slice exchange_body(struct exchange *exchange);
struct arena *exchange_arena(struct exchange *exchange);
/* Whether the client has ended its side: nobody may read the answer. */
bool exchange_is_left(struct exchange *exchange);
/* A place for the handler's own. */
void **exchange_user(struct exchange *exchange);

/* The answer. Values are copied. */
struct buf *exchange_out(struct exchange *exchange);
void exchange_put_header(struct exchange *exchange, const char *name, struct slice value);
void exchange_reply(struct exchange *exchange, int status, const char *content_type);
/* What is already in exchange_out goes first. pull appends to out; it is not called for HEAD. */
void exchange_stream(struct exchange *exchange, int status, const char *content_type,
                     enum server_pull (*pull)(void *user, struct buf *out), void *user);
void exchange_wake(struct exchange *exchange);

#endif

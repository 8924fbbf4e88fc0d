/* server_inside.h: what server.c and exchange.c share. Not for others. */
#ifndef LORE_NET_SERVER_INSIDE_H
#define LORE_NET_SERVER_INSIDE_H

#include <uv.h>

#include "net/gate.h"
#include "net/http1.h"
#include "net/server.h"
#include "net/spare.h"

enum { SERVER_LISTENERS_MAX = 4, ANSWER_HEADERS_MAX = 8, DATE_SIZE_MAX = 64 };

enum phase {
    PHASE_IDLE,   /* no byte of a request */
    PHASE_HEAD,   /* a head has begun */
    PHASE_BODY,   /* its head passed the gate */
    PHASE_WORK,   /* the handler's */
    PHASE_SEND,   /* the answer is on its way */
    PHASE_LINGER, /* answered for the last time: what still comes is dropped, so that the answer is not lost
                   */
    PHASE_CLOSED  /* until the loop lets the handle go */
};

struct answer_header {
    const char *name;
    struct slice value;
};

struct exchange {
    struct server *server;
    struct exchange *previous, *next; /* of the server's connections */
    uv_poll_t poll;
    int fd;
    int watched; /* what poll waits for */
    enum phase phase;
    int64_t since_ms; /* when the phase began; SEND: when something could last be sent */
    bool is_local;

    /* what was received: [.. begin) used, [begin .. begin + body_size) the body as far as it is there,
     * [raw .. in.size) not looked at yet */
    struct buf in;
    size_t begin, body_size, raw;
    size_t line;       /* HEAD: where in [raw ..) the search for its end goes on */
    int64_t body_left; /* BODY with a Content-Length */
    struct http1_chunks chunks;
    bool is_chunked;
    bool is_dropping; /* the body is read and forgotten; the answer is drop_status */
    int drop_status;
    size_t received; /* of the body */

    /* the request; lives in the arena */
    struct arena arena;
    struct slice method, target;
    struct gate_header *headers;
    size_t header_count;
    bool is_head, is_old; /* HEAD; HTTP/1.0 */
    bool is_closing;      /* this answer is the connection's last */
    void *user;

    /* the answer */
    int status;
    const char *content_type;
    struct answer_header answer_headers[ANSWER_HEADERS_MAX];
    size_t answer_header_count;
    bool is_replied;
    struct buf head, out; /* sent in this order, then tail */
    const char *tail;
    size_t sent; /* of the three together */
    enum server_pull (*pull)(void *user, struct buf *out);
    void *pull_user;
    bool pull_ended;
    bool is_waiting; /* until exchange_wake */
    struct exchange *turn_next;
    bool in_turn;
};

struct listener {
    uv_poll_t poll;
    struct server *server;
    int fd;
    bool is_local;
    bool is_paused;
};

struct server {
    struct server_options options;
    struct server_limits limits;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t sweep;
    struct listener listeners[SERVER_LISTENERS_MAX];
    size_t listener_count;
    struct exchange *exchanges;         /* one per connection */
    struct exchange *turn, **turn_last; /* those with something to send at the end of this turn */
    struct spare spare;
    size_t bodies_size;
    struct server_counts counts;
    char date[DATE_SIZE_MAX]; /* of the second date_s */
    int64_t date_s;
    bool is_stopping;
    size_t handles; /* of the loop, not yet closed */
};

static inline int64_t server_now_ms(const struct server *server)
{
    return (int64_t)uv_now(server->options.loop);
}

/* --- exchange.c --- */

/* A new connection; takes fd. */
void exchange_open(struct server *server, int fd, bool is_local);
/* What a turn brought: an answer to begin, a piece to pull. */
void exchange_go_on(struct exchange *exchange);
/* Deadlines. */
void exchange_sweep(struct exchange *exchange, int64_t now_ms);
/* Ends the connection at once. */
void exchange_close(struct exchange *exchange);

#endif

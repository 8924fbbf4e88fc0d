/* DESIGN. One struct exchange is one connection and serves one request after another.
 *
 *      ┌──────────────────────────────── kept alive ◄───────────────────────────────┐
 *      ▼                                                                             │
 *   IDLE ──first byte──► HEAD ──gate──► BODY ──last byte──► WORK ──reply──► SEND ────┴──► LINGER ──► CLOSED
 *                         └── malformed, refused ─────────────────────────► ┘
 *
 *  1. In WORK and SEND nothing is read: what a client sends ahead stays in the kernel, but for what came with
 * the last recv. So an exchange outlives the work done for it whatever the client does, and one connection
 * holds at most one request.
 *  2. A handler, or whoever answers later, only marks the exchange as replied. Sending happens at the end of
 * the loop's turn (server.c), for all of them together, and never under the feet of who replied.
 *  3. A stream is pulled one piece a turn, when the last piece is with the kernel.
 *  4. After a last answer the connection lingers: closing it while bytes of the client are unread would make
 * the kernel throw the answer away.
 *  5. Bytes received live in one buf that goes back to the spare ones as soon as nothing of it is needed: an
 * idle connection holds none. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/problem.h"
#include "net/server_inside.h"
#include "net/socket.h"

enum {
    RECEIVE_SIZE = 4 * 1024, /* room for a head and a usual body */
    RECEIVE_SIZE_MAX = 64 * 1024
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct exchange *exchange, int events)
{
    if (exchange->watched == events) return;
    exchange->watched = events;
    if (events)
        uv_poll_start(&exchange->poll, events, on_ready);
    else
        uv_poll_stop(&exchange->poll);
}

static bool is_taken(enum phase phase)
{
    return phase == PHASE_BODY || phase == PHASE_WORK || phase == PHASE_SEND;
}

static void enter(struct exchange *exchange, enum phase phase)
{
    struct server *server = exchange->server;
    server->counts.exchanges += is_taken(phase);
    server->counts.exchanges -= is_taken(exchange->phase);
    exchange->phase = phase;
    exchange->since_ms = server_now_ms(server);
}

/* Has something to do at the end of the turn. */
static void take_turn(struct exchange *exchange)
{
    if (exchange->in_turn) return;
    exchange->in_turn = true;
    exchange->turn_next = NULL;
    *exchange->server->turn_last = exchange;
    exchange->server->turn_last = &exchange->turn_next;
}

/* --- beginning and ending --- */

static void drop_body(struct exchange *exchange)
{
    exchange->server->bodies_size -= exchange->body_size;
    exchange->body_size = 0;
}

/* The request is over, answered in full or not. What was received behind it stays. */
static void end_request(struct exchange *exchange, enum phase phase)
{
    struct server *server = exchange->server;
    if ((exchange->phase == PHASE_WORK || exchange->phase == PHASE_SEND) && server->options.ended)
        server->options.ended(server->options.user, exchange, exchange->status);
    enter(exchange, phase);
    drop_body(exchange);
    size_t left = exchange->in.size - exchange->raw;
    if (left) memmove(exchange->in.data, exchange->in.data + exchange->raw, left);
    exchange->in.size = left;
    exchange->begin = exchange->raw = exchange->line = exchange->received = 0;
    if (left == 0) spare_give(&server->spare, &exchange->in);
    spare_give(&server->spare, &exchange->head);
    spare_give(&server->spare, &exchange->out);
    spare_give_arena(&server->spare, &exchange->arena);
    exchange->method = exchange->target = SLICE_NONE;
    exchange->headers = NULL;
    exchange->header_count = exchange->answer_header_count = exchange->sent = 0;
    exchange->is_head = exchange->is_old = exchange->is_closing = exchange->is_replied = false;
    exchange->is_chunked = exchange->is_dropping = exchange->pull_ended = exchange->is_waiting = false;
    exchange->chunks = (struct http1_chunks){0};
    exchange->drop_status = exchange->status = 0;
    exchange->tail = NULL;
    exchange->pull = NULL;
    exchange->user = exchange->pull_user = NULL;
}

void exchange_open(struct server *server, int fd, bool is_local)
{
    struct exchange *exchange = MEM_NEW(struct exchange);
    exchange->server = server;
    exchange->fd = fd;
    exchange->is_local = is_local;
    exchange->since_ms = server_now_ms(server);
    exchange->next = server->exchanges;
    if (exchange->next) exchange->next->previous = exchange;
    server->exchanges = exchange;
    server->counts.connections++;
    server->handles++;
    exchange->poll.data = exchange;
    CHECK(uv_poll_init(server->options.loop, &exchange->poll, fd) == 0);
    watch(exchange, UV_READABLE);
}

static void on_closed(uv_handle_t *handle)
{
    struct exchange *exchange = handle->data;
    exchange->server->handles--;
    mem_free(exchange);
}

void exchange_close(struct exchange *exchange)
{
    struct server *server = exchange->server;
    if (exchange->phase == PHASE_CLOSED) return;
    end_request(exchange, PHASE_CLOSED);
    buf_release(&exchange->in);
    if (exchange->previous)
        exchange->previous->next = exchange->next;
    else
        server->exchanges = exchange->next;
    if (exchange->next) exchange->next->previous = exchange->previous;
    server->counts.connections--;
    uv_close((uv_handle_t *)&exchange->poll, on_closed);
    close(exchange->fd);
}

static void linger(struct exchange *exchange)
{
    end_request(exchange, PHASE_LINGER);
    spare_give(&exchange->server->spare, &exchange->in);
    shutdown(exchange->fd, SHUT_WR);
    watch(exchange, UV_READABLE);
}

/* For who does not keep to the rules: a word, and the end. */
static void cut_off(struct exchange *exchange, int status, const char *code, const char *detail)
{
    socket_send_problem(exchange->fd, status, code, detail);
    exchange->server->counts.cut++;
    linger(exchange);
}

/* --- sending --- */

static const char *phrase_of(int status)
{
    switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 204: return "No Content";
    default: return problem_phrase(status);
    }
}

static const char *date_of(struct server *server)
{
    time_t now = time(NULL);
    if (now != server->date_s) {
        struct tm parts;
        gmtime_r(&now, &parts);
        strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        server->date_s = now;
    }
    return server->date;
}

static void put_header(struct buf *head, const char *name, struct slice value)
{
    buf_put_text(head, name);
    buf_put(head, ": ", 2);
    buf_put_slice(head, value);
    buf_put(head, "\r\n", 2);
}

static void put_head(struct exchange *exchange)
{
    struct buf *head = &exchange->head;
    buf_put_text(head, "HTTP/1.1 ");
    buf_put_int(head, exchange->status);
    buf_put_byte(head, ' ');
    buf_put_text(head, phrase_of(exchange->status));
    buf_put_text(head, "\r\nDate: ");
    buf_put_text(head, date_of(exchange->server));
    buf_put_text(head, "\r\n");
    if (exchange->content_type) put_header(head, "Content-Type", slice_of(exchange->content_type));
    for (size_t at = 0; at < exchange->answer_header_count; at++)
        put_header(head, exchange->answer_headers[at].name, exchange->answer_headers[at].value);
    if (exchange->pull && !exchange->is_old) buf_put_text(head, "Transfer-Encoding: chunked\r\n");
    if (!exchange->pull && exchange->status != 204) {
        buf_put_text(head, "Content-Length: ");
        buf_put_int(head, (int64_t)exchange->out.size);
        buf_put_text(head, "\r\n");
    }
    if (exchange->is_closing) buf_put_text(head, "Connection: close\r\n");
    buf_put_text(head, "\r\n");
}

/* What is in out becomes a chunk, the last one too if the stream has ended. */
static void put_chunk(struct exchange *exchange)
{
    exchange->tail = NULL;
    if (exchange->is_old) return; /* ends with the connection */
    if (exchange->out.size) buf_format(&exchange->head, "%zx\r\n", exchange->out.size);
    if (exchange->out.size) exchange->tail = exchange->pull_ended ? "\r\n0\r\n\r\n" : "\r\n";
    if (exchange->out.size == 0 && exchange->pull_ended) exchange->tail = "0\r\n\r\n";
}

static bool step(struct exchange *exchange);

/* Everything is with the kernel. */
static void sent_all(struct exchange *exchange)
{
    if (exchange->pull && !exchange->pull_ended) {
        take_turn(exchange);
        return;
    }
    if (exchange->is_closing) {
        linger(exchange);
        return;
    }
    end_request(exchange, PHASE_IDLE);
    if (exchange->server->is_stopping) {
        exchange_close(exchange);
        return;
    }
    while (step(exchange)) {
    }
    if (exchange->phase < PHASE_WORK) watch(exchange, UV_READABLE);
}

static void send_rest(struct exchange *exchange)
{
    struct slice parts[3] = {buf_slice(&exchange->head), buf_slice(&exchange->out), slice_of(exchange->tail)};
    struct iovec pieces[3];
    struct msghdr message = {.msg_iov = pieces};
    size_t skip = exchange->sent, left = 0;
    for (size_t at = 0; at < 3; at++) {
        size_t skipped = skip < parts[at].size ? skip : parts[at].size;
        skip -= skipped;
        if (skipped == parts[at].size) continue;
        pieces[message.msg_iovlen++] =
            (struct iovec){(char *)parts[at].data + skipped, parts[at].size - skipped};
        left += parts[at].size - skipped;
    }
    ssize_t sent = left ? sendmsg(exchange->fd, &message, MSG_NOSIGNAL) : 0;
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        exchange_close(exchange);
        return;
    }
    if (sent > 0) {
        exchange->sent += (size_t)sent;
        exchange->since_ms = server_now_ms(exchange->server);
    }
    if (sent >= 0 && (size_t)sent == left) {
        if (exchange->watched & UV_WRITABLE) watch(exchange, 0);
        sent_all(exchange);
    } else {
        watch(exchange, UV_WRITABLE);
    }
}

static void begin_answer(struct exchange *exchange)
{
    struct server *server = exchange->server;
    if (server->is_stopping || exchange->is_old || (exchange->pull && exchange->is_head))
        exchange->is_closing = true;
    spare_take(&server->spare, &exchange->head);
    put_head(exchange);
    if (exchange->is_head) {
        buf_clear(&exchange->out);
        exchange->pull = NULL;
    }
    if (exchange->pull) put_chunk(exchange);
    enter(exchange, PHASE_SEND);
    send_rest(exchange);
}

static void pull_piece(struct exchange *exchange)
{
    buf_clear(&exchange->head);
    buf_clear(&exchange->out);
    exchange->sent = 0;
    exchange->tail = NULL;
    enum server_pull pulled = exchange->pull(exchange->pull_user, &exchange->out);
    exchange->since_ms = server_now_ms(exchange->server);
    if (pulled == SERVER_CUT) {
        exchange_close(exchange);
        return;
    }
    exchange->pull_ended = pulled == SERVER_END;
    exchange->is_waiting = pulled == SERVER_WAIT && exchange->out.size == 0;
    put_chunk(exchange);
    if (!exchange->is_waiting) send_rest(exchange);
}

void exchange_go_on(struct exchange *exchange)
{
    if (exchange->phase == PHASE_WORK && exchange->is_replied)
        begin_answer(exchange);
    else if (exchange->phase == PHASE_SEND && exchange->pull && !exchange->is_waiting)
        pull_piece(exchange);
}

/* --- receiving --- */

static void refuse(struct exchange *exchange, int status, const char *code, const char *detail)
{
    enter(exchange, PHASE_WORK);
    spare_take(&exchange->server->spare, &exchange->out);
    problem_put(&exchange->out, status, code, slice_of(detail));
    int retry_s = problem_retry_s(status, code);
    if (retry_s) {
        char text[16];
        snprintf(text, sizeof text, "%d", retry_s);
        exchange_put_header(exchange, "Retry-After", slice_of(text));
    }
    exchange_reply(exchange, status, PROBLEM_TYPE);
}

static void refuse_and_close(struct exchange *exchange, int status, const char *code, const char *detail)
{
    exchange->is_closing = true;
    refuse(exchange, status, code, detail);
}

static const char *drop_code(const struct exchange *exchange)
{
    return exchange->drop_status == 413 ? "too_large" : "busy";
}

/* Whether a header's list of words, like "keep-alive, TE", has this one. */
static bool has_word(struct slice list, const char *word)
{
    const char *at = list.data, *end = list.data + list.size;
    while (at < end) {
        while (at < end && (*at == ' ' || *at == '\t' || *at == ',')) at++;
        const char *begin = at;
        while (at < end && *at != ',' && *at != ' ' && *at != '\t') at++;
        if (gate_same_name(slice_make(begin, (size_t)(at - begin)), word)) return true;
    }
    return false;
}

/* The head passed the gate: how its body comes, and whether it can be taken. */
static void begin_body(struct exchange *exchange, const struct gate_verdict *verdict)
{
    struct server *server = exchange->server;
    enter(exchange, PHASE_BODY);
    exchange->is_chunked = verdict->chunked;
    exchange->body_left = verdict->content_length > 0 ? verdict->content_length : 0;
    if (verdict->content_length > (int64_t)server->limits.body_size_max)
        exchange->drop_status = 413;
    else if (server->bodies_size > server->limits.bodies_size_max)
        exchange->drop_status = 503;
    exchange->is_dropping = exchange->drop_status != 0;
    if (!verdict->expects_continue || exchange->is_old || exchange->raw < exchange->in.size) return;
    /* Nothing of the body is on its way yet. */
    if (exchange->is_dropping)
        refuse_and_close(exchange, exchange->drop_status, drop_code(exchange),
                         "the body is more than can be taken");
    else if (exchange->is_chunked || exchange->body_left) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        ssize_t sent = send(exchange->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL);
        (void)sent; /* who does not hear it sends the body after a while all the same */
    }
}

/* A whole head of size bytes. */
static void take_head(struct exchange *exchange, size_t size)
{
    struct server *server = exchange->server;
    struct http1_head head;
    spare_take_arena(&server->spare, &exchange->arena);
    struct slice bytes = arena_copy(&exchange->arena, slice_make(exchange->in.data + exchange->raw, size));
    exchange->raw += size;
    exchange->begin = exchange->raw;
    exchange->line = 0;
    int read = http1_head_read(bytes, &head);
    exchange->method = head.method;
    exchange->target = head.target;
    exchange->is_head = slice_is(head.method, "HEAD");
    exchange->is_old = slice_is(head.version, "HTTP/1.0");
    if (read == -1) {
        refuse_and_close(exchange, 400, "malformed", "a header has no colon");
        return;
    }
    if (read == -2) {
        char text[64];
        snprintf(text, sizeof text, "more than %d headers", HTTP1_HEADERS_MAX);
        refuse_and_close(exchange, 431, "headers_too_large", text);
        return;
    }
    exchange->headers = arena_take(&exchange->arena, head.header_count * sizeof *head.headers);
    memcpy(exchange->headers, head.headers, head.header_count * sizeof *head.headers);
    exchange->header_count = head.header_count;
    struct gate_request request = {head.method,       head.target,       head.version,
                                   exchange->headers, head.header_count, size};
    struct gate_limits limits = {server->limits.head_size_max, server->limits.target_size_max};
    struct gate_verdict verdict;
    if (!gate_check(&request, &limits, &verdict)) {
        refuse_and_close(exchange, verdict.status, verdict.code, verdict.text);
        return;
    }
    exchange->is_closing = has_word(exchange_header(exchange, "connection"), "close");
    begin_body(exchange, &verdict);
}

/* True if a head was taken, so that there may be more to do. */
static bool step_head(struct exchange *exchange)
{
    const struct server_limits *limits = &exchange->server->limits;
    struct slice rest = slice_make(exchange->in.data + exchange->raw, exchange->in.size - exchange->raw);
    long size = http1_head_size(rest, &exchange->line);
    if (size == 2) { /* an empty line before the request: some send one behind a body */
        exchange->raw += 2;
        exchange->line = 0;
        enter(exchange, PHASE_IDLE);
    } else if (size > 0) {
        take_head(exchange, (size_t)size);
    } else if (size < 0) {
        refuse_and_close(exchange, 400, "malformed", "the lines of a head end with CR LF");
    } else if (rest.size > limits->head_size_max && exchange->line == 0) {
        refuse_and_close(exchange, 414, "uri_too_long", "the URL is too long");
    } else if (rest.size > limits->head_size_max) {
        refuse_and_close(exchange, 431, "headers_too_large", "the head of the request is too large");
    } else {
        return false;
    }
    return true;
}

/* Bytes of the body, which lie at in.data + raw - size. */
static void take_body(struct exchange *exchange, size_t size)
{
    struct server *server = exchange->server;
    size_t body_size = exchange->body_size + size;
    exchange->received += size;
    if (!exchange->is_dropping && body_size > server->limits.body_size_max)
        exchange->drop_status = 413;
    else if (!exchange->is_dropping && server->bodies_size + size > server->limits.bodies_size_max)
        exchange->drop_status = 503;
    if (!exchange->is_dropping && exchange->drop_status) {
        exchange->is_dropping = true;
        exchange->since_ms = server_now_ms(server);
        exchange->received = 0;
        drop_body(exchange);
    }
    if (exchange->is_dropping) return;
    char *to = exchange->in.data + exchange->begin + exchange->body_size,
         *from = exchange->in.data + exchange->raw - size;
    if (to != from) memmove(to, from, size);
    exchange->body_size = body_size;
    server->bodies_size += size;
}

/* The request is whole. */
static void hand_over(struct exchange *exchange)
{
    struct server *server = exchange->server;
    if (exchange->is_dropping) {
        char text[100];
        snprintf(text, sizeof text, "the body has more than %zu bytes", server->limits.body_size_max);
        refuse(exchange, exchange->drop_status, drop_code(exchange),
               exchange->drop_status == 413 ? text : "too many large bodies at a time");
        return;
    }
    enter(exchange, PHASE_WORK);
    spare_take(&server->spare, &exchange->out);
    server->options.handle(server->options.user, exchange);
}

/* False if the body's end is not there yet; also when the exchange was cut off. */
static bool step_chunks(struct exchange *exchange)
{
    for (;;) {
        struct slice rest = slice_make(exchange->in.data + exchange->raw, exchange->in.size - exchange->raw),
                     data;
        enum http1_step found = http1_chunks_next(&exchange->chunks, &rest, &data);
        exchange->raw = exchange->in.size - rest.size;
        if (found == HTTP1_MORE) return false;
        if (found == HTTP1_DATA) {
            take_body(exchange, data.size);
            continue;
        }
        if (found == HTTP1_BAD) {
            refuse_and_close(exchange, 400, "malformed", "the chunks of the body cannot be read");
            return true;
        }
        hand_over(exchange);
        return true;
    }
}

static bool step_length(struct exchange *exchange)
{
    size_t there = exchange->in.size - exchange->raw;
    size_t size = (int64_t)there < exchange->body_left ? there : (size_t)exchange->body_left;
    exchange->raw += size;
    exchange->body_left -= (int64_t)size;
    if (size) take_body(exchange, size);
    if (exchange->body_left) return false;
    hand_over(exchange);
    return true;
}

static bool step_body(struct exchange *exchange)
{
    const struct server_limits *limits = &exchange->server->limits;
    if (exchange->is_chunked ? step_chunks(exchange) : step_length(exchange)) return true;
    /* All bytes are looked at: the room of what was no data is used again. */
    exchange->in.size = exchange->raw = exchange->begin + exchange->body_size;
    if (exchange->is_dropping) { /* what was kept of it is counted no more, so its room goes too */
        exchange->in.size = exchange->raw = exchange->begin = 0;
        spare_give(&exchange->server->spare, &exchange->in);
    }
    if (exchange->is_dropping && exchange->received > limits->dropped_size_max)
        cut_off(exchange, exchange->drop_status, drop_code(exchange), "the body is more than can be taken");
    return false;
}

/* One step with what was received; false if more must come first, or none is wanted. */
static bool step(struct exchange *exchange)
{
    if (exchange->phase == PHASE_IDLE) {
        exchange->line = 0;
        if (exchange->raw == exchange->in.size) {
            exchange->in.size = exchange->raw = 0;
            spare_give(&exchange->server->spare, &exchange->in);
            return false;
        }
        enter(exchange, PHASE_HEAD);
    }
    if (exchange->phase == PHASE_HEAD) return step_head(exchange);
    return exchange->phase == PHASE_BODY && step_body(exchange);
}

static void receive(struct exchange *exchange)
{
    size_t wanted =
        exchange->phase == PHASE_BODY || exchange->phase == PHASE_LINGER ? RECEIVE_SIZE_MAX : RECEIVE_SIZE;
    spare_take(&exchange->server->spare, &exchange->in);
    if (exchange->phase <= PHASE_HEAD && exchange->raw) { /* empty lines before a request: their room again */
        exchange->in.size -= exchange->raw;
        memmove(exchange->in.data, exchange->in.data + exchange->raw, exchange->in.size);
        exchange->raw = 0;
    }
    char *room = buf_room(&exchange->in, wanted);
    ssize_t got = recv(exchange->fd, room, exchange->in.size_max - exchange->in.size, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (exchange->in.size == 0) spare_give(&exchange->server->spare, &exchange->in);
        return;
    }
    if (got <= 0) {
        exchange_close(exchange);
        return;
    }
    if (exchange->phase == PHASE_LINGER) {
        spare_give(&exchange->server->spare, &exchange->in);
        exchange->received += (size_t)got;
        if (exchange->received > exchange->server->limits.dropped_size_max) exchange_close(exchange);
        return;
    }
    exchange->in.size += (size_t)got;
    while (step(exchange)) {
    }
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct exchange *exchange = poll->data;
    bool is_busy = exchange->phase == PHASE_WORK || exchange->phase == PHASE_SEND;
    if (status < 0) exchange->watched = 0; /* reset by the client: the loop looks at it no more */
    if (status < 0 && exchange->phase != PHASE_WORK)
        exchange_close(exchange);
    else if (exchange->phase == PHASE_SEND && (events & UV_WRITABLE))
        send_rest(exchange);
    else if (is_busy)
        watch(exchange, 0); /* it sends ahead, or has left: seen when this is answered */
    else
        receive(exchange);
}

/* --- deadlines --- */

static void sweep_body(struct exchange *exchange, int64_t now_ms)
{
    struct server_limits *limits = &exchange->server->limits;
    int64_t late_ms =
        now_ms - exchange->since_ms - (exchange->is_dropping ? limits->dropped_ms : limits->body_grace_ms);
    if (late_ms < 0) return;
    if (exchange->is_dropping)
        cut_off(exchange, exchange->drop_status, drop_code(exchange), "the body is more than can be taken");
    else if ((int64_t)exchange->received < late_ms * limits->body_rate_min / 1000 + 1)
        cut_off(exchange, 408, "timeout", "the body came too slowly");
    else if ((int64_t)exchange->received > (late_ms + limits->body_grace_ms) * limits->body_rate_min / 1000) {
        /* Far ahead: that buys another grace, not hours in which the body fills its part of bodies_size. */
        exchange->since_ms = now_ms;
        exchange->received = 0;
    }
}

void exchange_sweep(struct exchange *exchange, int64_t now_ms)
{
    struct server_limits *limits = &exchange->server->limits;
    int64_t since_ms = now_ms - exchange->since_ms;
    switch (exchange->phase) {
    case PHASE_IDLE:
        if (since_ms > limits->idle_ms) exchange_close(exchange);
        return;
    case PHASE_HEAD:
        if (since_ms > limits->head_ms)
            cut_off(exchange, 408, "timeout", "the head of the request came too slowly");
        return;
    case PHASE_BODY: sweep_body(exchange, now_ms); return;
    case PHASE_SEND:
        if (since_ms > limits->idle_ms && (exchange->watched & UV_WRITABLE)) exchange_close(exchange);
        return;
    case PHASE_LINGER:
        if (since_ms > limits->dropped_ms) exchange_close(exchange);
        return;
    default: return;
    }
}

/* --- the request --- */

struct slice exchange_method(struct exchange *exchange)
{
    return exchange->method;
}

struct slice exchange_target(struct exchange *exchange)
{
    return exchange->target;
}

struct slice exchange_body(struct exchange *exchange)
{
    return slice_make(exchange->in.data + exchange->begin, exchange->body_size);
}

struct arena *exchange_arena(struct exchange *exchange)
{
    return &exchange->arena;
}

bool exchange_is_left(struct exchange *exchange)
{
    struct pollfd peer = {.fd = exchange->fd, .events = POLLRDHUP};
    return poll(&peer, 1, 0) == 1 && (peer.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

void **exchange_user(struct exchange *exchange)
{
    return &exchange->user;
}

struct slice exchange_header(struct exchange *exchange, const char *name)
{
    size_t size = strlen(name);
    for (size_t at = 0; at < exchange->header_count; at++) {
        const struct gate_header *header = &exchange->headers[at];
        if (header->name.size == size && strncasecmp(header->name.data, name, size) == 0)
            return header->value;
    }
    return SLICE_NONE;
}

/* --- the answer --- */

struct buf *exchange_out(struct exchange *exchange)
{
    return &exchange->out;
}

void exchange_put_header(struct exchange *exchange, const char *name, struct slice value)
{
    CHECK(exchange->answer_header_count < ANSWER_HEADERS_MAX && !exchange->is_replied);
    exchange->answer_headers[exchange->answer_header_count++] =
        (struct answer_header){name, arena_copy(&exchange->arena, value)};
}

void exchange_reply(struct exchange *exchange, int status, const char *content_type)
{
    CHECK(exchange->phase == PHASE_WORK && !exchange->is_replied);
    exchange->status = status;
    exchange->content_type = content_type;
    exchange->is_replied = true;
    take_turn(exchange);
}

void exchange_stream(struct exchange *exchange, int status, const char *content_type,
                     enum server_pull (*pull)(void *user, struct buf *out), void *user)
{
    exchange->pull = pull;
    exchange->pull_user = user;
    exchange_reply(exchange, status, content_type);
}

void exchange_wake(struct exchange *exchange)
{
    if (!exchange->is_waiting) return;
    exchange->is_waiting = false;
    take_turn(exchange);
}

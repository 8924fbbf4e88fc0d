/* DESIGN. libmicrohttpd (0.9.75) runs without threads of its own: its epoll descriptor is watched by the
 * loop, and everything, resuming suspended connections included, happens on the loop's thread.
 *
 *   accept ──► CONNECTION: idle ──request line──► HEAD ──head──► gate ──► BODY ──last byte──► WORK ──reply──►
 * SEND ──┐ ▲                                                                                     │
 *                            └──────────────────────────── kept alive
 * ─────────────────────────────────────────────┘
 *
 * One struct exchange belongs to one connection and serves one request after another. In WORK the connection
 * is suspended unless the handler replied at once: the library neither reads nor closes it, so an exchange
 * always outlives the work done for it, whatever the client does.
 *
 * The library's traps and what is done about them:
 *  - a response can be queued only at the first handler call or after the body: a body too large is read and
 * dropped, and where even that takes too long the answer is written past the library and the connection cut
 * (cut_off);
 *  - it has only an inactivity timeout, one byte a second lives for ever: sweep() has deadlines for heads and
 * bodies;
 *  - it unescapes the URL in place: take_target copies it before;
 *  - resumed connections and those with data left are not seen by epoll: on_check runs it when `dirty`, and
 * an idle handle keeps the loop from sleeping while there is something left to do. */
#include "net/server.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>
#include <uv.h>

#include "base/check.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/say.h"
#include "net/gate.h"
#include "net/problem.h"
#include "net/socket.h"
#include "net/spare.h"

enum {
    LISTENERS_MAX = 4,
    ACCEPTS_MAX = 64, /* at one wake, so that the others get their turn */
    HEADERS_MAX = 128,
    ANSWER_HEADERS_MAX = 8,
    /* The library's memory of one connection: a head of 16 KiB, parsed, and the head of the answer. */
    POOL_SIZE = 24 * 1024,
    POOL_STEP = 4 * 1024,
    STREAM_BLOCK_SIZE = 16 * 1024,
    CROWD = 1000 /* connections that must be gone before memory is given back */
};

enum phase { PHASE_IDLE, PHASE_HEAD, PHASE_BODY, PHASE_WORK, PHASE_SEND };

struct answer_header {
    const char *name, *value;
};

struct exchange {
    struct server *server;
    struct MHD_Connection *connection;
    struct exchange *previous, *next; /* of the server's connections */
    struct exchange *again_next;      /* a stream that yielded */
    int fd;
    enum phase phase;
    bool is_local;
    bool is_head;
    bool in_handler; /* the library is on the stack: it takes the reply when the handler returns */
    bool is_replied;
    bool is_suspended;
    bool is_waiting;  /* a stream, suspended until exchange_wake */
    bool is_yielding; /* a stream, suspended until the next turn of the loop */
    bool is_closing;  /* the answer says Connection: close */
    bool is_dropping; /* the body is read and forgotten; the answer is drop_status */
    bool heard_known;
    int drop_status;
    int64_t since_ms;      /* when the phase began */
    int64_t head_since_ms; /* IDLE: when the first bytes of a head were noticed; 0: none */
    uint64_t heard;        /* IDLE: bytes the socket had received when it was last looked at */
    size_t received;       /* of the body */

    struct arena arena;
    struct slice method, target, version;
    struct buf in, out;
    size_t sent; /* of out */
    int status;
    const char *content_type;
    struct answer_header headers[ANSWER_HEADERS_MAX];
    size_t header_count;
    enum server_pull (*pull)(void *user, struct buf *out);
    void *pull_user;
    bool pull_ended;
    void *user;
};

struct listener {
    uv_poll_t poll;
    struct server *server;
    int fd;
    bool is_local;
    bool is_paused;
    bool is_failing; /* no connection could be taken since that was said */
};

struct server {
    struct server_options options;
    struct server_limits limits;
    struct MHD_Daemon *daemon;
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t sweep;
    struct listener listeners[LISTENERS_MAX];
    size_t listener_count;
    struct exchange *exchanges; /* one per connection */
    struct exchange *again;
    struct spare spare;
    size_t bodies_size;
    size_t connections_peak; /* since memory was last given back */
    struct server_counts counts;
    bool is_dirty;        /* the library must be run */
    bool accepting_local; /* of the connection that is being handed to the library */
    bool is_stopping;
    int handles; /* of the loop, not yet closed */
};

static int64_t now_ms(struct server *server)
{
    return (int64_t)uv_now(server->options.loop);
}

/* --- the life of an exchange --- */

static void enter(struct exchange *exchange, enum phase phase)
{
    if (exchange->phase == PHASE_IDLE && phase != PHASE_IDLE) exchange->server->counts.exchanges++;
    if (exchange->phase != PHASE_IDLE && phase == PHASE_IDLE) exchange->server->counts.exchanges--;
    exchange->phase = phase;
    exchange->since_ms = now_ms(exchange->server);
}

static void drop_body(struct exchange *exchange)
{
    exchange->server->bodies_size -= exchange->in.size;
    spare_give(&exchange->server->spare, &exchange->in);
}

/* Back to what a connection without a request is. */
static void exchange_reset(struct exchange *exchange)
{
    struct server *server = exchange->server;
    CHECK(!exchange->is_suspended && !exchange->is_yielding);
    if (exchange->phase >= PHASE_WORK && server->options.ended)
        server->options.ended(server->options.user, exchange, exchange->status);
    drop_body(exchange);
    spare_give(&server->spare, &exchange->out);
    arena_release(&exchange->arena);
    exchange->is_head = exchange->in_handler = exchange->is_replied = exchange->is_waiting = false;
    exchange->is_closing = exchange->is_dropping = exchange->heard_known = exchange->pull_ended = false;
    exchange->drop_status = exchange->status = 0;
    exchange->head_since_ms = 0;
    exchange->received = exchange->sent = exchange->header_count = 0;
    exchange->method = exchange->target = exchange->version = SLICE_NONE;
    exchange->pull = NULL;
    exchange->user = exchange->pull_user = NULL;
    enter(exchange, PHASE_IDLE);
}

static void exchange_suspend(struct exchange *exchange)
{
    CHECK(!exchange->is_suspended);
    exchange->is_suspended = true;
    MHD_suspend_connection(exchange->connection);
}

static void exchange_resume(struct exchange *exchange)
{
    CHECK(exchange->is_suspended);
    exchange->is_suspended = false;
    exchange->server->is_dirty = true;
    MHD_resume_connection(exchange->connection);
}

/* For answers that the library cannot give any more: straight to the socket, then the connection ends. */
static void cut_off(struct exchange *exchange, int status, const char *code, const char *detail)
{
    socket_send_problem(exchange->fd, status, code, detail);
    shutdown(exchange->fd, SHUT_RDWR);
    exchange->server->counts.cut++;
}

/* --- answering --- */

static ssize_t on_pull(void *user, uint64_t position, char *to, size_t size)
{
    struct exchange *exchange = user;
    if (exchange->sent == exchange->out.size && !exchange->pull_ended) {
        buf_clear(&exchange->out);
        exchange->sent = 0;
        enum server_pull pulled = exchange->pull(exchange->pull_user, &exchange->out);
        exchange->pull_ended = pulled == SERVER_END;
        if (pulled == SERVER_CUT) return MHD_CONTENT_READER_END_WITH_ERROR;
        if (exchange->out.size == 0 && pulled != SERVER_END) {
            exchange->is_waiting = pulled == SERVER_WAIT;
            exchange->is_yielding = pulled == SERVER_MORE;
            if (exchange->is_yielding) {
                exchange->again_next = exchange->server->again;
                exchange->server->again = exchange;
            }
            exchange_suspend(exchange);
            return 0;
        }
    }
    size_t left = exchange->out.size - exchange->sent;
    if (left == 0) return MHD_CONTENT_READER_END_OF_STREAM;
    if (left > size) left = size;
    memcpy(to, exchange->out.data + exchange->sent, left);
    exchange->sent += left;
    return (ssize_t)left;
}

static enum MHD_Result queue_answer(struct exchange *exchange)
{
    /* The bytes stay the exchange's, which outlives the response (see on_completed). */
    struct MHD_Response *response =
        exchange->pull
            ? MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_SIZE, on_pull, exchange, NULL)
            : MHD_create_response_from_buffer(exchange->out.size, exchange->out.data, MHD_RESPMEM_PERSISTENT);
    if (!response) return MHD_NO;
    /* The library would end the chunks of an answer to HEAD that has none. */
    if (exchange->pull && exchange->is_head)
        MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    if (exchange->content_type) MHD_add_response_header(response, "Content-Type", exchange->content_type);
    for (size_t i = 0; i < exchange->header_count; i++)
        MHD_add_response_header(response, exchange->headers[i].name, exchange->headers[i].value);
    if (exchange->is_closing || exchange->server->is_stopping)
        MHD_add_response_header(response, "Connection", "close");
    enter(exchange, PHASE_SEND);
    enum MHD_Result queued = MHD_queue_response(exchange->connection, (unsigned)exchange->status, response);
    MHD_destroy_response(response);
    return queued;
}

static void refuse(struct exchange *exchange, int status, const char *code, const char *detail)
{
    spare_take(&exchange->server->spare, &exchange->out);
    buf_clear(&exchange->out);
    problem_put(&exchange->out, status, code, slice_of(detail));
    int retry_s = problem_retry_s(status, code);
    if (retry_s) {
        char text[16];
        snprintf(text, sizeof text, "%d", retry_s);
        exchange_put_header(exchange, "Retry-After", slice_of(text));
    }
    exchange->status = status;
    exchange->content_type = PROBLEM_TYPE;
    exchange->is_replied = true;
}

void exchange_put_header(struct exchange *exchange, const char *name, struct slice value)
{
    CHECK(exchange->header_count < ANSWER_HEADERS_MAX && !exchange->is_replied);
    exchange->headers[exchange->header_count++] =
        (struct answer_header){name, arena_copy(&exchange->arena, value).data};
}

void exchange_reply(struct exchange *exchange, int status, const char *content_type)
{
    CHECK(exchange->phase == PHASE_WORK && !exchange->is_replied);
    exchange->status = status;
    exchange->content_type = content_type;
    exchange->is_replied = true;
    if (!exchange->in_handler) exchange_resume(exchange);
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
    exchange_resume(exchange);
}

/* --- what the library calls --- */

static struct exchange *exchange_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct server *server = user;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct exchange *exchange = MEM_NEW(struct exchange);
        exchange->server = server;
        exchange->connection = connection;
        exchange->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        exchange->is_local = server->accepting_local;
        exchange->since_ms = now_ms(server);
        exchange->heard_known = true; /* nothing */
        exchange->next = server->exchanges;
        if (exchange->next) exchange->next->previous = exchange;
        server->exchanges = exchange;
        server->counts.connections++;
        *context = exchange;
        return;
    }
    struct exchange *exchange = *context;
    exchange_reset(exchange);
    if (exchange->previous)
        exchange->previous->next = exchange->next;
    else
        server->exchanges = exchange->next;
    if (exchange->next) exchange->next->previous = exchange->previous;
    server->counts.connections--;
    mem_free(exchange);
}

static void *take_target(void *user, const char *target, struct MHD_Connection *connection)
{
    struct exchange *exchange = exchange_of(connection);
    exchange->target = arena_copy(&exchange->arena, slice_of(target));
    enter(exchange, PHASE_HEAD);
    return exchange;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *context;
    if (!exchange) return;
    *context = NULL;
    exchange_reset(exchange);
}

struct header_list {
    struct gate_header headers[HEADERS_MAX];
    size_t count;
};

static enum MHD_Result take_header(void *user, enum MHD_ValueKind kind, const char *name, size_t name_size,
                                   const char *value, size_t value_size)
{
    struct header_list *list = user;
    if (list->count < HEADERS_MAX)
        list->headers[list->count] = (struct gate_header){
            slice_make(name, name_size), slice_make(value ? value : "", value ? value_size : 0)};
    list->count++;
    return MHD_YES;
}

/* The head is there: the gate, then whether its body can be taken. */
static enum MHD_Result on_head(struct exchange *exchange, const char *method, const char *version)
{
    struct server *server = exchange->server;
    exchange->method = slice_of(method);
    exchange->version = slice_of(version);
    exchange->is_head = slice_is(exchange->method, "HEAD");
    struct header_list list;
    list.count = 0;
    MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, take_header, &list);
    struct gate_request request = {
        exchange->method,
        exchange->target,
        exchange->version,
        list.headers,
        list.count,
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size};
    struct gate_limits limits = {server->limits.head_size_max, server->limits.target_size_max};
    struct gate_verdict verdict;
    if (list.count > HEADERS_MAX) {
        verdict = (struct gate_verdict){.status = 431, .code = "headers_too_large"};
        snprintf(verdict.text, sizeof verdict.text, "more than %d headers", HEADERS_MAX);
    } else {
        gate_check(&request, &limits, &verdict);
    }
    enter(exchange, PHASE_BODY);
    if (verdict.status) {
        exchange->is_closing = true;
        refuse(exchange, verdict.status, verdict.code, verdict.text);
        return queue_answer(exchange);
    }
    bool is_too_large = verdict.content_length > (int64_t)server->limits.body_size_max;
    bool is_too_much = server->bodies_size > server->limits.bodies_size_max;
    if (is_too_large || is_too_much) exchange->drop_status = is_too_large ? 413 : 503;
    exchange->is_dropping = exchange->drop_status != 0;
    if (exchange->is_dropping && verdict.expects_continue) { /* nothing of the body is on its way */
        exchange->is_closing = true;
        refuse(exchange, exchange->drop_status, exchange->drop_status == 413 ? "too_large" : "busy",
               "the body is more than can be taken");
        return queue_answer(exchange);
    }
    return MHD_YES;
}

static enum MHD_Result on_dropped(struct exchange *exchange, size_t size)
{
    struct server_limits *limits = &exchange->server->limits;
    exchange->received += size;
    if (exchange->received <= limits->dropped_size_max &&
        now_ms(exchange->server) - exchange->since_ms <= limits->dropped_ms)
        return MHD_YES;
    cut_off(exchange, exchange->drop_status, exchange->drop_status == 413 ? "too_large" : "busy",
            "the body is more than can be taken");
    return MHD_NO;
}

static enum MHD_Result on_body(struct exchange *exchange, const char *data, size_t size)
{
    struct server *server = exchange->server;
    if (exchange->is_dropping) return on_dropped(exchange, size);
    if (exchange->in.size + size > server->limits.body_size_max ||
        server->bodies_size > server->limits.bodies_size_max) {
        exchange->drop_status = exchange->in.size + size > server->limits.body_size_max ? 413 : 503;
        exchange->is_dropping = true;
        exchange->since_ms = now_ms(server);
        exchange->received = 0;
        drop_body(exchange);
        return on_dropped(exchange, size);
    }
    spare_take(&server->spare, &exchange->in);
    buf_put(&exchange->in, data, size);
    server->bodies_size += size;
    exchange->received += size;
    return MHD_YES;
}

static enum MHD_Result on_whole(struct exchange *exchange)
{
    struct server *server = exchange->server;
    enter(exchange, PHASE_WORK);
    spare_take(&server->spare, &exchange->out);
    if (exchange->is_dropping) {
        char text[100];
        snprintf(text, sizeof text, "the body has more than %zu bytes", server->limits.body_size_max);
        refuse(exchange, exchange->drop_status, exchange->drop_status == 413 ? "too_large" : "busy",
               exchange->drop_status == 413 ? text : "too many large bodies at a time");
    } else {
        exchange->in_handler = true;
        server->options.handle(server->options.user, exchange);
        exchange->in_handler = false;
    }
    if (exchange->is_replied) return queue_answer(exchange);
    exchange_suspend(exchange);
    return MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **context)
{
    struct exchange *exchange = *context;
    switch (exchange->phase) {
    case PHASE_HEAD: return on_head(exchange, method, version);
    case PHASE_BODY: {
        size_t size = *data_size;
        if (size == 0) return on_whole(exchange);
        *data_size = 0;
        return on_body(exchange, data, size);
    }
    case PHASE_WORK: return exchange->is_replied ? queue_answer(exchange) : MHD_NO;
    default: return MHD_NO;
    }
}

/* --- deadlines --- */

static void sweep_idle(struct exchange *exchange, int64_t now)
{
    struct server_limits *limits = &exchange->server->limits;
    uint64_t heard; /* half a head is seen by the kernel's count only: the library does not tell */
    if (!exchange->is_local && socket_heard(exchange->fd, &heard)) {
        if (!exchange->heard_known) exchange->heard = heard;
        exchange->heard_known = true;
        if (heard > exchange->heard && !exchange->head_since_ms) exchange->head_since_ms = now;
        if (exchange->head_since_ms && now - exchange->head_since_ms > limits->head_ms)
            cut_off(exchange, 408, "timeout", "the head of the request came too slowly");
    } else if (now - exchange->since_ms > limits->idle_ms + limits->head_ms) {
        cut_off(exchange, 408, "timeout", "the head of the request came too slowly");
    }
}

static void sweep_body(struct exchange *exchange, int64_t now)
{
    struct server_limits *limits = &exchange->server->limits;
    int64_t late_ms =
        now - exchange->since_ms - (exchange->is_dropping ? limits->dropped_ms : limits->body_grace_ms);
    if (late_ms < 0) return;
    if (exchange->is_dropping)
        cut_off(exchange, exchange->drop_status, "too_large", "the body is more than can be taken");
    else if ((int64_t)exchange->received < late_ms * limits->body_rate_min / 1000 + 1)
        cut_off(exchange, 408, "timeout", "the body came too slowly");
}

/* A crowd that has left leaves holes of POOL_SIZE for each, which malloc would keep for ever. */
static void give_memory_back(struct server *server)
{
    size_t connections = server->counts.connections;
    if (connections > server->connections_peak) server->connections_peak = connections;
    if (connections + CROWD > server->connections_peak) return;
    server->connections_peak = connections;
    malloc_trim(0);
}

static void on_listen(uv_poll_t *poll, int status, int events);

static void on_sweep(uv_timer_t *timer)
{
    struct server *server = timer->data;
    int64_t now = now_ms(server);
    struct exchange *next;
    for (struct exchange *exchange = server->exchanges; exchange; exchange = next) {
        next = exchange->next;
        if (exchange->phase == PHASE_IDLE)
            sweep_idle(exchange, now);
        else if (exchange->phase == PHASE_BODY)
            sweep_body(exchange, now);
        else if (exchange->phase == PHASE_HEAD && now - exchange->since_ms > server->limits.head_ms)
            cut_off(exchange, 408, "timeout", "the head of the request came too slowly");
    }
    for (size_t i = 0; i < server->listener_count; i++)
        if (server->listeners[i].is_paused && !server->is_stopping) {
            server->listeners[i].is_paused = false;
            uv_poll_start(&server->listeners[i].poll, UV_READABLE, on_listen);
        }
    give_memory_back(server);
    server->is_dirty = true; /* lets the library look at its own time-outs */
}

/* --- the loop --- */

static void run(struct server *server)
{
    server->is_dirty = false;
    MHD_run(server->daemon);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    run(poll->data);
}

static void on_idle(uv_idle_t *idle)
{
    /* Its being active is its purpose: the loop does not sleep. */
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct server *server = prepare->data;
    if (server->is_dirty) run(server);
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    bool is_pending = server->again || server->is_dirty ||
                      (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0);
    if (is_pending)
        uv_idle_start(&server->idle, on_idle);
    else
        uv_idle_stop(&server->idle);
}

static void on_check(uv_check_t *check)
{
    struct server *server = check->data;
    struct exchange *again = server->again;
    server->again = NULL;
    while (again) {
        struct exchange *exchange = again;
        again = exchange->again_next;
        exchange->is_yielding = false;
        exchange_resume(exchange);
    }
    if (server->is_dirty || uv_is_active((uv_handle_t *)&server->idle)) run(server);
}

/* --- connections --- */

static void turn_away(struct server *server, int fd)
{
    socket_send_problem(fd, 503, "busy", "too many connections");
    close(fd);
    server->counts.refused++;
}

/* Until the next sweep, since polling on would spin. Said once until one is taken again. */
static void pause_listener(struct listener *listener, int error)
{
    if (!listener->is_failing)
        say_warn("connections cannot be taken: %s%s", strerror(error),
                 error == EMFILE ? ": raise the limit (ulimit -n)" : "");
    uv_poll_stop(&listener->poll);
    listener->is_paused = listener->is_failing = true;
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    struct server *server = listener->server;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = socket_accept(listener->fd);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) pause_listener(listener, errno);
            return;
        }
        listener->is_failing = false;
        if (listener->is_local && !socket_is_own(fd)) {
            close(fd);
        } else if (server->counts.connections >= server->limits.connections_max) {
            turn_away(server, fd);
        } else {
            server->accepting_local = listener->is_local;
            server->counts.accepted++;
            struct sockaddr_in nobody = {.sin_family = AF_INET}; /* the library keeps it and we never ask */
            MHD_add_connection(server->daemon, fd, (struct sockaddr *)&nobody, sizeof nobody);
            server->is_dirty = true;
        }
    }
}

void server_listen(struct server *server, int fd, bool is_local)
{
    CHECK(server->listener_count < LISTENERS_MAX);
    struct listener *listener = &server->listeners[server->listener_count++];
    *listener = (struct listener){.server = server, .fd = fd, .is_local = is_local};
    listener->poll.data = listener;
    CHECK(uv_poll_init(server->options.loop, &listener->poll, fd) == 0);
    uv_poll_start(&listener->poll, UV_READABLE, on_listen);
    server->handles++;
}

/* --- opening and closing --- */

static void on_panic(void *user, const char *file, unsigned line, const char *reason)
{
    say_error("libmicrohttpd: %s", reason ? reason : "it found itself broken");
    CHECK(!"libmicrohttpd found itself broken");
}

static struct MHD_Daemon *open_daemon(struct server *server)
{
    MHD_set_panic_func(on_panic, NULL);
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO, 0, NULL, NULL,
        on_request, server, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_SIZE,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)POOL_STEP, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)server->limits.connections_max + 16, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)((server->limits.idle_ms + 999) / 1000), MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_URI_LOG_CALLBACK, take_target, server,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

int server_open(const struct server_options *options, struct server **opened, struct fault *fault)
{
    struct server *server = MEM_NEW(struct server);
    server->options = *options;
    server->limits = options->limits;
    server_fill_limits(&server->limits);
    socket_raise_limit(server->limits.connections_max + 1024); /* the usual 1024 would be met first */
    server->daemon = open_daemon(server);
    if (!server->daemon) {
        mem_free(server);
        return fault_set(fault, FAULT_INTERNAL, "the HTTP library did not start");
    }
    int fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    uv_loop_t *loop = options->loop;
    CHECK(uv_poll_init(loop, &server->poll, fd) == 0);
    CHECK(uv_prepare_init(loop, &server->prepare) == 0 && uv_check_init(loop, &server->check) == 0);
    CHECK(uv_idle_init(loop, &server->idle) == 0 && uv_timer_init(loop, &server->sweep) == 0);
    server->poll.data = server->prepare.data = server->check.data = server->idle.data = server->sweep.data =
        server;
    server->handles = 5;
    uv_poll_start(&server->poll, UV_READABLE, on_poll);
    uv_prepare_start(&server->prepare, on_prepare);
    uv_check_start(&server->check, on_check);
    uv_timer_start(&server->sweep, on_sweep, (uint64_t)server->limits.sweep_ms,
                   (uint64_t)server->limits.sweep_ms);
    *opened = server;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct server *server = handle->data;
    server->handles--;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    close(listener->fd);
    listener->server->handles--;
}

void server_stop(struct server *server)
{
    if (server->is_stopping) return;
    server->is_stopping = true;
    for (size_t i = 0; i < server->listener_count; i++)
        uv_close((uv_handle_t *)&server->listeners[i].poll, on_listener_closed);
    for (struct exchange *exchange = server->exchanges; exchange; exchange = exchange->next)
        if (exchange->phase <= PHASE_HEAD) shutdown(exchange->fd, SHUT_RDWR);
    server->is_dirty = true;
}

/* What still waits for the handler (which must be gone by now) is let go, since the library refuses to stop
 * otherwise. */
static void release_suspended(struct server *server)
{
    for (struct exchange *exchange = server->exchanges; exchange; exchange = exchange->next)
        if (exchange->is_suspended) {
            exchange->is_yielding = false;
            exchange_resume(exchange);
        }
    server->again = NULL;
}

void server_close(struct server *server)
{
    server_stop(server);
    uv_loop_t *loop = server->options.loop;
    uv_update_time(loop);
    int64_t deadline_ms = now_ms(server) + server->limits.drain_ms;
    uv_timer_start(&server->sweep, on_sweep, 20, 20);
    while (server->counts.exchanges > 0 && now_ms(server) < deadline_ms) uv_run(loop, UV_RUN_ONCE);
    uv_poll_stop(&server->poll);
    release_suspended(server);
    MHD_stop_daemon(server->daemon);
    CHECK(server->counts.connections == 0);
    uv_close((uv_handle_t *)&server->poll, on_closed);
    uv_close((uv_handle_t *)&server->prepare, on_closed);
    uv_close((uv_handle_t *)&server->check, on_closed);
    uv_close((uv_handle_t *)&server->idle, on_closed);
    uv_close((uv_handle_t *)&server->sweep, on_closed);
    while (server->handles > 0) uv_run(loop, UV_RUN_ONCE);
    spare_release(&server->spare);
    mem_free(server);
}

void server_count(const struct server *server, struct server_counts *counts)
{
    *counts = server->counts;
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
    return buf_slice(&exchange->in);
}

struct arena *exchange_arena(struct exchange *exchange)
{
    return &exchange->arena;
}

void **exchange_user(struct exchange *exchange)
{
    return &exchange->user;
}

struct buf *exchange_out(struct exchange *exchange)
{
    return &exchange->out;
}

struct slice exchange_header(struct exchange *exchange, const char *name)
{
    const char *value = NULL;
    size_t size = 0;
    if (MHD_lookup_connection_value_n(exchange->connection, MHD_HEADER_KIND, name, strlen(name), &value,
                                      &size) != MHD_YES)
        return SLICE_NONE;
    return slice_make(value ? value : "", value ? size : 0);
}

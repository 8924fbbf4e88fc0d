/* DESIGN. Every connection is watched by the loop; what is ready is received and handed over at once
 * (exchange.c). Everything that is to be sent waits for the end of the loop's turn: then the handler's owner
 * is told first (turned: it wakes those who do the work, once for all that came), and the answers go out
 * while they work.
 *
 *   uv_run: timers ── prepare ──► poll: receive, handle, answers from other threads ──► check: turned, send
 *
 * An idle handle keeps the loop from sleeping while somebody's turn is due. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/say.h"
#include "net/server_inside.h"
#include "net/socket.h"

enum { ACCEPTS_MAX = 64 }; /* at one wake, so that the others get their turn */

static void on_listen(uv_poll_t *poll, int status, int events);

/* --- the loop --- */

static void on_idle(uv_idle_t *idle)
{
    /* Its being active is its purpose: the loop does not sleep. */
}

static void run_turn(struct server *server)
{
    if (server->options.turned) server->options.turned(server->options.user);
    struct exchange *exchange = server->turn;
    server->turn = NULL;
    server->turn_last = &server->turn;
    while (exchange) {
        struct exchange *next = exchange->turn_next;
        exchange->in_turn = false;
        exchange_go_on(exchange);
        exchange = next;
    }
    if (server->turn)
        uv_idle_start(&server->idle, on_idle);
    else
        uv_idle_stop(&server->idle);
}

static void on_prepare(uv_prepare_t *prepare)
{
    run_turn(prepare->data);
}

static void on_check(uv_check_t *check)
{
    run_turn(check->data);
}

static void on_sweep(uv_timer_t *timer)
{
    struct server *server = timer->data;
    int64_t now_ms = server_now_ms(server);
    struct exchange *next;
    for (struct exchange *exchange = server->exchanges; exchange; exchange = next) {
        next = exchange->next;
        exchange_sweep(exchange, now_ms);
    }
    for (size_t at = 0; at < server->listener_count; at++)
        if (server->listeners[at].is_paused && !server->is_stopping) {
            server->listeners[at].is_paused = false;
            uv_poll_start(&server->listeners[at].poll, UV_READABLE, on_listen);
        }
}

/* --- connections --- */

static void turn_away(struct server *server, int fd)
{
    socket_send_problem(fd, 503, "busy", "too many connections");
    close(fd);
    server->counts.refused++;
}

static void take(struct server *server, int fd, bool is_local)
{
    int on = 1; /* the events of a tail are not to wait for each other */
    if (!is_local) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    server->counts.accepted++;
    exchange_open(server, fd, is_local);
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    struct server *server = listener->server;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = socket_accept(listener->fd);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                say_warn("no more file descriptors for connections: raise the limit (ulimit -n)");
                uv_poll_stop(poll); /* until the next sweep; polling on would spin */
                listener->is_paused = true;
            }
            return;
        }
        if (listener->is_local && !socket_is_own(fd))
            close(fd);
        else if (server->counts.connections >= server->limits.connections_max)
            turn_away(server, fd);
        else
            take(server, fd, listener->is_local);
    }
}

void server_listen(struct server *server, int fd, bool is_local)
{
    CHECK(server->listener_count < SERVER_LISTENERS_MAX);
    struct listener *listener = &server->listeners[server->listener_count++];
    *listener = (struct listener){.server = server, .fd = fd, .is_local = is_local};
    listener->poll.data = listener;
    CHECK(uv_poll_init(server->options.loop, &listener->poll, fd) == 0);
    uv_poll_start(&listener->poll, UV_READABLE, on_listen);
    server->handles++;
}

/* --- opening and closing --- */

int server_open(const struct server_options *options, struct server **opened, struct fault *fault)
{
    struct server *server = MEM_NEW(struct server);
    uv_loop_t *loop = options->loop;
    server->options = *options;
    server->limits = options->limits;
    server->turn_last = &server->turn;
    server_fill_limits(&server->limits);
    socket_raise_limit(server->limits.connections_max + 1024); /* the usual 1024 would be met first */
    CHECK(uv_prepare_init(loop, &server->prepare) == 0 && uv_check_init(loop, &server->check) == 0);
    CHECK(uv_idle_init(loop, &server->idle) == 0 && uv_timer_init(loop, &server->sweep) == 0);
    server->prepare.data = server->check.data = server->idle.data = server->sweep.data = server;
    server->handles = 4;
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
    struct exchange *next;
    for (struct exchange *exchange = server->exchanges; exchange; exchange = next) {
        next = exchange->next;
        if (exchange->phase <= PHASE_HEAD) exchange_close(exchange);
    }
}

void server_close(struct server *server)
{
    server_stop(server);
    uv_loop_t *loop = server->options.loop;
    uv_update_time(loop);
    int64_t deadline_ms = server_now_ms(server) + server->limits.drain_ms;
    uv_timer_start(&server->sweep, on_sweep, 20, 20);
    while (server->counts.exchanges > 0 && server_now_ms(server) < deadline_ms) uv_run(loop, UV_RUN_ONCE);
    /* What still waits for a handler, which must be gone by now, is let go. */
    while (server->exchanges) exchange_close(server->exchanges);
    CHECK(server->counts.connections == 0 && server->counts.exchanges == 0 && server->bodies_size == 0);
    uv_close((uv_handle_t *)&server->idle, on_closed);
    uv_close((uv_handle_t *)&server->sweep, on_closed);
    while (server->handles > 2) uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&server->prepare, on_closed);
    uv_close((uv_handle_t *)&server->check, on_closed);
    while (server->handles > 0) uv_run(loop, UV_RUN_ONCE);
    spare_release(&server->spare);
    mem_free(server);
}

void server_count(const struct server *server, struct server_counts *counts)
{
    *counts = server->counts;
}

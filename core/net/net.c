#include "net/net.h"

#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/api.h"
#include "net/socket.h"

/* --- the loop --- */

static void finish(struct net *net)
{
    api_bulk_finished(net);
    api_repl_moved(net);
    struct call *newest = atomic_exchange_explicit(&net->finished, NULL, memory_order_acquire);
    struct call *oldest = NULL;
    while (newest) { /* answer in the order in which they were done */
        struct call *next = newest->finished_next;
        newest->finished_next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct call *call = oldest;
        oldest = call->finished_next;
        call->resume(call);
    }
}

static void on_finished(uv_async_t *async)
{
    finish(async->data);
}

static void on_moved(uv_async_t *async)
{
    struct net *net = async->data;
    if (net->paused) return;
    api_events_moved(net);
    api_views_moved(net);
}

/* From any thread. Who listens counts himself first and looks at what there is after that, so nobody misses a
 * move that was not told. */
static void on_watch(void *user)
{
    struct net *net = user;
    if (atomic_load(&net->listening)) uv_async_send(&net->moved_async);
}

static void on_beat(uv_timer_t *timer)
{
    struct net *net = timer->data;
    api_events_beat(net, (int64_t)uv_now(net->options.loop));
    api_past_beat(net);
}

/* The commands that came in this turn are begun. */
static void on_turned(void *user)
{
    struct net *net = user;
    if (net->hub) hub_rouse(net->hub);
}

/* --- opening and closing --- */

static void fill_limits(struct net *net, struct server_limits *limits)
{
    if (!limits->connections_max) limits->connections_max = (size_t)hub_limit(net->hub, "connections", 0);
    if (!limits->head_size_max) limits->head_size_max = (size_t)hub_limit(net->hub, "headers_size", 0);
    if (!limits->body_size_max) limits->body_size_max = (size_t)hub_limit(net->hub, "body_size", 0);
    if (!net->options.heartbeat_ms) net->options.heartbeat_ms = 15000;
}

static int open_sockets(struct net *net, int *tcp, int *local, struct fault *fault)
{
    const struct net_options *options = &net->options;
    net->port = options->port;
    if (options->host && socket_listen(options->host, &net->port, tcp, fault) < 0) return -1;
    if (!options->host) net->port = 0;
    if (options->socket_path && socket_listen_local(options->socket_path, local, fault) < 0) return -1;
    return 0;
}

static void start_handles(struct net *net)
{
    uv_loop_t *loop = net->options.loop;
    CHECK(uv_async_init(loop, &net->finished_async, on_finished) == 0);
    CHECK(uv_async_init(loop, &net->moved_async, on_moved) == 0);
    CHECK(uv_timer_init(loop, &net->waits_timer) == 0 && uv_timer_init(loop, &net->beat_timer) == 0 &&
          uv_timer_init(loop, &net->repl_timer) == 0);
    net->finished_async.data = net->moved_async.data = net->waits_timer.data = net->beat_timer.data =
        net->repl_timer.data = net;
    net->handles = 5;
    uint64_t beat_ms = (uint64_t)(net->options.heartbeat_ms < 1000 ? net->options.heartbeat_ms : 1000);
    uv_timer_start(&net->beat_timer, on_beat, beat_ms, beat_ms);
}

int net_open(const struct net_options *options, struct net **opened, struct fault *fault)
{
    struct net *net = MEM_NEW(struct net);
    net->options = *options;
    net->hub = options->hub;
    net->commands.count_max = API_COMMANDS_KEPT;
    struct server_options server = {.loop = options->loop,
                                    .limits = options->limits,
                                    .handle = api_take,
                                    .ended = api_end,
                                    .turned = on_turned,
                                    .user = net};
    fill_limits(net, &server.limits);
    int tcp = -1, local = -1;
    if (open_sockets(net, &tcp, &local, fault) < 0 || server_open(&server, &net->server, fault) < 0) {
        if (tcp >= 0) close(tcp);
        if (local >= 0) close(local);
        mem_free(net);
        return -1;
    }
    if (tcp >= 0) server_listen(net->server, tcp, false);
    if (local >= 0) server_listen(net->server, local, true);
    if (local >= 0) net->options.socket_path = mem_text(options->socket_path, strlen(options->socket_path));
    start_handles(net);
    net->watch = hub_watch(net->hub, on_watch, net);
    *opened = net;
    return 0;
}

int net_port(const struct net *net)
{
    return net->port;
}

void net_stop(struct net *net)
{
    if (net->is_stopping) return;
    net->is_stopping = true;
    server_stop(net->server);
    api_events_stop(net);
    api_views_stop(net);
}

void net_pause(struct net *net)
{
    net->paused = true;
    api_events_stop(net);
    api_views_stop(net);
}

void net_detach(struct net *net)
{
    finish(net); /* the hub has answered: what it said goes to whom it concerns while it is there */
    api_bulk_detach(net);
    hub_unwatch(net->hub, net->watch);
    net->hub = NULL;
    net->hub_number++;
}

void net_attach(struct net *net, struct hub *hub)
{
    net->hub = hub;
    net->head_told = 0;
    net->watch = hub_watch(hub, on_watch, net);
    net->paused = false;
}

static void on_closed(uv_handle_t *handle)
{
    struct net *net = handle->data;
    net->handles--;
}

void net_close(struct net *net)
{
    net_stop(net);
    if (net->options.socket_path) {
        unlink(net->options.socket_path);
        mem_free((char *)net->options.socket_path);
    }
    while (net->looking) uv_run(net->options.loop, UV_RUN_ONCE);
    server_close(net->server);
    api_bulk_finished(net); /* the last answers of those who left */
    hub_unwatch(net->hub, net->watch);
    uv_close((uv_handle_t *)&net->finished_async, on_closed);
    uv_close((uv_handle_t *)&net->moved_async, on_closed);
    uv_close((uv_handle_t *)&net->waits_timer, on_closed);
    uv_close((uv_handle_t *)&net->beat_timer, on_closed);
    uv_close((uv_handle_t *)&net->repl_timer, on_closed);
    while (net->handles > 0) uv_run(net->options.loop, UV_RUN_ONCE);
    command_pool_release(&net->commands);
    mem_free(net);
}

#include "cli/host.h"

#include <signal.h>
#include <stdlib.h>

#include <uv.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/say.h"
#include "base/thread.h"
#include "cli/clock_file.h"
#include "cli/redeploy.h"

enum { HOST_SIGNALS = 2 };

struct host {
    uv_loop_t loop;
    uv_async_t stop;
    uv_signal_t signals[HOST_SIGNALS];
    int signal_count;
    struct clock_file *clock; /* NULL: the machine's clock */
    struct hub *hub;
    struct net *net;
    struct redeploy *redeploy; /* NULL: without signals */
    char *socket_path;
};

char *host_socket_path(const char *data)
{
    struct buf path = {0};
    buf_format(&path, "%s/hub.sock", data);
    char *text = mem_text(path.data, path.size);
    buf_release(&path);
    return text;
}

static void host_on_stop(uv_async_t *async)
{
    uv_stop(async->loop);
}

static void host_on_signal(uv_signal_t *handle, int signal_number)
{
    say_info("%s: stopping", signal_number == SIGINT ? "interrupted" : "terminated");
    uv_stop(handle->loop);
}

/* While the hub opens nobody waits for a moment yet. */
static void host_on_clock(void *user)
{
    struct host *host = user;
    if (host->hub) hub_look(host->hub);
}

static int host_open_clock(struct host *host, struct fault *fault)
{
    const char *path = getenv("LORE_CLOCK");
    if (!path) return 0;
    say_warn("the clock stands where %s says", path);
    return clock_file_open(path, &host->loop, host_on_clock, host, &host->clock, fault);
}

static int host_open_hub(struct host *host, const struct hub_options *options, struct fault *fault)
{
    struct hub_options hub = *options;
    if (host_open_clock(host, fault) < 0) return -1;
    if (host->clock) hub.clock = clock_file_clock(host->clock);
    return hub_open(&hub, &host->hub, fault);
}

static void host_open_redeploy(struct host *host, const struct host_options *options)
{
    struct redeploy_options redeploy = {
        .loop = &host->loop, .hub = &host->hub, .scripts = options->hub.scripts, .watch = options->watch};
    host->redeploy = redeploy_open(&redeploy);
}

/* After the hub. */
static void host_close_loop(struct host *host)
{
    redeploy_stop(host->redeploy);
    redeploy_close(host->redeploy);
    clock_file_close(host->clock);
    uv_close((uv_handle_t *)&host->stop, NULL);
    for (int at = 0; at < host->signal_count; at++) uv_close((uv_handle_t *)&host->signals[at], NULL);
    uv_run(&host->loop, UV_RUN_DEFAULT);
    uv_loop_close(&host->loop);
    mem_free(host->socket_path);
    mem_free(host);
}

int host_open(const struct host_options *options, struct host **opened, struct fault *fault)
{
    /* A client that goes away while it is answered must not end the process. */
    signal(SIGPIPE, SIG_IGN);
    struct host *host = MEM_NEW(struct host);
    int error = uv_loop_init(&host->loop);
    if (error) {
        mem_free(host);
        return fault_errno(fault, -error, "the event loop cannot be started");
    }
    CHECK(uv_async_init(&host->loop, &host->stop, host_on_stop) == 0); /* shares what the loop opened */
    static const int numbers[HOST_SIGNALS] = {SIGINT, SIGTERM};
    for (int at = 0; options->signals && at < HOST_SIGNALS; at++) {
        error = uv_signal_init(&host->loop, &host->signals[at]);
        if (!error) error = uv_signal_start(&host->signals[at], host_on_signal, numbers[at]);
        if (error) say_stop("signals cannot be taken: %s", uv_strerror(error));
        uv_unref((uv_handle_t *)&host->signals[at]);
        host->signal_count++;
    }
    /* The socket in the directory is that of the hub that has it. */
    if (!options->hub.as_of) host->socket_path = host_socket_path(options->hub.data);
    if (options->signals && !options->hub.as_of) host_open_redeploy(host, options);
    if (host_open_hub(host, &options->hub, fault) < 0) {
        host_close_loop(host);
        return -1;
    }
    struct net_options net = {.hub = host->hub,
                              .loop = &host->loop,
                              .host = options->host,
                              .port = options->port,
                              .socket_path = host->socket_path,
                              .access_log = options->access_log};
    if (net_open(&net, &host->net, fault) < 0) {
        hub_close(host->hub);
        host_close_loop(host);
        return -1;
    }
    *opened = host;
    return 0;
}

struct hub *host_hub(struct host *host)
{
    return host->hub;
}
int host_port(const struct host *host)
{
    return net_port(host->net);
}
void host_run(struct host *host)
{
    thread_is_prompt();
    uv_run(&host->loop, UV_RUN_DEFAULT);
}
void host_stop(struct host *host)
{
    uv_async_send(&host->stop);
}

void host_close(struct host *host)
{
    redeploy_stop(host->redeploy);
    net_stop(host->net);
    hub_stop(host->hub);
    net_close(host->net);
    hub_close(host->hub);
    host_close_loop(host);
}

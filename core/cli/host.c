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
#include "run/rollback.h"

enum { HOST_SIGNALS = 2 };

/* DESIGN. A rollback while the hub is served. The loop goes on turning, so that whoever asks meanwhile is
 * told to come back:
 *
 *   asked ──wake──► begin: net_pause ─pool─► stop: hub_stop ──► stopped: net_detach
 *                                                 ─pool─► cut: close, cut, open ──► opened: net_attach,
 * answer
 *
 * The hub is opened again whether it was cut or could not be; when it cannot be opened there is nothing to
 * serve. */
struct reopening {
    struct host *host;
    uv_work_t work;
    struct hub *hub; /* the old one, then the new one */
    struct buf to, report;
    struct fault fault, open_fault;
    bool wanted, busy;
};

struct host {
    uv_loop_t loop;
    uv_async_t stop, wake;
    struct hub_options hub_options;
    struct reopening reopening;
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
    host->hub_options = *options;
    if (host_open_clock(host, fault) < 0) return -1;
    if (host->clock) host->hub_options.clock = clock_file_clock(host->clock);
    int done = hub_open(&host->hub_options, &host->hub, fault);
    host->hub_options.errors = NULL;   /* the caller's, and he has seen them */
    host->hub_options.recorded = true; /* opened again, it deploys nothing that somebody edits */
    return done;
}

/* --- opening again --- */

/* In another thread, like the next but one. */
static void reopening_stop(uv_work_t *work)
{
    struct reopening *reopening = work->data;
    hub_stop(reopening->hub);
}

static int reopening_cut_log(struct reopening *reopening, struct fault *fault)
{
    struct engine *engine;
    struct cut cut;
    const struct hub_options *hub = &reopening->host->hub_options;
    struct engine_options options = {.path = hub->data, .clock = hub->clock};
    if (engine_open_lmdb(&options, &engine, fault) < 0) return -1;
    int done = rollback_find(engine, buf_slice(&reopening->to), &cut, fault);
    if (done == 0) done = rollback_report(engine, &cut, &reopening->report, fault);
    if (done == 0 && !rollback_is_nothing(&cut)) done = rollback_run(engine, &cut, fault);
    engine_close(engine);
    return done;
}

static void reopening_cut(uv_work_t *work)
{
    struct reopening *reopening = work->data;
    hub_close(reopening->hub);
    reopening->hub = NULL;
    reopening_cut_log(reopening, &reopening->fault);
    hub_open(&reopening->host->hub_options, &reopening->hub, &reopening->open_fault);
}

static void reopening_opened(uv_work_t *work, int status)
{
    struct reopening *reopening = work->data;
    struct host *host = reopening->host;
    if (!reopening->hub)
        say_stop("the hub cannot be opened again after the rollback: %s", reopening->open_fault.text);
    host->hub = reopening->hub;
    net_attach(host->net, host->hub);
    if (reopening->fault.code != FAULT_NONE) say_warn("the log is as it was: %s", reopening->fault.text);
    net_rolled_back(host->net, &reopening->fault, buf_slice(&reopening->report));
    buf_release(&reopening->to);
    buf_release(&reopening->report);
    reopening->busy = false;
}

static void reopening_stopped(uv_work_t *work, int status)
{
    struct reopening *reopening = work->data;
    net_detach(reopening->host->net);
    CHECK(uv_queue_work(&reopening->host->loop, work, reopening_cut, reopening_opened) == 0);
}

static void reopening_begin(uv_async_t *async)
{
    struct host *host = async->data;
    struct reopening *reopening = &host->reopening;
    if (!reopening->wanted) return;
    reopening->wanted = false;
    reopening->busy = true;
    reopening->hub = host->hub;
    host->hub = NULL;
    say_info("the log is rolled back to %.*s", SLICE_ARGS(buf_slice(&reopening->to)));
    net_pause(host->net);
    CHECK(uv_queue_work(&host->loop, &reopening->work, reopening_stop, reopening_stopped) == 0);
}

static void host_on_rollback(void *user, struct slice to)
{
    struct host *host = user;
    struct reopening *reopening = &host->reopening;
    reopening->host = host;
    reopening->work.data = reopening;
    reopening->fault = reopening->open_fault = (struct fault){0};
    reopening->wanted = true;
    buf_clear(&reopening->to);
    buf_put_slice(&reopening->to, to);
    uv_async_send(&host->wake);
}

/* --- opening --- */

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
    uv_close((uv_handle_t *)&host->wake, NULL);
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
    /* They share what the loop opened. */
    CHECK(uv_async_init(&host->loop, &host->stop, host_on_stop) == 0 &&
          uv_async_init(&host->loop, &host->wake, reopening_begin) == 0);
    host->wake.data = host;
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
                              .access_log = options->access_log,
                              .rollback = options->hub.read_only ? NULL : host_on_rollback,
                              .rollback_user = host};
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
    /* Told to stop in the middle of it: half a hub cannot be closed. */
    while (host->reopening.busy) uv_run(&host->loop, UV_RUN_ONCE);
}
void host_stop(struct host *host)
{
    uv_async_send(&host->stop);
}

void host_close(struct host *host)
{
    redeploy_stop(host->redeploy);
    struct fault stopping;
    fault_set(&stopping, FAULT_UNAVAILABLE, "the hub is stopping");
    if (host->reopening.wanted) net_rolled_back(host->net, &stopping, SLICE_NONE);
    host->reopening.wanted = false; /* the loop turns once more */
    buf_release(&host->reopening.to);
    net_stop(host->net);
    hub_stop(host->hub);
    net_close(host->net);
    hub_close_to_exit(host->hub);
    host_close_loop(host);
}

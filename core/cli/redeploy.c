#include "cli/redeploy.h"

#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "cli/actor.h"
#include "cli/child.h"
#include "cli/folder.h"
#include "cli/redeploy_tell.h"
#include "cli/specs.h"
#include "vm/domain.h"
#include "vm/sources.h"

enum { REDEPLOY_AGAIN_MS = 300, REDEPLOY_HANDLES = 3 };

enum redeploy_found {
    REDEPLOY_FOUND_NEW,       /* to be deployed */
    REDEPLOY_FOUND_KNOWN,     /* tried already */
    REDEPLOY_FOUND_UNSETTLED, /* perhaps somebody is writing: look again */
    REDEPLOY_FOUND_FAULT
};

struct look {           /* at the folder, and what followed */
    bool asked_for;     /* SIGHUP: whatever was tried before */
    bool specs_changed; /* perhaps */
    bool settled;       /* it is the second time */
    int64_t began_ns;   /* when the first event came */
    enum redeploy_found found;
    struct sources *sources;
    struct hash digest;
    struct buf paths; /* of scripts that hold something, a NUL behind each */
    struct specs specs;
    struct buf specs_json;
    char *folder; /* absolute */
    struct fault fault;
    struct deploy_order order;
};

struct redeploy {
    struct redeploy_options options;
    char *dir;
    struct folder *scripts, *specs;
    uv_signal_t hangup;
    uv_async_t answered;
    uv_timer_t again;
    uv_work_t work;
    int handles;
    bool is_stopped;
    bool is_busy;    /* a look is under way */
    bool is_reading; /* in a worker thread */
    struct look look;
    /* wanted behind it */
    bool is_due, is_asked_for, have_specs_changed;
    int64_t due_ns;
    /* what was tried last */
    bool was_tried, did_fail, did_specs_fail;
    struct hash tried;
    struct sources *passed; /* of which no spec failed; NULL: none is known */
    struct buf paths;
    char *told; /* why the folder could not be read */
    char actor[ACTOR_SIZE_MAX];
};

static void redeploy_begin(struct redeploy *redeploy);
static void redeploy_queue(struct redeploy *redeploy);
static void redeploy_free(struct redeploy *redeploy);

/* --- in a worker thread: reading --- */

static void redeploy_list(const struct sources *sources, struct buf *paths)
{
    for (size_t at = 0; at < sources_count(sources); at++) {
        const struct source *source = sources_at(sources, at);
        if (!source->text.size) continue;
        buf_put_slice(paths, source->path);
        buf_put_byte(paths, 0);
    }
}

/* A script that held something is empty or gone. */
static bool redeploy_lost_one(const struct redeploy *redeploy)
{
    struct slice left = buf_slice(&redeploy->paths);
    while (left.size) {
        struct slice path = slice_of(left.data);
        const struct source *found = sources_find(redeploy->look.sources, path);
        if (!found || !found->text.size) return true;
        left = slice_make(left.data + path.size + 1, left.size - path.size - 1);
    }
    return false;
}

static bool redeploy_is_known(const struct redeploy *redeploy)
{
    const struct look *look = &redeploy->look;
    if (look->asked_for || !redeploy->was_tried) return false;
    if (redeploy->did_specs_fail && look->specs_changed) return false;
    return hash_equal(&redeploy->tried, &look->digest);
}

/* What does not load has no specs to run: the hub tells why. */
static bool redeploy_loads(const struct sources *sources)
{
    struct domain *domain;
    struct fault ignored;
    struct domain_options options = {.sources = sources};
    domain_thread_start();
    bool loads = domain_open(&options, &domain, NULL, &ignored) == 0;
    if (loads) domain_close(domain);
    domain_thread_stop();
    return loads;
}

/* Whether a script that is not the same in both may only matter to one context, and always to the same one.
 */
static bool redeploy_is_local(const struct sources *before, const struct sources *after,
                              struct slice *context)
{
    for (size_t at = 0; at < sources_count(after); at++) {
        const struct source *now = sources_at(after, at), *was = sources_find(before, now->path);
        if (was && slice_equal(was->text, now->text)) continue;
        size_t name = now->context.size + 1;
        bool is_contract =
            now->path.size > name &&
            slice_is(slice_make(now->path.data + name, now->path.size - name), "contracts.lua");
        if (now->kind == SOURCE_SHARED || is_contract) return false;
        if (context->size && !slice_equal(*context, now->context)) return false;
        *context = now->context;
    }
    return true;
}

/* The context whose specs tell all: contexts know of each other by contracts only. Empty: all have to. */
static struct slice redeploy_specs_of(const struct redeploy *redeploy)
{
    const struct look *look = &redeploy->look;
    struct slice context = SLICE_NONE;
    if (look->asked_for || !redeploy->passed) return SLICE_NONE;
    bool local = redeploy_is_local(redeploy->passed, look->sources, &context) &&
                 redeploy_is_local(look->sources, redeploy->passed, &context); /* what is gone */
    return local ? context : SLICE_NONE;
}

/* The specs read the folder by themselves: they count only if it is the same. */
static enum redeploy_found redeploy_run_specs(struct redeploy *redeploy)
{
    struct look *look = &redeploy->look;
    struct sources *again;
    if (!redeploy_loads(look->sources)) return REDEPLOY_FOUND_NEW;
    if (specs_run(redeploy->dir, redeploy_specs_of(redeploy), &look->specs, &look->fault) < 0)
        return REDEPLOY_FOUND_FAULT;
    if (!look->specs.ran) return REDEPLOY_FOUND_NEW;
    if (sources_read(redeploy->dir, &again, &look->fault) < 0) return REDEPLOY_FOUND_UNSETTLED;
    struct hash digest = sources_digest(again);
    sources_free(again);
    return hash_equal(&digest, &look->digest) ? REDEPLOY_FOUND_NEW : REDEPLOY_FOUND_UNSETTLED;
}

static enum redeploy_found redeploy_read(struct redeploy *redeploy)
{
    struct look *look = &redeploy->look;
    if (sources_read(redeploy->dir, &look->sources, &look->fault) < 0)
        return look->settled ? REDEPLOY_FOUND_FAULT : REDEPLOY_FOUND_UNSETTLED;
    if (sources_count(look->sources) == 0) {
        fault_set(&look->fault, FAULT_NOT_FOUND, "%s holds no scripts", redeploy->dir);
        return look->settled ? REDEPLOY_FOUND_FAULT : REDEPLOY_FOUND_UNSETTLED;
    }
    look->folder = realpath(redeploy->dir, NULL);
    look->digest = sources_digest(look->sources);
    redeploy_list(look->sources, &look->paths);
    if (redeploy_is_known(redeploy)) return REDEPLOY_FOUND_KNOWN;
    if (!look->settled && redeploy_lost_one(redeploy)) return REDEPLOY_FOUND_UNSETTLED;
    return redeploy_run_specs(redeploy);
}

static void redeploy_work(uv_work_t *work)
{
    struct redeploy *redeploy = work->data;
    redeploy->look.found = redeploy_read(redeploy);
}

/* --- in the loop: a look from its begin to its end --- */

/* What it read and what came of it. */
static void redeploy_forget(struct look *look)
{
    if (look->sources) sources_free(look->sources);
    look->sources = NULL;
    specs_release(&look->specs);
    look->specs = (struct specs){0};
    buf_release(&look->paths);
    buf_release(&look->specs_json);
    buf_release(&look->order.report);
    free(look->folder);
    look->folder = NULL;
}

static void redeploy_end(struct redeploy *redeploy)
{
    redeploy_forget(&redeploy->look);
    redeploy->is_busy = false;
    if (redeploy->is_due) redeploy_begin(redeploy);
}

static void redeploy_on_again(uv_timer_t *timer)
{
    struct redeploy *redeploy = timer->data;
    redeploy->look.settled = true;
    redeploy_queue(redeploy);
}

static void redeploy_keep(struct redeploy *redeploy)
{
    struct look *look = &redeploy->look;
    redeploy->tried = look->digest;
    redeploy->was_tried = true;
    buf_release(&redeploy->paths);
    redeploy->paths = look->paths;
    look->paths = (struct buf){0};
    mem_free(redeploy->told);
    redeploy->told = NULL;
}

/* Once for each text. */
static void redeploy_tell_fault(struct redeploy *redeploy)
{
    const char *text = redeploy->look.fault.text;
    redeploy->did_fail = true;
    if (redeploy->told && strcmp(redeploy->told, text) == 0) return;
    mem_free(redeploy->told);
    redeploy->told = mem_text(text, strlen(text));
    say_error("%s", text);
}

static void redeploy_pass(struct redeploy *redeploy, struct sources *sources)
{
    if (redeploy->passed) sources_free(redeploy->passed);
    redeploy->passed = sources;
}

static void redeploy_on_answered(uv_async_t *async)
{
    struct redeploy *redeploy = async->data;
    struct look *look = &redeploy->look;
    if (redeploy->is_stopped) return;
    struct redeploy_told told = {.hub = *redeploy->options.hub,
                                 .order = &look->order,
                                 .specs = &look->specs,
                                 .even_same = look->asked_for || redeploy->did_fail,
                                 .ms = (clock_monotonic_ns() - look->began_ns) / 1000000};
    redeploy_tell(&told);
    redeploy->did_fail = look->order.fault.code != FAULT_NONE;
    redeploy->did_specs_fail = redeploy->did_fail && look->specs.failed > 0;
    if (!redeploy->did_fail && !look->specs.failed) {
        redeploy_pass(redeploy, look->sources);
        look->sources = NULL;
    }
    redeploy_end(redeploy);
}

/* In the deployer's thread. */
static void redeploy_done(struct deploy_order *order)
{
    struct redeploy *redeploy = order->user;
    uv_async_send(&redeploy->answered);
}

static int redeploy_give(struct redeploy *redeploy, struct hub *hub, struct fault *fault)
{
    struct look *look = &redeploy->look;
    if (!hub) return fault_set(fault, FAULT_UNAVAILABLE, "the hub is not open");
    size_t count = sources_count(look->sources);
    struct deploy_text *texts = mem_zero(count * sizeof *texts);
    for (size_t at = 0; at < count; at++)
        texts[at] =
            (struct deploy_text){sources_at(look->sources, at)->path, sources_at(look->sources, at)->text};
    specs_put_json(&look->specs, &look->specs_json);
    look->order = (struct deploy_order){.kind = DEPLOY_ORDER_DEPLOY,
                                        .texts = texts,
                                        .text_count = count,
                                        .actor = actor_name(redeploy->actor),
                                        .note = slice_of(look->asked_for ? "SIGHUP" : "saved"),
                                        .folder = slice_of(look->folder),
                                        .specs = buf_slice(&look->specs_json),
                                        .specs_failed = look->specs.failed,
                                        .is_told = true,
                                        .done = redeploy_done,
                                        .user = redeploy};
    int done = hub_deploy(hub, &look->order, fault);
    mem_free(texts);
    return done;
}

static void redeploy_order(struct redeploy *redeploy)
{
    struct fault fault;
    redeploy_keep(redeploy);
    if (redeploy_give(redeploy, *redeploy->options.hub, &fault) == 0) return;
    redeploy->was_tried = false; /* but with the next look */
    redeploy->look.fault = fault;
    redeploy_tell_fault(redeploy);
    redeploy_end(redeploy);
}

static void redeploy_worked(uv_work_t *work, int status)
{
    struct redeploy *redeploy = work->data;
    enum redeploy_found found = redeploy->look.found;
    redeploy->is_reading = false;
    if (!redeploy->is_stopped && found == REDEPLOY_FOUND_NEW) {
        redeploy_order(redeploy);
        return;
    }
    if (!redeploy->is_stopped && found == REDEPLOY_FOUND_UNSETTLED) {
        redeploy_forget(&redeploy->look);
        uv_timer_start(&redeploy->again, redeploy_on_again, REDEPLOY_AGAIN_MS, 0);
        return;
    }
    if (found == REDEPLOY_FOUND_FAULT && !redeploy->is_stopped) redeploy_tell_fault(redeploy);
    if (found == REDEPLOY_FOUND_KNOWN && redeploy->told)
        say_info("%s can be read again, and holds what it held", redeploy->dir);
    if (found == REDEPLOY_FOUND_KNOWN) redeploy_keep(redeploy);
    redeploy_end(redeploy);
    redeploy_free(redeploy);
}

static void redeploy_queue(struct redeploy *redeploy)
{
    redeploy->is_reading = true;
    uv_queue_work(redeploy->options.loop, &redeploy->work, redeploy_work, redeploy_worked);
}

/* Unless a look is under way, which begins the next one at its end. */
static void redeploy_begin(struct redeploy *redeploy)
{
    if (redeploy->is_busy || redeploy->is_stopped) return;
    redeploy->look = (struct look){.asked_for = redeploy->is_asked_for,
                                   .specs_changed = redeploy->have_specs_changed,
                                   .began_ns = redeploy->due_ns};
    redeploy->is_due = redeploy->is_asked_for = redeploy->have_specs_changed = false;
    redeploy->is_busy = true;
    redeploy_queue(redeploy);
}

/* --- what begins one --- */

static void redeploy_wake(struct redeploy *redeploy)
{
    if (!redeploy->is_due) redeploy->due_ns = clock_monotonic_ns();
    redeploy->is_due = true;
    redeploy_begin(redeploy);
}

static void redeploy_on_scripts(void *user, bool event)
{
    redeploy_wake(user);
}

static void redeploy_on_specs(void *user, bool event)
{
    struct redeploy *redeploy = user;
    if (!event || !redeploy->did_specs_fail) return;
    redeploy->have_specs_changed = true;
    redeploy_wake(redeploy);
}

static void redeploy_on_hangup(uv_signal_t *signal, int number)
{
    struct redeploy *redeploy = signal->data;
    redeploy->is_asked_for = true;
    redeploy_wake(redeploy);
}

/* --- opening --- */

/* The hub's start deals with what the folder holds now, be it broken. */
static void redeploy_read_first(struct redeploy *redeploy)
{
    struct sources *sources;
    struct fault ignored;
    if (sources_read(redeploy->dir, &sources, &ignored) < 0) return;
    redeploy->tried = sources_digest(sources);
    redeploy->was_tried = true;
    redeploy_list(sources, &redeploy->paths);
    /* Whoever saved it last was told of its specs then, or will be told of those of the context that he saves
     * next. */
    redeploy_pass(redeploy, sources);
}

struct redeploy *redeploy_open(const struct redeploy_options *options)
{
    struct redeploy *redeploy = MEM_NEW(struct redeploy);
    redeploy->options = *options;
    redeploy->dir = mem_text(options->scripts, strlen(options->scripts));
    redeploy->hangup.data = redeploy->answered.data = redeploy->again.data = redeploy->work.data = redeploy;
    uv_signal_init(options->loop, &redeploy->hangup);
    uv_async_init(options->loop, &redeploy->answered, redeploy_on_answered);
    uv_timer_init(options->loop, &redeploy->again);
    redeploy->handles = REDEPLOY_HANDLES;
    uv_signal_start(&redeploy->hangup, redeploy_on_hangup, SIGHUP);
    if (!options->watch) return redeploy;
    redeploy_read_first(redeploy);
    struct buf specs = {0};
    specs_folder(redeploy->dir, &specs);
    redeploy->scripts = folder_open(redeploy->dir, options->loop, redeploy_on_scripts, redeploy);
    redeploy->specs = folder_open(specs.data, options->loop, redeploy_on_specs, redeploy);
    buf_release(&specs);
    return redeploy;
}

void redeploy_stop(struct redeploy *redeploy)
{
    if (!redeploy) return;
    redeploy->is_stopped = true;
    child_interrupt();
    uv_signal_stop(&redeploy->hangup);
    uv_timer_stop(&redeploy->again);
    folder_close(redeploy->scripts);
    folder_close(redeploy->specs);
    redeploy->scripts = redeploy->specs = NULL;
}

/* When the last handle and the worker let go. */
static void redeploy_free(struct redeploy *redeploy)
{
    if (redeploy->handles > 0 || redeploy->is_reading) return;
    redeploy_forget(&redeploy->look);
    redeploy_pass(redeploy, NULL);
    buf_release(&redeploy->paths);
    mem_free(redeploy->told);
    mem_free(redeploy->dir);
    mem_free(redeploy);
}

static void redeploy_handle_closed(uv_handle_t *handle)
{
    struct redeploy *redeploy = handle->data;
    redeploy->handles--;
    redeploy_free(redeploy);
}

void redeploy_close(struct redeploy *redeploy)
{
    if (!redeploy) return;
    uv_close((uv_handle_t *)&redeploy->hangup, redeploy_handle_closed);
    uv_close((uv_handle_t *)&redeploy->answered, redeploy_handle_closed);
    uv_close((uv_handle_t *)&redeploy->again, redeploy_handle_closed);
}

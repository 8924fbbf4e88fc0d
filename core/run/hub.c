#include "run/hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/text.h"
#include "run/inside.h"
#include "run/launch.h"
#include "run/sessions.h"

int hub_domain_open(struct hub *hub, struct domain **domain, struct release **release, struct fault *fault)
{
    struct visit visit;
    struct release *current = release_enter(hub, &visit);
    release_hold(current);
    release_leave(&visit);
    if (release_domain(current, domain, fault) == 0) {
        *release = current;
        return 0;
    }
    release_let_go(current);
    return -1;
}

uint64_t hub_deploy_number(struct hub *hub)
{
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    uint64_t number = release ? release->deploy : 0;
    release_leave(&visit);
    return number;
}

/* A hub in memory keeps its views in a folder that goes away with it. */
static int hub_make_data(struct hub *hub, const struct hub_options *options, struct fault *fault)
{
    if (options->data) {
        hub->data = mem_text(options->data, strlen(options->data));
        if (options->read_only || mkdir(hub->data, 0777) == 0 || errno == EEXIST) return 0;
        return fault_errno(fault, errno, "cannot make the data directory %s", hub->data);
    }
    hub->in_memory = true;
    const char *temporary = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/lore-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(path)) return fault_errno(fault, errno, "cannot make a folder %s", path);
    hub->data = mem_text(path, strlen(path));
    return 0;
}

/* A log that is gone must not be begun anew beside what was derived from it, as if nothing had ever happened.
 */
static int hub_check_log(const struct hub *hub, struct fault *fault)
{
    static const char *const derived[] = {"index", "views", "snapshots", "timers", "shapes"};
    char path[4096];
    snprintf(path, sizeof path, "%s/log", hub->data);
    if (hub->in_memory || access(path, F_OK) == 0 || errno != ENOENT) return 0;
    for (size_t at = 0; at < sizeof derived / sizeof *derived; at++) {
        snprintf(path, sizeof path, "%s/%s", hub->data, derived[at]);
        if (access(path, F_OK) == 0)
            return fault_set(
                fault, FAULT_CORRUPT,
                "%s/log is gone, and with it all events, but %s is there: bring the log back, or "
                "remove all of %s to begin anew",
                hub->data, path, hub->data);
    }
    return 0;
}

static int hub_open_engine(struct hub *hub, struct fault *fault)
{
    struct engine_options options = {.clock = hub->clock};
    if (hub->in_memory) return engine_open_memory(&options, &hub->engine, fault);
    options.path = hub->data;
    options.read_only = hub->read_only;
    struct fault none;
    if (engine_open_lmdb(&options, &hub->engine, &none) == 0) return 0;
    /* Its first start was killed before it wrote anything: a log without events. */
    if (hub->read_only && none.code == FAULT_NOT_FOUND) {
        options = (struct engine_options){.clock = hub->clock};
        return engine_open_memory(&options, &hub->engine, fault);
    }
    *fault = none;
    return -1;
}

static int hub_open_store(struct hub *hub, const struct hub_options *given, struct fault *fault)
{
    if (!given->engine && hub_open_engine(hub, fault) < 0) return -1;
    struct engine_head head = engine_head(hub->engine);
    memcpy(hub->log_id, head.log_id, sizeof hub->log_id);
    if (engine_meta_get(hub->engine, slice_of("origins"), &hub->origins, fault) < 0) return -1;
    char path[4096];
    snprintf(path, sizeof path, "%s/snapshots", hub->data);
    struct fault ignored;
    if (snaps_open(path, hub->read_only, &hub->snaps, &ignored) < 0) {
        /* Derived: without them states are folded from their first event. */
        if (!hub->read_only) say_warn("snapshots: %s", ignored.text);
        hub->snaps = NULL;
    }
    return 0;
}

static size_t hub_threads(int wanted)
{
    long cores = wanted > 0 ? wanted : sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 1) cores = 1;
    return cores > HUB_SHARDS_MAX ? HUB_SHARDS_MAX : (size_t)cores;
}

/* Who made what can be asked of the log alone. */
static int hub_start_without_scripts(struct hub *hub, struct fault *fault)
{
    if (query_open(hub, NULL, &hub->query, fault) < 0) return -1;
    query_start(hub->query);
    return 0;
}

static int hub_start_parts(struct release *release, struct fault *fault)
{
    return release_start_parts(release, fault) < 0 ? -1 : release_start_receptors(release, fault);
}

/* The release is the current one from here on. */
static int hub_start(struct hub *hub, struct release_parts parts, struct fault *fault)
{
    struct release *release = atomic_load(&hub->release);
    if (!release) return hub_start_without_scripts(hub, fault);
    if (release_make_parts(release, &parts, fault) < 0) return -1;
    hub->past = past_start(hub);
    if (hub->read_only) return hub_start_parts(release, fault);
    if (hub->as_of) {
        if (hub->views && views_start(hub->views, release, fault) < 0) return -1;
        return hub_start_parts(release, fault);
    }
    hub->deployer = deployer_new(hub); /* these two before the threads that look at them */
    if (hub->parts.receptors) hub->courier = courier_new(hub);
    hub->indexer = indexer_start(hub);
    hub->writer = writer_start(hub);
    for (size_t at = 0; at < hub->shard_count; at++)
        if (shard_start(hub, (int)at, &hub->shards[at], fault) < 0) return -1;
    if (hub->views && views_start(hub->views, release, fault) < 0) return -1;
    return hub_start_parts(release, fault);
}

/* The folder's deploy, if it is due. What sends and runs by itself begins behind it: the code before it has
 * nothing to do any more, unless the gate keeps it. */
static int hub_launch(struct hub *hub, struct launch *launch, struct fault *fault)
{
    struct release_parts first = hub->parts;
    if (launch->is_due) first.receptors = first.reactor = false;
    if (hub_start(hub, first, fault) < 0) return -1;
    if (hub->read_only || hub->as_of) return 0;
    struct release *before = atomic_load(&hub->release);
    if (launch->is_due && launch_deploy(launch, fault) < 0) return -1;
    if (launch->is_due && atomic_load(&hub->release) == before &&
        (release_make_parts(before, &hub->parts, fault) < 0 || hub_start_parts(before, fault) < 0))
        return -1;
    if (hub->courier) courier_start(hub->courier);
    deployer_start(hub->deployer);
    return 0;
}

static void hub_set_parts(struct hub *hub, const struct hub_options *options)
{
    hub->parts = (struct release_parts){
        .query = true,
        .receptors = options->projectors >= 0 && !hub->as_of && (options->schedule || hub->read_only),
        .reactor = !hub->as_of,
        .reactor_options = {.secrets = hub->secrets, .schedule = options->schedule},
    };
}

int hub_open(const struct hub_options *options, struct hub **hub, struct fault *fault)
{
    if (options->as_of && !options->engine) return hub_open_as_of(options, hub, fault);
    struct hub *made = MEM_NEW(struct hub);
    struct launch launch = {0};
    made->engine = options->engine;
    made->as_of = options->as_of ? mem_text(options->as_of, strlen(options->as_of)) : NULL;
    made->clock = options->clock;
    made->read_only = options->read_only;
    made->started_ns = clock_monotonic_ns();
    CHECK(options->scripts || (options->read_only && options->projectors < 0));
    made->scripts = options->scripts ? mem_text(options->scripts, strlen(options->scripts)) : NULL;
    made->secrets = options->secrets ? mem_text(options->secrets, strlen(options->secrets)) : NULL;
    made->shard_count = options->read_only || options->as_of ? 0 : hub_threads(options->shards);
    hub_set_parts(made, options);
    watch_init(&made->watch);
    made->sessions = sessions_new(made);
    outage_init(&made->outage, options->quiet);
    int done = -1;
    if (launch_read(&launch, made, options, fault) < 0 || hub_make_data(made, options, fault) < 0) goto end;
    if (hub_check_log(made, fault) < 0 || hub_open_store(made, options, fault) < 0 ||
        launch_choose(&launch, fault) < 0)
        goto end;
    struct release *release = atomic_load(&made->release);
    if (options->projectors >= 0 &&
        views_open(made, hub_threads(options->projectors), release, &made->views, fault) < 0)
        goto end;
    done = hub_launch(made, &launch, fault);
end:
    launch_release(&launch);
    if (done < 0)
        hub_close(made);
    else
        *hub = made;
    return done;
}

void hub_stop(struct hub *hub)
{
    if (hub->stopped) return;
    hub->stopped = true;
    sessions_stop(hub->sessions);
    if (hub->deployer) deployer_stop(hub->deployer);
    struct release *release = atomic_load(&hub->release);
    /* While what they sent, and what services did for them, gets to the log. */
    if (release && release->reactor) reactor_stop(release->reactor);
    if (release && release->receptors) receptors_stop(release->receptors);
    if (hub->courier) courier_stop(hub->courier);
    atomic_store(&hub->stopping, true);
    release_wait_for_visitors(hub);
    for (size_t at = 0; at < hub->shard_count; at++)
        if (hub->shards[at]) shard_stop(hub->shards[at]);
    if (hub->writer) writer_stop(hub->writer);
    if (hub->views) views_stop(hub->views);
    struct query *query = release ? release->query : hub->query;
    if (query) query_stop(query);
    if (hub->past) past_stop(hub->past);
    if (hub->indexer) indexer_stop(hub->indexer);
}

static void hub_free(struct hub *hub, bool frees_states)
{
    if (!hub) return;
    hub_stop(hub);
    for (size_t at = 0; at < hub->shard_count && frees_states; at++) shard_free(hub->shards[at]);
    writer_free(hub->writer);
    courier_free(hub->courier);
    deployer_free(hub->deployer);
    views_free(hub->views);
    release_let_go(atomic_load(&hub->release));
    query_free(hub->query);
    past_free(hub->past);
    indexer_free(hub->indexer);
    if (hub->snaps) snaps_close(hub->snaps);
    engine_close(hub->engine);
    if (hub->in_memory && hub->data) views_remove_folder(hub->data);
    watch_release(&hub->watch);
    sessions_free(hub->sessions);
    outage_release(&hub->outage);
    buf_release(&hub->origins);
    mem_free(hub->data);
    mem_free(hub->scripts);
    mem_free(hub->secrets);
    mem_free(hub->as_of);
    mem_free(hub);
}

void hub_close(struct hub *hub)
{
    hub_free(hub, true);
}

void hub_close_to_exit(struct hub *hub)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    hub_free(hub, true);
#else
    hub_free(hub, false);
#endif
}

/* Without scripts nothing says which tenants there are, but the log knows whom it ever wrote for; main is
 * always there. */
static bool hub_log_has_tenant(struct hub *hub, struct slice tenant)
{
    return text_is_tenant(tenant) &&
           (slice_is(tenant, "main") || names_find(engine_names(hub->engine), tenant) != 0);
}

bool hub_has_tenant(struct hub *hub, struct slice tenant)
{
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    bool has = release ? catalog_has_tenant(&release->catalog, tenant) : hub_log_has_tenant(hub, tenant);
    release_leave(&visit);
    return has;
}

struct engine *hub_engine(struct hub *hub)
{
    return hub->engine;
}

int64_t hub_limit(struct hub *hub, const char *name, int64_t otherwise)
{
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    int64_t limit = release ? catalog_limit(&release->catalog, name, otherwise) : otherwise;
    release_leave(&visit);
    return limit;
}

/* state: what asks for the state of an aggregate, else NULL. */
static int hub_query_check(struct hub *hub, const struct release *release, struct slice tenant,
                           const struct state_query *state, struct fault *fault)
{
    if (atomic_load(&hub->stopping)) /* nothing is put behind the end */
        return fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    if (!release) return state ? fault_set(fault, FAULT_UNAVAILABLE, "this hub has no scripts") : 0;
    if (tenant.size && !catalog_has_tenant(&release->catalog, tenant))
        return fault_set(fault, FAULT_NOT_FOUND, "no tenant %.*s", SLICE_ARGS(tenant));
    return !state || catalog_find(&release->catalog, state->context, state->aggregate, fault) ? 0 : -1;
}

static int hub_query(struct hub *hub, struct slice tenant, const struct state_query *state,
                     struct query_link *link, struct fault *fault)
{
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    int done = hub_query_check(hub, release, tenant, state, fault);
    if (done == 0) done = query_put(release ? release->query : hub->query, link, fault);
    release_leave(&visit);
    return done;
}

int hub_query_state(struct hub *hub, struct state_query *query, struct fault *fault)
{
    return hub_query(hub, query->tenant, query, &query->link, fault);
}

int hub_query_trace(struct hub *hub, struct trace_query *query, struct fault *fault)
{
    query->link.kind = QUERY_TRACE;
    return hub_query(hub, query->tenant, NULL, &query->link, fault);
}

int hub_query_blame(struct hub *hub, struct blame_query *query, struct fault *fault)
{
    query->link.kind = QUERY_BLAME;
    return hub_query(hub, query->tenant, NULL, &query->link, fault);
}

void *hub_watch(struct hub *hub, void (*woken)(void *user), void *user)
{
    return watch_add(&hub->watch, woken, user);
}

void hub_unwatch(struct hub *hub, void *token)
{
    watch_remove(&hub->watch, token);
}

void hub_look(struct hub *hub)
{
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    if (release && release->receptors) receptors_look(release->receptors);
    if (hub->courier) courier_look(hub->courier);
    if (release && release->reactor) reactor_look(release->reactor);
    release_leave(&visit);
}

int hub_retry(struct hub *hub, struct slice name, struct fault *fault)
{
    if (hub->courier && slice_is(name, COURIER_NAME)) {
        courier_retry(hub->courier);
        return 0;
    }
    if (hub->as_of) return hub_refuse_past(hub, fault);
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    int done = release && release->receptors
                   ? receptors_retry(release->receptors, name, fault)
                   : fault_set(fault, FAULT_UNAVAILABLE, "this hub runs no receptors");
    release_leave(&visit);
    return done;
}

bool hub_is_quiet(struct hub *hub)
{
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    uint64_t head = engine_head(hub->engine).position;
    bool quiet = !release || !release->receptors || receptors_settled(release->receptors, head);
    quiet = (!hub->courier || courier_settled(hub->courier, head)) && quiet;
    release_leave(&visit);
    return quiet && engine_head(hub->engine).position == head;
}

int hub_run_task(struct hub *hub, struct slice name, struct command *command, struct fault *fault)
{
    if (hub->as_of) return hub_refuse_past(hub, fault);
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    int done = release && release->reactor
                   ? reactor_run_task(release->reactor, name, command, fault)
                   : fault_set(fault, FAULT_NOT_FOUND, "no task %.*s", SLICE_ARGS(name));
    release_leave(&visit);
    return done;
}

bool hub_ready(struct hub *hub)
{
    return !hub->read_only && !hub->as_of && !atomic_load(&hub->stopping);
}

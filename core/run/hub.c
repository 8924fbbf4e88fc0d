#include "run/hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "run/inside.h"

enum { HUB_STOP_LOOK_US = 200 };

int hub_domain_open(struct hub *hub, struct domain **domain, struct buf *errors, struct fault *fault)
{
    const struct catalog *catalog = &hub->catalog;
    struct domain_options options = {
        .sources = hub->sources,
        .on_demand_later = true,
        .memory_max = (size_t)catalog_limit(catalog, "state_memory", 0),
        .instructions_max = (uint64_t)catalog_limit(catalog, "instructions", 0),
        .call_memory_max = (size_t)catalog_limit(catalog, "call_memory", 0),
        .message_size_max = (size_t)catalog_limit(catalog, "message_size", 0),
        .document_size_max = (size_t)catalog_limit(catalog, "document_size", 0),
    };
    return domain_open(&options, domain, errors, fault);
}

static int hub_load(struct hub *hub, const struct hub_options *options, struct domain **domain,
                    struct fault *fault)
{
    if (!hub->scripts) return 0;
    if (sources_read(hub->scripts, &hub->sources, fault) < 0) return -1;
    /* The limits of hub.lua are known only after a first load. */
    if (hub_domain_open(hub, domain, options->errors, fault) < 0) return -1;
    if (catalog_init(&hub->catalog, *domain, fault) < 0) return -1;
    hub->message_size_max = (size_t)catalog_limit(&hub->catalog, "message_size", LIMIT_MESSAGE_SIZE_MAX);
    hub->batch_commands_max =
        (size_t)catalog_limit(&hub->catalog, "batch_commands", LIMIT_BATCH_COMMANDS_MAX);
    hub->causation_depth_max =
        (uint32_t)catalog_limit(&hub->catalog, "causation_depth", LIMIT_CAUSATION_DEPTH_MAX);
    struct slice warnings = domain_warnings(*domain);
    while (warnings.size) {
        const char *end = memchr(warnings.data, '\n', warnings.size);
        size_t size = end ? (size_t)(end - warnings.data) : warnings.size;
        say_warn("%.*s", (int)size, warnings.data);
        size_t taken = end ? size + 1 : size;
        warnings = slice_make(warnings.data + taken, warnings.size - taken);
    }
    return 0;
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
    static const char *const derived[] = {"index", "views", "snapshots", "timers"};
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
    if (given->engine)
        hub->engine = given->engine;
    else if (hub_open_engine(hub, fault) < 0)
        return -1;
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

/* Meta "deploy": {"digest", "number"}. A folder that differs from that of the last start is the next deploy.
 */
static int hub_number_deploy(struct hub *hub, struct fault *fault)
{
    char digest[2 * HASH_SIZE + 1];
    if (!hub->sources) return 0;
    struct hash hash = sources_digest(hub->sources);
    hash_hex(&hash, digest);
    struct buf stored = {0};
    int found = engine_meta_get(hub->engine, slice_of("deploy"), &stored, fault);
    if (found < 0) return -1;
    bool same = false;
    struct slice bytes;
    struct mp_value value;
    struct mp_reader reader;
    if (found && mp_find(buf_slice(&stored), slice_of("number"), &bytes)) {
        reader = mp_reader_of(bytes);
        if (mp_read(&reader, &value) == 0 && value.kind == MP_INT) hub->deploy = (uint64_t)value.integer;
    }
    if (found && mp_find(buf_slice(&stored), slice_of("digest"), &bytes)) {
        reader = mp_reader_of(bytes);
        same = mp_read(&reader, &value) == 0 && value.kind == MP_TEXT && slice_is(value.text, digest);
    }
    buf_release(&stored);
    if (same || hub->read_only) return 0;
    hub->deploy++;
    struct buf made = {0};
    mp_put_map(&made, 2);
    mp_put_text(&made, slice_of("digest"));
    mp_put_text(&made, slice_of(digest));
    mp_put_text(&made, slice_of("number"));
    mp_put_int(&made, (int64_t)hub->deploy);
    int done = engine_meta_put(hub->engine, slice_of("deploy"), buf_slice(&made), fault);
    buf_release(&made);
    return done;
}

static size_t hub_threads(int wanted)
{
    long cores = wanted > 0 ? wanted : sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 1) cores = 1;
    return cores > HUB_SHARDS_MAX ? HUB_SHARDS_MAX : (size_t)cores;
}

static int hub_start(struct hub *hub, struct fault *fault)
{
    if (hub->sources && query_start(hub, &hub->query, fault) < 0) return -1;
    if (hub->read_only) return hub->reactor ? reactor_start(hub->reactor, fault) : 0;
    hub->indexer = indexer_start(hub);
    hub->writer = writer_start(hub);
    for (size_t at = 0; at < hub->shard_count; at++)
        if (shard_start(hub, (int)at, &hub->shards[at], fault) < 0) return -1;
    if (hub->views && views_start(hub->views, fault) < 0) return -1;
    if (hub->reactor && reactor_start(hub->reactor, fault) < 0) return -1;
    if (hub->courier) courier_start(hub->courier);
    return hub->receptors ? receptors_start(hub->receptors, fault) : 0;
}

int hub_open(const struct hub_options *options, struct hub **hub, struct fault *fault)
{
    struct hub *made = MEM_NEW(struct hub);
    struct domain *domain = NULL;
    made->clock = options->clock;
    made->read_only = options->read_only;
    made->started_ns = clock_monotonic_ns();
    CHECK(options->scripts || (options->read_only && options->projectors < 0));
    made->scripts = options->scripts ? mem_text(options->scripts, strlen(options->scripts)) : NULL;
    made->shard_count = options->read_only ? 0 : hub_threads(options->shards);
    watch_init(&made->watch);
    outage_init(&made->outage, options->quiet);
    int done = -1;
    if (hub_load(made, options, &domain, fault) < 0 || hub_make_data(made, options, fault) < 0) goto end;
    if (hub_check_log(made, fault) < 0 || hub_open_store(made, options, fault) < 0 ||
        hub_number_deploy(made, fault) < 0)
        goto end;
    if (options->projectors >= 0 &&
        views_open(made, hub_threads(options->projectors), domain, &made->views, fault) < 0)
        goto end;
    if (options->projectors >= 0 && (options->schedule || made->read_only) &&
        receptors_open(made, domain, &made->receptors, fault) < 0)
        goto end;
    if (made->receptors && !made->read_only) made->courier = courier_new(made);
    struct reactor_options reactor = {.secrets = options->secrets, .schedule = options->schedule};
    if (domain && domain_service_count(domain) + domain_task_count(domain) > 0 &&
        reactor_open(made, &reactor, &made->reactor, fault) < 0)
        goto end;
    done = hub_start(made, fault);
end:
    if (domain) domain_close(domain);
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
    /* While what they sent, and what services did for them, gets to the log. */
    if (hub->reactor) reactor_stop(hub->reactor);
    if (hub->receptors) receptors_stop(hub->receptors);
    if (hub->courier) courier_stop(hub->courier);
    atomic_store(&hub->stopping, true);
    while (atomic_load(&hub->inside))
        usleep(HUB_STOP_LOOK_US); /* short: who is inside puts one pointer into a queue */
    for (size_t at = 0; at < hub->shard_count; at++)
        if (hub->shards[at]) shard_stop(hub->shards[at]);
    if (hub->writer) writer_stop(hub->writer);
    if (hub->views) views_stop(hub->views);
    if (hub->query) query_stop(hub->query);
    if (hub->indexer) indexer_stop(hub->indexer);
}

void hub_close(struct hub *hub)
{
    if (!hub) return;
    hub_stop(hub);
    for (size_t at = 0; at < hub->shard_count; at++) shard_free(hub->shards[at]);
    writer_free(hub->writer);
    receptors_free(hub->receptors);
    courier_free(hub->courier);
    reactor_free(hub->reactor);
    views_free(hub->views);
    query_free(hub->query);
    indexer_free(hub->indexer);
    if (hub->snaps) snaps_close(hub->snaps);
    engine_close(hub->engine);
    if (hub->in_memory && hub->data) views_remove_folder(hub->data);
    watch_release(&hub->watch);
    outage_release(&hub->outage);
    catalog_release(&hub->catalog);
    if (hub->sources) sources_free(hub->sources);
    buf_release(&hub->origins);
    mem_free(hub->data);
    mem_free(hub->scripts);
    mem_free(hub);
}

bool hub_has_tenant(struct hub *hub, struct slice tenant)
{
    if (catalog_has_tenant(&hub->catalog, tenant)) return true;
    /* Without scripts nothing says which tenants there are, but the log knows whom it ever wrote for; main is
     * always there. */
    return !hub->scripts && text_is_tenant(tenant) &&
           (slice_is(tenant, "main") || names_find(engine_names(hub->engine), tenant) != 0);
}

struct engine *hub_engine(struct hub *hub)
{
    return hub->engine;
}

int64_t hub_limit(struct hub *hub, const char *name, int64_t otherwise)
{
    return catalog_limit(&hub->catalog, name, otherwise);
}

static int hub_query(struct hub *hub, struct query_link *link, struct fault *fault)
{
    atomic_fetch_add(&hub->inside, 1); /* as in hub_submit: nothing is put behind the end */
    int done = atomic_load(&hub->stopping) ? fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping")
                                           : query_put(hub->query, link, fault);
    atomic_fetch_sub(&hub->inside, 1);
    return done;
}

int hub_query_state(struct hub *hub, struct state_query *query, struct fault *fault)
{
    if (!catalog_has_tenant(&hub->catalog, query->tenant))
        return fault_set(fault, FAULT_NOT_FOUND, "no tenant %.*s", SLICE_ARGS(query->tenant));
    if (!catalog_find(&hub->catalog, query->context, query->aggregate, fault)) return -1;
    return hub_query(hub, &query->link, fault);
}

int hub_query_trace(struct hub *hub, struct trace_query *query, struct fault *fault)
{
    if (!catalog_has_tenant(&hub->catalog, query->tenant))
        return fault_set(fault, FAULT_NOT_FOUND, "no tenant %.*s", SLICE_ARGS(query->tenant));
    query->link.is_trace = true;
    return hub_query(hub, &query->link, fault);
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
    if (hub->receptors) receptors_look(hub->receptors);
    if (hub->courier) courier_look(hub->courier);
    if (hub->reactor) reactor_look(hub->reactor);
}

int hub_retry(struct hub *hub, struct slice name, struct fault *fault)
{
    if (hub->courier && slice_is(name, COURIER_NAME)) {
        courier_retry(hub->courier);
        return 0;
    }
    if (hub->receptors) return receptors_retry(hub->receptors, name, fault);
    return fault_set(fault, FAULT_UNAVAILABLE, "this hub runs no receptors");
}

bool hub_is_quiet(struct hub *hub)
{
    uint64_t head = engine_head(hub->engine).position;
    bool quiet = !hub->receptors || receptors_settled(hub->receptors, head);
    quiet = (!hub->courier || courier_settled(hub->courier, head)) && quiet;
    return quiet && engine_head(hub->engine).position == head;
}

int hub_run_task(struct hub *hub, struct slice name, struct command *command, struct fault *fault)
{
    if (hub->reactor) return reactor_run_task(hub->reactor, name, command, fault);
    return fault_set(fault, FAULT_NOT_FOUND, "no task %.*s", SLICE_ARGS(name));
}

bool hub_ready(struct hub *hub)
{
    return !hub->read_only && !atomic_load(&hub->stopping);
}

/* /metrics: Prometheus text. */
#include <stdio.h>

#include "base/clock.h"
#include "run/inside.h"
#include "run/metrics.h"
#include "run/reactor_inside.h"
#include "run/session.h"

void metrics_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_one(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
    metrics_head(out, name, type, help);
    buf_format(out, "%s %llu\n", name, (unsigned long long)value);
}

void metrics_named(struct buf *out, const char *name, const char *label, struct slice of, uint64_t value)
{
    buf_format(out, "%s{%s=\"%.*s\"} %llu\n", name, label, SLICE_ARGS(of), (unsigned long long)value);
}

void metrics_outcome(struct buf *out, const char *name, const char *label, struct slice of,
                     const char *outcome, uint64_t value)
{
    buf_format(out, "%s{%s=\"%.*s\",outcome=\"%s\"} %llu\n", name, label, SLICE_ARGS(of), outcome,
               (unsigned long long)value);
}

static void metrics_commands(struct hub *hub, struct buf *out)
{
    uint64_t repeated = 0, retried = 0, loads = 0;
    metrics_head(out, "lore_commands_total", "counter", "Commands answered, by outcome.");
    for (int code = 0; code < FAULT_CODE_COUNT; code++) {
        uint64_t count = atomic_load(&hub->refused[code]);
        for (size_t at = 0; at < hub->shard_count; at++)
            count += atomic_load(&hub->shards[at]->outcomes[code]);
        /* Budget and script share a name outside; here they are told apart. */
        const char *name = code == FAULT_NONE     ? "done"
                           : code == FAULT_BUDGET ? "budget"
                                                  : fault_name((enum fault_code)code);
        if (count || code == FAULT_NONE || code == FAULT_REJECTED || code == FAULT_BUDGET)
            buf_format(out, "lore_commands_total{outcome=\"%s\"} %llu\n", name, (unsigned long long)count);
    }
    for (size_t at = 0; at < hub->shard_count; at++) {
        repeated += atomic_load(&hub->shards[at]->repeated);
        retried += atomic_load(&hub->shards[at]->retried);
        loads += atomic_load(&hub->shards[at]->loads);
    }
    metrics_one(out, "lore_commands_repeated_total", "counter", "Answers given again to a known id.",
                repeated);
    metrics_one(out, "lore_commands_retried_total", "counter", "Commands decided again after a conflict.",
                retried);
    metrics_one(out, "lore_states_loaded_total", "counter", "States folded from the log.", loads);
}

static void metrics_writer(struct hub *hub, struct buf *out)
{
    if (!hub->writer) return;
    const struct writer_stats *stats = writer_stats(hub->writer);
    metrics_one(out, "lore_batches_total", "counter", "Group commits.", atomic_load(&stats->batches));
    metrics_one(out, "lore_commits_total", "counter", "Commits with events.", atomic_load(&stats->commits));
    metrics_one(out, "lore_outcomes_total", "counter", "Rejections and acceptances without events.",
                atomic_load(&stats->outcomes));
    metrics_one(out, "lore_events_written_total", "counter", "Events.", atomic_load(&stats->events));
    metrics_one(out, "lore_batches_failed_total", "counter", "Group commits that could not be written.",
                atomic_load(&stats->failed));
    metrics_one(out, "lore_conflicts_total", "counter", "Commits that met another one.",
                atomic_load(&stats->conflicts));
    metrics_one(out, "lore_writer_queue", "gauge", "Decided commands that wait for the disk.",
                writer_queue(hub->writer));
    metrics_head(out, "lore_append_seconds", "histogram", "Time of a group commit.");
    uint64_t count = 0;
    for (int at = 0; at <= WRITER_BUCKETS; at++) {
        count += atomic_load(&stats->buckets[at]);
        if (at < WRITER_BUCKETS)
            buf_format(out, "lore_append_seconds_bucket{le=\"%g\"} %llu\n", 64e-6 * (double)(1 << at),
                       (unsigned long long)count);
    }
    buf_format(out, "lore_append_seconds_bucket{le=\"+Inf\"} %llu\n", (unsigned long long)count);
    buf_format(out, "lore_append_seconds_sum %g\n", (double)atomic_load(&stats->append_ns) / 1e9);
    buf_format(out, "lore_append_seconds_count %llu\n", (unsigned long long)count);
}

static void metrics_shards(struct hub *hub, struct buf *out)
{
    metrics_head(out, "lore_shard_queue", "gauge", "Commands that wait for a shard.");
    for (size_t at = 0; at < hub->shard_count; at++)
        buf_format(out, "lore_shard_queue{shard=\"%zu\"} %zu\n", at, inbox_size(&hub->shards[at]->commands));
    metrics_head(out, "lore_shard_streams", "gauge", "Streams in a shard's cache.");
    for (size_t at = 0; at < hub->shard_count; at++)
        buf_format(out, "lore_shard_streams{shard=\"%zu\"} %zu\n", at, atomic_load(&hub->shards[at]->cached));
    metrics_head(out, "lore_lua_memory_bytes", "gauge", "Memory of the Lua states.");
    size_t memory = 0;
    for (size_t at = 0; at < hub->shard_count; at++) memory += atomic_load(&hub->shards[at]->memory);
    buf_format(out, "lore_lua_memory_bytes{of=\"shards\"} %zu\n", memory);
    if (hub->views)
        buf_format(out, "lore_lua_memory_bytes{of=\"projectors\"} %zu\n", views_memory(hub->views));
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    if (release && release->reactor)
        buf_format(out, "lore_lua_memory_bytes{of=\"services\"} %zu\n", reactor_memory(release->reactor));
    if (release && release->query)
        buf_format(out, "lore_lua_memory_bytes{of=\"queries\"} %zu\n", query_memory(release->query));
    release_leave(&visit);
}

static void metrics_views(struct hub *hub, struct buf *out)
{
    static const struct {
        const char *name, *help;
    } gauges[] = {{"lore_view_position", "Checkpoint of the answering generation."},
                  {"lore_view_lag", "Events behind the head."},
                  {"lore_view_parked", "Parked keys."},
                  {"lore_view_stopped", "1: stopped for a tenant."},
                  {"lore_view_rebuilding", "1: a new generation is being built."}};
    for (size_t gauge = 0; gauge < sizeof gauges / sizeof *gauges; gauge++) {
        metrics_head(out, gauges[gauge].name, "gauge", gauges[gauge].help);
        for (size_t at = 0; at < hub_view_count(hub); at++) {
            struct view_info info;
            if (!hub_view_info(hub, at, &info)) continue;
            uint64_t values[] = {info.position, info.head - info.position, info.parked, info.stopped,
                                 info.rebuilding};
            buf_format(out, "%s{view=\"%s\"} %llu\n", gauges[gauge].name, info.name,
                       (unsigned long long)values[gauge]);
        }
    }
}

void hub_metrics(struct hub *hub, struct buf *text)
{
    struct engine_head head = engine_head(hub->engine);
    metrics_one(text, "lore_log_position", "gauge", "Position of the last event.", head.position);
    metrics_one(text, "lore_index_behind", "gauge", "Events not yet in the index on disk.",
                engine_index_behind(hub->engine));
    metrics_one(text, "lore_deploy", "gauge", "Number of the deploy.", hub_deploy_number(hub));
    metrics_head(text, "lore_uptime_seconds", "gauge", "Since the start.");
    buf_format(text, "lore_uptime_seconds %.1f\n", (double)(clock_monotonic_ns() - hub->started_ns) / 1e9);
    metrics_one(text, "lore_sessions", "gauge", "Sessions of the REPL that are open.",
                hub_session_count(hub));
    metrics_commands(hub, text);
    metrics_writer(hub, text);
    metrics_shards(hub, text);
    metrics_views(hub, text);
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    if (release && release->receptors) metrics_receptors(release->receptors, text);
    if (hub->courier) metrics_courier(hub->courier, text);
    if (release && release->reactor) metrics_reactor(release->reactor, text);
    release_leave(&visit);
}

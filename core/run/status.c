/* lore status: one JSON object a line. */
#include <stdio.h>

#include "base/clock.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "run/inside.h"

static void status_begin(struct buf *out, const char *kind)
{
    buf_put_byte(out, '{');
    json_put_text_member(out, "kind", slice_of(kind));
}

static void status_end(struct buf *out)
{
    buf_put_text(out, "}\n");
}

static void status_put_number(struct buf *out, const char *name, double value)
{
    json_put_name(out, name);
    buf_format(out, "%.1f", value);
}

static void status_hub(struct hub *hub, struct buf *out)
{
    struct engine_head head = engine_head(hub->engine);
    status_begin(out, "hub");
    json_put_text_member(out, "log", slice_of(head.log_id));
    json_put_int_member(out, "position", (int64_t)head.position);
    if (hub->as_of) json_put_text_member(out, "as_of", slice_of(hub->as_of));
    json_put_int_member(out, "commits", (int64_t)head.commits);
    json_put_int_member(out, "outcomes", (int64_t)head.outcomes);
    json_put_int_member(out, "epoch", (int64_t)head.epoch);
    json_put_int_member(out, "deploy", (int64_t)hub_deploy_number(hub));
    json_put_int_member(out, "index_behind", (int64_t)engine_index_behind(hub->engine));
    json_put_int_member(out, "shards", (int64_t)hub->shard_count);
    json_put_int_member(out, "writer_queue", hub->writer ? (int64_t)writer_queue(hub->writer) : 0);
    status_put_number(out, "uptime_seconds", (double)(clock_monotonic_ns() - hub->started_ns) / 1e9);
    status_end(out);
}

static void status_shard(const struct shard *shard, struct buf *out)
{
    status_begin(out, "shard");
    json_put_int_member(out, "name", shard->index);
    json_put_int_member(out, "queue", (int64_t)inbox_size((struct inbox *)&shard->commands));
    json_put_int_member(out, "done", (int64_t)atomic_load(&shard->outcomes[FAULT_NONE]));
    json_put_int_member(out, "rejected", (int64_t)atomic_load(&shard->outcomes[FAULT_REJECTED]));
    json_put_int_member(out, "streams_cached", (int64_t)atomic_load(&shard->cached));
    json_put_int_member(out, "memory", (int64_t)atomic_load(&shard->memory));
    status_end(out);
}

struct status_failures {
    struct buf *out;
    const char *name;
    uint64_t
        deploy; /* whose code failed: that of the generation, so a rebuild parks byte for byte the same */
};

static void status_failure(struct status_failures *failures, const char *kind, struct slice tenant,
                           const struct slice *key, struct slice value)
{
    struct slice error;
    status_begin(failures->out, kind);
    json_put_text_member(failures->out, "name", slice_of(failures->name));
    json_put_text_member(failures->out, "tenant", tenant);
    if (key) json_put_text_member(failures->out, "key", *key);
    json_put_int_member(failures->out, "position", (int64_t)generation_member(value, "position"));
    json_put_int_member(failures->out, "deploy", (int64_t)failures->deploy);
    if (mp_find(value, slice_of("error"), &error)) json_put_mp_member(failures->out, "error", error);
    if (key) json_put_int_member(failures->out, "skipped", (int64_t)generation_member(value, "skipped"));
    status_end(failures->out);
}

static bool status_parked(void *user, struct slice key, struct slice value)
{
    key = slice_make(key.data + 7, key.size - 7); /* behind "parked/" */
    const char *end = memchr(key.data, 0, key.size);
    if (!end) return true;
    struct slice tenant = slice_make(key.data, (size_t)(end - key.data));
    struct slice document = slice_make(end + 1, key.size - tenant.size - 1);
    status_failure(user, "parked", tenant, &document, value);
    return true;
}

static bool status_stopped(void *user, struct slice key, struct slice value)
{
    status_failure(user, "stopped", slice_make(key.data + 8, key.size - 8), NULL,
                   value); /* behind "stopped/" */
    return true;
}

static void status_view(struct hub *hub, size_t index, struct buf *out)
{
    struct view_info info;
    if (!hub_view_info(hub, index, &info)) return;
    status_begin(out, "projection");
    json_put_text_member(out, "name", slice_of(info.name));
    json_put_int_member(out, "generation", (int64_t)info.generation);
    json_put_int_member(out, "deploy", (int64_t)info.deploy);
    json_put_int_member(out, "position", (int64_t)info.position);
    json_put_int_member(out, "lag", (int64_t)(info.head - info.position));
    json_put_int_member(out, "parked", (int64_t)info.parked);
    json_put_name(out, "stopped");
    buf_put_text(out, info.stopped ? "true" : "false");
    if (info.rebuilding) {
        json_put_name(out, "rebuilding");
        buf_put_byte(out, '{');
        json_put_int_member(out, "generation", (int64_t)info.new_generation);
        json_put_int_member(out, "deploy", (int64_t)info.new_deploy);
        json_put_int_member(out, "position", (int64_t)info.new_position);
        status_put_number(out, "rate", info.rate);
        json_put_name(out, "seconds_left");
        if (info.rate > 0)
            buf_format(out, "%.1f", info.seconds_left);
        else
            buf_put_text(out, "null");
        json_put_text_member(out, "reason", slice_of(info.reason));
        buf_put_byte(out, '}');
    }
    status_end(out);
    if (info.parked == 0 && !info.stopped) return;
    struct view_lease lease;
    struct fault ignored;
    if (hub_view_lease(hub, slice_of(info.name), &lease, &ignored) < 0) return;
    struct status_failures failures = {out, info.name, info.deploy};
    docs_meta_each(lease.docs, slice_of("parked/"), status_parked, &failures, &ignored);
    docs_meta_each(lease.docs, slice_of("stopped/"), status_stopped, &failures, &ignored);
    hub_view_release(hub, &lease);
}

void hub_status(struct hub *hub, struct buf *ndjson)
{
    status_hub(hub, ndjson);
    for (size_t at = 0; at < hub->shard_count; at++) status_shard(hub->shards[at], ndjson);
    for (size_t at = 0; at < hub_view_count(hub); at++) status_view(hub, at, ndjson);
    if (hub->deployer) deployer_status(hub->deployer, ndjson);
    if (hub->past) past_status(hub->past, ndjson);
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    if (release && release->receptors) receptors_status(release->receptors, ndjson);
    if (hub->courier) courier_status(hub->courier, ndjson);
    if (release && release->reactor) reactor_status(release->reactor, ndjson);
    release_leave(&visit);
}

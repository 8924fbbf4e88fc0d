#include "run/warm.h"

#include <semaphore.h>

#include "run/fold.h"
#include "run/inside.h"

static void warm_listed(struct shard_order *order)
{
    sem_post(order->user);
}

static const struct catalog_aggregate *warm_aggregate(const struct release *release, struct slice name)
{
    return map_find(&release->catalog.aggregates, name);
}

/* Whether its snapshots are of other code than those that the release looks for. */
static const struct catalog_aggregate *warm_changed(const struct release *before,
                                                    const struct release *release, struct slice name)
{
    const struct catalog_aggregate *new = warm_aggregate(release, name), *old = warm_aggregate(before, name);
    return new && (!old || !hash_equal(&new->code, &old->code)) ? new : NULL;
}

static void warm_one(struct hub *hub, struct release *release, const struct catalog_aggregate *aggregate,
                     const struct stream_id *stream)
{
    struct fold_request request = {.engine = hub->engine,
                                   .snaps = hub->snaps,
                                   .domain = release->checked,
                                   .aggregate = aggregate,
                                   .stream = *stream,
                                   .version_max = UINT64_MAX,
                                   .at_ms_max = INT64_MAX};
    struct fold_result result;
    struct buf state = {0};
    struct fault ignored;
    if (fold_stream(&request, &result, &ignored) < 0) return;
    if (result.version >= result.snapshot_version + SNAPSHOT_EVERY &&
        domain_state_encode(release->checked, result.state, &state, &ignored) == 0) {
        struct snapshot snapshot = {.stream = *stream,
                                    .code = aggregate->code,
                                    .version = result.version,
                                    .deploy = release->deploy,
                                    .state = buf_slice(&state)};
        snaps_put(hub->snaps, &snapshot, 1, &ignored);
    }
    buf_release(&state);
    domain_state_free(release->checked, result.state);
}

void warm_states(struct hub *hub, struct release *release, const atomic_bool *stop)
{
    const struct release *before = atomic_load(&hub->release);
    sem_t listed;
    if (!hub->snaps) return;
    sem_init(&listed, 0, 0);
    for (size_t at = 0; at < hub->shard_count; at++) {
        struct shard_order order = {.done = warm_listed, .user = &listed};
        shard_give_order(hub->shards[at], &order);
        while (sem_wait(&listed) < 0) continue; /* a signal */
        for (size_t stream = 0; stream < order.long_count && !atomic_load(stop); stream++) {
            const struct catalog_aggregate *aggregate =
                warm_changed(before, release, order.longs[stream].aggregate);
            if (aggregate) warm_one(hub, release, aggregate, &order.longs[stream]);
        }
        shard_order_release(&order);
    }
    sem_destroy(&listed);
}

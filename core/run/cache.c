/* The streams that a shard keeps: state, version and what is in flight. Streams in flight are never dropped.
 */
#include "run/shard.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "run/fold.h"
#include "run/inside.h"

enum {
    CACHE_STREAMS_MAX = 200000, /* of one shard */
    CACHE_LONG_MAX = 4096,      /* streams of one shard whose states are folded before a deploy */
    CACHE_STREAM_SIZE = 480,    /* of one stream beside its state: the struct, its key, its place in the map,
                                   what malloc adds (measured, between two growths of the map) */
    CACHE_MEMORY_LOOK = 256,    /* commands between two looks at the memory */
    CACHE_TRIM_PART = 8,        /* when there is too much, this part of the states goes */
    CACHE_TRIM_AT_ONCE = 16     /* so many are looked at before each command: none waits for all */
};

static void cache_newest(struct shard *shard, struct stream *stream)
{
    stream->older = shard->newest;
    stream->newer = NULL;
    if (shard->newest) shard->newest->newer = stream;
    shard->newest = stream;
    if (!shard->oldest) shard->oldest = stream;
}

static void cache_unlink(struct shard *shard, struct stream *stream)
{
    if (stream->newer)
        stream->newer->older = stream->older;
    else
        shard->newest = stream->older;
    if (stream->older)
        stream->older->newer = stream->newer;
    else
        shard->oldest = stream->newer;
    stream->newer = stream->older = NULL;
}

static size_t cache_key(const struct work *work, char *key)
{
    const struct command *command = work->command;
    char *to = key;
    memcpy(to, command->tenant.data, command->tenant.size);
    to += command->tenant.size;
    *to++ = 0;
    memcpy(to, &work->aggregate->index, sizeof work->aggregate->index);
    to += sizeof work->aggregate->index;
    memcpy(to, command->id.data, command->id.size);
    return (size_t)(to - key) + command->id.size;
}

struct stream *cache_get(struct shard *shard, const struct work *work)
{
    char key[LIMIT_TENANT_SIZE_MAX + 1 + sizeof(int) + LIMIT_ID_SIZE_MAX];
    size_t size = cache_key(work, key);
    struct stream *stream = map_find(&shard->streams, slice_make(key, size));
    if (stream) {
        if (stream != shard->newest) {
            cache_unlink(shard, stream);
            cache_newest(shard, stream);
        }
        return stream;
    }
    stream = mem_zero(sizeof *stream + size);
    memcpy(stream->key, key, size);
    stream->key_size = size;
    stream->aggregate = work->aggregate;
    stream->id.tenant = slice_make(stream->key, work->command->tenant.size);
    stream->id.aggregate = work->aggregate->name;
    stream->id.id = slice_make(stream->key + size - work->command->id.size, work->command->id.size);
    stream->chain = 1;
    map_put(&shard->streams, slice_make(stream->key, size), stream);
    cache_newest(shard, stream);
    atomic_store_explicit(&shard->cached, shard->streams.size, memory_order_relaxed);
    return stream;
}

void cache_drop_state(struct shard *shard, struct stream *stream)
{
    if (stream->state) domain_state_free(shard->domain, stream->state);
    stream->state = NULL;
    stream->has_head = false;
}

/* The events of one in-flight commit on top of what the log gave. */
static int cache_fold_pending(struct shard *shard, struct stream *stream, const struct pending *pending,
                              struct fault *fault)
{
    const struct commit *commit = &pending->commit;
    struct envelope envelope;
    fold_commit_envelope(&stream->id, stream->aggregate->context, commit, &envelope);
    for (size_t at = 0; at < commit->event_count; at++) {
        const struct commit_event *event = &commit->events[at];
        uint64_t version = commit->first_version + at;
        if (version <= stream->version) continue; /* durable meanwhile: the log had it */
        CHECK(version == stream->version + 1);
        envelope.type = event->type;
        envelope.type_version = event->type_version;
        envelope.at_ms = event->at_ms;
        if (domain_apply(shard->domain, stream->state, &envelope, event->data, fault) < 0) return -1;
        stream->version = version;
    }
    return 0;
}

static int cache_load_once(struct shard *shard, struct stream *stream, struct fault *fault)
{
    struct fold_request request = {.engine = shard->hub->engine,
                                   .snaps = shard->hub->snaps,
                                   .domain = shard->domain,
                                   .aggregate = stream->aggregate,
                                   .stream = stream->id,
                                   .version_max = UINT64_MAX,
                                   .at_ms_max = INT64_MAX};
    struct fold_result result;
    if (fold_stream(&request, &result, fault) < 0) return -1;
    stream->state = result.state;
    stream->version = result.version;
    stream->position = result.position;
    if (!stream->snapshot.size) stream->snapshot_version = result.snapshot_version; /* else that one's */
    for (struct pending *pending = stream->oldest; pending; pending = pending->newer) {
        if (pending->chain != stream->chain || pending->commit.event_count == 0) continue;
        /* Another one appended where our own expected to: the writer will break the chain, and whatever is
         * decided now will be decided again. */
        if (pending->commit.first_version > stream->version + 1) break;
        if (cache_fold_pending(shard, stream, pending, fault) < 0) {
            cache_drop_state(shard, stream);
            return -1;
        }
    }
    return 0;
}

/* A stream without an aggregate: all there is to know is where it is. */
static int cache_load_head(struct shard *shard, struct stream *stream, struct fault *fault)
{
    if (engine_stream_head(shard->hub->engine, &stream->id, &stream->version, &stream->position, fault) < 0)
        return -1;
    for (struct pending *pending = stream->oldest; pending; pending = pending->newer) {
        if (pending->chain != stream->chain || pending->commit.event_count == 0) continue;
        if (pending->commit.first_version > stream->version + 1) break; /* as in cache_load_once */
        uint64_t last = pending->commit.first_version + pending->commit.event_count - 1;
        if (last > stream->version) stream->version = last;
    }
    stream->has_head = true;
    return 0;
}

int cache_load(struct shard *shard, struct stream *stream, struct fault *fault)
{
    if (stream->state || stream->has_head) return 0;
    if (stream->aggregate->index < 0) return cache_load_head(shard, stream, fault);
    atomic_fetch_add_explicit(&shard->loads, 1, memory_order_relaxed);
    if (cache_load_once(shard, stream, fault) == 0) return 0;
    if (!domain_must_repeat(shard->domain)) return -1;
    domain_set_exact(shard->domain, true);
    int done = cache_load_once(shard, stream, fault);
    domain_set_exact(shard->domain, false);
    return done;
}

static void cache_remove(struct shard *shard, struct stream *stream)
{
    CHECK(!stream->oldest);
    map_remove(&shard->streams, slice_make(stream->key, stream->key_size));
    cache_unlink(shard, stream);
    cache_drop_state(shard, stream);
    buf_release(&stream->snapshot);
    mem_free(stream);
}

/* How many of those used longest ago went; some are in flight. */
static size_t cache_drop_oldest(struct shard *shard, size_t looks)
{
    size_t dropped = 0;
    for (struct stream *stream = shard->oldest, *newer; stream && looks > 0; stream = newer, looks--) {
        newer = stream->newer;
        if (stream->oldest) continue;
        cache_remove(shard, stream);
        dropped++;
    }
    atomic_store_explicit(&shard->cached, shard->streams.size, memory_order_relaxed);
    return dropped;
}

void cache_trim(struct shard *shard)
{
    if (shard->streams.size > CACHE_STREAMS_MAX && shard->to_drop == 0)
        shard->to_drop = CACHE_STREAMS_MAX / CACHE_TRIM_PART;
    if (shard->to_drop > 0) {
        size_t dropped = cache_drop_oldest(shard, CACHE_TRIM_AT_ONCE);
        shard->to_drop -= dropped < shard->to_drop ? dropped : shard->to_drop;
    }
    if (shard->until_memory_look-- > 0) return;
    shard->until_memory_look = CACHE_MEMORY_LOOK;
    size_t memory = domain_memory(shard->domain);
    atomic_store_explicit(&shard->memory, memory, memory_order_relaxed);
    memory += shard->streams.size * CACHE_STREAM_SIZE;
    /* An import may let garbage lie while there is room for twice as much. */
    domain_collect_later(shard->domain, !shard->hub->views && memory < shard->memory_max / 2);
    if (shard->to_drop > 0 || memory <= shard->memory_max) return;
    /* The collector gives the memory back some time later, so the next look waits for that many commands
     * more. */
    shard->to_drop = shard->streams.size / CACHE_TRIM_PART + 1;
    shard->until_memory_look = CACHE_MEMORY_LOOK * CACHE_TRIM_PART;
}

void cache_snapshot(struct shard *shard, struct stream *stream)
{
    if (!shard->hub->snaps || !stream->state || stream->snapshot.size) return;
    if (stream->version < stream->snapshot_version + SNAPSHOT_EVERY) return;
    struct fault ignored; /* what cannot be encoded is told to whoever asks for the state */
    uint64_t before = stream->snapshot_version;
    stream->snapshot_version = stream->version;
    if (domain_state_encode(shard->domain, stream->state, &stream->snapshot, &ignored) < 0) {
        buf_clear(&stream->snapshot);
        stream->snapshot_version = before + SNAPSHOT_EVERY; /* not again for every event */
    }
}

void cache_snapshot_durable(struct shard *shard, struct stream *stream, uint64_t version)
{
    if (!stream->snapshot.size || version < stream->snapshot_version) return;
    indexer_snapshot(shard->hub->indexer, &stream->id, &stream->aggregate->code, stream->snapshot_version,
                     &stream->snapshot);
}

void cache_leave(struct shard *shard, struct shard_order *order)
{
    order->streams = shard->newest;
    order->by_key = shard->streams;
    shard->newest = shard->oldest = NULL;
    shard->streams = (struct map){0};
    shard->to_drop = 0;
    atomic_store_explicit(&shard->cached, 0, memory_order_relaxed);
}

void shard_order_release(struct shard_order *order)
{
    for (struct stream *stream = order->streams, *older; stream; stream = older) {
        older = stream->older;
        if (stream->state) domain_state_free(order->domain, stream->state);
        buf_release(&stream->snapshot);
        mem_free(stream);
    }
    map_release(&order->by_key);
    arena_release(&order->arena);
    if (order->domain) domain_close(order->domain);
}

void cache_list_long(struct shard *shard, struct shard_order *order)
{
    size_t max = CACHE_LONG_MAX;
    order->longs = arena_take(&order->arena, max * sizeof *order->longs);
    for (struct stream *stream = shard->newest; stream && order->long_count < max; stream = stream->older) {
        if (stream->version < SNAPSHOT_EVERY || stream->aggregate->index < 0) continue;
        struct stream_id *id = &order->longs[order->long_count++];
        id->tenant = arena_copy(&order->arena, stream->id.tenant);
        id->aggregate = arena_copy(&order->arena, stream->id.aggregate);
        id->id = arena_copy(&order->arena, stream->id.id);
    }
}

void cache_free(struct shard *shard)
{
    while (shard->oldest) cache_remove(shard, shard->oldest);
    map_release(&shard->streams);
}

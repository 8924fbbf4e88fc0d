#include "run/indexer.h"

#include "base/mem.h"
#include "base/say.h"
#include "base/thread.h"
#include "run/inside.h"
#include "run/tally.h"

enum {
    INDEXER_IDLE_MS = 500,        /* without an append for so long, the index catches up */
    INDEXER_SNAPSHOTS_MAX = 4096, /* waiting ones; a snapshot dropped is made again later */
    INDEXER_SNAPSHOT_BATCH = 256
};

struct indexer_snapshot {
    struct inbox_link link;
    struct arena arena;
    struct snapshot snapshot;
    struct buf state;
};

struct indexer {
    struct hub *hub;
    pthread_t thread;
    struct inbox inbox;
    struct outage_part outage;
    struct tally *tally;
};

static void indexer_write(struct indexer *indexer, struct inbox_link *list)
{
    struct snapshot batch[INDEXER_SNAPSHOT_BATCH];
    while (list) {
        size_t count = 0;
        struct inbox_link *at = list;
        for (; at && count < INDEXER_SNAPSHOT_BATCH; at = at->next)
            batch[count++] = ((struct indexer_snapshot *)at)->snapshot;
        struct fault fault;
        /* They are made again later; that the disk is full is told by what cannot do without room. */
        if (snaps_put(indexer->hub->snaps, batch, count, &fault) < 0 && !fault_is_full(&fault))
            say_warn("snapshots: %s", fault.text);
        inbox_done(&indexer->inbox, count);
        while (list != at) {
            struct indexer_snapshot *done = (struct indexer_snapshot *)list;
            list = list->next;
            buf_release(&done->state);
            arena_release(&done->arena);
            mem_free(done);
        }
    }
}

static void indexer_flush(struct indexer *indexer)
{
    struct fault fault;
    uint64_t events;
    if (engine_index_behind(indexer->hub->engine) == 0) return;
    if (engine_flush_index(indexer->hub->engine, &events, &fault) < 0)
        outage_met(&indexer->hub->outage, &indexer->outage, "the index cannot be written", &fault);
    else
        outage_over(&indexer->hub->outage, &indexer->outage, "the index");
}

static void *indexer_run(void *user)
{
    struct indexer *indexer = user;
    uint64_t seen = 0;
    for (;;) {
        struct inbox_link *list = inbox_take(&indexer->inbox, INDEXER_IDLE_MS);
        if (list) indexer_write(indexer, list);
        uint64_t position = engine_head(indexer->hub->engine).position;
        bool idle = position == seen;
        seen = position;
        if (idle || engine_index_behind(indexer->hub->engine) >= LIMIT_INDEX_BEHIND) indexer_flush(indexer);
        if (!list && inbox_closed(&indexer->inbox)) break;
    }
    indexer_flush(indexer);
    return NULL;
}

struct indexer *indexer_start(struct hub *hub)
{
    struct indexer *indexer = MEM_NEW(struct indexer);
    indexer->hub = hub;
    inbox_init(&indexer->inbox, INDEXER_SNAPSHOTS_MAX);
    indexer->thread = thread_start(indexer_run, indexer, "indexer");
    indexer->tally = tally_start(hub);
    return indexer;
}

void indexer_stop(struct indexer *indexer)
{
    tally_stop(indexer->tally);
    inbox_close(&indexer->inbox);
    pthread_join(indexer->thread, NULL);
}

void indexer_free(struct indexer *indexer)
{
    if (!indexer) return;
    tally_free(indexer->tally);
    inbox_release(&indexer->inbox);
    mem_free(indexer);
}

void indexer_look(struct indexer *indexer)
{
    if (engine_index_behind(indexer->hub->engine) >= LIMIT_INDEX_BEHIND) inbox_wake(&indexer->inbox);
}

void indexer_snapshot(struct indexer *indexer, const struct stream_id *stream, const struct hash *code,
                      uint64_t version, struct buf *state)
{
    struct indexer_snapshot *made = MEM_NEW(struct indexer_snapshot);
    made->snapshot.stream.tenant = arena_copy(&made->arena, stream->tenant);
    made->snapshot.stream.aggregate = arena_copy(&made->arena, stream->aggregate);
    made->snapshot.stream.id = arena_copy(&made->arena, stream->id);
    made->snapshot.code = *code;
    made->snapshot.version = version;
    made->snapshot.deploy = hub_deploy_number(indexer->hub);
    made->state = *state;
    made->snapshot.state = buf_slice(&made->state);
    *state = (struct buf){0};
    if (inbox_put(&indexer->inbox, &made->link)) return;
    buf_release(&made->state);
    arena_release(&made->arena);
    mem_free(made);
}

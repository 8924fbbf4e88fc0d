/* The feed that splits (split.h). First it is shown some records from all over the log and collects their
 * keys, for the plan; then it goes along the log like any feed, but instead of folding an event it copies the
 * record aside for each partition that has one of its keys. */
#include "base/check.h"
#include "base/mem.h"
#include "run/feed_inside.h"
#include "run/inside.h"

enum { SPLIT_SAMPLES_EACH = 32, SPLIT_SAMPLES_MAX = 8192 }; /* keys looked at for each cut, and in all */

struct feed_split {
    struct arena arena; /* of samples */
    struct slice *samples;
    size_t sample_count, sample_max;
    struct spill *spill; /* NULL before there is a plan */
    uint64_t *put;       /* of each partition the last record put aside */
};

struct feed_split *feed_split_new(void)
{
    return MEM_NEW(struct feed_split);
}

static void feed_split_clear(struct feed_split *split)
{
    spill_close(split->spill);
    mem_free(split->put);
    mem_free(split->samples);
    arena_release(&split->arena);
    *split = (struct feed_split){0};
}

void feed_split_free(struct feed_split *split)
{
    if (!split) return;
    feed_split_clear(split);
    mem_free(split);
}

void feed_split_go_back(struct feed *feed)
{
    feed_split_clear(feed->split);
}

bool feed_split_is_ready(const struct feed *feed)
{
    return !feed->split || feed->split->spill;
}

/* --- events --- */

static void feed_split_sample(struct feed_split *split, struct slice tenant, struct slice key)
{
    if (split->sample_count == split->sample_max) {
        split->sample_max = split->sample_max ? split->sample_max * 2 : 1024;
        split->samples = mem_resize(split->samples, split->sample_max * sizeof *split->samples);
    }
    char *text = arena_zero(&split->arena, tenant.size + 1 + key.size);
    memcpy(text, tenant.data, tenant.size);
    memcpy(text + tenant.size + 1, key.data, key.size);
    split->samples[split->sample_count++] = slice_make(text, tenant.size + 1 + key.size);
}

/* A record goes to a partition once, with all its events; what is folded there already is left out. */
static void feed_split_put(struct feed *feed, const struct envelope *envelope, struct slice key)
{
    struct generation *generation = feed->generation;
    uint32_t partition = split_partition(&generation->plan, envelope->tenant, key);
    uint64_t first = envelope->record->first_position;
    struct fault fault;
    if (feed->split->put[partition] == first ||
        atomic_load(&generation->reached[partition]) >= envelope->position)
        return;
    feed->split->put[partition] = first;
    if (spill_put(feed->split->spill, partition, envelope->record->bytes, &fault) < 0)
        feed_fail(feed, &fault);
}

void feed_split_event(struct feed *feed, int *handler, const struct envelope *envelope, struct slice data)
{
    struct feed_tenant *tenant = feed_tenant(feed, envelope->tenant);
    const struct slice *keys;
    struct fault fault;
    size_t count;
    if (*handler < 0) *handler = drafts_handler(tenant->drafts, envelope->context, envelope->type);
    CHECK(*handler >= 0);
    if (drafts_keys(tenant->drafts, *handler, envelope, data, &keys, &count, &fault) < 0) {
        /* Where a projection stops, or whether it does, only a build in one piece finds out. */
        if (rebuild_restart_whole(feed->generation, &fault) < 0)
            feed_fail(feed, &fault);
        else
            feed->dropped = true;
        return;
    }
    for (size_t at = 0; at < count && !feed->behind; at++)
        if (feed->split->spill)
            feed_split_put(feed, envelope, keys[at]);
        else
            feed_split_sample(feed->split, envelope->tenant, keys[at]);
    if (!feed->behind && feed->split->spill) feed->position = envelope->position;
}

/* --- the plan --- */

uint64_t feed_split_step(const struct feed *feed)
{
    uint64_t samples = (uint64_t)feed->partition_count * SPLIT_SAMPLES_EACH;
    if (samples > SPLIT_SAMPLES_MAX) samples = SPLIT_SAMPLES_MAX;
    uint64_t step = feed_limit(feed, 0) / samples;
    return step ? step : 1;
}

static int feed_split_store_plan(struct generation *generation, struct fault *fault)
{
    struct docs_write *write;
    if (docs_begin(generation->docs, &write, fault) < 0) return -1;
    struct buf bytes = {0};
    split_plan_put(&generation->plan, &bytes);
    int done = docs_meta_put(write, slice_of("split"), buf_slice(&bytes), fault);
    buf_release(&bytes);
    if (done == 0) done = generation_put_chain(generation, write, generation->plan.target, fault);
    if (done == 0) return docs_commit(write, fault);
    docs_abort(write);
    return -1;
}

void feed_split_begin(struct feed *feed)
{
    struct generation *generation = feed->generation;
    struct feed_split *split = feed->split;
    struct fault fault;
    if (generation->plan.count == 0) {
        if (!split_plan_make(&generation->plan, split->samples, split->sample_count, feed->partition_count,
                             feed_limit(feed, 0))) {
            if (rebuild_in_one_piece(generation, &fault) < 0)
                feed_fail(feed, &fault);
            else
                feed->dropped = true;
            return;
        }
        if (feed_split_store_plan(generation, &fault) < 0) {
            split_plan_release(&generation->plan);
            feed_fail(feed, &fault);
            return;
        }
    }
    feed_split_clear(split);
    split->put = mem_zero(feed->partition_count * sizeof *split->put);
    if (spill_open(generation->path, feed->partition_count, &split->spill, &fault) < 0)
        feed_fail(feed, &fault);
}

void feed_split_end(struct feed *feed)
{
    struct fault fault;
    if (feed->position < feed->limit) return;
    if (spill_seal(feed->split->spill, &fault) < 0) {
        feed_fail(feed, &fault);
        return;
    }
    feed->generation->spill = feed->split->spill;
    feed->split->spill = NULL;
    feed->flushed = feed->position;
    feed->dropped = true;
    rebuild_was_split(feed->generation);
}

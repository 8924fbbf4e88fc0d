#include "run/feed_inside.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/mp.h"
#include "run/inside.h"

enum { FEED_PARKED_TOLD = 5 }; /* keys of a generation that are named in the diagnostics */

void feed_batch_free(struct feed_batch *batch)
{
    if (!batch) return;
    buf_release(&batch->bytes);
    buf_release(&batch->puts);
    mem_free(batch);
}

static int feed_collect(void *user, struct slice key, struct slice value, struct fault *fault)
{
    struct feed_batch *batch = user;
    struct feed_put put = {batch->tenant, batch->bytes.size, key.size, value.size};
    buf_put_slice(&batch->bytes, key);
    buf_put_slice(&batch->bytes, value);
    buf_put(&batch->puts, &put, sizeof put);
    return 0;
}

static int feed_collect_all(struct feed *feed, enum drafts_failure *failure, struct fault *fault)
{
    size_t at = 0;
    if (!feed->batch) feed->batch = MEM_NEW(struct feed_batch);
    struct feed_batch *batch = feed->batch;
    struct feed_tenant *tenant;
    while ((tenant = map_next(&feed->tenants, &at))) {
        batch->tenant = tenant;
        buf_clear(&feed->key);
        if (drafts_flush(tenant->drafts, feed_collect, batch, failure, &feed->key, fault) < 0) return -1;
    }
    return 0;
}

static int feed_write_failure(struct docs_write *write, struct slice key, uint64_t position,
                              const char *error, const uint64_t *skipped, struct fault *fault)
{
    struct buf bytes = {0};
    mp_put_map(&bytes, skipped ? 3 : 2);
    mp_put_text(&bytes, slice_of("error"));
    mp_put_text(&bytes, slice_of(error));
    mp_put_text(&bytes, slice_of("position"));
    mp_put_int(&bytes, (int64_t)position);
    if (skipped) {
        mp_put_text(&bytes, slice_of("skipped"));
        mp_put_int(&bytes, (int64_t)*skipped);
    }
    int done = docs_meta_put(write, key, buf_slice(&bytes), fault);
    buf_release(&bytes);
    return done;
}

static int feed_write_tenant(struct feed_tenant *tenant, struct docs_write *write, struct fault *fault)
{
    char key[LIMIT_TENANT_SIZE_MAX + LIMIT_DOCUMENT_KEY_SIZE_MAX + 16];
    if (tenant->stopped_position && !tenant->stopped_stored) {
        snprintf(key, sizeof key, "stopped/%.*s", SLICE_ARGS(tenant->name));
        if (feed_write_failure(write, slice_of(key), tenant->stopped_position, tenant->stopped_error, NULL,
                               fault) < 0)
            return -1;
    }
    size_t at = 0;
    struct feed_parked *parked;
    while ((parked = map_next(&tenant->parked, &at))) {
        uint64_t skipped = drafts_skipped(tenant->drafts, parked->key);
        if (!skipped && !parked->changed) continue;
        parked->skipped += skipped;
        parked->changed = true;
        size_t size = feed_parked_key(tenant, parked->key, key);
        if (feed_write_failure(write, slice_make(key, size), parked->position, parked->error,
                               &parked->skipped, fault) < 0)
            return -1;
    }
    return 0;
}

static int feed_write(struct feed *feed, struct docs_write *write, struct fault *fault)
{
    const struct feed_batch *batch = feed->batch;
    const struct feed_put *puts = (const struct feed_put *)(const void *)batch->puts.data;
    for (size_t at = 0; at < batch->puts.size / sizeof *puts; at++) {
        struct slice key = slice_make(batch->bytes.data + puts[at].key_at, puts[at].key_size);
        struct slice value = slice_make(key.data + key.size, puts[at].value_size);
        struct slice tenant = puts[at].tenant->name;
        int done =
            value.size ? docs_put(write, tenant, key, value, fault) : docs_remove(write, tenant, key, fault);
        if (done < 0) return -1;
    }
    size_t at = 0;
    struct feed_tenant *tenant;
    while ((tenant = map_next(&feed->tenants, &at)))
        if (feed_write_tenant(tenant, write, fault) < 0) return -1;
    char name[32] = "position";
    if (!feed->whole) snprintf(name, sizeof name, "partition/%u", feed->partition);
    struct buf position = {0};
    generation_put_number(&position, feed->position);
    int done = docs_meta_put(write, slice_of(name), buf_slice(&position), fault);
    buf_release(&position);
    if (done < 0 || feed_is_aside(feed)) return done;
    return generation_put_chain(feed->generation, write, feed->position, fault);
}

/* Said once a key; a handler that fails for many keys does not fill the diagnostics. */
static void feed_tell_parked(const struct feed_tenant *tenant, const struct feed_parked *parked,
                             struct generation *generation)
{
    uint64_t before = atomic_fetch_add(&generation->parked, 1);
    if (before < FEED_PARKED_TOLD)
        say_warn("%s: key %.*s of tenant %.*s is parked at position %llu: %s", generation->view->name.data,
                 SLICE_ARGS(parked->key), SLICE_ARGS(tenant->name), (unsigned long long)parked->position,
                 parked->error);
    else if (before == FEED_PARKED_TOLD)
        say_warn("%s: more keys are parked: lore status shows them", generation->view->name.data);
}

/* What is on disk now is known as such. */
static void feed_written(struct feed *feed)
{
    struct generation *generation = feed->generation;
    size_t at = 0;
    struct feed_tenant *tenant;
    while ((tenant = map_next(&feed->tenants, &at))) {
        if (tenant->stopped_position && !tenant->stopped_stored) {
            tenant->stopped_stored = true;
            atomic_store(&generation->stopped, true);
        }
        size_t next = 0;
        struct feed_parked *parked;
        while ((parked = map_next(&tenant->parked, &next))) {
            if (!parked->stored) feed_tell_parked(tenant, parked, generation);
            parked->stored = true;
            parked->changed = false;
        }
    }
    feed->flushed = feed->position;
    feed->events = 0;
    feed->broken = false;
    outage_over(&generation->view->views->hub->outage, &generation->outage, generation->view->name.data);
    feed->flushed_ns = clock_monotonic_ns();
    if (!feed->whole) atomic_store(&generation->reached[feed->partition], feed->flushed);
    if (feed->whole || generation->partition_count == 1) atomic_store(&generation->position, feed->flushed);
    if (feed->whole) rebuild_moved(generation);
    views_moved(generation->view->views);
}

bool feed_take_out(struct feed *feed)
{
    struct fault fault;
    enum drafts_failure failure = DRAFTS_NONE;
    bool exact = feed->exact_until > 0 && feed->position <= feed->exact_until;
    domain_set_exact(feed->domain, exact);
    int done = feed_collect_all(feed, &failure, &fault);
    domain_set_exact(feed->domain, false);
    if (done == 0) return true;
    /* A document is no plain data: the exact way finds out which event made it so, if it has not gone by. */
    if (exact || (failure == DRAFTS_NONE && feed_is_environment(&fault)))
        feed_fail(feed, &fault);
    else
        feed_go_back(feed, feed_is_by_key(feed) ? feed->limit : feed->position);
    return false;
}

void feed_flush(struct feed *feed)
{
    struct fault fault;
    struct docs_write *write;
    if (feed->split) {
        feed_split_end(feed);
        return;
    }
    if (!feed_take_out(feed)) return;
    int written = docs_begin(feed->generation->docs, &write, &fault);
    if (written == 0 && (written = feed_write(feed, write, &fault)) < 0)
        docs_abort(write);
    else if (written == 0)
        written = docs_commit(write, &fault);
    if (written == 0)
        feed_written(feed);
    else
        feed_fail(feed, &fault);
    feed_batch_free(feed->batch);
    feed->batch = NULL;
}

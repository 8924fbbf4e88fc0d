#include "run/feed_inside.h"

#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/mp.h"
#include "run/inside.h"

enum {
    FEED_EVENTS_MAX = 50000,     /* (hub.lua) folded between two flushes */
    FEED_DIRTY_MAX = 20000,      /* documents changed between two flushes */
    FEED_DOCUMENTS_MAX = 20000,  /* kept live in Lua by one feed and tenant */
    FEED_MEMORY_MAX = 160 << 20, /* of the Lua state: then everything is flushed early */
    FEED_TAKE_OUT = 32,          /* documents that are taken out of Lua together, key after key */
    FEED_BATCH_MAX = 64 << 20,   /* of documents that wait to be written, key after key */
    FEED_RETRY_MS = 1000,
    FEED_KEYS_FAILED_MAX = 10000 /* keys that one event may park */
};

/* --- parked keys and stops --- */

size_t feed_parked_key(const struct feed_tenant *tenant, struct slice key, char *text)
{
    char *to = text;
    memcpy(to, "parked/", 7);
    to += 7;
    memcpy(to, tenant->name.data, tenant->name.size);
    to += tenant->name.size;
    *to++ = 0;
    if (key.size) memcpy(to, key.data, key.size);
    return (size_t)(to - text) + key.size;
}

static struct feed_parked *feed_park(struct feed_tenant *tenant, struct slice key, uint64_t position,
                                     struct slice error)
{
    struct feed_parked *parked = MEM_NEW(struct feed_parked);
    parked->key = slice_make(mem_text(key.data, key.size), key.size);
    parked->position = position;
    parked->error = mem_text(error.data, error.size);
    map_put(&tenant->parked, parked->key, parked);
    drafts_park(tenant->drafts, parked->key);
    return parked;
}

static void feed_parked_free(struct feed_parked *parked)
{
    mem_free((char *)parked->key.data);
    mem_free(parked->error);
    mem_free(parked);
}

static bool feed_read_parked(void *user, struct slice key, struct slice value)
{
    struct feed_tenant *tenant = user;
    char prefix[LIMIT_TENANT_SIZE_MAX + 16];
    size_t size = feed_parked_key(tenant, SLICE_NONE, prefix);
    struct slice error;
    struct mp_value text = {.kind = MP_NIL};
    if (!mp_find(value, slice_of("error"), &error)) return true;
    struct mp_reader reader = mp_reader_of(error);
    if (mp_read(&reader, &text) < 0 || text.kind != MP_TEXT) return true;
    key = slice_make(key.data + size, key.size - size);
    /* Partitions share the directory, but each only knows its own keys. */
    const struct feed *feed = tenant->feed;
    if (feed_is_aside(feed) && split_partition(&feed->generation->plan, tenant->name, key) != feed->partition)
        return true;
    struct feed_parked *parked = feed_park(tenant, key, generation_member(value, "position"), text.text);
    parked->skipped = generation_member(value, "skipped");
    parked->stored = true;
    return true;
}

static void feed_read_stopped(struct feed_tenant *tenant)
{
    char key[LIMIT_TENANT_SIZE_MAX + 16];
    struct buf value = {0};
    struct fault ignored;
    snprintf(key, sizeof key, "stopped/%.*s", SLICE_ARGS(tenant->name));
    if (docs_meta_get(tenant->feed->generation->docs, slice_of(key), &value, &ignored) == 1) {
        tenant->stopped_position = generation_member(buf_slice(&value), "position");
        tenant->stopped_stored = true;
    }
    buf_release(&value);
}

/* --- tenants --- */

static int feed_load(void *user, struct slice key, struct buf *out, struct fault *fault)
{
    struct feed_tenant *tenant = user;
    const struct feed *feed = tenant->feed;
    if (!feed->whole && feed->flushed == 0) return 0; /* nothing of it is on disk */
    return docs_get(tenant->feed->generation->docs, tenant->name, key, out, fault);
}

struct feed_tenant *feed_tenant(struct feed *feed, struct slice name)
{
    if (feed->last && feed->last->name.size == name.size &&
        memcmp(feed->last->name.data, name.data, name.size) == 0)
        return feed->last;
    struct feed_tenant *tenant = map_find(&feed->tenants, name);
    if (tenant) return feed->last = tenant;
    tenant = mem_zero(sizeof *tenant + name.size + 1);
    memcpy(tenant->text, name.data, name.size);
    tenant->name = slice_make(tenant->text, name.size);
    tenant->feed = feed;
    struct drafts_options options = {.projection = feed->projection,
                                     .tenant = tenant->name,
                                     .load = feed_load,
                                     .user = tenant,
                                     .size_max = feed_is_by_key(feed) ? 1 : FEED_DOCUMENTS_MAX};
    if (feed_is_aside(feed))
        split_range(&feed->generation->plan, feed->partition, tenant->name, &options.from, &options.to);
    tenant->drafts = drafts_new(feed->domain, &options);
    map_put(&feed->tenants, tenant->name, tenant);
    char prefix[LIMIT_TENANT_SIZE_MAX + 16];
    size_t size = feed_parked_key(tenant, SLICE_NONE, prefix);
    struct fault ignored;
    docs_meta_each(feed->generation->docs, slice_make(prefix, size), feed_read_parked, tenant, &ignored);
    feed_read_stopped(tenant);
    return feed->last = tenant;
}

static void feed_tenant_free(struct feed_tenant *tenant)
{
    size_t at = 0;
    struct feed_parked *parked;
    while ((parked = map_next(&tenant->parked, &at))) feed_parked_free(parked);
    map_release(&tenant->parked);
    drafts_free(tenant->drafts);
    mem_free(tenant->stopped_error);
    mem_free(tenant);
}

struct feed *feed_new(struct domain *domain, struct generation *generation, uint32_t partition,
                      uint32_t partition_count)
{
    struct feed *feed = MEM_NEW(struct feed);
    feed->domain = domain;
    feed->projection = domain_find_projection(domain, generation->view->name);
    CHECK(feed->projection >= 0);
    feed->generation = generation;
    feed->partition = partition;
    feed->partition_count = partition_count;
    feed->events_max = (uint64_t)hub_limit(generation->view->views->hub, "flush_events", FEED_EVENTS_MAX);
    feed->whole = atomic_load(&generation->complete);
    if (partition == FEED_SPLITS)
        feed->split = feed_split_new();
    else
        feed->position = atomic_load(feed->whole ? &generation->position : &generation->reached[partition]);
    feed->flushed = feed->position;
    return feed;
}

static void feed_forget_tenants(struct feed *feed)
{
    size_t at = 0;
    struct feed_tenant *tenant;
    while ((tenant = map_next(&feed->tenants, &at))) feed_tenant_free(tenant);
    map_release(&feed->tenants);
    feed->last = NULL;
}

void feed_free(struct feed *feed)
{
    feed_forget_tenants(feed);
    feed_split_free(feed->split);
    aside_close(feed->aside);
    feed_batch_free(feed->batch);
    rebuild_feed_ended(feed->generation);
    buf_release(&feed->key);
    mem_free(feed);
}

/* --- folding --- */

bool feed_takes(const struct feed *feed, struct slice context, struct slice type)
{
    const struct domain_projection *declared = domain_projection(feed->domain, feed->projection);
    for (size_t at = 0; at < declared->event_count; at++) {
        struct slice event = declared->events[at]; /* "billing.BillClosed" */
        if (event.size == context.size + 1 + type.size &&
            memcmp(event.data, context.data, context.size) == 0 && event.data[context.size] == '.' &&
            memcmp(event.data + context.size + 1, type.data, type.size) == 0)
            return true;
    }
    return false;
}

uint64_t feed_limit(const struct feed *feed, uint64_t head)
{
    if (!feed->whole) return atomic_load(&feed->generation->target);
    uint64_t held_at = atomic_load(&feed->generation->held_at);
    return held_at && held_at < head ? held_at : head;
}

bool feed_is_aside(const struct feed *feed)
{
    return !feed->whole && !feed->split && feed->partition_count > 1;
}

bool feed_is_by_key(const struct feed *feed)
{
    return feed->aside && aside_is_by_key(feed->aside);
}

void feed_go_back(struct feed *feed, uint64_t exact_until)
{
    feed_forget_tenants(feed);
    if (feed->split) feed_split_go_back(feed);
    if (exact_until > 0 && feed_is_by_key(feed)) feed->in_order = true;
    aside_close(feed->aside);
    feed->aside = NULL;
    feed_batch_free(feed->batch);
    feed->batch = NULL;
    if (exact_until > feed->exact_until) feed->exact_until = exact_until;
    feed->position = feed->flushed;
    feed->events = 0;
    feed->behind = true;
}

void feed_fail(struct feed *feed, const struct fault *fault)
{
    int64_t now_ns = clock_monotonic_ns();
    struct generation *generation = feed->generation;
    outage_met(&generation->view->views->hub->outage, &generation->outage, generation->view->name.data,
               fault);
    if (fault->code == FAULT_CORRUPT && rebuild_damaged(feed->generation) == 0) {
        feed->dropped = true;
        return;
    }
    feed->broken = true;
    feed->retry_ns = now_ns + FEED_RETRY_MS * 1000000LL;
    feed_go_back(feed, 0);
}

bool feed_is_environment(const struct fault *fault)
{
    return fault->code == FAULT_DISK || fault->code == FAULT_CORRUPT || fault->code == FAULT_PERMISSION ||
           fault->code == FAULT_UNAVAILABLE;
}

static void feed_stop_tenant(struct feed *feed, struct feed_tenant *tenant, uint64_t position,
                             const struct fault *fault)
{
    if (feed->partition_count > 1) {
        /* Partitions do not stop at the same event: only a build in one piece stops where the live one would.
         */
        struct fault failed;
        if (rebuild_restart_whole(feed->generation, &failed) < 0)
            feed_fail(feed, &failed);
        else
            feed->dropped = true;
        return;
    }
    tenant->stopped_position = position;
    tenant->stopped_error = mem_text(fault->text, strlen(fault->text));
    say_warn("%s stopped for tenant %.*s at position %llu: %s", feed->generation->view->name.data,
             SLICE_ARGS(tenant->name), (unsigned long long)position, fault->text);
}

/* Exact mode: says what happened and whether the event is to be folded again (for its other keys). */
static bool feed_failed(struct feed *feed, struct feed_tenant *tenant, uint64_t position,
                        enum drafts_failure failure, const struct fault *fault)
{
    if (failure == DRAFTS_KEY) {
        struct feed_parked *parked =
            feed_park(tenant, buf_slice(&feed->key), position, slice_of(fault->text));
        parked->changed = true;
        return true;
    }
    if (failure == DRAFTS_NONE && feed_is_environment(fault))
        feed_fail(feed, fault);
    else
        feed_stop_tenant(feed, tenant, position, fault);
    return false;
}

void feed_event(struct feed *feed, int *handler, const struct envelope *envelope, struct slice data)
{
    if (feed->split) {
        feed_split_event(feed, handler, envelope, data);
        return;
    }
    uint64_t position = envelope->position;
    struct feed_tenant *tenant = feed_tenant(feed, envelope->tenant);
    feed->events++;
    if (tenant->stopped_position) {
        if (!feed_is_by_key(feed)) feed->position = position;
        return;
    }
    bool exact = position <= feed->exact_until;
    struct fault fault;
    enum drafts_failure failure = DRAFTS_NONE;
    if (*handler < 0) *handler = drafts_handler(tenant->drafts, envelope->context, envelope->type);
    CHECK(*handler >= 0);
    if (exact) domain_set_exact(feed->domain, true);
    for (int tries = 0; tries < FEED_KEYS_FAILED_MAX; tries++) {
        buf_clear(&feed->key);
        failure = DRAFTS_NONE;
        if (drafts_fold(tenant->drafts, *handler, envelope, data, &failure, &feed->key, &fault) == 0) break;
        if (!exact) {
            if (failure == DRAFTS_NONE && feed_is_environment(&fault))
                feed_fail(feed, &fault);
            else
                feed_go_back(feed, position);
            return;
        }
        if (!feed_failed(feed, tenant, position, failure, &fault)) break;
    }
    if (exact) domain_set_exact(feed->domain, false);
    if (feed->behind || feed->dropped) return;
    if (!feed_is_by_key(feed)) feed->position = position;
    /* What failed is on disk before the fast way goes on: the next failure does not come back behind it. */
    if (exact && position == feed->exact_until) feed_flush(feed);
}

void feed_pass(struct feed *feed, uint64_t position)
{
    if (position > feed->position) feed->position = position;
}

/* Where the next key begins, what was folded is finished. */
static void feed_end_key(struct feed *feed)
{
    size_t dirty = 0, at = 0;
    struct feed_tenant *tenant;
    if (!aside_begins_key(feed->aside)) return;
    while ((tenant = map_next(&feed->tenants, &at))) dirty += drafts_dirty(tenant->drafts);
    if (dirty < FEED_TAKE_OUT && domain_memory(feed->domain) <= FEED_MEMORY_MAX) return;
    if (!feed_take_out(feed)) return;
    /* So much is not kept: written now and then, as documents come in the order of the log. */
    if (feed->batch->bytes.size > FEED_BATCH_MAX) {
        feed_go_back(feed, 0);
        feed->in_order = true;
    }
}

/* Only from its beginning, since there is nothing on disk then that the events of a key could be folded into
 * twice, and only if keys are ids, which a record tells. */
static int feed_open_aside(struct feed *feed, struct fault *fault)
{
    const struct domain_projection *declared = domain_projection(feed->domain, feed->projection);
    bool by_key = declared->default_key && !feed->in_order && feed->flushed == 0;
    struct names *names = engine_names(feed->generation->view->views->hub->engine);
    return aside_open(feed->generation->spill, feed->partition, names, by_key ? feed->events_max : 0,
                      &feed->aside, fault);
}

int feed_next_aside(struct feed *feed, struct record *record)
{
    struct fault fault;
    int more = feed->aside ? 0 : feed_open_aside(feed, &fault);
    if (more == 0) more = aside_next(feed->aside, record, &fault);
    if (more < 0) feed_fail(feed, &fault);
    if (more != 1) return more;
    if (feed_is_by_key(feed)) feed_end_key(feed);
    return feed->behind || feed->dropped ? -1 : 1;
}

bool feed_is_full(const struct feed *feed)
{
    if (feed_is_by_key(feed)) return false;
    if (feed->events >= feed->events_max) return true;
    if (feed->events == 0) return false;
    size_t dirty = 0, at = 0;
    struct feed_tenant *tenant;
    while ((tenant = map_next(&feed->tenants, &at))) dirty += drafts_dirty(tenant->drafts);
    return dirty >= FEED_DIRTY_MAX || domain_memory(feed->domain) > FEED_MEMORY_MAX;
}

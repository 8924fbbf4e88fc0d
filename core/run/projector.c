#include "run/projector.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "base/thread.h"
#include "run/fold.h"
#include "run/inside.h"

enum {
    PROJECTOR_SLICE_MS = 50,    /* of a rebuild, before live feeds get their turn again */
    PROJECTOR_NEAR = 20000,     /* events behind the head up to which a feed counts as live */
    PROJECTOR_LOOK_EVERY = 128, /* records between two looks at the clock */
    PROJECTOR_FLUSH_MS = 2000,  /* a rebuild is not set back further than that by a kill */
    PROJECTOR_FULL_EVERY = 512, /* events between two looks whether a feed is full */
    PROJECTOR_RETRY_MS = 200,
    PROJECTOR_LAG_MS = 20, /* (hub.lua) under load, between two flushes of live feeds that nobody waits for */
    PROJECTOR_STOP_MS = 5000 /* for live feeds to reach the head */
};

struct taker {
    struct feed *feed;
    int handler;
};

/* What to do with events of one aggregate and type; found by their name numbers. */
struct route {
    uint64_t key; /* 0: empty */
    struct slice context, aggregate, type;
    struct taker *takers;
    size_t count;
};

struct adoption {
    struct inbox_link link;
    struct generation *generation;
    uint32_t partition, partition_count;
};

struct projector {
    struct views *views;
    struct crew *crew;
    int index;
    pthread_t thread;
    bool started;
    struct domain *domain;
    struct inbox inbox; /* struct adoption */
    struct feed *feeds;
    size_t feed_count;
    struct arena arena; /* takers */
    struct route *routes;
    size_t route_count, routes_max; /* a power of two */
    int lag_ms;
    int64_t scanned_ns;    /* when live feeds were flushed last */
    atomic_ullong settled; /* up to here they are */
    atomic_bool resting;   /* it looks at the log by itself before long: appends need not wake it */
    atomic_size_t memory;
};

enum scan_result {
    SCAN_NONE,
    SCAN_DONE,
    SCAN_CUT
}; /* nothing to do; all feeds at their limits; time is over */

/* --- routes --- */

static void projector_forget_routes(struct projector *projector)
{
    mem_free(projector->routes);
    projector->routes = NULL;
    projector->route_count = projector->routes_max = 0;
    arena_release(&projector->arena);
}

static struct route *projector_slot(const struct projector *projector, uint64_t key)
{
    size_t mask = projector->routes_max - 1;
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 32) & mask;
    while (projector->routes[at].key && projector->routes[at].key != key) at = (at + 1) & mask;
    return &projector->routes[at];
}

static void projector_grow_routes(struct projector *projector)
{
    struct route *old = projector->routes;
    size_t old_max = projector->routes_max;
    projector->routes_max = old_max ? old_max * 2 : 64;
    projector->routes = mem_zero(projector->routes_max * sizeof *projector->routes);
    for (size_t at = 0; at < old_max; at++)
        if (old[at].key) *projector_slot(projector, old[at].key) = old[at];
    mem_free(old);
}

static struct route *projector_route(struct projector *projector, const struct record *record, uint32_t type)
{
    uint64_t key = (uint64_t)record->aggregate << 32 | type;
    if (projector->routes_max) {
        struct route *found = projector_slot(projector, key);
        if (found->key) return found;
    }
    if (projector->route_count * 2 >= projector->routes_max) projector_grow_routes(projector);
    struct route *route = projector_slot(projector, key);
    projector->route_count++;
    struct slice aggregate = names_get(record->names, record->aggregate);
    route->key = key;
    route->type = names_get(record->names, type);
    route->aggregate = fold_aggregate_name(aggregate);
    route->context =
        slice_make(aggregate.data,
                   route->aggregate.data > aggregate.data ? aggregate.size - route->aggregate.size - 1 : 0);
    route->takers = arena_zero(&projector->arena, (projector->feed_count + 1) * sizeof *route->takers);
    for (struct feed *feed = projector->feeds; feed; feed = feed->next)
        if (feed_takes(feed, route->context, route->type))
            route->takers[route->count++] = (struct taker){feed, -1};
    return route;
}

/* --- one scan --- */

static void projector_flush(struct feed *feed)
{
    if (feed->position != feed->flushed) feed_flush(feed);
}

static void projector_record(struct projector *projector, const struct record *record)
{
    struct envelope envelope = {.record = record};
    struct record_event event = {0};
    while (record_next_event(record, &event)) {
        struct route *route = projector_route(projector, record, event.type);
        for (size_t at = 0; at < route->count; at++) {
            struct feed *feed = route->takers[at].feed;
            if (!feed->scanning || event.position <= feed->position || event.position > feed->limit) continue;
            if (!envelope.tenant.size) {
                envelope.tenant = names_get(record->names, record->tenant);
                envelope.id = record->id;
                envelope.deploy = record->deploy;
                envelope.recorded_ms = record->recorded_ms;
            }
            envelope.context = route->context;
            envelope.aggregate = route->aggregate;
            envelope.type = route->type;
            envelope.type_version = event.type_version;
            envelope.version = event.version;
            envelope.position = event.position;
            envelope.at_ms = event.at_ms;
            feed_event(feed, &route->takers[at].handler, &envelope, event.data);
            if (feed->behind || feed->dropped)
                feed->scanning = false;
            else if (feed->events % PROJECTOR_FULL_EVERY == 0 && feed_is_full(feed))
                projector_flush(feed);
            if (feed->behind || feed->dropped) feed->scanning = false;
        }
    }
}

/* Reads from position on until the feeds are at their limits or the time is over; returns how far it came. */
static uint64_t projector_read(struct projector *projector, uint64_t position, uint64_t limit,
                               int64_t until_ns)
{
    struct engine_cursor *cursor;
    struct record record;
    struct fault fault;
    int more = engine_read(projector->views->hub->engine, position + 1, &cursor, &fault);
    if (more == 0) {
        for (size_t count = 1; position < limit; count++) {
            more = engine_cursor_next(cursor, &record, &fault);
            if (more != 1) break;
            if (record.kind == RECORD_COMMIT || record.kind == RECORD_FACT)
                projector_record(projector, &record);
            position = record.first_position + record.event_count - 1;
            if (count % PROJECTOR_LOOK_EVERY == 0 && clock_monotonic_ns() > until_ns) break;
        }
        engine_cursor_close(cursor);
    }
    if (more < 0)
        say_stop("the log cannot be read behind position %llu: %s", (unsigned long long)position, fault.text);
    return position;
}

static bool projector_is_near(const struct feed *feed)
{
    return feed->whole && feed->limit - feed->position <= PROJECTOR_NEAR;
}

/* Whether a feed takes part in a scan of the near or the far ones. */
static bool projector_joins(struct feed *feed, uint64_t head, bool near, int64_t now_ns)
{
    feed->scanning = feed->behind = false;
    if (feed->dropped || feed_is_aside(feed) || (feed->broken && now_ns < feed->retry_ns)) return false;
    feed->limit = feed_limit(feed, head);
    if (!feed_split_is_ready(feed)) return false;
    if (feed->position >= feed->limit || projector_is_near(feed) != near) return false;
    return feed->scanning = true;
}

/* A partition of a generation being built tells that it is where all of them stop for now. */
static void projector_report(struct projector *projector, struct feed *feed)
{
    if (feed->whole || feed->split || feed->dropped || feed->position < feed->limit) return;
    if (feed->position != feed->flushed || (feed->broken && clock_monotonic_ns() < feed->retry_ns)) return;
    /* One that a stop wrote out of turn, or that was full just at its end, waits for those before it. */
    if (feed_is_aside(feed) && !rebuild_is_turn(feed->generation, feed->partition)) return;
    feed->broken = false;
    if (rebuild_partition_done(feed->generation, (size_t)projector->index)) {
        feed->dropped = true;
        return;
    }
    feed->broken = true;
    feed->retry_ns = clock_monotonic_ns() + PROJECTOR_RETRY_MS * 1000000LL;
}

/* A feed that went back in the scan has its stretch before it again. */
static bool projector_is_cut(const struct projector *projector, bool cut)
{
    for (struct feed *feed = projector->feeds; feed; feed = feed->next)
        cut = cut || (feed->behind && !feed->broken && !feed->dropped);
    return cut;
}

static enum scan_result projector_scan(struct projector *projector, uint64_t head, bool near)
{
    uint64_t position = UINT64_MAX, limit = 0;
    int64_t now_ns = clock_monotonic_ns();
    for (struct feed *feed = projector->feeds; feed; feed = feed->next) {
        if (!projector_joins(feed, head, near, now_ns)) continue;
        if (feed->position < position) position = feed->position;
        if (feed->limit > limit) limit = feed->limit;
    }
    if (position == UINT64_MAX) return SCAN_NONE;
    uint64_t reached = projector_read(projector, position, limit, now_ns + PROJECTOR_SLICE_MS * 1000000LL);
    now_ns = clock_monotonic_ns();
    for (struct feed *feed = projector->feeds; feed; feed = feed->next) {
        if (!feed->scanning || feed->dropped) continue;
        feed_pass(feed, reached < feed->limit ? reached : feed->limit);
        bool due =
            feed->position >= feed->limit || now_ns - feed->flushed_ns > PROJECTOR_FLUSH_MS * 1000000LL;
        if (due || feed_is_full(feed)) projector_flush(feed);
        if (!near) rebuild_say_progress(feed->generation);
    }
    return projector_is_cut(projector, reached < limit) ? SCAN_CUT : SCAN_DONE;
}

/* Whether live feeds have more to do at once. */
static bool projector_scan_near(struct projector *projector, uint64_t head)
{
    enum scan_result result = projector_scan(projector, head, true);
    if (result == SCAN_CUT) return true;
    if (result == SCAN_DONE) projector->scanned_ns = clock_monotonic_ns();
    atomic_store(&projector->settled, head);
    return false;
}

/* --- partitions --- */

static void projector_only(struct projector *projector, struct feed *only)
{
    for (struct feed *feed = projector->feeds; feed; feed = feed->next) feed->scanning = feed == only;
    only->behind = false;
}

/* Shows a feed that splits some events from all over the log. */
static void projector_sample(struct projector *projector, struct feed *feed)
{
    uint64_t step = feed_split_step(feed), last = feed_limit(feed, 0);
    struct record record;
    struct fault fault;
    projector_only(projector, feed);
    feed->limit = last;
    for (uint64_t position = 1; position <= last && feed->scanning; position += step) {
        struct engine_cursor *cursor;
        int found = engine_read(projector->views->hub->engine, position, &cursor, &fault);
        if (found == 0) {
            found = engine_cursor_next(cursor, &record, &fault);
            if (found == 1 && (record.kind == RECORD_COMMIT || record.kind == RECORD_FACT))
                projector_record(projector, &record);
            engine_cursor_close(cursor);
        }
        if (found < 0)
            say_stop("the log cannot be read at position %llu: %s", (unsigned long long)position, fault.text);
    }
    if (feed->scanning) feed_split_begin(feed);
}

/* 1: its time is over; 0: it is at its end; -1: it failed or went back. */
static int projector_read_aside(struct projector *projector, struct feed *feed, int64_t until_ns)
{
    struct record record;
    int more = 0;
    for (size_t count = 1; (more = feed_next_aside(feed, &record)) == 1; count++) {
        projector_record(projector, &record);
        if (!feed->scanning) return -1;
        if (count % PROJECTOR_LOOK_EVERY == 0 && clock_monotonic_ns() > until_ns) return 1;
    }
    return more;
}

/* Folds what was put aside for its partition. True: it has more to do at once. */
static bool projector_fold_aside(struct projector *projector, struct feed *feed)
{
    int64_t now_ns = clock_monotonic_ns();
    if (!feed_is_aside(feed) || feed->dropped || (feed->broken && now_ns < feed->retry_ns)) return false;
    feed->limit = feed_limit(feed, 0);
    if (feed->position < feed->limit) {
        projector_only(projector, feed);
        int more = projector_read_aside(projector, feed, now_ns + PROJECTOR_SLICE_MS * 1000000LL);
        rebuild_say_progress(feed->generation);
        if (more != 0) return true;
        feed_pass(feed, feed->limit);
    }
    if (rebuild_is_turn(feed->generation, feed->partition)) projector_flush(feed);
    return feed->behind;
}

/* Whether there is more to do at once in what is split or was. */
static bool projector_scan_aside(struct projector *projector)
{
    bool busy = false;
    int64_t now_ns = clock_monotonic_ns();
    for (struct feed *feed = projector->feeds; feed; feed = feed->next) {
        if (feed->dropped || (feed->broken && now_ns < feed->retry_ns)) continue;
        if (!feed_split_is_ready(feed)) {
            projector_sample(projector, feed);
            busy = true;
        }
        if (projector_fold_aside(projector, feed)) busy = true;
    }
    return busy;
}

/* --- the thread --- */

/* In the order in which they came, so that the partition whose turn is next is folded first. */
static void projector_take(struct projector *projector, struct inbox_link *list)
{
    struct feed **end = &projector->feeds;
    while (*end) end = &(*end)->next;
    while (list) {
        struct adoption *adoption = (struct adoption *)list;
        list = list->next;
        struct feed *feed =
            feed_new(projector->domain, adoption->generation, adoption->partition, adoption->partition_count);
        *end = feed;
        end = &feed->next;
        projector->feed_count++;
        projector_forget_routes(projector);
        mem_free(adoption);
    }
}

static void projector_drop(struct projector *projector)
{
    for (struct feed **at = &projector->feeds; *at;) {
        struct feed *feed = *at;
        struct generation *generation = feed->generation;
        if (atomic_load(&generation->retired) || (!feed->whole && atomic_load(&generation->complete)) ||
            atomic_load(&generation->crew) != projector->crew)
            feed->dropped = true;
        if (!feed->dropped) {
            at = &feed->next;
            continue;
        }
        *at = feed->next;
        projector->feed_count--;
        projector_forget_routes(projector);
        feed_free(feed);
    }
}

static bool projector_has_broken(const struct projector *projector)
{
    for (struct feed *feed = projector->feeds; feed; feed = feed->next)
        if (feed->broken) return true;
    return false;
}

static void projector_end(struct projector *projector)
{
    int64_t until_ns = clock_monotonic_ns() + PROJECTOR_STOP_MS * 1000000LL;
    while (clock_monotonic_ns() < until_ns &&
           projector_scan(projector, engine_head(projector->views->hub->engine).position, true) != SCAN_NONE)
        projector_drop(projector);
    while (projector->feeds) {
        struct feed *feed = projector->feeds;
        projector->feeds = feed->next;
        if (feed->position != feed->flushed && !feed->dropped && !feed->split) feed_flush(feed);
        feed_free(feed);
    }
}

static int64_t projector_rest_ms(const struct projector *projector)
{
    const struct views *views = projector->views;
    if (atomic_load(&views->stopping) || atomic_load(&views->wanted) > atomic_load(&projector->settled))
        return 0;
    return projector->lag_ms - (clock_monotonic_ns() - projector->scanned_ns) / 1000000;
}

/* The first event behind a silence is folded at once; in a stream of them those of lag_ms are folded and
 * flushed together, since each flush costs some page writes a view. A reader that waits ends the rest.
 * True: it did rest, and may have been woken for something else meanwhile. */
static bool projector_rest(struct projector *projector)
{
    int64_t left_ms;
    bool rested = false;
    atomic_store(&projector->resting, true);
    while ((left_ms = projector_rest_ms(projector)) > 0) {
        struct inbox_link *list = inbox_take(&projector->inbox, (int)left_ms);
        projector_take(projector, list);
        rested = true;
        if (list) break;
    }
    atomic_store(&projector->resting, false);
    return rested;
}

static void *projector_run(void *user)
{
    struct projector *projector = user;
    bool far = true, behind = true;
    domain_thread_start();
    if (projector->crew->is_planning) thread_yields();
    while (!atomic_load(&projector->views->stopping) && !atomic_load(&projector->crew->ended)) {
        bool rested = !far && !behind && projector_rest(projector);
        uint64_t head = engine_head(projector->views->hub->engine).position;
        int timeout_ms = projector_has_broken(projector) ? PROJECTOR_RETRY_MS : -1;
        if (far || behind || rested || head > atomic_load(&projector->settled)) timeout_ms = 0;
        projector_take(projector, inbox_take(&projector->inbox, timeout_ms));
        head = engine_head(projector->views->hub->engine).position;
        far = projector_scan_aside(projector);
        far = projector_scan(projector, head, false) != SCAN_NONE || far;
        behind = projector_scan_near(projector, head);
        for (struct feed *feed = projector->feeds; feed; feed = feed->next) {
            feed->limit = feed_limit(feed, head);
            projector_report(projector, feed);
        }
        projector_drop(projector);
        atomic_store_explicit(&projector->memory, domain_memory(projector->domain), memory_order_relaxed);
    }
    projector_take(projector, inbox_take(&projector->inbox, 0));
    projector_end(projector);
    domain_thread_stop();
    return NULL;
}

int projector_new(struct crew *crew, int index, struct projector **projector, struct fault *fault)
{
    struct projector *made = MEM_NEW(struct projector);
    made->views = crew->views;
    made->crew = crew;
    made->index = index;
    made->lag_ms = (int)catalog_limit(&crew->release->catalog, "view_lag_ms", PROJECTOR_LAG_MS);
    if (release_domain(crew->release, &made->domain, fault) < 0) {
        mem_free(made);
        return -1;
    }
    inbox_init(&made->inbox, 0);
    *projector = made;
    return 0;
}

void projector_start(struct projector *projector)
{
    projector->started = true;
    projector->thread = thread_start(projector_run, projector, "projector %d", projector->index);
}

void projector_stop(struct projector *projector)
{
    if (!projector->started) return;
    inbox_wake(&projector->inbox);
    pthread_join(projector->thread, NULL);
    projector->started = false;
}

void projector_free(struct projector *projector)
{
    if (!projector) return;
    projector_stop(projector);
    projector_forget_routes(projector);
    for (struct inbox_link *list = inbox_take(&projector->inbox, 0), *next; list; list = next) {
        next = list->next; /* given while it ended */
        rebuild_feed_ended(((struct adoption *)list)->generation);
        mem_free(list);
    }
    domain_close(projector->domain);
    inbox_release(&projector->inbox);
    mem_free(projector);
}

void projector_adopt(struct projector *projector, struct generation *generation, uint32_t partition,
                     uint32_t partition_count)
{
    struct adoption *adoption = MEM_NEW(struct adoption);
    adoption->generation = generation;
    adoption->partition = partition;
    adoption->partition_count = partition_count;
    inbox_put(&projector->inbox, &adoption->link);
}

void projector_look(struct projector *projector)
{
    if (!atomic_load(&projector->resting)) inbox_wake(&projector->inbox);
}

void projector_hurry(struct projector *projector, uint64_t position)
{
    if (atomic_load(&projector->settled) < position) inbox_wake(&projector->inbox);
}

void projector_wake(struct projector *projector)
{
    inbox_wake(&projector->inbox);
}

size_t projector_memory(const struct projector *projector)
{
    return atomic_load_explicit(&((struct projector *)projector)->memory, memory_order_relaxed);
}

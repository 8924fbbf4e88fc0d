#include "run/digest.h"

#include <stdlib.h>

#include "base/mem.h"
#include "run/fold.h"
#include "run/inside.h"

struct digest_walk {
    struct hub *hub;
    struct domain *domain;
    bool from_events;
    struct slice *tenants; /* with anything in the log, in order */
    size_t tenant_count;
    const struct catalog_aggregate *aggregate;
    struct slice tenant;
    struct digest digest; /* being made */
    struct docs *docs;    /* of a view */
    struct fault *fault;
    bool failed;
};

/* The pieces are hashed each on its own, so where one ends and the next begins counts. */
static void digest_add(struct digest *digest, struct slice name, uint64_t number, struct slice content)
{
    struct hash first = hash_of(name), second = hash_of(content);
    struct hash both = hash_chain(&digest->hash, &first, &second);
    struct hash place = hash_of(slice_make((const char *)&number, sizeof number));
    digest->hash = hash_chain(&both, &place, &second);
}

/* --- views --- */

/* A document comes with its key, a failure with the position at which it happened. */
static bool digest_failure(void *user, struct slice key, struct slice value)
{
    struct digest_walk *walk = user;
    bool is_parked = key.size > 7 && memcmp(key.data, "parked/", 7) == 0;
    if (is_parked)
        walk->digest.parked++;
    else
        walk->digest.failed++;
    digest_add(&walk->digest, key, generation_member(value, "position"), SLICE_NONE);
    return true;
}

static int digest_documents(struct digest_walk *walk)
{
    struct docs_range range = {.tenant = walk->tenant};
    struct docs_read *read;
    struct slice key, value;
    if (docs_read_open(walk->docs, &range, &read, walk->fault) < 0) return -1;
    digest_add(&walk->digest, walk->tenant, 0, SLICE_NONE);
    int more;
    while ((more = docs_read_next(read, &key, &value, walk->fault)) == 1) {
        walk->digest.count++;
        digest_add(&walk->digest, key, 0, value);
    }
    docs_read_close(read);
    return more;
}

static int digest_view(struct digest_walk *walk, struct slice name, uint64_t position)
{
    struct view_lease lease;
    if (hub_view_lease(walk->hub, name, &lease, walk->fault) < 0) return -1;
    walk->digest = (struct digest){.is_view = true, .name = name, .position = position};
    walk->docs = lease.docs;
    digest_add(&walk->digest, name, position, SLICE_NONE);
    int done = 0;
    for (size_t at = 0; done == 0 && at < walk->tenant_count; at++) {
        walk->tenant = walk->tenants[at];
        done = digest_documents(walk);
    }
    static const char *const failures[] = {"parked/", "stopped/"};
    for (size_t at = 0; done == 0 && at < sizeof failures / sizeof *failures; at++)
        done = docs_meta_each(lease.docs, slice_of(failures[at]), digest_failure, walk, walk->fault);
    hub_view_release(walk->hub, &lease);
    return done;
}

/* --- states --- */

static bool digest_state(void *user, struct slice id, uint64_t version)
{
    struct digest_walk *walk = user;
    struct fold_request request = {.engine = walk->hub->engine,
                                   .snaps = walk->from_events ? NULL : walk->hub->snaps,
                                   .domain = walk->domain,
                                   .aggregate = walk->aggregate,
                                   .stream = {walk->tenant, walk->aggregate->name, id},
                                   .version_max = UINT64_MAX,
                                   .at_ms_max = INT64_MAX};
    struct fold_result result;
    struct buf state = {0};
    struct fault fault = {0};
    int done = fold_stream(&request, &result, &fault);
    if (done == 0) {
        done = domain_state_encode(walk->domain, result.state, &state, &fault);
        domain_state_free(walk->domain, result.state);
    }
    if (done < 0 && (fault.code == FAULT_DISK || fault.code == FAULT_CORRUPT)) {
        *walk->fault = fault;
        walk->failed = true;
    }
    walk->digest.count++;
    walk->digest.failed += done < 0;
    digest_add(&walk->digest, id, version, done < 0 ? slice_of(fault_name(fault.code)) : buf_slice(&state));
    buf_release(&state);
    return !walk->failed;
}

static int digest_aggregate(struct digest_walk *walk, const struct catalog_aggregate *aggregate,
                            uint64_t position)
{
    walk->aggregate = aggregate;
    walk->digest = (struct digest){.name = aggregate->name, .position = position};
    for (size_t at = 0; at < walk->tenant_count; at++) {
        walk->tenant = walk->tenants[at];
        digest_add(&walk->digest, walk->tenant, 0, SLICE_NONE);
        if (engine_each_stream(walk->hub->engine, walk->tenant, aggregate->name, digest_state, walk,
                               walk->fault) < 0 ||
            walk->failed)
            return -1;
    }
    return 0;
}

/* --- both --- */

static int digest_compare_slices(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* The texts are those of the engine's names. */
static int digest_find_tenants(struct digest_walk *walk)
{
    struct names *names = engine_names(walk->hub->engine);
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read(walk->hub->engine, 1, &cursor, walk->fault) < 0) return -1;
    bool *seen = mem_zero(names_count(names) + 1);
    walk->tenants = mem_zero((names_count(names) + 1) * sizeof *walk->tenants);
    int more;
    while ((more = engine_cursor_next(cursor, &record, walk->fault)) == 1) {
        if (seen[record.tenant]) continue;
        seen[record.tenant] = true;
        walk->tenants[walk->tenant_count++] = names_get(names, record.tenant);
    }
    engine_cursor_close(cursor);
    mem_free(seen);
    if (walk->tenant_count)
        qsort(walk->tenants, walk->tenant_count, sizeof *walk->tenants, digest_compare_slices);
    return more;
}

int digest_hub(struct hub *hub, bool from_events, void (*each)(void *user, const struct digest *digest),
               void *user, struct fault *fault)
{
    struct digest_walk walk = {.hub = hub, .from_events = from_events, .fault = fault};
    uint64_t position = engine_head(hub->engine).position;
    struct release *release = NULL;
    int done = hub_domain_open(hub, &walk.domain, &release, fault);
    if (done == 0) done = digest_find_tenants(&walk);
    for (size_t at = 0; done == 0 && at < hub_view_count(hub); at++) {
        struct view_info info;
        if (!hub_view_info(hub, at, &info)) continue;
        done = digest_view(&walk, slice_of(info.name), info.position);
        if (done == 0) each(user, &walk.digest);
    }
    domain_thread_start();
    for (size_t at = 0; done == 0 && at < domain_aggregate_count(walk.domain); at++) {
        const struct domain_aggregate *declared = domain_aggregate(walk.domain, (int)at);
        done = digest_aggregate(&walk, map_find(&release->catalog.aggregates, declared->name), position);
        if (done == 0) each(user, &walk.digest);
    }
    domain_thread_stop();
    if (walk.domain) domain_close(walk.domain);
    release_let_go(release);
    mem_free(walk.tenants);
    return done;
}

/* What the questions of a session reach: states, views, the hub's clock. All of it in the session's own
 * thread. */
#include <stdio.h>

#include "base/clock.h"
#include "codec/mp.h"
#include "codec/names.h"
#include "run/fold.h"
#include "run/sessions.h"

enum {
    PAGE_SIZE_MAX = 1 << 20, /* about */
    COUNT_PAGE = 10000 /* documents counted in one read: a long one would keep pages from being used again */
};

static int check_cancelled(const struct session *session, struct fault *fault)
{
    return atomic_load(&session->cancelled) ? fault_set(fault, FAULT_CANCELLED, "cancelled") : 0;
}

/* --- states --- */

static int host_state(void *user, int aggregate, struct slice id, struct slice text, uint64_t *version,
                      uint64_t *position, struct buf *state, struct fault *fault)
{
    struct session *session = user;
    struct hub *hub = session->hub;
    const struct domain_aggregate *declared = domain_aggregate(session->domain, aggregate);
    struct catalog_aggregate folded = {
        .name = declared->name, .context = declared->context, .code = declared->code, .index = aggregate};
    struct fold_request request = {.engine = hub->engine,
                                   .snaps = hub->snaps,
                                   .domain = session->domain,
                                   .aggregate = &folded,
                                   .stream = {slice_of(session->tenant), declared->name, id},
                                   .version_max = UINT64_MAX,
                                   .at_ms_max = INT64_MAX};
    struct fold_result result;
    struct moment moment = {.kind = MOMENT_POSITION, .number = session->past.position};
    if (text.size && moment_parse(text, &moment, fault) < 0) return -1;
    if ((text.size || session->past.is_set) && fold_until(&request, &moment, fault) < 0) return -1;
    if (fold_stream(&request, &result, fault) < 0) return -1;
    int done = result.version ? domain_state_encode(session->domain, result.state, state, fault) : 0;
    *version = result.version;
    *position = result.version ? result.position : 0;
    domain_state_free(session->domain, result.state);
    return done;
}

/* --- views --- */

static int host_view_get(void *user, struct slice view, struct slice key, struct buf *document,
                         struct fault *fault)
{
    struct session *session = user;
    struct view_lease lease;
    if (session->past.is_set) return session_past_get(session, view, key, document, fault);
    if (hub_view_lease(session->hub, view, &lease, fault) < 0) return -1;
    int found = docs_get(lease.docs, slice_of(session->tenant), key, document, fault);
    hub_view_release(session->hub, &lease);
    return found;
}

struct page {                /* one read of a view */
    struct view_lease lease; /* of now; in the past the session keeps what is read */
    struct docs_read *read;
};

static int page_open(struct session *session, struct slice view, const struct docs_range *range,
                     struct page *page, struct fault *fault)
{
    struct docs *docs;
    if (session->past.is_set)
        return session_past_docs(session, view, &docs, fault) < 0
                   ? -1
                   : docs_read_open(docs, range, &page->read, fault);
    if (hub_view_lease(session->hub, view, &page->lease, fault) < 0) return -1;
    if (docs_read_open(page->lease.docs, range, &page->read, fault) == 0) return 0;
    hub_view_release(session->hub, &page->lease);
    return -1;
}

static void page_close(struct session *session, struct page *page)
{
    docs_read_close(page->read);
    if (!session->past.is_set) hub_view_release(session->hub, &page->lease);
}

static int host_view_range(void *user, struct slice view, struct slice index, struct slice min,
                           struct slice max, struct buf *cursor, size_t limit, struct buf *pairs,
                           struct fault *fault)
{
    struct session *session = user;
    struct page page;
    struct slice key, value;
    struct docs_range range = {.tenant = slice_of(session->tenant),
                               .index = index,
                               .min = min,
                               .max = max,
                               .after = buf_slice(cursor)};
    int more = 1;
    if (check_cancelled(session, fault) < 0 || page_open(session, view, &range, &page, fault) < 0) return -1;
    for (size_t left = limit;
         left && pairs->size < PAGE_SIZE_MAX && (more = docs_read_next(page.read, &key, &value, fault)) == 1;
         left--) {
        mp_put_text(pairs, key);
        buf_put_slice(pairs, value);
    }
    buf_clear(cursor);
    if (more == 1) docs_cursor(page.read, cursor);
    page_close(session, &page);
    return more;
}

static int host_view_count(void *user, struct slice view, struct slice index, struct slice min,
                           struct slice max, uint64_t *count, struct fault *fault)
{
    struct session *session = user;
    struct buf cursor = {0};
    int more = 1;
    *count = 0;
    while (more == 1) {
        struct page page;
        struct slice key, value;
        struct docs_range range = {.tenant = slice_of(session->tenant),
                                   .index = index,
                                   .min = min,
                                   .max = max,
                                   .after = buf_slice(&cursor)};
        more = check_cancelled(session, fault) < 0 ? -1 : page_open(session, view, &range, &page, fault);
        if (more < 0) break;
        more = 1;
        for (int left = COUNT_PAGE; left && (more = docs_read_next(page.read, &key, &value, fault)) == 1;
             left--)
            ++*count;
        buf_clear(&cursor);
        if (more == 1) docs_cursor(page.read, &cursor);
        page_close(session, &page);
    }
    buf_release(&cursor);
    return more;
}

/* --- for completion --- */

struct gathered {
    struct buf *ids;
    size_t left;
};

static bool gather_id(void *user, struct slice id, uint64_t version)
{
    struct gathered *gathered = user;
    mp_put_text(gathered->ids, id);
    return --gathered->left > 0;
}

static int host_ids(void *user, int aggregate, struct slice prefix, size_t limit, struct buf *ids,
                    struct fault *fault)
{
    struct session *session = user;
    struct gathered gathered = {ids, limit};
    return engine_each_stream_beginning(session->hub->engine, slice_of(session->tenant),
                                        domain_aggregate(session->domain, aggregate)->name, prefix, gather_id,
                                        &gathered, fault);
}

static int host_keys(void *user, struct slice view, struct slice prefix, size_t limit, struct buf *keys,
                     struct fault *fault)
{
    struct session *session = user;
    struct page page;
    struct slice key, value;
    struct docs_range range = {.tenant = slice_of(session->tenant), .after = prefix};
    if (page_open(session, view, &range, &page, fault) < 0) return -1;
    /* What follows the prefix stands behind it, but for the key that is the prefix. */
    int more = prefix.size ? docs_read_get(page.read, prefix, &value, fault) : 0;
    if (more == 1) {
        mp_put_text(keys, prefix);
        limit--;
    }
    while (more >= 0 && limit-- && (more = docs_read_next(page.read, &key, &value, fault)) == 1) {
        if (key.size < prefix.size || (prefix.size && memcmp(key.data, prefix.data, prefix.size) != 0)) break;
        mp_put_text(keys, key);
    }
    page_close(session, &page);
    return more < 0 ? -1 : 0;
}

/* --- the rest --- */

static struct slice host_log_name(void *user, uint32_t at)
{
    const struct session *session = user;
    return names_get(engine_names(session->hub->engine), at);
}

static int64_t host_now_ms(void *user)
{
    struct session *session = user;
    return session->past.is_set ? session->past.recorded_ms : clock_now_ms(session->hub->clock);
}

static int host_set_tenant(void *user, struct slice tenant, struct fault *fault)
{
    struct session *session = user;
    if (!catalog_has_tenant(&session->release->catalog, tenant))
        return fault_set(fault, FAULT_NOT_FOUND, "no tenant %.*s", SLICE_ARGS(tenant));
    session_past_forget(session);
    snprintf(session->tenant, sizeof session->tenant, "%.*s", SLICE_ARGS(tenant));
    session->scan.tenant = slice_of(session->tenant);
    return 0;
}

static struct slice host_tenant(void *user)
{
    return slice_of(((struct session *)user)->tenant);
}

static int host_set_moment(void *user, struct slice moment, struct buf *told, struct fault *fault)
{
    return session_past_set(user, moment, told, fault);
}

static int host_tell(void *user, struct slice line, struct fault *fault)
{
    struct session *session = user;
    return session_call_tell(session->call, line, &session->cancelled, fault);
}

void session_host_init(struct session *session)
{
    session->scan = (struct scan_host){.engine = session->hub->engine,
                                       .tenant = slice_of(session->tenant),
                                       .head = UINT64_MAX,
                                       .cancelled = &session->cancelled};
    session->events = scan_source(&session->scan);
    session->host = (struct ask_host){.user = session,
                                      .events = &session->events,
                                      .state = host_state,
                                      .view_get = host_view_get,
                                      .view_range = host_view_range,
                                      .view_count = host_view_count,
                                      .now_ms = host_now_ms,
                                      .set_tenant = host_set_tenant,
                                      .tenant = host_tenant,
                                      .ids = host_ids,
                                      .keys = host_keys,
                                      .log_name = host_log_name,
                                      .set_moment = host_set_moment,
                                      .tell = host_tell};
    session_insight_init(session);
}

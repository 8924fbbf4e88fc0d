/* What a run of a service or task may reach: views, the hub's clock, secrets, the log of diagnostics. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/mp.h"
#include "run/reactor_inside.h"

enum { HOST_PAGE_SIZE_MAX = 1 << 20 }; /* about */

static int host_view_get(void *user, struct slice view, struct slice key, struct buf *document,
                         struct fault *fault)
{
    struct reactor_run *run = user;
    struct hub *hub = run->reactor->hub;
    struct view_lease lease;
    if (hub_view_lease(hub, view, &lease, fault) < 0) return -1;
    int found = docs_get(lease.docs, run->tenant, key, document, fault);
    hub_view_release(hub, &lease);
    return found;
}

void reactor_page_close(struct reactor_run *run)
{
    struct reactor_page *page = &run->page;
    buf_release(&page->place);
    if (!page->read) return;
    docs_read_close(page->read);
    page->read = NULL;
    hub_view_release(run->reactor->hub, &page->lease);
}

/* Which range, and where in it. */
static struct buf host_place(struct slice view, const struct docs_range *range, struct slice cursor)
{
    struct buf place = {0};
    struct slice parts[] = {view, range->index, range->min, range->max, cursor};
    for (size_t at = 0; at < sizeof parts / sizeof *parts; at++) {
        buf_put_varint(&place, parts[at].size);
        buf_put_slice(&place, parts[at]);
    }
    return place;
}

static int host_page_open(struct reactor_run *run, struct slice view, const struct docs_range *range,
                          struct fault *fault)
{
    struct reactor_page *page = &run->page;
    reactor_page_close(run);
    if (hub_view_lease(run->reactor->hub, view, &page->lease, fault) < 0) return -1;
    if (docs_read_open(page->lease.docs, range, &page->read, fault) == 0) return 0;
    page->read = NULL;
    hub_view_release(run->reactor->hub, &page->lease);
    return -1;
}

static int host_view_range(void *user, struct slice view, struct slice index, struct slice min,
                           struct slice max, struct buf *cursor, size_t limit, struct buf *pairs,
                           struct fault *fault)
{
    struct reactor_run *run = user;
    struct reactor_page *page = &run->page;
    struct slice key, value;
    struct docs_range range = {
        .tenant = run->tenant, .index = index, .min = min, .max = max, .after = buf_slice(cursor)};
    struct buf place = host_place(view, &range, buf_slice(cursor));
    bool goes_on = page->read && slice_equal(buf_slice(&place), buf_slice(&page->place));
    buf_release(&place);
    if (!goes_on && host_page_open(run, view, &range, fault) < 0) return -1;
    int more = 1;
    for (size_t left = limit; left && pairs->size < HOST_PAGE_SIZE_MAX &&
                              (more = docs_read_next(page->read, &key, &value, fault)) == 1;
         left--) {
        mp_put_text(pairs, key);
        buf_put_slice(pairs, value);
    }
    if (more != 1) {
        reactor_page_close(run);
        return more;
    }
    buf_clear(cursor);
    docs_cursor(page->read, cursor);
    buf_release(&page->place);
    page->place = host_place(view, &range, buf_slice(cursor));
    return 1;
}

static int64_t host_now_ms(void *user)
{
    return clock_now_ms(((struct reactor_run *)user)->reactor->hub->clock);
}

static bool host_secret(void *user, struct slice name, struct buf *value)
{
    return secrets_get(((struct reactor_run *)user)->reactor->secrets, name, value);
}

static void host_log(void *user, int level, struct slice text)
{
    if (level == SAY_ERROR)
        say_error("%.*s", SLICE_ARGS(text));
    else if (level == SAY_WARN)
        say_warn("%.*s", SLICE_ARGS(text));
    else
        say_info("%.*s", SLICE_ARGS(text));
}

void reactor_host_init(struct reactor_run *run)
{
    run->host = (struct domain_host){.user = run,
                                     .view_get = host_view_get,
                                     .view_range = host_view_range,
                                     .now_ms = host_now_ms,
                                     .secret = host_secret,
                                     .log = host_log};
}

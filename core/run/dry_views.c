/* What the events would do to documents: each projection with a handler for one of them is folded on, from
 * the documents that answer now, in drafts that nobody writes. */
#include "run/dry_inside.h"

#include "base/mem.h"
#include "codec/json.h"
#include "run/past_read.h"

enum { DRY_DOCUMENTS_MAX = 100000, DRY_KEYS_FAILED_MAX = 10000 };

struct dry_document {        /* as it is when the view has caught up with the log */
    struct slice key, value; /* value empty: there is none */
};

struct dry_view {
    struct dry *dry;
    const struct domain_projection *declared;
    struct docs_read *read; /* as the view answers */
    struct drafts *drafts;
    struct map caught_up; /* documents that change before the view is at the head */
    bool is_at_head;
    bool ended; /* it stopped, or failed as a whole: nothing more is asked of it */
};

static int dry_load(void *user, struct slice key, struct buf *out, struct fault *fault)
{
    struct dry_view *view = user;
    struct dry_document *document = map_find(&view->caught_up, key);
    struct slice value = document ? document->value : SLICE_NONE;
    int found = document ? value.size > 0 : docs_read_get(view->read, key, &value, fault);
    if (found > 0) buf_put_slice(out, value);
    return found;
}

static void dry_keep(struct dry_view *view, struct slice key, struct slice value)
{
    struct arena *arena = &view->dry->arena;
    struct dry_document *document = map_find(&view->caught_up, key);
    if (!document) {
        document = arena_zero(arena, sizeof *document);
        document->key = arena_copy(arena, key);
        map_put(&view->caught_up, document->key, document);
    }
    document->value = value.size ? arena_copy(arena, value) : SLICE_NONE;
}

static int dry_put_document(void *user, struct slice key, struct slice value, struct fault *fault)
{
    struct dry_view *view = user;
    struct buf before = {0}, *out = &view->dry->documents;
    if (!view->is_at_head) {
        dry_keep(view, key, value);
        return 0;
    }
    int found = dry_load(view, key, &before, fault);
    if (found >= 0 && !slice_equal(buf_slice(&before), value)) {
        dry_put(out);
        json_put_text_member(out, "view", view->declared->name);
        json_put_text_member(out, "key", key);
        if (before.size) json_put_mp_member(out, "before", buf_slice(&before));
        if (value.size) json_put_mp_member(out, "after", value);
        buf_put_byte(out, '}');
    }
    buf_release(&before);
    return found < 0 ? -1 : 0;
}

static bool dry_is_broken(const struct fault *fault)
{
    return fault->code == FAULT_DISK || fault->code == FAULT_CORRUPT || fault->code == FAULT_UNAVAILABLE;
}

static void dry_end(struct dry_view *view, struct slice key, const struct fault *fault)
{
    dry_put_failure(view->dry, view->declared->name, key, fault);
    view->ended = true;
}

/* Keys that are parked stay as they are. */
static void dry_park(struct dry_view *view, int handler, const struct envelope *envelope, struct slice data)
{
    const struct slice *keys;
    size_t count;
    struct fault ignored; /* folding tells it */
    struct buf parked = {0};
    if (!view->declared->keyed) return;
    domain_set_exact(view->dry->question->domain, false);
    if (drafts_keys(view->drafts, handler, envelope, data, &keys, &count, &ignored) == 0)
        for (size_t at = 0; at < count; at++)
            if (hub_view_parked(view->read, view->dry->question->tenant, keys[at], &parked))
                drafts_park(view->drafts, keys[at]);
    domain_set_exact(view->dry->question->domain, true);
    buf_release(&parked);
}

/* -1: what has nothing to do with the script. */
static int dry_fold(struct dry_view *view, int handler, const struct envelope *envelope, struct slice data,
                    struct fault *fault)
{
    dry_park(view, handler, envelope, data);
    for (int tries = 0; tries < DRY_KEYS_FAILED_MAX; tries++) {
        enum drafts_failure failure = DRAFTS_NONE;
        struct buf key = {0};
        int done = drafts_fold(view->drafts, handler, envelope, data, &failure, &key, fault);
        if (done < 0 && failure == DRAFTS_KEY) {
            if (view->is_at_head) dry_put_failure(view->dry, view->declared->name, buf_slice(&key), fault);
            drafts_park(view->drafts, buf_slice(&key));
        }
        buf_release(&key);
        if (done == 0 || failure == DRAFTS_KEY) {
            if (done == 0) return 0;
            continue;
        }
        if (failure == DRAFTS_NONE && dry_is_broken(fault)) return -1;
        dry_end(view, SLICE_NONE, fault);
        return 0;
    }
    return 0;
}

static int dry_flush(struct dry_view *view, struct fault *fault)
{
    enum drafts_failure failure = DRAFTS_NONE;
    struct buf key = {0};
    int done = view->ended ? 0 : drafts_flush(view->drafts, dry_put_document, view, &failure, &key, fault);
    if (done < 0 && !(failure == DRAFTS_NONE && dry_is_broken(fault))) {
        dry_end(view, buf_slice(&key), fault);
        done = 0;
    }
    buf_release(&key);
    return done;
}

static int dry_goes_on(const struct dry *dry, struct fault *fault)
{
    const struct dry_question *question = dry->question;
    if (question->cancelled && atomic_load(question->cancelled))
        return fault_set(fault, FAULT_CANCELLED, "cancelled");
    if (question->until_ns && clock_monotonic_ns() > question->until_ns)
        return fault_set(fault, FAULT_BUDGET, "a view is too far behind the log for what was asked");
    return 0;
}

/* From where the view is to the head. */
static int dry_catch_up(struct dry_view *view, struct fault *fault)
{
    const struct dry_question *question = view->dry->question;
    uint64_t position = hub_view_position(view->read, question->tenant);
    if (position >= view->dry->head) return 0;
    struct past_read_from from = {.engine = question->hub->engine,
                                  .projection = view->declared,
                                  .tenant = question->tenant,
                                  .bound = {.position = view->dry->head, .at_ms = INT64_MAX}};
    struct past_read *read = past_read_new(&from);
    struct past_event event;
    int more = past_read_seek(read, position, fault);
    while (more >= 0 && !view->ended && (more = past_read_next(read, &event, fault)) > 0) {
        if (dry_goes_on(view->dry, fault) < 0) {
            more = -1;
            break;
        }
        if (more == 2) continue;
        if (*event.handler < 0)
            *event.handler = drafts_handler(view->drafts, event.envelope.context, event.envelope.type);
        more = dry_fold(view, *event.handler, &event.envelope, event.data, fault);
    }
    past_read_free(read);
    return more < 0 ? -1 : dry_flush(view, fault);
}

static int dry_fold_new(struct dry_view *view, struct fault *fault)
{
    struct dry *dry = view->dry;
    view->is_at_head = true;
    for (size_t at = 0; at < dry->commit.event_count && !view->ended; at++) {
        struct envelope envelope = dry_envelope(dry, at);
        int handler = drafts_handler(view->drafts, envelope.context, envelope.type);
        if (handler >= 0 && dry_fold(view, handler, &envelope, dry->commit.events[at].data, fault) < 0)
            return -1;
    }
    return dry_flush(view, fault);
}

static int dry_view(struct dry *dry, int projection, struct docs *docs, struct fault *fault)
{
    const struct dry_question *question = dry->question;
    struct dry_view view = {.dry = dry, .declared = domain_projection(question->domain, projection)};
    struct docs_range range = {.tenant = question->tenant};
    if (docs_read_open(docs, &range, &view.read, fault) < 0) return -1;
    struct drafts_options options = {.projection = projection,
                                     .tenant = question->tenant,
                                     .load = dry_load,
                                     .user = &view,
                                     .size_max = DRY_DOCUMENTS_MAX};
    view.drafts = drafts_new(question->domain, &options);
    int done = dry_catch_up(&view, fault);
    if (done == 0 && !view.ended) done = dry_fold_new(&view, fault);
    drafts_free(view.drafts);
    docs_read_close(view.read);
    map_release(&view.caught_up);
    return done;
}

/* The documents that answer were made by these very scripts; else nothing can be said of what comes next. */
static bool dry_is_current(struct hub *hub, struct slice name, struct fault *fault)
{
    struct view_info info;
    for (size_t at = 0; at < hub_view_count(hub); at++) {
        if (!hub_view_info(hub, at, &info) || !slice_is(name, info.name)) continue;
        if (!info.rebuilding) return true;
        fault_set(fault, FAULT_UNAVAILABLE, "it is being built again: %s", info.reason);
        return false;
    }
    fault_set(fault, FAULT_UNAVAILABLE, "this hub does not keep it");
    return false;
}

int dry_views(struct dry *dry, struct fault *fault)
{
    const struct dry_question *question = dry->question;
    for (size_t at = 0; at < domain_projection_count(question->domain); at++) {
        const struct domain_projection *declared = domain_projection(question->domain, (int)at);
        struct view_lease lease;
        struct fault why;
        bool takes = false;
        for (size_t type = 0; type < declared->event_count; type++)
            for (size_t event = 0; event < dry->commit.event_count; event++)
                takes = takes || dry_is_event(dry, event, declared->events[type]);
        if (!takes) continue;
        if (dry_goes_on(dry, fault) < 0) return -1;
        if (!dry_is_current(question->hub, declared->name, &why) ||
            hub_view_lease(question->hub, declared->name, &lease, &why) < 0) {
            dry_put_failure(dry, declared->name, SLICE_NONE, &why);
            continue;
        }
        int done = dry_view(dry, (int)at, lease.docs, fault);
        hub_view_release(question->hub, &lease);
        if (done < 0) return -1;
    }
    return 0;
}

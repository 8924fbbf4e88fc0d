/* Views and documents. Like the events they are read in pieces, each with a lease and a snapshot of its own;
 * what is kept between two pieces is the cursor. The position that a listing gives is that of its first
 * piece: everything up to it is in the listing. */
#include "net/api.h"

#include "codec/json.h"
#include "codec/order.h"
#include "codec/text.h"
#include "net/problem.h"
#include "net/target.h"

static void put_document(struct call *call, struct slice key, struct slice value, struct buf *out)
{
    struct view_call *view = &call->view;
    if (call->format == API_JSON && !view->page.is_first) buf_put_byte(out, ',');
    view->page.is_first = false;
    buf_put_byte(out, '{');
    json_put_text_member(out, "key", key);
    json_put_mp_member(out, "document", value);
    buf_put_byte(out, '}');
    if (call->format == API_NDJSON) buf_put_byte(out, '\n');
}

/* A view that is being built is another matter than a hub that takes nothing: it is told with the time left.
 */
static int take_lease(struct call *call, struct slice name, struct view_lease *lease, struct fault *fault)
{
    *lease = (struct view_lease){0};
    if (hub_view_lease(call->net->hub, name, lease, fault) == 0) return 0;
    if (lease->building) {
        fault->code = FAULT_REBUILDING;
        call->retry_ms = (int64_t)(lease->seconds_left * 1000);
    }
    return -1;
}

struct piece {
    bool yielded;  /* cut short: go on at cursor */
    bool has_more; /* the limit was met and there is more at cursor */
    struct buf cursor;
};

static int read_documents(struct call *call, struct docs_read *read, struct piece *piece, struct buf *out)
{
    struct view_call *view = &call->view;
    int64_t deadline_ns = clock_monotonic_ns() + API_SLICE_NS;
    struct slice key, value;
    int found = 1;
    for (uint32_t seen = 1; view->page.limit > 0; seen++) {
        found = docs_read_next(read, &key, &value, &call->net->fault);
        if (found <= 0) return found;
        put_document(call, key, value, out);
        view->page.limit--;
        bool is_late = (seen & 63) == 0 && clock_monotonic_ns() > deadline_ns;
        if (view->page.limit > 0 && (out->size >= API_PIECE_SIZE || is_late)) {
            docs_cursor(read, &piece->cursor);
            piece->yielded = true;
            return 0;
        }
    }
    docs_cursor(read, &piece->cursor);
    found = docs_read_next(read, &key, &value, &call->net->fault);
    piece->has_more = found > 0;
    return found < 0 ? -1 : 0;
}

/* The documents of the view, of now or of the past. */
static int lease_documents(struct call *call, struct view_lease *lease)
{
    struct past_query *past = call->view.past;
    if (!past) return take_lease(call, call->match.name, lease, &call->net->fault);
    *lease = (struct view_lease){.docs = hub_past_docs(past->documents), .position = past->position};
    return 0;
}

static void release_documents(struct call *call, struct view_lease *lease)
{
    if (!call->view.past) hub_view_release(call->net->hub, lease);
}

static int read_piece(struct call *call, struct piece *piece, struct buf *out)
{
    struct view_call *view = &call->view;
    struct view_lease lease;
    struct docs_read *read;
    if (lease_documents(call, &lease) < 0) return -1;
    int done = docs_read_open(lease.docs, &view->range, &read, &call->net->fault);
    if (done == 0) {
        if (!view->page.has_begun)
            view->position = view->past ? lease.position : hub_view_position(read, call->match.tenant);
        if (!view->page.has_begun && call->format == API_JSON) buf_put_text(out, "{\"documents\":[");
        view->page.has_begun = true;
        done = read_documents(call, read, piece, out);
        docs_read_close(read);
    }
    release_documents(call, &lease);
    return done;
}

static enum server_pull pull(void *user, struct buf *out)
{
    struct call *call = user;
    struct view_call *view = &call->view;
    struct piece piece = {0};
    if (read_piece(call, &piece, out) < 0) {
        buf_release(&piece.cursor);
        return SERVER_CUT;
    }
    buf_release(&view->cursor); /* range.after was borrowed from it */
    view->cursor = piece.cursor;
    view->range.after = buf_slice(&view->cursor);
    if (piece.yielded) return SERVER_MORE;
    if (call->format == API_JSON) {
        buf_put_byte(out, ']');
        if (piece.has_more) json_put_text_member(out, "cursor", buf_slice(&view->cursor));
        json_put_int_member(out, "position", (int64_t)view->position);
        if (view->past) json_put_int_member(out, "folded", (int64_t)view->past->folded);
        buf_put_text(out, "}\n");
    }
    return SERVER_END;
}

void api_view_list(struct call *call)
{
    api_pull(call, pull);
}

/* {"key","document","position","parked"?} */
static void put_one(struct call *call, struct docs_read *read, struct slice value, struct buf *out)
{
    buf_put_byte(out, '{');
    json_put_text_member(out, "key", call->match.key);
    json_put_mp_member(out, "document", value);
    json_put_int_member(out, "position", (int64_t)hub_view_position(read, call->match.tenant));
    struct buf parked = {0};
    if (hub_view_parked(read, call->match.tenant, call->match.key, &parked)) {
        json_put_name(out, "parked");
        buf_put_slice(out, buf_slice(&parked));
    }
    buf_release(&parked);
    buf_put_text(out, "}\n");
}

/* A key whose first event already failed has no document, but the reader should know why. */
static void put_none(struct call *call, struct docs_read *read, struct buf *out)
{
    struct buf parked = {0};
    bool is_parked = hub_view_parked(read, call->match.tenant, call->match.key, &parked);
    problem_begin(out, 404, "not_found",
                  slice_of(is_parked ? "no document with this key: its first event failed and it is parked"
                                     : "no document with this key"));
    json_put_int_member(out, "position", (int64_t)hub_view_position(read, call->match.tenant));
    if (is_parked) {
        json_put_name(out, "parked");
        buf_put_slice(out, buf_slice(&parked));
    }
    buf_release(&parked);
    problem_end(out);
}

static int read_one(struct call *call, int *found, struct buf *out)
{
    struct view_lease lease;
    struct docs_read *read;
    struct slice value;
    if (take_lease(call, call->match.name, &lease, &call->net->fault) < 0) return -1;
    int done = docs_read_open(lease.docs, &call->view.range, &read, &call->net->fault);
    if (done == 0) {
        *found = docs_read_get(read, call->match.key, &value, &call->net->fault);
        if (*found > 0)
            put_one(call, read, value, out);
        else if (*found == 0)
            put_none(call, read, out);
        else
            done = -1;
        docs_read_close(read);
    }
    hub_view_release(call->net->hub, &lease);
    return done;
}

static void answer(struct call *call)
{
    int found = 0;
    if (call->match.route == ROUTE_VIEW)
        api_pull(call, pull);
    else if (read_one(call, &found, api_out(call)) < 0)
        api_fault_retry(call, &call->net->fault, call->retry_ms);
    else
        api_reply(call, found ? 200 : 404);
}

/* --- waiting for a position --- */

/* 1: the view has seen it; 0: not yet; -1: it never will (net->fault). */
static int has_seen(struct call *call, uint64_t *position)
{
    struct view_lease lease;
    struct fault fault;
    *position = 0;
    if (take_lease(call, call->match.name, &lease, &fault) < 0) {
        if ((fault.code == FAULT_UNAVAILABLE || fault.code == FAULT_REBUILDING) && call->view.wanted)
            return 0;
        call->net->fault = fault;
        return -1;
    }
    *position = lease.position;
    hub_view_release(call->net->hub, &lease);
    if (*position >= call->view.wanted) return 1;
    hub_view_hurry(call->net->hub, call->view.wanted);
    return 0;
}

static void answer_lagging(struct call *call, uint64_t position)
{
    struct buf *out = api_out(call);
    struct slice detail = arena_format(api_arena(call), "the view is at position %llu, not yet at %llu",
                                       (unsigned long long)position, (unsigned long long)call->view.wanted);
    problem_begin(out, 503, "lagging", detail);
    json_put_int_member(out, "position", (int64_t)position);
    problem_end(out);
    exchange_put_header(call->exchange, "Retry-After", slice_of("1"));
    api_reply(call, 503);
}

/* Answers if it can; else false. */
static bool try_answer(struct call *call, bool is_over)
{
    uint64_t position;
    int seen = has_seen(call, &position);
    if (seen < 0)
        api_fault_retry(call, &call->net->fault, call->retry_ms);
    else if (seen > 0)
        answer(call);
    else if (is_over)
        answer_lagging(call, position);
    else
        return false;
    return true;
}

static void on_timer(uv_timer_t *timer)
{
    api_views_moved(timer->data);
}

void api_views_moved(struct net *net)
{
    int64_t now_ms = (int64_t)uv_now(net->options.loop), next_ms = INT64_MAX;
    struct call *next;
    for (struct call *call = net->waits.first; call; call = next) {
        next = call->next;
        int64_t deadline_ms = call->view.deadline_ms;
        if (try_answer(call, net->is_stopping || net->paused || now_ms >= deadline_ms))
            api_list_remove(call);
        else if (deadline_ms < next_ms)
            next_ms = deadline_ms;
    }
    if (net->waits.first && !net->is_stopping && !net->paused)
        uv_timer_start(&net->waits_timer, on_timer, (uint64_t)(next_ms - now_ms), 0);
    else
        uv_timer_stop(&net->waits_timer);
}

void api_views_stop(struct net *net)
{
    api_views_moved(net);
}

/* --- the question --- */

static int read_wait(struct call *call)
{
    struct view_call *view = &call->view;
    if (query_number(&call->query, "wait", 0, &view->wanted, &call->net->fault) < 0) return -1;
    int64_t timeout_ms = API_WAIT_MS;
    struct slice text;
    if (query_find(&call->query, "timeout", &text) && !target_duration(text, &timeout_ms))
        return fault_set(&call->net->fault, FAULT_MALFORMED,
                         "timeout=%.*s: expected seconds, or a duration like 500ms or 5s", SLICE_ARGS(text));
    if (timeout_ms > API_WAIT_MS_MAX) timeout_ms = API_WAIT_MS_MAX;
    view->deadline_ms = api_now_ms(call) + timeout_ms;
    return 0;
}

static int read_bound(struct call *call, const char *name, struct slice *bound)
{
    struct slice text;
    if (!query_find(&call->query, name, &text)) return 0;
    if (!call->view.range.index.size)
        return fault_set(&call->net->fault, FAULT_MALFORMED, "%s needs an index: ?index=FIELD&%s=...", name,
                         name);
    struct buf value = {0};
    order_query(&value, text);
    *bound = arena_copy(api_arena(call), buf_slice(&value));
    buf_release(&value);
    return 0;
}

static int read_range(struct call *call)
{
    struct view_call *view = &call->view;
    static const char *const names[] = {"index", "min",  "max",     "limit", "cursor",
                                        "at",    "wait", "timeout", NULL};
    if (query_only(&call->query, names, &call->net->fault) < 0) return -1;
    query_find(&call->query, "index", &view->range.index);
    query_find(&call->query, "cursor", &view->range.after);
    if (read_bound(call, "min", &view->range.min) < 0 || read_bound(call, "max", &view->range.max) < 0)
        return -1;
    return api_limit(call, call->format == API_JSON ? API_LIMIT_DEFAULT : UINT64_MAX, &view->page.limit);
}

/* /views/a/b: the view a/b if there is one, else the document b of the view a. */
static void choose_reading(struct call *call)
{
    struct view_lease lease;
    struct fault fault;
    if (!call->match.short_name.size || call->match.route != ROUTE_VIEW) return;
    if (hub_view_lease(call->net->hub, call->match.name, &lease, &fault) == 0) {
        hub_view_release(call->net->hub, &lease);
        return;
    }
    if (fault.code != FAULT_NOT_FOUND) return;
    if (hub_view_lease(call->net->hub, call->match.short_name, &lease, &fault) == 0)
        hub_view_release(call->net->hub, &lease);
    else if (fault.code == FAULT_NOT_FOUND)
        return;
    call->match.route = ROUTE_DOCUMENT;
    call->match.name = call->match.short_name;
    call->match.key = call->match.short_key;
}

void api_view_take(struct call *call)
{
    struct view_call *view = &call->view;
    choose_reading(call);
    if (call->format == API_EVENT_STREAM || call->match.route == ROUTE_DOCUMENT) call->format = API_JSON;
    view->range.tenant = call->match.tenant;
    view->page.is_first = true;
    bool is_list = call->match.route == ROUTE_VIEW;
    static const char *const names[] = {"at", "wait", "timeout", NULL};
    int read = is_list ? read_range(call) : query_only(&call->query, names, &call->net->fault);
    if (read < 0 || read_wait(call) < 0) {
        api_fault(call, &call->net->fault);
        return;
    }
    struct slice at;
    if (query_find(&call->query, "at", &at)) {
        api_past_take(call);
        return;
    }
    if (try_answer(call, false)) return;
    api_list_put(&call->net->waits, call);
    api_views_moved(call->net); /* arms the timer, and sees what moved since try_answer */
}

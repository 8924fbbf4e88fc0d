/* Views and documents as they were: ?at=. The hub folds them on a thread of its own; a document comes back
 * whole, a view as a store of its own that is read like the view of now and goes away with the exchange.
 * Meanwhile nothing is read from the connection, so that the client left is looked for now and then. */
#include "net/api.h"

#include "codec/json.h"
#include "net/problem.h"

/* {"key","document","position","parked"?,"folded"} */
static void put_document(const struct past_query *past, struct buf *out)
{
    buf_put_byte(out, '{');
    json_put_text_member(out, "key", past->key);
    json_put_mp_member(out, "document", buf_slice(&past->document));
    json_put_int_member(out, "position", (int64_t)past->position);
    if (past->parked.size) {
        json_put_name(out, "parked");
        buf_put_slice(out, buf_slice(&past->parked));
    }
    json_put_int_member(out, "folded", (int64_t)past->folded);
    buf_put_text(out, "}\n");
}

static void put_none(const struct past_query *past, struct buf *out)
{
    problem_begin(out, 404, "not_found",
                  slice_of(past->parked.size
                               ? "no document with this key then: its first event failed and it is parked"
                               : "no document with this key then"));
    json_put_int_member(out, "position", (int64_t)past->position);
    if (past->parked.size) {
        json_put_name(out, "parked");
        buf_put_slice(out, buf_slice(&past->parked));
    }
    json_put_int_member(out, "folded", (int64_t)past->folded);
    problem_end(out);
}

static void answer(struct call *call)
{
    struct past_query *past = call->view.past;
    api_list_remove(call);
    if (past->fault.code != FAULT_NONE) {
        api_fault(call, &past->fault);
    } else if (call->match.route == ROUTE_VIEW) {
        api_view_list(call);
    } else {
        if (past->found)
            put_document(past, api_out(call));
        else
            put_none(past, api_out(call));
        api_reply(call, past->found ? 200 : 404);
    }
}

/* On a thread of the hub's. */
static void on_done(struct past_query *past)
{
    api_finish(past->user);
}

static int ask(struct call *call, struct fault *fault)
{
    struct past_query *past = arena_zero(api_arena(call), sizeof *past);
    struct slice ignored;
    if (query_find(&call->query, "wait", &ignored) || query_find(&call->query, "timeout", &ignored))
        return fault_set(fault, FAULT_MALFORMED, "at and wait exclude each other");
    if (api_moment(call, "at", &past->moment, fault) < 0) return -1;
    past->tenant = call->match.tenant;
    past->view = call->match.name;
    past->key = call->match.route == ROUTE_DOCUMENT ? call->match.key : SLICE_NONE;
    past->done = on_done;
    past->user = call;
    call->resume = answer;
    call->view.past = past;
    if (hub_query_past(call->net->hub, past, fault) == 0) return 0;
    call->view.past = NULL;
    return -1;
}

void api_past_take(struct call *call)
{
    struct fault fault;
    /* However soon the answer is there, it is looked at in a later turn, when the call is in the list. */
    if (ask(call, &fault) < 0)
        api_fault(call, &fault);
    else
        api_list_put(&call->net->pasts, call);
}

void api_past_beat(struct net *net)
{
    for (struct call *call = net->pasts.first; call; call = call->next)
        if (exchange_is_left(call->exchange)) atomic_store(&call->view.past->stop, true);
}

void api_past_end(struct call *call)
{
    if (call->view.past) hub_past_release(call->net->hub, call->view.past);
}

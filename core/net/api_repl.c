/* DESIGN. Questions in Lua: POST /v1/{tenant}/repl, one JSON object in, lines of JSON out as they come.
 *
 *   loop: read_body ─► hub_session_ask ─► stream ◄─ pull ◄─┐
 *                              │                           │ moved: a flag and one wake-up of the loop
 *   the session's thread:      └─► evaluates ─► lines ─────┘   (bounded: it waits while nobody reads)
 *
 *  1. Everything that is refused is refused at once, with a status: behind that an evaluation always streams.
 *  2. What is asked is a session_call, on the heap: the session's thread may be at work for a call whose
 * client has left. That is looked at every 25 ms, since a connection at work is not read, and cancels the
 * evaluation. */
#include "net/api.h"

#include <stdio.h>

#include "codec/json.h"
#include "codec/mp.h"
#include "net/body.h"
#include "net/problem.h"
#include "run/session.h"

enum {
    SOURCE_SIZE_MAX = 1 << 20,
    LEFT_EVERY_MS = 25, /* a client that leaves ends its evaluation within 100 ms */
    ROWS_DEFAULT = 20
};

/* --- the body --- */

struct repl_body {
    bool open, close, cancel, has_write, write, has_rows;
    struct slice session, source, complete, help; /* data NULL: not given */
    uint64_t rows;
};

static const char body_members[] = "open, session, source, rows, complete, help, write, cancel, close";

static int read_flag(const struct mp_value *value, const char *name, bool *flag, struct fault *fault)
{
    if (value->kind != MP_BOOL) return fault_set(fault, FAULT_MALFORMED, "%s is true or false", name);
    *flag = value->boolean;
    return 0;
}

static int read_text(const struct mp_value *value, const char *name, size_t size_max, struct slice *text,
                     struct fault *fault)
{
    if (value->kind != MP_TEXT) return fault_set(fault, FAULT_MALFORMED, "%s is a text", name);
    if (value->text.size > size_max)
        return fault_set(fault, FAULT_TOO_LARGE, "%s has more than %zu bytes", name, size_max);
    *text = value->text;
    return 0;
}

static int read_member(struct slice name, const struct mp_value *value, struct repl_body *body,
                       struct fault *fault)
{
    if (slice_is(name, "open")) return read_flag(value, "open", &body->open, fault);
    if (slice_is(name, "close")) return read_flag(value, "close", &body->close, fault);
    if (slice_is(name, "cancel")) return read_flag(value, "cancel", &body->cancel, fault);
    if (slice_is(name, "write")) {
        body->has_write = true;
        return read_flag(value, "write", &body->write, fault);
    }
    if (slice_is(name, "session")) return read_text(value, "session", RAND_UUID_SIZE, &body->session, fault);
    if (slice_is(name, "source")) return read_text(value, "source", SOURCE_SIZE_MAX, &body->source, fault);
    if (slice_is(name, "complete"))
        return read_text(value, "complete", SOURCE_SIZE_MAX, &body->complete, fault);
    if (slice_is(name, "help")) return read_text(value, "help", SOURCE_SIZE_MAX, &body->help, fault);
    if (!slice_is(name, "rows"))
        return fault_set(fault, FAULT_MALFORMED, "unknown member %.*s: a question has %s",
                         (int)(name.size < 100 ? name.size : 100), name.data, body_members);
    if (value->kind != MP_INT || value->integer < 0)
        return fault_set(fault, FAULT_MALFORMED, "rows is a whole number from 0");
    body->has_rows = true;
    body->rows = (uint64_t)value->integer;
    return 0;
}

/* bytes: the body as MessagePack; what is read points into it. */
static int read_body(struct slice json, struct buf *bytes, struct repl_body *body, struct fault *fault)
{
    struct mp_value map, name, value;
    if (json_to_mp(json, bytes, fault) < 0) return -1;
    struct mp_reader reader = mp_reader_of(buf_slice(bytes));
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP)
        return fault_set(fault, FAULT_MALFORMED, "the body is an object with %s", body_members);
    for (uint32_t left = map.count; left; left--) {
        struct slice whole;
        if (mp_read(&reader, &name) < 0 || mp_take(&reader, &whole) < 0)
            return fault_set(fault, FAULT_MALFORMED, "the body cannot be read");
        struct mp_reader inside = mp_reader_of(whole);
        if (mp_read(&inside, &value) < 0 || read_member(name.text, &value, body, fault) < 0) return -1;
    }
    return 0;
}

/* Which one of the questions it is. */
static int find_kind(const struct repl_body *body, enum session_kind *kind, struct slice *text,
                     struct fault *fault)
{
    bool writes_alone = body->has_write && !body->open;
    int count = body->open + (body->source.data != NULL) + (body->complete.data != NULL) +
                (body->help.data != NULL) + writes_alone + body->cancel + body->close;
    if (count != 1)
        return fault_set(fault, FAULT_MALFORMED,
                         "a question is one of open, source, complete, help, write, cancel, close");
    if (body->has_rows && !body->source.data)
        return fault_set(fault, FAULT_MALFORMED, "rows belongs to a source");
    if (body->open && body->session.data) return fault_set(fault, FAULT_MALFORMED, "open begins a session");
    if (!body->open && !body->source.data && !body->session.data)
        return fault_set(fault, FAULT_MALFORMED, "session: which one?");
    if (body->session.data && body->session.size == 0)
        return fault_set(fault, FAULT_MALFORMED, "session: which one?");
    *text = body->source.data ? body->source : body->complete.data ? body->complete : body->help;
    *kind = body->open            ? SESSION_OPEN
            : body->source.data   ? SESSION_EVALUATE
            : body->complete.data ? SESSION_COMPLETE
            : body->help.data     ? SESSION_HELP
            : writes_alone        ? SESSION_WRITE
                                  : SESSION_CLOSE;
    return 0;
}

/* --- the answer --- */

/* On the session's thread. */
static void on_moved(struct session_call *asked)
{
    struct net *net = asked->user;
    if (!atomic_exchange(&net->repl_moved, true)) uv_async_send(&net->finished_async);
}

static enum server_pull pull(void *user, struct buf *out)
{
    struct call *call = user;
    if (session_call_take(call->session, out)) return SERVER_END;
    return out->size ? SERVER_MORE : SERVER_WAIT;
}

static void reply(struct call *call)
{
    if (!session_call_take(call->session, api_out(call))) return;
    api_list_remove(call);
    if (call->session->fault.code != FAULT_NONE)
        api_fault(call, &call->session->fault);
    else
        exchange_reply(call->exchange, 200, api_content_type(API_NDJSON));
}

void api_repl_moved(struct net *net)
{
    struct call *next;
    if (!atomic_exchange(&net->repl_moved, false)) return;
    for (struct call *call = net->repls.first; call; call = next) {
        next = call->next;
        if (call->session->kind == SESSION_EVALUATE)
            exchange_wake(call->exchange);
        else
            reply(call);
    }
}

static void on_look(uv_timer_t *timer)
{
    struct net *net = timer->data;
    for (struct call *call = net->repls.first; call; call = call->next)
        if (exchange_is_left(call->exchange)) session_call_cancel(call->session);
    if (!net->repls.first) uv_timer_stop(timer);
}

void api_repl_end(struct call *call)
{
    session_call_leave(call->session);
    call->session = NULL;
}

/* --- the route --- */

static int begin(struct call *call, const struct repl_body *body, struct slice actor, struct fault *fault)
{
    struct net *net = call->net;
    enum session_kind kind = SESSION_OPEN;
    struct slice text;
    if (find_kind(body, &kind, &text, fault) < 0) return -1;
    if (body->cancel) {
        if (hub_session_cancel(net->hub, call->match.tenant, body->session, fault) < 0) return -1;
        buf_put_text(api_out(call), "{\"cancelled\":true}\n");
        exchange_reply(call->exchange, 200, api_content_type(API_NDJSON));
        return 0;
    }
    struct session_call *asked = session_call_new(kind, on_moved, net);
    snprintf(asked->tenant, sizeof asked->tenant, "%.*s", SLICE_ARGS(call->match.tenant));
    snprintf(asked->session, sizeof asked->session, "%.*s", SLICE_ARGS(body->session));
    buf_put_slice(&asked->text, text);
    buf_put_slice(&asked->actor, actor);
    asked->rows = body->has_rows ? body->rows : ROWS_DEFAULT;
    asked->write = body->write;
    if (hub_session_ask(net->hub, asked, fault) < 0) {
        session_call_leave(asked);
        return -1;
    }
    call->session = asked;
    api_list_put(&net->repls, call);
    if (!uv_is_active((uv_handle_t *)&net->repl_timer))
        uv_timer_start(&net->repl_timer, on_look, LEFT_EVERY_MS, LEFT_EVERY_MS);
    if (kind == SESSION_EVALUATE)
        exchange_stream(call->exchange, 200, api_content_type(API_NDJSON), pull, call);
    return 0;
}

void api_repl_take(struct call *call)
{
    struct fault *fault = &call->net->fault;
    struct buf bytes = {0};
    struct repl_body body = {0};
    struct slice actor = SLICE_NONE;
    if (!body_is_json(exchange_header(call->exchange, "Content-Type"))) {
        problem_put(api_out(call), 415, "unsupported_media_type",
                    slice_of("Content-Type must be application/json"));
        api_reply(call, 415);
        return;
    }
    if (query_only(&call->query, (const char *const[]){NULL}, fault) < 0 ||
        api_header_actor(call, &actor, fault) < 0 ||
        read_body(exchange_body(call->exchange), &bytes, &body, fault) < 0 ||
        begin(call, &body, actor, fault) < 0)
        api_fault(call, fault);
    buf_release(&bytes);
}

#include "net/api.h"

#include <stdio.h>

#include "base/check.h"
#include "base/say.h"
#include "codec/json.h"
#include "codec/text.h"
#include "net/problem.h"
#include "net/target.h"

struct arena *api_arena(struct call *call)
{
    return exchange_arena(call->exchange);
}

struct buf *api_out(struct call *call)
{
    return exchange_out(call->exchange);
}

int64_t api_now_ms(struct call *call)
{
    return (int64_t)uv_now(call->net->options.loop);
}

void api_finish(struct call *call)
{
    struct net *net = call->net;
    struct call *first = atomic_load_explicit(&net->finished, memory_order_relaxed);
    do {
        call->finished_next = first;
    } while (!atomic_compare_exchange_weak_explicit(&net->finished, &first, call, memory_order_release,
                                                    memory_order_relaxed));
    /* Only the first of a batch needs to wake the loop: it takes all that is there. */
    if (!first) uv_async_send(&net->finished_async);
}

void api_list_put(struct call_list *list, struct call *call)
{
    CHECK(!call->list);
    call->list = list;
    call->previous = NULL;
    call->next = list->first;
    if (call->next) call->next->previous = call;
    list->first = call;
    atomic_fetch_add(&call->net->listening, 1);
}

void api_list_remove(struct call *call)
{
    if (!call->list) return;
    if (call->previous)
        call->previous->next = call->next;
    else
        call->list->first = call->next;
    if (call->next) call->next->previous = call->previous;
    call->list = NULL;
    atomic_fetch_sub(&call->net->listening, 1);
}

/* --- answers --- */

const char *api_content_type(enum api_format format)
{
    switch (format) {
    case API_NDJSON: return "application/x-ndjson";
    case API_EVENT_STREAM: return "text/event-stream";
    default: return "application/json";
    }
}

void api_reply(struct call *call, int status)
{
    exchange_reply(call->exchange, status, status >= 400 ? PROBLEM_TYPE : "application/json");
}

void api_fault(struct call *call, const struct fault *fault)
{
    api_fault_retry(call, fault, 0);
}

void api_fault_retry(struct call *call, const struct fault *fault, int64_t retry_ms)
{
    int status = fault_http_status(fault->code);
    struct buf *out = api_out(call);
    buf_clear(out);
    problem_put_fault(out, fault);
    int64_t retry_s =
        retry_ms > 0 ? (retry_ms + 999) / 1000 : problem_retry_s(status, fault_name(fault->code));
    if (retry_s) {
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)retry_s);
        exchange_put_header(call->exchange, "Retry-After", slice_of(text));
    }
    api_reply(call, status);
}

bool api_is_of_hub(const struct call *call)
{
    return !call->net->paused && call->hub_number == call->net->hub_number;
}

/* An answer that began before the log was cut cannot go on behind that. */
static enum server_pull pull_guarded(void *user, struct buf *out)
{
    struct call *call = user;
    if (api_is_of_hub(call)) return call->pull(call, out);
    return call->format == API_EVENT_STREAM ? SERVER_END : SERVER_CUT;
}

void api_pull(struct call *call, enum server_pull (*pull)(void *user, struct buf *out))
{
    enum server_pull pulled = pull(call, api_out(call));
    call->pull = pull;
    if (pulled == SERVER_CUT)
        api_fault_retry(call, &call->net->fault, call->retry_ms);
    else if (pulled == SERVER_END)
        exchange_reply(call->exchange, 200, api_content_type(call->format));
    else
        exchange_stream(call->exchange, 200, api_content_type(call->format), pull_guarded, call);
}

int api_limit(struct call *call, uint64_t otherwise, uint64_t *limit)
{
    *limit = otherwise;
    return query_number(&call->query, "limit", 1, limit, &call->net->fault);
}

int api_header_actor(struct call *call, struct slice *actor, struct fault *fault)
{
    struct slice text = exchange_header(call->exchange, "Actor");
    if (!text.data) return 0;
    if (text.size > 200 || !text_is_utf8(text))
        return fault_set(fault, FAULT_MALFORMED, "Actor: at most 200 bytes of UTF-8");
    *actor = arena_copy(api_arena(call), text);
    return 0;
}

int api_moment(struct call *call, const char *name, struct moment *moment, struct fault *fault)
{
    struct slice text;
    struct fault none;
    if (!query_find(&call->query, name, &text)) return 0;
    if (moment_parse(text, moment, &none) == 0) return 1;
    return fault_set(fault, FAULT_MALFORMED, "%s=%s (a '+' is %%2B)", name, none.text);
}

/* --- taking a request --- */

/* The first media type of Accept that we can make decides; weights are not looked at. */
static enum api_format read_accept(struct slice accept)
{
    const char *at = accept.data, *end = accept.data + accept.size;
    while (at < end) {
        const char *stop = memchr(at, ',', (size_t)(end - at));
        if (!stop) stop = end;
        while (at < stop && (*at == ' ' || *at == '\t')) at++;
        const char *weight = memchr(at, ';', (size_t)(stop - at));
        struct slice type = slice_make(at, (size_t)((weight ? weight : stop) - at));
        while (type.size && type.data[type.size - 1] == ' ') type.size--;
        if (slice_is(type, "application/x-ndjson")) return API_NDJSON;
        if (slice_is(type, "text/event-stream")) return API_EVENT_STREAM;
        if (slice_is(type, "application/json") || slice_is(type, "*/*")) return API_JSON;
        at = stop + 1;
    }
    return API_JSON;
}

static void take_get(struct call *call)
{
    switch (call->match.route) {
    case ROUTE_HEALTH: api_health_take(call); return;
    case ROUTE_READY: api_ready_take(call); return;
    case ROUTE_METRICS: api_metrics_take(call); return;
    case ROUTE_STATUS: api_status_take(call); return;
    case ROUTE_DEPLOYS: api_deploys_take(call); return;
    case ROUTE_DEPLOY: api_deploy_take(call); return;
    case ROUTE_DEPLOY_SCRIPTS: api_deploy_scripts_take(call); return;
    case ROUTE_EVENTS: api_events_take(call); return;
    case ROUTE_TRACE: api_trace_take(call); return;
    case ROUTE_BLAME: api_blame_take(call); return;
    case ROUTE_VIEW:
    case ROUTE_DOCUMENT: api_view_take(call); return;
    case ROUTE_STREAM: api_state_take(call); return;
    case ROUTE_STREAM_EVENTS: api_stream_events_take(call); return;
    default: CHECK(!"a route without a function");
    }
}

static void take_post(struct call *call)
{
    switch (call->match.route) {
    case ROUTE_REBUILD: api_rebuild_take(call); return;
    case ROUTE_TASK_RUN: api_task_run_take(call); return;
    case ROUTE_RETRY: api_retry_take(call); return;
    case ROUTE_REPL: api_repl_take(call); return;
    case ROUTE_BULK: api_bulk_take(call); return;
    case ROUTE_DEPLOYS: api_deploy_post(call); return;
    case ROUTE_DEPLOY_UNDO: api_deploy_undo_post(call); return;
    case ROUTE_ROLLBACK: api_rollback_take(call); return;
    default: api_command_take(call);
    }
}

/* OPTIONS, and methods that the route does not know. */
static void answer_allowed(struct call *call)
{
    exchange_put_header(call->exchange, "Allow", slice_of(router_allow(call->match.route)));
    if (call->method == METHOD_OPTIONS) {
        exchange_reply(call->exchange, 204, NULL);
        return;
    }
    struct fault fault;
    fault_set(&fault, FAULT_METHOD, "%.*s is not allowed here, only %s",
              SLICE_ARGS(exchange_method(call->exchange)), router_allow(call->match.route));
    api_fault(call, &fault);
}

void api_take(void *user, struct exchange *exchange)
{
    struct call *call = arena_zero(exchange_arena(exchange), sizeof *call);
    *exchange_user(exchange) = call;
    call->net = user;
    call->hub_number = call->net->hub_number;
    call->exchange = exchange;
    call->method = router_method(exchange_method(exchange));
    call->match.route = ROUTE_COUNT;
    struct slice target = exchange_target(exchange), path, query;
    struct fault fault;
    if (call->method == METHOD_OPTIONS && slice_is(target, "*")) {
        exchange_put_header(exchange, "Allow", slice_of("GET, HEAD, POST, OPTIONS"));
        exchange_reply(exchange, 204, NULL);
        return;
    }
    target_split(target, &path, &query);
    if (router_match(path, api_arena(call), &call->match, &fault) < 0 ||
        query_parse(query, api_arena(call), &call->query, &fault) < 0) {
        api_fault(call, &fault);
        return;
    }
    if (call->method == METHOD_OPTIONS || !(router_methods(call->match.route) & call->method)) {
        answer_allowed(call);
        return;
    }
    if (call->net->paused && call->match.route != ROUTE_HEALTH) {
        fault_set(&fault, FAULT_REBUILDING, "the hub is being opened again: its log is rolled back");
        api_fault(call, &fault);
        return;
    }
    if (call->match.tenant.size && !hub_has_tenant(call->net->hub, call->match.tenant)) {
        fault_set(&fault, FAULT_NOT_FOUND, "no tenant %.*s", SLICE_ARGS(call->match.tenant));
        api_fault(call, &fault);
        return;
    }
    if (call->method == METHOD_POST) {
        take_post(call);
    } else {
        call->format = read_accept(exchange_header(exchange, "Accept"));
        take_get(call);
    }
}

void api_end(void *user, struct exchange *exchange, int status)
{
    struct net *net = user;
    struct call *call = *exchange_user(exchange);
    enum route route = call ? call->match.route : ROUTE_COUNT;
    net->answers[route][status >= 100 && status < 600 ? status / 100 : 0]++;
    if (net->options.access_log)
        say_info("%.*s %.*s %d", SLICE_ARGS(exchange_method(exchange)), SLICE_ARGS(exchange_target(exchange)),
                 status);
    if (!call) return;
    if (call->list == &net->tails) net->tail_count--;
    if (call->bulk) api_bulk_end(call);
    if (call->session) api_repl_end(call);
    if (net->rollback == call) net->rollback = NULL;
    api_list_remove(call);
    if (call->command) command_pool_give(&net->commands, call->command);
    if (route == ROUTE_STREAM && call->method != METHOD_POST && call->state) buf_release(&call->state->state);
    if (route == ROUTE_TRACE && call->trace) buf_release(&call->trace->json);
    if (route == ROUTE_BLAME && call->blame) buf_release(&call->blame->json);
    if (route == ROUTE_VIEW) buf_release(&call->view.cursor);
    if (call->deploy) api_deploy_end(call);
    if (route == ROUTE_VIEW || route == ROUTE_DOCUMENT) api_past_end(call);
}

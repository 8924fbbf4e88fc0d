/* Operations: is it alive, is it ready, what does it do, how is it doing. */
#include "net/api.h"

#include <inttypes.h>

#include "codec/json.h"

void api_health_take(struct call *call)
{
    buf_put_text(api_out(call), "{\"status\":\"ok\"}\n");
    api_reply(call, 200);
}

/* Ready: commands are answered; views may lag. */
void api_ready_take(struct call *call)
{
    if (!call->net->is_stopping && hub_ready(call->net->hub)) {
        buf_put_text(api_out(call), "{\"status\":\"ready\"}\n");
        api_reply(call, 200);
        return;
    }
    struct fault fault;
    fault_set(&fault, FAULT_UNAVAILABLE,
              call->net->is_stopping ? "the hub is stopping" : "the hub does not take commands");
    api_fault(call, &fault);
}

static void put_lines_as_array(struct slice lines, struct buf *out)
{
    const char *at = lines.data, *end = lines.data + lines.size;
    bool is_first = true;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        if (stop > at) {
            if (!is_first) buf_put_byte(out, ',');
            is_first = false;
            buf_put(out, at, (size_t)(stop - at));
        }
        at = stop + 1;
    }
}

void api_status_take(struct call *call)
{
    struct fault fault;
    if (query_only(&call->query, (const char *const[]){NULL}, &fault) < 0) {
        api_fault(call, &fault);
        return;
    }
    struct buf *out = api_out(call);
    if (call->format == API_NDJSON) {
        hub_status(call->net->hub, out);
        exchange_reply(call->exchange, 200, api_content_type(API_NDJSON));
        return;
    }
    struct buf lines = {0};
    hub_status(call->net->hub, &lines);
    buf_put_text(out, "{\"status\":[");
    put_lines_as_array(buf_slice(&lines), out);
    buf_put_text(out, "]}\n");
    buf_release(&lines);
    api_reply(call, 200);
}

/* What is done by name goes on behind the answer. */
static void take_name(struct call *call,
                      int (*begin)(struct hub *hub, struct slice name, struct fault *fault), const char *what)
{
    struct fault fault;
    if (begin(call->net->hub, call->match.name, &fault) < 0) {
        api_fault(call, &fault);
        return;
    }
    struct buf *out = api_out(call);
    buf_put_byte(out, '{');
    json_put_text_member(out, what, call->match.name);
    buf_put_text(out, "}\n");
    api_reply(call, 200);
}

void api_rebuild_take(struct call *call)
{
    take_name(call, hub_rebuild, "rebuilding");
}

void api_retry_take(struct call *call)
{
    take_name(call, hub_retry, "retrying");
}

static void put_answers(const struct net *net, struct buf *out)
{
    buf_put_text(out,
                 "# HELP lore_http_requests_total Requests answered, by route and hundreds of the status.\n"
                 "# TYPE lore_http_requests_total counter\n");
    for (int route = 0; route <= ROUTE_COUNT; route++)
        for (int hundred = 0; hundred < 6; hundred++)
            if (net->answers[route][hundred])
                buf_format(out, "lore_http_requests_total{route=\"%s\",status=\"%dxx\"} %" PRIu64 "\n",
                           route == ROUTE_COUNT ? "none" : router_label((enum route)route), hundred,
                           net->answers[route][hundred]);
}

static void put_metric(struct buf *out, const char *name, const char *kind, const char *help, uint64_t value)
{
    buf_format(out, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", name, help, name, kind, name, value);
}

void api_metrics_take(struct call *call)
{
    struct net *net = call->net;
    struct buf *out = api_out(call);
    struct server_counts counts;
    server_count(net->server, &counts);
    hub_metrics(net->hub, out);
    put_answers(net, out);
    put_metric(out, "lore_http_connections", "gauge", "Open connections.", counts.connections);
    put_metric(out, "lore_http_requests_in_flight", "gauge", "Requests taken and not yet answered in full.",
               counts.exchanges);
    put_metric(out, "lore_http_tails", "gauge", "Open event streams.", net->tail_count);
    put_metric(out, "lore_http_connections_accepted_total", "counter", "Connections accepted.",
               counts.accepted);
    put_metric(out, "lore_http_connections_refused_total", "counter", "Connections above the limit.",
               counts.refused);
    put_metric(out, "lore_http_connections_cut_total", "counter",
               "Connections cut because they were too slow.", counts.cut);
    exchange_reply(call->exchange, 200, "text/plain; version=0.0.4; charset=utf-8");
}

#include "net/router.h"

#include "codec/text.h"
#include "net/target.h"

enum {
    SEGMENTS_MAX = 6,
    READS = METHOD_GET | METHOD_HEAD | METHOD_OPTIONS,
    WRITES = METHOD_POST | METHOD_OPTIONS
};

static const struct {
    const char *label;
    unsigned methods;
} routes[ROUTE_COUNT] = {
    [ROUTE_HEALTH] = {"healthz", READS},
    [ROUTE_READY] = {"readyz", READS},
    [ROUTE_METRICS] = {"metrics", READS},
    [ROUTE_STATUS] = {"status", READS},
    [ROUTE_REBUILD] = {"rebuild", WRITES},
    [ROUTE_TASK_RUN] = {"task_run", WRITES},
    [ROUTE_RETRY] = {"retry", WRITES},
    [ROUTE_DEPLOYS] = {"deploys", READS | WRITES},
    [ROUTE_DEPLOY_UNDO] = {"deploy_undo", WRITES},
    [ROUTE_DEPLOY] = {"deploy", READS},
    [ROUTE_DEPLOY_SCRIPTS] = {"deploy_scripts", READS},
    [ROUTE_ROLLBACK] = {"rollback", WRITES},
    [ROUTE_EVENTS] = {"events", READS},
    [ROUTE_BULK] = {"bulk", WRITES},
    [ROUTE_TRACE] = {"trace", READS},
    [ROUTE_BLAME] = {"blame", READS},
    [ROUTE_REPL] = {"repl", WRITES},
    [ROUTE_VIEW] = {"view", READS},
    [ROUTE_DOCUMENT] = {"document", READS},
    [ROUTE_SERVICE] = {"service", WRITES},
    [ROUTE_STREAM] = {"stream", READS | WRITES},
    [ROUTE_STREAM_EVENTS] = {"stream_events", READS},
};

unsigned router_methods(enum route route)
{
    return routes[route].methods;
}

const char *router_label(enum route route)
{
    return routes[route].label;
}

const char *router_allow(enum route route)
{
    switch (routes[route].methods) {
    case READS: return "GET, HEAD, OPTIONS";
    case WRITES: return "POST, OPTIONS";
    default: return "GET, HEAD, POST, OPTIONS";
    }
}

unsigned router_method(struct slice method)
{
    if (slice_is(method, "GET")) return METHOD_GET;
    if (slice_is(method, "POST")) return METHOD_POST;
    if (slice_is(method, "HEAD")) return METHOD_HEAD;
    if (slice_is(method, "OPTIONS")) return METHOD_OPTIONS;
    return 0;
}

/* The parts between slashes, still encoded. "/a/b" has two; "/a/" has "a" and "". -1: too many for any route.
 */
static int split(struct slice path, struct slice segments[SEGMENTS_MAX])
{
    int count = 0;
    const char *at = path.data + 1, *end = path.data + path.size;
    for (;;) {
        const char *stop = at < end ? memchr(at, '/', (size_t)(end - at)) : NULL;
        if (!stop) stop = end;
        if (count == SEGMENTS_MAX) return -1;
        segments[count++] = slice_make(at, (size_t)(stop - at));
        if (stop == end) return count;
        at = stop + 1;
    }
}

static int no_route(struct slice path, struct fault *fault)
{
    return fault_set(fault, FAULT_NOT_FOUND, "no route %.*s", SLICE_ARGS(path));
}

/* Names of contexts, aggregates and views: what is none cannot exist, so it is not found rather than
 * malformed. */
static int take_name(struct slice segment, const char *what, bool (*is)(struct slice), struct arena *arena,
                     struct slice *name, struct fault *fault)
{
    if (target_decode(segment, false, arena, name, fault) < 0) return -1;
    if (!is(*name)) return fault_set(fault, FAULT_NOT_FOUND, "no %s %.*s", what, SLICE_ARGS(*name));
    return 0;
}

static int take_id(struct slice segment, struct arena *arena, struct slice *id, struct fault *fault)
{
    if (target_decode(segment, false, arena, id, fault) < 0) return -1;
    if (!text_is_id(*id))
        return fault_set(
            fault, FAULT_MALFORMED,
            "the id must have 1 to 200 bytes of UTF-8 without control characters and without '/'");
    return 0;
}

static int take_key(struct slice segment, struct arena *arena, struct slice *key, struct fault *fault)
{
    if (target_decode(segment, false, arena, key, fault) < 0) return -1;
    if (!text_is_key(*key))
        return fault_set(fault, FAULT_MALFORMED, "the key must have 1 to 255 bytes of UTF-8");
    return 0;
}

/* "context/name", or the name alone where it is unique. */
static int take_view(const struct slice *segments, int count, struct arena *arena, struct route_match *match,
                     struct fault *fault)
{
    struct slice context = SLICE_NONE, name;
    if (count == 2 && take_name(segments[0], "context", text_is_context, arena, &context, fault) < 0)
        return -1;
    if (take_name(segments[count - 1], "view", text_is_name, arena, &name, fault) < 0) return -1;
    match->context = context;
    match->name = count == 2 ? arena_format(arena, "%.*s/%.*s", SLICE_ARGS(context), SLICE_ARGS(name)) : name;
    return 0;
}

/* /v1/{tenant}/views/{context}/{name}[/{key}], or {name}[/{key}]: rest begins behind "views". */
static int match_view(const struct slice *rest, int count, struct arena *arena, struct route_match *match,
                      struct fault *fault)
{
    match->route = count == 3 ? ROUTE_DOCUMENT : ROUTE_VIEW;
    if (count == 1) return take_view(rest, 1, arena, match, fault);
    if (count == 3 && take_key(rest[2], arena, &match->key, fault) < 0) return -1;
    if (count == 3) return take_view(rest, 2, arena, match, fault);
    if (take_key(rest[1], arena, &match->short_key, fault) < 0 ||
        take_name(rest[0], "view", text_is_name, arena, &match->short_name, fault) < 0)
        return -1;
    if (text_is_name(match->short_key) && text_is_context(match->short_name))
        return take_view(rest, 2, arena, match, fault);
    match->route = ROUTE_DOCUMENT;
    match->name = match->short_name;
    match->key = match->short_key;
    return 0;
}

/* /v1/{tenant}/{context}/{aggregate}[/{id}[/events]]: rest begins with the context. */
static int match_stream(const struct slice *rest, int count, struct arena *arena, struct route_match *match,
                        struct fault *fault)
{
    match->route = count == 2 ? ROUTE_SERVICE : count == 3 ? ROUTE_STREAM : ROUTE_STREAM_EVENTS;
    if (take_name(rest[0], "context", text_is_context, arena, &match->context, fault) < 0) return -1;
    if (take_name(rest[1], count == 2 ? "service" : "aggregate", text_is_name, arena, &match->aggregate,
                  fault) < 0)
        return -1;
    return count > 2 ? take_id(rest[2], arena, &match->id, fault) : 0;
}

static int match_root(struct slice name, struct slice path, struct route_match *match, struct fault *fault)
{
    if (slice_is(name, "healthz"))
        match->route = ROUTE_HEALTH;
    else if (slice_is(name, "readyz"))
        match->route = ROUTE_READY;
    else if (slice_is(name, "metrics"))
        match->route = ROUTE_METRICS;
    else
        return no_route(path, fault);
    return 0;
}

static int match_status(const struct slice *rest, int count, struct slice path, struct arena *arena,
                        struct route_match *match, struct fault *fault)
{
    if (count == 0) {
        match->route = ROUTE_STATUS;
        return 0;
    }
    static const struct {
        const char *name;
        enum route route;
    } by_name[] = {{"rebuild", ROUTE_REBUILD}, {"retry", ROUTE_RETRY}, {"run", ROUTE_TASK_RUN}};
    for (size_t at = 0; at < sizeof by_name / sizeof *by_name && (count == 2 || count == 3); at++) {
        if (!slice_is(rest[0], by_name[at].name)) continue;
        match->route = by_name[at].route;
        return take_view(rest + 1, count - 1, arena, match, fault);
    }
    return no_route(path, fault);
}

/* /v1/deploys[/undo | /{number}[/scripts]] */
static int match_deploys(const struct slice *rest, int count, struct slice path, struct route_match *match,
                         struct fault *fault)
{
    match->route = count == 0 ? ROUTE_DEPLOYS : count == 1 ? ROUTE_DEPLOY : ROUTE_DEPLOY_SCRIPTS;
    if (count == 1 && slice_is(rest[0], "undo")) {
        match->route = ROUTE_DEPLOY_UNDO;
        return 0;
    }
    if (count > 2 || (count == 2 && !slice_is(rest[1], "scripts"))) return no_route(path, fault);
    if (count && !target_number(rest[0], &match->number))
        return fault_set(fault, FAULT_NOT_FOUND, "no deploy %.*s: a deploy has a number",
                         SLICE_ARGS(rest[0]));
    return 0;
}

int router_match(struct slice path, struct arena *arena, struct route_match *match, struct fault *fault)
{
    *match = (struct route_match){.route = ROUTE_COUNT};
    struct slice segments[SEGMENTS_MAX];
    int count = path.size && path.data[0] == '/' ? split(path, segments) : -1;
    if (count < 1) return no_route(path, fault);
    if (count == 1) return match_root(segments[0], path, match, fault);
    if (!slice_is(segments[0], "v1")) return no_route(path, fault);
    if (slice_is(segments[1], "status"))
        return match_status(segments + 2, count - 2, path, arena, match, fault);
    if (slice_is(segments[1], "deploys")) return match_deploys(segments + 2, count - 2, path, match, fault);
    if (slice_is(segments[1], "rollback") && count == 2) {
        match->route = ROUTE_ROLLBACK;
        return 0;
    }
    if (count < 3) return no_route(path, fault);
    if (take_name(segments[1], "tenant", text_is_tenant, arena, &match->tenant, fault) < 0) return -1;

    const struct slice *rest = segments + 2;
    int left = count - 2;
    if (slice_is(rest[0], "events") && left == 1) {
        match->route = ROUTE_EVENTS;
        return 0;
    }
    if (slice_is(rest[0], "trace") && left == 2) {
        match->route = ROUTE_TRACE;
        return take_id(rest[1], arena, &match->id, fault);
    }
    if (slice_is(rest[0], "blame") && left == 1) {
        match->route = ROUTE_BLAME;
        return 0;
    }
    if (slice_is(rest[0], "commands") && left == 1) {
        match->route = ROUTE_BULK;
        return 0;
    }
    if (slice_is(rest[0], "repl") && left == 1) {
        match->route = ROUTE_REPL;
        return 0;
    }
    if (slice_is(rest[0], "views"))
        return left >= 2 && left <= 4 ? match_view(rest + 1, left - 1, arena, match, fault)
                                      : no_route(path, fault);
    if (left < 2 || left > 4 || (left == 4 && !slice_is(rest[3], "events"))) return no_route(path, fault);
    return match_stream(rest, left, arena, match, fault);
}

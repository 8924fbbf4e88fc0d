/* router.h: from a path to a route, its names decoded. The one table of what the hub answers to.
 *
 *     struct route_match match;
 *     if (router_match(path, arena, &match, &fault) < 0) ...         NOT_FOUND, or MALFORMED for a bad id or
 * escape if (!(router_methods(match.route) & METHOD_GET)) ...           405, with router_allow(match.route)
 *
 * A pure function. Threads: any. Owns: nothing; names live in the caller's arena. */
#ifndef LORE_NET_ROUTER_H
#define LORE_NET_ROUTER_H

#include <stdint.h>

#include "base/arena.h"
#include "base/fault.h"
#include "base/slice.h"

enum route {
    ROUTE_HEALTH,
    ROUTE_READY,
    ROUTE_METRICS,
    ROUTE_STATUS,
    ROUTE_REBUILD,  /* name */
    ROUTE_TASK_RUN, /* name */
    ROUTE_RETRY,    /* name: of a receptor, or courier */
    ROUTE_ROLLBACK, /* of the log */
    ROUTE_DEPLOYS,
    ROUTE_DEPLOY_UNDO,
    ROUTE_DEPLOY,         /* number */
    ROUTE_DEPLOY_SCRIPTS, /* number */
    ROUTE_EVENTS,         /* tenant */
    ROUTE_BULK,           /* tenant */
    ROUTE_TRACE,          /* tenant, id */
    ROUTE_BLAME,          /* tenant */
    ROUTE_REPL,           /* tenant */
    ROUTE_VIEW,           /* tenant, name ("context/name") */
    ROUTE_DOCUMENT,       /* tenant, name, key */
    ROUTE_SERVICE,        /* tenant, context, aggregate (the service) */
    ROUTE_STREAM,         /* tenant, context, aggregate, id */
    ROUTE_STREAM_EVENTS,  /* the same */
    ROUTE_COUNT
};

enum method { METHOD_GET = 1, METHOD_HEAD = 2, METHOD_POST = 4, METHOD_OPTIONS = 8 };

struct route_match {
    enum route route;
    struct slice tenant, context, aggregate, id, name, key; /* those that the route has; else empty */
    uint64_t number;                                        /* of a deploy */
    /* /views/a/b is the view a/b, or the document b of the view a where that name is unique: only the hub
     * knows. Then these are the second reading of a ROUTE_VIEW; else empty. */
    struct slice short_name, short_key;
};

int router_match(struct slice path, struct arena *arena, struct route_match *match, struct fault *fault);
unsigned router_methods(enum route route);
const char *router_allow(enum route route); /* "GET, HEAD, OPTIONS" */
const char *router_label(enum route route); /* "stream_events": for the metrics */
/* 0 for a method that no route knows. */
unsigned router_method(struct slice method);

#endif

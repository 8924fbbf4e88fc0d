#include "run/catalog.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/limit.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "run/policy.h"
#include "run/reach.h"

static void catalog_add(struct catalog *catalog, struct map *map, struct slice text)
{
    if (map_find(map, text)) return;
    struct slice *kept = arena_take(&catalog->arena, sizeof *kept);
    *kept = arena_copy(&catalog->arena, text);
    map_put(map, *kept, kept);
}

/* Every limit that hub.lua may set, each a whole number from 1. */
static const char *const catalog_limits[] = {
    "message_size", "document_size",  "batch_commands",  "body_size",
    "headers_size", "connections",    "instructions",    "call_memory",
    "state_memory", "queue_commands", "flush_events",    "rebuild_partition_events",
    "view_lag_ms",  "cache_memory",   "causation_depth", "retries",
    "service_runs", "queue_services", "http_timeout_ms", "http_response_size",
    "past_seconds", "repl_memory",    "repl_seconds",    "repl_idle_seconds"};
static const char *const catalog_options[] = {"tenants", "limits", "upstreams", "deploy", "http", "repl"};

static bool catalog_knows(const char *const *names, size_t count, struct slice name)
{
    for (size_t at = 0; at < count; at++)
        if (slice_is(name, names[at])) return true;
    return false;
}

static int catalog_unknown(const char *what, struct slice name, const char *const *names, size_t count,
                           struct fault *fault)
{
    struct buf list = {0};
    for (size_t at = 0; at < count; at++) buf_format(&list, "%s%s", at ? " " : "", names[at]);
    fault_set(fault, FAULT_SCRIPTS, "hub.lua: there is no %s %.*s: it knows %.*s", what,
              name.size < 80 ? (int)name.size : 80, name.data, SLICE_ARGS(buf_slice(&list)));
    buf_release(&list);
    return -1;
}

static int catalog_check_limits(struct mp_reader *reader, struct fault *fault)
{
    struct mp_value limits, name, value;
    enum { COUNT = sizeof catalog_limits / sizeof *catalog_limits };
    if (mp_read(reader, &limits) < 0 || limits.kind != MP_MAP)
        return fault_set(fault, FAULT_SCRIPTS, "hub.lua: limits is a table like { batch_commands = 100 }");
    for (uint32_t left = limits.count; left; left--) {
        if (mp_read(reader, &name) < 0) return fault_set(fault, FAULT_SCRIPTS, "hub.lua: limits is damaged");
        if (!catalog_knows(catalog_limits, COUNT, name.text))
            return catalog_unknown("limit", name.text, catalog_limits, COUNT, fault);
        if (mp_read(reader, &value) < 0 || value.kind != MP_INT || value.integer < 1)
            return fault_set(fault, FAULT_SCRIPTS, "hub.lua: limits.%.*s: expected a whole number from 1",
                             SLICE_ARGS(name.text));
    }
    return 0;
}

/* What is misspelt must not be silently without effect. */
static int catalog_check_options(struct slice hub_options, struct fault *fault)
{
    struct mp_reader reader = mp_reader_of(hub_options);
    struct mp_value options, name;
    enum { COUNT = sizeof catalog_options / sizeof *catalog_options };
    if (!hub_options.size) return 0; /* no hub.lua */
    if (mp_read(&reader, &options) < 0 || options.kind != MP_MAP)
        return fault_set(fault, FAULT_SCRIPTS, "hub.lua: it must return a table of options");
    for (uint32_t left = options.count; left; left--) {
        if (mp_read(&reader, &name) < 0) return fault_set(fault, FAULT_SCRIPTS, "hub.lua is damaged");
        if (!catalog_knows(catalog_options, COUNT, name.text))
            return catalog_unknown("option", name.text, catalog_options, COUNT, fault);
        if (slice_is(name.text, "limits")) {
            if (catalog_check_limits(&reader, fault) < 0) return -1;
        } else if (slice_is(name.text, "repl")) {
            struct mp_value value;
            if (mp_read(&reader, &value) < 0 || value.kind != MP_BOOL)
                return fault_set(fault, FAULT_SCRIPTS, "hub.lua: repl is true or false");
        } else if (mp_skip(&reader) < 0) {
            return fault_set(fault, FAULT_SCRIPTS, "hub.lua is damaged");
        }
    }
    struct policy policy;
    if (policy_read(&policy, hub_options, fault) < 0) return -1;
    struct reach reach;
    if (reach_init(&reach, hub_options, fault) < 0) return -1;
    reach_release(&reach);
    return 0;
}

/* tenants = "open", or a list of names. */
static int catalog_read_tenants(struct catalog *catalog, struct fault *fault)
{
    catalog_add(catalog, &catalog->tenants, slice_of("main"));
    struct slice bytes;
    if (!mp_find(catalog->hub_options, slice_of("tenants"), &bytes)) return 0;
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    if (mp_read(&reader, &value) < 0) return fault_set(fault, FAULT_SCRIPTS, "hub.lua: tenants is damaged");
    if (value.kind == MP_TEXT && slice_is(value.text, "open")) {
        catalog->tenants_open = true;
        return 0;
    }
    if (value.kind != MP_LIST && !(value.kind == MP_MAP && value.count == 0))
        return fault_set(fault, FAULT_SCRIPTS, "hub.lua: tenants is \"open\" or a list of names");
    for (uint32_t left = value.count; left; left--) {
        struct mp_value tenant;
        if (mp_read(&reader, &tenant) < 0 || tenant.kind != MP_TEXT || !text_is_tenant(tenant.text))
            return fault_set(fault, FAULT_SCRIPTS,
                             "hub.lua: a tenant is a name like \"acme\": [a-z][a-z0-9_-]{0,62}");
        catalog_add(catalog, &catalog->tenants, tenant.text);
    }
    return 0;
}

static void catalog_add_sender(struct catalog *catalog, struct slice name, struct slice context,
                               const struct hash *code)
{
    struct catalog_aggregate *sender = arena_zero(&catalog->arena, sizeof *sender);
    sender->name = arena_copy(&catalog->arena, name);
    sender->context = arena_copy(&catalog->arena, context);
    sender->code = *code;
    sender->index = -1 - (int)catalog->senders.size;
    map_put(&catalog->senders, sender->name, sender);
    catalog_add(catalog, &catalog->contexts, sender->context);
}

static void catalog_add_senders(struct catalog *catalog, const struct domain *domain)
{
    for (size_t at = 0; at < domain_receptor_count(domain); at++) {
        const struct domain_receptor *receptor = domain_receptor(domain, (int)at);
        catalog_add_sender(catalog, receptor->name, receptor->context, &receptor->code);
    }
    for (size_t at = 0; at < domain_service_count(domain); at++) {
        const struct domain_service *service = domain_service(domain, (int)at);
        catalog_add_sender(catalog, service->name, service->context, &service->code);
    }
    for (size_t at = 0; at < domain_task_count(domain); at++) {
        const struct domain_task *task = domain_task(domain, (int)at);
        catalog_add_sender(catalog, task->name, task->context, &task->code);
    }
}

int catalog_init(struct catalog *catalog, const struct domain *domain, struct fault *fault)
{
    catalog->hub_options = arena_copy(&catalog->arena, domain_hub_options(domain));
    if (catalog_check_options(catalog->hub_options, fault) < 0) return -1;
    if (catalog_read_tenants(catalog, fault) < 0) return -1;
    for (size_t at = 0; at < domain_aggregate_count(domain); at++) {
        const struct domain_aggregate *declared = domain_aggregate(domain, (int)at);
        struct catalog_aggregate *aggregate = arena_zero(&catalog->arena, sizeof *aggregate);
        aggregate->name = arena_copy(&catalog->arena, declared->name);
        aggregate->context = arena_copy(&catalog->arena, declared->context);
        aggregate->code = declared->code;
        aggregate->index = (int)at;
        map_put(&catalog->aggregates, aggregate->name, aggregate);
        catalog_add(catalog, &catalog->contexts, aggregate->context);
    }
    for (size_t at = 0; at < domain_projection_count(domain); at++)
        catalog_add(catalog, &catalog->contexts, domain_projection(domain, (int)at)->context);
    catalog_add_senders(catalog, domain);
    return 0;
}

void catalog_keep_senders(struct catalog *catalog, const struct catalog *before)
{
    const struct catalog_aggregate *sender;
    for (size_t at = 0; (sender = map_next(&before->senders, &at));)
        if (!map_find(&catalog->senders, sender->name))
            catalog_add_sender(catalog, sender->name, sender->context, &sender->code);
}

void catalog_release(struct catalog *catalog)
{
    map_release(&catalog->aggregates);
    map_release(&catalog->senders);
    map_release(&catalog->contexts);
    map_release(&catalog->tenants);
    arena_release(&catalog->arena);
}

bool catalog_has_tenant(const struct catalog *catalog, struct slice tenant)
{
    return catalog->tenants_open ? text_is_tenant(tenant) : map_find(&catalog->tenants, tenant) != NULL;
}

static struct catalog_aggregate *catalog_look(const struct map *map, struct slice context, struct slice name)
{
    char full[2 * LIMIT_NAME_SIZE_MAX + 2];
    if (context.size > LIMIT_NAME_SIZE_MAX || name.size > LIMIT_NAME_SIZE_MAX) return NULL;
    int size = snprintf(full, sizeof full, "%.*s/%.*s", SLICE_ARGS(context), SLICE_ARGS(name));
    return map_find(map, slice_make(full, (size_t)size));
}

const struct catalog_aggregate *catalog_find_sender(const struct catalog *catalog, struct slice context,
                                                    struct slice name, struct fault *fault)
{
    const struct catalog_aggregate *found = catalog_look(&catalog->senders, context, name);
    if (!found)
        fault_set(fault, FAULT_NOT_FOUND, "%.*s/%.*s is no receptor, service or task", SLICE_ARGS(context),
                  SLICE_ARGS(name));
    return found;
}

const struct catalog_aggregate *catalog_find(const struct catalog *catalog, struct slice context,
                                             struct slice aggregate, struct fault *fault)
{
    struct catalog_aggregate *found = catalog_look(&catalog->aggregates, context, aggregate);
    if (found) return found;
    if (!map_find(&catalog->contexts, context))
        fault_set(fault, FAULT_NOT_FOUND, "no context %.*s", context.size < 80 ? (int)context.size : 80,
                  context.data ? context.data : "");
    else
        fault_set(fault, FAULT_NOT_FOUND, "context %.*s has no aggregate %.*s", SLICE_ARGS(context),
                  aggregate.size < 80 ? (int)aggregate.size : 80, aggregate.data ? aggregate.data : "");
    return NULL;
}

int64_t catalog_limit(const struct catalog *catalog, const char *name, int64_t otherwise)
{
    struct slice limits, bytes;
    if (!mp_find(catalog->hub_options, slice_of("limits"), &limits) ||
        !mp_find(limits, slice_of(name), &bytes))
        return otherwise;
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    if (mp_read(&reader, &value) < 0 || value.kind != MP_INT || value.integer <= 0) return otherwise;
    return value.integer;
}

bool catalog_has_repl(const struct catalog *catalog)
{
    struct slice bytes;
    struct mp_value value;
    if (!mp_find(catalog->hub_options, slice_of("repl"), &bytes)) return true;
    struct mp_reader reader = mp_reader_of(bytes);
    return mp_read(&reader, &value) < 0 || value.kind != MP_BOOL || value.boolean;
}

#include "run/catalog.h"

#include <stdio.h>

#include "base/limit.h"
#include "codec/mp.h"
#include "codec/text.h"

static void catalog_add(struct catalog *catalog, struct map *map, struct slice text)
{
    if (map_find(map, text)) return;
    struct slice *kept = arena_take(&catalog->arena, sizeof *kept);
    *kept = arena_copy(&catalog->arena, text);
    map_put(map, *kept, kept);
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

int catalog_init(struct catalog *catalog, const struct domain *domain, struct fault *fault)
{
    catalog->hub_options = arena_copy(&catalog->arena, domain_hub_options(domain));
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
    return 0;
}

void catalog_release(struct catalog *catalog)
{
    map_release(&catalog->aggregates);
    map_release(&catalog->contexts);
    map_release(&catalog->tenants);
    arena_release(&catalog->arena);
}

bool catalog_has_tenant(const struct catalog *catalog, struct slice tenant)
{
    return catalog->tenants_open ? text_is_tenant(tenant) : map_find(&catalog->tenants, tenant) != NULL;
}

const struct catalog_aggregate *catalog_find(const struct catalog *catalog, struct slice context,
                                             struct slice aggregate, struct fault *fault)
{
    char name[2 * LIMIT_NAME_SIZE_MAX + 2];
    if (context.size <= LIMIT_NAME_SIZE_MAX && aggregate.size <= LIMIT_NAME_SIZE_MAX) {
        int size = snprintf(name, sizeof name, "%.*s/%.*s", SLICE_ARGS(context), SLICE_ARGS(aggregate));
        struct catalog_aggregate *found = map_find(&catalog->aggregates, slice_make(name, (size_t)size));
        if (found) return found;
    }
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

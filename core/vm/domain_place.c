/* Where in the scripts something is done. */
#include "vm/domain_core.h"

static bool place_of(const struct loader_handler *handlers, size_t count, struct slice type,
                     struct domain_place *place)
{
    for (size_t at = 0; at < count; at++) {
        if (!slice_equal(handlers[at].message->name, type)) continue;
        *place = (struct domain_place){handlers[at].path, handlers[at].line};
        return true;
    }
    return false;
}

bool domain_handler_place(const struct domain *domain, struct slice name, struct slice type,
                          struct domain_place *place)
{
    const struct loader *loader = domain->loader;
    int index = domain_find_aggregate(domain, name);
    if (index >= 0) {
        const struct loader_aggregate *aggregate = loader_aggregate(loader, (size_t)index);
        return place_of(aggregate->execute, aggregate->execute_count, type, place);
    }
    if ((index = domain_find_service(domain, name)) >= 0) {
        const struct loader_service *service = loader_service(loader, (size_t)index);
        return place_of(service->when, service->when_count, type, place);
    }
    if ((index = domain_find_task(domain, name)) >= 0) {
        const struct loader_task *task = loader_task(loader, (size_t)index);
        *place = (struct domain_place){task->path, task->line};
        return true;
    }
    if ((index = domain_find_receptor(domain, name)) < 0) return false;
    const struct loader_receptor *receptor = loader_receptor(loader, (size_t)index);
    if (!place_of(receptor->when, receptor->when_count, type, place))
        *place = (struct domain_place){receptor->path, receptor->line};
    return true;
}

#include "base/fault.h"
#include "vm/domain_core.h"

size_t domain_receptor_count(const struct domain *domain)
{
    (void)domain;
    return 0;
}

const struct domain_receptor *domain_receptor(const struct domain *domain, int index)
{
    (void)domain, (void)index;
    return NULL;
}

int domain_find_receptor(const struct domain *domain, struct slice name)
{
    (void)domain, (void)name;
    return -1;
}

int domain_receive(struct domain *domain, int receptor, const struct envelope *envelope, struct slice data,
                   struct arena *arena, struct domain_output *output, struct fault *fault)
{
    (void)domain, (void)receptor, (void)envelope, (void)data, (void)arena, (void)output;
    return fault_set(fault, FAULT_UNAVAILABLE, "receptors are not there yet");
}

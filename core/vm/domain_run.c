#include "base/fault.h"
#include "vm/domain_core.h"

size_t domain_service_count(const struct domain *domain)
{
    (void)domain;
    return 0;
}

const struct domain_service *domain_service(const struct domain *domain, int index)
{
    (void)domain, (void)index;
    return NULL;
}

int domain_find_service(const struct domain *domain, struct slice name)
{
    (void)domain, (void)name;
    return -1;
}

bool domain_service_handles(const struct domain *domain, int service, struct slice command,
                            struct slice *nearest)
{
    (void)domain, (void)service, (void)command, (void)nearest;
    return false;
}

int domain_service_check(struct domain *domain, int service, struct slice type, struct slice data,
                         struct arena *arena, struct slice *canonical, struct fault *fault)
{
    (void)domain, (void)service, (void)type, (void)data, (void)arena, (void)canonical;
    return fault_set(fault, FAULT_UNAVAILABLE, "services are not there yet");
}

size_t domain_task_count(const struct domain *domain)
{
    (void)domain;
    return 0;
}

const struct domain_task *domain_task(const struct domain *domain, int index)
{
    (void)domain, (void)index;
    return NULL;
}

int domain_find_task(const struct domain *domain, struct slice name)
{
    (void)domain, (void)name;
    return -1;
}

int domain_service_start(struct domain *domain, int service, const struct envelope *envelope,
                         struct slice data, const struct domain_host *host, struct domain_run **run,
                         struct fault *fault)
{
    (void)domain, (void)service, (void)envelope, (void)data, (void)host, (void)run;
    return fault_set(fault, FAULT_UNAVAILABLE, "services are not there yet");
}

int domain_task_start(struct domain *domain, int task, struct slice tenant, int64_t now_ms,
                      const struct domain_host *host, struct domain_run **run, struct fault *fault)
{
    (void)domain, (void)task, (void)tenant, (void)now_ms, (void)host, (void)run;
    return fault_set(fault, FAULT_UNAVAILABLE, "tasks are not there yet");
}

enum domain_run_state domain_run_step(struct domain_run *run, const struct domain_response *answer,
                                      struct fault *fault)
{
    (void)run, (void)answer;
    fault_set(fault, FAULT_UNAVAILABLE, "runs are not there yet");
    return DOMAIN_RUN_FAILED;
}

const struct domain_request *domain_run_request(const struct domain_run *run)
{
    (void)run;
    return NULL;
}

int64_t domain_run_retry_ms(const struct domain_run *run)
{
    (void)run;
    return 0;
}

const struct domain_output *domain_run_output(const struct domain_run *run)
{
    (void)run;
    return NULL;
}

void domain_run_free(struct domain_run *run)
{
    (void)run;
}

#include "run/release.h"

#include <unistd.h>

#include "base/check.h"
#include "base/limit.h"
#include "base/mem.h"
#include "run/inside.h"

enum { RELEASE_LOOK_US = 200 };

/* --- loading --- */

/* The limits of hub.lua are known only after a first load. */
struct domain_options release_domain_options(const struct release *release)
{
    const struct catalog *catalog = &release->catalog;
    return (struct domain_options){
        .sources = release->sources,
        .on_demand_later = true,
        .memory_max = (size_t)catalog_limit(catalog, "state_memory", 0),
        .instructions_max = (uint64_t)catalog_limit(catalog, "instructions", 0),
        .call_memory_max = (size_t)catalog_limit(catalog, "call_memory", 0),
        .message_size_max = (size_t)catalog_limit(catalog, "message_size", 0),
        .document_size_max = (size_t)catalog_limit(catalog, "document_size", 0),
    };
}

int release_domain(struct release *release, struct domain **domain, struct fault *fault)
{
    struct domain_options options = release_domain_options(release);
    return domain_open(&options, domain, NULL, fault);
}

int release_load(struct hub *hub, struct sources *sources, struct release **release, struct buf *errors,
                 struct fault *fault)
{
    struct release *made = MEM_NEW(struct release);
    made->hub = hub;
    made->sources = sources;
    made->serial = atomic_fetch_add(&hub->serial, 1) + 1;
    atomic_init(&made->holds, 1);
    struct domain_options options = release_domain_options(made);
    if (domain_open(&options, &made->checked, errors, fault) < 0 ||
        catalog_init(&made->catalog, made->checked, fault) < 0) {
        made->sources = NULL;
        release_let_go(made);
        return -1;
    }
    const struct catalog *catalog = &made->catalog;
    made->message_size_max = (size_t)catalog_limit(catalog, "message_size", LIMIT_MESSAGE_SIZE_MAX);
    made->batch_commands_max = (size_t)catalog_limit(catalog, "batch_commands", LIMIT_BATCH_COMMANDS_MAX);
    made->causation_depth_max =
        (uint32_t)catalog_limit(catalog, "causation_depth", LIMIT_CAUSATION_DEPTH_MAX);
    *release = made;
    return 0;
}

void release_hold(struct release *release)
{
    atomic_fetch_add(&release->holds, 1);
}

void release_let_go(struct release *release)
{
    if (!release || atomic_fetch_sub(&release->holds, 1) > 1) return;
    receptors_free(release->receptors);
    reactor_free(release->reactor);
    query_free(release->query);
    if (release->checked) domain_close(release->checked);
    catalog_release(&release->catalog);
    if (release->sources) sources_free(release->sources);
    mem_free(release);
}

/* --- parts --- */

int release_make_parts(struct release *release, const struct release_parts *parts, struct fault *fault)
{
    struct domain *domain = release->checked;
    if (parts->query && !release->query && query_open(release->hub, release, &release->query, fault) < 0)
        return -1;
    if (parts->receptors && !release->receptors &&
        receptors_open(release, domain, &release->receptors, fault) < 0)
        return -1;
    bool runs = domain_service_count(domain) + domain_task_count(domain) > 0;
    if (parts->reactor && runs && !release->reactor)
        return reactor_open(release, &parts->reactor_options, &release->reactor, fault);
    return 0;
}

int release_start_parts(struct release *release, struct fault *fault)
{
    if (release->query) query_start(release->query);
    return release->reactor ? reactor_start(release->reactor, fault) : 0;
}

int release_start_receptors(struct release *release, struct fault *fault)
{
    return release->receptors ? receptors_start(release->receptors, fault) : 0;
}

/* --- visitors --- */

struct release *release_enter(struct hub *hub, struct visit *visit)
{
    visit->hub = hub;
    visit->side = atomic_load(&hub->visit_side);
    atomic_fetch_add(&hub->visitors[visit->side], 1);
    return atomic_load(&hub->release);
}

void release_leave(const struct visit *visit)
{
    atomic_fetch_sub(&visit->hub->visitors[visit->side], 1);
}

/* Twice: who read the side long ago may come in there after it was found empty, but then takes the current
 * release. */
void release_wait_for_visitors(struct hub *hub)
{
    for (int pass = 0; pass < 2; pass++) {
        unsigned side = atomic_load(&hub->visit_side);
        atomic_store(&hub->visit_side, side ^ 1u);
        while (atomic_load(&hub->visitors[side])) usleep(RELEASE_LOOK_US); /* short: nobody waits in there */
    }
}

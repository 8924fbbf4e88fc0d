#include "run/launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "run/deploys.h"
#include "run/inside.h"

static void launch_warn(const struct domain *domain)
{
    struct slice warnings = domain_warnings(domain);
    while (warnings.size) {
        const char *end = memchr(warnings.data, '\n', warnings.size);
        size_t size = end ? (size_t)(end - warnings.data) : warnings.size;
        say_warn("%.*s", (int)size, warnings.data);
        size_t taken = end ? size + 1 : size;
        warnings = slice_make(warnings.data + taken, warnings.size - taken);
    }
}

/* Whether there may be a recorded deploy to run instead. A hub for a single question is told what is wrong.
 */
static bool launch_has_log(const struct hub_options *options)
{
    char path[4096];
    if (!options->schedule && !options->recorded) return false;
    if (options->engine) return true;
    if (!options->data) return false;
    snprintf(path, sizeof path, "%s/log", options->data);
    return access(path, F_OK) == 0;
}

static int launch_load(struct launch *launch, struct buf *errors)
{
    struct sources *sources;
    launch->folder = realpath(launch->hub->scripts, NULL);
    if (sources_read(launch->hub->scripts, &sources, &launch->fault) < 0) return -1;
    int done = release_load(launch->hub, sources, &launch->loaded, errors, &launch->fault);
    if (done < 0) sources_free(sources);
    return done;
}

int launch_read(struct launch *launch, struct hub *hub, const struct hub_options *options,
                struct fault *fault)
{
    launch->hub = hub;
    launch->is_recorded = options->recorded && launch_has_log(options);
    if (!hub->scripts || launch->is_recorded) return 0;
    if (launch_load(launch, options->errors) < 0) {
        if (launch_has_log(options)) return 0;
        *fault = launch->fault;
        return -1;
    }
    launch_warn(launch->loaded->checked);
    return 0;
}

/* The folder's release runs; launch_release does not free it. */
static void launch_run(struct launch *launch, struct release *release, uint64_t deploy)
{
    release->deploy = deploy;
    if (release == launch->loaded) launch->loaded = NULL;
    atomic_store(&launch->hub->release, release);
}

static bool launch_only_looks(const struct hub *hub)
{
    return hub->read_only || hub->as_of;
}

/* Nothing is recorded yet: the folder is the first deploy. */
static int launch_first(struct launch *launch, struct fault *fault)
{
    struct hub *hub = launch->hub;
    if (launch->is_recorded) launch_load(launch, NULL);
    struct release *release = launch->loaded;
    if (!release) {
        *fault = launch->fault;
        return -1;
    }
    uint64_t number = 0;
    struct deploy_new what = {.sources = release->sources,
                              .folder = slice_of(launch->folder),
                              .at_ms = clock_now_ms(hub->clock),
                              .why = DEPLOY_WHY_START};
    struct deploys_writer writer = {deploys_put_directly, hub->engine};
    struct deploys_now now;
    if (!launch_only_looks(hub)) {
        if (deploys_adopt(hub->engine, &writer, &what, fault) < 0 ||
            deploys_now(hub->engine, &now, fault) < 0)
            return -1;
        number = now.running;
        bool is_recorded = now.running && now.running >= now.first;
        if (!is_recorded && deploys_add(hub->engine, &writer, &what, &number, fault) < 0) return -1;
    }
    launch_run(launch, release, number);
    return 0;
}

/* A recorded deploy that this lore cannot load (it was made by another one) gives way to the folder. */
static int launch_recorded(struct launch *launch, uint64_t number, struct fault *fault)
{
    struct sources *sources;
    struct release *release;
    if (deploys_sources(launch->hub->engine, number, &sources, fault) < 0) return -1;
    if (release_load(launch->hub, sources, &release, NULL, fault) < 0) {
        sources_free(sources);
        return -1;
    }
    launch_run(launch, release, number);
    return 0;
}

static int launch_fall_back(struct launch *launch, const struct deploy_record *running, struct fault *fault)
{
    if (launch_recorded(launch, running->number, fault) == 0) return 0;
    if (!launch->loaded || launch_only_looks(launch->hub)) return -1;
    say_warn("deploy %llu cannot be loaded, the folder takes its place: %s",
             (unsigned long long)running->number, fault->text);
    struct deploy_new what = {.sources = launch->loaded->sources,
                              .folder = slice_of(launch->folder),
                              .at_ms = clock_now_ms(launch->hub->clock),
                              .why = DEPLOY_WHY_START};
    struct deploys_writer writer = {deploys_put_directly, launch->hub->engine};
    uint64_t number;
    launch->is_due = false;
    if (deploys_add(launch->hub->engine, &writer, &what, &number, fault) < 0) return -1;
    launch_run(launch, launch->loaded, number);
    return 0;
}

static int launch_compare(struct launch *launch, const struct deploy_record *running, struct fault *fault)
{
    struct hub *hub = launch->hub;
    struct arena arena = {0};
    struct deploy_record last = {0};
    if (!launch->loaded) {
        say_error("%s", launch->fault.text);
        say_error("%s cannot be loaded: deploy %llu runs", hub->scripts, (unsigned long long)running->number);
        return launch_recorded(launch, running->number, fault);
    }
    struct hash digest = sources_digest(launch->loaded->sources);
    if (hub->as_of) { /* the past, as the folder sees it */
        launch_run(launch, launch->loaded, running->number);
        return 0;
    }
    if (hash_equal(&digest, &running->digest)) {
        launch_run(launch, launch->loaded, running->number);
        return 0;
    }
    int found = deploys_of_folder(hub->engine, slice_of(launch->folder), &arena, &last, fault);
    enum deploy_state state = DEPLOY_SUPERSEDED;
    bool same = found == 1 && hash_equal(&last.digest, &digest);
    if (same && deploys_state(hub->engine, last.number, &state, fault) < 0) found = -1;
    arena_release(&arena);
    if (found < 0) return -1;
    if (same)
        say_info("running deploy %llu, the folder holds %s%llu", (unsigned long long)running->number,
                 state == DEPLOY_UNDONE ? "undone " : "deploy ", (unsigned long long)last.number);
    launch->is_due = !same && !launch_only_looks(hub);
    return launch_fall_back(launch, running, fault);
}

int launch_choose(struct launch *launch, struct fault *fault)
{
    struct hub *hub = launch->hub;
    struct deploys_now now;
    struct arena arena = {0};
    struct deploy_record running;
    if (!hub->scripts) return 0;
    int found = deploys_now(hub->engine, &now, fault);
    if (found < 0) return -1;
    if (found == 0 || now.running < now.first) return launch_first(launch, fault);
    if (launch->is_recorded) return launch_recorded(launch, now.running, fault);
    int done = deploys_load(hub->engine, now.running, &arena, &running, fault);
    if (done == 0) done = launch_compare(launch, &running, fault);
    arena_release(&arena);
    return done;
}

/* What the gate refuses is told; the hub runs what it ran. */
int launch_deploy(struct launch *launch, struct fault *fault)
{
    struct hub *hub = launch->hub;
    struct deploy_order order = {.kind = DEPLOY_ORDER_START, .folder = slice_of(launch->folder)};
    struct release *release = launch->loaded;
    launch->loaded = NULL;
    return deployer_start_with(hub->deployer, release, &order, fault);
}

void launch_release(struct launch *launch)
{
    release_let_go(launch->loaded);
    free(launch->folder);
}

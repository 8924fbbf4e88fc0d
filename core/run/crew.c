/* The projectors of one release. */
#include "base/check.h"
#include "base/mem.h"
#include "run/inside.h"
#include "run/projector.h"

int crew_start(struct views *views, struct release *release, bool is_planning, struct crew **crew,
               struct fault *fault)
{
    struct crew *made = MEM_NEW(struct crew);
    made->views = views;
    made->release = release;
    made->is_planning = is_planning;
    release_hold(release);
    made->projectors = mem_zero((views->projector_count + 1) * sizeof *made->projectors);
    for (; made->count < views->projector_count; made->count++)
        if (projector_new(made, (int)made->count, &made->projectors[made->count], fault) < 0) {
            crew_free(made);
            return -1;
        }
    for (size_t at = 0; at < made->count; at++) projector_start(made->projectors[at]);
    pthread_mutex_lock(&views->crews_lock);
    made->older = views->crews;
    views->crews = made;
    pthread_mutex_unlock(&views->crews_lock);
    *crew = made;
    return 0;
}

/* Whoever finds it ended frees it, and cannot find it before the lock is let go. */
static void crew_end(struct crew *crew)
{
    struct views *views = crew->views;
    pthread_mutex_lock(&views->crews_lock);
    atomic_store(&crew->ended, true);
    for (size_t at = 0; at < crew->count; at++) projector_wake(crew->projectors[at]);
    pthread_mutex_unlock(&views->crews_lock);
    if (views->hub->deployer) deployer_look(views->hub->deployer);
}

void crew_leave(struct crew *crew)
{
    CHECK(crew->generations > 0);
    if (--crew->generations == 0 && crew != crew->views->crew && !crew->is_planning) crew_end(crew);
}

void crew_retire(struct crew *crew)
{
    if (crew->generations == 0) crew_end(crew);
}

void crew_abandon(struct crew *crew)
{
    struct views *views = crew->views;
    pthread_mutex_lock(&views->lock);
    CHECK(crew->generations == 0);
    crew_end(crew);
    pthread_mutex_unlock(&views->lock);
}

void crew_free(struct crew *crew)
{
    for (size_t at = 0; at < crew->count; at++) projector_free(crew->projectors[at]);
    release_let_go(crew->release);
    mem_free(crew->projectors);
    mem_free(crew);
}

void views_reap(struct views *views)
{
    struct crew *ended = NULL;
    pthread_mutex_lock(&views->crews_lock);
    for (struct crew **at = &views->crews; *at;) {
        struct crew *crew = *at;
        if (!atomic_load(&crew->ended)) {
            at = &crew->older;
            continue;
        }
        *at = crew->older;
        crew->older = ended;
        ended = crew;
    }
    pthread_mutex_unlock(&views->crews_lock);
    while (ended) {
        struct crew *crew = ended;
        ended = crew->older;
        crew_free(crew);
    }
}

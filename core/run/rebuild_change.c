/* A view goes from the code of one release to that of the next. */
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/say.h"
#include "run/rebuild.h"

static uint64_t rebuild_next_number(const struct view *view)
{
    const struct generation *have[] = {view->answering, view->next, view->previous};
    uint64_t number = 0;
    for (size_t at = 0; at < sizeof have / sizeof *have; at++)
        if (have[at] && have[at]->number > number) number = have[at]->number;
    return number + 1;
}

static void rebuild_drop_planned(struct view *view)
{
    if (view->planned) rebuild_drop(view->planned, true);
    view->planned = NULL;
}

/* Only whoever prepares makes planned generations, and only a switch of the same thread takes them. */
int rebuild_prepare(struct view *view, struct fault *fault)
{
    struct views *views = view->views;
    const struct view_code *code = view->coming;
    char reason[VIEWS_REASON_SIZE];
    pthread_mutex_lock(&views->lock);
    bool is_there = rebuild_is_of(view->answering, code) || rebuild_is_of(view->next, code) ||
                    rebuild_is_of(view->previous, code) || rebuild_is_of(view->planned, code);
    if (view->planned && !rebuild_is_of(view->planned, code)) rebuild_drop_planned(view);
    if (!is_there) rebuild_tell(view, code, "it is new", reason);
    pthread_mutex_unlock(&views->lock);
    if (is_there) return 0;
    struct generation *made;
    if (generation_create(view, code, 0, rebuild_partitions(view, code), reason, &made, fault) < 0) return -1;
    made->is_planned = true;
    pthread_mutex_lock(&views->lock);
    view->planned = made;
    pthread_mutex_unlock(&views->lock);
    return 0;
}

int rebuild_restart_planned(struct view *view, struct generation *before, struct fault *fault)
{
    struct generation *made;
    struct crew *crew = atomic_load(&before->crew);
    if (!rebuild_is_of(before, view->coming)) return 0; /* the next one to prepare drops it */
    if (generation_create(view, view->coming, 0, 1, before->reason, &made, fault) < 0) return -1;
    made->is_planned = true;
    atomic_store(&made->held_at, atomic_load(&before->held_at));
    made->began_ns = made->said_ns = clock_monotonic_ns();
    if (before == view->previous) view->previous = NULL;
    if (before == view->answering) view->answering = NULL;
    view->planned = made;
    rebuild_claim(made, crew);
    rebuild_drop(before, true);
    return 0;
}

/* A complete one that is not needed now may be needed by the next change. */
static void rebuild_put_away(struct view *view, struct generation *generation)
{
    if (!atomic_load(&generation->complete) || view->previous) {
        rebuild_drop(generation, true);
        return;
    }
    view->previous = generation;
    rebuild_claim(generation, NULL);
}

static struct generation *rebuild_take(struct generation **place)
{
    struct generation *taken = *place;
    *place = NULL;
    return taken;
}

static void rebuild_change_next(struct view *view, struct crew *crew)
{
    if (view->next) {
        struct generation *before = rebuild_take(&view->next);
        rebuild_put_away(view, before);
    }
    if (rebuild_is_of(view->previous, view->code)) {
        view->next = rebuild_take(&view->previous);
        snprintf(view->next->reason, sizeof view->next->reason, "the code is again what it was");
    } else {
        view->next = rebuild_take(&view->planned);
        CHECK(view->next); /* it was prepared */
        view->next->number = rebuild_next_number(view);
        view->next->deploy = view->code->deploy;
    }
    atomic_store(&view->next->held_at, 0);
    say_info("%s: rebuilding (%s)", view->name.data, view->next->reason);
    rebuild_begin_feeding(view->next, crew);
}

void rebuild_change(struct view *view)
{
    struct crew *crew = view->views->crew;
    if (rebuild_is_of(view->answering, view->code)) {
        if (view->next) {
            struct generation *before = rebuild_take(&view->next);
            rebuild_put_away(view, before);
        }
        atomic_store(&view->answering->held_at, 0); /* a plan was the last to feed it */
        rebuild_claim(view->answering, crew);
    } else if (!rebuild_is_of(view->next, view->code)) {
        rebuild_change_next(view, crew);
    } else if (atomic_load(&view->next->complete) || !atomic_load(&view->next->crew)) {
        rebuild_begin_feeding(view->next, crew);
    } /* else its own crew ends the build */
    rebuild_drop_planned(view);
}

void rebuild_forget(struct view *view)
{
    struct generation **places[] = {&view->answering, &view->next, &view->previous, &view->planned};
    for (size_t at = 0; at < sizeof places / sizeof *places; at++) {
        struct generation *generation = rebuild_take(places[at]);
        if (generation) rebuild_drop(generation, !atomic_load(&generation->complete));
    }
}

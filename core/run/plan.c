#include "run/plan.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "run/projector.h"
#include "run/rebuild.h"

enum { PLAN_LOOK_MS = 20 };

struct plan_run {
    struct plan *plan;
    struct views *views;
    struct crew *crew;
    int64_t until_ns;
};

/* What is compared with the generation that answers: the planned one, or one that was kept when other code
 * took over or the view went, which only catches up. Under the views' lock. NULL: nothing. */
static struct generation *plan_subject(const struct view *view)
{
    if (!view->coming) return NULL;
    if (view->planned) return view->planned;
    if (rebuild_is_of(view->answering, view->coming)) return view->code ? NULL : view->answering;
    bool is_kept = rebuild_is_of(view->previous, view->coming) && !rebuild_is_of(view->next, view->coming);
    return is_kept ? view->previous : NULL;
}

/* --- waiting --- */

static bool plan_is_over(const struct plan_run *run)
{
    const struct plan *plan = run->plan;
    return (plan->stop && atomic_load(plan->stop)) || clock_monotonic_ns() >= run->until_ns;
}

/* Under the views' lock. */
static bool plan_is_built(const struct generation *generation)
{
    return atomic_load(&generation->complete) &&
           atomic_load(&generation->position) >= atomic_load(&generation->held_at);
}

static void plan_pause(void)
{
    struct timespec pause = {.tv_nsec = PLAN_LOOK_MS * 1000000L};
    nanosleep(&pause, NULL);
}

static uint64_t plan_progress(struct plan_run *run)
{
    uint64_t sum = 0;
    pthread_mutex_lock(&run->views->lock);
    for (size_t at = 0; at < run->views->count; at++) {
        const struct generation *subject = plan_subject(run->views->list[at]);
        if (subject) sum += generation_progress(subject);
    }
    pthread_mutex_unlock(&run->views->lock);
    return sum;
}

/* False: the time was over before. */
static bool plan_wait_for_all(struct plan_run *run)
{
    for (;;) {
        bool built = true;
        pthread_mutex_lock(&run->views->lock);
        for (size_t at = 0; at < run->views->count; at++) {
            const struct generation *subject = plan_subject(run->views->list[at]);
            built = built && (!subject || !atomic_load(&subject->crew) || plan_is_built(subject));
        }
        pthread_mutex_unlock(&run->views->lock);
        if (run->plan->progress) atomic_store(run->plan->progress, plan_progress(run));
        if (built || plan_is_over(run)) return built;
        plan_pause();
    }
}

static bool plan_wait_for(struct plan_run *run, const struct generation *generation)
{
    for (;;) {
        pthread_mutex_lock(&run->views->lock);
        bool built = plan_is_built(generation);
        pthread_mutex_unlock(&run->views->lock);
        if (built || plan_is_over(run)) return built;
        plan_pause();
    }
}

/* --- building --- */

static void plan_begin(struct plan_run *run)
{
    uint64_t head = engine_head(run->plan->hub->engine).position;
    pthread_mutex_lock(&run->views->lock);
    for (size_t at = 0; at < run->views->count; at++) {
        struct generation *subject = plan_subject(run->views->list[at]);
        if (!subject) continue;
        uint64_t position = atomic_load(&subject->position);
        atomic_store(&subject->held_at, atomic_load(&subject->complete) && position > head ? position : head);
        if (head == 0) continue;
        if (!atomic_load(&subject->complete)) subject->began_ns = subject->said_ns = clock_monotonic_ns();
        rebuild_claim(subject, run->crew);
    }
    pthread_mutex_unlock(&run->views->lock);
}

/* --- comparing --- */

/* What answers, as it is now. NULL: nothing does, or the code that runs does not declare the view. */
static int plan_open_before(struct plan_run *run, struct view *view, struct generation **before,
                            struct docs_read **read, uint64_t *position, struct fault *fault)
{
    struct docs_range all = {.all = true};
    struct slice value;
    pthread_mutex_lock(&run->views->lock);
    *before = view->code ? view->answering : NULL;
    if (*before) generation_hold(*before);
    pthread_mutex_unlock(&run->views->lock);
    *read = NULL;
    if (!*before) return 0;
    if (docs_read_open((*before)->docs, &all, read, fault) < 0) return -1;
    int found = docs_read_meta(*read, slice_of("position"), &value, fault);
    *position = found == 1 ? generation_number(value) : 0;
    return found < 0 ? -1 : 0;
}

static void plan_close_before(struct plan_run *run, struct generation *before, struct docs_read *read)
{
    if (read) docs_read_close(read);
    if (!before) return;
    pthread_mutex_lock(&run->views->lock);
    generation_let_go(before);
    pthread_mutex_unlock(&run->views->lock);
}

/* It goes to this position, or further where it is already. */
static bool plan_align(struct plan_run *run, struct generation *subject, uint64_t position)
{
    if (position <= atomic_load(&subject->position)) return true;
    atomic_store(&subject->held_at, position);
    struct crew *crew = atomic_load(&subject->crew);
    for (size_t at = 0; crew && at < crew->count; at++) projector_wake(crew->projectors[at]);
    return plan_wait_for(run, subject);
}

static int plan_compare(struct plan_run *run, struct view *view, struct generation *subject,
                        struct compare **compare, struct fault *fault)
{
    struct docs_range all = {.all = true};
    struct generation *before;
    struct docs_read *before_read, *after_read = NULL;
    uint64_t position = 0;
    int done = plan_open_before(run, view, &before, &before_read, &position, fault);
    bool aligned = done == 0 && plan_align(run, subject, position);
    if (aligned) done = docs_read_open(subject->docs, &all, &after_read, fault);
    if (aligned && done == 0) {
        struct compare_options options = {.before = before ? before->docs : NULL,
                                          .after = subject->docs,
                                          .before_read = before_read,
                                          .after_read = after_read,
                                          .samples = run->plan->samples,
                                          .stop = run->plan->stop};
        done = compare_run(&options, compare, fault);
    }
    if (after_read) docs_read_close(after_read);
    plan_close_before(run, before, before_read);
    return done;
}

static int plan_view(struct plan_run *run, struct view *view, struct fault *fault)
{
    struct plan *plan = run->plan;
    char reason[VIEWS_REASON_SIZE] = "";
    pthread_mutex_lock(&run->views->lock);
    const struct view_code *code = view->coming;
    struct generation *subject = plan_subject(view);
    bool is_gone = view->code && !code, is_planned = subject && subject == view->planned;
    bool is_next = !subject && rebuild_is_of(view->next, code) && !rebuild_is_of(view->answering, code);
    struct plan_view told = {.name = view->name, .is_kept = is_next || (subject && !is_planned)};
    if (is_planned)
        memcpy(reason, subject->reason, sizeof reason);
    else if (told.is_kept && !view->code)
        snprintf(reason, sizeof reason, "it is declared again");
    else if (told.is_kept)
        rebuild_tell(view, code, "the code is again what it was", reason);
    if (subject) generation_hold(subject); /* it may have to begin again meanwhile, as another one */
    pthread_mutex_unlock(&run->views->lock);
    if (!subject && !is_next && !is_gone) return 0;
    struct compare *compare = NULL;
    int done = 0;
    told.reason = is_gone ? "it is no longer declared" : reason;
    if (subject && plan_is_built(subject)) {
        told.events = atomic_load(&subject->position);
        if (is_planned) told.seconds = (double)(subject->built_ns - subject->began_ns) / 1e9;
        done = plan_compare(run, view, subject, &compare, fault);
    }
    told.compare = compare;
    if (done == 0) plan->each(plan->user, &told);
    if (compare) compare_free(compare);
    pthread_mutex_lock(&run->views->lock);
    if (subject) generation_let_go(subject);
    pthread_mutex_unlock(&run->views->lock);
    return done;
}

/* The generations are let go by the crew; one that is not built to its end is of no use. */
static void plan_end(struct plan_run *run)
{
    pthread_mutex_lock(&run->views->lock);
    for (size_t at = 0; at < run->views->count; at++) {
        struct view *view = run->views->list[at];
        struct generation *const kept[] = {view->previous, view->answering};
        for (size_t each = 0; each < sizeof kept / sizeof *kept; each++)
            if (kept[each] && atomic_load(&kept[each]->crew) == run->crew) rebuild_claim(kept[each], NULL);
        if (!view->planned || atomic_load(&view->planned->crew) != run->crew) continue;
        if (atomic_load(&view->planned->complete)) {
            rebuild_claim(view->planned, NULL);
        } else {
            rebuild_drop(view->planned, true);
            view->planned = NULL;
        }
    }
    pthread_mutex_unlock(&run->views->lock);
    crew_abandon(run->crew);
}

int plan_run(struct plan *plan, struct fault *fault)
{
    struct plan_run run = {.plan = plan, .views = plan->hub->views, .until_ns = INT64_MAX};
    if (!run.views) return 0;
    if (plan->budget_ms) run.until_ns = clock_monotonic_ns() + plan->budget_ms * 1000000LL;
    if (views_prepare(run.views, plan->release, fault) < 0 ||
        crew_start(run.views, plan->release, true, &run.crew, fault) < 0)
        return -1;
    plan_begin(&run);
    plan_wait_for_all(&run);
    int done = 0;
    for (size_t at = 0; at < run.views->count && done == 0; at++)
        done = plan_view(&run, run.views->list[at], fault);
    if (done == 0 && plan->stop && atomic_load(plan->stop))
        done = fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    plan_end(&run);
    return done;
}

#include <stdio.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/say.h"
#include "run/inside.h"
#include "run/projector.h"
#include "run/rebuild.h"

enum {
    REBUILD_PARTITION_EVENTS = 4096, /* (hub.lua) folded together, with all their documents in memory */
    REBUILD_PARTITIONS_LEAST = 16,   /* a shorter log is read once, by one thread */
    REBUILD_SAY_MS = 5000
};

/* --- who answers --- */

/* Of any code (NULL): what a plan built was never asked, whatever its code. */
static struct generation *rebuild_newest(struct generation **found, size_t count, bool complete,
                                         const char *code)
{
    struct generation *newest = NULL;
    for (size_t at = 0; at < count; at++) {
        if (atomic_load(&found[at]->complete) != complete) continue;
        if (code ? strcmp(found[at]->code, code) != 0 : found[at]->number == 0) continue;
        if (!newest || found[at]->number > newest->number) newest = found[at];
    }
    return newest;
}

static uint64_t rebuild_highest(struct generation **found, size_t count)
{
    uint64_t number = 0;
    for (size_t at = 0; at < count; at++)
        if (found[at]->number > number) number = found[at]->number;
    return number;
}

uint32_t rebuild_partitions(const struct view *view, const struct view_code *code)
{
    uint64_t head = engine_head(view->views->hub->engine).position;
    int64_t least = hub_limit(view->views->hub, "rebuild_partition_events", REBUILD_PARTITION_EVENTS);
    uint64_t count = least > 0 ? head / (uint64_t)least : 1;
    if (!code->keyed || count < REBUILD_PARTITIONS_LEAST) return 1;
    return (uint32_t)(count < VIEWS_PARTITIONS_MAX ? count : VIEWS_PARTITIONS_MAX);
}

/* Nothing to build from an empty log: it answers at once. */
static int rebuild_begin(struct view *view, const struct view_code *code, uint64_t number,
                         uint32_t partitions, const char *reason, struct fault *fault)
{
    struct generation *made;
    if (generation_create(view, code, number, partitions, reason, &made, fault) < 0) return -1;
    view->next = made;
    if (engine_head(view->views->hub->engine).position > 0) return 0;
    if (generation_complete(made, 0, fault) < 0) return -1;
    if (view->answering) return 0;
    view->answering = made;
    view->next = NULL;
    return 0;
}

/* Closes those that have no part; keeps the newest complete one beside the answering one as the previous. */
static void rebuild_clear(struct view *view, struct generation **found, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        struct generation *generation = found[at];
        if (generation == view->answering || generation == view->next || !atomic_load(&generation->complete))
            continue;
        if (!view->previous || generation->number > view->previous->number) view->previous = generation;
    }
    for (size_t at = 0; at < count; at++) {
        struct generation *generation = found[at];
        if (generation == view->answering || generation == view->next || generation == view->previous)
            continue;
        generation_retire(generation, !view->views->hub->read_only);
    }
}

int rebuild_choose(struct view *view, const struct view_code *code, struct generation **found, size_t count,
                   const char *why, struct fault *fault)
{
    struct generation *complete = rebuild_newest(found, count, true, NULL);
    struct generation *wanted = rebuild_newest(found, count, true, code->hash);
    struct generation *building = rebuild_newest(found, count, false, code->hash);
    view->answering = complete;
    int done = 0;
    if (view->views->hub->read_only) {
        if (!complete) view->answering = complete = wanted;
        if (!complete && building && building->partition_count == 1) view->next = building;
    } else if (building && (!wanted || building->number > wanted->number)) {
        view->next = building;
    } else if (wanted && wanted != complete) {
        view->next = wanted;
        snprintf(wanted->reason, sizeof wanted->reason, "the code is again what it was");
    } else if (!wanted) {
        char reason[VIEWS_REASON_SIZE];
        rebuild_tell(view, code, why, reason);
        done = rebuild_begin(view, code, rebuild_highest(found, count) + 1, rebuild_partitions(view, code),
                             reason, fault);
    }
    if (view->next && view->code && !view->views->hub->read_only)
        say_info("%s: rebuilding (%s)%s", view->name.data, view->next->reason,
                 generation_progress(view->next) ? ", going on where it was" : "");
    rebuild_clear(view, found, count);
    return done;
}

bool rebuild_is_of(const struct generation *generation, const struct view_code *code)
{
    return generation && code && strcmp(generation->code, code->hash) == 0;
}

/* --- who feeds --- */

/* Under the lock. */
static void rebuild_adopt(struct generation *generation, size_t projector, uint32_t partition,
                          uint32_t partition_count)
{
    struct crew *crew = atomic_load(&generation->crew);
    generation_hold(generation);
    generation->feeds++;
    projector_adopt(crew->projectors[projector % crew->count], generation, partition, partition_count);
}

/* What an interrupted build has on disk already. The last partition is looked at in any case, so that
 * somebody ends the build. */
static void rebuild_skip_done(struct generation *generation)
{
    uint64_t target = atomic_load(&generation->target);
    uint32_t done = 0;
    while (done + 1 < generation->partition_count && atomic_load(&generation->reached[done]) >= target)
        done++;
    generation->partitions_done = generation->partition_next = generation->plan.count ? done : 0;
}

static void rebuild_feed_one(struct generation *generation)
{
    struct view *view = generation->view;
    struct views *views = view->views;
    if (atomic_load(&generation->complete)) {
        generation->began_position = atomic_load(&generation->position);
        rebuild_adopt(generation, view->index, 0, 1);
        return;
    }
    uint64_t head = engine_head(views->hub->engine).position;
    atomic_store(&generation->target, generation->plan.count ? generation->plan.target : head);
    generation->began_position = generation_progress(generation);
    rebuild_skip_done(generation);
    if (generation->partition_count == 1) generation->partition_next = 1; /* given here, to nobody else */
    rebuild_adopt(generation, view->index, generation->partition_count > 1 ? FEED_SPLITS : 0,
                  generation->partition_count);
}

void rebuild_claim(struct generation *generation, struct crew *crew)
{
    struct crew *before = atomic_load(&generation->crew);
    if (before == crew) return;
    atomic_store(&generation->crew, crew);
    if (crew) crew->generations++;
    generation->claimed = crew && generation->feeds > 0;
    if (crew && !generation->claimed) rebuild_feed_one(generation);
    for (size_t at = 0; before && at < before->count; at++) projector_wake(before->projectors[at]);
    if (before) crew_leave(before);
}

void rebuild_feed_ended(struct generation *generation)
{
    struct views *views = generation->view->views;
    pthread_mutex_lock(&views->lock);
    if (--generation->feeds == 0 && generation->claimed) {
        generation->claimed = false;
        bool goes_on = !atomic_load(&generation->retired) && !atomic_load(&views->stopping);
        if (goes_on) rebuild_feed_one(generation);
    }
    generation_let_go(generation);
    pthread_mutex_unlock(&views->lock);
}

/* --- partitions --- */

/* Under the lock. Gives the projector the next partition that is not on disk yet. */
static void rebuild_give(struct generation *generation, size_t projector)
{
    if (atomic_load(&generation->retired) || generation->partition_next == generation->partition_count)
        return;
    rebuild_adopt(generation, projector, generation->partition_next++, generation->partition_count);
}

void rebuild_was_split(struct generation *generation)
{
    struct view *view = generation->view;
    struct views *views = view->views;
    pthread_mutex_lock(&views->lock);
    size_t count = views->projector_count;
    if (count > 1) count *= 2; /* who waits for the turn of one folds the other */
    for (size_t at = 0; at < count; at++) rebuild_give(generation, view->index + at);
    pthread_mutex_unlock(&views->lock);
}

int rebuild_in_one_piece(struct generation *generation, struct fault *fault)
{
    struct views *views = generation->view->views;
    pthread_mutex_lock(&views->lock);
    uint32_t count = generation->partition_count;
    generation->partition_count = 1;
    int done = generation_store(generation, fault);
    if (done < 0)
        generation->partition_count = count;
    else if (!atomic_load(&generation->retired))
        rebuild_feed_one(generation);
    pthread_mutex_unlock(&views->lock);
    return done;
}

bool rebuild_is_turn(const struct generation *generation, uint32_t partition)
{
    struct views *views = generation->view->views;
    pthread_mutex_lock(&views->lock);
    bool turn = generation->partitions_done == partition;
    pthread_mutex_unlock(&views->lock);
    return turn;
}

/* --- the end of a rebuild --- */

/* Under the lock. A release on its way may have found that it can go on with this one. */
static void rebuild_let_go_previous(struct view *view)
{
    if (!view->planned && rebuild_is_of(view->previous, view->coming)) {
        view->planned = view->previous;
        view->planned->is_planned = true;
    } else {
        generation_retire(view->previous, true);
    }
    view->previous = NULL;
}

/* Under the lock. */
static void rebuild_swap(struct generation *generation)
{
    struct view *view = generation->view;
    struct generation *before = view->answering;
    struct fault fault;
    uint64_t least = before ? before->number + 1 : 1;
    bool is_late = generation->number < least;
    if (is_late) generation->number = least;
    if ((is_late || generation->is_planned) && generation_store(generation, &fault) < 0)
        say_warn("%s: %s", view->name.data, fault.text);
    generation->is_planned = false;
    view->answering = generation;
    view->next = NULL;
    double seconds = (double)(clock_monotonic_ns() - generation->began_ns) / 1e9;
    say_info("%s: generation %llu answers, at position %llu (%.1f s)", view->name.data,
             (unsigned long long)generation->number, (unsigned long long)atomic_load(&generation->position),
             seconds);
    if (!before) return;
    if (view->previous) rebuild_let_go_previous(view);
    view->previous = before;
    rebuild_claim(before, NULL);
}

/* Under the lock. */
static void rebuild_swap_if_due(struct generation *generation)
{
    struct view *view = generation->view;
    if (view->next != generation || !atomic_load(&generation->complete)) return;
    if (!view->answering || atomic_load(&generation->position) >= atomic_load(&view->answering->position))
        rebuild_swap(generation);
}

void rebuild_begin_feeding(struct generation *generation, struct crew *crew)
{
    generation->began_ns = generation->said_ns = clock_monotonic_ns();
    rebuild_claim(generation, crew);
    rebuild_swap_if_due(generation);
}

/* Under the lock: what is built by now is fed by the crew that feeds the rest, if its code is still that. */
static void rebuild_go_on(struct generation *generation)
{
    struct crew *crew = atomic_load(&generation->crew), *current = generation->view->views->crew;
    if (crew->is_planning || crew == current) {
        rebuild_adopt(generation, generation->view->index, 0, 1);
        return;
    }
    rebuild_claim(generation, current);
}

void rebuild_drop(struct generation *generation, bool destroy)
{
    rebuild_claim(generation, NULL);
    generation_retire(generation, destroy);
}

void rebuild_moved(struct generation *generation)
{
    struct views *views = generation->view->views;
    pthread_mutex_lock(&views->lock);
    rebuild_swap_if_due(generation);
    pthread_mutex_unlock(&views->lock);
}

void rebuild_feed(struct view *view)
{
    pthread_mutex_lock(&view->views->lock);
    struct crew *crew = view->views->crew;
    if (rebuild_is_of(view->answering, view->code)) rebuild_claim(view->answering, crew);
    if (view->next) rebuild_begin_feeding(view->next, crew);
    pthread_mutex_unlock(&view->views->lock);
}

bool rebuild_partition_done(struct generation *generation, size_t projector)
{
    struct view *view = generation->view;
    struct views *views = view->views;
    struct fault fault;
    bool done = true;
    pthread_mutex_lock(&views->lock);
    bool last =
        !atomic_load(&generation->retired) && generation->partitions_done + 1 == generation->partition_count;
    if (last && generation_complete(generation, atomic_load(&generation->target), &fault) < 0) {
        outage_met(&views->hub->outage, &generation->outage, view->name.data, &fault);
        done = false;
    } else {
        generation->partitions_done++;
        rebuild_give(generation, projector);
    }
    if (last && done) {
        spill_close(generation->spill);
        generation->spill = NULL;
        rebuild_go_on(generation);
        rebuild_swap_if_due(generation);
    }
    struct crew *crew = atomic_load(&generation->crew);
    for (size_t at = 0; crew && at < crew->count; at++) projector_wake(crew->projectors[at]);
    pthread_mutex_unlock(&views->lock);
    if (last && done) views_moved(views);
    return done;
}

/* Under the lock. */
static int rebuild_start(struct view *view, uint32_t partitions, const char *reason, struct fault *fault)
{
    uint64_t number = view->answering ? view->answering->number : 0;
    if (view->next && view->next->number > number) number = view->next->number;
    struct generation *before = view->next;
    view->next = NULL;
    if (rebuild_begin(view, view->code, number + 1, partitions, reason, fault) < 0) {
        if (!view->next) view->next = before;
        return -1;
    }
    struct generation *begun = view->next ? view->next : view->answering;
    say_info("%s: rebuilding (%s)", view->name.data, reason);
    rebuild_begin_feeding(begun, view->views->crew);
    return 0;
}

int rebuild_restart_whole(struct generation *generation, struct fault *fault)
{
    struct view *view = generation->view;
    int done = 0;
    pthread_mutex_lock(&view->views->lock);
    if (view->planned == generation) {
        done = rebuild_restart_planned(view, generation, fault);
    } else if (view->next == generation && !atomic_load(&generation->retired)) {
        char reason[VIEWS_REASON_SIZE];
        memcpy(reason, generation->reason, sizeof reason);
        done = rebuild_start(view, 1, reason, fault);
        if (done == 0) rebuild_drop(generation, true);
    }
    pthread_mutex_unlock(&view->views->lock);
    return done;
}

int rebuild_damaged(struct generation *generation)
{
    struct view *view = generation->view;
    struct fault fault;
    int done = 0;
    pthread_mutex_lock(&view->views->lock);
    struct generation *building = view->next;
    bool due = building == generation || (!building && view->answering == generation);
    struct crew *crew = atomic_load(&generation->crew);
    if (view->planned == generation || (crew && crew->is_planning)) {
        done = rebuild_restart_planned(view, generation, &fault);
        if (done < 0) say_error("%s: %s", view->name.data, fault.text);
    } else if (due && !atomic_load(&generation->retired)) {
        done = rebuild_start(view, rebuild_partitions(view, view->code), "a document was damaged", &fault);
        if (done < 0)
            say_error("%s: %s", view->name.data, fault.text);
        else if (building == generation)
            rebuild_drop(generation, true);
    }
    pthread_mutex_unlock(&view->views->lock);
    return done;
}

int rebuild_by_hand(struct view *view, struct fault *fault)
{
    int done = 0;
    pthread_mutex_lock(&view->views->lock);
    if (!view->code)
        done = fault_set(fault, FAULT_NOT_FOUND, "no view %s", view->name.data);
    else if (!view->next)
        done = rebuild_start(view, rebuild_partitions(view, view->code), "rebuilt by hand", fault);
    pthread_mutex_unlock(&view->views->lock);
    return done;
}

void rebuild_say_progress(struct generation *generation)
{
    struct views *views = generation->view->views;
    int64_t now_ns = clock_monotonic_ns();
    struct view_info info;
    pthread_mutex_lock(&views->lock);
    bool due =
        generation->view->next == generation && now_ns - generation->said_ns > REBUILD_SAY_MS * 1000000LL;
    if (due) generation->said_ns = now_ns;
    pthread_mutex_unlock(&views->lock);
    if (!due) return;
    views_info(generation->view, &info);
    say_info("%s: rebuilding (%s): %llu of %llu events, %.0f/s, %.0f s left", info.name, info.reason,
             (unsigned long long)info.new_position, (unsigned long long)info.head, info.rate,
             info.seconds_left);
}

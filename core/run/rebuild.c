#include <stdio.h>

#include "base/clock.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/mp.h"
#include "run/inside.h"
#include "run/projector.h"

enum {
    REBUILD_PARTITION_EVENTS = 4096, /* (hub.lua) folded together, with all their documents in memory */
    REBUILD_PARTITIONS_LEAST = 16,   /* a shorter log is read once, by one thread */
    REBUILD_SAY_MS = 5000,
    REBUILD_REASONS = 3
};

/* --- why --- */

/* "billing/pricing.lua" -> "pricing.lua" inside billing; what it is called to the user. */
static void rebuild_say_input(const struct view *view, struct slice label, char *text, size_t size)
{
    if (slice_is(label, "lore")) {
        snprintf(text, size, "lore itself");
        return;
    }
    if (label.size > view->context.size && memcmp(label.data, view->context.data, view->context.size) == 0 &&
        label.data[view->context.size] == '/')
        label = slice_make(label.data + view->context.size + 1, label.size - view->context.size - 1);
    snprintf(text, size, "%.*s", SLICE_ARGS(label));
}

struct rebuild_reason {
    const struct view *view;
    char *text;
    size_t size;
    unsigned count;
};

static void rebuild_add_reason(struct rebuild_reason *reason, struct slice label, const char *what)
{
    char name[160];
    if (++reason->count > REBUILD_REASONS) return;
    rebuild_say_input(reason->view, label, name, sizeof name);
    size_t used = strlen(reason->text);
    snprintf(reason->text + used, reason->size - used, "%s%s %s", used ? ", " : "", name, what);
}

static bool rebuild_next_text(struct mp_reader *reader, struct slice *text)
{
    struct mp_value value;
    if (mp_read(reader, &value) < 0 || value.kind != MP_TEXT) return false;
    *text = value.text;
    return true;
}

/* The difference between what an older generation was made of and what the code is made of now, in words. */
static void rebuild_tell_difference(const struct view *view, struct slice inputs,
                                    char text[VIEWS_REASON_SIZE])
{
    struct rebuild_reason reason = {view, text, VIEWS_REASON_SIZE, 0};
    text[0] = 0;
    bool *seen = mem_zero(view->input_count + 1);
    struct mp_reader reader = mp_reader_of(inputs);
    struct mp_value list = {.kind = MP_NIL};
    struct slice label, hex;
    if (mp_read(&reader, &list) < 0 || list.kind != MP_LIST) list.count = 0;
    for (uint32_t left = list.count / 2;
         left && rebuild_next_text(&reader, &label) && rebuild_next_text(&reader, &hex); left--) {
        size_t at = 0;
        while (at < view->input_count && !slice_equal(view->inputs[at].label, label)) at++;
        if (at == view->input_count) {
            rebuild_add_reason(&reason, label, "is no longer used");
            continue;
        }
        char now[2 * HASH_SIZE + 1];
        hash_hex(&view->inputs[at].hash, now);
        seen[at] = true;
        if (!slice_is(hex, now)) rebuild_add_reason(&reason, label, "changed");
    }
    for (size_t at = 0; at < view->input_count; at++)
        if (!seen[at]) rebuild_add_reason(&reason, view->inputs[at].label, "is new");
    mem_free(seen);
    if (reason.count > REBUILD_REASONS) {
        size_t used = strlen(text);
        snprintf(text + used, VIEWS_REASON_SIZE - used, " and %u more", reason.count - REBUILD_REASONS);
    }
    if (!text[0]) snprintf(text, VIEWS_REASON_SIZE, "its code changed");
}

static void rebuild_tell(const struct view *view, const char *why, char text[VIEWS_REASON_SIZE])
{
    struct buf inputs = {0};
    struct fault ignored;
    if (!view->answering)
        snprintf(text, VIEWS_REASON_SIZE, "%s", why[0] ? why : "first build");
    else if (docs_meta_get(view->answering->docs, slice_of("inputs"), &inputs, &ignored) == 1)
        rebuild_tell_difference(view, buf_slice(&inputs), text);
    else
        snprintf(text, VIEWS_REASON_SIZE, "its code changed");
    buf_release(&inputs);
}

/* --- who answers --- */

static struct generation *rebuild_newest(struct generation **found, size_t count, bool complete,
                                         const char *code)
{
    struct generation *newest = NULL;
    for (size_t at = 0; at < count; at++) {
        if (atomic_load(&found[at]->complete) != complete || (code && strcmp(found[at]->code, code) != 0))
            continue;
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

static uint32_t rebuild_partitions(const struct view *view)
{
    uint64_t head = engine_head(view->views->hub->engine).position;
    int64_t least =
        catalog_limit(&view->views->hub->catalog, "rebuild_partition_events", REBUILD_PARTITION_EVENTS);
    uint64_t count = least > 0 ? head / (uint64_t)least : 1;
    if (!view->keyed || count < REBUILD_PARTITIONS_LEAST) return 1;
    return (uint32_t)(count < VIEWS_PARTITIONS_MAX ? count : VIEWS_PARTITIONS_MAX);
}

/* Nothing to build from an empty log: it answers at once. */
static int rebuild_begin(struct view *view, uint64_t number, uint32_t partitions, const char *reason,
                         struct fault *fault)
{
    struct generation *made;
    if (generation_create(view, number, partitions, reason, &made, fault) < 0) return -1;
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
    struct generation *previous = NULL;
    for (size_t at = 0; at < count; at++) {
        struct generation *generation = found[at];
        if (generation == view->answering || generation == view->next || !atomic_load(&generation->complete))
            continue;
        if (!previous || generation->number > previous->number) previous = generation;
    }
    for (size_t at = 0; at < count; at++) {
        struct generation *generation = found[at];
        if (generation == view->answering || generation == view->next) continue;
        if (generation == previous) view->previous_path = mem_text(previous->path, strlen(previous->path));
        generation_retire(generation, generation != previous && !view->views->hub->read_only);
    }
}

int rebuild_choose(struct view *view, struct generation **found, size_t count, const char *why,
                   struct fault *fault)
{
    struct generation *complete = rebuild_newest(found, count, true, NULL);
    struct generation *wanted = rebuild_newest(found, count, true, view->code);
    struct generation *building = rebuild_newest(found, count, false, view->code);
    for (size_t at = 0; at < count; at++) found[at]->wanted = strcmp(found[at]->code, view->code) == 0;
    view->answering = complete;
    int done = 0;
    if (view->views->hub->read_only) {
        if (!complete && building && building->partition_count == 1) view->next = building;
    } else if (building && (!wanted || building->number > wanted->number)) {
        view->next = building;
    } else if (wanted && wanted != complete) {
        view->next = wanted;
        snprintf(wanted->reason, sizeof wanted->reason, "the code is again what it was");
    } else if (!wanted) {
        char reason[VIEWS_REASON_SIZE];
        rebuild_tell(view, why, reason);
        done =
            rebuild_begin(view, rebuild_highest(found, count) + 1, rebuild_partitions(view), reason, fault);
    }
    if (view->next && !view->views->hub->read_only)
        say_info("%s: rebuilding (%s)%s", view->name.data, view->next->reason,
                 generation_progress(view->next) ? ", going on where it was" : "");
    rebuild_clear(view, found, count);
    return done;
}

static struct projector *rebuild_owner(const struct view *view)
{
    struct views *views = view->views;
    return views->projectors[(size_t)(view - views->views) % views->projector_count];
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
        generation_hold(generation);
        projector_adopt(rebuild_owner(view), generation, 0, 1);
        return;
    }
    uint64_t head = engine_head(views->hub->engine).position;
    atomic_store(&generation->target, generation->plan.count ? generation->plan.target : head);
    generation->began_position = generation_progress(generation);
    rebuild_skip_done(generation);
    if (generation->partition_count == 1) generation->partition_next = 1; /* given here, to nobody else */
    generation_hold(generation);
    projector_adopt(rebuild_owner(view), generation, generation->partition_count > 1 ? FEED_SPLITS : 0,
                    generation->partition_count);
}

/* --- partitions --- */

/* Under the lock. Gives the projector the next partition that is not on disk yet. */
static void rebuild_give(struct generation *generation, struct projector *projector)
{
    if (generation->partition_next == generation->partition_count) return;
    generation_hold(generation);
    projector_adopt(projector, generation, generation->partition_next++, generation->partition_count);
}

void rebuild_was_split(struct generation *generation)
{
    struct view *view = generation->view;
    struct views *views = view->views;
    pthread_mutex_lock(&views->lock);
    size_t first = (size_t)(view - views->views), count = views->projector_count;
    if (count > 1) count *= 2; /* who waits for the turn of one folds the other */
    for (size_t at = 0; at < count; at++)
        rebuild_give(generation, views->projectors[(first + at) % views->projector_count]);
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

/* Under the lock. */
static void rebuild_swap(struct generation *generation)
{
    struct view *view = generation->view;
    struct generation *before = view->answering;
    struct fault fault;
    if (before && generation->number < before->number) {
        generation->number = before->number + 1;
        if (generation_store(generation, &fault) < 0) say_warn("%s: %s", view->name.data, fault.text);
    }
    view->answering = generation;
    view->next = NULL;
    double seconds = (double)(clock_monotonic_ns() - generation->began_ns) / 1e9;
    say_info("%s: generation %llu answers, at position %llu (%.1f s)", view->name.data,
             (unsigned long long)generation->number, (unsigned long long)atomic_load(&generation->position),
             seconds);
    if (!before) return;
    if (view->previous_path) {
        struct fault ignored;
        docs_destroy(view->previous_path, &ignored);
        mem_free(view->previous_path);
    }
    view->previous_path = mem_text(before->path, strlen(before->path));
    generation_retire(before, false);
}

/* Under the lock. */
static void rebuild_swap_if_due(struct generation *generation)
{
    struct view *view = generation->view;
    if (view->next != generation || !atomic_load(&generation->complete)) return;
    if (!view->answering || atomic_load(&generation->position) >= atomic_load(&view->answering->position))
        rebuild_swap(generation);
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
    if (view->answering && view->answering->wanted) rebuild_feed_one(view->answering);
    if (view->next) {
        view->next->began_ns = view->next->said_ns = clock_monotonic_ns();
        rebuild_feed_one(view->next);
        rebuild_swap_if_due(view->next);
    }
    pthread_mutex_unlock(&view->views->lock);
}

bool rebuild_partition_done(struct generation *generation, struct projector *projector)
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
        generation_hold(generation);
        projector_adopt(rebuild_owner(view), generation, 0, 1);
        rebuild_swap_if_due(generation);
    }
    pthread_mutex_unlock(&views->lock);
    for (size_t at = 0; at < views->projector_count; at++) projector_wake(views->projectors[at]);
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
    if (rebuild_begin(view, number + 1, partitions, reason, fault) < 0) {
        if (!view->next) view->next = before;
        return -1;
    }
    struct generation *begun = view->next ? view->next : view->answering;
    begun->began_ns = begun->said_ns = clock_monotonic_ns();
    say_info("%s: rebuilding (%s)", view->name.data, reason);
    rebuild_feed_one(begun);
    rebuild_swap_if_due(begun);
    return 0;
}

int rebuild_restart_whole(struct generation *generation, struct fault *fault)
{
    struct view *view = generation->view;
    int done = 0;
    pthread_mutex_lock(&view->views->lock);
    if (view->next == generation && !atomic_load(&generation->retired)) {
        char reason[VIEWS_REASON_SIZE];
        memcpy(reason, generation->reason, sizeof reason);
        done = rebuild_start(view, 1, reason, fault);
        if (done == 0) generation_retire(generation, true);
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
    if (due && !atomic_load(&generation->retired)) {
        done = rebuild_start(view, rebuild_partitions(view), "a document was damaged", &fault);
        if (done < 0)
            say_error("%s: %s", view->name.data, fault.text);
        else if (building == generation)
            generation_retire(generation, true);
    }
    pthread_mutex_unlock(&view->views->lock);
    return done;
}

int rebuild_by_hand(struct view *view, struct fault *fault)
{
    int done = 0;
    pthread_mutex_lock(&view->views->lock);
    if (!view->next) done = rebuild_start(view, rebuild_partitions(view), "rebuilt by hand", fault);
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

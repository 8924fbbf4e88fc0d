#include "run/views.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "run/inside.h"
#include "run/projector.h"
#include "vm/nearest.h"

enum { VIEWS_FOUND_MAX = 64 }; /* directories of one projection that a start looks at */

/* --- opening --- */

static struct view_code *views_code(const struct domain_projection *declared, uint64_t deploy)
{
    struct view_code *code = MEM_NEW(struct view_code);
    struct arena *arena = &code->arena;
    hash_hex(&declared->code, code->hash);
    code->deploy = deploy;
    code->keyed = declared->keyed;
    struct domain_input *inputs = arena_zero(arena, (declared->input_count + 1) * sizeof *inputs);
    for (size_t at = 0; at < declared->input_count; at++)
        inputs[at] =
            (struct domain_input){arena_copy(arena, declared->inputs[at].label), declared->inputs[at].hash};
    code->inputs = inputs;
    code->input_count = declared->input_count;
    const char **indexes = arena_zero(arena, (declared->index_count + 1) * sizeof *indexes);
    for (size_t at = 0; at < declared->index_count; at++)
        indexes[at] = arena_copy(arena, slice_of(declared->indexes[at])).data;
    code->indexes = indexes;
    code->index_count = declared->index_count;
    return code;
}

static void views_code_free(struct view_code *code)
{
    if (!code) return;
    arena_release(&code->arena);
    mem_free(code);
}

static struct view *views_by_name(struct views *views, struct slice name)
{
    size_t count = atomic_load(&views->count);
    for (size_t at = 0; at < count; at++)
        if (slice_equal(views->list[at]->name, name)) return views->list[at];
    return NULL;
}

/* Only one thread adds views; those that others see are whole. NULL: there are too many. */
static struct view *views_add(struct views *views, const struct domain_projection *declared)
{
    struct view *view = views_by_name(views, declared->name);
    if (view || views->count == VIEWS_MAX) return view;
    view = arena_zero(&views->arena, sizeof *view);
    view->views = views;
    view->index = views->count;
    view->name = arena_copy(&views->arena, declared->name);
    view->context = arena_copy(&views->arena, declared->context);
    views->list[view->index] = view;
    atomic_store(&views->count, view->index + 1);
    return view;
}

/* Whether a directory's name is "context.name@hash" of the view. */
static bool views_is_of(const struct view *view, const char *directory)
{
    const char *at = strchr(directory, '@');
    if (!at || (size_t)(at - directory) != view->name.size) return false;
    for (size_t n = 0; n < view->name.size; n++) {
        char expected = view->name.data[n] == '/' ? '.' : view->name.data[n];
        if (directory[n] != expected) return false;
    }
    return true;
}

static int views_open_one(struct view *view, const struct view_code *code, char *why, struct fault *fault)
{
    struct views *views = view->views;
    struct generation *found[VIEWS_FOUND_MAX];
    size_t count = 0;
    DIR *folder = opendir(views->folder);
    struct dirent *entry;
    int done = 0;
    while (folder && done == 0 && (entry = readdir(folder))) {
        if (!views_is_of(view, entry->d_name) || count == VIEWS_FOUND_MAX) continue;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", views->folder, entry->d_name);
        if (generation_is_open(views, path)) continue; /* somebody still holds what was dropped */
        struct generation *generation;
        done = generation_open(views, path, views->hub->read_only, &generation, why, fault);
        if (done == 0 && generation) {
            generation->view = view;
            found[count++] = generation;
        } else if (done == 0 && !views->hub->read_only) {
            struct fault ignored;
            docs_destroy(path, &ignored);
        }
    }
    if (folder) closedir(folder);
    if (done < 0) {
        for (size_t at = 0; at < count; at++) generation_close(found[at]);
        return -1;
    }
    return rebuild_choose(view, code, found, count, why, fault);
}

int views_open(struct hub *hub, size_t projectors, struct release *release, struct views **views,
               struct fault *fault)
{
    struct views *made = MEM_NEW(struct views);
    *views = made;
    made->hub = hub;
    pthread_mutex_init(&made->lock, NULL);
    pthread_mutex_init(&made->crews_lock, NULL);
    pthread_mutex_init(&made->open_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&made->moved, &attr);
    pthread_condattr_destroy(&attr);
    made->folder = (char *)arena_format(&made->arena, "%s/views", hub->data).data;
    if (!hub->read_only && mkdir(made->folder, 0777) < 0 && errno != EEXIST)
        return fault_errno(fault, errno, "cannot make %s", made->folder);
    made->projector_count = hub->read_only ? 0 : projectors;
    made->list = arena_zero(&made->arena, VIEWS_MAX * sizeof *made->list);
    for (size_t at = 0; at < domain_projection_count(release->checked); at++) {
        char why[VIEWS_REASON_SIZE] = "";
        const struct domain_projection *declared = domain_projection(release->checked, (int)at);
        struct view *view = views_add(made, declared);
        if (!view) return fault_set(fault, FAULT_TOO_LARGE, "more than %d projections", VIEWS_MAX);
        view->code = views_code(declared, release->deploy);
        if (views_open_one(view, view->code, why, fault) < 0) return -1;
    }
    return 0;
}

int views_start(struct views *views, struct release *release, struct fault *fault)
{
    if (crew_start(views, release, false, &views->crew, fault) < 0) return -1;
    for (size_t at = 0; at < views->count; at++) rebuild_feed(views->list[at]);
    return 0;
}

/* --- from one release to the next --- */

/* What it left on disk when it was last declared, or a first one. Others see the view already, so it is
 * chosen on a copy. */
static int views_bring_back(struct view *view, struct fault *fault)
{
    char why[VIEWS_REASON_SIZE] = "it is new";
    struct view found = *view;
    int done = views_open_one(&found, view->coming, why, fault);
    if (done == 0 && found.next) done = generation_unnumber(found.next, fault);
    pthread_mutex_lock(&view->views->lock);
    view->answering = found.answering;
    view->previous = found.previous;
    view->planned = found.next;
    struct generation *const taken[] = {view->answering, view->previous, view->planned};
    for (size_t at = 0; at < sizeof taken / sizeof *taken; at++)
        if (taken[at]) taken[at]->view = view;
    pthread_mutex_unlock(&view->views->lock);
    return done;
}

static void views_expect(struct view *view, struct view_code *code)
{
    pthread_mutex_lock(&view->views->lock);
    views_code_free(view->coming);
    view->coming = code;
    pthread_mutex_unlock(&view->views->lock);
}

/* Whether it has no part in anything yet. */
static bool views_is_unknown(const struct view *view)
{
    return !view->code && !view->answering && !view->next && !view->previous && !view->planned;
}

int views_prepare(struct views *views, const struct release *release, struct fault *fault)
{
    for (size_t at = 0; at < views->count; at++) views_expect(views->list[at], NULL);
    for (size_t at = 0; at < domain_projection_count(release->checked); at++) {
        const struct domain_projection *declared = domain_projection(release->checked, (int)at);
        struct view *view = views_add(views, declared);
        if (!view) return fault_set(fault, FAULT_TOO_LARGE, "more than %d projections", VIEWS_MAX);
        views_expect(view, views_code(declared, release->deploy));
        if ((views_is_unknown(view) ? views_bring_back : rebuild_prepare)(view, fault) < 0) return -1;
    }
    return 0;
}

void views_switch(struct views *views, struct crew *crew)
{
    pthread_mutex_lock(&views->lock);
    struct crew *before = views->crew;
    views->crew = crew;
    for (size_t at = 0; at < views->count; at++) {
        struct view *view = views->list[at];
        views_code_free(view->code);
        view->code = view->coming;
        view->coming = NULL;
        if (view->code)
            rebuild_change(view);
        else
            rebuild_forget(view);
    }
    crew_retire(before);
    pthread_mutex_unlock(&views->lock);
    views_moved(views);
}

void views_look(struct views *views)
{
    pthread_mutex_lock(&views->crews_lock);
    for (struct crew *crew = views->crews; crew; crew = crew->older)
        for (size_t at = 0; at < crew->count; at++) projector_look(crew->projectors[at]);
    pthread_mutex_unlock(&views->crews_lock);
}

void views_hurry(struct views *views, uint64_t position)
{
    unsigned long long before = atomic_load(&views->wanted);
    do
        if (before >= position) return;
    while (!atomic_compare_exchange_weak(&views->wanted, &before, position));
    pthread_mutex_lock(&views->crews_lock);
    for (struct crew *crew = views->crews; crew; crew = crew->older)
        for (size_t at = 0; at < crew->count; at++) projector_hurry(crew->projectors[at], position);
    pthread_mutex_unlock(&views->crews_lock);
}

void views_moved(struct views *views)
{
    pthread_mutex_lock(&views->lock);
    pthread_cond_broadcast(&views->moved);
    pthread_mutex_unlock(&views->lock);
    watch_wake(&views->hub->watch);
}

/* No crew comes or goes any more. */
void views_stop(struct views *views)
{
    atomic_store(&views->stopping, true);
    for (struct crew *crew = views->crews; crew; crew = crew->older)
        for (size_t at = 0; at < crew->count; at++) projector_stop(crew->projectors[at]);
}

static void views_free_one(struct view *view)
{
    generation_close(view->answering);
    generation_close(view->next);
    generation_close(view->previous);
    if (view->planned) view->planned->destroy = true;
    generation_close(view->planned);
    views_code_free(view->code);
    views_code_free(view->coming);
}

void views_free(struct views *views)
{
    if (!views) return;
    while (views->crews) {
        struct crew *crew = views->crews;
        views->crews = crew->older;
        crew_free(crew);
    }
    for (size_t at = 0; at < views->count; at++) views_free_one(views->list[at]);
    pthread_mutex_destroy(&views->lock);
    pthread_mutex_destroy(&views->crews_lock);
    pthread_mutex_destroy(&views->open_lock);
    pthread_cond_destroy(&views->moved);
    arena_release(&views->arena);
    mem_free(views);
}

static int views_remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    return remove(path);
}

void views_remove_folder(const char *path)
{
    nftw(path, views_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

size_t views_memory(struct views *views)
{
    size_t memory = 0;
    pthread_mutex_lock(&views->crews_lock);
    for (struct crew *crew = views->crews; crew; crew = crew->older)
        for (size_t at = 0; at < crew->count; at++) memory += projector_memory(crew->projectors[at]);
    pthread_mutex_unlock(&views->crews_lock);
    return memory;
}

/* --- asking --- */

static struct slice views_short_name(const struct view *view)
{
    return slice_make(view->name.data + view->context.size + 1, view->name.size - view->context.size - 1);
}

/* Under the lock. */
static struct view *views_find_declared(struct views *views, struct slice name, struct fault *fault)
{
    struct view *found = NULL;
    struct nearest nearest = nearest_to(name);
    for (size_t at = 0; at < views->count; at++) {
        struct view *view = views->list[at];
        if (!view->code) continue;
        if (slice_equal(view->name, name)) return view;
        nearest_offer(&nearest, view->name);
        nearest_offer(&nearest, views_short_name(view));
        if (!slice_equal(views_short_name(view), name)) continue;
        if (found) {
            fault_set(fault, FAULT_NOT_FOUND, "there are several views %.*s: write %.*s or %.*s",
                      SLICE_ARGS(name), SLICE_ARGS(found->name), SLICE_ARGS(view->name));
            return NULL;
        }
        found = view;
    }
    if (found) return found;
    int size = name.size < 130 ? (int)name.size : 130;
    struct slice near = nearest_found(&nearest);
    if (near.size)
        fault_set(fault, FAULT_NOT_FOUND, "no view %.*s: did you mean %.*s?", size, name.data,
                  SLICE_ARGS(near));
    else
        fault_set(fault, FAULT_NOT_FOUND, "no view %.*s", size, name.data ? name.data : "");
    return NULL;
}

struct view *views_find(struct views *views, struct slice name, struct fault *fault)
{
    pthread_mutex_lock(&views->lock);
    struct view *view = views_find_declared(views, name, fault);
    pthread_mutex_unlock(&views->lock);
    return view;
}

static void views_info_rebuild(const struct view *view, struct view_info *info)
{
    const struct generation *next = view->next;
    uint64_t progress = generation_progress(next);
    info->rebuilding = true;
    info->new_generation = next->number;
    info->new_deploy = next->deploy;
    info->new_position = progress;
    double seconds = (double)(clock_monotonic_ns() - next->began_ns) / 1e9;
    if (next->began_ns && seconds > 0 && progress > next->began_position)
        info->rate = (double)(progress - next->began_position) / seconds;
    if (info->rate > 0) info->seconds_left = (double)(info->head - progress) / info->rate;
    snprintf(info->reason, sizeof info->reason, "%s", next->reason);
}

bool views_info(struct view *view, struct view_info *info)
{
    *info = (struct view_info){0};
    snprintf(info->name, sizeof info->name, "%.*s", SLICE_ARGS(view->name));
    pthread_mutex_lock(&view->views->lock);
    if (view->answering) {
        info->generation = view->answering->number;
        info->deploy = view->answering->deploy;
        info->position = atomic_load(&view->answering->position);
        info->parked = atomic_load(&view->answering->parked);
        info->stopped = atomic_load(&view->answering->stopped);
    }
    /* Asked behind the position: the head is never the smaller one. */
    info->head = engine_head(view->views->hub->engine).position;
    if (view->next) views_info_rebuild(view, info);
    bool declared = view->code != NULL;
    pthread_mutex_unlock(&view->views->lock);
    return declared;
}

int hub_view_lease(struct hub *hub, struct slice name, struct view_lease *lease, struct fault *fault)
{
    if (!hub->views) return fault_set(fault, FAULT_UNAVAILABLE, "this hub runs without views");
    struct view *view = views_find(hub->views, name, fault);
    if (!view) return -1;
    int done = 0;
    *lease = (struct view_lease){0};
    pthread_mutex_lock(&hub->views->lock);
    struct generation *generation = view->answering;
    /* A first build in one piece is exact at its checkpoint, so it may answer; partitions are so only
     * together. */
    if (!generation && view->next && view->next->partition_count == 1) generation = view->next;
    if (generation) {
        generation_hold(generation);
        lease->docs = generation->docs;
        lease->position = atomic_load(&generation->position);
        lease->generation = generation->number;
        lease->held = generation;
    } else if (view->next) {
        struct view_info info = {.head = engine_head(hub->engine).position};
        views_info_rebuild(view, &info);
        lease->building = true;
        lease->seconds_left = info.seconds_left;
        done = fault_set(fault, FAULT_UNAVAILABLE, "%s is being built: %llu events of %llu", view->name.data,
                         (unsigned long long)generation_progress(view->next),
                         (unsigned long long)engine_head(hub->engine).position);
    } else {
        done = fault_set(fault, FAULT_UNAVAILABLE, "%s was never built: start the hub", view->name.data);
    }
    pthread_mutex_unlock(&hub->views->lock);
    return done;
}

void hub_view_release(struct hub *hub, struct view_lease *lease)
{
    pthread_mutex_lock(&hub->views->lock);
    generation_let_go(lease->held);
    pthread_mutex_unlock(&hub->views->lock);
    *lease = (struct view_lease){0};
}

uint64_t hub_view_position(struct docs_read *read, struct slice tenant)
{
    struct slice value;
    struct fault ignored;
    uint64_t position = 0;
    if (docs_read_meta(read, slice_of("position"), &value, &ignored) == 1) {
        position = generation_number(value);
    } else if (docs_read_meta(read, slice_of("generation"), &value, &ignored) == 1 &&
               generation_member(value, "partitions") == 1 &&
               docs_read_meta(read, slice_of("partition/0"), &value, &ignored) == 1) {
        position = generation_number(value);
    }
    char key[LIMIT_TENANT_SIZE_MAX + 16];
    if (tenant.size > LIMIT_TENANT_SIZE_MAX) return position;
    snprintf(key, sizeof key, "stopped/%.*s", SLICE_ARGS(tenant));
    if (docs_read_meta(read, slice_of(key), &value, &ignored) == 1) {
        uint64_t stopped = generation_member(value, "position");
        if (stopped && stopped - 1 < position) position = stopped - 1; /* that event is not in the view */
    }
    return position;
}

int hub_view_parked(struct docs_read *read, struct slice tenant, struct slice key, struct buf *json)
{
    struct buf name = {0};
    struct slice value, error;
    struct fault ignored;
    buf_put_text(&name, "parked/");
    buf_put_slice(&name, tenant);
    buf_put_byte(&name, 0);
    buf_put_slice(&name, key);
    int found = docs_read_meta(read, buf_slice(&name), &value, &ignored);
    buf_release(&name);
    if (found != 1) return 0;
    buf_put_byte(json, '{');
    json_put_int_member(json, "position", (int64_t)generation_member(value, "position"));
    if (mp_find(value, slice_of("error"), &error)) json_put_mp_member(json, "error", error);
    buf_put_byte(json, '}');
    return 1;
}

size_t hub_view_count(struct hub *hub)
{
    return hub->views ? hub->views->count : 0;
}

bool hub_view_info(struct hub *hub, size_t index, struct view_info *info)
{
    return views_info(hub->views->list[index], info);
}

int hub_rebuild(struct hub *hub, struct slice name, struct fault *fault)
{
    if (!hub->views || hub->read_only)
        return fault_set(fault, FAULT_UNAVAILABLE, "this hub runs without views");
    struct view *view = views_find(hub->views, name, fault);
    if (!view) return -1;
    if (atomic_load(&hub->stopping)) return fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    return rebuild_by_hand(view, fault);
}

void hub_view_hurry(struct hub *hub, uint64_t position)
{
    /* What is not in the log yet is asked for again when it is: a reader looks after each append. */
    uint64_t head = engine_head(hub->engine).position;
    if (hub->views && !hub->read_only) views_hurry(hub->views, position < head ? position : head);
}

/* Under the lock. */
static bool views_settled(const struct views *views, uint64_t head)
{
    for (size_t at = 0; at < views->count; at++) {
        const struct view *view = views->list[at];
        if (!view->code) continue;
        if (view->next || !view->answering || atomic_load(&view->answering->position) < head) return false;
    }
    return true;
}

bool hub_settle(struct hub *hub, int timeout_ms)
{
    struct views *views = hub->views;
    if (!views) return true;
    uint64_t head = engine_head(hub->engine).position;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    hub_view_hurry(hub, head);
    pthread_mutex_lock(&views->lock);
    bool settled;
    /* Nobody feeds the views of a hub that only looks. */
    while (!(settled = views_settled(views, head)) && !hub->read_only)
        if (pthread_cond_timedwait(&views->moved, &views->lock, &until) == ETIMEDOUT) {
            settled = views_settled(views, head);
            break;
        }
    pthread_mutex_unlock(&views->lock);
    return settled;
}

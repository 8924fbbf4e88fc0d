#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/say.h"
#include "codec/mp.h"
#include "run/inside.h"

void generation_put_number(struct buf *out, uint64_t value)
{
    mp_put_int(out, (int64_t)value);
}

uint64_t generation_number(struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    struct mp_value value;
    if (bytes.size == 0 || mp_read(&reader, &value) < 0 || value.kind != MP_INT || value.integer < 0)
        return 0;
    return (uint64_t)value.integer;
}

uint64_t generation_member(struct slice map, const char *name)
{
    struct slice bytes;
    return mp_find(map, slice_of(name), &bytes) ? generation_number(bytes) : 0;
}

static void generation_member_text(struct slice map, const char *name, char *text, size_t size)
{
    struct slice bytes;
    struct mp_value value;
    text[0] = 0;
    if (!mp_find(map, slice_of(name), &bytes)) return;
    struct mp_reader reader = mp_reader_of(bytes);
    if (mp_read(&reader, &value) == 0 && value.kind == MP_TEXT)
        snprintf(text, size, "%.*s", SLICE_ARGS(value.text));
}

static int generation_meta_number(struct docs *docs, const char *key, uint64_t *number, struct fault *fault)
{
    struct buf bytes = {0};
    int found = docs_meta_get(docs, slice_of(key), &bytes, fault);
    if (found >= 0) *number = found ? generation_number(buf_slice(&bytes)) : 0;
    buf_release(&bytes);
    return found < 0 ? -1 : 0;
}

static bool generation_count_one(void *user, struct slice key, struct slice value)
{
    (*(uint64_t *)user)++;
    return true;
}

static void generation_describe(const struct generation *generation, struct buf *out)
{
    mp_put_map(out, 6);
    mp_put_text(out, slice_of("complete"));
    mp_put_int(out, atomic_load(&generation->complete));
    mp_put_text(out, slice_of("deploy"));
    mp_put_int(out, (int64_t)generation->deploy);
    mp_put_text(out, slice_of("log"));
    mp_put_text(out, slice_of(generation->view->views->hub->log_id));
    mp_put_text(out, slice_of("number"));
    mp_put_int(out, (int64_t)generation->number);
    mp_put_text(out, slice_of("partitions"));
    mp_put_int(out, generation->partition_count);
    mp_put_text(out, slice_of("reason"));
    mp_put_text(out, slice_of(generation->reason));
}

/* --- which are open: LMDB must not open a directory twice in one process --- */

static void generation_opened(struct generation *generation, struct views *views)
{
    generation->views = views;
    pthread_mutex_lock(&views->open_lock);
    generation->older_open = views->open;
    if (views->open) views->open->newer_open = generation;
    views->open = generation;
    pthread_mutex_unlock(&views->open_lock);
}

static void generation_closed(struct generation *generation)
{
    struct views *views = generation->views;
    pthread_mutex_lock(&views->open_lock);
    if (generation->newer_open)
        generation->newer_open->older_open = generation->older_open;
    else
        views->open = generation->older_open;
    if (generation->older_open) generation->older_open->newer_open = generation->newer_open;
    pthread_mutex_unlock(&views->open_lock);
}

bool generation_is_open(struct views *views, const char *path)
{
    pthread_mutex_lock(&views->open_lock);
    const struct generation *at = views->open;
    while (at && strcmp(at->path, path) != 0) at = at->older_open;
    pthread_mutex_unlock(&views->open_lock);
    return at != NULL;
}

/* Appends the chain of the commit that holds the position; nothing if there is none. */
static int generation_chain(const struct views *views, uint64_t position, struct buf *hex,
                            struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    if (position == 0) return 0;
    if (engine_read(views->hub->engine, position, &cursor, fault) < 0) return -1;
    int found = engine_cursor_next(cursor, &record, fault);
    if (found == 1) {
        char text[2 * HASH_SIZE + 1];
        hash_hex(&record.chain, text);
        buf_put_text(hex, text);
    }
    engine_cursor_close(cursor);
    return found < 0 ? -1 : 0;
}

int generation_put_chain(const struct generation *generation, struct docs_write *write, uint64_t position,
                         struct fault *fault)
{
    struct buf hex = {0};
    int done = generation_chain(generation->view->views, position, &hex, fault);
    if (done == 0) done = docs_meta_put(write, slice_of("chain"), buf_slice(&hex), fault);
    buf_release(&hex);
    return done;
}

/* Whether the log is still the one that this was folded from: one restored from a backup may have grown past
 * the checkpoint with other events. 1, 0, -1. */
static int generation_fits(const struct generation *generation, const struct views *views,
                           struct fault *fault)
{
    struct buf stored = {0}, now = {0};
    uint64_t position = generation->plan.count ? generation->plan.target : atomic_load(&generation->position);
    int found = docs_meta_get(generation->docs, slice_of("chain"), &stored, fault);
    if (found >= 0 && generation_chain(views, position, &now, fault) < 0) found = -1;
    if (found >= 0) found = slice_equal(buf_slice(&stored), buf_slice(&now));
    buf_release(&stored);
    buf_release(&now);
    return found;
}

/* One that is not there was not made yet. */
static int generation_read_plan(struct generation *generation, struct fault *fault)
{
    struct buf bytes = {0};
    int found = docs_meta_get(generation->docs, slice_of("split"), &bytes, fault);
    if (found == 1 && (!split_plan_read(&generation->plan, buf_slice(&bytes)) ||
                       generation->plan.count != generation->partition_count))
        found = fault_set(fault, FAULT_CORRUPT, "%s: how it is split is damaged", generation->path);
    buf_release(&bytes);
    return found < 0 ? -1 : 0;
}

/* Reads the checkpoints. -1: damaged. */
static int generation_read_positions(struct generation *generation, struct fault *fault)
{
    uint64_t position = 0, parked = 0, stopped = 0;
    if (generation_meta_number(generation->docs, "position", &position, fault) < 0) return -1;
    if (!atomic_load(&generation->complete)) {
        position = 0;
        for (uint32_t at = 0; at < generation->partition_count; at++) {
            char key[32];
            uint64_t reached;
            snprintf(key, sizeof key, "partition/%u", at);
            if (generation_meta_number(generation->docs, key, &reached, fault) < 0) return -1;
            atomic_store(&generation->reached[at], reached);
            if (generation->partition_count == 1) position = reached;
        }
        if (generation->partition_count > 1 && generation_read_plan(generation, fault) < 0) return -1;
        if (generation->partition_count > 1 && !generation->plan.count && generation_progress(generation))
            return fault_set(fault, FAULT_CORRUPT, "%s: how it was split is lost", generation->path);
    }
    atomic_store(&generation->position, position);
    if (docs_meta_each(generation->docs, slice_of("parked/"), generation_count_one, &parked, fault) < 0)
        return -1;
    if (docs_meta_each(generation->docs, slice_of("stopped/"), generation_count_one, &stopped, fault) < 0)
        return -1;
    atomic_store(&generation->parked, parked);
    atomic_store(&generation->stopped, stopped > 0);
    return 0;
}

/* 1: usable, 0: not, why says it; -1: damaged. */
static int generation_read(struct generation *generation, const struct views *views,
                           const struct engine_head *head, char why[VIEWS_REASON_SIZE], struct fault *fault)
{
    struct buf bytes = {0}, code = {0};
    char log_id[64];
    int found = docs_meta_get(generation->docs, slice_of("generation"), &bytes, fault);
    if (found == 1) found = docs_meta_get(generation->docs, slice_of("code"), &code, fault);
    if (found == 1) {
        struct slice map = buf_slice(&bytes);
        generation->number = generation_member(map, "number");
        generation->deploy = generation_member(map, "deploy");
        atomic_store(&generation->complete, generation_member(map, "complete") == 1);
        uint64_t partitions = generation_member(map, "partitions");
        generation->partition_count =
            partitions > VIEWS_PARTITIONS_MAX ? VIEWS_PARTITIONS_MAX : (uint32_t)partitions;
        generation_member_text(map, "reason", generation->reason, sizeof generation->reason);
        generation_member_text(map, "log", log_id, sizeof log_id);
        snprintf(generation->code, sizeof generation->code, "%.*s", SLICE_ARGS(buf_slice(&code)));
    }
    buf_release(&bytes);
    buf_release(&code);
    if (found < 0) return -1;
    if (found == 0) {
        snprintf(why, VIEWS_REASON_SIZE, "its first build had not begun");
        return 0;
    }
    if (strcmp(log_id, head->log_id) != 0) {
        snprintf(why, VIEWS_REASON_SIZE, "views were of another log");
        return 0;
    }
    if (generation_read_positions(generation, fault) < 0) return -1;
    if (generation_progress(generation) > head->position || generation->plan.target > head->position) {
        snprintf(why, VIEWS_REASON_SIZE, "the log is shorter than the view");
        return 0;
    }
    found = generation_fits(generation, views, fault);
    if (found == 0) snprintf(why, VIEWS_REASON_SIZE, "the log is not the one that the view was made from");
    return found;
}

int generation_open(struct views *views, const char *path, bool read_only, struct generation **generation,
                    char why[VIEWS_REASON_SIZE], struct fault *fault)
{
    *generation = NULL;
    struct docs_options options = {.path = path, .read_only = read_only};
    struct generation *made = MEM_NEW(struct generation);
    bool dirty = false;
    struct fault failed;
    if (docs_open(&options, &made->docs, &dirty, &failed) < 0) {
        mem_free(made);
        /* Only a reader meets a directory without its file: a hub is about to make it, or was killed then. */
        bool begun = failed.code == FAULT_NOT_FOUND && read_only;
        snprintf(why, VIEWS_REASON_SIZE, begun ? "its first build had not begun" : "views were damaged");
        if (begun || failed.code == FAULT_CORRUPT) return 0;
        if (fault) *fault = failed;
        return -1;
    }
    made->path = mem_text(path, strlen(path));
    generation_opened(made, views);
    int usable = 0;
    if (dirty) {
        snprintf(why, VIEWS_REASON_SIZE, "views were written before a crash of the machine");
    } else {
        struct engine_head head = engine_head(views->hub->engine);
        struct fault damage;
        usable = generation_read(made, views, &head, why, &damage);
        if (usable < 0) snprintf(why, VIEWS_REASON_SIZE, "views were damaged");
    }
    if (usable == 1) {
        *generation = made;
        return 0;
    }
    generation_close(made);
    return 0;
}

/* The directory's name; a number behind it if the same code was built before. */
static char *generation_new_path(const struct view *view, const struct view_code *code)
{
    char name[2 * LIMIT_NAME_SIZE_MAX + 2], path[4096];
    snprintf(name, sizeof name, "%.*s", SLICE_ARGS(view->name));
    *strchr(name, '/') = '.';
    for (unsigned n = 1;; n++) {
        if (n == 1)
            snprintf(path, sizeof path, "%s/%s@%.16s", view->views->folder, name, code->hash);
        else
            snprintf(path, sizeof path, "%s/%s@%.16s.%u", view->views->folder, name, code->hash, n);
        if (access(path, F_OK) != 0) return mem_text(path, strlen(path));
    }
}

static int generation_write_first(struct generation *generation, const struct view_code *code,
                                  struct fault *fault)
{
    struct docs_write *write;
    if (docs_begin(generation->docs, &write, fault) < 0) return -1;
    struct buf described = {0}, inputs = {0};
    generation_describe(generation, &described);
    mp_put_list(&inputs, (uint32_t)code->input_count * 2);
    for (size_t at = 0; at < code->input_count; at++) {
        char hex[2 * HASH_SIZE + 1];
        hash_hex(&code->inputs[at].hash, hex);
        mp_put_text(&inputs, code->inputs[at].label);
        mp_put_text(&inputs, slice_of(hex));
    }
    int done = docs_meta_put(write, slice_of("generation"), buf_slice(&described), fault);
    if (done == 0) done = docs_meta_put(write, slice_of("code"), slice_of(generation->code), fault);
    if (done == 0) done = docs_meta_put(write, slice_of("inputs"), buf_slice(&inputs), fault);
    buf_release(&described);
    buf_release(&inputs);
    if (done == 0) return docs_commit(write, fault);
    docs_abort(write);
    return -1;
}

int generation_create(struct view *view, const struct view_code *code, uint64_t number, uint32_t partitions,
                      const char *reason, struct generation **generation, struct fault *fault)
{
    struct generation *made = MEM_NEW(struct generation);
    made->view = view;
    made->number = number;
    made->deploy = code->deploy;
    made->partition_count = partitions;
    memcpy(made->code, code->hash, sizeof made->code);
    snprintf(made->reason, sizeof made->reason, "%s", reason);
    made->path = generation_new_path(view, code);
    struct docs_options options = {
        .path = made->path, .indexes = code->indexes, .index_count = code->index_count};
    bool dirty;
    if (docs_open(&options, &made->docs, &dirty, fault) < 0) {
        mem_free(made->path);
        mem_free(made);
        return -1;
    }
    generation_opened(made, view->views);
    if (generation_write_first(made, code, fault) < 0) {
        made->destroy = true;
        generation_close(made);
        return -1;
    }
    *generation = made;
    return 0;
}

int generation_complete(struct generation *generation, uint64_t position, struct fault *fault)
{
    struct docs_write *write;
    if (docs_begin(generation->docs, &write, fault) < 0) return -1;
    struct buf bytes = {0};
    generation_put_number(&bytes, position);
    int done = docs_meta_put(write, slice_of("position"), buf_slice(&bytes), fault);
    if (done == 0) done = generation_put_chain(generation, write, position, fault);
    for (uint32_t at = 0; at < generation->partition_count && done == 0; at++) {
        char key[32];
        snprintf(key, sizeof key, "partition/%u", at);
        done = docs_meta_put(write, slice_of(key), SLICE_NONE, fault);
    }
    if (done == 0) done = docs_meta_put(write, slice_of("split"), SLICE_NONE, fault);
    buf_clear(&bytes);
    atomic_store(&generation->complete, true);
    generation_describe(generation, &bytes);
    if (done == 0) done = docs_meta_put(write, slice_of("generation"), buf_slice(&bytes), fault);
    buf_release(&bytes);
    if (done == 0)
        done = docs_commit(write, fault);
    else
        docs_abort(write);
    if (done == 0) {
        atomic_store(&generation->position, position);
        generation->built_ns = clock_monotonic_ns();
    } else {
        atomic_store(&generation->complete, false);
    }
    return done;
}

int generation_store(struct generation *generation, struct fault *fault)
{
    struct docs_write *write;
    if (docs_begin(generation->docs, &write, fault) < 0) return -1;
    struct buf bytes = {0};
    generation_describe(generation, &bytes);
    int done = docs_meta_put(write, slice_of("generation"), buf_slice(&bytes), fault);
    buf_release(&bytes);
    if (done == 0) return docs_commit(write, fault);
    docs_abort(write);
    return -1;
}

int generation_unnumber(struct generation *generation, struct fault *fault)
{
    generation->number = 0;
    generation->is_planned = true;
    return generation_store(generation, fault);
}

void generation_close(struct generation *generation)
{
    if (!generation) return;
    docs_close(generation->docs);
    split_plan_release(&generation->plan);
    spill_close(generation->spill);
    if (generation->view) /* else it was never fed */
        outage_forget(&generation->view->views->hub->outage, &generation->outage);
    struct fault fault;
    if (generation->destroy && docs_destroy(generation->path, &fault) < 0) say_warn("views: %s", fault.text);
    generation_closed(generation);
    mem_free(generation->path);
    mem_free(generation);
}

void generation_hold(struct generation *generation)
{
    generation->holds++;
}

void generation_let_go(struct generation *generation)
{
    CHECK(generation->holds > 0);
    if (--generation->holds == 0 && atomic_load(&generation->retired)) generation_close(generation);
}

void generation_retire(struct generation *generation, bool destroy)
{
    generation->destroy = destroy;
    atomic_store(&generation->retired, true);
    if (generation->holds == 0) generation_close(generation);
}

uint64_t generation_progress(const struct generation *generation)
{
    if (atomic_load(&generation->complete) || generation->partition_count == 0)
        return atomic_load(&generation->position);
    uint64_t sum = 0;
    for (uint32_t at = 0; at < generation->partition_count; at++)
        sum += atomic_load(&generation->reached[at]);
    return sum / generation->partition_count;
}

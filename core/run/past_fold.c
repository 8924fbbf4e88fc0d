#include "run/past_fold.h"

#include <stdio.h>

#include "base/limit.h"
#include "base/mem.h"
#include "codec/mp.h"

enum {
    PAST_EVENTS_MAX = 50000,      /* folded between two flushes into a store */
    PAST_DIRTY_MAX = 20000,       /* documents changed between two */
    PAST_DOCUMENTS_MAX = 20000,   /* kept live in Lua */
    PAST_MEMORY_MAX = 160 << 20,  /* of the Lua state: then it is flushed early */
    PAST_FULL_EVERY = 512,        /* events between two looks at these */
    PAST_KEYS_FAILED_MAX = 10000, /* keys that one event may park */
    PAST_GOES_ON_EVERY = 16       /* events between two questions whether it goes on */
};

enum past_step {
    PAST_ON,
    PAST_BACK,    /* again, from the last flush */
    PAST_STOPPED, /* the projection stops for this tenant */
    PAST_FAILED
};

struct past_put { /* one document in the batch, its key and value behind it */
    size_t key_size, value_size;
};

/* --- parked keys --- */

static void past_park(struct past_fold *fold, struct slice key, uint64_t position, const char *error)
{
    struct past_parked *parked = MEM_NEW(struct past_parked);
    parked->key = slice_make(mem_text(key.data, key.size), key.size);
    parked->position = position;
    parked->error = mem_text(error, strlen(error));
    map_put(&fold->parked, parked->key, parked);
    drafts_park(fold->drafts, parked->key);
}

static void past_parked_free(struct past_parked *parked)
{
    mem_free((char *)parked->key.data);
    mem_free(parked->error);
    mem_free(parked);
}

const struct past_parked *past_fold_parked(const struct past_fold *fold, struct slice key)
{
    return map_find(&fold->parked, key);
}

/* --- drafts --- */

static int past_load(void *user, struct slice key, struct buf *out, struct fault *fault)
{
    struct past_fold *fold = user;
    if (fold->docs) return fold->flushed ? docs_get(fold->docs, fold->tenant, key, out, fault) : 0;
    if (!fold->found || !slice_equal(key, fold->key)) return 0;
    buf_put_slice(out, buf_slice(&fold->document));
    return 1;
}

static void past_renew_drafts(struct past_fold *fold)
{
    drafts_free(fold->drafts);
    struct drafts_options options = {.projection = fold->projection,
                                     .tenant = fold->tenant,
                                     .load = past_load,
                                     .user = fold,
                                     .size_max = PAST_DOCUMENTS_MAX};
    if (!fold->docs) { /* no key lies between a key and the same with a 0 behind it */
        buf_clear(&fold->key_end);
        buf_put_slice(&fold->key_end, fold->key);
        buf_put_byte(&fold->key_end, 0);
        options.from = fold->key;
        options.to = buf_slice(&fold->key_end);
    }
    fold->drafts = drafts_new(fold->domain, &options);
    struct map kept = {0};
    struct past_parked *parked;
    size_t at = 0;
    while ((parked = map_next(&fold->parked, &at))) {
        if (!parked->stored) {
            past_parked_free(parked);
            continue;
        }
        map_put(&kept, parked->key, parked);
        drafts_park(fold->drafts, parked->key);
    }
    map_release(&fold->parked);
    fold->parked = kept;
}

static bool past_is_environment(enum drafts_failure failure, const struct fault *fault)
{
    return failure == DRAFTS_NONE && (fault->code == FAULT_DISK || fault->code == FAULT_CORRUPT ||
                                      fault->code == FAULT_PERMISSION || fault->code == FAULT_UNAVAILABLE);
}

/* --- flushing --- */

static int past_collect(void *user, struct slice key, struct slice value, struct fault *fault)
{
    struct past_fold *fold = user;
    struct past_put put = {key.size, value.size};
    buf_put(&fold->batch, &put, sizeof put);
    buf_put_slice(&fold->batch, key);
    buf_put_slice(&fold->batch, value);
    return 0;
}

static int past_write_failure(struct docs_write *write, struct slice key, uint64_t position,
                              const char *error, struct fault *fault)
{
    struct buf bytes = {0};
    mp_put_map(&bytes, 2);
    mp_put_text(&bytes, slice_of("error"));
    mp_put_text(&bytes, slice_of(error));
    mp_put_text(&bytes, slice_of("position"));
    mp_put_int(&bytes, (int64_t)position);
    int done = docs_meta_put(write, key, buf_slice(&bytes), fault);
    buf_release(&bytes);
    return done;
}

static int past_write_meta(struct past_fold *fold, struct docs_write *write, struct fault *fault)
{
    struct buf key = {0}, position = {0};
    struct past_parked *parked;
    size_t at = 0;
    int done = 0;
    while (done == 0 && (parked = map_next(&fold->parked, &at))) {
        if (parked->stored) continue;
        buf_clear(&key);
        buf_format(&key, "parked/%.*s", SLICE_ARGS(fold->tenant));
        buf_put_byte(&key, 0);
        buf_put_slice(&key, parked->key);
        done = past_write_failure(write, buf_slice(&key), parked->position, parked->error, fault);
    }
    if (done == 0 && fold->stopped_position) {
        buf_clear(&key);
        buf_format(&key, "stopped/%.*s", SLICE_ARGS(fold->tenant));
        done = past_write_failure(write, buf_slice(&key), fold->stopped_position, fold->stopped_error, fault);
    }
    mp_put_int(&position, (int64_t)fold->last);
    if (done == 0) done = docs_meta_put(write, slice_of("position"), buf_slice(&position), fault);
    buf_release(&key);
    buf_release(&position);
    return done;
}

static int past_write_batch(struct past_fold *fold, struct docs_write *write, struct fault *fault)
{
    for (size_t at = 0; at < fold->batch.size;) {
        struct past_put put;
        memcpy(&put, fold->batch.data + at, sizeof put);
        struct slice key = slice_make(fold->batch.data + at + sizeof put, put.key_size);
        struct slice value = slice_make(key.data + key.size, put.value_size);
        at += sizeof put + put.key_size + put.value_size;
        int done = value.size ? docs_put(write, fold->tenant, key, value, fault)
                              : docs_remove(write, fold->tenant, key, fault);
        if (done < 0) return -1;
    }
    return past_write_meta(fold, write, fault);
}

static int past_store(struct past_fold *fold, struct fault *fault)
{
    struct docs_write *write;
    if (docs_begin(fold->docs, &write, fault) < 0) return -1;
    if (past_write_batch(fold, write, fault) == 0) return docs_commit(write, fault);
    docs_abort(write);
    return -1;
}

/* The batch of the one document: it was changed, was removed, or is as it was. */
static void past_keep(struct past_fold *fold)
{
    struct past_put put;
    if (!fold->batch.size) return;
    memcpy(&put, fold->batch.data, sizeof put);
    buf_clear(&fold->document);
    buf_put(&fold->document, fold->batch.data + sizeof put + put.key_size, put.value_size);
    fold->found = put.value_size > 0;
}

static enum past_step past_flush(struct past_fold *fold, struct fault *fault)
{
    enum drafts_failure failure = DRAFTS_NONE;
    bool exact = fold->exact_until > 0 && fold->last <= fold->exact_until;
    buf_clear(&fold->batch);
    domain_set_exact(fold->domain, exact);
    int done = drafts_flush(fold->drafts, past_collect, fold, &failure, &fold->failing, fault);
    domain_set_exact(fold->domain, false);
    if (done < 0) {
        if (exact || past_is_environment(failure, fault)) return PAST_FAILED;
        fold->exact_until = fold->last;
        return PAST_BACK;
    }
    if (fold->docs) {
        if (past_store(fold, fault) < 0) return PAST_FAILED;
    } else {
        past_keep(fold);
    }
    struct past_parked *parked;
    size_t at = 0;
    while ((parked = map_next(&fold->parked, &at))) parked->stored = true;
    fold->flushed = fold->last;
    fold->events = 0;
    return PAST_ON;
}

static bool past_is_full(const struct past_fold *fold)
{
    if (!fold->docs) return false;
    return fold->events >= PAST_EVENTS_MAX || drafts_dirty(fold->drafts) >= PAST_DIRTY_MAX ||
           domain_memory(fold->domain) > PAST_MEMORY_MAX;
}

/* --- folding --- */

static enum past_step past_stop(struct past_fold *fold, uint64_t position, const struct fault *fault)
{
    fold->stopped_position = position;
    mem_free(fold->stopped_error);
    fold->stopped_error = mem_text(fault->text, strlen(fault->text));
    return PAST_STOPPED;
}

/* In exact mode a key that fails is parked and the event folded again, for its other keys. */
static enum past_step past_try(struct past_fold *fold, const struct past_event *event, bool exact,
                               struct fault *fault)
{
    uint64_t position = event->envelope.position;
    for (int tries = 0; tries < PAST_KEYS_FAILED_MAX; tries++) {
        enum drafts_failure failure = DRAFTS_NONE;
        buf_clear(&fold->failing);
        if (drafts_fold(fold->drafts, *event->handler, &event->envelope, event->data, &failure,
                        &fold->failing, fault) == 0)
            return PAST_ON;
        if (past_is_environment(failure, fault)) return PAST_FAILED;
        if (!exact) {
            fold->exact_until = position;
            return PAST_BACK;
        }
        if (failure != DRAFTS_KEY) return past_stop(fold, position, fault);
        past_park(fold, buf_slice(&fold->failing), position, fault->text);
    }
    return PAST_ON;
}

static enum past_step past_take(struct past_fold *fold, const struct past_event *event, struct fault *fault)
{
    const struct envelope *envelope = &event->envelope;
    bool exact = envelope->position <= fold->exact_until;
    if (*event->handler < 0)
        *event->handler = drafts_handler(fold->drafts, envelope->context, envelope->type);
    fold->folded++;
    fold->events++;
    if (exact) domain_set_exact(fold->domain, true);
    enum past_step step = past_try(fold, event, exact, fault);
    if (exact) domain_set_exact(fold->domain, false);
    if (step == PAST_ON || step == PAST_STOPPED) fold->last = envelope->position;
    /* What failed is kept before the fast way goes on: the next failure does not come back behind it. */
    if (step == PAST_ON && exact && envelope->position == fold->exact_until) return past_flush(fold, fault);
    if (step == PAST_ON && fold->events % PAST_FULL_EVERY == 0 && past_is_full(fold))
        return past_flush(fold, fault);
    return step;
}

/* From the last flush on to the end of what there is, or to what ends it. */
static enum past_step past_pass(struct past_fold *fold, struct fault *fault)
{
    struct past_event event;
    int more;
    if (past_read_seek(fold->read, fold->flushed, fault) < 0) return PAST_FAILED;
    fold->last = fold->flushed;
    fold->events = 0;
    while ((more = past_read_next(fold->read, &event, fault)) > 0) {
        if ((more == 2 || fold->folded % PAST_GOES_ON_EVERY == 0) &&
            fold->goes_on(fold->user, past_read_position(fold->read), fold->folded, fault) < 0)
            return PAST_FAILED;
        if (more == 2) continue;
        enum past_step step = past_take(fold, &event, fault);
        if (step == PAST_STOPPED) break;
        if (step != PAST_ON) return step;
    }
    return more < 0 ? PAST_FAILED : past_flush(fold, fault);
}

int past_fold_run(struct past_fold *fold, struct fault *fault)
{
    const struct domain_projection *declared = domain_projection(fold->domain, fold->projection);
    struct past_read_from from = {.engine = fold->engine,
                                  .projection = declared,
                                  .tenant = fold->tenant,
                                  .id = !fold->docs && declared->default_key ? fold->key : SLICE_NONE,
                                  .bound = fold->bound};
    fold->read = past_read_new(&from);
    enum past_step step;
    struct fault failed; /* a script's fault is no fault of the question */
    do {
        past_renew_drafts(fold);
        mem_free(fold->stopped_error);
        fold->stopped_error = NULL;
        fold->stopped_position = 0;
        step = past_pass(fold, &failed);
    } while (step == PAST_BACK);
    if (step == PAST_FAILED) {
        if (fault) *fault = failed;
        return -1;
    }
    /* Of a time only what was folded tells where it is. */
    fold->position = fold->bound.position == UINT64_MAX ? fold->last : fold->bound.position;
    if (fold->stopped_position && fold->stopped_position <= fold->position)
        fold->position = fold->stopped_position - 1;
    return 0;
}

void past_fold_release(struct past_fold *fold)
{
    struct past_parked *parked;
    size_t at = 0;
    drafts_free(fold->drafts);
    past_read_free(fold->read);
    while ((parked = map_next(&fold->parked, &at))) past_parked_free(parked);
    map_release(&fold->parked);
    mem_free(fold->stopped_error);
    buf_release(&fold->document);
    buf_release(&fold->failing);
    buf_release(&fold->key_end);
    buf_release(&fold->batch);
}

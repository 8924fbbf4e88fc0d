/* Looking at what was deployed. */
#include "run/deploys.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/pack.h"
#include "run/deploys_inside.h"

static int damaged(struct fault *fault, const char *key)
{
    return fault_set(fault, FAULT_CORRUPT, "the value %s of the log is not what was written", key);
}

int deploys_now(struct engine *engine, struct deploys_now *now, struct fault *fault)
{
    struct buf bytes = {0};
    *now = (struct deploys_now){0};
    int found = engine_meta_get(engine, slice_of("deploys"), &bytes, fault);
    if (found == 1 && deploys_read_now(buf_slice(&bytes), now) < 0) found = damaged(fault, "deploys");
    if (found == 0) {
        struct hash digest;
        found = engine_meta_get(engine, slice_of("deploy"), &bytes, fault);
        if (found == 1 && deploys_read_old(buf_slice(&bytes), &now->last, &digest) < 0)
            found = damaged(fault, "deploy");
        now->running = now->last;
        now->first = now->last + 1;
    }
    buf_release(&bytes);
    return found;
}

static int load_known(struct engine *engine, uint64_t number, struct arena *arena,
                      struct deploy_record *record, struct fault *fault)
{
    char key[DEPLOYS_KEY_SIZE];
    struct buf bytes = {0};
    deploys_key("deploy", number, key);
    int found = engine_meta_get(engine, slice_of(key), &bytes, fault);
    if (found == 1 && (deploys_read_record(arena_copy(arena, buf_slice(&bytes)), arena, record) < 0 ||
                       record->number != number))
        found = damaged(fault, key);
    if (found == 0) found = fault_set(fault, FAULT_CORRUPT, "the value %s of the log is missing", key);
    buf_release(&bytes);
    return found < 0 ? -1 : 0;
}

static int no_deploy(const struct deploys_now *now, uint64_t number, struct fault *fault)
{
    if (number > 0 && number < now->first && number <= now->last)
        return fault_set(fault, FAULT_NOT_FOUND,
                         "deploy %" PRIu64 " was made before the log kept deploys: the oldest it has is "
                         "%" PRIu64,
                         number, now->first);
    return fault_set(fault, FAULT_NOT_FOUND, "no deploy %" PRIu64 ": the last is %" PRIu64, number,
                     now->last);
}

int deploys_load(struct engine *engine, uint64_t number, struct arena *arena, struct deploy_record *record,
                 struct fault *fault)
{
    struct deploys_now now;
    if (deploys_now(engine, &now, fault) < 0) return -1;
    if (number < now.first || number > now.last || number == 0) return no_deploy(&now, number, fault);
    return load_known(engine, number, arena, record, fault);
}

/* A packed value of this hash. */
static int load_packed(struct engine *engine, const char *key, const struct hash *hash, size_t size_max,
                       struct buf *out, struct fault *fault)
{
    struct buf packed = {0};
    size_t before = out->size;
    int found = engine_meta_get(engine, slice_of(key), &packed, fault);
    if (found == 1) {
        bool whole = pack_read(buf_slice(&packed), size_max, out) == 0;
        struct hash got = hash_of(slice_make(whole ? out->data + before : NULL, out->size - before));
        if (!whole || !hash_equal(&got, hash)) {
            out->size = before;
            found = damaged(fault, key);
        }
    } else if (found == 0) {
        found = fault_set(fault, FAULT_CORRUPT, "the value %s of the log is missing", key);
    }
    buf_release(&packed);
    return found < 0 ? -1 : 0;
}

int deploys_gate(struct engine *engine, const struct deploy_record *record, struct buf *json,
                 struct fault *fault)
{
    char key[DEPLOYS_KEY_SIZE];
    if (record->gate_size == 0) return 0;
    deploys_key("gate", record->number, key);
    return load_packed(engine, key, &record->gate, DEPLOYS_GATE_SIZE_MAX, json, fault);
}

int deploys_text(struct engine *engine, const struct hash *hash, struct buf *text, struct fault *fault)
{
    char key[DEPLOYS_KEY_SIZE];
    deploys_source_key(hash, key);
    return load_packed(engine, key, hash, SOURCES_TEXT_SIZE_MAX, text, fault);
}

int deploys_sources(struct engine *engine, uint64_t number, struct sources **sources, struct fault *fault)
{
    struct arena arena = {0};
    struct deploy_record record;
    int done = deploys_load(engine, number, &arena, &record, fault);
    size_t count = done == 0 ? record.script_count : 0;
    struct source_text *texts = arena_take(&arena, (count + 1) * sizeof *texts);
    struct buf text = {0};
    for (size_t at = 0; at < count && done == 0; at++) {
        buf_clear(&text);
        done = deploys_text(engine, &record.scripts[at].hash, &text, fault);
        texts[at] = (struct source_text){record.scripts[at].path, arena_copy(&arena, buf_slice(&text))};
    }
    if (done == 0) {
        char dir[48];
        snprintf(dir, sizeof dir, "deploy %" PRIu64, number);
        *sources = sources_of_texts(dir, texts, count);
    }
    buf_release(&text);
    arena_release(&arena);
    return done;
}

/* --- what runs, and ran --- */

int deploys_load_switch(struct engine *engine, uint64_t number, struct buf *bytes,
                        struct deploy_switch *change, struct fault *fault)
{
    char key[DEPLOYS_KEY_SIZE];
    deploys_key("switch", number, key);
    buf_clear(bytes);
    int found = engine_meta_get(engine, slice_of(key), bytes, fault);
    if (found < 0) return -1;
    if (found == 0) return fault_set(fault, FAULT_CORRUPT, "the value %s of the log is missing", key);
    if (deploys_read_switch(buf_slice(bytes), change) < 0 || change->number != number)
        return damaged(fault, key);
    return 0;
}

int deploys_each_switch(struct engine *engine, bool (*each)(void *user, const struct deploy_switch *change),
                        void *user, struct fault *fault)
{
    struct deploys_now now;
    struct deploy_switch change;
    struct buf bytes = {0};
    if (deploys_now(engine, &now, fault) < 0) return -1;
    int done = 0;
    for (uint64_t number = now.switches; number > 0 && done == 0; number--) {
        done = deploys_load_switch(engine, number, &bytes, &change, fault);
        if (done == 0 && !each(user, &change)) break;
    }
    buf_release(&bytes);
    return done;
}

/* What the newest switch away from each deploy says. */
struct states {
    uint64_t first, last;
    bool *left, *undone; /* of first, first + 1, ... */
};

static bool state_of_switch(void *user, const struct deploy_switch *change)
{
    struct states *states = user;
    if (change->from < states->first || change->from > states->last) return true;
    uint64_t at = change->from - states->first;
    if (!states->left[at])
        states->undone[at] = change->why == DEPLOY_WHY_UNDEPLOY || change->why == DEPLOY_WHY_ROLLBACK;
    states->left[at] = true;
    return states->first != states->last; /* of one deploy nothing else is asked */
}

static int states_of(struct engine *engine, uint64_t first, uint64_t last, struct states *states,
                     struct arena *arena, struct fault *fault)
{
    size_t count = last >= first ? (size_t)(last - first + 1) : 0;
    *states = (struct states){first, last, arena_zero(arena, count + 1), arena_zero(arena, count + 1)};
    return deploys_each_switch(engine, state_of_switch, states, fault);
}

int deploys_state(struct engine *engine, uint64_t number, enum deploy_state *state, struct fault *fault)
{
    struct deploys_now now;
    struct states states;
    struct arena arena = {0};
    if (deploys_now(engine, &now, fault) < 0) return -1;
    if (number == 0 || number > now.last) return no_deploy(&now, number, fault);
    int done = states_of(engine, number, number, &states, &arena, fault);
    *state = number == now.running           ? DEPLOY_RUNNING
             : done == 0 && states.undone[0] ? DEPLOY_UNDONE
                                             : DEPLOY_SUPERSEDED;
    arena_release(&arena);
    return done;
}

struct moment {
    uint64_t position, number;
};

/* Newest first, the first that was made before the event: also across rollbacks, which are switches at the
 * position that the log was cut to. */
static bool ran_at(void *user, const struct deploy_switch *change)
{
    struct moment *moment = user;
    if (change->position >= moment->position) return true;
    moment->number = change->to;
    return false;
}

int deploys_at_position(struct engine *engine, uint64_t position, uint64_t *number, struct fault *fault)
{
    struct moment moment = {.position = position};
    if (deploys_each_switch(engine, ran_at, &moment, fault) < 0) return -1;
    *number = moment.number;
    return 0;
}

int deploys_of_folder(struct engine *engine, struct slice folder, struct arena *arena,
                      struct deploy_record *record, struct fault *fault)
{
    struct deploys_now now;
    struct arena scratch = {0};
    if (deploys_now(engine, &now, fault) < 0) return -1;
    int found = 0;
    for (uint64_t number = now.last; number >= now.first && number > 0 && found == 0; number--) {
        arena_reset(&scratch);
        if (load_known(engine, number, &scratch, record, fault) < 0)
            found = -1;
        else if (slice_equal(record->folder, folder))
            found = load_known(engine, number, arena, record, fault) < 0 ? -1 : 1;
    }
    arena_release(&scratch);
    return found;
}

int deploys_each(struct engine *engine, uint64_t below,
                 bool (*each)(void *user, const struct deploy_record *record, enum deploy_state state),
                 void *user, struct fault *fault)
{
    struct deploys_now now;
    struct states states;
    struct arena arena = {0}, scratch = {0};
    if (deploys_now(engine, &now, fault) < 0) return -1;
    uint64_t number = below && below <= now.last ? below - 1 : now.last;
    int done = states_of(engine, now.first, now.last, &states, &arena, fault);
    for (; number >= now.first && number > 0 && done == 0; number--) {
        struct deploy_record record;
        arena_reset(&scratch);
        done = load_known(engine, number, &scratch, &record, fault);
        enum deploy_state state = number == now.running               ? DEPLOY_RUNNING
                                  : states.undone[number - now.first] ? DEPLOY_UNDONE
                                                                      : DEPLOY_SUPERSEDED;
        if (done == 0 && !each(user, &record, state)) break;
    }
    arena_release(&scratch);
    arena_release(&arena);
    return done;
}

/* Whether all that was deployed is there and is what was written. */
#include <inttypes.h>
#include <stdio.h>

#include "base/map.h"
#include "run/deploys_inside.h"

struct checking {
    struct engine *engine;
    void (*tell)(void *user, const char *sentence);
    void *user;
    struct map whole; /* hashes of texts that were looked at */
    struct arena arena;
    struct arena record_arena;
    uint64_t checked;
};

static void tell(const struct checking *checking, uint64_t number, const char *what)
{
    char sentence[2300];
    snprintf(sentence, sizeof sentence, "deploy %" PRIu64 ": %s", number, what);
    checking->tell(checking->user, sentence);
}

static void check_texts(struct checking *checking, const struct deploy_record *record)
{
    struct fault fault;
    struct buf text = {0};
    for (size_t at = 0; at < record->script_count; at++) {
        const struct deploy_script *script = &record->scripts[at];
        struct slice hash = slice_make(script->hash.bytes, HASH_SIZE);
        if (map_find(&checking->whole, hash)) continue;
        map_put(&checking->whole, arena_copy(&checking->arena, hash), checking);
        buf_clear(&text);
        if (deploys_text(checking->engine, &script->hash, &text, &fault) == 0) continue;
        char what[2200];
        snprintf(what, sizeof what, "%.*s: %s", SLICE_ARGS(script->path), fault.text);
        tell(checking, record->number, what);
    }
    buf_clear(&text);
    if (deploys_gate(checking->engine, record, &text, &fault) < 0) tell(checking, record->number, fault.text);
    buf_release(&text);
}

/* chain: the digest of the record before, and then of this one. false: the chain ends here. */
static bool check_record(struct checking *checking, uint64_t number, struct hash *chain)
{
    struct fault fault;
    struct deploy_record record;
    arena_reset(&checking->record_arena);
    if (deploys_load(checking->engine, number, &checking->record_arena, &record, &fault) < 0) {
        tell(checking, number, fault.text);
        return false;
    }
    checking->checked++;
    if (!hash_equal(&record.previous, chain))
        tell(checking, number, "its record does not follow the one before it");
    if (record.before >= number) tell(checking, number, "its record says that a later deploy ran before it");
    *chain = record.own;
    check_texts(checking, &record);
    return true;
}

static void check_records(struct checking *checking, const struct deploys_now *now)
{
    struct hash chain = {{0}};
    for (uint64_t number = now->first; number <= now->last && number > 0; number++)
        if (!check_record(checking, number, &chain)) return;
    if (now->last >= now->first && now->first > 0 && !hash_equal(&chain, &now->chain))
        tell(checking, now->last, "its record is not the one that was written last");
}

static void check_switches(struct checking *checking, const struct deploys_now *now)
{
    struct fault fault;
    struct deploy_switch change;
    struct buf bytes = {0};
    uint64_t to = now->running;
    for (uint64_t number = now->switches; number > 0; number--) {
        if (deploys_load_switch(checking->engine, number, &bytes, &change, &fault) < 0) {
            checking->tell(checking->user, fault.text);
            break;
        }
        if (change.to != to) tell(checking, to, "no change of what runs leads to it");
        to = change.from;
    }
    buf_release(&bytes);
}

int deploys_verify(struct engine *engine, void (*tell_one)(void *user, const char *sentence), void *user,
                   uint64_t *checked, struct fault *fault)
{
    struct checking checking = {.engine = engine, .tell = tell_one, .user = user};
    struct deploys_now now;
    struct fault met;
    *checked = 0;
    int found = deploys_now(engine, &now, &met);
    if (found < 0 && met.code != FAULT_CORRUPT) {
        *fault = met;
        return -1;
    }
    if (found < 0) tell_one(user, met.text);
    if (found == 1) {
        check_records(&checking, &now);
        check_switches(&checking, &now);
    }
    *checked = checking.checked;
    map_release(&checking.whole);
    arena_release(&checking.arena);
    arena_release(&checking.record_arena);
    return 0;
}

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/text.h"
#include "vm/drafts.h"
#include "vm/value.h"

/* --- the parts of a call; all raise --- */

/* A fresh table for each call of a script function: what one changes in it the next does not see. */
static void push_event(struct drafts_step *step)
{
    struct drafts *drafts = step->drafts;
    lua_State *lua = drafts->domain->vm->lua;
    const struct contract_message *message = step->handler->declared->message;
    if (drafts->domain->vm->exact || step->envelope->type_version != message->version) {
        drafts->upcasting = step->envelope->type_version != message->version;
        domain_push_event(drafts->domain, message, step->envelope->type_version, step->data,
                          drafts->domain->m_ref);
        drafts->upcasting = false;
        return;
    }
    if (!step->handler->plan) step->handler->plan = lazy_plan_new(&drafts->stale);
    lazy_push(step->handler->plan, lua, step->data);
}

static void push_envelope(struct drafts_step *step)
{
    struct domain *domain = step->drafts->domain;
    struct drafts_handler *handler = step->handler;
    lua_State *lua = domain->vm->lua;
    if (handler->type_ref == LUA_NOREF) {
        /* What a call may allocate does not depend on whether it is the first. */
        size_t allocated = domain->vm->call_allocated;
        struct slice type = handler->declared->message->name;
        lua_pushlstring(lua, type.data, type.size);
        handler->type_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
        domain->vm->call_allocated = allocated;
    }
    domain->m->type_ref = handler->type_ref;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, domain->m_ref);
}

/* With function and first argument on the stack: pushes e and m as far as the function can see them. Returns
 * the arguments. */
static int push_arguments(struct drafts_step *step, int parameters, int first)
{
    if (parameters > first) push_event(step);
    if (parameters > first + 1) push_envelope(step);
    return parameters > first + 1 ? first + 2 : parameters > first ? first + 1 : first;
}

static void add_key(struct drafts *drafts, struct slice key)
{
    if (drafts->key_count == drafts->key_max) {
        drafts->key_max = drafts->key_max ? drafts->key_max * 2 : 8;
        drafts->keys = mem_resize(drafts->keys, drafts->key_max * sizeof *drafts->keys);
    }
    /* The bytes may still move: finish_keys sets where they are. */
    drafts->keys[drafts->key_count++] = (struct slice){NULL, key.size};
    buf_put_slice(&drafts->key_bytes, key);
}

static int compare_keys(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* In order, each once. */
static void finish_keys(struct drafts *drafts)
{
    const char *at = drafts->key_bytes.data;
    for (size_t index = 0; index < drafts->key_count; index++) {
        drafts->keys[index].data = at;
        at += drafts->keys[index].size;
    }
    if (drafts->key_count < 2) return;
    qsort(drafts->keys, drafts->key_count, sizeof *drafts->keys, compare_keys);
    size_t kept = 1;
    for (size_t index = 1; index < drafts->key_count; index++)
        if (!slice_equal(drafts->keys[index], drafts->keys[kept - 1]))
            drafts->keys[kept++] = drafts->keys[index];
    drafts->key_count = kept;
}

/* Calls the key function: drafts->keys are what it gave. */
static int run_key(lua_State *lua)
{
    struct drafts_step *step = lua_touserdata(lua, 1);
    struct drafts *drafts = step->drafts;
    const struct loader_projection *projection = drafts->projection;
    drafts->key_count = 0;
    buf_clear(&drafts->key_bytes);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, projection->key);
    lua_call(lua, push_arguments(step, projection->key_parameters, 0), LUA_MULTRET);
    int top = lua_gettop(lua);
    luaL_checkstack(lua, 8, NULL);
    char what[512];
    snprintf(what, sizeof what, "%.*s:%d: a key of %.*s", SLICE_ARGS(projection->path), projection->line,
             SLICE_ARGS(projection->declared.name));
    for (int index = 2; index <= top; index++) {
        if (lua_isnil(lua, index)) continue;
        if (lua_type(lua, index) != LUA_TTABLE) {
            add_key(drafts, drafts_key_at(lua, index, what));
            lua_settop(lua, top);
            continue;
        }
        lua_Integer items = (lua_Integer)lua_rawlen(lua, index);
        for (lua_Integer item = 1; item <= items; item++) {
            lua_rawgeti(lua, index, item);
            add_key(drafts, drafts_key_at(lua, -1, what));
            lua_settop(lua, top);
        }
    }
    finish_keys(drafts);
    return 0;
}

/* The handler of a keyed projection for one document. */
static void run_handler(struct drafts_step *step, struct drafts_document *document)
{
    struct drafts *drafts = step->drafts;
    lua_State *lua = drafts->domain->vm->lua;
    const struct loader_handler *handler = step->handler->declared;
    int top = lua_gettop(lua);
    drafts_touch(drafts, document);
    if (document->slot)
        drafts_push(drafts, document);
    else
        drafts_push_initial(drafts);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, handler->function);
    lua_pushvalue(lua, top + 1);
    lua_call(lua, push_arguments(step, handler->parameters, 1), 1);
    if (lua_isnil(lua, -1)) {
        lua_settop(lua, top + 1);
        if (document->slot)
            drafts_change(drafts, document);
        else
            drafts_store(drafts, document);
    } else if (lua_isboolean(lua, -1) && !lua_toboolean(lua, -1)) {
        drafts_remove(drafts, document);
    } else {
        char what[128];
        domain_raise_at(drafts->domain, handler->path, handler->line,
                        "when.%s must return nothing, or false to remove the document; it returned %s",
                        handler->message->name.data, domain_describe_value(lua, -1, what));
    }
    lua_settop(lua, top);
}

static void run_free(struct drafts_step *step)
{
    struct drafts *drafts = step->drafts;
    lua_State *lua = drafts->domain->vm->lua;
    const struct loader_handler *handler = step->handler->declared;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, handler->function);
    drafts_push_docs(drafts);
    lua_call(lua, push_arguments(step, handler->parameters, 1), 1);
    if (lua_isnil(lua, -1)) return;
    char what[128];
    domain_raise_at(drafts->domain, handler->path, handler->line,
                    "when.%s changes documents through docs and must return nothing, it returned %s",
                    handler->message->name.data, domain_describe_value(lua, -1, what));
}

/* --- which keys are ours --- */

/* Whether the key is in our range and is not parked (then the event is counted). */
static bool is_wanted(struct drafts *drafts, struct slice key)
{
    struct slice from = drafts->options.from, to = drafts->options.to;
    if (from.size && slice_compare(key, from) < 0) return false;
    if (to.size && slice_compare(key, to) >= 0) return false;
    if (drafts->parked.size == 0) return true;
    struct drafts_parked *parked = drafts_find_parked(drafts, key);
    if (!parked) return true;
    parked->skipped++;
    return false;
}

/* --- fast --- */

static bool glance_at_touched(struct drafts *drafts)
{
    struct domain *domain = drafts->domain;
    lua_State *lua = domain->vm->lua;
    bool plain = true;
    for (size_t at = 0; plain && at < drafts->touched_count; at++) {
        const struct drafts_document *document = drafts->touched[at].document;
        if (document->slot == 0) continue;
        drafts_push(drafts, document);
        plain = plain_glance(lua, -1, &domain->seen, SIZE_MAX, domain->document_size_max);
        lua_pop(lua, 1);
    }
    plain_seen_clear(&domain->seen);
    return plain;
}

/* What the call changed is looked at after each call: at the flush it would be too late, since what is no
 * plain data may be mended by the next event, and what is shared may have been changed in two places. So the
 * verdict does not depend on when documents are flushed. */
static void look_at_touched(struct drafts *drafts)
{
    struct domain *domain = drafts->domain;
    lua_State *lua = domain->vm->lua;
    bool shared = false;
    if (glance_at_touched(drafts)) return;
    for (size_t at = 0; at < drafts->touched_count; at++) {
        const struct drafts_document *document = drafts->touched[at].document;
        if (document->slot == 0) continue;
        drafts_push(drafts, document);
        enum plain_verdict verdict = plain_look(lua, -1, &domain->seen, SIZE_MAX, domain->document_size_max);
        if (verdict == PLAIN_NOT || verdict == PLAIN_LARGE) {
            lazy_find(lua, -1, 0);
            vm_raise(lua, FAULT_SCRIPT, 0, "a document is no plain data, or too large");
        }
        shared = shared || verdict == PLAIN_SHARED;
        lua_pop(lua, 1);
    }
    plain_seen_clear(&domain->seen);
    const struct drafts_touched *touched;
    if (shared) drafts_settle(drafts, &touched);
}

static int fold_event(lua_State *lua)
{
    struct drafts_step *step = lua_touserdata(lua, 1);
    struct drafts *drafts = step->drafts;
    if (!drafts->projection->declared.keyed) {
        run_free(step);
    } else if (drafts->projection->declared.default_key) {
        run_handler(step, drafts_take(drafts, step->key));
    } else {
        run_key(lua);
        lua_settop(lua, 1);
        for (size_t at = 0; at < drafts->key_count; at++)
            if (is_wanted(drafts, drafts->keys[at])) run_handler(step, drafts_take(drafts, drafts->keys[at]));
    }
    look_at_touched(drafts);
    return 0;
}

/* Every call of a script function of the projection goes through here. */
static int call_step(struct drafts_step *step, lua_CFunction function, struct fault *fault)
{
    struct drafts *drafts = step->drafts;
    struct domain *domain = drafts->domain;
    drafts_stop_collector(drafts);
    drafts->load_failed = drafts->upcasting = false;
    envelope_view_open(domain->m, step->envelope, ENVELOPE_LOGGED);
    if (drafts->docs) drafts->docs->drafts = drafts;
    lua_pushcfunction(domain->vm->lua, function);
    lua_pushlightuserdata(domain->vm->lua, step);
    int result = vm_call(domain->vm, 1, 0, fault);
    envelope_view_close(domain->m);
    if (drafts->docs) drafts->docs->drafts = NULL;
    if (step->handler->plan) lazy_close(step->handler->plan);
    /* A pcall of the script may have caught it: it is no error that a script can have. */
    if (drafts->load_failed) {
        if (fault) *fault = drafts->load_fault;
        return -1;
    }
    if (result < 0) domain_blame_script(domain, NULL, "", fault);
    return result;
}

static int fold_fast(struct drafts_step *step, enum drafts_failure *failure, struct fault *fault)
{
    struct drafts *drafts = step->drafts;
    int result = call_step(step, fold_event, fault);
    drafts_untouch(drafts);
    struct lazy_plan *plan = step->handler->plan;
    if (result == 0) {
        if (!drafts->stale) return 0;
        drafts->stale = false;
        result = fault_set(fault, FAULT_SCRIPT, "an event outlived its call");
    } else if (plan && fault->code == FAULT_SCRIPT) {
        plan->full = true; /* perhaps it failed because of how its events are decoded */
    }
    *failure = drafts->load_failed ? DRAFTS_NONE : DRAFTS_REPEAT;
    return result;
}

/* --- exact --- */

static int take_document(lua_State *lua)
{
    struct drafts_step *step = lua_touserdata(lua, 1);
    step->document = drafts_take(step->drafts, step->key);
    drafts_touch(step->drafts, step->document);
    return 0;
}

static int handle_exactly(lua_State *lua)
{
    struct drafts_step *step = lua_touserdata(lua, 1);
    run_handler(step, step->document);
    return 0;
}

static int handle_freely(lua_State *lua)
{
    run_free(lua_touserdata(lua, 1));
    return 0;
}

struct settling {
    struct drafts *drafts;
    const struct drafts_touched *at;
};

static int settle(lua_State *lua)
{
    struct settling *settling = lua_touserdata(lua, 1);
    drafts_settle(settling->drafts, &settling->at);
    return 0;
}

static int restore(lua_State *lua)
{
    drafts_restore(lua_touserdata(lua, 1));
    return 0;
}

/* Ends a call in exact mode: what it touched is kept as plain data, or put back as it was. */
static int end_exact(struct drafts_step *step, int result, struct fault *fault)
{
    struct drafts *drafts = step->drafts;
    struct vm *vm = drafts->domain->vm;
    if (result == 0) {
        struct settling settling = {.drafts = drafts};
        struct fault wrong = {0};
        result = vm_protected(vm, settle, &settling, &wrong);
        if (result < 0) {
            const struct loader_handler *handler = step->handler->declared;
            bool is_free = !drafts->projection->declared.keyed;
            fault_set(fault, wrong.code, "%.*s:%d: when.%s: %s%.*s%s%s", SLICE_ARGS(handler->path),
                      handler->line, handler->message->name.data, is_free ? "'" : "",
                      SLICE_ARGS(is_free ? settling.at->document->key : SLICE_NONE), is_free ? "': " : "",
                      wrong.text);
        }
    }
    if (result < 0) {
        struct fault ignored;
        if (vm_protected(vm, restore, drafts, &ignored) < 0) *fault = ignored;
    }
    drafts_untouch(drafts);
    return result;
}

/* Whose fault it was: damage, the disk and the machine's memory are nobody's verdict. */
static enum drafts_failure failure_of(const struct drafts *drafts, enum drafts_failure of_script,
                                      const struct fault *fault)
{
    if (drafts->load_failed || fault->code == FAULT_CORRUPT || fault->code == FAULT_DISK ||
        fault->code == FAULT_UNAVAILABLE)
        return DRAFTS_NONE;
    return drafts->upcasting ? DRAFTS_STOPPED : of_script;
}

static int fold_key_exactly(struct drafts_step *step, enum drafts_failure *failure, struct fault *fault)
{
    struct drafts *drafts = step->drafts;
    drafts->load_failed = drafts->upcasting = false;
    if (vm_protected(drafts->domain->vm, take_document, step, fault) < 0) {
        drafts_untouch(drafts);
        *failure = DRAFTS_NONE;
        return -1;
    }
    int result = end_exact(step, call_step(step, handle_exactly, fault), fault);
    if (result < 0) *failure = failure_of(drafts, DRAFTS_KEY, fault);
    return result;
}

static void remember_failed(struct drafts *drafts, struct slice key, const struct fault *fault)
{
    struct drafts_failed **last = &drafts->failed;
    while (*last) last = &(*last)->next;
    *last = mem_zero(sizeof **last + key.size + 1);
    memcpy(*last + 1, key.data, key.size);
    (*last)->key = slice_make(*last + 1, key.size);
    (*last)->fault = *fault;
}

static int tell_failed(struct drafts *drafts, enum drafts_failure *failure, struct buf *failing_key,
                       struct fault *fault)
{
    struct drafts_failed *failed = drafts->failed;
    if (!failed) return 0;
    drafts->failed = failed->next;
    *failure = DRAFTS_KEY;
    if (failing_key) {
        buf_clear(failing_key);
        buf_put_slice(failing_key, failed->key);
    }
    *fault = failed->fault;
    mem_free(failed);
    return -1;
}

/* Each key on its own: one that fails is parked here and told below, the others go on. */
static int fold_keys_exactly(struct drafts_step *step, enum drafts_failure *failure, struct fault *fault)
{
    struct drafts *drafts = step->drafts;
    for (size_t at = 0; at < drafts->key_count; at++) {
        step->key = drafts->keys[at];
        if (!is_wanted(drafts, step->key)) continue;
        struct fault wrong = {0};
        if (fold_key_exactly(step, failure, &wrong) == 0) continue;
        if (*failure != DRAFTS_KEY) {
            *fault = wrong;
            return -1;
        }
        remember_failed(drafts, step->key, &wrong);
        drafts_park(drafts, step->key);
        *failure = DRAFTS_NONE;
    }
    return 0;
}

static int fold_exact(struct drafts_step *step, enum drafts_failure *failure, struct fault *fault)
{
    struct drafts *drafts = step->drafts;
    if (!drafts->projection->declared.keyed) {
        int result = end_exact(step, call_step(step, handle_freely, fault), fault);
        if (result < 0) *failure = failure_of(drafts, DRAFTS_STOPPED, fault);
        return result;
    }
    if (drafts->projection->declared.default_key) {
        drafts->key_count = 0;
        buf_clear(&drafts->key_bytes);
        add_key(drafts, step->key);
        finish_keys(drafts);
    } else if (call_step(step, run_key, fault) < 0) {
        *failure = failure_of(drafts, DRAFTS_STOPPED, fault);
        return -1;
    }
    return fold_keys_exactly(step, failure, fault);
}

int drafts_fold(struct drafts *drafts, int handler, const struct envelope *envelope, struct slice data,
                enum drafts_failure *failure, struct buf *failing_key, struct fault *fault)
{
    struct drafts_step step = {
        .drafts = drafts, .handler = &drafts->handlers[handler], .envelope = envelope, .data = data};
    struct fault wrong; /* 2 kB: cleared only as far as needed */
    wrong.code = FAULT_NONE;
    wrong.reason[0] = wrong.text[0] = 0;
    int result = 0;
    *failure = DRAFTS_NONE;
    if (!drafts->domain->vm->exact) {
        if (drafts->projection->declared.default_key) {
            step.key = envelope->id;
            if (!is_wanted(drafts, step.key)) return 0;
        }
        result = fold_fast(&step, failure, &wrong);
    } else {
        bool again = envelope->position != 0 && envelope->position == drafts->done_position;
        step.key = envelope->id;
        if (!again) result = fold_exact(&step, failure, &wrong);
        if (result == 0) {
            drafts->done_position = envelope->position;
            result = tell_failed(drafts, failure, failing_key, &wrong);
        }
    }
    if (result < 0 && fault) *fault = wrong;
    return result;
}

int drafts_keys(struct drafts *drafts, int handler, const struct envelope *envelope, struct slice data,
                const struct slice **keys, size_t *count, struct fault *fault)
{
    struct drafts_step step = {
        .drafts = drafts, .handler = &drafts->handlers[handler], .envelope = envelope, .data = data};
    if (drafts->projection->declared.default_key) {
        drafts->key_count = 0;
        buf_clear(&drafts->key_bytes);
        add_key(drafts, envelope->id);
        finish_keys(drafts);
    } else {
        if (call_step(&step, run_key, fault) < 0) return -1;
        if (drafts->stale) return fault_set(fault, FAULT_SCRIPT, "an event outlived its call");
    }
    *keys = drafts->keys;
    *count = drafts->key_count;
    return 0;
}

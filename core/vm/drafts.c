#include "vm/drafts.h"

#include <lauxlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "codec/mp.h"
#include "vm/value.h"

/* Garbage piles up to what is live, within these bounds. At least so much that marking what the scripts are
 * made of (some hundred KiB) costs little for each event; not much more, so that new objects find their
 * memory in the cache. */
enum { DRAFTS_SIZE_DEFAULT = 100000, COLLECT_MIN = 1 << 20, COLLECT_MAX = 32 << 20 };

#define GROW(items, count, max)                                                                              \
    do {                                                                                                     \
        if ((count) == (max)) {                                                                              \
            (max) = (max) ? (max)*2 : 64;                                                                    \
            (items) = mem_resize((items), (max) * sizeof *(items));                                          \
        }                                                                                                    \
    } while (0)

struct drafts *drafts_new(struct domain *domain, const struct drafts_options *options)
{
    struct drafts *drafts = MEM_NEW(struct drafts);
    drafts->domain = domain;
    drafts->projection = loader_projection(domain->loader, (size_t)options->projection);
    drafts->options = *options;
    if (drafts->options.size_max == 0) drafts->options.size_max = DRAFTS_SIZE_DEFAULT;
    drafts->options.tenant =
        slice_make(mem_text(options->tenant.data, options->tenant.size), options->tenant.size);
    drafts->handlers = mem_zero((drafts->projection->when_count + 1) * sizeof *drafts->handlers);
    for (size_t at = 0; at < drafts->projection->when_count; at++)
        drafts->handlers[at] =
            (struct drafts_handler){.declared = &drafts->projection->when[at], .type_ref = LUA_NOREF};
    drafts->table_ref = drafts->docs_ref = drafts->initial_ref = LUA_NOREF;
    return drafts;
}

static void release_failed(struct drafts *drafts)
{
    while (drafts->failed) {
        struct drafts_failed *failed = drafts->failed;
        drafts->failed = failed->next;
        mem_free(failed);
    }
}

void drafts_collect(struct domain *domain)
{
    struct vm *vm = domain->vm;
    lua_gc(vm->lua, LUA_GCCOLLECT);
    size_t more = vm->memory_used;
    if (more < COLLECT_MIN) more = COLLECT_MIN;
    if (more > COLLECT_MAX) more = COLLECT_MAX;
    size_t left = vm->memory_max > vm->memory_used ? vm->memory_max - vm->memory_used : 0;
    if (more > left / 2) more = left / 2;
    domain->collect_at = vm->memory_used + more;
    domain->collect_soon = vm->memory_used + more / 4 * 3;
}

void drafts_stop_collector(struct drafts *drafts)
{
    struct domain *domain = drafts->domain;
    if (!domain->collector_stopped) {
        lua_gc(domain->vm->lua, LUA_GCSTOP);
        domain->collector_stopped = true;
    }
    if (domain->vm->memory_used >= domain->collect_at) drafts_collect(domain);
}

void drafts_restart_collector(struct drafts *drafts)
{
    struct domain *domain = drafts->domain;
    if (!domain->collector_stopped) return;
    lua_gc(domain->vm->lua, LUA_GCRESTART);
    domain->collector_stopped = false;
}

void drafts_drop(struct drafts *drafts)
{
    drafts_restart_collector(drafts);
    for (size_t at = 0; at < drafts->all_count; at++) mem_free(drafts->all[at]);
    map_release(&drafts->documents);
    drafts->documents = (struct map){0};
    drafts->last = NULL;
    drafts->all_count = drafts->dirty_count = drafts->hand = drafts->free_count = drafts->touched_count = 0;
    luaL_unref(drafts->domain->vm->lua, LUA_REGISTRYINDEX, drafts->table_ref);
    drafts->table_ref = LUA_NOREF;
    drafts->slot_last = 0;
    arena_release(&drafts->images);
    release_failed(drafts);
    drafts->done_position = 0;
}

void drafts_free(struct drafts *drafts)
{
    if (!drafts) return;
    lua_State *lua = drafts->domain->vm->lua;
    drafts_drop(drafts);
    for (size_t at = 0; at < drafts->projection->when_count; at++) {
        lazy_plan_free(drafts->handlers[at].plan, lua);
        luaL_unref(lua, LUA_REGISTRYINDEX, drafts->handlers[at].type_ref);
    }
    size_t next = 0;
    for (struct drafts_parked *parked; (parked = map_next(&drafts->parked, &next));) mem_free(parked);
    map_release(&drafts->parked);
    luaL_unref(lua, LUA_REGISTRYINDEX, drafts->docs_ref);
    luaL_unref(lua, LUA_REGISTRYINDEX, drafts->initial_ref);
    buf_release(&drafts->loaded);
    buf_release(&drafts->encoded);
    buf_release(&drafts->key_bytes);
    mem_free(drafts->handlers);
    mem_free(drafts->all);
    mem_free(drafts->dirty);
    mem_free(drafts->free_slots);
    mem_free(drafts->touched);
    mem_free(drafts->keys);
    mem_free((void *)(uintptr_t)drafts->options.tenant.data);
    mem_free(drafts);
}

int drafts_handler(const struct drafts *drafts, struct slice context, struct slice type)
{
    for (size_t at = 0; at < drafts->projection->when_count; at++) {
        const struct contract_message *message = drafts->projection->when[at].message;
        if (slice_equal(message->name, type) && slice_equal(message->context, context)) return (int)at;
    }
    return -1;
}

size_t drafts_dirty(const struct drafts *drafts)
{
    return drafts->dirty_count;
}

/* --- parked keys --- */

struct drafts_parked *drafts_find_parked(const struct drafts *drafts, struct slice key)
{
    return map_find(&drafts->parked, key);
}

void drafts_park(struct drafts *drafts, struct slice key)
{
    if (map_find(&drafts->parked, key)) return;
    struct drafts_parked *parked = mem_zero(sizeof *parked + key.size + 1);
    memcpy(parked + 1, key.data, key.size);
    parked->key = slice_make(parked + 1, key.size);
    map_put(&drafts->parked, parked->key, parked);
}

uint64_t drafts_skipped(struct drafts *drafts, struct slice key)
{
    struct drafts_parked *parked = map_find(&drafts->parked, key);
    if (!parked) return 0;
    uint64_t skipped = parked->skipped;
    parked->skipped = 0;
    return skipped;
}

/* --- documents --- */

static void push_table(struct drafts *drafts)
{
    lua_State *lua = drafts->domain->vm->lua;
    if (drafts->table_ref == LUA_NOREF) {
        lua_newtable(lua);
        drafts->table_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, drafts->table_ref);
}

static struct drafts_document *add_document(struct drafts *drafts, struct slice key)
{
    struct drafts_document *document = mem_zero(sizeof *document + key.size + 1);
    memcpy(document + 1, key.data, key.size);
    document->key = slice_make(document + 1, key.size);
    map_put(&drafts->documents, document->key, document);
    GROW(drafts->all, drafts->all_count, drafts->all_max);
    drafts->all[drafts->all_count++] = document;
    return document;
}

/* It became dirty lately: it is near the end. */
static void mark_clean(struct drafts *drafts, struct drafts_document *document)
{
    size_t at = drafts->dirty_count;
    while (drafts->dirty[--at] != document) CHECK(at > 0);
    drafts->dirty[at] = drafts->dirty[--drafts->dirty_count];
    document->dirty = false;
}

static void mark_dirty(struct drafts *drafts, struct drafts_document *document)
{
    if (document->dirty) return;
    document->dirty = true;
    GROW(drafts->dirty, drafts->dirty_count, drafts->dirty_max);
    drafts->dirty[drafts->dirty_count++] = document;
}

/* Puts the table on top of the stack into a slot, popped. Only behind this the caller may say that it is
 * there. */
static int fill_slot(struct drafts *drafts, int slot)
{
    lua_State *lua = drafts->domain->vm->lua;
    push_table(drafts);
    lua_insert(lua, -2);
    if (slot == 0) slot = drafts->free_count ? drafts->free_slots[--drafts->free_count] : ++drafts->slot_last;
    lua_rawseti(lua, -2, slot);
    lua_pop(lua, 1);
    return slot;
}

/* A slot once used exists in the Lua table for good, so emptying it needs no memory and does not raise. */
static void empty_slot(struct drafts *drafts, struct drafts_document *document)
{
    lua_State *lua = drafts->domain->vm->lua;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, drafts->table_ref);
    lua_pushboolean(lua, 0);
    lua_rawseti(lua, -2, document->slot);
    lua_pop(lua, 1);
    GROW(drafts->free_slots, drafts->free_count, drafts->free_max);
    drafts->free_slots[drafts->free_count++] = document->slot;
    document->slot = 0;
}

struct drafts_document *drafts_take(struct drafts *drafts, struct slice key)
{
    struct drafts_document *document = map_find(&drafts->documents, key);
    if (document) {
        document->recent = true;
        return document;
    }
    struct vm *vm = drafts->domain->vm;
    buf_clear(&drafts->loaded);
    drafts->load_fault = (struct fault){0};
    int found = drafts->options.load
                    ? drafts->options.load(drafts->options.user, key, &drafts->loaded, &drafts->load_fault)
                    : 0;
    if (found < 0) {
        drafts->load_failed = true;
        vm_raise(vm->lua, drafts->load_fault.code, 0, "%s", drafts->load_fault.text);
    }
    int slot = 0;
    if (found > 0) {
        /* What a call may allocate does not depend on what happens to be loaded already. */
        size_t allocated = vm->call_allocated;
        luaL_checkstack(vm->lua, 8, NULL);
        value_push(vm->lua, buf_slice(&drafts->loaded));
        slot = fill_slot(drafts, 0);
        vm->call_allocated = allocated;
    }
    document = add_document(drafts, key);
    document->slot = slot;
    document->recent = true;
    return document;
}

void drafts_push(struct drafts *drafts, const struct drafts_document *document)
{
    lua_State *lua = drafts->domain->vm->lua;
    if (document->slot == 0) {
        lua_pushnil(lua);
        return;
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, drafts->table_ref);
    lua_rawgeti(lua, -1, document->slot);
    lua_replace(lua, -2);
}

void drafts_store(struct drafts *drafts, struct drafts_document *document)
{
    document->slot = fill_slot(drafts, document->slot);
    mark_dirty(drafts, document);
}

void drafts_change(struct drafts *drafts, struct drafts_document *document)
{
    mark_dirty(drafts, document);
}

/* The names and values of `initial` as a Lua list, decoded once: texts, numbers and decimals cannot be
 * changed, so they are the same in all new documents. False: it has tables, which every document needs for
 * itself. */
static bool prepare_initial(struct drafts *drafts, uint32_t count, struct mp_reader *reader)
{
    struct vm *vm = drafts->domain->vm;
    lua_State *lua = vm->lua;
    if (drafts->initial_ref != LUA_NOREF) return drafts->initial_ref != LUA_REFNIL;
    size_t allocated =
        vm->call_allocated; /* what a call may allocate does not depend on whether it is the first */
    struct mp_reader from = *reader;
    bool simple = true;
    lua_createtable(lua, (int)(2 * count), 0);
    for (lua_Integer at = 1; at <= 2 * (lua_Integer)count; at++) {
        value_push_next(lua, &from);
        simple = simple && !lua_istable(lua, -1);
        lua_rawseti(lua, -2, at);
    }
    if (!simple) {
        lua_pop(lua, 1);
        lua_pushnil(lua);
    }
    drafts->initial_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    vm->call_allocated = allocated;
    return simple;
}

void drafts_push_initial(struct drafts *drafts)
{
    lua_State *lua = drafts->domain->vm->lua;
    struct mp_reader reader = mp_reader_of(drafts->projection->initial);
    struct mp_value map;
    if (mp_read(&reader, &map) < 0 || map.kind != MP_MAP) {
        value_push(lua, drafts->projection->initial); /* a list */
        return;
    }
    luaL_checkstack(lua, 8, NULL);
    bool simple = prepare_initial(drafts, map.count, &reader);
    lua_createtable(lua, 0, (int)(map.count > drafts->field_hint ? map.count : drafts->field_hint));
    int document = lua_gettop(lua);
    if (simple) lua_rawgeti(lua, LUA_REGISTRYINDEX, drafts->initial_ref);
    for (lua_Integer at = 1; at <= (lua_Integer)map.count; at++) {
        if (simple) {
            lua_rawgeti(lua, document + 1, 2 * at - 1);
            lua_rawgeti(lua, document + 1, 2 * at);
        } else {
            value_push_next(lua, &reader);
            value_push_next(lua, &reader);
        }
        lua_rawset(lua, document);
    }
    lua_settop(lua, document);
}

void drafts_remove(struct drafts *drafts, struct drafts_document *document)
{
    if (document->slot) empty_slot(drafts, document);
    mark_dirty(drafts, document);
}

void drafts_forget(struct drafts *drafts, struct drafts_document *document)
{
    CHECK(!document->dirty);
    if (drafts->last == document) drafts->last = NULL;
    if (document->slot) empty_slot(drafts, document);
    map_remove(&drafts->documents, document->key);
    mem_free(document);
}

/* --- what a call touches --- */

static struct slice encode_document(struct drafts *drafts, const struct drafts_document *document)
{
    lua_State *lua = drafts->domain->vm->lua;
    drafts_push(drafts, document);
    buf_clear(&drafts->encoded);
    value_encode(lua, -1, &drafts->encoded, "document", drafts->domain->document_size_max);
    lua_pop(lua, 1);
    return buf_slice(&drafts->encoded);
}

void drafts_touch(struct drafts *drafts, struct drafts_document *document)
{
    bool exact = drafts->domain->vm->exact;
    if (document->touched) return;
    struct drafts_touched touched = {
        .document = document, .existed = document->slot != 0, .was_dirty = document->dirty};
    if (exact && touched.existed)
        touched.image = arena_copy(&drafts->images, encode_document(drafts, document));
    GROW(drafts->touched, drafts->touched_count, drafts->touched_max);
    drafts->touched[drafts->touched_count++] = touched;
    document->touched = true;
}

void drafts_untouch(struct drafts *drafts)
{
    for (size_t at = 0; at < drafts->touched_count; at++) drafts->touched[at].document->touched = false;
    drafts->touched_count = 0;
    if (drafts->images.block) arena_release(&drafts->images);
}

void drafts_settle(struct drafts *drafts, const struct drafts_touched **at)
{
    lua_State *lua = drafts->domain->vm->lua;
    for (size_t index = 0; index < drafts->touched_count; index++) {
        struct drafts_document *document = drafts->touched[index].document;
        *at = &drafts->touched[index];
        if (document->slot == 0) continue;
        value_push(lua, encode_document(drafts, document));
        document->slot = fill_slot(drafts, document->slot);
    }
}

void drafts_restore(struct drafts *drafts)
{
    lua_State *lua = drafts->domain->vm->lua;
    for (size_t index = 0; index < drafts->touched_count; index++) {
        const struct drafts_touched *touched = &drafts->touched[index];
        if (touched->existed) {
            value_push(lua, touched->image);
            touched->document->slot = fill_slot(drafts, touched->document->slot);
        } else if (touched->document->slot) {
            empty_slot(drafts, touched->document);
        }
        if (touched->document->dirty && !touched->was_dirty) mark_clean(drafts, touched->document);
    }
}

#include "vm/plain.h"

#include <lauxlib.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/limit.h"
#include "base/mem.h"
#include "codec/text.h"
#include "vm/peek.h"
#include "vm/readonly.h"
#include "vm/value.h"

struct look {
    lua_State *lua;
    struct plain_seen *seen;
    size_t entries_left, bytes_left;
    bool shared, not_plain, large;
};

void plain_seen_clear(struct plain_seen *seen)
{
    if (seen->size) memset(seen->slots, 0, seen->size_max * sizeof *seen->slots);
    seen->size = 0;
}

void plain_seen_release(struct plain_seen *seen)
{
    mem_free(seen->slots);
    *seen = (struct plain_seen){0};
}

static const void **seen_slot(const struct plain_seen *seen, const void *table)
{
    uint64_t hash = (uint64_t)(uintptr_t)table * 0x9e3779b97f4a7c15ULL;
    size_t mask = seen->size_max - 1;
    for (size_t at = (size_t)(hash >> 32) & mask;; at = (at + 1) & mask)
        if (!seen->slots[at] || seen->slots[at] == table) return &seen->slots[at];
}

static void seen_grow(struct plain_seen *seen)
{
    struct plain_seen old = *seen;
    seen->size_max = old.size_max ? old.size_max * 2 : 64;
    seen->slots = mem_zero(seen->size_max * sizeof *seen->slots);
    for (size_t at = 0; at < old.size_max; at++)
        if (old.slots[at]) *seen_slot(seen, old.slots[at]) = old.slots[at];
    mem_free(old.slots);
}

/* False if it was there. */
static bool seen_add(struct plain_seen *seen, const void *table)
{
    if (seen->size * 4 >= seen->size_max * 3) seen_grow(seen);
    const void **slot = seen_slot(seen, table);
    if (*slot) return false;
    *slot = table;
    seen->size++;
    return true;
}

static void look_at_table(struct look *look, int index, int depth);

/* More bytes than it takes when it is encoded, but for its texts; a decimal is the largest. */
enum { LOOK_VALUE_SIZE = 48 };

static void look_at_size(struct look *look, size_t size)
{
    if (size > look->bytes_left) look->large = true;
    look->bytes_left -= size > look->bytes_left ? look->bytes_left : size;
}

static void look_at_text(struct look *look, int index)
{
    size_t size;
    const char *text = lua_tolstring(look->lua, index, &size);
    if (!text_is_utf8(slice_make(text, size))) look->not_plain = true;
    look_at_size(look, size);
}

static void look_at_value(struct look *look, int depth)
{
    lua_State *lua = look->lua;
    look_at_size(look, LOOK_VALUE_SIZE);
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING: look_at_text(look, -1); return;
    case LUA_TBOOLEAN: return;
    case LUA_TNUMBER:
        if (!lua_isinteger(lua, -1) && !isfinite(lua_tonumber(lua, -1))) look->not_plain = true;
        return;
    case LUA_TTABLE:
        if (!seen_add(look->seen, lua_topointer(lua, -1))) {
            look->shared = true;
            return; /* its inside was looked at; a cycle ends here and value_encode reports it */
        }
        look_at_table(look, lua_gettop(lua), depth + 1);
        return;
    case LUA_TUSERDATA:
        if (!value_is_decimal(lua, -1)) look->not_plain = true;
        return;
    default: look->not_plain = true;
    }
}

static void look_at_table(struct look *look, int index, int depth)
{
    lua_State *lua = look->lua;
    if (depth > LIMIT_DEPTH_MAX) {
        look->not_plain = true;
        return;
    }
    luaL_checkstack(lua, 4, "nested too deeply");
    if (lua_getmetatable(lua, index)) {
        lua_pop(lua, 1);
        if (readonly_is_frozen(lua, index) && readonly_push_target(lua, index)) {
            look->shared = true; /* made at file level: belongs to every call */
            look_at_table(look, lua_gettop(lua), depth + 1);
            lua_pop(lua, 1);
            return;
        }
        if (!value_is_list_mark(lua, index)) {
            look->not_plain = true;
            return;
        }
    }
    lua_Integer items = 0, item_max = 0;
    bool named = false;
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        if (look->entries_left-- == 0) {
            look->large = true;
            lua_pop(lua, 2);
            return;
        }
        if (lua_type(lua, -2) == LUA_TSTRING) {
            named = true;
            look_at_text(look, -2);
        } else if (lua_isinteger(lua, -2) && lua_tointeger(lua, -2) > 0) {
            lua_Integer item = lua_tointeger(lua, -2);
            items++;
            if (item > item_max) item_max = item;
        } else {
            look->not_plain = true;
        }
        look_at_value(look, depth);
        if (look->large) {
            lua_pop(lua, 2);
            return;
        }
        lua_pop(lua, 1);
    }
    if (items != item_max || (items > 0 && named)) look->not_plain = true;
}

enum plain_verdict plain_look(lua_State *lua, int index, struct plain_seen *seen, size_t entries_max,
                              size_t bytes_max)
{
    struct look look = {.lua = lua, .seen = seen, .entries_left = entries_max, .bytes_left = bytes_max};
    look_at_table(&look, lua_absindex(lua, index), 0);
    if (look.large) return PLAIN_LARGE;
    if (look.not_plain) return PLAIN_NOT;
    return look.shared ? PLAIN_SHARED : PLAIN_TREE;
}

/* --- the glance --- */

struct glance {
    const struct vm *vm;
    struct plain_seen *seen;
    size_t entries_left, bytes_left;
};

static bool glance_table(struct glance *glance, const struct peek_table *table, int depth);

/* Adds to *size what the value takes beyond LOOK_VALUE_SIZE. */
static inline bool glance_value(struct glance *glance, struct peek_value value, int depth, size_t *size)
{
    struct slice text;
    switch (value.tag) {
    case PEEK_FALSE:
    case PEEK_TRUE:
    case PEEK_INTEGER: return true;
    case PEEK_FLOAT: return isfinite(value.content.number);
    case PEEK_SHORT_TEXT:
    case PEEK_LONG_TEXT:
        text = peek_text(value.content, value.tag);
        *size += text.size;
        return text_is_ascii(text) || text_is_utf8(text);
    case PEEK_TABLE:
        return seen_add(glance->seen, value.content.object) &&
               glance_table(glance, peek_table(value.content), depth + 1);
    case PEEK_USERDATA: return peek_userdata_metatable(value.content) == glance->vm->meta_at[VM_META_DECIMAL];
    default: return false;
    }
}

/* This is run for every entry of every document that an event touches. */
static bool glance_table(struct glance *glance, const struct peek_table *table, int depth)
{
    if (depth > LIMIT_DEPTH_MAX) return false;
    if (table->metatable && table->metatable != glance->vm->meta_at[VM_META_LIST]) return false;
    lua_Integer items = 0, item_max = 0;
    bool named = false;
    struct peek_walk walk = peek_walk(table);
    while (peek_next(&walk)) {
        size_t size = LOOK_VALUE_SIZE;
        if (glance->entries_left-- == 0) return false;
        if (peek_is_text(walk.key_tag)) {
            struct slice key = peek_text(walk.key, walk.key_tag);
            named = true;
            size += key.size;
            if (!text_is_ascii(key) && !text_is_utf8(key)) return false;
        } else if (walk.key_tag == PEEK_INTEGER && walk.key.integer > 0) {
            items++;
            if (walk.key.integer > item_max) item_max = walk.key.integer;
        } else {
            return false;
        }
        if (!glance_value(glance, walk.value, depth, &size) || size > glance->bytes_left) return false;
        glance->bytes_left -= size;
    }
    return items == item_max && (items == 0 || !named);
}

bool plain_glance(lua_State *lua, int index, struct plain_seen *seen, size_t entries_max, size_t bytes_max)
{
    struct glance glance = {
        .vm = vm_of(lua), .seen = seen, .entries_left = entries_max, .bytes_left = bytes_max};
    return glance_table(&glance, lua_topointer(lua, index), 0);
}

void plain_unshare(lua_State *lua, int index)
{
    index = lua_absindex(lua, index);
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        if (lua_istable(lua, -1)) {
            lua_pushvalue(lua, -2);
            value_copy(lua, -2);
            lua_rawset(lua, index);
        }
        lua_pop(lua, 1);
    }
}

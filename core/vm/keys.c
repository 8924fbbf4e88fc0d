/* DESIGN
 *
 * pairs gathers and sorts the keys once and then walks them; fields set to nil meanwhile are passed over. A
 * table that is only a list is walked by index without gathering. next(t) looks for the smallest key; next(t,
 * key) sorts once and keeps the sorted keys of the last table until the call ends, so that a loop over next
 * costs what pairs costs. */
#include "vm/keys.h"

#include <stdlib.h>

#include "base/slice.h"
#include "vm/readonly.h"
#include "vm/value.h"

enum { KEYS_ON_STACK = 48 };
enum kind { KIND_ITEM, KIND_NUMBER, KIND_TEXT, KIND_BOOLEAN, KIND_OTHER };

struct key {
    enum kind kind;
    int at; /* in the table of gathered keys */
    bool is_integer;
    union {
        lua_Integer integer;
        lua_Number number;
        struct slice text;
        bool boolean;
    };
};

static const char cache_key = 'c';

static int compare_numbers(const struct key *a, const struct key *b)
{
    if (a->is_integer && b->is_integer) return (a->integer > b->integer) - (a->integer < b->integer);
    if (!a->is_integer && !b->is_integer) return (a->number > b->number) - (a->number < b->number);
    if (!a->is_integer) return -compare_numbers(b, a);
    /* A float key has a fraction or is beyond all integers: Lua makes integers of the others. */
    if (b->number >= 0x1p63) return -1;
    if (b->number < -0x1p63) return 1;
    lua_Integer below = (lua_Integer)b->number; /* towards zero */
    if (a->integer != below) return a->integer > below ? 1 : -1;
    return b->number > 0 ? -1 : 1;
}

static int compare(const struct key *a, const struct key *b)
{
    if (a->kind != b->kind) return a->kind > b->kind ? 1 : -1;
    switch (a->kind) {
    case KIND_ITEM: return (a->integer > b->integer) - (a->integer < b->integer);
    case KIND_NUMBER: return compare_numbers(a, b);
    case KIND_TEXT: return slice_compare(a->text, b->text);
    case KIND_BOOLEAN: return a->boolean - b->boolean;
    default: return 0;
    }
}

static int compare_for_sort(const void *a, const void *b)
{
    return compare(a, b);
}

/* Nothing may be compared while an item 1..n still counts as number: so items are told apart by n. */
static struct key key_at(lua_State *lua, int index, lua_Integer items)
{
    struct key key = {.kind = KIND_OTHER};
    switch (lua_type(lua, index)) {
    case LUA_TNUMBER:
        key.kind = KIND_NUMBER;
        key.is_integer = lua_isinteger(lua, index);
        if (key.is_integer)
            key.integer = lua_tointeger(lua, index);
        else
            key.number = lua_tonumber(lua, index);
        if (key.is_integer && key.integer >= 1 && key.integer <= items) key.kind = KIND_ITEM;
        break;
    case LUA_TSTRING:
        key.kind = KIND_TEXT;
        key.text.data = lua_tolstring(lua, index, &key.text.size);
        break;
    case LUA_TBOOLEAN:
        key.kind = KIND_BOOLEAN;
        key.boolean = lua_toboolean(lua, index);
        break;
    default: break;
    }
    return key;
}

/* n of the items 1..n without a hole (# may answer any border). A key that was just removed counts as if it
 * were there. */
static lua_Integer count_items(lua_State *lua, int table, lua_Integer removed)
{
    lua_Integer count = 0;
    for (;; count++) {
        bool none = lua_rawgeti(lua, table, count + 1) == LUA_TNIL && count + 1 != removed;
        lua_pop(lua, 1);
        if (none) break;
        if (count % 1024 == 1023) vm_spend(lua, 1024);
    }
    return count;
}

static int no_order(lua_State *lua, int index)
{
    return vm_raise(lua, FAULT_SCRIPT, 1, "pairs: several keys of type %s have no order",
                    luaL_typename(lua, index));
}

/* Gathers and sorts the keys of the table; pushes a table with them in order and returns their number. *items
 * (in: a key removed, or 0) becomes the number of list items. */
static lua_Integer gather(lua_State *lua, int table, lua_Integer *removed_or_items)
{
    struct key on_stack[KEYS_ON_STACK], *keys = on_stack;
    size_t count = 0, count_max = KEYS_ON_STACK, others = 0;
    lua_Integer items = *removed_or_items = count_items(lua, table, *removed_or_items);
    luaL_checkstack(lua, 8, NULL);
    lua_pushnil(lua); /* holds a larger array */
    int array = lua_gettop(lua);
    lua_newtable(lua);
    for (lua_pushnil(lua); lua_next(lua, table);) {
        lua_pop(lua, 1);
        if (count == count_max) {
            struct key *more = lua_newuserdatauv(lua, count_max * 2 * sizeof *keys, 0);
            memcpy(more, keys, count * sizeof *keys);
            lua_replace(lua, array);
            keys = more;
            count_max *= 2;
            vm_spend(lua, count);
        }
        keys[count] = key_at(lua, -1, items);
        keys[count].at = (int)count + 1;
        if (keys[count].kind == KIND_OTHER && ++others > 1) no_order(lua, -1);
        count++;
        lua_pushvalue(lua, -1);
        lua_rawseti(lua, array + 1, (lua_Integer)count);
    }
    vm_spend(lua, count * (count > 64 ? 16 : 4));
    qsort(keys, count, sizeof *keys, compare_for_sort);
    lua_createtable(lua, count < INT32_MAX ? (int)count : INT32_MAX, 0);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(lua, array + 1, keys[i].at);
        lua_rawseti(lua, -2, (lua_Integer)i + 1);
    }
    lua_replace(lua, array);
    lua_settop(lua, array);
    return (lua_Integer)count;
}

/* The value at (table, key on top): wrapped if the table is a view. Pushes it. */
static void push_field(lua_State *lua, int table, bool view)
{
    lua_rawget(lua, table);
    if (view && lua_type(lua, -1) == LUA_TTABLE) {
        readonly_wrap(lua, -1);
        lua_remove(lua, -2);
    }
}

/* Upvalues: table, sorted keys (nil: a list), position, number of keys, view. */
static int step(lua_State *lua)
{
    lua_Integer at = lua_tointeger(lua, lua_upvalueindex(3)), count = lua_tointeger(lua, lua_upvalueindex(4));
    bool is_list = lua_isnil(lua, lua_upvalueindex(2)), view = lua_toboolean(lua, lua_upvalueindex(5));
    lua_settop(lua, 0);
    while (at < count) {
        at++;
        if (is_list)
            lua_pushinteger(lua, at);
        else
            lua_rawgeti(lua, lua_upvalueindex(2), at);
        lua_pushvalue(lua, -1);
        push_field(lua, lua_upvalueindex(1), view);
        if (!lua_isnil(lua, -1)) {
            lua_pushinteger(lua, at);
            lua_replace(lua, lua_upvalueindex(3));
            return 2;
        }
        lua_pop(lua, 2);
        if (at % 1024 == 0) vm_spend(lua, 1024);
    }
    lua_pushinteger(lua, at);
    lua_replace(lua, lua_upvalueindex(3));
    lua_pushnil(lua);
    return 1;
}

/* The number of items if the table has no other keys, else -1. */
static lua_Integer only_items(lua_State *lua, int table)
{
    lua_Integer expected = 1;
    /* Lua walks the array part first, so a list shows itself in its first step. */
    for (lua_pushnil(lua); lua_next(lua, table); expected++) {
        lua_pop(lua, 1);
        if (!lua_isinteger(lua, -1) || lua_tointeger(lua, -1) != expected) {
            lua_pop(lua, 1);
            return -1;
        }
        if (expected % 1024 == 0) vm_spend(lua, 1024);
    }
    vm_spend(lua, (uint64_t)expected % 1024);
    return expected - 1;
}

int keys_pairs(lua_State *lua)
{
    luaL_checkany(lua, 1);
    bool view = vm_has_meta(lua, 1, VM_META_READONLY);
    if (luaL_getmetafield(lua, 1, "__pairs") != LUA_TNIL) {
        lua_pushvalue(lua, 1);
        lua_call(lua, 1, 3);
        return 3;
    }
    lua_settop(lua, 1);
    lua_pushvalue(lua, 1); /* what the loop is given back: never the target, which could be changed */
    if (readonly_push_target(lua, 1)) lua_replace(lua, 1);
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_pushvalue(lua, 1);
    lua_Integer count = only_items(lua, 1), items = 0;
    if (count >= 0)
        lua_pushnil(lua);
    else
        count = gather(lua, 1, &items);
    lua_pushinteger(lua, 0);
    lua_pushinteger(lua, count);
    lua_pushboolean(lua, view);
    lua_pushcclosure(lua, step, 5);
    lua_insert(lua, 2);
    lua_pushnil(lua);
    return 3;
}

/* --- next --- */

/* Pushes the smallest key, or nil. */
static void push_first(lua_State *lua, int table)
{
    if (lua_rawgeti(lua, table, 1) != LUA_TNIL) {
        lua_pop(lua, 1);
        lua_pushinteger(lua, 1);
        return;
    }
    lua_pop(lua, 1);
    lua_pushnil(lua); /* the smallest so far */
    int best = lua_gettop(lua);
    struct key smallest = {.kind = KIND_OTHER};
    uint64_t seen = 0;
    int others = 0;
    for (lua_pushnil(lua); lua_next(lua, table); seen++) {
        lua_pop(lua, 1);
        struct key key = key_at(lua, -1, 0);
        if (key.kind == KIND_OTHER && ++others > 1) no_order(lua, -1);
        if (seen == 0 || compare(&key, &smallest) < 0) {
            smallest = key;
            lua_pushvalue(lua, -1);
            lua_replace(lua, best);
        }
        if (seen % 1024 == 1023) vm_spend(lua, 2048);
    }
    vm_spend(lua, seen % 1024 * 2);
}

/* Pushes the cached sorted keys of the table, gathered anew unless the key at index 2 is where the loop was.
 * The cache: {table, keys, position, call}; it does not outlive a call. */
static lua_Integer find_position(lua_State *lua, int table)
{
    lua_Integer serial = (lua_Integer)vm_of(lua)->call_serial;
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &cache_key);
    if (lua_istable(lua, -1)) {
        int cache = lua_gettop(lua);
        lua_rawgeti(lua, cache, 1);
        lua_rawgeti(lua, cache, 2);
        lua_rawgeti(lua, cache, 3);
        lua_rawgeti(lua, cache, 4);
        lua_Integer at = lua_tointeger(lua, -2);
        if (lua_rawequal(lua, -4, table) && lua_tointeger(lua, -1) == serial) {
            lua_rawgeti(lua, -3, at);
            if (lua_rawequal(lua, -1, 2)) {
                lua_settop(lua, cache + 2);
                return at;
            }
        }
        lua_settop(lua, cache);
    } else {
        lua_createtable(lua, 4, 0);
        lua_pushvalue(lua, -1);
        lua_rawsetp(lua, LUA_REGISTRYINDEX, &cache_key);
    }
    int cache = lua_gettop(lua);
    lua_Integer items = lua_isinteger(lua, 2) ? lua_tointeger(lua, 2) : 0;
    lua_Integer count = gather(lua, table, &items), low = 0, high = count;
    struct key wanted = key_at(lua, 2, items);
    if (wanted.kind == KIND_OTHER) low = count; /* the last one there can be */
    while (low < high) { /* how many keys are at or before the one given, which may have been removed */
        lua_Integer middle = low + (high - low) / 2;
        lua_rawgeti(lua, -1, middle + 1);
        struct key key = key_at(lua, -1, items);
        lua_pop(lua, 1); /* still in the table of keys */
        if (compare(&key, &wanted) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    lua_Integer at = low;
    vm_of(lua)->keys_kept = true;
    lua_pushvalue(lua, table);
    lua_rawseti(lua, cache, 1);
    lua_pushvalue(lua, -1);
    lua_rawseti(lua, cache, 2);
    lua_pushinteger(lua, serial);
    lua_rawseti(lua, cache, 4);
    return at;
}

void keys_forget(lua_State *lua)
{
    if (!vm_of(lua)->keys_kept) return;
    vm_of(lua)->keys_kept = false;
    lua_pushnil(lua);
    lua_rawsetp(lua, LUA_REGISTRYINDEX, &cache_key);
}

int keys_next(lua_State *lua)
{
    bool view = vm_has_meta(lua, 1, VM_META_READONLY);
    if (readonly_push_target(lua, 1)) lua_replace(lua, 1);
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    if (lua_isnil(lua, 2)) {
        push_first(lua, 1);
    } else {
        lua_Integer at = find_position(lua, 1);
        int keys = lua_gettop(lua);
        for (;;) {
            at++;
            if (lua_rawgeti(lua, keys, at) == LUA_TNIL) break;
            lua_pushvalue(lua, -1);
            bool gone = lua_rawget(lua, 1) == LUA_TNIL;
            lua_pop(lua, 1);
            if (!gone) break;
            lua_pop(lua, 1);
        }
        lua_rawgetp(lua, LUA_REGISTRYINDEX, &cache_key);
        lua_pushinteger(lua, at);
        lua_rawseti(lua, -2, 3);
        lua_pop(lua, 1);
    }
    if (lua_isnil(lua, -1)) return 1;
    lua_pushvalue(lua, -1);
    push_field(lua, 1, view);
    return 2;
}

#include "vm/lazy.h"

#include <lauxlib.h>

#include "base/mem.h"
#include "codec/mp.h"
#include "vm/value.h"
#include "vm/vm.h"

enum { LAZY_FIELDS_MAX = 256 }; /* beyond, the event is decoded in full */

static struct lazy_plan *plan_at(lua_State *lua, int index)
{
    struct lazy_plan *plan = NULL;
    if (lua_type(lua, index) != LUA_TTABLE || !lua_getmetatable(lua, index)) return NULL;
    if (lua_rawgetp(lua, -1, &lazy_push) == LUA_TLIGHTUSERDATA) plan = lua_touserdata(lua, -1);
    lua_pop(lua, 2);
    return plan;
}

/* The place of name among the learnt fields, or where it would go; *known tells which. */
static int place_of(const struct lazy_plan *plan, struct slice name, bool *known)
{
    int at = 0;
    while (at < plan->field_count && slice_compare(plan->fields[at].name, name) < 0) at++;
    *known = at < plan->field_count && slice_equal(plan->fields[at].name, name);
    return at;
}

static void learn(struct lazy_plan *plan, lua_State *lua, int key_index)
{
    size_t size;
    const char *text = lua_tolstring(lua, key_index, &size);
    struct slice name = slice_make(text, size);
    bool known;
    int at = place_of(plan, name, &known);
    if (known) return;
    if (plan->field_count == LAZY_FIELDS_MAX) {
        plan->full = true;
        return;
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, plan->keys_ref);
    lua_pushvalue(lua, key_index);
    lua_rawseti(lua, -2, plan->field_count + 1);
    lua_pop(lua, 1);
    if (plan->field_count == plan->field_max) {
        plan->field_max = plan->field_max ? plan->field_max * 2 : 8;
        plan->fields = mem_resize(plan->fields, (size_t)plan->field_max * sizeof *plan->fields);
    }
    memmove(plan->fields + at + 1, plan->fields + at,
            (size_t)(plan->field_count - at) * sizeof *plan->fields);
    plan->field_count++;
    plan->fields[at] =
        (struct lazy_field){.name = slice_make(mem_text(text, size), size), .key = plan->field_count};
}

static int refuse_stale(lua_State *lua, struct lazy_plan *plan)
{
    *plan->stale = plan->full = true;
    return vm_raise(lua, FAULT_SCRIPT, 1, "an event is only valid during its call");
}

static int lazy_index(lua_State *lua)
{
    struct lazy_plan *plan = lua_touserdata(lua, lua_upvalueindex(1));
    if (lua_type(lua, 2) != LUA_TSTRING) return 0;
    if (plan->current != lua_topointer(lua, 1)) return refuse_stale(lua, plan);
    size_t size;
    const char *text = lua_tolstring(lua, 2, &size);
    bool known;
    place_of(plan, slice_make(text, size), &known);
    /* A learnt field was put into the table when it was made: it is absent, or the handler has set it to nil.
     */
    if (known) return 0;
    struct slice value;
    if (!mp_find(plan->data, slice_make(text, size), &value)) return 0;
    learn(plan, lua, 2);
    value_push(lua, value);
    lua_pushvalue(lua, 2);
    lua_pushvalue(lua, -2);
    lua_rawset(lua, 1);
    return 1;
}

/* A handler may change its e, as it may any table. Learning the field keeps __index from answering for it. */
static int lazy_newindex(lua_State *lua)
{
    struct lazy_plan *plan = lua_touserdata(lua, lua_upvalueindex(1));
    if (plan->current != lua_topointer(lua, 1)) return refuse_stale(lua, plan);
    if (lua_type(lua, 2) == LUA_TSTRING) learn(plan, lua, 2);
    lua_rawset(lua, 1);
    return 0;
}

/* Every field that is not learnt: those that are learnt are there, or are meant to be absent. */
static void bring_all(lua_State *lua, struct lazy_plan *plan, int index)
{
    index = lua_absindex(lua, index);
    if (plan->current != lua_topointer(lua, index)) refuse_stale(lua, plan);
    plan->full = true;
    value_push(lua, plan->data);
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        size_t size;
        const char *text = lua_tolstring(lua, -2, &size);
        bool known;
        place_of(plan, slice_make(text, size), &known);
        if (!known) {
            lua_pushvalue(lua, -2);
            lua_pushvalue(lua, -2);
            lua_rawset(lua, index);
        }
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
}

static int lazy_pairs(lua_State *lua)
{
    struct lazy_plan *plan = lua_touserdata(lua, lua_upvalueindex(1));
    lua_settop(lua, 1);
    bring_all(lua, plan, 1);
    lua_pushnil(lua);
    lua_setmetatable(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    lua_getfield(lua, -1, "pairs");
    lua_pushvalue(lua, 1);
    lua_call(lua, 1, 3);
    return 3;
}

struct lazy_plan *lazy_plan_new(bool *stale)
{
    struct lazy_plan *plan = MEM_NEW(struct lazy_plan);
    plan->stale = stale;
    plan->keys_ref = plan->meta_ref = LUA_NOREF;
    return plan;
}

/* What of the plan lives in Lua. Memory may end anywhere in it: then the next push goes on. */
static void plan_prepare(struct lazy_plan *plan, lua_State *lua)
{
    if (plan->keys_ref == LUA_NOREF) {
        lua_newtable(lua);
        plan->keys_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    }
    lua_newtable(lua);
    lua_pushlightuserdata(lua, plan);
    lua_rawsetp(lua, -2, &lazy_push);
    lua_pushlightuserdata(lua, plan);
    lua_pushcclosure(lua, lazy_index, 1);
    lua_setfield(lua, -2, "__index");
    lua_pushlightuserdata(lua, plan);
    lua_pushcclosure(lua, lazy_newindex, 1);
    lua_setfield(lua, -2, "__newindex");
    lua_pushlightuserdata(lua, plan);
    lua_pushcclosure(lua, lazy_pairs, 1);
    lua_setfield(lua, -2, "__pairs");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    plan->meta_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
}

void lazy_plan_free(struct lazy_plan *plan, lua_State *lua)
{
    if (!plan) return;
    luaL_unref(lua, LUA_REGISTRYINDEX, plan->keys_ref);
    luaL_unref(lua, LUA_REGISTRYINDEX, plan->meta_ref);
    for (int at = 0; at < plan->field_count; at++) mem_free((void *)(uintptr_t)plan->fields[at].name.data);
    mem_free(plan->fields);
    mem_free(plan);
}

/* Both the fields learnt and those of the event are in byte order: one walk. */
static void push_learnt(struct lazy_plan *plan, lua_State *lua, int event, int keys)
{
    struct mp_reader reader = mp_reader_of(plan->data);
    struct mp_value token;
    if (mp_read(&reader, &token) < 0 || token.kind != MP_MAP)
        vm_raise(lua, FAULT_CORRUPT, 0, "a stored event is no map");
    const struct lazy_field *field = plan->fields, *end = field + plan->field_count;
    for (uint32_t left = token.count; left > 0 && field < end; left--) {
        struct mp_value key;
        if (mp_read(&reader, &key) < 0 || key.kind != MP_TEXT)
            vm_raise(lua, FAULT_CORRUPT, 0, "a stored event is damaged");
        while (field < end && slice_compare(field->name, key.text) < 0) field++;
        if (field < end && slice_equal(field->name, key.text)) {
            lua_rawgeti(lua, keys, field->key);
            value_push_next(lua, &reader);
            lua_rawset(lua, event);
            field++;
        } else if (mp_skip(&reader) < 0) {
            vm_raise(lua, FAULT_CORRUPT, 0, "a stored event is damaged");
        }
    }
}

void lazy_push(struct lazy_plan *plan, lua_State *lua, struct slice data)
{
    if (plan->full) {
        value_push(lua, data);
        return;
    }
    if (plan->meta_ref == LUA_NOREF) plan_prepare(plan, lua);
    plan->data = data;
    lua_createtable(lua, 0, plan->field_count);
    plan->current = lua_topointer(lua, -1);
    if (plan->field_count > 0) {
        luaL_checkstack(lua, 8, NULL);
        int event = lua_gettop(lua);
        lua_rawgeti(lua, LUA_REGISTRYINDEX, plan->keys_ref);
        push_learnt(plan, lua, event, event + 1);
        lua_pop(lua, 1);
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, plan->meta_ref);
    lua_setmetatable(lua, -2);
}

void lazy_close(struct lazy_plan *plan)
{
    plan->current = NULL;
    plan->data = SLICE_NONE;
}

void lazy_settle_table(lua_State *lua, int index)
{
    struct lazy_plan *plan = plan_at(lua, index);
    if (!plan) return;
    index = lua_absindex(lua, index);
    bring_all(lua, plan, index);
    lua_pushnil(lua);
    lua_setmetatable(lua, index);
}

/* next(e), rawget(e, k), getmetatable(e): they would see what is behind the curtain. Upvalue: the sandbox's
 * function. */
static int word_settled(lua_State *lua)
{
    lazy_settle_table(lua, 1);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
    return lua_gettop(lua);
}

void lazy_add_words(lua_State *lua)
{
    static const char *const words[] = {"next", "rawget", "rawset", "getmetatable", "setmetatable", NULL};
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    for (const char *const *word = words; *word; word++) {
        lua_getfield(lua, -1, *word);
        lua_pushcclosure(lua, word_settled, 1);
        lua_setfield(lua, -3, *word);
    }
    lua_pop(lua, 1);
}

void lazy_settle(lua_State *lua, int index, int depth)
{
    if (lua_type(lua, index) != LUA_TTABLE || depth > LIMIT_DEPTH_MAX) return;
    luaL_checkstack(lua, 8, NULL);
    index = lua_absindex(lua, index);
    lazy_settle_table(lua, index);
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        lazy_settle(lua, lua_gettop(lua), depth + 1);
        lua_pop(lua, 1);
    }
}

bool lazy_find(lua_State *lua, int index, int depth)
{
    if (lua_type(lua, index) != LUA_TTABLE || depth > LIMIT_DEPTH_MAX) return false;
    luaL_checkstack(lua, 4, NULL);
    index = lua_absindex(lua, index);
    struct lazy_plan *plan = plan_at(lua, index);
    if (plan) plan->full = true;
    bool found = plan != NULL;
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        if (lazy_find(lua, -1, depth + 1)) found = true;
        lua_pop(lua, 1);
    }
    return found;
}

#include "vm/seek_carry.h"

#include <lauxlib.h>

#include "base/mem.h"
#include "vm/readonly.h"
#include "vm/seek_event.h"
#include "vm/value.h"

enum { FUNCTIONS_MAX = 64, GLOBALS_MAX = 256, DATA_SIZE_MAX = 1 << 20 };

enum carried_kind {
    CARRIED_NIL,
    CARRIED_ENV,      /* the globals */
    CARRIED_DATA,     /* bytes: MessagePack */
    CARRIED_FUNCTION, /* number */
    CARRIED_WORD,     /* bytes: "string.sub", "math": of the sandbox */
    CARRIED_REFUSED   /* a global that is there and cannot be carried */
};

struct carried_value {
    enum carried_kind kind;
    struct slice bytes;
    size_t number;
};

struct seek_carried {
    const void *identity; /* of the session's function */
    struct slice code;
    struct carried_value *values; /* around it */
    int value_count;
};

struct seek_global {
    struct slice name;
    struct carried_value value;
};

/* Registry keys of a state that functions were carried into. */
static const char functions_key = 'f', around_key = 'a', impure_key = 'i';

/* --- packing --- */

static bool pack_value(lua_State *lua, int env, int index, struct seek_parcel *parcel,
                       struct carried_value *value);

static int write_code(lua_State *lua, const void *bytes, size_t size, void *user)
{
    buf_put(user, bytes, size);
    return 0;
}

/* Each table is in the parcel once, or equality would be lost; so is an event, which is another value there.
 * Marks what is below the table on top of the stack; false: it was met before. */
static bool mark_tables(lua_State *lua, int tables)
{
    luaL_checkstack(lua, 8, NULL);
    lua_pushvalue(lua, -1);
    bool met = lua_rawget(lua, tables) != LUA_TNIL;
    lua_pop(lua, 1);
    if (met) return false;
    lua_pushvalue(lua, -1);
    lua_pushboolean(lua, 1);
    lua_rawset(lua, tables);
    for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) {
        vm_spend(lua, 1);
        if (seek_event_is(lua, -1) || (lua_istable(lua, -1) && !mark_tables(lua, tables))) {
            lua_pop(lua, 2);
            return false;
        }
    }
    return true;
}

static bool mark_value(lua_State *lua, int index, struct seek_parcel *parcel)
{
    if (seek_event_is(lua, index)) return false;
    if (!lua_istable(lua, index)) return true;
    if (!parcel->tables_ref) {
        lua_newtable(lua);
        parcel->tables_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, parcel->tables_ref);
    lua_pushvalue(lua, index);
    bool is_new = mark_tables(lua, lua_gettop(lua) - 1);
    lua_pop(lua, 2);
    return is_new;
}

void seek_carry_packed(lua_State *lua, struct seek_parcel *parcel)
{
    if (parcel->tables_ref) luaL_unref(lua, LUA_REGISTRYINDEX, parcel->tables_ref);
    parcel->tables_ref = 0;
}

static int encode_data(lua_State *lua)
{
    value_encode(lua, 1, lua_touserdata(lua, 2), "a value", DATA_SIZE_MAX);
    return 0;
}

static bool pack_data(lua_State *lua, int index, struct seek_parcel *parcel, struct carried_value *value)
{
    struct buf bytes = {0};
    if (!mark_value(lua, index, parcel)) return false;
    lua_pushcfunction(lua, encode_data);
    lua_pushvalue(lua, index);
    lua_pushlightuserdata(lua, &bytes);
    int status = lua_pcall(lua, 2, 0, 0);
    value->kind = CARRIED_DATA;
    if (status == LUA_OK) value->bytes = arena_copy(&parcel->arena, buf_slice(&bytes));
    buf_release(&bytes);
    if (status == LUA_OK) return true;
    lua_pop(lua, 1);
    vm_spend(lua, 1); /* raises a stop again */
    return false;
}

/* Looks for the value at index among those of the table on top of the stack; pushes the key. */
static bool find_key(lua_State *lua, int index)
{
    int table = lua_gettop(lua);
    for (lua_pushnil(lua); lua_next(lua, table); lua_pop(lua, 1))
        if (lua_type(lua, -2) == LUA_TSTRING && lua_rawequal(lua, -1, index)) {
            lua_pop(lua, 1);
            return true;
        }
    return false;
}

static bool keep_word(lua_State *lua, struct seek_parcel *parcel, const char *library,
                      struct carried_value *value)
{
    value->kind = CARRIED_WORD;
    value->bytes =
        arena_format(&parcel->arena, "%s%s%s", library, *library ? "." : "", lua_tostring(lua, -1));
    return true;
}

/* A function or library of the sandbox. */
static bool pack_word(lua_State *lua, int index, struct seek_parcel *parcel, struct carried_value *value)
{
    int top = lua_gettop(lua);
    bool found = false;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    int words = lua_gettop(lua);
    if (find_key(lua, index)) {
        found = keep_word(lua, parcel, "", value);
        lua_settop(lua, top);
        return found;
    }
    for (lua_pushnil(lua); !found && lua_next(lua, words); lua_settop(lua, words + 1)) {
        if (lua_type(lua, -2) == LUA_TSTRING && readonly_push_target(lua, -1) && find_key(lua, index))
            found = keep_word(lua, parcel, lua_tostring(lua, words + 1), value);
    }
    lua_settop(lua, top);
    return found;
}

static bool add_function(struct seek_parcel *parcel, const void *identity, size_t *number)
{
    for (*number = 0; *number < parcel->function_count; ++*number)
        if (parcel->functions[*number].identity == identity) return false;
    if (parcel->function_count == parcel->function_max) {
        parcel->function_max = parcel->function_max ? parcel->function_max * 2 : 8;
        parcel->functions = mem_resize(parcel->functions, parcel->function_max * sizeof *parcel->functions);
    }
    parcel->functions[parcel->function_count++] = (struct seek_carried){.identity = identity};
    return true;
}

static bool pack_function(lua_State *lua, int env, int index, struct seek_parcel *parcel, size_t *number)
{
    index = lua_absindex(lua, index);
    if (!lua_isfunction(lua, index) || lua_iscfunction(lua, index)) return false;
    if (!add_function(parcel, lua_topointer(lua, index), number)) return true;
    if (parcel->function_count > FUNCTIONS_MAX) return false;
    luaL_checkstack(lua, 16, NULL);
    struct buf code = {0};
    lua_pushvalue(lua, index);
    lua_dump(lua, write_code, &code, 0);
    lua_pop(lua, 1);
    struct carried_value values[256] = {0};
    int count = 0;
    parcel->functions[*number].code = arena_copy(&parcel->arena, buf_slice(&code));
    buf_release(&code);
    while (count < 255 && lua_getupvalue(lua, index, count + 1)) {
        bool packed = pack_value(lua, env, -1, parcel, &values[count++]);
        lua_pop(lua, 1);
        if (!packed) return false;
    }
    struct seek_carried *carried = &parcel->functions[*number]; /* packing values may have moved it */
    carried->values = arena_take(&parcel->arena, (size_t)(count + 1) * sizeof *values);
    memcpy(carried->values, values, (size_t)count * sizeof *values);
    carried->value_count = count;
    return true;
}

bool seek_carry_pack(lua_State *lua, int env, int index, struct seek_parcel *parcel, size_t *number)
{
    if (!parcel->failed && !pack_function(lua, env, index, parcel, number)) parcel->failed = true;
    return !parcel->failed;
}

static bool pack_value(lua_State *lua, int env, int index, struct seek_parcel *parcel,
                       struct carried_value *value)
{
    index = lua_absindex(lua, index);
    *value = (struct carried_value){.kind = CARRIED_NIL};
    if (lua_isnil(lua, index)) return true;
    if (lua_rawequal(lua, index, env)) {
        value->kind = CARRIED_ENV;
        return true;
    }
    if (lua_isfunction(lua, index) && !lua_iscfunction(lua, index)) {
        value->kind = CARRIED_FUNCTION;
        return seek_carry_pack(lua, env, index, parcel, &value->number);
    }
    if (lua_isfunction(lua, index)) return pack_word(lua, index, parcel, value);
    if (lua_istable(lua, index) && pack_word(lua, index, parcel, value)) return true;
    return pack_data(lua, index, parcel, value);
}

/* A text in a function's code has its size + 1 before it, in one byte if it is short. */
static bool code_mentions(struct slice code, struct slice name)
{
    const char *at = code.data, *end = code.data + code.size;
    while (name.size && (at = memmem(at, (size_t)(end - at), name.data, name.size))) {
        if (name.size > 126 || (at > code.data && (uint8_t)at[-1] == (0x80 | (name.size + 1)))) return true;
        at++;
    }
    return false;
}

static bool is_mentioned(const struct seek_parcel *parcel, struct slice name)
{
    for (size_t at = 0; at < parcel->function_count; at++)
        if (code_mentions(parcel->functions[at].code, name)) return true;
    return false;
}

static bool has_global(const struct seek_parcel *parcel, struct slice name)
{
    for (size_t at = 0; at < parcel->global_count; at++)
        if (slice_equal(parcel->globals[at].name, name)) return true;
    return false;
}

/* Name and value are on top. */
static void pack_global(lua_State *lua, int env, struct seek_parcel *parcel, struct slice name)
{
    struct carried_value value;
    if (!pack_value(lua, env, -1, parcel, &value)) value = (struct carried_value){.kind = CARRIED_REFUSED};
    if (parcel->global_count == parcel->global_max) {
        parcel->global_max = parcel->global_max ? parcel->global_max * 2 : 8;
        parcel->globals = mem_resize(parcel->globals, parcel->global_max * sizeof *parcel->globals);
    }
    parcel->globals[parcel->global_count++] =
        (struct seek_global){.name = arena_copy(&parcel->arena, name), .value = value};
}

/* A global that is a function mentions others: until there are no more. */
bool seek_carry_pack_globals(lua_State *lua, int env, struct seek_parcel *parcel)
{
    size_t before;
    env = lua_absindex(lua, env);
    do {
        before = parcel->global_count;
        for (lua_pushnil(lua); lua_next(lua, env); lua_pop(lua, 1)) {
            struct slice name = SLICE_NONE;
            if (lua_type(lua, -2) != LUA_TSTRING) continue;
            name.data = lua_tolstring(lua, -2, &name.size);
            if (is_mentioned(parcel, name) && !has_global(parcel, name)) pack_global(lua, env, parcel, name);
        }
    } while (parcel->global_count != before && parcel->global_count < GLOBALS_MAX && !parcel->failed);
    return !parcel->failed;
}

void seek_parcel_release(struct seek_parcel *parcel)
{
    mem_free(parcel->functions);
    mem_free(parcel->globals);
    arena_release(&parcel->arena);
    *parcel = (struct seek_parcel){0};
}

/* --- in another state --- */

static int be_impure(lua_State *lua)
{
    lua_pushboolean(lua, 1);
    lua_rawsetp(lua, LUA_REGISTRYINDEX, &impure_key);
    return vm_raise(lua, FAULT_SCRIPT, 1, "this is done by the session itself");
}

/* Of next and pairs, upvalue 1 the word, 2 the globals: what is in these is seen by the session only. */
static int not_of_globals(lua_State *lua)
{
    if (lua_rawequal(lua, 1, lua_upvalueindex(2))) return be_impure(lua);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
    return lua_gettop(lua);
}

/* With the table of carried globals on top: words that see more of a value than it says of itself. */
static void hide_words(lua_State *lua, int env)
{
    static const char *const impure[] = {"getmetatable", "rawget", "rawset", "rawlen", "rawequal", "print"};
    static const char *const walking[] = {"next", "pairs"};
    int globals = lua_gettop(lua);
    for (size_t at = 0; at < sizeof impure / sizeof *impure; at++) {
        lua_pushcfunction(lua, be_impure);
        lua_setfield(lua, globals, impure[at]);
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    for (size_t at = 0; at < sizeof walking / sizeof *walking; at++) {
        lua_getfield(lua, -1, walking[at]);
        lua_pushvalue(lua, env);
        lua_pushcclosure(lua, not_of_globals, 2);
        lua_setfield(lua, globals, walking[at]);
    }
    lua_pop(lua, 1);
}

/* Upvalue 1: the globals that were carried. What is in neither them nor the sandbox may be there in the
 * session. */
static int env_index(lua_State *lua)
{
    lua_settop(lua, 2);
    lua_pushvalue(lua, 2);
    if (lua_rawget(lua, lua_upvalueindex(1)) != LUA_TNIL) {
        if (lua_islightuserdata(lua, -1)) return be_impure(lua);
        return 1;
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    lua_pushvalue(lua, 2);
    if (lua_rawget(lua, -2) == LUA_TNIL) return be_impure(lua);
    return 1;
}

/* As a function of this state reads it. */
static void push_word(lua_State *lua, struct slice path, int env)
{
    const char *dot = memchr(path.data, '.', path.size);
    size_t size = dot ? (size_t)(dot - path.data) : path.size;
    lua_pushlstring(lua, path.data, size);
    lua_gettable(lua, env);
    if (!dot) return;
    lua_getfield(lua, -1, dot + 1);
    lua_remove(lua, -2);
}

/* functions, env: stack indexes. */
static void push_carried(lua_State *lua, const struct carried_value *value, int functions, int env)
{
    switch (value->kind) {
    case CARRIED_NIL: lua_pushnil(lua); break;
    case CARRIED_ENV: lua_pushvalue(lua, env); break;
    case CARRIED_FUNCTION: lua_rawgeti(lua, functions, (lua_Integer)value->number + 1); break;
    case CARRIED_WORD: push_word(lua, value->bytes, env); break;
    case CARRIED_REFUSED: lua_pushlightuserdata(lua, NULL); break;
    case CARRIED_DATA:
        value_push(lua, value->bytes);
        if (!lua_istable(lua, -1)) break;
        value_push_readonly(lua, -1);
        lua_remove(lua, -2);
        break;
    }
}

struct reading {
    struct slice code;
    bool is_read;
};

static const char *read_code(lua_State *lua, void *user, size_t *size)
{
    struct reading *reading = user;
    *size = reading->is_read ? 0 : reading->code.size;
    reading->is_read = true;
    return reading->code.data;
}

static void load_functions(lua_State *lua, const struct seek_parcel *parcel, int functions)
{
    for (size_t at = 0; at < parcel->function_count; at++) {
        struct reading reading = {.code = parcel->functions[at].code};
        if (lua_load(lua, read_code, &reading, "=carried", "b") != LUA_OK) lua_error(lua);
        lua_pushnil(lua); /* lua_load puts the state's own globals there, which no script may see */
        if (!lua_setupvalue(lua, -2, 1)) lua_pop(lua, 1);
        lua_rawseti(lua, functions, (lua_Integer)at + 1);
    }
}

/* around: a list for each function of what it has around it, to compare with later. */
static void give_upvalues(lua_State *lua, const struct seek_parcel *parcel, int functions, int around,
                          int env)
{
    for (size_t at = 0; at < parcel->function_count; at++) {
        const struct seek_carried *carried = &parcel->functions[at];
        lua_rawgeti(lua, functions, (lua_Integer)at + 1);
        int function = lua_gettop(lua);
        lua_createtable(lua, carried->value_count, 0);
        for (int value = 1; value <= carried->value_count; value++) {
            push_carried(lua, &carried->values[value - 1], functions, env);
            lua_pushvalue(lua, -1);
            lua_rawseti(lua, function + 1, value);
            lua_setupvalue(lua, function, value);
        }
        lua_rawseti(lua, around, (lua_Integer)at + 1);
        lua_settop(lua, function - 1);
    }
}

void seek_carry_open(lua_State *lua, const struct seek_parcel *parcel)
{
    int top = lua_gettop(lua), functions = top + 1, around = top + 2, globals = top + 3, env = top + 4;
    luaL_checkstack(lua, 24, NULL);
    lua_newtable(lua);
    lua_newtable(lua);
    lua_newtable(lua);
    lua_newtable(lua);
    lua_createtable(lua, 0, 3); /* of env */
    lua_pushvalue(lua, globals);
    lua_pushcclosure(lua, env_index, 1);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, be_impure);
    lua_setfield(lua, -2, "__newindex");
    lua_pushboolean(lua, 0);
    lua_setfield(lua, -2, "__metatable");
    lua_setmetatable(lua, env);
    lua_pushvalue(lua, globals);
    hide_words(lua, env);
    seek_event_add_type(lua);
    lua_pop(lua, 1);
    load_functions(lua, parcel, functions);
    give_upvalues(lua, parcel, functions, around, env);
    for (size_t at = 0; at < parcel->global_count; at++) {
        lua_pushlstring(lua, parcel->globals[at].name.data, parcel->globals[at].name.size);
        push_carried(lua, &parcel->globals[at].value, functions, env);
        lua_rawset(lua, globals);
    }
    lua_pushvalue(lua, functions);
    lua_rawsetp(lua, LUA_REGISTRYINDEX, &functions_key);
    lua_pushvalue(lua, around);
    lua_rawsetp(lua, LUA_REGISTRYINDEX, &around_key);
    lua_settop(lua, top);
}

void seek_carry_push(lua_State *lua, size_t number)
{
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &functions_key);
    lua_rawgeti(lua, -1, (lua_Integer)number + 1);
    lua_remove(lua, -2);
}

/* Whether each function has around it what it was given. */
static bool is_untouched(lua_State *lua)
{
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &functions_key);
    lua_rawgetp(lua, LUA_REGISTRYINDEX, &around_key);
    int functions = lua_gettop(lua) - 1, around = functions + 1;
    bool same = true;
    lua_Integer count = (lua_Integer)lua_rawlen(lua, functions);
    for (lua_Integer at = 1; at <= count && same; at++) {
        lua_rawgeti(lua, functions, at);
        lua_rawgeti(lua, around, at);
        for (int value = 1; same && lua_getupvalue(lua, around + 1, value); value++) {
            lua_rawgeti(lua, around + 2, value);
            same = lua_rawequal(lua, -1, -2);
            lua_pop(lua, 2);
        }
        lua_settop(lua, around);
    }
    lua_settop(lua, functions - 1);
    return same;
}

bool seek_carry_is_pure(lua_State *lua)
{
    bool impure = lua_rawgetp(lua, LUA_REGISTRYINDEX, &impure_key) != LUA_TNIL;
    lua_pop(lua, 1);
    return !impure && !vm_of(lua)->refused_write && is_untouched(lua);
}

/* The check, one pass over a message: every field in order of declaration, then a count that finds what is
 * not declared. So which error is reported does not depend on the order of a hash table: the same message
 * gives the same words in every process.
 *
 * Convention: a value to be checked is on top of the stack; afterwards its normal form is in the same place,
 * and the result says whether that is another value. In copy mode tables are replaced by fresh ones, so
 * nothing of the caller's stays reachable. */
#include "vm/contract.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "codec/text.h"
#include "codec/time.h"
#include "vm/nearest.h"
#include "vm/value.h"
#include "vm/vm.h"

enum { PATH_SIZE_MAX = 400, SHOWN_SIZE_MAX = 40 };

struct path {
    const struct path *parent;
    struct slice name; /* a field or a map's key; no data: [index] */
    lua_Integer index;
};

struct check {
    lua_State *lua;
    const struct contract_message *message;
    int level;
    bool copy;
};

static bool check_value(const struct check *check, const struct contract_type *type, const struct path *path);

static size_t put_path(const struct path *path, char *text, size_t size)
{
    if (path == NULL) return 0;
    size_t used = put_path(path->parent, text, size);
    if (used >= size) return used;
    int more = path->name.data != NULL ? snprintf(text + used, size - used, ".%.*s", SLICE_ARGS(path->name))
                                       : snprintf(text + used, size - used, "[%lld]", (long long)path->index);
    return used + (more > 0 ? (size_t)more : 0);
}

static void fail(const struct check *check, const struct path *path, const char *words)
{
    char text[PATH_SIZE_MAX] = "";
    put_path(path, text, sizeof text);
    vm_raise(check->lua, FAULT_CONTRACT, check->level, "%.*s%s: %s", SLICE_ARGS(check->message->name), text,
             words);
}

static const char *expected_name(const struct contract_type *type)
{
    static const char *const names[] = {"string",  "integer", "number", "boolean", "time",
                                        "decimal", "a value", "list",   "map",     "record"};
    return names[type->kind];
}

static const char *got_name(lua_State *lua, int index)
{
    switch (lua_type(lua, index)) {
    case LUA_TNONE:
    case LUA_TNIL: return "nothing";
    case LUA_TNUMBER: {
        double number = lua_tonumber(lua, index);
        if (lua_isinteger(lua, index)) return "integer";
        return isnan(number) ? "nan" : isinf(number) ? "inf" : "float";
    }
    case LUA_TTABLE: return lua_rawlen(lua, index) > 0 || value_is_list_mark(lua, index) ? "list" : "map";
    case LUA_TUSERDATA: return value_is_decimal(lua, index) ? "decimal" : "userdata";
    default: return luaL_typename(lua, index);
    }
}

/* The value on top does not fit. */
static void fail_type(const struct check *check, const struct contract_type *type, const struct path *path)
{
    char words[160];
    const char *expected = expected_name(type), *got = got_name(check->lua, -1);
    bool texts = lua_type(check->lua, -1) == LUA_TSTRING &&
                 (type->kind == CONTRACT_TIME || type->kind == CONTRACT_DECIMAL);
    size_t size = 0;
    const char *text = texts ? lua_tolstring(check->lua, -1, &size) : NULL;
    if (texts && size <= SHOWN_SIZE_MAX && text_is_utf8(slice_make(text, size)))
        snprintf(words, sizeof words, "expected %s, got \"%s\"", expected, text);
    else if (type->kind == CONTRACT_DECIMAL && lua_type(check->lua, -1) == LUA_TNUMBER)
        snprintf(words, sizeof words, "expected decimal, got %s: write it as text", got);
    else
        snprintf(words, sizeof words, "expected %s, got %s", expected, got);
    fail(check, path, words);
}

static bool is_normal_time(const char *text, size_t size)
{
    return size == TIME_TEXT_SIZE && text[4] == '-' && text[7] == '-' && text[10] == 'T' && text[13] == ':' &&
           text[16] == ':' && text[19] == '.' && text[23] == 'Z';
}

static bool check_time(const struct check *check, const struct contract_type *type, const struct path *path)
{
    lua_State *lua = check->lua;
    if (lua_type(lua, -1) != LUA_TSTRING) fail_type(check, type, path);
    size_t size;
    const char *text = lua_tolstring(lua, -1, &size);
    int64_t ms;
    if (!time_parse(slice_make(text, size), &ms) || !time_valid(ms)) fail_type(check, type, path);
    if (is_normal_time(text, size)) return false;
    char normal[TIME_TEXT_SIZE + 1];
    time_format(ms, normal);
    lua_pushlstring(lua, normal, TIME_TEXT_SIZE);
    lua_replace(lua, -2);
    return true;
}

static bool check_decimal(const struct check *check, const struct contract_type *type,
                          const struct path *path)
{
    lua_State *lua = check->lua;
    if (value_is_decimal(lua, -1)) return false;
    if (lua_isinteger(lua, -1)) {
        value_number_to_decimal(lua, -1);
    } else {
        size_t size = 0;
        const char *text = lua_type(lua, -1) == LUA_TSTRING ? lua_tolstring(lua, -1, &size) : NULL;
        if (text == NULL || !text_is_decimal(slice_make(text, size))) fail_type(check, type, path);
        value_push_decimal(lua, slice_make(text, size));
    }
    lua_replace(lua, -2);
    return true;
}

static bool check_number(const struct check *check, const struct contract_type *type, const struct path *path)
{
    lua_State *lua = check->lua;
    if (lua_isinteger(lua, -1)) return false;
    if (lua_type(lua, -1) != LUA_TNUMBER || !isfinite(lua_tonumber(lua, -1))) fail_type(check, type, path);
    if (type->kind == CONTRACT_NUMBER) return false;
    lua_Integer integer = 0;
    if (!lua_numbertointeger(floor(lua_tonumber(lua, -1)), &integer) ||
        (double)integer != lua_tonumber(lua, -1))
        fail_type(check, type, path);
    lua_pushinteger(lua, integer);
    lua_replace(lua, -2);
    return true;
}

static void check_string(const struct check *check, const struct contract_type *type, const struct path *path)
{
    if (lua_type(check->lua, -1) != LUA_TSTRING) fail_type(check, type, path);
    size_t size;
    const char *text = lua_tolstring(check->lua, -1, &size);
    if (!text_is_utf8(slice_make(text, size)))
        fail(check, path, "expected string, got bytes that are no UTF-8");
}

static bool check_any(const struct check *check, const struct contract_type *type, const struct path *path)
{
    lua_State *lua = check->lua;
    int kind = lua_type(lua, -1);
    if (kind == LUA_TNIL || kind == LUA_TFUNCTION || kind == LUA_TTHREAD || kind == LUA_TLIGHTUSERDATA)
        fail_type(check, type, path);
    if (kind == LUA_TNUMBER) {
        if (!isfinite(lua_tonumber(lua, -1))) fail_type(check, type, path);
        return false;
    }
    if (kind == LUA_TSTRING) check_string(check, type, path);
    if (!check->copy || kind == LUA_TSTRING || kind == LUA_TBOOLEAN || value_is_decimal(lua, -1))
        return false;
    value_copy(lua, -1);
    lua_replace(lua, -2);
    return true;
}

static size_t count_keys(lua_State *lua, int table)
{
    size_t count = 0;
    vm_spend(lua, 0); /* an emptied table keeps its size: each may take a while */
    for (lua_pushnil(lua); lua_next(lua, table) != 0; lua_pop(lua, 1)) count++;
    return count;
}

static int compare_names(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* Pushes a userdata with the table's keys in byte order; the texts stay those of the table. A key that is no
 * text fails. */
static struct slice *push_keys(const struct check *check, int table, size_t count, const struct path *path)
{
    lua_State *lua = check->lua;
    struct slice *keys = lua_newuserdatauv(lua, (count + 1) * sizeof *keys, 0);
    size_t at = 0;
    for (lua_pushnil(lua); lua_next(lua, table) != 0; lua_pop(lua, 1)) {
        if (lua_type(lua, -2) != LUA_TSTRING) {
            char words[80];
            snprintf(words, sizeof words, "expected text as the name of a field, got %s", got_name(lua, -2));
            fail(check, path, words);
        }
        size_t size;
        const char *text = lua_tolstring(lua, -2, &size);
        keys[at++] = slice_make(text, size);
    }
    if (count > 1) qsort(keys, count, sizeof *keys, compare_names);
    return keys;
}

static const struct contract_field *find_field(const struct contract_type *type, struct slice name)
{
    for (size_t i = 0; i < type->field_count; i++)
        if (slice_equal(type->fields[i].name, name)) return &type->fields[i];
    return NULL;
}

/* If the table holds more than its declared fields: says which, the first in byte order. */
static void fail_if_unknown(const struct check *check, const struct contract_type *type, int table,
                            const struct path *path)
{
    size_t count = count_keys(check->lua, table);
    const struct slice *keys = push_keys(check, table, count, path);
    for (size_t i = 0; i < count; i++) {
        if (find_field(type, keys[i]) != NULL) continue;
        struct nearest nearest = nearest_to(keys[i]);
        for (size_t j = 0; j < type->field_count; j++) nearest_offer(&nearest, type->fields[j].name);
        struct slice found = nearest_found(&nearest);
        struct path unknown = {.parent = path, .name = text_is_utf8(keys[i]) ? keys[i] : slice_of("?")};
        char words[160];
        snprintf(words, sizeof words, found.size ? "unknown field: did you mean %.*s?" : "unknown field",
                 SLICE_ARGS(found));
        fail(check, &unknown, words);
    }
    lua_pop(check->lua, 1);
}

/* Stack: …, table. Result in its place. */
static bool check_record(const struct check *check, const struct contract_type *type, const struct path *path)
{
    lua_State *lua = check->lua;
    int table = lua_gettop(lua);
    if (value_is_list_mark(lua, table)) fail_type(check, type, path);
    if (check->copy) lua_createtable(lua, 0, (int)type->field_count);
    int target = lua_gettop(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, type->keys);
    int keys = target + 1;
    size_t present = 0;
    for (size_t i = 0; i < type->field_count; i++) {
        const struct contract_field *field = &type->fields[i];
        lua_rawgeti(lua, keys, (lua_Integer)i + 1);
        bool absent = lua_rawget(lua, table) == LUA_TNIL;
        if (absent && field->optional) {
            lua_pop(lua, 1);
            continue;
        }
        /* What is missing is often there under a misspelt name: then that is the better thing to say. */
        if (absent) fail_if_unknown(check, type, table, path);
        struct path inner = {.parent = path, .name = field->name};
        bool changed = check_value(check, &field->type, &inner);
        present++;
        if (changed || check->copy) {
            lua_rawgeti(lua, keys, (lua_Integer)i + 1);
            lua_insert(lua, -2);
            lua_rawset(lua, target);
        } else {
            lua_pop(lua, 1);
        }
    }
    if (count_keys(lua, table) != present) fail_if_unknown(check, type, table, path);
    lua_settop(lua, target);
    if (check->copy) lua_replace(lua, table);
    return check->copy;
}

static bool check_list(const struct check *check, const struct contract_type *type, const struct path *path)
{
    lua_State *lua = check->lua;
    int table = lua_gettop(lua);
    lua_Integer count = (lua_Integer)lua_rawlen(lua, table);
    vm_spend(lua, (uint64_t)count);
    if (count_keys(lua, table) != (size_t)count) {
        if (count == 0) fail_type(check, type, path);
        fail(check, path, "expected list, got a table with holes or named fields");
    }
    if (check->copy) lua_createtable(lua, (int)count, 0);
    int target = lua_gettop(lua);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(lua, table, i);
        struct path inner = {.parent = path, .index = i};
        bool changed = check_value(check, type->item, &inner);
        if (changed || check->copy)
            lua_rawseti(lua, target, i);
        else
            lua_pop(lua, 1);
    }
    if (count == 0) value_mark_list(lua, target);
    if (check->copy) lua_replace(lua, table);
    return check->copy;
}

static bool check_map(const struct check *check, const struct contract_type *type, const struct path *path)
{
    lua_State *lua = check->lua;
    int table = lua_gettop(lua);
    if (value_is_list_mark(lua, table) || lua_rawlen(lua, table) > 0) fail_type(check, type, path);
    size_t count = count_keys(lua, table);
    vm_spend(lua, count);
    if (check->copy) lua_createtable(lua, 0, (int)count);
    int target = lua_gettop(lua);
    const struct slice *keys = push_keys(check, table, count, path);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(lua, keys[i].data, keys[i].size);
        lua_pushvalue(lua, -1);
        lua_rawget(lua, table);
        struct path inner = {.parent = path, .name = keys[i]};
        if (!text_is_utf8(keys[i])) fail(check, path, "a key is no UTF-8");
        bool changed = check_value(check, type->item, &inner);
        if (changed || check->copy)
            lua_rawset(lua, target);
        else
            lua_pop(lua, 2);
    }
    lua_settop(lua, target);
    if (check->copy) lua_replace(lua, table);
    return check->copy;
}

/* A list, map or record. A table with a metatable of its own, or a read-only view, is first made plain. */
static bool check_table(const struct check *check, const struct contract_type *type, const struct path *path)
{
    lua_State *lua = check->lua;
    struct check inner = *check;
    luaL_checkstack(lua, 12, "a message nests too deeply");
    bool is_table = lua_type(lua, -1) == LUA_TTABLE, replaced = false;
    if (check->copy && (is_table || lua_type(lua, -1) == LUA_TUSERDATA) && lua_getmetatable(lua, -1)) {
        lua_pop(lua, 1);
        bool is_message = contract_message_of(lua, -1) != NULL;
        if (is_message) lua_pop(lua, 1);
        if (!value_is_list_mark(lua, -1) && !value_is_decimal(lua, -1) && !is_message) {
            value_copy(lua, -1);
            lua_replace(lua, -2);
            inner.copy = false;
            replaced = true;
        }
    }
    if (lua_type(lua, -1) != LUA_TTABLE) fail_type(check, type, path);
    bool changed = type->kind == CONTRACT_RECORD ? check_record(&inner, type, path)
                   : type->kind == CONTRACT_LIST ? check_list(&inner, type, path)
                                                 : check_map(&inner, type, path);
    return changed || replaced;
}

static bool check_value(const struct check *check, const struct contract_type *type, const struct path *path)
{
    switch (type->kind) {
    case CONTRACT_STRING: check_string(check, type, path); return false;
    case CONTRACT_INTEGER:
    case CONTRACT_NUMBER: return check_number(check, type, path);
    case CONTRACT_BOOLEAN:
        if (lua_type(check->lua, -1) != LUA_TBOOLEAN) fail_type(check, type, path);
        return false;
    case CONTRACT_TIME: return check_time(check, type, path);
    case CONTRACT_DECIMAL: return check_decimal(check, type, path);
    case CONTRACT_ANY: return check_any(check, type, path);
    case CONTRACT_LIST:
    case CONTRACT_MAP:
    case CONTRACT_RECORD: return check_table(check, type, path);
    }
    return false;
}

void contract_check(lua_State *lua, int index, const struct contract_message *message, int level)
{
    struct check check = {.lua = lua, .message = message, .level = level};
    luaL_checkstack(lua, 12, "a message nests too deeply");
    lua_pushvalue(lua, index);
    check_value(&check, &message->type, NULL);
    lua_pop(lua, 1);
}

void contract_copy(lua_State *lua, int index, const struct contract_message *message, int level)
{
    struct check check = {.lua = lua, .message = message, .level = level, .copy = true};
    luaL_checkstack(lua, 12, "a message nests too deeply");
    lua_pushvalue(lua, index);
    check_value(&check, &message->type, NULL);
}

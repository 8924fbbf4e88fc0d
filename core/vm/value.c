/* DESIGN
 *
 * Decoding pushes straight onto the Lua stack; encoding walks a table twice: once to see what it is and
 * gather its keys, once in order. The path of an error ("state.items[3].price") is kept as a chain of frames
 * on the C stack and only written out on an error. Recursion is bounded by LIMIT_DEPTH_MAX, so a cycle ends
 * as "nested too deep". */
#include "vm/value.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/limit.h"
#include "codec/text.h"
#include "vm/decimal.h"
#include "vm/peek.h"
#include "vm/lazy.h"
#include "vm/readonly.h"
#include "vm/sandbox.h"
#include "vm/vm.h"

enum {
    FIELDS_ON_STACK = 24,
    FIELDS_INSERTED = 16,
    CREATE_MAX = 1 << 16,
    WALK_TABLES = 64,
    WALK_MS_MAX = 5000
};

/* --- walking --- */

/* A table that was large and is empty still takes its old size to walk, and the same one may be there a
 * million times, each a byte of output. Inside a call its budget ends that; outside of one, this does. */
struct patience {
    unsigned tables;
    int64_t began_ms;
};

static int64_t cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Before each table. */
static void walk(lua_State *lua, struct patience *patience)
{
    vm_spend(lua, 0);
    if (vm_of(lua)->depth > 0 || ++patience->tables % WALK_TABLES != 0) return;
    if (patience->tables == WALK_TABLES)
        patience->began_ms = cpu_ms();
    else if (cpu_ms() - patience->began_ms > WALK_MS_MAX)
        vm_raise(lua, FAULT_BUDGET, 1, "plain data that takes longer than %d ms to walk", WALK_MS_MAX);
}

/* --- decoding --- */

static void push_value(lua_State *lua, struct mp_reader *reader, int depth);

static int corrupt(lua_State *lua)
{
    return vm_raise(lua, FAULT_CORRUPT, 0, "stored data is damaged: no valid MessagePack");
}

/* Texts up to 31 bytes are most of what events hold; everything else goes through the codec. */
static void push_next(lua_State *lua, struct mp_reader *reader, int depth)
{
    const uint8_t *at = reader->at;
    if (at < reader->end) {
        if ((*at & 0xe0) == 0xa0) {
            size_t size = *at & 0x1f;
            if ((size_t)(reader->end - at) > size) {
                lua_pushlstring(lua, (const char *)at + 1, size);
                reader->at = at + 1 + size;
                return;
            }
        } else if (*at < 0x80) {
            lua_pushinteger(lua, *at);
            reader->at = at + 1;
            return;
        }
    }
    push_value(lua, reader, depth);
}

static void push_list(lua_State *lua, struct mp_reader *reader, uint32_t count, int depth)
{
    if (depth >= LIMIT_DEPTH_MAX) corrupt(lua);
    luaL_checkstack(lua, 6, NULL);
    lua_createtable(lua, count < CREATE_MAX ? (int)count : CREATE_MAX, 0);
    for (uint32_t i = 1; i <= count; i++) {
        push_next(lua, reader, depth + 1);
        lua_rawseti(lua, -2, i);
    }
    if (count == 0) value_mark_list(lua, -1);
}

static void push_map(lua_State *lua, struct mp_reader *reader, uint32_t count, int depth)
{
    if (depth >= LIMIT_DEPTH_MAX) corrupt(lua);
    luaL_checkstack(lua, 6, NULL);
    lua_createtable(lua, 0, count < CREATE_MAX ? (int)count : CREATE_MAX);
    for (uint32_t i = 0; i < count; i++) {
        push_next(lua, reader, depth + 1);
        if (lua_type(lua, -1) != LUA_TSTRING) corrupt(lua);
        push_next(lua, reader, depth + 1);
        lua_rawset(lua, -3);
    }
}

static void push_value(lua_State *lua, struct mp_reader *reader, int depth)
{
    struct mp_value value;
    if (mp_read(reader, &value) < 0) corrupt(lua);
    switch (value.kind) {
    case MP_NIL: lua_pushnil(lua); break;
    case MP_BOOL: lua_pushboolean(lua, value.boolean); break;
    case MP_INT: lua_pushinteger(lua, value.integer); break;
    case MP_FLOAT: lua_pushnumber(lua, value.number); break;
    case MP_TEXT: lua_pushlstring(lua, value.text.data, value.text.size); break;
    case MP_DECIMAL:
        if (!decimal_push_plain(lua, value.text)) corrupt(lua);
        break;
    case MP_LIST: push_list(lua, reader, value.count, depth); break;
    case MP_MAP: push_map(lua, reader, value.count, depth); break;
    default: corrupt(lua);
    }
}

void value_push_next(lua_State *lua, struct mp_reader *reader)
{
    push_next(lua, reader, 0);
}

void value_push(lua_State *lua, struct slice bytes)
{
    struct mp_reader reader = mp_reader_of(bytes);
    luaL_checkstack(lua, 4, NULL);
    push_next(lua, &reader, 0);
    if (reader.at != reader.end) corrupt(lua);
}

/* --- errors with a path --- */

struct frame {
    const struct frame *outer; /* NULL: what itself */
    struct slice name;         /* of a field; data NULL: an item of a list */
    lua_Integer item;
    int depth;
};

struct encoder {
    lua_State *lua;
    struct buf *out;
    const char *what;
    size_t size_before, size_max;
    struct patience patience;
};

static void path_text(const struct encoder *encoder, const struct frame *frame, char *text, size_t size)
{
    if (!frame) {
        snprintf(text, size, "%s", encoder->what);
        return;
    }
    path_text(encoder, frame->outer, text, size);
    size_t used = strlen(text);
    if (!frame->name.data)
        snprintf(text + used, size - used, "[%lld]", (long long)frame->item);
    else if (text_is_name(frame->name))
        snprintf(text + used, size - used, ".%.*s", SLICE_ARGS(frame->name));
    else
        snprintf(text + used, size - used, "[\"%.*s\"]", (int)(frame->name.size > 40 ? 40 : frame->name.size),
                 frame->name.data);
}

static void not_plain(const struct encoder *encoder, const struct frame *frame, const char *why)
{
    char path[1024];
    path_text(encoder, frame, path, sizeof path);
    vm_raise(encoder->lua, FAULT_SCRIPT, 1, "%s: %s", path, why);
}

/* --- encoding --- */

static void encode_value(struct encoder *encoder, int index, const struct frame *frame, int depth);

static void check_size(struct encoder *encoder)
{
    if (encoder->out->size - encoder->size_before > encoder->size_max)
        vm_raise(encoder->lua, FAULT_TOO_LARGE, 1, "%s: larger than %zu bytes", encoder->what,
                 encoder->size_max);
}

static void encode_text(struct encoder *encoder, int index, const struct frame *frame)
{
    struct slice text;
    text.data = lua_tolstring(encoder->lua, index, &text.size);
    if (text.size > encoder->size_max)
        vm_raise(encoder->lua, FAULT_TOO_LARGE, 1, "%s: larger than %zu bytes", encoder->what,
                 encoder->size_max);
    if (!text_is_utf8(text)) not_plain(encoder, frame, "a text that is not UTF-8");
    mp_put_text(encoder->out, text);
}

static void encode_list(struct encoder *encoder, int index, lua_Unsigned count, const struct frame *frame,
                        int depth)
{
    lua_State *lua = encoder->lua;
    lua_Unsigned found = 0;
    for (lua_pushnil(lua); lua_next(lua, index); found++) {
        lua_pop(lua, 1);
        if (lua_type(lua, -1) == LUA_TSTRING)
            not_plain(encoder, frame, "a table with both list items and named fields is no plain data");
        if (!lua_isinteger(lua, -1))
            not_plain(encoder, frame, "only texts, or 1..n for a list, can be keys of plain data");
        lua_Integer key = lua_tointeger(lua, -1);
        if (key < 1 || (lua_Unsigned)key > count)
            not_plain(encoder, frame, "a list with holes is no plain data");
    }
    if (found != count) not_plain(encoder, frame, "a list with holes is no plain data");
    if (count > encoder->size_max || count > UINT32_MAX)
        vm_raise(lua, FAULT_TOO_LARGE, 1, "%s: larger than %zu bytes", encoder->what, encoder->size_max);
    mp_put_list(encoder->out, (uint32_t)count);
    for (lua_Unsigned i = 1; i <= count; i++) {
        struct frame item = {.outer = frame, .item = (lua_Integer)i};
        lua_rawgeti(lua, index, (lua_Integer)i);
        encode_value(encoder, lua_gettop(lua), &item, depth + 1);
        lua_pop(lua, 1);
    }
}

struct field {
    struct slice key;
    struct peek_value value;
};

static int compare_fields(const void *a, const void *b)
{
    return slice_compare(((const struct field *)a)->key, ((const struct field *)b)->key);
}

static void sort_fields(struct field *fields, size_t count)
{
    if (count > FIELDS_INSERTED) {
        // cppcheck-suppress uninitvar ; the caller filled count fields
        qsort(fields, count, sizeof *fields, compare_fields);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        struct field field = fields[i];
        size_t at = i;
        for (; at > 0 && slice_compare(fields[at - 1].key, field.key) > 0; at--) fields[at] = fields[at - 1];
        fields[at] = field;
    }
}

/* Most fields are no tables and nothing is wrong with them. False: not encoded, for one reason or another. */
static bool encode_simple(struct encoder *encoder, struct peek_value value)
{
    char text[DECIMAL_TEXT_SIZE];
    struct slice bytes;
    switch (value.tag) {
    case PEEK_FALSE:
    case PEEK_TRUE: mp_put_bool(encoder->out, value.tag == PEEK_TRUE); return true;
    case PEEK_INTEGER: mp_put_int(encoder->out, value.content.integer); return true;
    case PEEK_SHORT_TEXT:
    case PEEK_LONG_TEXT:
        bytes = peek_text(value.content, value.tag);
        if (bytes.size > encoder->size_max || !text_is_utf8(bytes)) return false;
        mp_put_text(encoder->out, bytes);
        return true;
    case PEEK_USERDATA:
        if (peek_userdata_metatable(value.content) != vm_of(encoder->lua)->meta_at[VM_META_DECIMAL])
            return false;
        bytes = slice_make(text, (size_t)decimal_text(peek_userdata(value.content), text));
        mp_put_decimal(encoder->out, bytes);
        return true;
    default: return false;
    }
}

/* Nothing runs between gathering and reading that could drop a field: all stays where it is. */
static void encode_map(struct encoder *encoder, int index, const struct frame *frame, int depth)
{
    lua_State *lua = encoder->lua;
    struct field on_stack[FIELDS_ON_STACK], *fields = on_stack;
    size_t count = 0, count_max = FIELDS_ON_STACK;
    int top = lua_gettop(lua);
    lua_pushnil(lua); /* slot of a larger array */
    struct peek_walk walk = peek_walk(lua_topointer(lua, index));
    while (peek_next(&walk)) {
        if (!peek_is_text(walk.key_tag)) {
            if (walk.key_tag == PEEK_INTEGER) not_plain(encoder, frame, "a list with holes is no plain data");
            not_plain(encoder, frame, "only texts, or 1..n for a list, can be keys of plain data");
        }
        if (count == count_max) {
            struct field *more = lua_newuserdatauv(lua, count_max * 2 * sizeof *fields, 0);
            memcpy(more, fields, count * sizeof *fields);
            lua_replace(lua, top + 1);
            fields = more;
            count_max *= 2;
        }
        fields[count++] = (struct field){peek_text(walk.key, walk.key_tag), walk.value};
    }
    if (count > encoder->size_max || count > UINT32_MAX)
        vm_raise(lua, FAULT_TOO_LARGE, 1, "%s: larger than %zu bytes", encoder->what, encoder->size_max);
    sort_fields(fields, count);
    mp_put_map(encoder->out, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        struct slice key = fields[i].key;
        if (!text_is_utf8(key)) not_plain(encoder, frame, "a key that is not UTF-8");
        mp_put_text(encoder->out, key);
        if (encode_simple(encoder, fields[i].value)) {
            check_size(encoder);
            continue;
        }
        struct frame field = {.outer = frame, .name = key};
        lua_pushlstring(lua, key.data, key.size);
        lua_rawget(lua, index);
        encode_value(encoder, lua_gettop(lua), &field, depth + 1);
        lua_pop(lua, 1);
    }
    lua_settop(lua, top);
}

static void encode_table(struct encoder *encoder, int index, const struct frame *frame, int depth)
{
    lua_State *lua = encoder->lua;
    if (depth >= LIMIT_DEPTH_MAX)
        not_plain(encoder, NULL, "nested too deep (100 levels), or a table inside itself");
    luaL_checkstack(lua, 12, NULL);
    walk(lua, &encoder->patience);
    bool marked = false;
    if (lua_getmetatable(lua, index)) {
        lua_pop(lua, 1);
        marked = value_is_list_mark(lua, index);
        if (!marked && readonly_push_target(lua, index)) {
            encode_table(encoder, lua_gettop(lua), frame, depth);
            lua_pop(lua, 1);
            return;
        }
        if (!marked) not_plain(encoder, frame, "a table with a metatable is no plain data");
    }
    lua_Unsigned count = lua_rawlen(lua, index);
    if (count > 0 || marked)
        encode_list(encoder, index, count, frame, depth);
    else
        encode_map(encoder, index, frame, depth);
}

static void encode_value(struct encoder *encoder, int index, const struct frame *frame, int depth)
{
    lua_State *lua = encoder->lua;
    char text[DECIMAL_TEXT_SIZE], why[64];
    switch (lua_type(lua, index)) {
    case LUA_TSTRING: encode_text(encoder, index, frame); break;
    case LUA_TBOOLEAN: mp_put_bool(encoder->out, lua_toboolean(lua, index)); break;
    case LUA_TNUMBER:
        if (lua_isinteger(lua, index)) {
            mp_put_int(encoder->out, lua_tointeger(lua, index));
        } else {
            double number = lua_tonumber(lua, index);
            if (!isfinite(number)) not_plain(encoder, frame, "a number that is not finite is no plain data");
            mp_put_float(encoder->out, number);
        }
        break;
    case LUA_TTABLE: encode_table(encoder, index, frame, depth); break;
    case LUA_TUSERDATA:
        if (value_is_decimal(lua, index)) {
            size_t size = (size_t)value_decimal_text(lua, index, text);
            mp_put_decimal(encoder->out, slice_make(text, size));
            break;
        }
        if (vm_of(lua)->push_plain && vm_of(lua)->push_plain(lua, index)) {
            encode_table(encoder, lua_gettop(lua), frame, depth);
            lua_pop(lua, 1);
            break;
        }
        if (vm_has_meta(lua, index, VM_META_DURATION)) {
            not_plain(encoder, frame, "a duration is no plain data: keep its seconds");
            break;
        }
        /* fall through */
    default:
        snprintf(why, sizeof why, "a %s is no plain data", lua_typename(lua, lua_type(lua, index)));
        not_plain(encoder, frame, lua_isnil(lua, index) ? "nothing (nil) is no plain data" : why);
    }
    check_size(encoder);
}

void value_encode(lua_State *lua, int index, struct buf *out, const char *what, size_t size_max)
{
    struct encoder encoder = {
        .lua = lua, .out = out, .what = what, .size_before = out->size, .size_max = size_max};
    encode_value(&encoder, lua_absindex(lua, index), NULL, 0);
}

/* --- copying --- */

/* A table that occurs n times is copied n times, as encoding would: bounded by what may be encoded. */
static void copy_value(lua_State *lua, int index, int depth, size_t *left, struct patience *patience)
{
    if (lua_type(lua, index) != LUA_TTABLE) {
        lua_pushvalue(lua, index);
        return;
    }
    if (depth >= LIMIT_DEPTH_MAX)
        vm_raise(lua, FAULT_SCRIPT, 1, "nested too deep (100 levels), or a table inside itself");
    if (*left == 0) vm_raise(lua, FAULT_TOO_LARGE, 1, "too many tables to copy");
    --*left;
    walk(lua, patience);
    luaL_checkstack(lua, 8, NULL);
    if (readonly_push_target(lua, index)) {
        copy_value(lua, lua_gettop(lua), depth, left, patience);
        lua_remove(lua, -2);
        return;
    }
    lazy_settle_table(lua, index); /* or the copy would hold what happens to be decoded */
    lua_createtable(lua, (int)(lua_rawlen(lua, index) < CREATE_MAX ? lua_rawlen(lua, index) : CREATE_MAX), 0);
    int copy = lua_gettop(lua);
    for (lua_pushnil(lua); lua_next(lua, index);) {
        lua_pushvalue(lua, -2);
        copy_value(lua, copy + 2, depth + 1, left, patience);
        lua_rawset(lua, copy);
        lua_settop(lua, copy + 1);
    }
    if (value_is_list_mark(lua, index)) value_mark_list(lua, copy);
}

void value_copy(lua_State *lua, int index)
{
    size_t left = LIMIT_DOCUMENT_SIZE_MAX;
    struct patience patience = {0};
    copy_value(lua, lua_absindex(lua, index), 0, &left, &patience);
}

/* --- the list mark --- */

void value_mark_list(lua_State *lua, int index)
{
    index = lua_absindex(lua, index);
    vm_push_meta(lua, VM_META_LIST);
    lua_setmetatable(lua, index);
}

bool value_is_list_mark(lua_State *lua, int index)
{
    return vm_has_meta(lua, index, VM_META_LIST);
}

void value_drop_mark(lua_State *lua, int index)
{
    if (!value_is_list_mark(lua, index)) return;
    index = lua_absindex(lua, index);
    lua_pushnil(lua);
    lua_setmetatable(lua, index);
}

/* A marked table is empty, so every assignment comes here first. */
static int list_newindex(lua_State *lua)
{
    if (lua_isnil(lua, 3)) return 0;
    value_drop_mark(lua, 1);
    lua_settop(lua, 3);
    lua_settable(lua, 1); /* not raw: a nil or NaN key gets Lua's own error */
    return 0;
}

void value_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"__newindex", list_newindex}, {NULL, NULL}};
    vm_new_meta(lua, VM_META_LIST, "list", functions);
    lua_pop(lua, 1);
}

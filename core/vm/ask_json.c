/* Values of a session as JSON. Whatever a value holds, what comes out is JSON: what has no form of its own is
 * its name as text, a table that contains itself is marked where it would begin again, and what is too much
 * is left out, with a mark that says how much. */
#include <math.h>
#include <stdlib.h>

#include "base/limit.h"
#include "codec/json.h"
#include "codec/text.h"
#include "vm/ask_core.h"
#include "vm/readonly.h"
#include "vm/sandbox.h"
#include "vm/seek_event.h"
#include "vm/value.h"

enum { TEXT_SHOWN_MAX = 1 << 20 };

struct writer {
    lua_State *lua;
    struct buf *out;
    size_t end; /* of out: nothing new begins behind it */
    int depth;
    const void *above[LIMIT_DEPTH_MAX]; /* the tables around */
};

static void put_value(struct writer *writer, int index);

static bool is_full(const struct writer *writer)
{
    return writer->out->size > writer->end;
}

static void put_mark(struct writer *writer, const char *format, size_t count)
{
    char text[64];
    snprintf(text, sizeof text, format, count);
    json_put_text(writer->out, slice_of(text));
}

/* --- texts and numbers --- */

static void put_text(struct writer *writer, struct slice text)
{
    size_t left = text.size > TEXT_SHOWN_MAX ? text.size - TEXT_SHOWN_MAX : 0;
    if (left) text.size = TEXT_SHOWN_MAX;
    buf_put_byte(writer->out, '"');
    json_put_inside(writer->out, text);
    if (left) buf_format(writer->out, "… %zu bytes more", left);
    buf_put_byte(writer->out, '"');
}

static void put_float(struct writer *writer, double number)
{
    if (isfinite(number))
        writer->out->size += (size_t)text_put_float(number, buf_room(writer->out, 32));
    else
        json_put_text(writer->out, slice_of(isnan(number) ? "nan" : number > 0 ? "inf" : "-inf"));
}

/* What has no form in JSON: as tostring has it, which for these kinds runs nothing of a script. */
static void put_name(struct writer *writer, int index)
{
    struct slice text = SLICE_NONE;
    sandbox_push_text(writer->lua, index);
    text.data = lua_tolstring(writer->lua, -1, &text.size);
    put_text(writer, text);
    lua_pop(writer->lua, 1);
}

/* --- tables --- */

/* 1..n and nothing else; an empty one if it is marked. *count: its entries. */
static bool is_list(lua_State *lua, int index, size_t *count)
{
    size_t length = (size_t)lua_rawlen(lua, index);
    bool items_only = true;
    *count = 0;
    for (lua_pushnil(lua); lua_next(lua, index); lua_pop(lua, 1)) {
        lua_Integer key = lua_isinteger(lua, -2) ? lua_tointeger(lua, -2) : 0;
        items_only = items_only && key >= 1 && (size_t)key <= length;
        if (++*count % 1024 == 0) vm_spend(lua, 1024);
    }
    if (*count == 0) return lua_getmetatable(lua, index) && (lua_pop(lua, 1), value_is_list_mark(lua, index));
    return items_only && *count == length;
}

static void put_list(struct writer *writer, int index, size_t count)
{
    buf_put_byte(writer->out, '[');
    for (size_t at = 1; at <= count; at++) {
        if (at > 1) buf_put_byte(writer->out, ',');
        if (is_full(writer)) {
            put_mark(writer, "… %zu more", count - at + 1);
            break;
        }
        lua_rawgeti(writer->lua, index, (lua_Integer)at);
        put_value(writer, lua_gettop(writer->lua));
        lua_pop(writer->lua, 1);
    }
    buf_put_byte(writer->out, ']');
}

struct entry {
    struct slice text;
    bool is_number;
    double number;
    lua_Integer at; /* of the key in the list of keys */
};

/* Numbers by value, then texts by bytes, as pairs goes. */
static int compare_entries(const void *a, const void *b)
{
    const struct entry *one = a, *other = b;
    if (one->is_number != other->is_number) return one->is_number ? -1 : 1;
    if (one->is_number && one->number != other->number) return one->number < other->number ? -1 : 1;
    return slice_compare(one->text, other->text);
}

/* Pushes a list of the keys, one of their texts, which entries point into, and the entries. */
static struct entry *push_entries(lua_State *lua, int index, size_t count)
{
    lua_createtable(lua, 0, 0);
    int keys = lua_gettop(lua);
    lua_createtable(lua, 0, 0);
    int texts = keys + 1;
    struct entry *entries = lua_newuserdatauv(lua, (count + 1) * sizeof *entries, 0);
    lua_Integer at = 0;
    for (lua_pushnil(lua); lua_next(lua, index); lua_pop(lua, 1)) {
        struct entry *entry = &entries[at++];
        *entry = (struct entry){.at = at};
        entry->is_number = lua_type(lua, -2) == LUA_TNUMBER;
        if (entry->is_number) entry->number = lua_tonumber(lua, -2);
        lua_pushvalue(lua, -2);
        lua_rawseti(lua, keys, at);
        if (lua_type(lua, -2) == LUA_TTABLE)
            lua_pushliteral(lua, "table"); /* its metamethods are not asked */
        else
            sandbox_push_text(lua, -2);
        entry->text.data = lua_tolstring(lua, -1, &entry->text.size);
        lua_rawseti(lua, texts, at);
    }
    vm_spend(lua, count * 4);
    qsort(entries, count, sizeof *entries, compare_entries);
    return entries;
}

static void put_map(struct writer *writer, int index, size_t count)
{
    lua_State *lua = writer->lua;
    int keys = lua_gettop(lua) + 1;
    const struct entry *entries = push_entries(lua, index, count);
    buf_put_byte(writer->out, '{');
    for (size_t at = 0; at < count; at++) {
        if (at) buf_put_byte(writer->out, ',');
        if (is_full(writer)) {
            buf_put_text(writer->out, "\"…\":");
            put_mark(writer, "%zu more", count - at);
            break;
        }
        put_text(writer, entries[at].text);
        buf_put_byte(writer->out, ':');
        lua_rawgeti(lua, keys, entries[at].at);
        lua_rawget(lua, index);
        put_value(writer, lua_gettop(lua));
        lua_pop(lua, 1);
    }
    buf_put_byte(writer->out, '}');
    lua_settop(lua, keys - 1);
}

static void put_table(struct writer *writer, int index)
{
    lua_State *lua = writer->lua;
    int top = lua_gettop(lua);
    size_t count;
    luaL_checkstack(lua, 24, NULL);
    if (readonly_push_target(lua, index)) index = lua_gettop(lua);
    const void *table = lua_topointer(lua, index);
    for (int at = 0; at < writer->depth; at++) {
        if (writer->above[at] != table) continue;
        put_mark(writer, "… itself, %zu above", (size_t)(writer->depth - at));
        lua_settop(lua, top);
        return;
    }
    if (writer->depth == LIMIT_DEPTH_MAX) {
        put_mark(writer, "… deeper than %zu", LIMIT_DEPTH_MAX);
        lua_settop(lua, top);
        return;
    }
    writer->above[writer->depth++] = table;
    if (is_list(lua, index, &count))
        put_list(writer, index, count);
    else
        put_map(writer, index, count);
    writer->depth--;
    lua_settop(lua, top);
}

/* --- any --- */

static void put_userdata(struct writer *writer, int index)
{
    lua_State *lua = writer->lua;
    char text[64];
    if (value_is_decimal(lua, index)) {
        int size = value_decimal_text(lua, index, text);
        json_put_text(writer->out, slice_make(text, (size_t)size));
        return;
    }
    if (seek_event_push_table(lua, index)) {
        put_value(writer, lua_gettop(lua));
        lua_pop(lua, 1);
        return;
    }
    const struct contract_message *message = contract_message_of(lua, index);
    if (!message) {
        put_name(writer, index);
        return;
    }
    buf_put_text(writer->out, "{\"type\":");
    json_put_text(writer->out, message->name);
    buf_put_text(writer->out, ",\"data\":");
    put_value(writer, lua_gettop(lua));
    buf_put_byte(writer->out, '}');
    lua_pop(lua, 1);
}

static void put_value(struct writer *writer, int index)
{
    lua_State *lua = writer->lua;
    struct slice text = SLICE_NONE;
    luaL_checkstack(lua, 8, NULL);
    switch (lua_type(lua, index)) {
    case LUA_TNIL: buf_put_text(writer->out, "null"); return;
    case LUA_TBOOLEAN: buf_put_text(writer->out, lua_toboolean(lua, index) ? "true" : "false"); return;
    case LUA_TNUMBER:
        if (lua_isinteger(lua, index))
            buf_put_int(writer->out, lua_tointeger(lua, index));
        else
            put_float(writer, lua_tonumber(lua, index));
        return;
    case LUA_TSTRING:
        text.data = lua_tolstring(lua, index, &text.size);
        put_text(writer, text);
        return;
    case LUA_TTABLE: put_table(writer, index); return;
    case LUA_TUSERDATA: put_userdata(writer, index); return;
    default: put_name(writer, index);
    }
}

void ask_put_json(lua_State *lua, int index, struct buf *out, size_t size_max)
{
    struct writer writer = {.lua = lua, .out = out, .end = out->size + size_max};
    put_value(&writer, lua_absindex(lua, index));
}

#include "vm/seek_row.h"

#include <lauxlib.h>

#include "codec/text.h"
#include "vm/readonly.h"
#include "vm/value.h"

enum { ROW_EVENT = 'e', ROW_VALUE = 'v', ROW_SIZE_MAX = 16 << 20 };

/* --- packed --- */

static void put_size(struct buf *out, size_t at)
{
    uint32_t size = (uint32_t)(out->size - at - sizeof size);
    memcpy(out->data + at, &size, sizeof size);
}

static size_t begin_value(struct buf *out)
{
    static const uint32_t none = 0;
    buf_put_byte(out, ROW_VALUE);
    buf_put(out, &none, sizeof none);
    return out->size - sizeof none;
}

void seek_row_pack_value(struct buf *out, const struct seek_value *value)
{
    size_t at = begin_value(out);
    seek_value_put(out, value);
    put_size(out, at);
}

static void pack_at(struct seek_program *program, int index, struct buf *out)
{
    lua_State *lua = program->lua;
    char event[SEEK_EVENT_PACKED_SIZE];
    if (seek_event_pack_at(lua, index, event)) {
        buf_put_byte(out, ROW_EVENT);
        buf_put(out, event, sizeof event);
        return;
    }
    size_t at = begin_value(out);
    if (lua_isnil(lua, index)) /* no document */
        mp_put_nil(out);
    else
        value_encode(lua, index, out, "a row", ROW_SIZE_MAX);
    put_size(out, at);
}

void seek_row_pack(struct seek_program *program, struct seek_row *row, struct buf *out)
{
    char event[SEEK_EVENT_PACKED_SIZE];
    if (row->is_hit) {
        seek_event_pack(program->reader, event);
        buf_put_byte(out, ROW_EVENT);
        buf_put(out, event, sizeof event);
    }
    for (int at = row->is_hit; at < row->count; at++) pack_at(program, row->at + at, out);
}

void seek_row_unpack(struct seek_program *program, struct slice packed, struct seek_row *row)
{
    lua_State *lua = program->lua;
    const char *at = packed.data, *end = packed.data + packed.size;
    row->at = lua_gettop(lua) + 1;
    row->count = 0;
    luaL_checkstack(lua, 16, NULL);
    while (at < end) {
        uint32_t size = SEEK_EVENT_PACKED_SIZE;
        bool is_event = *at++ == ROW_EVENT;
        if (!is_event) {
            memcpy(&size, at, sizeof size);
            at += sizeof size;
        }
        if (is_event)
            seek_event_push_packed(lua, program->reader, slice_make(at, size));
        else
            value_push(lua, slice_make(at, size));
        at += size;
        row->count++;
    }
}

/* --- as values --- */

void seek_row_value(struct seek_program *program, int index, struct seek_value *value)
{
    lua_State *lua = program->lua;
    index = lua_absindex(lua, index);
    switch (lua_type(lua, index)) {
    case LUA_TNIL: value->kind = SEEK_NIL; return;
    case LUA_TBOOLEAN:
        value->kind = SEEK_BOOLEAN;
        value->boolean = lua_toboolean(lua, index);
        return;
    case LUA_TNUMBER:
        value->kind = lua_isinteger(lua, index) ? SEEK_INTEGER : SEEK_FLOAT;
        if (value->kind == SEEK_INTEGER)
            value->integer = lua_tointeger(lua, index);
        else
            value->number = lua_tonumber(lua, index);
        return;
    case LUA_TSTRING:
        value->kind = SEEK_TEXT;
        value->text.data = lua_tolstring(lua, index, &value->text.size);
        return;
    case LUA_TTABLE: break;
    case LUA_TUSERDATA:
        if (value_is_decimal(lua, index)) {
            value->kind = SEEK_DECIMAL;
            value->text =
                slice_make(program->decimal, (size_t)value_decimal_text(lua, index, program->decimal));
            return;
        }
        break;
    default:
        value->kind = SEEK_OTHER;
        value->text = slice_of(luaL_typename(lua, index));
        return;
    }
    buf_clear(&program->packed);
    value_encode(lua, index, &program->packed, "a value", ROW_SIZE_MAX);
    value->kind = SEEK_PACKED;
    value->text = buf_slice(&program->packed);
}

/* --- paths --- */

/* Replaces the value on top by what it has under that name, or nil. */
static void step_into(lua_State *lua, struct slice part)
{
    if (seek_event_push_table(lua, -1)) lua_replace(lua, -2);
    if (readonly_push_target(lua, -1)) lua_replace(lua, -2);
    if (lua_istable(lua, -1)) {
        lua_pushlstring(lua, part.data, part.size);
        lua_rawget(lua, -2);
    } else {
        lua_pushnil(lua);
    }
    lua_replace(lua, -2);
}

static struct slice next_part(struct slice *path)
{
    const char *dot = memchr(path->data, '.', path->size);
    struct slice part = slice_make(path->data, dot ? (size_t)(dot - path->data) : path->size);
    size_t used = part.size + (dot != NULL);
    *path = slice_make(path->data + used, path->size - used);
    return part;
}

static struct slice short_name(const struct seek_stage *stage)
{
    const char *slash = strrchr(stage->view, '/');
    return slice_of(slash ? slash + 1 : stage->view);
}

/* The document of the join of that name: which of the row's values; 0: there is none. */
static int joined(const struct seek_program *program, struct slice name, int count)
{
    int at = 0, found = 0;
    for (size_t stage = 0; stage < program->stage_count; stage++) {
        if (program->stages[stage].kind == SEEK_MAP) at = 0;
        if (program->stages[stage].kind != SEEK_JOIN || ++at >= count) continue;
        if (slice_equal(short_name(&program->stages[stage]), name)) found = at;
    }
    return found;
}

void seek_row_push_path(struct seek_program *program, const struct seek_path *path, struct seek_row *row)
{
    lua_State *lua = program->lua;
    luaL_checkstack(lua, 8, NULL);
    if (row->is_hit && row->count <= 1) {
        seek_event_push_field(lua, program->reader, path);
        return;
    }
    char event[SEEK_EVENT_PACKED_SIZE];
    struct slice rest = path->whole, part = next_part(&rest);
    int document = row->count > 1 ? joined(program, part, row->count) : 0;
    lua_pushvalue(lua, row->at + document);
    if (document == 0 && seek_event_pack_at(lua, -1, event)) {
        seek_event_push_path(lua, -1, path);
        lua_replace(lua, -2);
        return;
    }
    if (document == 0) step_into(lua, part);
    while (rest.size) step_into(lua, next_part(&rest));
}

/* Of an event and documents: one table. */
void seek_row_push(struct seek_program *program, struct seek_row *row)
{
    lua_State *lua = program->lua;
    luaL_checkstack(lua, 12, NULL);
    if (row->count == 0) {
        seek_event_push(lua, program->reader);
        return;
    }
    if (row->count == 1) {
        lua_pushvalue(lua, row->at);
        return;
    }
    if (!seek_event_push_table(lua, row->at)) {
        lua_createtable(lua, 0, row->count);
        lua_pushvalue(lua, row->at);
        lua_setfield(lua, -2, "value");
    }
    int at = 0;
    for (size_t stage = 0; stage < program->stage_count; stage++) {
        if (program->stages[stage].kind == SEEK_MAP) at = 0;
        if (program->stages[stage].kind != SEEK_JOIN || ++at >= row->count) continue;
        struct slice name = short_name(&program->stages[stage]);
        lua_pushlstring(lua, name.data, name.size);
        lua_pushvalue(lua, row->at + at);
        lua_rawset(lua, -3);
    }
}

void seek_row_push_packed(struct seek_program *program, struct slice packed)
{
    lua_State *lua = program->lua;
    struct seek_row row = {0};
    int top = lua_gettop(lua);
    seek_row_unpack(program, packed, &row);
    seek_row_push(program, &row);
    lua_insert(lua, top + 1);
    lua_settop(lua, top + 1);
}

#include "vm/search.h"

#include "vm/pattern.h"

/* Offset of the position argument at index; beyond the end: size + 1. */
static size_t offset_at(lua_State *lua, int index, size_t size)
{
    lua_Integer position = luaL_optinteger(lua, index, 1);
    if (position > 0) return (lua_Unsigned)position - 1 > size ? size + 1 : (size_t)position - 1;
    if (position == 0 || position < -(lua_Integer)size) return 0;
    return size - (size_t)-position;
}

static bool has_specials(struct slice text)
{
    static const char specials[] = "^$*+?.([%-";
    for (size_t i = 0; i < text.size; i++)
        if (text.data[i] && strchr(specials, text.data[i])) return true;
    return false;
}

static int find_plain(lua_State *lua, struct slice subject, struct slice wanted, size_t offset)
{
    vm_spend(lua, (subject.size - offset) / 32);
    const char *found = memmem(subject.data + offset, subject.size - offset, wanted.data, wanted.size);
    if (!found) {
        lua_pushnil(lua);
        return 1;
    }
    lua_pushinteger(lua, found - subject.data + 1);
    lua_pushinteger(lua, found - subject.data + (lua_Integer)wanted.size);
    return 2;
}

static int find_or_match(lua_State *lua, bool find)
{
    struct slice subject = vm_text_at(lua, 1), text = vm_text_at(lua, 2);
    size_t offset = offset_at(lua, 3, subject.size);
    if (offset > subject.size) {
        lua_pushnil(lua);
        return 1;
    }
    if (find && (lua_toboolean(lua, 4) || !has_specials(text))) return find_plain(lua, subject, text, offset);
    struct pattern pattern;
    pattern_init(&pattern, lua, subject, text, true);
    for (const char *at = subject.data + offset; at <= pattern.subject_end; at++) {
        const char *end = pattern_match(&pattern, at);
        if (end) {
            pattern_finish(&pattern);
            if (!find) return pattern_push_captures(&pattern, at, end);
            lua_pushinteger(lua, at - subject.data + 1);
            lua_pushinteger(lua, end - subject.data);
            return 2 + pattern_push_captures(&pattern, NULL, NULL);
        }
        if (pattern.anchored) break;
    }
    pattern_finish(&pattern);
    lua_pushnil(lua);
    return 1;
}

int search_find(lua_State *lua)
{
    return find_or_match(lua, true);
}
int search_match(lua_State *lua)
{
    return find_or_match(lua, false);
}

/* Upvalues: subject, pattern, offset to go on at, offset where the last match ended (-1: none). */
static int gmatch_step(lua_State *lua)
{
    struct slice subject, text;
    struct pattern pattern;
    subject.data = lua_tolstring(lua, lua_upvalueindex(1), &subject.size);
    text.data = lua_tolstring(lua, lua_upvalueindex(2), &text.size);
    lua_Integer offset = lua_tointeger(lua, lua_upvalueindex(3)),
                last = lua_tointeger(lua, lua_upvalueindex(4));
    pattern_init(&pattern, lua, subject, text, false);
    for (; offset <= (lua_Integer)subject.size; offset++) {
        const char *end = pattern_match(&pattern, subject.data + offset);
        if (!end || end - subject.data == last) continue;
        lua_pushinteger(lua, end - subject.data);
        lua_pushvalue(lua, -1);
        lua_replace(lua, lua_upvalueindex(3));
        lua_replace(lua, lua_upvalueindex(4));
        pattern_finish(&pattern);
        return pattern_push_captures(&pattern, subject.data + offset, end);
    }
    pattern_finish(&pattern);
    lua_pushinteger(lua, offset);
    lua_replace(lua, lua_upvalueindex(3));
    return 0;
}

int search_gmatch(lua_State *lua)
{
    struct slice subject = vm_text_at(lua, 1);
    vm_text_at(lua, 2);
    size_t offset = offset_at(lua, 3, subject.size);
    lua_settop(lua, 2);
    lua_pushinteger(lua, (lua_Integer)offset);
    lua_pushinteger(lua, -1);
    lua_pushcclosure(lua, gmatch_step, 4);
    return 1;
}

/* --- gsub --- */

/* A replacement text: %0 is the match, %1 … its captures, %% a percent sign. */
static void add_text(struct pattern *pattern, luaL_Buffer *buffer, const char *begin, const char *end)
{
    lua_State *lua = pattern->lua;
    struct slice text;
    text.data = lua_tolstring(lua, 3, &text.size);
    vm_spend(lua, text.size / 16);
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (c != '%') {
            luaL_addchar(buffer, c);
            continue;
        }
        c = ++i < text.size ? text.data[i] : 0;
        if (c == '%') {
            luaL_addchar(buffer, c);
        } else if (c == '0') {
            luaL_addlstring(buffer, begin, (size_t)(end - begin));
        } else if (c >= '1' && c <= '9') {
            pattern_push_capture(pattern, c - '1', begin, end);
            luaL_addvalue(buffer); /* a position becomes text */
        } else {
            luaL_error(lua, "invalid use of '%%' in replacement string");
        }
    }
}

/* Adds what replaces the match; false: the match itself. */
static bool add_replacement(struct pattern *pattern, luaL_Buffer *buffer, const char *begin, const char *end)
{
    lua_State *lua = pattern->lua;
    switch (lua_type(lua, 3)) {
    case LUA_TFUNCTION: {
        lua_pushvalue(lua, 3);
        int count = pattern_push_captures(pattern, begin, end);
        lua_call(lua, count, 1);
        break;
    }
    case LUA_TTABLE:
        pattern_push_capture(pattern, 0, begin, end);
        lua_gettable(lua, 3);
        break;
    default: add_text(pattern, buffer, begin, end); return true;
    }
    if (!lua_toboolean(lua, -1)) {
        lua_pop(lua, 1);
        luaL_addlstring(buffer, begin, (size_t)(end - begin));
        return false;
    }
    if (!lua_isstring(lua, -1)) luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
    luaL_addvalue(buffer);
    return true;
}

int search_gsub(lua_State *lua)
{
    struct slice subject = vm_text_at(lua, 1), text = vm_text_at(lua, 2);
    int type = lua_type(lua, 3);
    luaL_argexpected(
        lua, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
        "string/function/table");
    lua_Integer count_max = luaL_optinteger(lua, 4, (lua_Integer)subject.size + 1), count = 0;
    if (type == LUA_TNUMBER) lua_tolstring(lua, 3, NULL); /* in place, before the buffer takes the stack */
    struct pattern pattern;
    luaL_Buffer buffer;
    bool changed = false;
    pattern_init(&pattern, lua, subject, text, true);
    luaL_buffinit(lua, &buffer);
    const char *at = subject.data, *last = NULL;
    while (count < count_max) {
        const char *end = pattern_match(&pattern, at);
        if (end && end != last) {
            count++;
            if (add_replacement(&pattern, &buffer, at, end)) changed = true;
            at = last = end;
        } else if (at < pattern.subject_end) {
            luaL_addchar(&buffer, *at++);
        } else {
            break;
        }
        if (pattern.anchored) break;
    }
    pattern_finish(&pattern);
    if (changed) {
        luaL_addlstring(&buffer, at, (size_t)(pattern.subject_end - at));
        luaL_pushresult(&buffer);
    } else {
        lua_pushvalue(lua, 1);
    }
    lua_pushinteger(lua, count);
    return 2;
}

#include "vm/moments.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "codec/time.h"
#include "vm/readonly.h"
#include "vm/sandbox.h"

enum { MS_SECOND = 1000, MS_MINUTE = 60 * MS_SECOND, MS_HOUR = 60 * MS_MINUTE, MS_DAY = 24 * MS_HOUR };

/* Twice the years there are: no sum of a time and a duration can overflow. */
static const int64_t duration_max = (int64_t)20000 * 366 * MS_DAY;

static bool is_duration(lua_State *lua, int index)
{
    return lua_type(lua, index) == LUA_TUSERDATA && vm_has_meta(lua, index, VM_META_DURATION);
}

static int64_t duration_at(lua_State *lua, int index)
{
    if (!is_duration(lua, index)) luaL_typeerror(lua, index, "duration");
    return *(int64_t *)lua_touserdata(lua, index);
}

static int push_duration(lua_State *lua, int64_t ms)
{
    if (ms > duration_max || ms < -duration_max)
        return vm_raise(lua, FAULT_SCRIPT, 1, "a duration of more than 20000 years");
    *(int64_t *)lua_newuserdatauv(lua, sizeof ms, 0) = ms;
    vm_push_meta(lua, VM_META_DURATION);
    lua_setmetatable(lua, -2);
    return 1;
}

/* number * unit, rounded to milliseconds. */
static int push_scaled(lua_State *lua, int number_index, int64_t unit)
{
    int64_t product;
    if (lua_isinteger(lua, number_index)) {
        if (__builtin_mul_overflow(lua_tointeger(lua, number_index), unit, &product)) product = INT64_MAX;
        return push_duration(lua, product);
    }
    double exact = lua_tonumber(lua, number_index) * (double)unit;
    if (!(fabs(exact) <= (double)duration_max)) return push_duration(lua, INT64_MAX);
    return push_duration(lua, (int64_t)round(exact));
}

static int make(lua_State *lua, int64_t unit)
{
    luaL_checktype(lua, 1, LUA_TNUMBER);
    return push_scaled(lua, 1, unit);
}

static int make_days(lua_State *lua)
{
    return make(lua, MS_DAY);
}
static int make_hours(lua_State *lua)
{
    return make(lua, MS_HOUR);
}
static int make_minutes(lua_State *lua)
{
    return make(lua, MS_MINUTE);
}
static int make_seconds(lua_State *lua)
{
    return make(lua, MS_SECOND);
}

static int64_t time_at(lua_State *lua, int index)
{
    struct slice text;
    int64_t ms = 0;
    if (lua_type(lua, index) != LUA_TSTRING)
        vm_raise(lua, FAULT_SCRIPT, 1, "expected a time, got %s", luaL_typename(lua, index));
    text.data = lua_tolstring(lua, index, &text.size);
    if (!time_parse(text, &ms))
        vm_raise(lua, FAULT_SCRIPT, 1, "\"%.*s\" is no time: expected \"2026-02-01T08:26:00.000Z\"",
                 (int)(text.size > 60 ? 60 : text.size), text.data);
    return ms;
}

static int push_time(lua_State *lua, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    if (!time_valid(ms)) return vm_raise(lua, FAULT_SCRIPT, 1, "a time outside of the years 0001 to 9999");
    time_format(ms, text);
    lua_pushlstring(lua, text, TIME_TEXT_SIZE);
    return 1;
}

static int duration_add(lua_State *lua)
{
    if (is_duration(lua, 1) && is_duration(lua, 2))
        return push_duration(lua, duration_at(lua, 1) + duration_at(lua, 2));
    int duration = is_duration(lua, 1) ? 1 : 2;
    return push_time(lua, time_at(lua, 3 - duration) + duration_at(lua, duration));
}

static int duration_sub(lua_State *lua)
{
    if (!is_duration(lua, 2))
        return vm_raise(lua, FAULT_SCRIPT, 1, "only a duration can be subtracted from a duration");
    if (is_duration(lua, 1)) return push_duration(lua, duration_at(lua, 1) - duration_at(lua, 2));
    return push_time(lua, time_at(lua, 1) - duration_at(lua, 2));
}

static int duration_mul(lua_State *lua)
{
    int duration = is_duration(lua, 1) ? 1 : 2;
    if (lua_type(lua, 3 - duration) != LUA_TNUMBER)
        return vm_raise(lua, FAULT_SCRIPT, 1, "cannot multiply a duration and a %s",
                        luaL_typename(lua, 3 - duration));
    return push_scaled(lua, 3 - duration, duration_at(lua, duration));
}

static int duration_div(lua_State *lua)
{
    if (!is_duration(lua, 1) || lua_type(lua, 2) != LUA_TNUMBER || lua_tonumber(lua, 2) == 0)
        return vm_raise(lua, FAULT_SCRIPT, 1, "a duration can be divided by a number that is not zero");
    double exact = (double)duration_at(lua, 1) / lua_tonumber(lua, 2);
    if (!(fabs(exact) <= (double)duration_max)) return push_duration(lua, INT64_MAX);
    return push_duration(lua, (int64_t)round(exact));
}

static int duration_unm(lua_State *lua)
{
    return push_duration(lua, -duration_at(lua, 1));
}

static int duration_eq(lua_State *lua)
{
    lua_pushboolean(lua,
                    is_duration(lua, 1) && is_duration(lua, 2) && duration_at(lua, 1) == duration_at(lua, 2));
    return 1;
}

static void both_durations(lua_State *lua)
{
    if (!is_duration(lua, 1) || !is_duration(lua, 2))
        vm_raise(lua, FAULT_SCRIPT, 1, "a duration can be compared with a duration only");
}

static int duration_lt(lua_State *lua)
{
    both_durations(lua);
    lua_pushboolean(lua, duration_at(lua, 1) < duration_at(lua, 2));
    return 1;
}

static int duration_le(lua_State *lua)
{
    both_durations(lua);
    lua_pushboolean(lua, duration_at(lua, 1) <= duration_at(lua, 2));
    return 1;
}

/* 1d2h3m4.005s */
static int duration_tostring(lua_State *lua)
{
    static const struct {
        int64_t ms;
        char name;
    } units[] = {{MS_DAY, 'd'}, {MS_HOUR, 'h'}, {MS_MINUTE, 'm'}};
    int64_t ms = duration_at(lua, 1);
    char text[64];
    int size = 0;
    if (ms < 0) text[size++] = '-';
    uint64_t left = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    for (int i = 0; i < 3; i++) {
        uint64_t whole = left / (uint64_t)units[i].ms;
        if (whole == 0) continue;
        size += snprintf(text + size, sizeof text - (size_t)size, "%" PRIu64 "%c", whole, units[i].name);
        left %= (uint64_t)units[i].ms;
    }
    if (left % 1000)
        size += snprintf(text + size, sizeof text - (size_t)size, "%" PRIu64 ".%03" PRIu64 "s", left / 1000,
                         left % 1000);
    else if (left || ms == 0)
        size += snprintf(text + size, sizeof text - (size_t)size, "%" PRIu64 "s", left / 1000);
    lua_pushlstring(lua, text, (size_t)size);
    return 1;
}

static int duration_concat(lua_State *lua)
{
    for (int i = 1; i <= 2; i++) {
        if (lua_type(lua, i) != LUA_TSTRING && lua_type(lua, i) != LUA_TNUMBER && !is_duration(lua, i))
            return vm_raise(lua, FAULT_SCRIPT, 1, "cannot concatenate a duration and a %s",
                            luaL_typename(lua, i));
        sandbox_push_text(lua, i);
    }
    lua_concat(lua, 2); /* two texts by now */
    return 1;
}

static int push_seconds(lua_State *lua, int64_t ms)
{
    if (ms % 1000 == 0)
        lua_pushinteger(lua, ms / 1000);
    else
        lua_pushnumber(lua, (double)ms / 1000);
    return 1;
}

static int duration_seconds(lua_State *lua)
{
    return push_seconds(lua, duration_at(lua, 1));
}

static int time_between(lua_State *lua)
{
    int64_t from = time_at(lua, 1);
    return push_seconds(lua, time_at(lua, 2) - from);
}

static int time_call(lua_State *lua)
{
    return push_time(lua, time_at(lua, 2));
}

bool moments_parse_duration(struct slice text, int64_t *ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", MS_SECOND}, {"m", MS_MINUTE}, {"h", MS_HOUR}, {"d", MS_DAY}};
    int64_t number = 0;
    size_t at = 0;
    for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
        if (at == 12) return false;
        number = number * 10 + (text.data[at] - '0');
    }
    if (at == 0) return false;
    struct slice unit = slice_make(text.data + at, text.size - at);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!slice_is(unit, units[i].name)) continue;
        if (number > duration_max / units[i].ms) return false;
        *ms = number * units[i].ms;
        return true;
    }
    return false;
}

bool moments_take_duration(lua_State *lua, int index, int64_t *ms)
{
    if (is_duration(lua, index)) {
        *ms = duration_at(lua, index);
        return true;
    }
    struct slice text;
    if (lua_type(lua, index) != LUA_TSTRING) return false;
    text.data = lua_tolstring(lua, index, &text.size);
    return moments_parse_duration(text, ms);
}

void moments_open(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"__add", duration_add},
                                         {"__sub", duration_sub},
                                         {"__mul", duration_mul},
                                         {"__div", duration_div},
                                         {"__unm", duration_unm},
                                         {"__eq", duration_eq},
                                         {"__lt", duration_lt},
                                         {"__le", duration_le},
                                         {"__concat", duration_concat},
                                         {"__tostring", duration_tostring},
                                         {NULL, NULL}};
    static const luaL_Reg methods[] = {{"seconds", duration_seconds}, {NULL, NULL}};
    vm_new_meta(lua, VM_META_DURATION, "duration", functions);
    lua_newtable(lua);
    luaL_setfuncs(lua, methods, 0);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 1);
}

void moments_push_library(lua_State *lua)
{
    static const luaL_Reg makers[] = {{"days", make_days},
                                      {"hours", make_hours},
                                      {"minutes", make_minutes},
                                      {"seconds", make_seconds},
                                      {NULL, NULL}};
    static const luaL_Reg functions[] = {{"between", time_between}, {NULL, NULL}};
    luaL_setfuncs(lua, makers, 0);
    lua_newtable(lua);
    luaL_setfuncs(lua, functions, 0);
    readonly_library(lua, "time", time_call);
}

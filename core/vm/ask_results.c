/* What can be made of a result or a query: a plot, a file. Both are values that say what they are when they are
 * shown; files are written by whoever asked, never here. */
#include <lauxlib.h>
#include <math.h>

#include "codec/json.h"
#include "codec/text.h"
#include "codec/time.h"
#include "vm/ask_events.h"
#include "vm/keys.h"
#include "vm/value.h"

enum { BINS = 20, TITLE_MAX = 100 };

static const char plot_type[] = "plot", save_type[] = "file to be saved";

void ask_tell_row(lua_State *lua, struct ask *ask, int index)
{
    index = lua_absindex(lua, index);
    buf_clear(&ask->line);
    buf_put_text(&ask->line, "{\"row\":");
    ask_put_json(lua, index, &ask->line, ask->value_size_max);
    buf_put_byte(&ask->line, '}');
    ask_tell(lua, ask, buf_slice(&ask->line));
}

/* --- plots --- */

/* A number as a plot has it: of a decimal what a float can hold. */
static bool plot_number(lua_State *lua, int index, double *number)
{
    char text[72];
    if (lua_type(lua, index) == LUA_TNUMBER) {
        *number = lua_tonumber(lua, index);
        return isfinite(*number);
    }
    if (!value_is_decimal(lua, index)) return false;
    text[value_decimal_text(lua, index, text)] = 0;
    *number = strtod(text, NULL);
    return true;
}

static int refuse_number(lua_State *lua, int index)
{
    char given[128];
    return vm_raise(lua, FAULT_SCRIPT, 1, "plot: numbers are expected, got %s",
                    domain_describe_value(lua, index, given));
}

/* Puts { label, number } behind the points at index. Label and number are on top, and go. */
static void add_point(lua_State *lua, int points)
{
    double number;
    if (!plot_number(lua, -1, &number)) refuse_number(lua, lua_gettop(lua));
    lua_createtable(lua, 2, 0);
    lua_pushvalue(lua, -3);
    lua_rawseti(lua, -2, 1);
    if (lua_isinteger(lua, -2))
        lua_pushvalue(lua, -2);
    else
        lua_pushnumber(lua, number);
    lua_rawseti(lua, -2, 2);
    lua_rawseti(lua, points, (lua_Integer)lua_rawlen(lua, points) + 1);
    lua_pop(lua, 2);
}

/* "2026", "2026-02", "2026-02-01" and longer times. */
static bool is_time(struct slice text)
{
    int64_t ms;
    char day[] = "0000-01-01";
    if (text.size > 10) return time_parse(text, &ms);
    if (text.size != 4 && text.size != 7 && text.size != 10) return false;
    memcpy(day, text.data, text.size);
    return time_parse(slice_make(day, 10), &ms);
}

/* Groups, in order of their keys. Returns whether all keys are times. */
static bool add_groups(lua_State *lua, int table, int points)
{
    bool times = true;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    lua_getfield(lua, -1, "next");
    int next = lua_gettop(lua);
    lua_pushnil(lua);
    for (;;) {
        lua_pushvalue(lua, next);
        lua_pushvalue(lua, table);
        lua_pushvalue(lua, -3);
        lua_call(lua, 2, 2);
        if (lua_isnil(lua, -2)) break;
        struct slice key = SLICE_NONE;
        lua_pushvalue(lua, -2);
        if (lua_type(lua, -1) == LUA_TNUMBER) lua_tolstring(lua, -1, NULL);
        if (lua_type(lua, -1) != LUA_TSTRING) vm_raise(lua, FAULT_SCRIPT, 1, "plot: an object of numbers is expected");
        key.data = lua_tolstring(lua, -1, &key.size);
        times = times && is_time(key);
        lua_pushvalue(lua, -2);
        add_point(lua, points);
        lua_pop(lua, 1);
        lua_remove(lua, -2);
    }
    return times && lua_rawlen(lua, points) > 1;
}

static void put_edge(struct buf *out, double edge, double width)
{
    int digits = width >= 1 ? 0 : (int)ceil(-log10(width));
    buf_format(out, "%.*f", digits > 12 ? 12 : digits, edge);
}

struct bins {
    double low, width;
    uint64_t counts[BINS];
    size_t count;
};

/* As many bins as there are integers, if those are few; else BINS of the same width. */
static void make_bins(lua_State *lua, int list, struct bins *bins)
{
    double low = INFINITY, high = -INFINITY, number;
    lua_Integer count = (lua_Integer)lua_rawlen(lua, list);
    bool integers = true;
    for (lua_Integer at = 1; at <= count; at++) {
        lua_rawgeti(lua, list, at);
        if (!plot_number(lua, -1, &number)) refuse_number(lua, lua_gettop(lua));
        integers = integers && number == floor(number);
        low = fmin(low, number);
        high = fmax(high, number);
        lua_pop(lua, 1);
        if (at % 1024 == 0) vm_spend(lua, 1024);
    }
    bool few = integers && high - low < BINS;
    bins->low = low;
    bins->count = few ? (size_t)(high - low) + 1 : BINS;
    bins->width = few ? 1 : (high - low) / BINS;
    for (lua_Integer at = 1; at <= count; at++) {
        lua_rawgeti(lua, list, at);
        plot_number(lua, -1, &number);
        size_t bin = bins->width > 0 ? (size_t)((number - low) / bins->width) : 0;
        bins->counts[bin < bins->count ? bin : bins->count - 1]++;
        lua_pop(lua, 1);
    }
}

static void add_bins(lua_State *lua, int list, int points)
{
    struct bins bins = {0};
    if (lua_rawlen(lua, list) == 0) return;
    make_bins(lua, list, &bins);
    for (size_t at = 0; at < bins.count; at++) {
        char text[64];
        struct buf label = {.data = text, .size_max = sizeof text};
        struct buf *out = &label;
        if (bins.width < 1e15 && fabs(bins.low) < 1e15)
            put_edge(out, bins.low + (double)at * bins.width, bins.width > 0 ? bins.width : 1);
        else
            buf_format(out, "%.6g", bins.low + (double)at * bins.width);
        lua_pushlstring(lua, label.data, label.size);
        lua_pushinteger(lua, (lua_Integer)bins.counts[at]);
        add_point(lua, points);
    }
}

/* A list of { label, number }: bars as they are. */
static bool is_pairs(lua_State *lua, int list)
{
    lua_rawgeti(lua, list, 1);
    bool is = lua_istable(lua, -1) && lua_rawlen(lua, -1) == 2;
    lua_pop(lua, 1);
    return is;
}

static void add_pairs(lua_State *lua, int list, int points)
{
    lua_Integer count = (lua_Integer)lua_rawlen(lua, list);
    for (lua_Integer at = 1; at <= count; at++) {
        if (lua_rawgeti(lua, list, at) != LUA_TTABLE)
            vm_raise(lua, FAULT_SCRIPT, 1, "plot: pairs of a label and a number are expected");
        lua_rawgeti(lua, -1, 1);
        lua_tolstring(lua, -1, NULL);
        lua_rawgeti(lua, -2, 2);
        add_point(lua, points);
        lua_pop(lua, 1);
    }
}

/* Pushes the plot of what is at index; title: of the plot, or empty. */
static void push_plot(lua_State *lua, struct ask *ask, int index, struct slice title)
{
    const char *kind = "bars";
    lua_createtable(lua, 0, 3);
    int plot = lua_gettop(lua);
    lua_newtable(lua);
    int points = plot + 1;
    if (lua_rawlen(lua, index) > 0 && is_pairs(lua, index)) {
        add_pairs(lua, index, points);
    } else if (lua_rawlen(lua, index) > 0 || value_is_list_mark(lua, index)) {
        kind = "histogram";
        add_bins(lua, index, points);
    } else if (add_groups(lua, index, points)) {
        kind = "line";
    }
    lua_settop(lua, points);
    if (lua_rawlen(lua, points) == 0) value_mark_list(lua, points);
    lua_setfield(lua, plot, "points");
    lua_pushstring(lua, kind);
    lua_setfield(lua, plot, "kind");
    lua_pushlstring(lua, title.size ? title.data : "", title.size < TITLE_MAX ? title.size : TITLE_MAX);
    lua_setfield(lua, plot, "title");
}

static int show_plot(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    buf_clear(&ask->line);
    buf_put_text(&ask->line, "{\"plot\":");
    ask_put_json(lua, 1, &ask->line, ask->value_size_max);
    buf_put_byte(&ask->line, '}');
    ask_tell(lua, ask, buf_slice(&ask->line));
    return 0;
}

/* Pushes a metatable with a function that shows, made once. */
static void push_shown_meta(lua_State *lua, struct ask *ask, const char *name, lua_CFunction show)
{
    ask_push_meta(ask, name, NULL, NULL);
    lua_pushlightuserdata(lua, ask);
    lua_pushcclosure(lua, show, 1);
    lua_rawsetp(lua, -2, &ask_show_key);
}

/* RESULT:plot(title), QUERY:plot(title): of groups or numbers. */
int ask_plot(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    struct slice title = SLICE_NONE;
    lua_settop(lua, 2);
    if (!lua_isnil(lua, 2)) title = ask_text(lua, 2, "the title of a plot");
    if (ask_query_push(lua, 1)) {
        bool grouped = lua_getfield(lua, -1, "group") != LUA_TNIL;
        lua_settop(lua, 2);
        if (grouped) {
            lua_pushlightuserdata(lua, ask);
            lua_pushcclosure(lua, ask_query_show, 1);
            lua_pushvalue(lua, 1);
            lua_call(lua, 1, 1);
        } else {
            ask_query_push_rows(lua, ask, 1);
        }
        lua_replace(lua, 1);
    }
    if (lua_type(lua, 1) != LUA_TTABLE) return vm_raise(lua, FAULT_SCRIPT, 1, "write RESULT:plot(), with a colon");
    push_plot(lua, ask, 1, title);
    push_shown_meta(lua, ask, plot_type, show_plot);
    lua_setmetatable(lua, -2);
    return 1;
}

/* --- files --- */

static bool ends_with(struct slice text, const char *end)
{
    size_t size = strlen(end);
    return text.size > size && memcmp(text.data + text.size - size, end, size) == 0;
}

/* RESULT:save "file.csv": shown, it is rows for the file. */
int ask_save(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    lua_settop(lua, 2);
    struct slice file = ask_text(lua, 2, "the name of the file");
    if (!ends_with(file, ".csv") && !ends_with(file, ".ndjson"))
        return vm_raise(lua, FAULT_SCRIPT, 1, "save: a file ends in .csv or .ndjson");
    if (!ask_query_push(lua, 1) && lua_type(lua, 1) != LUA_TTABLE)
        return vm_raise(lua, FAULT_SCRIPT, 1, "write RESULT:save \"file.csv\", with a colon");
    lua_settop(lua, 2);
    lua_createtable(lua, 0, 2);
    lua_pushvalue(lua, 2);
    lua_setfield(lua, -2, "file");
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "rows");
    ask_tell(lua, ask, SLICE_NONE);
    return 1;
}

static uint64_t tell_list(lua_State *lua, struct ask *ask, int list)
{
    lua_Integer count = (lua_Integer)lua_rawlen(lua, list);
    for (lua_Integer at = 1; at <= count; at++) {
        lua_rawgeti(lua, list, at);
        ask_tell_row(lua, ask, -1);
        lua_pop(lua, 1);
    }
    return (uint64_t)count;
}

/* { key, value } of each group; a group that is a table adds its fields to its key. */
static uint64_t tell_groups(lua_State *lua, struct ask *ask, int table)
{
    uint64_t count = 0;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm_of(lua)->script_env);
    lua_getfield(lua, -1, "next");
    int next = lua_gettop(lua);
    for (lua_pushnil(lua);; count++) {
        lua_pushvalue(lua, next);
        lua_pushvalue(lua, table);
        lua_pushvalue(lua, -3);
        lua_call(lua, 2, 2);
        if (lua_isnil(lua, -2)) return count;
        lua_createtable(lua, 0, 2);
        lua_pushvalue(lua, -3);
        lua_setfield(lua, -2, "key");
        lua_pushvalue(lua, -2);
        lua_setfield(lua, -2, "value");
        ask_tell_row(lua, ask, -1);
        lua_pop(lua, 2);
        lua_remove(lua, -2);
    }
}

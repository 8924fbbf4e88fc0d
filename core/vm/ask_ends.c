/* What a query ends in: a value, an object of values by group, a list, rows that are told or walked. */
#include <lauxlib.h>

#include "codec/json.h"
#include "vm/ask_events.h"
#include "vm/seek_run.h"
#include "vm/value.h"

enum {
    STEP_NS = 10 * 1000000,     /* of a walk or of rows that are told */
    LINES_SIZE_MAX = 64 * 1024, /* of rows that are put together before they are told */
    SAMPLE_MAX = 1 << 24
};

/* --- running --- */

static void tell_progress(struct seek_run *run, uint64_t events, uint64_t of, int64_t ns)
{
    struct ask *ask = run->user;
    buf_clear(&ask->line);
    buf_format(&ask->line, "{\"progress\":{\"events\":%llu,\"of\":%llu,\"seconds\":%.2f}}",
               (unsigned long long)events, (unsigned long long)of, (double)ns / 1e9);
    ask_tell(run->program.lua, ask, buf_slice(&ask->line));
}

static int find_document(void *user, struct slice view, struct slice key, struct buf *document,
                         struct fault *fault)
{
    struct ask *ask = user;
    return ask->host->view_get(ask->host->user, view, key, document, fault);
}

/* Pushes a run of the query at index. */
static struct seek_run *push_run(lua_State *lua, struct ask *ask, int index)
{
    index = lua_absindex(lua, index);
    struct seek_run *run = seek_run_push(lua, ask->host->events, ask->reader);
    ask->views = (struct seek_views){ask, find_document};
    run->program.views = &ask->views;
    run->env_ref = ask->env_ref;
    run->progress = tell_progress;
    run->user = ask;
    ask_query_push(lua, index);
    ask_query_read(lua, lua_gettop(lua), &run->arena, &run->filter, &run->program);
    lua_setiuservalue(lua, -2, 1); /* the filter's texts */
    return run;
}

/* --- results --- */

static void push_value(lua_State *lua, const struct seek_value *value)
{
    switch (value->kind) {
    case SEEK_INTEGER: lua_pushinteger(lua, value->integer); break;
    case SEEK_FLOAT: lua_pushnumber(lua, value->number); break;
    case SEEK_DECIMAL: value_push_decimal(lua, value->text); break;
    default: lua_pushnil(lua);
    }
}

static void push_sum(lua_State *lua, const struct seek_group *group, const char *what)
{
    char text[SEEK_SUM_TEXT_SIZE];
    struct seek_value value;
    struct fault fault;
    if (seek_sum_read(&group->state->sum, text, &value, &fault) < 0)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: %s", what, fault.text);
    push_value(lua, &value);
}

static void push_average(lua_State *lua, const struct seek_group *group)
{
    if (group->count == 0) {
        lua_pushnil(lua);
        return;
    }
    push_sum(lua, group, "avg");
    lua_pushinteger(lua, (lua_Integer)group->count);
    lua_arith(lua, LUA_OPDIV);
}

static void push_list(lua_State *lua, struct ask *ask, struct seek_program *program,
                      const struct seek_items *items)
{
    lua_createtable(lua, items->count < INT32_MAX ? (int)items->count : INT32_MAX, 0);
    for (size_t at = 0; at < items->count; at++) {
        seek_row_push_packed(program, items->items[at]->row);
        lua_rawseti(lua, -2, (lua_Integer)at + 1);
        if (at % 1024 == 1023) vm_spend(lua, 1024);
    }
    if (items->count)
        ask_result_mark(ask);
    else
        value_mark_list(lua, -1);
}

static void push_group(lua_State *lua, struct ask *ask, struct seek_program *program,
                       const struct seek_group *group)
{
    switch (program->plan.end) {
    case SEEK_COUNT: lua_pushinteger(lua, (lua_Integer)group->count); break;
    case SEEK_SUM: push_sum(lua, group, "sum"); break;
    case SEEK_AVERAGE: push_average(lua, group); break;
    case SEEK_MIN:
    case SEEK_MAX:
    case SEEK_QUANTILE:
    case SEEK_FIRST:
    case SEEK_LAST:
        if (group->state->items.count)
            seek_row_push_packed(program, group->state->items.items[0]->row);
        else
            lua_pushnil(lua);
        break;
    default: push_list(lua, ask, program, &group->state->items);
    }
}

static void push_result(lua_State *lua, struct ask *ask, struct seek_program *program)
{
    size_t count = 0;
    if (program->group.kind == SEEK_NONE) {
        push_group(lua, ask, program, &program->fold.all);
        return;
    }
    lua_createtable(lua, 0,
                    program->fold.groups.size < INT32_MAX ? (int)program->fold.groups.size : INT32_MAX);
    luaL_checkstack(lua, 16, NULL);
    for (const struct seek_group *group = program->fold.first; group; group = group->next) {
        lua_pushlstring(lua, group->label.data, group->label.size);
        push_group(lua, ask, program, group);
        lua_rawset(lua, -3);
        if (++count % 1024 == 0) vm_spend(lua, 1024);
    }
    ask_result_mark(ask);
}

/* The query at 1, its function at `function` (0: none). */
static int run_end(lua_State *lua, const char *what, int function, const struct seek_plan *plan)
{
    struct ask *ask = ask_of(lua);
    lua_settop(lua, 3);
    if (function) ask_known_field(lua, ask, function, what);
    struct seek_run *run = push_run(lua, ask, 1);
    lua_toclose(lua, -1);
    struct seek_program *program = &run->program;
    if (function) ask_query_read_function(lua, function, what, &program->value);
    program->plan = *plan;
    program->has_end = true;
    seek_run_go(run);
    push_result(lua, ask, program);
    if (program->group.kind != SEEK_NONE) ask_result_remember(lua, what, function);
    return 1;
}

/* --- the methods --- */

static int end_plain(lua_State *lua, const char *what, int function, enum seek_end end)
{
    struct seek_plan plan = {.end = end};
    ask_query_check(lua, what);
    return run_end(lua, what, function, &plan);
}

static int query_sum(lua_State *lua)
{
    return end_plain(lua, "sum", 2, SEEK_SUM);
}

static int query_avg(lua_State *lua)
{
    return end_plain(lua, "avg", 2, SEEK_AVERAGE);
}

static int query_min(lua_State *lua)
{
    return end_plain(lua, "min", 2, SEEK_MIN);
}

static int query_max(lua_State *lua)
{
    return end_plain(lua, "max", 2, SEEK_MAX);
}

static int query_first(lua_State *lua)
{
    return end_plain(lua, "first", 0, SEEK_FIRST);
}

static int query_last(lua_State *lua)
{
    return end_plain(lua, "last", 0, SEEK_LAST);
}

static int query_distinct(lua_State *lua)
{
    return end_plain(lua, "distinct", 2, SEEK_DISTINCT);
}

static int query_rows(lua_State *lua)
{
    return end_plain(lua, "rows", 0, SEEK_ROWS);
}

static uint64_t read_limit(lua_State *lua, const char *what)
{
    ask_query_check(lua, what);
    if (!lua_isinteger(lua, 2) || lua_tointeger(lua, 2) < 0 || lua_tointeger(lua, 2) > SAMPLE_MAX)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s takes how many rows, at most %d", what, SAMPLE_MAX);
    return (uint64_t)lua_tointeger(lua, 2);
}

static int query_top(lua_State *lua)
{
    struct seek_plan plan = {.end = SEEK_TOP, .limit = read_limit(lua, "top")};
    return run_end(lua, "top", 3, &plan);
}

static int query_sample(lua_State *lua)
{
    struct seek_plan plan = {.end = SEEK_SAMPLE, .limit = read_limit(lua, "sample")};
    return run_end(lua, "sample", 0, &plan);
}

static int query_quantile(lua_State *lua)
{
    struct seek_plan plan = {.end = SEEK_QUANTILE};
    ask_query_check(lua, "quantile");
    plan.quantile = lua_type(lua, 2) == LUA_TNUMBER ? lua_tonumber(lua, 2) : -1;
    if (!(plan.quantile >= 0 && plan.quantile <= 1))
        return vm_raise(lua, FAULT_SCRIPT, 1,
                        "quantile takes a number from 0 to 1, as in quantile(0.5, \"amount\")");
    return run_end(lua, "quantile", 3, &plan);
}

void ask_add_ends(struct ask *ask)
{
    static const luaL_Reg methods[] = {{"count", ask_query_counts},  {"sum", query_sum},
                                       {"avg", query_avg},           {"min", query_min},
                                       {"max", query_max},           {"quantile", query_quantile},
                                       {"top", query_top},           {"first", query_first},
                                       {"last", query_last},         {"sample", query_sample},
                                       {"rows", query_rows},         {"list", query_rows},
                                       {"distinct", query_distinct}, {NULL, NULL}};
    ask_set_functions(ask, methods);
}

void ask_query_push_rows(lua_State *lua, struct ask *ask, int index)
{
    index = lua_absindex(lua, index);
    lua_pushlightuserdata(lua, ask);
    lua_pushcclosure(lua, query_rows, 1);
    lua_pushvalue(lua, index);
    lua_call(lua, 1, 1);
}

/* --- rows that are told --- */

struct telling {
    struct seek_run *run;
    struct ask *ask;
    struct buf lines; /* of the userdata below; told by pieces */
    uint64_t told, limit;
    bool more;
};

static int telling_gc(lua_State *lua)
{
    struct telling *telling = lua_touserdata(lua, 1);
    buf_release(&telling->lines);
    return 0;
}

static void give_line(struct seek_program *program, struct seek_row *row)
{
    struct telling *telling = program->user;
    if (telling->told == telling->limit) {
        telling->more = program->enough = true;
        return;
    }
    telling->told++;
    seek_row_push(program, row);
    buf_put_text(&telling->lines, "{\"row\":");
    ask_put_json(program->lua, -1, &telling->lines, telling->ask->value_size_max);
    buf_put_byte(&telling->lines, '}');
    if (telling->lines.size >= LINES_SIZE_MAX) telling->run->pause = true;
    buf_put_byte(&telling->lines, '\n');
}

static void tell_lines(lua_State *lua, struct telling *telling)
{
    if (telling->lines.size == 0) return;
    ask_tell(lua, telling->ask, slice_make(telling->lines.data, telling->lines.size - 1));
    buf_clear(&telling->lines);
}

uint64_t ask_query_tell_rows(lua_State *lua, struct ask *ask, int index, uint64_t limit, bool *more)
{
    static const luaL_Reg functions[] = {{"__gc", telling_gc}, {"__close", telling_gc}, {NULL, NULL}};
    index = lua_absindex(lua, index);
    struct telling *telling = lua_newuserdatauv(lua, sizeof *telling, 0);
    *telling = (struct telling){.ask = ask, .limit = limit};
    ask_push_meta(ask, "lore.telling", functions, NULL);
    lua_setmetatable(lua, -2);
    lua_toclose(lua, -1);
    struct seek_run *run = telling->run = push_run(lua, ask, index);
    lua_toclose(lua, -1);
    run->program.give = give_line;
    run->program.user = telling;
    seek_run_begin(run);
    bool goes_on;
    do {
        goes_on = seek_run_step(run, STEP_NS);
        if (telling->lines.size) {
            seek_run_rest(run);
            tell_lines(lua, telling);
        }
    } while (goes_on);
    uint64_t told = telling->told;
    *more = telling->more;
    lua_pop(lua, 2);
    return told;
}

int ask_query_counts(lua_State *lua)
{
    return end_plain(lua, "count", 0, SEEK_COUNT);
}

int ask_query_show(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    bool more = false;
    ask_query_push(lua, 1);
    if (lua_getfield(lua, -1, "group") != LUA_TNIL) return ask_query_counts(lua);
    ask_query_tell_rows(lua, ask, 1, ask->rows ? ask->rows : UINT64_MAX, &more);
    if (more) ask_tell(lua, ask, slice_of("{\"more\":true}"));
    return 0;
}

/* --- rows that are walked --- */

/* A walk is a table: run, rows that were taken and not given, from `at` on, and the row given last. A query
 * has a list of its walks, newest last: a loop may stand in a loop. */
enum { WALK_RUN = 1, WALK_ROWS, WALK_AT, WALK_GIVEN };

static void give_to_walk(struct seek_program *program, struct seek_row *row)
{
    lua_State *lua = program->lua;
    const struct seek_run *run = program->user;
    seek_row_push(program, row);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, run->rows_ref);
    lua_insert(lua, -2);
    lua_rawseti(lua, -2, (lua_Integer)lua_rawlen(lua, -2) + 1);
    lua_pop(lua, 1);
}

static void push_walks(lua_State *lua)
{
    if (lua_getiuservalue(lua, 1, 2) != LUA_TNIL) return;
    lua_pop(lua, 1);
    lua_newtable(lua);
    lua_pushvalue(lua, -1);
    lua_setiuservalue(lua, 1, 2);
}

/* Pushes a new walk and adds it to the walks at index. */
static void begin_walk(lua_State *lua, struct ask *ask, int walks)
{
    lua_createtable(lua, 4, 0);
    int walk = lua_gettop(lua);
    struct seek_run *run = push_run(lua, ask, 1);
    run->program.give = give_to_walk;
    run->program.user = run;
    run->env_ref = LUA_NOREF; /* nobody keeps threads for a loop that may be broken off */
    lua_rawseti(lua, walk, WALK_RUN);
    lua_newtable(lua);
    lua_rawseti(lua, walk, WALK_ROWS);
    lua_pushinteger(lua, 1);
    lua_rawseti(lua, walk, WALK_AT);
    seek_run_begin(run);
    lua_pushvalue(lua, walk);
    lua_rawseti(lua, walks, (lua_Integer)lua_rawlen(lua, walks) + 1);
}

/* Pushes the newest walk that gave the row at index last; those behind it were broken off. */
static bool find_walk(lua_State *lua, int walks, int given)
{
    for (lua_Integer at = (lua_Integer)lua_rawlen(lua, walks); at > 0; at--) {
        lua_rawgeti(lua, walks, at);
        lua_rawgeti(lua, -1, WALK_GIVEN);
        bool is = lua_rawequal(lua, -1, given);
        lua_pop(lua, 1);
        if (is) return true;
        lua_pop(lua, 1);
        lua_pushnil(lua);
        lua_rawseti(lua, walks, at);
    }
    return false;
}

/* Fills the walk's rows, at index; false: there are no more. */
static bool fill_walk(lua_State *lua, int walk)
{
    lua_rawgeti(lua, walk, WALK_RUN);
    struct seek_run *run = lua_touserdata(lua, -1);
    bool goes_on = run != NULL, some = false;
    while (goes_on && !some) {
        lua_newtable(lua);
        int rows = lua_gettop(lua);
        lua_pushvalue(lua, rows);
        lua_rawseti(lua, walk, WALK_ROWS);
        luaL_unref(lua, LUA_REGISTRYINDEX, run->rows_ref);
        run->rows_ref = LUA_NOREF;
        lua_pushvalue(lua, rows);
        run->rows_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
        goes_on = seek_run_step(run, STEP_NS);
        seek_run_rest(run);
        some = lua_rawlen(lua, rows) > 0;
        lua_settop(lua, rows - 1);
    }
    if (!goes_on) {
        lua_pushnil(lua);
        lua_rawseti(lua, walk, WALK_RUN);
    }
    lua_pushinteger(lua, 1);
    lua_rawseti(lua, walk, WALK_AT);
    lua_pop(lua, 1);
    return some;
}

int ask_query_next(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    lua_settop(lua, 3);
    push_walks(lua);
    if (lua_isnil(lua, 3))
        begin_walk(lua, ask, 4);
    else if (!find_walk(lua, 4, 3))
        return vm_raise(lua, FAULT_SCRIPT, 1, "a query is walked by for row in query do");
    int walk = 5;
    lua_rawgeti(lua, walk, WALK_ROWS);
    lua_rawgeti(lua, walk, WALK_AT);
    lua_Integer at = lua_tointeger(lua, -1);
    lua_pop(lua, 1);
    if (at > (lua_Integer)lua_rawlen(lua, -1)) {
        at = 1;
        if (!fill_walk(lua, walk)) {
            lua_pushnil(lua);
            lua_rawseti(lua, 4, (lua_Integer)lua_rawlen(lua, 4));
            return 0;
        }
        lua_rawgeti(lua, walk, WALK_ROWS);
    }
    lua_pushinteger(lua, at + 1);
    lua_rawseti(lua, walk, WALK_AT);
    lua_rawgeti(lua, -1, at);
    lua_pushvalue(lua, -1);
    lua_rawseti(lua, walk, WALK_GIVEN);
    return 1;
}

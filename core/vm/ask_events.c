#include "vm/ask_events.h"

#include <lauxlib.h>

#include "base/mem.h"
#include "vm/nearest.h"
#include "vm/seek_run.h"

static const char query_type[] = "query";

/* --- the filter --- */

enum filter_kind { FILTER_TEXT, FILTER_TEXTS, FILTER_NUMBER, FILTER_MOMENT };

static const struct filter_field {
    const char *name, *kept; /* as given, and as kept: some have two names */
    enum filter_kind kind;
} filter_fields[] = {{"type", "types", FILTER_TEXTS},
                     {"types", "types", FILTER_TEXTS},
                     {"context", "context", FILTER_TEXT},
                     {"aggregate", "aggregate", FILTER_TEXT},
                     {"stream", "stream", FILTER_TEXT},
                     {"tenant", "tenant", FILTER_TEXT},
                     {"actor", "actor", FILTER_TEXT},
                     {"correlation", "correlation", FILTER_TEXT},
                     {"since", "since", FILTER_TEXT},
                     {"to", "until", FILTER_TEXT},
                     {"until", "until", FILTER_TEXT},
                     {"from", "from", FILTER_MOMENT},
                     {"upto", "upto", FILTER_MOMENT},
                     {"position", "position", FILTER_NUMBER},
                     {"deploy", "deploy", FILTER_NUMBER},
                     {"last", "last", FILTER_NUMBER},
                     {NULL, NULL, FILTER_TEXT}};

static const struct filter_field *find_filter(lua_State *lua, int key)
{
    struct slice name = SLICE_NONE;
    if (lua_type(lua, key) != LUA_TSTRING)
        vm_raise(lua, FAULT_SCRIPT, 1, "events: named fields are expected, as in events { type = \"…\" }");
    name.data = lua_tolstring(lua, key, &name.size);
    struct nearest near = nearest_to(name);
    for (const struct filter_field *field = filter_fields; field->name; field++) {
        if (slice_is(name, field->name)) return field;
        nearest_offer(&near, slice_of(field->name));
    }
    struct slice found = nearest_found(&near);
    vm_raise(lua, FAULT_SCRIPT, 1, "events has no filter %.*s%s%.*s%s", SLICE_ARGS(name),
             found.size ? ": did you mean " : "", SLICE_ARGS(found), found.size ? "?" : "");
    return NULL;
}

static int refuse_filter(lua_State *lua, const struct filter_field *field, const char *expected)
{
    char given[128];
    return vm_raise(lua, FAULT_SCRIPT, 1, "events: %s is %s, got %s", field->name, expected,
                    domain_describe_value(lua, -1, given));
}

/* On top: the value. Replaces it by what is kept. */
static void check_filter(lua_State *lua, const struct filter_field *field)
{
    int type = lua_type(lua, -1);
    switch (field->kind) {
    case FILTER_TEXT:
        if (type != LUA_TSTRING || lua_rawlen(lua, -1) == 0) refuse_filter(lua, field, "a text");
        break;
    case FILTER_MOMENT:
        if (lua_isinteger(lua, -1)) lua_tolstring(lua, -1, NULL);
        if (lua_type(lua, -1) != LUA_TSTRING || lua_rawlen(lua, -1) == 0)
            refuse_filter(lua, field, "a position, a time or \"deploy:N\"");
        break;
    case FILTER_NUMBER:
        if (!lua_isinteger(lua, -1) || lua_tointeger(lua, -1) < (field->name[0] == 'd' ? 0 : 1))
            refuse_filter(lua, field, "a positive integer");
        break;
    case FILTER_TEXTS:
        if (type != LUA_TSTRING && type != LUA_TTABLE) refuse_filter(lua, field, "a text or a list of texts");
        lua_newtable(lua);
        if (type == LUA_TSTRING) {
            lua_pushvalue(lua, -2);
            lua_rawseti(lua, -2, 1);
        }
        for (lua_Integer at = 1; type == LUA_TTABLE; at++) {
            if (lua_geti(lua, -2, at) == LUA_TNIL) break;
            if (lua_type(lua, -1) != LUA_TSTRING) refuse_filter(lua, field, "a text or a list of texts");
            lua_rawseti(lua, -2, at);
        }
        if (type == LUA_TTABLE) lua_pop(lua, 1);
        if (lua_rawlen(lua, -1) == 0) refuse_filter(lua, field, "a list of at least one type");
        lua_replace(lua, -2);
    }
}

/* Pushes the filter as it is kept, from the table at index. */
static void push_filter(lua_State *lua, int index)
{
    lua_newtable(lua);
    int filter = lua_gettop(lua);
    for (lua_pushnil(lua); lua_next(lua, index); lua_settop(lua, filter + 1)) {
        const struct filter_field *field = find_filter(lua, filter + 1);
        check_filter(lua, field);
        if (lua_getfield(lua, filter, field->kept) != LUA_TNIL)
            vm_raise(lua, FAULT_SCRIPT, 1, "events: %s is given twice", field->name);
        lua_pushvalue(lua, -2);
        lua_setfield(lua, filter, field->kept);
    }
}

static struct slice text_field(lua_State *lua, int table, const char *name)
{
    struct slice text = SLICE_NONE;
    if (lua_getfield(lua, table, name) == LUA_TSTRING) text.data = lua_tolstring(lua, -1, &text.size);
    lua_pop(lua, 1);
    return text; /* the table holds it */
}

static uint64_t number_field(lua_State *lua, int table, const char *name, bool *has)
{
    *has = lua_getfield(lua, table, name) == LUA_TNUMBER;
    uint64_t number = (uint64_t)lua_tointeger(lua, -1);
    lua_pop(lua, 1);
    return number;
}

static void read_filter(lua_State *lua, int table, struct arena *arena, struct seek_filter *filter)
{
    bool has;
    *filter = (struct seek_filter){.context = text_field(lua, table, "context"),
                                   .aggregate = text_field(lua, table, "aggregate"),
                                   .stream = text_field(lua, table, "stream"),
                                   .tenant = text_field(lua, table, "tenant"),
                                   .actor = text_field(lua, table, "actor"),
                                   .correlation = text_field(lua, table, "correlation"),
                                   .since = text_field(lua, table, "since"),
                                   .until = text_field(lua, table, "until"),
                                   .from = text_field(lua, table, "from"),
                                   .upto = text_field(lua, table, "upto")};
    filter->position = number_field(lua, table, "position", &has);
    filter->last = number_field(lua, table, "last", &has);
    filter->deploy = number_field(lua, table, "deploy", &filter->has_deploy);
    if (lua_getfield(lua, table, "types") == LUA_TTABLE) {
        size_t count = (size_t)lua_rawlen(lua, -1);
        struct slice *types = arena_take(arena, count * sizeof *types);
        for (size_t at = 0; at < count; at++) {
            lua_rawgeti(lua, -1, (lua_Integer)at + 1);
            types[at].data = lua_tolstring(lua, -1, &types[at].size);
            lua_pop(lua, 1);
        }
        filter->types = types;
        filter->type_count = count;
    }
    lua_pop(lua, 1);
}

/* --- queries as values --- */

bool ask_query_push(lua_State *lua, int index)
{
    if (!luaL_testudata(lua, index, query_type)) return false;
    lua_getiuservalue(lua, index, 1);
    return true;
}

void ask_query_check(lua_State *lua, const char *method)
{
    if (!luaL_testudata(lua, 1, query_type))
        vm_raise(lua, FAULT_SCRIPT, 1, "write QUERY:%s(…), with a colon", method);
}

/* Of the parts on top of the stack, which it replaces. */
static void push_query(lua_State *lua)
{
    lua_newuserdatauv(lua, 1, 2);
    lua_insert(lua, -2);
    lua_setiuservalue(lua, -2, 1);
    luaL_setmetatable(lua, query_type);
}

static int word_events(lua_State *lua)
{
    if (lua_isnoneornil(lua, 1)) {
        lua_settop(lua, 0);
        lua_newtable(lua);
    }
    if (lua_type(lua, 1) != LUA_TTABLE)
        return vm_raise(lua, FAULT_SCRIPT, 1, "events takes its filters as a table: events { type = \"…\" }");
    lua_settop(lua, 1);
    lua_createtable(lua, 0, 3);
    push_filter(lua, 1);
    ask_known_filter(lua, ask_of(lua), lua_gettop(lua));
    lua_setfield(lua, 2, "filter");
    lua_newtable(lua);
    lua_setfield(lua, 2, "stages");
    push_query(lua);
    return 1;
}

/* Pushes parts like those of the query at 1, with stages of their own. */
static int push_parts(lua_State *lua)
{
    ask_query_push(lua, 1);
    int old = lua_gettop(lua);
    if (lua_getfield(lua, old, "group") != LUA_TNIL)
        vm_raise(lua, FAULT_SCRIPT, 1, "behind :group only an end can come, such as :count() or :sum(…)");
    lua_createtable(lua, 0, 3);
    int parts = lua_gettop(lua);
    lua_getfield(lua, old, "filter");
    lua_setfield(lua, parts, "filter");
    lua_newtable(lua);
    lua_getfield(lua, old, "stages");
    lua_Integer count = (lua_Integer)lua_rawlen(lua, -1);
    for (lua_Integer at = 1; at <= count; at++) {
        lua_rawgeti(lua, -1, at);
        lua_rawseti(lua, -3, at);
    }
    lua_pop(lua, 1);
    lua_setfield(lua, parts, "stages");
    return parts;
}

static int refuse_function(lua_State *lua, int index, const char *what)
{
    char given[128];
    return vm_raise(lua, FAULT_SCRIPT, 1, "%s takes a function or the name of a field, got %s", what,
                    domain_describe_value(lua, index, given));
}

static void check_function(lua_State *lua, int index, const char *what, bool optional)
{
    struct seek_path path;
    struct slice text = SLICE_NONE;
    int type = lua_type(lua, index);
    if (type == LUA_TFUNCTION || (optional && (type == LUA_TNIL || type == LUA_TNONE))) return;
    if (type != LUA_TSTRING) refuse_function(lua, index, what);
    text.data = lua_tolstring(lua, index, &text.size);
    if (!seek_path_read(text, &path))
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: \"%s\" is no name of a field", what, text.data);
}

void ask_query_read_function(lua_State *lua, int index, const char *what, struct seek_function *function)
{
    struct slice text = SLICE_NONE;
    *function = (struct seek_function){.ref = LUA_NOREF};
    check_function(lua, index, what, true);
    if (lua_type(lua, index) == LUA_TFUNCTION) {
        lua_pushvalue(lua, index);
        function->ref = luaL_ref(lua, LUA_REGISTRYINDEX);
        function->kind = SEEK_LUA;
    } else if (lua_type(lua, index) == LUA_TSTRING) {
        text.data = lua_tolstring(lua, index, &text.size);
        struct seek_function borrowed = {.kind = SEEK_PATH};
        seek_path_read(text, &borrowed.path);
        *function = seek_function_path(&borrowed);
    }
}

/* The stage that is on top goes behind the others of the parts below it. */
static int put_stage(lua_State *lua, enum seek_stage_kind kind)
{
    lua_pushinteger(lua, (lua_Integer)kind);
    lua_setfield(lua, -2, "kind");
    lua_getfield(lua, -2, "stages");
    lua_insert(lua, -2);
    lua_rawseti(lua, -2, (lua_Integer)lua_rawlen(lua, -2) + 1);
    lua_pop(lua, 1);
    push_query(lua);
    return 1;
}

static int put_function_stage(lua_State *lua, const char *method, enum seek_stage_kind kind)
{
    ask_query_check(lua, method);
    check_function(lua, 2, method, false);
    push_parts(lua);
    ask_known_field(lua, ask_of(lua), 2, method);
    lua_createtable(lua, 0, 2);
    lua_pushvalue(lua, 2);
    lua_setfield(lua, -2, "f");
    return put_stage(lua, kind);
}

static int put_count_stage(lua_State *lua, const char *method, enum seek_stage_kind kind)
{
    ask_query_check(lua, method);
    if (!lua_isinteger(lua, 2) || lua_tointeger(lua, 2) < 0)
        return vm_raise(lua, FAULT_SCRIPT, 1, "%s takes a number of rows", method);
    push_parts(lua);
    lua_createtable(lua, 0, 2);
    lua_pushvalue(lua, 2);
    lua_setfield(lua, -2, "n");
    return put_stage(lua, kind);
}

static int query_where(lua_State *lua)
{
    return put_function_stage(lua, "where", SEEK_WHERE);
}

static int query_map(lua_State *lua)
{
    return put_function_stage(lua, "map", SEEK_MAP);
}

static int query_limit(lua_State *lua)
{
    return put_count_stage(lua, "limit", SEEK_LIMIT);
}

static int query_skip(lua_State *lua)
{
    return put_count_stage(lua, "skip", SEEK_SKIP);
}

/* :sort(f), :sort(f, "desc") */
static int query_sort(lua_State *lua)
{
    const char *order = lua_isnoneornil(lua, 3) ? "asc" : lua_tostring(lua, 3);
    ask_query_check(lua, "sort");
    check_function(lua, 2, "sort", false);
    bool down = order && strcmp(order, "desc") == 0;
    if (!order || (!down && strcmp(order, "asc") != 0))
        return vm_raise(lua, FAULT_SCRIPT, 1, "sort: the order is \"asc\" or \"desc\"");
    push_parts(lua);
    ask_known_field(lua, ask_of(lua), 2, "sort");
    lua_createtable(lua, 0, 3);
    lua_pushvalue(lua, 2);
    lua_setfield(lua, -2, "f");
    lua_pushboolean(lua, down);
    lua_setfield(lua, -2, "down");
    return put_stage(lua, SEEK_SORT);
}

/* "billing/open_bills", "open_bills" where it is unique, or views.billing.open_bills. */
static struct slice view_name(lua_State *lua, int index)
{
    const struct loader *loader = ask_of(lua)->domain->loader;
    const struct loader_projection *const *held = luaL_testudata(lua, index, "view");
    const struct loader_projection *found = NULL;
    if (held) return (*held)->declared.name;
    struct slice name = ask_text(lua, index, "the view to join, if it is no views.NAME,");
    struct nearest near = nearest_to(name);
    for (size_t at = 0; at < loader_projection_count(loader); at++) {
        const struct loader_projection *view = loader_projection(loader, at);
        if (slice_equal(view->declared.name, name)) return view->declared.name;
        nearest_offer(&near, view->short_name);
        if (!slice_equal(view->short_name, name)) continue;
        if (found) vm_raise(lua, FAULT_SCRIPT, 1, "join: which context's %.*s?", SLICE_ARGS(name));
        found = view;
    }
    if (found) return found->declared.name;
    struct slice nearest = nearest_found(&near);
    vm_raise(lua, FAULT_SCRIPT, 1, "join: no view %.*s%s%.*s%s", SLICE_ARGS(name),
             nearest.size ? ": did you mean " : "", SLICE_ARGS(nearest), nearest.size ? "?" : "");
    return SLICE_NONE;
}

static int query_join(lua_State *lua)
{
    lua_settop(lua, 3);
    ask_query_check(lua, "join");
    check_function(lua, 3, "join", true);
    struct slice view = view_name(lua, 2);
    push_parts(lua);
    ask_known_field(lua, ask_of(lua), 3, "join");
    lua_createtable(lua, 0, 3);
    lua_pushlstring(lua, view.data, view.size);
    lua_setfield(lua, -2, "view");
    if (lua_isnoneornil(lua, 3))
        lua_pushliteral(lua, "id");
    else
        lua_pushvalue(lua, 3);
    lua_setfield(lua, -2, "f");
    return put_stage(lua, SEEK_JOIN);
}

static int query_group(lua_State *lua)
{
    ask_query_check(lua, "group");
    check_function(lua, 2, "group", false);
    int parts = push_parts(lua);
    ask_known_field(lua, ask_of(lua), 2, "group");
    lua_pushvalue(lua, 2);
    lua_setfield(lua, parts, "group");
    push_query(lua);
    return 1;
}

static void read_stage(lua_State *lua, int table, struct seek_program *program)
{
    lua_getfield(lua, table, "kind");
    struct seek_stage *stage = seek_program_add(program, (enum seek_stage_kind)lua_tointeger(lua, -1));
    lua_getfield(lua, table, "f");
    ask_query_read_function(lua, -1, "a stage", &stage->function);
    lua_getfield(lua, table, "n");
    stage->count = (uint64_t)lua_tointeger(lua, -1);
    lua_getfield(lua, table, "down");
    stage->descending = lua_toboolean(lua, -1);
    if (lua_getfield(lua, table, "view") == LUA_TSTRING) {
        size_t size;
        const char *view = lua_tolstring(lua, -1, &size);
        stage->view = mem_text(view, size);
    }
}

void ask_query_read(lua_State *lua, int parts, struct arena *arena, struct seek_filter *filter,
                    struct seek_program *program)
{
    int top = lua_gettop(lua);
    luaL_checkstack(lua, 16, NULL);
    lua_getfield(lua, parts, "filter");
    read_filter(lua, top + 1, arena, filter);
    lua_getfield(lua, parts, "group");
    ask_query_read_function(lua, top + 2, "group", &program->group);
    lua_getfield(lua, parts, "stages");
    lua_Integer count = (lua_Integer)lua_rawlen(lua, top + 3);
    for (lua_Integer at = 1; at <= count; at++) {
        lua_rawgeti(lua, top + 3, at);
        read_stage(lua, top + 4, program);
        lua_settop(lua, top + 3);
    }
    lua_settop(lua, top);
}

static int query_text(lua_State *lua)
{
    lua_pushliteral(lua, "a query of events");
    return 1;
}

void ask_add_events(struct ask *ask)
{
    static const luaL_Reg words[] = {{"events", word_events}, {NULL, NULL}};
    static const luaL_Reg metamethods[] = {
        {"__call", ask_query_next}, {"__tostring", query_text}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"where", query_where}, {"map", query_map},   {"sort", query_sort},
                                       {"limit", query_limit}, {"skip", query_skip}, {"join", query_join},
                                       {"group", query_group}, {NULL, NULL}};
    static const luaL_Reg show[] = {{"show", ask_query_show}, {NULL, NULL}};
    lua_State *lua = ask->domain->vm->lua;
    int top = lua_gettop(lua);
    if (!ask->host->events) return;
    ask->reader = seek_reader_push(lua, ask->host->events);
    ask->reader_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    ask_set_functions(ask, words);
    seek_event_add_type(lua);
    ask_push_meta(ask, query_type, metamethods, methods);
    lua_getfield(lua, -1, "__index");
    ask_add_ends(ask);
    ask_add_results(ask, top, lua_gettop(lua));
    lua_pop(lua, 1);
    lua_newtable(lua);
    ask_set_functions(ask, show);
    lua_getfield(lua, -1, "show");
    lua_rawsetp(lua, -3, &ask_show_key);
    lua_pop(lua, 2);
    seek_run_prepare(lua);
}

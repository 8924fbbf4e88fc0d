#include "vm/envelope.h"

#include <lauxlib.h>

#include "codec/time.h"
#include "vm/vm.h"

static const char envelope_type[] = "lore.envelope";

/* In byte order: pairs(m) goes this way. */
enum envelope_field {
    FIELD_ACTOR,
    FIELD_AGGREGATE,
    FIELD_AT,
    FIELD_CAUSATION_ID,
    FIELD_COMMAND_ID,
    FIELD_CONTEXT,
    FIELD_CORRELATION_ID,
    FIELD_DEPLOY,
    FIELD_ID,
    FIELD_POSITION,
    FIELD_RECORDED,
    FIELD_STREAM,
    FIELD_TENANT,
    FIELD_TYPE,
    FIELD_TYPE_VERSION,
    FIELD_VERSION,
    FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
    "actor", "aggregate", "at",       "causation_id", "command_id", "context", "correlation_id", "deploy",
    "id",    "position",  "recorded", "stream",       "tenant",     "type",    "type_version",   "version"};

static void push_text(lua_State *lua, struct slice text)
{
    if (text.size == 0)
        lua_pushnil(lua);
    else
        lua_pushlstring(lua, text.data, text.size);
}

/* The one field that most handlers read of m, and one of few texts. */
static void push_type(lua_State *lua, const struct envelope_view *view)
{
    if (view->type_ref == LUA_NOREF)
        push_text(lua, view->envelope->type);
    else
        lua_rawgeti(lua, LUA_REGISTRYINDEX, view->type_ref);
}

static void push_count(lua_State *lua, uint64_t count)
{
    if (count == 0)
        lua_pushnil(lua);
    else
        lua_pushinteger(lua, (lua_Integer)count);
}

enum { DAY_MS = 86400000 };

static void put_digits(char *to, int64_t value, int digits)
{
    for (int at = digits - 1; at >= 0; at--, value /= 10) to[at] = (char)('0' + value % 10);
}

/* Events come in order of time, mostly: the date is formatted once a day. */
static void push_time(lua_State *lua, struct envelope_view *view, int64_t ms)
{
    if (!time_valid(ms)) {
        lua_pushnil(lua);
        return;
    }
    char text[TIME_TEXT_SIZE + 1];
    int64_t day = ms / DAY_MS;
    if (ms < 0 || view->day != day + 1) {
        time_format(ms, text);
        memcpy(view->date, text, sizeof view->date);
        view->day = ms < 0 ? 0 : day + 1;
    } else {
        int64_t rest = ms % DAY_MS;
        memcpy(text, view->date, sizeof view->date);
        memcpy(text + 11, "00:00:00.000Z", 14);
        put_digits(text + 11, rest / 3600000, 2);
        put_digits(text + 14, rest / 60000 % 60, 2);
        put_digits(text + 17, rest / 1000 % 60, 2);
        put_digits(text + 20, rest % 1000, 3);
    }
    lua_pushlstring(lua, text, TIME_TEXT_SIZE);
}

/* The three ids are packed in the record: they are expanded when the first of them is asked for. */
static const struct record_ids *envelope_ids(struct envelope_view *view)
{
    if (!view->ids_read) {
        const struct envelope *envelope = view->envelope;
        if (envelope->record)
            record_read_ids(envelope->record, &view->arena, &view->ids);
        else
            view->ids = (struct record_ids){.command_id = envelope->command_id,
                                            .correlation_id = envelope->correlation_id,
                                            .causation_id = envelope->causation_id};
        view->ids_read = true;
    }
    return &view->ids;
}

static struct slice envelope_actor(const struct envelope *envelope)
{
    if (!envelope->record) return envelope->actor;
    return names_get(envelope->record->names, envelope->record->actor);
}

static void push_stream(lua_State *lua, const struct envelope *envelope)
{
    luaL_Buffer stream;
    luaL_buffinit(lua, &stream);
    luaL_addlstring(&stream, envelope->context.data ? envelope->context.data : "", envelope->context.size);
    luaL_addchar(&stream, '/');
    luaL_addlstring(&stream, envelope->aggregate.data ? envelope->aggregate.data : "",
                    envelope->aggregate.size);
    luaL_addchar(&stream, '/');
    luaL_addlstring(&stream, envelope->id.data ? envelope->id.data : "", envelope->id.size);
    luaL_pushresult(&stream);
}

static void push_field(lua_State *lua, struct envelope_view *view, int field)
{
    const struct envelope *envelope = view->envelope;
    bool logged = view->scope == ENVELOPE_LOGGED && envelope->position != 0;
    switch ((enum envelope_field)field) {
    case FIELD_ACTOR: push_text(lua, envelope_actor(envelope)); return;
    case FIELD_AGGREGATE: push_text(lua, envelope->aggregate); return;
    case FIELD_AT: push_time(lua, view, envelope->at_ms); return;
    case FIELD_CAUSATION_ID: push_text(lua, envelope_ids(view)->causation_id); return;
    case FIELD_COMMAND_ID: push_text(lua, envelope_ids(view)->command_id); return;
    case FIELD_CONTEXT: push_text(lua, envelope->context); return;
    case FIELD_CORRELATION_ID: push_text(lua, envelope_ids(view)->correlation_id); return;
    case FIELD_DEPLOY: push_count(lua, logged ? envelope->deploy : 0); return;
    case FIELD_ID: push_text(lua, envelope->id); return;
    case FIELD_POSITION: push_count(lua, logged ? envelope->position : 0); return;
    case FIELD_RECORDED:
        if (logged)
            push_time(lua, view, envelope->recorded_ms);
        else
            lua_pushnil(lua);
        return;
    case FIELD_STREAM: push_stream(lua, envelope); return;
    case FIELD_TENANT: push_text(lua, envelope->tenant); return;
    case FIELD_TYPE: push_type(lua, view); return;
    case FIELD_TYPE_VERSION: push_count(lua, envelope->type_version); return;
    case FIELD_VERSION: push_count(lua, view->scope == ENVELOPE_APPLYING ? 0 : envelope->version); return;
    case FIELD_COUNT: break;
    }
    lua_pushnil(lua);
}

/* Only metamethods come here: they get nothing but envelopes. */
static struct envelope_view *open_view(lua_State *lua)
{
    struct envelope_view *view = lua_touserdata(lua, 1);
    if (!view->envelope) vm_raise(lua, FAULT_SCRIPT, 1, "m is only valid during its call");
    return view;
}

/* Upvalue 1: field name -> number. */
static int envelope_index(lua_State *lua)
{
    struct envelope_view *view = open_view(lua);
    lua_pushvalue(lua, 2);
    if (lua_rawget(lua, lua_upvalueindex(1)) == LUA_TNIL) {
        if (lua_type(lua, 2) == LUA_TSTRING)
            vm_raise(lua, FAULT_SCRIPT, 1, "the envelope m has no field %s", lua_tostring(lua, 2));
        return 1;
    }
    push_field(lua, view, (int)lua_tointeger(lua, -1));
    return 1;
}

static int envelope_newindex(lua_State *lua)
{
    return vm_raise(lua, FAULT_SCRIPT, 1, "the envelope m cannot be changed");
}

static int envelope_next(lua_State *lua)
{
    luaL_checkudata(lua, 1, envelope_type); /* pairs(m) hands it to scripts */
    struct envelope_view *view = open_view(lua);
    int field = 0;
    if (!lua_isnoneornil(lua, 2)) {
        const char *key = lua_tostring(lua, 2);
        while (field < FIELD_COUNT && (!key || strcmp(field_names[field], key) != 0)) field++;
        field++;
    }
    for (; field < FIELD_COUNT; field++) {
        lua_pushstring(lua, field_names[field]);
        push_field(lua, view, field);
        if (!lua_isnil(lua, -1)) return 2;
        lua_pop(lua, 2);
    }
    lua_pushnil(lua);
    return 1;
}

static int envelope_pairs(lua_State *lua)
{
    open_view(lua);
    lua_pushcfunction(lua, envelope_next);
    lua_pushvalue(lua, 1);
    lua_pushnil(lua);
    return 3;
}

static int envelope_gc(lua_State *lua)
{
    struct envelope_view *view = lua_touserdata(lua, 1);
    arena_release(&view->arena);
    return 0;
}

struct envelope_view *envelope_view_push(lua_State *lua)
{
    struct envelope_view *view = lua_newuserdatauv(lua, sizeof *view, 0);
    *view = (struct envelope_view){0};
    if (luaL_newmetatable(lua, envelope_type)) {
        lua_createtable(lua, 0, FIELD_COUNT);
        for (int field = 0; field < FIELD_COUNT; field++) {
            lua_pushinteger(lua, field);
            lua_setfield(lua, -2, field_names[field]);
        }
        lua_pushcclosure(lua, envelope_index, 1);
        lua_setfield(lua, -2, "__index");
        static const luaL_Reg methods[] = {{"__newindex", envelope_newindex},
                                           {"__pairs", envelope_pairs},
                                           {"__gc", envelope_gc},
                                           {NULL, NULL}};
        luaL_setfuncs(lua, methods, 0);
        lua_pushliteral(lua, "envelope");
        lua_setfield(lua, -2, "__metatable");
    }
    lua_setmetatable(lua, -2);
    return view;
}

void envelope_view_open(struct envelope_view *view, const struct envelope *envelope,
                        enum envelope_scope scope)
{
    view->envelope = envelope;
    view->scope = scope;
    view->type_ref = LUA_NOREF;
    view->ids_read = false;
}

void envelope_view_close(struct envelope_view *view)
{
    view->envelope = NULL;
    if (view->arena.block) arena_release(&view->arena);
}

void envelope_push_table(lua_State *lua, struct envelope_view *view)
{
    lua_createtable(lua, 0, FIELD_COUNT);
    for (int field = 0; field < FIELD_COUNT; field++) {
        push_field(lua, view, field);
        lua_setfield(lua, -2, field_names[field]);
    }
}

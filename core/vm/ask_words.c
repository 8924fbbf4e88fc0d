/* The words of a session that are there for any domain: contexts, aggregates, messages, print, now, tenant.
 */
#include <lauxlib.h>
#include <stdio.h>

#include "codec/json.h"
#include "codec/text.h"
#include "codec/time.h"
#include "vm/ask_core.h"
#include "vm/ask_events.h"
#include "vm/sandbox.h"
#include "vm/value.h"

enum { PRINTED_SIZE_MAX = 4096 }; /* about, of a table by print */

/* --- streams --- */

static const luaL_Reg stream_methods[];

/* Pushes { stream, version, position, state } as of the moment (empty: the session's). */
static int push_stream(lua_State *lua, struct ask *ask, int aggregate, struct slice id, struct slice moment)
{
    uint64_t version = 0, position = 0;
    struct fault fault;
    buf_clear(&ask->bytes);
    if (ask->host->state(ask->host->user, aggregate, id, moment, &version, &position, &ask->bytes, &fault) <
        0)
        return ask_raise(lua, &fault);
    struct slice name = domain_aggregate(ask->domain, aggregate)->name;
    lua_createtable(lua, 0, 4);
    lua_pushfstring(lua, "%s/%s", name.data, id.data); /* both end with a NUL */
    lua_setfield(lua, -2, "stream");
    lua_pushinteger(lua, (lua_Integer)version);
    lua_setfield(lua, -2, "version");
    lua_pushinteger(lua, (lua_Integer)position);
    lua_setfield(lua, -2, "position");
    if (version) {
        vm_spend(lua, ask->bytes.size / 8);
        value_push(lua, buf_slice(&ask->bytes));
        lua_setfield(lua, -2, "state");
    }
    ask_push_meta(ask, "stream", NULL, stream_methods);
    lua_setmetatable(lua, -2);
    return 1;
}

/* The name in the stream value at 1: "billing/bill/7". */
static struct slice stream_name(lua_State *lua, const char *method)
{
    struct slice stream = SLICE_NONE;
    if (lua_type(lua, 1) != LUA_TTABLE)
        vm_raise(lua, FAULT_SCRIPT, 1, "write STREAM:%s, with a colon", method);
    lua_pushliteral(lua, "stream");
    lua_rawget(lua, 1);
    if (lua_type(lua, -1) == LUA_TSTRING) stream.data = lua_tolstring(lua, -1, &stream.size);
    return stream; /* stays on the stack */
}

/* bill:at(T): the same stream as it was. */
static int stream_at(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    struct slice stream = stream_name(lua, "at(T)"), context, aggregate, id;
    struct fault fault;
    if (text_split_stream(stream, &context, &aggregate, &id, &fault) < 0) return ask_raise(lua, &fault);
    int found =
        domain_find_aggregate(ask->domain, slice_make(stream.data, (size_t)(id.data - stream.data) - 1));
    if (found < 0)
        return vm_raise(lua, FAULT_NOT_FOUND, 1, "no aggregate %.*s/%.*s", SLICE_ARGS(context),
                        SLICE_ARGS(aggregate));
    return push_stream(lua, ask, found, id, ask_text(lua, 2, "a moment"));
}

/* bill:events(): events { stream = … } */
static int stream_events(lua_State *lua)
{
    stream_name(lua, "events()");
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask_of(lua)->words_ref);
    lua_getfield(lua, -1, "events");
    lua_createtable(lua, 0, 1);
    lua_pushvalue(lua, -4);
    lua_setfield(lua, -2, "stream");
    lua_call(lua, 1, 1);
    return 1;
}

static const luaL_Reg stream_methods[] = {{"at", stream_at}, {"events", stream_events}, {NULL, NULL}};

/* --- contexts --- */

static int aggregate_of(lua_State *lua, int index)
{
    const int *held = luaL_testudata(lua, index, "aggregate");
    if (!held) vm_raise(lua, FAULT_SCRIPT, 1, "expected an aggregate, such as billing.bill");
    return *held;
}

/* billing.bill "7" */
static int call_aggregate(lua_State *lua)
{
    int aggregate = aggregate_of(lua, 1);
    struct slice id = ask_text(lua, 2, "the id of a stream");
    if (!text_is_id(id))
        return vm_raise(lua, FAULT_SCRIPT, 1,
                        "an id has 1 to %d bytes of UTF-8 without control characters and without '/'",
                        LIMIT_ID_SIZE_MAX);
    return push_stream(lua, ask_of(lua), aggregate, id, SLICE_NONE);
}

static int name_aggregate(lua_State *lua)
{
    struct slice name = domain_aggregate(ask_of(lua)->domain, aggregate_of(lua, 1))->name;
    lua_pushfstring(lua, "aggregate %s", name.data);
    return 1;
}

static void push_aggregate(struct ask *ask, int index)
{
    static const luaL_Reg metamethods[] = {
        {"__call", call_aggregate}, {"__tostring", name_aggregate}, {NULL, NULL}};
    lua_State *lua = ask->domain->vm->lua;
    *(int *)lua_newuserdatauv(lua, sizeof(int), 0) = index;
    ask_push_meta(ask, "aggregate", metamethods, NULL);
    lua_setmetatable(lua, -2);
}

/* A context: its aggregates by name and the constructors of its messages. */
static void push_context(struct ask *ask, struct slice context)
{
    lua_State *lua = ask->domain->vm->lua;
    const struct loader *loader = ask->domain->loader;
    const struct contracts *contracts = loader_contracts(loader);
    char what[LIMIT_NAME_SIZE_MAX + 16];
    lua_newtable(lua);
    for (size_t at = 0; at < loader_aggregate_count(loader); at++) {
        const struct loader_aggregate *aggregate = loader_aggregate(loader, at);
        if (!slice_equal(aggregate->declared.context, context)) continue;
        vm_push_slice(lua, aggregate->short_name);
        push_aggregate(ask, (int)at);
        lua_rawset(lua, -3);
    }
    for (size_t at = 0; at < contracts_count(contracts); at++) {
        const struct contract_message *message = contracts_at(contracts, at);
        if (!slice_equal(message->context, context)) continue;
        vm_push_slice(lua, message->name);
        lua_rawgeti(lua, LUA_REGISTRYINDEX, message->constructor);
        lua_rawset(lua, -3);
    }
    snprintf(what, sizeof what, "context %.*s", SLICE_ARGS(context));
    ask_seal(ask, what);
}

/* Whether the name on top of the stack is one of the sandbox's or a word's: these win. */
static bool is_taken(struct ask *ask, int words)
{
    lua_State *lua = ask->domain->vm->lua;
    lua_pushvalue(lua, -1);
    bool taken = lua_rawget(lua, words) != LUA_TNIL;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ask->domain->vm->script_env);
    lua_pushvalue(lua, -3);
    taken = lua_rawget(lua, -2) != LUA_TNIL || taken;
    lua_pop(lua, 3);
    return taken;
}

/* Behind all words: what no word hides is a global, all of them are in `contexts`. */
static void add_contexts(struct ask *ask)
{
    lua_State *lua = ask->domain->vm->lua;
    const struct loader *loader = ask->domain->loader;
    int words = lua_gettop(lua);
    lua_newtable(lua);
    for (size_t at = 0; at < loader_context_count(loader); at++) {
        struct slice name = loader_context(loader, at);
        push_context(ask, name);
        vm_push_slice(lua, name);
        if (!is_taken(ask, words)) {
            lua_pushvalue(lua, -1);
            lua_pushvalue(lua, -3);
            lua_rawset(lua, words);
        }
        lua_insert(lua, -2);
        lua_rawset(lua, -3);
    }
    ask_seal(ask, "contexts");
    lua_setfield(lua, words, "contexts");
}

/* Constructors of messages that no other context has. */
static void add_messages(struct ask *ask)
{
    lua_State *lua = ask->domain->vm->lua;
    const struct contracts *contracts = loader_contracts(ask->domain->loader);
    size_t count = contracts_count(contracts);
    int words = lua_gettop(lua);
    for (size_t at = 0; at < count; at++) {
        const struct contract_message *message = contracts_at(contracts, at);
        bool unique = true;
        for (size_t other = 0; other < count && unique; other++)
            unique = other == at || !slice_equal(contracts_at(contracts, other)->name, message->name);
        vm_push_slice(lua, message->name);
        if (unique && !is_taken(ask, words)) {
            lua_rawgeti(lua, LUA_REGISTRYINDEX, message->constructor);
            lua_rawset(lua, words);
        } else {
            lua_pop(lua, 1);
        }
    }
}

/* --- words --- */

/* A text as tostring has it; of a table without a form of its own what is in it. */
static void push_printed(lua_State *lua, struct ask *ask, int index)
{
    bool has_text = luaL_getmetafield(lua, index, "__tostring") != LUA_TNIL;
    if (has_text) lua_pop(lua, 1);
    if (lua_type(lua, index) == LUA_TTABLE && !has_text) {
        buf_clear(&ask->line);
        ask_put_json(lua, index, &ask->line, PRINTED_SIZE_MAX);
        lua_pushlstring(lua, ask->line.data, ask->line.size);
        return;
    }
    sandbox_push_text(lua, index);
}

static int word_print(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    int count = lua_gettop(lua);
    luaL_Buffer text;
    struct slice line = SLICE_NONE;
    luaL_buffinit(lua, &text);
    for (int i = 1; i <= count; i++) {
        if (i > 1) luaL_addchar(&text, ' ');
        push_printed(lua, ask, i);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    line.data = lua_tolstring(lua, -1, &line.size);
    buf_clear(&ask->line);
    buf_put_text(&ask->line, "{\"print\":");
    json_put_text(&ask->line, line);
    buf_put_byte(&ask->line, '}');
    ask_tell(lua, ask, buf_slice(&ask->line));
    return 0;
}

static int word_now(lua_State *lua)
{
    const struct ask *ask = ask_of(lua);
    char text[TIME_TEXT_SIZE + 1];
    time_format(ask->host->now_ms(ask->host->user), text);
    lua_pushlstring(lua, text, TIME_TEXT_SIZE);
    return 1;
}

/* tenant "acme" reads another one from here on; tenant() tells which. */
static int word_tenant(lua_State *lua)
{
    const struct ask *ask = ask_of(lua);
    struct fault fault;
    if (!lua_isnoneornil(lua, 1) &&
        ask->host->set_tenant(ask->host->user, ask_text(lua, 1, "a tenant"), &fault) < 0)
        return ask_raise(lua, &fault);
    vm_push_slice(lua, ask->host->tenant(ask->host->user));
    return 1;
}

void ask_add_words(struct ask *ask)
{
    static const luaL_Reg functions[] = {
        {"print", word_print}, {"now", word_now}, {"tenant", word_tenant}, {NULL, NULL}};
    ask_set_functions(ask, functions);
    ask_add_events(ask);
    add_contexts(ask);
    add_messages(ask);
}

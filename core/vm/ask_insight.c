/* Words that look ahead, behind and into the past: dry, trace, blame, spec_from, at; and send, the only one
 * that writes, which the host refuses unless it was allowed. */
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "vm/ask_core.h"
#include "vm/value.h"

/* --- what they are given --- */

/* A stream as text "billing/bill/7", or as billing.bill "7" gave it. The text stays on the stack. */
static struct slice stream_text(lua_State *lua, int index, const char *word)
{
    struct slice text = SLICE_NONE;
    if (lua_type(lua, index) == LUA_TTABLE) {
        lua_pushliteral(lua, "stream");
        lua_rawget(lua, index);
        lua_replace(lua, index);
    }
    if (lua_type(lua, index) != LUA_TSTRING)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s(STREAM, …): a stream is \"billing/bill/7\" or billing.bill \"7\"",
                 word);
    text.data = lua_tolstring(lua, index, &text.size);
    return text;
}

struct target {
    struct slice context, name, id; /* a service has no id */
};

static struct target target_of(lua_State *lua, int index, const char *word, bool may_be_service)
{
    struct slice text = stream_text(lua, index, word);
    struct target target = {SLICE_NONE, SLICE_NONE, SLICE_NONE};
    struct fault fault;
    if (may_be_service && domain_find_service(ask_of(lua)->domain, text) >= 0) {
        const char *slash = memchr(text.data, '/', text.size);
        target.context = slice_make(text.data, (size_t)(slash - text.data));
        target.name = slice_make(slash + 1, text.size - target.context.size - 1);
    } else if (text_split_stream(text, &target.context, &target.name, &target.id, &fault) < 0) {
        ask_raise(lua, &fault);
    }
    return target;
}

/* The messages from index first on: their data goes into ask->bytes, and stays there until the host is
 * called. */
static size_t take_commands(lua_State *lua, struct ask *ask, int first, struct ask_command *commands)
{
    size_t count = 0, ends[ASK_COMMANDS_MAX];
    int last = lua_gettop(lua);
    char given[128];
    buf_clear(&ask->bytes);
    if (last - first + 1 > ASK_COMMANDS_MAX)
        vm_raise(lua, FAULT_SCRIPT, 1, "more than %d commands", ASK_COMMANDS_MAX);
    for (int at = first; at <= last; at++) {
        const struct contract_message *message = contract_message_of(lua, at);
        if (!message)
            vm_raise(lua, FAULT_SCRIPT, 1, "expected a command, such as CloseBill { … }, got %s",
                     domain_describe_value(lua, at, given));
        if (message->is_event)
            vm_raise(lua, FAULT_SCRIPT, 1, "%s is an event: a command is sent, and decided",
                     message->name.data);
        value_encode(lua, -1, &ask->bytes, message->name.data, ask->domain->message_size_max);
        lua_pop(lua, 1);
        commands[count].type = message->name;
        ends[count++] = ask->bytes.size;
    }
    for (size_t at = 0; at < count; at++) {
        size_t from = at ? ends[at - 1] : 0;
        commands[at].data = slice_make(ask->bytes.data + from, ends[at] - from);
    }
    if (count == 0) vm_raise(lua, FAULT_SCRIPT, 1, "no command is given");
    return count;
}

/* Pushes JSON that the host gave as a table. */
static int push_json(lua_State *lua, struct ask *ask, const struct buf *json)
{
    struct fault fault;
    buf_clear(&ask->bytes);
    if (json_to_mp(buf_slice(json), &ask->bytes, &fault) < 0) return ask_raise(lua, &fault);
    vm_spend(lua, ask->bytes.size / 8);
    value_push(lua, buf_slice(&ask->bytes));
    return 1;
}

/* --- ahead --- */

typedef int (*commands_to)(void *user, struct slice context, struct slice name, struct slice id,
                           const struct ask_command *commands, size_t count, struct buf *json,
                           struct fault *fault);

static int give_commands(lua_State *lua, const char *word, commands_to give)
{
    struct ask *ask = ask_of(lua);
    struct ask_command commands[ASK_COMMANDS_MAX];
    struct fault fault;
    struct target target = target_of(lua, 1, word, true);
    size_t count = take_commands(lua, ask, 2, commands);
    buf_clear(&ask->line);
    if (give(ask->host->user, target.context, target.name, target.id, commands, count, &ask->line, &fault) <
        0)
        return fault.code == FAULT_REJECTED
                   ? vm_raise(lua, FAULT_SCRIPT, 1, "rejected (%s): %s", fault.reason, fault.text)
                   : ask_raise(lua, &fault);
    return push_json(lua, ask, &ask->line);
}

static int word_dry(lua_State *lua)
{
    return give_commands(lua, "dry", ask_of(lua)->host->dry);
}

static int word_send(lua_State *lua)
{
    return give_commands(lua, "send", ask_of(lua)->host->send);
}

/* --- behind --- */

static lua_Integer integer_field(lua_State *lua, int index, const char *name)
{
    lua_getfield(lua, index, name);
    lua_Integer value = lua_isinteger(lua, -1) ? lua_tointeger(lua, -1) : 0;
    lua_pop(lua, 1);
    return value;
}

/* Whether the value is a query of events: then its first one is put in its place. */
static void take_first(lua_State *lua, int index)
{
    int top = lua_gettop(lua);
    if (luaL_getmetafield(lua, index, "__index") == LUA_TNIL) return;
    lua_pushliteral(lua, "first");
    if (lua_type(lua, -2) == LUA_TTABLE && lua_rawget(lua, -2) == LUA_TFUNCTION) {
        lua_pushvalue(lua, index);
        lua_call(lua, 1, 1);
        lua_replace(lua, index);
        lua_settop(lua, index);
        if (lua_isnil(lua, index)) vm_raise(lua, FAULT_NOT_FOUND, 1, "there is no such event");
        return;
    }
    lua_settop(lua, top);
}

/* The position of an event as a value, an event's number, or 0. */
static uint64_t position_of(lua_State *lua, int index)
{
    int kind = lua_type(lua, index);
    if (lua_isinteger(lua, index)) return (uint64_t)lua_tointeger(lua, index);
    if (kind != LUA_TTABLE && kind != LUA_TUSERDATA) return 0;
    if (kind == LUA_TUSERDATA && luaL_getmetafield(lua, index, "__index") == LUA_TNIL) return 0;
    if (kind == LUA_TUSERDATA) lua_pop(lua, 1);
    lua_getfield(lua, index, "type"); /* a stream has a position, but no type */
    bool is_event = lua_type(lua, -1) == LUA_TSTRING;
    lua_pop(lua, 1);
    lua_Integer position = is_event ? integer_field(lua, index, "position") : 0;
    return position > 0 ? (uint64_t)position : 0;
}

/* The position of the last event of the stream that the text names; 0: it names none. */
static uint64_t position_of_stream(lua_State *lua, struct ask *ask, struct slice text)
{
    struct slice context, name, id;
    struct fault fault;
    uint64_t version = 0, position = 0;
    if (text_split_stream(text, &context, &name, &id, &fault) < 0) return 0;
    int aggregate =
        domain_find_aggregate(ask->domain, slice_make(text.data, (size_t)(id.data - text.data) - 1));
    if (aggregate < 0) return 0;
    buf_clear(&ask->bytes);
    if (ask->host->state(ask->host->user, aggregate, id, SLICE_NONE, &version, &position, &ask->bytes,
                         &fault) < 0)
        ask_raise(lua, &fault);
    if (!version) vm_raise(lua, FAULT_NOT_FOUND, 1, "stream %.*s has no event", SLICE_ARGS(text));
    return position;
}

static int word_trace(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    struct slice id = SLICE_NONE;
    struct fault fault;
    lua_settop(lua, 1);
    take_first(lua, 1);
    uint64_t position = position_of(lua, 1);
    if (!position && lua_type(lua, 1) == LUA_TTABLE) position = (uint64_t)integer_field(lua, 1, "position");
    if (!position) {
        if (lua_type(lua, 1) != LUA_TSTRING)
            return vm_raise(
                lua, FAULT_SCRIPT, 1,
                "trace(X): the id of a correlation, command or event, an event, its position, or a stream");
        id.data = lua_tolstring(lua, 1, &id.size);
        position = position_of_stream(lua, ask, id);
    }
    buf_clear(&ask->line);
    if (ask->host->trace(ask->host->user, position, id, &ask->line, &fault) < 0)
        return ask_raise(lua, &fault);
    return push_json(lua, ask, &ask->line);
}

static int word_blame(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    struct ask_blame asked = {0};
    struct fault fault;
    lua_settop(lua, 2);
    const struct loader_projection *const *view = luaL_testudata(lua, 1, "view");
    if (!view) take_first(lua, 1);
    asked.position = view ? 0 : position_of(lua, 1);
    if (view) {
        asked.view = (*view)->declared.name;
    } else if (!asked.position) {
        struct slice text = stream_text(lua, 1, "blame");
        if (!lua_isnil(lua, 2))
            asked.view = text;
        else if (memchr(text.data, '/', text.size)) {
            struct target target = target_of(lua, 1, "blame", false);
            asked.aggregate = slice_make(text.data, (size_t)(target.id.data - text.data) - 1);
            asked.id = target.id;
        } else {
            asked.event = text;
        }
    }
    if (asked.view.size) asked.key = ask_text(lua, 2, "the key of a document");
    buf_clear(&ask->line);
    if (ask->host->blame(ask->host->user, &asked, &ask->line, &fault) < 0) return ask_raise(lua, &fault);
    return push_json(lua, ask, &ask->line);
}

/* --- specs --- */

static uint64_t version_at(lua_State *lua, int index, uint64_t otherwise)
{
    if (lua_isnoneornil(lua, index)) return otherwise;
    if (!lua_isinteger(lua, index) || lua_tointeger(lua, index) < 1)
        vm_raise(lua, FAULT_SCRIPT, 1, "spec_from(STREAM, from, to): versions are integers from 1 on");
    return (uint64_t)lua_tointeger(lua, index);
}

/* "bill_7_spec.lua": what is no plain character is left out. */
static void put_file_name(const struct target *target, struct buf *out)
{
    struct slice parts[2] = {target->name, target->id};
    for (int part = 0; part < 2; part++) {
        for (size_t at = 0; at < parts[part].size; at++) {
            char c = parts[part].data[at];
            bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         c == '-' || c == '_';
            buf_put_byte(out, (uint8_t)(plain ? c : '_'));
        }
        buf_put_text(out, part == 0 ? "_" : "_spec.lua");
    }
}

static int word_spec_from(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    struct fault fault;
    struct target target = target_of(lua, 1, "spec_from", false);
    struct slice name = slice_make(target.context.data, (size_t)(target.id.data - target.context.data) - 1);
    int aggregate = domain_find_aggregate(ask->domain, name);
    uint64_t from = version_at(lua, 2, 1), to = version_at(lua, 3, UINT64_MAX);
    if (aggregate < 0) return vm_raise(lua, FAULT_NOT_FOUND, 1, "no aggregate %.*s", SLICE_ARGS(name));
    if (to < from) return vm_raise(lua, FAULT_SCRIPT, 1, "spec_from(STREAM, from, to): to is before from");
    buf_clear(&ask->bytes);
    if (ask->host->spec(ask->host->user, aggregate, target.id, from, to, &ask->bytes, &fault) < 0)
        return ask_raise(lua, &fault);
    buf_clear(&ask->line);
    buf_put_text(&ask->line, "{\"file\":{\"name\":\"");
    put_file_name(&target, &ask->line);
    buf_put_byte(&ask->line, '"');
    json_put_text_member(&ask->line, "text", buf_slice(&ask->bytes));
    buf_put_text(&ask->line, "}}");
    ask_tell(lua, ask, buf_slice(&ask->line));
    return 0;
}

/* --- the past --- */

/* at "2026-05-01" moves the session there, at() back to now; says where it is. */
static int word_at(lua_State *lua)
{
    struct ask *ask = ask_of(lua);
    struct fault fault;
    struct slice moment = lua_isnoneornil(lua, 1) ? SLICE_NONE : ask_text(lua, 1, "a moment");
    buf_clear(&ask->bytes);
    if (ask->host->set_moment(ask->host->user, moment, &ask->bytes, &fault) < 0)
        return ask_raise(lua, &fault);
    lua_pushlstring(lua, ask->bytes.data, ask->bytes.size);
    return 1;
}

void ask_add_insight(struct ask *ask)
{
    static const luaL_Reg functions[] = {
        {"dry", word_dry}, {"send", word_send},           {"trace", word_trace}, {"blame", word_blame},
        {"at", word_at},   {"spec_from", word_spec_from}, {NULL, NULL}};
    ask_set_functions(ask, functions);
}

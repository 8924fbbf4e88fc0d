/* Names in queries and questions that nothing has: said at once and with the nearest one, since a query that
 * finds nothing because of a slip looks like one that is right. What only the log has (a type that the
 * contracts do not have any more, "$Sent") is known too. */
#include "vm/ask_events.h"
#include "vm/nearest.h"

/* --- what there is --- */

/* What follows the last '/' or '.', and what stands before it. */
static void split_at(struct slice name, char c, struct slice *before, struct slice *last)
{
    const char *at = name.size ? memrchr(name.data, c, name.size) : NULL;
    *before = at ? slice_make(name.data, (size_t)(at - name.data)) : SLICE_NONE;
    *last = at ? slice_make(at + 1, name.size - before->size - 1) : name;
}

enum log_part { LOG_WHOLE, LOG_BEFORE, LOG_LAST };

/* Whether the log has the name: as a whole, or as one side of "billing/bill". */
static bool log_has(const struct ask *ask, struct slice name, enum log_part part)
{
    struct slice found, before, last;
    if (!ask->host->log_name) return false;
    for (uint32_t at = 1; (found = ask->host->log_name(ask->host->user, at)).size; at++) {
        split_at(found, '/', &before, &last);
        struct slice side = part == LOG_WHOLE ? found : part == LOG_BEFORE ? before : last;
        if ((part == LOG_WHOLE || before.size) && slice_equal(side, name)) return true;
    }
    return false;
}

static void refuse(lua_State *lua, const char *what, struct slice name, const struct nearest *near)
{
    struct slice found = nearest_found(near);
    vm_raise(lua, FAULT_SCRIPT, 1, "no %s %.*s%s%.*s%s", what, SLICE_ARGS(name),
             found.size ? ": did you mean " : "", SLICE_ARGS(found), found.size ? "?" : "");
}

/* --- of filters --- */

static void check_context(lua_State *lua, struct ask *ask, struct slice name)
{
    const struct loader *loader = ask->domain->loader;
    struct nearest near = nearest_to(name);
    for (size_t at = 0; at < loader_context_count(loader); at++) {
        if (slice_equal(loader_context(loader, at), name)) return;
        nearest_offer(&near, loader_context(loader, at));
    }
    if (!log_has(ask, name, LOG_BEFORE)) refuse(lua, "context", name, &near);
}

/* "bill" or "billing/bill" */
static void check_aggregate(lua_State *lua, struct ask *ask, struct slice name)
{
    const struct loader *loader = ask->domain->loader;
    bool is_whole = name.size && memchr(name.data, '/', name.size);
    struct nearest near = nearest_to(name);
    for (size_t at = 0; at < loader_aggregate_count(loader); at++) {
        const struct loader_aggregate *aggregate = loader_aggregate(loader, at);
        struct slice offered = is_whole ? aggregate->declared.name : aggregate->short_name;
        if (slice_equal(offered, name)) return;
        nearest_offer(&near, offered);
    }
    if (!log_has(ask, name, is_whole ? LOG_WHOLE : LOG_LAST)) refuse(lua, "aggregate", name, &near);
}

/* Whether an event of that name is in the contracts; else *near has been offered all. */
static bool contracts_have(const struct ask *ask, struct slice type, struct nearest *near)
{
    const struct contracts *contracts = loader_contracts(ask->domain->loader);
    for (size_t at = 0; at < contracts_count(contracts); at++) {
        const struct contract_message *message = contracts_at(contracts, at);
        if (!message->is_event) continue;
        if (slice_equal(message->name, type)) return true;
        nearest_offer(near, message->name);
    }
    return false;
}

/* "BillClosed" or "billing.BillClosed" */
static void check_type(lua_State *lua, struct ask *ask, struct slice name)
{
    struct slice context, type;
    split_at(name, '.', &context, &type);
    struct nearest near = nearest_to(type);
    if (context.size) check_context(lua, ask, context);
    if (!contracts_have(ask, type, &near) && !log_has(ask, type, LOG_WHOLE))
        refuse(lua, "event", name, &near);
}

void ask_known_filter(lua_State *lua, struct ask *ask, int filter)
{
    static const struct {
        const char *name;
        void (*check)(lua_State *lua, struct ask *ask, struct slice name);
    } checks[] = {{"context", check_context}, {"aggregate", check_aggregate}};
    struct slice text = SLICE_NONE;
    for (size_t at = 0; at < sizeof checks / sizeof *checks; at++) {
        if (lua_getfield(lua, filter, checks[at].name) == LUA_TSTRING) {
            text.data = lua_tolstring(lua, -1, &text.size);
            checks[at].check(lua, ask, text);
        }
        lua_pop(lua, 1);
    }
    if (lua_getfield(lua, filter, "types") == LUA_TTABLE) {
        for (lua_Integer at = 1; lua_rawgeti(lua, -1, at) == LUA_TSTRING; at++) {
            text.data = lua_tolstring(lua, -1, &text.size);
            check_type(lua, ask, text);
            lua_pop(lua, 1);
        }
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
}

/* --- of fields --- */

/* Whether the rows of the parts at index are events whose contracts are known: nothing was made of them, no
 * document joined, and no type is asked for that only the log has. */
static bool has_known_rows(lua_State *lua, const struct ask *ask, int parts)
{
    bool known = true;
    lua_getfield(lua, parts, "stages");
    for (lua_Integer at = 1; lua_rawgeti(lua, -1, at) == LUA_TTABLE; at++) {
        lua_getfield(lua, -1, "kind");
        lua_Integer kind = lua_tointeger(lua, -1);
        known = known && kind != SEEK_MAP && kind != SEEK_JOIN;
        lua_pop(lua, 2);
    }
    lua_pop(lua, 2);
    lua_getfield(lua, parts, "filter");
    if (lua_getfield(lua, -1, "types") == LUA_TTABLE) {
        struct slice name = SLICE_NONE, context, type;
        for (lua_Integer at = 1; lua_rawgeti(lua, -1, at) == LUA_TSTRING; at++) {
            name.data = lua_tolstring(lua, -1, &name.size);
            split_at(name, '.', &context, &type);
            struct nearest near = nearest_to(type);
            known = known && contracts_have(ask, type, &near);
            lua_pop(lua, 1);
        }
        lua_pop(lua, 1);
    }
    lua_pop(lua, 2);
    return known;
}

void ask_known_field(lua_State *lua, struct ask *ask, int index, const char *what)
{
    const struct contracts *contracts = loader_contracts(ask->domain->loader);
    struct slice text = SLICE_NONE;
    struct seek_path path;
    if (lua_type(lua, index) != LUA_TSTRING) return;
    text.data = lua_tolstring(lua, index, &text.size);
    if (!seek_path_read(text, &path) || path.event.size == 0) return; /* of the envelope */
    if (!ask_query_push(lua, 1)) return;
    bool known = has_known_rows(lua, ask, lua_gettop(lua));
    lua_pop(lua, 1);
    if (!known) return;
    const char *dot = memchr(path.event.data, '.', path.event.size);
    struct slice name = slice_make(path.event.data, dot ? (size_t)(dot - path.event.data) : path.event.size);
    struct nearest near = nearest_to(name);
    bool has_events = false;
    for (size_t at = 0; at < contracts_count(contracts); at++) {
        const struct contract_message *message = contracts_at(contracts, at);
        if (!message->is_event) continue;
        has_events = true;
        for (size_t field = 0; field < message->type.field_count; field++) {
            if (slice_equal(message->type.fields[field].name, name)) return;
            nearest_offer(&near, message->type.fields[field].name);
        }
    }
    struct slice found = nearest_found(&near);
    if (has_events)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: no event has a field %.*s%s%.*s%s", what, SLICE_ARGS(name),
                 found.size ? ": did you mean " : "", SLICE_ARGS(found), found.size ? "?" : "");
}

/* The aggregate's own word on whether two events exclude each other. */
#include <lauxlib.h>

#include "vm/domain_core.h"

struct conflict {
    struct domain *domain;
    const struct loader_aggregate *aggregate;
    const struct domain_event *events[2]; /* mine, theirs */
    bool found;
};

/* Pushes { type, at, … the envelope …, data = { … } }. */
static void push_event_value(struct domain *domain, const struct domain_event *event)
{
    lua_State *lua = domain->vm->lua;
    const struct envelope *envelope = event->envelope;
    const struct contract_message *message =
        contracts_find(loader_contracts(domain->loader), envelope->context, envelope->type);
    envelope_view_open(domain->m, envelope, ENVELOPE_LOGGED);
    envelope_push_table(lua, domain->m);
    if (message && message->is_event)
        domain_push_event(domain, message, envelope->type_version, event->data, domain->m_ref);
    else
        lua_newtable(lua); /* a type that the scripts no longer know */
    lua_setfield(lua, -2, "data");
    envelope_view_close(domain->m);
}

static int ask_conflicts(lua_State *lua)
{
    struct conflict *conflict = lua_touserdata(lua, 1);
    const struct loader_aggregate *aggregate = conflict->aggregate;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, aggregate->conflicts);
    for (int at = 0; at < 2; at++) push_event_value(conflict->domain, conflict->events[at]);
    lua_call(lua, 2, 1);
    if (!lua_isboolean(lua, -1)) {
        char what[128];
        domain_raise_at(conflict->domain, aggregate->path, aggregate->line,
                        "conflicts of %s must return true or false, it returned %s",
                        aggregate->short_name.data, domain_describe_value(lua, -1, what));
    }
    conflict->found = lua_toboolean(lua, -1);
    return 0;
}

bool domain_has_conflicts(const struct domain *domain, int aggregate)
{
    return loader_aggregate(domain->loader, (size_t)aggregate)->conflicts != LUA_NOREF;
}

int domain_conflicts(struct domain *domain, int aggregate, const struct domain_event *mine,
                     const struct domain_event *theirs, bool *conflicts, struct fault *fault)
{
    struct conflict conflict = {.domain = domain,
                                .aggregate = loader_aggregate(domain->loader, (size_t)aggregate),
                                .events = {mine, theirs},
                                .found = true};
    if (conflict.aggregate->conflicts != LUA_NOREF) {
        struct fault wrong = {0};
        lua_pushcfunction(domain->vm->lua, ask_conflicts);
        lua_pushlightuserdata(domain->vm->lua, &conflict);
        int result = vm_call(domain->vm, 1, 0, &wrong);
        envelope_view_close(domain->m);
        if (result < 0) {
            domain_blame_script(domain, NULL, "", &wrong);
            if (fault) *fault = wrong;
            return -1;
        }
    }
    *conflicts = conflict.found;
    return 0;
}

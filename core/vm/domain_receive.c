/* Receptors: one event in, commands to send out. */
#include <lauxlib.h>

#include "base/check.h"
#include "vm/sends.h"

size_t domain_receptor_count(const struct domain *domain)
{
    return loader_receptor_count(domain->loader);
}

const struct domain_receptor *domain_receptor(const struct domain *domain, int index)
{
    return &loader_receptor(domain->loader, (size_t)index)->declared;
}

int domain_find_receptor(const struct domain *domain, struct slice name)
{
    for (size_t index = 0; index < loader_receptor_count(domain->loader); index++)
        if (slice_equal(loader_receptor(domain->loader, index)->declared.name, name)) return (int)index;
    return -1;
}

struct reception {
    struct domain *domain;
    const struct loader_handler *handler;
    const struct envelope *envelope;
    struct slice data;
};

static int run_reception(lua_State *lua)
{
    struct reception *reception = lua_touserdata(lua, 1);
    struct domain *domain = reception->domain;
    const struct loader_handler *handler = reception->handler;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, handler->function);
    int arguments = handler->parameters < 2 ? handler->parameters : 2;
    if (arguments >= 1)
        domain_push_event(domain, handler->message, reception->envelope->type_version, reception->data,
                          domain->m_ref);
    if (arguments >= 2) lua_rawgeti(lua, LUA_REGISTRYINDEX, domain->m_ref);
    lua_call(lua, arguments, 1);
    if (lua_isnil(lua, -1)) return 0;
    char what[128];
    return domain_raise_at(domain, handler->path, handler->line,
                           "when.%s sends and must return nothing, it returned %s",
                           handler->message->name.data, domain_describe_value(lua, -1, what));
}

static const struct loader_handler *find_handler(const struct loader_receptor *receptor,
                                                 const struct envelope *envelope)
{
    for (size_t at = 0; at < receptor->when_count; at++) {
        const struct contract_message *message = receptor->when[at].message;
        if (slice_equal(message->name, envelope->type) && slice_equal(message->context, envelope->context))
            return &receptor->when[at];
    }
    return NULL;
}

int domain_receive(struct domain *domain, int index, const struct envelope *envelope, struct slice data,
                   struct arena *arena, struct domain_output *output, struct fault *fault)
{
    CHECK(domain->sends == NULL);
    const struct loader_receptor *receptor = loader_receptor(domain->loader, (size_t)index);
    struct reception reception = {
        .domain = domain, .handler = find_handler(receptor, envelope), .envelope = envelope, .data = data};
    *output = (struct domain_output){0};
    if (!reception.handler) return 0;
    struct domain_output gathered = {0};
    struct sends sends = {.context = receptor->declared.context,
                          .arena = arena,
                          .output = &gathered,
                          .before = arena->total,
                          .now_ms = envelope->recorded_ms};
    struct fault failure = {0};
    domain->sends = &sends;
    envelope_view_open(domain->m, envelope, ENVELOPE_LOGGED);
    lua_pushcfunction(domain->vm->lua, run_reception);
    lua_pushlightuserdata(domain->vm->lua, &reception);
    int result = vm_call(domain->vm, 1, 0, &failure);
    envelope_view_close(domain->m);
    domain->sends = NULL;
    if (result == 0) {
        *output = gathered;
        return 0;
    }
    domain_blame_script(domain, reception.handler, "when", &failure);
    if (fault) *fault = failure;
    return -1;
}

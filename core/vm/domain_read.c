/* Stored events held against contracts, for what asks how new scripts would see them; contracts as lists of
 * fields, for what compares those of two domains. */
#include <lauxlib.h>

#include "base/buf.h"
#include "vm/contract.h"
#include "vm/domain_core.h"
#include "vm/value.h"

/* --- contracts as lists --- */

static bool is_handled(const struct domain *domain, const struct contract_message *message)
{
    const struct loader *loader = domain->loader;
    for (size_t at = 0; at < loader_aggregate_count(loader); at++) {
        const struct loader_aggregate *aggregate = loader_aggregate(loader, at);
        for (size_t of = 0; of < aggregate->apply_count; of++)
            if (aggregate->apply[of].message == message) return true;
    }
    for (size_t at = 0; at < loader_projection_count(loader); at++) {
        const struct loader_projection *projection = loader_projection(loader, at);
        for (size_t of = 0; of < projection->when_count; of++)
            if (projection->when[of].message == message) return true;
    }
    for (size_t at = 0; at < loader_receptor_count(loader); at++) {
        const struct loader_receptor *receptor = loader_receptor(loader, at);
        for (size_t of = 0; of < receptor->when_count; of++)
            if (receptor->when[of].message == message) return true;
    }
    return false;
}

static void tell_type(const struct domain *domain, const struct contract_message *message,
                      struct domain_event_type *type)
{
    *type = (struct domain_event_type){.context = message->context,
                                       .name = message->name,
                                       .version = message->version,
                                       .handled = is_handled(domain, message)};
}

bool domain_next_event_type(const struct domain *domain, size_t *at, struct domain_event_type *type)
{
    const struct contracts *contracts = loader_contracts(domain->loader);
    while (*at < contracts_count(contracts)) {
        const struct contract_message *message = contracts_at(contracts, (*at)++);
        if (!message->is_event) continue;
        tell_type(domain, message, type);
        return true;
    }
    return false;
}

static const struct contract_message *find_event(const struct domain *domain, struct slice context,
                                                 struct slice name)
{
    const struct contract_message *message = contracts_find(loader_contracts(domain->loader), context, name);
    return message && message->is_event ? message : NULL;
}

bool domain_find_event_type(const struct domain *domain, struct slice context, struct slice name,
                            struct domain_event_type *type)
{
    const struct contract_message *message = find_event(domain, context, name);
    if (message) tell_type(domain, message, type);
    return message != NULL;
}

struct listing {
    struct arena *arena;
    struct domain_field *fields; /* NULL: they are only counted */
    size_t count;
};

static void list_fields(struct listing *listing, struct slice path, const struct contract_type *type);

static void list_place(struct listing *listing, struct slice path, const struct contract_type *type,
                       bool optional)
{
    if (listing->fields) {
        struct buf text = {0};
        contract_put_type(&text, type);
        struct slice shown = type->kind == CONTRACT_RECORD ? slice_of("record")
                             : type->kind == CONTRACT_LIST ? slice_of("list")
                             : type->kind == CONTRACT_MAP  ? slice_of("map")
                                                           : buf_slice(&text);
        listing->fields[listing->count] =
            (struct domain_field){path, arena_copy(listing->arena, shown), optional};
        buf_release(&text);
    }
    listing->count++;
    list_fields(listing, path, type);
}

static void list_fields(struct listing *listing, struct slice path, const struct contract_type *type)
{
    if (type->kind == CONTRACT_LIST || type->kind == CONTRACT_MAP) {
        const char *step = type->kind == CONTRACT_LIST ? "[]" : "{}";
        list_place(listing, arena_format(listing->arena, "%.*s%s", SLICE_ARGS(path), step), type->item,
                   false);
        return;
    }
    for (size_t at = 0; at < type->field_count; at++) {
        const struct contract_field *field = &type->fields[at];
        list_place(listing,
                   arena_format(listing->arena, "%.*s%s%.*s", SLICE_ARGS(path), path.size ? "." : "",
                                SLICE_ARGS(field->name)),
                   &field->type, field->optional);
    }
}

size_t domain_event_fields(const struct domain *domain, struct slice context, struct slice name,
                           struct arena *arena, const struct domain_field **fields)
{
    const struct contract_message *message = find_event(domain, context, name);
    struct listing listing = {.arena = arena};
    *fields = NULL;
    if (!message) return 0;
    list_fields(&listing, SLICE_NONE, &message->type);
    listing.fields = arena_take(arena, (listing.count + 1) * sizeof *listing.fields);
    listing.count = 0;
    list_fields(&listing, SLICE_NONE, &message->type);
    *fields = listing.fields;
    return listing.count;
}

/* --- one stored event --- */

static bool is_declared(const struct contract_type *type, struct slice name)
{
    for (size_t at = 0; at < type->field_count; at++)
        if (slice_equal(type->fields[at].name, name)) return true;
    return false;
}

static void strip(lua_State *lua, int table, const struct contract_type *type);

/* Of the value on top, which goes. */
static void strip_item(lua_State *lua, const struct contract_type *type)
{
    if (lua_type(lua, -1) == LUA_TTABLE) strip(lua, lua_gettop(lua), type);
    lua_pop(lua, 1);
}

static void strip_record(lua_State *lua, int table, const struct contract_type *type)
{
    for (lua_pushnil(lua); lua_next(lua, table) != 0; lua_pop(lua, 1)) {
        if (lua_type(lua, -2) != LUA_TSTRING) continue;
        size_t size;
        const char *text = lua_tolstring(lua, -2, &size);
        if (is_declared(type, slice_make(text, size))) continue;
        lua_pushvalue(lua, -2);
        lua_pushnil(lua);
        lua_rawset(lua, table);
    }
    for (size_t at = 0; at < type->field_count; at++) {
        lua_pushlstring(lua, type->fields[at].name.data, type->fields[at].name.size);
        lua_rawget(lua, table);
        strip_item(lua, &type->fields[at].type);
    }
}

/* Takes out of a plain table, which nobody else has, what the contract does not declare. */
static void strip(lua_State *lua, int table, const struct contract_type *type)
{
    luaL_checkstack(lua, 8, "an event nests too deeply");
    if (type->kind == CONTRACT_RECORD) strip_record(lua, table, type);
    if (type->kind != CONTRACT_LIST && type->kind != CONTRACT_MAP) return;
    for (lua_pushnil(lua); lua_next(lua, table) != 0;) strip_item(lua, type->item);
}

struct event_read {
    struct domain *domain;
    const struct contract_message *message;
    const struct envelope *envelope;
    struct slice data;
};

static int read_stored(lua_State *lua)
{
    struct event_read *read = lua_touserdata(lua, 1);
    struct domain *domain = read->domain;
    domain_push_event(domain, read->message, read->envelope->type_version, read->data, domain->m_ref);
    if (read->envelope->type_version == read->message->version) {
        strip(lua, lua_gettop(lua), &read->message->type);
        contract_check(lua, -1, read->message, 0);
    }
    buf_clear(&domain->scratch);
    value_encode(lua, -1, &domain->scratch, read->message->name.data, domain->message_size_max);
    return 0;
}

int domain_read_event(struct domain *domain, const struct envelope *envelope, struct slice data,
                      struct arena *arena, struct slice *canonical, struct fault *fault)
{
    struct event_read read = {.domain = domain,
                              .message = find_event(domain, envelope->context, envelope->type),
                              .envelope = envelope,
                              .data = data};
    if (!read.message)
        return fault_set(fault, FAULT_NOT_FOUND, "context %.*s has no event %.*s",
                         SLICE_ARGS(envelope->context), SLICE_ARGS(envelope->type));
    envelope_view_open(domain->m, envelope, ENVELOPE_APPLYING);
    lua_pushcfunction(domain->vm->lua, read_stored);
    lua_pushlightuserdata(domain->vm->lua, &read);
    int result = vm_call(domain->vm, 1, 0, fault);
    envelope_view_close(domain->m);
    if (result == 0) *canonical = arena_copy(arena, buf_slice(&domain->scratch));
    return result;
}

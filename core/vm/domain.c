#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "base/limit.h"
#include "base/mem.h"
#include "codec/text.h"
#include "vm/domain_core.h"
#include "vm/lazy.h"
#include "vm/nearest.h"
#include "vm/readonly.h"
#include "vm/run.h"
#include "vm/value.h"

/* What the domain needs in its Lua state before scripts load: the two m, string.format, the words of
 * handlers. */
static int domain_prepare(lua_State *lua)
{
    struct domain *domain = lua_touserdata(lua, 1);
    domain->m = envelope_view_push(lua);
    domain->m_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    domain->m_applying = envelope_view_push(lua);
    domain->m_applying_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, domain->vm->script_env);
    lua_getfield(lua, -1, "string");
    lua_getfield(lua, -1, "format");
    domain->format_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

static int domain_make_globals(lua_State *lua)
{
    struct domain *domain = lua_touserdata(lua, 1);
    lua_newtable(lua);
    domain_add_words(domain);
    lazy_add_words(lua);
    sends_add_words(domain);
    run_add_http(domain);
    run_add_views(domain);
    run_add_words(domain);
    domain->globals_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

static int domain_load(struct domain *domain, struct buf *errors, struct fault *fault)
{
    struct vm *vm = domain->vm;
    if (vm_protected(vm, domain_prepare, domain, fault) < 0) return -1;
    if (vm_protected(vm, domain_make_globals, domain, fault) < 0) return -1;
    struct loader_options options = {.vm = vm,
                                     .sources = domain->sources,
                                     .globals = domain->globals_ref,
                                     .document_size_max = domain->document_size_max,
                                     .on_demand_later = domain->on_demand_later};
    return loader_load(&options, &domain->loader, errors, fault);
}

int domain_open(const struct domain_options *options, struct domain **result, struct buf *errors,
                struct fault *fault)
{
    struct domain *domain = MEM_NEW(struct domain);
    domain->sources = options->sources;
    domain->on_demand_later = options->on_demand_later;
    domain->message_size_max = options->message_size_max ? options->message_size_max : LIMIT_MESSAGE_SIZE_MAX;
    domain->document_size_max =
        options->document_size_max ? options->document_size_max : LIMIT_DOCUMENT_SIZE_MAX;
    struct vm_options vm_options = {.memory_max = options->memory_max,
                                    .call_memory_max = options->call_memory_max,
                                    .instructions_max = options->instructions_max,
                                    .has_owners = options->counts_runs};
    domain->counts_runs = options->counts_runs;
    domain->vm = vm_new(&vm_options);
    if (domain_load(domain, errors, fault) < 0) {
        domain_close(domain);
        return -1;
    }
    *result = domain;
    return 0;
}

void domain_close(struct domain *domain)
{
    if (!domain) return;
    rows_import_free(domain->import);
    vm_free(domain->vm); /* frees the two m with it */
    if (domain->loader) loader_free(domain->loader);
    handles_release(&domain->states);
    buf_release(&domain->scratch);
    plain_seen_release(&domain->seen);
    mem_free(domain);
}

void domain_set_exact(struct domain *domain, bool exact)
{
    domain->vm->exact = exact;
}

bool domain_must_repeat(const struct domain *domain)
{
    return domain->vm->must_repeat;
}

void domain_collect_later(struct domain *domain, bool later)
{
    if (domain->collects_later == later) return;
    domain->collects_later = later;
    vm_collect_later(domain->vm, later);
}

size_t domain_memory(const struct domain *domain)
{
    return domain->vm->memory_used;
}

struct slice domain_warnings(const struct domain *domain)
{
    return loader_warnings(domain->loader);
}

struct slice domain_hub_options(const struct domain *domain)
{
    return loader_hub_options(domain->loader);
}

void domain_describe(const struct domain *domain, struct buf *json)
{
    loader_describe(domain->loader, json);
}

/* --- what is declared --- */

size_t domain_aggregate_count(const struct domain *domain)
{
    return loader_aggregate_count(domain->loader);
}

const struct domain_aggregate *domain_aggregate(const struct domain *domain, int index)
{
    return &loader_aggregate(domain->loader, (size_t)index)->declared;
}

int domain_find_aggregate(const struct domain *domain, struct slice name)
{
    size_t count = loader_aggregate_count(domain->loader);
    for (size_t index = 0; index < count; index++)
        if (slice_equal(loader_aggregate(domain->loader, index)->declared.name, name)) return (int)index;
    return -1;
}

size_t domain_context_count(const struct domain *domain)
{
    return loader_context_count(domain->loader);
}

struct slice domain_context(const struct domain *domain, size_t index)
{
    return loader_context(domain->loader, index);
}

bool domain_has_context(const struct domain *domain, struct slice context)
{
    return loader_has_context(domain->loader, context);
}

const struct loader_handler *domain_handler_of(const struct loader_handler *handlers, size_t count,
                                               struct slice type)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_compare(handlers[middle].message->name, type);
        if (order == 0) return &handlers[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool domain_has_handler(const struct loader_handler *handlers, size_t count, struct slice command,
                        struct slice *nearest)
{
    if (domain_handler_of(handlers, count, command)) return true;
    if (nearest) {
        struct nearest near = nearest_to(command);
        for (size_t at = 0; at < count; at++) nearest_offer(&near, handlers[at].message->name);
        *nearest = nearest_found(&near);
    }
    return false;
}

bool domain_handles(const struct domain *domain, int index, struct slice command, struct slice *nearest)
{
    const struct loader_aggregate *aggregate = loader_aggregate(domain->loader, (size_t)index);
    return domain_has_handler(aggregate->execute, aggregate->execute_count, command, nearest);
}

size_t domain_projection_count(const struct domain *domain)
{
    return loader_projection_count(domain->loader);
}

const struct domain_projection *domain_projection(const struct domain *domain, int index)
{
    return &loader_projection(domain->loader, (size_t)index)->declared;
}

int domain_find_projection(const struct domain *domain, struct slice name)
{
    size_t count = loader_projection_count(domain->loader);
    for (size_t index = 0; index < count; index++)
        if (slice_equal(loader_projection(domain->loader, index)->declared.name, name)) return (int)index;
    return -1;
}

uint32_t domain_event_version(const struct domain *domain, struct slice context, struct slice type)
{
    const struct contract_message *message = contracts_find(loader_contracts(domain->loader), context, type);
    return message && message->is_event ? message->version : 0;
}

/* --- checks at the door --- */

struct message_check {
    struct domain *domain;
    const struct contract_message *message;
    struct slice data;
};

static int check_message(lua_State *lua)
{
    struct message_check *check = lua_touserdata(lua, 1);
    struct domain *domain = check->domain;
    value_push(lua, check->data);
    contract_check(lua, -1, check->message, 0);
    buf_clear(&domain->scratch);
    value_encode(lua, -1, &domain->scratch, check->message->name.data, domain->message_size_max);
    return 0;
}

int domain_check_message(struct domain *domain, const struct contract_message *message, struct slice data,
                         struct arena *arena, struct slice *canonical, struct fault *fault)
{
    struct message_check check = {.domain = domain, .message = message, .data = data};
    if (vm_protected(domain->vm, check_message, &check, fault) < 0) return -1;
    *canonical = arena_copy(arena, buf_slice(&domain->scratch));
    return 0;
}

int domain_check_handled(struct domain *domain, struct slice name, const struct loader_handler *handlers,
                         size_t count, struct slice type, struct slice data, struct arena *arena,
                         struct slice *canonical, struct fault *fault)
{
    const struct loader_handler *handler = domain_handler_of(handlers, count, type);
    if (handler) return domain_check_message(domain, handler->message, data, arena, canonical, fault);
    struct slice nearest;
    domain_has_handler(handlers, count, type, &nearest);
    return fault_set(fault, FAULT_UNKNOWN_COMMAND, "%.*s has no command %.*s%s%.*s%s", SLICE_ARGS(name),
                     SLICE_ARGS(type), nearest.size ? ": did you mean " : "", SLICE_ARGS(nearest),
                     nearest.size ? "?" : "");
}

int domain_check_command(struct domain *domain, int index, struct slice type, struct slice data,
                         struct arena *arena, struct slice *canonical, struct fault *fault)
{
    const struct loader_aggregate *aggregate = loader_aggregate(domain->loader, (size_t)index);
    return domain_check_handled(domain, aggregate->declared.name, aggregate->execute,
                                aggregate->execute_count, type, data, arena, canonical, fault);
}

int domain_check_event(struct domain *domain, struct slice context, struct slice type, struct slice data,
                       struct arena *arena, struct slice *canonical, uint32_t *type_version,
                       struct fault *fault)
{
    const struct contracts *contracts = loader_contracts(domain->loader);
    const struct contract_message *message = contracts_find(contracts, context, type);
    if (!message || !message->is_event) {
        struct nearest near = nearest_to(type);
        for (size_t at = 0; at < contracts_count(contracts); at++) {
            const struct contract_message *other = contracts_at(contracts, at);
            if (other->is_event && slice_equal(other->context, context)) nearest_offer(&near, other->name);
        }
        struct slice found = nearest_found(&near);
        return fault_set(fault, FAULT_CONTRACT, "context %.*s has no event %.*s%s%.*s%s", SLICE_ARGS(context),
                         SLICE_ARGS(type), found.size ? ": did you mean " : "", SLICE_ARGS(found),
                         found.size ? "?" : "");
    }
    if (domain_check_message(domain, message, data, arena, canonical, fault) < 0) return -1;
    *type_version = message->version;
    return 0;
}

/* --- events as handlers get them --- */

static void domain_upcast(struct domain *domain, const struct contract_message *message, uint32_t version,
                          int m_ref)
{
    lua_State *lua = domain->vm->lua;
    int parameters = message->upcaster_parameters[version - 1];
    lua_rawgeti(lua, LUA_REGISTRYINDEX, message->upcasters[version - 1]);
    lua_insert(lua, -2);
    if (parameters >= 2) lua_rawgeti(lua, LUA_REGISTRYINDEX, m_ref);
    lua_call(lua, parameters >= 2 ? 2 : 1, 1);
    if (contract_message_of(lua, -1)) lua_remove(lua, -2);
    if (lua_istable(lua, -1)) return;
    char what[128];
    domain_describe_value(lua, -1, what);
    vm_raise(lua, FAULT_SCRIPT, 0, "%.*s: upcast.%s.v%u must return the event, got %s",
             SLICE_ARGS(message->path), message->name.data, (unsigned)version, what);
}

void domain_push_event(struct domain *domain, const struct contract_message *message, uint32_t type_version,
                       struct slice data, int m_ref)
{
    lua_State *lua = domain->vm->lua;
    luaL_checkstack(lua, 8, NULL);
    value_push(lua, data);
    if (type_version == message->version) return;
    if (type_version == 0 || type_version > message->version) {
        vm_raise(lua, FAULT_SCRIPT, 0,
                 "%.*s:%d: a stored %s has version %u, the contract only knows versions up to %u",
                 SLICE_ARGS(message->path), message->line, message->name.data, (unsigned)type_version,
                 (unsigned)message->version);
        return;
    }
    for (uint32_t version = type_version; version < message->version; version++)
        domain_upcast(domain, message, version, m_ref);
    contract_copy(lua, -1, message, 0);
    lua_remove(lua, -2);
}

int domain_raise_at(struct domain *domain, struct slice path, int line, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return vm_raise(domain->vm->lua, FAULT_SCRIPT, 0, "%.*s:%d: %s", SLICE_ARGS(path), line, text);
}

const char *domain_describe_value(lua_State *lua, int index, char *text)
{
    int type = lua_type(lua, index);
    const struct contract_message *message = contract_message_of(lua, index);
    if (message) {
        lua_pop(lua, 1);
        snprintf(text, 128, "the %s %s", message->is_event ? "event" : "command", message->name.data);
    } else if (type == LUA_TNIL || type == LUA_TNONE) {
        snprintf(text, 128, "nil");
    } else if (type == LUA_TBOOLEAN) {
        snprintf(text, 128, "%s", lua_toboolean(lua, index) ? "true" : "false");
    } else if (type == LUA_TSTRING) {
        snprintf(text, 128, "the text '%.60s'", lua_tostring(lua, index));
    } else if (type == LUA_TUSERDATA && value_is_decimal(lua, index)) {
        snprintf(text, 128, "a decimal");
    } else {
        snprintf(text, 128, "a %s", lua_typename(lua, type));
    }
    return text;
}

static void take_item(const struct domain_returned *returned, int index, bool in_list)
{
    lua_State *lua = returned->domain->vm->lua;
    const char *dot = returned->name.size > 0 ? "." : "";
    const struct contract_message *message = contract_message_of(lua, index);
    if (message) {
        returned->take(returned->user, message);
        return;
    }
    if (in_list || lua_type(lua, index) != LUA_TTABLE) {
        char what[128];
        domain_raise_at(returned->domain, returned->path, returned->line,
                        "%s%s%.*s must return events, a list of events or nothing, it returned %s%s",
                        returned->verb, dot, SLICE_ARGS(returned->name),
                        domain_describe_value(lua, index, what), in_list ? " in a list" : "");
    }
    if (readonly_push_target(lua, index)) lua_replace(lua, index); /* a list made at file level */
    lua_Integer count = 0;
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        lua_pop(lua, 1);
        count++;
    }
    for (lua_Integer at = 1; at <= count; at++) {
        if (lua_rawgeti(lua, index, at) == LUA_TNIL)
            domain_raise_at(returned->domain, returned->path, returned->line,
                            "%s%s%.*s returned a table that is no list of events", returned->verb, dot,
                            SLICE_ARGS(returned->name));
        take_item(returned, lua_gettop(lua), true);
        lua_pop(lua, 1);
    }
}

void domain_take_returned(const struct domain_returned *returned, int index)
{
    if (!lua_isnil(returned->domain->vm->lua, index)) take_item(returned, index, false);
}

static bool names_a_place(const struct domain *domain, const struct fault *fault)
{
    return sources_find(domain->sources, slice_make(fault->text, strcspn(fault->text, ":"))) != NULL;
}

void domain_blame_at(const struct domain *domain, struct slice path, int line, const char *what,
                     struct fault *fault)
{
    if (fault->code == FAULT_CONTRACT || fault->code == FAULT_MALFORMED) fault->code = FAULT_SCRIPT;
    if (names_a_place(domain, fault) || fault->code == FAULT_CORRUPT || fault->code == FAULT_REJECTED) return;
    char text[sizeof fault->text];
    memcpy(text, fault->text, sizeof text);
    fault_set(fault, fault->code, "%.*s:%d: %s: %s", SLICE_ARGS(path), line, what, text);
}

void domain_blame_script(struct domain *domain, const struct loader_handler *handler, const char *verb,
                         struct fault *fault)
{
    char what[LIMIT_NAME_SIZE_MAX + 16] = "";
    if (domain->checking) {
        handler = domain->checking;
        verb = "apply";
    }
    domain->checking = NULL;
    if (handler) {
        snprintf(what, sizeof what, "%s.%s", verb, handler->message->name.data);
        domain_blame_at(domain, handler->path, handler->line, what, fault);
    } else if (fault->code == FAULT_CONTRACT || fault->code == FAULT_MALFORMED) {
        fault->code = FAULT_SCRIPT;
    }
}

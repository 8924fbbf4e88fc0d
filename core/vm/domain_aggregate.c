/* DESIGN
 *
 * A state is a Lua table. History and decisions change it in one way only: the bytes of an event are decoded
 * into a fresh table and given to its apply handler. So what is live and what is folded again later are the
 * same, and no table of an execute handler gets into a state.
 *
 * After each apply the state must be plain data and a tree (plain.h). States of more than PLAIN_ENTRIES_MAX
 * entries are only checked when they are encoded: the check would cost more than the handler. So is their
 * size (domain_state_weigh): at once when events alone could have brought it above the limit, else after as
 * many events as make it cheap.
 *
 * An error inside apply must end the command even if execute called emit under pcall: the state is half
 * changed. That is what execution->applying is for: it stays set, and nothing but the end is possible. */
#include <lauxlib.h>
#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "codec/text.h"
#include "vm/domain_core.h"
#include "vm/readonly.h"
#include "vm/sends.h"
#include "vm/value.h"

enum {
    PLAIN_ENTRIES_MAX = 128,
    WEIGH_BYTES = 8192 /* encoded for each event when states are weighed, on an average */
};

struct execution {
    struct domain *domain;
    const struct loader_aggregate *aggregate;
    const struct loader_handler *handler;
    struct domain_state *state;
    const struct envelope *envelope;
    struct slice data;
    struct arena *arena;
    struct decision *decision;
    size_t event_max;
    bool *touched;
    bool checked;                          /* the command fits its contract: later errors are the script's */
    const struct loader_handler *applying; /* set while an apply handler runs, and for ever if it failed */
};

struct application { /* one event of the log */
    struct domain *domain;
    struct domain_state *state;
    const struct loader_handler *handler;
    const struct envelope *envelope;
    struct slice data;
};

/* --- states --- */

struct domain_state *domain_state_new(struct domain *domain, int aggregate)
{
    struct domain_state *state = MEM_NEW(struct domain_state);
    state->domain = domain;
    state->aggregate = aggregate;
    state->handle = HANDLE_NONE;
    return state;
}

void domain_state_free(struct domain *domain, struct domain_state *state)
{
    if (!state) return;
    handles_give(&domain->states, domain->vm->lua, state->handle);
    mem_free(state);
}

static void push_state(lua_State *lua, struct domain_state *state)
{
    struct handles *states = &state->domain->states;
    if (state->handle == HANDLE_NONE) {
        value_push(lua, loader_aggregate(state->domain->loader, (size_t)state->aggregate)->initial);
        state->handle = handles_take(states, lua);
    }
    handles_push(states, lua, state->handle);
}

static int encode_state(lua_State *lua)
{
    struct domain_state *state = lua_touserdata(lua, 1);
    struct domain *domain = state->domain;
    push_state(lua, state);
    buf_clear(&domain->scratch);
    value_encode(lua, -1, &domain->scratch, "state", domain->document_size_max);
    return 0;
}

int domain_state_encode(struct domain *domain, struct domain_state *state, struct buf *out,
                        struct fault *fault)
{
    if (vm_protected(domain->vm, encode_state, state, fault) < 0) return -1;
    buf_put_slice(out, buf_slice(&domain->scratch));
    return 0;
}

int domain_state_weigh(struct domain *domain, struct domain_state *state, size_t events, size_t bytes,
                       struct fault *fault)
{
    if (!state->heavy) return 0;
    if (events < state->events_left && bytes < state->bytes_left) {
        state->events_left -= events;
        state->bytes_left -= bytes;
        return 0;
    }
    if (vm_protected(domain->vm, encode_state, state, fault) < 0) return -1;
    state->events_left = domain->scratch.size / WEIGH_BYTES;
    state->bytes_left = domain->document_size_max - domain->scratch.size;
    return 0;
}

struct state_bytes {
    struct domain_state *state;
    struct slice bytes;
};

static int decode_state(lua_State *lua)
{
    struct state_bytes *decoding = lua_touserdata(lua, 1);
    value_push(lua, decoding->bytes);
    if (!lua_istable(lua, -1)) vm_raise(lua, FAULT_CORRUPT, 0, "a stored state is no map");
    decoding->state->handle = handles_take(&decoding->state->domain->states, lua);
    return 0;
}

int domain_state_decode(struct domain *domain, int aggregate, struct slice bytes,
                        struct domain_state **result, struct fault *fault)
{
    struct domain_state *state = domain_state_new(domain, aggregate);
    struct state_bytes decoding = {state, bytes};
    if (vm_protected(domain->vm, decode_state, &decoding, fault) < 0) {
        domain_state_free(domain, state);
        return -1;
    }
    *result = state;
    return 0;
}

/* --- apply --- */

/* With the state at index. */
static void check_state(struct domain_state *state, int index, const struct loader_handler *handler)
{
    struct domain *domain = state->domain;
    lua_State *lua = domain->vm->lua;
    plain_seen_clear(&domain->seen);
    state->heavy = !plain_glance(lua, index, &domain->seen, PLAIN_ENTRIES_MAX, domain->document_size_max);
    if (!state->heavy) return;
    plain_seen_clear(&domain->seen);
    switch (plain_look(lua, index, &domain->seen, PLAIN_ENTRIES_MAX, SIZE_MAX)) {
    case PLAIN_SHARED:
        domain->checking = handler;
        plain_unshare(lua, index);
        domain->checking = NULL;
        return;
    case PLAIN_NOT:
        domain->checking = handler;
        buf_clear(&domain->scratch);
        value_encode(lua, index, &domain->scratch, "state", domain->document_size_max);
        vm_raise(lua, FAULT_SCRIPT, 0, "state: no plain data");
        return;
    case PLAIN_TREE:
    case PLAIN_LARGE: return;
    }
}

/* Calls the handler with the event on top of the stack, which is popped. */
static void apply_event(struct domain_state *applied, const struct loader_handler *handler, int m_ref)
{
    struct domain *domain = applied->domain;
    lua_State *lua = domain->vm->lua;
    int event = lua_gettop(lua), state = event + 1;
    luaL_checkstack(lua, 8, NULL);
    push_state(lua, applied);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, handler->function);
    lua_pushvalue(lua, state);
    lua_pushvalue(lua, event);
    if (handler->parameters >= 3) lua_rawgeti(lua, LUA_REGISTRYINDEX, m_ref);
    lua_call(lua, handler->parameters >= 3 ? 3 : 2, 1);
    if (!lua_isnil(lua, -1)) {
        char what[128];
        domain_raise_at(domain, handler->path, handler->line,
                        "apply.%s changes the state and must return nothing, it returned %s",
                        handler->message->name.data, domain_describe_value(lua, -1, what));
    }
    check_state(applied, state, handler);
    lua_settop(lua, event - 1);
}

static int apply_stored(lua_State *lua)
{
    struct application *application = lua_touserdata(lua, 1);
    struct domain *domain = application->domain;
    const struct loader_handler *handler = application->handler;
    domain_push_event(domain, handler->message, application->envelope->type_version, application->data,
                      domain->m_ref);
    apply_event(application->state, handler, domain->m_ref);
    return 0;
}

int domain_apply(struct domain *domain, struct domain_state *state, const struct envelope *envelope,
                 struct slice data, struct fault *fault)
{
    const struct loader_aggregate *aggregate = loader_aggregate(domain->loader, (size_t)state->aggregate);
    const struct loader_handler *handler =
        domain_handler_of(aggregate->apply, aggregate->apply_count, envelope->type);
    if (!handler) return 0;
    struct application application = {
        .domain = domain, .state = state, .handler = handler, .envelope = envelope, .data = data};
    struct fault failure;
    envelope_view_open(domain->m, envelope, ENVELOPE_APPLYING);
    lua_pushcfunction(domain->vm->lua, apply_stored);
    lua_pushlightuserdata(domain->vm->lua, &application);
    int result = vm_call(domain->vm, 1, 0, &failure);
    envelope_view_close(domain->m);
    if (result == 0) return 0;
    domain_blame_script(domain, handler, "apply", &failure);
    if (fault) *fault = failure;
    return -1;
}

/* --- upcasting --- */

struct upcasting {
    struct domain *domain;
    const struct contract_message *message;
    const struct envelope *envelope;
    struct slice data;
};

static int upcast_stored(lua_State *lua)
{
    const struct upcasting *upcasting = lua_touserdata(lua, 1);
    struct domain *domain = upcasting->domain;
    domain_push_event(domain, upcasting->message, upcasting->envelope->type_version, upcasting->data,
                      domain->m_ref);
    buf_clear(&domain->scratch);
    value_encode(lua, -1, &domain->scratch, upcasting->message->name.data, domain->message_size_max);
    return 0;
}

int domain_upcast_event(struct domain *domain, const struct envelope *envelope, struct slice data,
                        struct arena *arena, struct slice *canonical, struct fault *fault)
{
    const struct contract_message *message =
        contracts_find(loader_contracts(domain->loader), envelope->context, envelope->type);
    if (!message || !message->is_event)
        return fault_set(fault, FAULT_SCRIPT, "no contract has the event %.*s.%.*s",
                         SLICE_ARGS(envelope->context), SLICE_ARGS(envelope->type));
    struct upcasting upcasting = {domain, message, envelope, data};
    struct fault failure;
    envelope_view_open(domain->m, envelope, ENVELOPE_APPLYING);
    lua_pushcfunction(domain->vm->lua, upcast_stored);
    lua_pushlightuserdata(domain->vm->lua, &upcasting);
    int result = vm_call(domain->vm, 1, 0, &failure);
    envelope_view_close(domain->m);
    if (result == 0) {
        *canonical = arena_copy(arena, buf_slice(&domain->scratch));
        return 0;
    }
    domain_blame_script(domain, NULL, "upcast", &failure);
    if (fault) *fault = failure;
    return -1;
}

/* --- execute --- */

static struct execution *open_execution(lua_State *lua, const char *word)
{
    struct domain *domain = lua_touserdata(lua, lua_upvalueindex(1));
    struct execution *execution = domain->executing;
    if (!execution) vm_raise(lua, FAULT_SCRIPT, 1, "%s is only possible while a command is executed", word);
    if (execution->applying)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s is not possible in apply, only in execute", word);
    return execution;
}

static void add_event(struct execution *execution, const struct contract_message *message, struct slice data)
{
    struct decision *decision = execution->decision;
    if (decision->event_count == execution->event_max) {
        size_t size_max = execution->event_max ? execution->event_max * 2 : 4;
        struct commit_event *grown = arena_take(execution->arena, size_max * sizeof *grown);
        if (decision->event_count) memcpy(grown, decision->events, decision->event_count * sizeof *grown);
        decision->events = grown;
        execution->event_max = size_max;
    }
    decision->events[decision->event_count++] =
        (struct commit_event){.type = arena_copy(execution->arena, message->name),
                              .type_version = message->version,
                              .at_ms = execution->envelope->at_ms,
                              .data = data};
}

/* The state as it will be after the event. */
static void apply_new(struct execution *execution, const struct contract_message *message, struct slice data)
{
    struct domain *domain = execution->domain;
    lua_State *lua = domain->vm->lua;
    const struct loader_handler *handler =
        domain_handler_of(execution->aggregate->apply, execution->aggregate->apply_count, message->name);
    if (!handler) return;
    struct envelope envelope = *execution->envelope;
    envelope.type = message->name;
    envelope.type_version = message->version;
    execution->applying = handler;
    *execution->touched = true;
    envelope_view_open(domain->m_applying, &envelope, ENVELOPE_APPLYING);
    value_push(lua, data);
    apply_event(execution->state, handler, domain->m_applying_ref);
    envelope_view_close(domain->m_applying);
    execution->applying = NULL;
}

/* Takes the message whose data is on top of the stack. */
static void take_event(struct execution *execution, const struct contract_message *message)
{
    struct domain *domain = execution->domain;
    lua_State *lua = domain->vm->lua;
    const struct loader_handler *handler = execution->handler;
    if (!message->is_event || !slice_equal(message->context, execution->aggregate->declared.context))
        domain_raise_at(domain, handler->path, handler->line,
                        "execute.%s may only give events of its context %s, not the %s %s.%s",
                        handler->message->name.data, execution->aggregate->declared.context.data,
                        message->is_event ? "event" : "command", message->context.data, message->name.data);
    struct slice data = sends_keep_data(domain, lua, message, execution->arena);
    add_event(execution, message, data);
    apply_new(execution, message, data);
}

static int word_emit(lua_State *lua)
{
    struct execution *execution = open_execution(lua, "emit");
    luaL_checkstack(lua, 8, NULL);
    const struct contract_message *message = contract_message_of(lua, 1);
    if (!message) {
        char what[128];
        vm_raise(lua, FAULT_SCRIPT, 1, "emit takes an event such as Name { … }, got %s",
                 domain_describe_value(lua, 1, what));
    }
    take_event(execution, message);
    return 0;
}

/* reject(code, format, …). Upvalue 1: the domain. */
static int word_reject(lua_State *lua)
{
    struct domain *domain = lua_touserdata(lua, lua_upvalueindex(1));
    if (!domain_runs_service(domain)) open_execution(lua, "reject");
    size_t size = 0;
    const char *code = lua_type(lua, 1) == LUA_TSTRING ? lua_tolstring(lua, 1, &size) : NULL;
    struct slice reason = slice_make(code, size);
    if (!code || size == 0 || size >= sizeof((struct fault *)NULL)->reason || !text_is_utf8(reason) ||
        memchr(code, 0, size))
        return vm_raise(lua, FAULT_SCRIPT, 1, "reject needs a code first: a text of 1 to 127 bytes");
    if (lua_isnoneornil(lua, 2)) {
        lua_settop(lua, 1);
        return vm_raise_reject(lua, reason, reason);
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, domain->format_ref);
    lua_insert(lua, 2);
    lua_call(lua, lua_gettop(lua) - 2, 1);
    const char *text = lua_tolstring(lua, -1, &size);
    return vm_raise_reject(lua, reason, slice_make(text, size));
}

void domain_add_words(struct domain *domain)
{
    lua_State *lua = domain->vm->lua;
    static const luaL_Reg words[] = {{"emit", word_emit}, {"reject", word_reject}, {NULL, NULL}};
    lua_pushlightuserdata(lua, domain);
    luaL_setfuncs(lua, words, 1);
}

static void take_returned(void *user, const struct contract_message *message)
{
    take_event(user, message);
}

/* With the command on top of the stack. */
static void check_command(lua_State *lua, struct execution *execution)
{
    struct domain *domain = execution->domain;
    const struct contract_message *message = execution->handler->message;
    contract_check(lua, -1, message, 0);
    buf_clear(&domain->scratch);
    value_encode(lua, -1, &domain->scratch, message->name.data, domain->message_size_max);
    execution->decision->command_data = arena_copy(execution->arena, buf_slice(&domain->scratch));
    execution->checked = true;
}

static int run_execution(lua_State *lua)
{
    struct execution *execution = lua_touserdata(lua, 1);
    struct domain *domain = execution->domain;
    const struct loader_handler *handler = execution->handler;
    value_push(lua, execution->data);
    if (!execution->checked) check_command(lua, execution);
    int command = lua_gettop(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, handler->function);
    push_state(lua, execution->state);
    value_push_readonly(lua, -1);
    lua_remove(lua, -2);
    lua_pushvalue(lua, command);
    if (handler->parameters >= 3) lua_rawgeti(lua, LUA_REGISTRYINDEX, domain->m_ref);
    lua_call(lua, handler->parameters >= 3 ? 3 : 2, LUA_MULTRET);
    int top = lua_gettop(lua);
    luaL_checkstack(lua, 16, "too many events returned");
    const struct domain_returned returned = {.domain = domain,
                                             .path = handler->path,
                                             .line = handler->line,
                                             .verb = "execute",
                                             .name = handler->message->name,
                                             .take = take_returned,
                                             .user = execution};
    for (int index = command + 1; index <= top && !execution->applying; index++)
        domain_take_returned(&returned, index);
    if (execution->applying) {
        domain->checking = NULL;
        domain_raise_at(domain, execution->applying->path, execution->applying->line,
                        "apply.%s failed under a pcall in execute.%s; a failed apply cannot be caught",
                        execution->applying->message->name.data, handler->message->name.data);
    }
    return 0;
}

int domain_execute(struct domain *domain, struct domain_state *state, const struct envelope *envelope,
                   struct slice data, bool checked, struct arena *arena, struct decision *decision,
                   bool *touched, struct fault *fault)
{
    CHECK(domain->executing == NULL);
    const struct loader_aggregate *aggregate = loader_aggregate(domain->loader, (size_t)state->aggregate);
    *touched = false;
    *decision = (struct decision){.command_data = checked ? data : SLICE_NONE};
    struct execution execution = {.domain = domain,
                                  .aggregate = aggregate,
                                  .state = state,
                                  .envelope = envelope,
                                  .data = data,
                                  .arena = arena,
                                  .decision = decision,
                                  .touched = touched,
                                  .checked = checked};
    execution.handler = domain_handler_of(aggregate->execute, aggregate->execute_count, envelope->type);
    if (!execution.handler)
        return domain_check_command(domain, state->aggregate, envelope->type, data, arena,
                                    &decision->command_data, fault);
    struct fault failure;
    domain->executing = &execution;
    envelope_view_open(domain->m, envelope, ENVELOPE_DECIDING);
    lua_pushcfunction(domain->vm->lua, run_execution);
    lua_pushlightuserdata(domain->vm->lua, &execution);
    int result = vm_call(domain->vm, 1, 0, &failure);
    envelope_view_close(domain->m);
    envelope_view_close(domain->m_applying);
    domain->executing = NULL;
    if (result == 0) return 0;
    if (execution.checked) domain_blame_script(domain, execution.handler, "execute", &failure);
    if (fault) *fault = failure;
    return -1;
}

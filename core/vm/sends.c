#include "vm/sends.h"

#include <lauxlib.h>

#include "codec/text.h"
#include "codec/time.h"
#include "vm/dotted.h"
#include "vm/moments.h"
#include "vm/nearest.h"
#include "vm/readonly.h"
#include "vm/value.h"

/* --- targets --- */

struct sends_target sends_target_of(const void *declared, bool is_service)
{
    const struct loader_aggregate *aggregate = declared;
    const struct loader_service *service = declared;
    if (is_service)
        return (struct sends_target){.context = service->declared.context,
                                     .name = service->short_name,
                                     .is_service = true,
                                     .handlers = service->when,
                                     .handler_count = service->when_count};
    return (struct sends_target){.context = aggregate->declared.context,
                                 .name = aggregate->short_name,
                                 .handlers = aggregate->execute,
                                 .handler_count = aggregate->execute_count};
}

const void *sends_find_target(lua_State *lua, const struct loader *loader, struct slice context,
                              bool with_services, const char *word, bool *is_service)
{
    struct slice name = dotted_name(lua, word);
    struct nearest near = nearest_to(name);
    *is_service = false;
    for (size_t at = 0; at < loader_aggregate_count(loader); at++) {
        const struct loader_aggregate *aggregate = loader_aggregate(loader, at);
        if (!slice_equal(aggregate->declared.context, context)) continue;
        if (slice_equal(aggregate->short_name, name)) return aggregate;
        nearest_offer(&near, aggregate->short_name);
    }
    *is_service = true;
    for (size_t at = 0; with_services && at < loader_service_count(loader); at++) {
        const struct loader_service *service = loader_service(loader, at);
        if (!slice_equal(service->declared.context, context)) continue;
        if (slice_equal(service->short_name, name)) return service;
        nearest_offer(&near, service->short_name);
    }
    struct slice found = nearest_found(&near);
    vm_raise(lua, FAULT_SCRIPT, 1, "context %.*s has no aggregate%s %.*s%s%.*s%s", SLICE_ARGS(context),
             with_services ? " or service" : "", SLICE_ARGS(name), found.size ? ": did you mean " : "",
             SLICE_ARGS(found), found.size ? "?" : "");
}

struct slice sends_read_id(lua_State *lua, int index, const char *what)
{
    if (lua_isinteger(lua, index)) {
        lua_pushfstring(lua, "%I", (LUAI_UACINT)lua_tointeger(lua, index));
        lua_replace(lua, index);
    }
    if (lua_type(lua, index) != LUA_TSTRING || !text_is_id(vm_text_at(lua, index))) {
        char given[128];
        vm_raise(lua, FAULT_SCRIPT, 1, "%s must be a text of 1 to %d bytes without '/', got %s", what,
                 LIMIT_ID_SIZE_MAX, domain_describe_value(lua, index, given));
    }
    return vm_text_at(lua, index);
}

static void refuse_command(lua_State *lua, const struct sends_target *target,
                           const struct contract_message *message)
{
    struct nearest near = nearest_to(message->name);
    for (size_t at = 0; at < target->handler_count; at++)
        nearest_offer(&near, target->handlers[at].message->name);
    struct slice found = nearest_found(&near);
    vm_raise(lua, FAULT_SCRIPT, 1, "%.*s/%.*s has no command %s%s%.*s%s", SLICE_ARGS(target->context),
             SLICE_ARGS(target->name), message->name.data, found.size ? ": did you mean " : "",
             SLICE_ARGS(found), found.size ? "?" : "");
}

const struct contract_message *sends_read_command(lua_State *lua, int index,
                                                  const struct sends_target *target, const char *word)
{
    const struct contract_message *message = contract_message_of(lua, index);
    if (!message) {
        char given[128];
        vm_raise(lua, FAULT_SCRIPT, 1, "%s takes a command such as Name { … }, got %s", word,
                 domain_describe_value(lua, index, given));
    }
    if (!slice_equal(message->context, target->context))
        vm_raise(lua, FAULT_SCRIPT, 1, "%s takes messages of its context, not %s.%s", word,
                 message->context.data, message->name.data);
    if (message->is_event)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s takes a command, got the event %s", word, message->name.data);
    if (!domain_handler_of(target->handlers, target->handler_count, message->name))
        refuse_command(lua, target, message);
    return message;
}

struct slice sends_keep_data(struct domain *domain, lua_State *lua, const struct contract_message *message,
                             struct arena *arena)
{
    buf_clear(&domain->scratch);
    value_encode(lua, -1, &domain->scratch, message->name.data, domain->message_size_max);
    lua_pop(lua, 1);
    /* The copy, and what the array of its owner may take for one more. */
    vm_hold(lua, domain->scratch.size + 2 * sizeof(struct domain_send));
    return arena_copy(arena, buf_slice(&domain->scratch));
}

/* --- what is gathered --- */

static struct sends *open_sends(lua_State *lua, struct domain *domain, struct slice context, const char *word)
{
    struct sends *sends = domain->sends;
    if (!sends)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s is only possible while a receptor, service or task runs", word);
    if (context.size > 0 && !slice_equal(context, sends->context)) /* kept from a call in another context */
        vm_raise(lua, FAULT_SCRIPT, 1, "%s belongs to context %.*s", word, SLICE_ARGS(context));
    return sends;
}

/* What a run gathers over many steps is one commit in the end, and lies outside of the Lua state meanwhile.
 */
static void bound_output(lua_State *lua, const struct sends *sends)
{
    if (sends->arena->total - sends->before > LIMIT_TRANSACTION_SIZE_MAX)
        vm_raise(lua, FAULT_BUDGET, 1, "more than %d MiB sent and published at once",
                 LIMIT_TRANSACTION_SIZE_MAX >> 20);
}

static void add_send(lua_State *lua, struct sends *sends, const struct domain_send *send)
{
    bound_output(lua, sends);
    struct domain_output *output = sends->output;
    if (output->send_count == sends->send_max) {
        size_t size_max = sends->send_max ? sends->send_max * 2 : 4;
        struct domain_send *grown = arena_take(sends->arena, size_max * sizeof *grown);
        if (output->send_count) memcpy(grown, output->sends, output->send_count * sizeof *grown);
        output->sends = grown;
        sends->send_max = size_max;
    }
    struct domain_send *added = &output->sends[output->send_count++];
    *added = *send;
    added->context = arena_copy(sends->arena, send->context); /* names: of the scripts until here */
    added->target = arena_copy(sends->arena, send->target);
    if (send->type.size > 0) added->type = arena_copy(sends->arena, send->type);
}

static void add_event(lua_State *lua, struct sends *sends, const struct commit_event *event)
{
    bound_output(lua, sends);
    struct domain_output *output = sends->output;
    if (output->event_count == sends->event_max) {
        size_t size_max = sends->event_max ? sends->event_max * 2 : 4;
        struct commit_event *grown = arena_take(sends->arena, size_max * sizeof *grown);
        if (output->event_count) memcpy(grown, output->events, output->event_count * sizeof *grown);
        output->events = grown;
        sends->event_max = size_max;
    }
    output->events[output->event_count] = *event;
    output->events[output->event_count++].type = arena_copy(sends->arena, event->type);
}

/* --- options --- */

static void read_after(lua_State *lua, const struct sends *sends, struct domain_send *send, const char *word)
{
    char given[128];
    int64_t ms;
    if (!moments_take_duration(lua, -1, &ms) || ms < 0)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: after must be a duration such as \"30d\", got %s", word,
                 domain_describe_value(lua, -1, given));
    send->due_ms = sends->now_ms + ms;
    if (!time_valid(send->due_ms)) vm_raise(lua, FAULT_SCRIPT, 1, "%s: after is behind the year 9999", word);
}

static void read_at(lua_State *lua, struct domain_send *send, const char *word)
{
    char given[128];
    if (lua_type(lua, -1) != LUA_TSTRING || !time_parse(vm_text_at(lua, -1), &send->due_ms))
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: at must be a time, got %s", word,
                 domain_describe_value(lua, -1, given));
}

/* { after = …, at = …, key = … } */
static void read_options(lua_State *lua, int index, const struct sends *sends, struct domain_send *send,
                         const char *word)
{
    if (lua_isnoneornil(lua, index)) return;
    if (readonly_push_target(lua, index)) lua_replace(lua, index); /* made at file level */
    if (lua_type(lua, index) != LUA_TTABLE)
        vm_raise(lua, FAULT_SCRIPT, 1, "the options of %s must be a table such as { after = \"30d\" }", word);
    bool has_after = false, has_at = false;
    for (lua_pushnil(lua); lua_next(lua, index); lua_pop(lua, 1)) {
        struct slice name = lua_type(lua, -2) == LUA_TSTRING ? vm_text_at(lua, -2) : slice_of("?");
        if (slice_is(name, "after")) {
            read_after(lua, sends, send, word);
            has_after = true;
        } else if (slice_is(name, "at")) {
            read_at(lua, send, word);
            has_at = true;
        } else if (slice_is(name, "key")) {
            send->key = arena_copy(sends->arena, sends_read_id(lua, lua_gettop(lua), "a key"));
        } else {
            vm_raise(lua, FAULT_SCRIPT, 1, "%s has no option %.*s, only after, at and key", word,
                     SLICE_ARGS(name));
        }
    }
    if (has_after && has_at) vm_raise(lua, FAULT_SCRIPT, 1, "%s: either after or at, not both", word);
    if (send->key.size > 0 && !has_after && !has_at)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s: key names what waits: it needs after or at", word);
}

/* --- send and cancel --- */

/* Upvalues of both: the domain, the target, whether it is a service, "send.bill". */
struct word {
    struct domain *domain;
    struct sends_target target;
    const char *text;
    struct sends *sends;
};

/* Bounded before it copies ids and keys: a send that then fails, and is caught, leaves them there. */
static struct word open_word(lua_State *lua)
{
    struct word word = {.domain = lua_touserdata(lua, lua_upvalueindex(1)),
                        .target = sends_target_of(lua_touserdata(lua, lua_upvalueindex(2)),
                                                  lua_toboolean(lua, lua_upvalueindex(3))),
                        .text = lua_tostring(lua, lua_upvalueindex(4))};
    word.sends = open_sends(lua, word.domain, word.target.context, word.text);
    bound_output(lua, word.sends);
    return word;
}

/* send.bill(id, Command { … }, options), send.mail(Command { … }, options) */
static int word_send(lua_State *lua)
{
    struct word word = open_word(lua);
    int at = 1;
    struct domain_send send = {.context = word.target.context,
                               .target = word.target.name,
                               .to_service = word.target.is_service,
                               .due_ms = INT64_MIN};
    lua_settop(lua, 3);
    if (!send.to_service) {
        const char *what = lua_pushfstring(lua, "the id of %s", word.text);
        send.id = arena_copy(word.sends->arena, sends_read_id(lua, at++, what));
    }
    read_options(lua, at + 1, word.sends, &send, word.text);
    const struct contract_message *message = sends_read_command(lua, at, &word.target, word.text);
    send.type = message->name;
    send.data = sends_keep_data(word.domain, lua, message, word.sends->arena);
    add_send(lua, word.sends, &send);
    return 0;
}

/* cancel.bill(id, key), cancel.mail(key) */
static int word_cancel(lua_State *lua)
{
    struct word word = open_word(lua);
    int at = 1;
    struct domain_send send = {.context = word.target.context,
                               .target = word.target.name,
                               .to_service = word.target.is_service,
                               .is_cancel = true,
                               .due_ms = INT64_MIN};
    lua_settop(lua, 2);
    if (!send.to_service) {
        const char *what = lua_pushfstring(lua, "the id of %s", word.text);
        send.id = arena_copy(word.sends->arena, sends_read_id(lua, at++, what));
    }
    const char *what = lua_pushfstring(lua, "the key of %s", word.text);
    send.key = arena_copy(word.sends->arena, sends_read_id(lua, at, what));
    vm_hold(lua, 2 * sizeof send);
    add_send(lua, word.sends, &send);
    return 0;
}

/* send.NAME. Upvalues: the domain, "send". */
static int word_index(lua_State *lua)
{
    struct domain *domain = lua_touserdata(lua, lua_upvalueindex(1));
    const char *word = lua_tostring(lua, lua_upvalueindex(2));
    lua_settop(lua, 2);
    const struct sends *sends = open_sends(lua, domain, SLICE_NONE, word);
    bool is_service;
    const void *declared = sends_find_target(lua, domain->loader, sends->context, true, word, &is_service);
    lua_pushlightuserdata(lua, domain);
    lua_pushlightuserdata(lua, (void *)(uintptr_t)declared);
    lua_pushboolean(lua, is_service);
    lua_pushfstring(lua, "%s.%s", word, lua_tostring(lua, 2));
    lua_pushcclosure(lua, word[0] == 's' ? word_send : word_cancel, 4);
    return 1;
}

void sends_publish(struct domain *domain, const struct contract_message *message)
{
    lua_State *lua = domain->vm->lua;
    struct sends *sends = domain->sends;
    if (!message->is_event || !slice_equal(message->context, sends->context))
        vm_raise(lua, FAULT_SCRIPT, 1, "publish takes an event of its context %.*s, not the %s %s.%s",
                 SLICE_ARGS(sends->context), message->is_event ? "event" : "command", message->context.data,
                 message->name.data);
    struct commit_event event = {
        .type = message->name, .type_version = message->version, .at_ms = sends->now_ms};
    event.data = sends_keep_data(domain, lua, message, sends->arena);
    add_event(lua, sends, &event);
}

/* publish(Event { … }). Upvalue: the domain. */
static int word_publish(lua_State *lua)
{
    struct domain *domain = lua_touserdata(lua, lua_upvalueindex(1));
    struct sends *sends = open_sends(lua, domain, SLICE_NONE, "publish");
    if (!sends->may_publish)
        vm_raise(lua, FAULT_SCRIPT, 1, "publish is not possible in a receptor: it sends commands");
    const struct contract_message *message = contract_message_of(lua, 1);
    if (!message) {
        char given[128];
        vm_raise(lua, FAULT_SCRIPT, 1, "publish takes an event such as Name { … }, got %s",
                 domain_describe_value(lua, 1, given));
    }
    sends_publish(domain, message);
    return 0;
}

void sends_add_words(struct domain *domain)
{
    lua_State *lua = domain->vm->lua;
    static const char *const words[] = {"send", "cancel"};
    for (int at = 0; at < 2; at++) {
        lua_pushlightuserdata(lua, domain);
        lua_pushstring(lua, words[at]);
        lua_pushcclosure(lua, word_index, 2);
        dotted_push(lua, words[at]);
        lua_setfield(lua, -2, words[at]);
    }
    lua_pushlightuserdata(lua, domain);
    lua_pushcclosure(lua, word_publish, 1);
    lua_setfield(lua, -2, "publish");
}

/* Services and tasks: what is declared, and the life of their runs. */
#include <lauxlib.h>
#include <inttypes.h>

#include "base/check.h"
#include "base/mem.h"
#include "codec/time.h"
#include "vm/nearest.h"
#include "vm/run.h"
#include "vm/value.h"

/* Of what is counted by the thousand, a step may use a thousand more. */
enum { STEP_COST = 1000 };

/* --- what is declared --- */

size_t domain_service_count(const struct domain *domain)
{
    return loader_service_count(domain->loader);
}

const struct domain_service *domain_service(const struct domain *domain, int index)
{
    return &loader_service(domain->loader, (size_t)index)->declared;
}

int domain_find_service(const struct domain *domain, struct slice name)
{
    for (size_t index = 0; index < loader_service_count(domain->loader); index++)
        if (slice_equal(loader_service(domain->loader, index)->declared.name, name)) return (int)index;
    return -1;
}

bool domain_service_handles(const struct domain *domain, int index, struct slice command,
                            struct slice *nearest)
{
    const struct loader_service *service = loader_service(domain->loader, (size_t)index);
    return domain_has_handler(service->when, service->when_count, command, nearest);
}

int domain_service_check(struct domain *domain, int index, struct slice type, struct slice data,
                         struct arena *arena, struct slice *canonical, struct fault *fault)
{
    const struct loader_service *service = loader_service(domain->loader, (size_t)index);
    return domain_check_handled(domain, service->declared.name, service->when, service->when_count, type,
                                data, arena, canonical, fault);
}

size_t domain_task_count(const struct domain *domain)
{
    return loader_task_count(domain->loader);
}

const struct domain_task *domain_task(const struct domain *domain, int index)
{
    return &loader_task(domain->loader, (size_t)index)->declared;
}

int domain_find_task(const struct domain *domain, struct slice name)
{
    for (size_t index = 0; index < loader_task_count(domain->loader); index++)
        if (slice_equal(loader_task(domain->loader, index)->declared.name, name)) return (int)index;
    return -1;
}

bool domain_runs_service(const struct domain *domain)
{
    return domain->run && domain->run->handler;
}

/* --- begin and end --- */

static int make_thread(lua_State *lua)
{
    struct domain_run *run = lua_touserdata(lua, 1);
    lua_newthread(lua);
    run->thread = lua_tothread(lua, -1);
    run->thread_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    if (!run->handler) return 0;
    run->m = envelope_view_push(lua);
    run->m_ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

static struct domain_run *new_run(struct domain *domain, const struct domain_host *host, struct slice context)
{
    struct domain_run *run = MEM_NEW(struct domain_run);
    run->domain = domain;
    run->host = host;
    run->context = context;
    run->thread_ref = run->m_ref = LUA_NOREF;
    if (domain->counts_runs) run->owner = owners_take(&domain->vm->owners);
    domain->vm->runs++;
    run->sends =
        (struct sends){.context = context, .arena = &run->arena, .output = &run->output, .may_publish = true};
    return run;
}

/* The texts that make a run this one and no other. */
static struct hash identity_of(struct slice tenant, struct slice name, struct slice what)
{
    struct buf text = {0};
    buf_format(&text, "%.*s\n%.*s\n%.*s", SLICE_ARGS(tenant), SLICE_ARGS(name), SLICE_ARGS(what));
    struct hash hash = hash_of(buf_slice(&text));
    buf_release(&text);
    return hash;
}

int domain_service_start(struct domain *domain, int index, const struct envelope *envelope, struct slice data,
                         const struct domain_host *host, struct domain_run **result, struct fault *fault)
{
    const struct loader_service *service = loader_service(domain->loader, (size_t)index);
    struct domain_run *run = new_run(domain, host, service->declared.context);
    run->handler = domain_handler_of(service->when, service->when_count, envelope->type);
    if (domain_service_check(domain, index, envelope->type, data, &run->arena, &run->data, fault) < 0 ||
        vm_protected(domain->vm, make_thread, run, fault) < 0) {
        domain_run_free(run);
        return -1;
    }
    run->function = run->handler->function;
    run->path = run->handler->path;
    run->line = run->handler->line;
    run->identity = identity_of(envelope->tenant, service->declared.name, envelope->command_id);
    envelope_view_open(run->m, envelope, ENVELOPE_DECIDING);
    *result = run;
    return 0;
}

int domain_task_start(struct domain *domain, int index, struct slice tenant, int64_t now_ms,
                      const struct domain_host *host, struct domain_run **result, struct fault *fault)
{
    const struct loader_task *task = loader_task(domain->loader, (size_t)index);
    struct domain_run *run = new_run(domain, host, task->declared.context);
    run->now_ms = now_ms;
    run->function = task->run;
    run->path = task->path;
    run->line = task->line;
    char moment[TIME_TEXT_SIZE + 1];
    time_format(now_ms, moment);
    run->identity = identity_of(tenant, task->declared.name, slice_of(moment));
    if (vm_protected(domain->vm, make_thread, run, fault) < 0) {
        domain_run_free(run);
        return -1;
    }
    *result = run;
    return 0;
}

void domain_run_free(struct domain_run *run)
{
    if (!run) return;
    owners_give(&run->domain->vm->owners, run->owner);
    run->domain->vm->runs--;
    lua_State *lua = run->domain->vm->lua;
    CHECK(run->domain->run == NULL);
    if (run->m) envelope_view_close(run->m);
    luaL_unref(lua, LUA_REGISTRYINDEX, run->m_ref);
    luaL_unref(lua, LUA_REGISTRYINDEX, run->thread_ref);
    for (int i = 0; i < 2; i++) arena_release(&run->requests[i]);
    arena_release(&run->arena);
    mem_free(run);
}

/* --- steps --- */

/* The function and its arguments onto the coroutine. Returns how many arguments. */
static int push_beginning(lua_State *lua, struct domain_run *run)
{
    int top = lua_gettop(lua);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, run->function);
    if (run->handler) {
        value_push(lua, run->data);
        lua_rawgeti(lua, LUA_REGISTRYINDEX, run->m_ref);
    } else {
        char now[TIME_TEXT_SIZE + 1];
        time_format(run->now_ms, now);
        lua_pushlstring(lua, now, TIME_TEXT_SIZE);
    }
    int pushed = lua_gettop(lua) - top;
    if (!lua_checkstack(run->thread, pushed + LUA_MINSTACK)) luaL_error(lua, "not enough memory");
    lua_xmove(lua, run->thread, pushed);
    return pushed - 1;
}

static void take_returned(void *user, const struct contract_message *message)
{
    const struct domain_run *run = user;
    sends_publish(run->domain, message);
}

/* What the function returned is published behind what it published itself. */
static void publish_returned(lua_State *lua, struct domain_run *run)
{
    const struct domain_returned returned = {.domain = run->domain,
                                             .path = run->path,
                                             .line = run->line,
                                             .verb = run->handler ? "when" : "run",
                                             .name = run->handler ? run->handler->message->name : SLICE_NONE,
                                             .take = take_returned,
                                             .user = run};
    int first = lua_gettop(lua) + 1, count = lua_gettop(run->thread);
    luaL_checkstack(lua, count + 16, "too many events returned");
    lua_xmove(run->thread, lua, count);
    for (int index = first; index < first + count; index++) domain_take_returned(&returned, index);
}

static int resume(lua_State *lua)
{
    struct domain_run *run = lua_touserdata(lua, 1);
    struct vm *vm = run->domain->vm;
    int arguments = 0;
    if (!run->begun) {
        arguments = push_beginning(lua, run);
        run->begun = true;
    }
    int status = vm_resume(vm, run->thread, arguments);
    if (status == LUA_YIELD) return 0;
    if (status == LUA_OK) {
        run->wants = DOMAIN_RUN_DONE;
        publish_returned(lua, run);
        return 0;
    }
    lua_xmove(run->thread, lua, 1);
    vm_take_error(vm, status, &run->fault);
    run->failed = true;
    return 0;
}

/* One call under the exact count: services and tasks see the world, so nothing can be repeated. The memory
 * that it may take is not counted from live data alone: no verdict of theirs has to be the same elsewhere,
 * and a collection before each step would cost more than the step. */
static int call_step(struct domain_run *run, struct fault *fault)
{
    struct vm *vm = run->domain->vm;
    bool exact = vm->exact, was_exact = vm->was_exact;
    vm->exact = vm->was_exact = true;
    vm->owners.now = run->owner;
    lua_pushcfunction(vm->lua, resume);
    lua_pushlightuserdata(vm->lua, run);
    int result = vm_call(vm, 1, 0, fault);
    vm->owners.now = OWNER_NONE;
    vm->exact = exact;
    vm->was_exact = was_exact;
    run->instructions += STEP_COST + vm->instructions_max - vm->instructions_left;
    if (result == 0 && run->failed) {
        *fault = run->fault;
        result = -1;
    }
    return result;
}

static enum domain_run_state fail(struct domain_run *run, struct fault *failure, struct fault *fault)
{
    if (run->retries && failure->code != FAULT_BUDGET) return run->wants = DOMAIN_RUN_RETRIES;
    if (run->handler)
        domain_blame_script(run->domain, run->handler, "when", failure);
    else
        domain_blame_at(run->domain, run->path, run->line, "run", failure);
    if (fault) *fault = *failure;
    return run->wants = DOMAIN_RUN_FAILED;
}

/* A run that waits may not use up what all may have, in steps or in memory. */
static int check_sums(struct domain_run *run, struct fault *fault)
{
    struct vm *vm = run->domain->vm;
    char where[320];
    uint64_t most = vm->instructions_max * LIMIT_RUN_CALLS_MAX;
    if (run->instructions > most)
        return fault_set(fault, FAULT_BUDGET, "%.*s:%d: used more than %" PRIu64 " instructions in one run",
                         SLICE_ARGS(run->path), run->line, most);
    size_t kept_max = vm->memory_max / LIMIT_RUN_MEMORY_SHARE;
    if (run->owner == OWNER_NONE) return 0;
    /* With half as much of garbage, or each step could be one that collects. */
    if (owners_bytes(&vm->owners, run->owner) <= kept_max + kept_max / 2) return 0;
    lua_gc(vm->lua, LUA_GCCOLLECT);
    if (owners_bytes(&vm->owners, run->owner) <= kept_max) return 0;
    vm_where(run->thread, where, sizeof where);
    return fault_set(fault, FAULT_BUDGET, "%skeeps more than %zu MiB while it waits", where,
                     (kept_max + (1 << 20) - 1) >> 20);
}

enum domain_run_state domain_run_step(struct domain_run *run, const struct domain_response *answer,
                                      struct fault *fault)
{
    struct domain *domain = run->domain;
    struct fault failure = {0};
    CHECK(domain->run == NULL && domain->sends == NULL);
    CHECK(!run->begun || run->wants == DOMAIN_RUN_FETCHES || run->wants == DOMAIN_RUN_PAUSES);
    CHECK((answer != NULL) == (run->begun && run->wants == DOMAIN_RUN_FETCHES));
    domain->run = run;
    domain->sends = &run->sends;
    run->sends.now_ms = run->host->now_ms(run->host->user);
    run->answer = answer;
    int result = call_step(run, &failure);
    run->answer = NULL;
    domain->sends = NULL;
    domain->run = NULL;
    if (result < 0) return fail(run, &failure, fault);
    if (run->wants != DOMAIN_RUN_DONE && check_sums(run, &failure) < 0) return fail(run, &failure, fault);
    if (run->retries) return run->wants = DOMAIN_RUN_RETRIES;
    return run->wants;
}

const struct domain_request *domain_run_request(const struct domain_run *run)
{
    return &run->request;
}

int64_t domain_run_retry_ms(const struct domain_run *run)
{
    return run->retry_ms;
}

const struct domain_output *domain_run_output(const struct domain_run *run)
{
    return &run->output;
}

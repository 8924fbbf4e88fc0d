/* clock.now(), log.info/warn/error(format, …), env.NAME, retry("10s"). */
#include <lauxlib.h>

#include "base/say.h"
#include "codec/time.h"
#include "vm/dotted.h"
#include "vm/moments.h"
#include "vm/readonly.h"
#include "vm/run.h"

struct domain_run *run_open(lua_State *lua, const char *word)
{
    struct domain *domain = lua_touserdata(lua, lua_upvalueindex(1));
    if (!domain->run)
        vm_raise(lua, FAULT_SCRIPT, 1, "%s is only possible while a service or task runs", word);
    return domain->run;
}

static int clock_now(lua_State *lua)
{
    const struct domain_run *run = run_open(lua, "clock.now");
    char text[TIME_TEXT_SIZE + 1];
    time_format(run->host->now_ms(run->host->user), text);
    lua_pushlstring(lua, text, TIME_TEXT_SIZE);
    return 1;
}

/* --- log --- */

/* With its arguments on the stack. */
static int put_line(lua_State *lua, enum say_level level, const char *word)
{
    struct domain_run *run = run_open(lua, word);
    struct domain *domain = run->domain;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, domain->format_ref);
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 1);
    struct slice text;
    text.data = lua_tolstring(lua, -1, &text.size);
    vm_spend(lua, 1000); /* a line costs a system call */
    buf_clear(&domain->scratch);
    vm_put_line(domain->vm, text, &domain->scratch);
    run->host->log(run->host->user, level, buf_slice(&domain->scratch));
    return 0;
}

static int log_info(lua_State *lua)
{
    return put_line(lua, SAY_INFO, "log.info");
}

static int log_warn(lua_State *lua)
{
    return put_line(lua, SAY_WARN, "log.warn");
}

static int log_error(lua_State *lua)
{
    return put_line(lua, SAY_ERROR, "log.error");
}

/* --- env, retry --- */

/* The text itself: a header, a signature may be made of it. */
static int env_index(lua_State *lua)
{
    struct domain_run *run = run_open(lua, "env");
    struct domain *domain = run->domain;
    struct slice name = dotted_name(lua, "env");
    buf_clear(&domain->scratch);
    if (!run->host->secret(run->host->user, name, &domain->scratch))
        return vm_raise(lua, FAULT_SCRIPT, 1, "env.%.*s: there is no secret of this name", SLICE_ARGS(name));
    struct slice value = buf_slice(&domain->scratch);
    secrets_keep(&domain->vm->secrets, name, value);
    lua_pushlstring(lua, value.data, value.size);
    return 1;
}

static int word_retry(lua_State *lua)
{
    struct domain_run *run = run_open(lua, "retry");
    int64_t ms;
    if (!moments_take_duration(lua, 1, &ms) || ms < 0) {
        char given[128];
        return vm_raise(lua, FAULT_SCRIPT, 1, "retry takes a duration such as \"10s\", got %s",
                        domain_describe_value(lua, 1, given));
    }
    run->retries = true;
    run->retry_ms = ms;
    return vm_raise(lua, FAULT_BUSY, 1, "retry"); /* which no pcall catches */
}

void run_add_library(struct domain *domain, const char *name, const luaL_Reg *functions)
{
    lua_State *lua = domain->vm->lua;
    lua_newtable(lua);
    lua_pushlightuserdata(lua, domain);
    luaL_setfuncs(lua, functions, 1);
    readonly_library(lua, name, NULL);
    lua_setfield(lua, -2, name);
}

void run_add_words(struct domain *domain)
{
    static const luaL_Reg clock[] = {{"now", clock_now}, {NULL, NULL}};
    static const luaL_Reg log[] = {
        {"info", log_info}, {"warn", log_warn}, {"error", log_error}, {NULL, NULL}};
    lua_State *lua = domain->vm->lua;
    run_add_library(domain, "clock", clock);
    run_add_library(domain, "log", log);
    lua_pushlightuserdata(lua, domain);
    lua_pushcclosure(lua, env_index, 1);
    dotted_push(lua, "env");
    lua_setfield(lua, -2, "env");
    lua_pushlightuserdata(lua, domain);
    lua_pushcclosure(lua, word_retry, 1);
    lua_setfield(lua, -2, "retry");
}

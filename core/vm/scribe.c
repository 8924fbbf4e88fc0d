/* What the programs of lua/ that write about scripts see of C: require "lore.core". */
#include "vm/scribe.h"

#include <lauxlib.h>
#include <lualib.h>

#include "codec/json.h"
#include "vm/prelude.h"
#include "vm/tokens.h"
#include "vm/value.h"
#include "vm/vm.h"

struct scribe {
    const struct scribe_job *job;
    struct fault fault; /* why write or draw failed */
    struct buf scratch;
    struct tokens tokens; /* of the text that is being read */
};

static struct scribe *scribe_of(lua_State *lua)
{
    return lua_touserdata(lua, lua_upvalueindex(1));
}

static void set_text(lua_State *lua, const char *field, struct slice text)
{
    lua_pushlstring(lua, text.data ? text.data : "", text.size);
    lua_setfield(lua, -2, field);
}

static int fail(lua_State *lua, const struct fault *fault)
{
    lua_pushstring(lua, fault->text);
    return lua_error(lua);
}

/* write(path, text) */
static int core_write(lua_State *lua)
{
    struct scribe *scribe = scribe_of(lua);
    if (scribe->job->write(scribe->job->user, vm_text_at(lua, 1), vm_text_at(lua, 2), &scribe->fault) < 0)
        return fail(lua, &scribe->fault);
    return 0;
}

/* draw(dot): SVG */
static int core_draw(lua_State *lua)
{
    struct scribe *scribe = scribe_of(lua);
    buf_clear(&scribe->scratch);
    if (scribe->job->draw(scribe->job->user, vm_text_at(lua, 1), &scribe->scratch, &scribe->fault) < 0)
        return fail(lua, &scribe->fault);
    lua_pushlstring(lua, scribe->scratch.data, scribe->scratch.size);
    return 1;
}

/* sources(): a list of { path, context, kind, text }, in order of path */
static int core_sources(lua_State *lua)
{
    static const char *const kinds[] = {
        [SOURCE_DECLARATION] = "declaration", [SOURCE_ON_DEMAND] = "on demand", [SOURCE_SHARED] = "shared"};
    const struct sources *sources = scribe_of(lua)->job->sources;
    lua_newtable(lua);
    for (size_t at = 0; at < sources_count(sources); at++) {
        const struct source *source = sources_at(sources, at);
        lua_newtable(lua);
        set_text(lua, "path", source->path);
        set_text(lua, "context", source->context);
        set_text(lua, "kind", slice_of(kinds[source->kind]));
        set_text(lua, "text", source->text);
        lua_rawseti(lua, -2, (lua_Integer)at + 1);
    }
    return 1;
}

/* tokens(text): a list of { kind, text, line }; empty for a text that does not lex */
static int core_tokens(lua_State *lua)
{
    static const char *const kinds[] = {
        [TOKEN_END] = "end",       [TOKEN_NAME] = "name",     [TOKEN_KEYWORD] = "keyword",
        [TOKEN_NUMBER] = "number", [TOKEN_STRING] = "string", [TOKEN_OPERATOR] = "operator"};
    struct tokens *tokens = &scribe_of(lua)->tokens;
    tokens_release(tokens);
    *tokens = (struct tokens){0};
    bool lexed = tokens_read(vm_text_at(lua, 1), tokens);
    lua_newtable(lua);
    for (size_t at = 0; lexed && at < tokens->count; at++) {
        const struct token *token = &tokens->items[at];
        lua_createtable(lua, 0, 3);
        set_text(lua, "kind", slice_of(kinds[token->kind]));
        set_text(lua, "text", token->text);
        lua_pushinteger(lua, token->line);
        lua_setfield(lua, -2, "line");
        lua_rawseti(lua, -2, (lua_Integer)at + 1);
    }
    return 1;
}

/* json(value): JSON of a plain value, compact, keys in byte order */
static int core_json(lua_State *lua)
{
    struct scribe *scribe = scribe_of(lua);
    struct buf bytes = {0};
    struct fault fault;
    luaL_checkany(lua, 1);
    buf_clear(&scribe->scratch);
    value_encode(lua, 1, &scribe->scratch, "value", SIZE_MAX);
    int done = json_from_mp(buf_slice(&scribe->scratch), &bytes, &fault);
    buf_clear(&scribe->scratch);
    buf_put_slice(&scribe->scratch, buf_slice(&bytes));
    buf_release(&bytes);
    if (done < 0) return fail(lua, &fault);
    lua_pushlstring(lua, scribe->scratch.data, scribe->scratch.size);
    return 1;
}

/* input(): what the job is told */
static int core_input(lua_State *lua)
{
    struct scribe *scribe = scribe_of(lua);
    buf_clear(&scribe->scratch);
    if (json_to_mp(scribe->job->input, &scribe->scratch, &scribe->fault) < 0)
        return fail(lua, &scribe->fault);
    value_push(lua, buf_slice(&scribe->scratch));
    return 1;
}

static const luaL_Reg core_functions[] = {{"write", core_write},
                                          {"draw", core_draw},
                                          {"sources", core_sources},
                                          {"tokens", core_tokens},
                                          {"json", core_json},
                                          {"input", core_input},
                                          {NULL, NULL}};

static int open_core(lua_State *lua)
{
    luaL_newlibtable(lua, core_functions);
    lua_pushvalue(lua, lua_upvalueindex(1));
    luaL_setfuncs(lua, core_functions, 1);
    return 1;
}

static int run_program(lua_State *lua)
{
    struct scribe *scribe = lua_touserdata(lua, 1);
    const struct prelude_file *program = prelude_find(scribe->job->program);
    if (!program) return luaL_error(lua, "there is no program %s", scribe->job->program);
    luaL_requiref(lua, LUA_GNAME, luaopen_base, 1);
    prelude_add_modules(lua);
    luaL_getsubtable(lua, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushlightuserdata(lua, scribe);
    lua_pushcclosure(lua, open_core, 1);
    lua_setfield(lua, -2, "lore.core");
    prelude_push(lua, program);
    lua_call(lua, 0, 0);
    return 0;
}

int scribe_run(const struct scribe_job *job, struct fault *fault)
{
    struct scribe scribe = {.job = job};
    struct vm *vm = vm_new(&(struct vm_options){.memory_max = SIZE_MAX / 2});
    struct fault wrong = {0};
    int result = vm_protected(vm, run_program, &scribe, &wrong);
    vm_free(vm);
    buf_release(&scribe.scratch);
    tokens_release(&scribe.tokens);
    if (result < 0 && fault) *fault = scribe.fault.code ? scribe.fault : wrong;
    return result;
}

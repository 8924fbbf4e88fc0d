/* The four steps of a load (see loader.h). Lua decides (lua/loader.lua), C drives: every step is a C function
 * under vm_protected, or, where a script's own lines run, under vm_call with its budget. */
#include "vm/loader.h"

#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limit.h"
#include "base/mem.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "vm/inspect.h"
#include "vm/loader_core.h"
#include "vm/nearest.h"

struct step { /* the argument of a step */
    struct loader *loader;
    size_t index;         /* of a file or context */
    struct slice context; /* or "" */
    struct slice path;    /* or the chunk's name */
    int globals;
    const struct inspection *inspection;
    int result; /* a registry reference */
};

void loader_push(struct loader *loader, const char *function)
{
    lua_State *lua = loader->vm->lua;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, loader->module);
    lua_getfield(lua, -1, function);
    lua_remove(lua, -2);
}

/* Runs a step of trusted code; the fault tells of a bug or of memory. */
static int run_step(struct loader *loader, lua_CFunction function, struct step step, struct fault *fault)
{
    step.loader = loader;
    int top = lua_gettop(loader->vm->lua);
    int result = vm_protected(loader->vm, function, &step, fault);
    lua_settop(loader->vm->lua, top);
    return result;
}

/* Runs a step that runs lines of scripts. */
static int run_script(struct loader *loader, lua_CFunction function, struct step *step, struct fault *fault)
{
    step->loader = loader;
    lua_pushcfunction(loader->vm->lua, function);
    lua_pushlightuserdata(loader->vm->lua, step);
    return vm_call(loader->vm, 1, 0, fault);
}

/* --- step 1: lex, compile, contracts --- */

static int open_context(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "open");
    vm_push_slice(lua, step->loader->contexts[step->index]);
    lua_call(lua, 1, 0);
    return 0;
}

static const char *kind_name(enum source_kind kind)
{
    return kind == SOURCE_DECLARATION ? "declaration" : kind == SOURCE_ON_DEMAND ? "on_demand" : "shared";
}

/* Tells Lua of a file and its contracts. The compiled chunk, if any, is beneath the argument of vm_protected:
 * kept by reference. */
static int add_file(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    struct loader *loader = step->loader;
    const struct source *source = sources_at(loader->sources, step->index);
    const struct tokens *tokens = &loader->files[step->index].tokens;
    loader_push(loader, "file");
    vm_push_slice(lua, source->path);
    vm_push_slice(lua, source->context);
    lua_pushstring(lua, kind_name(source->kind));
    lua_pushboolean(lua, loader->files[step->index].compiled);
    lua_call(lua, 4, 0);
    for (size_t i = 0; i < tokens->count; i++) {
        if (!tokens_is_contracts(tokens, i)) continue;
        loader_push(loader, "contracts");
        vm_push_slice(lua, source->path);
        lua_pushinteger(lua, tokens->items[i].text_line);
        vm_push_slice(lua, tokens->items[i].text);
        lua_call(lua, 3, 0);
    }
    return 0;
}

static int keep_chunk(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    struct loader *loader = step->loader;
    const struct source *source = sources_at(loader->sources, step->index);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, loader->vm->script_env);
    struct fault fault;
    if (vm_load(loader->vm, source->text, source->path.data, -1, &fault) < 0) {
        loader_note_fault(loader, source->path, &fault);
        return 0;
    }
    loader->files[step->index].chunk = luaL_ref(lua, LUA_REGISTRYINDEX);
    loader->files[step->index].compiled = true;
    return 0;
}

static int add_messages(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "add_messages");
    lua_call(lua, 0, 0);
    return 0;
}

static void find_contexts(struct loader *loader)
{
    size_t count = sources_count(loader->sources);
    loader->contexts = arena_zero(&loader->arena, (count + 1) * sizeof *loader->contexts);
    for (size_t i = 0; i < count; i++) {
        struct slice context = sources_at(loader->sources, i)->context;
        if (context.size == 0 || loader_has_context(loader, context)) continue;
        loader->contexts[loader->context_count++] = arena_copy(&loader->arena, context);
    }
}

static int compare_slices(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static int read_files(struct loader *loader, struct fault *fault)
{
    find_contexts(loader);
    if (loader->context_count > 1)
        qsort(loader->contexts, loader->context_count, sizeof *loader->contexts, compare_slices);
    for (size_t i = 0; i < loader->context_count; i++)
        if (run_step(loader, open_context, (struct step){.index = i}, fault) < 0) return -1;
    size_t count = sources_count(loader->sources);
    for (size_t i = 0; i < count; i++) {
        tokens_read(sources_at(loader->sources, i)->text, &loader->files[i].tokens);
        if (run_step(loader, keep_chunk, (struct step){.index = i}, fault) < 0) return -1;
        if (run_step(loader, add_file, (struct step){.index = i}, fault) < 0) return -1;
    }
    struct step step = {0};
    return run_script(loader, add_messages, &step, fault);
}

/* --- step 2: names --- */

static const char *finding_name(enum finding_kind kind)
{
    static const char *const names[] = {
        "read_global", "write_global", "assigns_file_local", "changes_file_table", "assigns_upvalue",
        "env",         "require",      "compares_number",    "compares_decimal",   "read_field"};
    return names[kind];
}

static int tell_findings(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    const struct source *source = sources_at(step->loader->sources, step->index);
    for (size_t i = 0; i < step->inspection->count; i++) {
        const struct finding *finding = &step->inspection->items[i];
        loader_push(step->loader, "finding");
        vm_push_slice(lua, source->path);
        lua_pushstring(lua, finding_name(finding->kind));
        vm_push_slice(lua, finding->name);
        lua_pushinteger(lua, finding->line);
        lua_pushinteger(lua, finding->parameter);
        lua_pushinteger(lua, finding->function_line);
        vm_push_slice(lua, finding->near);
        vm_push_slice(lua, finding->of);
        lua_call(lua, 8, 0);
    }
    return 0;
}

static int inspect_files(struct loader *loader, struct fault *fault)
{
    for (size_t i = 0; i < sources_count(loader->sources); i++) {
        if (!loader->files[i].compiled) continue;
        struct inspection inspection = {0};
        inspect(&loader->files[i].tokens, &inspection);
        int result =
            run_step(loader, tell_findings, (struct step){.index = i, .inspection = &inspection}, fault);
        inspection_release(&inspection);
        if (result < 0) return -1;
    }
    return 0;
}

/* --- step 3: run --- */

static int run_file(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "run_in");
    vm_push_slice(lua, step->context);
    vm_push_slice(lua, step->path);
    lua_call(lua, 2, 0);
    return 0;
}

static int tell_failed(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "failed");
    lua_call(lua, 0, 0);
    return 0;
}

/* A failing file is noted and the load goes on; -1 only if even that was not possible. */
static int run_one(struct loader *loader, struct slice context, struct slice path, struct fault *fault)
{
    struct fault failure;
    struct step step = {.context = context, .path = path};
    if (run_script(loader, run_file, &step, &failure) == 0) return 0;
    if (failure.code != FAULT_INTERNAL)
        loader_note_fault(loader, path, &failure); /* INTERNAL: noted where it arose */
    return run_step(loader, tell_failed, (struct step){0}, fault);
}

/* What handlers require inside, as pairs of texts in step->path's arena. */
static int list_preloads(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "preloads");
    lua_call(lua, 0, 1);
    step->result = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

struct preload {
    struct step step; /* first: a step whose index is the item */
    int list;
    bool any;
};

static int take_preload(lua_State *lua)
{
    struct preload *preload = lua_touserdata(lua, 1);
    struct loader *loader = preload->step.loader;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, preload->list);
    preload->any = lua_rawgeti(lua, -1, (lua_Integer)preload->step.index + 1) == LUA_TTABLE;
    if (!preload->any) return 0;
    size_t size;
    lua_getfield(lua, -1, "context");
    const char *text = luaL_checklstring(lua, -1, &size);
    preload->step.context = arena_copy(&loader->arena, slice_make(text, size));
    lua_getfield(lua, -2, "path");
    text = luaL_checklstring(lua, -1, &size);
    preload->step.path = arena_copy(&loader->arena, slice_make(text, size));
    return 0;
}

static int run_preloads(struct loader *loader, struct fault *fault)
{
    struct step step = {.loader = loader};
    if (vm_protected(loader->vm, list_preloads, &step, fault) < 0) return -1;
    struct preload preload = {.step = {.loader = loader}, .list = step.result};
    for (size_t i = 0;; i++) {
        preload.step.index = i;
        int top = lua_gettop(loader->vm->lua);
        int result = vm_protected(loader->vm, take_preload, &preload, fault);
        lua_settop(loader->vm->lua, top);
        if (result < 0) return -1;
        if (!preload.any) return 0;
        if (run_one(loader, preload.step.context, preload.step.path, fault) < 0) return -1;
    }
}

static int run_hub(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "hub");
    lua_call(lua, 0, 1);
    size_t size;
    const char *bytes = luaL_checklstring(lua, -1, &size);
    step->loader->hub_options = arena_copy(&step->loader->arena, slice_make(bytes, size));
    return 0;
}

static int run_files(struct loader *loader, struct fault *fault)
{
    static const char empty_map[] = "\x80";
    loader->hub_options = slice_make(empty_map, 1);
    for (size_t i = 0; i < sources_count(loader->sources); i++) {
        const struct source *source = sources_at(loader->sources, i);
        if (!loader->files[i].compiled) continue;
        if (source->kind == SOURCE_DECLARATION && run_one(loader, source->context, source->path, fault) < 0)
            return -1;
        if (!slice_is(source->path, "hub.lua")) continue;
        struct step step = {0};
        struct fault failure;
        if (run_script(loader, run_hub, &step, &failure) < 0)
            loader_note_fault(loader, source->path, &failure);
    }
    return run_preloads(loader, fault);
}

/* --- step 4 --- */

static int validate(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "validate");
    lua_call(lua, 0, 1);
    loader_push(step->loader, "reach");
    lua_call(lua, 0, 0);
    if (step->loader->errors.count > 0) return 0;
    loader_push(step->loader, "freeze");
    lua_call(lua, 0, 0);
    lua_pushcfunction(lua, loader_build);
    lua_pushlightuserdata(lua, step->loader);
    lua_pushvalue(lua, -3);
    lua_call(lua, 2, 0);
    return 0;
}

/* The whole of out becomes the fault's text as far as it fits. */
static int refuse(const struct buf *out, size_t from, size_t count, struct fault *fault)
{
    struct slice lines = slice_make(out->data + from, out->size - from);
    size_t room = sizeof fault->text - 40, used = 0, shown = 0;
    while (used < lines.size) {
        const char *end = memchr(lines.data + used, '\n', lines.size - used);
        size_t next = (size_t)(end - lines.data) + 1;
        if (next > room && shown > 0) break;
        used = next;
        shown++;
    }
    while (used > 0 && lines.data[used - 1] == '\n') used--;
    if (shown == count) return fault_set(fault, FAULT_SCRIPTS, "%.*s", (int)used, lines.data);
    return fault_set(fault, FAULT_SCRIPTS, "%.*s\n… and %zu more", (int)used, lines.data, count - shown);
}

static int load(struct loader *loader, struct fault *fault)
{
    struct vm *vm = loader->vm;
    int top = lua_gettop(vm->lua);
    if (vm_protected(vm, loader_open_prelude, loader, fault) < 0) return -1;
    lua_settop(vm->lua, top);
    if (read_files(loader, fault) < 0 || inspect_files(loader, fault) < 0 || run_files(loader, fault) < 0)
        return -1;
    return run_step(loader, validate, (struct step){0}, fault);
}

int loader_load(const struct loader_options *options, struct loader **result, struct buf *errors,
                struct fault *fault)
{
    struct loader *loader = MEM_NEW(struct loader);
    size_t count = sources_count(options->sources);
    loader->vm = options->vm;
    loader->sources = options->sources;
    loader->globals = options->globals;
    loader->document_size_max =
        options->document_size_max ? options->document_size_max : LIMIT_DOCUMENT_SIZE_MAX;
    loader->on_demand_later = options->on_demand_later;
    loader->contracts = contracts_new();
    loader->files = mem_zero((count + 1) * sizeof *loader->files);
    for (size_t i = 0; i < count; i++) loader->files[i].chunk = LUA_NOREF;
    bool exact = loader->vm->exact;
    loader->vm->exact = true; /* what loads here loads everywhere */
    int done = load(loader, fault);
    loader->vm->exact = exact;
    struct buf text = {0};
    size_t problem_count = loader_put_problems(loader, &loader->errors, &text);
    if (problem_count > 0) done = refuse(&text, 0, problem_count, fault);
    if (errors != NULL) buf_put_slice(errors, buf_slice(&text));
    buf_release(&text);
    if (done < 0) {
        loader_free(loader);
        return -1;
    }
    loader_put_problems(loader, &loader->warnings, &loader->warnings_text);
    loader_put_problems(loader, &loader->later, &loader->warnings_text);
    *result = loader;
    return 0;
}

void loader_free(struct loader *loader)
{
    if (loader == NULL) return;
    for (size_t i = 0; i < sources_count(loader->sources); i++) tokens_release(&loader->files[i].tokens);
    mem_free(loader->files);
    mem_free(loader->errors.items);
    mem_free(loader->warnings.items);
    mem_free(loader->later.items);
    buf_release(&loader->warnings_text);
    buf_release(&loader->scratch);
    contracts_free(loader->contracts);
    arena_release(&loader->arena);
    mem_free(loader);
}

/* --- what was declared --- */

const struct contracts *loader_contracts(const struct loader *loader)
{
    return loader->contracts;
}

size_t loader_aggregate_count(const struct loader *loader)
{
    return loader->aggregate_count;
}

const struct loader_aggregate *loader_aggregate(const struct loader *loader, size_t index)
{
    return &loader->aggregates[index];
}

size_t loader_projection_count(const struct loader *loader)
{
    return loader->projection_count;
}

const struct loader_projection *loader_projection(const struct loader *loader, size_t index)
{
    return &loader->projections[index];
}

size_t loader_receptor_count(const struct loader *loader)
{
    return loader->receptor_count;
}

const struct loader_receptor *loader_receptor(const struct loader *loader, size_t index)
{
    return &loader->receptors[index];
}

size_t loader_service_count(const struct loader *loader)
{
    return loader->service_count;
}

const struct loader_service *loader_service(const struct loader *loader, size_t index)
{
    return &loader->services[index];
}

size_t loader_task_count(const struct loader *loader)
{
    return loader->task_count;
}

const struct loader_task *loader_task(const struct loader *loader, size_t index)
{
    return &loader->tasks[index];
}

bool loader_has_context(const struct loader *loader, struct slice context)
{
    for (size_t i = 0; i < loader->context_count; i++)
        if (slice_equal(loader->contexts[i], context)) return true;
    return false;
}

size_t loader_context_count(const struct loader *loader)
{
    return loader->context_count;
}

struct slice loader_context(const struct loader *loader, size_t index)
{
    return loader->contexts[index];
}

struct slice loader_warnings(const struct loader *loader)
{
    return buf_slice(&loader->warnings_text);
}

struct slice loader_hub_options(const struct loader *loader)
{
    return loader->hub_options;
}

/* --- on demand --- */

/* The source that a user's path means: inside the folder, or with the folder's own name in front, however
 * that is written. */
static const struct source *find_source(const struct loader *loader, struct slice path)
{
    const struct source *source = sources_find(loader->sources, path);
    if (source != NULL) return source;
    struct slice dir = slice_of(sources_dir(loader->sources));
    if (path.size > dir.size + 1 && memcmp(path.data, dir.data, dir.size) == 0 &&
        path.data[dir.size] == '/') {
        source =
            sources_find(loader->sources, slice_make(path.data + dir.size + 1, path.size - dir.size - 1));
        if (source != NULL) return source;
    }
    char *text = mem_text(path.data, path.size);
    char *real = realpath(text, NULL), *real_dir = realpath(dir.data, NULL);
    mem_free(text);
    size_t size = real_dir != NULL ? strlen(real_dir) : 0;
    if (real != NULL && size > 0 && strncmp(real, real_dir, size) == 0 && real[size] == '/')
        source = sources_find(loader->sources, slice_of(real + size + 1));
    free(real);
    free(real_dir);
    return source;
}

static int refuse_path(const struct loader *loader, struct slice path, struct fault *fault)
{
    struct slice dir = slice_of(sources_dir(loader->sources)), found = SLICE_NONE;
    struct slice name = path;
    if (slice_starts(path, dir.data) && path.size > dir.size && path.data[dir.size] == '/')
        name = slice_make(path.data + dir.size + 1, path.size - dir.size - 1);
    struct nearest nearest = nearest_to(name);
    for (size_t i = 0; i < sources_count(loader->sources); i++) {
        const struct source *source = sources_at(loader->sources, i);
        if (source->kind == SOURCE_ON_DEMAND) nearest_offer(&nearest, source->path);
    }
    found = nearest_found(&nearest);
    if (found.size > 0)
        return fault_set(fault, FAULT_NOT_FOUND, "%.*s: no such script: did you mean %s/%.*s?",
                         SLICE_ARGS(path), dir.data, SLICE_ARGS(found));
    return fault_set(fault, FAULT_NOT_FOUND, "%.*s: no such script in %s/CONTEXT/import/", SLICE_ARGS(path),
                     dir.data);
}

static int run_on_demand(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "run_on_demand");
    vm_push_slice(lua, step->path);
    if (step->globals == LUA_NOREF)
        lua_pushnil(lua);
    else
        lua_rawgeti(lua, LUA_REGISTRYINDEX, step->globals);
    lua_call(lua, 2, 1);
    step->result = LUA_NOREF;
    if (lua_isfunction(lua, -1)) step->result = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

static int end_on_demand(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "end_on_demand");
    lua_call(lua, 0, 0);
    return 0;
}

int loader_load_on_demand(struct loader *loader, struct slice path, int globals, int *function,
                          struct slice *context, struct fault *fault)
{
    const struct source *source = find_source(loader, path);
    if (source == NULL || source->kind != SOURCE_ON_DEMAND) return refuse_path(loader, path, fault);
    for (size_t i = 0; i < loader->later.count; i++) {
        const struct loader_problem *problem = &loader->later.items[i];
        if (slice_equal(problem->path, source->path))
            return fault_set(fault, FAULT_SCRIPTS, "%s/%.*s:%d: %.*s", sources_dir(loader->sources),
                             SLICE_ARGS(problem->path), problem->line, SLICE_ARGS(problem->text));
    }
    struct step step = {.path = source->path, .globals = globals};
    bool exact = loader->vm->exact;
    loader->vm->exact = true;
    int result = run_script(loader, run_on_demand, &step, fault);
    loader->vm->exact = exact;
    if (result < 0) {
        run_step(loader, end_on_demand, (struct step){0}, NULL);
        return -1;
    }
    if (step.result == LUA_NOREF)
        return fault_set(fault, FAULT_SCRIPT,
                         "%s/%.*s:1: an import script must end with: return function(row) … end",
                         sources_dir(loader->sources), SLICE_ARGS(source->path));
    *function = step.result;
    *context = source->context;
    return 0;
}

/* Pushes the environment, then tells the findings about it. */
static int push_env(lua_State *lua)
{
    struct step *step = lua_touserdata(lua, 1);
    loader_push(step->loader, "env_with");
    vm_push_slice(lua, step->context);
    if (step->globals == LUA_NOREF)
        lua_pushnil(lua);
    else
        lua_rawgeti(lua, LUA_REGISTRYINDEX, step->globals);
    lua_call(lua, 2, 1);
    int env = lua_gettop(lua);
    for (size_t i = 0; i < step->inspection->count; i++) {
        const struct finding *finding = &step->inspection->items[i];
        loader_push(step->loader, "text_finding");
        vm_push_slice(lua, step->path);
        lua_pushstring(lua, finding_name(finding->kind));
        vm_push_slice(lua, finding->name);
        lua_pushinteger(lua, finding->line);
        vm_push_slice(lua, step->context);
        lua_pushvalue(lua, env);
        vm_push_slice(lua, finding->near);
        lua_call(lua, 7, 0);
    }
    return 1;
}

int loader_compile(struct loader *loader, struct slice context, struct slice text, const char *chunk,
                   int globals, struct fault *fault)
{
    lua_State *lua = loader->vm->lua;
    int top = lua_gettop(lua);
    struct inspection inspection = {0};
    struct tokens tokens;
    struct step step = {.loader = loader,
                        .context = context,
                        .path = slice_of(chunk),
                        .globals = globals,
                        .inspection = &inspection};
    lua_rawgeti(lua, LUA_REGISTRYINDEX, loader->vm->script_env);
    int result = vm_load(loader->vm, text, chunk, -1, fault);
    if (result == 0) {
        tokens_read(text, &tokens);
        inspect(&tokens, &inspection);
        loader->foreign = true;
        result = vm_protected(loader->vm, push_env, &step, fault);
        loader->foreign = false;
        inspection_release(&inspection);
        tokens_release(&tokens);
    }
    if (result == 0 && loader->errors.count > 0) {
        struct buf lines = {0};
        size_t count = loader_put_problems(loader, &loader->errors, &lines);
        result = refuse(&lines, 0, count, fault);
        loader->errors.count = 0;
        buf_release(&lines);
    }
    if (result < 0) {
        lua_settop(lua, top);
        return -1;
    }
    lua_setupvalue(lua, -2, 1);
    lua_replace(lua, top + 1);
    lua_settop(lua, top + 1);
    return 0;
}

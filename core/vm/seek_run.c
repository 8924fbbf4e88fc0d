#include "vm/seek_run.h"

#include <lauxlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    LOOK_EVERY = 128,              /* events between two looks at the clock */
    QUIET_NS = 250 * 1000000,      /* of a run that nothing is told of */
    TELL_EVERY_NS = 110 * 1000000, /* between two lines of progress */
    FIRST_NS = 20 * 1000000        /* what the session's thread does before others are called in */
};

static const char run_type[] = "lore.run";

static int run_close(lua_State *lua)
{
    struct seek_run *run = lua_touserdata(lua, 1);
    if (run->cursor) run->source->close(run->cursor);
    if (run->scan) run->source->release(run->scan);
    seek_program_close(&run->program);
    arena_release(&run->arena);
    run->cursor = NULL;
    run->scan = NULL;
    return 0;
}

void seek_run_prepare(lua_State *lua)
{
    static const luaL_Reg functions[] = {{"__gc", run_close}, {"__close", run_close}, {NULL, NULL}};
    luaL_newmetatable(lua, run_type);
    luaL_setfuncs(lua, functions, 0);
    lua_pop(lua, 1);
}

struct seek_run *seek_run_push(lua_State *lua, const struct seek_source *source, struct seek_reader *reader)
{
    struct seek_run *run = lua_newuserdatauv(lua, sizeof *run, 1);
    *run = (struct seek_run){.source = source};
    luaL_setmetatable(lua, run_type);
    seek_program_open(&run->program, lua, reader);
    run->program.memory_max = vm_of(lua)->memory_max;
    return run;
}

static int raise(struct seek_run *run, const struct fault *fault)
{
    return vm_raise(run->program.lua, fault->code, 1, "%s", fault->text);
}

void seek_run_begin(struct seek_run *run)
{
    struct fault fault;
    run->began_ns = run->told_ns = clock_monotonic_ns();
    if (run->source->prepare(run->source->user, &run->filter, &run->scan, &fault) < 0) raise(run, &fault);
    run->position = run->scan->first;
    seek_program_begin(&run->program);
}

void seek_run_rest(struct seek_run *run)
{
    if (run->cursor) run->source->close(run->cursor);
    run->cursor = NULL;
}

static void tell_progress(struct seek_run *run, int64_t now)
{
    if (!run->progress || now - run->began_ns < QUIET_NS || now - run->told_ns < TELL_EVERY_NS) return;
    run->told_ns = now;
    run->progress(run, run->position - run->scan->first, run->scan->last + 1 - run->scan->first,
                  now - run->began_ns);
}

bool seek_run_step(struct seek_run *run, int64_t ns)
{
    struct seek_program *program = &run->program;
    struct seek_hit hit;
    struct fault fault;
    int64_t until = clock_monotonic_ns() + ns;
    unsigned count = 0;
    run->pause = false;
    if (!run->cursor && run->source->open(run->scan, run->position, run->scan->last, &run->cursor, &fault) < 0)
        raise(run, &fault);
    while (!program->enough && run->position <= run->scan->last) {
        int found = run->source->next(run->cursor, &hit, &run->position, &fault);
        if (found < 0) raise(run, &fault);
        if (found > 0) seek_program_take(program, &hit);
        if (run->pause) return true;
        if (found > 0 && ++count % LOOK_EVERY != 0) continue;
        vm_spend(program->lua, LOOK_EVERY);
        int64_t now = clock_monotonic_ns();
        tell_progress(run, now);
        if (now > until) return true;
    }
    seek_run_rest(run);
    seek_program_end(program);
    return false;
}

void seek_run_go(struct seek_run *run)
{
    seek_run_begin(run);
    while (seek_run_step(run, INT64_MAX / 2)) continue;
}

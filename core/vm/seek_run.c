#include "vm/seek_run.h"

#include <lauxlib.h>

#include "base/clock.h"
#include "vm/seek_crew.h"
#include "vm/watchdog.h"

enum {
    LOOK_EVERY = 128,              /* events between two looks at the clock */
    QUIET_NS = 250 * 1000000,      /* of a run that nothing is told of */
    TELL_EVERY_NS = 110 * 1000000, /* between two lines of progress */
    FIRST_NS = 20 * 1000000,       /* what the session's thread does before others are called in */
    STEP_NS = 1000 * 1000000,
    CREW_WAIT_MS = 10
};

static const char run_type[] = "lore.run";

static int run_close(lua_State *lua)
{
    struct seek_run *run = lua_touserdata(lua, 1);
    seek_crew_free(run->crew);
    run->crew = NULL;
    seek_run_rest(run);
    if (run->scan) run->source->release(run->scan);
    seek_program_close(&run->program);
    luaL_unref(lua, LUA_REGISTRYINDEX, run->rows_ref);
    run->rows_ref = LUA_NOREF;
    arena_release(&run->arena);
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
    *run = (struct seek_run){.source = source, .env_ref = LUA_NOREF, .rows_ref = LUA_NOREF};
    luaL_setmetatable(lua, run_type);
    seek_program_open(&run->program, lua, reader);
    run->program.memory_max = vm_of(lua)->memory_max;
    return run;
}

void seek_run_begin(struct seek_run *run)
{
    struct fault fault;
    run->began_ns = run->told_ns = clock_monotonic_ns();
    if (run->source->prepare(run->source->user, &run->filter, &run->scan, &fault) < 0)
        seek_program_raise(&run->program, &fault);
    run->position = run->scan->first;
    seek_program_begin(&run->program);
}

/* What the reader has at hand may be borrowed from the cursor: an event that was kept is read again. */
void seek_run_rest(struct seek_run *run)
{
    if (!run->cursor) return;
    seek_reader_end(run->program.reader);
    run->source->close(run->cursor);
    run->cursor = NULL;
}

/* more: events behind run->position that were looked at as well. */
static void tell_progress(struct seek_run *run, uint64_t more, int64_t now)
{
    if (!run->progress || now - run->began_ns < QUIET_NS || now - run->told_ns < TELL_EVERY_NS) return;
    run->told_ns = now;
    run->progress(run, run->position - run->scan->first + more, run->scan->last + 1 - run->scan->first,
                  now - run->began_ns);
}

/* --- alone --- */

/* False: the end was reached. */
static bool scan_alone(struct seek_run *run, int64_t ns)
{
    struct seek_program *program = &run->program;
    struct seek_hit hit;
    struct fault fault;
    int64_t until = clock_monotonic_ns() + ns;
    unsigned count = 0;
    if (!run->cursor &&
        run->source->open(run->scan, run->position, run->scan->last, &run->cursor, &fault) < 0)
        seek_program_raise(&run->program, &fault);
    while (!program->enough && run->position <= run->scan->last) {
        int found = run->source->next(run->cursor, &hit, &run->position, &fault);
        if (found < 0) seek_program_raise(&run->program, &fault);
        if (found > 0) seek_program_take(program, 0, &hit);
        if (run->pause) return true;
        if (found > 0 && ++count % LOOK_EVERY != 0) continue;
        vm_spend(program->lua, LOOK_EVERY);
        int64_t now = clock_monotonic_ns();
        tell_progress(run, 0, now);
        if (now > until) return true;
    }
    return false;
}

/* --- with a crew --- */

static void dismiss(struct seek_run *run)
{
    run->position = seek_crew_position(run->crew);
    seek_crew_free(run->crew);
    run->crew = NULL;
    run->alone = true;
}

/* This thread sleeps while others work: no watchdog sees it, so it looks for itself. */
static void look_at_leash(struct vm *vm)
{
    if (vm->leash && watchdog_leash_ended(vm->leash)) vm->overtime = 1;
    vm_spend(vm->lua, 1);
}

static bool wait_for_crew(struct seek_run *run, int64_t ns)
{
    struct seek_program *program = &run->program;
    struct fault fault;
    int64_t now = clock_monotonic_ns(), until = now + ns;
    for (; now < until && !run->pause; now = clock_monotonic_ns()) {
        look_at_leash(vm_of(program->lua));
        enum seek_crew_state state = seek_crew_wait(run->crew, CREW_WAIT_MS);
        tell_progress(run, seek_crew_progress(run->crew), now);
        if (state == SEEK_CREW_ROWS) seek_crew_take(run->crew);
        if (state == SEEK_CREW_GAVE_UP) {
            dismiss(run);
            return true;
        }
        if (state == SEEK_CREW_DONE && seek_crew_merge(run->crew, &fault) < 0)
            seek_program_raise(&run->program, &fault);
        if (state == SEEK_CREW_DONE || program->enough) return false;
    }
    return true;
}

static void call_crew(struct seek_run *run)
{
    lua_State *lua = run->program.lua;
    if (run->alone || run->env_ref == LUA_NOREF || run->program.enough) return;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, run->env_ref);
    run->alone =
        !seek_crew_start(&run->program, lua_gettop(lua), run->source, run->scan, run->position, &run->crew);
    lua_pop(lua, 1);
    if (!run->alone) seek_run_rest(run);
}

/* --- both --- */

bool seek_run_step(struct seek_run *run, int64_t ns)
{
    run->pause = false;
    bool first = clock_monotonic_ns() - run->began_ns < FIRST_NS;
    bool goes_on =
        run->crew ? wait_for_crew(run, ns) : scan_alone(run, first && ns > FIRST_NS ? FIRST_NS : ns);
    if (goes_on && !run->crew && !run->pause) call_crew(run);
    if (goes_on) return true;
    run->position = run->scan->last + 1;
    seek_crew_free(run->crew);
    run->crew = NULL;
    seek_run_rest(run);
    seek_program_end(&run->program);
    return false;
}

void seek_run_go(struct seek_run *run)
{
    seek_run_begin(run);
    while (seek_run_step(run, STEP_NS)) continue;
}

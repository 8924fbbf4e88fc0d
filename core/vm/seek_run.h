/* seek_run.h: one run of a query: its scan of the log by the session's thread, or by several (seek_crew.h),
 * with progress. Inside vm/ only.
 *
 *     struct seek_run *run = seek_run_push(lua, source, reader);       to be closed with its slot of the
 * stack ask_query_read(lua, parts, &run->arena, &run->filter, &run->program); seek_run_go(run); raises; then
 * program.fold has the answer
 *
 * Threads: the session's; those of the crew are gone when it returns or raises. Owns: all it has open, until
 * its slot is closed. */
#ifndef LORE_VM_SEEK_RUN_H
#define LORE_VM_SEEK_RUN_H

#include "vm/seek_program.h"

struct seek_run {
    const struct seek_source *source;
    struct arena arena;
    struct seek_filter filter;
    struct seek_program program;
    struct seek_scan *scan;
    struct seek_cursor *cursor;
    struct seek_crew *crew; /* NULL: this thread works alone */
    int env_ref;            /* of the globals that functions see; LUA_NOREF: no crew is called */
    int rows_ref;           /* of who takes rows: unreferenced with the rest */
    bool alone;             /* the crew gave up, or none can be */
    uint64_t position;      /* all events before it were taken */
    bool pause;             /* set by who takes rows: he has enough for this step */
    int64_t began_ns, told_ns;
    /* At most ten times a second, once it has taken a while. */
    void (*progress)(struct seek_run *run, uint64_t events, uint64_t of, int64_t ns);
    void *user;
};

/* From ask_add_events, once. */
void seek_run_prepare(lua_State *lua);
struct seek_run *seek_run_push(lua_State *lua, const struct seek_source *source, struct seek_reader *reader);
void seek_run_go(struct seek_run *run);
/* The same in steps, for who takes rows in between: begins, takes events for a while. False: the end. */
void seek_run_begin(struct seek_run *run);
bool seek_run_step(struct seek_run *run, int64_t ns);
/* Between two steps: gives the read of the log back, for as long as it takes. */
void seek_run_rest(struct seek_run *run);

#endif

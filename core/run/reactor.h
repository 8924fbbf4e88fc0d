/* reactor.h: the thread in which services and tasks run, as coroutines of one Lua state: many wait for HTTP
 * at once, one computes.
 *
 *   hub_submit ──► service ──► HTTP … ──► decided command ──► shard ──► writer ──done──► submitter
 *   clock ───────► task    ──► HTTP … ──► decided command ──► shard ──► writer
 *
 * What a run published and sent is one commit in the stream of who ran, context/name/name, so all of it
 * happens or nothing. A hub that is killed forgets its runs: who asked asks again, and a task's moment is
 * found in the log or run again; ids make it one (services.c, tasks.c).
 *
 * Threads: open, stop and free by the hub; the rest from any. Owns: thread, Lua state, connections. */
#ifndef LORE_RUN_REACTOR_H
#define LORE_RUN_REACTOR_H

#include "base/buf.h"
#include "base/fault.h"
#include "run/command.h"

struct reactor;
struct release;

struct reactor_options {
    const char *secrets; /* file of named secrets, may be NULL */
    bool schedule;       /* tasks run at their moments, not only when they are asked for */
};

/* For a hub that has services or tasks. Faults: SCRIPTS, PERMISSION, NOT_FOUND and MALFORMED (secrets). */
int reactor_open(struct release *release, const struct reactor_options *options, struct reactor **reactor,
                 struct fault *fault);
/* The writer runs, unless the hub is read only: then nothing will run. Faults: DISK, CORRUPT. */
int reactor_start(struct reactor *reactor, struct fault *fault);
/* While shards and writer still work: what runs is given up, who asked is told UNAVAILABLE; what is on its
 * way to the log gets there. Takes nothing more. */
void reactor_stop(struct reactor *reactor);
/* It begins no task any more, and none is about to begin when this returns. */
void reactor_hold_tasks(struct reactor *reactor);
/* It takes nothing more; what it took it does, and then its thread ends: reactor_stop must
 * follow, at once or when it is drained. */
void reactor_drain(struct reactor *reactor);
bool reactor_is_drained(const struct reactor *reactor);
/* Whether a run of this task ("context/name") for this tenant is under way. */
bool reactor_task_runs(struct reactor *reactor, struct slice task, struct slice tenant);
void reactor_free(struct reactor *reactor); /* NULL: nothing. After the writer has ended */
/* The clock was moved. */
void reactor_look(struct reactor *reactor);

/* Whether context/name is a service. */
bool reactor_has_service(const struct reactor *reactor, struct slice context, struct slice name);
/* Takes a command to a service, or refuses it: BUSY, UNAVAILABLE, MALFORMED. */
int reactor_put(struct reactor *reactor, struct command *command, struct fault *fault);
/* Runs a task by hand. command: tenant, batch_id, actor and done; what it came to is the answer, a commit
 * that ends with $TaskRan. Fault: NOT_FOUND, UNAVAILABLE; through done CONFLICT (it runs). */
int reactor_run_task(struct reactor *reactor, struct slice name, struct command *command,
                     struct fault *fault);
size_t reactor_memory(const struct reactor *reactor); /* bytes in use by its Lua state */
/* Lines of lore status: each service, each task of each tenant. */
void reactor_status(struct reactor *reactor, struct buf *ndjson);

#endif

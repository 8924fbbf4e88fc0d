/* chore.h: a CHORE is one task of one tenant.
 *
 *            ┌──────────────── next moment ◄──────────────────┐
 *            ▼                                                 │
 *   IDLE ──due, or asked──► RUNS ──► COMMITS ($TaskRan) ──answer┘
 *            ▲               │ retry, no view yet      │ the disk is full
 *            └─── WAITS ◄────┴────────────────────────►┘
 *
 *  1. The moments of a task are given by its declaration alone: the multiples of its interval since 1970, the
 * moments of its cron, its one moment. So after a restart they are the same, and the id of a run is made of
 * (log, tenant, task, moment): a moment is in the log once whatever happens.
 *  2. What was done last is read from the log: a task's commits end with $TaskRan. A run by hand is no
 * moment of the schedule and is passed over. A task that never ran counts from when it was first seen, a
 * named value of the log, so that moments missed before its first run are missed too.
 *  3. Moments that pass while the hub is down or the chore still runs are missed: made up for by one run for
 * the last of them, or skipped. A run that was cut off by a kill was not recorded, so its moment is missed.
 *  4. A run that fails is recorded as failed and not repeated; only retry() and what is not the script's
 * fault (a view that is being built) put it off.
 *
 * For tasks.c and chore*.c only. Threads: the reactor's; its mutex guards what status shows. */
#ifndef LORE_RUN_CHORE_H
#define LORE_RUN_CHORE_H

#include "codec/cron.h"
#include "run/reactor_inside.h"

#define TASK_RAN_TYPE "$TaskRan"

struct tasks;
struct chore;

struct task {
    struct tasks *tasks;
    struct reactor *reactor;
    const struct domain_task *declared;
    int index;
    struct slice name; /* "invoice_expiration" */
    struct cron cron;
    struct zone *zone;
    int64_t seen_ms;                     /* first */
    atomic_ullong done, failed, put_off; /* runs, since the start */
    struct chore *chores;
};

enum chore_state { CHORE_IDLE, CHORE_RUNS, CHORE_COMMITS, CHORE_WAITS };

struct chore {
    struct reactor_arrival arrival; /* of the answer to its commit */
    struct task *task;
    struct slice tenant;
    struct chore *next; /* of the same task */
    enum chore_state state;
    int64_t due_ms;       /* the next moment; INT64_MAX: none */
    int64_t again_ms;     /* WAITS: until then */
    bool commits;         /* WAITS: with its commit, else with its run */
    struct buf waits_for; /* why, in words */
    bool is_elsewhere;    /* a run of the code before a deploy is under way; it is planned behind it */
    int64_t after_ms;     /* moments up to here are not its own */
    bool asked;           /* by hand: */
    void (*done)(struct command *command); /* who asked */
    void *user;
    /* the run */
    struct reactor_run run;
    struct command *command; /* what it becomes */
    int64_t run_due_ms, began_ms, began_ns, duration_ms;
    struct buf run_error; /* empty: it went well */
    /* the last one recorded */
    int64_t last_due_ms;    /* INT64_MIN: none */
    int64_t last_moment_ms; /* of the last one by the schedule; INT64_MIN: none */
    int64_t last_duration_ms;
    struct buf last_error;
};

/* The first moment after this one; INT64_MAX: none. */
int64_t task_next(const struct task *task, int64_t after_ms);
/* The last moment from due_ms on, itself one, up to now_ms. */
int64_t task_last(const struct task *task, int64_t due_ms, int64_t now_ms);

/* With what the log says of its last run; its due_ms is that of none. NULL: DISK, CORRUPT. */
struct chore *chore_new(struct task *task, struct slice tenant, struct fault *fault);
void chore_free(struct chore *chore);
/* Once more what the log says of its last run. Faults: DISK, CORRUPT. */
int chore_look(struct chore *chore, struct fault *fault);
/* Its reactor ends: what waits for another try is left to the code that follows. */
void chore_drain(struct chore *chore);
/* After a run for after_ms, or as if there had been one: the next moment, or one for all that were missed. */
void chore_plan(struct chore *chore, int64_t after_ms, int64_t now_ms);
/* An idle one runs for what is due. */
void chore_begin(struct chore *chore, int64_t now_ms);
/* An idle one runs for who asked, now. */
void chore_begin_asked(struct chore *chore, struct command *command, int64_t now_ms);
/* What it waited for is over. */
void chore_go_on(struct chore *chore);
/* Fills in the command of a run: an id is given. */
void chore_prepare(const struct chore *chore, struct command *command, struct slice data);

#endif

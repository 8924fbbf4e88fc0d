/* reactor_inside.h: struct reactor, for reactor*.c, services.c and tasks.c only. */
#ifndef LORE_RUN_REACTOR_INSIDE_H
#define LORE_RUN_REACTOR_INSIDE_H

#include "run/fetch.h"
#include "run/inside.h"
#include "run/reactor.h"
#include "run/secrets.h"

struct reactor_run;

/* Something for the reactor's thread; take is called there. */
struct reactor_arrival {
    struct inbox_link link;
    void (*take)(struct reactor *reactor, struct reactor_arrival *arrival);
};

/* A range that is being read page by page: all of it one snapshot, until the run waits for something. */
struct reactor_page {
    struct docs_read *read; /* NULL: none */
    struct view_lease lease;
    struct buf place; /* which range, and where it stands in it */
};

/* One run of a script, from reactor_go to ended. */
struct reactor_run {
    struct reactor *reactor;
    struct slice tenant;
    struct domain_host host;  /* for domain_service_start and domain_task_start */
    struct domain_run *run;   /* made by its owner, freed by reactor_run_end */
    struct fetch_call *fetch; /* it waits for */
    struct reactor_page page;
    void (*ended)(struct reactor_run *run, enum domain_run_state state, struct fault *fault);
    struct reactor_run *paused_next;
    struct reactor_run *newer, *older; /* those in flight */
};

struct services;
struct tasks;

struct reactor {
    struct hub *hub;
    struct release *release;
    pthread_t thread;
    bool started;
    struct domain *domain;
    struct reach reach;
    struct fetch *fetch;
    struct secrets *secrets;
    struct inbox arrivals; /* struct reactor_arrival */
    pthread_mutex_t mutex; /* guards closed, and what status shows of services and tasks */
    bool closed;           /* takes no more commands */
    atomic_bool draining;  /* the same, but what it took is done */
    atomic_bool holds_tasks;
    atomic_bool drained; /* all of that is done */
    bool ending;         /* nothing begins any more; the thread's own */
    struct reactor_run *runs;
    struct reactor_run *paused, **paused_last; /* that go on at the next turn, in order */
    size_t run_count, run_count_max;
    atomic_size_t running; /* run_count, for who asks */
    size_t commits;        /* on their way to the log; each comes back as an arrival */
    struct services *services;
    struct tasks *tasks;
    bool tasks_moved; /* one may have to be begun before the moment that was waited for */
    atomic_size_t memory;
};

/* From any thread. */
void reactor_arrive(struct reactor *reactor, struct reactor_arrival *arrival);
/* The same for what comes from outside; false when no more is taken. */
bool reactor_admit(struct reactor *reactor, struct reactor_arrival *arrival);

/* Fills run for a start of the domain's run. */
void reactor_run_begin(struct reactor *reactor, struct reactor_run *run, struct slice tenant,
                       void (*ended)(struct reactor_run *run, enum domain_run_state state,
                                     struct fault *fault));
/* First step of run->run; ended may be called before it returns. */
void reactor_go(struct reactor_run *run);
/* Frees what the run holds; whatever it does is given up. */
void reactor_run_end(struct reactor_run *run);
static inline bool reactor_is_full(const struct reactor *reactor)
{
    return reactor->run_count >= reactor->run_count_max;
}

/* reactor_host.c: what a run may reach. user: its struct reactor_run. */
void reactor_host_init(struct reactor_run *run);
void reactor_page_close(struct reactor_run *run);

/* The events of an output, and a $Sent if it sends anything, added to those there are. Copies. */
void reactor_add_output(struct arena *arena, const struct domain_output *output, struct commit_event **events,
                        size_t *count, struct domain_send **sends, size_t *send_count);

/* --- services.c --- */
struct services *services_open(struct reactor *reactor);
void services_free(struct services *services);
bool services_has(const struct services *services, struct slice context, struct slice name);
int services_put(struct services *services, struct command *command, struct fault *fault);
/* Begins what waits while there is room. */
void services_turn(struct services *services);
/* The end: those that wait are told so. Runs have been ended. */
void services_give_up(struct services *services);
void services_status(struct services *services, struct buf *ndjson);
/* Nothing is queued or runs. */
bool services_are_idle(const struct services *services);
void services_metrics(struct services *services, struct buf *out);

/* --- tasks.c --- */
int tasks_open(struct reactor *reactor, bool schedule, struct tasks **tasks, struct fault *fault);
/* Before the thread starts: finds tenants and what they did last. */
int tasks_start(struct tasks *tasks, struct fault *fault);
void tasks_free(struct tasks *tasks);
int tasks_run(struct tasks *tasks, struct slice name, struct command *command, struct fault *fault);
/* Begins what is due; returns the ms until something will be, -1: nothing. */
int tasks_turn(struct tasks *tasks);
void tasks_status(struct tasks *tasks, struct buf *ndjson);
bool tasks_run_one(struct tasks *tasks, struct slice task, struct slice tenant);
/* No run is under way or waits to be kept. */
bool tasks_are_idle(const struct tasks *tasks);
void tasks_metrics(struct tasks *tasks, struct buf *out);

#endif

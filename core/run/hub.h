/* hub.h: the façade of run/: everything that net/ and cli/ may know of a running hub.
 *
 *     struct hub_options options = {.scripts = "./scripts", .data = "./data"};
 *     if (hub_open(&options, &hub, &fault) < 0) ...
 *     hub_submit(hub, command, &fault);                       answers through command->done
 *     hub_stop(hub);                                          no new commands; those taken are answered
 *     hub_close(hub);
 *
 * Threads: calls from any thread unless said. Owns: engine, views, all threads of the hub. */
#ifndef LORE_RUN_HUB_H
#define LORE_RUN_HUB_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/fault.h"
#include "run/command.h"
#include "run/inbox.h"
#include "run/moment.h"
#include "store/docs.h"
#include "store/engine.h"

struct hub;

struct hub_options {
    const char *scripts; /* folder; NULL: only the log is read (read_only, projectors -1) */
    const char *data;    /* directory; NULL: in memory (tests) */
    int shards;          /* 0: number of cores */
    int projectors;      /* 0: number of cores; -1: none (imports): views catch up at the next start */
    bool quiet;          /* a command that fails is told by who sent it, not by the hub too */
    bool schedule;       /* a hub that stays, not one for a single question: receptors and timers send, tasks
                            run at their moments */
    bool recorded;       /* it runs the deploy that is recorded; the folder is only for a log without one */
    const char *secrets; /* file of named secrets for services and tasks (secrets.h), may be NULL */
    bool read_only; /* look only: no shards, no writer, no projectors; a running hub may have the directory */
    const char *as_of; /* NULL; or a moment (moment.h): a hub of the past. It reads the log in data as it was
                          then, beside a running hub too, and builds its views in a temporary folder; nothing
                          of data is written. It takes no commands and sends nothing */
    struct clock *clock;
    struct engine *engine; /* NULL; or an open one to use instead (simulations, tests with a failing disk);
                              the hub closes it, also if it cannot be opened */
    struct buf *errors;    /* gets every script error, may be NULL */
};

/* Faults: SCRIPTS, NOT_FOUND (scripts folder; a moment that is not there yet), MALFORMED (as_of), IN_USE,
 * PERMISSION, DISK, CORRUPT. Returns when commands can be taken; rebuilds run behind. */
int hub_open(const struct hub_options *options, struct hub **hub, struct fault *fault);
/* Refuses new commands with UNAVAILABLE, answers all that were taken, waits for projectors to flush. */
void hub_stop(struct hub *hub);
void hub_close(struct hub *hub); /* hub_stop, then frees */
/* The same for a process that ends right after: the states that shards keep are left to the system, which
 * takes them back at once; one by one that was half a second after an import. Sanitizers see everything
 * freed. */
void hub_close_to_exit(struct hub *hub);

/* Takes the command, or refuses it at once (then it stays the caller's): NOT_FOUND tenant, context,
 * aggregate; UNKNOWN_COMMAND, MALFORMED, TOO_LARGE, BUSY, UNAVAILABLE, DISK. */
int hub_submit(struct hub *hub, struct command *command, struct fault *fault);
/* The same, but waits while the queue is full instead of BUSY: for imports inside the process, never for
 * strangers. An ordered command that is refused at the door has used its number (BUSY of hub_submit has not).
 * UNKNOWN_COMMAND comes through done. */
int hub_submit_wait(struct hub *hub, struct command *command, struct fault *fault);
/* For who submits many at a time: the shards are not woken before hub_rouse, then once for all of them. wait:
 * as hub_submit_wait. */
int hub_submit_quietly(struct hub *hub, struct command *command, bool wait, struct fault *fault);
void hub_rouse(struct hub *hub);
bool hub_has_tenant(struct hub *hub, struct slice tenant);
struct engine *hub_engine(struct hub *hub);
/* Value of a limit of hub.lua's limits table by its name there, or otherwise `otherwise`. */
int64_t hub_limit(struct hub *hub, const char *name, int64_t otherwise);

/* --- the past and the present of a stream --- */

enum query_kind { QUERY_STATE, QUERY_TRACE, QUERY_BLAME };

struct query_link {
    struct inbox_link link;
    enum query_kind kind;
};

struct state_query {
    struct slice tenant, context, aggregate, id;
    int64_t version; /* -1: now, or as of the moment */
    bool has_moment; /* beside a version: the moment is not looked at */
    struct moment moment;
    /* the answer, filled before done */
    struct fault fault;
    uint64_t found_version, position;
    struct buf state; /* MessagePack */
    void (*done)(struct state_query *query);
    void *user;
    struct query_link link; /* the hub's own */
};
/* Answers on the query thread. The query is the caller's; it must live until done. Refused (-1) when the
 * queue is full. */
int hub_query_state(struct hub *hub, struct state_query *query, struct fault *fault);

/* --- documents in the past --- */

struct past_view; /* documents folded for one question */

struct past_query {
    struct slice tenant, view; /* "context/name", or "name" where unique */
    struct slice key;          /* empty: the whole view */
    struct moment moment;      /* a time is when things happened: see moment.h */
    atomic_bool stop;          /* set by who asked: nobody waits for the answer any more */
    /* the answer, filled before done */
    struct fault fault;
    uint64_t position;           /* every event up to it that the moment wants is in */
    uint64_t folded;             /* events that were folded for it */
    bool found;                  /* of a key: there was a document */
    struct buf document;         /* MessagePack */
    struct buf parked;           /* JSON object {"position","error"}; empty: the key is not parked */
    struct past_view *documents; /* without a key: until hub_past_release */
    void (*done)(struct past_query *query);
    void *user;
    struct inbox_link link; /* the hub's own */
};
/* Folds a document, or all of a view, up to a moment; on threads of its own. One whose key is the id of
 * streams costs as much as folding these; one with a key function a scan of the log up to there; free style
 * and whole views are built from nothing in a temporary folder. hub.lua's limit past_seconds ends it
 * (UNAVAILABLE). The query is the caller's; it must live until done. BUSY: too many are asked or read. Other
 * faults come through done. */
int hub_query_past(struct hub *hub, struct past_query *query, struct fault *fault);
/* Borrowed from the answer; meta values as of a generation. */
struct docs *hub_past_docs(const struct past_view *documents);
/* After done, once. */
void hub_past_release(struct hub *hub, struct past_query *query);

/* --- what followed from what --- */

struct trace_query {
    struct slice tenant, id; /* of a correlation, a command or an event */
    /* the answer, filled before done */
    struct fault fault;
    struct buf json; /* see run/trace.h */
    void (*done)(struct trace_query *query);
    void *user;
    struct query_link link; /* the hub's own */
};
/* As hub_query_state. */
int hub_query_trace(struct hub *hub, struct trace_query *query, struct fault *fault);

/* --- who made it --- */

struct blame_query {
    struct slice tenant;
    /* one of: */
    uint64_t position;          /* of an event */
    struct slice event;         /* its id */
    struct slice aggregate, id; /* a stream: "billing/bill", its last commits */
    uint64_t commits;           /* at least 1 */
    struct slice view, key;     /* a document */
    /* the answer, filled before done */
    struct fault fault;
    struct buf json; /* see run/blame.h */
    void (*done)(struct blame_query *query);
    void *user;
    struct query_link link; /* the hub's own */
};
/* As hub_query_state. */
int hub_query_blame(struct hub *hub, struct blame_query *query, struct fault *fault);

/* --- views --- */

struct view_info {
    char name[2 * 64 + 2]; /* "billing/outstanding_invoices" */
    uint64_t generation;   /* that answers; 0: none yet */
    uint64_t deploy;       /* under which that was built first; 0: by a lore that did not keep it */
    uint64_t position;     /* every event up to it is in the view */
    uint64_t head;         /* of the log, when asked */
    uint64_t parked;       /* keys */
    bool stopped;          /* for at least one tenant */
    bool rebuilding;
    uint64_t new_generation, new_deploy, new_position;
    double rate; /* events a second of the rebuild */
    double seconds_left;
    char reason[256]; /* why it rebuilds: "pricing.lua changed" */
};

/* A lease on the answering generation: while held it is not closed. name is "context/name", or "name" where
 * unique. Faults: NOT_FOUND (with the nearest name), UNAVAILABLE (first build has not begun). */
struct view_lease {
    struct docs *docs;
    uint64_t position; /* checkpoint when leased; a read snapshot may be later: see hub_view_position */
    uint64_t generation;
    void *held;
    double seconds_left; /* when the lease is refused since the view is being built: until then, 0: unknown */
    bool building;       /* it is refused for that */
};
int hub_view_lease(struct hub *hub, struct slice name, struct view_lease *lease, struct fault *fault);
void hub_view_release(struct hub *hub, struct view_lease *lease);
/* The checkpoint as committed together with the documents that this read sees, for this tenant. */
uint64_t hub_view_position(struct docs_read *read, struct slice tenant);
/* A reader waits until the views have this position: it need not wait for the next rest of the projectors to
 * end. For whoever looks again when woken (hub_watch). */
void hub_view_hurry(struct hub *hub, uint64_t position);
/* Whether this key is parked as of this read: 1 (JSON object {"position","error"} appended), 0. */
int hub_view_parked(struct docs_read *read, struct slice tenant, struct slice key, struct buf *json);
size_t hub_view_count(struct hub *hub);
/* False: it is no longer declared. */
bool hub_view_info(struct hub *hub, size_t index, struct view_info *info);
/* Builds a new generation by hand. Fault: NOT_FOUND. */
int hub_rebuild(struct hub *hub, struct slice name, struct fault *fault);
/* Waits (in the calling thread) until every view is at the head of now, or failed; false at time-out. */
bool hub_settle(struct hub *hub, int timeout_ms);

/* --- deploys --- */

struct sources;

struct deploy_text { /* a script of a folder: "billing/bill.lua" */
    struct slice path, text;
};

enum deploy_order_kind {
    DEPLOY_ORDER_DEPLOY,
    DEPLOY_ORDER_PLAN,     /* what would change, and no more */
    DEPLOY_ORDER_UNDEPLOY, /* back to the deploy before the running one */
    DEPLOY_ORDER_START     /* of the folder, at a start: run/launch.h */
};

struct deploy_order {
    enum deploy_order_kind kind;
    const struct deploy_text *texts; /* DEPLOY, PLAN: all scripts; the caller's until hub_deploy returns */
    size_t text_count;
    struct slice actor, note, folder; /* the caller's, until done */
    struct slice specs;               /* what the specs came to, a JSON object; empty: they were not run */
    uint64_t specs_failed;
    bool force;      /* whatever the gate says */
    bool replay;     /* the gate folds and decides the past anew; else only what is instant */
    bool everything; /* a replay looks at all aggregates, not only at those that changed */
    /* of a replay; 0: all of it */
    int64_t since_ms;  /* only streams with events recorded since */
    int64_t budget_ms; /* what is not done by then is left out, and said so */
    int64_t samples;   /* of each kind of difference; 0: a few */
    bool is_told;      /* who gave it says what it came to; else the hub does */
    /* the answer */
    struct fault fault; /* SCRIPTS: they do not load; REFUSED by the gate: see the report */
    uint64_t deploy;    /* that runs now */
    struct buf report;  /* JSON, see run/gate.h; also with SCRIPTS */
    void (*done)(struct deploy_order *order); /* in the deployer's thread */
    void *user;
    struct inbox_link link;  /* the hub's own */
    struct sources *sources; /* the hub's own */
};
/* Orders are carried out one after another, in a thread of their own. Refused (-1): UNAVAILABLE, BUSY,
 * MALFORMED and TOO_LARGE (a text that no scripts folder could hold, naming its path). */
int hub_deploy(struct hub *hub, struct deploy_order *order, struct fault *fault);

/* --- receptors --- */

/* Tries what a receptor ("context/name") or the courier ("courier") could not send now. Fault: NOT_FOUND. */
int hub_retry(struct hub *hub, struct slice name, struct fault *fault);
/* The clock was moved: who waits for a moment looks at it again. For clocks other than the machine's. */
void hub_look(struct hub *hub);
/* Nothing of the log is left to be sent, but for what waits for its time or is parked. hub_watch's woken is
 * called when it comes to that. */
bool hub_is_quiet(struct hub *hub);

/* --- services and tasks --- */

/* Runs a task ("context/name", or "name" where unique) now, by hand. Of the command tenant, batch_id, actor,
 * done and user count; the answer is the commit of what it did, which ends with $TaskRan. Faults: NOT_FOUND,
 * UNAVAILABLE; through done also CONFLICT (it runs), BUSY. */
int hub_run_task(struct hub *hub, struct slice name, struct command *command, struct fault *fault);

/* --- being told --- */

/* woken (from any thread, must not block) after commits became durable, a view moved on
 * or the run of a task ended. Returns a token
 * for hub_unwatch. */
void *hub_watch(struct hub *hub, void (*woken)(void *user), void *user);
void hub_unwatch(struct hub *hub, void *token);

/* --- looking at it --- */

/* NDJSON lines of lore status: hub, shards, views, parked keys, index. */
void hub_status(struct hub *hub, struct buf *ndjson);
/* Prometheus text. */
void hub_metrics(struct hub *hub, struct buf *text);
bool hub_ready(struct hub *hub);

/* --- events as CloudEvents --- */

/* One event of a record as a CloudEvents JSON object appended to out. */
void hub_event_json(struct hub *hub, const struct record *record, const struct record_event *event,
                    struct buf *out);
/* The same of a record that is in no hub. */
void cloudevent_json(const char *log_id, const struct record *record, const struct record_event *event,
                     struct buf *out);

#endif

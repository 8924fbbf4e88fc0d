/* api.h: between the routes: one call is one request on its way through net/. Not for other layers.
 *
 *   server ──handle──► api_take: router, method, query ──► the route's function
 *        │                          │ answers at once:  api_reply, api_fault, api_stream
 *        │                          │ later: something done on another thread calls api_finish(call), and
 * call->resume │                          │ runs on the loop's thread └──ended───► api_end: leaves the lists,
 * frees the command
 *
 * A call lives in its exchange's arena, which outlives all work done for it (see exchange.c). */
#ifndef LORE_NET_API_H
#define LORE_NET_API_H

#include <stdatomic.h>

#include <uv.h>

#include "net/net.h"
#include "net/router.h"
#include "net/server.h"
#include "net/query.h"
#include "run/hub.h"

enum {
    API_LIMIT_DEFAULT = 100,
    API_PIECE_SIZE = 48 * 1024, /* a long answer is made in pieces of about this */
    API_SLICE_NS =
        2 * 1000 * 1000, /* and a search for what to answer yields after this, so that others are answered */
    API_COMMANDS_KEPT = 256,
    API_UNSEEN_MAX = 100,    /* events that a conflict carries */
    API_WAIT_MS = 10 * 1000, /* ?wait= without ?timeout= */
    API_WAIT_MS_MAX = 10 * 60 * 1000
};

enum api_format { API_JSON, API_NDJSON, API_EVENT_STREAM };

struct call_list {
    struct call *first;
};

struct net {
    struct net_options options;
    struct hub *hub;
    struct server *server;
    int port;
    uv_async_t finished_async, moved_async;
    uv_timer_t waits_timer, beat_timer, repl_timer;
    int handles;
    void *watch;
    struct call *_Atomic finished;         /* newest first */
    struct command *_Atomic bulk_answered; /* of bulk bodies, newest first */
    atomic_bool repl_moved;                /* lines of sessions can be taken */
    size_t bulk_count;                     /* bodies at work */
    struct bulk *bulks;                    /* all that have commands */
    struct call_list ordered;              /* ordered bodies that wait for the one at work */
    bool ordered_at_work;
    struct call_list tails;  /* event streams */
    struct call_list waits;  /* readers of views that wait for a position */
    struct call_list repls;  /* questions of sessions */
    struct call_list pasts;  /* and for a document of the past */
    atomic_size_t listening; /* in these two: whether anybody wants to know that something moved */
    struct command_pool commands;
    struct fault fault; /* of the call at hand: a fault is large and lives for a moment only */
    uint64_t head_told; /* the tails know of the log up to here */
    bool is_stopping;
    bool paused;           /* hub is about to go or gone: nothing is asked of it */
    uint64_t hub_number;   /* of the hub that is there: the log was cut between it and the one before */
    struct call *rollback; /* that waits for its end; NULL: it has left, or there is none */
    bool rolling, looking; /* one is under way; a thread of the pool reads the log for it */
    size_t tail_count;
    uint64_t answers[ROUTE_COUNT + 1][6]; /* by route (the last: none) and hundreds of status */
};

/* What an answer of many things is made from: see api_events.c and api_views.c. */
struct api_page {
    uint64_t limit; /* how many may still come */
    bool has_begun;
    bool is_first; /* nothing was put yet, so no comma */
};

struct event_filter {
    struct slice type, context, subject, correlation; /* empty: any */
    uint64_t deploy;
    bool has_deploy;
};

struct events_call {
    struct api_page page;
    struct event_filter filter;
    bool is_stream;         /* of one stream: from and last are versions, else positions */
    struct slice aggregate; /* "billing/bill" */
    uint64_t from, last;    /* next to look at; the last to look at */
    uint64_t given;         /* the last that was put */
    int64_t written_ms;     /* tails: when something was last sent */
    bool is_beat_due;
};

struct view_call {
    struct api_page page;
    struct docs_range range;
    struct buf cursor; /* where the next piece begins */
    uint64_t position; /* of the first piece */
    uint64_t wanted;   /* ?wait= */
    int64_t deadline_ms;
    struct past_query *past; /* ?at=; else NULL */
};

struct deploys_call {
    struct api_page page;
    uint64_t below;                      /* of the list: numbers below it are to come; 0: all */
    const struct deploy_script *scripts; /* in the exchange's arena */
    size_t next, script_count;
};

struct call {
    struct net *net;
    struct exchange *exchange;
    struct route_match match;
    unsigned method;
    struct query query;
    enum api_format format;
    void (*resume)(struct call *call); /* after api_finish */
    struct call *finished_next;
    struct call_list *list; /* that it is in */
    struct call *previous, *next;
    struct command *command;
    struct bulk *bulk;
    struct session_call *session; /* a question */
    struct deploy_call *deploy;   /* a POST to deploys */
    uint64_t hub_number;          /* that it began with */
    int64_t retry_ms;             /* what the fault at hand says of it */
    enum server_pull (*pull)(void *user, struct buf *out);
    union {
        struct rollback_call *rollback;
        struct state_query *state;
        struct trace_query *trace;
        struct blame_query *blame;
        struct events_call events;
        struct view_call view;
        struct deploys_call deploys;
    };
};

/* --- api.c: for the routes --- */

struct arena *api_arena(struct call *call);
struct buf *api_out(struct call *call);
int64_t api_now_ms(struct call *call);
/* From any thread: call->resume(call) will run on the loop's. Once per call. */
void api_finish(struct call *call);
void api_list_put(struct call_list *list, struct call *call);
void api_list_remove(struct call *call);

void api_reply(struct call *call, int status);
void api_fault(struct call *call, const struct fault *fault);
/* The same with a Retry-After of its own; 0: the code's. */
void api_fault_retry(struct call *call, const struct fault *fault, int64_t retry_ms);
/* Answers what pull makes: whole if it ends within one piece, else streamed. pull returns SERVER_CUT with
 * net->fault filled when it fails; before anything was sent that becomes the answer. */
void api_pull(struct call *call, enum server_pull (*pull)(void *user, struct buf *out));
const char *api_content_type(enum api_format format);
/* Whether the hub that it began with is still there. */
bool api_is_of_hub(const struct call *call);
/* ?limit=, or otherwise. */
int api_limit(struct call *call, uint64_t otherwise, uint64_t *limit);
/* A parameter that is a moment: 1; 0: it is not given; -1: MALFORMED. */
int api_moment(struct call *call, const char *name, struct moment *moment, struct fault *fault);

/* The server's handler and ended; user is the net. */
void api_take(void *user, struct exchange *exchange);
void api_end(void *user, struct exchange *exchange, int status);

/* --- the routes --- */

void api_command_take(struct call *call); /* POST to a stream or service */
void api_bulk_take(struct call *call);    /* POST many commands */
void api_repl_take(struct call *call);    /* POST a question in Lua */
void api_state_take(struct call *call);   /* GET a stream */
void api_trace_take(struct call *call);   /* GET what followed from what */
void api_blame_take(struct call *call);   /* GET which deploy, file and command made it */
void api_events_take(struct call *call);  /* GET the log */
void api_stream_events_take(struct call *call);
void api_view_take(struct call *call);    /* GET a view or a document */
void api_past_take(struct call *call);    /* the same, of the past: its parameters are read */
void api_view_list(struct call *call);    /* answers with the documents of a view */
void api_deploys_take(struct call *call); /* GET what was deployed */
void api_deploy_take(struct call *call);
void api_deploy_scripts_take(struct call *call);
void api_health_take(struct call *call);
void api_ready_take(struct call *call);
void api_metrics_take(struct call *call);
void api_status_take(struct call *call);
void api_rebuild_take(struct call *call);
void api_task_run_take(struct call *call);
void api_retry_take(struct call *call);
void api_deploy_post(struct call *call); /* POST new scripts, or a plan of them */
void api_deploy_undo_post(struct call *call);
void api_deploy_end(struct call *call); /* the exchange is over */
void api_rollback_take(struct call *call);

/* The log or a view moved on. */
void api_events_moved(struct net *net);
void api_views_moved(struct net *net); /* also: time passed */
/* Time passed: comments into silent tails. */
void api_events_beat(struct net *net, int64_t now_ms);
/* Time passed: who asked for the past and left ends the search. */
void api_past_beat(struct net *net);
/* The exchange is over. */
void api_past_end(struct call *call);
/* Lets everybody who waits go. */
void api_events_stop(struct net *net);
void api_views_stop(struct net *net);

/* Appends the events of the command's stream between its version and that of the conflict as a JSON array, at
 * most API_UNSEEN_MAX. */
void api_events_put_unseen(struct call *call, const struct command *command, struct buf *out);
/* What became of a command, as one line: the object of a 200, or a problem. */
void api_command_put_result(struct call *call, const struct command *command, struct buf *out);
/* An id out of a header, if it is there. Fault: MALFORMED. */
int api_header_id(struct call *call, const char *header, struct arena *arena, struct slice *id,
                  struct fault *fault);
/* The Actor header, if it is there, in the exchange's arena. Fault: MALFORMED. */
int api_header_actor(struct call *call, struct slice *actor, struct fault *fault);
/* Lines of sessions can be taken. */
void api_repl_moved(struct net *net);
/* The exchange is over. */
void api_repl_end(struct call *call);
/* Commands of bulk bodies were answered. */
void api_bulk_finished(struct net *net);
/* The hub is about to go and has answered all it took: the answers are put while its names are there. */
void api_bulk_detach(struct net *net);
/* The exchange is over. */
void api_bulk_end(struct call *call);

#endif

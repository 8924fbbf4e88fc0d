/* sessions.h: all sessions of a hub, for hub.c; and what the files behind session.h share.
 *
 * Threads: start and stop the hub's; the rest as said. Owns: the sessions and their threads. */
#ifndef LORE_RUN_SESSIONS_H
#define LORE_RUN_SESSIONS_H

#include "run/inside.h"
#include "run/scan.h"
#include "run/session.h"
#include "run/session_wait.h"
#include "vm/ask.h"

struct sessions {
    struct hub *hub;
    pthread_mutex_t lock;
    struct session *open[SESSIONS_MAX]; /* NULL: free */
    struct session *ended;              /* to be joined */
    size_t running;                     /* threads that are in neither state yet, or open */
    pthread_cond_t gone;                /* one of them ended */
    uint64_t rests;                     /* counts the calls that have ended, to tell who is idle longest */
    atomic_bool is_stopping;            /* looked at without the lock, for a text */
};

struct session_past_view;

struct session_past { /* where a session stands that went back (session_past.c) */
    bool is_set;
    uint64_t position; /* of the last event that had happened */
    char moment[64];   /* as it was asked for */
    int64_t recorded_ms;
    struct session_past_view *views; /* built for it, the last one asked for first */
};

struct session {
    struct sessions *sessions;
    struct session *next_ended;
    char id[RAND_UUID_SIZE + 1];
    char home[64]; /* the tenant that it was opened for */
    pthread_t thread;
    /* under the lock of sessions */
    pthread_cond_t asked;
    struct session_call *call; /* that it works for, or will */
    uint64_t rested;           /* rests when its last call ended */
    bool is_ending;
    atomic_bool cancelled; /* what it evaluates must end */
    /* its thread's */
    struct hub *hub;
    struct release *release; /* held; NULL: nothing is open */
    struct domain *domain;
    struct domain *aside; /* for what handlers do (session_insight.c); NULL: not needed yet */
    struct ask *ask;
    struct ask_host host;
    struct scan_host scan; /* what its queries read: of the tenant */
    struct seek_source events;
    char tenant[64]; /* that it reads */
    struct session_past past;
    struct session_wait wait; /* for what another thread answers */
    bool writes;
    struct buf actor; /* of who may write */
};

struct sessions *sessions_new(struct hub *hub);
/* Ends all of them; calls that are under way are answered. None begins behind it. */
void sessions_stop(struct sessions *sessions);
void sessions_free(struct sessions *sessions);

/* session_call.c: for the thread that works for it. tell: one line, waits for room; CANCELLED. */
int session_call_tell(struct session_call *call, struct slice line, const atomic_bool *cancelled,
                      struct fault *fault);
/* The last line, for which there is always room. */
void session_call_end(struct session_call *call, struct slice line);

/* session_host.c */
void session_host_init(struct session *session);

/* session_insight.c: fills in its functions of the host; lets go what they made. */
void session_insight_init(struct session *session);
void session_insight_forget(struct session *session);

/* session_past.c: the moment from here on, empty: now; appends where that is. Faults: MALFORMED, NOT_FOUND.
 */
int session_past_set(struct session *session, struct slice moment, struct buf *told, struct fault *fault);
/* All documents of a view, and one, as they were there. Faults: those of hub_query_past, CANCELLED. */
int session_past_docs(struct session *session, struct slice view, struct docs **docs, struct fault *fault);
int session_past_get(struct session *session, struct slice view, struct slice key, struct buf *document,
                     struct fault *fault);
/* Lets go the views of then. */
void session_past_forget(struct session *session);

#endif

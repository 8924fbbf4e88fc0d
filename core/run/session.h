/* session.h: questions in Lua to a hub (the REPL), each asked in a session.
 *
 *     struct session_call *call = session_call_new(SESSION_EVALUATE, moved, user);
 *     snprintf(call->session, sizeof call->session, "%s", id);
 *     buf_put_text(&call->text, "billing.bill '7'");
 *     if (hub_session_ask(hub, call, &fault) < 0) ... session_call_leave(call) ...
 *     bool over = session_call_take(call, &out);      whenever moved was called
 *     session_call_leave(call);                       at any time: who leaves before the end cancels it
 *
 * A session is a thread with a Lua state and a loaded set of scripts of its own, so no question is ever in
 * the way of shards, queries or the loop. What it may use is bounded: the memory of its state and the time of
 * an evaluation by hub.lua's limits repl_memory and repl_seconds, the sessions by SESSIONS_MAX, and what it
 * answers by its reader: a thread whose answer nobody takes waits. One that nobody asks for repl_idle_seconds
 * ends, and the one that has been idle longest gives way when all are taken and another one opens. A deploy
 * is seen at the next question, which is asked of the new scripts. When the hub stops (also for a rollback of
 * its log) all sessions end.
 *
 * Threads: any. Owns: a call belongs to who made it and to the session that works for it; the last one to be
 * through with it frees it, so it may outlive the hub. */
#ifndef LORE_RUN_SESSION_H
#define LORE_RUN_SESSION_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/rand.h"
#include "run/hub.h"

enum { SESSIONS_MAX = 8 };

enum session_kind {
    SESSION_OPEN,     /* answers {"session","deploy","position","contexts","write"} */
    SESSION_EVALUATE, /* of text; lines as they come. Without a session: one for this question alone */
    SESSION_COMPLETE, /* of text: {"from","candidates","more"} */
    SESSION_HELP,     /* on text: {"help"} */
    SESSION_WRITE,    /* sending is allowed from here on, or not: {"write"} */
    SESSION_CLOSE     /* {"closed"} */
};

struct session;

struct session_call {
    /* the request */
    enum session_kind kind;
    char tenant[64]; /* of the path: a session is found under that which it was opened for */
    char session[RAND_UUID_SIZE + 1];
    struct buf text, actor;
    uint64_t rows; /* of a query: so many are told, 0: all */
    bool write;
    /* Called from the session's thread, which holds a lock: something can be taken. */
    void (*moved)(struct session_call *call);
    void *user;
    /* the answer */
    struct fault fault; /* once it is over; of EVALUATE it is told in the last line too */
    /* the rest is the session's, under the lock */
    pthread_mutex_t lock;
    pthread_cond_t room; /* something was taken, or it is cancelled */
    struct buf out;
    bool is_over, has_left, is_answered; /* answered: cancelling it would hit the session's next one */
    struct session *working;             /* NULL: it has not begun, or is over */
};

struct session_call *session_call_new(enum session_kind kind, void (*moved)(struct session_call *call),
                                      void *user);
/* Appends the lines that are there. True: the answer is whole. Never waits. */
bool session_call_take(struct session_call *call, struct buf *out);
/* The work for it ends soon, with what is said in fault CANCELLED. */
void session_call_cancel(struct session_call *call);
/* The caller is through with it. */
void session_call_leave(struct session_call *call);

/* Refused at once (the call is still the caller's alone): NOT_FOUND (no such session, or the REPL is off),
 * BUSY (SESSIONS_MAX are at work), CONFLICT (it is at work), UNAVAILABLE (stopping, no scripts). */
int hub_session_ask(struct hub *hub, struct session_call *call, struct fault *fault);
/* Ends what the session evaluates, if anything; it stays and so do its variables. Fault: NOT_FOUND. */
int hub_session_cancel(struct hub *hub, struct slice tenant, struct slice session, struct fault *fault);
size_t hub_session_count(struct hub *hub);

#endif

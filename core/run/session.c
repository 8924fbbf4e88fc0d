/* DESIGN. Sessions and their threads.
 *
 *   hub_session_ask ─► session->call ─► its thread: renew, evaluate ─► lines ─► session_call_end
 *
 *  1. One lock guards which sessions there are and what each works for. A session has one call at a time; a
 *     second one is refused, so nothing queues.
 *  2. A call is taken away from its session before its last line can be seen: who has seen it may ask again.
 *  3. Whoever wants an evaluation to end sets session->cancelled, with the lock of the call it belongs to. It
 * is cleared when a call is given to the session, under both locks, so no cancellation hits the next one.
 *  4. A session ends in its own thread, closes its Lua state there, and is joined by the next one that opens,
 * or when the hub stops. */
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "codec/json.h"
#include "run/sessions.h"

enum {
    REPL_MEMORY = 256 << 20,
    REPL_SECONDS = 300,
    REPL_IDLE_SECONDS = 15 * 60,
    SESSION_NICE = 5 /* a third of the processor that a shard gets when both want it */
};

/* --- its scripts --- */

static void session_forget(struct session *session)
{
    ask_close(session->ask);
    session_past_forget(session);
    session_insight_forget(session);
    if (session->domain) domain_close(session->domain);
    release_let_go(session->release);
    session->ask = NULL;
    session->domain = NULL;
    session->release = NULL;
}

static int session_load(struct session *session, struct fault *fault)
{
    struct hub *hub = session->hub;
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    if (release) release_hold(release);
    release_leave(&visit);
    if (!release) return fault_set(fault, FAULT_UNAVAILABLE, "this hub runs without scripts");
    session->release = release;
    struct domain_options options = release_domain_options(release);
    options.memory_max = (size_t)catalog_limit(&release->catalog, "repl_memory", REPL_MEMORY);
    if (domain_open(&options, &session->domain, NULL, fault) < 0) {
        session->domain = NULL;
        session_forget(session);
        return -1;
    }
    struct ask_options ask = {.domain = session->domain,
                              .host = &session->host,
                              .cancelled = &session->cancelled,
                              .seconds = catalog_limit(&release->catalog, "repl_seconds", REPL_SECONDS)};
    if (ask_open(&ask, &session->ask, fault) == 0) return 0;
    session_forget(session);
    return -1;
}

/* The scripts that run now; told if they are others than those of the question before. */
static int session_renew(struct session *session, struct fault *fault)
{
    bool had = session->release != NULL;
    if (had && session->release == atomic_load(&session->hub->release))
        return 0; /* held: no other is there */
    session_forget(session);
    if (session_load(session, fault) < 0) return -1;
    if (!had || session->call->kind != SESSION_EVALUATE) return 0;
    struct buf line = {0};
    buf_format(&line, "{\"print\":\"deploy %llu is live: variables of this session are gone\"}",
               (unsigned long long)session->release->deploy);
    int done = session_call_tell(session->call, buf_slice(&line), &session->cancelled, fault);
    buf_release(&line);
    return done;
}

/* --- what is asked of it --- */

/* The last line of an evaluation. A fault of the hub's end is not the evaluation's. */
static void put_fault(struct session *session, const struct fault *fault, struct buf *line)
{
    bool is_budget = fault->code == FAULT_BUDGET;
    buf_put_text(line, "{\"error\":{");
    json_put_text_member(line, "code", slice_of(is_budget ? "budget" : fault_name(fault->code)));
    json_put_text_member(line, "message", slice_of(fault->text));
    buf_put_text(line, "}}");
}

/* Where the session stands, if not where it began, and the end of the line. */
static void put_place(const struct session *session, struct buf *line)
{
    if (strcmp(session->tenant, session->home) != 0)
        json_put_text_member(line, "tenant", slice_of(session->tenant));
    if (session->past.is_set) json_put_text_member(line, "at", slice_of(session->past.moment));
    buf_put_byte(line, '}');
}

static void session_evaluate(struct session *session, struct session_call *call, struct buf *line)
{
    struct fault *fault = &call->fault;
    buf_put_text(line, "{\"value\":");
    enum ask_end end = session_renew(session, fault) < 0
                           ? ASK_FAILED
                           : ask_evaluate(session->ask, buf_slice(&call->text), call->rows, line, fault);
    if (end != ASK_VALUE) buf_clear(line);
    if (end == ASK_NONE) buf_put_text(line, "{\"none\":true");
    if (end == ASK_VALUE || end == ASK_NONE) put_place(session, line);
    if (end == ASK_INCOMPLETE) buf_put_text(line, "{\"incomplete\":true}");
    if (end != ASK_FAILED) return;
    if (atomic_load(&session->sessions->is_stopping) && fault->code == FAULT_CANCELLED)
        fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    put_fault(session, fault, line);
}

static void put_opened(struct session *session, struct buf *line)
{
    buf_put_byte(line, '{');
    json_put_text_member(line, "session", slice_of(session->id));
    json_put_int_member(line, "deploy", (int64_t)session->release->deploy);
    json_put_int_member(line, "position", (int64_t)engine_head(session->hub->engine).position);
    json_put_name(line, "contexts");
    buf_put_byte(line, '[');
    for (size_t at = 0; at < domain_context_count(session->domain); at++) {
        if (at) buf_put_byte(line, ',');
        json_put_text(line, domain_context(session->domain, at));
    }
    buf_format(line, "],\"write\":%s}", session->writes ? "true" : "false");
}

static int session_answer(struct session *session, struct session_call *call, struct buf *line)
{
    struct fault *fault = &call->fault;
    struct buf text = {0};
    if (call->kind == SESSION_EVALUATE) {
        session_evaluate(session, call, line);
        return 0;
    }
    if (call->kind == SESSION_CLOSE) {
        session_forget(session);
        buf_put_text(line, "{\"closed\":true}");
        return 0;
    }
    if (call->kind == SESSION_OPEN || call->kind == SESSION_WRITE) {
        session->writes = call->write;
        buf_clear(&session->actor);
        buf_put_slice(&session->actor, buf_slice(&call->actor));
    }
    if (call->kind == SESSION_WRITE) {
        buf_format(line, "{\"write\":%s}", session->writes ? "true" : "false");
        return 0;
    }
    if (session_renew(session, fault) < 0) return -1;
    switch (call->kind) {
    case SESSION_OPEN: put_opened(session, line); return 0;
    case SESSION_COMPLETE:
        buf_put_byte(line, '{');
        if (ask_complete(session->ask, buf_slice(&call->text), line, fault) < 0) return -1;
        buf_put_byte(line, '}');
        return 0;
    default:
        if (ask_help(session->ask, buf_slice(&call->text), &text, fault) < 0) {
            buf_release(&text);
            return -1;
        }
        buf_put_byte(line, '{');
        json_put_text_member(line, "help", buf_slice(&text));
        buf_put_byte(line, '}');
        buf_release(&text);
        return 0;
    }
}

/* --- its thread --- */

/* With the lock: no call finds it any more. */
static void session_leave_table(struct session *session)
{
    struct sessions *sessions = session->sessions;
    session->is_ending = true;
    for (size_t at = 0; at < SESSIONS_MAX; at++)
        if (sessions->open[at] == session) sessions->open[at] = NULL;
}

/* Waits for the next call; NULL: the session ends. */
static struct session_call *session_next(struct session *session)
{
    struct sessions *sessions = session->sessions;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += hub_limit(session->hub, "repl_idle_seconds", REPL_IDLE_SECONDS);
    pthread_mutex_lock(&sessions->lock);
    while (!session->call && !session->is_ending)
        if (pthread_cond_timedwait(&session->asked, &sessions->lock, &until) == ETIMEDOUT && !session->call)
            session_leave_table(session);
    struct session_call *call = session->call;
    pthread_mutex_unlock(&sessions->lock);
    return call;
}

static void session_take(struct session *session, struct session_call *call)
{
    struct sessions *sessions = session->sessions;
    struct buf line = {0};
    bool is_last = call->kind == SESSION_CLOSE || (call->kind == SESSION_EVALUATE && !call->session[0]);
    if (session_answer(session, call, &line) < 0) {
        buf_clear(&line);
        is_last = is_last || call->kind == SESSION_OPEN;
    }
    if (is_last) session_forget(session);
    pthread_mutex_lock(&sessions->lock);
    pthread_mutex_lock(&call->lock);
    call->is_answered = true;
    pthread_mutex_unlock(&call->lock);
    session->call = NULL;
    session->rested = ++sessions->rests;
    if (is_last) session_leave_table(session);
    pthread_mutex_unlock(&sessions->lock);
    session_call_end(call, buf_slice(&line));
    buf_release(&line);
}

static bool session_is_asked(struct session *session)
{
    pthread_mutex_lock(&session->sessions->lock);
    bool is_asked = session->call || session->is_ending;
    pthread_mutex_unlock(&session->sessions->lock);
    return is_asked;
}

static void *session_run(void *user)
{
    struct session *session = user;
    struct sessions *sessions = session->sessions;
    struct session_call *call;
    setpriority(PRIO_PROCESS, 0, SESSION_NICE); /* on Linux: of this thread */
    domain_thread_start();
    while ((call = session_next(session))) {
        session_take(session, call);
        while (session->ask && !session_is_asked(session) && ask_tidy(session->ask)) continue;
    }
    session_forget(session);
    domain_thread_stop();
    pthread_mutex_lock(&sessions->lock);
    session->next_ended = sessions->ended;
    sessions->ended = session;
    sessions->running--;
    pthread_cond_signal(&sessions->gone);
    pthread_mutex_unlock(&sessions->lock);
    return NULL;
}

/* --- opening and asking --- */

static void session_free(struct session *session)
{
    pthread_join(session->thread, NULL);
    pthread_cond_destroy(&session->asked);
    buf_release(&session->actor);
    mem_free(session);
}

static void sessions_join_ended(struct sessions *sessions)
{
    pthread_mutex_lock(&sessions->lock);
    struct session *session = sessions->ended;
    sessions->ended = NULL;
    pthread_mutex_unlock(&sessions->lock);
    while (session) {
        struct session *next = session->next_ended;
        session_free(session);
        session = next;
    }
}

/* With the lock: the place of a new session. If all are taken, the session that has been idle longest gives
 * way (it is found no more, and closes its state in its own thread); SESSIONS_MAX: all are at work. */
static size_t session_place(struct sessions *sessions)
{
    size_t found = SESSIONS_MAX;
    for (size_t at = 0; at < SESSIONS_MAX; at++) {
        const struct session *session = sessions->open[at];
        if (!session) return at;
        if (session->call) continue;
        if (found == SESSIONS_MAX || session->rested < sessions->open[found]->rested) found = at;
    }
    if (found == SESSIONS_MAX) return found;
    struct session *idle = sessions->open[found];
    session_leave_table(idle);
    pthread_cond_signal(&idle->asked);
    return found;
}

/* With the lock. */
static struct session *session_new(struct sessions *sessions, const struct session_call *call,
                                   struct fault *fault)
{
    size_t at = session_place(sessions);
    if (at == SESSIONS_MAX) {
        fault_set(
            fault, FAULT_BUSY,
            "all %d sessions are at work: an idle one gives way to a new one (or ends after hub.lua's limit "
            "repl_idle_seconds)",
            SESSIONS_MAX);
        return NULL;
    }
    struct session *session = MEM_NEW(struct session);
    pthread_condattr_t attributes;
    session->sessions = sessions;
    session->hub = sessions->hub;
    rand_uuid(clock_now_ms(sessions->hub->clock), session->id);
    snprintf(session->home, sizeof session->home, "%s", call->tenant);
    snprintf(session->tenant, sizeof session->tenant, "%s", call->tenant);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&session->asked, &attributes);
    pthread_condattr_destroy(&attributes);
    session_host_init(session);
    session->thread = thread_start(session_run, session, "session");
    sessions->open[at] = session;
    sessions->running++;
    return session;
}

/* With the lock. */
static struct session *session_find(struct sessions *sessions, const char *tenant, struct slice id,
                                    struct fault *fault)
{
    for (size_t at = 0; at < SESSIONS_MAX; at++) {
        struct session *session = sessions->open[at];
        if (session && slice_is(id, session->id) && strcmp(tenant, session->home) == 0) return session;
    }
    fault_set(fault, FAULT_NOT_FOUND,
              "there is no session %.*s: it was closed, gave way to a newer one, or the hub began anew",
              SLICE_ARGS(id));
    return NULL;
}

/* With the lock. */
static void session_give(struct session *session, struct session_call *call)
{
    pthread_mutex_lock(&call->lock);
    atomic_store(&session->cancelled, false);
    call->working = session;
    session->call = call;
    pthread_mutex_unlock(&call->lock);
    pthread_cond_signal(&session->asked);
}

static int session_ask(struct sessions *sessions, struct session_call *call, struct fault *fault)
{
    if (atomic_load(&sessions->is_stopping))
        return fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    struct session *session = call->session[0]
                                  ? session_find(sessions, call->tenant, slice_of(call->session), fault)
                                  : session_new(sessions, call, fault);
    if (!session) return -1;
    if (session->call) return fault_set(fault, FAULT_CONFLICT, "the session is at work for another request");
    session_give(session, call);
    return 0;
}

int hub_session_ask(struct hub *hub, struct session_call *call, struct fault *fault)
{
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    bool is_off = release && !catalog_has_repl(&release->catalog);
    release_leave(&visit);
    if (is_off) return fault_set(fault, FAULT_NOT_FOUND, "the REPL is off (hub.lua: repl = false)");
    if (call->kind != SESSION_OPEN && call->kind != SESSION_EVALUATE && !call->session[0])
        return fault_set(fault, FAULT_NOT_FOUND, "there is no such session");
    sessions_join_ended(hub->sessions);
    pthread_mutex_lock(&hub->sessions->lock);
    int done = session_ask(hub->sessions, call, fault);
    pthread_mutex_unlock(&hub->sessions->lock);
    return done;
}

int hub_session_cancel(struct hub *hub, struct slice tenant, struct slice id, struct fault *fault)
{
    struct sessions *sessions = hub->sessions;
    char home[64];
    snprintf(home, sizeof home, "%.*s", SLICE_ARGS(tenant));
    pthread_mutex_lock(&sessions->lock);
    struct session *session = session_find(sessions, home, id, fault);
    if (session && session->call) session_call_cancel(session->call);
    pthread_mutex_unlock(&sessions->lock);
    return session ? 0 : -1;
}

size_t hub_session_count(struct hub *hub)
{
    size_t count = 0;
    pthread_mutex_lock(&hub->sessions->lock);
    for (size_t at = 0; at < SESSIONS_MAX; at++) count += hub->sessions->open[at] != NULL;
    pthread_mutex_unlock(&hub->sessions->lock);
    return count;
}

/* --- all of them --- */

struct sessions *sessions_new(struct hub *hub)
{
    struct sessions *sessions = MEM_NEW(struct sessions);
    sessions->hub = hub;
    pthread_mutex_init(&sessions->lock, NULL);
    pthread_cond_init(&sessions->gone, NULL);
    return sessions;
}

void sessions_stop(struct sessions *sessions)
{
    pthread_mutex_lock(&sessions->lock);
    atomic_store(&sessions->is_stopping, true);
    for (size_t at = 0; at < SESSIONS_MAX; at++) {
        struct session *session = sessions->open[at];
        if (!session) continue;
        session_leave_table(session);
        if (session->call) session_call_cancel(session->call);
        pthread_cond_signal(&session->asked);
    }
    while (sessions->running) pthread_cond_wait(&sessions->gone, &sessions->lock);
    pthread_mutex_unlock(&sessions->lock);
    sessions_join_ended(sessions);
}

void sessions_free(struct sessions *sessions)
{
    if (!sessions) return;
    CHECK(!sessions->running && !sessions->ended);
    pthread_cond_destroy(&sessions->gone);
    pthread_mutex_destroy(&sessions->lock);
    mem_free(sessions);
}

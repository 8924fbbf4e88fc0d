/* A request to a session and its answer: a pipe of lines with a bound between the session's thread and
 * whoever asked. */
#include "base/mem.h"
#include "run/sessions.h"

enum { OUT_SIZE_MAX = 64 * 1024 }; /* more waits until some of it was taken */

struct session_call *session_call_new(enum session_kind kind, void (*moved)(struct session_call *call),
                                      void *user)
{
    struct session_call *call = MEM_NEW(struct session_call);
    call->kind = kind;
    call->moved = moved;
    call->user = user;
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->room, NULL);
    return call;
}

static void session_call_free(struct session_call *call)
{
    pthread_mutex_destroy(&call->lock);
    pthread_cond_destroy(&call->room);
    buf_release(&call->text);
    buf_release(&call->actor);
    buf_release(&call->out);
    mem_free(call);
}

bool session_call_take(struct session_call *call, struct buf *out)
{
    pthread_mutex_lock(&call->lock);
    buf_put_slice(out, buf_slice(&call->out));
    if (call->out.size_max > OUT_SIZE_MAX)
        buf_release(&call->out);
    else
        buf_clear(&call->out);
    bool is_over = call->is_over;
    pthread_cond_signal(&call->room);
    pthread_mutex_unlock(&call->lock);
    return is_over;
}

static void cancel_locked(struct session_call *call)
{
    if (call->working && !call->is_answered) atomic_store(&call->working->cancelled, true);
    pthread_cond_signal(&call->room);
}

void session_call_cancel(struct session_call *call)
{
    pthread_mutex_lock(&call->lock);
    cancel_locked(call);
    pthread_mutex_unlock(&call->lock);
}

void session_call_leave(struct session_call *call)
{
    pthread_mutex_lock(&call->lock);
    call->has_left = true;
    cancel_locked(call);
    bool is_last = !call->working;
    pthread_mutex_unlock(&call->lock);
    if (is_last) session_call_free(call);
}

/* With the lock: who asked hears of it once, until he has taken all. */
static void put_line(struct session_call *call, struct slice line)
{
    bool was_empty = call->out.size == 0;
    buf_put_slice(&call->out, line);
    buf_put_byte(&call->out, '\n');
    if (was_empty && !call->has_left) call->moved(call);
}

int session_call_tell(struct session_call *call, struct slice line, const atomic_bool *cancelled,
                      struct fault *fault)
{
    pthread_mutex_lock(&call->lock);
    while (call->out.size >= OUT_SIZE_MAX && !atomic_load(cancelled))
        pthread_cond_wait(&call->room, &call->lock);
    bool goes_on = !atomic_load(cancelled);
    if (goes_on) put_line(call, line);
    pthread_mutex_unlock(&call->lock);
    return goes_on ? 0 : fault_set(fault, FAULT_CANCELLED, "cancelled");
}

void session_call_end(struct session_call *call, struct slice line)
{
    pthread_mutex_lock(&call->lock);
    call->working = NULL;
    call->is_over = true;
    if (line.size) {
        buf_put_slice(&call->out, line);
        buf_put_byte(&call->out, '\n');
    }
    bool has_left = call->has_left;
    if (!has_left) call->moved(call);
    pthread_mutex_unlock(&call->lock);
    if (has_left) session_call_free(call);
}

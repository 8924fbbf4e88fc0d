/* session_wait.h: a session's thread waits for what another thread of the hub answers.
 *
 *     struct session_wait wait;
 *     session_wait_init(&wait);
 *     query.user = &wait;   query.done = …session_wait_done(query->user)…
 *     session_wait_for(&wait, &session->cancelled, &query.stop);
 *     session_wait_release(&wait);
 *
 * Threads: done from any. Owns: its lock. */
#ifndef LORE_RUN_SESSION_WAIT_H
#define LORE_RUN_SESSION_WAIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct session_wait {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_done;
};

void session_wait_init(struct session_wait *wait);
void session_wait_done(struct session_wait *wait);
/* Until it is done. When cancelled is set, stop (may be NULL) is, and it goes on waiting: what was asked is
 * in use until its answer. */
void session_wait_for(struct session_wait *wait, const atomic_bool *cancelled, atomic_bool *stop);
void session_wait_release(struct session_wait *wait);

#endif

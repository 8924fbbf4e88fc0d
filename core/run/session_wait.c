#include "run/session_wait.h"

#include <time.h>

enum { LOOK_EVERY_MS = 20 }; /* whether it was cancelled: whoever cancels does not know what is waited for */

void session_wait_init(struct session_wait *wait)
{
    pthread_condattr_t attributes;
    *wait = (struct session_wait){.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&wait->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

void session_wait_done(struct session_wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    wait->is_done = true;
    pthread_cond_signal(&wait->changed);
    pthread_mutex_unlock(&wait->lock); /* the waiter cannot leave before: it needs the lock */
}

void session_wait_for(struct session_wait *wait, const atomic_bool *cancelled, atomic_bool *stop)
{
    pthread_mutex_lock(&wait->lock);
    while (!wait->is_done) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_EVERY_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (stop && atomic_load(cancelled)) atomic_store(stop, true);
        if (stop)
            pthread_cond_timedwait(&wait->changed, &wait->lock, &until);
        else
            pthread_cond_wait(&wait->changed, &wait->lock);
    }
    pthread_mutex_unlock(&wait->lock);
}

void session_wait_release(struct session_wait *wait)
{
    pthread_mutex_lock(&wait->lock); /* done may still hold it */
    pthread_mutex_unlock(&wait->lock);
    pthread_cond_destroy(&wait->changed);
    pthread_mutex_destroy(&wait->lock);
}

#include "run/inbox.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

void inbox_init(struct inbox *inbox, size_t size_max)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&inbox->mutex, NULL);
    pthread_cond_init(&inbox->filled, &attr);
    pthread_cond_init(&inbox->room, &attr);
    pthread_condattr_destroy(&attr);
    atomic_init(&inbox->top, NULL);
    atomic_init(&inbox->size, 0);
    atomic_init(&inbox->sleeping, false);
    atomic_init(&inbox->woken, false);
    atomic_init(&inbox->closed, false);
    atomic_init(&inbox->waiting, 0);
    atomic_init(&inbox->inside, 0);
    inbox->size_max = size_max ? size_max : SIZE_MAX;
}

void inbox_release(struct inbox *inbox)
{
    while (atomic_load(&inbox->inside)) sched_yield();
    pthread_cond_destroy(&inbox->filled);
    pthread_cond_destroy(&inbox->room);
    pthread_mutex_destroy(&inbox->mutex);
}

/* Only the first who finds it asleep pays for waking it. */
static void inbox_signal(struct inbox *inbox)
{
    if (!atomic_load(&inbox->sleeping) || !atomic_exchange(&inbox->sleeping, false)) return;
    pthread_mutex_lock(&inbox->mutex);
    pthread_cond_signal(&inbox->filled);
    pthread_mutex_unlock(&inbox->mutex);
}

void inbox_rouse(struct inbox *inbox)
{
    if (atomic_load(&inbox->top)) inbox_signal(inbox);
}

/* The put and the look at `sleeping` are sequentially consistent, as are the consumer's `sleeping` and its
 * look at `top`: one of the two sees the other, so no link is left behind a sleeping consumer. */
static void inbox_push(struct inbox *inbox, struct inbox_link *link)
{
    struct inbox_link *top = atomic_load_explicit(&inbox->top, memory_order_relaxed);
    do link->next = top;
    while (!atomic_compare_exchange_weak(&inbox->top, &top, link));
}

bool inbox_put_quietly(struct inbox *inbox, struct inbox_link *link)
{
    if (atomic_fetch_add(&inbox->size, 1) >= inbox->size_max) {
        atomic_fetch_sub(&inbox->size, 1);
        return false;
    }
    inbox_push(inbox, link);
    return true;
}

bool inbox_put(struct inbox *inbox, struct inbox_link *link)
{
    atomic_fetch_add(&inbox->inside, 1);
    bool put = inbox_put_quietly(inbox, link);
    if (put) inbox_signal(inbox);
    atomic_fetch_sub(&inbox->inside, 1);
    return put;
}

void inbox_put_wait_quietly(struct inbox *inbox, struct inbox_link *link)
{
    if (inbox_put_quietly(inbox, link)) return;
    inbox_rouse(inbox); /* what it is full of may have been put quietly */
    pthread_mutex_lock(&inbox->mutex);
    atomic_fetch_add(&inbox->waiting, 1);
    while (atomic_load(&inbox->size) >= inbox->size_max) pthread_cond_wait(&inbox->room, &inbox->mutex);
    atomic_fetch_sub(&inbox->waiting, 1);
    atomic_fetch_add(&inbox->size, 1);
    pthread_mutex_unlock(&inbox->mutex);
    inbox_push(inbox, link);
}

void inbox_put_wait(struct inbox *inbox, struct inbox_link *link)
{
    atomic_fetch_add(&inbox->inside, 1);
    inbox_put_wait_quietly(inbox, link);
    inbox_signal(inbox);
    atomic_fetch_sub(&inbox->inside, 1);
}

static struct timespec inbox_deadline(int timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec++;
    }
    return at;
}

static void inbox_sleep(struct inbox *inbox, int timeout_ms)
{
    struct timespec deadline = inbox_deadline(timeout_ms < 0 ? 0 : timeout_ms);
    pthread_mutex_lock(&inbox->mutex);
    for (;;) {
        atomic_store(&inbox->sleeping, true);
        if (atomic_load(&inbox->top) || atomic_load(&inbox->woken) || atomic_load(&inbox->closed)) break;
        if (timeout_ms < 0)
            pthread_cond_wait(&inbox->filled, &inbox->mutex);
        else if (pthread_cond_timedwait(&inbox->filled, &inbox->mutex, &deadline) == ETIMEDOUT)
            break;
    }
    atomic_store(&inbox->sleeping, false);
    pthread_mutex_unlock(&inbox->mutex);
}

struct inbox_link *inbox_take(struct inbox *inbox, int timeout_ms)
{
    struct inbox_link *newest = atomic_exchange(&inbox->top, NULL);
    if (!newest && timeout_ms != 0) {
        inbox_sleep(inbox, timeout_ms);
        newest = atomic_exchange(&inbox->top, NULL);
    }
    atomic_store(&inbox->woken, false);
    struct inbox_link *oldest = NULL;
    while (newest) {
        struct inbox_link *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void inbox_done(struct inbox *inbox, size_t count)
{
    size_t left = atomic_fetch_sub(&inbox->size, count) - count;
    /* Producers sleep until half of it is free: else each link would cost them a sleep. */
    if (atomic_load(&inbox->waiting) == 0 || left > inbox->size_max / 2) return;
    pthread_mutex_lock(&inbox->mutex);
    pthread_cond_broadcast(&inbox->room);
    pthread_mutex_unlock(&inbox->mutex);
}

void inbox_wake(struct inbox *inbox)
{
    atomic_store(&inbox->woken, true);
    inbox_signal(inbox);
}

void inbox_close(struct inbox *inbox)
{
    atomic_store(&inbox->closed, true);
    inbox_signal(inbox);
}

bool inbox_closed(struct inbox *inbox)
{
    return atomic_load(&inbox->closed);
}

size_t inbox_size(struct inbox *inbox)
{
    return atomic_load(&inbox->size);
}

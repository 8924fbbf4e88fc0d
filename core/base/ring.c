#include "base/ring.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "base/check.h"
#include "base/mem.h"

struct ring {
    pthread_mutex_t mutex;
    pthread_cond_t filled; /* something came, it was closed, or somebody woke it */
    pthread_cond_t drained;
    void **slots;
    size_t size, size_max, head;
    size_t waiting; /* producers in ring_put_wait */
    bool closed, woken;
};

struct ring *ring_new(size_t size_max)
{
    CHECK(size_max > 0);
    struct ring *ring = MEM_NEW(struct ring);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&ring->mutex, NULL);
    pthread_cond_init(&ring->filled, &attr);
    pthread_cond_init(&ring->drained, &attr);
    pthread_condattr_destroy(&attr);
    ring->slots = mem_zero(size_max * sizeof *ring->slots);
    ring->size_max = size_max;
    return ring;
}

void ring_free(struct ring *ring)
{
    if (!ring) return;
    pthread_cond_destroy(&ring->filled);
    pthread_cond_destroy(&ring->drained);
    pthread_mutex_destroy(&ring->mutex);
    mem_free(ring->slots);
    mem_free(ring);
}

static void ring_push(struct ring *ring, void *item)
{
    ring->slots[(ring->head + ring->size) % ring->size_max] = item;
    if (ring->size++ == 0) pthread_cond_signal(&ring->filled);
}

bool ring_put(struct ring *ring, void *item)
{
    pthread_mutex_lock(&ring->mutex);
    bool room = !ring->closed && ring->size < ring->size_max;
    if (room) ring_push(ring, item);
    pthread_mutex_unlock(&ring->mutex);
    return room;
}

bool ring_put_wait(struct ring *ring, void *item)
{
    pthread_mutex_lock(&ring->mutex);
    while (!ring->closed && ring->size == ring->size_max) {
        ring->waiting++;
        pthread_cond_wait(&ring->drained, &ring->mutex);
        ring->waiting--;
    }
    bool open = !ring->closed;
    if (open) ring_push(ring, item);
    pthread_mutex_unlock(&ring->mutex);
    return open;
}

static struct timespec ring_deadline(int timeout_ms)
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

size_t ring_take(struct ring *ring, void **items, size_t items_max, int timeout_ms)
{
    struct timespec deadline = ring_deadline(timeout_ms < 0 ? 0 : timeout_ms);
    pthread_mutex_lock(&ring->mutex);
    while (ring->size == 0 && !ring->closed && !ring->woken) {
        if (timeout_ms < 0)
            pthread_cond_wait(&ring->filled, &ring->mutex);
        else if (pthread_cond_timedwait(&ring->filled, &ring->mutex, &deadline) == ETIMEDOUT)
            break;
    }
    ring->woken = false;
    size_t count = ring->size < items_max ? ring->size : items_max;
    for (size_t at = 0; at < count; at++) items[at] = ring->slots[(ring->head + at) % ring->size_max];
    ring->head = (ring->head + count) % ring->size_max;
    ring->size -= count;
    if (count && ring->waiting) pthread_cond_broadcast(&ring->drained);
    pthread_mutex_unlock(&ring->mutex);
    return count;
}

void ring_wake(struct ring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    ring->woken = true;
    pthread_cond_signal(&ring->filled);
    pthread_mutex_unlock(&ring->mutex);
}

void ring_close(struct ring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    ring->closed = true;
    pthread_cond_broadcast(&ring->filled);
    pthread_cond_broadcast(&ring->drained);
    pthread_mutex_unlock(&ring->mutex);
}

bool ring_closed(struct ring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    bool closed = ring->closed;
    pthread_mutex_unlock(&ring->mutex);
    return closed;
}

size_t ring_size(struct ring *ring)
{
    pthread_mutex_lock(&ring->mutex);
    size_t size = ring->size;
    pthread_mutex_unlock(&ring->mutex);
    return size;
}

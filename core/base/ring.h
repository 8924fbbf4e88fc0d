/* ring.h: a bounded queue of pointers between threads: many producers, one consumer that sleeps when it is
 * empty.
 *
 *     if (!ring_put(ring, command)) -> full: refuse at the door
 *     size_t count = ring_take(ring, items, 64, -1);   -> waits for the first, takes what is there
 *
 * Threads: put and close from any, take from one. Owns: its slots, never what they point to. */
#ifndef LORE_BASE_RING_H
#define LORE_BASE_RING_H

#include <stdbool.h>
#include <stddef.h>

struct ring;

struct ring *ring_new(size_t size_max);
void ring_free(struct ring *ring);
/* False when it is full or closed; never waits. */
bool ring_put(struct ring *ring, void *item);
/* Waits while it is full; false when it is closed. For stages inside the hub, never for strangers. */
bool ring_put_wait(struct ring *ring, void *item);
/* Takes up to items_max; waits up to timeout_ms (-1: for ever) for the first. 0: time-out, woken, or closed
 * and empty. */
size_t ring_take(struct ring *ring, void **items, size_t items_max, int timeout_ms);
/* Lets a waiting ring_take return (with 0 if nothing is there). */
void ring_wake(struct ring *ring);
/* No more puts; what is inside can still be taken. */
void ring_close(struct ring *ring);
bool ring_closed(struct ring *ring);
size_t ring_size(struct ring *ring);

#endif

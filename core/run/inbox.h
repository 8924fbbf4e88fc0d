/* inbox.h: an intrusive queue between threads: many producers, one consumer. A put is one compare-and-swap;
 * only a consumer that really sleeps costs a wake-up, so under load neither side takes a lock.
 *
 *     inbox_put(&inbox, &work->link)                    -> false: full
 *     struct inbox_link *list = inbox_take(&inbox, -1)  -> all that is there, oldest first
 *     inbox_done(&inbox, count)                         -> makes room for the producers
 *
 * Who puts many at a time puts them quietly and rouses the consumer once: it then finds all of them.
 *
 * Threads: put, wake and close from any; take and done from one. Owns: nothing that is linked. */
#ifndef LORE_RUN_INBOX_H
#define LORE_RUN_INBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct inbox_link {
    struct inbox_link *next;
};

struct inbox {
    _Atomic(struct inbox_link *) top; /* newest first */
    atomic_size_t size;               /* put and not yet done */
    size_t size_max;
    atomic_bool sleeping, woken, closed;
    atomic_size_t waiting; /* producers in inbox_put_wait */
    atomic_size_t inside;  /* producers between the link they put and the end of their call */
    pthread_mutex_t mutex;
    pthread_cond_t filled, room;
};

void inbox_init(struct inbox *inbox, size_t size_max); /* 0: no bound */
/* Waits for producers whose last link was taken and that have not returned yet. */
void inbox_release(struct inbox *inbox);
/* False when it is full. Never waits. */
bool inbox_put(struct inbox *inbox, struct inbox_link *link);
/* The same without waking the consumer: inbox_rouse must follow. */
bool inbox_put_quietly(struct inbox *inbox, struct inbox_link *link);
/* Wakes a consumer that sleeps although something is there. */
void inbox_rouse(struct inbox *inbox);
/* Waits while it is full. */
void inbox_put_wait(struct inbox *inbox, struct inbox_link *link);
void inbox_put_wait_quietly(struct inbox *inbox, struct inbox_link *link);
/* Everything that is there, oldest first. Waits up to timeout_ms (-1: for ever, 0: not at all). NULL:
 * time-out, woken, or closed and empty. */
struct inbox_link *inbox_take(struct inbox *inbox, int timeout_ms);
/* The consumer has finished with count links. */
void inbox_done(struct inbox *inbox, size_t count);
/* Lets a sleeping inbox_take return. */
void inbox_wake(struct inbox *inbox);
/* Sleeps no more. Who puts after that must know that somebody still takes. */
void inbox_close(struct inbox *inbox);
bool inbox_closed(struct inbox *inbox);
size_t inbox_size(struct inbox *inbox);

#endif

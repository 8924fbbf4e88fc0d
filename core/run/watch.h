/* watch.h: who wants to be told that something became durable or a view moved on. Threads: any. Owns: its
 * entries. */
#ifndef LORE_RUN_WATCH_H
#define LORE_RUN_WATCH_H

#include <pthread.h>

struct watch_entry;

struct watch {
    pthread_mutex_t mutex;
    struct watch_entry *first;
};

void watch_init(struct watch *watch);
void watch_release(struct watch *watch);
void *watch_add(struct watch *watch, void (*woken)(void *user), void *user);
/* When it returns, woken does not run and will not run again. */
void watch_remove(struct watch *watch, void *token);
void watch_wake(struct watch *watch);

#endif

#include "run/watch.h"

#include "base/mem.h"

struct watch_entry {
    struct watch_entry *next;
    void (*woken)(void *user);
    void *user;
};

void watch_init(struct watch *watch)
{
    pthread_mutex_init(&watch->mutex, NULL);
    watch->first = NULL;
}

void watch_release(struct watch *watch)
{
    while (watch->first) watch_remove(watch, watch->first);
    pthread_mutex_destroy(&watch->mutex);
}

void *watch_add(struct watch *watch, void (*woken)(void *user), void *user)
{
    struct watch_entry *entry = MEM_NEW(struct watch_entry);
    entry->woken = woken;
    entry->user = user;
    pthread_mutex_lock(&watch->mutex);
    entry->next = watch->first;
    watch->first = entry;
    pthread_mutex_unlock(&watch->mutex);
    return entry;
}

void watch_remove(struct watch *watch, void *token)
{
    struct watch_entry *entry = token;
    pthread_mutex_lock(&watch->mutex);
    for (struct watch_entry **at = &watch->first; *at; at = &(*at)->next)
        if (*at == entry) {
            *at = entry->next;
            break;
        }
    pthread_mutex_unlock(&watch->mutex);
    mem_free(entry);
}

void watch_wake(struct watch *watch)
{
    pthread_mutex_lock(&watch->mutex);
    for (struct watch_entry *entry = watch->first; entry; entry = entry->next) entry->woken(entry->user);
    pthread_mutex_unlock(&watch->mutex);
}

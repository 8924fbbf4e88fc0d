#include "codec/names.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"

/* Entries live in chunks that double in size and never move. An entry, and the chunk it is in, are written
 * before `count` is raised with release order; who sees the count sees the entry. So names_get needs the
 * count and no lock. */

enum { FIRST_CHUNK_BITS = 6, CHUNK_COUNT = 32 - FIRST_CHUNK_BITS };

struct names_entry {
    struct slice text;
    uint32_t id;
};

struct names {
    _Atomic uint32_t count;
    struct names_entry *chunks[CHUNK_COUNT];
    pthread_mutex_t mutex; /* guards what follows, and whoever writes the above */
    struct map by_text;
    struct arena texts;
};

static void names_place(uint32_t id, unsigned *chunk, uint64_t *at)
{
    uint64_t index = (uint64_t)id - 1 + (1u << FIRST_CHUNK_BITS);
    unsigned top = 63u - (unsigned)__builtin_clzll(index);
    *chunk = top - FIRST_CHUNK_BITS;
    *at = index - (1ULL << top);
}

struct names *names_new(void)
{
    struct names *names = MEM_NEW(struct names);
    pthread_mutex_init(&names->mutex, NULL);
    return names;
}

void names_free(struct names *names)
{
    if (!names) return;
    for (unsigned chunk = 0; chunk < CHUNK_COUNT; chunk++) mem_free(names->chunks[chunk]);
    map_release(&names->by_text);
    arena_release(&names->texts);
    pthread_mutex_destroy(&names->mutex);
    mem_free(names);
}

static uint32_t names_add(struct names *names, struct slice text)
{
    uint32_t id = atomic_load_explicit(&names->count, memory_order_relaxed) + 1;
    unsigned chunk;
    uint64_t at;
    names_place(id, &chunk, &at);
    CHECK(chunk < CHUNK_COUNT);
    if (!names->chunks[chunk])
        names->chunks[chunk] =
            mem_zero(((size_t)1 << (chunk + FIRST_CHUNK_BITS)) * sizeof(struct names_entry));
    struct names_entry *entry = &names->chunks[chunk][at];
    entry->text = arena_copy(&names->texts, text);
    entry->id = id;
    map_put(&names->by_text, entry->text, entry);
    atomic_store_explicit(&names->count, id, memory_order_release);
    return id;
}

uint32_t names_intern(struct names *names, struct slice text)
{
    if (text.size == 0) return 0;
    pthread_mutex_lock(&names->mutex);
    struct names_entry *entry = map_find(&names->by_text, text);
    uint32_t id = entry ? entry->id : names_add(names, text);
    pthread_mutex_unlock(&names->mutex);
    return id;
}

uint32_t names_find(struct names *names, struct slice text)
{
    if (text.size == 0) return 0;
    pthread_mutex_lock(&names->mutex);
    struct names_entry *entry = map_find(&names->by_text, text);
    uint32_t id = entry ? entry->id : 0;
    pthread_mutex_unlock(&names->mutex);
    return id;
}

struct slice names_get(const struct names *names, uint32_t id)
{
    if (id == 0 || id > names_count(names)) return SLICE_NONE;
    unsigned chunk;
    uint64_t at;
    names_place(id, &chunk, &at);
    return names->chunks[chunk][at].text;
}

uint32_t names_count(const struct names *names)
{
    return atomic_load_explicit(&names->count, memory_order_acquire);
}

#include "base/map.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

static uint64_t map_hash(struct slice key)
{
    uint64_t hash = hash_fast(key, 0);
    return hash ? hash : 1;
}

/* The slot that holds key, or the empty one where it would go. */
static struct map_slot *map_slot_of(const struct map *map, struct slice key, uint64_t hash)
{
    size_t mask = map->size_max - 1;
    for (size_t at = (size_t)hash & mask;; at = (at + 1) & mask) {
        struct map_slot *slot = &map->slots[at];
        if (slot->hash == 0) return slot;
        if (slot->hash == hash && slice_equal(slot->key, key)) return slot;
    }
}

static void map_grow(struct map *map)
{
    struct map old = *map;
    map->size_max = old.size_max ? old.size_max * 2 : 16;
    map->slots = mem_zero(map->size_max * sizeof *map->slots);
    for (size_t at = 0; at < old.size_max; at++)
        if (old.slots[at].hash) *map_slot_of(map, old.slots[at].key, old.slots[at].hash) = old.slots[at];
    mem_free(old.slots);
}

void *map_find(const struct map *map, struct slice key)
{
    if (map->size == 0) return NULL;
    struct map_slot *slot = map_slot_of(map, key, map_hash(key));
    return slot->hash ? slot->value : NULL;
}

void *map_put(struct map *map, struct slice key, void *value)
{
    CHECK(value != NULL);
    if (map->size * 4 >= map->size_max * 3) map_grow(map);
    uint64_t hash = map_hash(key);
    struct map_slot *slot = map_slot_of(map, key, hash);
    void *replaced = slot->hash ? slot->value : NULL;
    if (!replaced) map->size++;
    *slot = (struct map_slot){.key = key, .hash = hash, .value = value};
    return replaced;
}

void *map_remove(struct map *map, struct slice key)
{
    if (map->size == 0) return NULL;
    size_t mask = map->size_max - 1;
    struct map_slot *slot = map_slot_of(map, key, map_hash(key));
    if (!slot->hash) return NULL;
    void *removed = slot->value;
    map->size--;
    /* Closes the gap: whoever probed past this slot moves up, so no tombstones are needed. */
    size_t gap = (size_t)(slot - map->slots);
    for (size_t at = (gap + 1) & mask; map->slots[at].hash; at = (at + 1) & mask) {
        size_t home = (size_t)map->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            map->slots[gap] = map->slots[at];
            gap = at;
        }
    }
    map->slots[gap] = (struct map_slot){0};
    return removed;
}

void *map_next(const struct map *map, size_t *at)
{
    while (*at < map->size_max) {
        struct map_slot *slot = &map->slots[(*at)++];
        if (slot->hash) return slot->value;
    }
    return NULL;
}

void map_release(struct map *map)
{
    mem_free(map->slots);
    *map = (struct map){0};
}

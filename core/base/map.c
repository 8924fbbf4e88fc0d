#include "base/map.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

static uint64_t map_hash(struct slice key)
{
    uint64_t hash = hash_fast(key, 0);
    return hash ? hash : 1;
}

/* Each change moves so many slots: all have moved long before the table is full again. */
enum { MOVE_SLOTS = 8 };

/* The slot that holds key, or the empty one where it would go. */
static struct map_slot *slot_of(const struct map_table *table, struct slice key, uint64_t hash)
{
    size_t mask = table->size_max - 1;
    for (size_t at = (size_t)hash & mask;; at = (at + 1) & mask) {
        struct map_slot *slot = &table->slots[at];
        if (slot->hash == 0) return slot;
        if (slot->hash == hash && slice_equal(slot->key, key)) return slot;
    }
}

/* The slot that holds key, in either table, or the empty one where it would go. */
static struct map_slot *find_slot(const struct map *map, struct slice key, uint64_t hash,
                                  const struct map_table **in)
{
    *in = &map->table;
    struct map_slot *slot = slot_of(*in, key, hash);
    if (slot->hash || !map->old.slots) return slot;
    struct map_slot *old = slot_of(&map->old, key, hash);
    if (!old->hash) return slot;
    *in = &map->old;
    return old;
}

/* Closes the gap: whoever probed past this slot moves up, so no tombstones are needed. */
static void empty_slot(const struct map_table *table, struct map_slot *slot)
{
    size_t mask = table->size_max - 1;
    size_t gap = (size_t)(slot - table->slots);
    for (size_t at = (gap + 1) & mask; table->slots[at].hash; at = (at + 1) & mask) {
        size_t home = (size_t)table->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            table->slots[gap] = table->slots[at];
            gap = at;
        }
    }
    table->slots[gap] = (struct map_slot){0};
}

static void move_some(struct map *map)
{
    if (!map->old.slots) return;
    for (int left = MOVE_SLOTS; left > 0; left--) {
        struct map_slot *slot = &map->old.slots[map->moved];
        if (slot->hash) {
            *slot_of(&map->table, slot->key, slot->hash) = *slot;
            empty_slot(&map->old, slot); /* another one may be there now */
        } else if (++map->moved == map->old.size_max) {
            mem_free(map->old.slots);
            map->old = (struct map_table){0};
            return;
        }
    }
}

static void grow(struct map *map)
{
    CHECK(!map->old.slots);
    map->old = map->table;
    map->moved = 0;
    map->table.size_max = map->old.size_max ? map->old.size_max * 2 : 16;
    map->table.slots = mem_zero(map->table.size_max * sizeof *map->table.slots);
}

void *map_find(const struct map *map, struct slice key)
{
    const struct map_table *in;
    if (map->size == 0) return NULL;
    struct map_slot *slot = find_slot(map, key, map_hash(key), &in);
    return slot->hash ? slot->value : NULL;
}

void *map_put(struct map *map, struct slice key, void *value)
{
    const struct map_table *in;
    CHECK(value != NULL);
    move_some(map);
    if (map->size * 4 >= map->table.size_max * 3) grow(map);
    uint64_t hash = map_hash(key);
    struct map_slot *slot = find_slot(map, key, hash, &in);
    void *replaced = slot->hash ? slot->value : NULL;
    if (!replaced) map->size++;
    *slot = (struct map_slot){.key = key, .hash = hash, .value = value};
    return replaced;
}

void *map_remove(struct map *map, struct slice key)
{
    const struct map_table *in;
    if (map->size == 0) return NULL;
    move_some(map);
    struct map_slot *slot = find_slot(map, key, map_hash(key), &in);
    if (!slot->hash) return NULL;
    void *removed = slot->value;
    map->size--;
    empty_slot(in, slot);
    return removed;
}

void *map_next(const struct map *map, size_t *at)
{
    while (*at < map->table.size_max + map->old.size_max) {
        size_t place = (*at)++;
        const struct map_slot *slot = place < map->table.size_max
                                          ? &map->table.slots[place]
                                          : &map->old.slots[place - map->table.size_max];
        if (slot->hash) return slot->value;
    }
    return NULL;
}

void map_release(struct map *map)
{
    mem_free(map->table.slots);
    mem_free(map->old.slots);
    *map = (struct map){0};
}

/* map.h: bytes -> pointer hash map (open addressing). Keys are borrowed: they must live as long as the entry,
 * usually inside the value. Iteration order is unspecified. Threads: one at a time, or many that only find.
 *
 * No call takes long, however large the map is: when it grows, the entries move to the new table a few at a
 * time, with each change that follows.
 *
 *     map_put(&map, slice_of("bill"), entry);
 *     struct entry *entry = map_find(&map, slice_of("bill"));
 */
#ifndef LORE_BASE_MAP_H
#define LORE_BASE_MAP_H

#include <stdint.h>

#include "base/slice.h"

struct map_slot {
    struct slice key;
    uint64_t hash; /* 0: empty */
    void *value;
};

struct map_table {
    struct map_slot *slots; /* size_max slots, a power of two, or NULL */
    size_t size_max;
};

struct map {
    size_t size; /* entries, of both tables */
    struct map_table table;
    struct map_table
        old; /* while it grew: entries that have not moved yet, all of them in slots from moved on */
    size_t moved;
};

/* The value or NULL. */
void *map_find(const struct map *map, struct slice key);
/* Adds or replaces; value must not be NULL. Returns the value replaced or NULL. */
void *map_put(struct map *map, struct slice key, void *value);
/* Returns the value removed or NULL. */
void *map_remove(struct map *map, struct slice key);
/* Iterates: start with *at = 0; NULL at the end. Removing the entry just returned is not allowed. */
void *map_next(const struct map *map, size_t *at);
/* Frees the table, not the values. */
void map_release(struct map *map);

#endif

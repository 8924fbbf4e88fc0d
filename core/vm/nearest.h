/* nearest.h: the name somebody probably meant.
 *
 *     struct nearest nearest = nearest_to(slice_of("BillCraeted"));
 *     for (...) nearest_offer(&nearest, name);
 *     struct slice found = nearest_found(&nearest);      empty: nothing is near
 *
 * Near: at most a third of its length in edits (insert, drop, change, swap two neighbours), at most 3; case
 * costs nothing. Of equally near names the first in byte order wins, so that texts do not depend on the order
 * of offers.
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_VM_NEAREST_H
#define LORE_VM_NEAREST_H

#include <lua.h>

#include "base/slice.h"

struct nearest {
    struct slice name, found;
    unsigned distance; /* of found; from it on names are too far */
};

struct nearest nearest_to(struct slice name);
void nearest_offer(struct nearest *nearest, struct slice candidate);
static inline struct slice nearest_found(const struct nearest *nearest)
{
    return nearest->found;
}

/* A Lua function: nearest(name, names) gives the name of the list that is nearest, or nil. */
int nearest_of_list(lua_State *lua);

#endif

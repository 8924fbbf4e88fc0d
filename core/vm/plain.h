/* plain.h: a quick look whether a table is plain data and a tree. Inside vm/ only.
 *
 * value_encode says what is wrong and where; this only says that something is, without encoding. And it finds
 * what encoding cannot see: a table that is reachable on two ways. In memory a change through one shows
 * through the other; read back from disk they are two tables. So whoever keeps tables between calls must take
 * shared ones apart.
 *
 *     plain_seen_clear(&seen);
 *     if (plain_look(lua, -1, &seen, 128) == PLAIN_SHARED) plain_unshare(lua, -1);
 *
 * Threads: those of the Lua state. Owns: nothing on the stack; seen owns its slots. */
#ifndef LORE_VM_PLAIN_H
#define LORE_VM_PLAIN_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct plain_seen { /* addresses of nested tables */
    const void **slots;
    size_t size, size_max;
};

void plain_seen_clear(struct plain_seen *seen);
void plain_seen_release(struct plain_seen *seen);

enum plain_verdict {
    PLAIN_TREE,
    PLAIN_SHARED, /* plain, but a nested table was seen before */
    PLAIN_LARGE,  /* more than entries_max, or perhaps more than bytes_max when encoded: not looked at to the
                     end */
    PLAIN_NOT     /* something is no plain data: value_encode tells what */
};

/* Looks at the table at index and all below it; adds nested tables to seen.
 * LARGE wins over all others, so that the verdict never depends on the order in which a table is walked. */
enum plain_verdict plain_look(lua_State *lua, int index, struct plain_seen *seen, size_t entries_max,
                              size_t bytes_max);
/* True: what plain_look calls a tree. False: nobody knows; seen holds whatever was met. Many times faster,
 * and a tree is what it nearly always is: so it comes first.
 *
 *     plain_seen_clear(&seen);
 *     if (!plain_glance(lua, -1, &seen, 128, SIZE_MAX)) ... clear seen again, plain_look ... */
bool plain_glance(lua_State *lua, int index, struct plain_seen *seen, size_t entries_max, size_t bytes_max);
/* Replaces every nested table by a copy of its own. */
void plain_unshare(lua_State *lua, int index);

#endif

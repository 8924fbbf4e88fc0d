/* handles.h: Lua values that C keeps, when there are very many of them. Inside vm/ only.
 *
 *     int handle = handles_take(&handles, lua);     the value on top of the stack, popped
 *     handles_push(&handles, lua, handle);
 *     handles_give(&handles, lua, handle);
 *
 * As luaL_ref, in segments: the collector goes through a table without a pause, and through one that was
 * written to once more at the end of a cycle. With a hundred thousand values in the registry each of the two
 * takes milliseconds.
 *
 * Threads: as the Lua state. Owns: the memory of free handles; the values belong to the Lua state. */
#ifndef LORE_VM_HANDLES_H
#define LORE_VM_HANDLES_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

enum { HANDLE_NONE = -1 };

struct handles {   /* zeros: none yet */
    int *segments; /* registry references */
    size_t segment_count, segment_max;
    int *free; /* those that were given back, the last one is taken first */
    size_t free_count, free_max;
    int used; /* handles up to it were taken once */
};

/* Raises ERRMEM with the value still on the stack. */
int handles_take(struct handles *handles, lua_State *lua);
/* Never raises. */
void handles_push(const struct handles *handles, lua_State *lua, int handle);
/* Never raises; HANDLE_NONE: nothing to do. */
void handles_give(struct handles *handles, lua_State *lua, int handle);
void handles_release(struct handles *handles);

#endif

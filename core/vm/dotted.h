/* dotted.h: values that are there for what stands behind their dot: send.bill, views.x, env.KEY. Inside vm/
 * only. They are no tables, so nothing can be put into them.
 *
 * Threads: as the Lua state. Owns: nothing in C. */
#ifndef LORE_VM_DOTTED_H
#define LORE_VM_DOTTED_H

#include "vm/vm.h"

/* Replaces the function on top of the stack by a value whose every field is what the function gives for
 * (value, name). May raise (memory). */
void dotted_push(lua_State *lua, const char *word);
/* The name that such a function was asked for; raises if it is no text. */
struct slice dotted_name(lua_State *lua, const char *word);

#endif

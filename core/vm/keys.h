/* keys.h: the keys of a table in an order that is the same in every process. Inside vm/ only.
 *
 * The order: 1, 2, 3, … as far as there is no hole; the other numbers by value; texts by bytes; false, true.
 * Two keys of any other type have no order that two processes would agree on: an error.
 *
 * Threads: as the Lua state. Owns: nothing in C. */
#ifndef LORE_VM_KEYS_H
#define LORE_VM_KEYS_H

#include "vm/vm.h"

int keys_pairs(lua_State *lua); /* pairs(t) of scripts */
int keys_next(lua_State *lua);  /* next(t, key) of scripts */

/* Drops the sorted keys that next keeps during a call: after a call, so that they hold no table. */
void keys_forget(lua_State *lua);

#endif

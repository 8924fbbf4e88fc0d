/* readonly.h: tables that cannot be changed: views of a state in execute, the library tables, and the frozen
 * tables of scripts (whatever handlers reach and was made while loading). Inside vm/ only.
 *
 * All are empty tables with a protected metatable that lead to another table, the target. A frozen table is
 * the script's own: its content has moved into the target, so whoever holds it holds it still.
 * Threads: as the Lua state. Owns: nothing in C. */
#ifndef LORE_VM_READONLY_H
#define LORE_VM_READONLY_H

#include "vm/vm.h"

void readonly_open(lua_State *lua);
/* If the value at index is read-only, pushes its target and returns true. */
bool readonly_push_target(lua_State *lua, int index);
/* Pushes the value itself, wrapped if it is a table that came out of a read-only one. */
void readonly_wrap(lua_State *lua, int index);
/* Replaces the library table on top of the stack by its read-only form; call (may be NULL) is what calling it
 * does. */
void readonly_library(lua_State *lua, const char *name, lua_CFunction call);
/* Raises if the value at index is read-only. */
void readonly_refuse(lua_State *lua, int index);

/* Whether the table at index is a frozen one. */
bool readonly_is_frozen(lua_State *lua, int index);
/* Freezes all tables of the list at index: they stay what they are to whoever reads them (metatables
 * included), and refuse to be changed. Tables that are read-only already stay so. */
void readonly_freeze(lua_State *lua, int index);
/* Replaces the table on top of the stack, about to become a metatable, by its target if it is frozen: Lua
 * reads metatables raw. And back: a metatable on top by the frozen table that the script knows. */
void readonly_to_target(lua_State *lua);
void readonly_to_frozen(lua_State *lua);

#endif

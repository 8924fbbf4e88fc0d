/* readonly.h: tables that cannot be changed: views of a state in execute, and the library tables. Inside vm/
 * only.
 *
 * Both are empty tables with a protected metatable that lead to another table, the target.
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

#endif

/* sandbox.h: the globals that scripts see, by allow-list. Inside vm/ only.
 *
 * Threads: as the Lua state. Owns: nothing in C. */
#ifndef LORE_VM_SANDBOX_H
#define LORE_VM_SANDBOX_H

#include "vm/vm.h"

/* Builds the table of allowed globals (vm->script_env). Once, from vm_new. */
void sandbox_open(lua_State *lua);
/* Pushes what tostring gives: __tostring is honoured, addresses are never shown. May run script code. */
void sandbox_push_text(lua_State *lua, int index);

/* From vm.c for the modules of the sandbox: */

/* A new metatable for values of C, protected and named; pushed. */
void vm_new_meta(lua_State *lua, enum vm_meta meta, const char *name, const luaL_Reg *functions);
/* After a protected call that failed with status: may the script not go on? */
bool vm_is_stopped(lua_State *lua, int status);
/* Raises the stop again. */
int vm_stop_again(lua_State *lua);
/* The fault in an error value, or NULL; lives as long as the value. */
const struct fault *vm_find_fault(lua_State *lua, int index);

#endif

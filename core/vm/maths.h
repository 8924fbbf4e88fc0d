/* maths.h: the math library of scripts: Lua's, without random numbers. Inside vm/ only. */
#ifndef LORE_VM_MATHS_H
#define LORE_VM_MATHS_H

#include "vm/vm.h"

/* Pushes the read-only library. */
void maths_push_library(lua_State *lua);

#endif

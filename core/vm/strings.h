/* strings.h: the string library of scripts. Inside vm/ only.
 *
 * find match gmatch gsub are search.c on the matcher of pattern.c, format is format.c; the rest is here or
 * Lua's own. Letters, digits and case are those of ASCII, whatever the locale. There is no dump. */
#ifndef LORE_VM_STRINGS_H
#define LORE_VM_STRINGS_H

#include "vm/vm.h"

/* Makes the library that of all strings of the state and pushes its read-only form. */
void strings_push_library(lua_State *lua);

#endif

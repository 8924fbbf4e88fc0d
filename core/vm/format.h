/* format.h: string.format, as in Lua 5.4, but %s uses our tostring and %p (an address) is refused. Inside vm/
 * only. */
#ifndef LORE_VM_FORMAT_H
#define LORE_VM_FORMAT_H

#include "vm/vm.h"

int format_format(lua_State *lua);

#endif

/* search.h: find, match, gmatch and gsub of the string library, as in Lua 5.4. Inside vm/ only. */
#ifndef LORE_VM_SEARCH_H
#define LORE_VM_SEARCH_H

#include "vm/vm.h"

int search_find(lua_State *lua);
int search_match(lua_State *lua);
int search_gmatch(lua_State *lua);
int search_gsub(lua_State *lua);

#endif

/* tables.h: the table library of scripts: our own, on plain tables (no metamethods), with every loop on the
 * budget. Inside vm/ only.
 *
 * sort is stable and leaves the table as it was when the comparison fails. concat also takes decimals. A
 * remove that empties a table makes it an empty list (value.h). Reading functions work on read-only tables.
 */
#ifndef LORE_VM_TABLES_H
#define LORE_VM_TABLES_H

#include "vm/vm.h"

/* Pushes the read-only library. */
void tables_push_library(lua_State *lua);

#endif

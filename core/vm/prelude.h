/* prelude.h: the Lua files of lua/, inside the binary. */
#ifndef LORE_VM_PRELUDE_H
#define LORE_VM_PRELUDE_H

#include <lua.h>
#include <stddef.h>

struct prelude_file {
    const char *name; /* "contracts" for lua/contracts.lua */
    const char *text;
    size_t size;
};

extern const struct prelude_file prelude_files[]; /* name NULL at the end */

/* The file of that name, or NULL. */
const struct prelude_file *prelude_find(const char *name);
/* Pushes its chunk, named "@lua/NAME.lua", with the globals of the state. Raises. */
void prelude_push(lua_State *lua, const struct prelude_file *file);
/* In a state with the whole standard library: require "lore.NAME" gives what lua/NAME.lua returns. */
void prelude_add_modules(lua_State *lua);

#endif

/* prelude.h: the Lua files of lua/, inside the binary. */
#ifndef LORE_VM_PRELUDE_H
#define LORE_VM_PRELUDE_H

#include <stddef.h>

struct prelude_file {
    const char *name; /* "contracts" for lua/contracts.lua */
    const char *text;
    size_t size;
};

extern const struct prelude_file prelude_files[]; /* name NULL at the end */
/* One that is there, by its name. */
const struct prelude_file *prelude_find(const char *name);

#endif

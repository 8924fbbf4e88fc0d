#include "vm/prelude.h"

#include <string.h>

#include "base/check.h"

const struct prelude_file *prelude_find(const char *name)
{
    const struct prelude_file *file = prelude_files;
    while (file->name != NULL && strcmp(file->name, name) != 0) file++;
    CHECK(file->name != NULL);
    return file;
}

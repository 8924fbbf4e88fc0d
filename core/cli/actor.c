#include "cli/actor.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "codec/text.h"

struct slice actor_name(char text[ACTOR_SIZE_MAX])
{
    const struct passwd *user = getpwuid(geteuid());
    struct slice name = slice_of(user ? user->pw_name : getenv("USER"));
    if (name.size == 0 || name.size > ACTOR_SIZE_MAX || !text_is_utf8(name)) return SLICE_NONE;
    for (size_t at = 0; at < name.size; at++)
        if ((uint8_t)name.data[at] < 0x20 || name.data[at] == 0x7f) return SLICE_NONE;
    memcpy(text, name.data, name.size);
    return slice_make(text, name.size);
}

#include "vm/maths.h"

#include "vm/readonly.h"

/* An allow-list: what a later Lua adds is not there by itself. */
static const char *const names[] = {"abs", "acos",       "asin", "atan", "ceil", "cos", "deg",
                                    "exp", "floor",      "fmod", "huge", "log",  "max", "maxinteger",
                                    "min", "mininteger", "modf", "pi",   "rad",  "sin", "sqrt",
                                    "tan", "tointeger",  "type", "ult",  NULL};

void maths_push_library(lua_State *lua)
{
    lua_newtable(lua);
    lua_getglobal(lua, "math");
    for (const char *const *name = names; *name; name++) {
        lua_getfield(lua, -1, *name);
        lua_setfield(lua, -3, *name);
    }
    lua_pop(lua, 1);
    readonly_library(lua, "math", NULL);
}

/* decimal.h: exact decimal numbers for scripts: IEEE decimal128 (Intel's library) in a userdata. Inside vm/
 * only.
 *
 * Rules of this type, beyond the standard's: never NaN, infinite or negative zero; at most 34 significant
 * digits; the scale (digits behind the point) is kept (1.20 + 1.3 = 2.50) and lies between 0 and
 * DECIMAL_SCALE_MAX, so that every decimal has a plain notation that the codec takes; + - * that would have
 * to round raise an error. Ties are rounded away from zero, as in commerce.
 *
 * Threads: as the Lua state. Owns: nothing in C. */
#ifndef LORE_VM_DECIMAL_H
#define LORE_VM_DECIMAL_H

#include "vm/vm.h"

/* "-0." and 61 digits are 64 bytes, the codec's limit. */
enum {
    DECIMAL_DIGITS_MAX = 34,
    DECIMAL_QUOTIENT_DIGITS = 28,
    DECIMAL_SCALE_MAX = 61,
    DECIMAL_TEXT_SIZE = 72
};

void decimal_open(lua_State *lua);
/* decimal(x): text, integer, float or decimal. */
int decimal_make(lua_State *lua);
/* Pushes the decimal of a plain notation; false (nothing pushed) if it is none. */
bool decimal_push_plain(lua_State *lua, struct slice plain);
/* The plain notation of the decimal in that userdata into text (DECIMAL_TEXT_SIZE); returns its size. */
int decimal_text(const void *userdata, char *text);

#endif

/* moments.h: times and durations for scripts. Inside vm/ only, but for moments_parse_duration.
 *
 * A time is text of fixed width, "2026-02-01T08:26:00.000Z". A duration is a value of its own (milliseconds
 * in a userdata): days(15), hours(2), minutes(5), seconds(1.5); + and - with durations, * and / with numbers,
 * comparison, t + d, t - d. time(text) brings any ISO-8601 form into the fixed one; time.between(a, b) is b -
 * a in seconds.
 *
 * Threads: as the Lua state. Owns: nothing in C. */
#ifndef LORE_VM_MOMENTS_H
#define LORE_VM_MOMENTS_H

#include <stdint.h>

#include "base/slice.h"
#include "vm/vm.h"

void moments_open(lua_State *lua);
/* Sets days hours minutes seconds in the table on top of the stack, then pushes the time library (callable).
 */
void moments_push_library(lua_State *lua);
/* Duration text of options: "500ms", "10s", "15m", "2h", "30d". False if it is none. */
bool moments_parse_duration(struct slice text, int64_t *ms);
/* The value at index as an option: a duration, or its text. False if it is neither. */
bool moments_take_duration(lua_State *lua, int index, int64_t *ms);

#endif

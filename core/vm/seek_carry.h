/* seek_carry.h: functions of a session, carried into other Lua states, so that several threads can call them.
 * Inside vm/ only.
 *
 * A function is carried as its code; what it has around it is copied if it is plain data, a function that can
 * be carried too, or of the sandbox; so are the globals of the session whose names occur in the code. What
 * came of data cannot be changed there. A copy that would do something that the function itself does
 * differently (it assigns to a local around it, changes a table, reads what was not carried) says so: then
 * whatever it gave is to be thrown away, and the session calls the function itself.
 *
 *     struct seek_parcel parcel = {0};
 *     if (seek_carry_pack(lua, env, function, &parcel, &number)) …       in the session, for each function
 *     if (seek_carry_pack_globals(lua, env, &parcel)) …
 *     seek_carry_open(other, &parcel, &impure);                           in another state, inside a vm_call
 *     seek_carry_push(other, number);
 *     if (!seek_carry_is_pure(other)) …                                   after calls
 *
 * Threads: packing by the session's; then read by any. Owns: the parcel its bytes, until seek_parcel_release.
 */
#ifndef LORE_VM_SEEK_CARRY_H
#define LORE_VM_SEEK_CARRY_H

#include "base/arena.h"
#include "vm/vm.h"

struct seek_carried;

struct seek_parcel {
    struct arena arena;
    struct seek_carried *functions;
    size_t function_count, function_max;
    struct seek_global *globals;
    size_t global_count, global_max;
    int tables_ref; /* of a table in the session's state: which tables are in it; 0: none yet */
    bool failed;    /* something could not be packed: nothing of the parcel is to be used */
};

/* The function at index; *number: what it is called from then on. False: it cannot be carried, and so nothing
 * of the parcel can: others may refer to it. May raise (memory, cancelled). */
bool seek_carry_pack(lua_State *lua, int env, int index, struct seek_parcel *parcel, size_t *number);
/* After all functions. False: as above. */
bool seek_carry_pack_globals(lua_State *lua, int env, struct seek_parcel *parcel);
/* Lets go what packing keeps in the session's state. */
void seek_carry_packed(lua_State *lua, struct seek_parcel *parcel);
void seek_parcel_release(struct seek_parcel *parcel);

/* Makes all of it in another state. */
void seek_carry_open(lua_State *lua, const struct seek_parcel *parcel);
void seek_carry_push(lua_State *lua, size_t number);
/* Whether all calls so far did what the functions themselves would have done. */
bool seek_carry_is_pure(lua_State *lua);

#endif

/* lazy.h: events of which only the fields are decoded that their handler reads. Inside vm/ only.
 *
 *     struct lazy_plan *plan = lazy_plan_new(&stale);         one for each handler
 *     lazy_push(plan, lua, data);                     e, with the fields learnt so far
 *     lua_call(lua, ...);
 *     lazy_close(plan);                               also after an error
 *
 * Every call gets a fresh table. A field that is missing is decoded by __index from the bytes of the call and
 * from then on is decoded for each event. pairs brings all fields; from then on the plan is full: plain
 * tables without any of this.
 *
 * A table that outlives its call keeps the fields it has; asking it for others is answered with an error,
 * *stale and full become true, and whoever runs the handlers repeats from where it was known to be right.
 * (Encoding one raises as well, since it has a metatable: lazy_find then tells whether that was the reason.)
 *
 * Threads: those of the Lua state. Owns: the names learnt. */
#ifndef LORE_VM_LAZY_H
#define LORE_VM_LAZY_H

#include <lua.h>
#include <stdbool.h>

#include "base/slice.h"

struct lazy_field {
    struct slice name; /* owned */
    int key;           /* its place in the Lua table of keys */
};

struct lazy_plan {
    bool full;                 /* decode everything into plain tables */
    bool *stale;               /* a table was asked for a field after its call */
    const void *current;       /* the table of the call that runs; NULL: none */
    struct slice data;         /* its bytes */
    struct lazy_field *fields; /* learnt, in byte order */
    int field_count, field_max;
    int keys_ref, meta_ref;
};

/* stale: outlives the plan; several plans may share it. */
struct lazy_plan *lazy_plan_new(bool *stale);
void lazy_plan_free(struct lazy_plan *plan, lua_State *lua);
/* May raise (memory): the plan is as good as before. */
void lazy_push(struct lazy_plan *plan, lua_State *lua, struct slice data);
void lazy_close(struct lazy_plan *plan);
/* Into the table on top of the stack: next, rawget and the like, which make such a table a plain one first.
 */
void lazy_add_words(lua_State *lua);
/* Makes the value at index, if it is such a table, a plain one with all fields (raises if its call is over).
 */
void lazy_settle_table(lua_State *lua, int index);
/* Makes such tables in the value at index and below plain ones with all fields (raises if their call is
 * over). */
void lazy_settle(lua_State *lua, int index, int depth);
/* Looks for such tables in the value at index and below; makes their plans full. */
bool lazy_find(lua_State *lua, int index, int depth);

#endif

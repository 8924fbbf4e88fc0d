/* envelope.h: what handlers see as m: one userdata, used again for every call. Inside vm/ only.
 *
 *     struct envelope_view *m = envelope_view_push(lua);      once, kept in the registry
 *     envelope_view_open(m, &envelope, ENVELOPE_DECIDING);    before a call
 *     envelope_view_close(m);                                 behind it, also when it failed
 *
 * Fields are made when they are read. Outside its call every use of it is an error, so no handler can keep
 * it. Threads: those of the Lua state. Owns: the ids it expanded, until it is closed. */
#ifndef LORE_VM_ENVELOPE_H
#define LORE_VM_ENVELOPE_H

#include <lua.h>

#include "vm/domain.h"

enum envelope_scope {
    ENVELOPE_LOGGED,   /* everything that is there */
    ENVELOPE_DECIDING, /* execute: position, recorded and deploy are absent */
    ENVELOPE_APPLYING /* apply: and the version as well, so that no state depends on what a new event lacks */
};

struct envelope_view {
    const struct envelope *envelope; /* NULL: closed */
    enum envelope_scope scope;
    int type_ref; /* registry reference of the type as text, if who opened it keeps one; else LUA_NOREF */
    bool ids_read;
    struct record_ids ids;
    int64_t day;   /* the last one formatted, since 1970, + 1; 0: none */
    char date[11]; /* "2026-02-01T" */
    struct arena arena;
};

/* Pushes a closed one. May raise (memory). */
struct envelope_view *envelope_view_push(lua_State *lua);
void envelope_view_open(struct envelope_view *view, const struct envelope *envelope,
                        enum envelope_scope scope);
void envelope_view_close(struct envelope_view *view);
/* Pushes a plain table of every field that is there. */
void envelope_push_table(lua_State *lua, struct envelope_view *view);

#endif

/* ask_events.h: events { … } of a session: lazy queries over the log. Inside vm/ only.
 *
 *     events { type = "BillClosed", since = "2026-01-01" }
 *         :where(function(e) return e.data.total > decimal "100" end)
 *         :group("month"):sum("total")
 *
 * A query is a value that never changes: each of :where :map :sort :limit :skip :join :group gives another
 * one. It reads nothing before it meets an end (:count :sum …), is walked (for e in query do), or is shown.
 * ask_events.c has the values, ask_known.c says which names there are, ask_ends.c what they end in,
 * ask_results.c and lua/ask_events.lua what comes of that (:plot :save projection_from), seek_*.c all that
 * knows no session.
 *
 * Threads: those of the session. Owns: nothing in C beyond a run (seek_run.h). */
#ifndef LORE_VM_ASK_EVENTS_H
#define LORE_VM_ASK_EVENTS_H

#include "vm/ask_core.h"
#include "vm/seek_program.h"

/* With the table of words on top of the stack. Does nothing if the host has no events. */
void ask_add_events(struct ask *ask);

/* --- between the files named above --- */

/* Whether the value at index is a query; pushes what it consists of: { filter = {…}, stages = { { kind, f, n,
 * down, view } … }, group = f }. Never to be seen by scripts. */
bool ask_query_push(lua_State *lua, int index);
/* A query as upvalue 1's method got it: raises if it is none. */
void ask_query_check(lua_State *lua, const char *method);
/* Fills filter and program from what ask_query_push has pushed. Texts are borrowed from it; lists are in
 * arena. */
void ask_query_read(lua_State *lua, int parts, struct arena *arena, struct seek_filter *filter,
                    struct seek_program *program);
/* A function or path at index, nil: NONE. Raises for anything else. */
void ask_query_read_function(lua_State *lua, int index, const char *what, struct seek_function *function);

/* ask_known.c: raises, with the nearest name, for what neither the contracts nor the log have: for types,
 * context and aggregate of the filter at index, and for the name of a field at index (nothing happens if it
 * is none), of events as the query at 1 has them. */
void ask_known_filter(lua_State *lua, struct ask *ask, int filter);
void ask_known_field(lua_State *lua, struct ask *ask, int index, const char *what);

/* ask_ends.c: the methods that end a query, into the table on top of the stack. */
void ask_add_ends(struct ask *ask);
/* (query): tells its rows, or shows the counts of its groups. */
int ask_query_show(lua_State *lua);
/* for e in query do: (query, nil, the row before). */
int ask_query_next(lua_State *lua);
/* Pushes a list of all rows of the query at index. */
void ask_query_push_rows(lua_State *lua, struct ask *ask, int index);
/* Tells rows as lines; returns how many. */
uint64_t ask_query_tell_rows(lua_State *lua, struct ask *ask, int index, uint64_t limit, bool *more);

/* The same as a grouped query's :count(). */
int ask_query_counts(lua_State *lua);

/* ask_results.c: sets the metatable with :plot and :save of the table on top of the stack: groups or a list.
 * Does nothing without events. */
void ask_result_mark(struct ask *ask);
/* :plot or :save, with all that is on the stack. */
int ask_result_call(lua_State *lua, struct ask *ask, const char *name);
/* Of the result on top of the stack, for projection_from: it is of the query at 1, whose end has its function
 * at index (0: none). */
void ask_result_remember(lua_State *lua, const char *end, int function);
/* projection_from into the table of words, :plot and :save into that of a query's methods. */
void ask_add_results(struct ask *ask, int words, int methods);
/* What is evaluated next, for who looks for the text of a function. */
void ask_events_remember(struct ask *ask, struct slice source);

/* ask_documents.c: documents at 1 as a list of { key, document }; 0: they are none. A function of Lua. */
int ask_documents_push_list(lua_State *lua);

#endif

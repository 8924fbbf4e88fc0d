/* ask_core.h: what the files behind ask.h share, and what those that add words to questions need. Included by
 * vm/ask*.c and the files of such words only.
 *
 * A file of words offers NAME_add(ask), called with the table of words on top of the stack, whose functions
 * have the ask as their first upvalue (ask_of). What they tell goes through ask_tell. A value that is not to
 * be shown as it lies in memory has a function at ask_show_key in its metatable: (value) -> what to show; or
 * nothing, when it told everything itself. */
#ifndef LORE_VM_ASK_CORE_H
#define LORE_VM_ASK_CORE_H

#include <lauxlib.h>

#include "vm/ask.h"
#include "vm/domain_core.h"
#include "vm/seek_program.h"

struct ask {
    struct domain *domain;
    const struct ask_host *host;
    struct vm_leash leash;
    bool is_tidy;    /* nothing was evaluated since garbage was collected */
    int64_t seconds; /* of one evaluation */
    size_t value_size_max;
    size_t rows;            /* of the evaluation at hand: how many a query tells, 0: all */
    int env_ref, words_ref; /* registry references: the globals of the session, and what lies below them */
    struct seek_reader *reader; /* of events, kept alive by: */
    int reader_ref;
    struct seek_views views; /* for joins */
    int events_ref;          /* of what lua/ask_events.lua returned */
    int module_ref;          /* of what lua/ask.lua returned */
    struct buf bytes;        /* what the host gives, until it is on the stack */
    struct buf cursor;       /* of a page of documents */
    struct buf source;       /* of the chunk at hand */
    struct buf line;         /* of the answer, while it is made */
};

/* Their addresses are keys of metatables: a function that shows the value instead of its being shown, and one
 * that gives what `it` becomes in its place (nil: `it` stays what it was). */
extern const char ask_show_key, ask_it_key;

static inline struct ask *ask_of(lua_State *lua)
{
    return lua_touserdata(lua, lua_upvalueindex(1));
}

/* Sets functions, which get the ask as upvalue, in the table on top of the stack. */
void ask_set_functions(struct ask *ask, const luaL_Reg *functions);
/* Pushes a protected metatable of that name, with these metamethods and methods (both may be NULL), which get
 * the ask as upvalue; made when it is first asked for. Of one with metamethods a method that it does not have
 * is an error: "query has no grup: did you mean group?". */
void ask_push_meta(struct ask *ask, const char *name, const luaL_Reg *metamethods, const luaL_Reg *methods);
/* Makes the table on top of the stack a read-only one whose missing fields are errors that name the nearest:
 * "context billing has no bll: did you mean bill?". */
void ask_seal(struct ask *ask, const char *what);
/* Tells one line; raises what the host answers. */
void ask_tell(lua_State *lua, struct ask *ask, struct slice line);
/* Raises the fault that the host answered, with the place of the question. */
int ask_raise(lua_State *lua, const struct fault *fault);
/* A text or an integer (made a text in place) at index; raises with what otherwise. */
struct slice ask_text(lua_State *lua, int index, const char *what);

/* Brackets every call of the session's state: the leash is on, for so many seconds. */
void ask_begin(struct ask *ask, int64_t seconds);
void ask_end_call(struct ask *ask);

/* ask_json.c: the value at index as JSON, about size_max bytes of it: what is left out is marked by "…".
 * Calls no metamethods. May raise (memory, cancelled). */
void ask_put_json(lua_State *lua, int index, struct buf *out, size_t size_max);

/* Pushes what a file of the prelude returns. host and modules: stack indexes of its two arguments. */
void ask_run_prelude(struct ask *ask, const char *name, int host, int modules);
/* ask_words.c, ask_views.c: with the table of words on top of the stack. */
void ask_add_words(struct ask *ask);
void ask_add_views(struct ask *ask);
/* ask_insight.c */
void ask_add_insight(struct ask *ask);
/* ask_documents.c: push the documents of a view, with the arguments of :range(index, min, max) from 2 on. */
int ask_documents_range(lua_State *lua, struct ask *ask, const struct loader_projection *view);
int ask_documents_all(lua_State *lua, struct ask *ask, const struct loader_projection *view);
/* ask_meant.c: adds to the fault of an evaluation what was likely meant by a global that is not there.
 * Allocates nothing in the Lua state. */
void ask_add_meant(struct ask *ask, struct fault *fault);
/* ask_reference.c: lua/ask.lua and what it sees of C. */
void ask_open_reference(struct ask *ask);

#endif

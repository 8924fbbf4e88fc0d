/* seek_program.h: what a query does with each event, bound to one Lua state: its stages and its end. Inside
 * vm/ only.
 *
 *     where map   a function or path, one row after another: any thread may do it, in any order
 *     skip limit sort join   in order, in the session's state
 *     group, end  into a fold (seek_fold.h); or, without an end, each row to whoever takes it
 *
 * A row is an event or any value; behind a join it has documents as well. Rows that wait (to be sorted, or to
 * get from one state into another) are packed: an event as its place in the log, everything else as
 * MessagePack.
 *
 *     seek_program_open(&program, lua, reader);            then stages, group, value, plan are set
 *     seek_program_begin(&program);
 *     seek_program_take(&program, 0, &hit);                inside a vm_call: it raises what functions raise
 *     seek_program_end(&program);                          what waits to be sorted goes on
 *     seek_program_close(&program);
 *
 * Threads: those of the Lua state. Owns: stages, references to functions, the fold. */
#ifndef LORE_VM_SEEK_PROGRAM_H
#define LORE_VM_SEEK_PROGRAM_H

#include "vm/seek_event.h"
#include "vm/seek_fold.h"

enum seek_function_kind { SEEK_NONE, SEEK_PATH, SEEK_LUA };

struct seek_function {
    enum seek_function_kind kind;
    struct seek_path path;
    char *text; /* of the path; owned */
    int ref;    /* LUA: in the registry */
};

enum seek_stage_kind { SEEK_WHERE, SEEK_MAP, SEEK_SKIP, SEEK_LIMIT, SEEK_SORT, SEEK_JOIN };

struct seek_stage {
    enum seek_stage_kind kind;
    struct seek_function function; /* JOIN: of the key; NONE: the event's id */
    uint64_t count;                /* SKIP, LIMIT */
    bool descending;               /* SORT */
    char *view;                    /* JOIN: "billing/open_bills"; owned */
    /* while it runs */
    uint64_t seen;         /* SKIP, LIMIT */
    struct seek_fold rows; /* SORT */
};

struct seek_views {
    void *user;
    int (*get)(void *user, struct slice view, struct slice key, struct buf *document, struct fault *fault);
};

struct seek_row {  /* on the Lua stack */
    bool is_hit;   /* it is the event of the reader's hit */
    int at, count; /* its values; count 0: the hit, not pushed so far */
    uint64_t order;
};

enum { SEEK_GROUPS_KEPT = 512 };

struct seek_kept_group {
    uint64_t tag;
    struct seek_group *group;
};

struct seek_program {
    lua_State *lua;
    size_t kept_looked; /* bytes kept when memory was last looked at */
    struct seek_reader *reader;
    const struct seek_views *views;
    struct seek_stage *stages;
    size_t stage_count;
    struct seek_function group, value; /* NONE: no groups; the row itself */
    bool has_end;
    struct seek_plan plan;
    size_t memory_max; /* of what it keeps, with that of the Lua state */
    /* Without an end: the row is on the stack (seek_row_push makes one value of it). */
    void (*give)(struct seek_program *program, struct seek_row *row);
    void *user;
    /* while it runs */
    const struct seek_hit *hit; /* at hand */
    bool enough;                /* no further row can change anything */
    struct seek_fold fold;
    uint64_t rows, order_next;
    struct buf key, row, label, packed;
    char decimal[72];
    int groups_ref; /* text -> group, of groups that functions named */
    struct seek_kept_group kept[SEEK_GROUPS_KEPT];
};

void seek_program_open(struct seek_program *program, lua_State *lua, struct seek_reader *reader);
/* The stage added last. */
struct seek_stage *seek_program_add(struct seek_program *program, enum seek_stage_kind kind);
void seek_program_close(struct seek_program *program);
/* How many stages from the first on may be done by any thread in any order. */
size_t seek_program_free_stages(const struct seek_program *program);
/* Whether no function of Lua is called before the end. */
bool seek_program_is_bare(const struct seek_program *program);

void seek_program_begin(struct seek_program *program);
/* An event, from that stage on. */
void seek_program_take(struct seek_program *program, size_t stage, const struct seek_hit *hit);
/* A packed row. */
void seek_program_take_packed(struct seek_program *program, size_t stage, uint64_t order, struct slice row);
void seek_program_end(struct seek_program *program);
/* Raises a fault of what belongs to the program; CANCELLED as whatever ended the call. */
void seek_program_raise(struct seek_program *program, const struct fault *fault);

/* A copy of a function for another state: its Lua part is not copied. */
struct seek_function seek_function_path(const struct seek_function *function);
/* Appends the packed row. */
void seek_row_pack(struct seek_program *program, struct seek_row *row, struct buf *out);
/* Pushes what the row is as one value: itself, or a table of event and documents. */
void seek_row_push(struct seek_program *program, struct seek_row *row);
/* The same of a packed row. */
void seek_row_push_packed(struct seek_program *program, struct slice packed);

#endif

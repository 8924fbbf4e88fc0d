/* vm.h: one sandboxed Lua state with budgets. Inside vm/ only (run/ knows domain.h).
 *
 * What scripts see is an allow-list (sandbox.c): no os, io, debug, package, load of binary chunks, coroutine,
 * collectgarbage, __gc,
 * __mode, addresses, clock, random. Trusted code of the prelude (lua/) runs before with the full library, in
 * globals of its own.
 *
 * Errors travel in Lua as any value; those that must keep their code travel as a fault userdata (vm_raise).
 * pcall of scripts cannot catch REJECTED, BUDGET and BUSY (retry).
 *
 * Budgets: fast mode runs without a hook. A per-thread CPU timer signal (watchdog.c) notices a call that runs
 * longer than LIMIT_WATCHDOG_TICKS and arms a sticky hook that ends it (must_repeat is set). Exact mode
 * counts instructions from the start and allocated bytes; its verdict does not depend on the machine.
 *
 * Threads: one at a time; the thread that runs calls must have called vm_watchdog_start once. */
#ifndef LORE_VM_VM_H
#define LORE_VM_VM_H

#include <stdatomic.h>

#include <lua.h>
#include <lauxlib.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/limit.h"
#include "vm/blocks.h"
#include "vm/owners.h"
#include "vm/secrets.h"

/* Kinds of values that C made; each has one metatable in a state. */
enum vm_meta {
    VM_META_DECIMAL,
    VM_META_DURATION,
    VM_META_LIST,
    VM_META_READONLY,
    VM_META_FAULT,
    VM_META_COUNT
};

/* Why the call now running may not go on; sticky until the outermost vm_call has ended. */
enum vm_stop {
    VM_STOP_NONE,
    VM_STOP_INSTRUCTIONS,
    VM_STOP_CALL_MEMORY,
    VM_STOP_STATE_MEMORY,
    VM_STOP_MACHINE_MEMORY,
    VM_STOP_TIME,
    VM_STOP_CANCELLED
};

/* Holds the calls of a state that somebody waits for in person (ask.h): neither instructions nor the bytes of
 * one call are counted; what ends them is a clock, the state's memory, or whoever does not want to wait. */
struct vm_leash {
    const atomic_bool *cancelled; /* set from any thread: the call ends at the next tick of the watchdog */
    int64_t until_ns;             /* of clock_monotonic_ns */
    int64_t seconds;              /* that it was given, for the text of the fault */
};

struct vm {
    lua_State *lua; /* the thread that runs: the state's own, or the coroutine inside vm_resume */
    struct blocks blocks;
    struct owners owners;           /* of a state that runs share, else unused */
    size_t memory_used, memory_max; /* bytes of this state; above max every allocation fails (ERRMEM) */
    size_t call_allocated;          /* gross bytes since the call began */
    size_t call_allocated_max;      /* where the call that runs ends; no limit outside of a call */
    size_t call_memory_max;
    uint64_t instructions_left; /* exact mode */
    uint64_t instructions_max;
    uint64_t pattern_steps_left; /* string matching and other C loops draw on the same budget */
    bool exact, must_repeat;
    int depth;            /* nested vm_call */
    unsigned call_serial; /* changes with every outermost call */
    volatile int running;
    volatile int overtime; /* set by the watchdog: the hook is armed */
    enum vm_stop stop;
    enum vm_stop memory_stop; /* what LUA_ERRMEM means: who refused the last allocation that failed */
    bool keys_kept;           /* next has kept sorted keys: keys.c */
    bool was_exact;           /* the call before ran in exact mode */
    size_t memory_collected;  /* memory_used after the last full collection */
    char where[320];          /* "file:line: " of the last error or stop, or "" */
    /* Pushes the table that a userdata stands for, if it stands for one (seek_event.h); NULL: none does. */
    bool (*push_plain)(lua_State *lua, int index);
    bool refused_write;                 /* something read-only was to be changed, ever */
    unsigned views_serial;              /* readonly.c: the last call that asked for a view */
    unsigned views_made;                /* since their table was new */
    unsigned runs;                      /* domain_run.c: begun and not freed */
    const void *meta_at[VM_META_COUNT]; /* identity of the metatables, and registry references to them */
    int meta_reference[VM_META_COUNT];
    bool rejected; /* the call that runs: final, whatever a script makes of the error */
    struct fault rejection;
    struct secrets secrets;       /* what no error text and no line of print may show */
    const struct vm_leash *leash; /* NULL: calls have the budgets above */
    int script_env; /* registry reference of the table of allowed globals (read-only, shared by contexts) */
};

struct vm_options {
    size_t memory_max, call_memory_max;
    uint64_t instructions_max;
    bool has_owners; /* each block is somebody's: owners.h */
};

/* A state with the sandbox built; trusted globals still complete. */
struct vm *vm_new(const struct vm_options *options); /* 0 in a field: limit.h */
void vm_free(struct vm *vm);
/* later: time before memory: the collector waits until there is four times what it left, not twice; an import
 * is 6% quicker with it. Else as usual, from now on. */
void vm_collect_later(struct vm *vm, bool later);
/* Of a state in which no trusted code will be loaded: its own globals, which no script sees, are emptied. */
void vm_forget_libraries(struct vm *vm);
/* The vm of a Lua state. */
static inline struct vm *vm_of(lua_State *lua)
{
    return *(struct vm **)lua_getextraspace(lua);
}

/* The one lua_pcall: as lua_call(arguments, results), under the budget when it is the outermost. On failure
 * nothing is left of function and arguments on the stack and *fault says what happened: SCRIPT ("file:line:
 * ..."; any error value is made a text under the same budget), BUDGET, or what vm_raise threw. */
int vm_call(struct vm *vm, int arguments, int results, struct fault *fault);
/* The same without a budget, for trusted code at load. Never for code that a user wrote. */
int vm_call_trusted(struct vm *vm, int arguments, int results, struct fault *fault);
/* Runs a C function (light, one argument user) protected, for C code that touches the stack and may raise.
 * What it returns stays on the stack. Outside of a vm_call it has no budget. */
int vm_protected(struct vm *vm, lua_CFunction function, void *user, struct fault *fault);

/* Inside a vm_call: starts or continues a coroutine, whose arguments are on its stack, under the budget of
 * that call. Returns what lua_resume does; where an error arose is noted for vm_take_error. */
int vm_resume(struct vm *vm, lua_State *thread, int arguments);
/* Turns the error value on top of the stack, of a protected call or coroutine that ended with status, into
 * *fault and pops it. */
void vm_take_error(struct vm *vm, int status, struct fault *fault);

/* Appends what a script wants to log as one line of well-formed text, cut, without secrets. */
void vm_put_line(const struct vm *vm, struct slice text, struct buf *out);

/* Raises a fault as a Lua error that keeps its code. level 1: prefixes "file:line: " of the script function
 * that called. 0: as it is. */
int vm_raise(lua_State *lua, enum fault_code code, int level, const char *format, ...)
    __attribute__((format(printf, 4, 5), noreturn));
/* The same with a reason (REJECTED). */
int vm_raise_reject(lua_State *lua, struct slice reason, struct slice text) __attribute__((noreturn));
/* For who caught an error: raises the rejection again if there was one. Even if what was caught is another
 * error: a __close on the way may have put its own in the place of it. */
void vm_reject_again(lua_State *lua);
/* Spends steps of the call's budget inside long C loops; raises BUDGET when it is used up. */
void vm_spend(lua_State *lua, uint64_t steps);

/* Counts bytes that C code is about to keep for the call, as if Lua had allocated them; raises BUDGET when it
 * is too much. */
void vm_hold(lua_State *lua, size_t bytes);

/* "file:line: " of the innermost script function on the stack (chunks whose name begins with '=' are the
 * hub's own and are passed over) into text, or "" if there is none. Never allocates. */
void vm_where(lua_State *lua, char *text, size_t size);
/* Whether the value has the one metatable of that kind; pushes that metatable. */
bool vm_has_meta(lua_State *lua, int index, enum vm_meta meta);
void vm_push_meta(lua_State *lua, enum vm_meta meta);

/* Compiles text only. chunk is "dir/path" for error texts, "=lore" or the like for the hub's own code;
 * env_index: stack index of the table that becomes its _ENV. Pushes the function. */
int vm_load(struct vm *vm, struct slice text, const char *chunk, int env_index, struct fault *fault);

/* Pushes a text that may be empty without an address. May raise (memory). */
/* The text (or number, which becomes one) at index; raises for anything else. Borrowed from Lua's value. */
static inline struct slice vm_text_at(lua_State *lua, int index)
{
    size_t size;
    const char *text = luaL_checklstring(lua, index, &size);
    return slice_make(text, size);
}
static inline void vm_push_slice(lua_State *lua, struct slice text)
{
    lua_pushlstring(lua, text.data ? text.data : "", text.size);
}

/* Starts the calling thread's watchdog timer; idempotent. vm_watchdog_stop before the thread ends. */
void vm_watchdog_start(void);
void vm_watchdog_stop(void);

#endif

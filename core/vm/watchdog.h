/* watchdog.h: ends calls that run too long. Inside vm.c only; others see vm_watchdog_start and
 * vm_watchdog_stop of vm.h.
 *
 * A POSIX timer counts the CPU time of its thread and sends a signal to that thread every
 * LIMIT_WATCHDOG_TICK_MS. The handler looks at the one vm that the thread is running: if it is still in the
 * same call after LIMIT_WATCHDOG_TICKS it arms a hook, the only thing Lua allows in a signal handler. It arms
 * again at every tick, since the interpreter may just have been overwriting the flag.
 *
 * Threads: each has its own timer and its own vm. Owns: the timer. */
#ifndef LORE_VM_WATCHDOG_H
#define LORE_VM_WATCHDOG_H

#include "vm/vm.h"

/* In exact mode instructions are counted, but some single instructions are slow (comparing two texts of 10
 * MB). A call that takes this long is stopped as well: the last resort, ten times what the instruction budget
 * usually takes (more where a sanitizer slows everything down). */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { WATCHDOG_EXACT_TICKS = 2500 };
#else
enum { WATCHDOG_EXACT_TICKS = 250 };
#endif

/* ThreadSanitizer hands signals over only inside of library calls that it knows, and a loop in Lua makes
 * none: builds with it look for the signal every thousand instructions and at every vm_spend. */
#if defined(__SANITIZE_THREAD__)
enum { WATCHDOG_POLLS = 1 };
#else
enum { WATCHDOG_POLLS = 0 };
#endif
void watchdog_poll(void);
/* Whether the time of a call on a leash is over, or it was cancelled. Safe in a signal handler. */
bool watchdog_leash_ended(const struct vm_leash *leash);

/* Tells the thread's watchdog which vm runs; returns the one before, for watchdog_leave. */
struct vm *watchdog_enter(struct vm *vm);
void watchdog_leave(struct vm *vm, struct vm *before);
/* The hook it arms; defined in vm.c. */
void watchdog_hook(lua_State *lua, lua_Debug *frame);

#endif

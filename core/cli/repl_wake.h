/* repl_wake.h: signals as something to poll for, so that none is lost between a look and a wait.
 *
 *     repl_wake_start();
 *     poll() for POLLIN on repl_wake_fd()
 *     while ((number = repl_wake_take())) ...          SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH
 *
 * Threads: start and take by one; signals may come on any. Owns: a pipe, for the life of the process. */
#ifndef LORE_CLI_REPL_WAKE_H
#define LORE_CLI_REPL_WAKE_H

#include <stdbool.h>

void repl_wake_start(void);
int repl_wake_fd(void);
/* The next signal, 0: none. */
int repl_wake_take(void);
/* Whether the signal ends the program. */
bool repl_wake_is_end(int number);
/* Dies of the signal, as who started us expects to see. */
_Noreturn void repl_wake_die(int number);

#endif

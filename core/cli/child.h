/* child.h: this program run as a child process: to its end, or as a hub that serves.
 *
 *     struct child hub;
 *     if (child_serve(&hub, arguments, &port, &fault) < 0) ...
 *     child_stop(&hub, SIGTERM, &fault);
 *
 * A child dies with its parent. One at a time. Threads: one. */
#ifndef LORE_CLI_CHILD_H
#define LORE_CLI_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/fault.h"

struct child {
    pid_t pid;
    int errors; /* its stderr */
};

/* Runs lore with arguments (NULL at the end) to its end; its stdout is appended to out. Fault: UNAVAILABLE,
 * with what it said, if it ends with more than code_max. */
int child_run(const char *const *arguments, int code_max, struct buf *out, struct fault *fault);
/* Starts lore serve with further arguments and waits until it listens. Fault: UNAVAILABLE, with what it said.
 */
int child_serve(struct child *child, const char *const *arguments, int *port, struct fault *fault);
bool child_runs(const struct child *child);
/* Signals a hub and waits for its end. Fault: UNAVAILABLE, if it was told to stop (SIGTERM) and did not end
 * with 0. */
int child_stop(struct child *child, int signal_number, struct fault *fault);

/* For a signal handler: the child that runs is interrupted, and no other is started any more. */
void child_interrupt(void);
bool child_is_interrupted(void);

#endif

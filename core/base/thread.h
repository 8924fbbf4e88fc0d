/* thread.h: threads with a name, so that `top -H`, a debugger and a profiler tell them apart.
 *
 *     pthread_t thread = thread_start(writer_run, writer, "writer");
 *     pthread_join(thread, NULL);
 */
#ifndef LORE_BASE_THREAD_H
#define LORE_BASE_THREAD_H

#include <pthread.h>

/* Runs main(user) in a thread of its own; the caller joins it. The name is a printf format; the kernel keeps
 * its first 15 bytes. That a thread cannot be made is no state to go on in: it says so and stops with exit
 * code 3. */
pthread_t thread_start(void *(*main)(void *user), void *user, const char *name_format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for who can go on without it: 0, or an errno. name: at most 15 bytes. */
int thread_try(pthread_t *thread, void *(*main)(void *user), void *user, const char *name);

/* The calling thread works in small bites that somebody waits for: when it wakes it need not wait until the
 * one that has the processor is through with milliseconds of its own. Does nothing where the kernel has no
 * such wish (before Linux 6.12). */
void thread_is_prompt(void);
/* The calling thread does what nobody waits for at the moment: beside busy threads it gets about a tenth of a
 * processor, alone all of one, and it gives it away as promptly. It must not hold for long a lock that the
 * others need. */
void thread_yields(void);

#endif

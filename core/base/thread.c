#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/faultpoint.h"
#include "base/say.h"

enum {
    THREAD_NAME_MAX = 16, /* of the kernel, the final zero included */
    THREAD_NICE = 10,
    THREAD_SLICE_NS = 200000 /* the usual one is 3 ms */
};

int thread_try(pthread_t *thread, void *(*main)(void *user), void *user, const char *name)
{
    int error = fault_point(POINT_THREAD_START) ? errno : pthread_create(thread, NULL, main, user);
    if (!error) pthread_setname_np(*thread, name);
    return error;
}

pthread_t thread_start(void *(*main)(void *user), void *user, const char *name_format, ...)
{
    pthread_t thread;
    char name[THREAD_NAME_MAX];
    va_list list;
    va_start(list, name_format);
    vsnprintf(name, sizeof name, name_format, list);
    va_end(list);
    int error = thread_try(&thread, main, user, name);
    if (error) say_stop("no thread for %s: %s", name, strerror(error));
    return thread;
}

/* The kernel's struct sched_attr; its header and that of the C library are not to be had together. */
struct thread_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

/* On Linux both are matters of the thread, not of its process, and both are wishes: nothing depends on them.
 */
void thread_is_prompt(void)
{
    struct thread_attr attr = {.size = sizeof attr};
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) < 0 || attr.policy != SCHED_OTHER) return;
    attr.runtime_ns = THREAD_SLICE_NS;
    syscall(SYS_sched_setattr, 0, &attr, 0);
}

void thread_yields(void)
{
    errno = 0;
    int nice = getpriority(PRIO_PROCESS, 0);
    if (nice != -1 || errno == 0) setpriority(PRIO_PROCESS, 0, nice + THREAD_NICE);
    thread_is_prompt();
}

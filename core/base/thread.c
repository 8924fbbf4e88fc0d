#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/faultpoint.h"
#include "base/say.h"

enum {
    THREAD_NAME_MAX = 16,    /* of the kernel, the final zero included */
    THREAD_SLICE_NS = 200000 /* the usual one is 3 ms */
};

pthread_t thread_start(void *(*main)(void *user), void *user, const char *name_format, ...)
{
    pthread_t thread;
    char name[THREAD_NAME_MAX];
    va_list list;
    va_start(list, name_format);
    vsnprintf(name, sizeof name, name_format, list);
    va_end(list);
    int error = fault_point(POINT_THREAD_START) ? errno : pthread_create(&thread, NULL, main, user);
    if (error) say_stop("no thread for %s: %s", name, strerror(error));
    pthread_setname_np(thread, name);
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

/* A wish: nothing depends on its being heard. */
void thread_is_prompt(void)
{
    struct thread_attr attr = {.size = sizeof attr};
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) < 0 || attr.policy != SCHED_OTHER) return;
    attr.runtime_ns = THREAD_SLICE_NS;
    syscall(SYS_sched_setattr, 0, &attr, 0);
}

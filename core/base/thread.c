#include "base/thread.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/faultpoint.h"
#include "base/say.h"

enum {
    THREAD_NAME_MAX = 16, /* of the kernel, the final zero included */
    THREAD_NICE = 10
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

void thread_be_nice(void)
{
    /* Of the thread, not of the process; more of it never fails. */
    setpriority(PRIO_PROCESS, (id_t)gettid(), THREAD_NICE);
}

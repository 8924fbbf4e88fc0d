#include "base/thread.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"

enum { THREAD_NAME_MAX = 16 }; /* of the kernel, the final zero included */

pthread_t thread_start(void *(*main)(void *user), void *user, const char *name_format, ...)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, main, user);
    CHECK(error == 0);
    char name[THREAD_NAME_MAX];
    va_list list;
    va_start(list, name_format);
    vsnprintf(name, sizeof name, name_format, list);
    va_end(list);
    pthread_setname_np(thread, name);
    return thread;
}

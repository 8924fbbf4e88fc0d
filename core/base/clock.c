#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static int64_t clock_read(clockid_t id)
{
    struct timespec at;
    clock_gettime(id, &at);
    return (int64_t)at.tv_sec * 1000000000LL + at.tv_nsec;
}

int64_t clock_now_ms(struct clock *clock)
{
    return clock ? clock->now_ms(clock) : clock_read(CLOCK_REALTIME) / 1000000;
}

int64_t clock_monotonic_ns(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

/* clock.h: time enters the hub through this interface, so that tests and simulations can replay it.
 *
 *     int64_t now = clock_now_ms(clock);      clock may be NULL: the machine's clock
 */
#ifndef LORE_BASE_CLOCK_H
#define LORE_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*now_ms)(struct clock *clock); /* milliseconds since 1970-01-01T00:00Z */
};

int64_t clock_now_ms(struct clock *clock);
/* Nanoseconds that never go back; only differences mean something. */
int64_t clock_monotonic_ns(void);

#endif

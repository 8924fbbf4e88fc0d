/* cron.h: moments that come again: the five fields of cron.
 *
 *     struct cron cron;
 *     if (cron_parse(slice_of("30 3 * * mon-fri"), &cron, &fault) < 0) ...
 *     next = cron_next(&cron, zone, now_ms);
 *
 * Minute 0-59, hour 0-23, day of month 1-31, month 1-12 or jan-dec, day of week 0-7 or sun-sat (0 and 7 are
 * Sunday); each `*`, a number, a range `a-b`, with a step `*` `/n` or `a-b/n`, or a list of those with
 * commas. As in POSIX: if both day fields are restricted (do not begin with `*`), a day that fits either is
 * meant.
 *
 * Where clocks change: a moment that is left out (02:30 when 02:00 becomes 03:00) happens when the clocks
 * change, once however many are left out; of a moment that comes twice the first is meant. If every hour is
 * meant, real time counts instead: every moment that the clocks show, none in between.
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_CODEC_CRON_H
#define LORE_CODEC_CRON_H

#include <stdint.h>

#include "base/fault.h"
#include "base/slice.h"
#include "codec/zone.h"

struct cron { /* bit n: n is meant */
    uint64_t minutes;
    uint32_t hours, days, months, weekdays;
    bool either; /* both days and weekdays are restricted */
};

/* Fault: MALFORMED, naming the field. What can never happen ("0 0 30 2 *") is one. */
int cron_parse(struct slice text, struct cron *cron, struct fault *fault);
/* The first moment after after_ms; zone NULL: UTC. INT64_MAX behind the year 9990. */
int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t after_ms);

#endif

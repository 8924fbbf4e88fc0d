/* time.h: moments as text (ISO-8601) and as milliseconds since 1970 (UTC).
 *
 *     int64_t ms;
 *     if (!time_parse(slice_of("2026-02-01T08:26+02:00"), &ms)) ...
 *     char text[TIME_TEXT_SIZE + 1];
 *     time_format(ms, text);                   2026-02-01T06:26:00.000Z
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_CODEC_TIME_H
#define LORE_CODEC_TIME_H

#include <stdint.h>

#include "base/slice.h"

enum { TIME_TEXT_SIZE = 24 };

/* ISO-8601 to milliseconds since 1970 (UTC). Takes "2026-02-01", "...T08:26Z", seconds, fractions (cut to
 * milliseconds), offsets "+02:00"; a time of day needs an offset or Z. Years 0001-9999. False if it is none.
 */
bool time_parse(struct slice text, int64_t *ms);
/* "2026-02-01T08:26:00.000Z": TIME_TEXT_SIZE bytes and a NUL. ms must be in years 0001-9999 (see time_valid).
 */
void time_format(int64_t ms, char text[TIME_TEXT_SIZE + 1]);
bool time_valid(int64_t ms);

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar from year 1 on; and back. */
int64_t time_days(int64_t year, int64_t month, int64_t day);
void time_date(int64_t days, int64_t *year, int64_t *month, int64_t *day);
int64_t time_month_days(int64_t year, int64_t month); /* 28 to 31 */

#endif

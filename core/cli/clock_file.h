/* clock_file.h: a clock that stands where a file says, so that a test turns the clock of a hub in another
 * process: LORE_CLOCK=FILE, one moment in it ("2026-03-02T07:00:00Z").
 *
 *     if (clock_file_open(path, loop, told, user, &clock, &fault) < 0) ...
 *     options.clock = clock_file_clock(clock);
 *     clock_file_close(clock);                     and let the loop run once more
 *
 * The file is written again in place, or replaced by another one of its name; told is called in the loop's
 * thread once the clock stands there. What is no moment, as a file that is being written, leaves the clock
 * where it was.
 *
 * Threads: the clock any, the rest the loop's. Owns: the handle in the loop. */
#ifndef LORE_CLI_CLOCK_FILE_H
#define LORE_CLI_CLOCK_FILE_H

#include <uv.h>

#include "base/clock.h"
#include "base/fault.h"

struct clock_file;

/* Faults: NOT_FOUND and the like; MALFORMED: no moment in it. */
int clock_file_open(const char *path, uv_loop_t *loop, void (*told)(void *user), void *user,
                    struct clock_file **clock, struct fault *fault);
struct clock *clock_file_clock(struct clock_file *clock);
/* NULL: nothing. The loop frees it. */
void clock_file_close(struct clock_file *clock);

#endif

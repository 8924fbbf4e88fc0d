/* progress.h: how far a long work is: a bar with rate and time left on a terminal, a plain line every few
 * seconds elsewhere; on stderr. Threads: one. */
#ifndef LORE_CLI_PROGRESS_H
#define LORE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what;  /* "importing" */
    const char *units; /* "rows" */
    int64_t began_ns, shown_ns;
    bool terminal, shown;
};

struct progress progress_start(const char *what, const char *units);
/* done of total (0: unknown) in units; fraction of the whole work, 0..1, if it is known otherwise (bytes of a
 * file), else negative. */
void progress_show(struct progress *progress, uint64_t done, uint64_t total, double fraction);
/* Clears the bar. */
void progress_end(struct progress *progress);
double progress_seconds(const struct progress *progress);

#endif

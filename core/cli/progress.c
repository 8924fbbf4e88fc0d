#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { PROGRESS_BAR_WIDTH = 28 };

struct progress progress_start(const char *what, const char *units)
{
    return (struct progress){.what = what,
                             .units = units,
                             .began_ns = clock_monotonic_ns(),
                             .terminal = isatty(STDERR_FILENO) == 1};
}

double progress_seconds(const struct progress *progress)
{
    return (double)(clock_monotonic_ns() - progress->began_ns) / 1e9;
}

static void progress_time(char *text, size_t size, double seconds)
{
    if (seconds < 60)
        snprintf(text, size, "%.0f s", seconds);
    else
        snprintf(text, size, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total, double fraction)
{
    int64_t now = clock_monotonic_ns();
    int64_t every_ns = progress->terminal ? 100000000 : 5000000000;
    if (now - (progress->shown ? progress->shown_ns : progress->began_ns) < every_ns) return;
    progress->shown = true;
    progress->shown_ns = now;
    double seconds = progress_seconds(progress);
    double rate = (double)done / seconds;
    if (fraction < 0 && total > 0) fraction = (double)done / (double)total;
    char left[64] = "";
    if (fraction > 0) {
        char time[32];
        progress_time(time, sizeof time, seconds / fraction - seconds);
        snprintf(left, sizeof left, ", %s left", time);
    }
    if (!progress->terminal) {
        fprintf(stderr, "%s: %llu %s, %.0f/s%s\n", progress->what, (unsigned long long)done, progress->units,
                rate, left);
        return;
    }
    char bar[PROGRESS_BAR_WIDTH + 1];
    for (int at = 0; at < PROGRESS_BAR_WIDTH; at++) bar[at] = at < fraction * PROGRESS_BAR_WIDTH ? '#' : '.';
    bar[PROGRESS_BAR_WIDTH] = 0;
    if (fraction > 0)
        fprintf(stderr, "\r\033[K%s [%s] %3.0f%%", progress->what, bar, fraction * 100);
    else
        fprintf(stderr, "\r\033[K%s", progress->what);
    fprintf(stderr, "  %llu %s, %.0f/s%s", (unsigned long long)done, progress->units, rate, left);
}

void progress_end(struct progress *progress)
{
    if (progress->terminal && progress->shown) fprintf(stderr, "\r\033[K");
}

#include "cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

enum { PROGRESS_BAR_WIDTH = 28, PROGRESS_BAR_WIDTH_MIN = 5 };

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

static int progress_columns(void)
{
    struct winsize window;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 ? window.ws_col : 80;
}

/* A line that wraps would not be written over by the next one: the bar gives way, then the end of the text.
 */
static void progress_line(const char *what, double fraction, const char *figures)
{
    int room = progress_columns() - 1;
    int width = room - (int)strlen(what) - (int)strlen(figures) - 4; /* " [", "] " */
    if (width > PROGRESS_BAR_WIDTH) width = PROGRESS_BAR_WIDTH;
    char line[320], bar[PROGRESS_BAR_WIDTH + 1] = "";
    for (int at = 0; at < width; at++) bar[at] = at < fraction * width ? '#' : '.';
    if (fraction > 0 && width >= PROGRESS_BAR_WIDTH_MIN)
        snprintf(line, sizeof line, "%s [%.*s] %s", what, width, bar, figures);
    else
        snprintf(line, sizeof line, "%s %s", what, figures);
    fprintf(stderr, "\r\033[K%.*s", room, line);
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
    char figures[160], percent[16] = "";
    if (fraction > 0) snprintf(percent, sizeof percent, "%3.0f%%", fraction * 100);
    snprintf(figures, sizeof figures, "%s  %llu %s, %.0f/s%s", percent, (unsigned long long)done,
             progress->units, rate, left);
    progress_line(progress->what, fraction, figures);
}

void progress_end(struct progress *progress)
{
    if (progress->terminal && progress->shown) fprintf(stderr, "\r\033[K");
}

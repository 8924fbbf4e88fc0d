/* repl_plot.h: numbers drawn with block characters: bars, a line over time, a histogram.
 *
 *     repl_plot_put(&page, plot, &lines);      plot: MessagePack of {kind, title, points = {{label, number},
 * …}}
 *
 * A line of a few points is drawn as bars, which say more of them. A scale always holds zero, so that areas
 * can be compared. A point without a number (nil, what a NaN becomes in JSON) leaves a gap. In ASCII where
 * the page is so. Threads: any. Owns: nothing. */
#ifndef LORE_CLI_REPL_PLOT_H
#define LORE_CLI_REPL_PLOT_H

#include "cli/page.h"

void repl_plot_put(struct page *page, struct slice plot, size_t *lines_left);

#endif

/* graphviz.h: graphs as pictures, by the program dot of Graphviz.
 *
 * Threads: one at a time. Owns: nothing. */
#ifndef LORE_CLI_GRAPHVIZ_H
#define LORE_CLI_GRAPHVIZ_H

#include "base/buf.h"
#include "base/fault.h"

/* Appends the SVG of a graph in the DOT language. Fault: UNAVAILABLE (dot is not installed, or what it said).
 */
int graphviz_draw(struct slice dot, struct buf *svg, struct fault *fault);

#endif

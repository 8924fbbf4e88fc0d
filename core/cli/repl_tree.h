/* repl_tree.h: what trace(x) gives, {correlation, trace = {node, …}}, as the tree of causes that it is.
 * Threads: any. Owns: nothing. */
#ifndef LORE_CLI_REPL_TREE_H
#define LORE_CLI_REPL_TREE_H

#include <stdbool.h>

#include "cli/page.h"

/* False, and nothing put: it is no trace. */
bool repl_tree_put(struct page *page, struct slice bytes, size_t *lines_left);

#endif

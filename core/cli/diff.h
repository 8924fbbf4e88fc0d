/* diff.h: what changed between two texts, as people and patch(1) read it.
 *
 *     struct diff_side before = {"40/billing/bill.lua", old}, after = {"41/billing/bill.lua", new};
 *     diff_put(&before, &after, isatty(STDOUT_FILENO), &out);
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_CLI_DIFF_H
#define LORE_CLI_DIFF_H

#include "base/buf.h"

struct diff_side {
    const char *name; /* NULL: there is no such file: "/dev/null" */
    struct slice text;
};

/* Unified diff with three lines around each change; nothing if the texts are the same and both are there. The
 * fewest changed lines, but for texts that differ in thousands of them. */
void diff_put(const struct diff_side *before, const struct diff_side *after, bool coloured, struct buf *out);

#endif

/* seek_sum.h: sums that do not depend on the order of what is added, so that any number of threads may add
 * parts of it. Inside vm/ only.
 *
 * Integers and decimals are added exactly. Floats are added exactly as well, as a list of floats whose bits
 * do not overlap (Shewchuk), and rounded once, when the sum is read. A sum is an integer as long as only
 * integers came, a decimal with decimals, a float with floats; decimals and floats do not mix, as in Lua.
 *
 *     struct seek_sum sum = {0};
 *     if (seek_sum_add(&sum, &value, &fault) < 0) ...
 *     seek_sum_read(&sum, text, &value, &fault);
 *
 * Threads: one at a time. Owns: the list, until seek_sum_release. */
#ifndef LORE_VM_SEEK_SUM_H
#define LORE_VM_SEEK_SUM_H

#include "base/fault.h"
#include "vm/seek_value.h"

enum { SEEK_SUM_TEXT_SIZE = 128 };

struct seek_sum {
    bool has_float, has_decimal;
    uint8_t scale;          /* of the decimals: digits behind the point */
    uint16_t partial_count; /* of the floats, smallest first */
    uint16_t partial_max;
    double *partials;
    double first; /* the only partial as long as there is but one: no memory for it */
    __int128 integers;
    __int128 decimals; /* times 10^scale */
};

/* Faults: SCRIPT, it is no number, or a decimal meets a float, or no longer fits. */
int seek_sum_add(struct seek_sum *sum, const struct seek_value *value, struct fault *fault);
int seek_sum_merge(struct seek_sum *into, const struct seek_sum *from, struct fault *fault);
/* text holds the digits of a decimal. Fault: SCRIPT, an integer or decimal that is too large. */
int seek_sum_read(const struct seek_sum *sum, char text[SEEK_SUM_TEXT_SIZE], struct seek_value *value,
                  struct fault *fault);
void seek_sum_release(struct seek_sum *sum);

#endif

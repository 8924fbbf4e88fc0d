/* seek_value.h: one value of a query, outside of Lua: what groups are keyed by, and what is summed, compared
 * and kept. Inside vm/ only.
 *
 *     struct seek_value value;
 *     if (seek_value_read(bytes, &value)) seek_value_key(&key, &value);
 *
 * Threads: any. Owns: nothing; texts are borrowed from whatever was read. */
#ifndef LORE_VM_SEEK_VALUE_H
#define LORE_VM_SEEK_VALUE_H

#include <stdint.h>

#include "base/buf.h"

enum seek_kind {
    SEEK_NIL,
    SEEK_BOOLEAN,
    SEEK_INTEGER,
    SEEK_FLOAT, /* may be infinite or no number at all: whoever uses it looks */
    SEEK_TEXT,
    SEEK_DECIMAL, /* text: in plain notation */
    SEEK_PACKED,  /* text: a list or map as MessagePack */
    SEEK_OTHER    /* text: what it is, in words: a function, a text that is not UTF-8 */
};

struct seek_value {
    enum seek_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct slice text;
    };
};

/* Of one MessagePack value; false: it is damaged. */
bool seek_value_read(struct slice bytes, struct seek_value *value);
/* Appends it as MessagePack. Not for OTHER, nor for floats that are not finite. */
void seek_value_put(struct buf *out, const struct seek_value *value);
/* Appends bytes that order values as indexes do (codec/order.h), texts at any length; equal numbers of
 * different kinds are equal. False (nothing appended): it has no order (nil, a list, a map, not finite). */
bool seek_value_key(struct buf *out, const struct seek_value *value);
/* The same, and bytes that only tell lists and maps apart. False: nil, OTHER, not finite. */
bool seek_value_identity(struct buf *out, const struct seek_value *value);
/* Appends the text that a group of this key has in a result. False: it cannot be a key. */
bool seek_value_label(struct buf *out, const struct seek_value *value);
/* "a table", "a text": for errors. */
const char *seek_value_name(const struct seek_value *value);

#endif

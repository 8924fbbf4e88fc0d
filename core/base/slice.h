/* slice.h: a borrowed run of bytes. Owns: nothing; valid as long as what it points into.
 *
 *     struct slice name = slice_of("billing");
 *     say_info("%.*s", SLICE_ARGS(name));
 */
#ifndef LORE_BASE_SLICE_H
#define LORE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *data; /* may be NULL only when size is 0 */
    size_t size;      /* bytes */
};

#define SLICE_ARGS(s) (int)(s).size, (s).data ? (s).data : ""
#define SLICE_NONE ((struct slice){NULL, 0})

static inline struct slice slice_make(const void *data, size_t size)
{
    return (struct slice){(const char *)data, size};
}

/* A slice over a NUL-terminated text; NULL gives the empty slice. */
static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_equal(a, slice_of(text));
}

/* Order by bytes, shorter first on a common prefix: <0, 0, >0. */
static inline int slice_compare(struct slice a, struct slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) return order;
    return (a.size > b.size) - (a.size < b.size);
}

static inline bool slice_starts(struct slice a, const char *prefix)
{
    size_t size = strlen(prefix);
    return a.size >= size && memcmp(a.data, prefix, size) == 0;
}

#endif

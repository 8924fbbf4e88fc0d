/* query.h: the parameters of a URL. A '+' is a space, as forms and all clients write it.
 *
 *     if (query_parse(text, arena, &query, &fault) < 0) ...
 *     if (query_only(&query, (const char *const[]){"from", "limit", NULL}, &fault) < 0) ...
 *     if (query_number(&query, "from", 1, &from, &fault) < 0) ...
 *
 * Threads: any. Owns: nothing; decoded texts live in the caller's arena. */
#ifndef LORE_NET_QUERY_H
#define LORE_NET_QUERY_H

#include <stdint.h>

#include "base/arena.h"
#include "base/fault.h"
#include "base/slice.h"

enum { QUERY_SIZE_MAX = 16 };

struct query_pair {
    struct slice name, value;
};

struct query {
    struct query_pair pairs[QUERY_SIZE_MAX];
    size_t count;
};

/* "a=1&b=2". Faults: MALFORMED for a bad escape, a name given twice, too many. */
int query_parse(struct slice text, struct arena *arena, struct query *query, struct fault *fault);
/* Whether it is given; *value stays as it is otherwise. */
bool query_find(const struct query *query, const char *name, struct slice *value);
/* Fault: MALFORMED naming a parameter that is not in names (NULL ends them). */
int query_only(const struct query *query, const char *const *names, struct fault *fault);
/* A whole number of at least least; *value stays as it is when the parameter is absent. Fault: MALFORMED. */
int query_number(const struct query *query, const char *name, uint64_t least, uint64_t *value,
                 struct fault *fault);

#endif

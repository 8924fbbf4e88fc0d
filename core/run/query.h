/* query.h: the thread that answers for states, now and in the past, with a domain of its own, for traces and
 * for who made what: no shard waits for it.
 *
 * Threads: any. Owns: nothing of the queries. */
#ifndef LORE_RUN_QUERY_H
#define LORE_RUN_QUERY_H

#include "run/hub.h"

struct query;
struct release;

/* release NULL: no states, since nothing says what they are. */
int query_open(struct hub *hub, struct release *release, struct query **query, struct fault *fault);
void query_start(struct query *query);
void query_stop(struct query *query); /* answers what it took */
void query_free(struct query *query);
int query_put(struct query *query, struct query_link *asked, struct fault *fault);
size_t query_memory(const struct query *query);

#endif

/* index_filter.h: knows of most keys that are in no run that they are in none, without reading. A new stream
 * and a new command id are looked up before they can be written, and asking every run for what none has was
 * a tenth of an import.
 *
 * A Bloom filter whose bits of one key lie in one cache line. It holds every key of the runs: what was
 * written with each flush is added before the memory gives it up. There is none (NULL) until a flush finds it
 * worth reading the runs once, nor where they have too many keys; then every look-up asks the runs.
 *
 *     if (!filter || index_filter_may_have(filter, index_filter_of_id(hash))) … ask the runs
 *
 * Threads: one adds, any look. Owns: its bits. */
#ifndef LORE_STORE_INDEX_FILTER_H
#define LORE_STORE_INDEX_FILTER_H

#include <stdbool.h>

#include "store/index_tail.h"

struct index_filter;

/* Room for so many keys; NULL if that is too many. */
struct index_filter *index_filter_new(uint64_t keys);
void index_filter_free(struct index_filter *filter);
/* Whether so many more keys can be added. */
bool index_filter_has_room(const struct index_filter *filter, uint64_t keys);
void index_filter_add(struct index_filter *filter, uint64_t hash);
void index_filter_add_tail(struct index_filter *filter, const struct index_tail *tail);
/* False: it was never added. True: it was, or one in two hundred or less that were not. */
bool index_filter_may_have(const struct index_filter *filter, uint64_t hash);
/* What stands for a stream, and for an index_id_hash. */
uint64_t index_filter_of_stream(struct slice key);
uint64_t index_filter_of_id(uint64_t id_hash);

#endif

/* index_filter.h: knows of most keys that are in no run that they are in none, without reading. A new stream
 * and a new command id are looked up before they can be written, and asking every run for what none has was
 * a tenth of an import.
 *
 * A Bloom filter whose bits of one key lie in one cache line. It holds every key of the runs: what was
 * written with each flush is added before the memory gives it up. There is none (NULL) until a flush finds it
 * worth reading the runs once (index_fill.c), nor where they have too many keys; then every look-up asks the
 * runs.
 *
 *     if (!filter || index_filter_may_have(filter, index_filter_of_id(hash))) … ask the runs
 *
 * Threads: one adds, any look. Owns: its bits. */
#ifndef LORE_STORE_INDEX_FILTER_H
#define LORE_STORE_INDEX_FILTER_H

#include <stdbool.h>

#include "base/hash.h"
#include "store/index_tail.h"

struct index_filter;

/* Room for so many keys; NULL if that is too many. */
struct index_filter *index_filter_new(uint64_t keys);
void index_filter_free(struct index_filter *filter);
/* Whether so many more keys can be added. */
bool index_filter_has_room(const struct index_filter *filter, uint64_t keys);
void index_filter_add(struct index_filter *filter, uint64_t hash);
/* It will be added soon: its place is brought near meanwhile. */
void index_filter_expect(const struct index_filter *filter, uint64_t hash);
/* The hashes of all keys of a tail. */
void index_filter_each_of_tail(const struct index_tail *tail, void (*each)(void *user, uint64_t hash),
                               void *user);
/* False: it was never added. True: it was, or is one in two hundred or less that were not; in the largest
 * filter, of 16 MiB, one in two hundred with 10 million keys, one in five with 33 million. */
bool index_filter_may_have(const struct index_filter *filter, uint64_t hash);
/* All bits, as long as nothing is added, and how many keys they hold. */
struct slice index_filter_bits(const struct index_filter *filter, uint64_t *keys);
/* One of so many bytes of bits, which the caller puts into *bits; NULL if none has that size. */
struct index_filter *index_filter_of_size(uint64_t size, uint64_t keys, char **bits);
/* Of all that decides which bits a key has: bits made by a program with another one are worth nothing. */
struct hash index_filter_kind(void);
/* What stands for a stream, and for an index_id_hash. */
uint64_t index_filter_of_stream(struct slice key);
uint64_t index_filter_of_id(uint64_t id_hash);

#endif

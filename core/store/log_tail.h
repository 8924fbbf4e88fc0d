/* log_tail.h: what one half of the journal holds, in memory, for readers: it is not in LMDB yet.
 *
 * Bytes given out stay as they are until the last reference is gone, and so do the records of the lists: who
 * has seen a count under the lock (struct engine_lmdb, tails_lock) reads all below it without. A scan that
 * held the lock at each record would keep the writer waiting whenever it is put aside by the scheduler.
 *
 * Threads: references by any; records below a count seen under the lock by any; the rest under the lock.
 * Owns: the entries. */
#ifndef LORE_STORE_LOG_TAIL_H
#define LORE_STORE_LOG_TAIL_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"

enum {
    LOG_TAIL_LISTS = 2, /* LOG_DB_COMMITS, LOG_DB_OUTCOMES */
    LOG_TAIL_BLOCKS = 24,
    LOG_TAIL_BLOCK_FIRST = 64 /* records in the first block; each further one has twice as many */
};

struct log_tail_record {
    uint64_t number; /* first position, or of the outcome */
    uint64_t last;   /* last position, or number again */
    struct slice bytes;
};

struct log_tail_list { /* in order of number */
    struct log_tail_record *blocks[LOG_TAIL_BLOCKS];
    size_t count;
};

struct log_tail_value {
    struct slice key, value;
};

struct log_tail {
    atomic_int references;
    uint64_t sequence;     /* of the last entry of the journal in it */
    uint32_t names_saved;  /* numbers up to it are defined in its records or before them */
    uint64_t bytes, large; /* of all records; how many of them LMDB puts on pages of their own */
    struct log_tail_list lists[LOG_TAIL_LISTS];
    struct map values; /* meta: key -> struct log_tail_value */
    struct arena arena;
    struct buf *entries; /* what the records lie in */
    size_t entry_count, entry_max;
};

struct log_tail *log_tail_new(void); /* with one reference */
struct log_tail *log_tail_hold(struct log_tail *tail);
/* NULL is allowed. */
void log_tail_drop(struct log_tail *tail);

/* Takes the bytes that the records lie in, and empties *entry. */
void log_tail_take(struct log_tail *tail, struct buf *entry);
void log_tail_add(struct log_tail *tail, size_t list, const struct log_tail_record *record);
void log_tail_put(struct log_tail *tail, struct slice key, struct slice value);

const struct log_tail_record *log_tail_record(const struct log_tail_list *list, size_t at);
/* The first of count records that ends at number or behind it; count if there is none. */
size_t log_tail_seek(const struct log_tail_list *list, size_t count, uint64_t number);

#endif

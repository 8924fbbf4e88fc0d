/* index_tail.h: the index of the newest part of the log, in memory, until it is flushed.
 *
 * A stream is named by its key: tenant number and aggregate number (big endian, 4 bytes each), id, one 0
 * byte. So keys sort by tenant, aggregate and id, and no key is the beginning of another.
 *
 * Threads: one at a time, or many that only read. Owns: everything in it; it is freed as a whole. */
#ifndef LORE_STORE_INDEX_TAIL_H
#define LORE_STORE_INDEX_TAIL_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/limit.h"
#include "base/map.h"
#include "base/slice.h"
#include "codec/record.h"

enum { INDEX_KEY_SIZE_MAX = 8 + LIMIT_ID_SIZE_MAX + 1 };

/* One commit of a stream. */
struct index_commit {
    uint64_t version, position; /* of its first event */
    uint64_t count;             /* events */
};

struct index_stream {
    struct slice key;
    struct index_commit *commits; /* in version order */
    size_t commit_count, commit_max;
};

/* Where the answer to a command id is: position << 1 of a commit, number << 1 | 1 of an outcome; never 0. */
struct index_id {
    uint64_t hash;
    uint64_t place;
};

struct index_tail {
    struct arena arena;
    struct map streams;   /* key -> struct index_stream */
    struct index_id *ids; /* open addressing by hash, equal hashes side by side; place 0: empty */
    size_t id_count, id_max;
    uint64_t position; /* covers the log up to here */
    uint64_t outcomes;
    uint64_t events;   /* events and outcomes in it */
    uint64_t commits;  /* in it */
    struct hash chain; /* of its last commit */
};

/* Writes the key, returns its size. id must fit (LIMIT_ID_SIZE_MAX). */
size_t index_key(uint32_t tenant, uint32_t aggregate, struct slice id, char key[INDEX_KEY_SIZE_MAX]);
/* Command ids are scoped to their stream. */
uint64_t index_id_hash(struct slice stream_key, struct slice id);
/* Tests set fewer bits to force collisions. Default: 40 bits, which is what is kept on disk. */
extern uint64_t index_id_hash_mask;

/* Adds one record; number is that of an outcome, 0 for a commit. Records come in log order. */
void index_tail_add(struct index_tail *tail, const struct record *record, uint64_t number);
/* NULL if the stream has no commit in here. */
const struct index_stream *index_tail_find(const struct index_tail *tail, struct slice key);
/* Appends the places of this hash, 8 bytes each, to places. */
void index_tail_places(const struct index_tail *tail, uint64_t hash, struct buf *places);
/* New arrays (mem_free) in order of key, and of hash and place. */
const struct index_stream **index_tail_sorted_streams(const struct index_tail *tail);
struct index_id *index_tail_sorted_ids(const struct index_tail *tail);
void index_tail_release(struct index_tail *tail);

#endif

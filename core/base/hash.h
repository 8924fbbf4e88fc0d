/* hash.h: the digests of the program. Threads: any. */
#ifndef LORE_BASE_HASH_H
#define LORE_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

enum { HASH_SIZE = 32 };

/* BLAKE2b-256 (libsodium): chains commits, names code. */
struct hash {
    uint8_t bytes[HASH_SIZE];
};

struct hash hash_of(struct slice data);
/* H(a || b || c): the chain of the log, H(previous, digest of envelope, digest of payload). */
struct hash hash_chain(const struct hash *previous, const struct hash *envelope, const struct hash *payload);
bool hash_equal(const struct hash *a, const struct hash *b);
/* 64 hex digits and a NUL. */
void hash_hex(const struct hash *hash, char text[2 * HASH_SIZE + 1]);
/* From 64 small hex digits; false if it is anything else. */
bool hash_of_hex(struct slice text, struct hash *hash);

/* CRC-32 (zlib): finds damage in one stored value. */
uint32_t hash_crc32(struct slice data);
/* A fast 64-bit hash for tables and shards; the same in every process, not for strangers' collisions. */
uint64_t hash_fast(struct slice data, uint64_t seed);

#endif

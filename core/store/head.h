/* head.h: data/log/head, the end of the log as recorded beside it, so that a lost tail is found.
 *
 * Two slots of 64 bytes, written in turn after each batch became durable, without fsync (but the first ones
 * of each start): what a slot names was on disk before it was written, so the log may be ahead of the slots
 * but never behind them.
 *
 *   8 sequence   8 position   8 outcomes   32 H(chain, outcome chain)   4 magic   4 CRC-32 of the 60 before
 * it   (little endian)
 *
 * Threads: one at a time. Owns: the file. */
#ifndef LORE_STORE_HEAD_H
#define LORE_STORE_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/hash.h"

enum { HEAD_SLOTS = 2, HEAD_SLOT_SIZE = 64 };

struct head_slot {
    bool valid; /* magic and checksum hold */
    uint64_t sequence, position, outcomes;
    struct hash digest; /* see head_digest */
};

struct head_file {
    int fd; /* -1: not open */
    uint64_t sequence;
};

/* Reads both slots of path; a slot that is missing is not valid. *found is false if there is no file. */
int head_read(const char *path, struct head_slot slots[HEAD_SLOTS], bool *found, struct fault *fault);
/* Opens or makes the file; writing goes on behind the highest valid sequence. */
int head_open(const char *path, struct head_file *file, struct fault *fault);
/* Writes the next slot; -1 (errno is set) if the disk refused, which loses nothing but the record of the end.
 */
int head_write(struct head_file *file, uint64_t position, uint64_t outcomes, const struct hash *digest);
void head_close(struct head_file *file);
struct hash head_digest(const struct hash *chain, const struct hash *outcome_chain);

#endif

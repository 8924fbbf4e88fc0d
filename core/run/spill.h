/* spill.h: records sorted into partitions, on disk until each partition is folded: one file without a name,
 * written in blocks that each hold records of one partition.
 *
 *     spill_open(directory, partitions, &spill, &fault);
 *     spill_put(spill, partition, record, &fault);  ...  spill_seal(spill, &fault);
 *     struct spill_reader *reader = spill_read(spill, partition);
 *     while (spill_next(reader, &record, &fault) == 1) ...
 *
 * The name is gone before the first byte is written, so no end of the process leaves anything behind. Memory:
 * SPILL_BLOCK a partition while it is written, and a block a reader.
 *
 * Threads: put and seal by one; once sealed, any number of readers. Owns: the file. */
#ifndef LORE_RUN_SPILL_H
#define LORE_RUN_SPILL_H

#include <stdint.h>

#include "base/fault.h"
#include "base/slice.h"

struct spill;
struct spill_reader;

enum { SPILL_BLOCK = 32 << 10 };

/* Fault: DISK, PERMISSION. */
int spill_open(const char *directory, uint32_t partitions, struct spill **spill, struct fault *fault);
/* Fault: DISK; the spill is then of no use. */
int spill_put(struct spill *spill, uint32_t partition, struct slice record, struct fault *fault);
/* Everything was put. */
int spill_seal(struct spill *spill, struct fault *fault);
uint64_t spill_size(const struct spill *spill); /* bytes on disk */
void spill_close(struct spill *spill);

/* From the first record of the partition on. */
struct spill_reader *spill_read(struct spill *spill, uint32_t partition);
/* 1: a record, borrowed until the next call; 0: the end; -1: fault (DISK). */
int spill_next(struct spill_reader *reader, struct slice *record, struct fault *fault);
void spill_read_close(struct spill_reader *reader);

#endif

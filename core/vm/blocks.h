/* blocks.h: memory for the small objects of one Lua state: a free list for each size of 16, 32 … 256 bytes,
 * cut from chunks.
 *
 * A state allocates about ten small objects for each event it handles and frees them soon; malloc's
 * bookkeeping was a seventh of a rebuild. Larger blocks go to malloc. Chunks are given back when the state
 * ends.
 *
 * Threads: as the state. Owns: every block. */
#ifndef LORE_VM_BLOCKS_H
#define LORE_VM_BLOCKS_H

#include <stddef.h>

enum { BLOCKS_GRAIN = 16, BLOCKS_SMALL_MAX = 256, BLOCKS_SIZES = BLOCKS_SMALL_MAX / BLOCKS_GRAIN };

struct blocks_free;
struct blocks_chunk;

struct blocks {
    struct blocks_free *free[BLOCKS_SIZES];
    struct blocks_chunk *chunks;
    char *at; /* what is left of the newest chunk */
    size_t left;
};

/* As realloc, with the old size told; size 0 frees. NULL when there is no memory: the old block is as it was.
 */
void *blocks_resize(struct blocks *blocks, void *block, size_t old_size, size_t size);
/* Gives all chunks back; every block must have been freed. */
void blocks_release(struct blocks *blocks);

#endif

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

/* Under AddressSanitizer every block is its own, so that a use after free is found. */
#if defined(__SANITIZE_ADDRESS__)
enum { BLOCKS_KEPT_MAX = 0 };
#else
enum { BLOCKS_KEPT_MAX = BLOCKS_SMALL_MAX };
#endif

struct blocks_free {
    struct blocks_free *next;
};
struct blocks_chunk;

struct blocks {
    struct blocks_free *free[BLOCKS_SIZES];
    struct blocks_chunk *chunks;
    char *at; /* what is left of the newest chunk */
    size_t left;
};

/* A new block of any size above 0; NULL when there is no memory. */
static inline void *blocks_take(struct blocks *blocks, size_t size);
/* Gives a block of that size back. */
static inline void blocks_give(struct blocks *blocks, void *block, size_t size);
/* As realloc, with the old size told, neither of the two 0. NULL when there is no memory: the old block is as
 * it was. */
void *blocks_resize(struct blocks *blocks, void *block, size_t old_size, size_t size);
/* Gives back the chunks of which nothing is in use. Takes as long as there are free blocks. */
void blocks_trim(struct blocks *blocks);
/* Gives all chunks back; every block must have been freed. */
void blocks_release(struct blocks *blocks);

/* The two that run ten times an event are inline; these are what they leave. */
void *blocks_take_new(struct blocks *blocks, size_t size);
void blocks_give_large(void *block);

static inline size_t blocks_class(size_t size)
{
    return (size - 1) / BLOCKS_GRAIN;
}

static inline void *blocks_take(struct blocks *blocks, size_t size)
{
    if (size > BLOCKS_KEPT_MAX || !blocks->free[blocks_class(size)]) return blocks_take_new(blocks, size);
    struct blocks_free *taken = blocks->free[blocks_class(size)];
    blocks->free[blocks_class(size)] = taken->next;
    __builtin_prefetch(taken->next, 1); /* freed long ago: it comes into the cache until it is taken */
    return taken;
}

static inline void blocks_give(struct blocks *blocks, void *block, size_t size)
{
    if (size > BLOCKS_KEPT_MAX) {
        blocks_give_large(block);
        return;
    }
    struct blocks_free *given = block;
    given->next = blocks->free[blocks_class(size)];
    blocks->free[blocks_class(size)] = given;
}

#endif

#include "vm/blocks.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer every block is its own, so that a use after free is found. */
#if defined(__SANITIZE_ADDRESS__)
enum { BLOCKS_OFF = 1 };
#else
enum { BLOCKS_OFF = 0 };
#endif

enum { BLOCKS_CHUNK_SIZE = 64 * 1024 };

struct blocks_free {
    struct blocks_free *next;
};

struct blocks_chunk {
    struct blocks_chunk *older;
    _Alignas(max_align_t) char data[];
};

static size_t blocks_class(size_t size)
{
    return (size - 1) / BLOCKS_GRAIN;
}

static void *blocks_cut(struct blocks *blocks, size_t class)
{
    size_t size = (class + 1) * BLOCKS_GRAIN;
    if (blocks->left < size) {
        /* The rest is smaller than one block of this size, but may serve smaller ones. */
        if (blocks->left) {
            struct blocks_free *rest = (struct blocks_free *)(void *)blocks->at;
            rest->next = blocks->free[blocks_class(blocks->left)];
            blocks->free[blocks_class(blocks->left)] = rest;
            blocks->left = 0;
        }
        struct blocks_chunk *chunk = malloc(sizeof *chunk + BLOCKS_CHUNK_SIZE);
        if (!chunk) return NULL;
        chunk->older = blocks->chunks;
        blocks->chunks = chunk;
        blocks->at = chunk->data;
        blocks->left = BLOCKS_CHUNK_SIZE;
    }
    void *cut = blocks->at;
    blocks->at += size;
    blocks->left -= size;
    return cut;
}

static void *blocks_take(struct blocks *blocks, size_t size)
{
    size_t class = blocks_class(size);
    struct blocks_free *taken = blocks->free[class];
    if (!taken) return blocks_cut(blocks, class);
    blocks->free[class] = taken->next;
    return taken;
}

static void blocks_give(struct blocks *blocks, void *block, size_t size)
{
    struct blocks_free *given = block;
    given->next = blocks->free[blocks_class(size)];
    blocks->free[blocks_class(size)] = given;
}

static void *blocks_move(struct blocks *blocks, void *block, size_t old_size, size_t size)
{
    bool was_small = old_size <= BLOCKS_SMALL_MAX, small = size <= BLOCKS_SMALL_MAX;
    if (was_small && small && blocks_class(old_size) == blocks_class(size)) return block;
    void *moved = small ? blocks_take(blocks, size) : malloc(size);
    if (!moved) return NULL;
    memcpy(moved, block, old_size < size ? old_size : size);
    if (was_small)
        blocks_give(blocks, block, old_size);
    else
        free(block);
    return moved;
}

void *blocks_resize(struct blocks *blocks, void *block, size_t old_size, size_t size)
{
    if (BLOCKS_OFF || (old_size > BLOCKS_SMALL_MAX && size > BLOCKS_SMALL_MAX)) {
        if (size) return realloc(block, size);
        free(block);
        return NULL;
    }
    if (!block) return size <= BLOCKS_SMALL_MAX ? blocks_take(blocks, size) : malloc(size);
    if (size) return blocks_move(blocks, block, old_size, size);
    if (old_size <= BLOCKS_SMALL_MAX)
        blocks_give(blocks, block, old_size);
    else
        free(block);
    return NULL;
}

void blocks_release(struct blocks *blocks)
{
    while (blocks->chunks) {
        struct blocks_chunk *older = blocks->chunks->older;
        free(blocks->chunks);
        blocks->chunks = older;
    }
    *blocks = (struct blocks){0};
}

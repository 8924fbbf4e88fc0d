#include "vm/blocks.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_CHUNK_SIZE = 64 * 1024 };

struct blocks_chunk {
    struct blocks_chunk *older;
    _Alignas(max_align_t) char data[];
};

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

void *blocks_take_new(struct blocks *blocks, size_t size)
{
    return size > BLOCKS_KEPT_MAX ? malloc(size) : blocks_cut(blocks, blocks_class(size));
}

void blocks_give_large(void *block)
{
    free(block);
}

void *blocks_resize(struct blocks *blocks, void *block, size_t old_size, size_t size)
{
    bool was_kept = old_size <= BLOCKS_KEPT_MAX, kept = size <= BLOCKS_KEPT_MAX;
    if (!was_kept && !kept) return realloc(block, size);
    if (was_kept && kept && blocks_class(old_size) == blocks_class(size)) return block;
    void *moved = blocks_take(blocks, size);
    if (!moved) return NULL;
    memcpy(moved, block, old_size < size ? old_size : size);
    blocks_give(blocks, block, old_size);
    return moved;
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

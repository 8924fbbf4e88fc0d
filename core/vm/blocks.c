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

/* --- giving chunks back --- */

struct blocks_use { /* of one chunk */
    struct blocks_chunk *chunk;
    size_t free;
};

static int blocks_by_address(const void *a, const void *b)
{
    const struct blocks_chunk *left = ((const struct blocks_use *)a)->chunk;
    const struct blocks_chunk *right = ((const struct blocks_use *)b)->chunk;
    return (left > right) - (left < right);
}

/* The chunk that a block was cut from: the last one that begins before it. */
static struct blocks_use *blocks_find(struct blocks_use *uses, size_t count, const void *block)
{
    size_t low = 0;
    while (count - low > 1) {
        size_t middle = low + (count - low) / 2;
        if ((const char *)uses[middle].chunk < (const char *)block)
            low = middle;
        else
            count = middle;
    }
    return &uses[low];
}

static void blocks_drop_free(struct blocks *blocks, struct blocks_use *uses, size_t count)
{
    for (size_t class = 0; class < BLOCKS_SIZES; class ++) {
        struct blocks_free **link = &blocks->free[class];
        while (*link) {
            if (blocks_find(uses, count, *link)->free == BLOCKS_CHUNK_SIZE)
                *link = (*link)->next;
            else
                link = &(*link)->next;
        }
    }
}

void blocks_trim(struct blocks *blocks)
{
    size_t count = 0;
    for (struct blocks_chunk *chunk = blocks->chunks; chunk; chunk = chunk->older) count++;
    struct blocks_use *uses = count ? malloc(count * sizeof *uses) : NULL;
    if (!uses) return;
    count = 0;
    for (struct blocks_chunk *chunk = blocks->chunks; chunk; chunk = chunk->older)
        uses[count++] = (struct blocks_use){chunk, chunk == blocks->chunks ? blocks->left : 0};
    qsort(uses, count, sizeof *uses, blocks_by_address);
    for (size_t class = 0; class < BLOCKS_SIZES; class ++)
        for (struct blocks_free *block = blocks->free[class]; block; block = block->next)
            blocks_find(uses, count, block)->free += (class + 1) * BLOCKS_GRAIN;
    blocks_drop_free(blocks, uses, count);
    struct blocks_chunk **link = &blocks->chunks;
    while (*link) {
        struct blocks_chunk *chunk = *link;
        if (blocks_find(uses, count, chunk->data)->free < BLOCKS_CHUNK_SIZE) {
            link = &chunk->older;
            continue;
        }
        if (link == &blocks->chunks) blocks->left = 0; /* what is cut from is the newest */
        *link = chunk->older;
        free(chunk);
    }
    free(uses);
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

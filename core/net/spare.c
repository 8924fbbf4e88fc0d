#include "net/spare.h"

void spare_take(struct spare *spare, struct buf *buf)
{
    if (!buf->data && spare->count) *buf = spare->bufs[--spare->count];
}

void spare_give(struct spare *spare, struct buf *buf)
{
    if (!buf->data) return;
    if (buf->size_max > SPARE_SIZE_MAX || spare->count == SPARE_COUNT_MAX) {
        buf_release(buf);
        return;
    }
    buf_clear(buf);
    spare->bufs[spare->count++] = *buf;
    *buf = (struct buf){0};
}

void spare_take_arena(struct spare *spare, struct arena *arena)
{
    if (!arena->block && spare->arena_count) *arena = spare->arenas[--spare->arena_count];
}

void spare_give_arena(struct spare *spare, struct arena *arena)
{
    arena_reset(arena); /* keeps a small block, if any */
    if (arena->block && spare->arena_count < SPARE_COUNT_MAX) {
        spare->arenas[spare->arena_count++] = *arena;
        *arena = (struct arena){0};
    }
    arena_release(arena);
}

void spare_release(struct spare *spare)
{
    while (spare->arena_count) arena_release(&spare->arenas[--spare->arena_count]);
    while (spare->count) buf_release(&spare->bufs[--spare->count]);
}

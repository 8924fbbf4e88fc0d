#include "base/arena.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"

enum { ARENA_BLOCK_SIZE = 2048, ARENA_BLOCK_SIZE_MAX = 64 * 1024 };

struct arena_block {
    struct arena_block *older;
    size_t size;
    _Alignas(max_align_t) char data[];
};

void *arena_take(struct arena *arena, size_t size)
{
    size_t align = _Alignof(max_align_t);
    size = (size + align - 1) / align * align;
    if (!arena->block || arena->block->size - arena->used < size) {
        size_t wanted = arena->block ? arena->block->size * 2 : ARENA_BLOCK_SIZE;
        if (wanted > ARENA_BLOCK_SIZE_MAX) wanted = ARENA_BLOCK_SIZE_MAX;
        if (wanted < size) wanted = size;
        struct arena_block *block = mem_alloc(sizeof *block + wanted);
        block->older = arena->block;
        block->size = wanted;
        arena->block = block;
        arena->used = 0;
    }
    void *taken = arena->block->data + arena->used;
    arena->used += size;
    arena->total += size;
    return taken;
}

void *arena_zero(struct arena *arena, size_t size)
{
    void *taken = arena_take(arena, size);
    memset(taken, 0, size);
    return taken;
}

struct slice arena_copy(struct arena *arena, struct slice from)
{
    char *to = arena_take(arena, from.size + 1);
    if (from.size) memcpy(to, from.data, from.size);
    to[from.size] = 0;
    return slice_make(to, from.size);
}

struct slice arena_format(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = arena_take(arena, (size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return slice_make(text, (size_t)size);
}

void arena_adopt(struct arena *to, struct arena *from)
{
    struct arena_block **oldest = &to->block;
    while (*oldest) oldest = &(*oldest)->older;
    *oldest = from->block;
    if (to->block == from->block) to->used = from->used;
    to->total += from->total;
    *from = (struct arena){0};
}

void arena_release(struct arena *arena)
{
    while (arena->block) {
        struct arena_block *older = arena->block->older;
        mem_free(arena->block);
        arena->block = older;
    }
    *arena = (struct arena){0};
}

void arena_reset(struct arena *arena)
{
    if (!arena->block || arena->block->older || arena->block->size > ARENA_BLOCK_SIZE) {
        arena_release(arena);
        return;
    }
    arena->used = arena->total = 0;
}

/* arena.h: memory that is freed as a whole. One command, one request, one batch has one arena.
 *
 *     struct arena arena = {0};
 *     struct slice kept = arena_copy(&arena, slice);
 *     arena_release(&arena);
 *
 * Threads: one at a time. Owns: every block handed out. */
#ifndef LORE_BASE_ARENA_H
#define LORE_BASE_ARENA_H

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *block; /* newest first */
    size_t used;               /* bytes taken from the newest block */
    size_t total;              /* bytes handed out so far */
};

/* size bytes aligned for any type, not cleared; lives until arena_release. */
void *arena_take(struct arena *arena, size_t size);
/* The same, cleared. */
void *arena_zero(struct arena *arena, size_t size);
/* A copy with a NUL behind it (not counted in size). */
struct slice arena_copy(struct arena *arena, struct slice from);
/* printf into the arena. */
struct slice arena_format(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All that was handed out by from is from now on to's; from is empty. */
void arena_adopt(struct arena *to, struct arena *from);
/* Frees everything; the arena can be used again. */
void arena_release(struct arena *arena);
/* The same, but keeps one small block for the next use: for arenas that are filled again and again. */
void arena_reset(struct arena *arena);

#endif

/* spare.h: bufs and arenas that wait for the next request, so that a thousand idle connections hold no memory
 * and a busy one does not ask for it each time.
 *
 *     spare_take(&spare, &buf);          an empty buf, with memory if there is some
 *     spare_give(&spare, &buf);          empties it; keeps its memory if there is room
 *
 * Threads: one. Owns: what it keeps. */
#ifndef LORE_NET_SPARE_H
#define LORE_NET_SPARE_H

#include "base/arena.h"
#include "base/buf.h"

enum { SPARE_COUNT_MAX = 192, SPARE_SIZE_MAX = 64 * 1024 };

struct spare {
    struct buf bufs[SPARE_COUNT_MAX];
    struct arena arenas[SPARE_COUNT_MAX];
    size_t count, arena_count;
};

void spare_take(struct spare *spare, struct buf *buf);
void spare_give(struct spare *spare, struct buf *buf);
void spare_take_arena(struct spare *spare, struct arena *arena);
void spare_give_arena(struct spare *spare, struct arena *arena);
void spare_release(struct spare *spare);

#endif

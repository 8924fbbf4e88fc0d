/* pack.h: bytes made smaller (zlib), with their size in front: what is kept for long and read seldom.
 *
 *     pack_put(text, &out);
 *     if (pack_read(buf_slice(&out), size_max, &text) < 0) ...        damaged, or not made by pack_put
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_BASE_PACK_H
#define LORE_BASE_PACK_H

#include "base/buf.h"

/* Appended to out. */
void pack_put(struct slice bytes, struct buf *out);
/* The bytes, appended to out; -1: damaged, or more than size_max bytes (then out is as before). */
int pack_read(struct slice packed, size_t size_max, struct buf *out);

#endif

/* buf.h: a growing run of bytes.
 *
 *     struct buf out = {0};
 *     buf_put(&out, "x", 1);
 *     buf_format(&out, "%d", 7);
 *     buf_release(&out);
 *
 * Threads: one at a time. Owns: its bytes. */
#ifndef LORE_BASE_BUF_H
#define LORE_BASE_BUF_H

#include <stdint.h>

#include "base/slice.h"

struct buf {
    char *data;      /* NULL while nothing was put */
    size_t size;     /* bytes in use */
    size_t size_max; /* bytes allocated */
};

/* Room for size more bytes; returns where they go. Does not change buf->size. */
char *buf_room(struct buf *buf, size_t size);
void buf_put(struct buf *buf, const void *data, size_t size);
void buf_put_slice(struct buf *buf, struct slice slice);
void buf_put_text(struct buf *buf, const char *text);
void buf_put_byte(struct buf *buf, uint8_t byte);
void buf_format(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* LEB128, at most 10 bytes. */
void buf_put_varint(struct buf *buf, uint64_t value);
/* What is in it, borrowed until the next change. */
struct slice buf_slice(const struct buf *buf);
/* Empties it and keeps the memory. */
void buf_clear(struct buf *buf);
void buf_release(struct buf *buf);

/* Reads a LEB128 from *at (moved behind it); false if it does not end before end or exceeds 64 bits. */
bool buf_read_varint(const uint8_t **at, const uint8_t *end, uint64_t *value);

static inline uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}
static inline int64_t unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

#endif

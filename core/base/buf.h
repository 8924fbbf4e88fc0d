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

/* For buf_room: makes room for size more bytes. */
void buf_grow(struct buf *buf, size_t size);
/* Room for size more bytes; returns where they go. Does not change buf->size. */
static inline char *buf_room(struct buf *buf, size_t size)
{
    if (buf->size_max - buf->size < size) buf_grow(buf, size);
    return buf->data + buf->size;
}
static inline void buf_put(struct buf *buf, const void *data, size_t size)
{
    if (size == 0) return;
    memcpy(buf_room(buf, size), data, size);
    buf->size += size;
}
void buf_put_slice(struct buf *buf, struct slice slice);
static inline void buf_put_text(struct buf *buf, const char *text)
{
    buf_put(buf, text, strlen(text));
}
static inline void buf_put_byte(struct buf *buf, uint8_t byte)
{
    *buf_room(buf, 1) = (char)byte;
    buf->size++;
}
/* In decimal digits. */
void buf_put_int(struct buf *buf, int64_t value);
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

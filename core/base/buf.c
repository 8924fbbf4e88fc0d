#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

void buf_grow(struct buf *buf, size_t size)
{
    size_t wanted = buf->size_max ? buf->size_max * 2 : 256;
    while (wanted - buf->size < size) wanted *= 2;
    buf->data = mem_resize(buf->data, wanted);
    buf->size_max = wanted;
}

void buf_put_slice(struct buf *buf, struct slice slice)
{
    buf_put(buf, slice.data, slice.size);
}

void buf_put_int(struct buf *buf, int64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0) digits[--at] = '-';
    buf_put(buf, digits + at, sizeof digits - at);
}

void buf_format(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    size_t size = (size_t)vsnprintf(NULL, 0, format, args);
    va_end(args);
    vsnprintf(buf_room(buf, size + 1), size + 1, format, again);
    va_end(again);
    buf->size += size;
}

void buf_put_varint(struct buf *buf, uint64_t value)
{
    char *to = buf_room(buf, 10);
    size_t size = 0;
    while (value >= 0x80) {
        to[size++] = (char)(value | 0x80);
        value >>= 7;
    }
    to[size++] = (char)value;
    buf->size += size;
}

struct slice buf_slice(const struct buf *buf)
{
    return slice_make(buf->data, buf->size);
}

void buf_clear(struct buf *buf)
{
    buf->size = 0;
}

void buf_release(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){0};
}

bool buf_read_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    uint64_t result = 0;
    const uint8_t *p = *at;
    for (unsigned shift = 0; shift < 64 && p < end; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) return false;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = result;
            *at = p;
            return true;
        }
    }
    return false;
}

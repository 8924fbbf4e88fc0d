#include "base/pack.h"

#include <zlib.h>

#include "base/check.h"

void pack_put(struct slice bytes, struct buf *out)
{
    uLongf size = compressBound((uLong)bytes.size);
    buf_put_varint(out, bytes.size);
    const Bytef *from = (const Bytef *)(bytes.data ? bytes.data : "");
    Bytef *to = (Bytef *)buf_room(out, size);
    CHECK(compress2(to, &size, from, (uLong)bytes.size, Z_DEFAULT_COMPRESSION) == Z_OK);
    out->size += size;
}

int pack_read(struct slice packed, size_t size_max, struct buf *out)
{
    const uint8_t *at = (const uint8_t *)packed.data, *end = at + packed.size;
    uint64_t size;
    if (!buf_read_varint(&at, end, &size) || size > size_max) return -1;
    uLongf got = (uLongf)size;
    uLong taken = (uLong)(end - at);
    Bytef *to = (Bytef *)buf_room(out, size + 1);
    if (uncompress2(to, &got, at, &taken) != Z_OK || got != size || taken != (uLong)(end - at)) return -1;
    out->size += size;
    return 0;
}

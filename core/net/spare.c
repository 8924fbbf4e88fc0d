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

void spare_release(struct spare *spare)
{
    while (spare->count) buf_release(&spare->bufs[--spare->count]);
}

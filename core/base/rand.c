#include "base/rand.h"

#include <sodium.h>
#include <string.h>

void rand_bytes(void *to, size_t size)
{
    randombytes_buf(to, size);
}

static void rand_format(const uint8_t b[16], char text[RAND_UUID_SIZE + 1])
{
    static const char digits[] = "0123456789abcdef";
    char *to = text;
    for (int at = 0; at < 16; at++) {
        if (at == 4 || at == 6 || at == 8 || at == 10) *to++ = '-';
        *to++ = digits[b[at] >> 4];
        *to++ = digits[b[at] & 15];
    }
    *to = 0;
}

void rand_uuid_of(const uint8_t bytes[16], char text[RAND_UUID_SIZE + 1])
{
    uint8_t b[16];
    for (int at = 0; at < 16; at++) b[at] = bytes[at];
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x80);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    rand_format(b, text);
}

/* A command without an id draws one: asking the kernel for each would cost a shard a tenth of its time. */
static void rand_pooled(uint8_t *to, size_t size)
{
    static _Thread_local struct {
        uint8_t bytes[1024];
        size_t left;
    } pool;
    if (pool.left < size) {
        rand_bytes(pool.bytes, sizeof pool.bytes);
        pool.left = sizeof pool.bytes;
    }
    pool.left -= size;
    memcpy(to, pool.bytes + pool.left, size);
}

void rand_uuid(int64_t now_ms, char text[RAND_UUID_SIZE + 1])
{
    uint8_t b[16];
    rand_pooled(b, sizeof b);
    for (int at = 0; at < 6; at++) b[at] = (uint8_t)((uint64_t)now_ms >> (40 - 8 * at));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x70);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    rand_format(b, text);
}

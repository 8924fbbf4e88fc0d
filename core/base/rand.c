#include "base/rand.h"

#include <sodium.h>
#include <stdio.h>

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

void rand_uuid(int64_t now_ms, char text[RAND_UUID_SIZE + 1])
{
    uint8_t b[16];
    rand_bytes(b, sizeof b);
    for (int at = 0; at < 6; at++) b[at] = (uint8_t)((uint64_t)now_ms >> (40 - 8 * at));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x70);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    rand_format(b, text);
}

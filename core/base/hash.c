#include "base/hash.h"

#include <sodium.h>
#include <zlib.h>

#include "base/check.h"

struct hash hash_of(struct slice data)
{
    struct hash hash;
    static const char nothing[1];
    const void *from = data.data ? data.data : nothing;
    CHECK(crypto_generichash(hash.bytes, HASH_SIZE, from, data.size, NULL, 0) == 0);
    return hash;
}

struct hash hash_chain(const struct hash *previous, const struct hash *envelope, const struct hash *payload)
{
    char all[3 * HASH_SIZE];
    memcpy(all, previous->bytes, HASH_SIZE);
    memcpy(all + HASH_SIZE, envelope->bytes, HASH_SIZE);
    memcpy(all + 2 * HASH_SIZE, payload->bytes, HASH_SIZE);
    return hash_of(slice_make(all, sizeof all));
}

bool hash_equal(const struct hash *a, const struct hash *b)
{
    return memcmp(a->bytes, b->bytes, HASH_SIZE) == 0;
}

void hash_hex(const struct hash *hash, char text[2 * HASH_SIZE + 1])
{
    sodium_bin2hex(text, 2 * HASH_SIZE + 1, hash->bytes, HASH_SIZE);
}

uint32_t hash_crc32(struct slice data)
{
    return (uint32_t)crc32_z(0, (const unsigned char *)(data.data ? data.data : ""), data.size);
}

static uint64_t hash_mix(uint64_t value)
{
    value ^= value >> 32;
    value *= 0xd6e8feb86659fd93ULL;
    value ^= value >> 32;
    value *= 0xd6e8feb86659fd93ULL;
    return value ^ (value >> 32);
}

uint64_t hash_fast(struct slice data, uint64_t seed)
{
    uint64_t hash = hash_mix(seed ^ (data.size * 0x9e3779b97f4a7c15ULL));
    size_t at = 0;
    for (; at + 8 <= data.size; at += 8) {
        uint64_t word;
        memcpy(&word, data.data + at, 8);
        hash = hash_mix(hash ^ word) * 0x9e3779b97f4a7c15ULL;
    }
    if (at < data.size) {
        uint64_t word = 0;
        memcpy(&word, data.data + at, data.size - at);
        hash = hash_mix(hash ^ word) * 0x9e3779b97f4a7c15ULL;
    }
    return hash_mix(hash);
}

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

bool hash_of_hex(struct slice text, struct hash *hash)
{
    struct hash read;
    char again[2 * HASH_SIZE + 1];
    size_t size;
    if (text.size != 2 * HASH_SIZE ||
        sodium_hex2bin(read.bytes, HASH_SIZE, text.data, text.size, NULL, &size, NULL) || size != HASH_SIZE)
        return false;
    hash_hex(&read, again);
    if (!slice_is(text, again)) return false; /* capitals */
    *hash = read;
    return true;
}

uint32_t hash_crc32(struct slice data)
{
    return (uint32_t)crc32_z(0, (const unsigned char *)(data.data ? data.data : ""), data.size);
}

/* --- the fast one: products of 128 bits, folded; as in wyhash --- */

static const uint64_t FAST_A = 0xa0761d6478bd642fULL, FAST_B = 0xe7037ed1a0b428dbULL,
                      FAST_C = 0x8ebc6af09c88c6e3ULL;

static uint64_t hash_fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_word(const char *from)
{
    uint64_t word;
    memcpy(&word, from, sizeof word);
    return word;
}

static uint64_t hash_half(const char *from)
{
    uint32_t half;
    memcpy(&half, from, sizeof half);
    return half;
}

/* Words may overlap: with the size, which is mixed in, they tell all bytes. */
uint64_t hash_fast(struct slice data, uint64_t seed)
{
    const char *at = data.data;
    size_t left = data.size;
    uint64_t hash = hash_fold(seed ^ FAST_A, data.size ^ FAST_B), a = 0, b = 0;
    for (; left > 16; at += 16, left -= 16)
        hash = hash_fold(hash_word(at) ^ FAST_B, hash_word(at + 8) ^ hash);
    if (left >= 8) {
        a = hash_word(at);
        b = hash_word(at + left - 8);
    } else if (left >= 4) {
        a = hash_half(at);
        b = hash_half(at + left - 4);
    } else if (left) {
        a = (uint8_t)at[0];
        b = (uint64_t)(uint8_t)at[left / 2] << 8 | (uint8_t)at[left - 1];
    }
    return hash_fold(hash_fold(a ^ FAST_B, b ^ hash) ^ FAST_C, FAST_A);
}

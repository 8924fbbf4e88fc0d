#include "store/index_filter.h"

#include <stdatomic.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

enum {
    BLOCK_WORDS = 8, /* one cache line */
    BLOCK_SIZE = BLOCK_WORDS * sizeof(uint64_t),
    BLOCK_KEYS = 40,       /* 12.8 bits a key: one in two hundred others is taken for one of them */
    BLOCK_KEYS_FULL = 128, /* 4 bits a key, where a filter may not be larger: one in five */
    PROBES = 5,
    PROBE_BITS = 9, /* which of a block's 512 bits */
    BLOCK_BITS_MIN = 13,
    BLOCK_BITS_MAX = 18 /* 16 MiB; with the probes' bits no more than a hash has */
};
_Static_assert(BLOCK_BITS_MAX + PROBES * PROBE_BITS <= 64, "a hash has bits for the block and the probes");

struct index_filter {
    uint64_t block_count; /* a power of two */
    uint64_t keys;
    _Atomic uint64_t words[];
};

static struct index_filter *filter_of_blocks(unsigned bits)
{
    struct index_filter *filter = mem_zero(sizeof *filter + ((size_t)BLOCK_SIZE << bits));
    filter->block_count = 1ULL << bits;
    return filter;
}

struct index_filter *index_filter_new(uint64_t keys)
{
    unsigned bits = BLOCK_BITS_MIN;
    while (bits < BLOCK_BITS_MAX && keys > (uint64_t)BLOCK_KEYS << bits) bits++;
    return keys > (uint64_t)BLOCK_KEYS_FULL << bits ? NULL : filter_of_blocks(bits);
}

struct slice index_filter_bits(const struct index_filter *filter, uint64_t *keys)
{
    *keys = filter->keys;
    return slice_make((const char *)(uintptr_t)filter->words, filter->block_count * BLOCK_SIZE);
}

struct index_filter *index_filter_of_size(uint64_t size, uint64_t keys, char **bits)
{
    for (unsigned blocks = BLOCK_BITS_MIN; blocks <= BLOCK_BITS_MAX; blocks++) {
        if (size != (uint64_t)BLOCK_SIZE << blocks) continue;
        struct index_filter *filter = filter_of_blocks(blocks);
        filter->keys = keys;
        *bits = (char *)filter->words;
        return filter;
    }
    return NULL;
}

struct hash index_filter_kind(void)
{
    enum { SAMPLES = 64 };
    struct index_filter *filter = filter_of_blocks(BLOCK_BITS_MIN);
    for (uint64_t sample = 1; sample <= SAMPLES; sample++) {
        index_filter_add(filter, index_filter_of_stream(slice_make((const char *)&sample, sizeof sample)));
        index_filter_add(filter, index_filter_of_id(sample));
    }
    uint64_t keys;
    struct hash kind = hash_of(index_filter_bits(filter, &keys));
    index_filter_free(filter);
    return kind;
}

void index_filter_free(struct index_filter *filter)
{
    mem_free(filter);
}

bool index_filter_has_room(const struct index_filter *filter, uint64_t keys)
{
    bool is_largest = filter->block_count == 1ULL << BLOCK_BITS_MAX;
    return filter->keys + keys <= filter->block_count * (is_largest ? BLOCK_KEYS_FULL : BLOCK_KEYS);
}

static _Atomic uint64_t *block_of(const struct index_filter *filter, uint64_t hash)
{
    return (_Atomic uint64_t *)filter->words + (hash & (filter->block_count - 1)) * BLOCK_WORDS;
}

void index_filter_add(struct index_filter *filter, uint64_t hash)
{
    _Atomic uint64_t *block = block_of(filter, hash);
    hash >>= BLOCK_BITS_MAX;
    for (int probe = 0; probe < PROBES; probe++, hash >>= PROBE_BITS) {
        _Atomic uint64_t *word = &block[hash >> 6 & 7];
        uint64_t bits = atomic_load_explicit(word, memory_order_relaxed); /* only one adds */
        atomic_store_explicit(word, bits | 1ULL << (hash & 63), memory_order_relaxed);
    }
    filter->keys++;
}

void index_filter_expect(const struct index_filter *filter, uint64_t hash)
{
    __builtin_prefetch((const void *)(uintptr_t)block_of(filter, hash), 1);
}

bool index_filter_may_have(const struct index_filter *filter, uint64_t hash)
{
    const _Atomic uint64_t *block = block_of(filter, hash);
    hash >>= BLOCK_BITS_MAX;
    for (int probe = 0; probe < PROBES; probe++, hash >>= PROBE_BITS)
        if (!(atomic_load_explicit(&block[hash >> 6 & 7], memory_order_relaxed) >> (hash & 63) & 1))
            return false;
    return true;
}

uint64_t index_filter_of_stream(struct slice key)
{
    return hash_fast(key, 1);
}

uint64_t index_filter_of_id(uint64_t id_hash)
{
    return hash_fast(slice_make(&id_hash, sizeof id_hash), 2);
}

void index_filter_each_of_tail(const struct index_tail *tail, void (*each)(void *user, uint64_t hash),
                               void *user)
{
    size_t at = 0;
    for (const struct index_stream *stream; (stream = map_next(&tail->streams, &at));)
        each(user, index_filter_of_stream(stream->key));
    for (at = 0; at < tail->id_max; at++)
        if (tail->ids[at].place) each(user, index_filter_of_id(tail->ids[at].hash));
}

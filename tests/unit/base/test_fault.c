/* Faults, digests and drawn ids. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/rand.h"

static void faults_say_what(void **state)
{
    struct fault fault = {.reason = "old"};
    assert_int_equal(fault_set(&fault, FAULT_NOT_FOUND, "no stream %s", "a/b/1"), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
    assert_string_equal(fault.text, "no stream a/b/1");
    assert_string_equal(fault.reason, "");
    assert_int_equal(fault_set(&fault, FAULT_CORRUPT, "outer: %s", fault.text),
                     -1); /* its own text as argument */
    assert_string_equal(fault.text, "outer: no stream a/b/1");
    assert_int_equal(fault_set(NULL, FAULT_BUSY, "nobody listens"), -1);
    assert_int_equal(fault_errno(NULL, ENOSPC, "nobody listens"), -1);
    assert_int_equal(fault_set(&fault, FAULT_MALFORMED, "%05000d", 1), -1);
    assert_int_equal(strlen(fault.text), sizeof fault.text - 1);
    assert_int_equal(fault_errno(&fault, ENOSPC, "%05000d", 1), -1);
    assert_true(fault_is_full(&fault));
    assert_int_equal(fault_set(&fault, FAULT_DISK, "another"), -1);
    assert_false(fault_is_full(&fault));
    assert_int_equal(fault_errno(&fault, ENOSPC, "%05000d", 1), -1);
    assert_int_equal(strlen(fault.text), sizeof fault.text - 1);
}

static void errno_chooses_the_code(void **state)
{
    static const struct {
        int error;
        enum fault_code code;
    } cases[] = {{ENOSPC, FAULT_DISK},       {EFBIG, FAULT_DISK},       {EIO, FAULT_DISK},
                 {EACCES, FAULT_PERMISSION}, {EROFS, FAULT_PERMISSION}, {ENOENT, FAULT_NOT_FOUND},
                 {EADDRINUSE, FAULT_IN_USE}, {EINVAL, FAULT_INTERNAL}};
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct fault fault = {0};
        assert_int_equal(fault_errno(&fault, cases[n].error, "data/%s", "log"), -1);
        assert_int_equal(fault.code, cases[n].code);
        assert_int_equal(fault.error, cases[n].error);
        assert_int_equal(fault_is_full(&fault), cases[n].error == ENOSPC || cases[n].error == EFBIG);
        assert_true(slice_starts(slice_of(fault.text), "data/log: "));
        assert_non_null(strstr(fault.text, strerror(cases[n].error)));
    }
}

static void every_code_has_its_row(void **state)
{
    for (int code = 0; code < FAULT_CODE_COUNT; code++) {
        const char *name = fault_name((enum fault_code)code);
        assert_non_null(name);
        assert_in_range(fault_http_status((enum fault_code)code), 200, 599);
        assert_in_range(fault_exit_code((enum fault_code)code), code ? 1 : 0, 3);
        assert_string_equal(fault_name(fault_code_of(name)), name);
    }
    assert_int_equal(fault_http_status(FAULT_CONFLICT), 409);
    assert_int_equal(fault_http_status(FAULT_BUSY), 429);
    assert_int_equal(fault_code_of("no such name"), FAULT_INTERNAL);
}

static void digests(void **state)
{
    char text[2 * HASH_SIZE + 1];
    struct hash empty = hash_of(SLICE_NONE), letters = hash_of(slice_of("abc"));
    hash_hex(&empty, text); /* BLAKE2b-256 of nothing, as published */
    assert_string_equal(text, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    hash_hex(&letters, text);
    assert_string_equal(text, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    assert_false(hash_equal(&empty, &letters));
    struct hash a = hash_chain(&empty, &letters, &letters), b = hash_chain(&letters, &empty, &letters);
    assert_false(hash_equal(&a, &b));
    assert_int_equal(hash_crc32(slice_of("123456789")), 0xcbf43926);
    assert_true(hash_fast(slice_of("abc"), 1) != hash_fast(slice_of("abc"), 2));
    assert_true(hash_fast(slice_make("abc", 3), 1) != hash_fast(slice_make("abc\0", 4), 1));
}

/* Every byte counts, whatever the size, and keys that differ little spread over a table. */
static void fast_hashes(void **state)
{
    enum { SIZE_MAX_TRIED = 70, KEYS = 1 << 16, SLOTS = 1 << 12 };
    char bytes[SIZE_MAX_TRIED] = {0};
    uint64_t before = 0;
    for (size_t size = 0; size <= sizeof bytes; size++) {
        uint64_t plain = hash_fast(slice_make(bytes, size), 0);
        assert_true(plain != before);
        before = plain;
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (char)(1 << bit % 8);
            assert_true(hash_fast(slice_make(bytes, size), 0) != plain);
            bytes[bit / 8] ^= (char)(1 << bit % 8);
        }
    }
    static unsigned low[SLOTS], high[SLOTS];
    for (unsigned key = 0; key < KEYS; key++) {
        char text[32];
        int size = snprintf(text, sizeof text, "stream-%u", key);
        uint64_t hash = hash_fast(slice_make(text, (size_t)size), 0);
        low[hash % SLOTS]++;
        high[hash >> 52]++;
    }
    for (size_t slot = 0; slot < SLOTS; slot++) {
        assert_in_range(low[slot], 1, 4 * KEYS / SLOTS);
        assert_in_range(high[slot], 1, 4 * KEYS / SLOTS);
    }
}

static void drawn_ids(void **state)
{
    char first[RAND_UUID_SIZE + 1], second[RAND_UUID_SIZE + 1];
    rand_uuid(1700000000000, first);
    rand_uuid(1700000000001, second);
    assert_int_equal(strlen(first), RAND_UUID_SIZE);
    assert_true(strcmp(first, second) < 0);
    assert_memory_equal(first, "018bcfe5-6800-7", 15);
    assert_non_null(strchr("89ab", first[19]));
    uint8_t bytes[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                         0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    rand_uuid_of(bytes, first);
    assert_string_equal(first, "ffffffff-ffff-8fff-bfff-ffffffffffff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_say_what),
        cmocka_unit_test(errno_chooses_the_code),
        cmocka_unit_test(every_code_has_its_row),
        cmocka_unit_test(digests),
        cmocka_unit_test(fast_hashes),
        cmocka_unit_test(drawn_ids),
    };
    return cmocka_run_group_tests_name("base/fault", tests, NULL, NULL);
}

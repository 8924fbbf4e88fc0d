/* What was packed comes back; anything else is refused, and touches nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/pack.h"

static void comes_back(void **state)
{
    static const size_t sizes[] = {0, 1, 127, 128, 100000};
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        struct buf bytes = {0}, packed = {0}, again = {0};
        for (size_t n = 0; n < sizes[at]; n++) buf_put_byte(&bytes, (uint8_t)(n % 251 * n));
        buf_put_text(&again, "before");
        pack_put(buf_slice(&bytes), &packed);
        assert_int_equal(pack_read(buf_slice(&packed), sizes[at], &again), 0);
        assert_int_equal(again.size, 6 + sizes[at]);
        assert_true(slice_equal(slice_make(again.data + 6, sizes[at]), buf_slice(&bytes)));
        again.size = 6;
        if (sizes[at]) assert_int_equal(pack_read(buf_slice(&packed), sizes[at] - 1, &again), -1);
        assert_int_equal(again.size, 6);
        buf_release(&bytes);
        buf_release(&packed);
        buf_release(&again);
    }
}

/* zlib sums up what it gives, so any flipped bit is found, or is one that says nothing. */
static void damage_is_found(void **state)
{
    static const char text[] = "local bill = aggregate 'bill' {} -- a text, a text, a text";
    struct buf packed = {0}, again = {0};
    pack_put(slice_of(text), &packed);
    for (size_t bit = 0; bit < packed.size * 8; bit++) {
        packed.data[bit / 8] ^= (char)(1 << bit % 8);
        buf_clear(&again);
        if (pack_read(buf_slice(&packed), 4096, &again) == 0)
            assert_true(slice_is(buf_slice(&again), text));
        else
            assert_int_equal(again.size, 0);
        packed.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t size = 0; size < packed.size; size++)
        assert_int_equal(pack_read(slice_make(packed.data, size), 4096, &again), -1);
    buf_put_byte(&packed, 0);
    assert_int_equal(pack_read(buf_slice(&packed), 4096, &again), -1);
    buf_release(&packed);
    buf_release(&again);
}

static void hashes_and_their_digits(void **state)
{
    char hex[2 * HASH_SIZE + 1], wrong[2 * HASH_SIZE + 2];
    struct hash hash = hash_of(slice_of("x")), again = {{0}};
    hash_hex(&hash, hex);
    assert_true(hash_of_hex(slice_of(hex), &again));
    assert_true(hash_equal(&hash, &again));
    memcpy(wrong, hex, sizeof hex);
    wrong[63] = 'g';
    assert_false(hash_of_hex(slice_of(wrong), &again));
    wrong[63] = 'A';
    assert_false(hash_of_hex(slice_of(wrong), &again));
    wrong[63] = 0;
    assert_false(hash_of_hex(slice_of(wrong), &again));
    memset(wrong, '0', 65);
    wrong[65] = 0;
    assert_false(hash_of_hex(slice_of(wrong), &again));
    assert_false(hash_of_hex(SLICE_NONE, &again));
    assert_true(hash_equal(&hash, &again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(hashes_and_their_digits),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}

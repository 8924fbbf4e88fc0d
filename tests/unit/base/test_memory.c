/* Arena, buf and varint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rand.h"

static void arena_blocks_are_apart_and_aligned(void **state)
{
    struct arena arena = {0};
    uint8_t *taken[600];
    size_t sizes[600], total = 0;
    for (int round = 0; round < 2; round++) {
        for (size_t n = 0; n < 600; n++) {
            sizes[n] = n % 50 == 49 ? 100000 : n * 7 % 300;
            taken[n] = n % 2 ? arena_take(&arena, sizes[n]) : arena_zero(&arena, sizes[n]);
            assert_int_equal((uintptr_t)taken[n] % _Alignof(max_align_t), 0);
            if (n % 2 == 0)
                for (size_t at = 0; at < sizes[n]; at++) assert_int_equal(taken[n][at], 0);
            memset(taken[n], (int)(n & 0xff), sizes[n]);
            total += sizes[n];
        }
        assert_true(arena.total >= total);
        for (size_t n = 0; n < 600; n++)
            for (size_t at = 0; at < sizes[n]; at++) assert_int_equal(taken[n][at], n & 0xff);
        arena_release(&arena);
        assert_null(arena.block);
        assert_int_equal(arena.total, 0);
        total = 0;
    }
}

static void arena_takes_over_another(void **state)
{
    for (int filled = 0; filled < 4; filled++) { /* none, either, both */
        struct arena to = {0}, from = {0};
        struct slice kept[200], text = {"kept by whoever has it", 22};
        size_t count = 0;
        for (int at = 0; at < 100 && filled & 1; at++) kept[count++] = arena_copy(&to, text);
        for (int at = 0; at < 100 && filled & 2; at++) kept[count++] = arena_copy(&from, text);
        size_t total = to.total + from.total;
        arena_adopt(&to, &from);
        assert_null(from.block);
        assert_int_equal(from.total, 0);
        assert_int_equal(to.total, total);
        arena_release(&from);
        memset(arena_take(&to, 5000), 'x', 5000);
        memset(arena_take(&to, 50), 'x', 50);
        while (count--) assert_true(slice_equal(kept[count], text));
        arena_release(&to);
    }
}

static void arena_texts_end_with_nul(void **state)
{
    struct arena arena = {0};
    struct slice copy = arena_copy(&arena, slice_make("a\0b", 3));
    assert_int_equal(copy.size, 3);
    assert_memory_equal(copy.data, "a\0b", 4);
    copy = arena_copy(&arena, SLICE_NONE);
    assert_int_equal(copy.size, 0);
    assert_string_equal(copy.data, "");
    copy = arena_format(&arena, "%s-%05000d", "x", 7);
    assert_int_equal(copy.size, 5002);
    assert_int_equal(copy.data[5001], '7');
    assert_int_equal(copy.data[5002], 0);
    arena_release(&arena);
}

static void buf_keeps_what_was_put(void **state)
{
    struct buf buf = {0};
    char model[20000];
    size_t size = 0;
    buf_put(&buf, NULL, 0);
    assert_int_equal(buf.size, 0);
    while (size < sizeof model - 2000) {
        uint32_t bits;
        rand_bytes(&bits, sizeof bits);
        char piece[1024];
        size_t piece_size = bits % 3 ? bits % 9 : bits % 1024;
        memset(piece, (int)(bits >> 24), sizeof piece);
        switch (bits % 4) {
        case 0:
            buf_put_byte(&buf, (uint8_t)bits);
            model[size++] = (char)bits;
            break;
        case 1:
            buf_format(&buf, "%u!", bits);
            size += (size_t)sprintf(model + size, "%u!", bits);
            break;
        default:
            buf_put_slice(&buf, slice_make(piece, piece_size));
            memcpy(model + size, piece, piece_size);
            size += piece_size;
        }
        assert_int_equal(buf.size, size);
    }
    assert_memory_equal(buf.data, model, size);
    size_t room = buf.size_max;
    buf_clear(&buf);
    assert_int_equal(buf_slice(&buf).size, 0);
    assert_int_equal(buf.size_max, room);
    memset(buf_room(&buf, 100000), 1, 100000);
    assert_int_equal(buf.size, 0);
    buf_release(&buf);
    assert_null(buf.data);
}

static void varints_come_back(void **state)
{
    for (int bit = 0; bit < 64; bit++) {
        for (int64_t around = -2; around <= 2; around++) {
            uint64_t value = (1ULL << bit) + (uint64_t)around, again = 0;
            struct buf buf = {0};
            buf_put_varint(&buf, value);
            size_t bits = value ? 64 - (size_t)__builtin_clzll(value) : 1;
            assert_int_equal(buf.size, (bits + 6) / 7);
            const uint8_t *at = (const uint8_t *)buf.data, *end = at + buf.size;
            assert_true(buf_read_varint(&at, end, &again));
            assert_true(again == value && at == end);
            for (size_t cut = 0; cut < buf.size; cut++) {
                at = (const uint8_t *)buf.data;
                assert_false(buf_read_varint(&at, at + cut, &again));
                assert_ptr_equal(at, buf.data);
            }
            assert_true(unzigzag(zigzag((int64_t)value)) == (int64_t)value);
            buf_release(&buf);
        }
    }
    assert_true(zigzag(0) == 0 && zigzag(-1) == 1 && zigzag(1) == 2 && zigzag(INT64_MIN) == UINT64_MAX);
    const uint8_t beyond[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    const uint8_t *at = beyond;
    uint64_t value = 42;
    assert_false(buf_read_varint(&at, beyond + sizeof beyond, &value));
    at = endless;
    assert_false(buf_read_varint(&at, endless + sizeof endless, &value));
    assert_true(value == 42);
}

static void slices_compare_by_bytes(void **state)
{
    assert_true(slice_compare(slice_of("a"), slice_of("b")) < 0 &&
                slice_compare(slice_of("a"), slice_of("aa")) < 0);
    assert_true(slice_compare(slice_of("\xff"), slice_of("a")) > 0 &&
                slice_compare(SLICE_NONE, slice_of("")) == 0);
    assert_true(slice_starts(slice_of("abc"), "ab") && !slice_starts(slice_of("a"), "ab"));
    assert_true(slice_is(SLICE_NONE, "") && !slice_equal(slice_make("a\0b", 3), slice_make("a\0c", 3)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_blocks_are_apart_and_aligned),
        cmocka_unit_test(arena_takes_over_another),
        cmocka_unit_test(arena_texts_end_with_nul),
        cmocka_unit_test(buf_keeps_what_was_put),
        cmocka_unit_test(varints_come_back),
        cmocka_unit_test(slices_compare_by_bytes),
    };
    return cmocka_run_group_tests_name("base/memory", tests, NULL, NULL);
}

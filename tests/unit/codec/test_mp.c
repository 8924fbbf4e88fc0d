/* MessagePack, byte for byte at every boundary of its forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>

#include "base/limit.h"
#include "base/rand.h"
#include "codec/mp.h"

#define S(literal) slice_make(literal, sizeof(literal) - 1)

static void is_bytes(struct buf *out, struct slice expected)
{
    assert_int_equal(out->size, expected.size);
    assert_memory_equal(out->data, expected.data, expected.size);
    struct fault fault = {0};
    if (mp_check(buf_slice(out), &fault) < 0) fail_msg("%s", fault.text);
}

static void integers(void **state)
{
    const struct {
        int64_t value;
        struct slice bytes;
    } cases[] = {
        {0, S("\x00")},
        {127, S("\x7f")},
        {128, S("\xcc\x80")},
        {255, S("\xcc\xff")},
        {256, S("\xcd\x01\x00")},
        {65535, S("\xcd\xff\xff")},
        {65536, S("\xce\x00\x01\x00\x00")},
        {4294967295, S("\xce\xff\xff\xff\xff")},
        {4294967296, S("\xcf\x00\x00\x00\x01\x00\x00\x00\x00")},
        {INT64_MAX, S("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff")},
        {-1, S("\xff")},
        {-32, S("\xe0")},
        {-33, S("\xd0\xdf")},
        {-128, S("\xd0\x80")},
        {-129, S("\xd1\xff\x7f")},
        {-32768, S("\xd1\x80\x00")},
        {-32769, S("\xd2\xff\xff\x7f\xff")},
        {-2147483648LL, S("\xd2\x80\x00\x00\x00")},
        {-2147483649LL, S("\xd3\xff\xff\xff\xff\x7f\xff\xff\xff")},
        {INT64_MIN, S("\xd3\x80\x00\x00\x00\x00\x00\x00\x00")},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct buf out = {0};
        mp_put_int(&out, cases[n].value);
        is_bytes(&out, cases[n].bytes);
        struct mp_reader reader = mp_reader_of(buf_slice(&out));
        struct mp_value value;
        assert_int_equal(mp_read(&reader, &value), 0);
        assert_true(value.kind == MP_INT && value.integer == cases[n].value && reader.at == reader.end);
        buf_release(&out);
    }
}

static void put_texts(struct buf *out, size_t size)
{
    char *text = test_malloc(size + 1);
    memset(text, 'a', size);
    mp_put_text(out, slice_make(text, size));
    test_free(text);
}

static void heads(void **state)
{
    const struct {
        size_t size;
        struct slice text, list, map;
    } cases[] = {
        {0, S("\xa0"), S("\x90"), S("\x80")},
        {15, S("\xaf"), S("\x9f"), S("\x8f")},
        {16, S("\xb0"), S("\xdc\x00\x10"), S("\xde\x00\x10")},
        {31, S("\xbf"), S("\xdc\x00\x1f"), S("\xde\x00\x1f")},
        {32, S("\xd9\x20"), S("\xdc\x00\x20"), S("\xde\x00\x20")},
        {255, S("\xd9\xff"), S("\xdc\x00\xff"), S("\xde\x00\xff")},
        {256, S("\xda\x01\x00"), S("\xdc\x01\x00"), S("\xde\x01\x00")},
        {65535, S("\xda\xff\xff"), S("\xdc\xff\xff"), S("\xde\xff\xff")},
        {65536, S("\xdb\x00\x01\x00\x00"), S("\xdd\x00\x01\x00\x00"), S("\xdf\x00\x01\x00\x00")},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        struct buf out = {0};
        put_texts(&out, cases[n].size);
        assert_memory_equal(out.data, cases[n].text.data, cases[n].text.size);
        assert_int_equal(out.size, cases[n].text.size + cases[n].size);
        assert_int_equal(mp_check(buf_slice(&out), NULL), 0);
        buf_clear(&out);
        mp_put_list(&out, (uint32_t)cases[n].size);
        assert_int_equal(out.size, cases[n].list.size);
        assert_memory_equal(out.data, cases[n].list.data, out.size);
        for (size_t item = 0; item < cases[n].size; item++) mp_put_nil(&out);
        assert_int_equal(mp_check(buf_slice(&out), NULL), 0);
        out.size -= cases[n].size > 0;
        assert_int_equal(mp_check(buf_slice(&out), NULL), cases[n].size ? -1 : 0);
        buf_clear(&out);
        mp_put_map(&out, (uint32_t)cases[n].size);
        assert_int_equal(out.size, cases[n].map.size);
        assert_memory_equal(out.data, cases[n].map.data, out.size);
        buf_release(&out);
    }
}

static void other_kinds(void **state)
{
    struct buf out = {0};
    mp_put_nil(&out);
    mp_put_bool(&out, false);
    mp_put_bool(&out, true);
    mp_put_float(&out, 1.5);
    mp_put_float(&out, -0.0);
    mp_put_decimal(&out, S("7"));
    mp_put_decimal(&out, S("-7"));
    mp_put_decimal(&out, S("7.5"));
    mp_put_decimal(&out, S("1.20"));
    mp_put_decimal(&out, S("12345.78"));
    mp_put_decimal(&out, S("1234567890123.45"));
    struct slice expected =
        S("\xc0\xc2\xc3\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\xcb\x80\x00\x00\x00\x00\x00\x00\x00"
          "\xd4\x01"
          "7"
          "\xd5\x01"
          "-7"
          "\xc7\x03\x01"
          "7.5"
          "\xd6\x01"
          "1.20"
          "\xd7\x01"
          "12345.78"
          "\xd8\x01"
          "1234567890123.45");
    assert_int_equal(out.size, expected.size);
    assert_memory_equal(out.data, expected.data, expected.size);
    struct mp_reader reader = mp_reader_of(buf_slice(&out));
    static const enum mp_kind kinds[] = {MP_NIL,     MP_BOOL,    MP_BOOL,    MP_FLOAT,
                                         MP_FLOAT,   MP_DECIMAL, MP_DECIMAL, MP_DECIMAL,
                                         MP_DECIMAL, MP_DECIMAL, MP_DECIMAL};
    for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++) {
        struct mp_value value;
        assert_int_equal(mp_read(&reader, &value), 0);
        assert_int_equal(value.kind, kinds[n]);
        if (n == 4) assert_true(value.number == 0 && signbit(value.number));
        if (n == 7) assert_true(slice_is(value.text, "7.5"));
    }
    assert_true(reader.at == reader.end);
    buf_release(&out);
}

static void refuses_what_is_not_canonical(void **state)
{
    const struct slice bad[] = {
        S(""),
        S("\xc1"),
        S("\xc0\xc0"),
        S("\xcc\x7f"),
        S("\xcd\x00\xff"),
        S("\xce\x00\x00\xff\xff"),
        S("\xcf\x00\x00\x00\x00\xff\xff\xff\xff"),
        S("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"),
        S("\xcc"),
        S("\xcd\x01"),
        S("\xd0\xe0"),
        S("\xd0\x01"),
        S("\xd1\xff\x80"),
        S("\xd1\x01\x00"),
        S("\xd2\xff\xff\x80\x00"),
        S("\xd3\xff\xff\xff\xff\x80\x00\x00\x00"),
        S("\xca\x3f\x80\x00\x00"),
        S("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
        S("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
        S("\xcb\x00"),
        S("\xc4\x01x"),
        S("\xa2x"),
        S("\xd9\x01x"),
        S("\xda\x00\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        S("\xa1\xff"),
        S("\xa2\xc0\x80"),
        S("\x91"),
        S("\xdd\xff\xff\xff\xff"),
        S("\xdf\xff\xff\xff\xff"),
        S("\xdc\x00\x01\xc0"),
        S("\xde\x00\x01\xa1x\xc0"),
        S("\x81\x01\x02"),
        S("\x81\xa1x"),
        S("\x82\xa1"
          "b\x01\xa1"
          "a\x02"),
        S("\x82\xa1"
          "a\x01\xa1"
          "a\x02"),
        S("\x81\xa1\xff\x01"),
        S("\xd4\x02"
          "7"),
        S("\xd4\x01"
          "x"),
        S("\xc7\x01\x01"
          "7"),
        S("\xc7\x00\x01"),
        S("\xd5\x01"
          "7"),
        S("\xd6\x01"
          "1.2."),
        S("\xc8\x00\x03\x01"
          "1.2"),
        S("\xd4"),
    };
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        struct fault fault = {0};
        if (mp_check(bad[n], &fault) == 0) fail_msg("case %zu was taken", n);
        assert_int_equal(fault.code, FAULT_CORRUPT);
        assert_non_null(strstr(fault.text, " at byte "));
    }
}

static void depth_is_bounded(void **state)
{
    for (int levels = LIMIT_DEPTH_MAX; levels <= LIMIT_DEPTH_MAX + 1; levels++) {
        struct buf out = {0};
        for (int n = 0; n < levels; n++) mp_put_list(&out, 1);
        mp_put_nil(&out);
        struct mp_reader reader = mp_reader_of(buf_slice(&out));
        int expected = levels <= LIMIT_DEPTH_MAX ? 0 : -1;
        assert_int_equal(mp_skip(&reader), expected);
        assert_int_equal(mp_check(buf_slice(&out), NULL), expected);
        buf_release(&out);
    }
}

static void fields_are_found(void **state)
{
    struct buf out = {0};
    mp_put_map(&out, 3);
    mp_put_text(&out, S("a"));
    mp_put_list(&out, 2);
    mp_put_int(&out, 1);
    mp_put_text(&out, S("c"));
    mp_put_text(&out, S("b"));
    mp_put_int(&out, 1000);
    mp_put_text(&out, S("bb"));
    mp_put_nil(&out);
    struct slice found;
    assert_true(mp_find(buf_slice(&out), S("a"), &found));
    assert_true(slice_equal(found, S("\x92\x01\xa1"
                                     "c")));
    assert_true(mp_find(buf_slice(&out), S("b"), &found));
    assert_true(slice_equal(found, S("\xcd\x03\xe8")));
    assert_true(mp_find(buf_slice(&out), S("bb"), &found));
    assert_false(mp_find(buf_slice(&out), S("c"), &found));
    assert_false(mp_find(buf_slice(&out), S(""), &found));
    assert_false(mp_find(buf_slice(&out), S("aa"), &found));
    assert_false(mp_find(S("\x90"), S("a"), &found));
    assert_false(mp_find(S(""), S("a"), &found));
    for (size_t size = 0; size < out.size; size++) /* cut anywhere: never outside, at most found earlier */
        mp_find(slice_make(out.data, size), S("bb"), &found);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers),         cmocka_unit_test(heads),
        cmocka_unit_test(other_kinds),      cmocka_unit_test(refuses_what_is_not_canonical),
        cmocka_unit_test(depth_is_bounded), cmocka_unit_test(fields_are_found),
    };
    return cmocka_run_group_tests_name("codec/mp", tests, NULL, NULL);
}

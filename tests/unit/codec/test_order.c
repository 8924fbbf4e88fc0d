/* The ordered form against a long-hand comparison of decimal texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "base/limit.h"
#include "base/rand.h"
#include "codec/mp.h"
#include "codec/order.h"
#include "codec/text.h"

#define S(literal) slice_make(literal, sizeof(literal) - 1)

static uint32_t draw(uint32_t below)
{
    uint32_t value;
    rand_bytes(&value, sizeof value);
    return value % below;
}

/* A number written out in full: 400 digits before the point, 400 behind it. */
enum { SIDE = 400 };
struct longhand {
    int sign;
    char digits[2 * SIDE];
};

static struct longhand longhand_of(const char *text)
{
    struct longhand number;
    memset(number.digits, '0', sizeof number.digits);
    number.sign = *text == '-' ? -1 : 1;
    const char *from = text + (*text == '-');
    int exponent = 0;
    const char *e = strpbrk(from, "eE");
    if (e) sscanf(e + 1, "%d", &exponent);
    int whole = (int)strspn(from, "0123456789");
    int at = SIDE - whole - exponent; /* of the first digit: exponent moves it to the left */
    for (; *from && from != e; from++)
        if (*from != '.') {
            if (*from != '0') assert_true(at >= 0 && at < 2 * SIDE);
            if (at >= 0 && at < 2 * SIDE) number.digits[at] = *from;
            at++;
        }
    bool zero = true;
    for (int n = 0; n < 2 * SIDE; n++) zero = zero && number.digits[n] == '0';
    if (zero) number.sign = 0;
    return number;
}

static int longhand_compare(const char *a, const char *b)
{
    struct longhand left = longhand_of(a), right = longhand_of(b);
    if (left.sign != right.sign) return left.sign < right.sign ? -1 : 1;
    int order = memcmp(left.digits, right.digits, sizeof left.digits) * left.sign;
    return (order > 0) - (order < 0);
}

static int sign_of(int order)
{
    return (order > 0) - (order < 0);
}

/* A random number as MessagePack, and as text. */
static void random_number(struct buf *out, char *text)
{
    static const double special[] = {0.0,   -0.0,    1e308, -1e308, 1.7976931348623157e308, 5e-324, -5e-324,
                                     1e-5,  0.1,     1e15,  1e16,   9007199254740993.0,     0.5,    100,
                                     -0.25, 2.2e-308};
    static const int64_t edges[] = {0, 1, -1, INT64_MAX, INT64_MIN, 9007199254740993, 10, 100, -100, 99, 101};
    uint64_t bits;
    double number;
    rand_bytes(&bits, sizeof bits);
    switch (draw(7)) {
    case 0: mp_put_int(out, edges[draw(11)]); break;
    case 1: mp_put_int(out, (int64_t)bits >> draw(64)); break;
    case 2: mp_put_float(out, special[draw(16)]); break;
    case 3:
        memcpy(&number, &bits, sizeof number);
        mp_put_float(out, isfinite(number) ? number : 1.0);
        break;
    case 4: mp_put_float(out, ((int)draw(2000) - 1000) / 8.0); break;
    default: {
        int whole = 1 + (int)draw(draw(2) ? 3 : 20), fraction = (int)draw(draw(2) ? 3 : 14);
        char *to = text;
        if (draw(2)) *to++ = '-';
        while (whole--) *to++ = (char)('0' + (draw(3) ? draw(2) : draw(10)));
        if (fraction) *to++ = '.';
        while (fraction--) *to++ = (char)('0' + (draw(3) ? draw(2) : draw(10)));
        *to = 0;
        assert_true(text_is_decimal(slice_of(text)));
        mp_put_decimal(out, slice_of(text));
        return;
    }
    }
    struct mp_reader reader = mp_reader_of(buf_slice(out));
    struct mp_value value;
    assert_int_equal(mp_read(&reader, &value), 0);
    if (value.kind == MP_INT)
        sprintf(text, "%lld", (long long)value.integer);
    else
        text_put_float(value.number, text);
}

static void numbers_compare_by_value(void **state)
{
    int equal = 0;
    for (int n = 0; n < 200000; n++) {
        struct buf a = {0}, b = {0}, left = {0}, right = {0};
        char a_text[100], b_text[100];
        random_number(&a, a_text);
        random_number(&b, b_text);
        assert_true(order_put(&left, buf_slice(&a)) && order_put(&right, buf_slice(&b)));
        int expected = longhand_compare(a_text, b_text);
        if (sign_of(slice_compare(buf_slice(&left), buf_slice(&right))) != expected)
            fail_msg("%s against %s: expected %d", a_text, b_text, expected);
        /* No form is the beginning of another. */
        size_t common = left.size < right.size ? left.size : right.size;
        if (expected != 0) assert_memory_not_equal(left.data, right.data, common);
        equal += expected == 0;
        buf_release(&a);
        buf_release(&b);
        buf_release(&left);
        buf_release(&right);
    }
    assert_true(equal > 1000); /* the equal case was met often enough */
}

static void put_query(struct buf *out, const char *text)
{
    struct buf value = {0};
    order_query(&value, slice_of(text));
    assert_true(order_put(out, buf_slice(&value)));
    buf_release(&value);
}

static void kinds_and_numbers_in_order(void **state)
{
    static const char *const ascending[] = {"false",
                                            "true",
                                            "-1e308",
                                            "-9223372036854775809",
                                            "-9223372036854775808",
                                            "-100",
                                            "-99.5",
                                            "-10",
                                            "-9",
                                            "-1.01",
                                            "-1",
                                            "-0.1",
                                            "-0.01",
                                            "-5e-324",
                                            "0",
                                            "5e-324",
                                            "0.001",
                                            "0.01",
                                            "0.1",
                                            "0.99",
                                            "1",
                                            "1.001",
                                            "1.01",
                                            "9",
                                            "10",
                                            "11",
                                            "99",
                                            "100",
                                            "9007199254740992",
                                            "9007199254740993",
                                            "9223372036854775807",
                                            "9223372036854775808",
                                            "1e30",
                                            "1e308",
                                            "\"\"",
                                            "\"007\"",
                                            "\"7\"",
                                            "A",
                                            "a",
                                            "ab",
                                            "b",
                                            "\xc3\xa4"};
    size_t count = sizeof ascending / sizeof *ascending;
    for (size_t a = 0; a < count; a++)
        for (size_t b = 0; b < count; b++) {
            struct buf left = {0}, right = {0};
            put_query(&left, ascending[a]);
            put_query(&right, ascending[b]);
            int order = sign_of(slice_compare(buf_slice(&left), buf_slice(&right)));
            if (order != (a > b) - (a < b)) fail_msg("%s against %s", ascending[a], ascending[b]);
            buf_release(&left);
            buf_release(&right);
        }
}

static void equal_numbers(void **state)
{
    static const char *const equal[][2] = {
        {"0", "-0"},    {"0", "0.00"},     {"0", "-0.0"},
        {"1", "1.0"},   {"1", "1e0"},      {"1.5", "15e-1"},
        {"100", "1e2"}, {"-2.50", "-2.5"}, {"1e22", "10000000000000000000000"}};
    for (size_t n = 0; n < sizeof equal / sizeof *equal; n++) {
        struct buf left = {0}, right = {0};
        put_query(&left, equal[n][0]);
        put_query(&right, equal[n][1]);
        if (!slice_equal(buf_slice(&left), buf_slice(&right)))
            fail_msg("%s and %s differ", equal[n][0], equal[n][1]);
        buf_release(&left);
        buf_release(&right);
    }
}

static struct slice texts_form(struct buf *out, struct slice text)
{
    struct buf value = {0};
    mp_put_text(&value, text);
    buf_clear(out);
    assert_true(order_put(out, buf_slice(&value)));
    buf_release(&value);
    return buf_slice(out);
}

static void texts_compare_by_bytes(void **state)
{
    struct buf left = {0}, right = {0};
    for (int n = 0; n < 100000; n++) {
        char a[8], b[8];
        size_t a_size = draw(8), b_size = draw(8);
        for (size_t k = 0; k < 8; k++) a[k] = (char)draw(3), b[k] = (char)draw(3);
        struct slice x = slice_make(a, a_size), y = slice_make(b, b_size);
        int order = slice_compare(texts_form(&left, x), texts_form(&right, y));
        assert_int_equal(sign_of(order), sign_of(slice_compare(x, y)));
        size_t common = left.size < right.size ? left.size : right.size;
        if (order) assert_memory_not_equal(left.data, right.data, common);
    }
    char text[400];
    memset(text, 'x', sizeof text);
    assert_int_equal(texts_form(&left, slice_make(text, 400)).size, LIMIT_INDEX_VALUE_SIZE_MAX + 2);
    assert_true(
        slice_equal(buf_slice(&left), texts_form(&right, slice_make(text, LIMIT_INDEX_VALUE_SIZE_MAX))));
    assert_false(
        slice_equal(buf_slice(&left), texts_form(&right, slice_make(text, LIMIT_INDEX_VALUE_SIZE_MAX - 1))));
    memset(text, 0, sizeof text);
    assert_true(texts_form(&left, slice_make(text, 400)).size <= LIMIT_INDEX_VALUE_SIZE_MAX + 2);
    buf_release(&left);
    buf_release(&right);
}

static void not_indexed(void **state)
{
    struct buf out = {0};
    assert_false(order_put(&out, S("\xc0")) || order_put(&out, S("\x90")) || order_put(&out, S("\x80")) ||
                 order_put(&out, S("")) || order_put(&out, S("\xc1")) ||
                 order_put(&out, S("\xd5\x01"
                                   "x1")));
    assert_int_equal(out.size, 0);
}

static void queries_read_as(const char *text, struct slice expected)
{
    struct buf out = {0};
    order_query(&out, slice_of(text));
    if (!slice_equal(buf_slice(&out), expected)) fail_msg("%s reads otherwise", text);
    buf_release(&out);
}

static void queries(void **state)
{
    queries_read_as("7", S("\x07"));
    queries_read_as("-7", S("\xf9"));
    queries_read_as("1.20", S("\xd6\x01"
                              "1.20"));
    queries_read_as("1e2", S("\xcb\x40\x59\x00\x00\x00\x00\x00\x00"));
    queries_read_as("true", S("\xc3"));
    queries_read_as("false", S("\xc2"));
    queries_read_as("\"true\"", S("\xa4"
                                  "true"));
    queries_read_as("\"7\"", S("\xa1"
                               "7"));
    queries_read_as("\"a\\nb\"", S("\xa3"
                                   "a\nb"));
    queries_read_as("\"a\\xb\"", S("\xa4"
                                   "a\\xb"));
    queries_read_as("\"\"", S("\xa0"));
    queries_read_as("\"", S("\xa1\""));
    queries_read_as("", S("\xa0"));
    queries_read_as("null", S("\xa4"
                              "null"));
    static const char *const texts[] = {"007", "-007",       "-",     "+7", "1.", ".5",
                                        "1-2", "2026-02-01", "1e400", "1e", "1 ", "0x1"};
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++) {
        struct buf expected = {0};
        mp_put_text(&expected, slice_of(texts[n]));
        queries_read_as(texts[n], buf_slice(&expected));
        buf_release(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_compare_by_value),
        cmocka_unit_test(kinds_and_numbers_in_order),
        cmocka_unit_test(equal_numbers),
        cmocka_unit_test(texts_compare_by_bytes),
        cmocka_unit_test(not_indexed),
        cmocka_unit_test(queries),
    };
    return cmocka_run_group_tests_name("codec/order", tests, NULL, NULL);
}

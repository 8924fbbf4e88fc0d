/* Names, ids, UTF-8, decimals and floats at their edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rand.h"
#include "codec/text.h"

#define S(literal) slice_make(literal, sizeof(literal) - 1)

/* An independent decoder: code points by the table of RFC 3629, judged by value afterwards. */
static bool utf8_model(const uint8_t *at, size_t size)
{
    for (size_t n = 0; n < size;) {
        uint8_t c = at[n];
        size_t more = c < 0x80             ? 0
                      : (c & 0xe0) == 0xc0 ? 1
                      : (c & 0xf0) == 0xe0 ? 2
                      : (c & 0xf8) == 0xf0 ? 3
                                           : 9;
        if (more == 9 || n + more >= size) return false;
        uint32_t code = more == 0 ? c : more == 1 ? c & 0x1f : more == 2 ? c & 0x0f : c & 0x07;
        for (size_t k = 1; k <= more; k++) {
            if ((at[n + k] & 0xc0) != 0x80) return false;
            code = code << 6 | (at[n + k] & 0x3f);
        }
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
        n += more + 1;
    }
    return true;
}

static void utf8_agrees_with_model(void **state)
{
    /* All sequences of up to three bytes over the bytes where the rules change, behind 0..9 plain bytes. */
    static const uint8_t bytes[] = {0,    0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                    0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                    0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
    enum { COUNT = sizeof bytes };
    uint8_t text[16];
    for (size_t lead = 0; lead < 10; lead += 3) {
        memset(text, 'x', lead);
        for (size_t n = 0; n < (size_t)COUNT * COUNT * COUNT * COUNT; n++) {
            size_t rest = n;
            for (size_t k = 0; k < 4; k++, rest /= COUNT) text[lead + k] = bytes[rest % COUNT];
            for (size_t size = 1; size <= 4; size += 3)
                if (text_is_utf8(slice_make(text, lead + size)) != utf8_model(text, lead + size))
                    fail_msg("%02x %02x %02x %02x", text[lead], text[lead + 1], text[lead + 2],
                             text[lead + 3]);
        }
    }
}

static void names_have_their_alphabet(void **state)
{
    char long_name[80];
    memset(long_name, 'a', sizeof long_name);
    assert_true(text_is_tenant(S("main")) && text_is_tenant(S("a-b_9")) &&
                text_is_tenant(slice_make(long_name, 63)));
    assert_false(text_is_tenant(slice_make(long_name, 64)) || text_is_tenant(S("")) ||
                 text_is_tenant(S("9a")) || text_is_tenant(S("Main")) || text_is_tenant(S("-a")) ||
                 text_is_tenant(S("status")) || text_is_tenant(S("deploys")) || text_is_tenant(S("a.b")) ||
                 text_is_tenant(S("a\0b")));
    assert_true(text_is_name(S("start_date")) && text_is_name(S("a1")) &&
                text_is_name(slice_make(long_name, 63)));
    assert_false(text_is_name(slice_make(long_name, 64)) || text_is_name(S("")) || text_is_name(S("_a")) ||
                 text_is_name(S("a-b")) || text_is_name(S("aB")) || text_is_name(S("\xc3\xa4")));
    assert_true(text_is_message(S("BillClosed")) && text_is_message(S("A1")) && text_is_message(S("X")));
    assert_false(text_is_message(S("billClosed")) || text_is_message(S("")) ||
                 text_is_message(S("Bill_Closed")) || text_is_message(S("1A")));
    long_name[0] = 'A';
    assert_true(text_is_message(slice_make(long_name, 63)));
    assert_false(text_is_message(slice_make(long_name, 64)));
    assert_true(text_is_context(S("billing")) && text_is_context(S("viewsx")));
    assert_false(text_is_context(S("views")) || text_is_context(S("events")) ||
                 text_is_context(S("commands")) || text_is_context(S("trace")) ||
                 text_is_context(S("streams")) || text_is_context(S("Billing")));
}

static void ids_and_keys(void **state)
{
    char text[300];
    memset(text, 'x', sizeof text);
    assert_true(text_is_id(S("A1")) &&
                text_is_id(S("Stra\xc3\x9f"
                             "e 7?")) &&
                text_is_id(slice_make(text, 200)));
    assert_true(text_is_id(S("\xc2\xa0"))); /* the first behind the controls */
    assert_false(text_is_id(S("")) || text_is_id(slice_make(text, 201)) || text_is_id(S("a/b")) ||
                 text_is_id(S("a\nb")) || text_is_id(S("a\0b")) || text_is_id(S("a\x7f")) ||
                 text_is_id(S("\xc2\x80")) || text_is_id(S("\xc2\x9f")) || text_is_id(S("\xff")) ||
                 text_is_id(S("a\xc2")));
    assert_true(text_is_key(S("a/b\n")) && text_is_key(slice_make(text, 255)));
    assert_false(text_is_key(S("")) || text_is_key(slice_make(text, 256)) || text_is_key(S("a\0")) ||
                 text_is_key(S("\xc0\x80")));
}

static void streams_split(void **state)
{
    struct slice context, aggregate, id;
    struct fault fault = {0};
    assert_int_equal(text_split_stream(S("billing/bill/7"), &context, &aggregate, &id, &fault), 0);
    assert_true(slice_is(context, "billing") && slice_is(aggregate, "bill") && slice_is(id, "7"));
    assert_int_equal(fault.code, FAULT_NONE);
    static const char *const bad[][2] = {
        {"", "context/aggregate/id"},
        {"billing", "context/aggregate/id"},
        {"billing/bill", "context/aggregate/id"},
        {"views/bill/7", "\"views\""},
        {"/bill/7", "context"},
        {"billing//7", "aggregate"},
        {"billing/Bill/7", "\"Bill\""},
        {"billing/bill/", "id"},
        {"billing/bill/7/8", "\"7/8\""},
    };
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        fault = (struct fault){0};
        assert_int_equal(text_split_stream(slice_of(bad[n][0]), &context, &aggregate, &id, &fault), -1);
        assert_int_equal(fault.code, FAULT_MALFORMED);
        assert_non_null(strstr(fault.text, bad[n][1]));
    }
}

static void decimals(void **state)
{
    static const char *const good[] = {"0",
                                       "-0",
                                       "1.20",
                                       "0.00",
                                       "-12.5",
                                       "007",
                                       "1234567890123456789012345678901234",
                                       "0.0000000000000000000000000001234567890123456789012345678901234"};
    static const char *const bad[] = {"",
                                      "-",
                                      ".5",
                                      "5.",
                                      "1.2.3",
                                      "+1",
                                      "1e5",
                                      " 1",
                                      "1 ",
                                      "--1",
                                      "a",
                                      "-.",
                                      "12345678901234567890123456789012345",
                                      "0.00000000000000000000000000000000000000000000000000000000000000001"};
    for (size_t n = 0; n < sizeof good / sizeof *good; n++)
        if (!text_is_decimal(slice_of(good[n]))) fail_msg("%s", good[n]);
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++)
        if (text_is_decimal(slice_of(bad[n]))) fail_msg("%s", bad[n]);
    assert_false(text_is_decimal(S("1\0")));
}

/* The definition in text.h, word for word. */
static void float_model(double value, char *text)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    if (!strchr(text, '.') && !strchr(text, 'e')) strcat(text, ".0");
}

static void float_is(double value)
{
    char expected[40], text[40];
    memset(text, 'x', sizeof text);
    float_model(value, expected);
    int size = text_put_float(value, text);
    assert_string_equal(text, expected);
    assert_int_equal(size, (int)strlen(expected));
}

static void floats_are_shortest(void **state)
{
    static const double fixed[] = {0.0,
                                   -0.0,
                                   1,
                                   -1,
                                   0.1,
                                   0.05,
                                   1e15,
                                   999999999999999.0,
                                   123456789012345.6,
                                   1e16,
                                   1e22,
                                   1e-4,
                                   1e-5,
                                   0.0001,
                                   0.00012,
                                   1.7976931348623157e308,
                                   5e-324,
                                   2.2250738585072014e-308,
                                   9007199254740993.0,
                                   1.005,
                                   0.3,
                                   2.5e-7,
                                   100000,
                                   99999999999.99,
                                   1234567.8912};
    for (size_t n = 0; n < sizeof fixed / sizeof *fixed; n++) float_is(fixed[n]), float_is(-fixed[n]);
    assert_true(signbit(strtod("-0.0", NULL)));
    for (int n = 0; n < 200000; n++) {
        uint64_t bits;
        double value;
        rand_bytes(&bits, sizeof bits);
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value)) float_is(value);
        static const double scales[] = {1, 10, 100, 1000, 10000, 100000};
        float_is((double)(int64_t)(bits >> (bits % 50 + 10)) / scales[bits % 6]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_agrees_with_model),
        cmocka_unit_test(names_have_their_alphabet),
        cmocka_unit_test(ids_and_keys),
        cmocka_unit_test(streams_split),
        cmocka_unit_test(decimals),
        cmocka_unit_test(floats_are_shortest),
    };
    return cmocka_run_group_tests_name("codec/text", tests, NULL, NULL);
}

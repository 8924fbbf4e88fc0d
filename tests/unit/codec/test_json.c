/* JSON: the table of what is taken and refused, faults with their place, and round trips of random trees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limit.h"
#include "base/rand.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "codec/text.h"

#define S(literal) slice_make(literal, sizeof(literal) - 1)

/* json becomes exactly these bytes of MessagePack. */
static void becomes(struct slice json, struct slice expected)
{
    struct buf out = {0};
    struct fault fault = {0};
    buf_put(&out, "before", 6);
    if (json_to_mp(json, &out, &fault) < 0) fail_msg("%.*s: %s", SLICE_ARGS(json), fault.text);
    assert_memory_equal(out.data, "before", 6);
    struct slice bytes = slice_make(out.data + 6, out.size - 6);
    if (!slice_equal(bytes, expected)) fail_msg("%.*s gives other bytes (%zu)", SLICE_ARGS(json), bytes.size);
    assert_int_equal(mp_check(bytes, NULL), 0);
    buf_release(&out);
}

/* json is refused with a fault that contains text, and out is as before. */
static void refused(struct slice json, const char *text)
{
    struct buf out = {0};
    struct fault fault = {0};
    buf_put(&out, "before", 6);
    if (json_to_mp(json, &out, &fault) == 0) fail_msg("taken: %.*s", SLICE_ARGS(json));
    assert_int_equal(fault.code, FAULT_MALFORMED);
    if (!strstr(fault.text, text)) fail_msg("%.*s: \"%s\" lacks \"%s\"", SLICE_ARGS(json), fault.text, text);
    assert_int_equal(out.size, 6);
    buf_release(&out);
}

/* json comes back as expected. */
static void prints(struct slice json, const char *expected)
{
    struct buf bytes = {0}, text = {0};
    assert_int_equal(json_to_mp(json, &bytes, NULL), 0);
    assert_int_equal(json_from_mp(buf_slice(&bytes), &text, NULL), 0);
    buf_put_byte(&text, 0);
    assert_string_equal(text.data, expected);
    buf_release(&bytes);
    buf_release(&text);
}

/* Every row of the table of libraries that were tried. */
static void the_table(void **state)
{
    prints(S("9007199254740993"), "9007199254740993");
    prints(S("9223372036854775807"), "9223372036854775807");
    prints(S("-9223372036854775808"), "-9223372036854775808");
    refused(S("18446744073709551615"), "64 bits");
    refused(S("9223372036854775808"), "64 bits");
    refused(S("-9223372036854775809"), "64 bits");
    refused(S("100000000000000000000000"), "64 bits");
    prints(S("1.0"), "1.0");
    prints(S("1"), "1");
    becomes(S("-0"), S("\xcb\x80\x00\x00\x00\x00\x00\x00\x00"));
    prints(S("-0"), "-0.0");
    prints(S("-0.0"), "-0.0");
    refused(S("1e400"), "range");
    refused(S("-1e400"), "range");
    refused(S("NaN"), "value");
    refused(S("Infinity"), "value");
    refused(S("-Infinity"), "digit");
    refused(S("{\"a\":1,\"a\":2}"), "line 1, column 8: expected each key once, but \"a\"");
    refused(S("{\"b\":1,\"a\":2,\"b\":3}"), "line 1, column 14: expected each key once, but \"b\"");
    refused(S("{\"a\":1,\"\\u0061\":2}"), "once");
    refused(S("\"\\ud800\""), "surrogate");
    refused(S("\"\\ud800x\""), "surrogate");
    refused(S("\"\\ud800\\u0041\""), "surrogate");
    refused(S("\"\\udc00\""), "surrogate");
    refused(S("\"\\ud800\\ud800\""), "surrogate");
    becomes(S("\"\\ud83d\\uDE00\""), S("\xa4\xf0\x9f\x98\x80"));
    refused(S("\"\xff\""), "UTF-8");
    refused(S("\"\xc0\x80\""), "UTF-8");
    refused(S("\"\xed\xa0\x80\""), "UTF-8");
    refused(S("{\"a\xc3\":1}"), "UTF-8");
    becomes(S("\"a\\u0000b\""), S("\xa3"
                                  "a\0b"));
    becomes(S("{\"a\\u0000\":1,\"a\":2}"), S("\x82\xa1"
                                             "a\x02\xa2"
                                             "a\0\x01"));
    refused(S("\"a\nb\""), "control");
    refused(S("\"a\tb\""), "control");
    refused(S("\"a\0b\""), "control");
}

static void values_and_space(void **state)
{
    becomes(S(" \t\r\n{ } \n"), S("\x80"));
    becomes(S("[]"), S("\x90"));
    becomes(S("[ ]"), S("\x90"));
    becomes(S("[null,true,false,\"\",0,-1]"), S("\x96\xc0\xc3\xc2\xa0\x00\xff"));
    becomes(S("{\"a\":null}"), S("\x81\xa1"
                                 "a\xc0"));
    becomes(S("{\"b\":[{\"y\":1,\"x\":2}],\"a\":{\"d\":1,\"c\":{}}}"), S("\x82\xa1"
                                                                         "a\x82\xa1"
                                                                         "c\x80\xa1"
                                                                         "d\x01\xa1"
                                                                         "b\x91\x82\xa1"
                                                                         "x\x02\xa1"
                                                                         "y\x01"));
    becomes(S("{\"aa\":1,\"a\":2,\"\":3}"), S("\x83\xa0\x03\xa1"
                                              "a\x02\xa2"
                                              "aa\x01"));
    becomes(S("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\u20ac\""), S("\xad\"\\/\b\f\n\r\t\xc3\xa4\xe2\x82\xac"));
    becomes(S("\"\x7f\xf0\x9f\x98\x80\""), S("\xa5\x7f\xf0\x9f\x98\x80"));
    prints(S("1e5"), "100000.0");
    prints(S("1E+2"), "100.0");
    prints(S("0.1"), "0.1");
    prints(S("123.456e-3"), "0.123456");
    prints(S("5e-324"), "4.94065645841247e-324");
    prints(S("1e-400"), "0.0");
    prints(S("0e99999999999"), "0.0");
    prints(S("1.7976931348623157e308"), "1.7976931348623157e+308");
    prints(S("\"\\u001f\\u0000/\""), "\"\\u001f\\u0000/\"");
}

static void faults_say_where(void **state)
{
    refused(S(""), "line 1, column 1: expected a value");
    refused(S(" \n  "), "line 2, column 3: expected a value");
    refused(S("{\n  \"a\": 1\n  \"b\": 2}"), "line 3, column 3: expected ',' or '}'");
    refused(S("[\"\xc3\xa4\xc3\xa4\" x]"), "line 1, column 7: expected ',' or ']'");
    refused(S("{a:1}"), "line 1, column 2: expected a key in quotes");
    refused(S("{\"a\" 1}"), "line 1, column 6: expected ':'");
    refused(S("{\"a\":1,}"), "expected a key in quotes");
    refused(S("[1,]"), "line 1, column 4: expected a value");
    refused(S("[1 2]"), "expected ',' or ']'");
    refused(S("[1"), "expected ',' or ']'");
    refused(S("{"), "key");
    refused(S("\"abc"), "closing");
    refused(S("\"abc\\"), "expected one of");
    refused(S("\"\\x\""), "expected one of");
    refused(S("\"\\u12g4\""), "hex");
    refused(S("\"\\u12"), "hex");
    refused(S("\"\\\""), "closing");
    refused(S("01"), "leading zero");
    refused(S("-01"), "leading zero");
    refused(S("1."), "digit");
    refused(S(".5"), "value");
    refused(S("+1"), "value");
    refused(S("1e"), "digit");
    refused(S("1e+"), "digit");
    refused(S("-"), "digit");
    refused(S("0x10"), "nothing behind");
    refused(S("1 2"), "line 1, column 3: expected nothing behind the value");
    refused(S("{}{}"), "nothing behind");
    refused(S("1\0"), "nothing behind");
    refused(S("nul"), "value");
    refused(S("True"), "value");
    refused(S("'a'"), "value");
    refused(S("// c\n1"), "value");
    refused(S("\xef\xbb\xbf"
              "1"),
            "value");
}

static void nesting(struct buf *out, int levels, bool maps)
{
    buf_clear(out);
    for (int n = 0; n < levels; n++) buf_put_text(out, maps ? "{\"a\":" : "[");
    buf_put_text(out, "1");
    for (int n = 0; n < levels; n++) buf_put_text(out, maps ? "}" : "]");
}

static void depth_is_bounded(void **state)
{
    struct buf json = {0}, bytes = {0}, again = {0};
    for (int maps = 0; maps < 2; maps++) {
        nesting(&json, LIMIT_DEPTH_MAX, maps);
        buf_clear(&bytes);
        buf_clear(&again);
        assert_int_equal(json_to_mp(buf_slice(&json), &bytes, NULL), 0);
        assert_int_equal(mp_check(buf_slice(&bytes), NULL), 0);
        assert_int_equal(json_from_mp(buf_slice(&bytes), &again, NULL), 0);
        assert_true(slice_equal(buf_slice(&json), buf_slice(&again)));
        nesting(&json, LIMIT_DEPTH_MAX + 1, maps);
        refused(buf_slice(&json), "levels of nesting");
        nesting(&json, 1000000, maps);
        refused(buf_slice(&json), "levels of nesting");
    }
    buf_clear(&bytes);
    for (int n = 0; n <= LIMIT_DEPTH_MAX; n++) mp_put_list(&bytes, 1);
    mp_put_nil(&bytes);
    assert_int_equal(json_from_mp(buf_slice(&bytes), &again, NULL), -1);
    buf_release(&json);
    buf_release(&bytes);
    buf_release(&again);
}

/* Maps and lists around the sizes where heads grow and the note of pairs moves to the heap, keys in reverse.
 */
static void many_members(void **state)
{
    static const int counts[] = {1, 15, 16, 17, 24, 25, 127, 128, 129, 300, 65535, 65536, 70000};
    for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
        struct buf json = {0}, bytes = {0}, expected = {0};
        buf_put_text(&json, "{\"list\":[");
        for (int k = 0; k < counts[n]; k++) buf_format(&json, "%s%d", k ? "," : "", k);
        buf_put_text(&json, "],\"in\":{");
        for (int k = counts[n] - 1; k >= 0; k--) buf_format(&json, "\"%08d\":%d%s", k, k, k ? "," : "");
        buf_put_text(&json, "}}");
        mp_put_map(&expected, 2);
        mp_put_text(&expected, S("in"));
        mp_put_map(&expected, (uint32_t)counts[n]);
        for (int k = 0; k < counts[n]; k++) {
            char key[16];
            snprintf(key, sizeof key, "%08d", k);
            mp_put_text(&expected, slice_of(key));
            mp_put_int(&expected, k);
        }
        mp_put_text(&expected, S("list"));
        mp_put_list(&expected, (uint32_t)counts[n]);
        for (int k = 0; k < counts[n]; k++) mp_put_int(&expected, k);
        assert_int_equal(json_to_mp(buf_slice(&json), &bytes, NULL), 0);
        assert_true(slice_equal(buf_slice(&bytes), buf_slice(&expected)));
        buf_release(&json);
        buf_release(&bytes);
        buf_release(&expected);
    }
}

static void texts_of_every_size(void **state)
{
    static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        for (int escaped = 0; escaped < 2; escaped++) {
            struct buf json = {0}, bytes = {0}, expected = {0};
            char *text = test_malloc(sizes[n] + 1);
            memset(text, 'x', sizes[n]);
            buf_put_byte(&json, '"');
            buf_put(&json, text, sizes[n]);
            if (escaped && sizes[n]) {
                json.size--;
                buf_put_text(&json, "\\n");
                text[sizes[n] - 1] = '\n';
            }
            buf_put_byte(&json, '"');
            mp_put_text(&expected, slice_make(text, sizes[n]));
            assert_int_equal(json_to_mp(buf_slice(&json), &bytes, NULL), 0);
            assert_true(slice_equal(buf_slice(&bytes), buf_slice(&expected)));
            test_free(text);
            buf_release(&json);
            buf_release(&bytes);
            buf_release(&expected);
        }
    }
}

static uint32_t draw(uint32_t below)
{
    uint32_t value;
    rand_bytes(&value, sizeof value);
    return value % below;
}

static void put_random_text(struct buf *out)
{
    char text[300];
    size_t size = 0, wanted = draw(8) ? draw(12) : draw(280);
    while (size < wanted) {
        static const char *const pieces[] = {
            "a", "Z", "\"", "\\", "\n", "\x01", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "/", "\x7f"};
        const char *piece = pieces[draw(11)];
        memcpy(text + size, piece, strlen(piece));
        size += strlen(piece);
    }
    mp_put_text(out, slice_make(text, size));
}

static void put_random_value(struct buf *out, int depth)
{
    uint64_t bits;
    double number;
    rand_bytes(&bits, sizeof bits);
    switch (draw(depth > 5 ? 6 : 8)) {
    case 0: mp_put_nil(out); break;
    case 1: mp_put_bool(out, bits & 1); break;
    case 2: mp_put_int(out, (int64_t)bits >> draw(64)); break;
    case 3: mp_put_float(out, (double)(int64_t)(bits >> 40) / 100); break;
    case 4:
        memcpy(&number, &bits, sizeof number);
        mp_put_float(out, number - number == 0 ? number : 1e300);
        break;
    case 5: put_random_text(out); break;
    case 6: {
        uint32_t count = draw(20);
        mp_put_list(out, count);
        while (count--) put_random_value(out, depth + 1);
        break;
    }
    default: {
        uint32_t count = draw(20), at = 0;
        mp_put_map(out, count);
        for (; at < count; at++) {
            char key[8];
            snprintf(key, sizeof key, "%c%u", 'a' + (int)at, draw(100));
            mp_put_text(out, slice_of(key));
            put_random_value(out, depth + 1);
        }
    }
    }
}

/* Eight bytes are looked at together: every byte at every place among plain ones is written as it is alone.
 */
static void every_byte_is_escaped_wherever_it_is(void **state)
{
    for (int byte = 0; byte < 256; byte++) {
        char one = (char)byte;
        struct buf alone = {0}, expected = {0}, out = {0};
        json_put_inside(&alone, slice_make(&one, 1));
        bool is_plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
        assert_int_equal(alone.size == 1 && alone.data[0] == one, is_plain);
        for (size_t place = 0; place < 20; place++) {
            char text[20];
            memset(text, place % 2 ? ' ' : '~', sizeof text);
            text[place] = one;
            buf_clear(&expected);
            buf_put(&expected, text, place);
            buf_put_slice(&expected, buf_slice(&alone));
            buf_put(&expected, text + place + 1, sizeof text - place - 1);
            buf_clear(&out);
            json_put_inside(&out, slice_make(text, sizeof text));
            assert_true(slice_equal(buf_slice(&out), buf_slice(&expected)));
        }
        buf_release(&alone);
        buf_release(&expected);
        buf_release(&out);
    }
}

static void random_trees_come_back(void **state)
{
    for (int n = 0; n < 3000; n++) {
        struct buf bytes = {0}, json = {0}, again = {0};
        struct fault fault = {0};
        put_random_value(&bytes, 0);
        assert_int_equal(mp_check(buf_slice(&bytes), NULL), 0);
        assert_int_equal(json_from_mp(buf_slice(&bytes), &json, NULL), 0);
        if (json_to_mp(buf_slice(&json), &again, &fault) < 0)
            fail_msg("%s: %.*s", fault.text, (int)json.size, json.data);
        assert_true(slice_equal(buf_slice(&bytes), buf_slice(&again)));
        buf_release(&bytes);
        buf_release(&json);
        buf_release(&again);
    }
}

/* strtod is the model of reading: the fast way must give the same bits. */
static void floats_read_as_strtod_reads(void **state)
{
    for (int n = 0; n < 100000; n++) {
        char text[80];
        uint64_t bits;
        rand_bytes(&bits, sizeof bits);
        snprintf(text, sizeof text, "%s%llu.%0*lluE%d", draw(2) ? "-" : "",
                 (unsigned long long)(bits >> (draw(60) + 4)), (int)draw(12) + 1,
                 (unsigned long long)draw(1000), (int)draw(60) - 30);
        struct buf out = {0};
        struct mp_value value;
        assert_int_equal(json_to_mp(slice_of(text), &out, NULL), 0);
        struct mp_reader reader = mp_reader_of(buf_slice(&out));
        assert_int_equal(mp_read(&reader, &value), 0);
        double expected = strtod(text, NULL);
        if (memcmp(&expected, &value.number, sizeof expected) != 0) fail_msg("%s", text);
        buf_release(&out);
    }
}

static void damaged_bytes_are_refused(void **state)
{
    const struct slice bad[] = {S(""),
                                S("\xc1"),
                                S("\xa1\xff"),
                                S("\xc0\xc0"),
                                S("\x91"),
                                S("\x81\x01\x01"),
                                S("\x82\xa1"
                                  "b\xc0\xa1"
                                  "a\xc0"),
                                S("\x82\xa1"
                                  "a\xc0\xa1"
                                  "a\xc0")};
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        struct buf out = {0};
        struct fault fault = {0};
        buf_put(&out, "x", 1);
        assert_int_equal(json_from_mp(bad[n], &out, &fault), -1);
        assert_int_equal(fault.code, FAULT_CORRUPT);
        assert_int_equal(out.size, 1);
        buf_release(&out);
    }
}

static void written_by_hand(void **state)
{
    struct buf out = {0};
    buf_put_text(&out, "{");
    json_put_text_member(&out, "a", S("x\"\xff{"));
    json_put_int_member(&out, "b", INT64_MIN);
    json_put_name(&out, "c");
    buf_put_text(&out, "[{");
    json_put_mp_member(&out, "d",
                       S("\xd6\x01"
                         "1.20"));
    json_put_mp_member(&out, "e", S("\xc1"));
    buf_put_text(&out, "}]}");
    buf_put_byte(&out, 0);
    assert_string_equal(
        out.data,
        "{\"a\":\"x\\\"\xef\xbf\xbd{\",\"b\":-9223372036854775808,\"c\":[{\"d\":\"1.20\",\"e\":null}]}");
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(values_and_space),
        cmocka_unit_test(faults_say_where),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(many_members),
        cmocka_unit_test(texts_of_every_size),
        cmocka_unit_test(every_byte_is_escaped_wherever_it_is),
        cmocka_unit_test(random_trees_come_back),
        cmocka_unit_test(floats_read_as_strtod_reads),
        cmocka_unit_test(damaged_bytes_are_refused),
        cmocka_unit_test(written_by_hand),
    };
    return cmocka_run_group_tests_name("codec/json", tests, NULL, NULL);
}

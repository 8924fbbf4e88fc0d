/* Bytes of requests, as they come: whole, cut anywhere, and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/http1.h"

static void heads_end_where_they_end(void **state)
{
    static const struct {
        const char *bytes;
        long size;
    } rows[] = {
        {"", 0},
        {"GET / HTTP/1.1", 0},
        {"GET / HTTP/1.1\r\n", 0},
        {"GET / HTTP/1.1\r\n\r", 0},
        {"GET / HTTP/1.1\r\n\r\n", 18},
        {"GET / HTTP/1.1\r\nA: b\r\n\r\nrest\r\n\r\n", 24},
        {"\r\n", 2},
        {"\r\nGET / HTTP/1.1\r\n\r\n", 2},
        {"\n", -1},
        {"GET / HTTP/1.1\n\n", -1},
        {"GET / HTTP/1.1\r\nA: b\n\r\n", -1},
        {"GET / HTTP/1.1\r\nA: b\r\n\n", -1},
    };
    for (size_t at = 0; at < sizeof rows / sizeof *rows; at++) {
        size_t size = strlen(rows[at].bytes), line = 0;
        assert_int_equal(http1_head_size(slice_of(rows[at].bytes), &line), rows[at].size);
        /* The same byte by byte, where the search goes on from what it knows. */
        line = 0;
        long found = 0;
        for (size_t there = 0; there <= size && found == 0; there++)
            found = http1_head_size(slice_make(rows[at].bytes, there), &line);
        assert_int_equal(found, rows[at].size);
    }
}

static void heads_are_cut_into_their_parts(void **state)
{
    struct http1_head head;
    assert_int_equal(
        http1_head_read(slice_of("POST /a b HTTP/1.1\r\nHost:x\r\nEmpty:\r\nName : \t v w \t\r\n\r\n"),
                        &head),
        0);
    assert_true(slice_is(head.method, "POST") && slice_is(head.target, "/a b") &&
                slice_is(head.version, "HTTP/1.1"));
    assert_int_equal(head.header_count, 3);
    assert_true(slice_is(head.headers[0].name, "Host") && slice_is(head.headers[0].value, "x"));
    assert_true(slice_is(head.headers[1].name, "Empty") && head.headers[1].value.size == 0);
    /* The space stays in the name, so that the gate refuses it. */
    assert_true(slice_is(head.headers[2].name, "Name ") && slice_is(head.headers[2].value, "v w"));
    assert_int_equal(http1_head_read(slice_of("GET /\r\n\r\n"), &head), 0);
    assert_true(head.version.size == 0);
    assert_int_equal(http1_head_read(slice_of("GET / HTTP/1.1\r\nno colon\r\n\r\n"), &head), -1);
    struct buf many = {0};
    buf_put_text(&many, "GET / HTTP/1.1\r\n");
    for (int at = 0; at < HTTP1_HEADERS_MAX; at++) buf_put_text(&many, "a:b\r\n");
    size_t size = many.size;
    buf_put_text(&many, "\r\n");
    assert_int_equal(http1_head_read(buf_slice(&many), &head), 0);
    assert_int_equal(head.header_count, HTTP1_HEADERS_MAX);
    many.size = size;
    buf_put_text(&many, "a:b\r\n\r\n");
    assert_int_equal(http1_head_read(buf_slice(&many), &head), -2);
    buf_release(&many);
}

/* Reads pieces of at most `piece` bytes; what is behind the end goes to *left. */
static enum http1_step read_chunks(const char *text, size_t piece, struct buf *body, size_t *left)
{
    struct http1_chunks chunks = {0};
    enum http1_step found = HTTP1_MORE;
    size_t size = strlen(text), at = 0;
    while (at < size) {
        struct slice rest = slice_make(text + at, piece < size - at ? piece : size - at), data;
        at += rest.size;
        while ((found = http1_chunks_next(&chunks, &rest, &data)) == HTTP1_DATA) buf_put_slice(body, data);
        *left = size - at + rest.size;
        if (found != HTTP1_MORE) break;
    }
    return found;
}

static void chunks_give_their_data(void **state)
{
    static const struct {
        const char *text;
        enum http1_step found;
        const char *body;
        size_t left;
    } rows[] = {
        {"0\r\n\r\n", HTTP1_END, "", 0},
        {"3\r\nabc\r\n0\r\n\r\nGET", HTTP1_END, "abc", 3},
        {"00000A\r\n0123456789\r\n1;x=\"y\"\r\n!\r\n000\r\nTrailer: x\r\nB: c\r\n\r\n", HTTP1_END,
         "0123456789!", 0},
        {"3\r\nabc\r\n0\r\n", HTTP1_MORE, "abc", 0},
        {"3\r\nab", HTTP1_MORE, "ab", 0},
        {"", HTTP1_MORE, "", 0},
        {"\r\n", HTTP1_BAD, "", 1},
        {"x\r\n", HTTP1_BAD, "", 2},
        {"-1\r\n", HTTP1_BAD, "", 3},
        {"0x3\r\nabc", HTTP1_BAD, "", 6},
        {"3\nabc", HTTP1_BAD, "", 3},
        {"3\r\rabc", HTTP1_BAD, "", 3},
        {"3\r\nabcd\r\n", HTTP1_BAD, "abc", 2},
        {"3\r\nabc\n0\r\n\r\n", HTTP1_BAD, "abc", 5},
        {"0\r\n\n", HTTP1_BAD, "", 0},
        {"0\r\nA: b\nC", HTTP1_BAD, "", 1},
        {"fffffffffffffffff\r\n", HTTP1_BAD, "", 3}, /* more than any body may have */
    };
    for (size_t at = 0; at < sizeof rows / sizeof *rows; at++)
        for (size_t piece = 1; piece <= 64; piece *= 2) {
            struct buf body = {0};
            size_t left = 0;
            enum http1_step found = read_chunks(rows[at].text, piece, &body, &left);
            if (found != rows[at].found || !slice_is(buf_slice(&body), rows[at].body) ||
                left != rows[at].left)
                fail_msg("row %zu by %zu: %d, %.*s, %zu left", at, piece, found, SLICE_ARGS(buf_slice(&body)),
                         left);
            buf_release(&body);
        }
}

static void framing_without_data_is_bounded(void **state)
{
    struct http1_chunks chunks = {0};
    struct slice data, rest = slice_of("0\r\n");
    assert_int_equal(http1_chunks_next(&chunks, &rest, &data), HTTP1_MORE);
    enum http1_step found = HTTP1_MORE;
    size_t count = 0;
    for (; found == HTTP1_MORE && count < 100000; count++) {
        rest = slice_of("trailer: x\r\n");
        found = http1_chunks_next(&chunks, &rest, &data);
    }
    assert_int_equal(found, HTTP1_BAD);
    assert_true(count > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_end_where_they_end),
        cmocka_unit_test(heads_are_cut_into_their_parts),
        cmocka_unit_test(chunks_give_their_data),
        cmocka_unit_test(framing_without_data_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

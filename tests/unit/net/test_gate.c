/* Every row is a request head and what the gate must say of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "net/gate.h"

static const struct gate_limits limits = {.head_size_max = 1024, .target_size_max = 64};

struct row {
    const char *method, *target, *version;
    const char *headers[6]; /* "name: value" */
    int status;
};

#define HOST "Host: localhost"

static const struct row rows[] = {
    /* plain requests */
    {"GET", "/healthz", "HTTP/1.1", {HOST}, 0},
    {"GET", "/healthz", "HTTP/1.1", {"host: 127.0.0.1:7070"}, 0},
    {"GET", "/healthz", "HTTP/1.1", {"HOST: [::1]:7070"}, 0},
    {"GET", "/healthz", "HTTP/1.1", {"Host: a.localhost:1"}, 0},
    {"GET", "/healthz", "HTTP/1.1", {"Host: LOCALHOST."}, 0},
    {"GET", "/healthz", "HTTP/1.0", {0}, 0},
    {"POST", "/v1/main/a/b/c?x=%20", "HTTP/1.1", {HOST, "Content-Length: 12"}, 0},
    {"POST", "/v1/main/a/b/c", "HTTP/1.1", {HOST, "Transfer-Encoding: chunked"}, 0},
    {"POST", "/v1/main/a/b/c", "HTTP/1.1", {HOST, "Transfer-Encoding: Chunked"}, 0},
    {"POST", "/v1/main/a/b/\xc3\xa9", "HTTP/1.1", {HOST}, 0},
    {"POST", "/", "HTTP/1.1", {HOST, "Origin: http://localhost:7070"}, 0},
    {"POST", "/", "HTTP/1.1", {HOST, "Origin: https://127.0.0.1"}, 0},
    {"POST", "/", "HTTP/1.1", {HOST, "Expect: 100-continue", "Content-Length: 1"}, 0},
    {"OPTIONS", "*", "HTTP/1.1", {HOST}, 0},
    /* smuggling */
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length: 1", "Content-Length: 1"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length: 1", "content-length: 2"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length: 1", "Transfer-Encoding: chunked"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Transfer-Encoding: chunked", "Content-Length: 1"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length: +1"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length: -1"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length: 0x1"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length: 1, 1"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length: "}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length: 99999999999999999999"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Transfer-Encoding: xchunked"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Transfer-Encoding: chunked, chunked"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Transfer-Encoding: gzip, chunked"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Transfer-Encoding: identity"}, 400},
    {"POST",
     "/",
     "HTTP/1.1",
     {HOST, "Transfer-Encoding: \x0b"
            "chunked"},
     400},
    {"POST", "/", "HTTP/1.1", {HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"}, 400},
    {"POST", "/", "HTTP/1.0", {"Transfer-Encoding: chunked"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Length : 1"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "X: a\rContent-Length: 1"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "X: a\nb"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "X: \x7f"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, " X: a"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, ": a"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "X\xc3\xa9: a"}, 400},
    {"G ET", "/", "HTTP/1.1", {HOST}, 400},
    {"", "/", "HTTP/1.1", {HOST}, 400},
    {"GET", "/", "HTTP/2.0", {HOST}, 505},
    {"GET", "/", "", {HOST}, 505},
    {"GET", "/", "HTTP/1.10", {HOST}, 505},
    /* targets */
    {"GET", "", "HTTP/1.1", {HOST}, 400},
    {"GET", "*", "HTTP/1.1", {HOST}, 400},
    {"GET", "http://localhost/", "HTTP/1.1", {HOST}, 400},
    {"GET", "/a b", "HTTP/1.1", {HOST}, 400},
    {"GET", "/a#b", "HTTP/1.1", {HOST}, 400},
    {"GET", "/a\tb", "HTTP/1.1", {HOST}, 400},
    {"GET", "/a\\b", "HTTP/1.1", {HOST}, 400},
    {"GET", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "HTTP/1.1", {HOST}, 414},
    /* who speaks to whom */
    {"GET", "/", "HTTP/1.1", {0}, 400},
    {"GET", "/", "HTTP/1.1", {HOST, HOST}, 400},
    {"GET", "/", "HTTP/1.1", {"Host: evil.example"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: localhost.evil.example"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: evil-localhost"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: 127.0.0.1.evil.example"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: 127.1"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: 127.0.0.256"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: 10.0.0.1"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: user@localhost"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: evil.example/.localhost"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: "}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: :80"}, 403},
    {"GET", "/", "HTTP/1.1", {"Host: localhost:123456"}, 403},
    {"POST", "/", "HTTP/1.1", {HOST, "Origin: http://evil.example"}, 403},
    {"POST", "/", "HTTP/1.1", {HOST, "Origin: null"}, 403},
    {"POST", "/", "HTTP/1.1", {HOST, "Origin: "}, 403},
    {"POST", "/", "HTTP/1.1", {HOST, "Origin: http://localhost.evil.example"}, 403},
    {"POST", "/", "HTTP/1.1", {HOST, "Origin: file://localhost"}, 403},
    {"POST", "/", "HTTP/1.1", {HOST, "Origin: http://localhost", "Origin: http://evil.example"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "Expect: 200-ok"}, 417},
    {"POST", "/", "HTTP/1.1", {HOST, "Content-Type: a", "Content-Type: b"}, 400},
    {"POST", "/", "HTTP/1.1", {HOST, "If-Match: \"1\"", "If-Match: \"2\""}, 400},
};

static bool check_row(const struct row *row, struct gate_verdict *verdict)
{
    struct gate_header headers[6];
    size_t count = 0;
    for (; count < 6 && row->headers[count]; count++) {
        const char *colon = strchr(row->headers[count], ':');
        const char *value = colon + 1;
        while (*value == ' ') value++;
        headers[count].name = slice_make(row->headers[count], (size_t)(colon - row->headers[count]));
        headers[count].value = slice_of(value);
    }
    struct gate_request request = {.method = slice_of(row->method),
                                   .target = slice_of(row->target),
                                   .version = slice_of(row->version),
                                   .headers = headers,
                                   .header_count = count};
    return gate_check(&request, &limits, verdict);
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gate_verdict verdict;
        bool passed = check_row(&rows[i], &verdict);
        if (verdict.status != rows[i].status)
            fail_msg("row %zu (%s %s, %s): got %d %s", i, rows[i].method, rows[i].target,
                     rows[i].headers[1] ? rows[i].headers[1] : "", verdict.status, verdict.text);
        assert_int_equal(passed, verdict.status == 0);
        assert_int_equal(passed, verdict.code == NULL);
        assert_int_equal(passed, verdict.text[0] == 0);
    }
}

static void test_framing_is_read(void **state)
{
    struct gate_verdict verdict;
    check_row(&(struct row){"POST", "/", "HTTP/1.1", {HOST, "Content-Length: 12 "}, 0}, &verdict);
    assert_int_equal(verdict.content_length, 12);
    assert_false(verdict.chunked);
    check_row(
        &(struct row){
            "POST", "/", "HTTP/1.1", {HOST, "Transfer-Encoding: chunked", "Expect: 100-Continue"}, 0},
        &verdict);
    assert_int_equal(verdict.content_length, -1);
    assert_true(verdict.chunked && verdict.expects_continue);
}

static void test_head_size(void **state)
{
    char value[1100];
    memset(value, 'x', sizeof value);
    struct gate_header headers[] = {{slice_of("Host"), slice_of("localhost")},
                                    {slice_of("X"), slice_make(value, 900)}};
    struct gate_request request = {.method = slice_of("GET"),
                                   .target = slice_of("/"),
                                   .version = slice_of("HTTP/1.1"),
                                   .headers = headers,
                                   .header_count = 2};
    struct gate_verdict verdict;
    assert_true(gate_check(&request, &limits, &verdict));
    request.head_size = 1025;
    assert_false(gate_check(&request, &limits, &verdict));
    assert_int_equal(verdict.status, 431);
    request.head_size = 0;
    headers[1].value.size = 1000;
    assert_false(gate_check(&request, &limits, &verdict));
    assert_int_equal(verdict.status, 431);
}

/* Values are not terminated in general: a refusal that quotes them must not read on. */
static void test_texts_are_bounded(void **state)
{
    char *value = malloc(3);
    memcpy(value, "ev\x01", 3);
    struct gate_header headers[] = {{slice_of("Host"), slice_make(value, 2)}};
    struct gate_request request = {.method = slice_of("GET"),
                                   .target = slice_of("/"),
                                   .version = slice_of("HTTP/1.1"),
                                   .headers = headers,
                                   .header_count = 1};
    struct gate_verdict verdict;
    assert_false(gate_check(&request, &limits, &verdict));
    assert_non_null(strstr(verdict.text, "'ev'"));
    headers[0].value.size = 3;
    assert_false(gate_check(&request, &limits, &verdict));
    assert_int_equal(verdict.status, 400);
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_framing_is_read),
        cmocka_unit_test(test_head_size),
        cmocka_unit_test(test_texts_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

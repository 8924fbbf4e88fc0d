/* Bodies of commands, the headers that go with them, and answers that say no. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/fault.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "net/body.h"
#include "net/problem.h"

static int read_body(const char *json, struct command **command, struct fault *fault)
{
    struct buf scratch = {0};
    *command = command_new();
    int read = body_read_commands(slice_of(json), 3, &scratch, *command, fault);
    buf_release(&scratch); /* nothing may be borrowed from it */
    return read;
}

static void test_one_command(void **state)
{
    struct command *command;
    struct fault fault;
    assert_int_equal(
        read_body(" {\"type\":\"CloseBill\",\"id\":\"x-1\",\"data\":{\"a\":[1,2.5]}} ", &command, &fault), 0);
    assert_int_equal(command->item_count, 1);
    assert_true(slice_is(command->items[0].type, "CloseBill"));
    assert_true(slice_is(command->items[0].id, "x-1"));
    struct buf json = {0};
    assert_int_equal(json_from_mp(command->items[0].data, &json, &fault), 0);
    assert_true(slice_is(buf_slice(&json), "{\"a\":[1,2.5]}"));
    buf_release(&json);
    command_free(command);
}

static void test_absent_data_is_an_empty_map(void **state)
{
    static const char *const bodies[] = {"{\"type\":\"A\"}", "{\"type\":\"A\",\"data\":null}",
                                         "{\"type\":\"A\",\"data\":{}}"};
    for (size_t i = 0; i < 3; i++) {
        struct command *command;
        struct fault fault;
        assert_int_equal(read_body(bodies[i], &command, &fault), 0);
        assert_int_equal(command->items[0].data.size, 1);
        assert_int_equal(mp_check(command->items[0].data, &fault), 0);
        assert_int_equal(command->items[0].id.size, 0);
        command_free(command);
    }
}

static void test_array(void **state)
{
    struct command *command;
    struct fault fault;
    assert_int_equal(read_body("[{\"type\":\"A\"},{\"type\":\"B\",\"data\":{\"x\":1}}]", &command, &fault),
                     0);
    assert_int_equal(command->item_count, 2);
    assert_true(slice_is(command->items[0].type, "A") && slice_is(command->items[1].type, "B"));
    command_free(command);
}

static void test_bad_bodies(void **state)
{
    static const struct {
        const char *json;
        enum fault_code code;
        const char *word; /* that the text must hold */
    } rows[] = {
        {"", FAULT_MALFORMED, ""},
        {"{", FAULT_MALFORMED, ""},
        {"7", FAULT_MALFORMED, "command"},
        {"null", FAULT_MALFORMED, "command"},
        {"[]", FAULT_MALFORMED, "no command"},
        {"[7]", FAULT_MALFORMED, "[0]"},
        {"[{\"type\":\"A\"},[]]", FAULT_MALFORMED, "[1]"},
        {"{}", FAULT_MALFORMED, "type: is missing"},
        {"[{\"type\":\"A\"},{\"data\":{}}]", FAULT_MALFORMED, "[1].type"},
        {"{\"type\":7}", FAULT_MALFORMED, "type: expected text, got integer"},
        {"{\"type\":\"\"}", FAULT_MALFORMED, "type"},
        {"{\"type\":\"A\",\"data\":[]}", FAULT_MALFORMED, "data: expected an object, got array"},
        {"{\"type\":\"A\",\"data\":\"x\"}", FAULT_MALFORMED, "data"},
        {"{\"type\":\"A\",\"id\":7}", FAULT_MALFORMED, "id: expected text"},
        {"{\"type\":\"A\",\"id\":\"a/b\"}", FAULT_MALFORMED, "id"},
        {"{\"type\":\"A\",\"id\":\"\"}", FAULT_MALFORMED, "id"},
        {"{\"type\":\"A\",\"dta\":{}}", FAULT_MALFORMED, "dta: unknown member"},
        {"{\"type\":\"A\",\"type\":\"B\"}", FAULT_MALFORMED, ""},
        {"{\"type\":\"A\"} x", FAULT_MALFORMED, ""},
        {"[{\"type\":\"A\"},{\"type\":\"A\"},{\"type\":\"A\"},{\"type\":\"A\"}]", FAULT_TOO_LARGE,
         "4 commands"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct command *command;
        struct fault fault;
        if (read_body(rows[i].json, &command, &fault) == 0) fail_msg("%s was taken", rows[i].json);
        assert_int_equal(fault.code, rows[i].code);
        if (!strstr(fault.text, rows[i].word)) fail_msg("%s: %s", rows[i].json, fault.text);
        command_free(command);
    }
}

static void test_if_match(void **state)
{
    int64_t version;
    assert_int_equal(body_read_version(SLICE_NONE, &version, NULL), 0);
    assert_int_equal(version, COMMAND_ANY_VERSION);
    assert_int_equal(body_read_version(slice_of("\"0\""), &version, NULL), 0);
    assert_int_equal(version, 0);
    assert_int_equal(body_read_version(slice_of("\"123\""), &version, NULL), 0);
    assert_int_equal(version, 123);
    static const char *const bad[] = {"5",       "\"\"",    "\"5",
                                      "W/\"5\"", "*",       "\"5\", \"6\"",
                                      "\"-1\"",  "\"abc\"", "\"1234567890123456789012\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (body_read_version(slice_of(bad[i]), &version, NULL) == 0) fail_msg("%s was taken", bad[i]);
}

static void test_header_ids(void **state)
{
    struct arena arena = {0};
    struct slice id;
    struct fault fault;
    assert_int_equal(body_read_id(slice_of("a b"), "Correlation-Id", &arena, &id, &fault), 0);
    assert_true(slice_is(id, "a b"));
    assert_int_equal(body_read_id(slice_of("\"k-1\""), "Idempotency-Key", &arena, &id, &fault), 0);
    assert_true(slice_is(id, "k-1"));
    assert_int_equal(body_read_id(slice_of(""), "Causation-Id", &arena, &id, &fault), -1);
    assert_non_null(strstr(fault.text, "Causation-Id"));
    assert_int_equal(body_read_id(slice_of("\xff"), "X", &arena, &id, &fault), -1);
    assert_int_equal(body_read_id(slice_of("a/b"), "X", &arena, &id, &fault), -1);
    arena_release(&arena);
}

static void test_content_types(void **state)
{
    static const char *const good[] = {
        "application/json",    "Application/JSON; charset=utf-8",   "application/cloudevents+json",
        "application/json ;x", "application/x-www-form-urlencoded", "text/plain"};
    static const char *const bad[] = {"",
                                      "text/html",
                                      "multipart/form-data; boundary=x",
                                      "application/jsonx",
                                      "+json",
                                      "text/x+json",
                                      "application/+json"};
    assert_true(body_is_json(SLICE_NONE));
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!body_is_json(slice_of(good[i]))) fail_msg("%s was refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (body_is_json(slice_of(bad[i]))) fail_msg("%s was taken", bad[i]);
}

/* Every fault makes a well-formed document with the members that RFC 9457 and clients count on. */
static void test_problems(void **state)
{
    for (int code = FAULT_NONE + 1; code < FAULT_CODE_COUNT; code++) {
        struct fault fault;
        fault_set(&fault, (enum fault_code)code, "a \"quoted\"\nline");
        if (code == FAULT_REJECTED) strcpy(fault.reason, "exists");
        struct buf json = {0}, bytes = {0};
        struct slice member;
        problem_put_fault(&json, &fault);
        assert_int_equal(json_to_mp(buf_slice(&json), &bytes, NULL), 0);
        static const char *const members[] = {"type", "title", "status", "detail", "code"};
        for (size_t i = 0; i < 5; i++) assert_true(mp_find(buf_slice(&bytes), slice_of(members[i]), &member));
        struct mp_reader reader = mp_reader_of(member);
        struct mp_value value;
        mp_find(buf_slice(&bytes), slice_of("status"), &member);
        reader = mp_reader_of(member);
        assert_int_equal(mp_read(&reader, &value), 0);
        assert_int_equal(value.integer, fault_http_status((enum fault_code)code));
        assert_int_equal(mp_find(buf_slice(&bytes), slice_of("reason"), &member), code == FAULT_REJECTED);
        buf_release(&json);
        buf_release(&bytes);
    }
    assert_int_equal(problem_retry_s(503, "lagging"), 1);
    assert_int_equal(problem_retry_s(429, "busy"), 1);
    assert_int_equal(problem_retry_s(400, "malformed"), 0);
}

static int read_line(const char *json, struct command **command, struct fault *fault)
{
    struct buf scratch = {0};
    *command = command_new();
    int read = body_read_line(slice_of(json), &scratch, *command, fault);
    buf_release(&scratch);
    return read;
}

/* A transaction in one line: its id is that of the whole. */
static void test_line_of_commands(void **state)
{
    struct command *command;
    struct fault fault = {0};
    assert_int_equal(
        read_line("{\"stream\":\"shop/box/1\",\"id\":\"b-1\",\"at\":\"2026-01-01\",\"correlation\":\"c\","
                  "\"causation\":\"d\",\"commands\":[{\"type\":\"A\",\"id\":\"x\"},{\"type\":\"B\",\"data\":{"
                  "\"n\":1}}]}",
                  &command, &fault),
        0);
    assert_int_equal(command->item_count, 2);
    assert_true(slice_is(command->batch_id, "b-1"));
    assert_true(slice_is(command->items[0].id, "x"));
    assert_true(slice_is(command->items[1].type, "B"));
    assert_true(slice_is(command->correlation_id, "c"));
    assert_true(slice_is(command->causation_id, "d"));
    assert_true(slice_is(command->context, "shop"));
    command_free(command);
    static const char *const bad[] = {"[]",
                                      "{}",
                                      "7",
                                      "[{}]",
                                      "[7]",
                                      "[{\"type\":\"A\"}],\"type\":\"B\"",
                                      "[{\"type\":\"A\"}],\"data\":{}",
                                      "[{\"type\":\"A\"}],\"event\":\"B\"",
                                      "[{\"type\":\"A\"}],\"id\":\"a/b\"",
                                      "[{\"type\":\"A\"}],\"correlation\":7"};
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        char line[200];
        snprintf(line, sizeof line, "{\"stream\":\"shop/box/1\",\"commands\":%s}", bad[at]);
        assert_int_equal(read_line(line, &command, &fault), -1);
        assert_int_equal(fault.code, FAULT_MALFORMED);
        command_free(command);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_of_commands),
        cmocka_unit_test(test_one_command),
        cmocka_unit_test(test_absent_data_is_an_empty_map),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_bad_bodies),
        cmocka_unit_test(test_if_match),
        cmocka_unit_test(test_header_ids),
        cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

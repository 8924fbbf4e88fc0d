/* Members of a JSON answer by name, compact and pretty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdint.h>

#include "cli/fields.h"

static struct fields fields;

static int read_fields(void **state)
{
    struct fault fault;
    return fields_read(
        &fields,
        slice_of(
            "{\"text\":\"caf\xc3\xa9\",\"int\":9007199254740993,\"low\":-9223372036854775808,\"float\":2.5,"
            "\"huge\":1e300,\"null\":null,\"flag\":true,\"empty\":{},\"none\":[],"
            "\"object\":{\"a\":1,\"b\":{\"c\":[1,{\"d\":\"x\"}]}},"
            "\"list\":[{\"n\":1},{\"n\":2},7,{\"n\":3}]}"),
        &fault);
}

static int release_fields(void **state)
{
    fields_release(&fields);
    return 0;
}

static void members(void **state)
{
    assert_true(slice_is(fields_text(&fields, "text"), "caf\xc3\xa9"));
    assert_int_equal(fields_text(&fields, "int").size, 0);
    assert_int_equal(fields_text(&fields, "absent").size, 0);
    assert_true(fields_int(&fields, "int") == INT64_C(9007199254740993)); /* beyond what a double holds */
    assert_true(fields_int(&fields, "low") == INT64_MIN);
    assert_int_equal(fields_int(&fields, "float"), 2);
    assert_int_equal(fields_int(&fields, "huge"), 0);
    assert_int_equal(fields_int(&fields, "text"), 0);
    assert_int_equal(fields_int(&fields, "absent"), 0);
    assert_true(fields_number(&fields, "float") == 2.5);
    assert_true(fields_number(&fields, "absent") == 0);
    assert_true(fields_has(&fields, "flag"));
    assert_true(fields_has(&fields, "empty"));
    assert_false(fields_has(&fields, "null"));
    assert_false(fields_has(&fields, "absent"));
}

static void expect_json(void (*put)(const struct fields *, const char *, struct buf *), const char *name,
                        const char *expected)
{
    struct buf out = {0};
    put(&fields, name, &out);
    buf_put_byte(&out, 0);
    assert_string_equal(out.data, expected);
    buf_release(&out);
}

static void as_json(void **state)
{
    expect_json(fields_json, "object", "{\"a\":1,\"b\":{\"c\":[1,{\"d\":\"x\"}]}}");
    expect_json(fields_json, "text", "\"caf\xc3\xa9\"");
    expect_json(fields_json, "absent", "");
    expect_json(fields_pretty, "object",
                "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [\n      1,\n      {\n        \"d\": \"x\"\n      "
                "}\n    ]\n  }\n}");
    expect_json(fields_pretty, "empty", "{}");
    expect_json(fields_pretty, "none", "[]");
    expect_json(fields_pretty, "float", "2.5");
    expect_json(fields_pretty, "absent", "");
}

static void inside(void **state)
{
    struct fields object, deeper;
    assert_true(fields_object(&fields, "object", &object));
    assert_int_equal(fields_int(&object, "a"), 1);
    assert_true(fields_object(&object, "b", &deeper));
    assert_true(fields_has(&deeper, "c"));
    assert_false(fields_object(&fields, "list", &object));
    assert_false(fields_object(&fields, "absent", &object));
}

static void items(void **state)
{
    static const int64_t expected[] = {1, 2, 0, 3};
    const uint8_t *at = NULL;
    struct fields item;
    size_t count = 0;
    while (fields_next(&fields, "list", &at, &item)) {
        assert_true(count < 4);
        assert_int_equal(fields_int(&item, "n"), expected[count]);
        count++;
    }
    assert_int_equal(count, 4);
    at = NULL;
    assert_false(fields_next(&fields, "none", &at, &item));
    at = NULL;
    assert_false(fields_next(&fields, "object", &at, &item));
    at = NULL;
    assert_false(fields_next(&fields, "absent", &at, &item));
}

static void what_is_no_object(void **state)
{
    static const char *const answers[] = {"[1]", "7", "null", "\"x\""};
    struct fault fault;
    struct fields other = {0};
    for (size_t n = 0; n < sizeof answers / sizeof *answers; n++) {
        assert_int_equal(fields_read(&other, slice_of(answers[n]), &fault), 0);
        assert_false(fields_has(&other, "a"));
        assert_int_equal(fields_text(&other, "a").size, 0);
    }
    assert_int_equal(fields_read(&other, slice_of("<html>"), &fault), -1);
    assert_int_equal(fault.code, FAULT_MALFORMED);
    assert_false(fields_has(&other, "a")); /* empty, not the answer before */
    fields_release(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members), cmocka_unit_test(as_json),           cmocka_unit_test(inside),
        cmocka_unit_test(items),   cmocka_unit_test(what_is_no_object),
    };
    return cmocka_run_group_tests_name("cli/fields", tests, read_fields, release_fields);
}

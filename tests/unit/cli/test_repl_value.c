/* Values as Lua would write them: on one line, over several, cut, and never with what a terminal obeys. */
#include "support/shown.h"

#include "cli/repl_value.h"

static void expect_put(size_t width, size_t lines, const char *json, const char *expected)
{
    struct page page = shown_page(width);
    repl_value_put(&page, shown_mp(json), &lines);
    assert_string_equal(shown_text(&page), expected);
}

static void scalars(void **state)
{
    expect_put(80, 9, "1", "1\n");
    expect_put(80, 9, "-9223372036854775808", "-9223372036854775808\n");
    expect_put(80, 9, "1.0", "1.0\n");
    expect_put(80, 9, "0.1", "0.1\n");
    expect_put(80, 9, "true", "true\n");
    expect_put(80, 9, "null", "nil\n");
    expect_put(80, 9, "\"1.20\"", "\"1.20\"\n");
    expect_put(80, 9, "{}", "{}\n");
    expect_put(80, 9, "[]", "{}\n");
}

static void texts(void **state)
{
    expect_put(80, 9, "\"say \\\"no\\\" \\\\ \\n\\t\\r\"", "\"say \\\"no\\\" \\\\ \\n\\t\\r\"\n");
    expect_put(80, 9, "\"caf\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x8e\x89\"",
               "\"caf\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x8e\x89\"\n");
    expect_put(80, 9, "\"\\u0000\\u001b[2J\\u007f\\u009b31m\\u202e\\u2066\\u200f\"",
               "\"\\x00\\x1b[2J\\x7f\\u{9b}31m\\u{202e}\\u{2066}\\u{200f}\"\n");
    expect_put(80, 9, "{\"\\u001b[2J\":1}", "{ [\"\\x1b[2J\"] = 1 }\n");
}

static void keys(void **state)
{
    expect_put(80, 9, "{\"a\":1,\"b_2\":2,\"_c\":3}", "{ _c = 3, a = 1, b_2 = 2 }\n");
    expect_put(80, 9, "{\"end\":1,\"2a\":2,\"a b\":3,\"\":4,\"\xc3\xa9\":5}",
               "{ [\"\"] = 4, [\"2a\"] = 2, [\"a b\"] = 3, [\"end\"] = 1, [\"\xc3\xa9\"] = 5 }\n");
}

static void over_lines(void **state)
{
    expect_put(20, 99, "{\"a\":1,\"b\":\"xxxxxxxxxxxxx\"}", "{\n  a = 1,\n  b = \"xxxxxxxxxxxxx\"\n}\n");
    expect_put(20, 99, "[1000,2000,3000,4000,5000]", "{\n  1000, 2000, 3000,\n  4000, 5000\n}\n");
    expect_put(20, 99, "[{\"a\":1},{\"b\":2},{\"c\":3}]", "{\n  { a = 1 },\n  { b = 2 },\n  { c = 3 }\n}\n");
    expect_put(20, 99, "{\"a\":{\"b\":[1,2,3],\"c\":\"xxxxxxxxx\"}}",
               "{\n  a = {\n    b = { 1, 2, 3 },\n    c = \"xxxxxxxxx\"\n  }\n}\n");
    /* a line that fits to its last column, and one that does not */
    expect_put(14, 99, "{\"a\":12345}", "{ a = 12345 }\n");
    expect_put(13, 99, "{\"a\":12345}", "{\n  a = 12345\n}\n");
    /* wide characters take two columns */
    expect_put(14, 99, "{\"a\":\"\xe6\xbc\xa2\xe5\xad\x97\"}", "{\n  a = \"\xe6\xbc\xa2\xe5\xad\x97\"\n}\n");
    expect_put(15, 99, "{\"a\":\"\xe6\xbc\xa2\xe5\xad\x97\"}", "{ a = \"\xe6\xbc\xa2\xe5\xad\x97\" }\n");
}

static void cut(void **state)
{
    struct page page = shown_page(10);
    size_t lines = 3;
    repl_value_put(&page, shown_mp("{\"a\":1,\"b\":2,\"c\":3,\"d\":4}"), &lines);
    assert_int_equal(lines, 0);
    assert_string_equal(shown_text(&page), "{\n  a = 1,\n  b = 2,\n");
    page = shown_page(10);
    lines = 100;
    repl_value_put(&page, shown_mp("{\"a\":1,\"b\":2,\"c\":3,\"d\":4}"), &lines);
    assert_int_equal(lines, 95);
}

static void deep(void **state)
{
    struct buf json = {0};
    for (int at = 0; at < 90; at++) buf_put_text(&json, "[");
    for (int at = 0; at < 90; at++) buf_put_text(&json, "]");
    buf_put_byte(&json, 0);
    struct page page = shown_page(40);
    size_t lines = 1000;
    repl_value_put(&page, shown_mp(json.data), &lines);
    const char *text = shown_text(&page);
    size_t opened = 0;
    for (; *text; text++) opened += *text == '{';
    assert_int_equal(opened, 90);
    buf_release(&json);
}

static void ascii(void **state)
{
    struct buf out = {0};
    repl_value_quote(&out, slice_of("caf\xc3\xa9 \xf0\x9f\x8e\x89"), true);
    buf_put_byte(&out, 0);
    assert_string_equal(out.data, "\"caf\\u{e9} \\u{1f389}\"");
    buf_clear(&out);
    repl_value_quote(&out, slice_of("\xff\xc3"), false); /* no UTF-8 */
    buf_put_byte(&out, 0);
    assert_string_equal(out.data, "\"\\xff\\xc3\"");
    buf_release(&out);
}

static void cells(void **state)
{
    static const char *const cases[][2] = {
        {"\"a \\\"b\\\" \\\\ c\"", "a \"b\" \\ c"},    {"\"a\\nb\"", "a\\nb"},   {"null", ""},
        {"{\"a\":[1,\"x\"]}", "{ a = { 1, \"x\" } }"}, {"\"\\u001b\"", "\\x1b"},
    };
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        struct buf out = {0};
        repl_value_cell(&out, shown_mp(cases[at][0]), false);
        buf_put_byte(&out, 0);
        assert_string_equal(out.data, cases[at][1]);
        buf_release(&out);
    }
    assert_int_equal(repl_value_columns(shown_mp("{\"a\":[1,\"x\"]}"), false, 100), 18);
    assert_true(repl_value_columns(shown_mp("[1,2,3,4,5,6,7,8,9]"), false, 5) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),    cmocka_unit_test(texts), cmocka_unit_test(keys),
        cmocka_unit_test(over_lines), cmocka_unit_test(cut),   cmocka_unit_test(deep),
        cmocka_unit_test(ascii),      cmocka_unit_test(cells),
    };
    return cmocka_run_group_tests(tests, shown_set_up, shown_tear_down);
}

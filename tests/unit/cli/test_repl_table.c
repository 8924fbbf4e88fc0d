/* Maps with the same fields as an aligned table: widths, numbers, what has no room, rows that come later. */
#include "support/shown.h"

#include "cli/repl_table.h"
#include "codec/mp.h"

static void add_all(struct repl_table *table, const char *json)
{
    struct mp_reader reader = mp_reader_of(shown_mp(json));
    struct mp_value whole, key;
    assert_int_equal(mp_read(&reader, &whole), 0);
    for (uint32_t at = 0; at < whole.count; at++) {
        struct slice row;
        key.text = SLICE_NONE;
        if (whole.kind == MP_MAP) assert_int_equal(mp_read(&reader, &key), 0);
        assert_int_equal(mp_take(&reader, &row), 0);
        repl_table_add(table, key.text, row);
    }
}

static void expect_table(size_t width, const char *json, const char *expected)
{
    struct repl_table *table = repl_table_new();
    struct page page = shown_page(width);
    size_t lines = 100;
    add_all(table, json);
    repl_table_put(table, &page, &lines);
    repl_table_end(table, &page);
    repl_table_free(table);
    assert_string_equal(shown_text(&page), expected);
}

static void alignment(void **state)
{
    expect_table(80, "[{\"name\":\"a\",\"n\":5},{\"name\":\"longer\",\"n\":1234}]",
                 "name       n\n"
                 "a          5\n"
                 "longer  1234\n");
    /* decimals are numbers too, and what is not there leaves a gap */
    expect_table(80, "[{\"t\":\"1.20\",\"x\":\"a\"},{\"x\":\"b\"},{\"t\":\"-100.00\",\"x\":null}]",
                 "      t  x\n"
                 "   1.20  a\n"
                 "         b\n"
                 "-100.00\n");
    expect_table(
        80, "[{\"a\":\"\xe6\xbc\xa2\xe5\xad\x97\",\"b\":\"x\"},{\"a\":\"y\",\"b\":\"\xf0\x9f\x8e\x89\"}]",
        "a     b\n"
        "\xe6\xbc\xa2\xe5\xad\x97  x\n"
        "y     \xf0\x9f\x8e\x89\n");
    expect_table(80, "[{\"a\":[1,2],\"b\":{\"c\":true}}]", "a         b\n{ 1, 2 }  { c = true }\n");
}

static void groups(void **state)
{
    expect_table(80, "{\"2026-01\":3,\"2026-02\":12}", "         value\n2026-01      3\n2026-02     12\n");
    expect_table(80, "{\"x\":{\"count\":1,\"sum\":\"2.50\"},\"y\":{\"count\":20,\"sum\":\"3.00\"}}",
                 "   count   sum\nx      1  2.50\ny     20  3.00\n");
}

static void order(void **state)
{
    expect_table(80, "[{\"a\":1,\"key\":\"k\",\"id\":\"i\"}]", "key  id  a\nk    i   1\n");
    expect_table(80,
                 "[{\"type\":\"T\",\"at\":\"2026-01\",\"position\":3,\"stream\":\"a/b/"
                 "1\",\"actor\":\"x\",\"data\":{\"n\":1}}]",
                 "position  at       stream  type  data\n"
                 "       3  2026-01  a/b/1   T     { n = 1 }\n");
}

static void documents(void **state)
{
    expect_table(80, "[{\"key\":\"k\",\"document\":{\"n\":1,\"due\":\"2026-01-05T10:00:00.000Z\"}}]",
                 "key  due                   n\n"
                 "k    2026-01-05T10:00:00Z  1\n");
    /* not where a field is a table, or called like a column that comes first */
    expect_table(80, "[{\"key\":\"k\",\"document\":{\"n\":[1]}}]", "key  document\nk    { n = { 1 } }\n");
    expect_table(80, "[{\"key\":\"k\",\"document\":{\"name\":1}}]", "key  document\nk    { name = 1 }\n");
    expect_table(80, "[{\"key\":\"k\",\"document\":7}]", "key  document\nk           7\n");
}

static void room(void **state)
{
    /* the widest gives way first, numbers never */
    expect_table(24, "[{\"a\":\"short\",\"b\":\"a very long text indeed\",\"n\":12345}]",
                 "a      b               n\n"
                 "short  a very lo\xe2\x80\xa6  12345\n");
    expect_table(16, "[{\"a\":\"aaaaaaaa\",\"b\":\"bbbbbbbb\",\"c\":\"cccccccc\"}]",
                 "a\n"
                 "aaaaaaaa\n"
                 "no room for the\n"
                 "columns b, c\n");
    /* tables before texts */
    expect_table(46, "[{\"a\":\"a text that is long\",\"b\":[1000000,2000000,3000000,4000000]}]",
                 "a                    b\n"
                 "a text that is long  { 1000000, 2000000, 3000\xe2\x80\xa6\n");
    /* not in the middle of a wide character */
    expect_table(8, "[{\"a\":\"\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\"}]",
                 "a\n\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe2\x80\xa6\n");
}

static void rows_that_come_later(void **state)
{
    struct repl_table *table = repl_table_new();
    struct page page = shown_page(80);
    size_t lines = 4;
    add_all(table, "[{\"a\":\"x\",\"n\":1}]");
    repl_table_put(table, &page, &lines);
    repl_table_put(table, &page, &lines); /* nothing new */
    add_all(table, "[{\"a\":\"longer\",\"n\":22222},{\"a\":\"y\",\"late\":1},{\"a\":\"z\"}]");
    repl_table_put(table, &page, &lines);
    assert_int_equal(lines, 0);
    repl_table_end(table, &page);
    assert_string_equal(shown_text(&page), "a  n\n"
                                           "x  1\n"
                                           "\xe2\x80\xa6  \xe2\x80\xa6\n"
                                           "y\n"
                                           "some later rows have more fields\n");
    repl_table_free(table);
}

static void what_suits(void **state)
{
    assert_true(repl_table_suits(shown_mp("[{\"a\":1},{\"a\":2}]")));
    assert_true(repl_table_suits(shown_mp("[{\"a\":1,\"b\":1},{\"a\":2}]")));
    assert_true(repl_table_suits(shown_mp("{\"x\":{\"a\":1},\"y\":{\"a\":2}}")));
    assert_false(repl_table_suits(shown_mp("[]")));
    assert_false(repl_table_suits(shown_mp("[1,2]")));
    assert_false(repl_table_suits(shown_mp("[{\"a\":1},2]")));
    assert_false(repl_table_suits(shown_mp("[{}]")));
    assert_false(repl_table_suits(shown_mp("[{\"a\":1},{\"b\":2},{\"c\":3}]"))); /* nothing in common */
    assert_false(repl_table_suits(shown_mp("7")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alignment),  cmocka_unit_test(groups),    cmocka_unit_test(order),
        cmocka_unit_test(room),       cmocka_unit_test(documents), cmocka_unit_test(rows_that_come_later),
        cmocka_unit_test(what_suits),
    };
    return cmocka_run_group_tests(tests, shown_set_up, shown_tear_down);
}

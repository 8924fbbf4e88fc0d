/* A trace as a tree; whatever is none is left to others. */
#include "support/shown.h"

#include <string.h>

#include "cli/repl_tree.h"

static void a_tree(void **state)
{
    struct page page = shown_page(80);
    size_t lines = 10;
    assert_true(repl_tree_put(&page,
                              shown_mp("{\"correlation\":\"x\",\"trace\":["
                                       "{\"depth\":0,\"type\":\"CreateBill\",\"stream\":\"a/b/"
                                       "1\",\"outcome\":\"done\",\"time\":\"2026\"},"
                                       "{\"depth\":1,\"type\":\"BillCreated\",\"stream\":\"a/b/"
                                       "1\",\"version\":1,\"position\":7,\"time\":\"2026\"},"
                                       "{\"depth\":2,\"type\":\"\\u001b[2J\",\"stream\":\"a/b/"
                                       "2\",\"outcome\":\"rejected\",\"reason\":\"full\","
                                       "\"message\":\"it is\",\"time\":\"2026\"}]}"),
                              &lines));
    assert_string_equal(shown_text(&page), "2026  CreateBill  a/b/1  done\n"
                                           "2026  └─ BillCreated  a/b/1  version 1, position 7\n"
                                           "2026     └─ \\x1b[2J  a/b/2  rejected: full, it is\n");
    assert_int_equal(lines, 7);
}

static void bounds(void **state)
{
    struct page page = shown_page(20);
    size_t lines = 1;
    assert_true(repl_tree_put(
        &page, shown_mp("{\"correlation\":\"x\",\"trace\":[{\"depth\":-5,\"type\":7},{\"depth\":1e300}]}"),
        &lines));
    assert_int_equal(lines, 0);
    const char *text = shown_text(&page);
    assert_true(page_columns(slice_make(text, strcspn(text, "\n"))) <= 20);
}

static void what_is_none(void **state)
{
    static const char *const none[] = {"7",
                                       "[]",
                                       "{}",
                                       "{\"correlation\":\"x\",\"trace\":[]}",
                                       "{\"correlation\":\"x\",\"trace\":7}",
                                       "{\"trace\":[{}],\"x\":1}",
                                       "{\"correlation\":\"x\",\"trace\":[{}],\"more\":1}"};
    for (size_t at = 0; at < sizeof none / sizeof *none; at++) {
        struct page page = shown_page(80);
        size_t lines = 10;
        assert_false(repl_tree_put(&page, shown_mp(none[at]), &lines));
        assert_string_equal(shown_text(&page), "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_tree), cmocka_unit_test(bounds),
                                       cmocka_unit_test(what_is_none)};
    return cmocka_run_group_tests(tests, shown_set_up, shown_tear_down);
}

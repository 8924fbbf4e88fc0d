/* Candidates: what they share, how they stand in columns, which are refused. */
#include "support/shown.h"

#include <stdio.h>

#include "cli/repl_line.h"

static struct repl_completion completion_of(const char *const *words)
{
    struct repl_completion completion = {0};
    for (; *words; words++) repl_completion_add(&completion, slice_of(*words));
    return completion;
}

static void expect_common(const char *const *words, const char *expected)
{
    struct repl_completion completion = completion_of(words);
    assert_true(slice_is(repl_completion_common(&completion), expected));
    buf_release(&completion.words);
}

static void what_they_share(void **state)
{
    expect_common((const char *const[]){"billing", NULL}, "billing");
    expect_common((const char *const[]){"billing", "bill", "bilge", NULL}, "bil");
    expect_common((const char *const[]){"a", "b", NULL}, "");
    expect_common((const char *const[]){NULL}, "");
    /* é and è share their first byte, which is no character */
    expect_common((const char *const[]){"caf\xc3\xa9", "caf\xc3\xa8", NULL}, "caf");
    expect_common((const char *const[]){"caf\xc3\xa9", NULL}, "caf\xc3\xa9");
}

static void what_is_refused(void **state)
{
    struct repl_completion completion = completion_of(
        (const char *const[]){"ok", "", "a\nb", "\033[2J", "\xff", "\xc2\x9b", "\xe2\x80\xae", NULL});
    assert_int_equal(completion.count, 1);
    buf_release(&completion.words);
}

static void expect_columns(const char *const *words, size_t width, bool more, const char *expected)
{
    struct repl_completion completion = completion_of(words);
    struct buf out = {0};
    completion.more = more;
    repl_completion_put(&completion, width, &out);
    buf_put_byte(&out, 0);
    assert_string_equal(out.data, expected);
    buf_release(&out);
    buf_release(&completion.words);
}

static void columns(void **state)
{
    const char *const words[] = {"a", "bb", "ccc", "d", "e", NULL};
    expect_columns(words, 80, false, "a    bb   ccc  d    e\n");
    expect_columns(words, 12, false, "a    d\nbb   e\nccc\n");
    expect_columns(words, 3, true, "a\nbb\nc\xe2\x80\xa6\nd\ne\nand more\n");
    expect_columns((const char *const[]){"\xe6\xbc\xa2\xe5\xad\x97", "x", NULL}, 80, false,
                   "\xe6\xbc\xa2\xe5\xad\x97  x\n");
}

static void very_many(void **state)
{
    struct repl_completion completion = {0};
    struct buf out = {0};
    for (int at = 0; at < 5000; at++) {
        char word[16];
        snprintf(word, sizeof word, "word%d", at);
        repl_completion_add(&completion, slice_of(word));
    }
    repl_completion_put(&completion, 20, &out);
    size_t lines = 0;
    for (size_t at = 0; at < out.size; at++) lines += out.data[at] == '\n';
    assert_int_equal(lines, 101); /* 200 of them in two columns, and that there are more */
    buf_release(&out);
    buf_release(&completion.words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_they_share),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(columns),
        cmocka_unit_test(very_many),
    };
    return cmocka_run_group_tests(tests, shown_set_up, shown_tear_down);
}

/* Unified diffs: small ones by heart, and random ones by doing what they say: the old text becomes the new
 * one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/diff.h"

static void expect(const char *before, const char *after, const char *expected)
{
    struct buf out = {0};
    struct diff_side old = {before ? "1/x" : NULL, slice_of(before)};
    struct diff_side new = {after ? "2/x" : NULL, slice_of(after)};
    diff_put(&old, &new, false, &out);
    buf_put_byte(&out, 0);
    assert_string_equal(out.data, expected);
    buf_release(&out);
}

static void test_small(void **state)
{
    expect("a\n", "a\n", "");
    expect("", "", "");
    expect("a\n", "b\n", "--- 1/x\n+++ 2/x\n@@ -1 +1 @@\n-a\n+b\n");
    expect("a\nb\nc\n", "a\nc\n", "--- 1/x\n+++ 2/x\n@@ -1,3 +1,2 @@\n a\n-b\n c\n");
    expect("a\n", "a\nb\n", "--- 1/x\n+++ 2/x\n@@ -1 +1,2 @@\n a\n+b\n");
    expect("", "a\n", "--- 1/x\n+++ 2/x\n@@ -0,0 +1 @@\n+a\n");
}

static void test_files_that_come_and_go(void **state)
{
    expect(NULL, "a\nb\n", "--- /dev/null\n+++ 2/x\n@@ -0,0 +1,2 @@\n+a\n+b\n");
    expect("a\n", NULL, "--- 1/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n");
    expect(NULL, "", "--- /dev/null\n+++ 2/x\n");
}

static void test_no_newline_at_the_end(void **state)
{
    expect("a\nb", "a\nb\n", "--- 1/x\n+++ 2/x\n@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n");
    expect("a\nb", "c\nb", "--- 1/x\n+++ 2/x\n@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n");
}

static void test_hunks(void **state)
{
    /* Six lines between two changes: one hunk; seven: two. */
    expect("A\n1\n2\n3\n4\n5\n6\nB\n", "a\n1\n2\n3\n4\n5\n6\nb\n",
           "--- 1/x\n+++ 2/x\n@@ -1,8 +1,8 @@\n-A\n+a\n 1\n 2\n 3\n 4\n 5\n 6\n-B\n+b\n");
    expect("A\n1\n2\n3\n4\n5\n6\n7\nB\n", "a\n1\n2\n3\n4\n5\n6\n7\nb\n",
           "--- 1/x\n+++ 2/x\n@@ -1,4 +1,4 @@\n-A\n+a\n 1\n 2\n 3\n"
           "@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-B\n+b\n");
}

static void test_colours(void **state)
{
    struct buf out = {0};
    struct diff_side old = {"1/x", slice_of("a\nb\n")}, new = {"2/x", slice_of("a\nc\n")};
    diff_put(&old, &new, true, &out);
    buf_put_byte(&out, 0);
    assert_non_null(strstr(out.data, "\033[31m-b\033[0m\n\033[32m+c\033[0m\n"));
    assert_non_null(strstr(out.data, "\n a\n"));
    buf_release(&out);
}

/* --- doing what a diff says --- */

static struct slice take_line(struct slice *text)
{
    const char *stop = text->size ? memchr(text->data, '\n', text->size) : NULL;
    size_t size = stop ? (size_t)(stop - text->data) + 1 : text->size;
    struct slice line = slice_make(text->data, size);
    *text = slice_make(text->data + size, text->size - size);
    return line;
}

/* Lines changed by the diff. */
static size_t apply(struct slice old, struct slice diff, struct buf *made)
{
    size_t line_number = 0, changes = 0;
    take_line(&diff);
    take_line(&diff);
    while (diff.size) {
        struct slice line = take_line(&diff);
        struct slice text = slice_make(line.data + 1, line.size - 1);
        if (line.data[0] == '@') {
            size_t from = (size_t)atol(line.data + 4);
            const char *space = strchr(line.data + 4, ' '), *comma = strchr(line.data + 4, ',');
            if (comma && comma < space && atol(comma + 1) == 0) from++;
            for (; line_number + 1 < from; line_number++) buf_put_slice(made, take_line(&old));
            continue;
        }
        if (diff.size && diff.data[0] == '\\') {
            take_line(&diff);
            text.size--;
        }
        changes += line.data[0] != ' ';
        if (line.data[0] != '+') {
            struct slice was = take_line(&old);
            line_number++;
            assert_true(slice_equal(was, text));
        }
        if (line.data[0] != '-') buf_put_slice(made, text);
    }
    buf_put_slice(made, old);
    return changes;
}

static void random_text(struct buf *out, int lines, int kinds)
{
    for (int at = 0; at < lines; at++) buf_format(out, "line %d\n", rand() % kinds);
    if (lines && rand() % 4 == 0) out->size--;
}

/* Some lines left out, some put in. Returns how many: the diff must not need more. */
static size_t edit(struct slice from, struct buf *to, int one_in)
{
    size_t edits = 0;
    while (from.size) {
        struct slice line = take_line(&from);
        bool ended = line.data[line.size - 1] == '\n';
        int what = rand() % one_in;
        if (what == 0 && ended) {
            buf_format(to, "new %d\n", rand() % 5);
            edits++;
        }
        if (what == 1)
            edits++;
        else
            buf_put_slice(to, line);
    }
    return edits;
}

static void check(struct slice before, struct slice after, size_t edits_max)
{
    struct buf out = {0}, made = {0};
    struct diff_side old = {"1/x", before}, new = {"2/x", after};
    diff_put(&old, &new, false, &out);
    *buf_room(&out, 1) = 0; /* for atol */
    if (slice_equal(before, after)) {
        assert_int_equal(out.size, 0);
    } else {
        size_t changes = apply(before, buf_slice(&out), &made);
        assert_true(slice_equal(buf_slice(&made), after));
        assert_true(changes <= edits_max);
    }
    buf_release(&out);
    buf_release(&made);
}

static void test_random(void **state)
{
    srand(11);
    for (int round = 0; round < 3000; round++) {
        struct buf before = {0}, after = {0};
        random_text(&before, rand() % 40, 1 + rand() % 30);
        size_t edits = edit(buf_slice(&before), &after, 2 + rand() % 20);
        check(buf_slice(&before), buf_slice(&after), edits);
        buf_clear(&after);
        random_text(&after, rand() % 40, 1 + rand() % 30);
        check(buf_slice(&before), buf_slice(&after), SIZE_MAX);
        buf_release(&before);
        buf_release(&after);
    }
}

/* More changes than the fewest are looked for. */
static void test_all_different(void **state)
{
    struct buf before = {0}, after = {0};
    buf_put_text(&before, "same\n");
    buf_put_text(&after, "same\n");
    for (int at = 0; at < 20000; at++) buf_format(&before, "old %d\n", at);
    for (int at = 0; at < 20000; at++) buf_format(&after, "new %d\n", at);
    buf_put_text(&before, "end\n");
    buf_put_text(&after, "end\n");
    check(buf_slice(&before), buf_slice(&after), 40000);
    buf_release(&before);
    buf_release(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_files_that_come_and_go),
        cmocka_unit_test(test_no_newline_at_the_end),
        cmocka_unit_test(test_hunks),
        cmocka_unit_test(test_colours),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_all_different),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

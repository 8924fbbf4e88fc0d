#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vm/tokens.h"

static struct hash hash_text(const char *text)
{
    struct tokens tokens;
    assert_true(tokens_read(slice_of(text), &tokens));
    struct hash hash = tokens_hash(&tokens, 0, tokens.count);
    tokens_release(&tokens);
    return hash;
}

static void assert_same(const char *a, const char *b)
{
    struct hash one = hash_text(a), two = hash_text(b);
    assert_true(hash_equal(&one, &two));
}

static void assert_differ(const char *a, const char *b)
{
    struct hash one = hash_text(a), two = hash_text(b);
    assert_false(hash_equal(&one, &two));
}

static void comments_and_layout_do_not_matter(void **state)
{
    assert_same("local x = 1", "local\n\tx=1 -- one");
    assert_same("local x = 1", "--[==[ a\n]] ]==] local x --[[]] = 1\r\n");
    assert_same("f()g()", "f() --\ng()");
    assert_same("a = 'x'", "a = \"x\"");
    assert_same("a = 'x\\n'", "a = [[\nx\n]]");
    assert_same("a = 'x\\n'", "a = [==[x\r\n]==]");
    assert_same("a = '\\65\\x42\\z  \n  \\u{43}'", "a = 'ABC'");
    assert_same("a = '\\u{e9}\\u{20ac}\\u{1F600}'", "a = '\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80'");
    assert_same("a = '\\\n'", "a = '\\n'");
    assert_same("contracts [[ A! ]]", "contracts [[\n A! -- one\n]]");
    assert_same("contracts([[ A! ]])", "contracts('A!')");
}

static void meaning_does(void **state)
{
    assert_differ("a = 1", "a = 2");
    assert_differ("a = 1", "b = 1");
    assert_differ("a = 'b'", "a = b");
    assert_differ("a = 'b'", "a = 'b '");
    assert_differ("a = '1'", "a = 1");
    assert_differ("a = ab", "a = a b");
    assert_differ("a = 'x' 'y'", "a = 'xy'");
    assert_differ("a = 3 - -1", "a = 3 -1");
    assert_differ("a .. b", "a . . b");
    assert_differ("a // b", "a / / b");
    assert_differ("contract [[ A! ]]", "contract [[ B! ]]");
    assert_differ("x.contracts [[ A! ]]", "x.contracts [[ B! ]]");
    assert_differ("and_ = 'and'", "and_ = and");
}

static void lines_are_counted(void **state)
{
    struct tokens tokens;
    assert_true(tokens_read(slice_of("a\r\nb\n\rc --[[\n\n]] d [[\n\nx]] e '\\\n' f 0x1p-3.5 1e+5 .5 3..2"),
                            &tokens));
    static const struct {
        const char *text;
        enum token_kind kind;
        int line, text_line;
    } expected[] = {
        {"a", TOKEN_NAME, 1, 1},      {"b", TOKEN_NAME, 2, 2},     {"c", TOKEN_NAME, 3, 3},
        {"d", TOKEN_NAME, 5, 5},      {"\nx", TOKEN_STRING, 5, 6}, {"e", TOKEN_NAME, 7, 7},
        {"\n", TOKEN_STRING, 7, 7},   {"f", TOKEN_NAME, 8, 8},     {"0x1p-3.5", TOKEN_NUMBER, 8, 8},
        {"1e+5", TOKEN_NUMBER, 8, 8}, {".5", TOKEN_NUMBER, 8, 8},  {"3..2", TOKEN_NUMBER, 8, 8}};
    assert_int_equal(tokens.count, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < tokens.count; i++) {
        assert_true(slice_is(tokens.items[i].text, expected[i].text));
        assert_int_equal(tokens.items[i].kind, expected[i].kind);
        assert_int_equal(tokens.items[i].line, expected[i].line);
        assert_int_equal(tokens.items[i].text_line, expected[i].text_line);
    }
    assert_int_equal(tokens.items[tokens.count].kind, TOKEN_END);
    tokens_release(&tokens);
}

static void what_does_not_lex_is_refused(void **state)
{
    static const char *const texts[] = {"'abc",  "\"a\nb\"", "[[ x ]", "--[==[ x ]=]",     "a = $",
                                        "'\\q'", "'\\300'",  "'\\x4'", "'\\u{110000000}'", "'\\u41'",
                                        "`",     "'\\"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct tokens tokens;
        assert_false(tokens_read(slice_of(texts[i]), &tokens));
        tokens_release(&tokens);
    }
}

/* Any bytes: no crash, no endless loop, an end. */
static void any_bytes_are_survived(void **state)
{
    uint64_t seed = 42;
    for (int round = 0; round < 20000; round++) {
        char text[40];
        size_t size = (size_t)(round % 40);
        for (size_t i = 0; i < size; i++) {
            static const char alphabet[] = "a1.[]=-'\"\\\n\rzxu{}e+ \x80\xff";
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            text[i] = alphabet[(seed >> 33) % (sizeof alphabet - 1)];
        }
        char *exact = malloc(size + 1);
        memcpy(exact, text, size);
        struct tokens tokens;
        tokens_read(slice_make(exact, size), &tokens);
        assert_int_equal(tokens.items[tokens.count].kind, TOKEN_END);
        tokens_hash(&tokens, 0, tokens.count);
        tokens_release(&tokens);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comments_and_layout_do_not_matter),
        cmocka_unit_test(meaning_does),
        cmocka_unit_test(lines_are_counted),
        cmocka_unit_test(what_does_not_lex_is_refused),
        cmocka_unit_test(any_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What no text may show: alone, cut, side by side and overlapping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "vm/secrets.h"

static void expect(const struct secrets *secrets, const char *text, const char *expected)
{
    struct buf out = {0};
    secrets_scrub(secrets, slice_of(text), &out);
    buf_put_byte(&out, 0);
    assert_string_equal(out.data, expected);
    buf_release(&out);
}

static struct secrets secrets_of(const char *one, const char *other)
{
    struct secrets secrets = {0};
    secrets_keep(&secrets, slice_of("A"), slice_of(one));
    secrets_keep(&secrets, slice_of("B"), slice_of(other));
    return secrets;
}

static void values_and_their_beginnings_are_hidden(void **state)
{
    (void)state;
    struct secrets secrets = secrets_of("0123456789abcdef", "pin");
    expect(&secrets, "a 0123456789abcdef.", "a [env.A].");
    expect(&secrets, "cut 012345678", "cut [env.A]");
    expect(&secrets, "too short 0123456", "too short 0123456");
    expect(&secrets, "pinpin 0123456789abcdefpin", "[env.B][env.B] [env.A][env.B]");
    expect(&secrets, "", "");
    secrets_release(&secrets);
}

/* No tail of the second one is left, nor of one that only begins inside, wherever it ends. */
static void overlapping_values_are_hidden_wholly(void **state)
{
    (void)state;
    struct secrets secrets = secrets_of("key-1234", "1234-tail");
    expect(&secrets, "key-1234-tail.", "[env.A][env.B].");
    expect(&secrets, "key-1234-tai", "[env.A][env.B]");
    expect(&secrets, "key-1234", "[env.A]");
    expect(&secrets, "1234-tailkey-1234-tail", "[env.B][env.A][env.B]");
    secrets_release(&secrets);
    secrets = secrets_of("abcabcab", "abcabcabcabcxyz"); /* one inside of the other, and of itself */
    expect(&secrets, "abcabcabcabcxyz", "[env.B]");
    expect(&secrets, "abcabcabcab", "[env.B]");
    expect(&secrets, "abcabcabcabcabcxyz-", "[env.B][env.B]-");
    secrets_release(&secrets);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_their_beginnings_are_hidden),
        cmocka_unit_test(overlapping_values_are_hidden_wholly),
    };
    return cmocka_run_group_tests_name("secrets", tests, NULL, NULL);
}

/* Paths out of a log name files below the folder and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/checkout.h"

static char folder[64];

static const char *below(const char *path)
{
    static char text[256];
    snprintf(text, sizeof text, "%s/%s", folder, path);
    return text;
}

static void tells_what_is_inside(void **state)
{
    static const char *const inside[] = {"a.lua", "a/b.lua", "a/b/c.lua", "..a/b.lua", "a/...lua", ".a"};
    static const char *const outside[] = {"",     "/",       "/a.lua", "..",       "../a.lua", "a/../b.lua",
                                          "a/..", "./a.lua", "a/./b",  "a//b.lua", "a/",       "."};
    for (size_t at = 0; at < sizeof inside / sizeof *inside; at++)
        assert_true(checkout_is_inside(slice_of(inside[at])));
    for (size_t at = 0; at < sizeof outside / sizeof *outside; at++)
        assert_false(checkout_is_inside(slice_of(outside[at])));
    assert_false(checkout_is_inside(slice_make("a\0b.lua", 7)));
    char part[300];
    memset(part, 'a', sizeof part);
    assert_false(checkout_is_inside(slice_make(part, sizeof part)));
}

/* One bad path, and nothing is written. */
static void writes_nothing_outside(void **state)
{
    static const char *const bad[] = {"../escaped.lua", "a/../../escaped.lua", "/tmp/escaped-lore.lua"};
    struct fault fault;
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        struct source_text texts[] = {{slice_of("a/good.lua"), slice_of("return 1")},
                                      {slice_of(bad[at]), slice_of("return 2")}};
        struct sources *scripts = sources_of_texts("deploy 1", texts, 2);
        assert_int_equal(checkout_write(scripts, below("out"), false, &fault), -1);
        assert_int_equal(fault.code, FAULT_CORRUPT);
        assert_non_null(strstr(fault.text, bad[at]));
        assert_int_equal(access(below("out"), F_OK), -1);
        assert_int_equal(access(below("escaped.lua"), F_OK), -1);
        sources_free(scripts);
    }
}

static void writes_what_was_deployed(void **state)
{
    struct fault fault;
    struct source_text texts[] = {{slice_of("hub.lua"), slice_of("return {}")},
                                  {slice_of("a/b.lua"), slice_of("return 1")},
                                  {slice_of("a/c/d.lua"), SLICE_NONE}};
    struct sources *scripts = sources_of_texts("deploy 1", texts, 3), *again;
    if (checkout_write(scripts, below("good"), false, &fault) < 0) fail_msg("%s", fault.text);
    if (sources_read(below("good"), &again, &fault) < 0) fail_msg("%s", fault.text);
    struct hash wanted = sources_digest(scripts), found = sources_digest(again);
    assert_true(hash_equal(&wanted, &found));
    assert_int_equal(checkout_write(scripts, below("good"), false, &fault), -1);
    assert_int_equal(fault.code, FAULT_CONFLICT);
    assert_int_equal(checkout_write(scripts, below("good"), true, &fault), 0);
    sources_free(scripts);
    sources_free(again);
}

static int begin(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/lore-checkout-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_is_inside),
        cmocka_unit_test(writes_nothing_outside),
        cmocka_unit_test(writes_what_was_deployed),
    };
    return cmocka_run_group_tests_name("checkout", tests, begin, end);
}

/* A folder that is written anew as a whole: whose folder may be replaced, and what is left when it cannot be.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/site.h"

static char folder[64];
static struct fault fault;

static const char *below(const char *path)
{
    static char text[256];
    snprintf(text, sizeof text, "%s/%s", folder, path);
    return text;
}

static int start(void **state)
{
    strcpy(folder, "/tmp/lore_site_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int stop(void **state)
{
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static bool is_there(const char *path)
{
    return access(below(path), F_OK) == 0;
}

/* How many names the folder holds. */
static int names(void)
{
    char command[100];
    snprintf(command, sizeof command, "exit $(ls -A %s | wc -l)", folder);
    return system(command) >> 8;
}

static int make(const char *file, bool force)
{
    struct site site;
    if (site_begin(&site, below("out/"), force, &fault) < 0) return -1;
    assert_int_equal(site_put(&site, slice_of(file), slice_of("text"), &fault), 0);
    return site_end(&site, &fault);
}

static void it_is_replaced_as_a_whole(void **state)
{
    assert_int_equal(make("a/b/c.html", false), 0);
    assert_true(is_there("out/a/b/c.html") && is_there("out/" SITE_MARK));
    assert_int_equal(make("d.html", false), 0);
    assert_true(is_there("out/d.html") && !is_there("out/a"));
    assert_int_equal(names(), 1);
}

static void what_others_made_is_kept(void **state)
{
    assert_int_equal(make("d.html", false), 0);
    unlink(below("out/" SITE_MARK));
    assert_int_equal(make("e.html", false), -1);
    assert_int_equal(fault.code, FAULT_CONFLICT);
    assert_int_equal(make("e.html", true), 0);
    assert_true(is_there("out/e.html") && is_there("out.before/d.html"));
    unlink(below("out/" SITE_MARK));
    assert_int_equal(make("f.html", true), -1); /* out.before is taken */
    assert_true(is_there("out/e.html") && is_there("out.before/d.html"));
    assert_int_equal(names(), 2);
}

static void it_can_be_given_up(void **state)
{
    struct site site;
    assert_int_equal(make("d.html", false), 0);
    assert_int_equal(site_begin(&site, below("out"), false, &fault), 0);
    assert_int_equal(site_put(&site, slice_of("x.html"), slice_of(""), &fault), 0);
    assert_int_equal(site_put(&site, slice_of("x.html"), slice_of(""), &fault), -1); /* twice */
    assert_int_equal(site_put(&site, slice_of("x.html/y"), slice_of(""), &fault), -1);
    site_abort(&site);
    assert_true(is_there("out/d.html") && !is_there("out/x.html"));
    assert_int_equal(names(), 1);
    assert_int_equal(site_begin(&site, below("no/such"), false, &fault), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_replaced_as_a_whole, start, stop),
        cmocka_unit_test_setup_teardown(what_others_made_is_kept, start, stop),
        cmocka_unit_test_setup_teardown(it_can_be_given_up, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

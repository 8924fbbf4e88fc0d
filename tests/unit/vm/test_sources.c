#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "vm/sources.h"

static char dir[64];

static int make_dir(void **state)
{
    strcpy(dir, "/tmp/lore_sources_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char command[200];
    snprintf(command, sizeof command, "chmod -R u+rwx %s; rm -rf %s", dir, dir);
    return system(command);
}

static const char *in_dir(const char *path)
{
    static char full[300];
    snprintf(full, sizeof full, "%s/%s", dir, path);
    return full;
}

static void put(const char *path, const char *text)
{
    char *full = strdup(in_dir(path));
    for (char *at = full + strlen(dir) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = 0;
        mkdir(full, 0777);
        *at = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    free(full);
}

static void files_are_found_and_told_apart(void **state)
{
    put("billing/bill.lua", "return 1");
    put("billing/import/rows.lua", "return 2");
    put("pricing.lua", "\xef\xbb\xbfreturn 3");
    put("hub.lua", "return {}");
    put("billing/notes.txt", "no script");
    put("billing/.hidden.lua", "no");
    put(".git/x.lua", "no");
    put("Docs/readme.md", "a folder without scripts may be called anything");
    struct sources *sources;
    struct fault fault;
    assert_int_equal(sources_read(dir, &sources, &fault), 0);
    assert_int_equal(sources_count(sources), 4);
    const struct source *source = sources_at(sources, 0);
    assert_string_equal(source->path.data, "billing/bill.lua");
    assert_int_equal(source->kind, SOURCE_DECLARATION);
    assert_true(slice_is(source->context, "billing"));
    assert_true(slice_is(source->text, "return 1"));
    source = sources_find(sources, slice_of("billing/import/rows.lua"));
    assert_int_equal(source->kind, SOURCE_ON_DEMAND);
    source = sources_find(sources, slice_of("pricing.lua"));
    assert_int_equal(source->kind, SOURCE_SHARED);
    assert_int_equal(source->context.size, 0);
    assert_true(slice_is(source->text, "return 3"));
    assert_null(sources_find(sources, slice_of("billing/none.lua")));
    assert_string_equal(sources_dir(sources), dir);
    struct hash before = sources_digest(sources);
    sources_free(sources);
    put("pricing.lua", "return 4");
    assert_int_equal(sources_read(dir, &sources, &fault), 0);
    struct hash after = sources_digest(sources);
    assert_false(hash_equal(&before, &after));
    sources_free(sources);
}

static void links_may_not_leave(void **state)
{
    put("a/real.lua", "return 1");
    assert_int_equal(symlink("real.lua", in_dir("a/alias.lua")), 0);
    assert_int_equal(symlink("/etc", in_dir("etc")), 0);
    assert_int_equal(symlink("/etc/hostname", in_dir("a/out.lua")), 0);
    assert_int_equal(symlink("nowhere", in_dir("a/gone.lua")), 0);
    struct sources *sources;
    struct fault fault;
    assert_int_equal(sources_read(dir, &sources, &fault), 0);
    assert_int_equal(sources_count(sources), 2);
    sources_free(sources);
    assert_int_equal(symlink("..", in_dir("a/loop")), 0);
    assert_int_equal(sources_read(dir, &sources, &fault), -1);
    assert_int_equal(fault.code, FAULT_TOO_LARGE);
    assert_non_null(strstr(fault.text, "a link to its own parent"));
}

static void expect_fault(const char *path, enum fault_code code, const char *words)
{
    struct sources *sources;
    struct fault fault = {0};
    assert_int_equal(sources_read(path, &sources, &fault), -1);
    assert_int_equal(fault.code, code);
    if (strstr(fault.text, words) == NULL) print_error("%s\n", fault.text);
    assert_non_null(strstr(fault.text, words));
}

static void what_is_wrong_is_said(void **state)
{
    expect_fault(in_dir("none"), FAULT_NOT_FOUND,
                 "none: no such folder: name yours with --scripts DIR, or begin one with: lore new");
    put("x.lua", "");
    expect_fault(in_dir("x.lua"), FAULT_NOT_FOUND, "x.lua: is no folder");
    put("events/a.lua", "");
    expect_fault(dir, FAULT_MALFORMED, "/events: the name is reserved: rename the folder");
    unlink(in_dir("events/a.lua"));
    put("Billing/a.lua", "");
    expect_fault(dir, FAULT_MALFORMED, "/Billing: a context's name is small letters, digits and _");
    unlink(in_dir("Billing/a.lua"));
    put("a/big.lua", "");
    assert_int_equal(truncate(in_dir("a/big.lua"), 5 << 20), 0);
    expect_fault(dir, FAULT_TOO_LARGE, "/a/big.lua: larger than 4 MiB");
}

static void an_unreadable_file_is_named(void **state)
{
    put("a/secret.lua", "return 1");
    assert_int_equal(chmod(in_dir("a/secret.lua"), 0), 0);
    if (access(in_dir("a/secret.lua"), R_OK) == 0) {
        print_message("# root may read everything: not tested\n");
        skip();
    }
    expect_fault(dir, FAULT_PERMISSION,
                 "/a/secret.lua: may not be read: make it readable for the user that runs lore");
}

static void memory_is_as_good_as_disk(void **state)
{
    static const char *const pairs[] = {"b/z.lua", "z", "a.lua", "a", "b/sub/x.lua", "'x", NULL};
    struct sources *sources = sources_of(pairs);
    assert_string_equal(sources_at(sources, 0)->path.data, "a.lua");
    assert_string_equal(sources_at(sources, 1)->path.data, "b/sub/x.lua");
    assert_int_equal(sources_at(sources, 1)->kind, SOURCE_ON_DEMAND);
    struct hash text = hash_of(slice_of("'x")); /* does not lex: the text counts */
    assert_true(hash_equal(&sources_at(sources, 1)->tokens, &text));
    assert_string_equal(sources_dir(sources), "scripts");
    sources_free(sources);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_are_found_and_told_apart, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(links_may_not_leave, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_said, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(an_unreadable_file_is_named, make_dir, remove_dir),
        cmocka_unit_test(memory_is_as_good_as_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

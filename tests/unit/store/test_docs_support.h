/* What the tests of docs, snaps and pages share: a directory of their own, a generator with a seed, files as
 * bytes. */
#ifndef LORE_TESTS_DOCS_SUPPORT_H
#define LORE_TESTS_DOCS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fault.h"

static char test_directory[256];
static uint64_t test_random_state = 88172645463325252ull;

__attribute__((unused)) static uint64_t test_random(void)
{
    test_random_state ^= test_random_state << 13;
    test_random_state ^= test_random_state >> 7;
    test_random_state ^= test_random_state << 17;
    return test_random_state;
}
__attribute__((unused)) static size_t test_below(size_t limit)
{
    return (size_t)(test_random() % limit);
}

static void test_directory_make(void)
{
    const char *seed = getenv("SEED");
    if (seed) test_random_state = strtoull(seed, NULL, 10) | 1;
    snprintf(test_directory, sizeof test_directory, "%s/lore-test-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(test_directory));
}
static void test_directory_drop(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", test_directory);
    assert_int_equal(system(command), 0);
}
/* "<directory>/<name>", valid until eight calls later. */
static const char *test_path(const char *name)
{
    static char paths[8][400];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_directory, name);
    return path;
}

__attribute__((unused)) static struct buf test_file_read(const char *path)
{
    struct buf bytes = {0};
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t got;
    while ((got = fread(buf_room(&bytes, 65536), 1, 65536, file)) > 0) bytes.size += got;
    fclose(file);
    return bytes;
}
__attribute__((unused)) static void test_file_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

#define assert_done(call)                                                                                    \
    do {                                                                                                     \
        if ((call) != 0) fail_msg("%s: %s", #call, fault.text);                                              \
    } while (0)

#endif

/* disk_support.h: what the tests of a log on disk share: opening it, what verify says, a file's bytes and a
 * flipped one. */
#ifndef TESTS_UNIT_STORE_DISK_SUPPORT_H
#define TESTS_UNIT_STORE_DISK_SUPPORT_H

#include <fcntl.h>
#include <sys/stat.h>

#include "contract/engine_cases.h"
#include "store/verify.h"

static inline int disk_open_with(const struct engine_options *options, struct engine **engine,
                                 struct fault *fault)
{
    *fault = (struct fault){0};
    return engine_open_lmdb(options, engine, fault);
}

static inline struct engine *disk_open(const char *path)
{
    struct engine *engine;
    struct fault fault;
    struct engine_options options = {.path = path};
    if (disk_open_with(&options, &engine, &fault) < 0) fail_msg("open %s: %s", path, fault.text);
    return engine;
}

static inline struct verify_report disk_verify(const char *path)
{
    struct verify_report report;
    struct fault fault = {0};
    if (verify_directory(path, NULL, NULL, &report, &fault) < 0) fail_msg("verify: %s", fault.text);
    return report;
}

static inline void disk_assert_verified(const char *path)
{
    struct verify_report report = disk_verify(path);
    if (!report.ok) fail_msg("verify: %s", report.damage);
}

static inline void disk_flip(const char *path, const char *name, off_t at, uint8_t bits)
{
    char file[256];
    uint8_t byte;
    snprintf(file, sizeof file, "%s/%s", path, name);
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= bits;
    assert_true(pwrite(fd, &byte, 1, at) == 1);
    close(fd);
}

static inline off_t disk_size(const char *path, const char *name)
{
    char file[256];
    struct stat status;
    snprintf(file, sizeof file, "%s/%s", path, name);
    assert_int_equal(stat(file, &status), 0);
    return status.st_size;
}

/* The caller frees it. */
static inline char *disk_read(const char *path, const char *name, size_t *size)
{
    char file[256];
    *size = (size_t)disk_size(path, name);
    snprintf(file, sizeof file, "%s/%s", path, name);
    char *bytes = malloc(*size);
    int fd = open(file, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, *size), *size);
    close(fd);
    return bytes;
}

#endif

#include "store/index_mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/faultpoint.h"
#include "base/hash.h"

enum { BOOT_SIZE = 36, LINE_MAX_SIZE = 160 };

/* Empty where the machine does not tell: then every crash counts as one of the machine. */
static void read_boot(char boot[BOOT_SIZE + 1])
{
    memset(boot, 0, BOOT_SIZE + 1);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (read(fd, boot, BOOT_SIZE) != BOOT_SIZE) boot[0] = 0;
    close(fd);
}

static int format_line(char line[LINE_MAX_SIZE], const char *log_id, const char *boot, const char *state)
{
    int size = snprintf(line, LINE_MAX_SIZE - 12, "%s %s %s", log_id, boot[0] ? boot : "-", state);
    uint32_t crc = hash_crc32(slice_make(line, (size_t)size));
    return size + snprintf(line + size, 12, " %08x\n", crc);
}

enum index_mark index_mark_read(const char *path, const char *log_id)
{
    char line[LINE_MAX_SIZE] = {0}, again[LINE_MAX_SIZE], id[64], boot[64], state[16], now[BOOT_SIZE + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? MARK_NONE : MARK_DAMAGED;
    ssize_t size = read(fd, line, sizeof line - 1);
    close(fd);
    if (size <= 0 || sscanf(line, "%63s %63s %15s", id, boot, state) != 3) return MARK_DAMAGED;
    bool clean = strcmp(state, "clean") == 0;
    if (!clean && strcmp(state, "dirty") != 0) return MARK_DAMAGED;
    int expected = format_line(again, id, boot, state);
    if (expected != size || memcmp(line, again, (size_t)size) != 0) return MARK_DAMAGED;
    if (strcmp(id, log_id) != 0) return MARK_OTHER_LOG;
    if (clean) return MARK_CLEAN;
    read_boot(now);
    return now[0] && strcmp(boot, now) == 0 ? MARK_DIRTY : MARK_TORN;
}

int index_mark_write(const char *path, const char *log_id, bool clean, struct fault *fault)
{
    char line[LINE_MAX_SIZE], boot[BOOT_SIZE + 1];
    read_boot(boot);
    int size = format_line(line, log_id, boot, clean ? "clean" : "dirty");
    /* Over the old line, never through an empty file: a kill or a full disk leaves one of the two. */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return fault_errno(fault, errno, "%s", path);
    int error = fault_point(POINT_INDEX_MARK);
    ssize_t written = error > 0 ? -1 : pwrite(fd, line, (size_t)size - (error < 0), 0);
    error = 0;
    if (written != size)
        error = written < 0 ? errno : ENOSPC;
    else if (ftruncate(fd, size) < 0 || fsync(fd) < 0)
        error = errno;
    close(fd);
    return error ? fault_errno(fault, error, "%s", path) : 0;
}

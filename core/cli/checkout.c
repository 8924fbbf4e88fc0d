/* Paths come from a log, which somebody else may have written, and dir may hold links: so each step of a path
 * is opened from the folder before it, and no link is followed. */
#include "cli/checkout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_part(struct slice part)
{
    return part.size > 0 && part.size <= NAME_MAX && !slice_is(part, ".") && !slice_is(part, "..") &&
           !memchr(part.data, 0, part.size);
}

/* The part before the next slash; *path becomes what is behind it. */
static struct slice take_part(struct slice *path)
{
    const char *slash = memchr(path->data, '/', path->size);
    size_t size = slash ? (size_t)(slash - path->data) : path->size;
    struct slice part = slice_make(path->data, size);
    size_t taken = slash ? size + 1 : size;
    *path = slice_make(path->data + taken, path->size - taken);
    return part;
}

bool checkout_is_inside(struct slice path)
{
    if (path.size == 0 || path.data[path.size - 1] == '/') return false;
    while (path.size)
        if (!is_part(take_part(&path))) return false;
    return true;
}

static int is_empty(int folder, bool *empty)
{
    int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = again < 0 ? NULL : fdopendir(again);
    if (!entries) return -1;
    *empty = true;
    for (struct dirent *entry; (entry = readdir(entries));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) *empty = false;
    closedir(entries);
    return 0;
}

static int write_all(int fd, struct slice text)
{
    while (text.size) {
        ssize_t size = write(fd, text.data, text.size);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return -1;
        text = slice_make(text.data + size, text.size - (size_t)size);
    }
    return 0;
}

/* Beside its place, then in its place. */
static int write_file(int folder, const char *name, struct slice text)
{
    static const char temporary[] = ".lore-checkout";
    if (unlinkat(folder, temporary, 0) < 0 && errno != ENOENT) return -1;
    int fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) return -1;
    int done = write_all(fd, text), error = errno;
    if (close(fd) < 0 && done == 0) {
        done = -1;
        error = errno;
    }
    if (done == 0 && renameat(folder, temporary, folder, name) == 0) return 0;
    if (done == 0) error = errno;
    unlinkat(folder, temporary, 0);
    errno = error;
    return -1;
}

/* Opens the folders of the path one below the other, then writes the file. Takes folder. */
static int write_below(int folder, struct slice path, struct slice text)
{
    char name[NAME_MAX + 1];
    for (;;) {
        struct slice part = take_part(&path);
        memcpy(name, part.data, part.size);
        name[part.size] = 0;
        if (path.size == 0) break;
        if (mkdirat(folder, name, 0777) < 0 && errno != EEXIST) goto failed;
        int next = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0) goto failed;
        close(folder);
        folder = next;
    }
    if (write_file(folder, name, text) < 0) goto failed;
    close(folder);
    return 0;
failed:;
    int error = errno;
    close(folder);
    errno = error;
    return -1;
}

static int write_scripts(const struct sources *scripts, int folder, const char *dir, struct fault *fault)
{
    for (size_t at = 0; at < sources_count(scripts); at++) {
        const struct source *script = sources_at(scripts, at);
        int from = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (from < 0 || write_below(from, script->path, script->text) < 0) {
            if (errno == ELOOP || errno == ENOTDIR)
                return fault_set(fault, FAULT_PERMISSION,
                                 "%s/%.*s: one of its folders is a link or a file, which is not followed",
                                 dir, SLICE_ARGS(script->path));
            return fault_errno(fault, errno, "%s/%.*s", dir, SLICE_ARGS(script->path));
        }
    }
    return 0;
}

int checkout_write(const struct sources *scripts, const char *dir, bool force, struct fault *fault)
{
    for (size_t at = 0; at < sources_count(scripts); at++)
        if (!checkout_is_inside(sources_at(scripts, at)->path))
            return fault_set(fault, FAULT_CORRUPT, "the deploy names a script %.*s, which is outside of %s",
                             SLICE_ARGS(sources_at(scripts, at)->path), dir);
    if (mkdir(dir, 0777) < 0 && errno != EEXIST) return fault_errno(fault, errno, "%s", dir);
    int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return fault_errno(fault, errno, "%s", dir);
    bool empty = true;
    int done = is_empty(folder, &empty);
    if (done < 0)
        fault_errno(fault, errno, "%s", dir);
    else if (!empty && !force)
        done =
            fault_set(fault, FAULT_CONFLICT,
                      "%s is not empty: name a folder that is, or write over its scripts with --force", dir);
    if (done == 0) done = write_scripts(scripts, folder, dir, fault);
    close(folder);
    return done;
}

#include "cli/site.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SITE_DEPTH = 32 };

static int site_remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    return remove(path);
}

static void site_remove(const char *dir)
{
    nftw(dir, site_remove_one, SITE_DEPTH, FTW_DEPTH | FTW_PHYS);
}

/* -1: it cannot be read. */
static int site_is_empty(const char *dir, bool *empty)
{
    DIR *entries = opendir(dir);
    if (!entries) return -1;
    *empty = true;
    for (struct dirent *entry; (entry = readdir(entries));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) *empty = false;
    closedir(entries);
    return 0;
}

/* Whose folder it is that stands there. */
static int site_look(struct site *site, bool force, struct fault *fault)
{
    const char *dir = site->path.data;
    struct buf mark = {0};
    bool empty = true;
    buf_format(&mark, "%s/%s%c", dir, SITE_MARK, 0);
    bool ours = access(mark.data, F_OK) == 0;
    buf_release(&mark);
    if (ours) return 0;
    if (site_is_empty(dir, &empty) < 0) return errno == ENOENT ? 0 : fault_errno(fault, errno, "%s", dir);
    if (empty) return 0;
    site->foreign = true;
    if (force) return 0;
    return fault_set(
        fault, FAULT_CONFLICT,
        "%s is there and was not made by lore docs: name another folder with --out, or replace it with "
        "--force, which keeps it as %s.before",
        dir, dir);
}

/* The name without slashes at the end, and through links: a link stays, what it leads to is replaced. */
static void site_take_path(struct site *site, const char *dir)
{
    char *real = realpath(dir, NULL);
    size_t size = strlen(dir);
    while (size > 1 && dir[size - 1] == '/') size--;
    if (real)
        buf_put_text(&site->path, real);
    else
        buf_put(&site->path, dir, size);
    buf_put_byte(&site->path, 0);
    free(real);
}

static void site_release(struct site *site)
{
    buf_release(&site->path);
    buf_release(&site->made);
}

int site_begin(struct site *site, const char *dir, bool force, struct fault *fault)
{
    *site = (struct site){0};
    site_take_path(site, dir);
    int done = site_look(site, force, fault);
    if (done == 0) {
        buf_format(&site->made, "%s.new-XXXXXX%c", site->path.data, 0);
        mode_t mask = umask(0);
        umask(mask);
        if (!mkdtemp(site->made.data) || chmod(site->made.data, 0777 & ~mask) < 0)
            done = fault_errno(fault, errno, "a folder beside %s cannot be made", site->path.data);
    }
    if (done < 0) site_release(site);
    return done;
}

/* Makes the folders on the way to a file. */
static int site_make_folders(char *path, size_t from)
{
    for (char *slash = path + from; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        int done = mkdir(path, 0777);
        *slash = '/';
        if (done < 0 && errno != EEXIST) return -1;
    }
    return 0;
}

int site_put(struct site *site, struct slice path, struct slice text, struct fault *fault)
{
    struct buf full = {0};
    buf_format(&full, "%s/%.*s%c", site->made.data, SLICE_ARGS(path), 0);
    FILE *file = NULL;
    int done = site_make_folders(full.data, strlen(site->made.data) + 1);
    if (done == 0 && !(file = fopen(full.data, "wxe"))) done = -1;
    if (file && fwrite(text.data, 1, text.size, file) != text.size) done = -1;
    int error = errno;
    if (file && fclose(file) != 0 && done == 0) {
        error = errno;
        done = -1;
    }
    if (done < 0) fault_errno(fault, error, "%s", full.data);
    buf_release(&full);
    site->files++;
    return done;
}

/* What was there goes to before (empty: away), the new folder into its place. */
static int site_swap(const char *made, const char *path, const char *before, struct fault *fault)
{
    if (renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EEXIST) return fault_errno(fault, errno, "%s", path);
    if (*before && access(before, F_OK) == 0)
        return fault_set(fault, FAULT_CONFLICT, "%s is there already: move it away first", before);
    if (renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_EXCHANGE) < 0)
        return fault_errno(fault, errno, "%s cannot be replaced", path);
    if (!*before)
        site_remove(made);
    else if (rename(made, before) < 0) {
        int error = errno;
        renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_EXCHANGE);
        return fault_errno(fault, error, "%s cannot be kept as %s", path, before);
    }
    return 0;
}

int site_end(struct site *site, struct fault *fault)
{
    static const char mark[] = "This folder was made by lore docs, which replaces it as a whole.\n";
    int done = site_put(site, slice_of(SITE_MARK), slice_of(mark), fault);
    if (done < 0) {
        site_abort(site);
        return -1;
    }
    struct buf before = {0};
    if (site->foreign) buf_format(&before, "%s.before", site->path.data);
    buf_put_byte(&before, 0);
    done = site_swap(site->made.data, site->path.data, before.data, fault);
    buf_release(&before);
    if (done < 0) {
        site_abort(site);
        return -1;
    }
    site_release(site);
    return 0;
}

void site_abort(struct site *site)
{
    site_remove(site->made.data);
    site_release(site);
}

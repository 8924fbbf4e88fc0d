#include "store/environment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "base/say.h"

enum {
    READERS_MAX = 1024, /* slots in lock.mdb: reading threads of all processes */
    IDLE_MAX = 32,      /* ended read transactions kept for reuse */
    GROW_PATIENCE_MS = 100,
    MARK_SIZE_MAX = 64,
    PATH_SIZE_MAX = 4096
};

static const uint64_t map_size_default = 64ULL << 30; /* address space, not disk */
static const uint64_t map_size_least = 1ULL << 20;
static const char mark_clean[] = "clean";

struct environment {
    char *path;
    MDB_env *mdb; /* NULL: dirty */
    bool read_only;
    pthread_mutex_t lock;   /* guards everything below */
    pthread_cond_t changed; /* open became 0, or the growing ended */
    unsigned int open;      /* transactions in use; the map moves only at 0 */
    bool growing;
    unsigned int grown;
    uint64_t map_size;
    MDB_txn *idle[IDLE_MAX]; /* reset read transactions */
    size_t idle_count;
};

const char *environment_path(const struct environment *environment)
{
    return environment->path;
}
MDB_env *environment_mdb(const struct environment *environment)
{
    return environment->mdb;
}
unsigned int environment_grown(const struct environment *environment)
{
    return environment->grown;
}

static void path_join(char to[PATH_SIZE_MAX], const char *directory, const char *name)
{
    snprintf(to, PATH_SIZE_MAX, "%s/%s", directory, name);
}

static bool disk_is_full(const char *path)
{
    struct statvfs status;
    return statvfs(path, &status) == 0 && (uint64_t)status.f_bavail * status.f_frsize < map_size_least;
}

int environment_fault(const struct environment *environment, int code, const char *doing, struct fault *fault)
{
    const char *path = environment->path;
    switch (code) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_NOTFOUND:
    case MDB_CURSOR_FULL:
        return fault_set(fault, FAULT_CORRUPT, "%s: %s: %s", path, doing, mdb_strerror(code));
    case MDB_PANIC: return fault_set(fault, FAULT_DISK, "%s: %s: a write failed before", path, doing);
    case MDB_MAP_FULL:
    case ENOMEM: return fault_set(fault, FAULT_DISK, "%s: %s: no address space left", path, doing);
    case MDB_READERS_FULL: return fault_set(fault, FAULT_BUSY, "%s: %s: too many readers", path, doing);
    case MDB_TXN_FULL: return fault_set(fault, FAULT_TOO_LARGE, "%s: %s: too much in one write", path, doing);
    case EIO: /* also what LMDB makes of a write that was cut short by a full disk */
        if (disk_is_full(path)) code = ENOSPC;
        break;
    default: break;
    }
    if (code < 0) return fault_set(fault, FAULT_INTERNAL, "%s: %s: %s", path, doing, mdb_strerror(code));
    return fault_errno(fault, code, "%s: %s", path, doing);
}

/* --- the mark: which boot wrote here last --- */

/* The text of a small file without white space at its end; "" if it cannot be read. */
static void text_read(const char *path, char text[MARK_SIZE_MAX])
{
    text[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t size = read(fd, text, MARK_SIZE_MAX - 1);
    close(fd);
    text[size > 0 ? size : 0] = 0;
    text[strcspn(text, "\n")] = 0;
}

static int directory_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = fsync(fd) < 0 ? errno : 0;
    close(fd);
    return error;
}

/* Replaces the mark durably; returns an errno. */
static int mark_write(const char *directory, const char *text)
{
    char path[PATH_SIZE_MAX], new_path[PATH_SIZE_MAX];
    path_join(path, directory, "boot");
    path_join(new_path, directory, "boot.new");
    int fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return errno;
    size_t size = strlen(text);
    int error = 0;
    ssize_t written = write(fd, text, size);
    if (written < 0)
        error = errno;
    else if ((size_t)written != size)
        error = ENOSPC;
    if (!error && fsync(fd) < 0) error = errno;
    if (close(fd) < 0 && !error) error = errno;
    if (!error && rename(new_path, path) < 0) error = errno;
    if (error) {
        unlink(new_path);
        return error;
    }
    return directory_sync(directory);
}

static bool is_dirty(const char *directory)
{
    char path[PATH_SIZE_MAX], mark[MARK_SIZE_MAX], boot[MARK_SIZE_MAX];
    path_join(path, directory, "data.mdb");
    if (access(path, F_OK) < 0) return false;
    path_join(path, directory, "boot");
    text_read(path, mark);
    if (strcmp(mark, mark_clean) == 0) return false;
    text_read("/proc/sys/kernel/random/boot_id", boot);
    return boot[0] == 0 || strcmp(mark, boot) != 0;
}

/* Says, before the first byte is written, that this boot writes here. */
static int mark_begin(const struct environment *environment, struct fault *fault)
{
    char path[PATH_SIZE_MAX], mark[MARK_SIZE_MAX], boot[MARK_SIZE_MAX];
    text_read("/proc/sys/kernel/random/boot_id", boot);
    path_join(path, environment->path, "boot");
    text_read(path, mark);
    if (boot[0] != 0 && strcmp(mark, boot) == 0) return 0;
    int error = mark_write(environment->path, boot);
    if (error) return fault_errno(fault, error, "%s: cannot write the boot mark", environment->path);
    return 0;
}

/* --- open and close --- */

static int mdb_start(struct environment *environment, const struct environment_options *options,
                     struct fault *fault)
{
    unsigned int flags = MDB_NOTLS | (options->read_only ? MDB_RDONLY : MDB_NOSYNC);
    uint64_t map_size = options->map_size ? options->map_size : map_size_default;
    for (;;) {
        int code = mdb_env_create(&environment->mdb);
        if (code) return environment_fault(environment, code, "cannot open", fault);
        mdb_env_set_mapsize(environment->mdb, map_size);
        mdb_env_set_maxdbs(environment->mdb, options->databases_max);
        mdb_env_set_maxreaders(environment->mdb, READERS_MAX);
        code = mdb_env_open(environment->mdb, environment->path, flags, 0644);
        if (code == 0) break;
        mdb_env_close(environment->mdb);
        environment->mdb = NULL;
        /* Address space may be limited (ulimit -v): do with less. */
        if (code != ENOMEM || map_size / 2 < map_size_least)
            return environment_fault(environment, code, "cannot open", fault);
        map_size /= 2;
    }
    MDB_envinfo info;
    mdb_env_info(environment->mdb, &info);
    environment->map_size = info.me_mapsize;
    int dead = 0;
    if (!options->read_only) mdb_reader_check(environment->mdb, &dead);
    return 0;
}

static void environment_free(struct environment *environment)
{
    pthread_mutex_destroy(&environment->lock);
    pthread_cond_destroy(&environment->changed);
    mem_free(environment->path);
    mem_free(environment);
}

static int open_inside(struct environment *environment, const struct environment_options *options,
                       bool *dirty, struct fault *fault)
{
    char data[PATH_SIZE_MAX];
    if (strlen(options->path) + sizeof "/data.mdb" > sizeof data)
        return fault_set(fault, FAULT_TOO_LARGE, "%.80s...: the path is too long", options->path);
    path_join(data, options->path, "data.mdb");
    if (options->read_only && access(data, R_OK) < 0)
        return fault_errno(fault, errno, "%s: cannot read", data);
    if (!options->read_only && mkdir(options->path, 0755) < 0 && errno != EEXIST)
        return fault_errno(fault, errno, "%s: cannot make the directory", options->path);
    *dirty = is_dirty(options->path);
    if (*dirty) return 0;
    if (!options->read_only && mark_begin(environment, fault) < 0) return -1;
    return mdb_start(environment, options, fault);
}

int environment_open(const struct environment_options *options, struct environment **environment, bool *dirty,
                     struct fault *fault)
{
    struct environment *made = MEM_NEW(struct environment);
    made->path = mem_text(options->path, strlen(options->path));
    made->read_only = options->read_only;
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    if (open_inside(made, options, dirty, fault) < 0) {
        environment_free(made);
        return -1;
    }
    *environment = made;
    return 0;
}

void environment_close(struct environment *environment)
{
    CHECK(environment->open == 0);
    while (environment->idle_count > 0) mdb_txn_abort(environment->idle[--environment->idle_count]);
    if (environment->mdb) {
        int error = environment->read_only ? 0 : fault_point(POINT_VIEWS_SYNC);
        if (!environment->read_only && !error) error = mdb_env_sync(environment->mdb, 1);
        mdb_env_close(environment->mdb);
        /* Derived data: without the mark it is rebuilt if the machine stops before the next orderly close.
         * That the disk is full is told by who cannot do without room. */
        if (!environment->read_only && error == 0) error = mark_write(environment->path, mark_clean);
        if (error && error != ENOSPC && error != EDQUOT && error != EFBIG)
            say_warn("%s: not flushed: %s", environment->path, mdb_strerror(error));
    }
    environment_free(environment);
}

int environment_discard(struct environment *environment, struct fault *fault)
{
    char path[PATH_SIZE_MAX];
    snprintf(path, sizeof path, "%s", environment->path);
    environment->read_only = true; /* nobody will look into it: no flush, no mark */
    environment_close(environment);
    return environment_destroy(path, fault);
}

int environment_destroy(const char *path, struct fault *fault)
{
    DIR *directory = opendir(path);
    if (!directory) {
        if (errno == ENOENT) return 0;
        return fault_errno(fault, errno, "%s: cannot remove", path);
    }
    /* The mark goes first: what is left of a removal cut short is dirty. */
    char name[PATH_SIZE_MAX];
    path_join(name, path, "boot");
    int error = unlink(name) < 0 && errno != ENOENT ? errno : 0;
    struct dirent *entry;
    while (!error && (entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(dirfd(directory), entry->d_name, 0) < 0 && errno != ENOENT) error = errno;
    }
    closedir(directory);
    if (!error && rmdir(path) < 0 && errno != ENOENT) error = errno;
    if (error) return fault_errno(fault, error, "%s: cannot remove", path);
    return 0;
}

uint64_t environment_size(const struct environment *environment)
{
    char path[PATH_SIZE_MAX];
    path_join(path, environment->path, "data.mdb");
    struct stat status;
    return stat(path, &status) < 0 ? 0 : (uint64_t)status.st_blocks * 512;
}

/* --- transactions --- */

/* Lets a growing in first, but not for ever: the caller may itself hold the transaction that it waits for. */
static void enter(struct environment *environment)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += GROW_PATIENCE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    while (environment->growing)
        if (pthread_cond_timedwait(&environment->changed, &environment->lock, &until) == ETIMEDOUT) break;
    environment->open++;
}

static void leave(struct environment *environment)
{
    CHECK(environment->open > 0);
    if (--environment->open == 0) pthread_cond_broadcast(&environment->changed);
}

/* Sets the map's size at a moment without transactions; 0: what another process made of it. */
static int map_set(struct environment *environment, uint64_t map_size)
{
    pthread_mutex_lock(&environment->lock);
    environment->growing = true;
    while (environment->open > 0) pthread_cond_wait(&environment->changed, &environment->lock);
    int code = mdb_env_set_mapsize(environment->mdb, map_size);
    if (code == 0) {
        MDB_envinfo info;
        mdb_env_info(environment->mdb, &info);
        environment->map_size = info.me_mapsize;
        environment->grown++;
    }
    environment->growing = false;
    pthread_cond_broadcast(&environment->changed);
    pthread_mutex_unlock(&environment->lock);
    return code;
}

int environment_grow(struct environment *environment, struct fault *fault)
{
    int code = fault_point(POINT_VIEWS_GROW);
    if (code == 0) code = map_set(environment, environment->map_size * 2);
    if (code) return environment_fault(environment, code, "cannot grow the map", fault);
    say_debug("%s: the map grew to %llu bytes", environment->path, (unsigned long long)environment->map_size);
    return 0;
}

static int transaction_begin(struct environment *environment, unsigned int flags, MDB_txn **txn,
                             struct fault *fault)
{
    for (;;) {
        MDB_txn *begun = NULL;
        pthread_mutex_lock(&environment->lock);
        enter(environment);
        if ((flags & MDB_RDONLY) && environment->idle_count > 0)
            begun = environment->idle[--environment->idle_count];
        pthread_mutex_unlock(&environment->lock);
        int code;
        if (begun) {
            code = mdb_txn_renew(begun);
            if (code) mdb_txn_abort(begun);
        } else {
            code = mdb_txn_begin(environment->mdb, NULL, flags, &begun);
        }
        if (code == 0) {
            *txn = begun;
            return 0;
        }
        pthread_mutex_lock(&environment->lock);
        leave(environment);
        pthread_mutex_unlock(&environment->lock);
        if (code == MDB_MAP_RESIZED) code = map_set(environment, 0);
        if (code) return environment_fault(environment, code, "cannot begin a transaction", fault);
    }
}

int environment_read(struct environment *environment, MDB_txn **txn, struct fault *fault)
{
    return transaction_begin(environment, MDB_RDONLY, txn, fault);
}

void environment_read_end(struct environment *environment, MDB_txn *txn)
{
    mdb_txn_reset(txn);
    pthread_mutex_lock(&environment->lock);
    if (environment->idle_count < IDLE_MAX) {
        environment->idle[environment->idle_count++] = txn;
    } else {
        mdb_txn_abort(txn);
    }
    leave(environment);
    pthread_mutex_unlock(&environment->lock);
}

int environment_write(struct environment *environment, MDB_txn **txn, struct fault *fault)
{
    CHECK(!environment->read_only);
    /* A reader of another process that died would pin old pages, and the file would grow. */
    int dead;
    mdb_reader_check(environment->mdb, &dead);
    return transaction_begin(environment, 0, txn, fault);
}

static void write_end(struct environment *environment)
{
    pthread_mutex_lock(&environment->lock);
    leave(environment);
    pthread_mutex_unlock(&environment->lock);
}

int environment_commit(struct environment *environment, MDB_txn *txn)
{
    int code = mdb_txn_commit(txn);
    write_end(environment);
    return code;
}

void environment_abort(struct environment *environment, MDB_txn *txn)
{
    mdb_txn_abort(txn);
    write_end(environment);
}

int environment_copy(struct environment *environment, const char *path, struct fault *fault)
{
    char file[PATH_SIZE_MAX];
    path_join(file, path, "data.mdb");
    if (mkdir(path, 0755) < 0) return fault_errno(fault, errno, "%s", path);
    int code = mdb_env_copy(environment->mdb, path);
    if (code) return environment_fault(environment, code, "cannot copy", fault);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    int error = fd < 0 || fdatasync(fd) < 0 ? errno : 0;
    if (fd >= 0) close(fd);
    if (!error) error = mark_write(path, mark_clean);
    return error ? fault_errno(fault, error, "%s", file) : 0;
}

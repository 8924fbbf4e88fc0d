#include "store/lmdb_env.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "base/say.h"

/* The map is address space, not memory, so it starts far above what most logs reach. */
static const uint64_t MAP_SIZE_DEFAULT = 256ULL << 30;
static const uint64_t MAP_SIZE_MIN = 1ULL << 20;
/* Room on disk is taken in steps: an eighth of the file between these, so small directories stay small. */
static const uint64_t ROOM_STEP_MIN = 1ULL << 20;
static const uint64_t ROOM_STEP_MAX = 64ULL << 20;

enum { READERS_MAX = 1000, IDLE_MAX = 32 };

struct lmdb_env {
    MDB_env *env;
    MDB_dbi dbs[LMDB_ENV_DBS_MAX];
    char *path;
    bool read_only, derived;
    uint64_t room; /* the file is allocated up to here */
    dev_t device;
    ino_t inode;
    pid_t process;
    struct lmdb_env *next_open; /* in open_envs */
    pthread_mutex_t write_lock; /* held by an update, its growing included */

    /* Growing waits until no read is active and holds new ones off; see enter and lmdb_env_grow. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned active;
    bool grow_waits, growing;
    struct lmdb_env_read *idle; /* transactions to renew */
    unsigned idle_count;
};

static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct lmdb_env *open_envs;
static _Thread_local int reads_held; /* active reads of this thread, over all environments */

static bool disk_is_full(const struct lmdb_env *env, uint64_t bytes)
{
    struct statvfs status;
    return statvfs(env->path, &status) == 0 && (uint64_t)status.f_bavail * status.f_frsize < bytes;
}

static int fault_full(const struct lmdb_env *env, struct fault *fault)
{
    return fault_errno(fault, ENOSPC, "%s", env->path);
}

int lmdb_env_fault(struct lmdb_env *env, int code, struct fault *fault)
{
    switch (code) {
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_INCOMPATIBLE:
    case MDB_NOTFOUND:
    case EINVAL: /* a cursor that could not be opened */
        return fault_set(fault, FAULT_CORRUPT, "%s is damaged: %s; see what lore verify says", env->path,
                         mdb_strerror(code));
    case MDB_READERS_FULL:
        return fault_set(fault, FAULT_UNAVAILABLE, "%s: too many readers at once", env->path);
    default: break;
    }
    /* LMDB says EIO, too, for a write that a full disk cut short. */
    if (code == EIO && disk_is_full(env, ROOM_STEP_MIN)) return fault_full(env, fault);
    if (code > 0) return fault_errno(fault, code, "%s", env->path);
    return fault_set(fault, FAULT_INTERNAL, "%s: %s", env->path, mdb_strerror(code));
}

/* --- one file, one environment --- */

static bool env_register(struct lmdb_env *env)
{
    struct stat status;
    char file[4096];
    snprintf(file, sizeof file, "%s/data.mdb", env->path);
    if (stat(file, &status) < 0) return true; /* about to be made: nobody has it */
    env->device = status.st_dev;
    env->inode = status.st_ino;
    for (struct lmdb_env *other = open_envs; other; other = other->next_open)
        if (other->device == env->device && other->inode == env->inode && other->process == env->process)
            return false;
    return true;
}

static void env_link(struct lmdb_env *env)
{
    struct stat status;
    int fd;
    if (mdb_env_get_fd(env->env, &fd) == 0 && fstat(fd, &status) == 0) {
        env->device = status.st_dev;
        env->inode = status.st_ino;
    }
    env->next_open = open_envs;
    open_envs = env;
}

static void env_unlink(struct lmdb_env *env)
{
    pthread_mutex_lock(&open_lock);
    for (struct lmdb_env **at = &open_envs; *at; at = &(*at)->next_open)
        if (*at == env) {
            *at = env->next_open;
            break;
        }
    pthread_mutex_unlock(&open_lock);
}

/* --- opening --- */

static int env_open_databases(struct lmdb_env *env, const struct lmdb_env_options *options)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(env->env, NULL, env->read_only ? MDB_RDONLY : 0, &txn);
    if (code) return code;
    for (size_t db = 0; db < options->db_count && !code; db++) {
        unsigned flags = options->db_flags[db] | (env->read_only ? 0 : MDB_CREATE);
        code = mdb_dbi_open(txn, options->db_names[db], flags, &env->dbs[db]);
        /* Stored flags win over those asked for; others would mean another order of keys. */
        if (!code) code = mdb_dbi_flags(txn, env->dbs[db], &flags);
        if (!code && flags != options->db_flags[db]) code = MDB_INCOMPATIBLE;
    }
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

/* The entries of a file and of its directory are not durable because the file is: what is answered must not
 * be lost with its name. A file system that cannot sync directories says EINVAL. */
static int directory_sync(const char *path, const char *below)
{
    char directory[4096];
    snprintf(directory, sizeof directory, "%s%s", path, below);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* One that may not be read is not ours, and was there before. */
    if (fd < 0) return errno == EACCES ? 0 : errno;
    int error = fsync(fd) < 0 && errno != EINVAL ? errno : 0;
    close(fd);
    return error;
}

/* A file cut short would be met as SIGBUS by whoever reads the lost pages. */
static int env_check_size(struct lmdb_env *env, struct fault *fault)
{
    int fd;
    struct stat status;
    mdb_env_get_fd(env->env, &fd);
    if (fstat(fd, &status) < 0) return fault_errno(fault, errno, "%s/data.mdb", env->path);
    uint64_t size = lmdb_env_size(env, NULL);
    if ((uint64_t)status.st_size < size)
        return fault_set(fault, FAULT_CORRUPT, "%s/data.mdb is cut off: %lld bytes, but %llu are in use",
                         env->path, (long long)status.st_size, (unsigned long long)size);
    env->room = env->derived ? UINT64_MAX : size;
    return 0;
}

static int env_open_map(struct lmdb_env *env, const struct lmdb_env_options *options)
{
    unsigned flags = MDB_NOTLS | (options->read_only ? MDB_RDONLY : 0) | (options->derived ? MDB_NOSYNC : 0);
    uint64_t map_size = options->map_size ? options->map_size : MAP_SIZE_DEFAULT;
    if (map_size < MAP_SIZE_MIN) map_size = MAP_SIZE_MIN;
    for (;; map_size /= 2) {
        int code = mdb_env_create(&env->env);
        if (code) return code;
        if (!(code = mdb_env_set_maxdbs(env->env, LMDB_ENV_DBS_MAX)) &&
            !(code = mdb_env_set_maxreaders(env->env, READERS_MAX)) &&
            !(code = mdb_env_set_mapsize(env->env, map_size)))
            code = mdb_env_open(env->env, env->path, flags, 0644);
        if (code == 0) return 0;
        mdb_env_close(env->env);
        env->env = NULL;
        /* Little address space (ulimit -v): begin smaller and grow. */
        if (code != ENOMEM || map_size / 2 < MAP_SIZE_MIN) return code;
    }
}

static void env_free(struct lmdb_env *env)
{
    if (env->env) mdb_env_close(env->env);
    pthread_mutex_destroy(&env->lock);
    pthread_mutex_destroy(&env->write_lock);
    pthread_cond_destroy(&env->changed);
    mem_free(env->path);
    mem_free(env);
}

/* The first start was killed before its first transaction: nothing is there to be read. */
static bool env_is_new(struct lmdb_env *env)
{
    char file[4096];
    struct stat status;
    MDB_envinfo info;
    snprintf(file, sizeof file, "%s/data.mdb", env->path);
    if (!env->env) return stat(file, &status) == 0 && status.st_size == 0;
    return mdb_env_info(env->env, &info) == 0 && info.me_last_txnid == 0;
}

static int env_fault_of_new(struct lmdb_env *env, struct fault *fault)
{
    return fault_set(fault, FAULT_NOT_FOUND, "%s: nothing was ever written", env->path);
}

static int env_open(struct lmdb_env *env, const struct lmdb_env_options *options, struct fault *fault)
{
    if (!options->read_only && mkdir(env->path, 0755) < 0 && errno != EEXIST)
        return fault_errno(fault, errno, "%s", env->path);
    if (!env_register(env))
        return fault_set(fault, FAULT_IN_USE, "%s is already open in this process", env->path);
    if (options->read_only && env_is_new(env)) return env_fault_of_new(env, fault);
    int code = env_open_map(env, options);
    if (code) return lmdb_env_fault(env, code, fault);
    if (env_check_size(env, fault) < 0) return -1;
    if (!options->read_only) lmdb_env_check_readers(env);
    code = env_open_databases(env, options);
    if (code == MDB_NOTFOUND && env_is_new(env)) return env_fault_of_new(env, fault);
    if (code) return lmdb_env_fault(env, code, fault);
    if (options->read_only || options->derived) return 0;
    code = directory_sync(env->path, "");
    if (code == 0) code = directory_sync(env->path, "/..");
    if (code == 0) code = directory_sync(env->path, "/../..");
    return code ? fault_errno(fault, code, "%s: its directory", env->path) : 0;
}

int lmdb_env_open(const struct lmdb_env_options *options, struct lmdb_env **out, struct fault *fault)
{
    struct lmdb_env *env = MEM_NEW(struct lmdb_env);
    env->path = mem_text(options->path, strlen(options->path));
    env->read_only = options->read_only;
    env->derived = options->derived;
    env->process = getpid();
    pthread_mutex_init(&env->lock, NULL);
    pthread_mutex_init(&env->write_lock, NULL);
    pthread_cond_init(&env->changed, NULL);
    pthread_mutex_lock(&open_lock);
    int result = env_open(env, options, fault);
    if (result == 0) env_link(env);
    pthread_mutex_unlock(&open_lock);
    if (result < 0) {
        env_free(env);
        return -1;
    }
    *out = env;
    return 0;
}

static void read_free(struct lmdb_env_read *read)
{
    for (size_t db = 0; db < LMDB_ENV_DBS_MAX; db++)
        if (read->cursors[db]) mdb_cursor_close(read->cursors[db]);
    if (read->txn) mdb_txn_abort(read->txn);
    mem_free(read);
}

void lmdb_env_close(struct lmdb_env *env)
{
    if (!env) return;
    CHECK(env->active == 0);
    while (env->idle) {
        struct lmdb_env_read *read = env->idle;
        env->idle = read->next;
        read_free(read);
    }
    int fd;
    if (!env->read_only && !env->derived && mdb_env_get_fd(env->env, &fd) == 0) {
        /* Nothing is lost when this fails: the room is taken again or used later. */
        if (ftruncate(fd, (off_t)lmdb_env_size(env, NULL)) < 0) say_debug("%s: cannot shrink", env->path);
    }
    env_unlink(env);
    env_free(env);
}

uint64_t lmdb_env_size(struct lmdb_env *env, uint64_t *map_size)
{
    MDB_envinfo info;
    MDB_stat stat;
    CHECK(mdb_env_info(env->env, &info) == 0 && mdb_env_stat(env->env, &stat) == 0);
    if (map_size) *map_size = info.me_mapsize;
    return (info.me_last_pgno + 1) * stat.ms_psize;
}

MDB_dbi lmdb_env_db(struct lmdb_env *env, size_t db)
{
    return env->dbs[db];
}

void lmdb_env_check_readers(struct lmdb_env *env)
{
    int dead = 0;
    mdb_reader_check(env->env, &dead);
}

int lmdb_env_sync_directory(struct lmdb_env *env, struct fault *fault)
{
    int code = directory_sync(env->path, "");
    return code ? fault_errno(fault, code, "%s: its directory", env->path) : 0;
}

int lmdb_env_copy(struct lmdb_env *env, const char *path, struct fault *fault)
{
    char file[4200];
    snprintf(file, sizeof file, "%s/data.mdb", path);
    if (mkdir(path, 0755) < 0 && errno != EEXIST) return fault_errno(fault, errno, "%s", path);
    int code = mdb_env_copy(env->env, path);
    if (code) return code > 0 ? fault_errno(fault, code, "%s", file) : lmdb_env_fault(env, code, fault);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    int error = fd < 0 || fdatasync(fd) < 0 ? errno : 0;
    if (fd >= 0) close(fd);
    return error ? fault_errno(fault, error, "%s", file) : 0;
}

int lmdb_env_sync(struct lmdb_env *env, struct fault *fault)
{
    int code = mdb_env_sync(env->env, 1);
    return code ? lmdb_env_fault(env, code, fault) : 0;
}

bool lmdb_env_is_waited_for(struct lmdb_env *env)
{
    pthread_mutex_lock(&env->lock);
    bool waits = env->grow_waits;
    pthread_mutex_unlock(&env->lock);
    return waits;
}

/* --- growing --- */

/* Sets the map to map_size (0: to what another process made it). Without wait: only if nobody reads now. */
static int env_grow(struct lmdb_env *env, uint64_t map_size, bool wait)
{
    pthread_mutex_lock(&env->lock);
    while (env->growing) pthread_cond_wait(&env->changed, &env->lock);
    if (env->active && !wait) {
        pthread_mutex_unlock(&env->lock);
        return 0;
    }
    env->grow_waits = true;
    while (env->active) pthread_cond_wait(&env->changed, &env->lock);
    env->grow_waits = false;
    env->growing = true;
    pthread_mutex_unlock(&env->lock);
    int code = mdb_env_set_mapsize(env->env, map_size);
    /* LMDB has unmapped the old one by then: there is no way back. */
    if (code)
        say_stop("%s: cannot map %llu bytes: %s", env->path, (unsigned long long)map_size,
                 mdb_strerror(code));
    pthread_mutex_lock(&env->lock);
    env->growing = false;
    pthread_cond_broadcast(&env->changed);
    pthread_mutex_unlock(&env->lock);
    return code;
}

/* Room in the file up to end, or at least up to end_min. */
static int env_allocate(struct lmdb_env *env, uint64_t end_min, struct fault *fault)
{
    int fd;
    mdb_env_get_fd(env->env, &fd);
    uint64_t step = end_min / 8;
    if (step < ROOM_STEP_MIN) step = ROOM_STEP_MIN;
    if (step > ROOM_STEP_MAX) step = ROOM_STEP_MAX;
    uint64_t end = end_min + step;
    int error = fault_point(POINT_LOG_GROW);
    if (!error) error = posix_fallocate(fd, (off_t)env->room, (off_t)(end - env->room));
    if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
        end = end_min;
        error = fault_point(POINT_LOG_GROW);
        if (!error) error = posix_fallocate(fd, (off_t)env->room, (off_t)(end - env->room));
    }
    switch (error) {
    case 0: env->room = end; return 0;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return fault_full(env, fault);
    case EINTR: return 0;
    case EINVAL: /* a file system that cannot: the free space is the best that can be known */
    case EOPNOTSUPP: return disk_is_full(env, end_min - env->room) ? fault_full(env, fault) : 0;
    default: return fault_errno(fault, error, "%s", env->path);
    }
}

static int env_reserve(struct lmdb_env *env, uint64_t bytes, struct fault *fault)
{
    uint64_t map_size;
    uint64_t end = lmdb_env_size(env, &map_size) + bytes;
    if (end > env->room && env_allocate(env, end, fault) < 0) return -1;
    if (end > map_size)
        env_grow(env, end * 2, true);
    else if (end > map_size - map_size / 4)
        env_grow(env, map_size * 2, false);
    return 0;
}

/* --- writing --- */

/* A write error leaves the old state whole and later updates possible; a failed fsync does not tell what is
 * on disk. */
static int env_update_failed(struct lmdb_env *env, int code, struct fault *fault)
{
    if (env->derived) return lmdb_env_fault(env, code, fault);
    MDB_txn *txn;
    int again = mdb_txn_begin(env->env, NULL, 0, &txn);
    if (again == 0) mdb_txn_abort(txn);
    if (code == MDB_PANIC || again == MDB_PANIC)
        say_stop("%s: the head page could not be written: %s", env->path, mdb_strerror(code));
    if (code == ENOSPC || code == EDQUOT || code == EFBIG) return fault_full(env, fault);
    if (code == EIO) {
        /* LMDB also says EIO for a write that was cut short. */
        if (disk_is_full(env, ROOM_STEP_MIN)) return fault_full(env, fault);
        say_stop("%s: a write or fsync failed: %s", env->path, mdb_strerror(code));
    }
    return lmdb_env_fault(env, code, fault);
}

/* Pages taken and freed by one transaction are never written; with such at its end a file without room taken
 * ahead would look as if it were cut off. A full disk is no matter: nothing is allocated. */
static void env_lengthen(struct lmdb_env *env)
{
    int fd;
    struct stat status;
    uint64_t size = lmdb_env_size(env, NULL);
    mdb_env_get_fd(env->env, &fd);
    if (fstat(fd, &status) == 0 && (uint64_t)status.st_size < size && ftruncate(fd, (off_t)size) < 0)
        say_debug("%s: cannot lengthen", env->path);
}

static int env_update(struct lmdb_env *env, uint64_t bytes, int (*write)(MDB_txn *txn, void *user),
                      void *user, struct fault *fault)
{
    if (env_reserve(env, bytes, fault) < 0) return -1;
    for (;;) {
        MDB_txn *txn;
        int code = mdb_txn_begin(env->env, NULL, 0, &txn);
        if (code == 0) {
            code = write(txn, user);
            if (code == 0)
                code = mdb_txn_commit(txn);
            else
                mdb_txn_abort(txn);
        }
        if (code == 0) {
            if (env->derived) env_lengthen(env);
            return 0;
        }
        if (code != MDB_MAP_FULL) return env_update_failed(env, code, fault);
        uint64_t map_size;
        lmdb_env_size(env, &map_size);
        env_grow(env, map_size * 2 + bytes, true);
    }
}

int lmdb_env_update(struct lmdb_env *env, uint64_t bytes, int (*write)(MDB_txn *txn, void *user), void *user,
                    struct fault *fault)
{
    CHECK(!env->read_only);
    pthread_mutex_lock(&env->write_lock);
    int result = env_update(env, bytes, write, user, fault);
    pthread_mutex_unlock(&env->write_lock);
    return result;
}

/* --- reading --- */

/* Counts this read as active. Invariant: mdb_env_set_mapsize runs only while active is 0. */
static struct lmdb_env_read *enter(struct lmdb_env *env)
{
    pthread_mutex_lock(&env->lock);
    while (env->growing || (env->grow_waits && reads_held <= 0)) pthread_cond_wait(&env->changed, &env->lock);
    env->active++;
    reads_held++;
    struct lmdb_env_read *read = env->idle;
    if (read) {
        env->idle = read->next;
        env->idle_count--;
    }
    pthread_mutex_unlock(&env->lock);
    return read;
}

static void leave(struct lmdb_env *env, struct lmdb_env_read *keep)
{
    pthread_mutex_lock(&env->lock);
    CHECK(env->active > 0);
    env->active--;
    reads_held--;
    if (keep && env->idle_count < IDLE_MAX) {
        keep->next = env->idle;
        env->idle = keep;
        env->idle_count++;
        keep = NULL;
    }
    if (env->active == 0) pthread_cond_broadcast(&env->changed);
    pthread_mutex_unlock(&env->lock);
    if (keep) read_free(keep);
}

int lmdb_env_begin(struct lmdb_env *env, struct lmdb_env_read **out, struct fault *fault)
{
    for (;;) {
        struct lmdb_env_read *read = enter(env);
        int code;
        if (read) {
            code = mdb_txn_renew(read->txn);
            for (size_t db = 0; db < LMDB_ENV_DBS_MAX; db++) read->cursors_stale[db] = true;
        } else {
            read = MEM_NEW(struct lmdb_env_read);
            read->env = env;
            code = mdb_txn_begin(env->env, NULL, MDB_RDONLY, &read->txn);
        }
        if (code == 0) {
            *out = read;
            return 0;
        }
        if (read->txn) {
            leave(env, NULL);
            read_free(read);
        } else {
            leave(env, NULL);
            mem_free(read);
        }
        if (code != MDB_MAP_RESIZED) return lmdb_env_fault(env, code, fault);
        /* It would wait for the read that this thread holds. */
        if (reads_held > 0)
            return fault_set(fault, FAULT_UNAVAILABLE, "%s grew meanwhile; try again", env->path);
        env_grow(env, 0, true);
    }
}

void lmdb_env_end(struct lmdb_env_read *read)
{
    if (!read) return;
    mdb_txn_reset(read->txn);
    leave(read->env, read);
}

MDB_cursor *lmdb_env_cursor(struct lmdb_env_read *read, size_t db)
{
    int code = 0;
    if (!read->cursors[db])
        code = mdb_cursor_open(read->txn, read->env->dbs[db], &read->cursors[db]);
    else if (read->cursors_stale[db])
        code = mdb_cursor_renew(read->txn, read->cursors[db]);
    read->cursors_stale[db] = code != 0;
    return code ? NULL : read->cursors[db];
}

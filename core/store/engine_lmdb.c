/* The LMDB engine: opening and closing. Appending: engine_lmdb_append.c, from there to LMDB:
 * engine_lmdb_journal.c, reading: engine_lmdb_read.c.
 *
 * Order that everything rests on: a batch is durable in the journal, then it is in the tail for readers and
 * in the index in memory, then the head is published, then the head slot beside the log is written. LMDB
 * follows half a journal at a time, the index on disk whenever it likes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/say.h"
#include "store/backup.h"
#include "store/cut.h"
#include "store/engine_lmdb.h"

/* --- the lock --- */

int engine_lmdb_lock(const char *path, struct fault *fault)
{
    char file[4096], text[32] = {0};
    snprintf(file, sizeof file, "%s/lock", path);
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return fault_errno(fault, errno, "%s", file);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int error = errno;
        ssize_t size = pread(fd, text, sizeof text - 1, 0);
        close(fd);
        if (error != EWOULDBLOCK) return fault_errno(fault, error, "%s", file);
        return fault_set(fault, FAULT_IN_USE,
                         "data directory %s is in use by process %ld; stop it or choose another with --data",
                         path, size > 0 ? strtol(text, NULL, 10) : 0L);
    }
    int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    /* Only for the message above: that it could not be written changes nothing. */
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)size, 0) < 0)
        say_debug("%s: %s", file, strerror(errno));
    return fd;
}

/* The lock itself is not tried: for that moment a hub that starts would find it taken. */
long engine_lmdb_holder(const char *path)
{
    char file[4096], line[256], wanted[32], pid[32] = {0};
    struct stat status;
    snprintf(file, sizeof file, "%s/lock", path);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    bool read_it = fstat(fd, &status) == 0 && pread(fd, pid, sizeof pid - 1, 0) > 0;
    close(fd);
    FILE *locks = read_it ? fopen("/proc/locks", "re") : NULL;
    if (!locks) return 0;
    snprintf(wanted, sizeof wanted, ":%llu ", (unsigned long long)status.st_ino);
    bool held = false;
    while (!held && fgets(line, sizeof line, locks)) held = strstr(line, "FLOCK") && strstr(line, wanted);
    fclose(locks);
    return held ? strtol(pid, NULL, 10) : 0;
}

/* --- opening --- */

void engine_lmdb_locks_init(struct engine_lmdb *lmdb)
{
    pthread_mutex_init(&lmdb->head_lock, NULL);
    pthread_mutex_init(&lmdb->follow_lock, NULL);
    pthread_mutex_init(&lmdb->flush_lock, NULL);
    pthread_cond_init(&lmdb->flush_wanted, NULL);
    pthread_rwlock_init(&lmdb->tails_lock, NULL);
}

void engine_lmdb_locks_destroy(struct engine_lmdb *lmdb)
{
    pthread_mutex_destroy(&lmdb->head_lock);
    pthread_mutex_destroy(&lmdb->follow_lock);
    pthread_mutex_destroy(&lmdb->flush_lock);
    pthread_cond_destroy(&lmdb->flush_wanted);
    pthread_rwlock_destroy(&lmdb->tails_lock);
}

static int load_log_id(struct engine_lmdb *lmdb, struct fault *fault)
{
    struct buf id = {0}, epoch = {0};
    int found = engine_lmdb_meta_get(&lmdb->engine, slice_of("log_id"), &id, fault);
    if (found == 0 && (lmdb->head.position || lmdb->head.outcomes))
        found = fault_set(fault, FAULT_CORRUPT, "%s/log has no log_id", lmdb->path);
    if (found == 0 && lmdb->read_only) return 0; /* its first start was killed: it is empty */
    if (found == 0) {
        rand_uuid(clock_now_ms(lmdb->clock), lmdb->head.log_id);
        found = engine_lmdb_meta_store(lmdb, slice_of("log_id"), slice_of(lmdb->head.log_id), fault);
    } else if (found > 0) {
        snprintf(lmdb->head.log_id, sizeof lmdb->head.log_id, "%.*s", SLICE_ARGS(buf_slice(&id)));
        found = engine_lmdb_meta_get(&lmdb->engine, slice_of("epoch"), &epoch, fault);
        if (found > 0) {
            buf_put_byte(&epoch, 0);
            lmdb->head.epoch = strtoull(epoch.data, NULL, 10);
        }
    }
    buf_release(&id);
    buf_release(&epoch);
    return found < 0 ? -1 : 0;
}

/* What LMDB has. */
static int load_log(struct engine_lmdb *lmdb, struct fault *fault)
{
    struct lmdb_env_read *read;
    if (lmdb_env_begin(lmdb->log, &read, fault) < 0) return -1;
    int result = engine_lmdb_load_names(lmdb, read, fault);
    if (result == 0) result = engine_lmdb_load_head(lmdb, read, &lmdb->head, fault);
    lmdb_env_end(read);
    return result;
}

/* What LMDB has, then what the journal has behind it. */
static int open_log(struct engine_lmdb *lmdb, uint64_t map_size, struct fault *fault)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/log", lmdb->path);
    struct lmdb_env_options options = {.path = path,
                                       .read_only = lmdb->read_only,
                                       .map_size = map_size,
                                       .db_count = 4,
                                       .db_names = {"commits", "outcomes", "names", "meta"},
                                       .db_flags = {MDB_INTEGERKEY, MDB_INTEGERKEY, MDB_INTEGERKEY, 0}};
    if (lmdb_env_open(&options, &lmdb->log, fault) < 0) return -1;
    if (lmdb->read_only) {
        if (engine_lmdb_follow(lmdb, fault) < 0) return -1;
    } else if (load_log(lmdb, fault) < 0 || engine_lmdb_open_journal(lmdb, fault) < 0) {
        return -1;
    }
    lmdb->names_saved = names_count(lmdb->engine.names);
    lmdb->head.epoch = 1;
    return load_log_id(lmdb, fault);
}

static int open_engine(struct engine_lmdb *lmdb, const struct engine_options *options, struct fault *fault)
{
    struct stat status;
    if (!lmdb->read_only && mkdir(lmdb->path, 0755) < 0 && errno != EEXIST)
        return fault_errno(fault, errno, "%s", lmdb->path);
    if (stat(lmdb->path, &status) < 0) return fault_errno(fault, errno, "%s", lmdb->path);
    if (!lmdb->read_only && (lmdb->lock_fd = engine_lmdb_lock(lmdb->path, fault)) < 0) return -1;
    if (restore_is_pending(lmdb->path))
        return fault_set(fault, FAULT_UNAVAILABLE,
                         "%s: a restore was not finished: run lore restore with the same files again",
                         lmdb->path);
    if (open_log(lmdb, options->map_size, fault) < 0) return -1;
    int cut = lmdb->read_only ? 0 : cut_complete(lmdb, fault);
    if (cut < 0) return -1;
    if (!lmdb->read_only && engine_lmdb_check_head(lmdb, fault) < 0) return -1;
    if (engine_lmdb_load_index(lmdb, options->map_size, fault) < 0) return -1;
    if (cut && cut_end(lmdb, fault) < 0) return -1;
    if (!lmdb->read_only) engine_lmdb_start_flusher(lmdb);
    return 0;
}

static void engine_free(struct engine_lmdb *lmdb)
{
    index_close(lmdb->index);
    journal_close(lmdb->journal);
    log_tail_drop(lmdb->frozen);
    log_tail_drop(lmdb->active);
    lmdb_env_close(lmdb->log);
    head_close(&lmdb->head_file);
    if (lmdb->lock_fd >= 0) close(lmdb->lock_fd);
    names_free(lmdb->engine.names);
    engine_lmdb_locks_destroy(lmdb);
    mem_free(lmdb->path);
    mem_free(lmdb);
}

int engine_open_lmdb(const struct engine_options *options, struct engine **engine, struct fault *fault)
{
    CHECK(options->path != NULL);
    struct engine_lmdb *lmdb = MEM_NEW(struct engine_lmdb);
    lmdb->engine = (struct engine){&engine_lmdb_ops, names_new()};
    lmdb->path = mem_text(options->path, strlen(options->path));
    lmdb->clock = options->clock;
    lmdb->read_only = options->read_only;
    lmdb->lock_fd = lmdb->head_file.fd = -1;
    engine_lmdb_locks_init(lmdb);
    if (open_engine(lmdb, options, fault) < 0) {
        engine_free(lmdb);
        return -1;
    }
    *engine = &lmdb->engine;
    return 0;
}

static void lmdb_close(struct engine *engine)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    uint64_t events;
    struct fault fault = {0};
    bool settled = !lmdb->journal; /* a log that was cut, or one to read */
    if (!settled && index_flush(lmdb->index, &events, &fault) < 0)
        say_debug("%s; the next start catches up", fault.text); /* who flushed before has told it */
    if (!settled) engine_lmdb_close_journal(lmdb);
    engine_free(lmdb);
}

/* --- the rest --- */

static struct engine_head lmdb_head(struct engine *engine)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    struct fault fault = {0};
    if (lmdb->read_only && engine_lmdb_follow(lmdb, &fault) < 0) say_error("%s", fault.text);
    pthread_mutex_lock(&lmdb->head_lock);
    struct engine_head head = lmdb->head;
    pthread_mutex_unlock(&lmdb->head_lock);
    return head;
}

static int flush_index(struct engine *engine, uint64_t *events, struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    /* Readers of other processes that died would pin old pages until the next start. */
    lmdb_env_check_readers(lmdb->log);
    return index_flush(lmdb->index, events, fault);
}

static uint64_t lmdb_index_behind(struct engine *engine)
{
    return index_behind(((struct engine_lmdb *)engine)->index);
}

const struct engine_ops engine_lmdb_ops = {
    .close = lmdb_close,
    .head = lmdb_head,
    .append = engine_lmdb_append,
    .read = engine_lmdb_read,
    .read_stream = engine_lmdb_read_stream,
    .read_outcomes = engine_lmdb_read_outcomes,
    .cursor_next = engine_lmdb_cursor_next,
    .cursor_close = engine_lmdb_cursor_close,
    .stream_head = engine_lmdb_stream_head,
    .find_command = engine_lmdb_find_command,
    .each_stream = engine_lmdb_each_stream,
    .meta_put = engine_lmdb_meta_put,
    .meta_get = engine_lmdb_meta_get,
    .flush_index = flush_index,
    .index_behind = lmdb_index_behind,
};

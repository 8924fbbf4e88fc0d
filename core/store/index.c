#include "store/index.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/index_inside.h"
#include "store/index_mark.h"

const char *index_file(const struct index *index, const char *name, char file[4096])
{
    snprintf(file, 4096, "%s/%s", index->path, name);
    return file;
}

int index_fault(struct index *index, int code, struct fault *fault)
{
    if (code != MDB_CORRUPTED && code != MDB_PAGE_NOTFOUND && code != EINVAL)
        return lmdb_env_fault(index->env, code, fault);
    /* It is derived: remembered as torn, it is built anew by the next start. */
    char file[4096];
    index->damaged = true;
    if (!index->read_only) unlink(index_file(index, "mark", file));
    return fault_set(fault, FAULT_CORRUPT, "%s is damaged; it is rebuilt from the log at the next start",
                     index->path);
}

/* --- opening --- */

static int drop_files(const struct index *index, struct fault *fault)
{
    char file[4096];
    static const char *const names[] = {"mark", "data.mdb", "lock.mdb"};
    for (size_t at = 0; at < sizeof names / sizeof *names; at++)
        if (unlink(index_file(index, names[at], file)) < 0 && errno != ENOENT)
            return fault_errno(fault, errno, "%s cannot be removed", file);
    unlink(index_file(index, INDEX_KEPT_NAME, file)); /* whatever it is, it says whether it may be used */
    return 0;
}

static int open_env(struct index *index, uint64_t map_size, struct fault *fault)
{
    struct lmdb_env_options options = {.path = index->path,
                                       .read_only = index->read_only,
                                       .derived = true,
                                       .map_size = map_size,
                                       .db_count = 3,
                                       .db_names = {"meta", "streams", "ids"}};
    return lmdb_env_open(&options, &index->env, fault);
}

int index_read_state(struct index *index, struct index_state *state, struct fault *fault)
{
    struct lmdb_env_read *read;
    *state = (struct index_state){0};
    if (lmdb_env_begin(index->env, &read, fault) < 0) return -1;
    int code = index_state_get(read->txn, lmdb_env_db(index->env, INDEX_DB_META), state);
    lmdb_env_end(read);
    if (code == MDB_NOTFOUND) return 0;
    return code ? index_fault(index, code, fault) : 0;
}

/* Opens what is on disk; false if it cannot be used, with the reason in why ("": there is none). */
static bool open_disk(struct index *index, uint64_t map_size, struct index_checkpoint *checkpoint,
                      char why[256])
{
    char file[4096];
    static const char *const reasons[] = {[MARK_NONE] = "it was not finished",
                                          [MARK_DAMAGED] = "its mark is damaged",
                                          [MARK_OTHER_LOG] = "it belongs to another log",
                                          [MARK_TORN] = "the machine stopped before it was closed"};
    enum index_mark mark = index_mark_read(index_file(index, "mark", file), index->log_id);
    struct fault fault = {0};
    struct index_state state;
    why[0] = 0;
    bool usable = mark == MARK_DIRTY || mark == MARK_CLEAN;
    if (!usable && (mark != MARK_NONE || access(index_file(index, "data.mdb", file), F_OK) == 0))
        snprintf(why, 256, "%s", reasons[mark]);
    if (!usable) return false;
    if (open_env(index, map_size, &fault) < 0 || index_read_state(index, &state, &fault) < 0) {
        snprintf(why, 256, "%.250s", fault.text);
        lmdb_env_close(index->env);
        index->env = NULL;
        return false;
    }
    *checkpoint = state.checkpoint;
    index->marked_dirty = mark == MARK_DIRTY;
    return true;
}

static struct index *index_new(const char *path, const char *log_id, bool read_only)
{
    struct index *index = MEM_NEW(struct index);
    index->path = mem_text(path, strlen(path));
    index->read_only = read_only;
    snprintf(index->log_id, sizeof index->log_id, "%s", log_id);
    index->active = MEM_NEW(struct index_tail);
    pthread_rwlock_init(&index->lock, NULL);
    pthread_mutex_init(&index->flush_lock, NULL);
    return index;
}

static void tail_free(struct index_tail *tail)
{
    if (!tail) return;
    index_tail_release(tail);
    mem_free(tail);
}

static void index_free(struct index *index)
{
    lmdb_env_close(index->env);
    tail_free(index->active);
    tail_free(index->frozen);
    index_filter_free(index->filter);
    pthread_rwlock_destroy(&index->lock);
    pthread_mutex_destroy(&index->flush_lock);
    mem_free(index->path);
    mem_free(index);
}

/* An index that cannot be opened twice: dropped and made anew. */
static int open_new(struct index *index, uint64_t map_size, const char *why, struct fault *fault)
{
    char file[4096];
    if (why[0]) say_warn("%s is rebuilt from the log: %s", index->path, why);
    if (drop_files(index, fault) < 0) return -1;
    if (mkdir(index->path, 0755) < 0 && errno != EEXIST) return fault_errno(fault, errno, "%s", index->path);
    if (index_mark_write(index_file(index, "mark", file), index->log_id, false, fault) < 0) return -1;
    index->marked_dirty = true;
    index->filter = index_filter_new(0);
    return open_env(index, map_size, fault);
}

int index_open(const struct index_options *options, struct index **out, struct index_checkpoint *checkpoint,
               struct fault *fault)
{
    char why[256];
    struct index *index = index_new(options->path, options->log_id, options->read_only);
    *checkpoint = (struct index_checkpoint){0};
    bool usable = open_disk(index, options->map_size, checkpoint, why);
    if (usable && !options->agrees(options->log, checkpoint)) {
        usable = false;
        snprintf(why, sizeof why, "the log does not have what it covers");
        lmdb_env_close(index->env);
        index->env = NULL;
    }
    if (!usable) {
        *checkpoint = (struct index_checkpoint){0};
        if (!options->read_only && open_new(index, options->map_size, why, fault) < 0) {
            index_free(index);
            return -1;
        }
    }
    if (usable && !options->read_only) index_fill_start(index);
    *out = index;
    return 0;
}

int index_disk_open(const char *path, const char *log_id, struct index **out,
                    struct index_checkpoint *checkpoint, char why[256], struct fault *fault)
{
    struct index *index = index_new(path, log_id, true);
    *checkpoint = (struct index_checkpoint){0};
    if (!open_disk(index, 0, checkpoint, why)) {
        index_free(index);
        return 0;
    }
    *out = index;
    return 1;
}

void index_close(struct index *index)
{
    if (!index) return;
    char file[4096];
    index_fill_end(index, true);
    bool complete = !index->frozen && index->active->events == 0;
    if (index->env && index->marked_dirty && complete && !index->damaged && !fault_point(POINT_INDEX_SYNC) &&
        lmdb_env_sync(index->env, NULL) == 0) {
        index_fill_keep(index);
        if (!index->damaged) index_mark_write(index_file(index, "mark", file), index->log_id, true, NULL);
    }
    index_free(index);
}

/* --- memory --- */

void index_add(struct index *index, const struct record *records, const uint64_t *numbers, size_t count)
{
    pthread_rwlock_wrlock(&index->lock);
    for (size_t at = 0; at < count; at++) index_tail_add(index->active, &records[at], numbers[at]);
    pthread_rwlock_unlock(&index->lock);
}

uint64_t index_behind(struct index *index)
{
    pthread_rwlock_rdlock(&index->lock);
    uint64_t behind = index->active->events + (index->frozen ? index->frozen->events : 0);
    pthread_rwlock_unlock(&index->lock);
    return behind;
}

uint64_t index_size(struct index *index)
{
    return index->env ? lmdb_env_size(index->env, NULL) : 0;
}

int index_checkpoint_now(struct index *index, struct index_checkpoint *checkpoint, struct fault *fault)
{
    struct index_state state = {0};
    if (index->env && index_read_state(index, &state, fault) < 0) return -1;
    *checkpoint = state.checkpoint;
    return 0;
}

void index_replace_take(struct index *index, struct index_tail *tail)
{
    CHECK(index->read_only);
    pthread_rwlock_wrlock(&index->lock);
    struct index_tail *old = index->active;
    index->active = tail;
    pthread_rwlock_unlock(&index->lock);
    tail_free(old);
}

/* --- look-ups on disk --- */

struct disk { /* a read transaction and what the runs are in it */
    struct lmdb_env_read *read;
    struct index_state state;
};

/* 1; 0: nothing on disk; -1 fault. */
static int disk_begin(struct index *index, struct disk *disk, struct fault *fault)
{
    if (!index->env) return 0;
    if (fault_point(POINT_INDEX_READ)) return fault_errno(fault, errno, "%s", index->path);
    if (lmdb_env_begin(index->env, &disk->read, fault) < 0) return -1;
    int code = index_state_get(disk->read->txn, lmdb_env_db(index->env, INDEX_DB_META), &disk->state);
    if (code == 0) return 1;
    lmdb_env_end(disk->read);
    return code == MDB_NOTFOUND ? 0 : index_fault(index, code, fault);
}

/* The last entry of the stream at or below version, in the newest run that has one. 0, MDB_NOTFOUND or a
 * code. */
static int disk_entry(struct disk *disk, struct slice key, uint64_t version, struct index_entry *entry)
{
    char wanted[INDEX_ENTRY_KEY_MAX];
    memcpy(wanted, key.data, key.size);
    struct slice at_most = slice_make(wanted, key.size + index_run_put_number(wanted + key.size, version));
    MDB_cursor *cursor = lmdb_env_cursor(disk->read, INDEX_DB_STREAMS);
    for (size_t run = disk->state.streams.count; run-- > 0;) {
        struct index_reader reader;
        int code = index_reader_floor(&reader, cursor, disk->state.streams.runs[run].number, at_most);
        if (code == MDB_NOTFOUND) continue;
        if (code) return code;
        struct slice found = index_reader_key(&reader);
        if (found.size <= key.size || memcmp(found.data, key.data, key.size) != 0) continue;
        return index_entry_read(found, reader.value, entry) ? 0 : MDB_CORRUPTED;
    }
    return MDB_NOTFOUND;
}

static void last_of(const struct index_commit *commit, uint64_t *version, uint64_t *position)
{
    *version = commit->version + commit->count - 1;
    *position = commit->position + commit->count - 1;
}

static bool tail_head(const struct index_tail *tail, struct slice key, uint64_t *version, uint64_t *position)
{
    const struct index_stream *stream = tail ? index_tail_find(tail, key) : NULL;
    if (stream) last_of(&stream->commits[stream->commit_count - 1], version, position);
    return stream != NULL;
}

int index_stream_head(struct index *index, struct slice key, uint64_t *version, uint64_t *position,
                      struct fault *fault)
{
    *version = *position = 0;
    pthread_rwlock_rdlock(&index->lock);
    bool found =
        tail_head(index->active, key, version, position) || tail_head(index->frozen, key, version, position);
    bool on_disk = !found && index_runs_may_have(index, index_filter_of_stream(key));
    pthread_rwlock_unlock(&index->lock);
    if (!on_disk) return 0;
    struct disk disk;
    int begun = disk_begin(index, &disk, fault);
    if (begun <= 0) return begun;
    struct index_entry entry;
    int code = disk_entry(&disk, key, UINT64_MAX, &entry);
    lmdb_env_end(disk.read);
    if (code == 0) last_of(&entry.commits[entry.count - 1], version, position);
    return code && code != MDB_NOTFOUND ? index_fault(index, code, fault) : 0;
}

/* --- a walk along a stream --- */

struct index_walk {
    struct index *index;
    char key[INDEX_KEY_SIZE_MAX];
    size_t key_size;
    uint64_t version; /* of the next event to give */
    struct disk disk;
    bool on_disk; /* the read transaction is open */
    struct index_entry entry;
    size_t entry_at;
    struct buf tail; /* commits that were in memory at open */
    size_t tail_at;
};

static void copy_tail(const struct index_tail *tail, struct slice key, uint64_t version, struct buf *out)
{
    const struct index_stream *stream = tail ? index_tail_find(tail, key) : NULL;
    for (size_t at = 0; stream && at < stream->commit_count; at++)
        if (index_commit_end(&stream->commits[at]) > version)
            buf_put(out, &stream->commits[at], sizeof stream->commits[at]);
}

int index_walk_open(struct index *index, struct slice key, uint64_t version, struct index_walk **out,
                    struct fault *fault)
{
    struct index_walk *walk = MEM_NEW(struct index_walk);
    walk->index = index;
    memcpy(walk->key, key.data, key.size);
    walk->key_size = key.size;
    walk->version = version ? version : 1;
    pthread_rwlock_rdlock(&index->lock);
    copy_tail(index->frozen, key, walk->version, &walk->tail);
    copy_tail(index->active, key, walk->version, &walk->tail);
    bool on_disk = index_runs_may_have(index, index_filter_of_stream(key));
    pthread_rwlock_unlock(&index->lock);
    const struct index_commit *first = (const struct index_commit *)(void *)walk->tail.data;
    if (on_disk && (!first || first->version > walk->version)) {
        int begun = disk_begin(index, &walk->disk, fault);
        if (begun < 0) {
            index_walk_close(walk);
            return -1;
        }
        walk->on_disk = begun;
    }
    *out = walk;
    return 0;
}

/* 1: commit is the one on disk that holds walk->version; 0: none; -1 fault. */
static int walk_disk(struct index_walk *walk, struct index_commit *commit, struct fault *fault)
{
    struct index_entry *entry = &walk->entry;
    for (int round = 0; round < 2; round++) {
        for (; walk->entry_at < entry->count; walk->entry_at++)
            if (index_commit_end(&entry->commits[walk->entry_at]) > walk->version) {
                *commit = entry->commits[walk->entry_at++];
                return 1;
            }
        if (round == 1) break;
        int code = disk_entry(&walk->disk, slice_make(walk->key, walk->key_size), walk->version, entry);
        if (code) entry->count = 0;
        if (code && code != MDB_NOTFOUND) return index_fault(walk->index, code, fault);
        walk->entry_at = 0;
    }
    return 0;
}

int index_walk_next(struct index_walk *walk, struct index_commit *commit, struct fault *fault)
{
    if (walk->on_disk) {
        int found = walk_disk(walk, commit, fault);
        if (found < 0) return -1;
        if (found && commit->version > walk->version) return index_fault(walk->index, MDB_CORRUPTED, fault);
        if (found) {
            walk->version = index_commit_end(commit);
            return 1;
        }
        lmdb_env_end(walk->disk.read);
        walk->on_disk = false;
    }
    while (walk->tail_at < walk->tail.size) {
        memcpy(commit, walk->tail.data + walk->tail_at, sizeof *commit);
        walk->tail_at += sizeof *commit;
        if (index_commit_end(commit) <= walk->version) continue; /* flushed meanwhile: was found on disk */
        if (commit->version > walk->version) return index_fault(walk->index, MDB_CORRUPTED, fault);
        walk->version = index_commit_end(commit);
        return 1;
    }
    return 0;
}

void index_walk_close(struct index_walk *walk)
{
    if (!walk) return;
    if (walk->on_disk) lmdb_env_end(walk->disk.read);
    buf_release(&walk->tail);
    mem_free(walk);
}

int index_copy(struct index *index, const char *path, const char *log_id, struct fault *fault)
{
    char mark[4200];
    if (!index->env) return 0;
    if (lmdb_env_copy(index->env, path, fault) < 0) return -1;
    snprintf(mark, sizeof mark, "%s/mark", path);
    return index_mark_write(mark, log_id, true, fault);
}

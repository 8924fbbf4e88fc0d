/* Restoring: records go into LMDB as they are, several megabytes in one transaction, so that what is there is
 * the beginning of the log at any moment. The engine's own journal is empty meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/backup.h"
#include "store/engine_lmdb.h"
#include "store/epochs.h"

enum { BATCH_SIZE = 8 << 20 };

struct kept { /* in the batch: where its bytes lie */
    enum archive_kind kind;
    uint64_t number;
    size_t at, size, value_at; /* META: key, then the value */
};

struct restore {
    char *data;
    int lock_fd;
    struct engine_lmdb lmdb; /* only names, log, path and head are used */
    struct buf bytes;        /* the batch */
    struct kept *list;
    size_t count, max;
    uint32_t names_stored;
    struct names *names; /* of the file at hand */
    uint32_t names_end;  /* of them, up to here */
    uint64_t epoch;
    bool added, changed; /* a file is whole in it; something was written */
    bool was_pending;
};

static const char *mark_file(const char *data, char file[4096])
{
    snprintf(file, 4096, "%s/restoring", data);
    return file;
}

bool restore_is_pending(const char *data)
{
    char file[4096];
    return access(mark_file(data, file), F_OK) == 0;
}

static int sync_folder(const char *path, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || (fsync(fd) < 0 && errno != EINVAL) ? errno : 0;
    if (fd >= 0) close(fd);
    return error ? fault_errno(fault, error, "%s", path) : 0;
}

/* --- what is there --- */

static int mark(const char *data, struct fault *fault)
{
    char file[4096];
    int fd = open(mark_file(data, file), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return fault_errno(fault, errno, "%s", file);
    close(fd);
    return sync_folder(data, fault);
}

/* A log that was written to by a hub: all of it into LMDB. */
static int settle(const char *data, struct fault *fault)
{
    char path[4200];
    struct engine *engine;
    struct engine_options options = {.path = data};
    snprintf(path, sizeof path, "%s/log", data);
    if (access(path, F_OK) < 0 || restore_is_pending(data)) return 0;
    if (engine_open_lmdb(&options, &engine, fault) < 0) return -1;
    engine_close(engine);
    return 0;
}

static int load(struct restore *restore, struct fault *fault)
{
    char path[4200];
    struct engine_lmdb *lmdb = &restore->lmdb;
    struct lmdb_env_read *read;
    struct buf id = {0};
    struct lmdb_env_options options = {.path = path,
                                       .db_count = 4,
                                       .db_names = {"commits", "outcomes", "names", "meta"},
                                       .db_flags = {MDB_INTEGERKEY, MDB_INTEGERKEY, MDB_INTEGERKEY, 0}};
    snprintf(path, sizeof path, "%s/log", restore->data);
    if (lmdb_env_open(&options, &lmdb->log, fault) < 0 || lmdb_env_begin(lmdb->log, &read, fault) < 0)
        return -1;
    int result = engine_lmdb_load_names(lmdb, read, fault);
    if (result == 0) result = engine_lmdb_load_head(lmdb, read, &lmdb->head, fault);
    if (result == 0) result = engine_lmdb_meta_read(lmdb, read, slice_of("log_id"), &id, fault);
    /* One that nothing was ever written to becomes the one that is restored. */
    if (result > 0 && (lmdb->head.position || lmdb->head.outcomes))
        snprintf(lmdb->head.log_id, sizeof lmdb->head.log_id, "%.*s", SLICE_ARGS(buf_slice(&id)));
    buf_release(&id);
    lmdb_env_end(read);
    restore->names_stored = names_count(lmdb->engine.names);
    return result < 0 ? -1 : 0;
}

static void restore_free(struct restore *restore)
{
    lmdb_env_close(restore->lmdb.log);
    if (restore->lock_fd >= 0) close(restore->lock_fd);
    names_free(restore->lmdb.engine.names);
    buf_release(&restore->bytes);
    mem_free(restore->list);
    mem_free(restore->data);
    mem_free(restore);
}

int restore_open(const char *data, struct restore **out, struct fault *fault)
{
    if (mkdir(data, 0755) < 0 && errno != EEXIST) return fault_errno(fault, errno, "%s", data);
    if (settle(data, fault) < 0) return -1;
    struct restore *restore = MEM_NEW(struct restore);
    restore->data = mem_text(data, strlen(data));
    restore->lmdb = (struct engine_lmdb){.path = restore->data};
    restore->lmdb.engine.names = names_new();
    restore->was_pending = restore_is_pending(data);
    restore->lock_fd = engine_lmdb_lock(data, fault);
    if (restore->lock_fd < 0 || mark(data, fault) < 0 || load(restore, fault) < 0) {
        restore_free(restore);
        return -1;
    }
    *out = restore;
    return 0;
}

/* --- writing --- */

static int write_name(struct restore *restore, MDB_txn *txn, size_t number)
{
    struct engine_lmdb *lmdb = &restore->lmdb;
    struct slice text = names_get(restore->names, (uint32_t)number);
    uint32_t crc = engine_lmdb_meta_crc(slice_make(&number, sizeof number), text);
    MDB_val key = lmdb_number(&number), value = {4 + text.size, NULL};
    int code = mdb_put(txn, lmdb_env_db(lmdb->log, LOG_DB_NAMES), &key, &value, MDB_RESERVE | MDB_APPEND);
    if (code) return code;
    memcpy(value.mv_data, &crc, 4);
    memcpy((char *)value.mv_data + 4, text.data, text.size);
    return 0;
}

static int write_one(struct restore *restore, MDB_txn *txn, const struct kept *kept)
{
    struct engine_lmdb *lmdb = &restore->lmdb;
    const char *bytes = restore->bytes.data + kept->at;
    if (kept->kind == ARCHIVE_META)
        return engine_lmdb_meta_write(lmdb, txn, slice_make(bytes, kept->value_at),
                                      slice_make(bytes + kept->value_at, kept->size - kept->value_at));
    size_t number = kept->number;
    MDB_val key = lmdb_number(&number), value = lmdb_val(slice_make(bytes, kept->size));
    size_t db = kept->kind == ARCHIVE_COMMIT ? LOG_DB_COMMITS : LOG_DB_OUTCOMES;
    return mdb_put(txn, lmdb_env_db(lmdb->log, db), &key, &value, MDB_APPEND);
}

/* May be called twice, when the map grew. */
static int write_batch(MDB_txn *txn, void *user)
{
    struct restore *restore = user;
    int code = 0;
    for (uint32_t name = restore->names_stored + 1, end = restore->names_end; name <= end && !code; name++)
        code = write_name(restore, txn, name);
    for (size_t at = 0; at < restore->count && !code; at++)
        code = write_one(restore, txn, &restore->list[at]);
    return code;
}

static int flush(struct restore *restore, struct fault *fault)
{
    uint64_t room = restore->bytes.size * 2 + restore->count * 64 + (1 << 20);
    if (lmdb_env_update(restore->lmdb.log, room, write_batch, restore, fault) < 0) return -1;
    restore->changed = true;
    if (restore->names_stored < restore->names_end) restore->names_stored = restore->names_end;
    restore->count = 0;
    buf_clear(&restore->bytes);
    return 0;
}

static int keep(struct restore *restore, enum archive_kind kind, uint64_t number, struct slice first,
                struct slice second, struct fault *fault)
{
    if (restore->count == restore->max) {
        restore->max = restore->max ? restore->max * 2 : 1024;
        restore->list = mem_resize(restore->list, restore->max * sizeof *restore->list);
    }
    restore->list[restore->count++] = (struct kept){.kind = kind,
                                                    .number = number,
                                                    .at = restore->bytes.size,
                                                    .size = first.size + second.size,
                                                    .value_at = first.size};
    buf_put_slice(&restore->bytes, first);
    buf_put_slice(&restore->bytes, second);
    return restore->bytes.size >= BATCH_SIZE ? flush(restore, fault) : 0;
}

/* --- a file --- */

static int does_not_follow(const struct restore *restore, const char *file, struct fault *fault)
{
    return fault_set(fault, FAULT_CONFLICT,
                     "%s does not follow what is in %s, which ends at position %" PRIu64
                     " and outcome %" PRIu64,
                     file, restore->data, restore->lmdb.head.position, restore->lmdb.head.outcomes);
}

static int check_head(struct restore *restore, const char *file, const struct archive_head *head,
                      struct fault *fault)
{
    const struct engine_head *here = &restore->lmdb.head;
    if (here->log_id[0] && strcmp(here->log_id, head->log_id) != 0)
        return fault_set(fault, FAULT_CONFLICT, "%s is of another log than %s", file, restore->data);
    if (head->what != ARCHIVE_BACKUP)
        return fault_set(
            fault, FAULT_CONFLICT,
            "%s is what a rollback cut, no backup: lore rollback --replay sends its commands again", file);
    bool other = head->before.position == here->position && !hash_equal(&head->before.chain, &here->chain);
    other = other || (head->before.outcomes == here->outcomes &&
                      !hash_equal(&head->before.outcome_chain, &here->outcome_chain));
    if (head->before.position > here->position || head->before.outcomes > here->outcomes ||
        head->after.position < here->position || head->after.outcomes < here->outcomes || other)
        return does_not_follow(restore, file, fault);
    return 0;
}

/* What is there already must be the same; what is not is kept. */
static int add_record(struct restore *restore, const struct archive_item *item, const char *file,
                      struct fault *fault)
{
    struct engine_head *here = &restore->lmdb.head;
    bool outcome = item->kind == ARCHIVE_OUTCOME;
    uint64_t last = outcome ? item->number : item->record.first_position + item->record.event_count - 1;
    uint64_t *reached = outcome ? &here->outcomes : &here->position;
    struct hash *chain = outcome ? &here->outcome_chain : &here->chain;
    if (last < *reached) return 0;
    if (last == *reached)
        return hash_equal(chain, &item->record.chain) ? 0 : does_not_follow(restore, file, fault);
    if (!outcome && item->record.first_position <= *reached) return does_not_follow(restore, file, fault);
    *reached = last;
    *chain = item->record.chain;
    if (!outcome) here->commits++;
    if (item->record.recorded_ms > here->recorded_ms) here->recorded_ms = item->record.recorded_ms;
    return keep(restore, item->kind, outcome ? item->number : item->record.first_position, item->record.bytes,
                SLICE_NONE, fault);
}

/* The log goes on in an epoch of its own. */
static int add_epoch(struct restore *restore, const struct archive_head *head, struct buf *epochs,
                     struct fault *fault)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, head->epoch + 1);
    epochs_add(epochs, head->epoch + 1, head->after.position + 1);
    if (keep(restore, ARCHIVE_META, 0, slice_of("epoch"), slice_of(text), fault) < 0) return -1;
    return keep(restore, ARCHIVE_META, 0, slice_of("epochs"), buf_slice(epochs), fault);
}

/* Names are a part of what the records say: those of both must be the same. */
static int check_names(struct restore *restore, const char *file, struct fault *fault)
{
    struct names *here = restore->lmdb.engine.names;
    uint32_t count =
        names_count(here) < names_count(restore->names) ? names_count(here) : names_count(restore->names);
    for (uint32_t name = 1; name <= count; name++)
        if (!slice_equal(names_get(here, name), names_get(restore->names, name)))
            return does_not_follow(restore, file, fault);
    return 0;
}

static int add_items(struct restore *restore, struct archive_reader *reader, const char *file,
                     struct fault *fault)
{
    struct archive_item item;
    struct buf epochs = {0};
    int got;
    bool first = true; /* all names were read then */
    while ((got = archive_next(reader, &item, fault)) > 0) {
        int done = first ? check_names(restore, file, fault) : 0;
        if (first) restore->names_end = names_count(restore->names);
        first = false;
        if (done == 0 && item.kind != ARCHIVE_META)
            done = add_record(restore, &item, file, fault);
        else if (done == 0 && slice_is(item.key, "epochs"))
            buf_put_slice(&epochs, item.value);
        else if (done == 0 && !slice_is(item.key, "epoch") && !slice_is(item.key, "journal"))
            done = keep(restore, ARCHIVE_META, 0, item.key, item.value, fault);
        if (done < 0) {
            got = -1;
            break;
        }
    }
    if (got == 0) got = add_epoch(restore, archive_head(reader), &epochs, fault);
    if (got == 0) got = flush(restore, fault);
    buf_release(&epochs);
    return got;
}

int restore_add(struct restore *restore, const char *file, struct fault *fault)
{
    struct archive_reader *reader;
    if (archive_open(file, &reader, fault) < 0) return -1;
    restore->names = archive_names(reader);
    restore->count = 0;
    buf_clear(&restore->bytes);
    int done = check_head(restore, file, archive_head(reader), fault);
    if (done == 0) done = add_items(restore, reader, file, fault);
    if (done == 0) {
        restore->added = true;
        memcpy(restore->lmdb.head.log_id, archive_head(reader)->log_id, sizeof restore->lmdb.head.log_id);
    }
    archive_close(reader);
    return done;
}

/* --- a log --- */

int restore_copy(struct engine *engine, const char *data, const char *log_id, struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    char path[4200];
    if (mkdir(data, 0755) < 0 && errno != EEXIST) return fault_errno(fault, errno, "%s", data);
    if (mark(data, fault) < 0) return -1;
    /* What is derived first: then the log has all that it speaks of. */
    snprintf(path, sizeof path, "%s/index", data);
    if (index_copy(lmdb->index, path, log_id, fault) < 0) return -1;
    snprintf(path, sizeof path, "%s/log", data);
    return lmdb_env_copy(lmdb->log, path, fault);
}

struct giving {
    struct restore *restore;
    const struct restore_engine *from;
};

static int give_value(void *user, struct slice key, struct slice value, struct fault *fault)
{
    struct giving *giving = user;
    const struct restore_engine *from = giving->from;
    if (slice_is(key, "log_id")) return 0;
    for (size_t at = 0; at < from->value_count; at++)
        if (slice_equal(key, from->values[at].key)) return 0;
    return keep(giving->restore, ARCHIVE_META, 0, key, value, fault);
}

static int add_records(struct restore *restore, struct engine *engine, bool outcomes, uint64_t end,
                       struct fault *fault)
{
    enum { RECORDS = 4096 }; /* with one cursor: a longer one would pin pages of a hub that writes */
    struct archive_item item = {.kind = outcomes ? ARCHIVE_OUTCOME : ARCHIVE_COMMIT};
    uint64_t *reached = outcomes ? &restore->lmdb.head.outcomes : &restore->lmdb.head.position;
    int done = 0;
    while (done == 0 && *reached < end) {
        struct engine_cursor *cursor;
        done = outcomes ? engine_read_outcomes(engine, *reached + 1, &cursor, fault)
                        : engine_read(engine, *reached + 1, &cursor, fault);
        if (done < 0) return -1;
        for (int left = RECORDS; left && done == 0 && *reached < end; left--) {
            int found = engine_cursor_next(cursor, &item.record, fault);
            item.number = *reached + 1;
            if (found > 0)
                done = add_record(restore, &item, "the log", fault);
            else
                done = found < 0 ? -1 : fault_set(fault, FAULT_CORRUPT, "the log ends before its head");
        }
        engine_cursor_close(cursor);
    }
    return done;
}

int restore_add_engine(struct restore *restore, const struct restore_engine *from, struct fault *fault)
{
    struct engine_head head;
    struct giving giving = {restore, from};
    restore->names = engine_names(from->engine);
    if (engine_lmdb_meta_each(from->engine, &head, give_value, &giving, fault) < 0) return -1;
    restore->names_end = from->until ? from->names : names_count(restore->names);
    struct archive_point until = from->until ? *from->until : archive_point_of(&head);
    int done = add_records(restore, from->engine, false, until.position, fault);
    if (done == 0) done = add_records(restore, from->engine, true, until.outcomes, fault);
    for (size_t at = 0; at < from->value_count && done == 0; at++)
        done = keep(restore, ARCHIVE_META, 0, from->values[at].key, from->values[at].value, fault);
    if (done == 0) done = keep(restore, ARCHIVE_META, 0, slice_of("log_id"), slice_of(from->log_id), fault);
    if (done == 0) done = flush(restore, fault);
    if (done == 0) restore->added = true;
    return done;
}

int restore_put(struct restore *restore, struct slice key, struct slice value, struct fault *fault)
{
    return keep(restore, ARCHIVE_META, 0, key, value, fault) < 0 ? -1 : flush(restore, fault);
}

struct archive_point restore_point(const struct restore *restore)
{
    return archive_point_of(&restore->lmdb.head);
}

int restore_close(struct restore *restore, struct fault *fault)
{
    char file[4096];
    struct engine *engine;
    int done = fault && restore->added ? 0 : -1;
    bool untouched = !restore->changed && !restore->was_pending;
    char *data = mem_text(restore->data, strlen(restore->data));
    mark_file(data, file);
    restore_free(restore);
    if (done < 0 && untouched) unlink(file);
    if (done == 0 && unlink(file) < 0) done = fault_errno(fault, errno, "%s", file);
    if (done == 0) done = sync_folder(data, fault);
    struct engine_options options = {.path = data};
    if (done == 0 && (done = engine_open_lmdb(&options, &engine, fault)) == 0) engine_close(engine);
    mem_free(data);
    return done;
}

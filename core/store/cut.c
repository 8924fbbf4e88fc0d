/* Cutting a log, step by step, and what an open finds of it. See cut.h. */
#include "store/cut.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/say.h"
#include "store/engine_lmdb.h"
#include "store/epochs.h"

/* Folders made from the log alone. */
static const char *const derived[] = {"index", "snapshots", "timers", "shapes"};

struct plan {
    char log_id[40], archive[128];
    uint64_t epoch, position; /* of the log after the cut */
};

void cut_archive_name(const struct cut *cut, char name[128])
{
    snprintf(name, 128, "archive/%s-%" PRIu64 "-%" PRIu64 "-%" PRIu64 ".lore", cut->log_id, cut->epoch,
             cut->before.position + 1, cut->after.position);
}

static int sync_folder(const char *path, struct fault *fault)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || (fsync(fd) < 0 && errno != EINVAL) ? errno : 0;
    if (fd >= 0) close(fd);
    return error ? fault_errno(fault, error, "%s", path) : 0;
}

/* --- the plan --- */

static const char *plan_file(const char *data, const char *end, char file[4096])
{
    snprintf(file, 4096, "%s/rollback%s", data, end);
    return file;
}

bool cut_is_pending(const char *data)
{
    char file[4096];
    return access(plan_file(data, "", file), F_OK) == 0;
}

static int write_text(const char *file, struct slice text, struct fault *fault)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return fault_errno(fault, errno, "%s", file);
    int error = fault_point(POINT_ROLLBACK_PLAN);
    if (!error) {
        ssize_t size = write(fd, text.data, text.size);
        if (size < 0)
            error = errno;
        else if ((size_t)size != text.size)
            error = ENOSPC;
    }
    if (!error && fsync(fd) < 0) error = errno;
    close(fd);
    return error ? fault_errno(fault, error, "%s", file) : 0;
}

static int plan_write(const char *data, const struct plan *plan, struct fault *fault)
{
    char text[512], file[4096], made[4096];
    int size = snprintf(text, sizeof text, "lore rollback 1\n%s %" PRIu64 " %" PRIu64 " %s\n", plan->log_id,
                        plan->epoch, plan->position, plan->archive);
    size += snprintf(text + size, sizeof text - (size_t)size, "%08x\n",
                     hash_crc32(slice_make(text, (size_t)size)));
    plan_file(data, ".new", made);
    plan_file(data, "", file);
    if (write_text(made, slice_make(text, (size_t)size), fault) < 0) {
        unlink(made);
        return -1;
    }
    if (rename(made, file) < 0) return fault_errno(fault, errno, "%s", file);
    return sync_folder(data, fault);
}

/* 1; 0: there is none; -1 fault. */
static int plan_read(const char *data, struct plan *plan, struct fault *fault)
{
    char text[512] = {0}, file[4096];
    unsigned crc;
    int used = 0;
    int fd = open(plan_file(data, "", file), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : fault_errno(fault, errno, "%s", file);
    ssize_t size = read(fd, text, sizeof text - 1);
    int error = errno;
    close(fd);
    if (size < 0) return fault_errno(fault, error, "%s", file);
    if (sscanf(text, "lore rollback 1\n%39s %" SCNu64 " %" SCNu64 " %127s\n%n%8x", plan->log_id, &plan->epoch,
               &plan->position, plan->archive, &used, &crc) != 5 ||
        crc != hash_crc32(slice_make(text, (size_t)used)))
        return fault_set(
            fault, FAULT_CORRUPT,
            "%s, what a rollback was about to do, is damaged; remove it if lore verify finds the "
            "log as it was written",
            file);
    return 1;
}

static int plan_remove(const char *data, struct fault *fault)
{
    char file[4096];
    if (unlink(plan_file(data, "", file)) < 0 && errno != ENOENT)
        return fault_errno(fault, errno, "%s", file);
    return sync_folder(data, fault);
}

static void archive_remove(const char *data, const struct plan *plan)
{
    char file[4300];
    snprintf(file, sizeof file, "%s/%s", data, plan->archive);
    if (unlink(file) < 0 && errno != ENOENT) say_warn("%s: %s", file, strerror(errno));
}

/* --- the archive --- */

static int keep(struct engine_lmdb *lmdb, const struct cut *cut, const struct plan *plan, struct fault *fault)
{
    char folder[4200], file[4300];
    struct archive_head head = {.what = ARCHIVE_CUT,
                                .epoch = cut->epoch,
                                .before = cut->before,
                                .after = cut->after,
                                .made_ms = clock_now_ms(lmdb->clock),
                                .names = names_count(lmdb->engine.names)};
    memcpy(head.log_id, cut->log_id, sizeof head.log_id);
    snprintf(folder, sizeof folder, "%s/archive", lmdb->path);
    snprintf(file, sizeof file, "%s/%s", lmdb->path, plan->archive);
    if (mkdir(folder, 0755) < 0 && errno != EEXIST) return fault_errno(fault, errno, "%s", folder);
    struct archive_writer *writer;
    if (archive_create(file, &head, &writer, fault) < 0) return -1;
    if (archive_put_log(writer, &lmdb->engine, fault) < 0) {
        archive_abandon(writer);
        return -1;
    }
    if (archive_finish(writer, fault) < 0) return -1;
    if (sync_folder(folder, fault) < 0) return -1;
    return sync_folder(lmdb->path, fault);
}

/* --- the transaction --- */

struct work {
    struct engine_lmdb *lmdb;
    const struct cut *cut;
    const struct cut_options *options;
    struct buf epochs;
};

/* All entries behind the number. */
static int drop_behind(struct engine_lmdb *lmdb, MDB_txn *txn, size_t db, uint64_t last)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    size_t number;
    if (last == 0) return mdb_drop(txn, lmdb_env_db(lmdb->log, db), 0);
    int code = mdb_cursor_open(txn, lmdb_env_db(lmdb->log, db), &cursor);
    if (code) return code;
    while ((code = mdb_cursor_get(cursor, &key, &value, MDB_LAST)) == 0) {
        memcpy(&number, key.mv_data, sizeof number);
        if (number <= last) break;
        if ((code = mdb_cursor_del(cursor, 0))) break;
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

static int cut_write(MDB_txn *txn, void *user)
{
    struct work *work = user;
    struct engine_lmdb *lmdb = work->lmdb;
    const struct cut_options *options = work->options;
    char epoch[24];
    snprintf(epoch, sizeof epoch, "%" PRIu64, work->cut->epoch + 1);
    int code = fault_point(POINT_ROLLBACK_CUT);
    if (!code) code = drop_behind(lmdb, txn, LOG_DB_COMMITS, work->cut->before.position);
    if (!code) code = drop_behind(lmdb, txn, LOG_DB_OUTCOMES, work->cut->before.outcomes);
    if (!code) code = drop_behind(lmdb, txn, LOG_DB_NAMES, work->cut->names);
    if (!code) code = engine_lmdb_meta_write(lmdb, txn, slice_of("epoch"), slice_of(epoch));
    if (!code) code = engine_lmdb_meta_write(lmdb, txn, slice_of("epochs"), buf_slice(&work->epochs));
    for (size_t at = 0; at < options->value_count && !code; at++)
        code = engine_lmdb_meta_write(lmdb, txn, options->values[at].key, options->values[at].value);
    return code;
}

static int cut_log(struct engine_lmdb *lmdb, const struct cut *cut, const struct cut_options *options,
                   struct fault *fault)
{
    struct work work = {.lmdb = lmdb, .cut = cut, .options = options};
    uint64_t room = 4 << 20;
    for (size_t at = 0; at < options->value_count; at++) room += 2 * options->values[at].value.size;
    int result = engine_meta_get(&lmdb->engine, slice_of("epochs"), &work.epochs, fault);
    if (result >= 0) {
        epochs_add(&work.epochs, cut->epoch + 1, cut->before.position + 1);
        result = lmdb_env_update(lmdb->log, room, cut_write, &work, fault);
    }
    buf_release(&work.epochs);
    return result;
}

int cut_run(struct engine *engine, const struct cut *cut, const struct cut_options *options,
            struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    CHECK(engine->ops == &engine_lmdb_ops && !lmdb->read_only);
    struct plan plan = {.epoch = cut->epoch + 1, .position = cut->before.position};
    snprintf(plan.log_id, sizeof plan.log_id, "%s", cut->log_id);
    cut_archive_name(cut, plan.archive);
    struct fault ignored;
    if (engine_lmdb_settle(lmdb, fault) < 0 || plan_write(lmdb->path, &plan, fault) < 0) return -1;
    fault_point(POINT_ROLLBACK_PLANNED);
    int result = keep(lmdb, cut, &plan, fault);
    fault_point(POINT_ROLLBACK_ARCHIVED);
    if (result == 0) result = cut_log(lmdb, cut, options, fault);
    if (result == 0) {
        fault_point(POINT_ROLLBACK_DONE);
        return 0;
    }
    archive_remove(lmdb->path, &plan);
    plan_remove(lmdb->path, &ignored);
    return -1;
}

/* --- what an open finds --- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    return remove(path);
}

static int remove_derived(const char *data, struct fault *fault)
{
    char path[4200];
    for (size_t at = 0; at < sizeof derived / sizeof *derived; at++) {
        snprintf(path, sizeof path, "%s/%s", data, derived[at]);
        fault_point(POINT_ROLLBACK_DERIVED);
        if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
            return fault_errno(fault, errno, "%s", path);
    }
    return 0;
}

int cut_complete(struct engine_lmdb *lmdb, struct fault *fault)
{
    struct plan plan;
    char file[4200];
    int found = plan_read(lmdb->path, &plan, fault);
    if (found <= 0) return found;
    if (strcmp(plan.log_id, lmdb->head.log_id) != 0 || plan.epoch != lmdb->head.epoch) {
        say_warn("%s: a rollback to position %" PRIu64 " was not carried out: all is as before it",
                 lmdb->path, plan.position);
        archive_remove(lmdb->path, &plan);
        return plan_remove(lmdb->path, fault);
    }
    say_info("%s: the log was cut behind position %" PRIu64 ", epoch %" PRIu64 " begins", lmdb->path,
             plan.position, plan.epoch);
    /* What it says is the end of the log before the cut. */
    snprintf(file, sizeof file, "%s/log/head", lmdb->path);
    if (unlink(file) < 0 && errno != ENOENT) return fault_errno(fault, errno, "%s", file);
    fault_point(POINT_ROLLBACK_HEAD);
    return remove_derived(lmdb->path, fault) < 0 ? -1 : 1;
}

int cut_end(struct engine_lmdb *lmdb, struct fault *fault)
{
    fault_point(POINT_ROLLBACK_END);
    return plan_remove(lmdb->path, fault);
}

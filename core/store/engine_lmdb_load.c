/* What the LMDB engine reads at open: names, head, index. A read_only engine reads the same again whenever
 * the log that another process writes has moved on. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limit.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/engine_lmdb.h"

enum { FEED_RECORDS = 1024, REBUILD_EVENTS = 500000 };

/* --- names --- */

static int load_name(struct engine_lmdb *lmdb, MDB_val key, MDB_val value, struct fault *fault)
{
    size_t number = 0;
    uint32_t crc;
    struct names *names = lmdb->engine.names;
    struct slice text = slice_make((char *)value.mv_data + 4, value.mv_size < 4 ? 0 : value.mv_size - 4);
    if (key.mv_size == sizeof number) memcpy(&number, key.mv_data, sizeof number);
    if (value.mv_size >= 4) memcpy(&crc, value.mv_data, 4);
    if (value.mv_size <= 4 || crc != engine_lmdb_meta_crc(slice_make(&number, sizeof number), text))
        return fault_set(fault, FAULT_CORRUPT, "%s/log: name %zu is damaged", lmdb->path, number);
    if (names_find(names, text) == 0 && names_count(names) + 1 == number) names_intern(names, text);
    if (names_find(names, text) != number)
        return fault_set(fault, FAULT_CORRUPT, "%s/log: name %zu is out of order", lmdb->path, number);
    return 0;
}

int engine_lmdb_load_names(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct fault *fault)
{
    size_t number = names_count(lmdb->engine.names) + 1;
    MDB_cursor *cursor = lmdb_env_cursor(read, LOG_DB_NAMES);
    MDB_val key = lmdb_number(&number), value;
    int code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT))
        if (load_name(lmdb, key, value, fault) < 0) return -1;
    return code == MDB_NOTFOUND ? 0 : lmdb_env_fault(lmdb->log, code, fault);
}

/* --- head --- */

/* 1: the last record of a database; 0: it is empty; -1 fault. */
static int last_record(struct engine_lmdb *lmdb, struct lmdb_env_read *read, size_t db, size_t *key_number,
                       struct record *record, struct fault *fault)
{
    MDB_val key, value;
    int code = mdb_cursor_get(lmdb_env_cursor(read, db), &key, &value, MDB_LAST);
    if (code == MDB_NOTFOUND) return 0;
    if (code) return lmdb_env_fault(lmdb->log, code, fault);
    memcpy(key_number, key.mv_data, sizeof *key_number);
    if (record_open(lmdb_slice(value), lmdb->engine.names, record, fault) < 0 ||
        record_check_crc(record, fault) < 0)
        return -1;
    return 1;
}

int engine_lmdb_load_head(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct engine_head *head,
                          struct fault *fault)
{
    struct record record;
    size_t number;
    MDB_stat stat;
    int found = last_record(lmdb, read, LOG_DB_COMMITS, &number, &record, fault);
    if (found < 0) return -1;
    if (found) {
        if (record.first_position != number || record.event_count == 0)
            return fault_set(fault, FAULT_CORRUPT, "%s/log: the last commit is damaged", lmdb->path);
        head->position = record.first_position + record.event_count - 1;
        head->recorded_ms = record.recorded_ms;
        head->chain = record.chain;
    }
    int code = mdb_stat(read->txn, lmdb_env_db(lmdb->log, LOG_DB_COMMITS), &stat);
    if (code) return lmdb_env_fault(lmdb->log, code, fault);
    head->commits = stat.ms_entries;
    found = last_record(lmdb, read, LOG_DB_OUTCOMES, &number, &record, fault);
    if (found < 0) return -1;
    if (found) {
        head->outcomes = number;
        head->outcome_chain = record.chain;
        if (record.recorded_ms > head->recorded_ms) head->recorded_ms = record.recorded_ms;
    }
    return 0;
}

int engine_lmdb_check_head(struct engine_lmdb *lmdb, struct fault *fault)
{
    char file[4096];
    struct head_slot slots[HEAD_SLOTS];
    bool found;
    const struct engine_head *head = &lmdb->head;
    struct hash digest = head_digest(&head->chain, &head->outcome_chain);
    snprintf(file, sizeof file, "%s/log/head", lmdb->path);
    if (head_read(file, slots, &found, fault) < 0) return -1;
    for (int at = 0; at < HEAD_SLOTS; at++) {
        const struct head_slot *slot = &slots[at];
        if (found && !slot->valid) say_warn("%s: slot %d is damaged; it is written anew", file, at);
        if (!slot->valid) continue;
        if (slot->position > head->position || slot->outcomes > head->outcomes)
            return fault_set(
                fault, FAULT_CORRUPT,
                "%s/log lost its end: %s recorded position %llu and %llu outcomes, the log ends at %llu and "
                "%llu; restore a backup, or remove %s to go on without what was lost",
                lmdb->path, file, (unsigned long long)slot->position, (unsigned long long)slot->outcomes,
                (unsigned long long)head->position, (unsigned long long)head->outcomes, file);
        if (slot->position == head->position && slot->outcomes == head->outcomes &&
            !hash_equal(&slot->digest, &digest))
            return fault_set(fault, FAULT_CORRUPT,
                             "%s/log does not end as %s recorded; see what lore verify says", lmdb->path,
                             file);
    }
    if (head_open(file, &lmdb->head_file, fault) < 0) return -1;
    for (int at = 0; at < HEAD_SLOTS; at++)
        if (head_write(&lmdb->head_file, head->position, head->outcomes, &digest) < 0)
            return fault_set(fault, FAULT_DISK, "%s cannot be written", file);
    if (fdatasync(lmdb->head_file.fd) < 0) return fault_errno(fault, errno, "%s", file);
    /* The name of this file, and those of the journal's. */
    return lmdb_env_sync_directory(lmdb->log, fault);
}

/* --- index --- */

/* Calls give for every record of a database behind `after`. */
struct feed {
    struct engine_lmdb *lmdb;
    struct record records[FEED_RECORDS];
    uint64_t numbers[FEED_RECORDS];
    size_t count;
    struct index_tail *tail; /* NULL: into the index */
};

static int feed_flush(struct feed *feed, struct fault *fault)
{
    struct engine_lmdb *lmdb = feed->lmdb;
    uint64_t events;
    if (feed->tail) {
        for (size_t at = 0; at < feed->count; at++)
            index_tail_add(feed->tail, &feed->records[at], feed->numbers[at]);
    } else {
        index_add(lmdb->index, feed->records, feed->numbers, feed->count);
        if (!lmdb->read_only && index_behind(lmdb->index) >= REBUILD_EVENTS &&
            index_flush(lmdb->index, &events, fault) < 0)
            return -1;
    }
    feed->count = 0;
    return 0;
}

static int feed_database(struct feed *feed, struct log_view *view, size_t db, uint64_t after, uint64_t end,
                         struct fault *fault)
{
    struct engine_lmdb *lmdb = feed->lmdb;
    struct log_scan scan;
    struct slice bytes;
    uint64_t number;
    if (after >= end) return 0;
    int more = log_scan_open(&scan, view, db, after + 1, fault);
    while (more >= 0 && (more = log_scan_next(&scan, &number, &bytes, fault)) > 0 && number <= end) {
        struct record *record = &feed->records[feed->count];
        /* An index fed with damage would let later commits take versions that are taken. */
        struct fault inner = {0};
        if (record_open(bytes, lmdb->engine.names, record, &inner) < 0 ||
            record_check_crc(record, &inner) < 0) {
            more = fault_set(fault, FAULT_CORRUPT, "%s/log, %s %llu: %s", lmdb->path,
                             db == LOG_DB_COMMITS ? "position" : "outcome", (unsigned long long)number,
                             inner.text);
        } else if (db == LOG_DB_COMMITS ? record->first_position != number || !record->event_count
                                        : record->event_count > 0) {
            more = fault_set(fault, FAULT_CORRUPT, "%s/log: the record at %llu is damaged", lmdb->path,
                             (unsigned long long)number);
        } else {
            feed->numbers[feed->count++] = db == LOG_DB_COMMITS ? 0 : number;
            if (feed->count == FEED_RECORDS) more = feed_flush(feed, fault);
        }
    }
    log_scan_close(&scan);
    return more < 0 ? -1 : feed_flush(feed, fault);
}

/* Everything behind position and outcomes up to the head, into the index or into tail. */
static int feed_index(struct engine_lmdb *lmdb, struct log_view *view, const struct engine_head *head,
                      uint64_t position, uint64_t outcomes, struct index_tail *tail, struct fault *fault)
{
    struct feed *feed = MEM_NEW(struct feed);
    feed->lmdb = lmdb;
    feed->tail = tail;
    int result = feed_database(feed, view, LOG_DB_COMMITS, position, head->position, fault);
    if (result == 0) result = feed_database(feed, view, LOG_DB_OUTCOMES, outcomes, head->outcomes, fault);
    mem_free(feed);
    return result;
}

bool engine_lmdb_agrees(void *user, const struct index_checkpoint *checkpoint)
{
    struct engine_lmdb *lmdb = user;
    struct log_view view;
    struct log_scan scan;
    struct record record;
    struct slice bytes;
    uint64_t number;
    /* The process that writes may have appended and flushed since the head was read. */
    if (engine_lmdb_view(lmdb, &view, NULL) < 0) return false;
    bool agrees = checkpoint->position <= lmdb->head.position && checkpoint->outcomes <= lmdb->head.outcomes;
    if (agrees && checkpoint->position) {
        agrees = log_scan_open(&scan, &view, LOG_DB_COMMITS, checkpoint->position, NULL) == 0 &&
                 log_scan_next(&scan, &number, &bytes, NULL) > 0 &&
                 record_open(bytes, lmdb->engine.names, &record, NULL) == 0 &&
                 record.first_position + record.event_count - 1 == checkpoint->position &&
                 hash_equal(&record.chain, &checkpoint->chain);
        log_scan_close(&scan);
    }
    log_view_close(&view);
    return agrees;
}

int engine_lmdb_load_index(struct engine_lmdb *lmdb, uint64_t map_size, struct fault *fault)
{
    char path[4096];
    struct index_checkpoint checkpoint;
    struct index *index;
    struct log_view view;
    snprintf(path, sizeof path, "%s/index", lmdb->path);
    struct index_options options = {.path = path,
                                    .read_only = lmdb->read_only,
                                    .map_size = map_size,
                                    .log_id = lmdb->head.log_id,
                                    .agrees = engine_lmdb_agrees,
                                    .log = lmdb};
    if (index_open(&options, &index, &checkpoint, fault) < 0) return -1;
    /* Before the engine has it: a view brings the engine's index up to the log, from where its head was. */
    int result = engine_lmdb_view(lmdb, &view, fault);
    lmdb->index = index;
    if (result < 0) return -1;
    result = feed_index(lmdb, &view, &lmdb->head, checkpoint.position, checkpoint.outcomes, NULL, fault);
    log_view_close(&view);
    return result;
}

/* --- following another process --- */

/* What the other process has flushed by now need not be kept in memory. */
static int trim(struct engine_lmdb *lmdb, struct log_view *view, struct fault *fault)
{
    struct index_checkpoint checkpoint;
    if (index_checkpoint_now(lmdb->index, &checkpoint, fault) < 0) return -1;
    if (checkpoint.position + 2 * LIMIT_INDEX_BEHIND > lmdb->head.position) {
        struct index_tail *tail = MEM_NEW(struct index_tail);
        if (feed_index(lmdb, view, &lmdb->head, checkpoint.position, checkpoint.outcomes, tail, fault) == 0) {
            index_replace_take(lmdb->index, tail);
            return 0;
        }
        index_tail_release(tail);
        mem_free(tail);
        return -1;
    }
    return 0;
}

/* One look at LMDB and the journal behind it. *mark and *end tell how far it got, if it fails, too. */
static int look(struct engine_lmdb *lmdb, struct log_view *view, struct engine_head *head,
                struct journal_mark *mark, struct journal_end *end, struct fault *fault)
{
    char path[4096];
    struct lmdb_env_read *read;
    snprintf(path, sizeof path, "%s/log", lmdb->path);
    if (lmdb_env_begin(lmdb->log, &read, fault) < 0) return -1;
    size_t transaction = mdb_txn_id(read->txn);
    if (transaction == lmdb->followed && !journal_moved(path, lmdb->mark.key, &lmdb->followed_end)) {
        log_view_open(view, lmdb, read);
        return 0;
    }
    *head = lmdb->head;
    head->position = head->outcomes = head->commits = 0;
    head->chain = head->outcome_chain = (struct hash){0};
    struct log_tail *tails[JOURNAL_HALVES] = {0};
    int result = engine_lmdb_load_names(lmdb, read, fault);
    if (result == 0) result = engine_lmdb_load_head(lmdb, read, head, fault);
    if (result == 0) result = engine_lmdb_read_mark(lmdb, read, mark, fault);
    if (result == 0 && mark->key) result = engine_lmdb_replay(lmdb, mark, head, tails, end, fault);
    if (result < 0) {
        lmdb_env_end(read);
        return -1;
    }
    lmdb->mark = *mark;
    lmdb->followed = transaction;
    lmdb->followed_end = *end;
    pthread_rwlock_wrlock(&lmdb->tails_lock);
    log_tail_drop(lmdb->frozen);
    log_tail_drop(lmdb->active);
    lmdb->frozen = tails[0];
    lmdb->active = tails[1];
    pthread_rwlock_unlock(&lmdb->tails_lock);
    log_view_open(view, lmdb, read);
    return 0;
}

/* Beside a process that writes, the journal may be written over while it is read: what was found there counts
 * only if it stood still meanwhile. */
static int look_still(struct engine_lmdb *lmdb, struct log_view *view, struct engine_head *head,
                      struct fault *fault)
{
    struct journal_mark mark = {0}, mark_before;
    struct journal_end end = {0}, end_before;
    struct fault inner = {0};
    for (int round = 0;; round++) {
        mark_before = mark;
        end_before = end;
        *head = lmdb->head;
        if (look(lmdb, view, head, &mark, &end, &inner) == 0) return 0;
        bool still =
            round > 0 && mark.sequence == mark_before.sequence && end.sequence == end_before.sequence;
        if (inner.code != FAULT_CORRUPT || still) return fault_set(fault, inner.code, "%s", inner.text);
    }
}

static int follow(struct engine_lmdb *lmdb, struct log_view *view, struct fault *fault)
{
    struct engine_head head, before = lmdb->head;
    if (look_still(lmdb, view, &head, fault) < 0) return -1;
    if (head.position <= before.position && head.outcomes <= before.outcomes) return 0;
    if (lmdb->index && feed_index(lmdb, view, &head, before.position, before.outcomes, NULL, fault) < 0) {
        log_view_close(view);
        return -1;
    }
    pthread_mutex_lock(&lmdb->head_lock);
    lmdb->head = head;
    pthread_mutex_unlock(&lmdb->head_lock);
    if (lmdb->index && index_behind(lmdb->index) > 4 * LIMIT_INDEX_BEHIND && trim(lmdb, view, fault) < 0) {
        log_view_close(view);
        return -1;
    }
    return 0;
}

int engine_lmdb_view(struct engine_lmdb *lmdb, struct log_view *view, struct fault *fault)
{
    if (!lmdb->read_only) {
        log_view_open(view, lmdb, NULL);
        return 0;
    }
    pthread_mutex_lock(&lmdb->follow_lock);
    int result = follow(lmdb, view, fault);
    pthread_mutex_unlock(&lmdb->follow_lock);
    return result;
}

int engine_lmdb_follow(struct engine_lmdb *lmdb, struct fault *fault)
{
    struct log_view view;
    if (engine_lmdb_view(lmdb, &view, fault) < 0) return -1;
    log_view_close(&view);
    return 0;
}

/* From the append to LMDB. An entry of the journal is durable and answered; its records are in the active
 * tail. When the half is full the tail is frozen, the journal turns to its other half, and the flusher moves
 * the frozen one into LMDB with one transaction, which also records the last sequence number it holds (the
 * mark). So LMDB is whole by itself at any time. A start after a crash reads what the journal has behind the
 * mark into tails and goes on where the journal ends.
 *
 * Records in a body: 4 bytes size, then the record. */
#include <endian.h>
#include <stdio.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/say.h"
#include "base/thread.h"
#include "store/engine_lmdb.h"

static const char MARK_KEY[] = "journal";

/* --- into LMDB --- */

static int write_names(struct engine_lmdb *lmdb, MDB_txn *txn)
{
    for (size_t number = lmdb->names_flushed + 1; number <= lmdb->frozen->names_saved; number++) {
        struct slice text = names_get(lmdb->engine.names, (uint32_t)number);
        uint32_t crc = engine_lmdb_meta_crc(slice_make(&number, sizeof number), text);
        MDB_val key = lmdb_number(&number), value = {4 + text.size, NULL};
        int code = mdb_put(txn, lmdb_env_db(lmdb->log, LOG_DB_NAMES), &key, &value, MDB_RESERVE | MDB_APPEND);
        if (code) return code;
        memcpy(value.mv_data, &crc, 4);
        memcpy((char *)value.mv_data + 4, text.data, text.size);
    }
    return 0;
}

static int write_mark(struct engine_lmdb *lmdb, MDB_txn *txn, const struct journal_mark *mark)
{
    uint64_t numbers[2] = {htole64(mark->key), htole64(mark->sequence)};
    return engine_lmdb_meta_write(lmdb, txn, slice_of(MARK_KEY), slice_make(numbers, sizeof numbers));
}

/* May be called twice, when the map grew. */
static int write_frozen(MDB_txn *txn, void *user)
{
    struct engine_lmdb *lmdb = user;
    struct log_tail *tail = lmdb->frozen;
    struct journal_mark mark = {lmdb->mark.key, tail->sequence};
    int code = fault_point(POINT_LOG_COMMIT);
    for (size_t db = 0; db < LOG_TAIL_LISTS; db++)
        for (size_t at = 0; at < tail->lists[db].count && !code; at++) {
            const struct log_tail_record *record = log_tail_record(&tail->lists[db], at);
            size_t number = record->number;
            MDB_val key = lmdb_number(&number), value = lmdb_val(record->bytes);
            code = mdb_put(txn, lmdb_env_db(lmdb->log, db), &key, &value, MDB_APPEND);
        }
    if (!code) code = write_names(lmdb, txn);
    struct log_tail_value *value;
    for (size_t at = 0; !code && (value = map_next(&tail->values, &at));)
        code = engine_lmdb_meta_write(lmdb, txn, value->key, value->value);
    return code ? code : write_mark(lmdb, txn, &mark);
}

/* Under flush_lock. The frozen tail does not change, so it is read without tails_lock. */
static int flush_frozen(struct engine_lmdb *lmdb, struct fault *fault)
{
    struct log_tail *tail = lmdb->frozen;
    if (!tail) return 0;
    uint64_t room = tail->bytes * 2 + tail->large * 4096 + (256 << 10);
    if (lmdb_env_update(lmdb->log, room, write_frozen, lmdb, fault) < 0) return -1;
    lmdb->mark.sequence = tail->sequence;
    lmdb->names_flushed = tail->names_saved;
    pthread_rwlock_wrlock(&lmdb->tails_lock);
    lmdb->frozen = NULL;
    pthread_rwlock_unlock(&lmdb->tails_lock);
    log_tail_drop(tail);
    return 0;
}

/* The active tail becomes the frozen one, which is NULL. */
static void freeze(struct engine_lmdb *lmdb)
{
    struct log_tail *tail = log_tail_new();
    CHECK(!lmdb->frozen);
    tail->names_saved = lmdb->active->names_saved;
    tail->sequence = lmdb->active->sequence;
    pthread_rwlock_wrlock(&lmdb->tails_lock);
    lmdb->frozen = lmdb->active;
    lmdb->active = tail;
    pthread_rwlock_unlock(&lmdb->tails_lock);
}

int engine_lmdb_make_room(struct engine_lmdb *lmdb, struct fault *fault)
{
    CHECK(!lmdb->read_only);
    if (!journal_full(lmdb->journal)) return 0;
    /* The flusher has it unless it is done, or failed: then it is tried again here, whose append depends on
     * it. */
    pthread_mutex_lock(&lmdb->flush_lock);
    int result = flush_frozen(lmdb, fault);
    if (result == 0) {
        freeze(lmdb);
        journal_turn(lmdb->journal);
        lmdb->flush_failed = false;
        pthread_cond_signal(&lmdb->flush_wanted);
    }
    pthread_mutex_unlock(&lmdb->flush_lock);
    return result;
}

static void *flusher_run(void *user)
{
    struct engine_lmdb *lmdb = user;
    struct fault fault;
    pthread_mutex_lock(&lmdb->flush_lock);
    while (!lmdb->stopping) {
        if (!lmdb->frozen || lmdb->flush_failed) {
            pthread_cond_wait(&lmdb->flush_wanted, &lmdb->flush_lock);
        } else if (flush_frozen(lmdb, &fault) < 0) {
            say_warn("%s; it is tried again when the journal is full", fault.text);
            lmdb->flush_failed = true;
        } else {
            journal_grow(lmdb->journal);
        }
    }
    pthread_mutex_unlock(&lmdb->flush_lock);
    return NULL;
}

void engine_lmdb_start_flusher(struct engine_lmdb *lmdb)
{
    lmdb->flushing = true;
    lmdb->flusher = thread_start(flusher_run, lmdb, "flusher");
}

int engine_lmdb_settle(struct engine_lmdb *lmdb, struct fault *fault)
{
    pthread_mutex_lock(&lmdb->flush_lock);
    lmdb->stopping = true;
    pthread_cond_signal(&lmdb->flush_wanted);
    pthread_mutex_unlock(&lmdb->flush_lock);
    if (lmdb->flushing) pthread_join(lmdb->flusher, NULL);
    lmdb->flushing = false;
    int result = flush_frozen(lmdb, fault);
    if (result == 0 && lmdb->active->sequence > lmdb->mark.sequence) {
        freeze(lmdb);
        result = flush_frozen(lmdb, fault);
    }
    journal_close(lmdb->journal);
    lmdb->journal = NULL;
    return result;
}

void engine_lmdb_close_journal(struct engine_lmdb *lmdb)
{
    struct fault fault;
    if (engine_lmdb_settle(lmdb, &fault) < 0)
        say_debug("%s; the next start goes on from the journal", fault.text);
}

/* --- what a crash left --- */

struct replay {
    struct engine_lmdb *lmdb;
    struct engine_head *head;
    struct log_tail *tails[JOURNAL_HALVES]; /* older first */
    size_t count;
    int half; /* of the journal that the last tail is of */
};

static struct log_tail *replay_tail(struct replay *replay)
{
    return replay->tails[replay->count - 1];
}

static int replay_record(struct replay *replay, struct slice bytes, struct fault *fault)
{
    struct engine_head *head = replay->head;
    struct record record;
    if (record_open(bytes, replay->lmdb->engine.names, &record, fault) < 0) return -1;
    bool positioned = engine_has_position(record.kind);
    struct hash *chain = positioned ? &head->chain : &head->outcome_chain;
    if (record_check(&record, chain, fault) < 0) return -1;
    if (positioned && (record.first_position != head->position + 1 || record.event_count == 0))
        return fault_set(fault, FAULT_CORRUPT, "position %llu follows %llu",
                         (unsigned long long)record.first_position, (unsigned long long)head->position);
    struct log_tail_record kept = {.bytes = bytes};
    if (positioned) {
        kept.number = head->position + 1;
        kept.last = head->position += record.event_count;
        head->commits++;
    } else {
        kept.number = kept.last = ++head->outcomes;
    }
    *chain = record.chain;
    if (record.recorded_ms > head->recorded_ms) head->recorded_ms = record.recorded_ms;
    log_tail_add(replay_tail(replay), positioned ? LOG_DB_COMMITS : LOG_DB_OUTCOMES, &kept);
    return 0;
}

static int replay_batch(struct replay *replay, struct slice body, struct fault *fault)
{
    struct buf copy = {0};
    buf_put_slice(&copy, body);
    body = buf_slice(&copy);
    log_tail_take(replay_tail(replay), &copy);
    while (body.size) {
        uint32_t size = 0;
        if (body.size >= sizeof size) memcpy(&size, body.data, sizeof size);
        size = le32toh(size);
        if (size == 0 || size > body.size - sizeof size)
            return fault_set(fault, FAULT_CORRUPT, "a record is cut off");
        if (replay_record(replay, slice_make(body.data + sizeof size, size), fault) < 0) return -1;
        body = slice_make(body.data + sizeof size + size, body.size - sizeof size - size);
    }
    return 0;
}

static int replay_meta(struct replay *replay, struct slice body, struct fault *fault)
{
    uint32_t size = 0;
    if (body.size >= sizeof size) memcpy(&size, body.data, sizeof size);
    size = le32toh(size);
    if (size == 0 || size > body.size - sizeof size)
        return fault_set(fault, FAULT_CORRUPT, "a value's name is cut off");
    const char *key = body.data + sizeof size;
    log_tail_put(replay_tail(replay), slice_make(key, size),
                 slice_make(key + size, body.size - sizeof size - size));
    return 0;
}

static int replay_entry(void *user, const struct journal_entry *entry, struct fault *fault)
{
    struct replay *replay = user;
    if (replay->count == 0 || replay->half != entry->half) {
        CHECK(replay->count < JOURNAL_HALVES);
        replay->tails[replay->count++] = log_tail_new();
        replay->half = entry->half;
    }
    int result = -1;
    switch (entry->kind) {
    case JOURNAL_BATCH: result = replay_batch(replay, entry->body, fault); break;
    case JOURNAL_META: result = replay_meta(replay, entry->body, fault); break;
    default: fault_set(fault, FAULT_CORRUPT, "an entry of kind %d", (int)entry->kind);
    }
    replay_tail(replay)->sequence = entry->sequence;
    replay_tail(replay)->names_saved = names_count(replay->lmdb->engine.names);
    return result;
}

int engine_lmdb_replay(struct engine_lmdb *lmdb, const struct journal_mark *mark, struct engine_head *head,
                       struct log_tail *tails[JOURNAL_HALVES], struct journal_end *end, struct fault *fault)
{
    char path[4096];
    struct replay replay = {.lmdb = lmdb, .head = head};
    snprintf(path, sizeof path, "%s/log", lmdb->path);
    int result = journal_read(path, mark, replay_entry, &replay, end, fault);
    if (replay.count < JOURNAL_HALVES) {
        replay.tails[1] = replay.tails[0];
        replay.tails[0] = NULL;
    }
    if (!replay.tails[1]) {
        replay.tails[1] = log_tail_new();
        replay.tails[1]->sequence = mark->sequence;
        replay.tails[1]->names_saved = names_count(lmdb->engine.names);
    }
    for (size_t at = 0; at < JOURNAL_HALVES; at++) {
        if (result == 0)
            tails[at] = replay.tails[at];
        else
            log_tail_drop(replay.tails[at]);
    }
    return result;
}

int engine_lmdb_read_mark(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct journal_mark *mark,
                          struct fault *fault)
{
    struct buf value = {0};
    uint64_t numbers[2] = {0};
    *mark = (struct journal_mark){0};
    int found = engine_lmdb_meta_read(lmdb, read, slice_of(MARK_KEY), &value, fault);
    if (found > 0 && value.size == sizeof numbers) {
        memcpy(numbers, value.data, sizeof numbers);
        *mark = (struct journal_mark){le64toh(numbers[0]), le64toh(numbers[1])};
    }
    buf_release(&value);
    return found < 0 ? -1 : 0;
}

/* A log that has none gets a key of its own: entries of another log will not have it. */
static int make_mark(struct engine_lmdb *lmdb, struct fault *fault)
{
    rand_bytes(&lmdb->mark.key, sizeof lmdb->mark.key);
    uint64_t numbers[2] = {htole64(lmdb->mark.key), 0};
    return engine_lmdb_meta_store(lmdb, slice_of(MARK_KEY), slice_make(numbers, sizeof numbers), fault);
}

int engine_lmdb_open_journal(struct engine_lmdb *lmdb, struct fault *fault)
{
    struct lmdb_env_read *read;
    struct journal_end end;
    char path[4096];
    if (lmdb_env_begin(lmdb->log, &read, fault) < 0) return -1;
    int result = engine_lmdb_read_mark(lmdb, read, &lmdb->mark, fault);
    lmdb_env_end(read);
    if (result == 0 && !lmdb->mark.key) result = make_mark(lmdb, fault);
    if (result < 0) return -1;
    struct log_tail *tails[JOURNAL_HALVES];
    lmdb->names_flushed = names_count(lmdb->engine.names);
    if (engine_lmdb_replay(lmdb, &lmdb->mark, &lmdb->head, tails, &end, fault) < 0) return -1;
    lmdb->frozen = tails[0];
    lmdb->active = tails[1];
    snprintf(path, sizeof path, "%s/log", lmdb->path);
    return journal_open(path, lmdb->mark.key, &end, &lmdb->journal, fault);
}

/* Small named values of the log: durable with their entry of the journal, then in memory until LMDB has them.
 */
#include "store/engine_lmdb.h"

enum { KEY_SIZE_MAX = 500 };

uint32_t engine_lmdb_meta_crc(struct slice key, struct slice value)
{
    uint32_t parts[2] = {hash_crc32(key), hash_crc32(value)};
    return hash_crc32(slice_make(parts, sizeof parts));
}

int engine_lmdb_meta_read(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct slice key,
                          struct buf *value, struct fault *fault)
{
    MDB_val at = lmdb_val(key), found;
    int code = mdb_get(read->txn, lmdb_env_db(lmdb->log, LOG_DB_META), &at, &found);
    if (code == MDB_NOTFOUND) return 0;
    if (code) return lmdb_env_fault(lmdb->log, code, fault);
    uint32_t crc = 0;
    struct slice stored = lmdb_slice(found);
    if (stored.size >= 4) memcpy(&crc, stored.data, 4);
    if (stored.size < 4 || crc != engine_lmdb_meta_crc(key, slice_make(stored.data + 4, stored.size - 4)))
        return fault_set(fault, FAULT_CORRUPT, "%s/log: the value %.*s is damaged", lmdb->path,
                         SLICE_ARGS(key));
    buf_put(value, stored.data + 4, stored.size - 4);
    return 1;
}

/* Whether a tail has it, the newer first. */
static bool in_tails(struct log_view *view, struct slice key, struct buf *value)
{
    struct log_tail_value *found = NULL;
    pthread_rwlock_rdlock(&view->lmdb->tails_lock);
    for (size_t tail = LOG_VIEW_TAILS; tail-- > 0 && !found;)
        if (view->tails[tail]) found = map_find(&view->tails[tail]->values, key);
    if (found) buf_put_slice(value, found->value);
    pthread_rwlock_unlock(&view->lmdb->tails_lock);
    return found != NULL;
}

int engine_lmdb_meta_get(struct engine *engine, struct slice key, struct buf *value, struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    struct log_view view;
    if (key.size == 0 || key.size > KEY_SIZE_MAX) return 0;
    if (engine_lmdb_view(lmdb, &view, fault) < 0) return -1;
    int result = in_tails(&view, key, value);
    if (!result && !view.read) result = lmdb_env_begin(lmdb->log, &view.read, fault);
    if (!result) result = engine_lmdb_meta_read(lmdb, view.read, key, value, fault);
    log_view_close(&view);
    return result;
}

int engine_lmdb_meta_put(struct engine *engine, struct slice key, struct slice value, struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    struct buf entry = {0};
    uint32_t size = (uint32_t)key.size;
    if (key.size == 0 || key.size > KEY_SIZE_MAX)
        return fault_set(fault, FAULT_MALFORMED, "a meta key must have 1 to %d bytes", KEY_SIZE_MAX);
    if (engine_lmdb_make_room(lmdb, fault) < 0) return -1;
    journal_begin(&entry);
    buf_put(&entry, &size, sizeof size);
    buf_put_slice(&entry, key);
    buf_put_slice(&entry, value);
    int result = journal_put(lmdb->journal, JOURNAL_META, &entry, fault);
    buf_release(&entry);
    if (result < 0) return -1;
    pthread_rwlock_wrlock(&lmdb->tails_lock);
    log_tail_put(lmdb->active, key, value);
    lmdb->active->sequence = journal_sequence(lmdb->journal);
    pthread_rwlock_unlock(&lmdb->tails_lock);
    return 0;
}

/* --- all of them --- */

static bool is_own(struct slice key)
{
    return slice_is(key, "journal");
}

static int each_stored(struct log_view *view,
                       int (*each)(void *user, struct slice key, struct slice value, struct fault *fault),
                       void *user, struct fault *fault)
{
    struct engine_lmdb *lmdb = view->lmdb;
    MDB_cursor *cursor = lmdb_env_cursor(view->read, LOG_DB_META);
    MDB_val key, value;
    struct buf current = {0};
    int code, result = 0;
    for (code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST); code == 0 && result == 0;
         code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        struct slice name = lmdb_slice(key);
        buf_clear(&current);
        if (is_own(name)) continue;
        if (!in_tails(view, name, &current) &&
            engine_lmdb_meta_read(lmdb, view->read, name, &current, fault) < 0)
            result = -1;
        else
            result = each(user, name, buf_slice(&current), fault);
    }
    buf_release(&current);
    if (result == 0 && code != MDB_NOTFOUND) return lmdb_env_fault(lmdb->log, code, fault);
    return result;
}

/* Those that LMDB does not have yet. */
static int each_of_tail(struct log_view *view, size_t tail,
                        int (*each)(void *user, struct slice key, struct slice value, struct fault *fault),
                        void *user, struct fault *fault)
{
    struct log_tail_value *value;
    int result = 0;
    for (size_t at = 0;
         result == 0 && view->tails[tail] && (value = map_next(&view->tails[tail]->values, &at));) {
        MDB_val key = lmdb_val(value->key), found;
        bool newer = tail == 0 && view->tails[1] && map_find(&view->tails[1]->values, value->key);
        int code = mdb_get(view->read->txn, lmdb_env_db(view->lmdb->log, LOG_DB_META), &key, &found);
        if (code == MDB_NOTFOUND && !newer && !is_own(value->key))
            result = each(user, value->key, value->value, fault);
    }
    return result;
}

int engine_lmdb_meta_each(struct engine *engine, struct engine_head *head,
                          int (*each)(void *user, struct slice key, struct slice value, struct fault *fault),
                          void *user, struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    struct log_view view;
    if (engine_lmdb_view(lmdb, &view, fault) < 0) return -1;
    *head = lmdb->head;
    int result = view.read ? 0 : lmdb_env_begin(lmdb->log, &view.read, fault);
    if (result == 0) result = each_stored(&view, each, user, fault);
    for (size_t tail = 0; tail < LOG_VIEW_TAILS && result == 0; tail++)
        result = each_of_tail(&view, tail, each, user, fault);
    log_view_close(&view);
    return result;
}

/* --- in LMDB --- */

int engine_lmdb_meta_write(struct engine_lmdb *lmdb, MDB_txn *txn, struct slice key, struct slice value)
{
    uint32_t crc = engine_lmdb_meta_crc(key, value);
    MDB_val at = lmdb_val(key), stored = {4 + value.size, NULL};
    int code = mdb_put(txn, lmdb_env_db(lmdb->log, LOG_DB_META), &at, &stored, MDB_RESERVE);
    if (code) return code;
    memcpy(stored.mv_data, &crc, 4);
    if (value.size) memcpy((char *)stored.mv_data + 4, value.data, value.size);
    return 0;
}

struct store {
    struct engine_lmdb *lmdb;
    struct slice key, value;
};

static int store_value(MDB_txn *txn, void *user)
{
    struct store *store = user;
    return engine_lmdb_meta_write(store->lmdb, txn, store->key, store->value);
}

int engine_lmdb_meta_store(struct engine_lmdb *lmdb, struct slice key, struct slice value,
                           struct fault *fault)
{
    struct store store = {lmdb, key, value};
    return lmdb_env_update(lmdb->log, value.size * 2 + (64 << 10), store_value, &store, fault);
}

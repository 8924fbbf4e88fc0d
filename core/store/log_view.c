#include "store/log_view.h"

#include "store/engine_lmdb.h"

void log_view_open(struct log_view *view, struct engine_lmdb *lmdb, struct lmdb_env_read *read)
{
    *view = (struct log_view){.lmdb = lmdb, .read = read};
    pthread_rwlock_rdlock(&lmdb->tails_lock);
    view->tails[0] = log_tail_hold(lmdb->frozen);
    view->tails[1] = log_tail_hold(lmdb->active);
    for (size_t tail = 0; tail < LOG_VIEW_TAILS; tail++)
        for (size_t list = 0; view->tails[tail] && list < LOG_TAIL_LISTS; list++)
            view->counts[tail][list] = view->tails[tail]->lists[list].count;
    pthread_rwlock_unlock(&lmdb->tails_lock);
}

void log_view_close(struct log_view *view)
{
    lmdb_env_end(view->read);
    for (size_t tail = 0; tail < LOG_VIEW_TAILS; tail++) log_tail_drop(view->tails[tail]);
    *view = (struct log_view){0};
}

static int view_begin(struct log_view *view, struct fault *fault)
{
    return view->read ? 0 : lmdb_env_begin(view->lmdb->log, &view->read, fault);
}

/* The record of a tail at this place; false behind its end as of the view. */
static bool tail_record(struct log_view *view, size_t tail, size_t db, size_t at,
                        struct log_tail_record *record)
{
    if (at >= view->counts[tail][db]) return false;
    *record = *log_tail_record(&view->tails[tail]->lists[db], at);
    return true;
}

static size_t tail_seek(struct log_view *view, size_t tail, size_t db, uint64_t number)
{
    if (view->counts[tail][db] == 0) return 0;
    return log_tail_seek(&view->tails[tail]->lists[db], view->counts[tail][db], number);
}

int log_view_get(struct log_view *view, size_t db, uint64_t number, struct slice *bytes, struct fault *fault)
{
    struct log_tail_record record;
    for (size_t tail = 0; tail < LOG_VIEW_TAILS; tail++)
        if (tail_record(view, tail, db, tail_seek(view, tail, db, number), &record) &&
            record.number == number) {
            *bytes = record.bytes;
            return 1;
        }
    if (view_begin(view, fault) < 0) return -1;
    size_t wanted = number;
    MDB_val key = lmdb_number(&wanted), value;
    int code = mdb_get(view->read->txn, lmdb_env_db(view->lmdb->log, db), &key, &value);
    if (code == MDB_NOTFOUND) return 0;
    if (code) return lmdb_env_fault(view->lmdb->log, code, fault);
    *bytes = lmdb_slice(value);
    return 1;
}

/* --- scans --- */

/* Whether the tails alone have all from number on. */
static bool tails_have(struct log_view *view, size_t db, uint64_t number)
{
    struct log_tail_record record;
    for (size_t tail = 0; tail < LOG_VIEW_TAILS; tail++)
        if (tail_record(view, tail, db, 0, &record)) return record.number <= number;
    return false;
}

static uint64_t number_of(MDB_val key)
{
    size_t number = 0;
    if (key.mv_size == sizeof number) memcpy(&number, key.mv_data, sizeof number);
    return number;
}

/* Places the cursor so that the commit holding scan->from (or the first behind it) comes next. */
static int seek_position(struct log_scan *scan, struct fault *fault)
{
    struct engine_lmdb *lmdb = scan->view->lmdb;
    size_t number = scan->from;
    struct record record;
    MDB_val key = lmdb_number(&number), value;
    int code = mdb_cursor_get(scan->cursor, &key, &value, MDB_SET_RANGE);
    scan->next = MDB_GET_CURRENT;
    if (code == 0 && number_of(key) == scan->from) return 0;
    if (code && code != MDB_NOTFOUND) return lmdb_env_fault(lmdb->log, code, fault);
    code = mdb_cursor_get(scan->cursor, &key, &value, code ? MDB_LAST : MDB_PREV);
    if (code == MDB_NOTFOUND) {
        scan->next = MDB_FIRST;
        return 0;
    }
    if (code) return lmdb_env_fault(lmdb->log, code, fault);
    struct fault inner = {0};
    if (record_open(lmdb_slice(value), lmdb->engine.names, &record, &inner) < 0)
        return fault_set(fault, FAULT_CORRUPT, "%s/log, position %llu: %s", lmdb->path,
                         (unsigned long long)number_of(key), inner.text);
    if (record.first_position + record.event_count <= scan->from) scan->next = MDB_NEXT;
    return 0;
}

static int seek_outcome(struct log_scan *scan, struct fault *fault)
{
    size_t number = scan->from;
    MDB_val key = lmdb_number(&number), value;
    int code = mdb_cursor_get(scan->cursor, &key, &value, MDB_SET_RANGE);
    scan->next = code ? MDB_NEXT : MDB_GET_CURRENT;
    if (code && code != MDB_NOTFOUND) return lmdb_env_fault(scan->view->lmdb->log, code, fault);
    if (code) mdb_cursor_get(scan->cursor, &key, &value, MDB_LAST);
    return 0;
}

int log_scan_open(struct log_scan *scan, struct log_view *view, size_t db, uint64_t from, struct fault *fault)
{
    *scan = (struct log_scan){.view = view, .db = db, .from = from, .next = MDB_FIRST};
    if (tails_have(view, db, from)) return 0;
    if (view_begin(view, fault) < 0) return -1;
    int code = mdb_cursor_open(view->read->txn, lmdb_env_db(view->lmdb->log, db), &scan->cursor);
    if (code) return lmdb_env_fault(view->lmdb->log, code, fault);
    if (from <= 1) return 0;
    return db == LOG_DB_COMMITS ? seek_position(scan, fault) : seek_outcome(scan, fault);
}

/* 1, or 0: LMDB has no more. */
static int next_stored(struct log_scan *scan, uint64_t *number, struct slice *bytes, struct fault *fault)
{
    MDB_val key, value;
    int code = mdb_cursor_get(scan->cursor, &key, &value, scan->next);
    if (code == MDB_NOTFOUND) return 0;
    if (code) return lmdb_env_fault(scan->view->lmdb->log, code, fault);
    scan->next = MDB_NEXT;
    *number = scan->last = number_of(key);
    *bytes = lmdb_slice(value);
    return 1;
}

static int next_of_tails(struct log_scan *scan, uint64_t *number, struct slice *bytes)
{
    struct log_tail_record record;
    for (; scan->tail < LOG_VIEW_TAILS; scan->tail++, scan->at = 0) {
        /* LMDB may have got the first ones meanwhile. */
        uint64_t from = scan->last >= scan->from ? scan->last + 1 : scan->from;
        if (scan->at == 0) scan->at = tail_seek(scan->view, scan->tail, scan->db, from);
        while (tail_record(scan->view, scan->tail, scan->db, scan->at, &record) &&
               record.number <= scan->last)
            scan->at++;
        if (!tail_record(scan->view, scan->tail, scan->db, scan->at, &record)) continue;
        scan->at++;
        scan->in_tail = true;
        *number = scan->last = record.number;
        *bytes = record.bytes;
        return 1;
    }
    return 0;
}

int log_scan_next(struct log_scan *scan, uint64_t *number, struct slice *bytes, struct fault *fault)
{
    if (scan->cursor) {
        int found = next_stored(scan, number, bytes, fault);
        if (found) return found;
        log_scan_close(scan);
    }
    return next_of_tails(scan, number, bytes);
}

void log_scan_close(struct log_scan *scan)
{
    if (scan->cursor) mdb_cursor_close(scan->cursor);
    scan->cursor = NULL;
}

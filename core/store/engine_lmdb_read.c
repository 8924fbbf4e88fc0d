/* Reading of the LMDB engine: cursors and look-ups. */
#include "base/check.h"
#include "base/mem.h"
#include "store/engine_lmdb.h"

struct cursor {
    struct engine_cursor cursor;
    struct engine_lmdb *lmdb;
    struct lmdb_env_read *read;
    size_t db;
    MDB_cursor *at;          /* engine_read, engine_read_outcomes: in log order */
    MDB_cursor_op next;      /* how it gets to the record to give next */
    size_t number;           /* of the last record given */
    struct index_walk *walk; /* engine_read_stream */
    char key[INDEX_KEY_SIZE_MAX];
    size_t key_size;
};

/* The stream's key; false if one of its names is unknown: then it was never written. */
static bool stream_key(struct engine_lmdb *lmdb, const struct stream_id *stream, char key[INDEX_KEY_SIZE_MAX],
                       struct slice *out)
{
    uint32_t tenant = names_find(lmdb->engine.names, stream->tenant);
    uint32_t aggregate = names_find(lmdb->engine.names, stream->aggregate);
    if (!tenant || !aggregate || stream->id.size == 0 || stream->id.size > LIMIT_ID_SIZE_MAX) return false;
    if (memchr(stream->id.data, 0, stream->id.size)) return false;
    *out = slice_make(key, index_key(tenant, aggregate, stream->id, key));
    return true;
}

static bool is_of_stream(const struct record *record, struct slice key)
{
    char own[INDEX_KEY_SIZE_MAX];
    if (record->id.size > LIMIT_ID_SIZE_MAX) return false;
    return slice_equal(slice_make(own, index_key(record->tenant, record->aggregate, record->id, own)), key);
}

static struct cursor *cursor_new(struct engine_lmdb *lmdb, size_t db, struct fault *fault)
{
    struct lmdb_env_read *read;
    if (engine_lmdb_begin(lmdb, &read, fault) < 0) return NULL;
    struct cursor *cursor = MEM_NEW(struct cursor);
    cursor->cursor.ops = lmdb->engine.ops;
    cursor->lmdb = lmdb;
    cursor->read = read;
    cursor->db = db;
    return cursor;
}

void engine_lmdb_cursor_close(struct engine_cursor *engine_cursor)
{
    struct cursor *cursor = (struct cursor *)engine_cursor;
    index_walk_close(cursor->walk);
    if (cursor->at) mdb_cursor_close(cursor->at);
    lmdb_env_end(cursor->read);
    mem_free(cursor);
}

/* --- in log order --- */

/* check: with its checksum, where commands are decided on it; scans leave that to verify. */
static int open_value(struct cursor *cursor, MDB_val key, MDB_val value, bool check, struct record *record,
                      struct fault *fault)
{
    struct engine_lmdb *lmdb = cursor->lmdb;
    if (key.mv_size == sizeof cursor->number) memcpy(&cursor->number, key.mv_data, sizeof cursor->number);
    struct fault inner = {0};
    if (record_open(lmdb_slice(value), lmdb->engine.names, record, &inner) < 0 ||
        (check && record_check_crc(record, &inner) < 0))
        return fault_set(fault, FAULT_CORRUPT, "%s/log, %s %zu: %s", lmdb->path,
                         cursor->db == LOG_DB_COMMITS ? "position" : "outcome", cursor->number, inner.text);
    bool fits = cursor->db == LOG_DB_COMMITS
                    ? record->first_position == cursor->number && record->event_count > 0
                    : record->event_count == 0;
    if (!fits)
        return fault_set(fault, FAULT_CORRUPT, "%s/log: the record at %zu is damaged", lmdb->path,
                         cursor->number);
    return 1;
}

/* Places the cursor so that the record holding position (or the first behind it) comes next. */
static int seek_position(struct cursor *cursor, uint64_t position, struct fault *fault)
{
    size_t number = position;
    struct record record;
    MDB_val key = lmdb_number(&number), value;
    int code = mdb_cursor_get(cursor->at, &key, &value, MDB_SET_RANGE);
    cursor->next = MDB_GET_CURRENT;
    if (code == 0 && memcmp(key.mv_data, &position, sizeof position) == 0) return 0;
    if (code && code != MDB_NOTFOUND) return lmdb_env_fault(cursor->lmdb->log, code, fault);
    bool behind = code == 0;
    code = mdb_cursor_get(cursor->at, &key, &value, behind ? MDB_PREV : MDB_LAST);
    if (code == MDB_NOTFOUND) {
        cursor->next = MDB_FIRST;
        return 0;
    }
    if (code) return lmdb_env_fault(cursor->lmdb->log, code, fault);
    if (open_value(cursor, key, value, false, &record, fault) < 0) return -1;
    if (record.first_position + record.event_count <= position) cursor->next = MDB_NEXT;
    return 0;
}

static int open_scan(struct engine_lmdb *lmdb, size_t db, uint64_t from, struct engine_cursor **out,
                     struct fault *fault)
{
    struct cursor *cursor = cursor_new(lmdb, db, fault);
    if (!cursor) return -1;
    int result = 0;
    int code = mdb_cursor_open(cursor->read->txn, lmdb_env_db(lmdb->log, db), &cursor->at);
    if (code)
        result = lmdb_env_fault(lmdb->log, code, fault);
    else if (from <= 1)
        cursor->next = MDB_FIRST;
    else if (db == LOG_DB_COMMITS)
        result = seek_position(cursor, from, fault);
    else {
        size_t number = from;
        MDB_val key = lmdb_number(&number), value;
        code = mdb_cursor_get(cursor->at, &key, &value, MDB_SET_RANGE);
        cursor->next = code ? MDB_NEXT : MDB_GET_CURRENT;
        if (code && code != MDB_NOTFOUND)
            result = lmdb_env_fault(lmdb->log, code, fault);
        else if (code)
            mdb_cursor_get(cursor->at, &key, &value, MDB_LAST);
    }
    if (result < 0) {
        engine_lmdb_cursor_close(&cursor->cursor);
        return -1;
    }
    *out = &cursor->cursor;
    return 0;
}

int engine_lmdb_read(struct engine *engine, uint64_t position, struct engine_cursor **cursor,
                     struct fault *fault)
{
    return open_scan((struct engine_lmdb *)engine, LOG_DB_COMMITS, position, cursor, fault);
}

int engine_lmdb_read_outcomes(struct engine *engine, uint64_t number, struct engine_cursor **cursor,
                              struct fault *fault)
{
    return open_scan((struct engine_lmdb *)engine, LOG_DB_OUTCOMES, number, cursor, fault);
}

static int next_scanned(struct cursor *cursor, struct record *record, struct fault *fault)
{
    MDB_val key, value;
    int code = mdb_cursor_get(cursor->at, &key, &value, cursor->next);
    if (code == MDB_NOTFOUND) return 0;
    if (code) return lmdb_env_fault(cursor->lmdb->log, code, fault);
    cursor->next = MDB_NEXT;
    return open_value(cursor, key, value, false, record, fault);
}

/* --- one stream --- */

int engine_lmdb_read_stream(struct engine *engine, const struct stream_id *stream, uint64_t version,
                            struct engine_cursor **out, struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    struct index_walk *walk = NULL;
    char key[INDEX_KEY_SIZE_MAX];
    struct slice found = SLICE_NONE;
    if (lmdb->read_only && engine_lmdb_follow(lmdb, fault) < 0) return -1;
    /* The walk first: what it names is in the log that is opened behind it. */
    if (stream_key(lmdb, stream, key, &found) &&
        index_walk_open(lmdb->index, found, version, &walk, fault) < 0)
        return -1;
    struct cursor *cursor = cursor_new(lmdb, LOG_DB_COMMITS, fault);
    if (!cursor) {
        index_walk_close(walk);
        return -1;
    }
    cursor->walk = walk;
    cursor->key_size = found.size;
    if (found.size) memcpy(cursor->key, key, found.size);
    *out = &cursor->cursor;
    return 0;
}

static int next_walked(struct cursor *cursor, struct record *record, struct fault *fault)
{
    struct index_commit commit;
    struct engine_lmdb *lmdb = cursor->lmdb;
    int walked = cursor->walk ? index_walk_next(cursor->walk, &commit, fault) : 0;
    if (walked <= 0) return walked;
    size_t number = commit.position;
    MDB_val key = lmdb_number(&number), value;
    int code = mdb_get(cursor->read->txn, lmdb_env_db(lmdb->log, LOG_DB_COMMITS), &key, &value);
    if (code && code != MDB_NOTFOUND) return lmdb_env_fault(lmdb->log, code, fault);
    if (code == 0 && open_value(cursor, key, value, true, record, fault) < 0) return -1;
    if (code || record->first_version != commit.version || record->event_count != commit.count ||
        !is_of_stream(record, slice_make(cursor->key, cursor->key_size)))
        return fault_set(
            fault, FAULT_CORRUPT,
            "%s/index names position %zu for a stream that is not there; remove %s/index to rebuild it",
            lmdb->path, number, lmdb->path);
    return 1;
}

int engine_lmdb_cursor_next(struct engine_cursor *engine_cursor, struct record *record, struct fault *fault)
{
    struct cursor *cursor = (struct cursor *)engine_cursor;
    return cursor->at ? next_scanned(cursor, record, fault) : next_walked(cursor, record, fault);
}

/* --- look-ups --- */

int engine_lmdb_stream_head(struct engine *engine, const struct stream_id *stream, uint64_t *version,
                            uint64_t *position, struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    char key[INDEX_KEY_SIZE_MAX];
    struct slice found;
    *version = *position = 0;
    if (lmdb->read_only && engine_lmdb_follow(lmdb, fault) < 0) return -1;
    if (!stream_key(lmdb, stream, key, &found)) return 0;
    return index_stream_head(lmdb->index, found, version, position, fault);
}

/* Commits before outcomes, each in order: what answers when an id was given twice. */
static uint64_t place_rank(uint64_t place)
{
    return (place & 1) << 63 | place >> 1;
}

/* 1: the place with the lowest rank whose record answers; 0: none; -1 fault. */
static int find_place(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct slice places,
                      struct slice stream, struct slice command_id, struct slice *bytes, struct fault *fault)
{
    uint64_t best = UINT64_MAX;
    for (size_t at = 0; at + 8 <= places.size; at += 8) {
        uint64_t place;
        struct record record;
        memcpy(&place, places.data + at, sizeof place);
        size_t number = place >> 1;
        if (place_rank(place) >= best) continue;
        MDB_val key = lmdb_number(&number), value;
        size_t db = place & 1 ? LOG_DB_OUTCOMES : LOG_DB_COMMITS;
        int code = mdb_get(read->txn, lmdb_env_db(lmdb->log, db), &key, &value);
        if (code == MDB_NOTFOUND)
            return fault_set(fault, FAULT_CORRUPT,
                             "%s/index names a record that is not there; remove it to rebuild it",
                             lmdb->path);
        if (code) return lmdb_env_fault(lmdb->log, code, fault);
        if (record_open(lmdb_slice(value), lmdb->engine.names, &record, fault) < 0 ||
            record_check_crc(&record, fault) < 0)
            return -1;
        if (!is_of_stream(&record, stream) || !engine_answers(&record, command_id)) continue;
        best = place_rank(place);
        *bytes = record.bytes;
    }
    return best != UINT64_MAX;
}

int engine_lmdb_find_command(struct engine *engine, const struct stream_id *stream, struct slice command_id,
                             struct buf *bytes, struct record *record, struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    struct buf places = {0};
    struct lmdb_env_read *read;
    char key[INDEX_KEY_SIZE_MAX];
    struct slice found_key, found;
    if (lmdb->read_only && engine_lmdb_follow(lmdb, fault) < 0) return -1;
    if (!stream_key(lmdb, stream, key, &found_key)) return 0;
    int result = index_places(lmdb->index, index_id_hash(found_key, command_id), &places, fault);
    if (result == 0 && places.size && (result = engine_lmdb_begin(lmdb, &read, fault)) == 0) {
        result = find_place(lmdb, read, buf_slice(&places), found_key, command_id, &found, fault);
        if (result > 0) {
            buf_clear(bytes);
            buf_put_slice(bytes, found);
            if (record_open(buf_slice(bytes), lmdb->engine.names, record, fault) < 0) result = -1;
        }
        lmdb_env_end(read);
    }
    buf_release(&places);
    return result;
}

struct each_adapter {
    bool (*each)(void *user, struct slice id, uint64_t version);
    void *user;
};

/* A key is tenant, aggregate, id and a 0. */
static bool each_key(void *user, struct slice key, uint64_t version)
{
    struct each_adapter *adapter = user;
    return adapter->each(adapter->user, slice_make(key.data + 8, key.size - 9), version);
}

int engine_lmdb_each_stream(struct engine *engine, struct slice tenant, struct slice aggregate,
                            bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                            struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    char key[INDEX_KEY_SIZE_MAX];
    struct slice found;
    struct each_adapter adapter = {each, user};
    struct stream_id any = {tenant, aggregate, slice_of("x")};
    if (lmdb->read_only && engine_lmdb_follow(lmdb, fault) < 0) return -1;
    if (!stream_key(lmdb, &any, key, &found)) return 0;
    return index_each_stream(lmdb->index, slice_make(key, 8), each_key, &adapter, fault);
}

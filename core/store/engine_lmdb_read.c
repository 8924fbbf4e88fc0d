/* Reading of the LMDB engine: cursors and look-ups. */
#include "base/check.h"
#include "base/mem.h"
#include "store/engine_lmdb.h"

struct cursor {
    struct engine_cursor cursor;
    struct engine_lmdb *lmdb;
    struct log_view view;
    size_t db;
    struct log_scan scan;    /* engine_read, engine_read_outcomes: in log order */
    struct index_walk *walk; /* engine_read_stream */
    bool is_scan;
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
    struct log_view view;
    if (engine_lmdb_view(lmdb, &view, fault) < 0) return NULL;
    struct cursor *cursor = MEM_NEW(struct cursor);
    cursor->cursor.ops = lmdb->engine.ops;
    cursor->lmdb = lmdb;
    cursor->view = view;
    cursor->db = db;
    return cursor;
}

void engine_lmdb_cursor_close(struct engine_cursor *engine_cursor)
{
    struct cursor *cursor = (struct cursor *)engine_cursor;
    index_walk_close(cursor->walk);
    log_scan_close(&cursor->scan);
    log_view_close(&cursor->view);
    mem_free(cursor);
}

/* --- in log order --- */

/* check: with its checksum, where commands are decided on it; scans leave that to verify. */
static int open_value(struct cursor *cursor, uint64_t number, struct slice bytes, bool check,
                      struct record *record, struct fault *fault)
{
    struct engine_lmdb *lmdb = cursor->lmdb;
    struct fault inner; /* 2 KiB: clearing it costs a scan a fifth of its time */
    if (record_open(bytes, lmdb->engine.names, record, &inner) < 0 ||
        (check && record_check_crc(record, &inner) < 0))
        return fault_set(fault, FAULT_CORRUPT, "%s/log, %s %llu: %s", lmdb->path,
                         cursor->db == LOG_DB_COMMITS ? "position" : "outcome", (unsigned long long)number,
                         inner.text);
    bool fits = cursor->db == LOG_DB_COMMITS ? record->first_position == number && record->event_count > 0
                                             : record->event_count == 0;
    if (!fits)
        return fault_set(fault, FAULT_CORRUPT, "%s/log: the record at %llu is damaged", lmdb->path,
                         (unsigned long long)number);
    return 1;
}

static int open_scan(struct engine_lmdb *lmdb, size_t db, uint64_t from, struct engine_cursor **out,
                     struct fault *fault)
{
    struct cursor *cursor = cursor_new(lmdb, db, fault);
    if (!cursor) return -1;
    cursor->is_scan = true;
    if (log_scan_open(&cursor->scan, &cursor->view, db, from, fault) < 0) {
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
    struct slice bytes;
    uint64_t number;
    int found = log_scan_next(&cursor->scan, &number, &bytes, fault);
    return found > 0 ? open_value(cursor, number, bytes, false, record, fault) : found;
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
    struct slice bytes;
    int found = log_view_get(&cursor->view, LOG_DB_COMMITS, commit.position, &bytes, fault);
    if (found < 0 || (found && open_value(cursor, commit.position, bytes, true, record, fault) < 0))
        return -1;
    if (!found || record->first_version != commit.version || record->event_count != commit.count ||
        !is_of_stream(record, slice_make(cursor->key, cursor->key_size)))
        return fault_set(
            fault, FAULT_CORRUPT,
            "%s/index names position %llu for a stream that is not there; remove %s/index to rebuild it",
            lmdb->path, (unsigned long long)commit.position, lmdb->path);
    return 1;
}

int engine_lmdb_cursor_next(struct engine_cursor *engine_cursor, struct record *record, struct fault *fault)
{
    struct cursor *cursor = (struct cursor *)engine_cursor;
    return cursor->is_scan ? next_scanned(cursor, record, fault) : next_walked(cursor, record, fault);
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
static int find_place(struct log_view *view, struct slice places, struct slice stream,
                      struct slice command_id, struct slice *bytes, struct fault *fault)
{
    struct engine_lmdb *lmdb = view->lmdb;
    uint64_t best = UINT64_MAX;
    for (size_t at = 0; at + 8 <= places.size; at += 8) {
        uint64_t place;
        struct record record;
        memcpy(&place, places.data + at, sizeof place);
        struct slice value;
        if (place_rank(place) >= best) continue;
        int there =
            log_view_get(view, place & 1 ? LOG_DB_OUTCOMES : LOG_DB_COMMITS, place >> 1, &value, fault);
        if (there < 0) return -1;
        if (!there)
            return fault_set(fault, FAULT_CORRUPT,
                             "%s/index names a record that is not there; remove it to rebuild it",
                             lmdb->path);
        if (record_open(value, lmdb->engine.names, &record, fault) < 0 ||
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
    struct log_view view;
    char key[INDEX_KEY_SIZE_MAX];
    struct slice found_key, found;
    if (lmdb->read_only && engine_lmdb_follow(lmdb, fault) < 0) return -1;
    if (!stream_key(lmdb, stream, key, &found_key)) return 0;
    int result = index_places(lmdb->index, index_id_hash(found_key, command_id), &places, fault);
    if (result == 0 && places.size && (result = engine_lmdb_view(lmdb, &view, fault)) == 0) {
        result = find_place(&view, buf_slice(&places), found_key, command_id, &found, fault);
        if (result > 0) {
            buf_clear(bytes);
            buf_put_slice(bytes, found);
            if (record_open(buf_slice(bytes), lmdb->engine.names, record, fault) < 0) result = -1;
        }
        log_view_close(&view);
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
                            struct slice beginning,
                            bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                            struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    char key[INDEX_KEY_SIZE_MAX];
    struct slice found;
    struct each_adapter adapter = {each, user};
    struct stream_id first = {tenant, aggregate, beginning.size ? beginning : slice_of("x")};
    if (lmdb->read_only && engine_lmdb_follow(lmdb, fault) < 0) return -1;
    if (!stream_key(lmdb, &first, key, &found)) return 0;
    return index_each_stream(lmdb->index, slice_make(key, 8 + beginning.size), each_key, &adapter, fault);
}

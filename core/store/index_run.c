#include "store/index_run.h"

#include <unistd.h>

#include "base/check.h"
#include "base/hash.h"
#include "store/lmdb_env.h"

size_t index_run_put_number(char *to, uint64_t value)
{
    size_t size = 0;
    while (size < 8 && value >> (8 * size)) size++;
    to[0] = (char)size;
    for (size_t at = 0; at < size; at++) to[1 + at] = (char)(value >> (8 * (size - 1 - at)));
    return 1 + size;
}

bool index_run_read_number(struct slice bytes, uint64_t *value)
{
    if (bytes.size == 0 || bytes.size > 9 || (size_t)bytes.data[0] != bytes.size - 1) return false;
    uint64_t read = 0;
    for (size_t at = 1; at < bytes.size; at++) read = read << 8 | (uint8_t)bytes.data[at];
    *value = read;
    return true;
}

static void put_run(char *to, uint32_t run)
{
    for (int at = 0; at < 4; at++) to[at] = (char)(run >> (24 - 8 * at));
}

/* The checksum of a chunk. Every look-up sums up some chunks of 2 kB, so it must cost a fraction of a
 * microsecond, which a CRC does not: four lanes side by side, each step of a lane a bijection, so that a
 * change within one word never vanishes before the lanes are folded. Against accidents, not against forgers.
 */
static uint32_t chunk_sum(struct slice key, struct slice entries)
{
    static const uint64_t odd = 0x9e3779b97f4a7c15ULL;
    uint64_t lanes[4] = {hash_fast(key, entries.size), 1, 2, 3};
    size_t at = 0;
    for (; at + sizeof lanes <= entries.size; at += sizeof lanes) {
        uint64_t words[4];
        memcpy(words, entries.data + at, sizeof words);
        for (int lane = 0; lane < 4; lane++) {
            uint64_t mixed = (lanes[lane] ^ words[lane]) * odd;
            lanes[lane] = mixed ^ mixed >> 29;
        }
    }
    uint64_t rest = hash_fast(slice_make(entries.data + at, entries.size - at), 0);
    uint64_t sum = hash_fast(slice_make(lanes, sizeof lanes), rest);
    return (uint32_t)(sum ^ sum >> 32);
}

/* --- writing --- */

static int writer_put_chunk(struct index_writer *writer)
{
    if (writer->chunk_entries == 0) return 0;
    size_t restarts = (writer->chunk_entries + INDEX_RESTART - 1) / INDEX_RESTART;
    for (size_t at = 0; at <= restarts; at++) {
        size_t number = at < restarts ? writer->restarts[at] : restarts;
        buf_put_byte(&writer->chunk, (uint8_t)number);
        buf_put_byte(&writer->chunk, (uint8_t)(number >> 8));
    }
    struct slice key = slice_make(writer->first, writer->first_size);
    struct slice entries = buf_slice(&writer->chunk);
    uint32_t sum = chunk_sum(key, entries);
    MDB_val at = lmdb_val(key), value = {4 + entries.size, NULL};
    int code = mdb_put(writer->txn, writer->db, &at, &value, MDB_RESERVE | MDB_APPEND);
    if (code) return code;
    uint8_t *to = value.mv_data;
    for (int n = 0; n < 4; n++) to[n] = (uint8_t)(sum >> (8 * n));
    memcpy(to + 4, entries.data, entries.size);
    buf_clear(&writer->chunk);
    writer->chunk_entries = 0;
    return 0;
}

/* Whether an entry may not fit any more: sizes and the row of restarts counted at their largest. */
static bool writer_is_full(const struct index_writer *writer, struct slice key, struct slice value)
{
    size_t restarts = 2 * (writer->chunk_entries / INDEX_RESTART + 2);
    return writer->first_size + writer->chunk.size + key.size + value.size + 12 + restarts > INDEX_CHUNK_SIZE;
}

int index_writer_add(struct index_writer *writer, struct slice key, struct slice value)
{
    CHECK(key.size > 0 && key.size <= INDEX_ENTRY_KEY_MAX);
    if (writer->entries) {
        int order = slice_compare(key, slice_make(writer->last, writer->last_size));
        CHECK(order >= 0);
        if (order == 0) return 0;
    }
    if (writer->chunk_entries && writer_is_full(writer, key, value)) {
        int code = writer_put_chunk(writer);
        if (code) return code;
    }
    size_t shared = 0;
    if (writer->chunk_entries == 0) {
        put_run(writer->first, writer->run);
        memcpy(writer->first + 4, key.data, key.size);
        writer->first_size = 4 + key.size;
    }
    if (writer->chunk_entries % INDEX_RESTART == 0) {
        writer->restarts[writer->chunk_entries / INDEX_RESTART] = (uint16_t)writer->chunk.size;
    } else {
        size_t max = key.size < writer->last_size ? key.size : writer->last_size;
        while (shared < max && key.data[shared] == writer->last[shared]) shared++;
    }
    buf_put_varint(&writer->chunk, shared);
    buf_put_varint(&writer->chunk, key.size - shared);
    buf_put(&writer->chunk, key.data + shared, key.size - shared);
    buf_put_varint(&writer->chunk, value.size);
    buf_put_slice(&writer->chunk, value);
    memcpy(writer->last, key.data, key.size);
    writer->last_size = key.size;
    writer->chunk_entries++;
    writer->entries++;
    return 0;
}

int index_writer_end(struct index_writer *writer)
{
    return writer_put_chunk(writer);
}

void index_writer_release(struct index_writer *writer)
{
    buf_release(&writer->chunk);
}

/* --- reading --- */

bool index_run_value_fits(MDB_val value, size_t size_max)
{
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE); /* LMDB's pages are as large or parts of such */
    return value.mv_size <= size_max && (uintptr_t)value.mv_data % page_size + value.mv_size <= page_size;
}

/* Takes the chunk that the cursor is at, if it is of this run: it is summed up before its key is believed. */
static int reader_take_chunk(struct index_reader *reader, MDB_val key, MDB_val value)
{
    char run[4];
    put_run(run, reader->run);
    if (key.mv_size < 4 || value.mv_size < 9 || !index_run_value_fits(value, 4 + INDEX_CHUNK_SIZE))
        return MDB_CORRUPTED;
    const uint8_t *bytes = value.mv_data, *end = bytes + value.mv_size;
    uint32_t stored =
        (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    if (stored != chunk_sum(lmdb_slice(key), slice_make(bytes + 4, value.mv_size - 4))) return MDB_CORRUPTED;
    if (memcmp(key.mv_data, run, 4) != 0) return MDB_NOTFOUND;
    size_t restarts = (size_t)end[-2] | (size_t)end[-1] << 8;
    if (restarts == 0 || value.mv_size < 6 + 2 * restarts) return MDB_CORRUPTED;
    reader->at = reader->start = bytes + 4;
    reader->end = end - 2 - 2 * restarts;
    reader->restart_count = restarts;
    reader->key_size = 0;
    return 0;
}

/* The next entry of the chunk. Every size meets what is left, whatever the checksum said. */
static int reader_entry(struct index_reader *reader)
{
    uint64_t shared, own, value_size;
    if (!buf_read_varint(&reader->at, reader->end, &shared) ||
        !buf_read_varint(&reader->at, reader->end, &own) || shared > reader->key_size ||
        own > sizeof reader->key - shared || own > (uint64_t)(reader->end - reader->at))
        return MDB_CORRUPTED;
    memcpy(reader->key + shared, reader->at, own);
    reader->key_size = shared + own;
    reader->at += own;
    if (!buf_read_varint(&reader->at, reader->end, &value_size) ||
        value_size > (uint64_t)(reader->end - reader->at))
        return MDB_CORRUPTED;
    reader->value = slice_make(reader->at, value_size);
    reader->at += value_size;
    return 0;
}

int index_reader_next(struct index_reader *reader)
{
    if (reader->at == reader->end) {
        MDB_val key, value;
        int code = mdb_cursor_get(reader->cursor, &key, &value, MDB_NEXT);
        if (code || (code = reader_take_chunk(reader, key, value))) return code;
    }
    return reader_entry(reader);
}

/* Moves the cursor to the last chunk that begins with at most key, or the run's first; MDB_NOTFOUND: the run
 * has none. */
static int reader_find_chunk(struct index_reader *reader, struct slice key)
{
    char text[4 + INDEX_ENTRY_KEY_MAX];
    CHECK(key.size <= INDEX_ENTRY_KEY_MAX);
    put_run(text, reader->run);
    if (key.size) memcpy(text + 4, key.data, key.size);
    MDB_val wanted = {4 + key.size, text}, found = wanted, value;
    int code = mdb_cursor_get(reader->cursor, &found, &value, MDB_SET_RANGE);
    /* A damaged branch page leads astray; then these orders do not hold. */
    if (code == 0 && slice_compare(lmdb_slice(found), lmdb_slice(wanted)) < 0) return MDB_CORRUPTED;
    bool exact = code == 0 && slice_equal(lmdb_slice(found), lmdb_slice(wanted));
    if (!exact && key.size) {
        if (code && code != MDB_NOTFOUND) return code;
        MDB_val before_key, before;
        int back = mdb_cursor_get(reader->cursor, &before_key, &before, code ? MDB_LAST : MDB_PREV);
        if (back == 0) {
            if (slice_compare(lmdb_slice(before_key), lmdb_slice(wanted)) > 0) return MDB_CORRUPTED;
            back = reader_take_chunk(reader, before_key, before);
            if (back != MDB_NOTFOUND) return back;
        } else if (back != MDB_NOTFOUND) {
            return back;
        }
        /* Nothing of this run before it: the key lies before the run's first chunk. */
        found = wanted;
        code = mdb_cursor_get(reader->cursor, &found, &value, MDB_SET_RANGE);
    }
    return code ? code : reader_take_chunk(reader, found, value);
}

static void reader_init(struct index_reader *reader, MDB_cursor *cursor, uint32_t run)
{
    *reader = (struct index_reader){.cursor = cursor, .run = run};
}

/* The entry at a restart begins with its whole key. */
static bool restart_key(const struct index_reader *reader, size_t restart, const uint8_t **at,
                        struct slice *key)
{
    const uint8_t *offset = reader->end + 2 * restart;
    uint64_t shared, own;
    *at = reader->start + (offset[0] | (size_t)offset[1] << 8);
    const uint8_t *from = *at;
    if (from >= reader->end || !buf_read_varint(&from, reader->end, &shared) ||
        !buf_read_varint(&from, reader->end, &own) || shared != 0 || own > (uint64_t)(reader->end - from))
        return false;
    *key = slice_make(from, own);
    return true;
}

/* Goes to the last restart whose key is at most key, or to the first: what is looked for lies behind it. */
static int reader_skip(struct index_reader *reader, struct slice key)
{
    size_t low = 0, high = reader->restart_count;
    const uint8_t *at;
    struct slice found;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (!restart_key(reader, middle, &at, &found)) return MDB_CORRUPTED;
        if (slice_compare(found, key) <= 0)
            low = middle;
        else
            high = middle;
    }
    if (!restart_key(reader, low, &at, &found)) return MDB_CORRUPTED;
    reader->at = at;
    return 0;
}

int index_reader_first(struct index_reader *reader, MDB_cursor *cursor, uint32_t run)
{
    return index_reader_seek(reader, cursor, run, SLICE_NONE);
}

int index_reader_seek(struct index_reader *reader, MDB_cursor *cursor, uint32_t run, struct slice key)
{
    reader_init(reader, cursor, run);
    int code = reader_find_chunk(reader, key);
    if (code == 0) code = reader_skip(reader, key);
    if (code) return code;
    do code = index_reader_next(reader);
    while (code == 0 && slice_compare(index_reader_key(reader), key) < 0);
    return code;
}

/* The chunk behind the one at hand is whole: its key is what said that a key looked for lies before it. */
static int reader_check_behind(const struct index_reader *reader)
{
    MDB_val key, value;
    struct index_reader behind = {.run = reader->run};
    int code = mdb_cursor_get(reader->cursor, &key, &value, MDB_NEXT);
    if (code == 0) code = reader_take_chunk(&behind, key, value);
    return code == MDB_NOTFOUND ? 0 : code;
}

int index_reader_floor(struct index_reader *reader, MDB_cursor *cursor, uint32_t run, struct slice key)
{
    reader_init(reader, cursor, run);
    int code = reader_find_chunk(reader, key);
    if (code == 0) code = reader_skip(reader, key);
    if (code) return code;
    struct index_reader ahead = *reader;
    bool found = false;
    /* Stays within the chunk: the next one begins behind key. */
    while (ahead.at < ahead.end) {
        code = reader_entry(&ahead);
        if (code) return code;
        if (slice_compare(index_reader_key(&ahead), key) > 0) return found ? 0 : MDB_NOTFOUND;
        *reader = ahead;
        found = true;
    }
    code = reader_check_behind(reader);
    return code ? code : found ? 0 : MDB_NOTFOUND;
}

int index_run_remove(MDB_txn *txn, MDB_dbi db, uint32_t run)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, db, &cursor);
    if (code) return code;
    char prefix[4];
    put_run(prefix, run);
    for (;;) {
        MDB_val key = {sizeof prefix, prefix}, value;
        code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (code || key.mv_size < 4 || memcmp(key.mv_data, prefix, 4) != 0) break;
        if ((code = mdb_cursor_del(cursor, 0))) break;
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

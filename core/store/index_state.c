/* The forms on disk: the state and the entries of streams. */
#include "base/hash.h"
#include "store/index_inside.h"

enum { STATE_FORMAT = 2, STATE_SIZE_MAX = 2048 };
static char STATE_KEY[] = "state";

/* --- the state --- */

static void put_runs(struct buf *out, const struct index_runs *runs)
{
    buf_put_varint(out, runs->count);
    for (size_t at = 0; at < runs->count; at++) {
        buf_put_varint(out, runs->runs[at].number);
        buf_put_varint(out, runs->runs[at].entries);
    }
}

static bool read_runs(const uint8_t **at, const uint8_t *end, struct index_runs *runs)
{
    uint64_t count, number;
    if (!buf_read_varint(at, end, &count) || count > INDEX_RUNS_MAX) return false;
    runs->count = (size_t)count;
    for (size_t run = 0; run < runs->count; run++) {
        if (!buf_read_varint(at, end, &number) || !buf_read_varint(at, end, &runs->runs[run].entries))
            return false;
        runs->runs[run].number = (uint32_t)number;
    }
    return true;
}

int index_state_put(MDB_txn *txn, MDB_dbi db, const struct index_state *state)
{
    struct buf out = {0};
    buf_put(&out, "\0\0\0\0", 4);
    buf_put_byte(&out, STATE_FORMAT);
    buf_put_varint(&out, state->checkpoint.position);
    buf_put_varint(&out, state->checkpoint.outcomes);
    buf_put_varint(&out, state->checkpoint.commits);
    buf_put(&out, state->checkpoint.chain.bytes, HASH_SIZE);
    buf_put_varint(&out, state->run_last);
    put_runs(&out, &state->streams);
    put_runs(&out, &state->ids);
    uint32_t crc = hash_crc32(slice_make(out.data + 4, out.size - 4));
    memcpy(out.data, &crc, 4);
    MDB_val key = {sizeof STATE_KEY, STATE_KEY}, value = lmdb_val(buf_slice(&out));
    int code = mdb_put(txn, db, &key, &value, 0);
    buf_release(&out);
    return code;
}

int index_state_get(MDB_txn *txn, MDB_dbi db, struct index_state *state)
{
    MDB_val key = {sizeof STATE_KEY, STATE_KEY}, value;
    int code = mdb_get(txn, db, &key, &value);
    if (code) return code;
    const uint8_t *at = value.mv_data, *end = at + value.mv_size;
    uint32_t crc;
    if (value.mv_size < 5 || !index_run_value_fits(value, STATE_SIZE_MAX)) return MDB_CORRUPTED;
    memcpy(&crc, at, 4);
    if (crc != hash_crc32(slice_make(at + 4, value.mv_size - 4))) return MDB_CORRUPTED;
    if (at[4] != STATE_FORMAT) return MDB_CORRUPTED;
    at += 5;
    uint64_t run_last;
    struct index_checkpoint *checkpoint = &state->checkpoint;
    if (!buf_read_varint(&at, end, &checkpoint->position) ||
        !buf_read_varint(&at, end, &checkpoint->outcomes) ||
        !buf_read_varint(&at, end, &checkpoint->commits) || end - at < HASH_SIZE)
        return MDB_CORRUPTED;
    memcpy(checkpoint->chain.bytes, at, HASH_SIZE);
    at += HASH_SIZE;
    if (!buf_read_varint(&at, end, &run_last) || !read_runs(&at, end, &state->streams) ||
        !read_runs(&at, end, &state->ids) || at != end)
        return MDB_CORRUPTED;
    state->run_last = (uint32_t)run_last;
    return 0;
}

/* --- an entry of a stream ---
 * value: varint first position, varint events; then for each further commit: varint events of others between,
 * varint events. Versions follow from the key's. */

void index_entry_value(const struct index_commit *commits, size_t count, struct buf *value)
{
    uint64_t end = 0;
    for (size_t at = 0; at < count; at++) {
        buf_put_varint(value, commits[at].position - end);
        buf_put_varint(value, commits[at].count);
        end = commits[at].position + commits[at].count;
    }
}

struct slice index_entry_stream(struct slice key)
{
    /* tenant, aggregate, id without a 0 byte, 0, number */
    const char *zero = key.size > 8 ? memchr(key.data + 8, 0, key.size - 8) : NULL;
    size_t size = zero ? (size_t)(zero + 1 - key.data) : 0;
    return size > INDEX_KEY_SIZE_MAX ? SLICE_NONE : slice_make(key.data, size);
}

bool index_entry_read(struct slice key, struct slice value, struct index_entry *entry)
{
    uint64_t version, end = 0;
    entry->key = index_entry_stream(key);
    if (entry->key.size == 0) return false;
    struct slice number = slice_make(key.data + entry->key.size, key.size - entry->key.size);
    if (!index_run_read_number(number, &version)) return false;
    const uint8_t *at = (const uint8_t *)value.data, *stop = at + value.size;
    for (entry->count = 0; at < stop; entry->count++) {
        uint64_t between;
        if (entry->count == INDEX_ENTRY_COMMITS_MAX) return false;
        struct index_commit *commit = &entry->commits[entry->count];
        if (!buf_read_varint(&at, stop, &between) || !buf_read_varint(&at, stop, &commit->count))
            return false;
        commit->position = end + between;
        commit->version = version;
        version += commit->count;
        end = commit->position + commit->count;
    }
    return entry->count > 0;
}

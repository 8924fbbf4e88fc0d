#include "store/docs_inside.h"

#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

enum { DATABASES = 3 };

/* Under this meta key lie the names of the indexes, each with a NUL behind it. */
static const struct slice indexes_key = {"\0indexes", 8};

/* --- keys and values --- */

bool docs_key(struct buf *out, struct slice tenant, struct slice key)
{
    if (tenant.size > LIMIT_TENANT_SIZE_MAX || key.size == 0 || key.size > LIMIT_DOCUMENT_KEY_SIZE_MAX)
        return false;
    if (tenant.size > 0 && memchr(tenant.data, 0, tenant.size)) return false;
    buf_put_slice(out, tenant);
    buf_put_byte(out, 0);
    buf_put_slice(out, key);
    return true;
}

uint32_t docs_crc(struct slice stored_key, struct slice value)
{
    /* An odd factor keeps every difference of the keys and lets equal key and value not cancel out. */
    return hash_crc32(value) ^ (hash_crc32(stored_key) * 0x9e3779b1u);
}

/* Which document or meta value a stored key names, in words, for a fault. */
static void key_words(struct slice stored_key, char *words, size_t size)
{
    size_t used = 0;
    for (size_t at = 0; at < stored_key.size && used + 1 < size; at++) {
        char byte = stored_key.data[at];
        if (byte == 0)
            words[used++] = '/';
        else
            words[used++] = (unsigned char)byte < 0x20 || byte == 0x7f ? '?' : byte;
    }
    words[used] = 0;
}

int docs_open_value(const struct docs *docs, MDB_val stored_key, MDB_val stored, struct slice *value,
                    struct fault *fault)
{
    struct slice key = docs_slice(stored_key);
    if (stored.mv_size >= DOCS_CRC_SIZE) {
        const uint8_t *bytes = stored.mv_data;
        struct slice inside = slice_make(bytes, stored.mv_size - DOCS_CRC_SIZE);
        const uint8_t *end = bytes + inside.size;
        uint32_t crc =
            (uint32_t)end[0] | (uint32_t)end[1] << 8 | (uint32_t)end[2] << 16 | (uint32_t)end[3] << 24;
        if (crc == docs_crc(key, inside)) {
            *value = inside;
            return 0;
        }
    }
    char words[400];
    key_words(key, words, sizeof words);
    return fault_set(fault, FAULT_CORRUPT, "%s: the value of %s is not what was written (checksum)",
                     environment_path(docs->environment), words);
}

int docs_find(const struct docs *docs, MDB_txn *txn, MDB_dbi database, struct slice stored_key,
              struct slice *value, struct fault *fault)
{
    MDB_val key = docs_val(stored_key), stored;
    int code = mdb_get(txn, database, &key, &stored);
    if (code == MDB_NOTFOUND) return 0;
    if (code) return environment_fault(docs->environment, code, "cannot read", fault);
    return docs_open_value(docs, key, stored, value, fault) < 0 ? -1 : 1;
}

/* --- open and close --- */

static void index_names_put(const struct docs_options *options, struct buf *out)
{
    for (size_t i = 0; i < options->index_count; i++) {
        buf_put_text(out, options->indexes[i]);
        buf_put_byte(out, 0);
    }
}

/* Takes the names of the indexes from what is stored; false if that is damaged. */
static bool index_names_take(struct docs *docs, struct slice stored)
{
    size_t at = 0;
    while (at < stored.size) {
        const char *end = memchr(stored.data + at, 0, stored.size - at);
        if (!end || docs->index_count == LIMIT_INDEXES_MAX) return false;
        size_t size = (size_t)(end - stored.data) - at;
        if (size == 0 || size >= sizeof docs->index_names[0]) return false;
        memcpy(docs->index_names[docs->index_count++], stored.data + at, size + 1);
        at += size + 1;
    }
    return true;
}

/* Opens the three databases; a new environment gets them and the names of its indexes in one commit. */
static int databases_open(struct docs *docs, MDB_txn *txn, const struct docs_options *options, bool *dirty,
                          struct fault *fault)
{
    unsigned int flags = options->read_only ? 0 : MDB_CREATE;
    int code = mdb_dbi_open(txn, "documents", flags, &docs->documents);
    if (code == MDB_NOTFOUND)
        return fault_set(fault, FAULT_NOT_FOUND, "%s: nothing was written to it yet",
                         environment_path(docs->environment));
    if (!code) code = mdb_dbi_open(txn, "indexes", flags, &docs->indexes);
    if (!code) code = mdb_dbi_open(txn, "meta", flags, &docs->meta);
    if (code) return environment_fault(docs->environment, code, "cannot open the databases", fault);
    struct slice stored = SLICE_NONE;
    int found = docs_find(docs, txn, docs->meta, indexes_key, &stored, fault);
    if (found < 0) return -1;
    struct buf asked = {0};
    index_names_put(options, &asked);
    int result = 0;
    if (!found && !options->read_only) {
        uint32_t crc = docs_crc(indexes_key, buf_slice(&asked));
        stored = buf_slice(&asked);
        bool taken = index_names_take(docs, stored);
        CHECK(taken); /* they were just written */
        for (int i = 0; i < DOCS_CRC_SIZE; i++) buf_put_byte(&asked, (uint8_t)(crc >> 8 * i));
        MDB_val key = docs_val(indexes_key), value = docs_val(buf_slice(&asked));
        code = mdb_put(txn, docs->meta, &key, &value, 0);
        if (code) result = environment_fault(docs->environment, code, "cannot make the databases", fault);
    } else if (!found || !index_names_take(docs, stored)) {
        result = fault_set(fault, FAULT_CORRUPT, "%s: the names of its indexes are lost",
                           environment_path(docs->environment));
    } else if (options->indexes && !slice_equal(stored, buf_slice(&asked))) {
        *dirty = true;
    }
    buf_release(&asked);
    return result;
}

static int docs_open_inside(struct docs *docs, const struct docs_options *options, bool *dirty,
                            struct fault *fault)
{
    struct environment_options inside = {.path = options->path,
                                         .read_only = options->read_only,
                                         .databases_max = DATABASES,
                                         .map_size = options->map_size};
    if (environment_open(&inside, &docs->environment, dirty, fault) < 0) return -1;
    if (*dirty) return 0;
    /* Database handles opened in a transaction belong to the environment only once it is committed. */
    MDB_txn *txn;
    int code =
        mdb_txn_begin(environment_mdb(docs->environment), NULL, options->read_only ? MDB_RDONLY : 0, &txn);
    if (code) {
        environment_fault(docs->environment, code, "cannot open", fault);
    } else if (databases_open(docs, txn, options, dirty, fault) < 0) {
        mdb_txn_abort(txn);
    } else {
        code = mdb_txn_commit(txn);
        if (code == 0) return 0;
        environment_fault(docs->environment, code, "cannot open", fault);
    }
    environment_close(docs->environment);
    return -1;
}

int docs_open(const struct docs_options *options, struct docs **docs, bool *dirty, struct fault *fault)
{
    CHECK(options->index_count <= LIMIT_INDEXES_MAX);
    struct docs *made = MEM_NEW(struct docs);
    *dirty = false;
    if (docs_open_inside(made, options, dirty, fault) < 0) {
        mem_free(made);
        return -1;
    }
    made->dirty = *dirty;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->written, NULL);
    *docs = made;
    return 0;
}

static void docs_free(struct docs *docs)
{
    pthread_mutex_destroy(&docs->lock);
    pthread_cond_destroy(&docs->written);
    mem_free(docs);
}

void docs_close(struct docs *docs)
{
    CHECK(!docs->writing);
    environment_close(docs->environment);
    docs_free(docs);
}

int docs_discard(struct docs *docs, struct fault *fault)
{
    CHECK(!docs->writing);
    int done = environment_discard(docs->environment, fault);
    docs_free(docs);
    return done;
}

int docs_destroy(const char *path, struct fault *fault)
{
    return environment_destroy(path, fault);
}

uint64_t docs_count(struct docs *docs)
{
    MDB_txn *txn;
    struct fault fault;
    if (docs->dirty || environment_read(docs->environment, &txn, &fault) < 0) return 0;
    MDB_stat status = {0};
    mdb_stat(txn, docs->documents, &status);
    environment_read_end(docs->environment, txn);
    return status.ms_entries;
}

uint64_t docs_size(struct docs *docs)
{
    return environment_size(docs->environment);
}

/* --- single values --- */

static int get(struct docs *docs, MDB_dbi database, struct slice stored_key, struct buf *value,
               struct fault *fault)
{
    CHECK(!docs->dirty);
    MDB_txn *txn;
    if (environment_read(docs->environment, &txn, fault) < 0) return -1;
    struct slice found;
    int result = docs_find(docs, txn, database, stored_key, &found, fault);
    if (result == 1) buf_put_slice(value, found);
    environment_read_end(docs->environment, txn);
    return result;
}

int docs_get(struct docs *docs, struct slice tenant, struct slice key, struct buf *value, struct fault *fault)
{
    struct buf stored_key = {0};
    int result = 0;
    if (docs_key(&stored_key, tenant, key))
        result = get(docs, docs->documents, buf_slice(&stored_key), value, fault);
    buf_release(&stored_key);
    return result;
}

int docs_meta_get(struct docs *docs, struct slice key, struct buf *value, struct fault *fault)
{
    if (key.size == 0 || key.size > DOCS_META_KEY_SIZE_MAX) return 0;
    return get(docs, docs->meta, key, value, fault);
}

static int meta_each_inside(struct docs *docs, MDB_txn *txn, struct slice prefix,
                            bool (*each)(void *user, struct slice key, struct slice value), void *user,
                            struct fault *fault)
{
    MDB_cursor *cursor;
    int code = mdb_cursor_open(txn, docs->meta, &cursor);
    if (code) return environment_fault(docs->environment, code, "cannot read", fault);
    /* Keys of docs' own begin with NUL and stay hidden: \1 is behind all of them. */
    struct slice first = prefix.size > 0 ? prefix : slice_make("\1", 1);
    MDB_val key = docs_val(first), stored;
    int result = 0;
    code = mdb_cursor_get(cursor, &key, &stored, MDB_SET_RANGE);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &stored, MDB_NEXT)) {
        if (key.mv_size < prefix.size || (prefix.size && memcmp(key.mv_data, prefix.data, prefix.size) != 0))
            break;
        struct slice value;
        result = docs_open_value(docs, key, stored, &value, fault);
        if (result < 0 || !each(user, docs_slice(key), value)) break;
    }
    if (code && code != MDB_NOTFOUND)
        result = environment_fault(docs->environment, code, "cannot read", fault);
    mdb_cursor_close(cursor);
    return result;
}

int docs_meta_each(struct docs *docs, struct slice prefix,
                   bool (*each)(void *user, struct slice key, struct slice value), void *user,
                   struct fault *fault)
{
    CHECK(!docs->dirty);
    if (prefix.size > DOCS_META_KEY_SIZE_MAX) return 0;
    MDB_txn *txn;
    if (environment_read(docs->environment, &txn, fault) < 0) return -1;
    int result = meta_each_inside(docs, txn, prefix, each, user, fault);
    environment_read_end(docs->environment, txn);
    return result;
}

int docs_copy(struct docs *docs, const char *path, struct fault *fault)
{
    return environment_copy(docs->environment, path, fault);
}

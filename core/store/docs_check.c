#include "store/docs_inside.h"

#include "base/check.h"

struct check {
    struct docs *docs;
    MDB_txn *txn;
    MDB_cursor *cursor;
    struct buf entry;
    uint64_t documents, entries;
};

static int check_document(struct check *check, struct slice stored_key, struct slice value,
                          struct fault *fault)
{
    const char *path = environment_path(check->docs->environment);
    const char *end = memchr(stored_key.data, 0, stored_key.size);
    if (!end) return fault_set(fault, FAULT_CORRUPT, "%s: a document without a tenant", path);
    struct slice key = slice_make(end + 1, (size_t)(stored_key.data + stored_key.size - end) - 1);
    for (size_t i = 0; i < check->docs->index_count; i++) {
        buf_clear(&check->entry);
        uint8_t form_size;
        if (!docs_entry_put(check->docs, &check->entry, i, stored_key, value, &form_size)) continue;
        MDB_val entry = docs_val(buf_slice(&check->entry)), stored;
        int code = mdb_get(check->txn, check->docs->indexes, &entry, &stored);
        if (code == MDB_NOTFOUND ||
            (code == 0 && !slice_equal(docs_slice(stored), slice_make(&form_size, 1))))
            return fault_set(fault, FAULT_CORRUPT, "%s: index \"%s\" lacks document %.*s", path,
                             check->docs->index_names[i], SLICE_ARGS(key));
        if (code) return environment_fault(check->docs->environment, code, "cannot read", fault);
        check->entries++;
    }
    check->documents++;
    return 0;
}

/* Walks a database whose values carry checksums. */
static int check_values(struct check *check, MDB_dbi database, struct fault *fault)
{
    int code = mdb_cursor_open(check->txn, database, &check->cursor);
    if (code) return environment_fault(check->docs->environment, code, "cannot read", fault);
    MDB_val key, stored;
    int result = 0;
    while (result == 0 && (code = mdb_cursor_get(check->cursor, &key, &stored, MDB_NEXT)) == 0) {
        struct slice value;
        result = docs_open_value(check->docs, key, stored, &value, fault);
        if (result == 0 && database == check->docs->documents)
            result = check_document(check, docs_slice(key), value, fault);
    }
    mdb_cursor_close(check->cursor);
    if (code && code != MDB_NOTFOUND)
        return environment_fault(check->docs->environment, code, "cannot read", fault);
    return result;
}

/* Every document's entries were found, and entries of two documents differ: if there are no more entries than
 * these, none is stray. */
static int check_entries(struct check *check, struct fault *fault)
{
    int code = mdb_cursor_open(check->txn, check->docs->indexes, &check->cursor);
    if (code) return environment_fault(check->docs->environment, code, "cannot read", fault);
    MDB_val key, nothing;
    uint64_t entries = 0;
    while ((code = mdb_cursor_get(check->cursor, &key, &nothing, MDB_NEXT)) == 0) entries++;
    mdb_cursor_close(check->cursor);
    if (code != MDB_NOTFOUND) return environment_fault(check->docs->environment, code, "cannot read", fault);
    if (entries == check->entries) return 0;
    return fault_set(fault, FAULT_CORRUPT, "%s: the indexes hold %llu entries, its %llu documents make %llu",
                     environment_path(check->docs->environment), (unsigned long long)entries,
                     (unsigned long long)check->documents, (unsigned long long)check->entries);
}

int docs_check(struct docs *docs, uint64_t *documents, struct fault *fault)
{
    CHECK(!docs->dirty);
    struct check check = {.docs = docs};
    if (environment_read(docs->environment, &check.txn, fault) < 0) return -1;
    int result = check_values(&check, docs->meta, fault);
    if (result == 0) result = check_values(&check, docs->documents, fault);
    if (result == 0) result = check_entries(&check, fault);
    environment_read_end(docs->environment, check.txn);
    buf_release(&check.entry);
    if (result == 0 && documents) *documents = check.documents;
    return result;
}

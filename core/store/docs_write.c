/* DESIGN. A write is a journal: operations in the order they were asked for, with copies of keys and values.
 * Only docs_commit opens an LMDB transaction. It sorts the operations, keeps the last of each key, applies
 * them in order of the key with one cursor (behind the last document: appends, which fill pages to the brim),
 * collects what changes in the indexes, sorts that too and applies it. Sorted runs touch each page once; that
 * is worth several times the speed of random order. When the map is full the transaction is dropped, the map
 * grows and the same journal is applied again.
 *
 * Invariant: for each document and index, the entry in indexes is the one that docs_entry_put makes of its
 * value. */
#include "store/docs_inside.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/faultpoint.h"
#include "base/mem.h"

enum operation_kind { OPERATION_PUT, OPERATION_REMOVE, OPERATION_META };

struct operation {
    size_t at; /* of the stored key in bytes; the stored value follows it */
    uint32_t key_size;
    uint32_t value_size; /* with checksum; 0: removes */
    uint32_t kind;
};

struct change { /* of an index */
    size_t at;
    uint32_t size;
    uint8_t form_size; /* 0: the entry goes */
};

struct docs_write {
    struct docs *docs;
    struct buf bytes;
    struct operation *operations;
    size_t count, count_max;
    bool sorted; /* operations came in order of documents' keys so far */

    /* of one attempt to apply it */
    MDB_txn *txn;
    MDB_cursor *documents, *indexes;
    struct buf last; /* no document lies behind this key */
    bool any;        /* there is a last key */
    struct buf old_entry, new_entry;
    struct buf entries;
    struct change *changes;
    size_t change_count, change_count_max;
};

int docs_begin(struct docs *docs, struct docs_write **write, struct fault *fault)
{
    CHECK(!docs->dirty);
    pthread_mutex_lock(&docs->lock);
    while (docs->writing) pthread_cond_wait(&docs->written, &docs->lock);
    docs->writing = true;
    pthread_mutex_unlock(&docs->lock);
    *write = MEM_NEW(struct docs_write);
    (*write)->docs = docs;
    (*write)->sorted = true;
    return 0;
}

/* --- the journal --- */

static struct slice operation_key(const struct docs_write *write, const struct operation *operation)
{
    return slice_make(write->bytes.data + operation->at, operation->key_size);
}

static struct slice operation_value(const struct docs_write *write, const struct operation *operation)
{
    return slice_make(write->bytes.data + operation->at + operation->key_size, operation->value_size);
}

/* Adds an operation whose key was put at the end of the bytes, beginning at `at`. */
static void journal_put(struct docs_write *write, enum operation_kind kind, size_t at, struct slice value)
{
    struct operation operation = {.at = at, .key_size = (uint32_t)(write->bytes.size - at), .kind = kind};
    if (value.size > 0) {
        uint32_t crc = docs_crc(operation_key(write, &operation), value);
        buf_put_slice(&write->bytes, value);
        for (int i = 0; i < DOCS_CRC_SIZE; i++) buf_put_byte(&write->bytes, (uint8_t)(crc >> 8 * i));
        operation.value_size = (uint32_t)value.size + DOCS_CRC_SIZE;
    }
    if (write->count == write->count_max) {
        write->count_max = write->count_max ? write->count_max * 2 : 64;
        write->operations = mem_resize(write->operations, write->count_max * sizeof *write->operations);
    }
    if (write->count > 0 && write->sorted) {
        const struct operation *before = &write->operations[write->count - 1];
        bool meta = kind == OPERATION_META;
        bool before_meta = before->kind == OPERATION_META;
        write->sorted = before_meta == meta ? slice_compare(operation_key(write, before),
                                                            operation_key(write, &operation)) < 0
                                            : meta;
    }
    write->operations[write->count++] = operation;
}

static int document_put(struct docs_write *write, enum operation_kind kind, struct slice tenant,
                        struct slice key, struct slice value, struct fault *fault)
{
    if (key.size == 0) return fault_set(fault, FAULT_MALFORMED, "a document's key is empty");
    if (key.size > LIMIT_DOCUMENT_KEY_SIZE_MAX)
        return fault_set(fault, FAULT_TOO_LARGE, "a document's key has %zu bytes, at most %d are possible",
                         key.size, LIMIT_DOCUMENT_KEY_SIZE_MAX);
    if (value.size > UINT32_MAX - DOCS_CRC_SIZE)
        return fault_set(fault, FAULT_TOO_LARGE, "document %.*s has %zu bytes", SLICE_ARGS(key), value.size);
    size_t at = write->bytes.size;
    if (!docs_key(&write->bytes, tenant, key))
        return fault_set(fault, FAULT_MALFORMED, "\"%.*s\" is no tenant", SLICE_ARGS(tenant));
    journal_put(write, kind, at, value);
    return 0;
}

int docs_put(struct docs_write *write, struct slice tenant, struct slice key, struct slice value,
             struct fault *fault)
{
    CHECK(value.size > 0);
    return document_put(write, OPERATION_PUT, tenant, key, value, fault);
}

int docs_remove(struct docs_write *write, struct slice tenant, struct slice key, struct fault *fault)
{
    return document_put(write, OPERATION_REMOVE, tenant, key, SLICE_NONE, fault);
}

int docs_meta_put(struct docs_write *write, struct slice key, struct slice value, struct fault *fault)
{
    if (key.size == 0 || key.size > DOCS_META_KEY_SIZE_MAX || key.data[0] == 0)
        return fault_set(fault, FAULT_MALFORMED, "\"%.*s\" is no key of a meta value", SLICE_ARGS(key));
    if (value.size > UINT32_MAX - DOCS_CRC_SIZE)
        return fault_set(fault, FAULT_TOO_LARGE, "meta value %.*s has %zu bytes", SLICE_ARGS(key),
                         value.size);
    size_t at = write->bytes.size;
    buf_put_slice(&write->bytes, key);
    journal_put(write, OPERATION_META, at, value);
    return 0;
}

/* Documents first, by key, then by the order they were asked in. */
static int operation_compare(const void *a, const void *b, void *user)
{
    const struct operation *left = a, *right = b;
    bool left_meta = left->kind == OPERATION_META, right_meta = right->kind == OPERATION_META;
    if (left_meta != right_meta) return left_meta - right_meta;
    int order = slice_compare(operation_key(user, left), operation_key(user, right));
    if (order != 0) return order;
    return (left->at > right->at) - (left->at < right->at);
}

/* Sorts and drops all but the last operation of each key. */
static void journal_sort(struct docs_write *write)
{
    if (write->sorted) return; /* strictly: no key twice */
    qsort_r(write->operations, write->count, sizeof *write->operations, operation_compare, write);
    size_t kept = 0;
    for (size_t i = 0; i < write->count; i++) {
        const struct operation *operation = &write->operations[i];
        const struct operation *next = operation + 1;
        if (i + 1 < write->count && (next->kind == OPERATION_META) == (operation->kind == OPERATION_META) &&
            slice_equal(operation_key(write, operation), operation_key(write, next)))
            continue;
        write->operations[kept++] = *operation;
    }
    write->count = kept;
    write->sorted = true;
}

/* --- applying it; these return 0, an MDB code, or -1 with the fault filled --- */

static void change_put(struct docs_write *write, const struct buf *entry, uint8_t form_size)
{
    if (write->change_count == write->change_count_max) {
        write->change_count_max = write->change_count_max ? write->change_count_max * 2 : 64;
        write->changes = mem_resize(write->changes, write->change_count_max * sizeof *write->changes);
    }
    write->changes[write->change_count++] =
        (struct change){.at = write->entries.size, .size = (uint32_t)entry->size, .form_size = form_size};
    buf_put_slice(&write->entries, buf_slice(entry));
}

/* Notes what changes in the indexes when old becomes new; an empty one is no document. */
static void changes_collect(struct docs_write *write, struct slice stored_key, struct slice old_value,
                            struct slice new_value)
{
    for (size_t i = 0; i < write->docs->index_count; i++) {
        buf_clear(&write->old_entry);
        buf_clear(&write->new_entry);
        const struct docs *docs = write->docs;
        uint8_t old_size, new_size;
        bool was = old_value.size > 0 &&
                   docs_entry_put(docs, &write->old_entry, i, stored_key, old_value, &old_size);
        bool is = new_value.size > 0 &&
                  docs_entry_put(docs, &write->new_entry, i, stored_key, new_value, &new_size);
        if (was && is && slice_equal(buf_slice(&write->old_entry), buf_slice(&write->new_entry))) continue;
        if (was) change_put(write, &write->old_entry, 0);
        if (is) change_put(write, &write->new_entry, new_size);
    }
}

static struct slice without_crc(struct slice stored)
{
    return slice_make(stored.data, stored.size > 0 ? stored.size - DOCS_CRC_SIZE : 0);
}

static int document_apply(struct docs_write *write, const struct operation *operation, struct fault *fault)
{
    struct slice stored_key = operation_key(write, operation), stored = operation_value(write, operation);
    MDB_val key = docs_val(stored_key), value = docs_val(stored), old;
    if (!write->any || slice_compare(stored_key, buf_slice(&write->last)) > 0) {
        if (operation->kind == OPERATION_REMOVE) return 0;
        changes_collect(write, stored_key, SLICE_NONE, without_crc(stored));
        write->any = true;
        buf_clear(&write->last);
        buf_put_slice(&write->last, stored_key);
        return mdb_cursor_put(write->documents, &key, &value, MDB_APPEND);
    }
    int code = mdb_cursor_get(write->documents, &key, &old, MDB_SET);
    if (code && code != MDB_NOTFOUND) return code;
    bool found = code == 0;
    if (found ? slice_equal(docs_slice(old), stored) : operation->kind == OPERATION_REMOVE) return 0;
    struct slice old_value = SLICE_NONE;
    if (found && docs_open_value(write->docs, docs_val(stored_key), old, &old_value, fault) < 0) return -1;
    changes_collect(write, stored_key, old_value, without_crc(stored));
    if (operation->kind == OPERATION_REMOVE) return mdb_cursor_del(write->documents, 0);
    return mdb_cursor_put(write->documents, &key, &value, 0);
}

static int meta_apply(struct docs_write *write, const struct operation *operation)
{
    MDB_val key = docs_val(operation_key(write, operation)),
            value = docs_val(operation_value(write, operation));
    if (operation->value_size > 0) return mdb_put(write->txn, write->docs->meta, &key, &value, 0);
    int code = mdb_del(write->txn, write->docs->meta, &key, NULL);
    return code == MDB_NOTFOUND ? 0 : code;
}

static int change_compare(const void *a, const void *b, void *user)
{
    const struct docs_write *write = user;
    const struct change *left = a, *right = b;
    return slice_compare(slice_make(write->entries.data + left->at, left->size),
                         slice_make(write->entries.data + right->at, right->size));
}

static int changes_apply(struct docs_write *write, struct fault *fault)
{
    if (write->change_count == 0) return 0;
    qsort_r(write->changes, write->change_count, sizeof *write->changes, change_compare, write);
    for (size_t i = 0; i < write->change_count; i++) {
        const struct change *change = &write->changes[i];
        uint8_t form_size = change->form_size;
        MDB_val key = {change->size, write->entries.data + change->at}, value = {1, &form_size};
        int code;
        if (form_size > 0) {
            code = mdb_cursor_put(write->indexes, &key, &value, 0);
        } else {
            code = mdb_cursor_get(write->indexes, &key, &value, MDB_SET);
            if (code == MDB_NOTFOUND)
                return fault_set(fault, FAULT_CORRUPT, "%s: an index lacks the entry of a document",
                                 environment_path(write->docs->environment));
            if (code == 0) code = mdb_cursor_del(write->indexes, 0);
        }
        if (code) return code;
    }
    return 0;
}

static int apply_inside(struct docs_write *write, struct fault *fault)
{
    int code = mdb_cursor_open(write->txn, write->docs->documents, &write->documents);
    if (!code) code = mdb_cursor_open(write->txn, write->docs->indexes, &write->indexes);
    if (code) return code;
    MDB_val last, value;
    code = mdb_cursor_get(write->documents, &last, &value, MDB_LAST);
    if (code && code != MDB_NOTFOUND) return code;
    write->any = code == 0;
    buf_clear(&write->last);
    if (write->any) buf_put_slice(&write->last, docs_slice(last));
    buf_clear(&write->entries);
    write->change_count = 0;
    for (size_t i = 0; i < write->count; i++) {
        const struct operation *operation = &write->operations[i];
        code = operation->kind == OPERATION_META ? meta_apply(write, operation)
                                                 : document_apply(write, operation, fault);
        if (code) return code;
    }
    return changes_apply(write, fault);
}

/* One attempt: the whole journal in one transaction. */
static int apply(struct docs_write *write, struct fault *fault)
{
    struct environment *environment = write->docs->environment;
    if (environment_write(environment, &write->txn, fault) < 0) return -1;
    int code = apply_inside(write, fault);
    if (write->documents) mdb_cursor_close(write->documents);
    if (write->indexes) mdb_cursor_close(write->indexes);
    write->documents = write->indexes = NULL;
    if (code == 0) code = fault_point(POINT_VIEWS_WRITE);
    if (code == 0) return environment_commit(environment, write->txn);
    environment_abort(environment, write->txn);
    return code;
}

static void write_end(struct docs_write *write)
{
    struct docs *docs = write->docs;
    buf_release(&write->bytes);
    buf_release(&write->last);
    buf_release(&write->old_entry);
    buf_release(&write->new_entry);
    buf_release(&write->entries);
    mem_free(write->operations);
    mem_free(write->changes);
    mem_free(write);
    pthread_mutex_lock(&docs->lock);
    docs->writing = false;
    pthread_cond_signal(&docs->written);
    pthread_mutex_unlock(&docs->lock);
}

int docs_commit(struct docs_write *write, struct fault *fault)
{
    int code = 0;
    if (write->count > 0) {
        journal_sort(write);
        while ((code = apply(write, fault)) == MDB_MAP_FULL)
            if ((code = environment_grow(write->docs->environment, fault)) < 0) break;
        /* -1: the fault is filled. No MDB code and no errno is -1. */
        if (code != 0 && code != -1)
            code = environment_fault(write->docs->environment, code, "cannot write", fault);
    }
    write_end(write);
    return code;
}

void docs_abort(struct docs_write *write)
{
    write_end(write);
}

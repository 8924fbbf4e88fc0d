#include "store/docs_inside.h"

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "codec/order.h"

struct bound {
    bool given;
    struct buf form; /* of a long text: of its beginning */
    struct buf text; /* in full, if it is one */
};

struct docs_read {
    struct docs *docs;
    MDB_txn *txn;
    MDB_cursor *cursor; /* over documents or indexes */
    bool by_index;
    size_t index;
    size_t tenant_size; /* in prefix, with its NUL */
    struct buf prefix;  /* of every key of the range: tenant 00, or tenant 00 number */
    struct bound min, max;
    struct buf place; /* behind the prefix: the key or entry last given, at first that of range.after */
    bool begun, ended;
    struct buf scratch;
};

/* --- cursors for the outside: hex of an entry and its checksum, bound to the index --- */

static uint32_t cursor_crc(const struct docs_read *read, struct slice entry)
{
    return hash_crc32(entry) ^ (hash_crc32(slice_of(read->docs->index_names[read->index])) * 0x9e3779b1u);
}

static void hex_put(struct buf *out, struct slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        buf_put_byte(out, (uint8_t)digits[(uint8_t)bytes.data[i] >> 4]);
        buf_put_byte(out, (uint8_t)digits[(uint8_t)bytes.data[i] & 15]);
    }
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9') return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

void docs_cursor(struct docs_read *read, struct buf *cursor)
{
    struct slice place = buf_slice(&read->place);
    if (!read->by_index) {
        buf_put_slice(cursor, place);
    } else if (place.size > 0) {
        uint32_t crc = cursor_crc(read, place);
        uint8_t bytes[4] = {(uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};
        hex_put(cursor, place);
        hex_put(cursor, slice_make(bytes, sizeof bytes));
    }
}

/* Fills the place from a cursor; false if docs_cursor never made it. */
static bool cursor_parse(struct docs_read *read, struct slice cursor)
{
    if (cursor.size % 2 != 0 || cursor.size < 8 || cursor.size > 2 * (511 + 4)) return false;
    for (size_t i = 0; i < cursor.size; i += 2) {
        int high = hex_digit(cursor.data[i]), low = hex_digit(cursor.data[i + 1]);
        if (high < 0 || low < 0) return false;
        buf_put_byte(&read->place, (uint8_t)(high << 4 | low));
    }
    read->place.size -= 4;
    const uint8_t *end = (const uint8_t *)read->place.data + read->place.size;
    uint32_t crc = (uint32_t)end[0] << 24 | (uint32_t)end[1] << 16 | (uint32_t)end[2] << 8 | end[3];
    return crc == cursor_crc(read, buf_slice(&read->place));
}

/* --- open --- */

static bool bound_open(struct bound *bound, struct slice scalar)
{
    if (scalar.size == 0) return true;
    bound->given = true;
    struct slice text;
    if (docs_scalar_text(scalar, &text)) buf_put_slice(&bound->text, text);
    return order_put(&bound->form, scalar);
}

static int index_open(struct docs_read *read, const struct docs_range *range, struct fault *fault)
{
    struct docs *docs = read->docs;
    read->by_index = true;
    while (read->index < docs->index_count && !slice_is(range->index, docs->index_names[read->index]))
        read->index++;
    if (read->index == docs->index_count)
        return fault_set(fault, FAULT_NOT_FOUND, "no index \"%.*s\"", SLICE_ARGS(range->index));
    if (!bound_open(&read->min, range->min))
        return fault_set(fault, FAULT_MALFORMED, "min is no text, number or boolean");
    if (!bound_open(&read->max, range->max))
        return fault_set(fault, FAULT_MALFORMED, "max is no text, number or boolean");
    if (range->after.size > 0 && !cursor_parse(read, range->after))
        return fault_set(fault, FAULT_MALFORMED, "after is no cursor of index \"%.*s\"",
                         SLICE_ARGS(range->index));
    buf_put_byte(&read->prefix, (uint8_t)read->index);
    return 0;
}

static int range_open(struct docs_read *read, const struct docs_range *range, struct fault *fault)
{
    if (range->all) {
        buf_put_slice(&read->place, range->after);
        return 0;
    }
    if (range->tenant.size > LIMIT_TENANT_SIZE_MAX ||
        (range->tenant.size > 0 && memchr(range->tenant.data, 0, range->tenant.size)))
        return fault_set(fault, FAULT_MALFORMED, "\"%.*s\" is no tenant", SLICE_ARGS(range->tenant));
    buf_put_slice(&read->prefix, range->tenant);
    buf_put_byte(&read->prefix, 0);
    read->tenant_size = read->prefix.size;
    if (range->index.size > 0) return index_open(read, range, fault);
    if (range->min.size > 0 || range->max.size > 0)
        return fault_set(fault, FAULT_MALFORMED, "min and max need an index");
    if (range->after.size > LIMIT_DOCUMENT_KEY_SIZE_MAX)
        return fault_set(fault, FAULT_MALFORMED, "after is longer than a document's key");
    buf_put_slice(&read->place, range->after);
    return 0;
}

int docs_read_open(struct docs *docs, const struct docs_range *range, struct docs_read **read,
                   struct fault *fault)
{
    CHECK(!docs->dirty);
    struct docs_read *made = MEM_NEW(struct docs_read);
    made->docs = docs;
    if (range_open(made, range, fault) < 0 || environment_read(docs->environment, &made->txn, fault) < 0) {
        docs_read_close(made);
        return -1;
    }
    int code = mdb_cursor_open(made->txn, made->by_index ? docs->indexes : docs->documents, &made->cursor);
    if (code) {
        made->cursor = NULL;
        environment_fault(docs->environment, code, "cannot read", fault);
        docs_read_close(made);
        return -1;
    }
    *read = made;
    return 0;
}

void docs_read_close(struct docs_read *read)
{
    if (read->cursor) mdb_cursor_close(read->cursor);
    if (read->txn) environment_read_end(read->docs->environment, read->txn);
    buf_release(&read->prefix);
    buf_release(&read->min.form);
    buf_release(&read->min.text);
    buf_release(&read->max.form);
    buf_release(&read->max.text);
    buf_release(&read->place);
    buf_release(&read->scratch);
    mem_free(read);
}

/* --- walking --- */

/* Moves to the next key of the range's prefix and tells what follows the prefix. 1, 0 or -1. */
static int step(struct docs_read *read, MDB_val *key, MDB_val *stored, struct slice *rest,
                struct fault *fault)
{
    int code;
    if (read->begun) {
        code = mdb_cursor_get(read->cursor, key, stored, MDB_NEXT);
    } else {
        read->begun = true;
        /* Begin behind the place, or at min if that is later. */
        struct slice place = buf_slice(&read->place), min = buf_slice(&read->min.form);
        bool from_min = slice_compare(min, place) > 0;
        buf_clear(&read->scratch);
        buf_put_slice(&read->scratch, buf_slice(&read->prefix));
        buf_put_slice(&read->scratch, from_min ? min : place);
        *key = docs_val(buf_slice(&read->scratch));
        code = mdb_cursor_get(read->cursor, key, stored, read->scratch.size ? MDB_SET_RANGE : MDB_FIRST);
        if (code == 0 && !from_min && slice_equal(docs_slice(*key), buf_slice(&read->scratch)))
            code = mdb_cursor_get(read->cursor, key, stored, MDB_NEXT);
    }
    if (code == MDB_NOTFOUND) return 0;
    if (code) return environment_fault(read->docs->environment, code, "cannot read", fault);
    size_t prefix_size = read->prefix.size;
    if (key->mv_size <= prefix_size ||
        !slice_equal(slice_make(key->mv_data, prefix_size), buf_slice(&read->prefix)))
        return 0;
    *rest = slice_make((const char *)key->mv_data + prefix_size, key->mv_size - prefix_size);
    return 1;
}

/* Equal forms decide nothing for texts, they may be those of a common beginning: compares the texts
 * themselves. <0, 0, >0: the document against the bound. */
static int bound_compare(const struct docs_read *read, const struct bound *bound, struct slice document)
{
    struct slice field, text;
    if (!docs_field(document, slice_of(read->docs->index_names[read->index]), &field)) return 0;
    if (!docs_scalar_text(field, &text)) return 0;
    return slice_compare(text, buf_slice(&bound->text));
}

/* The document of an entry. 1: in the range, 0: not, -1 fault. */
static int entry_open(struct docs_read *read, struct slice entry, size_t form_size, struct slice *key,
                      struct slice *value, struct fault *fault)
{
    *key = slice_make(entry.data + form_size, entry.size - form_size);
    buf_clear(&read->scratch);
    buf_put(&read->scratch, read->prefix.data, read->tenant_size);
    buf_put_slice(&read->scratch, *key);
    int found =
        docs_find(read->docs, read->txn, read->docs->documents, buf_slice(&read->scratch), value, fault);
    if (found < 0) return -1;
    if (!found)
        return fault_set(fault, FAULT_CORRUPT, "%s: index \"%s\" names a document %.*s that is not there",
                         environment_path(read->docs->environment), read->docs->index_names[read->index],
                         SLICE_ARGS(*key));
    struct slice form = slice_make(entry.data, form_size);
    if (read->min.given && slice_equal(form, buf_slice(&read->min.form)) &&
        bound_compare(read, &read->min, *value) < 0)
        return 0;
    if (read->max.given && slice_equal(form, buf_slice(&read->max.form)) &&
        bound_compare(read, &read->max, *value) > 0)
        return 0;
    return 1;
}

static int next_by_index(struct docs_read *read, struct slice *key, struct slice *value, struct fault *fault)
{
    for (;;) {
        MDB_val stored_key, stored;
        struct slice entry;
        int result = step(read, &stored_key, &stored, &entry, fault);
        if (result <= 0) return result;
        size_t form_size = stored.mv_size == 1 ? *(const uint8_t *)stored.mv_data : 0;
        if (form_size == 0 || form_size >= entry.size)
            return fault_set(fault, FAULT_CORRUPT, "%s: an entry of index \"%s\" is damaged",
                             environment_path(read->docs->environment), read->docs->index_names[read->index]);
        if (read->max.given &&
            slice_compare(slice_make(entry.data, form_size), buf_slice(&read->max.form)) > 0)
            return 0;
        result = entry_open(read, entry, form_size, key, value, fault);
        if (result < 0) return -1;
        if (result == 0) continue;
        buf_clear(&read->place);
        buf_put_slice(&read->place, entry);
        return 1;
    }
}

static int next_by_key(struct docs_read *read, struct slice *key, struct slice *value, struct fault *fault)
{
    MDB_val stored_key, stored;
    int result = step(read, &stored_key, &stored, key, fault);
    if (result <= 0) return result;
    if (docs_open_value(read->docs, stored_key, stored, value, fault) < 0) return -1;
    buf_clear(&read->place);
    buf_put_slice(&read->place, *key);
    return 1;
}

int docs_read_next(struct docs_read *read, struct slice *key, struct slice *value, struct fault *fault)
{
    if (read->ended) return 0;
    int result =
        read->by_index ? next_by_index(read, key, value, fault) : next_by_key(read, key, value, fault);
    read->ended = result <= 0;
    return result;
}

int docs_read_get(struct docs_read *read, struct slice key, struct slice *value, struct fault *fault)
{
    if (key.size == 0 || key.size > LIMIT_DOCUMENT_KEY_SIZE_MAX) return 0;
    buf_clear(&read->scratch);
    buf_put(&read->scratch, read->prefix.data, read->tenant_size);
    buf_put_slice(&read->scratch, key);
    return docs_find(read->docs, read->txn, read->docs->documents, buf_slice(&read->scratch), value, fault);
}

int docs_read_meta(struct docs_read *read, struct slice key, struct slice *value, struct fault *fault)
{
    if (key.size == 0 || key.size > DOCS_META_KEY_SIZE_MAX) return 0;
    return docs_find(read->docs, read->txn, read->docs->meta, key, value, fault);
}

/* A key is tenant 00 key, so the documents of all later tenants are behind tenant 01. */
int docs_next_tenant(struct docs *docs, struct buf *tenant, struct fault *fault)
{
    CHECK(!docs->dirty);
    MDB_txn *txn;
    MDB_cursor *cursor;
    if (environment_read(docs->environment, &txn, fault) < 0) return -1;
    int code = mdb_cursor_open(txn, docs->documents, &cursor);
    if (code == 0) {
        buf_put_byte(tenant, 1);
        MDB_val key = docs_val(buf_slice(tenant)), stored;
        code = mdb_cursor_get(cursor, &key, &stored, MDB_SET_RANGE);
        if (code == 0) {
            struct slice found = docs_slice(key);
            const char *end = memchr(found.data, 0, found.size);
            buf_clear(tenant);
            buf_put(tenant, found.data, end ? (size_t)(end - found.data) : found.size);
        }
        mdb_cursor_close(cursor);
    }
    environment_read_end(docs->environment, txn);
    if (code == MDB_NOTFOUND) return 0;
    return code ? environment_fault(docs->environment, code, "cannot read", fault) : 1;
}

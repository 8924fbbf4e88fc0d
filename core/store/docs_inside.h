/* docs_inside.h: what the files of docs share; nobody else includes it.
 *
 *   documents   tenant 00 key                          -> value, CRC-32
 *   indexes     tenant 00 number form key              -> the size of form, one byte; number: of the index,
 * one byte meta        key                                    -> value, CRC-32; keys that begin with 00 are
 * docs' own
 *
 * No form (order.h) is the beginning of another, so entries sort by (value, key). The CRC is little endian
 * and covers key and value. */
#ifndef LORE_STORE_DOCS_INSIDE_H
#define LORE_STORE_DOCS_INSIDE_H

#include <pthread.h>

#include "base/limit.h"
#include "store/docs.h"
#include "store/environment.h"

enum {
    DOCS_CRC_SIZE = 4,
    DOCS_KEY_SIZE_MAX = LIMIT_TENANT_SIZE_MAX + 1 + LIMIT_DOCUMENT_KEY_SIZE_MAX,
    DOCS_META_KEY_SIZE_MAX = 400
};

struct docs {
    struct environment *environment; /* NULL fields below when dirty */
    bool dirty;
    MDB_dbi documents, indexes, meta;
    size_t index_count;
    char index_names[LIMIT_INDEXES_MAX][2 * LIMIT_NAME_SIZE_MAX + 2];
    pthread_mutex_t lock;
    pthread_cond_t written;
    bool writing; /* a docs_write exists */
};

static inline MDB_val docs_val(struct slice slice)
{
    return (MDB_val){slice.size, (void *)(uintptr_t)slice.data};
}
static inline struct slice docs_slice(MDB_val value)
{
    return slice_make(value.mv_data, value.mv_size);
}

/* tenant 00 key, after size checks: false if no document can have this key. */
bool docs_key(struct buf *out, struct slice tenant, struct slice key);
uint32_t docs_crc(struct slice stored_key, struct slice value);
/* What is stored without its checksum. Fault: CORRUPT naming generation and key. */
int docs_open_value(const struct docs *docs, MDB_val stored_key, MDB_val stored, struct slice *value,
                    struct fault *fault);
/* 1, 0, -1: a value of a database in a transaction, checked, borrowed from it. */
int docs_find(const struct docs *docs, MDB_txn *txn, MDB_dbi database, struct slice stored_key,
              struct slice *value, struct fault *fault);

/* Appends the index entry of a document, false if it has none in this index. stored_key: tenant 00 key. */
bool docs_entry_put(const struct docs *docs, struct buf *out, size_t index, struct slice stored_key,
                    struct slice value, uint8_t *form_size);
/* The field's bytes; false if the document has none. */
bool docs_field(struct slice document, struct slice path, struct slice *field);
/* The text of a scalar if it is one. */
bool docs_scalar_text(struct slice scalar, struct slice *text);

#endif

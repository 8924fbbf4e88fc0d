/* docs.h: the documents of one projection generation: views/<context>.<projection>@<hash>/, one LMDB
 * environment.
 *
 *     struct docs_options options = {.path = path, .indexes = (const char *[]){"status"}, .index_count = 1};
 *     bool dirty;
 *     docs_open(&options, &docs, &dirty, &fault);
 *     docs_begin(docs, &write, &fault);
 *     docs_put(write, tenant, key, value, &fault);
 *     docs_meta_put(write, slice_of("checkpoint"), position, &fault);
 *     docs_commit(write, &fault);                     documents, indexes and meta values become visible
 * together
 *
 * Derived data: written without fsync. What a kill leaves is whole (LMDB order); what a crash of the machine
 * leaves may not be, so an environment that was written in another boot (/proc/sys/kernel/random/boot_id) and
 * not closed cleanly is reported by docs_open as dirty and the caller rebuilds it.
 *
 * Every value carries a CRC-32 over itself and its key. Each index maps (tenant, order.h form of the field,
 * key) -> nothing. A field may be a path "a.b" into nested maps.
 *
 * A write only collects: what it holds is sorted and written as one run by docs_commit, so its memory is the
 * caller's to bound, and reads during a write see what was before it.
 *
 * Threads: one writer (docs_begin .. docs_commit; a second docs_begin waits), any number of readers. Who
 * holds a docs_read must not commit a write of the same docs (the map may have to grow, which waits for
 * readers). Owns: the environment. */
#ifndef LORE_STORE_DOCS_H
#define LORE_STORE_DOCS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/slice.h"

struct docs;
struct docs_write; /* a write transaction */
struct docs_read;  /* a read transaction with a cursor */

struct docs_options {
    const char *path;           /* directory of the generation; made if it is not there */
    const char *const *indexes; /* names of indexed fields; NULL: those it was made with (verify, look-ups) */
    size_t index_count;
    bool read_only;    /* beside a process that writes: nothing but a reader's slot in lock.mdb is written */
    uint64_t map_size; /* bytes of address space to begin with; 0: default. Grows by itself */
};

/* *dirty: see above; the caller closes it, docs_destroy()s the path and opens again. Also when it was made
 * with other indexes than these. Faults: NOT_FOUND (read_only), CORRUPT, DISK, PERMISSION. */
int docs_open(const struct docs_options *options, struct docs **docs, bool *dirty, struct fault *fault);
/* fsyncs and marks clean. No read or write may be open. */
void docs_close(struct docs *docs);
/* Removes a closed generation's directory. */
int docs_destroy(const char *path, struct fault *fault);
/* Closes without a flush, and removes the directory. */
int docs_discard(struct docs *docs, struct fault *fault);
uint64_t docs_count(struct docs *docs); /* documents of all tenants */
uint64_t docs_size(struct docs *docs);  /* bytes on disk */

int docs_begin(struct docs *docs, struct docs_write **write, struct fault *fault);
/* Adds or replaces; value is canonical MessagePack. Keeps the indexes. Copies. Faults: TOO_LARGE, MALFORMED
 * (an empty key). */
int docs_put(struct docs_write *write, struct slice tenant, struct slice key, struct slice value,
             struct fault *fault);
int docs_remove(struct docs_write *write, struct slice tenant, struct slice key, struct fault *fault);
/* Small named values of the generation that commit with its documents (checkpoints, parked keys, the
 * manifest). put with an empty value removes. Keys: 1-400 bytes that do not begin with NUL. */
int docs_meta_put(struct docs_write *write, struct slice key, struct slice value, struct fault *fault);
/* Either ends the write; after a failed commit nothing of it is there. Faults: DISK, CORRUPT (an old value
 * that had to be read). The map grows by itself: a commit that met a full map is repeated inside. */
int docs_commit(struct docs_write *write, struct fault *fault);
void docs_abort(struct docs_write *write);

/* Copies to value (appends). 1 found, 0 none, -1 fault (CORRUPT: the checksum). Own short read transaction.
 */
int docs_get(struct docs *docs, struct slice tenant, struct slice key, struct buf *value,
             struct fault *fault);
int docs_meta_get(struct docs *docs, struct slice key, struct buf *value, struct fault *fault);
/* Calls each for every meta key with this prefix, in order; stops when it returns false. */
int docs_meta_each(struct docs *docs, struct slice prefix,
                   bool (*each)(void *user, struct slice key, struct slice value), void *user,
                   struct fault *fault);

/* Documents of a tenant in byte order of the key, beginning behind `after` (empty: from the start).
 * Or by an index: min and max are MessagePack scalars, both ends inclusive, empty = open; `after` is then an
 * opaque cursor of docs_cursor (plain ASCII, fit for a URL). The order is (value, key); texts that agree in
 * their first LIMIT_INDEX_VALUE_SIZE_MAX bytes are in order of the key. Fault: NOT_FOUND for an index that is
 * not declared, MALFORMED for a bad cursor, a bound that is no scalar, or bounds without an index. A read is
 * one LMDB snapshot: keep it short. meta values read through it (docs_read_meta) are of the same snapshot. */
struct docs_range {
    bool all; /* of every tenant: keys are tenant, NUL, key; neither tenant nor index */
    struct slice tenant;
    struct slice index; /* empty: by key */
    struct slice min, max;
    struct slice after;
};
/* What range points to is copied. */
int docs_read_open(struct docs *docs, const struct docs_range *range, struct docs_read **read,
                   struct fault *fault);
/* 1: key and value borrowed until docs_read_close; 0: the end; -1 fault. */
int docs_read_next(struct docs_read *read, struct slice *key, struct slice *value, struct fault *fault);
/* 1 found, 0 none, -1 fault; of the range's tenant. */
int docs_read_get(struct docs_read *read, struct slice key, struct slice *value, struct fault *fault);
int docs_read_meta(struct docs_read *read, struct slice key, struct slice *value, struct fault *fault);
/* Where it stands, behind the document last given: continue with range.after = this. Appends to cursor. */
void docs_cursor(struct docs_read *read, struct buf *cursor);
void docs_read_close(struct docs_read *read);
/* The first tenant with documents behind the one in tenant, in byte order; empty: the first of all. 1: tenant
 * is that one now, 0: there is none, -1 fault. */
int docs_next_tenant(struct docs *docs, struct buf *tenant, struct fault *fault);

/* Reads everything: each checksum, each document in its indexes, each index entry with its document. -1:
 * CORRUPT, naming generation and key. *documents may be NULL. */
int docs_check(struct docs *docs, uint64_t *documents, struct fault *fault);

/* A clean copy of what is committed now, in a new directory. */
int docs_copy(struct docs *docs, const char *path, struct fault *fault);

#endif

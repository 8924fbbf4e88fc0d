/* index_run.h: a sorted run of keys on disk, and the merging of runs.
 *
 * The index on disk is a few sorted runs, oldest first, each at least four times as long as the one behind
 * it. A flush writes the memory tail as a new run and merges it with those that it has outgrown. So every
 * write is in key order at the end of the file's tree, however many streams there are, and a look-up asks few
 * runs.
 *
 * A run is a row of chunks, each one LMDB value of about half a page:
 *
 *   key     run number (4 bytes, big endian), first key of the chunk
 *   value   checksum of key and the rest (4 bytes, little endian; see index_run.c), then entries:
 *           varint bytes shared with the key before, varint bytes of its own, these bytes, varint value size,
 * value; then where every 16th entry begins (2 bytes each; these share nothing), and how many that are (2
 * bytes)
 *
 * Keys are unique within a run; index_run_put_number gives numbers a form that sorts.
 *
 * Each chunk that is read is summed up first, in look-ups too: an entry that damage hides would let a commit
 * take a version, or a command take effect, a second time.
 *
 * Threads: one at a time each. Owns: writer: its buffers; reader: nothing, it lives within its read
 * transaction. */
#ifndef LORE_STORE_INDEX_RUN_H
#define LORE_STORE_INDEX_RUN_H

#include <lmdb.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/index_tail.h"

enum { INDEX_ENTRY_KEY_MAX = INDEX_KEY_SIZE_MAX + 9, INDEX_CHUNK_SIZE = 2016, INDEX_RESTART = 16 };

struct index_writer {
    MDB_txn *txn;
    MDB_dbi db;
    uint32_t run;
    uint64_t entries;
    struct buf chunk; /* entries so far; empty: none */
    uint16_t restarts[INDEX_CHUNK_SIZE / INDEX_RESTART];
    size_t chunk_entries;
    char first[4 + INDEX_ENTRY_KEY_MAX], last[INDEX_ENTRY_KEY_MAX];
    size_t first_size, last_size;
};

/* Zero the struct and set txn, db, run first. Keys must ascend; an equal one is dropped. Both return an LMDB
 * code. */
int index_writer_add(struct index_writer *writer, struct slice key, struct slice value);
int index_writer_end(struct index_writer *writer);
void index_writer_release(struct index_writer *writer);

struct index_reader {
    MDB_cursor *cursor;
    uint32_t run;
    const uint8_t *at, *end; /* the rest of the chunk */
    const uint8_t *start;    /* its first entry; the restarts are behind end */
    size_t restart_count;
    char key[INDEX_ENTRY_KEY_MAX];
    size_t key_size;
    struct slice value; /* borrowed from the map */
};

/* All return 0 (at an entry), MDB_NOTFOUND (no such entry) or another LMDB code (MDB_CORRUPTED: the chunk is
 * damaged). The cursor must not be moved by others between calls. */
int index_reader_first(struct index_reader *reader, MDB_cursor *cursor, uint32_t run);
/* The first entry with at least this key. */
int index_reader_seek(struct index_reader *reader, MDB_cursor *cursor, uint32_t run, struct slice key);
/* The last entry with at most this key; a look-up: the cursor may be moved on, so no next follows it. */
int index_reader_floor(struct index_reader *reader, MDB_cursor *cursor, uint32_t run, struct slice key);
int index_reader_next(struct index_reader *reader);

static inline struct slice index_reader_key(const struct index_reader *reader)
{
    return slice_make(reader->key, reader->key_size);
}

/* Whether a value as LMDB hands it out can be one of size_max bytes within its page. LMDB believes the size
 * that the page tells: a damaged one leads behind the end of the file, where reading ends the process. Not
 * for values on pages that the transaction itself has changed. */
bool index_run_value_fits(MDB_val value, size_t size_max);
/* Removes a run's chunks. */
int index_run_remove(MDB_txn *txn, MDB_dbi db, uint32_t run);

/* A number as one byte of size and that many bytes, big endian: sorts by value. Returns the size, at most 9.
 */
size_t index_run_put_number(char *to, uint64_t value);
/* Reads one from the end of size bytes at data, in which it begins at from; false if it does not fit exactly.
 */
bool index_run_read_number(struct slice bytes, uint64_t *value);

#endif

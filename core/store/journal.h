/* journal.h: log/journal-0 and log/journal-1, what was appended and is not in LMDB yet: one write and one
 * flush make a batch durable.
 *
 * The two files (halves) are written with zeros once and then written over, so a flush has no metadata to
 * write. While one is filled the other's entries go into LMDB, by one transaction that also records the last
 * sequence number it holds; then that half is free. An entry begins at a sector, so that no write touches the
 * sector of one that was answered:
 *
 *   4 magic   4 CRC-32 of what follows   8 key   8 sequence   4 size of the body   4 kind   then the body
 *   (little endian)
 *
 * Sequence numbers are given out once, one behind the other, so what a file still holds of its earlier use is
 * told from what follows the log. The key is drawn with the log and kept in LMDB: an entry with another one
 * is of another log, and no client can put bytes into an event that pass for an entry.
 *
 *     struct buf entry = {0};
 *     journal_begin(&entry);                       leaves room for the header
 *     buf_put(&entry, ...);
 *     if (journal_full(journal)) ...               flush the other half's entries into LMDB, journal_turn
 *     if (journal_put(journal, JOURNAL_BATCH, &entry, &fault) < 0) ...
 *
 * Threads: one at a time writes; journal_grow may run beside it. Owns: the files. */
#ifndef LORE_STORE_JOURNAL_H
#define LORE_STORE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"

enum { JOURNAL_HALVES = 2, JOURNAL_SECTOR = 512 };
enum journal_kind {
    JOURNAL_BATCH = 1, /* records: 4 bytes size each, then the record */
    JOURNAL_META = 2   /* 4 bytes size of the key, key, value */
};

/* Where the log in LMDB ends: its own last sequence number. */
struct journal_mark {
    uint64_t key, sequence;
};

struct journal_entry {
    uint64_t sequence;
    int half; /* it lies in */
    enum journal_kind kind;
    struct slice body; /* borrowed until the call returns */
};

/* Where reading ended: there the next entry comes, or at the beginning of a half. */
struct journal_end {
    int half;
    uint64_t offset, sequence;
    uint64_t last; /* where in the half the last entry begins, if it ends at offset */
};

/* --- reading --- */

/* Calls each for every entry behind the mark, in order; an entry that is torn, with none behind it, is the
 * end. path is the folder of the halves; without files there are no entries. *end is filled in any case.
 * Faults: CORRUPT (an entry damaged before a whole one, a gap, a foreign file: with file and byte), DISK,
 * what each says. */
int journal_read(const char *path, const struct journal_mark *mark,
                 int (*each)(void *user, const struct journal_entry *entry, struct fault *fault), void *user,
                 struct journal_end *end, struct fault *fault);
/* Whether the entry behind end was written meanwhile. */
bool journal_moved(const char *path, uint64_t key, const struct journal_end *end);

/* --- writing --- */

struct journal;

/* Opens or makes the files, to go on at the end that was read; all up to it is durable then. The names of new
 * files are not before the folder is synced. */
int journal_open(const char *path, uint64_t key, const struct journal_end *end, struct journal **journal,
                 struct fault *fault);
void journal_close(struct journal *journal);

void journal_begin(struct buf *entry);
/* Durable when it returns 0; entry is filled up to whole sectors (buf_room of one before keeps its bytes
 * where they are). -1: nothing of it will ever be read back. Fault: DISK. A failed flush stops the process.
 */
int journal_put(struct journal *journal, enum journal_kind kind, struct buf *entry, struct fault *fault);
/* Of the last entry. */
uint64_t journal_sequence(const struct journal *journal);
/* The half in use is filled. It takes more all the same, slower. */
bool journal_full(const struct journal *journal);
/* Goes on at the beginning of the other half, whose entries are in LMDB. */
void journal_turn(struct journal *journal);
/* Doubles the half not in use, up to LIMIT_JOURNAL_SIZE_MAX. A disk too full for that is no fault. */
void journal_grow(struct journal *journal);

#endif

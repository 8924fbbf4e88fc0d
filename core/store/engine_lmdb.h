/* engine_lmdb.h: what the files of the LMDB engine share. For engine_lmdb*.c only. */
#ifndef LORE_STORE_ENGINE_LMDB_H
#define LORE_STORE_ENGINE_LMDB_H

#include <pthread.h>

#include "store/engine_inside.h"
#include "store/head.h"
#include "store/index.h"
#include "store/journal.h"
#include "store/lmdb_env.h"
#include "store/log_tail.h"
#include "store/log_view.h"

/* The databases of data/log. Integer keys are size_t. */
enum {
    LOG_DB_COMMITS,  /* first position -> record */
    LOG_DB_OUTCOMES, /* number from 1 -> record */
    LOG_DB_NAMES,    /* name number -> CRC-32 and text; a cache of what the records define */
    LOG_DB_META      /* text -> CRC-32 (of key, 0, value) and value */
};

struct engine_lmdb {
    struct engine engine;
    struct lmdb_env *log;
    struct index *index;
    struct head_file head_file;
    int lock_fd; /* -1: read_only */
    char *path;
    struct clock *clock;
    bool read_only;
    pthread_mutex_t head_lock; /* guards head */
    struct engine_head head;
    uint32_t names_saved; /* numbers up to it are defined in the log; the appending thread's */

    /* engine_lmdb_journal.c. The entries of a half of the journal are in `active` while it is written, then
     * in `frozen` until LMDB has them. tails_lock guards both pointers and what of the active one grows. */
    struct journal *journal;  /* NULL: read_only */
    struct journal_mark mark; /* of LMDB; flush_lock */
    pthread_rwlock_t tails_lock;
    struct log_tail *active, *frozen;
    pthread_t flusher;
    pthread_mutex_t flush_lock; /* held while the frozen tail goes into LMDB */
    pthread_cond_t flush_wanted;
    bool flushing, flush_failed, stopping; /* the flusher runs; it waits to be asked again; flush_lock */
    uint32_t names_flushed;                /* LMDB has them; flush_lock */

    /* read_only: what the view was made of that active and head come from; follow_lock. */
    pthread_mutex_t follow_lock;
    size_t followed; /* transaction of LMDB; 0: none yet */
    struct journal_end followed_end;
};

extern const struct engine_ops engine_lmdb_ops;

void engine_lmdb_locks_init(struct engine_lmdb *lmdb);
void engine_lmdb_locks_destroy(struct engine_lmdb *lmdb);

int engine_lmdb_append(struct engine *engine, struct append *batch, size_t count, struct fault *fault);
int engine_lmdb_read(struct engine *engine, uint64_t position, struct engine_cursor **cursor,
                     struct fault *fault);
int engine_lmdb_read_stream(struct engine *engine, const struct stream_id *stream, uint64_t version,
                            struct engine_cursor **cursor, struct fault *fault);
int engine_lmdb_read_outcomes(struct engine *engine, uint64_t number, struct engine_cursor **cursor,
                              struct fault *fault);
int engine_lmdb_cursor_next(struct engine_cursor *cursor, struct record *record, struct fault *fault);
void engine_lmdb_cursor_close(struct engine_cursor *cursor);
int engine_lmdb_stream_head(struct engine *engine, const struct stream_id *stream, uint64_t *version,
                            uint64_t *position, struct fault *fault);
int engine_lmdb_find_command(struct engine *engine, const struct stream_id *stream, struct slice command_id,
                             struct buf *bytes, struct record *record, struct fault *fault);
int engine_lmdb_each_stream(struct engine *engine, struct slice tenant, struct slice aggregate,
                            struct slice beginning,
                            bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                            struct fault *fault);

/* Takes the directory's lock: a descriptor to be closed, -1: IN_USE, PERMISSION. */
int engine_lmdb_lock(const char *path, struct fault *fault);

/* engine_lmdb_load.c: what is read at open, and again and again by a read_only engine. */
int engine_lmdb_load_names(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct fault *fault);
/* As far as LMDB has the log. */
int engine_lmdb_load_head(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct engine_head *head,
                          struct fault *fault);
/* The log must reach what is recorded beside it. */
int engine_lmdb_check_head(struct engine_lmdb *lmdb, struct fault *fault);
/* Opens the index and feeds it the log from its checkpoint on. */
int engine_lmdb_load_index(struct engine_lmdb *lmdb, uint64_t map_size, struct fault *fault);
/* Whether the commit that ends at the checkpoint has its chain (lmdb: struct engine_lmdb whose head is
 * loaded). */
bool engine_lmdb_agrees(void *lmdb, const struct index_checkpoint *checkpoint);
/* The log as it is now; read_only: after names, head and index were brought up to it. */
int engine_lmdb_view(struct engine_lmdb *lmdb, struct log_view *view, struct fault *fault);
/* read_only: the same without keeping the view. */
int engine_lmdb_follow(struct engine_lmdb *lmdb, struct fault *fault);

/* engine_lmdb_journal.c: from the append to LMDB. */
/* Puts what the journal has behind LMDB (mark) into tails, one for each half: the older (NULL: none) and the
 * one to go on with; moves head on. */
int engine_lmdb_replay(struct engine_lmdb *lmdb, const struct journal_mark *mark, struct engine_head *head,
                       struct log_tail *tails[JOURNAL_HALVES], struct journal_end *end, struct fault *fault);
/* Reads mark, journal and head, and opens the journal to go on. */
int engine_lmdb_open_journal(struct engine_lmdb *lmdb, struct fault *fault);
/* Starts the thread that moves full halves into LMDB. */
void engine_lmdb_start_flusher(struct engine_lmdb *lmdb);
/* Moves all into LMDB and stops the thread. */
void engine_lmdb_close_journal(struct engine_lmdb *lmdb);
/* Moves all into LMDB for good: nothing can be appended any more. Fault: DISK; what is left is in the
 * journal.
 */
int engine_lmdb_settle(struct engine_lmdb *lmdb, struct fault *fault);
/* Before each entry: a full half is handed to the flusher. Fault: DISK, when it cannot be emptied. */
int engine_lmdb_make_room(struct engine_lmdb *lmdb, struct fault *fault);
/* The mark that LMDB has in this read; zeros: a log without a journal so far. */
int engine_lmdb_read_mark(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct journal_mark *mark,
                          struct fault *fault);

/* engine_lmdb_meta.c: named values. 1 found, 0 none, -1 fault. */
int engine_lmdb_meta_get(struct engine *engine, struct slice key, struct buf *value, struct fault *fault);
int engine_lmdb_meta_put(struct engine *engine, struct slice key, struct slice value, struct fault *fault);
/* Every value of the log but those of the engine itself (the journal's mark), as of one moment, which is
 * *head; until each returns -1. */
int engine_lmdb_meta_each(struct engine *engine, struct engine_head *head,
                          int (*each)(void *user, struct slice key, struct slice value, struct fault *fault),
                          void *user, struct fault *fault);
/* What LMDB alone has. */
int engine_lmdb_meta_read(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct slice key,
                          struct buf *value, struct fault *fault);
/* An LMDB code. */
int engine_lmdb_meta_write(struct engine_lmdb *lmdb, MDB_txn *txn, struct slice key, struct slice value);
/* The same in a transaction of its own, past the journal: for what is there before it. */
int engine_lmdb_meta_store(struct engine_lmdb *lmdb, struct slice key, struct slice value,
                           struct fault *fault);
uint32_t engine_lmdb_meta_crc(struct slice key, struct slice value);

static inline MDB_val lmdb_number(size_t *number)
{
    return (MDB_val){sizeof *number, number};
}

#endif

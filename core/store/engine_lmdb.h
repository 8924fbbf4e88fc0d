/* engine_lmdb.h: what the files of the LMDB engine share. For engine_lmdb*.c only. */
#ifndef LORE_STORE_ENGINE_LMDB_H
#define LORE_STORE_ENGINE_LMDB_H

#include <pthread.h>

#include "store/engine_inside.h"
#include "store/head.h"
#include "store/index.h"
#include "store/lmdb_env.h"

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
    uint32_t names_saved;        /* numbers up to it are defined in the log; the appending thread's */
    pthread_mutex_t follow_lock; /* read_only: guards the following of another process */
};

extern const struct engine_ops engine_lmdb_ops;

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
                            bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                            struct fault *fault);

/* engine_lmdb_load.c: what is read at open, and again and again by a read_only engine. */
int engine_lmdb_load_names(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct fault *fault);
int engine_lmdb_load_head(struct engine_lmdb *lmdb, struct lmdb_env_read *read, struct engine_head *head,
                          struct fault *fault);
/* The log must reach what is recorded beside it. */
int engine_lmdb_check_head(struct engine_lmdb *lmdb, struct fault *fault);
/* Opens the index and feeds it the log from its checkpoint on. */
int engine_lmdb_load_index(struct engine_lmdb *lmdb, uint64_t map_size, struct fault *fault);
/* Whether the commit that ends at the checkpoint has its chain (lmdb: struct engine_lmdb whose head is
 * loaded). */
bool engine_lmdb_agrees(void *lmdb, const struct index_checkpoint *checkpoint);
/* A read of the log; read_only: after names, head and index were brought up to what it sees. */
int engine_lmdb_begin(struct engine_lmdb *lmdb, struct lmdb_env_read **read, struct fault *fault);
/* read_only: the same without keeping the read. */
int engine_lmdb_follow(struct engine_lmdb *lmdb, struct fault *fault);

/* One value of the meta database. 1 found, 0 none, -1 fault. */
int engine_lmdb_meta(struct engine_lmdb *lmdb, struct slice key, struct buf *value, struct fault *fault);
uint32_t engine_lmdb_meta_crc(struct slice key, struct slice value);

static inline MDB_val lmdb_number(size_t *number)
{
    return (MDB_val){sizeof *number, number};
}

#endif

/* engine_inside.h: what an engine is made of. For engine*.c only; see engine.h for the contract. */
#ifndef LORE_STORE_ENGINE_INSIDE_H
#define LORE_STORE_ENGINE_INSIDE_H

#include "store/engine.h"

/* Each engine fills one table; engine.c is the dispatch through it. */
struct engine_ops {
    void (*close)(struct engine *engine);
    struct engine_head (*head)(struct engine *engine);
    int (*append)(struct engine *engine, struct append *batch, size_t count, struct fault *fault);
    int (*read)(struct engine *engine, uint64_t position, struct engine_cursor **cursor, struct fault *fault);
    int (*read_stream)(struct engine *engine, const struct stream_id *stream, uint64_t version,
                       struct engine_cursor **cursor, struct fault *fault);
    int (*read_outcomes)(struct engine *engine, uint64_t number, struct engine_cursor **cursor,
                         struct fault *fault);
    int (*cursor_next)(struct engine_cursor *cursor, struct record *record, struct fault *fault);
    void (*cursor_close)(struct engine_cursor *cursor);
    int (*stream_head)(struct engine *engine, const struct stream_id *stream, uint64_t *version,
                       uint64_t *position, struct fault *fault);
    int (*find_command)(struct engine *engine, const struct stream_id *stream, struct slice command_id,
                        struct buf *bytes, struct record *record, struct fault *fault);
    int (*each_stream)(struct engine *engine, struct slice tenant, struct slice aggregate,
                       struct slice beginning, bool (*each)(void *user, struct slice id, uint64_t version),
                       void *user, struct fault *fault);
    int (*meta_put)(struct engine *engine, struct slice key, struct slice value, struct fault *fault);
    int (*meta_get)(struct engine *engine, struct slice key, struct buf *value, struct fault *fault);
    int (*flush_index)(struct engine *engine, uint64_t *events, struct fault *fault);
    uint64_t (*index_behind)(struct engine *engine);
};

struct engine { /* first member of each engine's struct */
    const struct engine_ops *ops;
    struct names *names;
};

struct engine_cursor { /* first member of each engine's cursor */
    const struct engine_ops *ops;
};

static inline bool engine_has_position(enum record_kind kind)
{
    return kind == RECORD_COMMIT || kind == RECORD_FACT;
}
/* The version of the stream on which the commit was decided. */
static inline uint64_t engine_decided_on(const struct commit *commit)
{
    return engine_has_position(commit->kind) ? commit->first_version - 1 : commit->first_version;
}
/* What the doors must have kept out. Fault: MALFORMED. */
int engine_check_commit(const struct commit *commit, struct fault *fault);
/* Whether the record answers a command or batch of this id in its stream. */
bool engine_answers(const struct record *record, struct slice command_id);

#endif

/* An engine over an engine: the log as it was at a position. Streams are prefixes of what they are now, so
 * a version that is beyond the position is found by halves; records are the base's own, and only a commit
 * that the position cuts in two is shown with fewer events than it has (the bytes are whole). */
#include "base/check.h"
#include "base/mem.h"
#include "store/engine_inside.h"

struct engine_past {
    struct engine engine;
    struct engine *base;
    bool owns; /* the base */
    struct engine_head head;
};

struct past_cursor {
    struct engine_cursor cursor;
    struct engine_cursor *base;
    struct engine_past *past;
    bool of_outcomes;
    uint64_t left; /* of_outcomes: how many may still come */
};

static struct engine_past *past_of(struct engine *engine)
{
    return (struct engine_past *)engine;
}

static struct engine_head past_head(struct engine *engine)
{
    return past_of(engine)->head;
}

/* --- records --- */

/* Whether it has begun by then; an end behind the position is cut off. */
static bool past_cut(const struct engine_past *past, struct record *record)
{
    uint64_t position = past->head.position;
    if (record->first_position > position) return false;
    if (record->first_position + record->event_count > position + 1)
        record->event_count = (uint32_t)(position + 1 - record->first_position);
    return true;
}

static struct engine_cursor *past_cursor_new(struct engine_past *past, struct engine_cursor *base)
{
    struct past_cursor *cursor = MEM_NEW(struct past_cursor);
    cursor->cursor.ops = past->engine.ops;
    cursor->base = base;
    cursor->past = past;
    return &cursor->cursor;
}

static int past_read(struct engine *engine, uint64_t position, struct engine_cursor **cursor,
                     struct fault *fault)
{
    struct engine_cursor *base;
    if (engine_read(past_of(engine)->base, position, &base, fault) < 0) return -1;
    *cursor = past_cursor_new(past_of(engine), base);
    return 0;
}

static int past_read_stream(struct engine *engine, const struct stream_id *stream, uint64_t version,
                            struct engine_cursor **cursor, struct fault *fault)
{
    struct engine_cursor *base;
    if (engine_read_stream(past_of(engine)->base, stream, version, &base, fault) < 0) return -1;
    *cursor = past_cursor_new(past_of(engine), base);
    return 0;
}

static int past_read_outcomes(struct engine *engine, uint64_t number, struct engine_cursor **cursor,
                              struct fault *fault)
{
    struct engine_past *past = past_of(engine);
    struct engine_cursor *base;
    if (engine_read_outcomes(past->base, number, &base, fault) < 0) return -1;
    *cursor = past_cursor_new(past, base);
    struct past_cursor *made = (struct past_cursor *)*cursor;
    made->of_outcomes = true;
    if (number == 0) number = 1;
    made->left = number <= past->head.outcomes ? past->head.outcomes - number + 1 : 0;
    return 0;
}

static int past_cursor_next(struct engine_cursor *engine_cursor, struct record *record, struct fault *fault)
{
    struct past_cursor *cursor = (struct past_cursor *)engine_cursor;
    if (cursor->of_outcomes && cursor->left == 0) return 0;
    int found = engine_cursor_next(cursor->base, record, fault);
    if (found != 1) return found;
    if (!cursor->of_outcomes) return past_cut(cursor->past, record);
    cursor->left--;
    return 1;
}

static void past_cursor_close(struct engine_cursor *engine_cursor)
{
    struct past_cursor *cursor = (struct past_cursor *)engine_cursor;
    engine_cursor_close(cursor->base);
    mem_free(cursor);
}

/* --- streams --- */

static int past_stream_head(struct engine *engine, const struct stream_id *stream, uint64_t *version,
                            uint64_t *position, struct fault *fault)
{
    struct engine_past *past = past_of(engine);
    return engine_stream_at(past->base, stream, past->head.position, version, position, fault);
}

static int past_find_command(struct engine *engine, const struct stream_id *stream, struct slice command_id,
                             struct buf *bytes, struct record *record, struct fault *fault)
{
    struct engine_past *past = past_of(engine);
    int found = engine_find_command(past->base, stream, command_id, bytes, record, fault);
    if (found != 1) return found;
    if (engine_has_position(record->kind)) return past_cut(past, record);
    return record->recorded_ms <= past->head.recorded_ms;
}

static bool past_note_stream(void *user, struct slice id, uint64_t version)
{
    buf_put(user, &id.size, sizeof id.size);
    buf_put_slice(user, id);
    return true;
}

static int past_each_stream(struct engine *engine, struct slice tenant, struct slice aggregate,
                            struct slice beginning,
                            bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                            struct fault *fault)
{
    struct buf ids = {0};
    int done = engine_each_stream_beginning(past_of(engine)->base, tenant, aggregate, beginning,
                                            past_note_stream, &ids, fault);
    for (size_t at = 0; done == 0 && at < ids.size;) {
        struct stream_id stream = {tenant, aggregate, SLICE_NONE};
        uint64_t version, position;
        memcpy(&stream.id.size, ids.data + at, sizeof stream.id.size);
        stream.id.data = ids.data + at + sizeof stream.id.size;
        at += sizeof stream.id.size + stream.id.size;
        done = past_stream_head(engine, &stream, &version, &position, fault);
        if (done == 0 && version > 0 && !each(user, stream.id, version)) break;
    }
    buf_release(&ids);
    return done;
}

/* --- the rest --- */

static int past_refuse(const struct engine *engine, struct fault *fault)
{
    return fault_set(fault, FAULT_UNAVAILABLE,
                     "the past cannot be written: the log is shown as of position %llu",
                     (unsigned long long)((const struct engine_past *)engine)->head.position);
}

static int past_append(struct engine *engine, struct append *batch, size_t count, struct fault *fault)
{
    return past_refuse(engine, fault);
}

static int past_meta_put(struct engine *engine, struct slice key, struct slice value, struct fault *fault)
{
    return past_refuse(engine, fault);
}

static int past_meta_get(struct engine *engine, struct slice key, struct buf *value, struct fault *fault)
{
    return engine_meta_get(past_of(engine)->base, key, value, fault);
}

static int past_flush_index(struct engine *engine, uint64_t *events, struct fault *fault)
{
    *events = 0;
    return 0;
}

static uint64_t past_index_behind(struct engine *engine)
{
    return 0;
}

static void past_close(struct engine *engine)
{
    if (past_of(engine)->owns) engine_close(past_of(engine)->base);
    mem_free(engine);
}

static const struct engine_ops engine_past_ops = {
    .close = past_close,
    .head = past_head,
    .append = past_append,
    .read = past_read,
    .read_stream = past_read_stream,
    .read_outcomes = past_read_outcomes,
    .cursor_next = past_cursor_next,
    .cursor_close = past_cursor_close,
    .stream_head = past_stream_head,
    .find_command = past_find_command,
    .each_stream = past_each_stream,
    .meta_put = past_meta_put,
    .meta_get = past_meta_get,
    .flush_index = past_flush_index,
    .index_behind = past_index_behind,
};

/* --- opening --- */

static int past_count_commits(struct engine_past *past, struct fault *fault)
{
    struct engine_head *head = &past->head;
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read(past->base, 1, &cursor, fault) < 0) return -1;
    int more;
    while ((more = engine_cursor_next(cursor, &record, fault)) == 1 && past_cut(past, &record)) {
        head->commits++;
        head->recorded_ms = record.recorded_ms;
        head->epoch = record.epoch;
        head->chain = record.chain;
    }
    engine_cursor_close(cursor);
    return more < 0 ? -1 : 0;
}

/* 1: outcome n was recorded by then, and *recorded_ms and *chain are its; 0: later; -1: fault. */
static int past_outcome(struct engine_past *past, uint64_t number, int64_t bound_ms, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read_outcomes(past->base, number, &cursor, fault) < 0) return -1;
    int found = engine_cursor_next(cursor, &record, fault);
    if (found == 1 && record.recorded_ms > bound_ms) found = 0;
    if (found == 1) {
        past->head.outcomes = number;
        past->head.outcome_chain = record.chain;
        if (record.recorded_ms > past->head.recorded_ms) past->head.recorded_ms = record.recorded_ms;
    }
    engine_cursor_close(cursor);
    return found;
}

static int past_count_outcomes(struct engine_past *past, uint64_t outcomes, int64_t bound_ms,
                               struct fault *fault)
{
    uint64_t above = outcomes;
    while (above > past->head.outcomes) {
        uint64_t middle = past->head.outcomes + (above - past->head.outcomes + 1) / 2;
        int found = past_outcome(past, middle, bound_ms, fault);
        if (found < 0) return -1;
        if (found == 0) above = middle - 1;
    }
    return 0;
}

int engine_open_past(struct engine *base, bool owns, uint64_t position, int64_t recorded_ms,
                     struct engine **engine, struct fault *fault)
{
    struct engine_head now = engine_head(base);
    if (position > now.position)
        return fault_set(fault, FAULT_NOT_FOUND, "position %llu is beyond the head of the log, which is %llu",
                         (unsigned long long)position, (unsigned long long)now.position);
    struct engine_past *past = MEM_NEW(struct engine_past);
    past->engine = (struct engine){&engine_past_ops, base->names};
    past->base = base;
    past->owns = owns;
    past->head.position = position;
    past->head.epoch = 1;
    memcpy(past->head.log_id, now.log_id, sizeof now.log_id);
    int done = past_count_commits(past, fault);
    int64_t bound_ms = recorded_ms == INT64_MIN ? past->head.recorded_ms : recorded_ms;
    if (done == 0) done = past_count_outcomes(past, now.outcomes, bound_ms, fault);
    if (done < 0) {
        mem_free(past);
        return -1;
    }
    *engine = &past->engine;
    return 0;
}

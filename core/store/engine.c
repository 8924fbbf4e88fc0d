#include "store/engine.h"

#include "base/check.h"
#include "base/limit.h"
#include "store/engine_inside.h"

/* --- the dispatch --- */

void engine_close(struct engine *engine)
{
    if (engine) engine->ops->close(engine);
}

struct names *engine_names(struct engine *engine)
{
    return engine->names;
}

struct engine_head engine_head(struct engine *engine)
{
    return engine->ops->head(engine);
}

int engine_append(struct engine *engine, struct append *batch, size_t count, struct fault *fault)
{
    for (size_t at = 0; at < count; at++)
        if (engine_check_commit(batch[at].commit, fault) < 0) return -1;
    return count ? engine->ops->append(engine, batch, count, fault) : 0;
}

int engine_read(struct engine *engine, uint64_t position, struct engine_cursor **cursor, struct fault *fault)
{
    return engine->ops->read(engine, position, cursor, fault);
}

int engine_read_stream(struct engine *engine, const struct stream_id *stream, uint64_t version,
                       struct engine_cursor **cursor, struct fault *fault)
{
    return engine->ops->read_stream(engine, stream, version, cursor, fault);
}

int engine_read_outcomes(struct engine *engine, uint64_t number, struct engine_cursor **cursor,
                         struct fault *fault)
{
    return engine->ops->read_outcomes(engine, number, cursor, fault);
}

int engine_cursor_next(struct engine_cursor *cursor, struct record *record, struct fault *fault)
{
    return cursor->ops->cursor_next(cursor, record, fault);
}

void engine_cursor_close(struct engine_cursor *cursor)
{
    if (cursor) cursor->ops->cursor_close(cursor);
}

int engine_stream_head(struct engine *engine, const struct stream_id *stream, uint64_t *version,
                       uint64_t *position, struct fault *fault)
{
    return engine->ops->stream_head(engine, stream, version, position, fault);
}

int engine_find_command(struct engine *engine, const struct stream_id *stream, struct slice command_id,
                        struct buf *bytes, struct record *record, struct fault *fault)
{
    if (command_id.size == 0) return 0;
    return engine->ops->find_command(engine, stream, command_id, bytes, record, fault);
}

int engine_each_stream(struct engine *engine, struct slice tenant, struct slice aggregate,
                       bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                       struct fault *fault)
{
    return engine->ops->each_stream(engine, tenant, aggregate, SLICE_NONE, each, user, fault);
}

int engine_each_stream_beginning(struct engine *engine, struct slice tenant, struct slice aggregate,
                                 struct slice beginning,
                                 bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                                 struct fault *fault)
{
    return engine->ops->each_stream(engine, tenant, aggregate, beginning, each, user, fault);
}

int engine_meta_put(struct engine *engine, struct slice key, struct slice value, struct fault *fault)
{
    return engine->ops->meta_put(engine, key, value, fault);
}

int engine_meta_get(struct engine *engine, struct slice key, struct buf *value, struct fault *fault)
{
    return engine->ops->meta_get(engine, key, value, fault);
}

int engine_flush_index(struct engine *engine, uint64_t *events, struct fault *fault)
{
    return engine->ops->flush_index(engine, events, fault);
}

uint64_t engine_index_behind(struct engine *engine)
{
    return engine->ops->index_behind(engine);
}

/* --- the past of a stream --- */

/* Position of a version that the stream has. */
static int find_position(struct engine *engine, const struct stream_id *stream, uint64_t version,
                         uint64_t *position, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read_stream(engine, stream, version, &cursor, fault) < 0) return -1;
    int found = engine_cursor_next(cursor, &record, fault);
    if (found == 1) *position = record.first_position + (version - record.first_version);
    engine_cursor_close(cursor);
    if (found == 0)
        fault_set(fault, FAULT_CORRUPT, "version %llu of stream %.*s/%.*s is not in the log",
                  (unsigned long long)version, SLICE_ARGS(stream->aggregate), SLICE_ARGS(stream->id));
    return found == 1 ? 0 : -1;
}

int engine_stream_at(struct engine *engine, const struct stream_id *stream, uint64_t bound, uint64_t *version,
                     uint64_t *position, struct fault *fault)
{
    uint64_t above, at, found = 0, found_at = 0;
    if (engine_stream_head(engine, stream, &above, &at, fault) < 0) return -1;
    if (at <= bound) {
        found = above;
        found_at = at;
    }
    /* What is above `above` came later; found did not. A stream has at least one position a version, so none
     * can be above the bound itself. */
    if (found == 0 && above > bound) above = bound;
    while (above > found) {
        uint64_t middle = found + (above - found + 1) / 2;
        if (find_position(engine, stream, middle, &at, fault) < 0) return -1;
        if (at > bound) {
            above = middle - 1;
            continue;
        }
        found = middle;
        found_at = at;
    }
    *version = found;
    *position = found_at;
    return 0;
}

/* --- what both engines ask of a commit --- */

static bool fits(struct slice text, size_t size_max)
{
    return text.size > 0 && text.size <= size_max && !memchr(text.data, 0, text.size);
}

int engine_check_commit(const struct commit *commit, struct fault *fault)
{
    bool positioned = engine_has_position(commit->kind);
    CHECK(commit->kind >= RECORD_COMMIT && commit->kind <= RECORD_ACCEPTED);
    CHECK(positioned == (commit->event_count > 0));
    CHECK(!positioned || commit->first_version > 0);
    if (!fits(commit->tenant, LIMIT_TENANT_SIZE_MAX))
        return fault_set(fault, FAULT_MALFORMED, "a tenant's name must have 1 to %d bytes",
                         LIMIT_TENANT_SIZE_MAX);
    if (!fits(commit->aggregate, 2 * LIMIT_NAME_SIZE_MAX + 1))
        return fault_set(fault, FAULT_MALFORMED, "an aggregate's name must have 1 to %d bytes",
                         2 * LIMIT_NAME_SIZE_MAX + 1);
    if (!fits(commit->id, LIMIT_ID_SIZE_MAX))
        return fault_set(fault, FAULT_MALFORMED, "an id must have 1 to %d bytes and no 0 byte",
                         LIMIT_ID_SIZE_MAX);
    for (size_t at = 0; at < commit->command_count; at++)
        if (commit->commands[at].id.size > LIMIT_ID_SIZE_MAX)
            return fault_set(fault, FAULT_MALFORMED, "a command id has more than %d bytes",
                             LIMIT_ID_SIZE_MAX);
    if (commit->batch_id.size > LIMIT_ID_SIZE_MAX || commit->correlation_id.size > LIMIT_ID_SIZE_MAX ||
        commit->causation_id.size > LIMIT_ID_SIZE_MAX)
        return fault_set(fault, FAULT_MALFORMED, "an id has more than %d bytes", LIMIT_ID_SIZE_MAX);
    return 0;
}

bool engine_answers(const struct record *record, struct slice command_id)
{
    if (!record->id_given || record->kind == RECORD_ERASED) return false;
    struct record_command command = {0};
    while (record_next_command(record, &command))
        if (slice_equal(slice_make(command.id, command.id_size), command_id)) return true;
    struct arena arena = {0};
    struct record_ids ids;
    record_read_ids(record, &arena, &ids);
    bool batch = slice_equal(ids.batch_id, command_id);
    arena_release(&arena);
    return batch;
}

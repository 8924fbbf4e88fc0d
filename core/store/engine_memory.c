/* The in-memory engine: the model that the LMDB engine is compared with. Plain arrays and naive searches;
 * nothing here is meant to be fast, but each record has the number of its stream beside it, so that whoever
 * looks for one stream's need not open all, and answers are found by their ids. Records are the same bytes,
 * and they never move, so what a cursor borrows stays. */
#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/rand.h"
#include "store/engine_inside.h"

struct memory_log { /* commits or outcomes, in log order */
    struct slice *records;
    uint32_t *streams; /* of each record: its stream's number */
    size_t count, count_max;
    struct map answers; /* by stream and id of a command or batch */
};

struct memory_answer {
    struct slice key, record; /* the first one that answers; key is owned: what answer_key makes */
};

struct memory_stream {
    uint32_t number;  /* from 1 on */
    struct slice key; /* owned: what stream_key makes */
};

struct memory_value {
    struct slice key, value;
};

struct engine_memory {
    struct engine engine;
    struct clock *clock;
    pthread_mutex_t lock; /* guards all that follows */
    struct memory_log commits, outcomes;
    struct map streams;
    struct engine_head head;
    uint32_t names_saved;
    struct memory_value *values;
    size_t value_count;
};

struct memory_cursor {
    struct engine_cursor cursor;
    struct engine_memory *memory;
    const struct memory_log *log;
    size_t at, end;  /* which records; end is as of the open */
    uint32_t stream; /* only this one's; 0: all */
    uint64_t from;   /* position, version or number */
};

static struct engine_memory *memory_of(struct engine *engine)
{
    return (struct engine_memory *)engine;
}

static struct slice copy_bytes(struct slice bytes)
{
    return slice_make(mem_text(bytes.data, bytes.size), bytes.size);
}

static struct record log_get(struct engine_memory *memory, const struct memory_log *log, size_t at)
{
    struct record record;
    CHECK(at < log->count && record_open(log->records[at], memory->engine.names, &record, NULL) == 0);
    return record;
}

static void answer_key(uint32_t stream, struct slice id, struct buf *key)
{
    buf_clear(key);
    buf_put(key, &stream, sizeof stream);
    buf_put_slice(key, id);
}

static void add_answer(struct memory_log *log, uint32_t stream, struct slice id, struct slice bytes)
{
    struct buf key = {0};
    answer_key(stream, id, &key);
    if (!map_find(&log->answers, buf_slice(&key))) {
        struct memory_answer *answer = MEM_NEW(struct memory_answer);
        *answer = (struct memory_answer){copy_bytes(buf_slice(&key)), bytes};
        map_put(&log->answers, answer->key, answer);
    }
    buf_release(&key);
}

/* As engine_answers: whatever id that says yes to. */
static void add_answers(struct memory_log *log, uint32_t stream, const struct record *record)
{
    if (!record->id_given || record->kind == RECORD_ERASED) return;
    struct record_command command = {0};
    while (record_next_command(record, &command))
        add_answer(log, stream, slice_make(command.id, command.id_size), record->bytes);
    struct arena arena = {0};
    struct record_ids ids;
    record_read_ids(record, &arena, &ids);
    add_answer(log, stream, ids.batch_id, record->bytes);
    arena_release(&arena);
}

static void log_add(struct engine_memory *memory, struct memory_log *log, uint32_t stream, struct slice bytes)
{
    if (log->count == log->count_max) {
        log->count_max = log->count_max ? log->count_max * 2 : 64;
        log->records = mem_resize(log->records, log->count_max * sizeof *log->records);
        log->streams = mem_resize(log->streams, log->count_max * sizeof *log->streams);
    }
    log->streams[log->count] = stream;
    log->records[log->count] = copy_bytes(bytes);
    struct record record = log_get(memory, log, log->count++);
    add_answers(log, stream, &record);
}

/* The stream's place in the map. False if one of its names is unknown. */
static bool stream_key(struct engine_memory *memory, const struct stream_id *stream, struct buf *key)
{
    uint32_t names[2] = {names_find(memory->engine.names, stream->tenant),
                         names_find(memory->engine.names, stream->aggregate)};
    buf_put(key, names, sizeof names);
    buf_put_slice(key, stream->id);
    return names[0] && names[1];
}

/* 0: it was never written. */
static uint32_t stream_number(struct engine_memory *memory, const struct stream_id *stream)
{
    struct buf key = {0};
    struct memory_stream *found =
        stream_key(memory, stream, &key) ? map_find(&memory->streams, buf_slice(&key)) : NULL;
    buf_release(&key);
    return found ? found->number : 0;
}

static uint32_t stream_add(struct engine_memory *memory, const struct stream_id *stream)
{
    uint32_t number = stream_number(memory, stream);
    if (number) return number;
    struct memory_stream *added = MEM_NEW(struct memory_stream);
    struct buf key = {0};
    CHECK(stream_key(memory, stream, &key));
    *added = (struct memory_stream){(uint32_t)memory->streams.size + 1, copy_bytes(buf_slice(&key))};
    buf_release(&key);
    map_put(&memory->streams, added->key, added);
    return added->number;
}

static void find_head(struct engine_memory *memory, const struct stream_id *stream, uint64_t *version,
                      uint64_t *position)
{
    uint32_t number = stream_number(memory, stream);
    *version = *position = 0;
    for (size_t at = memory->commits.count; number && at-- > 0;) {
        if (memory->commits.streams[at] != number) continue;
        struct record record = log_get(memory, &memory->commits, at);
        *version = record.first_version + record.event_count - 1;
        *position = record.first_position + record.event_count - 1;
        return;
    }
}

/* --- append --- */

/* Whether the commit of this batch to the same stream that it was decided on was refused. */
static bool was_refused(const struct append *batch, size_t at)
{
    const struct commit *commit = batch[at].commit;
    if (!batch[at].follows) return false;
    for (size_t before = at; before-- > 0;) {
        const struct commit *other = batch[before].commit;
        if (slice_equal(other->id, commit->id) && slice_equal(other->aggregate, commit->aggregate) &&
            slice_equal(other->tenant, commit->tenant))
            return batch[before].outcome == APPEND_CONFLICT;
    }
    return false;
}

static void append_one(struct engine_memory *memory, struct append *append, bool refused)
{
    struct commit *commit = append->commit;
    struct engine_head *head = &memory->head;
    struct stream_id stream = {commit->tenant, commit->aggregate, commit->id};
    uint64_t position;
    find_head(memory, &stream, &append->stream_version, &position);
    append->outcome = APPEND_CONFLICT;
    if (!refused && engine_decided_on(commit) == append->stream_version) append->outcome = APPEND_APPENDED;
    if (append->outcome == APPEND_CONFLICT) return;
    bool positioned = engine_has_position(commit->kind);
    int64_t now_ms = clock_now_ms(memory->clock);
    if (now_ms > head->recorded_ms) head->recorded_ms = now_ms;
    commit->recorded_ms = head->recorded_ms;
    commit->epoch = head->epoch;
    commit->first_position = positioned ? head->position + 1 : position;
    struct buf bytes = {0};
    struct names *names = memory->engine.names;
    record_write(commit, names, memory->names_saved, positioned ? &head->chain : &head->outcome_chain,
                 &bytes);
    struct record record;
    struct record_define define = {0};
    CHECK(record_open(buf_slice(&bytes), names, &record, NULL) == 0);
    while (record_next_define(&record, &define)) memory->names_saved = define.id;
    log_add(memory, positioned ? &memory->commits : &memory->outcomes, stream_add(memory, &stream),
            buf_slice(&bytes));
    buf_release(&bytes);
    head->position += commit->event_count;
    head->commits += positioned;
    head->outcomes += !positioned;
    append->stream_version += commit->event_count;
}

static int memory_append(struct engine *engine, struct append *batch, size_t count, struct fault *fault)
{
    struct engine_memory *memory = memory_of(engine);
    pthread_mutex_lock(&memory->lock);
    for (size_t at = 0; at < count; at++) append_one(memory, &batch[at], was_refused(batch, at));
    pthread_mutex_unlock(&memory->lock);
    return 0;
}

/* --- reading --- */

/* Whether the record is before what the cursor was asked for. */
static bool passes_over(const struct memory_cursor *cursor, const struct record *record, size_t at)
{
    if (cursor->stream) return record->first_version + record->event_count <= cursor->from;
    if (cursor->log == &cursor->memory->outcomes) return at + 1 < cursor->from;
    return record->first_position + record->event_count <= cursor->from;
}

/* Whole logs are in order, so that what lies before is not looked at record by record. Under lock. */
static void skip_to(struct memory_cursor *cursor)
{
    size_t high = cursor->end;
    while (cursor->at < high) {
        size_t middle = cursor->at + (high - cursor->at) / 2;
        struct record record = log_get(cursor->memory, cursor->log, middle);
        if (passes_over(cursor, &record, middle))
            cursor->at = middle + 1;
        else
            high = middle;
    }
}

static struct memory_cursor *make_cursor(struct engine_memory *memory, const struct memory_log *log,
                                         uint64_t from)
{
    struct memory_cursor *cursor = MEM_NEW(struct memory_cursor);
    cursor->cursor.ops = memory->engine.ops;
    cursor->memory = memory;
    cursor->log = log;
    cursor->from = from;
    cursor->end = log->count;
    return cursor;
}

static int open_cursor(struct engine_memory *memory, const struct memory_log *log, uint64_t from,
                       struct engine_cursor **out)
{
    pthread_mutex_lock(&memory->lock);
    struct memory_cursor *cursor = make_cursor(memory, log, from);
    skip_to(cursor);
    pthread_mutex_unlock(&memory->lock);
    *out = &cursor->cursor;
    return 0;
}

static int memory_read(struct engine *engine, uint64_t position, struct engine_cursor **cursor,
                       struct fault *fault)
{
    return open_cursor(memory_of(engine), &memory_of(engine)->commits, position, cursor);
}

static int memory_read_outcomes(struct engine *engine, uint64_t number, struct engine_cursor **cursor,
                                struct fault *fault)
{
    return open_cursor(memory_of(engine), &memory_of(engine)->outcomes, number, cursor);
}

static int memory_read_stream(struct engine *engine, const struct stream_id *stream, uint64_t version,
                              struct engine_cursor **out, struct fault *fault)
{
    struct engine_memory *memory = memory_of(engine);
    pthread_mutex_lock(&memory->lock);
    struct memory_cursor *cursor = make_cursor(memory, &memory->commits, version);
    cursor->stream = stream_number(memory, stream);
    if (!cursor->stream) cursor->end = 0;
    pthread_mutex_unlock(&memory->lock);
    *out = &cursor->cursor;
    return 0;
}

static int memory_cursor_next(struct engine_cursor *engine_cursor, struct record *record, struct fault *fault)
{
    struct memory_cursor *cursor = (struct memory_cursor *)engine_cursor;
    int found = 0;
    pthread_mutex_lock(&cursor->memory->lock);
    while (!found && cursor->at < cursor->end) {
        size_t at = cursor->at++;
        if (cursor->stream && cursor->log->streams[at] != cursor->stream) continue;
        struct record next = log_get(cursor->memory, cursor->log, at);
        if (passes_over(cursor, &next, at)) continue;
        *record = next;
        found = 1;
    }
    pthread_mutex_unlock(&cursor->memory->lock);
    return found;
}

static void memory_cursor_close(struct engine_cursor *cursor)
{
    mem_free(cursor);
}

static int memory_stream_head(struct engine *engine, const struct stream_id *stream, uint64_t *version,
                              uint64_t *position, struct fault *fault)
{
    struct engine_memory *memory = memory_of(engine);
    pthread_mutex_lock(&memory->lock);
    find_head(memory, stream, version, position);
    pthread_mutex_unlock(&memory->lock);
    return 0;
}

/* --- look-ups --- */

static bool find_answer(const struct memory_log *log, uint32_t stream, struct slice command_id,
                        struct buf *bytes)
{
    struct buf key = {0};
    answer_key(stream, command_id, &key);
    const struct memory_answer *answer = map_find(&log->answers, buf_slice(&key));
    buf_release(&key);
    if (!answer) return false;
    buf_clear(bytes);
    buf_put_slice(bytes, answer->record);
    return true;
}

static int memory_find_command(struct engine *engine, const struct stream_id *stream, struct slice command_id,
                               struct buf *bytes, struct record *record, struct fault *fault)
{
    struct engine_memory *memory = memory_of(engine);
    pthread_mutex_lock(&memory->lock);
    uint32_t number = stream_number(memory, stream);
    bool found = number && (find_answer(&memory->commits, number, command_id, bytes) ||
                            find_answer(&memory->outcomes, number, command_id, bytes));
    pthread_mutex_unlock(&memory->lock);
    if (!found) return 0;
    return record_open(buf_slice(bytes), memory->engine.names, record, fault) < 0 ? -1 : 1;
}

struct memory_version {
    struct slice id;
    uint64_t version;
};

static int compare_versions(const void *a, const void *b)
{
    return slice_compare(((const struct memory_version *)a)->id, ((const struct memory_version *)b)->id);
}

static int memory_each_stream(struct engine *engine, struct slice tenant, struct slice aggregate,
                              struct slice beginning,
                              bool (*each)(void *user, struct slice id, uint64_t version), void *user,
                              struct fault *fault)
{
    struct engine_memory *memory = memory_of(engine);
    size_t count = 0;
    pthread_mutex_lock(&memory->lock);
    struct memory_version *by_number = mem_zero((memory->streams.size + 1) * sizeof *by_number);
    uint32_t of_tenant = names_find(memory->engine.names, tenant);
    uint32_t of_aggregate = names_find(memory->engine.names, aggregate);
    for (size_t at = 0; at < memory->commits.count; at++) {
        struct record record = log_get(memory, &memory->commits, at);
        if (record.tenant != of_tenant || record.aggregate != of_aggregate) continue;
        by_number[memory->commits.streams[at]] =
            (struct memory_version){record.id, record.first_version + record.event_count - 1};
    }
    for (size_t at = 0; at <= memory->streams.size; at++)
        if (by_number[at].version) by_number[count++] = by_number[at];
    pthread_mutex_unlock(&memory->lock);
    if (count) qsort(by_number, count, sizeof *by_number, compare_versions);
    for (size_t at = 0; at < count; at++) {
        struct slice id = by_number[at].id;
        bool begins = id.size >= beginning.size &&
                      (beginning.size == 0 || memcmp(id.data, beginning.data, beginning.size) == 0);
        if (begins && !each(user, id, by_number[at].version)) break;
    }
    mem_free(by_number);
    return 0;
}

/* --- the rest --- */

static struct memory_value *find_value(struct engine_memory *memory, struct slice key)
{
    for (size_t at = 0; at < memory->value_count; at++)
        if (slice_equal(memory->values[at].key, key)) return &memory->values[at];
    return NULL;
}

static int memory_meta_put(struct engine *engine, struct slice key, struct slice value, struct fault *fault)
{
    struct engine_memory *memory = memory_of(engine);
    if (key.size == 0 || key.size > 500)
        return fault_set(fault, FAULT_MALFORMED, "a meta key must have 1 to 500 bytes");
    pthread_mutex_lock(&memory->lock);
    struct memory_value *found = find_value(memory, key);
    if (!found) {
        memory->values = mem_resize(memory->values, (memory->value_count + 1) * sizeof *memory->values);
        found = &memory->values[memory->value_count++];
        *found = (struct memory_value){copy_bytes(key), SLICE_NONE};
    }
    mem_free((void *)(uintptr_t)found->value.data);
    found->value = copy_bytes(value);
    pthread_mutex_unlock(&memory->lock);
    return 0;
}

static int memory_meta_get(struct engine *engine, struct slice key, struct buf *value, struct fault *fault)
{
    struct engine_memory *memory = memory_of(engine);
    pthread_mutex_lock(&memory->lock);
    struct memory_value *found = find_value(memory, key);
    if (found) buf_put_slice(value, found->value);
    pthread_mutex_unlock(&memory->lock);
    return found != NULL;
}

static struct engine_head memory_head(struct engine *engine)
{
    struct engine_memory *memory = memory_of(engine);
    pthread_mutex_lock(&memory->lock);
    struct engine_head head = memory->head;
    pthread_mutex_unlock(&memory->lock);
    return head;
}

static int memory_flush_index(struct engine *engine, uint64_t *events, struct fault *fault)
{
    *events = 0;
    return 0;
}

static uint64_t memory_index_behind(struct engine *engine)
{
    return 0;
}

static void log_free(struct memory_log *log)
{
    for (size_t at = 0; at < log->count; at++) mem_free((void *)(uintptr_t)log->records[at].data);
    mem_free(log->records);
    mem_free(log->streams);
    struct memory_answer *answer;
    for (size_t at = 0; (answer = map_next(&log->answers, &at));) {
        mem_free((void *)(uintptr_t)answer->key.data);
        mem_free(answer);
    }
    map_release(&log->answers);
}

static void free_streams(struct map *streams)
{
    struct memory_stream *stream;
    for (size_t at = 0; (stream = map_next(streams, &at));) {
        mem_free((void *)(uintptr_t)stream->key.data);
        mem_free(stream);
    }
    map_release(streams);
}

static void memory_close(struct engine *engine)
{
    struct engine_memory *memory = memory_of(engine);
    log_free(&memory->commits);
    log_free(&memory->outcomes);
    free_streams(&memory->streams);
    for (size_t at = 0; at < memory->value_count; at++) {
        mem_free((void *)(uintptr_t)memory->values[at].key.data);
        mem_free((void *)(uintptr_t)memory->values[at].value.data);
    }
    mem_free(memory->values);
    names_free(memory->engine.names);
    pthread_mutex_destroy(&memory->lock);
    mem_free(memory);
}

static const struct engine_ops engine_memory_ops = {
    .close = memory_close,
    .head = memory_head,
    .append = memory_append,
    .read = memory_read,
    .read_stream = memory_read_stream,
    .read_outcomes = memory_read_outcomes,
    .cursor_next = memory_cursor_next,
    .cursor_close = memory_cursor_close,
    .stream_head = memory_stream_head,
    .find_command = memory_find_command,
    .each_stream = memory_each_stream,
    .meta_put = memory_meta_put,
    .meta_get = memory_meta_get,
    .flush_index = memory_flush_index,
    .index_behind = memory_index_behind,
};

int engine_open_memory(const struct engine_options *options, struct engine **engine, struct fault *fault)
{
    struct engine_memory *memory = MEM_NEW(struct engine_memory);
    memory->engine = (struct engine){&engine_memory_ops, names_new()};
    memory->clock = options->clock;
    memory->head.epoch = 1;
    rand_uuid(clock_now_ms(options->clock), memory->head.log_id);
    pthread_mutex_init(&memory->lock, NULL);
    *engine = &memory->engine;
    return 0;
}

/* Appending to the log: decide, write the records, one entry of the journal, then tell tail, index and head.
 * Nothing behind the entry may fail. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>

#include "base/check.h"
#include "base/limit.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/engine_lmdb.h"

/* Where a stream stands after the commits of this batch so far. */
struct pending {
    uint64_t version, position;
    bool kept;    /* found under its key */
    bool refused; /* the last commit of this batch */
};

struct work {
    struct engine_lmdb *lmdb;
    struct arena arena;
    struct map streams;      /* key -> struct pending */
    struct engine_head head; /* after the batch */
    uint32_t names_saved;
    struct buf entry; /* of the journal: header, then the records, each with its size before it */
    size_t count;     /* of records */
    size_t *offsets;  /* of each record's size; count + 1 */
    struct record *records;
    uint64_t *numbers; /* of an outcome, 0 for a commit */
};

/* --- 1. which commits stand on the version they were decided on --- */

/* False if one of the stream's names has no number yet: then nothing was ever written to it. Names get their
 * numbers from the record that first uses them, never from a commit that may be refused. */
static bool pending_key(struct work *work, const struct commit *commit, char key[INDEX_KEY_SIZE_MAX],
                        struct slice *stream)
{
    uint32_t tenant = names_find(work->lmdb->engine.names, commit->tenant);
    uint32_t aggregate = names_find(work->lmdb->engine.names, commit->aggregate);
    if (!tenant || !aggregate) return false;
    *stream = slice_make(key, index_key(tenant, aggregate, commit->id, key));
    return true;
}

static int find_pending(struct work *work, const struct commit *commit, struct pending **found,
                        struct fault *fault)
{
    char key[INDEX_KEY_SIZE_MAX];
    struct slice stream;
    bool known = pending_key(work, commit, key, &stream);
    struct pending *pending = known ? map_find(&work->streams, stream) : NULL;
    if (!pending) {
        uint64_t version = 0, position = 0;
        if (known && index_stream_head(work->lmdb->index, stream, &version, &position, fault) < 0) return -1;
        pending = arena_take(&work->arena, sizeof *pending);
        *pending = (struct pending){.version = version, .position = position, .kept = known};
        if (known) map_put(&work->streams, arena_copy(&work->arena, stream), pending);
    }
    *found = pending;
    return 0;
}

/* After its first record a stream has its key. */
static void keep_pending(struct work *work, const struct commit *commit, struct pending *pending)
{
    char key[INDEX_KEY_SIZE_MAX];
    struct slice stream;
    if (pending->kept) return;
    CHECK(pending_key(work, commit, key, &stream));
    if (!map_find(&work->streams, stream)) map_put(&work->streams, arena_copy(&work->arena, stream), pending);
    pending->kept = true;
}

/* --- 2. the records --- */

/* The highest name number that the record defines, or saved. */
static uint32_t names_defined(struct work *work, struct slice bytes, uint32_t saved)
{
    struct record record;
    struct record_define define = {0};
    if (names_count(work->lmdb->engine.names) == saved) return saved;
    CHECK(record_open(bytes, work->lmdb->engine.names, &record, NULL) == 0);
    while (record_next_define(&record, &define)) saved = define.id;
    return saved;
}

static void write_record(struct work *work, struct append *append, struct pending *pending)
{
    struct commit *commit = append->commit;
    struct engine_head *head = &work->head;
    bool positioned = engine_has_position(commit->kind);
    int64_t now_ms = clock_now_ms(work->lmdb->clock);
    if (now_ms > head->recorded_ms) head->recorded_ms = now_ms;
    commit->recorded_ms = head->recorded_ms;
    commit->epoch = head->epoch;
    commit->first_position = positioned ? head->position + 1 : pending->position;
    size_t offset = work->entry.size;
    uint32_t size = 0;
    buf_put(&work->entry, &size, sizeof size);
    record_write(commit, work->lmdb->engine.names, work->names_saved,
                 positioned ? &head->chain : &head->outcome_chain, &work->entry);
    size = htole32((uint32_t)(work->entry.size - offset - sizeof size));
    memcpy(work->entry.data + offset, &size, sizeof size);
    work->names_saved =
        names_defined(work, slice_make(work->entry.data + offset + sizeof size, size), work->names_saved);
    if (positioned) {
        head->position += commit->event_count;
        head->commits++;
        pending->version += commit->event_count;
        pending->position = head->position;
    } else {
        head->outcomes++;
    }
    work->numbers[work->count] = positioned ? 0 : head->outcomes;
    work->offsets[work->count++] = offset;
    append->stream_version = pending->version;
}

static int write_records(struct work *work, struct append *batch, size_t count, struct fault *fault)
{
    work->offsets = arena_take(&work->arena, (count + 1) * sizeof *work->offsets);
    work->numbers = arena_take(&work->arena, count * sizeof *work->numbers);
    journal_begin(&work->entry);
    for (size_t at = 0; at < count; at++) {
        struct pending *pending;
        if (find_pending(work, batch[at].commit, &pending, fault) < 0) return -1;
        batch[at].stream_version = pending->version;
        bool stands = engine_decided_on(batch[at].commit) == pending->version;
        pending->refused = !stands || (batch[at].follows && pending->refused);
        batch[at].outcome = pending->refused ? APPEND_CONFLICT : APPEND_APPENDED;
        if (pending->refused) continue;
        write_record(work, &batch[at], pending);
        keep_pending(work, batch[at].commit, pending);
    }
    work->offsets[work->count] = work->entry.size;
    /* From here on the bytes stay where they are, in the tail, too. */
    buf_room(&work->entry, JOURNAL_SECTOR);
    work->records = arena_take(&work->arena, work->count * sizeof *work->records);
    for (size_t at = 0; at < work->count; at++) {
        size_t begin = work->offsets[at] + sizeof(uint32_t);
        struct slice bytes = slice_make(work->entry.data + begin, work->offsets[at + 1] - begin);
        /* What cannot be read back must not be written. */
        CHECK(record_open(bytes, work->lmdb->engine.names, &work->records[at], NULL) == 0);
    }
    return 0;
}

/* --- 3. what follows --- */

static void keep_for_readers(struct work *work)
{
    struct engine_lmdb *lmdb = work->lmdb;
    pthread_rwlock_wrlock(&lmdb->tails_lock);
    for (size_t at = 0; at < work->count; at++) {
        const struct record *record = &work->records[at];
        uint64_t number = work->numbers[at];
        struct log_tail_record kept = {number, number, record->bytes};
        if (!number)
            kept = (struct log_tail_record){record->first_position,
                                            record->first_position + record->event_count - 1, record->bytes};
        log_tail_add(lmdb->active, number ? LOG_DB_OUTCOMES : LOG_DB_COMMITS, &kept);
    }
    log_tail_take(lmdb->active, &work->entry);
    lmdb->active->sequence = journal_sequence(lmdb->journal);
    lmdb->active->names_saved = work->names_saved;
    pthread_rwlock_unlock(&lmdb->tails_lock);
}

static void publish(struct work *work)
{
    struct engine_lmdb *lmdb = work->lmdb;
    lmdb->names_saved = work->names_saved;
    /* What the index names must be there to be read. */
    keep_for_readers(work);
    index_add(lmdb->index, work->records, work->numbers, work->count);
    pthread_mutex_lock(&lmdb->head_lock);
    lmdb->head = work->head;
    pthread_mutex_unlock(&lmdb->head_lock);
    struct hash digest = head_digest(&work->head.chain, &work->head.outcome_chain);
    if (head_write(&lmdb->head_file, work->head.position, work->head.outcomes, &digest) < 0)
        say_warn("%s/log/head cannot be written: %s", lmdb->path, strerror(errno));
}

static int append_batch(struct work *work, struct append *batch, size_t count, struct fault *fault)
{
    struct engine_lmdb *lmdb = work->lmdb;
    uint64_t events;
    /* Nobody flushes: the memory stays bounded all the same. */
    if (index_behind(lmdb->index) > 4 * LIMIT_INDEX_BEHIND && index_flush(lmdb->index, &events, fault) < 0)
        return -1;
    if (engine_lmdb_make_room(lmdb, fault) < 0 || write_records(work, batch, count, fault) < 0) return -1;
    if (work->count == 0) return 0;
    if (journal_put(lmdb->journal, JOURNAL_BATCH, &work->entry, fault) < 0) return -1;
    publish(work);
    return 0;
}

int engine_lmdb_append(struct engine *engine, struct append *batch, size_t count, struct fault *fault)
{
    struct engine_lmdb *lmdb = (struct engine_lmdb *)engine;
    CHECK(!lmdb->read_only);
    struct work work = {.lmdb = lmdb, .head = lmdb->head, .names_saved = lmdb->names_saved};
    int result = append_batch(&work, batch, count, fault);
    map_release(&work.streams);
    buf_release(&work.entry);
    arena_release(&work.arena);
    return result;
}

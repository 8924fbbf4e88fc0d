/* The index against the log in both directions. Every entry must name the record that has its stream, version
 * and position; entries ascend, so no two name the same; and there are as many as the log has commits up to
 * the checkpoint. */
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/index_filter.h"
#include "store/index_mark.h"
#include "store/verify_inside.h"

struct compare {
    const struct verify_part *part;
    struct engine_lmdb *lmdb;
    struct log_view view;
    struct index *index;
    struct index_filter *filter; /* that is kept with it; NULL: none */
    struct index_checkpoint checkpoint;
    uint64_t entries; /* commits that the index names */
    uint64_t steps;
    char last[INDEX_KEY_SIZE_MAX];
    size_t last_size;
    uint64_t last_version;
    bool bad; /* something was found */
    char finding[400];
};

static bool found(struct compare *compare, const char *what, uint64_t number)
{
    compare->bad = true;
    snprintf(compare->finding, sizeof compare->finding,
             "index: %s %llu; it is derived: remove the directory index and it is rebuilt", what,
             (unsigned long long)number);
    return false;
}

static void step(struct compare *compare)
{
    if (++compare->steps % 1000 == 0) verify_progress(compare->part, 0, 0);
}

static bool open_place(struct compare *compare, uint64_t place, struct record *record)
{
    struct slice bytes;
    return log_view_get(&compare->view, place & 1 ? LOG_DB_OUTCOMES : LOG_DB_COMMITS, place >> 1, &bytes,
                        NULL) > 0 &&
           record_open(bytes, compare->lmdb->engine.names, record, NULL) == 0;
}

static struct slice key_of(const struct record *record, char key[INDEX_KEY_SIZE_MAX])
{
    if (record->id.size > LIMIT_ID_SIZE_MAX) return SLICE_NONE;
    return slice_make(key, index_key(record->tenant, record->aggregate, record->id, key));
}

static bool compare_commit(void *user, struct slice key, const struct index_commit *commit)
{
    struct compare *compare = user;
    struct record record;
    char own[INDEX_KEY_SIZE_MAX];
    int order = slice_compare(slice_make(compare->last, compare->last_size), key);
    if (order > 0 || (order == 0 && commit->version <= compare->last_version))
        return found(compare, "entries out of order at position", commit->position);
    if (key.size > sizeof compare->last)
        return found(compare, "a key too long at position", commit->position);
    memcpy(compare->last, key.data, key.size);
    compare->last_size = key.size;
    compare->last_version = commit->version;
    if (!open_place(compare, commit->position << 1, &record))
        return found(compare, "names a commit that the log does not have: position", commit->position);
    if (record.kind != RECORD_ERASED) {
        if (!slice_equal(key, key_of(&record, own)) || record.first_version != commit->version ||
            record.event_count != commit->count)
            return found(compare, "has another stream or version for position", commit->position);
        compare->entries++;
    }
    if (compare->filter && !index_filter_may_have(compare->filter, index_filter_of_stream(key)))
        return found(compare, "has a filter that denies the stream of position", commit->position);
    step(compare);
    return true;
}

static bool has_hash(const struct record *record, struct slice stream, uint64_t hash)
{
    struct record_command command = {0};
    while (record_next_command(record, &command))
        if (index_id_hash(stream, slice_make(command.id, command.id_size)) == hash) return true;
    struct arena arena = {0};
    struct record_ids ids;
    record_read_ids(record, &arena, &ids);
    bool batch = ids.batch_id.size && index_id_hash(stream, ids.batch_id) == hash;
    arena_release(&arena);
    return batch;
}

static bool compare_id(void *user, uint64_t hash, uint64_t place)
{
    struct compare *compare = user;
    struct record record;
    char key[INDEX_KEY_SIZE_MAX];
    if (!open_place(compare, place, &record))
        return found(compare, "has an id of a record that is not there:", place >> 1);
    if (record.kind != RECORD_ERASED && (!record.id_given || !has_hash(&record, key_of(&record, key), hash)))
        return found(compare, "has an id that is not the record's:", place >> 1);
    if (compare->filter && !index_filter_may_have(compare->filter, index_filter_of_id(hash)))
        return found(compare, "has a filter that denies an id of record", place >> 1);
    step(compare);
    return true;
}

/* Every id of the record must be in the index. */
static bool compare_record(struct compare *compare, const struct record *record, uint64_t place)
{
    char key[INDEX_KEY_SIZE_MAX];
    struct slice stream = key_of(record, key);
    struct record_command command = {0};
    if (record->kind == RECORD_ERASED || !record->id_given) return true;
    while (record_next_command(record, &command)) {
        if (command.id_size == 0) continue;
        uint64_t hash = index_id_hash(stream, slice_make(command.id, command.id_size));
        if (index_disk_has(compare->index, hash, place, NULL) <= 0)
            return found(compare, "lacks a command id of record", place >> 1);
    }
    return true;
}

static void compare_log(struct compare *compare, bool outcomes)
{
    uint64_t end = outcomes ? compare->checkpoint.outcomes : compare->checkpoint.position, records = 0,
             live = 0, number;
    struct log_scan scan;
    struct slice bytes;
    int more = log_scan_open(&scan, &compare->view, outcomes ? LOG_DB_OUTCOMES : LOG_DB_COMMITS, 0, NULL);
    while (more >= 0 && !compare->bad && (more = log_scan_next(&scan, &number, &bytes, NULL)) > 0 &&
           number <= end) {
        struct record record;
        if (record_open(bytes, compare->lmdb->engine.names, &record, NULL) < 0) {
            more = -1;
        } else {
            records++;
            live += record.kind != RECORD_ERASED;
            compare_record(compare, &record, number << 1 | outcomes);
            step(compare);
        }
    }
    log_scan_close(&scan);
    /* Damage of the log itself is told by its own part. */
    if (more < 0 || compare->bad || outcomes) return;
    if (records != compare->checkpoint.commits)
        found(compare, "covers another number of commits:", compare->checkpoint.commits);
    else if (compare->entries != live)
        found(compare, "lacks commits: it has", compare->entries);
}

static void compare_all(struct compare *compare)
{
    struct fault fault = {0};
    compare->entries = compare->last_size = compare->last_version = 0;
    compare->bad = false;
    compare->filter = index_disk_filter(compare->index);
    int result = index_disk_streams(compare->index, compare_commit, compare, &fault);
    if (result == 0 && !compare->bad) result = index_disk_ids(compare->index, compare_id, compare, &fault);
    index_filter_free(compare->filter);
    if (result < 0) {
        compare->bad = true;
        snprintf(compare->finding, sizeof compare->finding, "index: %.380s", fault.text);
        return;
    }
    if (!compare->bad) compare_log(compare, false);
    if (!compare->bad) compare_log(compare, true);
}

static bool read_log_id(struct engine_lmdb *lmdb)
{
    struct buf id = {0};
    bool is = engine_lmdb_meta_get(&lmdb->engine, slice_of("log_id"), &id, NULL) > 0 && id.size == 36;
    if (is) memcpy(lmdb->head.log_id, id.data, 36);
    buf_release(&id);
    return is;
}

/* Beside a running hub the index moves on: what was found counts only if it stood still meanwhile. */
static void compare_still(struct compare *compare)
{
    struct fault fault = {0};
    for (int round = 0; round < 5; round++) {
        struct index_checkpoint after;
        log_view_close(&compare->view);
        if (index_checkpoint_now(compare->index, &compare->checkpoint, &fault) < 0 ||
            engine_lmdb_view(compare->lmdb, &compare->view, &fault) < 0) {
            verify_find(compare->part, 0, "index: %s", fault.text);
            return;
        }
        if (!engine_lmdb_agrees(compare->lmdb, &compare->checkpoint))
            found(compare, "covers what the log does not have: position", compare->checkpoint.position);
        else
            compare_all(compare);
        if (!compare->bad) return;
        if (index_checkpoint_now(compare->index, &after, &fault) < 0 ||
            after.position == compare->checkpoint.position)
            break;
    }
    verify_find(compare->part, 0, "%s", compare->finding);
}

static void compare_index(struct compare *compare)
{
    char path[4096], mark_file[4200], why[256];
    struct fault fault = {0};
    snprintf(path, sizeof path, "%s/index", compare->part->path);
    snprintf(mark_file, sizeof mark_file, "%s/mark", path);
    if (access(path, F_OK) < 0 || !read_log_id(compare->lmdb)) return;
    enum index_mark mark = index_mark_read(mark_file, compare->lmdb->head.log_id);
    /* Not finished, or torn by the machine's end: the next start drops it unread, which is as it should be.
     */
    if (mark == MARK_NONE || mark == MARK_TORN || !verify_has_begun(path)) return;
    int opened =
        index_disk_open(path, compare->lmdb->head.log_id, &compare->index, &compare->checkpoint, why, &fault);
    if (opened <= 0) {
        verify_find(compare->part, 0, "index: %s; it is derived and rebuilt at the next start", why);
        return;
    }
    compare_still(compare);
    index_close(compare->index);
}

void verify_index(const struct verify_part *part)
{
    struct verify_message done = {.kind = VERIFY_DONE};
    struct engine_lmdb lmdb;
    struct compare *compare = MEM_NEW(struct compare);
    compare->part = part;
    compare->lmdb = &lmdb;
    /* A log that cannot be opened is told by its own part. */
    if (verify_open_log(part, &lmdb, &compare->view, NULL) == 0) {
        compare_index(compare);
        verify_close_log(&lmdb, &compare->view);
    }
    mem_free(compare);
    verify_say(part, &done);
}

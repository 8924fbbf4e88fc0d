#include "store/index_tail.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

uint64_t index_id_hash_mask = (1ULL << 40) - 1;

static void put_big_endian(char *to, uint32_t value)
{
    for (int at = 0; at < 4; at++) to[at] = (char)(value >> (24 - 8 * at));
}

size_t index_key(uint32_t tenant, uint32_t aggregate, struct slice id, char key[INDEX_KEY_SIZE_MAX])
{
    CHECK(id.size <= LIMIT_ID_SIZE_MAX);
    put_big_endian(key, tenant);
    put_big_endian(key + 4, aggregate);
    if (id.size) memcpy(key + 8, id.data, id.size);
    key[8 + id.size] = 0;
    return 8 + id.size + 1;
}

uint64_t index_id_hash(struct slice stream_key, struct slice id)
{
    return hash_fast(id, hash_fast(stream_key, 0)) & index_id_hash_mask;
}

/* --- streams --- */

static void add_commit(struct index_tail *tail, struct slice key, const struct record *record)
{
    struct index_stream *stream = map_find(&tail->streams, key);
    if (!stream) {
        stream = arena_zero(&tail->arena, sizeof *stream);
        stream->key = arena_copy(&tail->arena, key);
        map_put(&tail->streams, stream->key, stream);
    }
    if (stream->commit_count == stream->commit_max) {
        size_t max = stream->commit_max ? stream->commit_max * 2 : 1;
        struct index_commit *commits = arena_take(&tail->arena, max * sizeof *commits);
        if (stream->commit_count) memcpy(commits, stream->commits, stream->commit_count * sizeof *commits);
        stream->commits = commits;
        stream->commit_max = max;
    }
    stream->commits[stream->commit_count++] =
        (struct index_commit){record->first_version, record->first_position, record->event_count};
}

const struct index_stream *index_tail_find(const struct index_tail *tail, struct slice key)
{
    return map_find(&tail->streams, key);
}

/* --- ids --- */

static size_t id_slot(uint64_t hash, size_t max)
{
    return (size_t)(hash * 0x9e3779b97f4a7c15ULL >> 20) & (max - 1);
}

static void place_id(struct index_id *ids, size_t max, struct index_id id)
{
    size_t at = id_slot(id.hash, max);
    while (ids[at].place) at = (at + 1) & (max - 1);
    ids[at] = id;
}

static void add_id(struct index_tail *tail, struct slice key, struct slice id, uint64_t place)
{
    if (id.size == 0) return;
    if (tail->id_count * 2 >= tail->id_max) {
        size_t max = tail->id_max ? tail->id_max * 2 : 1024;
        struct index_id *ids = mem_zero(max * sizeof *ids);
        for (size_t at = 0; at < tail->id_max; at++)
            if (tail->ids[at].place) place_id(ids, max, tail->ids[at]);
        mem_free(tail->ids);
        tail->ids = ids;
        tail->id_max = max;
    }
    place_id(tail->ids, tail->id_max, (struct index_id){index_id_hash(key, id), place});
    tail->id_count++;
}

static void add_ids(struct index_tail *tail, struct slice key, const struct record *record, uint64_t place)
{
    struct record_command command = {0};
    while (record_next_command(record, &command))
        add_id(tail, key, slice_make(command.id, command.id_size), place);
    if (!record_has_batch(record)) return;
    struct arena arena = {0};
    struct record_ids ids;
    record_read_ids(record, &arena, &ids);
    add_id(tail, key, ids.batch_id, place);
    arena_release(&arena);
}

void index_tail_places(const struct index_tail *tail, uint64_t hash, struct buf *places)
{
    if (!tail->id_max) return;
    for (size_t at = id_slot(hash, tail->id_max); tail->ids[at].place; at = (at + 1) & (tail->id_max - 1))
        if (tail->ids[at].hash == hash) buf_put(places, &tail->ids[at].place, sizeof tail->ids[at].place);
}

/* --- both --- */

void index_tail_add(struct index_tail *tail, const struct record *record, uint64_t number)
{
    tail->events += number ? 1 : record->event_count;
    if (number) {
        tail->outcomes = number;
    } else {
        tail->position = record->first_position + record->event_count - 1;
        tail->commits++;
        tail->chain = record->chain;
    }
    if (record->kind == RECORD_ERASED) return;
    char key[INDEX_KEY_SIZE_MAX];
    struct slice stream = slice_make(key, index_key(record->tenant, record->aggregate, record->id, key));
    if (!number) add_commit(tail, stream, record);
    if (record->id_given)
        add_ids(tail, stream, record, number ? number << 1 | 1 : record->first_position << 1);
}

static int compare_streams(const void *a, const void *b)
{
    return slice_compare((*(const struct index_stream *const *)a)->key,
                         (*(const struct index_stream *const *)b)->key);
}

const struct index_stream **index_tail_sorted_streams(const struct index_tail *tail)
{
    const struct index_stream **sorted = mem_alloc((tail->streams.size + 1) * sizeof *sorted);
    size_t at = 0, count = 0;
    for (struct index_stream *stream; (stream = map_next(&tail->streams, &at));) sorted[count++] = stream;
    CHECK(count == tail->streams.size);
    if (count) qsort(sorted, count, sizeof *sorted, compare_streams);
    return sorted;
}

static int compare_ids(const void *a, const void *b)
{
    const struct index_id *left = a, *right = b;
    if (left->hash != right->hash) return left->hash < right->hash ? -1 : 1;
    return (left->place > right->place) - (left->place < right->place);
}

struct index_id *index_tail_sorted_ids(const struct index_tail *tail)
{
    struct index_id *sorted = mem_alloc((tail->id_count + 1) * sizeof *sorted);
    size_t count = 0;
    for (size_t at = 0; at < tail->id_max; at++)
        if (tail->ids[at].place) sorted[count++] = tail->ids[at];
    CHECK(count == tail->id_count);
    if (count) qsort(sorted, count, sizeof *sorted, compare_ids);
    return sorted;
}

void index_tail_release(struct index_tail *tail)
{
    arena_release(&tail->arena);
    map_release(&tail->streams);
    mem_free(tail->ids);
    *tail = (struct index_tail){0};
}

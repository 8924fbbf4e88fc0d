#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/json.h"
#include "codec/mp.h"
#include "run/compare.h"

enum {
    COMPARE_PATHS_MAX = 10000, /* different paths that are counted: keys of data are no fields */
    COMPARE_PATH_SIZE_MAX = 512,
    COMPARE_SAMPLE_SIZE_MAX = 16 << 10,
    COMPARE_MEMBER_SIZE_MAX = 1 << 10
};

struct compare_counter {
    struct slice path;
    uint64_t count;
};

void compare_fields_add(struct compare_fields *fields, struct slice path, uint64_t count)
{
    struct compare_counter *counter = map_find(&fields->by_path, path);
    if (!counter && fields->by_path.size >= COMPARE_PATHS_MAX) {
        path = slice_of("…");
        counter = map_find(&fields->by_path, path);
    }
    if (!counter) {
        counter = arena_zero(&fields->arena, sizeof *counter);
        counter->path = arena_copy(&fields->arena, path);
        map_put(&fields->by_path, counter->path, counter);
    }
    counter->count += count;
}

void compare_fields_merge(struct compare_fields *fields, const struct compare_fields *other)
{
    const struct compare_counter *counter;
    for (size_t at = 0; (counter = map_next(&other->by_path, &at));)
        compare_fields_add(fields, counter->path, counter->count);
}

void compare_fields_release(struct compare_fields *fields)
{
    map_release(&fields->by_path);
    arena_release(&fields->arena);
}

static int compare_counters(const void *a, const void *b)
{
    const struct compare_field *left = a, *right = b;
    if (left->count != right->count) return left->count > right->count ? -1 : 1;
    return slice_compare(left->path, right->path);
}

struct compare_field *compare_fields_list(const struct compare_fields *fields, size_t most,
                                          struct arena *arena, size_t *count)
{
    size_t all = 0;
    struct compare_field *list = mem_zero((fields->by_path.size + 1) * sizeof *list);
    const struct compare_counter *counter;
    for (size_t at = 0; (counter = map_next(&fields->by_path, &at));)
        list[all++] = (struct compare_field){counter->path, counter->count};
    qsort(list, all, sizeof *list, compare_counters);
    *count = all < most ? all : most;
    struct compare_field *kept = arena_zero(arena, (*count + 1) * sizeof *kept);
    for (size_t at = 0; at < *count; at++)
        kept[at] = (struct compare_field){arena_copy(arena, list[at].path), list[at].count};
    mem_free(list);
    return kept;
}

void compare_fields_json(const struct compare_field *fields, size_t count, struct buf *json)
{
    buf_put_byte(json, '{');
    for (size_t at = 0; at < count; at++) {
        if (at) buf_put_byte(json, ',');
        json_put_text(json, fields[at].path);
        buf_put_byte(json, ':');
        buf_put_int(json, (int64_t)fields[at].count);
    }
    buf_put_byte(json, '}');
}

/* --- two maps side by side --- */

struct compare_pairs { /* the pairs of a map, in byte order of the keys */
    struct mp_reader reader;
    uint32_t left;
    struct slice key, value;
};

static bool compare_pairs_next(struct compare_pairs *pairs)
{
    struct mp_value key;
    if (pairs->left == 0) return false;
    pairs->left--;
    if (mp_read(&pairs->reader, &key) < 0 || key.kind != MP_TEXT ||
        mp_take(&pairs->reader, &pairs->value) < 0)
        return false;
    pairs->key = key.text;
    return true;
}

static bool compare_pairs_open(struct compare_pairs *pairs, struct slice map)
{
    struct mp_value value;
    *pairs = (struct compare_pairs){.reader = mp_reader_of(map)};
    if (mp_read(&pairs->reader, &value) < 0 || value.kind != MP_MAP) return false;
    pairs->left = value.count;
    return true;
}

struct compare_both {
    struct compare_pairs before, after;
    bool has_before, has_after;
};

/* The next key of either: which of them has it. False at the end. */
static bool compare_both_next(struct compare_both *both, struct slice *key, struct slice *before,
                              struct slice *after)
{
    if (!both->has_before && !both->has_after) return false;
    int order = !both->has_before  ? 1
                : !both->has_after ? -1
                                   : slice_compare(both->before.key, both->after.key);
    *key = order <= 0 ? both->before.key : both->after.key;
    *before = order <= 0 ? both->before.value : SLICE_NONE;
    *after = order >= 0 ? both->after.value : SLICE_NONE;
    if (order <= 0) both->has_before = compare_pairs_next(&both->before);
    if (order >= 0) both->has_after = compare_pairs_next(&both->after);
    return true;
}

/* False if either is no map. */
static bool compare_both_open(struct compare_both *both, struct slice before, struct slice after)
{
    if (!compare_pairs_open(&both->before, before) || !compare_pairs_open(&both->after, after)) return false;
    both->has_before = compare_pairs_next(&both->before);
    both->has_after = compare_pairs_next(&both->after);
    return true;
}

/* False: they cannot be told apart by fields. path is as it was afterwards. */
static bool compare_maps(struct compare_fields *fields, struct slice before, struct slice after,
                         unsigned depth, char *path, size_t path_size)
{
    struct compare_both both;
    struct slice key, was, is;
    if (!depth || !compare_both_open(&both, before, after)) return false;
    while (compare_both_next(&both, &key, &was, &is)) {
        if (slice_equal(was, is)) continue;
        size_t size = path_size;
        if (size && size < COMPARE_PATH_SIZE_MAX) path[size++] = '.';
        size_t room = COMPARE_PATH_SIZE_MAX - size, taken = key.size < room ? key.size : room;
        if (taken) memcpy(path + size, key.data, taken);
        size += taken;
        if (!was.size || !is.size || !compare_maps(fields, was, is, depth - 1, path, size))
            compare_fields_add(fields, slice_make(path, size), 1);
    }
    return true;
}

void compare_values(struct compare_fields *fields, struct slice before, struct slice after, unsigned depth)
{
    char path[COMPARE_PATH_SIZE_MAX];
    compare_maps(fields, before, after, depth, path, 0);
}

/* --- samples --- */

/* Only what differs, and of that nothing large. */
static void compare_cut_json(struct slice value, struct slice other, struct buf *json)
{
    struct compare_both both;
    struct slice key, is, was;
    char text[64];
    if (!other.size) other = slice_of("\x80"); /* an empty map */
    if (!compare_both_open(&both, value, other)) {
        snprintf(text, sizeof text, "… %zu bytes", value.size);
        json_put_text(json, slice_of(text));
        return;
    }
    size_t begin = json->size;
    buf_put_byte(json, '{');
    while (compare_both_next(&both, &key, &is, &was)) {
        if (!is.size || slice_equal(is, was)) continue;
        if (json->size - begin > COMPARE_SAMPLE_SIZE_MAX) break;
        if (json->size - begin > 1) buf_put_byte(json, ',');
        json_put_text(json, key);
        buf_put_byte(json, ':');
        snprintf(text, sizeof text, "… %zu bytes", is.size);
        if (is.size > COMPARE_MEMBER_SIZE_MAX || json_from_mp(is, json, NULL) < 0)
            json_put_text(json, slice_of(text));
    }
    buf_put_byte(json, '}');
}

void compare_sample_json(struct slice value, struct slice other, struct buf *json)
{
    size_t begin = json->size;
    if (value.size > COMPARE_SAMPLE_SIZE_MAX) {
        compare_cut_json(value, other, json);
    } else if (!value.size || json_from_mp(value, json, NULL) < 0) {
        json->size = begin;
        buf_put_text(json, "null");
    }
}

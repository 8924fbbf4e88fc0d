#include "run/split.h"

#include <stdlib.h>

#include "base/check.h"
#include "codec/mp.h"

enum { SPLIT_DISTINCT_LEAST = 4 }; /* one of so many keys is new: else there are few documents */

static int split_compare(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

bool split_plan_make(struct split_plan *plan, struct slice *keys, size_t key_count, uint32_t count,
                     uint64_t target)
{
    if (key_count < 2 * (size_t)count) return false;
    qsort(keys, key_count, sizeof *keys, split_compare);
    size_t distinct = 0;
    for (size_t at = 0; at < key_count; at++)
        if (at == 0 || !slice_equal(keys[at], keys[distinct - 1])) keys[distinct++] = keys[at];
    if (distinct < 2 * count || distinct < key_count / SPLIT_DISTINCT_LEAST) return false;
    plan->begins = arena_zero(&plan->arena, count * sizeof *plan->begins);
    for (uint32_t at = 1; at < count; at++)
        plan->begins[at - 1] = arena_copy(&plan->arena, keys[distinct * at / count]);
    plan->count = count;
    plan->target = target;
    return true;
}

void split_plan_release(struct split_plan *plan)
{
    arena_release(&plan->arena);
    *plan = (struct split_plan){0};
}

/* "tenant NUL key" against where a partition begins. */
static int split_compare_key(struct slice tenant, struct slice key, struct slice begin)
{
    size_t size = tenant.size < begin.size ? tenant.size : begin.size;
    int order = size ? memcmp(tenant.data, begin.data, size) : 0;
    if (order != 0) return order;
    /* A tenant has no NUL, so one that is as long as the text is the beginning of another. */
    if (begin.data[tenant.size] != 0) return -1;
    return slice_compare(key, slice_make(begin.data + tenant.size + 1, begin.size - tenant.size - 1));
}

uint32_t split_partition(const struct split_plan *plan, struct slice tenant, struct slice key)
{
    uint32_t low = 0, high = plan->count - 1; /* the first `low` begins are at or before it */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (split_compare_key(tenant, key, plan->begins[middle]) >= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct slice split_key_of(struct slice begin, struct slice tenant)
{
    if (begin.size <= tenant.size || begin.data[tenant.size] != 0 ||
        (tenant.size && memcmp(begin.data, tenant.data, tenant.size) != 0))
        return SLICE_NONE;
    return slice_make(begin.data + tenant.size + 1, begin.size - tenant.size - 1);
}

void split_range(const struct split_plan *plan, uint32_t partition, struct slice tenant, struct slice *from,
                 struct slice *to)
{
    *from = partition > 0 ? split_key_of(plan->begins[partition - 1], tenant) : SLICE_NONE;
    *to = partition + 1 < plan->count ? split_key_of(plan->begins[partition], tenant) : SLICE_NONE;
}

void split_plan_put(const struct split_plan *plan, struct buf *out)
{
    mp_put_map(out, 2);
    mp_put_text(out, slice_of("begins"));
    mp_put_list(out, plan->count - 1);
    for (uint32_t at = 0; at + 1 < plan->count; at++) mp_put_text(out, plan->begins[at]);
    mp_put_text(out, slice_of("target"));
    mp_put_int(out, (int64_t)plan->target);
}

bool split_plan_read(struct split_plan *plan, struct slice bytes)
{
    struct slice list, number;
    struct mp_value value;
    if (!mp_find(bytes, slice_of("begins"), &list) || !mp_find(bytes, slice_of("target"), &number))
        return false;
    struct mp_reader reader = mp_reader_of(number);
    if (mp_read(&reader, &value) < 0 || value.kind != MP_INT || value.integer < 0) return false;
    plan->target = (uint64_t)value.integer;
    reader = mp_reader_of(list);
    if (mp_read(&reader, &value) < 0 || value.kind != MP_LIST) return false;
    uint32_t count = value.count + 1;
    plan->begins = arena_zero(&plan->arena, count * sizeof *plan->begins);
    for (uint32_t at = 0; at + 1 < count; at++) {
        if (mp_read(&reader, &value) < 0 || value.kind != MP_TEXT ||
            !memchr(value.text.data, 0, value.text.size))
            return false;
        plan->begins[at] = arena_copy(&plan->arena, value.text);
    }
    plan->count = count;
    return true;
}

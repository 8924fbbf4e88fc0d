#include "vm/seek_fold.h"

#include <math.h>

#include "base/mem.h"

/* What a slot of the map and a block of memory cost beside what is in them. */
enum { SLOT_SIZE = 2 * sizeof(struct map_slot), BLOCK_SIZE = 16 };
enum { STOP_STEPS = 1 << 16 }; /* of comparing, between two questions whether it stops */

static bool keeps_items(enum seek_end end)
{
    return end >= SEEK_MIN;
}

static size_t items_limit(const struct seek_plan *plan)
{
    switch (plan->end) {
    case SEEK_MIN:
    case SEEK_MAX:
    case SEEK_FIRST:
    case SEEK_LAST: return 1;
    case SEEK_TOP:
    case SEEK_SAMPLE: return plan->limit < SIZE_MAX ? (size_t)plan->limit : SIZE_MAX;
    default: return SIZE_MAX;
    }
}

/* <0: a is better. */
static int compare(enum seek_end end, struct slice a_key, uint64_t a, struct slice b_key, uint64_t b)
{
    int by_key = end == SEEK_DISTINCT ? 0 : slice_compare(a_key, b_key);
    if (end == SEEK_MAX || end == SEEK_TOP || end == SEEK_SORTED_DOWN) by_key = -by_key;
    if (by_key != 0) return by_key;
    int by_order = (a > b) - (a < b);
    return end == SEEK_LAST ? -by_order : by_order;
}

static int compare_items(enum seek_end end, const struct seek_item *a, const struct seek_item *b)
{
    return compare(end, a->key, a->order, b->key, b->order);
}

/* --- items --- */

/* The last one of a heap rises while it is worse than what is above it. */
static void rise(struct seek_items *items, enum seek_end end)
{
    size_t at = items->count - 1;
    struct seek_item *item = items->items[at];
    while (at > 0 && compare_items(end, items->items[(at - 1) / 2], item) < 0) {
        items->items[at] = items->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    items->items[at] = item;
}

/* Another one takes the place of the worst and sinks while there is something worse below. */
static void replace_worst(struct seek_items *items, enum seek_end end, struct seek_item *item)
{
    size_t at = 0;
    for (size_t below; (below = 2 * at + 1) < items->count; at = below) {
        if (below + 1 < items->count && compare_items(end, items->items[below + 1], items->items[below]) > 0)
            below++;
        if (compare_items(end, items->items[below], item) <= 0) break;
        items->items[at] = items->items[below];
    }
    items->items[at] = item;
}

/* What is never replaced goes with all others. */
static bool has_own_memory(const struct seek_fold *fold)
{
    return items_limit(&fold->plan) != SIZE_MAX;
}

static struct seek_item *item_new(struct seek_fold *fold, struct slice key, uint64_t order, struct slice row)
{
    size_t size = sizeof(struct seek_item) + key.size + row.size;
    struct seek_item *item = has_own_memory(fold) ? mem_alloc(size) : arena_take(&fold->arena, size);
    char *bytes = (char *)(item + 1);
    if (key.size) memcpy(bytes, key.data, key.size);
    if (row.size) memcpy(bytes + key.size, row.data, row.size);
    *item = (struct seek_item){order, slice_make(bytes, key.size), slice_make(bytes + key.size, row.size)};
    fold->bytes += size + BLOCK_SIZE;
    return item;
}

static void item_free(struct seek_fold *fold, struct seek_item *item)
{
    fold->bytes -= sizeof *item + item->key.size + item->row.size + BLOCK_SIZE;
    if (has_own_memory(fold)) mem_free(item);
}

static void push_item(struct seek_fold *fold, struct seek_items *items, struct seek_item *item)
{
    if (items->count == items->max) {
        size_t more = items->max ? items->max : 1;
        items->max += more;
        items->items = mem_resize(items->items, items->max * sizeof(struct seek_item *));
        fold->bytes += more * sizeof(struct seek_item *);
    }
    items->items[items->count++] = item;
}

/* SAMPLE: rows are drawn by a hash of their order, so the same rows whoever looks at them. */
static struct slice drawn_key(uint64_t order, uint8_t bytes[8])
{
    uint64_t hash = order * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93u;
    hash ^= hash >> 32;
    for (int at = 0; at < 8; at++) bytes[at] = (uint8_t)(hash >> (56 - 8 * at));
    return slice_make(bytes, 8);
}

bool seek_fold_wants(const struct seek_fold *fold, const struct seek_group *group, struct slice key,
                     uint64_t order)
{
    uint8_t drawn[8];
    const struct seek_items *items = &group->state->items;
    enum seek_end end = fold->plan.end;
    if (end == SEEK_DISTINCT) {
        const struct seek_item *seen = map_find(&items->seen, key);
        return !seen || order < seen->order;
    }
    size_t limit = items_limit(&fold->plan);
    if (items->count < limit) return true;
    if (limit == 0) return false;
    if (end == SEEK_SAMPLE) key = drawn_key(order, drawn);
    return compare(end, key, order, items->items[0]->key, items->items[0]->order) < 0;
}

static void keep_distinct(struct seek_fold *fold, struct seek_items *items, struct seek_item *item)
{
    struct seek_item *seen = map_find(&items->seen, item->key);
    if (!seen) {
        push_item(fold, items, item);
        map_put(&items->seen, item->key, item);
        fold->bytes += SLOT_SIZE;
        return;
    }
    /* Two folds met it: its first row is the one that counts, and its value may be written differently. The
     * other one goes with the end. */
    map_remove(&items->seen, seen->key);
    seen->order = UINT64_MAX;
    push_item(fold, items, item);
    map_put(&items->seen, item->key, item);
}

void seek_fold_keep(struct seek_fold *fold, struct seek_group *group, struct slice key, uint64_t order,
                    struct slice row)
{
    uint8_t drawn[8];
    struct seek_items *items = &group->state->items;
    enum seek_end end = fold->plan.end;
    if (end == SEEK_SAMPLE) key = drawn_key(order, drawn);
    struct seek_item *item = item_new(fold, key, order, row);
    size_t limit = items_limit(&fold->plan);
    group->count++;
    if (end == SEEK_DISTINCT) {
        keep_distinct(fold, items, item);
    } else if (items->count < limit) {
        push_item(fold, items, item);
        if (limit != SIZE_MAX) rise(items, end);
    } else {
        item_free(fold, items->items[0]);
        replace_worst(items, end, item);
    }
}

/* --- groups --- */

static void group_open(struct seek_fold *fold, struct seek_group *group)
{
    *group = (struct seek_group){0};
    if (fold->plan.end == SEEK_COUNT) return;
    group->state = arena_zero(&fold->arena, sizeof *group->state);
    fold->bytes += sizeof *group->state;
}

void seek_fold_begin(struct seek_fold *fold, const struct seek_plan *plan)
{
    *fold = (struct seek_fold){.plan = *plan};
    group_open(fold, &fold->all);
}

static void group_close(struct seek_fold *fold, struct seek_group *group)
{
    if (fold->plan.end == SEEK_SUM || fold->plan.end == SEEK_AVERAGE) seek_sum_release(&group->state->sum);
    if (!keeps_items(fold->plan.end)) return;
    struct seek_items *items = &group->state->items;
    for (size_t at = 0; has_own_memory(fold) && at < items->count; at++) mem_free(items->items[at]);
    mem_free(items->items);
    map_release(&items->seen);
}

void seek_fold_release(struct seek_fold *fold)
{
    if (fold->plan.end != SEEK_COUNT && !fold->all.state) return; /* never begun, or released */
    group_close(fold, &fold->all);
    for (struct seek_group *group = fold->first; group; group = group->next) group_close(fold, group);
    map_release(&fold->groups);
    arena_release(&fold->arena);
    *fold = (struct seek_fold){0};
}

struct seek_group *seek_fold_group(struct seek_fold *fold, struct slice label)
{
    struct seek_group *group = map_find(&fold->groups, label);
    if (group) return group;
    group = arena_take(&fold->arena, sizeof *group);
    group_open(fold, group);
    group->label = arena_copy(&fold->arena, label);
    map_put(&fold->groups, group->label, group);
    if (fold->last)
        fold->last->next = group;
    else
        fold->first = group;
    fold->last = group;
    fold->bytes += sizeof *group + label.size + 1 + SLOT_SIZE;
    return group;
}

int seek_fold_add(struct seek_fold *fold, struct seek_group *group, const struct seek_value *value,
                  struct fault *fault)
{
    group->count++;
    return seek_sum_add(&group->state->sum, value, fault);
}

static int ask_whether_it_stops(const struct seek_fold *fold, size_t *steps, size_t more, struct fault *fault)
{
    *steps += more;
    if (*steps < STOP_STEPS || !fold->stops) return 0;
    *steps = 0;
    return fold->stops(fold->user) ? fault_set(fault, FAULT_CANCELLED, "cancelled") : 0;
}

static bool moves_items(const struct seek_fold *fold)
{
    return keeps_items(fold->plan.end) && fold->plan.end != SEEK_DISTINCT && !has_own_memory(fold);
}

/* Where all are kept, they change hands. */
static void move_items(struct seek_fold *fold, struct seek_group *group, struct seek_items *from)
{
    for (size_t at = 0; at < from->count; at++) push_item(fold, &group->state->items, from->items[at]);
    group->count += from->count;
    from->count = 0;
}

static int merge_group(struct seek_fold *fold, struct seek_group *group, struct seek_group *from,
                       struct fault *fault)
{
    enum seek_end end = fold->plan.end;
    if (!keeps_items(end)) {
        group->count += from->count;
        return end == SEEK_COUNT ? 0 : seek_sum_merge(&group->state->sum, &from->state->sum, fault);
    }
    if (moves_items(fold)) {
        move_items(fold, group, &from->state->items);
        return 0;
    }
    for (size_t at = 0; at < from->state->items.count; at++) {
        const struct seek_item *item = from->state->items.items[at];
        if (item->order == UINT64_MAX) continue;
        if (seek_fold_wants(fold, group, item->key, item->order))
            seek_fold_keep(fold, group, item->key, item->order, item->row);
    }
    return 0;
}

int seek_fold_merge(struct seek_fold *fold, struct seek_fold *from, struct fault *fault)
{
    if (fold->plan.end != SEEK_COUNT && !from->all.state) return 0; /* it was never begun */
    if (keeps_items(fold->plan.end)) fold->bytes += from->bytes;
    if (merge_group(fold, &fold->all, &from->all, fault) < 0) return -1;
    size_t steps = 0;
    for (struct seek_group *group = from->first; group; group = group->next)
        if (merge_group(fold, seek_fold_group(fold, group->label), group, fault) < 0 ||
            ask_whether_it_stops(fold, &steps, 8, fault) < 0)
            return -1;
    if (moves_items(fold)) arena_adopt(&fold->arena, &from->arena);
    return 0;
}

/* --- the end --- */

static bool is_before(const struct seek_fold *fold, const struct seek_item *a, const struct seek_item *b)
{
    if (fold->plan.end == SEEK_SAMPLE) return a->order < b->order;
    return compare_items(fold->plan.end, a, b) < 0;
}

/* Two sorted runs of from, [begin, middle) and [middle, end), become one of to. */
static void merge_runs(const struct seek_fold *fold, struct seek_item **from, struct seek_item **to,
                       size_t begin, size_t middle, size_t end)
{
    size_t a = begin, b = middle;
    for (size_t at = begin; at < end; at++)
        to[at] = a < middle && (b == end || !is_before(fold, from[b], from[a])) ? from[a++] : from[b++];
}

/* By merging, and not by qsort, which nobody can stop. */
static int sort_items(struct seek_fold *fold, struct seek_items *items, struct fault *fault)
{
    size_t steps = 0;
    if (items->count < 2) return 0;
    struct seek_item **from = items->items, **to = mem_alloc(items->max * sizeof *to);
    int done = 0;
    for (size_t width = 1; done == 0 && width < items->count; width *= 2) {
        for (size_t begin = 0; done == 0 && begin < items->count; begin += 2 * width) {
            size_t middle = begin + width < items->count ? begin + width : items->count;
            size_t end = middle + width < items->count ? middle + width : items->count;
            merge_runs(fold, from, to, begin, middle, end);
            done = ask_whether_it_stops(fold, &steps, end - begin, fault);
        }
        struct seek_item **swap = from;
        if (done < 0) break; /* from still has all of them */
        from = to;
        to = swap;
    }
    items->items = from;
    mem_free(to);
    return done;
}

/* The least value that so many of all values are not above: one of them, never something in between. */
static size_t quantile_rank(size_t count, double quantile)
{
    double rank = ceil((double)count * quantile) - 1;
    if (rank < 0) return 0;
    return rank >= (double)count ? count - 1 : (size_t)rank;
}

static int finish_group(struct seek_fold *fold, struct seek_group *group, struct fault *fault)
{
    struct seek_items *items = &group->state->items;
    if (sort_items(fold, items, fault) < 0) return -1;
    if (items->count == 0) return 0;
    while (fold->plan.end == SEEK_DISTINCT && items->items[items->count - 1]->order == UINT64_MAX)
        item_free(fold, items->items[--items->count]);
    if (fold->plan.end != SEEK_QUANTILE) return 0;
    size_t rank = quantile_rank(items->count, fold->plan.quantile);
    struct seek_item *wanted = items->items[rank];
    items->items[rank] = items->items[0];
    items->items[0] = wanted;
    return 0;
}

int seek_fold_finish(struct seek_fold *fold, struct fault *fault)
{
    size_t steps = 0;
    if (!keeps_items(fold->plan.end)) return 0;
    if (finish_group(fold, &fold->all, fault) < 0) return -1;
    for (struct seek_group *group = fold->first; group; group = group->next)
        if (finish_group(fold, group, fault) < 0 || ask_whether_it_stops(fold, &steps, 8, fault) < 0)
            return -1;
    return 0;
}

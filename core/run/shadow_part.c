/* The streams of one pass over the index, and the commands without events that belong to them: those are kept
 * in an order of their own, so each pass reads them once and keeps where the ones of its streams are. */
#include <stdlib.h>

#include "base/mem.h"
#include "codec/text.h"
#include "run/shadow_inside.h"

static uint64_t shadow_hash(uint32_t tenant, uint32_t target, struct slice id)
{
    return hash_fast(id, (uint64_t)tenant << 32 | target);
}

/* Which part a hash falls into: by its upper half, so that each has a range of its own. */
static size_t shadow_part_of(const struct shadow_run *run, uint64_t hash)
{
    return (size_t)((hash >> 32) * run->parts >> 32);
}

static void shadow_part_add(struct shadow_part *part, struct shadow_item item, struct slice id)
{
    if (part->count == part->count_max) {
        part->count_max = part->count_max ? 2 * part->count_max : 1024;
        part->items = mem_resize(part->items, part->count_max * sizeof *part->items);
    }
    item.id = part->ids.size;
    item.id_size = (uint8_t)id.size;
    buf_put_slice(&part->ids, id);
    part->items[part->count++] = item;
}

/* --- which tenants have streams of which aggregates --- */

struct shadow_counting {
    uint64_t streams, events;
};

static bool shadow_count_stream(void *user, struct slice id, uint64_t version)
{
    struct shadow_counting *counting = user;
    counting->streams++;
    counting->events += version;
    return true;
}

static void shadow_pair_add(struct shadow_run *run, uint32_t tenant, uint32_t target)
{
    if (run->pair_count == run->pair_max) {
        run->pair_max = run->pair_max ? 2 * run->pair_max : 16;
        run->pairs = mem_resize(run->pairs, run->pair_max * sizeof *run->pairs);
    }
    run->pairs[run->pair_count++] = (struct shadow_pair){tenant, target};
}

/* Any name may be a tenant's; the index knows, and is quicker to ask than the log to read. */
int shadow_part_count(struct shadow_run *run, struct fault *fault)
{
    struct names *names = engine_names(run->options.engine);
    run->number_count = names_count(names) + 1;
    run->numbers = mem_zero(run->number_count * sizeof *run->numbers);
    for (size_t target = 0; target < run->target_count; target++) {
        uint32_t number = names_find(names, run->targets[target].name);
        if (number && number < run->number_count) run->numbers[number] = target + 1;
    }
    for (uint32_t tenant = 1; tenant < run->number_count; tenant++) {
        struct slice name = names_get(names, tenant);
        if (!text_is_tenant(name)) continue;
        for (size_t target = 0; target < run->target_count; target++) {
            struct shadow_counting counting = {0};
            if (engine_each_stream(run->options.engine, name, run->targets[target].name, shadow_count_stream,
                                   &counting, fault) < 0)
                return -1;
            if (counting.streams) shadow_pair_add(run, tenant, (uint32_t)target);
            run->targets[target].streams += counting.streams;
            run->targets[target].events += counting.events;
        }
    }
    return 0;
}

/* --- one part --- */

struct shadow_filling {
    struct shadow_run *run;
    size_t number;
    struct shadow_pair pair;
};

static bool shadow_fill_stream(void *user, struct slice id, uint64_t version)
{
    struct shadow_filling *filling = user;
    struct shadow_item item = {.hash = shadow_hash(filling->pair.tenant, filling->pair.target, id),
                               .tenant = filling->pair.tenant,
                               .target = filling->pair.target};
    if (shadow_part_of(filling->run, item.hash) == filling->number) {
        shadow_part_add(&filling->run->part, item, id);
        filling->run->targets[item.target].listed++;
    }
    return true;
}

static void shadow_fill_place(struct shadow_part *part, struct shadow_place place)
{
    if (part->place_count == part->place_max) {
        part->place_max = part->place_max ? 2 * part->place_max : 1024;
        part->places = mem_resize(part->places, part->place_max * sizeof *part->places);
    }
    part->places[part->place_count++] = place;
}

/* A stream of which nothing but refusals is known is in no index. One that tells that it is recent is listed
 * as well: those of one stream become one. */
static void shadow_fill_outcome(struct shadow_filling *filling, const struct record *record, uint64_t number)
{
    struct shadow_run *run = filling->run;
    uint64_t target = record->aggregate < run->number_count ? run->numbers[record->aggregate] : 0;
    if (!target || run->targets[target - 1].next < 0) return;
    struct shadow_item item = {.hash = shadow_hash(record->tenant, (uint32_t)target - 1, record->id),
                               .tenant = record->tenant,
                               .target = (uint32_t)target - 1,
                               .recent =
                                   run->options.since_ms && record->recorded_ms >= run->options.since_ms};
    if (shadow_part_of(run, item.hash) != filling->number) return;
    shadow_fill_place(&run->part, (struct shadow_place){item.hash, record->first_version, number});
    if (record->first_version == 0 || item.recent) shadow_part_add(&run->part, item, record->id);
}

static int shadow_fill_outcomes(struct shadow_filling *filling, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    int more = 0;
    if (!filling->run->head.outcomes) return 0;
    if (engine_read_outcomes(filling->run->options.engine, 1, &cursor, fault) < 0) return -1;
    for (uint64_t number = 1; number <= filling->run->head.outcomes; number++) {
        if ((more = engine_cursor_next(cursor, &record, fault)) != 1) break;
        shadow_fill_outcome(filling, &record, number);
    }
    engine_cursor_close(cursor);
    return more < 0 ? -1 : 0;
}

static int shadow_compare_items(const void *a, const void *b, void *ids)
{
    const struct shadow_item *left = a, *right = b;
    if (left->hash != right->hash) return left->hash < right->hash ? -1 : 1;
    if (left->target != right->target) return left->target < right->target ? -1 : 1;
    if (left->tenant != right->tenant) return left->tenant < right->tenant ? -1 : 1;
    return slice_compare(slice_make((const char *)ids + left->id, left->id_size),
                         slice_make((const char *)ids + right->id, right->id_size));
}

static int shadow_compare_places(const void *a, const void *b)
{
    const struct shadow_place *left = a, *right = b;
    if (left->hash != right->hash) return left->hash < right->hash ? -1 : 1;
    if (left->version != right->version) return left->version < right->version ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

/* By hash: where a budget ends the pass, what was looked at is a sample of all. */
static void shadow_part_sort(struct shadow_part *part)
{
    if (part->place_count)
        qsort(part->places, part->place_count, sizeof *part->places, shadow_compare_places);
    if (!part->count) return;
    qsort_r(part->items, part->count, sizeof *part->items, shadow_compare_items, part->ids.data);
    size_t kept = 0;
    for (size_t at = 1; at < part->count; at++) {
        if (shadow_compare_items(&part->items[kept], &part->items[at], part->ids.data) == 0)
            part->items[kept].recent |= part->items[at].recent;
        else
            part->items[++kept] = part->items[at];
    }
    part->count = kept + 1;
}

int shadow_part_fill(struct shadow_run *run, size_t number, struct fault *fault)
{
    struct shadow_part *part = &run->part;
    struct names *names = engine_names(run->options.engine);
    part->count = part->place_count = 0;
    buf_clear(&part->ids);
    atomic_store(&part->taken, 0);
    struct shadow_filling filling = {.run = run, .number = number};
    for (size_t at = 0; at < run->pair_count; at++) {
        filling.pair = run->pairs[at];
        const struct shadow_target *target = &run->targets[filling.pair.target];
        if (target->next < 0) continue;
        if (engine_each_stream(run->options.engine, names_get(names, filling.pair.tenant), target->name,
                               shadow_fill_stream, &filling, fault) < 0)
            return -1;
    }
    if (shadow_fill_outcomes(&filling, fault) < 0) return -1;
    shadow_part_sort(part);
    return 0;
}

void shadow_part_release(struct shadow_part *part)
{
    mem_free(part->items);
    mem_free(part->places);
    buf_release(&part->ids);
}

const struct shadow_place *shadow_part_places(const struct shadow_part *part, uint64_t hash, size_t *count)
{
    size_t low = 0, high = part->place_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (part->places[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    *count = 0;
    while (low + *count < part->place_count && part->places[low + *count].hash == hash) ++*count;
    return part->places + low;
}

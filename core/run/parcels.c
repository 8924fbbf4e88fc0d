#include "run/parcels.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

static struct slice key_bytes(const struct timer_key *key, uint8_t bytes[PARCEL_KEY_SIZE])
{
    memcpy(bytes, &key->position, 8);
    memcpy(bytes + 8, &key->ordinal, 4);
    return slice_make(bytes, PARCEL_KEY_SIZE);
}

static struct slice name_bytes(const struct timer *timer)
{
    return slice_make(timer->name, TIMER_NAME_SIZE);
}

/* In the log. */
static bool key_is_before(const struct timer_key *one, const struct timer_key *other)
{
    return one->position < other->position ||
           (one->position == other->position && one->ordinal < other->ordinal);
}

static bool is_at_once(const struct parcel *parcel)
{
    return parcel->timer.key.due_ms == INT64_MIN;
}

static void parcels_link(struct parcels *parcels, struct parcel *parcel)
{
    parcel->older = parcels->newest;
    if (parcels->newest)
        parcels->newest->newer = parcel;
    else
        parcels->oldest = parcel;
    parcels->newest = parcel;
}

static void parcels_unlink(struct parcels *parcels, struct parcel *parcel)
{
    if (parcel->older)
        parcel->older->newer = parcel->newer;
    else
        parcels->oldest = parcel->newer;
    if (parcel->newer)
        parcel->newer->older = parcel->older;
    else
        parcels->newest = parcel->older;
}

struct parcel *parcels_enter(struct parcels *parcels, const struct timer *timer, struct lane *lane,
                             struct sending *sending)
{
    struct parcel *parcel = MEM_NEW(struct parcel);
    parcel->timer = *timer;
    parcel->lane = lane;
    parcel->sending = sending;
    if (is_at_once(parcel))
        parcels_link(parcels, parcel);
    else
        map_put(&parcels->entries, key_bytes(&timer->key, parcel->key), parcel);
    if (timer->has_name) map_put(&parcels->names, name_bytes(&parcel->timer), parcel);
    if (lane) {
        lane->under_way++;
        parcels->to_services++;
    }
    return parcel;
}

/* Out of everything, still in memory. */
static void parcels_forget(struct parcels *parcels, struct parcel *parcel)
{
    if (is_at_once(parcel))
        parcels_unlink(parcels, parcel);
    else
        map_remove(&parcels->entries, slice_make(parcel->key, PARCEL_KEY_SIZE));
    if (parcel->timer.has_name && map_find(&parcels->names, name_bytes(&parcel->timer)) == parcel)
        map_remove(&parcels->names, name_bytes(&parcel->timer));
    if (parcel->lane) {
        parcel->lane->under_way--;
        parcels->to_services--;
    }
}

void parcels_leave(struct parcels *parcels, struct parcel *parcel)
{
    if (!parcel->stray) parcels_forget(parcels, parcel);
    mem_free(parcel);
}

bool parcels_has(const struct parcels *parcels, const struct timer_key *key)
{
    uint8_t bytes[PARCEL_KEY_SIZE];
    return map_find(&parcels->entries, key_bytes(key, bytes)) != NULL;
}

struct parcel *parcels_before(const struct parcels *parcels, const struct timer *timer)
{
    struct parcel *parcel = timer->has_name ? map_find(&parcels->names, name_bytes(timer)) : NULL;
    if (!parcel) return NULL;
    return key_is_before(&parcel->timer.key, &timer->key) ? parcel : NULL;
}

uint64_t parcels_done_to(const struct parcels *parcels, uint64_t position)
{
    uint64_t before = parcels->oldest ? parcels->oldest->timer.key.position - 1 : position;
    return before < position ? before : position;
}

/* Positions begin with 1. */
static void lane_rewind(struct lane *lane)
{
    lane->fired = (struct timer_key){.due_ms = lane->due_ms};
}

void parcels_let_go(struct parcels *parcels)
{
    struct parcel *parcel;
    while ((parcel = parcels->oldest)) {
        parcels_forget(parcels, parcel);
        parcel->stray = true;
    }
    /* Removing moves others, past which a walk may have been. */
    while (parcels->entries.size > 0)
        for (size_t at = 0; (parcel = map_next(&parcels->entries, &at));) {
            parcels_forget(parcels, parcel);
            parcel->stray = true;
        }
    for (struct lane *lane = parcels->lanes; lane; lane = lane->next) {
        lane->waits = false;
        lane_rewind(lane);
    }
}

/* --- lanes --- */

struct lane *parcels_lane_of(struct parcels *parcels, int64_t due_ms)
{
    struct lane *lane = parcels->lanes;
    while (lane && lane->due_ms != due_ms) lane = lane->next;
    if (lane) return lane;
    lane = MEM_NEW(struct lane);
    lane->due_ms = due_ms;
    lane_rewind(lane);
    lane->next = parcels->lanes;
    parcels->lanes = lane;
    return lane;
}

void lane_put(struct lane *lane, const struct timer_key *key)
{
    lane->waits = true;
    if (!key_is_before(&lane->fired, key)) lane_rewind(lane);
}

/* Two services of one hash share a lane, and its room. */
struct lane *parcels_lane(struct parcels *parcels, struct slice context, struct slice service)
{
    uint64_t hash = hash_fast(service, hash_fast(context, 0));
    return parcels_lane_of(parcels, LANE_FIRST_MS + (int64_t)(hash & UINT32_MAX));
}

void parcels_release(struct parcels *parcels)
{
    struct parcel *parcel;
    while (parcels->oldest) parcels_leave(parcels, parcels->oldest);
    for (size_t at = 0; (parcel = map_next(&parcels->entries, &at));) mem_free(parcel);
    map_release(&parcels->entries);
    map_release(&parcels->names);
    while (parcels->lanes) {
        struct lane *lane = parcels->lanes;
        parcels->lanes = lane->next;
        mem_free(lane);
    }
}

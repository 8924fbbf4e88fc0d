/* parcels.h: PARCELS are the courier's messages under way: in what order they came from the log, which
 * entries of timers/ they are, by what name a cancel reaches them, and how many go to one service.
 *
 *     struct lane *lane = parcels_lane(&parcels, context, service);
 *     if (lane->waits || lane->under_way >= LANE_MAX) … it waits in timers/ with due_ms = lane->due_ms
 *     struct parcel *parcel = parcels_enter(&parcels, &timer, lane, sending);
 *     parcels_leave(&parcels, parcel);
 *
 * A LANE is a service: what has no room with it waits in timers/ under a moment that never comes and means
 * the lane, so that a service which hangs holds neither the window nor anybody else's messages.
 *
 * Threads: one. Owns: parcels and lanes; a parcel's sending is whoever's it was. */
#ifndef LORE_RUN_PARCELS_H
#define LORE_RUN_PARCELS_H

#include "base/map.h"
#include "store/timers.h"

struct sending;

enum { PARCEL_KEY_SIZE = 12 };
/* Moments from here on are lanes, but for the last one, which is what is parked. */
static const int64_t LANE_FIRST_MS = INT64_MAX - (1LL << 33);

struct lane {
    int64_t due_ms;
    size_t under_way;
    bool waits;             /* there may be entries of it in timers/ behind `fired` */
    struct timer_key fired; /* its entries up to here were taken */
    struct lane *next;
};

struct parcel {
    struct timer timer; /* key.due_ms INT64_MIN: it came from the log at once, and has no entry */
    struct lane *lane;  /* NULL: to an aggregate */
    struct sending *sending;
    bool stray;                   /* let go: the log brings it again */
    struct parcel *older, *newer; /* of those at once, in log order */
    uint8_t key[PARCEL_KEY_SIZE];
};

struct parcels {
    struct parcel *oldest, *newest;
    struct map entries; /* of timers/: position and ordinal -> struct parcel */
    struct map names;   /* the last one of a name */
    struct lane *lanes;
    size_t to_services;
};

struct parcel *parcels_enter(struct parcels *parcels, const struct timer *timer, struct lane *lane,
                             struct sending *sending);
/* Frees it. */
void parcels_leave(struct parcels *parcels, struct parcel *parcel);
/* Whether the entry is under way. */
bool parcels_has(const struct parcels *parcels, const struct timer_key *key);
/* The one with this timer's name that was sent before it, or NULL. */
struct parcel *parcels_before(const struct parcels *parcels, const struct timer *timer);
/* Up to where the log is done with, having been read up to position: what is under way may be needed again.
 */
uint64_t parcels_done_to(const struct parcels *parcels, uint64_t position);
/* timers/ and all that was read are of no use: what is under way is a stray, freed by parcels_leave. */
void parcels_let_go(struct parcels *parcels);

/* An entry of the lane came into timers/. */
void lane_put(struct lane *lane, const struct timer_key *key);
struct lane *parcels_lane(struct parcels *parcels, struct slice context, struct slice service);
/* By a moment from LANE_FIRST_MS on. */
struct lane *parcels_lane_of(struct parcels *parcels, int64_t due_ms);

void parcels_release(struct parcels *parcels);

#endif

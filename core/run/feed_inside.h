/* feed_inside.h: what feed.c (folding) and feed_flush.c (writing) share; nobody else includes it. */
#ifndef LORE_RUN_FEED_INSIDE_H
#define LORE_RUN_FEED_INSIDE_H

#include "run/aside.h"
#include "run/feed.h"

struct feed_put { /* one document on its way from drafts to disk */
    struct feed_tenant *tenant;
    size_t key_at, key_size, value_size;
};

struct feed_batch {
    struct feed_tenant *tenant;
    struct buf bytes;
    struct buf puts; /* struct feed_put */
};

struct feed_parked {
    struct slice key;
    uint64_t position, skipped;
    char *error;
    bool changed; /* since the last flush */
    bool stored;  /* on disk: survives going back */
};

struct feed_tenant {
    struct slice name;
    struct feed *feed;
    struct drafts *drafts;
    struct map parked;
    uint64_t stopped_position; /* 0: it goes on */
    char *stopped_error;
    bool stopped_stored;
    char text[];
};

/* Finds or makes. */
struct feed_tenant *feed_tenant(struct feed *feed, struct slice name);
/* "parked/<tenant>\0<key>" into text; returns its size. */
size_t feed_parked_key(const struct feed_tenant *tenant, struct slice key, char *text);
/* Drops what is not written. Parked keys and stops that are not on disk yet are found again on the way; so
 * tenants begin anew from what is on disk. Up to exact_until it goes in exact mode. */
void feed_go_back(struct feed *feed, uint64_t exact_until);
bool feed_is_environment(const struct fault *fault);

/* feed_flush.c */

void feed_batch_free(struct feed_batch *batch);
/* Takes the changed documents of all tenants out of Lua, into the batch. False: the feed went back, or is
 * broken. */
bool feed_take_out(struct feed *feed);

/* feed_split.c */
struct feed_split *feed_split_new(void);
void feed_split_free(struct feed_split *split);
void feed_split_go_back(struct feed *feed);
/* Samples the event's keys, or puts its record aside once there is a plan. */
void feed_split_event(struct feed *feed, int *handler, const struct envelope *envelope, struct slice data);
/* At its limit: what was put aside is handed to the partitions. */
void feed_split_end(struct feed *feed);

#endif

/* feed_inside.h: what feed.c (folding) and feed_flush.c (writing) share; nobody else includes it. */
#ifndef LORE_RUN_FEED_INSIDE_H
#define LORE_RUN_FEED_INSIDE_H

#include "run/feed.h"

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

/* "parked/<tenant>\0<key>" into text; returns its size. */
size_t feed_parked_key(const struct feed_tenant *tenant, struct slice key, char *text);
/* Drops what is not written. Parked keys and stops that are not on disk yet are found again on the way; so
 * tenants begin anew from what is on disk. Up to exact_until it goes in exact mode. */
void feed_go_back(struct feed *feed, uint64_t exact_until);
/* The script is not at fault. A full disk is tried again later; damaged documents are built anew. */
void feed_break(struct feed *feed, const struct fault *fault);
bool feed_is_environment(const struct fault *fault);

#endif

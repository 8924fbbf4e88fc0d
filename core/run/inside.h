/* inside.h: struct hub, for the files of run/ only. */
#ifndef LORE_RUN_INSIDE_H
#define LORE_RUN_INSIDE_H

#include "base/limit.h"
#include "run/hub.h"
#include "run/courier.h"
#include "run/deployer.h"
#include "run/indexer.h"
#include "run/outage.h"
#include "run/past.h"
#include "run/query.h"
#include "run/receptors.h"
#include "run/release.h"
#include "run/shard.h"
#include "run/views.h"
#include "run/watch.h"
#include "run/writer.h"
#include "store/snaps.h"

enum { HUB_SHARDS_MAX = 64 };

struct sessions;

struct hub {
    struct clock *clock;
    char *scripts, *secrets,
        *data; /* data: also of a hub in memory, where it is a temporary folder for views */
    bool in_memory, read_only;
    char *as_of; /* NULL: a hub of the present */
    struct engine *engine;
    struct snaps *snaps; /* NULL: none */
    int64_t started_ns;
    char log_id[37];
    struct buf origins; /* of a fork: see origin.h */

    size_t shard_count;
    struct shard *shards[HUB_SHARDS_MAX];
    struct writer *writer;
    struct indexer *indexer;
    struct query *query; /* of a hub without scripts; else the release's */
    struct past *past;
    struct views *views;
    struct courier *courier; /* NULL: as receptors */
    struct deployer *deployer;
    struct release_parts parts; /* of each release of this hub */
    struct watch watch;
    struct outage outage;
    struct sessions *sessions;

    _Atomic(struct release *) release; /* NULL: a hub without scripts */
    atomic_ullong serial;              /* of the last release */
    atomic_uint visit_side;
    atomic_size_t visitors[2];

    /* The door. Who submits first becomes a visitor, then looks at stopping: hub_stop waits until nobody
     * is inside, so nothing enters a queue behind its end. */
    atomic_bool stopping;
    atomic_ullong sequence;                  /* of ordered commands: how many began */
    atomic_ullong refused[FAULT_CODE_COUNT]; /* at the door */
    bool stopped;
};

/* Of the deploy whose code runs; 0: none. */
uint64_t hub_deploy_number(struct hub *hub);
/* A domain of the current release, which is held: the caller lets it go behind domain_close. */
int hub_domain_open(struct hub *hub, struct domain **domain, struct release **release, struct fault *fault);
/* as_of.c: a hub over the past of the log in options->data. */
int hub_open_as_of(const struct hub_options *options, struct hub **hub, struct fault *fault);
/* What a hub of the past says to who wants something done. Returns -1. */
int hub_refuse_past(const struct hub *hub, struct fault *fault);

#endif

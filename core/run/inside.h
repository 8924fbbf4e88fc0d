/* inside.h: struct hub, for the files of run/ only. */
#ifndef LORE_RUN_INSIDE_H
#define LORE_RUN_INSIDE_H

#include "base/limit.h"
#include "run/catalog.h"
#include "run/hub.h"
#include "run/courier.h"
#include "run/indexer.h"
#include "run/outage.h"
#include "run/query.h"
#include "run/receptors.h"
#include "run/reactor.h"
#include "run/shard.h"
#include "run/views.h"
#include "run/watch.h"
#include "run/writer.h"
#include "store/snaps.h"
#include "vm/sources.h"

enum { HUB_SHARDS_MAX = 64 };

struct hub {
    struct clock *clock;
    char *scripts, *data; /* data: also of a hub in memory, where it is a temporary folder for views */
    bool in_memory, read_only;
    struct engine *engine;
    struct snaps *snaps; /* NULL: none */
    struct sources *sources;
    struct catalog catalog;
    uint64_t deploy;
    int64_t started_ns;
    char log_id[37];
    struct buf origins; /* of a fork: see origin.h */

    size_t shard_count;
    struct shard *shards[HUB_SHARDS_MAX];
    struct writer *writer;
    struct indexer *indexer;
    struct query *query;
    struct views *views;
    struct courier *courier;     /* NULL: as receptors */
    struct receptors *receptors; /* NULL: the hub is without, as without views */
    struct reactor *reactor;     /* NULL: no services, no tasks */
    struct watch watch;
    struct outage outage;

    /* The door. Who submits first counts itself inside, then looks at stopping: hub_stop waits until nobody
     * is inside, so nothing enters a queue behind its end. */
    atomic_bool stopping;
    atomic_size_t inside;
    atomic_ullong sequence;                  /* of ordered commands: how many began */
    atomic_ullong refused[FAULT_CODE_COUNT]; /* at the door */
    size_t message_size_max, batch_commands_max;
    uint32_t causation_depth_max;
    bool stopped;
};

/* A domain of the hub's scripts under hub.lua's limits. */
int hub_domain_open(struct hub *hub, struct domain **domain, struct buf *errors, struct fault *fault);

#endif

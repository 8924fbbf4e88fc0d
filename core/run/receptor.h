/* receptor.h: what receptors.c, receptor.c, receptor_keys.c and receptor_meta.c share. See receptors.h. */
#ifndef LORE_RUN_RECEPTOR_H
#define LORE_RUN_RECEPTOR_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/map.h"
#include "run/receptors.h"
#include "run/sending.h"
#include "run/writer.h"

enum { RECEPTOR_WINDOW = 2048 }; /* events of one receptor under way */
static const int64_t receptor_parked_ms = INT64_MAX;

/* One event on its way: what its handler sent, and how far that is. */
struct receptor_item {
    struct receptor_key *key;
    struct receptor_item *next_of_key;   /* behind it */
    struct receptor_item *older, *newer; /* of the receptor's window; not those read from their stream */
    uint64_t position, version;
    bool is_replay;      /* read from its stream, for a stuck key */
    struct fault *fault; /* what failed first; NULL: nothing so far */
    size_t count, next, in_flight;
    struct sending *sends[]; /* NULL: it came to its outcome */
};

/* A stream that has events under way or is stuck. */
struct receptor_key {
    struct receptor *receptor;
    struct receptor_item *first, *last; /* the first is under way */
    /* stuck */
    bool stuck;
    uint64_t version, position; /* of the event to go on with */
    uint64_t deploy;            /* whose code failed last */
    unsigned attempts;
    int64_t due_ms; /* receptor_parked_ms: parked */
    char *error;
    struct receptor_key *stuck_older, *stuck_newer;
    struct stream_id stream;
    size_t size;
    char bytes[]; /* its stream's three names, what it is found by */
};

struct receptor {
    struct receptors *receptors;
    int index; /* in the domain */
    struct slice name;
    bool since_start, is_known; /* known: it had a checkpoint */
    char code[2 * HASH_SIZE + 1];
    const struct slice *events; /* "security.PasswordAdded" */
    size_t event_count;
    struct map routes; /* aggregate's and type's number -> receptor_takes or receptor_passes */
    struct arena arena;
    uint64_t position; /* read up to here */
    struct receptor_item *oldest, *newest;
    size_t window;
    struct map keys;
    struct receptor_key *stuck_oldest, *stuck_newest;
    atomic_size_t stuck_count;
    atomic_ullong checkpoint;
    atomic_bool retry_wanted;
};

struct receptors {
    struct hub *hub;
    struct release *release;
    pthread_t thread;
    atomic_bool started;
    struct domain *domain;
    struct arena scratch; /* what a handler sends */
    struct sender sender;
    unsigned retries_max;
    struct arena arena;
    struct receptor *receptors;
    size_t count;
    struct buf strangers; /* checkpoints of receptors no longer declared: items of a MessagePack list */
    uint32_t stranger_count;
    atomic_bool stopping;
    pthread_mutex_t lock;  /* stuck keys: written by the thread, read by receptors_status */
    atomic_ullong settled; /* the least checkpoint */
    bool moved;            /* since watchers were told */
    uint64_t head_seen;    /* of the log, by the thread */
    atomic_bool resting; /* it looks at the log by itself before long: what is not for it need not wake it */
    /* the checkpoints' way to the log */
    struct writer_meta meta;
    atomic_bool meta_under_way, meta_wanted;
    pthread_mutex_t meta_lock; /* held by the writer while it tells */
    int64_t meta_put_ns;
};

/* --- receptor.c: one event, from the log to its outcome --- */
/* Reads on while there is room in the window. True: it read something and there may be more. */
bool receptor_read(struct receptor *receptor);
/* The handler for one event of the log; its item is queued behind its key's others. False: nothing is sent.
 */
bool receptor_handle(struct receptor *receptor, const struct record *record, const struct record_event *event,
                     bool is_replay);
bool receptor_takes(struct receptor *receptor, const struct record *record, const struct record_event *event);
/* Lets go what may go of a key's first item. */
void receptor_go(struct receptor_key *key);
void receptor_told(struct sending *sending, struct fault *fault);
uint64_t receptor_done_to(const struct receptor *receptor);
struct stream_id receptor_stream(const struct record *record);
void receptor_item_free(struct receptor_item *item);

/* --- receptor_keys.c: keys, and those that are stuck --- */
/* NULL: nothing of it is under way or stuck. */
struct receptor_key *receptor_key_find(struct receptor *receptor, const struct stream_id *stream);
struct receptor_key *receptor_key_get(struct receptor *receptor, const struct stream_id *stream);
/* Frees it if it has nothing under way and is not stuck. */
void receptor_key_let_go(struct receptor_key *key);
/* Stuck since before the start. */
void receptor_key_load(struct receptor_key *key, unsigned attempts, struct slice error);
/* Its first item failed, or its stream cannot be read. */
void receptor_key_fail(struct receptor_key *key, uint64_t position, uint64_t version,
                       const struct fault *fault);
/* Of a stuck one: up to this version all is done. */
void receptor_key_pass(struct receptor_key *key, uint64_t version);
/* Goes on with stuck keys whose time has come; returns the ms until the next one's, at most timeout_ms. */
int receptor_keys_retry(struct receptor *receptor, int timeout_ms);
void receptor_keys_free(struct receptor *receptor);

/* --- receptor_meta.c: checkpoints --- */
int receptor_meta_load(struct receptors *receptors, struct fault *fault);
/* Writes them if they have changed and it is time; returns the ms until then, at most timeout_ms. */
int receptor_meta_keep(struct receptors *receptors, int timeout_ms);
void receptor_meta_changed(struct receptors *receptors);
/* At the end: waits until all is written. */
void receptor_meta_finish(struct receptors *receptors);
void receptor_meta_write(struct receptors *receptors, struct buf *out);

#endif

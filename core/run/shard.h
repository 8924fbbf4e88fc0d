/* shard.h: a thread with a Lua state of its own that decides the commands of its streams; a stream belongs to
 * one shard.
 *
 *   hub_submit ──commands──► shard ──pending──► writer ──done──► submitter
 *                              ▲                   │
 *                              └────completions────┘
 *
 * The shard builds on its undurable state at once and takes the next command. What ties the two threads
 * together is the CHAIN:
 *
 *  1. Every stream counts its chains from 1. A pending carries the chain it was decided on.
 *  2. When a pending of chain c cannot be appended, the writer marks the stream broken at c. From then on it
 * refuses every pending of this stream with a chain <= c without appending it: those were decided on a state
 * that never came true.
 *  3. The shard learns it from the completion, drops the state and begins chain c + 1 from what the log says.
 *  4. Pendings of one shard reach the writer in the order in which they were decided, so nothing of an old
 * chain comes after the new one.
 *
 * Threads: everything here is the shard's own thread's, but for what is said. Owns: its streams, pendings and
 * domain. */
#ifndef LORE_RUN_SHARD_H
#define LORE_RUN_SHARD_H

#include "base/map.h"
#include "run/command.h"
#include "run/inbox.h"
#include "store/engine.h"
#include "vm/domain.h"

struct hub;
struct release;
struct shard;
struct stream;
struct catalog_aggregate;

/* A command inside the hub; lives in the command's arena. */
struct work {
    struct inbox_link link;
    struct command *command;
    const struct catalog_aggregate *aggregate; /* in the catalog of the release with this serial */
    uint64_t serial;
    uint64_t sequence; /* which sequence of ordered commands */
    unsigned retries;  /* after a conflict */
    bool refused;      /* its version is in conflict with what it waits for; command->fault says how */
};

enum pending_result {
    PENDING_OPEN,
    PENDING_APPENDED,
    PENDING_CONFLICT, /* somebody else was faster, or it built on one that met that: its command is decided
                         again */
    PENDING_FAILED    /* the disk, or it built on one that failed: its command was refused */
};

/* A decided command on its way to the disk and back. */
struct pending {
    struct inbox_link link;  /* first shard -> writer, then writer -> shard */
    struct shard *shard;     /* NULL: only a number of a sequence that is used up, made at the door */
    struct stream *stream;   /* NULL: only a number */
    struct command *command; /* to be answered by the writer; NULL: answered already */
    struct arena arena;      /* everything of commit */
    struct commit commit;
    uint64_t chain;
    bool tied; /* without events, but decided on undurable ones: worth nothing if they fail */
    uint64_t ordered, sequence;
    size_t size;      /* bytes it will take, about */
    uint64_t id_hash; /* of the first given id */
    enum pending_result result;
    struct inbox_link *waiters; /* works that are decided again when it is done, oldest first; the shard's */
    struct inbox_link **last_waiter;
    struct pending *newer; /* of the same stream, in order; the shard's */
    struct pending *next;  /* in the writer's queue; then in the shard's list of free ones */
};

/* A stream in the cache. */
struct stream {
    struct stream_id id;
    const struct catalog_aggregate *aggregate;
    struct domain_state *state; /* NULL: not loaded */
    bool has_head;              /* without an aggregate: version is known */
    uint64_t version;           /* of state */
    uint64_t position;          /* of its last durable event as far as known here */
    uint64_t chain;
    struct pending *oldest, *newest; /* in flight */
    size_t commits_in_flight;        /* those of them with events */
    struct stream *newer, *older;    /* by use */
    uint64_t snapshot_version;       /* of the last snapshot made or read */
    struct buf snapshot;             /* one that waits until its version is durable */
    /* the writer's */
    uint64_t broken_chain;
    enum pending_result broken_result;
    uint64_t batch_serial; /* the last batch with a commit to it */
    size_t key_size;
    char key[];
};

enum { SHARD_OUTCOMES = FAULT_CODE_COUNT };

/* An order to a shard, given between two commands. With a release: to go on with that one. The shard first
 * lets come back what it has in flight, so nothing that was decided by the old code is decided on by the new
 * one before it is durable; then it leaves its domain and all that it keeps in it to who gave the order, who
 * has the time to free it. */
struct shard_order {
    struct release *release;
    struct domain *domain;  /* the shard's from then on; then the one it had */
    struct stream *streams; /* what it kept, by `older` */
    struct map by_key;
    /* without a release: which long streams are in use */
    struct stream_id *longs;
    size_t long_count;
    struct arena arena;
    void (*done)(struct shard_order *order); /* in the shard's thread; must not block */
    void *user;
};

struct shard {
    struct hub *hub;
    int index;
    pthread_t thread;
    struct release *release; /* whose code it decides with */
    struct domain *domain;
    _Atomic(struct shard_order *) order;
    struct inbox commands;         /* struct work */
    struct inbox completions;      /* struct pending */
    atomic_bool wants_completions; /* somebody waits for one: wake me */
    size_t waiting;                /* works that wait for a completion */
    size_t in_flight, in_flight_max;
    struct pending *free_pendings;
    struct map streams;
    struct stream *newest, *oldest;
    size_t memory_max; /* of the domain and the streams before streams are dropped */
    size_t until_memory_look;
    size_t to_drop; /* streams, oldest first: there was too much */
    /* for status and metrics, read by anybody */
    atomic_ullong outcomes[SHARD_OUTCOMES]; /* by fault code; FAULT_NONE: done */
    atomic_ullong repeated, retried, loads;
    atomic_size_t cached, memory;
};

int shard_start(struct hub *hub, int index, struct shard **shard, struct fault *fault);
/* Between two commands; one order at a time. */
void shard_give_order(struct shard *shard, struct shard_order *order);
/* What came back with it. */
void shard_order_release(struct shard_order *order);
/* No more commands; answers those taken and ends when the last completion is back. */
void shard_stop(struct shard *shard);
void shard_free(struct shard *shard);

/* --- shard.c, for decide.c --- */
struct pending *shard_pending(struct shard *shard);
void shard_pending_free(struct shard *shard, struct pending *pending);
/* Counts, gives the sequence's number on, and calls done. fault NULL: done well. */
void shard_answer(struct shard *shard, struct work *work, const struct fault *fault);
/* The command's number in its sequence is used up without a commit; nothing if it has none. */
void shard_give_up_turn(struct shard *shard, struct work *work);
void shard_hand_over(struct shard *shard, struct pending *pending);
/* The work is decided again when the pending is back. */
void shard_wait(struct shard *shard, struct work *work, struct pending *pending);
/* decide.c: one command, from its id to the writer. */
void shard_decide(struct shard *shard, struct work *work);

/* --- cache.c --- */
/* The stream, new in the cache if it was not there. */
struct stream *cache_get(struct shard *shard, const struct work *work);
/* Makes sure that state and version are there: from a snapshot, the log and what is in flight. */
int cache_load(struct shard *shard, struct stream *stream, struct fault *fault);
void cache_drop_state(struct shard *shard, struct stream *stream);
/* Drops some of what was used longest ago while there is too much; nobody may hold a stream. */
void cache_trim(struct shard *shard);
/* Encodes a snapshot when enough has happened since the last one; it leaves when its version is durable. */
void cache_snapshot(struct shard *shard, struct stream *stream);
void cache_snapshot_durable(struct shard *shard, struct stream *stream, uint64_t version);
/* The streams of many events used last, as order->longs. */
void cache_list_long(struct shard *shard, struct shard_order *order);
/* Everything, states included, to who can free it at leisure; nothing is in flight. */
void cache_leave(struct shard *shard, struct shard_order *order);
void cache_free(struct shard *shard);

/* --- merge.c: for a caller who decided on an older version than the stream has --- */
/* Whether the aggregate says at all which events exclude each other, and there are not too many of them. */
bool merge_is_possible(struct shard *shard, const struct stream *stream, const struct command *command);
/* What was decided, well or not (done, fault), by a caller who has not seen all: 0 if none of its events is
 * excluded by one of those. -1: CONFLICT; or the decision's own fault, SCRIPT, BUDGET. Then the state is gone
 * if it was touched. */
int merge_check(struct shard *shard, struct stream *stream, const struct work *work, struct pending *pending,
                int done, struct fault *fault);
/* CONFLICT in words: "billing/bill/7 is at version 7, not 5" and why. */
int merge_refuse(const struct stream *stream, const struct command *command, struct fault *fault,
                 const char *why, ...) __attribute__((format(printf, 4, 5)));

/* --- known.c --- */
enum known { KNOWN_NO, KNOWN_WAITS, KNOWN_ANSWERED };
/* Whether the command's id was seen before in its stream. WAITS: its first is in flight, the work waits for
 * it. ANSWERED: command holds the answer. -1: ID_REUSED, CONTRACT, CORRUPT. */
int known_find(struct shard *shard, struct stream *stream, struct work *work, struct fault *fault);
bool known_has_id(const struct command *command);
uint64_t known_id_hash(const struct command *command);

#endif

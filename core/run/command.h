/* command.h: one request to change a stream, from the door to the answer.
 *
 *   net or cli  ──hub_submit──►  shard (decides)  ──►  writer (makes durable)  ──done──►  net or cli
 *
 * Each stage owns it in turn and nobody asks backwards; done is called once, from the writer's or a shard's
 * thread, and then it is the submitter's again, who frees it.
 *
 *     struct command *command = command_new();
 *     command->tenant = arena_copy(&command->arena, tenant); ...
 *     if (hub_submit(hub, command, &fault) < 0) { command_free(command); ... }
 */
#ifndef LORE_RUN_COMMAND_H
#define LORE_RUN_COMMAND_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "codec/record.h"

enum { COMMAND_ANY_VERSION = -1 };

struct command_item {
    struct slice type;
    struct slice data; /* MessagePack map as it came; any key order is fine */
    struct slice id;   /* the caller's, or empty */
    bool is_checked; /* data was made by a message of the same scripts: canonical, and it fits its contract */
};

struct command {
    struct arena arena; /* everything below that is a slice */

    /* the request */
    struct slice tenant;
    struct slice context, aggregate, id;
    struct command_item *items; /* one transaction */
    size_t item_count;
    struct slice batch_id;    /* Idempotency-Key: id of the command, or of the whole array */
    int64_t expected_version; /* If-Match, or COMMAND_ANY_VERSION */
    struct slice correlation_id, causation_id, actor;
    int64_t at_ms;    /* when it happened; INT64_MIN: now */
    bool is_fact;     /* items are events to record, not commands to decide */
    uint64_t ordered; /* 0: any order. Else its place (1, 2, 3 …) in a sequence whose log order must be that
                         order: imports. Every number must be submitted; one sequence at a time in a hub */

    bool brief;     /* the answer needs no record_bytes (imports) */
    uint32_t depth; /* messages between it and what came from outside; 0: it came from outside itself */

    /* What was decided elsewhere (by a service, a task, a receptor) and is only to be written, in the stream
     * of who decided: context/name/name. items are the commands it answers, data canonical; nobody is asked
     * for a decision, and what is no message of a contract (names with $) may be among it. */
    bool is_decided;
    const struct commit_event *events; /* what came of it; may be none */
    size_t event_count;
    struct slice reason, message; /* reason not empty: it was rejected, without events */
    uint64_t deploy;              /* whose code decided; 0: the shard's, when it decides or writes it */

    /* the answer */
    bool repeated;           /* the id was known: this is the first answer again */
    uint64_t version;        /* of the stream after it */
    uint64_t position;       /* of the last event of the stream */
    struct buf record_bytes; /* done with events: the stored record; record is opened over it */
    struct record record;    /* valid if record_bytes.size > 0 */
    uint64_t
        conflict_version; /* CONFLICT: where the stream is; the unseen events are read by whoever answers */
    int64_t retry_ms;     /* UNAVAILABLE: a service wants to be asked again so much later; 0: soon */

    void (*done)(struct command *command);
    void *user; /* the submitter's */

    /* the stages' own */
    void *stage;
    struct command *next;

    /* Of the answer; code FAULT_NONE: done. The last, since its 2 KiB of text are not cleared for each use.
     */
    struct fault fault;
};

struct command *command_new(void);
void command_free(struct command *command);
/* Forgets its answer, so that it can be submitted again. */
void command_again(struct command *command);

/* Commands that were answered and wait for their next use with the memory they have. Threads: one's. */
struct command_pool {
    struct command *first;
    size_t count, count_max;
};
/* An empty command, new if there is none. */
struct command *command_pool_take(struct command_pool *pool);
/* Frees it if there are enough or it has grown large. */
void command_pool_give(struct command_pool *pool, struct command *command);
void command_pool_release(struct command_pool *pool);

#endif

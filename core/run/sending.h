/* sending.h: messages that the hub sends itself. A sender submits what a receptor or the courier hands it,
 * again and again while the hub or a service is busy, and tells what came of it.
 *
 *     struct sending *sending = sending_new(&sender, &cause, &send, ordinal);
 *     sending_go(sending);
 *     sender_run(&sender, timeout_ms, told);       calls told(sending, NULL or fault), who frees it
 *     sender_rouse(&sender);                       once for all that was submitted meanwhile
 *
 * What is sent has an id derived from (log, position of the event behind it, who sends, ordinal): sent again
 * after a crash it is known and changes nothing. So it is an outcome, not a failure, when the domain rejects
 * it, and also when its id was used for something else: other code sent that for the same event.
 *
 * Threads: a sender belongs to one; inbox_wake(&sender.answered) from any ends its wait.
 * Owns: what it was handed until it told. */
#ifndef LORE_RUN_SENDING_H
#define LORE_RUN_SENDING_H

#include "run/command.h"
#include "run/inbox.h"
#include "vm/domain.h"

struct hub;

struct sender {
    struct hub *hub;
    uint64_t deploy;       /* whose code sends; 0: nobody's */
    struct inbox answered; /* struct sending */
    struct command_pool commands;
    struct sending *waiting, **last_waiting; /* for a busy hub or service, in order */
    size_t in_flight;                        /* waiting ones included */
    bool submitted;                          /* something, since the shards were roused */
    bool closing;                            /* nothing waits any more: it is told UNAVAILABLE */
    bool hands_back; /* a service that names its time is told, UNAVAILABLE with the command's retry_ms */
};

struct sending_cause {
    const char *log_id;
    struct slice sender;      /* "billing/replication": part of the id, and the actor */
    uint64_t position, epoch; /* of the event behind it */
    struct slice tenant;      /* borrowed for the call, as all here */
    struct slice correlation; /* empty: the event's id */
    uint32_t depth;           /* of what is sent */
};

struct sending {
    struct inbox_link link;
    struct sender *sender;
    struct command *command;
    uint64_t target;            /* the same for messages to the same place */
    int64_t again_ms, again_ns; /* waiting: one of them, by the hub's clock or the machine's; the other 0 */
    struct sending *next;       /* in waiting; else the owner's */
    void *owner;                /* and these two */
    size_t place;
    bool unwanted; /* it is not tried again, and that is an outcome */
};

void sender_init(struct sender *sender, struct hub *hub, size_t commands_kept);
void sender_release(struct sender *sender);
/* Tells what has come to an outcome; waits up to timeout_ms (-1: for ever) for it. told may make, let go and
 * free sendings. */
void sender_run(struct sender *sender, int timeout_ms,
                void (*told)(struct sending *sending, struct fault *fault));
void sender_rouse(struct sender *sender);

/* A send that is not a cancel. */
struct sending *sending_new(struct sender *sender, const struct sending_cause *cause,
                            const struct domain_send *send, uint32_t ordinal);
/* The commit of sends and cancels for later, as $Sent in the sender's own stream. */
struct sending *sending_new_later(struct sender *sender, const struct sending_cause *cause,
                                  const struct domain_send *sends, size_t count, int64_t at_ms);
void sending_go(struct sending *sending);
/* Of one that is not on its way. */
void sending_free(struct sending *sending);

#endif

#include "run/sending.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/rand.h"
#include "run/inside.h"
#include "run/origin.h"
#include "run/sent.h"

enum {
    SENDING_BUSY_MS = 5,    /* a queue is full: it moves at once */
    SENDING_AWAY_MS = 200,  /* a full disk, a service that is not there */
    SENDING_LOOK_MS = 1000, /* the hub's clock may be set: who waits for a moment looks at it so often */
};
static const uint32_t sending_later_ordinal = UINT32_MAX;

void sender_init(struct sender *sender, struct hub *hub, size_t commands_kept)
{
    *sender = (struct sender){.hub = hub, .commands.count_max = commands_kept};
    sender->last_waiting = &sender->waiting;
    inbox_init(&sender->answered, 0);
}

void sender_release(struct sender *sender)
{
    inbox_release(&sender->answered);
    command_pool_release(&sender->commands);
}

void sender_rouse(struct sender *sender)
{
    if (sender->submitted) hub_rouse(sender->hub);
    sender->submitted = false;
}

/* Any thread. */
static void sending_done(struct command *command)
{
    struct sending *sending = command->user;
    inbox_put(&sending->sender->answered, &sending->link);
}

static struct slice sending_id(const struct hub *hub, const struct sending_cause *cause, uint32_t ordinal,
                               struct arena *arena)
{
    struct buf all = {0};
    char text[RAND_UUID_SIZE + 1], log_id[37];
    origin_of(buf_slice(&hub->origins), cause->position, cause->log_id, log_id);
    buf_format(&all, "%s\n%llu\n%u\n%.*s", log_id, (unsigned long long)cause->position, ordinal,
               SLICE_ARGS(cause->sender));
    /* After a rollback another event is at this position, and the world outside may remember the first. */
    if (cause->epoch > 1) buf_format(&all, "\n%llu", (unsigned long long)cause->epoch);
    struct hash hash = hash_of(buf_slice(&all));
    buf_release(&all);
    rand_uuid_of(hash.bytes, text);
    return arena_copy(arena, slice_of(text));
}

static struct sending *sending_make(struct sender *sender, const struct sending_cause *cause,
                                    uint32_t ordinal)
{
    struct command *command = command_pool_take(&sender->commands);
    struct arena *arena = &command->arena;
    struct sending *sending = arena_zero(arena, sizeof *sending);
    sending->sender = sender;
    sending->command = command;
    command->tenant = arena_copy(arena, cause->tenant);
    command->item_count = 1;
    command->items = arena_zero(arena, sizeof *command->items);
    command->items->id = sending_id(sender->hub, cause, ordinal, arena);
    command->causation_id =
        arena_format(arena, "%s:%llu:%llu", cause->log_id, (unsigned long long)cause->epoch,
                     (unsigned long long)cause->position);
    command->correlation_id =
        cause->correlation.size ? arena_copy(arena, cause->correlation) : command->causation_id;
    command->actor = arena_copy(arena, cause->sender);
    command->depth = cause->depth;
    command->brief = true;
    command->done = sending_done;
    command->user = sending;
    return sending;
}

struct sending *sending_new(struct sender *sender, const struct sending_cause *cause,
                            const struct domain_send *send, uint32_t ordinal)
{
    struct sending *sending = sending_make(sender, cause, ordinal);
    struct command *command = sending->command;
    command->context = arena_copy(&command->arena, send->context);
    command->aggregate = arena_copy(&command->arena, send->target);
    command->id = arena_copy(&command->arena, send->id);
    command->items->type = arena_copy(&command->arena, send->type);
    command->items->data = arena_copy(&command->arena, send->data);
    sending->target = hash_fast(send->id, hash_fast(send->target, hash_fast(send->context, 0)));
    return sending;
}

struct sending *sending_new_later(struct sender *sender, const struct sending_cause *cause,
                                  const struct domain_send *sends, size_t count, int64_t at_ms)
{
    struct sending *sending = sending_make(sender, cause, sending_later_ordinal);
    struct command *command = sending->command;
    struct arena *arena = &command->arena;
    struct slice name = arena_copy(arena, cause->sender);
    const char *slash = memchr(name.data, '/', name.size);
    command->context = slice_make(name.data, (size_t)(slash - name.data));
    command->aggregate = slice_make(slash + 1, name.size - command->context.size - 1);
    command->id = command->aggregate;
    struct commit_event *event = arena_take(arena, sizeof *event);
    *event = sent_event(sends, count, at_ms, arena);
    command->is_decided = true;
    command->deploy = sender->deploy;
    command->events = event;
    command->event_count = 1;
    command->items->type = slice_of("$Send");
    command->items->data = event->data;
    command->at_ms = at_ms;
    sending->target = hash_fast(name, 1);
    return sending;
}

void sending_go(struct sending *sending)
{
    struct fault fault;
    sending->sender->in_flight++;
    sending->sender->submitted = true;
    if (hub_submit_quietly(sending->sender->hub, sending->command, false, &fault) == 0) return;
    /* Told like every other answer, so that whoever lets many go is not called back in the middle of it. */
    sending->command->fault = fault;
    inbox_put_quietly(&sending->sender->answered, &sending->link);
}

void sending_free(struct sending *sending)
{
    command_pool_give(&sending->sender->commands, sending->command);
}

/* Whether the answer only says that it is not the time. */
static bool sending_must_wait(struct sending *sending)
{
    const struct command *command = sending->command;
    int64_t delay_ms = SENDING_AWAY_MS;
    sending->again_ms = sending->again_ns = 0;
    switch (command->fault.code) {
    case FAULT_BUSY:
    case FAULT_CONFLICT: delay_ms = SENDING_BUSY_MS; break;
    case FAULT_UNAVAILABLE:
        if (command->retry_ms > 0 && sending->sender->hands_back) return false;
        if (command->retry_ms > 0)
            sending->again_ms = clock_now_ms(sending->sender->hub->clock) + command->retry_ms;
        break;
    case FAULT_DISK: break;
    default: return false;
    }
    if (!sending->again_ms) sending->again_ns = clock_monotonic_ns() + delay_ms * 1000000LL;
    return true;
}

static void sender_put_off(struct sender *sender, struct sending *sending)
{
    sending->next = NULL;
    *sender->last_waiting = sending;
    sender->last_waiting = &sending->next;
}

static void sender_answer(struct sender *sender, struct sending *sending,
                          void (*told)(struct sending *sending, struct fault *fault))
{
    struct fault *fault = &sending->command->fault;
    if (!sender->closing && !sending->unwanted && sending_must_wait(sending)) {
        sender_put_off(sender, sending);
        return;
    }
    sender->in_flight--;
    bool is_outcome = sending->unwanted || fault->code == FAULT_NONE || fault->code == FAULT_REJECTED ||
                      fault->code == FAULT_ID_REUSED;
    told(sending, is_outcome ? NULL : fault);
}

/* Submits those again whose time has come; returns the ms until the next one's, at most timeout_ms. */
static int sender_again(struct sender *sender, int timeout_ms)
{
    if (!sender->waiting) return timeout_ms;
    int64_t now_ms = clock_now_ms(sender->hub->clock), now_ns = clock_monotonic_ns();
    int64_t least_ms = timeout_ms < 0 || timeout_ms > SENDING_LOOK_MS ? SENDING_LOOK_MS : timeout_ms;
    struct sending *list = sender->waiting;
    sender->waiting = NULL;
    sender->last_waiting = &sender->waiting;
    while (list) {
        struct sending *sending = list;
        list = list->next;
        int64_t left_ms =
            sending->again_ms ? sending->again_ms - now_ms : (sending->again_ns - now_ns + 999999) / 1000000;
        if (sending->unwanted) {
            inbox_put_quietly(&sender->answered, &sending->link);
            least_ms = 0;
        } else if (left_ms <= 0 || sender->closing) {
            sender->in_flight--;
            command_again(sending->command);
            sending_go(sending);
            least_ms = 0;
        } else {
            sender_put_off(sender, sending);
            if (left_ms < least_ms) least_ms = left_ms;
        }
    }
    return (int)least_ms;
}

void sender_run(struct sender *sender, int timeout_ms,
                void (*told)(struct sending *sending, struct fault *fault))
{
    timeout_ms = sender_again(sender, timeout_ms);
    sender_rouse(sender); /* what told sent last time, too: nobody sleeps beside a shard that was not woken */
    struct inbox_link *list = inbox_take(&sender->answered, timeout_ms);
    while (list) {
        struct sending *sending = (struct sending *)list;
        list = list->next;
        sender_answer(sender, sending, told);
    }
}

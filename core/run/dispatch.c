/* The door: what cannot be a command is refused here; the rest goes to the shard that its stream belongs to.
 */
#include "base/hash.h"
#include "codec/mp.h"
#include "codec/text.h"
#include "codec/time.h"
#include "run/inside.h"

static int dispatch_check_item(const struct release *release, const struct command_item *item,
                               struct fault *fault)
{
    if (!text_is_message(item->type))
        return fault_set(
            fault, FAULT_UNKNOWN_COMMAND, "no command can be named '%.*s': names are like CloseBill",
            item->type.size < 80 ? (int)item->type.size : 80, item->type.data ? item->type.data : "");
    if (item->id.size && !text_is_id(item->id))
        return fault_set(fault, FAULT_MALFORMED,
                         "an id is 1-200 bytes of UTF-8 without control characters and '/'");
    if (item->data.size > release->message_size_max)
        return fault_set(fault, FAULT_TOO_LARGE, "%.*s: %zu bytes, at most %zu are allowed",
                         SLICE_ARGS(item->type), item->data.size, release->message_size_max);
    struct mp_reader reader = mp_reader_of(item->data);
    struct mp_value value;
    if (mp_read(&reader, &value) < 0 || value.kind != MP_MAP)
        return fault_set(fault, FAULT_MALFORMED, "%.*s: data is an object", SLICE_ARGS(item->type));
    return 0;
}

static int dispatch_check(const struct release *release, const struct command *command, struct fault *fault)
{
    if (!text_is_id(command->id))
        return fault_set(fault, FAULT_MALFORMED,
                         "an id is 1-200 bytes of UTF-8 without control characters and '/'");
    if (command->batch_id.size && !text_is_id(command->batch_id))
        return fault_set(fault, FAULT_MALFORMED,
                         "an idempotency key is 1-200 bytes of UTF-8 without control characters and '/'");
    if (command->correlation_id.size && !text_is_id(command->correlation_id))
        return fault_set(fault, FAULT_MALFORMED,
                         "a correlation id is 1-200 bytes of UTF-8 without control characters and '/'");
    if (command->causation_id.size && !text_is_id(command->causation_id))
        return fault_set(fault, FAULT_MALFORMED,
                         "a causation id is 1-200 bytes of UTF-8 without control characters and '/'");
    if (command->actor.size > LIMIT_ID_SIZE_MAX || !text_is_utf8(command->actor))
        return fault_set(fault, FAULT_MALFORMED, "an actor is at most 200 bytes of UTF-8");
    if (command->at_ms != INT64_MIN && !time_valid(command->at_ms))
        return fault_set(fault, FAULT_MALFORMED, "a time lies in the years 1 to 9999");
    if (command->expected_version < COMMAND_ANY_VERSION)
        return fault_set(fault, FAULT_MALFORMED, "a version is 0 or more");
    if (command->depth > release->causation_depth_max)
        return fault_set(fault, FAULT_BUDGET,
                         "%u messages lie between this one and what came from outside, at most %u may "
                         "(limits.causation_depth): does a receptor answer to what it causes?",
                         command->depth, release->causation_depth_max);
    if (command->item_count == 0)
        return fault_set(fault, FAULT_MALFORMED, "an array of commands has at least one");
    if (command->item_count > release->batch_commands_max)
        return fault_set(fault, FAULT_TOO_LARGE, "%zu commands in one transaction, at most %zu are allowed",
                         command->item_count, release->batch_commands_max);
    for (size_t at = 0; at < command->item_count && !command->is_decided; at++)
        if (dispatch_check_item(release, &command->items[at], fault) < 0) return -1;
    return 0;
}

static struct shard *dispatch_shard(struct hub *hub, const struct command *command,
                                    const struct catalog_aggregate *aggregate)
{
    uint64_t hash = hash_fast(command->tenant, 0);
    hash = hash_fast(aggregate->name, hash);
    hash = hash_fast(command->id, hash);
    return hub->shards[hash % hub->shard_count];
}

static bool dispatch_is_service(const struct release *release, const struct command *command)
{
    return !command->id.size && !command->is_decided && release->reactor &&
           reactor_has_service(release->reactor, command->context, command->aggregate);
}

/* No shard decides it, and its stream's id is the service's name. */
static int dispatch_service(struct release *release, struct command *command, struct fault *fault)
{
    command->id = command->aggregate;
    int done = dispatch_check(release, command, fault);
    command->id = SLICE_NONE;
    return done < 0 ? -1 : reactor_put(release->reactor, command, fault);
}

static int dispatch(struct hub *hub, struct release *release, struct command *command, uint64_t sequence,
                    bool wait, bool quietly, struct fault *fault)
{
    if (!catalog_has_tenant(&release->catalog, command->tenant))
        return fault_set(fault, FAULT_NOT_FOUND, "no tenant %.*s",
                         command->tenant.size < 80 ? (int)command->tenant.size : 80,
                         command->tenant.data ? command->tenant.data : "");
    if (dispatch_is_service(release, command)) return dispatch_service(release, command, fault);
    const struct catalog_aggregate *aggregate = (command->is_decided ? catalog_find_sender : catalog_find)(
        &release->catalog, command->context, command->aggregate, fault);
    if (!aggregate || dispatch_check(release, command, fault) < 0) return -1;
    struct work *work = arena_zero(&command->arena, sizeof *work);
    work->command = command;
    work->aggregate = aggregate;
    work->serial = release->serial;
    work->sequence = sequence;
    command->stage = work;
    struct shard *shard = dispatch_shard(hub, command, aggregate);
    if (wait)
        inbox_put_wait_quietly(&shard->commands, &work->link);
    else if (!inbox_put_quietly(&shard->commands, &work->link))
        return fault_set(fault, FAULT_BUSY, "too many commands are waiting: try again");
    if (!quietly) inbox_rouse(&shard->commands);
    return 0;
}

static int dispatch_enter(struct hub *hub, struct command *command, bool wait, bool quietly,
                          struct fault *fault)
{
    if (hub->read_only) return fault_set(fault, FAULT_UNAVAILABLE, "the hub was opened to look only");
    if (hub->as_of) return hub_refuse_past(hub, fault);
    uint64_t ordered = command->ordered; /* the command may be answered and gone before dispatch returns */
    uint64_t sequence = atomic_load(&hub->sequence);
    if (ordered == 1) sequence = atomic_fetch_add(&hub->sequence, 1) + 1;
    struct visit visit;
    struct release *release = release_enter(hub, &visit);
    int done;
    if (atomic_load(&hub->stopping))
        done = fault_set(fault, FAULT_UNAVAILABLE, "the hub is stopping");
    else
        done = dispatch(hub, release, command, sequence, wait, quietly, fault);
    if (done < 0) {
        atomic_fetch_add_explicit(&hub->refused[fault ? fault->code : FAULT_INTERNAL], 1,
                                  memory_order_relaxed);
        bool again = fault && fault->code == FAULT_BUSY;
        if (ordered && !again && !atomic_load(&hub->stopping)) writer_skip(hub->writer, ordered, sequence);
        if (ordered == 1 && again) atomic_fetch_sub(&hub->sequence, 1);
    }
    release_leave(&visit);
    return done;
}

int hub_submit(struct hub *hub, struct command *command, struct fault *fault)
{
    return dispatch_enter(hub, command, false, false, fault);
}

int hub_submit_wait(struct hub *hub, struct command *command, struct fault *fault)
{
    return dispatch_enter(hub, command, true, false, fault);
}

int hub_submit_quietly(struct hub *hub, struct command *command, bool wait, struct fault *fault)
{
    return dispatch_enter(hub, command, wait, true, fault);
}

void hub_rouse(struct hub *hub)
{
    for (size_t at = 0; at < hub->shard_count; at++) inbox_rouse(&hub->shards[at]->commands);
}

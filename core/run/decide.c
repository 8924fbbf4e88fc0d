/* One command from its id to the writer. */
#include <stdio.h>

#include "base/clock.h"
#include "base/rand.h"
#include "run/fold.h"
#include "run/inside.h"

enum { DECIDE_RETRIES_MAX = 16 }; /* after that many lost races the caller is told of the conflict */

static struct slice decide_id(struct shard *shard, struct arena *arena, struct slice given)
{
    if (given.size) return arena_copy(arena, given);
    char *text = arena_take(arena, RAND_UUID_SIZE + 1);
    rand_uuid(clock_now_ms(shard->hub->clock), text);
    return slice_make(text, RAND_UUID_SIZE);
}

/* Everything of the commit but what the decision brings. */
static void decide_prepare(struct shard *shard, struct stream *stream, const struct work *work,
                           struct pending *pending)
{
    const struct command *command = work->command;
    struct arena *arena = &pending->arena;
    struct commit *commit = &pending->commit;
    bool id_given = known_has_id(command);
    *commit = (struct commit){
        .tenant = stream->id.tenant,
        .aggregate = stream->id.aggregate,
        .id = stream->id.id,
        .deploy = command->deploy ? command->deploy : shard->release->deploy,
        .id_given = id_given,
    };
    commit->depth = command->depth;
    if (command->actor.size) commit->actor = arena_copy(arena, command->actor);
    if (command->correlation_id.size) commit->correlation_id = arena_copy(arena, command->correlation_id);
    if (command->causation_id.size) commit->causation_id = arena_copy(arena, command->causation_id);
    if (command->batch_id.size && command->item_count > 1)
        commit->batch_id = arena_copy(arena, command->batch_id);
    pending->id_hash = id_given ? known_id_hash(command) : 0;
    if (command->is_fact && !id_given) return;

    /* A fact has one command, which carries nothing but the row's id. */
    size_t count = command->is_fact ? 1 : command->item_count;
    struct commit_command *commands = arena_zero(arena, count * sizeof *commands);
    for (size_t at = 0; at < count; at++) {
        struct slice given = command->items[at].id;
        if (!given.size && command->batch_id.size && (command->item_count == 1 || command->is_fact))
            given = command->batch_id;
        commands[at].id = decide_id(shard, arena, given);
        if (command->is_fact) continue;
        commands[at].type = arena_copy(arena, command->items[at].type);
        if (command->items[at].is_checked) commands[at].data = arena_copy(arena, command->items[at].data);
    }
    commit->commands = commands;
    commit->command_count = count;
}

static int decide_facts(struct shard *shard, struct stream *stream, const struct work *work,
                        struct envelope *envelope, struct pending *pending, bool *touched,
                        struct fault *fault)
{
    const struct command *command = work->command;
    struct commit_event *events = arena_zero(&pending->arena, command->item_count * sizeof *events);
    for (size_t at = 0; at < command->item_count; at++) {
        struct commit_event *event = &events[at];
        event->type = arena_copy(&pending->arena, command->items[at].type);
        event->at_ms = envelope->at_ms;
        if (domain_check_event(shard->domain, work->aggregate->context, event->type, command->items[at].data,
                               &pending->arena, &event->data, &event->type_version, fault) < 0)
            return -1;
    }
    for (size_t at = 0; at < command->item_count; at++) {
        envelope->type = events[at].type;
        envelope->type_version = events[at].type_version;
        *touched = true;
        if (domain_apply(shard->domain, stream->state, envelope, events[at].data, fault) < 0) return -1;
    }
    pending->commit.events = events;
    pending->commit.event_count = command->item_count;
    return 0;
}

/* The decision came with the command. */
static int decide_given(const struct command *command, struct pending *pending, struct fault *fault)
{
    struct commit *commit = &pending->commit;
    struct commit_command *commands = (struct commit_command *)commit->commands;
    for (size_t at = 0; at < commit->command_count; at++)
        commands[at].data = arena_copy(&pending->arena, command->items[at].data);
    if (command->reason.size) {
        fault_set(fault, FAULT_REJECTED, "%.*s", SLICE_ARGS(command->message));
        snprintf(fault->reason, sizeof fault->reason, "%.*s", SLICE_ARGS(command->reason));
        return -1;
    }
    struct commit_event *events = arena_zero(&pending->arena, command->event_count * sizeof *events);
    for (size_t at = 0; at < command->event_count; at++) {
        events[at] = command->events[at];
        events[at].type = arena_copy(&pending->arena, command->events[at].type);
        events[at].data = arena_copy(&pending->arena, command->events[at].data);
    }
    commit->events = events;
    commit->event_count = command->event_count;
    return 0;
}

/* A batch is one transaction, so a message that fits no contract is told before anything is decided. Fills
 * the commands' data: who has some was checked. */
static int decide_check(struct shard *shard, const struct work *work, struct pending *pending,
                        struct fault *fault)
{
    struct commit_command *commands = (struct commit_command *)pending->commit.commands;
    for (size_t at = 0; at < work->command->item_count; at++)
        if (domain_check_command(shard->domain, work->aggregate->index, commands[at].type,
                                 work->command->items[at].data, &pending->arena, &commands[at].data,
                                 fault) < 0)
            return -1;
    return 0;
}

/* Takes what one command of the transaction gave to what those before it did. */
static int decide_take(struct arena *arena, struct commit *commit, const struct decision *decision,
                       size_t *event_max, size_t *size, struct fault *fault)
{
    struct commit_event *events = (struct commit_event *)commit->events;
    size_t count = commit->event_count + decision->event_count;
    for (size_t at = 0; at < decision->event_count; at++)
        *size += decision->events[at].data.size + sizeof *events;
    if (*size > LIMIT_TRANSACTION_SIZE_MAX)
        return fault_set(fault, FAULT_TOO_LARGE,
                         "the commands of one transaction give more than %d bytes of events",
                         LIMIT_TRANSACTION_SIZE_MAX);
    if (count > *event_max) {
        *event_max = count * 2;
        events = arena_take(arena, *event_max * sizeof *events);
        if (commit->event_count) memcpy(events, commit->events, commit->event_count * sizeof *events);
    }
    if (decision->event_count)
        memcpy(events + commit->event_count, decision->events, decision->event_count * sizeof *events);
    commit->events = events;
    commit->event_count = count;
    return 0;
}

/* A state that has become too large refuses what made it so. */
static int decide_weigh(struct shard *shard, struct stream *stream, const struct commit *commit,
                        struct fault *fault)
{
    size_t bytes = 0;
    struct fault heavy = {0};
    for (size_t at = 0; at < commit->event_count; at++) bytes += commit->events[at].data.size;
    if (domain_state_weigh(shard->domain, stream->state, commit->event_count, bytes, &heavy) == 0) return 0;
    return fault_set(fault, heavy.code, "%.*s/%.*s would have a state that cannot be kept: %s",
                     SLICE_ARGS(stream->id.aggregate), SLICE_ARGS(stream->id.id), heavy.text);
}

static int decide_commands(struct shard *shard, struct stream *stream, const struct work *work,
                           struct envelope *envelope, struct pending *pending, bool *touched,
                           struct fault *fault)
{
    struct commit *commit = &pending->commit;
    struct commit_command *commands = (struct commit_command *)commit->commands;
    size_t event_max = 0, size = 0;
    if (commit->command_count > 1 && decide_check(shard, work, pending, fault) < 0) return -1;
    for (size_t at = 0; at < commit->command_count; at++) {
        struct decision decision = {0};
        bool checked = commands[at].data.size > 0, touches = false;
        struct slice data = checked ? commands[at].data : work->command->items[at].data;
        envelope->type = commands[at].type;
        int done = domain_execute(shard->domain, stream->state, envelope, data, checked, &pending->arena,
                                  &decision, &touches, fault);
        *touched = *touched || touches || decision.event_count;
        if (decision.command_data.size) commands[at].data = decision.command_data;
        if (done < 0) return -1;
        if (commit->command_count == 1) {
            commit->events = decision.events;
            commit->event_count = decision.event_count;
        } else if (decide_take(&pending->arena, commit, &decision, &event_max, &size, fault) < 0) {
            return -1;
        }
    }
    return 0;
}

/* All items on one state. On failure the state is gone if it was touched. */
static int decide_once(struct shard *shard, struct stream *stream, const struct work *work,
                       struct pending *pending, struct fault *fault)
{
    if (cache_load(shard, stream, fault) < 0) return -1;
    pending->commit.events = NULL;
    pending->commit.event_count = 0;
    if (work->command->is_decided) return decide_given(work->command, pending, fault);
    int64_t at_ms = work->command->at_ms;
    struct envelope envelope;
    fold_commit_envelope(&stream->id, stream->aggregate->context, &pending->commit, &envelope);
    envelope.at_ms = at_ms == INT64_MIN ? clock_now_ms(shard->hub->clock) : at_ms;
    bool touched = false;
    int done = work->command->is_fact
                   ? decide_facts(shard, stream, work, &envelope, pending, &touched, fault)
                   : decide_commands(shard, stream, work, &envelope, pending, &touched, fault);
    if (done == 0 && touched) done = decide_weigh(shard, stream, &pending->commit, fault);
    if (done < 0 && touched) cache_drop_state(shard, stream);
    return done;
}

/* A call that took too long is run again under an exact count, so that the verdict is the same on every
 * machine. */
static int decide_items(struct shard *shard, struct stream *stream, const struct work *work,
                        struct pending *pending, struct fault *fault)
{
    if (decide_once(shard, stream, work, pending, fault) == 0) return 0;
    if (work->command->is_decided || !domain_must_repeat(shard->domain)) return -1;
    cache_drop_state(shard, stream);
    domain_set_exact(shard->domain, true);
    int done = decide_once(shard, stream, work, pending, fault);
    domain_set_exact(shard->domain, false);
    return done;
}

static size_t decide_size(const struct commit *commit)
{
    size_t size = 256;
    for (size_t at = 0; at < commit->command_count; at++) size += commit->commands[at].data.size + 64;
    for (size_t at = 0; at < commit->event_count; at++) size += commit->events[at].data.size + 16;
    return size;
}

/* Puts the pending among those in flight and gives it to the writer. The command's number in a sequence
 * travels with it. */
static void decide_hand_over(struct shard *shard, struct stream *stream, struct work *work,
                             struct pending *pending)
{
    pending->stream = stream;
    pending->chain = stream->chain;
    pending->tied = pending->commit.event_count == 0 && stream->commits_in_flight;
    stream->commits_in_flight += pending->commit.event_count > 0;
    pending->ordered = work->command->ordered;
    pending->sequence = work->sequence;
    pending->size = decide_size(&pending->commit);
    work->command->ordered = 0;
    if (stream->newest)
        stream->newest->newer = pending;
    else
        stream->oldest = pending;
    stream->newest = pending;
}

/* The domain said no. Its answer too waits until it is on disk: else a kill could make the same id say yes
 * later. */
static void decide_rejected(struct shard *shard, struct stream *stream, struct work *work,
                            struct pending *pending, const struct fault *fault)
{
    struct commit *commit = &pending->commit;
    struct fault ignored;
    if (!commit->commands[0].data.size && decide_check(shard, work, pending, &ignored) < 0) {
        shard_pending_free(shard, pending);
        shard_answer(shard, work, fault);
        return;
    }
    commit->kind = RECORD_REJECTED;
    commit->events = NULL;
    commit->event_count = 0;
    commit->reason = arena_copy(&pending->arena, slice_of(fault->reason));
    commit->message = arena_copy(&pending->arena, slice_of(fault->text));
    /* The state may be dropped by now; what it was decided on is the last version in flight, or the stream's.
     */
    commit->first_version = stream->version;
    commit->first_position = stream->position;
    decide_hand_over(shard, stream, work, pending);
    pending->command = work->command;
    shard_hand_over(shard, pending);
}

static void decide_accepted(struct shard *shard, struct stream *stream, struct work *work,
                            struct pending *pending)
{
    struct commit *commit = &pending->commit;
    if (commit->event_count) {
        commit->kind = work->command->is_fact ? RECORD_FACT : RECORD_COMMIT;
        commit->first_version = stream->version + 1;
        stream->version += commit->event_count;
    } else {
        commit->kind = RECORD_ACCEPTED;
        commit->first_version = stream->version;
        commit->first_position = stream->position;
    }
    pending->command = work->command;
    decide_hand_over(shard, stream, work, pending);
    cache_snapshot(shard, stream);
    shard_hand_over(shard, pending);
}

static bool decide_is_stale(const struct stream *stream, const struct command *command)
{
    return command->expected_version != COMMAND_ANY_VERSION &&
           (uint64_t)command->expected_version < stream->version;
}

/* Whether the caller's version lets it be decided: on what it has seen, or on more with a chance to merge. */
static int decide_expected(struct shard *shard, const struct stream *stream, const struct command *command,
                           struct fault *fault)
{
    if (command->expected_version == COMMAND_ANY_VERSION ||
        (uint64_t)command->expected_version == stream->version)
        return 0;
    if (decide_is_stale(stream, command) && merge_is_possible(shard, stream, command)) return 0;
    return merge_refuse(stream, command, fault, "%s", "");
}

/* Whether somebody else appended to the stream. While commits are in flight they will find out. */
static bool decide_is_outdated(struct shard *shard, const struct stream *stream)
{
    uint64_t version, position;
    return engine_stream_head(shard->hub->engine, &stream->id, &version, &position, NULL) == 0 &&
           version > stream->version;
}

/* The caller is told what it has not seen, so that must be on disk: the answer waits for what is in flight,
 * and is thought over if that fails. */
static void decide_conflict(struct shard *shard, struct stream *stream, struct work *work,
                            const struct fault *fault)
{
    struct command *command = work->command;
    command->conflict_version = stream->version;
    if (stream->commits_in_flight) {
        command->fault = *fault;
        work->refused = true;
        shard_wait(shard, work, stream->newest);
        shard_give_up_turn(shard, work);
    } else if (decide_is_outdated(shard, stream)) {
        cache_drop_state(shard, stream);
        work->retries++;
        shard_decide(shard, work);
    } else {
        shard_answer(shard, work, fault);
    }
}

/* The door took it for a release, and the shard decides with another one. */
static int decide_resolve(const struct shard *shard, struct work *work, struct fault *fault)
{
    const struct command *command = work->command;
    if (work->serial == shard->release->serial) return 0;
    work->aggregate = (command->is_decided ? catalog_find_sender : catalog_find)(
        &shard->release->catalog, command->context, command->aggregate, fault);
    work->serial = shard->release->serial;
    for (size_t at = 0; at < command->item_count && !command->is_decided; at++)
        command->items[at].is_checked = false;
    return work->aggregate ? 0 : -1;
}

void shard_decide(struct shard *shard, struct work *work)
{
    struct command *command = work->command;
    struct fault fault;

    cache_trim(shard);
    struct stream *stream = decide_resolve(shard, work, &fault) < 0 ? NULL : cache_get(shard, work);

    /* 1. A known id gets its first answer again, before anything else is looked at. */
    int known = stream ? known_find(shard, stream, work, &fault) : -1;
    if (known < 0) {
        shard_answer(shard, work, &fault);
        return;
    }
    if (known == KNOWN_ANSWERED) shard_answer(shard, work, command->fault.code ? &command->fault : NULL);
    /* The shard's numbers must reach the writer in order, and who waits for a commit in flight has nothing to
     * write. */
    if (known == KNOWN_WAITS) shard_give_up_turn(shard, work);
    if (known != KNOWN_NO) return;

    /* 2. Another one was faster too often. */
    if (work->retries > DECIDE_RETRIES_MAX) {
        command->conflict_version = stream->version;
        fault_set(&fault, FAULT_CONFLICT, "%.*s/%.*s changed %u times meanwhile",
                  SLICE_ARGS(stream->id.aggregate), SLICE_ARGS(stream->id.id), work->retries);
        shard_answer(shard, work, &fault);
        return;
    }

    /* 3. The state, from the cache or from the log; the caller's version is compared with its version. */
    if (cache_load(shard, stream, &fault) < 0) {
        shard_answer(shard, work, &fault);
        return;
    }
    if (decide_expected(shard, stream, command, &fault) < 0) {
        decide_conflict(shard, stream, work, &fault);
        return;
    }

    /* 4. The scripts decide every item on the same state; if the caller has not seen all of it, they are
     * asked whether that matters. */
    struct pending *pending = shard_pending(shard);
    decide_prepare(shard, stream, work, pending);
    int done = decide_items(shard, stream, work, pending, &fault);
    if (decide_is_stale(stream, command)) done = merge_check(shard, stream, work, pending, done, &fault);

    /* 5. Yes and no go to the writer; what fits no contract and what failed leaves no trace. */
    if (done == 0) {
        decide_accepted(shard, stream, work, pending);
    } else if (fault.code == FAULT_REJECTED && !command->is_fact) {
        decide_rejected(shard, stream, work, pending, &fault);
    } else {
        shard_pending_free(shard, pending);
        if (fault.code == FAULT_CONFLICT)
            decide_conflict(shard, stream, work, &fault);
        else
            shard_answer(shard, work, &fault);
    }
}

/* Command ids: the same id with the same content gets the first answer again, with other content it is
 * refused. */
#include <stdio.h>

#include "base/hash.h"
#include "run/inside.h"

bool known_has_id(const struct command *command)
{
    if (command->batch_id.size) return true;
    for (size_t at = 0; at < command->item_count; at++)
        if (command->items[at].id.size) return true;
    return false;
}

/* The n-th id that the caller gave: the batch's first. */
static struct slice known_id(const struct command *command, size_t n)
{
    if (command->batch_id.size && n == 0) return command->batch_id;
    if (command->batch_id.size) n--;
    return n < command->item_count ? command->items[n].id : SLICE_NONE;
}

uint64_t known_id_hash(const struct command *command)
{
    for (size_t at = 0; at <= command->item_count; at++) {
        struct slice id = known_id(command, at);
        if (id.size) return hash_fast(id, 0);
    }
    return 0;
}

static bool known_in_commit(const struct commit *commit, struct slice id)
{
    if (!id.size || !commit->id_given) return false;
    if (slice_equal(commit->batch_id, id)) return true;
    for (size_t at = 0; at < commit->command_count; at++)
        if (slice_equal(commit->commands[at].id, id)) return true;
    return false;
}

static struct pending *known_in_flight(const struct stream *stream, const struct command *command)
{
    /* Nearly always there is one command with one id: then one number tells them apart. */
    bool single = command->item_count == 1 && !(command->batch_id.size && command->items[0].id.size);
    uint64_t hash = known_id_hash(command);
    for (struct pending *pending = stream->oldest; pending; pending = pending->newer) {
        if (!pending->commit.id_given) continue;
        if (single && pending->commit.command_count == 1 && pending->id_hash != hash) continue;
        for (size_t at = 0; at <= command->item_count; at++)
            if (known_in_commit(&pending->commit, known_id(command, at))) return pending;
    }
    return NULL;
}

/* Data as its contract makes it, for comparison. */
static int known_canonical(struct shard *shard, const struct work *work, const struct command_item *item,
                           struct arena *arena, struct slice *canonical, struct fault *fault)
{
    if (work->command->is_decided) {
        *canonical = item->data;
        return 0;
    }
    if (work->command->is_fact) {
        uint32_t type_version;
        return domain_check_event(shard->domain, work->aggregate->context, item->type, item->data, arena,
                                  canonical, &type_version, fault);
    }
    return domain_check_command(shard->domain, work->aggregate->index, item->type, item->data, arena,
                                canonical, fault);
}

/* 1: the commit is this command's, 0: it is another's, -1: fault. */
static int known_equal(struct shard *shard, const struct work *work, const struct commit *commit,
                       struct arena *arena, struct fault *fault)
{
    const struct command *command = work->command;
    size_t count = command->is_fact ? commit->event_count : commit->command_count;
    if (command->is_fact != (commit->kind == RECORD_FACT) || count != command->item_count) return 0;
    /* The key of an array of one is that command's own id. */
    if (command->item_count > 1 && !slice_equal(command->batch_id, commit->batch_id)) return 0;
    for (size_t at = 0; at < count; at++) {
        const struct command_item *item = &command->items[at];
        struct slice type = command->is_fact ? commit->events[at].type : commit->commands[at].type;
        struct slice data = command->is_fact ? commit->events[at].data : commit->commands[at].data;
        if (!slice_equal(item->type, type)) return 0;
        if (item->id.size && at < commit->command_count && !slice_equal(item->id, commit->commands[at].id))
            return 0;
        struct slice canonical;
        if (known_canonical(shard, work, item, arena, &canonical, fault) < 0) return -1;
        if (!slice_equal(canonical, data)) return 0;
    }
    return 1;
}

static int known_check(struct shard *shard, const struct work *work, const struct commit *commit,
                       struct fault *fault)
{
    struct arena arena = {0};
    int equal = known_equal(shard, work, commit, &arena, fault);
    arena_release(&arena);
    if (equal == 0)
        return fault_set(fault, FAULT_ID_REUSED, "this id was used in %.*s/%.*s for another command",
                         SLICE_ARGS(work->aggregate->name), SLICE_ARGS(work->command->id));
    return equal < 0 ? -1 : 0;
}

/* The stored record as the answer. */
static void known_answer(struct command *command, const struct commit *commit)
{
    command->repeated = true;
    if (commit->kind == RECORD_REJECTED) {
        fault_set(&command->fault, FAULT_REJECTED, "%.*s", SLICE_ARGS(commit->message));
        snprintf(command->fault.reason, sizeof command->fault.reason, "%.*s", SLICE_ARGS(commit->reason));
        command->version = commit->first_version;
        command->position = commit->first_position;
        buf_release(&command->record_bytes);
    } else if (commit->kind == RECORD_ACCEPTED) {
        command->version = commit->first_version;
        command->position = commit->first_position;
        buf_release(&command->record_bytes);
    } else {
        command->version = commit->first_version + commit->event_count - 1;
        command->position = commit->first_position + commit->event_count - 1;
    }
}

int known_find(struct shard *shard, struct stream *stream, struct work *work, struct fault *fault)
{
    struct command *command = work->command;
    if (!known_has_id(command)) return KNOWN_NO;
    struct pending *pending = known_in_flight(stream, command);
    if (pending) {
        if (known_check(shard, work, &pending->commit, fault) < 0) return -1;
        shard_wait(shard, work, pending);
        return KNOWN_WAITS;
    }
    for (size_t at = 0; at <= command->item_count; at++) {
        struct slice id = known_id(command, at);
        if (!id.size) continue;
        buf_clear(&command->record_bytes);
        int found = engine_find_command(shard->hub->engine, &stream->id, id, &command->record_bytes,
                                        &command->record, fault);
        if (found < 0) return -1;
        if (found == 0) continue;
        struct arena arena = {0};
        struct commit commit = {0};
        record_read_commit(&command->record, &arena, &commit);
        int done = known_check(shard, work, &commit, fault);
        if (done == 0)
            known_answer(command, &commit);
        else
            buf_release(&command->record_bytes);
        arena_release(&arena);
        return done == 0 ? KNOWN_ANSWERED : -1;
    }
    return KNOWN_NO;
}

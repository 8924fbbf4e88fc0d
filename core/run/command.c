#include "run/command.h"

#include <stddef.h>

#include "base/mem.h"

enum { RECORD_KEPT_MAX = 16 * 1024 };

/* Empty, with this memory. */
static void command_init(struct command *command, struct arena arena, struct buf record_bytes)
{
    memset(command, 0, offsetof(struct command, fault.reason));
    command->fault.reason[0] = command->fault.text[0] = 0;
    command->arena = arena;
    command->record_bytes = record_bytes;
    command->expected_version = COMMAND_ANY_VERSION;
    command->at_ms = INT64_MIN;
}

struct command *command_new(void)
{
    struct command *command = mem_alloc(sizeof *command);
    command_init(command, (struct arena){0}, (struct buf){0});
    return command;
}

void command_free(struct command *command)
{
    if (!command) return;
    buf_release(&command->record_bytes);
    arena_release(&command->arena);
    mem_free(command);
}

void command_again(struct command *command)
{
    command->fault.code = FAULT_NONE;
    command->repeated = false;
    command->version = command->position = command->conflict_version = 0;
    command->retry_ms = 0;
    buf_clear(&command->record_bytes);
    command->stage = NULL;
    command->next = NULL;
}

struct command *command_pool_take(struct command_pool *pool)
{
    struct command *command = pool->first;
    if (!command) return command_new();
    pool->first = command->next;
    pool->count--;
    command_init(command, command->arena, command->record_bytes);
    return command;
}

void command_pool_give(struct command_pool *pool, struct command *command)
{
    if (pool->count == pool->count_max || command->record_bytes.size_max > RECORD_KEPT_MAX) {
        command_free(command);
        return;
    }
    arena_reset(&command->arena);
    buf_clear(&command->record_bytes);
    command->next = pool->first;
    pool->first = command;
    pool->count++;
}

void command_pool_release(struct command_pool *pool)
{
    while (pool->first) {
        struct command *next = pool->first->next;
        command_free(pool->first);
        pool->first = next;
    }
    pool->count = 0;
}

#include "run/command.h"

#include "base/mem.h"

struct command *command_new(void)
{
    struct command *command = MEM_NEW(struct command);
    command->expected_version = COMMAND_ANY_VERSION;
    command->at_ms = INT64_MIN;
    return command;
}

void command_free(struct command *command)
{
    if (!command) return;
    buf_release(&command->record_bytes);
    arena_release(&command->arena);
    mem_free(command);
}

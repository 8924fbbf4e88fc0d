/* replay.h: lore rollback --replay FILE: the commands of an archive through the scripts of now.
 *
 * Threads: one. */
#ifndef LORE_CLI_REPLAY_H
#define LORE_CLI_REPLAY_H

#include "cli/cli.h"

int replay_run(const struct cli *cli, const char *file);

#endif

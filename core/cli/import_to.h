/* import_to.h: rows of an import into a hub that runs: their messages as lines of bulk bodies.
 *
 *     if (import_to_open(cli, refused, user, &to, &fault) < 0) ...
 *     struct importer_options options = {…, .post = import_to_post, .post_user = to};
 *     …
 *     import_to_finish(to, &counts, &fault);
 *     import_to_close(to);
 *
 * Threads: one. Owns: the connection. */
#ifndef LORE_CLI_IMPORT_TO_H
#define LORE_CLI_IMPORT_TO_H

#include "cli/cli.h"
#include "run/importer.h"

struct import_to;

/* refused: as in importer_options. Faults: those of client_open. */
int import_to_open(const struct cli *cli,
                   void (*refused)(void *user, uint64_t row, struct slice source_line,
                                   const struct fault *fault),
                   void *user, struct import_to **to, struct fault *fault);
int import_to_post(void *to, const struct command *command, uint64_t row, struct slice source_line,
                   struct fault *fault);
/* Waits for every answer. Fault: what ended the import (UNAVAILABLE …). counts are filled in any case. */
int import_to_finish(struct import_to *to, struct importer_counts *counts, struct fault *fault);
void import_to_close(struct import_to *to);

#endif

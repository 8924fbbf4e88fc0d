/* importer.h: rows of a file to commands and facts, through an import script and the hub's own path.
 *
 * Every message gets an id derived from (tenant, script, source, row, ordinal in the row), so that importing
 * again, after an interruption or by mistake, repeats nothing. Log order is row order. Answers come back
 * later; those that are no success are told through `refused`, in the calling thread.
 *
 *     if (importer_open(&options, &importer, &fault) < 0) ...
 *     importer_row(importer, number, row, source_line, &fault);          for every row
 *     importer_finish(importer, &fault);                                 waits for the last answer
 *     importer_close(importer);
 *
 * Threads: one. Owns: a domain, its commands in flight. */
#ifndef LORE_RUN_IMPORTER_H
#define LORE_RUN_IMPORTER_H

#include <stdint.h>

#include "run/hub.h"

struct importer;

struct importer_options {
    struct hub *hub;
    const char *tenant;
    const char *script; /* path of the script, inside the hub's scripts folder */
    const char *source; /* names the rows: part of their ids */
    /* A message that did not take effect; row and source_line are those of importer_row. */
    void (*refused)(void *user, uint64_t row, struct slice source_line, const struct fault *fault);
    void *user;
    /* Not into the hub, which lends only its scripts: each message of a row that ended well is told here, and
     * who takes it sees to its answer. A fault ends the import. */
    int (*post)(void *user, const struct command *command, uint64_t row, struct slice source_line,
                struct fault *fault);
    void *post_user;
};

struct importer_counts {
    uint64_t commands, facts; /* messages that took effect now */
    uint64_t skipped;         /* had taken effect before */
    uint64_t rejected;        /* refused by the domain, or failed in its scripts */
};

/* Faults: NOT_FOUND (script, tenant), SCRIPTS (what the script returns is no function). */
int importer_open(const struct importer_options *options, struct importer **importer, struct fault *fault);
/* 0: its messages are under way. -1: SCRIPT, CONTRACT, BUDGET, MALFORMED, UNKNOWN_COMMAND: this row gives
 * nothing, go on with the next; any other code (DISK, UNAVAILABLE): the end. */
int importer_row(struct importer *importer, uint64_t number, struct slice row, struct slice source_line,
                 struct fault *fault);
/* Waits for every answer. Fault: the first that ended the import (DISK …). */
int importer_finish(struct importer *importer, struct fault *fault);
struct importer_counts importer_counts(const struct importer *importer);
void importer_close(struct importer *importer);

#endif

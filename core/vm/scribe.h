/* scribe.h: writes texts about a scripts folder: documentation, maps, interface files, annotations.
 *
 *     struct scribe_job job = {.program = "docs", .sources = sources, .input = json, .write = put_file, .user
 * = site}; if (scribe_run(&job, &fault) < 0) ...
 *
 * The program is a file of lua/, inside the binary: trusted, with the standard library, in a state of its
 * own. It sees (lore.core, in scribe.c) the input, the sources and their tokens, and gives away texts. No
 * script runs in it.
 *
 * Threads: any one. Owns: nothing afterwards. */
#ifndef LORE_VM_SCRIBE_H
#define LORE_VM_SCRIBE_H

#include "base/buf.h"
#include "base/fault.h"
#include "vm/sources.h"

struct scribe_job {
    const char *program;           /* "docs" for lua/docs.lua */
    const struct sources *sources; /* borrowed */
    struct slice input;            /* JSON: what the program is told */
    /* Takes one finished text; path is relative, and empty where a program gives one text only. */
    int (*write)(void *user, struct slice path, struct slice text, struct fault *fault);
    /* Appends the SVG of a graph in the DOT language; NULL: a program that draws fails. */
    int (*draw)(void *user, struct slice dot, struct buf *svg, struct fault *fault);
    void *user;
};

/* Faults: those of write and draw; MALFORMED (input); INTERNAL or TOO_LARGE (the program failed). */
int scribe_run(const struct scribe_job *job, struct fault *fault);

#endif

/* specs.h: the specs beside a scripts folder, run in a child process.
 *
 *     struct specs specs = {0};
 *     if (specs_run("./scripts", &specs, &fault) < 0) ...
 *     if (specs.failed) fprintf(stderr, "%.*s", SLICE_ARGS(buf_slice(&specs.output)));
 *     specs_release(&specs);
 *
 * They read the folder once more: who deploys what he read before compares it afterwards.
 *
 * Threads: one at a time (cli/child.h). Owns: what it says. */
#ifndef LORE_CLI_SPECS_H
#define LORE_CLI_SPECS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/slice.h"

struct specs {
    bool ran; /* false: there are none */
    uint64_t passed, failed;
    struct buf output;  /* what they wrote */
    const char *record; /* asked for: the file for lore test --record; NULL: none */
};

/* The folder specs beside the scripts folder, as lore test finds it; appended with a NUL that is not counted.
 */
void specs_folder(const char *scripts, struct buf *path);
/* Those of one context, or all (context is empty). Fault: UNAVAILABLE, if they cannot be run (what is the
 * matter was said on stderr). */
int specs_run(const char *scripts, struct slice context, struct specs *specs, struct fault *fault);
/* {"passed":12,"failed":1,"output":"…"}, the end of the output and only if one failed; nothing if there are
 * none. */
void specs_put_json(const struct specs *specs, struct buf *json);
void specs_release(struct specs *specs);

#endif

/* spec.h: runs spec files (lore test) with busted in a Lua state of its own; the domain under test runs in
 * sandboxed states beside it.
 *
 *     size_t passed, failed;
 *     struct spec_options options = {.output = "plainTerminal", .passed = &passed, .failed = &failed};
 *     if (spec_run("./scripts", NULL, 0, &options, &fault) < 0) ...     could not run at all
 *
 * Each scenario runs in a freshly loaded domain, in one that has run every scenario before it, and there once
 * more; if the three do not agree something outlived a call, and the spec fails. All in exact mode: states
 * and documents are checked after each handler. What busted writes goes to standard output. The last line is
 * "N passed, N failed" (on standard error for json and junit).
 *
 * Threads: any one; it starts the thread's watchdog. Owns: nothing afterwards. */
#ifndef LORE_VM_SPEC_H
#define LORE_VM_SPEC_H

#include <stddef.h>

#include "base/buf.h"
#include "base/fault.h"

struct spec_options {
    const char *output;      /* busted's output handler: plainTerminal, utfTerminal, TAP, json, junit; NULL:
                                plainTerminal */
    const char *filter;      /* only specs whose full name matches this Lua pattern; NULL: all */
    const char *record;      /* a file that gets what each spec says and how it went, as NDJSON; NULL: none */
    size_t *passed, *failed; /* the counts; may be NULL */
    struct buf *errors;      /* gets every error of the scripts, one per line; may be NULL */
};

/* paths: spec files, and folders that are searched for *_spec.lua; none: the folder specs beside the scripts
 * folder. A spec file sees the messages of the context that its folder is named after. Faults: SCRIPTS,
 * NOT_FOUND (scripts, a path, no spec file at all, busted is not installed). A failing spec is no fault. */
int spec_run(const char *scripts, const char *const *paths, size_t path_count,
             const struct spec_options *options, struct fault *fault);

#endif

/* spec_text.h: a spec made of what really happened: the history of a stream as given, each of its commands as
 * when, the events it gave as expect.
 *
 * Commands of the versions from..to are told, one scenario each; what was before is given. Events are those
 * of today's contracts (upcast), personal data is replaced. What cannot be told any more (a command whose
 * contract changed) is a comment that says why. Refused commands are not in a stream.
 *
 * Threads: the domain's. Owns: nothing. */
#ifndef LORE_RUN_SPEC_TEXT_H
#define LORE_RUN_SPEC_TEXT_H

#include "run/catalog.h"
#include "store/engine.h"
#include "vm/domain.h"

struct spec_question {
    struct engine *engine;
    struct domain *domain;
    const struct catalog_aggregate *aggregate;
    struct stream_id stream;
    uint64_t from, to; /* versions, both included; to UINT64_MAX: the last */
};

/* Appends the text of a spec file. Faults: NOT_FOUND (never written, no version from; no commands among
 * them), TOO_LARGE, SCRIPT and BUDGET of upcasters, DISK, CORRUPT. */
int spec_text(const struct spec_question *question, struct buf *out, struct fault *fault);

#endif

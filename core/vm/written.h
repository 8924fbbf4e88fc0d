/* written.h: messages as scripts write them: BillCreated { customer = "acme", start_date = "2026-01-01T…" }.
 *
 * What a contract marks as personal (pii) is replaced: the same value by the same replacement, wherever it
 * stands, so that what is equal stays equal.
 *
 *     struct written written = {0};
 *     written_message(&written, domain, context, type, true, data, &out, &fault);
 *     written_release(&written);
 *
 * Threads: one. Owns: the replacements. */
#ifndef LORE_VM_WRITTEN_H
#define LORE_VM_WRITTEN_H

#include "base/arena.h"
#include "base/map.h"
#include "vm/domain.h"

struct written {
    struct map replaced; /* by the text that they stand for */
    struct arena arena;
};

/* Appends a command or an event to out, on one line. data: canonical MessagePack of its contract as it is
 * now. Fault: NOT_FOUND, the context has no such message. */
int written_message(struct written *written, const struct domain *domain, struct slice context,
                    struct slice name, bool is_event, struct slice data, struct buf *out,
                    struct fault *fault);
/* A text in quotes, with Lua's escapes. */
void written_text(struct slice text, struct buf *out);
void written_release(struct written *written);

#endif

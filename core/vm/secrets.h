/* secrets.h: the values of env.NAME that scripts have seen, so that no text that leaves shows one. Inside vm/
 * only.
 *
 * Scripts get a secret as a plain text and may do with it what they like; error texts and log lines are
 * scrubbed on their way out. A value becomes [env.NAME], one that begins inside of it and goes on a second
 * one; so does its beginning from PREFIX_MIN bytes on, since texts are cut.
 *
 * Threads: as the Lua state. Owns: copies of names and values, until secrets_release. */
#ifndef LORE_VM_SECRETS_H
#define LORE_VM_SECRETS_H

#include "base/buf.h"
#include "base/fault.h"

struct secret;
struct secrets {
    struct secret *items;
    size_t count, size_max;
};

void secrets_keep(struct secrets *secrets, struct slice name, struct slice value);
/* Appends the text to out with every value replaced. */
void secrets_scrub(const struct secrets *secrets, struct slice text, struct buf *out);
/* Text and reason. */
void secrets_scrub_fault(const struct secrets *secrets, struct fault *fault);
void secrets_release(struct secrets *secrets);

#endif

/* secrets.h: named secrets of scripts, env.NAME: from a file, or from the environment as LORE_SECRET_NAME.
 *
 *     # one a line; what stands behind the first = is the value, as it is
 *     SMTP_PASSWORD=correct horse
 *
 * Nobody else may be able to read the file (0600). The file comes first.
 *
 * Threads: immutable after secrets_open. Owns: the values, wiped at the end. */
#ifndef LORE_RUN_SECRETS_H
#define LORE_RUN_SECRETS_H

#include "base/buf.h"
#include "base/fault.h"

struct secrets;

/* path NULL: only the environment. Faults: NOT_FOUND, PERMISSION, MALFORMED with the line's number, never its
 * text. */
int secrets_open(const char *path, struct secrets **secrets, struct fault *fault);
void secrets_free(struct secrets *secrets);
/* The value appended; false: there is none. */
bool secrets_get(const struct secrets *secrets, struct slice name, struct buf *value);

#endif

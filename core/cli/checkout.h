/* checkout.h: the scripts of a deploy, back as files.
 *
 * Threads: one. Owns: nothing. */
#ifndef LORE_CLI_CHECKOUT_H
#define LORE_CLI_CHECKOUT_H

#include "base/fault.h"
#include "vm/sources.h"

/* Whether a path out of a log names a file below the folder: no empty part, no "." or "..", no NUL. */
bool checkout_is_inside(struct slice path);

/* Writes every script below dir, which is made if it is not there. Each file is put in place whole; no link
 * inside dir is followed. Faults: CONFLICT (dir is not empty, unless force), CORRUPT (a path that leads out
 * of dir), PERMISSION, DISK. */
int checkout_write(const struct sources *scripts, const char *dir, bool force, struct fault *fault);

#endif

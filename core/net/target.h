/* target.h: the request target taken apart, strictly.
 *
 *     struct slice path, query;
 *     target_split(target, &path, &query);
 *     if (target_decode(segment, false, arena, &id, &fault) < 0) ...
 *
 * Threads: any. Owns: nothing; decoded texts live in the caller's arena. */
#ifndef LORE_NET_TARGET_H
#define LORE_NET_TARGET_H

#include <stdint.h>

#include "base/arena.h"
#include "base/fault.h"
#include "base/slice.h"

/* Cuts at the first '?'. */
void target_split(struct slice target, struct slice *path, struct slice *query);
/* Percent-decoding; what comes out must be UTF-8 without NUL. with_plus: '+' is a space (query parameters).
 * Fault: MALFORMED. */
int target_decode(struct slice from, bool with_plus, struct arena *arena, struct slice *to,
                  struct fault *fault);

/* A whole number of at most 18 digits. */
bool target_number(struct slice text, uint64_t *number);
/* "5", "5s", "500ms", "2m", "1h" in milliseconds; a bare number is seconds. */
bool target_duration(struct slice text, int64_t *ms);

#endif

/* origin.h: where a forked log comes from: its named value "origins", a line "LOG POSITION" for each fork,
 * the oldest first. What was sent for an event up to the position has an id derived from that log's id; a
 * fork that is served live derives the same one, so what is in the log is not sent again.
 *
 * Threads: any; the value is read once. Owns: nothing. */
#ifndef LORE_RUN_ORIGIN_H
#define LORE_RUN_ORIGIN_H

#include <stdint.h>

#include "base/buf.h"

/* Writes the id of the log in which the event at the position was written: one of value's lines, or log_id.
 */
void origin_of(struct slice value, uint64_t position, const char *log_id, char found[37]);
/* Appends the line of a fork. */
void origin_add(struct buf *value, const char *log_id, uint64_t position);

#endif

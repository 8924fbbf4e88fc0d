/* aside.h: the records that were put aside for one partition (spill.h), on their way into its feed.
 *
 *     aside_open(spill, partition, names, events_max, &aside, &fault);
 *     while (aside_next(aside, &record, &fault) == 1) ...
 *
 * Key after key, each in the order of the log, if it is asked for and the partition fits in memory; else all
 * in the order of the log. The key is the record's id.
 *
 * Threads: one. Owns: what it read. */
#ifndef LORE_RUN_ASIDE_H
#define LORE_RUN_ASIDE_H

#include "codec/record.h"
#include "run/spill.h"

struct aside;

/* events_max: of a partition that is to come key after key; 0: in the order of the log. Fault: DISK, CORRUPT.
 */
int aside_open(struct spill *spill, uint32_t partition, struct names *names, uint64_t events_max,
               struct aside **aside, struct fault *fault);
/* Whether it comes key after key. */
bool aside_is_by_key(const struct aside *aside);
/* 1: a record, borrowed until the next call; 0: the end; -1: fault (DISK, CORRUPT). */
int aside_next(struct aside *aside, struct record *record, struct fault *fault);
/* Key after key: whether the record that came last is the first of its key. */
bool aside_begins_key(const struct aside *aside);
void aside_close(struct aside *aside);

#endif

/* tally.h: the thread that keeps the counts of shapes (store/shapes.h) near the log's end, in the file
 * data/shapes: so that asking for them reads the file and a short piece of the log.
 *
 * It reads the log behind the answers, at full speed while nobody writes and else for a twentieth of a core:
 * some hundred thousand events a second, above which it falls behind until there is rest. A thread of lower
 * priority would do better until it is stopped inside a lock that a shard waits for. Who asks does not wait
 * for it: shapes_of_log reads the file and the log for itself, and the file is the only thing that the two
 * have in common.
 *
 * Threads: start, stop by the hub; look from any. Owns: the thread, the file while the hub runs. */
#ifndef LORE_RUN_TALLY_H
#define LORE_RUN_TALLY_H

#include <stdbool.h>

struct hub;
struct tally;

struct tally *tally_start(struct hub *hub);
/* Ends at once; what is not counted yet is counted at the next start. */
void tally_stop(struct tally *tally);
void tally_free(struct tally *tally);
/* "<data>/shapes" into path. */
void tally_path(const struct hub *hub, char *path, unsigned long size);

#endif

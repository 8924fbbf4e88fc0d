/* indexer.h: the thread that writes what may be written behind the answer: the log's index and snapshots of
 * states. Beside it runs the tally (tally.h).
 *
 * Threads: any. Owns: snapshots handed to it. */
#ifndef LORE_RUN_INDEXER_H
#define LORE_RUN_INDEXER_H

#include "base/buf.h"
#include "base/hash.h"
#include "store/engine.h"

struct hub;
struct indexer;

struct indexer *indexer_start(struct hub *hub);
/* Writes what is left and ends. */
void indexer_stop(struct indexer *indexer);
void indexer_free(struct indexer *indexer);
/* After an append: wakes it when the index is far enough behind. */
void indexer_look(struct indexer *indexer);
/* Takes the bytes over (state becomes empty); drops them when it has too much to do. */
void indexer_snapshot(struct indexer *indexer, const struct stream_id *stream, const struct hash *code,
                      uint64_t version, struct buf *state);

#endif

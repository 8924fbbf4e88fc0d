/* writer.h: the one thread that appends: takes whatever arrived, makes it durable as one batch, answers,
 * begins again.
 *
 * Pendings of one shard are taken in the order in which they came. Those with a number wait for their turn,
 * and with them what came behind them from the same shard. A number's predecessors have all been submitted,
 * and each shard hands its own over in rising order, so the one whose turn it is always arrives.
 *
 * Threads: writer_put and writer_put_meta from any. Owns: pendings while it has them. */
#ifndef LORE_RUN_WRITER_H
#define LORE_RUN_WRITER_H

#include "run/shard.h"

enum { WRITER_BUCKETS = 14 }; /* of the latency histogram: 2^n * 64 µs */

struct writer_stats {
    atomic_ullong batches, commits, outcomes, events, failed, conflicts;
    atomic_ullong append_ns, buckets[WRITER_BUCKETS + 1];
};

struct writer;

struct writer *writer_start(struct hub *hub);
/* All shards have ended: writes what is left and ends. */
void writer_stop(struct writer *writer);
void writer_free(struct writer *writer);
/* The writer is not woken for each: writer_rouse must follow. */
void writer_put(struct writer *writer, struct pending *pending);
void writer_rouse(struct writer *writer);
/* A number of a sequence whose command was refused at the door. */
void writer_skip(struct writer *writer, uint64_t ordered, uint64_t sequence);
/* A named value to be kept in the log. Its owner's until it is put, and again from done on. */
struct writer_meta {
    struct inbox_link link;
    struct slice key;
    struct buf value;
    bool written;
    struct fault *fault;                    /* why it was not written; may be NULL */
    void (*done)(struct writer_meta *meta); /* in the writer's thread, must not block */
    void *user;
};
/* From any thread; what was put before writer_stop is written. */
void writer_put_meta(struct writer *writer, struct writer_meta *meta);
/* The same, and waits until it is durable: from any thread but the writer's, on whom it waits, and before
 * writer_stop. user: the writer. Fault: DISK. */
int writer_keep(void *user, struct slice key, struct slice value, struct fault *fault);
size_t writer_queue(struct writer *writer);
const struct writer_stats *writer_stats(const struct writer *writer);

#endif

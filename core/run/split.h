/* split.h: how a rebuild goes key range by key range.
 *
 * Documents in random order cost a look-up, a decode and an encode at almost every event. But only the order
 * within a key matters. So a long log is split: one pass copies each record that the projection takes aside
 * (spill.h), to the partition of its key; then partition by partition is folded from nothing, by whichever
 * projector is free, and written in order of the keys, each document once.
 *
 * Where the key is the aggregate's id, a partition is folded key after key (aside.h).
 *
 *   feed that splits ──► spill ──► feed of partition 0, 1, 2 ... ──► documents, in key order
 *
 * Partitions are ranges of "tenant NUL key", cut at the quantiles of the keys of events spread over the
 * log. Cuts and target are stored with the generation: a build that was interrupted splits again,
 * without what is folded already.
 *
 * Threads: the functions of a splitter those of its projector; a plan is read by all once it is made.
 * Owns: what is said there. */
#ifndef LORE_RUN_SPLIT_H
#define LORE_RUN_SPLIT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fault.h"
#include "base/slice.h"

/* Where the partitions of a build begin and where all of them end. */
struct split_plan {
    struct arena arena;
    uint64_t target;      /* position */
    uint32_t count;       /* of partitions; 0: no plan yet */
    struct slice *begins; /* of partition 1 and on: "tenant NUL key" */
};

/* Cuts what keys stand for ("tenant NUL key", of events here and there; sorted here) into count partitions.
 * False: it is not worth it, since few different keys come back again and again. */
bool split_plan_make(struct split_plan *plan, struct slice *keys, size_t key_count, uint32_t count,
                     uint64_t target);
void split_plan_release(struct split_plan *plan);
uint32_t split_partition(const struct split_plan *plan, struct slice tenant, struct slice key);
/* The range of a tenant's keys in a partition that holds some: from (inclusive) to (not); empty: open. */
void split_range(const struct split_plan *plan, uint32_t partition, struct slice tenant, struct slice *from,
                 struct slice *to);
/* As a meta value of the generation. */
void split_plan_put(const struct split_plan *plan, struct buf *out);
/* False: damaged. */
bool split_plan_read(struct split_plan *plan, struct slice bytes);

#endif

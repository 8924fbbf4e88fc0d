/* seek_fold.h: the end of a query: what is made of its rows, all together or by groups. Inside vm/ only.
 *
 * What it gives does not depend on the order in which rows come, nor on how many folds shared them: each row
 * has an order (its position in the log, or its place behind a sort), sums are exact, and where two rows are
 * equal the one of the lower order goes first.
 *
 *     struct seek_fold fold;
 *     seek_fold_begin(&fold, &plan);
 *     struct seek_group *group = seek_fold_group(&fold, label);          or &fold.all
 *     if (seek_fold_wants(&fold, group, key, order)) seek_fold_keep(&fold, group, key, order, row);
 *     seek_fold_merge(&fold, &other, &fault);
 *     seek_fold_finish(&fold, &fault);
 *
 * Threads: one at a time. Owns: groups and what they keep, until seek_fold_release. */
#ifndef LORE_VM_SEEK_FOLD_H
#define LORE_VM_SEEK_FOLD_H

#include "base/arena.h"
#include "base/map.h"
#include "vm/seek_sum.h"

enum seek_end {
    SEEK_COUNT,
    SEEK_SUM,
    SEEK_AVERAGE,
    SEEK_MIN,
    SEEK_MAX,
    SEEK_QUANTILE,
    SEEK_TOP,
    SEEK_FIRST,
    SEEK_LAST,
    SEEK_SAMPLE,
    SEEK_DISTINCT,
    SEEK_ROWS,
    SEEK_SORTED_UP, /* all rows by key */
    SEEK_SORTED_DOWN
};

struct seek_plan {
    enum seek_end end;
    uint64_t limit;  /* TOP, SAMPLE: so many */
    double quantile; /* 0 to 1 */
};

struct seek_item {
    uint64_t order;
    struct slice key, row; /* behind it */
};

struct seek_items {
    struct seek_item **items; /* limited: a heap, the worst first; else as they came; finished: best first */
    size_t count, max;
    struct map seen; /* DISTINCT: by key */
};

struct seek_group {
    struct slice label;
    uint64_t count; /* of rows, or of values that were there */
    struct seek_group *next;
    union seek_state {
        struct seek_sum sum;     /* SUM, AVERAGE */
        struct seek_items items; /* MIN and below */
    } * state;                   /* NULL: COUNT */
};

struct seek_fold {
    struct seek_plan plan;
    struct seek_group all; /* of rows that are in no group */
    struct map groups;
    struct seek_group *first, *last; /* in the order in which they came */
    struct arena arena;              /* groups and labels */
    size_t bytes;                    /* in use, about */
    /* Asked now and then by what takes long; true: it ends with CANCELLED. NULL: nobody is asked. */
    bool (*stops)(void *user);
    void *user;
};

void seek_fold_begin(struct seek_fold *fold, const struct seek_plan *plan);
void seek_fold_release(struct seek_fold *fold);
/* Found or made. */
struct seek_group *seek_fold_group(struct seek_fold *fold, struct slice label);
/* SUM, AVERAGE: adds. Fault: SCRIPT. */
int seek_fold_add(struct seek_fold *fold, struct seek_group *group, const struct seek_value *value,
                  struct fault *fault);
/* Others but COUNT: whether a row of this key (seek_value_key; DISTINCT: seek_value_identity; FIRST, LAST,
 * ROWS, SAMPLE: empty) would be kept, and keeping it. */
bool seek_fold_wants(const struct seek_fold *fold, const struct seek_group *group, struct slice key,
                     uint64_t order);
void seek_fold_keep(struct seek_fold *fold, struct seek_group *group, struct slice key, uint64_t order,
                    struct slice row);
/* What from has found as well; from is released by its owner, and of no other use. Faults: SCRIPT (of sums),
 * CANCELLED. */
int seek_fold_merge(struct seek_fold *fold, struct seek_fold *from, struct fault *fault);
/* Sorts what groups keep: the best first; QUANTILE: the one that was asked for is items[0], if any. Fault:
 * CANCELLED. */
int seek_fold_finish(struct seek_fold *fold, struct fault *fault);

#endif

/* views.h: the projections, their generations on disk, and who answers.
 *
 *   data/views/<context>.<projection>@<first 16 hex digits of the code hash>[.n]/      one generation
 *
 * A view has the generation that ANSWERS and perhaps the NEXT one: one that is being built from nothing in
 * partitions, or a complete one that catches up. It takes over, in one step, when it has reached the position
 * of the one that answers. Only a generation of the current code is fed; one of older code answers from where
 * it stands. The previous generation is kept, older ones are removed. Generations of a projection that is no
 * longer declared stay where they are: if it comes back, it goes on from there.
 *
 * Meta values of a generation (docs.h), each written together with the documents it speaks of:
 *   generation            {complete, deploy, log, number, partitions, reason}
 *   code                  the hash, hexadecimal
 *   inputs                [label, hash, …]: what the code hash is made of, so that a difference can be told
 * in words position              every event up to it is in the documents (complete generations)
 *   partition/<i>         the same for one partition while it is being built
 *   chain                 of the commit at that position; while partitions are built, at their end
 *   split                 where its partitions begin and all of them end (split.h)
 *   stopped/<tenant>      {deploy, error, position}: the event at which the projection stopped for this
 * tenant parked/<tenant>\0<key>  {deploy, error, position, skipped}
 *
 * Threads: views_* from any. The lock guards which generations there are and who holds them; what a
 * generation holds is its feeders'. */
#ifndef LORE_RUN_VIEWS_H
#define LORE_RUN_VIEWS_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "run/hub.h"
#include "run/outage.h"
#include "run/spill.h"
#include "run/split.h"
#include "store/docs.h"
#include "vm/domain.h"

struct hub;
struct view;
struct views;
struct projector;

enum { VIEWS_PARTITIONS_MAX = 512, VIEWS_REASON_SIZE = 256 };

struct generation {
    struct view *view;
    char *path;
    struct docs *docs;
    uint64_t number;
    uint64_t deploy; /* under which it was begun; 0: unknown */
    char code[2 * HASH_SIZE + 1];
    char reason[VIEWS_REASON_SIZE]; /* why it was built */
    bool wanted;                    /* of the current code: it is fed */
    uint32_t partition_count;       /* while it is being built */
    atomic_bool complete;
    atomic_bool retired; /* nobody new may hold it; feeders let it go */
    bool destroy;        /* its directory goes when nobody holds it */
    size_t holds;        /* leases and feeds; under the lock */
    atomic_ullong
        position; /* the checkpoint on disk; while it is being built, 0 or that of its only partition */
    atomic_ullong parked;
    atomic_bool stopped;
    struct outage_part outage;
    /* being built */
    atomic_ullong target; /* where all partitions stop */
    atomic_ullong reached[VIEWS_PARTITIONS_MAX];
    struct split_plan plan;   /* of several partitions */
    struct spill *spill;      /* what was put aside for them, once that is done */
    uint32_t partition_next;  /* the next to be folded; under the lock */
    uint32_t partitions_done; /* at the target and on disk, from the first on; under the lock */
    int64_t began_ns, said_ns;
    uint64_t began_position; /* sum over the partitions, or the checkpoint of one that catches up */
};

struct view {
    struct views *views;
    struct slice name, context; /* NUL-terminated */
    char code[2 * HASH_SIZE + 1];
    bool keyed;
    const struct domain_input *inputs;
    size_t input_count;
    const char *const *indexes;
    size_t index_count;
    int projection; /* index in every domain */
    struct generation *answering, *next;
    char *previous_path; /* the directory of the one before, or NULL */
    bool rebuild_whole;  /* the next build has one partition, see rebuild.c */
};

struct views {
    struct hub *hub;
    struct arena arena;
    char *folder;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* some position or generation changed */
    struct view *views;
    size_t count;
    struct projector **projectors;
    size_t projector_count;
    atomic_ullong wanted; /* the highest position that a reader waits for */
    atomic_bool stopping;
};

int views_open(struct hub *hub, size_t projectors, struct domain *domain, struct views **views,
               struct fault *fault);
/* Starts the projector threads; begins the rebuilds that are due. */
int views_start(struct views *views, struct fault *fault);
/* After an append. */
void views_look(struct views *views);
/* Somebody waits for this position: live views do not rest before they have it. */
void views_hurry(struct views *views, uint64_t position);
void views_stop(struct views *views);
void views_free(struct views *views);
size_t views_memory(const struct views *views); /* Lua memory of the projectors */
/* A folder and everything in it, for hubs in memory. */
void views_remove_folder(const char *path);
/* "context/name", or "name" where it is unique. NOT_FOUND with the nearest name. */
struct view *views_find(struct views *views, struct slice name, struct fault *fault);
void views_info(struct view *view, struct view_info *info);
/* Tells waiting threads and watchers. */
void views_moved(struct views *views);

/* --- generation.c --- */

/* Opens a directory of a generation. *generation NULL: it is no use (dirty, of another log, damaged) and why
 * says so. */
int generation_open(struct views *views, const char *path, bool read_only, struct generation **generation,
                    char why[VIEWS_REASON_SIZE], struct fault *fault);
/* A new, empty one beside the others. */
int generation_create(struct view *view, uint64_t number, uint32_t partitions, const char *reason,
                      struct generation **generation, struct fault *fault);
/* All partitions are at the same position: one checkpoint, complete. */
int generation_complete(struct generation *generation, uint64_t position, struct fault *fault);
/* Its number or partitions changed. */
int generation_store(struct generation *generation, struct fault *fault);
/* Together with a checkpoint: the chain of the log there. */
int generation_put_chain(const struct generation *generation, struct docs_write *write, uint64_t position,
                         struct fault *fault);
void generation_close(struct generation *generation);
/* Under the lock. The last one closes a retired generation. */
void generation_hold(struct generation *generation);
void generation_let_go(struct generation *generation);
void generation_retire(struct generation *generation, bool destroy);
/* Average position of its partitions, or its checkpoint. */
uint64_t generation_progress(const struct generation *generation);
/* Small numbers and texts in meta values. */
void generation_put_number(struct buf *out, uint64_t value);
uint64_t generation_number(struct slice bytes);
uint64_t generation_member(struct slice map, const char *name);

/* --- rebuild.c: who builds, catches up and answers --- */

/* At start: picks the generation that answers and the one that is wanted out of those found. */
int rebuild_choose(struct view *view, struct generation **found, size_t count, const char *why,
                   struct fault *fault);
/* Hands the feeds of what is to be fed to the projectors. */
void rebuild_feed(struct view *view);
/* Everything was put aside: partitions can be folded. */
void rebuild_was_split(struct generation *generation);
/* It is not worth being split, though it was to be. Fault: DISK; then it is still to be split. */
int rebuild_in_one_piece(struct generation *generation, struct fault *fault);
/* Whether all partitions before it are on disk: written in order of the keys, pages are filled to the brim.
 */
bool rebuild_is_turn(const struct generation *generation, uint32_t partition);
/* A partition is at its target, and that is on disk; the projector gets the next one. False: what had to be
 * written could not be, tell it again. */
bool rebuild_partition_done(struct generation *generation, struct projector *projector);
/* A complete generation's checkpoint moved: it takes over if its time has come. */
void rebuild_moved(struct generation *generation);
/* A partition met what only a build in one piece does right: begins again. -1: it could
 * not (DISK): tell it again. */
int rebuild_restart_whole(struct generation *generation, struct fault *fault);
/* A document is damaged: the generation is fed no more, another one is built. -1: it could
 * not be begun: tell it again. */
int rebuild_damaged(struct generation *generation);
int rebuild_by_hand(struct view *view, struct fault *fault);
/* A line for the operator now and then. */
void rebuild_say_progress(struct generation *generation);

#endif

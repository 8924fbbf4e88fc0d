/* views.h: the projections, their generations on disk, and who answers.
 *
 *   data/views/<context>.<projection>@<first 16 hex digits of the code hash>[.n]/      one generation
 *
 * A view has the generation that ANSWERS and perhaps the NEXT one: one that is being built from nothing in
 * partitions, or a complete one that catches up. It takes over, in one step, when it has reached the position
 * of the one that answers. The PREVIOUS one stays open beside them and is not fed: a deploy taken back needs
 * only what came since; older ones are removed. A PLANNED one was built by a plan, beside everything, and is
 * the next one of the deploy that follows. Generations of a projection that is no longer declared stay on
 * disk: if it comes back, it goes on from there.
 *
 * A generation is fed by a CREW, the projectors of one release. A deploy brings a new crew. What it goes on
 * with is handed over by the old one, which then has left it (rebuild_claim); the generations of old code
 * that answer until others take over, and builds that are under way, stay with the old crew. A crew that has
 * no generation left ends. A hub that starts with other code than it stopped with has no old crew: what
 * answers stands still then.
 *
 * Meta values of a generation (docs.h), each written together with the documents it speaks of:
 *   generation            {complete, deploy, log, number, partitions, reason}; number 0: it was planned and
 * never answered
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
struct crew;
struct release;
struct view;
struct views;
struct projector;

enum {
    VIEWS_PARTITIONS_MAX = 512,
    VIEWS_REASON_SIZE = 256,
    VIEWS_MAX = 4096 /* projections ever declared */
};

/* The projectors of one release. */
struct crew {
    struct views *views;
    struct release *release; /* held */
    struct projector **projectors;
    size_t count;
    size_t generations; /* that it feeds; under the views' lock */
    bool is_planning;   /* works when nobody else does */
    atomic_bool ended;  /* nothing is left to it: its projectors end */
    struct crew *older;
};

/* --- crew.c --- */

/* Makes them, with a Lua state each, and starts them: they have nothing to do yet. */
int crew_start(struct views *views, struct release *release, bool is_planning, struct crew **crew,
               struct fault *fault);
/* Under the views' lock: it feeds one generation less. One that is not current ends with its last. */
void crew_leave(struct crew *crew);
/* It is no longer the current one. Under the views' lock. */
void crew_retire(struct crew *crew);
/* It never becomes the current one, and feeds nothing: it ends. */
void crew_abandon(struct crew *crew);
void crew_free(struct crew *crew); /* joins them */

struct generation {
    struct view *view;
    struct views *views;
    struct generation *newer_open, *older_open; /* under open_lock */
    char *path;
    struct docs *docs;
    uint64_t number;
    uint64_t deploy; /* under which it was begun; 0: unknown */
    bool is_planned; /* it never answered: it has no number on disk yet */
    char code[2 * HASH_SIZE + 1];
    char reason[VIEWS_REASON_SIZE]; /* why it was built */
    uint32_t partition_count;       /* while it is being built */
    atomic_bool complete;
    atomic_bool retired;         /* nobody new may hold it; feeders let it go */
    bool destroy;                /* its directory goes when nobody holds it */
    size_t holds;                /* leases and feeds; under the lock */
    _Atomic(struct crew *) crew; /* that feeds it; NULL: nobody. Written under the lock */
    size_t feeds;                /* and adoptions on their way; under the lock */
    bool claimed;                /* its crew begins when the feeds there are have gone; under the lock */
    atomic_ullong
        position; /* the checkpoint on disk; while it is being built, 0 or that of its only partition */
    atomic_ullong parked;
    atomic_bool stopped;
    struct outage_part outage;
    /* being built */
    atomic_ullong target;  /* where all partitions stop */
    atomic_ullong held_at; /* of a planned one: it is complete and goes no further; 0: no bound */
    atomic_ullong reached[VIEWS_PARTITIONS_MAX];
    struct split_plan plan;   /* of several partitions */
    struct spill *spill;      /* what was put aside for them, once that is done */
    uint32_t partition_next;  /* the next to be folded; under the lock */
    uint32_t partitions_done; /* at the target and on disk, from the first on; under the lock */
    int64_t began_ns, said_ns, built_ns;
    uint64_t began_position; /* sum over the partitions, or the checkpoint of one that catches up */
};

/* What one release declares of a view. */
struct view_code {
    struct arena arena;
    char hash[2 * HASH_SIZE + 1];
    uint64_t deploy;
    bool keyed;
    const struct domain_input *inputs;
    size_t input_count;
    const char *const *indexes;
    size_t index_count;
};

struct view {
    struct views *views;
    size_t index;
    struct slice name, context; /* NUL-terminated */
    /* under the lock: */
    struct view_code *code;   /* NULL: the current release does not declare it, and it has no generation */
    struct view_code *coming; /* of a release that may become the current one */
    struct generation *answering, *next, *previous, *planned;
    bool rebuild_whole; /* the next build has one partition, see rebuild.c */
};

struct views {
    struct hub *hub;
    struct arena arena;
    char *folder;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* some position or generation changed */
    struct view **list;   /* VIEWS_MAX of them can be; under the lock, but what is there stays */
    atomic_size_t count;
    struct crew *crew;  /* the current one */
    struct crew *crews; /* all of them; under crews_lock */
    pthread_mutex_t crews_lock;
    struct generation *open; /* by `older_open`; under open_lock */
    pthread_mutex_t open_lock;
    size_t projector_count;
    atomic_ullong wanted; /* the highest position that a reader waits for */
    atomic_bool stopping;
};

int views_open(struct hub *hub, size_t projectors, struct release *release, struct views **views,
               struct fault *fault);
/* Starts the projectors of the first crew; begins the rebuilds that are due. */
int views_start(struct views *views, struct release *release, struct fault *fault);
/* Before a release becomes the current one: declares its projections beside those there are, and makes what
 * has to be built anew, so that the switch has nothing to do on the disk. Faults: DISK. By one thread at a
 * time. */
int views_prepare(struct views *views, const struct release *release, struct fault *fault);
/* From now on the views are those of crew's release, which was prepared. */
void views_switch(struct views *views, struct crew *crew);
/* Joins crews that have ended. By one thread at a time. */
void views_reap(struct views *views);
/* After an append. */
void views_look(struct views *views);
/* Somebody waits for this position: live views do not rest before they have it. */
void views_hurry(struct views *views, uint64_t position);
void views_stop(struct views *views);
void views_free(struct views *views);
size_t views_memory(struct views *views); /* Lua memory of the projectors */
/* A folder and everything in it, for hubs in memory. */
void views_remove_folder(const char *path);
/* "context/name", or "name" where it is unique. NOT_FOUND with the nearest name. */
struct view *views_find(struct views *views, struct slice name, struct fault *fault);
/* False: it is no longer declared. */
bool views_info(struct view *view, struct view_info *info);
/* Tells waiting threads and watchers. */
void views_moved(struct views *views);

/* --- generation.c --- */

/* Opens a directory of a generation. *generation NULL: it is no use (dirty, of another log, damaged) and why
 * says so. */
int generation_open(struct views *views, const char *path, bool read_only, struct generation **generation,
                    char why[VIEWS_REASON_SIZE], struct fault *fault);
/* A new, empty one beside the others. */
int generation_create(struct view *view, const struct view_code *code, uint64_t number, uint32_t partitions,
                      const char *reason, struct generation **generation, struct fault *fault);
/* All partitions are at the same position: one checkpoint, complete. */
int generation_complete(struct generation *generation, uint64_t position, struct fault *fault);
/* Whether this process has the directory open, perhaps only because somebody still holds what was dropped. */
bool generation_is_open(struct views *views, const char *path);
/* It never answers before it gets a number: a start does not take it for what answered. */
int generation_unnumber(struct generation *generation, struct fault *fault);
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

/* At start, and when a projection is declared again: picks the generation that answers and the one that is
 * next out of those found on disk. */
int rebuild_choose(struct view *view, const struct view_code *code, struct generation **found, size_t count,
                   const char *why, struct fault *fault);
/* Hands what is to be fed to the current crew. */
void rebuild_feed(struct view *view);
/* What the coming code needs and nobody has yet becomes the planned generation. Takes the lock by itself. */
int rebuild_prepare(struct view *view, struct fault *fault);
/* Under the lock. The view's code is the coming one since now; it was prepared. */
void rebuild_change(struct view *view);
/* Under the lock. It is no longer declared: its complete generations stay on disk. */
void rebuild_forget(struct view *view);
/* Under the lock. The crew feeds it (NULL: nobody), as soon as no other one does. */
void rebuild_claim(struct generation *generation, struct crew *crew);
/* A feed of it has ended: its hold goes. */
void rebuild_feed_ended(struct generation *generation);
/* Everything was put aside: partitions can be folded. */
void rebuild_was_split(struct generation *generation);
/* It is not worth being split, though it was to be. Fault: DISK; then it is still to be split. */
int rebuild_in_one_piece(struct generation *generation, struct fault *fault);
/* Whether all partitions before it are on disk: written in order of the keys, pages are filled to the brim.
 */
bool rebuild_is_turn(const struct generation *generation, uint32_t partition);
/* A partition is at its target, and that is on disk; the projector (its index in the crew) gets the next one.
 * False: what had to be written could not be, tell it again. */
bool rebuild_partition_done(struct generation *generation, size_t projector);
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

/* faultpoint.h: named places where the world outside may fail, so that a test can make it fail there.
 *
 *     int error = fault_point(POINT_LOG_FSYNC);       0 unless a test armed this very point
 *     if (error || fdatasync(fd) < 0) ...
 *
 * Armed by the environment: LORE_FAULTS="log.fsync@3=EIO,index.write=ENOSPC". A clause is
 * NAME[@N[+]][=ACTION]: the Nth passing (default 1) of the point, with + every one from it on, does ACTION
 * (default EIO): an errno's name, `short` (a read or write that moves fewer bytes than asked for), or `kill`
 * (SIGKILL to this process, then and there). A process with armed points says so at its start, says when a
 * clause fires for the first time, and at its orderly end how often each point was passed. Unarmed, a point
 * costs one load and a branch that is never taken.
 *
 * Each point stands in the table below and nowhere else, with a test that fires it. Threads: any; arm before
 * others start. */
#ifndef LORE_BASE_FAULTPOINT_H
#define LORE_BASE_FAULTPOINT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/fault.h"

/* X(identifier, name, what fails) */
#define FAULT_POINTS(X)                                                                                      \
    X(LOG_WRITE, "log.write", "writing a batch to the journal")                                              \
    X(LOG_FSYNC, "log.fsync", "making a batch durable")                                                      \
    X(LOG_GROW, "log.grow", "room on disk for the log or its journal")                                       \
    X(LOG_COMMIT, "log.commit", "moving a half of the journal into LMDB")                                    \
    X(LOG_READ, "log.read", "reading the journal at a start")                                                \
    X(VIEWS_WRITE, "views.write", "writing documents of a view with their checkpoint")                       \
    X(VIEWS_SYNC, "views.sync", "making views or snapshots durable at an orderly end")                       \
    X(VIEWS_GROW, "views.grow", "address space for views or snapshots")                                      \
    X(SNAPSHOTS_WRITE, "snapshots.write", "writing snapshots")                                               \
    X(VIEWS_SPILL, "views.spill", "putting events aside for a rebuild")                                      \
    X(VIEWS_SPILL_READ, "views.spill_read", "reading what was put aside")                                    \
    X(INDEX_WRITE, "index.write", "writing a run of the index")                                              \
    X(INDEX_READ, "index.read", "a look-up in the index on disk")                                            \
    X(INDEX_SYNC, "index.sync", "making the index durable at an orderly end")                                \
    X(INDEX_MARK, "index.mark", "writing the mark that says whether the index is whole")                     \
    X(SCRIPTS_READ, "scripts.read", "reading a file of the scripts folder")                                  \
    X(LUA_MEMORY, "lua.memory", "memory for a Lua state")                                                    \
    X(THREAD_START, "thread.start", "making a thread")                                                       \
    X(NET_LISTEN, "net.listen", "opening a socket to listen on")                                             \
    X(NET_ACCEPT, "net.accept", "taking a connection")                                                       \
    X(RECEPTOR_SENT, "receptor.sent", "a receptor's message was handed over")                                \
    X(RECEPTOR_DONE, "receptor.done", "all that a receptor sent for an event is durable")                    \
    X(RECEPTOR_CHECKPOINT, "receptor.checkpoint", "keeping the checkpoints of receptors")                    \
    X(SHAPES_WRITE, "shapes.write", "writing the counts of shapes")                                          \
    X(TIMERS_WRITE, "timers.write", "writing timers with their checkpoint")                                  \
    X(COURIER_DUE, "courier.due", "a timer is due, or a message is to go at once")                           \
    X(COURIER_SENT, "courier.sent", "the courier's message was handed over")                                 \
    X(COURIER_DONE, "courier.done", "the courier's message came to its outcome")                             \
    X(SERVICE_RUN, "service.run", "beginning a run of a service")                                            \
    X(SERVICE_COMMIT, "service.commit", "handing what a service did to the log")                             \
    X(TASK_RUN, "task.run", "beginning a run of a task")                                                     \
    X(TASK_COMMIT, "task.commit", "handing what a task did to the log")                                      \
    X(DEPLOY_PUT, "deploy.put", "keeping one of the values of a deploy")                                     \
    X(ARCHIVE_WRITE, "archive.write", "writing an archive or a backup")                                      \
    X(ARCHIVE_SYNC, "archive.sync", "making an archive durable")                                             \
    X(ROLLBACK_PLAN, "rollback.plan", "writing down that the log is about to be cut")                        \
    X(ROLLBACK_PLANNED, "rollback.planned", "it is written down, nothing else is done")                      \
    X(ROLLBACK_ARCHIVED, "rollback.archived", "what is to be cut is kept in a file")                         \
    X(ROLLBACK_CUT, "rollback.cut", "the transaction that cuts the log")                                     \
    X(ROLLBACK_DONE, "rollback.done", "the log is cut")                                                      \
    X(ROLLBACK_DERIVED, "rollback.derived", "removing a folder that was derived from what was cut")          \
    X(ROLLBACK_HEAD, "rollback.head", "the recorded end of the log is gone")                                 \
    X(ROLLBACK_END, "rollback.end", "all is as after the cut but for what was written down")                 \
    X(IMPORT_READ, "import.read", "reading the rows of an import")                                           \
    X(IMPORT_REJECTED, "import.rejected", "writing a refused row of an import")

enum fault_point_id {
#define FAULT_POINT_ID(id, name, what) POINT_##id,
    FAULT_POINTS(FAULT_POINT_ID)
#undef FAULT_POINT_ID
        FAULT_POINT_COUNT
};

enum { FAULT_POINT_SHORT = -1 };

extern atomic_bool fault_points_armed;

int fault_point_fire(enum fault_point_id point);

/* 0: go on; an errno: fail with it (errno is set too); FAULT_POINT_SHORT: move fewer bytes, or fail with
 * errno where there are none to move. */
static inline int fault_point(enum fault_point_id point)
{
    if (__builtin_expect(!atomic_load_explicit(&fault_points_armed, memory_order_relaxed), 1)) return 0;
    return fault_point_fire(point);
}

/* Arms the clauses of text, on top of what is armed; NULL or "" is none. Fault: USAGE, with the clause. */
int fault_points_arm(const char *text, struct fault *fault);
void fault_points_disarm(void);
/* How often the point was passed since the first arming: a test learns from a run that fires nothing
 * (LORE_FAULTS="none") how many passings there are to enumerate. */
unsigned long fault_point_passed(enum fault_point_id point);
const char *fault_point_name(enum fault_point_id point);
/* A diagnostic line for each point that was passed; none when unarmed. */
void fault_points_tell(void);

#endif

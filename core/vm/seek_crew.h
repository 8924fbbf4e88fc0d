/* seek_crew.h: several threads that run the free stages of a program (seek_program.h) over parts of a scan,
 * each in a Lua state of its own. Inside vm/ only.
 *
 *     if (seek_crew_start(&program, env, source, scan, from, &crew))
 *         while ((state = seek_crew_wait(crew, 10)) == SEEK_CREW_WORKS) …
 *     seek_crew_free(crew);
 *
 * The log is divided at multiples of CHUNK positions, whoever takes which; so what comes out is the same for
 * any number of threads. If all stages are free and there is an end, each thread folds what it takes, and the
 * folds are merged when all of it was taken. Else the rows of each chunk are given in order.
 *
 * A crew never has a word of its own: where a function fails, or does what only the session's may do
 * (seek_carry.h), it gives up, and the session's thread goes on alone from where the crew's last row was
 * taken.
 *
 * Threads: all of it by the session's. Owns: the threads, until seek_crew_free has joined them. */
#ifndef LORE_VM_SEEK_CREW_H
#define LORE_VM_SEEK_CREW_H

#include "vm/seek_program.h"

struct seek_crew;

enum seek_crew_state {
    SEEK_CREW_WORKS,
    SEEK_CREW_ROWS, /* seek_crew_take gives rows */
    SEEK_CREW_DONE, /* all of it */
    SEEK_CREW_GAVE_UP
};

/* env: stack index of the session's globals. False: one thread must do it (or there is but one processor, or
 * too little to do). May raise; *crew is the caller's from the beginning. */
bool seek_crew_start(struct seek_program *program, int env, const struct seek_source *source,
                     struct seek_scan *scan, uint64_t from, struct seek_crew **crew);
/* At most so long. */
enum seek_crew_state seek_crew_wait(struct seek_crew *crew, int timeout_ms);
/* Runs the rows of the chunk that is next through the program's further stages; raises what they raise. */
void seek_crew_take(struct seek_crew *crew);
/* DONE: adds what the threads have folded, if they did, to the program's fold. */
int seek_crew_merge(struct seek_crew *crew, struct fault *fault);
/* Events that were looked at by now. */
uint64_t seek_crew_progress(struct seek_crew *crew);
/* Position of the first event that was neither folded nor given. */
uint64_t seek_crew_position(const struct seek_crew *crew);
/* Ends the threads, within some milliseconds. NULL: nothing. */
void seek_crew_free(struct seek_crew *crew);

#endif

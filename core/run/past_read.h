/* past_read.h: the events that a document of the past is folded from, in the order of the log.
 *
 * Those of one key, where keys are ids: the streams of that id in the contexts whose events the projection
 * takes, found through the stream index and merged by position. Else the whole log is scanned, by envelopes;
 * a payload is touched only if the projection has a handler for it.
 *
 * A time (moment.h) cuts each stream at its first event that happened later; a scan remembers which streams
 * are cut.
 *
 *     struct past_read *read = past_read_new(&from);
 *     past_read_seek(read, position, fault);                     behind this position
 *     while ((more = past_read_next(read, &event, fault)) == 1) ...
 *     past_read_free(read);
 *
 * Threads: one. Owns: cursors; none is open longer than some 50 ms of a scan. */
#ifndef LORE_RUN_PAST_READ_H
#define LORE_RUN_PAST_READ_H

#include "run/moment.h"
#include "vm/domain.h"

struct past_read;

struct past_read_from { /* all borrowed for the reader's life */
    struct engine *engine;
    const struct domain_projection *projection;
    struct slice tenant;
    struct slice id; /* empty: scan */
    struct moment_bound bound;
};

struct past_event {
    struct envelope envelope;
    struct slice data;
    int *handler; /* of its type, -1 at first: kept by the reader, filled in by who folds */
};

struct past_read *past_read_new(const struct past_read_from *from);
void past_read_free(struct past_read *read);
int past_read_seek(struct past_read *read, uint64_t position, struct fault *fault);
/* The next event that the projection has a handler for: 1; 0: the end; 2: so far there was none, and somebody
 * may want to look at the clock; -1: DISK, CORRUPT, TOO_LARGE (too many streams are cut). *event is borrowed
 * until the next call. */
int past_read_next(struct past_read *read, struct past_event *event, struct fault *fault);
/* The position up to which it has looked. */
uint64_t past_read_position(const struct past_read *read);

#endif

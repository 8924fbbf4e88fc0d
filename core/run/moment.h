/* moment.h: the texts that name a moment of a log, and what they mean: everywhere the same.
 *
 *     2026-02-01T08:26:00Z   a TIME
 *     812                    a position: the event there is the last one that had happened
 *     deploy:41              the head of the log when deploy 41 was made: before its first event
 *
 * A TIME means two things. For a whole hub it is when events were recorded, which never goes back in the
 * log, so a moment is a position (moment_position). For one stream or document it is when they happened,
 * which an import sets as it likes: each stream up to its first event that happened later (moment_bound). A
 * time in the future is now, since nothing that is known is later; a position or deploy that is not there yet
 * is NOT_FOUND.
 *
 *     struct moment moment;
 *     if (moment_parse(slice_of("deploy:41"), &moment, &fault) < 0) ...
 *     if (moment_position(engine, &moment, &position, &fault) < 0) ...
 *
 * Threads: any. Owns: nothing. */
#ifndef LORE_RUN_MOMENT_H
#define LORE_RUN_MOMENT_H

#include "store/engine.h"

enum moment_kind { MOMENT_TIME, MOMENT_POSITION, MOMENT_DEPLOY };

struct moment {
    enum moment_kind kind;
    int64_t ms;      /* TIME */
    uint64_t number; /* POSITION, DEPLOY */
};

struct moment_bound { /* of the events of a stream or document */
    uint64_t position;
    int64_t at_ms;
};

/* Fault: MALFORMED, naming the three forms. */
int moment_parse(struct slice text, struct moment *moment, struct fault *fault);
/* Of the last event that was in the log; 0: there was none. A TIME takes some twenty look-ups. Faults:
 * NOT_FOUND, CORRUPT. */
int moment_position(struct engine *engine, const struct moment *moment, uint64_t *position,
                    struct fault *fault);
/* A TIME is not looked up: its position is UINT64_MAX. The at_ms of the others is INT64_MAX. */
int moment_bound(struct engine *engine, const struct moment *moment, struct moment_bound *bound,
                 struct fault *fault);

#endif

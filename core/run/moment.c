#include "run/moment.h"

#include "codec/time.h"
#include "run/deploys.h"

enum { MOMENT_DIGITS_MAX = 18 };

static bool moment_number(struct slice text, uint64_t *number)
{
    uint64_t value = 0;
    if (text.size == 0 || text.size > MOMENT_DIGITS_MAX) return false;
    for (size_t at = 0; at < text.size; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') return false;
        value = value * 10 + (uint64_t)(text.data[at] - '0');
    }
    *number = value;
    return true;
}

int moment_parse(struct slice text, struct moment *moment, struct fault *fault)
{
    *moment = (struct moment){.kind = MOMENT_POSITION};
    if (moment_number(text, &moment->number)) return 0;
    moment->kind = MOMENT_DEPLOY;
    if (slice_starts(text, "deploy:") &&
        moment_number(slice_make(text.data + 7, text.size - 7), &moment->number))
        return 0;
    moment->kind = MOMENT_TIME;
    if (time_parse(text, &moment->ms)) return 0;
    return fault_set(fault, FAULT_MALFORMED,
                     "%.*s is no moment: expected a time like 2026-02-01T08:26:00Z, a position or deploy:N",
                     text.size < 80 ? (int)text.size : 80, text.data ? text.data : "");
}

/* Whether the commit that holds the position was recorded by then. -1: fault. */
static int moment_was_recorded(struct engine *engine, uint64_t position, int64_t ms, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read(engine, position, &cursor, fault) < 0) return -1;
    int found = engine_cursor_next(cursor, &record, fault);
    if (found == 1) found = record.recorded_ms <= ms;
    engine_cursor_close(cursor);
    return found;
}

static int moment_of_time(struct engine *engine, int64_t ms, uint64_t *position, struct fault *fault)
{
    struct engine_head head = engine_head(engine);
    uint64_t below = 0, above = head.position; /* below is recorded by then, what is behind above is not */
    while (below < above) {
        uint64_t middle = below + (above - below + 1) / 2;
        int recorded = moment_was_recorded(engine, middle, ms, fault);
        if (recorded < 0) return -1;
        if (recorded)
            below = middle;
        else
            above = middle - 1;
    }
    *position = below;
    return 0;
}

static int moment_of_deploy(struct engine *engine, uint64_t number, uint64_t *position, struct fault *fault)
{
    struct deploys_now now;
    struct deploy_record record;
    struct arena arena = {0};
    if (deploys_now(engine, &now, fault) < 0) return -1;
    if (number == 0 || number > now.last)
        return fault_set(fault, FAULT_NOT_FOUND, "no deploy %llu, the newest is %llu",
                         (unsigned long long)number, (unsigned long long)now.last);
    int done = deploys_load(engine, number, &arena, &record, fault);
    /* It may have been made behind what a rollback has cut since. */
    uint64_t head = engine_head(engine).position;
    if (done == 0) *position = record.position < head ? record.position : head;
    arena_release(&arena);
    return done;
}

int moment_position(struct engine *engine, const struct moment *moment, uint64_t *position,
                    struct fault *fault)
{
    if (moment->kind == MOMENT_TIME) return moment_of_time(engine, moment->ms, position, fault);
    if (moment->kind == MOMENT_DEPLOY) return moment_of_deploy(engine, moment->number, position, fault);
    uint64_t head = engine_head(engine).position;
    *position = moment->number;
    if (moment->number <= head) return 0;
    return fault_set(fault, FAULT_NOT_FOUND, "position %llu is beyond the head of the log, which is %llu",
                     (unsigned long long)moment->number, (unsigned long long)head);
}

int moment_bound(struct engine *engine, const struct moment *moment, struct moment_bound *bound,
                 struct fault *fault)
{
    *bound = (struct moment_bound){UINT64_MAX, INT64_MAX};
    if (moment->kind != MOMENT_TIME) return moment_position(engine, moment, &bound->position, fault);
    bound->at_ms = moment->ms;
    return 0;
}

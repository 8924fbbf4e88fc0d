/* Where a log would be cut: see cut.h. Everything that stays was written before everything that goes, so what
 * stays is a log by itself: its chains, and its names, which are numbered in the order in which records
 * define them. */
#include "base/check.h"
#include "store/cut.h"

/* --- single records --- */

/* 1: the commit that holds the position, or the first behind it; 0: none. The record is of use while the
 * cursor is open. */
static int open_at(struct engine *engine, bool outcomes, uint64_t number, struct engine_cursor **cursor,
                   struct record *record, struct fault *fault)
{
    int opened = outcomes ? engine_read_outcomes(engine, number, cursor, fault)
                          : engine_read(engine, number, cursor, fault);
    if (opened < 0) return -1;
    int found = engine_cursor_next(*cursor, record, fault);
    if (found <= 0) engine_cursor_close(*cursor);
    return found;
}

/* The first commit position (outcome number) in [1, end] that was recorded at or after ms; end + 1: none. */
static int find_recorded(struct engine *engine, bool outcomes, uint64_t end, int64_t ms, uint64_t *number,
                         struct fault *fault)
{
    uint64_t low = 1, high = end + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        struct engine_cursor *cursor;
        struct record record;
        int found = open_at(engine, outcomes, middle, &cursor, &record, fault);
        if (found <= 0)
            return found < 0 ? -1 : fault_set(fault, FAULT_CORRUPT, "the log ends before its head");
        /* A commit holds several positions: all of them count as its first. */
        if (record.recorded_ms >= ms)
            high = outcomes ? middle : record.first_position < low ? low : record.first_position;
        else
            low = outcomes ? middle + 1 : record.first_position + record.event_count;
        engine_cursor_close(cursor);
    }
    *number = low;
    return 0;
}

int cut_position_at(struct engine *engine, int64_t ms, uint64_t *position, struct fault *fault)
{
    return find_recorded(engine, false, engine_head(engine).position, ms, position, fault);
}

/* Chain and time of the record that ends at the number. */
static int read_link(struct engine *engine, bool outcomes, uint64_t number, struct hash *chain, int64_t *ms,
                     struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    if (number == 0) return 0;
    int found = open_at(engine, outcomes, number, &cursor, &record, fault);
    if (found <= 0) return found < 0 ? -1 : fault_set(fault, FAULT_CORRUPT, "the log ends before its head");
    *chain = record.chain;
    if (record.recorded_ms > *ms) *ms = record.recorded_ms;
    engine_cursor_close(cursor);
    return 0;
}

/* --- names --- */

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* The highest number of a name that the record uses. */
static uint32_t names_used(const struct record *record)
{
    uint32_t used = larger(larger(record->tenant, record->aggregate), record->actor);
    struct record_event event = {0};
    struct record_command command = {0};
    while (record_next_event(record, &event)) used = larger(used, event.type);
    while (record_next_command(record, &command)) used = larger(used, command.type);
    return used;
}

/* The first name that the record defines; UINT32_MAX: none. */
static uint32_t names_first(const struct record *record)
{
    struct record_define define = {0};
    return record_next_define(record, &define) ? define.id : UINT32_MAX;
}

/* --- the tail --- */

struct tail {
    uint64_t commits;    /* in it */
    int64_t recorded_ms; /* of its first commit; INT64_MAX: it has none */
    uint32_t first_name; /* that it defines */
};

static int walk_commits(struct engine *engine, uint64_t from, uint64_t end, struct tail *tail,
                        struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    if (from > end) return 0;
    if (engine_read(engine, from, &cursor, fault) < 0) return -1;
    int found;
    while ((found = engine_cursor_next(cursor, &record, fault)) > 0) {
        if (tail->commits++ == 0) tail->recorded_ms = record.recorded_ms;
        uint32_t name = names_first(&record);
        if (name < tail->first_name) tail->first_name = name;
        if (record.first_position + record.event_count > end) break;
    }
    engine_cursor_close(cursor);
    return found < 0 ? -1 : 0;
}

/* The highest name that commits use which stay and were recorded in the tail's first millisecond or later. */
static int names_of_edge(struct engine *engine, uint64_t end, int64_t ms, uint32_t *used, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    uint64_t from;
    *used = 0;
    if (find_recorded(engine, false, end, ms, &from, fault) < 0) return -1;
    if (from > end) return 0;
    if (engine_read(engine, from, &cursor, fault) < 0) return -1;
    int found;
    while ((found = engine_cursor_next(cursor, &record, fault)) > 0 && record.first_position <= end)
        *used = larger(*used, names_used(&record));
    engine_cursor_close(cursor);
    return found < 0 ? -1 : 0;
}

/* How many outcomes stay. */
static int find_outcomes(struct engine *engine, const struct engine_head *head, struct cut *cut,
                         struct tail *tail, int64_t recorded_ms, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    uint64_t first;
    uint32_t used = 0;
    int64_t from_ms = tail->recorded_ms;
    if (recorded_ms < INT64_MAX && recorded_ms + 1 < from_ms) from_ms = recorded_ms + 1;
    if (from_ms == INT64_MAX) {
        cut->before.outcomes = head->outcomes;
        return 0;
    }
    if (find_recorded(engine, true, head->outcomes, from_ms, &first, fault) < 0) return -1;
    cut->before.outcomes = first - 1;
    if (cut->before.position == 0) cut->before.outcomes = 0;
    if (cut->before.outcomes == head->outcomes) return 0;
    if (cut->before.position && from_ms == tail->recorded_ms &&
        names_of_edge(engine, cut->before.position, from_ms, &used, fault) < 0)
        return -1;
    if (engine_read_outcomes(engine, cut->before.outcomes + 1, &cursor, fault) < 0) return -1;
    int found;
    for (uint64_t number = cut->before.outcomes + 1; (found = engine_cursor_next(cursor, &record, fault)) > 0;
         number++) {
        uint32_t name = names_first(&record);
        if (name <= used) cut->before.outcomes = number;
        if (number > cut->before.outcomes && name < tail->first_name) tail->first_name = name;
    }
    engine_cursor_close(cursor);
    return found < 0 ? -1 : 0;
}

/* The end of the commit that ends at the position, or of the one before that which holds it. */
static int find_end(struct engine *engine, uint64_t position, uint64_t *end, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    *end = position;
    if (position == 0) return 0;
    int found = open_at(engine, false, position, &cursor, &record, fault);
    if (found <= 0) return found < 0 ? -1 : fault_set(fault, FAULT_CORRUPT, "the log ends before its head");
    if (record.first_position + record.event_count - 1 != position) *end = record.first_position - 1;
    engine_cursor_close(cursor);
    return 0;
}

int cut_find(struct engine *engine, uint64_t position, int64_t recorded_ms, struct cut *cut,
             struct fault *fault)
{
    struct engine_head head = engine_head(engine);
    struct tail tail = {.recorded_ms = INT64_MAX, .first_name = UINT32_MAX};
    struct archive_point *before = &cut->before;
    if (position > head.position)
        return fault_set(fault, FAULT_NOT_FOUND, "the log ends at position %llu, before %llu",
                         (unsigned long long)head.position, (unsigned long long)position);
    *cut = (struct cut){.epoch = head.epoch, .after = archive_point_of(&head)};
    memcpy(cut->log_id, head.log_id, sizeof cut->log_id);
    if (find_end(engine, position, &before->position, fault) < 0 ||
        walk_commits(engine, before->position + 1, head.position, &tail, fault) < 0 ||
        find_outcomes(engine, &head, cut, &tail, recorded_ms, fault) < 0)
        return -1;
    before->commits = head.commits - tail.commits;
    cut->names = names_count(engine_names(engine));
    if (tail.first_name != UINT32_MAX) cut->names = tail.first_name - 1;
    if (read_link(engine, false, before->position, &before->chain, &before->recorded_ms, fault) < 0 ||
        read_link(engine, true, before->outcomes, &before->outcome_chain, &before->recorded_ms, fault) < 0)
        return -1;
    return 0;
}

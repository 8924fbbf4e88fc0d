#include "run/rollback.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "run/moment.h"
#include "run/rollback_inside.h"

int rollback_find(struct engine *engine, struct slice to, struct cut *cut, struct fault *fault)
{
    struct moment moment;
    uint64_t position;
    if (moment_parse(to, &moment, fault) < 0 || moment_position(engine, &moment, &position, fault) < 0)
        return -1;
    return cut_find(engine, position, moment.kind == MOMENT_TIME ? moment.ms : INT64_MAX, cut, fault);
}

bool rollback_is_nothing(const struct cut *cut)
{
    return cut->before.position == cut->after.position && cut->before.outcomes == cut->after.outcomes;
}

/* "<log>:<epoch>:<position>" of this log: the position; else 0. */
static uint64_t cause_position(struct slice id, const char *log_id)
{
    char text[128];
    unsigned long long epoch, position;
    int used = 0;
    size_t size = strlen(log_id);
    if (id.size >= sizeof text || id.size <= size || memcmp(id.data, log_id, size) != 0) return 0;
    snprintf(text, sizeof text, "%.*s", (int)(id.size - size), id.data + size);
    if (sscanf(text, ":%20llu:%20llu%n", &epoch, &position, &used) != 2 || text[used]) return 0;
    return position;
}

bool rollback_from_outside(const struct record *record, const char *log_id, struct arena *arena)
{
    struct record_command command = {0};
    struct record_ids ids;
    if (record->kind == RECORD_ERASED || record->depth > 0) return false;
    if (record_next_command(record, &command)) {
        struct slice type = names_get(record->names, command.type);
        if (type.size && type.data[0] == '$') return false; /* $RunTask, $Send */
    }
    if (!record->actor) return true;
    record_read_ids(record, arena, &ids);
    return cause_position(ids.causation_id, log_id) == 0;
}

/* --- who sent what is cut --- */

/* Whether the event at the position is one of the sender's own: a message that waited there for its time,
 * which the courier finds again by itself. */
static int is_own_event(struct causes *causes, uint64_t position, struct slice sender, struct fault *fault)
{
    struct engine_cursor *cursor;
    struct record record;
    if (engine_read(causes->engine, position, &cursor, fault) < 0) return -1;
    int found = engine_cursor_next(cursor, &record, fault);
    if (found > 0) found = slice_equal(names_get(record.names, record.aggregate), sender);
    engine_cursor_close(cursor);
    return found;
}

static int add_cause(struct causes *causes, const struct record *record, struct fault *fault)
{
    struct record_ids ids;
    if (!record->actor) return 0;
    record_read_ids(record, &causes->arena, &ids);
    uint64_t position = cause_position(ids.causation_id, causes->cut->log_id);
    struct slice sender = names_get(record->names, record->actor);
    if (position == 0 || position > causes->cut->before.position) return 0;
    struct cause *cause = map_find(&causes->senders, sender);
    if (cause && cause->position <= position) return 0;
    int own = is_own_event(causes, position, sender, fault);
    if (own) return own < 0 ? -1 : 0;
    if (!cause) {
        cause = arena_zero(&causes->arena, sizeof *cause);
        map_put(&causes->senders, sender, cause); /* a name lives as long as the engine */
    }
    cause->position = position;
    return 0;
}

static int find_causes(struct causes *causes, bool outcomes, struct fault *fault)
{
    const struct archive_point *before = &causes->cut->before;
    struct engine_cursor *cursor;
    struct record record;
    int opened = outcomes ? engine_read_outcomes(causes->engine, before->outcomes + 1, &cursor, fault)
                          : engine_read(causes->engine, before->position + 1, &cursor, fault);
    if (opened < 0) return -1;
    int found;
    while ((found = engine_cursor_next(cursor, &record, fault)) > 0)
        if (add_cause(causes, &record, fault) < 0) found = -1;
    engine_cursor_close(cursor);
    return found < 0 ? -1 : 0;
}

int rollback_receptors(struct engine *engine, const struct cut *cut, struct buf *value, struct fault *fault)
{
    struct causes causes = {.engine = engine, .cut = cut};
    struct buf before = {0};
    int done = find_causes(&causes, false, fault);
    if (done == 0) done = find_causes(&causes, true, fault);
    if (done == 0) done = engine_meta_get(engine, slice_of("receptors"), &before, fault);
    if (done > 0) done = receptor_meta_cut(&causes, buf_slice(&before), value, fault);
    buf_release(&before);
    map_release(&causes.senders);
    arena_release(&causes.arena);
    return done;
}

int rollback_run(struct engine *engine, const struct cut *cut, struct fault *fault)
{
    struct buf receptors = {0};
    int done = rollback_receptors(engine, cut, &receptors, fault);
    struct cut_value value = {slice_of("receptors"), buf_slice(&receptors)};
    struct cut_options options = {.values = &value, .value_count = receptors.size > 0};
    if (done == 0) done = cut_run(engine, cut, &options, fault);
    buf_release(&receptors);
    return done;
}

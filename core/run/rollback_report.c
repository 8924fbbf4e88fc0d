/* What a rollback would cut, counted. */
#include <stdio.h>
#include <stdlib.h>

#include "codec/json.h"
#include "codec/time.h"
#include "run/rollback_inside.h"

struct tally_entry {
    struct slice name;
    uint64_t count;
};

struct tally {
    struct map by_name;
    struct tally_entry **list;
    size_t count, max;
};

struct report {
    struct engine *engine;
    const struct cut *cut;
    struct arena arena;
    struct tally events, commands, refused, deploys;
    uint64_t command_count, refused_count, facts;
    int64_t first_ms, last_ms;
};

static void tally_add(struct report *report, struct tally *tally, struct slice name)
{
    struct tally_entry *entry = map_find(&tally->by_name, name);
    if (!entry) {
        entry = arena_zero(&report->arena, sizeof *entry);
        entry->name = arena_copy(&report->arena, name);
        map_put(&tally->by_name, entry->name, entry);
        if (tally->count == tally->max) {
            struct tally_entry **list =
                arena_take(&report->arena, (tally->max = tally->max ? tally->max * 2 : 16) * sizeof *list);
            if (tally->count) memcpy(list, tally->list, tally->count * sizeof *list);
            tally->list = list;
        }
        tally->list[tally->count++] = entry;
    }
    entry->count++;
}

static int compare(const void *a, const void *b)
{
    return slice_compare((*(struct tally_entry *const *)a)->name, (*(struct tally_entry *const *)b)->name);
}

/* {"billing.BillClosed":3,…} */
static void put_tally(struct buf *json, const char *name, struct tally *tally)
{
    if (tally->count) qsort(tally->list, tally->count, sizeof *tally->list, compare);
    json_put_name(json, name);
    buf_put_byte(json, '{');
    for (size_t at = 0; at < tally->count; at++) {
        if (at) buf_put_byte(json, ',');
        json_put_text(json, tally->list[at]->name);
        buf_format(json, ":%llu", (unsigned long long)tally->list[at]->count);
    }
    buf_put_byte(json, '}');
}

/* "billing.BillClosed" of the aggregate "billing/bill". */
static struct slice full_name(const struct record *record, uint32_t type, char text[256])
{
    struct slice aggregate = names_get(record->names, record->aggregate),
                 name = names_get(record->names, type);
    const char *slash = memchr(aggregate.data, '/', aggregate.size);
    int size = snprintf(text, 256, "%.*s.%.*s", (int)(slash ? slash - aggregate.data : 0), aggregate.data,
                        SLICE_ARGS(name));
    return slice_make(text, size < 256 ? (size_t)size : 255);
}

static void count_record(struct report *report, const struct record *record)
{
    char text[256];
    struct record_event event = {0};
    struct record_command command = {0};
    while (record_next_event(record, &event))
        tally_add(report, &report->events, full_name(record, event.type, text));
    if (record->kind == RECORD_FACT) report->facts++;
    while (record->kind != RECORD_FACT && record_next_command(record, &command)) {
        report->command_count++;
        tally_add(report, record->kind == RECORD_REJECTED ? &report->refused : &report->commands,
                  full_name(record, command.type, text));
    }
    if (record->kind == RECORD_REJECTED) report->refused_count++;
    int size = snprintf(text, sizeof text, "%llu", (unsigned long long)record->deploy);
    tally_add(report, &report->deploys, slice_make(text, (size_t)size));
    if (record->recorded_ms < report->first_ms) report->first_ms = record->recorded_ms;
    if (record->recorded_ms > report->last_ms) report->last_ms = record->recorded_ms;
}

static int count_records(struct report *report, bool outcomes, struct fault *fault)
{
    const struct cut *cut = report->cut;
    struct engine_cursor *cursor;
    struct record record;
    int opened = outcomes ? engine_read_outcomes(report->engine, cut->before.outcomes + 1, &cursor, fault)
                          : engine_read(report->engine, cut->before.position + 1, &cursor, fault);
    if (opened < 0) return -1;
    int found = 1;
    uint64_t number = outcomes ? cut->before.outcomes : cut->before.position;
    uint64_t end = outcomes ? cut->after.outcomes : cut->after.position;
    while (number < end && (found = engine_cursor_next(cursor, &record, fault)) > 0) {
        number += outcomes ? 1 : record.event_count;
        count_record(report, &record);
    }
    engine_cursor_close(cursor);
    return found < 0 ? -1 : 0;
}

static void put_time(struct buf *json, const char *name, int64_t ms)
{
    char text[TIME_TEXT_SIZE + 1];
    if (!time_valid(ms)) return;
    time_format(ms, text);
    json_put_text_member(json, name, slice_of(text));
}

int rollback_report(struct engine *engine, const struct cut *cut, struct buf *json, struct fault *fault)
{
    struct report report = {.engine = engine, .cut = cut, .first_ms = INT64_MAX, .last_ms = INT64_MIN};
    char archive[128];
    int done = count_records(&report, false, fault);
    if (done == 0) done = count_records(&report, true, fault);
    if (done == 0) {
        cut_archive_name(cut, archive);
        buf_put_byte(json, '{');
        json_put_int_member(json, "position", (int64_t)cut->before.position);
        json_put_int_member(json, "head", (int64_t)cut->after.position);
        json_put_int_member(json, "epoch", (int64_t)cut->epoch + !rollback_is_nothing(cut));
        json_put_int_member(json, "events", (int64_t)(cut->after.position - cut->before.position));
        json_put_int_member(json, "commits", (int64_t)(cut->after.commits - cut->before.commits));
        json_put_int_member(json, "outcomes", (int64_t)(cut->after.outcomes - cut->before.outcomes));
        json_put_int_member(json, "facts", (int64_t)report.facts);
        json_put_int_member(json, "commands", (int64_t)report.command_count);
        json_put_int_member(json, "refused", (int64_t)report.refused_count);
        put_tally(json, "event_types", &report.events);
        put_tally(json, "command_types", &report.commands);
        put_tally(json, "refused_types", &report.refused);
        put_tally(json, "deploys", &report.deploys);
        put_time(json, "first", report.first_ms);
        put_time(json, "last", report.last_ms);
        if (!rollback_is_nothing(cut)) json_put_text_member(json, "archive", slice_of(archive));
        buf_put_byte(json, '}');
    }
    map_release(&report.events.by_name);
    map_release(&report.commands.by_name);
    map_release(&report.refused.by_name);
    map_release(&report.deploys.by_name);
    arena_release(&report.arena);
    return done;
}

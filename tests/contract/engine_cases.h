/* engine_cases.h: making commits and looking at engines, for the tests of the store. */
#ifndef TESTS_CONTRACT_ENGINE_CASES_H
#define TESTS_CONTRACT_ENGINE_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/limit.h"
#include "codec/mp.h"
#include "store/engine.h"

/* A clock that a test moves. */
struct case_clock {
    struct clock clock;
    int64_t now_ms;
};

static int64_t case_clock_now(struct clock *clock)
{
    return ((struct case_clock *)clock)->now_ms;
}

static inline struct case_clock case_clock_of(int64_t now_ms)
{
    return (struct case_clock){{case_clock_now}, now_ms};
}

static inline struct slice case_data(struct arena *arena, int64_t number, size_t padding)
{
    struct buf out = {0};
    char *text = arena_zero(arena, padding + 1);
    memset(text, 'x', padding);
    mp_put_map(&out, 2);
    mp_put_text(&out, slice_of("n"));
    mp_put_int(&out, number);
    mp_put_text(&out, slice_of("p"));
    mp_put_text(&out, slice_make(text, padding));
    struct slice copy = arena_copy(arena, buf_slice(&out));
    buf_release(&out);
    return copy;
}

static inline struct stream_id case_stream(const char *tenant, const char *id)
{
    return (struct stream_id){slice_of(tenant), slice_of("billing/bill"), slice_of(id)};
}

/* A commit of `events` events, decided on `version`, by one command with this id (NULL: none given). */
static inline struct commit *case_commit(struct arena *arena, struct stream_id stream, uint64_t version,
                                         size_t events, const char *command_id)
{
    struct commit *commit = arena_zero(arena, sizeof *commit);
    struct commit_command *command = arena_zero(arena, sizeof *command);
    struct commit_event *list = arena_zero(arena, (events + 1) * sizeof *list);
    *command = (struct commit_command){slice_of("AddLine"), slice_of(command_id ? command_id : "drawn"),
                                       case_data(arena, (int64_t)version, 3)};
    for (size_t at = 0; at < events; at++)
        list[at] = (struct commit_event){slice_of(at % 2 ? "LineAdded" : "BillTouched"), 1,
                                         1000 + (int64_t)at, case_data(arena, (int64_t)(version + at), 20)};
    *commit = (struct commit){.kind = events ? RECORD_COMMIT : RECORD_ACCEPTED,
                              .tenant = stream.tenant,
                              .aggregate = stream.aggregate,
                              .id = stream.id,
                              .first_version = events ? version + 1 : version,
                              .actor = slice_of("ann"),
                              .id_given = command_id != NULL,
                              .commands = command,
                              .command_count = 1,
                              .events = list,
                              .event_count = events};
    return commit;
}

static inline struct commit *case_rejection(struct arena *arena, struct stream_id stream, uint64_t version,
                                            const char *command_id)
{
    struct commit *commit = case_commit(arena, stream, version, 0, command_id);
    commit->kind = RECORD_REJECTED;
    commit->reason = slice_of("closed");
    commit->message = slice_of("the bill is closed");
    return commit;
}

static inline struct append case_append(struct engine *engine, struct commit *commit)
{
    struct append append = {.commit = commit};
    struct fault fault = {0};
    int result = engine_append(engine, &append, 1, &fault);
    if (result < 0) fail_msg("append: %s", fault.text);
    return append;
}

static inline uint64_t case_version(struct engine *engine, struct stream_id stream, uint64_t *position)
{
    uint64_t version, at;
    struct fault fault = {0};
    if (engine_stream_head(engine, &stream, &version, &at, &fault) < 0)
        fail_msg("stream_head: %s", fault.text);
    if (position) *position = at;
    return version;
}

static inline int case_find(struct engine *engine, struct stream_id stream, const char *command_id,
                            struct record *record, struct buf *bytes)
{
    struct fault fault = {0};
    int found = engine_find_command(engine, &stream, slice_of(command_id), bytes, record, &fault);
    if (found < 0) fail_msg("find_command: %s", fault.text);
    return found;
}

/* Digest of everything a reader can see: the log, the outcomes, and for every stream met, its head and its
 * records; the ids given, looked up. Checks gapless positions and versions on the way. */
struct case_dump {
    struct hash digest;
    uint64_t commits, outcomes, events;
};

/* -1 with the fault if something cannot be read. */
static inline int case_dump(struct engine *engine, struct case_dump *dump, struct fault *fault)
{
    struct buf all = {0}, bytes = {0};
    struct engine_cursor *cursor = NULL;
    struct record record, found;
    uint64_t position = 1;
    int more = engine_read(engine, 1, &cursor, fault);
    *dump = (struct case_dump){0};
    for (int outcomes = 0; outcomes < 2 && more >= 0; outcomes++) {
        if (outcomes) more = engine_read_outcomes(engine, 1, &cursor, fault);
        while (more >= 0 && (more = engine_cursor_next(cursor, &record, fault)) > 0) {
            struct slice kept = record.bytes;
            buf_put_slice(&all, kept);
            if (!outcomes) {
                if (record.first_position != position) more = fault_set(fault, FAULT_CORRUPT, "a gap");
                position += record.event_count;
                dump->commits++;
                dump->events += record.event_count;
            } else {
                dump->outcomes++;
            }
            if (more < 0 || record.kind == RECORD_ERASED) continue;
            struct stream_id stream = {names_get(engine_names(engine), record.tenant),
                                       names_get(engine_names(engine), record.aggregate), record.id};
            uint64_t version, at;
            if ((more = engine_stream_head(engine, &stream, &version, &at, fault)) < 0) break;
            buf_format(&all, "%llu %llu;", (unsigned long long)version, (unsigned long long)at);
            if (!outcomes) {
                struct engine_cursor *walk;
                if ((more = engine_read_stream(engine, &stream, record.first_version, &walk, fault)) < 0)
                    break;
                more = engine_cursor_next(walk, &found, fault);
                if (more == 0 || (more > 0 && !slice_equal(found.bytes, kept)))
                    more = fault_set(fault, FAULT_CORRUPT, "position %llu is not where its stream has it",
                                     (unsigned long long)record.first_position);
                engine_cursor_close(walk);
                if (more < 0) break;
            }
            struct record_command command = {0};
            while (record.id_given && more >= 0 && record_next_command(&record, &command)) {
                more = engine_find_command(engine, &stream, slice_make(command.id, command.id_size), &bytes,
                                           &found, fault);
                if (more > 0)
                    buf_put_slice(&all, found.bytes);
                else if (more == 0)
                    buf_put_text(&all, "none");
            }
            if (more >= 0) more = 1;
        }
        engine_cursor_close(cursor);
        cursor = NULL;
    }
    dump->digest = hash_of(buf_slice(&all));
    buf_release(&all);
    buf_release(&bytes);
    return more < 0 ? -1 : 0;
}

/* A directory of its own, in memory where the machine has such a place, removed by case_remove. */
static inline char *case_directory(void)
{
    static char path[64];
    snprintf(path, sizeof path, "%s/lore-test-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void case_remove(const char *path)
{
    char command[128];
    assert_non_null(strstr(path, "/lore-test-"));
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

#endif

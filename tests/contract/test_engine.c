/* What every engine promises (engine.h). Each case runs for each engine of the table; the last ones compare
 * the engines with each other and with a model that is no engine at all. */
#include "contract/engine_cases.h"

struct engine_kind {
    const char *name;
    int (*open)(const struct engine_options *options, struct engine **engine, struct fault *fault);
    bool on_disk;
};

static const struct engine_kind kinds[] = {{"lmdb", engine_open_lmdb, true},
                                           {"memory", engine_open_memory, false}};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

struct fixture {
    const struct engine_kind *kind;
    struct engine *engine;
    struct arena arena;
    struct case_clock clock;
    char path[64];
};

static void fixture_open(struct fixture *fixture)
{
    struct fault fault = {0};
    struct engine_options options = {.path = fixture->kind->on_disk ? fixture->path : NULL,
                                     .clock = &fixture->clock.clock};
    if (fixture->kind->open(&options, &fixture->engine, &fault) < 0) fail_msg("open: %s", fault.text);
}

static struct fixture fixture_of(const struct engine_kind *kind)
{
    struct fixture fixture = {.kind = kind, .clock = case_clock_of(1000)};
    if (kind->on_disk) snprintf(fixture.path, sizeof fixture.path, "%s", case_directory());
    return fixture;
}

static void fixture_close(struct fixture *fixture)
{
    engine_close(fixture->engine);
    arena_release(&fixture->arena);
    if (fixture->kind->on_disk) case_remove(fixture->path);
}

/* Everything to the index on disk, or away from memory: a case must not depend on where an answer comes from.
 */
static void settle(struct fixture *fixture, int how)
{
    uint64_t events;
    struct fault fault = {0};
    if (how == 1) assert_int_equal(engine_flush_index(fixture->engine, &events, &fault), 0);
    if (how == 2 && fixture->kind->on_disk) {
        engine_close(fixture->engine);
        fixture_open(fixture);
    }
}

static uint64_t count_records(struct engine_cursor *cursor, uint64_t *first)
{
    uint64_t count = 0;
    struct record record;
    struct fault fault = {0};
    int more;
    while ((more = engine_cursor_next(cursor, &record, &fault)) > 0)
        if (count++ == 0 && first)
            *first = record.first_position ? record.first_position : record.first_version;
    if (more < 0) fail_msg("cursor: %s", fault.text);
    engine_cursor_close(cursor);
    return count;
}

/* --- cases; each runs three times: as is, index flushed between steps, engine reopened between steps --- */

static void case_empty(struct fixture *fixture, int how)
{
    struct engine_head head = engine_head(fixture->engine);
    struct engine_cursor *cursor;
    uint64_t position = 7;
    struct record record;
    struct buf bytes = {0};
    assert_int_equal(head.position, 0);
    assert_int_equal(head.commits, 0);
    assert_int_equal(head.outcomes, 0);
    assert_int_equal(head.epoch, 1);
    assert_int_equal(strlen(head.log_id), 36);
    assert_int_equal(case_version(fixture->engine, case_stream("acme", "1"), &position), 0);
    assert_int_equal(position, 0);
    assert_int_equal(case_find(fixture->engine, case_stream("acme", "1"), "a", &record, &bytes), 0);
    assert_int_equal(engine_read(fixture->engine, 1, &cursor, NULL), 0);
    assert_int_equal(count_records(cursor, NULL), 0);
    assert_int_equal(engine_read(fixture->engine, 99, &cursor, NULL), 0);
    assert_int_equal(count_records(cursor, NULL), 0);
    assert_int_equal(engine_read_outcomes(fixture->engine, 1, &cursor, NULL), 0);
    assert_int_equal(count_records(cursor, NULL), 0);
    struct stream_id stream = case_stream("acme", "1");
    assert_int_equal(engine_read_stream(fixture->engine, &stream, 1, &cursor, NULL), 0);
    assert_int_equal(count_records(cursor, NULL), 0);
}

static void case_positions(struct fixture *fixture, int how)
{
    struct stream_id one = case_stream("acme", "1"), two = case_stream("acme", "2");
    struct append append = case_append(fixture->engine, case_commit(&fixture->arena, one, 0, 3, NULL));
    assert_int_equal(append.outcome, APPEND_APPENDED);
    assert_int_equal(append.stream_version, 3);
    assert_int_equal(append.commit->first_position, 1);
    settle(fixture, how);
    append = case_append(fixture->engine, case_commit(&fixture->arena, two, 0, 1, NULL));
    assert_int_equal(append.commit->first_position, 4);
    settle(fixture, how);
    append = case_append(fixture->engine, case_commit(&fixture->arena, one, 3, 2, NULL));
    assert_int_equal(append.commit->first_position, 5);
    assert_int_equal(append.stream_version, 5);
    settle(fixture, how);
    uint64_t position;
    assert_int_equal(case_version(fixture->engine, one, &position), 5);
    assert_int_equal(position, 6);
    assert_int_equal(case_version(fixture->engine, two, &position), 1);
    assert_int_equal(position, 4);
    struct engine_head head = engine_head(fixture->engine);
    assert_int_equal(head.position, 6);
    assert_int_equal(head.commits, 3);
    /* From the commit that holds the position. */
    static const struct {
        uint64_t from, first, count;
    } reads[] = {{0, 1, 3}, {1, 1, 3}, {2, 1, 3}, {3, 1, 3},  {4, 4, 2},
                 {5, 5, 1}, {6, 5, 1}, {7, 0, 0}, {900, 0, 0}};
    for (size_t at = 0; at < sizeof reads / sizeof *reads; at++) {
        struct engine_cursor *cursor;
        uint64_t first = 0;
        assert_int_equal(engine_read(fixture->engine, reads[at].from, &cursor, NULL), 0);
        assert_int_equal(count_records(cursor, &first), reads[at].count);
        assert_int_equal(first, reads[at].first);
    }
    static const struct {
        uint64_t from, first, count;
    } streams[] = {{0, 1, 2}, {1, 1, 2}, {3, 1, 2}, {4, 5, 1}, {5, 5, 1}, {6, 0, 0}};
    for (size_t at = 0; at < sizeof streams / sizeof *streams; at++) {
        struct engine_cursor *cursor;
        uint64_t first = 0;
        assert_int_equal(engine_read_stream(fixture->engine, &one, streams[at].from, &cursor, NULL), 0);
        assert_int_equal(count_records(cursor, &first), streams[at].count);
        assert_int_equal(first, streams[at].first);
    }
}

static void case_conflicts(struct fixture *fixture, int how)
{
    struct stream_id one = case_stream("acme", "1"), two = case_stream("acme", "2");
    struct arena *arena = &fixture->arena;
    case_append(fixture->engine, case_commit(arena, one, 0, 2, NULL));
    settle(fixture, how);
    struct engine_head before = engine_head(fixture->engine);
    struct append append = case_append(fixture->engine, case_commit(arena, one, 1, 1, NULL));
    assert_int_equal(append.outcome, APPEND_CONFLICT);
    assert_int_equal(append.stream_version, 2);
    append = case_append(fixture->engine, case_commit(arena, one, 5, 1, NULL));
    assert_int_equal(append.outcome, APPEND_CONFLICT);
    append = case_append(fixture->engine, case_commit(arena, two, 1, 1, NULL));
    assert_int_equal(append.outcome, APPEND_CONFLICT);
    assert_int_equal(append.stream_version, 0);
    append = case_append(fixture->engine, case_rejection(arena, one, 1, NULL));
    assert_int_equal(append.outcome, APPEND_CONFLICT);
    struct engine_head after = engine_head(fixture->engine);
    assert_memory_equal(&before, &after, sizeof before);
    /* In a batch: commits build on each other, a conflict changes nothing and stops nobody. */
    struct append batch[] = {{.commit = case_commit(arena, one, 2, 1, NULL)},
                             {.commit = case_commit(arena, one, 2, 1, NULL)},
                             {.commit = case_commit(arena, two, 0, 2, NULL)},
                             {.commit = case_commit(arena, one, 3, 2, NULL)},
                             {.commit = case_rejection(arena, two, 2, NULL)}};
    assert_int_equal(engine_append(fixture->engine, batch, 5, NULL), 0);
    static const enum append_outcome outcomes[] = {APPEND_APPENDED, APPEND_CONFLICT, APPEND_APPENDED,
                                                   APPEND_APPENDED, APPEND_APPENDED};
    static const uint64_t versions[] = {3, 3, 2, 5, 2}, positions[] = {3, 0, 4, 6, 5};
    for (size_t at = 0; at < 5; at++) {
        assert_int_equal(batch[at].outcome, outcomes[at]);
        assert_int_equal(batch[at].stream_version, versions[at]);
        if (outcomes[at] == APPEND_APPENDED)
            assert_int_equal(batch[at].commit->first_position, positions[at]);
    }
    settle(fixture, how);
    assert_int_equal(case_version(fixture->engine, one, NULL), 5);
    assert_int_equal(engine_head(fixture->engine).position, 7);
    assert_int_equal(engine_head(fixture->engine).outcomes, 1);
}

static void case_chain(struct fixture *fixture, int how)
{
    struct hash chains[2] = {{{0}}, {{0}}};
    struct record record;
    struct fault fault = {0};
    for (uint64_t at = 0; at < 20; at++) {
        struct stream_id stream = case_stream(at % 2 ? "acme" : "other", "1");
        case_append(fixture->engine, case_commit(&fixture->arena, stream, at / 2, 1, NULL));
        if (at % 3 == 0)
            case_append(fixture->engine, case_rejection(&fixture->arena, stream, at / 2 + 1, NULL));
        if (at % 5 == 0) settle(fixture, how);
    }
    for (int outcomes = 0; outcomes < 2; outcomes++) {
        struct engine_cursor *cursor;
        int more;
        if (outcomes)
            assert_int_equal(engine_read_outcomes(fixture->engine, 1, &cursor, NULL), 0);
        else
            assert_int_equal(engine_read(fixture->engine, 1, &cursor, NULL), 0);
        while ((more = engine_cursor_next(cursor, &record, &fault)) > 0) {
            if (record_check(&record, &chains[outcomes], &fault) < 0) fail_msg("%s", fault.text);
            chains[outcomes] = record.chain;
        }
        assert_int_equal(more, 0);
        engine_cursor_close(cursor);
    }
    struct engine_head head = engine_head(fixture->engine);
    assert_true(hash_equal(&head.chain, &chains[0]) && hash_equal(&head.outcome_chain, &chains[1]));
    assert_int_equal(head.outcomes, 7);
}

static void case_time(struct fixture *fixture, int how)
{
    static const int64_t now_ms[] = {1000, 5000, 3000, 3000, 6000},
                         recorded_ms[] = {1000, 5000, 5000, 5000, 6000};
    for (uint64_t at = 0; at < 5; at++) {
        fixture->clock.now_ms = now_ms[at];
        struct commit *commit =
            at == 2 ? case_rejection(&fixture->arena, case_stream("acme", "1"), 2, NULL)
                    : case_commit(&fixture->arena, case_stream("acme", "1"), at - (at > 2), 1, NULL);
        assert_int_equal(case_append(fixture->engine, commit).outcome, APPEND_APPENDED);
        assert_int_equal(commit->recorded_ms, recorded_ms[at]);
        settle(fixture, how);
        assert_int_equal(engine_head(fixture->engine).recorded_ms, recorded_ms[at]);
    }
}

static void case_command_ids(struct fixture *fixture, int how)
{
    struct stream_id one = case_stream("acme", "1"), two = case_stream("acme", "2"),
                     other = case_stream("other", "1");
    struct arena *arena = &fixture->arena;
    struct buf bytes = {0};
    struct record record;
    case_append(fixture->engine, case_commit(arena, one, 0, 2, "a"));
    case_append(fixture->engine,
                case_commit(arena, one, 2, 1, NULL)); /* "drawn" by the hub: not to be found */
    settle(fixture, how);
    case_append(fixture->engine, case_rejection(arena, two, 0, "b")); /* a stream without commits */
    struct commit *batch = case_commit(arena, one, 3, 1, "c");
    batch->batch_id = slice_of("key-1");
    case_append(fixture->engine, batch);
    case_append(fixture->engine, case_commit(arena, one, 4, 0, "d")); /* accepted without an event */
    settle(fixture, how);
    assert_int_equal(case_find(fixture->engine, one, "a", &record, &bytes), 1);
    assert_int_equal(record.first_position, 1);
    assert_int_equal(case_find(fixture->engine, one, "drawn", &record, &bytes), 0);
    assert_int_equal(case_find(fixture->engine, one, "", &record, &bytes), 0);
    assert_int_equal(case_find(fixture->engine, one, "key-1", &record, &bytes), 1);
    assert_int_equal(record.first_position, 4);
    assert_int_equal(case_find(fixture->engine, one, "c", &record, &bytes), 1);
    assert_int_equal(case_find(fixture->engine, one, "d", &record, &bytes), 1);
    assert_int_equal(record.kind, RECORD_ACCEPTED);
    assert_int_equal(case_find(fixture->engine, two, "b", &record, &bytes), 1);
    assert_int_equal(record.kind, RECORD_REJECTED);
    struct slice reason, message;
    record_read_outcome(&record, &reason, &message);
    assert_true(slice_is(reason, "closed"));
    /* Ids are scoped to tenant and stream. */
    assert_int_equal(case_find(fixture->engine, two, "a", &record, &bytes), 0);
    assert_int_equal(case_find(fixture->engine, other, "a", &record, &bytes), 0);
    buf_release(&bytes);
}

struct listing {
    char text[256];
    size_t left;
};

static bool list_stream(void *user, struct slice id, uint64_t version)
{
    struct listing *listing = user;
    size_t size = strlen(listing->text);
    snprintf(listing->text + size, sizeof listing->text - size, "%.*s:%llu ", SLICE_ARGS(id),
             (unsigned long long)version);
    return --listing->left > 0;
}

static void case_each_stream(struct fixture *fixture, int how)
{
    static const char *const ids[] = {"b", "a", "ab", "c", "a\x01", "B"};
    for (size_t at = 0; at < 6; at++) {
        case_append(fixture->engine,
                    case_commit(&fixture->arena, case_stream("acme", ids[at]), 0, at + 1, NULL));
        settle(fixture, how);
    }
    case_append(fixture->engine, case_commit(&fixture->arena, case_stream("acme", "b"), 1, 1, NULL));
    case_append(fixture->engine, case_commit(&fixture->arena, case_stream("other", "z"), 0, 1, NULL));
    case_append(fixture->engine, case_rejection(&fixture->arena, case_stream("acme", "rejected"), 0, "x"));
    struct listing listing = {.left = 100};
    assert_int_equal(engine_each_stream(fixture->engine, slice_of("acme"), slice_of("billing/bill"),
                                        list_stream, &listing, NULL),
                     0);
    assert_string_equal(listing.text, "B:6 a:2 a\x01:5 ab:3 b:2 c:4 ");
    listing = (struct listing){.left = 2};
    assert_int_equal(engine_each_stream(fixture->engine, slice_of("acme"), slice_of("billing/bill"),
                                        list_stream, &listing, NULL),
                     0);
    assert_string_equal(listing.text, "B:6 a:2 ");
    static const struct {
        const char *beginning, *found;
    } beginnings[] = {
        {"a", "a:2 a\x01:5 ab:3 "}, {"ab", "ab:3 "}, {"abc", ""}, {"", "B:6 a:2 a\x01:5 "}, {"z", ""}};
    for (size_t at = 0; at < sizeof beginnings / sizeof *beginnings; at++) {
        listing = (struct listing){.left = 3};
        assert_int_equal(
            engine_each_stream_beginning(fixture->engine, slice_of("acme"), slice_of("billing/bill"),
                                         slice_of(beginnings[at].beginning), list_stream, &listing, NULL),
            0);
        assert_string_equal(listing.text, beginnings[at].found);
    }
    listing = (struct listing){.left = 2};
    assert_int_equal(engine_each_stream(fixture->engine, slice_of("nobody"), slice_of("billing/bill"),
                                        list_stream, &listing, NULL),
                     0);
    assert_string_equal(listing.text, "");
}

static void case_facts(struct fixture *fixture, int how)
{
    struct stream_id one = case_stream("acme", "1");
    struct commit *fact = case_commit(&fixture->arena, one, 0, 1, NULL);
    struct buf bytes = {0};
    struct record record;
    fact->kind = RECORD_FACT;
    fact->command_count = 0;
    assert_int_equal(case_append(fixture->engine, fact).outcome, APPEND_APPENDED);
    struct commit_command row = {SLICE_NONE, slice_of("row-7"), SLICE_NONE};
    fact = case_commit(&fixture->arena, one, 1, 1, NULL);
    fact->kind = RECORD_FACT;
    fact->id_given = true;
    fact->commands = &row;
    case_append(fixture->engine, fact);
    settle(fixture, how);
    assert_int_equal(case_find(fixture->engine, one, "row-7", &record, &bytes), 1);
    assert_int_equal(record.first_position, 2);
    assert_int_equal(record.kind, RECORD_FACT);
    buf_release(&bytes);
}

static void case_meta(struct fixture *fixture, int how)
{
    struct buf value = {0};
    char *large = calloc(1, 100000);
    memset(large, 'v', 100000);
    assert_int_equal(engine_meta_get(fixture->engine, slice_of("deploy"), &value, NULL), 0);
    assert_int_equal(engine_meta_put(fixture->engine, slice_of("deploy"), slice_of("one"), NULL), 0);
    settle(fixture, how);
    assert_int_equal(engine_meta_put(fixture->engine, slice_of("deploy"), slice_of("two"), NULL), 0);
    assert_int_equal(engine_meta_put(fixture->engine, slice_of("empty"), SLICE_NONE, NULL), 0);
    assert_int_equal(engine_meta_put(fixture->engine, slice_of("large"), slice_make(large, 100000), NULL), 0);
    settle(fixture, how);
    assert_int_equal(engine_meta_get(fixture->engine, slice_of("deploy"), &value, NULL), 1);
    assert_true(slice_is(buf_slice(&value), "two"));
    buf_clear(&value);
    assert_int_equal(engine_meta_get(fixture->engine, slice_of("empty"), &value, NULL), 1);
    assert_int_equal(value.size, 0);
    assert_int_equal(engine_meta_get(fixture->engine, slice_of("large"), &value, NULL), 1);
    assert_true(slice_equal(buf_slice(&value), slice_make(large, 100000)));
    buf_release(&value);
    free(large);
}

static void case_bad_input(struct fixture *fixture, int how)
{
    char long_id[300];
    struct fault fault = {0};
    struct engine_head before = engine_head(fixture->engine);
    memset(long_id, 'i', sizeof long_id);
    struct stream_id bad[] = {{slice_of(""), slice_of("a/b"), slice_of("1")},
                              {slice_of("t"), slice_of(""), slice_of("1")},
                              {slice_of("t"), slice_of("a/b"), slice_of("")},
                              {slice_of("t"), slice_of("a/b"), slice_make(long_id, LIMIT_ID_SIZE_MAX + 1)},
                              {slice_of("t"), slice_of("a/b"), slice_make("a\0b", 3)}};
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        struct append batch[] = {
            {.commit = case_commit(&fixture->arena, case_stream("acme", "1"), 0, 1, NULL)},
            {.commit = case_commit(&fixture->arena, bad[at], 0, 1, NULL)}};
        assert_int_equal(engine_append(fixture->engine, batch, 2, &fault), -1);
        assert_int_equal(fault.code, FAULT_MALFORMED);
        assert_int_equal(case_version(fixture->engine, bad[at], NULL), 0);
    }
    struct engine_head after = engine_head(fixture->engine);
    assert_memory_equal(&before, &after, sizeof before);
    struct stream_id longest = {slice_of("t"), slice_of("a/b"), slice_make(long_id, LIMIT_ID_SIZE_MAX)};
    case_append(fixture->engine, case_commit(&fixture->arena, longest, 0, 1, NULL));
    settle(fixture, how);
    assert_int_equal(case_version(fixture->engine, longest, NULL), 1);
}

/* A cursor sees the log as of its open, and its records stay until its next call. */
static void case_snapshot(struct fixture *fixture, int how)
{
    struct stream_id one = case_stream("acme", "1");
    struct engine_cursor *cursor, *walk;
    struct record record, kept;
    for (uint64_t at = 0; at < 10; at++)
        case_append(fixture->engine, case_commit(&fixture->arena, one, at, 1, NULL));
    settle(fixture, how);
    assert_int_equal(engine_read(fixture->engine, 1, &cursor, NULL), 0);
    assert_int_equal(engine_read_stream(fixture->engine, &one, 1, &walk, NULL), 0);
    assert_int_equal(engine_cursor_next(cursor, &kept, NULL), 1);
    for (uint64_t at = 10; at < 300; at++) {
        case_append(fixture->engine, case_commit(&fixture->arena, one, at, 1, NULL));
        if (at % 100 == 0) settle(fixture, how == 1);
    }
    assert_int_equal(record_check(&kept, NULL, NULL), 0);
    uint64_t count = 1;
    while (engine_cursor_next(cursor, &record, NULL) > 0) count++;
    assert_int_equal(count, 10);
    engine_cursor_close(cursor);
    uint64_t version = 0;
    while (engine_cursor_next(walk, &record, NULL) > 0) {
        assert_int_equal(record.first_version, version + 1);
        version = record.first_version;
    }
    engine_cursor_close(walk);
    assert_in_range(version, 10, 300);
}

/* A stream much longer than one entry of the index, flushed in pieces. */
static void case_long_stream(struct fixture *fixture, int how)
{
    struct stream_id one = case_stream("acme", "1"), two = case_stream("acme", "2");
    enum { COMMITS = 400 };
    uint64_t versions[COMMITS + 1] = {0};
    for (uint64_t at = 0; at < COMMITS; at++) {
        size_t events = 1 + at % 3;
        case_append(fixture->engine, case_commit(&fixture->arena, one, versions[at], events, NULL));
        versions[at + 1] = versions[at] + events;
        if (at % 7 == 0) case_append(fixture->engine, case_commit(&fixture->arena, two, at / 7, 1, NULL));
        if (at % 97 == 0) settle(fixture, how);
    }
    settle(fixture, how);
    for (uint64_t from = 1; from <= versions[COMMITS]; from += 13) {
        struct engine_cursor *cursor;
        struct record record;
        uint64_t next = 0;
        assert_int_equal(engine_read_stream(fixture->engine, &one, from, &cursor, NULL), 0);
        while (engine_cursor_next(cursor, &record, NULL) > 0) {
            if (next)
                assert_int_equal(record.first_version, next);
            else
                assert_true(record.first_version <= from && from < record.first_version + record.event_count);
            next = record.first_version + record.event_count;
        }
        assert_int_equal(next, versions[COMMITS] + 1);
        engine_cursor_close(cursor);
    }
}

static const struct {
    const char *name;
    void (*run)(struct fixture *fixture, int how);
} cases[] = {{"empty", case_empty},
             {"positions", case_positions},
             {"conflicts", case_conflicts},
             {"chain", case_chain},
             {"time", case_time},
             {"command ids", case_command_ids},
             {"each stream", case_each_stream},
             {"facts", case_facts},
             {"meta", case_meta},
             {"bad input", case_bad_input},
             {"snapshot", case_snapshot},
             {"long stream", case_long_stream}};
enum { CASE_COUNT = sizeof cases / sizeof *cases };

static void run_case(void **state)
{
    size_t number = (size_t)*state;
    for (int how = 0; how < 3; how++) {
        struct fixture fixture = fixture_of(&kinds[number % KIND_COUNT]);
        fixture_open(&fixture);
        cases[number / KIND_COUNT].run(&fixture, how);
        fixture_close(&fixture);
    }
}

/* --- random operations: both engines and a model that is two arrays --- */

enum { MODEL_STREAMS = 40 };

struct model {
    uint64_t versions[MODEL_STREAMS], positions[MODEL_STREAMS];
    uint64_t position, commits, outcomes;
    struct {
        uint64_t place; /* position, or number of an outcome */
        bool outcome;
    } ids[MODEL_STREAMS][64]; /* place 0: never given */
};

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return *seed >> 33;
}

static struct stream_id model_stream(size_t number)
{
    static char ids[MODEL_STREAMS][16];
    snprintf(ids[number], sizeof ids[number], "s%zu", number % 10);
    static const char *const tenants[] = {"acme", "other"};
    static const char *const aggregates[] = {"billing/bill", "fines/fine"};
    return (struct stream_id){slice_of(tenants[number / 20]), slice_of(aggregates[number / 10 % 2]),
                              slice_of(ids[number])};
}

static void model_step(struct model *model, struct fixture *fixtures, uint64_t *seed)
{
    struct arena arena = {0};
    enum { BATCH_MAX = 6 };
    struct append batches[KIND_COUNT][BATCH_MAX] = {0};
    size_t count = 1 + next_random(seed) % BATCH_MAX;
    size_t streams[BATCH_MAX], ids[BATCH_MAX];
    bool expected[BATCH_MAX];
    for (size_t at = 0; at < count; at++) {
        size_t stream = streams[at] = next_random(seed) % MODEL_STREAMS;
        ids[at] = next_random(seed) % 64;
        char *id = arena_zero(&arena, 16);
        snprintf(id, 16, "id-%zu", ids[at]);
        bool given = next_random(seed) % 2 && !model->ids[stream][ids[at]].place;
        bool wrong = next_random(seed) % 10 == 0;
        uint64_t version = model->versions[stream] + (wrong ? 1 : 0);
        size_t events = next_random(seed) % 5 == 0 ? 0 : 1 + next_random(seed) % 3;
        for (size_t kind = 0; kind < KIND_COUNT; kind++)
            batches[kind][at].commit =
                events ? case_commit(&arena, model_stream(stream), version, events, given ? id : NULL)
                       : case_rejection(&arena, model_stream(stream), version, given ? id : NULL);
        expected[at] = !wrong;
        if (wrong) continue;
        if (given) {
            model->ids[stream][ids[at]].place = events ? model->position + 1 : model->outcomes + 1;
            model->ids[stream][ids[at]].outcome = events == 0;
        }
        model->versions[stream] += events;
        model->position += events;
        if (events) model->positions[stream] = model->position;
        model->commits += events > 0;
        model->outcomes += events == 0;
    }
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        struct fault fault = {0};
        if (engine_append(fixtures[kind].engine, batches[kind], count, &fault) < 0)
            fail_msg("%s", fault.text);
        for (size_t at = 0; at < count; at++)
            assert_int_equal(batches[kind][at].outcome, expected[at] ? APPEND_APPENDED : APPEND_CONFLICT);
    }
    arena_release(&arena);
}

static void model_compare(const struct model *model, struct fixture *fixture, uint64_t *seed)
{
    struct engine_head head = engine_head(fixture->engine);
    struct buf bytes = {0};
    assert_int_equal(head.position, model->position);
    assert_int_equal(head.commits, model->commits);
    assert_int_equal(head.outcomes, model->outcomes);
    for (int round = 0; round < 5; round++) {
        size_t stream = next_random(seed) % MODEL_STREAMS, id = next_random(seed) % 64;
        uint64_t position;
        char text[16];
        struct record record;
        assert_int_equal(case_version(fixture->engine, model_stream(stream), &position),
                         model->versions[stream]);
        assert_int_equal(position, model->positions[stream]);
        snprintf(text, sizeof text, "id-%zu", id);
        int found = case_find(fixture->engine, model_stream(stream), text, &record, &bytes);
        assert_int_equal(found, model->ids[stream][id].place != 0);
        if (!found) continue;
        assert_int_equal(record.event_count == 0, model->ids[stream][id].outcome);
        if (record.event_count) assert_int_equal(record.first_position, model->ids[stream][id].place);
    }
    buf_release(&bytes);
}

static void test_engines_agree(void **state)
{
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)clock_monotonic_ns();
    printf("SEED=%llu\n", (unsigned long long)seed);
    struct fixture fixtures[KIND_COUNT];
    struct model *model = calloc(1, sizeof *model);
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        fixtures[kind] = fixture_of(&kinds[kind]);
        fixture_open(&fixtures[kind]);
    }
    for (int step = 0; step < 400; step++) {
        fixtures[0].clock.now_ms = fixtures[1].clock.now_ms = 1000 + step;
        model_step(model, fixtures, &seed);
        uint64_t chosen = next_random(&seed) % 20;
        if (chosen < 3) settle(&fixtures[0], chosen == 0 ? 2 : 1);
        for (size_t kind = 0; kind < KIND_COUNT; kind++) model_compare(model, &fixtures[kind], &seed);
    }
    /* The same bytes, wherever they are kept. */
    struct case_dump dumps[KIND_COUNT];
    struct fault fault = {0};
    for (size_t kind = 0; kind < KIND_COUNT; kind++)
        if (case_dump(fixtures[kind].engine, &dumps[kind], &fault) < 0) fail_msg("%s", fault.text);
    assert_memory_equal(&dumps[0], &dumps[1], sizeof dumps[0]);
    for (size_t kind = 0; kind < KIND_COUNT; kind++) fixture_close(&fixtures[kind]);
    free(model);
}

int main(void)
{
    struct CMUnitTest tests[CASE_COUNT * KIND_COUNT + 1];
    static char names[CASE_COUNT * KIND_COUNT][64];
    size_t count = 0;
    for (; count < CASE_COUNT * KIND_COUNT; count++) {
        snprintf(names[count], sizeof names[count], "%s: %s", kinds[count % KIND_COUNT].name,
                 cases[count / KIND_COUNT].name);
        tests[count] =
            (struct CMUnitTest){.name = names[count], .test_func = run_case, .initial_state = (void *)count};
    }
    tests[count++] = (struct CMUnitTest){.name = "engines agree", .test_func = test_engines_agree};
    return _cmocka_run_group_tests("engine", tests, count, NULL, NULL);
}

/* What the log keeps of deploys: recorded, chained, switched, found again; whatever engine keeps it, and also
 * when a write fails between two values. */
#include "contract/engine_cases.h"

#include "base/faultpoint.h"
#include "run/deploys.h"

struct engine_kind {
    int (*open)(const struct engine_options *options, struct engine **engine, struct fault *fault);
    bool on_disk;
};

static const struct engine_kind kinds[] = {{engine_open_lmdb, true}, {engine_open_memory, false}};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds };

struct fixture {
    const struct engine_kind *kind;
    struct engine *engine;
    struct arena arena;
    char path[64];
    uint64_t version; /* of the stream that moves the head */
};

static struct fault fault;

static void fixture_open(struct fixture *fixture)
{
    struct engine_options options = {.path = fixture->kind->on_disk ? fixture->path : NULL};
    if (fixture->kind->open(&options, &fixture->engine, &fault) < 0) fail_msg("%s", fault.text);
}

/* What a start finds. */
static void reopen(struct fixture *fixture)
{
    if (!fixture->kind->on_disk) return;
    engine_close(fixture->engine);
    fixture_open(fixture);
}

static void run_case(void (*run)(struct fixture *fixture))
{
    for (int at = 0; at < KIND_COUNT; at++) {
        struct fixture fixture = {.kind = &kinds[at]};
        if (fixture.kind->on_disk) snprintf(fixture.path, sizeof fixture.path, "%s", case_directory());
        fixture_open(&fixture);
        run(&fixture);
        engine_close(fixture.engine);
        arena_release(&fixture.arena);
        if (fixture.kind->on_disk) case_remove(fixture.path);
    }
}

/* --- doing --- */

static void write_events(struct fixture *fixture, size_t count, uint64_t deploy)
{
    struct stream_id stream = case_stream("acme", "1");
    struct commit *commit = case_commit(&fixture->arena, stream, fixture->version, count, NULL);
    commit->deploy = deploy;
    struct append append = case_append(fixture->engine, commit);
    assert_int_equal(append.outcome, APPEND_APPENDED);
    fixture->version = append.stream_version;
}

static struct deploys_writer writer_of(struct fixture *fixture)
{
    return (struct deploys_writer){deploys_put_directly, fixture->engine};
}

static int try_deploy(struct fixture *fixture, const char *text, const char *folder, const char *gate,
                      uint64_t *number)
{
    const char *const scripts[] = {"a/one.lua", text, "a/two.lua", "return 2 -- the same in each", NULL};
    struct sources *sources = sources_of(scripts);
    struct deploys_writer writer = writer_of(fixture);
    struct deploy_new what = {.sources = sources,
                              .actor = slice_of("anna"),
                              .note = slice_of("why"),
                              .folder = slice_of(folder),
                              .gate = slice_of(gate),
                              .forced = gate != NULL,
                              .at_ms = 77};
    int done = deploys_add(fixture->engine, &writer, &what, number, &fault);
    sources_free(sources);
    return done;
}

static uint64_t deploy(struct fixture *fixture, const char *text)
{
    uint64_t number = 0;
    if (try_deploy(fixture, text, "/srv/shop", NULL, &number) < 0) fail_msg("%s", fault.text);
    return number;
}

static void switch_to(struct fixture *fixture, uint64_t to, enum deploy_why why)
{
    struct deploys_writer writer = writer_of(fixture);
    struct deploy_switch change = {.to = to, .why = why, .actor = slice_of("bert"), .at_ms = 78};
    if (deploys_switch(fixture->engine, &writer, &change, &fault) < 0) fail_msg("%s", fault.text);
}

/* --- asking --- */

static struct deploys_now now_of(struct fixture *fixture)
{
    struct deploys_now now;
    if (deploys_now(fixture->engine, &now, &fault) < 0) fail_msg("%s", fault.text);
    return now;
}

static struct deploy_record load(struct fixture *fixture, uint64_t number)
{
    struct deploy_record record;
    if (deploys_load(fixture->engine, number, &fixture->arena, &record, &fault) < 0)
        fail_msg("%s", fault.text);
    return record;
}

static enum deploy_state state_of(struct fixture *fixture, uint64_t number)
{
    enum deploy_state state;
    if (deploys_state(fixture->engine, number, &state, &fault) < 0) fail_msg("%s", fault.text);
    return state;
}

static uint64_t ran_at(struct fixture *fixture, uint64_t position)
{
    uint64_t number = 99;
    assert_int_equal(deploys_at_position(fixture->engine, position, &number, &fault), 0);
    return number;
}

static void expect_text(struct fixture *fixture, uint64_t number, const char *path, const char *text)
{
    struct sources *sources;
    if (deploys_sources(fixture->engine, number, &sources, &fault) < 0) fail_msg("%s", fault.text);
    const struct source *source = sources_find(sources, slice_of(path));
    assert_non_null(source);
    assert_true(slice_is(source->text, text));
    sources_free(sources);
}

static void keep_first(void *user, const char *sentence)
{
    struct buf *text = user;
    if (text->size == 0) buf_put_text(text, sentence);
}

/* The first damage, or "". */
static const char *damage(struct fixture *fixture)
{
    struct buf text = {0};
    uint64_t checked;
    assert_int_equal(deploys_verify(fixture->engine, keep_first, &text, &checked, &fault), 0);
    struct slice kept = arena_copy(&fixture->arena, buf_slice(&text));
    buf_release(&text);
    return kept.data;
}

/* --- cases --- */

static void case_nothing(struct fixture *fixture)
{
    struct deploys_now now;
    struct deploy_record record;
    assert_int_equal(deploys_now(fixture->engine, &now, &fault), 0);
    assert_int_equal(now.running, 0);
    assert_int_equal(deploys_load(fixture->engine, 1, &fixture->arena, &record, &fault), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
    assert_int_equal(ran_at(fixture, 1), 0);
    assert_string_equal(damage(fixture), "");
}

static void case_records(struct fixture *fixture)
{
    assert_int_equal(deploy(fixture, "return 1"), 1);
    write_events(fixture, 3, 1);
    assert_int_equal(deploy(fixture, "return 1 -- better"), 2);
    reopen(fixture);
    struct deploys_now now = now_of(fixture);
    assert_int_equal(now.running, 2);
    assert_int_equal(now.last, 2);
    assert_int_equal(now.first, 1);
    struct deploy_record one = load(fixture, 1), two = load(fixture, 2);
    assert_int_equal(one.position, 0);
    assert_int_equal(one.before, 0);
    assert_int_equal(two.position, 3);
    assert_int_equal(two.before, 1);
    assert_int_equal(two.at_ms, 77);
    assert_true(slice_is(two.actor, "anna"));
    assert_true(slice_is(two.note, "why"));
    assert_true(slice_is(two.folder, "/srv/shop"));
    assert_false(two.forced);
    assert_int_equal(two.script_count, 2);
    assert_true(slice_is(two.scripts[0].path, "a/one.lua"));
    assert_false(hash_equal(&one.scripts[0].hash, &two.scripts[0].hash));
    assert_true(hash_equal(&one.scripts[1].hash, &two.scripts[1].hash));
    assert_true(hash_equal(&two.previous, &one.own));
    assert_true(hash_equal(&two.own, &now.chain));
    expect_text(fixture, 1, "a/one.lua", "return 1");
    expect_text(fixture, 2, "a/one.lua", "return 1 -- better");
    assert_string_equal(damage(fixture), "");
}

/* The digest of what was deployed is the digest of what comes back, so a start finds that nothing changed. */
static void case_same_digest(struct fixture *fixture)
{
    struct sources *sources;
    deploy(fixture, "return 'ä', 1");
    struct deploy_record record = load(fixture, 1);
    assert_int_equal(deploys_sources(fixture->engine, 1, &sources, &fault), 0);
    struct hash digest = sources_digest(sources);
    assert_true(hash_equal(&digest, &record.digest));
    assert_string_equal(sources_dir(sources), "deploy 1");
    sources_free(sources);
}

static void case_states(struct fixture *fixture)
{
    deploy(fixture, "return 1");
    deploy(fixture, "return 2");
    write_events(fixture, 2, 2);
    switch_to(fixture, 1, DEPLOY_WHY_UNDEPLOY);
    write_events(fixture, 2, 1);
    assert_int_equal(state_of(fixture, 1), DEPLOY_RUNNING);
    assert_int_equal(state_of(fixture, 2), DEPLOY_UNDONE);
    assert_int_equal(deploy(fixture, "return 3"), 3);
    reopen(fixture);
    assert_int_equal(state_of(fixture, 1), DEPLOY_SUPERSEDED);
    assert_int_equal(state_of(fixture, 2), DEPLOY_UNDONE);
    assert_int_equal(state_of(fixture, 3), DEPLOY_RUNNING);
    assert_int_equal(load(fixture, 3).before, 1);
    switch_to(fixture, 2, DEPLOY_WHY_DEPLOY); /* undone, and again */
    assert_int_equal(state_of(fixture, 2), DEPLOY_RUNNING);
    deploy(fixture, "return 4");
    assert_int_equal(state_of(fixture, 2), DEPLOY_SUPERSEDED);
    assert_int_equal(state_of(fixture, 3), DEPLOY_SUPERSEDED);
    assert_string_equal(damage(fixture), "");
}

static void case_moments(struct fixture *fixture)
{
    deploy(fixture, "return 1");
    write_events(fixture, 2, 1); /* 1 2 */
    deploy(fixture, "return 2");
    write_events(fixture, 2, 2); /* 3 4 */
    switch_to(fixture, 1, DEPLOY_WHY_UNDEPLOY);
    write_events(fixture, 1, 1); /* 5 */
    static const uint64_t expected[] = {0, 1, 1, 2, 2, 1, 1};
    for (uint64_t position = 0; position < sizeof expected / sizeof *expected; position++)
        assert_int_equal(ran_at(fixture, position), expected[position]);
}

static void case_folders(struct fixture *fixture)
{
    uint64_t number;
    struct deploy_record record;
    deploy(fixture, "return 1");
    assert_int_equal(try_deploy(fixture, "return 2", "/home/anna/shop", NULL, &number), 0);
    deploy(fixture, "return 3");
    switch_to(fixture, 2, DEPLOY_WHY_UNDEPLOY);
    assert_int_equal(
        deploys_of_folder(fixture->engine, slice_of("/srv/shop"), &fixture->arena, &record, &fault), 1);
    assert_int_equal(record.number, 3);
    assert_int_equal(
        deploys_of_folder(fixture->engine, slice_of("/home/anna/shop"), &fixture->arena, &record, &fault), 1);
    assert_int_equal(record.number, 2);
    assert_int_equal(deploys_of_folder(fixture->engine, slice_of("/home"), &fixture->arena, &record, &fault),
                     0);
}

struct seen {
    uint64_t numbers[8];
    enum deploy_state states[8];
    size_t count, count_max;
};

static bool see(void *user, const struct deploy_record *record, enum deploy_state state)
{
    struct seen *seen = user;
    seen->numbers[seen->count] = record->number;
    seen->states[seen->count++] = state;
    return seen->count < seen->count_max;
}

static void case_list(struct fixture *fixture)
{
    for (int at = 0; at < 4; at++) deploy(fixture, at % 2 ? "return 1" : "return 2");
    switch_to(fixture, 3, DEPLOY_WHY_ROLLBACK);
    struct seen all = {.count_max = 8}, some = {.count_max = 2};
    assert_int_equal(deploys_each(fixture->engine, 0, see, &all, &fault), 0);
    assert_int_equal(all.count, 4);
    for (size_t at = 0; at < 4; at++) {
        static const enum deploy_state states[] = {DEPLOY_UNDONE, DEPLOY_RUNNING, DEPLOY_SUPERSEDED,
                                                   DEPLOY_SUPERSEDED};
        assert_int_equal(all.numbers[at], 4 - at);
        assert_int_equal(all.states[at], states[at]);
    }
    assert_int_equal(deploys_each(fixture->engine, 4, see, &some, &fault), 0);
    assert_int_equal(some.count, 2);
    assert_int_equal(some.numbers[0], 3);
    assert_int_equal(some.numbers[1], 2);
}

static void case_gate(struct fixture *fixture)
{
    uint64_t number;
    struct buf json = {0};
    assert_int_equal(try_deploy(fixture, "return 1", "", "{\"loads\":true}", &number), 0);
    struct deploy_record record = load(fixture, number);
    assert_true(record.forced);
    assert_int_equal(deploys_gate(fixture->engine, &record, &json, &fault), 0);
    assert_true(slice_is(buf_slice(&json), "{\"loads\":true}"));
    buf_release(&json);
}

/* Whichever write fails, the old deploy runs, the new one is not there, and the next try makes it. */
static void case_fails_between(struct fixture *fixture)
{
    uint64_t number;
    deploy(fixture, "return 1");
    int failed = 0;
    for (;; failed++) {
        char clause[64], text[32];
        snprintf(clause, sizeof clause, "deploy.put@%d=ENOSPC", failed + 1);
        snprintf(text, sizeof text, "return %d", 100 + failed);
        fault_points_disarm();
        assert_int_equal(fault_points_arm(clause, &fault), 0);
        int done = try_deploy(fixture, text, "/srv/shop", "{}", &number);
        fault_points_disarm();
        reopen(fixture);
        if (done == 0) break;
        assert_int_equal(fault.code, FAULT_DISK);
        assert_int_equal(now_of(fixture).running, 1);
        assert_int_equal(now_of(fixture).last, 1);
        assert_string_equal(damage(fixture), "");
        expect_text(fixture, 1, "a/one.lua", "return 1");
    }
    assert_int_equal(failed, 5); /* a source, gate, record, switch, deploys */
    assert_int_equal(number, 2);
    assert_int_equal(now_of(fixture).running, 2);
    assert_string_equal(damage(fixture), "");
}

static void put_value(struct fixture *fixture, const char *key, struct slice value)
{
    assert_int_equal(engine_meta_put(fixture->engine, slice_of(key), value, &fault), 0);
}

static void case_damage(struct fixture *fixture)
{
    char hex[2 * HASH_SIZE + 1], key[96];
    struct buf record = {0}, source = {0};
    deploy(fixture, "return 1");
    deploy(fixture, "return 2");
    /* Another record in the place of the first: whole by itself, but the second does not follow it. */
    assert_int_equal(engine_meta_get(fixture->engine, slice_of("deploy/1"), &record, &fault), 1);
    char *at = memmem(record.data, record.size, "anna", 4);
    assert_non_null(at);
    memcpy(at, "otto", 4);
    put_value(fixture, "deploy/1", buf_slice(&record));
    assert_string_equal(damage(fixture), "deploy 2: its record does not follow the one before it");
    memcpy(at, "anna", 4);
    put_value(fixture, "deploy/1", buf_slice(&record));
    assert_string_equal(damage(fixture), "");
    /* Another text in the place of a source. */
    hash_hex(&load(fixture, 2).scripts[1].hash, hex);
    snprintf(key, sizeof key, "source/%s", hex);
    struct hash of_one = load(fixture, 1).scripts[0].hash;
    hash_hex(&of_one, hex);
    char other[96];
    snprintf(other, sizeof other, "source/%s", hex);
    assert_int_equal(engine_meta_get(fixture->engine, slice_of(other), &source, &fault), 1);
    put_value(fixture, key, buf_slice(&source));
    assert_non_null(strstr(damage(fixture), "is not what was written"));
    struct sources *sources;
    assert_int_equal(deploys_sources(fixture->engine, 2, &sources, &fault), -1);
    assert_int_equal(fault.code, FAULT_CORRUPT);
    deploy(fixture, "return 3"); /* brings the text with it again */
    assert_string_equal(damage(fixture), "");
    put_value(fixture, "deploy/2", slice_of("\x80"));
    assert_non_null(strstr(damage(fixture), "deploy/2"));
    buf_release(&record);
    buf_release(&source);
}

/* --- a log of a lore that kept only number and digest --- */

static void put_old(struct fixture *fixture, uint8_t number, const struct sources *sources)
{
    char hex[2 * HASH_SIZE + 1];
    struct buf value = {0};
    struct hash digest = sources_digest(sources);
    hash_hex(&digest, hex);
    buf_put_text(&value, "\x82\xa6"
                         "digest\xd9\x40");
    buf_put_text(&value, hex);
    buf_put_text(&value, "\xa6"
                         "number");
    buf_put_byte(&value, number);
    put_value(fixture, "deploy", buf_slice(&value));
    buf_release(&value);
}

static void adopt(struct fixture *fixture, const struct sources *sources)
{
    struct deploys_writer writer = writer_of(fixture);
    struct deploy_new what = {.sources = sources, .folder = slice_of("/srv/shop"), .why = DEPLOY_WHY_START};
    if (deploys_adopt(fixture->engine, &writer, &what, &fault) < 0) fail_msg("%s", fault.text);
}

static void case_adopted(struct fixture *fixture)
{
    const char *const scripts[] = {"a/one.lua", "return 1", NULL};
    struct sources *sources = sources_of(scripts);
    write_events(fixture, 3, 1);
    write_events(fixture, 2, 4);
    write_events(fixture, 2, 5); /* 6 7 */
    write_events(fixture, 2, 5);
    put_old(fixture, 5, sources);
    assert_int_equal(now_of(fixture).running, 5);
    adopt(fixture, sources);
    reopen(fixture);
    struct deploys_now now = now_of(fixture);
    assert_int_equal(now.running, 5);
    assert_int_equal(now.first, 5);
    assert_int_equal(load(fixture, 5).position, 5);
    assert_int_equal(load(fixture, 5).before, 4);
    assert_int_equal(ran_at(fixture, 6), 5);
    assert_int_equal(ran_at(fixture, 5), 0);
    expect_text(fixture, 5, "a/one.lua", "return 1");
    adopt(fixture, sources); /* does nothing */
    assert_int_equal(now_of(fixture).switches, 1);
    assert_int_equal(deploy(fixture, "return 2"), 6);
    struct deploy_record record;
    assert_int_equal(deploys_load(fixture->engine, 4, &fixture->arena, &record, &fault), -1);
    assert_int_equal(fault.code, FAULT_NOT_FOUND);
    assert_non_null(strstr(fault.text, "before the log kept deploys"));
    assert_string_equal(damage(fixture), "");
    sources_free(sources);
}

/* The folder is not what ran: only the number is known. */
static void case_not_adopted(struct fixture *fixture)
{
    const char *const scripts[] = {"a/one.lua", "return 1", NULL};
    const char *const others[] = {"a/one.lua", "return 2", NULL};
    struct sources *sources = sources_of(scripts), *other = sources_of(others);
    put_old(fixture, 5, sources);
    adopt(fixture, other);
    assert_int_equal(now_of(fixture).running, 5);
    assert_int_equal(now_of(fixture).first, 6);
    assert_int_equal(state_of(fixture, 5), DEPLOY_RUNNING);
    assert_int_equal(deploy(fixture, "return 2"), 6);
    assert_int_equal(load(fixture, 6).before, 5);
    assert_int_equal(state_of(fixture, 5), DEPLOY_SUPERSEDED);
    assert_string_equal(damage(fixture), "");
    sources_free(sources);
    sources_free(other);
}

#define CASES(X)                                                                                             \
    X(nothing)                                                                                               \
    X(records)                                                                                               \
    X(same_digest)                                                                                           \
    X(states) X(moments) X(folders) X(list) X(gate) X(fails_between) X(damage) X(adopted) X(not_adopted)

#define TEST(name)                                                                                           \
    static void test_##name(void **state)                                                                    \
    {                                                                                                        \
        run_case(case_##name);                                                                               \
    }
CASES(TEST)

#define ENTRY(name) cmocka_unit_test(test_##name),

int main(void)
{
    const struct CMUnitTest tests[] = {CASES(ENTRY)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The commit record: random commits come back, any flipped byte is found, any bytes are safe to open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/rand.h"
#include "codec/mp.h"
#include "codec/record.h"

#define S(literal) slice_make(literal, sizeof(literal) - 1)
#define UUID "0190c5a2-7b1c-7def-8123-456789abcdef"

static uint32_t draw(uint32_t below)
{
    uint32_t value;
    rand_bytes(&value, sizeof value);
    return value % below;
}

static struct slice random_data(struct arena *arena)
{
    struct buf out = {0};
    mp_put_map(&out, 2);
    mp_put_text(&out, S("a"));
    mp_put_int(&out, draw(3) ? draw(5) : draw(1u << 31));
    mp_put_text(&out, S("b"));
    char text[400];
    memset(text, 'x', sizeof text);
    mp_put_text(&out, slice_make(text, draw(4) ? 3 : draw(400)));
    struct slice data = arena_copy(arena, buf_slice(&out));
    buf_release(&out);
    return data;
}

static struct slice random_id(struct arena *arena)
{
    char text[RAND_UUID_SIZE + 1];
    rand_uuid(1700000000000 + draw(1000), text);
    switch (draw(5)) {
    case 0: return arena_copy(arena, slice_of(text));
    case 1: text[35] = 'A'; return arena_copy(arena, slice_of(text)); /* not lower case: kept as text */
    case 2: return arena_format(arena, "id-%u", draw(10));
    case 3: return arena_format(arena, "%0200u", draw(1000));
    default: return arena_format(arena, "%s-", text); /* 37 characters */
    }
}

static struct slice random_name(struct arena *arena, const char *what)
{
    return arena_format(arena, "%s%u", what, draw(6));
}

static struct commit random_commit(struct arena *arena)
{
    struct commit commit = {
        .kind = (enum record_kind)(1 + draw(4)),
        .tenant = random_name(arena, "tenant"),
        .aggregate = random_name(arena, "billing/bill"),
        .id = random_id(arena),
        .first_version = draw(1000),
        .first_position = (uint64_t)draw(1u << 30) << draw(20),
        .recorded_ms = 1700000000000 + draw(100000),
        .epoch = 1 + draw(3),
        .deploy = draw(300),
        .actor = draw(2) ? random_name(arena, "actor") : SLICE_NONE,
        .batch_id = draw(2) ? random_id(arena) : SLICE_NONE,
        .correlation_id = draw(2) ? random_id(arena) : SLICE_NONE,
        .causation_id = draw(2) ? random_id(arena) : SLICE_NONE,
        .depth = draw(2) ? draw(1u << draw(32)) : 0,
        .id_given = draw(2),
    };
    bool has_events = commit.kind == RECORD_COMMIT || commit.kind == RECORD_FACT;
    size_t scale = draw(10) ? 3 : 60;
    commit.command_count = commit.kind == RECORD_FACT ? draw(2) : 1 + draw((uint32_t)scale);
    commit.event_count = has_events ? 1 + draw((uint32_t)scale) : 0;
    struct commit_command *commands = arena_zero(arena, commit.command_count * sizeof *commands);
    struct commit_event *events = arena_zero(arena, commit.event_count * sizeof *events);
    for (size_t n = 0; n < commit.event_count; n++)
        events[n] = (struct commit_event){
            .type = random_name(arena, "Event"),
            .type_version = 1 + draw(3),
            .at_ms = draw(3) ? commit.recorded_ms : (int64_t)draw(1u << 31) * 1000 - 62135596800000LL,
            .data = random_data(arena),
        };
    for (size_t n = 0; n < commit.command_count; n++) {
        commands[n].type = commit.kind == RECORD_FACT ? SLICE_NONE : random_name(arena, "Command");
        commands[n].id = random_id(arena);
        commands[n].data = commit.event_count && draw(2) ? events[draw((uint32_t)commit.event_count)].data
                           : draw(5)                     ? random_data(arena)
                                                         : SLICE_NONE;
    }
    commit.commands = commands;
    commit.events = events;
    if (commit.kind == RECORD_REJECTED) {
        commit.reason = S("exists");
        commit.message = random_data(arena);
    }
    return commit;
}

static void same(struct slice a, struct slice b)
{
    assert_int_equal(a.size, b.size);
    if (a.size) assert_memory_equal(a.data, b.data, a.size);
}

static void same_commit(const struct commit *a, const struct commit *b)
{
    struct slice first = a->command_count ? a->commands[0].id : SLICE_NONE;
    assert_int_equal(a->kind, b->kind);
    same(a->tenant, b->tenant);
    same(a->aggregate, b->aggregate);
    same(a->id, b->id);
    assert_true(a->first_version == b->first_version && a->first_position == b->first_position);
    assert_true(a->recorded_ms == b->recorded_ms && a->epoch == b->epoch && a->deploy == b->deploy);
    same(a->actor, b->actor);
    same(a->batch_id, b->batch_id);
    same(a->correlation_id.size ? a->correlation_id : first, b->correlation_id);
    same(a->causation_id.size ? a->causation_id : first, b->causation_id);
    assert_true(a->id_given == b->id_given);
    assert_int_equal(a->depth, b->depth);
    same(a->reason, b->reason);
    same(a->message, b->message);
    assert_int_equal(a->command_count, b->command_count);
    assert_int_equal(a->event_count, b->event_count);
    for (size_t n = 0; n < a->command_count; n++) {
        same(a->commands[n].type, b->commands[n].type);
        same(a->commands[n].id, b->commands[n].id);
        same(a->commands[n].data, b->commands[n].data);
    }
    for (size_t n = 0; n < a->event_count; n++) {
        same(a->events[n].type, b->events[n].type);
        same(a->events[n].data, b->events[n].data);
        assert_true(a->events[n].at_ms == b->events[n].at_ms);
        assert_int_equal(a->events[n].type_version, b->events[n].type_version);
    }
}

/* One log of random commits written with one table and read with another, empty one: it explains itself. */
static void random_commits_come_back(void **state)
{
    struct names *writing = names_new(), *reading = names_new();
    struct hash chain = {{0}}, previous = {{0}};
    uint32_t saved = 0;
    for (int n = 0; n < 3000; n++) {
        struct arena arena = {0};
        struct buf out = {0};
        struct fault fault = {0};
        struct commit commit = random_commit(&arena), again;
        record_write(&commit, writing, saved, &chain, &out);
        saved = names_count(writing);
        struct record record;
        if (record_open(buf_slice(&out), reading, &record, &fault) < 0) fail_msg("%s", fault.text);
        if (record_check(&record, &previous, &fault) < 0) fail_msg("%s", fault.text);
        assert_true(hash_equal(&record.chain, &chain));
        assert_int_equal(names_count(reading), saved);
        record_read_commit(&record, &arena, &again);
        same_commit(&commit, &again);
        struct record_event event = {0};
        for (uint32_t k = 0; record_next_event(&record, &event); k++) {
            assert_int_equal(event.ordinal, k);
            assert_true(event.position == commit.first_position + k &&
                        event.version == commit.first_version + k);
        }
        previous = chain;
        buf_release(&out);
        arena_release(&arena);
    }
    names_free(writing);
    names_free(reading);
}

static struct commit small_commit(void)
{
    static struct commit_command command;
    static struct commit_event event;
    command = (struct commit_command){.type = S("CloseBill"),
                                      .id = S(UUID),
                                      .data = S("\x81\xa1"
                                                "a\x01")};
    event = (struct commit_event){.type = S("BillClosed"),
                                  .type_version = 1,
                                  .at_ms = 1760000000000,
                                  .data = S("\x81\xa1"
                                            "a\x01")};
    return (struct commit){
        .kind = RECORD_COMMIT,
        .tenant = S("main"),
        .aggregate = S("billing/bill"),
        .id = S("A1234"),
        .first_version = 3,
        .first_position = 5000000,
        .recorded_ms = 1760000000000,
        .epoch = 1,
        .deploy = 12,
        .actor = S("import"),
        .correlation_id = S(UUID),
        .commands = &command,
        .command_count = 1,
        .events = &event,
        .event_count = 1,
    };
}

static void records_are_small(void **state)
{
    struct names *names = names_new();
    struct hash chain = {{0}};
    struct buf out = {0};
    struct commit commit = small_commit();
    record_write(&commit, names, 0, &chain, &out);
    buf_clear(&out);
    record_write(&commit, names, names_count(names), &chain, &out);
    struct record record;
    assert_int_equal(record_open(buf_slice(&out), names, &record, NULL), 0);
    assert_in_range(record.envelope.size, 30, 60);
    assert_int_equal(record.payload.size, 4); /* the command's data is the event's */
    buf_release(&out);
    names_free(names);
}

/* Every byte of the record, changed to every other value in one of three ways. */
static void any_flip_is_found(void **state)
{
    for (int with_previous = 0; with_previous < 2; with_previous++) {
        for (int n = 0; n < 60; n++) {
            struct arena arena = {0};
            struct names *names = names_new();
            struct hash zero = {{0}}, chain = zero;
            struct buf out = {0};
            struct commit commit = random_commit(&arena);
            record_write(&commit, names, 0, &chain, &out);
            uint32_t known = names_count(names);
            for (size_t at = 0; at < out.size; at++) {
                uint8_t flip = (uint8_t)(n < 8 ? 1u << n : 1 + draw(255));
                struct record record;
                struct fault fault = {0};
                out.data[at] = (char)(out.data[at] ^ flip);
                if (record_open(buf_slice(&out), names, &record, &fault) == 0 &&
                    record_check(&record, with_previous ? &zero : NULL, &fault) == 0)
                    fail_msg("byte %zu of %zu ^ %02x is not found", at, out.size, flip);
                assert_int_equal(fault.code, FAULT_CORRUPT);
                assert_int_equal(names_count(names), known); /* damage never enters the table */
                out.data[at] = (char)(out.data[at] ^ flip);
            }
            buf_release(&out);
            names_free(names);
            arena_release(&arena);
        }
    }
}

/* Damage against an empty table: definitions that are damaged must not be taken over. */
static void damaged_names_are_not_taken(void **state)
{
    struct names *writing = names_new();
    struct hash chain = {{0}};
    struct buf out = {0};
    struct commit commit = small_commit();
    record_write(&commit, writing, 0, &chain, &out);
    for (size_t at = 0; at < out.size; at++) {
        struct names *reading = names_new();
        struct record record;
        out.data[at] ^= 0x01;
        if (record_open(buf_slice(&out), reading, &record, NULL) == 0) fail_msg("byte %zu", at);
        assert_int_equal(names_count(reading), 0);
        out.data[at] ^= 0x01;
        names_free(reading);
    }
    buf_release(&out);
    names_free(writing);
}

/* Reads everything that record_open accepted; the sanitizers judge. */
static void read_all(const struct record *record)
{
    struct arena arena = {0};
    struct record_ids ids;
    struct slice reason, message;
    struct record_event event = {0};
    struct record_command command = {0};
    struct record_define define = {0};
    uint32_t sum = 0;
    while (record_next_event(record, &event))
        if (event.data.size) sum += (uint8_t)event.data.data[event.data.size - 1];
    while (record_next_command(record, &command))
        if (command.data.size) sum += (uint8_t)command.data.data[command.data.size - 1];
    while (record_next_define(record, &define)) sum += (uint8_t)define.text.data[0];
    record_read_ids(record, &arena, &ids);
    record_read_outcome(record, &reason, &message);
    assert_true(sum < UINT32_MAX);
    arena_release(&arena);
}

/* Cut off anywhere, and damaged without the CRC noticing: open refuses or everything stays inside. */
static void hostile_bytes_are_safe(void **state)
{
    for (int n = 0; n < 4000; n++) {
        struct arena arena = {0};
        struct names *names = names_new();
        struct hash chain = {{0}};
        struct buf out = {0};
        struct commit commit = random_commit(&arena);
        record_write(&commit, names, 0, &chain, &out);
        struct record record;
        size_t size = n % 2 ? out.size : draw((uint32_t)out.size);
        char *exact = test_malloc(size + 1); /* of its own, so that a read behind it is seen */
        memcpy(exact, out.data, size);
        for (uint32_t k = draw(4); k > 0 && size > 6; k--)
            exact[6 + draw((uint32_t)size - 6)] = (char)draw(256);
        if (record_open(slice_make(exact, size), n % 3 ? NULL : names, &record, NULL) == 0) {
            assert_int_equal(size, out.size);
            read_all(&record);
        }
        test_free(exact);
        buf_release(&out);
        names_free(names);
        arena_release(&arena);
    }
}

static void erased_records_hold_the_chain(void **state)
{
    struct names *names = names_new(), *reading = names_new();
    struct hash chain = {{0}}, previous = {{0}};
    uint64_t position = 1;
    for (int n = 0; n < 300; n++) {
        struct arena arena = {0};
        struct buf out = {0}, erased = {0}, twice = {0};
        struct commit commit = random_commit(&arena);
        uint32_t saved = names_count(names);
        commit.first_position = position;
        record_write(&commit, names, saved, &chain, &out);
        struct record record, rest, again;
        assert_int_equal(record_open(buf_slice(&out), names, &record, NULL), 0);
        record_erase(&record, &erased);
        assert_int_equal(record_open(buf_slice(&erased), reading, &rest, NULL), 0);
        assert_int_equal(record_check(&rest, &previous, NULL), 0);
        assert_int_equal(rest.kind, RECORD_ERASED);
        assert_true(rest.first_position == position && rest.first_version == commit.first_version);
        assert_true(rest.event_count == commit.event_count && rest.command_count == 0 &&
                    rest.payload.size == 0);
        assert_true(rest.recorded_ms == commit.recorded_ms && rest.epoch == commit.epoch);
        assert_int_equal(names_count(reading), names_count(names)); /* definitions stay for those behind */
        struct record_event event = {0};
        struct record_command command = {0};
        assert_false(record_next_event(&rest, &event) || record_next_command(&rest, &command));
        read_all(&rest);
        if (commit.event_count)
            assert_null(
                memmem(erased.data, erased.size, commit.events[0].data.data, commit.events[0].data.size));
        record_erase(&rest, &twice);
        assert_true(slice_equal(buf_slice(&erased), buf_slice(&twice)));
        for (size_t at = 0; at < erased.size; at++) {
            erased.data[at] ^= 0x10;
            assert_true(record_open(buf_slice(&erased), reading, &again, NULL) < 0 ||
                        record_check(&again, NULL, NULL) < 0);
            erased.data[at] ^= 0x10;
        }
        position += commit.event_count;
        previous = chain;
        buf_release(&out);
        buf_release(&erased);
        buf_release(&twice);
        arena_release(&arena);
    }
    names_free(names);
    names_free(reading);
}

static void names_must_be_known(void **state)
{
    struct names *names = names_new(), *empty = names_new();
    struct hash chain = {{0}};
    struct buf first = {0}, second = {0};
    struct commit commit = small_commit();
    struct fault fault = {0};
    struct record record;
    record_write(&commit, names, 0, &chain, &first);
    uint32_t saved = names_count(names);
    struct hash previous = chain;
    commit.tenant = S("other");
    record_write(&commit, names, saved, &chain, &second);
    assert_int_equal(record_open(buf_slice(&second), empty, &record, &fault), -1);
    assert_non_null(strstr(fault.text, "defines name 6 while 0 are known"));
    assert_int_equal(record_open(buf_slice(&first), empty, &record, NULL), 0);
    assert_int_equal(record_open(buf_slice(&second), empty, &record, NULL), 0);
    struct record_define define = {0};
    assert_true(record_next_define(&record, &define));
    assert_true(define.id == 6 && slice_is(define.text, "other"));
    assert_false(record_next_define(&record, &define));
    assert_int_equal(record_check(&record, &previous, NULL), 0);
    assert_int_equal(record_check(&record, &chain, &fault), -1);
    assert_non_null(strstr(fault.text, "follow"));
    /* The same number with another text. */
    struct names *different = names_new();
    names_intern(different, S("different"));
    assert_int_equal(record_open(buf_slice(&first), different, &record, &fault), -1);
    assert_non_null(strstr(fault.text, "defined differently"));
    buf_release(&first);
    buf_release(&second);
    names_free(names);
    names_free(empty);
    names_free(different);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_commits_come_back), cmocka_unit_test(records_are_small),
        cmocka_unit_test(any_flip_is_found),        cmocka_unit_test(damaged_names_are_not_taken),
        cmocka_unit_test(hostile_bytes_are_safe),   cmocka_unit_test(erased_records_hold_the_chain),
        cmocka_unit_test(names_must_be_known),
    };
    return cmocka_run_group_tests_name("codec/record", tests, NULL, NULL);
}

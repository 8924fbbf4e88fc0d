/* What happens between a decision and the disk: duplicates in flight, a disk that fails, somebody who was
 * faster, order. */
#include "run_support.h"

static struct held_engine *held;

static struct hub *open_held(const char *data, int shards)
{
    held = hold_engine(data);
    return open_hub_with(
        (struct hub_options){.data = data, .engine = &held->engine, .shards = shards, .projectors = -1});
}

static struct command *begin(struct hub *hub, const char *id, const char *type, const char *json,
                             const char *command_id)
{
    struct command *command = command_of(id, type, json, command_id);
    submit(hub, command);
    return command;
}

static void expect_fault(struct command *command, enum fault_code code)
{
    await(command);
    if (command->fault.code != code) fail_msg("%s: %s", fault_name(command->fault.code), command->fault.text);
    forget(command);
}

/* The shard is behind everything submitted before: it answers in order. */
static void reach(struct hub *hub)
{
    expect(hub, "reach", "Open", "{}", FAULT_CONTRACT);
}

static void duplicates_in_flight(void **state)
{
    struct hub *hub = open_held(NULL, 1);
    held_set(held, true);
    struct command *first = begin(hub, "a", "Open", "{'owner':'x'}", "one");
    struct command *second = begin(hub, "a", "Open", "{'owner':'x'}", "one");
    struct command *third = begin(hub, "a", "Open", "{'owner':'x'}", "one");
    struct command *other = begin(hub, "a", "Open", "{'owner':'y'}", "one");
    expect_fault(other, FAULT_ID_REUSED);
    assert_false(is_answered(first));
    assert_false(is_answered(second));
    held_set(held, false);
    assert_int_equal(await(second)->version, 1);
    assert_true(second->repeated && await(third)->repeated);
    assert_int_equal(second->position, 1);
    assert_int_equal(second->record.event_count, 1);
    assert_false(await(first)->repeated);
    forget(first);
    forget(second);
    forget(third);
    expect_log(hub, "a:Opened:1 ");
    hub_close(hub);
}

static void duplicate_of_what_fails_is_decided_itself(void **state)
{
    struct hub *hub = open_held(NULL, 1);
    held_set(held, true);
    struct command *first = begin(hub, "a", "Open", "{'owner':'x'}", "one");
    struct command *second = begin(hub, "a", "Open", "{'owner':'x'}", "one");
    held_await(held);
    held_pass(held, true);
    expect_fault(first, FAULT_DISK);
    held_set(held, false);
    assert_int_equal(await(second)->fault.code, FAULT_NONE);
    assert_false(second->repeated);
    forget(second);
    expect_log(hub, "a:Opened:1 ");
    hub_close(hub);
}

/* Else the hub could be killed, and the same id be accepted later. */
static void rejection_waits_for_the_disk(void **state)
{
    for (int fails = 1; fails >= 0; fails--) {
        struct hub *hub = open_held(*state ? folder(fails ? "failing" : "data") : NULL, 1);
        expect(hub, "a", "Open", "{'owner':'x'}", FAULT_NONE);
        held_set(held, true);
        struct command *no = begin(hub, "a", "Open", "{'owner':'x'}", "no");
        struct command *again = begin(hub, "a", "Open", "{'owner':'x'}", "no");
        struct command *reused = begin(hub, "a", "Touch", "{}", "no");
        expect_fault(reused, FAULT_ID_REUSED);
        assert_false(is_answered(no));
        held_await(held);
        held_pass(held, fails);
        assert_int_equal(await(no)->fault.code, fails ? FAULT_DISK : FAULT_REJECTED);
        held_set(held, false);
        assert_int_equal(await(again)->fault.code, FAULT_REJECTED);
        assert_int_equal(again->repeated, !fails);
        forget(no);
        forget(again);
        hub_close(hub);
    }
}

/* A refusal that rests on what is not durable yet waits for it, and is worth nothing if it fails. */
static void rejection_on_undurable_state_waits(void **state)
{
    struct hub *hub = open_held(NULL, 1);
    for (int fails = 1; fails >= 0; fails--) {
        const char *id = fails ? "b" : "a";
        held_set(held, true);
        struct command *close = begin(hub, id, "Close", "{}", NULL);
        held_await(held);
        struct command *add = begin(hub, id, "Add", "{'amount':1}", "add");
        reach(hub);
        assert_false(is_answered(add));
        held_pass(held, fails);
        expect_fault(close, fails ? FAULT_DISK : FAULT_NONE);
        held_set(held, false);
        expect_fault(add, fails ? FAULT_UNAVAILABLE : FAULT_REJECTED);
        expect(hub, id, "Add", "{'amount':1}", fails ? FAULT_NONE : FAULT_REJECTED);
    }
    expect_log(hub, "b:Added:1 a:Closed:1 ");
    hub_close(hub);
}

static void failed_batch_refuses_what_builds_on_it(void **state)
{
    struct hub *hub = open_held(*state ? folder("data") : NULL, 1);
    expect(hub, "a", "Add", "{'amount':5}", FAULT_NONE);
    held_set(held, true);
    struct command *first = begin(hub, "a", "Add", "{'amount':10}", NULL);
    held_await(held);
    struct command *second = begin(hub, "a", "Add", "{'amount':-12}", NULL);
    struct command *third = begin(hub, "a", "Add", "{'amount':100}", NULL);
    struct command *elsewhere = begin(hub, "b", "Add", "{'amount':1}", NULL);
    reach(hub);
    held_pass(held, true);
    expect_fault(first, FAULT_DISK);
    held_set(held, false);
    expect_fault(second, FAULT_UNAVAILABLE);
    expect_fault(third, FAULT_UNAVAILABLE);
    expect_fault(elsewhere, FAULT_NONE);
    expect(hub, "a", "Add", "{'amount':-6}", FAULT_REJECTED);
    expect(hub, "a", "Add", "{'amount':-5}", FAULT_NONE);
    assert_string_equal(state_of(hub, "a"), "2 {'total':0}");
    expect_log(hub, "a:Added:1 b:Added:1 a:Added:2 ");
    hub_close(hub);
}

/* The same when all of them are in the batch that fails. */
static void failed_batch_refuses_all_of_it(void **state)
{
    struct hub *hub = open_held(NULL, 1);
    held_set(held, true);
    struct command *before = begin(hub, "b", "Add", "{'amount':1}", NULL);
    held_await(held);
    struct command *commands[3];
    for (int at = 0; at < 3; at++) commands[at] = begin(hub, "a", "Add", "{'amount':1}", NULL);
    reach(hub);
    held_pass(held, false);
    expect_fault(before, FAULT_NONE);
    held_await(held);
    held_pass(held, true);
    for (int at = 0; at < 3; at++) expect_fault(commands[at], FAULT_DISK);
    held_set(held, false);
    for (int at = 0; at < 3; at++) expect(hub, "a", "Add", "{'amount':1}", FAULT_NONE);
    expect_log(hub, "b:Added:1 a:Added:1 a:Added:2 a:Added:3 ");
    hub_close(hub);
}

/* Three commands in one batch, each decided on the one before, when another's event comes first: it has as
 * many events as the first of them, so the versions of the others would fit. All are decided again on what is
 * really there. */
static void conflict_decides_again(void **state)
{
    struct hub *hub = open_held(*state ? folder("data") : NULL, 1);
    expect(hub, "a", "Add", "{'amount':5}", FAULT_NONE);
    held_set(held, true);
    struct command *before = begin(hub, "b", "Add", "{'amount':1}", NULL);
    held_await(held);
    struct command *first = begin(hub, "a", "Add", "{'amount':-4}", "i1");
    struct command *second = begin(hub, "a", "Add", "{'amount':-1}", "i2");
    struct command *third = begin(hub, "a", "Add", "{'amount':7}", "i3");
    struct command *exact = command_of("a", "Add", "{'amount':1}", NULL);
    exact->expected_version = 4;
    submit(hub, exact);
    reach(hub);
    held_pass(held, false);
    held_await(held);
    held->before = somebody_else_adds;
    held->user = &(struct somebody_else){"a", "{'amount':-2}"};
    held_set(held, false);
    expect_fault(before, FAULT_NONE);
    assert_int_equal(await(first)->fault.code, FAULT_REJECTED); /* 5 - 2 - 4 */
    assert_string_equal(first->fault.reason, "poor");
    forget(first);
    assert_int_equal(await(second)->fault.code, FAULT_NONE);
    assert_int_equal(second->version, 3);
    forget(second);
    assert_int_equal(await(third)->fault.code, FAULT_NONE);
    assert_int_equal(third->version, 4);
    forget(third);
    expect_fault(exact, FAULT_NONE);
    assert_string_equal(state_of(hub, "a"), "5 {'total':10}");
    expect(hub, "a", "Add", "{'amount':-10}", FAULT_NONE);
    expect_log(hub, "a:Added:1 b:Added:1 a:Added:2 a:Added:3 a:Added:4 a:Added:5 a:Added:6 ");
    hub_close(hub);
}

/* The same over two batches: the follower's version would fit, but its chain is broken. */
static void conflict_breaks_later_batches(void **state)
{
    struct hub *hub = open_held(NULL, 1);
    expect(hub, "a", "Add", "{'amount':5}", FAULT_NONE);
    held_set(held, true);
    struct command *first = begin(hub, "a", "Add", "{'amount':-5}", NULL);
    held_await(held);
    struct command *second = begin(hub, "a", "Add", "{'amount':3}", NULL);
    struct command *exact = command_of("a", "Add", "{'amount':1}", NULL);
    exact->expected_version = 2;
    submit(hub, exact); /* a conflict with what is in flight: told when that is on disk, which it never is */
    reach(hub);
    assert_false(is_answered(exact));
    held->before = somebody_else_adds;
    held->user = &(struct somebody_else){"a", "{'amount':-1}"};
    held_set(held, false);
    expect_fault(first, FAULT_REJECTED);
    expect_fault(second, FAULT_NONE);
    assert_int_equal(await(exact)->fault.code, FAULT_CONFLICT);
    assert_int_equal(exact->conflict_version, 3);
    forget(exact);
    assert_string_equal(state_of(hub, "a"), "3 {'total':7}");
    expect_log(hub, "a:Added:1 a:Added:2 a:Added:3 ");
    hub_close(hub);
}

/* A conflict that waits for the disk was decided before what came meanwhile with the same id. */
static void a_waiting_conflict_keeps_its_place(void **state)
{
    struct hub *hub = open_held(*state ? folder("data") : NULL, 1);
    expect(hub, "a", "Add", "{'amount':5}", FAULT_NONE);
    held_set(held, true);
    struct command *before = begin(hub, "a", "Add", "{'amount':1}", NULL);
    held_await(held);
    struct command *stale = command_of("a", "Add", "{'amount':2}", "same");
    stale->expected_version = 1;
    submit(hub, stale);
    struct command *other = begin(hub, "a", "Add", "{'amount':3}", "same");
    reach(hub);
    assert_false(is_answered(stale));
    held_set(held, false);
    expect_fault(before, FAULT_NONE);
    assert_int_equal(await(stale)->fault.code, FAULT_CONFLICT);
    assert_int_equal(stale->conflict_version, 2);
    forget(stale);
    expect_fault(other, FAULT_NONE);
    assert_string_equal(state_of(hub, "a"), "3 {'total':9}");
    hub_close(hub);
}

static void lost_races_end_in_a_conflict(void **state)
{
    struct hub *hub = open_held(NULL, 1);
    held_set(held, true);
    held->before = somebody_else_adds;
    held->before_always = true;
    held->user = &(struct somebody_else){"a", "{'amount':1}"};
    held_set(held, false);
    struct command *command = run(hub, command_of("a", "Add", "{'amount':1}", NULL));
    assert_int_equal(command->fault.code, FAULT_CONFLICT);
    assert_true(command->conflict_version > 10);
    forget(command);
    hub_close(hub);
}

static void a_full_disk_passes(void **state)
{
    struct hub *hub = open_held(NULL, 2);
    held_set(held, true);
    held->fail = 20;
    held_set(held, false);
    for (int at = 0; at < 20; at++) {
        char id[16];
        snprintf(id, sizeof id, "s%d", at % 7);
        expect(hub, id, "Add", "{'amount':1}", FAULT_DISK);
    }
    for (int at = 0; at < 7; at++) {
        char id[16];
        snprintf(id, sizeof id, "s%d", at % 7);
        struct command *command = run(hub, command_of(id, "Add", "{'amount':1}", NULL));
        assert_int_equal(command->version, 1);
        forget(command);
    }
    hub_close(hub);
}

/* --- order --- */

static struct command *ordered(uint64_t number, int stream, const char *type, const char *json)
{
    char id[16];
    snprintf(id, sizeof id, "s%d", stream);
    struct command *command = command_of(id, type, json, NULL);
    command->ordered = number;
    command->brief = true;
    return command;
}

/* Every number counts, whatever becomes of it: log order is the order of the numbers. */
static void keeps_order_over_shards(void **state)
{
    enum { ROWS = 4000 };
    static struct command *commands[ROWS];
    struct hub *hub = open_hub(*state ? folder("data") : NULL, 4, -1);
    for (int sequence = 0; sequence < 2; sequence++) {
        struct buf expected = {0};
        struct buf before = log_text(hub);
        uint64_t seed = 3;
        for (int at = 0; at < ROWS; at++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            int kind = (int)(seed >> 60), stream = (int)(seed >> 33) % 500;
            const char *type = kind == 0 ? "Break" : kind == 2 ? "Touch" : "Add";
            const char *json = kind == 1 ? "{'amount':-1000000}" : kind == 3 ? "{'wrong':1}" : "{'amount':1}";
            if (kind == 0 || kind == 2) json = "{}";
            commands[at] = ordered((uint64_t)at + 1, stream, type, json);
            if (kind == 4) { /* refused at the door: counts too */
                commands[at]->context = slice_of("nowhere");
                assert_int_equal(hub_submit_wait(hub, commands[at], &test_fault), -1);
                answered(commands[at]);
                continue;
            }
            submit(hub, commands[at]);
            if (kind > 4) buf_format(&expected, "s%d ", stream);
        }
        for (int at = 0; at < ROWS; at++) forget(commands[at]);
        buf_put_byte(&expected, 0);
        struct buf log = log_text(hub), streams = {0};
        /* "s7:Added:3 " -> "s7 " of what is new */
        for (char *at = log.data + before.size - 1; *at;) {
            char *end = strchr(at, ' ');
            buf_format(&streams, "%.*s ", (int)(strchr(at, ':') - at), at);
            at = end + 1;
        }
        buf_put_byte(&streams, 0);
        assert_string_equal(streams.data, expected.data);
        buf_release(&streams);
        buf_release(&log);
        buf_release(&before);
        buf_release(&expected);
    }
    hub_close(hub);
}

int main(void)
{
#define ONE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BOTH(test)                                                                                           \
    {#test " (memory)", test, setup, teardown, NULL},                                                        \
    {                                                                                                        \
#test " (lmdb)", test, setup, teardown, (void *)1                                                    \
    }
    const struct CMUnitTest tests[] = {
        ONE(duplicates_in_flight),
        ONE(duplicate_of_what_fails_is_decided_itself),
        BOTH(rejection_waits_for_the_disk),
        ONE(rejection_on_undurable_state_waits),
        BOTH(failed_batch_refuses_what_builds_on_it),
        ONE(failed_batch_refuses_all_of_it),
        BOTH(conflict_decides_again),
        ONE(conflict_breaks_later_batches),
        BOTH(a_waiting_conflict_keeps_its_place),
        ONE(lost_races_end_in_a_conflict),
        ONE(a_full_disk_passes),
        BOTH(keeps_order_over_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

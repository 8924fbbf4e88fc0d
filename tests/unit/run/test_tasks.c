/* Tasks by a clock that is moved by hand: each moment once, whatever happens in between. */
#include "base/faultpoint.h"
#include "codec/mp.h"
#include "codec/time.h"
#include "sending_support.h"

static const char chores[] = "contracts [[\n  Ticked! (now: time)\n  Seen! (n: integer)\n]]\n";

static bool by_hand_only;

/* The hub over the kept log, with these declarations of tasks. */
static struct hub *open_tasks(const char *tasks)
{
    write_script("chores/contracts.lua", chores);
    write_script("chores/tasks.lua", tasks);
    struct held_engine *held = hold_engine_with((struct engine_options){.clock = &hand.clock}, kept);
    kept = held->inner;
    held->keep = true;
    return open_hub_with((struct hub_options){.engine = &held->engine,
                                              .shards = 2,
                                              .projectors = 1,
                                              .clock = &hand.clock,
                                              .schedule = !by_hand_only});
}

#define TICKS(options)                                                                                       \
    "local t = task 'tick' " options "\nfunction t.run(now) publish(Ticked { now = now }) end\n"

static void set_clock(struct hub *hub, const char *moment)
{
    int64_t ms;
    assert_true(time_parse(slice_of(moment), &ms));
    atomic_store(&hand.now_ms, ms);
    if (hub) hub_look(hub);
}

/* Waits until the last run recorded is for this moment and nothing runs. */
static void ran(struct hub *hub, const char *due)
{
    char text[128];
    snprintf(text, sizeof text, "'last':{'due':'%s.000Z'", due);
    wait_until(hub, status_has, text);
}

/* "tenant name due by outcome; " of each $TaskRan, in order. */
static void expect_runs(struct hub *hub, const char *expected)
{
    struct engine_cursor *cursor;
    struct record record;
    struct buf out = {0};
    assert_int_equal(engine_read(hub_engine(hub), 1, &cursor, &test_fault), 0);
    while (engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) {
            if (!slice_is(names_get(record.names, event.type), "$TaskRan")) continue;
            static const char *const members[] = {"due", "by", "outcome"};
            buf_format(&out, "%.*s %.*s", SLICE_ARGS(names_get(record.names, record.tenant)),
                       SLICE_ARGS(record.id));
            for (size_t at = 0; at < 3; at++) {
                struct slice bytes;
                struct mp_value value;
                assert_true(mp_find(event.data, slice_of(members[at]), &bytes));
                struct mp_reader reader = mp_reader_of(bytes);
                assert_int_equal(mp_read(&reader, &value), 0);
                size_t size = at == 0 ? 16 : value.text.size; /* to the minute */
                buf_format(&out, " %.*s", (int)size, value.text.data);
            }
            buf_put_text(&out, "; ");
        }
    }
    engine_cursor_close(cursor);
    buf_put_byte(&out, 0);
    assert_string_equal(out.data, expected);
    buf_release(&out);
}

static size_t count_events(struct hub *hub, const char *type)
{
    struct buf log = log_text(hub);
    size_t count = 0;
    for (const char *at = log.data; (at = strstr(at, type)); at++) count++;
    buf_release(&log);
    return count;
}

/* --- moments --- */

static void runs_at_each_moment_once(void **state)
{
    set_clock(NULL, "2026-02-02T02:50Z");
    struct hub *hub = open_tasks(TICKS("{ every = '15m' }"));
    assert_true(status_has(hub, "'state':'idle','next':'2026-02-02T03:00:00.000Z'}"));
    set_clock(hub, "2026-02-02T02:59:59Z");
    set_clock(hub, "2026-02-02T03:00Z");
    ran(hub, "2026-02-02T03:00:00");
    set_clock(hub, "2026-02-02T03:14:59.999Z");
    set_clock(hub, "2026-02-02T03:15Z");
    ran(hub, "2026-02-02T03:15:00");
    expect_runs(hub, "main tick 2026-02-02T03:00 schedule done; main tick 2026-02-02T03:15 schedule done; ");
    expect_log(hub, "tick:Ticked:1 tick:$TaskRan:2 tick:Ticked:3 tick:$TaskRan:4 ");
    hub_close(hub);
    unsigned long begun = fault_point_passed(POINT_TASK_RUN);
    hub = open_tasks(TICKS("{ every = '15m' }")); /* and not again */
    assert_true(
        status_has(hub, "'next':'2026-02-02T03:30:00.000Z','last':{'due':'2026-02-02T03:15:00.000Z'"));
    set_clock(hub, "2026-02-02T03:30Z");
    ran(hub, "2026-02-02T03:30:00");
    assert_int_equal(count_events(hub, "$TaskRan"), 3);
    assert_int_equal(fault_point_passed(POINT_TASK_RUN), begun + 1);
    hub_close(hub);
}

static void missed_moments_are_one_run(void **state)
{
    set_clock(NULL, "2026-02-02T02:50Z");
    struct hub *hub = open_tasks(TICKS("{ every = '15m' }"));
    hub_close(hub);
    set_clock(NULL, "2026-02-02T05:07Z"); /* it never ran, but was seen */
    hub = open_tasks(TICKS("{ every = '15m' }"));
    ran(hub, "2026-02-02T05:00:00");
    hub_close(hub);
    set_clock(NULL, "2026-03-02T05:07Z");
    hub = open_tasks(TICKS("{ every = '15m' }"));
    ran(hub, "2026-03-02T05:00:00");
    set_clock(hub, "2026-03-05T01:01Z"); /* the machine slept */
    ran(hub, "2026-03-05T01:00:00");
    expect_runs(hub, "main tick 2026-02-02T05:00 schedule done; main tick 2026-03-02T05:00 schedule done; "
                     "main tick 2026-03-05T01:00 schedule done; ");
    hub_close(hub);
}

static void missed_moments_are_skipped(void **state)
{
    set_clock(NULL, "2026-02-02T02:50Z");
    struct hub *hub = open_tasks(TICKS("{ cron = '*/15 * * * *', missed = 'skip' }"));
    hub_close(hub);
    set_clock(NULL, "2026-02-02T05:07Z");
    hub = open_tasks(TICKS("{ cron = '*/15 * * * *', missed = 'skip' }"));
    assert_true(status_has(hub, "'next':'2026-02-02T05:15:00.000Z'"));
    set_clock(hub, "2026-02-02T05:15:01Z");
    ran(hub, "2026-02-02T05:15:00");
    expect_runs(hub, "main tick 2026-02-02T05:15 schedule done; ");
    hub_close(hub);
}

static void cron_goes_by_its_zone(void **state)
{
    set_clock(NULL, "2026-03-28T12:00Z");
    struct hub *hub = open_tasks(TICKS("{ cron = '30 2 * * *', zone = 'Europe/Berlin' }"));
    assert_true(status_has(hub, "'next':'2026-03-29T01:00:00.000Z'")); /* 02:30 is left out that night */
    set_clock(hub, "2026-03-29T01:00Z");
    ran(hub, "2026-03-29T01:00:00");
    assert_true(status_has(hub, "'next':'2026-03-30T00:30:00.000Z'"));
    hub_close(hub);
    set_clock(NULL, "2027-01-10T12:00Z"); /* the last of many missed ones */
    hub = open_tasks(TICKS("{ cron = '30 2 * * *', zone = 'Europe/Berlin' }"));
    ran(hub, "2027-01-10T01:30:00");
    hub_close(hub);
    set_clock(NULL, "2031-03-10T12:00Z"); /* and of one that comes once in four years */
    hub = open_tasks(TICKS("{ cron = '0 0 29 2 *' }"));
    ran(hub, "2028-02-29T00:00:00");
    assert_int_equal(count_events(hub, "$TaskRan"), 3);
    hub_close(hub);
}

static void one_moment_is_one_run(void **state)
{
    set_clock(NULL, "2026-02-02T02:50Z");
    struct hub *hub = open_tasks(TICKS("{ at = '2026-02-02T03:00Z' }"));
    set_clock(hub, "2026-02-02T04:00Z");
    ran(hub, "2026-02-02T03:00:00");
    assert_false(status_has(hub, "'next'"));
    hub_close(hub);
    hub = open_tasks(TICKS("{ at = '2026-02-02T03:00Z' }"));
    assert_false(status_has(hub, "'next'"));
    set_clock(hub, "2027-02-02T04:00Z");
    expect_runs(hub, "main tick 2026-02-02T03:00 schedule done; ");
    hub_close(hub);
}

/* --- what goes wrong --- */

static void a_run_that_fails_is_recorded(void **state)
{
    static const char tasks[] = "local t = task 'tick' { every = '1h' }\n"
                                "function t.run(now)\n"
                                "  publish(Ticked { now = now })\n"
                                "  if now < '2026-02-02T03:30' then error('not yet') end\n"
                                "end\n";
    set_clock(NULL, "2026-02-02T02:50Z");
    struct hub *hub = open_tasks(tasks);
    set_clock(hub, "2026-02-02T03:00Z");
    ran(hub, "2026-02-02T03:00:00");
    assert_true(status_has(hub, "'outcome':'failed'"));
    assert_true(status_has(hub, "chores/tasks.lua:4: not yet"));
    set_clock(hub, "2026-02-02T04:00Z");
    ran(hub, "2026-02-02T04:00:00");
    assert_false(status_has(hub, "'error'"));
    expect_metric(hub, "\nlore_task_runs_total{task='chores/tick',outcome='done'} 1\n");
    expect_metric(hub, "\nlore_task_runs_total{task='chores/tick',outcome='failed'} 1\n");
    expect_metric(hub, "\nlore_task_running{task='chores/tick'} 0\n");
    expect_runs(hub,
                "main tick 2026-02-02T03:00 schedule failed; main tick 2026-02-02T04:00 schedule done; ");
    expect_log(hub, "tick:$TaskRan:1 tick:Ticked:2 tick:$TaskRan:3 ");
    hub_close(hub);
}

/* A run that waits is not joined by a second one; the moments that passed meanwhile are one. */
static void runs_never_overlap(void **state)
{
    static const char tasks[] = "local t = task 'tick' { every = '15m' }\n"
                                "function t.run(now)\n"
                                "  if clock.now() < '2026-02-02T04:05' then retry('10m') end\n"
                                "  publish(Ticked { now = now })\n"
                                "end\n";
    set_clock(NULL, "2026-02-02T02:50Z");
    struct hub *hub = open_tasks(tasks);
    set_clock(hub, "2026-02-02T03:00Z");
    wait_until(hub, status_has, "'state':'waiting','next':'2026-02-02T03:10:00.000Z'");
    set_clock(hub, "2026-02-02T04:00Z");
    wait_until(hub, status_has, "'state':'waiting','next':'2026-02-02T04:10:00.000Z'");
    set_clock(hub, "2026-02-02T04:10Z");
    ran(hub, "2026-02-02T04:00:00");
    expect_runs(hub, "main tick 2026-02-02T03:00 schedule done; main tick 2026-02-02T04:00 schedule done; ");
    hub_close(hub);
}

/* What a run did is not lost with a commit that fails, and a run that was cut off is made up for. */
static void what_cannot_be_kept_is_kept_later(void **state)
{
    set_clock(NULL, "2026-02-02T02:50Z");
    struct hub *hub = open_tasks(TICKS("{ every = '15m' }"));
    fault_points_disarm();
    assert_int_equal(fault_points_arm("task.commit@1=ENOSPC,task.run@2=EIO", &test_fault), 0);
    set_clock(hub, "2026-02-02T03:00Z");
    wait_until(hub, status_has, "'state':'waiting','next':'2026-02-02T03:00:01.000Z'");
    set_clock(hub, "2026-02-02T03:00:01Z");
    ran(hub, "2026-02-02T03:00:00");
    set_clock(hub, "2026-02-02T03:15Z"); /* it cannot begin */
    wait_until(hub, status_has, "'state':'waiting','next':'2026-02-02T03:15:01.000Z'");
    hub_close(hub);
    fault_points_disarm();
    fault_points_arm("none", NULL);
    hub = open_tasks(TICKS("{ every = '15m' }"));
    ran(hub, "2026-02-02T03:15:00");
    expect_runs(hub, "main tick 2026-02-02T03:00 schedule done; main tick 2026-02-02T03:15 schedule done; ");
    assert_int_equal(count_events(hub, "Ticked"), 2);
    hub_close(hub);
}

/* --- by hand --- */

static struct command *ask(struct hub *hub, const char *name, const char *id)
{
    struct command *command = command_to("x", 0);
    command->id = SLICE_NONE;
    if (id) command->batch_id = slice_of(id);
    void *answer = command->user; /* the command is not ours until it is answered */
    if (hub_run_task(hub, slice_of(name), command, &test_fault) < 0) fail_msg("%s", test_fault.text);
    await(&(struct command){.user = answer});
    return command;
}

static void runs_by_hand(void **state)
{
    set_clock(NULL, "2026-02-02T02:50Z");
    struct hub *hub = open_tasks(TICKS("{ every = '1d' }") "local b = task 'bad' { every = '1d' }\n"
                                                           "function b.run() error('bad') end\n"
                                                           "local l = task 'late' { every = '1d' }\n"
                                                           "function l.run() retry('90s') end\n");
    unsigned long begun = fault_point_passed(POINT_TASK_RUN);
    struct command *command = ask(hub, "tick", "k1");
    assert_int_equal(command->fault.code, FAULT_NONE);
    assert_int_equal(command->version, 2);
    forget(command);
    command = ask(hub, "chores/tick", "k1"); /* again: the first answer */
    assert_int_equal(command->fault.code, FAULT_NONE);
    assert_true(command->repeated);
    assert_int_equal(command->version, 2);
    assert_int_equal(fault_point_passed(POINT_TASK_RUN), begun + 1);
    forget(command);
    forget(ask(hub, "bad", NULL));
    command = ask(hub, "late", NULL);
    if (command->fault.code != FAULT_UNAVAILABLE) fail_msg("%s", command->fault.text);
    assert_int_equal(command->retry_ms, 90000);
    forget(command);
    expect_runs(hub, "main tick 2026-02-02T02:50 hand done; main bad 2026-02-02T02:50 hand failed; ");
    assert_true(status_has(hub, "'name':'chores/tick','tenant':'main','state':'idle','next':'2026-02-03"));
    struct command *none = command_to("x", 0);
    assert_int_equal(hub_run_task(hub, slice_of("nothing"), none, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
    free(none->user);
    command_free(none);
    hub_close(hub);
}

/* Neither the moment that was missed before it, nor, after a restart, the next one. */
static void a_run_by_hand_is_no_moment(void **state)
{
    static const char tasks[] = TICKS("{ every = '1d' }");
    set_clock(NULL, "2026-02-01T23:50Z");
    struct hub *hub = open_tasks(tasks);
    set_clock(hub, "2026-02-02T00:00Z");
    ran(hub, "2026-02-02T00:00:00");
    hub_close(hub);
    set_clock(NULL, "2026-02-03T05:00Z");
    by_hand_only = true;
    hub = open_tasks(tasks);
    by_hand_only = false;
    forget(ask(hub, "tick", NULL));
    forget(ask(hub, "tick", NULL));
    hub_close(hub);
    hub = open_tasks(tasks);
    ran(hub, "2026-02-03T00:00:00");
    forget(ask(hub, "tick", NULL));
    hub_close(hub);
    hub = open_tasks(tasks);
    assert_true(status_has(hub, "'next':'2026-02-04T00:00:00.000Z','last':{'due':'2026-02-03T05:00"));
    expect_runs(hub, "main tick 2026-02-02T00:00 schedule done; main tick 2026-02-03T05:00 hand done; "
                     "main tick 2026-02-03T05:00 hand done; main tick 2026-02-03T00:00 schedule done; "
                     "main tick 2026-02-03T05:00 hand done; ");
    hub_close(hub);
}

/* --- tenants --- */

static void each_tenant_has_its_own_runs(void **state)
{
    static const char tasks[] = "local t = task 'tick' { every = '1h' }\n"
                                "function t.run(now)\n"
                                "  local n = 0\n"
                                "  for id, doc in views.seen:all() do n = n + doc.n end\n"
                                "  publish(Seen { n = n })\n"
                                "end\n";
    write_script("hub.lua", "return { tenants = 'open' }");
    write_script("chores/seen.lua",
                 "local seen = projection 'seen' { initial = { n = 0 } }\n"
                 "seen.when['bank.Added'] = function(doc, e) doc.n = doc.n + e.amount end\n");
    set_clock(NULL, "2026-02-02T02:50Z");
    struct hub *hub = open_tasks(tasks);
    struct command *command = command_of("a", "Add", "{'amount':5}", NULL);
    command->tenant = slice_of("acme");
    forget(run(hub, command));
    settle(hub);
    set_clock(hub, "2026-02-02T03:00Z");
    wait_until(hub, status_has, "'tenant':'acme','state':'idle','next':'2026-02-02T04:00:00.000Z','last'");
    wait_until(hub, status_has, "'tenant':'main','state':'idle','next':'2026-02-02T04:00:00.000Z','last'");
    assert_int_equal(count_events(hub, "$TaskRan"), 2);
    hub_close(hub);
    set_clock(NULL, "2026-02-02T04:00Z");
    hub = open_tasks(tasks); /* found in the log */
    wait_until(hub, status_has, "'tenant':'acme','state':'idle','next':'2026-02-02T05:00:00.000Z'");
    wait_until(hub, status_has, "'tenant':'main','state':'idle','next':'2026-02-02T05:00:00.000Z'");
    assert_int_equal(count_events(hub, "$TaskRan"), 4);
    struct engine_cursor *cursor;
    struct record record;
    struct stream_id stream = {slice_of("acme"), slice_of("chores/tick"), slice_of("tick")};
    assert_int_equal(engine_read_stream(hub_engine(hub), &stream, 1, &cursor, &test_fault), 0);
    assert_int_equal(engine_cursor_next(cursor, &record, &test_fault), 1);
    struct record_event event = {0};
    assert_true(record_next_event(&record, &event));
    struct buf json = {0};
    assert_int_equal(json_from_mp(event.data, &json, &test_fault), 0);
    assert_true(slice_is(buf_slice(&json), "{\"n\":5}")); /* the tenant's own documents */
    buf_release(&json);
    engine_cursor_close(cursor);
    hub_close(hub);
}

int main(void)
{
    fault_points_arm("none", NULL); /* so that passings are counted */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runs_at_each_moment_once, begin, end),
        cmocka_unit_test_setup_teardown(missed_moments_are_one_run, begin, end),
        cmocka_unit_test_setup_teardown(missed_moments_are_skipped, begin, end),
        cmocka_unit_test_setup_teardown(cron_goes_by_its_zone, begin, end),
        cmocka_unit_test_setup_teardown(one_moment_is_one_run, begin, end),
        cmocka_unit_test_setup_teardown(a_run_that_fails_is_recorded, begin, end),
        cmocka_unit_test_setup_teardown(runs_never_overlap, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_kept_is_kept_later, begin, end),
        cmocka_unit_test_setup_teardown(runs_by_hand, begin, end),
        cmocka_unit_test_setup_teardown(a_run_by_hand_is_no_moment, begin, end),
        cmocka_unit_test_setup_teardown(each_tenant_has_its_own_runs, begin, end),
    };
    return cmocka_run_group_tests_name("tasks", tests, NULL, NULL);
}

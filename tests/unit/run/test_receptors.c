/* Receptors: an event of one context becomes a command in another, once, in order, whatever fails. */
#include "run/receptors.h"
#include "sending_support.h"

/* --- tests --- */

static void an_event_becomes_a_command(void **state)
{
    struct hub *hub = open_kept();
    add(hub, "a", 1);
    add(hub, "b", 2);
    add(hub, "a", 3);
    quiet(hub);
    expect_noted(hub, "a", "1 3 ");
    expect_noted(hub, "b", "2 ");
    assert_true(status_has(hub, "{'kind':'receptor','name':'ledger/notes','position':6,'lag':0,'parked':0"));
    leave(hub);
}

static void causes_are_carried_on(void **state)
{
    struct hub *hub = open_kept();
    struct command *command = command_of("a", "Add", "{'amount':1}", "the-first");
    command->correlation_id = slice_of("the-story");
    forget(run(hub, command));
    quiet(hub);
    struct engine_cursor *cursor;
    struct record record;
    struct arena arena = {0};
    struct record_ids ids;
    assert_int_equal(engine_read(hub_engine(hub), 2, &cursor, &test_fault), 0);
    assert_int_equal(engine_cursor_next(cursor, &record, &test_fault), 1);
    record_read_ids(&record, &arena, &ids);
    assert_true(slice_is(ids.correlation_id, "the-story"));
    struct slice cause = arena_format(&arena, "%s:1:1", engine_head(hub_engine(hub)).log_id);
    assert_true(slice_equal(ids.causation_id, cause));
    assert_true(slice_is(names_get(record.names, record.actor), "ledger/notes"));
    assert_int_equal(record.depth, 1);
    assert_true(record.id_given);
    engine_cursor_close(cursor);
    arena_release(&arena);
    leave(hub);
}

/* A kill loses at most the checkpoint: what is behind it is handled again, and its commands are known. */
static void what_is_handled_again_has_one_effect(void **state)
{
    struct hub *hub = open_kept();
    struct buf old = checkpoints();
    for (int n = 1; n <= 3; n++) add(hub, "a", n);
    quiet(hub);
    leave(hub);
    struct buf new = checkpoints();
    assert_false(slice_equal(buf_slice(&old), buf_slice(&new)));
    set_checkpoints(buf_slice(&old));
    hub = open_kept();
    add(hub, "a", 4);
    quiet(hub);
    expect_noted(hub, "a", "1 2 3 4 ");
    leave(hub);
    buf_release(&old);
    buf_release(&new);
}

static void a_new_receptor_begins_where_it_says(void **state)
{
    write_script("ledger/notes.lua", "");
    struct hub *hub = open_kept();
    add(hub, "a", 1);
    leave(hub);
    write_script("ledger/notes.lua", notes);
    hub = open_kept();
    quiet(hub);
    expect_noted(hub, "a", "");
    add(hub, "a", 2);
    quiet(hub);
    expect_noted(hub, "a", "2 ");
    leave(hub);
    write_script("ledger/all.lua", "local all = receptor 'all' { since = 'start' }\n"
                                   "all.when['bank.Added'] = function(e, m)\n"
                                   "  send.entry('all', Note { amount = e.amount })\n"
                                   "end\n");
    hub = open_kept();
    quiet(hub);
    expect_noted(hub, "all", "1 2 ");
    leave(hub);
}

/* One that was declared yesterday and will be tomorrow keeps its place. */
static void a_receptor_taken_away_keeps_its_place(void **state)
{
    struct hub *hub = open_kept();
    add(hub, "a", 1);
    quiet(hub);
    leave(hub);
    write_script("ledger/notes.lua", "");
    hub = open_kept();
    add(hub, "a", 2);
    leave(hub);
    write_script("ledger/notes.lua", notes);
    hub = open_kept();
    quiet(hub);
    expect_noted(hub, "a", "1 2 ");
    leave(hub);
}

static void a_rejection_is_an_outcome(void **state)
{
    struct hub *hub = open_kept();
    expect(hub, "a", "Add", "{'amount':5}", FAULT_NONE);
    expect(hub, "a", "Add", "{'amount':-1}", FAULT_NONE);
    add(hub, "a", 2);
    quiet(hub);
    expect_noted(hub, "a", "5 2 ");
    assert_true(status_has(hub, "'parked':0,'retried':0"));
    leave(hub);
}

/* The book of a is broken: what follows of a waits behind it, b goes on. */
static void a_stuck_key_keeps_only_itself(void **state)
{
    struct hub *hub = open_kept();
    tell_entry(hub, "a", "Break");
    add(hub, "a", 1);
    wait_until(hub, status_has, "'retried':1");
    add(hub, "a", 2);
    add(hub, "b", 3);
    add(hub, "a", 4);
    wait_until(hub, status_has, "'skipped':2");
    wait_until(hub, status_has, "'position':6,'lag':0"); /* Broken, four of bank, b's Noted */
    expect_noted(hub, "b", "3 ");
    tell_entry(hub, "a", "Mend");
    move_clock(hub, 999);
    expect_noted(hub, "a", "");
    assert_true(status_has(hub, "'retried':1"));
    move_clock(hub, 1);
    quiet(hub);
    expect_noted(hub, "a", "1 2 4 ");
    assert_true(status_has(hub, "'retried':0"));
    leave(hub);
}

/* Seconds after which it is tried again, and that after the last of them it is parked. */
static void a_key_is_parked_in_the_end(void **state)
{
    static const int delays[] = {1, 2, 4, 8, 16, 32, 60, 60};
    struct hub *hub = open_kept();
    tell_entry(hub, "a", "Break");
    add(hub, "a", 1);
    for (unsigned at = 0; at < 8; at++) {
        char text[40];
        snprintf(text, sizeof text, "'attempts':%u", at + 1);
        wait_until(hub, status_has, text);
        move_clock(hub, delays[at] * 1000);
    }
    wait_until(hub, status_has,
               "'kind':'parked','name':'ledger/notes','tenant':'main','key':'bank/account/a'");
    assert_true(status_has(hub, "the book is broken"));
    assert_true(status_has(hub, "'deploy':1,'error'"));
    quiet(hub);
    add(hub, "a", 2);
    quiet(hub);
    move_clock(hub, 1000000000);
    tell_entry(hub, "a", "Mend");
    quiet(hub);
    expect_noted(hub, "a", "");
    leave(hub);
    hub = open_kept(); /* the same code: it stays parked */
    quiet(hub);
    assert_true(status_has(hub, "'parked':1"));
    assert_true(status_has(hub, "'deploy':1,'error'"));
    assert_int_equal(hub_retry(hub, slice_of("ledger/note"), &test_fault), -1);
    assert_non_null(strstr(test_fault.text, "did you mean ledger/notes?"));
    assert_int_equal(hub_retry(hub, slice_of("ledger/notes"), &test_fault), 0);
    wait_until(hub, status_has, "'parked':0,'retried':0");
    expect_noted(hub, "a", "1 2 ");
    leave(hub);
}

static void a_handler_that_fails_is_mended_by_a_deploy(void **state)
{
    write_script("hub.lua", "return { limits = { retries = 1 } }\n");
    write_script("ledger/notes.lua", "local notes = receptor 'notes'\n"
                                     "notes.when['bank.Added'] = function(e, m)\n"
                                     "  if e.amount == 13 then error('unlucky') end\n"
                                     "  send.entry(m.id, Note { amount = e.amount })\n"
                                     "end\n");
    struct hub *hub = open_kept();
    add(hub, "a", 1);
    add(hub, "a", 13);
    add(hub, "a", 2);
    wait_until(hub, status_has, "'attempts':1");
    move_clock(hub, 1000);
    wait_until(hub, status_has, "'parked':1");
    assert_true(status_has(hub, "ledger/notes.lua:3: unlucky"));
    quiet(hub);
    expect_noted(hub, "a", "1 ");
    leave(hub);
    write_script("ledger/notes.lua", notes);
    hub = open_kept();
    quiet(hub);
    expect_noted(hub, "a", "1 13 2 ");
    assert_true(status_has(hub, "'parked':0"));
    leave(hub);
}

static void a_loop_ends(void **state)
{
    write_script("hub.lua", "return { limits = { causation_depth = 10, retries = 1 } }\n");
    write_script("ledger/echo.lua", "local echo = receptor 'echo'\n"
                                    "function echo.when.Noted(e, m)\n"
                                    "  send.entry(m.id, Note { amount = e.amount + 1 })\n"
                                    "end\n");
    struct hub *hub = open_kept();
    add(hub, "a", 0);
    wait_until(hub, status_has, "'attempts':1");
    expect_noted(hub, "a", "0 1 2 3 4 5 6 7 8 9 ");
    assert_true(
        status_has(hub, "11 messages lie between this one and what came from outside, at most 10 may"));
    leave(hub);
}

/* Many keys and events at once, of which a third is handled twice. */
static void all_of_many(void **state)
{
    struct hub *hub = open_kept();
    enum { EVENTS_MAX = 3000, KEYS = 7 };
    const int events = getenv("LORE_TEST_SMALL") ? 300 : EVENTS_MAX;
    struct command *commands[EVENTS_MAX];
    struct buf third = {0};
    for (int n = 0; n < events; n++) {
        char id[2] = {(char)('a' + n % KEYS), 0}, json[64];
        snprintf(json, sizeof json, "{'amount':%d}", n);
        commands[n] = command_of(id, "Add", json, NULL);
        submit(hub, commands[n]);
        if (n == events / 3) {
            quiet(hub);
            leave(hub);
            third = checkpoints();
            hub = open_kept();
        }
    }
    quiet(hub);
    leave(hub);
    set_checkpoints(buf_slice(&third));
    hub = open_kept();
    quiet(hub);
    for (int key = 0; key < KEYS; key++) {
        char id[2] = {(char)('a' + key), 0};
        struct buf expected = {0};
        for (int n = key; n < events; n += KEYS) buf_format(&expected, "%d ", n);
        buf_put_byte(&expected, 0);
        expect_noted(hub, id, expected.data);
        buf_release(&expected);
    }
    for (int n = 0; n < events; n++) forget(commands[n]);
    leave(hub);
    buf_release(&third);
}

/* So many stuck keys say that it is not the keys: the log waits for the receptor. */
static void too_much_that_is_stuck_stops_a_receptor(void **state)
{
    enum { KEYS = RECEPTORS_STUCK_MAX + 5 };
    write_script("ledger/notes.lua", "local notes = receptor 'notes'\n"
                                     "notes.when['bank.Added'] = function(e, m) error('never') end\n");
    struct hub *hub = open_kept();
    for (int n = 0; n < KEYS; n++) {
        char id[16];
        snprintf(id, sizeof id, "k%d", n);
        add(hub, id, n);
    }
    wait_until(hub, status_has, "'lag':5,'parked':0,'retried':1000,'stopped':true");
    leave(hub);
    write_script("ledger/notes.lua", notes);
    hub = open_kept();
    quiet(hub);
    assert_true(status_has(hub, "'lag':0,'parked':0,'retried':0,'stopped':false"));
    expect_noted(hub, "k0", "0 ");
    expect_noted(hub, "k1004", "1004 ");
    assert_int_equal(engine_head(hub_engine(hub)).position, 2 * KEYS);
    leave(hub);
}

/* What is for later is kept in the receptor's own stream, and kept once. */
static void what_is_for_later_is_an_event(void **state)
{
    write_script("ledger/notes.lua",
                 "local notes = receptor 'notes'\n"
                 "notes.when['bank.Added'] = function(e, m)\n"
                 "  send.entry(m.id, Note { amount = e.amount }, { after = '30d', key = 'k' })\n"
                 "  cancel.entry(m.id, 'other')\n"
                 "end\n");
    struct hub *hub = open_kept();
    struct buf old = checkpoints();
    add(hub, "a", 1);
    quiet(hub);
    expect_log(hub, "a:Added:1 notes:$Sent:1 ");
    leave(hub);
    set_checkpoints(buf_slice(&old));
    hub = open_kept();
    quiet(hub);
    expect_log(hub, "a:Added:1 notes:$Sent:1 ");
    struct engine_cursor *cursor;
    struct record record;
    struct record_event event = {0};
    struct buf json = {0};
    assert_int_equal(engine_read(hub_engine(hub), 2, &cursor, &test_fault), 0);
    assert_int_equal(engine_cursor_next(cursor, &record, &test_fault), 1);
    assert_true(record_next_event(&record, &event));
    assert_int_equal(json_from_mp(event.data, &json, &test_fault), 0);
    buf_put_byte(&json, 0);
    assert_string_equal(json.data,
                        "{\"sends\":[{\"data\":{\"amount\":1},\"due\":\"2026-03-04T02:40:00.000Z\","
                        "\"key\":\"k\",\"stream\":\"ledger/entry/a\",\"type\":\"Note\"},"
                        "{\"cancel\":true,\"key\":\"other\",\"stream\":\"ledger/entry/a\"}]}");
    engine_cursor_close(cursor);
    leave(hub);
    buf_release(&json);
    buf_release(&old);
}

/* Time goes on: who is told to come back counts from when he hears of it. */
static bool log_has_in_time(struct hub *hub, const char *text)
{
    move_clock(hub, 5000);
    return log_has(hub, text);
}

/* Event, receptor, service, its event and its message, courier, aggregate: twice from the start, once in
 * effect. A service that wants to be asked later is no failure. */
static void a_service_is_one_link_of_a_chain(void **state)
{
    write_script("ledger/notes.lua", "local notes = receptor 'notes'\n"
                                     "notes.when['bank.Added'] = function(e, m)\n"
                                     "  send.mail(Mail { amount = e.amount })\n"
                                     "end\n");
    write_script("ledger/mail.lua", "local mail = service 'mail'\n"
                                    "function mail.when.Mail(c, m)\n"
                                    "  if clock.now() < '2026-02-02T02:40:05.000Z' then retry('5s') end\n"
                                    "  publish(Mailed { amount = c.amount })\n"
                                    "  send.entry('mailed-' .. c.amount, Note { amount = c.amount })\n"
                                    "end\n");
    struct hub *hub = open_kept();
    struct buf old = checkpoints();
    add(hub, "a", 1);
    wait_until(hub, status_has, "'retried':1");
    assert_true(status_has(hub, "'name':'ledger/notes','position':0,'lag':1,'parked':0,'retried':0"));
    add(hub, "b", 2);
    wait_until(hub, log_has_in_time, "mailed-1:Noted:1 ");
    wait_until(hub, log_has_in_time, "mailed-2:Noted:1 ");
    quiet(hub);
    leave(hub);
    set_checkpoints(buf_slice(&old));
    hub = open_kept();
    quiet(hub);
    expect_noted(hub, "mailed-1", "1 ");
    expect_noted(hub, "mailed-2", "2 ");
    assert_true(log_has(hub, "mail:Mailed:3 mail:$Sent:4 "));
    assert_false(log_has(hub, "mail:Mailed:5 "));
    leave(hub);
    buf_release(&old);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_event_becomes_a_command, begin, end),
        cmocka_unit_test_setup_teardown(causes_are_carried_on, begin, end),
        cmocka_unit_test_setup_teardown(what_is_handled_again_has_one_effect, begin, end),
        cmocka_unit_test_setup_teardown(a_new_receptor_begins_where_it_says, begin, end),
        cmocka_unit_test_setup_teardown(a_receptor_taken_away_keeps_its_place, begin, end),
        cmocka_unit_test_setup_teardown(a_rejection_is_an_outcome, begin, end),
        cmocka_unit_test_setup_teardown(a_stuck_key_keeps_only_itself, begin, end),
        cmocka_unit_test_setup_teardown(a_key_is_parked_in_the_end, begin, end),
        cmocka_unit_test_setup_teardown(a_handler_that_fails_is_mended_by_a_deploy, begin, end),
        cmocka_unit_test_setup_teardown(a_loop_ends, begin, end),
        cmocka_unit_test_setup_teardown(all_of_many, begin, end),
        cmocka_unit_test_setup_teardown(too_much_that_is_stuck_stops_a_receptor, begin, end),
        cmocka_unit_test_setup_teardown(what_is_for_later_is_an_event, begin, end),
        cmocka_unit_test_setup_teardown(a_service_is_one_link_of_a_chain, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

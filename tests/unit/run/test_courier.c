/* The courier: what is to be sent at once or later, replaced, cancelled, refused, killed in between. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/faultpoint.h"
#include "run/sent.h"
#include "sending_support.h"

static const char later[] = "local notes = receptor 'notes'\n"
                            "notes.when['bank.Added'] = function(e, m)\n"
                            "  if e.amount == 0 then return cancel.entry(m.id, 'k') end\n"
                            "  send.entry(m.id, Note { amount = e.amount }, { after = '30d', key = 'k' })\n"
                            "end\n";
enum { DAY_MS = 86400000 };

static int begin_later(void **state)
{
    begin(state);
    write_script("ledger/notes.lua", later);
    return 0;
}

static void a_timer_is_due_in_time(void **state)
{
    struct hub *hub = open_kept();
    add(hub, "a", 1);
    quiet(hub);
    assert_true(status_has(hub, "'waiting':1,'parked':0"));
    move_clock(hub, 30LL * DAY_MS - 1);
    add(hub, "b", 2); /* the courier has read this, and looked at the clock before */
    quiet(hub);
    assert_true(status_has(hub, "'waiting':2"));
    expect_noted(hub, "a", "");
    move_clock(hub, 1);
    wait_until(hub, log_has, "a:Noted:1");
    wait_until(hub, status_has, "'waiting':1");
    expect_noted(hub, "a", "1 ");
    leave(hub);
}

/* The hub's folder is another one each time: its timers are made from the log. */
static void timers_outlive_the_hub(void **state)
{
    struct hub *hub = open_kept();
    add(hub, "a", 1);
    add(hub, "b", 2);
    quiet(hub);
    leave(hub);
    atomic_fetch_add(&hand.now_ms, 31LL * DAY_MS);
    hub = open_kept();
    wait_until(hub, log_has, "a:Noted:1");
    wait_until(hub, log_has, "b:Noted:1");
    leave(hub);
    hub = open_kept(); /* they are sent again, and known */
    quiet(hub);
    wait_until(hub, status_has, "'waiting':0");
    expect_noted(hub, "a", "1 ");
    expect_noted(hub, "b", "2 ");
    leave(hub);
}

static void a_key_replaces_and_cancels(void **state)
{
    struct hub *hub = open_kept();
    add(hub, "a", 1);
    add(hub, "b", 7);
    quiet(hub);
    move_clock(hub, DAY_MS);
    add(hub, "a", 2);
    add(hub, "b", 0);
    quiet(hub);
    assert_true(status_has(hub, "'waiting':1"));
    leave(hub);
    hub = open_kept(); /* and so it is when they are made from the log, long after */
    atomic_fetch_add(&hand.now_ms, 40LL * DAY_MS);
    hub_look(hub);
    wait_until(hub, log_has, "a:Noted:1");
    wait_until(hub, status_has, "'waiting':0");
    expect_noted(hub, "a", "2 ");
    expect_noted(hub, "b", "");
    leave(hub);
}

/* Cancelled in time, but the courier sees both only when the moment is over. */
static void a_cancel_in_the_log_is_never_late(void **state)
{
    struct hub *hub = open_kept();
    add(hub, "a", 1);
    add(hub, "a", 0);
    add(hub, "b", 2);
    quiet(hub);
    leave(hub);
    atomic_fetch_add(&hand.now_ms, 31LL * DAY_MS);
    hub = open_kept();
    wait_until(hub, log_has, "b:Noted:1");
    wait_until(hub, status_has, "'waiting':0");
    expect_noted(hub, "a", "");
    leave(hub);
}

static void what_nobody_takes_is_parked(void **state)
{
    write_script("hub.lua", "return { limits = { retries = 1 } }\n");
    struct hub *hub = open_kept();
    tell_entry(hub, "a", "Break");
    add(hub, "a", 1);
    add(hub, "b", 2);
    quiet(hub);
    move_clock(hub, 30LL * DAY_MS);
    wait_until(hub, log_has, "b:Noted:1");
    wait_until(hub, status_has, "'waiting':1,'parked':0");
    quiet(hub);
    move_clock(hub, 1000);
    wait_until(hub, status_has, "'waiting':0,'parked':1");
    assert_true(status_has(hub, "Note to ledger/entry/a: "));
    assert_true(status_has(hub, "the book is broken"));
    expect_metric(hub, "\nlore_courier_parked 1\n");
    expect_metric(hub, "\nlore_courier_failed_total 2\n");
    tell_entry(hub, "a", "Mend");
    move_clock(hub, 30LL * DAY_MS);
    quiet(hub);
    expect_noted(hub, "a", "");
    assert_int_equal(hub_retry(hub, slice_of("courier"), &test_fault), 0);
    wait_until(hub, log_has, "a:Noted:3");
    wait_until(hub, status_has, "'waiting':0,'parked':0");
    leave(hub);
}

/* One that failed and was replaced meanwhile does not come back. */
static void what_was_replaced_is_not_tried_again(void **state)
{
    struct hub *hub = open_kept();
    tell_entry(hub, "a", "Break");
    add(hub, "a", 1);
    quiet(hub);
    move_clock(hub, 30LL * DAY_MS);
    quiet(hub);
    wait_until(hub, status_has, "'waiting':1");
    add(hub, "a", 2);
    quiet(hub);
    tell_entry(hub, "a", "Mend");
    move_clock(hub, 60000);
    add(hub, "b", 3);
    quiet(hub);
    assert_true(status_has(hub, "'waiting':2"));
    expect_noted(hub, "a", "");
    move_clock(hub, 30LL * DAY_MS);
    wait_until(hub, log_has, "a:Noted:3");
    wait_until(hub, log_has, "b:Noted:1");
    wait_until(hub, status_has, "'waiting':0");
    expect_noted(hub, "a", "2 ");
    leave(hub);
}

/* --- what a service leaves: published events and sends in one commit --- */

static struct command *decided(const char *id, int amount, const char *stream)
{
    struct command *command = command_of("notes", "Work", "{}", id);
    struct arena *arena = &command->arena;
    struct commit_event *events = arena_zero(arena, 2 * sizeof *events);
    struct slice data = arena_json(arena, arena_format(arena, "{'amount':%d}", amount).data);
    struct domain_send send = {.context = slice_of("ledger"),
                               .target = slice_of("entry"),
                               .id = slice_of(stream),
                               .type = slice_of("Note"),
                               .data = data,
                               .due_ms = INT64_MIN};
    events[0] = (struct commit_event){slice_of("Worked"), 1, atomic_load(&hand.now_ms), data};
    events[1] = sent_event(&send, 1, atomic_load(&hand.now_ms), arena);
    command->context = slice_of("ledger");
    command->aggregate = slice_of("notes");
    command->is_decided = true;
    command->events = events;
    command->event_count = 2;
    return command;
}

static void what_was_decided_elsewhere_is_written_and_sent(void **state)
{
    struct hub *hub = open_kept();
    struct command *command = run(hub, decided("one", 5, "a"));
    assert_int_equal(command->fault.code, FAULT_NONE);
    assert_int_equal(command->version, 2);
    forget(command);
    command = run(hub, decided("one", 5, "a"));
    assert_true(command->repeated);
    assert_int_equal(command->version, 2);
    forget(command);
    command = run(hub, decided("two", 6, "a"));
    assert_int_equal(command->version, 4);
    forget(command);
    wait_until(hub, log_has, "a:Noted:2");
    quiet(hub);
    assert_true(log_has(hub, "notes:Worked:1 notes:$Sent:2 "));
    assert_true(log_has(hub, "notes:Worked:3 notes:$Sent:4 "));
    expect_noted(hub, "a", "5 6 ");
    leave(hub);
}

static void a_decided_rejection_is_remembered(void **state)
{
    struct hub *hub = open_kept();
    for (int n = 0; n < 2; n++) {
        struct command *command = decided("one", 5, "a");
        command->events = NULL;
        command->event_count = 0;
        command->reason = slice_of("closed");
        command->message = slice_of("not today");
        run(hub, command);
        assert_int_equal(command->fault.code, FAULT_REJECTED);
        assert_string_equal(command->fault.reason, "closed");
        assert_string_equal(command->fault.text, "not today");
        assert_int_equal(command->repeated, n == 1);
        forget(command);
    }
    expect_log(hub, "");
    leave(hub);
}

static void nobody_writes_for_one_who_is_not_declared(void **state)
{
    struct hub *hub = open_kept();
    struct command *command = decided("one", 5, "a");
    command->aggregate = slice_of("entry");
    assert_int_equal(hub_submit(hub, command, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
    free(command->user);
    command_free(command);
    leave(hub);
}

/* --- services that are away --- */

static const char closed_mail[] = "local mail = service 'mail'\n"
                                  "function mail.when.Mail(c)\n"
                                  "  if clock.now() < '2026-02-05' then retry('1d') end\n"
                                  "  publish(Mailed { amount = c.amount })\n"
                                  "end\n";

/* Notes' commit that sends so many Mail to the service, or one Note to entry/a, at once. */
static struct command *leaves(const char *id, const struct domain_send *one, size_t count)
{
    struct command *command = decided(id, 7, "a");
    struct domain_send *sends = arena_take(&command->arena, count * sizeof *sends);
    for (size_t at = 0; at < count; at++) {
        sends[at] = *one;
        if (one->is_cancel) continue;
        const char *json = arena_format(&command->arena, "{'amount':%zu}", at).data;
        sends[at].data = arena_json(&command->arena, json);
    }
    struct commit_event *event = arena_take(&command->arena, sizeof *event);
    *event = sent_event(sends, count, atomic_load(&hand.now_ms), &command->arena);
    command->events = event;
    command->event_count = 1;
    return command;
}

static struct domain_send to_mail(const char *key)
{
    return (struct domain_send){.context = slice_of("ledger"),
                                .target = slice_of("mail"),
                                .to_service = true,
                                .type = slice_of("Mail"),
                                .due_ms = INT64_MIN,
                                .key = slice_of(key)};
}

static void leave_mail(struct hub *hub, const char *id, const char *key, size_t count)
{
    struct domain_send one = to_mail(key);
    struct command *command = run(hub, leaves(id, &one, count));
    assert_int_equal(command->fault.code, FAULT_NONE);
    forget(command);
}

static void who_puts_off_holds_nobody_up(void **state)
{
    write_script("ledger/mail.lua", closed_mail);
    write_script("ledger/notes.lua", later);
    struct hub *hub = open_kept();
    for (int n = 0; n < 5; n++) {
        char id[8];
        snprintf(id, sizeof id, "m%d", n);
        leave_mail(hub, id, "", 1000);
    }
    wait_until(hub, status_has, "'waiting':5000,'parked':0");
    forget(run(hub, decided("one", 5, "b"))); /* at once, to an aggregate */
    add(hub, "a", 1);
    wait_until(hub, log_has, "b:Noted:1");
    wait_until(hub, status_has, "'waiting':5001,'parked':0");
    leave(hub);
    hub = open_kept(); /* they are asked once more, and wait on */
    quiet(hub);
    assert_true(status_has(hub, "'waiting':5001,'parked':0"));
    move_clock(hub, 3 * DAY_MS);
    wait_until(hub, log_has, "mail:Mailed:5000 ");
    wait_until(hub, status_has, "'waiting':1,'parked':0");
    assert_false(log_has(hub, "mail:Mailed:5001 "));
    leave(hub);
}

/* Takes connections and never answers. */
static int listen_in_silence(char options[160])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    snprintf(options, 160,
             "return { http = { allow = { '127.0.0.1:%d' } }, limits = { service_runs = 2, queue_services = "
             "8 } }\n",
             ntohs(address.sin_port));
    return ntohs(address.sin_port) ? fd : -1;
}

static void who_hangs_holds_nobody_up(void **state)
{
    char options[160], script[300];
    int fd = listen_in_silence(options), port = 0;
    sscanf(strstr(options, "127.0.0.1:"), "127.0.0.1:%d", &port);
    snprintf(script, sizeof script,
             "local mail = service 'mail'\n"
             "function mail.when.Mail(c)\n"
             "  if c.amount < 4990 then http.get('http://127.0.0.1:%d/') end\n"
             "  publish(Mailed { amount = c.amount })\n"
             "end\n",
             port);
    write_script("hub.lua", options);
    write_script("ledger/mail.lua", script);
    write_script("ledger/notes.lua", later);
    struct hub *hub = open_kept();
    leave_mail(hub, "many", "", 5000);
    forget(run(hub, decided("one", 5, "b")));
    add(hub, "a", 1);
    wait_until(hub, log_has, "b:Noted:1");
    move_clock(hub, 30LL * DAY_MS);
    wait_until(hub, log_has, "a:Noted:1");
    leave(hub);
    close(fd);
}

static void a_cancel_reaches_who_waits(void **state)
{
    write_script("ledger/mail.lua", closed_mail);
    struct hub *hub = open_kept();
    leave_mail(hub, "one", "k", 1);
    leave_mail(hub, "two", "l", 1);
    leave_mail(hub, "three", "m", 1);
    wait_until(hub, status_has, "'waiting':3,'parked':0");
    struct domain_send cancel = {.context = slice_of("ledger"),
                                 .target = slice_of("mail"),
                                 .to_service = true,
                                 .is_cancel = true,
                                 .key = slice_of("k")};
    forget(run(hub, leaves("four", &cancel, 1)));
    leave_mail(hub, "five", "l", 1); /* in its place */
    wait_until(hub, status_has, "'waiting':2,'parked':0");
    quiet(hub);
    assert_true(status_has(hub, "'waiting':2,'parked':0"));
    expect_metric(hub, "\nlore_courier_waiting 2\n");
    expect_metric(hub, "\nlore_courier_in_flight 0\n");
    expect_metric(hub, "\nlore_courier_put_off_total 4\n");
    expect_metric(hub, "\nlore_service_runs_total{service='ledger/mail',outcome='put_off'} 4\n");
    move_clock(hub, 4 * DAY_MS);
    wait_until(hub, status_has, "'waiting':0,'parked':0");
    quiet(hub);
    assert_true(log_has(hub, "mail:Mailed:2 "));
    assert_false(log_has(hub, "mail:Mailed:3 "));
    expect_metric(hub, "\nlore_courier_delivered_total 2\n");
    expect_metric(hub, "\nlore_service_runs_total{service='ledger/mail',outcome='done'} 2\n");
    expect_metric(hub, "\nlore_receptor_lag{receptor='ledger/notes'} 0\n");
    leave(hub);
}

/* Neither loses nor doubles anything: the log has it, and it is written again. */
static void a_disk_that_refuses_is_waited_for(void **state)
{
    assert_int_equal(fault_points_arm("timers.write@1=ENOSPC,receptor.checkpoint@1=EIO", &test_fault), 0);
    struct hub *hub = open_kept();
    add(hub, "a", 1);
    quiet(hub);
    assert_true(status_has(hub, "'waiting':1,'parked':0"));
    assert_true(fault_point_passed(POINT_TIMERS_WRITE) >= 2);
    move_clock(hub, 30LL * DAY_MS);
    wait_until(hub, log_has, "a:Noted:1");
    wait_until(hub, status_has, "'waiting':0");
    leave(hub);
    assert_true(fault_point_passed(POINT_RECEPTOR_CHECKPOINT) >= 2);
    fault_points_disarm();
    hub = open_kept();
    quiet(hub);
    expect_noted(hub, "a", "1 ");
    leave(hub);
}

/* --- damage --- */

/* Flips a bit of what stands behind the key of the entry that is due then. */
static void damage_timer(const char *path, int64_t due_ms)
{
    uint8_t key[8], byte;
    struct stat status;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(fstat(fd, &status), 0);
    uint8_t *bytes = malloc((size_t)status.st_size);
    assert_int_equal(read(fd, bytes, (size_t)status.st_size), status.st_size);
    for (int at = 0; at < 8; at++) key[at] = (uint8_t)(((uint64_t)due_ms ^ 1ULL << 63) >> (8 * (7 - at)));
    int found = 0;
    for (off_t at = 0; at + 48 < status.st_size; at++) {
        if (memcmp(bytes + at, key, sizeof key) != 0) continue;
        byte = bytes[at + 30] ^ 1; /* in its name */
        found += pwrite(fd, &byte, 1, at + 30) == 1;
    }
    assert_true(found > 0);
    free(bytes);
    close(fd);
}

static struct hub *open_with_timers(struct held_engine **held)
{
    *held = hold_engine_with((struct engine_options){.clock = &hand.clock}, kept);
    kept = (*held)->inner;
    (*held)->keep = true;
    is_open = true;
    mkdir(folder("data"), 0777);
    mkdir(folder("data/log"), 0777); /* a hub that lost its log does not open */
    return open_hub_with((struct hub_options){.engine = &(*held)->engine,
                                              .data = folder("data"),
                                              .shards = 2,
                                              .projectors = 1,
                                              .schedule = true,
                                              .clock = &hand.clock});
}

static bool write_refused(struct hub *hub, const char *text)
{
    return fault_point_passed(POINT_TIMERS_WRITE) >= strtoul(text, NULL, 10);
}

/* A message that came from the log at once is on its way; what is read anew is far behind it when the hub
 * ends: the position of timers/ is how far it was read, not where that message stands. */
static void what_is_made_anew_begins_where_it_was_left(void **state)
{
    enum { FILLER = 4200 }; /* more than is read in one go */
    struct stream_id other = {slice_of("main"), slice_of("bank/account"), slice_of("z")};
    struct held_engine *held;
    struct hub *hub = open_with_timers(&held);
    int64_t due_ms = atomic_load(&hand.now_ms) + 30LL * DAY_MS;
    char text[24];
    add(hub, "a", 1);
    quiet(hub);
    for (int n = 0; n < FILLER; n++) append_event(kept, &other, "Touched", "{}");
    atomic_fetch_add(&hand.now_ms, 1);
    add(hub, "b", 2);
    quiet(hub);
    wait_until(hub, status_has, "'waiting':2");
    held_set(held, true);
    struct command *command = decided("one", 5, "c");
    submit(hub, command);
    held_await(held);
    held_pass(held, false);
    forget(command);
    held_await(held); /* the message to c */
    damage_timer(folder("data/timers/data.mdb"), due_ms);
    assert_int_equal(fault_points_arm("timers.write@2+=ENOSPC", &test_fault), 0);
    snprintf(text, sizeof text, "%lu", fault_point_passed(POINT_TIMERS_WRITE) + 2);
    move_clock(hub, 30LL * DAY_MS);
    wait_until(hub, write_refused, text);
    assert_false(log_has(hub, "b:Noted"));
    held_set(held, false);
    leave(hub);
    fault_points_disarm();
    hub = open_with_timers(&held);
    wait_until(hub, log_has, "a:Noted:1");
    wait_until(hub, log_has, "b:Noted:1");
    wait_until(hub, log_has, "c:Noted:1");
    leave(hub);
}

/* Who wakes himself after a second is no loop, however long it goes on. */
static void waiting_begins_a_new_chain(void **state)
{
    write_script("hub.lua", "return { limits = { causation_depth = 3 } }\n");
    write_script("ledger/notes.lua", "local notes = receptor 'notes'\n"
                                     "function notes.when.Noted(e, m)\n"
                                     "  send.entry(m.id, Note { amount = e.amount + 1 }, { after = '1s' })\n"
                                     "end\n");
    struct hub *hub = open_kept();
    struct command *command = command_of("a", "Note", "{'amount':0}", NULL);
    command->context = slice_of("ledger");
    command->aggregate = slice_of("entry");
    forget(run(hub, command));
    for (int n = 2; n < 9; n++) {
        char text[40];
        quiet(hub);
        move_clock(hub, 1000);
        snprintf(text, sizeof text, "a:Noted:%d ", n);
        wait_until(hub, log_has, text);
    }
    leave(hub);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_timer_is_due_in_time, begin_later, end),
        cmocka_unit_test_setup_teardown(timers_outlive_the_hub, begin_later, end),
        cmocka_unit_test_setup_teardown(a_key_replaces_and_cancels, begin_later, end),
        cmocka_unit_test_setup_teardown(a_cancel_in_the_log_is_never_late, begin_later, end),
        cmocka_unit_test_setup_teardown(what_nobody_takes_is_parked, begin_later, end),
        cmocka_unit_test_setup_teardown(what_was_replaced_is_not_tried_again, begin_later, end),
        cmocka_unit_test_setup_teardown(what_was_decided_elsewhere_is_written_and_sent, begin, end),
        cmocka_unit_test_setup_teardown(a_decided_rejection_is_remembered, begin, end),
        cmocka_unit_test_setup_teardown(nobody_writes_for_one_who_is_not_declared, begin, end),
        cmocka_unit_test_setup_teardown(waiting_begins_a_new_chain, begin, end),
        cmocka_unit_test_setup_teardown(who_puts_off_holds_nobody_up, begin, end),
        cmocka_unit_test_setup_teardown(who_hangs_holds_nobody_up, begin, end),
        cmocka_unit_test_setup_teardown(a_cancel_reaches_who_waits, begin, end),
        cmocka_unit_test_setup_teardown(what_is_made_anew_begins_where_it_was_left, begin_later, end),
        cmocka_unit_test_setup_teardown(a_disk_that_refuses_is_waited_for, begin_later, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

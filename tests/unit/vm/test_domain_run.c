/* Services and tasks: what they reach, what they leave, and how they wait. */
#include "unit/vm/run_support.h"

static const char *const scripts[] = {
    "mailing/contracts.lua",
    "contracts [[\n SendReminder? (to: string, what: string)\n ReminderSent! (to: string, status: integer?)\n"
    " Note? (text: string) ]]",
    "mailing/letter.lua",
    "local letter = aggregate 'letter'\nfunction letter.execute.Note() end\n",
    "mailing/letters.lua",
    "local p = projection 'letters' { index = { 'due_on', 'to' } }\nfunction p.when.ReminderSent() end\n",
    "mailing/tasks.lua",
    "local t = task 'nightly' { cron = '0 3 * * *', zone = 'Europe/Berlin', missed = 'skip' }\n"
    "function t.run(now)\n"
    "  local n, last = 0, nil\n"
    "  for id, doc in views.letters:range('due_on', nil, now - days(15)) do n, last = n + 1, id .. doc.n "
    "end\n"
    "  publish(ReminderSent { to = now .. ' ' .. last, status = n })\n"
    "  send.letter('x', Note { text = clock.now() }, { after = '1d' })\n"
    "end\n"
    "local u = task 'hourly' { every = '1h' }\nfunction u.run() return 7 end\n"
    "local v = task 'once' { at = '2026-05-01' }\nfunction v.run(now) error({}) end\n"
    "local w = task 'wrong'\nfunction w.run(now) return Note { text = 'x' } end\n",
    "mailing/mail.lua",
    "local mail = service 'mail'\n"
    "local does = {}\n"
    "function does.post(c, m)\n"
    "  local answer = http.post('https://mail.example/send?x=1', { json = { to = c.to }, timeout = '5s',\n"
    "    headers = { ['X-Key'] = env.MAIL_KEY } })\n"
    "  publish(ReminderSent { to = m.id .. m.type .. m.command_id, status = answer.status })\n"
    "end\n"
    "function does.answer()\n"
    "  local a = http.get('http://x')\n"
    "  publish(ReminderSent { to = a.headers['x-a'] .. '|' .. a.body .. '|' .. a.json().n[2] })\n"
    "end\n"
    "function does.twice() http.put('http://x', { body = 'b' }) http.delete('http://y') end\n"
    "function does.own() http.post('http://x', { body = '', headers = { ['idempotency-KEY'] = 'mine',\n"
    "  ['Content-type'] = 'text/plain' } }) end\n"
    "function does.json() http.post('http://x', { json = list {} }) end\n"
    "function does.caught()\n"
    "  local done, text = pcall(function() local a = http.get('http://x') error('status ' .. a.status, 0) "
    "end)\n"
    "  publish(ReminderSent { to = text })\n"
    "  local fine, a = pcall(http.get, 'http://y')\n"
    "  publish(ReminderSent { to = tostring(fine) .. a })\n"
    "  local ok, b = xpcall(function() return http.get('http://z').body end, print)\n"
    "  publish(ReminderSent { to = tostring(ok) .. b })\n"
    "end\n"
    "function does.again() publish(ReminderSent { to = 'x' }) pcall(retry, '10s') log.info('went on') "
    "end\n"
    "function does.later() http.get('http://x') pcall(function() retry(minutes(2)) end) end\n"
    "function does.closing()\n"
    "  local x <close> = setmetatable({}, { __close = function() error('closed') end })\n"
    "  retry('1s')\n"
    "end\n"
    "function does.get()\n"
    "  local doc = views.letters:get('k7')\n"
    "  doc.n = doc.n + #doc.list\n"
    "  publish(ReminderSent { to = doc.n .. tostring(views.letters:get(8)) })\n"
    "end\n"
    "function does.all()\n"
    "  local keys, n = {}, 0\n"
    "  for id, doc in views.letters:all() do n = n + doc.n keys[id] = true end\n"
    "  for a, b in views.letters:range('to', 'a', decimal '2.5') do break end\n"
    "  publish(ReminderSent { to = 'x', status = n })\n"
    "end\n"
    "function does.log(c)\n"
    "  log.info('to %s: %d', c.to, 7) log.warn('a\\nb\\xff') log.error('key %s', env.MAIL_KEY)\n"
    "end\n"
    "function does.reject() publish(ReminderSent { to = 'x' }) pcall(reject, 'no', 'not %d', 7) end\n"
    "function mail.when.SendReminder(c, m) return does[c.what](c, m) end\n"
    "does['return'] = function()\n"
    "  publish(ReminderSent { to = '1' })\n"
    "  return ReminderSent { to = '2' }, nil, { ReminderSent { to = '3' }, ReminderSent { to = '4' } }\n"
    "end\n"
    "does['return 7'] = function() return ReminderSent { to = '2' }, 7 end\n"
    "does['return list'] = function() return { 7 } end\n"
    "does['return command'] = function() return Note { text = '' } end\n"
    "does['return map'] = function() return { a = ReminderSent { to = '2' } } end\n",
    NULL};

struct running {
    struct domain *domain;
    struct test_host test;
    struct envelope envelope;
    struct domain_run *run;
    struct fault fault;
};

static void open_running(struct running *running)
{
    *running = (struct running){.domain = open_domain(scripts)};
    open_test_host(&running->test);
    running->envelope = envelope_of("mailing", "mail", "mail", "SendReminder");
    running->envelope.command_id = slice_of("c-1");
}

static void start(struct running *running, const char *what)
{
    char json[100];
    domain_run_free(running->run);
    snprintf(json, sizeof json, "{'to':'ann','what':'%s'}", what);
    if (domain_service_start(running->domain, 0, &running->envelope, mp_of(json), &running->test.host,
                             &running->run, &running->fault) < 0)
        fail_msg("%s", running->fault.text);
}

static enum domain_run_state step(struct running *running, const struct domain_response *answer)
{
    enum domain_run_state state = domain_run_step(running->run, answer, &running->fault);
    while (state == DOMAIN_RUN_PAUSES) state = domain_run_step(running->run, NULL, &running->fault);
    return state;
}

static void close_running(struct running *running)
{
    domain_run_free(running->run);
    close_test_host(&running->test);
    close_domain(running->domain);
}

#define assert_state(running, state, wanted)                                                                 \
    do {                                                                                                     \
        enum domain_run_state got = (state);                                                                 \
        if (got != (wanted)) fail_msg("state %d: %s", got, (running)->fault.text);                           \
    } while (0)

static const char *event_text(const struct running *running, size_t index)
{
    const struct domain_output *output = domain_run_output(running->run);
    assert_true(index < output->event_count);
    static char text[300];
    snprintf(text, sizeof text, "%.*s %s", SLICE_ARGS(output->events[index].type),
             json_of(output->events[index].data));
    return text;
}

static const char *header(const struct running *running, const char *name)
{
    const struct domain_request *request = domain_run_request(running->run);
    for (size_t i = 0; i < request->header_count; i++)
        if (slice_is(request->headers[i][0], name)) return request->headers[i][1].data;
    return NULL;
}

static void what_is_declared_is_told(void **state)
{
    (void)state;
    struct domain *domain = open_domain(scripts);
    assert_int_equal(domain_service_count(domain), 1);
    assert_int_equal(domain_find_service(domain, slice_of("mailing/mail")), 0);
    assert_int_equal(domain_find_service(domain, slice_of("mailing/letter")), -1);
    assert_true(slice_is(domain_service(domain, 0)->context, "mailing"));
    struct slice nearest;
    assert_true(domain_service_handles(domain, 0, slice_of("SendReminder"), &nearest));
    assert_false(domain_service_handles(domain, 0, slice_of("SendReminer"), &nearest));
    assert_true(slice_is(nearest, "SendReminder"));
    struct slice canonical;
    struct fault fault;
    assert_int_equal(domain_service_check(domain, 0, slice_of("SendReminder"), mp_of("{'to':1}"), &test_arena,
                                          &canonical, &fault),
                     -1);
    assert_int_equal(fault.code, FAULT_CONTRACT);
    assert_int_equal(domain_service_check(domain, 0, slice_of("Note"), mp_of("{'text':'x'}"), &test_arena,
                                          &canonical, &fault),
                     -1);
    assert_int_equal(fault.code, FAULT_UNKNOWN_COMMAND);
    assert_int_equal(domain_task_count(domain), 4);
    const struct domain_task *hourly = domain_task(domain, 0), *nightly = domain_task(domain, 1);
    assert_int_equal(domain_find_task(domain, slice_of("mailing/once")), 2);
    assert_int_equal(hourly->every_ms, 3600000);
    assert_int_equal(hourly->cron.size, 0);
    assert_true(hourly->at_ms == INT64_MIN);
    assert_false(hourly->skip_missed);
    assert_true(slice_is(nightly->cron, "0 3 * * *") && slice_is(nightly->zone, "Europe/Berlin"));
    assert_true(nightly->skip_missed);
    assert_int_equal(domain_task(domain, 2)->at_ms, ms_of("2026-05-01"));
    struct buf json = {0};
    domain_describe(domain, &json);
    assert_text_has(text_of(&json), "\"receptors\":[],\"services\":[{\"name\":\"mailing/mail\",\"commands\":["
                                    "\"SendReminder\"],\"code\":\"");
    assert_text_has(text_of(&json), "{\"name\":\"mailing/nightly\",\"cron\":\"0 3 * * *\",\"zone\":"
                                    "\"Europe/Berlin\",\"missed\":\"skip\",\"code\":\"");
    assert_text_has(text_of(&json), "{\"name\":\"mailing/once\",\"at\":\"2026-05-01T00:00:00.000Z\",");
    buf_release(&json);
    close_domain(domain);
}

static void a_service_posts_and_publishes(void **state)
{
    (void)state;
    struct running r;
    open_running(&r);
    start(&r, "post");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    const struct domain_request *request = domain_run_request(r.run);
    assert_true(slice_is(request->method, "POST"));
    assert_true(slice_is(request->url, "https://mail.example/send?x=1"));
    assert_true(slice_is(request->body, "{\"to\":\"ann\"}"));
    assert_int_equal(request->timeout_ms, 5000);
    assert_int_equal(request->header_count, 3);
    assert_string_equal(header(&r, "X-Key"), "s3cr3t-and-long-enough");
    assert_string_equal(header(&r, "Content-Type"), "application/json");
    struct domain_response answer = {.status = 202};
    assert_state(&r, step(&r, &answer), DOMAIN_RUN_DONE);
    assert_int_equal(domain_run_output(r.run)->event_count, 1);
    assert_string_equal(event_text(&r, 0), "ReminderSent {'status':202,'to':'mailSendReminderc-1'}");
    const struct commit_event *event = &domain_run_output(r.run)->events[0];
    assert_true(event->at_ms == r.test.now_ms && event->type_version == 1);
    close_running(&r);
}

/* The key is the same when the run is repeated, and another for each request, command, service and tenant. */
static void requests_are_idempotent(void **state)
{
    (void)state;
    struct running r;
    struct domain_response answer = {.status = 200};
    char first[64], second[64];
    open_running(&r);
    start(&r, "twice");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    snprintf(first, sizeof first, "%s", header(&r, "Idempotency-Key"));
    assert_int_equal(strlen(first), 36);
    assert_null(header(&r, "Content-Type"));
    assert_state(&r, step(&r, &answer), DOMAIN_RUN_FETCHES);
    snprintf(second, sizeof second, "%s", header(&r, "Idempotency-Key"));
    assert_string_not_equal(first, second);
    assert_true(slice_is(domain_run_request(r.run)->method, "DELETE"));
    start(&r, "twice");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    assert_string_equal(header(&r, "Idempotency-Key"), first);
    r.envelope.command_id = slice_of("c-2");
    start(&r, "twice");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    assert_string_not_equal(header(&r, "Idempotency-Key"), first);
    r.envelope.command_id = slice_of("c-1");
    r.envelope.tenant = slice_of("other");
    start(&r, "twice");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    assert_string_not_equal(header(&r, "Idempotency-Key"), first);
    start(&r, "own");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    assert_int_equal(domain_run_request(r.run)->header_count, 2);
    assert_string_equal(header(&r, "idempotency-KEY"), "mine");
    start(&r, "json");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    assert_true(slice_is(domain_run_request(r.run)->body, "[]"));
    close_running(&r);
}

static void an_answer_is_a_table(void **state)
{
    (void)state;
    struct running r;
    struct slice headers[3][2] = {{slice_of("X-A"), slice_of("1")},
                                  {slice_of("Content-Type"), slice_of("application/json")},
                                  {slice_of("x-a"), slice_of("2")}};
    struct domain_response answer = {.status = 200,
                                     .body = slice_of("{\"n\":[1,2.5]}"),
                                     .headers = (const struct slice(*)[2])headers,
                                     .header_count = 3};
    open_running(&r);
    start(&r, "answer");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    assert_state(&r, step(&r, &answer), DOMAIN_RUN_DONE);
    assert_string_equal(event_text(&r, 0), "ReminderSent {'to':'1, 2|{\\'n\\':[1,2.5]}|2.5'}");
    start(&r, "answer");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    answer.body = slice_of("<html>");
    assert_state(&r, step(&r, &answer), DOMAIN_RUN_FAILED);
    assert_text_has(r.fault.text, "mailing/mail.lua:");
    assert_text_has(r.fault.text, "the answer is no JSON: ");
    close_running(&r);
}

static void pcall_works_around_a_request(void **state)
{
    (void)state;
    struct running r;
    struct domain_response answer = {.status = 500, .body = slice_of("body")},
                           none = {.error = slice_of("timed out after 5 s")};
    open_running(&r);
    start(&r, "caught");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    assert_state(&r, step(&r, &answer), DOMAIN_RUN_FETCHES);
    assert_state(&r, step(&r, &none), DOMAIN_RUN_FETCHES);
    assert_state(&r, step(&r, &answer), DOMAIN_RUN_DONE);
    assert_string_equal(event_text(&r, 0), "ReminderSent {'to':'status 500'}");
    assert_string_equal(event_text(&r, 1),
                        "ReminderSent {'to':'falsemailing/mail.lua:19: GET http://y: timed "
                        "out after 5 s'}");
    assert_string_equal(event_text(&r, 2), "ReminderSent {'to':'truebody'}");
    start(&r, "twice");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    assert_state(&r, step(&r, &none), DOMAIN_RUN_FAILED);
    assert_int_equal(r.fault.code, FAULT_SCRIPT);
    assert_text_has(r.fault.text, "PUT http://x: timed out after 5 s");
    close_running(&r);
}

static void retry_ends_a_run_whatever_catches(void **state)
{
    (void)state;
    struct running r;
    struct domain_response answer = {.status = 200};
    open_running(&r);
    start(&r, "again");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_RETRIES);
    assert_int_equal(domain_run_retry_ms(r.run), 10000);
    assert_int_equal(r.test.log.size, 0);
    start(&r, "later");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FETCHES);
    assert_state(&r, step(&r, &answer), DOMAIN_RUN_RETRIES);
    assert_int_equal(domain_run_retry_ms(r.run), 120000);
    start(&r, "closing");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_RETRIES);
    close_running(&r);
}

static void views_are_read(void **state)
{
    (void)state;
    struct running r;
    open_running(&r);
    start(&r, "get");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_DONE);
    assert_string_equal(event_text(&r, 0), "ReminderSent {'to':'9nil'}");
    start(&r, "all");
    assert_int_equal(domain_run_step(r.run, NULL, &r.fault), DOMAIN_RUN_PAUSES); /* between two pages */
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_DONE);
    assert_string_equal(event_text(&r, 0), "ReminderSent {'status':11175,'to':'x'}");
    assert_string_equal(text_of(&r.test.asked), "get mailing/letters k7\nget mailing/letters 8\n"
                                                "range mailing/letters  - -\n"
                                                "range mailing/letters to 'a' '2.5'\n");
    r.test.fails = FAULT_UNAVAILABLE;
    start(&r, "get");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FAILED);
    assert_int_equal(r.fault.code, FAULT_UNAVAILABLE);
    start(&r, "all");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FAILED);
    assert_int_equal(r.fault.code, FAULT_UNAVAILABLE);
    close_running(&r);
}

static void a_task_runs_for_its_moment(void **state)
{
    (void)state;
    struct running r;
    open_running(&r);
    int nightly = domain_find_task(r.domain, slice_of("mailing/nightly"));
    assert_int_equal(domain_task_start(r.domain, nightly, slice_of("main"), ms_of("2026-03-01T02:00:00Z"),
                                       &r.test.host, &r.run, &r.fault),
                     0);
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_DONE);
    assert_string_equal(event_text(&r, 0),
                        "ReminderSent {'status':150,'to':'2026-03-01T02:00:00.000Z k149149'}");
    const struct domain_output *output = domain_run_output(r.run);
    assert_int_equal(output->send_count, 1);
    assert_true(output->sends[0].due_ms == ms_of("2026-03-02T10:00:00Z"));
    assert_string_equal(json_of(output->sends[0].data), "{'text':'2026-03-01T10:00:00.000Z'}");
    assert_string_equal(text_of(&r.test.asked),
                        "range mailing/letters due_on - '2026-02-14T02:00:00.000Z'\n");
    static const char *const failing[][2] = {
        {"mailing/hourly", "mailing/tasks.lua:8: run must return events, a list of events or nothing, it "
                           "returned a number"},
        {"mailing/once", "mailing/tasks.lua:11: table"},
        {"mailing/wrong", "mailing/tasks.lua:12: run: publish takes an event of its context mailing, "
                          "not the command mailing.Note"}};
    for (size_t i = 0; i < 3; i++) {
        domain_run_free(r.run);
        int task = domain_find_task(r.domain, slice_of(failing[i][0]));
        assert_int_equal(
            domain_task_start(r.domain, task, slice_of("main"), 0, &r.test.host, &r.run, &r.fault), 0);
        assert_state(&r, step(&r, NULL), DOMAIN_RUN_FAILED);
        assert_string_equal(r.fault.text, failing[i][1]);
    }
    close_running(&r);
}

static void a_log_line_shows_no_secret(void **state)
{
    (void)state;
    struct running r;
    open_running(&r);
    start(&r, "log");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_DONE);
    assert_string_equal(text_of(&r.test.log), "2 to ann: 7\n1 a b?\n0 key [env.MAIL_KEY]\n");
    close_running(&r);
}

static void a_service_may_reject(void **state)
{
    (void)state;
    struct running r;
    open_running(&r);
    start(&r, "reject");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_FAILED);
    assert_int_equal(r.fault.code, FAULT_REJECTED);
    assert_string_equal(r.fault.reason, "no");
    assert_string_equal(r.fault.text, "not 7");
    close_running(&r);
}

/* Command in, events out. */
static void what_is_returned_is_published(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"return 7", "when.SendReminder must return events, a list of events or nothing, it "
                     "returned a number"},
        {"return list", "when.SendReminder must return events, a list of events or nothing, it returned a "
                        "number in a list"},
        {"return command", "publish takes an event of its context mailing, not the command mailing.Note"},
        {"return map", "when.SendReminder returned a table that is no list of events"}};
    struct running r;
    open_running(&r);
    start(&r, "return");
    assert_state(&r, step(&r, NULL), DOMAIN_RUN_DONE);
    assert_int_equal(domain_run_output(r.run)->event_count, 4);
    for (size_t i = 0; i < 4; i++) {
        char expected[64];
        snprintf(expected, sizeof expected, "ReminderSent {'to':'%zu'}", i + 1);
        assert_string_equal(event_text(&r, i), expected);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        start(&r, wrong[i][0]);
        assert_state(&r, step(&r, NULL), DOMAIN_RUN_FAILED);
        assert_text_has(r.fault.text, wrong[i][1]);
        assert_text_has(r.fault.text, "mailing/mail.lua:");
    }
    close_running(&r);
}

static void a_command_is_checked_at_the_start(void **state)
{
    (void)state;
    struct running r;
    open_running(&r);
    assert_int_equal(
        domain_service_start(r.domain, 0, &r.envelope, mp_of("{'to':7}"), &r.test.host, &r.run, &r.fault),
        -1);
    assert_int_equal(r.fault.code, FAULT_CONTRACT);
    r.envelope.type = slice_of("SendReminde");
    assert_int_equal(
        domain_service_start(r.domain, 0, &r.envelope, mp_of("{}"), &r.test.host, &r.run, &r.fault), -1);
    assert_int_equal(r.fault.code, FAULT_UNKNOWN_COMMAND);
    assert_text_has(r.fault.text, "mailing/mail has no command SendReminde: did you mean SendReminder?");
    close_running(&r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_declared_is_told),
                                              cmocka_unit_test(a_service_posts_and_publishes),
                                              cmocka_unit_test(requests_are_idempotent),
                                              cmocka_unit_test(an_answer_is_a_table),
                                              cmocka_unit_test(pcall_works_around_a_request),
                                              cmocka_unit_test(retry_ends_a_run_whatever_catches),
                                              cmocka_unit_test(views_are_read),
                                              cmocka_unit_test(a_task_runs_for_its_moment),
                                              cmocka_unit_test(a_log_line_shows_no_secret),
                                              cmocka_unit_test(a_service_may_reject),
                                              cmocka_unit_test(what_is_returned_is_published),
                                              cmocka_unit_test(a_command_is_checked_at_the_start)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

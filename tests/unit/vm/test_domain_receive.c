/* Receptors: what they may send, what is refused, and that nothing leaves a handler that failed. */
#include "unit/vm/domain_support.h"

static const char *const scripts[] = {
    "security/contracts.lua",
    "contracts [[\n PasswordAdded!2 (user_id: string, what: string)\n UserRemoved! ]]\n"
    "function upcast.PasswordAdded.v1(e) e.what = 'upcast' return e end\n",
    "billing/contracts.lua",
    "contracts [[\n CreateUser? (user: string, login: string)\n DropUser?\n UserCreated!\n SendMail? (to: "
    "string) ]]",
    "billing/user.lua",
    "local user = aggregate 'user'\n"
    "function user.execute.CreateUser() send.user('1', DropUser {}) end\n"
    "function user.apply.UserCreated() end\n",
    "billing/mail.lua",
    "local mail = service 'mail'\nfunction mail.when.SendMail() end\n",
    "billing/receptors.lua",
    "local month = { after = days(30), key = 'close' }\n"
    "local r = receptor 'replication' { since = 'start' }\n"
    "local does = {}\n"
    "local function create() return CreateUser { user = 'u', login = 'l' } end\n"
    "function does.upcast() end\n"
    "function does.two(e, m)\n"
    "  send.user(e.user_id, CreateUser { user = e.user_id, login = m.id })\n"
    "  send.mail(SendMail { to = m.at .. m.recorded .. m.position .. m.stream })\n"
    "end\n"
    "function does.later(e)\n"
    "  send.user(7, create(), month)\n"
    "  send.user('a', create(), { at = '2026-02-01', key = 8 })\n"
    "  send.mail(SendMail { to = 'x' }, { after = '1h' })\n"
    "  cancel.user('a', 'close')\n"
    "  cancel.mail(9)\n"
    "end\n"
    "function does.caught() send.user('1', create()) pcall(function() send.user('2', create(), 7) end) end\n"
    "does['then'] = function() send.user('1', create()) error('no') end\n"
    "function does.unknown() send['usr']('1', create()) end\n"
    "function does.event() send.user('1', UserCreated {}) end\n"
    "function does.unhandled() send.user('1', DropUser {}) end\n"
    "function does.wrong_target() send.mail(create()) end\n"
    "function does.plain() send.user('1', { user = 'x' }) end\n"
    "function does.no_id() send.user(create()) end\n"
    "function does.slash() send.user('a/b', create()) end\n"
    "function does.option() send.user('1', create(), { afer = '1h' }) end\n"
    "function does.options() send.user('1', create(), 7) end\n"
    "function does.both() send.user('1', create(), { after = '1h', at = '2026-02-01' }) end\n"
    "function does.negative() send.user('1', create(), { after = seconds(-1) }) end\n"
    "function does.duration() send.user('1', create(), { after = '1 h' }) end\n"
    "function does.far() send.user('1', create(), { after = days(3650000) }) end\n"
    "function does.at() send.user('1', create(), { at = 'soon' }) end\n"
    "function does.key() send.user('1', create(), { key = 'k' }) end\n"
    "function does.key_kind() send.user('1', create(), { after = '1h', key = {} }) end\n"
    "function does.no_key() cancel.user('1') end\n"
    "function does.publish() publish(UserCreated {}) end\n"
    "function does.emit() emit(UserCreated {}) end\n"
    "function does.reject() reject('no') end\n"
    "function does.assign() send.user = 1 end\n"
    "function does.insert() table.insert(send, 1) end\n"
    "function does.rawset() rawset(send, 'x', 1) end\n"
    "function does.index() send[1]('x') end\n"
    "does['return'] = function() return 7 end\n"
    "function does.field() return CreateUser { usr = 'x' } end\n"
    "does['for ever'] = function() while true do end end\n"
    "function does.memory() local t = {} while true do t[#t + 1] = ('x'):rep(1000 + #t) end end\n"
    "function does.endless() while true do send.user('1', create()) end end\n"
    "r.when['security.PasswordAdded'] = function(e, m) return does[e.what](e, m) end\n"
    "function r.when.UserCreated(e, m) cancel.user(m.id, 'k') end\n",
    NULL};

struct received {
    struct domain *domain;
    struct domain_output output;
    struct fault fault;
};

static int receive(struct received *received, const char *what, uint32_t version)
{
    struct envelope envelope = envelope_of("security", "login", "ann", "PasswordAdded");
    envelope.type_version = version;
    envelope.version = 3;
    envelope.position = 17;
    envelope.recorded_ms = ms_of("2026-01-02");
    char json[200];
    snprintf(json, sizeof json, version == 2 ? "{'user_id':'u1','what':'%s'}" : "{'user_id':'u1'}", what);
    int index = domain_find_receptor(received->domain, slice_of("billing/replication"));
    struct slice data = mp_of(json);
    received->fault = (struct fault){0};
    int result = domain_receive(received->domain, index, &envelope, data, &test_arena, &received->output,
                                &received->fault);
    if (result < 0 && domain_must_repeat(received->domain)) {
        domain_set_exact(received->domain, true);
        result = domain_receive(received->domain, index, &envelope, data, &test_arena, &received->output,
                                &received->fault);
        domain_set_exact(received->domain, false);
    }
    return result;
}

static const char *send_text(const struct domain_send *send)
{
    static char text[300];
    char due[TIME_TEXT_SIZE + 1] = "now";
    if (send->due_ms != INT64_MIN) time_format(send->due_ms, due);
    snprintf(text, sizeof text, "%s %s%.*s/%.*s/%.*s %.*s %s %s '%.*s'", send->is_cancel ? "cancel" : "send",
             send->to_service ? "service " : "", SLICE_ARGS(send->context), SLICE_ARGS(send->target),
             SLICE_ARGS(send->id), SLICE_ARGS(send->type), send->is_cancel ? "-" : json_of(send->data), due,
             SLICE_ARGS(send->key));
    return text;
}

static void a_receptor_is_declared(void **state)
{
    (void)state;
    struct domain *domain = open_domain(scripts);
    assert_int_equal(domain_receptor_count(domain), 1);
    assert_int_equal(domain_find_receptor(domain, slice_of("billing/replicatio")), -1);
    const struct domain_receptor *receptor = domain_receptor(domain, 0);
    assert_true(slice_is(receptor->name, "billing/replication"));
    assert_true(slice_is(receptor->context, "billing"));
    assert_true(receptor->since_start);
    assert_int_equal(receptor->event_count, 2);
    assert_true(slice_is(receptor->events[0], "billing.UserCreated"));
    assert_true(slice_is(receptor->events[1], "security.PasswordAdded"));
    close_domain(domain);
}

static void sends_come_in_order(void **state)
{
    (void)state;
    struct received received = {.domain = open_domain(scripts)};
    assert_int_equal(receive(&received, "two", 2), 0);
    assert_int_equal(received.output.send_count, 2);
    assert_int_equal(received.output.event_count, 0);
    assert_string_equal(send_text(&received.output.sends[0]),
                        "send billing/user/u1 CreateUser {'login':'ann','user':'u1'} now ''");
    assert_string_equal(send_text(&received.output.sends[1]),
                        "send service billing/mail/ SendMail {'to':'2026-01-01T00:00:00.000Z"
                        "2026-01-02T00:00:00.000Z17security/login/ann'} now ''");
    assert_int_equal(receive(&received, "", 1), 0); /* an older version is upcast */
    assert_int_equal(received.output.send_count, 0);
    close_domain(received.domain);
}

static void what_is_sent_later_counts_from_the_event(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "send billing/user/7 CreateUser {'login':'l','user':'u'} 2026-02-01T00:00:00.000Z 'close'",
        "send billing/user/a CreateUser {'login':'l','user':'u'} 2026-02-01T00:00:00.000Z '8'",
        "send service billing/mail/ SendMail {'to':'x'} 2026-01-02T01:00:00.000Z ''",
        "cancel billing/user/a  - now 'close'", "cancel service billing/mail/  - now '9'"};
    struct received received = {.domain = open_domain(scripts)};
    assert_int_equal(receive(&received, "later", 2), 0);
    assert_int_equal(received.output.send_count, 5);
    for (size_t i = 0; i < 5; i++) assert_string_equal(send_text(&received.output.sends[i]), expected[i]);
    close_domain(received.domain);
}

static void an_event_without_handler_sends_nothing(void **state)
{
    (void)state;
    struct received received = {.domain = open_domain(scripts)};
    struct envelope envelope = envelope_of("security", "login", "ann", "UserRemoved");
    assert_int_equal(domain_receive(received.domain, 0, &envelope, mp_of("{}"), &test_arena, &received.output,
                                    &received.fault),
                     0);
    assert_int_equal(received.output.send_count, 0);
    /* The same name in another context is another event. */
    envelope = envelope_of("billing", "user", "ann", "UserCreated");
    assert_int_equal(domain_receive(received.domain, 0, &envelope, mp_of("{}"), &test_arena, &received.output,
                                    &received.fault),
                     0);
    assert_int_equal(received.output.send_count, 1);
    envelope = envelope_of("security", "login", "ann", "UserCreated");
    assert_int_equal(domain_receive(received.domain, 0, &envelope, mp_of("{}"), &test_arena, &received.output,
                                    &received.fault),
                     0);
    assert_int_equal(received.output.send_count, 0);
    close_domain(received.domain);
}

static void nothing_leaves_a_handler_that_failed(void **state)
{
    (void)state;
    struct received received = {.domain = open_domain(scripts)};
    assert_int_equal(receive(&received, "then", 2), -1);
    assert_int_equal(received.fault.code, FAULT_SCRIPT);
    assert_int_equal(received.output.send_count, 0);
    /* What was sent before a caught error stays, what failed is not sent. */
    assert_int_equal(receive(&received, "caught", 2), 0);
    assert_int_equal(received.output.send_count, 1);
    close_domain(received.domain);
}

static void mistakes_say_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *what, *text;
    } cases[] = {
        {"unknown", "context billing has no aggregate or service usr: did you mean user?"},
        {"event", "send.user takes a command, got the event UserCreated"},
        {"unhandled", "billing/user has no command DropUser"},
        {"wrong_target", "billing/mail has no command CreateUser"},
        {"plain", "send.user takes a command such as Name { … }, got a table"},
        {"no_id", "the id of send.user must be a text of 1 to 200 bytes without '/', got the command"},
        {"slash", "the id of send.user must be a text of 1 to 200 bytes without '/', got the text 'a/b'"},
        {"option", "send.user has no option afer, only after, at and key"},
        {"options", "the options of send.user must be a table such as { after = \"30d\" }"},
        {"both", "send.user: either after or at, not both"},
        {"negative", "send.user: after must be a duration such as \"30d\""},
        {"duration", "send.user: after must be a duration such as \"30d\", got the text '1 h'"},
        {"far", "send.user: after is behind the year 9999"},
        {"at", "send.user: at must be a time, got the text 'soon'"},
        {"key", "send.user: key names what waits: it needs after or at"},
        {"key_kind", "a key must be a text of 1 to 200 bytes"},
        {"no_key", "the key of cancel.user must be a text"},
        {"publish", "publish is not possible in a receptor: it sends commands"},
        {"emit", "emit is only possible while a command is executed"},
        {"reject", "reject is only possible while a command is executed"},
        {"assign", "send cannot be changed"},
        {"insert", "table expected"},
        {"rawset", "table expected"},
        {"index", "write send.NAME"},
        {"return", "when.PasswordAdded sends and must return nothing, it returned a number"},
        {"field", "CreateUser.usr"},
    };
    struct received received = {.domain = open_domain(scripts)};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (receive(&received, cases[i].what, 2) == 0) fail_msg("%s: went well", cases[i].what);
        assert_int_equal(received.fault.code, FAULT_SCRIPT);
        assert_text_has(received.fault.text, cases[i].text);
        assert_text_has(received.fault.text, "billing/receptors.lua:");
        assert_int_equal(received.output.send_count, 0);
    }
    assert_int_equal(receive(&received, "two", 2), 0);
    close_domain(received.domain);
}

static void budgets_are_exact(void **state)
{
    (void)state;
    domain_thread_start();
    struct received received = {
        .domain = open_domain_with((struct domain_options){.instructions_max = 1000000}, scripts)};
    static const char *const cases[] = {"for ever", "memory", "endless"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(receive(&received, cases[i], 2), -1);
        assert_int_equal(received.fault.code, FAULT_BUDGET);
        assert_int_equal(received.output.send_count, 0);
    }
    assert_int_equal(receive(&received, "two", 2), 0);
    close_domain(received.domain);
    domain_thread_stop();
}

/* Names behind the words' dots are known when all is loaded. */
static void unknown_names_are_errors_of_the_load(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"send.usr('1')",
         "send.usr: context billing has no aggregate or service of this name: did you mean user?"},
        {"cancel.mial('1')",
         "cancel.mial: context billing has no aggregate or service of this name: did you mean mail?"},
        {"return views.open", "views.open: context billing has no projection of this name"},
        {"http.psot('x')", "http.psot: there is get, post, put, delete: did you mean post?"},
        {"log.warning('x')", "log.warning: there is info, warn, error"},
        {"return clock.time", "clock.time: there is now"},
        {"local send = {} return send.x, send.y", NULL},
        {"return send.mail, cancel.user, http.put, log.warn, clock.now", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        snprintf(text, sizeof text, "local f = function()\n%s end", cases[i][0]);
        const char *const files[] = {"billing/a.lua",
                                     text,
                                     "billing/contracts.lua",
                                     scripts[3],
                                     "billing/user.lua",
                                     scripts[5],
                                     "billing/mail.lua",
                                     scripts[7],
                                     NULL};
        struct sources *sources = sources_of(files);
        struct domain_options options = {.sources = sources};
        struct domain *domain = NULL;
        struct fault fault = {0};
        int result = domain_open(&options, &domain, NULL, &fault);
        if (cases[i][1]) {
            assert_int_equal(result, -1);
            assert_text_has(fault.text, "scripts/billing/a.lua:2: ");
            assert_text_has(fault.text, cases[i][1]);
        } else if (result < 0) {
            fail_msg("%s", fault.text);
        }
        domain_close(domain);
        sources_free(sources);
    }
}

static void others_do_not_send(void **state)
{
    (void)state;
    struct domain *domain = open_domain(scripts);
    struct envelope envelope = envelope_of("billing", "user", "7", "CreateUser");
    struct domain_state *user = domain_state_new(domain, 0);
    struct decision decision;
    bool touched;
    struct fault fault;
    assert_int_equal(domain_execute(domain, user, &envelope, mp_of("{'user':'u','login':'l'}"), false,
                                    &test_arena, &decision, &touched, &fault),
                     -1);
    assert_text_has(fault.text, "send is only possible while a receptor, service or task runs");
    domain_state_free(domain, user);
    close_domain(domain);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(a_receptor_is_declared),
                                              cmocka_unit_test(sends_come_in_order),
                                              cmocka_unit_test(what_is_sent_later_counts_from_the_event),
                                              cmocka_unit_test(an_event_without_handler_sends_nothing),
                                              cmocka_unit_test(nothing_leaves_a_handler_that_failed),
                                              cmocka_unit_test(mistakes_say_what_is_wrong),
                                              cmocka_unit_test(budgets_are_exact),
                                              cmocka_unit_test(unknown_names_are_errors_of_the_load),
                                              cmocka_unit_test(others_do_not_send)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* lore test from the inside: spec files in a folder of their own, what they print, and what the counts are.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/vm/domain_support.h"
#include "vm/spec.h"

static char folder[64];

static void write_file(const char *path, const char *text)
{
    char whole[300];
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    for (char *at = strchr(whole + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        mkdir(whole, 0777);
        *at = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int start(void **unused)
{
    strcpy(folder, "/tmp/lore_spec_XXXXXX");
    assert_non_null(mkdtemp(folder));
    write_file("scripts/billing/contracts.lua",
               "contracts [[\n CreateBill? (customer: string)\n BillCreated! (customer: string, on: time?)\n "
               "CloseBill?\n"
               " BillClosed! (total: decimal)\n Leak?\n Leaked! (n: integer)\n Bad!\n MakeBad?\n]]\n");
    write_file(
        "scripts/billing/bill.lua",
        "local bill = aggregate 'bill'\n"
        "local kept = { n = 0 }\n"
        "local function count(of) of.n = of.n + 1 return of.n end\n"
        "function bill.apply.BillCreated(state, e, m) state.customer, state.at = e.customer, m.at end\n"
        "function bill.apply.Bad(state) state.f = function() end end\n"
        "function bill.execute.CreateBill(state, c, m)\n"
        "  if state.customer then reject('exists', '%s is there', m.id) end\n"
        "  return BillCreated { customer = c.customer }\n"
        "end\n"
        "function bill.execute.CloseBill(state) return BillClosed { total = decimal '1.20' } end\n"
        "function bill.execute.Leak() return Leaked { n = count(kept) } end\n"
        "function bill.execute.MakeBad() return Bad {} end\n");
    write_file("scripts/billing/open.lua", "local open = projection 'open'\n"
                                           "function open.when.BillCreated(view, e, m) view.customer, "
                                           "view.at, view.of = e.customer, m.at, m.aggregate end\n"
                                           "function open.when.BillClosed() return false end\n"
                                           "function open.when.Bad() error('bad event') end\n");
    write_file("scripts/security/contracts.lua", "contracts [[ UserAdded! (name: string) ]]\n");
    write_file("scripts/billing/contracts2.lua",
               "contracts [[\n Remind? (to: string)\n Reminded! (to: string, text: string?)\n ]]\n");
    write_file("scripts/billing/replication.lua",
               "local r = receptor 'replication'\n"
               "r.when['security.UserAdded'] = function(e, m)\n"
               "  if e.name == 'bad' then error('bad name') end\n"
               "  send.bill(m.id, CreateBill { customer = e.name })\n"
               "  send.bill(m.id, CloseBill {}, { after = '30d', key = 'close' })\n"
               "  cancel.bill(m.id, 'open') send.mail(Remind { to = e.name })\n"
               "end\n");
    write_file("scripts/billing/mail.lua",
               "local mail = service 'mail'\n"
               "function mail.when.Remind(c, m)\n"
               "  if c.to == 'nobody' then reject('nobody', 'nobody is %s', c.to) end\n"
               "  local a = http.post('https://mail/send', { json = { to = c.to, key = env.KEY } })\n"
               "  if a.status ~= 202 then retry('10s') end\n"
               "  publish(Reminded { to = c.to, text = a.json().id .. a.headers.via })\n"
               "end\n");
    write_file("scripts/billing/expire.lua", "local t = task 'expire' { every = '1h' }\n"
                                             "function t.run(now)\n"
                                             "  for id, doc in views.due:range('on', nil, now - days(1)) do\n"
                                             "    publish(Reminded { to = id, text = doc.on })\n"
                                             "    send.bill(id, CloseBill {}, { at = now + hours(1) })\n"
                                             "  end\n"
                                             "  if views.due:get('stop') then http.get('http://x') end\n"
                                             "end\n");
    write_file("scripts/billing/order.lua",
               "local t = task 'order' { every = '1h' }\n"
               "function t.run()\n"
               "  for id in views.due:range('n', -1.5, 300) do publish(Reminded { to = id }) end\n"
               "  for id in views.due:all() do publish(Reminded { to = id }) break end\n"
               "end\n");
    write_file(
        "scripts/billing/due.lua",
        "local due = projection 'due' { index = { 'on', 'n' } }\nfunction due.when.BillCreated() end\n");
    return 0;
}

static int stop(void **unused)
{
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* Runs one spec text; what it wrote to standard output goes into text. */
static int run_spec(const char *body, const struct spec_options *from, char *text, size_t size,
                    size_t *passed, size_t *failed)
{
    char scripts[100], specs[100], output[100];
    snprintf(scripts, sizeof scripts, "%s/scripts", folder);
    snprintf(specs, sizeof specs, "%s/specs/billing/bill_spec.lua", folder);
    snprintf(output, sizeof output, "%s/output", folder);
    unlink(specs);
    if (body) write_file("specs/billing/bill_spec.lua", body);
    fflush(stdout);
    int saved = dup(1);
    int file = open(output, O_RDWR | O_CREAT | O_TRUNC, 0666);
    dup2(file, 1);
    struct spec_options options = from ? *from : (struct spec_options){0};
    options.passed = passed;
    options.failed = failed;
    int result = spec_run(scripts, NULL, 0, &options, &test_fault);
    fflush(stdout);
    dup2(saved, 1);
    close(saved);
    ssize_t got = pread(file, text, size - 1, 0);
    text[got > 0 ? got : 0] = 0;
    close(file);
    return result;
}

#define SPEC(body) "describe('bills', function()\n it('works', function()\n" body "\n end)\nend)\n"

static void good_specs_pass(void **unused)
{
    char text[8000];
    size_t passed, failed;
    const char *body =
        "describe('bills', function()\n"
        "  it('are created', function()\n"
        "    aggregate('bill', 'b-7'):when { CreateBill { customer = 'acme' } }:expect { BillCreated { "
        "customer = 'acme' } }\n"
        "  end)\n"
        "  it('are created once', function()\n"
        "    aggregate('bill', 'b-7'):given { BillCreated { customer = 'acme' } }:when { CreateBill { "
        "customer = 'x' } }:rejects 'exists'\n"
        "  end)\n"
        "  it('are closed', function()\n"
        "    aggregate('bill'):when { CloseBill {} }:expect { BillClosed { total = decimal '1.20' } }\n"
        "    aggregate('bill'):when { CloseBill {} }:expect { BillClosed { total = '1.20' } }\n"
        "    assert.are.equal(1, 1)\n"
        "  end)\n"
        "  it('are shown', function()\n"
        "    projection('open'):given {\n"
        "      on('b-7', BillCreated { customer = 'acme' }), at('2026-02-01', on('b-8', BillCreated { "
        "customer = 'x' })),\n"
        "      on('b-7', billing.BillClosed { total = 1 }),\n"
        "    }:expect { ['b-8'] = { customer = 'x', at = '2026-02-01T00:00:00.000Z', of = 'bill' } }\n"
        "  end)\n"
        "  it('fail', function()\n"
        "    aggregate('bill'):when { MakeBad {} }:fails 'state.f: a function is no plain data'\n"
        "    projection('open'):given { Bad {} }:fails 'bad event'\n"
        "  end)\n"
        "end)\n";
    if (run_spec(body, NULL, text, sizeof text, &passed, &failed) < 0) fail_msg("%s", test_fault.text);
    if (failed) fail_msg("%s", text);
    assert_int_equal(passed, 5);
    assert_text_has(text, "5 passed, 0 failed\n");
    assert_int_equal(run_spec(body, &(struct spec_options){.output = "TAP", .filter = "created"}, text,
                              sizeof text, &passed, &failed),
                     0);
    assert_int_equal(passed, 2);
    assert_text_has(text, "ok 1 - ");
    assert_text_has(text, "# 2 passed, 0 failed\n");
    assert_int_equal(
        run_spec(body, &(struct spec_options){.output = "json"}, text, sizeof text, &passed, &failed), 0);
    assert_int_equal(text[0], '{');
    assert_int_equal(
        run_spec(body, &(struct spec_options){.output = "junit"}, text, sizeof text, &passed, &failed), 0);
    assert_text_has(text, "<testsuite");
}

/* Receptors, services and tasks; `send` and `cancel` are written as scripts write them. */
static void good_specs_of_what_sends_pass(void **unused)
{
    char text[8000];
    size_t passed, failed;
    const char *body =
        "describe('what sends', function()\n"
        "  it('receives', function()\n"
        "    receptor('replication'):given { on('ann', security.UserAdded { name = 'Ann' }) }:expect {\n"
        "      send.bill('ann', CreateBill { customer = 'Ann' }), send.bill('ann', CloseBill {}, { after = "
        "'720h', key = 'close' }),\n"
        "      cancel.bill('ann', 'open'), send.mail(Remind { to = 'Ann' }) }\n"
        "    receptor('replication'):given { at('2026-02-01', security.UserAdded { name = 'B' }) }:expect {\n"
        "      send.bill(1, CreateBill { customer = 'B' }), send.bill(1, CloseBill {}, { at = '2026-03-03', "
        "key = 'close' }),\n"
        "      cancel.bill(1, 'open'), send.mail(Remind { to = 'B' }) }\n"
        "    receptor('replication'):given {}:expect {}\n"
        "    receptor('replication'):given { security.UserAdded { name = 'bad' } }:fails 'bad name'\n"
        "  end)\n"
        "  it('serves', function()\n"
        "    local asked\n"
        "    local mail = service('mail'):env { KEY = 'k' }:http { ['POST https://mail/send'] = "
        "function(request)\n"
        "      asked = request.json()\n"
        "      assert.are.equal('application/json', request.headers['Content-Type'])\n"
        "      return { status = 202, json = { id = 7 }, headers = { Via = 'x' } } end }\n"
        "    mail:when { Remind { to = 'ann' } }:expect { Reminded { to = 'ann', text = '7x' } }\n"
        "    assert.are.same({ to = 'ann', key = 'k' }, asked)\n"
        "    service('mail'):when { Remind { to = 'nobody' } }:rejects 'nobody'\n"
        "    service('mail'):env { KEY = 'k' }:http(function() return { status = 500 } end)\n"
        "      :when { Remind { to = 'ann' } }:retries '10s'\n"
        "    service('mail'):when { Remind { to = 'ann' } }:fails 'env.KEY: there is no secret'\n"
        "    service('mail'):env { KEY = 'k' }:http { ['POST https://mail/send'] = { error = 'timed out' } "
        "}\n"
        "      :when(Remind { to = 'ann' }):fails 'POST https://mail/send: timed out'\n"
        "  end)\n"
        "  it('runs', function()\n"
        "    local views = { a = { on = '2026-02-27T00:00:00.000Z' }, b = { on = '2026-02-28T00:00:00.001Z' "
        "},\n"
        "      c = { on = '2026-02-28T00:00:00.000Z' }, d = { off = 1 } }\n"
        "    task('expire'):given_view('due', views):at '2026-03-01':expect {\n"
        "      Reminded { to = 'a', text = '2026-02-27T00:00:00.000Z' },\n"
        "      Reminded { to = 'c', text = '2026-02-28T00:00:00.000Z' },\n"
        "      send.bill('a', CloseBill {}, { at = '2026-03-01T01:00:00Z' }),\n"
        "      send.bill('c', CloseBill {}, { after = '1h' }) }\n"
        "    task('expire'):given_view('due', views):expect {}\n"
        "    task('order'):given_view('due', { a = { n = 300 }, b = { n = -1 }, c = { n = 'x' }, d = { n = "
        "2.5 "
        "}, e = { n = -2 } })\n"
        "      :expect { Reminded { to = 'b' }, Reminded { to = 'd' }, Reminded { to = 'a' }, Reminded { to "
        "= "
        "'a' } }\n"
        "  end)\n"
        "end)\n";
    if (run_spec(body, NULL, text, sizeof text, &passed, &failed) < 0) fail_msg("%s", test_fault.text);
    if (failed) fail_msg("%s", text);
    assert_int_equal(passed, 3);
}

static void bad_specs_say_why(void **unused)
{
    static const char *const cases[][3] = {
        {SPEC("aggregate('bill'):when { CreateBill { customer = 'acme' } }:expect { BillCreated { customer = "
              "'other' } }"),
         "* ", "bill_spec.lua:3: not the expected events"},
        {SPEC("aggregate('bill'):when { CreateBill { customer = 'acme' } }:expect { BillCreated { customer = "
              "'other' } }"),
         "customer = \"other\",", "| BillCreated {"},
        {SPEC("aggregate('bill'):when { CreateBill { customer = 'acme' } }:expect {}"), "(none)",
         "customer = \"acme\""},
        {SPEC("aggregate('bill'):when { CreateBill { customer = 'acme' } }:rejects 'x'"),
         "expected to be rejected with 'x', but it gave", ""},
        {SPEC("aggregate('bill'):given { BillCreated { customer = 'a' } }:when { CreateBill { customer = "
              "'acme' } }:rejects 'x'"),
         "was rejected with 'exists': 1 is there", ""},
        {SPEC("aggregate('bill'):given { BillCreated { customer = 'a' } }:when { CreateBill { customer = "
              "'acme' } }:expect {}"),
         "rejected with 'exists': 1 is there", ""},
        {SPEC("aggregate('bil'):when { CloseBill {} }:expect {}"),
         "there is no aggregate billing/bil: did you mean billing/bill?", ""},
        {SPEC("projection('opne')"), "did you mean billing/open?", ""},
        {SPEC("aggregate('bill'):when { CreateBill { customer = 7 } }"),
         "bill_spec.lua:3: CreateBill.customer: expected string, got integer", ""},
        {SPEC("aggregate('bill'):when { BillClosed { total = 1 } }"),
         "BillClosed is an event: commands are run", ""},
        {SPEC("aggregate('bill'):given { 7 }"), "item 1 is no message", ""},
        {SPEC("aggregate('bill'):when { Leak {} }:expect { Leaked { n = 1 } }"),
         "bill.lua:3: a table made at "
         "file level is read-only in handlers: nothing may outlive a call",
         ""},
        {SPEC("projection('open'):given { BillCreated { customer = 'a' } }:expect {}"),
         "not the expected documents", "[\"1\"] = {"},
        {SPEC("CreateBil {}"), "CreateBil", ""},
        {SPEC("receptor('replication'):given { security.UserAdded { name = 'a' } }:expect {\n"
              "send.bill('1', CreateBill { customer = 'b' }) }"),
         "bill_spec.lua:3: not what is expected",
         "send.bill(\"1\", { after = \"30d\", key = \"close\" }) CloseBill {}"},
        {SPEC("receptor('replication'):given { security.UserAdded { name = 'a' } }:expect { Remind { to = "
              "'a' } }"),
         "Remind is a command: send it to somebody", ""},
        {SPEC("receptor('replication'):expect { send.bil('1', CloseBill {}) }"),
         "send.bil: there is no aggregate or service bil in billing", ""},
        {SPEC("receptor('replication'):expect { send.bill('1', CloseBill {}, { afer = '1h' }) }"),
         "send.bill has no option afer", ""},
        {SPEC("receptor('replicatoin')"), "did you mean billing/replication?", ""},
        {SPEC("service('mail'):env { KEY = 'k' }:when { Remind { to = 'a' } }:expect {}"),
         "http: the spec has no answer to POST https://mail/send, only to: none", ""},
        {SPEC("service('mail'):env { KEY = 'k' }:http { ['POST https://mail/send'] = function() "
              "error('mine') end "
              "}:when { Remind { to = 'a' } }:expect {}"),
         "mine", ""},
        {SPEC("service('mail'):env { KEY = 'k' }:http { ['POST https://mail/send'] = { status = 500 } }:when "
              "{ "
              "Remind { to = 'a' } }:expect {}"),
         "it retries in 10s", ""},
        {SPEC("service('mail'):when { Remind { to = 'nobody' } }:retries '10s'"),
         "expected to retry in 10s, got rejected: nobody is nobody", ""},
        {SPEC("service('mail'):when { Remind { to = 'nobody' } }:expect {}"),
         "rejected with 'nobody': nobody is nobody", ""},
        {SPEC("service('mail'):when {}:expect {}"), "a service is run for one command", ""},
        {SPEC("task('expire'):given_view('deu', {})"), "did you mean billing/due?", ""},
        {SPEC("task('expire'):at 'soon'"), "at: soon is no time", ""},
        {SPEC("task('expire'):given_view('due', { a = { on = '2025-01-01' } }):expect {}"), "| Reminded {",
         "| send.bill(\"a\", { after = \"1h\" }) CloseBill {}"},
        {SPEC("task('expire'):rejects 'x'"), "rejects", ""},
        {"describe('x', function(", "bill_spec.lua:1:", ""},
        {"error('at load')", "at load", ""},
    };
    char text[8000];
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        size_t passed = 7, failed = 7;
        if (run_spec(cases[at][0], NULL, text, sizeof text, &passed, &failed) < 0)
            fail_msg("%s", test_fault.text);
        if (failed != 1 || passed != 0) fail_msg("%zu passed %zu failed: %s", passed, failed, text);
        assert_text_has(text, cases[at][1]);
        assert_text_has(text, cases[at][2]);
        assert_text_has(text, "0 passed, 1 failed\n");
    }
}

static void read_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = 0;
    fclose(file);
}

/* A line for each `it`, in order, whatever becomes of it. */
static void what_specs_say_is_recorded(void **unused)
{
    char text[4000], record[8000], path[100];
    size_t passed, failed;
    snprintf(path, sizeof path, "%s/record", folder);
    const char *body =
        "describe('bills', function()\n"
        "  it('are created', function()\n"
        "    aggregate('bill', 'b-7'):when { CreateBill { customer = 'a\"b' } }:expect { BillCreated { "
        "customer = 'a\"b' } }\n"
        "  end)\n"
        "  it('are refused \\255', function() aggregate('bill'):when { CreateBill { customer = 'x' } "
        "}:rejects 'no' "
        "end)\n"
        "  it('send', function()\n"
        "    service('mail'):env { KEY = 'k' }:http { ['POST https://mail/send'] = { status = 500 } }\n"
        "      :when { Remind { to = 'ada' } }:retries '10s'\n"
        "  end)\n"
        "  it('breaks', function() error 'boom' end)\n"
        "  pending 'later'\n"
        "end)\n";
    struct spec_options options = {.record = path};
    assert_int_equal(run_spec(body, &options, text, sizeof text, &passed, &failed), 0);
    assert_int_equal(passed, 2);
    read_file(path, record, sizeof record);
    assert_text_has(
        record, "\"scenarios\":[{\"expect\":[{\"at\":\"2026-01-01T00:00:00.000Z\",\"context\":\"billing\","
                "\"data\":{\"customer\":\"a\\\"b\"},\"name\":\"BillCreated\"}],\"given\":[],\"id\":\"b-7\","
                "\"kind\":\"aggregate\",\"name\":\"billing/bill\",\"when\":[");
    assert_text_has(record, "\"status\":\"success\",\"title\":[\"bills\",\"are created\"]}\n");
    assert_text_has(record, "\"rejects\":\"no\"");
    assert_text_has(record, "\"status\":\"failure\",\"title\":[\"bills\",\"are refused \xef\xbf\xbd\"]}\n");
    assert_text_has(record, "\"http\":[{\"request\":\"POST https://mail/send\",\"status\":500}]");
    assert_text_has(record, "\"retries\":\"10s\"");
    assert_text_has(record, "boom\",\"scenarios\":{},\"status\":\"error\"");
    assert_text_has(record, "\"status\":\"pending\",\"title\":[\"bills\",\"later\"]}\n");
    assert_int_equal(run_spec("describe('x' it", &options, text, sizeof text, &passed, &failed), 0);
    read_file(path, record, sizeof record);
    assert_text_has(record, "bill_spec.lua\",\"message\":\"");
    assert_text_has(record, "\"status\":\"error\"");
    options.record = "/nosuch/record";
    assert_int_equal(run_spec(body, &options, text, sizeof text, &passed, &failed), -1);
    assert_text_has(test_fault.text, "/nosuch/record");
}

static void what_cannot_run_is_a_fault(void **unused)
{
    char text[1000];
    size_t passed, failed;
    assert_int_equal(run_spec(NULL, NULL, text, sizeof text, &passed, &failed), -1);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
    assert_text_has(test_fault.text, "_spec.lua");
    assert_int_equal(
        run_spec(SPEC(""), &(struct spec_options){.output = "nosuch"}, text, sizeof text, &passed, &failed),
        -1);
    assert_int_equal(test_fault.code, FAULT_USAGE);
    assert_int_equal(spec_run("/nosuch", NULL, 0, &(struct spec_options){0}, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_specs_pass),
        cmocka_unit_test(good_specs_of_what_sends_pass),
        cmocka_unit_test(bad_specs_say_why),
        cmocka_unit_test(what_specs_say_is_recorded),
        cmocka_unit_test(what_cannot_run_is_a_fault),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

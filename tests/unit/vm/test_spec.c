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
        cmocka_unit_test(bad_specs_say_why),
        cmocka_unit_test(what_cannot_run_is_a_fault),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

/* Import scripts: send and record, what they refuse, and that a row counts as a whole. */
#include "unit/vm/domain_support.h"

static const char *const scripts[] = {
    "fines/contracts.lua",
    "contracts [[\n CreateFine? (amount: decimal)\n FineCreated! (amount: decimal)\n FineSent!2 (day: "
    "time)\n PayFine? ]]\n"
    "function upcast.FineSent.v1(e) return e end\n",
    "fines/fine.lua",
    "local fine = aggregate 'fine'\n"
    "function fine.apply.FineCreated(state, e) state.amount = e.amount end\n"
    "function fine.execute.CreateFine(state, c) return FineCreated { amount = c.amount } end\n",
    "fines/officer.lua",
    "local officer = aggregate 'officer'\nfunction officer.execute.PayFine() end\n",
    "other/contracts.lua",
    "contracts [[\n CreateFine?\n FineCreated!\n ]]",
    "other/fine.lua",
    "local o = aggregate 'other_fine'\nfunction o.execute.CreateFine() end\n",
    "fines/import/rows.lua",
    "return function(row)\n"
    "  local what = row.what\n"
    "  if what == 'send' then send.fine(row.id, CreateFine { amount = decimal(row.amount) }, { at = row.at, "
    "id = row.cid }) end\n"
    "  if what == 'record' then record.fine(row.id, FineSent { day = row.at }) end\n"
    "  if what == 'both' then send.fine('a', CreateFine { amount = 1 }) record.officer('b', FineSent { day = "
    "row.at }) end\n"
    "  if what == 'half' then send.fine('a', CreateFine { amount = 1 }) error('no') end\n"
    "  if what == 'unknown' then send.fnie('a', CreateFine { amount = 1 }) end\n"
    "  if what == 'foreign' then send.other_fine('a', CreateFine { amount = 1 }) end\n"
    "  if what == 'not handled' then send.officer('a', CreateFine { amount = 1 }) end\n"
    "  if what == 'event sent' then send.fine('a', FineSent { day = row.at }) end\n"
    "  if what == 'command recorded' then record.fine('a', CreateFine { amount = 1 }) end\n"
    "  if what == 'plain' then send.fine('a', { amount = 1 }) end\n"
    "  if what == 'bad field' then send.fine('a', CreateFine { amuont = 1 }) end\n"
    "  if what == 'bad time' then send.fine('a', CreateFine { amount = 1 }, { at = 'x' }) end\n"
    "  if what == 'bad option' then send.fine('a', CreateFine { amount = 1 }, { att = row.at }) end\n"
    "  if what == 'bad id' then send.fine('a/b', CreateFine { amount = 1 }) end\n"
    "  if what == 'assign' then send.x = 1 end\n"
    "  if what == 'loop' then while true do end end\n"
    "  if what == 'emit' then emit(FineSent { day = row.at }) end\n"
    "end\n",
    "fines/import/none.lua",
    "return 7",
    NULL};

struct sunk {
    char text[4][200];
    size_t count;
    bool fails;
};

static int sink(void *user, const struct import_call *call, struct fault *fault)
{
    struct sunk *sunk = user;
    if (sunk->fails) return fault_set(fault, FAULT_BUSY, "full");
    char at[TIME_TEXT_SIZE + 1] = "-";
    if (call->has_at) time_format(call->at_ms, at);
    snprintf(sunk->text[sunk->count++], 200, "%s %.*s/%.*s/%.*s %.*s!%u %s %s '%.*s'",
             call->is_fact ? "record" : "send", SLICE_ARGS(call->context), SLICE_ARGS(call->aggregate),
             SLICE_ARGS(call->id), SLICE_ARGS(call->type), call->type_version, json_of(call->data), at,
             SLICE_ARGS(call->command_id));
    return 0;
}

static void rows_become_messages(void **unused)
{
    struct domain *domain = open_domain(scripts);
    struct sunk sunk = {0};
    assert_int_equal(domain_import_open(domain, slice_of("scripts/fines/import/rows.lua"), &test_fault), 0);
    assert_int_equal(
        domain_import_row(domain, mp_of("{'what':'send','id':7,'amount':'1.20','at':'2020-01-01','cid':'c'}"),
                          sink, &sunk, &test_fault),
        0);
    assert_int_equal(domain_import_row(domain, mp_of("{'what':'record','id':'A','at':'2020-01-01'}"), sink,
                                       &sunk, &test_fault),
                     0);
    assert_int_equal(
        domain_import_row(domain, mp_of("{'what':'both','at':'2020-01-01'}"), sink, &sunk, &test_fault), 0);
    assert_int_equal(domain_import_row(domain, mp_of("{'what':'nothing'}"), sink, &sunk, &test_fault), 0);
    assert_int_equal(sunk.count, 4);
    assert_string_equal(sunk.text[0],
                        "send fines/fine/7 CreateFine!1 {'amount':'1.20'} 2020-01-01T00:00:00.000Z 'c'");
    assert_string_equal(sunk.text[1],
                        "record fines/fine/A FineSent!2 {'day':'2020-01-01T00:00:00.000Z'} - ''");
    assert_string_equal(sunk.text[2], "send fines/fine/a CreateFine!1 {'amount':'1'} - ''");
    assert_string_equal(sunk.text[3],
                        "record fines/officer/b FineSent!2 {'day':'2020-01-01T00:00:00.000Z'} - ''");
    sunk.fails = true;
    assert_int_equal(
        domain_import_row(domain, mp_of("{'what':'both','at':'2020-01-01'}"), sink, &sunk, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_BUSY);
    close_domain(domain);
}

static void mistakes_of_a_row(void **unused)
{
    static const struct {
        const char *what;
        enum fault_code code;
        const char *text;
    } cases[] = {{"half", FAULT_SCRIPT, "no"},
                 {"unknown", FAULT_SCRIPT, "context fines has no aggregate fnie: did you mean fine?"},
                 {"foreign", FAULT_SCRIPT, "has no aggregate other_fine"},
                 {"not handled", FAULT_SCRIPT, "fines/officer has no command CreateFine"},
                 {"event sent", FAULT_SCRIPT, "send.fine takes a command, got the event FineSent"},
                 {"command recorded", FAULT_SCRIPT, "record.fine takes an event, got the command CreateFine"},
                 {"plain", FAULT_SCRIPT, "send.fine takes a command such as Name { … }, got a table"},
                 {"bad field", FAULT_CONTRACT, "CreateFine.amuont: unknown field: did you mean amount?"},
                 {"bad time", FAULT_SCRIPT, "at must be a time, got the text 'x'"},
                 {"bad option", FAULT_SCRIPT, "send.fine has no option att"},
                 {"bad id", FAULT_SCRIPT, "the id of send.fine"},
                 {"assign", FAULT_SCRIPT, "cannot be changed"},
                 {"loop", FAULT_BUDGET, "instructions"},
                 {"emit", FAULT_SCRIPT, "only possible while a command is executed"}};
    struct domain *domain = open_domain(scripts);
    struct sunk sunk = {0};
    assert_int_equal(domain_import_open(domain, slice_of("fines/import/rows.lua"), &test_fault), 0);
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        char json[100];
        snprintf(json, sizeof json, "{'what':'%s','at':'2020-01-01'}", cases[at].what);
        assert_int_equal(domain_import_row(domain, mp_of(json), sink, &sunk, &test_fault), -1);
        if (test_fault.code != cases[at].code) fail_msg("%s: %s", cases[at].what, test_fault.text);
        assert_text_has(test_fault.text, cases[at].text);
        assert_text_has(test_fault.text, "fines/import/rows.lua:");
        assert_int_equal(sunk.count, 0);
    }
    close_domain(domain);
}

static void scripts_that_are_none(void **unused)
{
    struct domain *domain = open_domain(scripts);
    assert_int_equal(domain_import_row(domain, mp_of("{}"), sink, NULL, &test_fault), -1);
    assert_int_equal(domain_import_open(domain, slice_of("fines/import/row.lua"), &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
    assert_text_has(test_fault.text, "fines/import/rows.lua");
    assert_int_equal(domain_import_open(domain, slice_of("fines/import/none.lua"), &test_fault), -1);
    close_domain(domain);
}

static int start(void **unused)
{
    domain_thread_start();
    return 0;
}

static int stop(void **unused)
{
    domain_thread_stop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_messages),
        cmocka_unit_test(mistakes_of_a_row),
        cmocka_unit_test(scripts_that_are_none),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

/* What refuses a deploy: hub.lua's words, and the reasons. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "codec/json.h"
#include "run/policy.h"

static struct policy policy;
static struct fault fault;

static int read_json(const char *json)
{
    char *text = mem_text(json, strlen(json));
    for (char *at = text; *at; at++)
        if (*at == '\'') *at = '"';
    struct buf options = {0};
    assert_int_equal(json_to_mp(slice_of(text), &options, &fault), 0);
    int done = policy_read(&policy, buf_slice(&options), &fault);
    buf_release(&options);
    mem_free(text);
    return done;
}

static void assert_refuses(const char *json, unsigned int bits)
{
    if (read_json(json) < 0) fail_msg("%s: %s", json, fault.text);
    for (int at = 0; at < GATE_COUNTS; at++) {
        struct gate_counts counts = {.of = {0}};
        assert_int_equal(policy_judge(&policy, &counts, NULL, NULL), 0);
        counts.of[at] = 1;
        if (policy_judge(&policy, &counts, NULL, NULL) != (bits >> at & 1))
            fail_msg("%s: %s", json, policy_name((enum gate_count)at));
    }
}

static void assert_wrong(const char *json, const char *expected)
{
    if (read_json(json) == 0) fail_msg("%s is taken", json);
    assert_int_equal(fault.code, FAULT_SCRIPTS);
    if (!strstr(fault.text, expected)) fail_msg("%s", fault.text);
}

static void test_read(void **state)
{
    const unsigned int loads = 1u << GATE_LOADS, specs = 1u << GATE_SPECS, errors = 1u << GATE_ERRORS;
    const unsigned int usual = loads | specs | errors | 1u << GATE_CONTRACTS_BREAK;
    assert_int_equal(policy_read(&policy, SLICE_NONE, &fault), 0);
    assert_int_equal(policy.above[GATE_SPECS], 0);
    assert_refuses("{}", usual);
    assert_refuses("{'deploy':{}}", usual);
    assert_refuses("{'deploy':{'refuse':['specs']}}", loads | specs);
    assert_refuses("{'deploy':{'refuse':['back','parked']}}", loads | 1u << GATE_BACK | 1u << GATE_PARKED);
    assert_refuses("{'deploy':{'refuse':[]}}", loads);
    assert_refuses("{'deploy':{'refuse':{}}}", loads);
    assert_refuses("{'deploy':{'refuse':{'errors':false}}}", usual & ~errors);
    assert_refuses("{'deploy':{'refuse':{'documents_removed':true}}}", usual | 1u << GATE_DOCUMENTS_REMOVED);
    assert_refuses("{'deploy':{'refuse':{'documents_removed':0}}}", usual | 1u << GATE_DOCUMENTS_REMOVED);
    assert_refuses("{'deploy':{'refuse':{'documents_removed':1}}}", usual);
    assert_refuses("{'deploy':{'refuse':{'loads':true}}}", usual);
}

static void test_wrong(void **state)
{
    assert_wrong("{'deploy':7}", "deploy is a table");
    assert_wrong("{'deploy':{'refuses':[]}}", "no option deploy.refuses: did you mean refuse?");
    assert_wrong("{'deploy':{'colour':[]}}", "no option deploy.colour: it knows refuse");
    assert_wrong("{'deploy':{'refuse':'specs'}}", "is a list of names");
    assert_wrong("{'deploy':{'refuse':[7]}}", "is a list of names");
    assert_wrong("{'deploy':{'refuse':['spec']}}", "there is no spec: did you mean specs?");
    assert_wrong("{'deploy':{'refuse':['zebras']}}",
                 "it knows loads specs contracts_break contracts_lose back");
    assert_wrong("{'deploy':{'refuse':{'document_removed':1}}}", "did you mean documents_removed?");
    assert_wrong("{'deploy':{'refuse':{'specs':-1}}}",
                 "refuse.specs: expected true, false or a whole number");
    assert_wrong("{'deploy':{'refuse':{'specs':1.5}}}", "expected true, false");
    assert_wrong("{'deploy':{'refuse':{'specs':'yes'}}}", "expected true, false");
    assert_wrong("{'deploy':{'refuse':{'loads':false}}}", "always refuse");
    assert_wrong("{'deploy':{'refuse':{'loads':3}}}", "always refuse");
}

static void test_reasons(void **state)
{
    struct gate_counts counts = {.of = {[GATE_SPECS] = 1,
                                        [GATE_DOCUMENTS_REMOVED] = 101,
                                        [GATE_COMMANDS_REFUSED] = 3,
                                        [GATE_DOCUMENTS_CHANGED] = 100000}};
    struct buf json = {0}, text = {0};
    assert_int_equal(read_json("{'deploy':{'refuse':{'documents_removed':100,'commands_refused':true}}}"), 0);
    assert_int_equal(policy_judge(&policy, &counts, &json, &text), 3);
    assert_true(slice_is(buf_slice(&text),
                         "1 spec fails (deploy.refuse: specs)\n"
                         "101 documents would be removed, more than 100 (deploy.refuse: documents_removed)\n"
                         "3 recorded commands would now be refused (deploy.refuse: commands_refused)\n"));
    assert_true(
        slice_is(buf_slice(&json),
                 "[\"1 spec fails (deploy.refuse: specs)\","
                 "\"101 documents would be removed, more than 100 (deploy.refuse: documents_removed)\","
                 "\"3 recorded commands would now be refused (deploy.refuse: commands_refused)\"]"));
    counts.of[GATE_DOCUMENTS_REMOVED] = 100;
    buf_clear(&json);
    assert_int_equal(policy_judge(&policy, &counts, &json, NULL), 2);
    counts = (struct gate_counts){.of = {0}};
    buf_clear(&json);
    assert_int_equal(policy_judge(&policy, &counts, &json, NULL), 0);
    assert_true(slice_is(buf_slice(&json), "[]"));
    buf_release(&json);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_wrong),
                                       cmocka_unit_test(test_reasons)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A spec made of real history: it passes with the code that made the history, fails with other code, and
 * shows no personal data. */
#include "run_support.h"

#include "run/inside.h"
#include "run/release.h"
#include "run/spec_text.h"
#include "vm/spec.h"

static const char contracts[] =
    "contracts [[\n"
    "  let part = (name: pii string, share: decimal)\n"
    "  Join?    (name: pii string, born: time, tags: string[], parts: part[], extra: any?, end: "
    "integer)\n"
    "  Joined!2 (name: pii string, born: time, tags: string[], parts: part[], extra: any?, end: integer,"
    " limits: {string: number})\n"
    "  Rename?  (name: pii string)\n"
    "  Renamed! (name: pii string, was: pii string, on: time)\n"
    "]]\n"
    "function upcast.Joined.v1(e) e.limits = {} return e end\n";
static const char contracts_before[] = "contracts [[\n"
                                       "  let part = (name: pii string, share: decimal)\n"
                                       "  Join?    (name: pii string, born: time, tags: string[], parts: "
                                       "part[], extra: any?, end: integer)\n"
                                       "  Joined!  (name: pii string, born: time, tags: string[], parts: "
                                       "part[], extra: any?, end: integer)\n"
                                       "  Rename?  (name: pii string)\n"
                                       "  Renamed! (name: pii string, was: pii string, on: time)\n"
                                       "]]\n";
static const char member_code[] =
    "local member = aggregate 'member' { initial = {} }\n"
    "function member.apply.Joined(state, e) state.name = e.name end\n"
    "function member.apply.Renamed(state, e) state.name = e.name end\n"
    "function member.execute.Join(state, c)\n"
    "  if state.name then reject('there', 'it is there') end\n"
    "  return Joined { name = c.name, born = c.born, tags = c.tags, parts = c.parts, extra = c.extra,"
    " ['end'] = c['end'] LIMITS }\n"
    "end\n"
    "function member.execute.Rename(state, c, m)\n"
    "  return Renamed { name = c.name, was = state.name, on = m.at }\n"
    "end\n";

static void write_member(const char *contract, const char *limits)
{
    struct buf code = {0};
    const char *hole = strstr(member_code, "LIMITS");
    buf_format(&code, "%.*s%s%s", (int)(hole - member_code), member_code, limits, hole + 6);
    buf_put_byte(&code, 0);
    write_script("bank/contracts.lua", contract);
    write_script("bank/account.lua", code.data); /* in the place of the account */
    buf_release(&code);
}

static struct command *to_member(const char *id, const char *type, const char *json)
{
    struct command *command = command_of(id, type, json, NULL);
    command->aggregate = slice_of("member");
    return command;
}

static void do_it(struct hub *hub, const char *type, const char *json)
{
    struct command *command = run(hub, to_member("m\"1", type, json));
    if (command->fault.code) fail_msg("%s: %s", type, command->fault.text);
    forget(command);
}

/* The text, or empty: test_fault says why there is none. */
static struct buf text_of_versions(struct hub *hub, const char *id, uint64_t from, uint64_t to)
{
    struct visit visit;
    struct domain *domain;
    struct buf out = {0};
    struct release *release = release_enter(hub, &visit);
    assert_int_equal(release_domain(release, &domain, &test_fault), 0);
    domain_thread_start();
    struct spec_question question = {
        .engine = hub_engine(hub),
        .domain = domain,
        .aggregate = catalog_find(&release->catalog, slice_of("bank"), slice_of("member"), &test_fault),
        .stream = {slice_of("main"), slice_of("bank/member"), slice_of(id)},
        .from = from,
        .to = to};
    if (spec_text(&question, &out, &test_fault) < 0) assert_int_equal(out.size, 0);
    domain_thread_stop();
    domain_close(domain);
    release_leave(&visit);
    if (out.size) buf_put_byte(&out, 0);
    return out;
}

static void run_spec(const char *text, size_t passes, size_t fails)
{
    size_t passed = 0, failed = 0;
    struct spec_options options = {.output = "TAP", .passed = &passed, .failed = &failed};
    write_script("../specs/bank/member_spec.lua", text);
    const char *path = folder("specs");
    if (spec_run(folder("scripts"), &path, 1, &options, &test_fault) < 0) fail_msg("%s", test_fault.text);
    if (passed != passes || failed != fails) fail_msg("%zu passed, %zu failed:\n%s", passed, failed, text);
}

static const char join[] =
    "{'name':'Ada \\\\ \\u00fc\\n7\\u00001','born':'1815-12-10T00:00:00Z','tags':[],"
    "'parts':[{'name':'Ada \\\\ \\u00fc\\n7\\u00001','share':'0.50'},{'name':'Bob','share':'0.5'}],"
    "'extra':{'end':[1,-9223372036854775808,2.5,true,'x'],'a b':{}},'end':3}";

static void passes_with_the_code_that_made_it(void **state)
{
    write_member(contracts_before, "");
    struct hub *hub = open_hub(folder("data"), 1, 1);
    do_it(hub, "Join", join);
    do_it(hub, "Rename", "{'name':'Countess'}");
    do_it(hub, "Rename", "{'name':'Bob'}");
    struct buf all = text_of_versions(hub, "m\"1", 1, UINT64_MAX);
    struct buf last = text_of_versions(hub, "m\"1", 3, UINT64_MAX);
    struct buf middle = text_of_versions(hub, "m\"1", 2, 2);
    hub_close(hub);
    const char *const personal[] = {"Ada", "Bob", "Countess"};
    for (size_t at = 0; at < 3; at++) assert_null(strstr(all.data, personal[at]));
    assert_non_null(strstr(all.data, "\"m\\\"1\""));
    assert_non_null(strstr(all.data, "[\"end\"] = 3"));
    assert_non_null(
        strstr(last.data, "name = \"personal 2\", was = \"personal 3\"")); /* Bob was told before */
    run_spec(all.data, 3, 0);
    run_spec(last.data, 1, 0);
    run_spec(middle.data, 1, 0);
    write_member(contracts, ", limits = {}"); /* the same history under a later contract */
    hub = open_hub(folder("data"), 1, 1);
    struct buf later = text_of_versions(hub, "m\"1", 1, UINT64_MAX);
    hub_close(hub);
    assert_non_null(strstr(later.data, "limits = {}"));
    run_spec(later.data, 3, 0);
    write_member(contracts, ", limits = { most = 1.0 }"); /* other code gives other events */
    run_spec(later.data, 2, 1);
    struct buf *texts[] = {&all, &last, &middle, &later};
    for (size_t at = 0; at < 4; at++) buf_release(texts[at]);
}

static void says_what_cannot_be_told(void **state)
{
    write_member(contracts_before, "");
    struct hub *hub = open_hub(folder("data"), 1, 1);
    do_it(hub, "Join", join);
    do_it(hub, "Rename", "{'name':'x'}");
    assert_int_equal(text_of_versions(hub, "nobody", 1, UINT64_MAX).size, 0);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
    assert_int_equal(text_of_versions(hub, "m\"1", 7, UINT64_MAX).size, 0);
    assert_non_null(strstr(test_fault.text, "has no version 7, it is at 2"));
    hub_close(hub);
    char other[1024];
    const char *rename = strstr(contracts_before, "  Rename?");
    snprintf(other, sizeof other, "%.*s  Rename?  (name: pii string, why: string)\n%s",
             (int)(rename - contracts_before), contracts_before, strchr(rename, '\n') + 1);
    write_member(other, "");
    hub = open_hub(folder("data"), 1, 1);
    struct buf text = text_of_versions(hub, "m\"1", 1, UINT64_MAX);
    assert_non_null(strstr(text.data, "-- version 2: Rename: left out: Rename.why: expected string\n"));
    run_spec(text.data, 1, 0);
    assert_int_equal(text_of_versions(hub, "m\"1", 2, UINT64_MAX).size, 0);
    assert_non_null(strstr(test_fault.text, "do not fit their contracts"));
    hub_close(hub);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(passes_with_the_code_that_made_it, setup, teardown),
        cmocka_unit_test_setup_teardown(says_what_cannot_be_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

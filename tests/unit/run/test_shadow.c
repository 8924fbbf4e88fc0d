/* What other code makes of a history: each kind of difference, one at a time. */
#include "shadow_support.h"

static struct world *new_world(void)
{
    struct world *world = world_new();
    assert_int_equal(world_send(world, "a", "Open", "{'owner':'x'}"), RECORD_COMMIT);
    assert_int_equal(world_send(world, "a", "Add", "{'amount':50}"), RECORD_COMMIT);
    assert_int_equal(world_send(world, "a", "Add", "{'amount':-60}"), RECORD_REJECTED);
    assert_int_equal(world_send(world, "a", "Touch", "{}"), RECORD_ACCEPTED);
    assert_int_equal(world_send(world, "a", "Add", "{'amount':-20}"), RECORD_COMMIT);
    assert_int_equal(world_send(world, "a", "Close", "{}"), RECORD_COMMIT);
    assert_int_equal(world_send(world, "a", "Add", "{'amount':1}"), RECORD_REJECTED);
    assert_int_equal(world_send(world, "b", "Add", "{'amount':-5}"), RECORD_REJECTED);
    return world;
}

static struct shadow *look(struct world *world, const char *from, const char *to)
{
    return world_shadow(world, shop_with(from, to), (struct shadow_options){0});
}

static void the_same_code_differs_in_nothing(void **state)
{
    struct world *world = new_world();
    struct sources *same = shop_of(shop_contracts, shop_account);
    struct shadow *shadow = world_shadow(world, same, (struct shadow_options){0});
    assert_int_equal(shadow->count, 0);
    shadow_free(shadow);
    same = shop_of(shop_contracts, shop_account);
    shadow = world_shadow(world, same, (struct shadow_options){.everything = true});
    assert_int_equal(shadow->count, 1);
    assert_int_equal(shadow->total.streams, 2);
    assert_int_equal(shadow->total.events, 4);
    assert_int_equal(shadow->total.states_changed, 0);
    expect_commands(shadow, "8 8 0 0, 0 0 0 0 0, 0");
    expect_text(shadow, "'change':'same','reason':[]");
    shadow_free(shadow);
    world_free(world);
}

static void tells_what_is_refused_now(void **state)
{
    struct world *world = new_world();
    struct shadow *shadow = look(world, "LEAST, MOST = 0, 1000", "LEAST, MOST = 40, 1000");
    expect_commands(shadow, "8 7 0 0, 1 0 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    expect_text(shadow, "'change':'changed','reason':['shop/account.lua changed']");
    expect_text(shadow,
                "{'kind':'refused','tenant':'main','stream':'a','version':2,'position':3,'type':'Add',"
                "'before':{'events':[{'type':'Added','data':{'amount':-20}}]},"
                "'after':{'refused':'poor','message':'only 50 left'}}");
    shadow_free(shadow);
    world_free(world);
}

static void tells_what_is_accepted_now(void **state)
{
    struct world *world = new_world();
    struct shadow *shadow = look(world, "LEAST, MOST = 0, 1000", "LEAST, MOST = -10, 1000");
    /* -60 of 50, and -5 of nothing in a stream that has no events */
    expect_commands(shadow, "8 6 0 0, 0 2 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    expect_text(shadow,
                "{'kind':'accepted','tenant':'main','stream':'a','version':2,'position':2,'type':'Add',"
                "'before':{'refused':'poor','message':'only 50 left'},"
                "'after':{'events':[{'type':'Added','data':{'amount':-60}}]}}");
    expect_text(shadow, "'stream':'b','version':0,'position':0,");
    shadow_free(shadow);
    world_free(world);
}

static void tells_other_reasons_and_events(void **state)
{
    struct world *world = new_world();
    struct shadow *shadow = look(world, "reject('poor'", "reject('bare'");
    expect_commands(shadow, "8 6 0 0, 0 0 2 0 0, 0");
    shadow_free(shadow);
    shadow = look(world, "Closed { total = state.total }", "Closed { total = state.total + 1 }");
    expect_commands(shadow, "8 7 0 0, 0 0 0 1 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    shadow_free(shadow);
    /* accepted without events, and with some now */
    shadow =
        look(world, "account.execute.Touch() end", "account.execute.Touch() return Noted { text = '' } end");
    expect_commands(shadow, "8 7 0 0, 0 0 0 1 0, 0");
    expect_text(shadow, "'before':{'events':[]},'after':{'events':[{'type':'Noted','data':{'text':''}}]}");
    shadow_free(shadow);
    world_free(world);
}

static void tells_where_the_script_fails(void **state)
{
    struct world *world = new_world();
    struct shadow *shadow =
        look(world, "return Added { amount = c.amount }",
             "if c.amount < 0 then error('no ' .. c.amount) end return Added { amount = c.amount }");
    expect_commands(shadow, "8 7 0 0, 0 0 0 0 1, 0");
    assert_int_equal(shadow->aggregates[0].error_count, 1);
    expect_text(shadow, "'errors':[{'error':'shop/account.lua:14: no -20','count':1,");
    expect_text(shadow, "'example':{'tenant':'main','stream':'a','version':2,'position':3,'type':'Add'}}]");
    shadow_free(shadow);
    world_free(world);
}

static void tells_states_that_change(void **state)
{
    struct world *world = new_world();
    struct shadow *shadow = look(world, "state.count = state.count + 1", "state.count = state.count + 2");
    expect_commands(shadow, "8 8 0 0, 0 0 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 1);
    expect_text(shadow, "'fields':{'count':1}");
    expect_text(shadow, "'stream':'a','version':4,'before':{'closed':true,'count':2,");
    expect_text(shadow, "'after':{'closed':true,'count':4,");
    shadow_free(shadow);
    /* What differs in the state decides: the history is folded by the new code. */
    shadow = look(world, "state.total = state.total + e.amount", "state.total = state.total + 2 * e.amount");
    expect_text(shadow, "'fields':{'total':1}");
    expect_commands(shadow, "8 6 0 0, 0 1 0 1 0, 0");
    shadow_free(shadow);
    world_free(world);
}

static void real_events_are_applied_after_a_difference(void **state)
{
    struct world *world = new_world();
    /* Adds something else, twice as often; its own events must not stay in the state. */
    struct shadow *shadow = look(world, "return Added { amount = c.amount }",
                                 "return Added { amount = 7 }, Added { amount = c.amount }");
    expect_commands(shadow, "8 6 0 0, 0 0 0 2 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    shadow_free(shadow);
    world_free(world);
}

static void a_fact_is_applied_and_not_decided(void **state)
{
    struct world *world = new_world();
    world_fact(world, "c", "Added", 1, "{'amount':100}");
    world_fact(world, "c", "Noted", 1, "{'text':'?'}");
    assert_int_equal(world_send(world, "c", "Add", "{'amount':-80}"), RECORD_COMMIT);
    struct shadow *shadow = look(world, "LEAST, MOST = 0, 1000", "LEAST, MOST = 1, 1000");
    expect_commands(shadow, "9 9 0 0, 0 0 0 0 0, 0");
    assert_int_equal(shadow->total.events, 7);
    shadow_free(shadow);
    world_free(world);
}

static void a_batch_is_all_or_nothing(void **state)
{
    struct world *world = world_new();
    const struct sent good[] = {
        {"Open", "{'owner':'x'}"}, {"Add", "{'amount':10}"}, {"Add", "{'amount':-8}"}};
    const struct sent bad[] = {{"Add", "{'amount':5}"}, {"Add", "{'amount':-9}"}};
    assert_int_equal(world_send_to(world, account_of("a"), good, 3), RECORD_COMMIT);
    assert_int_equal(world_send_to(world, account_of("a"), bad, 2), RECORD_REJECTED);
    assert_int_equal(world_send(world, "a", "Add", "{'amount':1}"), RECORD_COMMIT);
    struct shadow *shadow = look(world, "LEAST, MOST = 0, 1000", "LEAST, MOST = 3, 1000");
    expect_commands(shadow, "3 2 0 0, 1 0 0 0 0, 0"); /* the first is refused at its third command */
    shadow_free(shadow);
    shadow = look(world, "LEAST, MOST = 0, 1000", "LEAST, MOST = -9, 1000");
    expect_commands(shadow, "3 2 0 0, 0 1 0 0 0, 0");
    expect_text(shadow, "'after':{'events':[{'type':'Added','data':{'amount':5}},"
                        "{'type':'Added','data':{'amount':-9}}]}");
    shadow_free(shadow);
    /* A refusal at the second leaves nothing of the first. */
    shadow = look(world, "state.count = state.count + 1", "state.count = state.count + 1 + 0");
    expect_commands(shadow, "3 3 0 0, 0 0 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    shadow_free(shadow);
    world_free(world);
}

static void what_the_running_code_does_as_well_is_not_the_deploy(void **state)
{
    struct world *world = new_world();
    world_use(world, shop_with("LEAST, MOST = 0, 1000", "LEAST, MOST = 40, 1000"));
    struct shadow *shadow = look(world, "LEAST, MOST = 0, 1000", "LEAST, MOST = 40, 999");
    expect_commands(shadow, "8 7 0 1, 0 0 0 0 0, 0");
    shadow_free(shadow);
    /* Refused by both, but not for the same reason. */
    char *text = changed(shop_account, "LEAST, MOST = 0, 1000", "LEAST, MOST = 40, 1000");
    char *other = changed(text, "reject('poor'", "reject('bare'");
    shadow = world_shadow(world, shop_of(shop_contracts, other), (struct shadow_options){0});
    expect_commands(shadow, "8 5 0 0, 1 0 2 0 0, 0");
    shadow_free(shadow);
    free(text);
    free(other);
    world_free(world);
}

static void a_newer_version_that_says_the_same_is_no_difference(void **state)
{
    struct world *world = new_world();
    char *contracts =
        changed(shop_contracts, "Added!  (amount: integer)", "Added!2  (amount: integer, cents: integer)");
    static const char upcasts[] = "function upcast.Added.v1(e) e.cents = %s return e end\n"
                                  "local account = aggregate 'account'";
    char head[256];
    snprintf(head, sizeof head, upcasts, "0");
    char *text = changed(shop_account, "local account = aggregate 'account'", head);
    char *account = changed(text, "Added { amount = c.amount }", "Added { amount = c.amount, cents = 0 }");
    struct shadow *shadow = world_shadow(world, shop_of(contracts, account), (struct shadow_options){0});
    expect_commands(shadow, "8 8 2 0, 0 0 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    expect_text(shadow, "contract shop.Added changed");
    expect_text(shadow, "upcast shop.Added.v1 is new");
    shadow_free(shadow);
    free(account);
    account = changed(text, "Added { amount = c.amount }", "Added { amount = c.amount, cents = 1 }");
    shadow = world_shadow(world, shop_of(contracts, account), (struct shadow_options){0});
    expect_commands(shadow, "8 6 0 0, 0 0 0 2 0, 0");
    shadow_free(shadow);
    free(account);
    free(text);
    /* An upcaster that fails: the stream ends there. */
    snprintf(head, sizeof head, upcasts, "e.amount.x");
    text = changed(shop_account, "local account = aggregate 'account'", head);
    account = changed(text, "Added { amount = c.amount }", "Added { amount = c.amount, cents = 0 }");
    shadow = world_shadow(world, shop_of(contracts, account), (struct shadow_options){0});
    assert_int_equal(shadow->total.states_failed, 1);
    expect_commands(shadow, "3 2 0 0, 0 0 0 1 0, 5");
    expect_text(shadow, "'errors':[{'error':'shop/account.lua:1: ");
    expect_text(
        shadow,
        "'count':1,'example':{'tenant':'main','stream':'a','version':2,'position':2,'type':'Added'}}]");
    shadow_free(shadow);
    free(account);
    free(text);
    free(contracts);
    world_free(world);
}

static void a_contract_alone_is_a_change(void **state)
{
    struct world *world = new_world();
    char *contracts =
        changed(shop_contracts, "Open?   (owner: string)", "Open?   (owner: string, age: integer)");
    struct shadow *shadow = world_shadow(world, shop_of(contracts, shop_account), (struct shadow_options){0});
    expect_text(shadow, "'reason':['contract shop.Open changed']");
    expect_commands(shadow, "8 7 0 0, 1 0 0 0 0, 0");
    expect_text(shadow, "'after':{'refused':'contract','message':'");
    shadow_free(shadow);
    free(contracts);
    contracts = changed(shop_contracts, "Noted!  (text: string)", "Noted!  (text: integer)");
    shadow = world_shadow(world, shop_of(contracts, shop_account), (struct shadow_options){0});
    expect_text(shadow, "'reason':['contract shop.Noted changed']");
    shadow_free(shadow);
    free(contracts);
    /* A command that nobody handles any more. */
    char *account = changed(shop_account, "function account.execute.Touch() end\n", "");
    shadow = world_shadow(world, shop_of(shop_contracts, account), (struct shadow_options){0});
    expect_commands(shadow, "8 7 0 0, 1 0 0 0 0, 0");
    expect_text(shadow, "'after':{'refused':'unknown_command',");
    shadow_free(shadow);
    free(account);
    world_free(world);
}

static void apply_that_fails_ends_a_stream(void **state)
{
    struct world *world = new_world();
    struct sources *broken = shop_with("apply.Closed(state) state", "apply.Closed(state) state.x");
    struct shadow *shadow = world_shadow(world, broken, (struct shadow_options){0});
    /* Close itself fails as well, and what is behind it cannot be decided. */
    expect_commands(shadow, "7 6 0 0, 0 0 0 0 1, 1");
    assert_int_equal(shadow->total.states_failed, 1);
    assert_int_equal(shadow->total.states_changed, 0);
    expect_text(shadow,
                "'count':2,'example':{'tenant':'main','stream':'a','version':3,'position':4,'type':'Close'}");
    shadow_free(shadow);
    /* Where the running code fails too, nothing is said; where only it does, the state is mended. */
    world_use(world, shop_with("apply.Closed(state) state", "apply.Closed(state) state.x"));
    shadow = world_shadow(world, shop_with("apply.Closed(state) state", "apply.Closed(state) state.yy"),
                          (struct shadow_options){0});
    expect_commands(shadow, "7 6 0 1, 0 0 0 0 0, 1");
    assert_int_equal(shadow->total.states_failed, 0);
    assert_int_equal(shadow->aggregates[0].error_count, 0);
    shadow_free(shadow);
    shadow = world_shadow(world, shop_of(shop_contracts, shop_account), (struct shadow_options){0});
    expect_commands(shadow, "8 8 0 0, 0 0 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 1);
    expect_text(shadow, "'before':null,'after':{'closed':true,");
    shadow_free(shadow);
    world_free(world);
}

static void aggregates_come_and_go(void **state)
{
    struct world *world = new_world();
    const char *texts[] = {"shop/contracts.lua", shop_contracts, "shop/store.lua",
                           "local store = aggregate 'store'\nfunction store.execute.Touch() end\n", NULL};
    struct shadow *shadow = world_shadow(world, sources_of(texts), (struct shadow_options){0});
    assert_int_equal(shadow->count, 2);
    expect_text(shadow, "{'name':'shop/account','change':'removed','reason':[],'streams':1,'events':4,");
    expect_text(shadow, "{'name':'shop/store','change':'added','reason':[],'streams':0,");
    shadow_free(shadow);
    /* It was there before and comes back; or nothing is known of what ran. */
    world_use(world, sources_of(texts));
    shadow = look(world, "LEAST, MOST = 0, 1000", "LEAST, MOST = 40, 1000");
    expect_text(shadow, "{'name':'shop/account','change':'added','reason':[],'streams':2,'events':4,");
    expect_commands(shadow, "8 7 0 0, 1 0 0 0 0, 0");
    assert_int_equal(shadow->total.states_changed, 0);
    shadow_free(shadow);
    world_free(world);
}

static void what_a_sender_decided_is_not_decided_again(void **state)
{
    struct world *world = new_world();
    struct stream_id stream = account_of("s");
    struct arena arena = {0};
    struct commit_event event = {slice_of("$Sent"), 1, 5, world_json(&arena, "{'n':1}")};
    struct commit_command command = {slice_of("Add"), slice_of("i"), world_json(&arena, "{'amount':1}")};
    struct commit commit = {.kind = RECORD_COMMIT,
                            .tenant = stream.tenant,
                            .aggregate = stream.aggregate,
                            .id = stream.id,
                            .first_version = 1,
                            .commands = &command,
                            .command_count = 1,
                            .events = &event,
                            .event_count = 1};
    world_append(world, &commit);
    struct shadow *shadow = look(world, "LEAST, MOST = 0, 1000", "LEAST, MOST = 0, 1001");
    expect_commands(shadow, "8 8 0 0, 0 0 0 0 0, 0");
    assert_int_equal(shadow->total.streams, 3);
    shadow_free(shadow);
    arena_release(&arena);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_code_differs_in_nothing),
        cmocka_unit_test(tells_what_is_refused_now),
        cmocka_unit_test(tells_what_is_accepted_now),
        cmocka_unit_test(tells_other_reasons_and_events),
        cmocka_unit_test(tells_where_the_script_fails),
        cmocka_unit_test(tells_states_that_change),
        cmocka_unit_test(real_events_are_applied_after_a_difference),
        cmocka_unit_test(a_fact_is_applied_and_not_decided),
        cmocka_unit_test(a_batch_is_all_or_nothing),
        cmocka_unit_test(what_the_running_code_does_as_well_is_not_the_deploy),
        cmocka_unit_test(a_newer_version_that_says_the_same_is_no_difference),
        cmocka_unit_test(a_contract_alone_is_a_change),
        cmocka_unit_test(apply_that_fails_ends_a_stream),
        cmocka_unit_test(aggregates_come_and_go),
        cmocka_unit_test(what_a_sender_decided_is_not_decided_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The command path: decisions, answers, ids, versions, batches; in memory and on LMDB. */
#include "run/inside.h"
#include "run/shard.h"
#include "run_support.h"

static const char *data_of(void **state)
{
    return *state ? folder("data") : NULL;
}

static void decides_and_answers(void **state)
{
    struct hub *hub = open_hub(data_of(state), 2, 1);
    struct command *command = run(hub, command_of("a", "Open", "{'owner':'x'}", NULL));
    assert_int_equal(command->fault.code, FAULT_NONE);
    assert_int_equal(command->version, 1);
    assert_int_equal(command->position, 1);
    assert_false(command->repeated);
    struct record_event event = {0};
    assert_true(record_next_event(&command->record, &event));
    assert_int_equal(event.position, 1);
    struct buf json = {0};
    hub_event_json(hub, &command->record, &event, &json);
    buf_put_byte(&json, 0);
    assert_non_null(strstr(json.data, "\"type\":\"Opened\""));
    assert_non_null(strstr(json.data, "\"source\":\"/main/bank\""));
    assert_non_null(strstr(json.data, "\"subject\":\"account/a\""));
    assert_non_null(strstr(json.data, "\"data\":{\"owner\":\"x\"}"));
    buf_release(&json);
    forget(command);
    command = run(hub, command_of("a", "Open", "{'owner':'y'}", NULL));
    assert_int_equal(command->fault.code, FAULT_REJECTED);
    assert_string_equal(command->fault.reason, "exists");
    assert_string_equal(command->fault.text, "account a exists");
    forget(command);
    expect(hub, "a", "Open", "{'owner':1}", FAULT_CONTRACT);
    expect(hub, "a", "Open", "{'owner':'x','more':1}", FAULT_CONTRACT);
    expect(hub, "a", "Opne", "{}", FAULT_UNKNOWN_COMMAND);
    expect(hub, "a", "Add", "{'amount':5}", FAULT_NONE);
    expect(hub, "a", "Touch", "{}", FAULT_NONE);
    assert_string_equal(state_of(hub, "a"), "2 {'owner':'x','total':5}");
    assert_string_equal(state_at(hub, "a", 1, INT64_MAX), "1 {'owner':'x','total':0}");
    assert_string_equal(state_at(hub, "a", 3, INT64_MAX), "not_found");
    assert_string_equal(state_of(hub, "b"), "not_found");
    expect_log(hub, "a:Opened:1 a:Added:2 ");
    hub_close(hub);
}

/* Of an import, whose collector waits: what it leaves lying for later does not drive out what is in use. */
static void garbage_does_not_empty_the_cache(void **state)
{
    enum { STREAMS = 9000, ROUNDS = 4 };
    if (getenv("LORE_TEST_SMALL"))
        skip(); /* a sanitizer makes objects larger, and this a matter of minutes */
    write_script("hub.lua", "return { limits = { cache_memory = 7500000 } }\n");
    struct hub *hub = open_hub(NULL, 1, -1);
    for (int at = 0; at < STREAMS * ROUNDS; at++) {
        char id[16];
        snprintf(id, sizeof id, "s%d", at % STREAMS);
        expect(hub, id, "Add", "{'amount':1}", FAULT_NONE);
    }
    assert_int_equal(atomic_load(&hub->shards[0]->loads), STREAMS);
    hub_close(hub);
}

static void refuses_at_the_door(void **state)
{
    struct hub *hub = open_hub(data_of(state), 1, -1);
    static const struct {
        const char *tenant, *context, *aggregate, *id, *type;
        enum fault_code code;
    } bad[] = {{"other", "bank", "account", "a", "Open", FAULT_NOT_FOUND},
               {"main", "bonk", "account", "a", "Open", FAULT_NOT_FOUND},
               {"main", "bank", "acount", "a", "Open", FAULT_NOT_FOUND},
               {"main", "bank", "account", "a/b", "Open", FAULT_MALFORMED},
               {"main", "bank", "account", "", "Open", FAULT_MALFORMED},
               {"main", "bank", "account", "a", "open", FAULT_UNKNOWN_COMMAND}};
    for (size_t at = 0; at < sizeof bad / sizeof *bad; at++) {
        struct command *command = command_of(bad[at].id, bad[at].type, "{'owner':'x'}", NULL);
        command->tenant = slice_of(bad[at].tenant);
        command->context = slice_of(bad[at].context);
        command->aggregate = slice_of(bad[at].aggregate);
        assert_int_equal(hub_submit(hub, command, &test_fault), -1);
        assert_int_equal(test_fault.code, bad[at].code);
        answered(command);
        forget(command);
    }
    struct command *command = command_of("a", "Open", "{'owner':'x'}", NULL);
    command->item_count = 0;
    assert_int_equal(hub_submit(hub, command, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_MALFORMED);
    command->item_count = 1;
    command->items[0].data = slice_of("\x93");
    assert_int_equal(hub_submit(hub, command, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_MALFORMED);
    answered(command);
    forget(command);
    hub_close(hub);
}

static struct command *with_version(struct command *command, int64_t version)
{
    command->expected_version = version;
    return command;
}

static void compares_versions(void **state)
{
    struct hub *hub = open_hub(data_of(state), 1, -1);
    struct command *command = run(hub, with_version(command_of("a", "Open", "{'owner':'x'}", NULL), 0));
    assert_int_equal(command->fault.code, FAULT_NONE);
    forget(command);
    for (int64_t version = 0; version < 4; version++) {
        if (version == 1) continue;
        command = run(hub, with_version(command_of("a", "Add", "{'amount':1}", NULL), version));
        assert_int_equal(command->fault.code, FAULT_CONFLICT);
        assert_int_equal(command->conflict_version, 1);
        forget(command);
    }
    command = run(hub, with_version(command_of("a", "Add", "{'amount':1}", NULL), 1));
    assert_int_equal(command->fault.code, FAULT_NONE);
    forget(command);
    /* The id is looked up first: a retry of what was done is no conflict. */
    command = run(hub, with_version(command_of("a", "Add", "{'amount':1}", "i1"), 2));
    assert_int_equal(command->version, 3);
    forget(command);
    command = run(hub, with_version(command_of("a", "Add", "{'amount':1}", "i1"), 2));
    assert_int_equal(command->fault.code, FAULT_NONE);
    assert_true(command->repeated);
    forget(command);
    hub_close(hub);
}

static void remembers_ids(void **state)
{
    struct hub *hub = open_hub(data_of(state), 2, -1);
    for (int restart = 0; restart < 2; restart++) {
        for (int time = 0; time < 3; time++) {
            bool first = time == 0 && restart == 0;
            struct command *command = run(hub, command_of("a", "Open", "{'owner':'x'}", "one"));
            assert_int_equal(command->fault.code, FAULT_NONE);
            assert_int_equal(command->version, 1);
            assert_int_equal(command->position, 1);
            assert_int_equal(command->repeated, !first);
            struct record_event event = {0};
            assert_true(record_next_event(&command->record, &event));
            forget(command);
            command = run(hub, command_of("a", "Open", "{'owner':'x'}", "two"));
            assert_int_equal(command->fault.code, FAULT_REJECTED);
            assert_string_equal(command->fault.reason, "exists");
            assert_int_equal(command->repeated, !first);
            forget(command);
            command = run(hub, command_of("a", "Touch", "{}", "three"));
            assert_int_equal(command->fault.code, FAULT_NONE);
            assert_int_equal(command->version, 1);
            assert_int_equal(command->position, 1);
            assert_int_equal(command->repeated, !first);
            forget(command);
        }
        static const struct {
            const char *type, *json, *id;
        } other[] = {{"Open", "{'owner':'y'}", "one"},
                     {"Touch", "{}", "one"},
                     {"Add", "{'amount':1}", "two"},
                     {"Close", "{}", "three"}};
        for (size_t at = 0; at < sizeof other / sizeof *other; at++) {
            struct command *command = run(hub, command_of("a", other[at].type, other[at].json, other[at].id));
            assert_int_equal(command->fault.code, FAULT_ID_REUSED);
            forget(command);
        }
        /* Ids are scoped to the stream. */
        if (restart == 0) {
            struct command *command = run(hub, command_of("b", "Open", "{'owner':'x'}", "one"));
            assert_int_equal(command->fault.code, FAULT_NONE);
            assert_false(command->repeated);
            forget(command);
        }
        if (!*state) break;
        hub_close(hub);
        hub = open_hub(data_of(state), 1, -1);
    }
    expect_log(hub, "a:Opened:1 b:Opened:1 ");
    hub_close(hub);
}

static void does_not_remember_errors(void **state)
{
    struct hub *hub = open_hub(data_of(state), 1, -1);
    struct command *command = run(hub, command_of("a", "Open", "{'owner':1}", "one"));
    assert_int_equal(command->fault.code, FAULT_CONTRACT);
    forget(command);
    command = run(hub, command_of("a", "Break", "{}", "one"));
    assert_int_equal(command->fault.code, FAULT_SCRIPT);
    assert_non_null(strstr(command->fault.text, "bank/account.lua:23:"));
    forget(command);
    /* Break had emitted an event: nothing of it is left in the state. */
    command = run(hub, command_of("a", "Open", "{'owner':'x'}", "one"));
    assert_int_equal(command->fault.code, FAULT_NONE);
    assert_false(command->repeated);
    forget(command);
    expect(hub, "a", "Break", "{}", FAULT_SCRIPT);
    expect(hub, "a", "Close", "{}", FAULT_NONE);
    assert_string_equal(state_of(hub, "a"), "2 {'closed':true,'owner':'x','total':0}");
    expect_log(hub, "a:Opened:1 a:Closed:2 ");
    hub_close(hub);
}

static struct command *batch(const char *key, int64_t last)
{
    char json[64];
    struct command *command = command_to("a", 3);
    set_item(command, 0, "Open", "{'owner':'x'}", NULL);
    set_item(command, 1, "Add", "{'amount':3}", NULL);
    snprintf(json, sizeof json, "{'amount':%lld}", (long long)last);
    set_item(command, 2, "Add", json, NULL);
    if (key) command->batch_id = arena_copy(&command->arena, slice_of(key));
    return command;
}

static void batches_are_one_transaction(void **state)
{
    struct hub *hub = open_hub(data_of(state), 1, -1);
    for (int time = 0; time < 2; time++) {
        struct command *command = run(hub, batch("no", -4));
        assert_int_equal(command->fault.code, FAULT_REJECTED);
        assert_string_equal(command->fault.reason, "poor");
        assert_int_equal(command->repeated, time);
        forget(command);
    }
    assert_string_equal(state_of(hub, "a"), "not_found");
    for (int time = 0; time < 2; time++) {
        struct command *command = run(hub, batch("yes", -3));
        assert_int_equal(command->fault.code, FAULT_NONE);
        assert_int_equal(command->version, 3);
        assert_int_equal(command->repeated, time);
        assert_int_equal(command->record.event_count, 3);
        forget(command);
    }
    static const struct {
        const char *key;
        int64_t last;
    } other[] = {{"yes", 1}, {"no", -5}};
    for (size_t at = 0; at < 2; at++) {
        struct command *command = run(hub, batch(other[at].key, other[at].last));
        assert_int_equal(command->fault.code, FAULT_ID_REUSED);
        forget(command);
    }
    expect_log(hub, "a:Opened:1 a:Added:2 a:Added:3 ");
    hub_close(hub);
}

static void records_facts(void **state)
{
    struct hub *hub = open_hub(data_of(state), 1, -1);
    for (int time = 0; time < 3; time++) {
        struct command *command =
            command_of("a", "Added", time == 2 ? "{'amount':8}" : "{'amount':7}", "row1");
        command->is_fact = true;
        run(hub, command);
        assert_int_equal(command->fault.code, time == 2 ? FAULT_ID_REUSED : FAULT_NONE);
        assert_int_equal(command->repeated, time == 1);
        forget(command);
    }
    struct command *command = command_of("a", "Added", "{'amount':-1}", NULL);
    command->is_fact = true;
    command->at_ms = 1000;
    run(hub, command);
    assert_int_equal(command->fault.code, FAULT_NONE);
    assert_int_equal(command->version, 2);
    forget(command);
    command = command_of("a", "Aded", "{'amount':-1}", NULL);
    command->is_fact = true;
    run(hub, command);
    assert_int_not_equal(command->fault.code, FAULT_NONE);
    forget(command);
    assert_string_equal(state_of(hub, "a"), "2 {'total':6}");
    expect_log(hub, "a:Added:1 a:Added:2 ");
    hub_close(hub);
}

/* Many streams, more than once through; the log and every state agree with a model kept here. */
static void agrees_with_a_model(void **state)
{
    enum { STREAMS = 40, COMMANDS = 3000 };
    int64_t totals[STREAMS] = {0};
    uint64_t versions[STREAMS] = {0};
    struct hub *hub = open_hub(data_of(state), 3, 1);
    static struct command *commands[COMMANDS];
    static bool allowed[COMMANDS]; /* what the model says */
    uint64_t seed = 7;
    for (int at = 0; at < COMMANDS; at++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int stream = (int)(seed >> 40) % STREAMS;
        int64_t amount = (int64_t)(seed >> 20 & 63) - 30;
        char id[16], json[64];
        snprintf(id, sizeof id, "s%d", stream);
        snprintf(json, sizeof json, "{'amount':%lld}", (long long)amount);
        commands[at] = command_of(id, "Add", json, NULL);
        submit(hub, commands[at]);
        bool yes = totals[stream] + amount >= 0;
        if (yes) {
            totals[stream] += amount;
            versions[stream]++;
        }
        allowed[at] = yes;
    }
    for (int at = 0; at < COMMANDS; at++) {
        await(commands[at]);
        assert_int_equal(commands[at]->fault.code, allowed[at] ? FAULT_NONE : FAULT_REJECTED);
        forget(commands[at]);
    }
    for (int stream = 0; stream < STREAMS; stream++) {
        char id[16], text[64];
        snprintf(id, sizeof id, "s%d", stream);
        snprintf(text, sizeof text, "%llu {'total':%lld}", (unsigned long long)versions[stream],
                 (long long)totals[stream]);
        if (versions[stream])
            assert_string_equal(state_of(hub, id), text);
        else
            assert_string_equal(state_of(hub, id), "not_found");
    }
    struct buf log = log_text(hub);
    buf_release(&log);
    hub_close(hub);
}

/* A stop right behind a flood: everything taken is answered, everything answered well is in the log. */
static void stop_answers_everything(void **state)
{
    enum { COMMANDS = 2000 };
    static struct command *commands[COMMANDS];
    struct hub *hub = open_hub(data_of(state), 2, 1);
    for (int at = 0; at < COMMANDS; at++) {
        char id[16];
        snprintf(id, sizeof id, "s%d", at % 100);
        commands[at] = command_of(id, "Add", "{'amount':1}", NULL);
        submit(hub, commands[at]);
    }
    hub_stop(hub);
    uint64_t good = 0;
    for (int at = 0; at < COMMANDS; at++) {
        assert_true(is_answered(commands[at]));
        good += commands[at]->fault.code == FAULT_NONE;
        forget(commands[at]);
    }
    assert_int_equal(good, COMMANDS);
    assert_int_equal(engine_head(hub_engine(hub)).position, COMMANDS);
    struct command *late = command_of("a", "Add", "{'amount':1}", NULL);
    assert_int_equal(hub_submit(hub, late, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_UNAVAILABLE);
    answered(late);
    forget(late);
    hub_close(hub);
}

static void numbers_deploys(void **state)
{
    const char *data = folder("data");
    for (int start = 1; start <= 4; start++) {
        if (start == 3) write_script("bank/more.lua", "return {}\n");
        struct hub *hub = open_hub(data, 1, -1);
        struct command *command = run(hub, command_of("a", "Add", "{'amount':1}", NULL));
        assert_int_equal(command->record.deploy, start < 3 ? 1 : 2);
        forget(command);
        hub_close(hub);
    }
}

/* A snapshot is used, and gives what the fold from the start gives. */
static void snapshots_agree(void **state)
{
    const char *data = folder("data");
    struct hub *hub = open_hub(data, 1, -1);
    for (int at = 0; at < 300; at++) expect(hub, "a", "Add", "{'amount':1}", FAULT_NONE);
    hub_close(hub);
    hub = open_hub(data, 1, -1);
    assert_string_equal(state_of(hub, "a"), "300 {'total':300}");
    assert_string_equal(state_at(hub, "a", 130, INT64_MAX), "130 {'total':130}");
    expect(hub, "a", "Add", "{'amount':1}", FAULT_NONE);
    assert_string_equal(state_of(hub, "a"), "301 {'total':301}");
    hub_close(hub);
}

/* --- what a state and a transaction may come to --- */

static const char test_box[] = "contracts [[\n"
                               "  Put?     (text: string)\n"
                               "  PutIn!   (text: string)\n"
                               "  List?    (text: string)\n"
                               "  Listed!  (text: string)\n"
                               "  Double?\n"
                               "  Doubled!\n"
                               "  Clear?\n"
                               "  Cleared!\n"
                               "  Flood?   (count: integer)\n"
                               "  Flooded! (text: string)\n"
                               "]]\n"
                               "local box = aggregate 'box'\n"
                               "function box.apply.PutIn(state, e) state.text = e.text end\n"
                               "function box.apply.Listed(state, e)\n"
                               "  state.list = state.list or {}\n"
                               "  state.list[#state.list + 1] = e.text\n"
                               "end\n"
                               "function box.apply.Doubled(state) state.text = state.text .. state.text end\n"
                               "function box.apply.Cleared(state) state.text, state.list = nil, nil end\n"
                               "function box.execute.Put(_, c) return PutIn { text = c.text } end\n"
                               "function box.execute.List(_, c) return Listed { text = c.text } end\n"
                               "function box.execute.Double() return Doubled {} end\n"
                               "function box.execute.Clear() return Cleared {} end\n"
                               "function box.execute.Flood(_, c)\n"
                               "  local text = ('x'):rep(1000000)\n"
                               "  for _ = 1, c.count do emit(Flooded { text = text }) end\n"
                               "end\n";

static struct hub *open_boxes(void)
{
    write_script("hub.lua", "return { limits = { document_size = 2000 } }\n");
    write_script("bank/box.lua", test_box);
    return open_hub(NULL, 1, -1);
}

static struct command *box_command(const char *type, size_t size)
{
    char json[4200] = "{}", text[4096];
    memset(text, 'x', size);
    if (size) snprintf(json, sizeof json, "{'text':'%.*s'}", (int)size, text);
    struct command *command = command_of("a", type, json, NULL);
    command->aggregate = slice_of("box");
    return command;
}

static enum fault_code box_run(struct hub *hub, struct command *command)
{
    enum fault_code code = run(hub, command)->fault.code;
    if (code == FAULT_TOO_LARGE)
        assert_string_equal(
            command->fault.text,
            "bank/box/a would have a state that cannot be kept: state: larger than 2000 bytes");
    forget(command);
    return code;
}

static void states_are_bounded(void **state)
{
    struct hub *hub = open_boxes();
    assert_int_equal(box_run(hub, box_command("Put", 1500)), FAULT_NONE);
    assert_int_equal(box_run(hub, box_command("Put", 3000)), FAULT_TOO_LARGE);
    assert_int_equal(box_run(hub, box_command("Double", 0)), FAULT_TOO_LARGE);
    assert_int_equal(box_run(hub, box_command("Put", 900)), FAULT_NONE);
    assert_int_equal(box_run(hub, box_command("Double", 0)), FAULT_NONE);
    assert_int_equal(box_run(hub, box_command("Clear", 0)), FAULT_NONE);
    /* {"list":[...]} takes 9 bytes and 11 for each text of ten: the 181st fills it. */
    for (int at = 1; at <= 181; at++) assert_int_equal(box_run(hub, box_command("List", 10)), FAULT_NONE);
    assert_int_equal(box_run(hub, box_command("List", 10)), FAULT_TOO_LARGE);
    struct command *fact = box_command("Listed", 10);
    fact->is_fact = true;
    assert_int_equal(box_run(hub, fact), FAULT_TOO_LARGE);
    assert_int_equal(box_run(hub, box_command("Clear", 0)), FAULT_NONE);
    assert_int_equal(box_run(hub, box_command("List", 10)), FAULT_NONE);
    assert_int_equal(engine_head(hub_engine(hub)).position, 4 + 181 + 2);
    hub_close(hub);
}

/* Each command may give that much by itself, but not all of them together. */
/* An event whose handler is stopped at first, and is within its budget when it is counted. */
static void slow_states_are_folded_again(void **state)
{
    write_script("bank/account.lua",
                 "local account = aggregate 'account' { initial = { total = 0 } }\n"
                 "function account.apply.Added(state, e)\n"
                 "  for i = 1, 1000000 do state.last = i end\n"
                 "  state.total = state.total + e.amount\n"
                 "end\n"
                 "function account.execute.Add(state, c) return Added { amount = c.amount } end\n");
    struct hub *hub = open_hub(folder("data"), 1, -1);
    expect(hub, "a", "Add", "{'amount':4}", FAULT_NONE);
    expect(hub, "a", "Add", "{'amount':5}", FAULT_NONE);
    assert_string_equal(state_of(hub, "a"), "2 {'last':1000000,'total':9}");
    assert_string_equal(state_at(hub, "a", 1, INT64_MAX), "1 {'last':1000000,'total':4}");
    hub_close(hub);
}

static void transactions_are_bounded(void **state)
{
    struct hub *hub = open_boxes();
    for (size_t count = 2; count <= 3; count++) {
        struct command *command = command_to("a", count);
        command->aggregate = slice_of("box");
        for (size_t at = 0; at < count; at++) set_item(command, at, "Flood", "{'count':25}", NULL);
        run(hub, command);
        assert_int_equal(command->fault.code, count == 2 ? FAULT_NONE : FAULT_TOO_LARGE);
        if (count == 3) assert_non_null(strstr(command->fault.text, "one transaction"));
        forget(command);
    }
    assert_int_equal(engine_head(hub_engine(hub)).position, 50);
    hub_close(hub);
}

int main(void)
{
#define BOTH(test)                                                                                           \
    {#test " (memory)", test, setup, teardown, NULL},                                                        \
    {                                                                                                        \
#test " (lmdb)", test, setup, teardown, (void *)1                                                    \
    }
    const struct CMUnitTest tests[] = {
        BOTH(decides_and_answers),
        BOTH(refuses_at_the_door),
        cmocka_unit_test_setup_teardown(garbage_does_not_empty_the_cache, setup, teardown),
        BOTH(compares_versions),
        BOTH(remembers_ids),
        BOTH(does_not_remember_errors),
        BOTH(batches_are_one_transaction),
        BOTH(records_facts),
        BOTH(agrees_with_a_model),
        BOTH(stop_answers_everything),
        cmocka_unit_test_setup_teardown(numbers_deploys, setup, teardown),
        cmocka_unit_test_setup_teardown(snapshots_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(states_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_states_are_folded_again, setup, teardown),
        cmocka_unit_test_setup_teardown(transactions_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

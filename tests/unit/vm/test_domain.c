/* Aggregates: the running example of the scripting guide, and every rule of execute and apply. */
#include "unit/vm/domain_support.h"

static const char contracts[] =
    "contracts [[\n"
    "  let bill  = (customer: string)\n"
    "  CreateBill?          (bill, start_date: time)\n"
    "  BillCreated!         (bill, start_date: time)\n"
    "  AddServicesToBill?   (services: integer)\n"
    "  ServicesAddedToBill! (services: integer)\n"
    "  CloseBill?           (close_date: time, note: string?)\n"
    "  BillClosed!3         (customer: string, close_date: time, note: string?, paid: decimal)\n"
    "  ReopenBill?\n"
    "  Noted!               (tags: any)\n"
    "  Note?                (tags: any)\n"
    "  Try?                 (how: string)\n"
    "]]\n"
    "function upcast.BillClosed.v1(e, m) e.customer = 'unknown' return e end\n"
    "function upcast.BillClosed.v2(e) e.paid = '0.50' return e end\n";

static const char bill[] =
    "local bill = aggregate 'bill' { initial = { services = 0, marks = list {} } }\n"
    "function bill.apply.BillCreated(state, e, m) state.customer, state.opened = e.customer, e.start_date "
    "end\n"
    "function bill.apply.ServicesAddedToBill(state, e) state.services = state.services + e.services end\n"
    "function bill.apply.BillClosed(state, e, m)\n"
    "  state.closed, state.customer, state.paid = e.close_date, e.customer, e.paid\n"
    "end\n"
    "function bill.apply.Noted(state, e, m)\n"
    "  if e.tags == 'function' then state.bad = { deep = { function() end } } end\n"
    "  if e.tags == 'return' then return 1 end\n"
    "  if e.tags == 'error' then error('apply failed') end\n"
    "  if e.tags == 'emit' then emit(Noted { tags = 1 }) end\n"
    "  if e.tags == 'reject' then reject('no') end\n"
    "  if e.tags == 'loop' then while true do end end\n"
    "  if type(e.tags) == 'table' then state.first = e.tags state.second = e.tags end\n"
    "  if e.tags == 'touch' then state.first[#state.first + 1] = 'x' end\n"
    "  if e.tags == 'envelope' then\n"
    "    state.seen = { m.id, m.type, m.type_version, m.at, m.tenant, m.stream,\n"
    "      tostring(m.version), tostring(m.position), tostring(m.recorded), tostring(m.deploy) }\n"
    "  end\n"
    "end\n"
    "function bill.execute.CreateBill(state, c, m)\n"
    "  if state.opened then reject('exists', 'bill %s was opened on %s', m.id, state.opened) end\n"
    "  return BillCreated { customer = c.customer, start_date = c.start_date }\n"
    "end\n"
    "function bill.execute.AddServicesToBill(state, c)\n"
    "  local added = {}\n"
    "  for i = 1, c.services do added[i] = ServicesAddedToBill { services = 1 } end\n"
    "  return added\n"
    "end\n"
    "function bill.execute.CloseBill(state, c)\n"
    "  emit(ServicesAddedToBill { services = 1 })\n"
    "  return BillClosed { customer = state.customer .. state.services, close_date = c.close_date, note = "
    "c.note,\n"
    "    paid = decimal '1.20' }\n"
    "end\n"
    "function bill.execute.ReopenBill() end\n"
    "function bill.execute.Note(state, c) return Noted { tags = c.tags } end\n"
    "function bill.conflicts(mine, theirs)\n"
    "  if mine.data.tags == 'bad' then return 'yes' end\n"
    "  return mine.type == theirs.type and mine.data.tags == theirs.data.tags and theirs.version == 3 and "
    "mine.version == nil\n"
    "end\n"
    "function bill.execute.Try(state, c, m)\n"
    "  local how = c.how\n"
    "  if how == 'loop' then while true do end end\n"
    "  if how == 'write' then state.services = 7 end\n"
    "  if how == 'write deep' then state.marks[1] = 7 end\n"
    "  if how == 'table.insert' then table.insert(state.marks, 1) end\n"
    "  if how == 'text' then return 'BillCreated' end\n"
    "  if how == 'command' then return CloseBill { close_date = '2026-01-01' } end\n"
    "  if how == 'mixed list' then return { Noted { tags = 1 }, 7 } end\n"
    "  if how == 'table' then return { customer = 'x' } end\n"
    "  if how == 'bad event' then return BillCreated { customer = 7 } end\n"
    "  if how == 'reject in pcall' then pcall(reject, 'no', 'never') return Noted { tags = 1 } end\n"
    "  if how == 'reject behind close' then\n"
    "    pcall(function()\n"
    "      local closing <close> = setmetatable({}, { __close = function() error 'another' end })\n"
    "      reject('no', 'at last')\n"
    "    end)\n"
    "    return Noted { tags = 1 }\n"
    "  end\n"
    "  if how == 'reject plain' then reject('plain') end\n"
    "  if how == 'reject number' then reject(7) end\n"
    "  if how == 'reject percent' then reject('odd', '100%% of %d', 7) end\n"
    "  if how == 'emit text' then emit('x') end\n"
    "  if how == 'pcall emit' then pcall(emit, Noted { tags = 'error' }) return Noted { tags = 1 } end\n"
    "  if how == 'several' then return Noted { tags = 1 }, nil, Noted { tags = 2 } end\n"
    "  if how == 'order' then emit(Noted { tags = 1 }) local last = Noted { tags = 3 } emit(Noted { tags = 2 "
    "}) return last end\n"
    "  if how == 'assign m' then m.id = 'x' end\n"
    "  if how == 'no field' then return m.postion end\n"
    "  if how == 'pairs m' then\n"
    "    local names = {} for k, v in pairs(m) do names[#names + 1] = k .. '=' .. tostring(v) end\n"
    "    return Noted { tags = table.concat(names, ' ') }\n"
    "  end\n"
    "  if how == 'alias' then local t = { 'a' } emit(Noted { tags = t }) t[1] = 'changed' return Noted { "
    "tags = 'touch' } end\n"
    "  if how == 'memory' then local s = ('x'):rep(1000) local t = {} while true do t[#t + 1] = s .. #t end "
    "end\n"
    "  if how == 'emit flood' then local s = ('x'):rep(1000000) while true do emit(Noted { tags = s }) end "
    "end\n"
    "  if how == 'return flood' then local e, t = Noted { tags = ('x'):rep(1000000) }, {} for i = 1, 10000 "
    "do t[i] = e "
    "end return t end\n"
    "  if how == 'version' then return Noted { tags = tostring(m.version) } end\n"
    "end\n";

static const char *const scripts[] = {"billing/contracts.lua", contracts, "billing/bill.lua", bill, NULL};

struct world {
    struct domain *domain;
    int bill;
    struct domain_state *state;
    struct decision decision;
    bool touched;
};

static struct world world_of(void)
{
    struct world world = {.domain = open_domain(scripts)};
    world.bill = domain_find_aggregate(world.domain, slice_of("billing/bill"));
    assert_int_not_equal(world.bill, -1);
    world.state = domain_state_new(world.domain, world.bill);
    return world;
}

static void end_world(struct world *world)
{
    domain_state_free(world->domain, world->state);
    close_domain(world->domain);
}

static int execute(struct world *world, const char *type, const char *json)
{
    struct envelope envelope = envelope_of("billing", "bill", "bill-7", type);
    envelope.type_version = 0;
    envelope.command_id = slice_of("c-1");
    return domain_execute(world->domain, world->state, &envelope, mp_of(json), false, &test_arena,
                          &world->decision, &world->touched, &test_fault);
}

static void apply(struct world *world, const char *type, uint32_t version, const char *json)
{
    struct envelope envelope = envelope_of("billing", "bill", "bill-7", type);
    envelope.type_version = version;
    envelope.version = 9;
    envelope.position = 99;
    envelope.deploy = 2;
    envelope.recorded_ms = envelope.at_ms;
    if (domain_apply(world->domain, world->state, &envelope, mp_of(json), &test_fault) < 0)
        fail_msg("%s", test_fault.text);
}

static const char *state_of(struct world *world)
{
    struct buf out = {0};
    if (domain_state_encode(world->domain, world->state, &out, &test_fault) < 0)
        fail_msg("%s", test_fault.text);
    const char *text = json_of(buf_slice(&out));
    buf_release(&out);
    return text;
}

static const char *event_of(struct world *world, size_t at)
{
    assert_true(at < world->decision.event_count);
    const struct commit_event *event = &world->decision.events[at];
    return arena_format(&test_arena, "%.*s!%u %s", SLICE_ARGS(event->type), event->type_version,
                        json_of(event->data))
        .data;
}

static void the_bill_of_the_guide(void **unused)
{
    struct world world = world_of();
    assert_string_equal(state_of(&world), "{'marks':[],'services':0}");
    assert_int_equal(execute(&world, "CreateBill", "{'start_date':'2026-01-01','customer':'acme'}"), 0);
    assert_int_equal(world.decision.event_count, 1);
    assert_string_equal(json_of(world.decision.command_data),
                        "{'customer':'acme','start_date':'2026-01-01T00:00:00.000Z'}");
    assert_string_equal(event_of(&world, 0),
                        "BillCreated!1 {'customer':'acme','start_date':'2026-01-01T00:00:00.000Z'}");
    assert_int_equal(world.decision.events[0].at_ms, 1767225600000);
    assert_true(world.touched);

    assert_int_equal(execute(&world, "CreateBill", "{'start_date':'2026-02-01','customer':'x'}"), -1);
    assert_int_equal(test_fault.code, FAULT_REJECTED);
    assert_string_equal(test_fault.reason, "exists");
    assert_string_equal(test_fault.text, "bill bill-7 was opened on 2026-01-01T00:00:00.000Z");
    assert_false(world.touched);

    assert_int_equal(execute(&world, "AddServicesToBill", "{'services':3}"), 0);
    assert_int_equal(world.decision.event_count, 3);
    assert_int_equal(execute(&world, "CloseBill", "{'close_date':'2026-02-01T00:00:00Z'}"), 0);
    assert_int_equal(world.decision.event_count, 2);
    assert_string_equal(event_of(&world, 0), "ServicesAddedToBill!1 {'services':1}");
    assert_string_equal(event_of(&world, 1),
                        "BillClosed!3 {'close_date':'2026-02-01T00:00:00.000Z','customer':"
                        "'acme4','paid':'1.20'}");
    assert_string_equal(state_of(&world),
                        "{'closed':'2026-02-01T00:00:00.000Z','customer':'acme4','marks':[],'opened':"
                        "'2026-01-01T00:00:00.000Z','paid':'1.20','services':4}");
    assert_int_equal(execute(&world, "ReopenBill", "{}"), 0);
    assert_int_equal(world.decision.event_count, 0);
    end_world(&world);
}

static void a_command_meets_its_contract_first(void **unused)
{
    struct world world = world_of();
    assert_int_equal(execute(&world, "CreateBill", "{'start_date':7,'customer':'acme'}"), -1);
    assert_int_equal(test_fault.code, FAULT_CONTRACT);
    assert_string_equal(test_fault.text, "CreateBill.start_date: expected time, got integer");
    assert_false(world.touched);
    assert_int_equal(execute(&world, "CreateBil", "{}"), -1);
    assert_int_equal(test_fault.code, FAULT_UNKNOWN_COMMAND);
    assert_text_has(test_fault.text, "did you mean CreateBill?");
    struct slice canonical;
    assert_int_equal(domain_check_command(world.domain, world.bill, slice_of("AddServicesToBill"),
                                          mp_of("{'services':2.0}"), &test_arena, &canonical, &test_fault),
                     0);
    assert_string_equal(json_of(canonical), "{'services':2}");
    uint32_t version;
    assert_int_equal(domain_check_event(world.domain, slice_of("billing"), slice_of("BillClosed"),
                                        mp_of("{'customer':'a','close_date':'2026-01-01','paid':'7'}"),
                                        &test_arena, &canonical, &version, &test_fault),
                     0);
    assert_int_equal(version, 3);
    assert_int_equal(domain_check_event(world.domain, slice_of("billing"), slice_of("BillClose"), mp_of("{}"),
                                        &test_arena, &canonical, &version, &test_fault),
                     -1);
    assert_text_has(test_fault.text, "did you mean BillClosed?");
    end_world(&world);
}

static void history_is_upcast(void **unused)
{
    struct world world = world_of();
    apply(&world, "BillCreated", 1, "{'customer':'acme','start_date':'2026-01-01T00:00:00.000Z'}");
    apply(&world, "BillClosed", 1, "{'close_date':'2026-02-01T00:00:00.000Z'}");
    assert_text_has(state_of(&world), "'customer':'unknown'");
    assert_text_has(state_of(&world), "'paid':'0.50'");
    apply(&world, "BillClosed", 2, "{'close_date':'2026-02-01T00:00:00.000Z','customer':'two'}");
    assert_text_has(state_of(&world), "'customer':'two'");
    apply(&world, "Unhandled", 1, "{}");
    struct envelope envelope = envelope_of("billing", "bill", "bill-7", "BillClosed");
    envelope.type_version = 4;
    assert_int_equal(domain_apply(world.domain, world.state, &envelope, mp_of("{}"), &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_SCRIPT);
    assert_text_has(test_fault.text, "version 4");
    envelope.type_version = 1; /* does not fit its contract after the upcasters */
    assert_int_equal(
        domain_apply(world.domain, world.state, &envelope, mp_of("{'close_date':7}"), &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_SCRIPT);
    assert_text_has(test_fault.text, "BillClosed.close_date");
    end_world(&world);
}

static void an_event_is_upcast_by_itself(void **unused)
{
    struct world world = world_of();
    struct envelope envelope = envelope_of("billing", "bill", "bill-7", "BillClosed");
    struct slice now;
    envelope.type_version = 1;
    assert_int_equal(domain_upcast_event(world.domain, &envelope,
                                         mp_of("{'close_date':'2026-02-01T00:00:00.000Z'}"), &test_arena,
                                         &now, &test_fault),
                     0);
    assert_text_has(json_of(now), "'customer':'unknown'");
    assert_text_has(json_of(now), "'paid':'0.50'");
    assert_int_equal(domain_upcast_event(world.domain, &envelope, mp_of("{'close_date':7}"), &test_arena,
                                         &now, &test_fault),
                     -1);
    assert_int_equal(test_fault.code, FAULT_SCRIPT);
    envelope.type = slice_of("CloseBill"); /* a command */
    assert_int_equal(
        domain_upcast_event(world.domain, &envelope, mp_of("{}"), &test_arena, &now, &test_fault), -1);
    assert_text_has(test_fault.text, "no contract has the event billing.CloseBill");
    end_world(&world);
}

/* `code` keys snapshots: a contract of a command does not change it, but what is decided. */
static void rules_are_more_than_code(void **unused)
{
    static const char account[] = "local account = aggregate 'account'\n"
                                  "function account.apply.Opened() end\n"
                                  "function account.execute.Open() end\n";
    static const char *const forms[] = {
        "Open? (a: string)\n Opened!\n Noted! (a: string)\n Other?",
        "Open? (a: integer)\n Opened!\n Noted! (a: string)\n Other?",
        "Open? (a: string)\n Opened!\n Noted! (a: integer)\n Other?",
        "Open? (a: string)\n Opened!\n Noted! (a: string)\n Other? (b: string)",
        "Open? (a: string)\n Opened! (a: string)\n Noted! (a: string)\n Other?"};
    static const struct {
        bool code, rules;
    } same[] = {{true, true}, {true, false}, {true, false}, {true, true}, {false, false}};
    struct domain_aggregate first = {0};
    for (size_t at = 0; at < sizeof forms / sizeof *forms; at++) {
        const char *texts[] = {"bank/contracts.lua",
                               arena_format(&test_arena, "contracts [[\n %s\n]]\n", forms[at]).data,
                               "bank/account.lua", account, NULL};
        struct sources *sources = sources_of(texts);
        const struct domain_options options = {.sources = sources};
        struct domain *domain;
        if (domain_open(&options, &domain, NULL, &test_fault) < 0) fail_msg("%s", test_fault.text);
        const struct domain_aggregate *found = domain_aggregate(domain, 0);
        if (at == 0) first = *found;
        assert_int_equal(hash_equal(&found->code, &first.code), same[at].code);
        assert_int_equal(hash_equal(&found->rules, &first.rules), same[at].rules);
        bool has_command = false;
        for (size_t input = 0; input < found->input_count; input++)
            has_command |= slice_is(found->inputs[input].label, "contract bank.Open");
        assert_true(has_command);
        domain_close(domain);
        sources_free(sources);
    }
}

static void what_execute_may_not_do(void **unused)
{
    static const struct {
        const char *how;
        enum fault_code code;
        const char *text;
    } cases[] = {
        {"write", FAULT_SCRIPT, "billing/bill.lua:"},
        {"write deep", FAULT_SCRIPT, "read-only"},
        {"table.insert", FAULT_SCRIPT, "read-only"},
        {"text", FAULT_SCRIPT, "it returned the text 'BillCreated'"},
        {"command", FAULT_SCRIPT, "not the command billing.CloseBill"},
        {"mixed list", FAULT_SCRIPT, "it returned a number in a list"},
        {"table", FAULT_SCRIPT, "no list of events"},
        {"bad event", FAULT_SCRIPT, "BillCreated.customer: expected string, got integer"},
        {"reject in pcall", FAULT_REJECTED, "never"},
        {"reject behind close", FAULT_REJECTED, "at last"},
        {"reject plain", FAULT_REJECTED, "plain"},
        {"reject number", FAULT_SCRIPT, "reject needs a code first"},
        {"reject percent", FAULT_REJECTED, "100% of 7"},
        {"emit text", FAULT_SCRIPT, "emit takes an event"},
        {"pcall emit", FAULT_SCRIPT, "apply.Noted failed under a pcall in execute.Try"},
        {"assign m", FAULT_SCRIPT, "the envelope m cannot be changed"},
        {"no field", FAULT_SCRIPT, "no field postion"},
        {"memory", FAULT_BUDGET, ""},
        {"loop", FAULT_BUDGET, "billing/bill.lua:"},
    };
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        struct world world = world_of();
        domain_set_exact(world.domain, true);
        char json[100];
        snprintf(json, sizeof json, "{'how':'%s'}", cases[at].how);
        assert_int_equal(execute(&world, "Try", json), -1);
        if (test_fault.code != cases[at].code)
            fail_msg("%s: %d %s", cases[at].how, test_fault.code, test_fault.text);
        assert_text_has(test_fault.text, cases[at].text);
        assert_false(domain_must_repeat(world.domain));
        /* The domain is whole: the next command works. */
        if (!world.touched) assert_int_equal(execute(&world, "Note", "{'tags':1}"), 0);
        end_world(&world);
    }
}

static void the_order_of_events(void **unused)
{
    struct world world = world_of();
    assert_int_equal(execute(&world, "Try", "{'how':'order'}"), 0);
    assert_int_equal(world.decision.event_count, 3);
    for (size_t at = 0; at < 3; at++) {
        char expected[40];
        snprintf(expected, sizeof expected, "Noted!1 {'tags':%zu}", at + 1);
        assert_string_equal(event_of(&world, at), expected);
    }
    assert_int_equal(execute(&world, "Try", "{'how':'several'}"), 0);
    assert_int_equal(world.decision.event_count, 2);
    end_world(&world);
}

static void no_table_of_execute_gets_into_the_state(void **unused)
{
    struct world world = world_of();
    assert_int_equal(execute(&world, "Try", "{'how':'alias'}"), 0);
    /* tags went to two places of the state: they are two lists, as they would be when read back. */
    assert_text_has(state_of(&world), "'first':['a','x']");
    assert_text_has(state_of(&world), "'second':['a']");
    end_world(&world);
}

static void what_apply_may_not_do(void **unused)
{
    static const char *const cases[][2] = {
        {"function", "state.bad.deep[1]: a function is no plain data"},
        {"return", "must return nothing, it returned a number"},
        {"error", "apply failed"},
        {"emit", "emit is only possible while a command is executed"},
        {"reject", "reject is only possible while a command is executed"},
    };
    for (size_t at = 0; at < sizeof cases / sizeof *cases; at++) {
        for (int live = 0; live < 2; live++) {
            struct world world = world_of();
            char json[100];
            snprintf(json, sizeof json, "{'tags':'%s'}", cases[at][0]);
            struct envelope envelope = envelope_of("billing", "bill", "bill-7", "Noted");
            int result = live ? execute(&world, "Note", json)
                              : domain_apply(world.domain, world.state, &envelope, mp_of(json), &test_fault);
            assert_int_equal(result, -1);
            assert_int_equal(test_fault.code, FAULT_SCRIPT);
            if (live && strstr(cases[at][1], "while a command"))
                assert_text_has(test_fault.text, "not possible in apply");
            else
                assert_text_has(test_fault.text, cases[at][1]);
            assert_text_has(test_fault.text, "billing/bill.lua:");
            if (live) assert_true(world.touched);
            end_world(&world);
        }
    }
}

static void a_loop_asks_for_an_exact_repetition(void **unused)
{
    struct world world = world_of();
    assert_int_equal(execute(&world, "Try", "{'how':'loop'}"), -1);
    assert_int_equal(test_fault.code, FAULT_BUDGET);
    assert_true(domain_must_repeat(world.domain));
    domain_set_exact(world.domain, true);
    assert_int_equal(execute(&world, "Note", "{'tags':'loop'}"), -1);
    assert_int_equal(test_fault.code, FAULT_BUDGET);
    assert_true(world.touched);
    assert_false(domain_must_repeat(world.domain));
    domain_set_exact(world.domain, false);
    end_world(&world);
}

static void the_envelope_of_apply_is_that_of_the_log(void **unused)
{
    const char *expected = "['bill-7','Noted',1,'2026-01-01T00:00:00.000Z','main','billing/bill/"
                           "bill-7','nil','nil','nil','nil']";
    struct world world = world_of();
    assert_int_equal(execute(&world, "Note", "{'tags':'envelope'}"), 0);
    assert_text_has(state_of(&world), expected);
    end_world(&world);
    world = world_of();
    apply(&world, "Noted", 1, "{'tags':'envelope'}");
    assert_text_has(state_of(&world), expected);
    end_world(&world);
    world = world_of();
    assert_int_equal(execute(&world, "Try", "{'how':'pairs m'}"), 0);
    assert_string_equal(
        event_of(&world, 0),
        "Noted!1 {'tags':'aggregate=bill at=2026-01-01T00:00:00.000Z command_id=c-1 context=billing "
        "id=bill-7 stream=billing/bill/bill-7 tenant=main type=Try'}");
    end_world(&world);
}

/* An event costs its script little and the hub its whole size. */
static void what_a_call_gives_is_counted(void **state)
{
    struct world world = world_of();
    static const char *const floods[] = {"{'how':'emit flood'}", "{'how':'return flood'}"};
    for (int exact = 0; exact < 2; exact++) {
        domain_set_exact(world.domain, exact);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(execute(&world, "Try", floods[i]), -1);
            assert_int_equal(test_fault.code, FAULT_BUDGET);
            assert_text_has(test_fault.text, "billing/bill.lua:");
            if (exact) assert_text_has(test_fault.text, "more than 64 MiB allocated in one call");
            assert_true(world.decision.event_count < 100);
            domain_state_free(world.domain, world.state);
            world.state = domain_state_new(world.domain, world.bill);
            arena_release(&test_arena);
        }
    }
    end_world(&world);
}

static void sizes_have_limits(void **unused)
{
    struct world world = {
        .domain = open_domain_with((struct domain_options){.message_size_max = 200, .document_size_max = 400},
                                   scripts)};
    world.bill = 0;
    world.state = domain_state_new(world.domain, 0);
    char json[600];
    snprintf(json, sizeof json, "{'tags':'%0300d'}", 7);
    assert_int_equal(execute(&world, "Note", json), -1);
    assert_int_equal(test_fault.code, FAULT_TOO_LARGE);
    assert_false(world.touched);
    snprintf(json, sizeof json, "{'tags':['%0150d']}", 7);
    assert_int_equal(execute(&world, "Note", json), 0);
    struct buf out = {0};
    buf_put_text(&out, "before");
    assert_int_equal(domain_state_encode(world.domain, world.state, &out, &test_fault), 0);
    buf_clear(&out);
    buf_put_text(&out, "before");
    snprintf(json, sizeof json, "{'customer':'%0120d','start_date':'2026-01-01'}", 7);
    assert_int_equal(execute(&world, "CreateBill", json), 0);
    assert_int_equal(domain_state_encode(world.domain, world.state, &out, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_TOO_LARGE);
    assert_int_equal(out.size, 6);
    buf_release(&out);
    end_world(&world);
}

/* Random commands: the live state, the state folded from the stored bytes, and one resumed from a snapshot in
 * the middle are the same bytes. */
static void live_equals_replayed(void **unused)
{
    static const char *const commands[][2] = {
        {"CreateBill", "{'customer':'acme','start_date':'2026-01-01'}"},
        {"AddServicesToBill", "{'services':2}"},
        {"AddServicesToBill", "{'services':0}"},
        {"CloseBill", "{'close_date':'2026-02-01','note':'n'}"},
        {"Note", "{'tags':['a',{'b':[]}]}"},
        {"Note", "{'tags':'touch'}"},
        {"Note", "{'tags':'envelope'}"},
        {"Try", "{'how':'alias'}"},
        {"Try", "{'how':'text'}"},
    };
    unsigned seed = 7;
    for (int round = 0; round < 30; round++) {
        struct world world = world_of();
        struct domain_state *replayed = domain_state_new(world.domain, world.bill);
        struct domain_state *resumed = domain_state_new(world.domain, world.bill);
        struct buf live = {0}, bytes = {0};
        for (int step = 0; step < 25; step++) {
            seed = seed * 1103515245 + 12345;
            const char *const *command = commands[(seed >> 16) % (sizeof commands / sizeof *commands)];
            if (execute(&world, command[0], command[1]) < 0) {
                if (world.touched) break; /* such a state is dropped */
                continue;
            }
            for (size_t at = 0; at < world.decision.event_count; at++) {
                struct commit_event *event = &world.decision.events[at];
                struct envelope envelope = envelope_of("billing", "bill", "bill-7", "");
                envelope.type = event->type;
                envelope.type_version = event->type_version;
                envelope.version = envelope.position = (uint64_t)step + 1;
                assert_int_equal(domain_apply(world.domain, replayed, &envelope, event->data, &test_fault),
                                 0);
                assert_int_equal(domain_apply(world.domain, resumed, &envelope, event->data, &test_fault), 0);
            }
            buf_clear(&live);
            buf_clear(&bytes);
            assert_int_equal(domain_state_encode(world.domain, world.state, &live, &test_fault), 0);
            assert_int_equal(domain_state_encode(world.domain, replayed, &bytes, &test_fault), 0);
            if (!slice_equal(buf_slice(&live), buf_slice(&bytes)))
                fail_msg("live %s\nreplayed %s", json_of(buf_slice(&live)), json_of(buf_slice(&bytes)));
            buf_clear(&bytes);
            assert_int_equal(domain_state_encode(world.domain, resumed, &bytes, &test_fault), 0);
            assert_true(slice_equal(buf_slice(&live), buf_slice(&bytes)));
            domain_state_free(world.domain, resumed);
            assert_int_equal(
                domain_state_decode(world.domain, world.bill, buf_slice(&bytes), &resumed, &test_fault), 0);
        }
        domain_state_free(world.domain, replayed);
        domain_state_free(world.domain, resumed);
        buf_release(&live);
        buf_release(&bytes);
        end_world(&world);
    }
}

static void conflicts_are_decided_by_the_aggregate(void **unused)
{
    struct world world = world_of();
    struct envelope my = envelope_of("billing", "bill", "bill-7", "Noted"), their = my;
    their.version = their.position = 3;
    struct domain_event mine = {&my, mp_of("{'tags':1}")}, theirs = {&their, mp_of("{'tags':1}")};
    bool conflicts = false;
    assert_int_equal(domain_conflicts(world.domain, world.bill, &mine, &theirs, &conflicts, &test_fault), 0);
    assert_true(conflicts);
    theirs.data = mp_of("{'tags':2}");
    assert_int_equal(domain_conflicts(world.domain, world.bill, &mine, &theirs, &conflicts, &test_fault), 0);
    assert_false(conflicts);
    their.type = slice_of("BillClosed"); /* of version 1: upcast */
    theirs.data = mp_of("{'close_date':'2026-02-01T00:00:00.000Z'}");
    assert_int_equal(domain_conflicts(world.domain, world.bill, &mine, &theirs, &conflicts, &test_fault), 0);
    assert_false(conflicts);
    mine.data = mp_of("{'tags':'bad'}");
    assert_int_equal(domain_conflicts(world.domain, world.bill, &mine, &theirs, &conflicts, &test_fault), -1);
    assert_text_has(test_fault.text, "conflicts of bill must return true or false");
    end_world(&world);
}

static void times_of_any_day(void **unused)
{
    static const int64_t days[] = {0, 1, -1, 19000, 19000, 19001, 19000, -719162, 2932896};
    static const int64_t rests[] = {0, 1, 999, 59999, 3599999, 86399999, 43200000};
    struct world world = world_of();
    for (size_t day = 0; day < sizeof days / sizeof *days; day++) {
        for (size_t rest = 0; rest < sizeof rests / sizeof *rests; rest++) {
            struct envelope envelope = envelope_of("billing", "bill", "bill-7", "Noted");
            envelope.at_ms = days[day] * 86400000 + rests[rest];
            char expected[TIME_TEXT_SIZE + 1];
            time_format(envelope.at_ms, expected);
            assert_int_equal(
                domain_apply(world.domain, world.state, &envelope, mp_of("{'tags':'envelope'}"), &test_fault),
                0);
            assert_text_has(state_of(&world), expected);
        }
    }
    end_world(&world);
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
        cmocka_unit_test(the_bill_of_the_guide),
        cmocka_unit_test(a_command_meets_its_contract_first),
        cmocka_unit_test(history_is_upcast),
        cmocka_unit_test(an_event_is_upcast_by_itself),
        cmocka_unit_test(rules_are_more_than_code),
        cmocka_unit_test(what_execute_may_not_do),
        cmocka_unit_test(the_order_of_events),
        cmocka_unit_test(no_table_of_execute_gets_into_the_state),
        cmocka_unit_test(what_apply_may_not_do),
        cmocka_unit_test(a_loop_asks_for_an_exact_repetition),
        cmocka_unit_test(the_envelope_of_apply_is_that_of_the_log),
        cmocka_unit_test(what_a_call_gives_is_counted),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(live_equals_replayed),
        cmocka_unit_test(conflicts_are_decided_by_the_aggregate),
        cmocka_unit_test(times_of_any_day),
    };
    return cmocka_run_group_tests(tests, start, stop);
}

/* Scripts that load, and what is handed out of them. Broken ones: test_loader_errors.c; hashes:
 * test_loader_hashes.c. */
#include "loader_support.h"

static const char contracts[] = "contracts [[\n"
                                "  let bill  = (customer: string)\n"
                                "  let money = decimal\n"
                                "  CreateBill?  (bill, start_date: time)\n"
                                "  BillCreated! (bill, start_date: time)\n"
                                "  CloseBill?   (close_date: time, note: string?)\n"
                                "  BillClosed!2 (customer: string, close_date: time, paid: money?)\n"
                                "  ReopenBill?\n"
                                "]]\n"
                                "function upcast.BillClosed.v1(e, m) e.customer = 'unknown' return e end\n";

static const char bill[] = "local pricing = require 'pricing'\n"
                           "local bill = aggregate 'bill' { initial = { services = 0 } }\n"
                           "function bill.apply.BillCreated(state, e, m) state.customer = e.customer end\n"
                           "function bill.apply.BillClosed(state, e) state.closed = e.close_date end\n"
                           "function bill.execute.CreateBill(state, c, m)\n"
                           "  return BillCreated { customer = c.customer, start_date = c.start_date }\n"
                           "end\n"
                           "function bill.execute.CloseBill(...)\n"
                           "  local late = require 'late'\n"
                           "  return pricing.half(2), late\n"
                           "end\n"
                           "function bill.conflicts(mine, theirs) return mine.type == theirs.type end\n";

static const char view[] =
    "local v = projection 'bills' { key = function(e, m) return m.id end, index = { 'due', 'customer' },\n"
    "  initial = { paid = decimal '0' } }\n"
    "function v.when.BillCreated(view, e, m) view.customer = e.customer end\n"
    "v.when['security.UserRemoved'] = function(view, e) return false end\n"
    "local t = projection 'totals' { key = false }\n"
    "function t.when.BillClosed(docs, e, m) end\n"
    "local plain = projection 'plain'\n"
    "plain.when['billing.BillCreated'] = function(view) end\n";

static const char *const scripts[] = {"billing/bill.lua",
                                      bill,
                                      "billing/contracts.lua",
                                      contracts,
                                      "billing/late.lua",
                                      "return 7",
                                      "billing/import/rows.lua",
                                      "return function(row) send.bill(row.id, CloseBill {}) end",
                                      "billing/views.lua",
                                      view,
                                      "hub.lua",
                                      "return { tenants = 'open', limits = { batch = 5 } }",
                                      "pricing.lua",
                                      "return { half = function(n) return n // 2 end }",
                                      "security/contracts.lua",
                                      "contracts [[ UserRemoved! (user: string) ]]",
                                      NULL};

static void what_is_declared_is_handed_out(void **state)
{
    struct loaded loaded;
    load_good(&loaded, scripts);
    assert_int_equal(loader_context_count(loaded.loader), 2);
    assert_true(slice_is(loader_context(loaded.loader, 1), "security"));
    assert_int_equal(loader_aggregate_count(loaded.loader), 1);
    const struct loader_aggregate *aggregate = loader_aggregate(loaded.loader, 0);
    assert_string_equal(aggregate->declared.name.data, "billing/bill");
    assert_string_equal(aggregate->short_name.data, "bill");
    assert_int_equal(aggregate->line, 2);
    assert_memory_equal(aggregate->initial.data, "\x81\xa8services\x00", 11);
    assert_int_equal(aggregate->apply_count, 2);
    assert_string_equal(aggregate->apply[0].message->name.data, "BillClosed");
    assert_int_equal(aggregate->apply[0].parameters, 2);
    assert_int_equal(aggregate->apply[1].parameters, 3);
    assert_int_equal(aggregate->apply[1].line, 3);
    assert_string_equal(aggregate->apply[1].path.data, "billing/bill.lua");
    assert_int_equal(aggregate->execute_count, 2);
    assert_string_equal(aggregate->execute[0].message->name.data, "CloseBill");
    assert_int_equal(aggregate->execute[0].parameters, 255);
    assert_int_not_equal(aggregate->conflicts, LUA_NOREF);
    const struct contract_message *closed = aggregate->apply[0].message;
    assert_int_equal(closed->version, 2);
    assert_int_equal(closed->upcaster_parameters[0], 2);
    unload_scripts(&loaded);
}

static void projections_know_their_keys_and_events(void **state)
{
    struct loaded loaded;
    load_good(&loaded, scripts);
    assert_int_equal(loader_projection_count(loaded.loader), 3);
    const struct loader_projection *bills = loader_projection(loaded.loader, 0);
    assert_string_equal(bills->declared.name.data, "billing/bills");
    assert_true(bills->declared.keyed && !bills->declared.default_key);
    assert_int_equal(bills->key_parameters, 2);
    assert_int_equal(bills->declared.index_count, 2);
    assert_string_equal(bills->declared.indexes[0], "customer");
    assert_int_equal(bills->declared.event_count, 2);
    assert_string_equal(bills->declared.events[0].data, "billing.BillCreated");
    assert_string_equal(bills->declared.events[1].data, "security.UserRemoved");
    assert_string_equal(bills->when[1].message->context.data, "security");
    const struct loader_projection *plain = loader_projection(loaded.loader, 1);
    assert_true(plain->declared.keyed && plain->declared.default_key);
    assert_int_equal(plain->key, LUA_NOREF);
    assert_int_equal(plain->declared.event_count, 1);
    assert_int_equal(plain->initial.size, 1);
    const struct loader_projection *totals = loader_projection(loaded.loader, 2);
    assert_false(totals->declared.keyed);
    assert_memory_equal(loader_hub_options(loaded.loader).data,
                        "\x82\xa6limits\x81\xa5"
                        "batch\x05\xa7tenants\xa4open",
                        28);
    unload_scripts(&loaded);
}

static int call_half(lua_State *lua)
{
    const struct loader_aggregate *aggregate = lua_touserdata(lua, 1);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, aggregate->execute[0].function);
    lua_call(lua, 0, 2);
    assert_int_equal(lua_tointeger(lua, -2), 1);
    assert_int_equal(lua_tointeger(lua, -1),
                     7); /* late.lua: required inside the handler, loaded with the scripts */
    return 0;
}

static void a_handler_reaches_its_modules(void **state)
{
    struct loaded loaded;
    load_good(&loaded, scripts);
    lua_pushcfunction(loaded.vm->lua, call_half);
    lua_pushlightuserdata(loaded.vm->lua, (void *)loader_aggregate(loaded.loader, 0));
    int result = vm_call(loaded.vm, 1, 0, &loaded.fault);
    if (result < 0) print_error("%s\n", loaded.fault.text);
    assert_int_equal(result, 0);
    unload_scripts(&loaded);
}

static int import_globals(lua_State *lua)
{
    lua_newtable(lua);
    lua_newtable(lua);
    lua_setfield(lua, -2, "send");
    *(int *)lua_touserdata(lua, 1) = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

static void imports_load_on_demand(void **state)
{
    struct loaded loaded;
    load_good(&loaded, scripts);
    int globals, function, top = lua_gettop(loaded.vm->lua);
    struct slice context;
    assert_int_equal(vm_protected(loaded.vm, import_globals, &globals, &loaded.fault), 0);
    static const char *const ways[] = {"billing/import/rows.lua", "scripts/billing/import/rows.lua"};
    for (size_t i = 0; i < 4; i++) { /* again and again: each gives a function of its own */
        int result = loader_load_on_demand(loaded.loader, slice_of(ways[i % 2]), globals, &function, &context,
                                           &loaded.fault);
        if (result < 0) print_error("%s\n", loaded.fault.text);
        assert_int_equal(result, 0);
        assert_true(slice_is(context, "billing"));
        lua_rawgeti(loaded.vm->lua, LUA_REGISTRYINDEX, function);
        assert_true(lua_isfunction(loaded.vm->lua, -1));
        lua_pop(loaded.vm->lua, 1);
    }
    assert_int_equal(loader_load_on_demand(loaded.loader, slice_of("billing/import/row.lua"), globals,
                                           &function, &context, &loaded.fault),
                     -1);
    assert_int_equal(loaded.fault.code, FAULT_NOT_FOUND);
    assert_string_equal(
        loaded.fault.text,
        "billing/import/row.lua: no such script: did you mean scripts/billing/import/rows.lua?");
    assert_int_equal(lua_gettop(loaded.vm->lua), top);
    unload_scripts(&loaded);
}

static void an_import_declares_nothing(void **state)
{
    static const char *const import[] = {"x/a.lua",
                                         "local a = aggregate 'a'",
                                         "x/import/i.lua",
                                         "local m = require 'm'\nlocal b = aggregate 'b'",
                                         "m.lua",
                                         "return 1",
                                         "x/import/n.lua",
                                         "return 7",
                                         NULL};
    struct loaded loaded;
    load_good(&loaded, import);
    int function;
    struct slice context;
    assert_int_equal(loader_load_on_demand(loaded.loader, slice_of("x/import/i.lua"), LUA_NOREF, &function,
                                           &context, &loaded.fault),
                     -1);
    assert_string_equal(loaded.fault.text,
                        "x/import/i.lua:2: aggregate: only while the files of a context load");
    assert_int_equal(loader_load_on_demand(loaded.loader, slice_of("x/import/n.lua"), LUA_NOREF, &function,
                                           &context, &loaded.fault),
                     -1);
    assert_int_equal(loaded.fault.code, FAULT_SCRIPT);
    assert_string_equal(
        loaded.fault.text,
        "scripts/x/import/n.lua:1: an import script must end with: return function(row) … end");
    unload_scripts(&loaded);
}

static void a_text_compiles_in_a_context(void **state)
{
    struct loaded loaded;
    load_good(&loaded, scripts);
    lua_State *lua = loaded.vm->lua;
    struct slice good = slice_of("return BillCreated { customer = 'a', start_date = '2026-01-01' }.customer");
    assert_int_equal(loader_compile(loaded.loader, slice_of("billing"), good, "specs/a_spec.lua", LUA_NOREF,
                                    &loaded.fault),
                     0);
    assert_int_equal(vm_call(loaded.vm, 0, 1, &loaded.fault), 0);
    assert_string_equal(lua_tostring(lua, -1), "a");
    lua_pop(lua, 1);
    struct slice bad = slice_of("local x = 1\nreturn BilCreated { }");
    assert_int_equal(
        loader_compile(loaded.loader, slice_of("billing"), bad, "specs/a_spec.lua", LUA_NOREF, &loaded.fault),
        -1);
    assert_string_equal(
        loaded.fault.text,
        "specs/a_spec.lua:2: the global 'BilCreated' does not exist: did you mean BillCreated?");
    assert_int_equal(loader_compile(loaded.loader, slice_of(""), slice_of("return type(1)"), "=repl",
                                    LUA_NOREF, &loaded.fault),
                     0);
    lua_settop(lua, 0);
    unload_scripts(&loaded);
}

static void the_description_is_whole(void **state)
{
    struct loaded loaded;
    load_good(&loaded, scripts);
    struct buf json = {0};
    loader_describe(loaded.loader, &json);
    buf_put_byte(&json, 0);
    assert_non_null(
        strstr(json.data,
               "{\"contexts\":[\"billing\",\"security\"],\"contracts\":[{\"context\":\"billing\",\"name\":"
               "\"BillClosed\",\"kind\":\"event\",\"version\":2,\"fields\":[{\"name\":\"customer\",\"type\":"
               "\"string\",\"optional\":false,\"pii\":false,\"form\":{\"kind\":\"string\"}},"));
    assert_non_null(strstr(json.data, "\"upcasters\":[{\"version\":1,\"path\":\"billing/"));
    assert_non_null(strstr(
        json.data,
        "\"handlers\":[{\"context\":\"billing\",\"message\":\"CloseBill\",\"path\":\"billing/bill.lua\","
        "\"line\":"));
    assert_non_null(strstr(
        json.data, "\"aggregates\":[{\"name\":\"billing/bill\",\"commands\":[\"CloseBill\",\"CreateBill\"],"
                   "\"events\":[\"BillClosed\",\"BillCreated\"],\"code\":\""));
    assert_non_null(strstr(
        json.data,
        "{\"name\":\"billing/totals\",\"key\":\"free\",\"indexes\":[],\"events\":[\"billing.BillClosed\"]"));
    buf_release(&json);
    unload_scripts(&loaded);
}

static void decimals_compared_with_numbers_are_warned_of(void **state)
{
    static const char *const paid[] = {"a/a.lua",
                                       "contracts [[ Paid! (amount: decimal, count: integer) ]]\n"
                                       "local v = projection 'v' { initial = { sum = decimal '0', n = 0 } }\n"
                                       "function v.when.Paid(view, e)\n"
                                       "  if e.amount == 0 then return end\n"
                                       "  if e.count == 0 or view.n == 0 then return end\n"
                                       "  if 0 ~= view.sum then return end\n"
                                       "  local d, n = decimal '1', decimal('2'):is_zero()\n"
                                       "  return d == 1, n == 1, e.amount == decimal(0), -e.amount == -1\n"
                                       "end\n",
                                       NULL};
    struct loaded loaded;
    load_good(&loaded, paid);
    struct slice warnings = loader_warnings(loaded.loader);
    char text[2000];
    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(warnings));
    assert_string_equal(text, "scripts/a/a.lua:4: amount is a decimal, and a decimal never equals a number: "
                              "compare with decimal(…) or use :is_zero()\n"
                              "scripts/a/a.lua:6: sum is a decimal, and a decimal never equals a number: "
                              "compare with decimal(…) or use :is_zero()\n"
                              "scripts/a/a.lua:8: amount is a decimal, and a decimal never equals a number: "
                              "compare with decimal(…) or use :is_zero()\n"
                              "scripts/a/a.lua:8: d == a number is always false for a decimal: write d == "
                              "decimal(…) or d:is_zero()\n");
    unload_scripts(&loaded);
}

static void what_does_nothing_is_warned_of(void **state)
{
    static const char *const idle[] = {"a/a.lua",
                                       "contracts [[ Posted! ]]\n"
                                       "local r, s = receptor 'r', service 's'\n"
                                       "local full = receptor 'full'\n"
                                       "function full.when.Posted() end\n",
                                       NULL};
    struct loaded loaded;
    load_good(&loaded, idle);
    char text[500];
    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(loader_warnings(loaded.loader)));
    assert_string_equal(text, "scripts/a/a.lua:2: receptor \"r\": without handlers it does nothing\n"
                              "scripts/a/a.lua:2: service \"s\": without handlers it does nothing\n");
    unload_scripts(&loaded);
}

static void nothing_loads_from_nothing(void **state)
{
    static const char *const none[] = {NULL};
    struct loaded loaded;
    load_good(&loaded, none);
    assert_int_equal(loader_aggregate_count(loaded.loader), 0);
    assert_int_equal(loader_hub_options(loaded.loader).size, 1);
    unload_scripts(&loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_declared_is_handed_out),
        cmocka_unit_test(projections_know_their_keys_and_events),
        cmocka_unit_test(a_handler_reaches_its_modules),
        cmocka_unit_test(imports_load_on_demand),
        cmocka_unit_test(an_import_declares_nothing),
        cmocka_unit_test(a_text_compiles_in_a_context),
        cmocka_unit_test(the_description_is_whole),
        cmocka_unit_test(decimals_compared_with_numbers_are_warned_of),
        cmocka_unit_test(what_does_nothing_is_warned_of),
        cmocka_unit_test(nothing_loads_from_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

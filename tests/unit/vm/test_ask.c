/* Questions of a session: values as JSON, globals that stay, what ends them, and a reference that has all. */
#include "domain_support.h"

#include <pthread.h>

#include "codec/mp.h"
#include "failing_memory.h"
#include "vm/ask_core.h"
#include "vm/readonly.h"
#include "vm/seek_source.h"

static const char contracts[] = "contracts [[\n"
                                "  CloseBill? (close_date: time, note: string?)\n"
                                "  BillClosed! (close_date: time)\n"
                                "]]\n";
static const char bill[] =
    "local bill = aggregate 'bill' { initial = { n = 0 } }\n"
    "function bill.apply.BillClosed(s, e) s.n = s.n + 1 end\n"
    "function bill.execute.CloseBill(s, c) return BillClosed { close_date = c.close_date } end\n";
static const char bills[] = "local bills = projection 'bills' { index = { 'n' } }\n"
                            "function bills.when.BillClosed(v, e) v.n = 1 end\n";
static const char twice[] =
    "local twice = projection 'twice' function twice.when.BillClosed(v, e) v.n = 1 end\n";
static const char other_contracts[] = "contracts [[ BillClosed! ]]";
static const char *const scripts[] = {"billing/contracts.lua",
                                      contracts,
                                      "billing/bill.lua",
                                      bill,
                                      "billing/bills.lua",
                                      bills,
                                      "billing/twice.lua",
                                      twice,
                                      "other/twice.lua",
                                      twice,
                                      "other/contracts.lua",
                                      other_contracts,
                                      "list/contracts.lua",
                                      "contracts [[ X! ]]",
                                      NULL};

static struct {
    struct domain *domain;
    struct ask *ask;
    struct ask_host host;
    struct buf told, value;
    atomic_bool cancelled;
    struct fault fails; /* what the host answers */
    int states;
    char tenant[64];
    bool cancels; /* from inside the host */
} test;

static int host_state(void *user, int aggregate, struct slice id, struct slice moment, uint64_t *version,
                      uint64_t *position, struct buf *state, struct fault *fault)
{
    test.states++;
    if (test.cancels) atomic_store(&test.cancelled, true);
    if (test.fails.code) {
        *fault = test.fails;
        return -1;
    }
    if (slice_is(id, "never")) return 0;
    *version = moment.size ? 1 : 3;
    *position = 12;
    buf_put_slice(state, mp_of("{'n':3}"));
    return 0;
}

static int host_view_get(void *user, struct slice view, struct slice key, struct buf *document,
                         struct fault *fault)
{
    if (slice_is(key, "none")) return 0;
    buf_put_slice(document, mp_of("{'n':1}"));
    return 1;
}

/* Documents 0 … 4, two in a page. */
static int host_view_range(void *user, struct slice view, struct slice index, struct slice min,
                           struct slice max, struct buf *cursor, size_t limit, struct buf *pairs,
                           struct fault *fault)
{
    int at = cursor->size ? cursor->data[0] - '0' : 0;
    for (int left = 2; left && at < 5; left--, at++) {
        char key[2] = {(char)('0' + at), 0};
        mp_put_text(pairs, slice_of(key));
        buf_put_slice(pairs, mp_of("{'n':1}"));
    }
    buf_clear(cursor);
    buf_put_byte(cursor, (uint8_t)('0' + at));
    return at < 5;
}

static int host_view_count(void *user, struct slice view, struct slice index, struct slice min,
                           struct slice max, uint64_t *count, struct fault *fault)
{
    *count = 5;
    return 0;
}

static int64_t host_now_ms(void *user)
{
    return 1767225600000;
}

static int host_set_tenant(void *user, struct slice tenant, struct fault *fault)
{
    if (slice_is(tenant, "none")) return fault_set(fault, FAULT_NOT_FOUND, "no tenant none");
    snprintf(test.tenant, sizeof test.tenant, "%.*s", SLICE_ARGS(tenant));
    return 0;
}

static struct slice host_tenant(void *user)
{
    return slice_of(test.tenant);
}

static int host_texts(struct buf *out, size_t limit)
{
    mp_put_text(out, slice_of("7"));
    mp_put_text(out, slice_of("71"));
    return limit < 2 ? -1 : 0;
}

static int host_ids(void *user, int aggregate, struct slice prefix, size_t limit, struct buf *ids,
                    struct fault *fault)
{
    return host_texts(ids, limit);
}

static int host_keys(void *user, struct slice view, struct slice prefix, size_t limit, struct buf *keys,
                     struct fault *fault)
{
    return host_texts(keys, limit);
}

static struct slice host_log_name(void *user, uint32_t at)
{
    static const char *const names[] = {"main", "billing/bill", "old/thing", "OldEvent", "$Sent"};
    return at <= sizeof names / sizeof *names ? slice_of(names[at - 1]) : SLICE_NONE;
}

static int host_tell(void *user, struct slice line, struct fault *fault)
{
    if (atomic_load(&test.cancelled)) return fault_set(fault, FAULT_CANCELLED, "cancelled");
    buf_put_slice(&test.told, line);
    buf_put_byte(&test.told, '\n');
    return 0;
}

/* Queries have tests of their own: here they are only there. */
static const struct seek_source no_events;

static void open_ask(size_t memory_max, size_t value_size_max)
{
    test.host = (struct ask_host){.state = host_state,
                                  .view_get = host_view_get,
                                  .view_range = host_view_range,
                                  .view_count = host_view_count,
                                  .now_ms = host_now_ms,
                                  .set_tenant = host_set_tenant,
                                  .tenant = host_tenant,
                                  .ids = host_ids,
                                  .keys = host_keys,
                                  .log_name = host_log_name,
                                  .events = &no_events,
                                  .tell = host_tell};
    test.domain = open_domain_with((struct domain_options){.memory_max = memory_max}, scripts);
    struct ask_options options = {.domain = test.domain,
                                  .host = &test.host,
                                  .cancelled = &test.cancelled,
                                  .seconds = 60,
                                  .value_size_max = value_size_max};
    assert_int_equal(ask_open(&options, &test.ask, &test_fault), 0);
}

static int open_usual(void **state)
{
    vm_watchdog_start();
    memset(&test, 0, sizeof test);
    open_ask(0, 0);
    return 0;
}

static int close_usual(void **state)
{
    assert_int_equal(lua_gettop(test.domain->vm->lua), 0);
    ask_close(test.ask);
    close_domain(test.domain);
    buf_release(&test.told);
    buf_release(&test.value);
    vm_watchdog_stop();
    return 0;
}

static enum ask_end run(const char *source)
{
    buf_clear(&test.told);
    buf_clear(&test.value);
    enum ask_end end = ask_evaluate(test.ask, slice_of(source), 2, &test.value, &test_fault);
    buf_put_byte(&test.told, 0);
    buf_put_byte(&test.value, 0);
    return end;
}

static void assert_value(const char *source, const char *json)
{
    if (run(source) != ASK_VALUE) fail_msg("%s: %s", source, test_fault.text);
    if (strcmp(test.value.data, json) != 0) fail_msg("%s: %s, expected %s", source, test.value.data, json);
}

static void assert_fails(const char *source, enum fault_code code, const char *text)
{
    assert_int_equal(run(source), ASK_FAILED);
    if (test_fault.code != code) fail_msg("%s: %s %s", source, fault_name(test_fault.code), test_fault.text);
    assert_text_has(test_fault.text, text);
}

static void values(void **state)
{
    assert_value("1 + 1", "2");
    assert_value("return 1.5", "1.5");
    assert_value("nil", "null");
    assert_value("1, nil, 'a'", "[1,null,\"a\"]");
    assert_value("'a\\\"\\n\\0'", "\"a\\\"\\n\\u0000\"");
    assert_value("'\\xff\\xe2\\x82'", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_value("{b = 1, a = {list {}, {}}, [3] = 0, [1.5] = 0, [true] = 0}",
                 "{\"1.5\":0,\"3\":0,\"a\":[[],{}],\"b\":1,\"true\":0}");
    assert_value("math.huge, -math.huge, 0/0", "[\"inf\",\"-inf\",\"nan\"]");
    assert_value("decimal '1.20', days(1), print", "[\"1.20\",\"1d\",\"function\"]");
    assert_value("local t = {} t.t = t t.u = {{t}} return t",
                 "{\"t\":\"… itself, 1 above\",\"u\":[[\"… itself, 3 above\"]]}");
    assert_value("local shared = {1} return {shared, shared}", "[[1],[1]]");
    assert_value("CloseBill { close_date = now() }",
                 "{\"type\":\"CloseBill\",\"data\":{\"close_date\":\"2026-01-01T00:00:00.000Z\"}}");
    assert_value(
        "setmetatable({x = 1}, {__index = error, __pairs = error, __tostring = error, __len = error})",
        "{\"x\":1}");
}

static void large_values_are_cut(void **state)
{
    ask_close(test.ask);
    close_domain(test.domain);
    open_ask(0, 100);
    run("local t = {} for i = 1, 1000 do t[i] = 'abcdefghij' end return t");
    assert_text_has(test.value.data, "\"… 992 more\"]");
    run("local t = {} for i = 1, 1000 do t['k' .. i] = 'abcdefghij' end return t");
    assert_text_has(test.value.data, "\"…\":\"");
    run("local t = {} for i = 1, 200 do t = {t} end return t");
    assert_text_has(test.value.data, "… deeper than 100");
    run("('x'):rep(2 * 1024 * 1024)");
    assert_text_has(test.value.data, "… 1048576 bytes more\"");
    /* However often a table is inside itself in other ways, no more than the bound comes out. */
    run("local t = {} for i = 1, 60 do t = {t, t} end return t");
    assert_true(test.value.size < 4096);
}

static void globals_stay(void **state)
{
    assert_int_equal(run("x = 5 function f() return x + 1 end"), ASK_NONE);
    assert_value("f()", "6");
    assert_value("it", "6");
    assert_int_equal(run("local x = 7"), ASK_NONE);
    assert_value("x, _ENV.x", "[5,5]");
    assert_int_equal(run("billing = 1"), ASK_NONE);
    assert_value("billing", "1");
    assert_int_equal(run("billing = nil"), ASK_NONE);
    assert_value("billing.bill 'never'", "{\"position\":0,\"stream\":\"billing/bill/never\",\"version\":0}");
}

static void sources_that_end_early(void **state)
{
    static const char *const incomplete[] = {"x =",  "for i = 1, 2 do", "(",  "[[",
                                             "--[[", "function f()",    "1 +"};
    static const char *const none[] = {"", ";", "-- x", "\n"};
    for (size_t at = 0; at < sizeof incomplete / sizeof *incomplete; at++)
        assert_int_equal(run(incomplete[at]), ASK_INCOMPLETE);
    for (size_t at = 0; at < sizeof none / sizeof *none; at++) assert_int_equal(run(none[at]), ASK_NONE);
    assert_fails("x = = 1", FAULT_SCRIPT, "repl:1: unexpected symbol near '='");
    assert_fails("\n\n1 1", FAULT_SCRIPT, "repl:3:");
    assert_fails("'abc", FAULT_SCRIPT, "unfinished string");
    /* Of both readings the error of the one that got further. */
    assert_fails("{1,2\n3}", FAULT_SCRIPT, "repl:2: '}' expected (to close '{' at line 1) near '3'");
    assert_fails("{1,2 3}", FAULT_SCRIPT, "repl:1: '}' expected near '3'");
    assert_fails("= 1+1", FAULT_SCRIPT, "repl:1: unexpected symbol near '='");
    assert_fails("x = 1 y = {1 2}", FAULT_SCRIPT, "repl:1: '}' expected near '2'");
    assert_fails("x = 1\ny = = 2", FAULT_SCRIPT, "repl:2: unexpected symbol near '='");
    assert_fails("\x1bLua", FAULT_SCRIPT, "");
}

static void words(void **state)
{
    assert_value("billing.bill '7'",
                 "{\"position\":12,\"state\":{\"n\":3},\"stream\":\"billing/bill/7\",\"version\":3}");
    assert_value("billing.bill(7):at('2026').version", "1");
    assert_value("views.bills 'x', views.billing.bills:get(7), views.bills 'none'",
                 "[{\"n\":1},{\"n\":1},null]");
    assert_value("views.bills:count(), views.bills:range('n', 1, 2):count()", "[5,5]");
    assert_value("local keys = {} for key in views.bills:all() do keys[#keys + 1] = key end return keys",
                 "[\"0\",\"1\",\"2\",\"3\",\"4\"]");
    assert_value("views.billing.twice, views.other.twice, pcall(function() return views.twice end)",
                 "[\"view billing/twice\",\"view other/twice\",false,\"repl:1: views has no twice\"]");
    assert_value("tenant 'acme', tenant()", "[\"acme\",\"acme\"]");
    assert_value("now() + days(1)", "\"2026-01-02T00:00:00.000Z\"");
    assert_value("BillClosed, CloseBill, other.BillClosed",
                 "[null,\"function\",\"function\"]");                     /* of two contexts */
    assert_value("list, contexts.list.X", "[\"function\",\"function\"]"); /* a word wins */
    assert_int_equal(run("print(1, {}, nil, 'a') print()"), ASK_NONE);
    assert_string_equal(test.told.data, "{\"print\":\"1 {} nil a\"}\n{\"print\":\"\"}\n");
    assert_int_equal(run("views.bills:all()"), ASK_NONE);
    assert_string_equal(test.told.data,
                        "{\"row\":{\"key\":\"0\",\"document\":{\"n\":1}}}\n"
                        "{\"row\":{\"key\":\"1\",\"document\":{\"n\":1}}}\n{\"more\":true}\n");
}

/* What neither the contracts nor the log have is a slip, and no query that finds nothing. */
static void names_that_nothing_has(void **state)
{
    static const char *const known[] = {
        "type = 'BillClosed'",    "type = 'billing.BillClosed'", "types = {'OldEvent', '$Sent', 'X'}",
        "type = 'old.OldEvent'",  "context = 'billing'",         "context = 'old'",
        "aggregate = 'bill'",     "aggregate = 'billing/bill'",  "aggregate = 'thing'",
        "aggregate = 'old/thing'"};
    static const char *const refused[][2] = {
        {"events { type = 'BillClosedd' }", "repl:1: no event BillClosedd: did you mean BillClosed?"},
        {"events { types = { 'BillClosed', 'billing.BillClsed' } }",
         "no event billing.BillClsed: did you mean BillClosed?"},
        {"events { type = 'biling.BillClosed' }", "no context biling: did you mean billing?"},
        {"events { type = 'CloseBill' }", "no event CloseBill"},
        {"events { context = 'biling' }", "no context biling: did you mean billing?"},
        {"events { aggregate = 'bil' }", "no aggregate bil: did you mean bill?"},
        {"events { aggregate = 'billing/bll' }", "no aggregate billing/bll: did you mean billing/bill?"},
        {"events { aggregate = 'old' }", "no aggregate old"},
        {"events {}:sum 'close_dat'", "sum: no event has a field close_dat: did you mean close_date?"},
        {"events {}:where 'data.closedate'",
         "where: no event has a field closedate: did you mean close_date?"},
        {"events {}:sort('x.y')", "sort: no event has a field x"},
        {"events {}:group('close_dte')", "group: no event has a field close_dte"},
        {"events {}:group('type'):avg 'close_dte'", "avg: no event has"},
        {"events {}:top(3, 'close_dte')", "top: no event has"},
        {"events {}:quantile(0.5, 'close_dte')", "quantile: no event has"},
        {"events {}:distinct 'close_dte'", "distinct: no event has"},
        {"events {}:map 'close_dte'", "map: no event has"}};
    static const char *const fields[] = {":where 'type'",
                                         ":group 'month'",
                                         ":where 'data.close_date'",
                                         ":where 'close_date.x'",
                                         ":where 'data'",
                                         ":map(function(e) return {x = 1} end):where 'x'",
                                         ":join(views.bills):where 'bills.n'"};
    char source[256];
    for (size_t at = 0; at < sizeof known / sizeof *known; at++) {
        snprintf(source, sizeof source, "tostring(events { %s })", known[at]);
        assert_value(source, "\"a query of events\"");
    }
    for (size_t at = 0; at < sizeof refused / sizeof *refused; at++)
        assert_fails(refused[at][0], FAULT_SCRIPT, refused[at][1]);
    for (size_t at = 0; at < sizeof fields / sizeof *fields; at++) {
        snprintf(source, sizeof source, "tostring(events {}%s)", fields[at]);
        assert_value(source, "\"a query of events\"");
    }
    /* What fields an event had that the contracts do not have any more is not known. */
    assert_value("tostring(events { type = 'OldEvent' }:where 'close_dte')", "\"a query of events\"");
}

/* What is called or indexed and not there: the nearest that is. */
static void what_was_meant(void **state)
{
    assert_fails("CloseBil {}", FAULT_SCRIPT, "(global 'CloseBil'): did you mean CloseBill?");
    assert_fails("bill '7'", FAULT_SCRIPT, "(global 'bill'): did you mean billing.bill?");
    assert_fails("biling.bill '7'", FAULT_SCRIPT, "(global 'biling'): did you mean billing?");
    assert_fails("BillClosed {}", FAULT_SCRIPT,
                 "did you mean billing.BillClosed?"); /* or other's: of two contexts */
    assert_fails("bills '7'", FAULT_SCRIPT, "did you mean views.bills?");
    assert_fails("my_own = print my_ownn()", FAULT_SCRIPT, "did you mean my_own?");
    assert_fails("prin 'x'", FAULT_SCRIPT, "did you mean print?");
    assert_fails("nothing_like_it()", FAULT_SCRIPT, "(global 'nothing_like_it')");
    assert_null(strstr(test_fault.text, "did you mean"));
    assert_fails("local x x()", FAULT_SCRIPT, "(local 'x')");
    assert_fails("events {}:grup 'x'", FAULT_SCRIPT, "query has no grup: did you mean group?");
    assert_fails("views.bills:cuont()", FAULT_SCRIPT, "view has no cuont: did you mean count?");
    assert_fails("views.bills:all():lisst()", FAULT_SCRIPT, "documents has no lisst: did you mean list?");
    assert_value("billing.bill('never').state", "null");
}

static void faults_of_the_host(void **state)
{
    fault_set(&test.fails, FAULT_CORRUPT, "the log is damaged");
    assert_fails("billing.bill '7'", FAULT_CORRUPT, "repl:1: the log is damaged");
    assert_value("pcall(billing.bill, '7')", "[false,\"repl:1: the log is damaged\"]");
    assert_fails("tenant 'none'", FAULT_NOT_FOUND, "no tenant none");
}

/* Nobody waits any more: it is over at once, whatever the question does about it. */
static void cancelled(void **state)
{
    test.cancels = true;
    static const char *const sources[] = {
        "while true do billing.bill '7' end",
        "while true do pcall(billing.bill, '7') end",
        "billing.bill '7' print 'x'",
        "billing.bill '7' pcall(print, 1) return 1",
        "billing.bill '7' while true do pcall(print, 1) end",
        "local t <close> = setmetatable({}, {__close = function() while true do end end}) billing.bill '7' "
        "print(1)",
        "billing.bill '7' ; (('a'):rep(1000000)):find(('a*'):rep(50) .. 'b')"};
    for (size_t at = 0; at < sizeof sources / sizeof *sources; at++) {
        atomic_store(&test.cancelled, false);
        assert_fails(sources[at], FAULT_CANCELLED, "cancelled");
    }
    atomic_store(&test.cancelled, false);
    assert_value("1", "1");
}

static void time_is_up(void **state)
{
    test.ask->seconds = 0;
    assert_fails("while true do end", FAULT_BUDGET, "repl:1: stopped after 0 s");
    assert_fails("pcall(function() while true do end end)", FAULT_BUDGET, "stopped after 0 s");
    test.ask->seconds = 60;
    /* No count of instructions and no sum of bytes ends it. */
    assert_value("local n = 0 for i = 1, 3e7 do n = n + 1 end return n", "30000000");
    assert_value("local n = 0 for i = 1, 3e5 do n = n + #(('x'):rep(1000) .. i) end return n > 3e8", "true");
}

static void memory(void **state)
{
    ask_close(test.ask);
    close_domain(test.domain);
    open_ask(16 << 20, 0);
    assert_int_equal(run("kept = 1"), ASK_NONE);
    assert_fails("('x'):rep(1e8)", FAULT_BUDGET, "the Lua state needs more than its 16 MiB");
    assert_fails("local t = {} for i = 1, 1e9 do t[i] = i end", FAULT_BUDGET, "16 MiB");
    assert_value("kept", "1");
    /* What takes all of it is let go, or not even `t = nil` could be compiled. */
    assert_fails("t = {} while true do t = {t} end", FAULT_BUDGET, "16 MiB");
    assert_text_has(test.told.data, "the variables of this session are gone");
    assert_value("kept, t", "[null,null]");
}

/* Whatever allocation fails, there is a fault, and the state is good for the next question. */
static void failing_allocations(void **state)
{
    static const char source[] = "x = billing.bill('7'):at(3) y = views.bills:all():list() print(x.stream) "
                                 "return x, y, {list {}, z = 1}, "
                                 "decimal '1.2', CloseBill { close_date = now() }, tenant 'a'";
    bool done = false;
    long count = 0;
    for (; !done; count++) {
        fail_after(test.domain->vm, count);
        enum ask_end end = run(source);
        fail_no_more(test.domain->vm);
        done = !failing.failed;
        if (end == ASK_FAILED && test_fault.code != FAULT_BUDGET) fail_msg("%ld: %s", count, test_fault.text);
        if (done) assert_int_equal(end, ASK_VALUE);
        assert_value("1 + 1", "2");
    }
    assert_true(count > 100);
}

static void hostile(void **state)
{
    static const char *const refused[] = {"billing.x = 1",
                                          "rawset(billing, 'x', 1)",
                                          "billing.bill.x = 1",
                                          "setmetatable(billing, nil)",
                                          "views.billing.x = 1",
                                          "rawset(_ENV, 'x', 1)",
                                          "setmetatable(_ENV, {})",
                                          "string.sub = nil",
                                          "getmetatable('').__index = nil",
                                          "billing.bill 'a/b'",
                                          "billing.bill('7').at({}, 1)",
                                          "billing.bill('7').at({stream = 'no/such/thing'}, 1)",
                                          "billing.bill('7').at({stream = 7}, 1)",
                                          "views.bills.get({}, 1)",
                                          "views.bills:all().list(views.bills)",
                                          "views.bills:range()",
                                          "views.bills:range('x')",
                                          "views.bills:range('n', print)",
                                          "table.insert(contexts, 1)",
                                          "error()",
                                          "error(nil)",
                                          "error(setmetatable({}, {__tostring = function() return 1 end}))"};
    for (size_t at = 0; at < sizeof refused / sizeof *refused; at++)
        if (run(refused[at]) != ASK_FAILED) fail_msg("%s", refused[at]);
    static const char *const absent[] = {
        "_G",   "load",    "loadstring", "dofile",      "require",        "os",
        "io",   "debug",   "package",    "coroutine",   "collectgarbage", "string.dump",
        "emit", "publish", "reject",     "aggregate",   "http",           "clock",
        "env",  "upcast",  "cancel",     "math.random", "retry"};
    for (size_t at = 0; at < sizeof absent / sizeof *absent; at++) assert_value(absent[at], "null");
    assert_value("getmetatable(_ENV), getmetatable(billing), getmetatable(billing.bill), "
                 "getmetatable(billing.bill '7'), "
                 "getmetatable(views.bills:all()), getmetatable('')",
                 "[false,false,false,false,false,false]");
    assert_fails("function f() return 1 + f() end f()", FAULT_SCRIPT, "stack overflow");
    run("string, tostring, pairs, error, pcall, type, print = nil");
    assert_value("billing.bill('7').state.n", "3");
}

/* --- the reference --- */

static void assert_help(const char *name)
{
    struct buf text = {0};
    if (ask_help(test.ask, slice_of(name), &text, &test_fault) < 0) fail_msg("%s: %s", name, test_fault.text);
    assert_true(text.size > strlen(name));
    buf_release(&text);
}

static size_t walked;

/* Every function in the table on top of the stack, and in the tables in it. */
static void walk(lua_State *lua, const char *path)
{
    char name[256];
    if (readonly_push_target(lua, -1)) lua_replace(lua, -2);
    int table = lua_gettop(lua);
    for (lua_pushnil(lua); lua_next(lua, table); lua_pop(lua, 1)) {
        if (lua_type(lua, -2) != LUA_TSTRING) continue;
        const char *key = lua_tostring(lua, -2);
        snprintf(name, sizeof name, "%s%s", path, key);
        bool is_called = lua_type(lua, -1) == LUA_TFUNCTION;
        if (luaL_getmetafield(lua, -1, "__call") != LUA_TNIL) {
            is_called = true;
            lua_pop(lua, 1);
        }
        walked += is_called;
        if (is_called) assert_help(name);
        if (lua_type(lua, -1) == LUA_TTABLE && strcmp(name, "contexts") != 0) {
            snprintf(name, sizeof name, "%s%s.", path, key);
            lua_pushvalue(lua, -1);
            walk(lua, name);
            lua_pop(lua, 1);
        }
    }
}

static void walk_methods(const char *kind)
{
    lua_State *lua = test.domain->vm->lua;
    char name[128];
    assert_int_equal(luaL_getmetatable(lua, kind), LUA_TTABLE);
    lua_getfield(lua, -1, "__index");
    for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1)) {
        snprintf(name, sizeof name, "%s:%s", kind, lua_tostring(lua, -2));
        assert_help(name);
        walked++;
    }
    lua_pop(lua, 2);
}

static void all_that_can_be_called_has_help(void **state)
{
    lua_State *lua = test.domain->vm->lua;
    const int tables[] = {test.ask->words_ref, test.domain->vm->script_env};
    assert_int_equal(run("views.bills:all():list() return billing.bill '7'"),
                     ASK_VALUE); /* each kind is there once */
    for (size_t at = 0; at < 2; at++) {
        lua_rawgeti(lua, LUA_REGISTRYINDEX, tables[at]);
        walk(lua, "");
        lua_pop(lua, 1);
    }
    static const char *const kinds[] = {"stream", "view", "documents", "query"};
    for (size_t at = 0; at < sizeof kinds / sizeof *kinds; at++) walk_methods(kinds[at]);
    const enum vm_meta metas[] = {VM_META_DECIMAL, VM_META_DURATION};
    for (size_t at = 0; at < 2; at++) {
        vm_push_meta(lua, metas[at]);
        lua_getfield(lua, -1, "__name");
        lua_getfield(lua, -2, "__index");
        for (lua_pushnil(lua); lua_next(lua, -2); lua_pop(lua, 1), walked++) {
            char name[128];
            snprintf(name, sizeof name, "%s:%s", lua_tostring(lua, -4), lua_tostring(lua, -2));
            assert_help(name);
        }
        lua_pop(lua, 3);
    }
    assert_true(walked > 90);
    struct buf text = {0};
    assert_int_equal(ask_help(test.ask, slice_of("nosuchword"), &text, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_MALFORMED);
}

/* And what has help is there: each function of a library that the reference names. */
static void all_that_has_help_is_there(void **state)
{
    struct buf text = {0};
    char name[64];
    size_t count = 0;
    assert_int_equal(ask_help(test.ask, SLICE_NONE, &text, &test_fault), 0);
    buf_put_byte(&text, 0);
    for (const char *line = text.data; line && *line;
         line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (line[0] != ' ' || sscanf(line, "  %63[a-z0-9_.]", name) != 1 || line[2 + strlen(name)] == ':')
            continue;
        static const char *const kinds[] = {"aggregate", "message", "view",   "documents",
                                            "query",     "it",      "views.", "contexts."};
        bool is_kind = false;
        for (size_t at = 0; at < sizeof kinds / sizeof *kinds; at++)
            is_kind = is_kind || strcmp(name, kinds[at]) == 0;
        if (is_kind) continue;
        char source[256];
        snprintf(source, sizeof source, "type(%s) == 'function' or type(%s) == 'table'", name, name);
        assert_value(source, "true");
        count++;
    }
    assert_true(count > 70);
    buf_release(&text);
}

static void assert_completes(const char *text, const char *members)
{
    struct buf out = {0};
    if (ask_complete(test.ask, slice_of(text), &out, &test_fault) < 0)
        fail_msg("%s: %s", text, test_fault.text);
    buf_put_byte(&out, 0);
    if (strcmp(out.data, members) != 0) fail_msg("%s: %s, expected %s", text, out.data, members);
    buf_release(&out);
}

static void completion(void **state)
{
    run("value = { state = { customer = 'a', closed = 1 }, [1] = 2, f = function() end } calls = 0 "
        "trap = setmetatable({}, {__index = function() calls = calls + 1 end, __pairs = error, __len = "
        "error})");
    assert_completes("bil", "\"from\":0,\"candidates\":[\"billing\"],\"more\":false");
    assert_completes("x = billing.b", "\"from\":12,\"candidates\":[\"bill\"],\"more\":false");
    assert_completes("billing.bill \"7", "\"from\":14,\"candidates\":[\"7\",\"71\"],\"more\":false");
    assert_completes("billing.bill('71", "\"from\":14,\"candidates\":[\"71\"],\"more\":false");
    assert_completes("views.bills:get \"", "\"from\":17,\"candidates\":[\"7\",\"71\"],\"more\":false");
    assert_completes("views.bills:range '", "\"from\":19,\"candidates\":[\"n\"],\"more\":false");
    assert_completes("CloseBill { no", "\"from\":12,\"candidates\":[\"note\"],\"more\":false");
    assert_completes("CloseBill { note = ", "\"from\":19,\"candidates\":[],\"more\":false");
    assert_completes("value.state.c", "\"from\":12,\"candidates\":[\"closed\",\"customer\"],\"more\":false");
    assert_completes("value:", "\"from\":6,\"candidates\":[\"f\"],\"more\":false");
    assert_completes("views.bills:all():",
                     "\"from\":18,\"candidates\":[\"count\",\"list\",\"plot\",\"save\"],\"more\":false");
    assert_completes("(decimal '1'):ro", "\"from\":14,\"candidates\":[\"round\"],\"more\":false");
    assert_completes("decimal('1'):round(2):s", "\"from\":22,\"candidates\":[\"sign\"],\"more\":false");
    assert_completes("nothing.x.y", "\"from\":10,\"candidates\":[],\"more\":false");
    assert_completes("trap.x", "\"from\":5,\"candidates\":[],\"more\":false");
    assert_completes("trap.x.y:", "\"from\":9,\"candidates\":[],\"more\":false");
    assert_value("calls", "0");
    static const char *const odd[] = {"",         "\"", "'",  "{", "}", ")))",      "(((", "\\",
                                      "\xff\xfe", "..", "::", ":", ".", "a.b:c(d[", "[[",  "--"};
    for (size_t at = 0; at < sizeof odd / sizeof *odd; at++) {
        struct buf out = {0};
        assert_int_equal(ask_complete(test.ask, slice_of(odd[at]), &out, &test_fault), 0);
        buf_release(&out);
    }
}

/* --- at random --- */

enum { QUESTIONS = 5000, WORDS_MAX = 14 };

static uint64_t drawn;

static size_t draw(size_t count)
{
    drawn = drawn * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(drawn >> 33) % count;
}

static void assert_json(const struct buf *text)
{
    struct buf bytes = {0};
    struct fault fault;
    /* Not all JSON is in our form of it: two keys may read the same, a value may be deeper. */
    if (json_to_mp(slice_make(text->data, text->size - 1), &bytes, &fault) < 0 &&
        !strstr(fault.text, "twice") && !strstr(fault.text, "deep"))
        fail_msg("%s: %s", fault.text, text->data);
    buf_release(&bytes);
}

/* Whatever is asked: an answer in JSON or a fault, and the state is good for the next one. */
static void anything(void **state)
{
    static const char *const words_of[] = {"x",
                                           "it",
                                           "t",
                                           "=",
                                           "(",
                                           ")",
                                           "{",
                                           "}",
                                           "[",
                                           "]",
                                           ",",
                                           ".",
                                           ":",
                                           "..",
                                           "#",
                                           "-",
                                           "+",
                                           "/",
                                           "//",
                                           "==",
                                           "and",
                                           "not",
                                           "function()",
                                           "end",
                                           "return",
                                           "local",
                                           "for k, v in",
                                           "pairs",
                                           "do",
                                           "while true do",
                                           "if x then",
                                           "pcall(",
                                           "error(",
                                           "billing.bill '7'",
                                           "billing",
                                           ".bill",
                                           "contexts",
                                           "views.bills",
                                           ":all()",
                                           ":list()",
                                           ":get(1)",
                                           ":range('n')",
                                           ":count()",
                                           ":at(1)",
                                           "setmetatable(",
                                           "getmetatable(",
                                           "rawset(",
                                           "rawget(",
                                           "__index",
                                           "__tostring",
                                           "__call",
                                           "_ENV",
                                           "CloseBill",
                                           "{ close_date = now() }",
                                           "decimal '1.5'",
                                           "days(1)",
                                           "now()",
                                           "print(",
                                           "tostring(",
                                           "string.rep(",
                                           "'a'",
                                           "'\\xff'",
                                           "0",
                                           "1",
                                           "-1",
                                           "1e308",
                                           "0/0",
                                           "2^53",
                                           "nil",
                                           "true",
                                           "tenant",
                                           "list {}",
                                           "table.sort(",
                                           "string.format(",
                                           "'%q'",
                                           "select(",
                                           "next(",
                                           "\n",
                                           ";",
                                           "--",
                                           "[[",
                                           "\"",
                                           "goto x",
                                           "::x::",
                                           "<close>",
                                           "coroutine",
                                           "\xff",
                                           "\x1b"};
    size_t values = 0;
    test.ask->seconds = 0; /* one that goes on ends at the next look of the watchdog */
    for (int at = 0; at < QUESTIONS; at++) {
        struct buf source = {0}, members = {0};
        for (size_t left = 1 + draw(WORDS_MAX); left; left--) {
            buf_put_text(&source, words_of[draw(sizeof words_of / sizeof *words_of)]);
            if (draw(2)) buf_put_byte(&source, ' ');
        }
        buf_put_byte(&source, 0);
        if (run(source.data) == ASK_VALUE) {
            assert_json(&test.value);
            values++;
        }
        buf_put_byte(&members, '{');
        if (ask_complete(test.ask, slice_of(source.data), &members, &test_fault) == 0) {
            buf_put_text(&members, "}");
            buf_put_byte(&members, 0);
            assert_json(&members);
        }
        assert_int_equal(lua_gettop(test.domain->vm->lua), 0);
        buf_release(&source);
        buf_release(&members);
    }
    assert_true(values > 100);
    test.ask->seconds = 60;
    run("billing = nil");
    assert_value("billing.bill('7').state.n", "3");
}

int main(void)
{
#define CASE(function) cmocka_unit_test_setup_teardown(function, open_usual, close_usual)
    const struct CMUnitTest tests[] = {
        CASE(values),
        CASE(large_values_are_cut),
        CASE(globals_stay),
        CASE(sources_that_end_early),
        CASE(words),
        CASE(what_was_meant),
        CASE(names_that_nothing_has),
        CASE(faults_of_the_host),
        CASE(cancelled),
        CASE(time_is_up),
        CASE(memory),
        CASE(failing_allocations),
        CASE(hostile),
        CASE(all_that_can_be_called_has_help),
        CASE(all_that_has_help_is_there),
        CASE(completion),
        CASE(anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

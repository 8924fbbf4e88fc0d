/* What a newcomer gets wrong, each with the exact line that says so. Every script is a file of context
 * `billing`, beside a good contracts file; "@path" lines begin further files. */
#include "loader_support.h"

static const char contracts[] = "contracts [[\n"
                                "  CreateBill?  (customer: string)\n"
                                "  BillCreated! (customer: string)\n"
                                "  CloseBill?   (close_date: time)\n"
                                "  BillClosed!2 (close_date: time, amount: decimal)\n"
                                "]]\n"
                                "function upcast.BillClosed.v1(e) e.amount = decimal '0' return e end\n";

struct broken {
    const char *script; /* of billing/a.lua */
    const char *errors; /* without "scripts/billing/a.lua:" in front of each line */
    const char *other_path, *other_text;
};

/* Most rows need no second file. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
static const struct broken table[] = {
    /* --- syntax --- */
    {"local x = = 1", "1: unexpected symbol near '='\n"},
    {"function f(", "1: <name> or '...' expected near <eof>\n"},
    {"local s = 'abc", "1: unfinished string near <eof>\n"},
    {"if true then", "1: 'end' expected near <eof>\n"},
    {"\n\nreturn )", "3: unexpected symbol near ')'\n"},
    {"x = = 1", "1: unexpected symbol near '='\n", "billing/b.lua",
     "local y = nope"}, /* see below: both are told */
    /* --- globals --- */
    {"prnt('x')", "1: the global 'prnt' does not exist: did you mean print?\n"},
    {"local f = function(state) return stat.x end",
     "1: the global 'stat' does not exist: did you mean state?\n"},
    {"local b = agregate 'bill'", "1: the global 'agregate' does not exist: did you mean aggregate?\n"},
    {"local b = aggregate 'bill'\nfunction b.apply.BillCreated(s, e)\n  s.x = custmer\nend",
     "3: the global 'custmer' does not exist\n"},
    {"local f = function() return BilCreated {} end",
     "1: the global 'BilCreated' does not exist: did you mean BillCreated?\n"},
    {"local f = function() return UserRemoved {} end",
     "1: UserRemoved: a message of security: only scripts of security can make it\n", "security/c.lua",
     "contracts [[ UserRemoved! ]]"},
    {"local f = function() return os.time() end", "1: the global 'os' does not exist\n"},
    {"local f = function() return io.open('x') end", "1: the global 'io' does not exist\n"},
    {"local f = function() return _G end", "1: the global '_G' does not exist\n"},
    {"local f = function() return coroutine.wrap end", "1: the global 'coroutine' does not exist\n"},
    {"local f = function() send.bill('7', CloseBill {}) end", "1: the global 'send' does not exist\n"},
    {"local r = recepter 'x'", "1: the global 'recepter' does not exist: did you mean receptor?\n"},
    {"total = 1", "1: assigns the global 'total': write local total\n"},
    {"function helper() end", "1: assigns the global 'helper': write local helper\n"},
    {"local f = function()\n  count = count + 1\nend",
     "2: assigns the global 'count': write local count\n2: the global 'count' does not exist\n"},
    {"local x <const> = 1\nlocal y, z = x, w", "2: the global 'w' does not exist\n"},
    {"repeat local done = true until done\nreturn done", "2: the global 'done' does not exist\n"},
    {"for i = 1, 2 do local k = i end\nlocal j = i", "2: the global 'i' does not exist\n"},
    {"local function f(a, ...) local t = { b = 1, [a] = 2, c } return ... end",
     "1: the global 'c' does not exist\n"},
    {"local f = function() return _ENV.x end", "1: _ENV: not available in scripts\n"},
    {"local _ENV = {}", "1: _ENV: not available in scripts\n"},
    {"for k, v in pairz({}) do print(k, v) end",
     "1: the global 'pairz' does not exist: did you mean pairs?\n"},
    {"local s = ('x'):rep(n)", "1: the global 'n' does not exist\n"},
    {"goto done\n::done::\nlocal x = done", "3: the global 'done' does not exist\n"},
    /* --- what outlives a call --- */
    {"local b = aggregate 'bill'\nlocal cache\nfunction b.apply.BillCreated(s, e) cache = e end",
     "3: a handler assigns the file-level local 'cache': nothing may outlive a call\n"},
    {"local n = 0\nlocal function f() n = n + 1 return n end\nlocal b = aggregate 'bill'\nfunction "
     "b.apply.BillCreated(s) s.n = f() end",
     "2: a handler assigns the file-level local 'n': nothing may outlive a call\n"},
    {"local seen = {}\nlocal b = aggregate 'bill'\nfunction b.apply.BillCreated(s, e)\n  seen[e.customer] = "
     "true\nend",
     "4: a handler changes the file-level table 'seen': nothing may outlive a call\n"},
    {"local a = {}\nlocal f = function() local a = 1 a = 2 return a end\nlocal g = function() a.b.c = 1 end\n"
     "local b = aggregate 'bill'\nfunction b.apply.BillCreated(s) g() end",
     "3: a handler changes the file-level table 'a': nothing may outlive a call\n"},
    {"do local hidden = 1; local b = aggregate 'bill' function b.apply.BillCreated() hidden, f = 2, 3 end "
     "end",
     "1: a handler assigns the file-level local 'hidden': nothing may outlive a call\n1: assigns the global "
     "'f': write local f\n"},
    /* --- handlers --- */
    {"local b = aggregate 'bill'\nfunction b.apply.BillCraeted(s, e) end",
     "2: BillCraeted: did you mean BillCreated? (no contract of billing declares it)\n"},
    {"local b = aggregate 'bill'\nfunction b.apply.Nothing(s, e) end",
     "2: Nothing: no contract of billing declares it\n"},
    {"local b = aggregate 'bill'\nfunction b.apply.CloseBill(s, e) end",
     "2: CloseBill is a command, here stands the handler of an event\n"},
    {"local b = aggregate 'bill'\nfunction b.execute.BillClosed(s, c) end",
     "2: BillClosed is an event, here stands the handler of a command\n"},
    {"local b = aggregate 'bill'\nfunction b.execute.ClosBill(s, c) end",
     "2: ClosBill: did you mean CloseBill? (no contract of billing declares it)\n"},
    {"local b = aggregate 'bill'\nfunction b.apply.BillCreated() end\n\nfunction b.apply.BillCreated() end",
     "4: bill.apply.BillCreated: a second handler, the first is at billing/a.lua:2\n"},
    {"local b = aggregate 'bill'\nb.apply.BillCreated = 7",
     "2: bill.apply.BillCreated: expected a function, got number\n"},
    {"local b = aggregate 'bill'\nb.apply[1] = function() end",
     "2: bill.apply: expected the name of a message, got number\n"},
    {"local b = aggregate 'bill'\nfunction b.aply.BillCreated() end",
     "2: bill.aply: an aggregate has apply, execute, conflicts: did you mean apply?\n"},
    {"local b = aggregate 'bill'\nfunction b.conflict() end",
     "2: bill.conflict: an aggregate has apply, execute, conflicts: did you mean conflicts?\n"},
    {"local b = aggregate 'bill'\nb.conflicts = true",
     "2: bill.conflicts: expected a function, got boolean\n"},
    {"local b = aggregate 'bill'\nfunction b.when.BillCreated() end",
     "2: bill.when: an aggregate has apply, execute, conflicts\n"},
    {"local b = aggregate 'bill'\nb.apply['security.X'] = function() end",
     "2: bill.apply: security.X: an aggregate handles messages of its own context\n"},
    /* --- receptors, services, tasks --- */
    {"local r = receptor 'r'\nr.when['security.UserRemovd'] = function() end",
     "2: security.UserRemovd: did you mean security.UserRemoved? (no contract of security declares it)\n",
     "security/c.lua", "contracts [[ UserRemoved! ]]"},
    {"local r = receptor 'r'\nfunction r.when.UserRemoved() end",
     "2: UserRemoved: no contract of billing declares it: did you mean r.when[\"security.UserRemoved\"]?\n",
     "security/c.lua", "contracts [[ UserRemoved! ]]"},
    {"local r = receptor 'r'\nfunction r.when.RemoveUser() end",
     "2: RemoveUser: no contract of billing declares it\n", "security/c.lua", "contracts [[ RemoveUser? ]]"},
    {"local r = receptor 'r'\nr.when['securty.UserRemoved'] = function() end",
     "2: securty.UserRemoved: no context securty: did you mean security?\n", "security/c.lua",
     "contracts [[ UserRemoved! ]]"},
    {"local r = receptor 'r'\nr.when['site_b:security.UserRemoved'] = function() end",
     "2: site_b:security.UserRemoved: events of other hubs are not available in this version\n"},
    {"local r = receptor 'r'\nfunction r.when.CloseBill() end",
     "2: CloseBill is a command, here stands the handler of an event\n"},
    {"local r = receptor 'r'\nfunction r.when.BillCreated() end\nr.when['billing.BillCreated'] = function() "
     "end",
     "3: r.when.billing.BillCreated: a second handler, the first is at billing/a.lua:2\n"},
    {"local r = receptor 'r'\nfunction r.when.BillCreated() end\nfunction r.when.BillCreated() end",
     "3: r.when.BillCreated: a second handler, the first is at billing/a.lua:2\n"},
    {"local r = receptor 'r'\nfunction r.wen.BillCreated() end",
     "2: r.wen: a receptor has when: did you mean when?\n"},
    {"receptor 'r' { since = 'now' }", "1: r: option since: expected \"start\" or \"end\", got \"now\"\n"},
    {"receptor 'r' { sinc = 'start' }", "1: r: unknown option sinc: did you mean since?\n"},
    {"receptor 'r'\nreceptor 'r'", "2: receptor \"r\": declared twice, first at billing/a.lua:1\n"},
    {"aggregate 'bill'\nservice 'bill'", "2: service \"bill\": there is an aggregate of this name at "
                                         "billing/a.lua:1, and each has a stream of its "
                                         "own\n"},
    {"local n = 0\nlocal r = receptor 'r'\nfunction r.when.BillCreated() n = n + 1 end",
     "3: a handler assigns the file-level local 'n': nothing may outlive a call\n"},
    {"local s = service 's'\nfunction s.when.BillClosed() end",
     "2: BillClosed is an event, here stands the handler of a command\n"},
    {"local s = service 's'\nfunction s.when.ClosBill() end",
     "2: ClosBill: did you mean CloseBill? (no contract of billing declares it)\n"},
    {"local s = service 's'\ns.when['security.Remove'] = function() end",
     "2: s.when: security.Remove: a service handles messages of its own context\n"},
    {"service 's' { timeout = '1s' }", "1: s: unknown option timeout\n"},
    {"local n = 0\nlocal s = service 's'\nfunction s.when.CloseBill() n = n + 1 end",
     "3: a handler assigns the file-level local 'n': nothing may outlive a call\n"},
    {"task 't' { every = '15m' }", "1: task \"t\": has no function: write function t.run(now)\n"},
    {"local t = task 't'\nfunction t.rnu() end", "1: task \"t\": has no function: write function "
                                                 "t.run(now)\n2: t.rnu: a task has run: did you mean run?\n"},
    {"local t = task 't'\nt.run = 7", "1: task \"t\": has no function: write function t.run(now)\n2: t.run: "
                                      "expected a function, got number\n"},
    {"local t = task 't'\nfunction t.run() end\nfunction t.run() end", "3: t.run: defined twice\n"},
    {"local n = {}\nlocal t = task 't'\nfunction t.run() n[1] = 1 end",
     "3: a handler changes the file-level table 'n': nothing may outlive a call\n"},
    {"local t = task 't' { every = '15 m' }\nfunction t.run() end",
     "1: t: option every: expected a duration such as \"15m\", got \"15 m\"\n"},
    {"local t = task 't' { every = '20ms' }\nfunction t.run() end", "1: t: option every: at least 1s\n"},
    {"local t = task 't' { every = 15 }\nfunction t.run() end",
     "1: t: option every: expected a duration such as \"15m\", got number\n"},
    {"local t = task 't' { evry = '15m' }\nfunction t.run() end",
     "1: t: unknown option evry: did you mean every?\n"},
    {"local t = task 't' { cron = '0 25 * * *' }\nfunction t.run() end",
     "1: t: option cron: hour: '25' is not in 0-23\n"},
    {"local t = task 't' { cron = '0 3 * * *', zone = 'Europe/Berln' }\nfunction t.run() end",
     "1: t: option zone: no time zone Europe/Berln: they are named like Europe/Berlin\n"},
    {"local t = task 't' { every = '1h', zone = 'UTC' }\nfunction t.run() end",
     "1: t: option zone: belongs to cron\n"},
    {"local t = task 't' { at = 'tomorrow' }\nfunction t.run() end",
     "1: t: option at: expected a time such as \"2026-02-01T08:26:00Z\", got \"tomorrow\"\n"},
    {"local t = task 't' { every = '1h', cron = '0 3 * * *' }\nfunction t.run() end",
     "1: t: options every and cron: only one of them\n"},
    {"local t = task 't' { every = '1h', missed = 'twice' }\nfunction t.run() end",
     "1: t: option missed: expected \"run once\" or \"skip\", got \"twice\"\n"},
    {"local t = task 't' { missed = 'skip' }\nfunction t.run() end",
     "1: t: option missed: belongs to every, cron or at\n"},
    {"local p = projection 'p'\nfunction p.apply.BillCreated() end", "2: p.apply: a projection has when\n"},
    {"local p = projection 'p'\np.when['securty.UserRemoved'] = function() end",
     "2: securty.UserRemoved: no context securty: did you mean security?\n", "security/c.lua",
     "contracts [[ UserRemoved! ]]"},
    {"local p = projection 'p'\np.when['security.UserRemovd'] = function() end",
     "2: security.UserRemovd: did you mean security.UserRemoved? (no contract of security declares it)\n",
     "security/c.lua", "contracts [[ UserRemoved! ]]"},
    {"local p = projection 'p'\np.when['site_b:security.UserRemoved'] = function() end",
     "2: site_b:security.UserRemoved: events of other hubs are not available in this version\n"},
    {"local p = projection 'p'\np.when['billing.BillCreated'] = function() end\nfunction "
     "p.when.BillCreated() end",
     "3: p.when.BillCreated: a second handler, the first is at billing/a.lua:2\n"},
    {"local p = projection 'p'\nfunction p.when.CreateBill() end",
     "2: CreateBill is a command, here stands the handler of an event\n"},
    /* --- declarations and options --- */
    {"aggregate 'bill'\n\naggregate 'bill'",
     "3: aggregate \"bill\": declared twice, first at billing/a.lua:1\n"},
    {"projection 'bill' {}\naggregate 'bill' {}\nprojection 'bill'",
     "3: projection \"bill\": declared twice, first at billing/a.lua:1\n"},
    {"aggregate 'Bill'", "1: aggregate: expected a name of small letters, digits and _, got \"Bill\"\n"},
    {"aggregate(7)", "1: aggregate: expected a name of small letters, digits and _, got number\n"},
    {"aggregate {}", "1: aggregate: expected a name of small letters, digits and _, got table\n"},
    {"aggregate 'bill' { intial = {} }", "1: bill: unknown option intial: did you mean initial?\n"},
    {"aggregate 'bill' { initial = 7 }", "1: bill: option initial: expected a table of fields, got number\n"},
    {"aggregate 'bill' { initial = { 1, 2 } }",
     "1: bill: option initial: expected a table of fields, got \"a list\"\n"},
    {"aggregate 'bill' { initial = { a = { f = print } } }",
     "1: bill: initial.a.f: a function is no plain data\n"},
    {"aggregate 'bill' 'x'", "1: bill: expected a table of options, got \"x\"\n"},
    {"aggregate 'bill' {} {}", "1: bill: options are given twice\n"},
    {"aggregate 'bill' { 7 }", "1: bill: options have names: { initial = … }\n"},
    {"aggregate 'bill' { index = { 'x' } }", "1: bill: unknown option index\n"},
    {"projection 'p' { key = 'id' }",
     "1: p: option key: expected a function, or false for free style, got \"id\"\n"},
    {"projection 'p' { index = 'due' }", "1: p: option index: expected a list of field names, got \"due\"\n"},
    {"projection 'p' { index = { 7 } }", "1: p: option index: expected a list of field names, got number\n"},
    {"projection 'p' { index = { due = true } }",
     "1: p: option index: expected a list of field names, got \"due\"\n"},
    {"projection 'p' { index = { 'due', 'due' } }", "1: p: option index: due is there twice\n"},
    {"projection 'p' { index = { 'a','b','c','d','e','f','g','h','i' } }",
     "1: p: option index: at most 8 indexes, got 9\n"},
    {"projection 'p' { idx = {} }", "1: p: unknown option idx\n"},
    {"projection 'p' { key = false, initial = { n = 0 } }",
     "1: p: option initial: a free-style projection (key = false) has no initial document\n"},
    /* --- require --- */
    {"local x = require 'pricin'",
     "1: require \"pricin\": no such module in scripts/billing and scripts: did you mean pricing?\n",
     "pricing.lua", "return {}"},
    {"local f = function() return require 'nothing' end",
     "1: require \"nothing\": no such module in scripts/billing and scripts\n"},
    {"local x = require(7)", "1: require: expected the name of a module, got number\n"},
    {"local x = require 'security.c'",
     "1: require \"security.c\": no such module in scripts/billing and scripts\n", "security/c.lua",
     "return {}"},
    {"local x = require 'hub'", "1: require \"hub\": no such module in scripts/billing and scripts\n",
     "hub.lua", "return {}"},
    {"return require 'a'", "1: require: a cycle: billing/a.lua -> billing/a.lua\n"},
    /* --- running --- */
    {"local x = nil\nlocal y = x.z", "2: attempt to index a nil value (local 'x')\n"},
    {"local t = {}\n\nlocal u = t.a.b", "3: attempt to index a nil value (field 'a')\n"},
    {"error('no')", "1: no\n"},
    {"error { code = 1 }", "1: table\n"},
    {"\nwhile true do end", "2: used more than 10000000 instructions in one call\n"},
    {"local e = BillCreated { custmer = 'a', customer = 'b' }",
     "1: BillCreated.custmer: unknown field: did you mean customer?\n"},
    {"contracts 'X'..'! ()'",
     "1: expected \"?\" (a command) or \"!\" (an event) after \"X\", got the end of the contracts\n"},
    {"local text = 'X!'\ncontracts(text)", "2: contracts: expected the text in place: contracts [[ … ]]\n"},
    /* --- upcasters --- */
    {"function upcast.BillCloesd.v1(e) end",
     "1: upcast.BillCloesd.v1: no contract of billing declares BillCloesd: did you mean BillClosed?\n"},
    {"function upcast.BillClosed.v2(e) end",
     "1: upcast.BillClosed.v2: BillClosed is at version 2: did you mean v1?\n"},
    {"function upcast.BillClosed.v1(e) end",
     "1: upcast.BillClosed.v1: a second upcaster, the first is at billing/0.lua:7\n"},
    {"function upcast.BillClosed.first(e) end",
     "1: upcast.BillClosed.first: expected a version: v1, v2, …\n"},
    {"function upcast.BillClosed.v0(e) end", "1: upcast.BillClosed.v0: expected a version: v1, v2, …\n"},
    {"function upcast.BillClosed(e) end",
     "1: upcast.BillClosed: an upcaster belongs to a version: function upcast.BillClosed.v1(e, m)\n"},
    {"function upcast.CloseBill.v1(e) end",
     "1: upcast.CloseBill.v1: CloseBill is a command, only events have versions\n"},
    {"function upcast.BillCreated.v1(e) end",
     "1: upcast.BillCreated.v1: BillCreated is at version 1 and needs no upcaster\n"},
    {"upcast.BillClosed.v1 = 7", "1: upcast.BillClosed.v1: expected a function, got number\n"},
    {"upcast.BillClosed.v1 = print", "1: upcast.BillClosed.v1: expected a function of the script\n"},
    /* --- contracts in the file --- */
    {"contracts [[\n  Moved!3 (a: string)\n]]\nfunction upcast.Moved.v1(e) return e end",
     "2: Moved!3: version 2 has no upcaster: write function upcast.Moved.v2(e, m)\n"},
    {"contracts [[ CreateBill? ]]", "1: CreateBill: declared twice, first at billing/0.lua:2\n"},
};

/* "7: text" lines become "scripts/billing/a.lua:7: text". */
static void expected_lines(const char *lines, struct buf *out)
{
    while (*lines) {
        const char *end = strchr(lines, '\n');
        buf_format(out, "scripts/billing/a.lua:%.*s\n", (int)(end - lines), lines);
        lines = end + 1;
    }
}

static void each_mistake_is_one_line(void **state)
{
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *scripts[] = {
            "billing/0.lua",     contracts, "billing/a.lua", table[i].script, table[i].other_path,
            table[i].other_text, NULL};
        struct loaded loaded;
        load_scripts(&loaded, scripts);
        struct buf expected = {0};
        expected_lines(table[i].errors, &expected);
        if (table[i].other_text && strstr(table[i].other_text, "nope"))
            buf_put_text(&expected, "scripts/billing/b.lua:1: the global 'nope' does not exist\n");
        buf_put_byte(&expected, 0);
        if (strcmp(expected.data, loaded.errors.data) != 0) {
            print_error("--- script\n%s\n--- expected\n%s--- got\n%s", table[i].script, expected.data,
                        loaded.errors.data);
            wrong++;
        } else {
            /* The fault says the same. */
            assert_int_equal(strlen(loaded.fault.text) + 1, strlen(loaded.errors.data));
        }
        buf_release(&expected);
        unload_scripts(&loaded);
    }
    assert_int_equal(wrong, 0);
}

static void check_errors(const char *const *scripts, const char *expected)
{
    struct loaded loaded;
    load_scripts(&loaded, scripts);
    assert_string_equal(loaded.errors.data, expected);
    unload_scripts(&loaded);
}

static void a_module_that_fails_is_told_once(void **state)
{
    static const char *const scripts[] = {"billing/a.lua",
                                          "local b = require 'b'\nlocal x = unknown_thing",
                                          "billing/b.lua",
                                          "local c = require 'c'",
                                          "c.lua",
                                          "\nerror 'broken'",
                                          "billing/z.lua",
                                          "require 'c' local w = aggregate 'w' {} w.apply = 1",
                                          NULL};
    check_errors(scripts, "scripts/billing/a.lua:2: the global 'unknown_thing' does not exist\n"
                          "scripts/c.lua:2: broken\n");
}

static void a_cycle_is_named(void **state)
{
    static const char *const scripts[] = {"x/a.lua", "return require 'b'",
                                          "x/b.lua", "local k = 1\nreturn require 'c'",
                                          "x/c.lua", "local a = require('a') return a",
                                          NULL};
    check_errors(scripts, "scripts/x/c.lua:1: require: a cycle: x/a.lua -> x/b.lua -> x/c.lua -> x/a.lua\n");
}

static void all_errors_are_told_sorted(void **state)
{
    static const char *const scripts[] = {
        "b/z.lua",
        "contracts [[ Moved! (a: strng) ]]\nlocal v = projection 'v' { idx = 1 }\nfunction v.when.Mooved() "
        "end",
        "b/a.lua",
        "local x = 1 +",
        "a/q.lua",
        "y = 1\nlocal p = projection 'p'\nfunction p.when.Gone() end",
        "hub.lua",
        "return 7",
        "b/import/i.lua",
        "return function(row) send.x('1', Moved {}) recrd.x('1', Moved {}) end",
        NULL};
    check_errors(scripts,
                 "scripts/a/q.lua:1: assigns the global 'y': write local y\n"
                 "scripts/b/a.lua:1: unexpected symbol near <eof>\n"
                 "scripts/b/import/i.lua:1: the global 'recrd' does not exist: did you mean record?\n"
                 "scripts/b/z.lua:1: unknown type \"strng\": did you mean string?\n"
                 "scripts/b/z.lua:2: v: unknown option idx\n"
                 "scripts/hub.lua:1: hub.lua must return a table of options\n");
}

static void many_errors_fit_the_fault(void **state)
{
    struct buf text = {0};
    for (int i = 0; i < 200; i++) buf_format(&text, "local a%d = missing_number_%d\n", i % 100, i);
    buf_put_byte(&text, 0);
    const char *scripts[] = {"x/a.lua", text.data, NULL};
    struct loaded loaded;
    load_scripts(&loaded, scripts);
    size_t lines = 0;
    for (const char *at = loaded.errors.data; (at = strchr(at, '\n')) != NULL; at++) lines++;
    assert_int_equal(lines, 200);
    const char *more = strstr(loaded.fault.text, "\n… and ");
    assert_non_null(more);
    size_t shown = 1;
    for (const char *at = loaded.fault.text; at < more; at++) shown += *at == '\n';
    assert_int_equal(shown + strtoul(more + 9, NULL, 10), 200);
    buf_release(&text);
    unload_scripts(&loaded);
}

static void shared_modules_see_no_domain(void **state)
{
    static const char *const scripts[] = {"b/a.lua", "contracts [[ Moved! ]] local s = require 'shared'",
                                          "shared.lua", "local x = Moved\nreturn aggregate 'x'", NULL};
    check_errors(scripts, "scripts/shared.lua:1: Moved: a message of b: only scripts of b can make it\n"
                          "scripts/shared.lua:2: the global 'aggregate' does not exist\n");
}

static void imports_are_checked_at_load(void **state)
{
    static const char *const scripts[] = {
        "b/a.lua", "contracts [[ Moved! ]]", "b/import/i.lua",
        "local n = 0\nreturn function(row) n = n + 1 record.b(row.id, Moved {}) end", NULL};
    check_errors(
        scripts,
        "scripts/b/import/i.lua:2: a handler assigns the file-level local 'n': nothing may outlive a call\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_one_line),
        cmocka_unit_test(a_module_that_fails_is_told_once),
        cmocka_unit_test(a_cycle_is_named),
        cmocka_unit_test(all_errors_are_told_sorted),
        cmocka_unit_test(many_errors_fit_the_fault),
        cmocka_unit_test(shared_modules_see_no_domain),
        cmocka_unit_test(imports_are_checked_at_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

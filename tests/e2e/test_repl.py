"""Questions in Lua: what they see, what they cannot do, what ends them, and that nothing else of the hub feels it."""
import json, os, subprocess, threading, time, unittest

from hub import LORE, ROOT, SMALL, TIMEOUT, Case, lore, main
from sessions import Question, Session, ask, refused

FOREVER = "print 'begun' while true do end"
BILL = {"customer": "acme", "start_date": "2026-01-01T00:00:00Z"}


class Repl(Case):
    def setUp(self):
        super().setUp()
        self.copy_scripts()

    def limits(self, **limits):
        text = ", ".join(f"{name} = {value}" for name, value in limits.items())
        self.write("hub.lua", f"return {{ tenants = 'open', limits = {{ {text} }} }}")

    def filled(self, *args):
        hub = self.hub(None, None, *args)
        hub.send("billing/bill/7", "CreateBill", BILL)
        hub.send("billing/bill/7", "AddServicesToBill", {"services": 2})
        hub.send("billing/bill/71", "CreateBill", {**BILL, "customer": "bolt"})
        hub.view("billing/open_bills")
        return hub


class Words(Repl):
    def test_states(self):
        session = Session(self.filled())
        bill = {"stream": "billing/bill/7", "version": 2, "position": 2,
                "state": {"customer": "acme", "opened": "2026-01-01T00:00:00.000Z", "services": 2}}
        self.assertEqual(session.value('billing.bill "7"'), bill)
        self.assertEqual(session.value("billing.bill(7)"), bill)
        self.assertEqual(session.value("contexts.billing.bill(7)"), bill)
        self.assertEqual(session.value("it.state.services + 1"), 3)
        self.assertEqual(session.value("billing.bill(7):at(1)")["state"]["services"], 0)
        self.assertEqual(session.value("billing.bill(7):at '2020-01-01'"),
                         {"stream": "billing/bill/7", "version": 0, "position": 0})
        self.assertEqual(session.value("billing.bill 'never'"), {"stream": "billing/bill/never", "version": 0, "position": 0})
        for source, text in {"billing.bill 'a/b'": "an id has", "billing.bill()": "the id of a stream is a text", "billing.bll": "did you mean bill?",
                             "billing.bill(7):at 'soon'": "soon", "billing.bill(7).at('x', 1)": "colon", "billing.bill(7):at(99)": "99"}.items():
            self.assertIn(text, session.error(source)["message"], source)

    def test_views(self):
        session = Session(self.filled())
        seven = {"customer": "acme", "opened": "2026-01-01T00:00:00.000Z", "services": 2}
        self.assertEqual(session.value("views.open_bills '7'"), seven)
        self.assertEqual(session.value("views.billing.open_bills:get(7)"), seven)
        self.assertEqual(session.lines("views.open_bills:get 'none'"), [{"value": None}])
        self.assertEqual(session.value("views.open_bills:count()"), 2)
        rows = session.lines("views.open_bills:all()")
        self.assertEqual([row["row"]["key"] for row in rows[:-1]], ["7", "71"])
        self.assertEqual(rows[0]["row"]["document"], seven)
        self.assertEqual(rows[-1], {"none": True})
        self.assertEqual(session.lines("it", rows=1), [rows[0], {"more": True}, {"none": True}])
        self.assertEqual(session.value("views.open_bills:range('customer', 'b', nil):count()"), 1)
        self.assertEqual(session.value("views.open_bills:range('customer', nil, 'b'):list()"), [{"key": "7", "document": seven}])
        self.assertEqual(session.value("local n = 0 for key, d in views.open_bills:all() do n = n + d.services end return n"), 2)
        self.assertEqual(session.value("views.open_bills:range('customer', 'x', 'x'):list()"), [])
        for source, text in {"views.open_bils": "open_bills", "views.open_bills:range('custmer')": "did you mean customer?",
                             "views.open_bills.get('7')": "colon", "views.open_bills ''": "a key has", "views.open_bills:range('customer', {})": "got a table"}.items():
            self.assertIn(text, session.error(source)["message"], source)

    def test_many_documents_are_read_page_by_page(self):
        self.write("bank/contracts.lua", "contracts [[ Put! (n: integer) ]]")
        self.write("bank/box.lua", "local box = aggregate 'box' function box.apply.Put(s, e) s.n = e.n end")
        self.write("bank/boxes.lua", "local boxes = projection 'boxes' { index = { 'n' } } function boxes.when.Put(v, e) v.n = e.n end")
        hub = self.hub()
        body = "".join(json.dumps({"stream": f"bank/box/{n:04}", "event": "Put", "data": {"n": -n}}) + "\n" for n in range(1000))
        hub.request("POST", "/v1/main/commands", body.encode(), {"Content-Type": "application/x-ndjson"})
        hub.view("bank/boxes")
        session = Session(hub)
        self.assertEqual(session.value("views.boxes:count()"), 1000)
        self.assertEqual(session.value("local t = {} for key in views.boxes:range('n', -500, -401) do t[#t + 1] = key end return t"),
                         [f"{n:04}" for n in range(500, 400, -1)])
        self.assertEqual(session.complete('views.boxes "09')["candidates"], [f"09{n:02}" for n in range(50)])
        self.assertEqual(session.complete('bank.box "099'), {"from": 10, "candidates": [f"099{n}" for n in range(10)], "more": False})

    def test_values(self):
        session = Session(self.filled())
        for source, value in {
            "1 + 1": 2, "1.5": 1.5, "nil": None, "true": True, "0/0": "nan", "-1/0": "-inf", "'a\\0b'": "a\0b", "'\\xff\\xfe'": "\ufffd\ufffd", "decimal '1.20'": "1.20",
            "{}": {}, "list {}": [], "{1, 2}": [1, 2], "{1, nil, 3}": {"1": 1, "3": 3}, "{a = {b = 1}, [2] = true}": {"2": True, "a": {"b": 1}},
            "print": "function", "days(2)": "2d", "1, 'a', nil": [1, "a", None], "CloseBill { close_date = '2026-01-01' }":
            {"type": "CloseBill", "data": {"close_date": "2026-01-01T00:00:00.000Z"}}, "billing.bill": "aggregate billing/bill",
            "views.open_bills": "view billing/open_bills", "{[{}] = 1, [print] = 2}": {"function": 2, "table": 1}, "'\u00e4\u20ac'": "\u00e4\u20ac"}.items():
            self.assertEqual(session.value(source), value, source)
        self.assertEqual(session.value("t = {} t.t = t t.u = {t} return t"), {"t": "… itself, 1 above", "u": ["… itself, 2 above"]})
        deep = session.value("d = {} for i = 1, 1000 do d = {d} end return d")
        self.assertIn("deeper", json.dumps(deep, ensure_ascii=False))
        long = session.value("t = {} for i = 1, 3000 do t[i] = ('x'):rep(1e4) end return t")
        self.assertRegex(long[-1], r"^… \d+ more$")
        self.assertRegex(session.value("('x'):rep(3e6)"), r"x… 1951424 bytes more$")
        self.assertEqual(session.value("setmetatable({1}, {__index = error, __len = error, __pairs = error, __tostring = error})"), [1])

    def test_plots_and_files_of_documents_and_tables(self):
        session = Session(self.filled())
        bars = {"kind": "bars", "title": "services", "points": [["7", 2], ["71", 0]]}
        documents = [{"key": key, "document": session.value(f"views.open_bills '{key}'")} for key in ("7", "71")]
        for source in ("views.open_bills:all()", "views.open_bills:all():list()"):
            self.assertEqual(session.lines(source + ":plot 'services'"), [{"plot": bars}, {"none": True}])
            saved = session.lines("it:save 'bills.csv'")
            self.assertEqual(saved, [{"save": {"file": "bills.csv"}}, *({"row": row} for row in documents), {"saved": True, "rows": 2}, {"none": True}])
        self.assertEqual(session.lines("plot({ { 'a', 1 }, { 'b', 2 } }, 'two')")[0]["plot"], {"kind": "bars", "title": "two", "points": [["a", 1], ["b", 2]]})
        self.assertEqual(session.lines("plot { a = 1, b = decimal '2.5' }")[0]["plot"]["points"], [["a", 1], ["b", 2.5]])
        self.assertEqual(session.lines("save({ { x = 1 }, { x = 2 } }, 'x.ndjson')")[1:3], [{"row": {"x": 1}}, {"row": {"x": 2}}])
        for source, text in {"plot(7)": "plot: a query", "save(7, 'x.csv')": "save: a query", "save({}, 'x.txt')": "ends in .csv",
                             "plot { { key = 'a', document = { x = 'y' } } }": "there is none in it", "plot { { key = 'a', document = { x = 1, y = 2 } } }": "there are x, y in it",
                             "views.open_bills:all().plot()": "expected documents"}.items():
            self.assertIn(text, session.error(source)["message"], source)

    def test_variables_and_tenants(self):
        self.limits()
        hub = self.filled()
        hub.send("billing/bill/7", "CreateBill", {**BILL, "customer": "other"}, tenant="acme")
        one, other = Session(hub), Session(hub)
        self.assertEqual(one.lines("x = 5"), [{"none": True}])
        self.assertEqual((one.value("x"), other.value("x")), (5, None))
        self.assertEqual(one.value("tenant 'acme', billing.bill(7).state.customer"), ["acme", "other"])
        self.assertEqual(one.value("tenant()"), "acme")
        self.assertEqual(other.value("billing.bill(7).state.customer"), "acme")
        self.assertEqual(Session(hub, "acme").value("billing.bill(7).state.customer"), "other")
        self.assertIn("no tenant", one.error("tenant 'a b'")["message"])
        self.assertEqual(refused(hub, {"session": one.id, "source": "1"}, "acme")[0], 404)
        for nobody in ("\0", "\0" + one.id[1:], one.id[:-1], one.id[:-1] + "\0", "x" * 36):
            for what in ({"close": True}, {"help": ""}, {"complete": "b"}, {"write": True}, {"cancel": True}):
                self.assertEqual(refused(hub, {"session": nobody, **what})[0], 404, (nobody, what))

    def test_printing_and_incomplete_sources(self):
        session = Session(self.filled())
        self.assertEqual(session.lines("print(1, nil, {}) print 'a\\nb' return 2"), [{"print": "1 nil {}"}, {"print": "a\nb"}, {"value": 2}])
        for source in ("for i = 1, 2 do", "x = ", "f(", "[[abc", "function f()", "{", "1 +", "--[["):
            self.assertEqual(session.lines(source), [{"incomplete": True}], source)
        for source in ("x = = 1", "1 1", "'abc", "end", "goto nowhere", "break"):
            self.assertEqual(session.error(source)["code"], "script", source)
        for source in ("", "  ", "-- nothing", ";"):
            self.assertEqual(session.lines(source), [{"none": True}], source)

    def test_completion_and_help(self):
        session = Session(self.filled())
        session.lines("b = billing.bill '7'")
        for text, start, candidates in (
            ("bil", 0, ["billing"]), ('billing.bill "', 14, ["7", "71"]), ("billing.bill('71", 14, ["71"]), ("views.open_bills:get '", 22, ["7", "71"]),
            ("b.", 2, ["position", "state", "stream", "version"]), ("x = b.state.", 12, ["customer", "opened", "services"]), ("b:", 2, ["at", "events"]),
            ("CloseBill { clo", 12, ["close_date"]), ("billing.CloseBill({ note = 'x', ", 32, ["close_date", "note"]), ("views.open_bills:", 17, ["all", "count", "get", "range"]),
            ('views.open_bills:range("', 24, ["customer"]), ("string.fo", 7, ["format"]), ("whi", 0, ["while"]), ("-- bil", 6, []), ("'bil", 1, []), ("views.open_bills:all():", 23, ["count", "list", "plot", "save"]), ("views.open_bills:all():list():", 30, ["plot", "save"])):
            self.assertEqual(session.complete(text), {"from": start, "candidates": candidates, "more": False}, text)
        self.assertIn("it", session.complete("")["candidates"])
        self.assertIn("CloseBill { close_date: time, note: string? }", session.help("CloseBill"))
        self.assertIn("indexes: customer", session.help("views.open_bills"))
        self.assertIn("string.format", session.help("format"))
        status, problem = refused(session.hub, {"session": session.id, "help": "pritn"})  # not what a session that is gone answers
        self.assertEqual((status, problem["code"], problem["detail"]), (400, "malformed", "no help on pritn: did you mean print?"))
        self.assertEqual(refused(session.hub, {"session": "gone", "help": "pritn"})[0], 404)


class Ends(Repl):
    def test_budgets(self):
        self.limits(repl_seconds=1, repl_memory=64 << 20)
        session = Session(self.filled())
        session.lines("kept = 1")
        for source in ("while true do end", "pcall(function() while true do end end) while true do end", "repeat until false", "('a'):rep(100000):find(('a*'):rep(50) .. 'b')",
                       "table.sort(setmetatable({}, {}), nil) for i = 1, math.huge do table.concat({}, '') end", "while true do billing.bill '7' end",
                       "while true do views.open_bills:count() end", "setmetatable({}, {__index = function(t, k) return t[k + 1] end})[1]",
                       "xpcall(function() error(1) end, function() while true do end end)", "local t <close> = setmetatable({}, {__close = function() while true do end end})"):
            error = session.error(source)
            self.assertIn(error["code"], ("budget", "script"), source)
            if error["code"] == "script":
                self.assertIn("overflow", error["message"], source)
        for source in ("t = {} while true do t = {t} end", "t = {} for i = 1, 1e9 do t[i] = i end", "s = 'x' while true do s = s .. s end", "('x'):rep(1e9)",
                       "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end"):
            self.assertEqual(session.error(source)["code"], "budget", source)
        self.assertRegex(session.error("function f() return 1 + f() end return f()")["message"], "overflow|64 MiB of memory")
        self.assertEqual(session.value("1 + 1"), 2)

    def test_a_flood_waits_for_its_reader_and_ends(self):
        self.limits(repl_seconds=300)
        session = Session(self.filled())
        flood = session.begin("while true do print(('x'):rep(1000)) end")
        for _ in range(2000):
            self.assertEqual(len(flood.line()["print"]), 1000)
        self.assertEqual(refused(session.hub, {"session": session.id, "source": "1"})[0], 409)
        session.cancel()
        self.assertEqual(flood.rest()[-1]["error"]["code"], "cancelled")
        self.assertEqual(session.value("1"), 1)

    def test_cancelling(self):
        session = Session(self.filled())
        session.lines("kept = 1")
        for source in (FOREVER, "print 'begun' while true do pcall(error) end", "print 'begun' while true do billing.bill '7' end",
                       "print 'begun' while true do views.open_bills:all():list() end", "print 'begun' while true do billing.bill(7):events():count() end",
                       "print 'begun' events {}:where(function() while true do end end):count()", "print 'begun' for e in events {} do while true do end end", "print 'begun' ; (('a'):rep(1e6)):find(('a*'):rep(50) .. 'b')"):
            question = session.begin(source)
            self.assertEqual(question.line(), {"print": "begun"})
            session.cancel()
            self.assertEqual(question.rest(), [{"error": {"code": "cancelled", "message": "cancelled"}}], source)
        self.assertEqual(session.value("kept"), 1)
        session.cancel()  # nothing runs
        self.assertEqual(session.value("kept"), 1)

    def test_a_client_that_goes_away(self):
        session = Session(self.filled())
        session.lines("kept = 1")
        for source in (FOREVER, "while true do print(('x'):rep(10000)) end", "print 'begun' while true do billing.bill '7' end"):
            question = session.begin(source)
            question.line()
            began = time.monotonic()
            question.close()
            while refused(session.hub, {"session": session.id, "source": "kept"})[0] == 409:
                self.assertLess(time.monotonic() - began, 60)
            self.assertEqual(session.value("kept"), 1)

    def test_two_at_once(self):
        session = Session(self.filled())
        question = session.begin(FOREVER)
        question.line()
        for body in ({"source": "1"}, {"complete": "a"}, {"help": ""}, {"close": True}, {"write": True}):
            status, problem = refused(session.hub, {"session": session.id, **body})
            self.assertEqual((status, problem["code"]), (409, "conflict"))
        session.cancel()
        question.rest()
        self.assertEqual(session.value("1"), 1)

    def test_the_session_idle_longest_gives_way(self):
        hub = self.filled()
        sessions = [Session(hub) for _ in range(8)]
        running = sessions[0].begin(FOREVER)
        running.line()
        sessions[1].value("1")
        self.assertEqual(ask(hub, source="1"), [{"value": 1}])  # a question of its own takes a place too
        status, problem = refused(hub, {"session": sessions[2].id, "source": "1"})
        self.assertEqual((status, problem["code"]), (404, "not_found"))
        self.assertIn("gave way", problem["detail"])
        for session in [sessions[1], *sessions[3:]]:
            self.assertEqual(session.value("1"), 1)
        sessions.append(Session(hub))  # where the question was
        self.assertEqual(sessions[1].value("1"), 1)
        sessions.append(Session(hub))
        self.assertEqual(refused(hub, {"session": sessions[3].id, "source": "1"})[0], 404)
        self.assertEqual(sessions[1].close(), [{"closed": True}])
        self.assertEqual(refused(hub, {"session": sessions[1].id, "source": "1"})[0], 404)
        sessions[0].cancel()
        running.rest()

    def test_sessions_at_work_are_counted(self):
        hub = self.filled()
        running = [(session, session.begin(FOREVER)) for session in (Session(hub) for _ in range(8))]
        for _, question in running:
            question.line()
        for body in ({"open": True}, {"source": "1"}):
            status, problem = refused(hub, body)
            self.assertEqual((status, problem["code"]), (429, "busy"))
            self.assertIn("all 8 sessions are at work", problem["detail"])
            self.assertIn("repl_idle_seconds", problem["detail"])
        for session, question in running:
            session.cancel()
            question.rest()
        self.assertEqual(ask(hub, source="1"), [{"value": 1}])

    def test_idle_sessions_end(self):
        self.limits(repl_idle_seconds=1)
        hub = self.filled()
        session = Session(hub)
        while refused(hub, {"session": session.id, "cancel": True})[0] == 200:
            pass
        self.assertEqual(refused(hub, {"session": session.id, "source": "1"})[1]["code"], "not_found")

    def test_a_deploy_in_between(self):
        hub = self.filled()
        session = Session(hub)
        self.assertEqual(session.lines("x = 1"), [{"none": True}])
        self.edit("billing/bill.lua", "state.services + e.services", "state.services + 10 * e.services")
        other = Session(hub)
        running = other.begin("print 'begun' for i = 1, math.huge do if billing.bill(7).state.services ~= 2 then return i end end")
        running.line()
        lore("deploy", self.scripts, "--data", self.data, "--force", check=0)  # which waits for no evaluation
        other.cancel()
        self.assertEqual(running.rest()[-1]["error"]["code"], "cancelled")  # and it went on with what it began with
        self.assertEqual(session.lines("x, billing.bill(7).state.services"),
                         [{"print": "deploy 2 is live: variables of this session are gone"}, {"value": [None, 20]}])
        self.assertEqual(session.lines("x = 2 return x"), [{"value": 2}])

    def test_stopping_while_it_evaluates(self):
        hub = self.filled()
        questions = [Session(hub).begin(source) for source in (FOREVER, "while true do print(('x'):rep(10000)) end")]
        for question in questions:
            question.line()
        stop = threading.Thread(target=hub.stop)
        stop.start()
        self.assertEqual(questions[0].rest(), [{"error": {"code": "unavailable", "message": "the hub is stopping"}}])
        self.assertEqual(questions[1].rest()[-1]["error"]["code"], "unavailable")
        stop.join()

    def test_a_rollback_ends_sessions(self):
        hub = self.filled()
        session = Session(hub)
        question = session.begin(FOREVER)
        question.line()
        lore("rollback", "--data", self.data, "--to", "2", "--yes", check=0)
        self.assertEqual(question.rest()[-1]["error"]["code"], "unavailable")
        self.assertEqual(refused(hub, {"session": session.id, "source": "1"})[0], 404)
        self.assertEqual(ask(hub, source="billing.bill(71).version"), [{"value": 0}])

    @unittest.skipIf(SMALL, "skip: a sanitizer keeps what is freed for a while")
    def test_memory_comes_back(self):
        hub = self.filled()

        def resident():
            with open(f"/proc/{hub.process.pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        session = Session(hub)
        before = resident()
        session.lines("t = {} for i = 1, 1e6 do t[i] = ('x'):rep(100) .. i end")
        full = resident()
        self.assertGreater(full - before, 100 << 20)
        session.close()
        self.assertLess(resident() - before, (full - before) // 4)


    def test_a_hub_of_the_past(self):
        self.filled().stop()
        hub = self.hub(None, None, "--as-of", "1")
        session = Session(hub)
        self.assertEqual(session.value("billing.bill(7).version"), 1)
        self.assertEqual(session.value("views.open_bills:count(), events {}:count()"), [1, 1])
        self.assertEqual(session.complete("billing.bill '")["candidates"], ["7"])


class Hostile(Repl):
    def test_nothing_else_feels_it(self):
        hub = self.filled()
        questions = []
        for source in (FOREVER, "print 'begun' while true do local t = {} for i = 1, 1000 do t[i] = {} end end", "print 'begun' while true do billing.bill '7' end") * 2:
            questions.append(Session(hub).begin(source))
            questions[-1].line()
        client, slowest = hub.client(), 0
        for n in range(100):
            began = time.monotonic()
            answer = client.request("POST", f"/v1/main/billing/bill/n{n}", {"type": "CreateBill", "data": BILL})
            slowest = max(slowest, time.monotonic() - began)
            self.assertEqual(answer.status, 200)
        client.close()
        print(f"beside six evaluations the slowest of 100 commands took {1000 * slowest:.1f} ms")
        for question in questions:
            question.close()

    def test_expressions(self):
        self.limits(repl_seconds=2)
        hub = self.filled()
        session = Session(hub)
        errors = ["getmetatable('').__index.sub = 1", "string.sub = print", "rawset(billing, 'x', 1)", "billing.x = 1", "setmetatable(billing, {})", "views.x = 1", "rawset(views, 'x', 1)",
                  "billing.bill.x = 1", "rawset(_ENV, 'x', 1)", "setmetatable(_ENV, {})", "load 'x'", "loadstring 'x'", "dofile '/etc/passwd'", "require 'os'", "os.exit()", "io.open('/etc/passwd')",
                  "debug.getregistry()", "package.loaded", "string.dump(print)", "collectgarbage()", "coroutine.wrap(print)", "setmetatable({}, {__gc = print})", "setmetatable({}, {__mode = 'k'})",
                  "table.insert(billing, 1)", "send.bill('7', CloseBill {})", "emit(1)", "http.get('http://localhost')", "clock.now()", "env.X", "publish(1)", "aggregate 'x'", "retry '1s'",
                  "reject('a', 'b')", "math.random()", "('%p'):format({})", "error(setmetatable({}, {__tostring = function() error 'no' end}))", "error()", "error(nil)", "error({})",
                  "billing.bill(('x'):rep(1e6))", "views.open_bills(('x'):rep(1e6))", "tenant(('x'):rep(1e6))", "CloseBill { close_date = 1 }", "CloseBill(CloseBill)", "next(billing.bill)", "#views.open_bills"]
        for source in errors:
            self.assertIn(session.error(source)["code"], ("script", "contract", "not_found", "malformed"), source)
        values = {"getmetatable('')": False, "getmetatable(billing)": False, "getmetatable(_ENV)": False, "getmetatable(views.open_bills)": False, "getmetatable(billing.bill '7')": False, "_G": None,
                  "pcall(rawset, billing, 'x', 1)": None, "tostring(billing.bill)": "aggregate billing/bill", "tostring(print)": "function", "type(_ENV)": "table",
                  "(function() local _ENV = {} x = 1 return x end)()": 1, "select('#', table.unpack({}, 1, 100))": 100}
        for source, value in values.items():
            found = session.value(source)
            if value is not None:
                self.assertEqual(found, value, source)
        # What a session does to names that it sees is its own, and of no consequence to the scripts in it.
        session.lines("string, tostring, pairs, error, print, it = nil, nil, nil, nil, nil, nil")
        self.assertEqual(session.value("billing.bill(7).state.services"), 2)
        self.assertEqual(Session(hub).value("tostring(1)"), "1")

    def test_bodies(self):
        hub = self.filled()
        deep = '{"source":' + "[" * 1000 + "]" * 1000 + "}"
        for body in ("", "{", "[]", "null", "1", '"x"', deep, '{"source":1}', '{"source":"1","x":1}', '{"open":1}', '{"open":true,"source":"1"}', '{"session":"x"}', '{"source":"1","rows":-1}', '{"source":"1","rows":"x"}',
                     '{"complete":"x"}', '{"help":"x"}', '{"close":true}', '{"write":true}', '{"cancel":true}', '{"open":true,"session":"x"}', '{"session":"","source":"1"}', '{"open":true,"rows":1}', '{"open":false}',
                     b'{"source":"\xff"}', '{"source":"\\ud800"}', '{"session":"' + "x" * 100 + '","source":"1"}', '{"source":"1","source":"2"}'):
            status, problem = refused(hub, body)
            self.assertIn((status, problem["code"]), ((400, "malformed"), (413, "too_large")), body[:60])
        self.assertEqual(refused(hub, {"source": "1" * (2 << 20)})[0], 413)
        self.assertEqual(refused(hub, {"session": "x", "source": "1"})[0], 404)
        self.assertEqual(hub.request("GET", "/v1/main/repl").status, 405)
        self.assertEqual(hub.request("POST", "/v1/main/repl?x=1", "{}").status, 400)
        self.assertEqual(hub.request("POST", "/v1/main/repl", "source=1", {"Content-Type": "text/html"}).status, 415)
        self.assertEqual(hub.request("POST", "/v1/main/repl", '{"source":"1"}', {"Origin": "https://evil.example", "Content-Type": "application/json"}).status, 403)
        self.assertEqual(ask(hub, source="return " + "(" * 150 + "1" + ")" * 150), [{"value": 1}])
        self.assertEqual(ask(hub, source="return " + "(" * 10000 + "1" + ")" * 10000)[-1]["error"]["code"], "script")
        self.assertEqual(ask(hub, source="return " + "{" * 190 + "}" * 190)[-1].keys(), {"value"})

    def test_it_can_be_off(self):
        self.write("hub.lua", "return { repl = false }")
        self.assertEqual(refused(self.filled(), {"source": "1"})[1]["detail"], "the REPL is off (hub.lua: repl = false)")

    def test_nothing_is_written(self):
        self.filled().stop()
        hub = self.hub()  # nothing is on its way to the disk
        session = Session(hub)

        def everything():
            files = {}
            for folder, _, names in os.walk(self.data):
                for name in names:
                    path = os.path.join(folder, name)
                    if name.endswith("lock.mdb") or not os.path.isfile(path):
                        continue  # readers of a view have a place in it
                    with open(path, "rb") as file:
                        files[path] = file.read()
            return files, hub.get("/v1/main/events?limit=1000"), hub.view("billing/open_bills", wait=False)
        names = [name for name in session.value(
            "local found = {} local function walk(path, t) for k, v in pairs(t) do if type(k) == 'string' then found[#found + 1] = path .. k "
            "if type(v) == 'table' and v ~= t then walk(path .. k .. '.', v) end end end end walk('contexts.', contexts) walk('views.', views) "
            "for _, lib in ipairs { 'string', 'table', 'math', 'utf8', 'time' } do for k in pairs(({string = string, table = table, math = math, utf8 = utf8, time = time})[lib]) "
            "do found[#found + 1] = lib .. '.' .. k end end return found")]
        names += [line.split("(")[0].split("{")[0].split(".NAME")[0].split(".CONTEXT")[0].strip() for line in session.help("").splitlines() if line.startswith("  ")]
        names = sorted({name for name in names if name and ":" not in name})
        self.assertGreater(len(names), 150)
        before = everything()
        arguments = ("", "'7'", "7", "{}", "{ note = 'x' }", "nil", "billing.bill '7', CreateBill { customer = 'a', start_date = now() }", "'billing/bill/7', 1, 20",
                     "'7', ReopenBill {}", "views.open_bills", "function() return 1 end")
        methods = ("get('7')", "at(1)", "count()", "all()", "list()", "range('customer', nil, nil)", "events()", "where('version')", "map('type')",
                   "group('type'):count()", "sort('type')", "rows()", "join('open_bills')", "save('x.csv')", "plot('x')")
        for name in names:
            calls = [f"{name}({given})" for given in arguments] + [f"{name}:{method}" for method in methods]
            session.lines("tenant 'main' " + " ".join(f"pcall(function() return {call} end)" for call in calls))
        for source in ("billing.bill('7'):at(1)", "events {}:group('type'):count()", "billing.bill('7'):events():rows()", "views.open_bills:all():list()", "views.open_bills:range('customer'):count()"):
            session.value(source)
        after = everything()
        self.assertEqual(before[1:], after[1:])
        self.assertEqual(sorted(before[0]), sorted(after[0]))
        for path in before[0]:
            self.assertEqual(before[0][path] == after[0][path], True, path)


class CommandLine(Repl):
    def test_one_expression(self):
        self.filled().stop()
        done = lore("repl", "--scripts", self.scripts, "--data", self.data, "-e", 'billing.bill "7"', "--json", check=0)
        self.assertEqual(json.loads(done.stdout)["version"], 2)
        self.assertEqual(done.stdout.count("\n"), 1)
        done = lore("repl", "--scripts", self.scripts, "--data", self.data, "-e", "error 'no'", check=1)
        self.assertEqual(done.stdout, "")
        self.assertIn("repl:1: no", done.stderr)

    def test_stdin(self):
        hub = self.filled()
        source = "x = 1\nfor i = 1, 2 do\n  x = x + i\nend\nx\n\nbilling.bill '7'\nerror 'here'\n99\n"
        done = lore("repl", "--to", f"http://127.0.0.1:{hub.port}", "--json", input=source, check=1)
        values = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([values[0], values[1]["version"], len(values)], [4, 2, 2])
        self.assertIn("here", done.stderr)
        lore("repl", "--to", f"http://127.0.0.1:{hub.port}", input="for i = 1, 2 do\n", check=1)


if __name__ == "__main__":
    main()

"""Hostile scripts in a real hub: each call ends with one error that names its line, the others are answered meanwhile, memory
comes back. What a script may do wrong inside the sandbox is in tests/unit/vm; here it is what it does to the hub."""
import json, os, re, threading

from hub import SMALL, Case, lines, lore, main

# What never ends by itself. Each is a body of a handler, on one line.
ENDLESS = [
    "while true do end",
    "goto a ::a:: goto a",
    "while true do pcall(function() while true do end end) end",
    "local function f() while true do pcall(f) end end f()",
    "xpcall(function() error 'x' end, function() while true do end end)",
    "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "local x <close> = setmetatable({}, {__close = function() while true do end end}) error 'e'",
    "local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end",
    "local t = setmetatable({}, {__index = function() while true do end end}) return t.a",
    "local t = setmetatable({}, {__eq = function() while true do end end}) return t == setmetatable({}, getmetatable(t))",
    "return table.concat(setmetatable({}, {__len = function() return 1e15 // 1 | 0 end})), #('x'):rep(1e7):rep(1e7)",
    "(('a'):rep(3000)):find(('.-'):rep(12) .. 'b')",
    "local s = ('a'):rep(28) return s:find(('a?'):rep(28) .. ('a'):rep(28) .. 'b')",
    "for _ in (('a'):rep(100000)):gmatch('a*b') do end",
    "while true do pcall(string.find, ('a'):rep(3000), ('.-'):rep(12) .. 'b') end",
    "while true do (('('):rep(3000)):find('%b()') end",
    "while true do (('ab '):rep(10000)):gsub('%f[%w]%w+', '%0') end",
    "return table.move({}, 1, 1e15 // 1 | 0, 2)",
    "local t = {} for i = 1, 3000 do t[i] = i end while true do table.sort(t, function() return true end) end",
    "table.sort({1, 2, 3}, function() while true do end end)",
    "return ('x'):gsub('x', function() while true do end end)",
    "while true do pcall(string.rep, 'x', 1e8) end",
    "while true do local n = utf8.len(('é'):rep(100000)) end",
    "while true do for _ in utf8.codes(('é'):rep(1000)) do end end",
    "local s = ('1'):rep(100000) while true do local n = tonumber(s) end",
    "local s = ('1'):rep(100000) while true do local n = s + 0 end",
    "local a = ('x'):rep(1000000) local b = a .. 'y' while a < b do end",
    "local a, b = ('x'):rep(1000000) .. 'a', ('x'):rep(1000000) .. 'b' while a ~= b do end",
    "local d = decimal '1' while true do d = decimal '1' / 3 end",
    "local t = {} for i = 1, 20000 do t['k' .. i] = i end while true do next(t) end",
    "while true do string.pack('i16', 1) string.unpack('z', ('x'):rep(1000) .. '\\0') end",
    "while true do tostring(state) pcall(function() state.x = 1 end) end",
    "while true do m.at:sub(1, 7) end",
    "while true do pcall(reject) end",
    "while true do pcall(Done, { note = 7 }) end",
]
# What wants more than there is.
GREEDY = [
    "local s = 'x' while true do s = s .. s end",
    "local t = {} while true do t[#t + 1] = {} end",
    "local t = {} while true do t = { t, function() return t end } end",
    "return ('a'):rep(1e9)",
    "return string.pack('c1000000000', 'x')",
    "return (('x'):rep(1e6)):gsub('.', ('y'):rep(1000))",
    "local t = {} for i = 1, 1000 do t[i] = 'x' end return table.concat(t, ('y'):rep(1e6))",
    "local function f(...) return f(1, 1, 1, 1, ...) end f()",
    "local s = ('x'):rep(1000000) while true do emit(Done { note = s }) end",
    "local e, t = Done { note = ('x'):rep(1000000) }, {} for i = 1, 1000000 do t[i] = e end return t",
    "local e, t = Done { note = 'x' }, {} for i = 1, 1000000 do t[i] = e end return t",
]
# What is simply wrong.
WRONG = [
    "error 'broken'", "error()", "error({})", "local x = nil + 1", "return state.a.b.c", "state.x = 1", "rawset(state, 'x', 1)",
    "setmetatable(state, {})", "m.id = 'other'", "table.insert(state, 1)", "string.format = nil", "getmetatable('').__index = nil",
    "local function f() return 1 + f() end f()",
    "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x",
    "local function f() ('x'):gsub('x', f) end f()",
    "local function f() table.sort({2, 1}, f) end f()",
    "setmetatable({}, {__gc = function() end})", "setmetatable({}, {__mode = 'k'})",
    "local t = {} t.t = t return Done { any = t }",
    "local t = {} for i = 1, 200 do t = { t } end return Done { any = t }",
    "return Done { any = print }", "return Done { any = 0/0 }", "return Done { any = 1e999 }", "return Done { any = { [1.5] = 1 } }",
    "return Done { any = { 1, nil, 3 } }", "return Done { note = '\\xff' }", "return Done { note = ('x'):rep(2000000) }",
    "return Done { unknown = 1 }", "return Done", "return 7", "return { 7 }", "return Row1 {}", "emit(Row1 {})", "emit()",
    "reject()", "reject(('x'):rep(1000), 'y')", "reject('x\\0', 'y')", "reject('a', '%d', 'x')",
    "decimal('1e999999999')", "return decimal('9'):round(1e9)", "return decimal('1') / decimal('0')", "decimal(('9'):rep(35))",
    "return m.at + days(1e15)", "return time.between('x', {})", "return days('x')", "math.random()", "os.exit()", "io.open('x')",
    "require('x')", "load('x')()", "string.dump(print)", "coroutine.wrap(print)()", "debug.sethook()", "collectgarbage()",
    "return string.format('%p', {})", "return ('%99999d'):format(1)", "return string.unpack('s8', ('\\xff'):rep(16))",
    "return utf8.char(-1)", "return utf8.codepoint('\\xff')", "return table.unpack({}, 1, 1e8)", "return ('x'):rep(-1, nil):find('[')",
    "return ('x'):find('%')", "return ('x'):gsub('x', '%9')", "return select(-5, 1)", "return 1 // 0",
    "return 1 < 'x'", "return {} < {}", "return #5", "return -{}", "return ('x')()", "for i = 1, 10, 0 do end", "return 1 << {}",
]
ROWS = ENDLESS + GREEDY + WRONG
# The first name that scripts do not have is an error when they are loaded, before any call.
AT_LOAD = re.compile(r"\b(os\.|io\.|load\(|coroutine\.|debug\.|collectgarbage|require)")


def evil(rows, of="evil.execute.Row%d(state, c, m)"):
    """Handlers, a row each; the row's line in the file is its number."""
    return "".join(f"function {of % n} {row} end " + "\n" for n, row in enumerate(rows, 2))


def contracts(count):
    return ("contracts [[\n  Done! (note: string?, any: any?)\n  Did! (n: integer)\n  Ping? (n: integer)\n"
            + "".join(f"  Row{n}?\n" for n in range(1, count + 2)) + "]]\n")


class Hostile(Case):
    def setUp(self):
        super().setUp()
        self.write("hub.lua", 'return { tenants = "open" }\n')
        rows = [row for row in ROWS if not AT_LOAD.search(row)]
        self.rows = dict(enumerate(rows, 2))  # by line
        self.write("evil/contracts.lua", contracts(len(rows)))
        self.write("evil/evil.lua", 'local evil = aggregate "evil" { initial = { n = 0 } }\n' + evil(rows)
                   + "function evil.execute.Ping(s, c) return Did { n = c.n } end\nfunction evil.apply.Did(s, e) s.n = s.n + e.n end\n")

    def row(self, client, line):
        """Sends a hostile command, which must end with one error that names its line."""
        answer = client.request("POST", "/v1/main/evil/evil/1", {"type": f"Row{line}"})
        said = f"{line}: {self.rows[line]}: {answer.status} {answer.text}"
        self.assertIn((answer.status, answer.json["code"]), ((500, "script"), (413, "too_large")), said)
        self.assertRegex(answer.json["detail"], rf"\bevil/evil\.lua:{line}: .", said)

    def memory(self, hub):
        with open(f"/proc/{hub.process.pid}/status") as file:
            return int(re.search(r"RssAnon:\s+(\d+) kB", file.read())[1]) / 1024

    def test_every_row_ends_and_nothing_of_it_stays(self):
        hub = self.hub()
        client = hub.client()
        for count, line in enumerate(self.rows, 1):
            self.row(client, line)
            if SMALL and count % 10 == 0:  # a sanitizer keeps the frames of every error, and has room for few
                client.close()
                hub.stop()
                hub = self.hub()
                client = hub.client()
        self.assertEqual(hub.head(), 0)
        first = self.memory(hub)
        # again and again: what is wrong a thousand times, what is greedy a few times
        wrong = [line for line, row in self.rows.items() if row in WRONG and "1 + f()" not in row]
        greedy = [line for line, row in self.rows.items() if row in GREEDY]
        for turn in range(0 if SMALL else 1 + 1000 // len(wrong)):
            for line in wrong + (greedy if turn < 2 else []):
                self.row(client, line)
        if not SMALL:  # sanitizers keep what was freed
            self.assertLess(self.memory(hub), first + 32)
            self.assertLess(first, 120)
        self.assertEqual(hub.send("evil/evil/1", "Ping", {"n": 7})["version"], 1)
        client.close()
        hub.stop()

    def test_others_are_answered_meanwhile(self):
        """Streams of the same shard get their turn between two hostile calls, all others do not notice."""
        hub = self.hub()
        calls, streams = 6, 8
        over = threading.Event()
        answered = [0] * streams

        def others(number):
            client = hub.client()
            tenant = "main" if number % 2 else "other"
            while not over.is_set():
                answer = client.request("POST", f"/v1/{tenant}/evil/evil/s{number}", {"type": "Ping", "data": {"n": 1}})
                assert answer.status == 200, answer.text
                answered[number] += 1
            client.close()
        threads = [threading.Thread(target=others, args=(number,)) for number in range(streams)]
        for thread in threads:
            thread.start()
        client = hub.client()
        for _ in range(calls):
            self.row(client, 2)
        over.set()
        for thread in threads:
            thread.join()
        client.close()
        self.assertGreaterEqual(min(answered), calls // 2, answered)
        self.assertGreaterEqual(max(answered), 4 * calls, answered)
        for number in range(streams):
            state = hub.get(f"/v1/{'main' if number % 2 else 'other'}/evil/evil/s{number}")
            self.assertEqual((state["version"], state["state"]["n"]), (answered[number],) * 2)
        hub.stop()

    def test_in_apply(self):
        """What an event's handler does wrong ends the command; the state stays what it was."""
        rows = [row for row in ENDLESS[:9] + GREEDY[:3] if "state" not in row] + ["state.f = print", "state.s = state", "return 7", "emit()", "state[1.5] = 1"]
        self.write("evil/evil.lua", 'local evil = aggregate "evil" { initial = { n = 0 } }\n'
                   + "".join(f"function evil.apply.Bad{n}(state, e) {row} end\n" for n, row in enumerate(rows, 2))
                   + "".join(f"function evil.execute.Row{n}(state) return Bad{n} {{}} end\n" for n in range(2, len(rows) + 2))
                   + "function evil.execute.Ping(s, c) return Did { n = c.n } end\nfunction evil.apply.Did(s, e) s.n = s.n + e.n end\n")
        self.write("evil/contracts.lua", contracts(len(rows)).replace("]]", "".join(f"  Bad{n}!\n" for n in range(2, len(rows) + 2)) + "]]"))
        hub = self.hub()
        hub.send("evil/evil/1", "Ping", {"n": 1})
        for n, row in enumerate(rows, 2):
            answer = hub.request("POST", "/v1/main/evil/evil/1", {"type": f"Row{n}"})
            self.assertIn(answer.json.get("code"), ("script", "too_large"), f"{row}: {answer.text}")
            self.assertRegex(answer.json["detail"], rf"\bevil/evil\.lua:{n}: .", row)
        self.assertEqual(hub.get("/v1/main/evil/evil/1")["state"], {"n": 1})
        hub.stop()

    def test_in_a_projection(self):
        """A handler that fails parks its key; a free-style one stops its view for that tenant. All else goes on."""
        rows = ["while true do end", "while true do pcall(function() while true do end end) end", "local t = {} while true do t[#t + 1] = {} end",
                "view.s = ('x'):rep(5000000)", "view.f = print", "view.v = view", "error 'broken'", "(('a'):rep(3000)):find(('.-'):rep(12) .. 'b')"]
        self.write("evil/keyed.lua", 'local keyed = projection "keyed" { key = function(e, m) return m.id end, index = { "n" } }\n'
                   "function keyed.when.Did(view, e)\n" + "".join(f"  if e.n == {n} then {row} end\n" for n, row in enumerate(rows, 3)) + "  view.n = e.n\nend\n")
        self.write("evil/free.lua", 'local free = projection "free" { key = false }\nfunction free.when.Did(docs, e, m)\n'
                   "  if e.n == 3 then while true do docs:update('a', {}, function(d) while true do end end) end end\n"
                   "  docs:put(m.id, { n = e.n })\nend\n")
        hub = self.hub()
        for n in range(2 + len(rows) + 1):
            hub.send(f"evil/evil/{n}", "Ping", {"n": n})
            hub.send(f"evil/evil/{n}", "Ping", {"n": 0}, tenant="other")
        last = len(rows) + 3
        hub.send(f"evil/evil/{last}", "Ping", {"n": last})
        documents = hub.view("evil/keyed")
        self.assertEqual(documents[str(last)], {"n": last})
        parked = {line["key"]: line for line in hub.status() if line["kind"] == "parked"}
        self.assertEqual(sorted(map(int, parked)), list(range(3, 3 + len(rows))), hub.status())
        for n in range(3, 3 + len(rows)):
            self.assertRegex(parked[str(n)]["error"], rf"\bevil/keyed\.lua:({n}|2): .")
        self.assertEqual(len(hub.view("evil/free", tenant="other")), len(rows) + 3)
        hub.stop()

    def test_while_loading(self):
        for number, row in enumerate(("while true do end", "local t = {} while true do t[#t + 1] = {} end", "local s = ('x'):rep(1e9)",
                                      "local x = " + "(" * 300 + "1" + ")" * 300, "error(setmetatable({}, {__tostring = function() while true do end end}))",
                                      "local f = {} " + "f = { f } " * 200 + "local x = f", "contracts [[", 'require "loop"')):
            self.write("evil/more.lua", "\n" + row + "\n")
            self.write("evil/loop.lua", 'return require "more"\n' if "loop" in row else "return {}\n")
            done = lore("check", self.scripts, check=0 if "{ f }" in row else 1)
            if done.returncode:
                self.assertRegex(done.stderr, r"\bevil/(more|loop)\.lua:\d+: .", row)
        for line in [row for row in WRONG if AT_LOAD.search(row)]:
            self.write("evil/more.lua", f"local evil = projection 'more' {{}}\nfunction evil.when.Did(view, e, m)\n  {line}\nend\n")
            self.assertRegex(lore("check", self.scripts, check=1).stderr, r"\bevil/more\.lua:3: .", line)

    def test_in_an_import(self):
        self.write("evil/import/rows.lua", "return function(row)\n  if row.n == 2 then while true do end end\n"
                   "  if row.n == 3 then while true do send.evil('x', Ping { n = 1 }) end end\n"
                   "  if row.n == 4 then error(row) end\n  send.evil('good', Ping { n = row.n })\nend\n")
        rows = os.path.join(self.dir, "rows.ndjson")
        with open(rows, "w") as file:
            file.write("".join(f'{{"n":{n}}}\n' for n in range(1, 6)))
        script = os.path.join(self.scripts, "evil/import/rows.lua")
        lore("import", rows, "--with", script, "--scripts", self.scripts, "--data", self.data, check=0)
        with open(rows + ".rejected.ndjson") as file:
            refused = {line["row"]: line["detail"] for line in lines(file.read())}
        self.assertEqual(sorted(refused), [2, 3, 4])
        for n, reason in refused.items():
            self.assertRegex(reason, rf"\bevil/import/rows\.lua:{n}: .")
        done = lore("state", "evil/evil/good", "--json", "--scripts", self.scripts, "--data", self.data, check=0)
        self.assertEqual(json.loads(done.stdout)["state"], {"n": 6})

    def test_in_a_spec(self):
        specs = os.path.join(self.dir, "specs", "evil")
        os.makedirs(specs)
        with open(os.path.join(specs, "evil_spec.lua"), "w") as file:
            file.write('describe("evil", function()\n  it("ends", function()\n    aggregate("evil", "1"):when { Row2 {} }:expect {}\n  end)\n'
                       '  it("goes on", function()\n    aggregate("evil", "1"):when { Ping { n = 1 } }:expect { Did { n = 1 } }\n  end)\nend)\n')
        done = lore("test", os.path.join(specs, "evil_spec.lua"), "--scripts", self.scripts)
        self.assertRegex(done.stdout + done.stderr, r"evil/evil\.lua:2: used more than \d+ instructions")
        self.assertRegex(done.stdout, r"1 passed, 1 failed\s*$")


if __name__ == "__main__":
    main()

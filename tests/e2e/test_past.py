"""Time travel: whatever a moment shows is compared with a hub that was given the log up to there and nothing else."""
import json, os, random, socket

from hub import TIMEOUT, Case, lines, lore, main

SCRIPTS = {
    "hub.lua": "return { tenants = 'open' }",
    "bank/contracts.lua": """contracts [[
  Put!    (n: integer, to: string)
  Moved!  (n: integer)
  Noted!  (n: integer)
]]""",
    "bank/account.lua": """local account = aggregate "account" { initial = { n = 0, seen = 0 } }
function account.apply.Put(state, e) state.n, state.to = state.n + e.n, e.to end
function account.apply.Noted(state) state.seen = state.seen + 1 end""",
    # The same ids as accounts: documents of both are folded from two streams.
    "bank/box.lua": """local box = aggregate "box" { initial = { n = 0 } }
function box.apply.Moved(state, e) state.n = state.n + e.n end""",
    "bank/both.lua": """local both = projection "both" { initial = { n = 0, order = {} }, index = { "n" } }
function both.when.Put(view, e, m) view.n = view.n + e.n; table.insert(view.order, m.position) end
function both.when.Moved(view, e, m)
  view.n = view.n - e.n
  if e.n == 13 then error("unlucky") end
  if e.n == 11 then return false end
  table.insert(view.order, m.position)
end""",
    "bank/by_to.lua": """local by_to = projection "by_to" { initial = { n = 0 }, key = function(e) return { e.to, "all" } end }
function by_to.when.Put(view, e) view.n = view.n + e.n; if e.to == "d" and e.n == 7 then error("a bad day") end end""",
    "bank/sums.lua": """local sums = projection "sums" { key = false }
function sums.when.Put(docs, e)
  docs:update("sum " .. e.n % 5, { n = 0 }, function(d) d.n = d.n + e.n end)
end
function sums.when.Moved(docs, e) if e.n % 5 == 0 then docs:remove("sum " .. e.n % 3) end end""",
    "bank/stops.lua": """local stops = projection "stops" { key = false }
function stops.when.Put(docs, e) docs:put(e.to, { n = e.n }) end
function stops.when.Moved(docs, e) if e.n == 17 then error("here it ends") end end""",
}
VIEWS = ("both", "by_to", "sums", "stops")


def ndjson(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


class Past(Case):
    def setUp(self):
        super().setUp()
        for name, text in SCRIPTS.items():
            self.write(name, text)

    def fill(self, hub, facts, tenant="main"):
        """facts: lines of the bulk route; several in one list are one commit."""
        body = "".join(json.dumps(fact) + "\n" for fact in facts)
        answer = hub.request("POST", f"/v1/{tenant}/commands?ordered=true", body.encode(), {"Content-Type": "application/x-ndjson"})
        self.assertEqual(answer.status, 200, answer.text)
        for line in ndjson(answer):
            self.assertIn("version", line, line)

    def history(self, random, count):
        facts = []
        for _ in range(count):
            id = f"a{random.randrange(6)}"
            at = f"2020-01-{1 + random.randrange(28):02}T{random.randrange(24):02}:00:00Z"
            kind = random.randrange(5)
            n = random.randrange(1, 20)
            if kind < 3:
                facts.append({"stream": f"bank/account/{id}", "event": "Put", "data": {"n": n, "to": random.choice("abcd")}, "at": at})
            elif kind == 3:
                facts.append({"stream": f"bank/box/{id}", "event": "Moved", "data": {"n": n}, "at": at})
            else:
                facts.append({"stream": f"bank/account/{id}", "event": "Noted", "data": {"n": n}, "at": at})
        return facts

    def everything(self, hub, position, at="", tenant="main"):
        """All that a hub shows: states, listed documents, single documents with what is said of them."""
        sign = "&" if at else "?"
        shown = {}
        for aggregate in ("account", "box"):
            for number in range(7):
                answer = hub.request("GET", f"/v1/{tenant}/bank/{aggregate}/a{number}{at}")
                shown[aggregate, number] = answer.json if answer.status == 200 else answer.status
        for view in VIEWS:
            wait = at or f"?wait={position}&timeout=60"
            if not at:
                hub.get(f"/v1/{tenant}/views/bank/{view}/none?wait={min(position, self.stopped(hub, view))}&timeout=60", status=404)
                wait = ""
            listed = hub.request("GET", f"/v1/{tenant}/views/bank/{view}{wait}", None, {"Accept": "application/x-ndjson"})
            self.assertEqual(listed.status, 200, listed.text)
            shown[view] = listed.text
            keys = [f"a{n}" for n in range(7)] + list("abcd") + ["all"] + [f"sum {n}" for n in range(5)]
            for key in keys:
                answer = hub.request("GET", f"/v1/{tenant}/views/bank/{view}/{key.replace(' ', '%20')}{at}")
                self.assertIn(answer.status, (200, 404), answer.text)
                shown[view, key] = {name: answer.json[name] for name in ("document", "position", "parked") if name in answer.json}
        return shown

    def stopped(self, hub, view):
        """Views that stopped never get further: nobody should wait for more."""
        return 1 << 62 if view != "stops" else 0

    def prefix(self, facts):
        data = os.path.join(self.dir, f"prefix-{random.getrandbits(64):x}")
        hub = self.hub(None, data)
        if facts:
            self.fill(hub, facts)
        return hub

    def settle(self, hub):
        """Until every view is at the head, or stopped."""
        while True:
            status = hub.get("/v1/status")["status"]
            if all(line.get("lag") == 0 and "rebuilding" not in line for line in status if line["kind"] == "projection"):
                return status

    def compare(self, expected, shown, what):
        for name in expected:
            self.assertEqual(expected[name], shown[name], f"{what}: {name}")

    def test_positions(self):
        seed = int(os.environ.get("SEED", random.getrandbits(32)))
        draw = random.Random(seed)
        facts = self.history(draw, 160)
        hub = self.prefix(facts)
        self.settle(hub)
        now = self.everything(hub, 160)
        self.compare(now, self.everything(hub, 160, "?at=160"), f"SEED={seed} the head")
        for position in sorted(draw.sample(range(1, 160), 6)):
            model = self.prefix(facts[:position])
            self.settle(model)
            expected = self.everything(model, position)
            model.stop()
            self.compare(expected, self.everything(hub, position, f"?at={position}"), f"SEED={seed} at={position}")
            past = self.hub(None, hub.data, "--as-of", str(position))
            self.settle(past)
            self.compare(expected, self.everything(past, position), f"SEED={seed} as of {position}")
            past.stop()

    def cut(self, facts, at):
        """Each stream up to its first event that happened later."""
        ended, kept = set(), []
        for fact in facts:
            if fact["at"] > at:
                ended.add(fact["stream"])
            if fact["stream"] not in ended:
                kept.append(fact)
        return kept

    def without_places(self, shown):
        """Positions differ in a log that was cut in many places."""
        plain = {}
        for name, value in shown.items():
            if isinstance(value, dict):
                value = {key: value[key] for key in ("document", "version", "state") if key in value}
                if isinstance(value.get("document"), dict):
                    value["document"] = {key: value["document"][key] for key in value["document"] if key != "order"}
                plain[name] = value
            elif isinstance(value, str):
                plain[name] = [(line["key"], {k: v for k, v in line["document"].items() if k != "order"}) for line in lines(value)]
            else:
                plain[name] = value
        return plain

    def test_times(self):
        seed = int(os.environ.get("SEED", random.getrandbits(32)))
        draw = random.Random(seed)
        # Mostly in order: else each stream ends at once.
        facts = sorted(self.history(draw, 200), key=lambda fact: fact["at"])
        for _ in range(10):
            a, b = draw.randrange(200), draw.randrange(200)
            facts[a], facts[b] = facts[b], facts[a]
        hub = self.prefix(facts)
        for day in sorted(draw.sample(range(1, 29), 5)):
            at = f"2020-01-{day:02}T12:00:00Z"
            model = self.prefix(self.cut(facts, at))
            self.settle(model)
            expected = self.without_places(self.everything(model, 0))
            model.stop()
            shown = self.without_places(self.everything(hub, 0, f"?at={at}"))
            self.compare(expected, shown, f"SEED={seed} at={at}")
        self.assertEqual(hub.request("GET", "/v1/main/views/bank/both?at=2019-01-01").json["documents"], [])
        self.assertEqual(self.everything(hub, 0, "?at=2999-01-01")["both"], self.everything(hub, 200, "?at=200")["both"])


    # --- hubs of the past ---

    def test_hub_of_the_past(self):
        """Beside the hub that has the directory, which goes on; nothing of the directory is touched."""
        hub = self.prefix(self.history(random.Random(1), 40))
        self.settle(hub)
        recorded = hub.get("/v1/main/events?from=40")["events"][0]["recordedtime"]
        self.fill(hub, self.history(random.Random(2), 10))  # perhaps within the same millisecond
        now = hub.get("/v1/main/events?from=41")["events"]
        expected = 40 + sum(event["recordedtime"] <= recorded for event in now)
        before = sorted(os.listdir(os.path.join(hub.data, "views")))
        past = self.hub(None, hub.data, "--as-of", recorded)
        self.assertEqual(past.get("/v1/status")["status"][0]["position"], expected)
        self.assertEqual(past.get("/v1/status")["status"][0]["as_of"], recorded)
        self.assertEqual(past.get("/v1/main/events?limit=1000")["next"], expected + 1)
        self.fill(hub, self.history(random.Random(3), 10))
        self.settle(past)
        self.assertEqual(past.get("/v1/main/events?limit=1000")["next"], expected + 1)
        self.assertEqual(past.get("/v1/main/events?from=1&limit=1")["events"], hub.get("/v1/main/events?from=1&limit=1")["events"])
        self.assertEqual(past.request("GET", "/readyz").status, 503)
        for method, path, body in (("POST", "/v1/main/bank/account/a1", {"type": "Nothing", "data": {}}), ("POST", "/v1/status/retry/courier", None)):
            answer = past.request(method, path, body)
            self.assertEqual(answer.status, 503, answer.text)
            self.assertIn(f"this hub shows the past, as of {recorded}", answer.json["detail"])
        refused = past.request("POST", "/v1/main/commands", b'{"stream":"bank/box/a1","event":"Moved","data":{"n":1}}\n', {"Content-Type": "application/x-ndjson"})
        self.assertIn("this hub shows the past", refused.text)
        past.stop()
        self.assertEqual(sorted(os.listdir(os.path.join(hub.data, "views"))), before)
        self.assertEqual(hub.get("/v1/main/events?from=51")["next"], 61)
        self.assertFalse(lore("serve", self.scripts, "--data", hub.data, "--listen", "127.0.0.1:0", "--as-of", "1000", check=1).stdout)
        self.assertIn("no moment", lore("serve", self.scripts, "--data", hub.data, "--as-of", "yesterday", check=2).stderr)

    # --- moments ---

    def test_moments(self):
        hub = self.prefix([{"stream": "bank/account/a1", "event": "Put", "data": {"n": n, "to": "a"}, "at": f"2020-01-0{n}"} for n in range(1, 6)])
        stream, document, view = "/v1/main/bank/account/a1", "/v1/main/views/bank/both/a1", "/v1/main/views/bank/by_to"
        for path in (stream, document, view):
            for at, detail in (("6", "beyond the head of the log, which is 5"), ("deploy:2", "no deploy 2, the newest is 1"), ("deploy:0", "no deploy 0")):
                answer = hub.request("GET", f"{path}?at={at}")
                self.assertEqual(answer.status, 404, answer.text)
                self.assertIn(detail, answer.json["detail"])
            answer = hub.request("GET", f"{path}?at=tomorrow")
            self.assertEqual(answer.status, 400, answer.text)
            self.assertIn("at=tomorrow is no moment", answer.json["detail"])
        for at in ("0", "deploy:1", "2019-12-31"):
            self.assertEqual(hub.request("GET", f"{stream}?at={at}").status, 404)
            self.assertEqual(hub.request("GET", f"{document}?at={at}").status, 404)
            self.assertEqual(hub.get(f"{view}?at={at}")["documents"], [])
        self.assertEqual(hub.get(f"{stream}?at=2020-01-03")["state"]["n"], 6)
        one = hub.get(f"{document}?at=2020-01-03")
        self.assertEqual((one["document"]["n"], one["position"], one["folded"]), (6, 3, 3))
        self.assertEqual(hub.request("GET", f"{document}?at=3&wait=3").status, 400)
        self.assertEqual(hub.request("GET", f"{document}?at=3&limit=3").status, 400)
        self.assertEqual(hub.request("GET", "/v1/main/views/bank/boht?at=3").status, 404)
        # a view of the past has its indexes and cursors too
        self.assertEqual(hub.get("/v1/main/views/bank/both?at=3&index=n&min=7")["documents"], [])
        page = hub.get(f"{view}?at=3&limit=1")
        self.assertEqual([page["documents"][0], *hub.get(f"{view}?at=3&limit=1&cursor={page['cursor']}")["documents"]],
                         [{"key": "a", "document": {"n": 6}}, {"key": "all", "document": {"n": 6}}])
        self.assertEqual([event["position"] for event in hub.get("/v1/main/events?from=deploy:1&until=2")["events"]], [1, 2])
        self.assertEqual(hub.get("/v1/main/events?until=deploy:1")["events"], [])
        self.assertEqual(len(hub.get("/v1/main/events?from=2020-01-01&until=2999-01-01")["events"]), 5)
        self.assertEqual(hub.get("/v1/main/events?from=2999-01-01")["events"], [])
        # the next deploy begins behind what is there
        hub.stop()
        self.edit("bank/account.lua", "seen = 0", "seen = 1")
        again = self.hub(None, hub.data)
        self.assertEqual(again.get(f"{stream}?at=deploy:2")["version"], 5)
        self.fill(again, [{"stream": "bank/account/a1", "event": "Put", "data": {"n": 9, "to": "a"}}])
        self.assertEqual(again.get(f"{stream}?at=deploy:2")["version"], 5)
        self.assertEqual(again.get(f"{document}?at=deploy:2")["document"]["n"], 15)

    def test_long_stream(self):
        """States of a long stream are folded from milestones, and are what folding all of it gives."""
        count = 20000
        hub = self.prefix([{"stream": "bank/account/a1", "event": "Put", "data": {"n": n % 7, "to": "a"}} for n in range(1, count + 1)])
        draw = random.Random(4)
        sums = [0]
        for n in range(1, count + 1):
            sums.append(sums[-1] + n % 7)
        versions = [1, 4095, 4096, 4097, 8191, 8192, 8193, count - 1000, count - 1, count, *(draw.randrange(1, count) for _ in range(40))]
        for _ in range(2):
            for version in versions:
                for question in (f"version={version}", f"at={version}"):
                    found = hub.get(f"/v1/main/bank/account/a1?{question}")
                    self.assertEqual((found["version"], found["position"], found["state"]["n"]), (version, version, sums[version]))
            hub.stop()
            lore("verify", "--data", hub.data, check=0)
            hub = self.hub(None, hub.data)
        hub.stop()

    def test_command_line(self):
        hub = self.prefix([{"stream": "bank/account/a1", "event": "Put", "data": {"n": n, "to": "a"}, "at": f"2020-01-0{n}"} for n in range(1, 6)])
        for _ in range(2):  # with the hub, and on the directory
            def run(*args):
                return lines(lore(*args, "--data", hub.data, "--scripts", self.scripts, "--json", check=0).stdout)
            self.assertEqual(run("state", "bank/account/a1", "--at", "2")[0]["state"]["n"], 3)
            self.assertEqual(run("view", "both", "a1", "--at", "2020-01-04")[0]["document"]["n"], 10)
            self.assertEqual(run("view", "bank/by_to", "--at", "4"), [{"key": "a", "document": {"n": 10}}, {"key": "all", "document": {"n": 10}}])
            self.assertEqual([event["position"] for event in run("events", "--from", "2", "--until", "3")], [2, 3])
            if hub.process.poll() is None:
                hub.stop()

    # --- what costs too much, and what nobody waits for ---

    def slow(self):
        """Ten seconds of folding, or more."""
        self.write("hub.lua", "return { limits = { past_seconds = 2 } }")
        self.write("bank/slow.lua", """local slow = projection "slow" { key = function(e) return e.to end }
function slow.when.Put(view, e) for n = 1, 200000 do view.n = n end end""")
        hub = self.prefix([{"stream": "bank/account/a1", "event": "Noted", "data": {"n": 1}}])
        return hub, [{"stream": f"bank/account/{n}", "event": "Put", "data": {"n": 1, "to": "a"}} for n in range(8000)]

    def folding(self, hub):
        return [line for line in hub.get("/v1/status")["status"] if line["kind"] == "past"]

    def test_limit_and_leaving(self):
        hub, facts = self.slow()
        self.fill(hub, facts)
        answer = hub.request("GET", "/v1/main/views/bank/slow?at=8001")
        self.assertEqual(answer.status, 503, answer.text)
        self.assertIn("past_seconds", answer.json["detail"])
        with socket.create_connection(("127.0.0.1", hub.port), TIMEOUT) as wire:
            wire.sendall(b"GET /v1/main/views/bank/slow?at=8001 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while not (found := self.folding(hub)):
                pass
            self.assertEqual((found[0]["name"], found[0]["target"]), ("bank/slow", 8001))
            # documents of few events do not wait for it
            self.assertEqual(hub.request("GET", "/v1/main/views/bank/both/1?at=100").status, 200)
            self.assertTrue(self.folding(hub))
        while self.folding(hub):
            pass
        hub.stop()


if __name__ == "__main__":
    main()

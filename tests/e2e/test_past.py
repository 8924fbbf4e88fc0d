"""Time travel: whatever a moment shows is compared with a hub that was given the log up to there and nothing else."""
import json, os, random

from hub import Case, lines, lore, main

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


if __name__ == "__main__":
    main()

"""A chain of three contexts that know of each other only by events, killed again and again: every effect happens once, in order.

    shop.Placed ──receptor──► depot.Packed ──receptor──► post.Shipped            at once
                                           └─receptor──► courier ──► post.Billed  through timers/, every tenth a second later

CHAIN_EVENTS=100000 plays it with as many orders, SEED plays a run again."""
import http.client, json, os, random

import crash
from hub import SMALL, Case, lines, main

SEED = os.environ.get("SEED") or str(random.getrandbits(32))
EVENTS = int(os.environ.get("CHAIN_EVENTS") or (300 if SMALL else 5000))
STREAMS = 97
KILLED = (OSError, http.client.HTTPException, json.JSONDecodeError)  # what an answer that was cut off looks like
AGGREGATE = """
local {name} = aggregate "{name}" {{ initial = {{ count = 0 }} }}
{each}
"""
EACH = """
function {name}.apply.{event}(state) state.count = state.count + 1 end
function {name}.execute.{command}(state, c) return {event} {{ n = c.n }} end
"""
CONTEXTS = {"shop": ("order", [("Place", "Placed")]), "depot": ("parcel", [("Pack", "Packed")]), "post": ("letter", [("Ship", "Shipped"), ("Bill", "Billed")])}
RECEPTORS = {
    "depot": 'local packing = receptor "packing"\npacking.when["shop.Placed"] = function(e, m) send.parcel(m.id, Pack { n = e.n }) end\n',
    "post": """
local shipping = receptor "shipping"
shipping.when["depot.Packed"] = function(e, m)
  send.letter(m.id, Ship { n = e.n })
  send.letter("bills", Bill { n = e.n }, { after = e.n % 10 == 0 and "1s" or "0s" })
end
""",
}


class Chain(Case):
    def setUp(self):
        super().setUp()
        self.chance = random.Random(SEED)
        print(f"SEED={SEED}")
        for context, (name, messages) in CONTEXTS.items():
            self.write(f"{context}/contracts.lua", "contracts [[\n" + "".join(f"  {c}? (n: integer)\n  {e}! (n: integer)\n" for c, e in messages) + "]]\n")
            each = "".join(EACH.format(name=name, command=c, event=e) for c, e in messages)
            self.write(f"{context}/{name}.lua", AGGREGATE.format(name=name, each=each))
        for context, text in RECEPTORS.items():
            self.write(f"{context}/receptors.lua", text)

    def place(self, hub, numbers):
        """Places orders that may have been placed before. False: the hub was killed over it."""
        body = "".join(json.dumps({"stream": f"shop/order/{n % STREAMS}", "type": "Place", "data": {"n": n}, "id": f"order-{n}"}) + "\n" for n in numbers)
        try:
            answer = hub.request("POST", "/v1/main/commands", body, {"Content-Type": "application/x-ndjson"})
        except KILLED:
            return False
        self.assertEqual(answer.status, 200, answer.text[:2000])
        for line in lines(answer.text):
            self.assertIn("position", line)
        return True

    def events(self, hub, context):
        return lines(hub.request("GET", f"/v1/main/events?context={context}", None, {"Accept": "application/x-ndjson"}).text)

    def quiet(self, hub):
        """Returns when nothing is left to be sent; each look is a request."""
        while True:
            busy = [line for line in hub.status() if line.get("lag") or line.get("waiting") or line.get("retried")]
            if not busy:
                return
            self.assertFalse([line for line in hub.status() if line["kind"] == "parked"])

    def check(self, hub, count):
        """All effects of the orders 0 … count - 1, each once, and those of a stream in its order."""
        self.quiet(hub)
        packed, post = self.events(hub, "depot"), [event for event in self.events(hub, "post") if not event["type"].startswith("$")]
        for events, type in ((packed, "Packed"), (post, "Shipped"), (post, "Billed")):
            numbers = [event["data"]["n"] for event in events if event["type"] == type]
            self.assertEqual(len(numbers), count, type)
            self.assertEqual(sorted(numbers), list(range(count)), type)
            for stream in range(STREAMS if type != "Billed" else 0):
                of_stream = [n for n in numbers if n % STREAMS == stream]
                self.assertEqual(of_stream, sorted(of_stream), f"{type} {stream}")
        self.assertFalse([line for line in hub.status() if line["kind"] in ("parked", "stopped")])

    def test_random_kills(self):
        placed, kills = 0, 0
        while placed < EVENTS:
            hub = self.hub()
            count = min(self.chance.randint(1, max(1, EVENTS // 5)), EVENTS - placed)
            if self.place(hub, range(placed, placed + count)):
                placed += count
            before = crash.moved(hub.process.pid)
            crash.reach(hub.process, before + self.chance.randint(0, 3000), patience=200)
            hub.kill()
            kills += 1
        hub = self.hub()
        self.check(hub, EVENTS)
        hub.stop()
        crash.verify(self.data)
        print(f"{kills} kills")
        self.assertGreater(kills, 2)

    def test_a_kill_at_each_point(self):
        """At each step between an event and its effects, by name; the last start is without faults."""
        points = [p for p in crash.fault_points() if p.split(".")[0] in ("receptor", "courier", "timers")]
        self.assertEqual(len(points), 7)
        count, killed = 0, []
        for point in points:
            for passing in (1,) if SMALL else (1, 8):
                hub = self.hub(env={"LORE_FAULTS": f"{point}@{passing}=kill"})
                numbers = range(count, count + 20)
                count += 20
                self.place(hub, numbers)
                try:
                    self.quiet(hub)
                except KILLED:
                    pass
                hub.stop(expect=None)  # the last checkpoint is a point too
                if hub.process.returncode == -9:
                    killed.append(point)
                hub = self.hub()
                self.assertTrue(self.place(hub, numbers))
                self.check(hub, count)
                hub.stop()
        self.assertEqual(sorted(set(killed)), sorted(points))


if __name__ == "__main__":
    main()

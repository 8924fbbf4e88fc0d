"""sending.py: what the hub sends itself: events that become commands, and timers.

Both begin on a log that is there, so that nothing but the sending is measured; it is over when `lore status` says so.
"""
import json, os, shutil, time

from hub import lines

CONTRACTS = "contracts [[\n  Place?  (n: integer)\n  Placed! (n: integer)\n]]\n"
ORDER = """
local order = aggregate "order" { initial = { count = 0 } }
function order.apply.Placed(state) state.count = state.count + 1 end
function order.execute.Place(state, c) return Placed { n = c.n } end
"""
PARCEL = """
local parcel = aggregate "parcel" { initial = { count = 0 } }
function parcel.apply.Packed(state) state.count = state.count + 1 end
function parcel.execute.Pack(state, c) return Packed { n = c.n } end
"""
PACKING = """
local packing = receptor "packing" { since = "start" }
packing.when["shop.Placed"] = function(e, m) send.parcel(m.id, Pack { n = e.n }) end
"""
WAITING = """
local packing = receptor "packing" { since = "start" }
packing.when["shop.Placed"] = function(e, m)
  for n = 1, %d do
    send.parcel(m.id, Pack { n = n }, { at = n <= %d and "%s" or "2099-01-01T00:00:00Z" })
  end
end
"""
STREAMS = 10000
TIMERS_OF_ONE, DUE_OF_ONE = 100, 10


class Sending:
    def __init__(self, bench, events=200000, timers=1000000, seconds=60):
        self.bench, self.events, self.timers, self.seconds = bench, events, timers, seconds
        self.scripts, self.data = os.path.join(bench.folder, "sending"), os.path.join(bench.folder, "sending-data")

    def write(self, path, text):
        path = os.path.join(self.scripts, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def place(self, events):
        """A log of so many events that nobody has answered to."""
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.scripts, ignore_errors=True)
        self.write("shop/contracts.lua", CONTRACTS)
        self.write("shop/order.lua", ORDER)
        hub = self.bench.hub(self.data, scripts=self.scripts)
        client = hub.client()
        for first in range(0, events, 20000):
            body = "".join(json.dumps({"stream": f"shop/order/{n % STREAMS}", "type": "Place", "data": {"n": n}}) + "\n"
                           for n in range(first, min(first + 20000, events)))
            answer = client.request("POST", "/v1/main/commands", body, {"Content-Type": "application/x-ndjson"})
            if answer.status != 200 or any("position" not in line for line in lines(answer.text)):
                raise SystemExit(f"bench: orders are refused: {answer.text[:500]}")
        client.close()
        hub.stop()
        self.write("depot/contracts.lua", "contracts [[\n  Pack?   (n: integer)\n  Packed! (n: integer)\n]]\n")
        self.write("depot/parcel.lua", PARCEL)

    def status(self, client, kind):
        return next(line for line in lines(client.request("GET", "/v1/status", None, {"Accept": "application/x-ndjson"}).text) if line["kind"] == kind)

    def wait(self, client, kind, holds):
        while not holds(self.status(client, kind)):
            time.sleep(0.02)
        return time.monotonic()

    def receptors(self):
        def run():
            self.place(self.events)
            self.write("depot/receptors.lua", PACKING)
            began = time.monotonic()
            hub = self.bench.hub(self.data, scripts=self.scripts)
            client = hub.client()
            seconds = self.wait(client, "receptor", lambda line: line["lag"] == 0) - began
            head = hub.head()
            client.close()
            hub.stop()
            if head != 2 * self.events:
                raise SystemExit(f"bench: {head} events of {2 * self.events}")
            return self.events / seconds
        self.bench.table.add("events to commands by a receptor", self.bench.times(run), "events/s", goal=20000)
        shutil.rmtree(self.data)

    def waiting(self):
        """One run: it takes as long as its timers wait. The figures: resident memory beside what it was without timers, and firing."""
        events = self.timers // TIMERS_OF_ONE
        self.place(events)
        hub = self.bench.hub(self.data, scripts=self.scripts)
        before = resident(hub)
        hub.stop()
        due = time.time() + self.seconds
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(due))
        self.write("depot/receptors.lua", WAITING % (TIMERS_OF_ONE, DUE_OF_ONE, moment))
        hub = self.bench.hub(self.data, scripts=self.scripts)
        client = hub.client()
        self.wait(client, "courier", lambda line: line["waiting"] == self.timers)
        if time.time() > due - 1:
            raise SystemExit(f"bench: {self.timers} timers were not set within {self.seconds} s")
        hub.stop()
        hub = self.bench.hub(self.data, scripts=self.scripts)
        client = hub.client()
        resting = resident(hub)
        left = self.timers - self.timers * DUE_OF_ONE // TIMERS_OF_ONE
        began = self.wait(client, "courier", lambda line: line["waiting"] < self.timers)
        seconds = self.wait(client, "courier", lambda line: line["waiting"] == left) - began
        hub.stop()
        self.bench.table.add(f"memory for {self.timers // 1000000} M waiting timers", [max(resting - before, 0) / 1e6], "MB", goal=20, less=True)
        self.bench.table.add("timers that are due", [(self.timers - left) / seconds], "/s", goal=10000)
        shutil.rmtree(self.data)


def resident(hub):
    """Private memory of the process: pages of files that it maps belong to the system's cache."""
    with open(f"/proc/{hub.process.pid}/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))

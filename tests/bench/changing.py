"""changing.py: what a change of code costs: the plan over the fines, the deploy that follows it, the way back, and a file saved under --watch.

All on one copy of the fines, 561,470 events, and with commands of 64 connections beside where it says so.
"""
import json, os, shutil, statistics, subprocess, threading, time

from fines import EVENTS, PAID, PAID_BUT
from hub import LORE, ROOT, lines

PAYMENT = "  not_negative(c.amount)\n  if state.collection"
NEW_PAYMENT = '  if c.amount <= decimal "%d.00" then reject("little", "too little") end\n  if state.collection'
COUNTED = 'kind.count + 1'
LOADED_SECONDS = 12   # of commands, with plans beside them
SWITCH_SECONDS = 2    # with a deploy and an undeploy among them
PAUSE_MS = 5          # between two commands of a connection, so that the machine has room: some 10,000/s
WAIT_S = 600


class Changing:
    def __init__(self, bench):
        self.bench = bench
        self.scripts, self.data = os.path.join(bench.folder, "changing"), os.path.join(bench.folder, "changing-data")
        self.number = 0

    def change(self, path, old, new):
        path = os.path.join(self.scripts, path)
        with open(os.path.join(ROOT, "scripts", os.path.relpath(path, self.scripts))) as file:
            text = file.read()
        if old not in text:
            raise SystemExit(f"bench: {path} has no {old}")
        with open(path + ".new", "w") as file:
            file.write(text.replace(old, new))
        os.rename(path + ".new", path)

    def change_all(self):
        """Both example projections and the aggregate, each time otherwise: all states are folded and all commands decided again."""
        self.number += 1
        self.change("fines/cases.lua", PAID, PAID_BUT % self.number)
        self.change("fines/totals_by_month.lua", COUNTED, f"kind.count + {self.number + 1}")
        self.change("fines/fine.lua", PAYMENT, NEW_PAYMENT % self.number)

    def lore(self, *args):
        began = time.monotonic()
        done = subprocess.run([LORE, *args, "--json", "--data", self.data], capture_output=True, text=True, timeout=WAIT_S)
        seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"bench: lore {' '.join(args)}: {done.stderr}")
        return seconds, json.loads(done.stdout)

    def deploy(self, *args):
        return self.lore("deploy", "--no-specs", "--scripts", self.scripts, *args)

    def undeploy(self, hub):
        """Until every view answers by the old code."""
        began = time.monotonic()
        self.lore("undeploy")
        client = hub.client()
        self.bench.wait_live(hub, client)
        client.close()
        return time.monotonic() - began

    def begin(self):
        shutil.copytree(os.path.join(ROOT, "scripts"), self.scripts)
        self.bench.do_import(EVENTS, self.data)
        hub = self.bench.hub(self.data, scripts=self.scripts)
        self.bench.wait_live(hub, hub.client())
        return hub

    def plan(self):
        """The deploy behind a plan takes over what the plan built; back again, the old views only catch up."""
        hub = self.begin()
        plans, deploys, undeploys = [], [], []
        for _ in range(self.bench.runs):
            self.change_all()
            plans.append(self.deploy("--plan")[0])
            deploys.append(self.deploy("--force", "--quick")[0])
            undeploys.append(self.undeploy(hub))
        events = "561,470 events"
        self.bench.table.add(f"plan over {events}: views, states and recorded commands", plans, "s", goal=10, less=True)
        self.bench.table.add("deploy behind it", deploys, "s", less=True)
        self.bench.table.add("undeploy, until all views are back", undeploys, "s", goal=2, less=True)
        self.under_load(hub)
        hub.stop()
        self.watch()
        shutil.rmtree(self.data)
        shutil.rmtree(self.scripts)

    def under_load(self, hub):
        """Commands of 64 connections alone, while a plan runs, and while a deploy switches."""
        alone, planned, still, switched, calm, calm_switched = [], [], [], [], [], []

        def beside(work, seconds, pause_ms=0):
            thread = threading.Thread(target=work)
            thread.start()
            result = self.bench.wrk(hub, 64, seconds, pause_ms)
            thread.join()
            return result

        def plan():
            until = time.monotonic() + LOADED_SECONDS - 2
            while time.monotonic() < until:
                self.change_all()
                self.deploy("--plan")

        def switch():
            time.sleep(0.5)
            self.deploy("--force", "--quick")
            self.lore("undeploy")

        def around_a_deploy(without, with_it, pause_ms):
            self.change_all()
            self.deploy("--plan")  # what it built catches up with the commands of the last seconds
            without.append(self.bench.wrk(hub, 64, SWITCH_SECONDS, pause_ms))
            with_it.append(beside(switch, SWITCH_SECONDS, pause_ms))
        for _ in range(self.bench.runs):
            alone.append(self.bench.wrk(hub, 64, LOADED_SECONDS))
            planned.append(beside(plan, LOADED_SECONDS))
            around_a_deploy(still, switched, 0)
            around_a_deploy(calm, calm_switched, PAUSE_MS)
        rate = lambda results: [result["requests"] / result["seconds"] for result in results]
        p99 = lambda results: statistics.median(result["p99_ms"] for result in results)
        base = self.bench.table.add("durable commands, 64 connections, the fines beside", rate(alone), "/s", p99_ms=p99(alone))
        self.bench.table.add("the same while plans run", rate(planned), "/s", base, "without", 0.8 * base, p99_ms=p99(planned))
        for without, with_it, load in ((still, switched, "as fast as they go"), (calm, calm_switched, f"at {statistics.median(rate(calm)):,.0f}/s")):
            self.bench.table.add(f"p99 of {SWITCH_SECONDS} s of 64 connections {load}, with a deploy and an undeploy", [result["p99_ms"] for result in with_it], "ms",
                                 p99(without), "without", p99(without) + 10, less=True)

    def watch(self):
        """A file saved until the hub says that another deploy runs."""
        hub = self.bench.hub(self.data, "--watch", scripts=self.scripts)
        client = hub.client()
        number = lambda: next(line["deploy"] for line in lines(client.request("GET", "/v1/status", None, {"Accept": "application/x-ndjson"}).text)
                              if line["kind"] == "hub")

        def save():
            before = number()
            self.number += 1
            began = time.monotonic()
            self.change("billing/bill.lua", "c.services <= 0", f"c.services <= -{self.number}")
            while number() == before:
                if time.monotonic() - began > 30:
                    raise SystemExit("bench: what was saved never runs:\n" + "".join(hub.log[-10:]))
            return 1000 * (time.monotonic() - began)
        self.bench.table.add("file saved to new code live under --watch", [save() for _ in range(3 * self.bench.runs)], "ms", goal=500, less=True)
        client.close()
        hub.stop()

"""crash.py: scenes in which a hub or an import is killed with -9, and what must be true of its directory afterwards.

    scene = Commands(folder, seed)
    scene.round()            one life: traffic, a kill, perhaps more kills on the way up, everything checked; returns the number of kills
    scene.close()

A scene is what tests/e2e/test_crash.py plays a few rounds of and `make soak` many. All chance comes from the seed. When to kill is
never a matter of time: after so many answers, or after so many reads and writes of the process (/proc/PID/io).
"""
import itertools, json, os, random, re, shutil, subprocess

from hub import LORE, ROOT, TIMEOUT, Hub, copy_context, lines, lore
from traffic import Clients, Ledger, Request

# Views that depend on every event's order and that park keys, beside those of the example domain.
PULSE = """
local pulse = projection "pulse" { key = function(_, m) return m.id:sub(1, 3) end, initial = { count = 0, mix = 0 } }
function pulse.when.ServicesAddedToBill(view, e, m)
  view.count, view.mix, view.last = view.count + 1, (view.mix * 31 + e.services) % 1000003, m.id
end
"""
PICKY = """
local picky = projection "picky" { key = function(_, m) return m.id end, initial = { sum = 0 } }
function picky.when.ServicesAddedToBill(view, e)
  if e.services == 13 then error("not that one") end
  view.sum = view.sum + e.services
end
"""
VIEWS = ["open_bills", "outstanding_invoices", "revenue_by_month", "pulse", "picky"]
# Many checkpoints and partitions although the log is short.
LIMITS = "return { limits = { flush_events = %d, rebuild_partition_events = %d } }\n"


def moved(pid):
    """Reads and writes of a process so far: how far it is on its way, independent of the clock."""
    try:
        with open(f"/proc/{pid}/io") as file:
            return sum(int(count) for count in re.findall(r"sysc[rw]: (\d+)", file.read()))
    except OSError:
        return 1 << 60


def reach(process, moves, patience=3000):
    """Returns once it has moved so far, or is found standing still that many times, or has ended."""
    seen, still = 0, 0
    while process.poll() is None and seen < moves and still < patience:
        now = moved(process.pid)
        still = still + 1 if now == seen else 0
        seen = now


def kill_at(process, moves, patience=3000):
    """False if it had ended of its own accord."""
    reach(process, moves, patience)
    process.kill()
    return process.wait() == -9


def copy_log(data, to):
    """Only what is not derived."""
    shutil.rmtree(to, ignore_errors=True)
    os.mkdir(to)
    shutil.copytree(os.path.join(data, "log"), os.path.join(to, "log"))
    return to


def verify(data):
    done = lore("verify", "--json", "--data", data)
    report = lines(done.stdout)[-1] if done.stdout else {"ok": False, "damage": done.stderr}
    if done.returncode or not report["ok"]:
        raise AssertionError(f"verify: exit {done.returncode} {report}")
    return report


def settle(hub):
    """Until no view is built, and views and receptors have seen the head. Returns the status."""
    client = hub.client()
    while True:
        status = lines(client.request("GET", "/v1/status", None, {"Accept": "application/x-ndjson"}).text)
        head = next(line["position"] for line in status if line["kind"] == "hub")
        late = [line for line in status if line["kind"] in ("projection", "receptor", "courier") and (line["position"] < head or "rebuilding" in line)]
        if not late:
            client.close()
            return status
        for line in late:
            if line["kind"] == "projection":
                client.request("GET", f"/v1/main/views/{line['name']}?limit=1&wait={head}&timeout={TIMEOUT}")


def read_views(hub):
    """Every view byte for byte, as the code makes it of the whole log, and what is parked."""
    stuck = [line for line in settle(hub) if line["kind"] in ("parked", "stopped")]
    texts = {view: hub.request("GET", f"/v1/main/views/billing/{view}", None, {"Accept": "application/x-ndjson"}).bytes for view in VIEWS}
    for line in stuck:
        del line["deploy"]  # a rebuild may be another one's
    texts["parked"] = sorted(json.dumps(line, sort_keys=True) for line in stuck)
    return texts


def fault_points():
    """The names in the table of core/base/faultpoint.h."""
    with open(os.path.join(ROOT, "core", "base", "faultpoint.h")) as file:
        return re.findall(r'^    X\(\w+, "([^"]+)"', file.read(), re.M)


def same_views(found, expected, what):
    for name in expected:
        if found[name] == expected[name]:
            continue
        pairs = itertools.zip_longest(*(text if isinstance(text, list) else text.splitlines() for text in (found[name], expected[name])))
        raise AssertionError(f"{what}: {name} differs, first in\n%s\n%s" % next(pair for pair in pairs if pair[0] != pair[1]))


class Scene:
    """A folder with scripts and a data directory; hubs that never outlive it."""

    def __init__(self, folder, seed):
        self.folder, self.seed, self.chance = folder, seed, random.Random(seed)
        self.data, self.scripts = os.path.join(folder, "data"), os.path.join(folder, "scripts")
        self.hubs = []
        self.revision = 0
        copy_context("billing", os.path.join(self.scripts, "billing"))
        self.write("hub.lua", LIMITS % (self.chance.choice([50, 300, 5000]), self.chance.choice([100, 100000])))
        self.write("billing/pulse.lua", PULSE)
        self.write("billing/picky.lua", PICKY)
        self.setup()

    def setup(self):
        pass

    def write(self, path, text):
        with open(os.path.join(self.scripts, path), "w") as file:
            file.write(text)

    def hub(self, data=None, **options):
        self.hubs = [hub for hub in self.hubs if hub.process.poll() is None]
        hub = Hub(self.scripts, data or self.data, "--shards", str(self.chance.randint(1, 3)), "--projectors", str(self.chance.randint(1, 2)),
                  **options)
        self.hubs.append(hub)
        return hub

    def close(self):
        for hub in self.hubs:
            hub.kill()

    def rebuilt(self, copy):
        """The views of a hub that has nothing but the log."""
        hub = self.hub(copy)
        texts = read_views(hub)
        hub.kill()
        shutil.rmtree(copy)
        return texts

    def change_code(self):
        """Some views get another code hash and are built again at the next start."""
        self.revision += 1
        for view in self.chance.sample(VIEWS, self.chance.randint(1, len(VIEWS))):
            path = os.path.join(self.scripts, "billing", view + ".lua")
            with open(path) as file:
                text = re.sub(r"\A(local revision = \d+\n)?", "", file.read())
            self.write(f"billing/{view}.lua", f"local revision = {self.revision}\n{text}")

    def lose(self):
        """Sometimes what is derived is gone as well."""
        for folder in self.chance.choice([(), (), (), ("index",), ("snapshots",), ("views",), ("index", "views", "snapshots")]):
            shutil.rmtree(os.path.join(self.data, folder), ignore_errors=True)

    def kill_while_starting(self, most):
        """Kills on the way up, in the middle of recovery; most: moves of a start that is not disturbed, and somewhat behind it."""
        kills = 0
        while self.chance.random() < 0.4:
            hub = self.hub(ready=False)
            kills += kill_at(hub.process, self.chance.randint(1, most))
            hub.kill()
        return kills


class Commands(Scene):
    """Commands at full speed; views may be built again meanwhile."""
    rebuilds = False

    def setup(self):
        self.ledger = Ledger()
        self.running = self.hub()
        self.start_moves = moved(self.running.process.pid)
        self.life = 0
        for bill in ["shared"] + [f"own-{n}" for n in range(8)]:
            self.send_first(f"bill/{bill}")

    def send_first(self, stream):
        client = self.running.client()
        request = Request(stream, "first", {"type": "CreateBill", "data": {"customer": "first", "start_date": "2026-01-01"}})
        self.ledger.take(request, request.send(client))
        client.close()

    def round(self):
        hub = self.running
        clients = self.send(hub)
        try:
            self.ledger.wait(self.chance.randint(1, 60), clients.alive)
            self.kill(hub, clients)
        finally:
            hub.kill()
            clients.join()
        if self.rebuilds:
            self.change_code()
        return 1 + self.rise()

    def fault(self, point, passing):
        """One life that ends where a fault point is passed for the n-th time, or orderly; true if it was killed there."""
        self.running.stop()
        self.change_code()
        hub = self.hub(env={"LORE_FAULTS": f"{point}@{passing}=kill"}, ready=False)
        if hub.wait_ready(may_end=True):
            clients = self.send(hub)
            self.ledger.wait(40, clients.alive)
            clients.stop()
            hub.process.terminate()
        code = hub.process.wait(TIMEOUT)
        hub.kill()
        if code not in (0, -9):
            raise AssertionError(f"the hub ended with {code}:\n" + "".join(hub.log))
        self.rise()
        return code == -9

    def send(self, hub):
        self.life += 1
        return Clients(self.ledger, f"{self.seed}.{self.life}", hub.port, hub.client)

    def rise(self):
        """After a death: nothing answered is lost, a start brings all back. Returns the kills on the way up."""
        report = verify(self.data)
        if report["outcomes"] < self.ledger.refused:
            raise AssertionError(f"{self.ledger.refused} refusals were answered, {report['outcomes']} are kept")
        kills = self.kill_while_starting(self.start_moves * (4 if self.rebuilds else 2))
        copy = copy_log(self.data, os.path.join(self.folder, "copy"))
        self.lose()
        self.running = hub = self.hub()
        same_views(read_views(hub), self.rebuilt(copy), "rebuilt")
        self.check(hub)
        return kills

    def kill(self, hub, clients):
        hub.process.kill()

    def check(self, hub):
        self.ledger.settle(hub, chance=self.chance)
        self.ledger.check(hub)
        self.ledger.check_bills(hub, hub.view("billing/open_bills"), self.chance)
        report = verify(self.data)
        counts = report["events"], report["outcomes"], report["head_position"]
        if counts != (len(self.ledger.events), self.ledger.refused, len(self.ledger.events)):
            raise AssertionError(f"verify counts {counts}; answered were {len(self.ledger.events)} events, {self.ledger.refused} refusals")


class Rebuilds(Commands):
    """The same while views are built again, keyed ones in partitions and free ones; what was half built goes on or is dropped."""
    rebuilds = True


class Flushes(Commands):
    """The kill falls into what is written behind the answers when nobody asks any more: index runs, snapshots, views."""

    def kill(self, hub, clients):
        clients.stop()
        still = moved(hub.process.pid)
        kill_at(hub.process, still + self.chance.randint(1, 10), patience=40000)


ROWS = """
return function(row)
  if row.kind == "create" then send.bill(row.bill, CreateBill { customer = "c", start_date = row.at }, { at = row.at })
  elseif row.kind == "fact" then record.bill(row.bill, ServicesAddedToBill { services = row.services }, { at = row.at })
  elseif row.kind == "add" then
    send.bill(row.bill, AddServicesToBill { services = row.services }, { at = row.at })
    if row.twice then send.bill(row.bill, AddServicesToBill { services = 1 }, { at = row.at }) end
  else error("no such kind") end
end
"""


class Imports(Scene):
    """An import is killed again and again and run again; its log is always the beginning of what one that nobody disturbed writes."""
    rows = 6000

    def setup(self):
        os.mkdir(os.path.join(self.scripts, "billing", "import"))
        self.write("billing/import/rows.lua", ROWS)
        self.source = os.path.join(self.folder, "rows.ndjson")
        with open(self.source, "w") as file:
            file.writelines(json.dumps(self.make_row(n)) + "\n" for n in range(self.rows))
        whole = os.path.join(self.folder, "whole")
        process = self.start(whole)
        self.moves = 0
        while process.poll() is None:
            self.moves = max(self.moves, moved(process.pid) % (1 << 60))
        self.figures = self.end(process)
        self.log = self.read_log(whole)
        self.views = self.rebuilt(whole)
        self.begin()

    def begin(self):
        """An empty log. One that was killed before it had its id is refused by `lore export`, so imports do not begin without one."""
        self.kills = 0
        self.hub().stop()

    def make_row(self, n):
        bill, at = f"b{n % 300}", f"2026-01-{n // 1000 % 28 + 1:02}T00:00:00.000Z"
        if n < 300:
            return {"kind": "create", "bill": bill, "at": at}
        kind = self.chance.random()
        if kind < 0.01:
            return {"kind": "wrong"}
        if kind < 0.1:
            return {"kind": "fact", "bill": bill, "services": n % 40 + 1, "at": at}
        return {"kind": "add", "bill": bill, "services": 0 if kind > 0.95 else n % 40 + 1, "twice": kind < 0.2, "at": at}

    def start(self, data, env=None):
        return subprocess.Popen([LORE, "import", self.source, "--with", os.path.join(self.scripts, "billing/import/rows.lua"), "--data", data,
                                 "--scripts", self.scripts, "--json", "--shards", str(self.chance.randint(1, 3)),
                                 "--rejected", os.path.join(self.folder, "rejected")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=dict(os.environ, **(env or {})))

    def end(self, process):
        out, err = process.communicate(timeout=TIMEOUT)
        if process.returncode:
            raise AssertionError(f"import: exit {process.returncode} {err}")
        return lines(out)[-1]

    def read_log(self, data):
        text = lore("export", "--data", data, check=0).stdout
        same = ("position", "version", "source", "subject", "type", "time", "data", "commandid")
        return [{name: event.get(name) for name in same} for event in lines(text)]

    def round(self):
        process = self.start(self.data)
        with process.stdout, process.stderr:
            killed = kill_at(process, self.chance.randint(1, self.moves))
        self.look(killed)
        return int(killed)

    def fault(self, point, passing):
        """One import that ends where a fault point is passed for the n-th time, or orderly; true if it was killed there."""
        process = self.start(self.data, {"LORE_FAULTS": f"{point}@{passing}=kill"})
        _, err = process.communicate(timeout=TIMEOUT)
        if process.returncode not in (0, -9):
            raise AssertionError(f"import: exit {process.returncode} {err}")
        self.look(process.returncode == -9)
        return process.returncode == -9

    def look(self, killed):
        self.kills += killed
        if os.path.exists(os.path.join(self.data, "log", "data.mdb")):
            verify(self.data)
            log = self.read_log(self.data)
            if log != self.log[:len(log)]:
                raise AssertionError(f"after kill {self.kills} the log of {len(log)} events is no beginning of the undisturbed one")
        self.lose()
        if not killed or self.chance.random() < 0.2:
            self.finish()

    def finish(self):
        """Runs it to its end; what was there is skipped, the rest added, what was refused told as before."""
        figures = self.end(self.start(self.data))
        for name in ("rows", "rejected", "malformed"):
            if figures[name] != self.figures[name]:
                raise AssertionError(f"{name}: {figures} after kills, {self.figures} undisturbed")
        if figures["commands"] + figures["facts"] + figures["skipped"] != self.figures["commands"] + self.figures["facts"]:
            raise AssertionError(f"{figures} after kills, {self.figures} undisturbed")
        report = verify(self.data)
        if self.read_log(self.data) != self.log or report["outcomes"] != figures["rejected"]:
            raise AssertionError(f"the log after kills is not the undisturbed one: {report}, {figures}")
        hub = self.hub()
        same_views(read_views(hub), self.views, "after an import in pieces")
        hub.stop()
        shutil.rmtree(self.data)
        self.begin()

    def close(self):
        if os.path.exists(self.data):
            self.finish()
        super().close()

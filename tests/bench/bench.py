#!/usr/bin/env python3
"""bench.py [--json] [--runs N] [--copies N] [--streams N] [--no-peers] [--dir DIR] [--bare PROGRAM] [WORD ...]: measures this ./lore on this machine
and prints each figure beside its limit and beside other systems that do the same work in the same run (peers.py).

Figures are medians of several runs. The limit is what the hardware, or a throw-away program that does nothing but this work,
reaches (measured in this run, or design/limits.md); the ratio is figure to limit, turned round where less is better. `*`: below
the goal. Words select works: disk, http, bulk, import, rebuild, scan, size, start, streams, past, deploys, receptors,
timers, queries. The data is the fines log, 561,470 events; all but `import` and `deploys` work on nine copies of it with ids of their own,
5,053,230 events.
"""
import argparse, gzip, json, os, platform, re, shutil, statistics, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))
from fines import EVENTS  # noqa: E402
from hub import ROOT, Hub, lines, lore  # noqa: E402
import peers  # noqa: E402
from asking import Asking  # noqa: E402
from changing import Changing  # noqa: E402
from sending import Sending  # noqa: E402

SCRIPTS = os.path.join(ROOT, "scripts")
VIEWS = ["fines/totals_by_month", "fines/cases", "fines/in_collection"]
BLOCK_SIZE = 4096
HTTP_SECONDS = 3
IMPORT_SECONDS_MAX = 3600
DISK_SECONDS = 2
BARE_EVENTS = 50000
DECIMAL = r"-?\d+\.\d+"
PAST_EVENTS = 100000
BULK_LINES, BULK_STREAMS = 100000, 10000


class Table:
    """Rows of results; what is said while measuring goes to stderr."""

    def __init__(self):
        self.rows = []

    def add(self, work, values, unit, limit=None, limit_of="", goal=None, less=False, peers=None, **more):
        """peers: {name: figure} of the same work, done in this run."""
        values = sorted(values)
        figure = statistics.median(values)
        ratio = None if not limit or not figure else (limit / figure if less else figure / limit)
        missed = goal is not None and (figure > goal if less else figure < goal)
        self.rows.append(dict(work=work, figure=figure, unit=unit, low=values[0], high=values[-1], runs=len(values), limit=limit,
                              limit_of=limit_of, ratio=ratio, goal=goal, less=less, missed=missed, peers=peers or {}, **more))
        print(f"  {work}: {number(figure)} {unit} ({number(values[0])} to {number(values[-1])})", file=sys.stderr, flush=True)
        return figure

    def print(self):
        cells = [["work", "figure", "limit", "ratio", "peers in this run"]]
        for row in self.rows:
            limit = f"{number(row['limit'])} {row['limit_of']}".strip() if row["limit"] else "–"
            note = f", p99 {row['p99_ms']:.1f} ms" if "p99_ms" in row else ""
            cells.append([row["work"], f"{number(row['figure'])} {row['unit']}{note}{' *' if row['missed'] else ''}", limit,
                          f"{row['ratio']:.2f}" if row["ratio"] else "–",
                          ", ".join(f"{name} {number(figure)}" for name, figure in row["peers"].items()) or "–"])
        widths = [max(len(line[at]) for line in cells) for at in range(5)]
        for at, line in enumerate(cells):
            print(" | ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
            if at == 0:
                print("-|-".join("-" * width for width in widths))
        for row in self.rows:
            if row["missed"]:
                print(f"* {row['work']}: the goal is {'at most' if row['less'] else 'at least'} {number(row['goal'])} {row['unit']}")


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Bench:
    def __init__(self, table, args, folder):
        self.table, self.runs, self.copies, self.stream_count, self.folder = table, args.runs, args.copies, args.streams, folder
        self.fines = os.path.join(folder, "fines")
        self.appends, self.sizes = None, {}
        self.hubs, self.servers = [], []
        self.bare = args.bare
        self.peers = [] if args.no_peers else [peer for peer in peers.SERVERS if peer.installed()]
        self.prefix = 0

    def hub(self, data, *args, scripts=SCRIPTS):
        self.hubs.append(Hub(scripts, data, *args))
        return self.hubs[-1]

    def peer(self, kind):
        """One server at a time, so that it has the machine as lore has."""
        self.servers.append(kind(self.folder))
        self.servers[-1].start()
        return self.servers[-1]

    def close(self):
        """None outlives the measurement, however it ended."""
        for hub in self.hubs:
            if hub.process.poll() is None:
                hub.kill()
        for server in self.servers:
            server.stop()

    def times(self, work):
        return [work() for _ in range(self.runs)]

    # --- the disk alone ---

    def disk(self):
        def run():
            path, block, count = os.path.join(self.folder, "appended"), os.urandom(BLOCK_SIZE), 0
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            began = time.monotonic()
            while time.monotonic() - began < DISK_SECONDS:
                os.pwrite(fd, block, count * BLOCK_SIZE)
                os.fdatasync(fd)
                count += 1
            seconds = time.monotonic() - began
            os.close(fd)
            os.unlink(path)
            return count / seconds
        self.appends = self.table.add("append 4 KiB and fdatasync", self.times(run), "/s")

    # --- commands over HTTP ---

    def wrk(self, hub, connections, seconds, pause_ms=0):
        self.prefix += 1
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", os.path.join(HERE, "commands.lua"),
                               f"http://127.0.0.1:{hub.port}", "--", f"r{self.prefix}", str(pause_ms)], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise SystemExit("bench: wrk failed: " + done.stderr + done.stdout)
        result = json.loads(done.stdout.strip().splitlines()[-1])
        if result["refused"] or result["broken"]:
            raise SystemExit(f"bench: {result} at {connections} connections: no figure to be trusted")
        return result

    def http(self):
        if not self.appends:
            self.disk()
        data = os.path.join(self.folder, "http")
        hub = self.hub(data)
        resident, stop = [], threading.Event()

        def sample():
            while not stop.wait(0.1):
                resident.append(resident_bytes(hub.process.pid))
        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            self.wrk(hub, 64, 1)  # warms up
            position = hub.head()
            results = {count: self.times(lambda count=count: self.wrk(hub, count, HTTP_SECONDS)) for count in (1, 64)}
            answered = sum(result["requests"] for runs in results.values() for result in runs)
            if hub.head() - position < answered:
                raise SystemExit("bench: the log holds less than was answered")
        finally:
            stop.set()
            sampler.join()
        hub.stop()
        rates, p99s = self.peers_commands((1, 64))
        for count, limit, name, goal in ((1, self.appends, "bare appends", 0.6 * self.appends), (64, 47000, "prototype", 35000)):
            p99 = statistics.median(result["p99_ms"] for result in results[count])
            self.table.add(f"durable commands, {count} connection{'s' if count > 1 else ''}",
                           [result["requests"] / result["seconds"] for result in results[count]], "/s", limit, name, goal, p99_ms=p99,
                           p50_ms=statistics.median(result["p50_ms"] for result in results[count]), peers=rates[count])
            if count == 64:
                self.table.add("p99 of these", [result["p99_ms"] for result in results[count]], "ms", 2.5, "prototype", 10, less=True,
                               peers=p99s[count])
        self.table.add("resident memory while serving, page cache aside", [max(resident) / 1e6], "MB", 200, "allowed", 200, less=True)
        shutil.rmtree(data)

    def bulk(self):
        """Bodies of 100,000 lines on one connection, made before the clock runs: new bills, and services to bills that are there."""
        data = os.path.join(self.folder, "bulk")
        hub = self.hub(data)
        client = hub.client()

        def post(lines):
            body = "\n".join(lines).encode()
            began = time.monotonic()
            answer = client.request("POST", "/v1/main/commands", body, {"Content-Type": "application/x-ndjson"})
            seconds = time.monotonic() - began
            if answer.bytes.count(b'{"version":') != len(lines):
                raise SystemExit(f"bench: bulk lines are refused: {answer.text[-300:]}")
            return len(lines) / seconds

        def create():
            self.prefix += 1
            return post([f'{{"stream":"billing/bill/b{self.prefix}-{n}","type":"CreateBill","data":{{"customer":"acme","start_date":"2026-01-01T00:00:00Z"}}}}'
                         for n in range(BULK_LINES)])

        def add():
            return post([f'{{"stream":"billing/bill/b{self.prefix}-{n % BULK_STREAMS}","type":"AddServicesToBill","data":{{"services":1}}}}'
                         for n in range(BULK_LINES)])
        create()  # warms up
        self.table.add("bulk: durable commands on one connection, each a new stream", self.times(create), "/s")
        self.table.add(f"bulk: the same to {number(BULK_STREAMS)} streams", self.times(add), "/s", goal=80000)
        client.close()
        hub.stop()
        shutil.rmtree(data)

    def past(self):
        """A bill of 100,000 events: its state and its document a thousand events back, over HTTP."""
        data = os.path.join(self.folder, "past")
        hub = self.hub(data)
        client = hub.client()
        lines = ['{"stream":"billing/bill/long","type":"CreateBill","data":{"customer":"acme","start_date":"2026-01-01T00:00:00Z"}}']
        lines += ['{"stream":"billing/bill/long","type":"AddServicesToBill","data":{"services":1}}'] * (PAST_EVENTS - 1)
        answer = client.request("POST", "/v1/main/commands", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
        if answer.bytes.count(b'{"version":') != PAST_EVENTS:
            raise SystemExit(f"bench: the bill was not made: {answer.text[-300:]}")

        def ask(path):
            def run():
                times = []
                for back in range(1000, 1020):
                    began = time.monotonic()
                    answer = client.request("GET", path.format(PAST_EVENTS - back))
                    times.append(1000 * (time.monotonic() - began))
                    if answer.status != 200:
                        raise SystemExit(f"bench: {path}: {answer.text}")
                return statistics.median(times)
            return run
        self.table.add(f"state a thousand events back, of {number(PAST_EVENTS)}", self.times(ask("/v1/main/billing/bill/long?version={}")), "ms",
                       goal=5, less=True)
        self.table.add(f"document of a view with a key function, by a scan of {number(PAST_EVENTS - 1000)} events",
                       self.times(ask("/v1/main/views/billing/open_bills/long?at={}")), "ms", less=True)
        client.close()
        hub.stop()
        shutil.rmtree(data)

    def peers_commands(self, counts):
        """Medians of the peers: {connections: {name: commands a second}}, {connections: {name: p99 in ms}}."""
        rates, p99s = {count: {} for count in counts}, {count: {} for count in counts}
        for kind in self.peers:
            server = self.peer(kind)
            for count in counts:
                if count > 1 and kind is peers.Sqlite:
                    continue
                results = self.times(lambda: server.commands(count, HTTP_SECONDS))
                rates[count][kind.name] = statistics.median(rate for rate, _ in results)
                p99s[count][kind.name] = statistics.median(p99 for _, p99 in results)
                print(f"  {kind.name}, {count}: {number(rates[count][kind.name])} /s", file=sys.stderr, flush=True)
            server.stop()
        return rates, p99s

    def streams(self):
        """The rate on an empty directory and on one with very many streams; no views, so that the log and its index alone are compared."""
        scripts, data = os.path.join(self.folder, "scripts"), os.path.join(self.folder, "streams")
        os.makedirs(os.path.join(scripts, "billing", "import"))
        for name in ("contracts.lua", "bill.lua", "pricing.lua"):
            shutil.copy(os.path.join(SCRIPTS, "billing", name), os.path.join(scripts, "billing"))
        rows, script = os.path.join(self.folder, "bills.ndjson"), os.path.join(scripts, "billing", "import", "bills.lua")
        with open(script, "w") as file:
            file.write("""local start = time "2026-01-01T00:00:00Z"
return function(row) send.bill(row.id, CreateBill { customer = "acme", start_date = start }) end
""")
        with open(rows, "w") as file:
            for at in range(self.stream_count):
                file.write(f'{{"id":"bill-{at}"}}\n')

        def rate():
            hub = self.hub(data, scripts=scripts)
            self.wrk(hub, 64, 1)
            rates = [result["requests"] / result["seconds"] for result in self.times(lambda: self.wrk(hub, 64, HTTP_SECONDS))]
            resident = resident_bytes(hub.process.pid)
            hub.stop()
            return rates, resident
        empty, _ = rate()
        shutil.rmtree(data)
        lore("import", rows, "--with", script, "--scripts", scripts, "--data", data, "--rejected", os.path.join(self.folder, "rejected"), check=0, timeout=IMPORT_SECONDS_MAX)
        os.unlink(rows)
        full, resident = rate()
        many = f"{number(self.stream_count / 1e6)} M streams"
        base = statistics.median(empty)
        self.table.add("durable commands, 64 connections, no views, empty directory", empty, "/s")
        self.table.add(f"the same with {many} there", full, "/s", base, "on an empty directory", 0.8 * base)
        self.table.add(f"resident memory with {many}", [resident / 1e6], "MB", 200, "allowed", 200, less=True)
        shutil.rmtree(data)

    # --- thirteen years of fines ---

    def do_import(self, rows, data):
        """Rows a second, starting and stopping included."""
        shutil.rmtree(data, ignore_errors=True)
        began = time.monotonic()
        done = lore("import", rows, "--with", os.path.join(SCRIPTS, "fines/import/road_fines.lua"), "--scripts", SCRIPTS,
                    "--data", data, "--rejected", os.path.join(self.folder, "rejected"), "--json", check=0)
        seconds = time.monotonic() - began
        figures = lines(done.stdout)[-1]
        if figures["commands"] + figures["facts"] != figures["rows"]:
            raise SystemExit(f"bench: the import refused rows: {figures}")
        return figures["rows"] / seconds

    def imports(self):
        data, loads = os.path.join(self.folder, "import"), {}
        values = self.times(lambda: self.do_import(EVENTS, data))
        shutil.rmtree(data)
        for kind in self.peers:
            if hasattr(kind, "load"):
                server = self.peer(kind)
                loads[kind.name + (" COPY" if kind is peers.Postgres else " 1,000 a transaction")] = server.load(EVENTS)
                server.stop()
        self.table.add("import through commands into an empty directory", values, "rows/s", 300000, "log in batches of 64", 100000, peers=loads)

    def replicate(self, path):
        """The fines so many times, each copy with case ids of its own, row beside row: all of it stays in the order of time."""
        with gzip.open(EVENTS, "rt") as source, open(path, "w") as file:
            for line in source:
                for copy in range(self.copies):
                    file.write(line.replace('"case_id":"', f'"case_id":"{copy}-', 1))

    def need_fines(self):
        if os.path.exists(self.fines):
            return
        print(f"  (importing {self.copies} copies of the fines)", file=sys.stderr, flush=True)
        rows = os.path.join(self.folder, "rows.ndjson")
        self.replicate(rows)
        self.do_import(rows, self.fines)
        os.unlink(rows)
        self.settle()

    def settle(self):
        """All views up, the index flushed, the hub stopped cleanly."""
        hub = self.hub(self.fines)
        self.wait_live(hub, hub.client())
        hub.stop()

    def projections(self, client):
        answer = client.request("GET", "/v1/status", None, {"Accept": "application/x-ndjson"})
        return {line["name"]: line for line in lines(answer.text) if line["kind"] == "projection"}

    def wait_live(self, hub, client):
        head = hub.head()
        while any(line["position"] < head or "rebuilding" in line for line in self.projections(client).values()):
            time.sleep(0.01)
        return head

    def handlers_alone(self, client):
        """{view: events a second that its handlers make of ready tables in bare Lua}: what no host could be faster than."""
        if not self.bare:
            return {}
        path = os.path.join(self.folder, "events.lua")
        answer = client.request("GET", f"/v1/main/events?limit={BARE_EVENTS}", None, {"Accept": "application/x-ndjson"})
        with open(path, "w") as file:
            file.write("return {\n")
            for event in lines(answer.text):
                data = ", ".join(f"{name} = {value if re.fullmatch(DECIMAL, str(value)) else json.dumps(value)}"
                                 for name, value in event["data"].items())
                file.write(f'  {{ "{event["type"]}", {{ id = "{event["subject"].split("/")[1]}", type = "{event["type"]}", '
                           f'at = "{event["time"]}" }}, function() return {{ {data} }} end }},\n')
            file.write("}\n")

        def run(view):
            script = os.path.join(SCRIPTS, view + ".lua")
            return float(subprocess.run([self.bare, os.path.join(HERE, "bare.lua"), script, path], check=True, capture_output=True,
                                        text=True, timeout=300).stdout)
        return {view: statistics.median(self.times(lambda view=view: run(view))) for view in VIEWS}

    def gain(self, view, cores):
        """How many times as much bare Lua does on all cores as on one: the machine's share in what a rebuild gains."""
        command = [self.bare, os.path.join(HERE, "bare.lua"), os.path.join(SCRIPTS, view + ".lua"), os.path.join(self.folder, "events.lua")]

        def seconds(count):
            began = time.monotonic()
            running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]
            if any(process.wait() for process in running):
                raise SystemExit(f"bench: {command}")
            return time.monotonic() - began
        return cores * statistics.median(self.times(lambda: seconds(1))) / statistics.median(self.times(lambda: seconds(cores)))

    def rebuild(self):
        self.need_fines()
        cores = os.cpu_count() or 1
        one, alone = {}, {}
        for projectors in sorted({1, cores}):
            hub = self.hub(self.fines, "--projectors", str(projectors))
            client = hub.client()
            head = self.wait_live(hub, client)
            alone = alone or self.handlers_alone(client)

            def run(view):
                before = self.projections(client)[view]["generation"]
                began = time.monotonic()
                answer = client.request("POST", f"/v1/status/rebuild/{view}", b"")
                if answer.status >= 300:
                    raise SystemExit(f"bench: {view}: {answer.text}")
                while True:
                    line = self.projections(client)[view]
                    if line["generation"] != before and "rebuilding" not in line:
                        return head / (time.monotonic() - began)
                    time.sleep(0.003)
            for view in VIEWS if projectors == 1 else ["fines/cases"]:
                goal = 1000000 if "totals" in view else 300000 if "cases" in view else None
                values = self.times(lambda view=view: run(view))
                if projectors == 1:
                    one[view] = self.table.add(f"rebuild {view}, one core", values, "events/s", alone.get(view), "its handlers in bare Lua", goal)
                else:
                    gain = self.gain(view, projectors) if self.bare else projectors
                    self.table.add(f"rebuild {view}, {projectors} cores", values, "events/s", gain * one[view],
                                   f"one core × {gain:.2f}, what bare Lua gains", 1.7 * one[view] if projectors == 2 else None)
            client.close()
            hub.stop()

    def scan(self):
        self.need_fines()
        hub = self.hub(self.fines)
        client = hub.client()
        head = self.wait_live(hub, client)
        counts = json.load(open(os.path.join(os.path.dirname(EVENTS), "reference.json")))["events_per_activity"]

        def run(type, expected):
            began = time.monotonic()
            answer = client.request("GET", f"/v1/main/events?type={type}", None, {"Accept": "application/x-ndjson"})
            seconds = time.monotonic() - began
            if answer.bytes.count(b"\n") != expected:
                raise SystemExit(f"bench: {type}: {answer.bytes.count(10)} events, expected {expected}")
            return head / seconds
        figures = {}
        run("AppealedToJudge", self.copies * counts["Appeal to Judge"])
        for type, activity in (("AppealedToJudge", "Appeal to Judge"), ("PaymentReceived", "Payment")):
            figures[activity] = self.times(lambda: run(type, self.copies * counts[activity]))
        client.close()
        hub.stop()
        found = {activity: {} for activity in figures}
        for kind in self.peers:
            if hasattr(kind, "scan"):
                server = self.peer(kind)
                server.load(EVENTS)
                for activity in figures:
                    server.scan(activity)
                    found[activity][kind.name] = statistics.median(self.times(lambda: server.scan(activity)[0]))
                self.sizes[kind.name] = server.bytes_per_event()
                server.stop()
        for (activity, values), goal in zip(figures.items(), (5000000, None)):
            self.table.add(f"scan for one type, {number(self.copies * counts[activity])} of {number(head)} found", values, "events/s", 20000000,
                           "LMDB scan", goal, peers=found[activity])

    def size(self):
        self.need_fines()
        hub = self.hub(self.fines)
        events = hub.head()
        hub.stop()
        log, index, views = (disk_bytes(os.path.join(self.fines, name)) / events for name in ("log", "index", "views"))
        self.table.add("disk per event of the log", [log], "bytes")
        self.table.add("disk per event of the index", [index], "bytes")
        self.table.add("disk per event of log and index", [log + index], "bytes", 200, "allowed", 200, less=True, peers=self.sizes)
        self.table.add("disk per event of all views", [views], "bytes")

    def start(self):
        self.need_fines()

        def ready():
            began = time.monotonic()
            hub = self.hub(self.fines)
            while hub.request("GET", "/readyz").status != 200:
                time.sleep(0.001)
            return hub, time.monotonic() - began

        def clean():
            hub, seconds = ready()
            hub.stop()
            return seconds

        def killed():
            hub, _ = ready()
            self.wrk(hub, 64, 1)
            hub.kill()
            hub, seconds = ready()
            hub.stop()
            return seconds
        clean_times, killed_times = self.times(clean), self.times(killed)
        of = f"{number(self.copies * 0.56147)} M events"
        self.table.add(f"start to ready on {of}, after a clean stop", clean_times, "s", 1, "allowed", 1, less=True)
        self.table.add(f"start to ready on {of}, after kill -9 under load", killed_times, "s", 1, "allowed", 1, less=True)


def resident_bytes(pid):
    try:
        text = open(f"/proc/{pid}/status").read()
    except OSError:
        return 0
    found = re.search(r"RssAnon:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


def disk_bytes(path):
    return sum(os.stat(os.path.join(folder, name)).st_blocks * 512 for folder, _, names in os.walk(path) for name in names)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object a line on stdout")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--copies", type=int, default=9, help="copies of the fines (default 9: 5 million events)")
    parser.add_argument("--streams", type=int, default=10000000, help="streams that are there for `streams` (default 10 million)")
    parser.add_argument("--no-peers", action="store_true", help="lore alone")
    parser.add_argument("--dir", default="/var/tmp", help="a folder on the disk to measure (default /var/tmp)")
    parser.add_argument("--bare", metavar="PROGRAM", help="runs Lua as it is (bare.c): the limit of rebuilds")
    parser.add_argument("words", nargs="*", metavar="WORD")
    args = parser.parse_args()
    table, folder = Table(), tempfile.mkdtemp(prefix="lore-bench-", dir=args.dir)
    bench = Bench(table, args, folder)
    works = {"disk": bench.disk, "http": bench.http, "bulk": bench.bulk, "import": bench.imports, "rebuild": bench.rebuild, "scan": bench.scan, "size": bench.size,
             "start": bench.start, "streams": bench.streams, "past": bench.past, "deploys": Changing(bench).plan,
             "receptors": Sending(bench).receptors, "timers": Sending(bench).waiting, "queries": Asking(bench).queries}
    unknown = [word for word in args.words if word not in works]
    if unknown:
        parser.error(f"unknown work {unknown[0]}: one of {', '.join(works)}")
    began = time.monotonic()
    try:
        for name, work in works.items():
            if not args.words or name in args.words:
                work()
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        for row in table.rows:
            print(json.dumps(row))
    else:
        table.print()
        print(f"\n{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}; medians of {args.runs}; {args.dir}; "
              f"{time.monotonic() - began:.0f} s in all")


main()

#!/usr/bin/env python3
"""bench.py [--json] [--runs N] [--dir DIR] [WORD ...]: measures this ./lore on this machine and prints each figure beside its limit.

Figures are medians of several runs. The limit is what the hardware, or a throw-away program that does nothing but this work,
reaches (measured in this run, or design/limits.md); the ratio is figure to limit, turned round where less is better. `*`: below
the goal. Words select works: disk, http, import, rebuild, scan, start, size. The data is the fines log, 561,470 events.
"""
import argparse, json, os, platform, re, shutil, statistics, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))
from hub import LORE, ROOT, Hub, lines, lore  # noqa: E402

EVENTS = os.path.join(os.path.dirname(ROOT), "shared", "data", "road_fines", "events.ndjson.gz")
SCRIPTS = os.path.join(ROOT, "scripts")
VIEWS = ["fines/totals_by_month", "fines/cases", "fines/in_collection", "fines/officers"]
BLOCK_SIZE = 4096
HTTP_SECONDS = 4
DISK_SECONDS = 2


class Table:
    """Rows of results; what is said while measuring goes to stderr."""

    def __init__(self):
        self.rows = []

    def add(self, work, values, unit, limit=None, limit_of="", goal=None, less=False, **more):
        values = sorted(values)
        figure = statistics.median(values)
        ratio = None if not limit or not figure else (limit / figure if less else figure / limit)
        missed = goal is not None and (figure > goal if less else figure < goal)
        self.rows.append(dict(work=work, figure=figure, unit=unit, low=values[0], high=values[-1], runs=len(values), limit=limit,
                              limit_of=limit_of, ratio=ratio, goal=goal, less=less, missed=missed, peer=None, **more))
        print(f"  {work}: {number(figure)} {unit} ({number(values[0])} to {number(values[-1])})", file=sys.stderr, flush=True)
        return figure

    def print(self):
        cells = [["work", "figure", "limit", "ratio", "peer"]]
        for row in self.rows:
            limit = f"{number(row['limit'])} {row['limit_of']}".strip() if row["limit"] else "–"
            note = f", p99 {row['p99_ms']:.1f} ms" if "p99_ms" in row else ""
            cells.append([row["work"], f"{number(row['figure'])} {row['unit']}{note}{' *' if row['missed'] else ''}", limit,
                          f"{row['ratio']:.2f}" if row["ratio"] else "–", "–"])
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
    def __init__(self, table, runs, folder):
        self.table, self.runs, self.folder = table, runs, folder
        self.fines = os.path.join(folder, "fines")
        self.appends = None
        self.hubs = []
        self.prefix = 0

    def hub(self, data, *args):
        self.hubs.append(Hub(SCRIPTS, data, *args))
        return self.hubs[-1]

    def close(self):
        """None outlives the measurement, however it ended."""
        for hub in self.hubs:
            if hub.process.poll() is None:
                hub.kill()

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

    def wrk(self, hub, connections, seconds):
        self.prefix += 1
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", os.path.join(HERE, "commands.lua"),
                               f"http://127.0.0.1:{hub.port}", "--", f"r{self.prefix}"], capture_output=True, text=True, timeout=120)
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
        for count, limit, name, goal in ((1, self.appends, "bare appends", 0.6 * self.appends), (64, 47000, "prototype", 35000)):
            p99 = statistics.median(result["p99_ms"] for result in results[count])
            self.table.add(f"durable commands, {count} connection{'s' if count > 1 else ''}",
                           [result["requests"] / result["seconds"] for result in results[count]], "/s", limit, name, goal, p99_ms=p99,
                           p50_ms=statistics.median(result["p50_ms"] for result in results[count]))
            if count == 64:
                self.table.add("p99 of these", [result["p99_ms"] for result in results[count]], "ms", 2.5, "prototype", 10, less=True)
        self.table.add("resident memory while serving, page cache aside", [max(resident) / 1e6], "MB", 200, "allowed", 200, less=True)
        shutil.rmtree(data)

    # --- thirteen years of fines ---

    def do_import(self):
        shutil.rmtree(self.fines, ignore_errors=True)
        began = time.monotonic()
        done = lore("import", EVENTS, "--with", os.path.join(SCRIPTS, "fines/import/road_fines.lua"), "--scripts", SCRIPTS,
                    "--data", self.fines, "--rejected", os.path.join(self.folder, "rejected"), "--json", check=0)
        seconds = time.monotonic() - began  # starting and stopping too
        figures = lines(done.stdout)[-1]
        if figures["commands"] + figures["facts"] != figures["rows"]:
            raise SystemExit(f"bench: the import refused rows: {figures}")
        self.rows = figures["rows"]
        return figures["rows"] / seconds

    def imports(self):
        self.table.add("import through commands into an empty directory", self.times(self.do_import), "rows/s", 300000,
                       "log in batches of 64", 100000)

    def need_fines(self):
        if not os.path.exists(self.fines):
            print("  (importing the fines)", file=sys.stderr, flush=True)
            self.do_import()
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

    def rebuild(self):
        self.need_fines()
        cores = os.cpu_count() or 1
        one = {}
        for projectors in sorted({1, cores}):
            hub = self.hub(self.fines, "--projectors", str(projectors))
            client = hub.client()
            head = self.wait_live(hub, client)

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
                goal, limit = (1000000, 1530000) if "totals" in view else (300000, 650000) if "cases" in view else (None, 1530000)
                values = self.times(lambda view=view: run(view))
                if projectors == 1:
                    one[view] = self.table.add(f"rebuild {view}, one core", values, "events/s", limit, "prototype, 10 k documents", goal)
                else:
                    self.table.add(f"rebuild {view}, {projectors} cores", values, "events/s", projectors * one[view], "of as many alone",
                                   1.7 * one[view] if projectors == 2 else None)
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
        run("AppealedToJudge", counts["Appeal to Judge"])
        for type, activity, goal in (("AppealedToJudge", "Appeal to Judge", 5000000), ("PaymentReceived", "Payment", None)):
            self.table.add(f"scan for type {type} ({number(counts[activity])} found)",
                           self.times(lambda: run(type, counts[activity])), "events/s", 20000000, "LMDB scan", goal)
        client.close()
        hub.stop()

    def start(self):
        self.need_fines()
        data = os.path.join(self.folder, "start")
        shutil.copytree(self.fines, data)

        def ready():
            began = time.monotonic()
            hub = self.hub(data)
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
        self.table.add("start to ready after a clean stop", self.times(clean), "s", 1, "allowed", 1, less=True)
        self.table.add("start to ready after kill -9 under load", self.times(killed), "s", 1, "allowed", 1, less=True)
        shutil.rmtree(data)

    def size(self):
        self.need_fines()
        self.settle()
        events = lines(lore("verify", "--json", "--data", self.fines, check=0).stdout)[-1]["events"]
        log, index, views = (disk_bytes(os.path.join(self.fines, name)) / events for name in ("log", "index", "views"))
        self.table.add("disk per event of the log", [log], "bytes", 200, "allowed with the index", 200, less=True)
        self.table.add("disk per event of the index", [index], "bytes")
        self.table.add("disk per event of log and index", [log + index], "bytes", 200, "allowed", 200, less=True)
        self.table.add("disk per event of all views", [views], "bytes")


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
    parser.add_argument("--dir", default="/var/tmp", help="a folder on the disk to measure (default /var/tmp)")
    parser.add_argument("words", nargs="*", metavar="WORD")
    args = parser.parse_args()
    table, folder = Table(), tempfile.mkdtemp(prefix="lore-bench-", dir=args.dir)
    bench = Bench(table, args.runs, folder)
    works = {"disk": bench.disk, "http": bench.http, "import": bench.imports, "rebuild": bench.rebuild, "scan": bench.scan,
             "start": bench.start, "size": bench.size}
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

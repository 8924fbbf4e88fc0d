"""Every fault point of core/base/faultpoint.h fires at several of its passings, in each work that passes it: nothing that was
answered is lost, nothing that was refused is there, and without the fault all is whole again.

LORE_TEST_ALL=1 takes every action at more passings. FAULT=log.write@3=EIO (with WORK=serve) repeats one case.
"""
import concurrent.futures, http.client, json, os, re, shutil, tempfile, threading, unittest

from hub import ROOT, SMALL, TIMEOUT, Case, Hub, lines, lore, main
from shop import SCRIPTS

ALL = bool(os.environ.get("LORE_TEST_ALL"))
CLIENTS, ROUNDS, ROWS = 4, 8, 60
FILL = 70  # events of one command: more than lie between two snapshots


def points():
    with open(os.path.join(ROOT, "core", "base", "faultpoint.h")) as file:
        return set(re.findall(r'X\(\w+, "([a-z.]+)"', file.read()))


# A point whose every passing fails would only keep the test waiting.
ONCE = {"net.accept"}
# No work of this size passes them: tests/unit/store/test_docs_disk.c fires them.
LARGE = {"views.grow"}
# Nor these: this domain sends nothing and has no services or tasks. test_chain.py, test_services.py and test_tasks.py kill at each of
# them, and make them fail with tests/unit/run/test_courier.c and test_tasks.c.
SENDING = {"receptor.", "courier.", "timers.", "service.", "task."}
# Nor does it roll back or make backups: test_rollback.py, test_backup.py and tests/unit/store/test_cut.c do, at each of them.
BACK = {"rollback.", "archive."}
# One allocation that fails is made again after a collection, so they all fail from one on.
ON = {"lua.memory"}


def cases(point, passed):
    """What to arm for a point that a work passes so often."""
    middle = (passed + 1) // 2
    if ALL:
        at = sorted({1, 2, passed // 4 + 1, middle, passed * 3 // 4 + 1, max(1, passed - 1), passed})
        actions = ["EIO", "ENOSPC", "EMFILE", "short", "kill"]
        found = [(n, on, action) for n in at for action in actions for on in ("", "+")]
    else:
        found = [(1, "", "EIO"), (middle, "", "kill"), (middle, "+", "ENOSPC"), (passed, "", "short")]
    for n, on, action in found:
        if on and (point in ONCE or action == "kill") or not on and point in ON and action != "kill":
            continue
        yield f"{point}@{n}{on}={action}"


class Work:
    """One work in a copy of the directory under one armed fault, and what it was told."""

    def __init__(self, base, fault):
        self.fault = fault
        self.dir = tempfile.mkdtemp(prefix="lore-fault-")
        self.data = os.path.join(self.dir, "data")
        self.scripts = os.path.join(self.dir, "scripts")
        shutil.copytree(os.path.join(base, "scripts"), self.scripts)
        shutil.copytree(os.path.join(base, "data"), self.data, ignore=shutil.ignore_patterns("hub.sock"))
        self.answers = []  # (stream, id, status, version, position)
        self.lost = 0
        self.log, self.code = [], None

    def env(self):
        return {"LORE_FAULTS": self.fault}

    def close(self):
        shutil.rmtree(self.dir, True)

    def wrong(self, text):
        raise AssertionError(f"{self.fault}: {text}\n" + "".join(self.log))

    def passed(self):
        return {name: int(count) for name, count in re.findall(r"fault point (\S+) was passed (\d+) times", "".join(self.log))}

    def fired(self):
        return set(re.findall(r"fault point (\S+) fires", "".join(self.log)))

    # --- works ---

    def serve(self):
        try:
            hub = Hub(self.scripts, self.data, env=self.env())
        except AssertionError as error:  # it did not start
            ended = re.match(r"the hub ended \(exit (-?\d+)\).*?\n", str(error), re.S)
            if not ended:
                raise
            self.code, self.log = int(ended[1]), str(error)[ended.end():].splitlines(True)
            return
        try:
            threads = [threading.Thread(target=self.client, args=(hub, n)) for n in range(CLIENTS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.look(hub)
            if hub.process.poll() is None:
                hub.process.terminate()
            self.code = hub.process.wait(TIMEOUT)
        finally:
            hub.kill()
        self.log = hub.log

    def client(self, hub, number):
        client = hub.client()
        try:
            for n in range(ROUNDS):
                own, shared = f"own-{number}", f"shared-{n % 2}"
                self.send(client, own, f"a-{number}-{n}", "Add", {"n": n + 1})
                self.send(client, shared, f"b-{number}-{n}", "Add", {"n": n})  # 0 is refused
                if n == 3:
                    self.send(client, own, f"f-{number}", "Fill", {"n": FILL})
                if n == 5:
                    self.send(client, own, f"o-{number}", "Open", {"owner": "x"})
                    self.send(client, own, f"o-{number}-again", "Open", {"owner": "y"})
        except (OSError, http.client.HTTPException):
            self.lost += 1
        finally:
            client.close()

    def send(self, client, stream, id, type, data):
        answer = client.request("POST", f"/v1/main/shop/box/{stream}", {"type": type, "data": data}, {"Idempotency-Key": id})
        self.told(answer)
        body = answer.json
        self.answers.append((stream, id, answer.status, body.get("version"), body.get("position")))

    def told(self, answer):
        if answer.status == 200:
            return
        if answer.headers["Content-Type"] != "application/problem+json" or not answer.json["code"] or not answer.json["detail"]:
            self.wrong(f"{answer.status} {answer.headers} {answer.text}")
        if answer.status >= 500 and answer.json["code"] not in ("disk", "unavailable", "lagging"):
            self.wrong(f"{answer.status} {answer.text}")

    def look(self, hub):
        """States and views, which may be behind."""
        try:
            for path in ("shop/box/own-0", "views/shop/boxes?wait=100000&timeout=0", "views/shop/sums", "shop/box/base-1", "events"):
                self.told(hub.request("GET", f"/v1/main/{path}"))
        except (OSError, http.client.HTTPException):
            self.lost += 1

    def imports(self):
        rows = os.path.join(self.dir, "rows.ndjson")
        with open(rows, "w") as file:
            for n in range(ROWS):
                file.write(json.dumps({"id": f"row-{n % 10}", "n": n % 12}) + "\n")
        done = lore("import", rows, "--with", os.path.join(self.scripts, "shop/import/rows.lua"), "--json",
                    "--data", self.data, "--scripts", self.scripts, env=self.env())
        self.code, self.log = done.returncode, done.stderr.splitlines(True)
        if done.stdout:
            self.figures = json.loads(done.stdout)
            if self.code == 0 and self.figures["rows"] != ROWS:
                self.wrong(done.stdout)

    # --- what must hold ---

    def judge(self):
        """How it ended and what it said."""
        action = self.fault.split("=")[1]
        said = [line for line in self.log if not re.match(
            r"lore: (warning: fault points? |deploy \d+ runs \(|error: \S+ cannot be loaded: deploy \d+ runs|listening on|terminated: stopping|stopped$|\S+: rebuilding |\S+: generation \d+ answers|"
            r".* works again$|there is room on the disk again$|rows that were refused)", line)]
        if self.code == 1 and "lua.memory" in self.fault and any("no memory left for scripts" in line for line in said):
            return  # the scripts of one more thread could not be loaded: each is named
        if self.code == -9 and action == "kill":
            said = []
        elif self.code not in (0, 3):
            self.wrong(f"exit code {self.code}")
        if self.lost and self.code == 0:
            self.wrong("connections were cut")
        if self.code == 3 and not said:
            self.wrong("it stopped without a word")
        most = 1 if self.code == 3 or action == "ENOSPC" and "lua" not in self.fault else 3
        if "index.read" in self.fault:  # a command that needs no look-up on disk ends the outage in between
            said = list(set(said))
        if len(said) > most or len(set(said)) < len(said):
            self.wrong("too many words: " + "".join(said))
        for line in said:
            if not re.match(r"lore: (error: |warning: )?.{10,}", line):
                self.wrong("not a clear line: " + line)

    def check(self):
        """Without a fault everything is there once, gapless, and views are what a rebuild makes of the log."""
        hub = Hub(self.scripts, self.data)
        try:
            events = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
            for view in ("shop/boxes", "shop/sums"):
                if any(f"{view}: rebuilding" in line for line in hub.log):
                    hub.wait_said(f"{view}: generation")  # until then the old one answers
            views = {name: hub.view(name) for name in ("shop/boxes", "shop/sums")}
            hub.stop()
        finally:
            hub.kill()
        by_command, versions = {}, {}
        for at, event in enumerate(events):
            stream = event["subject"].split("/")[-1]
            versions[stream] = versions.get(stream, 0) + 1
            if (event["position"], event["version"]) != (at + 1, versions[stream]):
                self.wrong(f"not gapless: {event}")
            by_command.setdefault((stream, event["commandid"]), []).append(event)
        for stream, id, status, version, position in self.answers:
            found = by_command.get((stream, id), [])
            expected = FILL if id.startswith("f-") else 1
            if status == 200 and (len(found) != expected or (found[-1]["version"], found[-1]["position"]) != (version, position)):
                self.wrong(f"{id} was answered with version {version}, position {position}: {found}")
            if status != 200 and found:
                self.wrong(f"{id} was refused ({status}) and is there: {found}")
        report = lines(lore("verify", "--json", "--data", self.data).stdout)[-1]
        if not report["ok"]:
            self.wrong(f"verify: {report}")
        shutil.rmtree(os.path.join(self.data, "views"))
        hub = Hub(self.scripts, self.data)
        try:
            for name, documents in views.items():
                if hub.view(name) != documents:
                    self.wrong(f"{name}: {documents} is not what a rebuild makes: {hub.view(name)}")
        finally:
            hub.kill()


WORKS = {"serve": Work.serve, "import": Work.imports}


class Faults(Case):
    def base(self):
        """A directory as kill -9 leaves it, whose views another code made, so that a start repairs and rebuilds, the one by key in
        partitions."""
        for path, text in SCRIPTS.items():
            self.write(path, text)
        self.write("hub.lua", "return { limits = { rebuild_partition_events = 10 } }")
        hub = self.hub()
        for n in range(100):
            hub.send(f"shop/box/base-{n % 50}", "Add", {"n": n + 1})
        hub.view("shop/sums")
        hub.stop()
        hub = self.hub()
        for n in range(100):
            hub.send(f"shop/box/base-{n % 50}", "Add", {"n": n + 1})
        hub.view("shop/sums")
        hub.kill()
        self.edit("shop/sums.lua", "% 7", "% 5")
        self.edit("shop/boxes.lua", "view.sum + e.n", "view.sum + e.n + 1")

    def run_case(self, name, fault):
        work = Work(self.dir, fault)
        try:
            WORKS[name](work)
            if fault != "none":
                work.judge()
                work.check()
            return work
        finally:
            work.close()

    def test_every_point(self):
        self.base()
        if os.environ.get("FAULT"):
            self.run_case(os.environ.get("WORK", "serve"), os.environ["FAULT"])
            return
        wanted, fired, work = [], set(), {}
        for name in WORKS:
            work[name] = self.run_case(name, "none").passed()
            wanted += [(name, fault) for point, count in work[name].items() for fault in cases(point, count)]
        passed = set().union(*work.values())
        here = {point for point in points() if not point.startswith(tuple(SENDING | BACK))}
        self.assertEqual(here - passed, LARGE, "points that no work passes")
        if SMALL:
            wanted = wanted[::7]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(self.run_case, *case) for case in wanted]
        wrong = [f"{case[0]}: {run.exception()}" for case, run in zip(wanted, runs) if run.exception()]
        if wrong:
            self.fail(f"{len(wrong)} of {len(wanted)} cases:\n" + "\n".join(wrong))
        for run in runs:
            fired |= run.result().fired()
        if not SMALL:
            self.assertEqual(passed - fired, set(), "points that never fired")


if __name__ == "__main__":
    main()

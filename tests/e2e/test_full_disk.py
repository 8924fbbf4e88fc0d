"""A disk that is really full: a small tmpfs where mounting is allowed, and a limit on file sizes, which is allowed everywhere."""
import ctypes, errno, json, os, re, resource, shutil, subprocess, unittest

from hub import Case, lines, lore, main
from shop import SCRIPTS

libc = ctypes.CDLL(None, use_errno=True)
OWNER = "o" * 3000  # large events fill a small disk soon


class Disk(Case):
    def setUp(self):
        super().setUp()
        for path, text in SCRIPTS.items():
            self.write(path, text)
        self.sent = []  # (stream, id, version)
        self.number = 0

    def command(self, hub):
        """One large command to a box of its own; its status."""
        self.number += 1
        stream, id = f"box-{self.number}", f"id-{self.number}"
        answer = hub.request("POST", f"/v1/main/shop/box/{stream}", {"type": "Open", "data": {"owner": OWNER}}, {"Idempotency-Key": id})
        if answer.status == 200:
            self.sent.append((stream, id, answer.json["version"]))
        else:
            self.assertEqual((answer.status, answer.json["code"]), (503, "disk"), answer.text)
            self.assertEqual(answer.headers["Retry-After"], "5")
        return answer.status

    def until_full(self, hub, most=3000):
        for _ in range(most):
            if self.command(hub) != 200:
                return
        self.fail("the disk did not become full")

    def said(self, hub, pattern):
        return [line for line in hub.log if re.search(pattern, line)]

    def one_outage(self, hub, *files):
        """One line at its beginning, one at its end, nothing else."""
        hub.wait_said("there is room on the disk again")
        lines = [line for line in hub.log if not re.match(r"lore: (listening|deploy \d+ runs|\S+: (rebuilding|generation \d+ answers))", line)]
        self.assertEqual(len(lines), 2, "".join(hub.log))
        self.assertRegex(lines[0], r"^lore: error: \S+/data/\S+: (cannot write: )?(No space left on device|File too large): what needs room there is refused or waits$")
        self.assertRegex(lines[1], "^lore: there is room on the disk again$")

    def whole(self):
        """What was answered is there once, all is clean, views are what a rebuild makes of the log."""
        report = lines(lore("verify", "--json", "--data", self.data).stdout)[-1]
        self.assertTrue(report["ok"], report)
        hub = self.hub()
        events = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
        self.assertEqual([event["position"] for event in events], list(range(1, len(events) + 1)))
        ids = [event["commandid"] for event in events]
        self.assertEqual(sorted(id for _, id, _ in self.sent), sorted(id for id in ids if id.startswith("id-")))
        views = {name: hub.view(name) for name in ("shop/boxes", "shop/sums")}
        hub.stop()
        shutil.rmtree(os.path.join(self.data, "views"))
        hub = self.hub()
        self.assertEqual({name: hub.view(name) for name in views}, views)
        hub.stop()


class SmallDisk(Disk):
    SIZE = "12m"

    def setUp(self):
        super().setUp()
        self.disk = os.path.join(self.dir, "disk")
        os.mkdir(self.disk)
        if libc.mount(b"none", self.disk.encode(), b"tmpfs", 0, f"size={self.SIZE}".encode()) < 0:
            self.skipTest(f"no small file system can be mounted here: {os.strerror(ctypes.get_errno())}")
        self.addCleanup(libc.umount2, self.disk.encode(), 2)
        self.data = os.path.join(self.disk, "data")
        self.ballast = os.path.join(self.disk, "ballast")

    def fill(self):
        """Takes all room that is left."""
        with open(self.ballast, "ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENOSPC)

    def free(self):
        os.remove(self.ballast)

    def test_commands(self):
        hub = self.hub()
        self.command(hub)
        self.fill()
        self.until_full(hub)
        for _ in range(20):
            self.assertEqual(self.command(hub), 503)
        hub.get("/v1/main/shop/box/box-1")  # others are answered
        hub.get("/v1/main/events?limit=1")
        self.free()
        for _ in range(20):
            self.assertEqual(self.command(hub), 200)
        self.assertEqual(len(hub.view("shop/boxes")), len(self.sent))
        self.one_outage(hub)
        hub.stop()
        self.whole()

    def test_full_again_and_again(self):
        hub = self.hub()
        for round in range(3):
            self.fill()
            self.until_full(hub)
            self.free()
            self.assertEqual(self.command(hub), 200)
            hub.view("shop/boxes")
        hub.stop()
        self.whole()

    def test_killed_and_started_while_full(self):
        hub = self.hub()
        self.command(hub)
        self.fill()
        self.until_full(hub)
        hub.kill()
        try:
            hub = self.hub()
        except AssertionError as error:  # it may need room to start: then it says so
            self.assertRegex(str(error), r"exit 3\).*\nlore: [^\n]*No space left on device\n$")
        else:
            hub.get("/v1/main/events?limit=1")
            hub.stop()
        self.free()
        hub = self.hub()
        self.assertEqual(self.command(hub), 200)
        hub.stop()
        self.whole()

    def test_rebuild(self):
        hub = self.hub()
        for _ in range(250):
            self.command(hub)
        hub.view("shop/boxes")
        hub.stop()
        self.edit("shop/boxes.lua", "view.owner = e.owner", "view.owner, view.twice = e.owner, e.owner .. e.owner")
        with open(self.ballast, "wb") as file:  # room for a start, not for the new documents
            free = os.statvfs(self.disk)
            file.write(b"x" * (free.f_bavail * free.f_frsize - (1 << 20)))
        hub = self.hub()
        hub.wait_said("lore: error: ")
        self.assertEqual(len(hub.view("shop/boxes", wait=False)), len(self.sent))  # the old one answers
        self.free()
        hub.wait_said("shop/boxes: generation 2 answers")
        self.assertEqual({len(document["twice"]) for document in hub.view("shop/boxes").values()}, {2 * len(OWNER)})
        self.one_outage(hub)
        hub.stop()
        self.whole()

    def test_import(self):
        rows = os.path.join(self.dir, "rows.ndjson")
        with open(rows, "w") as file:
            for n in range(6000):
                file.write(json.dumps({"id": f"row-{n}", "owner": "o" * 1500, "n": n}) + "\n")
        self.write("shop/import/owners.lua", "return function(row) send.box(row.id, Open { owner = row.owner }) end")
        command = ["import", rows, "--with", os.path.join(self.scripts, "shop/import/owners.lua"), "--json", "--data", self.data, "--scripts", self.scripts]
        self.fill()
        os.truncate(self.ballast, os.path.getsize(self.ballast) - (6 << 20))
        done = lore(*command, check=3)
        self.assertRegex(done.stderr, r"^(lore: warning: .*\n)?lore: \S+: No space left on device\n$")  # the flusher may have met it first
        first = json.loads(done.stdout)
        self.assertGreater(first["commands"], 100)
        libc.mount(b"none", self.disk.encode(), b"tmpfs", 32, b"size=64m")  # MS_REMOUNT
        again = json.loads(lore(*command, check=0).stdout)
        self.assertEqual((again["commands"] + again["skipped"], again["rejected"]), (6000, 0))
        self.assertGreaterEqual(again["skipped"], first["commands"])
        self.whole()

    def test_refused_rows(self):
        rows = os.path.join(self.dir, "rows.ndjson")
        with open(rows, "w") as file:
            for n in range(500):
                file.write(json.dumps({"id": "x", "n": 0, "more": "m" * 1000}) + "\n")
        refused = os.path.join(self.disk, "refused.ndjson")
        self.fill()
        done = lore("import", rows, "--with", os.path.join(self.scripts, "shop/import/rows.lua"), "--rejected", refused,
                    "--data", os.path.join(self.dir, "elsewhere"), "--scripts", self.scripts, check=3)
        self.assertIn("500 rejected", done.stdout)
        self.assertEqual(done.stderr.splitlines()[-1], f"lore: {refused} cannot be written: No space left on device")


class SizeLimit(Disk):
    """A file that may not grow further is met like a full disk."""

    def test_limit(self):
        hub = self.hub()
        self.command(hub)
        soft = max(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(self.data) for name in names) + (1 << 20)
        resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
        self.until_full(hub)
        hub.get("/v1/main/shop/box/box-1")
        resource.prlimit(hub.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.assertEqual(self.command(hub), 200)
        self.assertEqual(len(hub.view("shop/boxes")), len(self.sent))
        self.assertTrue(self.said(hub, "^lore: error: \\S+/data/\\S+: (File too large|No space left on device): what needs room"), hub.log)
        hub.wait_said("there is room on the disk again")
        hub.stop()
        self.whole()


if __name__ == "__main__":
    main()

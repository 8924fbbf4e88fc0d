"""lore backup and lore restore: hot, incremental, by pipe; what is restored is the log, and what is damaged is refused."""
import glob, json, os, random, shutil, subprocess, threading

from hub import LORE, TIMEOUT, lines, lore, main
from test_rollback import ECHO, Shop, plain


def backup(file, data, *more, check=0):
    return lore("backup", file, "--data", data, "--json", *more, check=check)


def restore(data, *files, check=0, **more):
    return lore("restore", *files, "--data", data, "--json", check=check, **more)


class Backup(Shop):
    def setUp(self):
        super().setUp()
        self.other = os.path.join(self.dir, "other")

    def path(self, name):
        return os.path.join(self.dir, name)

    def test_whole(self):
        """The same events, rejections, ids and deploys; views are built; it goes on in an epoch of its own."""
        hub = self.hub()
        sent = self.fill(hub)
        views = self.views(hub)
        hub.stop()
        report = lines(backup(self.path("a"), self.data).stdout)[-1]
        events, before = self.export(), self.verified()
        self.assertEqual((report["position"], report["outcomes"]), (len(events), before["outcomes"]))
        self.assertEqual(lines(restore(self.other, self.path("a")).stdout)[-1]["position"], len(events))
        after = self.verified(self.other)
        self.assertEqual([after[name] for name in ("events", "commits", "outcomes", "streams")], [before[name] for name in ("events", "commits", "outcomes", "streams")])
        self.assertEqual(self.export(self.other), events)
        self.assertEqual(lines(lore("events", "--archive", self.path("a"), "--json", check=0).stdout), events)
        hub = self.hub(data=self.other)
        self.assertEqual(self.views(hub), views)
        for id, (box, body, status) in sent.items():
            answer = hub.request("POST", f"/v1/main/shop/box/{box}", body, {"Idempotency-Key": id})
            self.assertEqual(answer.status, status)
        self.assertEqual(hub.head(), len(events))
        self.assertEqual(hub.send("shop/box/new", "Add", {"n": 1})["events"][0]["id"].split(":")[1:], ["2", str(len(events) + 1)])
        self.assertTrue(all(event["deploy"] == 1 for event in self.export(self.other)))
        hub.stop()
        self.verified(self.other)

    def test_hot(self):
        """While four clients write: each backup is the log as of one moment, with what was answered before it began."""
        hub = self.hub()
        self.fill(hub, 30)
        stop = threading.Event()

        def load(name):
            client = hub.client()
            while not stop.is_set():
                client.request("POST", f"/v1/main/shop/box/{name}", {"type": "Fill", "data": {"n": 3}})
            client.close()
        threads = [threading.Thread(target=load, args=(f"load-{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        files, ends = [], []
        try:
            for n in range(6):
                least = hub.head()
                files.append(self.path(f"b{n}"))
                report = lines(backup(files[-1], self.data, *(("--since", files[-2]) if n else ())).stdout)[-1]
                self.assertGreaterEqual(report["position"], least)
                self.assertEqual(report["from"], ends[-1] + 1 if n else 1)
                ends.append(report["position"])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        events = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
        hub.stop()
        restore(self.other, *files)
        self.assertEqual(self.export(self.other), events[:ends[-1]])
        self.verified(self.other)
        # One after the other, into a directory that is there.
        third = self.path("third")
        for n, file in enumerate(files):
            restore(third, file)
            self.assertEqual(len(self.export(third)), ends[n])
            self.verified(third)
        self.assertEqual(self.export(third), events[:ends[-1]])

    def test_pipe(self):
        hub = self.hub()
        self.fill(hub, 40)
        done = subprocess.run(f"'{LORE}' backup - --data '{self.data}' | '{LORE}' restore - --data '{self.other}'", shell=True, capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 0, done.stderr)
        hub.stop()
        self.assertEqual(self.export(self.other), self.export())
        self.verified(self.other)

    def test_since_a_position(self):
        hub = self.hub()
        self.fill(hub, 60)
        hub.stop()
        events = self.export()
        backup(self.path("all"), self.data)
        self.rollback(len(events) - 20)
        kept = len(self.export())
        backup(self.path("base"), self.data)
        hub = self.hub()
        self.fill(hub, 20, "later")
        hub.stop()
        backup(self.path("rest"), self.data, "--since", kept - 5)
        restore(self.other, self.path("base"), self.path("rest"))
        self.assertEqual(self.export(self.other), self.export())
        self.verified(self.other)

    def test_what_does_not_follow(self):
        """A gap, another log, a log rolled back, an archive, a log that went on: nothing is changed."""
        hub = self.hub()
        self.fill(hub, 40)
        hub.stop()
        backup(self.path("a"), self.data)
        hub = self.hub()
        self.fill(hub, 40, "more")
        hub.stop()
        backup(self.path("b"), self.data, "--since", self.path("a"))
        hub = self.hub()
        self.fill(hub, 10, "last")
        hub.stop()
        backup(self.path("c"), self.data, "--since", self.path("b"))
        self.assertIn("does not follow", restore(self.other, self.path("b"), check=1).stderr)
        restore(self.other, self.path("a"))
        before = self.export(self.other)
        self.assertIn("does not follow", restore(self.other, self.path("c"), check=1).stderr)
        self.assertEqual(self.export(self.other), before)
        lore("send", "shop/box/own", "Add", '{"n":1}', "--data", self.other, "--scripts", self.scripts, check=0)
        self.assertIn("does not follow", restore(self.other, self.path("b"), check=1).stderr)
        self.assertEqual(len(self.export(self.other)), len(before) + 1)
        strange = self.path("strange")
        lore("send", "shop/box/own", "Add", '{"n":1}', "--data", strange, "--scripts", self.scripts, check=0)
        self.assertIn("another log", restore(strange, self.path("a"), check=1).stderr)
        self.assertIn("another log", backup(self.path("x"), strange, "--since", self.path("a"), check=1).stderr)
        archive = lines(self.rollback(10).stdout)[-1]["archive"]
        self.assertIn("no backup", restore(self.path("fresh"), os.path.join(self.data, archive), check=1).stderr)
        self.assertIn("rolled back", backup(self.path("x"), self.data, "--since", self.path("b"), check=1).stderr)
        self.assertFalse(os.path.exists(self.path("x")))
        self.assertEqual(glob.glob(self.path("*.part")), [])

    def test_damage(self):
        """A byte changed or cut off anywhere: refused; what was begun is not taken for a log, the whole file mends it."""
        hub = self.hub()
        self.fill(hub, 60)
        hub.stop()
        backup(self.path("a"), self.data)
        with open(self.path("a"), "rb") as file:
            whole = file.read()
        for n in range(24):
            at = self.chance.randrange(len(whole))
            bad = whole[:at] if n % 2 else whole[:at] + bytes([whole[at] ^ 32]) + whole[at + 1:]
            with open(self.path("bad"), "wb") as file:
                file.write(bad)
            done = restore(self.other, self.path("bad"), check=3)
            self.assertRegex(done.stderr, "bad", at)
        restore(self.other, self.path("a"))
        self.assertEqual(self.export(self.other), self.export())
        self.verified(self.other)

    def test_killed(self):
        """A restore that was cut off is not opened; again it goes on, from any point."""
        self.hub().stop()
        body = "\n".join(json.dumps({"stream": f"shop/box/x{n % 50}", "type": "Open" if n < 50 else "Add", "data": {"owner": "o" * 4000} if n < 50 else {"n": n}}) for n in range(200))
        lore("send", "-", "--data", self.data, "--scripts", self.scripts, input=body, check=0)
        # Large enough for several transactions.
        big = "\n".join(json.dumps({"stream": f"shop/box/y{n}", "type": "Open", "data": {"owner": "p" * 30000}}) for n in range(900))
        lore("send", "-", "--data", self.data, "--scripts", self.scripts, input=big, check=0)
        backup(self.path("a"), self.data)
        events = self.export()
        for point in ("log.grow@1", "log.grow@2", "log.grow@3"):
            shutil.rmtree(self.other, True)
            done = restore(self.other, self.path("a"), check=None, env={"LORE_FAULTS": f"{point}=kill"})
            self.assertEqual(done.returncode, -9, point)
            self.assertIn("was not finished", lore("export", "--data", self.other, check=3).stderr)
            self.assertIn("was not finished", lore("send", "shop/box/1", "Add", '{"n":1}', "--data", self.other, "--scripts", self.scripts, check=3).stderr)
            restore(self.other, self.path("a"))
            self.assertEqual(self.export(self.other), events)
            self.verified(self.other)

    def test_full_disk(self):
        hub = self.hub()
        self.fill(hub, 40)
        hub.stop()
        for fault in ("archive.write=ENOSPC", "archive.sync=EIO"):
            lore("backup", self.path("a"), "--data", self.data, check=3, env={"LORE_FAULTS": fault})
            self.assertEqual(glob.glob(self.path("a*")), [])
        backup(self.path("a"), self.data)
        restore(self.other, self.path("a"), check=3, env={"LORE_FAULTS": "log.grow@1+=ENOSPC"})
        restore(self.other, self.path("a"))
        self.assertEqual(self.export(self.other), self.export())

    def test_receptors_go_on(self):
        """The checkpoints are in it: what was sent is not sent again."""
        for path, text in ECHO.items():
            self.write(path, text)
        hub = self.hub()
        for n in range(1, 21):
            hub.send(f"shop/box/b{n % 4}", "Add", {"n": n})
        while not all(line["position"] == hub.head() for line in hub.status() if line["kind"] == "receptor"):
            pass
        hub.stop()
        events = self.export()
        backup(self.path("a"), self.data)
        restore(self.other, self.path("a"))
        hub = self.hub(data=self.other)
        hub.send("shop/box/late", "Add", {"n": 100})
        while not all(line["position"] == hub.head() for line in hub.status() if line["kind"] == "receptor"):
            pass
        hub.stop()
        now = self.export(self.other)
        self.assertEqual(now[:len(events)], events)
        self.assertEqual([(event["type"], event["data"]["n"]) for event in now[len(events):]], [("Added", 100), ("Noted", 100)])

    def test_a_running_hub_is_not_restored_into(self):
        hub = self.hub()
        self.fill(hub, 10)
        backup(self.path("a"), self.data)
        self.assertIn("in use", restore(self.data, self.path("a"), check=3).stderr)
        hub.stop()


if __name__ == "__main__":
    main()

"""lore fork: a directory of its own, as of now or as of a moment, beside a hub that writes; it sends nothing by itself."""
import json, os, shutil, threading

from hub import TIMEOUT, lines, lore, main
from test_rollback import ECHO, Shop


class Fork(Shop):
    def setUp(self):
        super().setUp()
        self.other = os.path.join(self.dir, "fork")

    def fork(self, *more, check=0):
        return lore("fork", self.other, "--data", self.data, "--json", *more, check=check)

    def told(self, events):
        return [{name: value for name, value in event.items() if name != "id"} for event in events]

    def test_now(self):
        """Everything but the id of the log; the views are there and are not built again."""
        hub = self.hub()
        sent = self.fill(hub)
        views = self.views(hub)
        report = lines(self.fork().stdout)[-1]
        hub.send("shop/box/original", "Add", {"n": 1})
        hub.stop()
        events = self.export()
        self.assertEqual((report["position"], report["views"]), (len(events) - 1, 2))
        copy = self.export(self.other)
        self.assertEqual(self.told(copy), self.told(events[:-1]))
        self.assertEqual({event["id"].split(":")[0] for event in copy}, {report["log"]})
        self.assertNotEqual(report["log"], report["from"])
        self.verified(self.other)
        hub = self.hub(data=self.other)
        self.assertEqual(self.views(hub), views)
        self.assertFalse([line for line in hub.log if "rebuilding" in line], hub.log)
        for id, (box, body, status) in sent.items():
            self.assertEqual(hub.request("POST", f"/v1/main/shop/box/{box}", body, {"Idempotency-Key": id}).status, status)
        self.assertEqual(hub.head(), len(copy))
        hub.send("shop/box/fork", "Add", {"n": 1})
        hub.stop()
        self.verified(self.other)
        self.assertEqual(self.export(), events)

    def test_beside_load(self):
        """Each fork is a beginning of the log that holds what was answered before."""
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
        forks = []
        try:
            for n in range(4):
                least = hub.head()
                self.other = os.path.join(self.dir, f"fork{n}")
                report = lines(self.fork(*(("--at", least) if n == 3 else ())).stdout)[-1]
                self.assertLessEqual(report["position"], least) if n == 3 else self.assertGreaterEqual(report["position"], least)
                forks.append((self.other, report["position"]))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        hub.stop()
        events = self.told(self.export())
        for path, position in forks:
            self.assertEqual(self.told(self.export(path)), events[:position])
            self.verified(path)
            hub = self.hub(data=path)
            self.assertEqual(self.views(hub), self.model(events[:position]))
            hub.stop()
            self.verified(path)

    def test_at(self):
        """As of positions and times: events, rejections, views of the model, ids that came later are new."""
        hub = self.hub()
        self.fill(hub, 60)
        self.views(hub)
        hub.stop()
        events = self.export()
        self.assertEqual(lore("rollback", "--to", 30, "--plan", "--data", self.data).returncode, 0)
        for n, (to, least) in enumerate(((30, None), (0, 0), (len(events), len(events)), (events[40]["recordedtime"], None), ("deploy:1", 0))):
            self.other = os.path.join(self.dir, f"fork{n}")
            report = lines(self.fork("--at", to).stdout)[-1]
            kept = report["position"]
            if least is not None:
                self.assertEqual(kept, least)
            self.assertEqual(self.told(self.export(self.other)), self.told(events[:kept]))
            plan = lines(lore("rollback", "--to", to, "--plan", "--json", "--data", self.data, check=0).stdout)[-1]
            self.assertEqual(plan["position"], kept)
            self.assertEqual(self.verified(self.other)["outcomes"], self.verified()["outcomes"] - plan["outcomes"])
            hub = self.hub(data=self.other)
            self.assertEqual(self.views(hub), self.model(events[:kept]))
            if kept < len(events):
                hub.send("shop/box/new", "Add", {"n": 1}, id=events[-1]["commandid"])
                self.assertEqual(hub.head(), kept + 1)
            hub.stop()
            self.verified(self.other)

    def test_sends_nothing_by_itself(self):
        """Unless --live; then it goes on where the original was."""
        for path, text in ECHO.items():
            self.write(path, text)
        hub = self.hub()
        for n in range(1, 11):
            hub.send(f"shop/box/b{n % 4}", "Add", {"n": n})
        while not all(line["position"] == hub.head() for line in hub.status() if line["kind"] == "receptor"):
            pass
        hub.stop()
        self.fork()
        hub = self.hub(data=self.other)
        hub.wait_said("is a fork: receptors, timers and tasks rest")
        hub.send("shop/box/b1", "Add", {"n": 50})
        hub.view("shop/boxes")
        hub.stop()
        self.assertEqual([event["type"] for event in self.export(self.other)[-1:]], ["Added"])
        hub = self.hub(self.scripts, self.other, "--live")
        while not all(line["position"] == hub.head() for line in hub.status() if line["kind"] == "receptor"):
            pass
        hub.stop()
        noted = [event["data"]["n"] for event in self.export(self.other) if event["type"] == "Noted"]
        self.assertEqual(sorted(noted), list(range(1, 11)) + [50])

    def test_what_was_sent_is_not_sent_again(self):
        """Timers are read from the log anew, and checkpoints may be of a moment before: the ids are those of the original."""
        self.write("shop/ledger.lua", ECHO["shop/ledger.lua"])
        self.write("shop/echo.lua", """local echo = receptor "echo" { since = "start" }
echo.when["shop.Added"] = function(e, m) send.ledger("all", Note { box = m.id, n = e.n }, { after = "1ms" }) end
""")
        hub = self.hub()
        for n in range(1, 11):
            hub.send(f"shop/box/b{n % 4}", "Add", {"n": n})
        noted = lambda hub: [event["data"]["n"] for event in hub.get("/v1/main/events?type=Noted&limit=1000")["events"]]
        while len(noted(hub)) < 10:
            pass
        hub.stop()
        self.fork("--at", len(self.export()))
        data, self.data = self.data, self.other
        self.other = os.path.join(self.dir, "second")
        self.fork()  # of the fork
        hub = self.hub(self.scripts, self.other, "--live")
        hub.send("shop/box/b1", "Add", {"n": 50})
        while 50 not in noted(hub):
            pass
        hub.stop()
        events = self.export(self.other)
        self.assertEqual(sorted(event["data"]["n"] for event in events if event["type"] == "Noted"), list(range(1, 11)) + [50])
        self.verified(self.other)

    def test_refused(self):
        self.assertIn("no data directory", self.fork(check=1).stderr)
        hub = self.hub()
        hub.send("shop/box/1", "Add", {"n": 1})
        hub.stop()
        self.assertIn("beyond the head", self.fork("--at", 99, check=1).stderr)
        self.assertFalse(os.path.exists(self.other))
        self.fork()
        self.assertIn("is not empty", self.fork(check=3).stderr)
        self.assertEqual(len(self.export(self.other)), 1)

    def test_full_disk(self):
        hub = self.hub()
        self.fill(hub, 30)
        hub.stop()
        done = lore("fork", self.other, "--at", 20, "--data", self.data, check=3, env={"LORE_FAULTS": "log.grow@1+=ENOSPC"})
        self.assertIn("No space left", done.stderr)
        self.assertFalse(os.path.exists(self.other))


if __name__ == "__main__":
    main()

"""lore rollback: the log as it was at a moment, offline and under a running hub, against a model in Python that only knows events and rejections."""
import glob, json, os, random, shutil, signal, socket, subprocess, threading

from hub import LORE, SMALL, TIMEOUT, Case, lines, lore, main
from shop import SCRIPTS

ECHO = {  # a receptor: what is added to a box is told to a ledger, each time once
    "shop/ledger.lua": """contracts [[
  Note?  (box: string, n: integer)
  Noted! (box: string, n: integer)
]]
local ledger = aggregate "ledger" { initial = { sum = 0 } }
function ledger.apply.Noted(state, e) state.sum = state.sum + e.n end
function ledger.execute.Note(state, c) return Noted { box = c.box, n = c.n } end
""",
    "shop/echo.lua": """local echo = receptor "echo" { since = "start" }
echo.when["shop.Added"] = function(e, m) send.ledger("all", Note { box = m.id, n = e.n }) end
""",
}


def plain(event, *without):
    return {name: value for name, value in event.items() if name not in ("id", "recordedtime", "deploy") + without}


class Shop(Case):
    def setUp(self):
        super().setUp()
        for path, text in SCRIPTS.items():
            self.write(path, text)
        self.chance = random.Random(11)

    def fill(self, hub, count=120, prefix="a"):
        """Commands, refusals and transactions; ids are the test's."""
        answers = {}
        for n in range(count):
            box, kind, id = f"b{self.chance.randrange(6)}", self.chance.random(), f"{prefix}{n}"
            if kind < 0.15:
                body = {"type": "Open", "data": {"owner": f"o{n}"}}
            elif kind < 0.3:
                body = {"type": "Add", "data": {"n": 0}}
            elif kind < 0.5:
                body = {"type": "Fill", "data": {"n": self.chance.randint(0, 4)}}
            else:
                body = {"type": "Add", "data": {"n": self.chance.randint(1, 9)}}
            answer = hub.request("POST", f"/v1/main/shop/box/{box}", body, {"Idempotency-Key": id})
            self.assertIn(answer.status, (200, 422), answer.text)
            answers[id] = (box, body, answer.status)
        return answers

    def export(self, data=None):
        return lines(lore("export", "--data", data or self.data, check=0).stdout)

    def verified(self, data=None):
        report = lines(lore("verify", "--json", "--data", data or self.data).stdout)[-1]
        self.assertTrue(report["ok"], report)
        return report

    def rollback(self, to, *more, check=0, **options):
        return lore("rollback", "--to", to, "--yes", "--json", "--data", self.data, *more, check=check, **options)

    def views(self, hub):
        return {name: hub.view(name) for name in ("shop/boxes", "shop/sums")}

    def model(self, events):
        boxes, sums = {}, {}
        for event in events:
            box = boxes.setdefault(event["subject"].split("/")[1], {"sum": 0})
            if event["type"] == "Opened":
                box["owner"] = event["data"]["owner"]
            elif event["type"] == "Added":
                n = event["data"]["n"]
                box["sum"] += n
                key = f"sum of {n % 7}"
                sums[key] = {"sum": sums.get(key, {"sum": 0})["sum"] + n}
        return {"shop/boxes": boxes, "shop/sums": sums}

    def commits(self, events):
        """Last positions of the commits: a commit is never divided."""
        ends = []
        for event in events:
            if ends and event["commandid"] == ends[-1][0]:
                ends[-1] = (event["commandid"], event["position"])
            else:
                ends.append((event["commandid"], event["position"]))
        return [end for _, end in ends]


class Offline(Shop):
    def test_each_end(self):
        """To some position, into a transaction, to nothing, to the head, beyond it; the views follow, ids are new again."""
        hub = self.hub()
        sent = self.fill(hub)
        self.views(hub)
        hub.stop()
        events = self.export()
        whole = os.path.join(self.dir, "whole")
        shutil.copytree(self.data, whole)
        ends = self.commits(events)
        inside = next(event["position"] for event, after in zip(events, events[1:]) if event["commandid"] == after["commandid"])
        for to in (len(events) - 1, inside, ends[len(ends) // 2], 1, 0):
            shutil.rmtree(self.data)
            shutil.copytree(whole, self.data)
            report = lines(self.rollback(to).stdout)[-1]
            kept = max([end for end in ends if end <= to] + [0])
            self.assertEqual((report["position"], report["head"], report["events"], report["epoch"]), (kept, len(events), len(events) - kept, 2))
            self.assertEqual(self.export(), events[:kept])
            self.assertEqual(self.verified()["events"], kept)
            archive = os.path.join(self.data, report["archive"])
            self.assertEqual(lines(lore("events", "--archive", archive, "--json", check=0).stdout), events[kept:])
            hub = self.hub()
            self.assertEqual(self.views(hub), self.model(events[:kept]))
            # What was cut is not remembered; what was kept is.
            known = {event["commandid"] for event in events[:kept]}
            for id, (box, body, status) in list(sent.items())[::7]:
                if status == 200 and body["type"] == "Add":
                    before = hub.head()
                    self.assertEqual(hub.request("POST", f"/v1/main/shop/box/{box}", body, {"Idempotency-Key": id}).status, 200)
                    self.assertEqual(hub.head() - before, 0 if id in known else 1, id)
            after = lines(hub.request("GET", f"/v1/main/events?from={kept + 1}", None, {"Accept": "application/x-ndjson"}).text)
            self.assertTrue(all(event["id"].split(":")[1] == "2" for event in after))
            self.assertEqual(self.views(hub), self.model(events[:kept] + after))
            hub.stop()
            self.verified()

    def test_nothing_to_do(self):
        hub = self.hub()
        self.fill(hub, 20)
        head = hub.head()
        hub.stop()
        before = self.export()
        report = lines(self.rollback(head).stdout)[-1]
        self.assertEqual((report["events"], report["outcomes"], report["epoch"]), (0, 0, 1))
        self.assertNotIn("archive", report)
        self.assertIn("beyond the head", self.rollback(head + 1, check=1).stderr)
        self.assertIn("expected a time", self.rollback("yesterday", check=1).stderr)
        self.assertIn("nobody can be asked", lore("rollback", "--to", 1, "--data", self.data, check=2).stderr)
        self.assertEqual(lines(lore("rollback", "--to", 1, "--plan", "--json", "--data", self.data, check=0).stdout)[-1]["position"], 1)
        self.assertEqual(self.export(), before)
        self.assertFalse(os.path.exists(os.path.join(self.data, "archive")))

    def test_moments(self):
        """A time is when it was recorded; deploy:N is the head when it was made."""
        clock = os.path.join(self.dir, "clock")
        recorded = []
        for n in range(12):
            with open(clock + ".new", "w") as file:
                file.write(f"2026-01-{n // 3 + 1:02}T0{n % 3}:00:00Z")
            os.replace(clock + ".new", clock)
            if n == 6:
                self.edit("shop/box.lua", "n must be at least 1", "n must be 1 at least")
            hub = self.hub(env={"LORE_CLOCK": clock})
            hub.send(f"shop/box/b{n}", "Add", {"n": n + 1})
            hub.send(f"shop/box/b{n}", "Add", {"n": 0}, status=422)
            hub.stop()
            recorded.append(self.export()[-1]["recordedtime"])
        whole = os.path.join(self.dir, "whole")
        shutil.copytree(self.data, whole)
        for to, kept in ((recorded[3], 4), ("2026-01-02T01:30:00Z", 5), ("2025-01-01", 0), ("deploy:2", 6), ("2027-01-01", 12)):
            shutil.rmtree(self.data)
            shutil.copytree(whole, self.data)
            report = lines(self.rollback(to).stdout)[-1]
            self.assertEqual((report["position"], report["outcomes"]), (kept, 12 - kept), to)
            self.assertEqual(len(self.export()), kept)
            self.verified()

    def test_twice_and_views_that_were_beyond(self):
        """The log grows past a view that was beyond the cut: the view is not taken for the log's."""
        hub = self.hub()
        self.fill(hub, 60)
        self.views(hub)
        hub.stop()
        first = self.export()
        self.rollback(20)
        # Without views: nobody sees them while the log is shorter.
        body = "\n".join(json.dumps({"stream": f"shop/box/x{n % 3}", "type": "Add", "data": {"n": n + 1}}) for n in range(len(first) + 20))
        lore("send", "-", "--data", self.data, "--scripts", self.scripts, input=body, check=0)
        events = self.export()
        self.assertGreater(len(events), len(first))
        hub = self.hub()
        self.assertEqual(self.views(hub), self.model(events))
        hub.stop()
        self.rollback(10)
        self.assertEqual(lines(self.rollback(0).stdout)[-1]["epoch"], 4)
        self.assertEqual(len(glob.glob(os.path.join(self.data, "archive", "*.lore"))), 3)
        self.assertEqual(self.export(), [])
        self.verified()

    def test_killed_at_each_step(self):
        """Before or after, never between; what comes next works."""
        hub = self.hub()
        self.fill(hub, 40)
        self.views(hub)
        hub.stop()
        events = self.export()
        whole = os.path.join(self.dir, "whole")
        shutil.copytree(self.data, whole)
        before = ("rollback.plan", "rollback.planned", "archive.write", "archive.sync", "rollback.archived", "rollback.cut")
        after = ("rollback.done", "rollback.head", "rollback.derived", "rollback.derived@3", "rollback.end")
        for point in before + after:
            shutil.rmtree(self.data)
            shutil.copytree(whole, self.data)
            self.rollback(25, check=-9, env={"LORE_FAULTS": f"{point}{'' if '@' in point else '@1'}=kill"})
            hub = self.hub()
            kept = hub.head()
            self.assertEqual(kept == len(events), point in before, point)
            self.assertEqual(bool(glob.glob(os.path.join(self.data, "archive", "*"))), point in after, point)
            self.assertEqual(self.views(hub), self.model(events[:kept]), point)
            hub.send("shop/box/next", "Add", {"n": 1})
            hub.stop()
            self.assertEqual(self.export()[:kept], events[:kept])
            self.verified()

    def test_full_disk(self):
        hub = self.hub()
        self.fill(hub, 40)
        hub.stop()
        events = self.export()
        for fault in ("rollback.plan=ENOSPC", "archive.write=ENOSPC", "archive.write=short,archive.write@2=ENOSPC", "archive.sync=EIO", "rollback.cut=ENOSPC"):
            self.rollback(10, check=3, env={"LORE_FAULTS": fault})
            self.assertEqual(self.export(), events)
            self.assertEqual(glob.glob(os.path.join(self.data, "archive", "*")), [])
            self.verified()
        self.rollback(10)
        self.assertLessEqual(len(self.export()), 10)

    def test_in_use(self):
        """A directory that another process has is not cut behind its back."""
        self.hub().stop()
        hub = self.hub()
        hub.send("shop/box/1", "Add", {"n": 1})
        os.unlink(os.path.join(self.data, "hub.sock"))
        self.assertIn("in use", self.rollback(0, check=3).stderr)


class Acting(Shop):
    def setUp(self):
        super().setUp()
        for path, text in ECHO.items():
            self.write(path, text)

    def settled(self, hub):
        hub.get(f"/v1/main/views/shop/boxes?limit=1&wait={hub.head()}&timeout={TIMEOUT}")
        while True:
            receptor = next(line for line in hub.status() if line["kind"] == "receptor")
            if receptor["position"] == hub.head():
                return

    def test_receptors_begin_where_they_must(self):
        """Each Added that stays is noted once: those whose note was cut are noted again, the others not."""
        hub = self.hub()
        for n in range(1, 31):
            hub.send(f"shop/box/b{n % 4}", "Add", {"n": n})
        self.settled(hub)
        hub.stop()
        events = self.export()
        whole = os.path.join(self.dir, "whole")
        shutil.copytree(self.data, whole)
        for to in (7, 20, 31, 44, 59):
            shutil.rmtree(self.data)
            shutil.copytree(whole, self.data)
            self.rollback(to)
            # The log grows beyond the old checkpoint while no receptor runs.
            body = "\n".join(json.dumps({"stream": "shop/box/late", "type": "Add", "data": {"n": n}}) for n in range(100, 180))
            lore("send", "-", "--data", self.data, "--scripts", self.scripts, input=body, check=0)
            hub = self.hub()
            self.settled(hub)
            hub.stop()
            now = self.export()
            self.assertEqual(now[:to], events[:to])
            added = sorted(event["data"]["n"] for event in now if event["type"] == "Added")
            noted = sorted(event["data"]["n"] for event in now if event["type"] == "Noted")
            self.assertEqual(added, noted, to)
            self.assertEqual(len(set(added)), len(added))
            self.verified()


class Later(Shop):
    """What waits for its time, and tasks, with a clock of the test's."""

    def setUp(self):
        super().setUp()
        self.write("shop/ledger.lua", ECHO["shop/ledger.lua"])
        self.clock = os.path.join(self.dir, "clock")

    def turn(self, to):
        with open(self.clock, "w") as file:
            file.write(to)

    def serve(self):
        return self.hub(env={"LORE_CLOCK": self.clock})

    def until(self, hub, what):
        """Its tail has an event of which this is true."""
        tail = hub.tail()
        while not what(tail.next()[1]):
            pass
        tail.close()

    def noted(self):
        return [event["data"]["box"] for event in self.export() if event["type"] == "Noted"]

    def test_timers(self):
        """A message that is due and whose outcome was cut goes out again; one whose event was cut does not."""
        self.write("shop/echo.lua", """local echo = receptor "echo" { since = "start" }
echo.when["shop.Added"] = function(e, m) send.ledger("all", Note { box = m.id, n = e.n }, { after = "1h" }) end
""")
        self.turn("2026-01-01T00:00:00Z")
        hub = self.serve()
        hub.send("shop/box/first", "Add", {"n": 1})
        self.until(hub, lambda event: event["type"] == "$Sent")
        hub.send("shop/box/second", "Add", {"n": 2})
        self.until(hub, lambda event: event["type"] == "$Sent" and event["position"] > 2)
        self.turn("2026-01-01T02:00:00Z")
        self.until(hub, lambda event: event["type"] == "Noted" and event["data"]["box"] == "second")
        self.rollback(2)
        hub.send("shop/box/third", "Add", {"n": 3})
        self.until(hub, lambda event: event["type"] == "Noted")
        self.until(hub, lambda event: event["type"] == "$Sent" and event["position"] > 2)
        self.turn("2026-01-01T04:00:00Z")
        self.until(hub, lambda event: event["type"] == "Noted" and event["data"]["box"] == "third")
        hub.stop()
        self.assertEqual(self.noted(), ["first", "third"])
        self.verified()

    def test_tasks(self):
        """A run that was cut is made up for by one for the last moment; one that stays is not repeated."""
        self.write("shop/tick.lua", """contracts [[ Ticked! (n: integer) ]]
local tick = task "tick" { every = "1h" }
function tick.run(now) publish(Ticked { n = 1 }) end
""")
        self.turn("2026-01-01T00:30:00Z")
        hub = self.serve()
        ends = []
        for hour in (1, 2, 3):
            self.turn(f"2026-01-01T0{hour}:30:00Z")
            self.until(hub, lambda event: event["type"] == "$TaskRan" and event["time"].startswith(f"2026-01-01T0{hour}"))
            ends.append(hub.head())
        self.rollback(ends[0])
        self.until(hub, lambda event: event["type"] == "$TaskRan" and event["position"] > ends[0])
        hub.stop()
        self.assertEqual([event["data"]["due"] for event in self.export() if event["type"] == "$TaskRan"], ["2026-01-01T01:00:00.000Z", "2026-01-01T03:00:00.000Z"])
        hub = self.serve()
        hub.stop()
        self.assertEqual(len(self.export()), 2 * ends[0])
        self.verified()


class Running(Shop):
    def test_under_load(self):
        """The same sockets go on; nothing answered behind the cut is lost, no request fails but with 503."""
        hub = self.hub()
        self.fill(hub, 60)
        events = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
        stop, seen, answered = threading.Event(), set(), []

        def load(name):
            client, n = hub.client(), 0
            while not stop.is_set():
                n += 1
                answer = client.request("POST", f"/v1/main/shop/box/{name}", {"type": "Add", "data": {"n": 1}})
                seen.add((answer.status, answer.json.get("code")))
                if answer.status == 503:
                    self.assertEqual(answer.headers["Retry-After"], "1")
                if answer.status == 200:
                    answered.append(answer.json["events"][0]["id"])
            client.close()
        threads = [threading.Thread(target=load, args=(f"load-{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for n, to in enumerate((50, 40, 30)):
            report = lines(self.rollback(to).stdout)[-1]
            self.assertEqual(report["epoch"], n + 2)
            hub.send("shop/box/after", "Add", {"n": 1})
        stop.set()
        for thread in threads:
            thread.join()
        self.assertLessEqual(seen, {(200, None), (503, "rebuilding"), (503, "unavailable")})
        now = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
        self.assertEqual(now[:29], events[:29])
        self.assertEqual({id for id in answered if id.split(":")[1] == "4"} - {event["id"] for event in now}, set())
        self.assertEqual(self.views(hub), self.model(now))
        kept = [lines(lore("events", "--archive", file, "--json", check=0).stdout) for file in glob.glob(os.path.join(self.data, "archive", "*"))]
        everything = {event["id"] for archive in kept for event in archive} | {event["id"] for event in now}
        self.assertEqual(set(answered) - everything, set())
        hub.stop()
        self.verified()

    def test_under_bulk(self):
        """Bodies of lines, ordered or not, go on: what the hub could not take is sent again; a long listing ends short, never mixed."""
        hub = self.hub()
        self.fill(hub, 60)
        first = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
        rows = os.path.join(self.dir, "rows.ndjson")
        count = 2000 if SMALL else 20000
        with open(rows, "w") as file:
            file.writelines(json.dumps({"id": f"i{n % 50}", "n": n + 1}) + "\n" for n in range(count))
        with open(os.path.join(self.dir, "lines"), "w") as file:
            file.writelines(json.dumps({"stream": f"shop/box/s{n % 50}", "type": "Add", "data": {"n": n + 1}}) + "\n" for n in range(count))
        with open(os.path.join(self.dir, "lines")) as source:
            works = [subprocess.Popen([LORE, "send", "-", "--data", self.data, "--json"], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True),
                     subprocess.Popen([LORE, "import", rows, "--with", os.path.join(self.scripts, "shop/import/rows.lua"), "--scripts", self.scripts, "--data", self.data, "--json"],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)]
        told = [[], []]
        readers = [threading.Thread(target=lambda n=n: told[n].extend(works[n].communicate(timeout=TIMEOUT))) for n in (0, 1)]
        for reader in readers:
            reader.start()
        for to in (50, 45, 40):
            while hub.head() < 500 and any(work.poll() is None for work in works):
                pass
            self.rollback(to)
        for reader in readers:
            reader.join()
        self.assertEqual([work.returncode for work in works], [0, 0], [text[-1][-1000:] for text in told])
        answers = lines(told[0][0])
        self.assertEqual(len(answers), count)
        now = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
        self.assertEqual([event["position"] for event in now], list(range(1, len(now) + 1)))
        self.assertEqual(now[:39], first[:39])
        there = {event["id"] for event in now}
        self.assertTrue(all(answer["events"][0]["id"] in there for answer in answers if answer["events"][0]["id"].split(":")[1] == "4"))
        self.assertEqual(self.views(hub), self.model(now))
        hub.stop()
        self.verified()

    def test_subscribers(self):
        """A tail ends; who had seen what is gone gets 410 with where to go on, who had not goes on."""
        hub = self.hub()
        self.fill(hub, 60)
        events = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
        kept = lines(self.rollback(25).stdout)[-1]["position"]
        hub.send("shop/box/after", "Add", {"n": 77})
        for path, headers in (("/v1/main/events", {"Last-Event-ID": events[40]["id"]}), (f"/v1/main/events?from={events[kept]['id']}", {})):
            answer = hub.request("GET", path, None, dict(headers, Accept="text/event-stream"))
            self.assertEqual((answer.status, answer.json["code"], answer.json["epoch"], answer.json["position"]), (410, "gone", 2, kept), path)
        self.assertEqual(hub.request("GET", f"/v1/main/events?from={events[40]['id']}").status, 410)
        tail = hub.tail(headers={"Last-Event-ID": events[kept - 1]["id"]})
        _, event = tail.next()
        self.assertEqual((event["position"], event["data"]), (kept + 1, {"n": 77}))
        self.assertEqual(event["id"].split(":")[1], "2")
        tail.close()
        answer = hub.get(f"/v1/main/events?from={events[kept - 1]['id']}")
        self.assertEqual([event["position"] for event in answer["events"]][:2], [kept, kept + 1])
        log = events[0]["id"].split(":")[0]
        self.assertEqual(hub.request("GET", "/v1/main/events", None, {"Accept": "text/event-stream", "Last-Event-ID": f"{log}:2:999"}).status, 400)
        hub.stop()

    def test_a_tail_ends(self):
        hub = self.hub()
        self.fill(hub, 30)
        tail = hub.tail("/v1/main/events")
        for _ in range(5):
            tail.next()
        self.rollback(12)
        while tail.next():
            pass
        tail.close()
        hub.stop()

    def test_full_disk(self):
        """The hub goes on with the log as it was."""
        hub = self.hub(env={"LORE_FAULTS": "archive.write=ENOSPC"})
        self.fill(hub, 30)
        head = hub.head()
        self.assertIn("No space left", self.rollback(10, check=3).stderr)
        self.assertEqual(hub.head(), head)
        hub.send("shop/box/1", "Add", {"n": 1})
        lines(self.rollback(10).stdout)
        self.assertLessEqual(hub.head(), 10)
        hub.stop()
        self.verified()

    def test_views_say_that_they_are_built(self):
        """503 rebuilding, with when to come back, until the view is there; the disk holds it up as long as the test looks."""
        self.write("hub.lua", "return { limits = { rebuild_partition_events = 10 } }")
        hub = self.hub()
        body = "\n".join(json.dumps({"stream": f"shop/box/x{n}", "type": "Add", "data": {"n": n + 1}}) for n in range(300))
        lore("send", "-", "--data", self.data, input=body, check=0)
        self.views(hub)
        hub.stop()
        self.rollback(200)
        hub = self.hub(env={"LORE_FAULTS": "views.spill@1+=ENOSPC"})
        for path in ("/v1/main/views/shop/boxes", "/v1/main/views/shop/boxes/x1"):
            answer = hub.request("GET", path)
            self.assertEqual((answer.status, answer.json["code"]), (503, "rebuilding"), answer.text)
            self.assertGreaterEqual(int(answer.headers["Retry-After"]), 1)
        self.assertEqual(hub.request("GET", "/v1/main/views/shop/boxes?wait=200&timeout=1ms").status, 503)
        hub.stop()
        hub = self.hub()
        self.assertEqual(len(hub.view("shop/boxes")), 200)
        hub.stop()

    def test_bodies(self):
        hub = self.hub()
        for body, status in (({}, 400), ({"to": "soon"}, 400), ({"to": 99}, 404), ({"to": "deploy:9"}, 404), ({"to": True}, 400), ([], 400)):
            self.assertEqual(hub.request("POST", "/v1/rollback", body).status, status, body)
        self.assertEqual(hub.request("GET", "/v1/rollback").status, 405)
        self.assertEqual(hub.request("POST", "/v1/rollback", {"to": 0}).json["events"], 0)
        hub.stop()

    def test_stopped_and_killed_meanwhile(self):
        for end in (signal.SIGTERM, signal.SIGKILL):
            hub = self.hub(data=os.path.join(self.dir, f"data-{end}"))
            self.fill(hub, 30)
            events = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
            process = subprocess.Popen([LORE, "rollback", "--to", "10", "--yes", "--data", hub.data], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            hub.wait_said("the log is rolled back to 10")
            hub.process.send_signal(end)
            hub.process.wait(TIMEOUT)
            process.wait(TIMEOUT)
            hub.kill()
            hub = self.hub(data=hub.data)
            kept = hub.head()
            self.assertTrue(kept <= 10 or kept == len(events))
            self.assertEqual(self.views(hub), self.model(events[:kept]))
            hub.stop()
            self.verified(hub.data)


class Replay(Shop):
    def run_replay(self, archive):
        out = lines(lore("rollback", "--replay", archive, "--json", "--data", self.data, "--scripts", self.scripts, check=0).stdout)
        return out[:-1], out[-1]

    def test_the_same_code_gives_the_same(self):
        """Ids, times, order within a stream and in the log; twice does nothing twice."""
        hub = self.hub()
        self.fill(hub, 80)
        batch = [{"type": "Add", "data": {"n": 5}}, {"type": "Fill", "data": {"n": 3}}]
        self.assertEqual(hub.request("POST", "/v1/main/shop/box/b1", batch, {"Idempotency-Key": "batch"}).status, 200)
        rows = os.path.join(self.dir, "rows.ndjson")
        with open(rows, "w") as file:
            file.writelines(json.dumps({"id": f"i{n}", "n": n + 1}) + "\n" for n in range(10))
        hub.stop()
        self.write("shop/import/facts.lua", 'return function(row) record.box(row.id, Added { n = row.n }, { at = "2020-01-01T00:00:00Z" }) end')
        lore("import", rows, "--with", os.path.join(self.scripts, "shop/import/facts.lua"), "--data", self.data, "--scripts", self.scripts, check=0)
        events = self.export()
        report = lines(self.rollback(15).stdout)[-1]
        archive = os.path.join(self.data, report["archive"])
        for running in (False, True):
            hub = self.hub() if running else None
            differs, summary = self.run_replay(archive)
            self.assertEqual(differs, [])
            self.assertEqual((summary["commands"], summary["facts"], summary["not_sent"]), (report["commands"], report["facts"], 0))
            self.assertEqual(summary["same"], report["commits"] + report["outcomes"])
            if hub:
                hub.stop()
            now = self.export()
            self.assertEqual([plain(event) for event in now], [plain(event) for event in events])
            self.assertEqual(self.verified()["events"], len(events))

    def test_through_fixed_code(self):
        """A model of the fixed code computes the same end state; each difference is told."""
        hub = self.hub()
        sent = self.fill(hub, 120)
        hub.stop()
        events = self.export()
        report = lines(self.rollback(len(events) // 3).stdout)[-1]
        kept = report["position"]
        # The fix: an Add of nothing is fine and counts as one, more than 6 is refused, Fill tells its sum at once.
        self.edit("shop/box.lua", 'if c.n <= 0 then reject("nothing", "n must be at least 1") end', 'if c.n > 6 then reject("much", "too much") end\n  if c.n == 0 then return Added { n = 1 } end')
        self.edit("shop/box.lua", "for n = 1, c.n do emit(Added { n = n }) end", "if c.n > 0 then return Added { n = c.n * (c.n + 1) // 2 } end")
        gone = {event["commandid"] for event in events[kept:]}
        known = {event["commandid"] for event in events[:kept]}
        archive = os.path.join(self.data, report["archive"])
        differs, summary = self.run_replay(archive)
        counts = {"other_events": 0, "now_refused": 0, "now_accepted": 0}
        boxes = {name: dict(box) for name, box in self.model(events[:kept])["shop/boxes"].items()}
        first_cut = min(int(id[1:]) for id in gone)
        # A refusal just before the first commit that went has gone, too, if it was in the same millisecond.
        told = {line["id"] for line in differs}
        for id, (box, body, status) in sent.items():
            if id in known or (int(id[1:]) < first_cut and id not in told):
                continue
            self.assertTrue(int(id[1:]) >= first_cut or status == 422)
            state, n = boxes.setdefault(box, {"sum": 0}), body["data"].get("n", 0)
            if body["type"] == "Open":
                if "owner" not in state:
                    state["owner"] = body["data"]["owner"]
            elif body["type"] == "Fill":
                state["sum"] += n * (n + 1) // 2
                counts["other_events"] += n > 1
            elif n > 6:
                counts["now_refused"] += 1
            else:
                state["sum"] += n or 1
                counts["now_accepted"] += n == 0
        self.assertEqual({name: summary[name] for name in counts}, counts)
        self.assertEqual(len(differs), sum(counts.values()))
        hub = self.hub()
        self.assertEqual(hub.view("shop/boxes"), {name: box for name, box in boxes.items() if box != {"sum": 0}})
        hub.stop()
        again, summary_again = self.run_replay(archive)
        self.assertEqual((again, summary_again), (differs, summary))
        self.verified()

    def test_what_acts_by_itself_is_not_sent(self):
        for path, text in ECHO.items():
            self.write(path, text)
        hub = self.hub()
        for n in range(1, 21):
            hub.send(f"shop/box/b{n % 4}", "Add", {"n": n})
        Acting.settled(self, hub)
        report = lines(self.rollback(0).stdout)[-1]
        differs, summary = self.run_replay(os.path.join(self.data, report["archive"]))
        self.assertEqual((differs, summary["commands"], summary["not_sent"], summary["same"]), ([], 20, 20, 20))
        Acting.settled(self, hub)
        hub.stop()
        now = self.export()
        for type in ("Added", "Noted"):
            self.assertEqual(sorted(event["data"]["n"] for event in now if event["type"] == type), list(range(1, 21)))

    def test_a_damaged_archive_sends_nothing(self):
        hub = self.hub()
        self.fill(hub, 30)
        hub.stop()
        archive = os.path.join(self.data, lines(self.rollback(5).stdout)[-1]["archive"])
        with open(archive, "r+b") as file:
            file.seek(-200, 2)
            byte = file.read(1)
            file.seek(-200, 2)
            file.write(bytes([byte[0] ^ 1]))
        before = self.export()
        self.assertIn("damaged", lore("rollback", "--replay", archive, "--data", self.data, "--scripts", self.scripts, check=3).stderr)
        self.assertEqual(self.export(), before)


if __name__ == "__main__":
    main()

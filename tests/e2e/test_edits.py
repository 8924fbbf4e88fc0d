"""Fifty random edits of the example scripts, each deployed to a hub under load, some with kills: what the gate predicted is what happens, views and
states equal those of a fresh hub with that code, no command is lost or done twice. SEED= plays a run again, EDITS= says how many."""
import collections, json, os, random, shutil, threading, unittest

import crash
import edits
from hub import LORE, SMALL, TIMEOUT, Case, lines, lore, main
from redeploys import Asking, AskLedger, Reading, Shown, check_prediction, copy_of_log, refusals

SEED = os.environ.get("SEED") or str(random.getrandbits(32))
EDITS = int(os.environ.get("EDITS", 12 if SMALL else 50))
POINTS = ["deploy.put"] * 4 + ["views.write", "snapshots.write", "log.fsync", "index.write", "shapes.write", "receptor.checkpoint"]


class Edits(Case):
    def setUp(self):
        super().setUp()
        self.chance, self.ledger = random.Random(SEED), AskLedger()
        self.copy_scripts(acting=True)
        os.remove(os.path.join(self.scripts, "billing", "reminders.lua"))  # a task acts by the clock
        shutil.rmtree(os.path.join(self.scripts, "fines", "import"))
        self.write("hub.lua", "return {}\n")
        self.texts = edits.Folder.read(self.scripts)  # of the deploy that runs
        self.number = 1
        self.story = {1: {"state": "running", "before": 0, "forced": False, "texts": self.texts}}
        self.lives, self.answers, self.kinds = 0, 60, collections.Counter()
        self.fork = os.path.join(self.dir, "fresh-scripts")
        os.mkdir(self.fork)
        self.begin()
        while not edits.EVENTS.keys() <= {event["type"] for event in self.ledger.events}:  # an edit may be one that breaks what is stored of any type
            self.traffic(lambda: self.ledger.wait(250))
            self.read_log()

    def test_edits(self):
        print(f"SEED={SEED}", flush=True)
        for n in range(1, EDITS + 1):
            edit = edits.next_edit(self.chance, self.texts, n)
            before, mode = self.texts, self.chance.choices(["still", "loaded", "killed"], [5, 5, 4])[0]
            try:
                getattr(self, mode)(edit)
                self.check(n)
            except AssertionError as error:
                raise AssertionError(f"SEED={SEED} edit {n} ({mode}): {edit.what}\n{error}\n{edit.diff(before)}\nthe hub (exit {self.running.process.poll()}) "
                                     f"said: {''.join(self.running.log[-12:])}") from error
        print(dict(self.kinds), f"{len(self.ledger.events)} events", flush=True)

    # --- the hub and its clients ---

    def begin(self, **options):
        self.lives += 1
        self.running = self.hub(None, None, "--shards", str(self.chance.randint(1, 3)), "--projectors", str(self.chance.randint(1, 2)), **options)

    def shown(self, hub=None, streams=None):
        return Shown(hub or self.running, self.texts.names("projection"), self.ledger.streams() if streams is None else streams)

    def traffic(self, during, views=()):
        """Does something while commands are sent and views are read."""
        clients = Asking(self.ledger, f"{SEED}.{self.lives}.{self.ledger.count}", self.running, lambda: sorted(set(self.texts.remarks())))
        reading = Reading(self.running, views)
        try:
            during()
        finally:
            clients.stop()
            reading.stop()
        self.ledger.raise_wrong()
        self.assertTrue(reading.count or not views)

    def deploy(self, *args):
        """(exit code, report); (3, None) if the hub died."""
        done = lore("deploy", "--json", "--samples", "1000", "--scripts", self.scripts, "--data", self.data, *args)
        self.assertIn(done.returncode, (0, 1, 3), done.stderr)
        if done.returncode < 3:
            self.assertTrue(done.stdout.strip(), done.stderr)
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None

    def undeploy(self):
        done = lore("undeploy", "--json", "--data", self.data)
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None

    def has_deployed(self, texts, forced=False):
        self.story[self.number]["state"] = "superseded"
        number = max(self.story) + 1
        self.story[number] = {"state": "running", "before": self.number, "forced": forced, "texts": texts}
        self.number, self.texts = number, texts

    def has_undone(self):
        gone = self.story[self.number]
        gone["state"] = "undone"
        self.number = gone["before"]
        self.story[self.number]["state"] = "running"
        self.texts = self.story[self.number]["texts"]

    # --- what is expected of a report ---

    def look(self, edit, texts, code, report):
        """Whether it may go on without force."""
        self.kinds[edit.verdict] += 1
        if edit.verdict == edits.BROKEN:
            self.assertEqual((code, report["loads"]["ok"]), (1, False), report)
            if edit.where:
                self.assertIn(edit.where, [error.get("file") for error in report["loads"]["errors"]], report)
            return False
        self.assertTrue(report["loads"]["ok"], report)
        if edit.verdict == edits.QUIET:
            self.assertEqual((report["projections"], report["aggregates"]), ([], []))
        expected = refusals(report, texts["hub.lua"])
        self.assertEqual({reason.split("deploy.refuse: ")[1].rstrip(")") for reason in report["refused"]}, expected)
        self.assertTrue(expected or edit.verdict != edits.REFUSED, report)
        self.assertEqual(code, 1 if expected else 0)
        return not expected

    def write_folder(self, texts):
        texts.write(self.scripts)

    # --- three ways ---

    def still(self, edit):
        """Nobody sends meanwhile: the prediction is exact. Undone, all is as it was, byte for byte."""
        self.traffic(lambda: self.ledger.wait(60))
        self.read_log()  # what is shown and compared are the streams known by then
        before, texts = self.shown(), edit.apply(self.texts)
        self.write_folder(texts)
        code, plan = self.deploy("--plan")
        goes = self.look(edit, texts, code, plan)
        self.shown().same(before, "after a plan")
        built = set(os.listdir(os.path.join(self.data, "views")))
        code, report = self.deploy()
        self.assertEqual(code, 0 if goes else 1)
        if not goes:
            self.shown().same(before, "after a refusal")
            if edit.verdict == edits.BROKEN or self.chance.random() < 0.4:
                return
            code, report = self.deploy("--force")
            self.assertEqual(code, 0, report)
        for part in ("contracts", "back", "refused", "scripts"):
            self.assertEqual(report[part], plan[part])
        self.has_deployed(texts, not goes)
        after = self.shown()
        check_prediction(before, after, report)
        self.assertEqual(set(os.listdir(os.path.join(self.data, "views"))) - built, set(), "built by the plan and again")
        self.assertEqual(self.running.get(f"/v1/deploys/{self.number}")["gate"]["projections"], report["projections"])
        if edit.verdict == edits.REFUSED or self.chance.random() < 0.35:
            self.undo_still(edit, before, after)

    def undo_still(self, edit, before, after):
        code, undone = self.undeploy()
        self.assertEqual((code, undone["undone"]), (0, self.number))
        texts = self.texts
        self.has_undone()
        self.shown().same(before, "undone")
        if edit.verdict != edits.REFUSED and self.chance.random() < 0.5:
            code, report = self.deploy("--force")
            self.assertEqual(code, 0)
            self.has_deployed(texts, bool(report["refused"]))
            self.shown().same(after, "deployed again")
            check_prediction(before, after, report)

    def loaded(self, edit):
        texts = edit.apply(self.texts)
        stay = self.texts.names("projection") & texts.names("projection")
        plan = self.chance.random() < 0.4

        def during():
            self.ledger.wait(20)
            self.write_folder(texts)
            before = self.ledger.count
            if plan:
                self.deploy("--plan")
            code, report = self.deploy()
            self.answers = max(self.ledger.count - before, 20)
            if self.look(edit, texts, code, report):
                self.has_deployed(texts)
            self.ledger.wait(30)
            if self.texts is texts and not edit.no_undo and self.chance.random() < 0.35:
                code, undone = self.undeploy()
                self.assertEqual(code, 0, undone)
                self.has_undone()
                self.ledger.wait(20)

        self.traffic(during, stay)

    def killed(self, edit):
        """At a moment of the deploy that chance tells, or where a fault point is passed. It starts again on the folder as it is."""
        texts, env = edit.apply(self.texts), {}
        if self.chance.random() < 0.5:
            env["LORE_FAULTS"] = f"{self.chance.choice(POINTS)}@{self.chance.choice([1, 2, 3, 4, 5, 6, 8])}=kill"
            self.running.stop()
            self.write_folder(self.texts)
            self.begin(env=env, ready=False)
            if not self.running.wait_ready(may_end=True):
                self.begin()
        answers = []
        deploys = threading.Thread(target=lambda: answers.append(self.deploy()))
        clients = Asking(self.ledger, f"{SEED}.{self.lives}.{self.ledger.count}", self.running)
        try:
            self.ledger.wait(10, clients.alive)
            self.write_folder(texts)
            deploys.start()
            self.ledger.wait(self.chance.randint(1, self.answers + self.answers // 3), clients.alive)
        finally:
            self.running.kill()
            clients.join()
            deploys.join()
        self.assertEqual(self.running.process.returncode, -9)
        self.ledger.raise_wrong()
        self.rise(edit, texts, answers)

    def rise(self, edit, texts, answers):
        crash.verify(self.data)
        while self.chance.random() < 0.3:
            hub = self.hub(ready=False)
            crash.kill_at(hub.process, self.chance.randint(1, 300))
            hub.kill()
        self.begin()
        code, report = answers[0]
        runs = self.running.status()[0]["deploy"]
        self.kinds["killed" if code == 3 else "killed behind"] += 1
        if runs != self.number:
            self.assertNotEqual(edit.verdict, edits.BROKEN)
            self.has_deployed(texts)
            if edit.verdict == edits.REFUSED:  # a start replays nothing, so it lets that pass
                self.assertEqual(self.undeploy()[0], 0)
                self.has_undone()
        else:
            self.assertNotEqual(code, 0, "what was answered is gone")
            if edit.verdict in (edits.LOADS, edits.QUIET):
                self.assertIn("the gate refuses", "".join(self.running.log))
        self.write_folder(self.texts)

    # --- after each ---

    def read_log(self):
        self.ledger.settle(self.running, chance=self.chance)
        crash.settle(self.running)
        self.ledger.check(self.running)

    def check(self, n):
        self.read_log()
        self.check_story()
        streams = self.ledger.streams()
        streams = self.chance.sample(streams, min(40, len(streams)))
        live = self.shown(None, streams)
        copy = copy_of_log(self.running, os.path.join(self.dir, "copy"))
        self.texts.write(self.fork)
        fresh = self.hub(self.fork, copy)
        self.shown(fresh, streams).same(live, "a fresh hub shows")
        fresh.kill()
        crash.verify(self.data)
        if n % 10 == 0:
            self.check_digest(copy)

    def check_digest(self, copy):
        self.running.stop()
        self.write_folder(self.texts)
        shutil.rmtree(copy)
        crash.copy_log(self.data, copy)
        digest = lambda data, *args: lines(lore("digest", "--json", "--scripts", self.scripts, "--data", data, *args, check=0).stdout)
        self.assertEqual(digest(self.data), digest(copy, "--from-events"))
        self.begin()

    def check_story(self):
        rows = self.running.get("/v1/deploys?limit=1000")["deploys"]
        told = {row["number"]: (row["state"], row["before"], row["forced"]) for row in rows}
        self.assertEqual(told, {number: (one["state"], one["before"], one["forced"]) for number, one in self.story.items()})
        scripts = self.running.get(f"/v1/deploys/{self.number}/scripts")["scripts"]
        self.assertEqual({script["path"]: script["text"] for script in scripts}, self.texts)


if __name__ == "__main__":
    main()

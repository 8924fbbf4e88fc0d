"""kill -9 at any moment: what was answered is there once, and what is derived equals a rebuild. See tests/support/crash.py for the
scenes, tests/soak for many more of the same."""
import glob, os, random, signal, unittest

import crash
from hub import SMALL, TIMEOUT, Case, main

SEED = os.environ.get("SEED") or str(random.getrandbits(32))


class Crash(Case):
    def play(self, scene, kills):
        """Rounds until so many kills; the seed that plays them again is part of what is said of a failure."""
        kills = min(kills, 3) if SMALL else kills
        print(f"SEED={SEED}")
        played = scene(self.dir, SEED)
        self.addCleanup(lambda: [hub.kill() for hub in played.hubs])
        done, rounds = 0, 0
        try:
            while done < kills:
                rounds += 1
                self.assertLess(rounds, 10 * kills + 10, f"only {done} kills in {rounds} rounds")
                done += played.round()
            played.close()
        except AssertionError as error:
            raise AssertionError(f"SEED={SEED} {scene.__name__}, round {rounds}: {error}") from error

    def test_commands(self):
        self.play(crash.Commands, 22)

    def test_commands_while_views_are_rebuilt(self):
        self.play(crash.Rebuilds, 12)

    def test_what_is_flushed_behind(self):
        self.play(crash.Flushes, 4)

    def test_imports(self):
        self.play(crash.Imports, 12)

    def test_fault_points(self):
        """A kill at each point of the table, in commands and in an import, at a passing that chance tells."""
        chance = random.Random(SEED)
        print(f"SEED={SEED}")
        killed = []
        for scene in (crash.Commands, crash.Imports):
            folder = os.path.join(self.dir, scene.__name__)
            os.mkdir(folder)
            played = scene(folder, SEED)
            self.addCleanup(lambda: [hub.kill() for hub in played.hubs])
            for point in crash.fault_points()[:3 if SMALL else None]:
                passing = chance.choice([1, 1, 2, 3, 5, 8, 13])
                try:
                    if played.fault(point, passing):
                        killed.append(point)
                except AssertionError as error:
                    raise AssertionError(f"SEED={SEED} {scene.__name__} {point}@{passing}: {error}") from error
            played.close()
        print(f"killed at {' '.join(killed)}")
        self.assertTrue(killed)

    def test_killed_before_the_first_byte(self):
        """A file of derived data that was made and not written: nothing is damaged, and it is there after the next start."""
        self.copy_scripts("billing")
        hub = self.hub()
        hub.send("billing/bill/a", "CreateBill", {"customer": "c", "start_date": "2026-01-01"})
        for _ in range(70):  # enough for a snapshot
            hub.send("billing/bill/a", "AddServicesToBill", {"services": 1})
        documents = hub.view("billing/open_bills")
        hub.stop()
        for path in glob.glob(os.path.join(self.data, "*", "**", "data.mdb"), recursive=True):
            if path == os.path.join(self.data, "log", "data.mdb"):
                continue
            for is_there in (True, False):
                os.truncate(path, 0) if is_there else os.remove(path)
                crash.verify(self.data)
                hub = self.hub()
                self.assertEqual(hub.view("billing/open_bills"), documents)
                hub.stop()
                self.assertGreater(os.path.getsize(path), 0, path)

    def test_one_hub_a_directory(self):
        """Of two that start on what kill -9 left one serves, wherever the first stands; the other says which process has it."""
        self.copy_scripts("billing")
        chance = random.Random(SEED)
        print(f"SEED={SEED}")
        holder = self.hub()
        for n in range(20):
            holder.send(f"billing/bill/{n}", "CreateBill", {"customer": "c", "start_date": "2026-01-01"})
        most = 2 * crash.moved(holder.process.pid)
        held = 0
        for _ in range(3 if SMALL else 10):
            holder.kill()
            first = self.hub(ready=False)
            crash.reach(first.process, chance.randint(1, most))
            first.process.send_signal(signal.SIGSTOP)
            second = self.hub(ready=False)
            second_serves = second.wait_ready(may_end=True)
            first.process.send_signal(signal.SIGCONT)
            holder, other = (second, first) if second_serves else (first, second)
            held += holder is first
            self.assertIsNone(other.wait_ready(may_end=True))
            self.assertEqual(other.process.wait(TIMEOUT), 3)
            self.assertRegex("".join(other.log), f"in use by process {holder.process.pid};")
            holder.wait_ready()
            self.assertEqual(len(holder.view("billing/open_bills")), 20)
        self.assertGreater(held, 0)
        holder.stop()
        crash.verify(self.data)


if __name__ == "__main__":
    main()

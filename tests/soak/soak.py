#!/usr/bin/env python3
"""make soak: many more kills and flipped bytes than a test run has time for. The last line is `N passed, N failed`.

Settings, all of the environment:
  SOAK_SEED=text    the same kills and flips again (printed at the start)
  SOAK_FROM=number  begin with this stage (printed with a failure)
  SOAK_KILLS=1000   SOAK_FLIPS=10000
A stage that fails leaves its folder behind and the next one begins.
"""
import os, random, shutil, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
import crash, flips

SEED = os.environ.get("SOAK_SEED") or str(random.getrandbits(32))
FROM = int(os.environ.get("SOAK_FROM", 1))
KILLS = int(os.environ.get("SOAK_KILLS", 1000))
FLIPS = int(os.environ.get("SOAK_FLIPS", 10000))
KILLS_A_STAGE, FLIPS_A_STAGE, PASSINGS_MAX = 25, 500, 100


class Soak:
    def __init__(self):
        self.began = time.monotonic()
        self.stage = 0
        self.kills = self.flips = self.failed = 0
        self.shown = 0

    def show(self, what, more=0):
        """On a terminal one line that is written over, else a line now and then."""
        text = f"{what}: {self.kills} of {KILLS} kills, {self.flips + more} of {FLIPS} flips, {self.failed} failed, {time.monotonic() - self.began:.0f} s"
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self.shown > 30:
            self.shown = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def run(self, name, play):
        """play(folder, seed) in a folder of its own."""
        self.stage += 1
        if self.stage < FROM:
            return
        folder = tempfile.mkdtemp(prefix=f"lore-soak-{self.stage}-")
        try:
            play(folder, f"{SEED}.{self.stage}")
            shutil.rmtree(folder)
        except Exception as error:  # whatever it is: it is told, and the rest goes on
            self.failed += 1
            print(f"\nFAILED: SOAK_SEED={SEED} SOAK_FROM={self.stage} ({name}), folder {folder}:\n{type(error).__name__}: {error}", flush=True)

    def play_scene(self, kind, folder, seed):
        scene = kind(folder, seed)
        try:
            end = min(self.kills + KILLS_A_STAGE, KILLS)
            while self.kills < end:
                self.kills += scene.round()
                self.show(kind.__name__)
            scene.close()
        finally:
            for hub in scene.hubs:
                hub.kill()

    def play_points(self, kind, folder, seed):
        """Every point of the table, passing for passing as far as they go, the steps growing."""
        scene = kind(folder, seed)
        try:
            for point in crash.fault_points():
                passing = 1
                while passing < PASSINGS_MAX and scene.fault(point, passing):
                    self.kills += 1
                    passing += 1 + passing // 3
                    self.show(f"{kind.__name__} {point}@{passing}")
            scene.close()
        finally:
            for hub in scene.hubs:
                hub.kill()

    def play_fines(self, folder, seed):
        """The whole import, killed and continued, against the oracle files beside the data."""
        self.show("fines")
        env = dict(os.environ, PYTHONPATH=os.path.join(ROOT, "tests", "support"), TMPDIR=folder)
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "e2e", "test_fines.py"), "Fines.test_killed_and_continued"], env=env,
                              capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(done.stdout + done.stderr)
        self.kills += 3

    def play_flips(self, folder, seed):
        original = flips.Original(folder, seed, killed=self.stage % 2 == 0)
        count = min(FLIPS_A_STAGE, FLIPS - self.flips)
        try:
            flips.examine(original, count, lambda done: self.show("flips", done))
        finally:
            for hub in original.scene.hubs:
                hub.kill()
        self.flips += count


def main():
    print(f"SOAK_SEED={SEED}", flush=True)
    soak = Soak()
    if KILLS:
        for kind in (crash.Commands, crash.Imports):
            soak.run("points", lambda folder, seed: soak.play_points(kind, folder, seed))
        soak.run("fines", soak.play_fines)
    scenes = [crash.Commands, crash.Rebuilds, crash.Imports, crash.Flushes]
    least = soak.failed
    while soak.kills < KILLS and soak.failed < least + 20:
        kind = scenes[soak.stage % len(scenes)]
        soak.run(kind.__name__, lambda folder, seed: soak.play_scene(kind, folder, seed))
    while soak.flips < FLIPS and soak.failed < least + 20:
        soak.run("flips", soak.play_flips)
    soak.show("done")
    print(f"\n{soak.kills + soak.flips} passed, {soak.failed} failed")
    sys.exit(1 if soak.failed else 0)


main()

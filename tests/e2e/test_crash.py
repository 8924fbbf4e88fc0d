"""kill -9 at any moment: what was answered is there once, and what is derived equals a rebuild. See tests/support/crash.py for the
scenes, tests/soak for many more of the same."""
import os, random, unittest

import crash
from hub import SMALL, Case, main

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


if __name__ == "__main__":
    main()

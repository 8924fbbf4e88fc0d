"""Any single byte of a data directory changed: verify finds it, or without the derived part all is as it was, or it is free space.
See tests/support/flips.py; FLIPS and SEED say how many and which."""
import os, random, unittest

import flips
from hub import SMALL, Case, main

SEED = os.environ.get("SEED") or str(random.getrandbits(32))
FLIPS = int(os.environ.get("FLIPS", 30 if SMALL else 500))


class Flips(Case):
    def flip(self, count, killed):
        print(f"SEED={SEED}")
        original = flips.Original(self.dir, SEED, killed)
        self.addCleanup(lambda: [hub.kill() for hub in original.scene.hubs])
        try:
            tally = flips.examine(original, count)
        except AssertionError as error:
            raise AssertionError(f"SEED={SEED} {error}") from error
        print(", ".join(f"{name} {count}" for name, count in sorted(tally.items())))
        found = sum(count for name, count in tally.items() if name.endswith("found"))
        self.assertGreater(found if SMALL else tally["log found"], 0)

    def test_after_an_orderly_end(self):
        self.flip(FLIPS // 2, killed=False)

    def test_after_a_kill(self):
        self.flip(FLIPS - FLIPS // 2, killed=True)


if __name__ == "__main__":
    main()

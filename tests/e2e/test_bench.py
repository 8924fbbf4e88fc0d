"""lore bench: every work gives a figure, nothing is left behind, whatever ends it. What the figures are is no test's business."""
import os, signal, subprocess, sys, unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "support"))
from hub import LORE, Case, lines, lore  # noqa: E402

QUICK = ["--events", "3000", "--runs", "1", "--seconds", "1", "--connections", "4"]


class Bench(Case):
    def test_measures_every_work_and_leaves_nothing(self):
        done = lore("bench", *QUICK, "--dir", self.dir, "--json", check=0)
        rows = lines(done.stdout)
        self.assertEqual([row["work"] for row in rows if row["figure"] <= 0], [])
        works = " / ".join(row["work"] for row in rows)
        for word in ("fdatasync", "1 connection", "4 connections", "memory", "import", "few documents", "three events", "scan", "log", "index",
                     "views", "clean stop", "kill -9"):
            self.assertIn(word, works)
        commands = next(row for row in rows if row["work"] == "durable commands, 4 connections")
        self.assertGreater(commands["p99_ms"], 0)
        self.assertAlmostEqual(commands["ratio"], commands["figure"] / commands["limit"], places=2)
        self.assertEqual(os.listdir(self.dir), [])

    def test_only_what_was_named_is_measured(self):
        done = lore("bench", "disk", "--runs", "2", "--dir", self.dir, "--json", check=0)
        self.assertEqual([(row["work"], row["runs"]) for row in lines(done.stdout)], [("append 4 KiB and fdatasync", 2)])

    def test_an_interrupt_leaves_nothing(self):
        """As a terminal does it: parent and children get the signal."""
        bench = subprocess.Popen([LORE, "bench", "commands", "--seconds", "600", "--dir", self.dir], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, start_new_session=True)
        bench.stderr.readline()  # the disk is measured; what comes now takes hours
        os.killpg(bench.pid, signal.SIGINT)
        _, said = bench.communicate(timeout=600)
        self.assertEqual(bench.returncode, 3, said)
        self.assertTrue(said.endswith("lore: interrupted\n"), said)
        self.assertEqual(os.listdir(self.dir), [])

    def test_mistakes_are_told(self):
        self.assertIn("there is no work 'disc'", lore("bench", "disc", check=2).stderr)
        self.assertIn("--runs expects", lore("bench", "--runs", "0", check=2).stderr)
        self.assertIn("nowhere", lore("bench", "disk", "--dir", os.path.join(self.dir, "nowhere"), check=1).stderr)


if __name__ == "__main__":
    unittest.main()

"""lore repl without a terminal: what -e or stdin gives, to a hub that says what a test wants."""
import json, os, signal, subprocess

from fake_repl import FakeHubCase
from hub import LORE, lore, main


class Given(FakeHubCase):
    def repl(self, *args, check=0, **more):
        return lore("repl", "--to", self.fake.url, *args, check=check, env={"LANG": "C.UTF-8", "XDG_STATE_HOME": self.dir}, **more)

    def test_expressions(self):
        self.fake.answers.update({"a": [{"value": {"b": 1}}], "n": [{"none": True}], "bad": [{"error": {"code": "script", "message": "repl:1: wrong"}}],
                                  "(": [{"incomplete": True}], "-- x": [{"none": True}]})
        self.assertEqual(self.repl("-e", "a", "-e=1+1", "-e", "n", "-e", "-- x").stdout, "{ b = 1 }\n2\n")
        self.assertEqual(self.fake.evaluated(), ["a", "1+1", "n", "-- x"])
        self.assertEqual(len({r["session"] for r in self.fake.requests if "source" in r}), 1)
        done = self.repl("-e", "a", "-e", "bad", "-e", "1+1", check=1)
        self.assertEqual((done.stdout, done.stderr), ("{ b = 1 }\n", "lore: repl:1: wrong\n"))
        self.assertIn("middle of a statement", self.repl("-e", "(", check=1).stderr)
        self.assertIn(":save FILE", self.repl("-e", ":help").stdout)
        self.assertIn("-e expects EXPR", lore("repl", "-e", check=2).stderr)
        self.assertIn("usage: lore repl (", lore("repl", "-e", check=2).stderr)
        self.repl("--tenant", "acme", "-e", "1+1")
        self.assertEqual({r["path"] for r in self.fake.requests}, {"/v1/main/repl", "/v1/acme/repl"})
        self.assertFalse(os.path.exists(os.path.join(self.dir, "lore")), "nothing that is given is history")

    def test_json(self):
        rows = [{"a": n, "t": "\x1b"} for n in range(5000)]
        self.fake.answers.update({"rows": [{"row": row} for row in rows] + [{"none": True}], "v": [{"value": {"b": [1.0, "x"], "a": None}}], "null": [{"value": None}],
                                  "said": [{"print": "hello\nyou \x1b[2J"}, {"value": 1}], "p": [{"plot": {"kind": "bars", "points": []}}, {"none": True}]})
        self.assertEqual([json.loads(line) for line in self.repl("--json", "-e", "rows").stdout.splitlines()], rows)
        self.assertEqual(self.repl("--json", "-e", "v", "-e", "null").stdout, '{"a":null,"b":[1.0,"x"]}\nnull\n')
        done = self.repl("--json", "-e", "said")
        self.assertEqual((done.stdout, done.stderr), ("1\n", "hello\nyou \\x1b[2J\n"))
        self.assertEqual(self.repl("--json", "-e", "p").stdout, '{"kind":"bars","points":[]}\n')
        self.assertEqual({r["rows"] for r in self.fake.requests if "source" in r}, {0})

    def test_everything_is_shown(self):
        self.fake.answers["rows"] = [{"row": {"a": n}} for n in range(3000)] + [{"none": True}]
        self.fake.answers["value"] = [{"value": [{"a": n} for n in range(3000)]}]
        self.assertEqual(self.repl("-e", "rows").stdout.count("\n"), 3001)
        self.assertEqual(self.repl("-e", "value").stdout.count("\n"), 3001)

    def test_a_script(self):
        self.fake.answers.update({"f(": [{"incomplete": True}], "f(\n1)": [{"value": "f"}], "local x = 1\n\n1+1\nprint(x)": [{"print": "1"}, {"none": True}]})
        done = self.repl(input="#!/usr/bin/env lore\n\n1+1\nf(\n1)\n:time on\nlocal x = 1\n\n1+1\nprint(x)\n")
        self.assertEqual(done.stdout, '2\n"f"\n1\n')
        self.assertEqual(self.repl(input="1+1").stdout, "2\n")
        self.assertEqual(self.repl(input="1+1\n:quit\nnever").stdout, "2\n")
        self.assertEqual(self.repl(input="").stdout, "")
        done = self.repl(input="1+1\nf(\n", check=1)
        self.assertEqual(done.stdout, "2\n")
        self.assertIn("middle of a statement", done.stderr)
        self.assertEqual(self.repl(input="1+1\nno\n1+1\n", check=1).stdout, "2\n")

    def test_signals(self):
        def begin(*args):
            return subprocess.Popen([LORE, "repl", "--to", self.fake.url, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.fake.answers["wait"] = lambda answer: answer.until_cancelled()
        for number, code, said in ((signal.SIGINT, 1, "lore: cancelled\n"), (signal.SIGTERM, -signal.SIGTERM, "")):
            self.fake.working.clear()
            self.fake.cancelled.clear()
            process = begin("-e", "wait")
            self.assertTrue(self.fake.working.wait(60))
            process.send_signal(number)
            self.assertEqual((process.communicate(timeout=60)[1], process.returncode), (said, code))
            self.assertTrue(self.fake.requests[-1].get("close"))
            self.fake.cancelled.clear()
            process = begin()
            process.stdin.write("1+1\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), "2\n")  # waits for more of the script
            process.send_signal(number)
            process.communicate(timeout=60)
            self.assertTrue(self.fake.requests[-1].get("close"))
            self.assertIn(process.returncode, (code, -number))  # code: it came before the evaluation was quite over

    def test_the_session_is_closed_on_every_way_out(self):
        self.fake.answers["bad"] = [{"error": {"code": "script", "message": "wrong"}}]
        for given in ({"input": "1+1\n"}, {"input": "bad\n"}, {"input": "f(\n"}, {"input": ":quit\n"}):
            self.repl(check=None, **given)
            self.assertEqual(self.fake.requests[-1].get("close"), True, given)
        for args in (["-e", "1+1"], ["-e", "bad"], ["-e", "1+1", "-e", ":nope"]):
            self.repl(*args, check=None)
            self.assertEqual(self.fake.requests[-1].get("close"), True, args)
        busy = [(409, "conflict", "the session is at work"), {"closed": True}]
        self.fake.asked["close"] = lambda request: busy.pop(0)
        self.repl("-e", "1+1")
        self.assertEqual(busy, [])

    def test_a_reader_that_leaves(self):
        def flood(answer):
            while not self.fake.cancelled.is_set():
                answer.line({kind: "x" * 1000})
        self.fake.answers["flood"] = flood
        for kind in ("print", "row"):
            for args in ([], ["--json"]) if kind == "row" else ([],):
                self.fake.cancelled.clear()
                process = subprocess.Popen([LORE, "repl", "--to", self.fake.url, *args, "-e", "flood", "-e", "1+1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                process.stdout.readline()
                process.stdout.close()
                self.assertEqual((process.stderr.read(), process.wait(60)), (b"", -signal.SIGPIPE))
                process.stderr.close()
                self.assertTrue(self.fake.requests[-1].get("close"))
                self.assertEqual(self.fake.evaluated()[-1], "flood")
        with open("/dev/full", "w") as full:
            process = subprocess.run([LORE, "repl", "--to", self.fake.url, "-e", "1+1"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual((process.stderr, process.returncode), (b"lore: the results could not be written to stdout\n", 3))

    def test_no_hub(self):
        url = self.fake.url
        self.stop_fake()
        for args in (["-e", "1+1"], ["--json", "-e", "1+1"]):
            done = lore("repl", "--to", url, *args, check=3)
            self.assertEqual(done.stdout, "")
            self.assertEqual(done.stderr, f"lore: no hub answers on {url}: is lore serve running?\n")
        self.assertIn("no data directory", lore("repl", "--data", os.path.join(self.dir, "none"), "-e", "1", check=1).stderr)


if __name__ == "__main__":
    main()

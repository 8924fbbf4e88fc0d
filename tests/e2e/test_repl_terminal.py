"""lore repl as a person sees it: in a pseudo-terminal against a hub that says what a test wants, and against a real one."""
import json, os, re, resource, signal, stat, subprocess, unittest

from fake_repl import FakeHubCase
from hub import LORE, lore, main
from terminal import Terminal

ENV = {"TERM": "xterm", "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}


def event(number, **data):
    return {"type": "BillClosed", "at": "2026-01-05T10:00:00.000Z", "position": number, "stream": f"billing/bill/{number}", "version": 3,
            "actor": "root", "command_id": "c", "data": data or {"total": f"{number}.50"}}


class Typed(FakeHubCase):
    def open(self, *args, to=True, env=None, columns=100, rows=40, limits=None):
        env = {**ENV, "XDG_STATE_HOME": os.path.join(self.dir, "state"), "HOME": self.dir, **(env or {})}
        terminal = Terminal([LORE, "repl", *(["--to", self.fake.url] if to else []), *args], columns, rows, env, limits)
        self.addCleanup(terminal.close)
        terminal.prompt()
        return terminal

    def history(self):
        return os.path.join(self.dir, "state", "lore", "history")


class Editing(Typed):
    def test_a_value_and_the_way_out(self):
        terminal = self.open()
        self.assertIn("tenant main, deploy 3, position 12,345; contexts: billing, security", terminal.screen.text())
        self.assertEqual(terminal.ask("1+1"), "2")
        self.assertEqual(terminal.ask(""), "")
        terminal.send("\x04")
        self.assertEqual(terminal.end(), 0)
        self.assertEqual([r for r in self.fake.requests if "close" in r][0]["session"], "session-1")

    def test_keys(self):
        terminal = self.open()
        self.fake.answers["abc"] = [{"value": "right"}]
        for keys in ("xbc\x1b[H\x1b[3~a", "abx\x7fc", "ac\x1b[Db", "bc\x01a", "abc def\x17\x7f", "zzz\x15abc"):
            self.assertEqual(terminal.ask(keys), '"right"', repr(keys))
        self.assertEqual(terminal.screen.strange, [])

    def test_characters_beyond_ascii(self):
        terminal = self.open()
        for text in ("Zoë", "漢字", "🎉🎊"):
            self.fake.answers[f"'{text}'"] = [{"value": text}]
            self.assertEqual(terminal.ask(f"'{text}x\x7f'"), f'"{text}"')  # the key takes one character off
            self.assertEqual(terminal.ask(f"'{text[0]}!\x1b[D\x1b[D\x1b[C\x1b[3~{text[1:]}'"), f'"{text}"')

    def test_what_is_no_character(self):
        terminal = self.open()
        os.write(terminal.fd, b"1+\xeb1\r")
        terminal.until(r"error: what was typed is not UTF-8: the line was not taken\nlore>$")
        self.assertEqual(self.fake.evaluated(), [])
        self.assertEqual(terminal.ask("1+1"), "2")

    def test_a_line_longer_than_the_terminal(self):
        terminal = self.open(columns=30)
        long = "'" + "abcdefghij" * 8 + "'"
        self.fake.answers[long] = [{"value": 1}]
        self.assertEqual(terminal.ask(long), "1")

    def test_ctrl_c_clears_the_line(self):
        terminal = self.open()
        terminal.send("nonsense")
        terminal.until(r"lore> nonsense$")
        terminal.send("\x1b[D\x1b[D")
        terminal.wait(lambda: terminal.screen.line() == "lore> nonsen", "the cursor in the line")
        terminal.send("\x03")
        terminal.until(r"lore> nonsense\^C\nlore>$")
        self.assertEqual(terminal.ask("1+1"), "2")
        self.assertEqual(self.fake.evaluated(), ["1+1"])

    def test_lines_that_belong_together(self):
        terminal = self.open()
        self.fake.answers.update({"function f()": [{"incomplete": True}], "function f()\n  return 7": [{"incomplete": True}],
                                  "function f()\n  return 7\nend": [{"none": True}], "(": [{"incomplete": True}], "(\n": [{"incomplete": True}]})
        more = r" +\.\. "
        terminal.ask("function f()", more)
        terminal.ask("  return 7", more)
        self.assertEqual(terminal.ask("end"), "")
        terminal.ask("(", more)
        terminal.send("\x03")
        terminal.prompt()
        terminal.ask("(", more)
        terminal.send("\x04")
        terminal.prompt()
        terminal.ask("(", more)
        terminal.ask("", more)
        self.assertIn("given up", terminal.ask(""))
        self.assertEqual(terminal.ask("1+1"), "2")
        terminal.send("\x1b[A\x1b[A\x1b[A")
        terminal.until(r"lore> function f\(\)\n  return 7\nend")

    def test_pasted_lines(self):
        terminal = self.open()
        self.fake.answers["for i = 1, 2 do\n\tprint(i)\nend"] = [{"print": "1"}, {"print": "2"}, {"none": True}]
        self.assertIn(b"\x1b[?2004h", terminal.raw)
        terminal.send("\x1b[200~for i = 1, 2 do\r\tprint(i)\rend\r\x1b[201~")
        terminal.until(r"^end$")
        self.assertEqual(self.fake.evaluated(), [])
        self.assertEqual(terminal.ask("")[-3:], "1\n2")

    def test_signals(self):
        terminal = self.open()
        before = terminal.settings()
        terminal.send("half a line")
        terminal.until("half a line")
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.wait(lambda: b"\x1b[?2004l" in terminal.raw, "the end of pasting")
        self.assertTrue(terminal.settings()[3] & 0x8, "echo is on again")
        self.assertNotEqual(before[3], terminal.settings()[3])
        self.assertEqual(terminal.end(), -signal.SIGTERM)
        self.assertTrue(self.fake.requests[-1].get("close"))

    def test_a_stop_and_a_start(self):
        terminal = self.open()
        terminal.send("1+")
        terminal.until(r"lore> 1\+$")
        terminal.send("\x1a")
        _, status = os.waitpid(terminal.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        self.assertTrue(terminal.settings()[3] & 0x8, "echo is on while it is stopped")
        os.kill(terminal.pid, signal.SIGCONT)
        self.assertEqual(terminal.ask("1").split("\n")[-1], "2")
        self.assertIn("lore> 1+1", terminal.screen.text())

    def test_another_size(self):
        terminal = self.open(columns=100)
        self.fake.answers["list"] = [{"value": list(range(1000, 1040))}]
        wide = terminal.ask("list").split("\n")
        terminal.resize(40, 20)
        narrow = terminal.ask("list").split("\n")
        self.assertGreater(max(map(len, wide)), 80)
        self.assertLessEqual(max(map(len, narrow)), 40)
        self.assertEqual("".join(wide).replace(" ", ""), "".join(narrow).replace(" ", ""))


class Completion(Typed):
    def candidates(self, *words, more=False):
        def answer(request):
            text = request["complete"]
            word = re.search(r"[\w]*$", text)[0]
            return {"from": len(text.encode()) - len(word.encode()), "candidates": [w for w in words if w.startswith(word)], "more": more}
        self.fake.asked["complete"] = answer

    def test_one(self):
        terminal = self.open()
        self.candidates("outstanding_invoices", "open_bills")
        self.fake.answers["views.open_bills"] = [{"value": 1}]
        self.assertEqual(terminal.ask("views.op\t"), "1")

    def test_several(self):
        terminal = self.open(columns=40)
        self.candidates("bill", "billing", "blame", "print", more=True)
        terminal.send("b\t")
        terminal.until(r"lore> b\nbill +billing +blame\nand more\nlore> b$")
        terminal.send("i\t")
        terminal.until(r"lore> bill$")
        terminal.send("i\t")
        terminal.until(r"lore> billing$")
        self.assertEqual(terminal.screen.bells, 0)
        terminal.send("zz\t")
        terminal.wait(lambda: terminal.screen.bells, "a bell")

    def test_in_the_middle_of_a_line_and_behind_wide_characters(self):
        terminal = self.open()
        self.candidates("customer")
        self.fake.answers["f('漢🎉', customer, 1)"] = [{"value": "right"}]
        self.assertEqual(terminal.ask("f('漢🎉', , 1)\x1b[D\x1b[D\x1b[D\x1b[Dcu\t"), '"right"')

    def test_what_a_hub_may_not_put_into_the_line(self):
        terminal = self.open()
        self.fake.asked["complete"] = {"from": 0, "candidates": ["1+1\nsend()", "\x1b[2Jx", "", 7, "\u202ex"], "more": False}
        terminal.send("1+1\t")
        terminal.wait(lambda: terminal.screen.bells, "a bell")
        self.assertEqual(terminal.ask(""), "2")
        for answer in ({"from": 99, "candidates": ["x"]}, {"from": -5, "candidates": ["x"]}, {}, b"garbage", {"from": "x", "candidates": {}}):
            self.fake.asked["complete"] = answer
            self.assertEqual(terminal.ask("1+1\t"), "2")
        self.assertEqual(terminal.screen.strange, [])

    def test_nobody_waits_for_a_slow_hub(self):
        terminal = self.open()
        self.fake.asked["complete"] = lambda request: self.fake.left.wait(100) and {}
        self.assertEqual(terminal.ask("1+\t1"), "2")  # answered while the completion still is not
        self.assertFalse(self.fake.left.is_set())
        self.fake.left.set()

    def test_commands_and_lines_above(self):
        terminal = self.open()
        self.candidates("bill", "billing")
        terminal.send(":pro\t")
        terminal.until(r"lore> :projection$")
        terminal.send("\x15:help bi\t")
        terminal.until(r"lore> :help bill$")
        terminal.send("\x15")
        self.fake.answers["{"] = [{"incomplete": True}]
        self.fake.answers["{\nbill}"] = [{"value": "right"}]
        terminal.ask("{", r" +\.\. ")
        self.assertEqual(terminal.ask("bi\t}"), '"right"')
        terminal.ask("{", r" +\.\. ")
        terminal.send("\t")
        terminal.wait(lambda: re.fullmatch(r" +\.\.   ", terminal.screen.line()), "a blank line indented")


class History(Typed):
    def test_two_runs(self):
        terminal = self.open()
        self.fake.answers.update({"{": [{"incomplete": True}], "{\n'a\\\\n'}": [{"value": 1}], " secret": [{"value": 1}]})
        terminal.ask("{", r" +\.\. ")
        terminal.ask("'a\\\\n'}")
        terminal.ask(" secret")
        terminal.ask(":time")
        terminal.send("\x04")
        terminal.end()
        self.assertEqual(stat.S_IMODE(os.stat(self.history()).st_mode), 0o600)
        terminal = self.open()
        terminal.send("\x1b[A\x1b[A")
        terminal.until(r"lore> \{\n'a\\\\n'\}$")
        self.assertIn("1", terminal.ask(""))
        self.assertEqual(self.fake.evaluated()[-1], "{\n'a\\\\n'}")
        with open(self.history()) as file:
            self.assertEqual(file.read(), "{\\n'a\\\\\\\\n'}\n:time\n{\\n'a\\\\\\\\n'}\n")

    def test_search(self):
        terminal = self.open()
        self.fake.answers.update({"first": [{"value": 1}], "second": [{"value": 2}]})
        terminal.ask("first")
        terminal.ask("second")
        terminal.send("\x12fir")
        terminal.until("first")
        self.assertEqual(terminal.ask("").split("\n")[-1], "1")

    def test_two_at_once(self):
        one, other = self.open(), self.open()
        self.fake.answers.update({"one": [{"value": 1}], "other": [{"value": 2}]})
        one.ask("one")
        other.ask("other")
        one.ask("one")
        with open(self.history()) as file:
            self.assertEqual(file.read(), "one\nother\none\n")

    def test_a_file_that_is_broken(self):
        os.makedirs(os.path.dirname(self.history()))
        with open(self.history(), "wb") as file:
            file.write(b"1+1\n\xff\xfe\n\x1b[2Jevil\n" + b"x" * 70000 + b"\n'last'\nnot whole")
        terminal = self.open(columns=200)
        self.assertEqual(terminal.screen.text().count("cannot be read and are left out"), 1)
        terminal.send("\x1b[A\x1b[A")
        terminal.until(r"lore> 1\+1$")
        self.assertEqual(terminal.ask(""), "2")
        self.assertEqual(terminal.screen.strange, [])

    def test_a_file_that_cannot_be_written(self):
        os.makedirs(self.history())  # a folder in its place
        terminal = self.open(columns=200)
        for _ in range(3):
            terminal.ask("1+1")
        self.assertEqual(terminal.screen.text().count("lore: the history"), 1)
        with open(os.path.join(self.dir, "file"), "w"):
            pass
        terminal = self.open(env={"XDG_STATE_HOME": os.path.join(self.dir, "file")}, columns=200)
        for _ in range(3):
            self.assertEqual(terminal.ask("1+1").split("\n")[-1], "2")
        self.assertEqual(terminal.screen.text().count("lore: the history"), 1)

    def test_it_does_not_grow_for_ever(self):
        os.makedirs(os.path.dirname(self.history()))
        with open(self.history(), "w") as file:
            file.write("".join(f"{n}\n" for n in range(5000)))
        self.open()
        with open(self.history()) as file:
            self.assertEqual(file.read(), "".join(f"{n}\n" for n in range(3000, 5000)))
        self.assertEqual(stat.S_IMODE(os.stat(self.history()).st_mode), 0o600)
        self.assertEqual(os.listdir(os.path.dirname(self.history())), ["history"])


class Cancelling(Typed):
    def test_ctrl_c(self):
        terminal = self.open()
        self.fake.answers["wait"] = lambda answer: answer.until_cancelled()
        terminal.send("wait\r")
        self.assertTrue(self.fake.working.wait(60))
        terminal.send("\x03")
        terminal.until(r"cancelled\nlore>$")
        self.assertEqual(terminal.ask("1+1"), "2")
        self.assertEqual(self.fake.sessions, 1)

    def test_a_hub_that_does_not_hear_it(self):
        terminal = self.open()
        self.fake.deaf = True
        self.fake.answers["wait"] = lambda answer: answer.until_cancelled()
        for keys in ("\x03", "\x03\x03"):
            self.fake.working.clear()
            terminal.send("wait\r")
            self.assertTrue(self.fake.working.wait(60))
            terminal.send(keys)
            terminal.until(r"cancelled\nlore>$")
            self.assertEqual(terminal.ask("1+1"), "2")

    def test_a_signal_that_ends_it(self):
        terminal = self.open()
        self.fake.answers["wait"] = lambda answer: answer.until_cancelled()
        terminal.send("wait\r")
        self.assertTrue(self.fake.working.wait(60))
        os.kill(terminal.pid, signal.SIGTERM)
        self.assertEqual(terminal.end(), -signal.SIGTERM)

    def test_rows_that_came_before(self):
        terminal = self.open()
        def some(answer):
            answer.line({"row": event(1)})
            answer.until_cancelled()
        self.fake.answers["events{}"] = some
        terminal.send("events{}\r")
        terminal.until(r"^ +1  2026-01-05")  # shown while the rest is not there
        terminal.send("\x03")
        terminal.until(r"cancelled\nlore>$")


class Showing(Typed):
    def test_rows_as_a_table(self):
        terminal = self.open()
        self.fake.answers["events{}"] = [{"row": event(n)} for n in range(8, 12)] + [{"more": True}, {"none": True}]
        said = terminal.ask("events{}").split("\n")
        self.assertEqual(said[0].split(), ["position", "at", "stream", "type", "data"])
        self.assertEqual(said[1], '       8  2026-01-05T10:00:00Z  billing/bill/8   BillClosed  { total = "8.50" }')
        self.assertEqual(said[4], '      11  2026-01-05T10:00:00Z  billing/bill/11  BillClosed  { total = "11.50" }')
        self.assertIn(":all", said[5])
        self.assertEqual([r["rows"] for r in self.fake.requests if "source" in r], [20])

    def test_a_huge_result(self):
        terminal = self.open()
        self.fake.answers["huge"] = self.fake.answers["it"] = [{"value": [{"n": n} for n in range(50000)]}]
        said = terminal.ask("huge").split("\n")
        self.assertEqual(said[:3], ["n".rjust(2), "0".rjust(2), "1".rjust(2)])
        self.assertEqual(len(said), 39)  # with the head, the note and the prompt a terminal of 40 lines
        self.assertEqual(said[-1], "… 49,963 more: :all shows them, :save FILE keeps them")
        self.fake.answers["texts"] = [{"value": ["x" * 90] * 500}]
        said = terminal.ask("texts").split("\n")
        self.assertLess(len(said), 41)
        self.assertIn(":all", said[-1])
        terminal.resize(100, 6)
        self.assertEqual(len(terminal.ask("huge").split("\n")), 7)
        said = terminal.ask(":all").split("\n")
        self.assertEqual(len(said), 50001)
        self.assertEqual(said[-1].strip(), "49999")

    def test_a_flood_of_prints(self):
        terminal = self.open()
        def flood(answer):
            for number in range(3000):
                answer.line({"print": str(number)})
            answer.until_cancelled()
        self.fake.answers["flood"] = flood
        terminal.send("flood\r")
        terminal.until(r"^999\nwhat is printed from here on is not shown$")
        self.assertTrue(self.fake.working.wait(60))
        terminal.send("\x03")
        terminal.until(r"not shown\n(\^C)?cancelled\nlore>$")

    def test_one_huge_value(self):
        terminal = self.open()
        self.fake.answers["huge"] = [{"value": {f"k{n}": {"a": ["x" * 30] * 10} for n in range(5000)}}]
        said = terminal.ask("huge").split("\n")
        self.assertLessEqual(len(said), 1002)
        self.assertIn(":all", said[-1])

    def test_a_narrow_terminal(self):
        terminal = self.open(columns=24, rows=10)
        self.fake.answers["events{}"] = [{"row": event(n)} for n in range(3)] + [{"none": True}]
        self.fake.answers["value"] = [{"value": {"name": "Zoë 漢字", "lines": [{"n": n, "text": "t"} for n in range(3)]}}]
        self.fake.answers["bars"] = [{"plot": {"kind": "bars", "title": "a title that is long", "points": [["漢字漢字漢字漢字", 5], ["b", -3]]}}, {"none": True}]
        self.fake.answers["line"] = [{"plot": {"kind": "line", "points": [[f"2026-{n}", n] for n in range(9)]}}, {"none": True}]
        for source in ("events{}", "value", "bars", "line"):
            first = terminal.screen.row
            terminal.ask(source)
            self.assertFalse([row for row in terminal.screen.wrapped if row > first], source + ": a line is wider than the terminal")

    def test_a_bar_that_goes_away(self):
        terminal = self.open(columns=90)
        def scan(answer):
            for done in range(1, 1000):
                answer.line({"progress": {"events": done * 10, "of": 10000, "seconds": done / 100}})
                if self.fake.left.wait(0.002):
                    break
            answer.line({"print": "said meanwhile"})
            answer.line({"value": 5})
        self.fake.answers["scan"] = scan
        terminal.send("scan\r")
        terminal.until(r"scanning \[[#.]+\] +\d+%  \d+ events, \d+/s, \d+ s left")
        self.fake.left.set()
        terminal.prompt()
        self.assertTrue(terminal.screen.text().endswith("lore> scan\nsaid meanwhile\n5\nlore>"), terminal.screen.text())

    def test_hostile_data(self):
        terminal = self.open()
        evil = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\x07\b\x7f\u202e\u2066\x00end"
        answers = {"value": [{"value": {evil: evil, "list": [evil]}}], "text": [{"value": evil}], "rows": [{"row": {evil: evil}}, {"row": evil}, {"none": True}],
                   "table": [{"value": [{"a": evil, evil: 1}, {"a": evil, evil: 2}]}], "groups": [{"value": {evil: 1, "b": 2}}],
                   "stream": [{"value": {"stream": evil, "version": evil, "position": 1, "state": {}}}],
                   "plot": [{"plot": {"kind": "bars", "title": evil, "points": [[evil, 1]]}}, {"plot": {"kind": "line", "title": evil, "points": [[evil, 1]]}}, {"none": True}],
                   "print": [{"print": evil}, {"none": True}], "error": [{"error": {"code": evil, "message": evil}}],
                   "file": [{"file": {"name": evil, "text": evil}}, {"none": True}], "place": [{"value": 1, "tenant": evil, "at": evil}]}
        self.fake.answers.update(answers)
        self.fake.asked["help"] = {"help": evil}
        for source in [*answers, ":help"]:
            begin = len(terminal.raw)
            said = terminal.ask(source)
            self.assertEqual(terminal.screen.strange, [], source)
            raw = terminal.raw[begin:].decode()
            self.assertNotIn("owned\x07", raw)
            self.assertIsNone(re.search("[\x00\x07\x7f\x80-\x9f\u202e\u2066]", raw), source)
            self.assertNotIn("\x1b[2J", raw)
            if source != "place":
                self.assertIn("owned", said, source)

    def test_colours(self):
        def colours(env):
            terminal = self.open(env=env)
            self.fake.answers["v"] = [{"value": {"a": "text", "b": 1}}]
            self.fake.answers["e"] = [{"error": {"code": "script", "message": "repl:1: wrong"}}]
            terminal.ask("v")
            self.assertEqual(terminal.ask("e"), "error: repl:1: wrong")
            return terminal.screen.colours
        self.assertGreater(colours({}), 5)
        self.assertEqual(colours({"NO_COLOR": "1"}), 0)

    def test_a_locale_without_utf8(self):
        terminal = self.open(env={"LANG": "C", "LC_ALL": "C"})
        self.fake.answers["v"] = [{"value": {"a": "Zoë"}}]
        self.fake.answers["p"] = [{"plot": {"kind": "bars", "points": [["Zoë", 5], ["b", -1]]}}, {"plot": {"kind": "line", "points": [["a", 1], ["b", 2]]}}, {"none": True}]
        self.assertEqual(terminal.ask("v"), '{ a = "Zo\\u{eb}" }')
        self.fake.answers["'Zoë 漢'"] = [{"value": "right"}]
        self.assertEqual(terminal.ask("'Zoë 漢'"), '"right"')
        said = terminal.ask("p")
        self.assertIn("####", said)
        self.assertTrue(said.isascii(), said)


class Commands(Typed):
    def test_help(self):
        terminal = self.open()
        self.fake.asked["help"] = lambda request: {"help": "all of it" if not request["help"] else "about " + request["help"]}
        said = terminal.ask(":help")
        self.assertIn("all of it", said)
        self.assertIn(":save FILE", said)
        self.assertEqual(terminal.ask(":help billing.bill"), "about billing.bill")
        self.assertIn("overwrites", terminal.ask(":help :save"))
        self.assertIn("all of it", terminal.ask("help"))
        self.fake.asked["help"] = {"help": "Views\n  view:all()           " + "word " * 40 + "\n  a:very_long_name_of_a_function_that_really_is_there()  what it is\n\nplain"}
        said = terminal.ask(":help x").split("\n")
        self.assertLessEqual(max(map(len, said)), 100)
        self.assertEqual([line for line in said if not line.startswith("                       word")][:1], ["Views"])
        self.fake.asked["help"] = {"help": "  " + "what it says " * 12 + "end" + "\n  ends here" + "\nx" + "\nA heading " + "of words " * 15 + "end"}
        text = terminal.ask(":help y")
        self.assertEqual(text.split(), ("what it says " * 12 + "end ends here x A heading " + "of words " * 15 + "end").split())
        self.assertLessEqual(max(map(len, text.split("\n"))), 100)
        self.assertTrue(all(line.startswith("  w") or line.startswith("  i") or line.startswith("  s") for line in text.split("\n")[:2]), text)
        self.assertEqual(said[-4:], ["  a:very_long_name_of_a_function_that_really_is_there()", "    what it is", "", "plain"])

    def test_unknown_ones(self):
        terminal = self.open()
        self.assertEqual(terminal.ask(":hlep"), "error: there is no command :hlep: did you mean :help?")
        self.assertEqual(terminal.ask(":xyzzy"), "error: there is no command :xyzzy; :help lists them")
        self.assertIn("no command", terminal.ask(":"))
        self.assertIn("no command :t", terminal.ask(":t"))  # time, tenant
        self.assertIn("takes no argument", terminal.ask(":all x"))
        for name, meant in (("sav", None), ("savve", "save"), ("tenat", "tenant"), ("projektion", "projection"), ("zz", None), ("x" * 40, None)):
            said = terminal.ask(":" + name)
            self.assertEqual("did you mean" in said, meant is not None, said)
            self.assertIn(f"did you mean :{meant}?" if meant else "", said)
        self.assertIn("no answer", terminal.ask("::label::"))  # Lua, not a command
        self.assertEqual(self.fake.evaluated(), ["::label::"])

    def test_time(self):
        terminal = self.open()
        terminal.ask(":ti")
        self.assertRegex(terminal.ask("1+1"), r"^2\n\d+\.\d{3} s$")
        terminal.ask(":time off")
        self.assertEqual(terminal.ask("1+1"), "2")
        self.assertIn("usage", terminal.ask(":time x"))

    def test_write(self):
        terminal = self.open()
        terminal.ask(":write", r"lore WRITE> ")
        asked = self.fake.requests[-1]
        self.assertEqual((asked["write"], asked["session"]), (True, "session-1"))
        self.assertTrue(asked["actor"])
        terminal.ask(":write off", r"lore> ")
        self.assertFalse(self.fake.requests[-1]["write"])
        self.fake.asked["write"] = {"write": False}
        self.assertIn("does not let", terminal.ask(":write on", r"lore> "))

    def test_where_the_session_is(self):
        terminal = self.open()
        acme, then = {"none": True, "tenant": "acme"}, {"value": "there", "tenant": "acme", "at": "2026-05-01"}
        self.fake.answers.update({'tenant("acme")': [acme], 'at("2026-05-01")': [then], "at()": [acme], 'at "x"': [{"none": True, "at": "x"}],
                                  'tenant("no\\"")': [{"error": {"code": "not_found", "message": "no tenant"}}]})
        terminal.ask(":tenant acme", r"lore acme> ")
        terminal.ask(":at 2026-05-01", r"lore acme at 2026-05-01> ")
        self.assertIn("no tenant", terminal.ask(':tenant no"', r"lore acme at 2026-05-01> "))
        terminal.ask(":at", r"lore acme> ")
        terminal.ask('at "x"', r"lore at x> ")  # a word moves it as well
        terminal.ask("1+1", r"lore> ")

    def test_plot_and_projection(self):
        terminal = self.open()
        self.fake.answers.update({"it:plot()": [{"plot": {"kind": "bars", "title": "t", "points": [["a", 1]]}}, {"none": True}],
                                  'projection_from("late", it)': [{"file": {"name": "late.lua", "text": "local late = projection \"late\"\n"}}, {"none": True}]})
        self.assertIn("█", terminal.ask(":plot"))
        self.assertIn('local late = projection "late"', terminal.ask(":projection late"))
        path = os.path.join(self.dir, "late.lua")
        self.assertFalse(os.path.exists(path))
        self.assertIn("wrote", terminal.ask(f":projection late {path}"))
        self.assertIn("exists", terminal.ask(f":projection late {path}"))
        self.assertIn("wrote", terminal.ask(f":projection! late {path}"))
        with open(path) as file:
            self.assertEqual(file.read(), 'local late = projection "late"\n')


class Saving(Typed):
    def path(self, name):
        return os.path.join(self.dir, name)

    def read(self, name):
        with open(self.path(name), newline="") as file:
            return file.read()

    def test_csv_and_ndjson(self):
        terminal = self.open()
        rows = [{"a": 1, "data": {"total": "1.50", "text": 'a "b", c\nd'}}, {"a": None, "late": [1, 2], "data": {"text": ""}}, {"a": "=SUM(A1)", "data": {"total": "-7"}}]
        self.fake.answers["it"] = [{"row": row} for row in rows] + [{"none": True}]
        said = terminal.ask(f":save {self.path('a.csv')}")
        self.assertIn("wrote 3 rows", said)
        self.assertIn("1 text in it begins with =", said)
        self.assertEqual(self.read("a.csv"), 'a,data.text,data.total,late\r\n1,"a ""b"", c\nd",1.50,\r\n,"",,"[1,2]"\r\n=SUM(A1),,-7,\r\n')
        terminal.ask(f":save {self.path('a.ndjson')}")
        self.assertEqual([json.loads(line) for line in self.read("a.ndjson").splitlines()], rows)
        self.assertEqual([r["rows"] for r in self.fake.requests if "source" in r], [0, 0])
        self.assertEqual(sorted(name for name in os.listdir(self.dir) if name.startswith((".", "a."))), ["a.csv", "a.ndjson"])

    def test_values(self):
        terminal = self.open()
        for value, expected in (({"2026-01": 3, "2026-02": 4}, "key,value\r\n2026-01,3\r\n2026-02,4\r\n"),
                                ({"x": {"count": 1, "sum": "2.0"}}, "key,count,sum\r\nx,1,2.0\r\n"),
                                ([{"a": 1}, {"a": 2}], "a\r\n1\r\n2\r\n"), ([1, "x"], "value\r\n1\r\nx\r\n"), (7, "value\r\n7\r\n")):
            self.fake.answers["it"] = [{"value": value}]
            terminal.ask(f":save! {self.path('v.csv')}")
            self.assertEqual(self.read("v.csv"), expected)

    def test_nothing_to_save(self):
        terminal = self.open()
        with open(self.path("a.csv"), "w") as file:
            file.write("precious")
        plot = {"plot": {"kind": "bars", "points": [["a", 1]]}}
        for lines in ([{"none": True}], [{"value": None}], [{"value": []}], [plot, {"none": True}], [plot, {"value": None}]):
            self.fake.answers["it"] = lines
            for command in (f":save! {self.path('a.csv')}", f":save {self.path('new.csv')}", f":save {self.path('new.ndjson')}"):
                self.assertEqual(terminal.ask(command), "error: nothing to save: there is no last result, or it has no rows")
        self.assertEqual(self.read("a.csv"), "precious")
        self.assertEqual([name for name in os.listdir(self.dir) if "a.csv" in name or "new" in name], ["a.csv"])

    def test_a_file_that_exists(self):
        terminal = self.open()
        self.fake.answers["it"] = [{"value": [1]}]
        with open(self.path("a.csv"), "w") as file:
            file.write("precious")
        self.assertIn("exists", terminal.ask(f":save {self.path('a.csv')}"))
        self.assertEqual(self.fake.evaluated(), [])
        self.assertEqual(self.read("a.csv"), "precious")
        terminal.ask(f":save! {self.path('a.csv')}")
        self.assertEqual(self.read("a.csv"), "value\r\n1\r\n")
        self.assertIn("must end in", terminal.ask(f":save {self.path('a.txt')}"))
        self.assertIn("No such file", terminal.ask(f":save {self.path('none/a.csv')}"))
        self.assertIn("no file was given", terminal.ask(f":save {self.path('a.lua')}"))

    def test_nothing_is_left_of_what_failed(self):
        terminal = self.open()
        self.fake.answers["it"] = [{"row": {"a": 1}}, {"error": {"code": "script", "message": "repl:1: wrong"}}]
        for name in ("a.csv", "a.ndjson"):
            self.assertIn("wrong", terminal.ask(f":save {self.path(name)}"))
        self.assertEqual([name for name in os.listdir(self.dir) if "a." in name], [])

    def test_a_disk_that_is_full(self):
        def limits():
            resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
        terminal = self.open(limits=limits)
        self.fake.answers["it"] = [{"row": {"a": "x" * 1000}}] * 300 + [{"none": True}]
        for name in ("a.csv", "a.ndjson"):
            self.assertIn("was not written", terminal.ask(f":save {self.path(name)}"))
        self.assertEqual([name for name in os.listdir(self.dir) if "a." in name], [])
        self.assertEqual(terminal.ask("1+1"), "2")

    def test_a_file_that_the_expression_names(self):
        terminal = self.open()
        path = self.path("b.csv")
        lines = [{"save": {"file": path}}, {"row": {"a": 1}}, {"saved": True, "rows": 1}]
        self.fake.answers[f'it:save "{path}"'] = self.fake.answers["1"] = lines
        self.assertIn("must stand in the expression", terminal.ask("1"))
        self.assertFalse(os.path.exists(path))
        self.assertIn("wrote 1 row to", terminal.ask(f'it:save "{path}"'))
        self.assertEqual(self.read("b.csv"), "a\r\n1\r\n")
        self.assertIn("exists", terminal.ask(f'it:save "{path}"'))
        self.assertEqual(terminal.ask("1+1"), "2")


class HubThatFails(Typed):
    def test_it_goes_away_and_comes_back(self):
        terminal = self.open()
        self.fake.answers["die"] = lambda answer: answer.break_off()
        self.assertRegex(terminal.ask("die"), r"^error: [^\n]+\Z")
        self.assertEqual(terminal.ask("1+1"), "2")  # the hub still has the session
        port = self.fake.port
        self.fake.stop()
        self.fake.session = None
        self.assertEqual(terminal.ask("1+1"), f"error: no hub answers on {self.fake.url}: is lore serve running?")
        self.assertEqual(terminal.ask("1+1"), f"error: no hub answers on {self.fake.url}: is lore serve running?")
        self.assertEqual(terminal.ask(":help"), f"error: no hub answers on {self.fake.url}: is lore serve running?")
        self.fake.start(port)
        self.assertRegex(terminal.ask("1+1"), r"^a new session: variables of the old one are gone\n2\Z")

    def test_a_session_that_is_over(self):
        terminal = self.open(columns=200)
        self.fake.answers["1+2"] = [{"value": 3, "tenant": "acme", "at": "1"}]
        terminal.ask("1+2", r"lore acme at 1> ")
        terminal.ask(":write", r"lore acme at 1 WRITE> ")
        self.fake.session = "another"
        self.assertEqual(terminal.ask("1+1", r"lore> "), "a new session: variables of the old one are gone; it looks at tenant main; it looks at now again; it is read-only again\n2")
        self.fake.session = "another"
        self.assertIn("no such session", terminal.ask(":help"))
        self.assertEqual(terminal.ask("1+1"), "a new session: variables of the old one are gone\n2")

    def test_what_is_not_found_though_the_session_is_there(self):
        terminal = self.open()
        self.fake.asked["help"] = (404, "not_found", "nothing is called that")
        self.assertEqual(terminal.ask(":help zzz"), "error: nothing is called that")
        self.assertEqual(terminal.ask("1+1"), "2")
        self.assertEqual(self.fake.sessions, 1)

    def test_answers_that_are_none(self):
        terminal = self.open()
        for name, lines in {"garbage": [b"<html>"], "half": [b'{"value":'], "twice": [b'{"value":1,"value":2}'], "nothing": [], "list": [b"[1]"],
                            "utf8": [b'{"value":"\xff"}'], "deep": [b'{"value":' + b"[" * 500 + b"]" * 500 + b"}"]}.items():
            self.fake.answers[name] = lines
            said = terminal.ask(name)
            self.assertRegex(said, r"^(a new session[^\n]+\n)?error: [^\n]+\Z", name)
            self.assertRegex(terminal.ask("1+1"), r"2\Z")
        self.fake.answers["odd"] = [{"unknown": 1}, {"row": None}, {"plot": 7}, {"plot": {}}, {"plot": {"points": [1, ["a"], ["b", {}]]}}, {"progress": {}},
                                    {"progress": {"events": -1, "of": "x"}}, {"file": {}}, {"print": 7}, {"error": {}}]
        self.assertIn("error", terminal.ask("odd"))
        self.assertEqual(terminal.ask("1+1"), "2")


class RealHub(Typed):
    def test_a_hub(self):
        hub = self.hub(self.copy_scripts("billing"))
        hub.send("billing/bill/7", "CreateBill", {"customer": "Zoë", "start_date": "2026-01-05T10:00:00Z"})
        terminal = self.open("--data", self.data, to=False)
        self.assertEqual(terminal.ask('billing.bill "7"').split("\n")[0], "billing/bill/7  version 1  position 1")
        self.assertEqual(terminal.ask("it.state.customer"), '"Zoë"')
        terminal.ask("x = 5")
        terminal.send("while true do end\r")
        terminal.until(r"lore> while true do end\n")
        terminal.send("\x03")
        terminal.until(r"cancelled\nlore>$")
        self.assertEqual(terminal.ask("x + 1"), "6")
        terminal.ask("function f()", r" +\.\. ")
        terminal.ask("return 7", r" +\.\. ")
        terminal.ask("end")
        self.assertEqual(terminal.ask("f()"), "7")
        self.assertEqual(terminal.ask("nope.x"), "error: repl:1: attempt to index a nil value (global 'nope')")
        terminal.ask("at(1)", r"lore at 1> ")
        self.assertEqual(terminal.ask(":at"), '"now, position 1"')
        hub.kill()
        self.assertEqual(terminal.ask("f()").replace("\n", ""), f"error: no hub answers on {self.data}/hub.sock: is lore serve running?")
        hub = self.hub()
        self.assertRegex(terminal.ask("f()"), r"^a new session: variables of the old one are gone\nerror: [^\n]+nil value")
        self.assertEqual(terminal.ask('(billing.bill "7").version'), "1")

    def test_clients_that_vanish_leave_no_session(self):
        hub = self.hub(self.copy_scripts("billing"))
        flood = [LORE, "repl", "--data", self.data, "-e", "for i = 1, 20000 do print(i) end"]
        for _ in range(4):  # more than the hub has sessions, all together
            process = subprocess.Popen(flood, stdout=subprocess.PIPE)
            self.assertEqual(process.stdout.readline(), b"1\n")
            process.stdout.close()
            self.assertEqual(process.wait(60), -signal.SIGPIPE)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
            process = subprocess.Popen([LORE, "repl", "--data", self.data, "-e", "print(1) while true do end"], stdout=subprocess.PIPE)
            self.assertEqual(process.stdout.readline(), b"1\n")
            process.send_signal(number)
            self.assertEqual((process.stdout.read(), process.wait(60)), (b"", -number))
            process.stdout.close()
        for _ in range(2):
            terminal = self.open("--data", self.data, to=False)
            os.kill(terminal.pid, signal.SIGHUP)
            self.assertEqual(terminal.end(), -signal.SIGHUP)
        self.assertIn("\nlore_sessions 0\n", hub.request("GET", "/metrics").text)

    def test_queries(self):
        hub = self.hub(self.copy_scripts("billing"))
        for number in range(1, 41):
            hub.send(f"billing/bill/{number}", "CreateBill", {"customer": f"c{number % 3}", "start_date": f"2026-0{1 + number % 2}-05T10:00:00Z"})
        terminal = self.open("--data", self.data, to=False, columns=140)
        said = terminal.ask('events { type = "BillCreated" }').split("\n")
        self.assertEqual(said[0].split(), ["position", "at", "stream", "type", "data"])
        self.assertIn('{ customer = "c1", start_date = "2026-02-05T10:00:00.000Z" }', said[1])
        self.assertEqual(len(said), 22)
        self.assertIn(":all", said[21])
        self.assertEqual(len(terminal.ask(":all").split("\n")), 41)
        path = os.path.join(self.dir, "bills.csv")
        self.assertIn("wrote 40 rows", terminal.ask(f":save {path}"))
        with open(path) as file:
            self.assertEqual(len(file.read().splitlines()), 41)
        self.assertIn("wrote 40 rows", terminal.ask(f'it:save "{self.dir}/bills.ndjson"'))
        terminal.ask('months = events { type = "BillCreated" }:group(function(e) return e.data.start_date:sub(1, 7) end)')
        self.assertEqual(terminal.ask("months:count()").split("\n"), ["         value", "2026-01     20", "2026-02     20"])
        self.assertRegex(terminal.ask(":plot"), r"(?m)^2026-01 █+ 20$")
        terminal.ask("months")
        said = terminal.ask(":projection bills_by_month")
        self.assertIn('projection "bills_by_month"', said)
        terminal.send("events { }:gr\t")
        terminal.until(r"lore> events \{ \}:group$")
        terminal.send("\x15views.billing.op\t")
        terminal.until(r"lore> views\.billing\.open_bills")
        self.assertEqual(terminal.ask(":count()").split("\n")[-1], "40")


if __name__ == "__main__":
    main()

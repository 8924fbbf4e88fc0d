"""lore docs: the site of the example, of scripts that would break a careless writer, and the folder that it stands in.

pages.py reads the site as a browser would. The last test takes screenshots if chromium is there."""
import json, os, re, shutil, subprocess, unittest

from hub import ROOT, Case, lore, main
from pages import files, problems, read

EVIL = "<script>alert('x')</script>"
RING = """-- A ring: %s & "quotes" ]]> <!-- -- >
contracts [[
  -- </pre>%s
  Ping? (n: integer, text: pii string?)
  Pinged! (n: integer)

  Pong?
  Ponged!3 (list: {string: decimal[]}[])
]]
--[==[ a long comment with ]] inside
   and <b>bold</b>
]==]
function upcast.Ponged.v1(e) e.list = list {} return e end
local text = [[
  what a contract is no comment of
]]
function upcast.Ponged.v2(e) return text and e end
""" % (EVIL, EVIL)
BALL = """-- `code` and <img src=x onerror=alert(1)>
--
-- - one
-- - two
--   goes on
--
--     indented <b>
local ball = aggregate "ball"
function ball.apply.Pinged() end
function ball.apply.Ponged() end
local made = { ping = Pinged }
function ball.execute.Ping(_, c) return made.ping { n = c.n } end
local function pong() return Ponged { list = list {} } end
ball.execute.Pong = pong
local back = receptor "back"
for _, type in ipairs { "Pinged" } do
  back.when[type] = function(_, m) send.ball(m.id, Pong {}) end
end
function back.when.Ponged(_, m)
  local ball_of = send.ball
  ball_of(m.id, Ping { n = 1 })
end
"""
ODD = """-- %s
contracts [[
%s
]]
""" % ("a very long comment " * 3000 + "x" * 5000, "\n".join(f"  Do{n}? (field_{n}: string)\n  Did{n}! (field_{n}: string)" for n in range(40)))
THING = """local thing = aggregate "thing"
function thing.execute.Do1(_, c) return Did1 { field_1 = c.field_1 } end
function thing.apply.Did1() end
local shown = projection "thing"
function shown.when.Did1(view, e) view.x = e.field_1 end
shown.when["ring.Pinged"] = function() end
"""
SPEC = """describe("%s & \\252 \\1", function()
  it("</h3><b>", function()
    aggregate("thing", "a<b>&'\\"/"):when { Do1 { field_1 = "%s" } }:expect { Did1 { field_1 = "%s" } }
  end)
  it("is red", function() aggregate("thing", "1"):when { Do1 { field_1 = "a" } }:expect { Did1 { field_1 = "<b>" } } end)
  it("breaks", function() error("<i>boom</i>") end)
  it("long " .. ("x"):rep(3000), function()
    projection "thing":given { Did1 { field_1 = ("long "):rep(2000) } }:expect { ["1"] = { x = ("long "):rep(2000) } }
  end)
  pending("later")
end)
""" % (EVIL, EVIL, EVIL)


class Docs(Case):
    def setUp(self):
        super().setUp()
        self.site = os.path.join(self.dir, "site")

    def put(self, path, text):
        path = os.path.join(self.dir, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def docs(self, *more, check=0, scripts=None):
        return lore("docs", scripts or self.scripts, "--out", self.site, *more, check=check)

    def pages(self):
        pages = read(self.site)
        self.assertEqual(problems(pages, self.site), [])
        return pages

    def example(self):
        shutil.copytree(os.path.join(ROOT, "scripts"), self.scripts)
        shutil.copytree(os.path.join(ROOT, "specs"), os.path.join(self.dir, "specs"))

    def nasty(self):
        self.put("scripts/ring/contracts.lua", RING)
        self.put("scripts/ring/ball.lua", BALL)
        self.put("scripts/odd/contracts.lua", ODD)
        self.put("scripts/odd/thing.lua", THING)
        self.put("scripts/odd/sub dir/a <b>&\"'%#?ü.lua", "-- odd\nreturn { \"a\\\n b\", [==[ x\n <i> ]==] }\n")
        self.put("scripts/odd/import/r <b>\"&'.lua", "return function(row) record.thing(row.id, Did1 { field_1 = row.text }) end\n")
        self.put("scripts/empty/nothing.lua", "")
        with open(os.path.join(self.dir.encode(), b"scripts/odd/import/\xff\xfe.lua"), "wb") as file:
            file.write(b"-- \xe4\xf6 \xff\nreturn function() record.thing('1', Did1 { field_1 = '\xe4' }) end\n")
        self.put("specs/odd/odd_spec.lua", SPEC)
        self.put("specs/odd/broken_spec.lua", 'describe("x" it')

    # --- what it says ---

    def test_the_example(self):
        self.example()
        self.assertRegex(self.docs().stdout, rf"^{re.escape(self.site)}: \d+ files, begin with ")
        pages = self.pages()
        billing = pages["contexts/billing.html"]
        for text in ("BillClosed", "version 2", "version 1 of BillClosed had no customer", "a bill collects services until it is closed",
                     "closing a bill counts the closing as a service", "mailing/reminders", "what a command does: it reads the state and gives events",
                     "every 15 minutes", "One document per bill that is not closed.", "billing/bill.lua:37", "may be absent"):
            self.assertIn(text, billing.text)
        self.assertIn("personal data", pages["contexts/security.html"].text)
        self.assertIn("71 behaviours, all hold", pages["index.html"].text)
        # both ways: who publishes names who listens, and the other way round
        for page, link in (("contexts/billing.html", "../contexts/mailing.html#receptor-reminders"),
                           ("contexts/mailing.html", "../contexts/billing.html#InvoiceExpired"),
                           ("contexts/billing.html", "../source/billing/bill.lua.html#L37"),
                           ("contexts/billing.html", "../contexts/security.html#PasswordAdded"),
                           ("behaviours/billing.html", "../contexts/billing.html#CloseBill")):
            self.assertIn(("a", link), pages[page].links)
        said = re.sub(r"\s+", " ", pages["behaviours/billing.html"].text)
        self.assertIn("Givenwhat happened to bill bill-7 isBillCreated with customer acme, start date 2026-01-01"
                      "WhenCloseBill with close date 2026-02-01ThenServicesAddedToBill with services 1BillClosed with customer acme", said)
        self.assertIn("it is refused: too_early", said)
        self.assertIn("CreateUser is sent to user acme with login ada@acme.example", said)
        self.assertIn("it is tried again 10s later", pages["behaviours/mailing.html"].text)
        self.assertIn("svg", pages["index.html"].tags)
        self.assertEqual([page.path for page in pages.values() if page.scripts], ["messages.html"])  # the filter, and nothing else
        self.assertNotRegex(files(self.site)["style.css"].decode(), r"url\(|@import|http")  # nothing is asked of elsewhere

    def test_the_same_scripts_give_the_same_bytes(self):
        self.example()
        self.docs()
        first = files(self.site)
        self.docs()  # over itself
        self.assert_same(first)
        elsewhere = os.path.join(self.dir, "other", os.path.basename(self.dir))
        os.makedirs(elsewhere)
        shutil.copytree(self.scripts, os.path.join(elsewhere, "scripts"))
        shutil.copytree(os.path.join(self.dir, "specs"), os.path.join(elsewhere, "specs"))
        self.docs(scripts=os.path.join(elsewhere, "scripts"))
        self.assert_same(first)

    def assert_same(self, first):
        second = files(self.site)
        self.assertEqual(sorted(second), sorted(first))
        self.assertEqual([path for path in first if second[path] != first[path]], [])

    def test_scripts_that_would_break_a_careless_writer(self):
        self.nasty()
        told = self.docs("--json")
        self.assertIn("specs fail: they are shown as failing", told.stderr)
        self.assertEqual(json.loads(told.stdout)["out"], self.site)
        pages = self.pages()
        self.assertIn(EVIL, pages["contexts/ring.html"].text)  # as text
        self.assertIn("and <b>bold</b>", pages["source/ring/contracts.lua.html"].text)
        self.assertEqual([page.path for page in pages.values() if page.scripts], ["messages.html"])
        for page in pages.values():
            self.assertFalse({"b", "i", "img"} & set(page.tags), page.path)
        ring = pages["contexts/ring.html"]
        self.assertIn("indented <b>", ring.text)
        self.assertIn("long comment with ]] inside", ring.text)
        self.assertIn(("a", "../contexts/ring.html#Pong"), ring.links)  # cyclic: what Pinged leads to, and what leads to Pinged
        self.assertIn("It has no contracts", pages["contexts/empty.html"].text)
        self.assertNotIn("what a contract", ring.text)
        for command in ("openapi",), ("asyncapi",), ("map", "--json"), ("map",), ("map", "--format", "mermaid"), ("types", "--out", self.dir):
            lore(command[0], self.scripts, *command[1:], check=0)  # the same scripts
        odd = pages["behaviours/odd.html"]
        self.assertIn("does not hold", odd.text)
        self.assertIn("not the expected events", odd.text)
        self.assertIn("is broken", odd.text)
        self.assertIn("<i>boom</i>", odd.text)
        self.assertIn("broken_spec.lua", odd.text)
        self.assertIn("is not written yet", odd.text)
        self.assertIn("6 behaviours, 4 do not hold", pages["index.html"].text)

    def test_one_spec_that_fails(self):
        self.put("scripts/odd/contracts.lua", ODD)
        self.put("scripts/odd/thing.lua", 'local thing = aggregate "thing"\nfunction thing.execute.Do1() return Did1 { field_1 = "x" } end\n')
        self.put("specs/odd/odd_spec.lua", 'it("does", function() aggregate("thing", "1"):when { Do1 { field_1 = "a" } }:expect {} end)\n')
        self.assertIn("lore: 1 spec fails: it is shown as failing (lore test says why)\n", self.docs().stderr)
        self.assertIn("1 behaviour, 1 does not hold.", self.pages()["behaviours.html"].text)
        for command in ("openapi",), ("asyncapi",), ("map", "--json"):  # they show no specs
            self.assertIn("lore: 1 spec fails: what it says is left out (lore test says why)\n",
                          lore(command[0], self.scripts, *command[1:], check=0).stderr)

    def test_the_folder_of_one_context(self):
        self.example()
        for command in ("docs", "--out", self.site), ("map",), ("openapi",), ("asyncapi",), ("types", "--out", self.dir):
            told = lore(command[0], os.path.join(self.scripts, "fines"), *command[1:], check=1)
            self.assertEqual((told.stdout, told.stderr), ("", f"lore: {self.scripts}/fines looks like a context: give the folder above it\n"))
        for command in ("check",), ("test",), ("deploy", "--data", self.dir + "/data"), ("serve", "--data", self.dir + "/data", "--listen", "127.0.0.1:0"):
            told = lore(*command, "--scripts", os.path.join(self.scripts, "fines"), check=1)
            self.assertEqual((told.stdout, told.stderr), ("", f"lore: {self.scripts}/fines looks like a context: give the folder above it\n"))
        self.put("scripts/lost.lua", 'local lost = projection "lost"\n')  # beside contexts: an error like others
        self.put("scripts/fines/fine.lua", 'local lost = projection "lost"\nlost.no = 1\n')
        self.assertNotIn("looks like a context", self.docs(check=1).stderr)

    def test_without_specs(self):
        self.example()
        self.put("specs/billing/bill_spec.lua", "os.exit(3)")
        self.assertIn("lore test ended with 3", self.docs(check=3).stderr)
        self.assertFalse(os.path.exists(self.site))
        self.docs("--no-specs")
        self.assertIn("no specs", self.pages()["index.html"].text)

    def test_no_scripts_at_all(self):
        os.makedirs(self.scripts)
        self.docs()
        self.assertIn("0 contexts", self.pages()["index.html"].text)

    # --- the folder ---

    def test_broken_scripts(self):
        self.example()
        self.docs()
        before = files(self.site)
        self.edit("billing/bill.lua", "function bill.apply.BillCreated", "function bill.apply.BillCraeted")
        self.edit("mailing/mail.lua", "env.MAIL_URL", "envv.MAIL_URL")
        told = self.docs(check=1)
        self.assertRegex(told.stderr, r"billing/bill\.lua:4: .*did you mean BillCreated\?")
        self.assertRegex(told.stderr, r"mailing/mail\.lua:5: .*envv")
        self.assertEqual(told.stdout, "")
        self.assertEqual(files(self.site), before)
        self.assertEqual(sorted(name for name in os.listdir(self.dir) if name.startswith("site")), ["site"])

    def test_a_folder_of_somebody_else(self):
        self.example()
        self.put("site/notes.txt", "mine")
        told = self.docs(check=1)
        self.assertIn("was not made by lore docs", told.stderr)
        self.assertEqual(list(files(self.site)), ["notes.txt"])
        self.docs("--force")
        self.pages()
        self.assertEqual(files(self.site + ".before"), {"notes.txt": b"mine"})
        self.put("site/.lore-docs", "")
        os.unlink(os.path.join(self.site, ".lore-docs"))
        self.assertIn("site.before is there already", self.docs("--force", check=1).stderr)
        self.assertEqual(sorted(name for name in os.listdir(self.dir) if name.startswith("site")), ["site", "site.before"])

    def test_a_link_and_an_empty_folder(self):
        self.example()
        real = os.path.join(self.dir, "real")
        os.mkdir(real)
        os.symlink("real", self.site)
        self.docs()
        self.docs()
        self.assertTrue(os.path.islink(self.site))
        self.assertTrue(os.path.isfile(os.path.join(real, "index.html")))

    def test_two_at_once(self):
        self.example()
        for _ in range(2):  # into nothing, and over what is there
            both = [subprocess.Popen([os.environ["LORE"], "docs", self.scripts, "--out", self.site], stdout=subprocess.DEVNULL) for _ in range(2)]
            self.assertEqual([each.wait() for each in both], [0, 0])
            self.pages()
            self.assertEqual([name for name in os.listdir(self.dir) if name.startswith("site")], ["site"])

    def test_killed_on_its_way(self):
        """What was there is there still, whole."""
        self.example()
        self.docs()
        before = files(self.site)
        self.put("bin/dot", "#!/bin/sh\nkill -9 $PPID\n")
        os.chmod(os.path.join(self.dir, "bin", "dot"), 0o755)
        done = subprocess.run([os.environ["LORE"], "docs", self.scripts, "--no-specs", "--out", self.site], capture_output=True,
                              env=dict(os.environ, PATH=f"{self.dir}/bin:{os.environ['PATH']}"))
        self.assertEqual(done.returncode, -9)
        self.assertEqual(files(self.site), before)
        self.docs()
        self.pages()

    def test_no_room_for_it(self):
        self.example()
        told = lore("docs", self.scripts, "--out", os.path.join(self.dir, "none", "site"), check=1)
        self.assertIn("none/site", told.stderr)
        limited = subprocess.run(["bash", "-c", f"ulimit -f 4; exec {os.environ['LORE']} docs {self.scripts} --no-specs --out {self.site}"],
                                 capture_output=True, text=True)
        self.assertEqual(limited.returncode, 3, limited.stderr)
        self.assertEqual([name for name in os.listdir(self.dir) if name.startswith("site")], [])

    def test_without_graphviz(self):
        self.example()
        told = subprocess.run([os.environ["LORE"], "docs", self.scripts, "--no-specs", "--out", self.site], capture_output=True, text=True,
                              env=dict(os.environ, PATH=self.dir))
        self.assertEqual(told.returncode, 3)
        self.assertIn("apt install graphviz", told.stderr)
        self.assertFalse(os.path.exists(self.site))

    # --- in a browser ---

    def measured(self, width, names, measure):
        """What a function of JavaScript gives of each page's document in a window of that width; and the window's picture."""
        frames = "".join(f'<iframe src="site/{name}" width="{width}" height="700"></iframe>' for name in names)
        self.put("frames.html", f"<body>{frames}<script>onload=()=>document.title=JSON.stringify([...document.querySelectorAll('iframe')].map("
                                f"f=>({measure})(f.contentDocument)))</script>")
        shot = os.path.join(self.dir, "frames.png")
        common = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync", "--allow-file-access-from-files", "--hide-scrollbars", "--window-size=1300,1600",
                  f"--user-data-dir={self.dir}/profile"]
        page = "file://" + os.path.join(self.dir, "frames.html")
        dom = subprocess.run([*common, "--dump-dom", page], capture_output=True, text=True, timeout=300).stdout
        subprocess.run([*common, f"--screenshot={shot}", page], capture_output=True, timeout=300)
        with open(shot, "rb") as file:
            return json.loads(re.search(r"<title>(.+?)</title>", dom)[1]), file.read()

    @unittest.skipUnless(shutil.which("chromium"), "skip: no chromium to look with")
    def test_a_phone(self):
        """No page is wider than a phone: pictures and sources scroll in a box of their own, all else is wrapped, names of fields are not."""
        self.example()
        self.put("specs/billing/red_spec.lua", 'it("is red", function() error(("long "):rep(40) .. ("x"):rep(400)) end)\n')
        self.docs()
        names = ["index.html", "map.html", "messages.html", "contexts/billing.html", "behaviours/billing.html", "source/billing/invoice.lua.html"]
        found, picture = self.measured(360, names, """d => ({ width: d.documentElement.scrollWidth,
            cut: [...d.querySelectorAll('.behaviour pre')].map(e => e.scrollWidth > e.clientWidth),
            broken: [...d.querySelectorAll('.fields code')].filter(e => !e.textContent.includes(' ') && e.getClientRects().length > 1).map(e => e.textContent),
            unsaid: [...d.querySelectorAll('.picture')].filter(e => e.scrollWidth > 640 && !e.querySelector('.hint')?.offsetHeight).length,
            said: d.querySelectorAll('.picture .hint').length, fields: d.querySelectorAll('.fields code').length })""")
        self.assertEqual([page["width"] for page in found], [360] * len(names))
        self.assertEqual(found[4]["cut"], [False])
        self.assertEqual([page["broken"] for page in found], [[]] * len(names))
        self.assertEqual([page["unsaid"] for page in found], [0] * len(names))
        self.assertEqual((found[1]["said"], found[3]["fields"] > 10), (1, True))
        self.assertEqual(picture[:8], b"\x89PNG\r\n\x1a\n")
        self.assertGreater(len(picture), 50000)  # an empty page has some 5,000 bytes

    @unittest.skipUnless(shutil.which("chromium"), "skip: no chromium to look with")
    def test_a_window(self):
        """A picture that is wider than the text has the window's width."""
        self.example()
        self.docs("--no-specs")
        found, _ = self.measured(1200, ["map.html", "contexts/billing.html"], """d => { const e = d.querySelector('.picture'), r = e.getBoundingClientRect();
            return [d.documentElement.scrollWidth, e.scrollWidth - e.clientWidth, r.left >= 0 && r.right <= 1200,
                    r.width > d.querySelector('main').clientWidth] }""")
        self.assertEqual(found, [[1200, 0, True, True]] * 2)


if __name__ == "__main__":
    main()

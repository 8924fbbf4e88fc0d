"""What the log keeps of deploys: GET /v1/deploys, lore deploys, lore blame, lore events --deploy, lore verify."""
import json, os, re, subprocess

from hub import Case, TIMEOUT, lines, lore, main

BILL = {"customer": "acme", "start_date": "2026-01-01"}


def tree(folder):
    """Every file below it: path -> bytes."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(base, name), "rb") as file:
                found[os.path.relpath(os.path.join(base, name), folder)] = file.read()
    return found


class Deploys(Case):
    def setUp(self):
        super().setUp()
        self.copy_scripts("billing")
        self.kept = {}  # number -> tree

    def start(self, number, *args, **options):
        """A hub on the folder as it is, which is then this deploy."""
        it = self.hub(None, None, *args, **options)
        self.assertEqual(it.get("/v1/deploys?limit=1")["deploys"][0]["number"], number)
        self.kept[number] = tree(self.scripts)
        return it

    def three(self):
        """Three deploys with an event each; the second also adds and removes a file. The hub of the third runs."""
        it = self.start(1)
        it.send("billing/bill/1", "CreateBill", BILL)
        it.stop()
        self.edit("billing/bill.lua", "local bill =", "-- a line more\nlocal bill =")
        self.write("billing/sub/extra.lua", "return function() end\n")
        os.remove(os.path.join(self.scripts, "billing/customers.lua"))
        it = self.start(2)
        it.send("billing/bill/1", "AddServicesToBill", {"services": 2})
        it.stop()
        self.edit("billing/terms.lua", "\n", "\n-- nothing\n")
        it = self.start(3)
        it.send("billing/bill/2", "CreateBill", BILL)
        return it

    def place(self, it):
        """The same is asked of a running hub and of a directory nobody has."""
        return ("--data", it.data)

    def both(self, it, check):
        check()
        it.stop()
        check()

    def test_list(self):
        it = self.three()
        last = it.get("/v1/deploys")["deploys"]
        self.assertEqual([(d["number"], d["state"], d["before"], d["changed"], d["position"], d["folder"]) for d in last],
                         [(3, "running", 2, 1, 2, self.scripts), (2, "superseded", 1, 3, 1, self.scripts),
                          (1, "superseded", 0, len(self.kept[1]), 0, self.scripts)])
        self.assertEqual([d["number"] for d in it.get("/v1/deploys?limit=1&below=3")["deploys"]], [2])
        ndjson = it.request("GET", "/v1/deploys", None, {"Accept": "application/x-ndjson"}).text
        self.assertEqual(lines(ndjson), last)
        for path in ("/v1/deploys/4", "/v1/deploys/0", "/v1/deploys/x", "/v1/deploys/1/x", "/v1/deploys/4/scripts"):
            self.assertEqual(it.get(path, status=404)["code"], "not_found")
        self.assertEqual(it.get("/v1/deploys?x=1", status=400)["code"], "malformed")

        def check():
            self.assertEqual(lines(lore("deploys", "--json", *self.place(it), check=0).stdout), last)
            shown = lore("deploys", *self.place(it), check=0).stdout.splitlines()
            self.assertEqual([line.split()[0] for line in shown], ["deploy", "3", "2", "1"])
            self.assertIn("running", shown[1])
        self.both(it, check)

    def test_same_folder_is_no_deploy(self):
        self.start(1).stop()
        it = self.start(1)
        it.stop()
        self.assertIn("1 deploys\n", lore("verify", "--data", it.data, check=0).stdout)

    def test_show(self):
        it = self.three()
        two = it.get("/v1/deploys/2")
        self.assertEqual(set(two["scripts"]), set(self.kept[2]))
        self.assertEqual({s["path"]: s["text"].encode() for s in it.get("/v1/deploys/2/scripts")["scripts"]}, self.kept[2])
        self.assertEqual([(s["from"], s["to"]) for s in two["switches"]], [(2, 3), (1, 2)])

        def check():
            self.assertEqual(json.loads(lore("deploys", "show", 2, "--json", *self.place(it), check=0).stdout), two)
            shown = lore("deploys", "show", 2, *self.place(it), check=0).stdout
            self.assertTrue(shown.startswith("deploy 2, superseded, "), shown)
            self.assertNotIn("\033", shown)
            self.assertIn("--- 1/billing/bill.lua\n+++ 2/billing/bill.lua\n@@ -1,3 +1,4 @@\n+-- a line more\n", shown)
            self.assertIn("--- /dev/null\n+++ 2/billing/sub/extra.lua\n@@ -0,0 +1 @@\n+return function() end\n", shown)
            self.assertIn("--- 1/billing/customers.lua\n+++ /dev/null\n", shown)
            self.assertEqual(self.patched(1, shown), self.kept[2])
            both = lore("deploys", "show", 3, "--against", 1, *self.place(it), check=0).stdout
            self.assertEqual(self.patched(1, both), self.kept[3])
            self.assertIn("no deploy 9", lore("deploys", "show", 9, *self.place(it), check=1).stderr)
            for wrong in (("show",), ("show", "x"), ("show", "-1"), ("undo", "1"), ("checkout", "1")):
                lore("deploys", *wrong, *self.place(it), check=2)
        self.both(it, check)

    def patched(self, number, shown):
        """What the difference makes of a deploy's files, by our own hands: no tool of the machine is needed."""
        files = {path: text.decode().splitlines(True) for path, text in self.kept[number].items()}
        # a removed comment looks like the beginning of a file, but for what follows
        parts = re.split(r"^(?=--- (?:\d+/\S+|/dev/null)\n\+\+\+ )", shown, flags=re.M)[1:]
        for part in parts:
            rows = part.splitlines(True)
            old, new = rows[0][4:].strip(), rows[1][4:].strip()
            path = (new if old == "/dev/null" else old).split("/", 1)[1]
            made, at = [], 0
            before = [] if old == "/dev/null" else files[path]
            for row in rows[2:]:
                if row.startswith("@@"):
                    first, *count = row.split()[1][1:].split(",")
                    start = int(first) - (0 if count == ["0"] else 1)
                    made += before[at:start]
                    at = start
                elif row[0] in " -":
                    self.assertEqual(before[at], row[1:])
                    at += 1
                if row[0] in " +":
                    made.append(row[1:])
            made += before[at:]
            if new == "/dev/null":
                self.assertEqual(made, [])
                del files[path]
            else:
                files[path] = made
        return {path: "".join(rows).encode() for path, rows in files.items()}

    def test_checkout(self):
        it = self.three()
        for number in (1, 2, 3):
            out = os.path.join(self.dir, f"out{number}")
            lore("deploys", "checkout", number, out, *self.place(it), check=0)
            self.assertEqual(tree(out), self.kept[number])
        it.stop()
        out = os.path.join(self.dir, "out1")
        self.assertIn("is not empty", lore("deploys", "checkout", 2, out, *self.place(it), check=1).stderr)
        self.assertEqual(tree(out), self.kept[1])
        forced = lore("deploys", "checkout", 2, out, "--force", *self.place(it), check=0)
        self.assertEqual(tree(out), {**self.kept[1], **self.kept[2]})
        self.assertIn("billing/customers.lua is not of this deploy", forced.stderr)

    def test_checkout_follows_no_link(self):
        it = self.start(1)
        out, other = os.path.join(self.dir, "out"), os.path.join(self.dir, "other")
        os.mkdir(out)
        os.mkdir(other)
        os.symlink(other, os.path.join(out, "billing"))
        self.assertIn("not followed", lore("deploys", "checkout", 1, out, "--force", *self.place(it), check=3).stderr)
        self.assertEqual(os.listdir(other), [])
        # a file that is a link is replaced, what it names stays
        os.remove(os.path.join(out, "billing"))
        os.mkdir(os.path.join(out, "billing"))
        named = os.path.join(other, "precious")
        with open(named, "w") as file:
            file.write("precious")
        os.symlink(named, os.path.join(out, "billing/bill.lua"))
        lore("deploys", "checkout", 1, out, "--force", *self.place(it), check=0)
        self.assertEqual(tree(out), self.kept[1])
        with open(named) as file:
            self.assertEqual(file.read(), "precious")

    def test_bytes_that_are_no_utf8(self):
        path = os.path.join(self.scripts, "latin.lua")
        with open(path, "wb") as file:
            file.write(b"-- gr\xfc\xdfe\r\nreturn {}")
        it = self.start(1)
        out = os.path.join(self.dir, "out")
        lore("deploys", "checkout", 1, out, *self.place(it), check=0)
        self.assertEqual(tree(out), self.kept[1])

    def test_events_of_a_deploy(self):
        it = self.three()

        def check():
            for number, position in ((1, 1), (2, 2), (3, 3)):
                found = lines(lore("events", "--deploy", number, "--json", *self.place(it), check=0).stdout)
                self.assertEqual([(event["position"], event["deploy"]) for event in found], [(position, number)])
            self.assertEqual(lore("events", "--deploy", 4, *self.place(it), check=0).stdout, "")
        self.both(it, check)

    # --- blame ---

    def line_of(self, number, path, text):
        rows = self.kept[number][path].decode().splitlines()
        return next(at for at, row in enumerate(rows, 1) if row.startswith(text))

    def test_blame_of_an_event(self):
        it = self.three()
        event = it.get("/v1/main/events?from=1&limit=1")["events"][0]
        found = it.get("/v1/main/blame?position=1")["blame"]
        self.assertEqual(len(found), 1)
        self.assertEqual(it.get(f"/v1/main/blame?event={event['id']}")["blame"], found)
        one = found[0]
        self.assertEqual((one["stream"], one["kind"]), ("billing/bill/1", "command"))
        self.assertEqual((one["deploy"]["number"], one["deploy"]["state"]), (1, "superseded"))
        self.assertEqual([(c["type"], c["id"], c["handler"]) for c in one["commands"]], [
            ("CreateBill", event["commandid"],
             {"path": "billing/bill.lua", "line": self.line_of(1, "billing/bill.lua", "function bill.execute.CreateBill")})])
        self.assertEqual(one["commands"][0]["data"]["customer"], "acme")
        self.assertEqual([(e["type"], e["position"], e["version"], e["data"]["customer"]) for e in one["events"]],
                         [("BillCreated", 1, 1, "acme")])
        self.assertEqual([cause["id"] for cause in one["causes"]], [event["commandid"]])
        # the same handler, a line further down in the deploy that decided it
        later = it.get("/v1/main/blame?position=3")["blame"][0]
        self.assertEqual(later["commands"][0]["handler"]["line"], one["commands"][0]["handler"]["line"] + 1)
        for wrong in ("", "?position=0", "?position=x", "?position=1&event=x", "?view=a", "?stream=a", "?stream=a/b/c&last=0"):
            self.assertEqual(it.get(f"/v1/main/blame{wrong}", status=400)["code"], "malformed", wrong)
        for missing in ("?position=99", "?event=x", "?stream=billing/bill/99", "?view=billing/open_bills&key=99", "?view=none&key=1"):
            self.assertEqual(it.get(f"/v1/main/blame{missing}", status=404)["code"], "not_found", missing)

        def check():
            self.assertEqual(lines(lore("blame", 1, "--json", *self.place(it), check=0).stdout), found)
            shown = lore("blame", 1, *self.place(it), check=0).stdout
            self.assertIn("event    BillCreated at position 1, version 1", shown)
            self.assertIn("\ndeploy   1, superseded, ", shown)
            self.assertIn(f"command  CreateBill {event['commandid']}  {{", shown)
            self.assertIn(f"\nhandler  billing/bill.lua:{one['commands'][0]['handler']['line']}\n", shown)
            self.assertIn("no event at position 99", lore("blame", 99, *self.place(it), check=1).stderr)
        self.both(it, check)

    def test_blame_of_a_stream(self):
        it = self.three()
        batch = [{"type": "AddServicesToBill", "data": {"services": n}} for n in (1, 2)]
        self.assertEqual(it.request("POST", "/v1/main/billing/bill/1", batch, {"Idempotency-Key": "b"}).status, 200)
        found = it.get("/v1/main/blame?stream=billing/bill/1")["blame"]
        self.assertEqual([([e["position"] for e in c["events"]], c["deploy"]["number"], len(c["commands"])) for c in found],
                         [([4, 5], 3, 2), ([2], 2, 1), ([1], 1, 1)])
        self.assertEqual(it.get("/v1/main/blame?stream=billing/bill/1&last=2")["blame"], found[:2])

        def check():
            self.assertEqual(lines(lore("blame", "billing/bill/1", "--json", *self.place(it), check=0).stdout), found)
            shown = lore("blame", "billing/bill/1", "--last", 2, *self.place(it), check=0).stdout.splitlines()
            self.assertEqual([line.split()[0] for line in shown], ["4", "2"])
            self.assertIn("deploy 2, superseded", shown[1])
            self.assertIn("AddServicesToBill at billing/bill.lua:", shown[1])
        self.both(it, check)

    def test_blame_of_documents(self):
        """Keyed by the id, keyed by a function, and free style; also when what touched it lies far back."""
        self.write("billing/by_customer.lua", """local by = projection "by_customer" { key = function(e) return e.customer end }
function by.when.BillCreated(view, e, m) view.bill = m.id end
""")
        self.write("billing/plain.lua", """local plain = projection "plain" {}
function plain.when.BillCreated(view, e) view.customer = e.customer end
""")
        self.write("billing/freely.lua", """local freely = projection "freely" { key = false }
function freely.when.BillCreated(docs, e, m) docs:update("all", { n = 0 }, function(all) all.n = all.n + 1 end) end
""")
        it = self.start(1)
        it.send("billing/bill/1", "CreateBill", {**BILL, "customer": "first"})
        it.send("billing/bill/2", "CreateBill", BILL)
        it.send("billing/bill/1", "AddServicesToBill", {"services": 2})
        bulk = "".join(json.dumps({"stream": f"billing/bill/x{n}", "type": "CreateBill", "data": BILL}) + "\n" for n in range(300))
        answer = it.request("POST", "/v1/main/commands", bulk, {"Content-Type": "application/x-ndjson"})
        self.assertEqual(answer.status, 200, answer.text)

        def asked(view, key):
            answer = it.get(f"/v1/main/blame?view={view}&key={key}")
            return answer, [e["position"] for e in answer["blame"][0]["events"] if e.get("asked")]
        self.assertEqual(asked("billing/open_bills", "1")[1], [3])
        self.assertEqual(asked("open_bills", "2")[1], [2])
        self.assertEqual(asked("billing/plain", "1")[1], [1])
        self.assertEqual(asked("billing/by_customer", "first")[1], [1])
        self.assertEqual(asked("billing/by_customer", "acme")[1], [303])
        free, position = asked("billing/freely", "all")
        self.assertEqual(position, [303])
        self.assertIn("last event", free["known"])
        self.assertEqual((free["view"], free["key"]), ("billing/freely", "all"))
        it.stop()
        self.assertIn("BillCreated at position 1", lore("blame", "view", "plain", "1", "--data", it.data, check=0).stdout)

    def test_blame_of_what_the_hub_sent(self):
        """The causes are told up to the command from outside."""
        self.write("shop/contracts.lua", "contracts [[\nOpen?\nOpened!\nNote?\nNoted!\n]]\n")
        self.write("shop/store.lua", """local store = aggregate "store" {}
function store.execute.Open() return Opened {} end
""")
        self.write("shop/book.lua", """local book = aggregate "book" {}
function book.execute.Note() return Noted {} end
""")
        self.write("shop/clerk.lua", """local clerk = receptor "clerk"
clerk.when["shop.Opened"] = function(e, m) send.book(m.id, Note {}) end
""")
        it = self.start(1)
        tail = it.tail()
        it.send("shop/store/7", "Open", headers={"Idempotency-Key": "from-outside"})
        self.assertEqual([event["type"] for _, event in tail.take(2)], ["Opened", "Noted"])
        tail.close()
        found = it.get("/v1/main/blame?position=2")["blame"][0]
        self.assertEqual(found["commands"][0]["handler"], {"path": "shop/book.lua", "line": 2})
        self.assertEqual([(c["kind"], c["type"]) for c in found["causes"]],
                         [("command", "Note"), ("event", "Opened"), ("command", "Open")])
        self.assertEqual(found["causes"][2]["id"], "from-outside")
        shown = lore("blame", 2, "--data", it.data, check=0).stdout.splitlines()
        self.assertEqual([line.split("  ")[2:4] for line in shown if line.startswith("because")],
                         [["Opened", "shop/store/7"], ["Open", "shop/store/7"]])

    # --- killed ---

    def test_killed_between_the_values(self):
        """Wherever a deploy is cut off, the old one runs or the new one, whole; and the next start goes on."""
        it = self.start(1)
        it.send("billing/bill/1", "CreateBill", BILL)
        it.stop()
        self.edit("billing/bill.lua", "local bill =", "-- a line more\nlocal bill =")
        self.write("extra.lua", "return {}\n")
        new, killed, at = tree(self.scripts), 0, 0
        while True:
            at += 1
            data = os.path.join(self.dir, f"data{at}")
            subprocess.run(["cp", "-r", self.data, data], check=True)
            cut = self.hub(None, data, env={"LORE_FAULTS": f"deploy.put@{at}=kill"}, ready=False)
            if self.ends(cut):
                killed += 1
            else:
                cut.stop()
            self.assertIn("all is as it was written", lore("verify", "--data", data, check=0).stdout)
            listed = lines(lore("deploys", "--json", "--data", data, check=0).stdout)
            running = [d["number"] for d in listed if d["state"] == "running"]
            self.assertIn((running, [d["number"] for d in listed]), [([1], [1]), ([2], [2, 1])], at)
            out = os.path.join(self.dir, f"out{at}")
            lore("deploys", "checkout", running[0], out, "--data", data, check=0)
            self.assertEqual(tree(out), new if running == [2] else self.kept[1])
            again = self.hub(None, data)
            self.assertEqual([d["number"] for d in again.get("/v1/deploys")["deploys"]], [2, 1])
            self.assertEqual(again.send("billing/bill/2", "CreateBill", BILL)["events"][0]["deploy"], 2)
            values = 5 + ("gate" in again.get("/v1/deploys/2"))
            again.stop()
            if killed < at:
                break
        self.assertEqual(killed, values)  # two sources, what a gate said, the record, the switch, "deploys"

    def ends(self, cut):
        """Whether it is killed before its deploy is done."""
        if cut.wait_ready(may_end=True):
            try:
                while cut.get("/v1/deploys?limit=1")["deploys"][0]["number"] != 2:
                    pass
                return False
            except OSError:
                pass
        self.assertEqual(cut.process.wait(TIMEOUT), -9)
        return True


if __name__ == "__main__":
    main()

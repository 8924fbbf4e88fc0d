"""The command line as interfaces.md fixes it: each command without a running hub, its machine output, its exit codes."""
import json, os, random, re, shutil, signal, subprocess, tempfile, time, unittest

from hub import LORE, ROOT, SMALL, TIMEOUT, Case, Hub, lines, lore, main

COMMANDS = ["new", "serve", "check", "test", "send", "import", "export", "events", "state", "view", "status", "rebuild", "retry", "task", "verify", "repl"]
CLOUD_EVENT = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data", "position", "version", "typeversion",
               "recordedtime", "correlationid", "causationid", "commandid", "deploy"]
IMPORT = """
return function(row)
  if row.create then send.bill(row.bill, CreateBill { customer = row.create, start_date = row.at }, { at = row.at })
  elseif row.invoice then
    send.invoice(row.invoice, IssueInvoice { customer = "c", due_on = row.at, lines = { { text = "x", quantity = row.quantity, price = decimal "1.10" } } }, { at = row.at })
  else send.bill(row.bill, AddServicesToBill { services = row.services }, { at = row.at }) end
end
"""


class Help(unittest.TestCase):
    def test_the_list(self):
        for args in (["--help"], ["-h"], ["help"]):
            said = lore(*args, check=0).stdout
            for command in COMMANDS:
                self.assertRegex(said, rf"(?m)^  {command} +\S")
        self.assertRegex(lore("--version", check=0).stdout, r"^lore \d+\.\d+\.\d+\n$")

    def test_each_command(self):
        for command in COMMANDS:
            for args in ([command, "--help"], [command, "-h"], [command, "--help", "more"]):
                done = lore(*args, check=0)
                self.assertTrue(done.stdout.startswith(f"usage: lore {command}"), done.stdout)
                self.assertEqual(done.stderr, "")
            # whatever it says of options is taken
            for option, value in re.findall(r"(?m)^  --(\S+)( [A-Z]\S*)? ", done.stdout):
                if option != "help":
                    said = lore(command, f"--{option}" + ("=x" if value else ""), "--nonsense", check=2).stderr
                    self.assertIn("unknown option --nonsense", said, option)

    def test_help_fits_a_window(self):
        self.assertEqual([line for line in lore("serve", "--help", check=0).stdout.splitlines() if len(line) > 110], [])

    def test_help_of_a_command_by_its_name(self):
        for command in COMMANDS:
            self.assertEqual(lore("help", command, check=0).stdout, lore(command, "--help", check=0).stdout)
        self.assertIn("did you mean status?", lore("help", "statu", check=2).stderr)
        self.assertIn("did you mean status?", lore("statu", check=2).stderr)

    def test_options_that_all_take(self):
        for command in COMMANDS:
            said = lore(command, "--scripts", "s", "--data=d", "--tenant", "main", "--nonsense", check=2).stderr
            self.assertIn("unknown option --nonsense", said)

    def test_wrong_usage(self):
        for args in (["serve", "a", "b"], ["state", "billing/bill/7", "--version", "1", "--at", "2"], ["state", "billing/bill/7", "--version", "x"],
                     ["state", "billing/bill/7", "--version"], ["events", "--limit", "0"], ["events", "--json=yes"], ["send", "billing/bill/7"],
                     ["view"], ["new"], ["verify", "more"], ["serve", "--listen", "nowhere"], ["export", "--from", "-1"], ["nonsense"]):
            done = lore(*args, check=2)
            self.assertEqual(done.stdout, "")
            self.assertIn("usage", done.stderr, args)

    def test_two_scripts_folders(self):
        for command in ("serve", "check"):
            done = lore(command, "one", "--scripts", "other", check=2)
            self.assertIn("two scripts folders are given: 'one' and --scripts 'other'", done.stderr)
        self.assertIn("all load", lore("check", "scripts", "--scripts", "scripts", check=0).stdout)

    def test_a_log_that_was_never_begun_is_empty(self):
        """The first start was killed: what it left is a log without events, not an environment that failed."""
        with tempfile.TemporaryDirectory() as data:
            os.mkdir(os.path.join(data, "log"))
            for name in ("lock", "log/data.mdb"):
                open(os.path.join(data, name), "w").close()
            for command in (["export"], ["events"], ["status", "--json"]):
                done = lore(*command, "--data", data, check=0)
                self.assertNotIn('"position":1', done.stdout)
            self.assertEqual(lore("export", "--data", data, check=0).stdout, "")


class New(Case):
    def readme(self, folder):
        with open(os.path.join(folder, "README.md")) as file:
            return [line.strip() for line in file if line.startswith("    lore ")]

    def shell(self, command, cwd, code=0):
        done = subprocess.run(["bash", "-c", 'lore() { "$LORE" "$@"; }; ' + command], cwd=cwd, capture_output=True, text=True,
                              timeout=TIMEOUT, env=dict(os.environ, LORE=os.path.abspath(LORE)))
        self.assertEqual(done.returncode, code, command + "\n" + done.stdout + done.stderr)
        return done.stdout

    def test_as_its_readme_says(self):
        folder = os.path.join(self.dir, "shop")
        lore("new", folder, check=0)
        commands = [re.split(r"  +", line)[0] for line in self.readme(folder)]
        self.assertEqual([command.split()[1] for command in commands], ["check", "test", "serve", "send", "events", "state", "view"])
        check, test, serve, send, events, state, view = commands
        self.assertIn("1 aggregates, 1 projections", self.shell(check, folder))
        self.assertRegex(self.shell(test, folder).strip().splitlines()[-1], r"^4 passed, 0 failed$")
        hub = Hub(os.path.join(folder, "scripts"), os.path.join(folder, "data"))  # lore serve, but on a free port
        self.addCleanup(hub.kill)
        self.assertEqual(serve, "lore serve --watch")
        self.assertEqual(self.shell(send, folder), 'OrderPlaced {"amount":"12.50","customer":"ada"}\n')
        self.assertIn("order/1 OrderPlaced", self.shell(events, folder))
        self.assertIn('"customer": "ada"', self.shell(state, folder))
        hub.view("shop/open_orders")
        self.assertEqual(self.shell(view, folder), '1  {"amount":"12.50","customer":"ada"}\n')
        self.shell(send.replace("PlaceOrder", "PlaceOrder --id other"), folder, code=1)
        hub.stop()
        self.assertEqual(self.shell(view, folder), '1  {"amount":"12.50","customer":"ada"}\n')
        self.shell("lore send shop/order/1 ShipOrder", folder)
        self.assertEqual(self.shell(view, folder), "")

    def test_check_counts_what_sends(self):
        folder = os.path.join(self.dir, "shop")
        lore("new", folder, check=0)
        scripts = os.path.join(folder, "scripts")
        with open(os.path.join(scripts, "shop", "more.lua"), "w") as file:
            file.write("receptor 'r'\nservice 's'\ntask 't'.run = function() end\n")
        done = lore("check", scripts, check=0)
        self.assertTrue(done.stdout.endswith("1 aggregates, 1 projections, 1 receptors, 1 services, 1 tasks: all load\n"), done.stdout)
        self.assertIn('more.lua:3: task "t": without every, cron or at it runs only by hand', done.stderr)
        described = json.loads(lore("check", scripts, "--json", check=0).stdout)
        self.assertEqual([[one["name"] for one in described[kind]] for kind in ("receptors", "services", "tasks")],
                         [["shop/r"], ["shop/s"], ["shop/t"]])

    def test_nothing_is_overwritten(self):
        folder = os.path.join(self.dir, "shop")
        os.makedirs(os.path.join(folder, "scripts", "shop"))
        path = os.path.join(folder, "scripts", "shop", "order.lua")
        with open(path, "w") as file:
            file.write("-- mine")
        done = lore("new", folder, check=2)
        self.assertIn("order.lua is there already", done.stderr)
        with open(path) as file:
            self.assertEqual(file.read(), "-- mine")
        os.remove(path)
        self.assertIn("README.md is there already", lore("new", folder, check=2).stderr)

    def test_a_folder_that_a_shell_would_take_apart(self):
        for name in "my shop", "it's; echo $HOME", "plain-1.0":
            told = lore("new", name, check=0, cwd=self.dir).stdout
            line = re.search(r"hub: (cd .*), then lore test", told)[1]
            there = subprocess.run(["sh", "-c", line + " && pwd"], capture_output=True, text=True, cwd=self.dir)
            self.assertEqual(there.stdout, os.path.join(os.path.realpath(self.dir), name) + "\n", line)
        self.assertEqual(line, "cd plain-1.0")

    def test_where_nothing_can_be_made(self):
        self.assertRegex(lore("new", os.path.join(self.dir, "no", "where"), check=1).stderr, "cannot be made: No such file")
        file = os.path.join(self.dir, "file")
        open(file, "w").close()
        self.assertNotEqual(lore("new", file).returncode, 0)


class Commands(Case):
    """On a data directory that nobody has: the command opens it itself."""

    def setUp(self):
        super().setUp()
        self.copy_scripts("billing")
        self.write("billing/import/rows.lua", IMPORT)
        self.write("hub.lua", 'return { tenants = { "main", "other" } }\n')

    def lore(self, *args, check=0, input=None):
        takes = {"verify": ["--data", self.data]}
        return lore(*args, *takes.get(args[0], ["--data", self.data, "--scripts", self.scripts]), check=check, input=input)

    def fill(self, bills=5, events=100, *args):
        rows = [{"bill": f"b{n}", "create": f"c{n % 3}", "at": f"2026-01-{n % 28 + 1:02}T00:00:00Z"} for n in range(bills)]
        rows += [{"invoice": f"i{n}", "quantity": n + 1, "at": f"2026-02-{n % 28 + 1:02}T00:00:00Z"} for n in range(bills)]
        rows += [{"bill": f"b{n % bills}", "services": n + 1, "at": f"2026-03-{n % 28 + 1:02}T00:00:00Z"} for n in range(events - 2 * bills)]
        self.lore("import", "-", "--with", os.path.join(self.scripts, "billing/import/rows.lua"), *args, input="".join(json.dumps(row) + "\n" for row in rows))
        return rows

    def test_machine_output(self):
        self.fill()
        events = lines(self.lore("export").stdout)
        self.assertEqual(lines(self.lore("events", "--json").stdout), events)
        self.assertEqual([event["position"] for event in events], list(range(1, 101)))
        for event in events:
            self.assertEqual([name for name in CLOUD_EVENT if name not in event], [], event)
            self.assertRegex(event["id"], rf"^\S+:\d+:{event['position']}$")
            self.assertRegex(event["recordedtime"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual([event["position"] for event in lines(self.lore("export", "--from", "99").stdout)], [99, 100])
        self.assertEqual(self.lore("export", "--from", "101").stdout, "")

        state = lines(self.lore("state", "billing/bill/b0", "--json").stdout)
        self.assertEqual([list(line) for line in state], [["stream", "version", "position", "state"]])
        view = lines(self.lore("view", "billing/open_bills", "--json").stdout)
        self.assertEqual([list(line) for line in view], [["key", "document"]] * 5)
        one = lines(self.lore("view", "open_bills", "b0", "--json").stdout)
        self.assertEqual((len(one), one[0]["key"], one[0]["document"]), (1, "b0", view[0]["document"]))
        status = lines(self.lore("status", "--json").stdout)
        projections = [line for line in status if line["kind"] == "projection"]
        self.assertEqual(sorted(line["name"] for line in projections),
                         ["billing/customers", "billing/open_bills", "billing/outstanding_invoices", "billing/revenue_by_month"])
        for line in projections:
            self.assertTrue({"name", "generation", "position", "lag", "parked"} <= set(line), line)
            self.assertEqual((line["generation"], line["position"], line["lag"], line["parked"]), (1, 100, 0, 0))
        report = lines(self.lore("verify", "--json").stdout)[-1]
        self.assertEqual((report["ok"], report["commits"], report["events"], report["head_position"]), (True, 100, 100, 100))
        sent = lines(self.lore("send", "billing/bill/b0", "AddServicesToBill", '{"services":1}', "--json").stdout)
        self.assertEqual((sent[0]["position"], len(sent[0]["events"])), (101, 1))
        self.assertEqual(set(sent[0]["events"][0]) & set(CLOUD_EVENT), set(CLOUD_EVENT))
        described = json.loads(lore("check", self.scripts, "--json", check=0).stdout)
        self.assertIsInstance(described, dict)
        before = {line["name"]: line["generation"] for line in projections}
        self.lore("rebuild", "billing/open_bills")
        after = {line["name"]: line["generation"] for line in lines(self.lore("status", "--json").stdout) if line["kind"] == "projection"}
        self.assertEqual([name for name in after if after[name] != before[name]], ["billing/open_bills"])

    def test_for_people(self):
        self.fill()
        self.assertRegex(self.lore("events", "--limit", "1").stdout,
                         r'^ +1  2026-01-01T00:00:00\.000Z  bill/b0 BillCreated \{"customer":"c0","start_date":"2026-01-01T00:00:00\.000Z"\}\n$')
        self.assertRegex(self.lore("state", "billing/bill/b0").stdout, r'^billing/bill/b0  version 19, position \d+\n\{\n  "customer": "c0",\n')
        self.assertRegex(self.lore("view", "open_bills").stdout, r'(?m)^b0  \{"customer":"c0",')
        self.assertRegex(self.lore("view", "open_bills", "b0").stdout, r'^\{\n  "customer": "c0",\n')
        self.assertRegex(self.lore("status").stdout, r"(?m)^billing/open_bills +1 +100 +0 +0  live$")
        self.assertRegex(self.lore("verify").stdout, r"(?s)100 commits, 100 events.*head at position 100\nall is as it was written\n$")
        self.assertRegex(lore("check", self.scripts, check=0).stdout, r"3 aggregates, 4 projections: all load")

    def test_send(self):
        data = '{"customer":"acme","start_date":"2026-01-01"}'
        done = self.lore("send", "billing/bill/7", "CreateBill", data, "--id", "k1", "--correlation", "corr", "--causation", "cause")
        self.assertEqual(done.stdout, 'BillCreated {"customer":"acme","start_date":"2026-01-01T00:00:00.000Z"}\n')
        event = lines(self.lore("export").stdout)[0]
        self.assertEqual((event["commandid"], event["correlationid"], event["causationid"]), ("k1", "corr", "cause"))
        self.lore("send", "billing/bill/7", "CreateBill", data, "--id", "k1")
        self.assertEqual(len(lines(self.lore("export").stdout)), 1)
        for args, pattern in ((["CreateBill", data], "was opened on"), (["CreateBill", '{"customer":7}'], r"CreateBill\.\w+"), (["CreateBil", data], "CreateBill"),
                              (["CreateBill", "{"], r"line 1, column 2"), (["AddServicesToBill", '{"services":1}', "--version", "5"], "version 1"),
                              (["AddServicesToBill", '{"services":1}', "--id", "k1"], "id")):
            done = self.lore("send", "billing/bill/7", *args, check=1)
            self.assertRegex(done.stderr, pattern)
            self.assertEqual(done.stdout, "")
        done = self.lore("send", "billing/bill/7", "CreateBill", data, "--json", check=1)
        self.assertEqual(json.loads(done.stdout)["code"], "rejected")
        self.lore("send", "billing/bill/a/b", "CreateBill", data, check=1)
        self.assertIn("version 2", self.lore("send", "billing/bill/7", "AddServicesToBill", '{"services":1}', "--version", "1").stderr)
        odd = "ä ?#%&+\""
        self.lore("send", "billing/bill/" + odd, "CreateBill", data)
        self.assertEqual(lines(self.lore("state", "billing/bill/" + odd, "--json").stdout)[0]["stream"], "billing/bill/" + odd)
        self.assertEqual(lines(self.lore("view", "open_bills", odd, "--json").stdout)[0]["key"], odd)

    def test_send_lines(self):
        good = [{"stream": f"billing/bill/{n}", "type": "CreateBill", "data": {"customer": "c", "start_date": "2026-01-01"}, "id": f"k{n}", "version": 0}
                for n in range(5)]
        text = "".join(json.dumps(line) + "\n" for line in good)
        self.lore("send", "-", input=text)
        self.lore("send", "-", input=text)  # the same ids: no second effect
        self.assertEqual([event["commandid"] for event in lines(self.lore("export").stdout)], [f"k{n}" for n in range(5)])
        mixed = '{"stream":"billing/bill/9"\n\n' + json.dumps(dict(good[0], id="new")) + "\n" + json.dumps(
            {"stream": "billing/bill/0", "type": "AddServicesToBill", "data": {"services": 1}})
        done = self.lore("send", "-", input=mixed, check=1)
        self.assertEqual(re.findall(r"line (\d+) was not accepted", done.stderr), ["1", "3"])
        self.assertEqual(len(lines(self.lore("export").stdout)), 6, "the others were")

    def test_filters_of_events(self):
        self.fill()
        events = lines(self.lore("export").stdout)

        def expect(keep, *args):
            self.assertEqual([event["position"] for event in lines(self.lore("events", "--json", *args).stdout)],
                             [event["position"] for event in events if keep(event)], args)
        expect(lambda event: event["type"] == "InvoiceIssued", "--type", "InvoiceIssued")
        expect(lambda event: False, "--type", "NothingSuch")
        expect(lambda event: event["subject"] == "bill/b3", "--subject", "bill/b3")
        expect(lambda event: True, "--context", "billing")
        expect(lambda event: False, "--context", "fines")
        expect(lambda event: event["position"] in (41, 42, 43), "--from", "41", "--limit", "3")
        expect(lambda event: event["subject"] == "bill/b3" and event["position"] >= 50, "--subject", "bill/b3", "--from", "50")
        expect(lambda event: event["correlationid"] == events[7]["correlationid"], "--correlation", events[7]["correlationid"])
        expect(lambda event: event["deploy"] == 1, "--deploy", "1")
        expect(lambda event: False, "--deploy", "9")
        typed = [event["position"] for event in events if event["type"] == "ServicesAddedToBill"]
        expect(lambda event: event["position"] in typed[:4], "--type", "ServicesAddedToBill", "--limit", "4")
        self.assertRegex(self.lore("events", "--follow", check=3).stderr, "running hub")

    def test_the_past_of_a_state(self):
        rows = self.fill(2, 60)
        events = [event for event in lines(self.lore("export").stdout) if event["subject"] == "bill/b1"]
        services = 0
        for event in events:
            services += event["data"].get("services", 0)
            found = lines(self.lore("state", "billing/bill/b1", "--json", "--version", event["version"]).stdout)[0]
            self.assertEqual((found["version"], found["state"]["services"]), (event["version"], services))
            if event["version"] in (1, 7, len(events)):
                found = lines(self.lore("state", "billing/bill/b1", "--json", "--at", event["position"]).stdout)[0]
                self.assertEqual((found["version"], found["state"]["services"]), (event["version"], services))
                by_time = lines(self.lore("state", "billing/bill/b1", "--json", "--at", event["time"]).stdout)[0]
                self.assertGreaterEqual(by_time["version"], event["version"])
        self.assertGreater(len(rows), len(events))
        first = lines(self.lore("state", "billing/bill/b1", "--json", "--at", "2026-02-15").stdout)[0]
        self.assertEqual((first["version"], first["state"]["services"]), (1, 0))
        self.lore("state", "billing/bill/never", check=1)
        self.lore("state", "billing/bill/b1", "--at", "yesterday", check=1)
        self.lore("state", "billing/nothing/b1", check=1)

    def test_ranges_of_a_view(self):
        self.fill(20, 60)
        view = lines(self.lore("view", "outstanding_invoices", "--json").stdout)
        self.assertEqual([line["key"] for line in view], sorted(f"i{n}" for n in range(20)))

        def keys(*args):
            return [line["key"] for line in lines(self.lore("view", "outstanding_invoices", "--json", *args).stdout)]
        self.assertEqual(keys("--limit", "3"), ["i0", "i1", "i10"])
        self.assertEqual(keys("--index", "due_on"), [f"i{n}" for n in range(20)])
        self.assertEqual(keys("--index", "due_on", "--min", "2026-02-05", "--max", "2026-02-07T00:00:00.000Z"), ["i4", "i5", "i6"])
        self.assertEqual(keys("--index", "due_on", "--min", "2026-02-19T00:00:00.000Z"), ["i18", "i19"])
        self.assertEqual(keys("--index", "due_on", "--max", "2026-01-31T00:00:00.000Z"), [])
        self.assertEqual(keys("--index", "due_on", "--limit", "2"), ["i0", "i1"])
        self.assertEqual(len(keys("--index", "customer", "--min", "c", "--max", "c")), 20)
        self.assertRegex(self.lore("view", "outstanding_invoices", "--index", "nothing", check=1).stderr, "nothing")
        self.assertRegex(self.lore("view", "outstanding_invoice", check=1).stderr, "outstanding_invoices")
        self.lore("view", "outstanding_invoices", "none", check=1)

    def test_tenants_do_not_see_each_other(self):
        data = '{"customer":"%s","start_date":"2026-01-01"}'
        self.lore("send", "billing/bill/7", "CreateBill", data % "mine")
        self.lore("send", "billing/bill/7", "CreateBill", data % "theirs", "--tenant", "other")
        for tenant, customer in (("main", "mine"), ("other", "theirs")):
            events = lines(self.lore("export", "--tenant", tenant).stdout)
            self.assertEqual([(event["data"]["customer"], event["source"]) for event in events], [(customer, f"/{tenant}/billing")])
            self.assertEqual(len(lines(self.lore("events", "--json", "--tenant", tenant).stdout)), 1)
            self.assertEqual(lines(self.lore("state", "billing/bill/7", "--json", "--tenant", tenant).stdout)[0]["state"]["customer"], customer)
            view = lines(self.lore("view", "open_bills", "--json", "--tenant", tenant).stdout)
            self.assertEqual([line["document"]["customer"] for line in view], [customer])
        for args in (["export"], ["events"], ["state", "billing/bill/7"], ["view", "open_bills"], ["send", "billing/bill/8", "CreateBill", data % "x"]):
            self.assertRegex(self.lore(*args, "--tenant", "nobody", check=1).stderr, "nobody", args)

    def test_exit_codes_of_the_environment(self):
        self.fill()
        for args in (["export"], ["state", "billing/bill/b0"], ["view", "open_bills"], ["status"], ["events"]):
            done = self.lore(*args, "--to", "http://127.0.0.1:1", check=3)
            self.assertIn("127.0.0.1:1", done.stderr)
            self.assertEqual(done.stdout, "")
        file = os.path.join(self.dir, "file")
        open(file, "w").close()
        for command in ("export", "verify", "status"):
            self.assertIn(lore(command, "--data", os.path.join(self.dir, "none"), *([] if command == "verify" else ["--scripts", self.scripts])).returncode, (1, 3))
            self.assertIn(lore(command, "--data", file, *([] if command == "verify" else ["--scripts", self.scripts])).returncode, (1, 3))
        self.assertFalse(os.path.exists(os.path.join(self.dir, "none")), "looking makes nothing")
        with open("/dev/full", "w") as full:
            done = subprocess.run([LORE, "export", "--data", self.data, "--scripts", self.scripts], stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT)
        self.assertEqual((done.returncode, done.stderr), (3, b"lore: the results could not be written to stdout\n"))

    def test_a_pipe_that_ends(self):
        self.fill(50, 4000)
        for command in ("export", "events", "view open_bills", "view open_bills --json"):
            done = subprocess.run(["bash", "-c", f'set -o pipefail; "$LORE" {command} --data "$DATA" --scripts "$SCRIPTS" | head -1'], capture_output=True,
                                  text=True, timeout=TIMEOUT, env=dict(os.environ, LORE=LORE, DATA=self.data, SCRIPTS=self.scripts), cwd=ROOT)
            self.assertEqual(len(done.stdout.splitlines()), 1, done.stderr)
            left = [line for line in done.stderr.splitlines() if "rebuilding" not in line and "generation" not in line]
            self.assertEqual(left, [], command)
        hub = self.hub()
        done = subprocess.run(["bash", "-c", '"$LORE" export --data "$DATA" | head -1'], capture_output=True, text=True, timeout=TIMEOUT,
                              env=dict(os.environ, LORE=LORE, DATA=self.data), cwd=ROOT)
        self.assertEqual((len(done.stdout.splitlines()), done.stderr), (1, ""))
        hub.send("billing/bill/after", "CreateBill", {"customer": "c", "start_date": "2026-01-01"})  # and the hub lives on
        hub.stop()

    def test_verify_finds_flipped_bytes(self):
        """Any byte of log/: verify names what is wrong, or the export is what it was."""
        self.fill(5, 300)
        lore("view", "open_bills", "--data", self.data, "--scripts", self.scripts, check=0)
        exported = lore("export", "--data", self.data, "--scripts", self.scripts, check=0).stdout
        log = os.path.join(self.data, "log", "data.mdb")
        with open(log, "rb") as file:
            good = file.read()
        used = len(good.rstrip(b"\0"))
        seed, found = random.Random(20261121), 0
        for _ in range(5 if SMALL else 20):
            at = seed.randrange(used)
            flipped = bytearray(good)
            flipped[at] ^= 1 << seed.randrange(8)
            copy = os.path.join(self.dir, "copy")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.data, copy, ignore=shutil.ignore_patterns("hub.sock"))
            with open(os.path.join(copy, "log", "data.mdb"), "r+b") as file:
                file.seek(at)
                file.write(flipped[at:at + 1])
            done = lore("verify", "--json", "--data", copy)
            self.assertIn(done.returncode, (0, 1, 3), f"byte {at}: {done.stderr}")
            if done.returncode == 0:
                self.assertTrue(lines(done.stdout)[-1]["ok"])
                self.assertEqual(lore("export", "--data", copy, "--scripts", self.scripts, check=0).stdout, exported, f"byte {at} was changed unseen")
            else:
                found += 1
                said = done.stdout + done.stderr
                self.assertTrue(said.strip(), f"byte {at}: nothing is said")
                if done.returncode == 1:
                    report = lines(done.stdout)[-1]
                    self.assertFalse(report["ok"])
                    self.assertTrue(report["damage"], f"byte {at}")
        self.assertGreater(found, 0)
        self.assertTrue(lines(lore("verify", "--json", "--data", self.data, check=0).stdout)[-1]["ok"], "the original is whole")


if __name__ == "__main__":
    main()

"""A newcomer's mistakes: one message each that says what, where and what to do."""
import os, shutil, socket, subprocess, unittest

from hub import LORE, TIMEOUT, Case, lore, main


class Mistakes(Case):
    def setUp(self):
        super().setUp()
        self.copy_scripts("billing")

    def check(self, *patterns, command="check", code=1):
        done = lore(command, self.scripts, check=code)
        for pattern in patterns:
            self.assertRegex(done.stderr, pattern)
        return done.stderr

    def test_misspelt_handler(self):
        self.edit("billing/bill.lua", "bill.apply.BillCreated", "bill.apply.BillCraeted")
        self.check(r"billing/bill\.lua:4: .*BillCraeted: did you mean BillCreated\?")

    def test_command_where_an_event_is_expected(self):
        self.edit("billing/bill.lua", "bill.apply.BillCreated", "bill.apply.CreateBill")
        self.check(r"billing/bill\.lua:4: .*CreateBill")

    def test_unknown_global(self):
        self.edit("billing/bill.lua", "emit(ServicesAddedToBill", "emmit(ServicesAddedToBill")
        self.check(r"billing/bill\.lua:42: .*emmit.*did you mean emit\?")

    def test_syntax_error_does_not_hide_others(self):
        self.edit("billing/bill.lua", "local bill =", "local bill = =")
        self.edit("billing/open_bills.lua", "open.when.BillCreated", "open.when.BillCraeted")
        self.check(r"billing/bill\.lua:1: ", r"billing/open_bills\.lua:8: .*BillCraeted")

    def test_contracts_that_do_not_parse_are_one_error(self):
        self.edit("billing/contracts.lua", "]]", "]")
        said = self.check(r"billing/contracts\.lua:\d+: ")
        self.assertEqual(len(said.splitlines()), 2, said)  # the error, and their number

    def test_missing_module(self):
        self.edit("billing/invoice.lua", 'require "pricing"', 'require "prizing"')
        self.check(r"billing/invoice\.lua:1: .*prizing.*pricing")

    def test_handler_that_keeps_something(self):
        self.edit("billing/open_bills.lua", "-- One document", "local seen = 0\n-- One document")
        self.edit("billing/open_bills.lua", "view.reopened = true", "seen = seen + 1")
        self.check(r"billing/open_bills\.lua:20: .*seen")

    def test_contract_errors(self):
        self.edit("billing/contracts.lua", "CreateBill?          (bill, start_date: time)", "CreateBill?          (bill, start_date: tiem)")
        self.check(r"billing/contracts\.lua:8: .*tiem.*did you mean time\?")

    def test_hub_options(self):
        for text, said in (("{ limits = { btch = 3 } }", r"hub\.lua: there is no limit btch: it knows .*batch_commands"),
                           ("{ tenats = 'open' }", r"hub\.lua: there is no option tenats: it knows tenants limits"),
                           ("{ limits = { batch_commands = -1 } }", r"hub\.lua: limits\.batch_commands: expected a whole number from 1"),
                           ("{ limits = { batch_commands = 'x' } }", r"hub\.lua: limits\.batch_commands: expected a whole number"),
                           ("{ limits = 7 }", r"hub\.lua: limits is a table"), ("{ tenants = 'closed' }", r"hub\.lua: tenants is \"open\" or a list")):
            self.write("hub.lua", f"return {text}\n")
            self.check(said)
            self.assertRegex(self.refuse(self.scripts, "--data", self.data, "--listen", "127.0.0.1:0", code=1), said)
        self.write("hub.lua", "return { tenants = 'open', limits = { batch_commands = 3, message_size = 1000 } }\n")
        lore("check", self.scripts, check=0)

    def test_wrong_field(self):
        hub = self.hub()
        answer = hub.request("POST", "/v1/main/billing/bill/1", {"type": "CreateBill", "data": {"customer": "a", "start_date": 7}})
        self.assertEqual((answer.status, answer.json["code"]), (400, "contract"))
        self.assertIn("CreateBill.start_date: expected time, got integer", answer.json["detail"])
        answer = hub.request("POST", "/v1/main/billing/bill/1", {"type": "CreateBil", "data": {}})
        self.assertEqual((answer.status, answer.json["code"]), (400, "unknown_command"))
        self.assertIn("CreateBill", answer.json["detail"])
        hub.stop()

    def test_wrong_field_in_a_script(self):
        self.edit("billing/bill.lua", "return BillCreated { customer = c.customer, start_date", "return BillCreated { customer = c.customer, start")
        hub = self.hub()
        answer = hub.request("POST", "/v1/main/billing/bill/1",
                             {"type": "CreateBill", "data": {"customer": "a", "start_date": "2026-01-01"}})
        self.assertEqual((answer.status, answer.json["code"]), (500, "script"))
        self.assertRegex(answer.json["detail"], r"billing/bill\.lua:28: BillCreated\.start: unknown field")
        hub.stop()

    def refuse(self, *args, code=3):
        done = subprocess.run([LORE, "serve", *args], capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def test_port_taken(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            said = self.refuse(self.scripts, "--data", self.data, "--listen", f"127.0.0.1:{port}")
        self.assertRegex(said, rf"{port}.*taken.*--listen")

    def test_other_addresses_are_refused(self):
        said = self.refuse(self.scripts, "--data", self.data, "--listen", "0.0.0.0:7070", code=2)
        self.assertRegex(said, r"0\.0\.0\.0.*access control")

    def test_data_directory_in_use(self):
        hub = self.hub()
        said = self.refuse(self.scripts, "--data", self.data, "--listen", "127.0.0.1:0")
        self.assertRegex(said, rf"{self.data}.*in use by process {hub.process.pid}.*--data")
        hub.stop()

    def test_no_scripts(self):
        said = self.refuse(os.path.join(self.dir, "nowhere"), "--data", self.data, "--listen", "127.0.0.1:0", code=1)
        self.assertRegex(said, r"nowhere.*lore new")

    @unittest.skipIf(os.geteuid() == 0 and subprocess.run(["sh", "-c", "command -v setpriv"], capture_output=True).returncode,
                     "skip: root reads everything and setpriv is not here")
    def test_unreadable_file(self):
        path = os.path.join(self.scripts, "billing", "bill.lua")
        os.chmod(path, 0)
        os.chmod(self.dir, 0o755)
        command = [LORE, "check", self.scripts]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] + command
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertRegex(done.stderr, r"billing/bill\.lua: may not be read")

    def test_log_removed(self):
        hub = self.hub()
        hub.send("billing/bill/1", "CreateBill", {"customer": "a", "start_date": "2026-01-01"})
        hub.view("open_bills")
        hub.stop()
        shutil.rmtree(os.path.join(self.data, "log"))
        said = self.refuse(self.scripts, "--data", self.data, "--listen", "127.0.0.1:0")
        self.assertRegex(said, rf"{self.data}/log is gone.*bring the log back")

    def test_nothing_written_yet(self):
        hub = self.hub()
        hub.stop()
        for args in (["events"], ["export"]):
            self.assertEqual(lore(*args, "--data", self.data, check=0).stdout, "")
        self.assertRegex(lore("events", "--data", self.data, "--tenant", "other", check=1).stderr, "no tenant other")

    def test_no_data_directory(self):
        nowhere = os.path.join(self.dir, "nowhere")
        for args in (["events"], ["export"], ["state", "billing/bill/1"], ["view", "open_bills"], ["status"], ["rebuild", "open_bills"], ["verify"]):
            done = lore(*args, "--scripts", self.scripts, "--data", nowhere, check=1)
            self.assertRegex(done.stderr, rf"^lore: {nowhere}: no data directory.*--data DIR")
            self.assertFalse(os.path.exists(nowhere), args)

    def test_a_broken_import_script_stops_no_hub(self):
        """It is loaded on demand only: check tells, the hub warns and serves, the import says where."""
        self.write("billing/import/broken.lua", "return function(row)\n  send.bill(row.id, CreateBil {})\nend\n")
        where = r"billing/import/broken\.lua:2: .*CreateBil.*CreateBill"
        self.check(where)
        hub = self.hub()
        hub.wait_said(where)
        hub.send("billing/bill/1", "CreateBill", {"customer": "a", "start_date": "2026-01-01"})
        hub.stop()
        script = os.path.join(self.scripts, "billing", "import", "broken.lua")
        done = lore("import", "-", "--with", script, "--scripts", self.scripts, "--data", self.data, input='{"id":"1"}\n', check=1)
        self.assertRegex(done.stderr, where)

    def test_wrong_usage(self):
        for args in (["frobnicate"], ["serve", "--lisen", "x"], ["state"], ["state", "billing/bill"], ["events", "--from", "x"], []):
            done = lore(*args, check=2)
            self.assertIn("usage", done.stderr)

    def test_broken_scripts_do_not_start(self):
        self.edit("billing/bill.lua", "bill.apply.BillCreated", "bill.apply.BillCraeted")
        said = self.refuse(self.scripts, "--data", self.data, "--listen", "127.0.0.1:0", code=1)
        self.assertRegex(said, r"billing/bill\.lua:4: .*BillCraeted")


if __name__ == "__main__":
    main()

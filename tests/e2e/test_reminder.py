"""The reminder process of scripts/, end to end: an invoice is issued, its date passes, a mail goes out, once, whenever the hub is killed.

    security.PasswordAdded ──replication──► billing.UserCreated
    billing.InvoiceIssued … the clock … task ──► InvoicePossiblyExpired ──expiration──► InvoiceExpired ──reminders──► mail ──HTTP──► ReminderSent

The clock is the test's (LORE_CLOCK), the mail server too: it takes a mail once by its Idempotency-Key."""
import collections, http.client, json, os, re

from hub import SMALL, TIMEOUT, Case, Tail, lines, lore, main
from mail import MailServer

ISSUED, EXPIRED = "2026-02-01T00:00:00Z", "2026-03-02T00:05:00Z"  # due on 2026-02-15, and then fifteen days
KILLED = (OSError, http.client.HTTPException, json.JSONDecodeError)  # what an answer that was cut off looks like
STEPS = ["UserRegistered", "PasswordAdded", "UserCreated", "InvoiceIssued", "InvoicePossiblyExpired", "InvoiceExpired", "ReminderSent"]


class Reminder(Case):
    def setUp(self):
        super().setUp()
        self.mail = MailServer()
        self.addCleanup(self.mail.close)
        self.address = f"127.0.0.1:{self.mail.server_address[1]}"
        self.copy_scripts("security", "billing", "mailing", acting=True)
        self.write("hub.lua", 'return { http = { allow = { "%s" } } }\n' % self.address)
        self.clock = os.path.join(self.dir, "clock")
        self.begin()

    def begin(self):
        """Of a hub that has seen nothing."""
        self.data = os.path.join(self.dir, f"data-{len(os.listdir(self.dir))}")
        self.mail.requests.clear()
        self.turn_clock(ISSUED)

    def turn_clock(self, to):
        with open(self.clock, "w") as file:
            file.write(to)

    def start(self, faults="", mail=True, **options):
        secret = {"LORE_SECRET_MAIL_URL": f"http://{self.address}/send"} if mail else {}
        return self.hub(env={"LORE_CLOCK": self.clock, "LORE_FAULTS": faults, **secret}, **options)

    def wait_event(self, hub, type, count=1):
        """Waits for so many events of a type; the last one. OSError: the hub ended before."""
        tail = Tail(hub.port, f"/v1/main/events?type={type}")
        try:
            events = tail.take(count)
        finally:
            tail.close()
        if None in events:
            raise OSError("the hub ended")
        return events[-1][1]

    def wait_status(self, hub, wanted):
        """Each look is a request."""
        while True:
            for line in hub.status():
                if wanted(line):
                    return line

    def expire(self, hub):
        """An invoice whose date has passed. May be said again: what was done before is not done twice."""
        hub.send("security/user/acme", "RegisterUser", {"name": "Acme"}, id="r-1")
        hub.send("security/login/ada@acme.example", "AddPassword", {"user_id": "acme", "hash": "$2b$1"}, id="r-2")
        self.wait_event(hub, "UserCreated")
        line = {"text": "hosting", "quantity": 2, "price": "15.25"}
        hub.send("billing/invoice/i-1", "IssueInvoice", {"customer": "acme", "lines": [line], "due_on": "2026-02-15"}, id="r-3")
        for view in ("customers", "outstanding_invoices"):
            hub.get(f"/v1/main/views/billing/{view}?limit=1&wait={hub.head()}&timeout={TIMEOUT}")
        self.turn_clock(EXPIRED)

    def events(self, hub):
        return lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)

    def check(self, hub, reminders=1):
        """Every event is there once, every mail was taken once."""
        while any(line.get("lag") or line.get("running") for line in hub.status()):
            pass
        found = collections.Counter(event["type"] for event in self.events(hub))
        expected = {step: 1 if STEPS.index(step) < 4 else reminders for step in STEPS}
        self.assertEqual({type: count for type, count in found.items() if not type.startswith("$")}, expected)
        taken = dict(self.mail.requests)
        self.assertEqual(len(taken), reminders, self.mail.requests)
        for mail in taken.values():
            self.assertEqual(mail, {"to": "ada@acme.example", "subject": "Invoice i-1", "text": "30.50 is still open, and was due on 2026-02-15."})
        self.assertFalse([line for line in hub.status() if line["kind"] in ("parked", "retried", "stopped")])
        return found

    def test_end_to_end(self):
        hub = self.start()
        self.expire(hub)
        sent = self.wait_event(hub, "ReminderSent")
        self.assertEqual(sent["data"], {"to": "ada@acme.example", "invoice": "i-1", "open": "30.50", "due_on": "2026-02-15T00:00:00.000Z"})
        self.check(hub)
        told = lore("status", "--to", f"http://127.0.0.1:{hub.port}", check=0).stdout
        self.assertRegex(told, r"(?m)^mailing/mail .* 0 running, 0 waiting, 1 done, 0 rejected, 0 failed, 0 put off$")
        self.assertRegex(told, r"(?m)^billing/invoice_expiration .* idle \(tenant main\), next 2026-03-02T00:15:00\.000Z$")
        # All of it goes back to the task's run.
        trace = hub.get(f"/v1/main/trace/{sent['correlationid']}")
        for type in ("InvoicePossiblyExpired", "ExpireInvoice", "InvoiceExpired", "SendReminder", "ReminderSent"):
            self.assertIn(f'"{type}"', json.dumps(trace))
        # The next run finds nothing, the one after fifteen days the same invoice, and none when it is paid.
        self.turn_clock("2026-03-02T00:20:00Z")
        self.wait_event(hub, "$TaskRan", 2)
        self.check(hub)
        self.turn_clock("2026-03-17T00:20:00Z")
        self.wait_event(hub, "ReminderSent", 2)
        self.check(hub, reminders=2)
        hub.send("billing/invoice/i-1", "PayInvoice", {"amount": "30.50"})
        hub.get(f"/v1/main/views/billing/outstanding_invoices?limit=1&wait={hub.head()}&timeout={TIMEOUT}")
        self.turn_clock("2026-05-01T00:00:00Z")
        self.wait_event(hub, "$TaskRan", 4)
        self.assertEqual(len(self.mail.requests), 2)
        hub.stop()

    def test_a_mail_server_that_is_busy(self):
        self.mail.answer = lambda number: 503 if number == 1 else 202
        hub = self.start()
        self.expire(hub)
        self.wait_status(hub, lambda line: line["kind"] == "service" and line["retried"] == 1)
        self.turn_clock("2026-03-02T00:05:10Z")
        self.wait_event(hub, "ReminderSent")
        self.check(hub)
        self.assertEqual(len(self.mail.requests), 2)
        hub.stop()

    def test_without_a_mail_server(self):
        """A clear error that can be seen, and nothing else is harmed; with the secret it goes on."""
        hub = self.start(mail=False)
        self.expire(hub)
        stuck = self.wait_status(hub, lambda line: line["kind"] == "retried")
        self.assertEqual(stuck["name"], "mailing/reminders")
        self.assertRegex(stuck["error"], r"mailing/mail\.lua:\d+: env\.MAIL_URL: there is no secret of this name")
        hub.send("billing/invoice/i-2", "IssueInvoice", {"customer": "new", "lines": [{"text": "x", "quantity": 1, "price": "1"}], "due_on": "2026-12-15"})
        self.assertIn("i-2", hub.view("outstanding_invoices"))
        hub.stop()
        told = lore("status", "--scripts", self.scripts, "--data", self.data, check=0).stdout  # of what does not run
        self.assertRegex(told, r"(?m)^billing/expiration +- +\d+ +0 +0  live$")
        self.assertRegex(told, r"(?m)^mailing/reminders .* tries again\n    retried: .* env\.MAIL_URL: there is no secret of this name$")
        hub = self.start()
        self.wait_event(hub, "ReminderSent")
        self.assertEqual(len(self.mail.requests), 1)
        hub.stop()

    def test_a_kill_while_mail_is_posted(self):
        hub = self.start()

        def answer(number):
            if number == 1:
                hub.process.kill()
                hub.process.wait()
            return 202
        self.mail.answer = answer
        self.expire(hub)
        with self.assertRaises(KILLED):
            self.wait_event(hub, "ReminderSent")
        hub = self.start()
        self.wait_event(hub, "ReminderSent")
        self.check(hub)
        self.assertEqual(len(self.mail.requests), 2)  # at least once, by one key
        hub.stop()

    def test_clocks_that_cannot_be_read(self):
        self.turn_clock("tomorrow")
        for path, problem in ((self.clock, "expected a moment such as"), (self.clock + "s", "No such file")):
            hub = self.hub(env={"LORE_CLOCK": path}, ready=False)
            self.assertIsNone(hub.wait_ready(may_end=True))
            hub.stop(expect=1)
            self.assertIn(problem, "".join(hub.log))

    def live(self, hub):
        """The whole process, as far as the hub lives; how it ended."""
        try:
            if not hub.wait_ready(may_end=True):
                raise OSError("killed before it was ready")
            self.expire(hub)
            self.wait_event(hub, "ReminderSent")
            self.check(hub)
        except KILLED:
            pass
        hub.stop(expect=None)  # an end has its points too
        return hub.process.returncode

    def points(self):
        """(name, passing) of each step that a run takes, by name."""
        hub = self.start("none", ready=False)
        self.assertEqual(self.live(hub), 0)
        passed = re.findall(r"fault point (\S+) was passed (\d+) times", "".join(hub.log))
        steps = [(name, int(count)) for name, count in passed if re.match(r"receptor|courier|timers|service|task|log\.(write|fsync)|views\.write", name)]
        return [(name, passing) for name, count in steps for passing in range(1, 2 if SMALL else count + 1)]

    def test_a_kill_at_each_point(self):
        points, killed = self.points(), set()
        for name, passing in points:
            with self.subTest(point=name, passing=passing):
                self.begin()
                if self.live(self.start(f"{name}@{passing}=kill", ready=False)) == -9:
                    killed.add(name)
                hub = self.start()
                self.expire(hub)
                self.wait_event(hub, "ReminderSent")
                self.assertEqual(self.check(hub)["$TaskRan"], 1)
                hub.stop()
        self.assertEqual(killed, {name for name, _ in points})
        self.assertGreaterEqual(len(killed), 7, killed)


if __name__ == "__main__":
    main()

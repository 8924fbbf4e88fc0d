"""lore map: every flow that a run of the example really takes is on it, in each format; with a hub it tells how often."""
import collections, json, os, re, shutil, subprocess, xml.etree.ElementTree as xml

from hub import ROOT, TIMEOUT, Case, Tail, lines, lore, main
from mail import MailServer

LINE = {"text": "hosting", "quantity": 2, "price": "15.25"}


def find(flows, **wanted):
    return [flow for flow in flows if all(flow.get(name) == value for name, value in wanted.items())]


class Map(Case):
    def map(self, *more, scripts=None, check=0):
        return lore("map", scripts or self.scripts, *more, check=check).stdout

    def flows(self, *more):
        return json.loads(self.map("--json", *more))["flows"]

    def example(self):
        for folder in "scripts", "specs":
            shutil.copytree(os.path.join(ROOT, folder), os.path.join(self.dir, folder))

    # --- a run ---

    def run_example(self):
        """All of security, billing and mailing at work: users, bills, invoices, the task, its mail. The hub, once it is at rest."""
        self.example()
        mail = MailServer()
        self.addCleanup(mail.close)
        address = f"127.0.0.1:{mail.server_address[1]}"
        self.write("hub.lua", 'return { http = { allow = { "%s" } } }\n' % address)
        clock = os.path.join(self.dir, "clock")
        with open(clock, "w") as file:
            file.write("2026-02-01T00:00:00Z")
        hub = self.hub(env={"LORE_CLOCK": clock, "LORE_SECRET_MAIL_URL": f"http://{address}/send"})
        for stream, type, data in (
                ("security/user/acme", "RegisterUser", {"name": "Acme"}), ("security/user/gone", "RegisterUser", {"name": "Gone"}),
                ("security/login/ada@acme.example", "AddPassword", {"user_id": "acme", "hash": "x"}),
                ("security/login/bob@gone.example", "AddPassword", {"user_id": "gone", "hash": "y"}),
                ("billing/bill/7", "CreateBill", {"customer": "acme", "start_date": "2026-01-01"}),
                ("billing/bill/7", "AddServicesToBill", {"services": 3}), ("billing/bill/7", "CloseBill", {"close_date": "2026-02-01"}),
                ("billing/bill/7", "ReopenBill", {}), ("billing/invoice/1", "IssueInvoice", {"customer": "acme", "lines": [LINE], "due_on": "2026-02-15"}),
                ("billing/invoice/2", "IssueInvoice", {"customer": "acme", "lines": [LINE], "due_on": "2026-03-15"}),
                ("billing/invoice/2", "PayInvoice", {"amount": "30.50"}),
                ("billing/invoice/3", "IssueInvoice", {"customer": "acme", "lines": [LINE], "due_on": "2026-03-15"}),
                ("billing/invoice/3", "CancelInvoice", {"reason": "mistake"}), ("security/user/gone", "RemoveUser", {})):
            hub.send(stream, type, data)
        self.wait(hub, "UserCreated", 2)
        self.wait(hub, "UserRemoved", 2)
        for view in "customers", "outstanding_invoices":
            hub.get(f"/v1/main/views/billing/{view}?limit=1&wait={hub.head()}&timeout={TIMEOUT}")
        with open(clock, "w") as file:
            file.write("2026-03-02T00:05:00Z")
        self.wait(hub, "ReminderSent", 1)
        return hub

    def wait(self, hub, type, count):
        tail = Tail(hub.port, f"/v1/main/events?type={type}")
        tail.take(count)
        tail.close()

    def test_every_flow_that_a_run_takes(self):
        hub = self.run_example()
        events = lines(hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
        nodes = {}  # of all traces, by id: commands with their types, which the log's events do not tell
        for correlation in {event["correlationid"] for event in events}:
            nodes.update((node["id"], node) for node in hub.get(f"/v1/main/trace/{correlation}")["trace"])
        described = json.loads(self.map("--json"))
        flows, kinds = described["flows"], {block["id"].split(" ")[1]: block["id"] for block in described["blocks"] if block["kind"] != "projection"}
        taken = collections.Counter()
        for node in nodes.values():
            context, name = node["stream"].split("/")[:2]
            block, cause = kinds[f"{context}/{name}"], nodes.get(node.get("parent"))
            if node["type"].startswith("$"):
                continue
            if node["kind"] == "command":
                self.assertTrue(find(flows, kind="handles", block=block, message=f"{context}.{node['type']}"), node)
                if cause:  # an event that a receptor heard, or a task's run
                    sender = kinds[node["actor"]]
                    trigger = f"{cause['stream'].split('/')[0]}.{cause['type']}" if sender.startswith("receptor") else None
                    self.assertTrue(find(flows, kind="sends", block=sender, trigger=trigger, target=block, message=f"{context}.{node['type']}"), node)
                    self.assertTrue(find(flows, kind="handles", block=sender, message=trigger), node)
                    taken["sends"] += 1
            else:
                trigger = f"{context}.{cause['type']}" if cause and cause["kind"] == "command" and cause["type"][0] != "$" else None
                self.assertTrue(find(flows, kind="gives", block=block, trigger=trigger, message=f"{context}.{node['type']}"), node)
                taken["gives"] += 1
        self.assertEqual({event["type"] for event in events} - {"$TaskRan"}, {
            "UserRegistered", "PasswordAdded", "UserCreated", "UserRemoved", "BillCreated", "ServicesAddedToBill", "BillClosed", "BillReopened",
            "InvoiceIssued", "PaymentReceived", "InvoicePaid", "InvoiceCancelled", "InvoicePossiblyExpired", "InvoiceExpired", "ReminderSent"})
        self.assertEqual(taken["sends"], 5)  # two users made, one removed, one invoice asked, one reminder
        self.check_drawings(flows)
        self.check_counts(hub, events)
        hub.stop()

    def check_drawings(self, flows):
        """What the JSON tells of sends, DOT, Mermaid and SVG show."""
        dot, mermaid, svg = self.map("--format", "dot"), self.map("--format", "mermaid"), xml.fromstring(self.map())
        shown = "\n".join(text.text or "" for text in svg.iter("{http://www.w3.org/2000/svg}text"))
        names = dict(re.findall(r'^ +(n\d+)[^ \w"]+"(\w+)<br/>', mermaid, re.M))
        for flow in find(flows, kind="sends"):
            command = flow["message"].split(".")[1]
            self.assertRegex(dot, rf'"{flow["block"]}" -> "{flow["target"]}" \[class="command", label="[^"]*{command}\b')
            self.assertIn(command, shown)
            if not flow["block"].startswith("import"):
                pairs = {(names[a], names[b]) for a, label, b in re.findall(r"(n\d+) -->\|\"(.*?)\"\| (n\d+)", mermaid) if command in label}
                self.assertIn((flow["block"].split("/")[1], flow["target"].split("/")[1]), pairs)
        for flow in find(flows, kind="handles"):
            if flow["block"].split(" ")[0] in ("receptor", "projection"):
                self.assertRegex(dot, rf'-> "{flow["block"]}" \[class="event", label="[^"]*{flow["message"].split(".")[1]}\b')

    def check_counts(self, hub, events):
        url = f"http://127.0.0.1:{hub.port}"
        counted = json.loads(self.map("--json", "--to", url))
        sends = {(flow["block"], flow["message"]): flow.get("count") for flow in counted["flows"] if flow["kind"] == "sends"}
        self.assertEqual(sends["receptor billing/replication", "billing.CreateUser"], 2)
        self.assertEqual(sends["receptor billing/replication", "billing.RemoveUser"], 1)
        self.assertEqual(sends["receptor billing/expiration", "billing.ExpireInvoice"], 1)
        self.assertEqual(sends["receptor mailing/reminders", "mailing.SendReminder"], 1)
        self.assertIn("log", find(counted["flows"], block="receptor mailing/reminders", kind="sends")[0]["found"])
        real = collections.Counter(f"{event['source'].split('/')[2]}.{event['type']}" for event in events if not event["type"].startswith("$"))
        self.assertEqual({event["event"]: event["count"] for event in counted["events"] if event.get("count")}, dict(real))
        dot = self.map("--format", "dot", "--to", url)
        self.assertIn('label="CreateUser ×2\\nRemoveUser ×1"', dot)
        self.assertRegex(dot, r'"aggregate billing/invoice" -> "projection billing/revenue_by_month" .*"InvoiceCancelled ×1\\nInvoiceIssued ×3\\nPay')
        overview = self.map("--overview", "--format", "dot", "--to", url)
        self.assertIn('"billing" -> "mailing" [class="event", label="InvoiceExpired ×1", style=dashed]', overview)

    def test_counts_of_a_data_directory(self):
        hub = self.run_example()
        hub.stop()
        counted = json.loads(lore("map", self.scripts, "--json", "--no-specs", "--data", self.data, check=0).stdout)
        self.assertEqual(find(counted["flows"], kind="sends", message="billing.CreateUser")[0]["count"], 2)
        told = subprocess.run([os.environ["LORE"], "map", "--to", "http://127.0.0.1:9"], capture_output=True, text=True, cwd=self.dir + "/specs")
        self.assertEqual((told.returncode, told.stdout, told.stderr.count("\n")), (1, "", 1))
        self.assertRegex(told.stderr, r"^lore: \./scripts: no such folder: .* with --scripts DIR$")
        self.assertIn("no data directory", lore("map", self.scripts, "--data", self.data + "x", check=1).stderr)

    def test_counts_of_an_import(self):
        """Rows are counted at their script, as long as it is the only one that may have read them; what the log does not have is ×0."""
        self.write("a/contracts.lua", "contracts [[\n Do? (n: integer)\n Done!\n Stop?\n Stopped!\n Told!\n]]\n")
        self.write("a/thing.lua", """local thing = aggregate "thing"
function thing.execute.Do(_, c) return Done {}, c.n > 1 and Done {} or nil end
function thing.execute.Stop() return Stopped {} end
function thing.apply.Done() end
local shown = projection "shown"
function shown.when.Done() end
function shown.when.Stopped() end
function shown.when.Told() end
""")
        self.write("a/import/rows.lua", """return function(row)
  if row.told then record.thing("1", Told {}) elseif row.n then send.thing("1", Do { n = row.n }) else send.thing("1", Stop {}) end
end
""")
        rows = os.path.join(self.dir, "rows.ndjson")
        with open(rows, "w") as file:
            file.write('{"n":1}\n{"n":2}\n{"told":true}\n{"told":true}\n{"told":true}\n')
        place = ("--scripts", self.scripts, "--data", self.data)
        lore("import", rows, "--with", os.path.join(self.scripts, "a/import/rows.lua"), *place, check=0)
        counted = lambda: self.map("--format", "dot", "--data", self.data)
        for line in ('"import a/import/rows" -> "aggregate a/thing" [class="command", label="Do ×2\\nStop ×0"]',
                     '"aggregate a/thing" -> "projection a/shown" [class="event", label="Done ×3\\nStopped ×0", style=dashed]',
                     '"import a/import/rows" -> "projection a/shown" [class="event", label="Told ×3", style=dashed]'):
            self.assertIn(line, counted())
        self.assertNotIn("×", self.map("--format", "dot"))
        lore("send", "a/thing/2", "Do", '{"n":1}', *place, check=0)  # by hand
        self.assertIn('label="Do ×2\\nStop ×0"', counted())
        self.write("a/import/other.lua", 'return function(row) send.thing("1", Do { n = 1 }) record.thing("1", Told {}) end\n')
        dot = counted()
        self.assertIn('"import a/import/rows" -> "aggregate a/thing" [class="command", label="Do\\nStop ×0"]', dot)
        self.assertIn('"import a/import/other" -> "aggregate a/thing" [class="command", label="Do"]', dot)
        self.assertIn('"import a/import/other" -> "projection a/shown" [class="event", label="Told", style=dashed]', dot)
        self.assertIn('"aggregate a/thing" -> "projection a/shown" [class="event", label="Done ×4\\nStopped ×0", style=dashed]', dot)

    # --- what is seen in the source ---

    def test_ways_to_send(self):
        """Through functions, tables, modules, locals: the source tells, without a spec."""
        self.write("a/contracts.lua", "contracts [[\n Begun!\n One?\n Oned!\n Two?\n Twoed!\n Three?\n Threed!\n Four?\n Never?\n]]\n")
        self.write("a/helper.lua", "local helper = {}\nfunction helper.make() return Two {} end\nreturn helper\n")
        self.write("a/thing.lua", """local thing = aggregate "thing"
for _, name in ipairs { "One", "Two", "Three", "Four", "Never" } do
  thing.execute[name] = function() return nil end
end
function thing.execute.One() return (function() return Oned {} end)() end
function thing.apply.Oned() end
function thing.apply.Begun() end
""".replace('"One", ', ""))
        self.write("a/other.lua", 'local other = aggregate "other"\nfunction other.apply.Twoed() end\n')
        self.write("a/hear.lua", """local helper = require "helper"
local none, made = {}, { Three }
local unused = { Never }
local late = {}
setmetatable(late, { __index = { four = Four } })
local hear = receptor "hear"
local function first(id) send.thing(id, One {}) end
function hear.when.Begun(_, m)
  first(m.id)
  local to = send.thing
  to(m.id, helper.make())
end
function hear.when.Oned(_, m) send.thing(m.id, made[1] {}) send.thing(m.id, late.four {}) end
function hear.when.Threed() return none and unused and nil end
""")
        flows = self.flows()
        sent = {(flow["trigger"], flow["message"]) for flow in find(flows, kind="sends", target="aggregate a/thing")}
        self.assertLessEqual({("a.Begun", "a.One"), ("a.Begun", "a.Two"), ("a.Oned", "a.Three"), ("a.Oned", "a.Four")}, sent)
        self.assertEqual({flow for flow in sent if flow[1] == "a.Never"}, {("a.Threed", "a.Never")})
        self.assertFalse(("a.Oned", "a.Two") in sent, "a handler is not given what another one calls")
        self.assertTrue(find(flows, kind="gives", block="aggregate a/thing", trigger="a.One", message="a.Oned"))

    def test_formats(self):
        self.example()
        self.assertIn("--format is svg, dot, mermaid or json", lore("map", "--format", "png", check=2).stderr)
        overview = self.map("--format", "dot", "--overview")
        self.assertIn('"billing" -> "mailing" [class="event", label="InvoiceExpired", style=dashed]', overview)
        self.assertEqual(self.map(), self.map())
        self.edit("billing/bill.lua", "aggregate", "agregate")
        self.assertRegex(lore("map", self.scripts, check=1).stderr, r"billing/bill\.lua:1: .*agregate")
        told = subprocess.run([os.environ["LORE"], "map", os.path.join(ROOT, "scripts"), "--no-specs"], capture_output=True, text=True,
                              env=dict(os.environ, PATH=self.dir))
        self.assertEqual((told.returncode, told.stdout), (3, ""))
        self.assertIn("apt install graphviz", told.stderr)


if __name__ == "__main__":
    main()

"""GET /v1/{tenant}/trace/{id} and lore trace: what followed from what."""
import json

from hub import Case, lines, lore, main

BILL = {"customer": "acme", "start_date": "2026-01-01"}


class Trace(Case):
    def setUp(self):
        super().setUp()
        self.copy_scripts("billing")

    def shown(self, nodes):
        """(depth, type, stream, outcome or position) of each."""
        return [(node["depth"], node["type"], node["stream"], node.get("outcome", node.get("position"))) for node in nodes]

    def test_what_clients_say(self):
        """Commands that name their correlation and cause: done, refused, without events, batches; over streams."""
        it = self.hub()
        self.client_says(it)
        it.stop()
        # the same of a directory without a hub, and as it is drawn
        place = ("--scripts", self.scripts, "--data", it.data)
        self.assertEqual([json.loads(line) for line in lore("trace", "c1", "--json", *place, check=0).stdout.splitlines()], self.nodes)
        drawn = lore("trace", "c1", *place, check=0).stdout.splitlines()
        self.assertEqual([line[26:] for line in drawn], [
            "CreateBill  billing/bill/1  done", "└─ BillCreated  billing/bill/1  version 1, position 2",
            "   ├─ AddServicesToBill  billing/bill/1  done", "   │  ├─ ServicesAddedToBill  billing/bill/1  version 2, position 3",
            "   │  └─ ServicesAddedToBill  billing/bill/1  version 3, position 4", "   ├─ AddServicesToBill  billing/bill/1  done",
            "   └─ CreateBill  billing/bill/1  rejected (exists): bill 1 was opened on 2026-01-01T00:00:00.000Z",
            "CreateBill  billing/bill/2  done  because of somewhere else", "└─ BillCreated  billing/bill/2  version 1, position 5"])
        self.assertEqual(drawn[0][:24], self.nodes[0]["time"])
        for line in drawn[1:]:
            self.assertRegex(line[:26], r"^ *\+\d+\.\d{3} s  $")
        self.assertIn("nothing", lore("trace", "nothing", *place, check=1).stderr)
        # an event by its position, and the last one of a stream
        whole = lore("trace", "c1", *place, check=0).stdout
        for what in "3", "5", "billing/bill/2", "billing/bill/1":
            self.assertEqual(lore("trace", what, *place, check=0).stdout, whole, what)
        self.assertIn("billing/bill/0", lore("trace", "1", *place, check=0).stdout)
        self.assertEqual([line[26:] for line in lore("trace", "billing/bill/7", *place, check=0).stdout.splitlines()],
                         ["CreateBill  billing/bill/7  done", "└─ BillCreated  billing/bill/7  version 1, position 7"])  # "7" is an id
        self.assertEqual(lore("trace", "7", *place, check=0).stdout, lore("trace", "billing/bill/8", *place, check=0).stdout)
        for what, said in ("99", "99"), ("billing/bill/none", "billing/bill/none"), ("billing/none/1", "none"), ("0", "position"), ("9" * 30, "position"):
            told = lore("trace", what, *place)
            self.assertEqual((told.returncode > 0, told.stdout), (True, ""), what)
            self.assertIn(said, told.stderr)

    def client_says(self, it):
        send = lambda id, type, data=None, status=200, **headers: it.send(
            f"billing/bill/{id}", type, data, status, {name.replace("_", "-"): value for name, value in headers.items()})
        send(0, "CreateBill", BILL)
        created = send(1, "CreateBill", BILL, Correlation_Id="c1", Idempotency_Key="root")["events"][0]
        batch = [{"type": "AddServicesToBill", "data": {"services": n}} for n in (1, 2)]
        answer = it.request("POST", "/v1/main/billing/bill/1", batch, {"Correlation-Id": "c1", "Causation-Id": created["id"], "Idempotency-Key": "batch"})
        self.assertEqual(answer.status, 200, answer.text)
        send(1, "CreateBill", BILL, 422, Correlation_Id="c1", Causation_Id=created["id"], Idempotency_Key="again")
        send(2, "CreateBill", BILL, Correlation_Id="c1", Causation_Id="somewhere else")
        send(3, "CreateBill", BILL, Correlation_Id="c10")
        send(7, "CreateBill", BILL)
        send(8, "CreateBill", BILL, Correlation_Id="7")
        found = it.get("/v1/main/trace/c1")
        self.nodes = found["trace"]
        self.assertEqual(found["correlation"], "c1")
        self.assertEqual(self.shown(self.nodes), [
            (0, "CreateBill", "billing/bill/1", "done"), (1, "BillCreated", "billing/bill/1", 2), (2, "AddServicesToBill", "billing/bill/1", "done"),
            (3, "ServicesAddedToBill", "billing/bill/1", 3),
            (3, "ServicesAddedToBill", "billing/bill/1", 4), (2, "AddServicesToBill", "billing/bill/1", "done"), (2, "CreateBill", "billing/bill/1", "rejected"),
            (0, "CreateBill", "billing/bill/2", "done"), (1, "BillCreated", "billing/bill/2", 5)])
        self.assertEqual([node.get("parent") for node in self.nodes[:3]], [None, "root", created["id"]])
        self.assertEqual((self.nodes[6]["reason"], self.nodes[7]["cause"], self.nodes[1]["version"]), ("exists", "somewhere else", 1))
        for id in ("root", "again", "batch", created["id"]):
            self.assertEqual(it.get(f"/v1/main/trace/{id}"), found, id)
        # one that names nothing is its own correlation: asked for by its own id, or by its event's
        alone = it.get("/v1/main/events?limit=1")["events"][0]
        self.assertEqual(self.shown(it.get(f"/v1/main/trace/{alone['commandid']}")["trace"]),
                         [(0, "CreateBill", "billing/bill/0", "done"), (1, "BillCreated", "billing/bill/0", 1)])
        self.assertEqual(it.get(f"/v1/main/trace/{alone['id']}"), it.get(f"/v1/main/trace/{alone['commandid']}"))
        for id in ("nothing", "c", alone["id"][:-1] + "99", alone["id"].replace(":1:", ":2:"), ":1:1", "0198c0de-0000-7000-8000-000000000000"):
            self.assertEqual(it.get(f"/v1/main/trace/{id}", status=404)["code"], "not_found", id)
        # an id of a clock that is years ahead
        ahead = "01ffffff-ffff-7000-8000-000000000000"
        it.send("billing/bill/6", "CreateBill", BILL, headers={"Correlation-Id": ahead})
        self.assertEqual(len(it.get(f"/v1/main/trace/{ahead}")["trace"]), 2)
        # a cause that claims to come later makes no circle
        it.send("billing/bill/4", "CreateBill", BILL, headers={"Correlation-Id": "c2", "Causation-Id": "y", "Idempotency-Key": "x"})
        it.send("billing/bill/5", "CreateBill", BILL, headers={"Correlation-Id": "c2", "Causation-Id": "x", "Idempotency-Key": "y"})
        self.assertEqual([node["depth"] for node in it.get("/v1/main/trace/c2")["trace"]], [0, 1, 1, 2])

    def test_what_the_hub_sends(self):
        """Receptors, timers and services of several contexts carry on what a command began."""
        self.write("shop/contracts.lua", "contracts [[\nOpen?\nOpened!\nClose?\nClosed!\n]]\n")
        self.write("shop/store.lua", """local store = aggregate "store" {}
function store.execute.Open() return Opened {} end
function store.execute.Close() return Closed {} end
""")
        self.write("shop/receptors.lua", """local opening = receptor "opening"
opening.when["billing.BillCreated"] = function(e, m) send.store(m.id, Open {}) end
local closing = receptor "closing"
closing.when.Opened = function(e, m) send.store(m.id, Close {}, { after = "1ms" }) end
""")
        self.write("mailing/contracts.lua", "contracts [[\nMail? (to: string)\nMailed! (to: string)\n]]\n")
        self.write("mailing/mail.lua", """local mail = service "mail"
function mail.when.Mail(c, m) publish(Mailed { to = c.to }) end
""")
        self.write("mailing/receptors.lua", """local news = receptor "news"
news.when["shop.Closed"] = function(e, m) send.mail(Mail { to = m.id }) end
""")
        it = self.hub()
        created = it.send("billing/bill/1", "CreateBill", BILL)["events"][0]
        tail = it.tail("/v1/main/events?type=Mailed")
        mailed = tail.take(1)[0][1]
        tail.close()
        trace = it.get(f"/v1/main/trace/{created['correlationid']}")
        self.assertEqual(self.shown(trace["trace"]), [
            (0, "CreateBill", "billing/bill/1", "done"), (1, "BillCreated", "billing/bill/1", 1), (2, "Open", "shop/store/1", "done"),
            (3, "Opened", "shop/store/1", 2), (4, "$Send", "shop/closing/closing", "done"), (5, "$Sent", "shop/closing/closing", 3),
            (6, "Close", "shop/store/1", "done"), (7, "Closed", "shop/store/1", 4), (8, "Mail", "mailing/mail/mail", "done"),
            (9, "Mailed", "mailing/mail/mail", 5)])
        self.assertEqual(it.get(f"/v1/main/trace/{mailed['id']}"), trace)

    def test_many(self):
        """More than is shown; a long chain of causes."""
        it = self.hub()
        body = "\n".join(json.dumps({"stream": f"billing/bill/{n}", "type": "CreateBill", "data": BILL}) for n in range(6000))
        it.request("POST", "/v1/main/commands", body, {"Correlation-Id": "many"})
        found = it.get("/v1/main/trace/many")
        self.assertEqual((len(found["trace"]), found["truncated"]), (10000, True))
        last = "start"
        client = it.client()
        for n in range(300):
            answer = client.request("POST", f"/v1/main/billing/bill/chain-{n}", {"type": "CreateBill", "data": BILL},
                                    {"Correlation-Id": "chain", "Causation-Id": last})
            last = answer.json["events"][0]["id"]
        client.close()
        self.assertEqual([node["depth"] for node in it.get("/v1/main/trace/chain")["trace"]], list(range(600)))
        self.assertEqual(lore("trace", "chain", "--to", f"http://127.0.0.1:{it.port}", check=0).stdout.count("\n"), 600)


main()

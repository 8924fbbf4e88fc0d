"""What a session says of the future comes true: 1,000 random commands over the examples, each first asked of dry(), then sent. And of the past:
what it shows at a moment is what was there. Sending needs leave, and is recorded with who did it."""
import json, os, random, re

from hub import SMALL, Case, lines, lore, main
from sessions import Session, ask

COMMANDS = 150 if SMALL else 1000
SEED = int(os.environ.get("SEED", random.randrange(2**32)))
VIEWS = ["billing/customers", "billing/open_bills", "billing/outstanding_invoices", "billing/revenue_by_month", "fines/cases", "fines/in_collection",
         "fines/officers", "fines/totals_by_month", "security/users"]


class Chance:
    """Random commands of any contract: values from few, so that streams, customers and dates meet."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.described = json.loads(lore("check", "--json", check=0).stdout)
        self.fields = {(contract["context"], contract["name"]): contract["fields"] for contract in self.described["contracts"]}

    def value(self, type, name):
        if type.endswith("[]"):
            return [self.value(type[:-2], name) for _ in range(self.random.randrange(1, 4))]
        if type.startswith("("):
            return {field: self.value(of, field) for field, of in re.findall(r"(\w+): ([^,)]+)", type)}
        if type == "time" or name == "date":
            month = f"2026-{self.random.randrange(1, 6):02}-01"
            return month if name == "date" else month + "T00:00:00.000Z"
        return {"string": lambda: self.random.choice(["ada", "bob", "G", "NIL", "#", "P", "ünï\u2028\"\\"]),
                "integer": lambda: self.random.randrange(-1, 40), "decimal": lambda: f"{self.random.randrange(0, 90)}.{self.random.randrange(100):02}"}[type]()

    def command(self):
        aggregate = self.random.choice(self.described["aggregates"])
        context = aggregate["name"].split("/")[0]
        type = self.random.choice(aggregate["commands"])
        data = {field["name"]: self.value(field["type"], field["name"]) for field in self.fields[context, type]
                if not field["optional"] or self.random.random() < 0.5}
        return f"{aggregate['name']}/s{self.random.randrange(6)}", type, data


def lua(value):
    """A plain value as Lua source."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"[{lua(key)}] = {lua(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "{ " + ", ".join(map(lua, value)) + " }"
    if isinstance(value, str):
        return '"' + "".join(f"\\{byte:03}" for byte in value.encode()) + '"'
    return str(value)


def command_of(stream, type, data):
    return f'"{stream}", contexts.{stream.split("/")[0]}.{type} {lua(data)}'


class Insight(Case):
    def documents(self, hub):
        return {(view, key): document for view in VIEWS for key, document in hub.view(view).items()}

    def test_dry_is_what_then_happens(self):
        print(f"SEED={SEED}")
        clock = os.path.join(self.dir, "clock")
        with open(clock, "w") as file:
            file.write("2026-03-02T07:00:00Z")  # it stands: handlers see the same moment twice
        hub = self.hub(self.copy_scripts(), env={"LORE_CLOCK": clock})
        session, chance = Session(hub), Chance(SEED)
        before, outcomes = self.documents(hub), {"done": 0, "rejected": 0, "other": 0}
        for number in range(COMMANDS):
            stream, type, data = chance.command()
            head = hub.head()
            told = session.lines(f"dry({command_of(stream, type, data)})")[-1]
            self.assertEqual(hub.head(), head)
            answer = hub.request("POST", f"/v1/main/{stream}", {"type": type, "data": data})
            what = f"SEED={SEED}, command {number}: {stream} {type} {json.dumps(data)}: {told} then {answer.text}"
            if answer.status == 200:
                after = self.documents(hub)
                self.assertEqual([(event["type"], event["data"]) for event in told["value"]["events"]],
                                 [(event["type"], event["data"]) for event in answer.json["events"]], what)
                self.assertEqual([], told["value"]["failures"], what)
                changed = {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
                self.assertEqual({(document["view"], document["key"]): document.get("after") for document in told["value"]["documents"]}, changed, what)
                self.assertTrue(all(document.get("before") == before.get((document["view"], document["key"])) for document in told["value"]["documents"]), what)
                before = after
                outcomes["done"] += 1
            elif answer.status == 422:
                self.assertEqual(told["value"]["rejected"], {"code": answer.json["reason"], "message": answer.json["detail"]}, what)
                outcomes["rejected"] += 1
            else:
                self.assertIn("error", told, what)
                outcomes["other"] += 1
        print(outcomes)
        self.assertTrue(outcomes["done"] > COMMANDS / 5 and outcomes["rejected"] > COMMANDS / 20)

    def test_dry_tells_what_is_sent(self):
        hub = self.hub(self.copy_scripts("security", "billing", "fines", acting=True))
        session, chance, sent = Session(hub), Chance(SEED), 0
        for number in range(COMMANDS // 5):
            stream, type, data = chance.command()
            if stream.startswith("mailing/"):
                continue
            told = session.lines(f"dry({command_of(stream, type, data)})")[-1]
            answer = hub.request("POST", f"/v1/main/{stream}", {"type": type, "data": data})
            if answer.status != 200 or not answer.json["events"]:
                continue
            predicted = {}
            for send in told["value"]["sends"]:
                self.assertNotIn("due", send)
                predicted.setdefault(answer.json["events"][send["event"] - 1]["id"], []).append((send["to"], send["type"]))
            while any(line.get("lag") for line in hub.status() if line["kind"] == "receptor"):
                continue  # each look is a request
            for event in answer.json["events"]:
                trace = hub.get(f"/v1/main/trace/{event['correlationid']}")["trace"]
                found = [(node["stream"], node["type"]) for node in trace if node["kind"] == "command" and node.get("parent") == event["id"]]
                self.assertEqual(sorted(found), sorted(predicted.get(event["id"], [])), f"SEED={SEED}, command {number}: {told}")
                sent += len(found)
        self.assertGreater(sent, 0)

    def test_the_past_is_what_was(self):
        hub = self.hub(self.copy_scripts())
        chance, were = Chance(SEED), {}
        for number in range(60):
            stream, type, data = chance.command()
            hub.request("POST", f"/v1/main/{stream}", {"type": type, "data": data})
            if number % 15 == 14 and hub.head():
                stream = hub.get("/v1/main/events?limit=1")["events"][0]
                name = f"{stream['source'].split('/')[2]}/{stream['subject']}"
                were[hub.head()] = self.documents(hub), hub.get(f"/v1/main/{name}")
        session = Session(hub)
        self.assertGreater(len(were), 2)
        for position, (documents, state) in were.items():
            self.assertRegex(session.value(f'at "{position}"'), rf"^position {position}, recorded 20\d\d-")
            for view in VIEWS:
                expected = [{"key": key, "document": document} for (of, key), document in documents.items() if of == view]
                context, name = view.split("/")
                self.assertEqual(session.value(f"views.{context}.{name}:all():list()"), expected, f"{view} at {position}, SEED={SEED}")
                self.assertEqual(session.value(f"views.{context}.{name}:count()"), len(expected))
                if expected:
                    self.assertEqual(session.value(f'views.{context}.{name}({lua(expected[-1]["key"])})'), expected[-1]["document"])
            context, aggregate, id = state["stream"].split("/")
            self.assertEqual(session.value(f"contexts.{context}.{aggregate} {lua(id)}"), state)
        self.assertIn("in the past", session.error('dry("billing/bill/7", ReopenBill {})')["message"])
        self.assertIn("no event at", session.error('at "1999-01-01"')["message"])
        self.assertIn("position", session.error('at "yesterday"')["message"])
        self.assertRegex(session.value("at()"), r"^now, position \d+$")
        self.assertEqual(session.value("views.security.users:count()"), len([1 for view, _ in self.documents(hub) if view == "security/users"]))

    def test_sending_needs_leave_and_is_recorded(self):
        hub = self.hub(self.copy_scripts())
        session = Session(hub)
        create = 'CreateBill { customer = "ada", start_date = "2026-01-01" }'
        self.assertIn("only reads", session.error(f'send("billing/bill/1", {create})')["message"])
        self.assertEqual(hub.head(), 0)
        self.assertEqual(ask(hub, session=session.id, write=True, headers={"Actor": "grace"}), [{"write": True}])
        answer = session.value(f'send("billing/bill/1", {create})')
        self.assertEqual((answer["version"], answer["events"][0]["actor"]), (1, "grace"))
        self.assertEqual(hub.get("/v1/main/events")["events"][0]["actor"], "grace")
        self.assertIn("rejected (exists)", session.error(f'send("billing/bill/1", {create})')["message"])
        self.assertEqual(session.value(f'pcall(send, "billing/bill/1", {create})')[0], False)
        for wrong, why in ((f'send("billing/bill", {create})', "context/aggregate/id"), ('send("billing/bill/1")', "no command"), ('send("billing/bill/1", 7)', "expected a command"),
                           ('send("billing/bill/1", BillReopened {})', "is an event"), (f'send({{}}, {create})', "a stream is"),
                           ('send("billing/user/1", CreateBill { customer = "x", start_date = "2026-01-01" })', "CreateBill")):
            self.assertIn(why, session.error(wrong)["message"], wrong)
        self.assertEqual(ask(hub, session=session.id, write=False), [{"write": False}])
        self.assertIn("only reads", session.error(f'send("billing/bill/2", {create})')["message"])
        self.assertEqual(hub.head(), 1)

    def test_causes_and_specs(self):
        hub = self.hub(self.copy_scripts())
        hub.send("billing/bill/7", "CreateBill", {"customer": "ada", "start_date": "2026-01-01"})
        hub.send("billing/bill/7", "CloseBill", {"close_date": "2026-02-01"})
        session = Session(hub)
        for what in ("1", 'billing.bill "7"', '"billing/bill/7"', 'views.open_bills, "7"', '"billing/open_bills", "7"'):
            self.assertIn("handler", session.value(f"blame({what})")["blame"][0]["commands"][0], what)
        self.assertEqual(session.value("trace(1)")["trace"][0]["type"], "CreateBill")
        self.assertEqual(session.value('trace(billing.bill "7")')["trace"][0]["type"], "CloseBill")
        self.assertIn("error", session.lines('trace "nobody"')[-1])
        self.assertIn("no position 99", session.error("trace(99)")["message"])
        for nobody in ("('x'):rep(254)", "('x'):rep(255)", "('x'):rep(1e5)", "''"):
            self.assertIn("no command", session.error(f"trace({nobody})")["message"], nobody)
        for query in ("events { type = 'BillCreated' }", "events { position = 1 }:first()"):
            self.assertEqual(session.value(f"trace({query})")["trace"][0]["type"], "CreateBill")
            self.assertEqual(session.value(f"blame({query})")["blame"][0]["commands"][0]["type"], "CreateBill")
        self.assertIn("error", session.lines("blame()")[-1])
        file = session.lines('spec_from("billing/bill/7")')[0]["file"]
        self.assertEqual(file["name"], "bill_7_spec.lua")
        path = os.path.join(self.dir, "specs", "billing", file["name"])
        os.makedirs(os.path.dirname(path))
        with open(path, "w") as spec:
            spec.write(file["text"])
        self.assertRegex(lore("test", path, "--scripts", self.scripts, check=0).stdout, r"2 passed, 0 failed\s*$")
        for wrong in ('spec_from("billing/bill/8")', 'spec_from("billing/bill/7", 3)', 'spec_from("billing/bill/7", 2, 1)', 'spec_from("x/y/z")', "spec_from(7)"):
            self.assertIn("error", session.lines(wrong)[-1], wrong)


if __name__ == "__main__":
    main()

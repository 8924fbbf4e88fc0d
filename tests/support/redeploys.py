"""redeploys.py: what tests that deploy again and again share: commands over all contexts of the example, everything a hub shows, and what a gate's
report says must be true of it.

Commands are chosen without looking at the scripts: whatever an edit makes of them, each is answered, and by the same for the same id.
"""
import json, os, re, shutil, signal, threading

import crash
from hub import lines
from traffic import Clients, Ledger, Request

POLICIES = {"documents_changed": ("projections", "documents", "changed"), "documents_removed": ("projections", "documents", "removed"),
            "commands_refused": ("aggregates", "commands", "refused"), "commands_other": ("aggregates", "commands", "other_events")}


class Ask(Request):
    def __init__(self, stream, id, type, **data):
        super().__init__(stream, id, {"type": type, "data": data})
        self.type, self.data = type, data

    def send(self, client):
        return client.request("POST", f"/v1/main/{self.stream}", self.body, {"Content-Type": "application/json", "Idempotency-Key": self.id})


class AskLedger(Ledger):
    """No request may fail, but for a command that an edit took away."""

    def take(self, request, answer):
        if answer.status == 400 and request.type.startswith("Remark") and answer.json["code"] == "unknown_command":
            with self.changed:
                self.under_way.pop(request.key, None)
                self.count += 1
                self.changed.notify_all()
            return
        if answer.status not in (200, 409, 422):
            with self.changed:
                self.wrong.append(f"{request.key} {request.body}: {answer.status} {answer.text}")
        super().take(request, answer)

    def add_event(self, event):
        stream = event["source"] + "/" + event["subject"]
        if event["position"] != len(self.events) + 1:
            raise AssertionError(f"position {event['position']} follows {len(self.events)}")
        self.versions[stream] += 1
        if event["version"] != self.versions[stream]:
            raise AssertionError(f"{stream}: version {event['version']} follows {self.versions[stream] - 1}")
        self.events.append(event)
        if stream.startswith("/main/billing/user/"):  # the receptor's
            self.accounted += 1

    def check(self, hub):
        super().check(hub)
        kinds = {type: {event["data"]["login"] if type == "UserCreated" else event["subject"].split("/")[1] for event in self.events if event["type"] == type}
                 for type in ("PasswordAdded", "UserCreated")}
        if kinds["PasswordAdded"] != kinds["UserCreated"]:
            raise AssertionError(f"logins {kinds['PasswordAdded']}, but the receptor made users of {kinds['UserCreated']}")

    def streams(self):
        return sorted(stream[len("/main/"):] for stream in self.versions)


class Asking(Clients):
    """remarks(): the commands that are there or may be."""

    def __init__(self, ledger, seed, hub, remarks=lambda: []):
        self.remarks = remarks
        super().__init__(ledger, seed, hub.port, hub.client)

    def choose(self, chance, id, number):
        kind, bill, fine = chance.random(), f"billing/bill/b{chance.randint(0, 15)}", f"fines/fine/F{chance.randint(0, 25)}"
        if kind < 0.35:
            return Ask(bill, id, "AddServicesToBill", services=chance.choice([0, 13, chance.randint(1, 40)]))
        if kind < 0.48:
            return Ask(bill, id, "CreateBill", customer=f"c{chance.randint(1, 5)}", start_date="2026-01-01")
        if kind < 0.54:
            if chance.random() < 0.5:
                return Ask(bill, id, "ReopenBill")
            return Ask(bill, id, "CloseBill", close_date=chance.choice(["2026-01-01", "2026-02-01", "2025-12-31"]))
        if kind < 0.58 and self.remarks():
            return Ask(bill, id, chance.choice(self.remarks()), text=id)
        if kind < 0.68:
            return self.invoice(chance, id)
        if kind < 0.84:
            return self.fine(chance, fine, id)
        if kind < 0.92:
            return self.user(chance, id)
        return self.repetition(chance) or Ask(bill, id, "AddServicesToBill", services=1)

    def invoice(self, chance, id):
        invoice = f"billing/invoice/i{chance.randint(0, 25)}"
        if chance.random() < 0.5:
            line = {"text": "x", "quantity": chance.randint(1, 9), "price": "3.15"}
            return Ask(invoice, id, "IssueInvoice", customer="c", due_on="2026-03-01", lines=[line])
        return Ask(invoice, id, "PayInvoice", amount=chance.choice(["3.15", "1.00", "0.00"]))

    def fine(self, chance, fine, id):
        kinds = [("CreateFine", dict(amount=f"{chance.randint(20, 40)}.50", officer=str(chance.randint(11, 24)), vehicle_class="A", article=157, points=0,
                                     dismissal="NIL", date=f"2026-0{chance.randint(1, 9)}-10")),
                 ("SendFine", dict(expense="11.00", date="2026-02-10")), ("NotifyOffender", dict(notification_type="P", date="2026-02-20")),
                 ("AddPenalty", dict(amount="80.00", date="2026-04-22")), ("RecordPayment", dict(amount=chance.choice(["31.00", "5.00"]), date="2026-05-01")),
                 ("SendToCollection", dict(date="2026-08-01"))]
        type, data = chance.choice(kinds)
        return Ask(fine, id, type, **data)

    def user(self, chance, id):
        n = chance.randint(0, 30)
        return Ask(f"security/user/u{n}", id, "RegisterUser", name=f"name {n}") if chance.random() < 0.5 else \
            Ask(f"security/login/l{n}", id, "AddPassword", user_id=f"u{n}", hash="x")


class Reading(threading.Thread):
    """Asks for views that nobody takes away; each answers, whatever is built beside it."""

    def __init__(self, hub, views):
        super().__init__()
        self.hub, self.views, self.stopped, self.count, self.wrong = hub, sorted(views), False, 0, []
        self.start()

    def run(self):
        client = self.hub.client()
        try:
            while not self.stopped and self.views and not self.wrong:
                path = f"/v1/main/views/{self.views[self.count % len(self.views)]}?limit=3"
                answer = client.request("GET", path)
                self.count += 1
                if answer.status != 200:
                    self.wrong.append(f"GET {path}: {answer.status} {answer.text}")
        except OSError:
            pass
        except Exception as error:  # the hub is dead, or http.client says so in its way
            self.wrong.append(repr(error)) if self.hub.process.poll() is None else None
        client.close()

    def stop(self):
        self.stopped = True
        self.join()
        if self.wrong:
            raise AssertionError(self.wrong[0])


# --- what a hub shows ---

class Shown:
    """All views and the states of these streams, byte for byte, and what is parked or stopped."""

    def __init__(self, hub, views, streams):
        status = crash.settle(hub)
        client = hub.client()
        self.views = {view: client.request("GET", f"/v1/main/views/{view}", None, {"Accept": "application/x-ndjson"}).bytes for view in sorted(views)}
        self.states = {}
        for stream in streams:
            answer = client.request("GET", f"/v1/main/{stream}")
            self.states[stream] = answer.status, answer.bytes
        client.close()
        self.declared = {line["name"] for line in status if line["kind"] == "projection"}
        stuck = [{name: value for name, value in line.items() if name != "deploy"} for line in status if line["kind"] in ("parked", "stopped")]
        self.stuck = sorted(json.dumps(line, sort_keys=True) for line in stuck)
        self.head = next(line["position"] for line in status if line["kind"] == "hub")
        self.deploy = next(line["deploy"] for line in status if line["kind"] == "hub")

    def documents(self, view):
        return {line["key"]: line["document"] for line in lines(self.views.get(view, b"").decode())}

    def count_stuck(self, view, kind):
        return sum(line["kind"] == kind and line["name"] == view for line in map(json.loads, self.stuck))

    def same(self, other, what):
        crash.same_views(self.views, other.views, what)
        crash.same_views({"parked": self.stuck}, {"parked": other.stuck}, what)
        for stream in self.states:
            if self.states[stream] != other.states[stream]:
                raise AssertionError(f"{what}: state of {stream}: {self.states[stream]}, not {other.states[stream]}")


def copy_of_log(hub, to):
    """As a kill at this moment would leave it."""
    hub.process.send_signal(signal.SIGSTOP)
    try:
        return crash.copy_log(hub.data, to)
    finally:
        hub.process.send_signal(signal.SIGCONT)


# --- what was predicted ---

def total(report, part, *path):
    sum = 0
    for row in report.get(part, []):
        for name in path:
            row = row.get(name, {})
        sum += row or 0
    return sum


def refusals(report, hub_lua):
    """The names of what must refuse it, by the report's own figures and the policy of hub.lua."""
    found = set()
    if any(row["verdict"] == "breaks" and not row.get("before") for row in report["contracts"]):
        found.add("contracts_break")
    if total(report, "aggregates", "commands", "errors") + total(report, "aggregates", "states_failed"):
        found.add("errors")
    for name, most in re.findall(r"(\w+) = (\d+|true)", hub_lua):
        count = total(report, *POLICIES[name]) if name in POLICIES else 0
        if name == "commands_other":
            count += total(report, "aggregates", "commands", "other_reason")
        if name in POLICIES and count > (0 if most == "true" else int(most)):
            found.add(name)
    return found


def check_prediction(before, after, report):
    """What the report says of documents and states is what became of them."""
    if before.head != after.head:
        raise AssertionError(f"the log went from {before.head} to {after.head}")
    rows = {row["name"]: row for row in report["projections"]}
    for view in sorted(before.views.keys() | after.views.keys()):
        check_view(before, after, view, rows.get(view))
    rows = {row["name"]: row for row in report["aggregates"]}
    for aggregate in sorted({stream.rsplit("/", 1)[0] for stream in before.states}):
        check_states(before, after, aggregate, rows.get(aggregate))


def check_view(before, after, view, row):
    old, new = before.documents(view), after.documents(view)
    both = old.keys() & new.keys()
    counts = {"before": len(old), "after": len(new), "added": len(new.keys() - both), "removed": len(old.keys() - both),
              "changed": sum(old[key] != new[key] for key in both)}
    counts["same"] = len(both) - counts["changed"]
    if row is None:
        if before.views.get(view) != after.views.get(view) or view not in before.declared or view not in after.declared:
            raise AssertionError(f"{view}: nothing was told of it, but {counts}")
        return
    if view not in after.declared:
        if row["reason"] != "it is no longer declared":
            raise AssertionError(f"{view} is gone, told was {row}")
        return
    if row.get("documents") != counts:
        raise AssertionError(f"{view}: {counts} came of {row}")
    fields = {}
    for key in both:
        for field in (old[key].keys() | new[key].keys()):
            if old[key].get(field) != new[key].get(field):
                fields[field] = fields.get(field, 0) + 1
    told = {}
    for path in row["fields"]:
        told[path.split(".")[0]] = 1
    if told.keys() != fields.keys():
        raise AssertionError(f"{view}: {fields} differ, told was {row['fields']}")
    for sample in row["samples"]:
        if (sample.get("before"), sample.get("after")) != (old.get(sample["key"]), new.get(sample["key"])):
            raise AssertionError(f"{view}: {sample}, but it went from {old.get(sample['key'])} to {new.get(sample['key'])}")
    for kind in ("parked", "stopped"):
        counts = before.count_stuck(view, kind), after.count_stuck(view, kind)
        if (row[kind]["before"], row[kind]["after"]) != counts:
            raise AssertionError(f"{view}: {kind} {counts}, told was {row[kind]}")


def check_states(before, after, aggregate, row):
    streams = [stream for stream in before.states if stream.startswith(aggregate + "/")]
    pairs = [(before.states[stream], after.states[stream]) for stream in streams]
    changed = sum(old[0] == new[0] == 200 and json.loads(old[1])["state"] != json.loads(new[1])["state"] for old, new in pairs)
    failed = sum(old[0] == 200 and new[0] == 500 for old, new in pairs)
    told = (row["states_changed"], row["states_failed"]) if row else (0, 0)
    if told != (changed, failed):
        raise AssertionError(f"{aggregate}: {changed} states changed and {failed} failed, told was {row}")

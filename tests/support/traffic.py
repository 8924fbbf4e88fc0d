"""traffic.py: clients that send commands at full speed and remember every answer, and what must be true of them afterwards.

    ledger = Ledger()
    clients = Clients(ledger, random, hub.port)      sends until the connection dies
    ledger.wait(50)                                  that many answers more
    hub.kill(); clients.join()
    ...                                              the hub starts again
    ledger.settle(hub)                               what was under way is asked again
    ledger.check(hub)                                the log is exactly what was answered

The check is exact: every command has an id, so once everything sent is answered, the events of all answers are the log: each position
once, each event byte for byte what its answer said, and each refusal by the domain is an outcome that the log keeps.
"""
import collections, http.client, json, random, threading

FINAL = (200, 422)  # such an answer is kept for its id; others leave no trace
PASSING = (409, 429, 503)
CLIENTS = 8


class Request:
    def __init__(self, stream, id, body, version=None):
        self.stream, self.id, self.version = stream, id, version
        self.body = json.dumps(body)

    @property
    def key(self):
        return self.stream, self.id

    def send(self, client):
        headers = {"Content-Type": "application/json", "Idempotency-Key": self.id}
        if self.version is not None:
            headers["If-Match"] = f'"{self.version}"'
        return client.request("POST", f"/v1/main/billing/{self.stream}", self.body, headers)


class Ledger:
    """What was sent and what came back. Threads: clients send, the test waits and checks."""

    def __init__(self):
        self.changed = threading.Condition()
        self.under_way = {}  # key -> request that nobody answered yet
        self.answers = {}    # key -> (request, status, bytes): the first final answer
        self.wrong = []
        self.count = 0
        self.refused = 0
        self.log = b""
        self.events = []
        self.versions = collections.Counter()
        self.bills = {}  # id -> the state that its events add up to
        self.to_compare = []
        self.accounted = 0

    # --- sending ---

    def begin(self, request):
        with self.changed:
            self.under_way.setdefault(request.key, request)

    def take(self, request, answer):
        """The same id gets the same answer, always."""
        with self.changed:
            self.count += 1
            self.changed.notify_all()
            if answer.status in PASSING:
                if request.key not in self.answers:
                    self.under_way.setdefault(request.key, request)
                if answer.status == 409 and request.version is not None:
                    self.under_way.pop(request.key, None)
                return
            self.under_way.pop(request.key, None)
            if answer.status not in FINAL:
                self.wrong.append(f"{request.key} {request.body}: {answer.status} {answer.text}")
                return
            first = self.answers.setdefault(request.key, (request, answer.status, answer.bytes))
            if first[1:] != (answer.status, answer.bytes):
                self.wrong.append(f"{request.key} {request.body}: first {first[1]} {first[2]}, then {answer.status} {answer.bytes}")
                return
            if first[2] is answer.bytes:
                self.refused += answer.status == 422
                if answer.status == 200:
                    self.to_compare.append(request.key)

    def wait(self, more, alive=lambda: True):
        with self.changed:
            target = self.count + more
            while self.count < target and not self.wrong:
                if not self.changed.wait(timeout=1) and not alive():
                    break
        self.raise_wrong()

    def raise_wrong(self):
        if self.wrong:
            raise AssertionError("\n".join(self.wrong[:5]))

    def settle(self, hub, again=20, chance=random):
        """Asks again for what has no answer, and for some that have one, the latest among them."""
        client = hub.client()
        while self.under_way:
            for request in list(self.under_way.values()):
                self.take(request, request.send(client))
        keys = list(self.answers)
        for key in keys[-again:] + chance.sample(keys, min(again, len(keys))):
            request = self.answers[key][0]
            self.take(request, request.send(client))
        client.close()
        self.raise_wrong()

    # --- checking ---

    def check(self, hub):
        """The log only grows; positions and versions are gapless; it holds what was answered and nothing else."""
        text = hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).bytes
        if not text.startswith(self.log):
            raise AssertionError(f"the log changed below position {len(self.events)}")
        for line in text[len(self.log):].splitlines():
            self.add_event(json.loads(line))
        self.log = text
        for key in self.to_compare:
            self.compare(*self.answers[key])
        self.to_compare = []
        if self.accounted != len(self.events):
            raise AssertionError(f"{len(self.events)} events in the log, {self.accounted} in answers")

    def add_event(self, event):
        if event["position"] != len(self.events) + 1:
            raise AssertionError(f"position {event['position']} follows {len(self.events)}")
        self.versions[event["subject"]] += 1
        if event["version"] != self.versions[event["subject"]]:
            raise AssertionError(f"{event['subject']}: version {event['version']} follows {self.versions[event['subject']] - 1}")
        self.events.append(event)
        kind, id = event["subject"].split("/")
        if kind == "bill":
            self.fold(self.bills.setdefault(id, {"services": 0}), event["type"], event["data"])

    def fold(self, bill, type, data):
        if type == "BillCreated":
            bill["customer"], bill["opened"] = data["customer"], data["start_date"]
        elif type == "ServicesAddedToBill":
            bill["services"] += data["services"]
        elif type == "BillClosed":
            bill["closed"] = data["close_date"]

    def compare(self, request, status, bytes):
        """An answer's events are in the log where it said, as it said."""
        answer = json.loads(bytes)
        events = answer["events"]
        for event in events:
            if event["position"] > len(self.events) or self.events[event["position"] - 1] != event:
                raise AssertionError(f"{request.key}: answered {event}, the log has {self.events[event['position'] - 1:event['position']]}")
        if events and (events[-1]["version"], events[-1]["position"]) != (answer["version"], answer["position"]):
            raise AssertionError(f"{request.key}: {bytes}")
        self.accounted += len(events)

    def check_bills(self, hub, documents, chance):
        """The view and the states are what the events add up to."""
        expected = {id: {key: value for key, value in bill.items() if key != "closed"} for id, bill in self.bills.items()
                    if "closed" not in bill}
        if documents != expected:
            raise AssertionError(f"open_bills: {documents}\nbut the events add up to {expected}")
        for id in ["shared"] + chance.sample(sorted(self.bills), min(5, len(self.bills))):
            answer = hub.get(f"/v1/main/billing/bill/{id}")
            if (answer["version"], answer["state"]) != (self.versions["bill/" + id], self.bills[id]):
                raise AssertionError(f"bill {id}: {answer}, not {self.bills[id]}")


class Clients:
    """Each sends what chance tells it, one after another, until nobody answers."""

    def __init__(self, ledger, seed, port, connect, count=CLIENTS):
        self.ledger, self.connect, self.stopped = ledger, connect, False
        self.threads = [threading.Thread(target=self.work, args=(random.Random(f"{seed}-{n}"), f"{seed}-{n}", n)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def work(self, chance, name, number):
        client = self.connect()
        try:
            count = 0
            while not self.stopped and not self.ledger.wrong:
                count += 1
                request = self.choose(chance, f"{name}-{count}", number)
                self.ledger.begin(request)
                self.ledger.take(request, request.send(client))
        except (OSError, http.client.HTTPException):
            pass  # the hub is dead: that is what ends it
        finally:
            client.close()

    def choose(self, chance, id, number):
        services = {"type": "AddServicesToBill", "data": {"services": chance.randint(1, 40)}}
        create = {"type": "CreateBill", "data": {"customer": f"c{number}", "start_date": "2026-01-01"}}
        own = f"bill/own-{number}"
        kind = chance.random()
        if kind < 0.30:
            return Request("bill/shared", id, services)
        if kind < 0.50:
            return Request(own, id, services)
        if kind < 0.60:
            return Request(f"bill/{id}", id, create)
        if kind < 0.65:
            return Request(own, id, [services, services, services])
        if kind < 0.70:
            return Request(own, id, {"type": "CloseBill", "data": {"close_date": "2026-02-01"}}, version=0)
        if kind < 0.75:
            return self.payment(chance, id)
        if kind < 0.85:
            return self.refusal(chance, id, services, create)
        return self.repetition(chance) or Request("bill/shared", id, services)

    def payment(self, chance, id):
        invoice = f"invoice/{chance.randint(1, 40)}"
        if chance.random() < 0.4:
            line = {"text": "x", "quantity": chance.randint(1, 9), "price": "3.10"}
            return Request(invoice, id, {"type": "IssueInvoice", "data": {"customer": "c", "due_on": "2026-03-01", "lines": [line]}})
        return Request(invoice, id, {"type": "PayInvoice", "data": {"amount": "3.10"}})

    def refusal(self, chance, id, services, create):
        """By the domain: kept, so that the id says no for ever; a bill that is unknown now may be there later."""
        kind = chance.random()
        if kind < 0.3:
            return Request("bill/shared", id, {"type": "AddServicesToBill", "data": {"services": 0}})
        if kind < 0.5:
            return Request("bill/shared", id, create)
        close = {"type": "CloseBill", "data": {"close_date": "2026-02-01"}}
        return Request(f"bill/late-{chance.randint(1, 300)}", id, chance.choice([services, services, create, close]))

    def repetition(self, chance):
        """What somebody asks right now or asked before."""
        with self.ledger.changed:
            known = list(self.ledger.under_way.values())
            if self.ledger.answers and chance.random() < 0.6:
                known = [chance.choice(list(self.ledger.answers.values()))[0]]
        return chance.choice(known) if known else None

    def stop(self):
        """Each gets its last answer."""
        self.stopped = True
        self.join()

    def join(self):
        for thread in self.threads:
            thread.join()

    def alive(self):
        return any(thread.is_alive() for thread in self.threads)

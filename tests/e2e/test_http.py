"""HTTP as interfaces.md fixes it: commands, versions, retries, batches, reading, tails."""
import json, os, threading, unittest

from hub import TIMEOUT, Case, lines, lore, main

BILL = {"customer": "acme", "start_date": "2026-01-01"}


class Http(Case):
    def setUp(self):
        super().setUp()
        self.copy_scripts("billing")
        self.it = self.hub()

    def post(self, stream, body, headers=None):
        return self.it.request("POST", f"/v1/main/{stream}", body, headers)

    def test_a_command_and_its_event(self):
        answer = self.post("billing/bill/7", {"type": "CreateBill", "data": BILL}, {"Correlation-Id": "corr-1", "Causation-Id": "cause-1"})
        self.assertEqual(answer.status, 200, answer.text)
        self.assertEqual(answer.headers["ETag"], '"1"')
        self.assertEqual((answer.json["version"], answer.json["position"]), (1, 1))
        event = answer.json["events"][0]
        self.assertRegex(event["id"], r"^[0-9a-f-]{36}:1:1$")
        self.assertEqual({key: event[key] for key in ("specversion", "source", "type", "subject", "datacontenttype", "data", "position",
                                                      "version", "typeversion", "correlationid", "causationid", "deploy")},
                         {"specversion": "1.0", "source": "/main/billing", "type": "BillCreated", "subject": "bill/7",
                          "datacontenttype": "application/json", "data": {"customer": "acme", "start_date": "2026-01-01T00:00:00.000Z"},
                          "position": 1, "version": 1, "typeversion": 1, "correlationid": "corr-1", "causationid": "cause-1", "deploy": 1})
        self.assertEqual(self.it.get("/v1/main/events")["events"], [event])
        self.assertEqual(self.it.get("/v1/main/billing/bill/7/events")["events"], [event])
        state = self.it.get("/v1/main/billing/bill/7")
        self.assertEqual(state, {"stream": "billing/bill/7", "version": 1, "position": 1,
                                 "state": {"customer": "acme", "opened": "2026-01-01T00:00:00.000Z", "services": 0}})

    def test_retries(self):
        body = {"type": "CreateBill", "data": BILL}
        first = self.post("billing/bill/7", body, {"Idempotency-Key": "k1"})
        again = self.post("billing/bill/7", body, {"Idempotency-Key": "k1"})
        self.assertEqual((again.status, again.json), (200, first.json))
        other = self.post("billing/bill/7", {"type": "AddServicesToBill", "data": {"services": 1}}, {"Idempotency-Key": "k1"})
        self.assertEqual((other.status, other.json["code"]), (422, "id_reused"))
        refused = self.post("billing/bill/7", body, {"Idempotency-Key": "k2"})
        self.assertEqual((refused.status, refused.json["code"], refused.json["reason"]), (422, "rejected", "exists"))
        again = self.post("billing/bill/7", body, {"Idempotency-Key": "k2"})
        self.assertEqual((again.status, again.json), (422, refused.json))
        # looked up before If-Match; and ids belong to their stream
        self.assertEqual(self.post("billing/bill/7", body, {"Idempotency-Key": "k1", "If-Match": '"0"'}).json, first.json)
        self.assertEqual(self.post("billing/bill/8", body, {"Idempotency-Key": "k1"}).status, 200)
        self.assertEqual(self.it.head(), 2)
        # remembered over a restart
        self.it.stop()
        self.it = self.hub()
        self.assertEqual(self.post("billing/bill/7", body, {"Idempotency-Key": "k1"}).json, first.json)
        self.assertEqual(self.post("billing/bill/7", body, {"Idempotency-Key": "k2"}).json, refused.json)

    def test_versions(self):
        self.it.send("billing/bill/7", "CreateBill", BILL)
        self.it.send("billing/bill/7", "AddServicesToBill", {"services": 1}, headers={"If-Match": '"1"'})
        for version in ('"1"', '"0"', '"9"'):
            answer = self.post("billing/bill/7", {"type": "CloseBill", "data": {"close_date": "2026-02-01"}}, {"If-Match": version})
            self.assertEqual((answer.status, answer.json["code"], answer.json["version"]), (409, "conflict", 2))
        answer = self.post("billing/bill/7", {"type": "CloseBill", "data": {"close_date": "2026-02-01"}}, {"If-Match": '"1"'})
        self.assertEqual([event["version"] for event in answer.json["events"]], [2])
        # the services of two callers do not disturb each other (bill.conflicts)
        self.assertEqual(self.it.send("billing/bill/7", "AddServicesToBill", {"services": 1}, headers={"If-Match": '"1"'})["version"], 3)
        answer = self.post("billing/bill/7", {"type": "AddServicesToBill", "data": {"services": 1}}, {"If-Match": "nonsense"})
        self.assertEqual((answer.status, answer.json["code"]), (400, "malformed"))

    def test_merging(self):
        """Who has not seen all of the stream: the aggregate says which events exclude each other."""
        self.it.stop()
        self.write("shop/contracts.lua", "contracts [[\nPut? (what: string)\nAdded! (what: string)\nTake?\nTaken! (what: string)\nSeal?\nSealed!\n]]")
        self.write("shop/box.lua", """local box = aggregate "box" { initial = { things = {} } }
function box.apply.Added(state, e) state.things[e.what] = true end
function box.apply.Sealed(state) state.sealed = true end
function box.execute.Put(state, c)
  if state.sealed then reject("sealed", "it is sealed") end
  return Added { what = c.what }
end
function box.execute.Take(state) for what in pairs(state.things) do emit(Taken { what = what }) end end
function box.execute.Seal() return Sealed {} end
function box.conflicts(mine, theirs)
  if mine.type == "Taken" or theirs.type == "Taken" then return true end
  return mine.type == "Added" and theirs.type == "Added" and mine.data.what == theirs.data.what
end
""")
        self.it = self.hub()
        put = lambda what, version, **more: self.post("shop/box/1", {"type": "Put", "data": {"what": what}}, {"If-Match": f'"{version}"'} | more)
        self.it.send("shop/box/1", "Put", {"what": "a"})
        self.it.send("shop/box/1", "Put", {"what": "b"})
        # nothing unseen excludes it: it comes behind the others
        merged = put("c", 1, **{"Idempotency-Key": "k1"})
        self.assertEqual((merged.status, merged.json["version"], merged.headers["ETag"]), (200, 3, '"3"'))
        self.assertEqual([(event["version"], event["data"]) for event in merged.json["events"]], [(3, {"what": "c"})])
        # the id counts before the version, again and with another version
        self.assertEqual(put("c", 1, **{"Idempotency-Key": "k1"}).json, merged.json)
        self.assertEqual(put("c", 3, **{"Idempotency-Key": "k1"}).json, merged.json)
        # one does: nothing happened, and the caller sees all that it had not seen
        refused = put("b", 1, **{"Idempotency-Key": "k2"})
        self.assertEqual((refused.status, refused.json["code"], refused.json["version"]), (409, "conflict", 3))
        self.assertEqual([event["version"] for event in refused.json["events"]], [2, 3])
        self.assertIn("Added there excludes Added", refused.json["detail"])
        # a conflict is not remembered: with what is known now it is decided
        self.assertEqual(put("b", 3, **{"Idempotency-Key": "k2"}).json["version"], 4)
        self.assertEqual(put("d", 9).json["events"], [], "ahead of the stream there is nothing to see")
        # a batch is merged as a whole or not at all
        batch = [{"type": "Put", "data": {"what": "e"}}, {"type": "Take"}]
        self.assertEqual(self.post("shop/box/1", batch, {"If-Match": '"3"'}).status, 409)
        self.assertEqual(self.it.get("/v1/main/shop/box/1")["version"], 4)
        # what the domain refuses because of the unseen is no final no
        self.it.send("shop/box/1", "Seal")
        refused = put("f", 4, **{"Idempotency-Key": "k3"})
        self.assertEqual((refused.status, [event["type"] for event in refused.json["events"]]), (409, ["Sealed"]))
        self.assertIn("it is sealed", refused.json["detail"])
        self.assertEqual(put("f", 5, **{"Idempotency-Key": "k3"}).status, 422)
        # without a version nobody is asked
        self.assertEqual(len(self.it.send("shop/box/1", "Take")["events"]), 3)

    def test_batches_are_one_transaction(self):
        batch = [{"type": "CreateBill", "data": BILL}, {"type": "AddServicesToBill", "data": {"services": 2}},
                 {"type": "CloseBill", "data": {"close_date": "2026-02-01"}}]
        answer = self.post("billing/bill/7", batch, {"Idempotency-Key": "b1"})
        self.assertEqual([event["type"] for event in answer.json["events"]],
                         ["BillCreated", "ServicesAddedToBill", "ServicesAddedToBill", "BillClosed"])
        self.assertEqual(answer.json["version"], 4)
        self.assertEqual(self.post("billing/bill/7", batch, {"Idempotency-Key": "b1"}).json, answer.json)
        refused = self.post("billing/bill/7", [{"type": "ReopenBill"}, {"type": "AddServicesToBill", "data": {"services": 2}}, {"type": "ReopenBill"}])
        self.assertEqual((refused.status, refused.json["reason"]), (422, "open"))
        self.assertEqual(self.it.get("/v1/main/billing/bill/7")["version"], 4, "nothing of the batch is there")
        self.assertEqual(self.post("billing/bill/7", []).status, 400)
        self.assertEqual(self.post("billing/bill/9", [{"type": "CreateBill", "data": BILL}] * 1001).status, 413)

    def test_bad_requests(self):
        cases = [("billing/bill/7", b"{", 400, "malformed"), ("billing/bill/7", b'{"type":"CreateBill","type":"x"}', 400, "malformed"),
                 ("billing/bill/7", b'{"type":"CreateBill","dat":{}}', 400, "malformed"), ("billing/bill/7", b"7", 400, "malformed"),
                 ("billing/bill/7", b'{"type":"CreateBill","data":{"customer":"a","start_date":"2026-01-01","x":1}}', 400, "contract"),
                 ("billing/bill/7", b'{"type":"Nothing","data":{}}', 400, "unknown_command"),
                 ("billing/bill/7", b'{"type":"closeBill","data":{}}', 400, "unknown_command"),
                 ("billing/nothing/7", b'{"type":"CreateBill"}', 404, "not_found"), ("nothing/bill/7", b'{"type":"CreateBill"}', 404, "not_found"),
                 ("billing/bill/a%2Fb", b'{"type":"CreateBill"}', 400, "malformed"), ("billing/bill/%ff", b'{"type":"CreateBill"}', 400, "malformed"),
                 ("billing/bill/" + "x" * 201, b'{"type":"CreateBill"}', 400, "malformed")]
        for stream, body, status, code in cases:
            answer = self.post(stream, body, {"Content-Type": "application/json"})
            self.assertEqual((answer.status, answer.json["code"], answer.headers["Content-Type"]), (status, code, "application/problem+json"), (stream, body, answer.text))
        self.assertEqual(self.it.request("POST", "/v1/nobody/billing/bill/7", {"type": "CreateBill"}).json["code"], "not_found")
        self.assertEqual(self.it.request("DELETE", "/v1/main/billing/bill/7").status, 405)
        self.assertEqual(self.it.get("/v1/main/billing/bill/never", status=404)["code"], "not_found")
        self.assertEqual(self.it.head(), 0, "a 400 costs nothing")

    def test_accepted_without_an_event_and_the_past(self):
        self.it.send("billing/bill/7", "CreateBill", BILL)
        for n in range(1, 6):
            self.it.send("billing/bill/7", "AddServicesToBill", {"services": n})
        self.assertEqual(self.it.get("/v1/main/billing/bill/7?version=3")["state"]["services"], 3)
        self.assertEqual(self.it.get("/v1/main/billing/bill/7?version=3")["version"], 3)
        self.assertEqual(self.it.get("/v1/main/billing/bill/7/events?from=5&limit=1")["events"][0]["version"], 5)
        events = self.it.get("/v1/main/events")["events"]
        self.assertEqual(self.it.get(f"/v1/main/billing/bill/7?at={events[2]['time']}")["version"] >= 3, True)

    def test_filters_and_paging(self):
        for n in range(30):
            self.it.send(f"billing/bill/{n % 3}", *(("CreateBill", BILL) if n < 3 else ("AddServicesToBill", {"services": n})))
        page = self.it.get("/v1/main/events?limit=10")
        self.assertEqual([event["position"] for event in page["events"]], list(range(1, 11)))
        page = self.it.get(f"/v1/main/events?limit=10&from={page['next']}")
        self.assertEqual([event["position"] for event in page["events"]], list(range(11, 21)))
        self.assertEqual(len(self.it.get("/v1/main/events?type=BillCreated")["events"]), 3)
        self.assertEqual(len(self.it.get("/v1/main/events?subject=bill/1")["events"]), 10)
        self.assertEqual(len(self.it.get("/v1/main/events?context=fines")["events"]), 0)
        text = self.it.request("GET", "/v1/main/events?from=5", None, {"Accept": "application/x-ndjson"}).text
        self.assertEqual([event["position"] for event in lines(text)], list(range(5, 31)))

    def test_views(self):
        for n in range(25):
            last = self.it.send(f"billing/invoice/i{n:02}", "IssueInvoice", {"customer": f"c{n % 2}", "due_on": f"2026-02-{n + 1:02}",
                                "lines": [{"text": "x", "quantity": 1, "price": "1.00"}]})
        view = "/v1/main/views/billing/outstanding_invoices"
        page = self.it.get(f"{view}?wait={last['position']}&limit=10")
        self.assertEqual([document["key"] for document in page["documents"]], [f"i{n:02}" for n in range(10)])
        self.assertGreaterEqual(page["position"], last["position"])
        keys = []
        while True:
            keys += [document["key"] for document in page["documents"]]
            if "cursor" not in page:
                break
            page = self.it.get(f"{view}?limit=10&cursor={page['cursor']}")
        self.assertEqual(keys, [f"i{n:02}" for n in range(25)])
        found = self.it.get(f"{view}?index=due_on&min=2026-02-05&max=2026-02-08T00:00:00.000Z")["documents"]
        self.assertEqual([document["key"] for document in found], ["i04", "i05", "i06", "i07"])
        self.assertEqual(len(self.it.get(f"{view}?index=customer&min=c1&max=c1")["documents"]), 12)
        one = self.it.get(f"{view}/i03")
        self.assertEqual((one["key"], one["document"]["total"]), ("i03", "1.00"))
        self.assertEqual(self.it.get(f"{view}/none", status=404)["code"], "not_found")
        self.assertEqual(self.it.get(f"{view}?index=nothing", status=404)["code"], "not_found")
        self.assertEqual(self.it.get("/v1/main/views/billing/nothing", status=404)["code"], "not_found")
        lagging = self.it.request("GET", f"{view}?wait=1000000&timeout=0")
        self.assertEqual((lagging.status, lagging.json["code"]), (503, "lagging"))
        self.assertIn("Retry-After", lagging.headers)

    def test_reading_your_own_writes(self):
        client = self.it.client()
        for n in range(200):
            position = client.request("POST", f"/v1/main/billing/bill/{n}", {"type": "CreateBill", "data": BILL}).json["position"]
            answer = client.request("GET", f"/v1/main/views/billing/open_bills/{n}?wait={position}")
            self.assertEqual(answer.status, 200, answer.text)
        client.close()

    def test_tail_resumes_by_last_event_id(self):
        self.it.send("billing/bill/0", "CreateBill", BILL)
        tail = self.it.tail()
        seen = [tail.next()]
        stop = threading.Event()

        def write():
            client = self.it.client()
            n = 0
            while not stop.is_set():
                n += 1
                client.request("POST", "/v1/main/billing/bill/0", {"type": "AddServicesToBill", "data": {"services": n}})
            client.close()
        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(10):
            seen += tail.take(20)
            tail.close()
            tail = self.it.tail(headers={"Last-Event-ID": seen[-1][0]})
        stop.set()
        writer.join()
        tail.close()
        self.assertEqual([event["position"] for _, event in seen], list(range(1, len(seen) + 1)))
        self.assertEqual([id for id, _ in seen], [event["id"] for _, event in seen])
        filtered = self.it.tail("/v1/main/events?type=BillCreated&from=1")
        self.it.send("billing/bill/new", "CreateBill", BILL)
        self.assertEqual([event["subject"] for _, event in filtered.take(2)], ["bill/0", "bill/new"])
        filtered.close()

    def test_concurrent_commands_to_one_stream(self):
        self.it.send("billing/bill/7", "CreateBill", BILL)

        def work():
            client = self.it.client()
            for _ in range(50):
                answer = client.request("POST", "/v1/main/billing/bill/7", {"type": "AddServicesToBill", "data": {"services": 1}})
                assert answer.status == 200, answer.text
            client.close()
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answer = self.it.get("/v1/main/billing/bill/7")
        self.assertEqual((answer["version"], answer["state"]["services"]), (401, 400))

    def test_the_same_command_twice_at_once(self):
        results = []

        def work():
            results.append(self.post("billing/bill/7", {"type": "CreateBill", "data": BILL}, {"Idempotency-Key": "same"}))
        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({answer.status for answer in results}, {200})
        self.assertEqual(len({answer.text for answer in results}), 1)
        self.assertEqual(self.it.head(), 1)

    def test_operations(self):
        self.assertEqual(self.it.request("GET", "/healthz").status, 200)
        self.assertEqual(self.it.request("GET", "/readyz").status, 200)
        self.it.send("billing/bill/7", "CreateBill", BILL)
        self.assertRegex(self.it.request("GET", "/metrics").text, r"(?m)^# TYPE lore_\w+ ")
        kinds = {line["kind"] for line in self.it.status()}
        self.assertTrue({"hub", "projection"} <= kinds, kinds)

    def test_graceful_stop(self):
        """SIGTERM: what was taken is answered, the hub ends with 0, and nothing answered is missing."""
        answered, ready = [], threading.Barrier(9)

        def work(number):
            client = self.it.client()
            try:
                for n in range(100000):
                    answer = client.request("POST", f"/v1/main/billing/bill/{number}-{n}", {"type": "CreateBill", "data": BILL})
                    if answer.status != 200:
                        break
                    answered.append(answer.json["position"])
                    if n == 5:
                        ready.wait()
            except (OSError, __import__("http").client.HTTPException):
                pass
            client.close()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        ready.wait()
        self.it.stop(expect=0)
        for thread in threads:
            thread.join()
        positions = [event["position"] for event in lines(lore("export", "--data", self.data, "--scripts", self.scripts, check=0).stdout)]
        self.assertEqual(positions, list(range(1, len(positions) + 1)))
        self.assertTrue(set(answered) <= set(positions))

    def test_the_command_line_beside_a_running_hub(self):
        base = ["--data", self.data, "--scripts", self.scripts]
        done = lore("send", "billing/bill/7", "CreateBill", json.dumps(BILL), "--json", *base, check=0)
        self.assertEqual(json.loads(done.stdout)["version"], 1)
        done = lore("send", "billing/bill/7", "CreateBill", json.dumps(BILL), *base, check=1)
        self.assertIn("was opened on", done.stderr)
        self.assertEqual(json.loads(lore("state", "billing/bill/7", "--json", *base, check=0).stdout)["version"], 1)
        self.assertEqual(len(lines(lore("events", "--json", *base, check=0).stdout)), 1)
        self.it.view("open_bills")
        self.assertEqual(lines(lore("view", "open_bills", "7", "--json", *base, check=0).stdout)[0]["key"], "7")
        self.assertIn("projection", {line["kind"] for line in lines(lore("status", "--json", *base, check=0).stdout)})
        lore("verify", "--data", self.data, check=0)
        url = f"http://127.0.0.1:{self.it.port}"
        self.assertEqual(len(lines(lore("export", "--to", url, check=0).stdout)), 1)


if __name__ == "__main__":
    main()

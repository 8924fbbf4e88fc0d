"""POST /v1/{tenant}/commands: many commands in, one result a line out, in the same order."""
import json, re, socket, subprocess, threading, unittest

from hub import LORE, SMALL, TIMEOUT, Case, lines, main

BILL = {"customer": "acme", "start_date": "2026-01-01"}
PATH = "/v1/main/commands"


def line(stream, type, data=None, **more):
    return json.dumps({"stream": stream, "type": type, "data": data or {}, **more})


def create(bill, **more):
    return line(f"billing/bill/{bill}", "CreateBill", BILL, **more)


def services(bill, count=1, **more):
    return line(f"billing/bill/{bill}", "AddServicesToBill", {"services": count}, **more)


class Bulk(Case):
    def setUp(self):
        super().setUp()
        self.copy_scripts("billing")
        self.it = self.hub()

    def bulk(self, body, status=200, path=PATH, headers=None):
        if not isinstance(body, (bytes, str)):
            body = "\n".join(body) + "\n"
        answer = self.it.request("POST", path, body, {"Content-Type": "application/x-ndjson"} | (headers or {}))
        self.assertEqual(answer.status, status, answer.text[:500])
        if status != 200:
            return answer.json
        self.assertEqual(answer.headers["Content-Type"], "application/x-ndjson")
        return lines(answer.text)

    def test_each_line_has_its_answer(self):
        sent = [create("7", id="k1"), "{", create("7", id="k1"), '{"stream":"billing/bill/8"}', services("7", version=1), services("7", version=9),
                line("billing/nothing/1", "CreateBill"), create("7"), line("billing/bill/9", "CreateBill", {"customer": 7}), "[]", "7",
                line("bill", "CreateBill"), line("billing/bill/7", "NoSuch"), create("8", version=0), create("8", version=0), create("7", x=1),
                create("9", version=-1), create("9", version="1"), services("7", id="k1"), line("billing/bill/" + "x" * 201, "CreateBill"), services("7")]
        results = self.bulk(sent)
        self.assertEqual([result.get("version") if "code" not in result else result["code"] for result in results],
                         [1, "malformed", 1, "malformed", 2, "conflict", "not_found", "rejected", "contract", "malformed", "malformed", "malformed",
                          "unknown_command", 1, "conflict", "malformed", "malformed", "malformed", "id_reused", "malformed", 3])
        self.assertEqual(results[2], results[0], "the same id is the same command")
        self.assertEqual(results[0]["events"], self.it.get("/v1/main/events?limit=1")["events"])
        self.assertEqual([event["version"] for event in results[14]["events"]], [1])
        self.assertEqual(results[7]["status"], 422)
        # each is what the command alone would have been told
        for sent_line, result in zip(sent, results):
            if "code" not in result or result["code"] in ("malformed", "conflict"):
                continue
            command = json.loads(sent_line)
            alone = self.it.request("POST", "/v1/main/" + command.pop("stream"), command).json
            self.assertEqual(alone, result)
        self.assertEqual(self.it.get("/v1/main/billing/bill/7")["version"], 3)

    @unittest.skipIf(SMALL, "skip: the cache drops by parts of what many commands left in it")
    def test_known_commands_do_not_fill_the_cache(self):
        """Streams that were only looked up are dropped like others."""
        count = 60000
        self.write("hub.lua", "return { limits = { cache_memory = 1000000 } }\n")
        self.it.stop()
        self.it = self.hub()
        body = "\n".join(create(f"b{n}", id=f"k{n}") for n in range(count))
        first = self.bulk(body)
        self.it.stop()
        self.it = self.hub()
        self.assertEqual(self.bulk(body), first)
        cached = sum(int(n) for n in re.findall(r"^lore_shard_streams\{.*?\} (\d+)$", self.it.request("GET", "/metrics").text, re.M))
        self.assertTrue(0 < cached < count * 2 // 3, cached)

    def test_the_body(self):
        for body in ("", "\n", "\r\n \n"):
            results = self.bulk(body, 400 if not body else 200)
            self.assertEqual([result["code"] for result in results] if body else results["code"], ["malformed"] * body.count(" ") if body else "malformed")
        self.assertEqual([result["version"] for result in self.bulk(create("1") + "\r\n\n\n" + services("1"))], [1, 2], "no newline at the end")
        self.assertEqual(self.bulk(b"\n" * 100001, 413)["code"], "too_large")
        self.assertEqual(self.bulk(create("2"), 400, headers={"Idempotency-Key": "k"})["code"], "malformed")
        self.assertEqual(self.bulk(create("2"), 400, headers={"If-Match": '"0"'})["code"], "malformed")
        self.assertEqual(self.bulk(create("2"), 400, path=PATH + "?x=1")["code"], "malformed")
        self.assertEqual(self.bulk(create("2"), 404, path="/v1/nobody/commands")["code"], "not_found")
        self.assertEqual(self.it.request("POST", PATH, create("2"), {"Content-Type": "text/html"}).status, 415)
        event = self.bulk(create("2"), headers={"Correlation-Id": "c1", "Causation-Id": "c2"})[0]["events"][0]
        self.assertEqual((event["correlationid"], event["causationid"]), ("c1", "c2"))
        large = self.bulk([create("3", note="x"), line("billing/bill/3", "CreateBill", {"customer": "x" * 1100000, "start_date": "2026-01-01"}), create("3")])
        self.assertEqual([result.get("code") for result in large], ["malformed", "too_large", None])

    def test_streams_keep_the_order_of_lines(self):
        count = 2000 if SMALL else 20000
        body = [create(f"s{n}") for n in range(10)] + [services(f"s{n % 10}", n) for n in range(10, count)]
        versions = {}
        for sent, result in zip(body, self.bulk(body)):
            stream = json.loads(sent)["stream"]
            versions[stream] = versions.get(stream, 0) + 1
            self.assertEqual(result["version"], versions[stream])
        self.assertEqual(self.it.head(), count)

    def test_full_queues(self):
        """A body waits for its own commands when a shard's queue is full, instead of refusing its lines."""
        self.it.stop()
        self.write("hub.lua", "return { limits = { queue_commands = 4 } }\n")
        self.it = self.hub()
        body = [create(f"s{n}") for n in range(500)]
        self.assertEqual({result.get("version") for result in self.bulk(body)}, {1})
        self.assertEqual([result["position"] for result in self.bulk([create(f"t{n}") for n in range(500)], path=PATH + "?ordered=true")],
                         list(range(501, 1001)))

    def test_ordered(self):
        """Facts and commands with their time, as imports send them: log order is the order of lines, over streams and bodies."""
        bodies, count = [], 300 if SMALL else 3000
        for at in range(3):
            bodies.append([json.dumps({"stream": f"billing/bill/{at}-{n}", "event": "BillCreated", "data": BILL, "at": "2020-02-03T00:00:00Z", "id": f"{at}-{n}"})
                           if n % 3 else create(f"{at}-{n}", at="2019-01-01T00:00:00Z", id=f"{at}-{n}") for n in range(count)])
        results = {}
        threads = [threading.Thread(target=lambda at=at: results.update({at: self.bulk(bodies[at], path=PATH + "?ordered=true")})) for at in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for at in range(3):
            positions = [result["position"] for result in results[at]]
            self.assertEqual(positions, list(range(positions[0], positions[0] + count)))
        events = lines(self.it.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).text)
        self.assertEqual({(event["type"], event["time"][:4], "commandid" in event) for event in events},
                         {("BillCreated", "2020", True), ("BillCreated", "2019", True)})
        self.assertEqual(self.bulk(bodies[0]), results[0], "sent again it takes no second effect")
        self.assertEqual(self.bulk(['{"stream":"billing/bill/1","event":"BillCreated","type":"CreateBill","data":{}}',
                                    '{"stream":"billing/bill/1","event":"CreateBill"}', '{"stream":"billing/bill/1","type":"CreateBill","at":"soon"}'],
                                   path=PATH + "?ordered=true")[1]["code"], "contract")
        self.assertEqual(self.bulk(create("2"), 400, path=PATH + "?ordered=1")["code"], "malformed")

    def begin(self, body, path=PATH):
        wire = socket.create_connection(("127.0.0.1", self.it.port), TIMEOUT)
        wire.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)) + body)
        return wire

    def test_too_many_bodies(self):
        """Ordered ones wait for the one at work, whose client does not read; all have a bound."""
        ordered = PATH + "?ordered=true"
        wires = [self.begin("\n".join(create(f"first-{n}") for n in range(20000)).encode(), ordered)]
        wires[0].recv(1)
        wires += [self.begin(create(f"then-{n}").encode(), ordered) for n in range(15)]
        for _ in range(10000):  # until the hub has taken all of the others
            answer = self.it.request("POST", PATH, create("late"))
            if answer.status != 200:
                break
        self.assertEqual((answer.status, answer.json["code"], answer.headers["Retry-After"]), (503, "unavailable", "1"))
        gone = wires.pop()
        gone.close()
        wires.pop(0).close()
        for wire in wires:
            self.assertIn(b"200 OK", wire.recv(100))
            wire.close()
        self.assertEqual(self.bulk(create("late-as-well"))[0]["version"], 1)

    def test_clients_that_leave(self):
        """What was submitted happens: of each stream the first so many lines, none twice, none left out."""
        count, streams = 500 if SMALL else 20000, 7
        for at in range(3):
            body = "\n".join([create(f"{at}-{n}") for n in range(streams)] + [services(f"{at}-{n % streams}", n + 1) for n in range(count)]).encode()
            wire = self.begin(body)
            wire.recv(1)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
            wire.close()
        # one of the same streams comes behind all of them
        for at in range(3):
            for n in range(streams):
                self.it.send(f"billing/bill/{at}-{n}", "AddServicesToBill", {"services": 1000000})
                events = self.it.get(f"/v1/main/billing/bill/{at}-{n}/events?limit=100000")["events"]
                added = [event["data"]["services"] for event in events if event["type"] == "ServicesAddedToBill"]
                self.assertEqual(added, list(range(n + 1, count + 1, streams))[:len(added) - 1] + [1000000])
        self.it.stop()

    def test_a_reader_that_takes_its_time(self):
        count = 1000 if SMALL else 9000
        body = "\n".join(create(f"r{n}") for n in range(count)).encode()
        wires = [self.begin(body.replace(b"/r", b"/r%d-" % at)) for at in range(3)]
        self.assertEqual(self.it.send("billing/bill/x", "CreateBill", BILL)["version"], 1, "others are served")
        for wire in wires:
            with wire, wire.makefile("rb") as file:
                while file.readline().strip():
                    pass  # the head
                text = b""
                while size := int(file.readline(), 16):
                    text += file.read(size)
                    file.readline()
                results = lines(text.decode())
                self.assertEqual((len(results), {result["version"] for result in results}), (count, {1}))
        self.assertEqual(self.it.head(), 3 * count + 1)

    def test_stopped_and_killed(self):
        """Every line of a hub that stops is answered; who was answered 200 is there after a kill, and sending again doubles nothing."""
        count = 2000 if SMALL else 20000
        body = [create(f"b{n}", id=f"k{n}") for n in range(count)]
        for kills in (False, True):
            wire = self.begin("\n".join(body).encode())
            first = wire.recv(1)
            self.it.kill() if kills else threading.Thread(target=self.it.stop).start()
            heard = first
            try:
                while piece := wire.recv(1 << 20):
                    heard += piece
            except ConnectionResetError:
                pass
            wire.close()
            results = [json.loads(text) for text in re.findall(rb"^\{.*\}$", heard, re.M)]
            if not kills:
                self.assertEqual(len(results), count, heard[-300:])
                self.assertLessEqual({result.get("code") for result in results}, {None, "unavailable"})
                self.it.process.wait(TIMEOUT)
            self.it = self.hub()
            for n, result in enumerate(results):
                if "code" not in result:
                    self.assertEqual(self.it.get(f"/v1/main/billing/bill/b{n}")["position"], result["position"]) if n % 500 == 0 else None
            answered = sum("code" not in result for result in results)
            self.assertGreaterEqual(self.it.head(), answered)
        again = self.bulk(body)
        self.assertEqual({result["version"] for result in again}, {1})
        self.assertEqual(self.it.head(), count)

    def test_send_lines(self):
        """lore send -: a line at a time for who waits for its answer; and over a kill, nothing lost and nothing doubled."""
        place = ("--scripts", self.scripts, "--data", self.data, "--json")
        with subprocess.Popen([LORE, "send", "-", *place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as sending:
            for n in range(3):
                sending.stdin.write(create(f"one-{n}") + "\n")
                self.assertEqual(json.loads(sending.stdout.readline())["position"], n + 1)
            sending.stdin.close()
            self.assertEqual(sending.wait(TIMEOUT), 0)
        count = 2000 if SMALL else 20000
        body = [create(f"s{n}") for n in range(50)] + [services(f"s{n % 50}", n) for n in range(50, count)]
        with subprocess.Popen([LORE, "send", "-", *place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sending:
            answers = []
            reading = threading.Thread(target=lambda: answers.extend(map(json.loads, sending.stdout)))
            reading.start()
            sending.stdin.write("\n".join(body[:count // 2]) + "\n")
            sending.stdin.flush()
            tail = self.it.tail(f"/v1/main/events?from={count // 4}")
            tail.next()
            tail.close()
            self.it.kill()
            self.it = self.hub()
            sending.stdin.write("\n".join(body[count // 2:]))
            sending.stdin.close()
            self.assertEqual(sending.wait(TIMEOUT), 0)
            reading.join()
        self.assertEqual(self.it.head(), count + 3)
        self.assertEqual([answer["events"][0]["subject"] for answer in answers], ["bill/" + json.loads(line)["stream"].split("/")[2] for line in body])
        self.assertEqual([answer["version"] for answer in answers], [n // 50 + 1 for n in range(count)], "those of one stream keep their order")


main()

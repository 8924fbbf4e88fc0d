"""Ten times what a bounded queue takes: what is too much is refused at the door with Retry-After, memory stays bounded, everything
that was refused is taken when it is sent again, and nothing is lost or doubled."""
import json, re, socket

from hub import SMALL, TIMEOUT, Case, main

CONTRACTS = "contracts [[\n  Work? (n: integer)\n  Worked! (n: integer)\n]]\n"
SLOW = """local slow = aggregate "slow" { initial = { n = 0 } }
function slow.apply.Worked(s, e) s.n = s.n + e.n end
function slow.execute.Work(s, c)
  for i = 1, %d do local x = i * 2 end
  return Worked { n = c.n }
end
"""


class Overload(Case):
    def memory(self, hub):
        with open(f"/proc/{hub.process.pid}/status") as file:
            return int(re.search(r"RssAnon:\s+(\d+) kB", file.read())[1]) / 1024

    def start(self, steps=1, **limits):
        self.write("load/contracts.lua", CONTRACTS)
        self.write("load/slow.lua", SLOW % steps)
        self.write("hub.lua", "return { limits = { %s } }\n" % ", ".join(f"{name} = {value}" for name, value in limits.items()))
        hub = self.hub()
        self.first = self.memory(hub)
        return hub

    def connect(self, hub, count):
        wires = [socket.create_connection(("127.0.0.1", hub.port), TIMEOUT) for _ in range(count)]
        for wire in wires:
            self.addCleanup(wire.close)
        return wires

    def say(self, wire, number, size=0):
        body = json.dumps({"type": "Work", "id": f"c{number}", "data": {"n": 1}}).encode() + b" " * size
        wire.sendall(b"POST /v1/main/load/slow/s%d HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % (number % 16, len(body)) + body)

    def hear(self, wire):
        """One answer: its status, and whether it says when to come again."""
        head = b""
        while b"\r\n\r\n" not in head:
            piece = wire.recv(65536)
            self.assertTrue(piece, "the hub cut a good request")
            head += piece
        head, body = head.split(b"\r\n\r\n", 1)
        size = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        while len(body) < size:
            body += wire.recv(65536)
        return int(head.split()[1]), bool(re.search(rb"(?i)retry-after: \d", head))

    def total(self, hub):
        return sum(hub.get(f"/v1/main/load/slow/s{n}")["state"]["n"] for n in range(16))

    def test_commands(self):
        """The queue of a shard: a thousand commands at once that take a millisecond each, where 32 may wait."""
        hub, count = self.start(100000, queue_commands=32), 640
        wires, left, refused = self.connect(hub, count), list(range(count)), 0
        while left:
            for number in left:
                self.say(wires[number], number)
            again = []
            for number in left:
                status, has_retry = self.hear(wires[number])
                self.assertIn(status, (200, 429))
                if status == 429:
                    self.assertTrue(has_retry)
                    again.append(number)
            refused += len(again)
            self.assertLess(len(again), len(left))
            left = again
        self.assertGreater(refused, 0, "nothing was refused: the queue was never full")
        self.assertEqual(self.total(hub), count)
        peak = self.memory(hub)
        if not SMALL:
            self.assertLess(peak, self.first + 64)
        print(f"{refused} refusals for {count} commands; RssAnon {self.first:.0f} MB before, {peak:.0f} MB after", flush=True)
        hub.stop()

    def test_connections(self):
        limit = 40
        hub = self.start(connections=limit)
        for _ in range(2):  # and after the crowd has gone, the same again
            good = busy = 0
            wires = self.connect(hub, 10 * limit)
            for number, wire in enumerate(wires):
                try:
                    self.say(wire, number)
                    status, has_retry = self.hear(wire)
                except (ConnectionResetError, BrokenPipeError):  # refused before its request was read
                    status, has_retry = 503, True
                self.assertIn(status, (200, 503))
                self.assertTrue(status == 200 or has_retry)
                good += status == 200
                busy += status == 503
            self.assertEqual((good, busy), (limit, 9 * limit))
            for wire in wires:
                wire.close()
            for number in range(limit):
                while True:  # until the hub has noticed that they went
                    wire = self.connect(hub, 1)[0]
                    try:
                        self.say(wire, number)
                        if self.hear(wire)[0] == 200:
                            break
                    except (ConnectionResetError, BrokenPipeError):
                        pass
                    finally:
                        wire.close()
        self.assertEqual(self.total(hub), limit)
        hub.stop()

    def test_bodies(self):
        """All bodies together: 40 of 40 MB each at once, where four of 64 MB may be in memory."""
        if SMALL:
            self.skipTest("skip: sanitizers take too much memory themselves")
        hub, size, count = self.start(), 40 << 20, 40
        wires, peak, blanks = self.connect(hub, count), 0, b" " * (1 << 20)
        heads = [b"POST /v1/main/load/slow/s%d HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % (n, size) for n in range(count)]
        for wire, head in zip(wires, heads):
            wire.sendall(head)
        cut = set()
        for piece in range((size >> 20) - 1):
            for number, wire in enumerate(wires):
                if number in cut:
                    continue
                try:
                    wire.sendall(blanks)
                except (ConnectionResetError, BrokenPipeError):
                    cut.add(number)
            peak = max(peak, self.memory(hub))
        statuses = []
        for number, wire in enumerate(wires):
            if number in cut:
                continue
            body = json.dumps({"type": "Work", "data": {"n": 1}}).encode()
            try:
                wire.sendall(b" " * ((1 << 20) - len(body)) + body)
                statuses.append(self.hear(wire)[0])
            except (ConnectionResetError, BrokenPipeError):
                cut.add(number)
        self.assertLessEqual(set(statuses), {200, 429, 503})
        self.assertGreater(statuses.count(200), 0)
        self.assertLess(statuses.count(200), count)
        self.assertLess(peak, self.first + 4 * 64 + 64)
        for wire in wires:
            wire.close()
        self.assertEqual(hub.send("load/slow/s0", "Work", {"n": 0})["events"][0]["type"], "Worked")
        while self.memory(hub) > self.first + 64:  # it comes back
            hub.get("/v1/main/events?limit=1")
        print(f"RssAnon {self.first:.0f} MB before, {peak:.0f} MB at its peak, {self.memory(hub):.0f} MB after; "
              f"{statuses.count(200)} taken, {count - statuses.count(200)} refused", flush=True)
        hub.stop()


if __name__ == "__main__":
    main()

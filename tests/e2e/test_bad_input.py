"""Bad input to every route and every subcommand. What the routes, their parameters and the subcommands' options are is read from
the router's table, the sources and the help, so that a new one without a case here fails."""
import glob, json, os, re, resource, socket, subprocess

from hub import LORE, ROOT, SMALL, TIMEOUT, Case, lore, main

BILL = {"customer": "acme", "start_date": "2026-01-01"}
ROUTES = {
    "healthz": "/healthz", "readyz": "/readyz", "metrics": "/metrics", "status": "/v1/status", "rebuild": "/v1/status/rebuild/billing/open_bills", "rollback": "/v1/rollback",
    "deploys": "/v1/deploys", "deploy_undo": "/v1/deploys/undo", "deploy": "/v1/deploys/1", "deploy_scripts": "/v1/deploys/1/scripts", "blame": "/v1/main/blame",
    "retry": "/v1/status/retry/courier", "task_run": "/v1/status/run/billing/reminders",
    "events": "/v1/main/events", "view": "/v1/main/views/billing/open_bills", "document": "/v1/main/views/billing/open_bills/7",
    "bulk": "/v1/main/commands", "repl": "/v1/main/repl", "trace": "/v1/main/trace/x", "service": "/v1/main/billing/mail", "stream": "/v1/main/billing/bill/7", "stream_events": "/v1/main/billing/bill/7/events",
}
PARAMETERS = ["from", "until", "limit", "type", "context", "subject", "correlation", "deploy", "version", "at", "wait", "timeout", "index", "min", "max", "cursor", "ordered", "tenant", "below", "event", "view", "stream", "last", "position", "key"]
VALUES = ["", "-1", "0", "x", "1e9", "99999999999999999999999", "1.5", "%00", "%", "%zz", "%ff", "%F0%9F%98%80", "'", "%22", "../..", "null", "a" * 4000,
          "%0d%0aX-Injected:1", "deploy:99999999999", "9999-99-99"]
MALFORMED = [
    b"", b" ", b"{", b"}", b"[", b"]", b"null", b"7", b'"x"', b"true", b"[]", b"[null]", b"[[]]", b"{}", b'{"type":7}', b'{"type":null}', b'{"type":""}',
    b'{"type":"CreateBill","data":[]}', b'{"type":"CreateBill","data":7}', b'{"type":"CreateBill","dat":{}}', b'{"type":"CreateBill","data":{},"data":{}}',
    b'{"type":"CreateBill","data":{"customer":"a","customer":"b","start_date":"2026-01-01"}}', b'{"type":"CreateBill","data":{"customer":"\xff"}}',
    b'{"type":"CreateBill","data":{"customer":"\\ud800","start_date":"2026-01-01"}}', b'{"type":"CreateBill","data":{"customer":7,"start_date":"2026-01-01"}}',
    b'{"type":"CreateBill","data":{"customer":"a","start_date":"yesterday"}}', b'{"type":"CreateBill","data":{"customer":"a","start_date":"2026-01-01","x":1}}',
    b'{"type":"CreateBill","data":{"customer":"a","start_date":"2026-01-01"}} ]', b'{"type":"CreateBill","id":"","data":{}}', b'{"type":"CreateBill","id":"a/b"}',
    b'{"type":"NoSuch","data":{}}', b'{"type":"BillCreated","data":{}}', b'{"type":"Create Bill"}', b'{"type":"' + b"A" * 100000 + b'"}', b'{"data":{}}',
    b"\xef\xbb\xbf{}", b"\x00", b"\xff\xfe{\x00}\x00", b"[" * 100000, b'{"a":' * 100000, b'{"type":"CreateBill","data":' + b'{"a":' * 150 + b"1" + b"}" * 150 + b"}",
    b'{"type":"CreateBill","data":{"n":1e400}}', b'{"type":"CreateBill","data":{"n":9223372036854775808}}', b'{"type":"CreateBill","data":{"n":NaN}}',
    b"type=CreateBill&customer=a", b"<xml/>", b'{"type":"CreateBill",}', b"{'type':'CreateBill'}", b'{"type":"CreateBill"//\n}', b"\x81\xa4type\xa1x",
    b"[" + b",".join([b'{"type":"CreateBill","data":{}}'] * 1001) + b"]",
]
HOST = b"Host: 127.0.0.1\r\n"
POST = b"POST /v1/main/billing/bill/7 HTTP/1.1\r\n" + HOST
GOOD = b'{"type":"CreateBill","data":{"customer":"a","start_date":"2026-01-01"}}'
SECOND = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
# Whole requests that must get one answer that says no, or none, and no second one; then the connection ends.
RAW = [
    POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n" + SECOND, POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND,
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SECOND, POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SECOND, POST + b"Transfer-Encoding: identity\r\n\r\n" + SECOND,
    POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + SECOND, POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SECOND,
    POST + b"Content-Length: +0\r\n\r\n" + SECOND, POST + b"Content-Length: -1\r\n\r\n" + SECOND, POST + b"Content-Length: 0x0\r\n\r\n" + SECOND,
    POST + b"Content-Length: 0, 0\r\n\r\n" + SECOND, POST + b"Content-Length:\r\n\r\n" + SECOND, POST + b"Content-Length: 99999999999999999999\r\n\r\n" + SECOND,
    POST + b"Content-Length : 0\r\n\r\n" + SECOND, POST + b" Content-Length: 0\r\n\r\n" + SECOND,
    POST + b"X: a\rContent-Length: 0\r\n\r\n" + SECOND, POST + b"X\x00: a\r\nContent-Length: 0\r\n\r\n" + SECOND, POST + b": a\r\nContent-Length: 0\r\n\r\n" + SECOND,
    POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SECOND, POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + SECOND,
    POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n" + SECOND, POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}X\r\n0\r\n\r\n" + SECOND,
    b"GET /healthz HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\n" + HOST + HOST + b"\r\n", b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", b"GET /healthz HTTP/1.1\r\n" + HOST + b"Origin: http://evil.example\r\n\r\n",
    b"GET http://evil.example/healthz HTTP/1.1\r\n" + HOST + b"\r\n", b"GET healthz HTTP/1.1\r\n" + HOST + b"\r\n", b"GET  /healthz HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n", b"GET /healthz\r\n\r\n", b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"G\x00T /healthz HTTP/1.1\r\n" + HOST + b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200 + b"\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 40000 + b"\r\n\r\n", b"GET /" + b"a" * 40000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /healthz HTTP/1.1\r\n" + HOST + b"".join(b"H%d: x\r\n" % n for n in range(200)) + b"\r\n", b"A" * 100000 + b"\r\n\r\n",
    POST + b"Content-Length: 200000000\r\nExpect: 100-continue\r\n\r\n", POST + b"Content-Length: 10\r\nExpect: a-miracle\r\n\r\n",
]


def shown(bytes):
    return bytes[:300].decode("latin1").encode("unicode_escape").decode()


class BadInput(Case):
    def setUp(self):
        super().setUp()
        self.copy_scripts("billing")

    def start(self):
        hub = self.hub()
        hub.send("billing/bill/7", "CreateBill", BILL)
        hub.view("open_bills")
        return hub

    def memory(self, hub):
        with open(f"/proc/{hub.process.pid}/status") as file:
            return int(re.search(r"RssAnon:\s+(\d+) kB", file.read())[1]) / 1024

    def check_answer(self, answer, said):
        """Never the hub's own fault; what says no says why, as a problem with a code and words."""
        self.assertLess(answer.status, 500, f"{said}: {answer.text}")
        if answer.status >= 400 and answer.bytes:
            self.assertEqual(answer.headers["Content-Type"], "application/problem+json", said)
            self.assertRegex(answer.json["code"], r"^[a-z_]+$", said)
            self.assertTrue(answer.json["detail"], said)
        self.assertIsNone(answer.headers["X-Injected"], said)

    def raw(self, hub, request):
        """Everything the hub says to these bytes until it ends the connection or the sending side is closed and it is done."""
        with socket.create_connection(("127.0.0.1", hub.port), TIMEOUT) as wire:
            heard = b""
            try:
                wire.sendall(request)
                wire.shutdown(socket.SHUT_WR)
                while True:
                    piece = wire.recv(65536)
                    if not piece:
                        break
                    heard += piece
            except (ConnectionResetError, BrokenPipeError):
                pass
            return heard

    def test_the_tables_are_whole(self):
        with open(os.path.join(ROOT, "core/net/router.c")) as file:
            labels = re.findall(r'\[ROUTE_\w+\] = \{"(\w+)"', file.read())
        self.assertEqual(sorted(ROUTES), sorted(labels))
        names = set()
        for path in glob.glob(os.path.join(ROOT, "core/net/api*.c")):
            with open(path) as file:
                text = file.read()
            names |= set(re.findall(r'query_(?:find|number)\(&call->query, "(\w+)"', text))
            for listed in re.findall(r"(?:names\[\] = |\(const char \*const\[\]\))\{([^}]*)\}", text):
                names |= set(re.findall(r'"(\w+)"', listed))
        self.assertEqual(names - set(PARAMETERS), set())

    def test_paths_methods_and_parameters(self):
        hub = self.start()
        client = hub.client()
        self.addCleanup(client.close)
        tails = ["/", "//", "/x", "/x/y/z", "/..", "/%2e%2e", "/%2F", "/%00", "/%", "/%f", "/%zz", "/%ff", "/%C3%28", "%00", ";x=1", "/" + "a" * 300, "/" + "%41" * 2000,
                 "?", "?&&&", "?=", "?=x", "?unknown=1", "?limit=1&limit=2", "?" + "&".join(f"a{n}=1" for n in range(40)), "?" + "a" * 7000, "?%ff=1", "?a=%00"]
        for label, path in ROUTES.items():
            for tail in tails:
                self.check_answer(client.request("GET", path + tail), f"GET {path + tail}")
            for method in ("PUT", "DELETE", "PATCH", "TRACE", "BREW", "get", "POST", "HEAD", "OPTIONS"):
                answer = client.request(method, path)
                self.check_answer(answer, f"{method} {path}")
                if method not in ("POST", "HEAD", "OPTIONS"):
                    self.assertIn(answer.status, (404, 405, 501), f"{method} {path}: {answer.text}")
            for name in PARAMETERS:
                for value in VALUES:
                    query = f"?{name}={value}" + ("&timeout=1ms" if name == "wait" else "")
                    self.check_answer(client.request("GET", path + query), f"GET {path + query}")
        self.assertEqual(hub.head(), 1)
        hub.stop()

    def test_headers(self):
        hub = self.start()
        client = hub.client()
        self.addCleanup(client.close)
        long, odd = "x" * 5000, "\xff\xfe"
        for name, values in {"If-Match": ["5", '"', '""', '"x"', '"-1"', '"99999999999999999999"', "*", 'W/"1"', long, odd, '"2"'],
                             "Idempotency-Key": ["", '"', "a/b", "x" * 201, odd, "\t"], "Correlation-Id": ["a/b", long, odd], "Causation-Id": ["a/b", long, odd],
                             "Content-Type": ["text/html", "application/", "+json", "application/+json", long, "multipart/form-data; boundary=x"],
                             "Content-Encoding": ["gzip", "br"]}.items():
            for value in values:
                answer = client.request("POST", "/v1/main/billing/bill/7", GOOD, {"Content-Type": "application/json", name: value})
                self.check_answer(answer, f"{name}: {value!r}")
                self.assertGreaterEqual(answer.status, 400, f"{name}: {value!r}")
        for name, values in {"Accept": ["", "text/html", "*/*;q=0", "x" * 5000, ",,,", "application/x-ndjson;q=x"], "Last-Event-ID": ["", "x", "::", "-1:1:1", long],
                             "Range": ["bytes=0-5", "bytes=9-1"], "Cookie": ["a" * 9000]}.items():
            for value in values:
                for path in ROUTES.values():
                    self.check_answer(client.request("GET", path, None, {name: value}), f"GET {path} {name}: {value[:50]}")
        self.assertEqual(hub.head(), 1)
        hub.stop()

    def test_bodies(self):
        hub = self.start()
        client = hub.client()
        self.addCleanup(client.close)
        for path in (ROUTES["stream"], "/v1/main/billing/bill/8", ROUTES["service"], "/v1/main/billing/nothing/1", "/v1/nobody/billing/bill/1", "/v1/main/nowhere/bill/1"):
            for body in MALFORMED:
                answer = client.request("POST", path, body, {"Content-Type": "application/json"})
                said = f"POST {path} {shown(body)}"
                self.check_answer(answer, said)
                self.assertGreaterEqual(answer.status, 400, said)
        # as lines of a bulk body: each gets its own answer and the good ones between them go on
        bodies = [body for body in MALFORMED if body.strip() and b"\n" not in body]
        lines = [line for body in bodies for line in (body, b'{"stream":"billing/bill/7",' + body[1:] if body[:1] == b"{" else body)]
        answer = client.request("POST", ROUTES["bulk"], b"\n".join(lines), {"Content-Type": "application/x-ndjson"})
        results = [json.loads(line) for line in answer.text.splitlines()]
        self.assertEqual((answer.status, len(results)), (200, len([line for line in lines if line])), answer.text[-300:])
        for line, result in zip(lines, results):
            self.assertRegex(result.get("code", "none"), "^(malformed|contract|unknown_command|too_large|rejected)$", shown(line))
        for body in (b"x" * 1000, b"\x00" * 1000, b"{}"):
            for path in ROUTES.values():
                self.check_answer(client.request("POST", path, body), f"POST {path}")
                self.check_answer(client.request("GET", path, body), f"GET {path} with a body")
        self.assertEqual(hub.head(), 1)
        hub.stop()

    def test_requests_that_are_none(self):
        hub = self.start()
        for request in RAW:
            heard = self.raw(hub, request)
            # the library says some of its own refusals twice; the second request would be a 404
            self.assertLessEqual(len(set(re.findall(rb"HTTP/1\.\d (\d+)", heard))), 1, shown(request) + " -> " + shown(heard))
            self.assertNotIn(b"smuggled", heard)
            if heard:
                self.assertRegex(heard, rb"^HTTP/1\.[01] (4\d\d|501|505) ", shown(request) + " -> " + shown(heard))
        # every beginning of a good request
        whole = POST + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD
        for size in range(0, len(whole), 7 if SMALL else 1):
            heard = self.raw(hub, whole[:size])
            self.assertNotRegex(heard, rb"^HTTP/1\.[01] [25]", shown(heard))
        self.assertEqual(hub.head(), 1)
        hub.stop()

    def test_what_is_odd_but_good(self):
        hub = self.start()
        get = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
        self.assertEqual(self.raw(hub, get * 50).count(b"HTTP/1.1 200 "), 50)
        self.assertRegex(self.raw(hub, b"GET /healthz HTTP/1.0\r\n" + HOST + b"\r\n" + get), rb"^HTTP/1\.[01] 200 ")
        self.assertEqual(self.raw(hub, b"\r\n\r\n" + get).count(b" 200 "), 1)
        chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in GOOD) + b"0\r\nTrailer: x\r\n\r\n"
        heard = self.raw(hub, b"POST /v1/main/billing/bill/odd HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + get)
        self.assertEqual(heard.count(b"HTTP/1.1 200 "), 2, shown(heard))
        hub.stop()

    def test_large_bodies(self):
        """100 MB to each route that takes a body, announced and in chunks: 413 or a cut, and no memory for it."""
        hub = self.start()
        before, block = self.memory(hub), b"a" * 65536
        for head in (b"Content-Length: 104857600\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
            for path in ("stream", "rebuild", "service", "bulk"):
                with socket.create_connection(("127.0.0.1", hub.port), TIMEOUT) as wire:
                    wire.sendall(b"POST " + ROUTES[path].encode() + b" HTTP/1.1\r\n" + HOST + head)
                    piece = b"%x\r\n%s\r\n" % (len(block), block) if b"chunked" in head else block
                    try:
                        for _ in range(100 << 4):
                            wire.sendall(piece)
                        if b"chunked" in head:
                            wire.sendall(b"0\r\n\r\n")
                        heard = wire.recv(65536)
                    except (ConnectionResetError, BrokenPipeError):
                        heard = b"cut"
                    self.assertRegex(heard, rb"^(HTTP/1.1 (413|404|405) |cut)", shown(heard))
        if not SMALL:
            self.assertLess(self.memory(hub), before + 80)  # what a body may take, once
        self.assertEqual(hub.send("billing/bill/8", "CreateBill", BILL)["version"], 1)
        hub.stop()

    def test_slow_readers(self):
        """Those who ask for much and do not read cost the hub a piece each, and the others nothing."""
        hub = self.start()
        note = "x" * 900000
        for n in range(4 if SMALL else 40):
            hub.send(f"billing/bill/r{n}", "CreateBill", {"customer": note, "start_date": "2026-01-01"})
        before, wires = self.memory(hub), []
        for n in range(30):
            wire = socket.create_connection(("127.0.0.1", hub.port), TIMEOUT)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.sendall(b"GET /v1/main/%s HTTP/1.1\r\n%sAccept: %s\r\n\r\n" % ((b"events", b"views/open_bills")[n % 2], HOST,
                                                                          (b"application/x-ndjson", b"text/event-stream")[n % 3 == 0 and n % 2 == 0]))
            wire.recv(1)  # it has begun
            wires.append(wire)
        for n in range(200):
            hub.send(f"billing/bill/m{n}", "CreateBill", BILL)
        if not SMALL:
            self.assertLess(self.memory(hub), before + 30 * 2 + 32)
        for wire in wires:
            wire.close()
        hub.stop()

    def test_ten_thousand_idle_connections(self):
        count = 500 if SMALL else 9990  # beside the few of the test; the limit is 10,000
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard != resource.RLIM_INFINITY and hard < count + 200:
            self.skipTest(f"skip: at most {hard} open files are allowed here")
        before_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 200, hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before_limit)
        hub = self.start()
        before, wires = self.memory(hub), []
        for n in range(count):
            wire = socket.create_connection(("127.0.0.1", hub.port), TIMEOUT)
            wires.append(wire)
            if n % 2:
                wire.sendall(b"GET /heal" if n % 4 == 1 else b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            if n % 500 == 0:
                self.assertEqual(hub.send(f"billing/bill/i{n}", "CreateBill", BILL)["version"], 1)
        for n in range(3, count, 4):
            self.assertRegex(wires[n].recv(4096), rb"^HTTP/1.1 200 ")
        peak = self.memory(hub)
        for n in range(100):
            self.assertEqual(hub.send(f"billing/bill/j{n}", "CreateBill", BILL)["version"], 1)
        for wire in wires:
            wire.close()
        if not SMALL:
            self.assertLess(peak, before + count * 0.04)  # 40 KB each
            while self.memory(hub) > before + 20:  # it comes back with the next look at deadlines
                hub.get("/v1/main/events?limit=1")
        print(f"RssAnon: {before:.0f} MB, {peak:.0f} MB with {count} connections, {self.memory(hub):.0f} MB when they went", flush=True)
        hub.stop()


class BadArguments(Case):
    """Every subcommand with every option: values that are none, files that are missing, of another kind, junk."""

    def commands(self):
        return re.findall(r"^  (\w+)  ", lore("--help", check=0).stdout, re.M)

    def options(self, command):
        return re.findall(r"^  --([\w-]+)(?: ([A-Z]\S*))?  ", lore(command, "--help", check=0).stdout, re.M)

    def setUp(self):
        super().setUp()
        self.copy_scripts("billing")
        self.arguments = {
            "new": [os.path.join(self.dir, "fresh")], "serve": [], "check": [], "test": [], "send": ["billing/bill/1", "ReopenBill"],
            "import": [self.file("rows", b'{"a":1}\n'), "--with", os.path.join(self.scripts, "billing/import/x.lua")], "export": [], "events": [],
            "state": ["billing/bill/1"], "view": ["open_bills"], "status": [], "rebuild": ["open_bills"], "retry": ["courier"], "verify": [],
            "digest": [], "task": ["list"], "trace": ["x"], "rollback": ["--to", "0", "--plan"], "backup": ["/dev/full"], "deploys": [], "blame": ["1"], "deploy": ["--plan"], "undeploy": [], "restore": [self.file("junk.lore", b"LORELOG1" * 9)], "fork": [os.path.join(self.dir, "scripts")],
            "repl": ["-e", "nobody.knows()"], "docs": [], "map": [], "openapi": [], "asyncapi": [], "types": [], "bench": ["disc"],  # a work that it does not know: else it would measure for a minute
        }
        self.write("billing/import/x.lua", "return function(row) end\n")

    def file(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def run_badly(self, *args, codes=(1, 2, 3)):
        """It ends by itself with a code of its own and one message that is no crash."""
        done = subprocess.run([LORE, *args], capture_output=True, cwd=self.dir, timeout=TIMEOUT, stdin=subprocess.DEVNULL)
        said = f"lore {' '.join(args)[:300]}: exit {done.returncode}\n{done.stderr.decode(errors='replace')[-1500:]}"
        self.assertIn(done.returncode, codes, said)
        if done.returncode:
            self.assertRegex(done.stdout + done.stderr, rb"\S", said)
        self.assertNotRegex(done.stderr, rb"(?i)assert|check failed|segmentation|core dumped|sanitizer", said)
        return done

    def test_the_table_is_whole(self):
        self.assertEqual(sorted(self.commands()), sorted(self.arguments))

    def test_unknown_and_incomplete(self):
        for command, good in self.arguments.items():
            self.run_badly(command, "--no-such-option", codes=(2,))
            self.run_badly(command, *["x"] * 40, codes=(1, 2, 3))
            for option, value in self.options(command):
                if value:
                    self.run_badly(command, *good, f"--{option}", codes=(2,))
                elif option not in ("help", "json"):
                    self.run_badly(command, f"--{option}=x", codes=(1, 2, 3))
            if command == "serve":
                continue  # --scripts counts more than what stands before it
            self.run_badly(command, "\xff\xfe", "--scripts", self.scripts, "--data", os.path.join(self.dir, "none"), codes=(0, 1, 2, 3) if command == "new" else (1, 2, 3))

    def test_option_values(self):
        data = os.path.join(self.dir, "data")
        lore("send", "billing/bill/1", "CreateBill", json.dumps(BILL), "--scripts", self.scripts, "--data", data, check=0)
        junk = self.file("junk", bytes(range(256)) * 40)
        empty = self.file("empty", b"")
        numbers = ["", "x", "-1", "1e3", "99999999999999999999", "0x10", " 1", "1 "]
        paths = [os.path.join(self.dir, "missing"), junk, empty, "/dev/null", "/proc/self/mem", "/", "x" * 5000, "a\nb"]
        for command, good in self.arguments.items():
            known = dict(self.options(command))
            always = [part for option, path in (("scripts", self.scripts), ("data", data)) if option in known for part in (f"--{option}", path)]
            for option, value in known.items():
                if not value or (command, option) in (("serve", "listen"), ("types", "out")):  # types would write into any folder, / too
                    continue
                for bad in paths if value in ("DIR", "FILE", "SCRIPT") else numbers + ["../..", "\xff", "a" * 5000]:
                    where = [part for n, part in enumerate(always) if always[n - n % 2] != f"--{option}"]
                    arguments = [command, *good, *where, f"--{option}", bad]
                    if command == "serve":  # what is good here would serve for ever
                        arguments += ["--listen", "0.0.0.0:1"]
                    self.run_badly(*arguments, codes=(0, 1, 2, 3))
        for bad in ("", "x", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:-1", "999.0.0.1:1", "[::1", "example.com:80", "0.0.0.0:0"):
            self.run_badly("serve", self.scripts, "--data", data, "--listen", bad)
        lore("verify", "--data", data, check=0)

    def test_files_that_are_none(self):
        """Scripts, data directories and import files of other kinds."""
        junk = bytes(range(256)) * 400
        for name, content in (("junk", junk), ("empty", b""), ("binary", b"\x1bLua" + junk), ("nul", b"local a = 1\0local b\n"), ("huge line", b"x" * (3 << 20)),
                              ("deep", b"return " + b"{" * 100000), ("bom", b"\xef\xbb\xbflocal x =")):
            with open(os.path.join(self.scripts, "billing", "extra.lua"), "wb") as file:
                file.write(content)
            codes = (0,) if name == "empty" else (1,)
            done = self.run_badly("check", self.scripts, codes=codes)
            if codes != (0,):
                self.assertRegex(done.stderr, rb"billing/extra\.lua", name)
        os.remove(os.path.join(self.scripts, "billing", "extra.lua"))
        for name, content in (("junk", junk), ("empty", b""), ("gz", b"\x1f\x8b\x08" + junk), ("nul", b"\0" * 100000), ("long", b"[" * (2 << 20)), ("csv", b'a,b\n"'),
                              ("half", b'{"a":1}\n{"a"')):
            for format in ("ndjson", "csv", None):
                path = self.file("rows.bad", content)
                self.run_badly("import", path, "--with", os.path.join(self.scripts, "billing/import/x.lua"), "--scripts", self.scripts,
                               "--data", os.path.join(self.dir, f"data-{name}-{format}"), *(["--format", format] if format else []), codes=(0, 1, 2, 3))
        for part in ("log/data.mdb", "log/head", "index/data.mdb", "lock"):
            data = os.path.join(self.dir, "damaged-" + part.replace("/", "-"))
            lore("send", "billing/bill/1", "CreateBill", json.dumps(BILL), "--scripts", self.scripts, "--data", data, check=0)
            with open(os.path.join(data, part), "wb") as file:
                file.write(junk)
            for command in ("events", "verify", "status"):
                self.run_badly(command, "--data", data, *([] if command == "verify" else ["--scripts", self.scripts]), codes=(0, 1, 3))


if __name__ == "__main__":
    main()

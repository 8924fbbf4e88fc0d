"""fake_repl.py: a hub's side of /v1/{tenant}/repl that says what a test wants: for what a real hub does rarely.

    hub = FakeHub()
    hub.answers["1+1"] = [{"value": 2}]                  lines; bytes go as they are; a function is called with the answer
    hub.answers["wait"] = lambda answer: answer.until_cancelled()
"""
import http.server, json, socket, sys, threading

from hub import Case


class Answer:
    """The stream of one evaluation."""

    def __init__(self, handler, hub, request):
        self.handler, self.hub, self.request = handler, hub, request

    def line(self, line):
        data = line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass")
        data += b"\n"
        self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.handler.wfile.flush()

    def until_cancelled(self):
        """Works until {"cancel":true} comes; says so as a hub does."""
        self.hub.working.set()
        self.hub.cancelled.wait(60)
        self.hub.cancelled.clear()
        self.line({"error": {"code": "cancelled", "message": "cancelled"}})

    def break_off(self):
        """The connection ends in the middle, as when the hub is killed."""
        self.handler.close_connection = True
        self.handler.broken = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    broken = False

    def log_message(self, *args):
        pass

    def answer_one(self, value, status=200, type="application/json"):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def problem(self, status, code, detail):
        self.answer_one({"type": f"urn:lore:problem:{code}", "title": code, "code": code, "detail": detail, "status": status}, status,
                        "application/problem+json")

    def setup(self):
        super().setup()
        self.server.hub.connections.append(self.connection)

    def do_POST(self):
        hub = self.server.hub
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        hub.requests.append(dict(request, path=self.path, actor=self.headers.get("Actor")))
        if request.get("open"):
            hub.sessions += 1
            hub.session = f"session-{hub.sessions}"
            return self.answer_one(dict({"session": hub.session, "deploy": 3, "position": 12345, "contexts": ["billing", "security"],
                                         "write": request["write"]}))
        if request.get("session") != hub.session:
            return self.problem(404, "not_found", "no such session")
        if request.get("cancel"):
            if not hub.deaf:
                hub.cancelled.set()
            return self.answer_one({"cancelled": True})
        if "source" in request:
            return self.evaluate(hub, request)
        for name in ("complete", "help", "write", "close"):
            if name in request:
                answer = hub.asked[name]
                answer = answer(request) if callable(answer) else answer
                return self.problem(*answer) if isinstance(answer, tuple) else self.answer_one(answer)
        self.problem(400, "malformed", "nothing is asked")

    def evaluate(self, hub, request):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        answer = Answer(self, hub, request)
        lines = hub.answers.get(request["source"], [{"error": {"code": "script", "message": f"no answer to {request['source']!r} was prepared"}}])
        try:
            if callable(lines):
                lines(answer)
            else:
                for line in lines:
                    answer.line(line)
            if not self.broken:
                self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            hub.left.set()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a terminal may leave when it likes
            super().handle_error(request, address)


class FakeHub:
    def __init__(self, port=0):
        self.answers = {"1+1": [{"value": 2}]}
        self.asked = {"complete": {"from": 0, "candidates": [], "more": False}, "help": {"help": "reference"},
                      "write": lambda request: {"write": request["write"]}, "close": {"closed": True}}
        self.requests, self.sessions, self.session = [], 0, None
        self.working, self.cancelled, self.left = threading.Event(), threading.Event(), threading.Event()
        self.deaf = False  # does not hear that an evaluation is to be cancelled
        self.start(port)

    def start(self, port=0):
        self.connections = []
        self.server = Server(("127.0.0.1", port), Handler)
        self.server.hub = self
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has gone before

    def evaluated(self):
        return [request["source"] for request in self.requests if "source" in request]


class FakeHubCase(Case):
    """A test with a hub of this kind."""

    def setUp(self):
        super().setUp()
        self.fake = FakeHub()
        self.addCleanup(self.stop_fake)

    def stop_fake(self):
        if self.fake:
            self.fake.cancelled.set()
            self.fake.stop()
            self.fake = None

"""peer.py: an HTTP server that services of a hub talk to: it notes what it is asked and answers as its path says.

    peer = Peer()
    self.addCleanup(peer.close)
    ... http.post("http://127.0.0.1:PORT/status/202")
    peer.asked                 [(method, path, headers, body)]
"""
import http.server, os, socket, ssl, struct, subprocess, threading

CERTIFICATE = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost", "-batch"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        peer = self.server.peer
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with peer.changed:
            peer.asked.append((self.command, self.path, self.headers, body))
            peer.changed.notify_all()
        what, _, rest = self.path[1:].partition("/")
        getattr(self, "do_" + what)(rest)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def say(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_status(self, rest):
        self.say(int(rest), [("Content-Type", "application/json")], b'{"n":7}')

    def do_hang(self, rest):
        """Until the test lets go of it, or the hub hangs up."""
        self.server.peer.released.wait()
        self.say(200)

    def do_drip(self, rest):
        """A byte now and then, for ever."""
        self.send_response(200)
        self.end_headers()
        self.pour(lambda: (self.wfile.write(b"x"), self.server.peer.released.wait(0.05)))

    def do_endless(self, rest):
        self.send_response(200)
        self.end_headers()
        self.pour(lambda: self.wfile.write(b"x" * 65536))

    def do_headers(self, rest):
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        self.pour(lambda: self.wfile.write(b"X-More: and more\r\n" * 1000))

    def pour(self, write):
        self.close_connection = True
        try:
            while not self.server.peer.closing:
                write()
        except OSError:
            pass

    def do_redirect(self, rest):
        self.say(302, [("Location", rest)])

    def do_reset(self, rest):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def do_cut(self, rest):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        self.close_connection = True

    def do_garbage(self, rest):
        self.wfile.write(b"\x00\x01\x02 no HTTP at all\r\n\r\n")
        self.close_connection = True

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def log_message(self, *args):
        pass


class Peer:
    def __init__(self, tls=None):
        """tls: a folder for a certificate that nobody signed."""
        self.asked, self.changed = [], threading.Condition()
        self.released, self.closing = threading.Event(), False
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None
        self.server.peer = self
        if tls:
            key, certificate = os.path.join(tls, "key.pem"), os.path.join(tls, "certificate.pem")
            subprocess.run([*CERTIFICATE, "-keyout", key, "-out", certificate], check=True, capture_output=True)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count):
        """Until it was asked so often."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.asked) >= count, 600):
                raise AssertionError(f"asked only {len(self.asked)} times")

    def keys(self):
        with self.changed:
            return [headers["Idempotency-Key"] for _, _, headers, _ in self.asked]

    def close(self):
        self.closing = True
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

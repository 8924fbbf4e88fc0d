"""mail.py: the mail server of tests, on a port of its own. It takes every mail; who counts them looks at their Idempotency-Key."""
import http.server, json, threading


class MailServer(http.server.ThreadingHTTPServer):
    """answer(number of the request) is the status; requests is a list of (key, mail)."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Post)
        self.requests, self.answer = [], lambda number: 202
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def close(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Post(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        mail = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.headers["Idempotency-Key"], mail))
        self.send_response(self.server.answer(len(self.server.requests)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

"""A hub that dies or lies in mid-answer: each subcommand that asks says so in one line and with its exit code, and none waits for ever."""
import socket, struct, threading, unittest

from hub import Case, lore, main
from shop import SCRIPTS

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
COMMANDS = {
    "send": ["send", "shop/box/1", "Add", '{"n":1}'],
    "status": ["status"],
    "events": ["events"],
    "view": ["view", "shop/boxes"],
    "state": ["state", "shop/box/1"],
    "export": ["export"],
    "rebuild": ["rebuild", "shop/boxes"],
}


class Peer:
    """Takes one connection after another, reads a request, gives the bytes and ends the connection as told."""

    def __init__(self, answer, reset):
        self.answer, self.reset = answer, reset
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                data = connection.recv(1 << 16)
                if not data:
                    continue
                self.requests += 1
                connection.sendall(self.answer)
                if self.reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class Peers(Case):
    def ask(self, answer, reset=False, says=r"\S", codes=(3,)):
        peer = Peer(answer, reset)
        try:
            for name, command in COMMANDS.items():
                with self.subTest(command=name, answer=answer[:80], reset=reset):
                    done = lore(*command, "--to", peer.url)
                    self.assertIn(done.returncode, codes, done.stdout + done.stderr)
                    self.assertRegex(done.stderr, r"\Alore: [^\n]+\n\Z")
                    self.assertRegex(done.stderr, says)
        finally:
            peer.close()
        self.assertGreaterEqual(peer.requests, len(COMMANDS))

    def test_no_answer(self):
        self.ask(b"")
        self.ask(b"", reset=True)

    def test_half_a_head(self):
        self.ask(HEAD[:20])
        self.ask(HEAD, reset=True)

    def test_half_a_body(self):
        self.ask(HEAD + b"Content-Length: 100\r\n\r\n{\"version\":1")
        self.ask(HEAD + b"Content-Length: 100\r\n\r\n{\"version\":1", reset=True)
        self.ask(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"ver")
        self.ask(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")

    def test_no_hub(self):
        for type in (b"text/html", b"application/jsonish", b""):
            for status in (b"200 OK", b"301 Moved Permanently", b"404 Not Found", b"502 Bad Gateway"):
                self.ask(b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: 9\r\n\r\n<p>\n</p>\n" % (status, type), says="none of a hub")
        self.ask(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", says="none of a hub")
        self.ask(b"SSH-2.0-OpenSSH_9.2\r\n")

    def test_a_hub_that_is_killed(self):
        for path, text in SCRIPTS.items():
            self.write(path, text)
        hub = self.hub()
        hub.send("shop/box/1", "Add", {"n": 1})
        hub.stop()
        hub = self.hub(env={"LORE_FAULTS": "index.read=kill"})
        done = lore("send", "shop/box/1", "Add", '{"n":1}', "--data", self.data, "--scripts", self.scripts, check=3)
        self.assertRegex(done.stderr, r"\Alore: \S+/hub\.sock: [^\n]+\n\Z")
        self.assertEqual(hub.process.wait(), -9)
        done = lore("send", "shop/box/1", "Add", '{"n":1}', "--data", self.data, "--scripts", self.scripts, check=0)
        self.assertIn("version 2", done.stderr)


if __name__ == "__main__":
    main()

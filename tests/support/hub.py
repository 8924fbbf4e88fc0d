"""hub.py: what end-to-end tests share: running the program, a hub as a process, HTTP and SSE clients.

Waiting is always for something (a line, an answer, an end), never for a time; TIMEOUT only ends a test that hangs.
"""
import http.client, json, os, queue, re, shutil, signal, socket, subprocess, tempfile, threading, unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LORE = os.environ.get("LORE", os.path.join(ROOT, "lore"))
SMALL = bool(os.environ.get("LORE_TEST_SMALL"))  # sanitizer builds: a part of the data is enough
TIMEOUT = 600


def lore(*args, check=None, input=None, cwd=ROOT, env=None, timeout=TIMEOUT):
    """Runs the program to its end. check: the exit code that is expected."""
    done = subprocess.run([LORE, *map(str, args)], capture_output=True, text=True, input=input, cwd=cwd, timeout=timeout,
                          stdin=subprocess.DEVNULL if input is None else None, env=dict(os.environ, **(env or {})))
    if check is not None and done.returncode != check:
        raise AssertionError(f"lore {' '.join(map(str, args))}: exit {done.returncode}, expected {check}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done


def lines(text):
    return [json.loads(line) for line in text.split("\n") if line]  # splitlines ends lines inside texts too


def copy_context(context, to, acting=False):
    """A context of the example. Unless acting without what acts by itself, so that the log of a test holds what the test did."""
    def passive(folder, names):
        def acts(name):
            with open(os.path.join(folder, name)) as file:
                return re.search(r'^local \w+ = (receptor|task) "', file.read(), re.M)
        return [name for name in names if name.endswith(".lua") and acts(name)]
    shutil.copytree(os.path.join(ROOT, "scripts", context), to, ignore=None if acting else passive)


class Case(unittest.TestCase):
    """A test with a folder of its own, and hubs that never outlive it."""
    maxDiff = 4000

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="lore-test-")
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.data = os.path.join(self.dir, "data")
        self.scripts = os.path.join(self.dir, "scripts")

    def copy_scripts(self, *contexts, acting=False):
        for context in contexts or ("security", "billing", "mailing", "fines"):
            copy_context(context, os.path.join(self.scripts, context), acting)
        return self.scripts

    def write(self, path, text):
        path = os.path.join(self.scripts, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)

    def edit(self, path, old, new):
        path = os.path.join(self.scripts, path)
        with open(path) as file:
            text = file.read()
        self.assertIn(old, text)
        with open(path, "w") as file:
            file.write(text.replace(old, new))

    def hub(self, scripts=None, data=None, *args, **options):
        hub = Hub(scripts or self.scripts, data or self.data, *args, **options)
        self.addCleanup(hub.kill)
        return hub


class Hub:
    """A hub as a process. ready=False: returns before it listens, so that it can be killed on its way there."""

    def __init__(self, scripts, data, *args, env=None, ready=True):
        self.data = data
        self.process = subprocess.Popen([LORE, "serve", scripts, "--data", data, "--listen", "127.0.0.1:0", *args],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                                        env=dict(os.environ, **(env or {})))
        self.log = []
        self.said = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            self.port = self.wait_ready() if ready else None
        except AssertionError:
            self.kill()
            raise

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line)
            self.said.put(line)
        self.said.put(None)

    def wait_ready(self, may_end=False):
        """Its port; None if it ended before and that may be."""
        found = self.wait_said(r"listening on http://127\.0\.0\.1:(\d+)", may_end)
        self.port = int(found[1]) if found else None
        return self.port

    def wait_said(self, pattern, may_end=False):
        """Waits for a diagnostic line, said before or from now on."""
        at = 0
        while True:
            for line in self.log[at:]:
                at += 1
                found = re.search(pattern, line)
                if found:
                    return found
            if self.said.get(timeout=TIMEOUT) is None:
                self.said.put(None)  # the end stays the end for who waits again
                if may_end:
                    return None
                raise AssertionError(f"the hub ended (exit {self.process.wait()}) before it said {pattern}:\n" + "".join(self.log))

    def stop(self, expect=0):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(TIMEOUT)
        self.reader.join()
        self.process.stderr.close()
        if expect is not None and code != expect:
            raise AssertionError(f"the hub ended with {code}:\n" + "".join(self.log))

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stderr.close()

    def client(self):
        return Client(self.port)

    def request(self, method, path, body=None, headers=None):
        client = self.client()
        try:
            return client.request(method, path, body, headers)
        finally:
            client.close()

    def get(self, path, headers=None, status=200):
        answer = self.request("GET", path, None, headers)
        if answer.status != status:
            raise AssertionError(f"GET {path}: {answer.status} {answer.text}")
        return answer.json

    def send(self, stream, type, data=None, status=200, headers=None, tenant="main", **more):
        answer = self.request("POST", f"/v1/{tenant}/{stream}", {"type": type, "data": data or {}, **more}, headers)
        if answer.status != status:
            raise AssertionError(f"{stream} {type}: {answer.status} {answer.text}")
        return answer.json

    def head(self, tenant="main"):
        return max([0] + [line["position"] for line in self.status() if line["kind"] == "hub"])

    def status(self):
        return lines(self.request("GET", "/v1/status", None, {"Accept": "application/x-ndjson"}).text)

    def view(self, name, tenant="main", wait=True, query=""):
        """All documents of a view, by key, once it has seen the head."""
        if wait:
            self.get(f"/v1/{tenant}/views/{name}?limit=1&wait={self.head()}&timeout={TIMEOUT}")
        text = self.request("GET", f"/v1/{tenant}/views/{name}{query}", None, {"Accept": "application/x-ndjson"}).text
        return {line["key"]: line["document"] for line in lines(text)}

    def tail(self, path="/v1/main/events", headers=None):
        return Tail(self.port, path, headers)


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.bytes = response.status, response.headers, response.read()

    @property
    def text(self):
        return self.bytes.decode()

    @property
    def json(self):
        return json.loads(self.bytes)


class Client:
    """One kept connection."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)

    def request(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, body, headers)
        return Answer(self.connection.getresponse())

    def close(self):
        self.connection.close()


class Tail:
    """Server-Sent Events of the log, one after another."""

    def __init__(self, port, path, headers=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self.connection.request("GET", path, None, {"Accept": "text/event-stream", **(headers or {})})
        self.response = self.connection.getresponse()
        if self.response.status != 200:
            raise AssertionError(f"GET {path}: {self.response.status} {self.response.read()}")

    def next(self):
        """(id, event) or None at the end of the stream."""
        id, data = None, []
        for line in self.response:
            line = line.decode().rstrip("\n")
            if line.startswith("id:"):
                id = line[3:].strip()
            elif line.startswith("data:"):
                data.append(line[5:].strip())
            elif not line and data:
                return id, json.loads("\n".join(data))
        return None

    def take(self, count):
        return [self.next() for _ in range(count)]

    def close(self):
        self.connection.sock and self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def main():
    unittest.main(verbosity=2)

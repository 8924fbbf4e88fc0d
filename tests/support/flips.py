"""flips.py: one byte of a data directory changed at random, and what must come of it.

    original = Original(folder, seed, killed=True)      a small but real directory; killed: as kill -9 left it
    tally = examine(original, 500)                      raises AssertionError for a byte that nobody finds and that matters

Every flip ends in one of three ways:
  found    `lore verify` says so (exit 1) and names the file or part. If that is derived data, then without it all is as it was.
  free     verify is silent, and a hub that starts on the directory shows the same log, views, states and answers, byte for byte, and
           verify is silent behind it.
  neither  a failure, as is any other end of verify, by a signal for instance.

Flips that verify does not find are looked at several at a time, since a hub's start costs more than verify; of derived folders one flip
each, because what makes a folder be built anew would hide another flip in it. If such a look fails, each is looked at alone.
"""
import collections, concurrent.futures, os, random, shutil, subprocess, threading

import crash
from hub import Hub, lines, lore
from traffic import Clients, Ledger

PARTS = {"log": 8, "index": 4, "views": 5, "snapshots": 2, ".": 1}  # how often a flip falls into each
DERIVED = ("index", "views", "snapshots")
TOGETHER = 8
WORKERS = 2


class Flip:
    def __init__(self, file, at, bits):
        self.file, self.at, self.bits = file, at, bits
        self.folder = os.path.dirname(file)

    def apply(self, data):
        """Again: undone."""
        with open(os.path.join(data, self.file), "r+b") as file:
            file.seek(self.at)
            byte = file.read(1)[0] ^ self.bits
            file.seek(self.at)
            file.write(bytes([byte]))

    def __str__(self):
        return f"{self.file} byte {self.at} xor {self.bits}"


def copy(data, to):
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", data, to], check=True)
    return to


class Original:
    """Several thousand events of several streams, refusals, views with a parked key and an older generation, snapshots, index runs."""

    def __init__(self, folder, seed, killed):
        self.seed, self.chance = seed, random.Random(seed)
        self.scene = crash.Imports(folder, seed)
        self.scripts, self.data, self.folder = self.scene.scripts, self.scene.data, folder
        self.scene.end(self.scene.start(self.data))
        hub = self.scene.hub()
        crash.read_views(hub)
        hub.stop()
        self.scene.change_code()
        self.ledger = Ledger()
        hub = self.scene.hub()
        clients = Clients(self.ledger, f"{seed}", hub.port, hub.client)
        self.ledger.wait(200, clients.alive)
        clients.stop()
        crash.read_views(hub)
        hub.kill() if killed else hub.stop()
        self.shown = self.show(self.data_copy("shown"))
        self.parts = self.list_files()

    def data_copy(self, name):
        return copy(self.data, os.path.join(self.folder, name))

    def list_files(self):
        parts = {}
        for path, _, names in os.walk(self.data):
            for name in names:
                file = os.path.relpath(os.path.join(path, name), self.data)
                size = os.path.getsize(os.path.join(path, name))
                if size and not name.endswith(".sock"):
                    parts.setdefault(file.split("/")[0] if "/" in file else ".", []).append((file, size))
        return {part: sorted(files) for part, files in parts.items()}

    def flip(self):
        """Small files as often as large ones half of the time; in large ones the first pages often."""
        part = self.chance.choices(list(self.parts), [PARTS.get(part, 1) for part in self.parts])[0]
        files = self.parts[part]
        weights = [size for _, size in files] if self.chance.random() < 0.7 else None
        file, size = self.chance.choices(files, weights)[0]
        at = self.chance.randrange(min(size, 8192) if self.chance.random() < 0.25 else size)
        return Flip(file, at, 1 << self.chance.randrange(8) if self.chance.random() < 0.5 else self.chance.randint(1, 255))

    def show(self, data):
        """What can be seen of a directory; it is used up. A hub that does not start, or ends, is an AssertionError."""
        hub = Hub(self.scripts, data, "--shards", "2", "--projectors", "2")
        try:
            shown = crash.read_views(hub)
            shown["log"] = hub.request("GET", "/v1/main/events", None, {"Accept": "application/x-ndjson"}).bytes
            client = hub.client()
            for id in ["shared", "own-1", "b1", "b2"]:
                shown["state " + id] = client.request("GET", f"/v1/main/billing/bill/{id}").bytes
            for request, status, bytes in list(self.ledger.answers.values())[::25]:
                answer = request.send(client)
                shown[f"answer {request.key}"] = (answer.status, answer.bytes)
            client.close()
            shown["head"] = hub.head()
            hub.stop()
        finally:
            hub.kill()
        crash.verify(data)
        shutil.rmtree(data)
        return shown

    def differs(self, data):
        """None, or in what it shows that the original did not."""
        try:
            shown = self.show(data)
        except AssertionError as error:
            return str(error)
        for name, value in self.shown.items():
            if shown[name] != value:
                return f"{name}: {shown[name][:600] if hasattr(shown[name], '__getitem__') else shown[name]}, not {value[:600] if hasattr(value, '__getitem__') else value}"
        return None


def verify(data):
    """What verify finds, None if nothing."""
    done = lore("verify", "--json", "--data", data)
    if done.returncode == 0:
        return None
    text = lines(done.stdout)[-1]["damage"] if done.stdout else done.stderr
    if done.returncode not in (1, 3) or not text.strip():
        raise AssertionError(f"verify ended with {done.returncode}: {done.stdout}{done.stderr}")
    return text


class Worker:
    """Flips bytes of a copy of its own."""

    def __init__(self, original, name):
        self.original, self.name = original, name
        self.data = original.data_copy(f"flipped-{name}")
        self.silent, self.derived = [], []
        self.tally = collections.Counter()

    def take(self, flip):
        flip.apply(self.data)
        try:
            damage = verify(self.data)
        except AssertionError as error:
            raise AssertionError(f"{flip}: {error}") from error
        flip.apply(self.data)
        part = flip.file.split("/")[0] if "/" in flip.file else "."
        self.tally[f"{part} {'found' if damage else 'free'}"] += 1
        if damage is None:
            if part != "log" and any(flip.folder == other.folder for other in self.silent):
                self.look()
            self.silent.append(flip)
        elif part in DERIVED:
            if part not in damage:
                raise AssertionError(f"{flip}: verify does not name it: {damage}")
            self.derived.append(flip)
        if len(self.silent) >= TOGETHER:
            self.look()

    def look(self):
        """Nothing found: nothing may be seen either."""
        silent, self.silent = self.silent, []
        difference = self.with_flips(silent)
        if not silent or not difference:
            return
        for flip in silent:
            alone = self.with_flips([flip])
            if alone:
                raise AssertionError(f"{flip}: verify is silent, but {alone}")
        raise AssertionError(f"{', '.join(map(str, silent))}: verify is silent, but together {difference}")

    def with_flips(self, flips, without=()):
        data = copy(self.data, os.path.join(self.original.folder, f"looked-{self.name}"))
        for flip in flips:
            flip.apply(data)
        for folder in without:
            shutil.rmtree(os.path.join(data, folder), ignore_errors=True)
        return self.original.differs(data)

    def end(self):
        self.look()
        parts = sorted({flip.file.split("/")[0] for flip in self.derived})
        if parts:
            difference = self.with_flips(self.derived, without=parts)
            if difference:
                raise AssertionError(f"{', '.join(map(str, self.derived))}: without {parts} {difference}")
        shutil.rmtree(self.data)


def examine(original, count, progress=lambda done: None):
    flips = [original.flip() for _ in range(count)]
    lock, done = threading.Lock(), [0]

    def work(number):
        worker = Worker(original, number)
        for flip in flips[number::WORKERS]:
            worker.take(flip)
            with lock:
                done[0] += 1
                progress(done[0])
        worker.end()
        return worker.tally

    tally = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for result in pool.map(work, range(WORKERS)):
            tally += result
    return tally

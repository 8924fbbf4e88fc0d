"""peers.py: other systems doing the same work in the same run: Redis, Tarantool, PostgreSQL, SQLite, as Debian packages them.

Each peer is a server of its own in a folder of the measurement, durable (an answer comes after the flush), driven by its own client.
The work: create a bill. Look whether the stream is there, refuse if it is, else append an event of the size lore appends.
A peer that is not installed is left out.
"""
import csv, gzip, json, os, pwd, re, shutil, signal, socket, sqlite3, subprocess, time

POSTGRES = "/usr/lib/postgresql/15/bin"
EVENT = {"customer": "acme", "start_date": "2026-01-01T00:00:00.000Z"}


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run(*args, **options):
    done = subprocess.run(args, capture_output=True, text=True, timeout=600, **options)
    if done.returncode:
        raise SystemExit(f"bench: {args[0]} failed: {done.stderr[-2000:]}{done.stdout[-2000:]}")
    return done.stdout


def wait_for(ready, process):
    """Until the server answers; a server that ends instead is an error."""
    while not ready():
        if process.poll() is not None:
            raise SystemExit(f"bench: {process.args[0]} ended with {process.returncode}")
        time.sleep(0.01)


class Peer:
    """A server; start() leaves it ready, stop() gone."""
    process = None

    def __init__(self, folder):
        self.folder = os.path.join(folder, self.name.split()[0].lower())
        os.makedirs(self.folder)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Peer):
    name = "Redis functions"
    library = """#!lua name=bank
redis.register_function('create_bill', function(keys, args)
  if redis.call('XLEN', keys[1]) > 0 then return false end
  return redis.call('XADD', keys[1], '*', 'type', 'BillCreated', 'customer', args[1], 'start_date', args[2])
end)"""

    @staticmethod
    def installed():
        return shutil.which("redis-server") and shutil.which("redis-benchmark")

    def start(self):
        self.port = free_port()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--dir", self.folder, "--appendonly", "yes", "--appendfsync", "always", "--save", ""],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cli = ["redis-cli", "-p", str(self.port)]
        wait_for(lambda: subprocess.run([*cli, "ping"], capture_output=True, text=True).stdout == "PONG\n", self.process)
        run(*cli, "function", "load", self.library)

    def commands(self, connections, seconds):
        """(commands a second, p99 in ms) of about so many seconds."""
        def measure(count):
            text = run("redis-benchmark", "-p", str(self.port), "-c", str(connections), "-n", str(count), "-r", "2000000000", "--csv",
                       "FCALL", "create_bill", "1", "bill:__rand_int__", EVENT["customer"], EVENT["start_date"])
            row = list(csv.DictReader(text.splitlines()))[-1]
            return float(row["rps"]), float(row["p99_latency_ms"])
        rate, _ = measure(1000 * (1 if connections == 1 else 10))
        return measure(int(rate * seconds))


class Tarantool(Peer):
    name = "Tarantool procedures"
    server = """
box.cfg{listen = '127.0.0.1:%d', work_dir = '%s', wal_mode = 'fsync', log = 'server.log', memtx_memory = 2 * 1024 * 1024 * 1024}
box.schema.user.grant('guest', 'super')
local events = box.schema.space.create('events')
events:create_index('position', {sequence = true})
events:create_index('stream', {parts = {{2, 'string'}, {3, 'unsigned'}}})
function create_bill(id, customer, start_date)
  if events.index.stream:count({id}) > 0 then return nil, 'exists' end
  return events:insert{nil, id, 1, 'BillCreated', customer, start_date}
end
io.open('ready', 'w'):close()
"""
    client = """
local fiber, clock = require('fiber'), require('clock')
local port, connections, seconds, prefix = unpack(arg)
local done, took, left = 0, {}, tonumber(connections)
local began = clock.time()
for number = 1, left do
  fiber.create(function()
    local conn, sent = require('net.box').connect('127.0.0.1:' .. port), 0
    while clock.time() - began < tonumber(seconds) do
      sent = sent + 1
      local at = clock.time()
      assert(conn:call('create_bill', {prefix .. number .. '-' .. sent, 'acme', '2026-01-01T00:00:00.000Z'}))
      table.insert(took, clock.time() - at)
    end
    left = left - 1
  end)
end
while left > 0 do fiber.sleep(0.001) end
local elapsed = clock.time() - began
table.sort(took)
print(string.format('{"rate":%f,"p99_ms":%f}', #took / elapsed, took[math.ceil(#took * 0.99)] * 1000))
os.exit(0)
"""

    @staticmethod
    def installed():
        return shutil.which("tarantool")

    def start(self):
        self.port, self.runs = free_port(), 0
        for name, text in (("server.lua", self.server % (self.port, self.folder)), ("client.lua", self.client)):
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(text)
        self.process = subprocess.Popen(["tarantool", "server.lua"], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(os.path.join(self.folder, "ready")), self.process)

    def commands(self, connections, seconds):
        self.runs += 1
        text = run("tarantool", "client.lua", str(self.port), str(connections), str(seconds), f"r{self.runs}-", cwd=self.folder)
        result = json.loads(text.splitlines()[-1])
        return result["rate"], result["p99_ms"]


class Postgres(Peer):
    name = "PostgreSQL"
    schema = """
CREATE TABLE events (position bigserial PRIMARY KEY, stream text NOT NULL, version int NOT NULL, type text NOT NULL,
                     at timestamptz NOT NULL DEFAULT now(), data jsonb NOT NULL, UNIQUE (stream, version));
CREATE FUNCTION create_bill(id text, customer text, start_date text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE appended bigint;
BEGIN
  IF EXISTS (SELECT FROM events WHERE stream = id) THEN RETURN NULL; END IF;
  INSERT INTO events (stream, version, type, data)
    VALUES (id, 1, 'BillCreated', jsonb_build_object('customer', customer, 'start_date', start_date)) RETURNING position INTO appended;
  RETURN appended;
END $$;"""

    @staticmethod
    def installed():
        return os.path.exists(f"{POSTGRES}/initdb") and (os.getuid() != 0 or "postgres" in [user.pw_name for user in pwd.getpwall()])

    def start(self):
        # It refuses to run as root.
        self.runs, self.prefix = 0, ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self.prefix:
            os.chmod(os.path.dirname(self.folder), 0o755)
            shutil.chown(self.folder, "postgres", "postgres")
        data, self.port = os.path.join(self.folder, "data"), free_port()
        run(*self.prefix, f"{POSTGRES}/initdb", "-D", data, "-A", "trust", "--no-locale", "-E", "UTF8", cwd=self.folder)
        self.process = subprocess.Popen([*self.prefix, f"{POSTGRES}/postgres", "-D", data, "-p", str(self.port), "-k", self.folder],
                                        cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: subprocess.run([*self.prefix, f"{POSTGRES}/pg_isready", "-q", "-h", self.folder, "-p", str(self.port)],
                                        cwd=self.folder).returncode == 0, self.process)
        self.psql(self.schema)

    def psql(self, text, **options):
        return run(*self.prefix, f"{POSTGRES}/psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p", str(self.port), "-d", "postgres",
                   input=text, cwd=self.folder, **options)

    def stop(self):
        if self.process and self.process.poll() is None:
            with open(os.path.join(self.folder, "data", "postmaster.pid")) as file:
                os.kill(int(file.readline()), signal.SIGINT)  # its prefix does not pass signals on
            self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def commands(self, connections, seconds):
        self.runs += 1
        script = os.path.join(self.folder, "create.sql")
        with open(script, "w") as file:
            file.write(f"\\set n random(1, 1000000000000)\nSELECT create_bill('r{self.runs}-' || :n, '{EVENT['customer']}', '{EVENT['start_date']}');\n")
        text = run(*self.prefix, f"{POSTGRES}/pgbench", "-n", "-M", "prepared", "-c", str(connections), "-j", "1", "-T", str(seconds), "-f", script,
                   "-h", self.folder, "-p", str(self.port), "-l", "--log-prefix", os.path.join(self.folder, "took"), "postgres", cwd=self.folder)
        took = []
        for name in os.listdir(self.folder):
            if name.startswith("took"):
                with open(os.path.join(self.folder, name)) as file:
                    took += [int(line.split()[2]) for line in file]
                os.unlink(os.path.join(self.folder, name))
        took.sort()
        return float(re.search(r"tps = ([\d.]+)", text)[1]), took[int(len(took) * 0.99)] / 1000

    def load(self, rows):
        """Loads rows of the fines and returns rows a second."""
        path = os.path.join(self.folder, "rows.csv")
        count = write_csv(rows, path)
        if self.prefix:
            os.chmod(path, 0o644)
        began = time.monotonic()
        self.psql(f"\\copy events (stream, version, type, at, data) FROM '{path}' WITH (FORMAT csv)")
        seconds = time.monotonic() - began
        os.unlink(path)
        self.psql("VACUUM ANALYZE events")
        return count / seconds

    def scan(self, type):
        """(events read a second, found): those of a type, without an index that knows types."""
        total = int(self.psql("SELECT count(*) FROM events"))
        began = time.monotonic()
        found = self.psql(f"SELECT position, stream, version, at, data FROM events WHERE type = '{type}' ORDER BY position").count("\n")
        return total / (time.monotonic() - began), found

    def bytes_per_event(self):
        return float(self.psql("SELECT pg_total_relation_size('events')::float / count(*) FROM events"))


class Sqlite(Peer):
    name = "SQLite"

    @staticmethod
    def installed():
        return True

    def start(self):
        self.path = os.path.join(self.folder, "events.db")
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INT NOT NULL, type TEXT NOT NULL, "
                        "at TEXT NOT NULL, data TEXT NOT NULL, UNIQUE (stream, version))")

    def stop(self):
        self.db.close()
        super().stop()

    def commands(self, connections, seconds):
        """It has one writer and no server: one connection, in this process."""
        took, began, sent, data = [], time.monotonic(), 0, json.dumps(EVENT)
        while time.monotonic() - began < seconds:
            sent += 1
            name, at = f"bill-{sent}-{began}", time.monotonic()
            self.db.execute("BEGIN IMMEDIATE")
            if not self.db.execute("SELECT 1 FROM events WHERE stream = ?", (name,)).fetchone():
                self.db.execute("INSERT INTO events (stream, version, type, at, data) VALUES (?, 1, 'BillCreated', ?, ?)",
                                (name, EVENT["start_date"], data))
            self.db.execute("COMMIT")
            took.append(time.monotonic() - at)
        took.sort()
        return sent / (time.monotonic() - began), took[int(len(took) * 0.99)] * 1000

    def load(self, rows):
        began, count, insert = time.monotonic(), 0, "INSERT INTO events (stream, version, type, at, data) VALUES (?, ?, ?, ?, ?)"
        self.db.execute("DELETE FROM events")
        self.db.execute("BEGIN")
        for row in fines_rows(rows):
            self.db.execute(insert, row)
            count += 1
            if count % 1000 == 0:
                self.db.execute("COMMIT")
                self.db.execute("BEGIN")
        self.db.execute("COMMIT")
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count / (time.monotonic() - began)

    def scan(self, type):
        total = self.db.execute("SELECT count(*) FROM events").fetchone()[0]
        began = time.monotonic()
        found = len(self.db.execute("SELECT position, stream, version, at, data FROM events WHERE type = ?", (type,)).fetchall())
        return total / (time.monotonic() - began), found

    def bytes_per_event(self):
        return os.path.getsize(self.path) / self.db.execute("SELECT count(*) FROM events").fetchone()[0]


def fines_rows(path):
    """(stream, version, type, at, data) of each row of the fines."""
    versions = {}
    with gzip.open(path, "rt") as file:
        for line in file:
            row = json.loads(line)
            stream = row.pop("case_id")
            versions[stream] = version = versions.get(stream, 0) + 1
            at, type = row.pop("time"), row.pop("activity")
            del row["seq"]
            yield stream, version, type, at, json.dumps(row)


def write_csv(rows, path):
    count = 0
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        for row in fines_rows(rows):
            writer.writerow(row)
            count += 1
    return count


SERVERS = [Redis, Tarantool, Postgres, Sqlite]

"""asking.py: questions of sessions over the log: event queries, on one processor and on all."""
import json, os, time

MONTH = 'group(function(e) return e.at:sub(1, 7) end):count()'
# What is asked, what it is measured as, its goal in events a second on one processor.
QUERIES = [("events { type = 'FineCreated' }:" + MONTH, "grouped by a function, one type", 1500000),
           ("events {}:" + MONTH, "grouped by a function", 1500000),
           ("events {}:where(function(e) return e.data.amount end):count()", "where a function reads the data", None),
           ("events {}:count()", "counted", 5000000),
           ("events {}:group('type'):count()", "counted by type", 5000000),
           ("events {}:group('month'):count()", "counted by month", 5000000),
           ("events {}:sum('amount')", "a field summed, exactly", None)]


class Asking:
    def __init__(self, bench):
        self.bench = bench

    def queries(self):
        self.bench.need_fines()
        processors = os.sched_getaffinity(0)
        for some in [{min(processors)}, processors] if len(processors) > 1 else [processors]:
            os.sched_setaffinity(0, some)
            try:
                hub = self.bench.hub(self.bench.fines)
            finally:
                os.sched_setaffinity(0, processors)
            client = hub.client()
            head = self.bench.wait_live(hub, client)
            self.ask_all(client, head, len(some))
            client.close()
            hub.stop()

    def ask_all(self, client, head, processors):
        session = self.ask(client, open=True)[0]["session"]

        def run(source):
            began = time.monotonic()
            last = self.ask(client, session=session, source=source)[-1]
            if "value" not in last:
                raise SystemExit(f"bench: {source}: {last}")
            return head / (time.monotonic() - began)
        for source, what, goal in QUERIES:
            run(source)
            self.bench.table.add(f"{what}, {processors} core{'s' if processors > 1 else ''}", self.bench.times(lambda: run(source)), "events/s",
                                 goal=goal if processors == 1 else None)
        firsts = []
        for _ in range(self.bench.runs):
            began = time.monotonic()
            client.connection.request("POST", "/v1/main/repl", json.dumps({"session": session, "source": "events {}", "rows": 20}))
            response = client.connection.getresponse()
            response.readline()
            firsts.append((time.monotonic() - began) * 1000)
            response.read()
        self.bench.table.add(f"first row of a query, {processors} core{'s' if processors > 1 else ''}", firsts, "ms", goal=50, less=True)

    def ask(self, client, **body):
        return [json.loads(line) for line in client.request("POST", "/v1/main/repl", body).text.splitlines()]

"""A changed rule over thirteen years of fines: the plan names exactly the fines whose end state differs, the deploy under load loses nothing, the
old view answers until the new one takes over, and taken back all is as it was, byte for byte."""
import json, os, threading, unittest

import crash
from fines import ALL, EVENTS, PAID, PAID_BUT, FinesCase, expected
from hub import SMALL, lines, lore, main
from traffic import Clients, Ledger

CONNECTIONS = 64
TOLERANCE = 5  # euros
VIEWS = ["cases", "in_collection", "officers", "totals_by_month"]


def differing(rows):
    """{case: (status before, after)} by the oracle: a payment was made, and less than the tolerance is owed."""
    found = {}
    for id, row in expected(rows).items():
        if int(row["payments"]) and 0 < int(row["balance_cents"]) <= 100 * TOLERANCE:
            found[id] = row["status"], row["status"].replace("partly_paid", "paid")
    return found


class Readers:
    """Ask for a document that changes, one after another; each answer is the old one or the new one, and never the old one after the new one."""

    def __init__(self, hub, path, old, new):
        self.hub, self.path, self.old, self.new = hub, path, old, new
        self.stopped, self.count, self.wrong = False, 0, []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        client, may = self.hub.client(), [self.old, self.new]
        while not self.stopped and not self.wrong:
            answer = client.request("GET", self.path)
            status = answer.json.get("document", {}).get("status") if answer.status == 200 else None
            if status not in may:
                self.wrong.append(f"{self.path}: {answer.status} {answer.text}, not {may}")
            may = may[may.index(status):] if status in may else may
            self.count += 1
        client.close()

    def stop(self):
        self.stopped = True
        self.thread.join()
        if self.wrong:
            raise AssertionError(self.wrong[0])


@unittest.skipUnless(os.path.exists(EVENTS), f"skip: the data set is not beside the project ({EVENTS})")
class Redeploy(FinesCase):
    rows = 20000 if SMALL else ALL

    def setUp(self):
        super().setUp()
        self.copy_scripts()
        self.do_import(shards=2)
        self.running = self.hub(None, None)
        crash.settle(self.running)

    def deploy(self, *args):
        done = lore("deploy", "--json", "--samples", "1000", "--no-specs", "--scripts", self.scripts, "--data", self.data, *args, check=0)
        return json.loads(done.stdout)

    def shown(self):
        return {view: self.running.request("GET", f"/v1/main/views/fines/{view}", None, {"Accept": "application/x-ndjson"}).bytes for view in VIEWS}

    def check_report(self, report, expected):
        row, = report["projections"]
        self.assertEqual((row["name"], report["aggregates"], report["refused"]), ("fines/cases", [], []))
        figures = row["documents"]
        self.assertEqual((figures["changed"], figures["added"], figures["removed"]), (len(expected), 0, 0))
        self.assertEqual(row["fields"], {"status": len(expected)})
        named = {sample["key"]: (sample["before"]["status"], sample["after"]["status"]) for sample in row["samples"]}
        self.assertEqual(named, expected)

    def test_a_rule_changes_and_changes_back(self):
        changes, before = differing(self.rows), self.shown()
        self.assertGreater(len(changes), 5)
        self.edit("fines/cases.lua", PAID, PAID_BUT % TOLERANCE)
        self.check_report(self.deploy("--plan"), changes)
        self.assertEqual(self.shown(), before)

        ledger, id = Ledger(), min(changes)
        clients = Clients(ledger, "redeploy", self.running.port, self.running.client, CONNECTIONS)
        readers = Readers(self.running, f"/v1/main/views/fines/cases/{id}", *changes[id])
        try:
            ledger.wait(1000, clients.alive)
            report = self.deploy()
            ledger.wait(1000, clients.alive)
        finally:
            clients.stop()
            readers.stop()
        ledger.raise_wrong()
        self.assertGreater(readers.count, 10)
        self.check_report(report, changes)
        self.check_log(ledger)
        self.check_documents(changes, before)

        undone = json.loads(lore("undeploy", "--json", "--data", self.data, check=0).stdout)
        self.assertEqual((undone["undone"], undone["deploy"]), (report["deploy"], report["before"]))
        crash.settle(self.running)
        self.assertEqual(self.shown(), before)
        built = {line["name"]: line["deploy"] for line in self.running.status() if line["kind"] == "projection"}
        self.assertEqual(built["fines/cases"], 1)  # the generation that was kept

    def check_log(self, ledger):
        """Behind the fines the log is what was answered, nothing else: no command failed, none was done twice."""
        ledger.settle(self.running)
        crash.settle(self.running)
        text = self.running.request("GET", f"/v1/main/events?from={self.rows + 1}", None, {"Accept": "application/x-ndjson"}).text
        events = {event["position"]: event for event in lines(text)}
        self.assertEqual(sorted(events), list(range(self.rows + 1, self.rows + len(events) + 1)))
        answered = [event for _, status, bytes in ledger.answers.values() if status == 200 for event in json.loads(bytes)["events"]]
        self.assertEqual({event["position"]: event for event in answered}, events)
        self.assertEqual(len(answered), len(events))

    def check_documents(self, changes, before):
        after = self.shown()
        for view in set(VIEWS) - {"cases"}:
            self.assertEqual(after[view], before[view])
        old, new = ({line["key"]: line["document"] for line in lines(shown["cases"].decode())} for shown in (before, after))
        for id, (_, status) in changes.items():
            old[id]["status"] = status
        self.assertEqual(new, old)


if __name__ == "__main__":
    main()

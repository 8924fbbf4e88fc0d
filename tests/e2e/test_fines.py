"""Thirteen years of traffic fines through commands, compared with the oracle files beside the data: all of it once. What does not
depend on the size (kills, rebuilt folders, exports) is tried on the first part of it, compared with a fold of our own."""
import json, os, shutil, signal, subprocess, unittest

from fines import ALL, DATA, EVENTS, TYPES, FinesCase, cents, expected, source_lines, source_rows
from hub import LORE, ROOT, SMALL, lines, lore, main


def as_columns(id, case):
    """A document of the view `cases` in the columns of the oracle file."""
    def seconds(time):
        assert time.endswith(".000Z"), time
        return time[:-5] + "Z"
    return {"case_id": id, "events": str(case["events"]), "first_time": seconds(case["first"]), "last_time": seconds(case["last"]),
            "fine_cents": str(cents(case["fine"])), "amount_cents": str(cents(case["amount"])),
            "expense_cents": str(cents(case["expense"])), "payments": str(case["payments"]),
            "paid_cents": str(cents(case["paid"])), "balance_cents": str(cents(case["balance"])), "status": case["status"],
            "dismissal": case["dismissal"]}


@unittest.skipUnless(os.path.exists(EVENTS), f"skip: the data set is not beside the project ({EVENTS})")
class Fines(FinesCase):
    def view(self, name, *args):
        done = lore("view", name, "--json", "--data", self.data, *args, check=0)
        return {line["key"]: line["document"] for line in lines(done.stdout)}

    def compare_cases(self):
        oracle = expected(self.rows)
        cases = self.view("fines/cases")
        self.assertEqual(len(cases), len(oracle))
        wrong = [(as_columns(id, case), oracle.get(id)) for id, case in cases.items() if as_columns(id, case) != oracle.get(id)]
        self.assertEqual(wrong[:3], [], f"{len(wrong)} cases differ")
        return cases

    def compare_all(self):
        cases = self.compare_cases()
        counts, sums, payments = {}, {}, {}
        for month, kinds in self.view("fines/totals_by_month").items():
            for kind, figures in kinds.items():
                counts[kind] = counts.get(kind, 0) + figures["count"]
                sums[kind] = sums.get(kind, 0) + cents(figures.get("euro", "0"))
            if "PaymentReceived" in kinds:
                payments[month] = {"payments": kinds["PaymentReceived"]["count"], "cents": cents(kinds["PaymentReceived"]["euro"])}
        collection = self.view("fines/in_collection")
        officers = self.view("fines/officers")
        self.assertEqual(sum(counts.values()), self.rows)
        if self.rows == ALL:
            with open(os.path.join(DATA, "reference.json")) as file:
                reference = json.load(file)
            self.assertEqual(counts, {TYPES[activity]: count for activity, count in reference["events_per_activity"].items()})
            fields = reference["cents_per_activity_and_field"]
            self.assertEqual({kind: sums[kind] for kind in ("FineCreated", "PenaltyAdded", "FineSent", "PaymentReceived")},
                             {"FineCreated": fields["Create Fine.amount"], "PenaltyAdded": fields["Add penalty.amount"],
                              "FineSent": fields["Send Fine.expense"], "PaymentReceived": fields["Payment.payment_amount"]})
            self.assertEqual(payments, reference["payments_per_local_month"])
            self.assertEqual(len(collection), reference["credit_collection"]["cases"])
            self.assertEqual(sum(cents(view["outstanding"]) for view in collection.values()),
                             reference["credit_collection"]["outstanding_cents_at_sending"])
            self.assertEqual(len(officers), reference["resources"])
            status = {}
            for case in cases.values():
                status[case["status"]] = status.get(case["status"], 0) + 1
            self.assertEqual(status, reference["cases_per_status"])
        by_officer = {}
        for row in map(json.loads, (line for line in source_lines(self.rows) if '"resource"' in line)):
            officer = by_officer.setdefault(row["resource"], [0, 0, 0])
            if row["activity"] == "Create Fine":
                officer[0] += 1
                officer[1] += cents(str(row["amount"]))
            elif row["activity"] == "Appeal to Judge":
                officer[2] += 1
        self.assertEqual({id: [o["fines"], cents(o["euro"]), o["appeals"]] for id, o in officers.items()}, by_officer)
        return cases

    def verify(self):
        report = lines(lore("verify", "--json", "--data", self.data, check=0).stdout)[-1]
        self.assertTrue(report["ok"], report)
        self.assertEqual((report["events"], report["head_position"]), (self.rows, self.rows))

    def import_into_nothing(self):
        done = self.do_import(shards=4)
        self.assertEqual((done["rows"], done["skipped"], done["rejected"], done["malformed"]), (self.rows, 0, 0, 0))
        self.assertEqual(done["commands"] + done["facts"], self.rows)
        self.verify()
        return self.compare_all()

    @unittest.skipIf(SMALL, "skip: LORE_TEST_SMALL")
    def test_all_of_it(self):
        """Equal in every column, all sums and counts as in the reference."""
        self.rows = ALL
        self.import_into_nothing()

    def test_derived_and_again(self):
        """View, state and export agree with a fold of our own; views again after views/ and index/ are gone; rows again are known."""
        cases = self.import_into_nothing()
        self.compare_export(cases)
        self.compare_states(cases)
        for folder in ("views", "index"):
            shutil.rmtree(os.path.join(self.data, folder))
        self.assertEqual(self.compare_all(), cases)
        self.verify()
        again = self.do_import(shards=2)
        self.assertEqual((again["rows"], again["skipped"], again["commands"], again["facts"]), (self.rows, self.rows, 0, 0))
        self.verify()

    def compare_export(self, cases):
        """Log order is row order, and the exported events fold to the same."""
        folded, position, rows = {}, 0, source_rows(self.rows)
        process = subprocess.Popen([LORE, "export", "--data", self.data], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.addCleanup(process.stdout.close)
        for line in process.stdout:
            event, row = json.loads(line), next(rows)
            position += 1
            self.assertEqual((event["position"], event["subject"], event["type"], event["time"]),
                             (position, "fine/" + row["case_id"], TYPES[row["activity"]], row["time"][:-1] + ".000Z"))
            data, case = event["data"], folded.setdefault(row["case_id"], {"paid": 0, "expense": 0, "version": 0})
            case["version"] += 1
            self.assertEqual(event["version"], case["version"])
            if event["type"] in ("FineCreated", "PenaltyAdded"):
                case["amount"] = cents(data["amount"])
            elif event["type"] == "FineSent":
                case["expense"] += cents(data["expense"])
            elif event["type"] == "PaymentReceived":
                case["paid"] += cents(data["amount"])
            elif event["type"] == "SentToCollection":
                self.assertEqual(cents(data["outstanding"]), case["amount"] + case["expense"] - case["paid"])
        self.assertEqual(process.wait(), 0)
        self.assertEqual(position, self.rows)
        for id, case in cases.items():
            self.assertEqual(cents(case["balance"]), folded[id]["amount"] + folded[id]["expense"] - folded[id]["paid"], id)

    def compare_states(self, cases):
        hub = self.hub(os.path.join(ROOT, "scripts"))
        client = hub.client()
        for id in sorted(cases)[:: max(1, len(cases) // 500)]:
            answer = client.request("GET", f"/v1/main/fines/fine/{id}").json
            document = client.request("GET", f"/v1/main/views/fines/cases/{id}").json["document"]
            self.assertEqual(document, cases[id])
            state = answer["state"]
            self.assertEqual((answer["version"], cents(state["amount"]), cents(state["expense"]), cents(state["paid"]),
                              "collection" in state),
                             (document["events"], cents(document["amount"]), cents(document["expense"]), cents(document["paid"]),
                              "collection" in document), id)
        client.close()
        hub.stop()

    def test_killed_and_continued(self):
        """kill -9 in the middle of the import, several times; run again, with one shard: nothing doubled, nothing lost."""
        for _ in range(3):
            process = self.do_import(shards=1, wait=False)
            # It is in the middle once the log has grown; the path exists from its start.
            log, seen = os.path.join(self.data, "log", "data.mdb"), None
            while process.poll() is None:
                size = os.path.getsize(log) if os.path.exists(log) else 0
                seen = size if seen is None else seen
                if size >= seen + (1 << 20):
                    break
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.assertEqual(process.returncode, -signal.SIGKILL)
        done = self.do_import(shards=1)
        self.assertEqual(done["rows"], self.rows)
        self.assertGreater(done["skipped"], 0)
        self.assertGreater(done["commands"] + done["facts"], 0)
        self.assertEqual(done["skipped"] + done["commands"] + done["facts"], self.rows)
        self.verify()
        self.compare_all()


if __name__ == "__main__":
    main()

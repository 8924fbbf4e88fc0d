"""fines.py: thirteen years of traffic fines, brought in by the example's import script, and what the oracle files beside the data say of them."""
import csv, gzip, itertools, json, os, subprocess
from decimal import Decimal

from hub import LORE, ROOT, SMALL, TIMEOUT, Case, lines

DATA = os.path.join(os.path.dirname(ROOT), "shared", "data", "road_fines")
EVENTS = os.path.join(DATA, "events.ndjson.gz")
SCRIPT = "scripts/fines/import/road_fines.lua"
ALL, PART = 561470, 20000 if SMALL else 50000
TYPES = {"Create Fine": "FineCreated", "Send Fine": "FineSent", "Insert Fine Notification": "OffenderNotified",
         "Add penalty": "PenaltyAdded", "Payment": "PaymentReceived", "Send for Credit Collection": "SentToCollection",
         "Insert Date Appeal to Prefecture": "AppealDateSet", "Send Appeal to Prefecture": "AppealSent",
         "Receive Result Appeal from Prefecture": "AppealResultReceived",
         "Notify Result Appeal to Offender": "AppealResultNotified", "Appeal to Judge": "AppealedToJudge"}

# When a fine counts as paid, in cases.lua; the other one lets so many euros pass.
PAID = 'elseif case.balance:is_zero() then status = "paid"'
PAID_BUT = 'elseif case.balance >= decimal(0) and case.balance <= decimal "%d.00" then status = "paid"'


def cents(text):
    value = Decimal(text) * 100
    assert value == int(value), text
    return int(value)


def source_lines(count):
    with gzip.open(EVENTS, "rt") as file:
        yield from itertools.islice(file, count)


def source_rows(count):
    return map(json.loads, source_lines(count))


def fold(rows):
    """The end state of each case, computed here and independently of lore and its scripts."""
    cases = {}
    for row in rows:
        case = cases.setdefault(row["case_id"], dict(events=0, first=row["time"], fine=0, amount=0, expense=0, payments=0,
                                                      paid=0, dismissal=None, collection=False))
        case["events"] += 1
        case["last"] = row["time"]
        if "dismissal" in row:
            case["dismissal"] = row["dismissal"]
        amount = cents(str(row.get("amount", 0)))
        if row["activity"] == "Create Fine":
            case["fine"] = case["amount"] = amount
        elif row["activity"] == "Add penalty":
            case["amount"] = amount
        elif row["activity"] == "Send Fine":
            case["expense"] += cents(str(row["expense"]))
        elif row["activity"] == "Payment":
            case["payments"] += 1
            case["paid"] += cents(str(row["payment_amount"]))
        elif row["activity"] == "Send for Credit Collection":
            case["collection"] = True
    return cases


def expected(rows):
    """The oracle file as rows of its columns (for a part of the data: the fold above in the same columns)."""
    if rows == ALL:
        with gzip.open(os.path.join(DATA, "expected_cases.csv.gz"), "rt") as file:
            return {row["case_id"]: row for row in csv.DictReader(file)}
    result = {}
    for id, c in fold(source_rows(rows)).items():
        balance = c["amount"] + c["expense"] - c["paid"]
        status = ("overpaid" if balance < 0 else "paid" if balance == 0 else "partly_paid") if c["payments"] else "unpaid"
        result[id] = {key: str(value) for key, value in dict(
            case_id=id, events=c["events"], first_time=c["first"], last_time=c["last"], fine_cents=c["fine"],
            amount_cents=c["amount"], expense_cents=c["expense"], payments=c["payments"], paid_cents=c["paid"],
            balance_cents=balance, status=status + ("+credit_collection" if c["collection"] else ""),
            dismissal=c["dismissal"]).items()}
    return result


class FinesCase(Case):
    rows = PART

    def do_import(self, shards, wait=True):
        source = EVENTS
        if self.rows != ALL:
            source = os.path.join(self.dir, "events.ndjson")
            if not os.path.exists(source):
                with open(source, "w") as file:
                    file.writelines(source_lines(self.rows))
        command = [LORE, "import", source, "--with", SCRIPT, "--data", self.data, "--json", "--shards", str(shards),
                   "--source", "road_fines", "--rejected", os.path.join(self.dir, "rejected.ndjson")]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if not wait:
            return process
        out, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 0, err)
        return lines(out)[-1]

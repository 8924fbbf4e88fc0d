#!/usr/bin/env python3
"""The traffic fines under a changed rule: imports them, runs build/tests/bench/shadow, and compares what it says with a fold of
the source file by this program. Another rule for when a fine counts as paid: once the payments reach its amount, expenses or not;
such a fine is not sent to collection.

shadow.py [--build DIR] [--data DIR] [--events FILE]     make build/tests/bench/shadow before; DIR is filled if it is not there
"""
import argparse, gzip, json, os, re, shutil, subprocess, sys, tempfile
from decimal import Decimal

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EVENTS = os.path.join(os.path.dirname(ROOT), "shared", "data", "road_fines", "events.ndjson.gz")
SAMPLES = 500


def changed_scripts(folder):
    shutil.copytree(os.path.join(ROOT, "scripts"), folder)
    path = os.path.join(folder, "fines", "fine.lua")
    text = open(path).read()
    for old, new in (("  state.paid = state.paid + e.amount\n",
                      "  if state.paid >= state.amount then state.settled = e.date end\n"),
                     ("function fine.execute.SendToCollection(state, c, m)\n  must_exist(state, m)\n",
                      '  if state.settled then reject("settled", "fine %s was paid on %s", m.id, state.settled) end\n')):
        assert text.count(old) == 1, old
        text = text.replace(old, old + new)
    open(path, "w").write(text)


def fold(events):
    """Which fines end in another state, and which are no longer sent to collection, at which version."""
    settled, refused, fines = {}, {}, {}
    with gzip.open(events, "rt") as file:
        for line in file:
            row = json.loads(line, parse_float=Decimal)
            case, kind = row["case_id"], row["activity"]
            if kind in ("Create Fine", "Add penalty"):
                fines[case] = (row["amount"], fines.get(case, (0, Decimal(0)))[1])
            elif kind == "Payment":
                amount, paid = fines[case]
                paid += row["payment_amount"]
                fines[case] = (amount, paid)
                if paid >= amount:
                    settled[case] = row["local_date"]
            elif kind == "Send for Credit Collection" and case in settled:
                refused[case] = row["seq"] - 1
    return settled, refused


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--data")
    parser.add_argument("--events", default=EVENTS)
    options = parser.parse_args()
    program = os.path.join(ROOT, options.build, "tests", "bench", "shadow")
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or os.path.join(folder, "data")
        if not os.path.exists(data):
            subprocess.run([os.path.join(ROOT, options.build, "lore"), "import", options.events, "--with",
                            "scripts/fines/import/road_fines.lua", "--data", data], cwd=ROOT, check=True,
                           stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        changed = os.path.join(folder, "changed")
        changed_scripts(changed)
        for threads in (2, 1):
            done = subprocess.run([program, data, os.path.join(ROOT, "scripts"), changed, str(threads), str(SAMPLES)],
                                  capture_output=True, text=True, check=True)
            print(f"{threads} threads: {done.stderr.strip()}")
    (fine,) = json.loads(done.stdout)
    settled, refused = fold(options.events)
    commands = fine["commands"]
    assert fine["name"] == "fines/fine" and fine["streams"] == 150370 and fine["events"] == 561470, fine["streams"]
    assert fine["states_changed"] == len(settled) and fine["fields"] == {"settled": len(settled)}, fine["states_changed"]
    assert commands["refused"] == len(refused) and commands["decided"] == 559575, commands
    assert commands["same"] + commands["refused"] == commands["decided"], commands
    samples = {sample["stream"]: sample["after"]["settled"] for sample in fine["samples"]}
    assert list(samples.items()) == [(case, settled[case]) for case in sorted(settled)[:SAMPLES]]
    samples = [(sample["stream"], sample["version"]) for sample in fine["command_samples"]]
    assert samples == sorted(refused.items())[:SAMPLES]
    print(f"{len(settled)} fines end differently, {len(refused)} are not sent to collection: as computed here")


if __name__ == "__main__":
    sys.exit(main())

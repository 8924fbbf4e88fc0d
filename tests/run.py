#!/usr/bin/env python3
"""Runs all tests that are found by pattern: C programs, specs, end-to-end. The last line is `N passed, N failed`.

run.py [--build DIR] [--lore FILE] [--jobs N] [--until TIME] [--but WORD,...] [WORD ...]
    words select: unit, specs, e2e, or a part of a test's name; --but leaves out. After --until (seconds since 1970) no test begins:
    with which one it starts changes from commit to commit then, so that in the end each has its turn
Test programs run side by side, one more than there are processors (--jobs): most wait for a disk now and then. None needs another to have
run, or not to run.
"""
import argparse, glob, hashlib, os, re, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The longest ones begin, so that none of them is alone at the end.
LONG = ("e2e/test_crash", "e2e/test_repl_queries", "e2e/test_edits", "e2e/test_bad_input", "unit/run/test_views", "sim/test_model",
        "unit/run/test_courier", "e2e/test_import", "e2e/test_hostile", "e2e/test_fines")


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.lock = threading.Lock()

    def add(self, *result):
        with self.lock:
            self.add_alone(*result)

    def add_alone(self, name, passed, failed, skipped, seconds, output):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        mark = "FAILED" if failed else "ok"
        skips = f", {skipped} skipped" if skipped else ""
        print(f"{mark:6} {name}: {passed} passed{skips} ({seconds:.1f} s)", flush=True)
        if failed or os.environ.get("VERBOSE"):
            print(output, flush=True)
        elif skipped:
            for line in output.splitlines():
                if "skip" in line.lower():
                    print("       " + line.strip())


def run(command, timeout, env=None):
    """(exit code, output, seconds); a program that hangs is killed with everything it started."""
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", stdin=subprocess.DEVNULL, start_new_session=True, env=env)
    try:
        output, _ = process.communicate(timeout=timeout)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        output += f"\nkilled after {timeout} s\n"
        code = 124
    return code, output, time.monotonic() - began


def program(tally, name, path):
    """One cmocka program."""
    code, output, seconds = run([path], 600)
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", output))
    failed = len(set(re.findall(r"^\[  FAILED  \] \S+$", output, re.M))) if code else 0  # each is told twice
    skipped = len(re.findall(r"^\[  SKIPPED \] \S+$", output, re.M)) // 2
    if code and not failed:
        failed = 1
    if not code and not passed:
        failed, output = 1, output + "\nno test was executed\n"
    tally.add(name, passed, failed, skipped, seconds, output)


def specs(tally, lore):
    code, output, seconds = run([lore, "test"], 300)
    found = re.search(r"(\d+) passed, (\d+) failed\s*$", output)
    passed, failed = (int(found[1]), int(found[2])) if found else (0, 1)
    if code and not failed:
        failed = 1
    tally.add("specs", passed, failed, 0, seconds, output)


def end_to_end(tally, name, source, lore):
    env = dict(os.environ, LORE=lore, PYTHONPATH=os.path.join(ROOT, "tests", "support"), PYTHONDONTWRITEBYTECODE="1")
    code, output, seconds = run([sys.executable, source, "-v"], 1200, env)
    ran = re.search(r"^Ran (\d+) test", output, re.M)
    total = int(ran[1]) if ran else 0
    bad = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", output))
    skipped = sum(int(n) for n in re.findall(r"skipped=(\d+)", output))
    if code and not bad or not total:
        bad = max(bad, 1)
    tally.add(name, max(total - bad - skipped, 0), bad, skipped, seconds, output)


def tests(tally, build, lore):
    """(kind, name, what runs it) of each."""
    found = []
    for pattern in ("tests/unit/*/test_*.c", "tests/contract/test_*.c", "tests/sim/test_*.c"):
        for source in sorted(glob.glob(pattern, root_dir=ROOT)):
            name = source[len("tests/"):-len(".c")]
            path = os.path.join(ROOT, build, "tests", name)
            found.append(("unit", name, lambda name=name, path=path: program(tally, name, path)))
    found.append(("specs", "specs", lambda: specs(tally, lore)))
    for source in sorted(glob.glob("tests/e2e/test_*.py", root_dir=ROOT)):
        name = source[len("tests/"):-len(".py")]
        found.append(("e2e", name, lambda name=name, source=source: end_to_end(tally, name, source, lore)))
    return found


def in_turn(found):
    """The list, beginning somewhere else for each commit."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).stdout
    begin = int(hashlib.sha256(commit).hexdigest(), 16) % len(found) if found else 0
    return found[begin:] + found[:begin]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--lore", default="./lore")
    parser.add_argument("--jobs", type=int, default=(os.cpu_count() or 1) + 1)
    parser.add_argument("--but", default="", help="tests to leave out: words with commas between")
    parser.add_argument("--until", type=float, help="no test begins after this time (seconds since 1970)")
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    but = [word for word in args.but.split(",") if word]

    def wanted(kind, name):
        return not any(word in name for word in but) and (
            not args.words or kind in args.words or any(word in name for word in args.words))

    tally, left_out = Tally(), []
    found = [test for test in tests(tally, args.build, os.path.join(ROOT, args.lore)) if wanted(*test[:2])]

    def begin(name, test):
        if args.until and time.time() > args.until:
            left_out.append(name)
        else:
            test()
    if args.until:
        found = in_turn(found)
    else:
        found.sort(key=lambda test: LONG.index(test[1]) if test[1] in LONG else len(LONG))
    with ThreadPoolExecutor(args.jobs) as pool:
        for done in [pool.submit(begin, name, test) for _, name, test in found]:
            done.result()
    if left_out:
        print(f"no time was left for {len(left_out)} of {len(found)} test programs: {', '.join(left_out)}")
    skipped = f", {tally.skipped} skipped" if tally.skipped else ""
    print(f"{tally.passed} passed, {tally.failed} failed{skipped}")
    sys.exit(1 if tally.failed or not (tally.passed or left_out) else 0)


main()

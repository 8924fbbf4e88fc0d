#!/usr/bin/env python3
"""Runs all tests that are found by pattern: C programs, specs, end-to-end. The last line is `N passed, N failed`.

run.py [--build DIR] [--lore FILE] [WORD ...]    words select: unit, specs, e2e, or a part of a test's name
"""
import argparse, glob, os, re, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, name, passed, failed, skipped, seconds, output):
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


def cmocka(tally, build, wanted):
    patterns = "tests/unit/*/test_*.c", "tests/contract/test_*.c", "tests/sim/test_*.c"
    sources = sorted(path for pattern in patterns for path in glob.glob(pattern, root_dir=ROOT))
    for source in sources:
        name = source[len("tests/"):-len(".c")]
        if not wanted("unit", name):
            continue
        program = os.path.join(ROOT, build, "tests", name)
        code, output, seconds = run([program], 600)
        passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", output))
        failed = len(re.findall(r"^\[  FAILED  \] \S+$", output, re.M)) if code else 0
        skipped = len(re.findall(r"^\[  SKIPPED \] \S+$", output, re.M)) // 2
        if code and not failed:
            failed = 1
        if not code and not passed:
            failed, output = 1, output + "\nno test was executed\n"
        tally.add(name, passed, failed, skipped, seconds, output)


def specs(tally, lore, wanted):
    if not wanted("specs", "specs"):
        return
    code, output, seconds = run([lore, "test"], 300)
    found = re.search(r"(\d+) passed, (\d+) failed\s*$", output)
    passed, failed = (int(found[1]), int(found[2])) if found else (0, 1)
    if code and not failed:
        failed = 1
    tally.add("specs", passed, failed, 0, seconds, output)


def end_to_end(tally, lore, wanted):
    for source in sorted(glob.glob("tests/e2e/test_*.py", root_dir=ROOT)):
        name = source[len("tests/"):-len(".py")]
        if not wanted("e2e", name):
            continue
        env = dict(os.environ, LORE=lore, PYTHONPATH=os.path.join(ROOT, "tests", "support"), PYTHONDONTWRITEBYTECODE="1")
        code, output, seconds = run([sys.executable, source, "-v"], 1200, env)
        ran = re.search(r"^Ran (\d+) test", output, re.M)
        total = int(ran[1]) if ran else 0
        bad = sum(int(n) for n in re.findall(r"(?:failures|errors)=(\d+)", output))
        skipped = sum(int(n) for n in re.findall(r"skipped=(\d+)", output))
        if code and not bad or not total:
            bad = max(bad, 1)
        tally.add(name, max(total - bad - skipped, 0), bad, skipped, seconds, output)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--lore", default="./lore")
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    lore = os.path.join(ROOT, args.lore)

    def wanted(kind, name):
        return not args.words or kind in args.words or any(word in name for word in args.words)

    tally = Tally()
    cmocka(tally, args.build, wanted)
    specs(tally, lore, wanted)
    end_to_end(tally, lore, wanted)
    skipped = f", {tally.skipped} skipped" if tally.skipped else ""
    print(f"{tally.passed} passed, {tally.failed} failed{skipped}")
    sys.exit(1 if tally.failed or not tally.passed else 0)


main()

#!/usr/bin/env python3
"""make tidy: the rules of style that a program can check. Prints each breach as file:line: what; exit 1 if there is any."""
import argparse, collections, glob, os, re, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
os.chdir(ROOT)

# a layer may include what is listed; vm and store do not know each other
LAYERS = {
    "base": {"base"}, "codec": {"codec", "base"}, "store": {"store", "codec", "base"}, "vm": {"vm", "codec", "base"},
    "run": {"run", "vm", "store", "codec", "base"}, "net": {"net", "run", "store", "codec", "base"},
    "cli": {"cli", "net", "run", "vm", "store", "codec", "base"},
}
# a foreign header has one home
HOMES = {"lmdb.h": {"store"}, "lua.h": {"vm"}, "lauxlib.h": {"vm"}, "lualib.h": {"vm"},
         "curl/curl.h": {"run", "cli"}, "uv.h": {"net", "cli"}, "sodium.h": {"base", "cli"}, "zlib.h": {"base", "cli"}, "histedit.h": {"cli"},
         "bid_functions.h": {"vm"}, "bid_conf.h": {"vm"}}
FILE_LINES_MAX, FUNCTION_LINES_MAX, LINE_MAX = 800, 60, 120
breaches = []


def breach(path, line, what):
    breaches.append(f"{path}:{line}: {what}")


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *patterns], capture_output=True, text=True, check=True).stdout
    return [path for path in out.split("\n") if path and os.path.exists(path)]


def check_includes(path, lines):
    layer = path.split("/")[1]
    for number, line in enumerate(lines, 1):
        found = re.match(r'#include ([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        kind, header = found.groups()
        if kind == '"':
            target = header.split("/")[0]
            if target not in LAYERS:
                breach(path, number, f'include "{header}" by its folder, as in "base/buf.h"')
            elif target not in LAYERS[layer]:
                breach(path, number, f"{layer}/ must not know {target}/")
        elif header in HOMES and layer not in HOMES[header]:
            breach(path, number, f"<{header}> belongs to {' and '.join(sorted(HOMES[header]))}/")


def check_cycles(sources):
    graph = collections.defaultdict(set)
    for path, lines in sources.items():
        if path.endswith(".h"):
            for line in lines:
                found = re.match(r'#include "([^"]+)"', line)
                if found:
                    graph[path].add("core/" + found[1])
    state = {}

    def visit(path, trail):
        if state.get(path) == 1:
            breach(path, 1, "headers include each other: " + " -> ".join(trail[trail.index(path):] + [path]))
        if path in state:
            return
        state[path] = 1
        for other in sorted(graph[path]):
            visit(other, trail + [path])
        state[path] = 2

    for path in sorted(graph):
        visit(path, [])


def check_size(path, lines):
    if len(lines) > FILE_LINES_MAX:
        breach(path, 1, f"{len(lines)} lines; split it by subject ({FILE_LINES_MAX} at most)")
    begin = None
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX and "http" not in line:
            breach(path, number, f"{len(line)} columns ({LINE_MAX} at most)")
        if line == "{":
            begin = number
        elif line.startswith("}") and begin:
            if line == "}" and number - begin - 1 > FUNCTION_LINES_MAX:
                breach(path, begin, f"a function of {number - begin - 1} lines ({FUNCTION_LINES_MAX} at most)")
            begin = None


def check_words(path, lines):
    for number, line in enumerate(lines, 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            breach(path, number, "a loose end: finish it or leave it out")
        if path.endswith((".c", ".h")) and re.search(r"(?<![\w.>])(sprintf|strcpy|strcat|gets|atoi|strtok)\(", line):
            breach(path, number, "an unbounded or silent C function")


def check_header(path, lines):
    guard = "LORE_" + re.sub(r"[/.]", "_", path[len("core/"):]).upper()
    text = "\n".join(lines)
    if f"#ifndef {guard}" not in text:
        breach(path, 1, f"the guard should be {guard}")
    if not lines or not lines[0].startswith(f"/* {os.path.basename(path)}: "):
        breach(path, 1, f"begin with /* {os.path.basename(path)}: what it is for")


def check_symbols(build):
    """The file's name is the prefix of its global symbols: the stem of the file, of a header of its folder, or a struct declared there."""
    for archive in sorted(glob.glob(f"{build}/lib*.a")):
        layer = os.path.basename(archive)[3:-2]
        if layer not in LAYERS:
            continue
        headers = glob.glob(f"core/{layer}/*.h")
        stems = {os.path.basename(path)[:-2] for path in headers}
        for path in headers:
            stems |= set(re.findall(r"^struct (\w+)(?: \{|;)", open(path).read(), re.M))
        out = subprocess.run(["nm", "--defined-only", "-g", "-A", archive], capture_output=True, text=True).stdout
        for line in out.splitlines():
            where, _, symbol = line.split(":", 1)[1].rpartition(" ")
            stem = where.split(".o")[0]
            if symbol.startswith("_") or stem == "prelude":
                continue
            names = {stem} | stems
            if not any(symbol == name or symbol.startswith(name + "_") for name in names):
                breach(f"core/{layer}/{stem}.c", 1, f"global symbol {symbol}: neither the file nor a header of {layer}/ begins so")


def check_folders():
    for layer in LAYERS:
        if not os.path.exists(f"core/{layer}/README.md"):
            breach(f"core/{layer}", 1, "a README.md says what is here and in which order to read it")
    allowed = {"core", "docs", "lua", "scripts", "specs", "tests", "Makefile", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"}
    for name in {path.split("/")[0] for path in tracked()}:
        if name not in allowed and not name.startswith("."):
            breach(name, 1, "does not belong at the top level")


def check_amount(sources):
    code = sum(len(lines) for path, lines in sources.items())
    tests = sum(len(open(path, errors="replace").read().split("\n")) for path in tracked("tests", "specs")
                if path.endswith((".c", ".h", ".py", ".lua", ".sh")))
    print(f"tidy: {code} lines of C in core/, {tests} lines of tests and specs")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    build = parser.parse_args().build
    sources = {}
    for path in tracked("core/*.c", "core/*.h"):
        lines = open(path, encoding="utf-8").read().rstrip("\n").split("\n")
        sources[path] = lines
        check_includes(path, lines)
        check_size(path, lines)
        check_words(path, lines)
        if path.endswith(".h"):
            check_header(path, lines)
    for path in tracked("lua/*.lua", "scripts/**.lua", "specs/**.lua", "tests/*.py", "tests/**.py"):
        if path == "tests/tidy/tidy.py":
            continue
        lines = open(path, encoding="utf-8").read().rstrip("\n").split("\n")
        check_words(path, lines)
        if len(lines) > FILE_LINES_MAX:
            breach(path, 1, f"{len(lines)} lines ({FILE_LINES_MAX} at most)")
    check_cycles(sources)
    check_symbols(build)
    check_folders()
    check_amount(sources)
    for line in breaches:
        print(line)
    if breaches:
        print(f"tidy: {len(breaches)} breaches")
        sys.exit(1)
    print("tidy: clean")


main()

"""Import: rows to messages; whatever is wrong with a row is counted and told, and running it again doubles nothing."""
import gzip, io, json, os, random, re, shutil, signal, subprocess, unittest

from hub import LORE, ROOT, SMALL, TIMEOUT, Case, lines, lore, main

BILLS = """
return function(row)
  if row.kind == "create" then
    send.bill(row.bill, CreateBill { customer = row.customer, start_date = row.at }, { at = row.at })
  elseif row.kind == "add" then
    send.bill(row.bill, AddServicesToBill { services = math.tointeger(tonumber(row.services)) }, { at = row.at })
  elseif row.kind == "close" then
    send.bill(row.bill, CloseBill { close_date = row.at, note = row.note }, { at = row.at })
  elseif row.kind == "fact" then
    record.bill(row.bill, ServicesAddedToBill { services = 1 }, { at = row.at })
  elseif row.kind == "elsewhere" then
    send.bil(row.bill, ReopenBill {})
  elseif row.kind == "loop" then
    while true do end
  elseif row.kind ~= "nothing" then
    error("unknown kind " .. tostring(row.kind))
  end
end
"""
MEMBERS = ["rows", "commands", "facts", "skipped", "rejected", "malformed", "seconds"]
COLUMNS = ["kind", "bill", "customer", "services", "at", "note"]


def make_rows(count, bills=50):
    """Rows that are all accepted: each bill is created first, then gets services of known numbers."""
    rows = []
    for number in range(count):
        bill, at = f"b{number % bills}", f"2026-01-{number // 1000 % 28 + 1:02}T00:00:{number // 10 % 60:02}.{number % 10}00Z"
        if number < bills:
            rows.append({"kind": "create", "bill": bill, "customer": f"c, \"{number}\"\nltd", "at": at})
        elif number % 17 == 0:
            rows.append({"kind": "fact", "bill": bill, "at": at})
        else:
            rows.append({"kind": "add", "bill": bill, "services": number, "at": at})
    return rows


def ndjson(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def separated(rows, separator=","):
    def field(value):
        text = str(value)
        return '"' + text.replace('"', '""') + '"' if any(c in text for c in separator + '"\n') else text
    return "".join(separator.join(field(row.get(column, "")) for column in COLUMNS) + "\r\n"
                   for row in [dict(zip(COLUMNS, COLUMNS))] + rows)


class Import(Case):
    def setUp(self):
        super().setUp()
        self.copy_scripts("billing")
        self.script = self.add_script("bills", BILLS)

    def add_script(self, name, text):
        self.write(f"billing/import/{name}.lua", text)
        return os.path.join(self.scripts, f"billing/import/{name}.lua")

    def put(self, name, content):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def arguments(self, path, *args, data=None, script=None):
        return ["import", path, "--with", script or self.script, "--data", data or self.data, "--scripts", self.scripts,
                "--json", *args]

    def take(self, path, *args, code=0, **options):
        """Imports and returns the figures of the last line."""
        done = lore(*self.arguments(path, *args, **options), check=code)
        figures = lines(done.stdout)[-1]
        self.assertEqual(list(figures), MEMBERS)
        self.said = done.stderr
        return figures

    def counts(self, figures):
        return {name: figures[name] for name in MEMBERS[:-1] if figures[name]}

    def events(self, data=None):
        text = lore("export", "--data", data or self.data, "--scripts", self.scripts, check=0).stdout
        return lines(text)

    def log(self, data=None):
        """The log as far as it must be the same in each directory."""
        return [{name: event.get(name) for name in ("position", "version", "source", "subject", "type", "time", "data", "commandid")}
                for event in self.events(data)]

    def verify(self, data=None):
        report = lines(lore("verify", "--json", "--data", data or self.data, check=0).stdout)[-1]
        self.assertTrue(report["ok"], report)

    def refused(self, path):
        with open(path + ".rejected.ndjson") as file:
            return lines(file.read())

    # --- forms of input ---

    def test_all_forms_give_the_same_log(self):
        rows = make_rows(500)
        forms = {"rows.ndjson": ndjson(rows).encode(), "rows.csv": separated(rows).encode(), "rows.tsv": separated(rows, "\t").encode()}
        for name in list(forms):
            forms[name + ".gz"] = gzip.compress(forms[name])
        first = None
        for name, content in forms.items():
            data = os.path.join(self.dir, "data-" + name)
            figures = self.take(self.put(name, content), "--source", "rows", data=data)
            self.assertEqual(figures["rows"], 500)
            self.assertEqual(figures["commands"] + figures["facts"], 500, name)
            log = self.log(data)
            first = first or log
            self.assertEqual(log, first, name)
        self.assertEqual([event["subject"] for event in first], ["bill/" + row["bill"] for row in rows])
        self.assertEqual([event["time"] for event in first], [row["at"][:-2] + "0Z" for row in rows])
        self.assertEqual([event["position"] for event in first], list(range(1, 501)))
        semicolons = os.path.join(self.dir, "data-semicolons")
        self.take(self.put("rows.txt", separated(rows, ";")), "--source", "rows", "--separator", ";", data=semicolons)
        self.assertEqual(self.log(semicolons), first)
        for name, args in (("rows.ndjson", []), ("rows.ndjson.gz", []), ("rows.csv.gz", ["--format", "csv"])):
            data = os.path.join(self.dir, "data-stdin-" + name)
            with open(os.path.join(self.dir, name), "rb") as file:
                done = subprocess.run([LORE, *self.arguments("-", "--source", "rows", *args, data=data)], stdin=file, capture_output=True,
                                      cwd=self.dir, timeout=TIMEOUT)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(self.log(data), first, name)

    def test_the_source_names_the_rows(self):
        rows = make_rows(60)
        first = self.take(self.put("a.ndjson", ndjson(rows)))
        self.assertEqual(self.counts(first), {"rows": 60, "commands": first["commands"], "facts": 60 - first["commands"]})
        same = self.take(self.put("a.ndjson.gz", gzip.compress(ndjson(rows).encode())))  # the name without .gz
        self.assertEqual(self.counts(same), {"rows": 60, "skipped": 60})
        os.mkdir(os.path.join(self.dir, "folder"))
        self.assertEqual(self.take(self.put("folder/a.ndjson", ndjson(rows)))["skipped"], 60)
        other = self.take(self.put("b.ndjson", ndjson(rows)))
        self.assertEqual((other["skipped"], other["rejected"]), (0, 50))  # bills that exist
        self.assertEqual(self.take(self.put("c.ndjson", ndjson(rows)), "--source", "a.ndjson")["skipped"], 60)

    def test_nothing_to_import(self):
        self.assertEqual(self.counts(self.take(self.put("a.ndjson", ""))), {})
        self.assertEqual(self.counts(self.take(self.put("a.csv", "kind,bill\n"))), {})
        lore(*self.arguments(self.put("b.csv", "")), check=1)

    # --- refusals ---

    def test_refusals_are_counted_and_told(self):
        rows = make_rows(60)
        bad = [("{", "malformed"), ('{"kind":"create","kind":"create"}', "malformed"), ("[1]", "malformed"), ('{"kind":"wrong"}', "script"),
               ('{"kind":"add","bill":"b0","at":"2026-01-01T00:00:00Z"}', "contract"), ('{"kind":"elsewhere","bill":"b0"}', "script"),
               ('{"kind":"add","bill":"b0","services":1,"at":"yesterday"}', "script"),
               ('{"kind":"add","bill":"b/0","services":1,"at":"2026-01-01T00:00:00Z"}', "script"),
               ('{"kind":"nothing","text":"' + "x" * (1 << 20) + '"}', "too_large")]
        rejected = [('{"kind":"create","bill":"b0","customer":"again","at":"2026-01-01T00:00:00Z"}', "exists"),
                    ('{"kind":"add","bill":"b0","services":0,"at":"2026-01-01T00:00:00Z"}', "no_services"),
                    ('{"kind":"close","bill":"never","at":"2026-01-01T00:00:00Z"}', "unknown")]
        text, expected = [], []
        for number, row in enumerate(rows):
            text.append(json.dumps(row))
            if number >= 50 and number - 50 < len(bad):
                line, code = bad[number - 50]
                text.append(line)
                expected.append((len(text), code, None, line))
            if number >= 50 and number - 50 < len(rejected):
                line, reason = rejected[number - 50]
                text.append(line)
                expected.append((len(text), "rejected", reason, line))
            text.append("")
        path = self.put("a.ndjson", "\n".join(text))
        first = self.take(path)
        self.assertEqual((first["rows"], first["commands"] + first["facts"], first["skipped"], first["rejected"], first["malformed"]),
                         (60 + len(bad) + len(rejected), 60, 0, len(rejected), len(bad)))
        told = sorted(self.refused(path), key=lambda line: line["row"])
        self.assertEqual(len(told), len(expected))
        for line, (number, code, reason, source) in zip(told, expected):
            self.assertEqual(line["row"], number)
            self.assertEqual(line["code"], code, line["detail"])
            self.assertEqual(line["reason"], reason or code)
            self.assertTrue(line["detail"])
            self.assertTrue(line["source"] == source or code == "too_large" and source.startswith(line["source"]), line["source"][:200])
        by_row = {line["row"]: line["detail"] for line in told}
        details = [by_row[number] for number, code, _, _ in expected if code in ("script", "contract")]
        for detail, pattern in zip(details, [r"billing/import/bills\.lua:16: .*unknown kind wrong", r"AddServicesToBill\.services",
                                             r"bills\.lua:12: .*bil.*did you mean bill\?", r"bills\.lua:6: .*at must be a time",
                                             r"bills\.lua:6: .*id"]):
            self.assertRegex(detail, pattern)
        # again: what was done is skipped, what was refused is told again
        again = self.take(path)
        self.assertEqual((again["rows"], again["skipped"], again["commands"], again["facts"]), (first["rows"], 60, 0, 0))
        self.assertEqual((again["rejected"], again["malformed"]), (first["rejected"], first["malformed"]))
        self.assertEqual(sorted(self.refused(path), key=lambda line: line["row"]), told)
        self.assertEqual(len(self.events()), 60)
        strict = self.take(path, "--strict", code=1)
        self.assertEqual(strict["skipped"], 60)
        self.verify()

    def test_strict_without_a_refusal(self):
        path = self.put("a.ndjson", ndjson(make_rows(60)))
        self.put("a.ndjson.rejected.ndjson", "of an import before\n")
        self.take(path, "--strict")
        self.assertFalse(os.path.exists(path + ".rejected.ndjson"), "there was nothing to tell")

    def test_refusals_in_csv(self):
        text = ("kind,bill,customer,services,at,note\r\n"
                "create,b0,acme,,2026-01-01T00:00:00Z,\r\n"
                "add,b0,,1\r\n"
                '"add,b0,,2,2026-01-02T00:00:00Z,\r\n'
                "add,b0,,3,2026-01-03T00:00:00Z,\r\n"
                'close,b0,,,2026-01-04T00:00:00Z,""\r\n')
        path = self.put("a.csv", text)
        figures = self.take(path)
        self.assertEqual(self.counts(figures), {"rows": 5, "commands": 3, "malformed": 2})
        self.assertEqual([(line["row"], line["reason"]) for line in self.refused(path)], [(2, "malformed"), (3, "malformed")])
        self.assertEqual([event["data"].get("services", event["data"].get("note")) for event in self.events()], [None, 3, 1, ""])

    def test_a_script_that_never_ends(self):
        rows = make_rows(60)
        path = self.put("a.ndjson", ndjson(rows[:55] + [{"kind": "loop"}] + rows[55:]))
        figures = self.take(path)
        self.assertEqual((figures["malformed"], figures["commands"] + figures["facts"]), (1, 60))
        self.assertRegex(self.refused(path)[0]["detail"], r"bills\.lua:14: ")

    def test_the_file_of_refusals_cannot_be_written(self):
        path = self.put("a.ndjson", ndjson(make_rows(60)) + "{\n")
        done = lore(*self.arguments(path, "--rejected", os.path.join(self.dir, "nowhere", "file")), check=3)
        self.assertEqual(lines(done.stdout)[-1]["malformed"], 1)
        self.assertRegex(done.stderr, r"nowhere/file cannot be written: No such file")
        os.symlink("/dev/full", os.path.join(self.dir, "full"))
        full = lore(*self.arguments(path, "--rejected", os.path.join(self.dir, "full")), check=3)
        self.assertRegex(full.stderr, r"full cannot be written: No space left")
        os.mkfifo(os.path.join(self.dir, "pipe"))  # what is no file is written to, never removed
        reader = subprocess.Popen(["cat", os.path.join(self.dir, "pipe")], stdout=subprocess.PIPE, text=True)
        self.take(path, "--rejected", os.path.join(self.dir, "pipe"))
        self.assertEqual(lines(reader.communicate(timeout=TIMEOUT)[0])[0]["row"], 61)

    # --- rows and messages ---

    def test_several_and_no_messages_a_row(self):
        script = self.add_script("several", """
          return function(row)
            for n = 1, row.count do
              if n == 1 then send.bill(row.bill, CreateBill { customer = "c", start_date = "2026-01-01" })
              elseif n % 2 == 0 then send.bill(row.bill, AddServicesToBill { services = n })
              else record.bill(row.bill, ServicesAddedToBill { services = n }) end
            end
          end""")
        counts = [0, 3, 1, 0, 5, 40, 2]
        path = self.put("a.ndjson", ndjson({"bill": f"b{n}", "count": count} for n, count in enumerate(counts)))
        figures = self.take(path, script=script)
        self.assertEqual((figures["rows"], figures["commands"] + figures["facts"]), (len(counts), sum(counts)))
        self.assertEqual(figures["facts"], sum((count - 1) // 2 for count in counts if count))
        events = self.events()
        self.assertEqual([event["subject"] for event in events], [f"bill/b{n}" for n, count in enumerate(counts) for _ in range(count)])
        self.assertEqual([event["version"] for event in events], [version for count in counts for version in range(1, count + 1)])
        self.assertEqual(len({event["commandid"] for event in events}), sum(counts))
        self.assertEqual(self.take(path, script=script)["skipped"], sum(counts))

    def test_a_row_counts_as_a_whole(self):
        """A script that fails behind its first message sends nothing."""
        script = self.add_script("whole", """
          return function(row)
            send.bill(row.bill, CreateBill { customer = "c", start_date = "2026-01-01" })
            if row.fail then error("late") end
          end""")
        path = self.put("a.ndjson", ndjson([{"bill": "a"}, {"bill": "b", "fail": True}, {"bill": "c"}]))
        self.assertEqual(self.counts(self.take(path, script=script)), {"rows": 3, "commands": 2, "malformed": 1})
        self.assertEqual([event["subject"] for event in self.events()], ["bill/a", "bill/c"])
        # mended, and run again: only what was missing follows
        self.edit("billing/import/whole.lua", 'if row.fail then error("late") end', "")
        self.assertEqual(self.counts(self.take(path, script=script)), {"rows": 3, "commands": 1, "skipped": 2})

    def test_nothing_outlives_a_row(self):
        script = self.add_script("count", "local seen = {}\nreturn function(row)\n  seen[#seen + 1] = 1\n"
                                 "  send.bill(row.bill .. #seen, CreateBill { customer = 'c', start_date = '2026-01-01' })\nend\n")
        path = self.put("a.ndjson", ndjson([{"bill": "a"}, {"bill": "b"}]))
        done = lore(*self.arguments(path, script=script))
        if done.returncode == 0:  # refused at load, or at each row; never a memory of the row before
            self.assertNotIn("bill/b2", [event["subject"] for event in self.events()])

    def test_ids_of_its_own(self):
        script = self.add_script("own", """
          return function(row)
            if row.services then send.bill(row.bill, AddServicesToBill { services = row.services }, { id = row.ref })
            else send.bill(row.bill, CreateBill { customer = "c", start_date = "2026-01-01" }, { id = row.ref }) end
          end""")
        rows = [{"bill": "a", "ref": "r1"}, {"bill": "a", "services": 1, "ref": "r2"}, {"bill": "a", "services": 1, "ref": "r2"},
                {"bill": "a", "services": 9, "ref": "r2"}, {"bill": "a", "services": 1, "ref": "r3"}, {"bill": "a", "services": 1, "ref": "x/y"}]
        path = self.put("a.ndjson", ndjson(rows))
        self.assertEqual(self.counts(self.take(path, script=script)), {"rows": 6, "commands": 3, "skipped": 1, "rejected": 1, "malformed": 1})
        self.assertEqual(sorted((line["row"], line["code"]) for line in self.refused(path)), [(4, "id_reused"), (6, "script")])
        self.assertEqual([event["commandid"] for event in self.events()], ["r1", "r2", "r3"])
        # the id is the row's name, whatever the file is called and wherever the row stands
        again = self.take(self.put("b.ndjson", ndjson(rows[4:5] + rows[:2])), script=script)
        self.assertEqual(self.counts(again), {"rows": 3, "skipped": 3})

    def test_at_is_when_it_happened(self):
        rows = [{"kind": "create", "bill": "a", "customer": "c", "at": "1999-12-31T23:59:59Z"},
                {"kind": "add", "bill": "a", "services": 1, "at": "1998-01-01T02:00:00+02:00"}]
        self.take(self.put("a.ndjson", ndjson(rows)))
        events = self.events()
        self.assertEqual([event["time"] for event in events], ["1999-12-31T23:59:59.000Z", "1998-01-01T00:00:00.000Z"])
        recorded = [event["recordedtime"] for event in events]
        self.assertEqual(recorded, sorted(recorded))
        self.assertGreater(recorded[0], "2020")

    def test_row_order_is_log_order(self):
        """Many streams over four shards, refusals in between, several rows of one stream in a row."""
        seed = random.Random(7)
        rows, expected, made = [], [], set()
        for number in range(2000 if SMALL else 20000):
            bill = f"b{seed.randrange(1000)}"
            at = "2026-01-01T00:00:00Z"
            kind = seed.choice(["create", "add", "add", "add", "nothing"])
            rows.append({"kind": kind, "bill": bill, "customer": "c", "services": number % 7, "at": at})
            if kind == "create" and bill not in made:
                made.add(bill)
                expected.append((bill, "BillCreated", None))
            elif kind == "add" and bill in made and number % 7:
                expected.append((bill, "ServicesAddedToBill", number % 7))
        for shards in (1, 4):
            data = os.path.join(self.dir, f"data-{shards}")
            figures = self.take(self.put("a.ndjson", ndjson(rows)), "--shards", str(shards), data=data)
            self.assertEqual(figures["commands"], len(expected))
            events = self.events(data)
            self.assertEqual([(event["subject"][5:], event["type"], event["data"].get("services")) for event in events], expected)
            self.verify(data)

    # --- interruptions ---

    def begin(self, *args, **options):
        return subprocess.Popen([LORE, *self.arguments("-", "--source", "rows", *args, **options)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.dir)

    def feed(self, process, content):
        """Writes into its stdin: what does not fit into the pipe and one chunk has been read."""
        try:
            process.stdin.write(content)
            process.stdin.flush()
        except BrokenPipeError:
            pass

    def compare_with_clean(self, rows, content):
        clean = os.path.join(self.dir, "clean")
        self.take(self.put("rows", content), data=clean)
        self.assertEqual(self.log(), self.log(clean))
        self.assertEqual(len(self.log()), len(rows))
        self.verify()

    def test_interrupted_and_continued(self):
        rows = make_rows(20000)
        content = ndjson(rows).encode()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            process = self.begin()
            self.feed(process, content[:len(content) * 3 // 4])
            process.send_signal(signal_number)  # it waits for more of its stdin
            out, err = process.stdout.read(), process.stderr.read()  # its stdin stays open
            self.assertEqual(process.wait(TIMEOUT), 1, err)
            process.stdin.close()
            figures = lines(out.decode())[-1]
            self.assertEqual(list(figures), MEMBERS)
            self.assertGreater(figures["rows"], 0)
            self.assertLess(figures["rows"], len(rows))
            self.assertEqual(figures["commands"] + figures["facts"] + figures["skipped"], figures["rows"])
            self.assertIn(f"interrupted at row {figures['rows']}".encode(), err)
            self.assertGreaterEqual(len(self.events()), figures["rows"])
            process.stdout.close()
            process.stderr.close()
        done = self.take(self.put("rows", content))
        self.assertGreaterEqual(done["skipped"], figures["rows"])
        self.assertEqual(done["skipped"] + done["commands"] + done["facts"], len(rows))
        self.compare_with_clean(rows, content)

    def test_killed_again_and_again(self):
        rows = make_rows(8000 if SMALL else 30000)
        content = ndjson(rows).encode()
        path = self.put("rows", content)
        seed = random.Random(11)
        for round in range(4 if SMALL else 12):
            if round % 2:
                process = self.begin("--shards", str(round % 3 + 1))
                self.feed(process, content[:seed.randrange(len(content))])
            else:
                process = subprocess.Popen([LORE, *self.arguments(path, "--shards", "2")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE)
                try:  # any moment will do, also while it starts or ends
                    process.wait(seed.random() * 0.3)
                except subprocess.TimeoutExpired:
                    pass
            process.kill()
            process.communicate()
        done = self.take(path)
        self.assertEqual((done["rejected"], done["malformed"]), (0, 0))
        self.assertEqual(done["skipped"] + done["commands"] + done["facts"], len(rows))
        self.compare_with_clean(rows, content)
        self.assertEqual(self.take(path)["skipped"], len(rows))

    def test_a_file_that_is_cut_off(self):
        rows = make_rows(20000)
        whole = gzip.compress(ndjson(rows).encode())
        path = self.put("a.ndjson.gz", whole[:len(whole) // 2])
        done = lore(*self.arguments(path), check=3)
        before = lines(done.stdout)[-1]
        self.assertGreater(before["rows"], 0)
        self.assertRegex(done.stderr, rf"{path} cannot be read to its end: \w")
        self.put("a.ndjson.gz", whole)
        after = self.take(path)
        self.assertEqual(after["skipped"], before["rows"])
        self.assertEqual(after["skipped"] + after["commands"] + after["facts"], len(rows))

    def test_the_disk_is_full(self):
        """On a small file system: it ends with one clear line; with room again it goes on."""
        small = os.path.join(self.dir, "small")
        os.mkdir(small)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small], capture_output=True, text=True)
        if mounted.returncode:
            self.skipTest("skip: a small file system cannot be mounted here: " + mounted.stderr.strip())
        self.addCleanup(subprocess.run, ["umount", "-l", small], check=False)
        rows = make_rows(40000)
        content = ndjson(rows)
        path, data = self.put("rows", content), os.path.join(small, "data")
        for _ in range(2):  # a second try, still without room, is no worse
            done = lore(*self.arguments(path, data=data))
            self.assertEqual(done.returncode, 3, done.stderr + done.stdout)
            said = [line for line in done.stderr.splitlines() if not line.startswith("importing: ")]
            self.assertTrue(said and all(re.search(r"small/data.*[Nn]o space left", line) for line in said), done.stderr)
            self.assertLessEqual(len([line for line in said if "warning: " not in line]), 2, done.stderr)
            if done.stdout:
                self.assertLess(lines(done.stdout)[-1]["rows"], len(rows) + 1)
        subprocess.run(["mount", "-o", "remount,size=200m", small], check=True)
        done = self.take(path, data=data)
        self.assertEqual((done["rejected"], done["malformed"]), (0, 0))
        self.assertGreater(done["skipped"], 0)
        self.assertEqual(done["skipped"] + done["commands"] + done["facts"], len(rows))
        clean = os.path.join(self.dir, "clean")
        self.take(path, data=clean)
        self.assertEqual(self.log(data), self.log(clean))
        self.verify(data)

    # --- mistakes of the caller ---

    def refuse(self, *args, code, pattern):
        done = lore(*args, check=code)
        self.assertRegex(done.stderr, pattern)
        self.assertEqual(done.stdout, "")

    def test_mistakes(self):
        path = self.put("a.ndjson", ndjson(make_rows(60)))
        base = ["--data", self.data, "--scripts", self.scripts]
        self.refuse("import", path, *base, code=2, pattern=r"--with.*import/")
        self.refuse("import", *base, code=2, pattern="usage")
        self.refuse("import", path, "--with", self.script, "--format", "xml", *base, code=2, pattern="ndjson or csv.*xml")
        self.refuse("import", path, "--with", self.script, "--separator", ";;", *base, code=2, pattern="one character")
        self.refuse("import", path, "--with", self.script, "--shards", "0", *base, code=2, pattern="--shards")
        self.refuse(*self.arguments(os.path.join(self.dir, "nothing.csv")), code=1, pattern=r"nothing\.csv cannot be read: No such file")
        self.refuse(*self.arguments(self.dir), code=2, pattern="folder")
        self.refuse(*self.arguments(path, script=self.script + "x"), code=1, pattern=r"bills\.luax does not exist")
        outside = self.put("outside.lua", BILLS)
        self.refuse(*self.arguments(path, script=outside), code=1, pattern=r"outside\.lua is not inside the scripts folder")
        self.refuse(*self.arguments(path, "--tenant", "nobody"), code=1, pattern="nobody")
        self.refuse(*self.arguments(path, script=self.add_script("none", "return 7\n")), code=1, pattern=r"import/none\.lua.*function")
        self.refuse(*self.arguments(path, script=self.add_script("bad", "return function(row\n")), code=1, pattern=r"import/bad\.lua:\d+: ")
        self.refuse(*self.arguments(path, script=self.add_script("typo", "return function(row) emmit(row) end\n")), code=1,
                    pattern=r"import/typo\.lua:1: .*emmit")
        for name in ("none", "bad", "typo"):
            os.remove(os.path.join(self.scripts, f"billing/import/{name}.lua"))
        self.edit("billing/bill.lua", "bill.apply.BillCreated", "bill.apply.BillCraeted")
        self.refuse(*self.arguments(path), code=1, pattern=r"^\S+billing/bill\.lua:4: [^\n]*BillCraeted[^\n]*\n    \S[^\n]*BillCraeted[^\n]*\nlore: 1 error in \S+\n$")
        self.edit("billing/bill.lua", "bill.apply.BillCraeted", "bill.apply.BillCreated")
        figures = self.take(path)
        self.assertEqual(figures["commands"] + figures["facts"], 60, "none of it left anything behind")

    def test_into_a_running_hub(self):
        """The same log, counts and refusals as without one; again it skips; by the socket, or --to from anywhere."""
        rows = make_rows(600)
        rows[100:100] = [{"kind": "odd"}, {"kind": "create", "bill": "b1", "customer": "again", "at": "2026-01-01"}, {"kind": "add", "bill": "b2", "services": "x"}]
        path, alone = self.put("a.ndjson", ndjson(rows)), os.path.join(self.dir, "alone")
        expected = self.counts(self.take(path, data=alone))
        refused, log = self.refused(path), self.log(alone)
        self.assertEqual((expected["rejected"], expected["malformed"]), (1, 2))
        hub = self.hub()
        self.assertEqual(self.counts(self.take(path)), expected)
        self.assertEqual(self.refused(path), refused)
        self.assertEqual(self.log(), log)
        again = self.counts(self.take(path, "--to", f"http://127.0.0.1:{hub.port}", data=os.path.join(self.dir, "nowhere")))
        self.assertEqual(again, {"rows": 603, "skipped": 600, "rejected": 1, "malformed": 2})
        self.assertEqual(self.counts(self.take(path, "--source", "other"))["rejected"], 51, "other ids: the bills are there already")
        hub.stop()
        self.verify()
        self.refuse(*self.arguments(path, "--to", f"http://127.0.0.1:{hub.port}"), code=3, pattern="127.0.0.1")

    def test_a_hub_that_is_killed_meanwhile(self):
        """The import sends again what was not answered: nothing is lost, nothing doubled, and log order is row order."""
        count = 2000 if SMALL else 20000
        path, alone = self.put("a.ndjson", ndjson(make_rows(count))), os.path.join(self.dir, "alone")
        self.take(path, data=alone)
        hub = self.hub()
        importing = subprocess.Popen([LORE, *self.arguments(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(importing.kill)
        tail = hub.tail(f"/v1/main/events?from={count // 3}")
        tail.next()
        tail.close()
        hub.kill()
        hub = self.hub()
        figures = lines(importing.communicate(timeout=TIMEOUT)[0])[-1]
        self.assertEqual((importing.returncode, figures["rows"], figures["commands"] + figures["facts"]), (0, count, count))
        self.assertEqual(self.log(), self.log(alone))

    def test_status_beside_it(self):
        """It answers no questions, but the directory is no idle one."""
        process = subprocess.Popen([LORE, *self.arguments("-")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            process.stdin.write(ndjson(make_rows(4000)))
            process.stdin.flush()
            position = 0
            while not position:  # until it has written something
                self.assertIsNone(process.poll())
                done = lore("status", "--json", "--data", self.data, "--scripts", self.scripts)
                position = lines(done.stdout)[0]["position"] if done.returncode == 0 else 0
            said = lore("status", "--data", self.data, "--scripts", self.scripts, check=0).stderr
            self.assertIn(f"in use by lore import, process {process.pid}", said)
        finally:
            process.communicate(timeout=TIMEOUT)
        said = lore("status", "--data", self.data, "--scripts", self.scripts, check=0).stderr
        self.assertIn("no hub is running", said)

    def test_tenants(self):
        self.write("hub.lua", 'return { tenants = { "main", "other" } }\n')
        path = self.put("a.ndjson", ndjson(make_rows(60)))
        for tenant in ("other", "main"):
            figures = self.take(path, "--tenant", tenant)
            self.assertEqual(figures["commands"] + figures["facts"], 60)
        self.assertEqual(self.take(path, "--tenant", "other")["skipped"], 60)
        ids = {}
        for tenant in ("other", "main"):
            done = lore("export", "--tenant", tenant, "--data", self.data, "--scripts", self.scripts, check=0)
            events = lines(done.stdout)
            self.assertEqual(len(events), 60)
            ids[tenant] = {event["commandid"] for event in events}
        self.assertFalse(ids["main"] & ids["other"])

    def test_for_people(self):
        path = self.put("a.ndjson", ndjson(make_rows(60)) + "{\n")
        arguments = [word for word in self.arguments(path) if word != "--json"]
        done = lore(*arguments, check=0)
        self.assertRegex(done.stdout, r"^61 rows in .*: \d+ commands, \d+ facts, 0 there already, 0 rejected, 1 malformed\n$")
        self.assertIn(path + ".rejected.ndjson", done.stderr)

    def test_a_script_that_fails_is_not_overlooked(self):
        """Failed rows, of the import script or of an aggregate, end with 0 like rejected ones; but the last line says how many and where."""
        rows = make_rows(60)
        self.take(self.put("a.ndjson", ndjson(rows)))
        self.assertNotIn("FAILED", self.said)
        self.edit("billing/bill.lua", "function bill.execute.AddServicesToBill(state, c, m)",
                  "function bill.execute.AddServicesToBill(state, c, m)\n  if c.services == 55 then error('fifty-five') end")
        path = self.put("b.ndjson", "{\n" + ndjson(rows[:3] + rows[50:] + [{"kind": "other", "bill": "b1"}, {"kind": "wrong"}]))
        figures = self.take(path, "--source", "b")
        self.assertEqual((figures["rejected"], figures["malformed"]), (3 + 1, 1 + 2))
        last = self.said.splitlines()[-1]
        self.assertRegex(last, r"A SCRIPT FAILED AT 3 ROWS, .* the first is row \d+: billing/")
        done = lore(*[word for word in self.arguments(path, "--source", "b", "--strict") if word != "--json"], check=1)
        self.assertEqual(done.stderr.splitlines()[-1], last)

    def test_views_follow_at_the_next_look(self):
        self.take(self.put("a.ndjson", ndjson(make_rows(500))))
        done = lore("view", "open_bills", "b7", "--json", "--data", self.data, "--scripts", self.scripts, check=0)
        expected = sum(1 if number % 17 == 0 else number for number in range(57, 500, 50))
        self.assertEqual(lines(done.stdout)[0]["document"]["services"], expected)


if __name__ == "__main__":
    main()
